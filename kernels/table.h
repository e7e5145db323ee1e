/* table.h - prototypes of every kernel in kernels.inc. For the files that implement
 * kernels and for dispatch and tests; users go through sm_kernels_get. */
#ifndef SM_TABLE_H
#define SM_TABLE_H

#include "kernels.h"

#define SM_PACK(LEVEL, TYPE, level, type) sm_pack_fn sm_pack_##type##_##level;
#define SM_DEQUANTIZE(LEVEL, TYPE, level, type) sm_dequantize_fn sm_dequantize_##type##_##level;
#define SM_ENCODE(LEVEL, TYPE, level, type) sm_encode_fn sm_encode_##type##_##level;
#define SM_MUL(LEVEL, TYPE, level, type) sm_mul_fn sm_mul_##type##_##level;
#define SM_GEMM(LEVEL, TYPE, level, type) sm_gemm_fn sm_gemm_##type##_##level;
#define SM_ROUNDED(LEVEL, TYPE, level, type)   \
    sm_mul_fn sm_mul_rounded_##type##_##level; \
    sm_gemm_fn sm_gemm_rounded_##type##_##level;
#define SM_SCORES(LEVEL, KV, level, kv) sm_attn_scores_fn sm_attn_scores_##kv##_##level;
#define SM_VALUES(LEVEL, KV, level, kv) sm_attn_values_fn sm_attn_values_##kv##_##level;
#define SM_STORE_K(LEVEL, KV, level, kv) sm_store_k_fn sm_store_k_##kv##_##level;
#define SM_STORE_V(LEVEL, KV, level, kv) sm_store_v_fn sm_store_v_##kv##_##level;
#define SM_TILE(LEVEL, TILE, level, tile, MR, NR, KC, BYTES) \
    sm_tile_fn sm_tile_##tile##_##level;                     \
    sm_panel_fn sm_panel_rows_##tile##_##level, sm_panel_columns_##tile##_##level;
#define SM_ROW(LEVEL, level, op) sm_##op##_fn sm_##op##_##level;
#include "kernels.inc"

/* Of the scales that a block of activations has to choose from (sm_act_block): R[j], twice so that
 * one broadcast of 32 bits takes it (unused for j = 0), 1 / (127 - j) and its square. */
#define SM_ACT_SCALES 8
#define SM_ACT_TWICE(r) \
    { r, r }
static const int16_t SM_ACT_RATIO[SM_ACT_SCALES][2] = {
    SM_ACT_TWICE(0),     SM_ACT_TWICE(32510), SM_ACT_TWICE(32252), SM_ACT_TWICE(31994),
    SM_ACT_TWICE(31736), SM_ACT_TWICE(31478), SM_ACT_TWICE(31220), SM_ACT_TWICE(30962)};
static const float SM_ACT_STEP[SM_ACT_SCALES] = {1.0f / 127, 1.0f / 126, 1.0f / 125, 1.0f / 124,
                                                 1.0f / 123, 1.0f / 122, 1.0f / 121, 1.0f / 120};
static const float SM_ACT_WEIGHT[SM_ACT_SCALES] = {
    1.0f / (127 * 127), 1.0f / (126 * 126), 1.0f / (125 * 125), 1.0f / (124 * 124),
    1.0f / (123 * 123), 1.0f / (122 * 122), 1.0f / (121 * 121), 1.0f / (120 * 120)};
#define SM_ACT_FINE 32512.0f /* 127 * 256 */

/* What the table of a level remembers; false as long as nobody has asked for the table. */
bool sm_table_half_pipes(uint32_t level);

#endif
