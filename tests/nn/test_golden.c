/* Real models and stored logits; skipped, visibly, without the test data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smallmind/smallmind.h"
#include "support.h"

#define IDS 40
#define VOCAB 512

static const uint32_t levels[] = {SM_LEVEL_SCALAR, SM_LEVEL_AVX2,    SM_LEVEL_AVX512,
                                  SM_LEVEL_NEON,   SM_LEVEL_DOTPROD, SM_LEVEL_AVXVNNI,
                                  SM_LEVEL_I8MM};
#define N_LEVELS (sizeof levels / sizeof *levels)

/* The path, or the test is skipped. */
static const char *need(const char *name) {
    const char *path = data_path(name);
    if (!path) {
        print_message("skipped: no test data (%s)\n", name);
        skip();
    }
    return path;
}

static void read_ids(int32_t *ids) {
    size_t size;
    char *text = (char *)scratch_read(need("golden/ids40.txt"), &size), *at = text;
    for (int i = 0; i < IDS; i++)
        ids[i] = (int32_t)strtol(at, &at, 10);
    free(text);
}

static sm_session *open_session(const char *path, uint32_t level, uint32_t kv_type) {
    sm_model *model = NULL;
    sm_session *session = NULL;
    sm_error error;
    const sm_model_options mo = {.struct_size = sizeof mo, .level = level};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2, .kv_type = kv_type};
    if (sm_model_load(&model, path, &mo, &error) || sm_session_new(&session, model, &so, &error))
        fail_msg("%s", error.message);
    sm_model_free(model); /* the session holds it */
    return session;
}

/* Ours and the stored logits of the 40 ids. */
static void both(const char *model, const char *stored, uint32_t level, uint32_t kv_type,
                 float *ours, float **golden) {
    int32_t ids[IDS];
    size_t size;
    sm_error error;
    read_ids(ids);
    *golden = (float *)(void *)scratch_read(need(stored), &size);
    assert_int_equal(size, IDS * VOCAB * sizeof **golden);
    sm_session *s = open_session(need(model), level, kv_type);
    if (sm_session_feed_logits(s, ids, IDS, ours, UINT64_MAX, &error))
        fail_msg("%s", error.message);
    sm_session_free(s);
}

static void f32_models_match(void **state) {
    (void)state;
    const char *const models[][2] = {
        {"golden/llama-256-f32.gguf", "golden/llama-256-f32.logits"},
        {"golden/qwen2-256-f32.gguf", "golden/qwen2-256-f32.logits"},
        {"golden/qwen3-256-f32.gguf", "golden/qwen3-256-f32.logits"},
        {"models/stories260K.gguf", "golden/stories260K.logits"},
    };
    static float ours[IDS * VOCAB];
    float *golden;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        for (size_t l = 0; l < N_LEVELS; l++) {
            if (sm_level_best(levels[l]) != levels[l])
                continue;
            both(models[m][0], models[m][1], levels[l], SM_KV_TYPE_F32, ours, &golden);
            for (int i = 0; i < IDS * VOCAB; i++)
                assert_true(fabsf(ours[i] - golden[i]) < 1e-3f);
            free(golden);
        }
    }
}

static double log_sum(const float *x) {
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < VOCAB; i++)
        top = (double)x[i] > top ? (double)x[i] : top;
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)x[i] - top);
    return top + log(sum);
}

/* Mean over positions of KL(exact || ours). */
static double divergence(const float *exact, const float *ours) {
    double total = 0;
    for (int t = 0; t < IDS; t++, exact += VOCAB, ours += VOCAB) {
        const double e = log_sum(exact), o = log_sum(ours);
        for (int i = 0; i < VOCAB; i++)
            total += exp((double)exact[i] - e) * ((double)exact[i] - e - ((double)ours[i] - o));
    }
    return total / IDS;
}

/* No type loses more than the bound, which is what another engine's kernels lose. */
static void quantized_models_are_close(void **state) {
    (void)state;
    const struct {
        const char *type;
        double bound;
    } cases[] = {{"F16", 2.0e-5},     {"BF16", 1.0e-5},    {"Q8_0", 1.29e-4},   {"Q4_0", 1.30e-4},
                 {"Q4_1", 1.38e-4},   {"Q5_0", 1.33e-4},   {"Q5_1", 1.28e-4},   {"Q2_K", 3.06e-4},
                 {"Q3_K_M", 2.63e-4}, {"Q4_K_M", 2.63e-4}, {"Q5_K_M", 2.69e-4}, {"Q6_K", 2.75e-4},
                 {"IQ4_NL", 1.20e-4}, {"IQ4_XS", 2.83e-4}};
    static float ours[IDS * VOCAB];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t l = 0; l < N_LEVELS; l++) {
            char model[128], stored[128];
            float *golden;
            if (sm_level_best(levels[l]) != levels[l])
                continue;
            snprintf(model, sizeof model, "golden/types/llama-256-%s.gguf", cases[c].type);
            snprintf(stored, sizeof stored, "golden/types/llama-256-%s.exact.logits",
                     cases[c].type);
            both(model, stored, levels[l], SM_KV_TYPE_F32, ours, &golden);
            const double kl = divergence(golden, ours);
            print_message("%-7s %-7s KL %.3e (at most %.3e)\n", cases[c].type,
                          sm_level_name(levels[l]), kl, cases[c].bound);
            assert_true(kl <= cases[c].bound);
            free(golden);
        }
    }
}

/* What the 40 ids say matters. */
static void measure_importance(const char *model_path, const char *out) {
    int32_t ids[IDS];
    sm_model *model;
    sm_imatrix *im = NULL;
    sm_error error;
    read_ids(ids);
    if (sm_model_load(&model, model_path, NULL, &error) ||
        sm_imatrix_new(&im, model, NULL, &error) || sm_imatrix_feed(im, ids, IDS, &error) ||
        sm_imatrix_save(im, out, "ids", &error))
        fail_msg("%s", error.message);
    sm_imatrix_free(im);
    sm_model_free(model);
}

static void logits_of(const char *path, uint32_t level, float *logits) {
    int32_t ids[IDS];
    sm_error error;
    read_ids(ids);
    sm_session *s = open_session(path, level, SM_KV_TYPE_F32);
    if (sm_session_feed_logits(s, ids, IDS, logits, UINT64_MAX, &error))
        fail_msg("%s", error.message);
    sm_session_free(s);
}

/* Types without stored logits, as they are encoded here, beside the same weights in f32. The bounds
 * are what is lost with activations rounded per 256, as another engine's kernels have them. */
static void codebook_types_are_close(void **state) {
    (void)state;
    const struct {
        const char *type;
        double bound;
    } cases[] = {{"IQ2_XXS", 2.27e-4}, {"IQ2_XS", 2.45e-4}, {"IQ2_S", 2.66e-4},
                 {"IQ3_XXS", 2.55e-4}, {"IQ3_S", 2.79e-4},  {"IQ1_S", 2.23e-4},
                 {"IQ1_M", 2.01e-4}};
    static float exact[IDS * VOCAB], ours[IDS * VOCAB];
    char im[256], typed[256], floats[256], source[1024];
    snprintf(im, sizeof im, "%s", scratch_path("im.gguf"));
    snprintf(typed, sizeof typed, "%s", scratch_path("typed.gguf"));
    snprintf(floats, sizeof floats, "%s", scratch_path("floats.gguf"));
    snprintf(source, sizeof source, "%s", need("golden/llama-256-f32.gguf"));
    measure_importance(source, im);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sm_error error;
        const sm_quantize_options to = {
            .struct_size = sizeof to, .type = cases[c].type, .imatrix = im, .pure = 1};
        const sm_quantize_options back = {
            .struct_size = sizeof back, .type = "F32", .requantize = 1};
        if (sm_model_quantize(typed, source, &to, NULL, &error) ||
            sm_model_quantize(floats, typed, &back, NULL, &error))
            fail_msg("%s", error.message);
        logits_of(floats, SM_LEVEL_AUTO, exact);
        for (size_t l = 0; l < N_LEVELS; l++) {
            if (sm_level_best(levels[l]) != levels[l])
                continue;
            logits_of(typed, levels[l], ours);
            const double kl = divergence(exact, ours);
            print_message("%-7s %-7s KL %.3e (at most %.3e)\n", cases[c].type,
                          sm_level_name(levels[l]), kl, cases[c].bound);
            assert_true(kl <= cases[c].bound);
        }
    }
}

/* What a cache of a smaller type loses at most on the 40 ids. */
static void small_caches_are_close(void **state) {
    (void)state;
    const struct {
        const char *model, *stored;
        double bounds[7]; /* by SM_KV_TYPE_… */
    } cases[] = {
        {"golden/llama-256-f32.gguf",
         "golden/llama-256-f32.logits",
         {4e-8, 1e-11, 2.5e-6, 3.2e-5, 7e-3, 1.7e-3, 5e-3}},
        {"golden/qwen2-256-f32.gguf",
         "golden/qwen2-256-f32.logits",
         {5e-7, 1e-11, 2.5e-5, 2.7e-4, 7e-2, 1.9e-2, 5e-2}},
        {"golden/qwen3-256-f32.gguf",
         "golden/qwen3-256-f32.logits",
         {5e-7, 1e-11, 3.5e-5, 3.3e-4, 8e-2, 2.1e-2, 6.5e-2}},
        {"models/stories260K.gguf",
         "golden/stories260K.logits",
         {2.5e-6, 1e-11, 9e-5, 2.4e-3, 0.47, 0.17, 0.28}},
    };
    static const char *const names[] = {"f16", "f32", "bf16", "q8_0", "q4_0", "q5_0", "iq4_nl"};
    static float ours[IDS * VOCAB];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t l = 0; l < N_LEVELS; l++) {
            for (uint32_t type = 0; type < 7; type++) {
                float *golden;
                if (sm_level_best(levels[l]) != levels[l])
                    continue;
                both(cases[c].model, cases[c].stored, levels[l], type, ours, &golden);
                const double kl = divergence(golden, ours);
                print_message("%s %-7s %-6s KL %.3e (at most %.1e)\n", cases[c].model,
                              sm_level_name(levels[l]), names[type], kl, cases[c].bounds[type]);
                assert_true(kl <= cases[c].bounds[type]);
                free(golden);
            }
        }
    }
}

static int32_t append(void *user, const sm_token *token) {
    strncat(user, token->text, 2000);
    return 0;
}

static void stories_are_told(void **state) {
    (void)state;
    static const char expected[] =
        ", there was a little girl named Lily. She loved to play outside in the park. One day, "
        "she saw a big, red ball. She wanted to play with it, but it was too high.\nLily's mom "
        "said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She "
        "said, \"I want to play with your ball, but I can't find it.\"\nLily was sad and did";
    const char *path = need("models/stories260K.gguf");
    for (size_t l = 0; l < N_LEVELS; l++) {
        static char text[8192];
        sm_error error;
        if (sm_level_best(levels[l]) != levels[l])
            continue;
        sm_session *s = open_session(path, levels[l], SM_KV_TYPE_F32);
        const sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 200};
        text[0] = 0;
        if (sm_session_generate(s, "Once upon a time", SM_ZT, &o, append, text, &error))
            fail_msg("%s", error.message);
        assert_memory_equal(text, expected, sizeof expected - 1);
        sm_session_free(s);
    }
}

int main(void) {
    if (!data_path("golden/ids40.txt")) {
        printf("skipped: no test data\n");
        return 77; /* meson counts it as skipped */
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_models_match),         cmocka_unit_test(quantized_models_are_close),
        cmocka_unit_test(codebook_types_are_close), cmocka_unit_test(small_caches_are_close),
        cmocka_unit_test(stories_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
