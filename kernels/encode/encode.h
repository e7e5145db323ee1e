/* encode.h - rows of f32 to native blocks: the one source of the encoders of every level.
 *
 * A file of a level defines ENCODER(type) as the name of that type's encoder, perhaps
 * SM_LANES (see lanes.h), and includes this. Every level computes the same operations in
 * the same order, so all give the same bytes. Contract: sm_encode_fn in kernels.h; blocks:
 * blocks.h.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "grids.h"
#include "lanes.h"
#include "pack.h"
#include "table.h"

/* Nothing is infinite or a NaN. */
static bool all_finite(const float *x, size_t n) {
    uint32_t most = 0; /* of the magnitudes' bits, which are in the order of the magnitudes */
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = sm_float_bits(x[i]) & 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return most < 0x7f800000;
}

/* Whether d can be a factor of a block. False for a NaN. */
static inline bool fits_f16(float d) {
    return fabsf(d) < 65520.0f;
}

/* Of 0..limit the whole number nearest to v; 0 for a NaN. */
static inline float nearest(float v, float limit) {
    const float above = v > 0 ? v : 0;
    return (above < limit ? above : limit) + ROUNDING - ROUNDING;
}

/* Stands for the factor of a block that cannot be encoded: its elements decode to NaNs. */
#define NOT_A_NUMBER 0x7e00

#define FOR_EACH_BLOCK(block_type, size) \
    block_type *b = row;                 \
    for (size_t n = 0; n < k / size;     \
         n++, b++, x += size, importance = importance != NULL ? importance + size : NULL)
#define FOR_BLOCKS(block_type) FOR_EACH_BLOCK(block_type, 32)
#define FOR_SUPER_BLOCKS(block_type) FOR_EACH_BLOCK(block_type, 256)

/* Whole numbers -zero..255-zero as bytes. */
static inline void take_codes(uint8_t *code, const float *q, int zero, size_t n) {
    for (size_t i = 0; i < n; i++) {
        code[i] = (uint8_t)((int)q[i] + zero);
    }
}

/* Codes of a block of 32 as nibbles in halves of the block. */
static inline void pack_nibbles(uint8_t qs[16], const uint8_t code[32]) {
    for (size_t j = 0; j < 16; j++) {
        qs[j] = (uint8_t)((code[j] & 15) | (code[j + 16] & 15) << 4);
    }
}

#include "search.h"
#include "blocks32.h"
#include "blocks256.h"
#include "codebooks.h"
