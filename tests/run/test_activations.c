/* Products with f32 activations beside quantized weights: exactly those of the same weights in a
 * file of F32. */
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

#define N 21
#define LOGITS ((size_t)N * FIXTURE_VOCAB)

/* Of N tokens, `piece` at a time; to be freed. */
static float *logits_of(const char *path, uint32_t activations, uint32_t n_threads,
                        uint32_t piece) {
    const sm_model_options o = {.struct_size = sizeof o, .activations = activations};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = n_threads, .n_ctx = 32};
    sm_error error = {0};
    sm_model *model;
    sm_session *s;
    int32_t ids[N];
    float *logits = calloc(LOGITS, sizeof *logits);
    assert_non_null(logits);
    for (int32_t i = 0; i < N; i++)
        ids[i] = (i * 37 + i * i * 5) % FIXTURE_VOCAB;
    if (sm_model_load(&model, path, &o, &error) || sm_session_new(&s, model, &so, &error))
        fail_msg("%s", error.message);
    for (uint32_t t = 0; t < N; t += piece)
        assert_int_equal(sm_session_feed_logits(s, ids + t, N - t < piece ? N - t : piece,
                                                logits + (size_t)t * FIXTURE_VOCAB, UINT64_MAX,
                                                &error),
                         SM_OK);
    sm_session_free(s);
    sm_model_free(model);
    return logits;
}

static void as_f32(const char *from, const char *to) {
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "F32", .requantize = 1};
    sm_error error = {0};
    if (sm_model_quantize(to, from, &o, NULL, &error))
        fail_msg("%s", error.message);
}

static void assert_same_bits(const fixture_model *spec) {
    char expanded[512];
    const char *path = scratch_path("quantized.gguf");
    assert_int_equal(fixture_write(path, spec), 0);
    snprintf(expanded, sizeof expanded, "%s-f32", path);
    as_f32(path, expanded);
    float *want = logits_of(expanded, SM_ACTIVATIONS_FAST, 2, N);
    float *rounded = logits_of(path, SM_ACTIVATIONS_FAST, 2, N);
    assert_memory_not_equal(rounded, want, LOGITS * sizeof *want); /* the option says something */
    for (uint32_t piece = 1; piece <= N; piece += piece < 4 ? 3 : 17)
        for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
            float *got = logits_of(path, SM_ACTIVATIONS_FLOAT, n_threads, piece);
            if (memcmp(got, want, LOGITS * sizeof *got))
                fail_msg("%s of %s: %u at a time, %u threads",
                         spec->architecture ? spec->architecture : "llama",
                         sm_dtype_get(spec->type)->name, piece, n_threads);
            free(got);
        }
    free(want);
    free(rounded);
    remove(path);
    remove(expanded);
}

static void every_type_is_as_exact_as_its_weights_in_f32(void **state) {
    (void)state;
    uint32_t n = 0;
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++) {
        const sm_dtype_traits *traits = sm_dtype_get(type);
        if (!traits || traits->block_size <= 1 || type == SM_DTYPE_Q8_1 || type == SM_DTYPE_Q8_K)
            continue;
        assert_same_bits(&(fixture_model){.n_embd = 256, .n_ff = 768, .type = type, .seed = type});
        n++;
    }
    assert_true(n >= 23);
}

static void so_are_experts_latents_and_joined_tensors(void **state) {
    (void)state;
    static const fixture_key heads[] = {{"attention.kv_lora_rank", 'u', 256},
                                        {"attention.key_length_mla", 'u', 80},
                                        {"attention.value_length_mla", 'u', 64},
                                        {"rope.dimension_count", 'u', 16},
                                        {NULL, 0, 0}};
    assert_same_bits(&(fixture_model){.n_embd = 256,
                                      .n_ff = 256,
                                      .n_experts = 4,
                                      .n_used = 2,
                                      .type = SM_DTYPE_MXFP4,
                                      .other_type = SM_DTYPE_Q4_K});
    assert_same_bits(&(fixture_model){.architecture = "gpt-oss",
                                      .n_embd = 256,
                                      .n_ff = 256,
                                      .n_experts = 4,
                                      .n_used = 2,
                                      .sliding_window = 6,
                                      .type = SM_DTYPE_MXFP4});
    assert_same_bits(&(fixture_model){.architecture = "deepseek2",
                                      .n_embd = 256,
                                      .n_ff = 256,
                                      .keys = heads,
                                      .type = SM_DTYPE_Q4_0});
    assert_same_bits(&(fixture_model){
        .architecture = "phi3", .n_embd = 256, .n_ff = 256, .type = SM_DTYPE_Q6_K});
}

static void packed_files_and_unknown_choices_are_refused(void **state) {
    (void)state;
    const char *path = scratch_path("quantized.gguf");
    const sm_model_options fast = {.struct_size = sizeof fast};
    const sm_model_options exact = {.struct_size = sizeof exact,
                                    .activations = SM_ACTIVATIONS_FLOAT};
    const sm_model_options neither = {.struct_size = sizeof neither, .activations = 2};
    sm_error error = {0};
    sm_model *model;
    char packed[512];
    snprintf(packed, sizeof packed, "%s-packed", path);
    assert_int_equal(
        fixture_write(path, &(fixture_model){.n_embd = 256, .n_ff = 256, .type = SM_DTYPE_Q4_0}),
        0);
    assert_int_equal(sm_model_load(&model, path, &neither, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "activations"));
    assert_int_equal(sm_model_load(&model, path, &fast, &error), SM_OK);
    assert_int_equal(sm_model_save_packed(model, packed, NULL, &error), SM_OK);
    sm_model_free(model);
    assert_int_equal(sm_model_load(&model, packed, &exact, &error), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "is packed Q4_0"));
    assert_int_equal(sm_model_load(&model, packed, &fast, &error), SM_OK);
    sm_model_free(model);
    /* saved from a model that never packs: the same file */
    char again[512];
    snprintf(again, sizeof again, "%s-again", path);
    assert_int_equal(sm_model_load(&model, path, &exact, &error), SM_OK);
    assert_int_equal(sm_model_save_packed(model, again, NULL, &error), SM_OK);
    sm_model_free(model);
    float *a = logits_of(packed, SM_ACTIVATIONS_FAST, 2, N);
    float *b = logits_of(again, SM_ACTIVATIONS_FAST, 2, N);
    assert_memory_equal(a, b, LOGITS * sizeof *a);
    free(a);
    free(b);
    remove(path);
    remove(packed);
    remove(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_as_exact_as_its_weights_in_f32),
        cmocka_unit_test(so_are_experts_latents_and_joined_tensors),
        cmocka_unit_test(packed_files_and_unknown_choices_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
