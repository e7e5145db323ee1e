/* compare.c - `smallmind compare`: how far a model is from another, on a text.
 *
 * Windows are those of eval. For every scored token both models' distributions are compared, in
 * double. Neighbouring tokens are not independent, so standard errors are of the means of BLOCK
 * tokens.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "score.h"
#include "shown.h"

#define BLOCK 32

typedef struct side {
    const char *path;
    sm_model *model;
    sm_session *session;
    sm_tokenizer *tokenizer;
    int32_t *ids;
    uint64_t n;
    int32_t bos; /* -1: none */
    float *logits;
    double nats; /* -log p, summed */
} side;

/* Means over the tokens: sums of all, of the present block, and over whole blocks. */
enum { KL, WORSE, AGREE, N_MEANS };
typedef struct blocks {
    double all[N_MEANS], part[N_MEANS], sum[N_MEANS], squares[N_MEANS];
    uint64_t n; /* whole blocks */
} blocks;

typedef struct comparison {
    side side[2];
    size_t n_vocab;
    uint32_t context;
    double *kl; /* of each scored token */
    uint64_t scored;
    blocks blocks;
} comparison;

/* ---- one token ------------------------------------------------------------------------------- */

static size_t likeliest(const float *logits, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++) {
        if (logits[i] > logits[at])
            at = i;
    }
    return at;
}

/* Of b's distribution from a's, in nats. */
static double divergence(const float *a, double sum_a, const float *b, double sum_b, size_t n) {
    double kl = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double p = a[i] - sum_a;
        kl += exp(p) * (p - (b[i] - sum_b));
    }
    return kl > 0.0 ? kl : 0.0;
}

static void count(blocks *to, const double *values, uint64_t before) {
    for (int i = 0; i < N_MEANS; i++) {
        to->all[i] += values[i];
        to->part[i] += values[i];
    }
    if ((before + 1) % BLOCK != 0)
        return;
    to->n++;
    for (int i = 0; i < N_MEANS; i++) {
        const double mean = to->part[i] / BLOCK;
        to->sum[i] += mean;
        to->squares[i] += mean * mean;
        to->part[i] = 0.0;
    }
}

static void compare_token(comparison *c, const float *a, const float *b, int32_t id) {
    const size_t n = c->n_vocab;
    const double sum_a = score_log_sum(a, n), sum_b = score_log_sum(b, n);
    const double values[N_MEANS] = {
        [KL] = divergence(a, sum_a, b, sum_b, n),
        [WORSE] = (sum_b - b[id]) - (sum_a - a[id]),
        [AGREE] = likeliest(a, n) == likeliest(b, n) ? 1.0 : 0.0,
    };
    c->side[0].nats += sum_a - a[id];
    c->side[1].nats += sum_b - b[id];
    count(&c->blocks, values, c->scored);
    c->kl[c->scored++] = values[KL];
}

/* ---- the text -------------------------------------------------------------------------------- */

static sm_status compare_window(comparison *c, const int32_t *window, uint64_t n, sm_error *error) {
    sm_status status = SM_OK;
    for (int s = 0; s < 2 && status == SM_OK; s++)
        status = sm_session_rewind(c->side[s].session, 0, error);
    for (uint64_t at = 0; at + 1 < n && status == SM_OK;) {
        const uint64_t some = n - 1 - at < SCORE_TOGETHER ? n - 1 - at : SCORE_TOGETHER;
        for (int s = 0; s < 2 && status == SM_OK; s++)
            status = sm_session_feed_logits(c->side[s].session, window + at, some,
                                            c->side[s].logits, c->n_vocab * SCORE_TOGETHER, error);
        for (uint64_t i = 0; i < some && status == SM_OK; i++)
            compare_token(c, c->side[0].logits + i * c->n_vocab, c->side[1].logits + i * c->n_vocab,
                          window[at + i + 1]);
        at += some;
        progress_count("comparing", c->scored, c->side[0].n);
    }
    return status;
}

static int compare_text(comparison *c) {
    sm_error error = {0};
    const side *a = &c->side[0];
    const uint64_t lead = a->bos >= 0 ? 1 : 0, room = c->context - lead;
    int32_t *window = malloc(c->context * sizeof *window);
    if (window == NULL)
        return cli_error("out of memory");
    window[0] = a->bos;
    sm_status status = SM_OK;
    for (uint64_t at = 0; at < a->n && status == SM_OK; at += room) {
        const uint64_t n = a->n - at < room ? a->n - at : room;
        memcpy(window + lead, a->ids + at, (size_t)n * sizeof *window);
        status = compare_window(c, window, n + lead, &error);
    }
    progress_end();
    free(window);
    return status == SM_OK ? CLI_GO_ON : cli_fail(&error);
}

/* ---- what came of it ------------------------------------------------------------------------- */

typedef struct found {
    double value, low, high; /* NAN: too few tokens for an interval */
} found;

/* With the interval that holds 95 of 100 of the like. */
static found mean_of(const comparison *c, int what) {
    const blocks *b = &c->blocks;
    const double value = b->all[what] / (double)c->scored;
    if (b->n < 8)
        return (found){value, NAN, NAN};
    const double half = SCORE_95 * score_mean_of(b->sum[what], b->squares[what], b->n).error;
    return (found){value, value - half, value + half};
}

typedef struct report {
    found kl, agree, ratio;
    double percentile[5]; /* of KL: PERCENTS */
    double perplexity[2];
    const char *verdict;
} report;
static const double percents[5] = {50.0, 90.0, 95.0, 99.0, 100.0};

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static const char *verdict(const report *r) {
    if (r->percentile[4] == 0.0 && r->agree.value == 1.0)
        return "the same distributions";
    if (isnan(r->ratio.low))
        return "too short a text for a verdict";
    if (r->ratio.low > 1.0)
        return "the second model is worse on this text";
    if (r->ratio.high < 1.0)
        return "the second model is better on this text";
    return "this text shows no difference in perplexity";
}

static report report_of(comparison *c) {
    report r = {.kl = mean_of(c, KL), .agree = mean_of(c, AGREE)};
    const found worse = mean_of(c, WORSE);
    r.ratio = (found){exp(worse.value), exp(worse.low), exp(worse.high)};
    r.kl.low = fmax(r.kl.low, isnan(r.kl.low) ? NAN : 0.0);
    r.agree.low = isnan(r.agree.low) ? NAN : fmax(r.agree.low, 0.0);
    r.agree.high = isnan(r.agree.high) ? NAN : fmin(r.agree.high, 1.0);
    for (int s = 0; s < 2; s++)
        r.perplexity[s] = exp(c->side[s].nats / (double)c->scored);
    qsort(c->kl, (size_t)c->scored, sizeof *c->kl, by_size);
    for (int i = 0; i < 5; i++)
        r.percentile[i] = c->kl[(uint64_t)(percents[i] / 100.0 * (double)(c->scored - 1))];
    r.verdict = verdict(&r);
    return r;
}

static void print_found(const char *name, found f) {
    printf("%-16s %.6f", name, f.value);
    if (!isnan(f.low))
        printf(" (95%%: %.6f to %.6f)", f.low, f.high);
    printf("\n");
}

static int print_text(const comparison *c, const report *r) {
    printf("perplexity       %.6f and %.6f\n", r->perplexity[0], r->perplexity[1]);
    print_found("ratio", r->ratio);
    print_found("KL, nats", r->kl);
    printf("  median %.6f, 90%% %.6f, 95%% %.6f, 99%% %.6f, largest %.6f\n", r->percentile[0],
           r->percentile[1], r->percentile[2], r->percentile[3], r->percentile[4]);
    print_found("same first", r->agree);
    printf("tokens           %llu\nverdict          %s\n", (unsigned long long)c->scored,
           r->verdict);
    return CLI_DONE;
}

static json_t *json_found(found f) {
    return isnan(f.low)
               ? json_pack("{s:f, s:n}", "value", f.value, "interval_95")
               : json_pack("{s:f, s:[f, f]}", "value", f.value, "interval_95", f.low, f.high);
}

static int print_json(const comparison *c, const report *r) {
    json_t *root = json_pack(
        "{s:[o, o], s:[f, f], s:o, s:o, s:{s:f, s:f, s:f, s:f, s:f}, s:o, s:I, s:s}", "models",
        cli_json_name(c->side[0].path), cli_json_name(c->side[1].path), "perplexity",
        r->perplexity[0], r->perplexity[1], "perplexity_ratio", json_found(r->ratio), "kl",
        json_found(r->kl), "kl_percentiles", "50", r->percentile[0], "90", r->percentile[1], "95",
        r->percentile[2], "99", r->percentile[3], "100", r->percentile[4], "same_first",
        json_found(r->agree), "tokens", (json_int_t)c->scored, "verdict", r->verdict);
    return cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
}

/* ---- the command ----------------------------------------------------------------------------- */

static int open_side(side *s, const cli_input *input, sm_model_options *model,
                     const sm_session_options *session, size_t *n_vocab) {
    sm_error error = {0};
    sm_model_info about;
    sm_tokenizer_info info = {.struct_size = sizeof info};
    int code = cli_load_model(&s->model, &about, s->path, model);
    if (code != CLI_GO_ON)
        return code;
    if (sm_model_get_tokenizer(s->model, &s->tokenizer, &error) != SM_OK ||
        sm_tokenizer_get_info(s->tokenizer, &info, &error) != SM_OK)
        return cli_fail(&error);
    s->bos = info.add_bos ? info.bos : -1;
    *n_vocab = (size_t)about.n_vocab;
    s->logits = malloc(*n_vocab * SCORE_TOGETHER * sizeof *s->logits);
    if (s->logits == NULL)
        return cli_error("out of memory");
    code = cli_encode(&s->ids, &s->n, s->tokenizer, input);
    return code == CLI_GO_ON ? cli_open_session(&s->session, s->model, session, NULL) : code;
}

static void close_side(side *s) {
    sm_session_free(s->session);
    sm_tokenizer_free(s->tokenizer);
    sm_model_free(s->model);
    free(s->logits);
    free(s->ids);
}

/* Whether the two can be compared token by token. */
static int check_sides(comparison *c, const cli_input *input, const size_t n_vocab[2]) {
    const side *a = &c->side[0], *b = &c->side[1];
    if (n_vocab[0] != n_vocab[1])
        return cli_error("%s has a vocabulary of %zu tokens, %s of %zu: they cannot be compared "
                         "token by token",
                         a->path, n_vocab[0], b->path, n_vocab[1]);
    if (a->n != b->n || a->bos != b->bos ||
        (a->n > 0 && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) != 0))
        return cli_error("%s and %s make other tokens of %s: they cannot be compared token by "
                         "token",
                         a->path, b->path, input->path);
    if (a->n + (a->bos >= 0) < 2)
        return cli_error("%s: holds no token that could be scored", input->path);
    const uint32_t most = cli_session_info(b->session).n_ctx;
    c->context = cli_session_info(a->session).n_ctx;
    c->context = most < c->context ? most : c->context;
    c->n_vocab = n_vocab[0];
    c->kl = malloc((size_t)a->n * sizeof *c->kl);
    return c->kl == NULL ? cli_error("out of memory") : CLI_GO_ON;
}

static int compare(comparison *c, const cli_input *input, sm_model_options *model,
                   const sm_session_options *session, bool json) {
    size_t n_vocab[2];
    int code = open_side(&c->side[0], input, model, session, &n_vocab[0]);
    if (code == CLI_GO_ON)
        code = open_side(&c->side[1], input, model, session, &n_vocab[1]);
    if (code == CLI_GO_ON)
        code = check_sides(c, input, n_vocab);
    if (code == CLI_GO_ON)
        code = compare_text(c);
    if (code == CLI_GO_ON) {
        const report r = report_of(c);
        code = json ? print_json(c, &r) : print_text(c, &r);
    }
    return code;
}

int cmd_compare(int argc, char **argv) {
    const char *paths[2] = {NULL, NULL}, *file = NULL;
    bool json = false;
    sm_model_options model = {.struct_size = sizeof model};
    sm_session_options session = {.struct_size = sizeof session, .kv_type = SM_KV_TYPE_F32};
    const cli_flag flags[] = {
        {'f', "file", CLI_TEXT, &file, "FILE", 0, 0, "the text, from a file or - (required)"},
        {0, "json", CLI_SWITCH, &json, "", 0, 0, "print one JSON object"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, NULL},
        {SM_OPTIONS_MODEL, &model, NULL},
    };
    const cli_command command = {
        .name = "compare",
        .synopsis = "MODEL OTHER -f FILE [-c CONTEXT] [--json]",
        .summary =
            "Prints how far OTHER is from MODEL on a text: both perplexities and their ratio, the\n"
            "Kullback-Leibler divergence of OTHER's distributions from MODEL's (mean and\n"
            "percentiles over the tokens), how often both find the same token likeliest, and a\n"
            "verdict by the ratio. Windows are those of eval.\n"
            "Intervals are 1.96 standard errors to either side, of the means of 32 tokens in a\n"
            "row, since neighbours depend on each other. Both models need one vocabulary.",
        .examples = {{"smallmind compare model.gguf model-Q4_0.gguf -f held-out.txt",
                      "what quantizing has lost"},
                     {"smallmind compare base.gguf tuned.gguf -f held-out.txt --json",
                      "what training has changed, as JSON"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = paths,
        .n_operands = 2,
    };
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (paths[1] == NULL || file == NULL)
        return cli_misuse("compare", "MODEL, OTHER and -f FILE are required");
    if (session.n_ctx == 1)
        return cli_misuse("compare", "-c: a window of 1 token leaves nothing to score");
    cli_input input;
    if (!cli_read_text(&input, file))
        return CLI_FAILED;
    cli_catch_interrupt();
    comparison c = {.side = {{.path = paths[0]}, {.path = paths[1]}}};
    code = compare(&c, &input, &model, &session, json);
    close_side(&c.side[0]);
    close_side(&c.side[1]);
    free(c.kl);
    free(input.text);
    return code;
}
