/* neon_float.c - products of the float types, and attention, which is two of them:
 * scores are a product of K tiles by queries, values one of V rows by probabilities.
 */
#include "pack.h"
#include "simd.h"

/* How weights lie in memory: w(r, k) is element k * stride + r, of F32, F16 or BF16;
 * PAIRS: element (k / 2 * stride + r) * 2 + k % 2 of BF16. */
enum { F32, F16, BF16, PAIRS };

INLINE size_t size_of(unsigned kind) {
    return kind == F32 || kind == PAIRS ? 4 : 2;
}

/* Bytes from column k to k + 1, but of PAIRS from k to k + 2. */
typedef struct matrix {
    const uint8_t *p;
    size_t step;   /* bytes */
    size_t second; /* bytes from rows 0..15 to rows 16..31 */
} matrix;

/* Rows 4 quad .. 4 quad + 3 of column k. */
INLINE float32x4_t load(unsigned kind, matrix w, size_t k, unsigned quad) {
    const uint8_t *p = w.p + quad / 4 * w.second + quad % 4 * 4 * size_of(kind);
    if (kind == PAIRS) {
        uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8(p + k / 2 * w.step));
        return vreinterpretq_f32_u32(k % 2 == 0 ? vshlq_n_u32(both, 16)
                                                : vandq_u32(both, vdupq_n_u32(0xffff0000)));
    }
    p += k * w.step;
    if (kind == F32) {
        return vreinterpretq_f32_u8(vld1q_u8(p));
    }
    if (kind == F16) {
        return load_f16(p);
    }
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

/* Column k + lane of w by element `lane` of each column of x. */
INLINE void add_column(unsigned kind, unsigned quads, unsigned n, float32x4_t y[4][8], matrix w,
                       size_t k, const float32x4_t x[4], unsigned lane) {
    UNROLL
    for (unsigned q = 0; q < quads; q++) {
        float32x4_t v = load(kind, w, k + lane, q);
        UNROLL
        for (unsigned c = 0; c < n; c++) {
            y[c][q] = fma_lane(y[c][q], v, x[c], lane);
        }
    }
}

/* 4 * quads rows by n columns: quads 2, 4 or 8, n at most 4. */
INLINE void tile(unsigned kind, unsigned quads, unsigned n, float *y, size_t ldy, matrix w,
                 size_t k, const float *x, size_t ldx, bool accumulate) {
    float32x4_t sum[4][8], v[4];
    UNROLL
    for (size_t c = 0; c < n; c++) {
        UNROLL
        for (size_t q = 0; q < quads; q++) {
            sum[c][q] = accumulate ? vld1q_f32(y + c * ldy + 4 * q) : vdupq_n_f32(0);
        }
    }
    size_t i = 0;
    for (; k - i >= 4; i += 4) {
        UNROLL
        for (size_t c = 0; c < n; c++) {
            v[c] = vld1q_f32(x + c * ldx + i);
        }
        add_column(kind, quads, n, sum, w, 0, v, 0);
        add_column(kind, quads, n, sum, w, 0, v, 1);
        add_column(kind, quads, n, sum, w, 0, v, 2);
        add_column(kind, quads, n, sum, w, 0, v, 3);
        w.p += (kind == PAIRS ? 2 : 4) * w.step;
    }
    for (size_t j = 0; i < k; i++, j++) {
        UNROLL
        for (size_t c = 0; c < n; c++) {
            v[c] = vdupq_n_f32(x[c * ldx + i]);
        }
        add_column(kind, quads, n, sum, w, j, v, 0);
    }
    UNROLL
    for (size_t c = 0; c < n; c++) {
        UNROLL
        for (size_t q = 0; q < quads; q++) {
            vst1q_f32(y + c * ldy + 4 * q, sum[c][q]);
        }
    }
}

/* 4 * quads rows by all columns. */
INLINE void rows_product(unsigned kind, unsigned quads, float *y, size_t ldy, matrix w, size_t k,
                         const float *x, size_t ldx, size_t ncols, bool accumulate) {
    unsigned half = quads == 8 ? 4 : quads; /* so that four columns fit the registers */
    size_t c = 0;
    while (ncols - c >= 2) {
        bool four = ncols - c >= 4;
        matrix part = w;
        for (unsigned q = 0; q < quads; q += half, part.p += w.second) {
            if (four) {
                tile(kind, half, 4, y + c * ldy + 4 * q, ldy, part, k, x + c * ldx, ldx,
                     accumulate);
            } else {
                tile(kind, half, 2, y + c * ldy + 4 * q, ldy, part, k, x + c * ldx, ldx,
                     accumulate);
            }
        }
        c += four ? 4 : 2;
    }
    if (c < ncols) {
        tile(kind, quads, 1, y + c * ldy, ldy, w, k, x + c * ldx, ldx, accumulate);
    }
}

/* ---- products with weights ---------------------------------------------------------------- */

INLINE void mul(unsigned kind, float *y, size_t ldy, const void *packed, size_t group_bytes,
                size_t n_groups, size_t k, const float *x, size_t ldx, size_t ncols,
                bool accumulate) {
    matrix w = {packed, SM_GROUP * size_of(kind), group_bytes};
    size_t g = 0;
    for (; n_groups - g >= 2; g += 2) {
        rows_product(kind, 8, y + SM_GROUP * g, ldy, w, k, x, ldx, ncols, accumulate);
        w.p += 2 * group_bytes;
    }
    if (g < n_groups) {
        rows_product(kind, 4, y + SM_GROUP * g, ldy, w, k, x, ldx, ncols, accumulate);
    }
}

/* Unpacks to f32 in scratch, so that the conversion is done once for all columns. */
INLINE void gemm(unsigned kind, float *y, size_t ldy, const void *packed, size_t group_bytes,
                 size_t n_groups, size_t k, const float *x, size_t ldx, size_t ncols,
                 bool accumulate, float *scratch) {
    for (size_t g = 0; g < n_groups; g++) {
        matrix w = {(const uint8_t *)packed + g * group_bytes, SM_GROUP * size_of(kind), 0};
        for (size_t i = 0; i < k; i++) {
            for (unsigned q = 0; q < 4; q++) {
                vst1q_f32(scratch + (g * k + i) * SM_GROUP + 4 * q, load(kind, w, i, q));
            }
        }
    }
    sm_mul_f32_neon(y, ldy, scratch, k * SM_GROUP * sizeof(float), n_groups, k, x, ldx, ncols,
                    accumulate, false);
}
_Static_assert(SM_GEMM_GROUPS *SM_SLAB *SM_GROUP * sizeof(float) <= SM_GEMM_SCRATCH,
               "unpacked weights fit the scratch");

#define MUL(KIND, type)                                                                           \
    void sm_mul_##type##_neon(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                              size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                              bool accumulate, sm_prefetch prefetch) {                            \
        (void)prefetch;                                                                           \
        mul(KIND, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate);           \
    }
#define GEMM(KIND, type)                                                                           \
    void sm_gemm_##type##_neon(float *y, size_t ldy, const void *packed, size_t group_bytes,       \
                               size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols, \
                               bool accumulate, const void *next, void *scratch) {                 \
        (void)next;                                                                                \
        gemm(KIND, y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate, scratch);  \
    }
MUL(F32, f32)
MUL(F16, f16)
MUL(PAIRS, bf16)
GEMM(F16, f16)
GEMM(PAIRS, bf16)

void sm_gemm_f32_neon(float *y, size_t ldy, const void *packed, size_t group_bytes, size_t n_groups,
                      size_t k, const void *x, size_t ldx, size_t ncols, bool accumulate,
                      const void *next, void *scratch) {
    (void)next, (void)scratch;
    sm_mul_f32_neon(y, ldy, packed, group_bytes, n_groups, k, x, ldx, ncols, accumulate, false);
}

/* ---- attention ------------------------------------------------------------------------------ */

/* A K tile is a packed group whose rows are tokens; only BF16 is laid out otherwise. */
INLINE void scores(unsigned kind, float *s, size_t lds, const float *q, size_t ldq, size_t nq,
                   const void *k, size_t n_tiles, size_t head_dim) {
    mul(kind, s, lds, k, head_dim * SM_GROUP * size_of(kind), n_tiles, head_dim, q, ldq, nq, false);
}

INLINE void values(unsigned kind, float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                   const void *v, size_t n_tokens, size_t head_dim) {
    matrix w = {v, head_dim * size_of(kind), 16 * size_of(kind)};
    size_t d = 0;
    for (; head_dim - d >= 32; d += 32, w.p += 32 * size_of(kind)) {
        rows_product(kind, 8, o + d, ldo, w, n_tokens, p, ldp, nq, false);
    }
    if (head_dim - d >= 16) {
        rows_product(kind, 4, o + d, ldo, w, n_tokens, p, ldp, nq, false);
        d += 16;
        w.p += 16 * size_of(kind);
    }
    for (; head_dim - d >= 8; d += 8, w.p += 8 * size_of(kind)) {
        rows_product(kind, 2, o + d, ldo, w, n_tokens, p, ldp, nq, false);
    }
}

/* To the type of the cache, as kernels.h says for each. */
INLINE uint16x4_t round_to(unsigned kind, float32x4_t x) {
    if (kind == F16) {
        const float32x4_t zero = vsubq_f32(x, x); /* NaN where x is not finite, as in ref */
        x = vmaxq_f32(vminq_f32(x, vdupq_n_f32(65504.0f)), vdupq_n_f32(-65504.0f));
        x = vsubq_f32(x, zero);
        return vreinterpret_u16_f16(vcvt_f16_f32(x));
    }
    uint32x4_t bits = vreinterpretq_u32_f32(x);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vshrn_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
}
INLINE void store_k(unsigned kind, void *tile, size_t lane, const float *k, size_t head_dim) {
    uint16_t *to = (uint16_t *)tile + lane;
    for (size_t d = 0; d < head_dim; d += 4, to += 4 * SM_GROUP) {
        uint16x4_t h = round_to(kind, vld1q_f32(k + d));
        vst1_lane_u16(to, h, 0);
        vst1_lane_u16(to + SM_GROUP, h, 1);
        vst1_lane_u16(to + 2 * SM_GROUP, h, 2);
        vst1_lane_u16(to + 3 * SM_GROUP, h, 3);
    }
}
INLINE void store_v(unsigned kind, void *tile, size_t lane, const float *v, size_t head_dim) {
    uint16_t *to = (uint16_t *)tile + lane * head_dim;
    for (size_t d = 0; d < head_dim; d += 4) {
        vst1_u16(to + d, round_to(kind, vld1q_f32(v + d)));
    }
}

#define PRODUCTS(KIND, type)                                                                       \
    void sm_attn_scores_##type##_neon(float *s, size_t lds, const void *q, size_t ldq, size_t nq,  \
                                      const void *k, size_t n_tiles, size_t head_dim) {            \
        scores(KIND, s, lds, q, ldq, nq, k, n_tiles, head_dim);                                    \
    }                                                                                              \
    void sm_attn_values_##type##_neon(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                      const void *v, size_t n_tokens, size_t head_dim) {           \
        values(KIND, o, ldo, p, ldp, nq, v, n_tokens, head_dim);                                   \
    }
#define STORES(KIND, type)                                                                   \
    void sm_store_k_##type##_neon(void *tile, size_t lane, const void *k, size_t head_dim) { \
        store_k(KIND, tile, lane, k, head_dim);                                              \
    }                                                                                        \
    void sm_store_v_##type##_neon(void *tile, size_t lane, const void *v, size_t head_dim) { \
        store_v(KIND, tile, lane, v, head_dim);                                              \
    }
PRODUCTS(F32, f32)
PRODUCTS(F16, f16)
PRODUCTS(BF16, bf16)
STORES(F16, f16)
STORES(BF16, bf16)
