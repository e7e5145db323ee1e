/* avxvnni_quant.c - products with quantized weights with the 4-way dot product of AVX-VNNI. */
#define LEVEL(name) name##_avxvnni
#define VNNI 1
#include "avx2_quant_impl.h"
