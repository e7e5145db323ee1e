/* finite.c - whether floats are all finite. */
#include "base.h"

#include <string.h>

/* Looked at before anything is decided: long enough that the loop is a few vector instructions. */
#define TOGETHER 1024

static bool is_finite(const float *x) {
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

uint64_t sm_first_not_finite(const float *x, uint64_t n) {
    for (uint64_t i = 0; i < n; i += TOGETHER) {
        const uint64_t end = n - i < TOGETHER ? n : i + TOGETHER;
        uint32_t bad = 0;
        for (uint64_t k = i; k < end; k++)
            bad |= !is_finite(x + k);
        for (uint64_t k = i; bad && k < end; k++)
            if (!is_finite(x + k))
                return k;
    }
    return n;
}
