/* grad.c - gradients of row operations, and activations, spelled out; sums in double. */
#include <math.h>

#include "table.h"

static double one_or(const float *v, size_t i) {
    return v != NULL ? (double)v[i] : 1;
}

float sm_rms_norm_grad_ref(float *dx, const float *dy, const float *x, const float *w, size_t n,
                           float eps, bool accumulate) {
    double squares = 0, product = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        product += (double)dy[i] * one_or(w, i) * (double)x[i];
    }
    const double r = 1 / sqrt(squares / (double)n + (double)eps);
    const double along = r * r * product / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double g = r * (one_or(w, i) * (double)dy[i] - along * (double)x[i]);
        dx[i] = (float)(accumulate ? (double)dx[i] + g : g);
    }
    return (float)r;
}

float sm_layer_norm_grad_ref(float *dx, const float *dy, const float *x, const float *w, size_t n,
                             float eps, bool accumulate, float *m) {
    double sum = 0, squares = 0, gradient = 0, product = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double z = (double)x[i] - mean, d = one_or(w, i) * (double)dy[i];
        squares += z * z;
        gradient += d;
        product += d * z;
    }
    const double r = 1 / sqrt(squares / (double)n + (double)eps);
    const double along = r * r * product / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double z = (double)x[i] - mean, d = one_or(w, i) * (double)dy[i];
        const double g = r * (d - gradient / (double)n - along * z);
        dx[i] = (float)(accumulate ? (double)dx[i] + g : g);
    }
    *m = (float)mean;
    return (float)r;
}

void sm_silu_mul_grad_ref(float *dgate, float *dup, float *y, const float *dy, const float *gate,
                          const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float d = dy[i], s = 1 / (1 + expf(-gate[i])), u = up != NULL ? up[i] : 1;
        y[i] = gate[i] * s * u;
        if (up != NULL) {
            dup[i] = d * gate[i] * s;
        }
        dgate[i] = d * u * s * (1 + gate[i] * (1 - s));
    }
}

#define GELU_SCALE 0.797884560802865f /* sqrt(2/pi) */
#define GELU_CUBE 0.044715f

static float gelu_gate(float x) {
    return 1 / (1 + expf(-2 * GELU_SCALE * (x + GELU_CUBE * x * x * x)));
}

void sm_gelu_mul_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = gate[i] * gelu_gate(gate[i]) * (up != NULL ? up[i] : 1);
    }
}

void sm_gelu_mul_grad_ref(float *dgate, float *dup, float *y, const float *dy, const float *gate,
                          const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float d = dy[i], x = gate[i], s = gelu_gate(x), u = up != NULL ? up[i] : 1;
        const float slope = GELU_SCALE * (1 + 3 * GELU_CUBE * x * x);
        y[i] = x * s * u;
        if (up != NULL) {
            dup[i] = d * x * s;
        }
        dgate[i] = d * u * (s + 2 * x * s * (1 - s) * slope);
    }
}

/* Of element i of y = f(gate) up, f and its slope there known. */
static void activation_grad(float *dgate, float *dup, float *y, const float *dy, const float *up,
                            size_t i, float f, float slope) {
    const float d = dy[i], u = up != NULL ? up[i] : 1;
    y[i] = f * u;
    if (up != NULL) {
        dup[i] = d * f;
    }
    dgate[i] = d * u * slope;
}

#define ROOT_HALF 0.7071067811865476
#define NORMAL_PEAK 0.3989422804014327 /* 1 / sqrt(2 pi) */

/* The part of the normal distribution below x. */
static double normal_below(double x) {
    return 0.5 * erfc(-x * ROOT_HALF);
}

void sm_gelu_erf_mul_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double x = (double)gate[i];
        y[i] = (float)(x * normal_below(x)) * (up != NULL ? up[i] : 1);
    }
}

void sm_gelu_erf_mul_grad_ref(float *dgate, float *dup, float *y, const float *dy,
                              const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double x = (double)gate[i], p = normal_below(x);
        activation_grad(dgate, dup, y, dy, up, i, (float)(x * p),
                        (float)(p + x * NORMAL_PEAK * exp(-0.5 * x * x)));
    }
}

void sm_relu2_mul_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float x = gate[i] < 0 ? 0 : gate[i]; /* NaN stays */
        y[i] = x * x * (up != NULL ? up[i] : 1);
    }
}

void sm_relu2_mul_grad_ref(float *dgate, float *dup, float *y, const float *dy, const float *gate,
                           const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float x = gate[i] < 0 ? 0 : gate[i];
        activation_grad(dgate, dup, y, dy, up, i, x * x, 2 * x);
    }
}

void sm_soft_cap_ref(float *y, const float *x, size_t n, float scale, float cap) {
    for (size_t i = 0; i < n; i++) {
        y[i] = cap * tanhf(scale * x[i] / cap) - (x[i] - x[i]);
    }
}

void sm_add_slope_ref(float *y, const float *x, size_t n, float scale, float slope, float first) {
    for (size_t i = 0; i < n; i++) {
        y[i] = scale * x[i] + slope * (first + (float)i);
    }
}

void sm_clamp_ref(float *y, const float *x, size_t n, float limit) {
    for (size_t i = 0; i < n; i++) {
        const float inside = x[i] < -limit ? -limit : x[i] > limit ? limit : x[i];
        y[i] = inside - (x[i] - x[i]);
    }
}

void sm_clamp_grad_ref(float *dy, const float *x, size_t n, float limit) {
    for (size_t i = 0; i < n; i++) {
        dy[i] = x[i] < -limit || x[i] > limit ? 0 : dy[i];
    }
}

void sm_soft_cap_grad_ref(float *dy, const float *y, size_t n, float scale, float cap) {
    for (size_t i = 0; i < n; i++) {
        dy[i] *= scale * (1 - y[i] / cap * (y[i] / cap));
    }
}

void sm_softmax_grad_ref(float *s, float *dp, size_t n, float scale, float lse, float delta) {
    for (size_t i = 0; i < n; i++) {
        s[i] = expf(scale * s[i] - lse);
        dp[i] = scale * s[i] * (dp[i] - delta);
    }
}

void sm_exp_scale_ref(float *y, float m, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = a * expf(y[i] - m);
    }
}

void sm_add_product_ref(float *y, const float *x, const float *z, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i] * (z != NULL ? z[i] : 1);
    }
}

void sm_add_centered_ref(float *y, const float *x, const float *z, float m, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i] * (z[i] - m);
    }
}

float sm_dot_ref(const float *x, const float *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)y[i];
    }
    return (float)sum;
}
