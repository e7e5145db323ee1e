/* iq.h - native IQ blocks as codes of the packed layout (pack.h): what packing and decoding share.
 *
 * Eight words of four codes, one per byte, and the two scales of a record of 32 elements.
 */
#ifndef SM_IQ_H
#define SM_IQ_H

#include "grids.h"
#include "pack.h"

typedef struct sm_iq_record {
    uint32_t w[8]; /* byte i of w[g]: code of element 4g + i */
    int8_t sc[2];  /* of each half, 2 * the file's + 1 */
} sm_iq_record;

static inline uint32_t sm_load_u32(const void *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

/* Bits 0..3 to the lowest bits of four bytes: four copies 7 bits apart have bit i there. */
static inline uint32_t sm_spread_bits(uint32_t bits) {
    return (bits & 15) * 0x00204081 & 0x01010101;
}

/* All eight signs of seven. */
static inline uint32_t sm_eight_signs(uint32_t seven) {
    uint32_t odd = seven ^ seven >> 4;
    odd ^= odd >> 2;
    return seven | ((odd ^ odd >> 1) & 1) << 7;
}

static inline int8_t sm_iq_scale(unsigned code) {
    return (int8_t)(2 * code + 1);
}

/* Eight elements: a word of three levels and a third bit for each. */
static inline void sm_iq_eight(uint32_t w[2], uint32_t word, uint32_t third) {
    w[0] = sm_spread_bits(word) | sm_spread_bits(word >> 8) << 1 | sm_spread_bits(third) << 2;
    w[1] = sm_spread_bits(word >> 4) | sm_spread_bits(word >> 12) << 1 |
           sm_spread_bits(third >> 4) << 2;
}

/* Eight elements: two words of eight levels and the signs. */
static inline void sm_iq_fours(uint32_t w[2], const uint32_t word[2], uint32_t signs) {
    for (unsigned i = 0; i < 2; i++) {
        const uint32_t d = word[i];
        w[i] = (d & 07) | (d & 070) << 5 | (d & 0700) << 10 | (d & 07000) << 15;
        w[i] |= sm_spread_bits(signs >> (4 * i)) << 3;
    }
}

static inline sm_iq_record sm_iq2_xxs_record(const sm_block_iq2_xxs *b, unsigned n) {
    const uint8_t *index = b->qs + 8 * n;
    const uint32_t more = sm_load_u32(index + 4);
    sm_iq_record r;
    r.sc[0] = r.sc[1] = sm_iq_scale(more >> 28);
    for (unsigned j = 0; j < 4; j++) {
        sm_iq_eight(r.w + 2 * j, sm_grid_iq2_xxs[index[j]],
                    sm_eight_signs((more >> (7 * j)) & 127));
    }
    return r;
}

static inline sm_iq_record sm_iq2_xs_record(const sm_block_iq2_xs *b, unsigned n) {
    sm_iq_record r;
    r.sc[0] = sm_iq_scale(b->scales[n] & 15);
    r.sc[1] = sm_iq_scale(b->scales[n] >> 4);
    for (unsigned j = 0; j < 4; j++) {
        const uint32_t q = b->qs[4 * n + j];
        sm_iq_eight(r.w + 2 * j, sm_grid_iq2_xs[q & 511], sm_eight_signs(q >> 9));
    }
    return r;
}

static inline sm_iq_record sm_iq2_s_record(const sm_block_iq2_s *b, unsigned n) {
    sm_iq_record r;
    r.sc[0] = sm_iq_scale(b->scales[n] & 15);
    r.sc[1] = sm_iq_scale(b->scales[n] >> 4);
    for (unsigned j = 0; j < 4; j++) {
        const unsigned high = (b->qh[n] >> (2 * j)) & 3;
        sm_iq_eight(r.w + 2 * j, sm_grid_iq2_s[b->qs[4 * n + j] | high << 8], b->signs[4 * n + j]);
    }
    return r;
}

static inline sm_iq_record sm_iq3_xxs_record(const sm_block_iq3_xxs *b, unsigned n) {
    const uint8_t *index = b->qs + 8 * n;
    const uint32_t more = sm_load_u32(b->signs + 4 * n);
    sm_iq_record r;
    r.sc[0] = r.sc[1] = sm_iq_scale(more >> 28);
    for (unsigned j = 0; j < 4; j++) {
        const uint32_t words[2] = {sm_grid_iq3_xxs[index[2 * j]],
                                   sm_grid_iq3_xxs[index[2 * j + 1]]};
        sm_iq_fours(r.w + 2 * j, words, sm_eight_signs((more >> (7 * j)) & 127));
    }
    return r;
}

static inline sm_iq_record sm_iq3_s_record(const sm_block_iq3_s *b, unsigned n) {
    const uint8_t *index = b->qs + 8 * n;
    sm_iq_record r;
    r.sc[0] = r.sc[1] = sm_iq_scale((b->scales[n / 2] >> (4 * (n % 2))) & 15);
    for (unsigned j = 0; j < 4; j++) {
        const unsigned high = (unsigned)b->qh[n] >> (2 * j);
        const uint32_t words[2] = {sm_grid_iq3_s[index[2 * j] | (high & 1) << 8],
                                   sm_grid_iq3_s[index[2 * j + 1] | (high & 2) << 7]};
        sm_iq_fours(r.w + 2 * j, words, b->signs[4 * n + j]);
    }
    return r;
}

static inline sm_iq_record sm_iq1_s_record(const sm_block_iq1_s *b, unsigned n) {
    const unsigned more = b->qh[n];
    sm_iq_record r;
    r.sc[0] = r.sc[1] = sm_iq_scale((more >> 12) & 7);
    for (unsigned j = 0; j < 4; j++) {
        const unsigned high = (more >> (3 * j)) & 7;
        sm_iq_eight(r.w + 2 * j, sm_grid_iq1[b->qs[4 * n + j] | high << 8],
                    more & 0x8000 ? 255 : 0);
    }
    return r;
}

static inline sm_iq_record sm_iq1_m_record(const sm_block_iq1_m *b, unsigned n) {
    const unsigned scales = (unsigned)b->scales[n / 2] >> (6 * (n % 2));
    sm_iq_record r;
    r.sc[0] = sm_iq_scale(scales & 7);
    r.sc[1] = sm_iq_scale((scales >> 3) & 7);
    for (unsigned j = 0; j < 4; j++) {
        const unsigned high = (unsigned)b->qh[2 * n + j / 2] >> (4 * (j % 2));
        sm_iq_eight(r.w + 2 * j, sm_grid_iq1[b->qs[4 * n + j] | (high & 7) << 8],
                    high & 8 ? 255 : 0);
    }
    return r;
}

#endif
