/* avx512bf16_tile.c - tiles of pairs of bf16. */
#define LEVEL(name) name##_avx512bf16
#include "avx512_tile_impl.h"

SHAPES(bf16, true)
PANELS(bf16, PAIRS)

void sm_tile_bf16_avx512bf16(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                             size_t n, bool accumulate) {
    bf16_shapes[(m - 1) / 4][n > 16](c, ldc, a, b, (k + 1) / 2, m, n, accumulate);
}
