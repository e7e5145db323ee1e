/* neon_rows.c - operations on vectors. */
#include <math.h>

#include "damage.h"
#include "simd.h"

/* The first n < 4 elements, then zeros. */
INLINE float32x4_t load_part(const float *x, size_t n) {
    float part[4] = {0, 0, 0, 0};
    memcpy(part, x, n * sizeof(float));
    return vld1q_f32(part);
}
INLINE void store_part(float *y, float32x4_t v, size_t n) {
    float part[4];
    vst1q_f32(part, v);
    memcpy(y, part, n * sizeof(float));
}

/* ---- quantize ------------------------------------------------------------------------------ */

/* 1.5 * 2^23: what is added to it loses its fraction, and the integer is in the low bits. */
#define MAGIC 12582912.0f

INLINE float32x4_t shifted(float32x4_t x, float inverse) {
    return vfmaq_n_f32(vdupq_n_f32(MAGIC), x, inverse);
}

/* Eight values to bytes. */
INLINE int8x8_t round_s8(float32x4_t a, float32x4_t b, float inverse) {
    int32x4_t low = vreinterpretq_s32_f32(shifted(a, inverse));
    int32x4_t high = vreinterpretq_s32_f32(shifted(b, inverse));
    return vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high)));
}

/* Eight values in fine steps (sm_act_block). */
INLINE int16x8_t fine_steps(float32x4_t a, float32x4_t b, float scale) {
    return vuzp1q_s16(vreinterpretq_s16_f32(shifted(a, scale)),
                      vreinterpretq_s16_f32(shifted(b, scale)));
}

/* Sixteen squares of what z has beyond multiples of 256, two and two. */
INLINE uint16x8_t squares(int16x8_t a, int16x8_t b) {
    const int8x8_t low = vmovn_s16(a), high = vmovn_s16(b);
    return vreinterpretq_u16_s16(vmlal_s8(vmull_s8(low, low), high, high));
}

/* The sum of squares of a block in fine steps of scale j. */
INLINE uint32_t rounding_error(const int16x8_t y[4], size_t j) {
    int16x8_t z[4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        z[i] = j == 0 ? y[i] : vqrdmulhq_n_s16(y[i], SM_ACT_RATIO[j][0]);
    }
    return vaddvq_u32(vpadalq_u16(vpaddlq_u16(squares(z[0], z[1])), squares(z[2], z[3])));
}

INLINE void quantize_block(sm_act_block *out, const float *x) {
    float32x4_t v[8];
    float32x4_t max = vdupq_n_f32(0);
    UNROLL
    for (size_t i = 0; i < 8; i++) {
        v[i] = vld1q_f32(x + 4 * i);
        max = vmaxq_f32(max, vabsq_f32(v[i]));
    }
    max = vdupq_n_f32(vmaxvq_f32(max));
    if (vgetq_lane_f32(max, 0) < 1e-30f) {
        memset(out, 0, sizeof *out);
        return;
    }
    const float reciprocal = 1 / vgetq_lane_f32(max, 0);
    int16x8_t y[4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        y[i] = fine_steps(v[2 * i], v[2 * i + 1], SM_ACT_FINE * reciprocal);
    }
    size_t best = 0;
    float least = 0;
    UNROLL
    for (size_t j = 0; j < SM_ACT_SCALES; j++) {
        const float error = (float)rounding_error(y, j) * SM_ACT_WEIGHT[j];
        best = j == 0 || error < least ? j : best;
        least = j == 0 || error < least ? error : least;
    }
    const float inv = (float)(127 - (int)best) * reciprocal;
    int8x16_t q0 = vcombine_s8(round_s8(v[0], v[1], inv), round_s8(v[2], v[3], inv));
    int8x16_t q1 = vcombine_s8(round_s8(v[4], v[5], inv), round_s8(v[6], v[7], inv));
    int32_t sum[2] = {vaddlvq_s8(q0), vaddlvq_s8(q1)};
    vst1q_s8(out->q, q0);
    vst1q_s8(out->q + 16, q1);
    out->d = vgetq_lane_f32(max, 0) * SM_ACT_STEP[best];
    out->ds = out->d * (float)(sum[0] + sum[1]);
    out->nsum = -(sum[0] + sum[1]);
    for (size_t h = 0; h < 2; h++) {
        out->ds16[h] = out->d * (float)sum[h];
        out->nsum16[h] = -sum[h];
    }
    out->nsum128 = 128 * out->nsum;
}

void sm_quantize_neon(sm_act_block *out, const float *x, size_t k) {
    for (size_t i = 0; i < k; i += 32) {
        quantize_block(out, x + i);
        sm_damage_block(out++, x + i);
    }
}

/* ---- normalisation, sums -------------------------------------------------------------------- */

INLINE float64x2_t add_square(float64x2_t sum, float64x2_t v) {
    return vfmaq_f64(sum, v, v);
}

void sm_rms_norm_neon(float *y, const float *x, const float *w, size_t n, float eps) {
    /* in f64: no square overflows, and the order hardly matters */
    float64x2_t s0 = vdupq_n_f64(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + 4);
        s0 = add_square(s0, vcvt_f64_f32(vget_low_f32(a)));
        s1 = add_square(s1, vcvt_high_f64_f32(a));
        s2 = add_square(s2, vcvt_f64_f32(vget_low_f32(b)));
        s3 = add_square(s3, vcvt_high_f64_f32(b));
    }
    double sum = vaddvq_f64(vaddq_f64(vaddq_f64(s0, s1), vaddq_f64(s2, s3)));
    for (; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    float scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    if (w == NULL) {
        sm_scale_neon(y, x, scale, n);
        return;
    }
    for (i = 0; n - i >= 4; i += 4) {
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), scale), vld1q_f32(w + i)));
    }
    for (; i < n; i++) {
        y[i] = x[i] * scale * w[i];
    }
}

void sm_scale_neon(float *y, const float *x, float a, size_t n) {
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        vst1q_f32(y + i, vmulq_n_f32(vld1q_f32(x + i), a));
    }
    for (; i < n; i++) {
        y[i] = a * x[i];
    }
}

void sm_add_neon(float *y, const float *a, const float *b, size_t n) {
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(a + i), vld1q_f32(b + i)));
    }
    for (; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

/* ---- activation ------------------------------------------------------------------------------ */

INLINE float32x4_t silu(float32x4_t x) {
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1), exp_f32(vnegq_f32(x))));
}

void sm_silu_mul_neon(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    const float32x4_t one = vdupq_n_f32(1);
    for (; n - i >= 4; i += 4) {
        const float32x4_t u = up != NULL ? vld1q_f32(up + i) : one;
        vst1q_f32(y + i, vmulq_f32(silu(vld1q_f32(gate + i)), u));
    }
    if (i < n) {
        const float32x4_t u = up != NULL ? load_part(up + i, n - i) : one;
        float32x4_t v = vmulq_f32(silu(load_part(gate + i, n - i)), u);
        store_part(y + i, v, n - i);
    }
}

/* ---- rope ------------------------------------------------------------------------------------ */

INLINE void rotate(float32x4_t *a, float32x4_t *b, float32x4_t cos, float32x4_t sin) {
    float32x4_t old = *a;
    *a = vfmaq_f32(vnegq_f32(vmulq_f32(*b, sin)), old, cos);
    *b = vfmaq_f32(vmulq_f32(*b, cos), old, sin);
}

void sm_rope_neon(float *x, const float *cos, const float *sin, size_t n_rot, bool neox) {
    size_t n = n_rot / 2, i = 0;
    for (; n - i >= 4; i += 4) {
        float32x4_t c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
        if (neox) {
            float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + n + i);
            rotate(&a, &b, c, s);
            vst1q_f32(x + i, a);
            vst1q_f32(x + n + i, b);
        } else {
            float32x4x2_t pairs = vld2q_f32(x + 2 * i);
            rotate(&pairs.val[0], &pairs.val[1], c, s);
            vst2q_f32(x + 2 * i, pairs);
        }
    }
    for (; i < n; i++) {
        float *a = neox ? &x[i] : &x[2 * i];
        float *b = neox ? &x[n + i] : &x[2 * i + 1];
        float old = *a;
        *a = fmaf(old, cos[i], -(*b * sin[i]));
        *b = fmaf(old, sin[i], *b * cos[i]);
    }
}

/* ---- softmax --------------------------------------------------------------------------------- */

void sm_softmax_block_neon(float *s, size_t n, float scale, float *m, float *l) {
    float32x4_t max = vdupq_n_f32(-INFINITY);
    size_t whole = n / 4 * 4, end = (n + 15) / 16 * 16;
    for (size_t i = 0; i < whole; i += 4) {
        float32x4_t v = vmulq_n_f32(vld1q_f32(s + i), scale);
        max = vmaxq_f32(max, v);
        vst1q_f32(s + i, v);
    }
    float top = vmaxvq_f32(max);
    for (size_t i = whole; i < n; i++) {
        s[i] *= scale;
        top = s[i] > top ? s[i] : top;
    }
    for (size_t i = n; i < end; i++) {
        s[i] = -INFINITY; /* exp makes it 0 */
    }
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t i = 0; i < end; i += 16) {
        UNROLL
        for (size_t j = 0; j < 4; j++) {
            float32x4_t v = exp_f32(vsubq_f32(vld1q_f32(s + i + 4 * j), vdupq_n_f32(top)));
            sum[j] = vaddq_f32(sum[j], v);
            vst1q_f32(s + i + 4 * j, v);
        }
    }
    *m = top;
    *l = vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

void sm_attn_merge_neon(float *O, float *M, float *L, const float *o, float m, float l, size_t n) {
    float max = *M > m ? *M : m;
    float a = vgetq_lane_f32(exp_f32(vdupq_n_f32(*M - max)), 0);
    float b = vgetq_lane_f32(exp_f32(vdupq_n_f32(m - max)), 0);
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        float32x4_t old = vmulq_n_f32(vld1q_f32(O + i), a);
        vst1q_f32(O + i, vfmaq_n_f32(old, vld1q_f32(o + i), b));
    }
    for (; i < n; i++) {
        O[i] = fmaf(o[i], b, O[i] * a);
    }
    *L = fmaf(l, b, *L * a);
    *M = max;
}

double sm_sum_exp_neon(const float *x, size_t n, float m) {
    float64x2_t s0 = vdupq_n_f64(0), s1 = s0;
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        float32x4_t e = exp_f32(vsubq_f32(vld1q_f32(x + i), vdupq_n_f32(m)));
        s0 = vaddq_f64(s0, vcvt_f64_f32(vget_low_f32(e)));
        s1 = vaddq_f64(s1, vcvt_high_f64_f32(e));
    }
    double sum = vaddvq_f64(vaddq_f64(s0, s1));
    for (; i < n; i++) {
        sum += (double)vgetq_lane_f32(exp_f32(vdupq_n_f32(x[i] - m)), 0);
    }
    return sum;
}

/* ---- argmax ---------------------------------------------------------------------------------- */

size_t sm_argmax_neon(const float *x, size_t n) {
    float32x4_t most = vdupq_n_f32(-INFINITY);
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        most = vbslq_f32(vcgtq_f32(v, most), v, most); /* false for NaN */
    }
    float max = vmaxvq_f32(most);
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    for (i = 0; n - i >= 4; i += 4) {
        if (vmaxvq_u32(vceqq_f32(vld1q_f32(x + i), vdupq_n_f32(max))) != 0) {
            break;
        }
    }
    for (; i < n; i++) {
        if (x[i] == max) {
            return i;
        }
    }
    return 0; /* all NaN */
}

/* ---- choosing tokens ------------------------------------------------------------------------- */

void sm_block_max_neon(float *out, const float *x, size_t n, size_t block) {
    for (size_t begin = 0; begin < n; begin += block) {
        const size_t end = n - begin < block ? n : begin + block;
        float32x4_t most = vdupq_n_f32(-INFINITY);
        size_t i = begin;
        for (; i + 4 <= end; i += 4) {
            most = vmaxq_f32(most, vld1q_f32(x + i));
        }
        float max = vmaxvq_f32(most);
        for (; i < end; i++) {
            max = x[i] > max ? x[i] : max;
        }
        out[begin / block] = max;
    }
}

size_t sm_select_neon(uint32_t *index, const float *x, size_t n, float least) {
    const float32x4_t limit = vdupq_n_f32(least);
    size_t m = 0, i = 0;
    for (; i + 8 <= n; i += 8) { /* few are selected */
        const uint32x4_t low = vcgeq_f32(vld1q_f32(x + i), limit);
        const uint32x4_t high = vcgeq_f32(vld1q_f32(x + i + 4), limit);
        if (vmaxvq_u32(vorrq_u32(low, high)) == 0) {
            continue;
        }
        for (size_t j = i; j < i + 8; j++) {
            if (x[j] >= least) {
                index[m++] = (uint32_t)j;
            }
        }
    }
    for (; i < n; i++) {
        if (x[i] >= least) {
            index[m++] = (uint32_t)i;
        }
    }
    return m;
}

void sm_mask_neon(float *y, const float *x, const uint32_t *mask, size_t n) {
    static const uint32_t lanes[4] = {1, 2, 4, 8};
    const uint32x4_t bits = vld1q_u32(lanes);
    const float32x4_t none = vdupq_n_f32(-INFINITY);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const uint32x4_t keep = vtstq_u32(vdupq_n_u32(mask[i / 32] >> (i % 32)), bits);
        vst1q_f32(y + i, vbslq_f32(keep, vld1q_f32(x + i), none));
    }
    for (; i < n; i++) {
        y[i] = (mask[i / 32] >> (i % 32) & 1) != 0 ? x[i] : -INFINITY;
    }
}

double sm_weigh_neon(float *e, const float *x, size_t n, float m, float scale) {
    float64x2_t s0 = vdupq_n_f64(0), s1 = s0;
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        const float32x4_t v = vsubq_f32(vld1q_f32(x + i), vdupq_n_f32(m));
        const float32x4_t w = exp_f32(vmulq_n_f32(v, scale));
        vst1q_f32(e + i, w);
        s0 = vaddq_f64(s0, vcvt_f64_f32(vget_low_f32(w)));
        s1 = vaddq_f64(s1, vcvt_high_f64_f32(w));
    }
    double sum = vaddvq_f64(vaddq_f64(s0, s1));
    for (; i < n; i++) {
        e[i] = vgetq_lane_f32(exp_f32(vdupq_n_f32((x[i] - m) * scale)), 0);
        sum += (double)e[i];
    }
    return sum;
}
