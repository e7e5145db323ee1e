/* neon_attention_quant.c - attention over a quantized cache on any Armv8-A. */
#define LEVEL(name) name##_neon
#define DOTPROD 0
#include "attention_quant_impl.h"
