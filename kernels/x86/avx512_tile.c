/* avx512_tile.c - tiles of f32. Elements rounded to bf16 stay f32: this level has no instruction
 * for pairs of them.
 */
#define LEVEL(name) name##_avx512
#include "avx512_tile_impl.h"

SHAPES(f32, false)
PANELS(f32, EXACT)
PANELS(bf16, ROUNDED)

void sm_tile_f32_avx512(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                        size_t n, bool accumulate) {
    f32_shapes[(m - 1) / 4][n > 16](c, ldc, a, b, k, m, n, accumulate);
}
void sm_tile_bf16_avx512(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                         size_t n, bool accumulate) {
    sm_tile_f32_avx512(c, ldc, a, b, k, m, n, accumulate);
}
