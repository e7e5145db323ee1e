/* What sessions keep of layers with a window: the window and one batch of tokens. Logits are those
 * of sessions that keep everything, memory is bounded, and what the rings have lost is computed
 * again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "kernels.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define V FIXTURE_VOCAB
#define MOST 777 /* tokens of a sequence: no multiple of anything */

static int32_t ids[3][MOST];

static void fill_ids(void) {
    uint64_t seed = 3;
    for (size_t s = 0; s < 3; s++)
        for (size_t i = 0; i < MOST; i++)
            ids[s][i] = 1 + (int32_t)(test_random(&seed) % 255);
}

/* gemma2: layers 0 and 2 have the window, layer 1 sees all. The embedding of a token that no
 * sequence has is not finite. */
#define NOT_FINITE 0
static bool convolved; /* lfm2 instead: layers 0 and 2 convolve as many tokens, up to 64 */
static sm_model *open_model(uint32_t window, uint64_t limit) {
    const char *path = scratch_path("ring.gguf");
    const fixture_key keys[] = {{"attention.head_count_kv", 'l', 20},
                                {"shortconv.l_cache", 'u', window < 64 ? window : 64},
                                {0}};
    const fixture_model lfm2 = {.architecture = "lfm2",
                                .keys = keys,
                                .n_embd = 32,
                                .n_layer = 3,
                                .head_dim = 24,
                                .n_ff = 32,
                                .n_ctx = 4096,
                                .untied = true,
                                .nan_tensor = "token_embd.weight"};
    const fixture_model gemma = {.architecture = "gemma2",
                                 .n_embd = 32,
                                 .n_layer = 3,
                                 .head_dim = 24,
                                 .n_ff = 32,
                                 .n_ctx = 4096,
                                 .sliding_window = window,
                                 .untied = true,
                                 .nan_tensor = "token_embd.weight"};
    const sm_model_options o = {.struct_size = sizeof o, .memory_limit = limit};
    sm_model *model;
    sm_error error;
    assert_int_equal(fixture_write(path, convolved ? &lfm2 : &gemma), 0);
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session *open_session(const sm_model *model, uint32_t n_batch, uint32_t threads,
                                uint32_t keep) {
    const sm_session_options o = {.struct_size = sizeof o,
                                  .n_ctx = MOST,
                                  .n_threads = threads,
                                  .n_batch = n_batch,
                                  .kv_type = SM_KV_TYPE_Q8_0,
                                  .kv_keep = keep};
    sm_session *s;
    sm_error error;
    if (sm_session_new(&s, model, &o, &error))
        fail_msg("%s", error.message);
    return s;
}

/* Logits of all tokens of sequence 0 where everything is kept. */
static float (*all_kept(const sm_model *model))[V] {
    float(*want)[V] = malloc(MOST * sizeof *want);
    sm_session *s = open_session(model, 512, 1, SM_KV_KEEP_ALL);
    assert_non_null(want);
    assert_int_equal(sm_session_feed_logits(s, ids[0], MOST, want[0], UINT64_MAX, NULL), SM_OK);
    sm_session_free(s);
    return want;
}

/* Feeds tokens [from, to) of sequence 0. */
static void feed(sm_session *s, uint32_t from, uint32_t to) {
    assert_int_equal(sm_session_length(s), from);
    assert_int_equal(sm_session_feed(s, ids[0] + from, to - from, NULL), SM_OK);
}

static void assert_last(const sm_session *s, float (*want)[V]) {
    const float *logits;
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    assert_memory_equal(logits, want[sm_session_length(s) - 1], sizeof *want);
}

static const struct {
    uint32_t window, n_batch;
} shapes[] = {{50, 33}, {33, 50}, {1, 7}, {7, 1}, {16, 16}, {256, 100}, {300, 256}, {700, 40}};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void rings_change_no_bit(void **state) {
    (void)state;
    float(*got)[V] = malloc(MOST * sizeof *got);
    for (size_t i = 0; i < test_share(N_SHAPES, 3); i++) {
        sm_model *model = open_model(shapes[i].window, 0);
        float(*want)[V] = all_kept(model);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            sm_session *s = open_session(model, shapes[i].n_batch, threads, SM_KV_KEEP_WINDOW);
            uint64_t seed = threads;
            memset(got, 0, MOST * sizeof *got);
            for (uint32_t at = 0, n; at < MOST; at += n) { /* most feeds are single tokens */
                n = test_random(&seed) % 4 ? 1 : (uint32_t)(test_random(&seed) % 120);
                n = n < MOST - at ? n : MOST - at;
                assert_int_equal(
                    sm_session_feed_logits(s, ids[0] + at, n, got[at], UINT64_MAX, NULL), SM_OK);
            }
            assert_memory_equal(got, want, MOST * sizeof *got);
            sm_session_free(s);
        }
        free(want);
        sm_model_free(model);
    }
    free(got);
}

/* Bytes of a cache of q8_0 for heads of 24: codes, and a scale for each token and block of 32. */
static uint64_t bytes_of(uint64_t tokens) {
    const uint64_t part = (tokens + 15) / 16 * 16 * 2 * (24 + 2); /* two kv heads */
    return 2 * ((part + 63) / 64 * 64);
}

static void memory_is_bounded(void **state) {
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        sm_model *model = open_model(shapes[i].window, 0);
        sm_session *s = open_session(model, shapes[i].n_batch, 1, SM_KV_KEEP_WINDOW);
        sm_session *all = open_session(model, shapes[i].n_batch, 1, SM_KV_KEEP_ALL), *fork;
        const uint64_t whole = bytes_of(MOST);
        const uint64_t kept = (test_info(s).cache_bytes - whole) / 2; /* of a layer that has it */
        /* the window and a batch, rounded to tiles of 16 wherever those begin */
        const uint64_t least = shapes[i].window + shapes[i].n_batch - 1;
        assert_int_equal(test_info(all).cache_bytes, 3 * whole);
        assert_true(kept >= bytes_of(least) && kept <= bytes_of(least + 30));
        assert_int_equal(sm_session_fork(&fork, s, NULL, NULL), SM_OK);
        assert_int_equal(test_info(fork).cache_bytes, test_info(s).cache_bytes);
        sm_session_free(fork);
        /* what a token reads ends with the window */
        const uint64_t token = 2 * 2 * (24 + 2);
        assert_int_equal(sm_session_read_bytes(s, 0), 3 * token);
        assert_int_equal(sm_session_read_bytes(s, MOST - 1),
                         token * (MOST + 2 * (uint64_t)shapes[i].window));
        assert_int_equal(sm_session_read_bytes(all, MOST - 1), sm_session_read_bytes(s, MOST - 1));
        assert_int_equal(sm_session_read_bytes(s, MOST), 0);
        sm_session_free(all);
        /* nothing is allocated while the rings turn */
        sm_model_info info = {.struct_size = sizeof info};
        feed(s, 0, 100);
        sm_model_get_info(model, &info, NULL);
        const uint64_t allocs = info.n_allocs;
        for (uint32_t at = 100; at < MOST; at++)
            feed(s, at, at + 1);
        sm_model_get_info(model, &info, NULL);
        assert_int_equal(info.n_allocs, allocs);
        sm_session_free(s);
        sm_model_free(model);
    }
    assert_int_equal(test_info(NULL).cache_bytes, 0);
    assert_int_equal(sm_session_read_bytes(NULL, 0), 0);
}

/* What does not fit whole fits with windows. */
static void limits_see_what_is_kept(void **state) {
    (void)state;
    sm_model *model = open_model(20, 0);
    sm_model_info info = {.struct_size = sizeof info};
    sm_session *s = open_session(model, 16, 1, SM_KV_KEEP_WINDOW), *all;
    sm_model_get_info(model, &info, NULL);
    const uint64_t needed = info.heap_peak;
    sm_session_free(s);
    sm_model_free(model);
    model = open_model(20, needed);
    s = open_session(model, 16, 1, SM_KV_KEEP_WINDOW);
    sm_session_free(s);
    const sm_session_options o = {.struct_size = sizeof o,
                                  .n_ctx = MOST,
                                  .n_threads = 1,
                                  .n_batch = 16,
                                  .kv_type = SM_KV_TYPE_Q8_0,
                                  .kv_keep = SM_KV_KEEP_ALL};
    assert_int_equal(sm_session_new(&all, model, &o, NULL), SM_ERR_NOMEM);
    sm_model_free(model);
}

static int32_t refuse(void *user) {
    ++*(uint32_t *)user;
    return 1;
}

static void sessions_go_back(void **state) {
    (void)state;
    enum { WINDOW = 40, BATCH = 32 };
    sm_model *model = open_model(WINDOW, 0);
    float(*want)[V] = all_kept(model);
    sm_session *s = open_session(model, BATCH, 2, SM_KV_KEEP_WINDOW), *fork;
    uint32_t asked = 0;
    uint64_t reused;
    feed(s, 0, 600);
    /* a batch can be forgotten at no cost, wherever */
    sm_session_set_cancel(s, refuse, &asked, NULL);
    for (uint32_t length = 600; length >= 600 - BATCH; length--) {
        assert_int_equal(sm_session_rewind(s, length, NULL), SM_OK);
        assert_int_equal(sm_session_length(s), length);
    }
    assert_int_equal(asked, 0);
    assert_int_equal(sm_session_rewind(s, 400, NULL), SM_ERR_CANCELLED);
    assert_int_equal(sm_session_length(s), 0);
    assert_true(asked > 0);
    sm_session_set_cancel(s, NULL, NULL, NULL);
    /* more than that is computed again, and so is what follows the beginning of a sync */
    feed(s, 0, 600);
    assert_int_equal(sm_session_rewind(s, 400, NULL), SM_OK);
    assert_int_equal(sm_session_length(s), 400);
    feed(s, 400, 401);
    assert_last(s, want);
    assert_int_equal(sm_session_sync(s, ids[0], 395, &reused, NULL), SM_OK);
    assert_int_equal(reused, 394);
    assert_last(s, want);
    assert_int_equal(sm_session_sync(s, ids[0], 100, &reused, NULL), SM_OK);
    assert_int_equal(reused, 0);
    assert_last(s, want);
    /* rings that have gone back remember how far they had been */
    feed(s, 100, 500);
    assert_int_equal(sm_session_rewind(s, 480, NULL), SM_OK);
    assert_int_equal(sm_session_sync(s, ids[0], 460, &reused, NULL), SM_OK);
    assert_last(s, want);
    feed(s, 460, 470);
    assert_last(s, want);
    /* forks have all of it */
    assert_int_equal(sm_session_fork(&fork, s, NULL, NULL), SM_OK);
    sm_session_free(s);
    assert_int_equal(sm_session_rewind(fork, 469, NULL), SM_OK);
    for (uint32_t at = 469; at < MOST; at++) {
        feed(fork, at, at + 1);
        assert_last(fork, want);
    }
    sm_session_free(fork);
    free(want);
    sm_model_free(model);
}

/* Several batches of a feed are computed before the one that fails: the session is as it was. */
static void failed_feeds_go_back(void **state) {
    (void)state;
    static float logits[300][V];
    sm_model *model = open_model(30, 0);
    float(*want)[V] = all_kept(model);
    sm_session *s = open_session(model, 16, 2, SM_KV_KEEP_WINDOW);
    int32_t more[300];
    memcpy(more, ids[0] + 200, sizeof more);
    more[250] = NOT_FINITE;
    feed(s, 0, 200);
    assert_int_equal(sm_session_feed_logits(s, more, 300, logits[0], UINT64_MAX, NULL),
                     SM_ERR_FORMAT);
    assert_int_equal(sm_session_length(s), 200);
    feed(s, 200, 201);
    assert_last(s, want);
    feed(s, 201, 450);
    assert_last(s, want);
    sm_session_free(s);
    free(want);
    sm_model_free(model);
}

/* Sessions of a batch, one step for all, each with a length of its own. */
static void batches_change_no_bit(void **state) {
    (void)state;
    enum { SESSIONS = 3, BATCH = 48 };
    sm_model *model = open_model(37, 0);
    sm_batch *batch;
    sm_session *s[SESSIONS], *fork;
    float(*want)[MOST][V] = malloc(SESSIONS * sizeof *want);
    const sm_batch_options o = {.struct_size = sizeof o,
                                .n_threads = 2,
                                .n_sequences = SESSIONS,
                                .n_batch = BATCH,
                                .n_ctx = MOST};
    assert_int_equal(sm_batch_new(&batch, model, &o, NULL), SM_OK);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        /* the last one keeps all */
        const sm_session_options each = {
            .struct_size = sizeof each, .kv_type = SM_KV_TYPE_Q8_0, .kv_keep = i == SESSIONS - 1};
        sm_session *alone = open_session(model, 512, 1, SM_KV_KEEP_ALL);
        assert_int_equal(sm_session_feed_logits(alone, ids[i], MOST, want[i][0], UINT64_MAX, NULL),
                         SM_OK);
        sm_session_free(alone);
        assert_int_equal(sm_batch_new_session(&s[i], batch, &each, NULL), SM_OK);
    }
    assert_true(test_info(s[0]).cache_bytes < test_info(s[SESSIONS - 1]).cache_bytes);
    uint64_t seed = 1;
    for (bool more = true; more;) {
        sm_batch_item items[SESSIONS];
        uint32_t room = BATCH - SESSIONS;
        more = false;
        for (uint32_t i = 0; i < SESSIONS; i++) {
            const uint32_t at = sm_session_length(s[i]), left = MOST - at;
            uint32_t n = test_random(&seed) % 3 ? 1 : 1 + (uint32_t)test_random(&seed) % (room + 1);
            n = n < left ? n : left;
            room -= n > 1 ? n - 1 : 0;
            items[i] = (sm_batch_item){.struct_size = sizeof(sm_batch_item),
                                       .session = s[i],
                                       .ids = ids[i] + at,
                                       .n_ids = n};
            more = more || n;
        }
        assert_int_equal(sm_batch_step(batch, items, SESSIONS, NULL), SM_OK);
        for (uint32_t i = 0; i < SESSIONS; i++)
            assert_last(s[i], want[i]);
    }
    assert_int_equal(sm_session_fork(&fork, s[0], NULL, NULL), SM_OK);
    assert_int_equal(sm_session_rewind(fork, MOST - BATCH, NULL), SM_OK);
    assert_int_equal(sm_session_feed(fork, ids[0] + MOST - BATCH, BATCH, NULL), SM_OK);
    assert_last(fork, want[0]);
    sm_session_free(fork);
    for (uint32_t i = 0; i < SESSIONS; i++)
        sm_session_free(s[i]);
    sm_batch_free(batch);
    free(want);
    sm_model_free(model);
}

static int convolve(void **state) {
    (void)state;
    convolved = true;
    return 0;
}

/* Deci's layers that are one matrix: of a single token each thread norms all for itself, while the
 * sums of another may already go where that stands. */
static void a_matrix_alone_waits_for_the_norms(void **state) {
    (void)state;
    static const fixture_key keys[] = {{"attention.head_count", 'l', 4424},
                                       {"attention.head_count_kv", 'l', 2021},
                                       {"feed_forward_length", 'L', 4808},
                                       {"attention.key_length", 'u', 16},
                                       {"attention.value_length", 'u', 16},
                                       {"rope.dimension_count", 'u', 16},
                                       {0}};
    const fixture_model deci = {
        .architecture = "deci", .keys = keys, .n_layer = 4, .n_embd = 512, .n_ff = 128};
    const char *path = scratch_path("deci.gguf");
    assert_int_equal(fixture_write(path, &deci), 0);
    const uint32_t levels[] = {SM_LEVEL_SCALAR, SM_LEVEL_AUTO};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        const sm_model_options o = {.struct_size = sizeof o, .level = levels[i]};
        float want[20][V];
        sm_model *model;
        assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_OK);
        for (uint32_t round = 0; round < 1 + test_share(60, 3); round++) {
            sm_session *s = open_session(model, 16, round ? 2 : 1, SM_KV_KEEP_ALL);
            for (uint32_t t = 0; t < 20; t++) {
                float got[V];
                assert_int_equal(sm_session_feed_logits(s, ids[0] + t, 1, got, V, NULL), SM_OK);
                if (round)
                    assert_memory_equal(got, want[t], sizeof got);
                else
                    memcpy(want[t], got, sizeof got);
            }
            sm_session_free(s);
        }
        sm_model_free(model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rings_change_no_bit),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(limits_see_what_is_kept),
        cmocka_unit_test(sessions_go_back),
        cmocka_unit_test(failed_feeds_go_back),
        cmocka_unit_test(batches_change_no_bit),
        cmocka_unit_test(a_matrix_alone_waits_for_the_norms),
    };
    const struct CMUnitTest rows[] = {
        cmocka_unit_test(rings_change_no_bit),
        cmocka_unit_test(sessions_go_back),
        cmocka_unit_test(failed_feeds_go_back),
        cmocka_unit_test(batches_change_no_bit),
    };
    fill_ids();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + cmocka_run_group_tests(rows, convolve, NULL);
}
