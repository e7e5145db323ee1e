/* avx512_quant.c - products with quantized weights, tuned to CPUs with two vector pipes. */
#define LEVEL(name) name##_avx512
#define TWO_PIPES 1
#include "avx512_quant_impl.h"
