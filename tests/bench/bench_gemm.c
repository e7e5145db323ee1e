/* bench_gemm - speed of training's matrix products beside what the machine can do.
 *
 *   bench_gemm [threads [rounds [filter]]]      default: 2 threads, 7 rounds, all shapes
 *
 * One line per shape whose name contains filter: GFLOP/s in f32 and bf16, best and median of
 * the rounds, and the best as a share of the best that a loop of nothing but multiply-adds
 * reached on the same threads (bf16: of the f32 loop too, so above 100% where there are
 * instructions for it). A round measures the loop and every product one after the other.
 * Built with OpenBLAS, f32 by it follows: in sm_gemm, and by itself with as many threads.
 * SM_TEST_LEVEL=<level> caps the level. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef SM_OPENBLAS
#include <cblas.h>
#endif

#include "limits.h"
#include "train/train.h"

enum { LOOP, F32, BF16, BLAS_INSIDE, BLAS_ITSELF, MEASURED };
#ifdef SM_OPENBLAS
#define N_MEASURED MEASURED
#else
#define N_MEASURED BLAS_INSIDE
#endif

#define MAX_ROUNDS 64
#define MEASURE_NS 5000000 /* a product is repeated for about as long */

typedef struct shape {
    const char *name;
    uint64_t M, N, K;
    bool a_transposed, b_transposed;
    bool alone; /* every thread a product of its own */
} shape;

static const shape shapes[] = {
    {"square 512", 512, 512, 512, false, true, false},
    {"square 1024", 1024, 1024, 1024, false, true, false},
    {"square 2048", 2048, 2048, 2048, false, true, false},
    {"forward 512x576x576", 512, 576, 576, false, true, false},
    {"dX 512x576x576", 512, 576, 576, false, false, false},
    {"dW 576x576x512", 576, 576, 512, true, false, false},
    {"dW 576x576x4096", 576, 576, 4096, true, false, false},
    {"forward 512x1536x576", 512, 1536, 576, false, true, false},
    {"dX 512x576x1536", 512, 576, 1536, false, false, false},
    {"dW 1536x576x512", 1536, 576, 512, true, false, false},
    {"forward 1024x8192x2048", 1024, 8192, 2048, false, true, false},
    {"logits 256x49152x576", 256, 49152, 576, false, true, false},
    {"dX of logits 256x576x49152", 256, 576, 49152, false, false, false},
    {"dW of logits 49152x576x256", 49152, 576, 256, true, false, false},
    {"LoRA XA^T 512x16x576", 512, 16, 576, false, true, false},
    {"LoRA HB^T 512x576x16", 512, 576, 16, false, true, false},
    {"LoRA dA 16x576x512", 16, 576, 512, true, false, false},
    {"LoRA dB 576x16x512", 576, 16, 512, true, false, false},
    {"LoRA XA^T 2048x8x2048", 2048, 8, 2048, false, true, false},
    {"LoRA dA 8x2048x2048", 8, 2048, 2048, true, false, false},
    {"LoRA dA 64x2048x2048", 64, 2048, 2048, true, false, false},
    {"16x16x4096", 16, 16, 4096, true, false, false},
    {"192x192x256", 192, 192, 256, false, true, false},
    {"scores 64x256x64, each alone", 64, 256, 64, false, true, true},
    {"values 64x64x256, each alone", 64, 64, 256, false, false, true},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

typedef struct job {
    const sm_kernels *kernels;
    sm_gemm_scratch *scratch;
    sm_team *team;
    const shape *shape;
    sm_gemm_args args;
    float *own_c; /* [threads][M][N] where each is alone */
    uint64_t repeats;
    unsigned what; /* LOOP, … */
    void (*loop)(uint64_t rounds);
    double loop_work; /* operations of one repeat */
} job;

static void take_part(void *arg, uint32_t thread, uint32_t n_threads) {
    const job *j = arg;
    const sm_crew crew = {.team = j->team,
                          .kernels = j->kernels,
                          .gemm = j->scratch,
                          .thread = thread,
                          .n_threads = n_threads};
    if (j->what == LOOP) {
        j->loop(j->repeats);
        return;
    }
    sm_gemm_args args = j->args;
    if (j->shape->alone)
        args.c += thread * args.M * args.N;
    for (uint64_t i = 0; i < j->repeats; i++) {
        if (j->shape->alone)
            sm_gemm_alone(&crew, &args);
        else
            sm_gemm(&crew, &args);
    }
}

/* One thread: its processor time, which others on the machine change less. */
static double now_ns(const job *j) {
    struct timespec t;
    clock_gettime(sm_team_size(j->team) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#ifdef SM_OPENBLAS
static void blas_itself(const job *j) {
    const sm_gemm_args *g = &j->args;
    for (uint64_t i = 0; i < j->repeats; i++)
        cblas_sgemm(CblasRowMajor, g->a_transposed ? CblasTrans : CblasNoTrans,
                    g->b_transposed ? CblasTrans : CblasNoTrans, (blasint)g->M, (blasint)g->N,
                    (blasint)g->K, 1, g->a, (blasint)g->lda, g->b, (blasint)g->ldb, 0, g->c,
                    (blasint)g->ldc);
}
#endif

static void run_job(job *j) {
#ifdef SM_OPENBLAS
    if (j->what >= BLAS_INSIDE) {
        openblas_set_num_threads(j->what == BLAS_ITSELF ? (int)sm_team_size(j->team) : 1);
        sm_gemm_use_openblas(j->scratch, true, NULL);
        if (j->what == BLAS_ITSELF)
            blas_itself(j);
        else
            sm_team_run(j->team, take_part, j);
        return;
    }
    sm_gemm_use_openblas(j->scratch, false, NULL);
#endif
    sm_team_run(j->team, take_part, j);
}

/* Nanoseconds of one repeat. */
static double time_job(job *j) {
    const double start = now_ns(j);
    run_job(j);
    return (now_ns(j) - start) / (double)j->repeats;
}

/* As many repeats as fill the time, by the fastest of three tries. */
static void size_job(job *j) {
    double ns = 0;
    j->repeats = 1;
    for (unsigned tries = 0; tries < 3; tries++) {
        ns = time_job(j);
        if (ns * (double)j->repeats < MEASURE_NS / 2) {
            j->repeats *= 2;
            tries = 0;
        }
    }
    j->repeats = (uint64_t)(MEASURE_NS / ns) + 1;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct rates {
    double of_round[MAX_ROUNDS];
    double best, median;
} rates;

static void sum_up(rates *r, unsigned rounds) {
    qsort(r->of_round, rounds, sizeof *r->of_round, by_value);
    r->best = r->of_round[rounds - 1];
    r->median = r->of_round[rounds / 2];
}

static float *random_floats(uint64_t n) {
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    if (!x) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    uint32_t state = 1;
    for (uint64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return x;
}

/* Each round one job after the other. */
static void run_rounds(job *jobs, rates *found, unsigned n, unsigned rounds, double work,
                       uint32_t n_threads) {
    for (unsigned i = 0; i < n; i++)
        size_job(&jobs[i]);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < n; i++)
            found[i].of_round[round] =
                (jobs[i].what == LOOP ? jobs[i].loop_work * n_threads : work) / time_job(&jobs[i]);
    for (unsigned i = 0; i < n; i++)
        sum_up(&found[i], rounds);
}

static void measure(job *j, const limit_loops *loops, unsigned rounds) {
    const shape *s = j->shape;
    const uint32_t n_threads = sm_team_size(j->team);
    const uint64_t copies = s->alone ? n_threads : 1;
    float *a = random_floats(s->M * s->K), *b = random_floats(s->N * s->K);
    float *c = random_floats(s->M * s->N * copies);
    const double work = 2.0 * (double)(s->M * s->N * s->K * copies); /* operations */
    j->args = (sm_gemm_args){
        .M = s->M,
        .N = s->N,
        .K = s->K,
        .a = a,
        .lda = s->a_transposed ? s->M : s->K,
        .b = b,
        .ldb = s->b_transposed ? s->K : s->N,
        .c = c,
        .ldc = s->N,
        .a_transposed = s->a_transposed,
        .b_transposed = s->b_transposed,
    };
    const unsigned n = s->alone && N_MEASURED > BLAS_ITSELF ? BLAS_ITSELF : N_MEASURED;
    job jobs[MEASURED];
    rates found[MEASURED];
    for (unsigned i = 0; i < n; i++) {
        jobs[i] = *j;
        jobs[i].what = i;
        jobs[i].loop = loops->f32;
        jobs[i].loop_work = 2 * loops->f32_macs;
        jobs[i].args.precision = i == BF16 ? SM_PRECISION_BF16 : SM_PRECISION_F32;
    }
    /* OpenBLAS's threads keep the processors busy for a while after a product, so that our team
     * would find none: by itself it comes last, and is given time to fall asleep */
    run_rounds(jobs, found, min_u32(n, BLAS_ITSELF), rounds, work, n_threads);
    if (n > BLAS_ITSELF) {
        run_rounds(&jobs[BLAS_ITSELF], &found[BLAS_ITSELF], 1, rounds, work, n_threads);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    printf("%-30s %7.1f", s->name, found[LOOP].best);
    for (unsigned i = 1; i < n; i++)
        printf("  %7.1f %7.1f %4.0f%%", found[i].best, found[i].median,
               100 * found[i].best / found[LOOP].best);
    printf("\n");
    fflush(stdout);
    free(a);
    free(b);
    free(c);
}

int main(int argc, char **argv) {
    const uint32_t n_threads = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 7;
    const char *filter = argc > 3 ? argv[3] : "";
    if (rounds < 1 || rounds > MAX_ROUNDS)
        rounds = MAX_ROUNDS;
    const uint32_t level = sm_level_best(sm_level_from_name(getenv("SM_TEST_LEVEL")));
    sm_mem mem;
    sm_error error;
    job j = {.kernels = sm_kernels_get(level)};
    if (sm_mem_init(&mem, NULL, 0, &error) || sm_team_new(&j.team, &mem, n_threads, &error) ||
        sm_gemm_scratch_new(&j.scratch, &mem, n_threads, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("level %s, %u threads, GFLOP/s of %u rounds\n", sm_level_name(level), n_threads, rounds);
    static const char *const columns[MEASURED] = {"peak", "f32", "bf16", "blas in", "blas"};
    printf("%-30s %7s", "M x N x K", columns[LOOP]);
    for (unsigned i = 1; i < N_MEASURED; i++)
        printf("  %7s  median     ", columns[i]);
    printf("\n");
    for (size_t i = 0; i < N_SHAPES; i++) {
        j.shape = &shapes[i];
        if (strstr(j.shape->name, filter))
            measure(&j, limit_loops_of(level), rounds);
    }
    sm_gemm_scratch_free(j.scratch);
    sm_team_free(j.team);
    return 0;
}
