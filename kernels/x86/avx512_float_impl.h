/* avx512_float_impl.h - products of the float types on AVX-512: the body of avx512_float.c and
 * avx512bf16_float.c, which define LEVEL(name), the name with the level's suffix, before including
 * it.
 *
 * f32 fma in order of k, the weights converted as they are read; or, of input rounded to bf16,
 * vdpbf16ps over pairs of k. Every element is one chain, so several groups or columns go side by
 * side to fill the pipelines (latency 4, of vdpbf16ps 6; two a cycle).
 */
#include <string.h>

#include "avx512.h"

typedef struct product {
    float *y;
    size_t ldy;
    const uint8_t *packed;
    size_t group_bytes;
    size_t k;
    const void *x; /* f32, or bf16 in rounded products */
    size_t ldx;
    bool accumulate;
    sm_prefetch prefetch; /* of these weights */
    /* What the next call of gemm will read, asked for by and by. */
    const uint8_t *next; /* of the first group; of the second next_apart further on */
    size_t next_apart;
    size_t next_step; /* bytes of it for each pair of columns of K of a tile */
} product;

INLINE product product_at(float *y, size_t ldy, const void *packed, size_t group_bytes, size_t k,
                          const void *x, size_t ldx, bool accumulate, sm_prefetch prefetch) {
    return (product){.y = y,
                     .ldy = ldy,
                     .packed = packed,
                     .group_bytes = group_bytes,
                     .k = k,
                     .x = x,
                     .ldx = ldx,
                     .accumulate = accumulate,
                     .prefetch = prefetch};
}

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

/* Bytes in each of the streams, some KB in all: far enough for memory. */
INLINE size_t prefetch_ahead(const int ng) {
    return ng == 4 ? 1024 : 4096;
}

/* Asks for a part of the weights of the next call, of both groups. */
INLINE void prefetch_next(const int ng, product *a) {
    UNROLL
    for (int g = 0; g < ng; g++) {
        _mm_prefetch((const char *)a->next + (size_t)g * a->next_apart, _MM_HINT_T1);
    }
    a->next += a->next_step;
}

/* A pair of columns of K ahead of the streams. In two steps, first into the second-level cache, are
 * read: from memory half-size weights where the input is f32; and with several columns, which go
 * through weights slowly, on half pipes F32 weights and those of a rounded input. */
INLINE void prefetch_pair(const uint32_t type, const bool rounded, const int ng, const int nc,
                          const sm_prefetch prefetch, const uint8_t *p) {
    if (nc == 1 && prefetch == SM_PREFETCH_NONE) {
        return;
    }
    const bool two_steps = type != SM_DTYPE_F32 && !rounded ? ng < 4 && prefetch == SM_PREFETCH_FAR
                                                            : prefetch == SM_PREFETCH_NONE;
    UNROLL
    for (size_t i = 0; i < pair_bytes(type); i += 64) {
        if (two_steps) {
            _mm_prefetch((const char *)p + 8192 + i, _MM_HINT_T1);
            _mm_prefetch((const char *)p + 1024 + i, _MM_HINT_T0);
        } else {
            _mm_prefetch((const char *)p + prefetch_ahead(ng) + i, _MM_HINT_T0);
        }
    }
}

/* All of K for ng streams and nc columns. */
INLINE void chains(const uint32_t type, const int ng, const int nc, product *a,
                   const uint8_t *p[MOST_STREAMS], __m512 y[MOST_STREAMS][TILE_COLS]) {
    __m512 w[MOST_STREAMS];
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
            if (nc <= SM_MUL_COLS) {
                prefetch_pair(type, false, ng, nc, a->prefetch, p[g]);
            }
            p[g] += pair_bytes(type);
        }
        if (nc == TILE_COLS) {
            prefetch_next(ng, a);
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
}

#ifdef __AVX512BF16__

/* Both columns as bf16, a word per row. */
INLINE __m512i load_pair(const uint32_t type, const uint8_t *p) {
    return type == SM_DTYPE_BF16 ? _mm512_loadu_si512(p)
                                 : bf16_pairs(load_f16(p), load_f16(p + 32));
}

/* The last column of an odd k beside zeros. */
INLINE __m512i load_last(const uint32_t type, const uint8_t *p) {
    return type == SM_DTYPE_BF16 ? _mm512_loadu_si512(p)
                                 : bf16_pairs(load_f16(p), _mm512_setzero_ps());
}

/* n: how many elements of bf16 at x are used, 1 or 2. */
INLINE void add_pairs(const int ng, const int nc, __m512 y[MOST_STREAMS][TILE_COLS],
                      const __m512i w[MOST_STREAMS], const uint16_t *x, size_t ldx,
                      const size_t n) {
    UNROLL
    for (int c = 0; c < nc; c++) {
        int32_t pair = 0;
        memcpy(&pair, x + (size_t)c * ldx, n * sizeof *x);
        const __m512i xc = _mm512_set1_epi32(pair);
        UNROLL
        for (int g = 0; g < ng; g++) {
            y[g][c] = _mm512_dpbf16_ps(y[g][c], (__m512bh)w[g], (__m512bh)xc);
        }
    }
}

INLINE void rounded_chains(const uint32_t type, const int ng, const int nc, product *a,
                           const uint8_t *p[MOST_STREAMS], __m512 y[MOST_STREAMS][TILE_COLS]) {
    __m512i w[MOST_STREAMS];
    const uint16_t *x = a->x;
    const size_t ldx = a->ldx;
    for (size_t pairs = a->k / 2; pairs > 0; pairs--, x += 2) {
        UNROLL
        for (int g = 0; g < ng; g++) {
            w[g] = load_pair(type, p[g]);
            if (nc <= SM_MUL_COLS) {
                prefetch_pair(type, true, ng, nc, a->prefetch, p[g]);
            }
            p[g] += pair_bytes(type);
        }
        if (nc == TILE_COLS) {
            prefetch_next(ng, a);
        }
        add_pairs(ng, nc, y, w, x, ldx, 2);
    }
    if (a->k % 2 != 0) {
        UNROLL
        for (int g = 0; g < ng; g++) {
            w[g] = load_last(type, p[g]);
        }
        add_pairs(ng, nc, y, w, x, ldx, 1);
    }
}

#endif

/* Groups `group`, `group + apart`, ... (ng of them) times nc columns. */
INLINE void tile(const uint32_t type, const bool rounded, const int ng, const int nc, product *a,
                 size_t group, size_t apart) {
    __m512 y[MOST_STREAMS][TILE_COLS];
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
#ifdef __AVX512BF16__
    if (rounded) {
        rounded_chains(type, ng, nc, a, p, y);
    } else {
        chains(type, ng, nc, a, p, y);
    }
#else
    (void)rounded;
    chains(type, ng, nc, a, p, y);
#endif
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
INLINE size_t streams(const uint32_t type, const bool rounded, const int ng, const int nc,
                      product *a, size_t group, size_t n_groups) {
    const size_t each = (n_groups - group) / (size_t)ng;
    for (size_t g = 0; g < each; g++) {
        tile(type, rounded, ng, nc, a, group + g, each);
    }
    return group + each * (size_t)ng;
}

/* Two streams are what memory delivers fastest, enough for the sums not to wait for one another
 * there. From the second-level cache four are faster; that is where small matrices are likely to
 * be. */
#define SMALL (160u << 10)

INLINE void columns(const uint32_t type, const bool rounded, const int nc, product *a,
                    size_t n_groups) {
    size_t group = 0;
    if (nc <= 4 && n_groups * a->group_bytes <= SMALL) {
        group = streams(type, rounded, 4, nc, a, group, n_groups);
    }
    group = streams(type, rounded, 2, nc, a, group, n_groups);
    streams(type, rounded, 1, nc, a, group, n_groups);
}

typedef void columns_fn(product *a, size_t n_groups);

#define COLUMNS(name, TYPE, rounded, nc)                    \
    static void name##_##nc(product *a, size_t n_groups) {  \
        columns(SM_DTYPE_##TYPE, rounded, nc, a, n_groups); \
    }

/* One group as f32: an instruction for each column of K that tiles need not repeat. */
INLINE void unpack(const uint32_t type, float *out, const uint8_t *p, size_t k) {
    for (size_t pairs = k / 2; pairs > 0; pairs--, p += pair_bytes(type), out += 32) {
        _mm512_store_ps(out, load_even(type, p));
        _mm512_store_ps(out + 16, load_odd(type, p));
    }
    if (k % 2 != 0) {
        _mm512_store_ps(out, load_even(type, p));
    }
}

/* Whole tiles of 12 columns, the rest as mul does them, in pieces alike. */
INLINE void gemm(const uint32_t type, const bool rounded, sm_mul_fn *mul, product a,
                 size_t n_groups, size_t ncols) {
    const size_t x_step = a.ldx * (rounded ? sizeof(uint16_t) : sizeof(float));
    if (n_groups == 2) {
        for (; ncols >= TILE_COLS; ncols -= TILE_COLS) {
            tile(type, rounded, 2, TILE_COLS, &a, 0, 1);
            a.y += TILE_COLS * a.ldy;
            a.x = (const uint8_t *)a.x + TILE_COLS * x_step;
        }
    }
    for (size_t pieces = (ncols + SM_MUL_COLS - 1) / SM_MUL_COLS; pieces > 0; pieces--) {
        const size_t nc = ncols / pieces;
        mul(a.y, a.ldy, a.packed, a.group_bytes, n_groups, a.k, a.x, a.ldx, nc, a.accumulate,
            a.prefetch);
        a.y += nc * a.ldy;
        a.x = (const uint8_t *)a.x + nc * x_step;
        ncols -= nc;
    }
}

/* What gemm asks for meanwhile: the weights at next, laid out like those of this call. */
INLINE void ask_for(const uint32_t type, product *a, const void *next, size_t ncols) {
    a->next = next;
    a->next_apart = a->group_bytes;
    a->next_step = ncols >= TILE_COLS ? pair_bytes(type) / (ncols / TILE_COLS) : 0;
    if (next == NULL) { /* one line over and over, which is there */
        a->next = a->packed;
        a->next_apart = a->next_step = 0;
    }
}

/* The product of weights that have been brought to f32. */
typedef void panels_fn(const product *a, size_t n_groups, size_t ncols);

/* Columns from which weights are brought to f32 first, two groups of a slab in scratch. */
#define PANEL_FROM 36

INLINE void gemm_of(const uint32_t type, const bool rounded, sm_mul_fn *mul, panels_fn *panels,
                    product a, size_t n_groups, size_t ncols, const void *next, float *scratch) {
    ask_for(type, &a, next, ncols);
    if (type == SM_DTYPE_F32 || rounded || ncols < PANEL_FROM) {
        gemm(type, rounded, mul, a, n_groups, ncols);
        return;
    }
    for (size_t g = 0; g < n_groups; g++) {
        unpack(type, scratch + g * SM_SLAB * SM_GROUP, a.packed + g * a.group_bytes, a.k);
    }
    a.prefetch = SM_PREFETCH_NEAR;
    a.packed = (const uint8_t *)scratch;
    a.group_bytes = SM_SLAB * SM_GROUP * sizeof *scratch;
    panels(&a, n_groups, ncols);
}

#define MUL(name, TYPE, rounded)                                                                  \
    COLUMNS(name, TYPE, rounded, 1)                                                               \
    COLUMNS(name, TYPE, rounded, 2)                                                               \
    COLUMNS(name, TYPE, rounded, 3)                                                               \
    COLUMNS(name, TYPE, rounded, 4)                                                               \
    COLUMNS(name, TYPE, rounded, 5)                                                               \
    COLUMNS(name, TYPE, rounded, 6)                                                               \
    COLUMNS(name, TYPE, rounded, 7)                                                               \
    COLUMNS(name, TYPE, rounded, 8)                                                               \
    void LEVEL(sm_mul_##name)(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                              size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                              bool accumulate, sm_prefetch prefetch) {                            \
        static columns_fn *const by_cols[SM_MUL_COLS] = {name##_1, name##_2, name##_3, name##_4,  \
                                                         name##_5, name##_6, name##_7, name##_8}; \
        product a = product_at(y, ldy, packed, group_bytes, k, x, ldx, accumulate, prefetch);     \
        if (ncols > 0) {                                                                          \
            by_cols[ncols - 1](&a, n_groups);                                                     \
        }                                                                                         \
    }

#define GEMM(name, TYPE, rounded, panels)                                                          \
    void LEVEL(sm_gemm_##name)(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                               size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                               bool accumulate, const void *next, void *scratch) {                 \
        product a =                                                                                \
            product_at(y, ldy, packed, group_bytes, k, x, ldx, accumulate, SM_PREFETCH_FAR);       \
        gemm_of(SM_DTYPE_##TYPE, rounded, LEVEL(sm_mul_##name), panels, a, n_groups, ncols, next,  \
                scratch);                                                                          \
    }
