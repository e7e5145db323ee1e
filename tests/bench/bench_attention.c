/* bench_attention.c - check_kernels --bench for the KV cache: scores, values, stores.
 *
 * One kv head of 64 elements. 4 queries are one decoded token of a model with groups of four
 * heads: GB/s of the cache read, from the second-level cache and from memory. 64 queries are a
 * prefill task: GOP/s, a multiply-add counted as two.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_cases.h"
#include "smallmind/types.h"

#define DIM 64
#define DECODE_QUERIES 4
#define PREFILL_QUERIES 64
#define BLOCK_TILES (SM_KV_BLOCK / 16)

typedef struct job {
    const kernel_entry *kernel;
    uint8_t *tiles;
    size_t n_blocks, nq;
    const void *in; /* queries, weights or the vector to store */
    size_t ld_in;
    float *out; /* scores or values of all queries */
} job;

static size_t block_bytes(uint32_t type) {
    return BLOCK_TILES * sm_kv_tile_bytes(type, DIM);
}

static void run_scores(void *arg) {
    job *j = arg;
    for (size_t b = 0; b < j->n_blocks; b++) {
        ((sm_attn_scores_fn *)j->kernel->fn)(j->out, SM_KV_BLOCK, j->in, j->ld_in, j->nq,
                                             j->tiles + b * block_bytes(j->kernel->type),
                                             BLOCK_TILES, DIM);
    }
}

static void run_values(void *arg) {
    job *j = arg;
    for (size_t b = 0; b < j->n_blocks; b++) {
        ((sm_attn_values_fn *)j->kernel->fn)(j->out, DIM, j->in, SM_KV_BLOCK, j->nq,
                                             j->tiles + b * block_bytes(j->kernel->type),
                                             SM_KV_BLOCK, DIM);
    }
}

/* Both stores have one type. */
static void run_store(void *arg) {
    job *j = arg;
    for (size_t t = 0; t < SM_KV_BLOCK; t++) {
        ((sm_store_k_fn *)j->kernel->fn)(j->tiles + t / 16 * sm_kv_tile_bytes(j->kernel->type, DIM),
                                         t % 16, j->in, DIM);
    }
}

/* Queries of DIM, quantized where the cache wants that. */
static void *make_queries(uint32_t type, size_t n, size_t *ld) {
    float *x = take(n * DIM * sizeof *x);
    fill_activations(x, n * DIM, RANDOM);
    *ld = DIM;
    if (!sm_kv_is_quantized(type)) {
        return x;
    }
    *ld = DIM / 32;
    sm_act_block *q = take(n * *ld * sizeof *q);
    sm_kernels_get(SM_LEVEL_SCALAR)->quantize(q, x, n * DIM);
    free(x);
    return q;
}

/* Keys or values of DIM as the cache stores them; how many bytes each has. */
static void *make_stored(uint32_t type, size_t n, size_t *bytes) {
    static const uint32_t blocks[SM_KV_TYPES] = {[SM_KV_Q4_0] = SM_DTYPE_Q4_0,
                                                 [SM_KV_Q5_0] = SM_DTYPE_Q5_0,
                                                 [SM_KV_IQ4_NL] = SM_DTYPE_IQ4_NL};
    size_t ld;
    if (type <= SM_KV_Q8_0) {
        void *x = make_queries(type, n, &ld);
        *bytes = ld * (type == SM_KV_Q8_0 ? sizeof(sm_act_block) : sizeof(float));
        return x;
    }
    float *x = make_queries(SM_KV_F32, n, &ld);
    *bytes = DIM / 32 * sm_dtype_get(blocks[type])->block_bytes; /* of 32 elements */
    uint8_t *rows = take(n * *bytes);
    for (size_t i = 0; i < n; i++) {
        sm_kernels_get(SM_LEVEL_SCALAR)
            ->type[blocks[type]]
            .encode(rows + i * *bytes, x + i * DIM, NULL, DIM);
    }
    free(x);
    return rows;
}

/* Blocks of random tokens: copies of one. */
static uint8_t *make_tiles(uint32_t type, size_t n_blocks) {
    const sm_kv_kernels *kv = &sm_kernels_get(SM_LEVEL_SCALAR)->kv[type];
    const size_t bytes = block_bytes(type);
    size_t step;
    void *x = make_stored(type, SM_KV_BLOCK, &step);
    uint8_t *tiles = take(n_blocks * bytes);
    for (size_t t = 0; t < SM_KV_BLOCK; t++) {
        kv->store_k(tiles + t / 16 * sm_kv_tile_bytes(type, DIM), t % 16,
                    (const uint8_t *)x + t * step, DIM);
    }
    for (size_t b = 1; b < n_blocks; b++) {
        memcpy(tiles + b * bytes, tiles, bytes);
    }
    free(x);
    return tiles;
}

static void *make_weights(void) {
    float *p = take(PREFILL_QUERIES * SM_KV_BLOCK * sizeof *p);
    for (size_t i = 0; i < PREFILL_QUERIES * SM_KV_BLOCK; i++) {
        const float x = random_float();
        p[i] = x * x;
    }
    return p;
}

static void bench_product(const kernel_entry *k) {
    static const struct {
        const char *name;
        size_t bytes;
    } sets[] = {{"L2", 256 << 10}, {"DRAM", 192 << 20}};
    void (*const run)(void *) = k->kind == KIND_SCORES ? run_scores : run_values;
    job j = {.kernel = k, .ld_in = SM_KV_BLOCK};
    void *in =
        k->kind == KIND_SCORES ? make_queries(k->type, PREFILL_QUERIES, &j.ld_in) : make_weights();
    j.in = in;
    j.out = take(PREFILL_QUERIES * SM_KV_BLOCK * sizeof *j.out);
    printf("%-24s GB/s %d queries", k->name, DECODE_QUERIES);
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        j.n_blocks = sets[s].bytes / block_bytes(k->type);
        j.nq = DECODE_QUERIES;
        j.tiles = make_tiles(k->type, j.n_blocks);
        const double ns = bench_time(run, &j);
        printf("  %s %6.2f", sets[s].name, (double)(j.n_blocks * block_bytes(k->type)) / ns);
        free(j.tiles);
    }
    j.n_blocks = 1;
    j.nq = PREFILL_QUERIES;
    j.tiles = make_tiles(k->type, 1);
    const double ops = 2.0 * PREFILL_QUERIES * SM_KV_BLOCK * DIM;
    printf("  GOP/s %d queries %8.2f\n", PREFILL_QUERIES, ops / bench_time(run, &j));
    free(j.tiles);
    free(in);
    free(j.out);
}

static void bench_store(const kernel_entry *k) {
    job j = {.kernel = k, .tiles = make_tiles(k->type, 1)};
    size_t bytes;
    void *in = make_stored(k->type, 1, &bytes);
    j.in = in;
    printf("%-24s ns/vector of %d %8.2f\n", k->name, DIM, bench_time(run_store, &j) / SM_KV_BLOCK);
    free(j.tiles);
    free(in);
}

void bench_attention(const kernel_entry *k) {
    if (k->kind == KIND_SCORES || k->kind == KIND_VALUES) {
        bench_product(k);
    } else {
        bench_store(k);
    }
}
