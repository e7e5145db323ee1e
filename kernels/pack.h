/* pack.h - the packed weight layout, the same on every level.
 *
 * A group is 16 consecutive rows. Within a group data runs along K, so a group
 * is one sequential stream and a slab of K is a contiguous piece of it. Bytes
 * of one 32-element block are arranged as g = 0..7 sub-groups of 4 elements:
 * lane r (row) holds elements 4g .. 4g+3 in the 4 bytes of its 32-bit word, as
 * the 4-way int8 dot-product instructions want them. Written [r][i] below:
 * byte r*4 + i belongs to row r, element 4g + i.
 *
 *   F32, F64  [k][16] f32                                      any k
 *   F16       [k][16] f16                                      any k
 *   BF16      [(k+1)/2][16][2] bf16, odd tail padded with 0    any k
 *
 * Parts of a 32-element block:
 *   BYTES  512 B  [g 0..7][r][i] int8
 *   NIB    256 B  [j 0..3][r][i]: low nibble = code of sub-group j, high = of j + 4
 *   CRUMB  128 B  [j 0..1][r][i]: bits 2t,2t+1 = 2-bit code of sub-group 2t + j, t = 0..3
 *   HIGH    64 B  [r][i]: bit g = one more high bit of sub-group g
 *   TRIO   192 B  [j 0..2][r][i]: bits 0-2 = 3-bit code of sub-group j, 4-6 = of j + 4; bit 3 = bit
 *                 2 - j of the code of sub-group 3, bit 7 = of 7
 *   D, M    32 B  [16] f16, scale or minimum of each row
 *   S8, U8  16 B  [16] int8 / uint8, one code per row
 *   F8      16 B  [16] uint8: scale of each row as f16 with the bits code << 7, times 128
 *   E       16 B  [16] uint8: scale 2^(code - 128) of each row, 0: none (the row is 0)
 *
 * Legacy types, per 32 elements (code offset in brackets: weight = d * (code - offset)):
 *   Q8_0    D BYTES [0, signed]           544 B
 *   Q4_0    D NIB [8]                     288
 *   Q4_1    D M NIB [0]                   320
 *   Q5_0    D NIB HIGH [16]               352     code = nibble | high << 4
 *   Q5_1    D M NIB HIGH [0]              384
 *   IQ4_NL  D NIB [table]                 288     code = SM_IQ4_VALUES[nibble]
 *   MXFP4   E NIB [table]                 272     code = SM_FP4_VALUES[nibble]
 *   NVFP4   F8 s0, F8 s1, NIB [table]     288     code = SM_FP4_VALUES[nibble]; s0, s1 as sc0, sc1
 *
 * K types, per 256 elements: a head, then 8 block records in order
 *   Q2_K    head D DM; record U8 sc0 | m0 << 4, U8 sc1 | m1 << 4, CRUMB [0]      1344
 *   Q3_K    head D;    record S8 sc0, S8 sc1, CRUMB, HIGH [4]                    1824
 *           (code = crumb | high << 2; sc already minus 32)
 *   Q4_K    head D DM; record U8 sc, U8 m, NIB [0]                               2368
 *   Q5_K    head D DM; record U8 sc, U8 m, NIB, HIGH [0]                         2880
 *   Q6_K    head D;    record S8 sc0, S8 sc1, NIB, CRUMB [32]                    3360
 *           (code = nibble | crumb << 4)
 *   IQ4_XS  head D;    record S8 sc, NIB [table] (sc already minus 32)           2208
 *
 * Of the IQ types with codebooks words are looked up when packing, so that a weight is one code of
 * SM_CODES_… below (1.25 to 2 times the file's bits, but computed as fast as read:
 * docs/measurements):
 *   IQ3_XXS, IQ3_S             head D; record S8 sc, NIB [table]                 2208
 *   IQ2_XXS, IQ1_S             head D; record S8 sc, TRIO [table]                1696
 *   IQ2_XS, IQ2_S, IQ1_M       head D; record S8 sc0, S8 sc1, TRIO [table]       1824
 *           (sc = 2 * file's + 1; D times the table's factor)
 * A head and records of codes alone, per as many elements as a native block has:
 *   TQ1_0, TQ2_0  256: head D; 8 records CRUMB [1]                               1056
 *   Q2_0           64: head D; 2 records CRUMB [1]                               288
 *   Q1_0          128: head D; 4 records HIGH [1], code = 2 * bit                288
 *
 *   sc0/sc1 (m0/m1): first and second 16 elements of the block.
 *   DM is dmin; the weight is d*sc*code - dmin*m.
 */
#ifndef SM_PACK_H
#define SM_PACK_H

#include "blocks.h"

/* Number of the layout drawn above. It is written into packed files: whatever changes a byte
 * of any type's layout changes the number too. */
#define SM_PACK_VERSION 1

#define SM_BYTES_PART 512
#define SM_NIB_PART 256
#define SM_CRUMB_PART 128
#define SM_HIGH_PART 64
#define SM_TRIO_PART 192
#define SM_HALF_PART 32 /* D or M */
#define SM_CODE_PART 16 /* S8 or U8 */

/* What the codes of a type stand for, and what its D is multiplied with, exactly. */
typedef struct sm_code_table {
    int8_t value[16]; /* of TRIO parts only the first eight */
    float factor;
} sm_code_table;

static const sm_code_table SM_CODES_IQ4 = {{SM_IQ4_LEVELS}, 1};
static const sm_code_table SM_CODES_FP4 = {{SM_FP4_LEVELS}, 1};
static const sm_code_table SM_CODES_IQ3_XXS = {
    {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}, 0.25f};
static const sm_code_table SM_CODES_IQ3_S = {
    {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}, 1};
/* bit 2: the sign, or that delta is negative; bits 0, 1: level 0 as 0, 1 as 1, 2 as 3 */
static const sm_code_table SM_CODES_IQ2 = {{8, 25, 0, 43, -8, -25, 0, -43}, 0.125f};
static const sm_code_table SM_CODES_IQ1 = {{-7, 1, 0, 9, -9, -1, 0, 7}, 0.125f};

/* Bytes of one packed group over k elements; 0 for a type that cannot be packed. */
size_t sm_packed_bytes(uint32_t type, size_t k);

#endif
