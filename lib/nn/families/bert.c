/* bert (arXiv:1810.04805) and what came after it: encoders, whose tokens see all others. Norms
 * stand behind what was added, but of ModernBERT (arXiv:2412.13663) before the parts. */
#include "plan.h"

/* What a family's layers are made of. */
typedef struct parts {
    uint32_t rope;
    uint32_t asked, asked_ffn; /* bits of slots of attention, and of plain feed-forward parts */
    float max_bias;            /* of ALiBi */
    bool gated;
    sm_activation activation;
} parts;

#define ATTENTION_BIASES \
    (1u << SM_ATTN_Q_BIAS | 1u << SM_ATTN_K_BIAS | 1u << SM_ATTN_V_BIAS | 1u << SM_ATTN_O_BIAS)
#define FFN_BIASES (1u << SM_PLAIN_UP_BIAS | 1u << SM_PLAIN_DOWN_BIAS)

static sm_wiring layer_norm(const char *name, bool bias) {
    return (sm_wiring){.pre = name, .norm = SM_NORM_LAYER, .bias = bias};
}

/* x = norm(x + attention(x)); x = norm(x + ffn(x)) */
static void layers(sm_plan *p, parts l) {
    const sm_wiring bare = {.norm = SM_NORM_LAYER};
    plan_both(p);
    plan_types(p);
    plan_norm(p, layer_norm("token_embd_norm", true));
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = l.rope;
        a.window = SM_BOTH;
        if (!plan_has(p, SM_K_ALIBI))
            a.max_bias = l.max_bias;
        plan_attention(p, i, a, bare, l.asked);
        plan_layer_norm(p, i, layer_norm("attn_output_norm", true));
        if (l.gated)
            plan_gated(p, i, l.activation, bare);
        else
            plan_plain(p, i, l.activation, bare, l.asked_ffn);
        plan_layer_norm(p, i, layer_norm("layer_output_norm", true));
    }
    plan_head(p, (sm_head_params){.unnormed = true});
}

/* bert, roberta, xlm-roberta: learned positions, biases everywhere. */
void sm_plan_bert(sm_plan *p) {
    plan_positions(p);
    layers(p, (parts){.rope = plan_rope_none(p),
                      .asked = ATTENTION_BIASES,
                      .asked_ffn = FFN_BIASES,
                      .activation = SM_GELU_ERF});
}

/* nomic: rotations, gated parts, no biases of matrices. */
void sm_plan_nomic_bert(sm_plan *p) {
    layers(
        p,
        (parts){.rope = plan_rope(p, SM_K_ROPE_BASE, true), .gated = true, .activation = SM_SILU});
}

/* jina: distances to both sides by ALiBi, gated parts, of which gate and up may be one tensor. */
void sm_plan_jina_bert_v2(sm_plan *p) {
    plan_joined(p, &sm_kind_gated);
    layers(p, (parts){.rope = plan_rope_none(p),
                      .max_bias = 8,
                      .asked = ATTENTION_BIASES,
                      .gated = true,
                      .activation = SM_GELU_ERF});
}

/* ModernBERT: every third layer sees all, the others a window, with a rotation of their own; the
 * first has no norm before attention, for the embedding is normed. */
void sm_plan_modern_bert(sm_plan *p) {
    const uint32_t period = plan_u32_or(p, SM_K_WINDOW_PATTERN, 3);
    const uint32_t window = plan_u32_or(p, SM_K_WINDOW, 128);
    const uint32_t far = plan_rope(p, SM_K_ROPE_BASE, true);
    const uint32_t near = plan_rope_plain(p, plan_positive_or(p, SM_K_ROPE_BASE_SWA, 10000), true);
    plan_both(p);
    plan_joined(p, &sm_kind_attention);
    plan_joined(p, &sm_kind_gated);
    plan_norm(p, layer_norm("token_embd_norm", false));
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        const bool all = i % period == 0;
        a.rope = all ? far : near;
        a.window = (all ? 0 : window) | SM_BOTH;
        plan_attention(p, i, a, i ? layer_norm("attn_norm", false) : (sm_wiring){0}, 0);
        plan_gated(p, i, SM_GELU_ERF, layer_norm("ffn_norm", false));
    }
    plan_head(p, (sm_head_params){0});
}
