#define LEVEL(name) sm_##name##_avx2
#include "grad_impl.h"
