/* finite.c - whether floats are all finite. */
#include "base.h"

#include <string.h>

/* Looked at before anything is decided: a fixed number, which compilers make a few vector
 * instructions of. */
#define TOGETHER 32

static bool is_finite(const float *x) {
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

/* x - x is 0 or, where x is not finite, NaN. */
static bool all_finite(const float *x) {
    float zero[4] = {0};
    for (uint32_t k = 0; k < TOGETHER; k += 4)
        for (uint32_t lane = 0; lane < 4; lane++)
            zero[lane] += x[k + lane] - x[k + lane];
    return zero[0] + zero[1] + zero[2] + zero[3] == 0;
}

uint64_t sm_first_not_finite(const float *x, uint64_t n) {
    uint64_t i = 0;
    while (n - i >= TOGETHER && all_finite(x + i))
        i += TOGETHER;
    while (i < n && is_finite(x + i))
        i++;
    return i;
}
