/* avx512_float.c - products of the float types with f32 input. */
#define LEVEL(name) name##_avx512
#include "avx512_float_impl.h"

MUL(f32, F32, false)
MUL(f16, F16, false)
MUL(bf16, BF16, false)
GEMM(f32, F32, false, NULL)
GEMM(f16, F16, false, sm_mul_f32_avx512)
GEMM(bf16, BF16, false, sm_mul_f32_avx512)
