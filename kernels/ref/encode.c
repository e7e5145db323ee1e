/* encode.c - the encoders, portable. */
#define ENCODER(type) sm_encode_##type##_ref
#include "encode/encode.h"
