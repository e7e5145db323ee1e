/* kernel_cases.h - the list of kernels and the data that check_kernels and its benchmark
 * feed them. */
#ifndef KERNEL_CASES_H
#define KERNEL_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels.h"
#include "pack.h"

/* ---- the kernels of kernels.inc ------------------------------------------------------ */

typedef void (*any_fn)(void);

typedef enum kernel_kind {
    KIND_PACK,
    KIND_DEQUANTIZE,
    KIND_ENCODE,
    KIND_MUL,
    KIND_GEMM,
    KIND_MUL_ROUNDED,
    KIND_GEMM_ROUNDED,
    KIND_SCORES,
    KIND_VALUES,
    KIND_STORE_K,
    KIND_STORE_V,
    KIND_TILE,
    KIND_ROW,
} kernel_kind;

typedef struct kernel_entry {
    kernel_kind kind;
    uint32_t level;
    uint32_t type; /* sm_dtype, SM_KV_… or SM_TILE_… */
    const char *name;
    any_fn fn;
} kernel_entry;

extern const kernel_entry kernels[]; /* in the order of kernels.inc */
extern const size_t n_kernels;

/* The table of a level, or NULL where CPU or build lack it. The environment variable
 * SM_TEST_LEVEL caps the level (for emulators). */
const sm_kernels *level_table(uint32_t level);
/* `level` is `limit` or below it in the same family of CPUs. */
bool level_at_most(uint32_t level, uint32_t limit);

static inline bool is_float_type(uint32_t type) {
    return type == SM_DTYPE_F32 || type == SM_DTYPE_F16 || type == SM_DTYPE_BF16 ||
           type == SM_DTYPE_F64;
}

/* Bytes of n elements of one row. */
size_t row_size(uint32_t type, size_t n);

/* ---- data ------------------------------------------------------------------------------ */

/* 64-byte aligned and not a byte longer; ends the program when memory runs out. */
void *take(size_t size);

void seed_random(uint64_t seed);
uint32_t random_bits(void);
float random_float(void); /* in [-1, 1) */

/* RANDOM: codes and scales as in a model. EXTREME: each block all zero, all ones,
 * all -128, all 127 or random codes, with scales zero, one, largest, subnormal or random. */
typedef enum data_style { RANDOM, EXTREME } data_style;

/* Native rows of a type. */
void fill_rows(uint32_t type, void *rows, size_t n_rows, size_t k, data_style style);
/* Activations; EXTREME: each block of 32 zero, tiny, large (1e15, 1e25), constant or random. */
void fill_activations(float *x, size_t n, data_style style);

/* Packs n_rows rows into ceil(n_rows / 16) groups; the caller frees. */
void *pack_rows(uint32_t type, const void *rows, size_t n_rows, size_t k);

/* ---- check_kernels --bench [filter] -------------------------------------------------- */

/* An exit status: not 0 if a kernel has no benchmark. */
int run_benchmark(const char *filter);

/* Median nanoseconds of one run(arg). */
double bench_time(void (*run)(void *arg), void *arg);
void bench_attention(const kernel_entry *k); /* scores, values, stores */
bool bench_row(const kernel_entry *k);       /* false: an operation that it does not know */

#endif
