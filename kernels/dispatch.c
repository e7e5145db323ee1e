/* dispatch.c - the kernel table of each level: ref, overlaid level by level. */
#include <stdatomic.h>

#include "smallmind/types.h"
#include "table.h"

enum { EMPTY, FILLING, READY };

/* The library's only writable global. */
static struct {
    atomic_int state;
    sm_kernels kernels;
} tables[SM_LEVEL_AVX512BF16 + 1];

/* Takes over what kernels.inc lists for exactly this level. */
static void overlay(sm_kernels *k, uint32_t level) {
#define SET(L, member, function) \
    if (level == SM_LEVEL_##L) { \
        k->member = function;    \
    }
#define SM_PACK(L, T, l, t) SET(L, type[SM_DTYPE_##T].pack, sm_pack_##t##_##l)
#define SM_DEQUANTIZE(L, T, l, t) SET(L, type[SM_DTYPE_##T].dequantize, sm_dequantize_##t##_##l)
#define SM_ENCODE(L, T, l, t) SET(L, type[SM_DTYPE_##T].encode, sm_encode_##t##_##l)
#define SM_MUL(L, T, l, t) SET(L, type[SM_DTYPE_##T].mul, sm_mul_##t##_##l)
#define SM_GEMM(L, T, l, t) SET(L, type[SM_DTYPE_##T].gemm, sm_gemm_##t##_##l)
#define SM_ROUNDED(L, T, l, t)                                       \
    SET(L, type[SM_DTYPE_##T].mul_rounded, sm_mul_rounded_##t##_##l) \
    SET(L, type[SM_DTYPE_##T].gemm_rounded, sm_gemm_rounded_##t##_##l)
#define SM_SCORES(L, T, l, t) SET(L, kv[SM_KV_##T].scores, sm_attn_scores_##t##_##l)
#define SM_VALUES(L, T, l, t) SET(L, kv[SM_KV_##T].values, sm_attn_values_##t##_##l)
#define SM_STORE_K(L, T, l, t) SET(L, kv[SM_KV_##T].store_k, sm_store_k_##t##_##l)
#define SM_STORE_V(L, T, l, t) SET(L, kv[SM_KV_##T].store_v, sm_store_v_##t##_##l)
#define SM_TILE(L, T, l, t, MR, NR, KC, BYTES)                                                     \
    SET(L, tile[SM_TILE_##T],                                                                      \
        ((sm_tile_kernels){sm_tile_##t##_##l, sm_panel_rows_##t##_##l, sm_panel_columns_##t##_##l, \
                           MR, NR, KC, BYTES}))
#define SM_ROW(L, l, op) SET(L, op, sm_##op##_##l)
#include "kernels.inc"
#undef SET
}

static void fill(sm_kernels *k, uint32_t level) {
    k->level = level;
    k->half_pipes = sm_pipes_are_half();
    overlay(k, SM_LEVEL_SCALAR);
    /* a CPU with AVX-512 need not have AVX-VNNI */
    if (level == SM_LEVEL_AVX512 || level == SM_LEVEL_AVX512BF16 || level == SM_LEVEL_AVXVNNI) {
        overlay(k, SM_LEVEL_AVX2);
    } else if (level == SM_LEVEL_DOTPROD || level == SM_LEVEL_I8MM) {
        overlay(k, SM_LEVEL_NEON);
    }
    if (level == SM_LEVEL_I8MM) {
        overlay(k, SM_LEVEL_DOTPROD);
    } else if (level == SM_LEVEL_AVX512BF16) {
        overlay(k, SM_LEVEL_AVX512);
    }
    if (level != SM_LEVEL_SCALAR) {
        overlay(k, level);
    }
}

const sm_kernels *sm_kernels_get(uint32_t level) {
    if (level == SM_LEVEL_AUTO || sm_level_best(level) != level) {
        return NULL;
    }
    int expected = EMPTY;
    if (atomic_compare_exchange_strong(&tables[level].state, &expected, FILLING)) {
        fill(&tables[level].kernels, level);
        atomic_store(&tables[level].state, READY);
    } else { /* another thread may be some hundred stores short of done */
        while (atomic_load(&tables[level].state) != READY) {
        }
    }
    return &tables[level].kernels;
}

bool sm_table_half_pipes(uint32_t level) {
    return atomic_load(&tables[level].state) == READY && tables[level].kernels.half_pipes;
}
