/* Several sessions of one model on several threads at once, from the first feed
 * (which repacks the weights) to the last free; run under the thread sanitizer. */
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
    u->status = sm_session_generate(session, "the hand in the", &go, collect, u, NULL);
    if (!u->status)
        u->status = sm_session_fork(&fork, session, NULL);
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
        cmocka_unit_test(handles_go_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
