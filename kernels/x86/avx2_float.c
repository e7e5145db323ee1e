/* avx2_float.c - products with float weights and attention.
 *
 * All of them are y[c][lane] = sum over k in order of w[k][lane] * x[c][k], one fma chain per
 * element: lanes are weight rows, tokens (scores) or elements of a head (values). A tile
 * keeps its chains in registers, at least eight where there are as many, to cover the
 * latency of fma.
 */
#include "avx2.h"

/* What w is made of. */
typedef enum kind {
    KIND_F32,
    KIND_F16,
    KIND_BF16,
    KIND_PAIRS, /* bf16, each lane with two elements of k together */
} kind;

/* Bytes of eight lanes, of one element of k or, in pairs, of two. */
INLINE size_t vector_bytes(kind t) {
    return t == KIND_F16 || t == KIND_BF16 ? 16 : 32;
}

INLINE __m256 first_of_pairs(const uint8_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(load_i256(p), 16));
}
INLINE __m256 second_of_pairs(const uint8_t *p) {
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    return _mm256_castsi256_ps(_mm256_and_si256(load_i256(p), high));
}

INLINE __m256 load_weights(kind t, const uint8_t *p, bool second) {
    switch (t) {
    case KIND_F32:
        return _mm256_loadu_ps((const float *)p);
    case KIND_F16:
        return load_f16(p);
    case KIND_BF16:
        return load_bf16(p);
    default:
        return second ? second_of_pairs(p) : first_of_pairs(p);
    }
}

/* Up to four groups stream side by side here, so it takes less than AHEAD. */
#define AHEAD_FLOAT 2048

/* ---- tiles ----------------------------------------------------------------------------- */

/* How w lies in memory: from one k (or pair of k) to the next, from 16 lanes to the next 16, and
 * from what is read to what is asked for meanwhile. */
typedef struct strides {
    size_t k, lanes, ahead;
} strides;

#define MAX_COLS 6
#define MAX_VECTORS 8

typedef struct chains {
    __m256 y[MAX_COLS][MAX_VECTORS];
} chains;

INLINE void tile_step(kind t, chains *a, const uint8_t *w, strides s, const float *x, size_t ldx,
                      unsigned vectors, unsigned cols, bool second) {
    if (vectors > cols) {
        __m256 b[MAX_COLS];
        UNROLL for (unsigned c = 0; c < cols; c++) {
            b[c] = _mm256_broadcast_ss(x + c * ldx);
        }
        UNROLL for (unsigned v = 0; v < vectors; v++) {
            const uint8_t *p = w + v / 2 * s.lanes + v % 2 * vector_bytes(t);
            __m256 lane = load_weights(t, p, second);
            if (t != KIND_F32 && cols <= 2 && v % 2 == 0 && !second) {
                prefetch_lines(p, s.ahead, 1);
            }
            UNROLL for (unsigned c = 0; c < cols; c++) {
                a->y[c][v] = _mm256_fmadd_ps(lane, b[c], a->y[c][v]);
            }
            if (cols == 3) {
                /* no register is left for the next lane before this one is done */
                __asm__("" : "+x"(a->y[0][v]), "+x"(a->y[1][v]), "+x"(a->y[2][v]), "+r"(w));
            }
        }
        return;
    }
    __m256 lane[MAX_VECTORS];
    UNROLL for (unsigned v = 0; v < vectors; v++) {
        lane[v] = load_weights(t, w + v / 2 * s.lanes + v % 2 * vector_bytes(t), second);
    }
    UNROLL for (unsigned c = 0; c < cols; c++) {
        __m256 b = _mm256_broadcast_ss(x + c * ldx);
        UNROLL for (unsigned v = 0; v < vectors; v++) {
            a->y[c][v] = _mm256_fmadd_ps(lane[v], b, a->y[c][v]);
        }
    }
}

INLINE void tile(kind t, float *y, size_t ldy, const uint8_t *w, strides s, size_t k,
                 const float *x, size_t ldx, unsigned vectors, unsigned cols, bool accumulate) {
    chains a;
    UNROLL for (unsigned c = 0; c < cols; c++) {
        UNROLL for (unsigned v = 0; v < vectors; v++) {
            a.y[c][v] = accumulate ? _mm256_loadu_ps(y + c * ldy + 8 * v) : _mm256_setzero_ps();
        }
    }
    size_t step = t == KIND_PAIRS ? 2 : 1;
    for (size_t i = step; i <= k; i += step) {
        tile_step(t, &a, w, s, x, ldx, vectors, cols, false);
        if (t == KIND_PAIRS) {
            /* not the same w to the compiler, or it keeps the pairs in registers meanwhile */
            const uint8_t *again = w;
            __asm__("" : "+r"(again));
            tile_step(t, &a, again, s, x + 1, ldx, vectors, cols, true);
        }
        w += s.k;
        x += step;
    }
    if (t == KIND_PAIRS && k % 2 != 0) {
        tile_step(t, &a, w, s, x, ldx, vectors, cols, false);
    }
    UNROLL for (unsigned c = 0; c < cols; c++) {
        UNROLL for (unsigned v = 0; v < vectors; v++) {
            _mm256_storeu_ps(y + c * ldy + 8 * v, a.y[c][v]);
        }
    }
}

/* As many tiles of n vectors as fit; returns the vectors they took. */
INLINE size_t some_tiles(kind t, float *y, size_t ldy, const uint8_t *w, strides s, size_t k,
                         const float *x, size_t ldx, size_t vectors, unsigned cols, bool accumulate,
                         unsigned n) {
    size_t v = 0;
    for (; vectors - v >= n; v += n) {
        tile(t, y + 8 * v, ldy, w + v / 2 * s.lanes, s, k, x, ldx, n, cols, accumulate);
    }
    return v;
}

/* `cols` columns over all vectors, tiles of at most `most` vectors. */
INLINE void row_of_tiles(kind t, float *y, size_t ldy, const uint8_t *w, strides s, size_t k,
                         const float *x, size_t ldx, size_t vectors, unsigned cols, bool accumulate,
                         unsigned most) {
    size_t v = 0;
    if (most >= 8) {
        v += some_tiles(t, y, ldy, w, s, k, x, ldx, vectors, cols, accumulate, 8);
    }
    if (most >= 4) {
        v += some_tiles(t, y + 8 * v, ldy, w + v / 2 * s.lanes, s, k, x, ldx, vectors - v, cols,
                        accumulate, 4);
    }
    v += some_tiles(t, y + 8 * v, ldy, w + v / 2 * s.lanes, s, k, x, ldx, vectors - v, cols,
                    accumulate, 2);
    some_tiles(t, y + 8 * v, ldy, w + v / 2 * s.lanes, s, k, x, ldx, vectors - v, cols, accumulate,
               1);
}

INLINE void product(kind t, float *y, size_t ldy, const uint8_t *w, strides s, size_t k,
                    const float *x, size_t ldx, size_t vectors, size_t ncols, bool accumulate) {
    /* the mask for pairs takes a register too */
    const size_t most = t == KIND_PAIRS ? MAX_COLS - 1 : MAX_COLS;
    while (ncols > 0) {
        size_t n = ncols <= most ? ncols : ncols < 2 * most ? (ncols + 1) / 2 : most;
        switch (n) {
        case 1:
            row_of_tiles(t, y, ldy, w, s, k, x, ldx, vectors, 1, accumulate, 8);
            break;
        case 2:
            row_of_tiles(t, y, ldy, w, s, k, x, ldx, vectors, 2, accumulate, 4);
            break;
        case 3:
            row_of_tiles(t, y, ldy, w, s, k, x, ldx, vectors, 3, accumulate,
                         t == KIND_PAIRS ? 2 : 4);
            break;
        case 4:
            row_of_tiles(t, y, ldy, w, s, k, x, ldx, vectors, 4, accumulate, 2);
            break;
        case 5:
            row_of_tiles(t, y, ldy, w, s, k, x, ldx, vectors, 5, accumulate, 2);
            break;
        default:
            row_of_tiles(t, y, ldy, w, s, k, x, ldx, vectors, 6, accumulate, 2);
            break;
        }
        y += n * ldy;
        x += n * ldx;
        ncols -= n;
    }
}

/* One copy of the tiles for each kind. */
#define PRODUCT(name, t)                                                                    \
    static void product_##name(float *y, size_t ldy, const uint8_t *w, strides s, size_t k, \
                               const float *x, size_t ldx, size_t vectors, size_t ncols,    \
                               bool accumulate) {                                           \
        product(t, y, ldy, w, s, k, x, ldx, vectors, ncols, accumulate);                    \
    }
PRODUCT(f32, KIND_F32)
PRODUCT(f16, KIND_F16)
PRODUCT(bf16, KIND_BF16)
PRODUCT(pairs, KIND_PAIRS)

typedef void product_fn(float *y, size_t ldy, const uint8_t *w, strides s, size_t k, const float *x,
                        size_t ldx, size_t vectors, size_t ncols, bool accumulate);

/* ---- weights --------------------------------------------------------------------------------- */

/* Groups that mul takes at a time: their chains overlap. */
#define MUL_GROUPS 4
/* Elements of k after which several column tiles return to the same weights. */
#define MUL_PIECE 256

INLINE void mul(kind t, product_fn *run, float *y, size_t ldy, const uint8_t *w, size_t group_bytes,
                size_t n_groups, size_t k, const float *x, size_t ldx, size_t ncols,
                bool accumulate, size_t ahead) {
    const size_t pair = t == KIND_PAIRS ? 2 : 1;
    const strides s = {2 * vector_bytes(t), group_bytes, ahead};
    for (size_t g = 0; g < n_groups; g += MUL_GROUPS) {
        size_t groups = n_groups - g < MUL_GROUPS ? n_groups - g : MUL_GROUPS;
        size_t n;
        for (size_t i = 0; i < k; i += n) {
            n = ncols >= MAX_COLS && k - i > MUL_PIECE ? MUL_PIECE : k - i;
            run(y + SM_GROUP * g, ldy, w + g * group_bytes + i / pair * s.k, s, n, x + i, ldx,
                2 * groups, ncols, accumulate || i > 0);
        }
    }
}

/* Unpacks k elements of a group to f32, [k][16]. */
INLINE void to_f32(kind t, float *out, const uint8_t *w, size_t k) {
    const size_t half = vector_bytes(t);
    if (t == KIND_PAIRS) {
        for (size_t i = 0; i < k; i += 2, w += 2 * half, out += 2 * SM_GROUP) {
            _mm256_storeu_ps(out, first_of_pairs(w));
            _mm256_storeu_ps(out + 8, first_of_pairs(w + half));
            if (i + 1 < k) {
                _mm256_storeu_ps(out + 16, second_of_pairs(w));
                _mm256_storeu_ps(out + 24, second_of_pairs(w + half));
            }
        }
        return;
    }
    for (size_t i = 0; i < k; i++, w += 2 * half, out += SM_GROUP) {
        _mm256_storeu_ps(out, load_weights(t, w, false));
        _mm256_storeu_ps(out + 8, load_weights(t, w + half, false));
    }
}

/* Group by group, so that the 32 KB of one stay in L1. */
INLINE void gemm(kind t, float *y, size_t ldy, const uint8_t *w, size_t group_bytes,
                 size_t n_groups, size_t k, const float *x, size_t ldx, size_t ncols,
                 bool accumulate, float *scratch) {
    const strides s = {SM_GROUP * sizeof(float), 0, AHEAD_FLOAT};
    for (size_t g = 0; g < n_groups; g++, w += group_bytes, y += SM_GROUP) {
        const void *panel = w;
        if (t != KIND_F32) {
            to_f32(t, scratch, w, k);
            panel = scratch;
        }
        product_f32(y, ldy, panel, s, k, x, ldx, 2, ncols, accumulate);
    }
}

#define WEIGHTS(type, t, run)                                                                      \
    void sm_mul_##type##_avx2(float *y, size_t ldy, const void *packed, size_t group_bytes,        \
                              size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols,  \
                              bool accumulate, sm_prefetch prefetch) {                             \
        mul(t, run, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate,           \
            prefetch == SM_PREFETCH_NONE && ncols == 1 ? 0 : AHEAD_FLOAT);                         \
    }                                                                                              \
    void sm_gemm_##type##_avx2(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                               size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                               bool accumulate, const void *next, void *scratch) {                 \
        (void)next;                                                                                \
        gemm(t, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate, scratch);     \
    }

WEIGHTS(f32, KIND_F32, product_f32)
WEIGHTS(f16, KIND_F16, product_f16)
WEIGHTS(bf16, KIND_PAIRS, product_pairs)

/* ---- attention ------------------------------------------------------------------------------- */

#define ATTENTION(type, size, run)                                                                 \
    void sm_attn_scores_##type##_avx2(float *s, size_t lds, const void *q, size_t ldq, size_t nq,  \
                                      const void *k, size_t n_tiles, size_t head_dim) {            \
        const strides step = {16 * size, 16 * size * head_dim, AHEAD_FLOAT};                       \
        run(s, lds, k, step, head_dim, q, ldq, 2 * n_tiles, nq, false);                            \
    }                                                                                              \
    void sm_attn_values_##type##_avx2(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                      const void *v, size_t n_tokens, size_t head_dim) {           \
        const strides step = {size * head_dim, 16 * size, AHEAD_FLOAT};                            \
        run(o, ldo, v, step, n_tokens, p, ldp, head_dim / 8, nq, false);                           \
    }

ATTENTION(f32, sizeof(float), product_f32)
ATTENTION(f16, sizeof(uint16_t), product_f16)
ATTENTION(bf16, sizeof(uint16_t), product_bf16)

/* Eight values as the KV type's 16 bits. */
INLINE __m128i pack_f16(__m256 x) {
    /* 0, or NaN where x is not finite, as in the reference */
    const __m256 zero = _mm256_sub_ps(x, x);
    x = _mm256_max_ps(_mm256_set1_ps(-65504), _mm256_min_ps(_mm256_set1_ps(65504), x));
    return _mm256_cvtps_ph(_mm256_sub_ps(x, zero), _MM_FROUND_TO_NEAREST_INT);
}
INLINE __m128i pack_bf16(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i high = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i even = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    even = _mm256_srli_epi32(even, 16);
    const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i r = _mm256_blendv_epi8(even, quiet, nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}

#define STORES(type)                                                                            \
    void sm_store_k_##type##_avx2(void *tile, size_t lane, const void *k, size_t head_dim) {    \
        uint16_t *column = (uint16_t *)tile + lane;                                             \
        for (size_t d = 0; d < head_dim; d += 8) {                                              \
            uint16_t h[8];                                                                      \
            _mm_storeu_si128((__m128i *)h, pack_##type(_mm256_loadu_ps((const float *)k + d))); \
            for (size_t i = 0; i < 8; i++) {                                                    \
                column[16 * (d + i)] = h[i];                                                    \
            }                                                                                   \
        }                                                                                       \
    }                                                                                           \
    void sm_store_v_##type##_avx2(void *tile, size_t lane, const void *v, size_t head_dim) {    \
        uint16_t *row = (uint16_t *)tile + lane * head_dim;                                     \
        for (size_t d = 0; d < head_dim; d += 8) {                                              \
            __m128i h = pack_##type(_mm256_loadu_ps((const float *)v + d));                     \
            _mm_storeu_si128((__m128i *)(row + d), h);                                          \
        }                                                                                       \
    }

STORES(f16)
STORES(bf16)
