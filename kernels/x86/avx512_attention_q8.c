/* avx512_attention_q8.c - attention over one block of a q8_0 KV cache on AVX-512.
 *
 * vpdpbusd multiplies unsigned by signed bytes. Scores: the codes of K become unsigned by
 * adding 128, which the sums start from taking back. Values: the two bytes of a weight are
 * unsigned as they are, and have a sum each.
 */
#include <math.h>

#include "avx512.h"

#define MOST_TILES 8
#define MOST_QUERIES 6
#define AHEAD 4096 /* bytes from what is read to what is prefetched */

INLINE __m512i broadcast_word(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

/* ---- scores ---------------------------------------------------------------------------- */

/* nv tiles times nq queries. */
INLINE void scores_tile(const int nv, const int nq, float *s, size_t lds, const sm_act_block *q,
                        size_t ldq, const uint8_t *k, size_t head_dim) {
    const size_t tile_bytes = sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
    const uint8_t *scales = k + 16 * head_dim;
    __m512 sum[MOST_TILES][MOST_QUERIES];
    UNROLL
    for (int v = 0; v < nv; v++) {
        UNROLL
        for (int i = 0; i < nq; i++) {
            sum[v][i] = _mm512_setzero_ps();
        }
    }
    for (size_t left = head_dim; left > 0; q++, scales += 32) {
        const size_t n = left < 32 ? left : 32;
        __m512i dot[MOST_TILES][MOST_QUERIES];
        UNROLL
        for (int i = 0; i < nq; i++) {
            const __m512i start = shift_left32(_mm512_set1_epi32(q[(size_t)i * ldq].nsum), 7);
            UNROLL
            for (int v = 0; v < nv; v++) {
                dot[v][i] = start;
            }
        }
        for (size_t d = 0; d < n; d += 4, k += 64) {
            __m512i codes[MOST_TILES];
            UNROLL
            for (int v = 0; v < nv; v++) {
                const uint8_t *from = k + (size_t)v * tile_bytes;
                _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
                codes[v] = _mm512_xor_si512(_mm512_loadu_si512(from), bytes64(-128));
            }
            UNROLL
            for (int i = 0; i < nq; i++) {
                const __m512i x = broadcast_word(q[(size_t)i * ldq].q + d);
                UNROLL
                for (int v = 0; v < nv; v++) {
                    dot[v][i] = _mm512_dpbusd_epi32(dot[v][i], codes[v], x);
                }
            }
        }
        UNROLL
        for (int v = 0; v < nv; v++) {
            const __m512 scale = load_f16(scales + (size_t)v * tile_bytes);
            UNROLL
            for (int i = 0; i < nq; i++) {
                const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(q[(size_t)i * ldq].d));
                sum[v][i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[v][i]), both, sum[v][i]);
            }
        }
        left -= n;
    }
    UNROLL
    for (int v = 0; v < nv; v++) {
        UNROLL
        for (int i = 0; i < nq; i++) {
            _mm512_storeu_ps(s + (size_t)i * lds + 16 * (size_t)v, sum[v][i]);
        }
    }
}

/* nq queries times all tiles, nv at a time. */
INLINE void scores_row(const int nv, const int nq, float *s, size_t lds, const sm_act_block *q,
                       size_t ldq, const uint8_t *k, size_t n_tiles, size_t head_dim) {
    const size_t tile_bytes = sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
    for (; n_tiles >= (size_t)nv; n_tiles -= (size_t)nv) {
        scores_tile(nv, nq, s, lds, q, ldq, k, head_dim);
        s += 16 * nv;
        k += (size_t)nv * tile_bytes;
    }
    for (; n_tiles > 0; n_tiles--) {
        scores_tile(1, nq, s, lds, q, ldq, k, head_dim);
        s += 16;
        k += tile_bytes;
    }
}

void sm_attn_scores_q8_0_avx512(float *s, size_t lds, const void *queries, size_t ldq, size_t nq,
                                const void *k, size_t n_tiles, size_t head_dim) {
    const sm_act_block *q = queries;
    for (; nq >= MOST_QUERIES; nq -= MOST_QUERIES) {
        scores_row(2, MOST_QUERIES, s, lds, q, ldq, k, n_tiles, head_dim);
        s += MOST_QUERIES * lds;
        q += MOST_QUERIES * ldq;
    }
    switch (nq) {
    case 1:
        scores_row(8, 1, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 2:
        scores_row(4, 2, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 3:
        scores_row(4, 3, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 4:
        scores_row(2, 4, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 5:
        scores_row(2, 5, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    default:
        break;
    }
}

/* ---- values ---------------------------------------------------------------------------- */

/* The weights of one query for one block of elements, rounded; bytes apart. */
typedef struct weights {
    uint8_t low[SM_KV_BLOCK], high[SM_KV_BLOCK];
    float unit; /* what 1 is worth */
} weights;

/* scale: of each token, 0 for those past n_tokens up to a multiple of 16. */
INLINE void round_weights(weights *out, const float *p, const float *scale, size_t n_tokens) {
    float w[SM_KV_BLOCK];
    __m512 most = _mm512_setzero_ps();
    for (size_t t = 0; t < n_tokens; t += 16) {
        const __mmask16 mask = n_tokens - t < 16 ? lanes(n_tokens - t) : (__mmask16)0xffff;
        const __m512 x = _mm512_maskz_loadu_ps(mask, p + t);
        const __m512 product = _mm512_mul_ps(x, _mm512_loadu_ps(scale + t));
        most = _mm512_max_ps(most, product);
        _mm512_storeu_ps(w + t, product);
    }
    const float top = _mm512_reduce_max_ps(most);
    out->unit = top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX;
    const __m512 inverse = _mm512_set1_ps(top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top);
    for (size_t t = 0; t < n_tokens; t += 16) {
        const __m512i r = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(w + t), inverse));
        _mm_storeu_si128((__m128i *)(out->low + t), _mm512_cvtepi32_epi8(r));
        _mm_storeu_si128((__m128i *)(out->high + t), _mm512_cvtepi32_epi8(shift_right32(r, 8)));
    }
}

/* The scales of block b of n_tokens tokens as f32. */
INLINE void widen_scales(float *out, const uint8_t *v, size_t b, size_t n_tokens, size_t head_dim) {
    const size_t tile_bytes = sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
    v += 16 * head_dim + 32 * b;
    for (size_t t = 0; t < n_tokens; t += 16, v += tile_bytes) {
        const __mmask16 mask = n_tokens - t < 16 ? lanes(n_tokens - t) : (__mmask16)0xffff;
        _mm512_storeu_ps(out + t, _mm512_maskz_mov_ps(mask, load_f16(v)));
    }
}

/* nv vectors of 16 elements times nq queries; `last` is the mask of the last vector. v: the
 * first of them in the first tile. */
INLINE void values_tile(const int nv, const int nq, float *o, size_t ldo, const weights *p,
                        const uint8_t *v, size_t n_tokens, size_t head_dim, __mmask16 last) {
    __m512i low[2][MOST_QUERIES], high[2][MOST_QUERIES];
    UNROLL
    for (int i = 0; i < nq; i++) {
        UNROLL
        for (int x = 0; x < nv; x++) {
            low[x][i] = high[x][i] = _mm512_setzero_si512();
        }
    }
    const size_t quad = 4 * head_dim, skip = sm_kv_tile_bytes(SM_KV_Q8_0, head_dim) - 4 * quad;
    for (size_t t = 0; t < n_tokens; t += 4, v += quad) {
        __m512i codes[2];
        if (t % 16 == 0 && t > 0) {
            v += skip; /* scales */
        }
        UNROLL
        for (int x = 0; x < nv; x++) {
            if (nq < MOST_QUERIES) {
                _mm_prefetch((const char *)v + 64 * x + AHEAD, _MM_HINT_T0);
            }
            const __mmask16 mask = x + 1 < nv ? (__mmask16)0xffff : last;
            codes[x] = _mm512_maskz_loadu_epi32(mask, v + 64 * x);
        }
        UNROLL
        for (int i = 0; i < nq; i++) {
            const __m512i l = broadcast_word(p[i].low + t), h = broadcast_word(p[i].high + t);
            UNROLL
            for (int x = 0; x < nv; x++) {
                low[x][i] = _mm512_dpbusd_epi32(low[x][i], l, codes[x]);
                high[x][i] = _mm512_dpbusd_epi32(high[x][i], h, codes[x]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
        UNROLL
        for (int x = 0; x < nv; x++) {
            const __m512i sum = _mm512_add_epi32(shift_left32(high[x][i], 8), low[x][i]);
            const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(p[i].unit));
            const __mmask16 mask = x + 1 < nv ? (__mmask16)0xffff : last;
            _mm512_mask_storeu_ps(o + (size_t)i * ldo + 16 * (size_t)x, mask, y);
        }
    }
}

/* One block of elements, of which there are `width`. */
INLINE void values_block(const int nq, float *o, size_t ldo, const weights *p, const uint8_t *v,
                         size_t n_tokens, size_t head_dim, size_t width) {
    if (width > 16) {
        values_tile(2, nq, o, ldo, p, v, n_tokens, head_dim, lanes(width - 16));
    } else {
        values_tile(1, nq, o, ldo, p, v, n_tokens, head_dim, lanes(width));
    }
}

void sm_attn_values_q8_0_avx512(float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                                const void *v, size_t n_tokens, size_t head_dim) {
    weights rounded[MOST_QUERIES];
    float scale[SM_KV_BLOCK];
    for (size_t d = 0; d < head_dim; d += 32) {
        const size_t width = head_dim - d < 32 ? head_dim - d : 32;
        const uint8_t *codes = (const uint8_t *)v + 4 * d;
        widen_scales(scale, v, d / 32, n_tokens, head_dim);
        for (size_t i = 0; i < nq; i += MOST_QUERIES) {
            const size_t n = nq - i < MOST_QUERIES ? nq - i : MOST_QUERIES;
            float *to = o + i * ldo + d;
            for (size_t j = 0; j < n; j++) {
                round_weights(&rounded[j], p + (i + j) * ldp, scale, n_tokens);
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
                values_block(MOST_QUERIES, to, ldo, rounded, codes, n_tokens, head_dim, width);
                break;
            }
        }
    }
}
