/* llama and its relatives: pre-norm blocks of attention and a gated feed-forward part, all layers
 * alike; llama files with expert_count are mixtral's. */
#include "plan.h"

static const sm_wiring around_attention = {.pre = "attn_norm"}, around_ffn = {.pre = "ffn_norm"};

/* What a family asks for beyond llama's tensors, as bits of slots. */
static void layers(sm_plan *p, bool neox, uint32_t asked, bool experts) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, neox);
    const uint32_t window = plan_window(p);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        a.window = window;
        plan_attention(p, i, a, around_attention, asked);
        if (experts)
            plan_experts_or_gated(p, i, SM_SILU, around_ffn);
        else
            plan_gated(p, i, SM_SILU, around_ffn);
    }
    plan_head(p, 0);
}

void sm_plan_llama(sm_plan *p) {
    layers(p, false, 0, true);
}

/* Biases of q, k and v. */
void sm_plan_qwen2(sm_plan *p) {
    layers(p, true, 1u << SM_ATTN_Q_BIAS | 1u << SM_ATTN_K_BIAS | 1u << SM_ATTN_V_BIAS, false);
}

/* RMS norm of each head of q and k before rope. */
void sm_plan_qwen3(sm_plan *p) {
    layers(p, true, 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM, false);
}
