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

/* ---- types with scales ------------------------------------------------------------------ */

/* Where the scales of a tile begin; that of (block, token) is [16 * block + token]. */
static const uint16_t *scales_of(uint32_t type, const void *tile, size_t head_dim) {
    return (const uint16_t *)((const uint8_t *)tile + sm_kv_scales_at(type, head_dim));
}

static size_t end_of_block(size_t b, size_t head_dim) {
    return 32 * b + 32 < head_dim ? 32 * b + 32 : head_dim;
}

/* Where q8_0 has the code of element d of a tile's token, in bytes: the other types count so,
 * too. */
static size_t key_at(size_t d, size_t token) {
    return (d / 4 * 16 + token) * 4 + d % 4;
}
static size_t value_at(size_t d, size_t token, size_t head_dim) {
    return (token / 4 * head_dim + d) * 4 + token % 4;
}

/* Number i of a type with fewer bits; of two vectors of `vector` numbers the second one's are the
 * upper halves of the first one's bytes. */
static unsigned number(uint32_t type, const uint8_t *tile, size_t i, size_t vector,
                       size_t head_dim) {
    const uint8_t byte = tile[i / (2 * vector) * vector + i % vector];
    const unsigned c = i / vector % 2 ? byte >> 4 : byte & 15u;
    const uint8_t *bits = tile + 8 * head_dim;
    return type == SM_KV_Q5_0 ? c | ((unsigned)bits[i / 8] >> i % 8 & 1u) << 4 : c;
}

/* Code i, as q8_0 counts them. vector: bytes of K's vectors of 16 tokens, or V's of one quad. */
static int32_t code(uint32_t type, const uint8_t *tile, size_t i, size_t vector, size_t head_dim) {
    switch (type) {
    case SM_KV_Q8_0:
        return (int8_t)tile[i];
    case SM_KV_Q4_0:
        return (int32_t)number(type, tile, i, vector, head_dim) - 8;
    case SM_KV_Q5_0:
        return (int32_t)number(type, tile, i, vector, head_dim) - 16;
    default:
        return SM_IQ4_VALUES[number(type, tile, i, vector, head_dim)];
    }
}

static void scores(uint32_t type, float *s, size_t lds, const void *q, size_t ldq, size_t nq,
                   const void *k, size_t n_tiles, size_t head_dim) {
    for (size_t i = 0; i < nq; i++) {
        const sm_act_block *query = (const sm_act_block *)q + i * ldq;
        for (size_t t = 0; t < 16 * n_tiles; t++) {
            const uint8_t *tile = (const uint8_t *)k + t / 16 * sm_kv_tile_bytes(type, head_dim);
            float sum = 0;
            for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
                int32_t dot = 0;
                for (size_t d = 32 * b; d < end_of_block(b, head_dim); d++) {
                    dot += query[b].q[d % 32] * code(type, tile, key_at(d, t % 16), 64, head_dim);
                }
                const float scale = sm_f16_to_f32(scales_of(type, tile, head_dim)[16 * b + t % 16]);
                sum = fmaf((float)dot, scale * query[b].d, sum);
            }
            s[i * lds + t] = sum;
        }
    }
}

/* The weights of block b of a query as integers; what one of them is worth. */
static float round_weights(uint32_t type, int32_t *rounded, const float *p, const uint8_t *v,
                           size_t n_tokens, size_t b, size_t head_dim) {
    const float magic = 0x1.8p23f; /* adding it rounds to nearest even, kept in the low bits */
    float w[SM_KV_BLOCK], top = 0, damage = 0; /* becomes NaN */
    for (size_t t = 0; t < n_tokens; t++) {
        const uint8_t *tile = v + t / 16 * sm_kv_tile_bytes(type, head_dim);
        w[t] = p[t] * sm_f16_to_f32(scales_of(type, tile, head_dim)[16 * b + t % 16]);
        top = fabsf(w[t]) > top ? fabsf(w[t]) : top;
        damage += w[t] - w[t];
    }
    const float inverse = top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top;
    for (size_t t = 0; t < n_tokens; t++) {
        const float shifted = (damage == 0 ? w[t] : 0) * inverse + magic;
        rounded[t] = (int32_t)(sm_float_bits(shifted) - sm_float_bits(magic));
    }
    return damage + (top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX);
}

static void values(uint32_t type, float *o, size_t ldo, const float *p, size_t ldp, size_t nq,
                   const void *v, size_t n_tokens, size_t head_dim) {
    for (size_t i = 0; i < nq; i++) {
        for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
            int32_t weights[SM_KV_BLOCK];
            const float unit = round_weights(type, weights, p + i * ldp, v, n_tokens, b, head_dim);
            for (size_t d = 32 * b; d < end_of_block(b, head_dim); d++) {
                int32_t sum = 0;
                for (size_t t = 0; t < n_tokens; t++) {
                    const uint8_t *tile =
                        (const uint8_t *)v + t / 16 * sm_kv_tile_bytes(type, head_dim);
                    sum += weights[t] *
                           code(type, tile, value_at(d, t % 16, head_dim), 4 * head_dim, head_dim);
                }
                o[i * ldo + d] = (float)sum * unit;
            }
        }
    }
}

static void store_scale(uint32_t type, void *tile, size_t lane, size_t b, uint16_t scale,
                        size_t head_dim) {
    memcpy((uint8_t *)tile + sm_kv_scales_at(type, head_dim) + 2 * (16 * b + lane), &scale, 2);
}

void sm_store_k_q8_0_ref(void *tile, size_t lane, const void *k, size_t head_dim) {
    const sm_act_block *x = k;
    for (size_t d = 0; d < head_dim; d += 4) { /* head_dim is a multiple of 8 */
        memcpy((uint8_t *)tile + key_at(d, lane), x[d / 32].q + d % 32, 4);
    }
    for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
        store_scale(SM_KV_Q8_0, tile, lane, b, store_f16(x[b].d), head_dim);
    }
}

void sm_store_v_q8_0_ref(void *tile, size_t lane, const void *v, size_t head_dim) {
    const sm_act_block *x = v;
    int8_t *codes = (int8_t *)tile + value_at(0, lane, head_dim);
    for (size_t d = 0; d < head_dim; d++) {
        codes[4 * d] = x[d / 32].q[d % 32];
    }
    for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
        store_scale(SM_KV_Q8_0, tile, lane, b, store_f16(x[b].d), head_dim);
    }
}

/* Numbers of a block of the weight type of that name, which has those of elements j and 16 + j in
 * one byte; its scale. */
static uint16_t block_numbers(uint32_t type, uint8_t c[32], const void *blocks, size_t b) {
    const sm_block_q4_0 *four = (const sm_block_q4_0 *)blocks + b; /* iq4_nl is laid out alike */
    const sm_block_q5_0 *five = (const sm_block_q5_0 *)blocks + b;
    const uint8_t *qs = type == SM_KV_Q5_0 ? five->qs : four->qs;
    for (size_t j = 0; j < 16; j++) {
        c[j] = qs[j] & 15;
        c[16 + j] = qs[j] >> 4;
    }
    for (size_t j = 0; j < 32 && type == SM_KV_Q5_0; j++) {
        c[j] |= (uint8_t)((five->qh[j / 8] >> j % 8 & 1) << 4);
    }
    return type == SM_KV_Q5_0 ? five->d : four->d;
}

/* Puts `high` into the bits that `mask` has. */
static void set_bits(uint8_t *byte, unsigned mask, unsigned high) {
    *byte = (uint8_t)((*byte & ~mask) | (high & mask));
}

static void store_keys(uint32_t type, uint8_t *tile, size_t lane, const void *blocks,
                       size_t head_dim) {
    uint8_t *bits = tile + 8 * head_dim + lane / 2;
    for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
        uint8_t c[32];
        store_scale(type, tile, lane, b, block_numbers(type, c, blocks, b), head_dim);
        for (size_t d = 32 * b; d < end_of_block(b, head_dim); d += 8) {
            const uint8_t *x = c + d % 32;
            for (size_t j = 0; j < 4; j++) {
                tile[(d / 8 * 16 + lane) * 4 + j] = (uint8_t)((x[j] & 15) | x[4 + j] << 4);
            }
            for (size_t j = 0; j < 8 && type == SM_KV_Q5_0; j++) {
                const unsigned at = (unsigned)(4 * (lane % 2) + j % 4);
                set_bits(bits + (d / 4 + j / 4) * 8, 1u << at, (unsigned)(x[j] >> 4) << at);
            }
        }
    }
}

static void store_values(uint32_t type, uint8_t *tile, size_t lane, const void *blocks,
                         size_t head_dim) {
    uint8_t *bytes = tile + lane / 8 * head_dim * 4 + lane % 4;
    uint8_t *bits = tile + 8 * head_dim + lane / 4 * head_dim / 2;
    const unsigned shift = lane % 8 < 4 ? 0 : 4;
    for (size_t b = 0; b < SM_KV_SCALES(head_dim); b++) {
        uint8_t c[32];
        store_scale(type, tile, lane, b, block_numbers(type, c, blocks, b), head_dim);
        for (size_t d = 32 * b; d < end_of_block(b, head_dim); d++) {
            set_bits(bytes + 4 * d, 15u << shift, (c[d % 32] & 15u) << shift);
            if (type == SM_KV_Q5_0) {
                const unsigned at = (unsigned)(4 * (d % 2) + lane % 4);
                set_bits(bits + d / 2, 1u << at, (unsigned)(c[d % 32] >> 4) << at);
            }
        }
    }
}

#define QUANTIZED(TYPE, name)                                                                     \
    void sm_attn_scores_##name##_ref(float *s, size_t lds, const void *q, size_t ldq, size_t nq,  \
                                     const void *k, size_t n_tiles, size_t head_dim) {            \
        scores(TYPE, s, lds, q, ldq, nq, k, n_tiles, head_dim);                                   \
    }                                                                                             \
    void sm_attn_values_##name##_ref(float *o, size_t ldo, const float *p, size_t ldp, size_t nq, \
                                     const void *v, size_t n_tokens, size_t head_dim) {           \
        values(TYPE, o, ldo, p, ldp, nq, v, n_tokens, head_dim);                                  \
    }
#define STORED_AS_BLOCKS(TYPE, name)                                                        \
    void sm_store_k_##name##_ref(void *tile, size_t lane, const void *k, size_t head_dim) { \
        store_keys(TYPE, tile, lane, k, head_dim);                                          \
    }                                                                                       \
    void sm_store_v_##name##_ref(void *tile, size_t lane, const void *v, size_t head_dim) { \
        store_values(TYPE, tile, lane, v, head_dim);                                        \
    }

QUANTIZED(SM_KV_Q8_0, q8_0)
QUANTIZED(SM_KV_Q4_0, q4_0)
QUANTIZED(SM_KV_Q5_0, q5_0)
QUANTIZED(SM_KV_IQ4_NL, iq4_nl)
STORED_AS_BLOCKS(SM_KV_Q4_0, q4_0)
STORED_AS_BLOCKS(SM_KV_Q5_0, q5_0)
STORED_AS_BLOCKS(SM_KV_IQ4_NL, iq4_nl)
