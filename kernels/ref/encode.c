/* encode.c - the encoders, portable. */
#define ENCODER(type) sm_encode_##type##_ref
#include "encode/encode.h"
/* types of which this is the only encoder */
#include "encode/fp4.h"
#include "encode/ternary.h"
