/* How far rows lie apart. */
#include "block.h"
#include "pack.h"

/* Rows that lie a multiple of 4096 bytes apart share the sets of the first-level
 * cache: strides avoid it. */
#define ALIAS 4096

uint64_t sm_row_stride(uint64_t n) {
    n = (n + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
    return n * sizeof(float) % ALIAS ? n : n + SM_GROUP;
}

uint64_t sm_block_stride(uint64_t n) {
    n = (n + 31) / 32;
    return n * sizeof(sm_act_block) % ALIAS ? n : n + 1;
}
