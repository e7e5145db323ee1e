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
    /* saturate: an infinity in the cache would make every later token NaN */
    return sm_f32_to_f16(x > 65504 ? 65504 : x < -65504 ? -65504 : x);
}

static inline float load_bf16(uint16_t x) {
    return sm_bf16_to_f32(x);
}
static inline uint16_t store_bf16(float x) {
    return sm_f32_to_bf16(x);
}

#define ATTENTION(name, type)                                                                     \
    void sm_attn_scores_##name##_ref(float *s, size_t lds, const float *q, size_t ldq, size_t nq, \
                                     const void *k, size_t n_tiles, size_t head_dim) {            \
        for (size_t i = 0; i < nq; i++) {                                                         \
            for (size_t t = 0; t < 16 * n_tiles; t++) {                                           \
                const type *column = (const type *)k + t / 16 * 16 * head_dim + t % 16;           \
                float sum = 0;                                                                    \
                for (size_t d = 0; d < head_dim; d++) {                                           \
                    sum = fmaf(q[i * ldq + d], load_##name(column[16 * d]), sum);                 \
                }                                                                                 \
                s[i * lds + t] = sum;                                                             \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    void sm_attn_values_##name##_ref(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                     const void *v, size_t n_tokens, size_t head_dim) {           \
        for (size_t i = 0; i < nq; i++) {                                                         \
            for (size_t d = 0; d < head_dim; d++) {                                               \
                float sum = 0;                                                                    \
                for (size_t t = 0; t < n_tokens; t++) {                                           \
                    float value = load_##name(((const type *)v)[t * head_dim + d]);               \
                    sum = fmaf(p[i * ldp + t], value, sum);                                       \
                }                                                                                 \
                o[i * ldo + d] = sum;                                                             \
            }                                                                                     \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    void sm_store_k_##name##_ref(void *tile, size_t lane, const float *k, size_t head_dim) {      \
        for (size_t d = 0; d < head_dim; d++) {                                                   \
            ((type *)tile)[16 * d + lane] = store_##name(k[d]);                                   \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    void sm_store_v_##name##_ref(void *row, const float *v, size_t head_dim) {                    \
        for (size_t d = 0; d < head_dim; d++) {                                                   \
            ((type *)row)[d] = store_##name(v[d]);                                                \
        }                                                                                         \
    }

ATTENTION(f32, float)
ATTENTION(f16, uint16_t)
ATTENTION(bf16, uint16_t)
