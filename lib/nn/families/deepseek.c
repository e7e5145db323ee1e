/* Latent attention: deepseek 2 and 3, whose layers behind the first ones have experts, and minicpm
 * 3.
 */
#include "plan.h"

#include <math.h>

#define LOG_MULTIPLIER "rope.scaling.yarn_log_multiplier"

/* Where YaRN's magnitude has a factor of its own, scores are multiplied by it, of all of a head,
 * and the rotation leaves lengths as they are. */
static float yarn_scale(sm_plan *p, sm_rope *rope) {
    if (!plan_has(p, LOG_MULTIPLIER) || rope->scaling != SM_ROPE_YARN || !(rope->factor > 1))
        return 1;
    const double m = 1 + plan_number_or(p, LOG_MULTIPLIER, 0) * log(rope->factor);
    rope->growth = 0;
    return (float)(m * m);
}

void sm_plan_deepseek2(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, false);
    const sm_experts_params usual = {.scoring = SM_SCORE_SOFTMAX};
    const float scale = p->status ? 1 : yarn_scale(p, &p->net->ropes[rope]);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_latent_params l = plan_latent_heads(p, i, rope);
        l.attn.scale *= scale;
        plan_latent(p, i, l, (sm_wiring){.pre = "attn_norm"});
        plan_experts_or_gated(p, i, &usual, (sm_wiring){.pre = "ffn_norm"}, 0);
    }
    plan_head(p, (sm_head_params){0});
}

/* With minicpm's scales (granite.c). Files have no keys for them, all models were published with
 * scale_emb 12, scale_depth 1.4 and dim_model_base 256. */
void sm_plan_minicpm3(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    const double depth = 1.4 / sqrt((double)p->n_layer), logits = (double)p->n_embd / 256;
    const float scale = (float)plan_positive_or(p, "residual_scale", depth);
    p->net->embd_scale = (float)plan_positive_or(p, "embedding_scale", 12);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        plan_latent(p, i, plan_latent_heads(p, i, rope),
                    (sm_wiring){.pre = "attn_norm", .scale = scale});
        plan_gated(p, i, SM_SILU, (sm_wiring){.pre = "ffn_norm", .scale = scale});
    }
    plan_head(p,
              (sm_head_params){.scale = (float)(1 / plan_positive_or(p, "logit_scale", logits))});
}
