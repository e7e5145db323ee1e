/* avx512_update.c - optimizer updates, AVX-512. */
#define UPDATE(op) sm_##op##_avx512
#include "update_impl.h"
