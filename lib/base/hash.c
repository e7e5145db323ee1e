/* Telling apart models and data. */
#include "base.h"

#include <string.h>

static uint64_t mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

uint64_t sm_hash_bytes(uint64_t h, const void *data, uint64_t size) {
    const uint8_t *bytes = data;
    uint64_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        h = mix(h, word);
    }
    uint64_t rest = 0;
    for (uint64_t j = i; j < size; j++)
        rest = rest << 8 | bytes[j];
    return mix(h, rest ^ size);
}
