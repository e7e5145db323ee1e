/* Several sessions of one model on several threads at once, from their first steps
 * (which repack the weights) to the last free; run under the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "blocks.h"
#include "fixture.h"
#include "run/run.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define THREADS 6
#define TOKENS 24

typedef struct user {
    const sm_model *model;
    uint32_t number;
    sm_status status;
    int32_t ids[TOKENS];
    uint32_t n;
} user;

static int32_t collect(void *arg, const sm_token *token) {
    user *u = arg;
    if (token->id >= 0 && u->n < TOKENS)
        u->ids[u->n++] = token->id;
    return 0;
}

static void *use(void *arg) {
    user *u = arg;
    const sm_session_options so = {
        .struct_size = sizeof so, .n_ctx = 96, .n_threads = 1 + u->number % 3};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1, .seed = 11};
    const sm_generate_options go = {
        .struct_size = sizeof go, .max_tokens = TOKENS, .sampling = &sampling, .ignore_end = 1};
    sm_session *session, *fork;
    u->status = sm_session_new(&session, u->model, &so, NULL);
    if (u->status)
        return NULL;
    /* else these tiny steps would run on one thread */
    sm_team_set_barrier_ns(session->batch->team, 0);
    u->status = sm_session_generate(session, "the hand in the", SM_ZT, &go, collect, u, NULL);
    if (!u->status)
        u->status = sm_session_fork(&fork, session, NULL, NULL);
    sm_session_free(session);
    if (!u->status) {
        const int32_t id = 3;
        u->status = sm_session_feed(fork, &id, 1, NULL);
        sm_session_free(fork);
    }
    return NULL;
}

static void sessions_on_threads_agree(void **state) {
    (void)state;
    const char *path = scratch_path("concurrent.gguf");
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .untied = true};
    assert_int_equal(fixture_write(path, &spec), 0);
    sm_model *model;
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    pthread_t threads[THREADS];
    static user users[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        users[i] = (user){.model = model, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(users[i].status, SM_OK);
        assert_int_equal(users[i].n, TOKENS);
        assert_memory_equal(users[i].ids, users[0].ids, sizeof users[0].ids);
    }
    sm_model_free(model);
}

#define ROUNDS 8
#define PROMPT 8

/* One of the teams that come to a new model together. */
typedef struct first_user {
    const sm_model *model;
    pthread_barrier_t *start;
    uint32_t n_threads, n_batch;
    sm_status status;
    float logits[FIXTURE_VOCAB];
} first_user;

static void *feed_first(void *arg) {
    first_user *u = arg;
    static const int32_t prompt[PROMPT] = {1, 77, 250, 3, 9, 11, 200, 5};
    const sm_session_options so = {
        .struct_size = sizeof so, .n_ctx = 96, .n_threads = u->n_threads, .n_batch = u->n_batch};
    sm_session *session;
    const float *logits;
    u->status = sm_session_new(&session, u->model, &so, NULL);
    pthread_barrier_wait(u->start);
    if (u->status)
        return NULL;
    u->status = sm_session_feed(session, prompt, PROMPT, NULL);
    if (!u->status)
        u->status = sm_session_logits(session, &logits, NULL, NULL);
    if (!u->status)
        memcpy(u->logits, logits, sizeof u->logits);
    sm_session_free(session);
    return NULL;
}

/* Looks at a model and writes it out while others pack it. */
typedef struct watcher {
    const sm_model *model;
    const char *path;
    pthread_barrier_t *start;
    sm_status status;
    bool shrank;
} watcher;

static void *watch(void *arg) {
    watcher *w = arg;
    uint64_t last = 0;
    pthread_barrier_wait(w->start);
    w->status = sm_model_save_packed(w->model, w->path, NULL, NULL);
    for (int i = 0; i < 100 && !w->status; i++) {
        sm_model_info info = {.struct_size = sizeof info};
        w->status = sm_model_get_info(w->model, &info, NULL);
        w->shrank = w->shrank || info.packed_bytes < last;
        last = info.packed_bytes;
    }
    return NULL;
}

static uint64_t packed_bytes(const sm_model *model) {
    sm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
    return info.packed_bytes;
}

static void first_steps_of_several_teams_agree(void **state) {
    (void)state;
    const char *path = scratch_path("first.gguf"), *copy = scratch_path("copy.gguf");
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .untied = true, .n_layer = 4};
    static first_user alone, users[2];
    pthread_barrier_t one, all;
    sm_model *model;
    uint64_t expected_bytes = 0;
    assert_int_equal(fixture_write(path, &spec), 0);
    pthread_barrier_init(&one, NULL, 1);
    pthread_barrier_init(&all, NULL, 3);
    for (uint32_t round = 0; round <= ROUNDS; round++) {
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        if (round == 0) { /* undisturbed */
            alone = (first_user){.model = model, .start = &one, .n_threads = 1, .n_batch = 32};
            feed_first(&alone);
            assert_int_equal(alone.status, SM_OK);
            expected_bytes = packed_bytes(model);
        } else {
            watcher w = {.model = model, .path = copy, .start = &all};
            pthread_t threads[3];
            for (uint32_t i = 0; i < 2; i++) {
                /* the second one comes to the head later than to the layers */
                users[i] = (first_user){
                    .model = model, .start = &all, .n_threads = 2 + i, .n_batch = i ? 3 : 32};
                assert_int_equal(pthread_create(&threads[i], NULL, feed_first, &users[i]), 0);
            }
            assert_int_equal(pthread_create(&threads[2], NULL, watch, &w), 0);
            for (uint32_t i = 0; i < 3; i++)
                pthread_join(threads[i], NULL);
            for (uint32_t i = 0; i < 2; i++) {
                assert_int_equal(users[i].status, SM_OK);
                assert_memory_equal(users[i].logits, alone.logits, sizeof alone.logits);
            }
            assert_int_equal(w.status, SM_OK);
            assert_false(w.shrank);
            assert_int_equal(packed_bytes(model), expected_bytes); /* each matrix once */
        }
        sm_model_free(model);
    }
    pthread_barrier_destroy(&one);
    pthread_barrier_destroy(&all);
}

/* Handles may go in any order: the tokenizer outlives model and session. */
static void handles_go_in_any_order(void **state) {
    (void)state;
    const char *path = scratch_path("order.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    const sm_model_options o = {.struct_size = sizeof o, .allocator = &allocator};
    for (int order = 0; order < 6; order++) {
        sm_model *model;
        sm_session *session;
        sm_tokenizer *tokenizer;
        assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_OK);
        assert_int_equal(sm_session_new(&session, model, NULL, NULL), SM_OK);
        assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
        for (int step = 0; step < 3; step++) {
            static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                             {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
            switch (orders[order][step]) {
            case 0:
                sm_model_free(model);
                break;
            case 1:
                sm_session_free(session);
                break;
            default:
                assert_int_equal(sm_tokenizer_find(tokenizer, "the", 3) > 0, 1);
                sm_tokenizer_free(tokenizer);
            }
        }
        assert_int_equal(counter.live_blocks, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_on_threads_agree),
        cmocka_unit_test(first_steps_of_several_teams_agree),
        cmocka_unit_test(handles_go_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
