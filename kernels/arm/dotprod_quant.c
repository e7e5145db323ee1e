/* dotprod_quant.c - products of the quantized types with SDOT. */
#define LEVEL(name) name##_dotprod
#define DOTPROD 1
#define I8MM 0
#define GEMM_COLS 4
#include "neon_quant_impl.h"
