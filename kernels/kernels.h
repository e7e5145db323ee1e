/* kernels.h - the table of compute kernels and the contract of each.
 *
 * A leaf: no memory, threads, errors, files. Kernels loop over data whose
 * shapes the layer above has checked; that layer also shares work out among
 * threads and owns all buffers.
 *
 * Common ground rules
 *  - Weights reach the kernels packed: 16 rows ("a group") side by side, so that
 *    vector lanes are output rows and every output element is one sequential
 *    chain over K. A matrix-vector product is therefore one column of the
 *    matrix-matrix product, bit for bit, and nothing depends on how rows or
 *    columns were grouped. The packed layout (pack.h) is the same on every level.
 *  - Output buffers have room for whole groups: ldy >= 16 * groups. No pointer is
 *    assumed to be aligned beyond its element (use unaligned loads and stores: they
 *    cost nothing where the data is aligned, as big buffers are); scratch and
 *    sm_act_block arrays are 64-byte aligned.
 *  - Finite input gives finite output unless a result exceeds the f32 range.
 *  - The order of f32 operations per output element is part of the contract:
 *    it is the same for every level for the quantized products, and the same
 *    for every ncols, group and slab split within one level everywhere.
 */
#ifndef SM_KERNELS_H
#define SM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocks.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kernels read little-endian files in place"
#endif

#define SM_GROUP 16 /* rows packed side by side */
/* K columns that one gemm call handles at most; a slab starts at a multiple of it. Multiple of
 * every block size. */
#define SM_SLAB 512
#define SM_GEMM_GROUPS 2 /* groups that one gemm call handles at most */
#define SM_MUL_COLS 8    /* columns that one mul call handles at most */

/* A 32-element block of quantized activations: x[i] ~ d * q[i], |q| <= 127.
 *   inv = (127 - j) * (1 / a);  d = a * (1 / (127 - j)), a = max|x|
 *   q = x * inv, rounded once, to the nearest even integer
 * Of j = 0..7 it has the one with the smallest squared error (the first of equals): rounding
 * errors differ at random between them, and the best of eight has a fifth less than the first.
 * The errors are told in 256ths of a step, by integers of 16 bits:
 *   y = x * (32512 * (1 / a)), rounded like q       steps of j = 0 (32512 = 127 * 256)
 *   z = (y * R[j] + 2^14) >> 15, R[j] = 2^15 (127 - j) / 127 to the nearest integer: steps of j;
 *       for j = 0: z = y
 *   r = the low byte of z, signed: how far z is from a multiple of 256
 *   error of j = (float)(sum of r * r) * (1 / (127 - j)^2), each rounded once
 * A block with a < 1e-30 has d = 0 and q = 0. */
typedef struct sm_act_block {
    int8_t q[32];
    float d;
    float ds;          /* d * sum(q), for types with a minimum per 32 */
    float ds16[2];     /* d * sum of each half, for types with a minimum per 16 */
    int32_t nsum;      /* -sum(q): folds the offset of unsigned weight codes into the int sum */
    int32_t nsum16[2]; /* the same for each half */
    int32_t nsum128;   /* 128 * nsum, for bytes made unsigned */
} sm_act_block;
_Static_assert(sizeof(sm_act_block) == 64, "one cache line");

/* Scratch that a gemm call may use (caller's, 64-byte aligned, private to the
 * calling thread): two groups of one slab unpacked to bytes, scales and minima
 * as f32 per 16, or the same as f32. */
#define SM_GEMM_SCRATCH (SM_GEMM_GROUPS * SM_SLAB * SM_GROUP * 4 + 4096)

/* How mul asks for weights ahead of their use. */
typedef enum sm_prefetch {
    SM_PREFETCH_NEAR, /* from a cache */
    SM_PREFETCH_FAR,  /* from memory */
    SM_PREFETCH_NONE, /* one column: not at all; more, which read slowly, are asked for */
} sm_prefetch;

/* What suits this CPU: NONE where it asks for streams better by itself. in_memory: the weights do
 * not fit the last-level cache. */
sm_prefetch sm_prefetch_for(bool in_memory);
/* Whether this CPU takes vectors of 512 bits through pipes of 256 (AMD's family 19h), where what
 * a loop needs beside its products costs less. */
bool sm_pipes_are_half(void);

/* ---- products: y[c][r] = sum over k of w[r][k] * x[c][k] ------------------------
 *
 * Quantized types (x: sm_act_block[c * ldx + k / 32], K a multiple of the block):
 *   per 32-block in order of K, per element:
 *     one scale per 32 (Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL Q4_K Q5_K IQ4_XS MXFP4
 *     IQ2_XXS IQ3_XXS IQ3_S IQ1_S TQ1_0 TQ2_0 Q1_0 Q2_0):
 *       s  = exact int32 sum of w_code * q (offsets folded in)
 *       y  = fma((float)s, ws * d, y)           ws: weight scale as f32, product rounded
 *       with a minimum: y = fma(wm, ds, y)      wm: +m (Q4_1, Q5_1), -(dmin*m) (Q4_K, Q5_K)
 *     one scale per 16 (Q2_K Q3_K Q6_K IQ2_XS IQ2_S IQ1_M NVFP4), s0 and s1 of the two halves:
 *       y = fma(fma((float)s1, ws1, (float)s0 * ws0), d, y)
 *       with minima (Q2_K): then y = fma(wm0, ds16[0], y); y = fma(wm1, ds16[1], y)
 *     ws = d_super * (float)scale_code, one rounding (d_super: f16 -> f32, times the power of two
 *     of the type's table of codes where it has one); of MXFP4 2^(e - 128), 0 for e = 0 (of weights
 *     below 2^-124) and infinite for 255; of NVFP4 sm_ue4m3_to_f32; of types with one factor in a
 *     block that factor.
 *   Each fma has one rounding (fmaf); so all levels agree bit for bit.
 * Float types (x: float[c * ldx + k], any K):
 *   y = fma(w, x, y) for k in order, w converted to f32: exactly, F64 to the nearest.
 *
 * Float types with input rounded to bf16 (x: uint16_t[c * ldx + k], any K; mul_rounded):
 *   the weights are rounded to bf16, too (nearest even), and y is one chain over pairs of k in
 *   order, a pair's two products added to y in f32 as the CPU's instruction does it: x86's
 *   vdpbf16ps adds that of the odd element first, by fma, counts subnormals as 0 and ignores
 *   the rounding mode. An odd k ends with half a pair. The same for every ncols, group and slab
 *   split (slabs are even); CPUs of one level agree as far as their instructions do.
 *
 * `packed` points at the first group; group g begins at packed + g * group_bytes
 * (which spans all of K for a stored matrix, or one slab for a scratch copy).
 * With accumulate the chain continues from y, otherwise it starts at +0.
 * prefetch: as sm_prefetch_for told; it changes speed only.
 */
typedef void sm_mul_fn(float *y, size_t ldy, const void *packed, size_t group_bytes,
                       size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols,
                       bool accumulate, sm_prefetch prefetch);
/* Same result for any ncols, for at most SM_GEMM_GROUPS groups and SM_SLAB of K:
 * worth it from some tens of columns on, where unpacking pays. next: where the weights of the
 * following call begin, of as many groups as far apart, or NULL if they are not known to be there;
 * a kernel may ask for them meanwhile. */
typedef void sm_gemm_fn(float *y, size_t ldy, const void *packed, size_t group_bytes,
                        size_t n_groups, size_t k, const void *x, size_t ldx, size_t ncols,
                        bool accumulate, const void *next, void *scratch);
/* Packs one group: nrows (1..16) rows of k elements from src (native blocks, rows
 * row_bytes apart) into dst (sm_packed_bytes(type, k)); rows missing to 16 are zero weights.
 * k may start at any multiple of the type's super-block inside the rows. */
typedef void sm_pack_fn(void *dst, const void *src, size_t row_bytes, size_t nrows, size_t k);
/* One native row to f32. k is a multiple of the block size. */
typedef void sm_dequantize_fn(float *y, const void *row, size_t k);

/* A row of k f32 to native blocks; k is a multiple of the block size. importance: [k], none
 * negative, how much the square of each element's error counts, or NULL: all the same. The
 * bytes are the same on every level. Q8_0 and the float types leave importance out of
 * account. Without importance Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q1_0 give the bytes of the format's
 * reference encoder; the other types, and these with importance, search for the least sum of
 * importance * sqrt(s2 + x^2) * error^2, s2 being the mean of x^2 over the block; those of 4-bit
 * floats and of one or two bits with one factor for the least sum of importance * error^2.
 * A block of a quantized type that holds an infinity or a NaN, or values so large that the
 * factors of the block cannot express them, gets factors that decode to NaNs. */
typedef void sm_encode_fn(void *row, const float *x, const float *importance, size_t k);

typedef struct sm_type_kernels {
    sm_pack_fn *pack;
    sm_mul_fn *mul;
    sm_gemm_fn *gemm;
    /* Of input rounded to bf16: NULL but for F16 and BF16 on levels with instructions for it */
    sm_mul_fn *mul_rounded;
    sm_gemm_fn *gemm_rounded;
    sm_dequantize_fn *dequantize;
    sm_encode_fn *encode;
} sm_type_kernels;

/* ---- attention over one KV block ---------------------------------------------------
 * K and V of one kv head lie in tiles of 16 tokens, sm_kv_tile_bytes(type, head_dim) each.
 * head_dim is a multiple of 8 (of 16 is the fast case). Tokens of a tile that are not valid
 * are arbitrary finite values.
 *
 * f32, f16, bf16: a K tile is [head_dim][16 tokens], a V tile [16 tokens][head_dim].
 * q8_0: int8 codes and an f16 scale per token and 32 elements of the head (fewer in the last
 * block where head_dim is no multiple of 32), element = scale * code, |code| <= 127:
 *   K tile  codes [head_dim / 4][16 tokens][4 elements], scales [head_dim / 32, up][16 tokens]
 *   V tile  codes [4][head_dim][4 tokens], scales as in K
 * q4_0, iq4_nl, q5_0: numbers c of 4 bits that stand for the codes c - 8 and SM_IQ4_VALUES[c], or
 * of 5 bits for c - 16. Two vectors of q8_0's codes are one of bytes: the first one's numbers are
 * the lower halves, the second one's the upper; a number's fifth bit lies apart:
 *   K tile  [head_dim / 8][16 tokens][4 elements and the 4 after them]
 *   V tile  [2][head_dim][4 tokens and the 4 after them]
 *   q5_0    bits, as many and in the order of q8_0's codes; the scales follow
 * Queries come quantized, as sm_act_block[head_dim / 32, up] with zero codes past head_dim; so does
 * what q8_0 stores, and what the others store as blocks of the weight type of that name
 * (sm_encode_fn). For f32, f16 and bf16 all are float[head_dim]. */
#define SM_KV_BLOCK 256 /* tokens per block; blocks start at multiples of it */
enum {
    SM_KV_F32,
    SM_KV_F16,
    SM_KV_BF16,
    SM_KV_Q8_0, /* the first of those with scales */
    SM_KV_Q4_0,
    SM_KV_Q5_0,
    SM_KV_IQ4_NL,
    SM_KV_TYPES
};
#define SM_KV_SCALES(head_dim) (((head_dim) + 31) / 32) /* of one token */
static inline bool sm_kv_is_quantized(uint32_t type) {
    return type >= SM_KV_Q8_0;
}

/* Bits of an element, its scale not counted. */
static inline size_t sm_kv_bits(uint32_t type) {
    static const uint8_t bits[SM_KV_TYPES] = {32, 16, 16, 8, 4, 5, 4};
    return bits[type];
}
/* Where the scales of a tile begin. */
static inline size_t sm_kv_scales_at(uint32_t type, size_t head_dim) {
    return 2 * head_dim * sm_kv_bits(type);
}
/* Bytes of a K or V tile. */
static inline size_t sm_kv_tile_bytes(uint32_t type, size_t head_dim) {
    return sm_kv_scales_at(type, head_dim) +
           (sm_kv_is_quantized(type) ? 16 * 2 * SM_KV_SCALES(head_dim) : 0);
}

/* s[i][t] = sum over d in order of fma(q[i][d], k[t][d]), for nq queries and n_tiles * 16
 * tokens. lds >= 16 * n_tiles; ldq in floats, or in blocks (sm_act_block) for quantized types,
 * where
 *   per block b of 32 elements, in order, from +0:
 *   s = fma((float)(exact int32 sum of code * q), scale * d, s)    product rounded */
typedef void sm_attn_scores_fn(float *s, size_t lds, const void *q, size_t ldq, size_t nq,
                               const void *k, size_t n_tiles, size_t head_dim);
/* o[i][d] = sum over t < n_tokens in order of fma(p[i][t], v[t][d]) from +0. p >= 0. With
 * quantized types weights are rounded to 15 bits of the largest, per query and block of 32
 * elements:
 *   w[t] = p[t] * scale[t];  top = max |w|;  P[t] = w[t] * (32639 / top) to nearest even
 *   o[d] = (float)(exact int32 sum over t of P[t] * code[t][d]) * (top / 32639)
 *   and o = 0 where top < 1e-30, but NaN where one of the scales is. (32639 = 127 * 256 + 127: both
 * bytes fit 8 bits with sign.) */
#define SM_KV_WEIGHT_MAX 32639
typedef void sm_attn_values_fn(float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                               const void *v, size_t n_tokens, size_t head_dim);
/* Writes one token's vector as token `lane` of a tile; nothing else of the tile changes. f16
 * saturates at +-65504, and is NaN where the vector is not finite; bf16 rounds to nearest even;
 * q8_0 keeps the codes and rounds d to f16 as f16 does, the other types keep their blocks' numbers
 * and scales. */
typedef void sm_store_k_fn(void *tile, size_t lane, const void *k, size_t head_dim);
typedef void sm_store_v_fn(void *tile, size_t lane, const void *v, size_t head_dim);

typedef struct sm_kv_kernels {
    sm_attn_scores_fn *scores;
    sm_attn_values_fn *values;
    sm_store_k_fn *store_k;
    sm_store_v_fn *store_v;
} sm_kv_kernels;

/* ---- tiles of f32 matrix products (training) ---------------------------------------
 *
 * A product C = A * B is cut into tiles of at most mr x nr; the tile kernel reads a panel
 * of mr rows of A and one of nr columns of B, both running along k. A panel is `width`
 * (mr or nr) elements wide and k deep:
 *   element_bytes 4   [k][width] f32
 *   element_bytes 2   [(k+1)/2][width][2] bf16, an odd tail padded with 0
 * so sm_panel_bytes(width, k, element_bytes) bytes. Shape and layout belong to the level.
 * With SM_TILE_BF16 the elements are rounded to bf16 (nearest even) and their products,
 * which are exact in f32, summed in f32; levels without instructions for that keep the
 * rounded values as f32. Subnormal elements may count as 0 there. */
enum { SM_TILE_F32, SM_TILE_BF16, SM_TILE_TYPES };

/* c[i * ldc + j] = (accumulate ? c[i * ldc + j] : 0) + s for i < m <= mr, j < n <= nr, with
 * s = sum over l < k of a(i, l) * b(l, j): one chain in order of l (or of pairs of l), fused
 * or not as the level has it, the same for every m and n. Nothing else of c is touched. */
typedef void sm_tile_fn(float *c, size_t ldc, const void *a, const void *b, size_t k, size_t m,
                        size_t n, bool accumulate);
/* Writes the panels of n rows (columns) of k elements, ceil(n / width) of them one after
 * another, width being mr or nr; elements missing to a whole panel are 0. Element (i, l) is
 *   rows     src[l * ld + i]
 *   columns  src[i * ld + l]
 * Several panels at once read longer pieces of src. */
typedef void sm_panel_fn(void *panels, size_t width, const float *src, size_t ld, size_t n,
                         size_t k);

typedef struct sm_tile_kernels {
    sm_tile_fn *product;
    sm_panel_fn *rows, *columns;
    uint16_t mr, nr;
    uint16_t kc; /* depth of panels up to which a tile runs best; even */
    uint16_t element_bytes;
} sm_tile_kernels;

static inline size_t sm_panel_bytes(size_t width, size_t k, size_t element_bytes) {
    return width * (element_bytes == 2 ? k + k % 2 : k) * element_bytes;
}

/* ---- row operations ------------------------------------------------------------------ */

/* k a multiple of 32. A block with max|x| < 1e-30 counts as a block of zeros (127 / max|x|
 * would leave the f32 range). One that holds what is not finite has codes 0 and NaN for d, ds and
 * ds16. The bits are the same on every level. */
typedef void sm_quantize_fn(sm_act_block *out, const float *x, size_t k);
/* y = x as bf16, to nearest even; magnitudes above the largest bf16 become infinite, subnormals
 * may become 0. n any. */
typedef void sm_round_bf16_fn(uint16_t *y, const float *x, size_t n);
/* y = x / sqrt(mean(x^2) + eps) * w; w NULL: all ones. y may be x. n any. The
 * sum of squares is taken in a fixed order of the level. */
typedef void sm_rms_norm_fn(float *y, const float *x, const float *w, size_t n, float eps);
/* y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * w + b; w NULL: all ones, b NULL: zeros.
 * y may be x. n any. Sums in a fixed order of the level. */
typedef void sm_layer_norm_fn(float *y, const float *x, const float *w, const float *b, size_t n,
                              float eps);
typedef void sm_add_fn(float *y, const float *a, const float *b, size_t n); /* y may be a or b */
/* Of all activations: y may be gate; up NULL: ones.
 * y = silu(gate) * up, silu(x) = x / (1 + exp(-x)). Vector exp, see below. */
typedef void sm_silu_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* y = gelu(gate) * up by the tanh form (arXiv:1606.08415): with z = sqrt(2/pi) (x + 0.044715 x^3),
 *   gelu(x) = x/2 (1 + tanh(z)) = x / (1 + exp(-2 z)). */
typedef void sm_gelu_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* The same by its definition, gelu(x) = x P(x), P(x) = erfc(-x / sqrt 2) / 2, the normal
 * distribution's. */
typedef void sm_gelu_erf_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* y = max(gate, 0)^2 * up (arXiv:2109.08668) */
typedef void sm_relu2_mul_fn(float *y, const float *gate, const float *up, size_t n);
/* y = cap * tanh(scale * x / cap), within 1e-6 * cap; y may be x. NaN where x is not finite: what
 * damaged weights give must not look like a large number that was capped. */
typedef void sm_soft_cap_fn(float *y, const float *x, size_t n, float scale, float cap);
/* y[i] = scale * x[i] + slope * (first + i), each operation rounded by itself: scores with a bias
 * by distance (ALiBi, arXiv:2108.12409). |first| + n at most 2^24; y may be x. */
typedef void sm_add_slope_fn(float *y, const float *x, size_t n, float scale, float slope,
                             float first);
/* y = x within -limit..limit; NaN where x is not finite, as of soft_cap. y may be x. */
typedef void sm_clamp_fn(float *y, const float *x, size_t n, float limit);
/* Rotates n_rot/2 pairs of one head: (x[2i], x[2i+1]) when neox is false,
 * (x[i], x[i + n_rot/2]) when true; by cos[i], sin[i]: a' = a*c - b*s with the
 * products fused as fma(a, c, -(b*s)), b' = fma(a, s, b*c). */
typedef void sm_rope_fn(float *x, const float *cos, const float *sin, size_t n_rot, bool neox);
/* In place over s[0..n): s = exp(scale * s - m) with m = max(scale * s); stores m and
 * the sum l (fixed order). s[n..n16) is set to 0, n16 = n rounded up to 16. n >= 1. With scale > 0
 * some of s, but not all, may be -INFINITY: they become 0. */
typedef void sm_softmax_block_fn(float *s, size_t n, float scale, float *m, float *l);
/* Online merge of a block's (m, l, o[n]) into (M, L, O[n]):
 * M' = max(M, m); a = exp(M - M'), b = exp(m - M'); O = fma(o, b, O*a); L = fma(l, b, L*a).
 * M starts at -INFINITY with L = 0, O = 0 (a is then 0). */
typedef void sm_attn_merge_fn(float *O, float *M, float *L, const float *o, float m, float l,
                              size_t n);
typedef void sm_scale_fn(float *y, const float *x, float a, size_t n); /* y = a * x; y may be x */
/* Index of the first largest element; n >= 1; NaN never wins unless all are (then 0). */
typedef size_t sm_argmax_fn(const float *x, size_t n);
/* sum of exp((double or f32) x - m) in a fixed order, as double. */
typedef double sm_sum_exp_fn(const float *x, size_t n, float m);

/* ---- choosing tokens: no NaN anywhere; what has no sum is the same on every level ---------- */

/* out[j] = the largest of x[j * block .. (j + 1) * block) and before n; block is a multiple of
 * 64. */
typedef void sm_block_max_fn(float *out, const float *x, size_t n, size_t block);
/* The places of those with x >= least, ascending, to index[]; how many. */
typedef size_t sm_select_fn(uint32_t *index, const float *x, size_t n, float least);
/* y = x where mask has a bit (bit i%32 of word i/32), else -INFINITY. y may be x. */
typedef void sm_mask_fn(float *y, const float *x, const uint32_t *mask, size_t n);
/* e = exp((x - m) * scale); their sum as sum_exp has it, and its bits where scale is 1. m >= x,
 * scale > 0 finite, x may be -INFINITY. e and x do not overlap. */
typedef double sm_weigh_fn(float *e, const float *x, size_t n, float m, float scale);

/* ---- optimizer updates (training) --------------------------------------------------------
 * Element by element, each operation rounded on its own (no fused ones), so every level gives
 * the same bits. g is the gradient times grad_scale. `decay` is lr * weight_decay, 0 for none. */
typedef struct sm_update {
    float grad_scale;
    float lr;
    float decay;
    float beta1, beta2;
    float rest1, rest2;       /* 1 - beta1, 1 - beta2, rounded once from double */
    float correct1, correct2; /* AdamW: 1 / (1 - beta^t), likewise */
    float eps;
} sm_update;

/* m = beta1*m + rest1*g; v = beta2*v + rest2*g*g (left to right);
 * p = p - decay*p - lr * (m*correct1) / (sqrt(v*correct2) + eps) */
typedef void sm_adamw_fn(float *p, const float *g, float *m, float *v, size_t n,
                         const sm_update *u);
/* p = p - decay*p - lr * sign(beta1*m + rest1*g), sign(0) = 0; m = beta2*m + rest2*g */
typedef void sm_lion_fn(float *p, const float *g, float *m, size_t n, const sm_update *u);
/* m = beta1*m + g; p = p - decay*p - lr*m */
typedef void sm_sgd_fn(float *p, const float *g, float *m, size_t n, const sm_update *u);

/* ---- gradients of row operations ---------------------------------------------------------
 * d… is the gradient of the loss with respect to …. Sums run in a fixed order of the level. */

/* Of y = rms_norm(x, w) with r = 1 / sqrt(mean(x^2) + eps):
 *   g = r * (w * dy - x * r^2 * mean(w * dy * x));   dx = g, or dx += g where accumulate
 * Returns r. (The gain's gradient is dw += dy * x * r over the rows: add_product.) dx may be
 * dy unless accumulate. w NULL: ones. */
typedef float sm_rms_norm_grad_fn(float *dx, const float *dy, const float *x, const float *w,
                                  size_t n, float eps, bool accumulate);
/* The same of y = layer_norm(x, w, b), with m = mean(x), r = 1 / sqrt(mean((x - m)^2) + eps),
 *   g = r * (w * dy - mean(w * dy) - (x - m) * r^2 * mean(w * dy * (x - m)))
 * Stores m. (The gain's gradient is dw += dy * (x - m) * r: add_centered.) */
typedef float sm_layer_norm_grad_fn(float *dx, const float *dy, const float *x, const float *w,
                                    size_t n, float eps, bool accumulate, float *m);
/* Of y = silu(gate) * up with s = 1 / (1 + exp(-gate)):
 *   dgate = dy * up * s * (1 + gate * (1 - s));  dup = dy * gate * s;  and y again
 * dgate or dup may be dy; y is none of the others. So of all activations; up NULL: ones, and dup is
 * not written. */
typedef void sm_silu_mul_grad_fn(float *dgate, float *dup, float *y, const float *dy,
                                 const float *gate, const float *up, size_t n);
/* The same of y = gelu(gate) * up: with s = 1 / (1 + exp(-2 z)), z' = sqrt(2/pi) (1 + 3 * 0.044715
 * gate^2): dgate = dy * up * (s + 2 gate s (1 - s) z');  dup = dy * gate * s;  and y again. */
typedef void sm_gelu_mul_grad_fn(float *dgate, float *dup, float *y, const float *dy,
                                 const float *gate, const float *up, size_t n);
/* Of y = gelu_erf(gate) * up: dgate = dy * up * (P + gate exp(-gate^2 / 2) / sqrt(2 pi)). */
typedef void sm_gelu_erf_mul_grad_fn(float *dgate, float *dup, float *y, const float *dy,
                                     const float *gate, const float *up, size_t n);
/* Of y = max(gate, 0)^2 * up: dgate = dy * up * 2 max(gate, 0). */
typedef void sm_relu2_mul_grad_fn(float *dgate, float *dup, float *y, const float *dy,
                                  const float *gate, const float *up, size_t n);
/* Of y = cap * tanh(scale * x / cap): dy *= scale * (1 - (y / cap)^2), which makes it dx. */
typedef void sm_soft_cap_grad_fn(float *dy, const float *y, size_t n, float scale, float cap);
/* Of y = clamp(x): dy becomes dx, which is 0 where x was outside. */
typedef void sm_clamp_grad_fn(float *dy, const float *x, size_t n, float limit);
/* Of one row of p = softmax(scale * s) over keys, in place: s becomes p = exp(scale * s - lse),
 * dp becomes ds = scale * p * (dp - delta); delta = sum(p * dp) of the whole row. */
typedef void sm_softmax_grad_fn(float *s, float *dp, size_t n, float scale, float lse, float delta);
/* y = a * exp(y - m) */
typedef void sm_exp_scale_fn(float *y, float m, float a, size_t n);
/* y += a * x * z; z NULL: y += a * x */
typedef void sm_add_product_fn(float *y, const float *x, const float *z, float a, size_t n);
/* y += a * x * (z - m) */
typedef void sm_add_centered_fn(float *y, const float *x, const float *z, float m, float a,
                                size_t n);
typedef float sm_dot_fn(const float *x, const float *y, size_t n);

/* exp in kernels: relative error <= 2e-7 in [-87, 88]; below -87.3 gives 0; above 88 gives
 * at least exp(88), perhaps infinity; never NaN for finite input or -INFINITY. */

/* ---- the table ------------------------------------------------------------------------- */

typedef struct sm_kernels {
    uint32_t level;                       /* SM_LEVEL_… of smallmind/types.h */
    bool half_pipes;                      /* what sm_pipes_are_half said */
    sm_type_kernels type[SM_DTYPE_COUNT]; /* entries with mul == NULL cannot be computed */
    sm_kv_kernels kv[SM_KV_TYPES];
    sm_tile_kernels tile[SM_TILE_TYPES];
    sm_quantize_fn *quantize;
    sm_round_bf16_fn *round_bf16;
    sm_rms_norm_fn *rms_norm;
    sm_layer_norm_fn *layer_norm;
    sm_add_fn *add;
    sm_silu_mul_fn *silu_mul;
    sm_gelu_mul_fn *gelu_mul;
    sm_gelu_erf_mul_fn *gelu_erf_mul;
    sm_relu2_mul_fn *relu2_mul;
    sm_soft_cap_fn *soft_cap;
    sm_add_slope_fn *add_slope;
    sm_clamp_fn *clamp;
    sm_rope_fn *rope;
    sm_softmax_block_fn *softmax_block;
    sm_attn_merge_fn *attn_merge;
    sm_scale_fn *scale;
    sm_argmax_fn *argmax;
    sm_sum_exp_fn *sum_exp;
    sm_block_max_fn *block_max;
    sm_select_fn *select;
    sm_mask_fn *mask;
    sm_weigh_fn *weigh;
    sm_adamw_fn *adamw;
    sm_lion_fn *lion;
    sm_sgd_fn *sgd;
    sm_rms_norm_grad_fn *rms_norm_grad;
    sm_layer_norm_grad_fn *layer_norm_grad;
    sm_silu_mul_grad_fn *silu_mul_grad;
    sm_gelu_mul_grad_fn *gelu_mul_grad;
    sm_gelu_erf_mul_grad_fn *gelu_erf_mul_grad;
    sm_relu2_mul_grad_fn *relu2_mul_grad;
    sm_soft_cap_grad_fn *soft_cap_grad;
    sm_clamp_grad_fn *clamp_grad;
    sm_softmax_grad_fn *softmax_grad;
    sm_exp_scale_fn *exp_scale;
    sm_add_product_fn *add_product;
    sm_add_centered_fn *add_centered;
    sm_dot_fn *dot;
} sm_kernels;

/* The table of a level this CPU has (sm_level_best); filled in once, thread-safe.
 * NULL if the CPU lacks the level or the build left it out. */
const sm_kernels *sm_kernels_get(uint32_t level);
/* Whether the build has it, whatever this CPU has. */
bool sm_level_is_built(uint32_t level);
/* The next lower level of the same family of CPUs; SM_LEVEL_SCALAR ends each family. */
uint32_t sm_level_below(uint32_t level);

#endif
