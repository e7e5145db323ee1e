/* state8.h - optimizer state in 8 bits: blocks of 256 values, each scaled by its largest
 * magnitude and coded on a grid that is finer towards zero (block-wise dynamic quantization,
 * arXiv:2110.02861). Private to lib/train.
 *
 * Our grid: code = 128 + i for magnitude i = 0..127 with the sign in whether the code is above
 * or below 128: value = sign * level[i] * scale, level[0] = 0, level[127] = 1, and between them
 * geometric from 2^-16: the relative step is the same 9% over the whole range.
 */
#ifndef SM_STATE8_H
#define SM_STATE8_H

#include "base/base.h"

#define SM_STATE8_BLOCK 256

typedef struct sm_state8 {
    uint8_t *code; /* [n] 128: zero */
    float *scale;  /* [blocks] */
} sm_state8;

#define SM_CODE8_SLOTS 4096

typedef struct sm_code8 {
    float level[128];
    uint8_t slot[SM_CODE8_SLOTS]; /* magnitude below 1 by its leading bits: code or one less */
} sm_code8;

void sm_code8_init(sm_code8 *codes);
uint64_t sm_state8_blocks(uint64_t n);
/* n zeros. False if memory is short (what there is goes with sm_state8_free). */
bool sm_state8_new(sm_state8 *state, sm_mem *mem, uint64_t n);
void sm_state8_free(sm_state8 *state, sm_mem *mem);
/* One block (n <= 256) that begins at element `at`, a multiple of 256. */
void sm_state8_read(const sm_code8 *codes, const sm_state8 *state, uint64_t at, uint64_t n,
                    float *x);
void sm_state8_write(const sm_code8 *codes, sm_state8 *state, uint64_t at, uint64_t n,
                     const float *x);

#endif
