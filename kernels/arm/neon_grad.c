#define LANES 4
#define LEVEL(name) sm_##name##_neon
#include "grad_impl.h"
