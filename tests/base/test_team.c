/* The thread team: every thread runs, barriers hold, teams of more threads than
 * CPUs make progress, results of one step are seen by all in the next. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#endif
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

static void note_threads(void *arg, uint32_t thread, uint32_t n_threads) {
    uint32_t *seen = arg;
    seen[thread] = n_threads;
}

static void runs_of_some_threads(void **state) {
    (void)state;
    sm_mem mem;
    sm_team *team;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_team_new(&team, &mem, 4, NULL), SM_OK);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t seen[4] = {0};
        const uint32_t most = i % 6;
        sm_team_run_some(team, most, note_threads, seen);
        const uint32_t n = seen[0];
        assert_true(n >= 1 && n <= 4 && (n <= most || n == 1));
        for (uint32_t t = 0; t < 4; t++)
            assert_int_equal(seen[t], t < n ? n : 0);
    }
    sm_team_free(team);
}

static void a_barrier_costs_something(void **state) {
    (void)state;
    sm_mem mem;
    sm_team *team;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    for (uint32_t n = 1; n <= 4; n++) {
        assert_int_equal(sm_team_new(&team, &mem, n, NULL), SM_OK);
        assert_true(sm_team_barrier_ns(team) == 0);
        sm_team_set_barrier_ns(team, SM_TEAM_MEASURE);
        const double ns = sm_team_barrier_ns(team);
        assert_true(n == 1 ? ns == 0 : ns > 0);
        assert_true(sm_team_barrier_ns(team) == ns); /* measured once */
        sm_team_set_barrier_ns(team, 7);
        assert_true(sm_team_barrier_ns(team) == 7);
        sm_team_free(team);
    }
}

#if defined(__linux__)
static void note_cpus(void *arg, uint32_t thread, uint32_t n_threads) {
    cpu_set_t *sets = arg;
    (void)n_threads;
    sched_getaffinity(0, sizeof *sets, &sets[thread]);
}

static void pinned_threads_have_one_cpu(void **state) {
    (void)state;
    sm_mem mem;
    sm_team *team;
    cpu_set_t before, sets[4];
    CPU_ZERO(&before);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_team_new(&team, &mem, 4, NULL), SM_OK);
    assert_false(sm_team_pinned(team));
    sm_error error = {0};
    if (sm_team_pin(team, &error))
        fail_msg("%s", error.message);
    assert_true(sm_team_pinned(team));
    for (int t = 0; t < 4; t++)
        CPU_ZERO(&sets[t]);
    sm_team_run(team, note_cpus, sets);
    assert_true(CPU_EQUAL(&sets[0], &before)); /* the caller's */
    for (int t = 1; t < 4; t++) {
        if (CPU_COUNT(&sets[t]) == 0) /* fewer threads took part */
            continue;
        assert_int_equal(CPU_COUNT(&sets[t]), 1);
        cpu_set_t both;
        CPU_AND(&both, &sets[t], &before);
        assert_int_equal(CPU_COUNT(&both), 1);
    }
    if (CPU_COUNT(&before) > 1 && CPU_COUNT(&sets[1]) && CPU_COUNT(&sets[2]))
        assert_false(CPU_EQUAL(&sets[1], &sets[2]));
    sm_team_free(team);
}
#endif

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
        cmocka_unit_test(runs_of_some_threads),
        cmocka_unit_test(a_barrier_costs_something),
#if defined(__linux__)
        cmocka_unit_test(pinned_threads_have_one_cpu),
#endif
        cmocka_unit_test(shares_cover_everything_once),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
