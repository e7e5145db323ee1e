/* avx512_float.c - products of the float types with f32 input. */
#define LEVEL(name) name##_avx512
#include "avx512_float_impl.h"

MUL(f32, F32, false)
MUL(f16, F16, false)
MUL(bf16, BF16, false)
GEMM(f32, F32, false, NULL)

__attribute__((noinline)) static void panels_f32(const product *a, size_t n_groups, size_t ncols) {
    gemm(SM_DTYPE_F32, false, sm_mul_f32_avx512, *a, n_groups, ncols);
}
GEMM(f16, F16, false, panels_f32)
GEMM(bf16, BF16, false, panels_f32)
