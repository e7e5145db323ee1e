/* neon_quant.c - products of the quantized types on any Armv8-A: multiply-long and pairwise adds.
 */
#define LEVEL(name) name##_neon
#define DOTPROD 0
#define I8MM 0
#define GEMM_COLS 2
#include "neon_quant_impl.h"
