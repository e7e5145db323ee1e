/* traits.c - name and block size of every tensor type of the format. */
#include "blocks.h"

/* Sizes: ggml's type table. Numbers 4, 5, 31..33, 36..38 are types that were removed
 * from the format. */
static const sm_dtype_traits traits[SM_DTYPE_COUNT] = {
    [SM_DTYPE_F32] = {"F32", 1, 4},
    [SM_DTYPE_F16] = {"F16", 1, 2},
    [SM_DTYPE_Q4_0] = {"Q4_0", 32, sizeof(sm_block_q4_0)},
    [SM_DTYPE_Q4_1] = {"Q4_1", 32, sizeof(sm_block_q4_1)},
    [SM_DTYPE_Q5_0] = {"Q5_0", 32, sizeof(sm_block_q5_0)},
    [SM_DTYPE_Q5_1] = {"Q5_1", 32, sizeof(sm_block_q5_1)},
    [SM_DTYPE_Q8_0] = {"Q8_0", 32, sizeof(sm_block_q8_0)},
    [SM_DTYPE_Q8_1] = {"Q8_1", 32, 36},
    [SM_DTYPE_Q2_K] = {"Q2_K", 256, sizeof(sm_block_q2_k)},
    [SM_DTYPE_Q3_K] = {"Q3_K", 256, sizeof(sm_block_q3_k)},
    [SM_DTYPE_Q4_K] = {"Q4_K", 256, sizeof(sm_block_q4_k)},
    [SM_DTYPE_Q5_K] = {"Q5_K", 256, sizeof(sm_block_q5_k)},
    [SM_DTYPE_Q6_K] = {"Q6_K", 256, sizeof(sm_block_q6_k)},
    [SM_DTYPE_Q8_K] = {"Q8_K", 256, 292},
    [SM_DTYPE_IQ2_XXS] = {"IQ2_XXS", 256, sizeof(sm_block_iq2_xxs)},
    [SM_DTYPE_IQ2_XS] = {"IQ2_XS", 256, sizeof(sm_block_iq2_xs)},
    [SM_DTYPE_IQ3_XXS] = {"IQ3_XXS", 256, sizeof(sm_block_iq3_xxs)},
    [SM_DTYPE_IQ1_S] = {"IQ1_S", 256, sizeof(sm_block_iq1_s)},
    [SM_DTYPE_IQ4_NL] = {"IQ4_NL", 32, sizeof(sm_block_iq4_nl)},
    [SM_DTYPE_IQ3_S] = {"IQ3_S", 256, sizeof(sm_block_iq3_s)},
    [SM_DTYPE_IQ2_S] = {"IQ2_S", 256, sizeof(sm_block_iq2_s)},
    [SM_DTYPE_IQ4_XS] = {"IQ4_XS", 256, sizeof(sm_block_iq4_xs)},
    [SM_DTYPE_I8] = {"I8", 1, 1},
    [SM_DTYPE_I16] = {"I16", 1, 2},
    [SM_DTYPE_I32] = {"I32", 1, 4},
    [SM_DTYPE_I64] = {"I64", 1, 8},
    [SM_DTYPE_F64] = {"F64", 1, 8},
    [SM_DTYPE_IQ1_M] = {"IQ1_M", 256, sizeof(sm_block_iq1_m)},
    [SM_DTYPE_BF16] = {"BF16", 1, 2},
    [SM_DTYPE_TQ1_0] = {"TQ1_0", 256, sizeof(sm_block_tq1_0)},
    [SM_DTYPE_TQ2_0] = {"TQ2_0", 256, sizeof(sm_block_tq2_0)},
    [SM_DTYPE_MXFP4] = {"MXFP4", 32, sizeof(sm_block_mxfp4)},
    [SM_DTYPE_NVFP4] = {"NVFP4", 64, sizeof(sm_block_nvfp4)},
    [SM_DTYPE_Q1_0] = {"Q1_0", 128, sizeof(sm_block_q1_0)},
    [SM_DTYPE_Q2_0] = {"Q2_0", 64, sizeof(sm_block_q2_0)},
};

const sm_dtype_traits *sm_dtype_get(uint32_t type) {
    if (type >= SM_DTYPE_COUNT || traits[type].name == NULL) {
        return NULL;
    }
    return &traits[type];
}
