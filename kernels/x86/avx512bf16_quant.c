/* avx512bf16_quant.c - products with quantized weights, tuned to CPUs with four vector pipes. */
#define LEVEL(name) name##_avx512bf16
#define TWO_PIPES 0
#include "avx512_quant_impl.h"
