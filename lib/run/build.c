/* build.c - what this library is: its number, and what it was built with. */
#include "kernels.h"
#include "run.h"

uint32_t sm_abi(void) {
    return SM_ABI;
}

uint32_t sm_version_number(void) {
    return SM_VERSION_MAJOR * 1000000u + SM_VERSION_MINOR * 1000u + SM_VERSION_PATCH;
}

/* What a model's tensors may be of, by the names of their traits (tests compare the two). */
static const char types[] =
    "F32|F16|Q4_0|Q4_1|Q5_0|Q5_1|Q8_0|Q2_K|Q3_K|Q4_K|Q5_K|Q6_K|IQ2_XXS|IQ2_XS|IQ3_XXS|IQ1_S|"
    "IQ4_NL|IQ3_S|IQ2_S|IQ4_XS|F64|IQ1_M|BF16|TQ1_0|TQ2_0|MXFP4|NVFP4|Q1_0|Q2_0";

static const char features[] = "threads"
#ifdef SM_TRAIN
                               "|training"
#endif
#ifdef SM_OPENBLAS
                               "|openblas"
#endif
    ;

sm_status sm_build_get_info(sm_build_info *info, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_build_info, version), {0, 0, 0}};
    sm_build_info now = {.abi = SM_ABI,
                         .level = sm_level_best(SM_LEVEL_AUTO),
                         .version_number = sm_version_number(),
                         .version = sm_version(),
                         .families = sm_family_names(),
                         .types = types,
                         .features = features};
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++)
        now.levels |= (uint64_t)sm_level_is_built(level) << level;
    return sm_struct_give(info, &now, sizeof now, wide, "sm_build_info", error);
}
