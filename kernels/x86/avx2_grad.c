/* avx2_grad.c - gradients of row operations, AVX2. */
#define LANES 8
#define LEVEL(name) sm_##name##_avx2
#include "grad_impl.h"
