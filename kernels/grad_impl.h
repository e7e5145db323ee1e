/* grad_impl.h - gradients of row operations for the vector levels, in vectors of 16 floats that
 * the compiler cuts to the width of the level that includes this file. These loops wait for
 * memory; intrinsics would win nothing. LEVEL(name) makes up the symbol.
 *
 * No fused multiply-add, so that the results are the same on every level that includes this.
 */
#include <math.h>
#include <string.h>

#include "table.h"

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed to inlined functions only */
#endif

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));

#define INLINE static inline __attribute__((always_inline))

INLINE f32x16 all(float x) {
    return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

/* n (at most 16) floats, zeros after them. */
INLINE f32x16 load(const float *p, size_t n) {
    f32x16 v = all(0);
    if (n >= 16) {
        memcpy(&v, p, sizeof v);
    } else {
        memcpy(&v, p, n * sizeof *p);
    }
    return v;
}
INLINE void store(float *p, f32x16 v, size_t n) {
    if (n >= 16) {
        memcpy(p, &v, sizeof v);
    } else {
        memcpy(p, &v, n * sizeof *p);
    }
}

INLINE float sum_of(f32x16 v) {
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            v[i] += v[i + half];
        }
    }
    return v[0];
}

/* As exp16 in avx512_rows.c: 2^n * exp(r), n = round(x / ln 2). Adding `magic` rounds to an
 * integer and keeps it in the low bits, which then go into the exponent. */
INLINE f32x16 exp_of(f32x16 x) {
    const f32x16 magic = all(0x1.8p23f);
    const i32x16 normal = x >= all(-87.3f);
    const i32x16 large = x > all(88.3f);
    x = (f32x16)(((i32x16)x & ~large) | ((i32x16)all(88.3f) & large));
    const f32x16 shifted = x * all(1.44269504f) + magic;
    const f32x16 n = shifted - magic;
    const f32x16 r = (x - n * all(0x1.62e4p-1f)) - n * all(0x1.7f7d1cp-20f);
    f32x16 p = all(0.0013814598f);
    p = p * r + all(0.008368717f);
    p = p * r + all(0.041668388f);
    p = p * r + all(0.16666521f);
    p = p * r + all(0.49999993f);
    p = p * (r * r) + r;
    p = p + all(1);
    const i32x16 power = (i32x16)shifted << 23;
    return (f32x16)(((i32x16)p + power) & normal);
}

float LEVEL(rms_norm_grad)(float *dx, const float *dy, const float *x, const float *w, size_t n,
                           float eps, bool accumulate) {
    f32x16 squares[2] = {all(0), all(0)}, products[2] = {all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += 16, j ^= 1) {
        const f32x16 v = load(x + i, n - i);
        squares[j] += v * v;
        products[j] += load(dy + i, n - i) * load(w + i, n - i) * v;
    }
    const float mean = sum_of(squares[0] + squares[1]) / (float)n;
    const float r = 1 / sqrtf(mean + eps);
    const float along = r * r * sum_of(products[0] + products[1]) / (float)n;
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        f32x16 g =
            all(r) * (load(w + i, left) * load(dy + i, left) - all(along) * load(x + i, left));
        if (accumulate) {
            g += load(dx + i, left);
        }
        store(dx + i, g, left);
    }
    return r;
}

void LEVEL(silu_mul_grad)(float *dgate, float *dup, const float *dy, const float *gate,
                          const float *up, size_t n) {
    const f32x16 one = all(1);
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        const f32x16 d = load(dy + i, left), g = load(gate + i, left), u = load(up + i, left);
        const f32x16 s = one / (one + exp_of(-g));
        store(dup + i, d * g * s, left);
        store(dgate + i, d * u * s * (one + g * (one - s)), left);
    }
}

void LEVEL(softmax_grad)(float *s, float *dp, size_t n, float scale, float lse, float delta) {
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        const f32x16 p = exp_of(all(scale) * load(s + i, left) - all(lse));
        store(s + i, p, left);
        store(dp + i, all(scale) * p * (load(dp + i, left) - all(delta)), left);
    }
}

void LEVEL(exp_scale)(float *y, float m, float a, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        store(y + i, all(a) * exp_of(load(y + i, left) - all(m)), left);
    }
}

void LEVEL(add_product)(float *y, const float *x, const float *z, float a, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        f32x16 v = all(a) * load(x + i, left);
        if (z != NULL) {
            v = v * load(z + i, left);
        }
        store(y + i, load(y + i, left) + v, left);
    }
}

float LEVEL(dot)(const float *x, const float *y, size_t n) {
    f32x16 sum[2] = {all(0), all(0)};
    for (size_t i = 0, j = 0; i < n; i += 16, j ^= 1) {
        sum[j] += load(x + i, n - i) * load(y + i, n - i);
    }
    return sum_of(sum[0] + sum[1]);
}
