/* Scores that fall with distance, each head's with another slope, and limits of q, k and v: the
 * same bits however the tokens come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

#define N 600 /* tokens: blocks of keys */

static const fixture_key keys[] = {
    {"attention.max_alibi_bias", 'f', 8}, {"attention.clamp_kqv", 'f', 1.5}, {0}};
/* Threads take heads of a group one by one. */
static const fixture_model model = {.n_head = 6,
                                    .n_head_kv = 2,
                                    .head_dim = 8,
                                    .n_layer = 1,
                                    .n_ctx = 1024,
                                    .keys = keys,
                                    .seed = 12};

static void logits_of(const sm_model *m, uint32_t threads, uint32_t kv_type, uint64_t piece,
                      float *logits) {
    const sm_session_options o = {
        .struct_size = sizeof o, .n_ctx = N, .n_threads = threads, .kv_type = kv_type};
    sm_session *s;
    int32_t ids[N];
    uint64_t seed = 5;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(test_random(&seed) % FIXTURE_VOCAB);
    OK(sm_session_new(&s, m, &o, error));
    for (uint64_t at = 0; at < N; at += piece) {
        const uint64_t n = N - at < piece ? N - at : piece;
        OK(sm_session_feed_logits(s, ids + at, n, logits + at * FIXTURE_VOCAB, UINT64_MAX, error));
    }
    sm_session_free(s);
}

static void test_bits(void **state) {
    (void)state;
    static float want[N * FIXTURE_VOCAB], got[N * FIXTURE_VOCAB];
    static const uint32_t types[] = {SM_KV_TYPE_F32, SM_KV_TYPE_F16, SM_KV_TYPE_Q8_0};
    static const uint64_t pieces[] = {1, 5, 257};
    const char *path = scratch_path("alibi.gguf");
    sm_model *m;
    assert_int_equal(fixture_write(path, &model), 0);
    OK(sm_model_load(&m, path, NULL, error));
    for (int type = 0; type < 3; type++) {
        logits_of(m, 1, types[type], N, want);
        for (uint32_t i = 0; i < 3; i++) {
            logits_of(m, i + 1, types[type], pieces[i], got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
    sm_model_free(m);
}

/* Each of both keys makes a difference; 0 is none; less is refused. */
static void test_keys(void **state) {
    (void)state;
    static float both[N * FIXTURE_VOCAB], got[N * FIXTURE_VOCAB];
    const char *path = scratch_path("alibi.gguf");
    fixture_model other = model;
    sm_model *m;
    assert_int_equal(fixture_write(path, &model), 0);
    OK(sm_model_load(&m, path, NULL, error));
    logits_of(m, 2, SM_KV_TYPE_F32, N, both);
    sm_model_free(m);
    for (int i = 0; i < 2; i++) {
        sm_error why = {0};
        other.f32_key = i ? "llama.attention.clamp_kqv" : "llama.attention.max_alibi_bias";
        other.f32_value = 0;
        assert_int_equal(fixture_write(path, &other), 0);
        OK(sm_model_load(&m, path, NULL, error));
        logits_of(m, 2, SM_KV_TYPE_F32, N, got);
        sm_model_free(m);
        assert_memory_not_equal(got, both, sizeof both);
        other.f32_value = -1;
        assert_int_equal(fixture_write(path, &other), 0);
        assert_int_equal(sm_model_load(&m, path, NULL, &why), SM_ERR_FORMAT);
        assert_non_null(strstr(why.message, other.f32_key));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bits), cmocka_unit_test(test_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
