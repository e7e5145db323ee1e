/* state8.c - optimizer state in 8 bits. */
#include "state8.h"

#include <math.h>
#include <string.h>

#define ZERO 128
#define TOP 127
#define RANGE 16.0 /* binary orders of magnitude between level 1 and the top */
/* A slot is the leading 12 bits of a magnitude's float below the sign: 8 of the exponent, 4
 * of the mantissa. Levels lie 9% apart and slots 4 to 6%: one slot spans two levels at most. */
#define SLOT_SHIFT 19

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

void sm_code8_init(sm_code8 *codes) {
    codes->level[0] = 0;
    for (int i = 1; i <= TOP; i++)
        codes->level[i] = (float)exp2(-RANGE * (TOP - i) / (TOP - 1));
    uint32_t level = 0;
    for (uint32_t slot = 0; slot < SM_CODE8_SLOTS; slot++) {
        const uint32_t bits = slot << SLOT_SHIFT;
        float low;
        memcpy(&low, &bits, sizeof low);
        /* nearest level of the slot's lowest value */
        while (level < TOP && low > 0.5f * (codes->level[level] + codes->level[level + 1]))
            level++;
        codes->slot[slot] = (uint8_t)level;
    }
}

uint64_t sm_state8_blocks(uint64_t n) {
    return (n + SM_STATE8_BLOCK - 1) / SM_STATE8_BLOCK;
}

bool sm_state8_new(sm_state8 *state, sm_mem *mem, uint64_t n) {
    state->code = sm_alloc_array(mem, n, 1);
    state->scale = sm_alloc_array(mem, sm_state8_blocks(n), sizeof *state->scale);
    if (!state->code || !state->scale)
        return false;
    memset(state->code, ZERO, n);
    memset(state->scale, 0, sm_state8_blocks(n) * sizeof *state->scale);
    return true;
}

void sm_state8_free(sm_state8 *state, sm_mem *mem) {
    sm_free(mem, state->code);
    sm_free(mem, state->scale);
}

void sm_state8_read(const sm_code8 *codes, const sm_state8 *state, uint64_t at, uint64_t n,
                    float *x) {
    const float scale = state->scale[at / SM_STATE8_BLOCK];
    for (uint64_t i = 0; i < n; i++) {
        const int code = (int)state->code[at + i] - ZERO;
        x[i] = code < 0 ? -codes->level[-code] * scale : codes->level[code] * scale;
    }
}

void sm_state8_write(const sm_code8 *codes, sm_state8 *state, uint64_t at, uint64_t n,
                     const float *x) {
    float max = 0;
    for (uint64_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    state->scale[at / SM_STATE8_BLOCK] = max;
    const float inverse = max > 1e-37f ? 1 / max : 0; /* smaller ones would overflow: zeros */
    for (uint64_t i = 0; i < n; i++) {
        float a = fabsf(x[i]) * inverse;
        a = a < 1 ? a : 1;
        uint32_t level = codes->slot[bits_of(a) >> SLOT_SHIFT];
        while (level < TOP && a > 0.5f * (codes->level[level] + codes->level[level + 1]))
            level++;
        state->code[at + i] = (uint8_t)(x[i] < 0 ? ZERO - (int)level : ZERO + (int)level);
    }
}
