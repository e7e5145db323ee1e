/* The thread team: every thread runs, barriers hold, teams of more threads than
 * CPUs make progress, results of one step are seen by all in the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/base.h"

#define MOST 16
#define STEPS 300

typedef struct work {
    sm_team *team;
    uint32_t n;
    uint64_t values[MOST];
    uint64_t errors[MOST];
} work;

/* Each step every thread writes its own value and checks everyone's of the step. */
static void steps(void *arg, uint32_t thread, uint32_t n_threads) {
    work *w = arg;
    if (n_threads < 1 || n_threads > w->n) /* fewer where CPUs are missing */
        w->errors[thread]++;
    for (uint64_t step = 1; step <= STEPS; step++) {
        w->values[thread] = step * 100 + thread;
        sm_team_barrier(w->team);
        for (uint32_t i = 0; i < n_threads; i++)
            w->errors[thread] += w->values[i] != step * 100 + i;
        sm_team_barrier(w->team);
    }
}

static void barriers_hold(void **state) {
    (void)state;
    sm_mem mem;
    sm_error error;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, &error), SM_OK);
    const uint32_t sizes[] = {1, 2, 3, 4, 8, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        work w = {.n = sizes[i]};
        assert_int_equal(sm_team_new(&w.team, &mem, sizes[i], &error), SM_OK);
        assert_int_equal(sm_team_size(w.team), sizes[i]);
        for (int run = 0; run < 40; run++)
            sm_team_run(w.team, steps, &w);
        sm_team_free(w.team);
        for (uint32_t t = 0; t < sizes[i]; t++)
            assert_int_equal(w.errors[t], 0);
    }
    assert_int_equal(mem.in_use, 0);
}

static void shares_cover_everything_once(void **state) {
    (void)state;
    for (uint64_t n = 0; n < 50; n++) {
        for (uint32_t threads = 1; threads < 20; threads++) {
            uint64_t next = 0, begin, end;
            for (uint32_t t = 0; t < threads; t++) {
                sm_share(n, t, threads, &begin, &end);
                assert_int_equal(begin, next);
                assert_true(end >= begin && end - begin <= n / threads + 1);
                next = end;
            }
            assert_int_equal(next, n);
        }
    }
}

static void bad_sizes_are_refused(void **state) {
    (void)state;
    sm_mem mem;
    sm_error error = {0};
    sm_team *team;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, &error), SM_OK);
    assert_int_equal(sm_team_new(&team, &mem, 0, &error), SM_ERR_ARGUMENT);
    assert_null(team);
    assert_int_equal(sm_team_new(&team, &mem, SM_MAX_THREADS + 1, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "n_threads"));
    sm_team_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(barriers_hold),
        cmocka_unit_test(shares_cover_everything_once),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
