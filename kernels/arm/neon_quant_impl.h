/* neon_quant_impl.h - products of the quantized types: the body of neon_quant.c, dotprod_quant.c
 * and i8mm_quant.c.
 *
 * Before including it define
 *   LEVEL(name)   the name with the level's suffix
 *   DOTPROD       1: use the 4-way dot product instructions, 0: multiply and add pairs
 *   I8MM          1: gemm with the matrix-multiply instruction, and no mul (that of the
 *                 level below does as well: one column is half of what the instruction takes)
 *   GEMM_COLS     columns of one gemm tile (4 or 2), by the registers an int sum takes
 * The f32 operations are those of kernels.h, so all levels give the same bits.
 */
#include "pack.h"
#include "simd.h"

/* ---- formats -------------------------------------------------------------------------- */

/* How the codes of a block lie in its record (pack.h). */
typedef enum code_kind {
    CODE_BYTES,
    CODE_NIB,
    CODE_NIB_TABLE, /* index the table that comes with the product */
    CODE_NIB_HIGH,
    CODE_NIB_CRUMB,
    CODE_CRUMB,
    CODE_CRUMB_HIGH,
    CODE_TRIO_TABLE,
    CODE_BIT /* HIGH, a bit counts 2 */
} code_kind;

/* How its scales do, in front of the codes. */
typedef enum scale_kind {
    SCALE_D,      /* D */
    SCALE_D_M,    /* D M */
    SCALE_E,      /* E */
    SCALE_F8_F8,  /* F8 s0, F8 s1 */
    SCALE_HEAD,   /* none: the head's D */
    SCALE_S8,     /* S8 sc, times the head's D */
    SCALE_S8_S8,  /* S8 sc0, S8 sc1, times the head's D */
    SCALE_U8_M,   /* U8 sc, U8 m, times the head's D, DM */
    SCALE_NIB_NIB /* U8 sc0 | m0 << 4, U8 sc1 | m1 << 4, times the head's D, DM */
} scale_kind;

typedef struct format {
    code_kind code;
    scale_kind scale;
    int offset;    /* code - offset is what is multiplied */
    size_t blocks; /* records after each head */
    const sm_code_table *codes;
} format;

static const format Q8_0 = {CODE_BYTES, SCALE_D, 0, 1, NULL};
static const format Q4_0 = {CODE_NIB, SCALE_D, 8, 1, NULL};
static const format Q4_1 = {CODE_NIB, SCALE_D_M, 0, 1, NULL};
static const format Q5_0 = {CODE_NIB_HIGH, SCALE_D, 16, 1, NULL};
static const format Q5_1 = {CODE_NIB_HIGH, SCALE_D_M, 0, 1, NULL};
static const format IQ4_NL = {CODE_NIB_TABLE, SCALE_D, 0, 1, NULL};
static const format MXFP4 = {CODE_NIB_TABLE, SCALE_E, 0, 1, NULL};
static const format NVFP4 = {CODE_NIB_TABLE, SCALE_F8_F8, 0, 1, NULL};
static const format Q1_0 = {CODE_BIT, SCALE_HEAD, 1, 4, NULL};
static const format Q2_0 = {CODE_CRUMB, SCALE_HEAD, 1, 2, NULL};
static const format TQ2_0 = {CODE_CRUMB, SCALE_HEAD, 1, 8, NULL};
static const format Q2_K = {CODE_CRUMB, SCALE_NIB_NIB, 0, 8, NULL};
static const format Q3_K = {CODE_CRUMB_HIGH, SCALE_S8_S8, 4, 8, NULL};
static const format Q4_K = {CODE_NIB, SCALE_U8_M, 0, 8, NULL};
static const format Q5_K = {CODE_NIB_HIGH, SCALE_U8_M, 0, 8, NULL};
static const format Q6_K = {CODE_NIB_CRUMB, SCALE_S8_S8, 32, 8, NULL};
static const format IQ4_XS = {CODE_NIB_TABLE, SCALE_S8, 0, 8, NULL};
static const format IQ2_XXS = {CODE_TRIO_TABLE, SCALE_S8, 0, 8, NULL};
static const format IQ2_XS = {CODE_TRIO_TABLE, SCALE_S8_S8, 0, 8, NULL};

INLINE bool has_table(format f) {
    return f.code == CODE_NIB_TABLE || f.code == CODE_TRIO_TABLE;
}

INLINE size_t head_bytes(format f) {
    switch (f.scale) {
    case SCALE_D:
    case SCALE_D_M:
    case SCALE_E:
    case SCALE_F8_F8:
        return 0;
    case SCALE_S8:
    case SCALE_S8_S8:
    case SCALE_HEAD:
        return SM_HALF_PART;
    default:
        return 2 * SM_HALF_PART;
    }
}
/* Bytes of a record before its codes. */
INLINE size_t scale_bytes(format f) {
    switch (f.scale) {
    case SCALE_HEAD:
        return 0;
    case SCALE_D:
        return SM_HALF_PART;
    case SCALE_D_M:
        return 2 * SM_HALF_PART;
    case SCALE_S8:
    case SCALE_E:
        return SM_CODE_PART;
    default:
        return 2 * SM_CODE_PART;
    }
}
INLINE size_t record_bytes(format f) {
    switch (f.code) {
    case CODE_BYTES:
        return scale_bytes(f) + SM_BYTES_PART;
    case CODE_NIB:
    case CODE_NIB_TABLE:
        return scale_bytes(f) + SM_NIB_PART;
    case CODE_NIB_HIGH:
        return scale_bytes(f) + SM_NIB_PART + SM_HIGH_PART;
    case CODE_NIB_CRUMB:
        return scale_bytes(f) + SM_NIB_PART + SM_CRUMB_PART;
    case CODE_CRUMB:
        return scale_bytes(f) + SM_CRUMB_PART;
    case CODE_BIT:
        return scale_bytes(f) + SM_HIGH_PART;
    case CODE_TRIO_TABLE:
        return scale_bytes(f) + SM_TRIO_PART;
    default:
        return scale_bytes(f) + SM_CRUMB_PART + SM_HIGH_PART;
    }
}
/* Sums per 32-block: one, or one per half. */
INLINE unsigned sums_of(format f) {
    switch (f.scale) {
    case SCALE_S8_S8:
    case SCALE_F8_F8:
    case SCALE_NIB_NIB:
        return 2;
    default:
        return 1;
    }
}
INLINE bool has_min(format f) {
    return f.scale == SCALE_D_M || f.scale == SCALE_U8_M || f.scale == SCALE_NIB_NIB;
}
/* Codes that may use all 8 bits. */
INLINE bool is_wide(format f) {
    return f.code == CODE_BYTES || f.code == CODE_NIB_TABLE ||
           (f.code == CODE_TRIO_TABLE && sums_of(f) == 1);
}
/* Sub-groups whose products may be added in 16 bits: 2 of wide codes (2 * 128 * 127 <= 32767),
 * 4 of 6 bits (4 * 63 * 127; TRIO's are at most 43), 8 of 5 bits (8 * 31 * 127); no more than go
 * into one sum. */
INLINE unsigned run_of(format f) {
    return is_wide(f) ? 2 : 8 / sums_of(f);
}

/* ---- integer sums ----------------------------------------------------------------------- */

/* The sum of four rows (a quad) by one column. Starts at `start`, then takes the halves of
 * a block, or one of them, four sub-groups w by the 16 values x each. */
#if DOTPROD

typedef struct isum {
    int32x4_t s;
} isum;

INLINE isum sum_start(int32x4_t start) {
    return (isum){start};
}
INLINE void sum_half(isum *a, const int8x16_t w[4], int8x16_t x, unsigned first, unsigned run) {
    (void)first, (void)run;
    a->s = vdotq_laneq_s32(a->s, w[0], x, 0);
    a->s = vdotq_laneq_s32(a->s, w[1], x, 1);
    a->s = vdotq_laneq_s32(a->s, w[2], x, 2);
    a->s = vdotq_laneq_s32(a->s, w[3], x, 3);
}
INLINE int32x4_t sum_end(isum a) {
    return a.s;
}

#else

/* Products of rows 0, 1 and of rows 2, 3, added in 16 bits over `run` sub-groups, then pairs
 * of them in 32 bits: two partial sums per row. */
typedef struct isum {
    int32x4_t start, s01, s23;
    int16x8_t p01, p23;
} isum;

INLINE int8x16_t spread(int8x16_t x, unsigned lane) {
    int32x4_t v = vreinterpretq_s32_s8(x);
    switch (lane) {
    case 0:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 0));
    case 1:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 1));
    case 2:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 2));
    default:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 3));
    }
}
INLINE isum sum_start(int32x4_t start) {
    isum a;
    a.start = start;
    a.s01 = a.s23 = vdupq_n_s32(0);
    a.p01 = a.p23 = vdupq_n_s16(0);
    return a;
}
/* Sub-group g of the sum. */
INLINE void sum_step(isum *a, int8x16_t w, int8x16_t q, unsigned g, unsigned run) {
    if (g % run == 0) {
        a->p01 = vmull_s8(vget_low_s8(w), vget_low_s8(q));
        a->p23 = vmull_high_s8(w, q);
    } else {
        a->p01 = vmlal_s8(a->p01, vget_low_s8(w), vget_low_s8(q));
        a->p23 = vmlal_high_s8(a->p23, w, q);
    }
    if (g == run - 1) {
        a->s01 = vpaddlq_s16(a->p01);
        a->s23 = vpaddlq_s16(a->p23);
    } else if (g % run == run - 1) {
        a->s01 = vpadalq_s16(a->s01, a->p01);
        a->s23 = vpadalq_s16(a->s23, a->p23);
    }
}
INLINE void sum_half(isum *a, const int8x16_t w[4], int8x16_t x, unsigned first, unsigned run) {
    sum_step(a, w[0], spread(x, 0), first, run);
    sum_step(a, w[1], spread(x, 1), first + 1, run);
    sum_step(a, w[2], spread(x, 2), first + 2, run);
    sum_step(a, w[3], spread(x, 3), first + 3, run);
}
INLINE int32x4_t sum_end(isum a) {
    return vaddq_s32(a.start, vpaddq_s32(a.s01, a.s23));
}

#endif

/* ---- codes to bytes --------------------------------------------------------------------- */

INLINE uint8x16_t shift_right(uint8x16_t v, unsigned n) {
    switch (n) {
    case 1:
        return vshrq_n_u8(v, 1);
    case 2:
        return vshrq_n_u8(v, 2);
    case 3:
        return vshrq_n_u8(v, 3);
    case 4:
        return vshrq_n_u8(v, 4);
    case 5:
        return vshrq_n_u8(v, 5);
    case 6:
        return vshrq_n_u8(v, 6);
    case 7:
        return vshrq_n_u8(v, 7);
    default:
        return v;
    }
}
/* Bits from .. from + width - 1 of each byte. */
INLINE uint8x16_t field(uint8x16_t v, unsigned from, unsigned width) {
    uint8x16_t moved = shift_right(v, from);
    return from + width == 8 ? moved : vandq_u8(moved, vdupq_n_u8((uint8_t)((1u << width) - 1)));
}
/* Bits 4 and up of sub-group g from the part after the nibbles. */
INLINE uint8x16_t upper_bits(format f, const uint8_t *part, unsigned g) {
    return f.code == CODE_NIB_HIGH ? field(vld1q_u8(part), g, 1)
                                   : field(vld1q_u8(part + SM_HIGH_PART * (g % 2)), g / 2 * 2, 2);
}

INLINE void unpack_trio(const uint8_t *p, int8x16_t values, int8x16_t w[8]) {
    const uint8x16_t mask = vdupq_n_u8(7);
    uint8x16_t x[4];
    UNROLL
    for (size_t j = 0; j < 3; j++) {
        x[j] = vld1q_u8(p + 64 * j);
    }
    x[3] = vbslq_u8(vdupq_n_u8(0x44), shift_right(x[0], 1),
                    vbslq_u8(vdupq_n_u8(0x22), shift_right(x[1], 2), shift_right(x[2], 3)));
    UNROLL
    for (size_t j = 0; j < 4; j++) {
        w[j] = vqtbl1q_s8(values, vandq_u8(x[j], mask));
        w[j + 4] = vqtbl1q_s8(values, vandq_u8(shift_right(x[j], 4), mask));
    }
}

/* The codes of one quad: w[g] for the eight sub-groups of a block. */
INLINE void unpack(format f, const uint8_t *codes, unsigned quad, int8x16_t w[8]) {
    const uint8_t *p = codes + 16 * quad;
    if (f.code == CODE_BYTES) {
        UNROLL
        for (size_t g = 0; g < 8; g++) {
            w[g] = vreinterpretq_s8_u8(vld1q_u8(p + 64 * g));
        }
    } else if (f.code == CODE_TRIO_TABLE) {
        unpack_trio(p, vld1q_s8(f.codes->value), w);
    } else if (f.code == CODE_NIB || f.code == CODE_NIB_TABLE) {
        UNROLL
        for (unsigned j = 0; j < 4; j++) {
            uint8x16_t raw = vld1q_u8(p + 64 * j);
            uint8x16_t low = field(raw, 0, 4), high = field(raw, 4, 4);
            if (f.code == CODE_NIB_TABLE) {
                int8x16_t values = vld1q_s8(f.codes->value);
                w[j] = vqtbl1q_s8(values, low);
                w[j + 4] = vqtbl1q_s8(values, high);
            } else {
                w[j] = vreinterpretq_s8_u8(low);
                w[j + 4] = vreinterpretq_s8_u8(high);
            }
        }
    } else if (f.code == CODE_NIB_HIGH || f.code == CODE_NIB_CRUMB) {
        UNROLL
        for (unsigned j = 0; j < 4; j++) {
            uint8x16_t raw = vld1q_u8(p + 64 * j);
            uint8x16_t low = upper_bits(f, p + SM_NIB_PART, j);
            uint8x16_t high = upper_bits(f, p + SM_NIB_PART, j + 4);
            w[j] = vreinterpretq_s8_u8(vsliq_n_u8(raw, low, 4));
            w[j + 4] = vreinterpretq_s8_u8(vsliq_n_u8(field(raw, 4, 4), high, 4));
        }
    } else if (f.code == CODE_BIT) {
        UNROLL
        for (unsigned g = 0; g < 8; g++) {
            uint8x16_t raw = vld1q_u8(p);
            raw = g == 0 ? vaddq_u8(raw, raw) : shift_right(raw, g - 1);
            w[g] = vreinterpretq_s8_u8(vandq_u8(raw, vdupq_n_u8(2)));
        }
    } else {
        UNROLL
        for (unsigned g = 0; g < 8; g++) {
            uint8x16_t raw = vld1q_u8(p + 64 * (g % 2));
            if (f.code == CODE_CRUMB_HIGH) {
                uint8x16_t high = field(vld1q_u8(p + SM_CRUMB_PART), g, 1);
                raw = vsliq_n_u8(shift_right(raw, g / 2 * 2), high, 2);
            } else {
                raw = field(raw, g / 2 * 2, 2);
            }
            w[g] = vreinterpretq_s8_u8(raw);
        }
    }
}

/* ---- scales ------------------------------------------------------------------------------ */

/* Of one quad: s per sum; m added per sum. */
typedef struct scales {
    float32x4_t s[2], m[2];
} scales;

/* Four bytes as f32. */
INLINE float32x4_t load_s8(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    int16x8_t v = vmovl_s8(vcreate_s8(word));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(v)));
}
INLINE float32x4_t widen_u8(uint8x8_t v) {
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(v))));
}
INLINE uint8x8_t load_u8(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return vcreate_u8(word);
}

INLINE scales load_scales(format f, const uint8_t *head, const uint8_t *record, unsigned quad) {
    scales r = {{vdupq_n_f32(0), vdupq_n_f32(0)}, {vdupq_n_f32(0), vdupq_n_f32(0)}};
    if (f.scale == SCALE_D || f.scale == SCALE_D_M) {
        r.s[0] = load_f16(record + 8 * quad);
        if (f.scale == SCALE_D_M) {
            r.m[0] = load_f16(record + SM_HALF_PART + 8 * quad);
        }
        return r;
    }
    const uint8_t *code = record + 4 * quad;
    if (f.scale == SCALE_E) { /* 2^(code - 128), 0 for 0 */
        uint32x4_t bits = vshlq_n_u32(vmovl_u16(vget_low_u16(vmovl_u8(load_u8(code)))), 23);
        r.s[0] = vmulq_n_f32(vreinterpretq_f32_u32(bits), 0.5f);
        return r;
    }
    for (size_t i = 0; f.scale == SCALE_F8_F8 && i < 2; i++) { /* f16 with code << 7, times 128 */
        uint16x8_t bits = vshlq_n_u16(vmovl_u8(load_u8(code + SM_CODE_PART * i)), 7);
        float16x4_t half = vreinterpret_f16_u16(vget_low_u16(bits));
        r.s[i] = vmulq_n_f32(vcvt_f32_f16(half), 128);
    }
    if (f.scale == SCALE_F8_F8) {
        return r;
    }
    float32x4_t d = load_f16(head + 8 * quad);
    if (f.scale == SCALE_HEAD) {
        r.s[0] = d;
        return r;
    }
    if (has_table(f)) {
        d = vmulq_n_f32(d, f.codes->factor);
    }
    if (f.scale == SCALE_S8 || f.scale == SCALE_S8_S8) {
        r.s[0] = vmulq_f32(d, load_s8(code));
        if (f.scale == SCALE_S8_S8) {
            r.s[1] = vmulq_f32(d, load_s8(code + SM_CODE_PART));
        }
        return r;
    }
    float32x4_t dm = load_f16(head + SM_HALF_PART + 8 * quad);
    if (f.scale == SCALE_U8_M) {
        r.s[0] = vmulq_f32(d, widen_u8(load_u8(code)));
        r.m[0] = vnegq_f32(vmulq_f32(dm, widen_u8(load_u8(code + SM_CODE_PART))));
        return r;
    }
    for (size_t i = 0; i < 2; i++) {
        uint8x8_t both = load_u8(code + SM_CODE_PART * i);
        r.s[i] = vmulq_f32(d, widen_u8(vand_u8(both, vdup_n_u8(15))));
        r.m[i] = vnegq_f32(vmulq_f32(dm, widen_u8(vshr_n_u8(both, 4))));
    }
    return r;
}

/* ---- one block into y --------------------------------------------------------------------- */

/* Adds the int sums of a block to y; `sums` and `min` as sums_of and has_min say. */
INLINE float32x4_t add_block(float32x4_t y, const isum s[2], const scales *w, const sm_act_block *x,
                             unsigned sums, bool min) {
    const float32x4_t s0 = vcvtq_f32_s32(sum_end(s[0]));
    if (sums == 2) {
        const float32x4_t s1 = vcvtq_f32_s32(sum_end(s[1]));
        y = vfmaq_n_f32(y, vfmaq_f32(vmulq_f32(s0, w->s[0]), s1, w->s[1]), x->d);
    } else {
        y = vfmaq_f32(y, s0, vmulq_n_f32(w->s[0], x->d));
    }
    for (unsigned i = 0; min && i < sums; i++) {
        y = vfmaq_n_f32(y, w->m[i], sums == 2 ? x->ds16[i] : x->ds);
    }
    return y;
}

#if !I8MM

/* ---- mul: unpacks on the fly ---------------------------------------------------------------- */

/* The quad of one block for n columns. */
INLINE void mul_quad(format f, unsigned n, const uint8_t *head, const uint8_t *record,
                     unsigned quad, const sm_act_block *x, size_t ldx, float32x4_t y[]) {
    unsigned sums = sums_of(f), run = run_of(f);
    int8x16_t w[8];
    unpack(f, record + scale_bytes(f), quad, w);
    scales scale = load_scales(f, head, record, quad);
    UNROLL
    for (size_t c = 0; c < n; c++) {
        const sm_act_block *xc = x + c * ldx;
        int8x16_t x0 = vld1q_s8(xc->q), x1 = vld1q_s8(xc->q + 16);
        isum s[2];
        if (sums == 1) {
            s[0] = sum_start(vdupq_n_s32(f.offset * xc->nsum));
            sum_half(&s[0], w, x0, 0, run);
            sum_half(&s[0], w + 4, x1, 4, run);
        } else {
            s[0] = sum_start(vdupq_n_s32(f.offset * xc->nsum16[0]));
            s[1] = sum_start(vdupq_n_s32(f.offset * xc->nsum16[1]));
            sum_half(&s[0], w, x0, 0, run);
            sum_half(&s[1], w + 4, x1, 0, run);
        }
        y[c] = add_block(y[c], s, &scale, xc, sums, has_min(f));
    }
}

/* One group by n columns. */
INLINE void mul_group(format f, unsigned n, float *y, size_t ldy, const uint8_t *p, size_t k,
                      const sm_act_block *x, size_t ldx, bool accumulate) {
    float32x4_t sum[4][4]; /* [quad][column] */
    for (size_t q = 0; q < 4; q++) {
        for (size_t c = 0; c < n; c++) {
            sum[q][c] = accumulate ? vld1q_f32(y + c * ldy + 4 * q) : vdupq_n_f32(0);
        }
    }
    for (size_t left = k / 32; left > 0; left -= f.blocks) {
        const uint8_t *head = p;
        p += head_bytes(f);
        for (size_t b = 0; b < f.blocks; b++) {
            if (n > 1) { /* the sums do not fit the registers */
                ROLLED
                for (unsigned q = 0; q < 4; q++) {
                    mul_quad(f, n, head, p, q, x, ldx, sum[q]);
                }
            } else {
                UNROLL
                for (unsigned q = 0; q < 4; q++) {
                    mul_quad(f, n, head, p, q, x, ldx, sum[q]);
                }
            }
            p += record_bytes(f);
            x++;
        }
    }
    for (size_t q = 0; q < 4; q++) {
        for (size_t c = 0; c < n; c++) {
            vst1q_f32(y + c * ldy + 4 * q, sum[q][c]);
        }
    }
}

INLINE void mul(format f, float *y, size_t ldy, const void *packed, size_t group_bytes,
                size_t n_groups, size_t k, const sm_act_block *x, size_t ldx, size_t ncols,
                bool accumulate) {
    for (size_t g = 0; g < n_groups; g++) {
        const uint8_t *p = (const uint8_t *)packed + g * group_bytes;
        size_t c = 0;
        for (; ncols - c >= 4; c += 4) {
            mul_group(f, 4, y + c * ldy + SM_GROUP * g, ldy, p, k, x + c * ldx, ldx, accumulate);
        }
        if (ncols - c >= 2) {
            mul_group(f, 2, y + c * ldy + SM_GROUP * g, ldy, p, k, x + c * ldx, ldx, accumulate);
            c += 2;
        }
        if (ncols - c >= 1) {
            mul_group(f, 1, y + c * ldy + SM_GROUP * g, ldy, p, k, x + c * ldx, ldx, accumulate);
        }
    }
}

#endif

/* ---- gemm: unpacks a slab to signed bytes first ---------------- */

/* A panel is half a group, 8 rows; per block, in order: codes, offset taken off; scales
 * [sum][8] f32; with minima [sum][8] f32. The codes lie as [g 0..7][8 rows][4], for the
 * matrix-multiply instruction as [8-element group 0..3][8 rows][8]. */
enum { PANEL_ROWS = 8, PANEL_CODES = 32 * PANEL_ROWS, PANEL_SCALES = PANEL_ROWS * 4 };

INLINE size_t panel_block(unsigned sums, bool min) {
    return PANEL_CODES + PANEL_SCALES * sums * (min ? 2 : 1);
}
_Static_assert(SM_GEMM_GROUPS * 2 * (SM_SLAB / 32) * (PANEL_CODES + 4 * PANEL_SCALES) <=
                   SM_GEMM_SCRATCH,
               "panels fit the scratch");

INLINE void put_quad(format f, uint8_t *block, unsigned half, const int8x16_t w[8],
                     const scales *scale) {
    int8x16_t offset = vdupq_n_s8((int8_t)f.offset);
    unsigned sums = sums_of(f);
#if I8MM
    for (size_t g = 0; g < 8; g += 2) {
        int32x4_t even = vreinterpretq_s32_s8(vsubq_s8(w[g], offset));
        int32x4_t odd = vreinterpretq_s32_s8(vsubq_s8(w[g + 1], offset));
        uint8_t *at = block + 32 * g + 32 * half;
        vst1q_u8(at, vreinterpretq_u8_s32(vzip1q_s32(even, odd)));
        vst1q_u8(at + 16, vreinterpretq_u8_s32(vzip2q_s32(even, odd)));
    }
#else
    for (size_t g = 0; g < 8; g++) {
        vst1q_u8(block + 32 * g + 16 * half, vreinterpretq_u8_s8(vsubq_s8(w[g], offset)));
    }
#endif
    uint8_t *at = block + PANEL_CODES + 16 * half;
    for (size_t i = 0; i < sums; i++) {
        vst1q_u8(at + PANEL_SCALES * i, vreinterpretq_u8_f32(scale->s[i]));
        if (has_min(f)) {
            vst1q_u8(at + PANEL_SCALES * (sums + i), vreinterpretq_u8_f32(scale->m[i]));
        }
    }
}

/* Unpacks k columns of a group into its two panels. */
INLINE void unpack_group(format f, uint8_t *panels, const uint8_t *p, size_t k) {
    size_t block = panel_block(sums_of(f), has_min(f));
    uint8_t *to = panels;
    for (size_t left = k / 32; left > 0; left -= f.blocks) {
        const uint8_t *head = p;
        p += head_bytes(f);
        for (size_t b = 0; b < f.blocks; b++) {
            for (unsigned q = 0; q < 4; q++) {
                int8x16_t w[8];
                unpack(f, p + scale_bytes(f), q, w);
                scales scale = load_scales(f, head, p, q);
                put_quad(f, to + (q / 2) * (k / 32) * block, q % 2, w, &scale);
            }
            p += record_bytes(f);
            to += block;
        }
    }
}

INLINE scales panel_scales(const uint8_t *at, unsigned sums, bool min) {
    scales r = {{vdupq_n_f32(0), vdupq_n_f32(0)}, {vdupq_n_f32(0), vdupq_n_f32(0)}};
    for (size_t i = 0; i < sums; i++) {
        r.s[i] = vreinterpretq_f32_u8(vld1q_u8(at + PANEL_SCALES * i));
        if (min) {
            r.m[i] = vreinterpretq_f32_u8(vld1q_u8(at + PANEL_SCALES * (sums + i)));
        }
    }
    return r;
}

#if I8MM

/* Columns are multiplied in pairs: per block [8-element group 0..3][column 0, 1][8]. An odd last
 * one goes with itself. */
enum { PAIR_BLOCK = 64 };
_Static_assert(SM_GEMM_GROUPS * 2 * (SM_SLAB / 32) * (PANEL_CODES + 4 * PANEL_SCALES) +
                       GEMM_COLS / 2 * (SM_SLAB / 32) * PAIR_BLOCK <=
                   SM_GEMM_SCRATCH,
               "panels and paired columns fit the scratch");

static void pair_columns(uint8_t *pairs, const sm_act_block *x, size_t ldx, size_t blocks,
                         size_t n) {
    for (size_t c = 0; c < n; c += 2) {
        const sm_act_block *x0 = x + c * ldx, *x1 = c + 1 < n ? x0 + ldx : x0;
        for (size_t b = 0; b < blocks; b++, pairs += PAIR_BLOCK) {
            for (size_t i = 0; i < 2; i++) {
                int64x2_t q0 = vreinterpretq_s64_s8(vld1q_s8(x0[b].q + 16 * i));
                int64x2_t q1 = vreinterpretq_s64_s8(vld1q_s8(x1[b].q + 16 * i));
                vst1q_u8(pairs + 32 * i, vreinterpretq_u8_s64(vzip1q_s64(q0, q1)));
                vst1q_u8(pairs + 32 * i + 16, vreinterpretq_u8_s64(vzip2q_s64(q0, q1)));
            }
        }
    }
}

/* Sum i of one block of a panel by n columns; s[row quad][column][sum]. */
INLINE void tile_sum(unsigned sums, unsigned n, const uint8_t *codes, const uint8_t *pairs,
                     size_t ldpairs, unsigned i, isum s[2][GEMM_COLS][2]) {
    int32x4_t sum[4][GEMM_COLS / 2]; /* of two rows by two columns: 00 01 10 11 */
    UNROLL
    for (size_t r = 0; r < 4; r++) {
        UNROLL
        for (size_t c = 0; c < (n + 1) / 2; c++) {
            sum[r][c] = vdupq_n_s32(0);
        }
    }
    UNROLL
    for (size_t g = 4 / sums * i; g < 4 / sums * (i + 1); g++) {
        UNROLL
        for (size_t r = 0; r < 4; r++) {
            int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(codes + 64 * g + 16 * r));
            UNROLL
            for (size_t c = 0; c < (n + 1) / 2; c++) {
                int8x16_t q = vreinterpretq_s8_u8(vld1q_u8(pairs + c * ldpairs + 16 * g));
                sum[r][c] = vmmlaq_s32(sum[r][c], w, q);
            }
        }
    }
    UNROLL
    for (size_t quad = 0; quad < 2; quad++) {
        UNROLL
        for (size_t c = 0; c < n; c++) {
            int32x4_t low = sum[2 * quad][c / 2], high = sum[2 * quad + 1][c / 2];
            s[quad][c][i].s = c % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
        }
    }
}

#else

/* Half h of block b of a panel by n columns; s[row quad][column][sum]. */
INLINE void tile_half(unsigned sums, unsigned run, unsigned n, const uint8_t *codes, unsigned h,
                      const sm_act_block *x, size_t ldx, isum s[2][GEMM_COLS][2]) {
    int8x16_t w0[4], w1[4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        w0[i] = vreinterpretq_s8_u8(vld1q_u8(codes + 128 * h + 32 * i));
        w1[i] = vreinterpretq_s8_u8(vld1q_u8(codes + 128 * h + 32 * i + 16));
    }
    size_t sum = sums == 2 ? h : 0;
    unsigned first = sums == 2 ? 0 : 4 * h;
    UNROLL
    for (size_t c = 0; c < n; c++) {
        if (first == 0) {
            s[0][c][sum] = s[1][c][sum] = sum_start(vdupq_n_s32(0));
        }
        int8x16_t q = vld1q_s8(x[c * ldx].q + 16 * h);
        sum_half(&s[0][c][sum], w0, q, first, run);
        sum_half(&s[1][c][sum], w1, q, first, run);
    }
}

#endif

/* A panel by n columns; pairs: for the matrix-multiply instruction, those columns paired. */
INLINE void tile(unsigned sums, bool min, unsigned run, unsigned n, float *y, size_t ldy,
                 const uint8_t *panel, size_t k, const sm_act_block *x, size_t ldx,
                 const uint8_t *pairs, bool accumulate) {
#if I8MM
    (void)run;
#else
    (void)pairs;
#endif
    float32x4_t y0[GEMM_COLS], y1[GEMM_COLS];
    UNROLL
    for (size_t c = 0; c < n; c++) {
        y0[c] = accumulate ? vld1q_f32(y + c * ldy) : vdupq_n_f32(0);
        y1[c] = accumulate ? vld1q_f32(y + c * ldy + 4) : vdupq_n_f32(0);
    }
    for (size_t b = 0; b < k / 32; b++) {
        isum s[2][GEMM_COLS][2];
#if I8MM
        UNROLL
        for (unsigned i = 0; i < sums; i++) {
            tile_sum(sums, n, panel, pairs + PAIR_BLOCK * b, PAIR_BLOCK * (k / 32), i, s);
        }
#else
        tile_half(sums, run, n, panel, 0, x + b, ldx, s);
        tile_half(sums, run, n, panel, 1, x + b, ldx, s);
#endif
        scales w0 = panel_scales(panel + PANEL_CODES, sums, min);
        scales w1 = panel_scales(panel + PANEL_CODES + 16, sums, min);
        UNROLL
        for (size_t c = 0; c < n; c++) {
            y0[c] = add_block(y0[c], s[0][c], &w0, &x[c * ldx + b], sums, min);
            y1[c] = add_block(y1[c], s[1][c], &w1, &x[c * ldx + b], sums, min);
        }
        panel += panel_block(sums, min);
    }
    UNROLL
    for (size_t c = 0; c < n; c++) {
        vst1q_f32(y + c * ldy, y0[c]);
        vst1q_f32(y + c * ldy + 4, y1[c]);
    }
}

INLINE void panels_product(unsigned sums, bool min, unsigned run, float *y, size_t ldy,
                           uint8_t *panels, size_t n_groups, size_t k, const sm_act_block *x,
                           size_t ldx, size_t ncols, bool accumulate) {
    size_t panel_bytes = k / 32 * panel_block(sums, min);
    uint8_t *pairs = panels + 2 * n_groups * panel_bytes;
    size_t c = 0;
    for (; ncols - c >= GEMM_COLS; c += GEMM_COLS) {
#if I8MM
        pair_columns(pairs, x + c * ldx, ldx, k / 32, GEMM_COLS);
#endif
        for (size_t h = 0; h < 2 * n_groups; h++) {
            tile(sums, min, run, GEMM_COLS, y + c * ldy + PANEL_ROWS * h, ldy,
                 panels + h * panel_bytes, k, x + c * ldx, ldx, pairs, accumulate);
        }
    }
    for (; c < ncols; c++) {
#if I8MM
        pair_columns(pairs, x + c * ldx, ldx, k / 32, 1);
#endif
        for (size_t h = 0; h < 2 * n_groups; h++) {
            tile(sums, min, run, 1, y + c * ldy + PANEL_ROWS * h, ldy, panels + h * panel_bytes, k,
                 x + c * ldx, ldx, pairs, accumulate);
        }
    }
}

typedef void panels_fn(float *y, size_t ldy, uint8_t *panels, size_t n_groups, size_t k,
                       const sm_act_block *x, size_t ldx, size_t ncols, bool accumulate);

/* Types share these by the shape of their panels. Codes are signed here: with the offset off
 * none but the 8-bit ones exceeds 32 in size, and 8 * 32 * 127 fits 16 bits. */
#define PANELS(name, sums, min, run)                                                            \
    static void name(float *y, size_t ldy, uint8_t *panels, size_t n_groups, size_t k,          \
                     const sm_act_block *x, size_t ldx, size_t ncols, bool accumulate) {        \
        panels_product(sums, min, run, y, ldy, panels, n_groups, k, x, ldx, ncols, accumulate); \
    }
PANELS(panels_wide, 1, false, 2)
PANELS(panels_narrow, 1, false, 8)
PANELS(panels_min, 1, true, 8)
PANELS(panels_halves, 2, false, 4)
PANELS(panels_halves_min, 2, true, 4)

INLINE panels_fn *panels_of(format f) {
    if (sums_of(f) == 2) {
        return has_min(f) ? panels_halves_min : panels_halves;
    }
    return has_min(f) ? panels_min : is_wide(f) ? panels_wide : panels_narrow;
}

INLINE void gemm(format f, float *y, size_t ldy, const void *packed, size_t group_bytes,
                 size_t n_groups, size_t k, const sm_act_block *x, size_t ldx, size_t ncols,
                 bool accumulate, uint8_t *panels) {
    size_t group = 2 * (k / 32) * panel_block(sums_of(f), has_min(f));
    for (size_t g = 0; g < n_groups; g++) {
        unpack_group(f, panels + g * group, (const uint8_t *)packed + g * group_bytes, k);
    }
    panels_of(f)(y, ldy, panels, n_groups, k, x, ldx, ncols, accumulate);
}

/* ---- the kernels ----------------------------------------------------------------------------- */

/* Types that share a layout but for their table of codes (pack.h) are computed by one of them. */
INLINE format with_codes(format f, const sm_code_table *codes) {
    f.codes = codes;
    return f;
}

#define LAYOUT_MUL(FORMAT, type)                                                                 \
    static void type##_mul(const sm_code_table *codes, float *y, size_t ldy, const void *packed, \
                           size_t group_bytes, size_t n_groups, size_t k, const sm_act_block *x, \
                           size_t ldx, size_t ncols, bool accumulate) {                          \
        mul(with_codes(FORMAT, codes), y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols,  \
            accumulate);                                                                         \
    }
#define LAYOUT_GEMM(FORMAT, type)                                                                 \
    static void type##_gemm(const sm_code_table *codes, float *y, size_t ldy, const void *packed, \
                            size_t group_bytes, size_t n_groups, size_t k, const sm_act_block *x, \
                            size_t ldx, size_t ncols, bool accumulate, uint8_t *scratch) {        \
        gemm(with_codes(FORMAT, codes), y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols,  \
             accumulate, scratch);                                                                \
    }
#define MUL(layout, type, codes)                                                                  \
    void LEVEL(sm_mul_##type)(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                              size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                              bool accumulate, sm_prefetch prefetch) {                            \
        (void)prefetch;                                                                           \
        layout##_mul(codes, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate); \
    }
#define GEMM(layout, type, codes)                                                                  \
    void LEVEL(sm_gemm_##type)(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                               size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                               bool accumulate, const void *next, void *scratch) {                 \
        (void)next;                                                                                \
        layout##_gemm(codes, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate,  \
                      scratch);                                                                    \
    }
#if I8MM
#define LAYOUT(FORMAT, type) LAYOUT_GEMM(FORMAT, type)
#define FUNCTIONS(layout, type, codes) GEMM(layout, type, codes)
#else
#define LAYOUT(FORMAT, type) LAYOUT_MUL(FORMAT, type) LAYOUT_GEMM(FORMAT, type)
#define FUNCTIONS(layout, type, codes) MUL(layout, type, codes) GEMM(layout, type, codes)
#endif
#define PRODUCTS(FORMAT, type) \
    LAYOUT(FORMAT, type)       \
    FUNCTIONS(type, type, NULL)

PRODUCTS(Q8_0, q8_0)
PRODUCTS(Q4_0, q4_0)
PRODUCTS(Q4_1, q4_1)
PRODUCTS(Q5_0, q5_0)
PRODUCTS(Q5_1, q5_1)
PRODUCTS(Q2_K, q2_k)
PRODUCTS(Q3_K, q3_k)
PRODUCTS(Q4_K, q4_k)
PRODUCTS(Q5_K, q5_k)
PRODUCTS(Q6_K, q6_k)
PRODUCTS(Q1_0, q1_0)
PRODUCTS(Q2_0, q2_0)
PRODUCTS(TQ2_0, tq2_0)

LAYOUT(IQ4_NL, iq4_nl)
FUNCTIONS(iq4_nl, iq4_nl, &SM_CODES_IQ4)
LAYOUT(MXFP4, mxfp4)
FUNCTIONS(mxfp4, mxfp4, &SM_CODES_FP4)
LAYOUT(NVFP4, nvfp4)
FUNCTIONS(nvfp4, nvfp4, &SM_CODES_FP4)
LAYOUT(IQ4_XS, iq4_xs)
FUNCTIONS(iq4_xs, iq4_xs, &SM_CODES_IQ4)
FUNCTIONS(iq4_xs, iq3_xxs, &SM_CODES_IQ3_XXS)
FUNCTIONS(iq4_xs, iq3_s, &SM_CODES_IQ3_S)
LAYOUT(IQ2_XXS, iq2_xxs)
FUNCTIONS(iq2_xxs, iq2_xxs, &SM_CODES_IQ2)
FUNCTIONS(iq2_xxs, iq1_s, &SM_CODES_IQ1)
LAYOUT(IQ2_XS, iq2_xs)
FUNCTIONS(iq2_xs, iq2_xs, &SM_CODES_IQ2)
FUNCTIONS(iq2_xs, iq2_s, &SM_CODES_IQ2)
FUNCTIONS(iq2_xs, iq1_m, &SM_CODES_IQ1)
