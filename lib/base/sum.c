/* XXH3 with 64 bits and seed 0, of the xxHash library: https://xxhash.com, XXH3 of
 * doc/xxhash_spec.md. The header alone is used, every function of it inside this file. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base.h"

struct sm_sum {
    XXH3_state_t state;
};

sm_sum *sm_sum_new(sm_mem *mem) {
    sm_sum *sum = sm_alloc(mem, sizeof *sum); /* aligned to SM_ALIGN, as the state asks for */
    if (sum)
        XXH3_64bits_reset(&sum->state);
    return sum;
}

void sm_sum_add(sm_sum *sum, const void *data, uint64_t size) {
    if (size)
        XXH3_64bits_update(&sum->state, data, (size_t)size);
}

uint64_t sm_sum_value(const sm_sum *sum) {
    return XXH3_64bits_digest(&sum->state);
}
