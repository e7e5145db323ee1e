/* avx2_encode.c - the encoders with AVX2. */
#define SM_LANES 256
#define ENCODER(type) sm_encode_##type##_avx2
#include "encode/encode.h"
