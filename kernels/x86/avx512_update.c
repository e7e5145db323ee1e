#define UPDATE(op) sm_##op##_avx512
#include "update_impl.h"
