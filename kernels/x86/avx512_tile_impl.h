/* avx512_tile_impl.h - tiles of 12 x 32: 24 sums, two vectors of B, one broadcast of A. The body of
 * avx512_tile.c and avx512bf16_tile.c, which define LEVEL(name), the name with the level's suffix,
 * before including it.
 */
#include "avx512.h"

/* What panels hold: f32, f32 of values that bf16 has, or pairs of bf16. */
enum { EXACT, ROUNDED, PAIRS };

#define MR 12
#define NR 32

/* sum + a * b, of f32 or of pairs of bf16 */
INLINE __m512 multiply_add(const bool pairs, __m512 sum, __m512 a, __m512 b) {
#ifdef __AVX512BF16__
    if (pairs) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
#endif
    (void)pairs;
    return _mm512_fmadd_ps(a, b, sum);
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

/* ---- packing -------------------------------------------------------------------------- */

/* Lanes that elements `at` .. at + 15 of n have. */
INLINE __mmask16 lanes_from(size_t n, size_t at) {
    return n <= at ? 0 : lanes(n - at < 16 ? n - at : 16);
}

/* Rows of src that are walked together: they may all fall into the same sets of the caches. */
#define ROWS_TOGETHER 8

/* Words of panels that hold no pairs. */
INLINE __m512i values(const int form, __m512 x) {
    return form == EXACT ? _mm512_castps_si512(x)
                         : _mm512_and_si512(bf16_bits(x), _mm512_set1_epi32((int)0xffff0000));
}

/* Word `word` of elements at .. at + 15 below end: row `word`, or rows 2 word and 2 word + 1. */
INLINE __m512i row_words(const int form, const float *src, size_t ld, size_t at, size_t end,
                         size_t word, size_t k) {
    const __mmask16 there = lanes_from(end, at);
#ifdef __AVX512BF16__
    if (form == PAIRS) {
        const float *from = src + 2 * word * ld + at;
        __m512 x0 = _mm512_maskz_loadu_ps(there, from);
        __m512 x1 = _mm512_maskz_loadu_ps(2 * word + 1 < k ? there : 0, from + ld);
        return bf16_pairs(x0, x1);
    }
#endif
    (void)k;
    return values(form, _mm512_maskz_loadu_ps(there, src + word * ld + at));
}

/* The low twelve of four vectors end to end. */
INLINE void store_twelves(uint32_t *to, const __m512i r[4]) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19);
    const __m512i second =
        _mm512_setr_epi32(4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23);
    const __m512i third =
        _mm512_setr_epi32(8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi32(r[0], first, r[1]));
    _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi32(r[1], second, r[2]));
    _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi32(r[2], third, r[3]));
}

/* Words [word, last) of one panel. */
INLINE void row_panel(const int form, const size_t width, uint32_t *panel, const float *src,
                      size_t ld, size_t begin, size_t end, size_t word, size_t last, size_t k) {
    uint32_t *to = panel + word * width;
    for (; width == 12 && word + 4 <= last; word += 4, to += 4 * width) {
        __m512i r[4];
        UNROLL
        for (size_t i = 0; i < 4; i++) {
            r[i] = row_words(form, src, ld, begin, end, word + i, k);
        }
        store_twelves(to, r);
    }
    for (; word < last; word++, to += width) {
        UNROLL
        for (size_t at = 0; at < width; at += 16) {
            _mm512_mask_storeu_epi32(to + at, lanes_from(width, at),
                                     row_words(form, src, ld, begin + at, end, word, k));
        }
    }
}

INLINE void rows(const int form, const size_t width, uint32_t *panels, const float *src, size_t ld,
                 size_t n, size_t k) {
    const size_t words = form == PAIRS ? (k + 1) / 2 : k;
    const size_t step = form == PAIRS ? ROWS_TOGETHER / 2 : ROWS_TOGETHER;
    for (size_t word = 0; word < words; word += step) {
        const size_t last = word + step < words ? word + step : words;
        const size_t next = form == PAIRS ? 2 * last : last;
        for (size_t l = next; l < next + ROWS_TOGETHER && l < k; l++) {
            for (size_t i = 0; i < n; i += 16) {
                _mm_prefetch((const char *)(src + l * ld + i), _MM_HINT_T0);
            }
        }
        uint32_t *panel = panels;
        for (size_t begin = 0; begin < n; begin += width, panel += words * width) {
            const size_t end = begin + width < n ? begin + width : n;
            row_panel(form, width, panel, src, ld, begin, end, word, last, k);
        }
    }
}

INLINE void rows_of(const int form, uint32_t *panels, size_t width, const float *src, size_t ld,
                    size_t n, size_t k) {
    if (width == MR) {
        rows(form, MR, panels, src, ld, n, k);
    } else {
        rows(form, NR, panels, src, ld, n, k);
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

#define AHEAD 128 /* elements of each row that are fetched before their use */

/* Sixteen words of row i from column l on (pairs: of 32 columns); past k and n zeros. */
INLINE __m512i column_words(const int form, const float *src, size_t ld, size_t i, size_t n,
                            size_t l, size_t k) {
    if (i >= n) {
        return _mm512_setzero_si512();
    }
    const float *from = src + i * ld + l;
    __m512 x0 = _mm512_maskz_loadu_ps(lanes_from(k, l), from);
#ifdef __AVX512BF16__
    if (form == PAIRS) {
        __m512 x1 = _mm512_maskz_loadu_ps(lanes_from(k, l + 16), from + 16);
        return (__m512i)_mm512_cvtne2ps_pbh(x1, x0); /* words are pairs of k already */
    }
#endif
    return values(form, x0);
}

/* Sixteen rows of a panel, kept of them stored, from row i of src on. */
INLINE void exchange(const int form, uint32_t *to, size_t width, __mmask16 kept, const float *src,
                     size_t ld, size_t i, size_t end, size_t k, size_t word, size_t words) {
    const size_t l = form == PAIRS ? 2 * word : word;
    __m512i r[16];
    UNROLL
    for (size_t j = 0; j < 16; j++) {
        r[j] = column_words(form, src, ld, i + j, end, l, k);
    }
    transpose(r);
    UNROLL
    for (size_t j = 0; j < 16; j++) {
        if (word + j < words) {
            _mm512_mask_storeu_epi32(to + j * width, kept, r[j]);
        }
    }
}

/* Asks for columns l + AHEAD on of the rows of a panel, or for the first of the next panel. */
INLINE void fetch_ahead(const int form, const float *src, size_t ld, size_t i, size_t width,
                        size_t n, size_t l, size_t k) {
    size_t column = l + AHEAD;
    if (column >= k) {
        column -= k;
        i += width;
    }
    const size_t end = i + width < n ? i + width : n;
    for (; i < end; i++) {
        _mm_prefetch((const char *)(src + i * ld + column), _MM_HINT_T0);
        if (form == PAIRS) {
            _mm_prefetch((const char *)(src + i * ld + column + 16), _MM_HINT_T0);
        }
    }
}

INLINE void columns(const int form, uint32_t *panel, size_t width, const float *src, size_t ld,
                    size_t n, size_t k) {
    const size_t words = form == PAIRS ? (k + 1) / 2 : k;
    for (size_t i = 0; i < n; i += width, panel += words * width) {
        const size_t end = i + width < n ? i + width : n;
        for (size_t word = 0; word < words; word += 16) {
            fetch_ahead(form, src, ld, i, width, n, form == PAIRS ? 2 * word : word, k);
            for (size_t at = 0; at < width; at += 16) {
                exchange(form, panel + word * width + at, width, lanes_from(width, at), src, ld,
                         i + at, end, k, word, words);
            }
        }
    }
}

#define PANELS(name, form)                                                                       \
    void LEVEL(sm_panel_rows_##name)(void *panels, size_t width, const float *src, size_t ld,    \
                                     size_t n, size_t k) {                                       \
        rows_of(form, panels, width, src, ld, n, k);                                             \
    }                                                                                            \
    void LEVEL(sm_panel_columns_##name)(void *panels, size_t width, const float *src, size_t ld, \
                                        size_t n, size_t k) {                                    \
        columns(form, panels, width, src, ld, n, k);                                             \
    }
