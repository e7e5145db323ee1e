/* test_latent - latent attention, absorbed and expanded: against a reference in double, and the
 * same bits for all threads, pieces and companies, over every cache type. */
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
#include "reference.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define V FIXTURE_VOCAB
#define N 290 /* more than a block of attention */

/* With a latent of queries and without; sizes that fill groups and blocks, and none that do. */
static const fixture_key odd[] = {{"attention.q_lora_rank", 'u', 20},
                                  {"attention.kv_lora_rank", 'u', 20},
                                  {"attention.key_length_mla", 'u', 14},
                                  {"attention.value_length_mla", 'u', 12},
                                  {"rope.dimension_count", 'u', 4},
                                  {"rope.scaling.yarn_log_multiplier", 'f', 0.1},
                                  {NULL, 0, 0}};
static const fixture_key even[] = {{"attention.kv_lora_rank", 'u', 64},
                                   {"attention.key_length_mla", 'u', 48},
                                   {"attention.value_length_mla", 'u', 32},
                                   {"rope.dimension_count", 'u', 16},
                                   {NULL, 0, 0}};
static const fixture_key expanded[] = {
    {"attention.q_lora_rank", 'u', 24}, {"attention.kv_lora_rank", 'u', 20},
    {"attention.key_length", 'u', 14},  {"attention.value_length", 'u', 18},
    {"rope.dimension_count", 'u', 4},   {NULL, 0, 0}};
static const fixture_model models[] = {
    {.architecture = "deepseek2",
     .n_head = 3,
     .keys = odd,
     .rope_scaling = "yarn",
     .n_embd = 48,
     .seed = 1},
    {.architecture = "deepseek2", .n_head = 4, .keys = even, .type = SM_DTYPE_Q8_0, .seed = 2},
    {.architecture = "deepseek2", .n_head = 3, .keys = expanded, .n_embd = 48, .seed = 3},
    {.architecture = "minicpm3",
     .n_head = 3,
     .keys = expanded,
     .n_embd = 48,
     .longrope = true,
     .seed = 4},
};
#define N_MODELS (sizeof models / sizeof *models)

static const char *write(const fixture_model *spec) {
    const char *path = scratch_path("latent.gguf");
    assert_int_equal(fixture_write(path, spec), 0);
    return path;
}

static int32_t id_of(uint32_t i) {
    return (int32_t)((i * 37 + i * i / 3) % V);
}

/* ---- against the reference ------------------------------------------------------------------- */

static double *wanted(const char *path) {
    sm_mem mem;
    sm_source *source;
    sm_graph *graph;
    static int32_t ids[N];
    const uint32_t begin[] = {0, N};
    for (uint32_t t = 0; t < N; t++)
        ids[t] = id_of(t);
    const sm_graph_options options = {.max_tokens = 8, .max_spans = 1, .n_threads = 1};
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&source, &mem, path, true, NULL), SM_OK);
    assert_int_equal(sm_graph_new(&graph, &mem, source,
                                  sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)), &options, NULL),
                     SM_OK);
    reference r = reference_make(graph);
    double *logits = reference_logits(&r, &(sm_train_batch){N, ids, NULL, 1, begin});
    reference_free(&r);
    sm_graph_free(graph);
    sm_source_close(source);
    return logits;
}

/* ---- through sessions ------------------------------------------------------------------------ */

/* Logits of N tokens, `piece` at a time. */
static float *logits_of(const sm_model *model, uint32_t kv_type, uint32_t n_threads,
                        uint32_t piece) {
    const sm_session_options o = {.struct_size = sizeof o,
                                  .kv_type = kv_type,
                                  .n_threads = n_threads,
                                  .n_ctx = N + 8,
                                  .n_batch = N};
    sm_session *s;
    sm_error error;
    float *logits = calloc((size_t)N * V, sizeof *logits);
    assert_non_null(logits);
    if (sm_session_new(&s, model, &o, &error))
        fail_msg("%s", error.message);
    for (uint32_t t = 0; t < N; t += piece) {
        int32_t ids[N];
        const uint32_t n = N - t < piece ? N - t : piece;
        for (uint32_t i = 0; i < n; i++)
            ids[i] = id_of(t + i);
        if (sm_session_feed_logits(s, ids, n, logits + (size_t)t * V, UINT64_MAX, &error))
            fail_msg("%s", error.message);
    }
    sm_session_free(s);
    return logits;
}

static void assert_same(const float *want, float *got) {
    assert_memory_equal(want, got, (size_t)N * V * sizeof *got);
    free(got);
}

static void agrees_with_the_reference(void **state) {
    (void)state;
    for (size_t m = 0; m < N_MODELS; m++) {
        const char *path = write(&models[m]);
        sm_model *model;
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        float *got = logits_of(model, SM_KV_TYPE_F32, 2, N);
        double *want = wanted(path), off = 0, all = 0;
        for (size_t i = 0; i < (size_t)N * V; i++) {
            off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
            all += want[i] * want[i];
        }
        off = sqrt(off / all);
        print_message("model %u: off by %.1e\n", (unsigned)m, off);
        assert_true(off < (models[m].type == SM_DTYPE_Q8_0 ? 0.05 : 1e-5));
        free(got);
        free(want);
        sm_model_free(model);
    }
}

static void same_bits_however_fed(void **state) {
    (void)state;
    static const uint32_t types[] = {SM_KV_TYPE_F32, SM_KV_TYPE_F16, SM_KV_TYPE_BF16,
                                     SM_KV_TYPE_Q8_0};
    for (size_t m = 0; m < N_MODELS; m++) {
        sm_model *model;
        assert_int_equal(sm_model_load(&model, write(&models[m]), NULL, NULL), SM_OK);
        float *exact = logits_of(model, SM_KV_TYPE_F32, 1, N);
        for (size_t k = 0; k < 4; k++) {
            float *want = logits_of(model, types[k], 1, N);
            double most = 0;
            for (size_t i = 0; i < (size_t)N * V; i++)
                most = fmax(most, fabs((double)want[i] - (double)exact[i]));
            assert_true((types[k] == SM_KV_TYPE_F32) == (most == 0));
            assert_true(most < 0.3);
            assert_same(want, logits_of(model, types[k], 3, N));
            assert_same(want, logits_of(model, types[k], 2, 7));
            assert_same(want, logits_of(model, types[k], 3, 1));
            free(want);
        }
        free(exact);
        sm_model_free(model);
    }
}

/* Two sequences a step, one a token at a time and one in pieces. */
static void same_bits_in_company(void **state) {
    (void)state;
    const sm_batch_options bo = {.struct_size = sizeof bo, .n_threads = 3, .n_ctx = N + 8};
    for (size_t m = 0; m < N_MODELS; m++) {
        sm_model *model;
        sm_batch *batch;
        sm_session *s[2];
        assert_int_equal(sm_model_load(&model, write(&models[m]), NULL, NULL), SM_OK);
        assert_int_equal(sm_batch_new(&batch, model, &bo, NULL), SM_OK);
        for (int i = 0; i < 2; i++)
            assert_int_equal(sm_batch_new_session(&s[i], batch, NULL, NULL), SM_OK);
        float *want = logits_of(model, SM_KV_TYPE_F16, 1, N);
        for (uint32_t t = 0; t + 5 < 50; t++) {
            int32_t ids[2][5];
            for (uint32_t i = 0; i < 5; i++)
                ids[1][i] = id_of(5 * t + i);
            ids[0][0] = id_of(t);
            const sm_batch_item items[] = {
                {.struct_size = sizeof(sm_batch_item), .session = s[0], .ids = ids[0], .n_ids = 1},
                {.struct_size = sizeof(sm_batch_item), .session = s[1], .ids = ids[1], .n_ids = 5}};
            assert_int_equal(sm_batch_step(batch, items, 2, NULL), SM_OK);
            for (uint32_t i = 0; i < 2; i++) {
                const float *got;
                const uint32_t at = i ? 5 * t + 4 : t;
                assert_int_equal(sm_session_logits(s[i], &got, NULL, NULL), SM_OK);
                assert_memory_equal(got, want + (size_t)at * V, V * sizeof *got);
            }
        }
        free(want);
        for (int i = 0; i < 2; i++)
            sm_session_free(s[i]);
        sm_batch_free(batch);
        sm_model_free(model);
    }
}

/* ---- files that do not fit ------------------------------------------------------------------- */

/* With another value of a key than the tensors were made for. */
static void refused(const fixture_model *model, const char *key, uint32_t value, sm_status status,
                    const char *names) {
    fixture_model spec = *model;
    sm_error error = {0};
    sm_model *loaded = NULL;
    char name[64];
    snprintf(name, sizeof name, "deepseek2.%s", key ? key : "");
    spec.u32_key = key ? name : NULL;
    spec.u32_value = value;
    assert_int_equal(sm_model_load(&loaded, write(&spec), NULL, &error), status);
    assert_null(loaded);
    if (!strstr(error.message, names))
        fail_msg("'%s' does not name '%s'", error.message, names);
}

static void what_does_not_fit_is_named(void **state) {
    (void)state;
    refused(&models[0], "attention.kv_lora_rank", 0, SM_ERR_FORMAT, "attention.kv_lora_rank");
    refused(&models[0], "attention.kv_lora_rank", 21, SM_ERR_SHAPE, "attn_kv_a_mqa.weight");
    refused(&models[0], "attention.kv_lora_rank", 1021, SM_ERR_UNSUPPORTED,
            "attention.kv_lora_rank");
    refused(&models[0], "attention.key_length_mla", 4, SM_ERR_FORMAT, "attention.key_length_mla");
    refused(&models[0], "attention.value_length_mla", 16, SM_ERR_SHAPE, "attn_v_b.weight");
    refused(&models[0], "attention.value_length_mla", 1u << 24, SM_ERR_FORMAT, "head_count");
    refused(&models[0], "attention.q_lora_rank", 0, SM_ERR_FORMAT, "attention.q_lora_rank");
    refused(&models[2], "attention.value_length", 17, SM_ERR_SHAPE, "attn_kv_b.weight");
    fixture_model spec = models[0];
    spec.omit_tensor = "blk.1.attn_k_b.weight";
    refused(&spec, NULL, 0, SM_ERR_MISSING, "blk.1.attn_k_b.weight");
    spec = models[1];
    spec.bad_shape = "blk.0.attn_v_b.weight";
    refused(&spec, NULL, 0, SM_ERR_SHAPE, "blk.0.attn_v_b.weight");
    spec = models[2];
    spec.nan_tensor = "blk.0.attn_kv_a_norm.weight";
    refused(&spec, NULL, 0, SM_ERR_FORMAT, "blk.0.attn_kv_a_norm.weight");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_reference),
        cmocka_unit_test(same_bits_however_fed),
        cmocka_unit_test(same_bits_in_company),
        cmocka_unit_test(what_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
