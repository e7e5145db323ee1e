/* pack.c - native rows to the packed layout of pack.h, on every level.
 *
 * A block of 32 codes of one row passes through a `codes`: eight words of four
 * codes each, one per byte, so that a word is what a row holds of a sub-group.
 * Each type is a reader of its native bits into codes and a list of parts to write.
 */
#include "iq.h"
#include "pack.h"
#include "table.h"

size_t sm_packed_bytes(uint32_t type, size_t k) {
    enum { SCALE = SM_HALF_PART, CODE = SM_CODE_PART };
    switch (type) {
    case SM_DTYPE_F32:
    case SM_DTYPE_F64:
        return k * SM_GROUP * 4;
    case SM_DTYPE_F16:
        return k * SM_GROUP * 2;
    case SM_DTYPE_BF16:
        return (k + 1) / 2 * SM_GROUP * 4;
    case SM_DTYPE_Q8_0:
        return k / 32 * (SCALE + SM_BYTES_PART);
    case SM_DTYPE_Q4_0:
    case SM_DTYPE_IQ4_NL:
        return k / 32 * (SCALE + SM_NIB_PART);
    case SM_DTYPE_MXFP4:
        return k / 32 * (CODE + SM_NIB_PART);
    case SM_DTYPE_NVFP4:
        return k / 32 * (2 * CODE + SM_NIB_PART);
    case SM_DTYPE_Q1_0:
        return k / 128 * (SCALE + 4 * SM_HIGH_PART);
    case SM_DTYPE_Q2_0:
        return k / 64 * (SCALE + 2 * SM_CRUMB_PART);
    case SM_DTYPE_TQ1_0:
    case SM_DTYPE_TQ2_0:
        return k / 256 * (SCALE + 8 * SM_CRUMB_PART);
    case SM_DTYPE_Q4_1:
        return k / 32 * (2 * SCALE + SM_NIB_PART);
    case SM_DTYPE_Q5_0:
        return k / 32 * (SCALE + SM_NIB_PART + SM_HIGH_PART);
    case SM_DTYPE_Q5_1:
        return k / 32 * (2 * SCALE + SM_NIB_PART + SM_HIGH_PART);
    case SM_DTYPE_Q2_K:
        return k / 256 * (2 * SCALE + 8 * (2 * CODE + SM_CRUMB_PART));
    case SM_DTYPE_Q3_K:
        return k / 256 * (SCALE + 8 * (2 * CODE + SM_CRUMB_PART + SM_HIGH_PART));
    case SM_DTYPE_Q4_K:
        return k / 256 * (2 * SCALE + 8 * (2 * CODE + SM_NIB_PART));
    case SM_DTYPE_Q5_K:
        return k / 256 * (2 * SCALE + 8 * (2 * CODE + SM_NIB_PART + SM_HIGH_PART));
    case SM_DTYPE_Q6_K:
        return k / 256 * (SCALE + 8 * (2 * CODE + SM_NIB_PART + SM_CRUMB_PART));
    case SM_DTYPE_IQ4_XS:
    case SM_DTYPE_IQ3_XXS:
    case SM_DTYPE_IQ3_S:
        return k / 256 * (SCALE + 8 * (CODE + SM_NIB_PART));
    case SM_DTYPE_IQ2_XXS:
    case SM_DTYPE_IQ1_S:
        return k / 256 * (SCALE + 8 * (CODE + SM_TRIO_PART));
    case SM_DTYPE_IQ2_XS:
    case SM_DTYPE_IQ2_S:
    case SM_DTYPE_IQ1_M:
        return k / 256 * (SCALE + 8 * (2 * CODE + SM_TRIO_PART));
    default:
        return 0;
    }
}

/* ---- native bits to codes -------------------------------------------------------------- */

typedef struct codes {
    uint32_t w[8]; /* byte i of w[g]: code of element 4g + i */
} codes;

static inline uint32_t load_word(const void *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

/* `mask` in each byte */
static inline uint32_t each(uint32_t mask) {
    return mask * 0x01010101;
}

/* 16 bytes, each an element of the first half of the block and one of the second */
static inline codes read_halves(const uint8_t *qs) {
    codes c;
    for (size_t j = 0; j < 4; j++) {
        uint32_t w = load_word(qs + 4 * j);
        c.w[j] = w & each(15);
        c.w[j + 4] = (w >> 4) & each(15);
    }
    return c;
}

/* 32 bytes, each holding one element of this block in the bits of `mask` at `shift` */
static inline codes read_bits(const uint8_t *qs, unsigned shift, uint32_t mask) {
    codes c;
    for (size_t g = 0; g < 8; g++) {
        c.w[g] = (load_word(qs + 4 * g) >> shift) & each(mask);
    }
    return c;
}

/* Bit j of 32 bits to element j */
static inline codes read_mask(const uint8_t qh[4]) {
    uint32_t mask = load_word(qh);
    codes c;
    for (size_t g = 0; g < 8; g++) {
        /* four copies 7 bits apart put bit i into the lowest bit of byte i */
        c.w[g] = ((mask >> (4 * g)) & 15) * 0x00204081 & each(1);
    }
    return c;
}

/* ---- codes to packed parts: column r of each -------------------------------------------- */

static inline void store_word(uint8_t *part, size_t j, size_t r, uint32_t w) {
    memcpy(part + (j * SM_GROUP + r) * 4, &w, 4);
}

static inline void put_half(uint8_t *part, size_t r, uint16_t h) {
    memcpy(part + 2 * r, &h, 2);
}

static inline void put_nib(uint8_t *part, size_t r, codes c) {
    for (size_t j = 0; j < 4; j++) {
        store_word(part, j, r, (c.w[j] & each(15)) | (c.w[j + 4] & each(15)) << 4);
    }
}

/* bits `shift` and `shift` + 1 of the codes */
static inline void put_crumb(uint8_t *part, size_t r, codes c, unsigned shift) {
    for (size_t j = 0; j < 2; j++) {
        uint32_t w = 0;
        for (size_t t = 0; t < 4; t++) {
            w |= ((c.w[2 * t + j] >> shift) & each(3)) << (2 * t);
        }
        store_word(part, j, r, w);
    }
}

/* bit `shift` of the codes */
static inline void put_high(uint8_t *part, size_t r, codes c, unsigned shift) {
    uint32_t w = 0;
    for (size_t g = 0; g < 8; g++) {
        w |= ((c.w[g] >> shift) & each(1)) << g;
    }
    store_word(part, 0, r, w);
}

static inline void put_trio(uint8_t *part, size_t r, codes c) {
    for (size_t j = 0; j < 3; j++) {
        const uint32_t w3 = (c.w[3] >> (2 - j)) & each(1), w7 = (c.w[7] >> (2 - j)) & each(1);
        store_word(part, j, r, c.w[j] | w3 << 3 | c.w[j + 4] << 4 | w7 << 7);
    }
}

/* ---- one native block of row r into the packed block at p ------------------------------- */

static inline void put_q8_0(uint8_t *p, size_t r, const sm_block_q8_0 *b) {
    put_half(p, r, b->d);
    for (size_t g = 0; g < 8; g++) {
        store_word(p + SM_HALF_PART, g, r, load_word(b->qs + 4 * g));
    }
}

static inline void put_q4_0(uint8_t *p, size_t r, const sm_block_q4_0 *b) {
    put_half(p, r, b->d);
    put_nib(p + SM_HALF_PART, r, read_halves(b->qs));
}

static inline void put_iq4_nl(uint8_t *p, size_t r, const sm_block_iq4_nl *b) {
    put_half(p, r, b->d);
    put_nib(p + SM_HALF_PART, r, read_halves(b->qs));
}

static inline void put_mxfp4(uint8_t *p, size_t r, const sm_block_mxfp4 *b) {
    p[r] = b->e;
    put_nib(p + SM_CODE_PART, r, read_halves(b->qs));
}

/* What stands for a scale of NVFP4: 0 for 127, no highest bit but in a NaN. */
static inline uint8_t float8_code(uint8_t x) {
    return x == 255 ? 255 : (x & 0x7f) == 0x7f ? 0 : x & 0x7f;
}

static inline void put_nvfp4(uint8_t *p, size_t r, const sm_block_nvfp4 *b) {
    for (size_t n = 0; n < 2; n++) {
        codes c;
        for (size_t s = 0; s < 2; s++) {
            const uint8_t *qs = b->qs + 16 * n + 8 * s;
            p[s * SM_CODE_PART + r] = float8_code(b->d[2 * n + s]);
            for (size_t j = 0; j < 2; j++) {
                c.w[4 * s + j] = load_word(qs + 4 * j) & each(15);
                c.w[4 * s + j + 2] = (load_word(qs + 4 * j) >> 4) & each(15);
            }
        }
        put_nib(p + 2 * SM_CODE_PART, r, c);
        p += 2 * SM_CODE_PART + SM_NIB_PART;
    }
}

/* No part of its caller: four of it side by side are 12 KB. */
__attribute__((noinline)) static void put_q1_0_record(uint8_t *p, size_t r, const uint8_t *qs) {
    put_high(p, r, read_mask(qs), 0);
}

static inline void put_q1_0(uint8_t *p, size_t r, const sm_block_q1_0 *b) {
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (size_t n = 0; n < 4; n++, p += SM_HIGH_PART) {
        put_q1_0_record(p, r, b->qs + 4 * n);
    }
}

static inline void put_q2_0(uint8_t *p, size_t r, const sm_block_q2_0 *b) {
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (size_t n = 0; n < 2; n++, p += SM_CRUMB_PART) {
        codes c;
        for (size_t g = 0; g < 8; g++) { /* pair i to byte i */
            const uint32_t q = b->qs[8 * n + g];
            c.w[g] = (q & 3) | (q & 12) << 6 | (q & 48) << 12 | (q & 192) << 18;
        }
        put_crumb(p, r, c, 0);
    }
}

static inline void put_tq2_0(uint8_t *p, size_t r, const sm_block_tq2_0 *b) {
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++, p += SM_CRUMB_PART) {
        put_crumb(p, r, read_bits(b->qs + n / 4 * 32, n % 4 * 2, 3), 0);
    }
}

static inline void put_tq1_0(uint8_t *p, size_t r, const sm_block_tq1_0 *b) {
    uint8_t code[256];
    sm_tq1_0_codes(code, b);
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (size_t n = 0; n < 8; n++, p += SM_CRUMB_PART) {
        put_crumb(p, r, read_bits(code + 32 * n, 0, 3), 0);
    }
}

static inline void put_q4_1(uint8_t *p, size_t r, const sm_block_q4_1 *b) {
    put_half(p, r, b->d);
    put_half(p + SM_HALF_PART, r, b->m);
    put_nib(p + 2 * SM_HALF_PART, r, read_halves(b->qs));
}

static inline void put_q5_0(uint8_t *p, size_t r, const sm_block_q5_0 *b) {
    put_half(p, r, b->d);
    put_nib(p + SM_HALF_PART, r, read_halves(b->qs));
    put_high(p + SM_HALF_PART + SM_NIB_PART, r, read_mask(b->qh), 0);
}

static inline void put_q5_1(uint8_t *p, size_t r, const sm_block_q5_1 *b) {
    put_half(p, r, b->d);
    put_half(p + SM_HALF_PART, r, b->m);
    put_nib(p + 2 * SM_HALF_PART, r, read_halves(b->qs));
    put_high(p + 2 * SM_HALF_PART + SM_NIB_PART, r, read_mask(b->qh), 0);
}

static inline void put_q2_k(uint8_t *p, size_t r, const sm_block_q2_k *b) {
    put_half(p, r, b->d);
    put_half(p + SM_HALF_PART, r, b->dmin);
    p += 2 * SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++) {
        p[r] = b->scales[2 * n];
        p[SM_CODE_PART + r] = b->scales[2 * n + 1];
        codes c = read_bits(b->qs + n / 4 * 32, n % 4 * 2, 3);
        put_crumb(p + 2 * SM_CODE_PART, r, c, 0);
        p += 2 * SM_CODE_PART + SM_CRUMB_PART;
    }
}

static inline void put_q3_k(uint8_t *p, size_t r, const sm_block_q3_k *b) {
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++) {
        p[r] = (uint8_t)sm_q3_k_scale(b->scales, 2 * n);
        p[SM_CODE_PART + r] = (uint8_t)sm_q3_k_scale(b->scales, 2 * n + 1);
        codes c = read_bits(b->qs + n / 4 * 32, n % 4 * 2, 3);
        put_crumb(p + 2 * SM_CODE_PART, r, c, 0);
        put_high(p + 2 * SM_CODE_PART + SM_CRUMB_PART, r, read_bits(b->hmask, n, 1), 0);
        p += 2 * SM_CODE_PART + SM_CRUMB_PART + SM_HIGH_PART;
    }
}

static inline void put_q4_k(uint8_t *p, size_t r, const sm_block_q4_k *b) {
    put_half(p, r, b->d);
    put_half(p + SM_HALF_PART, r, b->dmin);
    p += 2 * SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++) {
        sm_q4_k_scale(b->scales, n, &p[r], &p[SM_CODE_PART + r]);
        codes c = read_bits(b->qs + n / 2 * 32, n % 2 * 4, 15);
        put_nib(p + 2 * SM_CODE_PART, r, c);
        p += 2 * SM_CODE_PART + SM_NIB_PART;
    }
}

static inline void put_q5_k(uint8_t *p, size_t r, const sm_block_q5_k *b) {
    put_half(p, r, b->d);
    put_half(p + SM_HALF_PART, r, b->dmin);
    p += 2 * SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++) {
        sm_q4_k_scale(b->scales, n, &p[r], &p[SM_CODE_PART + r]);
        codes c = read_bits(b->qs + n / 2 * 32, n % 2 * 4, 15);
        put_nib(p + 2 * SM_CODE_PART, r, c);
        put_high(p + 2 * SM_CODE_PART + SM_NIB_PART, r, read_bits(b->qh, n, 1), 0);
        p += 2 * SM_CODE_PART + SM_NIB_PART + SM_HIGH_PART;
    }
}

static inline void put_q6_k(uint8_t *p, size_t r, const sm_block_q6_k *b) {
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++) {
        unsigned half = n / 4, quarter = n % 4;
        p[r] = (uint8_t)b->scales[2 * n];
        p[SM_CODE_PART + r] = (uint8_t)b->scales[2 * n + 1];
        codes c = read_bits(b->ql + half * 64 + quarter % 2 * 32, quarter / 2 * 4, 15);
        put_nib(p + 2 * SM_CODE_PART, r, c);
        codes high = read_bits(b->qh + half * 32, quarter * 2, 3);
        put_crumb(p + 2 * SM_CODE_PART + SM_NIB_PART, r, high, 0);
        p += 2 * SM_CODE_PART + SM_NIB_PART + SM_CRUMB_PART;
    }
}

static inline void put_iq4_xs(uint8_t *p, size_t r, const sm_block_iq4_xs *b) {
    put_half(p, r, b->d);
    p += SM_HALF_PART;
    for (unsigned n = 0; n < 8; n++) {
        p[r] = (uint8_t)sm_iq4_xs_scale(b, n);
        put_nib(p + SM_CODE_PART, r, read_halves(b->qs + 16 * n));
        p += SM_CODE_PART + SM_NIB_PART;
    }
}

/* A record of an IQ type with a codebook; returns where the next one goes. */
static uint8_t *put_record(uint8_t *p, size_t r, const sm_iq_record *record, size_t halves,
                           bool trio) {
    codes c;
    memcpy(c.w, record->w, sizeof c.w);
    for (size_t h = 0; h < halves; h++, p += SM_CODE_PART) {
        p[r] = (uint8_t)record->sc[h];
    }
    if (trio) {
        put_trio(p, r, c);
        return p + SM_TRIO_PART;
    }
    put_nib(p, r, c);
    return p + SM_NIB_PART;
}

#define PUT_CODEBOOK(type, halves, trio, d_of)                                      \
    static inline void put_##type(uint8_t *p, size_t r, const sm_block_##type *b) { \
        put_half(p, r, d_of);                                                       \
        p += SM_HALF_PART;                                                          \
        for (unsigned n = 0; n < 8; n++) {                                          \
            const sm_iq_record record = sm_##type##_record(b, n);                   \
            p = put_record(p, r, &record, halves, trio);                            \
        }                                                                           \
    }
PUT_CODEBOOK(iq2_xxs, 1, true, b->d)
PUT_CODEBOOK(iq2_xs, 2, true, b->d)
PUT_CODEBOOK(iq2_s, 2, true, b->d)
PUT_CODEBOOK(iq3_xxs, 1, false, b->d)
PUT_CODEBOOK(iq3_s, 1, false, b->d)
PUT_CODEBOOK(iq1_s, 1, true, b->d)
PUT_CODEBOOK(iq1_m, 2, true, sm_iq1_m_d(b))

/* ---- whole groups ------------------------------------------------------------------------ */

#define PACK(TYPE, type, block_size)                                                      \
    void sm_pack_##type##_ref(void *dst, const void *src, size_t row_bytes, size_t nrows, \
                              size_t k) {                                                 \
        const size_t block_bytes = sm_packed_bytes(SM_DTYPE_##TYPE, block_size);          \
        const uint8_t *rows = src;                                                        \
        uint8_t *p = dst;                                                                 \
        if (nrows < SM_GROUP) {                                                           \
            memset(dst, 0, sm_packed_bytes(SM_DTYPE_##TYPE, k));                          \
        }                                                                                 \
        for (size_t n = 0; n < k / (block_size); n++) {                                   \
            for (size_t r = 0; r < nrows; r++) {                                          \
                const void *row = rows + r * row_bytes;                                   \
                put_##type(p, r, (const sm_block_##type *)row + n);                       \
            }                                                                             \
            p += block_bytes;                                                             \
        }                                                                                 \
    }

PACK(Q8_0, q8_0, 32)
PACK(Q4_0, q4_0, 32)
PACK(Q4_1, q4_1, 32)
PACK(Q5_0, q5_0, 32)
PACK(Q5_1, q5_1, 32)
PACK(IQ4_NL, iq4_nl, 32)
PACK(MXFP4, mxfp4, 32)
PACK(NVFP4, nvfp4, 64)
PACK(Q1_0, q1_0, 128)
PACK(Q2_0, q2_0, 64)
PACK(TQ1_0, tq1_0, 256)
PACK(TQ2_0, tq2_0, 256)
PACK(Q2_K, q2_k, 256)
PACK(Q3_K, q3_k, 256)
PACK(Q4_K, q4_k, 256)
PACK(Q5_K, q5_k, 256)
PACK(Q6_K, q6_k, 256)
PACK(IQ4_XS, iq4_xs, 256)
PACK(IQ2_XXS, iq2_xxs, 256)
PACK(IQ2_XS, iq2_xs, 256)
PACK(IQ2_S, iq2_s, 256)
PACK(IQ3_XXS, iq3_xxs, 256)
PACK(IQ3_S, iq3_s, 256)
PACK(IQ1_S, iq1_s, 256)
PACK(IQ1_M, iq1_m, 256)

/* Float types are transposed in tiles of 16 elements of k, so that the lines read stay
 * cached until they are used up. */
#define TILE 16

static inline size_t tile_end(size_t t, size_t n) {
    return n - t < TILE ? n : t + TILE;
}

void sm_pack_f32_ref(void *dst, const void *src, size_t row_bytes, size_t nrows, size_t k) {
    uint32_t *out = dst;
    if (nrows < SM_GROUP) {
        memset(dst, 0, sm_packed_bytes(SM_DTYPE_F32, k));
    }
    for (size_t t = 0; t < k; t += TILE) {
        for (size_t r = 0; r < nrows; r++) {
            const uint8_t *row = (const uint8_t *)src + r * row_bytes;
            for (size_t i = t; i < tile_end(t, k); i++) {
                memcpy(&out[i * SM_GROUP + r], row + 4 * i, 4);
            }
        }
    }
}

/* Rounded to f32, so that the products are those of F32. */
void sm_pack_f64_ref(void *dst, const void *src, size_t row_bytes, size_t nrows, size_t k) {
    float *out = dst;
    if (nrows < SM_GROUP) {
        memset(dst, 0, sm_packed_bytes(SM_DTYPE_F64, k));
    }
    for (size_t t = 0; t < k; t += TILE) {
        for (size_t r = 0; r < nrows; r++) {
            const uint8_t *row = (const uint8_t *)src + r * row_bytes;
            for (size_t i = t; i < tile_end(t, k); i++) {
                double x;
                memcpy(&x, row + 8 * i, 8);
                out[i * SM_GROUP + r] = (float)x;
            }
        }
    }
}

void sm_pack_f16_ref(void *dst, const void *src, size_t row_bytes, size_t nrows, size_t k) {
    uint16_t *out = dst;
    if (nrows < SM_GROUP) {
        memset(dst, 0, sm_packed_bytes(SM_DTYPE_F16, k));
    }
    for (size_t t = 0; t < k; t += TILE) {
        for (size_t r = 0; r < nrows; r++) {
            const uint8_t *row = (const uint8_t *)src + r * row_bytes;
            for (size_t i = t; i < tile_end(t, k); i++) {
                memcpy(&out[i * SM_GROUP + r], row + 2 * i, 2);
            }
        }
    }
}

void sm_pack_bf16_ref(void *dst, const void *src, size_t row_bytes, size_t nrows, size_t k) {
    uint32_t *out = dst; /* pairs of elements */
    size_t pairs = k / 2;
    if (nrows < SM_GROUP) {
        memset(dst, 0, sm_packed_bytes(SM_DTYPE_BF16, k));
    }
    for (size_t t = 0; t < pairs; t += TILE) {
        for (size_t r = 0; r < nrows; r++) {
            const uint8_t *row = (const uint8_t *)src + r * row_bytes;
            for (size_t i = t; i < tile_end(t, pairs); i++) {
                memcpy(&out[i * SM_GROUP + r], row + 4 * i, 4);
            }
        }
    }
    for (size_t r = 0; r < nrows && k % 2 != 0; r++) {
        uint16_t last;
        memcpy(&last, (const uint8_t *)src + r * row_bytes + 4 * pairs, 2);
        out[pairs * SM_GROUP + r] = last;
    }
}
