/* dotprod_attention_q8.c - attention over a q8_0 cache with SDOT. */
#define LEVEL(name) name##_dotprod
#define DOTPROD 1
#include "attention_q8_impl.h"
