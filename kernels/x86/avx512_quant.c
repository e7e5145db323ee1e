/* avx512_quant.c - products of the quantized types on AVX-512 with VNNI, for the levels avx512 and
 * avx512bf16. Both run the same tiles, but choose among them, and ask for weights ahead, as suits
 * other CPUs: avx512 those with two vector pipes (Intel's server cores), where what unpacks codes
 * takes the place of products, avx512bf16 those with four (AMD's, whose may be half as wide:
 * sm_pipes_are_half). Results are the same bits.
 *
 * vpdpbusd multiplies unsigned by signed bytes, so weights become unsigned codes (the offset
 * comes back through nsum) and the activation bytes are its signed operand, broadcast four
 * at a time. mul unpacks codes as it goes; gemm first unpacks them to a panel, which is one
 * more packed format (bytes and f32 scales), and runs the same loop over that.
 */
#include <string.h>

#include "avx512.h"
#include "pack.h"
#include "smallmind/types.h"

/* ---- types: constants that fold away ------------------------------------------------ */

/* Panels: codes as bytes behind f32 scales (and minima), per 32 or per 16 elements. Weights
 * without a minimum are stored plus 128. */
enum {
    PANEL_32 = SM_DTYPE_COUNT,
    PANEL_32_MIN,
    PANEL_16,
    PANEL_16_MIN,
    PANEL_32_MIN_ANEW, /* PANEL_32_MIN whose tiles load activations for each product */
};

INLINE bool is_panel(const uint32_t type) {
    return type >= PANEL_32;
}

/* Types that share a layout but for their table of codes (pack.h) are computed by one of them. */
INLINE bool has_trios(const uint32_t type) {
    return type == SM_DTYPE_IQ2_XXS || type == SM_DTYPE_IQ2_XS;
}

/* 4-bit floats, whose records have scales of 8 bits and there is no head. */
INLINE bool is_fp4(const uint32_t type) {
    return type == SM_DTYPE_MXFP4 || type == SM_DTYPE_NVFP4;
}

/* Codes are places in a table that comes with the product. */
INLINE bool has_table(const uint32_t type) {
    return type == SM_DTYPE_IQ4_NL || type == SM_DTYPE_IQ4_XS || is_fp4(type) || has_trios(type);
}

/* Codes of one or two bits, with one factor in the head. TQ1_0 is packed as TQ2_0. */
INLINE bool is_tiny(const uint32_t type) {
    return type == SM_DTYPE_Q1_0 || type == SM_DTYPE_Q2_0 || type == SM_DTYPE_TQ2_0;
}

/* Of several records behind a head; of the others each record has its own. */
INLINE bool is_super(const uint32_t type) {
    return (type >= SM_DTYPE_Q2_K && type <= SM_DTYPE_Q6_K) || type == SM_DTYPE_IQ4_XS ||
           has_trios(type) || is_tiny(type);
}

INLINE bool has_min(const uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q4_1:
    case SM_DTYPE_Q5_1:
    case SM_DTYPE_Q2_K:
    case SM_DTYPE_Q4_K:
    case SM_DTYPE_Q5_K:
    case PANEL_32_MIN:
    case PANEL_16_MIN:
    case PANEL_32_MIN_ANEW:
        return true;
    default:
        return false;
    }
}

/* Runs of elements with a scale of their own in a block of 32. */
INLINE int parts(const uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q2_K:
    case SM_DTYPE_Q3_K:
    case SM_DTYPE_Q6_K:
    case SM_DTYPE_IQ2_XS:
    case SM_DTYPE_NVFP4:
    case PANEL_16:
    case PANEL_16_MIN:
        return 2;
    default:
        return 1;
    }
}

INLINE size_t head_bytes(const uint32_t type) {
    if (is_panel(type) || is_fp4(type)) {
        return 0;
    }
    return has_min(type) ? 2 * SM_HALF_PART : SM_HALF_PART;
}

INLINE size_t records(const uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q1_0:
        return 4;
    case SM_DTYPE_Q2_0:
        return 2;
    default:
        return is_super(type) ? 8 : 1;
    }
}

/* Bytes of scales at the start of a record. */
INLINE size_t scale_bytes(const uint32_t type) {
    if (is_panel(type)) {
        return (size_t)(parts(type) * (has_min(type) ? 2 : 1)) * sizeof(__m512);
    }
    if (is_fp4(type)) {
        return (size_t)parts(type) * SM_CODE_PART;
    }
    if (!is_super(type) || is_tiny(type)) {
        return 0;
    }
    return has_table(type) ? (size_t)parts(type) * SM_CODE_PART : 2 * SM_CODE_PART;
}

INLINE size_t code_bytes(const uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q8_0:
    case PANEL_32:
    case PANEL_32_MIN:
    case PANEL_16:
    case PANEL_16_MIN:
    case PANEL_32_MIN_ANEW:
        return SM_BYTES_PART;
    case SM_DTYPE_Q5_0:
    case SM_DTYPE_Q5_1:
    case SM_DTYPE_Q5_K:
        return SM_NIB_PART + SM_HIGH_PART;
    case SM_DTYPE_Q6_K:
        return SM_NIB_PART + SM_CRUMB_PART;
    case SM_DTYPE_Q1_0:
        return SM_HIGH_PART;
    case SM_DTYPE_Q2_K:
    case SM_DTYPE_Q2_0:
    case SM_DTYPE_TQ2_0:
        return SM_CRUMB_PART;
    case SM_DTYPE_Q3_K:
        return SM_CRUMB_PART + SM_HIGH_PART;
    case SM_DTYPE_IQ2_XXS:
    case SM_DTYPE_IQ2_XS:
        return SM_TRIO_PART;
    default:
        return SM_NIB_PART;
    }
}

INLINE size_t record_bytes(const uint32_t type) {
    return scale_bytes(type) + code_bytes(type);
}

/* Of types without a minimum: log2 of what makes codes of weights. */
INLINE int offset_log2(const uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q1_0: /* whose bits count 2 */
    case SM_DTYPE_Q2_0:
    case SM_DTYPE_TQ2_0:
        return 0;
    case SM_DTYPE_Q3_K:
        return 2;
    case SM_DTYPE_Q4_0:
        return 3;
    case SM_DTYPE_Q5_0:
        return 4;
    case SM_DTYPE_Q6_K:
        return 5;
    default: /* Q8_0, those with tables, panels: signed bytes */
        return 7;
    }
}

/* ---- codes: sub-group g of a record as unsigned bytes ----------------------------------- */

/* Bits of a where mask has ones, of b elsewhere. */
INLINE __m512i select_bits(__m512i mask, __m512i a, __m512i b) {
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

INLINE __m512i load64(const uint8_t *p) {
    return _mm512_loadu_si512(p);
}

/* Codes may come out shifted left by this: it is cheaper to mask bits where they lie, sum up, and
 * shift the sum. */
INLINE int code_shift(const uint32_t type, const int g) {
    switch (type) {
    case SM_DTYPE_Q4_0:
    case SM_DTYPE_Q4_1:
    case SM_DTYPE_Q4_K:
        return g < 4 ? 0 : 4;
    case SM_DTYPE_Q5_0:
    case SM_DTYPE_Q5_1:
    case SM_DTYPE_Q5_K:
        return g < 4 ? 0 : 3;
    case SM_DTYPE_Q6_K:
        return g < 4 ? 0 : 2;
    case SM_DTYPE_Q2_K:
        return g / 2 * 2;
    case SM_DTYPE_Q3_K:
        return g < 6 ? g / 2 * 2 : 4;
    default:
        return 0;
    }
}

INLINE __m512i nibble_code(const bool plain, const uint8_t *p, const int g) {
    __m512i x = load64(p + 64 * (g % 4));
    if (g >= 4 && !plain) {
        return _mm512_andnot_si512(bytes64(0x0f), x);
    }
    return _mm512_and_si512(g < 4 ? x : _mm512_srli_epi16(x, 4), bytes64(0x0f));
}

/* For look-ups in registers, plus 128; zero where the type has none. */
INLINE __m512i load_table(const uint32_t type, const sm_code_table *codes) {
    if (!has_table(type)) {
        return _mm512_setzero_si512();
    }
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)codes->value));
    return _mm512_xor_si512(table, bytes64(0x80));
}

/* Two codes of three bits in a byte. Those of sub-groups 3 and 7 are gathered from the fourth bits
 * of the others. */
INLINE __m512i trio_code(const uint8_t *p, const int g) {
    __m512i x = load64(p + 64 * (g % 4 % 3));
    if (g % 4 == 3) {
        const __m512i x1 = load64(p + 64), x2 = load64(p + 128);
        x = select_bits(bytes64(0x44), _mm512_srli_epi16(x, 1), _mm512_srli_epi16(x1, 2));
        x = select_bits(bytes64(0x11), _mm512_srli_epi16(x2, 3), x);
    }
    return _mm512_and_si512(g < 4 ? x : _mm512_srli_epi16(x, 4), bytes64(7));
}

/* 000hnnnn; not plain, from g = 4 on, hnnnn000. */
INLINE __m512i five_code(const bool plain, const uint8_t *p, const int g) {
    __m512i x = load64(p + 64 * (g % 4)), high = load64(p + SM_NIB_PART);
    if (g >= 4 && !plain) {
        x = select_bits(bytes64(0x78), _mm512_srli_epi16(x, 1), shift_left16(high, 7 - g));
        return _mm512_and_si512(x, bytes64(0xf8));
    }
    if (g >= 4) {
        x = _mm512_srli_epi16(x, 4);
        high = shift_right16(high, g - 4);
    } else {
        high = shift_left16(high, 4 - g);
    }
    return _mm512_and_si512(select_bits(bytes64(0x0f), x, high), bytes64(0x1f));
}

/* 00ccnnnn; not plain, from g = 4 on, ccnnnn00. */
INLINE __m512i six_code(const bool plain, const uint8_t *p, const int g) {
    __m512i x = load64(p + 64 * (g % 4)), crumbs = load64(p + SM_NIB_PART + 64 * (g % 2));
    if (g >= 4 && !plain) {
        crumbs = shift_left16(crumbs, g < 6 ? 2 : 0);
        x = select_bits(bytes64(0x3c), _mm512_srli_epi16(x, 2), crumbs);
        return _mm512_and_si512(x, bytes64(0xfc));
    }
    if (g >= 4) {
        x = _mm512_srli_epi16(x, 4);
        crumbs = shift_right16(crumbs, g < 6 ? 0 : 2);
    } else {
        crumbs = shift_left16(crumbs, g < 2 ? 4 : 2);
    }
    return _mm512_and_si512(select_bits(bytes64(0x0f), x, crumbs), bytes64(0x3f));
}

INLINE __m512i crumb_code(const bool plain, const uint8_t *p, const int g) {
    __m512i x = load64(p + 64 * (g % 2));
    if (plain) {
        return _mm512_and_si512(shift_right16(x, g / 2 * 2), bytes64(3));
    }
    return _mm512_and_si512(x, bytes64(3 << (g / 2 * 2)));
}

/* Bit g as 2 or 0. */
INLINE __m512i bit_code(const uint8_t *p, const int g) {
    __m512i x = load64(p);
    x = g == 0 ? _mm512_add_epi8(x, x) : shift_right16(x, g - 1);
    return _mm512_and_si512(x, bytes64(2));
}

/* hcc; not plain, shifted left by g / 2 * 2, the last two by 4. */
INLINE __m512i three_code(const bool plain, const uint8_t *p, const int g) {
    const int at = plain ? 0 : code_shift(SM_DTYPE_Q3_K, g);
    const int up = at + 2 - g; /* of the high bit */
    __m512i x = load64(p + 64 * (g % 2)), high = load64(p + SM_CRUMB_PART);
    x = shift_right16(x, g / 2 * 2 - at);
    high = up < 0 ? shift_right16(high, -up) : shift_left16(high, up);
    return _mm512_and_si512(select_bits(bytes64(3 << at), x, high), bytes64(7 << at));
}

/* p: the record's codes. Plain codes are not shifted. */
INLINE __m512i load_code(const uint32_t type, const bool plain, __m512i table, const uint8_t *p,
                         const int g) {
    switch (type) {
    case PANEL_32:
    case PANEL_32_MIN:
    case PANEL_16:
    case PANEL_16_MIN:
    case PANEL_32_MIN_ANEW:
        return _mm512_load_si512(p + 64 * g);
    case SM_DTYPE_Q8_0:
        return _mm512_xor_si512(load64(p + 64 * g), bytes64(0x80));
    case SM_DTYPE_IQ4_NL:
    case SM_DTYPE_IQ4_XS:
    case SM_DTYPE_MXFP4:
    case SM_DTYPE_NVFP4:
        return _mm512_shuffle_epi8(table, nibble_code(true, p, g));
    case SM_DTYPE_Q1_0:
        return bit_code(p, g);
    case SM_DTYPE_Q2_0:
    case SM_DTYPE_TQ2_0: /* one sum has codes of all four places */
        return crumb_code(true, p, g);
    case SM_DTYPE_IQ2_XXS:
    case SM_DTYPE_IQ2_XS:
        return _mm512_shuffle_epi8(table, trio_code(p, g));
    case SM_DTYPE_Q5_0:
    case SM_DTYPE_Q5_1:
    case SM_DTYPE_Q5_K:
        return five_code(plain, p, g);
    case SM_DTYPE_Q6_K:
        return six_code(plain, p, g);
    case SM_DTYPE_Q2_K:
        return crumb_code(plain, p, g);
    case SM_DTYPE_Q3_K:
        return three_code(plain, p, g);
    default:
        return nibble_code(plain, p, g);
    }
}

/* ---- scales --------------------------------------------------------------------------------- */

/* D and M or DM of a record or super-block, which lie at p. */
typedef struct head {
    const uint8_t *p;
    __m512 d, m;
} head;

INLINE head load_head(const uint32_t type, const sm_code_table *codes, const uint8_t *p) {
    head h = {p, _mm512_setzero_ps(), _mm512_setzero_ps()};
    if (head_bytes(type) > 0) {
        h.d = load_f16(p);
        h.m = has_min(type) ? load_f16(p + SM_HALF_PART) : h.m;
    }
    if (is_super(type) && has_table(type)) {
        h.d = _mm512_mul_ps(h.d, _mm512_set1_ps(codes->factor));
    }
    if (is_super(type)) {
        h.m = _mm512_xor_ps(h.m, _mm512_set1_ps(-0.0f));
    }
    return h;
}

INLINE __m512 times(__m512 d, __m512i code) {
    return _mm512_mul_ps(d, _mm512_cvtepi32_ps(code));
}

INLINE __m128i load_codes16(const uint8_t *p, const int part) {
    return _mm_loadu_si128((const __m128i *)(p + SM_CODE_PART * part));
}

/* 2^(code - 128), 0 for 0. */
INLINE __m512 exponents(__m128i code) {
    __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(code), 23);
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5f));
}

/* f16 with the bits code << 7, times 128. */
INLINE __m512 small_floats(__m128i code) {
    __m256i bits = _mm256_slli_epi16(_mm256_cvtepu8_epi16(code), 7);
    return _mm512_mul_ps(_mm512_cvtph_ps(bits), _mm512_set1_ps(128));
}

/* Scale of one part of the record at p. */
INLINE __m512 load_scale(const uint32_t type, const head *h, const uint8_t *p, const int part) {
    if (is_panel(type)) {
        return _mm512_load_ps(p + 64 * part);
    }
    if (type == SM_DTYPE_MXFP4) {
        return exponents(load_codes16(p, part));
    }
    if (type == SM_DTYPE_NVFP4) {
        return small_floats(load_codes16(p, part));
    }
    if (!is_super(type) || is_tiny(type)) {
        return h->d;
    }
    if (!has_min(type)) {
        return times(h->d, _mm512_cvtepi8_epi32(load_codes16(p, part)));
    }
    __m512i code = _mm512_cvtepu8_epi32(load_codes16(p, part));
    if (type == SM_DTYPE_Q2_K) {
        code = _mm512_and_si512(code, _mm512_set1_epi32(15));
    }
    return times(h->d, code);
}

INLINE __m512 load_min(const uint32_t type, const head *h, const uint8_t *p, const int part) {
    if (is_panel(type)) {
        return _mm512_load_ps(p + 64 * (parts(type) + part));
    }
    if (!is_super(type)) {
        return h->m;
    }
    if (type == SM_DTYPE_Q2_K) {
        __m512i both = _mm512_cvtepu8_epi32(load_codes16(p, part));
        return times(h->m, _mm512_srli_epi32(both, 4));
    }
    return times(h->m, _mm512_cvtepu8_epi32(load_codes16(p, 1)));
}

/* ---- the loop over K: two groups times nc columns ---------------------------------------- */

#define STREAMS 2   /* groups that a tile has, most */
#define TILE_COLS 6 /* most columns of a tile: 12 int and 12 float accumulators of 32 registers */

/* One group on its way through K. */
typedef struct stream {
    const uint8_t *p;
    __m512i table;
    head h;
    __m512 y[TILE_COLS];
    __m512 first[TILE_COLS]; /* of two parts of a record: the sum of the first */
} stream;

typedef struct product {
    float *y;
    size_t ldy;
    const uint8_t *packed;
    size_t group_bytes;
    size_t n_groups;
    size_t k;
    const sm_act_block *x;
    size_t ldx;
    bool accumulate;
    bool two_pipes; /* the CPU's */
    bool fresh;     /* these weights have not been read yet: ask for them ahead of their use */
    bool two_steps; /* through the second-level cache first */
    const sm_code_table *codes; /* of types with a table */
    /* for panels: what the next call will unpack, prefetched by and by */
    const uint8_t *ahead; /* of the first group; of the second group_ahead further on */
    size_t group_ahead;
    const uint8_t *ahead_end;
    size_t ahead_step; /* bytes of it for each record of a tile */
} product;

INLINE void stream_begin(const uint32_t type, const int nc, stream *t, const product *a,
                         size_t group) {
    t->p = a->packed + group * a->group_bytes;
    t->table = load_table(type, a->codes);
    UNROLL
    for (int c = 0; c < nc; c++) {
        const float *from = a->y + (size_t)c * a->ldy + group * SM_GROUP;
        t->y[c] = a->accumulate ? _mm512_loadu_ps(from) : _mm512_setzero_ps();
    }
}

INLINE void stream_end(const int nc, const stream *t, const product *a, size_t group) {
    UNROLL
    for (int c = 0; c < nc; c++) {
        _mm512_storeu_ps(a->y + (size_t)c * a->ldy + group * SM_GROUP, t->y[c]);
    }
}

INLINE void stream_head(const uint32_t type, stream *t, const product *a) {
    t->h = load_head(type, a->codes, t->p);
    t->p += head_bytes(type);
}

/* The head at the end of a record, where a tile of many columns has had no register for it. */
INLINE head late_head(const uint32_t type, const int nc, const stream *t) {
    if (is_panel(type) || nc <= 4) {
        return t->h;
    }
    const uint8_t *p = t->h.p;
    __asm__("" : "+r"(p) : "r"(t->p)); /* or the compiler keeps it after all */
    return load_head(type, NULL, p);   /* no type with a table and heads comes here */
}

/* Asks for a record's worth of bytes ahead of a stream that has not been read yet. In two steps,
 * first into the second-level cache, from memory on two pipes, and of several columns on half
 * pipes; from a cache one step costs less. Distances are those that were fastest
 * (docs/measurements). */
INLINE void stream_prefetch(const uint32_t type, const bool two_steps, const size_t near,
                            const stream *t) {
    const size_t bytes = record_bytes(type) + head_bytes(type) / records(type);
    const char *p = (const char *)t->p, *soon = p + near;
    __asm__("" : "+r"(soon)); /* or each line of it gets a register */
    UNROLL
    for (size_t i = 0; i < bytes; i += 64) {
        if (two_steps) {
            _mm_prefetch(p + i + 4096, _MM_HINT_T1);
        }
        _mm_prefetch(soon + i, _MM_HINT_T0);
    }
}

/* With few columns the sums of a part are two chains of shifted codes, with more one of plain. */
INLINE bool plain_codes(const uint32_t type, const int nc) {
    return is_panel(type) || nc > (is_super(type) ? 1 : 2);
}

/* Integer sums of one part of a record, per column: one chain, or two. They begin at
 * -offset * sum(q). */
INLINE void start_sums(const uint32_t type, const int nc, __m512i sum[TILE_COLS][2], const int part,
                       const sm_act_block *x, size_t ldx) {
    const int shift = plain_codes(type, nc) ? 0 : code_shift(type, 4 * part);
    UNROLL
    for (int c = 0; c < nc; c++) {
        const sm_act_block *xc = x + (size_t)c * ldx;
        __m512i start = _mm512_setzero_si512();
        if (!has_min(type) && parts(type) == 1 && offset_log2(type) + shift == 7) {
            start = _mm512_set1_epi32(xc->nsum128);
        } else if (!has_min(type)) {
            start = _mm512_set1_epi32(parts(type) == 2 ? xc->nsum16[part] : xc->nsum);
            start = shift_left32(start, offset_log2(type) + shift);
        }
        sum[c][0] = start;
        sum[c][1] = _mm512_setzero_si512();
    }
}

/* a * *p and a * *p + y. From the intrinsics the compiler loads *p once for all its uses and keeps
 * it in a register from the first to the last. Tiles of many columns have none to spare for that
 * (sums would go through the stack): there *p is a memory operand each time. */
INLINE __m512 mul_float(const int nc, __m512 a, const float *p) {
    if (nc <= 4) {
        return _mm512_mul_ps(a, _mm512_set1_ps(*p));
    }
    __m512 r;
    __asm__("vmulps %2%{1to16%}, %1, %0" : "=v"(r) : "v"(a), "m"(*p));
    return r;
}
INLINE __m512 fma_float(const int nc, __m512 a, const float *p, __m512 y) {
    if (nc <= 4) {
        return _mm512_fmadd_ps(a, _mm512_set1_ps(*p), y);
    }
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(y) : "v"(a), "m"(*p));
    return y;
}

/* Float steps of one part. */
INLINE void add_sums(const uint32_t type, const int nc, stream *t, __m512i sum[TILE_COLS][2],
                     const int part, const sm_act_block *x, size_t ldx) {
    const head h = is_super(type) ? t->h : late_head(type, nc, t);
    const __m512 w = load_scale(type, &h, t->p, part);
    const int n = 8 / parts(type), first = part * n;
    const int shift = code_shift(type, first), more = code_shift(type, first + n / 2) - shift;
    UNROLL
    for (int c = 0; c < nc; c++) {
        __m512i total = sum[c][0];
        if (!plain_codes(type, nc)) {
            total = _mm512_add_epi32(total, shift_right32(sum[c][1], more));
            total = shift_right32(total, shift);
        }
        const __m512 value = _mm512_cvtepi32_ps(total);
        const float *d = &x[(size_t)c * ldx].d;
        if (parts(type) == 1) {
            t->y[c] = _mm512_fmadd_ps(value, mul_float(nc, w, d), t->y[c]);
        } else if (part == 0) {
            t->first[c] = _mm512_mul_ps(value, w);
        } else {
            t->y[c] = fma_float(nc, _mm512_fmadd_ps(value, w, t->first[c]), d, t->y[c]);
        }
    }
}

INLINE void add_mins(const uint32_t type, const int nc, stream *t, const int part,
                     const sm_act_block *x, size_t ldx) {
    const head h = late_head(type, nc, t);
    const __m512 m = load_min(type, &h, t->p, part);
    UNROLL
    for (int c = 0; c < nc; c++) {
        const sm_act_block *xc = x + (size_t)c * ldx;
        t->y[c] = fma_float(nc, m, parts(type) == 2 ? &xc->ds16[part] : &xc->ds, t->y[c]);
    }
}

INLINE __m512i broadcast4(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}

/* sum + w * q, four bytes of a column. `anew`: they are loaded for this product alone, which takes
 * no register. */
INLINE __m512i add_products(const bool anew, __m512i sum, __m512i w, const int8_t *q) {
    if (!anew) {
        return _mm512_dpbusd_epi32(sum, w, broadcast4(q));
    }
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*(const int8_t(*)[4])q));
    return sum;
}

/* One part of ns streams but for its minima. Sub-groups of both halves of the part take turns: they
 * often share bytes. */
INLINE void add_part(const uint32_t type, const int ns, const int nc, stream *t, const int part,
                     const sm_act_block *x, size_t ldx) {
    const bool plain = plain_codes(type, nc);
    const bool anew = type == PANEL_32_MIN_ANEW;
    const int n = 8 / parts(type);
    __m512i sum[STREAMS][TILE_COLS][2];
    UNROLL
    for (int s = 0; s < ns; s++) {
        start_sums(type, nc, sum[s], part, x, ldx);
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        const int g = part * n + i % 2 * (n / 2) + i / 2, chain = plain ? 0 : i % 2;
        __m512i w[STREAMS];
        UNROLL
        for (int s = 0; s < ns; s++) {
            w[s] = load_code(type, plain, t[s].table, t[s].p + scale_bytes(type), g);
        }
        UNROLL
        for (int c = 0; c < nc; c++) {
            const int8_t *q = x[(size_t)c * ldx].q + 4 * g;
            UNROLL
            for (int s = 0; s < ns; s++) {
                sum[s][c][chain] = add_products(anew, sum[s][c][chain], w[s], q);
            }
        }
    }
    UNROLL
    for (int s = 0; s < ns; s++) {
        add_sums(type, nc, &t[s], sum[s], part, x, ldx);
    }
}

/* 32 elements. The parts are no loop: clang would leave what they share in memory. */
INLINE void record(const uint32_t type, const int ns, const int nc, stream *t,
                   const sm_act_block *x, size_t ldx) {
    add_part(type, ns, nc, t, 0, x, ldx);
    if (parts(type) == 2) {
        add_part(type, ns, nc, t, 1, x, ldx);
    }
    if (has_min(type)) {
        UNROLL
        for (int s = 0; s < ns; s++) {
            add_mins(type, nc, &t[s], 0, x, ldx);
        }
        if (parts(type) == 2) {
            UNROLL
            for (int s = 0; s < ns; s++) {
                add_mins(type, nc, &t[s], 1, x, ldx);
            }
        }
    }
    UNROLL
    for (int s = 0; s < ns; s++) {
        t[s].p += record_bytes(type);
    }
}

/* ns groups: `group`, and `apart` further on. */
INLINE void tile(const uint32_t type, const int ns, const int nc, const product *a, size_t group,
                 size_t apart) {
    const uint8_t *ahead = a->ahead;
    const size_t ahead_step = ahead < a->ahead_end ? a->ahead_step : 0;
    const size_t near = a->two_steps || a->two_pipes ? 2048 : ns == 1 ? 6144 : 3072;
    stream t[STREAMS];
    UNROLL
    for (int s = 0; s < ns; s++) {
        stream_begin(type, nc, &t[s], a, group + (size_t)s * apart);
    }
    const sm_act_block *x = a->x, *end = x + a->k / 32;
    const size_t ldx = a->ldx, next_tile = (size_t)nc * ldx * sizeof *x;
    while (x < end) {
        UNROLL
        for (int s = 0; s < ns; s++) {
            stream_head(type, &t[s], a);
        }
        for (size_t r = 0; r < records(type); r++, x++) {
            if (is_panel(type)) {
                for (const uint8_t *next = ahead + ahead_step; ahead < next; ahead += 64) {
                    _mm_prefetch((const char *)ahead, _MM_HINT_T0);
                    _mm_prefetch((const char *)ahead + a->group_ahead, _MM_HINT_T0);
                }
            }
            if (is_panel(type) || nc > 4) {
                UNROLL
                for (int c = 0; c < nc; c++) {
                    _mm_prefetch((const char *)(x + (size_t)c * ldx) + next_tile, _MM_HINT_T0);
                }
            }
            if (!is_panel(type) && a->fresh) {
                UNROLL
                for (int s = 0; s < ns; s++) {
                    stream_prefetch(type, a->two_steps, near, &t[s]);
                }
            }
            record(type, ns, nc, t, x, ldx);
        }
    }
    UNROLL
    for (int s = 0; s < ns; s++) {
        stream_end(nc, &t[s], a, group + (size_t)s * apart);
    }
}

/* ---- tiles of one shape, and columns shared out among them ----------------------------- */

/* Groups first .. end-1 of the first half, each with its partner in the second, times `count`
 * tiles of columns side by side. Two streams, each one half of the groups from end to end, so
 * that reading ahead is never in vain; the middle one of an odd number goes with itself. */
typedef void tile_fn(const product *a, size_t first, size_t end, size_t count);

#define TILE(TYPE, name, nc)                                                     \
    static void name(const product *a, size_t first, size_t end, size_t count) { \
        const size_t half = (a->n_groups + 1) / 2;                               \
        for (size_t g = first; g < end; g++) {                                   \
            const size_t apart = g + half < a->n_groups ? half : 0;              \
            product b = *a;                                                      \
            for (size_t i = 0; i < count; i++) {                                 \
                b.fresh = a->fresh && i == 0;                                    \
                tile(TYPE, 2, nc, &b, g, apart);                                 \
                b.y += nc * b.ldy;                                               \
                b.x += nc * b.ldx;                                               \
                b.ahead += b.k / 32 * b.ahead_step;                              \
            }                                                                    \
        }                                                                        \
    }
#define BODY 4 /* columns of the fastest tiles straight from packed weights */

#define TILES_2(TYPE, name) \
    TILE(TYPE, name##_1, 1) \
    TILE(TYPE, name##_2, 2)
#define TILES_4(TYPE, name) \
    TILES_2(TYPE, name)     \
    TILE(TYPE, name##_3, 3) \
    TILE(TYPE, name##_4, 4)
#define TILES_6(TYPE, name) \
    TILES_4(TYPE, name)     \
    TILE(TYPE, name##_5, 5) \
    TILE(TYPE, name##_6, 6)
#define SET_2(name) name##_1, name##_2
#define SET_4(name) SET_2(name), name##_3, name##_4
#define SET_6(name) SET_4(name), name##_5, name##_6
#define TILES(TYPE, name, most) \
    TILES_##most(TYPE, name) static tile_fn *const name##_tiles[] = {SET_##most(name)};

/* One column, group after group: where streams are asked for ahead, on four pipes memory delivers
 * a single one faster than two. From the second-level cache two are faster; that is where small
 * matrices are likely to be. */
#define SMALL (32u << 10)
#define SINGLE(a) (!(a)->two_pipes && (a)->fresh && (a)->n_groups * (a)->group_bytes > SMALL)

#define ONE(TYPE, name)                            \
    static void name##_one(const product *a) {     \
        for (size_t g = 0; g < a->n_groups; g++) { \
            tile(SM_DTYPE_##TYPE, 1, 1, a, g, 0);  \
        }                                          \
    }

/* Tiles by their number of columns - 1. Those of `body` columns are the fastest (measured, per
 * column); up to `most` are faster than two tiles. */
typedef struct tile_set {
    tile_fn *const *tiles;
    size_t body, most;
} tile_set;

static void product_of(tile_set set, const product *a, size_t ncols) {
    const size_t half = (a->n_groups + 1) / 2, body = set.body, rest = ncols % body;
    size_t wide = ncols / body, tail[2] = {rest, 0};
    if (wide > 0 && rest > 0 && body + rest <= set.most) {
        wide--;
        tail[0] = body + rest;
    } else if (wide > 0 && rest > 0 && rest < body - 1) { /* two alike, none of one column */
        wide--;
        tail[0] = (body + rest + 1) / 2;
        tail[1] = (body + rest) / 2;
    }
    if (tail[0] == 0) {
        set.tiles[body - 1](a, 0, half, wide);
        return;
    }
    if (wide == 0 && tail[1] == 0) {
        set.tiles[tail[0] - 1](a, 0, half, 1);
        return;
    }
    product first = *a, second;
    first.fresh = a->fresh && wide == 0;
    first.y += wide * body * a->ldy;
    first.x += wide * body * a->ldx;
    first.ahead += wide * (a->k / 32) * a->ahead_step;
    second = first;
    second.fresh = false;
    second.y += tail[0] * a->ldy;
    second.x += tail[0] * a->ldx;
    second.ahead += a->k / 32 * a->ahead_step;
    for (size_t g = 0; g < half; g++) { /* all columns before the next weights */
        set.tiles[body - 1](a, g, g + 1, wide);
        set.tiles[tail[0] - 1](&first, g, g + 1, 1);
        if (tail[1] > 0) {
            set.tiles[tail[1] - 1](&second, g, g + 1, 1);
        }
    }
}

/* ---- panels ---------------------------------------------------------------------------------- */

INLINE uint32_t panel_type(const uint32_t type) {
    if (parts(type) == 2) {
        return has_min(type) ? PANEL_16_MIN : PANEL_16;
    }
    return has_min(type) ? PANEL_32_MIN : PANEL_32;
}

#define PANEL_MOST ((SM_SLAB / 32) * (SM_BYTES_PART + 4 * 64)) /* bytes of one group */
_Static_assert(SM_GEMM_GROUPS *PANEL_MOST <= SM_GEMM_SCRATCH, "panels fit the scratch");

/* One group of at most a slab; out is 64-byte aligned. */
INLINE void unpack(const uint32_t type, const sm_code_table *codes, uint8_t *out, const uint8_t *p,
                   size_t k) {
    const __m512i table = load_table(type, codes);
    const uint32_t panel = panel_type(type);
    const int more = has_min(type) ? 0 : 128 - (1 << offset_log2(type));
    for (size_t done = 0; done < k; p += head_bytes(type)) {
        head h = load_head(type, codes, p);
        for (size_t r = 0; r < records(type); r++, p += record_bytes(type), done += 32) {
            const uint8_t *from = p + head_bytes(type);
            UNROLL
            for (int part = 0; part < parts(type); part++) {
                _mm512_store_ps(out + 64 * part, load_scale(type, &h, from, part));
                if (has_min(type)) {
                    _mm512_store_ps(out + 64 * (parts(type) + part),
                                    load_min(type, &h, from, part));
                }
            }
            UNROLL
            for (int g = 0; g < 8; g++) {
                __m512i code = load_code(type, true, table, from + scale_bytes(type), g);
                code = _mm512_add_epi8(code, bytes64(more));
                _mm512_store_si512(out + scale_bytes(panel) + 64 * g, code);
            }
            out += record_bytes(panel);
        }
    }
}

TILES(PANEL_32, panel_32, 6)
TILES(PANEL_32_MIN, panel_32_min, 6)
TILES(PANEL_16, panel_16, 4)
TILES(PANEL_16_MIN, panel_16_min, 4)

/* Large tiles with minima are faster so on four pipes; on two whole ones loading anew would take
 * longer than multiplying. */
TILE(PANEL_32_MIN_ANEW, panel_32_min_anew_5, 5)
TILE(PANEL_32_MIN_ANEW, panel_32_min_anew_6, 6)
static tile_fn *const panel_32_min_anew_tiles[] = {SET_4(panel_32_min), panel_32_min_anew_5,
                                                   panel_32_min_anew_6};

INLINE tile_set panel_tiles(const uint32_t type, bool two_pipes) {
    tile_fn *const *const sets[] = {panel_32_tiles, panel_32_min_tiles, panel_16_tiles,
                                    panel_16_min_tiles};
    const size_t most = parts(type) == 2 ? BODY : TILE_COLS;
    const size_t body = two_pipes || sm_table_half_pipes(SM_LEVEL_AVX512BF16) ? most : BODY;
    tile_set set = {sets[panel_type(type) - PANEL_32], body, most};
    if (panel_type(type) == PANEL_32_MIN && !two_pipes) {
        set.tiles = panel_32_min_anew_tiles;
    }
    return set;
}

/* Types that are rare, or measured with one column and with many: these have only small tiles. */
INLINE bool is_lean(const uint32_t type) {
    return is_tiny(type) || type == SM_DTYPE_NVFP4;
}

/* Whose codes take one or two instructions to unpack. */
INLINE bool unpacks_fast(const uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q4_0:
    case SM_DTYPE_Q4_1:
    case SM_DTYPE_Q8_0:
    case SM_DTYPE_IQ4_NL:
    case SM_DTYPE_Q4_K:
    case SM_DTYPE_IQ4_XS:
    case SM_DTYPE_MXFP4:
        return true;
    default:
        return false;
    }
}

/* Columns from which a panel pays for its making (measured). With four pipes plain nibbles and
 * bytes unpacked on the way are never slower. */
INLINE size_t panel_from(const uint32_t type, bool two_pipes) {
    if (is_lean(type)) {
        return 3;
    }
    if (two_pipes) {
        return unpacks_fast(type) ? 16 : 8;
    }
    switch (type) {
    case SM_DTYPE_Q4_0:
    case SM_DTYPE_Q4_1:
    case SM_DTYPE_Q8_0:
    case SM_DTYPE_IQ4_NL:
        return SIZE_MAX;
    case SM_DTYPE_Q5_1:
        return 24;
    case SM_DTYPE_Q5_0:
        return 16;
    case SM_DTYPE_Q4_K:
        return 32;
    case SM_DTYPE_IQ4_XS:
    case SM_DTYPE_MXFP4:
        return 12;
    default:
        return 4;
    }
}

INLINE void gemm(const uint32_t type, tile_set set, product a, size_t ncols, const uint8_t *next,
                 uint8_t *scratch) {
    if (ncols >= panel_from(type, a.two_pipes)) {
        const tile_set panels = panel_tiles(type, a.two_pipes);
        const size_t records_32 = a.k / 32, tiles = (ncols + panels.body - 1) / panels.body;
        const size_t bytes =
            records_32 * record_bytes(type) + records_32 / records(type) * head_bytes(type);
        for (size_t g = 0; g < a.n_groups; g++) {
            unpack(type, a.codes, scratch + g * PANEL_MOST, a.packed + g * a.group_bytes, a.k);
        }
        a.ahead = next ? next : a.packed;
        a.ahead_end = next ? a.ahead + bytes : a.ahead;
        a.group_ahead = a.group_bytes;
        a.ahead_step = (bytes / (tiles * records_32) + 63) / 64 * 64;
        a.packed = scratch;
        a.group_bytes = PANEL_MOST;
        set = panels;
    }
    product_of(set, &a, ncols);
}

/* ---- the functions --------------------------------------------------------------------------- */

INLINE void mul(tile_set set, void (*one)(const product *a), const product *a, size_t ncols) {
    if (ncols == 1 && SINGLE(a)) {
        one(a);
    } else {
        product_of(set, a, ncols);
    }
}

#define NOINLINE __attribute__((noinline)) /* the functions of levels and types are small */

/* The tiles of a layout, and what its types share. */
#define LAYOUT(TYPE, type, most)                                                          \
    TILES(SM_DTYPE_##TYPE, type, most)                                                    \
    ONE(TYPE, type)                                                                       \
    NOINLINE static void type##_gemm(const product *a, size_t ncols, const uint8_t *next, \
                                     uint8_t *scratch) {                                  \
        const tile_set set = {type##_tiles, most < BODY ? most : BODY, most};             \
        gemm(SM_DTYPE_##TYPE, set, *a, ncols, next, scratch);                             \
    }                                                                                     \
    NOINLINE static void type##_mul(const product *a, size_t ncols) {                     \
        const tile_set set = {type##_tiles, most < BODY ? most : BODY, most};             \
        mul(set, type##_one, a, ncols);                                                   \
    }

/* A type of that layout on one level; code_table: its table, or NULL. */
#define ON_LEVEL(level, pipes_are_two, layout, type, code_table)                                \
    void sm_mul_##type##_##level(float *y, size_t ldy, const void *packed, size_t group_bytes,  \
                                 size_t n_groups, size_t k, const void *x, size_t ldx,          \
                                 size_t ncols, bool accumulate, sm_prefetch prefetch) {         \
        const product a = {.y = y,                                                              \
                           .ldy = ldy,                                                          \
                           .packed = packed,                                                    \
                           .group_bytes = group_bytes,                                          \
                           .n_groups = n_groups,                                                \
                           .k = k,                                                              \
                           .x = x,                                                              \
                           .ldx = ldx,                                                          \
                           .accumulate = accumulate,                                            \
                           .two_pipes = pipes_are_two,                                          \
                           .fresh = prefetch != SM_PREFETCH_NONE || ncols > 1,                  \
                           .two_steps = prefetch == SM_PREFETCH_NONE ||                         \
                                        (pipes_are_two && prefetch == SM_PREFETCH_FAR),         \
                           .codes = code_table};                                                \
        layout##_mul(&a, ncols);                                                                \
    }                                                                                           \
    void sm_gemm_##type##_##level(float *y, size_t ldy, const void *packed, size_t group_bytes, \
                                  size_t n_groups, size_t k, const void *x, size_t ldx,         \
                                  size_t ncols, bool accumulate, const void *next,              \
                                  void *scratch) {                                              \
        const product a = {.y = y,                                                              \
                           .ldy = ldy,                                                          \
                           .packed = packed,                                                    \
                           .group_bytes = group_bytes,                                          \
                           .n_groups = n_groups,                                                \
                           .k = k,                                                              \
                           .x = x,                                                              \
                           .ldx = ldx,                                                          \
                           .accumulate = accumulate,                                            \
                           .two_pipes = pipes_are_two,                                          \
                           .fresh = true,                                                       \
                           .two_steps = pipes_are_two,                                          \
                           .codes = code_table};                                                \
        layout##_gemm(&a, ncols, next, scratch);                                                \
    }
#ifdef SM_HAVE_AVX512BF16
#define FUNCTIONS(layout, type, code_table)          \
    ON_LEVEL(avx512, true, layout, type, code_table) \
    ON_LEVEL(avx512bf16, false, layout, type, code_table)
#else
#define FUNCTIONS(layout, type, code_table) ON_LEVEL(avx512, true, layout, type, code_table)
#endif

#define QUANTIZED(TYPE, type, most) \
    LAYOUT(TYPE, type, most)        \
    FUNCTIONS(type, type, NULL)

QUANTIZED(Q4_0, q4_0, 6)
QUANTIZED(Q4_1, q4_1, 6)
QUANTIZED(Q5_0, q5_0, 6)
QUANTIZED(Q5_1, q5_1, 6)
QUANTIZED(Q8_0, q8_0, 6)
QUANTIZED(Q4_K, q4_k, 4)
QUANTIZED(Q5_K, q5_k, 6)
QUANTIZED(Q2_K, q2_k, 4)
QUANTIZED(Q3_K, q3_k, 4)
QUANTIZED(Q6_K, q6_k, 4)
QUANTIZED(Q1_0, q1_0, 2)
QUANTIZED(Q2_0, q2_0, 2)
QUANTIZED(TQ2_0, tq2_0, 2)

LAYOUT(IQ4_NL, iq4_nl, 6)
FUNCTIONS(iq4_nl, iq4_nl, &SM_CODES_IQ4)
LAYOUT(MXFP4, mxfp4, 4)
FUNCTIONS(mxfp4, mxfp4, &SM_CODES_FP4)
LAYOUT(NVFP4, nvfp4, 2)
FUNCTIONS(nvfp4, nvfp4, &SM_CODES_FP4)
LAYOUT(IQ4_XS, iq4_xs, 4)
FUNCTIONS(iq4_xs, iq4_xs, &SM_CODES_IQ4)
FUNCTIONS(iq4_xs, iq3_xxs, &SM_CODES_IQ3_XXS)
FUNCTIONS(iq4_xs, iq3_s, &SM_CODES_IQ3_S)
LAYOUT(IQ2_XXS, iq2_xxs, 4)
FUNCTIONS(iq2_xxs, iq2_xxs, &SM_CODES_IQ2)
FUNCTIONS(iq2_xxs, iq1_s, &SM_CODES_IQ1)
LAYOUT(IQ2_XS, iq2_xs, 4)
FUNCTIONS(iq2_xs, iq2_xs, &SM_CODES_IQ2)
FUNCTIONS(iq2_xs, iq2_s, &SM_CODES_IQ2)
FUNCTIONS(iq2_xs, iq1_m, &SM_CODES_IQ1)
