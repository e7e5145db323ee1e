/* avx2_tile.c - tiles of 6 x 16: 12 sums, two vectors of B, one broadcast of A. Elements
 * rounded to bf16 stay f32: there is no instruction for them.
 */
#include "avx2.h"

#define MR 6
#define NR 16

/* The low n lanes (none where n is not positive). */
INLINE __m256i lanes(size_t n) {
    const __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8), number);
}

INLINE void product(const int rows, const int vectors, float *c, size_t ldc, const float *a,
                    const float *b, size_t k, size_t m, size_t n, bool accumulate) {
    __m256 sum[MR][2];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[i][v] = _mm256_setzero_ps();
        }
        if ((size_t)i < m) {
            _mm_prefetch((const char *)(c + (size_t)i * ldc), _MM_HINT_T0);
            _mm_prefetch((const char *)(c + (size_t)i * ldc + n - 1), _MM_HINT_T0);
        }
    }
    for (; k > 0; k--, a += MR, b += NR) {
        __m256 bv[2];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            bv[v] = _mm256_loadu_ps(b + 8 * v);
        }
        UNROLL
        for (int i = 0; i < rows; i++) {
            __m256 x = _mm256_broadcast_ss(a + i);
            UNROLL
            for (int v = 0; v < vectors; v++) {
                sum[i][v] = _mm256_fmadd_ps(x, bv[v], sum[i][v]);
            }
        }
    }
    __m256i kept[2];
    kept[0] = lanes(n);
    kept[1] = lanes(n < 8 ? 0 : n - 8);
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if ((size_t)i < m) {
                float *to = c + (size_t)i * ldc + 8 * v;
                if (accumulate) {
                    sum[i][v] = _mm256_add_ps(_mm256_maskload_ps(to, kept[v]), sum[i][v]);
                }
                _mm256_maskstore_ps(to, kept[v], sum[i][v]);
            }
        }
    }
}

void sm_tile_f32_avx2(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                      size_t n, bool accumulate) {
    if (n > 8) {
        product(6, 2, c, ldc, a, b, k, m, n, accumulate);
    } else {
        product(6, 1, c, ldc, a, b, k, m, n, accumulate);
    }
}
void sm_tile_bf16_avx2(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                       size_t n, bool accumulate) {
    sm_tile_f32_avx2(c, ldc, a, b, k, m, n, accumulate);
}

/* ---- packing -------------------------------------------------------------------------- */

/* x as bf16 holds it: to nearest even; NaN stays one. */
INLINE __m256 round_bf16(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256 rounded =
        _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32((int)0xffff0000)));
    return _mm256_blendv_ps(rounded, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

/* Row by row across all panels: long pieces of memory. */
INLINE void rows(const bool bf16, float *panels, size_t width, const float *src, size_t ld,
                 size_t n, size_t k) {
    for (size_t l = 0; l < k; l++) {
        float *to = panels + l * width;
        for (size_t begin = 0; begin < n; begin += width, to += k * width) {
            const size_t there = n - begin < width ? n - begin : width;
            for (size_t at = 0; at < width; at += 8) {
                const __m256i read = lanes(there < at ? 0 : there - at);
                __m256 x = _mm256_maskload_ps(src + l * ld + begin + at, read);
                _mm256_maskstore_ps(to + at, lanes(width - at), bf16 ? round_bf16(x) : x);
            }
        }
    }
}

/* Eight floats of eight rows, rows and columns exchanged. */
INLINE void transpose(__m256 r[8]) {
    __m256 t[8];
    UNROLL
    for (int i = 0; i < 8; i += 2) { /* pairs of rows */
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) { /* 4 x 4 inside each 128-bit part */
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    UNROLL
    for (int i = 0; i < 8; i++) {
        r[i] = t[i];
    }
}

/* Eight rows of a panel from row i of src on, there < end, columns l .. l + 7. */
INLINE void exchange(const bool bf16, float *to, size_t width, __m256i written, const float *src,
                     size_t ld, size_t i, size_t end, size_t l, size_t k) {
    const size_t depth = k - l < 8 ? k - l : 8;
    const __m256i read = lanes(depth);
    __m256 r[8];
    UNROLL
    for (size_t j = 0; j < 8; j++) {
        r[j] = _mm256_setzero_ps();
        if (i + j < end) {
            r[j] = _mm256_maskload_ps(src + (i + j) * ld + l, read);
        }
        r[j] = bf16 ? round_bf16(r[j]) : r[j];
    }
    transpose(r);
    UNROLL
    for (size_t j = 0; j < 8; j++) {
        if (j < depth) {
            _mm256_maskstore_ps(to + j * width, written, r[j]);
        }
    }
}

INLINE void columns(const bool bf16, float *panel, size_t width, const float *src, size_t ld,
                    size_t n, size_t k) {
    for (size_t i = 0; i < n; i += width, panel += k * width) {
        const size_t end = i + width < n ? i + width : n;
        for (size_t l = 0; l < k; l += 8) {
            for (size_t at = 0; at < width; at += 8) {
                exchange(bf16, panel + l * width + at, width, lanes(width - at), src, ld, i + at,
                         end, l, k);
            }
        }
    }
}

void sm_panel_rows_f32_avx2(void *panels, size_t width, const float *src, size_t ld, size_t n,
                            size_t k) {
    rows(false, panels, width, src, ld, n, k);
}
void sm_panel_columns_f32_avx2(void *panels, size_t width, const float *src, size_t ld, size_t n,
                               size_t k) {
    columns(false, panels, width, src, ld, n, k);
}
void sm_panel_rows_bf16_avx2(void *panels, size_t width, const float *src, size_t ld, size_t n,
                             size_t k) {
    rows(true, panels, width, src, ld, n, k);
}
void sm_panel_columns_bf16_avx2(void *panels, size_t width, const float *src, size_t ld, size_t n,
                                size_t k) {
    columns(true, panels, width, src, ld, n, k);
}
