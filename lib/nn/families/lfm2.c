/* LFM2: layers of gated short convolutions among layers of attention, whose keys and values have
 * heads (attention.head_count_kv is 0 of the others); lfm2moe: with experts behind the first ones.
 */
#include "plan.h"

static void layers(sm_plan *p, const sm_experts_params *experts) {
    static const uint32_t head_norms = 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;
    static const sm_wiring around_mixer = {.pre = "attn_norm"}, around_ffn = {.pre = "ffn_norm"};
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    plan_joined(p, &sm_kind_shortconv);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        if (plan_count_of_layer(p, SM_K_HEADS_KV, i)) {
            sm_attn_params a = plan_heads(p, i);
            a.rope = rope;
            plan_attention(p, i, a, around_mixer, head_norms);
        } else {
            plan_shortconv(p, i, around_mixer);
        }
        if (experts)
            plan_experts_or_gated(p, i, experts, around_ffn, 0);
        else
            plan_gated(p, i, SM_SILU, around_ffn);
    }
    /* converters have called it so */
    plan_head(p, (sm_head_params){
                     .norm = plan_has_tensor(p, "output_norm.weight") ? NULL : "token_embd_norm"});
}

void sm_plan_lfm2(sm_plan *p) {
    layers(p, NULL);
}

void sm_plan_lfm2moe(sm_plan *p) {
    layers(p, &(sm_experts_params){.scoring = SM_SCORE_SIGMOID, .renormalise = true});
}
