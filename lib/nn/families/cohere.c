/* cohere's command-r and command-r7b: both branches read x by one LayerNorm without a bias, gated
 * feed-forward parts, scaled logits. */
#include "plan.h"

/* In windows of 4 layers, where there are some, the last sees everything and knows no positions. */
static void layers(sm_plan *p, uint32_t window) {
    const sm_wiring attention = {.pre = "attn_norm", .norm = SM_NORM_LAYER, .aside = true};
    const sm_wiring ffn = {.pre = "attn_norm", .norm = SM_NORM_LAYER, .shared = true};
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, false);
    const uint32_t none = window ? plan_rope_none(p) : rope;
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        const bool windowed = window && plan_windowed(p, i, 4);
        a.window = windowed ? window : 0;
        a.rope = windowed ? rope : none;
        plan_attention(p, i, a, attention, plan_head_norms(p, &a));
        plan_gated(p, i, SM_SILU, ffn);
    }
    plan_head(p, (sm_head_params){.scale = (float)plan_positive(p, "logit_scale")});
}

void sm_plan_cohere(sm_plan *p) {
    layers(p, 0);
}

void sm_plan_cohere2(sm_plan *p) {
    layers(p, plan_u32(p, SM_K_WINDOW));
}
