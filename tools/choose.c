/* choose.c - see choose.h.
 *
 * A choice is scored as lm-evaluation-harness does: white space at the end of the question goes to
 * the choice, both are encoded together, and what is behind as many tokens as the question alone
 * has is the choice's. The session keeps what choices and questions begin with in common, so that
 * it is computed once.
 */
#include "choose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "score.h"
#include "shown.h"

typedef struct chooser {
    const choose_options *options;
    sm_session *session;
    sm_tokenizer *tokenizer;
    size_t n_vocab;
    uint32_t n_ctx;
    int32_t bos; /* -1: none */
    float *logits;
    uint64_t items, right, right_norm;
    double shares, squares;    /* of probability that right choices have: sums */
    uint64_t scored, computed; /* tokens */
    uint64_t cut;              /* choices whose question did not fit the context whole */
} chooser;

/* ---- one choice ------------------------------------------------------------------------------ */

/* The ids of a text, BOS before them where the vocabulary adds one; free() them. */
static sm_status encode(const chooser *c, const char *text, size_t length, int32_t **ids,
                        uint64_t *n, sm_error *error) {
    const sm_encode_options how = {.struct_size = sizeof how, .cancel = cli_cancel};
    const uint64_t lead = c->bos >= 0 ? 1 : 0;
    sm_status status = SM_ERR_BUFFER;
    for (uint64_t capacity = length + 16; status == SM_ERR_BUFFER; capacity = *n) {
        *ids = malloc((size_t)(capacity + 1) * sizeof **ids);
        if (*ids == NULL) {
            snprintf(error->message, sizeof error->message, "out of memory");
            return SM_ERR_NOMEM;
        }
        (*ids)[0] = c->bos;
        status =
            sm_tokenizer_encode(c->tokenizer, text, length, &how, *ids + lead, capacity, n, error);
        if (status == SM_OK)
            break;
        free(*ids);
        *ids = NULL;
    }
    *n += lead;
    return status;
}

/* Length of a text without white space at its end. */
static size_t trimmed(const char *text) {
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || (text[n - 1] >= '\t' && text[n - 1] <= '\r')))
        n--;
    return n;
}

/* log p of ids[from..n), from > 0, after those before them. */
static sm_status score_ids(chooser *c, const int32_t *ids, uint64_t from, uint64_t n,
                           double *logprob, sm_error *error) {
    uint64_t reused = 0;
    sm_status status = sm_session_sync(c->session, ids, from - 1, &reused, error);
    *logprob = 0.0;
    c->computed += n - 1 - (status == SM_OK ? reused : 0);
    c->scored += n - from;
    for (uint64_t at = from - 1; status == SM_OK && at + 1 < n;) {
        const uint64_t some = n - 1 - at < SCORE_TOGETHER ? n - 1 - at : SCORE_TOGETHER;
        status = sm_session_feed_logits(c->session, ids + at, some, c->logits,
                                        c->n_vocab * SCORE_TOGETHER, error);
        for (uint64_t i = 0; status == SM_OK && i < some; i++)
            *logprob -= score_surprise(c->logits + i * c->n_vocab, c->n_vocab, ids[at + i + 1]);
        at += some;
    }
    return status;
}

/* Reports failure itself: an exit code, else CLI_GO_ON. */
static int score_choice(chooser *c, const task_choice *choice, uint64_t line, double *logprob) {
    sm_error error = {0};
    int32_t *whole = NULL, *context = NULL;
    uint64_t n = 0, before = 0;
    const size_t room = strlen(choice->context) + strlen(choice->text) + 1;
    char *text = malloc(room);
    if (text == NULL)
        return cli_error("out of memory");
    snprintf(text, room, "%s%s", choice->context, choice->text);
    sm_status status = encode(c, text, room - 1, &whole, &n, &error);
    if (status == SM_OK)
        status = encode(c, text, trimmed(choice->context), &context, &before, &error);
    int code = CLI_GO_ON;
    const uint64_t over = n > (uint64_t)c->n_ctx + 1 ? n - c->n_ctx - 1 : 0;
    if (status == SM_OK && (before == 0 || before >= n))
        code = cli_error("%s:%llu: a choice has no token of its own", c->options->path,
                         (unsigned long long)line);
    else if (status == SM_OK && over >= before)
        code = cli_error("%s:%llu: a choice of %llu tokens does not fit a context of %u",
                         c->options->path, (unsigned long long)line,
                         (unsigned long long)(n - before), c->n_ctx);
    else if (status == SM_OK)
        status = score_ids(c, whole + over, before - over, n - over, logprob, &error);
    c->cut += over > 0;
    free(whole);
    free(context);
    free(text);
    return status == SM_OK ? code : cli_fail(&error);
}

/* ---- one question ---------------------------------------------------------------------------- */

/* The first of the largest. */
static uint32_t best(const double *values, uint32_t n) {
    uint32_t at = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (values[i] > values[at])
            at = i;
    }
    return at;
}

static void count_item(chooser *c, const task_item *item, const double *logprobs) {
    double norm[TASK_MOST_CHOICES], right = 0.0, all = 0.0;
    const uint32_t likeliest = best(logprobs, item->n);
    for (uint32_t i = 0; i < item->n; i++) {
        const double p = exp(logprobs[i] - logprobs[likeliest]);
        norm[i] = logprobs[i] / (double)item->choices[i].characters;
        all += p;
        right += item->choices[i].right ? p : 0.0;
    }
    c->items++;
    c->right += item->choices[likeliest].right;
    c->right_norm += item->choices[best(norm, item->n)].right;
    c->shares += right / all;
    c->squares += right / all * (right / all);
}

static int ask(chooser *c, const json_t *object, uint64_t line) {
    task_item item;
    double logprobs[TASK_MOST_CHOICES];
    const char *why;
    int code = CLI_GO_ON;
    if (!task_make(c->options->task, &item, object, &why))
        code = cli_error("%s:%llu: no line of %s: %s", c->options->path, (unsigned long long)line,
                         c->options->task_name, why);
    for (uint32_t i = 0; i < item.n && code == CLI_GO_ON; i++)
        code = score_choice(c, &item.choices[i], line, &logprobs[i]);
    if (code == CLI_GO_ON)
        count_item(c, &item, logprobs);
    task_item_free(&item);
    return code;
}

/* ---- the data set ---------------------------------------------------------------------------- */

/* Nulls stand for blank lines (what is read of a file is objects and lists). */
static int ask_list(chooser *c, const json_t *list) {
    const size_t n = json_array_size(list);
    const uint64_t limit = c->options->limit;
    int code = CLI_GO_ON;
    for (size_t i = 0; i < n && code == CLI_GO_ON && (limit == 0 || c->items < limit); i++) {
        if (limit > 0)
            progress_count("evaluating", c->items, limit);
        else
            progress_count("evaluating", i, n);
        if (!json_is_null(json_array_get(list, i)))
            code = ask(c, json_array_get(list, i), i + 1);
    }
    if (code == CLI_GO_ON && c->items == 0)
        return cli_error("%s: holds no questions", c->options->path);
    return code;
}

/* JSON lines: a list of them, with null for blank ones. NULL: said why not. */
static json_t *read_lines(const cli_input *input) {
    json_t *list = json_array();
    uint64_t line = 1;
    for (const char *at = input->text, *end; list != NULL && *at; at = end + (*end != '\0')) {
        json_error_t error = {.text = "out of memory"};
        end = at + strcspn(at, "\n");
        const bool blank = strspn(at, " \t\r") >= (size_t)(end - at);
        json_t *object = blank ? json_null() : json_loadb(at, (size_t)(end - at), 0, &error);
        if (object == NULL || json_array_append_new(list, object) != 0) {
            cli_error("%s:%llu: %s", input->path, (unsigned long long)line, error.text);
            json_decref(list);
            return NULL;
        }
        line++;
    }
    return list;
}

static json_t *read_list(const cli_input *input) {
    json_error_t error = {.line = 0};
    json_t *list = json_loadb(input->text, input->length, 0, &error);
    if (list == NULL)
        cli_error("%s:%d: %s", input->path, error.line, error.text);
    return list;
}

static json_t *read_objects(const char *path) {
    cli_input input;
    if (!cli_read_text(&input, path))
        return NULL;
    json_t *list =
        input.text[strspn(input.text, " \t\r\n")] == '[' ? read_list(&input) : read_lines(&input);
    free(input.text);
    return list;
}

/* ---- what came of it ------------------------------------------------------------------------- */

typedef struct measure {
    const char *name;
    double mean, error, interval[2];
} measure;

static measure share_of(const char *name, uint64_t right, uint64_t n) {
    const score_mean mean = score_mean_of((double)right, (double)right, n);
    measure m = {.name = name, .mean = mean.mean, .error = mean.error};
    score_wilson(mean.mean, n, m.interval);
    return m;
}

static uint32_t measures(const chooser *c, measure to[2]) {
    if (task_is_share(c->options->task)) {
        const score_mean mean = score_mean_of(c->shares, c->squares, c->items);
        to[0] = (measure){"share",
                          mean.mean,
                          mean.error,
                          {fmax(mean.mean - SCORE_95 * mean.error, 0.0),
                           fmin(mean.mean + SCORE_95 * mean.error, 1.0)}};
        return 1;
    }
    to[0] = share_of("acc", c->right, c->items);
    to[1] = share_of("acc_norm", c->right_norm, c->items);
    return task_has_norm(c->options->task) ? 2 : 1;
}

static int print_json(const chooser *c, const measure *m, uint32_t n, double seconds) {
    json_t *root = json_pack(
        "{s:o, s:s, s:o, s:I, s:I, s:I, s:I, s:f}", "model", cli_json_name(c->options->model),
        "task", c->options->task_name, "file", cli_json_name(c->options->path), "questions",
        (json_int_t)c->items, "tokens_scored", (json_int_t)c->scored, "tokens_computed",
        (json_int_t)c->computed, "cut", (json_int_t)c->cut, "seconds", seconds);
    for (uint32_t i = 0; i < n && root != NULL; i++) {
        json_t *value = json_pack("{s:f, s:f, s:[f, f]}", "value", m[i].mean, "stderr", m[i].error,
                                  "interval_95", m[i].interval[0], m[i].interval[1]);
        if (json_object_set_new(root, m[i].name, value) != 0) {
            json_decref(root);
            root = NULL;
        }
    }
    return cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
}

static int print_text(const chooser *c, const measure *m, uint32_t n, double seconds) {
    for (uint32_t i = 0; i < n; i++)
        printf("%-12s %.4f (standard error %.4f; 95%%: %.4f to %.4f)\n", m[i].name, m[i].mean,
               m[i].error, m[i].interval[0], m[i].interval[1]);
    printf("questions    %llu\ntokens       %llu scored, %llu computed\nquestions/s  %.2f\n",
           (unsigned long long)c->items, (unsigned long long)c->scored,
           (unsigned long long)c->computed, seconds > 0.0 ? (double)c->items / seconds : 0.0);
    if (c->cut > 0)
        printf("cut          %llu choices: their questions did not fit the context of %u\n",
               (unsigned long long)c->cut, c->n_ctx);
    return CLI_DONE;
}

static int ask_all(chooser *c, const json_t *list) {
    const double start = cli_seconds();
    int code = ask_list(c, list);
    progress_end();
    if (code == CLI_GO_ON) {
        measure m[2];
        const uint32_t n = measures(c, m);
        const double seconds = cli_seconds() - start;
        code = c->options->json ? print_json(c, m, n, seconds) : print_text(c, m, n, seconds);
    }
    return code;
}

int choose_run(const choose_options *options, const sm_model *model, sm_session *session) {
    sm_error error = {0};
    sm_tokenizer_info info = {.struct_size = sizeof info};
    const sm_session_info about = cli_session_info(session);
    chooser c = {.options = options,
                 .session = session,
                 .n_vocab = (size_t)about.n_vocab,
                 .n_ctx = about.n_ctx};
    json_t *list = read_objects(options->path);
    if (list == NULL)
        return CLI_FAILED;
    int code = CLI_GO_ON;
    if (sm_model_get_tokenizer(model, &c.tokenizer, &error) != SM_OK ||
        sm_tokenizer_get_info(c.tokenizer, &info, &error) != SM_OK)
        code = cli_fail(&error);
    c.bos = info.add_bos ? info.bos : -1;
    c.logits = malloc(c.n_vocab * SCORE_TOGETHER * sizeof *c.logits);
    if (c.logits == NULL)
        code = cli_error("out of memory");
    if (code == CLI_GO_ON)
        code = ask_all(&c, list);
    free(c.logits);
    sm_tokenizer_free(c.tokenizer);
    json_decref(list);
    return code;
}
