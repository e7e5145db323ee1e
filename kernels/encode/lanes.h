/* lanes.h - sixteen floats side by side, for the encoders.
 *
 * The same operations on every level, each rounded once as IEEE 754 says, so that the
 * encoders give the same bytes everywhere. The portable form is used unless a file of
 * a level defines SM_LANES to 256 (AVX2) or 512 (AVX-512) before it includes this.
 */
#ifndef SM_LANES_H
#define SM_LANES_H

#include <math.h>
#include <stddef.h>

#if SM_LANES >= 256
#include <immintrin.h>
#endif

#define LANES 16
/* x + ROUNDING - ROUNDING is x rounded to the nearest integer, ties to even, |x| < 2^22. */
#define ROUNDING 12582912.0f

#if SM_LANES == 512

typedef __m512 lanes;

static inline lanes l_all(float a) {
    return _mm512_set1_ps(a);
}
static inline lanes l_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void l_store(float *p, lanes a) {
    _mm512_storeu_ps(p, a);
}
static inline lanes l_add(lanes a, lanes b) {
    return _mm512_add_ps(a, b);
}
static inline lanes l_sub(lanes a, lanes b) {
    return _mm512_sub_ps(a, b);
}
static inline lanes l_mul(lanes a, lanes b) {
    return _mm512_mul_ps(a, b);
}
static inline lanes l_div(lanes a, lanes b) {
    return _mm512_div_ps(a, b);
}
static inline lanes l_sqrt(lanes a) {
    return _mm512_sqrt_ps(a);
}
/* a < b ? a : b, and so on: no NaN comes here */
static inline lanes l_min(lanes a, lanes b) {
    return _mm512_min_ps(a, b);
}
static inline lanes l_max(lanes a, lanes b) {
    return _mm512_max_ps(a, b);
}
/* a < b ? yes : no */
static inline lanes l_less(lanes a, lanes b, lanes yes, lanes no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}

#elif SM_LANES == 256

typedef struct lanes {
    __m256 lo, hi;
} lanes;

#define L_EACH(op, a, b)                       \
    (lanes) {                                  \
        op((a).lo, (b).lo), op((a).hi, (b).hi) \
    }

static inline lanes l_all(float a) {
    return (lanes){_mm256_set1_ps(a), _mm256_set1_ps(a)};
}
static inline lanes l_load(const float *p) {
    return (lanes){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void l_store(float *p, lanes a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
static inline lanes l_add(lanes a, lanes b) {
    return L_EACH(_mm256_add_ps, a, b);
}
static inline lanes l_sub(lanes a, lanes b) {
    return L_EACH(_mm256_sub_ps, a, b);
}
static inline lanes l_mul(lanes a, lanes b) {
    return L_EACH(_mm256_mul_ps, a, b);
}
static inline lanes l_div(lanes a, lanes b) {
    return L_EACH(_mm256_div_ps, a, b);
}
static inline lanes l_sqrt(lanes a) {
    return (lanes){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}
static inline lanes l_min(lanes a, lanes b) {
    return L_EACH(_mm256_min_ps, a, b);
}
static inline lanes l_max(lanes a, lanes b) {
    return L_EACH(_mm256_max_ps, a, b);
}
static inline lanes l_less(lanes a, lanes b, lanes yes, lanes no) {
    return (lanes){_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
                   _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}

#else

typedef struct lanes {
    float v[LANES];
} lanes;

#define L_EACH(name, expression)                 \
    static inline lanes name(lanes a, lanes b) { \
        for (size_t t = 0; t < LANES; t++) {     \
            a.v[t] = expression;                 \
        }                                        \
        return a;                                \
    }

static inline lanes l_all(float a) {
    lanes r;
    for (size_t t = 0; t < LANES; t++) {
        r.v[t] = a;
    }
    return r;
}
static inline lanes l_load(const float *p) {
    lanes r;
    for (size_t t = 0; t < LANES; t++) {
        r.v[t] = p[t];
    }
    return r;
}
static inline void l_store(float *p, lanes a) {
    for (size_t t = 0; t < LANES; t++) {
        p[t] = a.v[t];
    }
}
L_EACH(l_add, a.v[t] + b.v[t])
L_EACH(l_sub, a.v[t] - b.v[t])
L_EACH(l_mul, a.v[t] * b.v[t])
L_EACH(l_div, a.v[t] / b.v[t])
L_EACH(l_min, a.v[t] < b.v[t] ? a.v[t] : b.v[t])
L_EACH(l_max, a.v[t] > b.v[t] ? a.v[t] : b.v[t])
static inline lanes l_sqrt(lanes a) {
    for (size_t t = 0; t < LANES; t++) {
        a.v[t] = sqrtf(a.v[t]);
    }
    return a;
}
static inline lanes l_less(lanes a, lanes b, lanes yes, lanes no) {
    for (size_t t = 0; t < LANES; t++) {
        a.v[t] = a.v[t] < b.v[t] ? yes.v[t] : no.v[t];
    }
    return a;
}

#endif
#undef L_EACH

static inline lanes l_round(lanes a) {
    return l_sub(l_add(a, l_all(ROUNDING)), l_all(ROUNDING));
}

/* The lanes summed pairwise: t with t + 8, then + 4, + 2, + 1. */
static inline float l_sum(lanes a) {
    float v[LANES];
    l_store(v, a);
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t t = 0; t < half; t++) {
            v[t] += v[t + half];
        }
    }
    return v[0];
}

/* The largest lane. */
static inline float l_largest(lanes a) {
    float v[LANES];
    l_store(v, a);
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t t = 0; t < half; t++) {
            v[t] = v[t] > v[t + half] ? v[t] : v[t + half];
        }
    }
    return v[0];
}

/* The first lane with the largest (NaN never wins, lane 0 if all are). */
static inline size_t l_which_largest(lanes a) {
    float v[LANES];
    size_t best = 0;
    l_store(v, a);
    for (size_t t = 1; t < LANES; t++) {
        best = v[t] > v[best] ? t : best;
    }
    return best;
}

#endif
