/* Going back where a state cannot go everywhere, as with states of a fixed size:
 * sm_state_rewinds_to answers here as such a state would that is kept every 8 tokens. Sessions
 * compute the rest again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "run/run.h"
#include "support.h"

#define KEPT_EVERY 8
#define LENGTH 30

static uint32_t n_asked;

uint32_t __wrap_sm_state_rewinds_to(const sm_state *state, uint32_t from, uint32_t to);
uint32_t __wrap_sm_state_rewinds_to(const sm_state *state, uint32_t from, uint32_t to) {
    (void)state;
    n_asked++;
    assert_true(to < from);
    return to / KEPT_EVERY * KEPT_EVERY;
}

static int32_t id_of(uint32_t i) {
    return (int32_t)((i * 29 + i * i) % FIXTURE_VOCAB);
}

static void feed(sm_session *s, uint32_t from, uint32_t to) {
    int32_t ids[LENGTH];
    for (uint32_t i = from; i < to; i++)
        ids[i - from] = id_of(i);
    assert_int_equal(sm_session_feed(s, ids, to - from, NULL), SM_OK);
}

static void assert_logits(sm_session *s, float (*want)[FIXTURE_VOCAB]) {
    const float *logits;
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    assert_memory_equal(logits, want[sm_session_length(s) - 1], sizeof want[0]);
}

static int32_t stop(void *user) {
    (void)user;
    return 1;
}

static void sessions_go_back_by_computing_again(void **state) {
    (void)state;
    static float want[LENGTH][FIXTURE_VOCAB];
    int32_t ids[LENGTH];
    const char *path = scratch_path("rewind.gguf");
    sm_model *model;
    sm_session *s;
    assert_int_equal(fixture_write(path, &(fixture_model){.n_layer = 2}), 0);
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    for (uint32_t i = 0; i < LENGTH; i++)
        ids[i] = id_of(i);
    assert_int_equal(sm_session_feed_logits(s, ids, LENGTH, want[0], UINT64_MAX, NULL), SM_OK);
    for (uint32_t to = LENGTH; to-- > 0;) {
        const float *logits;
        assert_int_equal(sm_session_rewind(s, to, NULL), SM_OK);
        assert_int_equal(sm_session_length(s), to);
        for (uint32_t i = 0; i < to; i++)
            assert_int_equal(test_token(s, i), id_of(i));
        assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_ERR_STATE);
        feed(s, to, to + 1);
        assert_logits(s, want);
        uint64_t reused = 99;
        assert_int_equal(sm_session_sync(s, ids, LENGTH, &reused, NULL), SM_OK);
        assert_int_equal(reused, to + 1);
        assert_logits(s, want);
        /* another continuation, and back */
        ids[to] = (id_of(to) + 1) % FIXTURE_VOCAB;
        assert_int_equal(sm_session_sync(s, ids, LENGTH, &reused, NULL), SM_OK);
        assert_int_equal(reused, to / KEPT_EVERY * KEPT_EVERY);
        ids[to] = id_of(to);
        assert_int_equal(sm_session_sync(s, ids, LENGTH, &reused, NULL), SM_OK);
        assert_int_equal(reused, to / KEPT_EVERY * KEPT_EVERY);
        assert_logits(s, want);
    }
    assert_true(n_asked >= 3 * LENGTH);
    /* nothing is asked of the state where nothing is given up */
    n_asked = 0;
    assert_int_equal(sm_session_rewind(s, LENGTH, NULL), SM_OK);
    assert_int_equal(n_asked, 0);
    assert_logits(s, want);
    sm_session_set_cancel(s, stop, NULL, NULL);
    assert_int_equal(sm_session_rewind(s, 13, NULL), SM_ERR_CANCELLED);
    assert_int_equal(sm_session_length(s), 8);
    sm_session_free(s);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sessions_go_back_by_computing_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
