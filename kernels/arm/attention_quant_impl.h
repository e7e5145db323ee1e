/* attention_quant_impl.h - attention over one block of a quantized KV cache, for the levels neon
 * and dotprod: the file that includes it defines LEVEL(name), and DOTPROD as 1 where the level has
 * vdotq_s32, as 0 elsewhere.
 *
 * A vector is 4 tokens (K) or 4 elements (V) of 4 bytes that are summed; with DOTPROD one sum of
 * int32 each, otherwise two that the end adds. Weights of V are split into two bytes with sign
 * for the dot product and stay 16 bits otherwise. Functions are templates over the cache's type.
 */
#ifndef SM_ATTENTION_QUANT_IMPL_H
#define SM_ATTENTION_QUANT_IMPL_H

#include <math.h>
#include <string.h>

#include "simd.h"

#define MOST_QUERIES 4

INLINE int8x16_t four_bytes(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

/* Sum over the four bytes of each lane. */
typedef struct lane_sum {
#if DOTPROD
    int32x4_t all;
#else
    int32x4_t low, high; /* two per lane of the lower and of the upper lanes */
#endif
} lane_sum;

INLINE lane_sum no_sum(void) {
#if DOTPROD
    return (lane_sum){vdupq_n_s32(0)};
#else
    return (lane_sum){vdupq_n_s32(0), vdupq_n_s32(0)};
#endif
}

INLINE int32x4_t total(lane_sum s) {
#if DOTPROD
    return s.all;
#else
    return vpaddq_s32(s.low, s.high);
#endif
}

INLINE lane_sum add_bytes(lane_sum s, int8x16_t a, int8x16_t b) {
#if DOTPROD
    s.all = vdotq_s32(s.all, a, b);
#else
    s.low = vpadalq_s16(s.low, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    s.high = vpadalq_s16(s.high, vmull_high_s8(a, b));
#endif
    return s;
}

/* ---- codes ------------------------------------------------------------------------------ */

/* Vectors of codes that one of bytes holds. */
INLINE int vectors_of(const uint32_t type) {
    return type == SM_KV_Q8_0 ? 1 : 2;
}

/* 16 in each byte whose bit of the 16 is not set. */
INLINE int8x16_t missing_sixteens(const uint8_t *bits) {
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t spread = vcombine_u8(vdup_n_u8(bits[0]), vdup_n_u8(bits[1]));
    const uint8x16_t set = vtstq_u8(spread, vld1q_u8(bit));
    return vreinterpretq_s8_u8(vbicq_u8(vdupq_n_u8(16), set));
}

/* Vector `part` of codes, from `bytes`. bits: the 16 of this vector, read for q5_0. */
INLINE int8x16_t codes_of(const uint32_t type, const int part, uint8x16_t bytes,
                          const uint8_t *bits) {
    if (type == SM_KV_Q8_0) {
        return vreinterpretq_s8_u8(bytes);
    }
    const uint8x16_t numbers = part ? vshrq_n_u8(bytes, 4) : vandq_u8(bytes, vdupq_n_u8(15));
    switch (type) {
    case SM_KV_Q4_0:
        return vsubq_s8(vreinterpretq_s8_u8(numbers), vdupq_n_s8(8));
    case SM_KV_Q5_0:
        return vsubq_s8(vreinterpretq_s8_u8(numbers), missing_sixteens(bits));
    default:
        return vqtbl1q_s8(vld1q_s8(SM_IQ4_VALUES), numbers);
    }
}

/* ---- scores ---------------------------------------------------------------------------- */

/* Tokens [4 * four, 4 * four + 4) of a tile times nq queries. */
INLINE void scores_tile(const uint32_t type, const int nq, float *s, size_t lds,
                        const sm_act_block *q, size_t ldq, const uint8_t *k, size_t four,
                        size_t head_dim) {
    const uint8_t *scales = k + sm_kv_scales_at(type, head_dim) + 8 * four;
    const uint8_t *bits = k + 8 * head_dim + 2 * four;
    const int parts = vectors_of(type);
    k += 16 * four;
    float32x4_t sum[MOST_QUERIES];
    UNROLL
    for (int i = 0; i < nq; i++) {
        sum[i] = vdupq_n_f32(0);
    }
    for (size_t left = head_dim; left > 0; q++, scales += 32) {
        const size_t n = left < 32 ? left : 32;
        lane_sum dot[MOST_QUERIES];
        UNROLL
        for (int i = 0; i < nq; i++) {
            dot[i] = no_sum();
        }
        for (size_t d = 0; d < n; d += 4 * (size_t)parts, k += 64) {
            const uint8x16_t bytes = vld1q_u8(k);
            UNROLL
            for (int part = 0; part < parts; part++, bits += 8) {
                const int8x16_t codes = codes_of(type, part, bytes, bits);
                UNROLL
                for (int i = 0; i < nq; i++) {
                    const int8_t *x = q[(size_t)i * ldq].q + d + 4 * part;
                    dot[i] = add_bytes(dot[i], codes, four_bytes(x));
                }
            }
        }
        const float32x4_t scale = load_f16(scales);
        UNROLL
        for (int i = 0; i < nq; i++) {
            const float32x4_t both = vmulq_n_f32(scale, q[(size_t)i * ldq].d);
            sum[i] = vfmaq_f32(sum[i], vcvtq_f32_s32(total(dot[i])), both);
        }
        left -= n;
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
        vst1q_f32(s + (size_t)i * lds, sum[i]);
    }
}

INLINE void scores(const uint32_t type, float *s, size_t lds, const void *queries, size_t ldq,
                   size_t nq, const void *k, size_t n_tiles, size_t head_dim) {
    for (size_t t = 0; t < 4 * n_tiles; t++, s += 4) {
        const uint8_t *tile = (const uint8_t *)k + t / 4 * sm_kv_tile_bytes(type, head_dim);
        const sm_act_block *q = queries;
        size_t i = 0;
        for (; nq - i >= MOST_QUERIES; i += MOST_QUERIES) {
            scores_tile(type, MOST_QUERIES, s + i * lds, lds, q + i * ldq, ldq, tile, t % 4,
                        head_dim);
        }
        for (; i < nq; i++) {
            scores_tile(type, 1, s + i * lds, lds, q + i * ldq, ldq, tile, t % 4, head_dim);
        }
    }
}

/* ---- values ---------------------------------------------------------------------------- */

/* The weights of one query for one block of elements, rounded. */
typedef struct weights {
#if DOTPROD
    int8_t low[SM_KV_BLOCK], high[SM_KV_BLOCK]; /* 256 * high + low */
#else
    int16_t codes[SM_KV_BLOCK];
#endif
    float unit; /* what 1 is worth */
} weights;

INLINE void store_weights(weights *out, size_t t, int32x4_t a, int32x4_t b) {
    const int16x8_t codes = vcombine_s16(vmovn_s32(a), vmovn_s32(b));
#if DOTPROD
    vst1_s8(out->low + t, vmovn_s16(codes)); /* the low byte, read with sign ... */
    vst1_s8(out->high + t, vshrn_n_s16(vaddq_s16(codes, vdupq_n_s16(128)), 8)); /* ... and this */
#else
    vst1q_s16(out->codes + t, codes);
#endif
}

INLINE void round_weights(const uint32_t type, weights *out, const float *p, const uint8_t *v,
                          size_t b, size_t n_tokens, size_t head_dim) {
    float w[SM_KV_BLOCK];
    float32x4_t most = vdupq_n_f32(0), damage = most; /* becomes NaN */
    v += sm_kv_scales_at(type, head_dim) + 32 * b;
    for (size_t t = 0; t < n_tokens; t += 16, v += sm_kv_tile_bytes(type, head_dim)) {
        float rest[16] = {0};
        const float *x = p + t;
        if (n_tokens - t < 16) {
            memcpy(rest, x, (n_tokens - t) * sizeof *x);
            x = rest;
        }
        UNROLL
        for (size_t i = 0; i < 16; i += 4) {
            const float32x4_t product = vmulq_f32(vld1q_f32(x + i), load_f16(v + 2 * i));
            most = vmaxnmq_f32(most, vabsq_f32(product));
            damage = vaddq_f32(damage, vsubq_f32(product, product));
            vst1q_f32(w + t + i, product);
        }
    }
    const float top = vmaxvq_f32(most);
    out->unit = vaddvq_f32(damage) + (top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX);
    const float inverse = top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top;
    for (size_t t = 0; t < (n_tokens + 15) / 16 * 16; t += 8) {
        store_weights(out, t, vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(w + t), inverse)),
                      vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(w + t + 4), inverse)));
    }
}

/* Four elements from d on times nq queries. v: the first tile. */
INLINE void values_tile(const uint32_t type, const int nq, float *o, size_t ldo, const weights *p,
                        const uint8_t *v, size_t d, size_t n_tokens, size_t head_dim) {
#if DOTPROD
    int32x4_t low[MOST_QUERIES], high[MOST_QUERIES];
    UNROLL
    for (int i = 0; i < nq; i++) {
        low[i] = high[i] = vdupq_n_s32(0);
    }
#else
    int32x4_t sum[MOST_QUERIES][4]; /* per element one sum for each of four tokens */
    UNROLL
    for (int i = 0; i < nq; i++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            sum[i][e] = vdupq_n_s32(0);
        }
    }
#endif
    const size_t quad = 4 * head_dim, tile_bytes = sm_kv_tile_bytes(type, head_dim);
    const int parts = vectors_of(type);
    const uint8_t *bits = v + 8 * head_dim + d / 2;
    v += 4 * d;
    for (size_t t = 0; t < n_tokens; t += 4 * (size_t)parts, v += quad) {
        if (t % 16 == 0 && t > 0) { /* after four loads, or two */
            v += tile_bytes - (size_t)(4 / parts) * quad;
            bits += tile_bytes - 2 * head_dim;
        }
        const uint8x16_t bytes = vld1q_u8(v);
        UNROLL
        for (int part = 0; part < parts; part++, bits += head_dim / 2) {
            const int8x16_t codes = codes_of(type, part, bytes, bits);
            const size_t at = t + 4 * (size_t)part;
#if DOTPROD
            UNROLL
            for (int i = 0; i < nq; i++) {
                low[i] = vdotq_s32(low[i], codes, four_bytes(p[i].low + at));
                high[i] = vdotq_s32(high[i], codes, four_bytes(p[i].high + at));
            }
#else
            const int16x8_t first = vmovl_s8(vget_low_s8(codes)), second = vmovl_high_s8(codes);
            UNROLL
            for (int i = 0; i < nq; i++) {
                const int16x4_t w = vld1_s16(p[i].codes + at);
                sum[i][0] = vmlal_s16(sum[i][0], vget_low_s16(first), w);
                sum[i][1] = vmlal_s16(sum[i][1], vget_high_s16(first), w);
                sum[i][2] = vmlal_s16(sum[i][2], vget_low_s16(second), w);
                sum[i][3] = vmlal_s16(sum[i][3], vget_high_s16(second), w);
            }
#endif
        }
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
#if DOTPROD
        const int32x4_t all = vaddq_s32(vshlq_n_s32(high[i], 8), low[i]);
#else
        const int32x4_t all =
            vpaddq_s32(vpaddq_s32(sum[i][0], sum[i][1]), vpaddq_s32(sum[i][2], sum[i][3]));
#endif
        vst1q_f32(o + (size_t)i * ldo, vmulq_n_f32(vcvtq_f32_s32(all), p[i].unit));
    }
}

INLINE void values(const uint32_t type, float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                   const void *v, size_t n_tokens, size_t head_dim) {
    weights rounded[MOST_QUERIES];
    for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
        const size_t end = 32 * b + 32 < head_dim ? 32 * b + 32 : head_dim;
        for (size_t i = 0; i < nq; i += MOST_QUERIES) {
            const size_t n = nq - i < MOST_QUERIES ? nq - i : MOST_QUERIES;
            for (size_t j = 0; j < n; j++) {
                round_weights(type, &rounded[j], p + (i + j) * ldp, v, b, n_tokens, head_dim);
            }
            for (size_t d = 32 * b; d < end; d += 4) {
                float *to = o + i * ldo + d;
                if (n == MOST_QUERIES) {
                    values_tile(type, MOST_QUERIES, to, ldo, rounded, v, d, n_tokens, head_dim);
                } else {
                    for (size_t j = 0; j < n; j++) {
                        values_tile(type, 1, to + j * ldo, ldo, rounded + j, v, d, n_tokens,
                                    head_dim);
                    }
                }
            }
        }
    }
}

#define ATTENTION(TYPE, name)                                                                      \
    void LEVEL(sm_attn_scores_##name)(float *s, size_t lds, const void *q, size_t ldq, size_t nq,  \
                                      const void *k, size_t n_tiles, size_t head_dim) {            \
        scores(TYPE, s, lds, q, ldq, nq, k, n_tiles, head_dim);                                    \
    }                                                                                              \
    void LEVEL(sm_attn_values_##name)(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                      const void *v, size_t n_tokens, size_t head_dim) {           \
        values(TYPE, o, ldo, p, ldp, nq, v, n_tokens, head_dim);                                   \
    }

ATTENTION(SM_KV_Q8_0, q8_0)
ATTENTION(SM_KV_Q4_0, q4_0)
ATTENTION(SM_KV_Q5_0, q5_0)
ATTENTION(SM_KV_IQ4_NL, iq4_nl)

#endif
