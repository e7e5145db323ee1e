/* avx512_encode.c - the encoders with AVX-512. */
#define SM_LANES 512
#define ENCODER(type) sm_encode_##type##_avx512
#include "encode/encode.h"
