/* olmo 2 and 3, exaone 4: blocks that read the residual stream as it is, with a norm of what they
 * add. */
#include "plan.h"

static const sm_wiring around_attention = {.post = "post_attention_norm"};
static const sm_wiring around_ffn = {.post = "post_ffw_norm"};
static const uint32_t norms = 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;

/* The window, or the rope, of layers that have one differs from that of the others. */
typedef struct variant {
    uint32_t rope, windowed_rope;
    bool norm_whole;
} variant;

static void layers(sm_plan *p, variant v) {
    const uint32_t window = plan_count_or(p, SM_K_WINDOW, 0);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        const bool windowed = window && plan_windowed(p, i, 4);
        a.rope = windowed ? v.windowed_rope : v.rope;
        a.window = windowed ? window : 0;
        a.norm_whole = v.norm_whole;
        plan_attention(p, i, a, around_attention, norms);
        plan_gated(p, i, SM_SILU, around_ffn);
    }
    plan_head(p, (sm_head_params){0});
}

/* Norms of q and k over the whole projection; windowed layers know nothing of a stretched
 * context. */
void sm_plan_olmo2(sm_plan *p) {
    const double base = plan_positive_or(p, SM_K_ROPE_BASE, 10000);
    variant v = {plan_rope(p, SM_K_ROPE_BASE, true), .norm_whole = true};
    v.windowed_rope = plan_has(p, SM_K_WINDOW)
                          ? plan_rope_plain(p, plan_positive_or(p, SM_K_ROPE_BASE_SWA, base), true)
                          : v.rope;
    layers(p, v);
}

/* Where there are windows, layers without one know no positions. */
void sm_plan_exaone4(sm_plan *p) {
    const bool windows = plan_count_or(p, SM_K_WINDOW, 0) != 0;
    const bool own = windows && plan_has(p, SM_K_ROPE_BASE_SWA);
    variant v = {.windowed_rope = plan_rope(p, own ? SM_K_ROPE_BASE_SWA : SM_K_ROPE_BASE, true)};
    v.rope = windows ? plan_rope_none(p) : v.windowed_rope;
    layers(p, v);
}
