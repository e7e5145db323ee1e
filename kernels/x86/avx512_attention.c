/* avx512_attention.c - attention over one block of the KV cache on AVX-512.
 *
 * Scores and values are the same small product: vectors of 16 lanes (tokens of a K tile, or
 * elements of V rows) stepped through (elements of a head, or tokens), each step times one
 * number per query.
 */
#include "avx512.h"

#define MOST_VECTORS 8
#define WIDE_QUERIES 6  /* with 4 vectors 24 accumulators, 4 of the cache, 1 broadcast */
#define MOST_QUERIES 12 /* with 2 vectors as many, and half the conversions of the cache */

INLINE size_t kv_size(const int kv) {
    return kv == SM_KV_F32 ? 4 : 2;
}

INLINE __m512 load_kv(const int kv, const uint8_t *p) {
    switch (kv) {
    case SM_KV_F32:
        return _mm512_loadu_ps(p);
    case SM_KV_F16:
        return load_f16(p);
    default:
        return load_bf16(p);
    }
}

INLINE __m512 load_kv_masked(const int kv, const uint8_t *p, __mmask16 mask) {
    if (kv == SM_KV_F32) {
        return _mm512_maskz_loadu_ps(mask, p);
    }
    __m256i half = _mm256_maskz_loadu_epi16(mask, p);
    if (kv == SM_KV_F16) {
        return _mm512_cvtph_ps(half);
    }
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

typedef struct shape {
    float *out;
    size_t ldo;
    const float *x; /* what a query multiplies each step by */
    size_t ldx;
    const uint8_t *cache;
    size_t vector_bytes; /* from one vector to the next */
    size_t step_bytes;
    size_t steps;
    size_t ahead;      /* bytes from the cache to what is prefetched at the first step */
    size_t ahead_step; /* from there to the next step's */
} shape;

/* nv vectors times nq queries. A mask is for the one vector of a tile with `masked` set. */
INLINE void tile(const int kv, const int nv, const int nq, const shape *a, const bool masked,
                 __mmask16 mask) {
    __m512 sum[MOST_VECTORS][MOST_QUERIES];
    const uint8_t *p = a->cache;
    const float *x = a->x;
    UNROLL
    for (int v = 0; v < nv; v++) {
        UNROLL
        for (int i = 0; i < nq; i++) {
            sum[v][i] = _mm512_setzero_ps();
        }
    }
    const size_t vector_bytes = a->vector_bytes, step_bytes = a->step_bytes, ldx = a->ldx;
    const size_t ahead_step = a->ahead_step;
    const char *next = (const char *)p + a->ahead;
    for (size_t step = a->steps; step > 0; step--, p += step_bytes, next += ahead_step, x++) {
        __m512 w[MOST_VECTORS];
        UNROLL
        for (size_t i = 0; i < (size_t)nv * 16 * kv_size(kv); i += 64) {
            _mm_prefetch(next + i, _MM_HINT_T0);
        }
        UNROLL
        for (int v = 0; v < nv; v++) {
            const uint8_t *from = p + (size_t)v * vector_bytes;
            w[v] = masked ? load_kv_masked(kv, from, mask) : load_kv(kv, from);
        }
        UNROLL
        for (int i = 0; i < nq; i++) {
            __m512 xi = _mm512_set1_ps(x[(size_t)i * ldx]);
            UNROLL
            for (int v = 0; v < nv; v++) {
                sum[v][i] = _mm512_fmadd_ps(w[v], xi, sum[v][i]);
            }
        }
    }
    UNROLL
    for (int v = 0; v < nv; v++) {
        UNROLL
        for (int i = 0; i < nq; i++) {
            float *to = a->out + (size_t)i * a->ldo + (size_t)v * 16;
            if (masked) {
                _mm512_mask_storeu_ps(to, mask, sum[v][i]);
            } else {
                _mm512_storeu_ps(to, sum[v][i]);
            }
        }
    }
}

/* nv vectors times all queries. */
INLINE void queries(const int kv, const int nv, shape a, size_t nq, const bool masked,
                    __mmask16 mask) {
    for (; nq >= WIDE_QUERIES; nq -= WIDE_QUERIES) {
        tile(kv, nv, WIDE_QUERIES, &a, masked, mask);
        a.out += WIDE_QUERIES * a.ldo;
        a.x += WIDE_QUERIES * a.ldx;
    }
    switch (nq) {
    case 1:
        tile(kv, nv, 1, &a, masked, mask);
        break;
    case 2:
        tile(kv, nv, 2, &a, masked, mask);
        break;
    case 3:
        tile(kv, nv, 3, &a, masked, mask);
        break;
    case 4:
        tile(kv, nv, 4, &a, masked, mask);
        break;
    case 5:
        tile(kv, nv, 5, &a, masked, mask);
        break;
    default:
        break;
    }
}

/* The next nv vectors. */
INLINE void advance(const int nv, shape *a) {
    a->out += 16 * nv;
    a->cache += (size_t)nv * a->vector_bytes;
}

/* Pairs of vectors times twelve queries at a time. */
INLINE void pairs(const int kv, shape a, size_t nq, size_t n_pairs) {
    for (; n_pairs > 0; n_pairs--) {
        shape b = a;
        for (size_t i = 0; i < nq; i += MOST_QUERIES) {
            tile(kv, 2, MOST_QUERIES, &b, false, 0);
            b.out += MOST_QUERIES * a.ldo;
            b.x += MOST_QUERIES * a.ldx;
        }
        advance(2, &a);
    }
}

INLINE void scores(const int kv, float *s, size_t lds, const float *q, size_t ldq, size_t nq,
                   const uint8_t *k, size_t n_tiles, size_t head_dim) {
    const size_t step_bytes = 16 * kv_size(kv), tile_bytes = head_dim * step_bytes;
    shape a = {s, lds, q, ldq, k, tile_bytes, step_bytes, head_dim, 0, 0};
    const size_t many = nq / MOST_QUERIES * MOST_QUERIES;
    if (many > 0) {
        a.ahead = 2 * tile_bytes;
        a.ahead_step = 2 * step_bytes;
        pairs(kv, a, many, n_tiles / 2);
        if (n_tiles % 2 != 0) {
            shape b = a;
            advance((int)(n_tiles - 1), &b);
            queries(kv, 1, b, many, false, 0);
        }
        nq -= many;
        a.out += many * lds;
        a.x += many * ldq;
    }
    if (nq == 1) {
        a.ahead = 8 * tile_bytes;
        a.ahead_step = 8 * step_bytes;
        for (; n_tiles >= 8; n_tiles -= 8) {
            tile(kv, 8, 1, &a, false, 0);
            advance(8, &a);
        }
    }
    a.ahead = 4 * tile_bytes;
    a.ahead_step = 4 * step_bytes;
    for (; n_tiles >= 4; n_tiles -= 4) {
        queries(kv, 4, a, nq, false, 0);
        advance(4, &a);
    }
    for (; n_tiles > 0; n_tiles--) {
        queries(kv, 1, a, nq, false, 0);
        advance(1, &a);
    }
}

/* Vectors of the row from a on, `left` elements, times all queries. */
INLINE void rest_of_row(const int kv, shape a, size_t nq, size_t left) {
    for (; left >= 64; left -= 64) {
        queries(kv, 4, a, nq, false, 0);
        advance(4, &a);
    }
    for (; left >= 16; left -= 16) {
        queries(kv, 1, a, nq, false, 0);
        advance(1, &a);
    }
    if (left > 0) {
        queries(kv, 1, a, nq, true, lanes(left));
    }
}

INLINE void values(const int kv, float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                   const uint8_t *v, size_t n_tokens, size_t head_dim) {
    const size_t size = kv_size(kv), row = head_dim * size;
    shape a = {o, ldo, p, ldp, v, 16 * size, row, n_tokens, 4096, row};
    const size_t many = nq / MOST_QUERIES * MOST_QUERIES;
    if (many > 0) {
        shape b = a;
        pairs(kv, a, many, head_dim / 32);
        advance((int)(head_dim / 32 * 2), &b);
        rest_of_row(kv, b, many, head_dim % 32);
        nq -= many;
        a.out += many * ldo;
        a.x += many * ldp;
    }
    size_t left = head_dim;
    for (; nq < WIDE_QUERIES && left >= 128; left -= 128) {
        shape b = a;
        size_t i = nq;
        for (; i >= 2; i -= 2) {
            tile(kv, 8, 2, &b, false, 0);
            b.out += 2 * ldo;
            b.x += 2 * ldp;
        }
        if (i > 0) {
            tile(kv, 8, 1, &b, false, 0);
        }
        advance(8, &a);
    }
    rest_of_row(kv, a, nq, left);
}

/* ---- writing the cache ----------------------------------------------------------------- */

INLINE __m256i to_f16(__m512 x) {
    const __m512 most = _mm512_set1_ps(65504);
    const __m512 zero = _mm512_sub_ps(x, x); /* NaN where x is not finite, as in the reference */
    x = _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), most), _mm512_min_ps(most, x));
    x = _mm512_sub_ps(x, zero);
    const __mmask16 all = 0xffff; /* the unmasked form warns without optimization */
    return _mm512_maskz_cvtps_ph(all, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE void store_v(const int kv, uint16_t *tile, size_t lane, const float *v, size_t head_dim) {
    uint16_t *row = tile + lane * head_dim;
    for (size_t d = 0; d < head_dim; d += 16) {
        __mmask16 mask = lanes(head_dim - d < 16 ? head_dim - d : 16);
        __m512 x = _mm512_maskz_loadu_ps(mask, v + d);
        _mm256_mask_storeu_epi16(row + d, mask, kv == SM_KV_F16 ? to_f16(x) : to_bf16(x));
    }
}

INLINE void store_k(const int kv, uint16_t *tile, size_t lane, const float *k, size_t head_dim) {
    for (size_t d = 0; d < head_dim; d += 16) {
        uint16_t half[16];
        size_t n = head_dim - d < 16 ? head_dim - d : 16;
        __m512 x = _mm512_maskz_loadu_ps(lanes(n), k + d);
        _mm256_storeu_si256((__m256i *)half, kv == SM_KV_F16 ? to_f16(x) : to_bf16(x));
        for (size_t i = 0; i < n; i++) {
            tile[(d + i) * 16 + lane] = half[i];
        }
    }
}

#define STORE(KV, kv)                                                                        \
    void sm_store_k_##kv##_avx512(void *tile, size_t lane, const void *k, size_t head_dim) { \
        store_k(SM_KV_##KV, tile, lane, k, head_dim);                                        \
    }                                                                                        \
    void sm_store_v_##kv##_avx512(void *tile, size_t lane, const void *v, size_t head_dim) { \
        store_v(SM_KV_##KV, tile, lane, v, head_dim);                                        \
    }
STORE(F16, f16)
STORE(BF16, bf16)

#define ATTENTION(KV, kv)                                                                          \
    void sm_attn_scores_##kv##_avx512(float *s, size_t lds, const void *q, size_t ldq, size_t nq,  \
                                      const void *k, size_t n_tiles, size_t head_dim) {            \
        scores(SM_KV_##KV, s, lds, q, ldq, nq, k, n_tiles, head_dim);                              \
    }                                                                                              \
    void sm_attn_values_##kv##_avx512(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                      const void *v, size_t n_tokens, size_t head_dim) {           \
        values(SM_KV_##KV, o, ldo, p, ldp, nq, v, n_tokens, head_dim);                             \
    }
ATTENTION(F32, f32)
ATTENTION(F16, f16)
ATTENTION(BF16, bf16)
