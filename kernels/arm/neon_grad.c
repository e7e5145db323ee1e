/* neon_grad.c - gradients of row operations, NEON. */
#define LANES 4
#define LEVEL(name) sm_##name##_neon
#include "grad_impl.h"
