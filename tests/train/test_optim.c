/* Optimizers against double arithmetic, on every level and number of threads; schedules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "train/train.h"

#define ROWS 37
#define COLS 61
#define N (ROWS * COLS)
#define VECTOR 300
#define STEPS 12

typedef struct fixture {
    float value[N], grad[N], bias[VECTOR], bias_grad[VECTOR];
    sm_param param[2];
    sm_params params;
} fixture;

static float noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int32_t)(*state >> 32) / 2147483648.0);
}

static void gradients(fixture *f, uint32_t step) {
    uint64_t seed = 77 + step;
    for (int i = 0; i < N; i++) /* magnitudes over several orders */
        f->grad[i] = noise(&seed) * powf(10, 3 * noise(&seed) - 2);
    for (int i = 0; i < VECTOR; i++)
        f->bias_grad[i] = noise(&seed);
}

static void reset(fixture *f) {
    uint64_t seed = 5;
    for (int i = 0; i < N; i++)
        f->value[i] = noise(&seed);
    for (int i = 0; i < VECTOR; i++)
        f->bias[i] = noise(&seed);
    f->param[0] = (sm_param){"w", ROWS, COLS, f->value, f->grad, true, 0, 0};
    f->param[1] = (sm_param){"b", 1, VECTOR, f->bias, f->bias_grad, false, 0, 0};
    f->params = (sm_params){f->param, 2, N + VECTOR};
}

typedef struct job {
    const sm_kernels *kernels;
    sm_team *team;
    sm_optim *optim;
    double norm;
    double lr, scale;
} job;

static void run_step(void *arg, uint32_t thread, uint32_t n_threads) {
    job *j = arg;
    const sm_crew crew = {
        .team = j->team, .kernels = j->kernels, .thread = thread, .n_threads = n_threads};
    const double norm = sm_optim_grad_norm(&crew, j->optim);
    if (thread == 0)
        j->norm = norm;
    sm_optim_step(&crew, j->optim, j->lr, j->scale);
}

/* STEPS steps on the fixture. */
static void optimize(fixture *f, const sm_optim_config *config, uint32_t level, uint32_t n_threads,
                     double *norm) {
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    reset(f);
    job j = {.kernels = sm_kernels_get(level), .lr = 0.01, .scale = 0.5};
    assert_int_equal(sm_optim_new(&j.optim, &mem, config, &f->params, NULL, NULL), SM_OK);
    assert_int_equal(sm_team_new(&j.team, &mem, n_threads, NULL), SM_OK);
    for (uint32_t step = 0; step < STEPS; step++) {
        gradients(f, step);
        sm_team_run(j.team, run_step, &j);
    }
    assert_int_equal(sm_optim_steps(j.optim), STEPS);
    *norm = j.norm;
    sm_team_free(j.team);
    sm_optim_free(j.optim);
    assert_int_equal(atomic_load(&mem.in_use), 0);
}

static const sm_optim_config adamw = {SM_OPTIM_ADAMW, 0.9, 0.95, 1e-8, 0.1, 0, false};
static const sm_optim_config adamw8 = {SM_OPTIM_ADAMW, 0.9, 0.95, 1e-8, 0.1, 0, true};
static const sm_optim_config lion = {SM_OPTIM_LION, 0.9, 0.99, 0, 0.1, 0, false};
static const sm_optim_config sgd = {SM_OPTIM_SGD, 0, 0, 0, 0.1, 0.9, false};
static const sm_optim_config adafactor = {SM_OPTIM_ADAFACTOR, 0, 0, 0, 0.1, 0, false};

/* The same in double, straight from the formulas. p: values of one parameter. */
static void reference(const sm_optim_config *c, double *p, const float *start, uint64_t rows,
                      uint64_t cols, bool decays, bool bias) {
    static fixture f;
    static double m[N], v[N], R[ROWS], C[COLS];
    const uint64_t n = rows * cols;
    const double lr = 0.01, wd = decays ? c->weight_decay : 0;
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    memset(R, 0, sizeof R);
    memset(C, 0, sizeof C);
    for (uint64_t i = 0; i < n; i++)
        p[i] = (double)start[i];
    for (int t = 1; t <= STEPS; t++) {
        gradients(&f, (uint32_t)t - 1);
        const float *grad = bias ? f.bias_grad : f.grad;
        static double u[N];
        if (c->kind == SM_OPTIM_ADAFACTOR) {
            const double beta = 1 - pow(t, -0.8);
            double mean = 0, square = 0;
            for (uint64_t r = 0; r < rows; r++) {
                double sum = 0;
                for (uint64_t i = 0; i < cols; i++)
                    sum += pow(0.5 * (double)grad[r * cols + i], 2) + 1e-30;
                R[r] = beta * R[r] + (1 - beta) * sum / (double)cols;
                mean += R[r] / (double)rows;
            }
            for (uint64_t i = 0; i < cols && rows > 1; i++) {
                double sum = 0;
                for (uint64_t r = 0; r < rows; r++)
                    sum += pow(0.5 * (double)grad[r * cols + i], 2) + 1e-30;
                C[i] = beta * C[i] + (1 - beta) * sum / (double)rows;
            }
            for (uint64_t i = 0; i < n; i++) {
                const double g = 0.5 * (double)grad[i];
                v[i] = beta * v[i] + (1 - beta) * (g * g + 1e-30);
                u[i] = g / sqrt(rows > 1 ? R[i / cols] * C[i % cols] / mean : v[i]);
                square += u[i] * u[i];
            }
            const double rms = sqrt(square / (double)n);
            for (uint64_t i = 0; i < n; i++)
                u[i] /= rms > 1 ? rms : 1;
        }
        for (uint64_t i = 0; i < n; i++) {
            const double g = 0.5 * (double)grad[i];
            if (c->kind == SM_OPTIM_ADAMW) {
                m[i] = c->beta1 * m[i] + (1 - c->beta1) * g;
                v[i] = c->beta2 * v[i] + (1 - c->beta2) * g * g;
                u[i] =
                    m[i] / (1 - pow(c->beta1, t)) / (sqrt(v[i] / (1 - pow(c->beta2, t))) + c->eps);
            } else if (c->kind == SM_OPTIM_LION) {
                const double d = c->beta1 * m[i] + (1 - c->beta1) * g;
                u[i] = d > 0 ? 1 : d < 0 ? -1 : 0;
                m[i] = c->beta2 * m[i] + (1 - c->beta2) * g;
            } else if (c->kind == SM_OPTIM_SGD) {
                m[i] = c->momentum * m[i] + g;
                u[i] = m[i];
            }
            p[i] -= lr * (u[i] + wd * p[i]);
        }
    }
}

static void check_against_reference(const sm_optim_config *config, double tolerance) {
    static fixture f, start;
    static double w[N], b[VECTOR];
    double norm;
    reset(&start);
    reference(config, w, start.value, ROWS, COLS, true, false);
    reference(config, b, start.bias, 1, VECTOR, false, true);
    optimize(&f, config, SM_LEVEL_SCALAR, 1, &norm);
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)f.value[i] - w[i]) <= tolerance);
    for (int i = 0; i < VECTOR; i++)
        assert_true(fabs((double)f.bias[i] - b[i]) <= tolerance);
}

static void test_formulas(void **state) {
    (void)state;
    check_against_reference(&adamw, 2e-6);
    check_against_reference(&sgd, 2e-6);
    check_against_reference(&lion, 2e-6);
    check_against_reference(&adafactor, 2e-6);
}

/* A step moves a weight by about lr; 8-bit moments may be off by their 4.5% rounding, and
 * small ones of a block (below 2^-16 of its largest) by all of it. */
static void test_8bit_is_near(void **state) {
    (void)state;
    static fixture f, g;
    double norm;
    optimize(&f, &adamw, SM_LEVEL_SCALAR, 1, &norm);
    optimize(&g, &adamw8, SM_LEVEL_SCALAR, 1, &norm);
    double sum = 0, worst = 0;
    for (int i = 0; i < N; i++) {
        const double d = fabs((double)(f.value[i] - g.value[i]));
        sum += d;
        worst = d > worst ? d : worst;
    }
    assert_true(sum / N < 0.002); /* of about 0.12 moved */
    assert_true(worst < 0.02 * STEPS / 2);
    assert_true(sum > 0);
}

/* Levels and numbers of threads agree bit for bit. */
static void test_same_bits(void **state) {
    (void)state;
    static fixture want, got;
    const sm_optim_config *configs[] = {&adamw, &adamw8, &lion, &sgd, &adafactor};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        double norm, other;
        optimize(&want, configs[i], SM_LEVEL_SCALAR, 1, &norm);
        for (uint32_t level = 1; level <= SM_LEVEL_DOTPROD; level++) {
            if (!sm_kernels_get(level))
                continue;
            for (uint32_t threads = 1; threads <= 5; threads++) {
                optimize(&got, configs[i], level, threads, &other);
                assert_memory_equal(want.value, got.value, sizeof want.value);
                assert_memory_equal(want.bias, got.bias, sizeof want.bias);
                assert_true(norm == other);
            }
        }
    }
}

static void norm_only(void *arg, uint32_t thread, uint32_t n_threads) {
    job *j = arg;
    const sm_crew crew = {
        .team = j->team, .kernels = j->kernels, .thread = thread, .n_threads = n_threads};
    const double norm = sm_optim_grad_norm(&crew, j->optim);
    if (thread == 0)
        j->norm = norm;
}

static void test_norm(void **state) {
    (void)state;
    static fixture f;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    reset(&f);
    gradients(&f, 3);
    job j = {.kernels = sm_kernels_get(SM_LEVEL_SCALAR)};
    assert_int_equal(sm_optim_new(&j.optim, &mem, &sgd, &f.params, NULL, NULL), SM_OK);
    assert_int_equal(sm_team_new(&j.team, &mem, 2, NULL), SM_OK);
    long double want = 0;
    for (int i = 0; i < N; i++)
        want += (long double)f.grad[i] * (long double)f.grad[i];
    for (int i = 0; i < VECTOR; i++)
        want += (long double)f.bias_grad[i] * (long double)f.bias_grad[i];
    sm_team_run(j.team, norm_only, &j);
    assert_true(fabs(j.norm - sqrt((double)want)) < 1e-10 * j.norm);
    f.grad[N - 1] = NAN;
    sm_team_run(j.team, norm_only, &j);
    assert_true(isnan(j.norm));
    f.grad[N - 1] = INFINITY;
    sm_team_run(j.team, norm_only, &j);
    assert_true(isinf(j.norm));
    sm_team_free(j.team);
    sm_optim_free(j.optim);
}

/* State put aside and restored goes on with the same bits. */
static void test_state(void **state) {
    (void)state;
    static fixture want, got;
    const sm_optim_config *configs[] = {&adamw, &adamw8, &lion, &sgd, &adafactor};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        double norm;
        sm_mem mem;
        optimize(&want, configs[i], SM_LEVEL_SCALAR, 1, &norm);
        assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
        reset(&got);
        job j = {.kernels = sm_kernels_get(SM_LEVEL_SCALAR), .lr = 0.01, .scale = 0.5};
        assert_int_equal(sm_team_new(&j.team, &mem, 1, NULL), SM_OK);
        assert_int_equal(sm_optim_new(&j.optim, &mem, configs[i], &got.params, NULL, NULL), SM_OK);
        for (uint32_t step = 0; step < STEPS; step++) {
            if (step == 5) {
                sm_optim *fresh;
                assert_int_equal(sm_optim_new(&fresh, &mem, configs[i], &got.params, NULL, NULL),
                                 SM_OK);
                const uint32_t n = sm_optim_state_count(j.optim);
                assert_true(n > 0 && n == sm_optim_state_count(fresh));
                for (uint32_t k = 0; k < n; k++) {
                    const char *param, *role, *param2, *role2;
                    void *from, *to;
                    uint64_t bytes, bytes2;
                    sm_optim_state(j.optim, k, &param, &role, &from, &bytes);
                    sm_optim_state(fresh, k, &param2, &role2, &to, &bytes2);
                    assert_string_equal(param, param2);
                    assert_string_equal(role, role2);
                    assert_int_equal(bytes, bytes2);
                    memcpy(to, from, bytes);
                }
                sm_optim_set_steps(fresh, sm_optim_steps(j.optim));
                sm_optim_free(j.optim);
                j.optim = fresh;
            }
            gradients(&got, step);
            sm_team_run(j.team, run_step, &j);
        }
        assert_memory_equal(want.value, got.value, sizeof want.value);
        sm_team_free(j.team);
        sm_optim_free(j.optim);
    }
}

/* ---- left in the middle -------------------------------------------------------------------- */

enum { BIG_ROWS = 1500, BIG_COLS = 801, BIG = BIG_ROWS * BIG_COLS, BIG_VECTOR = 700000 };

typedef struct big {
    float value[BIG + BIG_VECTOR], grad[BIG + BIG_VECTOR];
    sm_param param[3];
    sm_params params;
} big;

static void reset_big(big *b) {
    uint64_t seed = 9;
    for (int i = 0; i < BIG + BIG_VECTOR; i++)
        b->value[i] = noise(&seed);
    b->param[0] = (sm_param){"w", BIG_ROWS, BIG_COLS, b->value, b->grad, true, 0, 0};
    b->param[1] = (sm_param){"b", 1, BIG_VECTOR - 50, b->value + BIG, b->grad + BIG, false, 0, 0};
    b->param[2] = (sm_param){
        "c", 1, 50, b->value + BIG + BIG_VECTOR - 50, b->grad + BIG + BIG_VECTOR - 50, false, 0, 0};
    b->params = (sm_params){b->param, 3, BIG + BIG_VECTOR};
}

typedef struct leaving {
    job job;
    sm_stop stop;
    int asked, yes_at; /* question that is answered with yes; 0: none */
    bool done;
} leaving;

static int32_t at_that_one(void *user) {
    leaving *l = user;
    return ++l->asked == l->yes_at;
}

static void run_leaving(void *arg, uint32_t thread, uint32_t n_threads) {
    leaving *l = arg;
    const sm_crew crew = {.team = l->job.team,
                          .kernels = l->job.kernels,
                          .thread = thread,
                          .n_threads = n_threads,
                          .stop = &l->stop};
    const bool done = sm_optim_step(&crew, l->job.optim, l->job.lr, l->job.scale);
    if (thread == 0)
        l->done = done;
}

/* Two updates, each left as often as the hook is asked and gone on with. Returns how often. */
static int update_twice(big *b, const sm_optim_config *config, uint32_t n_threads, bool leaves) {
    sm_mem mem;
    int left = 0;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    reset_big(b);
    leaving l = {.job = {.kernels = sm_kernels_get(SM_LEVEL_SCALAR), .lr = 0.01, .scale = 0.5},
                 .yes_at = leaves};
    l.stop.cancel = at_that_one;
    l.stop.cancel_user = &l;
    assert_int_equal(sm_optim_new(&l.job.optim, &mem, config, &b->params, NULL, NULL), SM_OK);
    assert_int_equal(sm_team_new(&l.job.team, &mem, n_threads, NULL), SM_OK);
    for (uint64_t step = 0; step < 2; step++) {
        uint64_t seed = 40 + step;
        for (int i = 0; i < BIG + BIG_VECTOR; i++)
            b->grad[i] = noise(&seed);
        for (;; left++) {
            l.asked = 0;
            atomic_store(&l.stop.stopped, false);
            sm_team_run(l.job.team, run_leaving, &l);
            assert_int_equal(sm_optim_steps(l.job.optim), step + 1);
            if (l.done)
                break;
        }
    }
    sm_team_free(l.job.team);
    sm_optim_free(l.job.optim);
    return left;
}

/* An update that is left and gone on with comes to the same bits. */
static void test_left(void **state) {
    (void)state;
    static big want, got;
    const sm_optim_config *configs[] = {&adamw, &adamw8, &lion, &sgd, &adafactor};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        assert_int_equal(update_twice(&want, configs[i], 1, false), 0);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            assert_true(update_twice(&got, configs[i], threads, true) >= 4);
            assert_memory_equal(want.value, got.value, sizeof want.value);
        }
    }
}

static void test_failures(void **state) {
    (void)state;
    static fixture f;
    reset(&f);
    const sm_optim_config *configs[] = {&adamw, &adamw8, &lion, &sgd, &adafactor};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        for (uint64_t limit = 64;; limit += 256) {
            sm_mem mem;
            sm_optim *o;
            sm_error error;
            assert_int_equal(sm_mem_init(&mem, NULL, limit, NULL), SM_OK);
            const sm_status status = sm_optim_new(&o, &mem, configs[i], &f.params, NULL, &error);
            if (!status) {
                sm_optim_free(o);
                break;
            }
            assert_int_equal(status, SM_ERR_NOMEM);
            assert_null(o);
            assert_int_equal(atomic_load(&mem.in_use), 0);
        }
    sm_mem mem;
    sm_optim *o;
    sm_error error;
    sm_optim_config bad = adamw;
    bad.beta1 = 1;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_optim_new(&o, &mem, &bad, &f.params, NULL, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "beta1"));
    bad = lion;
    bad.state_8bit = true;
    assert_int_equal(sm_optim_new(&o, &mem, &bad, &f.params, NULL, &error), SM_ERR_ARGUMENT);
    bad = adamw;
    bad.eps = NAN;
    assert_int_equal(sm_optim_new(&o, &mem, &bad, &f.params, NULL, &error), SM_ERR_ARGUMENT);
}

static void expect_lr(const sm_schedule *s, uint64_t step, double lr) {
    assert_true(fabs(sm_schedule_lr(s, step) - lr) < 1e-12);
}

static void test_schedules(void **state) {
    (void)state;
    sm_schedule s = {
        .kind = SM_SCHEDULE_COSINE, .lr = 1, .min_lr = 0.1, .warmup = 10, .steps = 110};
    for (int kind = SM_SCHEDULE_CONSTANT; kind <= SM_SCHEDULE_COSINE_RESTARTS; kind++) {
        s.kind = (sm_schedule_kind)kind;
        s.power = 2;
        s.decay_fraction = 0.2;
        s.cycle = 20;
        s.cycle_factor = 2;
        assert_int_equal(sm_schedule_check(&s, NULL), SM_OK);
        expect_lr(&s, 0, 0.1);
        expect_lr(&s, 4, 0.5);
        expect_lr(&s, 9, 1);
        expect_lr(&s, 10, 1);
    }
    s.kind = SM_SCHEDULE_CONSTANT;
    expect_lr(&s, 100, 1);
    s.kind = SM_SCHEDULE_LINEAR;
    expect_lr(&s, 60, 0.55);
    expect_lr(&s, 110, 0.1);
    expect_lr(&s, 1000, 0.1);
    s.kind = SM_SCHEDULE_COSINE;
    expect_lr(&s, 60, 0.55);
    expect_lr(&s, 35, 0.1 + 0.9 * (0.5 + 0.5 * sqrt(0.5)));
    expect_lr(&s, 110, 0.1);
    s.kind = SM_SCHEDULE_POLYNOMIAL;
    expect_lr(&s, 60, 0.1 + 0.9 * 0.25);
    s.kind = SM_SCHEDULE_INVERSE_SQRT;
    expect_lr(&s, 40, 0.5);
    expect_lr(&s, 1000000, 0.1);
    s.kind = SM_SCHEDULE_WSD;
    expect_lr(&s, 90, 1);
    expect_lr(&s, 100, 0.55);
    expect_lr(&s, 110, 0.1);
    s.kind = SM_SCHEDULE_COSINE_RESTARTS; /* cycles begin at 10, 30, 70 */
    expect_lr(&s, 20, 0.55);
    expect_lr(&s, 30, 1);
    expect_lr(&s, 50, 0.55);
    expect_lr(&s, 70, 1);
    s.warmup = 200;
    assert_int_equal(sm_schedule_check(&s, NULL), SM_ERR_ARGUMENT);
    s.warmup = 0;
    s.lr = NAN;
    assert_int_equal(sm_schedule_check(&s, NULL), SM_ERR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),  cmocka_unit_test(test_8bit_is_near),
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_norm),
        cmocka_unit_test(test_state),     cmocka_unit_test(test_failures),
        cmocka_unit_test(test_schedules), cmocka_unit_test(test_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
