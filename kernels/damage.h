/* damage.h - activations that are not finite keep being seen when they are quantized. */
#ifndef SM_DAMAGE_H
#define SM_DAMAGE_H

#include <math.h>
#include <string.h>

#include "kernels.h"

/* A block of which one element is infinite or NaN has no codes and NaN for scale: maxima and
 * conversions to integers would lose it. True if it was one. */
static inline bool sm_damage_block(sm_act_block *out, const float *x) {
    uint32_t damaged = 0;
    for (size_t j = 0; j < 32; j++) {
        uint32_t bits;
        memcpy(&bits, x + j, sizeof bits);
        damaged |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (!damaged)
        return false;
    memset(out, 0, sizeof *out);
    out->d = out->ds = out->ds16[0] = out->ds16[1] = NAN;
    return true;
}

#endif
