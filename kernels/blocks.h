/* blocks.h - tensor types: their numbers in GGUF, block sizes, block structs and
 * half-precision floats.
 *
 * Format: ggml's block_* structs as stored in GGUF files. Every f16 is a
 * little-endian IEEE half in a uint16_t. Block structs have no padding (asserted
 * below); file data is read through them in place, so it must be aligned as the
 * struct is (2 bytes; 4 for F32, 8 for F64, 1 for MXFP4, NVFP4) and the machine must be little
 * endian.
 */
#ifndef SM_BLOCKS_H
#define SM_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum sm_dtype {
    SM_DTYPE_F32 = 0,
    SM_DTYPE_F16 = 1,
    SM_DTYPE_Q4_0 = 2,
    SM_DTYPE_Q4_1 = 3,
    SM_DTYPE_Q5_0 = 6,
    SM_DTYPE_Q5_1 = 7,
    SM_DTYPE_Q8_0 = 8,
    SM_DTYPE_Q8_1 = 9,
    SM_DTYPE_Q2_K = 10,
    SM_DTYPE_Q3_K = 11,
    SM_DTYPE_Q4_K = 12,
    SM_DTYPE_Q5_K = 13,
    SM_DTYPE_Q6_K = 14,
    SM_DTYPE_Q8_K = 15,
    SM_DTYPE_IQ2_XXS = 16,
    SM_DTYPE_IQ2_XS = 17,
    SM_DTYPE_IQ3_XXS = 18,
    SM_DTYPE_IQ1_S = 19,
    SM_DTYPE_IQ4_NL = 20,
    SM_DTYPE_IQ3_S = 21,
    SM_DTYPE_IQ2_S = 22,
    SM_DTYPE_IQ4_XS = 23,
    SM_DTYPE_I8 = 24,
    SM_DTYPE_I16 = 25,
    SM_DTYPE_I32 = 26,
    SM_DTYPE_I64 = 27,
    SM_DTYPE_F64 = 28,
    SM_DTYPE_IQ1_M = 29,
    SM_DTYPE_BF16 = 30,
    SM_DTYPE_TQ1_0 = 34,
    SM_DTYPE_TQ2_0 = 35,
    SM_DTYPE_MXFP4 = 39,
    SM_DTYPE_NVFP4 = 40,
    SM_DTYPE_Q1_0 = 41,
    SM_DTYPE_Q2_0 = 42,
    SM_DTYPE_COUNT = 43
} sm_dtype;

typedef struct sm_dtype_traits {
    const char *name;     /* as GGUF tools spell it: "Q4_K" */
    uint32_t block_size;  /* elements per block */
    uint32_t block_bytes; /* bytes per block */
} sm_dtype_traits;

/* Traits of a type by its GGUF number; NULL for a number without a type (removed
 * or unknown). Types the library cannot compute have traits too. */
const sm_dtype_traits *sm_dtype_get(uint32_t type);

/* ---- the simple blocks: 32 elements ------------------------------------------------
 *
 * Drawings: one letter per bit, most significant first; eN is element N.
 *
 * 4-bit codes lie in halves of the block:
 *   qs[j]   e(j+16) e(j+16) e(j+16) e(j+16) | e(j) e(j) e(j) e(j)       j = 0..15
 * 5-bit codes keep their four low bits there and bit 4 of element j in bit j of
 * the 32-bit little-endian number qh.
 */

/* weight = d * (code - 8) */
typedef struct sm_block_q4_0 {
    uint16_t d; /* f16 */
    uint8_t qs[16];
} sm_block_q4_0;

/* weight = d * code + m */
typedef struct sm_block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
} sm_block_q4_1;

/* weight = d * (code - 16) */
typedef struct sm_block_q5_0 {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
} sm_block_q5_0;

/* weight = d * code + m */
typedef struct sm_block_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
} sm_block_q5_1;

/* weight = d * qs[j] */
typedef struct sm_block_q8_0 {
    uint16_t d;
    int8_t qs[32];
} sm_block_q8_0;

/* weight = d * SM_IQ4_VALUES[code]; codes as in Q4_0 */
typedef struct sm_block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
} sm_block_iq4_nl;

/* The 16 levels that a code of IQ4_NL and IQ4_XS stands for. */
#define SM_IQ4_LEVELS -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
static const int8_t SM_IQ4_VALUES[16] = {SM_IQ4_LEVELS};

/* weight = 2^(e - 128) * SM_FP4_VALUES[code]; codes as in Q4_0. 255 is no exponent: NaN. */
typedef struct sm_block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
} sm_block_mxfp4;

/* What a 4-bit float stands for (sign, 2 bits of exponent, 1 of mantissa), twice. */
#define SM_FP4_LEVELS 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12
static const int8_t SM_FP4_VALUES[16] = {SM_FP4_LEVELS};

/* 64 elements: weight = sm_ue4m3_to_f32(d[s]) * SM_FP4_VALUES[code],  s = e / 16
 *   qs[8*s + j]     e(j+8) x4 | e(j) x4   within the 16 of s            j = 0..7 */
typedef struct sm_block_nvfp4 {
    uint8_t d[4];
    uint8_t qs[32];
} sm_block_nvfp4;

/* ---- one or two bits ---------------------------------------------------------------------- */

/* 128 elements: weight = code ? d : -d; bit j % 8 of qs[j / 8] is the code of element j */
typedef struct sm_block_q1_0 {
    uint16_t d;
    uint8_t qs[16];
} sm_block_q1_0;

/* 64 elements: weight = d * (code - 1)
 *   qs[j]           e(4j+3) x2 | e(4j+2) x2 | e(4j+1) x2 | e(4j) x2     j = 0..15 */
typedef struct sm_block_q2_0 {
    uint16_t d;
    uint8_t qs[16];
} sm_block_q2_0;

/* 256 elements: weight = d * (code - 1); codes 0..2 lie as in Q2_K (a 3 counts as 2 d) */
typedef struct sm_block_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
} sm_block_tq2_0;

/* 256 elements: weight = d * (code - 1). A byte holds up to five codes 0..2, digits to base 3 of a
 * fraction: byte = v * 256 / 243 rounded up, v = ((((c0 * 3 + c1) * 3 + c2) * 3 + c3) * 3 + c4)
 *   qs[m]           c0..c4 of e(m), e(m+32), ... e(m+128)               m = 0..31
 *   qs[32 + m]      c0..c4 of e(160+m), e(176+m), ... e(224+m)          m = 0..15
 *   qh[m]           c0..c3 of e(240+m), e(244+m), ... e(252+m), c4 = 0  m = 0..3 */
typedef struct sm_block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
} sm_block_tq1_0;

/* ---- the K blocks: 256 elements in 8 sub-blocks of 32 or 16 of 16 -------------------- */

/* weight = d * sc[s] * code - dmin * m[s],  s = e / 16
 *   scales[s]       m m m m | c c c c                                   s = 0..15
 *   qs[32*h + l]    e(l+96) x2 | e(l+64) x2 | e(l+32) x2 | e(l) x2      l = 0..31
 *                   within half h = 0..1 of 128 elements */
typedef struct sm_block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
} sm_block_q2_k;

/* weight = d * (sc[s] - 32) * ((low | high << 2) - 4),  s = e / 16
 *   hmask[l]        bit b = high bit of element 32*b + l                l = 0..31
 *   qs              low two bits, as in Q2_K
 *   scales[j]       sc(j+8) low four | sc(j) low four                   j = 0..7
 *   scales[8 + j]   sc(j+12) x2 | sc(j+8) x2 | sc(j+4) x2 | sc(j) x2    j = 0..3: high two */
typedef struct sm_block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
} sm_block_q3_k;

/* weight = d * sc[b] * code - dmin * m[b],  b = e / 32
 *   scales[j]       s s c c c c c c      sc(j) | two high bits of sc(j+4)      j = 0..3
 *   scales[4 + j]   t t m m m m m m      m(j)  | two high bits of m(j+4)
 *   scales[8 + j]   n n n n | k k k k    low four of m(j+4) | of sc(j+4)
 *   qs[32*p + l]    e(l+32) x4 | e(l) x4   within pair p = 0..3 of 64 elements  l = 0..31 */
typedef struct sm_block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} sm_block_q4_k;

/* As Q4_K with a fifth bit:
 *   qh[l]           bit b = high bit of element 32*b + l                l = 0..31 */
typedef struct sm_block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} sm_block_q5_k;

/* weight = d * scales[s] * ((low | high << 4) - 32),  s = e / 16
 *   ql[64*h + l]       e(l+64) x4 | e(l) x4                             l = 0..31
 *   ql[64*h + 32 + l]  e(l+96) x4 | e(l+32) x4
 *   qh[32*h + l]       e(l+96) x2 | e(l+64) x2 | e(l+32) x2 | e(l) x2
 *                      within half h = 0..1 of 128 elements */
typedef struct sm_block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
} sm_block_q6_k;

/* weight = d * (sc[b] - 32) * SM_IQ4_VALUES[code],  b = e / 32
 *   scales_h          bits 2b, 2b+1 = high two bits of sc(b)
 *   scales_l[j]       sc(2j+1) low four | sc(2j) low four               j = 0..3
 *   qs[16*b + j]      e(j+16) x4 | e(j) x4   within block b             j = 0..15 */
typedef struct sm_block_iq4_xs {
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
} sm_block_iq4_xs;

/* ---- IQ blocks: 256 elements by words of a codebook (grids.h) --------------------------------
 *
 * index(w) is the place of word w in the type's codebook: w = 0..31 of eight elements each, in IQ3
 * w = 0..63 of four. Signs go with eight elements: bit i negates element i. Where only bits 0..6
 * are stored, bit 7 is set where an odd number of those is. Levels 0, 1, 2 of IQ2 stand for 8, 25,
 * 43; 0..7 of IQ3_XXS for 4, 12, 20, 28, 36, 44, 52, 62.
 */

/* weight = d * (2 * sc[b] + 1) / 8 * level,  b = e / 32
 *   qs[8*b + j]       index(4*b + j)                                    j = 0..3
 *   qs[8*b + 4..7]    little-endian: bits 7*j .. 7*j+6 signs of word 4*b + j, 28..31 sc[b] */
typedef struct sm_block_iq2_xxs {
    uint16_t d;
    uint8_t qs[64];
} sm_block_iq2_xxs;

/* weight = d * (2 * sc[s] + 1) / 8 * level,  s = e / 16
 *   qs[w]             s s s s s s s | index(w): 9 bits
 *   scales[j]         sc(2j+1) x4 | sc(2j) x4                           j = 0..7 */
typedef struct sm_block_iq2_xs {
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8];
} sm_block_iq2_xs;

/* The same of
 *   qs[w]             low eight bits of index(w)
 *   signs[w]          all eight
 *   qh[b]             bits 2*j, 2*j+1: the high two of index(4*b + j)   j = 0..3 */
typedef struct sm_block_iq2_s {
    uint16_t d;
    uint8_t qs[32], signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
} sm_block_iq2_s;

/* weight = d * (2 * sc[b] + 1) / 4 * level,  b = e / 32
 *   qs[w]             index(w)
 *   signs[4*b + 0..3] as in IQ2_XXS */
typedef struct sm_block_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint8_t signs[32];
} sm_block_iq3_xxs;

/* weight = d * (2 * sc[b] + 1) * (2 * level + 1),  b = e / 32
 *   qs[w]             low eight bits of index(w)
 *   qh[b]             bit j: the ninth of index(8*b + j)                j = 0..7
 *   signs[e / 8]      all eight
 *   scales[j]         sc(2j+1) x4 | sc(2j) x4                           j = 0..3 */
typedef struct sm_block_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
} sm_block_iq3_s;

/* weight = d * (2 * sc[b] + 1) * (level - 1 + delta),  b = e / 32, delta = 1/8 or -1/8
 *   qs[w]             low eight bits of index(w)
 *   qh[b]             bits 3*j .. 3*j+2: the high three of index(4*b + j)   j = 0..3;
 *                     12..14 sc[b]; 15 delta is negative */
typedef struct sm_block_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
} sm_block_iq1_s;

/* The same with s = e / 16 for sc, and a delta for each word:
 *   qs[w]             low eight bits of index(w)
 *   qh[w / 2]         nibble w % 2: bits 0..2 the high three of index(w); 3 delta is negative
 *   scales[j]         four bits of d, the lowest in j = 0 | sc(4j+3) x3 | .. | sc(4j) x3   j =
 * 0..3 */
typedef struct sm_block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4];
} sm_block_iq1_m;

_Static_assert(sizeof(sm_block_iq2_xxs) == 66, "IQ2_XXS block");
_Static_assert(sizeof(sm_block_iq2_xs) == 74, "IQ2_XS block");
_Static_assert(sizeof(sm_block_iq2_s) == 82, "IQ2_S block");
_Static_assert(sizeof(sm_block_iq3_xxs) == 98, "IQ3_XXS block");
_Static_assert(sizeof(sm_block_iq3_s) == 110, "IQ3_S block");
_Static_assert(sizeof(sm_block_iq1_s) == 50, "IQ1_S block");
_Static_assert(sizeof(sm_block_iq1_m) == 56, "IQ1_M block");
_Static_assert(sizeof(sm_block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(sm_block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(sm_block_q5_0) == 22, "Q5_0 block");
_Static_assert(sizeof(sm_block_q5_1) == 24, "Q5_1 block");
_Static_assert(sizeof(sm_block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(sm_block_iq4_nl) == 18, "IQ4_NL block");
_Static_assert(sizeof(sm_block_mxfp4) == 17, "MXFP4 block");
_Static_assert(sizeof(sm_block_nvfp4) == 36, "NVFP4 block");
_Static_assert(sizeof(sm_block_q1_0) == 18, "Q1_0 block");
_Static_assert(sizeof(sm_block_q2_0) == 18, "Q2_0 block");
_Static_assert(sizeof(sm_block_tq2_0) == 66, "TQ2_0 block");
_Static_assert(sizeof(sm_block_tq1_0) == 54, "TQ1_0 block");
_Static_assert(sizeof(sm_block_q2_k) == 84, "Q2_K block");
_Static_assert(sizeof(sm_block_q3_k) == 110, "Q3_K block");
_Static_assert(sizeof(sm_block_q4_k) == 144, "Q4_K block");
_Static_assert(sizeof(sm_block_q5_k) == 176, "Q5_K block");
_Static_assert(sizeof(sm_block_q6_k) == 210, "Q6_K block");
_Static_assert(sizeof(sm_block_iq4_xs) == 136, "IQ4_XS block");

/* 6-bit scale and minimum of sub-block b (0..7) of Q4_K and Q5_K. */
static inline void sm_q4_k_scale(const uint8_t scales[12], unsigned b, uint8_t *sc, uint8_t *m) {
    if (b < 4) {
        *sc = scales[b] & 63;
        *m = scales[b + 4] & 63;
    } else {
        *sc = (uint8_t)((scales[b + 4] & 15) | (scales[b - 4] >> 6) << 4);
        *m = (uint8_t)((scales[b + 4] >> 4) | (scales[b] >> 6) << 4);
    }
}

/* Signed scale (-32..31) of 16-element sub-block s (0..15) of Q3_K. */
static inline int8_t sm_q3_k_scale(const uint8_t scales[12], unsigned s) {
    int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
    int high = (scales[8 + s % 4] >> (2 * (s / 4))) & 3;
    return (int8_t)((low | high << 4) - 32);
}

/* Signed scale (-32..31) of sub-block b (0..7) of IQ4_XS. */
static inline int8_t sm_iq4_xs_scale(const sm_block_iq4_xs *block, unsigned b) {
    int low = (block->scales_l[b / 2] >> (4 * (b % 2))) & 15;
    int high = (block->scales_h >> (2 * b)) & 3;
    return (int8_t)((low | high << 4) - 32);
}

/* The f16 factor of an IQ1_M block. */
static inline uint16_t sm_iq1_m_d(const sm_block_iq1_m *block) {
    const uint16_t *s = block->scales;
    return (uint16_t)(s[0] >> 12 | (s[1] >> 12) << 4 | (s[2] >> 12) << 8 | (s[3] >> 12) << 12);
}
static inline void sm_iq1_m_set_d(sm_block_iq1_m *block, uint16_t d) {
    for (unsigned j = 0; j < 4; j++) {
        block->scales[j] = (uint16_t)((block->scales[j] & 0xfff) | ((d >> (4 * j)) & 15) << 12);
    }
}

/* Codes of a byte's base-3 digits, every `apart`th of n. */
static inline void sm_base3_digits(uint8_t *code, uint8_t byte, size_t n, size_t apart) {
    uint32_t fraction = byte;
    for (size_t i = 0; i < n; i++) {
        fraction = (fraction & 255) * 3;
        code[i * apart] = (uint8_t)(fraction >> 8);
    }
}

/* The 256 codes of TQ1_0. */
static inline void sm_tq1_0_codes(uint8_t code[256], const sm_block_tq1_0 *b) {
    for (size_t m = 0; m < 32; m++) {
        sm_base3_digits(code + m, b->qs[m], 5, 32);
    }
    for (size_t m = 0; m < 16; m++) {
        sm_base3_digits(code + 160 + m, b->qs[32 + m], 5, 16);
    }
    for (size_t m = 0; m < 4; m++) {
        sm_base3_digits(code + 240 + m, b->qh[m], 4, 4);
    }
}

/* ---- half-precision floats, by exact bit arithmetic ----------------------------------- */

static inline uint32_t sm_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float sm_bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* f16: sign, 5 bits of exponent (bias 15), 10 of mantissa. Exact. */
static inline float sm_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t rest = h & 0x7fff;
    uint32_t bits;
    if (rest >= 0x7c00) { /* infinity, NaN */
        bits = 0x7f800000 | rest << 13;
    } else if (rest >= 0x0400) {
        bits = (rest << 13) + ((127 - 15) << 23);
    } else { /* zero, subnormal: rest * 2^-24 */
        bits = sm_float_bits((float)rest * 0x1p-24f);
    }
    return sm_bits_float(sign | bits);
}

/* Rounds to nearest even; overflows to infinity; NaN stays a NaN. */
static inline uint16_t sm_f32_to_f16(float x) {
    uint32_t bits = sm_float_bits(x);
    uint32_t sign = (bits >> 16) & 0x8000;
    uint32_t rest = bits & 0x7fffffff;
    uint32_t half;
    if (rest > 0x7f800000) {
        half = 0x7e00 | ((rest >> 13) & 0x3ff);
    } else if (rest >= 0x477ff000) { /* 65520 and up */
        half = 0x7c00;
    } else if (rest >= 0x38800000) { /* 2^-14: normal */
        rest += 0xfff + ((rest >> 13) & 1);
        half = (rest >> 13) - ((127 - 15) << 10);
    } else { /* the last place of 0.5f is 2^-24, so this sum rounds as f16 must */
        half = sm_float_bits(sm_bits_float(rest) + 0.5f) - 0x3f000000;
    }
    return (uint16_t)(sign | half);
}

/* bf16: the upper half of an f32. Exact. */
static inline float sm_bf16_to_f32(uint16_t h) {
    return sm_bits_float((uint32_t)h << 16);
}

/* Rounds to nearest even; NaN stays a NaN. */
static inline uint16_t sm_f32_to_bf16(float x) {
    uint32_t bits = sm_float_bits(x);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* 2^(e - 128), what the values of 4-bit floats are multiplied with; NaN for 255. */
static inline float sm_e8m0_to_f32(uint8_t e) {
    const uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    return sm_bits_float(e == 255 ? 0x7fc00000 : bits);
}

/* An unsigned float of 4 bits of exponent (bias 7) and 3 of mantissa, halved: what the values of
 * 4-bit floats are multiplied with. As other programs read it 127 is 0, and the highest bit says
 * nothing; but 255 is NaN here, which marks blocks that cannot be encoded. */
static inline float sm_ue4m3_to_f32(uint8_t x) {
    if (x == 255) {
        return sm_bits_float(0x7fc00000);
    }
    x &= 0x7f;
    return x == 0x7f ? 0 : sm_f16_to_f32((uint16_t)(x << 7)) * 128; /* f16: bias 15, 10 bits */
}

#endif
