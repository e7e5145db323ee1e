/* tile.c - tiles of f32 matrix products, portable. Products and sums are rounded one by one:
 * compilers make vectors of that on any CPU, and without an instruction for it fmaf is slow.
 */
#include "table.h"

#define MR 4
#define NR 8

static void product(float *c, size_t ldc, const float *a, const float *b, size_t k, size_t m,
                    size_t n, bool accumulate) {
    float sum[MR][NR] = {{0}};
    for (size_t l = 0; l < k; l++) {
        for (size_t i = 0; i < MR; i++) {
            for (size_t j = 0; j < NR; j++) {
                sum[i][j] += a[l * MR + i] * b[l * NR + j];
            }
        }
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            c[i * ldc + j] = accumulate ? c[i * ldc + j] + sum[i][j] : sum[i][j];
        }
    }
}

/* Element (i, l) is src[i * row + l * column]. */
static void pack(float *panels, size_t width, const float *src, size_t row, size_t column, size_t n,
                 size_t k, bool bf16) {
    for (size_t at = 0; at < n; at += width, panels += width * k) {
        for (size_t l = 0; l < k; l++) {
            for (size_t i = 0; i < width; i++) {
                float x = at + i < n ? src[(at + i) * row + l * column] : 0;
                panels[l * width + i] = bf16 ? sm_bf16_to_f32(sm_f32_to_bf16(x)) : x;
            }
        }
    }
}

void sm_tile_f32_ref(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                     size_t n, bool accumulate) {
    product(c, ldc, a, b, k, m, n, accumulate);
}
void sm_panel_rows_f32_ref(void *panels, size_t width, const float *src, size_t ld, size_t n,
                           size_t k) {
    pack(panels, width, src, 1, ld, n, k, false);
}
void sm_panel_columns_f32_ref(void *panels, size_t width, const float *src, size_t ld, size_t n,
                              size_t k) {
    pack(panels, width, src, ld, 1, n, k, false);
}

void sm_tile_bf16_ref(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                      size_t n, bool accumulate) {
    product(c, ldc, a, b, k, m, n, accumulate);
}
void sm_panel_rows_bf16_ref(void *panels, size_t width, const float *src, size_t ld, size_t n,
                            size_t k) {
    pack(panels, width, src, 1, ld, n, k, true);
}
void sm_panel_columns_bf16_ref(void *panels, size_t width, const float *src, size_t ld, size_t n,
                               size_t k) {
    pack(panels, width, src, ld, 1, n, k, true);
}
