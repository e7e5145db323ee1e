/* gpt-2 and what came after it with LayerNorm: all layers alike. */
#include "plan.h"

/* stablelm 1 and 2: LayerNorm with biases, part of each head rotated, gated feed-forward parts. */
void sm_plan_stablelm(sm_plan *p) {
    const sm_wiring around_attention = {.pre = "attn_norm", .norm = SM_NORM_LAYER, .bias = true};
    const sm_wiring around_ffn = {.pre = "ffn_norm", .norm = SM_NORM_LAYER, .bias = true};
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    if (plan_bool_or(p, "use_parallel_residual", false))
        plan_fail(p, SM_ERR_UNSUPPORTED, "use_parallel_residual", "is true");
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        plan_attention(p, i, a, around_attention, 0);
        plan_gated(p, i, SM_SILU, around_ffn);
    }
    plan_head(p, (sm_head_params){0});
}
