/* avx2_rows.c - operations on vectors. */
#include <math.h>
#include <string.h>

#include "avx2.h"
#include "damage.h"

/* ---- shared pieces ----------------------------------------------------------------------- */

/* e^x as kernels.h asks for. x = n ln 2 + r, |r| <= ln 2 / 2; e^r by the polynomial of least
 * maximum relative error with 1 + r held, 3e-9 before rounding; 2^n by adding n to the exponent. */
INLINE __m256 exp_f32(__m256 x) {
    const __m256 magic = _mm256_set1_ps(0x1.8p23f); /* rounds; n ends up in the low bits */
    const __m256 tiny = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_LT_OQ);
    x = _mm256_min_ps(x, _mm256_set1_ps(88.3f));
    const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+0f), magic);
    const __m256 n = _mm256_sub_ps(shifted, magic);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e43p-1f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-0x1.05c61p-29f), r);
    __m256 p = _mm256_set1_ps(0.00138145984f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.00836871690f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.0416683881f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.166665206f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.499999934f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, r), r, r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1));
    const __m256i power = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    const __m256i e = _mm256_add_epi32(_mm256_castps_si256(p), power);
    return _mm256_andnot_ps(tiny, _mm256_castsi256_ps(e));
}

/* All bits set in the first n (0..8) lanes. */
INLINE __m256i first_lanes(size_t n) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), index);
}

INLINE float largest(__m256 x) {
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}

INLINE float sum_f32(__m256 x) {
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

INLINE double sum_f64(__m256d x) {
    __m128d v = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v)));
}

INLINE __m256d low_f64(__m256 x) {
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}
INLINE __m256d high_f64(__m256 x) {
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

/* ---- quantize ------------------------------------------------------------------------------ */

#define MAGIC 12582912.0f /* 1.5 * 2^23: what is added to it loses its fraction */

/* Squares of what z has beyond multiples of 256, in pairs. */
INLINE __m256i squares(__m256i z) {
    const __m256i r = _mm256_srai_epi16(_mm256_slli_epi16(z, 8), 8);
    return _mm256_madd_epi16(r, r);
}

/* Lane j: the sum of squares of a block in fine steps of scale j (sm_act_block). The pairwise
 * sums of eight scales are taken together. */
INLINE __m256i block_errors(const __m256i y[2]) {
    __m256i e[8];
    UNROLL for (unsigned j = 0; j < 8; j++) {
        int32_t twice;
        memcpy(&twice, SM_ACT_RATIO[j], sizeof twice);
        const __m256i ratio = _mm256_set1_epi32(twice);
        e[j] = _mm256_add_epi32(squares(j == 0 ? y[0] : _mm256_mulhrs_epi16(y[0], ratio)),
                                squares(j == 0 ? y[1] : _mm256_mulhrs_epi16(y[1], ratio)));
    }
    /* lane l with l + 4: low 128 bits of scale j, high of j + 4 */
    UNROLL for (unsigned j = 0; j < 4; j++) {
        e[j] = _mm256_add_epi32(_mm256_permute2x128_si256(e[j], e[j + 4], 0x20),
                                _mm256_permute2x128_si256(e[j], e[j + 4], 0x31));
    }
    return _mm256_hadd_epi32(_mm256_hadd_epi32(e[0], e[1]), _mm256_hadd_epi32(e[2], e[3]));
}

/* The four vectors of 32-bit values as 32 bytes in order. */
INLINE __m256i pack_bytes(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i v = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    return _mm256_permutevar8x32_epi32(v, order);
}

INLINE int32_t sum_bytes(__m128i q) {
    __m128i s = _mm_maddubs_epi16(_mm_set1_epi8(1), q);
    s = _mm_madd_epi16(s, _mm_set1_epi16(1));
    s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
    return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1);
}

INLINE float block_max(const float *x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 a[4];
    UNROLL for (unsigned i = 0; i < 4; i++) {
        a[i] = _mm256_andnot_ps(sign, _mm256_loadu_ps(x + 8 * i));
    }
    return largest(_mm256_max_ps(_mm256_max_ps(a[0], a[1]), _mm256_max_ps(a[2], a[3])));
}

/* Which of the eight scales is the best for a block with this reciprocal of its maximum. */
INLINE unsigned best_scale(const float *x, float reciprocal) {
    const __m256 scale = _mm256_set1_ps(SM_ACT_FINE * reciprocal), magic = _mm256_set1_ps(MAGIC);
    __m256i y[2];
    UNROLL for (unsigned i = 0; i < 2; i++) { /* low words next to high ones: any order does */
        const __m256 low = _mm256_fmadd_ps(_mm256_loadu_ps(x + 16 * i), scale, magic);
        const __m256 high = _mm256_fmadd_ps(_mm256_loadu_ps(x + 16 * i + 8), scale, magic);
        y[i] = _mm256_blend_epi16(_mm256_castps_si256(low),
                                  _mm256_slli_epi32(_mm256_castps_si256(high), 16), 0xaa);
    }
    const __m256 errors =
        _mm256_mul_ps(_mm256_cvtepi32_ps(block_errors(y)), _mm256_loadu_ps(SM_ACT_WEIGHT));
    const __m256 least = _mm256_set1_ps(-largest(_mm256_xor_ps(errors, _mm256_set1_ps(-0.0f))));
    const int equal = _mm256_movemask_ps(_mm256_cmp_ps(errors, least, _CMP_EQ_OQ));
    return (unsigned)__builtin_ctz((unsigned)equal);
}

INLINE void quantize_block(sm_act_block *out, const float *x, float inverse, float d) {
    const __m256 inv = _mm256_set1_ps(inverse), magic = _mm256_set1_ps(MAGIC);
    __m256i q[4];
    UNROLL for (unsigned i = 0; i < 4; i++) {
        const __m256 shifted = _mm256_fmadd_ps(_mm256_loadu_ps(x + 8 * i), inv, magic);
        q[i] = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(magic));
    }
    const __m256i bytes = pack_bytes(q[0], q[1], q[2], q[3]);
    const int32_t s0 = sum_bytes(_mm256_castsi256_si128(bytes));
    const int32_t s1 = sum_bytes(_mm256_extracti128_si256(bytes, 1));
    store_i256(out->q, bytes);
    out->d = d;
    out->ds = d * (float)(s0 + s1);
    out->ds16[0] = d * (float)s0;
    out->ds16[1] = d * (float)s1;
    out->nsum = -(s0 + s1);
    out->nsum16[0] = -s0;
    out->nsum16[1] = -s1;
    out->nsum128 = 128 * out->nsum;
}

#define QUANTIZE_BLOCKS 16

/* Three loops, because in one the long latency from maximum to codes of a block would
 * leave no room to overlap it with the next. */
void sm_quantize_avx2(sm_act_block *out, const float *x, size_t k) {
    for (size_t left = k / 32; left > 0;) {
        const size_t n = left < QUANTIZE_BLOCKS ? left : QUANTIZE_BLOCKS;
        float max[QUANTIZE_BLOCKS], d[QUANTIZE_BLOCKS], inverse[QUANTIZE_BLOCKS];
        for (size_t b = 0; b < n; b++) {
            max[b] = block_max(x + 32 * b);
        }
        for (size_t b = 0; b < n; b++) {
            const float reciprocal = max[b] < 1e-30f ? 0 : 1 / max[b];
            const unsigned best = best_scale(x + 32 * b, reciprocal);
            d[b] = max[b] < 1e-30f ? 0 : max[b] * SM_ACT_STEP[best];
            inverse[b] = (float)(127 - best) * reciprocal;
        }
        for (size_t b = 0; b < n; b++) {
            quantize_block(out + b, x + 32 * b, inverse[b], d[b]);
            sm_damage_block(out + b, x + 32 * b);
        }
        out += n;
        x += 32 * n;
        left -= n;
    }
}

/* ---- elementwise --------------------------------------------------------------------------- */

void sm_rms_norm_avx2(float *y, const float *x, const float *w, size_t n, float eps) {
    /* squares in f64: no overflow, and no error that grows with n */
    __m256d s[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                    _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 b = _mm256_loadu_ps(x + i + 8);
        s[0] = _mm256_fmadd_pd(low_f64(a), low_f64(a), s[0]);
        s[1] = _mm256_fmadd_pd(high_f64(a), high_f64(a), s[1]);
        s[2] = _mm256_fmadd_pd(low_f64(b), low_f64(b), s[2]);
        s[3] = _mm256_fmadd_pd(high_f64(b), high_f64(b), s[3]);
    }
    double sum = sum_f64(_mm256_add_pd(_mm256_add_pd(s[0], s[1]), _mm256_add_pd(s[2], s[3])));
    for (; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    const float scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    if (w == NULL) {
        sm_scale_avx2(y, x, scale, n);
        return;
    }
    for (i = 0; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++) {
        y[i] = x[i] * scale * w[i];
    }
}

void sm_add_avx2(float *y, const float *a, const float *b, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    }
    for (; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

void sm_scale_avx2(float *y, const float *x, float a, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_set1_ps(a), _mm256_loadu_ps(x + i)));
    }
    for (; i < n; i++) {
        y[i] = a * x[i];
    }
}

INLINE __m256 silu_times(__m256 gate, __m256 up) {
    const __m256 minus = _mm256_xor_ps(gate, _mm256_set1_ps(-0.0f));
    const __m256 below = _mm256_add_ps(_mm256_set1_ps(1), exp_f32(minus));
    return _mm256_mul_ps(_mm256_div_ps(gate, below), up);
}

void sm_silu_mul_avx2(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    const __m256 one = _mm256_set1_ps(1);
    for (; i + 8 <= n; i += 8) {
        const __m256 u = up != NULL ? _mm256_loadu_ps(up + i) : one;
        _mm256_storeu_ps(y + i, silu_times(_mm256_loadu_ps(gate + i), u));
    }
    if (i < n) {
        const __m256i some = first_lanes(n - i);
        const __m256 g = _mm256_maskload_ps(gate + i, some);
        const __m256 u = up != NULL ? _mm256_maskload_ps(up + i, some) : one;
        _mm256_maskstore_ps(y + i, some, silu_times(g, u));
    }
}

INLINE void rope_pair(float *a, float *b, float c, float s) {
    const float old = *a;
    *a = fmaf(old, c, -(*b * s));
    *b = fmaf(old, s, *b * c);
}

static void rope_halves(float *x, const float *cos, const float *sin, size_t half) {
    float *y = x + half;
    size_t i = 0;
    for (; i + 8 <= half; i += 8) {
        const __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(y + i);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
    for (; i < half; i++) {
        rope_pair(x + i, y + i, cos[i], sin[i]);
    }
}

static void rope_neighbours(float *x, const float *cos, const float *sin, size_t half) {
    size_t i = 0;
    for (; i + 4 <= half; i += 4) {
        const __m128 c = _mm_loadu_ps(cos + i), s = _mm_loadu_ps(sin + i);
        const __m256 v = _mm256_loadu_ps(x + 2 * i);
        const __m256 cs = _mm256_set_m128(_mm_unpackhi_ps(c, s), _mm_unpacklo_ps(c, s));
        const __m256 sc = _mm256_permute_ps(cs, 0xb1);
        const __m256 rest = _mm256_mul_ps(_mm256_movehdup_ps(v), sc);
        /* even lanes a*c - b*s, odd lanes a*s + b*c */
        _mm256_storeu_ps(x + 2 * i, _mm256_fmaddsub_ps(_mm256_moveldup_ps(v), cs, rest));
    }
    for (; i < half; i++) {
        rope_pair(x + 2 * i, x + 2 * i + 1, cos[i], sin[i]);
    }
}

void sm_rope_avx2(float *x, const float *cos, const float *sin, size_t n_rot, bool neox) {
    if (neox) {
        rope_halves(x, cos, sin, n_rot / 2);
    } else {
        rope_neighbours(x, cos, sin, n_rot / 2);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

void sm_softmax_block_avx2(float *s, size_t n, float scale, float *m, float *l) {
    const __m256 factor = _mm256_set1_ps(scale), none = _mm256_set1_ps(-INFINITY);
    const size_t end = (n + 15) / 16 * 16;
    __m256 top = none;
    for (size_t i = 0; i < end; i += 8) {
        const __m256 valid = _mm256_castsi256_ps(first_lanes(n > i ? n - i : 0));
        const __m256 v = _mm256_mul_ps(factor, _mm256_loadu_ps(s + i));
        top = _mm256_max_ps(_mm256_blendv_ps(none, v, valid), top);
        _mm256_storeu_ps(s + i, v);
    }
    const float max = largest(top);
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < end; i += 8) {
        const __m256 valid = _mm256_castsi256_ps(first_lanes(n > i ? n - i : 0));
        __m256 e = exp_f32(_mm256_sub_ps(_mm256_loadu_ps(s + i), _mm256_set1_ps(max)));
        e = _mm256_and_ps(e, valid);
        sum = _mm256_add_ps(sum, e);
        _mm256_storeu_ps(s + i, e);
    }
    *m = max;
    *l = sum_f32(sum);
}

void sm_attn_merge_avx2(float *O, float *M, float *L, const float *o, float m, float l, size_t n) {
    const float max = *M > m ? *M : m;
    const __m256 a = exp_f32(_mm256_set1_ps(*M - max));
    const __m256 b = exp_f32(_mm256_set1_ps(m - max));
    const float fa = _mm256_cvtss_f32(a), fb = _mm256_cvtss_f32(b);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 old = _mm256_mul_ps(_mm256_loadu_ps(O + i), a);
        _mm256_storeu_ps(O + i, _mm256_fmadd_ps(_mm256_loadu_ps(o + i), b, old));
    }
    for (; i < n; i++) {
        O[i] = fmaf(o[i], fb, O[i] * fa);
    }
    *L = fmaf(l, fb, *L * fa);
    *M = max;
}

/* ---- logits ---------------------------------------------------------------------------------- */

size_t sm_argmax_avx2(const float *x, size_t n) {
    /* max_ps gives its second operand where the first is a NaN */
    __m256 top[4];
    UNROLL for (unsigned t = 0; t < 4; t++) {
        top[t] = _mm256_set1_ps(-INFINITY);
    }
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        UNROLL for (unsigned t = 0; t < 4; t++) {
            top[t] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8 * t), top[t]);
        }
    }
    float max =
        largest(_mm256_max_ps(_mm256_max_ps(top[0], top[1]), _mm256_max_ps(top[2], top[3])));
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    const __m256 wanted = _mm256_set1_ps(max);
    for (i = 0; i + 8 <= n; i += 8) {
        const __m256 equal = _mm256_cmp_ps(_mm256_loadu_ps(x + i), wanted, _CMP_EQ_OQ);
        const int mask = _mm256_movemask_ps(equal);
        if (mask != 0) {
            return i + (size_t)__builtin_ctz((unsigned)mask);
        }
    }
    for (; i < n; i++) {
        if (x[i] == max) {
            return i;
        }
    }
    return 0; /* all are NaN */
}

double sm_sum_exp_avx2(const float *x, size_t n, float m) {
    const __m256 shift = _mm256_set1_ps(m);
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    for (size_t i = 0; i < n; i += 8) {
        const __m256i some = first_lanes(n - i < 8 ? n - i : 8);
        __m256 e = exp_f32(_mm256_sub_ps(_mm256_maskload_ps(x + i, some), shift));
        e = _mm256_and_ps(e, _mm256_castsi256_ps(some));
        low = _mm256_add_pd(low, low_f64(e));
        high = _mm256_add_pd(high, high_f64(e));
    }
    return sum_f64(_mm256_add_pd(low, high));
}

/* ---- choosing tokens ------------------------------------------------------------------------- */

void sm_block_max_avx2(float *out, const float *x, size_t n, size_t block) {
    for (size_t begin = 0; begin < n; begin += block) {
        const size_t end = n - begin < block ? n : begin + block;
        __m256 top[4];
        UNROLL for (unsigned t = 0; t < 4; t++) {
            top[t] = _mm256_set1_ps(-INFINITY);
        }
        size_t i = begin;
        for (; i + 32 <= end; i += 32) {
            UNROLL for (unsigned t = 0; t < 4; t++) {
                top[t] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8 * t), top[t]);
            }
        }
        float max =
            largest(_mm256_max_ps(_mm256_max_ps(top[0], top[1]), _mm256_max_ps(top[2], top[3])));
        for (; i < end; i++) {
            max = x[i] > max ? x[i] : max;
        }
        out[begin / block] = max;
    }
}

size_t sm_select_avx2(uint32_t *index, const float *x, size_t n, float least) {
    const __m256 limit = _mm256_set1_ps(least);
    size_t m = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 hit = _mm256_cmp_ps(_mm256_loadu_ps(x + i), limit, _CMP_GE_OQ);
        for (unsigned mask = (unsigned)_mm256_movemask_ps(hit); mask != 0; mask &= mask - 1) {
            index[m++] = (uint32_t)(i + (size_t)__builtin_ctz(mask));
        }
    }
    for (; i < n; i++) {
        if (x[i] >= least) {
            index[m++] = (uint32_t)i;
        }
    }
    return m;
}

void sm_mask_avx2(float *y, const float *x, const uint32_t *mask, size_t n) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256 none = _mm256_set1_ps(-INFINITY);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i word = _mm256_set1_epi32((int32_t)(mask[i / 32] >> (i % 32)));
        const __m256i keep = _mm256_cmpeq_epi32(_mm256_and_si256(word, bits), bits);
        const __m256 v = _mm256_loadu_ps(x + i);
        _mm256_storeu_ps(y + i, _mm256_blendv_ps(none, v, _mm256_castsi256_ps(keep)));
    }
    for (; i < n; i++) {
        y[i] = (mask[i / 32] >> (i % 32) & 1) != 0 ? x[i] : -INFINITY;
    }
}

double sm_weigh_avx2(float *e, const float *x, size_t n, float m, float scale) {
    const __m256 shift = _mm256_set1_ps(m), by = _mm256_set1_ps(scale);
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    for (size_t i = 0; i < n; i += 8) {
        const __m256i some = first_lanes(n - i < 8 ? n - i : 8);
        const __m256 v = _mm256_sub_ps(_mm256_maskload_ps(x + i, some), shift);
        __m256 w = exp_f32(_mm256_mul_ps(v, by));
        w = _mm256_and_ps(w, _mm256_castsi256_ps(some));
        _mm256_maskstore_ps(e + i, some, w);
        low = _mm256_add_pd(low, low_f64(w));
        high = _mm256_add_pd(high, high_f64(w));
    }
    return sum_f64(_mm256_add_pd(low, high));
}
