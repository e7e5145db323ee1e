/* kernel_cases.c - the list of kernels and the data they are fed. */
#include "kernel_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smallmind/types.h"
#include "table.h"

#define ENTRY(KIND, L, T, name) {KIND, SM_LEVEL_##L, T, #name, (any_fn)name},

const kernel_entry kernels[] = {
#define SM_PACK(L, T, l, t) ENTRY(KIND_PACK, L, SM_DTYPE_##T, sm_pack_##t##_##l)
#define SM_DEQUANTIZE(L, T, l, t) ENTRY(KIND_DEQUANTIZE, L, SM_DTYPE_##T, sm_dequantize_##t##_##l)
#define SM_ENCODE(L, T, l, t) ENTRY(KIND_ENCODE, L, SM_DTYPE_##T, sm_encode_##t##_##l)
#define SM_MUL(L, T, l, t) ENTRY(KIND_MUL, L, SM_DTYPE_##T, sm_mul_##t##_##l)
#define SM_GEMM(L, T, l, t) ENTRY(KIND_GEMM, L, SM_DTYPE_##T, sm_gemm_##t##_##l)
#define SM_ROUNDED(L, T, l, t)                                         \
    ENTRY(KIND_MUL_ROUNDED, L, SM_DTYPE_##T, sm_mul_rounded_##t##_##l) \
    ENTRY(KIND_GEMM_ROUNDED, L, SM_DTYPE_##T, sm_gemm_rounded_##t##_##l)
#define SM_SCORES(L, T, l, t) ENTRY(KIND_SCORES, L, SM_KV_##T, sm_attn_scores_##t##_##l)
#define SM_VALUES(L, T, l, t) ENTRY(KIND_VALUES, L, SM_KV_##T, sm_attn_values_##t##_##l)
#define SM_STORE_K(L, T, l, t) ENTRY(KIND_STORE_K, L, SM_KV_##T, sm_store_k_##t##_##l)
#define SM_STORE_V(L, T, l, t) ENTRY(KIND_STORE_V, L, SM_KV_##T, sm_store_v_##t##_##l)
#define SM_TILE(L, T, l, t, MR, NR, KC, BYTES) ENTRY(KIND_TILE, L, SM_TILE_##T, sm_tile_##t##_##l)
#define SM_ROW(L, l, op) ENTRY(KIND_ROW, L, 0, sm_##op##_##l)
#include "kernels.inc"
};
const size_t n_kernels = sizeof kernels / sizeof kernels[0];

bool level_at_most(uint32_t level, uint32_t limit) {
    while (limit != level && limit != SM_LEVEL_SCALAR) {
        limit = sm_level_below(limit);
    }
    return limit == level;
}

const sm_kernels *level_table(uint32_t level) {
    const char *cap = getenv("SM_TEST_LEVEL");
    uint32_t limit = sm_level_from_name(cap);
    if (limit != SM_LEVEL_AUTO && !level_at_most(level, limit)) {
        return NULL;
    }
    return sm_kernels_get(level);
}

size_t row_size(uint32_t type, size_t n) {
    const sm_dtype_traits *traits = sm_dtype_get(type);
    return n / traits->block_size * traits->block_bytes;
}

void *take(size_t size) {
    void *p = NULL;
    if (posix_memalign(&p, 64, size > 0 ? size : 1) != 0) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

/* ---- random numbers: splitmix64 (Steele, Lea, Flood 2014) -------------------------------- */

static uint64_t state;

void seed_random(uint64_t seed) {
    state = seed;
}

uint32_t random_bits(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

float random_float(void) {
    return (float)(random_bits() >> 8) * 0x1p-23f - 1;
}

/* ---- weights ------------------------------------------------------------------------------ */

/* Where the f16 scales of a block are: offsets in bytes. */
static size_t scale_offsets(uint32_t type, size_t out[2]) {
    switch (type) {
    case SM_DTYPE_Q4_1:
    case SM_DTYPE_Q5_1:
    case SM_DTYPE_Q4_K:
    case SM_DTYPE_Q5_K:
        out[0] = 0;
        out[1] = 2;
        return 2;
    case SM_DTYPE_Q2_K:
        out[0] = offsetof(sm_block_q2_k, d);
        out[1] = offsetof(sm_block_q2_k, dmin);
        return 2;
    case SM_DTYPE_Q3_K:
        out[0] = offsetof(sm_block_q3_k, d);
        return 1;
    case SM_DTYPE_Q6_K:
        out[0] = offsetof(sm_block_q6_k, d);
        return 1;
    case SM_DTYPE_TQ1_0:
        out[0] = offsetof(sm_block_tq1_0, d);
        return 1;
    case SM_DTYPE_TQ2_0:
        out[0] = offsetof(sm_block_tq2_0, d);
        return 1;
    default:
        out[0] = 0;
        return 1;
    }
}

static float pick_scale(data_style style) {
    static const float extremes[] = {0, 1, -1, 65504, -65504, 0x1p-24f, 0x1p-14f};
    uint32_t n = random_bits() % 12;
    if (style == EXTREME && n < sizeof extremes / sizeof extremes[0]) {
        return extremes[n];
    }
    return random_float() * 0.1f;
}

static void store_scale(uint32_t type, uint8_t *block, size_t offset, float scale) {
    const uint16_t h = sm_f32_to_f16(scale);
    if (type == SM_DTYPE_IQ1_M) {
        sm_iq1_m_set_d((sm_block_iq1_m *)(void *)block, h);
    } else {
        memcpy(block + offset, &h, sizeof h);
    }
}

/* The exponent of a factor that is a power of two. */
static uint8_t pick_exponent(data_style style) {
    static const uint8_t extremes[] = {0, 1, 2, 60, 144};
    const uint32_t n = random_bits() % 12;
    if (style == EXTREME && n < sizeof extremes) {
        return extremes[n];
    }
    return (uint8_t)(118 + random_bits() % 8);
}

/* A factor of 8 bits, as of NVFP4. */
static uint8_t pick_small(data_style style) {
    static const uint8_t extremes[] = {0, 1, 7, 8, 126, 127, 128, 254};
    const uint32_t n = random_bits() % 12;
    if (style == EXTREME && n < sizeof extremes) {
        return extremes[n];
    }
    return (uint8_t)(20 + random_bits() % 40);
}

static void fill_factors(uint32_t type, uint8_t *block, data_style style) {
    size_t offsets[2];
    if (type == SM_DTYPE_MXFP4) {
        block[0] = pick_exponent(style);
        return;
    }
    if (type == SM_DTYPE_NVFP4) {
        for (size_t s = 0; s < 4; s++) {
            block[s] = pick_small(style);
        }
        return;
    }
    const size_t n = scale_offsets(type, offsets);
    for (size_t s = 0; s < n; s++) {
        store_scale(type, block, offsets[s], pick_scale(style));
    }
}

static void fill_blocks(uint32_t type, uint8_t *p, size_t n_blocks, data_style style) {
    static const uint8_t bytes[] = {0x00, 0xff, 0x80, 0x7f};
    const size_t size = sm_dtype_get(type)->block_bytes;
    for (size_t b = 0; b < n_blocks; b++, p += size) {
        uint32_t kind = random_bits() % 8;
        for (size_t i = 0; i < size; i++) {
            p[i] = style == EXTREME && kind < 4 ? bytes[kind] : (uint8_t)random_bits();
        }
        fill_factors(type, p, style);
    }
}

static float pick_weight(uint32_t type, data_style style) {
    float w = random_float();
    if (style == RANDOM) {
        return w;
    }
    switch (random_bits() % 6) {
    case 0:
        return 0;
    case 1: /* subnormal as f16 */
        return w * 0x1p-15f;
    case 2:
        return w * (type == SM_DTYPE_F16 ? 65504.0f : 1e6f);
    default:
        return w;
    }
}

void fill_rows(uint32_t type, void *rows, size_t n_rows, size_t k, data_style style) {
    if (!is_float_type(type)) {
        fill_blocks(type, rows, n_rows * k / sm_dtype_get(type)->block_size, style);
        return;
    }
    for (size_t i = 0; i < n_rows * k; i++) {
        float w = pick_weight(type, style);
        if (type == SM_DTYPE_F32) {
            ((float *)rows)[i] = w;
        } else if (type == SM_DTYPE_F64) {
            ((double *)rows)[i] = (double)w * (1 + 0x1p-30); /* no f32 */
        } else {
            ((uint16_t *)rows)[i] = type == SM_DTYPE_F16 ? sm_f32_to_f16(w) : sm_f32_to_bf16(w);
        }
    }
}

void fill_activations(float *x, size_t n, data_style style) {
    uint32_t kind = 7;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0 && style == EXTREME) {
            kind = random_bits() % 8;
        }
        switch (kind) {
        case 0:
            x[i] = 0;
            break;
        case 1:
            x[i] = random_float() * 1e-29f;
            break;
        case 2:
            x[i] = random_float() * (i % 64 < 32 ? 1e15f : 1e25f);
            break;
        case 3:
            x[i] = -2;
            break;
        default:
            x[i] = random_float() * 3;
        }
    }
}

void *pack_rows(uint32_t type, const void *rows, size_t n_rows, size_t k) {
    const size_t group_bytes = sm_packed_bytes(type, k);
    const size_t row_bytes = row_size(type, k);
    const sm_kernels *table = sm_kernels_get(SM_LEVEL_SCALAR);
    uint8_t *packed = take((n_rows + SM_GROUP - 1) / SM_GROUP * group_bytes);
    for (size_t r = 0; r < n_rows; r += SM_GROUP) {
        size_t n = n_rows - r < SM_GROUP ? n_rows - r : SM_GROUP;
        table->type[type].pack(packed + r / SM_GROUP * group_bytes,
                               (const uint8_t *)rows + r * row_bytes, row_bytes, n, k);
    }
    return packed;
}
