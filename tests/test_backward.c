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

/* ---- models and batches ------------------------------------------------------------------------
 */

typedef struct trained {
    sm_mem mem;
    sm_gguf *gguf;
    sm_graph *graph;
} trained;

static sm_status open_graph(trained *m, const char *path, const sm_graph_options *options) {
    sm_error error;
    assert_int_equal(sm_mem_init(&m->mem, NULL, 0, &error), SM_OK);
    if (sm_gguf_open(&m->gguf, &m->mem, path, true, &error))
        fail_msg("%s", error.message);
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(SM_LEVEL_AUTO));
    return sm_graph_new(&m->graph, &m->mem, m->gguf, kernels, options, &error);
}

static void close_graph(trained *m) {
    sm_graph_free(m->graph);
    sm_gguf_close(m->gguf);
    assert_int_equal(m->mem.in_use, 0);
}

static void make(trained *m, const fixture_model *model, const sm_graph_options *options) {
    const char *path = scratch_path("train.gguf");
    assert_int_equal(fixture_write(path, model), 0);
    assert_int_equal(open_graph(m, path, options), SM_OK);
}

#define MAX_TOKENS 640
#define MAX_SPANS 64

/* A batch with its arrays; spans of the given lengths, every fifth token without a target. */
typedef struct made_batch {
    sm_train_batch batch;
    int32_t ids[MAX_TOKENS], targets[MAX_TOKENS];
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

/* ---- finite differences
 * -------------------------------------------------------------------------- */

#define STEP 1e-5
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

static void check_gradients(const fixture_model *model, const uint32_t *lengths, uint32_t n_spans) {
    const sm_graph_options options = {
        .max_tokens = MAX_TOKENS, .max_spans = MAX_SPANS, .n_threads = 2};
    trained m;
    make(&m, model, &options);
    static made_batch b;
    make_batch(&b, lengths, n_spans, 7);
    const double weight = 1.0 / 32;
    zero_grad(m.graph);
    const double loss = backward(&m, &b.batch, weight);
    reference r = reference_make(m.graph);
    const double want = reference_loss(&r, &b.batch);
    if (fabs(loss - want) > 2e-6 * want)
        fail_msg("loss %.9g, not %.9g", loss, want);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < r.params->n; i++)
        check_param(&r, i, &b.batch, weight, &seed);
    reference_free(&r);
    close_graph(&m);
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

/* Masters come from any type. */
static void test_from_quantized(void **state) {
    (void)state;
    const fixture_model model = {.type = SM_DTYPE_Q4_K, .n_embd = 256, .n_layer = 1, .n_ff = 256};
    const uint32_t lengths[] = {4, 3};
    check_gradients(&model, lengths, 2);
}

/* ---- sameness
 * -------------------------------------------------------------------------------------- */

static void check_same(const sm_graph_options *other, const fixture_model *model) {
    const uint32_t lengths[] = {300, 17, 1, 250, 30};
    const sm_graph_options plain = {.max_tokens = MAX_TOKENS,
                                    .max_spans = MAX_SPANS,
                                    .n_threads = 1,
                                    .precision = other->precision};
    static made_batch b;
    make_batch(&b, lengths, 5, 11);
    trained m;
    make(&m, model, &plain);
    zero_grad(m.graph);
    const double want_loss = backward(&m, &b.batch, 0.25);
    float *want = all_grads(m.graph);
    close_graph(&m);
    make(&m, model, other);
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

/* bf16 rounds inputs of products to 8 bits: gradients keep their direction (cosine above 0.999)
 * and length within 1%, the loss within 0.5%. */
static void test_bf16(void **state) {
    (void)state;
    const uint32_t lengths[] = {60, 40};
    static made_batch b;
    make_batch(&b, lengths, 2, 5);
    double loss[2];
    float *grads[2];
    uint64_t n = 0;
    for (int precision = 0; precision < 2; precision++) {
        const sm_graph_options options = {.max_tokens = 128,
                                          .max_spans = 8,
                                          .n_threads = 2,
                                          .precision = (sm_precision)precision};
        trained m;
        make(&m, &small_qwen3, &options);
        zero_grad(m.graph);
        loss[precision] = backward(&m, &b.batch, 1);
        grads[precision] = all_grads(m.graph);
        n = sm_graph_params(m.graph)->n_elements;
        close_graph(&m);
    }
    double both = 0, first = 0, second = 0;
    for (uint64_t i = 0; i < n; i++) {
        both += (double)grads[0][i] * (double)grads[1][i];
        first += (double)grads[0][i] * (double)grads[0][i];
        second += (double)grads[1][i] * (double)grads[1][i];
    }
    assert_true(loss[0] != loss[1]);
    assert_true(fabs(loss[0] - loss[1]) < 0.005 * loss[0]);
    assert_true(both / sqrt(first * second) > 0.999);
    assert_true(fabs(sqrt(second / first) - 1) < 0.01);
    free(grads[0]);
    free(grads[1]);
}

/* ---- learning
 * ---------------------------------------------------------------------------------------- */

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

/* ---- bad input
 * ---------------------------------------------------------------------------------------- */

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
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(open_graph(&m, path, &bad[i]), SM_ERR_ARGUMENT);
        close_graph(&m);
    }
}

/* Every allocation fails in turn. */
static void test_no_memory(void **state) {
    (void)state;
    const char *path = scratch_path("train.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){.architecture = "qwen3"}), 0);
    const sm_graph_options options = {.max_tokens = 16, .max_spans = 2, .n_threads = 2};
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(SM_LEVEL_AUTO));
    sm_status status = SM_ERR_NOMEM;
    for (uint64_t at = 1; status; at++) {
        fail_alloc alloc = {0};
        const sm_allocator hook = fail_allocator(&alloc);
        sm_mem mem;
        sm_gguf *gguf;
        sm_graph *graph = NULL;
        sm_error error;
        assert_int_equal(sm_mem_init(&mem, &hook, 0, &error), SM_OK);
        assert_int_equal(sm_gguf_open(&gguf, &mem, path, true, &error), SM_OK);
        alloc.fail_at = alloc.calls + at;
        status = sm_graph_new(&graph, &mem, gguf, kernels, &options, &error);
        if (status)
            assert_int_equal(status, SM_ERR_NOMEM);
        sm_graph_free(graph);
        sm_gguf_close(gguf);
        assert_int_equal(alloc.live_blocks, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),     cmocka_unit_test(test_all_biases),
        cmocka_unit_test(test_odd_heads),    cmocka_unit_test(test_yarn),
        cmocka_unit_test(test_long_spans),   cmocka_unit_test(test_from_quantized),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_accumulation), cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_overfit),      cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
