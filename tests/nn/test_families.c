/* Every family of families.inc on a small model with random weights: in pieces of any size,
 * quantized, packed, measured, with an adapter and merged with it, trained. What a family computes
 * is compared elsewhere (check_families beside transformers, test_backward beside formulas). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "format/format.h"
#include "smallmind/smallmind.h"
#include "support.h"
#include "train/train.h"

#define N 20
#define N_EXPERTS 4

static const char *const families[] = {
#define SM_FAMILY(name, plan) name,
#include "nn/families/families.inc"
#undef SM_FAMILY
};
#define N_FAMILIES (sizeof families / sizeof *families)

static const fixture_key layer_norm[] = {{"attention.layer_norm_epsilon", 'f', 1e-5}, {0}};
static const fixture_key scaled[] = {
    {"attention.layer_norm_epsilon", 'f', 1e-5}, {"logit_scale", 'f', 0.3}, {0}};
static const fixture_key absorbed[] = {{"attention.kv_lora_rank", 'u', 32},
                                       {"attention.key_length_mla", 'u', 48},
                                       {"attention.value_length_mla", 'u', 32},
                                       {"rope.dimension_count", 'u', 16},
                                       {0}};
static const fixture_key expanded[] = {
    {"attention.q_lora_rank", 'u', 32}, {"attention.kv_lora_rank", 'u', 32},
    {"attention.key_length", 'u', 48},  {"attention.value_length", 'u', 32},
    {"rope.dimension_count", 'u', 16},  {0}};
static const fixture_key found[] = {{"attention.head_count", 'l', 4424},
                                    {"attention.head_count_kv", 'l', 2021},
                                    {"feed_forward_length", 'L', 4808},
                                    {"attention.key_length", 'u', 16},
                                    {"attention.value_length", 'u', 16},
                                    {"rope.dimension_count", 'u', 16},
                                    {0}};
static const fixture_key inputs[] = {{"embedding_length_per_layer_input", 'u', 32},
                                     {"attention.shared_kv_layers", 'u', 1},
                                     {"attention.sliding_window_pattern", 'u', 2},
                                     {0}};
static const fixture_key streams[] = {{"embedding_length_per_layer_input", 'u', 32},
                                      {"attention.shared_kv_layers", 'u', 2},
                                      {"attention.sliding_window_pattern", 'u', 2},
                                      {"activation_sparsity_scale", 'f', 0.5},
                                      {0}};
/* Digits: heads of keys of each layer; 0: a short convolution. */
static const fixture_key convolved[] = {
    {"attention.head_count_kv", 'l', 2020}, {"shortconv.l_cache", 'u', 3}, {0}};
static const fixture_key chunks[] = {{"expert_feed_forward_length", 'u', 64},
                                     {"interleave_moe_layer_step", 'u', 2},
                                     {"attention.temperature_length", 'u', 4},
                                     {0}};

/* Those that need more than sizes. A mixture uses all of its experts, so that none is chosen for
 * what was rounded. */
static const fixture_model special[] = {
    {.architecture = "command-r", .keys = scaled},
    {.architecture = "cohere2", .keys = scaled, .sliding_window = 6, .n_layer = 4},
    {.architecture = "gemma3", .sliding_window = 6, .n_layer = 6},
    {.architecture = "gemma4",
     .keys = inputs,
     .sliding_window = 6,
     .n_layer = 4,
     .n_experts = N_EXPERTS,
     .omit_tensor = "blk.1.attn_v.weight"},
    {.architecture = "gemma3n", .keys = streams, .sliding_window = 6, .n_layer = 4},
    {.architecture = "lfm2", .keys = convolved, .n_layer = 4},
    {.architecture = "lfm2moe", .keys = convolved, .n_layer = 4, .n_experts = N_EXPERTS},
    {.architecture = "deepseek2", .keys = absorbed},
    {.architecture = "minicpm3", .keys = expanded},
    {.architecture = "deci", .keys = found, .n_layer = 4},
    {.architecture = "gpt-oss", .n_experts = N_EXPERTS, .sliding_window = 6},
    {.architecture = "mellum", .n_experts = N_EXPERTS, .sliding_window = 6, .n_layer = 4},
    {.architecture = "exaone-moe", .n_experts = N_EXPERTS, .sliding_window = 6, .n_layer = 4},
    {.architecture = "llama4",
     .n_experts = N_EXPERTS,
     .sliding_window = 6,
     .n_layer = 4,
     .keys = chunks},
};
static const char *const mixtures[] = {"granitemoe", "deepseek",     "bailingmoe",  "bailingmoe2",
                                       "phimoe",     "dots1",        "hunyuan-moe", "qwen2moe",
                                       "qwen3moe",   "qwen3vlmoe",   "olmoe",       "minimax-m2",
                                       "hy_v3",      "ernie4_5-moe", "glm4moe",     "dbrx"};

static fixture_model model_of(const char *family) {
    fixture_model m = {.architecture = family, .keys = layer_norm};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (!strcmp(special[i].architecture, family))
            m = special[i];
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++)
        if (!strcmp(mixtures[i], family))
            m.n_experts = N_EXPERTS;
    m.n_used = m.n_experts;
    m.n_embd = 64;
    m.n_ff = 128;
    m.seed = 7;
    return m;
}

static int32_t id_of(uint32_t i) {
    return (int32_t)((i * 37 + i * i * 5) % FIXTURE_VOCAB);
}

/* Logits of N tokens, `piece` at a time. */
static float *logits_of(const char *path, const char *adapter, uint32_t piece) {
    sm_error error = {0};
    const sm_session_options o = {.struct_size = sizeof o, .n_threads = 2, .n_ctx = 32};
    sm_model *model = NULL;
    sm_session *s = NULL;
    sm_adapter *a = NULL;
    float *logits = calloc((size_t)N * FIXTURE_VOCAB, sizeof *logits);
    assert_non_null(logits);
    if (sm_model_load(&model, path, NULL, &error) || sm_session_new(&s, model, &o, &error) ||
        (adapter &&
         (sm_adapter_load(&a, model, adapter, NULL, &error) || sm_session_attach(s, a, 1, &error))))
        fail_msg("%s", error.message);
    for (uint32_t t = 0; t < N; t += piece) {
        int32_t ids[N];
        for (uint32_t i = 0; i < piece; i++)
            ids[i] = id_of(t + i);
        if (sm_session_feed_logits(s, ids, piece, logits + (size_t)t * FIXTURE_VOCAB, UINT64_MAX,
                                   &error))
            fail_msg("%s", error.message);
    }
    sm_adapter_free(a);
    sm_session_free(s);
    sm_model_free(model);
    return logits;
}

static void assert_same(float *a, float *b) {
    assert_memory_equal(a, b, (size_t)N * FIXTURE_VOCAB * sizeof *a);
    free(a);
    free(b);
}

/* Root of the mean square of the difference beside that of b. */
static double apart(const float *a, const float *b) {
    double off = 0, all = 0;
    for (size_t i = 0; i < (size_t)N * FIXTURE_VOCAB; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        all += (double)b[i] * (double)b[i];
    }
    return sqrt(off / all);
}

/* Quantized and packed: near the exact logits, and the same bits. */
static void check_small(const char *exact, const float *want) {
    const char *small = scratch_path("small.gguf"), *packed = scratch_path("packed.gguf");
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "Q8_0"};
    sm_error error = {0};
    sm_model *model = NULL;
    if (sm_model_quantize(small, exact, &o, NULL, &error) ||
        sm_model_load(&model, small, NULL, &error) ||
        sm_model_save_packed(model, packed, NULL, &error))
        fail_msg("%s", error.message);
    sm_model_free(model);
    float *got = logits_of(small, NULL, N);
    const double off = apart(got, want);
    if (!(off > 0 && off < 0.12))
        fail_msg("Q8_0 is off by %g", off);
    assert_same(got, logits_of(small, NULL, 1));
    assert_same(logits_of(packed, NULL, 4), logits_of(small, NULL, 5));
}

/* The importance of all of its matrices but routers', which are not quantized, is used. */
static void check_importance(const char *exact) {
    const char *matrix = scratch_path("importance.gguf");
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "Q4_0", .imatrix = matrix};
    sm_quantize_result result = {.struct_size = sizeof result};
    sm_error error = {0};
    sm_model *model = NULL;
    sm_imatrix *im = NULL;
    int32_t ids[N];
    for (uint32_t i = 0; i < N; i++)
        ids[i] = id_of(i);
    if (sm_model_load(&model, exact, NULL, &error) || sm_imatrix_new(&im, model, NULL, &error) ||
        sm_imatrix_feed(im, ids, N, &error) || sm_imatrix_save(im, matrix, NULL, &error) ||
        sm_model_quantize(scratch_path("small.gguf"), exact, &o, &result, &error))
        fail_msg("%s", error.message);
    sm_imatrix_free(im);
    sm_model_free(model);
    assert_true(result.n_imatrix >= 2);
}

/* The two halves of an adapter of a tensor. */
static void put_halves(sm_gguf_writer *w, const sm_tensor *t, bool declare) {
    for (int half = 0; half < 2; half++) {
        char name[128];
        const uint64_t dims[3] = {half ? 3 : t->dims[0], half ? t->dims[1] : 3, t->dims[2]};
        const uint64_t n = dims[0] * dims[1] * dims[2];
        snprintf(name, sizeof name, "%s.lora_%c", t->name, half ? 'b' : 'a');
        if (declare) {
            sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, t->n_dims, dims, NULL);
            continue;
        }
        float *x = malloc(n * sizeof *x);
        assert_non_null(x);
        for (uint64_t k = 0; k < n; k++)
            x[k] = 0.03f * (float)sin((double)(k + 7 * t->dims[0]));
        sm_gguf_write_tensor(w, x, n * sizeof *x, NULL);
        free(x);
    }
}

/* An adapter of all matrices in layers. */
static void write_adapter(const char *path, const char *model_path, const char *family) {
    sm_mem mem;
    sm_source *source;
    sm_gguf_writer *w;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&source, &mem, model_path, true, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, 32, NULL), SM_OK);
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "general.architecture", family, strlen(family));
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    sm_gguf_put_f32(w, "adapter.lora.alpha", 3);
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < source->n_tensors; i++) {
            const sm_tensor *t = &source->tensors[i];
            if (t->n_dims >= 2 && !strncmp(t->name, "blk.", 4) && !strstr(t->name, ".bias") &&
                !strstr(t->name, "_norm.") && !strstr(t->name, ".conv."))
                put_halves(w, t, !pass);
        }
    assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
    sm_source_close(source);
}

/* Heard; the same bits in every piece; merged, the same but for rounding. */
static void check_adapter(const char *exact, const char *family, const float *plain) {
    const char *adapter = scratch_path("adapter.gguf"), *merged = scratch_path("merged.gguf");
    sm_error error = {0};
    write_adapter(adapter, exact, family);
    if (sm_adapter_merge(merged, exact, adapter, 1, NULL, &error))
        fail_msg("%s", error.message);
    float *attached = logits_of(exact, adapter, N), *whole = logits_of(merged, NULL, N);
    const double heard = apart(plain, attached), off = apart(whole, attached);
    if (!(heard > 0.005 && off < 2e-3 && off < heard / 20))
        fail_msg("%g heard, merged off by %g", heard, off);
    free(whole);
    assert_same(attached, logits_of(exact, adapter, 1));
}

/* Whether the next step's loss is lower after one against the gradient. */
static void check_training(const char *exact) {
    const sm_graph_options o = {.max_tokens = N, .max_spans = 1, .n_threads = 2};
    int32_t ids[N], targets[N];
    const uint32_t begin[] = {0, N};
    sm_mem mem;
    sm_source *source;
    sm_graph *graph;
    sm_error error = {0};
    double loss[2];
    uint64_t n = 0;
    for (uint32_t i = 0; i < N; i++) {
        ids[i] = id_of(i);
        targets[i] = id_of(i + 1);
    }
    const sm_train_batch batch = {N, ids, targets, 1, begin};
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    if (sm_source_open(&source, &mem, exact, true, &error) ||
        sm_graph_new(&graph, &mem, source, sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)), &o,
                     &error))
        fail_msg("%s", error.message);
    const sm_params *params = sm_graph_params(graph);
    for (int step = 0; step < 2; step++) {
        for (uint32_t i = 0; i < params->n; i++)
            memset(params->param[i].grad, 0,
                   params->param[i].rows * params->param[i].cols * sizeof(float));
        if (sm_graph_backward(graph, &batch, 1.0 / N, 0, &loss[step], &n, &error))
            fail_msg("%s", error.message);
        double squares = 0;
        for (uint32_t i = 0; i < params->n; i++)
            for (uint64_t k = 0; k < params->param[i].rows * params->param[i].cols; k++)
                squares += (double)params->param[i].grad[k] * (double)params->param[i].grad[k];
        for (uint32_t i = 0; i < params->n; i++)
            for (uint64_t k = 0; k < params->param[i].rows * params->param[i].cols; k++)
                params->param[i].value[k] -=
                    (float)(0.01 / sqrt(squares)) * params->param[i].grad[k];
        assert_int_equal(sm_graph_update(graph), SM_OK);
    }
    if (!(loss[1] < loss[0]))
        fail_msg("the loss went from %g to %g", loss[0], loss[1]);
    sm_graph_free(graph);
    sm_source_close(source);
}

/* The others have a kind of blocks without a backward pass. */
static bool trains(const char *family) {
    return strcmp(family, "gemma3n") != 0 && strncmp(family, "lfm2", 4) != 0;
}

/* Those make no logits: tests/run/test_encoder.c. */
static bool is_encoder(const char *family) {
    return strstr(family, "bert") || strstr(family, "embedding");
}

static void every_family(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (is_encoder(families[i]))
            continue;
        const fixture_model model = model_of(families[i]);
        const char *exact = scratch_path("exact.gguf");
        print_message("%s\n", families[i]);
        assert_int_equal(fixture_write(exact, &model), 0);
        float *want = logits_of(exact, NULL, N);
        check_small(exact, want);
        check_importance(exact);
        check_adapter(exact, families[i], want);
        if (trains(families[i]))
            check_training(exact);
        assert_same(want, logits_of(exact, NULL, 1));
    }
}

static bool needs_more(const char *family) {
    const fixture_model m = model_of(family);
    return m.n_experts || m.keys != layer_norm || m.sliding_window;
}

/* Of each architecture that needs no more than sizes: loads, and learns. */
static void new_models(void **state) {
    (void)state;
    const fixture_model words = {.spm = true};
    const char *vocabulary = scratch_path("words.gguf"), *path = scratch_path("new.gguf");
    assert_int_equal(fixture_write(vocabulary, &words), 0);
    sm_model_init_options o = {
        .struct_size = sizeof o, .n_embd = 64, .n_layer = 2, .n_head = 4, .n_head_kv = 2};
    sm_error error = {0};
    for (size_t i = 0; i < N_FAMILIES; i++) {
        o.architecture = families[i];
        if (needs_more(families[i]) || is_encoder(families[i]))
            continue;
        print_message("%s\n", families[i]);
        if (sm_model_init(path, vocabulary, &o, &error))
            fail_msg("%s", error.message);
        free(logits_of(path, NULL, N));
        check_training(path);
    }
    o.architecture = "deepseek2";
    assert_int_equal(sm_model_init(path, vocabulary, &o, &error), SM_ERR_MISSING);
    assert_non_null(strstr(error.message, "deepseek2.attention.kv_lora_rank"));
    o.architecture = "gpt-5";
    assert_int_equal(sm_model_init(path, vocabulary, &o, &error), SM_ERR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_family),
                                       cmocka_unit_test(new_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
