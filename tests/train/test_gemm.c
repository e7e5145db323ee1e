/* Matrix products of training: every layout and level against plain double arithmetic, the
 * rounding to bf16, and the same bits for every number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"
#include "train/train.h"

#define GUARD 3 /* floats behind each row of C that must stay as they are */

static uint64_t state;

static uint32_t random_bits(void) {
    return (uint32_t)(test_random(&state) >> 32);
}

static float random_float(void) {
    return (float)(random_bits() >> 8) * 0x1p-23f - 1;
}

static uint64_t random_size(uint64_t most) {
    return 1 + random_bits() % most;
}

static float *random_floats(uint64_t n) {
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (uint64_t i = 0; i < n; i++)
        x[i] = random_float();
    return x;
}

/* A product and its buffers. */
typedef struct problem {
    sm_gemm_args args;
    float *a, *b, *c, *start; /* C now, and as it began */
    uint64_t c_length;
} problem;

static problem make_problem(uint64_t M, uint64_t N, uint64_t K, unsigned layout,
                            sm_precision precision) {
    problem p = {.args = {.M = M, .N = N, .K = K, .precision = precision}};
    sm_gemm_args *g = &p.args;
    g->a_transposed = layout & 1;
    g->b_transposed = layout & 2;
    g->accumulate = layout & 4;
    g->lda = (g->a_transposed ? M : K) + random_bits() % 3;
    g->ldb = (g->b_transposed ? K : N) + random_bits() % 3;
    g->ldc = N + GUARD;
    /* not a float longer than the product may read */
    p.a = random_floats(g->a_transposed ? (K - 1) * g->lda + M : (M - 1) * g->lda + K);
    p.b = random_floats(g->b_transposed ? (N - 1) * g->ldb + K : (K - 1) * g->ldb + N);
    p.c_length = M * g->ldc;
    p.start = random_floats(p.c_length);
    p.c = malloc(p.c_length * sizeof *p.c);
    assert_non_null(p.c);
    g->a = p.a;
    g->b = p.b;
    g->c = p.c;
    return p;
}

static void free_problem(problem *p) {
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->start);
}

static void begin(problem *p) {
    memcpy(p->c, p->start, p->c_length * sizeof *p->c);
}

static float *a_at(problem *p, uint64_t m, uint64_t k) {
    return &p->a[p->args.a_transposed ? k * p->args.lda + m : m * p->args.lda + k];
}
static float *b_at(problem *p, uint64_t k, uint64_t n) {
    return &p->b[p->args.b_transposed ? n * p->args.ldb + k : k * p->args.ldb + n];
}

static double rounded(const problem *p, float x) {
    return (double)(p->args.precision == SM_PRECISION_BF16 ? sm_bf16_to_f32(sm_f32_to_bf16(x)) : x);
}

/* C against sums in double; each of K + 2 roundings may be off by half a unit of the sum of
 * magnitudes. */
static void check_problem(problem *p) {
    const sm_gemm_args *g = &p->args;
    for (uint64_t i = 0; i < p->c_length; i++) {
        const uint64_t m = i / g->ldc, n = i % g->ldc;
        double want = (double)p->start[i], tolerance = 0;
        if (n < g->N) {
            want = g->accumulate ? want : 0;
            double magnitude = fabs(want);
            for (uint64_t k = 0; k < g->K; k++) {
                const double term = rounded(p, *a_at(p, m, k)) * rounded(p, *b_at(p, k, n));
                want += term;
                magnitude += fabs(term);
            }
            tolerance = (double)(g->K + 2) * 0x1p-24 * magnitude;
        }
        if (!(fabs((double)p->c[i] - want) <= tolerance))
            fail_msg("M %d N %d K %d%s%s%s%s: C[%d][%d] is %g, not %g", (int)g->M, (int)g->N,
                     (int)g->K, g->a_transposed ? " A^T" : "", g->b_transposed ? " B^T" : "",
                     g->accumulate ? " +=" : "", g->precision == SM_PRECISION_BF16 ? " bf16" : "",
                     (int)m, (int)n, (double)p->c[i], want);
    }
}

/* ---- running ----------------------------------------------------------------------------- */

typedef struct job {
    const sm_kernels *kernels;
    sm_gemm_scratch *scratch;
    sm_team *team;
    const sm_gemm_args *args;
    uint32_t repeats;
} job;

static void take_part(void *arg, uint32_t thread, uint32_t n_threads) {
    const job *j = arg;
    const sm_crew crew = {.team = j->team,
                          .kernels = j->kernels,
                          .gemm = j->scratch,
                          .thread = thread,
                          .n_threads = n_threads};
    for (uint32_t i = 0; i < j->repeats; i++)
        sm_gemm(&crew, j->args);
}

static void alone(const job *j, const sm_gemm_args *args) {
    const sm_crew crew = {
        .team = j->team, .kernels = j->kernels, .gemm = j->scratch, .n_threads = 1};
    sm_gemm_alone(&crew, args);
}

static job make_job(sm_mem *mem, const sm_kernels *kernels, uint32_t n_threads) {
    job j = {.kernels = kernels, .repeats = 1};
    assert_int_equal(sm_gemm_scratch_new(&j.scratch, mem, n_threads, NULL), SM_OK);
    assert_int_equal(sm_team_new(&j.team, mem, n_threads, NULL), SM_OK);
    return j;
}

static void free_job(job *j) {
    sm_gemm_scratch_free(j->scratch);
    sm_team_free(j->team);
}

static sm_mem memory;

static int set_up(void **unused) {
    (void)unused;
    state = 1;
    return sm_mem_init(&memory, NULL, 0, NULL);
}

static const sm_kernels *best_level(void) {
    return sm_kernels_get(sm_level_best(SM_LEVEL_AUTO));
}

/* ---- tests ------------------------------------------------------------------------------- */

static void test_layouts(void **unused) {
    (void)unused;
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++) {
        const sm_kernels *kernels = sm_kernels_get(level);
        if (!kernels)
            continue;
        job j = make_job(&memory, kernels, 2);
        for (unsigned i = 0; i < 320; i++) {
            problem p = make_problem(random_size(100), random_size(100), random_size(100), i % 8,
                                     i / 8 % 2 ? SM_PRECISION_BF16 : SM_PRECISION_F32);
            begin(&p);
            if (i % 3 == 0) {
                alone(&j, &p.args);
            } else {
                j.args = &p.args;
                sm_team_run(j.team, take_part, &j);
            }
            check_problem(&p);
            free_problem(&p);
        }
        free_job(&j);
    }
}

/* Shapes that take several slabs, several phases, or slabs side by side. */
static const struct shape {
    uint64_t M, N, K;
} shapes[] = {
    {1, 1, 1},     {1, 1, 5000},   {1, 700, 33},   {700, 1, 33},    {16, 16, 3001},
    {8, 200, 800}, {200, 8, 1100}, {64, 256, 64},  {257, 129, 385}, {130, 600, 769},
    {333, 77, 64}, {12, 32, 384},  {13, 33, 1537}, {24, 48, 2000},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void test_threads(void **unused) {
    (void)unused;
    job jobs[9];
    for (uint32_t n = 1; n <= 8; n++)
        jobs[n] = make_job(&memory, best_level(), n);
    for (unsigned i = 0; i < 2 * N_SHAPES; i++) {
        const struct shape *s = &shapes[i / 2];
        problem p = make_problem(s->M, s->N, s->K, random_bits() % 8,
                                 i % 2 ? SM_PRECISION_BF16 : SM_PRECISION_F32);
        const size_t size = p.c_length * sizeof *p.c;
        begin(&p);
        alone(&jobs[3], &p.args);
        check_problem(&p);
        float *want = malloc(size);
        assert_non_null(want);
        memcpy(want, p.c, size);
        for (uint32_t n = 1; n <= 8; n++) {
            begin(&p);
            jobs[n].args = &p.args;
            sm_team_run(jobs[n].team, take_part, &jobs[n]);
            assert_memory_equal(p.c, want, size);
        }
        free(want);
        free_problem(&p);
    }
    for (uint32_t n = 1; n <= 8; n++)
        free_job(&jobs[n]);
}

/* More than one block each way: both sides too large for a thread's own buffer. */
static void test_blocks(void **unused) {
    (void)unused;
    job j = make_job(&memory, best_level(), 2);
    problem p = make_problem(650, 610, 380, 2, SM_PRECISION_F32);
    begin(&p);
    alone(&j, &p.args);
    check_problem(&p);
    free_problem(&p);
    free_job(&j);
}

/* Several products one after another in one run, on the same buffers. */
static void test_repeated(void **unused) {
    (void)unused;
    job j = make_job(&memory, best_level(), 3);
    problem p = make_problem(40, 50, 30, 4, SM_PRECISION_F32);
    memset(p.start, 0, p.c_length * sizeof *p.start);
    for (uint64_t i = 0; i < 40 * 30; i++) /* small integers: sums are exact */
        *a_at(&p, i / 30, i % 30) = (float)(random_bits() % 9) - 4;
    for (uint64_t i = 0; i < 30 * 50; i++)
        *b_at(&p, i / 50, i % 50) = (float)(random_bits() % 9) - 4;
    begin(&p);
    alone(&j, &p.args);
    float *once = malloc(p.c_length * sizeof *once);
    assert_non_null(once);
    memcpy(once, p.c, p.c_length * sizeof *once);
    begin(&p);
    j.args = &p.args;
    j.repeats = 7;
    sm_team_run(j.team, take_part, &j);
    for (uint64_t i = 0; i < p.c_length; i++)
        assert_true(p.c[i] == 7 * once[i]);
    free(once);
    free_problem(&p);
    free_job(&j);
}

/* Inputs are rounded to bf16 and nothing else is: products with 1 are the rounded input, and
 * sums of products that f32 holds are exact. */
static void test_bf16(void **unused) {
    (void)unused;
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++) {
        const sm_kernels *kernels = sm_kernels_get(level);
        if (!kernels)
            continue;
        job j = make_job(&memory, kernels, 1);
        for (unsigned layout = 0; layout < 4; layout++) {
            problem p = make_problem(997, 1, 1, layout, SM_PRECISION_BF16);
            for (uint64_t m = 0; m < 997; m++) {
                uint32_t bits = random_bits();
                if (m % 3 == 0)
                    bits = (bits & 0xffff0000) | 0x8000; /* half way */
                const uint32_t exponent = bits >> 23 & 255;
                /* keep normal numbers that do not round to infinity */
                *a_at(&p, m, 0) = exponent == 0 || exponent >= 254 ? 1 : sm_bits_float(bits);
            }
            *b_at(&p, 0, 0) = 1.001f; /* 1 as bf16 */
            begin(&p);
            alone(&j, &p.args);
            for (uint64_t m = 0; m < 997; m++)
                assert_true((double)p.c[m * p.args.ldc] == rounded(&p, *a_at(&p, m, 0)));
            free_problem(&p);

            const uint64_t M = 25, N = 67, K = 901;
            p = make_problem(M, N, K, layout, SM_PRECISION_BF16);
            for (uint64_t i = 0; i < M * K; i++)
                *a_at(&p, i / K, i % K) = (float)(random_bits() % 255) - 127;
            for (uint64_t i = 0; i < K * N; i++)
                *b_at(&p, i / N, i % N) = (float)(random_bits() % 255) - 127;
            begin(&p);
            alone(&j, &p.args);
            for (uint64_t m = 0; m < M; m++) {
                for (uint64_t n = 0; n < N; n++) {
                    int64_t sum = 0;
                    for (uint64_t k = 0; k < K; k++)
                        sum += (int64_t)*a_at(&p, m, k) * (int64_t)*b_at(&p, k, n);
                    assert_true((double)p.c[m * p.args.ldc + n] == (double)sum);
                }
            }
            free_problem(&p);
        }
        free_job(&j);
    }
}

/* What is not finite stays in its row and column; large and tiny numbers are kept. */
static void test_extremes(void **unused) {
    (void)unused;
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++) {
        const sm_kernels *kernels = sm_kernels_get(level);
        if (!kernels)
            continue;
        job j = make_job(&memory, kernels, 2);
        for (unsigned i = 0; i < 16; i++) {
            problem p =
                make_problem(30, 45, 40, i % 8, i < 8 ? SM_PRECISION_F32 : SM_PRECISION_BF16);
            *a_at(&p, 17, 39) = NAN;
            *b_at(&p, 39, 33) = INFINITY;
            for (uint64_t k = 0; k < 40; k++) {
                *a_at(&p, 4, k) = 0x1p60f;
                *b_at(&p, k, 7) = 0x1p60f;
                *a_at(&p, 5, k) = 0x1p-70f;
                *b_at(&p, k, 8) = 0x1p-50f;
            }
            begin(&p);
            j.args = &p.args;
            sm_team_run(j.team, take_part, &j);
            for (uint64_t m = 0; m < 30; m++)
                for (uint64_t n = 0; n < 45; n++) {
                    const float c = p.c[m * p.args.ldc + n];
                    const float start = p.args.accumulate ? p.start[m * p.args.ldc + n] : 0;
                    if (m == 17)
                        assert_true(isnan(c));
                    else if (n == 33)
                        assert_true(!isfinite(c));
                    else
                        assert_true(isfinite(c));
                    if (m == 4 && n == 7)
                        assert_true(c == 40 * 0x1p120f);
                    if (m == 5 && n == 8)
                        assert_true(c == start + 40 * 0x1p-120f);
                }
            free_problem(&p);
        }
        free_job(&j);
    }
}

/* By OpenBLAS where the build has it, refused where it does not. */
static void test_openblas(void **unused) {
    (void)unused;
    job j = make_job(&memory, best_level(), 2);
    sm_error error;
#ifndef SM_OPENBLAS
    assert_int_equal(sm_gemm_use_openblas(j.scratch, true, &error), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "OpenBLAS"));
#else
    assert_int_equal(sm_gemm_use_openblas(j.scratch, true, &error), SM_OK);
    for (unsigned i = 0; i < 48; i++) {
        problem p =
            make_problem(random_size(i < 40 ? 90 : 700), random_size(i < 40 ? 90 : 700),
                         random_size(200), i % 8, i / 8 % 2 ? SM_PRECISION_BF16 : SM_PRECISION_F32);
        begin(&p);
        if (i % 3 == 0) {
            alone(&j, &p.args);
        } else {
            j.args = &p.args;
            sm_team_run(j.team, take_part, &j);
        }
        check_problem(&p);
        free_problem(&p);
    }
#endif
    assert_int_equal(sm_gemm_use_openblas(j.scratch, false, &error), SM_OK);
    free_job(&j);
}

static void test_failing_allocations(void **unused) {
    (void)unused;
    for (uint64_t at = 1;; at++) {
        fail_alloc failing = {.fail_at = at};
        const sm_allocator allocator = fail_allocator(&failing);
        sm_mem mem;
        assert_int_equal(sm_mem_init(&mem, &allocator, 0, NULL), SM_OK);
        sm_gemm_scratch *scratch;
        sm_error error;
        const sm_status status = sm_gemm_scratch_new(&scratch, &mem, 3, &error);
        if (status == SM_OK) {
            assert_true(at > 4);
            sm_gemm_scratch_free(scratch);
            assert_int_equal(failing.live_blocks, 0);
            return;
        }
        assert_int_equal(status, SM_ERR_NOMEM);
        assert_non_null(strstr(error.message, "matrix products"));
        assert_null(scratch);
        assert_int_equal(failing.live_blocks, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_blocks),   cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_bf16),     cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_openblas), cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests_name("gemm", tests, set_up, NULL);
}
