/* Families that are mixtures of experts in all layers, or in all but the first ones. */
#include "plan.h"

#define BIT(slot) (1u << (slot))

static const sm_wiring around_attention = {.pre = "attn_norm"};

/* Of layers that differ: of so many the last has no window, and a rotation of its own. */
typedef struct places {
    uint32_t period; /* 0: all have the window, and `near` */
    uint32_t near, far;
} places;

/* What families differ in beside their experts. */
typedef struct relative {
    bool neox;                  /* pairs of the rotation */
    bool norm_whole, norm_late; /* norms of q and k: over all heads, after rope */
    uint32_t asked;             /* bits of slots of attention */
    const char *before_experts; /* the norm; NULL: ffn_norm */
} relative;

/* Experts: bits of their slots. */
static void layers_at(sm_plan *p, relative r, places at, const sm_experts_params *usual,
                      uint32_t experts) {
    const uint32_t window = at.period ? plan_count_or(p, SM_K_WINDOW, 0) : plan_window(p);
    const sm_wiring around_experts = {.pre = r.before_experts ? r.before_experts : "ffn_norm"};
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        const bool near = !at.period || (window && plan_windowed(p, i, at.period));
        a.rope = near ? at.near : at.far;
        a.window = near ? window : 0;
        a.norm_whole = r.norm_whole;
        a.norm_late = r.norm_late;
        plan_attention(p, i, a, around_attention, r.asked);
        plan_experts_or_gated(p, i, usual, around_experts, experts);
    }
    plan_head(p, (sm_head_params){0});
}

/* Layers alike but for what keys say. */
static void layers(sm_plan *p, relative r, const sm_experts_params *usual, uint32_t experts) {
    layers_at(p, r, (places){.near = plan_rope(p, SM_K_ROPE_BASE, r.neox)}, usual, experts);
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

/* Llama 4: of four layers three see chunks of positions, and norm queries and keys behind the
 * rotation, without gains (but not of 128 experts); the fourth sees everything and knows no
 * positions, and its queries grow with them. No window: all see everything, with positions. What an
 * expert reads is weighed. Files have no keys for the sizes of chunks (or steps of growth). */
void sm_plan_llama4(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID,
                                     .weigh_inputs = true,
                                     .n_ff_shared = plan_count_or(p, SM_K_EXPERTS_FF, 0)};
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, false), none = plan_rope_none(p);
    const uint32_t chunk = plan_count_or(p, SM_K_WINDOW, 8192);
    const bool norms = plan_count_or(p, SM_K_EXPERTS, 0) != 128;
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        const bool near = chunk && plan_windowed(p, i, 4), placed = near || !chunk;
        a.rope = placed ? rope : none;
        a.window = near ? chunk | SM_CHUNKED : 0;
        a.norm_bare = a.norm_late = placed && norms;
        a.temperature = placed ? 0 : (float)plan_number_or(p, "attention.temperature_scale", 0.1);
        a.temperature_span = plan_u32_or(p, "attention.temperature_length", 8192);
        a.temperature_first = 1;
        plan_attention(p, i, a, around_attention, 0);
        plan_experts_or_gated(p, i, &usual, (sm_wiring){.pre = "ffn_norm"}, 0);
    }
    plan_head(p, (sm_head_params){0});
}

/* LayerNorm without a bias, values within a limit. */
void sm_plan_dbrx(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    plan_joined(p, &sm_kind_attention);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        plan_attention(p, i, a, (sm_wiring){.pre = "attn_norm", .norm = SM_NORM_LAYER}, 0);
        plan_experts_or_gated(p, i, NULL,
                              (sm_wiring){.pre = "attn_output_norm", .norm = SM_NORM_LAYER}, 0);
    }
    plan_head(p, (sm_head_params){0});
}

void sm_plan_minimax_m2(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID, .renormalise = true};
    layers(p, (relative){.neox = true, .norm_whole = true, .asked = QK_NORM}, &usual, 0);
}

/* DeepSeek-V3's routing and a shared expert of one's width; the last layers are for drafts, and no
 * key says which of the first have no experts. */
void sm_plan_hy_v3(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID,
                                     .n_ff_shared = plan_count_or(p, SM_K_EXPERTS_FF, 0)};
    plan_drop_drafts(p);
    p->keyless = true;
    layers(p, (relative){.neox = true, .asked = QK_NORM}, &usual, 0);
}

/* The same; where there are windows, layers without one know no positions. */
void sm_plan_exaone_moe(sm_plan *p) {
    const sm_experts_params usual = {.scoring = SM_SCORE_SIGMOID};
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    const bool windows = plan_count_or(p, SM_K_WINDOW, 0) != 0;
    plan_drop_drafts(p);
    layers_at(p, (relative){.neox = true, .asked = QK_NORM},
              (places){.period = 4, .near = rope, .far = windows ? plan_rope_none(p) : rope},
              &usual, 0);
}

/* qwen3moe with windows in three layers of four, which know nothing of a stretched context. */
void sm_plan_mellum(sm_plan *p) {
    const sm_experts_params usual = {.n_ff = width_of_one(p), .renormalise = true};
    const double base = plan_positive_or(p, SM_K_ROPE_BASE, 10000);
    const places at = {.period = 4,
                       .far = plan_rope(p, SM_K_ROPE_BASE, true),
                       .near =
                           plan_rope_plain(p, plan_positive_or(p, SM_K_ROPE_BASE_SWA, base), true)};
    layers_at(p, (relative){.neox = true, .asked = QK_NORM}, at, &usual, 0);
}
