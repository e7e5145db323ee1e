/* attention.c - scores and weighted values over one block of the KV cache, spelled out,
 * for each type the cache can have. */
#include <math.h>

#include "table.h"

static inline float load_f32(float x) {
    return x;
}
static inline float store_f32(float x) {
    return x;
}

static inline float load_f16(uint16_t x) {
    return sm_f16_to_f32(x);
}
static inline uint16_t store_f16(float x) {
    /* saturate: an infinity in the cache would make every later token NaN. One that was there
     * before is to do that: x - x is 0 or NaN */
    return sm_f32_to_f16((x > 65504 ? 65504 : x < -65504 ? -65504 : x) - (x - x));
}

static inline float load_bf16(uint16_t x) {
    return sm_bf16_to_f32(x);
}
static inline uint16_t store_bf16(float x) {
    return sm_f32_to_bf16(x);
}

#define ATTENTION(name, type)                                                                      \
    void sm_attn_scores_##name##_ref(float *s, size_t lds, const void *q, size_t ldq, size_t nq,   \
                                     const void *k, size_t n_tiles, size_t head_dim) {             \
        for (size_t i = 0; i < nq; i++) {                                                          \
            for (size_t t = 0; t < 16 * n_tiles; t++) {                                            \
                const type *column = (const type *)k + t / 16 * 16 * head_dim + t % 16;            \
                float sum = 0;                                                                     \
                for (size_t d = 0; d < head_dim; d++) {                                            \
                    sum = fmaf(((const float *)q)[i * ldq + d], load_##name(column[16 * d]), sum); \
                }                                                                                  \
                s[i * lds + t] = sum;                                                              \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void sm_attn_values_##name##_ref(float *o, size_t ldo, const float *p, size_t ldp, size_t nq,  \
                                     const void *v, size_t n_tokens, size_t head_dim) {            \
        for (size_t i = 0; i < nq; i++) {                                                          \
            for (size_t d = 0; d < head_dim; d++) {                                                \
                float sum = 0;                                                                     \
                for (size_t t = 0; t < n_tokens; t++) {                                            \
                    float value = load_##name(((const type *)v)[t * head_dim + d]);                \
                    sum = fmaf(p[i * ldp + t], value, sum);                                        \
                }                                                                                  \
                o[i * ldo + d] = sum;                                                              \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void sm_store_k_##name##_ref(void *tile, size_t lane, const void *k, size_t head_dim) {        \
        for (size_t d = 0; d < head_dim; d++) {                                                    \
            ((type *)tile)[16 * d + lane] = store_##name(((const float *)k)[d]);                   \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    void sm_store_v_##name##_ref(void *tile, size_t lane, const void *v, size_t head_dim) {        \
        for (size_t d = 0; d < head_dim; d++) {                                                    \
            ((type *)tile)[lane * head_dim + d] = store_##name(((const float *)v)[d]);             \
        }                                                                                          \
    }

ATTENTION(f32, float)
ATTENTION(f16, uint16_t)
ATTENTION(bf16, uint16_t)

/* ---- q8_0 ------------------------------------------------------------------------------ */

/* Where the scales of a tile begin; that of (block, token) is [16 * block + token]. */
static const uint16_t *scales_of(const void *tile, size_t head_dim) {
    return (const uint16_t *)((const uint8_t *)tile + 16 * head_dim);
}

static size_t end_of_block(size_t b, size_t head_dim) {
    return 32 * b + 32 < head_dim ? 32 * b + 32 : head_dim;
}

void sm_attn_scores_q8_0_ref(float *s, size_t lds, const void *q, size_t ldq, size_t nq,
                             const void *k, size_t n_tiles, size_t head_dim) {
    for (size_t i = 0; i < nq; i++) {
        const sm_act_block *query = (const sm_act_block *)q + i * ldq;
        for (size_t t = 0; t < 16 * n_tiles; t++) {
            const int8_t *tile =
                (const int8_t *)k + t / 16 * sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
            float sum = 0;
            for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
                int32_t dot = 0;
                for (size_t d = 32 * b; d < end_of_block(b, head_dim); d++) {
                    dot += query[b].q[d % 32] * tile[(d / 4 * 16 + t % 16) * 4 + d % 4];
                }
                const float scale = sm_f16_to_f32(scales_of(tile, head_dim)[16 * b + t % 16]);
                sum = fmaf((float)dot, scale * query[b].d, sum);
            }
            s[i * lds + t] = sum;
        }
    }
}

/* The weights of block b of a query as integers; what one of them is worth. */
static float round_weights(int32_t *rounded, const float *p, const uint8_t *v, size_t n_tokens,
                           size_t b, size_t head_dim) {
    const float magic = 0x1.8p23f; /* adding it rounds to nearest even, kept in the low bits */
    float w[SM_KV_BLOCK], top = 0;
    for (size_t t = 0; t < n_tokens; t++) {
        const uint8_t *tile = v + t / 16 * sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
        w[t] = p[t] * sm_f16_to_f32(scales_of(tile, head_dim)[16 * b + t % 16]);
        top = w[t] > top ? w[t] : top;
    }
    const float inverse = top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top;
    for (size_t t = 0; t < n_tokens; t++) {
        const float shifted = w[t] * inverse + magic;
        rounded[t] = (int32_t)(sm_float_bits(shifted) - sm_float_bits(magic));
    }
    return top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX;
}

void sm_attn_values_q8_0_ref(float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                             const void *v, size_t n_tokens, size_t head_dim) {
    for (size_t i = 0; i < nq; i++) {
        for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
            int32_t weights[SM_KV_BLOCK];
            const float unit = round_weights(weights, p + i * ldp, v, n_tokens, b, head_dim);
            for (size_t d = 32 * b; d < end_of_block(b, head_dim); d++) {
                int32_t sum = 0;
                for (size_t t = 0; t < n_tokens; t++) {
                    const int8_t *tile =
                        (const int8_t *)v + t / 16 * sm_kv_tile_bytes(SM_KV_Q8_0, head_dim);
                    sum += weights[t] * tile[(t % 16 / 4 * head_dim + d) * 4 + t % 4];
                }
                o[i * ldo + d] = (float)sum * unit;
            }
        }
    }
}

static void store_scales(void *tile, size_t lane, const sm_act_block *x, size_t head_dim) {
    uint16_t *scales = (uint16_t *)((uint8_t *)tile + 16 * head_dim);
    for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
        scales[16 * b + lane] = store_f16(x[b].d);
    }
}

void sm_store_k_q8_0_ref(void *tile, size_t lane, const void *k, size_t head_dim) {
    const sm_act_block *x = k;
    for (size_t d = 0; d < head_dim; d += 4) { /* head_dim is a multiple of 8 */
        memcpy((uint8_t *)tile + (d / 4 * 16 + lane) * 4, x[d / 32].q + d % 32, 4);
    }
    store_scales(tile, lane, x, head_dim);
}

void sm_store_v_q8_0_ref(void *tile, size_t lane, const void *v, size_t head_dim) {
    const sm_act_block *x = v;
    int8_t *codes = (int8_t *)tile + lane / 4 * head_dim * 4 + lane % 4;
    for (size_t d = 0; d < head_dim; d++) {
        codes[4 * d] = x[d / 32].q[d % 32];
    }
    store_scales(tile, lane, x, head_dim);
}
