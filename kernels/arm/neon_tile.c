/* neon_tile.c - tiles of 8 x 12: 24 sums, three vectors of B, two of A taken lane by lane.
 * Elements rounded to bf16 stay f32: the instructions for them came with a later level.
 */
#include "simd.h"

#define MR 8
#define NR 12

INLINE void store(float *c, float32x4_t sum, size_t n, bool accumulate) {
    if (n >= 4) {
        vst1q_f32(c, accumulate ? vaddq_f32(vld1q_f32(c), sum) : sum);
        return;
    }
    float part[4];
    vst1q_f32(part, sum);
    for (size_t j = 0; j < n; j++) {
        c[j] = accumulate ? c[j] + part[j] : part[j];
    }
}

INLINE void product(const unsigned vectors, float *c, size_t ldc, const float *a, const float *b,
                    size_t k, size_t m, size_t n, bool accumulate) {
    float32x4_t sum[MR][3];
    UNROLL
    for (unsigned i = 0; i < MR; i++) {
        UNROLL
        for (unsigned v = 0; v < vectors; v++) {
            sum[i][v] = vdupq_n_f32(0);
        }
    }
    for (; k > 0; k--, a += MR, b += NR) {
        const float32x4_t av[2] = {vld1q_f32(a), vld1q_f32(a + 4)};
        UNROLL
        for (unsigned v = 0; v < vectors; v++) {
            const float32x4_t bv = vld1q_f32(b + 4 * v);
            UNROLL
            for (unsigned i = 0; i < MR; i++) {
                sum[i][v] = fma_lane(sum[i][v], bv, av[i / 4], i % 4);
            }
        }
    }
    UNROLL
    for (unsigned i = 0; i < MR; i++) {
        UNROLL
        for (unsigned v = 0; v < vectors; v++) {
            if (i < m && 4 * v < n) {
                store(c + i * ldc + 4 * v, sum[i][v], n - 4 * v, accumulate);
            }
        }
    }
}

void sm_tile_f32_neon(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                      size_t n, bool accumulate) {
    if (n > 8) {
        product(3, c, ldc, a, b, k, m, n, accumulate);
    } else if (n > 4) {
        product(2, c, ldc, a, b, k, m, n, accumulate);
    } else {
        product(1, c, ldc, a, b, k, m, n, accumulate);
    }
}
void sm_tile_bf16_neon(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                       size_t n, bool accumulate) {
    sm_tile_f32_neon(c, ldc, a, b, k, m, n, accumulate);
}

/* ---- packing -------------------------------------------------------------------------- */

/* x as bf16 holds it: to nearest even; NaN stays one. */
INLINE float32x4_t round_bf16(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t rounded = vandq_u32(up, vdupq_n_u32(0xffff0000));
    return vbslq_f32(vceqq_f32(x, x), vreinterpretq_f32_u32(rounded), x);
}

/* The first n floats at p, then zeros. */
INLINE float32x4_t load_part(const float *p, size_t n) {
    if (n >= 4) {
        return vld1q_f32(p);
    }
    float part[4] = {0};
    for (size_t i = 0; i < n; i++) {
        part[i] = p[i];
    }
    return vld1q_f32(part);
}

/* Row by row across all panels: long pieces of memory. */
INLINE void rows(bool bf16, float *panels, size_t width, const float *src, size_t ld, size_t n,
                 size_t k) {
    for (size_t l = 0; l < k; l++) {
        float *to = panels + l * width;
        for (size_t begin = 0; begin < n; begin += width, to += k * width) {
            for (size_t at = begin; at < begin + width; at += 4) {
                float32x4_t x = load_part(src + l * ld + at, n > at ? n - at : 0);
                vst1q_f32(to + at - begin, bf16 ? round_bf16(x) : x);
            }
        }
    }
}

/* Four rows of a panel from row i of src on, columns l .. l + 3. */
INLINE void exchange(bool bf16, float *to, size_t width, const float *src, size_t ld, size_t i,
                     size_t n, size_t l, size_t k) {
    const size_t depth = k - l < 4 ? k - l : 4;
    float32x4_t r[4];
    UNROLL
    for (size_t j = 0; j < 4; j++) {
        r[j] = load_part(src + (i + j) * ld + l, i + j < n ? depth : 0);
        r[j] = bf16 ? round_bf16(r[j]) : r[j];
    }
    const float32x4x2_t low = vzipq_f32(r[0], r[2]), high = vzipq_f32(r[1], r[3]);
    const float32x4x2_t first = vzipq_f32(low.val[0], high.val[0]);
    const float32x4x2_t last = vzipq_f32(low.val[1], high.val[1]);
    const float32x4_t column[4] = {first.val[0], first.val[1], last.val[0], last.val[1]};
    UNROLL
    for (size_t j = 0; j < 4; j++) {
        if (j < depth) {
            vst1q_f32(to + j * width, column[j]);
        }
    }
}

INLINE void columns(bool bf16, float *panel, size_t width, const float *src, size_t ld, size_t n,
                    size_t k) {
    for (size_t i = 0; i < n; i += width, panel += k * width) {
        for (size_t l = 0; l < k; l += 4) {
            for (size_t at = 0; at < width; at += 4) {
                exchange(bf16, panel + l * width + at, width, src, ld, i + at, n, l, k);
            }
        }
    }
}

void sm_panel_rows_f32_neon(void *panels, size_t width, const float *src, size_t ld, size_t n,
                            size_t k) {
    rows(false, panels, width, src, ld, n, k);
}
void sm_panel_columns_f32_neon(void *panels, size_t width, const float *src, size_t ld, size_t n,
                               size_t k) {
    columns(false, panels, width, src, ld, n, k);
}
void sm_panel_rows_bf16_neon(void *panels, size_t width, const float *src, size_t ld, size_t n,
                             size_t k) {
    rows(true, panels, width, src, ld, n, k);
}
void sm_panel_columns_bf16_neon(void *panels, size_t width, const float *src, size_t ld, size_t n,
                                size_t k) {
    columns(true, panels, width, src, ld, n, k);
}
