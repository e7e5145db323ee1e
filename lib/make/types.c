/* The types that matrices are written in: by which name users ask for one, what a file of it says,
 * what stands for it in rows that do not fit, how random weights of it are made. Names, file type
 * numbers and fallbacks are llama.cpp's. */
#include "kernels.h"
#include "make.h"

#include <string.h>

/* The places of a block's factors. */
#define NONE SM_FACTOR_F16, -1, -1, 0, 1
#define ONE(block) SM_FACTOR_F16, offsetof(sm_block_##block, d), -1, 0
#define TWO(block, min) \
    SM_FACTOR_F16, offsetof(sm_block_##block, d), offsetof(sm_block_##block, min)
#define PARTS SM_FACTOR_IQ1_M, 0, -1, 0
#define PAIRS(block) SM_FACTOR_PAIRS, offsetof(sm_block_##block, d), -1, 0
#define EIGHTS(block) SM_FACTOR_UE4M3, offsetof(sm_block_##block, d), -1, 0
#define EXPONENT(block) SM_FACTOR_E8M0, offsetof(sm_block_##block, e), -1, 0

/* Names that are not those of a tensor type stand for a mixture; the first row of a tensor type is
 * that type pure, or almost. */
static const sm_model_type types[] = {
    {"F32", SM_DTYPE_F32, 0, SM_MIX_NONE, SM_DTYPE_F32, {NONE}},
    {"F16", SM_DTYPE_F16, 1, SM_MIX_NONE, SM_DTYPE_F16, {NONE}},
    {"BF16", SM_DTYPE_BF16, 32, SM_MIX_NONE, SM_DTYPE_BF16, {NONE}},
    {"Q4_0", SM_DTYPE_Q4_0, 2, SM_MIX_NONE, SM_DTYPE_F16, {ONE(q4_0), 4.64}},
    {"Q4_1", SM_DTYPE_Q4_1, 3, SM_MIX_NONE, SM_DTYPE_F16, {TWO(q4_1, m), -7.5, 4.61}},
    {"Q5_0", SM_DTYPE_Q5_0, 8, SM_MIX_NONE, SM_DTYPE_F16, {ONE(q5_0), 9.25}},
    {"Q5_1", SM_DTYPE_Q5_1, 9, SM_MIX_NONE, SM_DTYPE_F16, {TWO(q5_1, m), -15.5, 9.23}},
    {"Q8_0", SM_DTYPE_Q8_0, 7, SM_MIX_NONE, SM_DTYPE_F16, {ONE(q8_0), 73.9}},
    {"Q2_K", SM_DTYPE_Q2_K, 10, SM_MIX_Q2_K, SM_DTYPE_IQ4_NL, {TWO(q2_k, dmin), 1.5, 13.9}},
    {"Q3_K", SM_DTYPE_Q3_K, 11, SM_MIX_NONE, SM_DTYPE_IQ4_NL, {ONE(q3_k), 43.3}},
    {"Q4_K", SM_DTYPE_Q4_K, 14, SM_MIX_NONE, SM_DTYPE_Q5_0, {TWO(q4_k, dmin), 7.5, 258}},
    {"Q5_K", SM_DTYPE_Q5_K, 16, SM_MIX_NONE, SM_DTYPE_Q5_1, {TWO(q5_k, dmin), 15.5, 527}},
    {"Q6_K", SM_DTYPE_Q6_K, 18, SM_MIX_NONE, SM_DTYPE_Q8_0, {ONE(q6_k), 1366}},
    {"IQ4_NL", SM_DTYPE_IQ4_NL, 25, SM_MIX_NONE, SM_DTYPE_F16, {ONE(iq4_nl), 67.4}},
    {"IQ4_XS", SM_DTYPE_IQ4_XS, 30, SM_MIX_NONE, SM_DTYPE_IQ4_NL, {ONE(iq4_xs), 1247}},
    {"MXFP4", SM_DTYPE_MXFP4, 38, SM_MIX_NONE, SM_DTYPE_F16, {EXPONENT(mxfp4), 5.85}},
    {"IQ1_S", SM_DTYPE_IQ1_S, 24, SM_MIX_IQ1, SM_DTYPE_IQ4_NL, {ONE(iq1_s), 7.2}},
    {"IQ1_M", SM_DTYPE_IQ1_M, 31, SM_MIX_IQ1, SM_DTYPE_IQ4_NL, {PARTS, 7.2}},
    {"IQ2_XXS", SM_DTYPE_IQ2_XXS, 19, SM_MIX_IQ1, SM_DTYPE_IQ4_NL, {ONE(iq2_xxs), 53.6}},
    {"IQ2_XS", SM_DTYPE_IQ2_XS, 20, SM_MIX_IQ1, SM_DTYPE_IQ4_NL, {ONE(iq2_xs), 55.9}},
    {"IQ2_S", SM_DTYPE_IQ2_S, 28, SM_MIX_IQ2_S, SM_DTYPE_IQ4_NL, {ONE(iq2_s), 56.4}},
    {"IQ3_XXS", SM_DTYPE_IQ3_XXS, 23, SM_MIX_IQ3_XXS, SM_DTYPE_IQ4_NL, {ONE(iq3_xxs), 142}},
    {"IQ3_S", SM_DTYPE_IQ3_S, 26, SM_MIX_IQ3_S, SM_DTYPE_IQ4_NL, {ONE(iq3_s), 139}},
    {.name = "IQ2_M", SM_DTYPE_IQ2_S, 29, SM_MIX_IQ2_S},
    {.name = "IQ3_XS", SM_DTYPE_IQ3_S, 22, SM_MIX_IQ3_XS},
    {.name = "IQ3_M", SM_DTYPE_IQ3_S, 27, SM_MIX_IQ3_M},
    {"NVFP4", SM_DTYPE_NVFP4, 39, SM_MIX_NONE, SM_DTYPE_MXFP4, {EIGHTS(nvfp4), 5.85}},
    {"Q2_0", SM_DTYPE_Q2_0, 41, SM_MIX_TERNARY, SM_DTYPE_Q4_0, {PAIRS(q2_0), 0.707}},
    {"TQ2_0", SM_DTYPE_TQ2_0, 37, SM_MIX_TERNARY, SM_DTYPE_Q4_0, {PAIRS(tq2_0), 0.707}},
    {"TQ1_0", SM_DTYPE_TQ1_0, 36, SM_MIX_TERNARY, SM_DTYPE_Q4_0, {ONE(tq1_0), 0.816}},
    {"Q1_0", SM_DTYPE_Q1_0, 40, SM_MIX_Q1_0, SM_DTYPE_Q4_0, {ONE(q1_0), 1}},
    {"F64", SM_DTYPE_F64, SM_FILE_TYPE_UNKNOWN, SM_MIX_NONE, SM_DTYPE_F64, {NONE}},
    {.name = "Q3_K_S", SM_DTYPE_Q3_K, 11, SM_MIX_Q3_K_S},
    {.name = "Q3_K_M", SM_DTYPE_Q3_K, 12, SM_MIX_Q3_K_M},
    {.name = "Q3_K_L", SM_DTYPE_Q3_K, 13, SM_MIX_Q3_K_L},
    {.name = "Q4_K_S", SM_DTYPE_Q4_K, 14, SM_MIX_Q4_K_S},
    {.name = "Q4_K_M", SM_DTYPE_Q4_K, 15, SM_MIX_Q4_K_M},
    {.name = "Q5_K_S", SM_DTYPE_Q5_K, 16, SM_MIX_Q5_K_S},
    {.name = "Q5_K_M", SM_DTYPE_Q5_K, 17, SM_MIX_Q5_K_M},
    {.name = "MXFP4_MOE", SM_DTYPE_MXFP4, 38, SM_MIX_MXFP4_MOE},
};
#define N_TYPES (sizeof types / sizeof *types)

uint32_t sm_model_type_kind(const sm_model_type *type) {
    const sm_dtype_traits *traits = sm_dtype_get(type->type);
    if (strcmp(type->name, traits->name) != 0)
        return SM_TYPES_MIXED;
    if (type->type == SM_DTYPE_F64)
        return SM_TYPES_F64;
    return traits->block_size > 1 ? SM_TYPES_QUANTIZED : SM_TYPES_FLOAT;
}

const sm_model_type *sm_model_type_find(const char *name, uint32_t kinds, sm_error *error) {
    char known[512];
    const sm_model_type *row[N_TYPES];
    uint32_t n_rows = 0;
    size_t n = 0;
    for (size_t i = 0; i < N_TYPES && n < sizeof known; i++) {
        if (!(sm_model_type_kind(&types[i]) & kinds))
            continue;
        n += sm_format(known + n, sizeof known - n, "%s%s", n ? ", " : "", types[i].name);
        row[n_rows++] = &types[i];
    }
    const uint32_t place = sm_names_find(known, name, NULL);
    if (place != SM_NAME_NONE)
        return row[place];
    sm_fail_name(error, "type", name, known);
    return NULL;
}

const sm_model_type *sm_model_type_of(uint32_t type) {
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i].type == type)
            return &types[i];
    return NULL;
}

uint32_t sm_file_type_of(uint32_t type) {
    const sm_model_type *t = sm_model_type_of(type);
    return t ? t->file_type : SM_FILE_TYPE_UNKNOWN;
}

bool sm_type_is_float(uint32_t type) {
    const sm_model_type *t = sm_model_type_of(type);
    return t && (sm_model_type_kind(t) & (SM_TYPES_FLOAT | SM_TYPES_F64));
}

/* Those of which llama.cpp says so. */
bool sm_type_needs_importance(uint32_t type) {
    switch (type) {
    case SM_DTYPE_IQ1_S:
    case SM_DTYPE_IQ1_M:
    case SM_DTYPE_IQ2_XXS:
    case SM_DTYPE_IQ2_XS:
    case SM_DTYPE_IQ2_S:
    case SM_DTYPE_IQ3_XXS:
        return true;
    default:
        return false;
    }
}

uint32_t sm_fallback_type(uint32_t type, uint64_t columns) {
    while (columns % sm_dtype_get(type)->block_size)
        type = sm_model_type_of(type)->fallback;
    return type;
}
