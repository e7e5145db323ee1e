#define UPDATE(op) sm_##op##_avx2
#include "update_impl.h"
