/* i8mm_quant.c - gemm of the quantized types with SMMLA. */
#define LEVEL(name) name##_i8mm
#define DOTPROD 1
#define I8MM 1
#define GEMM_COLS 4
#include "neon_quant_impl.h"
