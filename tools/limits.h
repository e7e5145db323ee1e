/* limits.h - what this machine can do at most, measured: the yardstick of `bench`. */
#ifndef LIMITS_H
#define LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* Loops of one instruction-set level. */
typedef struct limit_loops {
    /* Reads bytes (a multiple of 512) and returns their sum; the second also fetches ahead. */
    uint64_t (*read)(const void *data, uint64_t bytes);
    uint64_t (*read_ahead)(const void *data, uint64_t bytes);
    /* Multiply-adds with nothing but registers; rounds of *_macs multiply-adds each. */
    void (*f32)(uint64_t rounds);
    void (*bf16)(uint64_t rounds); /* NULL where the level has no such instruction */
    void (*int8)(uint64_t rounds);
    double f32_macs;
    double bf16_macs;
    double int8_macs;
} limit_loops;

/* Of the level SM_LEVEL_… (one that this CPU has). */
const limit_loops *limit_loops_of(uint32_t level);

typedef struct limit_bench limit_bench;

typedef enum limit_kind {
    LIMIT_READ,
    LIMIT_READ_AHEAD,
    LIMIT_F32,
    LIMIT_BF16,
    LIMIT_INT8
} limit_kind;

/* One measurement by all threads together. */
typedef struct limit_sample {
    double read; /* bytes per second */
    double f32;  /* operations per second, a multiply-add being two */
    double bf16; /* likewise; 0 where the level has no such instruction */
    double int8; /* likewise */
} limit_sample;

#define LIMITS_MAX_BYTES ((uint64_t)512 << 20) /* beyond any cache: more would change nothing */

/* Room for `bytes` to be read (cut to LIMITS_MAX_BYTES), shared out among the threads so
 * that what fits a cache stays in it. NULL without memory. */
limit_bench *limit_bench_new(uint32_t level, uint32_t n_threads, uint64_t bytes);
void limit_bench_free(limit_bench *limits); /* NULL is fine */
/* About half a second. false if threads cannot be had. */
bool limit_bench_run(limit_bench *limits, limit_sample *sample);
/* One loop, n_trials times for about 25 ms: bytes or operations per second of all threads
 * together. false if threads cannot be had. */
bool limit_bench_rates(limit_bench *limits, limit_kind kind, uint32_t n_trials, double *rates);

#endif
