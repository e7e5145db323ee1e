/* llama and its relatives: pre-norm blocks of attention and a gated feed-forward part, all layers
 * alike; llama files with expert_count are mixtral's. */
#include "plan.h"

static const sm_wiring around_attention = {.pre = "attn_norm"}, around_ffn = {.pre = "ffn_norm"};

/* What a family has beyond llama's. */
typedef struct relative {
    bool neox;       /* pairs of the rotation */
    bool experts;    /* if the file has them */
    bool norm_late;  /* of q and k: after the rotation */
    uint32_t asked;  /* bits of slots */
    uint32_t period; /* of so many layers the last knows no positions; 0: all do */
} relative;

static void layers(sm_plan *p, relative r) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, r.neox);
    const uint32_t none = r.period ? plan_rope_none(p) : rope;
    const uint32_t window = plan_window(p);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = r.period && i % r.period == r.period - 1 ? none : rope;
        a.window = window;
        a.norm_late = r.norm_late;
        plan_attention(p, i, a, around_attention, r.asked);
        if (r.experts)
            plan_experts_or_gated(p, i, NULL, around_ffn, 0);
        else
            plan_gated(p, i, SM_SILU, around_ffn);
    }
    plan_head(p, (sm_head_params){0});
}

void sm_plan_llama(sm_plan *p) {
    layers(p, (relative){.experts = true});
}

/* internlm2 and ernie 4.5, dense. */
void sm_plan_like_llama(sm_plan *p) {
    layers(p, (relative){0});
}

/* exaone 3 and 3.5 */
void sm_plan_exaone(sm_plan *p) {
    layers(p, (relative){.neox = true});
}

/* Biases of q, k and v. */
void sm_plan_qwen2(sm_plan *p) {
    const uint32_t biases = 1u << SM_ATTN_Q_BIAS | 1u << SM_ATTN_K_BIAS | 1u << SM_ATTN_V_BIAS;
    layers(p, (relative){.neox = true, .asked = biases});
}

static const uint32_t head_norms = 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;

/* RMS norm of each head of q and k before rope. */
void sm_plan_qwen3(sm_plan *p) {
    layers(p, (relative){.neox = true, .asked = head_norms});
}

/* The same after it. */
void sm_plan_hunyuan(sm_plan *p) {
    layers(p, (relative){.neox = true, .norm_late = true, .asked = head_norms});
}

/* No positions in every fourth layer (no_rope_layers of its configuration, for which files have no
 * key). */
void sm_plan_smollm3(sm_plan *p) {
    layers(p, (relative){.period = 4});
}

/* q, k and v in one tensor, gate and up in another. */
void sm_plan_phi3(sm_plan *p) {
    plan_joined(p, &sm_kind_attention);
    plan_joined(p, &sm_kind_gated);
    layers(p, (relative){.neox = true});
}
