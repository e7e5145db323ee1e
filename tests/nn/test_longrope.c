/* Divisors of angles that depend on the context a session is made for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "format/format.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

#define N 20
#define ORIGINAL 32
#define SHORT "rope_factors_short.weight"
#define LONG "rope_factors_long.weight"

static const fixture_key keys[] = {{"rope.scaling.original_context_length", 'u', ORIGINAL}, {0}};
static const fixture_key scaled_keys[] = {{"rope.scaling.original_context_length", 'u', ORIGINAL},
                                          {"rope.scaling.attn_factor", 'f', 1.25},
                                          {0}};
static const fixture_model model = {
    .architecture = "phi3", .longrope = true, .seed = 5, .keys = keys};

static sm_mem mem;

/* The file without `left_out`; `renamed` as rope_freqs.weight, divisors for all contexts. */
static void rewrite(const char *from_path, const char *to_path, const char *left_out,
                    const char *renamed) {
    sm_source *from;
    sm_gguf_writer *w;
    OK(sm_source_open(&from, &mem, from_path, false, error));
    OK(sm_gguf_writer_open(&w, &mem, to_path, 3, 32, error));
    OK(sm_gguf_copy_keys(w, from, SM_KEY_ALIGNMENT));
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < from->n_tensors; i++) {
            const sm_tensor *t = &from->tensors[i];
            const char *name = strcmp(t->name, renamed) ? t->name : "rope_freqs.weight";
            if (!strcmp(t->name, left_out))
                continue;
            if (!pass)
                OK(sm_gguf_declare_tensor(w, name, t->type, t->n_dims, t->dims, error));
            else
                OK(sm_gguf_write_tensor(w, t->data, t->size, error));
        }
    OK(sm_gguf_writer_finish(w, error));
    sm_source_close(from);
}

static void ids_of(int32_t ids[N]) {
    uint64_t seed = 3;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(test_random(&seed) % FIXTURE_VOCAB);
}

static void feed(sm_session *s, float *logits) {
    int32_t ids[N];
    ids_of(ids);
    OK(sm_session_feed_logits(s, ids, N - 1, logits, UINT64_MAX, error));
    OK(sm_session_feed_logits(s, ids + N - 1, 1, logits + (N - 1) * FIXTURE_VOCAB, UINT64_MAX,
                              error));
}

static void logits_of(const char *path, uint32_t n_ctx, float *logits) {
    const sm_session_options so = {.struct_size = sizeof so, .n_ctx = n_ctx, .n_threads = 2};
    sm_model *m;
    sm_session *s, *fork;
    OK(sm_model_load(&m, path, NULL, error));
    OK(sm_session_new(&s, m, &so, error));
    OK(sm_session_fork(&fork, s, NULL, error));
    sm_session_free(s);
    feed(fork, logits); /* which is of the same context */
    sm_session_free(fork);
    sm_model_free(m);
}

static void test_contexts(void **state) {
    (void)state;
    static float want[N * FIXTURE_VOCAB], other[N * FIXTURE_VOCAB], got[N * FIXTURE_VOCAB];
    const char *path = scratch_path("model.gguf"), *plain = scratch_path("plain.gguf");
    assert_int_equal(fixture_write(path, &model), 0);
    rewrite(path, plain, LONG, SHORT);
    logits_of(plain, 64, want);
    logits_of(path, ORIGINAL, got);
    assert_memory_equal(got, want, sizeof want);
    rewrite(path, plain, SHORT, LONG);
    logits_of(plain, ORIGINAL, other);
    logits_of(path, ORIGINAL + 1, got);
    assert_memory_equal(got, other, sizeof other);
    assert_memory_not_equal(other, want, sizeof want);
    fixture_model scaled = model;
    scaled.keys = scaled_keys;
    assert_int_equal(fixture_write(path, &scaled), 0);
    logits_of(path, ORIGINAL, got);
    assert_memory_not_equal(got, want, sizeof want);
}

/* Sessions of one batch, in one step. */
static void test_batch(void **state) {
    (void)state;
    static float want[2][N * FIXTURE_VOCAB];
    static const uint32_t contexts[] = {ORIGINAL, 2 * ORIGINAL};
    const char *path = scratch_path("model.gguf");
    const sm_batch_options o = {.struct_size = sizeof o, .n_ctx = 2 * ORIGINAL, .n_threads = 2};
    sm_model *m;
    sm_batch *batch;
    sm_session *s[2];
    int32_t ids[N];
    ids_of(ids);
    assert_int_equal(fixture_write(path, &model), 0);
    OK(sm_model_load(&m, path, NULL, error));
    OK(sm_batch_new(&batch, m, &o, error));
    for (int i = 0; i < 2; i++) {
        const sm_session_options so = {.struct_size = sizeof so, .n_ctx = contexts[i]};
        logits_of(path, contexts[i], want[i]);
        OK(sm_batch_new_session(&s[i], batch, &so, error));
    }
    for (int t = 0; t < N; t++) {
        const sm_batch_item items[2] = {
            {.struct_size = sizeof(sm_batch_item), .session = s[0], .ids = ids + t, .n_ids = 1},
            {.struct_size = sizeof(sm_batch_item), .session = s[1], .ids = ids + t, .n_ids = 1}};
        OK(sm_batch_step(batch, items, 2, error));
        for (int i = 0; i < 2; i++) {
            const float *logits;
            OK(sm_session_logits(s[i], &logits, NULL, error));
            assert_memory_equal(logits, want[i] + t * FIXTURE_VOCAB,
                                FIXTURE_VOCAB * sizeof *logits);
        }
    }
    sm_session_free(s[0]);
    sm_session_free(s[1]);
    sm_batch_free(batch);
    sm_model_free(m);
}

static void refused(const char *path, sm_status status, const char *part) {
    sm_model *m = NULL;
    sm_error error = {0};
    assert_int_equal(sm_model_load(&m, path, NULL, &error), status);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void test_refusals(void **state) {
    (void)state;
    const char *path = scratch_path("bad.gguf");
    fixture_model m = model;
    m.omit_tensor = LONG;
    assert_int_equal(fixture_write(path, &m), 0);
    refused(path, SM_ERR_MISSING, "'" LONG "' is missing");
    m.omit_tensor = SHORT;
    assert_int_equal(fixture_write(path, &m), 0);
    refused(path, SM_ERR_MISSING, "'" SHORT "' is missing");
    m = model;
    m.bad_shape = LONG;
    assert_int_equal(fixture_write(path, &m), 0);
    refused(path, SM_ERR_SHAPE, LONG);
    m = model;
    m.nan_tensor = LONG;
    assert_int_equal(fixture_write(path, &m), 0);
    refused(path, SM_ERR_FORMAT, LONG);
    m = model;
    m.rope_freqs = true; /* divisors of two kinds */
    assert_int_equal(fixture_write(path, &m), 0);
    refused(path, SM_ERR_UNSUPPORTED, "'rope_freqs.weight' has no place");
    m = (fixture_model){.architecture = "phi3", .rope_scaling = "longrope"};
    assert_int_equal(fixture_write(path, &m), 0);
    refused(path, SM_ERR_MISSING, "'" LONG "' is missing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_refusals),
    };
    sm_mem_init(&mem, NULL, 0, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
