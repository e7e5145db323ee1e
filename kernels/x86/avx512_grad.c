/* avx512_grad.c - gradients of row operations, AVX-512. */
#define LANES 16
#define LEVEL(name) sm_##name##_avx512
#include "grad_impl.h"
