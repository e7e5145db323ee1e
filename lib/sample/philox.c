/* Random numbers that are a function of what they are asked for. */
#include "sample.h"

#include <string.h>

/* Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. A keyed bijection of a 128-bit counter; no state. */
static void philox(uint32_t counter[4], uint32_t key[2]) {
    for (int round = 0; round < 10; round++) {
        const uint64_t a = 0xD2511F53ull * counter[0], b = 0xCD9E8D57ull * counter[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ counter[1] ^ key[0], (uint32_t)b,
                                  (uint32_t)(a >> 32) ^ counter[3] ^ key[1], (uint32_t)a};
        memcpy(counter, next, sizeof next);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

/* 128 bits come out: a half for each of two purposes. */
double sm_uniform(uint64_t seed, uint64_t sequence, uint64_t position, uint32_t purpose) {
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), (uint32_t)sequence,
                           (uint32_t)(sequence >> 32)};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    philox(counter, key);
    const uint32_t *half = &counter[purpose == SM_DRAW_XTC ? 2 : 0];
    const uint64_t bits = ((uint64_t)half[0] << 32 | half[1]) >> 11;
    return (double)bits * 0x1p-53;
}
