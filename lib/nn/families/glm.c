/* glm-4: a part of each head is rotated, in pairs of neighbours; gate and up are one tensor. Files
 * of 2024 (chatglm) have norms before the parts of a layer, those of 2025 (glm4) behind them, too.
 * Biases of q, k and v, joined or not, are there where files have them. */
#include "plan.h"

static void layers(sm_plan *p, sm_wiring around_attention, sm_wiring around_ffn) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, false);
    plan_joined(p, &sm_kind_gated);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        plan_attention(p, i, a, around_attention, 0);
        plan_gated(p, i, SM_SILU, around_ffn);
    }
    plan_head(p, (sm_head_params){0});
}

void sm_plan_chatglm(sm_plan *p) {
    layers(p, (sm_wiring){.pre = "attn_norm"}, (sm_wiring){.pre = "ffn_norm"});
}

void sm_plan_glm4(sm_plan *p) {
    layers(p, (sm_wiring){.pre = "attn_norm", .post = "post_attention_norm"},
           (sm_wiring){.pre = "ffn_norm", .post = "post_ffw_norm"});
}
