/* avx2_attention_q8.c - attention over one block of a q8_0 KV cache on AVX2.
 *
 * Scores multiply |key| by the query with the key's sign, bytes by bytes: |code| <= 127, so
 * that pairs fit 16 bits. Values widen codes and weights to 16 bits.
 */
#include <math.h>

#include "avx2.h"

#define SCORE_QUERIES 2 /* times two vectors of sums, in int32 and f32 */
#define VALUE_QUERIES 6

/* ---- scores ---------------------------------------------------------------------------- */

/* One tile of 16 tokens times nq queries. */
INLINE void scores_tile(const int nq, float *s, size_t lds, const sm_act_block *q, size_t ldq,
                        const uint8_t *k, size_t head_dim) {
    const __m256i ones = _mm256_set1_epi16(1);
    const uint8_t *scales = k + 16 * head_dim;
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
        for (size_t d = 0; d < n; d += 4, k += 64) {
            UNROLL
            for (int half = 0; half < 2; half++) {
                const __m256i codes = load_i256(k + 32 * half);
                const __m256i magnitude = _mm256_abs_epi8(codes);
                UNROLL
                for (int i = 0; i < nq; i++) {
                    const __m256i x =
                        _mm256_sign_epi8(broadcast_i32(q[(size_t)i * ldq].q + d), codes);
                    const __m256i pairs = _mm256_maddubs_epi16(magnitude, x);
                    dot[i][half] = _mm256_add_epi32(dot[i][half], _mm256_madd_epi16(pairs, ones));
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

void sm_attn_scores_q8_0_avx2(float *s, size_t lds, const void *queries, size_t ldq, size_t nq,
                              const void *k, size_t n_tiles, size_t head_dim) {
    const uint8_t *tile = k;
    for (size_t t = 0; t < n_tiles; t++, s += 16) {
        const sm_act_block *q = queries;
        size_t i = 0;
        for (; nq - i >= 2; i += 2) {
            scores_tile(2, s + i * lds, lds, q + i * ldq, ldq, tile, head_dim);
        }
        if (i < nq) {
            scores_tile(1, s + i * lds, lds, q + i * ldq, ldq, tile, head_dim);
        }
        tile += sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
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
    __m256 most = _mm256_setzero_ps();
    for (size_t t = 0; t < 16 * n; t += 8) {
        most = _mm256_max_ps(most, _mm256_loadu_ps(w + t));
    }
    const float top = max8(most);
    out->unit = top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX;
    const __m256 inverse = _mm256_set1_ps(top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top);
    for (size_t t = 0; t < 16 * n; t += 16) {
        const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + t), inverse));
        const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(w + t + 8), inverse));
        store_i256(out->codes + t, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));
    }
}

/* w = p * scale of block b's tokens, zeros up to a multiple of 16. */
INLINE void scaled(float *w, const float *p, const uint8_t *v, size_t b, size_t n_tokens,
                   size_t head_dim) {
    v += 16 * head_dim + 32 * b;
    for (size_t t = 0; t < n_tokens; t += 16) {
        float rest[16] = {0};
        const float *x = p + t;
        if (n_tokens - t < 16) {
            memcpy(rest, x, (n_tokens - t) * sizeof *x);
            x = rest;
        }
        _mm256_storeu_ps(w + t, _mm256_mul_ps(_mm256_loadu_ps(x), load_f16(v)));
        _mm256_storeu_ps(w + t + 8, _mm256_mul_ps(_mm256_loadu_ps(x + 8), load_f16(v + 16)));
        v += sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
    }
}

/* 8 elements times nq queries. v: theirs in the first tile. */
INLINE void values_tile(const int nq, float *o, size_t ldo, const weights *p, const uint8_t *v,
                        size_t n_tokens, size_t head_dim) {
    __m256i sum[VALUE_QUERIES][2]; /* elements 0..3 and 4..7, two sums each */
    UNROLL
    for (int i = 0; i < nq; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    }
    const size_t quad = 4 * head_dim, skip = sm_kv_tile_bytes(SM_KV_Q8_0, head_dim) - 4 * quad;
    for (size_t t = 0; t < n_tokens; t += 4, v += quad) {
        if (t % 16 == 0 && t > 0) {
            v += skip; /* scales */
        }
        const __m256i first = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)v));
        const __m256i second = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(v + 16)));
        UNROLL
        for (int i = 0; i < nq; i++) {
            int64_t four;
            memcpy(&four, p[i].codes + t, sizeof four);
            const __m256i w = _mm256_set1_epi64x(four);
            sum[i][0] = same(_mm256_add_epi32(sum[i][0], _mm256_madd_epi16(first, w)));
            sum[i][1] = same(_mm256_add_epi32(sum[i][1], _mm256_madd_epi16(second, w)));
        }
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
        const __m256i pairs = _mm256_hadd_epi32(sum[i][0], sum[i][1]);
        const __m256 y = _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(pairs, 0xd8));
        _mm256_storeu_ps(o + (size_t)i * ldo, _mm256_mul_ps(y, _mm256_set1_ps(p[i].unit)));
    }
}

/* `width` elements of one block times nq queries. */
INLINE void values_block(const int nq, float *o, size_t ldo, const weights *p, const uint8_t *v,
                         size_t n_tokens, size_t head_dim, size_t width) {
    for (size_t d = 0; d < width; d += 8) {
        values_tile(nq, o + d, ldo, p, v + 4 * d, n_tokens, head_dim);
    }
}

void sm_attn_values_q8_0_avx2(float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                              const void *v, size_t n_tokens, size_t head_dim) {
    weights rounded[VALUE_QUERIES];
    /* each slice of elements below reads a part of every line */
    prefetch_lines(v, 0, (n_tokens + 15) / 16 * sm_kv_tile_bytes(SM_KV_Q8_0, head_dim));
    for (size_t d = 0; d < head_dim; d += 32) {
        const size_t width = head_dim - d < 32 ? head_dim - d : 32;
        const uint8_t *codes = (const uint8_t *)v + 4 * d;
        for (size_t i = 0; i < nq; i += VALUE_QUERIES) {
            const size_t n = nq - i < VALUE_QUERIES ? nq - i : VALUE_QUERIES;
            float *to = o + i * ldo + d;
            for (size_t j = 0; j < n; j++) {
                float w[SM_KV_BLOCK];
                scaled(w, p + (i + j) * ldp, v, d / 32, n_tokens, head_dim);
                round_weights(&rounded[j], w, (n_tokens + 15) / 16);
            }
            switch (n) {
            case 1:
                values_block(1, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            case 2:
                values_block(2, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            case 3:
                values_block(3, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            case 4:
                values_block(4, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            case 5:
                values_block(5, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            default:
                values_block(VALUE_QUERIES, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            }
        }
    }
}
