/* avx2_quant.c - products with quantized weights: multiply bytes and add pairs of products. */
#define LEVEL(name) name##_avx2
#define VNNI 0
#include "avx2_quant_impl.h"
