/* granite and minicpm: llama's layers with four scales: of the embedding, of what each block adds,
 * of scores, of logits (maximal update parametrization); granite's also as mixtures of experts. */
#include "plan.h"

#include <math.h>

/* What a file does not say is `embedding` and so on; logits are divided by theirs. */
static void layers(sm_plan *p, double embedding, double residual, double logits) {
    const bool positions = plan_bool_or(p, "rope.scaling.finetuned", true);
    const uint32_t rope = positions ? plan_rope(p, SM_K_ROPE_BASE, false) : plan_rope_none(p);
    const float scale = (float)plan_positive_or(p, "residual_scale", residual);
    p->net->embd_scale = (float)plan_positive_or(p, "embedding_scale", embedding);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        a.scale = (float)plan_positive_or(p, "attention.scale", (double)a.scale);
        plan_attention(p, i, a, (sm_wiring){.pre = "attn_norm", .scale = scale}, 0);
        plan_experts_or_gated(p, i, NULL, (sm_wiring){.pre = "ffn_norm", .scale = scale}, 0);
    }
    logits = plan_positive_or(p, "logit_scale", logits);
    plan_head(p, (sm_head_params){.scale = (float)(1 / logits)});
}

void sm_plan_granite(sm_plan *p) {
    layers(p, 1, 1, 1);
}

/* What the first models' files leave out is scale_emb 12, scale_depth 1.4 and dim_model_base 256 of
 * their configuration. */
void sm_plan_minicpm(sm_plan *p) {
    layers(p, 12, 1.4 / sqrt((double)p->n_layer), (double)p->n_embd / 256);
}
