/* grad_impl.h - gradients of row operations, activations, LayerNorm, for the vector levels, in
 * vectors of LANES floats (4, 8 or 16) that the compiler maps to the registers of the level that
 * includes this file. LEVEL(name) makes up the symbol. No fused multiply-add: elementwise results
 * are the same on every level that includes this; sums keep LANES of them.
 */
#include <math.h>
#include <string.h>

#include "table.h"

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed to inlined functions only */
#endif

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t uints __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE floats all(float x) {
#if LANES == 16
    return (floats){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif LANES == 8
    return (floats){x, x, x, x, x, x, x, x};
#else
    return (floats){x, x, x, x};
#endif
}

/* n (at most LANES) floats, zeros after them. */
INLINE floats load(const float *p, size_t n) {
    floats v = all(0);
    if (n >= LANES) {
        memcpy(&v, p, sizeof v);
    } else {
        memcpy(&v, p, n * sizeof *p);
    }
    return v;
}
INLINE void store(float *p, floats v, size_t n) {
    if (n >= LANES) {
        memcpy(p, &v, sizeof v);
    } else {
        memcpy(p, &v, n * sizeof *p);
    }
}

/* The same of ones where there is no such row. */
INLINE floats load_or_ones(const float *p, size_t i, size_t n) {
    return p != NULL ? load(p + i, n) : all(1);
}

INLINE float sum_of(floats v) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            v[i] += v[i + half];
        }
    }
    return v[0];
}

/* As exp16 in avx512_rows.c: 2^n * exp(r), n = round(x / ln 2). Adding `magic` rounds to an
 * integer and keeps it in the low bits, which then go into the exponent. */
INLINE floats exp_of(floats x) {
    const floats magic = all(0x1.8p23f);
    const ints normal = x >= all(-87.3f);
    const ints large = x > all(88.3f);
    x = (floats)(((ints)x & ~large) | ((ints)all(88.3f) & large));
    const floats shifted = x * all(1.44269504f) + magic;
    const floats n = shifted - magic;
    const floats r = (x - n * all(0x1.62e4p-1f)) - n * all(0x1.7f7d1cp-20f);
    floats p = all(0.0013814598f);
    p = p * r + all(0.008368717f);
    p = p * r + all(0.041668388f);
    p = p * r + all(0.16666521f);
    p = p * r + all(0.49999993f);
    p = p * (r * r) + r;
    p = p + all(1);
    const uints power = (uints)shifted << 23; /* rubbish where x is not normal: wraps */
    return (floats)(((uints)p + power) & (uints)normal);
}

float LEVEL(rms_norm_grad)(float *dx, const float *dy, const float *x, const float *w, size_t n,
                           float eps, bool accumulate) {
    floats squares[2] = {all(0), all(0)}, products[2] = {all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += LANES, j ^= 1) {
        const floats v = load(x + i, n - i);
        squares[j] += v * v;
        products[j] += load(dy + i, n - i) * load_or_ones(w, i, n - i) * v;
    }
    const float mean = sum_of(squares[0] + squares[1]) / (float)n;
    const float r = 1 / sqrtf(mean + eps);
    const float along = r * r * sum_of(products[0] + products[1]) / (float)n;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        floats g = all(r) *
                   (load_or_ones(w, i, left) * load(dy + i, left) - all(along) * load(x + i, left));
        if (accumulate) {
            g += load(dx + i, left);
        }
        store(dx + i, g, left);
    }
    return r;
}

/* x[n] - m, zeros after them. */
INLINE floats load_centered(const float *x, size_t n, float m) {
    floats v = load(x, n) - all(m);
    for (size_t j = n; j < LANES; j++) {
        v[j] = 0;
    }
    return v;
}

INLINE float mean_of(const float *x, size_t n) {
    floats sum[4] = {all(0), all(0), all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += LANES, j = (j + 1) % 4) {
        sum[j] += load(x + i, n - i);
    }
    return sum_of((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)n;
}

void LEVEL(layer_norm)(float *y, const float *x, const float *w, const float *b, size_t n,
                       float eps) {
    const float mean = mean_of(x, n);
    floats sum[4] = {all(0), all(0), all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += LANES, j = (j + 1) % 4) {
        const floats v = load_centered(x + i, n - i, mean);
        sum[j] += v * v;
    }
    const float variance = sum_of((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)n;
    const float r = 1 / sqrtf(variance + eps);
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        floats v = (load(x + i, left) - all(mean)) * all(r) * load_or_ones(w, i, left);
        if (b != NULL) {
            v += load(b + i, left);
        }
        store(y + i, v, left);
    }
}

float LEVEL(layer_norm_grad)(float *dx, const float *dy, const float *x, const float *w, size_t n,
                             float eps, bool accumulate, float *m) {
    const float mean = mean_of(x, n);
    floats squares[2] = {all(0), all(0)}, gradients = all(0), products[2] = {all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += LANES, j ^= 1) {
        const floats v = load_centered(x + i, n - i, mean);
        const floats d = load_or_ones(w, i, n - i) * load(dy + i, n - i);
        squares[j] += v * v;
        products[j] += d * v;
        gradients += d;
    }
    const float variance = sum_of(squares[0] + squares[1]) / (float)n;
    const float r = 1 / sqrtf(variance + eps), gradient = sum_of(gradients) / (float)n;
    const float along = r * r * sum_of(products[0] + products[1]) / (float)n;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const floats d = load_or_ones(w, i, left) * load(dy + i, left) - all(gradient);
        floats g = all(r) * (d - all(along) * (load(x + i, left) - all(mean)));
        if (accumulate) {
            g += load(dx + i, left);
        }
        store(dx + i, g, left);
    }
    *m = mean;
    return r;
}

void LEVEL(silu_mul_grad)(float *dgate, float *dup, float *y, const float *dy, const float *gate,
                          const float *up, size_t n) {
    const floats one = all(1);
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const floats d = load(dy + i, left), g = load(gate + i, left);
        const floats u = load_or_ones(up, i, left), s = one / (one + exp_of(-g));
        store(y + i, g * s * u, left);
        if (up != NULL) {
            store(dup + i, d * g * s, left);
        }
        store(dgate + i, d * u * s * (one + g * (one - s)), left);
    }
}

/* sqrt(2/pi), and what multiplies x^3 */
#define GELU_SCALE 0.797884560802865f
#define GELU_CUBE 0.044715f

/* 1 / (1 + exp(-2 z)) of gelu */
INLINE floats gelu_gate(floats x) {
    const floats z = all(GELU_SCALE) * (x + all(GELU_CUBE) * x * x * x);
    return all(1) / (all(1) + exp_of(all(-2) * z));
}

void LEVEL(gelu_mul)(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats x = load(gate + i, n - i);
        store(y + i, x * gelu_gate(x) * load_or_ones(up, i, n - i), n - i);
    }
}

void LEVEL(gelu_mul_grad)(float *dgate, float *dup, float *y, const float *dy, const float *gate,
                          const float *up, size_t n) {
    const floats one = all(1);
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const floats d = load(dy + i, left), x = load(gate + i, left);
        const floats u = load_or_ones(up, i, left), s = gelu_gate(x);
        const floats slope = all(GELU_SCALE) * (one + all(3 * GELU_CUBE) * x * x);
        store(y + i, x * s * u, left);
        if (up != NULL) {
            store(dup + i, d * x * s, left);
        }
        store(dgate + i, d * u * (s + all(2) * x * s * (one - s) * slope), left);
    }
}

/* Of a vector of y = f(gate) up, f and its slope there known. */
INLINE void activation_grad(float *dgate, float *dup, float *y, const float *dy, const float *up,
                            size_t i, size_t left, floats f, floats slope) {
    const floats d = load(dy + i, left), u = load_or_ones(up, i, left);
    store(y + i, f * u, left);
    if (up != NULL) {
        store(dup + i, d * f, left);
    }
    store(dgate + i, d * u * slope, left);
}

/* Where choose, a, elsewhere b. */
INLINE floats blend(ints choose, floats a, floats b) {
    return (floats)((choose & (ints)a) | (~choose & (ints)b));
}

#define NORMAL_PEAK 0.3989422804f /* 1 / sqrt(2 pi) */

/* The part of the normal distribution below x; *e = exp(-x^2 / 2). Above |x|, with z = |x| / sqrt
 * 2, it is erfc(z) / 2 = e t q(t) / 2, t = 1 / (1 + 0.3275911 z) as in Abramowitz and Stegun,
 * 7.1.26; q is a minimax fit of our own for |x| < 13, relative error 1e-7. */
INLINE floats normal_below(floats x, floats *e) {
    const floats size = (floats)((ints)x & 0x7fffffff);
    const floats t = all(1) / (all(1) + all(0.3275911f * 0.70710678f) * size);
    *e = exp_of(all(-0.5f) * x * x);
    floats q = all(-0.14207914855940776f);
    q = q * t + all(0.5006764248915846f);
    q = q * t + all(-0.4128315838705894f);
    q = q * t + all(0.45969093417476486f);
    q = q * t + all(0.021957168542981322f);
    q = q * t + all(0.206971099635351f);
    q = q * t + all(0.1805499009509389f);
    q = q * t + all(0.18506530332750357f);
    const floats above = all(0.5f) * *e * t * q;
    return blend(x < all(0), above, all(1) - above);
}

void LEVEL(gelu_erf_mul)(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats x = load(gate + i, n - i);
        floats e;
        store(y + i, x * normal_below(x, &e) * load_or_ones(up, i, n - i), n - i);
    }
}

void LEVEL(gelu_erf_mul_grad)(float *dgate, float *dup, float *y, const float *dy,
                              const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats x = load(gate + i, n - i);
        floats e;
        const floats p = normal_below(x, &e);
        activation_grad(dgate, dup, y, dy, up, i, n - i, x * p, p + all(NORMAL_PEAK) * x * e);
    }
}

/* NaN stays. */
INLINE floats relu(floats x) {
    return blend(x < all(0), all(0), x);
}

void LEVEL(relu2_mul)(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats x = relu(load(gate + i, n - i));
        store(y + i, x * x * load_or_ones(up, i, n - i), n - i);
    }
}

void LEVEL(relu2_mul_grad)(float *dgate, float *dup, float *y, const float *dy, const float *gate,
                           const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats x = relu(load(gate + i, n - i));
        activation_grad(dgate, dup, y, dy, up, i, n - i, x * x, all(2) * x);
    }
}

void LEVEL(soft_cap)(float *y, const float *x, size_t n, float scale, float cap) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats v = load(x + i, n - i);
        const floats e = exp_of(all(2 * scale / cap) * v);
        store(y + i, all(cap) * (all(1) - all(2) / (e + all(1))) - (v - v), n - i);
    }
}

void LEVEL(add_slope)(float *y, const float *x, size_t n, float scale, float slope, float first) {
    floats at = all(first);
    for (size_t j = 0; j < LANES; j++) {
        at[j] += (float)j;
    }
    for (size_t i = 0; i < n; i += LANES, at += all(LANES)) {
        store(y + i, all(scale) * load(x + i, n - i) + all(slope) * at, n - i);
    }
}

void LEVEL(clamp)(float *y, const float *x, size_t n, float limit) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats v = load(x + i, n - i);
        const floats low = blend(v < all(-limit), all(-limit), v);
        store(y + i, blend(low > all(limit), all(limit), low) - (v - v), n - i);
    }
}

void LEVEL(clamp_grad)(float *dy, const float *x, size_t n, float limit) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats v = load(x + i, n - i), d = load(dy + i, n - i);
        const floats low = blend(v < all(-limit), all(0), d);
        store(dy + i, blend(v > all(limit), all(0), low), n - i);
    }
}

void LEVEL(soft_cap_grad)(float *dy, const float *y, size_t n, float scale, float cap) {
    for (size_t i = 0; i < n; i += LANES) {
        const floats t = load(y + i, n - i) / all(cap);
        store(dy + i, load(dy + i, n - i) * (all(scale) * (all(1) - t * t)), n - i);
    }
}

void LEVEL(softmax_grad)(float *s, float *dp, size_t n, float scale, float lse, float delta) {
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const floats p = exp_of(all(scale) * load(s + i, left) - all(lse));
        store(s + i, p, left);
        store(dp + i, all(scale) * p * (load(dp + i, left) - all(delta)), left);
    }
}

void LEVEL(exp_scale)(float *y, float m, float a, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        store(y + i, all(a) * exp_of(load(y + i, left) - all(m)), left);
    }
}

void LEVEL(add_product)(float *y, const float *x, const float *z, float a, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        floats v = all(a) * load(x + i, left);
        if (z != NULL) {
            v = v * load(z + i, left);
        }
        store(y + i, load(y + i, left) + v, left);
    }
}

void LEVEL(add_centered)(float *y, const float *x, const float *z, float m, float a, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        const floats v = all(a) * load(x + i, left) * (load(z + i, left) - all(m));
        store(y + i, load(y + i, left) + v, left);
    }
}

float LEVEL(dot)(const float *x, const float *y, size_t n) {
    floats sum[2] = {all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += LANES, j ^= 1) {
        sum[j] += load(x + i, n - i) * load(y + i, n - i);
    }
    return sum_of(sum[0] + sum[1]);
}
