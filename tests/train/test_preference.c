/* test_preference - objectives that compare answers, and distillation: their losses and every
 * gradient against PyTorch's, stored by golden_preference.py (which has the settings and the
 * format), slopes against finite differences; the layouts of the data; and whole trainers: margins
 * rise, every number of threads and every interruption gives the same bits.
 *
 * Usage: test_preference DIR           compares with the files of DIR
 *        test_preference --write DIR   writes the models that golden_preference.py reads
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"
#include "train/documents.h"
#include "train/objective.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

static const char *directory;

/* ---- formulas ------------------------------------------------------------------------------ */

static const uint32_t begin[] = {0, 9, 21, 28, 43}, prompts[] = {3, 3, 4, 4};
static const double references[] = {-26.5, -42.0, -15.0, -49.5};
static const bool good[] = {true, false, false, true};
#define KL 0.75
#define SPANS 4
#define TOKENS 43
#define TOLERANCE 2e-5

static const struct {
    const char *name;
    sm_trainer_options options;
} cases[] = {
    {"dpo", {.objective = SM_OBJECTIVE_DPO, .preference_beta = 0.1}},
    {"cdpo", {.objective = SM_OBJECTIVE_DPO, .preference_beta = 0.3, .label_smoothing = 0.2}},
    {"dpo-mean", {.objective = SM_OBJECTIVE_DPO, .preference_beta = 0.5, .length_normalized = 1}},
    {"ipo", {.objective = SM_OBJECTIVE_IPO, .preference_beta = 0.25}},
    {"simpo",
     {.objective = SM_OBJECTIVE_SIMPO,
      .preference_beta = 2,
      .label_smoothing = 0.1,
      .preference_margin = 0.8}},
    {"orpo", {.objective = SM_OBJECTIVE_ORPO, .preference_beta = 0.2}},
    {"kto",
     {.objective = SM_OBJECTIVE_KTO,
      .preference_beta = 0.15,
      .desirable_weight = 1,
      .undesirable_weight = 1.33}},
};
#define CASES (sizeof cases / sizeof *cases)

/* What the batch of the goldens gives. */
typedef struct judged {
    const sm_trainer_options *options;
    double loss, rewards[SPANS];
} judged;

static void judge(void *user, const double *losses, double *weights) {
    judged *j = user;
    const bool kto = j->options->objective == SM_OBJECTIVE_KTO;
    for (uint32_t i = 0; i < SPANS; i += kto ? 1 : 2) {
        sm_answer a[2];
        for (uint32_t k = 0; k < (kto ? 1 : 2); k++)
            a[k] = (sm_answer){-losses[i + k], references[i + k],
                               begin[i + k + 1] - begin[i + k] - prompts[i + k]};
        const sm_judgement s =
            kto ? sm_judge_label(j->options, a, good[i], KL) : sm_judge_pair(j->options, a);
        const double n = kto ? SPANS : SPANS / 2;
        j->loss += s.loss / n;
        for (uint32_t k = 0; k < (kto ? 1 : 2); k++) {
            j->rewards[i + k] = s.reward[k];
            weights[i + k] = -s.slope[k] / n;
        }
    }
}

static double read_f64(const uint8_t **at) {
    double value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

static uint32_t read_u32(const uint8_t **at) {
    uint32_t value;
    memcpy(&value, *at, sizeof value);
    *at += sizeof value;
    return value;
}

/* One tensor's gradient; moves behind it. */
static void check_gradient(const sm_params *params, const uint8_t **at) {
    char name[64] = "";
    const uint32_t length = read_u32(at);
    assert_true(length < sizeof name);
    memcpy(name, *at, length);
    *at += length;
    const uint32_t n = read_u32(at), step = read_u32(at);
    const sm_param *p = params->param;
    while (p < params->param + params->n && strcmp(p->name, name) != 0)
        p++;
    if (p == params->param + params->n || p->rows * p->cols != n)
        fail_msg("no parameter %s of %u elements", name, n);
    const double size = read_f64(at), along = read_f64(at);
    double squares = 0, sum = 0, error = 0;
    uint64_t random = 1;
    for (uint32_t i = 0; i < n; i++) {
        const double g = (double)p->grad[i];
        squares += g * g;
        sum += test_random(&random) & 1 ? g : -g;
        if (i % step)
            continue;
        float want;
        memcpy(&want, *at, 4);
        *at += 4;
        error += (g - (double)want) * (g - (double)want);
    }
    if (!(fabs(sqrt(squares) - size) <= TOLERANCE * size && fabs(sum - along) <= TOLERANCE * size &&
          sqrt(error) <= TOLERANCE * size))
        fail_msg("gradient of %s: length %.9g, not %.9g; along %.9g, not %.9g; off by %.3g", name,
                 sqrt(squares), size, sum, along, sqrt(error));
}

static void zero(void *arg, uint32_t thread, uint32_t n_threads) {
    const sm_crew crew = sm_graph_crew(arg, thread, n_threads);
    sm_params_zero_grad(&crew, sm_graph_params(arg));
}

/* The batch of all cases. */
static sm_train_batch make_batch(int32_t ids[TOKENS], int32_t targets[TOKENS]) {
    for (int32_t t = 0, span = 0; t < TOKENS; t++) {
        span += (uint32_t)t >= begin[span + 1];
        ids[t] = (t * 37 + 11) % 50;
        targets[t] = (uint32_t)t < begin[span] + prompts[span] ? -1 : (t * t * 7 + 5) % 100;
    }
    return (sm_train_batch){TOKENS, ids, targets, SPANS, begin};
}

static uint8_t *read_golden(const char *name, size_t *size) {
    char path[512];
    snprintf(path, sizeof path, "%s/preference-%s.bin", directory, name);
    uint8_t *file = scratch_read(path, size);
    if (!file)
        fail_msg("%s is missing", path);
    return file;
}

static void check_distilled(sm_graph *graph) {
    int32_t ids[TOKENS], targets[TOKENS];
    const sm_train_batch batch = make_batch(ids, targets);
    size_t size;
    uint8_t *file = read_golden("distill", &size);
    const uint8_t *at = file;
    double sum;
    uint64_t n;
    sm_team_run(sm_graph_team(graph), zero, graph);
    OK(sm_graph_backward(graph, &batch, 1.0 / (TOKENS - 14), 0, &sum, &n, error));
    assert_int_equal(n, TOKENS - 14);
    const double loss = read_f64(&at);
    if (fabs(sum / (double)n - loss) > 1e-5 * loss)
        fail_msg("distilled: loss %.9g, not %.9g", sum / (double)n, loss);
    while (at < file + size)
        check_gradient(sm_graph_params(graph), &at);
    free(file);
}

static void check_golden(sm_graph *graph, size_t i) {
    int32_t ids[TOKENS], targets[TOKENS];
    const sm_train_batch batch = make_batch(ids, targets);
    size_t size;
    uint8_t *file = read_golden(cases[i].name, &size);
    const uint8_t *at = file;
    judged j = {.options = &cases[i].options};
    double losses[SPANS], weights[SPANS];
    sm_team_run(sm_graph_team(graph), zero, graph);
    OK(sm_graph_backward_answers(graph, &batch, 0, losses, weights, judge, &j, error));
    const double loss = read_f64(&at);
    if (fabs(j.loss - loss) > 1e-5 * fabs(loss))
        fail_msg("%s: loss %.9g, not %.9g", cases[i].name, j.loss, loss);
    for (int k = 0; k < SPANS; k++) {
        const double want = read_f64(&at);
        if (fabs(j.rewards[k] - want) > 2e-5 * (fabs(want) + 0.1))
            fail_msg("%s: reward %d is %.9g, not %.9g", cases[i].name, k, j.rewards[k], want);
    }
    uint32_t n = 0;
    for (; at < file + size; n++)
        check_gradient(sm_graph_params(graph), &at);
    assert_int_equal(n, sm_graph_params(graph)->n);
    free(file);
}

static const fixture_model student = {.n_embd = 16,
                                      .n_head = 4,
                                      .n_head_kv = 2,
                                      .n_ff = 24,
                                      .no_vocab = true,
                                      .n_rows = 100,
                                      .untied = true};
static const fixture_model teacher = {.n_embd = 32,
                                      .n_layer = 3,
                                      .n_ff = 40,
                                      .no_vocab = true,
                                      .n_rows = 100,
                                      .untied = true,
                                      .seed = 7};

static void open_fixture(sm_source **source, sm_mem *mem, const char *name,
                         const fixture_model *model) {
    const char *path = scratch_path(name);
    assert_int_equal(fixture_write(path, model), 0);
    OK(sm_source_open(source, mem, path, true, error));
}

static void test_goldens(void **state) {
    (void)state;
    sm_mem mem;
    sm_source *source, *teaching;
    OK(sm_mem_init(&mem, NULL, 0, error));
    open_fixture(&source, &mem, "student.gguf", &student);
    open_fixture(&teaching, &mem, "teacher.gguf", &teacher);
    const sm_graph_options options = {
        .max_tokens = TOKENS, .max_spans = SPANS, .n_threads = 2, .answers = true};
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++) {
        sm_graph *graph;
        if (!sm_kernels_get(level))
            continue;
        OK(sm_graph_new(&graph, &mem, source, sm_kernels_get(level), &options, error));
        for (size_t i = 0; i < CASES; i++)
            check_golden(graph, i);
        sm_teacher *t;
        const sm_teacher_options of_teacher = {.weight = 0.3,
                                               .temperature = 1.7,
                                               .max_tokens = TOKENS,
                                               .max_spans = SPANS,
                                               .n_threads = 2,
                                               .n_vocab = 100,
                                               .chunk = sm_graph_chunk(graph)};
        OK(sm_teacher_new(&t, &mem, teaching, sm_kernels_get(level), &of_teacher, error));
        sm_graph_set_teacher(graph, t);
        check_distilled(graph);
        sm_graph_free(graph);
        sm_teacher_free(t);
    }
    sm_source_close(source);
    sm_source_close(teaching);
}

/* The slope is what a small change of a log-probability changes, also where answers are very likely
 * or hardly. */
static void test_slopes(void **state) {
    (void)state;
    static const double logps[] = {-1e-7, -0.4, -3, -40, -700};
    for (size_t i = 0; i < CASES; i++)
        for (size_t k = 0; k < 25; k++) {
            const bool kto = cases[i].options.objective == SM_OBJECTIVE_KTO;
            const sm_answer a[2] = {{logps[k % 5], -3, 2}, {logps[k / 5], -2, 3}};
            for (int side = 0; side < (kto ? 1 : 2); side++) {
                const double h = 1e-4 * -a[side].logp;
                sm_judgement at[3];
                for (int step = -1; step <= 1; step++) {
                    sm_answer b[2] = {a[0], a[1]};
                    b[side].logp += step * h;
                    at[step + 1] = kto ? sm_judge_label(&cases[i].options, b, k % 2, 0.3)
                                       : sm_judge_pair(&cases[i].options, b);
                }
                const double want = (at[2].loss - at[0].loss) / (2 * h), got = at[1].slope[side];
                if (!(fabs(got - want) <= 1e-4 * fabs(want) + 1e-9 * (1 + fabs(at[1].loss) / h)))
                    fail_msg("%s, answers of %g and %g: slope %.9g, not %.9g", cases[i].name,
                             a[0].logp, a[1].logp, got, want);
            }
        }
}

/* ---- data ---------------------------------------------------------------------------------- */

static const char *model_path(void) {
    static char path[512];
    if (*path)
        return path;
    char vocabulary[512];
    snprintf(vocabulary, sizeof vocabulary, "%s", scratch_path("vocabulary.gguf"));
    snprintf(path, sizeof path, "%s", scratch_path("model.gguf"));
    assert_int_equal(fixture_write(vocabulary, &(fixture_model){0}), 0);
    const sm_model_init_options small = {.struct_size = sizeof small,
                                         .n_embd = 48,
                                         .n_layer = 2,
                                         .n_head = 4,
                                         .n_head_kv = 2,
                                         .n_ff = 96,
                                         .n_ctx = 128,
                                         .seed = 1};
    OK(sm_model_init(path, vocabulary, &small, error));
    return path;
}

/* Short questions; good answers name a colour, bad ones a number. */
static const char *write_data(const char *name, bool labels) {
    static const char *const things[] = {"sky", "sun", "sea", "leaf", "rose", "snow", "night"};
    static const char *const colours[] = {"blue", "gold", "grey", "green", "red", "white", "black"};
    static char path[512];
    char text[8192] = "";
    uint64_t seed = 5;
    snprintf(path, sizeof path, "%s", scratch_path(name));
    for (int i = 0; i < 40; i++) {
        const size_t thing = test_random(&seed) % 7, number = test_random(&seed) % 900 + 100;
        char *end = text + strlen(text);
        const size_t room = sizeof text - (size_t)(end - text);
        if (!labels)
            snprintf(end, room,
                     "{\"prompt\": \"%s?\", \"chosen\": \" %s\", \"rejected\": \" %zu.\"}\n",
                     things[thing], colours[thing], number);
        else if (i % 3)
            snprintf(end, room, "{\"prompt\": \"%s?\", \"completion\": \" %s\", \"label\": true}\n",
                     things[thing], colours[thing]);
        else
            snprintf(end, room,
                     "{\"prompt\": \"%s?\", \"completion\": \" %zu.\", \"label\": false}\n",
                     things[thing], number);
    }
    scratch_write(path, text, strlen(text));
    return path;
}

static sm_trainer_options quick(uint32_t objective) {
    return (sm_trainer_options){
        .struct_size = sizeof(sm_trainer_options),
        .data = write_data(objective == SM_OBJECTIVE_KTO ? "labels.jsonl" : "pairs.jsonl",
                           objective == SM_OBJECTIVE_KTO),
        .objective = objective,
        .sequence = 24,
        .rows = 4,
        .steps = 12,
        .lr = 3e-3,
        .preference_beta = objective == SM_OBJECTIVE_SIMPO ? 2 : 0.3,
        .validation = 0.2,
        .n_threads = 1};
}

static sm_trainer *open_trainer(const sm_trainer_options *options) {
    sm_trainer *t = NULL;
    OK(sm_trainer_open(&t, model_path(), options, error));
    return t;
}

/* What opening says of an entry after a good one. */
static void expect_refused(uint32_t objective, const char *entry, const char *says) {
    char text[2048];
    sm_error e = {0};
    sm_trainer *t;
    sm_trainer_options o = quick(objective);
    if (objective == SM_OBJECTIVE_SUPERVISED)
        o.preference_beta = 0;
    const char *before = objective == SM_OBJECTIVE_KTO ? "\"completion\": \"b\", \"label\": true"
                         : objective == SM_OBJECTIVE_SUPERVISED
                             ? "\"completion\": \"b\""
                             : "\"chosen\": \"b\", \"rejected\": \"c\"";
    snprintf(text, sizeof text, "{\"prompt\": \"a\", %s}\n%s\n", before, entry);
    o.data = scratch_path("refused.jsonl");
    scratch_write(o.data, text, strlen(text));
    if (sm_trainer_open(&t, model_path(), &o, &e) == SM_OK)
        fail_msg("%s is taken", entry);
    if (!strstr(e.message, "refused.jsonl:2: ") || !strstr(e.message, says))
        fail_msg("%s: \"%s\" does not name line 2 and say %s", entry, e.message, says);
}

static void test_refused_entries(void **state) {
    (void)state;
    const uint32_t dpo = SM_OBJECTIVE_DPO, kto = SM_OBJECTIVE_KTO;
    expect_refused(dpo, "{\"prompt\": \"a\", \"chosen\": \"b\"}", "\"rejected\"");
    expect_refused(dpo, "{\"prompt\": \"a\", \"rejected\": \"b\"}", "\"chosen\"");
    expect_refused(dpo, "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": 7}", "\"rejected\"");
    expect_refused(dpo, "{\"prompt\": 1, \"chosen\": \"b\", \"rejected\": \"c\"}", "\"prompt\"");
    expect_refused(dpo, "{\"chosen\": \"b\", \"rejected\": \"c\"}", "\"prompt\"");
    expect_refused(dpo, "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}", "\"label\"");
    expect_refused(dpo, "{\"text\": \"t\"}", "\"chosen\"");
    expect_refused(dpo,
                   "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": [{\"role\": \"robot\", "
                   "\"content\": \"c\"}]}",
                   "\"robot\"");
    expect_refused(dpo,
                   "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}], \"chosen\": 5, "
                   "\"rejected\": \"c\"}",
                   "\"chosen\"");
    expect_refused(dpo, "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"", "");
    expect_refused(kto, "{\"prompt\": \"a\", \"completion\": \"b\"}", "\"label\"");
    expect_refused(kto, "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": \"yes\"}",
                   "\"label\"");
    expect_refused(kto, "{\"prompt\": \"a\", \"label\": true}", "\"completion\"");
    expect_refused(kto, "{\"prompt\": \"a\", \"chosen\": \"b\", \"label\": true}", "\"chosen\"");
    expect_refused(kto, "{\"text\": \"a\", \"label\": true}", "layouts");
    expect_refused(SM_OBJECTIVE_SUPERVISED,
                   "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": false}", "\"label\"");
    expect_refused(SM_OBJECTIVE_SUPERVISED,
                   "{\"instruction\": \"a\", \"output\": \"b\", \"kto_tag\": true}", "\"kto_tag\"");
}

#define N_VOCAB 259 /* bytes, then three marks, written as these: */
static const char marks[] = "@#$";

/* A vocabulary of bytes with ChatML's marks and an end of text. */
static sm_tokenizer *bytes_and_marks(sm_mem *mem) {
    static char names[256][8];
    static sm_str tokens[N_VOCAB];
    static int32_t types[N_VOCAB];
    static float scores[N_VOCAB];
    static const char *const spelled[] = {"<|im_start|>", "<|im_end|>", "</s>"};
    for (int i = 0; i < N_VOCAB; i++) {
        if (i < 256)
            snprintf(names[i], sizeof names[i], "<0x%02X>", (unsigned)i);
        const char *name = i < 256 ? names[i] : spelled[i - 256];
        tokens[i] = (sm_str){name, strlen(name)};
        types[i] = i < 256 ? SM_TOKEN_BYTE : SM_TOKEN_CONTROL;
    }
    const sm_vocab vocab = {.model = {"llama", 5},
                            .n_tokens = N_VOCAB,
                            .tokens = tokens,
                            .scores = scores,
                            .types = types,
                            .bos = SM_UNSET,
                            .eos = 258,
                            .unk = SM_UNSET,
                            .sep = SM_UNSET,
                            .pad = SM_UNSET,
                            .mask = SM_UNSET,
                            .cls = SM_UNSET,
                            .eot = SM_UNSET,
                            .eom = SM_UNSET,
                            .add_bos = 0,
                            .add_eos = 0,
                            .add_space_prefix = 0,
                            .remove_extra_whitespaces = SM_UNSET,
                            .escape_whitespaces = 0,
                            .ignore_merges = SM_UNSET,
                            .lowercase = SM_UNSET,
                            .strip_accents = SM_UNSET};
    sm_tokenizer *tokenizer;
    OK(sm_tokenizer_build(&tokenizer, mem, &vocab, error));
    return tokenizer;
}

/* Of an entry in ChatML the whole text and what of it is learned. */
static void expect_text(sm_data_kind kind, const char *entry, sm_answer_side side,
                        const char *whole, const char *learned) {
    const char *path = scratch_path("layout.jsonl");
    char text[2][512] = {"", ""};
    sm_mem mem;
    sm_documents d;
    sm_document_tokens t = {0};
    scratch_write(path, entry, strlen(entry));
    OK(sm_mem_init(&mem, NULL, 0, error));
    sm_tokenizer *tokenizer = bytes_and_marks(&mem);
    const sm_dataset_options o = {.kind = kind, .layout = SM_TEMPLATE_CHATML};
    OK(sm_documents_open(&d, &mem, path, tokenizer, &o, NULL, NULL, error));
    OK(sm_documents_read(&d, 0, side, &t, error));
    assert_true(t.n < sizeof text[0]);
    for (uint64_t i = 0; i < t.n; i++)
        for (int k = 0; k < (t.learn[i] ? 2 : 1); k++)
            text[k][strlen(text[k])] = (char)(t.ids[i] < 256 ? t.ids[i] : marks[t.ids[i] - 256]);
    if (strcmp(text[0], whole) != 0 || strcmp(text[1], learned) != 0)
        fail_msg("%s: \"%s\", learned \"%s\"", entry, text[0], text[1]);
    sm_document_tokens_free(&t, &mem);
    sm_documents_close(&d);
    sm_tokenizer_free(tokenizer);
}

#define USER(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define ASSISTANT(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"

static void test_layouts(void **state) {
    (void)state;
    const struct {
        const char *entry, *whole[2], *learned[2];
    } pairs[] = {
        {"{\"prompt\": \"q\", \"chosen\": \"c\", \"rejected\": \"r\"}",
         {"@user\nq#\n@assistant\nc#\n", "@user\nq#\n@assistant\nr#\n"},
         {"c#", "r#"}},
        {"{\"instruction\": \"i\", \"input\": \"x\", \"output\": \"o\", \"history\": [[\"h\", "
         "\"a\"]], \"chosen\": \"c\", \"rejected\": \"r\"}",
         {"@user\nh#\n@assistant\na#\n@user\ni\n\nx#\n@assistant\nc#\n",
          "@user\nh#\n@assistant\na#\n@user\ni\n\nx#\n@assistant\nr#\n"},
         {"c#", "r#"}},
        /* the prompt in both; what both begin with is not learned */
        {"{\"chosen\": [" USER("q") ", " ASSISTANT("a") ", " USER("p") ", " ASSISTANT(
             "c") "], \"rejected\": [" USER("q") ", " ASSISTANT("a") ", " USER("p") ", " ASSISTANT("r") "]}",
         {"@user\nq#\n@assistant\na#\n@user\np#\n@assistant\nc#\n",
          "@user\nq#\n@assistant\na#\n@user\np#\n@assistant\nr#\n"},
         {"c#", "r#"}},
        {"{\"prompt\": [" USER("q") "], \"chosen\": [" ASSISTANT(
             "c") "], \"rejected\": [" ASSISTANT("r") "], \"messages\": [" USER("q") ", " ASSISTANT("c") "]}",
         {"@user\nq#\n@assistant\nc#\n", "@user\nq#\n@assistant\nr#\n"},
         {"c#", "r#"}},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", "
         "\"value\": \"a\"}, {\"from\": \"human\", \"value\": \"p\"}], \"chosen\": {\"from\": "
         "\"gpt\", \"value\": \"c\"}, \"rejected\": {\"from\": \"gpt\", \"value\": \"r\"}}",
         {"@user\nq#\n@assistant\na#\n@user\np#\n@assistant\nc#\n",
          "@user\nq#\n@assistant\na#\n@user\np#\n@assistant\nr#\n"},
         {"c#", "r#"}},
        {"{\"messages\": [" USER("q") "], \"chosen\": \"c\", \"rejected\": \"r\"}",
         {"@user\nq#\n@assistant\nc#\n", "@user\nq#\n@assistant\nr#\n"},
         {"c#", "r#"}},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int side = 0; side < 2; side++)
            expect_text(SM_DATA_PAIRS, pairs[i].entry, (sm_answer_side)side, pairs[i].whole[side],
                        pairs[i].learned[side]);
    static const char *const labels[] = {
        "{\"prompt\": \"q\", \"completion\": \"c\", \"label\": true}",
        "{\"instruction\": \"q\", \"output\": \"c\", \"kto_tag\": false}",
        "{\"messages\": [" USER("q") ", " ASSISTANT("c") "], \"label\": 1}",
        "{\"prompt\": [" USER("q") "], \"completion\": [" ASSISTANT("c") "], \"label\": false}",
    };
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        expect_text(SM_DATA_LABELS, labels[i], SM_SIDE_ANSWER, "@user\nq#\n@assistant\nc#\n", "c#");
    expect_text(SM_DATA_LABELS,
                "{\"messages\": [" USER("q") ", " ASSISTANT("a") ", " USER("p") ", " ASSISTANT(
                    "c") "], \"label\": 1}",
                SM_SIDE_ANSWER, "@user\nq#\n@assistant\na#\n@user\np#\n@assistant\nc#\n", "c#");
}

/* ---- trainers ------------------------------------------------------------------------------ */

static sm_train_evaluation evaluate(sm_trainer *t) {
    sm_train_evaluation e = {.struct_size = sizeof e};
    OK(sm_trainer_evaluate(t, &e, error));
    assert_true(e.targets > 0 && e.bits_per_byte == 0);
    return e;
}

static sm_train_metrics steps(sm_trainer *t, int n) {
    sm_train_metrics m = {.struct_size = sizeof m};
    while (n--)
        OK(sm_trainer_step(t, &m, error));
    return m;
}

/* Every objective, all weights and adapters: good answers become likelier than the others. */
static void test_margins_rise(void **state) {
    (void)state;
    for (uint32_t objective = SM_OBJECTIVE_DPO; objective <= SM_OBJECTIVE_KTO; objective++)
        for (uint32_t rank = 0; rank <= 4; rank += 4) {
            sm_trainer_options o = quick(objective);
            o.lora_rank = rank;
            o.lr = rank ? 2e-2 : 3e-3;
            sm_trainer *t = open_trainer(&o);
            const sm_train_evaluation before = evaluate(t);
            const bool refers = objective != SM_OBJECTIVE_SIMPO && objective != SM_OBJECTIVE_ORPO;
            if (refers) { /* the model is its own reference */
                assert_true(fabs(before.chosen_reward) < 1e-6);
                assert_true(fabs(before.reward_margin) < 1e-6);
            }
            const sm_train_metrics m = steps(t, 12);
            const sm_train_evaluation after = evaluate(t);
            if (!(after.loss < before.loss && after.reward_margin > before.reward_margin + 0.02 &&
                  after.accuracy > 0.8))
                fail_msg("objective %u, rank %u: loss %g to %g, margin %g to %g, accuracy %g",
                         objective, rank, before.loss, after.loss, before.reward_margin,
                         after.reward_margin, after.accuracy);
            assert_true(m.targets > 0 && m.tokens > m.targets);
            assert_true(fabs(m.chosen_reward - m.rejected_reward - m.reward_margin) < 1e-12);
            sm_trainer_free(t);
        }
}

static void expect_same_files(const char *a, const char *b) {
    size_t n, m;
    uint8_t *x = scratch_read(a, &n), *y = scratch_read(b, &m);
    assert_non_null(x);
    assert_non_null(y);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

/* The adapters, or the model. */
static void export(sm_trainer *t, const char *path) {
    sm_error e = {0};
    if (sm_trainer_export_adapter(t, path, &e) == SM_ERR_STATE)
        OK(sm_trainer_export(t, path, NULL, error));
}

/* Seven steps behind a checkpoint end in straight.gguf, by 1, 2 and 4 threads. */
static void expect_resumed(sm_trainer_options o, const char *checkpoint) {
    for (o.n_threads = 1; o.n_threads <= 4; o.n_threads *= 2) {
        sm_trainer *t = open_trainer(&o);
        OK(sm_trainer_resume(t, scratch_path(checkpoint), error));
        steps(t, 7);
        export(t, scratch_path("resumed.gguf"));
        sm_trainer_free(t);
        expect_same_files(scratch_path("straight.gguf"), scratch_path("resumed.gguf"));
    }
}

/* The same weights for 1, 2 and 4 threads, straight on and resumed: the reference of a model that
 * is trained whole is that of the file, also for who comes back later. */
static void test_bits(void **state) {
    (void)state;
    static const uint32_t objectives[] = {SM_OBJECTIVE_DPO, SM_OBJECTIVE_KTO, SM_OBJECTIVE_ORPO};
    for (size_t i = 0; i < test_share(3, 2); i++)
        for (uint32_t rank = 0; rank <= 4; rank += 4) {
            sm_trainer_options o = quick(objectives[i]);
            o.lora_rank = rank;
            o.lora_dropout = rank ? 0.1 : 0;
            o.accumulate = 2;
            sm_trainer *t = open_trainer(&o);
            steps(t, 5);
            OK(sm_trainer_save(t, scratch_path("middle.ckpt"), error));
            steps(t, 7);
            export(t, scratch_path("straight.gguf"));
            sm_trainer_free(t);
            expect_resumed(o, "middle.ckpt");
        }
}

static void test_checkpoint(void **state) {
    (void)state;
    sm_trainer_options o = quick(SM_OBJECTIVE_SIMPO);
    o.preference_margin = 0.4;
    sm_trainer *t = open_trainer(&o);
    steps(t, 1);
    OK(sm_trainer_save(t, scratch_path("objective.ckpt"), error));
    sm_trainer_free(t);
    char text[4096];
    const char *model;
    uint64_t needed;
    sm_trainer_options again = {.struct_size = sizeof again};
    OK(sm_checkpoint_get_options(scratch_path("objective.ckpt"), &again, &model, text, sizeof text,
                                 &needed, error));
    assert_int_equal(again.objective, SM_OBJECTIVE_SIMPO);
    assert_true(again.preference_margin == 0.4 && again.preference_beta == 2);
    t = open_trainer(&again);
    OK(sm_trainer_resume(t, scratch_path("objective.ckpt"), error));
    sm_trainer_free(t);
    static const struct {
        double margin, beta;
        uint32_t objective;
        const char *says;
    } others[] = {{0.5, 2, SM_OBJECTIVE_SIMPO, "preference_margin"},
                  {0.4, 1, SM_OBJECTIVE_SIMPO, "preference_beta"},
                  {0, 2, SM_OBJECTIVE_DPO, "objective"}};
    for (size_t i = 0; i < 3; i++) {
        sm_error e = {0};
        sm_trainer_options other = o;
        other.preference_margin = others[i].margin;
        other.preference_beta = others[i].beta;
        other.objective = others[i].objective;
        t = open_trainer(&other);
        assert_int_equal(sm_trainer_resume(t, scratch_path("objective.ckpt"), &e), SM_ERR_ARGUMENT);
        assert_non_null(strstr(e.message, others[i].says));
        sm_trainer_free(t);
    }
}

/* ---- a teacher, and rates of adapters ------------------------------------------------------ */

static sm_trainer_options taught(const char *teacher_path) {
    sm_trainer_options o = quick(SM_OBJECTIVE_SUPERVISED);
    o.preference_beta = 0;
    o.data_kind = SM_DATA_FILE_CHOSEN;
    o.teacher = teacher_path;
    return o;
}

/* A model that is its own teacher loses nothing to it at first; one that learns of another comes
 * nearer to it. Threads and interruptions change nothing. */
static void test_teacher(void **state) {
    (void)state;
    sm_trainer_options o = taught(NULL);
    sm_trainer *t = open_trainer(&o); /* the teacher */
    steps(t, 12);
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("taught.gguf"));
    OK(sm_trainer_export(t, path, NULL, error));
    sm_trainer_free(t);
    o = taught(model_path());
    o.teacher_weight = 1;
    t = open_trainer(&o);
    sm_train_metrics m = steps(t, 1);
    assert_true(fabs(m.teacher_loss) < 1e-6 && fabs(m.loss) < 1e-6 && m.grad_norm < 1e-4);
    sm_trainer_free(t);
    o = taught(path);
    t = open_trainer(&o);
    const double before = steps(t, 1).teacher_loss;
    steps(t, 4);
    OK(sm_trainer_save(t, scratch_path("taught.ckpt"), error));
    const double after = steps(t, 7).teacher_loss;
    if (!(before > 0.03 && after < 0.5 * before))
        fail_msg("the teacher's loss was %g and is %g", before, after);
    export(t, scratch_path("straight.gguf"));
    sm_trainer_free(t);
    expect_resumed(o, "taught.ckpt");
    char text[4096];
    const char *model;
    uint64_t needed;
    sm_trainer_options again = {.struct_size = sizeof again};
    OK(sm_checkpoint_get_options(scratch_path("taught.ckpt"), &again, &model, text, sizeof text,
                                 &needed, error));
    assert_string_equal(again.teacher, path);
    assert_true(again.teacher_weight == 0.5 && again.teacher_temperature == 2);
    sm_error e = {0};
    o.teacher = model_path();
    t = open_trainer(&o);
    assert_int_equal(sm_trainer_resume(t, scratch_path("taught.ckpt"), &e), SM_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "another teacher"));
    sm_trainer_free(t);
    snprintf(path, sizeof path, "%s", scratch_path("other.gguf"));
    assert_int_equal(fixture_write(path, &(fixture_model){.spm = true}), 0);
    o.teacher = path;
    assert_int_equal(sm_trainer_open(&t, model_path(), &o, &e), SM_ERR_SHAPE);
    assert_non_null(strstr(e.message, "tokens are others"));
    o.teacher = scratch_path("none.gguf");
    assert_int_equal(sm_trainer_open(&t, model_path(), &o, &e), SM_ERR_IO);
}

/* LoRA+: after one step of SGD from B = 0, which moves by the gradient alone, B of `rate` times the
 * learning rate is `rate` times as large, and A, whose gradient is zero there, stays. */
static void test_lora_plus(void **state) {
    (void)state;
    float *value[2];
    sm_trainer *t[2];
    for (int i = 0; i < 2; i++) {
        sm_trainer_options o = taught(NULL);
        o.lora_rank = 4;
        o.lora_b_rate = i ? 8 : 0;
        o.optimizer = SM_OPTIMIZER_SGD;
        o.no_clip = 1;
        o.lr = 0.01;
        t[i] = open_trainer(&o);
        steps(t[i], 1);
    }
    sm_trained a, b;
    OK(sm_trainer_look(t[0], &a, error));
    OK(sm_trainer_look(t[1], &b, error));
    uint64_t n_b = 0;
    for (uint32_t i = 0; i < a.params->n; i++) {
        const sm_param *p = &a.params->param[i];
        const bool is_b = strstr(p->name, ".lora_b") != NULL;
        value[0] = p->value;
        value[1] = b.params->param[i].value;
        for (uint64_t k = 0; k < p->rows * p->cols; k++) {
            const float want = is_b ? 8 * value[0][k] : value[0][k];
            assert_true(fabsf(value[1][k] - want) <= 1e-6f * fabsf(want));
            n_b += is_b && want != 0;
        }
    }
    assert_true(n_b > 100);
    for (int i = 0; i < 2; i++) {
        sm_trainer_end(t[i]);
        sm_trainer_free(t[i]);
    }
}

/* ---- what goes wrong ------------------------------------------------------------------------ */

static int32_t count_down(void *user) {
    int *left = user;
    return --*left <= 0;
}

static int32_t count_down_opening(void *user, uint64_t done, uint64_t total) {
    assert_true(done <= total);
    return count_down(user);
}

/* Variants: DPO with adapters, KTO of all weights, with a teacher. */
static sm_trainer_options variant(int i) {
    sm_trainer_options o =
        i == 2 ? taught(model_path()) : quick(i ? SM_OBJECTIVE_KTO : SM_OBJECTIVE_DPO);
    o.lora_rank = i == 0 ? 4 : 0;
    return o;
}

/* A step or an evaluation that is cancelled anywhere changes nothing; so does opening. */
static void test_cancel(void **state) {
    (void)state;
    for (int i = 0; i < (int)test_share(3, 1); i++) {
        sm_trainer_options o = variant(i);
        sm_error e;
        sm_trainer *t = open_trainer(&o);
        steps(t, 3);
        OK(sm_trainer_save(t, scratch_path("plain.ckpt"), error));
        sm_trainer_free(t);
        t = open_trainer(&o);
        int left, cancelled = 0;
        OK(sm_trainer_set_cancel(t, count_down, &left, error));
        sm_train_evaluation result = {.struct_size = sizeof result};
        for (int asked = 1; sm_trainer_steps_left(t) > o.steps - 3; asked += 1 + asked / 8) {
            left = asked;
            sm_status status = sm_trainer_evaluate(t, &result, &e);
            assert_int_equal(status, left > 0 ? SM_OK : SM_ERR_CANCELLED);
            left = asked;
            status = sm_trainer_step(t, NULL, &e);
            assert_int_equal(status, left > 0 ? SM_OK : SM_ERR_CANCELLED);
            cancelled += status != SM_OK;
        }
        assert_true(cancelled > 5);
        OK(sm_trainer_set_cancel(t, NULL, NULL, error));
        OK(sm_trainer_save(t, scratch_path("cancelled.ckpt"), error));
        sm_trainer_free(t);
        expect_same_files(scratch_path("plain.ckpt"), scratch_path("cancelled.ckpt"));
        o.progress = count_down_opening;
        o.progress_user = &left;
        sm_status status = SM_ERR_CANCELLED;
        for (int asked = 1; status != SM_OK; asked += 1 + asked / 8) {
            left = asked;
            status = sm_trainer_open(&t, model_path(), &o, &e);
            assert_int_equal(status, left > 0 ? SM_OK : SM_ERR_CANCELLED);
        }
        sm_trainer_free(t);
    }
}

/* Every allocation fails in turn; under a sanitizer some. */
static void test_out_of_memory(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++)
        for (uint64_t at = 1;; at += test_share(1, 0) ? 1 : 1 + at / 8) {
            fail_alloc fail = {.fail_at = at};
            const sm_allocator hook = fail_allocator(&fail);
            sm_trainer_options o = variant(i);
            o.allocator = &hook;
            sm_trainer *t = NULL;
            sm_error e = {0};
            sm_status status = sm_trainer_open(&t, model_path(), &o, &e);
            if (!status)
                status = sm_trainer_step(t, NULL, &e);
            sm_trainer_free(t);
            assert_int_equal(fail.live_blocks, 0);
            if (!status)
                break;
            assert_int_equal(status, SM_ERR_NOMEM);
            assert_non_null(strstr(e.message, "memory"));
        }
}

static void expect_argument(const sm_trainer_options *o, const char *says) {
    sm_error e = {0};
    sm_trainer *t;
    assert_int_equal(sm_trainer_open(&t, model_path(), o, &e), SM_ERR_ARGUMENT);
    if (!strstr(e.message, says))
        fail_msg("\"%s\" does not say \"%s\"", e.message, says);
}

static void test_options(void **state) {
    (void)state;
    sm_trainer_options o = quick(SM_OBJECTIVE_DPO);
    o.loss_on_prompt = 1;
    expect_argument(&o, "loss_on_prompt is not one of objective dpo");
    o = quick(SM_OBJECTIVE_DPO);
    o.preference_margin = 1;
    expect_argument(&o, "preference_margin is not one of objective dpo");
    o = quick(SM_OBJECTIVE_IPO);
    o.label_smoothing = 0.1;
    expect_argument(&o, "label_smoothing is not one of objective ipo");
    o = quick(SM_OBJECTIVE_KTO);
    o.length_normalized = 1;
    expect_argument(&o, "length_normalized is not one of objective kto");
    o = quick(SM_OBJECTIVE_DPO);
    o.data_kind = SM_DATA_FILE_CHOSEN;
    expect_argument(&o, "chosen");
    o = quick(SM_OBJECTIVE_SUPERVISED);
    expect_argument(&o, "preference_beta is not one of objective supervised");
    o = taught(NULL);
    o.teacher_temperature = 3;
    expect_argument(&o, "teacher");
    o = taught(model_path());
    o.objective = SM_OBJECTIVE_DPO;
    o.data_kind = 0;
    expect_argument(&o, "teacher is not one of objective dpo");
    o = taught(NULL);
    o.lora_b_rate = 4;
    expect_argument(&o, "lora_rank");
    o = quick(SM_OBJECTIVE_DPO);
    o.objective = 6;
    expect_argument(&o, "objective");
    o = quick(SM_OBJECTIVE_DPO);
    o.rows = 60000;
    expect_argument(&o, "twice 24 tokens");
    o = quick(SM_OBJECTIVE_DPO);
    o.steps = 0;
    o.epochs = 2; /* of 32 pairs, 4 a step */
    sm_trainer *t = open_trainer(&o);
    assert_int_equal(sm_trainer_steps_left(t), 16);
    sm_trainer_free(t);
    o.sequence = 2; /* no answer is within it */
    sm_error e = {0};
    assert_int_equal(sm_trainer_open(&t, model_path(), &o, &e), SM_ERR_ARGUMENT);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        char path[2][512];
        snprintf(path[0], sizeof path[0], "%s/student.gguf", argv[2]);
        snprintf(path[1], sizeof path[1], "%s/teacher.gguf", argv[2]);
        return fixture_write(path[0], &student) || fixture_write(path[1], &teacher);
    }
    if (argc != 2) {
        fprintf(stderr, "usage: test_preference DIR | test_preference --write DIR\n");
        return 2;
    }
    directory = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),      cmocka_unit_test(test_slopes),
        cmocka_unit_test(test_layouts),      cmocka_unit_test(test_refused_entries),
        cmocka_unit_test(test_margins_rise), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_checkpoint),   cmocka_unit_test(test_options),
        cmocka_unit_test(test_teacher),      cmocka_unit_test(test_lora_plus),
        cmocka_unit_test(test_cancel),       cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
