/* avx512_float.c - products of the float types on AVX-512: f32 fma in order of k, the weights
 * converted as they are read. Every element is one chain, so several groups or columns go
 * side by side to fill the pipelines (latency 4, two a cycle).
 */
#include "avx512.h"

typedef struct product {
    float *y;
    size_t ldy;
    const uint8_t *packed;
    size_t group_bytes;
    size_t k;
    const float *x;
    size_t ldx;
    bool accumulate;
} product;

/* Bytes of two columns of K of one group (an odd last one of BF16 takes as many). */
INLINE size_t pair_bytes(const uint32_t type) {
    return type == SM_DTYPE_F32 ? 128 : 64;
}

INLINE __m512 load_even(const uint32_t type, const uint8_t *p) {
    switch (type) {
    case SM_DTYPE_F32:
        return _mm512_loadu_ps(p);
    case SM_DTYPE_F16:
        return load_f16(p);
    default: /* BF16: the low halves */
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
    }
}

INLINE __m512 load_odd(const uint32_t type, const uint8_t *p) {
    switch (type) {
    case SM_DTYPE_F32:
        return _mm512_loadu_ps(p + 64);
    case SM_DTYPE_F16:
        return load_f16(p + 32);
    default: {
        const __m512i high = _mm512_set1_epi32((int)0xffff0000);
        return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
    }
    }
}

#define MOST_STREAMS 4
#define TILE_COLS 12 /* with two groups 24 accumulators, 2 weights, 1 broadcast of 32 registers */

INLINE void add_products(const int ng, const int nc, __m512 y[MOST_STREAMS][TILE_COLS],
                         const __m512 w[MOST_STREAMS], const float *x, size_t ldx) {
    UNROLL
    for (int c = 0; c < nc; c++) {
        __m512 xc = _mm512_set1_ps(x[(size_t)c * ldx]);
        UNROLL
        for (int g = 0; g < ng; g++) {
            y[g][c] = _mm512_fmadd_ps(w[g], xc, y[g][c]);
        }
    }
}

#define PREFETCH_AHEAD 1024 /* bytes, in each of the streams */

/* Groups `group`, `group + apart`, ... (ng of them) times nc columns. */
INLINE void tile(const uint32_t type, const int ng, const int nc, const product *a, size_t group,
                 size_t apart) {
    __m512 y[MOST_STREAMS][TILE_COLS], w[MOST_STREAMS];
    const uint8_t *p[MOST_STREAMS];
    UNROLL
    for (int g = 0; g < ng; g++) {
        size_t at = group + (size_t)g * apart;
        p[g] = a->packed + at * a->group_bytes;
        UNROLL
        for (int c = 0; c < nc; c++) {
            const float *from = a->y + (size_t)c * a->ldy + at * SM_GROUP;
            y[g][c] = a->accumulate ? _mm512_loadu_ps(from) : _mm512_setzero_ps();
        }
    }
    const float *x = a->x;
    const size_t ldx = a->ldx;
    for (size_t pairs = a->k / 2; pairs > 0; pairs--, x += 2) {
        UNROLL
        for (int g = 0; g < ng; g++) {
            w[g] = load_even(type, p[g]);
        }
        add_products(ng, nc, y, w, x, ldx);
        UNROLL
        for (int g = 0; g < ng; g++) {
            w[g] = load_odd(type, p[g]);
            if (nc <= 4) {
                UNROLL
                for (size_t i = 0; i < pair_bytes(type); i += 64) {
                    _mm_prefetch((const char *)p[g] + PREFETCH_AHEAD + i, _MM_HINT_T0);
                }
            }
            p[g] += pair_bytes(type);
        }
        add_products(ng, nc, y, w, x + 1, ldx);
    }
    if (a->k % 2 != 0) {
        UNROLL
        for (int g = 0; g < ng; g++) {
            w[g] = load_even(type, p[g]);
        }
        add_products(ng, nc, y, w, x, ldx);
    }
    UNROLL
    for (int g = 0; g < ng; g++) {
        size_t at = group + (size_t)g * apart;
        UNROLL
        for (int c = 0; c < nc; c++) {
            _mm512_storeu_ps(a->y + (size_t)c * a->ldy + at * SM_GROUP, y[g][c]);
        }
    }
}

/* ng streams of n_groups / ng groups each, end to end; returns the first group after them. */
INLINE size_t streams(const uint32_t type, const int ng, const int nc, const product *a,
                      size_t group, size_t n_groups) {
    const size_t each = (n_groups - group) / (size_t)ng;
    for (size_t g = 0; g < each; g++) {
        tile(type, ng, nc, a, group + g, each);
    }
    return group + each * (size_t)ng;
}

INLINE void columns(const uint32_t type, const int nc, const product *a, size_t n_groups) {
    size_t group = 0;
    if (nc <= 4) {
        group = streams(type, 4, nc, a, group, n_groups);
    }
    group = streams(type, 2, nc, a, group, n_groups);
    streams(type, 1, nc, a, group, n_groups);
}

typedef void columns_fn(const product *a, size_t n_groups);

#define COLUMNS(TYPE, type, nc)                                  \
    static void type##_##nc(const product *a, size_t n_groups) { \
        columns(SM_DTYPE_##TYPE, nc, a, n_groups);               \
    }

/* Whole tiles of 12 columns, the rest as mul does them, in pieces alike. */
INLINE void gemm(const uint32_t type, sm_mul_fn *mul, product a, size_t n_groups, size_t ncols) {
    if (n_groups == 2) {
        for (; ncols >= TILE_COLS; ncols -= TILE_COLS) {
            tile(type, 2, TILE_COLS, &a, 0, 1);
            a.y += TILE_COLS * a.ldy;
            a.x += TILE_COLS * a.ldx;
        }
    }
    for (size_t pieces = (ncols + SM_MUL_COLS - 1) / SM_MUL_COLS; pieces > 0; pieces--) {
        const size_t nc = ncols / pieces;
        mul(a.y, a.ldy, a.packed, a.group_bytes, n_groups, a.k, a.x, a.ldx, nc, a.accumulate);
        a.y += nc * a.ldy;
        a.x += nc * a.ldx;
        ncols -= nc;
    }
}

#define FLOAT(TYPE, type)                                                                         \
    COLUMNS(TYPE, type, 1)                                                                        \
    COLUMNS(TYPE, type, 2)                                                                        \
    COLUMNS(TYPE, type, 3)                                                                        \
    COLUMNS(TYPE, type, 4)                                                                        \
    COLUMNS(TYPE, type, 5)                                                                        \
    COLUMNS(TYPE, type, 6)                                                                        \
    COLUMNS(TYPE, type, 7)                                                                        \
    COLUMNS(TYPE, type, 8)                                                                        \
    void sm_mul_##type##_avx512(float *y, size_t ldy, const void *packed, size_t group_bytes,     \
                                size_t n_groups, size_t k, const void *x, size_t ldx,             \
                                size_t ncols, bool accumulate) {                                  \
        static columns_fn *const by_cols[SM_MUL_COLS] = {type##_1, type##_2, type##_3, type##_4,  \
                                                         type##_5, type##_6, type##_7, type##_8}; \
        product a = {y, ldy, packed, group_bytes, k, x, ldx, accumulate};                         \
        if (ncols > 0) {                                                                          \
            by_cols[ncols - 1](&a, n_groups);                                                     \
        }                                                                                         \
    }                                                                                             \
    void sm_gemm_##type##_avx512(float *y, size_t ldy, const void *packed, size_t group_bytes,    \
                                 size_t n_groups, size_t k, const void *x, size_t ldx,            \
                                 size_t ncols, bool accumulate, void *scratch) {                  \
        (void)scratch;                                                                            \
        product a = {y, ldy, packed, group_bytes, k, x, ldx, accumulate};                         \
        gemm(SM_DTYPE_##TYPE, sm_mul_##type##_avx512, a, n_groups, ncols);                        \
    }

FLOAT(F32, f32)
FLOAT(F16, f16)
FLOAT(BF16, bf16)
