/* gemma: llama's layers with GELU, gains of 1 + w, which files have added up, and a scaled
 * embedding; gemma 2: norms before and after each part, every second layer windowed, soft caps;
 * gemma 3: norms of q and k in their place, two rotations. */
#include "plan.h"

#include <math.h>

static const sm_wiring around_attention = {.pre = "attn_norm", .post = "post_attention_norm"};
static const sm_wiring around_ffn = {.pre = "ffn_norm", .post = "post_ffw_norm"};

void sm_plan_gemma(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    p->net->embd_scale = sqrtf((float)p->n_embd);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        plan_attention(p, i, a, (sm_wiring){.pre = "attn_norm"}, 0);
        plan_gated(p, i, SM_GELU, (sm_wiring){.pre = "ffn_norm"});
    }
    plan_head(p, (sm_head_params){0});
}

/* Scores of the 27B models are scaled by n_embd / n_head, which is not their head dimension and for
 * which GGUF files have no key; one that is made of a directory has it where it is another. */
static float scale_of(sm_plan *p, const sm_attn_params *a) {
    const bool large =
        (p->n_embd == 4608 || p->n_embd == 5376) && a->n_head == 32 && a->head_dim == 128;
    const float usual = large ? 1.0f / sqrtf((float)(p->n_embd / a->n_head)) : a->scale;
    return (float)plan_positive_or(p, "attention.scale", (double)usual);
}

void sm_plan_gemma2(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    const uint32_t window = plan_u32_or(p, SM_K_WINDOW, 4096);
    const float cap = (float)plan_number_or(p, SM_K_SCORE_CAP, 50); /* 0: none */
    p->net->embd_scale = sqrtf((float)p->n_embd);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        a.window = plan_windowed(p, i, 2) ? window : 0;
        a.scale = scale_of(p, &a);
        a.cap = cap;
        plan_attention(p, i, a, around_attention, 0);
        plan_gated(p, i, SM_GELU, around_ffn);
    }
    plan_head(p, (sm_head_params){.cap = (float)plan_number_or(p, SM_K_LOGIT_CAP, 30)});
}

/* Head norms of q and k, five layers of six windowed; these have a rotation of their own, which is
 * not stretched. */
static void gemma3(sm_plan *p, uint32_t sides) {
    const uint32_t norms = 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    const uint32_t near = plan_rope_plain(p, plan_positive_or(p, SM_K_ROPE_BASE_SWA, 10000), true);
    const uint32_t window = plan_count_or(p, SM_K_WINDOW, 0);
    const float cap = plan_has(p, SM_K_LOGIT_CAP) ? (float)plan_positive(p, SM_K_LOGIT_CAP) : 0;
    p->net->embd_scale = sqrtf((float)p->n_embd);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        const bool windowed = window && plan_windowed(p, i, 6);
        a.rope = windowed ? near : rope;
        a.window = (windowed ? window : 0) | sides;
        a.scale = scale_of(p, &a);
        plan_attention(p, i, a, around_attention, norms);
        plan_gated(p, i, SM_GELU, around_ffn);
    }
    plan_head(p, (sm_head_params){.cap = cap});
}

void sm_plan_gemma3(sm_plan *p) {
    gemma3(p, 0);
}

/* The same where tokens see those behind them, too. */
void sm_plan_gemma_embedding(sm_plan *p) {
    plan_both(p);
    gemma3(p, SM_BOTH);
}
