/* Families that are mixtures of experts in all layers, or in all but the first ones. */
#include "plan.h"

#define BIT(slot) (1u << (slot))

static const sm_wiring around_attention = {.pre = "attn_norm"};

/* What families differ in beside their experts. */
typedef struct relative {
    bool neox;                  /* pairs of the rotation */
    bool norm_whole, norm_late; /* norms of q and k: over all heads, after rope */
    uint32_t asked;             /* bits of slots of attention */
    const char *before_experts; /* the norm; NULL: ffn_norm */
} relative;

/* Layers alike but for what keys say; experts: bits of their slots. */
static void layers(sm_plan *p, relative r, const sm_experts_params *usual, uint32_t experts) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, r.neox);
    const uint32_t window = plan_window(p);
    const sm_wiring around_experts = {.pre = r.before_experts ? r.before_experts : "ffn_norm"};
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        a.window = window;
        a.norm_whole = r.norm_whole;
        a.norm_late = r.norm_late;
        plan_attention(p, i, a, around_attention, r.asked);
        plan_experts_or_gated(p, i, usual, around_experts, experts);
    }
    plan_head(p, (sm_head_params){0});
}

#define QKV_BIAS (BIT(SM_ATTN_Q_BIAS) | BIT(SM_ATTN_K_BIAS) | BIT(SM_ATTN_V_BIAS))
#define QK_NORM (BIT(SM_ATTN_Q_NORM) | BIT(SM_ATTN_K_NORM))

/* Old files have no width of experts, but that of as many as are used. */
static uint32_t width_of_one(sm_plan *p) {
    const uint32_t all = plan_u32(p, SM_K_FF), used = plan_u32(p, SM_K_EXPERTS_USED);
    return p->status || used > all ? 0 : all / used;
}

/* Scores as they are; a shared expert with a gate of its own. */
void sm_plan_qwen2moe(sm_plan *p) {
    const sm_experts_params usual = {.n_ff = width_of_one(p), .n_ff_shared = plan_u32(p, SM_K_FF)};
    layers(p, (relative){.neox = true, .asked = QKV_BIAS}, &usual, BIT(SM_EXPERTS_SHARE));
}

void sm_plan_qwen3moe(sm_plan *p) {
    const sm_experts_params usual = {.n_ff = width_of_one(p), .renormalise = true};
    layers(p, (relative){.neox = true, .asked = QK_NORM}, &usual, 0);
}

/* Scores as they are; norms of q and k over all heads. */
void sm_plan_olmoe(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SOFTMAX};
    layers(p, (relative){.neox = true, .norm_whole = true, .asked = QK_NORM}, &usual, 0);
}

/* A bias in the choice of experts; the first layers are dense. */
void sm_plan_ernie4_5_moe(sm_plan *p) {
    const sm_experts_params usual = {.renormalise = true};
    layers(p, (relative){0}, &usual, 0);
}

/* DeepSeek's first mixture: scores as they are. */
void sm_plan_deepseek(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SOFTMAX};
    layers(p, (relative){0}, &usual, 0);
}

/* DeepSeek-V3's routing. */
void sm_plan_dots1(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID};
    layers(p, (relative){.neox = true, .asked = QK_NORM}, &usual, 0);
}

/* The shared expert is as wide as the others where no key says its width. */
void sm_plan_hunyuan_moe(sm_plan *p) {
    const sm_experts_params usual = {.renormalise = true, .n_ff_shared = plan_u32(p, SM_K_FF)};
    layers(p, (relative){.neox = true, .norm_late = true, .asked = QK_NORM}, &usual, 0);
}

/* DeepSeek-V3's routing. Smaller models have no norms of heads; the last layers are for drafts. */
void sm_plan_glm4moe(sm_plan *p) {
    plan_drop_drafts(p);
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID, .renormalise = true};
    const bool norms = plan_has_tensor(p, "blk.0.attn_q_norm.weight");
    layers(p,
           (relative){
               .neox = true, .asked = norms ? QK_NORM : 0, .before_experts = "post_attention_norm"},
           &usual, 0);
}

/* Sinks, biases everywhere, a window in every second layer, a clamped activation; YaRN's ramp ends
 * between dimensions (`truncate: false` of the published configuration, for which files have no
 * key). */
void sm_plan_gpt_oss(sm_plan *p) {
    const sm_experts_params usual = {.renormalise = true, .limit = 7, .alpha = 1.702f};
    const uint32_t biases = BIT(SM_EXPERTS_ROUTER_BIAS) | BIT(SM_EXPERTS_GATE_BIAS) |
                            BIT(SM_EXPERTS_UP_BIAS) | BIT(SM_EXPERTS_DOWN_BIAS);
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    const uint32_t window = plan_count_or(p, SM_K_WINDOW, 0);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        p->net->ropes[rope].exact_ramp = true;
        a.rope = rope;
        a.window = plan_windowed(p, i, 2) ? window : 0;
        plan_attention(p, i, a, around_attention,
                       QKV_BIAS | BIT(SM_ATTN_O_BIAS) | BIT(SM_ATTN_SINKS));
        plan_experts_or_gated(p, i, &usual, (sm_wiring){.pre = "post_attention_norm"}, biases);
    }
    plan_head(p, (sm_head_params){0});
}

/* phi 3.5's mixture: LayerNorm, biases everywhere but of experts. Weights are as in its code, and
 * do not add up to 1. */
void sm_plan_phimoe(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_MIXER};
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true), window = plan_window(p);
    sm_wiring wiring = {.norm = SM_NORM_LAYER, .bias = true};
    p->rms_key = true;
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        a.window = window;
        wiring.pre = "attn_norm";
        plan_attention(p, i, a, wiring, QKV_BIAS | BIT(SM_ATTN_O_BIAS));
        wiring.pre = "ffn_norm";
        plan_experts_or_gated(p, i, &usual, wiring, 0);
    }
    plan_head(p, (sm_head_params){.bias = true});
}

/* Ling 2: DeepSeek-V3's routing; the last layers are for drafts. */
void sm_plan_bailingmoe2(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID, .renormalise = true};
    plan_drop_drafts(p);
    plan_joined(p, &sm_kind_attention);
    layers(p, (relative){.neox = true, .asked = QK_NORM}, &usual, 0);
}
