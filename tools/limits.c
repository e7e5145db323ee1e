/* limits.c - runs the limit loops on all threads at once and times them. */
#if defined(__linux__)
#define _GNU_SOURCE /* madvise */
#include <sys/mman.h>
#endif

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "limits.h"

/* Of each loop in one sample. Of arithmetic the best counts: others use the CPU too. Of reading the
 * median: the memory changes by itself, and what is compared with it has to take it as it is. */
#define TRIALS 3
#define TRIAL_SECONDS 0.025 /* what a trial is sized for */
#define PIECE 512           /* a thread's share is a multiple of it: the loops' stride */

struct limit_bench {
    const limit_loops *loops;
    uint32_t n_threads;
    uint64_t share;      /* bytes per thread */
    unsigned char *data; /* n_threads shares */
    bool touched;
    /* one job: all wait until everyone is there, then repeat the loop */
    limit_kind kind;
    uint64_t rounds;
    _Atomic uint32_t arrived;
    _Atomic uint32_t finished;
    _Atomic bool cancelled; /* a thread could not be made */
    _Atomic uint64_t sink;
};

/* Large pages, where the system gives them, as the library has for repacked weights: they are read
 * faster. */
#define LARGE_PAGE ((size_t)2 << 20)

static void *take_large(size_t bytes) {
    void *taken = aligned_alloc(LARGE_PAGE, (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
#if defined(MADV_HUGEPAGE)
    if (taken != NULL)
        madvise(taken, bytes, MADV_HUGEPAGE);
#endif
    return taken;
}

limit_bench *limit_bench_new(uint32_t level, uint32_t n_threads, uint64_t bytes) {
    limit_bench *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    if (bytes > LIMITS_MAX_BYTES)
        bytes = LIMITS_MAX_BYTES;
    made->loops = limit_loops_of(level);
    made->n_threads = n_threads;
    made->share = (bytes / n_threads / PIECE + 1) * PIECE;
    made->data = take_large(made->share * n_threads);
    if (made->data == NULL) {
        free(made);
        return NULL;
    }
    return made;
}

void limit_bench_free(limit_bench *limits) {
    if (limits != NULL)
        free(limits->data);
    free(limits);
}

static void run_share(limit_bench *limits, uint32_t thread) {
    unsigned char *mine = limits->data + thread * limits->share;
    uint64_t sum = 0;
    if (!limits->touched)
        memset(mine, 1, limits->share); /* by the thread that reads it, for its memory node */
    switch (limits->kind) {
    case LIMIT_READ:
        for (uint64_t i = 0; i < limits->rounds; i++)
            sum += limits->loops->read(mine, limits->share);
        break;
    case LIMIT_READ_AHEAD:
        for (uint64_t i = 0; i < limits->rounds; i++)
            sum += limits->loops->read_ahead(mine, limits->share);
        break;
    case LIMIT_F32:
        limits->loops->f32(limits->rounds);
        break;
    case LIMIT_BF16:
        limits->loops->bf16(limits->rounds);
        break;
    case LIMIT_INT8:
        limits->loops->int8(limits->rounds);
        break;
    }
    atomic_fetch_add(&limits->sink, sum);
}

static void take_part(limit_bench *limits, uint32_t thread) {
    atomic_fetch_add(&limits->arrived, 1);
    while (atomic_load(&limits->arrived) < limits->n_threads) {
        if (atomic_load(&limits->cancelled))
            return;
    }
    run_share(limits, thread);
    atomic_fetch_add(&limits->finished, 1);
}

typedef struct limit_thread {
    pthread_t handle;
    limit_bench *limits;
    uint32_t number;
} limit_thread;

static void *thread_main(void *argument) {
    limit_thread *thread = argument;
    take_part(thread->limits, thread->number);
    return NULL;
}

/* Seconds from everyone's arrival to the last one's end; 0 if threads cannot be had. */
static double time_job(limit_bench *limits, limit_kind kind, uint64_t rounds) {
    limit_thread *threads = calloc(limits->n_threads, sizeof *threads);
    uint32_t made = 1;
    double seconds = 0.0;
    if (threads == NULL)
        return 0.0;
    limits->kind = kind;
    limits->rounds = rounds;
    atomic_store(&limits->arrived, 0);
    atomic_store(&limits->finished, 0);
    atomic_store(&limits->cancelled, false);
    for (; made < limits->n_threads; made++) {
        threads[made].limits = limits;
        threads[made].number = made;
        if (pthread_create(&threads[made].handle, NULL, thread_main, &threads[made]) != 0) {
            atomic_store(&limits->cancelled, true);
            break;
        }
    }
    if (made == limits->n_threads) {
        while (atomic_load(&limits->arrived) < limits->n_threads - 1)
            continue;
        const double start = cli_seconds();
        take_part(limits, 0);
        while (atomic_load(&limits->finished) < limits->n_threads)
            continue;
        seconds = cli_seconds() - start;
    }
    for (uint32_t i = 1; i < made; i++)
        pthread_join(threads[i].handle, NULL);
    free(threads);
    return seconds;
}

/* Rounds that take this thread alone about TRIAL_SECONDS. */
static uint64_t size_trial(limit_bench *limits, limit_kind kind) {
    limits->kind = kind;
    limits->rounds = 1;
    for (;;) {
        const double start = cli_seconds();
        run_share(limits, 0);
        const double seconds = cli_seconds() - start;
        if (seconds > TRIAL_SECONDS / 2)
            return (uint64_t)((double)limits->rounds * TRIAL_SECONDS / seconds) + 1;
        limits->rounds *= 2;
    }
}

/* Bytes or operations of one round of one thread. */
static double work_of_round(const limit_bench *limits, limit_kind kind) {
    switch (kind) {
    case LIMIT_F32:
        return 2.0 * limits->loops->f32_macs;
    case LIMIT_BF16:
        return 2.0 * limits->loops->bf16_macs;
    case LIMIT_INT8:
        return 2.0 * limits->loops->int8_macs;
    default:
        return (double)limits->share;
    }
}

bool limit_bench_rates(limit_bench *limits, limit_kind kind, uint32_t n_trials, double *rates) {
    if (!limits->touched) {
        if (time_job(limits, LIMIT_READ, 1) <= 0.0)
            return false;
        limits->touched = true;
    }
    const uint64_t rounds = size_trial(limits, kind);
    for (uint32_t i = 0; i < n_trials; i++) {
        const double seconds = time_job(limits, kind, rounds);
        if (seconds <= 0.0)
            return false;
        rates[i] = work_of_round(limits, kind) * (double)rounds * limits->n_threads / seconds;
    }
    return true;
}

/* The best rate of some trials; 0 if threads cannot be had. */
static double best_rate(limit_bench *limits, limit_kind kind) {
    double rates[TRIALS], best = 0.0;
    if (!limit_bench_rates(limits, kind, TRIALS, rates))
        return 0.0;
    for (int i = 0; i < TRIALS; i++)
        best = rates[i] > best ? rates[i] : best;
    return best;
}

static double median_rate(limit_bench *limits, limit_kind kind) {
    double rates[TRIALS];
    return limit_bench_rates(limits, kind, TRIALS, rates) ? cli_median(rates, TRIALS) : 0.0;
}

bool limit_bench_run(limit_bench *limits, limit_sample *sample) {
    const double plain = median_rate(limits, LIMIT_READ);
    const double ahead = median_rate(limits, LIMIT_READ_AHEAD);
    sample->read = plain > ahead ? plain : ahead;
    sample->f32 = best_rate(limits, LIMIT_F32);
    const bool has_bf16 = limits->loops->bf16 != NULL;
    sample->bf16 = has_bf16 ? best_rate(limits, LIMIT_BF16) : 0.0;
    sample->int8 = best_rate(limits, LIMIT_INT8);
    return plain > 0.0 && ahead > 0.0 && sample->f32 > 0.0 && (!has_bf16 || sample->bf16 > 0.0) &&
           sample->int8 > 0.0;
}
