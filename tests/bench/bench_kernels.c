/* bench_kernels.c - check_kernels --bench: speed of every kernel, one thread. Here products,
 * packing and encoding, the rest in bench_attention.c and bench_rows.c.
 *
 * Each figure is the median of several rounds of at least 10 ms of processor time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel_cases.h"
#include "limits.h"
#include "smallmind/types.h"

#define ROUNDS 7
#define ROUND_NS 10e6
#define BENCH_K 2048

/* Of this thread alone: the machine may be busy with others. */
static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds of n runs. */
static double time_runs(void (*run)(void *arg), void *arg, size_t n) {
    const double start = now_ns();
    for (size_t i = 0; i < n; i++) {
        run(arg);
    }
    return now_ns() - start;
}

double bench_time(void (*run)(void *arg), void *arg) {
    double times[ROUNDS];
    size_t n = 1;
    run(arg);
    while (time_runs(run, arg, n) < ROUND_NS) { /* the clock costs as much as a short run */
        n *= 2;
    }
    for (int round = 0; round < ROUNDS; round++) {
        times[round] = time_runs(run, arg, n) / (double)n;
    }
    qsort(times, ROUNDS, sizeof times[0], by_value);
    return times[ROUNDS / 2];
}

typedef struct job {
    const kernel_entry *kernel;
    const uint8_t *packed, *rows;
    size_t group_bytes, n_groups, ncols;
    void *x;
    size_t ldx;
    float *y;
    void *scratch;
    sm_prefetch prefetch;
} job;

static void run_mul(void *arg) {
    job *j = arg;
    ((sm_mul_fn *)j->kernel->fn)(j->y, j->n_groups * SM_GROUP, j->packed, j->group_bytes,
                                 j->n_groups, BENCH_K, j->x, j->ldx, j->ncols, false, j->prefetch);
}

static bool is_rounded(const kernel_entry *k) {
    return k->kind == KIND_MUL_ROUNDED || k->kind == KIND_GEMM_ROUNDED;
}

static void run_gemm(void *arg) {
    job *j = arg;
    const size_t x_step = is_rounded(j->kernel)            ? SM_SLAB * sizeof(uint16_t)
                          : is_float_type(j->kernel->type) ? SM_SLAB * sizeof(float)
                                                           : SM_SLAB / 32 * sizeof(sm_act_block);
    const size_t slab_bytes = sm_packed_bytes(j->kernel->type, SM_SLAB);
    for (size_t slab = 0; slab < BENCH_K / SM_SLAB; slab++) {
        for (size_t g = 0; g < j->n_groups; g += SM_GEMM_GROUPS) {
            ((sm_gemm_fn *)j->kernel->fn)(
                j->y + g * SM_GROUP, j->n_groups * SM_GROUP,
                j->packed + g * j->group_bytes + slab * slab_bytes, j->group_bytes, SM_GEMM_GROUPS,
                SM_SLAB, (uint8_t *)j->x + slab * x_step, j->ldx, j->ncols, slab > 0,
                j->packed + (g + SM_GEMM_GROUPS) * j->group_bytes + slab * slab_bytes, j->scratch);
        }
    }
}

static void run_pack(void *arg) {
    job *j = arg;
    const size_t row_bytes = row_size(j->kernel->type, BENCH_K);
    for (size_t g = 0; g < j->n_groups; g++) {
        ((sm_pack_fn *)j->kernel->fn)((uint8_t *)j->scratch + g * j->group_bytes,
                                      j->rows + g * SM_GROUP * row_bytes, row_bytes, SM_GROUP,
                                      BENCH_K);
    }
}

static void run_dequantize(void *arg) {
    job *j = arg;
    const size_t row_bytes = row_size(j->kernel->type, BENCH_K);
    for (size_t r = 0; r < SM_GROUP * j->n_groups; r++) {
        ((sm_dequantize_fn *)j->kernel->fn)(j->y, j->rows + r * row_bytes, BENCH_K);
    }
}

static void run_encode(void *arg) {
    job *j = arg;
    ((sm_encode_fn *)j->kernel->fn)(j->scratch, j->x, NULL, BENCH_K);
}

/* n_groups packed groups: copies of one random one. */
static uint8_t *make_packed(uint32_t type, size_t n_groups) {
    const size_t group_bytes = sm_packed_bytes(type, BENCH_K);
    void *rows = take(SM_GROUP * row_size(type, BENCH_K));
    fill_rows(type, rows, SM_GROUP, BENCH_K, RANDOM);
    void *one = pack_rows(type, rows, SM_GROUP, BENCH_K);
    uint8_t *packed = take(n_groups * group_bytes);
    for (size_t g = 0; g < n_groups; g++) {
        memcpy(packed + g * group_bytes, one, group_bytes);
    }
    free(rows);
    free(one);
    return packed;
}

/* ncols columns of activations as the kernel wants them, and as far apart as the library has them:
 * columns a multiple of 4096 bytes apart would share cache sets. */
static void *make_x(const kernel_entry *k, size_t ncols, size_t *ldx) {
    const sm_kernels *scalar = sm_kernels_get(SM_LEVEL_SCALAR);
    const size_t ldf = BENCH_K + 16;
    float *x = take(ncols * ldf * sizeof *x);
    fill_activations(x, ncols * ldf, RANDOM);
    if (is_float_type(k->type) && !is_rounded(k)) {
        *ldx = ldf;
        return x;
    }
    *ldx = is_rounded(k) ? BENCH_K + 32 : BENCH_K / 32 + 1;
    void *made = take(ncols * *ldx * (is_rounded(k) ? sizeof(uint16_t) : sizeof(sm_act_block)));
    for (size_t c = 0; c < ncols; c++) {
        if (is_rounded(k)) {
            scalar->round_bf16((uint16_t *)made + c * *ldx, x + c * ldf, BENCH_K);
        } else {
            scalar->quantize((sm_act_block *)made + c * *ldx, x + c * ldf, BENCH_K);
        }
    }
    free(x);
    return made;
}

static void bench_mul(const kernel_entry *k) {
    static const struct {
        const char *name;
        size_t bytes;
    } sets[] = {{"L2", 512 << 10}, {"L3", 8 << 20}, {"DRAM", 192 << 20}};
    static const size_t columns[] = {1, 4, 8};
    printf("%-24s GB/s", k->name);
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        job j = {.kernel = k,
                 .group_bytes = sm_packed_bytes(k->type, BENCH_K),
                 .prefetch = sm_prefetch_for(s == 2)};
        j.n_groups = sets[s].bytes / j.group_bytes;
        uint8_t *packed = make_packed(k->type, j.n_groups);
        j.packed = packed;
        j.x = make_x(k, SM_MUL_COLS, &j.ldx);
        j.y = take(SM_MUL_COLS * j.n_groups * SM_GROUP * sizeof *j.y);
        printf("  %s", sets[s].name);
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
            j.ncols = columns[c];
            double ns = bench_time(run_mul, &j);
            printf(" %zux %6.2f", j.ncols, (double)(j.n_groups * j.group_bytes) / ns);
            fflush(stdout);
        }
        free(packed);
        free(j.x);
        free(j.y);
    }
    printf("\n");
}

static void bench_gemm(const kernel_entry *k) {
    job j = {.kernel = k, .group_bytes = sm_packed_bytes(k->type, BENCH_K), .n_groups = 8};
    j.ncols = 512;
    uint8_t *packed = make_packed(k->type, j.n_groups);
    j.packed = packed;
    j.x = make_x(k, j.ncols, &j.ldx);
    j.y = take(j.ncols * j.n_groups * SM_GROUP * sizeof *j.y);
    j.scratch = take(SM_GEMM_SCRATCH);
    double ns = bench_time(run_gemm, &j);
    double ops = 2.0 * BENCH_K * (double)(j.n_groups * SM_GROUP) * (double)j.ncols;
    printf("%-24s GOP/s %zu columns %8.2f\n", k->name, j.ncols, ops / ns);
    free(packed);
    free(j.x);
    free(j.y);
    free(j.scratch);
}

/* pack and dequantize: GB/s of native bytes */
static void bench_native(const kernel_entry *k) {
    job j = {.kernel = k, .group_bytes = sm_packed_bytes(k->type, BENCH_K), .n_groups = 64};
    const size_t n_rows = j.n_groups * SM_GROUP;
    uint8_t *rows = take(n_rows * row_size(k->type, BENCH_K));
    fill_rows(k->type, rows, n_rows, BENCH_K, RANDOM);
    j.rows = rows;
    j.y = take(BENCH_K * sizeof *j.y);
    j.scratch = take(j.n_groups * j.group_bytes);
    double ns = bench_time(k->kind == KIND_PACK ? run_pack : run_dequantize, &j);
    printf("%-24s GB/s of native rows %8.2f\n", k->name,
           (double)(n_rows * row_size(k->type, BENCH_K)) / ns);
    free(rows);
    free(j.y);
    free(j.scratch);
}

static void bench_encode(const kernel_entry *k) {
    job j = {.kernel = k, .x = take(BENCH_K * sizeof(float))};
    j.scratch = take(row_size(k->type, BENCH_K));
    fill_rows(SM_DTYPE_F32, j.x, 1, BENCH_K, RANDOM);
    printf("%-24s M weights/s %8.1f\n", k->name, BENCH_K * 1e3 / bench_time(run_encode, &j));
    free(j.x);
    free(j.scratch);
}

/* ---- tiles --------------------------------------------------------------------------------- */

#define TILE_SIDE 384 /* of the block of C; its panels fit the second-level cache in part */

typedef struct tile_job {
    const sm_tile_kernels *tile;
    void *a, *b;
    float *c, *src;
    bool columns;
    const limit_loops *loops;
    bool bf16;
} tile_job;

static void run_tiles(void *arg) {
    tile_job *j = arg;
    const sm_tile_kernels *t = j->tile;
    const size_t a_bytes = sm_panel_bytes(t->mr, t->kc, t->element_bytes);
    const size_t b_bytes = sm_panel_bytes(t->nr, t->kc, t->element_bytes);
    for (size_t n = 0; n < TILE_SIDE / t->nr; n++) {
        for (size_t m = 0; m < TILE_SIDE / t->mr; m++) {
            t->product(j->c + m * t->mr * TILE_SIDE + n * t->nr, TILE_SIDE,
                       (uint8_t *)j->a + m * a_bytes, (uint8_t *)j->b + n * b_bytes, t->kc, t->mr,
                       t->nr, true);
        }
    }
}

static void run_panels(void *arg) {
    tile_job *j = arg;
    const sm_tile_kernels *t = j->tile;
    if (j->columns) {
        t->columns(j->b, t->nr, j->src, t->kc, TILE_SIDE, t->kc);
    } else {
        t->rows(j->b, t->nr, j->src, TILE_SIDE, TILE_SIDE, t->kc);
    }
}

#define LOOP_ROUNDS 4096

static void run_loop(void *arg) {
    tile_job *j = arg;
    (j->bf16 ? j->loops->bf16 : j->loops->f32)(LOOP_ROUNDS);
}

/* Operations per ns, and how much that is of a loop of multiply-adds alone; packing in GB/s of
 * f32 read. */
static void bench_tile(const kernel_entry *k) {
    const sm_tile_kernels *t = &level_table(k->level)->tile[k->type];
    tile_job j = {.tile = t, .loops = limit_loops_of(k->level), .bf16 = t->element_bytes == 2};
    const size_t n_elements = (TILE_SIDE + t->nr) * (size_t)t->kc;
    j.a = take(n_elements * sizeof(float));
    j.b = take(n_elements * sizeof(float));
    j.c = take(TILE_SIDE * TILE_SIDE * sizeof *j.c);
    j.src = take(n_elements * sizeof *j.src);
    fill_activations(j.src, n_elements, RANDOM);
    memset(j.c, 0, TILE_SIDE * TILE_SIDE * sizeof *j.c);
    t->columns(j.a, t->mr, j.src, t->kc, TILE_SIDE, t->kc);
    run_panels(&j);
    const double ops = 2.0 * t->kc * (TILE_SIDE / t->mr * t->mr) * (TILE_SIDE / t->nr * t->nr);
    const double rate = ops / bench_time(run_tiles, &j);
    const double macs = j.bf16 ? j.loops->bf16_macs : j.loops->f32_macs;
    const double peak = 2 * macs * LOOP_ROUNDS / bench_time(run_loop, &j);
    printf("%-24s GFLOP/s %dx%d %8.2f  %5.1f%% of %.1f; packing GB/s", k->name, t->mr, t->nr, rate,
           100 * rate / peak, peak);
    for (int columns = 0; columns < 2; columns++) {
        j.columns = columns;
        double bytes = (double)(TILE_SIDE * t->kc * sizeof(float));
        printf("  %s %6.2f", columns ? "columns" : "rows", bytes / bench_time(run_panels, &j));
    }
    printf("\n");
    free(j.a);
    free(j.b);
    free(j.c);
    free(j.src);
}

int run_benchmark(const char *filter) {
    int status = 0;
    printf("one thread, k = %d; mul: packed weights read per second, working set and columns\n",
           BENCH_K);
    for (size_t i = 0; i < n_kernels; i++) {
        const kernel_entry *k = &kernels[i];
        if (strstr(k->name, filter) == NULL || level_table(k->level) == NULL) {
            continue;
        }
        switch (k->kind) {
        case KIND_MUL:
        case KIND_MUL_ROUNDED:
            bench_mul(k);
            break;
        case KIND_GEMM:
        case KIND_GEMM_ROUNDED:
            bench_gemm(k);
            break;
        case KIND_PACK:
        case KIND_DEQUANTIZE:
            bench_native(k);
            break;
        case KIND_ENCODE:
            bench_encode(k);
            break;
        case KIND_SCORES:
        case KIND_VALUES:
        case KIND_STORE_K:
        case KIND_STORE_V:
            bench_attention(k);
            break;
        case KIND_ROW:
            if (!bench_row(k)) {
                fprintf(stderr, "%s has no benchmark\n", k->name);
                status = 1;
            }
            break;
        case KIND_TILE:
            bench_tile(k);
            break;
        }
        fflush(stdout);
    }
    return status;
}
