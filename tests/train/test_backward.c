/* test_backward - gradients against finite differences of a reference in double, for every
 * parameter of every family; threads, checkpointing, precision, overfitting, bad input. */
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
#include "reference.h"
#include "support.h"
#include "train/graph.h"

/* ---- models and batches ---------------------------------------------------------------------- */

typedef struct trained {
    sm_mem mem;
    sm_source *gguf;
    sm_graph *graph;
} trained;

static sm_status open_graph(trained *m, const char *path, const sm_graph_options *options) {
    sm_error error;
    assert_int_equal(sm_mem_init(&m->mem, NULL, 0, &error), SM_OK);
    if (sm_source_open(&m->gguf, &m->mem, path, true, &error))
        fail_msg("%s", error.message);
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(SM_LEVEL_AUTO));
    return sm_graph_new(&m->graph, &m->mem, m->gguf, kernels, options, &error);
}

static void close_graph(trained *m) {
    sm_graph_free(m->graph);
    sm_source_close(m->gguf);
    assert_int_equal(m->mem.in_use, 0);
}

static void make(trained *m, const fixture_model *model, const sm_graph_options *options) {
    const char *path = scratch_path("train.gguf");
    assert_int_equal(fixture_write(path, model), 0);
    assert_int_equal(open_graph(m, path, options), SM_OK);
}

#define MAX_TOKENS 640
#define MAX_SPANS 64
#define MANY_TOKENS 1800 /* in test_many_tokens */

/* A batch with its arrays; spans of the given lengths, every fifth token without a target. */
typedef struct made_batch {
    sm_train_batch batch;
    int32_t ids[MANY_TOKENS], targets[MANY_TOKENS];
    uint32_t begin[MAX_SPANS + 1];
} made_batch;

static void make_batch(made_batch *b, const uint32_t *lengths, uint32_t n_spans, uint64_t seed) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_spans; i++) {
        b->begin[i] = n;
        for (uint32_t j = 0; j < lengths[i]; j++, n++) {
            b->ids[n] = (int32_t)(test_random(&seed) % 40); /* few: rows of the table repeat */
            b->targets[n] = n % 5 == 3 ? -1 : (int32_t)(test_random(&seed) % FIXTURE_VOCAB);
        }
    }
    b->begin[n_spans] = n;
    b->batch = (sm_train_batch){n, b->ids, b->targets, n_spans, b->begin};
}

static void zero_grad(const sm_graph *graph) {
    const sm_params *params = sm_graph_params(graph);
    for (uint32_t i = 0; i < params->n; i++)
        memset(params->param[i].grad, 0,
               params->param[i].rows * params->param[i].cols * sizeof(float));
}

static double backward(trained *m, const sm_train_batch *batch, double weight) {
    sm_error error;
    double loss = NAN;
    uint64_t n = 0;
    if (sm_graph_backward(m->graph, batch, weight, 0, &loss, &n, &error))
        fail_msg("%s", error.message);
    return loss;
}

static float *all_grads(const sm_graph *graph) {
    const sm_params *params = sm_graph_params(graph);
    float *all = malloc(params->n_elements * sizeof *all), *at = all;
    assert_non_null(all);
    for (uint32_t i = 0; i < params->n; i++) {
        const uint64_t n = params->param[i].rows * params->param[i].cols;
        memcpy(at, params->param[i].grad, n * sizeof *at);
        at += n;
    }
    return all;
}

/* ---- finite differences ---------------------------------------------------------- */

#define STEP 1e-6 /* small: what is clamped has kinks */
#define TOLERANCE 1e-4

/* The derivative of the loss along direction[n] in parameter i. */
static double difference(reference *r, uint32_t i, const double *direction, uint64_t n,
                         const sm_train_batch *batch) {
    double loss[2];
    for (int side = 0; side < 2; side++) {
        const double step = side ? -STEP : STEP;
        for (uint64_t j = 0; j < n; j++)
            r->value[i][j] += step * direction[j];
        loss[side] = reference_loss(r, batch);
        for (uint64_t j = 0; j < n; j++)
            r->value[i][j] -= step * direction[j];
    }
    return (loss[0] - loss[1]) / (2 * STEP);
}

/* One element. */
static double slope(reference *r, uint32_t i, uint64_t j, const sm_train_batch *batch) {
    double loss[2];
    const double value = r->value[i][j];
    for (int side = 0; side < 2; side++) {
        r->value[i][j] = value + (side ? -STEP : STEP);
        loss[side] = reference_loss(r, batch);
    }
    r->value[i][j] = value;
    return (loss[0] - loss[1]) / (2 * STEP);
}

/* Along random signs, which every element takes part in, against the gradient's length; then
 * the largest element and two others, against the largest. */
static void check_param(reference *r, uint32_t i, const sm_train_batch *batch, double weight,
                        uint64_t *seed) {
    const sm_param *p = &r->params->param[i];
    const uint64_t n = p->rows * p->cols;
    double *direction = malloc(n * sizeof *direction), along = 0, squares = 0;
    assert_non_null(direction);
    uint64_t largest = 0;
    for (uint64_t j = 0; j < n; j++) {
        const double g = (double)p->grad[j] / weight;
        assert_true(isfinite(g));
        direction[j] = test_random(seed) & 1 ? 1 : -1;
        along += direction[j] * g;
        squares += g * g;
        if (fabsf(p->grad[j]) > fabsf(p->grad[largest]))
            largest = j;
    }
    const double want = difference(r, i, direction, n, batch), length = sqrt(squares);
    if (!(length > 0) || fabs(along - want) > TOLERANCE * length)
        fail_msg("%s: along random signs %.9g, not %.9g (length %.3g)", p->name, along, want,
                 length);
    const double scale = fabs((double)p->grad[largest]) / weight;
    for (int k = 0; k < 3; k++) {
        const uint64_t j = k == 0 ? largest : test_random(seed) % n;
        const double got = (double)p->grad[j] / weight, wanted = slope(r, i, j, batch);
        if (fabs(got - wanted) > TOLERANCE * scale)
            fail_msg("%s[%llu]: %.9g, not %.9g (largest %.3g)", p->name, (unsigned long long)j, got,
                     wanted, scale);
    }
    free(direction);
}

static bool is_llama4(const fixture_model *model) {
    return model->architecture && !strcmp(model->architecture, "llama4");
}

/* Queries and keys make no difference where each token sees itself only: what is left of their
 * gradients is rounding. */
static bool has_no_part(const fixture_model *model, const char *name) {
    char last[64]; /* a scale before the last norm */
    snprintf(last, sizeof last, "blk.%u.layer_output_scale", model->n_layer - 1);
    if (strstr(name, last) || strstr(name, ".exp_probs_b")) /* takes part in the choice alone */
        return true;
    if (model->n_used == 1 && !is_llama4(model) &&
        strstr(name, ".ffn_gate_inp")) /* one expert counts as 1 */
        return true;
    return model->sliding_window == 1 && (strstr(name, ".attn_q") || strstr(name, ".attn_k"));
}

static void check_nothing(const sm_param *p) {
    for (uint64_t j = 0; j < p->rows * p->cols; j++)
        if (!(fabsf(p->grad[j]) < 1e-6f))
            fail_msg("%s[%llu]: %g, not 0", p->name, (unsigned long long)j, (double)p->grad[j]);
}

/* Layers of so many, of which the last has no window. */
static bool is_windowed(const fixture_model *model, uint32_t layer) {
    static const struct {
        const char *architecture;
        uint32_t period;
    } periods[] = {{"gemma2", 2},  {"gpt-oss", 2}, {"gemma3", 6}, {"olmo2", 4},  {"exaone4", 4},
                   {"cohere2", 4}, {"gemma4", 2},  {"llama4", 4}, {"mellum", 4}, {"exaone-moe", 4}};
    for (size_t i = 0; i < sizeof periods / sizeof *periods && model->architecture; i++)
        if (!strcmp(model->architecture, periods[i].architecture)) {
            const bool said = model->keys && model->keys[0].suffix &&
                              !strcmp(model->keys[0].suffix, "attention.sliding_window_pattern");
            const uint32_t period = said ? (uint32_t)model->keys[0].value : periods[i].period;
            return layer % period != period - 1;
        }
    return true;
}

/* Slots whose gradients were compared, of each kind. */
static bool compared[SM_KIND_COUNT][SM_MAX_SLOTS];

static void note_slots(const sm_net *net) {
    for (uint32_t i = 0; i <= net->n_blocks; i++) {
        const sm_block *b = &net->blocks[i];
        for (uint32_t s = 0; s < b->kind->n_slots; s++)
            if (b->v[s] || (b->w[s] && (b->w[s] != net->head || !sm_net_tied(net))))
                compared[b->kind->id][s] = true;
    }
}

/* With a weight of the routers' balancing loss. */
static void check_balanced(const fixture_model *model, const uint32_t *lengths, uint32_t n_spans,
                           double balance) {
    const sm_graph_options options = {.max_tokens = MAX_TOKENS,
                                      .max_spans = MAX_SPANS,
                                      .n_threads = 2,
                                      .expert_balance = balance};
    trained m;
    make(&m, model, &options);
    static made_batch b;
    make_batch(&b, lengths, n_spans, 7);
    const double weight = 1.0 / 32;
    zero_grad(m.graph);
    const double loss = backward(&m, &b.batch, weight);
    reference r = reference_make(m.graph);
    const bool chunks = is_llama4(model) && model->sliding_window;
    const uint32_t window = model->sliding_window | (chunks ? SM_CHUNKED : 0);
    for (uint32_t i = 0; i < r.config.n_layer; i++)
        r.window[i] = is_windowed(model, i) ? window : 0;
    const double want = reference_loss(&r, &b.batch);
    if (fabs(loss - want) > 2e-6 * want)
        fail_msg("loss %.9g, not %.9g", loss, want);
    if (fabs(sm_graph_balance(m.graph) - (balance > 0 ? *r.balanced : 0)) > 1e-5)
        fail_msg("balance %.9g, not %.9g", sm_graph_balance(m.graph), *r.balanced);
    r.balance = balance;
    uint64_t seed = 1;
    /* differences are the reference's work, in which a sanitizer has nothing to look for */
    const uint32_t step = r.params->n / test_share(r.params->n, 4);
    for (uint32_t i = 0; i < r.params->n; i += step)
        if (has_no_part(model, r.params->param[i].name))
            check_nothing(&r.params->param[i]);
        else
            check_param(&r, i, &b.batch, weight, &seed);
    note_slots(sm_graph_net(m.graph));
    reference_free(&r);
    close_graph(&m);
}

static void check_gradients(const fixture_model *model, const uint32_t *lengths, uint32_t n_spans) {
    check_balanced(model, lengths, n_spans, 0);
}

static const uint32_t short_spans[] = {5, 1, 11, 3};

static void test_families(void **state) {
    (void)state;
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 3; i++)
        for (int untied = 0; untied < 2; untied++) {
            const fixture_model model = {.architecture = families[i],
                                         .n_embd = 48,
                                         .head_dim = 16,
                                         .n_ff = 40,
                                         .untied = untied,
                                         .seed = 3};
            check_gradients(&model, short_spans, 4);
        }
}

static const fixture_model gemma2 = {.architecture = "gemma2",
                                     .n_embd = 48,
                                     .head_dim = 16,
                                     .n_ff = 40,
                                     .n_layer = 4,
                                     .sliding_window = 4,
                                     .seed = 3};
static const fixture_model olmo3 = {.architecture = "olmo2",
                                    .n_embd = 48,
                                    .head_dim = 16,
                                    .n_ff = 40,
                                    .n_layer = 4,
                                    .sliding_window = 37,
                                    .untied = true,
                                    .seed = 3};
static const fixture_model mixtral = {
    .n_embd = 48, .n_ff = 40, .n_experts = 5, .n_used = 2, .untied = true, .seed = 4};

static void test_gemma2(void **state) {
    (void)state;
    check_gradients(&gemma2, short_spans, 4);
}

static const fixture_key four_scales[] = {{"attention.scale", 'f', 0.4},
                                          {"embedding_scale", 'f', 3},
                                          {"residual_scale", 'f', 0.7},
                                          {"logit_scale", 'f', 0.25},
                                          {0}};

static void test_scales(void **state) {
    (void)state;
    const fixture_model granite = {.architecture = "granite", .n_embd = 48, .keys = four_scales};
    const fixture_model minicpm = {.architecture = "minicpm", .n_embd = 48, .n_layer = 3};
    check_gradients(&granite, short_spans, 4);
    check_gradients(&minicpm, short_spans, 4);
    check_gradients(&(fixture_model){.architecture = "gemma", .head_dim = 24}, short_spans, 4);
}

#define LAYER_EPS \
    { "attention.layer_norm_epsilon", 'f', 1e-5 }
static const fixture_key layer_norm[] = {LAYER_EPS, {0}};

/* LayerNorm with biases; part of a head rotated. */
static void test_layer_norm(void **state) {
    (void)state;
    const fixture_model stablelm = {.architecture = "stablelm",
                                    .n_embd = 48,
                                    .head_dim = 16,
                                    .u32_key = "stablelm.rope.dimension_count",
                                    .u32_value = 4,
                                    .biases = true,
                                    .keys = layer_norm};
    check_gradients(&stablelm, short_spans, 4);
}

typedef struct rope_case {
    const char *architecture;
    uint32_t n_layer, window, n_ctx;
    const char *scaling;
    const fixture_key keys[2];
} rope_case;

static void check_ropes(const rope_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const fixture_model model = {.architecture = cases[i].architecture,
                                     .n_embd = 48,
                                     .n_layer = cases[i].n_layer,
                                     .head_dim = i % 2 ? 16 : 20,
                                     .n_ff = 40,
                                     .sliding_window = cases[i].window,
                                     .rope_scaling = cases[i].scaling,
                                     .keys = cases[i].keys,
                                     .n_ctx = cases[i].n_ctx,
                                     .seed = 3};
        check_gradients(&model, short_spans, 4);
    }
}

/* Layers with windows and rotations of their own, or none. */
static void test_ropes(void **state) {
    (void)state;
    static const rope_case cases[] = {
        {"smollm3", 4, 0, 0, NULL, {{0}}},
        {"exaone4", 4, 4, 0, NULL, {{"rope.freq_base_swa", 'f', 300}}},
        {"gemma3", 7, 3, 0, "linear", {{"rope.freq_base_swa", 'f', 300}}},
        {"gemma3", 2, 5, 0, NULL, {{"attention.sliding_window_pattern", 'u', 2}}},
        {"granite", 2, 0, 0, NULL, {{"rope.scaling.finetuned", 'b', 0}}}};
    check_ropes(cases, sizeof cases / sizeof *cases);
}

/* What llama's relatives have. */
static void test_relatives(void **state) {
    (void)state;
    static const rope_case cases[] = {
        {"mistral3", 2, 0, 16, "yarn", {{"attention.temperature_scale", 'f', 0.7}}},
        {"mistral3", 2, 0, 0, "yarn", {{"rope.scaling.yarn_log_multiplier", 'f', 1}}},
        {"arcee", 2, 0, 0, NULL, {{0}}},
        {"hunyuan_vl", 2, 0, 0, NULL, {{"rope.scaling.alpha", 'f', 50}}},
        {"paddleocr", 2, 0, 0, NULL, {{0}}},
        {"maincoder", 2, 0, 0, NULL, {{0}}},
        {"pangu-embedded", 2, 0, 0, NULL, {{0}}},
        {"qwen2vl", 2, 0, 0, NULL, {{0}}},
        {"qwen3vl", 2, 0, 0, NULL, {{0}}},
        {"seed_oss", 2, 0, 0, NULL, {{0}}},
        {"xverse", 2, 0, 0, NULL, {{0}}}};
    check_ropes(cases, sizeof cases / sizeof *cases);
}

/* Blocks without a norm before them; norms of q and k over all heads, or after the rotation. */
static void test_norm_places(void **state) {
    (void)state;
    static const rope_case cases[] = {
        {"hunyuan-dense", 2, 0, 0, NULL, {{0}}},
        {"exaone4", 2, 0, 0, NULL, {{0}}},
        {"olmo2", 2, 0, 0, "linear", {{0}}},
        {"olmo2", 5, 3, 0, "yarn", {{"rope.freq_base_swa", 'f', 300}}}};
    check_ropes(cases, sizeof cases / sizeof *cases);
}

static void check_same(const sm_graph_options *other, const fixture_model *model);

/* Feed-forward parts without a gate. */
static void test_plain(void **state) {
    (void)state;
    const fixture_model starcoder2 = {
        .architecture = "starcoder2", .n_embd = 48, .n_ff = 40, .keys = layer_norm};
    const fixture_model nemotron = {
        .architecture = "nemotron", .n_embd = 48, .n_ff = 40, .untied = true, .keys = layer_norm};
    check_gradients(&starcoder2, short_spans, 4);
    check_gradients(&nemotron, short_spans, 4);
}

static const fixture_model gpt2 = {
    .architecture = "gpt2", .n_embd = 48, .n_ff = 40, .n_head_kv = 4, .keys = layer_norm};

/* Positions that are learned, and no rotation. */
static void test_positions(void **state) {
    (void)state;
    const fixture_model starcoder = {.architecture = "starcoder",
                                     .n_embd = 48,
                                     .n_ff = 40,
                                     .n_head_kv = 1,
                                     .untied = true,
                                     .keys = layer_norm};
    check_gradients(&gpt2, short_spans, 4);
    check_gradients(&starcoder, short_spans, 4);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++)
        check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                       .max_spans = MAX_SPANS,
                                       .checkpoint_layers = checkpoint,
                                       .n_threads = 3},
                   &gpt2);
}

/* A span that goes on where no position is known is refused. */
static void test_no_position(void **state) {
    (void)state;
    fixture_model model = gpt2;
    model.n_ctx = 16;
    trained m;
    static made_batch b;
    double loss;
    make(&m, &model, &(sm_graph_options){.max_tokens = 64, .max_spans = 4, .n_threads = 1});
    make_batch(&b, (uint32_t[]){16, 16}, 2, 7);
    assert_int_equal(sm_graph_loss(m.graph, &b.batch, &loss, NULL, NULL), SM_OK);
    make_batch(&b, (uint32_t[]){3, 17}, 2, 7);
    assert_int_equal(sm_graph_loss(m.graph, &b.batch, &loss, NULL, NULL), SM_ERR_ARGUMENT);
    close_graph(&m);
}

static const fixture_key clamped[] = {LAYER_EPS, {"attention.clamp_kqv", 'f', 1.1}, {0}};

/* Norms without tensors, queries, keys and values within limits. */
static void test_olmo(void **state) {
    (void)state;
    const fixture_model olmo = {
        .architecture = "olmo", .n_embd = 48, .n_ff = 40, .untied = true, .keys = clamped};
    check_gradients(&olmo, short_spans, 4);
}

static const fixture_key scaled[] = {LAYER_EPS, {"logit_scale", 'f', 0.3}, {0}};

/* Both branches read one LayerNorm without a bias; heads of q and k may have norms of their own. */
static void test_cohere(void **state) {
    (void)state;
    fixture_model model = {
        .architecture = "command-r", .n_embd = 48, .n_ff = 40, .head_dim = 20, .keys = scaled};
    check_gradients(&model, short_spans, 4);
    model.head_norms = true;
    check_gradients(&model, short_spans, 4);
    model.n_head_kv = 4; /* one head of keys for each of queries */
    check_gradients(&model, short_spans, 4);
    const fixture_model cohere2 = {.architecture = "cohere2",
                                   .n_embd = 48,
                                   .n_ff = 40,
                                   .n_layer = 5,
                                   .sliding_window = 4,
                                   .keys = scaled};
    check_gradients(&cohere2, short_spans, 4);
}

static const fixture_key in_parallel[] = {LAYER_EPS, {"use_parallel_residual", 'b', 1}, {0}};
static const fixture_model parallel = {.architecture = "stablelm",
                                       .n_embd = 48,
                                       .n_ff = 40,
                                       .n_layer = 3,
                                       .untied = true,
                                       .keys = in_parallel};

/* Attention and feed-forward parts that read the same x, and a norm of both. */
static void test_parallel(void **state) {
    (void)state;
    const fixture_model phi2 = {
        .architecture = "phi2", .n_embd = 48, .n_ff = 40, .untied = true, .keys = layer_norm};
    const fixture_model gptneox = {
        .architecture = "gptneox", .n_embd = 48, .n_ff = 40, .untied = true, .keys = layer_norm};
    const fixture_model falcon = {
        .architecture = "falcon", .n_embd = 48, .n_ff = 40, .n_head_kv = 1, .keys = layer_norm};
    check_gradients(&parallel, short_spans, 4);
    check_gradients(&phi2, short_spans, 4);
    check_gradients(&gptneox, short_spans, 4);
    check_gradients(&falcon, short_spans, 4);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++)
        check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                       .max_spans = MAX_SPANS,
                                       .checkpoint_layers = checkpoint,
                                       .n_threads = 3},
                   &parallel);
}

static void test_mixtral(void **state) {
    (void)state;
    const fixture_model one = {
        .n_embd = 32, .n_ff = 48, .n_experts = 3, .n_used = 1, .n_layer = 1, .seed = 5};
    check_gradients(&mixtral, short_spans, 4);
    check_gradients(&one, short_spans, 4);
}

/* Rows of a larger tensor: one parameter for all, which begin and end inside groups of 16. */
static const fixture_model joined = {.architecture = "phi3",
                                     .all_biases = true,
                                     .n_embd = 40,
                                     .head_dim = 10,
                                     .n_ff = 52,
                                     .seed = 6};

static void test_joined(void **state) {
    (void)state;
    const fixture_model qwen2 = {.architecture = "qwen2", .joined = true, .seed = 7};
    fixture_model experts = mixtral; /* gate and up of each in one */
    experts.joined = true;
    check_gradients(&joined, short_spans, 4);
    check_gradients(&qwen2, short_spans, 4);
    check_gradients(&experts, short_spans, 4);
    for (int post = 0; post < 2; post++) { /* norms behind parts; a part of each head rotated */
        const fixture_model glm = {.architecture = post ? "glm4" : "chatglm",
                                   .biases = true,
                                   .u32_key = post ? "glm4.rope.dimension_count" : NULL,
                                   .u32_value = 8,
                                   .seed = 8};
        check_gradients(&glm, short_spans, 4);
    }
}

/* Scores that fall with distance, of heads whose number is a power of two and is not; q, k and v
 * within a limit, with norms behind it and without. Keys that any family may have. */
static void test_alibi_and_clamp(void **state) {
    (void)state;
    static const fixture_key keys[][3] = {
        {{"attention.max_alibi_bias", 'f', 8}, {0}},
        {{"attention.clamp_kqv", 'f', 1.1}, {0}},
        {{"attention.max_alibi_bias", 'f', 5}, {"attention.clamp_kqv", 'f', 1.1}, {0}}};
    static const char *const families[] = {"llama", "qwen3", "gemma2"};
    for (uint32_t i = 0; i < 9; i++) {
        const fixture_model model = {.architecture = families[i / 3],
                                     .n_embd = 48,
                                     .head_dim = 8,
                                     .n_head = i % 2 ? 6 : 8,
                                     .n_head_kv = i % 3 ? 2 : 0,
                                     .keys = keys[i % 3],
                                     .sliding_window = i == 5 ? 4 : 0,
                                     .seed = i};
        check_gradients(&model, short_spans, 4);
    }
    static const fixture_key of_mpt[] = {LAYER_EPS, /* no biases, not of norms either */
                                         {"attention.max_alibi_bias", 'f', 8},
                                         {"attention.clamp_kqv", 'f', 0.9},
                                         {0}};
    const fixture_model bloom = {.architecture = "bloom",
                                 .n_embd = 60,
                                 .n_head = 6,
                                 .n_head_kv = 6,
                                 .n_ff = 40,
                                 .keys = layer_norm};
    const fixture_model mpt = {
        .architecture = "mpt", .n_embd = 48, .n_head_kv = 4, .n_ff = 40, .keys = of_mpt};
    check_gradients(&bloom, short_spans, 4);
    check_gradients(&mpt, short_spans, 4);
    const uint32_t lengths[] = {330, 1, 229}; /* blocks of keys */
    const fixture_model far = {
        .n_embd = 32, .n_layer = 1, .n_head = 3, .n_head_kv = 1, .head_dim = 8, .keys = keys[2]};
    check_gradients(&far, lengths, 3);
}

/* Spans of more tokens than the original context, and of fewer. */
static void test_longrope(void **state) {
    (void)state;
    static const fixture_key keys[] = {{"rope.scaling.original_context_length", 'u', 4},
                                       {"rope.scaling.attn_factor", 'f', 1.25},
                                       {0}};
    const fixture_model model = {
        .architecture = "phi3", .longrope = true, .keys = keys, .n_layer = 1};
    check_gradients(&model, short_spans, 4);
}

/* Absorbed, with queries that have a latent of their own; the same with YaRN and without it; heads
 * expanded, sizes that fill no group. */
static const fixture_key absorbed[] = {{"attention.q_lora_rank", 'u', 20},
                                       {"attention.kv_lora_rank", 'u', 24},
                                       {"attention.key_length_mla", 'u', 18},
                                       {"attention.value_length_mla", 'u', 12},
                                       {"rope.dimension_count", 'u', 8},
                                       {"rope.scaling.yarn_log_multiplier", 'f', 0.1},
                                       {NULL, 0, 0}};
static const fixture_key direct[] = {{"attention.kv_lora_rank", 'u', 32},
                                     {"attention.key_length_mla", 'u', 24},
                                     {"attention.value_length_mla", 'u', 16},
                                     {"rope.dimension_count", 'u', 8},
                                     {NULL, 0, 0}};
static const fixture_key expanded[] = {
    {"attention.q_lora_rank", 'u', 20}, {"attention.kv_lora_rank", 'u', 24},
    {"attention.key_length", 'u', 18},  {"attention.value_length", 'u', 12},
    {"rope.dimension_count", 'u', 8},   {NULL, 0, 0}};
static const fixture_key wide_values[] = {{"attention.kv_lora_rank", 'u', 24},
                                          {"attention.key_length", 'u', 18},
                                          {"attention.value_length", 'u', 26},
                                          {"rope.dimension_count", 'u', 8},
                                          {NULL, 0, 0}};
static const fixture_model latent = {.architecture = "deepseek2",
                                     .n_embd = 48,
                                     .n_ff = 40,
                                     .keys = absorbed,
                                     .rope_scaling = "yarn",
                                     .untied = true,
                                     .seed = 6};

static void test_latent(void **state) {
    (void)state;
    const fixture_key *const others[] = {direct, expanded, wide_values};
    check_gradients(&latent, short_spans, 4);
    for (size_t i = 0; i < 3; i++) {
        const fixture_model model = {.architecture = "deepseek2",
                                     .n_embd = 40,
                                     .n_ff = 36,
                                     .n_head = 3,
                                     .keys = others[i],
                                     .seed = 7 + i};
        check_gradients(&model, short_spans, 4);
    }
}

static const fixture_key shared_keys[] = {
    {"expert_feed_forward_length", 'u', 24}, {"expert_shared_feed_forward_length", 'u', 36}, {0}};
static const fixture_key grouped_keys[] = {{"expert_feed_forward_length", 'u', 24},
                                           {"expert_shared_count", 'u', 2},
                                           {"leading_dense_block_count", 'u', 1},
                                           {"expert_group_count", 'u', 4},
                                           {"expert_group_used_count", 'u', 2},
                                           {"expert_weights_scale", 'f', 2.5},
                                           {0}};
static const fixture_key sigmoid_keys[] = {
    {"expert_gating_func", 'u', 2}, {"expert_weights_scale", 'f', 1.5}, {0}};
static const fixture_key raw_sigmoid_keys[] = {
    {"expert_gating_func", 'u', 2}, {"expert_weights_norm", 'b', 0}, {0}};
static const fixture_key raw_groups_keys[] = {{"expert_group_count", 'u', 2},
                                              {"expert_group_used_count", 'u', 1},
                                              {"expert_weights_norm", 'b', 0},
                                              {"expert_weights_scale", 'f', 3},
                                              {0}};

static const fixture_key latent_experts_keys[] = {{"attention.kv_lora_rank", 'u', 32},
                                                  {"attention.key_length_mla", 'u', 24},
                                                  {"attention.value_length_mla", 'u', 16},
                                                  {"rope.dimension_count", 'u', 8},
                                                  {"expert_shared_count", 'u', 1},
                                                  {"leading_dense_block_count", 'u', 1},
                                                  {"expert_gating_func", 'u', 2},
                                                  {"expert_weights_norm", 'b', 1},
                                                  {0}};

/* Every way of routing; shared experts with and without a share; dense layers; all biases. */
static const fixture_model sparse[] = {
    {.architecture = "qwen2moe", .n_experts = 5, .n_used = 2, .keys = shared_keys},
    {.architecture = "qwen3moe", .n_experts = 4, .n_used = 3, .head_dim = 20},
    {.architecture = "olmoe", .n_experts = 5, .n_used = 2},
    {.architecture = "dots1", .n_experts = 8, .n_used = 2, .keys = grouped_keys},
    {.architecture = "hunyuan-moe", .n_experts = 4, .n_used = 2, .keys = shared_keys},
    {.architecture = "deepseek", .n_experts = 5, .n_used = 2, .keys = shared_keys},
    {.architecture = "bailingmoe", .n_experts = 5, .n_used = 2, .keys = shared_keys},
    {.architecture = "bailingmoe2", .n_experts = 8, .n_used = 2, .keys = grouped_keys},
    {.architecture = "phimoe", .n_experts = 16, .n_used = 2},
    {.architecture = "glm4moe",
     .n_experts = 8,
     .n_used = 3,
     .all_biases = true,
     .keys = grouped_keys},
    {.architecture = "ernie4_5-moe", .n_experts = 6, .n_used = 2, .all_biases = true},
    {.architecture = "gpt-oss", .n_experts = 4, .n_used = 2, .sliding_window = 4},
    {.architecture = "deepseek2",
     .n_experts = 4,
     .n_used = 2,
     .all_biases = true,
     .keys = latent_experts_keys},
    {.n_experts = 3, .n_used = 2, .keys = sigmoid_keys},
    {.n_experts = 6, .n_used = 2, .keys = raw_sigmoid_keys, .all_biases = true},
    {.n_experts = 6, .n_used = 2, .keys = raw_groups_keys},
};

/* Chunks of positions, queries and keys normed without gains, queries that grow, inputs of experts
 * weighed; with two experts a token, and without windows. */
static const fixture_key of_llama4[] = {{"attention.temperature_scale", 'f', 0.3},
                                        {"attention.temperature_length", 'u', 2},
                                        {"expert_feed_forward_length", 'u', 24},
                                        {"interleave_moe_layer_step", 'u', 2},
                                        {0}};
static const fixture_key not_windowed[] = {
    {"attention.sliding_window", 'u', 0}, {"expert_feed_forward_length", 'u', 24}, {0}};

static void test_llama4(void **state) {
    (void)state;
    fixture_model model = {.architecture = "llama4",
                           .n_embd = 48,
                           .n_ff = 40,
                           .n_layer = 4,
                           .n_experts = 5,
                           .n_used = 1,
                           .sliding_window = 4,
                           .keys = of_llama4,
                           .seed = 21};
    check_gradients(&model, short_spans, 4);
    model.n_used = 3;
    model.n_head_kv = 4;
    check_balanced(&model, short_spans, 4, 3);
    model.sliding_window = 0;
    model.n_layer = 2;
    model.keys = not_windowed;
    check_gradients(&model, short_spans, 4);
    const uint32_t lengths[] = {330, 1, 229}; /* chunks across blocks of keys */
    const fixture_model far = {.architecture = "llama4",
                               .n_embd = 32,
                               .n_layer = 1,
                               .n_head = 2,
                               .n_head_kv = 1,
                               .n_ff = 32,
                               .sliding_window = 100};
    check_gradients(&far, lengths, 3);
}

/* Layers without attention, with a matrix in its place, without a feed-forward part, with heads and
 * widths of their own. */
static const fixture_key found[] = {{"attention.head_count", 'l', 4424},
                                    {"attention.head_count_kv", 'l', 2021},
                                    {"feed_forward_length", 'L', 5607},
                                    {"attention.key_length", 'u', 12},
                                    {"attention.value_length", 'u', 12},
                                    {"rope.dimension_count", 'u', 12},
                                    {0}};
static const fixture_key late[] = {{"attention.head_count", 'l', 44},
                                   {"attention.head_count_kv", 'l', 2},
                                   {"feed_forward_length", 'L', 56},
                                   {"attention.key_length", 'u', 12},
                                   {"attention.value_length", 'u', 12},
                                   {"rope.dimension_count", 'u', 12},
                                   {0}};

static void test_deci(void **state) {
    (void)state;
    check_gradients(
        &(fixture_model){.architecture = "deci", .n_layer = 4, .n_embd = 48, .keys = found},
        short_spans, 4);
    check_gradients(
        &(fixture_model){
            .architecture = "deci", .n_layer = 2, .n_embd = 48, .all_biases = true, .keys = late},
        short_spans, 4);
}

/* Families that are others' blocks put together anew. */
static void test_more_relatives(void **state) {
    (void)state;
    static const char *const names[] = {"apertus", "refact", "baichuan", "openelm", "plamo",
                                        "qwen",    "jais",   "jais2",    "orion",   "codeshell"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_gradients(&(fixture_model){.architecture = names[i],
                                         .n_embd = 48,
                                         .n_ff = 40,
                                         .n_head_kv = 4,
                                         .keys = layer_norm,
                                         .seed = 30 + i},
                        short_spans, 4);
    static const char *const mixtures[] = {"dbrx", "minimax-m2", "hy_v3", "exaone-moe", "mellum"};
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++)
        check_gradients(&(fixture_model){.architecture = mixtures[i],
                                         .n_embd = 48,
                                         .n_ff = 40,
                                         .n_layer = 4,
                                         .n_experts = 5,
                                         .n_used = 2,
                                         .sliding_window = i >= 3 ? 4 : 0,
                                         .keys = layer_norm,
                                         .seed = 40 + i},
                        short_spans, 4);
}

static void test_sparse(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof sparse / sizeof *sparse; i++) {
        fixture_model model = sparse[i];
        model.n_embd = 48;
        model.n_ff = 40;
        model.seed = 8;
        check_gradients(&model, short_spans, 4);
        if (i % 2 == 0)
            check_balanced(&model, short_spans, 4, 3);
    }
}

/* Windowed layers with heads of their own size, the last two without keys and values of their own;
 * inputs of layers. */
static const fixture_key per_layer[] = {{"attention.key_length_swa", 'u', 8},
                                        {"attention.value_length_swa", 'u', 8},
                                        {"rope.dimension_count_swa", 'u', 8},
                                        {"rope.dimension_count", 'u', 16},
                                        {"attention.shared_kv_layers", 'u', 3},
                                        {"attention.sliding_window_pattern", 'u', 2},
                                        {"embedding_length_per_layer_input", 'u', 6},
                                        {"final_logit_softcapping", 'f', 8},
                                        {NULL, 0, 0}};
static const fixture_key pattern_of_2[] = {
    {"attention.sliding_window_pattern", 'u', 2}, {"expert_feed_forward_length", 'u', 24}, {0}};
static const fixture_model gemma4 = {.architecture = "gemma4",
                                     .n_embd = 48,
                                     .head_dim = 16,
                                     .n_ff = 40,
                                     .n_layer = 5,
                                     .sliding_window = 4,
                                     .keys = per_layer,
                                     .seed = 8};

static void test_gemma4(void **state) {
    (void)state;
    fixture_model each_head = gemma4;
    each_head.n_head_kv = 4;
    each_head.seed = 9;
    check_gradients(&gemma4, short_spans, 4);
    check_gradients(&each_head, short_spans, 4);
    /* experts beside the gated part; values that are keys, in windowed layers and others */
    const fixture_model both = {.architecture = "gemma4",
                                .n_embd = 48,
                                .n_ff = 40,
                                .n_layer = 3,
                                .n_experts = 5,
                                .n_used = 2,
                                .sliding_window = 4,
                                .keys = pattern_of_2,
                                .omit_tensor = "blk.1.attn_v.weight",
                                .seed = 10};
    fixture_model near = both;
    near.omit_tensor = "blk.0.attn_v.weight";
    near.n_head_kv = 4;
    check_gradients(&both, short_spans, 4);
    check_balanced(&near, short_spans, 4, 3);
}

static void test_all_biases(void **state) {
    (void)state;
    const fixture_model model = {.all_biases = true, .n_embd = 40, .n_ff = 52, .n_head_kv = 4};
    check_gradients(&model, short_spans, 4);
}

/* Heads that fill no vector; one kv head for all. */
static void test_odd_heads(void **state) {
    (void)state;
    const fixture_model model = {
        .architecture = "qwen3", .n_embd = 36, .n_head = 3, .n_head_kv = 1, .head_dim = 22};
    check_gradients(&model, short_spans, 4);
}

static void test_yarn(void **state) {
    (void)state;
    const fixture_model model = {.rope_scaling = "yarn", .rope_factor = 4};
    check_gradients(&model, short_spans, 4);
}

/* More than a block of keys, more than a chunk of the head. */
static void test_long_spans(void **state) {
    (void)state;
    const uint32_t lengths[] = {330, 1, 229};
    const fixture_model model = {.architecture = "qwen3",
                                 .n_embd = 32,
                                 .n_layer = 1,
                                 .n_head = 2,
                                 .n_head_kv = 1,
                                 .n_ff = 32,
                                 .untied = true};
    check_gradients(&model, lengths, 3);
}

/* Windows smaller than a span, of one token, larger than all spans. */
static void test_windows(void **state) {
    (void)state;
    static const uint32_t windows[] = {1, 2, 4, 30};
    static const char *const families[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 4; i++) {
        const fixture_model model = {.architecture = families[i % 3],
                                     .n_embd = 48,
                                     .head_dim = 16,
                                     .n_ff = 40,
                                     .sliding_window = windows[i],
                                     .seed = 3};
        check_gradients(&model, short_spans, 4);
    }
}

/* Blocks of queries and keys that begin and end inside a window, or have nothing of it. */
static void test_long_windows(void **state) {
    (void)state;
    const uint32_t lengths[] = {330, 1, 229};
    static const uint32_t windows[] = {20, 257};
    for (int i = 0; i < 2; i++) {
        const fixture_model model = {.n_embd = 32,
                                     .n_layer = 1,
                                     .n_head = 2,
                                     .n_head_kv = 1,
                                     .n_ff = 32,
                                     .sliding_window = windows[i]};
        check_gradients(&model, lengths, 3);
    }
}

/* Masters come from any type. */
static void test_from_quantized(void **state) {
    (void)state;
    const fixture_model model = {.type = SM_DTYPE_Q4_K, .n_embd = 256, .n_layer = 1, .n_ff = 256};
    const uint32_t lengths[] = {4, 3};
    check_gradients(&model, lengths, 2);
}

/* ---- sameness -------------------------------------------------------------------- */

/* LoRA's B, which is 0 at first, gets values: without them A has no gradient. */
static void shake(const sm_graph *graph) {
    const sm_params *params = sm_graph_params(graph);
    uint64_t seed = 77;
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        if (strstr(p->name, "lora_b"))
            for (uint64_t j = 0; j < p->rows * p->cols; j++)
                p->value[j] = (float)(test_random(&seed) >> 11) * 0x1p-53f * 0.4f - 0.2f;
    }
}

static void check_same(const sm_graph_options *other, const fixture_model *model) {
    const uint32_t lengths[] = {300, 17, 1, 250, 30};
    sm_graph_options plain = *other;
    plain.n_threads = 1;
    plain.checkpoint_layers = false;
    static made_batch b;
    make_batch(&b, lengths, 5, 11);
    trained m;
    make(&m, model, &plain);
    shake(m.graph);
    sm_graph_update(m.graph);
    zero_grad(m.graph);
    const double want_loss = backward(&m, &b.batch, 0.25);
    float *want = all_grads(m.graph);
    close_graph(&m);
    make(&m, model, other);
    shake(m.graph);
    sm_graph_update(m.graph);
    for (int repeat = 0; repeat < 2; repeat++) {
        zero_grad(m.graph);
        const double loss = backward(&m, &b.batch, 0.25);
        float *got = all_grads(m.graph);
        assert_memory_equal(&loss, &want_loss, sizeof loss);
        assert_memory_equal(got, want, sm_graph_params(m.graph)->n_elements * sizeof *got);
        free(got);
    }
    free(want);
    close_graph(&m);
}

static const fixture_model small_qwen3 = {.architecture = "qwen3", .untied = true, .n_layer = 3};

static void test_threads(void **state) {
    (void)state;
    for (uint32_t n = 2; n <= 4; n++)
        for (int precision = 0; precision < 2; precision++)
            check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                           .max_spans = MAX_SPANS,
                                           .precision = (sm_precision)precision,
                                           .n_threads = n},
                       &small_qwen3);
}

/* With windows, and layers computed again. */
static void test_windows_sameness(void **state) {
    (void)state;
    static const uint32_t windows[] = {1, 37, 270};
    for (uint32_t i = 0; i < 3; i++) {
        fixture_model model = small_qwen3;
        model.sliding_window = windows[i];
        for (int checkpoint = 0; checkpoint < 2; checkpoint++)
            check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                           .max_spans = MAX_SPANS,
                                           .checkpoint_layers = checkpoint,
                                           .n_threads = 2 + i},
                       &model);
    }
    for (int checkpoint = 0; checkpoint < 2; checkpoint++)
        check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                       .max_spans = MAX_SPANS,
                                       .checkpoint_layers = checkpoint,
                                       .n_threads = 3},
                   &olmo3);
}

static void test_latent_sameness(void **state) {
    (void)state;
    for (int precision = 0; precision < 2; precision++)
        for (int checkpoint = 0; checkpoint < 2; checkpoint++)
            check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                           .max_spans = MAX_SPANS,
                                           .precision = (sm_precision)precision,
                                           .checkpoint_layers = checkpoint,
                                           .n_threads = 3},
                       &latent);
}

static void test_gemma4_sameness(void **state) {
    (void)state;
    for (int precision = 0; precision < 2; precision++)
        for (int checkpoint = 0; checkpoint < 2; checkpoint++)
            check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                           .max_spans = MAX_SPANS,
                                           .precision = (sm_precision)precision,
                                           .checkpoint_layers = checkpoint,
                                           .n_threads = 3},
                       &gemma4);
}

/* Recomputed layers are the same bits, and cost less memory. */
static void test_checkpoint(void **state) {
    (void)state;
    check_same(&(sm_graph_options){.max_tokens = MAX_TOKENS,
                                   .max_spans = MAX_SPANS,
                                   .checkpoint_layers = true,
                                   .n_threads = 2},
               &small_qwen3);
    uint64_t peak[2];
    const fixture_model deep = {.n_layer = 8};
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        const sm_graph_options options = {.max_tokens = MAX_TOKENS,
                                          .max_spans = MAX_SPANS,
                                          .checkpoint_layers = checkpoint,
                                          .n_threads = 1};
        trained m;
        make(&m, &deep, &options);
        peak[checkpoint] = m.mem.peak;
        close_graph(&m);
    }
    assert_true(peak[1] < peak[0]);
}

/* Two batches with one weight are one batch. */
static void test_accumulation(void **state) {
    (void)state;
    const uint32_t lengths[] = {9, 14, 20, 6};
    const sm_graph_options options = {.max_tokens = 64, .max_spans = 8, .n_threads = 2};
    static made_batch b;
    make_batch(&b, lengths, 4, 5);
    trained m;
    make(&m, &small_qwen3, &options);
    zero_grad(m.graph);
    const double loss = backward(&m, &b.batch, 1);
    float *want = all_grads(m.graph);
    const sm_train_batch first = {b.begin[2], b.ids, b.targets, 2, b.begin};
    const uint32_t begin[] = {0, 20, 26};
    const sm_train_batch second = {26, b.ids + b.begin[2], b.targets + b.begin[2], 2, begin};
    zero_grad(m.graph);
    const double sum = backward(&m, &first, 1) + backward(&m, &second, 1);
    assert_true(fabs(sum - loss) < 1e-9 * loss);
    float *got = all_grads(m.graph);
    double error = 0, length = 0;
    for (uint64_t i = 0; i < sm_graph_params(m.graph)->n_elements; i++) {
        error += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        length += (double)want[i] * (double)want[i];
    }
    assert_true(error < 1e-12 * length);
    double mean;
    uint64_t n;
    assert_int_equal(sm_graph_loss(m.graph, &b.batch, &mean, &n, NULL), SM_OK);
    assert_true(fabs(mean * (double)n - loss) < 1e-12 * loss);
    free(got);
    free(want);
    close_graph(&m);
}

/* Gradients of two documents in f32 and in bf16, with the gains of the queries' head norms times
 * `sharpness`. Returns how many there are. */
static uint64_t both_precisions(float sharpness, double loss[2], float *grads[2]) {
    const uint32_t lengths[] = {60, 40};
    static made_batch b;
    make_batch(&b, lengths, 2, 5);
    uint64_t n = 0;
    for (int precision = 0; precision < 2; precision++) {
        const sm_graph_options options = {.max_tokens = 128,
                                          .max_spans = 8,
                                          .n_threads = 2,
                                          .precision = (sm_precision)precision};
        trained m;
        make(&m, &small_qwen3, &options);
        const sm_params *params = sm_graph_params(m.graph);
        for (uint32_t i = 0; i < params->n; i++)
            for (uint64_t j = 0;
                 j < params->param[i].cols && strstr(params->param[i].name, "attn_q_norm"); j++)
                params->param[i].value[j] *= sharpness;
        zero_grad(m.graph);
        loss[precision] = backward(&m, &b.batch, 1);
        grads[precision] = all_grads(m.graph);
        n = params->n_elements;
        close_graph(&m);
    }
    return n;
}

static double inner(const float *a, const float *b, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* bf16 rounds inputs of products to 8 bits: gradients keep their direction (cosine above 0.999)
 * and length within 1%, the loss within 0.5%. */
static void test_bf16(void **state) {
    (void)state;
    double loss[2];
    float *grads[2];
    const uint64_t n = both_precisions(1, loss, grads);
    const double first = inner(grads[0], grads[0], n), second = inner(grads[1], grads[1], n);
    assert_true(loss[0] != loss[1]);
    assert_true(fabs(loss[0] - loss[1]) < 0.005 * loss[0]);
    assert_true(inner(grads[0], grads[1], n) / sqrt(first * second) > 0.999);
    assert_true(fabs(sqrt(second / first) - 1) < 0.01);
    free(grads[0]);
    free(grads[1]);
}

/* Attention that takes one key for all, with scores in the thousands: the direction is another,
 * but probabilities that are computed again fit the sums of the forward pass, so none exceeds 1 and
 * the length stays within ten times. */
static void test_bf16_sharp(void **state) {
    (void)state;
    double loss[2];
    float *grads[2];
    const uint64_t n = both_precisions(1000, loss, grads);
    const double ratio = inner(grads[1], grads[1], n) / inner(grads[0], grads[0], n);
    assert_true(ratio > 1e-2 && ratio < 1e2);
    free(grads[0]);
    free(grads[1]);
}

/* ---- more tokens than go through products together ------------------------------------------- */

/* Span i of b alone, or all of it with i = UINT32_MAX: the gradient, *loss. */
static float *gradient_of(const fixture_model *model, const sm_graph_options *options,
                          const made_batch *b, uint32_t i, double *loss, uint64_t *n) {
    trained m;
    make(&m, model, options);
    shake(m.graph);
    sm_graph_update(m.graph);
    zero_grad(m.graph);
    if (i == UINT32_MAX) {
        *loss = backward(&m, &b->batch, 1);
    } else {
        const uint32_t at = b->begin[i], begin[] = {0, b->begin[i + 1] - at};
        *loss =
            backward(&m, &(sm_train_batch){begin[1], b->ids + at, b->targets + at, 1, begin}, 1);
    }
    float *grads = all_grads(m.graph);
    *n = sm_graph_params(m.graph)->n_elements;
    close_graph(&m);
    return grads;
}

/* A batch's gradient is the sum of its documents', wherever these begin in the pieces that go
 * forward and backward together, and the same bits on any number of threads. */
static void check_many_tokens(const fixture_model *model, sm_precision precision,
                              uint32_t lora_rank) {
    const uint32_t lengths[] = {600, 700, 500};
    static made_batch b;
    make_batch(&b, lengths, 3, 9);
    sm_graph_options options = {.max_tokens = MANY_TOKENS,
                                .max_spans = 3,
                                .n_threads = 3,
                                .precision = precision,
                                .lora_rank = lora_rank,
                                .lora_alpha = 8};
    double loss, other, sum_loss = 0;
    uint64_t n;
    float *whole = gradient_of(model, &options, &b, UINT32_MAX, &loss, &n);
    options.n_threads = 1;
    float *alone = gradient_of(model, &options, &b, UINT32_MAX, &other, &n);
    assert_memory_equal(alone, whole, n * sizeof *whole);
    assert_true(loss == other);
    double *sum = calloc(n, sizeof *sum), error = 0;
    assert_non_null(sum);
    for (uint32_t i = 0; i < 3; i++) {
        float *part = gradient_of(model, &options, &b, i, &other, &n);
        for (uint64_t j = 0; j < n; j++)
            sum[j] += (double)part[j];
        sum_loss += other;
        free(part);
    }
    assert_true(fabs(sum_loss - loss) < 1e-9 * loss);
    for (uint64_t j = 0; j < n; j++)
        error += (sum[j] - (double)whole[j]) * (sum[j] - (double)whole[j]);
    assert_true(error < 1e-11 * inner(whole, whole, n));
    free(sum);
    free(alone);
    free(whole);
}

static void test_many_tokens(void **state) {
    (void)state;
    const fixture_model grouped = {.architecture = "qwen3", .n_embd = 32, .n_ff = 48};
    const fixture_model each_head = {
        .n_embd = 32, .n_head = 2, .n_head_kv = 2, .n_ff = 48, .all_biases = true};
    for (int precision = 0; precision < 2; precision++) {
        check_many_tokens(&grouped, (sm_precision)precision, 0);
        check_many_tokens(&each_head, (sm_precision)precision, 0);
    }
    check_many_tokens(&grouped, SM_PRECISION_F32, 4);
    check_many_tokens(&gemma2, SM_PRECISION_F32, 0);
    check_many_tokens(&olmo3, SM_PRECISION_F32, 0);
    check_many_tokens(&mixtral, SM_PRECISION_F32, 0);
    check_many_tokens(&latent, SM_PRECISION_F32, 0);
    check_many_tokens(&latent, SM_PRECISION_BF16, 4);
    check_many_tokens(&parallel, SM_PRECISION_F32, 0);
}

/* ---- LoRA ---------------------------------------------------------------------------- */

static const sm_graph_options lora_options = {.max_tokens = MAX_TOKENS,
                                              .max_spans = MAX_SPANS,
                                              .n_threads = 2,
                                              .lora_rank = 5,
                                              .lora_alpha = 12,
                                              .seed = 3};

/* base's tensor of that name becomes w + scale B A. */
static void merge(reference *base, const double *w, const sm_param *pa, const double *a,
                  const double *b, double scale) {
    const size_t length = strlen(pa->name) - strlen(".lora_a");
    for (uint32_t i = 0; i < base->params->n; i++) {
        const sm_param *p = &base->params->param[i];
        if (strlen(p->name) != length || strncmp(p->name, pa->name, length) != 0)
            continue;
        const uint64_t depth = p->depth ? p->depth : 1, rank = pa->rows / depth;
        for (uint64_t r = 0; r < p->rows; r++)
            for (uint64_t c = 0; c < p->cols; c++) {
                const uint64_t matrix = r / (p->rows / depth);
                double sum = 0;
                for (uint64_t k = 0; k < rank; k++)
                    sum += b[r * rank + k] * a[(matrix * rank + k) * p->cols + c];
                base->value[i][r * p->cols + c] = w[r * p->cols + c] + scale * sum;
            }
    }
}

static const double *base_value(const reference *base, const char *lora_name) {
    const size_t length = strlen(lora_name) - strlen(".lora_a");
    for (uint32_t i = 0; i < base->params->n; i++)
        if (strlen(base->params->param[i].name) == length &&
            strncmp(base->params->param[i].name, lora_name, length) == 0)
            return base->value[i];
    fail_msg("no %s", lora_name);
    return NULL;
}

static void check_lora(const fixture_model *model, const char *targets, bool rs) {
    sm_graph_options options = lora_options;
    options.lora_targets = targets;
    options.lora_rs = rs;
    static made_batch b;
    make_batch(&b, short_spans, 4, 7);
    trained full, m;
    make(&full, model, &(sm_graph_options){.max_tokens = 64, .max_spans = 8, .n_threads = 1});
    make(&m, model, &options);
    reference plain = reference_make(full.graph), base = reference_make(full.graph);
    /* B = 0 changes nothing, to the bit */
    double loss, same;
    assert_int_equal(sm_graph_loss(full.graph, &b.batch, &loss, NULL, NULL), SM_OK);
    assert_int_equal(sm_graph_loss(m.graph, &b.batch, &same, NULL, NULL), SM_OK);
    assert_memory_equal(&loss, &same, sizeof loss);
    shake(m.graph);
    sm_graph_update(m.graph);
    zero_grad(m.graph);
    loss = backward(&m, &b.batch, 1);
    reference lora = reference_make(m.graph);
    const double scale = 12 / (rs ? sqrt(5.0) : 5.0);
    const sm_params *params = sm_graph_params(m.graph);
    assert_true(params->n > 0 && params->n % 2 == 0);
    for (uint32_t i = 0; i < params->n; i += 2)
        merge(&base, base_value(&plain, params->param[i].name), &params->param[i], lora.value[i],
              lora.value[i + 1], scale);
    const double want = reference_loss(&base, &b.batch);
    assert_true(fabs(loss - want) < 2e-6 * want);
    uint64_t seed = 4;
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i], *a = &params->param[i / 2 * 2];
        const uint64_t n = p->rows * p->cols;
        double sides[2], along = 0, squares = 0;
        float *sign = malloc(n * sizeof *sign);
        assert_non_null(sign);
        for (uint64_t j = 0; j < n; j++) {
            sign[j] = test_random(&seed) & 1 ? 1 : -1;
            along += (double)sign[j] * (double)p->grad[j];
            squares += (double)p->grad[j] * (double)p->grad[j];
        }
        for (int side = 0; side < 2; side++) {
            for (uint64_t j = 0; j < n; j++)
                lora.value[i][j] = (double)p->value[j] + (side ? -STEP : STEP) * (double)sign[j];
            merge(&base, base_value(&plain, a->name), a, lora.value[i / 2 * 2],
                  lora.value[i / 2 * 2 + 1], scale);
            sides[side] = reference_loss(&base, &b.batch);
        }
        for (uint64_t j = 0; j < n; j++)
            lora.value[i][j] = (double)p->value[j];
        merge(&base, base_value(&plain, a->name), a, lora.value[i / 2 * 2],
              lora.value[i / 2 * 2 + 1], scale);
        const double slope_along = (sides[0] - sides[1]) / (2 * STEP);
        if (!(squares > 0) || fabs(along - slope_along) > TOLERANCE * sqrt(squares))
            fail_msg("%s: along random signs %.9g, not %.9g (length %.3g)", p->name, along,
                     slope_along, sqrt(squares));
        free(sign);
    }
    reference_free(&plain);
    reference_free(&base);
    reference_free(&lora);
    close_graph(&full);
    close_graph(&m);
}

static void test_lora(void **state) {
    (void)state;
    fixture_model experts = mixtral;
    experts.joined = true;
    const fixture_model tied = {.architecture = "qwen2", .seed = 8};
    const fixture_model untied = {.architecture = "qwen3", .untied = true, .type = SM_DTYPE_BF16};
    check_lora(&tied, NULL, false);
    check_lora(&untied, "attn_q,ffn_down,output.weight", true);
    check_lora(&mixtral, NULL, false);
    check_lora(&latent, NULL, false);
    check_lora(&gemma4, NULL, false);
    check_lora(&gemma2, NULL, false);
    check_lora(&joined, NULL, false);
    check_lora(&joined, "attn_qkv", true);
    check_lora(&experts, "qkv_proj,gate_up_exps", false);
    check_lora(&olmo3, NULL, false);
    check_lora(&parallel, NULL, false);
    check_lora(&gpt2, NULL, false);
}

static void test_lora_sameness(void **state) {
    (void)state;
    for (uint32_t type = SM_DTYPE_F32; type <= SM_DTYPE_Q4_0; type += SM_DTYPE_Q4_0) {
        const fixture_model models[] = {{.architecture = "qwen3", .untied = true, .type = type},
                                        {.n_experts = 4, .n_used = 2, .type = type},
                                        {.architecture = "phi3", .type = type}};
        sm_graph_options options = lora_options;
        options.lora_dropout = 0.2;
        for (uint32_t n = 2; n <= 4; n++) {
            options.n_threads = n;
            options.checkpoint_layers = n == 4;
            check_same(&options, &models[n == 3 ? 2 : type == SM_DTYPE_F32]);
        }
    }
}

/* The derivative along the gradient is its length; the loss comes from the pass itself, so that
 * the same elements are dropped. */
static void test_dropout(void **state) {
    (void)state;
    sm_graph_options options = lora_options;
    options.lora_dropout = 0.4;
    static made_batch b;
    make_batch(&b, short_spans, 4, 7);
    trained m;
    make(&m, &small_qwen3, &options);
    shake(m.graph);
    sm_graph_update(m.graph);
    const sm_params *params = sm_graph_params(m.graph);
    zero_grad(m.graph);
    const double first = backward(&m, &b.batch, 1), second = backward(&m, &b.batch, 1);
    assert_memory_equal(&first, &second, sizeof first);
    double other, mean[2];
    assert_int_equal(sm_graph_backward(m.graph, &b.batch, 0, 1, &other, NULL, NULL), SM_OK);
    assert_true(other != first); /* another draw */
    for (int i = 0; i < 2; i++)  /* no dropout where nothing is trained */
        assert_int_equal(sm_graph_loss(m.graph, &b.batch, &mean[i], NULL, NULL), SM_OK);
    assert_true(mean[0] == mean[1]);
    zero_grad(m.graph);
    backward(&m, &b.batch, 1);
    float *grads = all_grads(m.graph);
    double squares = 0, sides[2];
    for (uint64_t i = 0; i < params->n_elements; i++)
        squares += (double)grads[i] * (double)grads[i];
    const double length = sqrt(squares), step = 2e-3;
    for (int side = 0; side < 2; side++) {
        const float *g = grads;
        for (uint32_t i = 0; i < params->n; i++)
            for (uint64_t j = 0; j < params->param[i].rows * params->param[i].cols; j++)
                params->param[i].value[j] +=
                    (float)((side ? -2 : 1) * step / length * (double)*g++);
        sm_graph_update(m.graph);
        sides[side] = backward(&m, &b.batch, 1);
    }
    const double slope_along = (sides[0] - sides[1]) / (2 * step);
    if (fabs(slope_along - length) > 0.01 * length)
        fail_msg("along the gradient %.6g, not %.6g", slope_along, length);
    free(grads);
    close_graph(&m);
}

/* Tokens one at a time and all at once give the same logits with two adapters attached. */
static void test_adapters_decode(void **state) {
    (void)state;
    trained m;
    sm_graph_options options = lora_options;
    options.n_threads = 3;
    make(&m, &small_qwen3, &options);
    shake(m.graph);
    sm_graph_update(m.graph);
    const sm_net *net = sm_graph_net(m.graph);
    const sm_net_adapter *one = sm_graph_adapters(m.graph)->adapter[0];
    const sm_net_adapter *const list[] = {one, one};
    const float scales[] = {1, 0.5f};
    const sm_adapters adapters = {.n = 2, .adapter = list, .scale = scales};
    const int32_t ids[] = {5, 3, 200, 7, 9};
    enum { N = 5, LDL = 304 };
    float logits[3][LDL];
    sm_workspace *ws;
    assert_int_equal(sm_workspace_new(&ws, &m.mem, net, 3, 8, 64, NULL), SM_OK);
    assert_int_equal(sm_workspace_adapt(ws, 2 * sm_adapter_width(one, net), false, NULL), SM_OK);
    sm_state kv;
    assert_int_equal(sm_state_init(&kv, &m.mem, net, SM_KV_F32, 64, 0, NULL), SM_OK);
    for (int how = 0; how < 3; how++) /* one by one, together, together without adapters */
        for (uint32_t i = 0; i < (how ? 1 : N); i++) {
            const uint32_t n = how ? N : 1, last = n - 1;
            const sm_span span = {.state = &kv, .n = n, .position = i};
            float *const rows[] = {logits[how]};
            const sm_step batch = {.n_tokens = n,
                                   .ids = ids + i,
                                   .n_spans = 1,
                                   .spans = &span,
                                   .n_outputs = 1,
                                   .outputs = &last,
                                   .logits = rows,
                                   .adapters = how < 2 ? &adapters : NULL};
            assert_int_equal(sm_forward(ws, sm_graph_team(m.graph), &batch, NULL), SM_OK);
        }
    assert_memory_equal(logits[0], logits[1], FIXTURE_VOCAB * sizeof(float));
    assert_memory_not_equal(logits[1], logits[2], FIXTURE_VOCAB * sizeof(float));
    sm_state_free(&kv, &m.mem);
    sm_workspace_free(ws);
    close_graph(&m);
}

/* Over quantized weights the forward pass rounds activations, which gradients do not see: they
 * point where those over the same weights in f32 do (cosine above 0.99). */
static void test_qlora(void **state) {
    (void)state;
    const fixture_model model = {.type = SM_DTYPE_Q4_K, .n_embd = 256, .n_ff = 256, .untied = true};
    static made_batch b;
    make_batch(&b, (uint32_t[]){40, 30}, 2, 7);
    trained full, m;
    make(&full, &model, &(sm_graph_options){.max_tokens = 128, .max_spans = 8, .n_threads = 1});
    sm_graph_options options = lora_options;
    options.lora_targets = "attn_v";
    make(&m, &model, &options);
    zero_grad(full.graph);
    zero_grad(m.graph);
    backward(&full, &b.batch, 1);
    backward(&m, &b.batch, 1);
    const sm_params *params = sm_graph_params(m.graph), *all = sm_graph_params(full.graph);
    for (uint32_t i = 1; i < params->n; i += 2) { /* dB = scale dW A^T where B is 0 */
        const sm_param *a = &params->param[i - 1], *B = &params->param[i], *w = NULL;
        for (uint32_t j = 0; j < all->n; j++)
            if (strncmp(all->param[j].name, a->name, strlen(a->name) - 7) == 0)
                w = &all->param[j];
        assert_non_null(w);
        double both = 0, first = 0, second = 0;
        for (uint64_t r = 0; r < B->rows; r++)
            for (uint64_t k = 0; k < B->cols; k++) {
                double want = 0;
                for (uint64_t c = 0; c < w->cols; c++)
                    want += 12 / 5.0 * (double)w->grad[r * w->cols + c] *
                            (double)a->value[k * w->cols + c];
                const double got = (double)B->grad[r * B->cols + k];
                both += want * got;
                first += want * want;
                second += got * got;
            }
        if (both < 0.99 * sqrt(first * second) || fabs(sqrt(second / first) - 1) > 0.02)
            fail_msg("%s: cosine %g, length %g of %g", B->name, both / sqrt(first * second),
                     sqrt(second), sqrt(first));
    }
    close_graph(&full);
    close_graph(&m);
}

/* ---- learning -------------------------------------------------------------------- */

/* AdamW without decay, spelled out. */
static void adam_step(const sm_params *params, float *m, float *v, int step, float lr) {
    const float c1 = 1 - powf(0.9f, (float)step), c2 = 1 - powf(0.99f, (float)step);
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        for (uint64_t j = 0; j < p->rows * p->cols; j++, m++, v++) {
            *m = 0.9f * *m + 0.1f * p->grad[j];
            *v = 0.99f * *v + 0.01f * p->grad[j] * p->grad[j];
            p->value[j] -= lr * (*m / c1) / (sqrtf(*v / c2) + 1e-8f);
        }
    }
}

static void test_overfit(void **state) {
    (void)state;
    const uint32_t lengths[] = {16, 16, 8};
    for (int precision = 0; precision < 2; precision++) {
        const sm_graph_options options = {
            .max_tokens = 64, .max_spans = 8, .n_threads = 2, .precision = (sm_precision)precision};
        const fixture_model model = {.seed = 5};
        static made_batch b;
        make_batch(&b, lengths, 3, 9);
        trained m;
        make(&m, &model, &options);
        const sm_params *params = sm_graph_params(m.graph);
        float *moments = calloc(2 * params->n_elements, sizeof *moments);
        assert_non_null(moments);
        uint64_t n = 0;
        double loss = 0;
        for (int step = 1; step <= 300; step++) {
            zero_grad(m.graph);
            if (sm_graph_backward(m.graph, &b.batch, 1.0 / 40, 0, &loss, &n, NULL))
                fail_msg("step %d", step);
            adam_step(params, moments, moments + params->n_elements, step, 0.003f);
            sm_graph_update(m.graph);
        }
        assert_true(loss / (double)n < 0.01);
        free(moments);
        close_graph(&m);
    }
}

/* ---- questions --------------------------------------------------------------------- */

static int32_t count_question(void *user) {
    ++*(uint64_t *)user;
    return 0;
}

/* Whoever cancels is heard soon: the hook is asked again and again while products are computed, not
 * once in a layer. 50 million operations take less than 10 ms of any CPU with vectors. */
static void test_questions(void **state) {
    (void)state;
    const fixture_model model = {
        .n_embd = 256, .n_layer = 1, .n_head_kv = 4, .n_ff = 512, .no_vocab = true, .n_rows = 1024};
    const uint32_t lengths[] = {600};
    static made_batch b;
    make_batch(&b, lengths, 1, 9);
    for (uint32_t kind = 0; kind < 4; kind++) {
        const bool lora = kind == 2;
        const sm_graph_options options = {
            .max_tokens = 600,
            .max_spans = 1,
            .n_threads = 1 + kind / 3,
            .precision = kind == 1 ? SM_PRECISION_BF16 : SM_PRECISION_F32,
            .lora_rank = lora ? 4 : 0,
            .lora_alpha = 1,
        };
        trained m;
        uint64_t asked = 0, forward, n;
        double loss;
        make(&m, &model, &options);
        sm_graph_set_cancel(m.graph, count_question, &asked);
        assert_int_equal(sm_graph_loss(m.graph, &b.batch, &loss, &n, NULL), SM_OK);
        forward = asked;
        asked = 0;
        backward(&m, &b.batch, 1);
        const double weights = 4 * 256 * 256 + 3 * 256 * 512 + 256 * 1024 * 0.8;
        const double operations = (lora ? 2 : 4) * weights * 600 / options.n_threads;
        assert_true((double)(asked - forward) > operations / 50e6);
        assert_true((double)forward > 2 * weights * 600 / options.n_threads / 50e6);
        asked = 0;
        assert_int_equal(sm_graph_update(m.graph), SM_OK);
        assert_true(asked > 0);
        close_graph(&m);
    }
}

/* ---- bad input ------------------------------------------------------------------- */

static void test_refusals(void **state) {
    (void)state;
    const sm_graph_options options = {.max_tokens = 32, .max_spans = 4, .n_threads = 1};
    const uint32_t lengths[] = {9, 14};
    static made_batch b;
    trained m;
    make(&m, &small_qwen3, &options);
    double loss;
    uint64_t n;
#define REFUSED(status) assert_int_equal(sm_graph_loss(m.graph, &b.batch, &loss, &n, NULL), status)
    make_batch(&b, lengths, 2, 1);
    b.batch.n_tokens = 22;
    REFUSED(SM_ERR_ARGUMENT);
    make_batch(&b, (uint32_t[]){20, 13}, 2, 1);
    REFUSED(SM_ERR_ARGUMENT);
    make_batch(&b, lengths, 2, 1);
    b.begin[1] = 0;
    REFUSED(SM_ERR_ARGUMENT);
    make_batch(&b, lengths, 2, 1);
    b.batch.n_spans = 5;
    REFUSED(SM_ERR_ARGUMENT);
    make_batch(&b, lengths, 2, 1);
    b.batch.n_spans = 0;
    REFUSED(SM_ERR_ARGUMENT);
    make_batch(&b, lengths, 2, 1);
    b.ids[3] = FIXTURE_VOCAB;
    REFUSED(SM_ERR_TOKEN);
    b.ids[3] = -1;
    REFUSED(SM_ERR_TOKEN);
    make_batch(&b, lengths, 2, 1);
    b.targets[3] = -2;
    REFUSED(SM_ERR_TOKEN);
    b.targets[3] = FIXTURE_VOCAB;
    REFUSED(SM_ERR_TOKEN);
    make_batch(&b, lengths, 2, 1);
    for (uint32_t i = 0; i < b.batch.n_tokens; i++)
        b.targets[i] = -1;
    assert_int_equal(sm_graph_loss(m.graph, &b.batch, &loss, &n, NULL), SM_OK);
    assert_true(n == 0 && loss == 0);
    close_graph(&m);

    const char *path = scratch_path("train.gguf");
    const sm_graph_options bad[] = {
        {.max_tokens = 0, .max_spans = 1, .n_threads = 1},
        {.max_tokens = 1u << 30, .max_spans = 1, .n_threads = 1},
        {.max_tokens = 8, .max_spans = 0, .n_threads = 1},
        {.max_tokens = 8, .max_spans = 9, .n_threads = 1},
        {.max_tokens = 8, .max_spans = 8, .n_threads = 0},
        {.max_tokens = 8, .max_spans = 8, .n_threads = 1, .precision = (sm_precision)7},
        {.max_tokens = 8, .max_spans = 8, .n_threads = 1, .lora_rank = 4},
        {.max_tokens = 8, .max_spans = 8, .n_threads = 1, .lora_rank = 99999, .lora_alpha = 1},
        {.max_tokens = 8,
         .max_spans = 8,
         .n_threads = 1,
         .lora_rank = 4,
         .lora_alpha = 1,
         .lora_dropout = 1},
        {.max_tokens = 8,
         .max_spans = 8,
         .n_threads = 1,
         .lora_rank = 4,
         .lora_alpha = 1,
         .lora_targets = "attn_q,attn_x"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(open_graph(&m, path, &bad[i]), SM_ERR_ARGUMENT);
        close_graph(&m);
    }
}

/* Hugging Face's names of matrices choose what ours do, and no more: lm_head is not o_proj. */
static void test_target_names(void **state) {
    (void)state;
    static const struct {
        const char *targets, *same;
        const fixture_model *of;
    } cases[] = {{"q_proj", "attn_q", &small_qwen3},
                 {"qkv_proj, down_proj", "attn_qkv,ffn_down", &joined},
                 {"gate_up_proj", "ffn_up", &joined},
                 {"query_key_value", "attn_qkv", &joined},
                 {"k_proj,v_proj", "attn_k,attn_v", &small_qwen3},
                 {"o_proj", "attn_output", &small_qwen3},
                 {"gate_proj, up_proj ,down_proj", "ffn_", &small_qwen3},
                 {"q_proj,attn_k", "attn_k,attn_q", &small_qwen3},
                 {"V_Proj,ATTN_K", "attn_k,attn_v", &small_qwen3},
                 {"lm_head", NULL, &small_qwen3},
                 {"c_attn", "attn_qkv", &gpt2},
                 {"c_proj,c_fc", "attn_output,ffn_up,ffn_down", &gpt2},
                 {"fc1", "ffn_up", &gpt2},
                 {"dense,dense_4h_to_h", "attn_output,ffn_down", &gpt2},
                 {"fc2,dense_h_to_4h", "ffn_", &gpt2}};
    sm_graph_options options = {
        .max_tokens = 8, .max_spans = 8, .n_threads = 1, .lora_rank = 2, .lora_alpha = 1};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trained a, b;
        options.lora_targets = cases[i].targets;
        const fixture_model *model = cases[i].of;
        make(&a, model, &options);
        const sm_params *p = sm_graph_params(a.graph);
        if (!cases[i].same) {
            assert_int_equal(p->n, 2);
            assert_string_equal(p->param[0].name, "output.weight.lora_a");
            close_graph(&a);
            continue;
        }
        options.lora_targets = cases[i].same;
        make(&b, model, &options);
        const sm_params *q = sm_graph_params(b.graph);
        assert_true(p->n > 0);
        assert_int_equal(p->n, q->n);
        for (uint32_t k = 0; k < p->n; k++)
            assert_string_equal(p->param[k].name, q->param[k].name);
        close_graph(&a);
        close_graph(&b);
    }
}

/* A file in the packed layout has no rows to take masters from. */
static void test_packed_file(void **state) {
    (void)state;
    const sm_graph_options options = {.max_tokens = 32, .max_spans = 4, .n_threads = 1};
    trained m;
    make(&m, &small_qwen3, &options);
    const char *path = scratch_path("packed.gguf");
    sm_net *net;
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(SM_LEVEL_AUTO));
    assert_int_equal(sm_net_load(&net, &m.mem, m.gguf, kernels, SM_ROUND_MOST, NULL, NULL, NULL),
                     SM_OK);
    assert_int_equal(sm_net_save(net, path, NULL, NULL, NULL), SM_OK);
    sm_net_free(net);
    close_graph(&m);
    assert_int_equal(open_graph(&m, path, &options), SM_ERR_UNSUPPORTED);
    close_graph(&m);
}

/* Every allocation fails in turn. */
static void test_no_memory(void **state) {
    (void)state;
    const char *path = scratch_path("train.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){.architecture = "qwen3"}), 0);
    sm_graph_options options = {.max_tokens = 16, .max_spans = 2, .n_threads = 2};
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(SM_LEVEL_AUTO));
    for (int lora = 0; lora < 2; lora++) {
        if (lora) {
            options.lora_rank = 2;
            options.lora_alpha = 1;
            options.lora_dropout = 0.5;
        }
        sm_status status = SM_ERR_NOMEM;
        for (uint64_t at = 1; status; at++) {
            fail_alloc alloc = {0};
            const sm_allocator hook = fail_allocator(&alloc);
            sm_mem mem;
            sm_source *gguf;
            sm_graph *graph = NULL;
            sm_error error;
            assert_int_equal(sm_mem_init(&mem, &hook, 0, &error), SM_OK);
            assert_int_equal(sm_source_open(&gguf, &mem, path, true, &error), SM_OK);
            alloc.fail_at = alloc.calls + at;
            status = sm_graph_new(&graph, &mem, gguf, kernels, &options, &error);
            if (status)
                assert_int_equal(status, SM_ERR_NOMEM);
            sm_graph_free(graph);
            sm_source_close(gguf);
            assert_int_equal(alloc.live_blocks, 0);
        }
    }
}

/* The head's backward pass is of no kind; streams have none, and are refused. */
static bool is_trained(const sm_kind *kind) {
    return kind->id == SM_KIND_HEAD || sm_grad_kind_of(&(sm_block){.kind = kind});
}

static void test_what_has_no_backward_pass(void **state) {
    (void)state;
    static const fixture_key streams[] = {{"embedding_length_per_layer_input", 'u', 8},
                                          {NULL, 0, 0}};
    const char *path = scratch_path("streams.gguf");
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(0));
    const sm_graph_options options = {.max_tokens = 8, .max_spans = 1, .n_threads = 1};
    sm_mem mem;
    sm_source *gguf;
    sm_graph *graph;
    sm_error error = {0};
    assert_int_equal(sm_mem_init(&mem, NULL, 0, &error), SM_OK);
    assert_int_equal(fixture_write(path, &(fixture_model){.architecture = "gemma3n",
                                                          .n_layer = 2,
                                                          .sliding_window = 6,
                                                          .keys = streams}),
                     0);
    assert_int_equal(sm_source_open(&gguf, &mem, path, true, &error), SM_OK);
    assert_int_equal(sm_graph_new(&graph, &mem, gguf, kernels, &options, &error),
                     SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "gemma3n"));
    sm_source_close(gguf);
    remove(path);
}

/* Kinds that no family has a norm before. */
static bool reads_x(sm_kind_id id) {
    return id == SM_KIND_NORM || id == SM_KIND_INPUTS || id == SM_KIND_LAYER_INPUT ||
           id == SM_KIND_SCALE;
}

/* The models above have all that any kind of blocks can have, but norms behind blocks and biases of
 * norms that no family puts there: so a new slot, or kind, wants a model here. */
static void test_every_slot(void **state) {
    (void)state;
    for (uint32_t k = 0; k < SM_KIND_COUNT; k++) {
        const sm_kind *kind = sm_kind_get((sm_kind_id)k);
        if (!is_trained(kind))
            continue;
        for (uint32_t s = 0; s < kind->n_slots; s++)
            if (!compared[k][s] && (s == SM_SLOT_PRE ? !reads_x(kind->id) : s >= SM_WIRING_SLOTS))
                fail_msg("kind %s: no gradient of slot %u (%s) was compared", kind->name, s,
                         kind->slot[s].suffix ? kind->slot[s].suffix : "norm");
    }
    static const sm_kind_id layers[] = {SM_KIND_ATTENTION, SM_KIND_GATED, SM_KIND_PLAIN};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        assert_true(compared[layers[i]][SM_SLOT_PRE_BIAS]);
    assert_true(compared[SM_KIND_HEAD][SM_SLOT_PRE_BIAS]);
    assert_true(compared[SM_KIND_ATTENTION][SM_SLOT_POST] && compared[SM_KIND_GATED][SM_SLOT_POST]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_llama4),
        cmocka_unit_test(test_deci),
        cmocka_unit_test(test_relatives),
        cmocka_unit_test(test_latent),
        cmocka_unit_test(test_gemma4),
        cmocka_unit_test(test_gemma4_sameness),
        cmocka_unit_test(test_latent_sameness),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_longrope),
        cmocka_unit_test(test_alibi_and_clamp),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_gemma2),
        cmocka_unit_test(test_mixtral),
        cmocka_unit_test(test_all_biases),
        cmocka_unit_test(test_odd_heads),
        cmocka_unit_test(test_yarn),
        cmocka_unit_test(test_long_spans),
        cmocka_unit_test(test_from_quantized),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bf16_sharp),
        cmocka_unit_test(test_many_tokens),
        cmocka_unit_test(test_lora),
        cmocka_unit_test(test_lora_sameness),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_adapters_decode),
        cmocka_unit_test(test_qlora),
        cmocka_unit_test(test_overfit),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_packed_file),
        cmocka_unit_test(test_target_names),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_long_windows),
        cmocka_unit_test(test_windows_sameness),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_ropes),
        cmocka_unit_test(test_norm_places),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_no_position),
        cmocka_unit_test(test_cohere),
        cmocka_unit_test(test_more_relatives),
        cmocka_unit_test(test_olmo),
        cmocka_unit_test(test_what_has_no_backward_pass),
        cmocka_unit_test(test_every_slot), /* last: looks at what the others did */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
