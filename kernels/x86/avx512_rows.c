/* avx512_rows.c - operations on vectors on AVX-512. Sums keep sixteen (or eight double) lanes and
 * fold them at the end, halves onto halves.
 */
#include <math.h>

#include "avx512.h"

/* To an integer, halves to even; |x| < 2^22. */
INLINE __m512 round16(__m512 x) {
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);
    return _mm512_sub_ps(_mm512_add_ps(x, magic), magic);
}

/* exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2. exp(r) as 1 + r + r^2 * P(r),
 * P minimax for that form (relative error 3e-9). 0 below -87.3, exp(88.3) above 88.3. */
INLINE __m512 exp16(__m512 x) {
    const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
    x = _mm512_min_ps(_mm512_set1_ps(88.3f), x);
    const __m512 n = round16(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)));
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(0.0013814598f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.008368717f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.041668388f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.16666521f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.49999993f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1));
    return _mm512_maskz_scalef_ps(normal, p, n);
}

INLINE float exp1(float x) {
    return _mm512_cvtss_f32(exp16(_mm512_set1_ps(x)));
}

INLINE float sum16(__m512 x) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE double sum8(__m512d x) {
    __m256d half = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

INLINE __m512d low_double(__m512 x) {
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}
INLINE __m512d high_double(__m512 x) {
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}

/* Lanes of a vector that starts at i of n. */
INLINE __mmask16 lanes_at(size_t i, size_t n) {
    return n - i < 16 ? lanes(n - i) : (__mmask16)0xffff;
}

/* ---- quantize ------------------------------------------------------------------------- */

/* Sums of the lanes of e[0..7], each folded halves onto halves, in the lanes of the result. */
INLINE __m256 sums_of_eight(const __m512 e[8]) {
    __m512 eights[4], fours[2];
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512 a = e[2 * i], b = e[2 * i + 1];
        eights[i] =
            _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m512 a = eights[2 * i], b = eights[2 * i + 1];
        fours[i] =
            _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
    __m512 twos = _mm512_add_ps(_mm512_shuffle_ps(fours[0], fours[1], 0x44),
                                _mm512_shuffle_ps(fours[0], fours[1], 0xee));
    __m512 ones = _mm512_add_ps(twos, _mm512_permute_ps(twos, 0xb1));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps256(_mm512_permutexvar_ps(order, ones));
}

INLINE float max8(__m256 x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE __m256 broadcast_min8(__m256 x) {
    x = _mm256_min_ps(x, _mm256_permute2f128_ps(x, x, 1));
    x = _mm256_min_ps(x, _mm256_permute_ps(x, 0x4e));
    return _mm256_min_ps(x, _mm256_permute_ps(x, 0xb1));
}

/* x0, x1: a block whose largest magnitude is max. */
INLINE void quantize_block(sm_act_block *out, __m512 x0, __m512 x1, float max) {
    const __m256 levels = _mm256_setr_ps(127, 126, 125, 124, 123, 122, 121, 120);
    const __m512 inverses = _mm512_broadcast_f32x8(_mm256_div_ps(levels, _mm256_set1_ps(max)));
    const __m512 steps = _mm512_broadcast_f32x8(_mm256_div_ps(_mm256_set1_ps(max), levels));
    __m512 e[8];
    UNROLL
    for (int j = 0; j < 8; j++) {
        const __m512i at = _mm512_set1_epi32(j);
        const __m512 inverse = _mm512_permutexvar_ps(at, inverses);
        const __m512 d = _mm512_permutexvar_ps(at, steps);
        __m512 r0 = _mm512_fnmadd_ps(round16(_mm512_mul_ps(x0, inverse)), d, x0);
        __m512 r1 = _mm512_fnmadd_ps(round16(_mm512_mul_ps(x1, inverse)), d, x1);
        e[j] = _mm512_fmadd_ps(r1, r1, _mm512_mul_ps(r0, r0));
    }
    const __m256 errors = sums_of_eight(e);
    const __mmask8 least = _mm256_cmp_ps_mask(errors, broadcast_min8(errors), _CMP_EQ_OQ);
    const __m512i at = _mm512_set1_epi32(__builtin_ctz((unsigned)least | 0x100));
    const __m512 inverse = _mm512_permutexvar_ps(at, inverses);
    const float d = _mm512_cvtss_f32(_mm512_permutexvar_ps(at, steps));

    const __m128i q0 = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x0, inverse)));
    const __m128i q1 = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x1, inverse)));
    _mm_storeu_si128((__m128i *)out->q, q0);
    _mm_storeu_si128((__m128i *)(out->q + 16), q1);
    const __m256i q = _mm256_inserti128_si256(_mm256_castsi128_si256(q0), q1, 1);
    __m256i sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), q);
    sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
    sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xb1));
    const int32_t s0 = _mm_cvtsi128_si32(_mm256_castsi256_si128(sum));
    const int32_t s1 = _mm_cvtsi128_si32(_mm256_extracti128_si256(sum, 1));
    out->d = d;
    out->ds = d * (float)(s0 + s1);
    out->ds16[0] = d * (float)s0;
    out->ds16[1] = d * (float)s1;
    out->nsum = -(s0 + s1);
    out->nsum16[0] = -s0;
    out->nsum16[1] = -s1;
    out->pad = 0;
}

void sm_quantize_avx512(sm_act_block *out, const float *x, size_t k) {
    for (size_t n = 0; n < k / 32; n++, out++, x += 32) {
        const __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        const __m512 most = _mm512_max_ps(_mm512_abs_ps(x0), _mm512_abs_ps(x1));
        const float max =
            max8(_mm256_max_ps(_mm512_castps512_ps256(most), _mm512_extractf32x8_ps(most, 1)));
        if (max < 1e-30f) {
            _mm512_storeu_si512(out, _mm512_setzero_si512());
        } else {
            quantize_block(out, x0, x1, max);
        }
    }
}

/* ---- elementwise -------------------------------------------------------------------------- */

void sm_rms_norm_avx512(float *y, const float *x, const float *w, size_t n, float eps) {
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(lanes_at(i, n), x + i);
        const __m512d a = low_double(v), b = high_double(v);
        low = _mm512_fmadd_pd(a, a, low);
        high = _mm512_fmadd_pd(b, b, high);
    }
    const double mean = sum8(_mm512_add_pd(low, high)) / (double)n;
    const __m512 scale = _mm512_set1_ps((float)(1 / sqrt(mean + (double)eps)));
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale);
        if (w != NULL) {
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, w + i));
        }
        _mm512_mask_storeu_ps(y + i, mask, v);
    }
}

void sm_add_avx512(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 sum =
            _mm512_add_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i));
        _mm512_mask_storeu_ps(y + i, mask, sum);
    }
}

void sm_scale_avx512(float *y, const float *x, float a, size_t n) {
    const __m512 scale = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(scale, v));
    }
}

void sm_silu_mul_avx512(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 g = _mm512_maskz_loadu_ps(mask, gate + i);
        const __m512 u = _mm512_maskz_loadu_ps(mask, up + i);
        const __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), g));
        const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(e, _mm512_set1_ps(1)));
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(silu, u));
    }
}

INLINE void rotate(__m512 *a, __m512 *b, __m512 c, __m512 s) {
    const __m512 old = *a;
    *a = _mm512_fmsub_ps(old, c, _mm512_mul_ps(*b, s));
    *b = _mm512_fmadd_ps(old, s, _mm512_mul_ps(*b, c));
}

INLINE void rope_halves(float *x, const float *cos, const float *sin, size_t pairs) {
    for (size_t i = 0; i < pairs; i += 16) {
        const __mmask16 mask = lanes_at(i, pairs);
        __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
        __m512 b = _mm512_maskz_loadu_ps(mask, x + pairs + i);
        rotate(&a, &b, _mm512_maskz_loadu_ps(mask, cos + i), _mm512_maskz_loadu_ps(mask, sin + i));
        _mm512_mask_storeu_ps(x + i, mask, a);
        _mm512_mask_storeu_ps(x + pairs + i, mask, b);
    }
}

INLINE void rope_neighbours(float *x, const float *cos, const float *sin, size_t pairs) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (size_t i = 0; i < pairs; i += 16) {
        const size_t left = pairs - i;
        const __mmask16 mask = lanes_at(i, pairs);
        const __mmask16 mask0 = left < 8 ? lanes(2 * left) : (__mmask16)0xffff;
        const __mmask16 mask1 = left < 8 ? 0 : left < 16 ? lanes(2 * left - 16) : (__mmask16)0xffff;
        float *at = x + 2 * i;
        const __m512 v0 = _mm512_maskz_loadu_ps(mask0, at);
        const __m512 v1 = _mm512_maskz_loadu_ps(mask1, at + 16);
        __m512 a = _mm512_permutex2var_ps(v0, even, v1), b = _mm512_permutex2var_ps(v0, odd, v1);
        rotate(&a, &b, _mm512_maskz_loadu_ps(mask, cos + i), _mm512_maskz_loadu_ps(mask, sin + i));
        _mm512_mask_storeu_ps(at, mask0, _mm512_permutex2var_ps(a, low, b));
        _mm512_mask_storeu_ps(at + 16, mask1, _mm512_permutex2var_ps(a, high, b));
    }
}

void sm_rope_avx512(float *x, const float *cos, const float *sin, size_t n_rot, bool neox) {
    if (neox) {
        rope_halves(x, cos, sin, n_rot / 2);
    } else {
        rope_neighbours(x, cos, sin, n_rot / 2);
    }
}

/* ---- attention rows, logits ------------------------------------------------------------------ */

void sm_softmax_block_avx512(float *s, size_t n, float scale, float *m, float *l) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY), by = _mm512_set1_ps(scale);
    __m512 most = lowest;
    for (size_t i = 0; i < n; i += 16) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(s + i), by);
        most = _mm512_mask_max_ps(most, lanes_at(i, n), v, most);
    }
    *m = max8(_mm256_max_ps(_mm512_castps512_ps256(most), _mm512_extractf32x8_ps(most, 1)));
    const __m512 max = _mm512_set1_ps(*m);
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(s + i), by);
        const __m512 e = _mm512_maskz_mov_ps(lanes_at(i, n), exp16(_mm512_sub_ps(v, max)));
        sum = _mm512_add_ps(sum, e);
        _mm512_storeu_ps(s + i, e);
    }
    *l = sum16(sum);
}

void sm_attn_merge_avx512(float *O, float *M, float *L, const float *o, float m, float l,
                          size_t n) {
    const float max = *M > m ? *M : m;
    const float a = exp1(*M - max), b = exp1(m - max);
    const __m512 av = _mm512_set1_ps(a), bv = _mm512_set1_ps(b);
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 old = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, O + i), av);
        const __m512 more = _mm512_maskz_loadu_ps(mask, o + i);
        _mm512_mask_storeu_ps(O + i, mask, _mm512_fmadd_ps(more, bv, old));
    }
    *L = fmaf(l, b, *L * a);
    *M = max;
}

size_t sm_argmax_avx512(const float *x, size_t n) {
    __m512 most[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        most[j] = _mm512_set1_ps(-INFINITY);
    }
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        UNROLL
        for (int j = 0; j < 4; j++) { /* of a NaN and a number max gives the second operand */
            most[j] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * j), most[j]);
        }
    }
    for (; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(lanes_at(i, n), x + i);
        most[0] = _mm512_mask_max_ps(most[0], lanes_at(i, n), v, most[0]);
    }
    const __m512 all =
        _mm512_max_ps(_mm512_max_ps(most[0], most[1]), _mm512_max_ps(most[2], most[3]));
    const __m512 max = _mm512_set1_ps(
        max8(_mm256_max_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1))));
    for (i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        const __mmask16 hit = _mm512_mask_cmp_ps_mask(mask, v, max, _CMP_EQ_OQ);
        if (hit != 0) {
            return i + (size_t)__builtin_ctz(hit);
        }
    }
    return 0; /* nothing but NaN */
}

double sm_sum_exp_avx512(const float *x, size_t n, float m) {
    const __m512 max = _mm512_set1_ps(m);
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), max);
        const __m512 e = _mm512_maskz_mov_ps(mask, exp16(v));
        low = _mm512_add_pd(low, low_double(e));
        high = _mm512_add_pd(high, high_double(e));
    }
    return sum8(_mm512_add_pd(low, high));
}
