/* avx2_attention_quant.c - attention over one block of a quantized KV cache on AVX2.
 *
 * Scores multiply |key| by the query with the key's sign, bytes by bytes: |code| <= 127, so
 * that pairs fit 16 bits. Values widen codes and weights to 16 bits. Functions are templates
 * over the cache's type.
 */
#include <math.h>

#include "avx2.h"

#define SCORE_QUERIES 2 /* times two vectors of sums, in int32 and f32 */
#define VALUE_QUERIES 6
#define UNPACKED_QUERIES 3 /* at once, where unpacking takes registers, too */

/* Vectors of codes that one of bytes holds. */
INLINE int vectors_of(const uint32_t type) {
    return type == SM_KV_Q8_0 ? 1 : 2;
}

INLINE __m256i lookup(const int8_t *table, __m256i numbers) {
    const __m128i all = _mm_loadu_si128((const __m128i *)table);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(all), numbers);
}

/* 16 in each byte whose bit of the 32 is not set. */
INLINE __m256i missing_sixteens(const uint8_t *bits) {
    const __m256i of_byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2,
                                             2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    const __m256i spread = _mm256_shuffle_epi8(broadcast_i32(bits), of_byte);
    const __m256i missing =
        _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), _mm256_setzero_si256());
    return _mm256_and_si256(missing, _mm256_set1_epi8(16));
}

/* Vector `part` of codes, from `bytes`. bits: the 32 of this vector, read for q5_0. */
INLINE __m256i codes_of(const uint32_t type, const int part, __m256i bytes, const uint8_t *bits) {
    static const int8_t four[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
    if (type == SM_KV_Q8_0) {
        return bytes;
    }
    const __m256i numbers =
        _mm256_and_si256(part ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
    switch (type) {
    case SM_KV_Q4_0:
        return lookup(four, numbers);
    case SM_KV_Q5_0:
        return _mm256_sub_epi8(numbers, missing_sixteens(bits));
    default:
        return lookup(SM_IQ4_VALUES, numbers);
    }
}

/* ---- scores ---------------------------------------------------------------------------- */

/* One tile of 16 tokens times nq queries. */
INLINE void scores_tile(const uint32_t type, const int nq, float *s, size_t lds,
                        const sm_act_block *q, size_t ldq, const uint8_t *k, size_t head_dim) {
    const __m256i ones = _mm256_set1_epi16(1);
    const uint8_t *scales = k + sm_kv_scales_at(type, head_dim), *bits = k + 8 * head_dim;
    const int parts = vectors_of(type);
    __m256 sum[SCORE_QUERIES][2];
    UNROLL
    for (int i = 0; i < nq; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    }
    for (size_t left = head_dim; left > 0; q++, scales += 32) {
        const size_t n = left < 32 ? left : 32;
        __m256i dot[SCORE_QUERIES][2];
        UNROLL
        for (int i = 0; i < nq; i++) {
            dot[i][0] = dot[i][1] = _mm256_setzero_si256();
        }
        for (size_t d = 0; d < n; d += 4 * (size_t)parts, k += 64, bits += 8 * parts) {
            UNROLL
            for (int half = 0; half < 2; half++) {
                const __m256i bytes = load_i256(k + 32 * half);
                UNROLL
                for (int part = 0; part < parts; part++) {
                    const __m256i codes = codes_of(type, part, bytes, bits + 8 * part + 4 * half);
                    const __m256i magnitude = _mm256_abs_epi8(codes);
                    UNROLL
                    for (int i = 0; i < nq; i++) {
                        const int8_t *four = q[(size_t)i * ldq].q + d + 4 * part;
                        const __m256i x = _mm256_sign_epi8(broadcast_i32(four), codes);
                        const __m256i pairs = _mm256_maddubs_epi16(magnitude, x);
                        dot[i][half] =
                            _mm256_add_epi32(dot[i][half], _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
        }
        prefetch_lines(k, AHEAD, 64 * 8);
        UNROLL
        for (int half = 0; half < 2; half++) {
            const __m256 scale = load_f16(scales + 16 * half);
            UNROLL
            for (int i = 0; i < nq; i++) {
                const __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(q[(size_t)i * ldq].d));
                sum[i][half] =
                    _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[i][half]), both, sum[i][half]);
            }
        }
        left -= n;
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
        _mm256_storeu_ps(s + (size_t)i * lds, sum[i][0]);
        _mm256_storeu_ps(s + (size_t)i * lds + 8, sum[i][1]);
    }
}

INLINE void scores(const uint32_t type, float *s, size_t lds, const void *queries, size_t ldq,
                   size_t nq, const void *k, size_t n_tiles, size_t head_dim) {
    const uint8_t *tile = k;
    for (size_t t = 0; t < n_tiles; t++, s += 16) {
        const sm_act_block *q = queries;
        size_t i = 0;
        for (; type != SM_KV_Q5_0 && nq - i >= 2; i += 2) { /* whose bits take registers */
            scores_tile(type, 2, s + i * lds, lds, q + i * ldq, ldq, tile, head_dim);
        }
        for (; i < nq; i++) {
            scores_tile(type, 1, s + i * lds, lds, q + i * ldq, ldq, tile, head_dim);
        }
        tile += sm_kv_tile_bytes(type, head_dim);
    }
}

/* ---- values ---------------------------------------------------------------------------- */

/* The weights of one query for one block of elements, rounded. */
typedef struct weights {
    int16_t codes[SM_KV_BLOCK];
    float unit; /* what 1 is worth */
} weights;

INLINE float max8(__m256 x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* w: the weights of 16 * n tokens times their scales. */
INLINE void round_weights(weights *out, const float *w, size_t n) {
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 most = _mm256_setzero_ps(), damage = most;
    for (size_t t = 0; t < 16 * n; t += 8) {
        const __m256 x = _mm256_loadu_ps(w + t);
        most = _mm256_max_ps(most, _mm256_and_ps(x, magnitude));
        damage = _mm256_or_ps(damage, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    }
    const float top = max8(most), seen = _mm256_movemask_ps(damage) ? NAN : 0;
    out->unit = seen + (top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX);
    const __m256 inverse = _mm256_set1_ps(top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top);
    for (size_t t = 0; t < 16 * n; t += 16) {
        const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + t), inverse));
        const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + t + 8), inverse));
        store_i256(out->codes + t, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));
    }
}

/* w = p * scale of block b's tokens, zeros up to a multiple of 16. */
INLINE void scaled(const uint32_t type, float *w, const float *p, const uint8_t *v, size_t b,
                   size_t n_tokens, size_t head_dim) {
    v += sm_kv_scales_at(type, head_dim) + 32 * b;
    for (size_t t = 0; t < n_tokens; t += 16) {
        float rest[16] = {0};
        const float *x = p + t;
        if (n_tokens - t < 16) {
            memcpy(rest, x, (n_tokens - t) * sizeof *x);
            x = rest;
        }
        _mm256_storeu_ps(w + t, _mm256_mul_ps(_mm256_loadu_ps(x), load_f16(v)));
        _mm256_storeu_ps(w + t + 8, _mm256_mul_ps(_mm256_loadu_ps(x + 8), load_f16(v + 16)));
        v += sm_kv_tile_bytes(type, head_dim);
    }
}

/* 8 elements from d on times nq queries. v: the first tile. */
INLINE void values_tile(const uint32_t type, const int nq, float *o, size_t ldo, const weights *p,
                        const uint8_t *v, size_t d, size_t n_tokens, size_t head_dim) {
    __m256i sum[VALUE_QUERIES][2]; /* elements 0..3 and 4..7, two sums each */
    UNROLL
    for (int i = 0; i < nq; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    }
    const size_t quad = 4 * head_dim, tile_bytes = sm_kv_tile_bytes(type, head_dim);
    const int parts = vectors_of(type);
    const uint8_t *bits = v + 8 * head_dim + d / 2;
    v += 4 * d;
    for (size_t t = 0; t < n_tokens; t += 4 * (size_t)parts) {
        if (t % 16 == 0 && t > 0) { /* after four loads, or two */
            v += tile_bytes - (size_t)(4 / parts) * quad;
            bits += tile_bytes - 2 * head_dim;
        }
        const __m256i bytes = type == SM_KV_Q8_0 ? _mm256_setzero_si256() : load_i256(v);
        UNROLL
        for (int part = 0; part < parts; part++, bits += head_dim / 2) {
            __m256i first, second;
            if (type == SM_KV_Q8_0) {
                first = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)v));
                second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(v + 16)));
            } else {
                const __m256i codes = codes_of(type, part, bytes, bits);
                first = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(codes));
                second = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(codes, 1));
            }
            UNROLL
            for (int i = 0; i < nq; i++) {
                int64_t four;
                memcpy(&four, p[i].codes + t + 4 * part, sizeof four);
                const __m256i w = _mm256_set1_epi64x(four);
                sum[i][0] = same(_mm256_add_epi32(sum[i][0], _mm256_madd_epi16(first, w)));
                sum[i][1] = same(_mm256_add_epi32(sum[i][1], _mm256_madd_epi16(second, w)));
            }
        }
        v += quad;
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
        const __m256i pairs = _mm256_hadd_epi32(sum[i][0], sum[i][1]);
        const __m256 y = _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(pairs, 0xd8));
        _mm256_storeu_ps(o + (size_t)i * ldo, _mm256_mul_ps(y, _mm256_set1_ps(p[i].unit)));
    }
}

/* `width` elements of one block, from d0 on, times nq queries. */
INLINE void values_block(const uint32_t type, const int nq, float *o, size_t ldo, const weights *p,
                         const uint8_t *v, size_t d0, size_t n_tokens, size_t head_dim,
                         size_t width) {
    for (size_t d = 0; d < width; d += 8) {
        values_tile(type, nq, o + d, ldo, p, v, d0 + d, n_tokens, head_dim);
    }
}

/* The same of q8_0 for four queries or more. */
INLINE void values_many(size_t nq, float *o, size_t ldo, const weights *p, const uint8_t *v,
                        size_t d, size_t n_tokens, size_t head_dim, size_t width) {
    switch (nq) {
    case 4:
        values_block(SM_KV_Q8_0, 4, o, ldo, p, v, d, n_tokens, head_dim, width);
        break;
    case 5:
        values_block(SM_KV_Q8_0, 5, o, ldo, p, v, d, n_tokens, head_dim, width);
        break;
    default:
        values_block(SM_KV_Q8_0, VALUE_QUERIES, o, ldo, p, v, d, n_tokens, head_dim, width);
        break;
    }
}

INLINE void values(const uint32_t type, float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                   const void *v, size_t n_tokens, size_t head_dim) {
    const size_t most = type == SM_KV_Q8_0 ? VALUE_QUERIES : UNPACKED_QUERIES;
    weights rounded[VALUE_QUERIES];
    /* each slice of elements below reads a part of every line */
    prefetch_lines(v, 0, (n_tokens + 15) / 16 * sm_kv_tile_bytes(type, head_dim));
    for (size_t d = 0; d < head_dim; d += 32) {
        const size_t width = head_dim - d < 32 ? head_dim - d : 32;
        for (size_t i = 0; i < nq; i += most) {
            const size_t n = nq - i < most ? nq - i : most;
            float *to = o + i * ldo + d;
            for (size_t j = 0; j < n; j++) {
                float w[SM_KV_BLOCK];
                scaled(type, w, p + (i + j) * ldp, v, d / 32, n_tokens, head_dim);
                round_weights(&rounded[j], w, (n_tokens + 15) / 16);
            }
            switch (n) {
            case 1:
                values_block(type, 1, to, ldo, rounded, v, d, n_tokens, head_dim, width);
                break;
            case 2:
                values_block(type, 2, to, ldo, rounded, v, d, n_tokens, head_dim, width);
                break;
            case 3:
                values_block(type, 3, to, ldo, rounded, v, d, n_tokens, head_dim, width);
                break;
            default:
                if (type == SM_KV_Q8_0) {
                    values_many(n, to, ldo, rounded, v, d, n_tokens, head_dim, width);
                }
                break;
            }
        }
    }
}

#define ATTENTION(TYPE, name)                                                                      \
    void sm_attn_scores_##name##_avx2(float *s, size_t lds, const void *q, size_t ldq, size_t nq,  \
                                      const void *k, size_t n_tiles, size_t head_dim) {            \
        scores(TYPE, s, lds, q, ldq, nq, k, n_tiles, head_dim);                                    \
    }                                                                                              \
    void sm_attn_values_##name##_avx2(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                      const void *v, size_t n_tokens, size_t head_dim) {           \
        values(TYPE, o, ldo, p, ldp, nq, v, n_tokens, head_dim);                                   \
    }

ATTENTION(SM_KV_Q8_0, q8_0)
ATTENTION(SM_KV_Q4_0, q4_0)
ATTENTION(SM_KV_Q5_0, q5_0)
ATTENTION(SM_KV_IQ4_NL, iq4_nl)
