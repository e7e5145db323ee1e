/* avx2_update.c - optimizer updates, AVX2. */
#define UPDATE(op) sm_##op##_avx2
#include "update_impl.h"
