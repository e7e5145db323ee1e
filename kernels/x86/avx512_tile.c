/* avx512_tile.c - tiles of 12 x 32: 24 sums, two vectors of B, one broadcast of A. */
#include "avx512.h"

#define MR 12
#define NR 32

/* sum + a * b, of f32 or of pairs of bf16 */
INLINE __m512 multiply_add(const bool pairs, __m512 sum, __m512 a, __m512 b) {
    return pairs ? _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b) : _mm512_fmadd_ps(a, b, sum);
}

/* Sums of `rows` rows and 16 * vectors columns over `steps` elements or pairs of k. */
INLINE void product(const bool pairs, const int rows, const int vectors, float *c, size_t ldc,
                    const float *a, const float *b, size_t steps, size_t m, size_t n,
                    bool accumulate) {
    __m512 sum[MR][2];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_ps();
        }
        if ((size_t)i < m) {
            _mm_prefetch((const char *)(c + (size_t)i * ldc), _MM_HINT_T0);
            _mm_prefetch((const char *)(c + (size_t)i * ldc + n - 1), _MM_HINT_T0);
        }
    }
    for (; steps > 0; steps--, a += MR, b += NR) {
        __m512 bv[2];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            bv[v] = _mm512_loadu_ps(b + 16 * v);
        }
        UNROLL
        for (int i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(a[i]);
            UNROLL
            for (int v = 0; v < vectors; v++) {
                sum[i][v] = multiply_add(pairs, sum[i][v], x, bv[v]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if ((size_t)i < m) {
                float *to = c + (size_t)i * ldc + 16 * v;
                const __mmask16 kept = lanes(n < 16 * (size_t)v + 16 ? n - 16 * (size_t)v : 16);
                if (accumulate) {
                    sum[i][v] = _mm512_add_ps(_mm512_maskz_loadu_ps(kept, to), sum[i][v]);
                }
                _mm512_mask_storeu_ps(to, kept, sum[i][v]);
            }
        }
    }
}

typedef void tile_fn(float *c, size_t ldc, const float *a, const float *b, size_t steps, size_t m,
                     size_t n, bool accumulate);

#define SHAPE(type, pairs, rows, vectors)                                                       \
    static void type##_##rows##_##vectors(float *c, size_t ldc, const float *a, const float *b, \
                                          size_t steps, size_t m, size_t n, bool accumulate) {  \
        product(pairs, rows, vectors, c, ldc, a, b, steps, m, n, accumulate);                   \
    }
/* small tiles do not wait for work on elements they lack */
#define SHAPES(type, pairs)                       \
    SHAPE(type, pairs, 4, 1)                      \
    SHAPE(type, pairs, 4, 2)                      \
    SHAPE(type, pairs, 8, 1)                      \
    SHAPE(type, pairs, 8, 2)                      \
    SHAPE(type, pairs, 12, 1)                     \
    SHAPE(type, pairs, 12, 2)                     \
    static tile_fn *const type##_shapes[3][2] = { \
        {type##_4_1, type##_4_2}, {type##_8_1, type##_8_2}, {type##_12_1, type##_12_2}};

SHAPES(f32, false)
SHAPES(bf16, true)

void sm_tile_f32_avx512(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                        size_t n, bool accumulate) {
    f32_shapes[(m - 1) / 4][n > 16](c, ldc, a, b, k, m, n, accumulate);
}
void sm_tile_bf16_avx512(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                         size_t n, bool accumulate) {
    bf16_shapes[(m - 1) / 4][n > 16](c, ldc, a, b, (k + 1) / 2, m, n, accumulate);
}

/* ---- packing -------------------------------------------------------------------------- */

/* Lanes that elements `at` .. at + 15 of n have. */
INLINE __mmask16 lanes_from(size_t n, size_t at) {
    return n <= at ? 0 : lanes(n - at < 16 ? n - at : 16);
}

void sm_panel_rows_f32_avx512(void *panel, size_t width, const float *src, size_t ld, size_t n,
                              size_t k) {
    float *to = panel;
    for (size_t l = 0; l < k; l++, to += width, src += ld) {
        for (size_t at = 0; at < width; at += 16) {
            __m512 x = _mm512_maskz_loadu_ps(lanes_from(n, at), src + at);
            _mm512_mask_storeu_ps(to + at, lanes_from(width, at), x);
        }
    }
}

void sm_panel_rows_bf16_avx512(void *panel, size_t width, const float *src, size_t ld, size_t n,
                               size_t k) {
    uint32_t *to = panel;
    for (size_t l = 0; l < k; l += 2, to += width, src += 2 * ld) {
        for (size_t at = 0; at < width; at += 16) {
            const __mmask16 kept = lanes_from(n, at);
            __m512 x0 = _mm512_maskz_loadu_ps(kept, src + at);
            __m512 x1 = _mm512_maskz_loadu_ps(l + 1 < k ? kept : 0, src + ld + at);
            _mm512_mask_storeu_epi32(to + at, lanes_from(width, at), bf16_pairs(x0, x1));
        }
    }
}

/* Sixteen words of sixteen rows, rows and columns exchanged. */
INLINE void transpose(__m512i r[16]) {
    __m512i t[16];
    UNROLL
    for (int i = 0; i < 16; i += 2) { /* pairs of rows */
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 inside each 128-bit part */
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    UNROLL
    for (int i = 0; i < 4; i++) { /* the parts of rows 0-7 and of rows 8-15 */
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    UNROLL
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* Columns l .. l + 15 (pairs: l .. l + 31) of row i as words; past k and n zeros. */
INLINE __m512i load_words(const bool pairs, const float *src, size_t ld, size_t i, size_t n,
                          size_t l, size_t k) {
    if (i >= n) {
        return _mm512_setzero_si512();
    }
    const float *from = src + i * ld + l;
    __m512 x0 = _mm512_maskz_loadu_ps(lanes_from(k, l), from);
    if (!pairs) {
        return _mm512_castps_si512(x0);
    }
    __m512 x1 = _mm512_maskz_loadu_ps(lanes_from(k, l + 16), from + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(x1, x0); /* words are pairs of k already */
}

INLINE void columns(const bool pairs, uint32_t *panel, size_t width, const float *src, size_t ld,
                    size_t n, size_t k) {
    const size_t words = pairs ? (k + 1) / 2 : k;
    for (size_t w = 0; w < words; w += 16) {
        const size_t rows = words - w < 16 ? words - w : 16;
        for (size_t at = 0; at < width; at += 16) {
            __m512i r[16];
            UNROLL
            for (size_t i = 0; i < 16; i++) {
                r[i] = load_words(pairs, src, ld, at + i, n, pairs ? 2 * w : w, k);
            }
            transpose(r);
            const __mmask16 kept = lanes_from(width, at);
            uint32_t *to = panel + w * width + at;
            UNROLL
            for (size_t i = 0; i < 16; i++) {
                if (i < rows) {
                    _mm512_mask_storeu_epi32(to + i * width, kept, r[i]);
                }
            }
        }
    }
}

void sm_panel_columns_f32_avx512(void *panel, size_t width, const float *src, size_t ld, size_t n,
                                 size_t k) {
    columns(false, panel, width, src, ld, n, k);
}
void sm_panel_columns_bf16_avx512(void *panel, size_t width, const float *src, size_t ld, size_t n,
                                  size_t k) {
    columns(true, panel, width, src, ld, n, k);
}
