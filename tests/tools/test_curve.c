/* The losses of a training run, as the program looks at them: their mean, and which runs it says
 * have exploded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "curve.h"
#include "support.h"

static void test_mean(void **state) {
    (void)state;
    curve_mean mean = {0};
    double sum = 0, weights = 0;
    for (int i = 0; i < 100; i++) {
        const double loss = 5.0 / (1 + i);
        sum = 0.95 * sum + loss;
        weights = 0.95 * weights + 1;
        const double shown = curve_mean_add(&mean, loss);
        assert_true(fabs(shown - sum / weights) < 1e-12);
        if (i == 0)
            assert_true(shown == loss);
        if (i == 1) /* of two nearly the middle, not nearly the first */
            assert_true(fabs(shown - 3.75) < 0.04);
    }
}

/* Losses of a run of n steps: from `first` to `low` as training goes, from step `at` on `end`;
 * with so much noise. */
typedef struct run {
    int n;
    double first, low, noise;
    int at;
    double end;
} run;

static double uniform(uint64_t *seed) {
    return (double)(test_random(seed) >> 11) / 9007199254740992.0;
}

static bool explodes(const run *r, uint64_t seed, curve_rise *rise) {
    curve c = {0};
    for (int i = 0; i < r->n; i++) {
        const double usual = r->low + (r->first - r->low) * exp(-6.0 * i / r->n);
        const double loss = r->at > 0 && i >= r->at ? r->end : usual;
        /* of four a sum that is nearly normal, with this deviation */
        double noise = -2;
        for (int k = 0; k < 4; k++)
            noise += uniform(&seed);
        assert_true(curve_add(&c, i + 1, fmax(0, loss + noise * sqrt(3) * r->noise)));
    }
    const bool exploded = curve_exploded(&c, log(300), rise);
    curve_free(&c);
    return exploded;
}

static void test_explosions(void **state) {
    (void)state;
    static const run exploded[] = {
        {30, 5.7, 2.0, 0.1, 10, 7.0},     {1000, 5.7, 1.5, 0.3, 900, 3.0},
        {5000, 5.7, 1.5, 0.3, 4950, 4.0}, {20, 5.7, 2.0, 0.2, 1, 30},
        {3, 5.7, 2.0, 0.1, 1, 30},        {200, 2.0, 1.0, 0.2, 2, 7.0},
        {1000, 0.5, 0.01, 0.01, 600, 1},  {40, 5.7, 2.0, 0.1, 30, 1e6},
    };
    static const run quiet[] = {
        {30, 5.7, 2.0, 0.1, 0, 0},   {1000, 5.7, 1.5, 0.3, 0, 0}, {40, 1.5, 1.5, 0.5, 0, 0},
        {4, 2.0, 2.0, 1.0, 0, 0},    {12, 0.8, 0.8, 0.5, 0, 0},   {1000, 2.0, 2.0, 1.0, 0, 0},
        {5000, 5.7, 2, 0.3, 0, 0},   {1, 9.0, 9.0, 0, 0, 0},      {2, 5.8, 5.7, 0.1, 0, 0},
        {1000, 5, 2, 0.2, 990, 2.2}, {300, 12, 10, 0.1, 0, 0},
    };
    curve_rise rise;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        for (size_t i = 0; i < sizeof exploded / sizeof exploded[0]; i++) {
            if (!explodes(&exploded[i], seed, &rise))
                fail_msg("run %zu, seed %d: not seen", i, (int)seed);
            assert_true(rise.end > rise.low && rise.low_step >= 1);
            assert_true(rise.low_step <= exploded[i].n);
        }
        for (size_t i = 0; i < sizeof quiet / sizeof quiet[0]; i++)
            if (explodes(&quiet[i], seed, &rise))
                fail_msg("run %zu, seed %d: %g at step %g, %g at the end", i, (int)seed, rise.low,
                         rise.low_step, rise.end);
    }
    curve none = {0};
    assert_false(curve_exploded(&none, 1, &rise));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean),
        cmocka_unit_test(test_explosions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
