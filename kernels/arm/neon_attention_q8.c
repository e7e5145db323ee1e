/* neon_attention_q8.c - attention over a q8_0 cache on any Armv8-A. */
#define LEVEL(name) name##_neon
#define DOTPROD 0
#include "attention_q8_impl.h"
