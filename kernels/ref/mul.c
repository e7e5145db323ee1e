/* mul.c - the products, spelled out: what every other level must equal.
 *
 * Each quantized type is a reader of one packed 32-element block of 16 rows into
 * a `block`: plain int8 weights with their scales and minima as f32. From there
 * on there is one product for all types.
 */
#include <math.h>

#include "pack.h"
#include "table.h"

/* 32 elements of 16 rows. Types with one scale per 32 elements use index 0 only. */
typedef struct block {
    int8_t w[8][SM_GROUP * 4]; /* [g][4r + i]: row r, element 4g + i; offset subtracted */
    float ws[2][SM_GROUP];     /* scale of the (first, second half of the) block */
    float wm[2][SM_GROUP];     /* minimum, added to scale * weight */
} block;

/* ---- parts of the packed layout ---------------------------------------------------------- */

static void read_half(float *out, const uint8_t *part) {
    for (size_t r = 0; r < SM_GROUP; r++) {
        uint16_t h;
        memcpy(&h, part + 2 * r, 2);
        out[r] = sm_f16_to_f32(h);
    }
}

static void read_nib(block *b, const uint8_t *part) {
    for (size_t j = 0; j < 4; j++) {
        for (size_t n = 0; n < SM_GROUP * 4; n++) {
            uint8_t byte = part[j * SM_GROUP * 4 + n];
            b->w[j][n] = (int8_t)(byte & 15);
            b->w[j + 4][n] = (int8_t)(byte >> 4);
        }
    }
}

/* two bits to position `shift` of each weight */
static void add_crumb(block *b, const uint8_t *part, unsigned shift) {
    for (size_t j = 0; j < 2; j++) {
        for (size_t t = 0; t < 4; t++) {
            for (size_t n = 0; n < SM_GROUP * 4; n++) {
                int bits = (part[j * SM_GROUP * 4 + n] >> (2 * t)) & 3;
                b->w[2 * t + j][n] = (int8_t)(b->w[2 * t + j][n] | bits << shift);
            }
        }
    }
}

/* one bit to position `shift` of each weight */
static void add_high(block *b, const uint8_t *part, unsigned shift) {
    for (size_t g = 0; g < 8; g++) {
        for (size_t n = 0; n < SM_GROUP * 4; n++) {
            b->w[g][n] = (int8_t)(b->w[g][n] | ((part[n] >> g) & 1) << shift);
        }
    }
}

static void subtract(block *b, int offset) {
    for (size_t g = 0; g < 8; g++) {
        for (size_t n = 0; n < SM_GROUP * 4; n++) {
            b->w[g][n] = (int8_t)(b->w[g][n] - offset);
        }
    }
}

/* codes to the values they stand for */
static void look_up(block *b, const int8_t values[16]) {
    for (size_t g = 0; g < 8; g++) {
        for (size_t n = 0; n < SM_GROUP * 4; n++) {
            b->w[g][n] = values[b->w[g][n]];
        }
    }
}

/* scale = d * signed code, from the S8 parts */
static void read_signed_scales(block *b, const uint8_t *head, const uint8_t *codes, size_t halves) {
    float d[SM_GROUP];
    read_half(d, head);
    for (size_t h = 0; h < halves; h++) {
        for (size_t r = 0; r < SM_GROUP; r++) {
            b->ws[h][r] = d[r] * (float)(int8_t)codes[h * SM_CODE_PART + r];
        }
    }
}

/* scale = d * sc and minimum = -(dmin * m) */
static void set_scales(block *b, size_t h, const uint8_t *head, const uint8_t *sc,
                       const uint8_t *m) {
    float d[SM_GROUP], dmin[SM_GROUP];
    read_half(d, head);
    read_half(dmin, head + SM_HALF_PART);
    for (size_t r = 0; r < SM_GROUP; r++) {
        b->ws[h][r] = d[r] * (float)sc[r];
        b->wm[h][r] = -(dmin[r] * (float)m[r]);
    }
}

/* ---- types: one block from its super-block's head and its own record ---------------------- */

static void read_q8_0(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_half(b->ws[0], p);
    memcpy(b->w, p + SM_HALF_PART, sizeof b->w);
}

static void read_q4_0(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_half(b->ws[0], p);
    read_nib(b, p + SM_HALF_PART);
    subtract(b, 8);
}

static void read_iq4_nl(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_half(b->ws[0], p);
    read_nib(b, p + SM_HALF_PART);
    look_up(b, SM_IQ4_VALUES);
}

/* scale = 2^(code - 128) by halving 2^(code - 127); 0 for 0, infinite for 255 */
static void read_exponents(float *out, const uint8_t *codes) {
    for (size_t r = 0; r < SM_GROUP; r++) {
        out[r] = sm_bits_float((uint32_t)codes[r] << 23) * 0.5f;
    }
}

static void read_mxfp4(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_exponents(b->ws[0], p);
    read_nib(b, p + SM_CODE_PART);
    look_up(b, SM_FP4_VALUES);
}

static void read_q4_1(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_half(b->ws[0], p);
    read_half(b->wm[0], p + SM_HALF_PART);
    read_nib(b, p + 2 * SM_HALF_PART);
}

static void read_q5_0(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_half(b->ws[0], p);
    read_nib(b, p + SM_HALF_PART);
    add_high(b, p + SM_HALF_PART + SM_NIB_PART, 4);
    subtract(b, 16);
}

static void read_q5_1(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    read_half(b->ws[0], p);
    read_half(b->wm[0], p + SM_HALF_PART);
    read_nib(b, p + 2 * SM_HALF_PART);
    add_high(b, p + 2 * SM_HALF_PART + SM_NIB_PART, 4);
}

static void read_q2_k(block *b, const uint8_t *head, const uint8_t *p) {
    for (size_t h = 0; h < 2; h++) {
        uint8_t sc[SM_GROUP], m[SM_GROUP];
        for (size_t r = 0; r < SM_GROUP; r++) {
            sc[r] = p[h * SM_CODE_PART + r] & 15;
            m[r] = p[h * SM_CODE_PART + r] >> 4;
        }
        set_scales(b, h, head, sc, m);
    }
    memset(b->w, 0, sizeof b->w);
    add_crumb(b, p + 2 * SM_CODE_PART, 0);
}

static void read_q3_k(block *b, const uint8_t *head, const uint8_t *p) {
    read_signed_scales(b, head, p, 2);
    memset(b->w, 0, sizeof b->w);
    add_crumb(b, p + 2 * SM_CODE_PART, 0);
    add_high(b, p + 2 * SM_CODE_PART + SM_CRUMB_PART, 2);
    subtract(b, 4);
}

static void read_q4_k(block *b, const uint8_t *head, const uint8_t *p) {
    set_scales(b, 0, head, p, p + SM_CODE_PART);
    read_nib(b, p + 2 * SM_CODE_PART);
}

static void read_q5_k(block *b, const uint8_t *head, const uint8_t *p) {
    set_scales(b, 0, head, p, p + SM_CODE_PART);
    read_nib(b, p + 2 * SM_CODE_PART);
    add_high(b, p + 2 * SM_CODE_PART + SM_NIB_PART, 4);
}

static void read_q6_k(block *b, const uint8_t *head, const uint8_t *p) {
    read_signed_scales(b, head, p, 2);
    read_nib(b, p + 2 * SM_CODE_PART);
    add_crumb(b, p + 2 * SM_CODE_PART + SM_NIB_PART, 4);
    subtract(b, 32);
}

static void read_iq4_xs(block *b, const uint8_t *head, const uint8_t *p) {
    read_signed_scales(b, head, p, 1);
    read_nib(b, p + SM_CODE_PART);
    look_up(b, SM_IQ4_VALUES);
}

static void read_trio(block *b, const uint8_t *part) {
    for (size_t n = 0; n < SM_GROUP * 4; n++) {
        unsigned last = 0; /* of sub-group 3 in bits 0..2, of 7 in 4..6 */
        for (size_t j = 0; j < 3; j++) {
            const unsigned byte = part[j * SM_GROUP * 4 + n];
            b->w[j][n] = (int8_t)(byte & 7);
            b->w[j + 4][n] = (int8_t)((byte >> 4) & 7);
            last |= ((byte >> 3) & 0x11) << (2 - j);
        }
        b->w[3][n] = (int8_t)(last & 7);
        b->w[7][n] = (int8_t)(last >> 4);
    }
}

/* Codes to what the table has for them; scales times its factor. */
static void apply_codes(block *b, const sm_code_table *codes) {
    for (size_t g = 0; g < 8; g++) {
        for (size_t n = 0; n < SM_GROUP * 4; n++) {
            b->w[g][n] = codes->value[b->w[g][n]];
        }
    }
    for (size_t r = 0; r < SM_GROUP; r++) {
        b->ws[0][r] *= codes->factor; /* a power of two: exact before or after the scale's code */
        b->ws[1][r] *= codes->factor;
    }
}

#define READ_CODES(name, CODES, halves, read_part)                             \
    static void read_##name(block *b, const uint8_t *head, const uint8_t *p) { \
        memset(b->ws, 0, sizeof b->ws);                                        \
        read_signed_scales(b, head, p, halves);                                \
        read_part(b, p + (halves)*SM_CODE_PART);                               \
        apply_codes(b, &SM_CODES_##CODES);                                     \
    }
READ_CODES(iq2_xxs, IQ2, 1, read_trio)
READ_CODES(iq2_xs, IQ2, 2, read_trio)
READ_CODES(iq2_s, IQ2, 2, read_trio)
READ_CODES(iq3_xxs, IQ3_XXS, 1, read_nib)
READ_CODES(iq3_s, IQ3_S, 1, read_nib)
READ_CODES(iq1_s, IQ1, 1, read_trio)
READ_CODES(iq1_m, IQ1, 2, read_trio)

static void read_nvfp4(block *b, const uint8_t *head, const uint8_t *p) {
    (void)head;
    for (size_t n = 0; n < 2 * SM_GROUP; n++) {
        b->ws[n / SM_GROUP][n % SM_GROUP] = sm_f16_to_f32((uint16_t)(p[n] << 7)) * 128;
    }
    read_nib(b, p + 2 * SM_CODE_PART);
    look_up(b, SM_FP4_VALUES);
}

static void read_tq2_0(block *b, const uint8_t *head, const uint8_t *p) {
    read_half(b->ws[0], head);
    memset(b->w, 0, sizeof b->w);
    add_crumb(b, p, 0);
    subtract(b, 1);
}

static void read_q2_0(block *b, const uint8_t *head, const uint8_t *p) {
    read_tq2_0(b, head, p);
}

static void read_q1_0(block *b, const uint8_t *head, const uint8_t *p) {
    read_half(b->ws[0], head);
    memset(b->w, 0, sizeof b->w);
    add_high(b, p, 1);
    subtract(b, 1);
}

/* ---- the quantized product ----------------------------------------------------------------- */

typedef struct format {
    void (*read)(block *b, const uint8_t *head, const uint8_t *record);
    uint32_t type;
    size_t head_bytes;
    size_t records; /* 32-element blocks behind a head, or 1 */
    size_t halves;  /* scales per 32 elements: 1 or 2 */
    bool minimum;
} format;

/* y[r] += row r of the block times one activation block */
static void add_block(float *y, const block *b, const sm_act_block *x, size_t halves,
                      bool minimum) {
    int32_t s[2][SM_GROUP] = {{0}};
    for (size_t g = 0; g < 8; g++) {
        for (size_t r = 0; r < SM_GROUP; r++) {
            for (size_t i = 0; i < 4; i++) {
                s[g / 4][r] += b->w[g][4 * r + i] * x->q[4 * g + i];
            }
        }
    }
    for (size_t r = 0; r < SM_GROUP; r++) {
        if (halves == 1) {
            y[r] = fmaf((float)(s[0][r] + s[1][r]), b->ws[0][r] * x->d, y[r]);
            if (minimum) {
                y[r] = fmaf(b->wm[0][r], x->ds, y[r]);
            }
        } else {
            const float first = (float)s[0][r] * b->ws[0][r];
            y[r] = fmaf(fmaf((float)s[1][r], b->ws[1][r], first), x->d, y[r]);
            if (minimum) {
                y[r] = fmaf(b->wm[0][r], x->ds16[0], y[r]);
                y[r] = fmaf(b->wm[1][r], x->ds16[1], y[r]);
            }
        }
    }
}

static void clear(float *y, size_t ldy, size_t n_groups, size_t ncols) {
    for (size_t c = 0; c < ncols; c++) {
        memset(y + c * ldy, 0, n_groups * SM_GROUP * sizeof *y);
    }
}

static void mul_quantized(const format *f, float *y, size_t ldy, const uint8_t *packed,
                          size_t group_bytes, size_t n_groups, size_t k, const sm_act_block *x,
                          size_t ldx, size_t ncols, bool accumulate) {
    const size_t super_bytes = sm_packed_bytes(f->type, 32 * f->records);
    const size_t record_bytes = (super_bytes - f->head_bytes) / f->records;
    if (!accumulate) {
        clear(y, ldy, n_groups, ncols);
    }
    for (size_t group = 0; group < n_groups; group++) {
        for (size_t n = 0; n < k / 32; n++) { /* in order of k: each y is one chain */
            const uint8_t *head = packed + group * group_bytes + n / f->records * super_bytes;
            block b;
            f->read(&b, head, head + f->head_bytes + n % f->records * record_bytes);
            for (size_t c = 0; c < ncols; c++) {
                add_block(y + c * ldy + group * SM_GROUP, &b, x + c * ldx + n, f->halves,
                          f->minimum);
            }
        }
    }
}

#define QUANTIZED(TYPE, name, head_bytes, records, halves, minimum)                              \
    static const format format_##name = {read_##name, SM_DTYPE_##TYPE, head_bytes,               \
                                         records,     halves,          minimum};                 \
    void sm_mul_##name##_ref(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                             size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                             bool accumulate, sm_prefetch prefetch) {                            \
        (void)prefetch;                                                                          \
        mul_quantized(&format_##name, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols,   \
                      accumulate);                                                               \
    }                                                                                            \
    GEMM(name)

/* A product of many columns is the same chain; only vector levels gain by unpacking first. */
#define GEMM(name)                                                                                \
    void sm_gemm_##name##_ref(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                              size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                              bool accumulate, const void *next, void *scratch) {                 \
        (void)next, (void)scratch;                                                                \
        sm_mul_##name##_ref(y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate,  \
                            false);                                                               \
    }

QUANTIZED(Q8_0, q8_0, 0, 1, 1, false)
QUANTIZED(Q4_0, q4_0, 0, 1, 1, false)
QUANTIZED(Q4_1, q4_1, 0, 1, 1, true)
QUANTIZED(Q5_0, q5_0, 0, 1, 1, false)
QUANTIZED(Q5_1, q5_1, 0, 1, 1, true)
QUANTIZED(IQ4_NL, iq4_nl, 0, 1, 1, false)
QUANTIZED(MXFP4, mxfp4, 0, 1, 1, false)
QUANTIZED(NVFP4, nvfp4, 0, 1, 2, false)
QUANTIZED(Q1_0, q1_0, SM_HALF_PART, 4, 1, false)
QUANTIZED(Q2_0, q2_0, SM_HALF_PART, 2, 1, false)
QUANTIZED(TQ2_0, tq2_0, SM_HALF_PART, 8, 1, false)
QUANTIZED(Q2_K, q2_k, 2 * SM_HALF_PART, 8, 2, true)
QUANTIZED(Q3_K, q3_k, SM_HALF_PART, 8, 2, false)
QUANTIZED(Q4_K, q4_k, 2 * SM_HALF_PART, 8, 1, true)
QUANTIZED(Q5_K, q5_k, 2 * SM_HALF_PART, 8, 1, true)
QUANTIZED(Q6_K, q6_k, SM_HALF_PART, 8, 2, false)
QUANTIZED(IQ4_XS, iq4_xs, SM_HALF_PART, 8, 1, false)
QUANTIZED(IQ2_XXS, iq2_xxs, SM_HALF_PART, 8, 1, false)
QUANTIZED(IQ2_XS, iq2_xs, SM_HALF_PART, 8, 2, false)
QUANTIZED(IQ2_S, iq2_s, SM_HALF_PART, 8, 2, false)
QUANTIZED(IQ3_XXS, iq3_xxs, SM_HALF_PART, 8, 1, false)
QUANTIZED(IQ3_S, iq3_s, SM_HALF_PART, 8, 1, false)
QUANTIZED(IQ1_S, iq1_s, SM_HALF_PART, 8, 1, false)
QUANTIZED(IQ1_M, iq1_m, SM_HALF_PART, 8, 2, false)

/* ---- the float product ----------------------------------------------------------------------- */

static void read_f32(float *w, const void *packed, size_t k) {
    memcpy(w, (const float *)packed + k * SM_GROUP, SM_GROUP * sizeof *w);
}

static void read_f16(float *w, const void *packed, size_t k) {
    const uint16_t *p = (const uint16_t *)packed + k * SM_GROUP;
    for (size_t r = 0; r < SM_GROUP; r++) {
        w[r] = sm_f16_to_f32(p[r]);
    }
}

static void read_bf16(float *w, const void *packed, size_t k) {
    const uint16_t *p = (const uint16_t *)packed + k / 2 * SM_GROUP * 2 + k % 2;
    for (size_t r = 0; r < SM_GROUP; r++) {
        w[r] = sm_bf16_to_f32(p[2 * r]);
    }
}

/* `read` fetches element k of the 16 rows of a group. */
static void mul_float(void (*read)(float *w, const void *packed, size_t k), float *y, size_t ldy,
                      const uint8_t *packed, size_t group_bytes, size_t n_groups, size_t k,
                      const float *x, size_t ldx, size_t ncols, bool accumulate) {
    if (!accumulate) {
        clear(y, ldy, n_groups, ncols);
    }
    for (size_t group = 0; group < n_groups; group++) {
        for (size_t i = 0; i < k; i++) {
            float w[SM_GROUP];
            read(w, packed + group * group_bytes, i);
            for (size_t c = 0; c < ncols; c++) {
                float *out = y + c * ldy + group * SM_GROUP;
                for (size_t r = 0; r < SM_GROUP; r++) {
                    out[r] = fmaf(w[r], x[c * ldx + i], out[r]);
                }
            }
        }
    }
}

#define FLOAT(name)                                                                              \
    void sm_mul_##name##_ref(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                             size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                             bool accumulate, sm_prefetch prefetch) {                            \
        (void)prefetch;                                                                          \
        mul_float(read_##name, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols,          \
                  accumulate);                                                                   \
    }                                                                                            \
    GEMM(name)

FLOAT(f32)
FLOAT(f16)
FLOAT(bf16)
