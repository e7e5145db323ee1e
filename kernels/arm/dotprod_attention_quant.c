/* dotprod_attention_quant.c - attention over a quantized cache with SDOT. */
#define LEVEL(name) name##_dotprod
#define DOTPROD 1
#include "attention_quant_impl.h"
