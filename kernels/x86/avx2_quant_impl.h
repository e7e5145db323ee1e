/* avx2_quant_impl.h - products with quantized weights: the body of avx2_quant.c and
 * avxvnni_quant.c.
 *
 * Before including it define
 *   LEVEL(name)   the name with the level's suffix
 *   VNNI          1: use vpdpbusd, 0: vpmaddubsw and vpmaddwd
 *
 * Lanes are rows: a group is two vectors of eight rows, and a 32-bit lane holds four
 * consecutive codes of its row.
 *
 * vpdpbusd multiplies unsigned by signed bytes and adds the four products of a lane to a
 * 32-bit sum. All codes are unsigned there, signed bytes by adding 128; the sums start with
 * what the offset contributes, from nsum.
 *
 * Without it vpmaddubsw multiplies unsigned by signed bytes and adds pairs to 16 bits,
 * vpmaddwd with ones adds those pairs to 32.
 *
 *  - Unsigned codes go into vpmaddubsw as they are. With |q| <= 127 a pair is at most
 *    254 * code, so 16 bits hold the sum of eight pairs for codes up to 15
 *    (30480), of four up to 31 (31496), of two up to 63 (32004): only then one vpmaddwd.
 *    The code's offset comes in through nsum.
 *  - Signed bytes (Q8_0, IQ4): straight from the stream, the absolute value of one side times
 *    the other with its sign in vpmaddubsw, at most 128 * 127 * 2 = 32512; in panels both
 *    sides widened to 16 bits, which costs the same per product and needs no sign work.
 *
 * One or two columns are computed straight from the packed stream. For more, a stretch of
 * a group is unpacked to a panel once and tiles of some columns run over it; mul
 * does that in pieces that stay in L1 on the stack, gemm with a whole slab.
 */
#include "avx2.h"

/* ---- the types ------------------------------------------------------------------------- */

/* What the packed layout of a type (pack.h) is made of. All of it is constant where used. */
typedef struct layout {
    unsigned head, record; /* bytes */
    unsigned records;      /* 32-element records after each head */
    unsigned scales;       /* per record: 1 or 2 */
    unsigned code_bytes;   /* of scale codes at the start of a record; 0: the head has the scale */
    bool mins;             /* M or DM in the head */
    int offset;            /* of unsigned codes: a power of two, or 0 */
    unsigned sums;         /* pairs that 16 bits can sum; 0: codes are bytes, signed or plus 128 */
    bool table;            /* codes are places in a table that comes with the product */
} layout;

/* What is added to signed bytes. */
#define BYTE_OFFSET (VNNI ? 128 : 0)

/* Types that share a layout but for their table of codes (pack.h) are computed by one of them. */
INLINE layout layout_of(sm_dtype type) {
    switch (type) {
    case SM_DTYPE_Q4_0:
        return (layout){
            .head = 32, .record = 256, .records = 1, .scales = 1, .offset = 8, .sums = 8};
    case SM_DTYPE_Q4_1:
        return (layout){
            .head = 64, .record = 256, .records = 1, .scales = 1, .mins = true, .sums = 8};
    case SM_DTYPE_Q5_0:
        return (layout){
            .head = 32, .record = 320, .records = 1, .scales = 1, .offset = 16, .sums = 4};
    case SM_DTYPE_Q5_1:
        return (layout){
            .head = 64, .record = 320, .records = 1, .scales = 1, .mins = true, .sums = 4};
    case SM_DTYPE_Q8_0:
        return (layout){
            .head = 32, .record = 512, .records = 1, .scales = 1, .offset = BYTE_OFFSET};
    case SM_DTYPE_IQ4_NL:
        return (layout){.head = 32,
                        .record = 256,
                        .records = 1,
                        .scales = 1,
                        .offset = BYTE_OFFSET,
                        .table = true};
    case SM_DTYPE_MXFP4:
        return (layout){.record = 272,
                        .records = 1,
                        .scales = 1,
                        .code_bytes = 16,
                        .offset = 16,
                        .sums = 4,
                        .table = true};
    case SM_DTYPE_NVFP4:
        return (layout){.record = 288,
                        .records = 1,
                        .scales = 2,
                        .code_bytes = 32,
                        .offset = 16,
                        .sums = 4,
                        .table = true};
    case SM_DTYPE_Q1_0: /* a bit counts 2 */
        return (layout){
            .head = 32, .record = 64, .records = 4, .scales = 1, .offset = 1, .sums = 8};
    case SM_DTYPE_Q2_0:
        return (layout){
            .head = 32, .record = 128, .records = 2, .scales = 1, .offset = 1, .sums = 8};
    case SM_DTYPE_TQ2_0:
        return (layout){
            .head = 32, .record = 128, .records = 8, .scales = 1, .offset = 1, .sums = 8};
    case SM_DTYPE_Q2_K:
        return (layout){.head = 64,
                        .record = 160,
                        .records = 8,
                        .scales = 2,
                        .code_bytes = 32,
                        .mins = true,
                        .sums = 4};
    case SM_DTYPE_Q3_K:
        return (layout){.head = 32,
                        .record = 224,
                        .records = 8,
                        .scales = 2,
                        .code_bytes = 32,
                        .offset = 4,
                        .sums = 4};
    case SM_DTYPE_Q4_K:
        return (layout){.head = 64,
                        .record = 288,
                        .records = 8,
                        .scales = 1,
                        .code_bytes = 32,
                        .mins = true,
                        .sums = 8};
    case SM_DTYPE_Q5_K:
        return (layout){.head = 64,
                        .record = 352,
                        .records = 8,
                        .scales = 1,
                        .code_bytes = 32,
                        .mins = true,
                        .sums = 4};
    case SM_DTYPE_Q6_K:
        return (layout){.head = 32,
                        .record = 416,
                        .records = 8,
                        .scales = 2,
                        .code_bytes = 32,
                        .offset = 32,
                        .sums = 2};
    case SM_DTYPE_IQ3_S: /* as IQ4_XS, of smaller values */
        return (layout){.head = 32,
                        .record = 272,
                        .records = 8,
                        .scales = 1,
                        .code_bytes = 16,
                        .offset = 64,
                        .sums = 1,
                        .table = true};
    case SM_DTYPE_IQ2_XXS:
        return (layout){.head = 32,
                        .record = 208,
                        .records = 8,
                        .scales = 1,
                        .code_bytes = 16,
                        .offset = 64,
                        .sums = 1,
                        .table = true};
    case SM_DTYPE_IQ2_XS:
        return (layout){.head = 32,
                        .record = 224,
                        .records = 8,
                        .scales = 2,
                        .code_bytes = 32,
                        .offset = 64,
                        .sums = 1,
                        .table = true};
    default: /* SM_DTYPE_IQ4_XS */
        return (layout){.head = 32,
                        .record = 272,
                        .records = 8,
                        .scales = 1,
                        .code_bytes = 16,
                        .offset = BYTE_OFFSET,
                        .table = true};
    }
}

INLINE bool is_signed(sm_dtype type) {
    return !VNNI && layout_of(type).sums == 0;
}

/* Codes of eight rows, sub-groups j and j + 4. */
typedef struct code_pair {
    __m256i low, high;
} code_pair;

INLINE __m256i shift16(__m256i v, int left) {
    return left >= 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left);
}

/* The bits of v selected by mask after a shift; shifts run over 16 bits, the mask drops
 * what comes from the neighbouring byte. */
INLINE __m256i field(__m256i v, int left, int mask) {
    return _mm256_and_si256(left == 0 ? v : shift16(v, left), _mm256_set1_epi8((char)mask));
}

/* A table of codes for look-ups in registers, with the offset on. */
typedef struct lookup {
    __m256i table;
    __m256 factor;
} lookup;

INLINE lookup load_table(sm_dtype type, const sm_code_table *codes) {
    layout l = layout_of(type);
    lookup t = {_mm256_setzero_si256(), _mm256_setzero_ps()};
    if (l.table) {
        t.table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)codes->value));
        t.table = _mm256_add_epi8(t.table, _mm256_set1_epi8((char)l.offset));
        t.factor = _mm256_broadcast_ss(&codes->factor);
    }
    return t;
}

/* Of three vectors of two codes of three bits in a byte: sub-groups j and j + 4; 3 and 7 are
 * gathered from the fourth bits of the others. */
INLINE code_pair trio_codes(const uint8_t *p, int j) {
    __m256i x = load_i256(p + 64 * (j % 3));
    if (j == 3) {
        __m256i x1 = load_i256(p + 64), x2 = load_i256(p + 128);
        x = _mm256_or_si256(field(x, -1, 0x44), field(x1, -2, 0x22));
        x = _mm256_or_si256(x, field(x2, -3, 0x11));
    }
    return (code_pair){field(x, 0, 7), field(x, -4, 7)};
}

/* Sub-groups j and j + 4 (j = 0..3) of the eight rows `half`; parts: the record behind its
 * scale codes. */
INLINE code_pair load_codes(sm_dtype type, lookup t, const uint8_t *parts, unsigned half, int j) {
    const uint8_t *p = parts + 32 * half;
    code_pair c;
    if (type == SM_DTYPE_Q8_0) {
        c.low = load_i256(p + 64 * j);
        c.high = load_i256(p + 64 * (j + 4));
        if (VNNI) {
            c.low = _mm256_xor_si256(c.low, _mm256_set1_epi8(-128));
            c.high = _mm256_xor_si256(c.high, _mm256_set1_epi8(-128));
        }
        return c;
    }
    if (type == SM_DTYPE_Q1_0) {
        __m256i bits = load_i256(p);
        c.low = field(bits, 1 - j, 2);
        c.high = field(bits, -3 - j, 2);
        return c;
    }
    if (type == SM_DTYPE_Q2_K || type == SM_DTYPE_Q2_0 || type == SM_DTYPE_TQ2_0) {
        __m256i crumbs = load_i256(p + 64 * (j & 1));
        int shift = 2 * (j >> 1); /* of sub-group j; j + 4 is four bits further */
        c.low = field(crumbs, -shift, 3);
        c.high = field(crumbs, -shift - 4, 3);
        return c;
    }
    if (type == SM_DTYPE_Q3_K) {
        /* both sub-groups at once: their crumbs at bits 0 and 4, high bits at 2 and 6 */
        __m256i crumbs = load_i256(p + 64 * (j & 1));
        __m256i bits = load_i256(p + SM_CRUMB_PART);
        __m256i both =
            _mm256_or_si256(field(crumbs, -2 * (j >> 1), 0x33), field(bits, 2 - j, 0xcc));
        c.low = field(both, 0, 7);
        c.high = field(both, -4, 7);
        return c;
    }
    if (type == SM_DTYPE_IQ2_XXS || type == SM_DTYPE_IQ2_XS) {
        c = trio_codes(p, j);
        c.low = _mm256_shuffle_epi8(t.table, c.low);
        c.high = _mm256_shuffle_epi8(t.table, c.high);
        return c;
    }
    __m256i nibbles = load_i256(p + 64 * j);
    c.low = field(nibbles, 0, 15);
    c.high = field(nibbles, -4, 15);
    if (type == SM_DTYPE_Q5_0 || type == SM_DTYPE_Q5_1 || type == SM_DTYPE_Q5_K) {
        __m256i bits = load_i256(p + SM_NIB_PART);
        c.low = _mm256_or_si256(c.low, field(bits, 4 - j, 16));
        c.high = _mm256_or_si256(c.high, field(bits, -j, 16));
    } else if (type == SM_DTYPE_Q6_K) {
        __m256i crumbs = load_i256(p + SM_NIB_PART + 64 * (j & 1));
        int shift = 2 * (j >> 1);
        c.low = _mm256_or_si256(c.low, field(crumbs, 4 - shift, 48));
        c.high = _mm256_or_si256(c.high, field(crumbs, -shift, 48));
    } else if (layout_of(type).table) {
        c.low = _mm256_shuffle_epi8(t.table, c.low);
        c.high = _mm256_shuffle_epi8(t.table, c.high);
    }
    return c;
}

/* Scales of eight rows for the one or two halves of a record, and what is added per sum of
 * activations: m, or -dmin * m in the K types. */
typedef struct scale_set {
    __m256 scale[2], min[2];
} scale_set;

INLINE __m256 load_u8(const void *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
INLINE __m256 load_s8(const void *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/* 2^(code - 128), 0 for 0. */
INLINE __m256 load_exponents(const void *p) {
    __m256i bits = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    bits = _mm256_slli_epi32(bits, 23);
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0.5f));
}

/* f16 with the bits code << 7, times 128. */
INLINE __m256 load_small_floats(const void *p) {
    __m128i bits = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)p));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(bits, 7)), _mm256_set1_ps(128));
}

INLINE scale_set load_scales(sm_dtype type, lookup t, const uint8_t *head, const uint8_t *record,
                             unsigned half) {
    layout l = layout_of(type);
    scale_set s;
    if (type == SM_DTYPE_MXFP4) {
        s.scale[0] = s.scale[1] = load_exponents(record + 8 * half);
        s.min[0] = s.min[1] = _mm256_setzero_ps();
        return s;
    }
    if (type == SM_DTYPE_NVFP4) {
        s.scale[0] = load_small_floats(record + 8 * half);
        s.scale[1] = load_small_floats(record + SM_CODE_PART + 8 * half);
        s.min[0] = s.min[1] = _mm256_setzero_ps();
        return s;
    }
    __m256 d = load_f16(head + 16 * half);
    if (l.table && l.code_bytes > 0) {
        d = _mm256_mul_ps(d, t.factor);
    }
    __m256 m = l.mins ? load_f16(head + SM_HALF_PART + 16 * half) : _mm256_setzero_ps();
    if (l.code_bytes > 0) {
        m = _mm256_xor_ps(m, _mm256_set1_ps(-0.0f));
    }
    s.scale[0] = s.scale[1] = d;
    s.min[0] = s.min[1] = m;
    if (type == SM_DTYPE_Q2_K) {
        const __m256i low4 = _mm256_set1_epi32(15);
        __m256i c0 = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(record + 8 * half)));
        __m256i c1 =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(record + 16 + 8 * half)));
        s.scale[0] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_and_si256(c0, low4)));
        s.scale[1] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_and_si256(c1, low4)));
        s.min[0] = _mm256_mul_ps(m, _mm256_cvtepi32_ps(_mm256_srli_epi32(c0, 4)));
        s.min[1] = _mm256_mul_ps(m, _mm256_cvtepi32_ps(_mm256_srli_epi32(c1, 4)));
    } else if (l.code_bytes > 0 && l.mins) {
        s.scale[0] = _mm256_mul_ps(d, load_u8(record + 8 * half));
        s.min[0] = _mm256_mul_ps(m, load_u8(record + SM_CODE_PART + 8 * half));
    } else if (l.code_bytes > 0) {
        s.scale[0] = _mm256_mul_ps(d, load_s8(record + 8 * half));
        if (l.scales == 2) {
            s.scale[1] = _mm256_mul_ps(d, load_s8(record + SM_CODE_PART + 8 * half));
        }
    }
    return s;
}

/* The float chain of one record; s0, s1: integer sums of its one or two halves. */
INLINE __m256 chain(sm_dtype type, __m256 y, __m256i s0, __m256i s1, const scale_set *scales,
                    const sm_act_block *x) {
    layout l = layout_of(type);
    __m256 d = _mm256_broadcast_ss(&x->d);
    if (l.scales == 2) {
        const __m256 first = _mm256_mul_ps(_mm256_cvtepi32_ps(s0), scales->scale[0]);
        y = _mm256_fmadd_ps(_mm256_fmadd_ps(_mm256_cvtepi32_ps(s1), scales->scale[1], first), d, y);
    } else {
        y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s0), _mm256_mul_ps(scales->scale[0], d), y);
    }
    if (l.mins && l.scales == 1) {
        y = _mm256_fmadd_ps(scales->min[0], _mm256_broadcast_ss(&x->ds), y);
    } else if (l.mins) {
        y = _mm256_fmadd_ps(scales->min[0], _mm256_broadcast_ss(&x->ds16[0]), y);
        y = _mm256_fmadd_ps(scales->min[1], _mm256_broadcast_ss(&x->ds16[1]), y);
    }
    return y;
}

/* What the codes' offset contributes to the sum of half i: offset * nsum. */
INLINE __m256i offset_sum(sm_dtype type, const sm_act_block *x, unsigned i) {
    layout l = layout_of(type);
    if (l.offset == 0) {
        return _mm256_setzero_si256();
    }
    __m256i n = broadcast_i32(l.scales == 1 ? &x->nsum : &x->nsum16[i]);
    return _mm256_slli_epi32(n, __builtin_ctz((unsigned)l.offset));
}

/* ---- one or two columns, straight from the packed stream ---------------------------------- */

/* Two vectors of eight results that are computed side by side: of one column and all 16 rows,
 * or of two columns and eight rows. */
typedef struct pair {
    const sm_act_block *x[2];
    unsigned rows[2]; /* 0: rows 0..7, 1: rows 8..15 */
} pair;

/* Integer sums of one record: [half of the record][vector of the pair]. */
typedef struct record_sums {
    __m256i s[2][2];
} record_sums;

#if VNNI

INLINE void record_dot(sm_dtype type, lookup t, record_sums *sums, const uint8_t *parts, pair p) {
    const unsigned other = layout_of(type).scales - 1; /* which sum the second half goes to */
    UNROLL for (unsigned v = 0; v < 2; v++) {
        sums->s[0][v] = offset_sum(type, p.x[v], 0);
        sums->s[1][v] = offset_sum(type, p.x[v], 1);
    }
    UNROLL for (int n = 0; n < 4; n++) {
        int j = n / 2 + 2 * (n % 2); /* 0, 2, 1, 3: those two share a vector of 2-bit codes */
        UNROLL for (unsigned v = 0; v < 2; v++) {
            code_pair c = load_codes(type, t, parts, p.rows[v], j);
            __m256i q0 = broadcast_i32(p.x[v]->q + 4 * j);
            __m256i q1 = broadcast_i32(p.x[v]->q + 4 * j + 16);
            sums->s[0][v] = _mm256_dpbusd_avx_epi32(sums->s[0][v], c.low, q0);
            sums->s[other][v] = _mm256_dpbusd_avx_epi32(sums->s[other][v], c.high, q1);
        }
    }
}

#else

INLINE __m256i widen(__m256i pairs) {
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

INLINE void dot_unsigned(sm_dtype type, lookup t, record_sums *sums, const uint8_t *parts, pair p) {
    layout l = layout_of(type);
    __m256i s[2][2]; /* 16-bit sums: [half of the record, if kept apart][vector of the pair] */
    UNROLL for (int n = 0; n < 4; n++) {
        int j = n / 2 + 2 * (n % 2); /* 0, 2, 1, 3: those two share a vector of 2-bit codes */
        UNROLL for (unsigned v = 0; v < 2; v++) {
            code_pair c = load_codes(type, t, parts, p.rows[v], j);
            __m256i low = _mm256_maddubs_epi16(c.low, broadcast_i32(p.x[v]->q + 4 * j));
            __m256i high = _mm256_maddubs_epi16(c.high, broadcast_i32(p.x[v]->q + 4 * j + 16));
            if (l.sums == 8) {
                s[0][v] = n == 0 ? low : same(_mm256_add_epi16(s[0][v], low));
                s[0][v] = same(_mm256_add_epi16(s[0][v], high));
                continue;
            }
            const int run = (int)l.sums;
            bool fresh = n % run == 0;
            s[0][v] = fresh ? low : same(_mm256_add_epi16(s[0][v], low));
            s[1][v] = fresh ? high : same(_mm256_add_epi16(s[1][v], high));
            if (run <= 2 && n % run == run - 1) {
                __m256i s0 = widen(s[0][v]);
                __m256i s1 = widen(s[1][v]);
                sums->s[0][v] = n < run ? s0 : same(_mm256_add_epi32(sums->s[0][v], s0));
                sums->s[1][v] = n < run ? s1 : same(_mm256_add_epi32(sums->s[1][v], s1));
            }
        }
    }
    UNROLL for (unsigned v = 0; v < 2; v++) {
        if (l.sums > 2) {
            sums->s[0][v] = widen(s[0][v]);
            sums->s[1][v] = l.sums == 4 ? widen(s[1][v]) : sums->s[0][v];
        }
        if (l.sums <= 4 && l.scales == 1) {
            sums->s[0][v] = _mm256_add_epi32(sums->s[0][v], sums->s[1][v]);
        }
        if (l.offset != 0) {
            UNROLL for (unsigned i = 0; i < l.scales; i++) {
                sums->s[i][v] = _mm256_add_epi32(sums->s[i][v], offset_sum(type, p.x[v], i));
            }
        }
    }
}

/* |w| * q for Q8_0, whose -128 has no negative; |q| * w for the IQ4 table, which goes down to
 * -127; each with the sign of the other. */
INLINE __m256i dot_signs(sm_dtype type, __m256i w, const int8_t *x) {
    __m256i q = broadcast_i32(x);
    __m256i pairs = type == SM_DTYPE_Q8_0
                        ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w))
                        : _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(w, q));
    return widen(pairs);
}

INLINE void dot_signed(sm_dtype type, lookup t, record_sums *sums, const uint8_t *parts, pair p) {
    UNROLL for (int j = 0; j < 4; j++) {
        UNROLL for (unsigned v = 0; v < 2; v++) {
            code_pair c = load_codes(type, t, parts, p.rows[v], j);
            __m256i low = dot_signs(type, c.low, p.x[v]->q + 4 * j);
            __m256i high = dot_signs(type, c.high, p.x[v]->q + 4 * j + 16);
            sums->s[0][v] = j == 0 ? low : same(_mm256_add_epi32(sums->s[0][v], low));
            sums->s[0][v] = same(_mm256_add_epi32(sums->s[0][v], high));
        }
    }
}

INLINE void record_dot(sm_dtype type, lookup t, record_sums *sums, const uint8_t *parts, pair p) {
    if (is_signed(type)) {
        dot_signed(type, t, sums, parts, p);
    } else {
        dot_unsigned(type, t, sums, parts, p);
    }
}

#endif

INLINE void stream_record(sm_dtype type, lookup t, __m256 y[2], const uint8_t *head,
                          const uint8_t *record, pair p) {
    const uint8_t *parts = record + layout_of(type).code_bytes;
    record_sums s;
    record_dot(type, t, &s, parts, p);
    UNROLL for (unsigned v = 0; v < 2; v++) {
        scale_set scales = load_scales(type, t, head, record, p.rows[v]);
        y[v] = chain(type, y[v], s.s[0][v], s.s[1][v], &scales, p.x[v]);
    }
}

INLINE void stream_group(sm_dtype type, lookup t, float *y, size_t ldy, const uint8_t *w, size_t k,
                         const sm_act_block *x, size_t ldx, unsigned n, bool accumulate,
                         bool ahead) {
    layout l = layout_of(type);
    __m256 sum[2][2]; /* one column: [0][rows]; two: [rows][column] */
    UNROLL for (unsigned i = 0; i < n; i++) {
        UNROLL for (unsigned v = 0; v < 2; v++) {
            const float *from = n == 1 ? y + 8 * v : y + v * ldy + 8 * i;
            sum[i][v] = accumulate ? _mm256_loadu_ps(from) : _mm256_setzero_ps();
        }
    }
    for (size_t heads = k / (32 * l.records); heads > 0; heads--) {
        const uint8_t *record = w + l.head;
        for (unsigned r = 0; r < l.records; r++, record += l.record, x++) {
            if (ahead) {
                prefetch_lines(record, AHEAD, l.record + l.head / l.records);
            }
            if (n == 1) {
                stream_record(type, t, sum[0], w, record, (pair){{x, x}, {0, 1}});
            } else {
                stream_record(type, t, sum[0], w, record, (pair){{x, x + ldx}, {0, 0}});
                /* not the same x to the compiler, or it keeps all of q in registers */
                const sm_act_block *x1 = x;
                __asm__("" : "+r"(x1));
                stream_record(type, t, sum[1], w, record, (pair){{x1, x1 + ldx}, {1, 1}});
            }
        }
        w = record;
    }
    UNROLL for (unsigned i = 0; i < n; i++) {
        UNROLL for (unsigned v = 0; v < 2; v++) {
            _mm256_storeu_ps(n == 1 ? y + 8 * v : y + v * ldy + 8 * i, sum[i][v]);
        }
    }
}

/* ---- panels ------------------------------------------------------------------------------ */

/* A panel is a stretch of one group unpacked: per 32-element record
 *   unsigned  [g 0..7][16 rows][4] codes
 *   signed    [pair 0..15][16 rows][2] int16
 * and then the scales [1 or 2][16] and minima [0, 1 or 2][16], f32. Types share kinds of panels;
 * this is the type that stands for the kind. */
INLINE sm_dtype panel_of(sm_dtype type) {
    layout l = layout_of(type);
    if (is_signed(type)) {
        return SM_DTYPE_Q8_0;
    }
    if (l.scales == 1 && l.mins) {
        return VNNI || l.sums == 8 ? SM_DTYPE_Q4_1 : SM_DTYPE_Q5_1;
    }
    if (VNNI && !l.mins) {
        return l.scales == 1 ? SM_DTYPE_Q8_0 : SM_DTYPE_IQ2_XS;
    }
    switch (type) {
    case SM_DTYPE_MXFP4:
        return SM_DTYPE_Q5_0;
    case SM_DTYPE_IQ3_S:
        return SM_DTYPE_IQ2_XXS;
    case SM_DTYPE_Q3_K: /* whose codes have room for another offset */
        return SM_DTYPE_NVFP4;
    case SM_DTYPE_Q1_0:
    case SM_DTYPE_Q2_0:
    case SM_DTYPE_TQ2_0:
        return SM_DTYPE_Q4_0;
    default:
        return type;
    }
}

INLINE unsigned panel_codes(sm_dtype panel) {
    return is_signed(panel) ? 1024 : 512;
}
INLINE unsigned panel_record(sm_dtype panel) {
    layout l = layout_of(panel);
    return panel_codes(panel) + 64 * l.scales * (l.mins ? 2 : 1);
}

/* Bytes 0 and 1 (second: 2 and 3) of each 32-bit word as int16. */
INLINE __m256i two_bytes(__m256i v, bool second) {
    const char a = second ? 2 : 0, b = a + 1, no = -128;
    const __m256i upper = _mm256_setr_epi8(no, a, no, b, no, a + 4, no, b + 4, no, a + 8, no, b + 8,
                                           no, a + 12, no, b + 12, no, a, no, b, no, a + 4, no,
                                           b + 4, no, a + 8, no, b + 8, no, a + 12, no, b + 12);
    return _mm256_srai_epi16(_mm256_shuffle_epi8(v, upper), 8);
}

INLINE void store_codes(sm_dtype type, uint8_t *panel, unsigned half, int g, __m256i codes) {
    int more = layout_of(panel_of(type)).offset - layout_of(type).offset;
    if (is_signed(type)) {
        store_i256(panel + 128 * g + 32 * half, two_bytes(codes, false));
        store_i256(panel + 128 * g + 64 + 32 * half, two_bytes(codes, true));
    } else {
        codes = more == 0 ? codes : _mm256_add_epi8(codes, _mm256_set1_epi8((char)more));
        store_i256(panel + 64 * g + 32 * half, codes);
    }
}

/* Unpacks k elements of a group and asks for what comes later in its stream; returns where that
 * goes on. */
INLINE const uint8_t *unpack(sm_dtype type, lookup t, uint8_t *panel, const uint8_t *w, size_t k) {
    layout l = layout_of(type);
    for (size_t heads = k / (32 * l.records); heads > 0; heads--) {
        const uint8_t *record = w + l.head;
        for (unsigned i = 0; i < l.records; i++, record += l.record) {
            prefetch_lines(record, AHEAD, l.record + l.head / l.records);
            UNROLL for (unsigned half = 0; half < 2; half++) {
                UNROLL for (int j = 0; j < 4; j++) {
                    code_pair c = load_codes(type, t, record + l.code_bytes, half, j);
                    store_codes(type, panel, half, j, c.low);
                    store_codes(type, panel, half, j + 4, c.high);
                }
                scale_set s = load_scales(type, t, w, record, half);
                float *out = (float *)(panel + panel_codes(panel_of(type))) + 8 * half;
                UNROLL for (unsigned n = 0; n < l.scales; n++) {
                    _mm256_storeu_ps(out + 16 * n, s.scale[n]);
                    if (l.mins) {
                        _mm256_storeu_ps(out + 16 * (l.scales + n), s.min[n]);
                    }
                }
            }
            panel += panel_record(panel_of(type));
        }
        w = record;
    }
    return w;
}

/* ---- tiles: 16 rows by n columns over a panel --------------------------------------------- */

#define MAX_TILE_COLS (VNNI ? 6 : 4)

/* Columns of a tile: as many as leave its sums in registers. Without VNNI a product takes one
 * more, and where 16 bits cannot hold the sum of a half, 32-bit sums are live at the same time. */
INLINE unsigned tile_cols(sm_dtype panel) {
    layout l = layout_of(panel);
    if (VNNI) {
        return MAX_TILE_COLS;
    }
    return is_signed(panel) || l.sums * l.scales >= 8 ? 4 : 3;
}

/* Integer sums of a tile: [column][rows 0..7, 8..15]. */
typedef struct tile_sums {
    __m256i s[MAX_TILE_COLS][2];
} tile_sums;

#if VNNI

/* Sums of half i of a record (the whole record with one scale). */
INLINE void tile_dot(sm_dtype type, tile_sums *sums, const uint8_t *panel, const sm_act_block *x,
                     size_t ldx, unsigned n, unsigned i) {
    UNROLL for (unsigned c = 0; c < n; c++) {
        sums->s[c][0] = sums->s[c][1] = offset_sum(type, x + c * ldx, i);
    }
    const unsigned end = layout_of(type).scales == 1 ? 8 : 4 * (i + 1);
    UNROLL for (size_t g = 4 * i; g < end; g++) {
        __m256i w0 = load_i256(panel + 64 * g);
        __m256i w1 = load_i256(panel + 64 * g + 32);
        UNROLL for (unsigned c = 0; c < n; c++) {
            __m256i q = broadcast_i32(x[c * ldx].q + 4 * g);
            sums->s[c][0] = _mm256_dpbusd_avx_epi32(sums->s[c][0], w0, q);
            sums->s[c][1] = _mm256_dpbusd_avx_epi32(sums->s[c][1], w1, q);
        }
    }
}

#else

/* Pair sums of sub-groups g0 .. g1 - 1, n columns. */
INLINE void tile_pairs(tile_sums *sums, const uint8_t *panel, const sm_act_block *x, size_t ldx,
                       unsigned n, unsigned g0, unsigned g1) {
    if (g1 - g0 > 1) {
        UNROLL for (unsigned c = 0; c < n; c++) {
            sums->s[c][0] = sums->s[c][1] = _mm256_setzero_si256();
        }
    }
    UNROLL for (size_t g = g0; g < g1; g++) {
        __m256i w0 = load_i256(panel + 64 * g);
        __m256i w1 = load_i256(panel + 64 * g + 32);
        UNROLL for (unsigned c = 0; c < n; c++) {
            __m256i q = broadcast_i32(x[c * ldx].q + 4 * g);
            if (g1 - g0 == 1) {
                sums->s[c][0] = _mm256_maddubs_epi16(w0, q);
                sums->s[c][1] = _mm256_maddubs_epi16(w1, q);
                continue;
            }
            sums->s[c][0] = same(_mm256_add_epi16(sums->s[c][0], _mm256_maddubs_epi16(w0, q)));
            sums->s[c][1] = same(_mm256_add_epi16(sums->s[c][1], _mm256_maddubs_epi16(w1, q)));
        }
    }
}

/* 32-bit sums of half i of a record (the whole record with one scale). */
INLINE void tile_dot(sm_dtype type, tile_sums *sums, const uint8_t *panel, const sm_act_block *x,
                     size_t ldx, unsigned n, unsigned i) {
    layout l = layout_of(type);
    unsigned end = l.scales == 1 ? 8 : 4 * (i + 1);
    UNROLL for (unsigned g = 4 * i; g < end; g += l.sums) {
        tile_sums part;
        tile_pairs(&part, panel, x, ldx, n, g, g + l.sums);
        UNROLL for (unsigned c = 0; c < n; c++) {
            UNROLL for (unsigned half = 0; half < 2; half++) {
                __m256i s = widen(part.s[c][half]);
                sums->s[c][half] = g == 4 * i ? s : same(_mm256_add_epi32(sums->s[c][half], s));
            }
        }
    }
    if (l.offset != 0) {
        UNROLL for (unsigned c = 0; c < n; c++) {
            __m256i offset = offset_sum(type, x + c * ldx, i);
            sums->s[c][0] = _mm256_add_epi32(sums->s[c][0], offset);
            sums->s[c][1] = _mm256_add_epi32(sums->s[c][1], offset);
        }
    }
}

INLINE void tile_dot_signed(tile_sums *sums, const uint8_t *panel, const uint8_t *wide,
                            size_t ldwide, unsigned n) {
    UNROLL for (unsigned c = 0; c < n; c++) {
        sums->s[c][0] = sums->s[c][1] = _mm256_setzero_si256();
    }
    UNROLL for (size_t two = 0; two < 16; two++) {
        __m256i w0 = load_i256(panel + 64 * two);
        __m256i w1 = load_i256(panel + 64 * two + 32);
        UNROLL for (unsigned c = 0; c < n; c++) {
            __m256i q = broadcast_i32(wide + c * ldwide + 4 * two);
            sums->s[c][0] = same(_mm256_add_epi32(sums->s[c][0], _mm256_madd_epi16(w0, q)));
            sums->s[c][1] = same(_mm256_add_epi32(sums->s[c][1], _mm256_madd_epi16(w1, q)));
        }
    }
}

#endif

/* Takes the chains in y through half i of a record; the first of two only as far as `first`,
 * [n][16]. The minima follow the last half. */
INLINE void tile_chain(sm_dtype type, float *y, size_t ldy, const tile_sums *sums,
                       const float *scales, const sm_act_block *x, size_t ldx, unsigned n,
                       unsigned i, float *first) {
    layout l = layout_of(type);
    UNROLL for (unsigned half = 0; half < 2; half++) {
        __m256 scale = _mm256_loadu_ps(scales + 16 * i + 8 * half);
        UNROLL for (unsigned c = 0; c < n; c++) {
            float *out = y + c * ldy + 8 * half;
            float *before = first + 16 * c + 8 * half;
            __m256 d = _mm256_broadcast_ss(&x[c * ldx].d);
            __m256 sum = _mm256_cvtepi32_ps(sums->s[c][half]);
            if (i + 1 < l.scales) {
                _mm256_storeu_ps(before, _mm256_mul_ps(sum, scale));
                continue;
            }
            if (l.scales == 2) {
                sum = _mm256_fmadd_ps(sum, scale, _mm256_loadu_ps(before));
            } else {
                d = _mm256_mul_ps(scale, d);
            }
            __m256 v = _mm256_fmadd_ps(sum, d, _mm256_loadu_ps(out));
            if (l.mins) {
                UNROLL for (unsigned m = 0; m < l.scales; m++) {
                    __m256 min = _mm256_loadu_ps(scales + 16 * (l.scales + m) + 8 * half);
                    const float *ds = l.scales == 1 ? &x[c * ldx].ds : &x[c * ldx].ds16[m];
                    v = _mm256_fmadd_ps(min, _mm256_broadcast_ss(ds), v);
                }
            }
            _mm256_storeu_ps(out, v);
        }
    }
}

/* One tile: n columns from y and x, 16 rows. */
typedef struct tile_job {
    float *y;
    size_t ldy;
    const uint8_t *panel;
    size_t blocks;
    const sm_act_block *x;
    size_t ldx;
    /* signed bytes: activations as int16; two scales a record: what tile_chain keeps of the first
     * half */
    uint8_t *wide;
} tile_job;
typedef void tile_fn(const tile_job *job);

INLINE void tile(sm_dtype type, unsigned n, const tile_job *job) {
    layout l = layout_of(type);
    const uint8_t *panel = job->panel;
    const sm_act_block *x = job->x, *end = x + job->blocks;
    float *y = job->y;
    size_t ldx = job->ldx, ldy = job->ldy;
#if !VNNI
    uint8_t *wide = job->wide;
    size_t ldwide = 64 * job->blocks;
#endif
    for (; x < end; x++) {
        const float *scales = (const float *)(panel + panel_codes(type));
        tile_sums sums;
        UNROLL for (unsigned i = 0; i < l.scales; i++) {
#if VNNI
            tile_dot(type, &sums, panel, x, ldx, n, i);
#else
            if (is_signed(type)) {
                tile_dot_signed(&sums, panel, wide, ldwide, n);
            } else {
                tile_dot(type, &sums, panel, x, ldx, n, i);
            }
#endif
            tile_chain(type, y, ldy, &sums, scales, x, ldx, n, i, (float *)(void *)job->wide);
        }
        panel += panel_record(type);
#if !VNNI
        wide += 64;
#endif
    }
}

#define TILE(TYPE, type, n)                            \
    static void type##_tile_##n(const tile_job *job) { \
        tile(SM_DTYPE_##TYPE, n, job);                 \
    }
#define TILES_3(TYPE, type) TILE(TYPE, type, 1) TILE(TYPE, type, 2) TILE(TYPE, type, 3)
#define TILES_4(TYPE, type) TILES_3(TYPE, type) TILE(TYPE, type, 4)
#define TILES_6(TYPE, type) TILES_4(TYPE, type) TILE(TYPE, type, 5) TILE(TYPE, type, 6)
#define UP_TO_3(TYPE, type) \
    TILES_3(TYPE, type)     \
    static tile_fn *const type##_tiles[] = {type##_tile_1, type##_tile_2, type##_tile_3};
#define UP_TO_4(TYPE, type)                                                              \
    TILES_4(TYPE, type)                                                                  \
    static tile_fn *const type##_tiles[] = {type##_tile_1, type##_tile_2, type##_tile_3, \
                                            type##_tile_4};
#define UP_TO_6(TYPE, type)                                                              \
    TILES_6(TYPE, type)                                                                  \
    static tile_fn *const type##_tiles[] = {type##_tile_1, type##_tile_2, type##_tile_3, \
                                            type##_tile_4, type##_tile_5, type##_tile_6};

/* As many as tile_cols says. */
#if VNNI
UP_TO_6(Q8_0, q8_0)
UP_TO_6(Q4_1, q4_1)
UP_TO_6(IQ2_XS, iq2_xs)
UP_TO_6(Q2_K, q2_k)
#else
UP_TO_4(Q8_0, q8_0)
UP_TO_4(Q4_0, q4_0)
UP_TO_4(Q4_1, q4_1)
UP_TO_3(Q5_0, q5_0)
UP_TO_3(Q5_1, q5_1)
UP_TO_4(Q2_K, q2_k)
UP_TO_4(NVFP4, nvfp4)
UP_TO_3(Q6_K, q6_k)
UP_TO_3(IQ2_XXS, iq2_xxs)
UP_TO_3(IQ2_XS, iq2_xs)
#endif

INLINE tile_fn *const *tiles_of(sm_dtype panel) {
    switch (panel) {
    case SM_DTYPE_Q8_0:
        return q8_0_tiles;
    case SM_DTYPE_Q4_1:
        return q4_1_tiles;
    case SM_DTYPE_IQ2_XS:
        return iq2_xs_tiles;
#if !VNNI
    case SM_DTYPE_IQ2_XXS:
        return iq2_xxs_tiles;
    case SM_DTYPE_Q6_K:
        return q6_k_tiles;
    case SM_DTYPE_Q4_0:
        return q4_0_tiles;
    case SM_DTYPE_Q5_0:
        return q5_0_tiles;
    case SM_DTYPE_Q5_1:
        return q5_1_tiles;
    case SM_DTYPE_NVFP4:
        return nvfp4_tiles;
#endif
    default: /* SM_DTYPE_Q2_K */
        return q2_k_tiles;
    }
}

/* ---- all columns over panels -------------------------------------------------------------- */

#define FEW_COLUMNS 16 /* that are in the cache without being asked for */

/* What running over panels needs to know of their kind. */
typedef struct panel_kind {
    tile_fn *const *tiles; /* by their columns - 1 */
    size_t cols;           /* most columns of a tile */
    size_t record;         /* bytes */
    bool wide;             /* activations are to be widened */
} panel_kind;

INLINE panel_kind kind_of(sm_dtype type) {
    sm_dtype panel = panel_of(type);
    return (panel_kind){tiles_of(panel), tile_cols(panel), panel_record(panel), is_signed(panel)};
}

static void widen_columns(uint8_t *wide, const sm_act_block *x, size_t ldx, size_t blocks,
                          size_t n) {
    for (size_t c = 0; c < n; c++) {
        for (size_t b = 0; b < blocks; b++, wide += 64) {
            const int8_t *q = x[c * ldx + b].q;
            store_i256(wide, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)q)));
            store_i256(wide + 32, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(q + 16))));
        }
    }
}

/* The panels of n_groups groups by ncols columns. wide: room for one tile's activations. */
static void run_tiles(panel_kind kind, float *y, size_t ldy, const uint8_t *panels, size_t n_groups,
                      size_t k, const sm_act_block *x, size_t ldx, size_t ncols, uint8_t *wide) {
    size_t blocks = k / 32;
    while (ncols > 0) {
        size_t n_tiles = (ncols + kind.cols - 1) / kind.cols;
        size_t n = (ncols + n_tiles - 1) / n_tiles; /* the last ones are of about equal size */
        if (kind.wide) {
            widen_columns(wide, x, ldx, blocks, n);
        }
        for (size_t c = n; c < 2 * n && c < ncols && ncols > FEW_COLUMNS; c++) {
            prefetch_lines((const uint8_t *)(x + c * ldx), 0, blocks * sizeof *x);
        }
        for (size_t g = 0; g < n_groups; g++) {
            const tile_job job = {
                y + SM_GROUP * g, ldy, panels + g * blocks * kind.record, blocks, x, ldx, wide};
            kind.tiles[n - 1](&job);
        }
        y += n * ldy;
        x += n * ldx;
        ncols -= n;
    }
}

static void start_at_zero(float *y, size_t ldy, size_t n_groups, size_t ncols) {
    for (size_t c = 0; c < ncols; c++) {
        memset(y + c * ldy, 0, n_groups * SM_GROUP * sizeof *y);
    }
}

/* ---- products ------------------------------------------------------------------------------ */

/* Elements that mul unpacks at a time. */
#define PIECE 256
#define MAX_PANEL_RECORD (1024 + 64)

/* Unpacks one group, or a piece of it. codes: its table, of types that have one. */
typedef const uint8_t *unpack_fn(const sm_code_table *codes, uint8_t *panel, const uint8_t *w,
                                 size_t k);
typedef void stream_fn(const sm_code_table *codes, float *y, size_t ldy, const uint8_t *w,
                       size_t group_bytes, size_t n_groups, size_t k, const sm_act_block *x,
                       size_t ldx, bool accumulate, bool ahead);

/* What is a layout's own. two: the stream of two columns, or NULL where they are many already. */
typedef struct functions {
    stream_fn *one, *two;
    unpack_fn *unpack;
    panel_kind kind;
} functions;

static void mul_columns(const functions *f, const sm_code_table *codes, float *y, size_t ldy,
                        const uint8_t *w, size_t k, const sm_act_block *x, size_t ldx,
                        size_t ncols) {
    _Alignas(64) uint8_t panel[PIECE / 32 * MAX_PANEL_RECORD];
    _Alignas(64) uint8_t wide[MAX_TILE_COLS * PIECE * 2];
    while (k > 0) {
        size_t piece = k < PIECE ? k : PIECE;
        w = f->unpack(codes, panel, w, piece);
        run_tiles(f->kind, y, ldy, panel, 1, piece, x, ldx, ncols, wide);
        x += piece / 32;
        k -= piece;
    }
}

static void mul(const functions *f, const sm_code_table *codes, float *y, size_t ldy,
                const uint8_t *w, size_t group_bytes, size_t n_groups, size_t k,
                const sm_act_block *x, size_t ldx, size_t ncols, bool accumulate, bool ahead) {
    stream_fn *const stream = ncols == 1 ? f->one : ncols == 2 ? f->two : NULL;
    if (stream) {
        stream(codes, y, ldy, w, group_bytes, n_groups, k, x, ldx, accumulate, ahead);
        return;
    }
    if (!accumulate) {
        start_at_zero(y, ldy, n_groups, ncols);
    }
    for (size_t g = 0; g < n_groups; g++) {
        mul_columns(f, codes, y + SM_GROUP * g, ldy, w + g * group_bytes, k, x, ldx, ncols);
    }
}

static void gemm(const functions *f, const sm_code_table *codes, float *y, size_t ldy,
                 const uint8_t *w, size_t group_bytes, size_t n_groups, size_t k,
                 const sm_act_block *x, size_t ldx, size_t ncols, bool accumulate,
                 uint8_t *scratch) {
    size_t panel_bytes = k / 32 * f->kind.record;
    if (!accumulate) {
        start_at_zero(y, ldy, n_groups, ncols);
    }
    for (size_t g = 0; g < n_groups; g++) {
        f->unpack(codes, scratch + g * panel_bytes, w + g * group_bytes, k);
    }
    run_tiles(f->kind, y, ldy, scratch, n_groups, k, x, ldx, ncols,
              scratch + n_groups * panel_bytes);
}

_Static_assert(SM_GEMM_GROUPS *SM_SLAB / 32 * MAX_PANEL_RECORD + MAX_TILE_COLS * SM_SLAB * 2 <=
                   SM_GEMM_SCRATCH,
               "panels and widened activations fit the scratch");

#define STREAM(TYPE, type, n)                                                                      \
    static void type##_stream_##n(const sm_code_table *codes, float *y, size_t ldy,                \
                                  const uint8_t *w, size_t group_bytes, size_t n_groups, size_t k, \
                                  const sm_act_block *x, size_t ldx, bool accumulate,              \
                                  bool ahead) {                                                    \
        for (size_t g = 0; g < n_groups; g++, w += group_bytes) {                                  \
            stream_group(SM_DTYPE_##TYPE, load_table(SM_DTYPE_##TYPE, codes), y + SM_GROUP * g,    \
                         ldy, w, k, x, ldx, n, accumulate, ahead);                                 \
        }                                                                                          \
    }

#define OF_LAYOUT(TYPE, type, two)                                                         \
    STREAM(TYPE, type, 1)                                                                  \
    static const uint8_t *type##_unpack(const sm_code_table *codes, uint8_t *panel,        \
                                        const uint8_t *w, size_t k) {                      \
        return unpack(SM_DTYPE_##TYPE, load_table(SM_DTYPE_##TYPE, codes), panel, w, k);   \
    }                                                                                      \
    static functions type##_functions(void) {                                              \
        return (functions){type##_stream_1, two, type##_unpack, kind_of(SM_DTYPE_##TYPE)}; \
    }
#define LAYOUT(TYPE, type) STREAM(TYPE, type, 2) OF_LAYOUT(TYPE, type, type##_stream_2)
/* Of types that are rare. */
#define LEAN_LAYOUT(TYPE, type) OF_LAYOUT(TYPE, type, NULL)

/* A type of that layout; codes: its table, or NULL. */
#define FUNCTIONS(layout, type, codes)                                                             \
    void LEVEL(sm_mul_##type)(float *y, size_t ldy, const void *packed, size_t group_bytes,        \
                              size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols,  \
                              bool accumulate, sm_prefetch prefetch) {                             \
        const functions f = layout##_functions();                                                  \
        mul(&f, codes, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate,        \
            prefetch != SM_PREFETCH_NONE || ncols > 1);                                            \
    }                                                                                              \
    void LEVEL(sm_gemm_##type)(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                               size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                               bool accumulate, const void *next, void *scratch) {                 \
        const functions f = layout##_functions();                                                  \
        (void)next;                                                                                \
        gemm(&f, codes, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate,       \
             scratch);                                                                             \
    }

#define PRODUCTS(TYPE, type) \
    LAYOUT(TYPE, type)       \
    FUNCTIONS(type, type, NULL)
#define LEAN_PRODUCTS(TYPE, type) \
    LEAN_LAYOUT(TYPE, type)       \
    FUNCTIONS(type, type, NULL)

PRODUCTS(Q4_0, q4_0)
PRODUCTS(Q4_1, q4_1)
PRODUCTS(Q5_0, q5_0)
PRODUCTS(Q5_1, q5_1)
PRODUCTS(Q8_0, q8_0)
PRODUCTS(Q2_K, q2_k)
PRODUCTS(Q3_K, q3_k)
PRODUCTS(Q4_K, q4_k)
PRODUCTS(Q5_K, q5_k)
PRODUCTS(Q6_K, q6_k)
LEAN_PRODUCTS(Q1_0, q1_0)
LEAN_PRODUCTS(Q2_0, q2_0)
LEAN_PRODUCTS(TQ2_0, tq2_0)

LAYOUT(IQ4_NL, iq4_nl)
FUNCTIONS(iq4_nl, iq4_nl, &SM_CODES_IQ4)
LAYOUT(MXFP4, mxfp4)
FUNCTIONS(mxfp4, mxfp4, &SM_CODES_FP4)
LEAN_LAYOUT(NVFP4, nvfp4)
FUNCTIONS(nvfp4, nvfp4, &SM_CODES_FP4)
LAYOUT(IQ4_XS, iq4_xs)
FUNCTIONS(iq4_xs, iq4_xs, &SM_CODES_IQ4)
#if VNNI
FUNCTIONS(iq4_xs, iq3_xxs, &SM_CODES_IQ3_XXS)
FUNCTIONS(iq4_xs, iq3_s, &SM_CODES_IQ3_S)
#else
LAYOUT(IQ3_S, iq3_s)
FUNCTIONS(iq3_s, iq3_xxs, &SM_CODES_IQ3_XXS)
FUNCTIONS(iq3_s, iq3_s, &SM_CODES_IQ3_S)
#endif
LAYOUT(IQ2_XXS, iq2_xxs)
FUNCTIONS(iq2_xxs, iq2_xxs, &SM_CODES_IQ2)
FUNCTIONS(iq2_xxs, iq1_s, &SM_CODES_IQ1)
LAYOUT(IQ2_XS, iq2_xs)
FUNCTIONS(iq2_xs, iq2_xs, &SM_CODES_IQ2)
FUNCTIONS(iq2_xs, iq2_s, &SM_CODES_IQ2)
FUNCTIONS(iq2_xs, iq1_m, &SM_CODES_IQ1)
