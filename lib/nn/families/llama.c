/* llama and its relatives: pre-norm blocks of attention and a gated feed-forward part, all layers
 * alike; llama files with expert_count are mixtral's. */
#include "plan.h"

#include <math.h>

static const uint32_t qkv_biases =
    1u << SM_ATTN_Q_BIAS | 1u << SM_ATTN_K_BIAS | 1u << SM_ATTN_V_BIAS;
static const uint32_t head_norms = 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;

/* What a family has beyond llama's. */
typedef struct relative {
    bool neox;       /* pairs of the rotation */
    bool experts;    /* if the file has them */
    bool norm_late;  /* of q and k: after the rotation */
    uint32_t asked;  /* bits of slots */
    uint32_t period; /* of so many layers the last knows no positions; 0: all do */
    bool plain;      /* feed-forward parts without a gate, of `activation` */
    sm_activation activation;
    bool parallel;        /* both parts of a layer read x by one norm */
    float max_bias;       /* distances by ALiBi in place of the rotation; 0: none */
    const char *ffn_norm; /* name of the norm before the feed-forward part; NULL: "ffn_norm" */
    double temperature;   /* of queries, beyond the original context; 0: none */
} relative;

static void layers(sm_plan *p, relative r) {
    const uint32_t rope = r.max_bias > 0 ? plan_rope_none(p) : plan_rope(p, SM_K_ROPE_BASE, r.neox);
    const uint32_t none = r.period ? plan_rope_none(p) : rope;
    const bool mixed = plan_has(p, SM_K_WINDOW_PATTERN);
    const uint32_t window = mixed ? plan_count_or(p, SM_K_WINDOW, 0) : plan_window(p);
    const sm_wiring around_attention = {.pre = "attn_norm", .aside = r.parallel};
    const sm_wiring around_ffn = {.pre = r.parallel   ? "attn_norm"
                                         : r.ffn_norm ? r.ffn_norm
                                                      : "ffn_norm",
                                  .shared = r.parallel};
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = r.period && i % r.period == r.period - 1 ? none : rope;
        a.window = mixed && !plan_windowed(p, i, 0) ? 0 : window;
        a.norm_late = r.norm_late;
        if (a.max_bias == 0)
            a.max_bias = r.max_bias;
        a.temperature = (float)r.temperature;
        a.temperature_span = p->net->ropes[rope].n_ctx_original;
        plan_attention(p, i, a, around_attention, r.asked);
        if (r.experts)
            plan_experts_or_gated(p, i, NULL, around_ffn, 0);
        else if (r.plain)
            plan_plain(p, i, r.activation, around_ffn, 0);
        else
            plan_gated(p, i, SM_SILU, around_ffn);
    }
    plan_head(p, (sm_head_params){0});
}

void sm_plan_llama(sm_plan *p) {
    layers(p, (relative){.experts = true});
}

/* internlm2, ernie 4.5 (dense) and xverse. */
void sm_plan_like_llama(sm_plan *p) {
    layers(p, (relative){0});
}

void sm_plan_arcee(sm_plan *p) {
    layers(p, (relative){.plain = true, .activation = SM_RELU2});
}

/* exaone 3 and 3.5; text of paddleocr. */
void sm_plan_exaone(sm_plan *p) {
    layers(p, (relative){.neox = true});
}

/* Biases of all matrices of attention. */
void sm_plan_pangu(sm_plan *p) {
    layers(p, (relative){.neox = true, .asked = qkv_biases | 1u << SM_ATTN_O_BIAS});
}

/* Biases of q, k and v. qwen2vl: text, whose positions are the same in all sections of the
 * rotation. */
void sm_plan_qwen2(sm_plan *p) {
    layers(p, (relative){.neox = true, .asked = qkv_biases});
}

/* The same with the norm before the feed-forward part under another name. */
void sm_plan_seed_oss(sm_plan *p) {
    layers(p, (relative){.neox = true, .ffn_norm = "post_attention_norm"});
}

/* RMS norm of each head of q and k before rope; qwen3vl as qwen2vl. */
void sm_plan_qwen3(sm_plan *p) {
    layers(p, (relative){.neox = true, .asked = head_norms});
}

/* The same after it; text of hunyuan_vl, whose base grows with a longer context (NTK-aware). */
void sm_plan_hunyuan(sm_plan *p) {
    const double alpha = plan_positive_or(p, "rope.scaling.alpha", 1);
    layers(p, (relative){.neox = true, .norm_late = true, .asked = head_norms});
    for (uint32_t i = 0; i < p->net->n_ropes && !p->status; i++) {
        sm_rope *r = &p->net->ropes[i];
        if (r->n_rot > 2)
            r->theta *= pow(alpha, r->n_rot / (r->n_rot - 2.0));
    }
}

void sm_plan_apertus(sm_plan *p) {
    layers(p, (relative){.neox = true, .asked = head_norms, .plain = true, .activation = SM_XIELU});
}

void sm_plan_refact(sm_plan *p) {
    layers(p, (relative){.max_bias = 8});
}

/* 7B has a rotation, 13B, which alone has 40 layers, ALiBi; files need not say so. */
void sm_plan_baichuan(sm_plan *p) {
    const bool alibi = plan_has(p, SM_K_ALIBI) || p->n_layer == 40;
    layers(p, (relative){.max_bias = alibi ? 8 : 0});
}

/* Norms of heads; widths and heads of each layer by itself. */
void sm_plan_openelm(sm_plan *p) {
    plan_joined(p, &sm_kind_attention);
    layers(p, (relative){.neox = true, .asked = head_norms});
}

void sm_plan_plamo(sm_plan *p) {
    layers(p, (relative){.neox = true, .parallel = true});
}

/* The first qwen: files say twice the inner width. */
void sm_plan_qwen(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, true);
    plan_joined(p, &sm_kind_attention);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        const uint32_t twice = plan_of_layer(p, SM_K_FF, i);
        sm_attn_params a = plan_heads(p, i);
        a.rope = rope;
        if (twice % 2)
            plan_fail(p, SM_ERR_FORMAT, SM_K_FF, "is odd, and should be twice the inner width");
        plan_attention(p, i, a, (sm_wiring){.pre = "attn_norm"}, qkv_biases);
        plan_gated_of(p, i, twice / 2, SM_SILU, (sm_wiring){.pre = "ffn_norm"});
    }
    plan_head(p, (sm_head_params){0});
}

void sm_plan_maincoder(sm_plan *p) {
    layers(p, (relative){.norm_late = true, .asked = head_norms});
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

/* Queries grow beyond the original context; where yarn_log_multiplier is m, the rotation's
 * magnitude grows by (0.1 ln(factor) + 1) / (0.1 m ln(factor) + 1). */
void sm_plan_mistral3(sm_plan *p) {
    const double m = plan_number_or(p, "rope.scaling.yarn_log_multiplier", 0);
    const double temperature = plan_number_or(p, "attention.temperature_scale", 0);
    layers(p, (relative){.experts = true, .temperature = temperature});
    if (p->status || p->net->ropes[0].scaling != SM_ROPE_YARN || p->net->ropes[0].factor <= 1)
        return;
    const double growth = 1 + 0.1 * m * log(p->net->ropes[0].factor);
    if (growth > 0)
        p->net->ropes[0].attn_factor /= growth;
    else
        plan_fail(p, SM_ERR_FORMAT, "rope.scaling.yarn_log_multiplier", "is out of range");
}

/* Nemotron's networks of found layers: attention may be a matrix alone, or missing, and so may the
 * feed-forward part. */
void sm_plan_deci(sm_plan *p) {
    const uint32_t rope = plan_rope(p, SM_K_ROPE_BASE, false);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        const uint32_t n_head = plan_count_of_layer(p, SM_K_HEADS, i);
        if (n_head && plan_count_of_layer(p, SM_K_HEADS_KV, i)) {
            sm_attn_params a = plan_heads(p, i);
            a.rope = rope;
            plan_attention(p, i, a, (sm_wiring){.pre = "attn_norm"}, 0);
        } else if (n_head) {
            plan_linear(p, i, (sm_wiring){.pre = "attn_norm"});
        }
        if (plan_count_of_layer(p, SM_K_FF, i))
            plan_gated(p, i, SM_SILU, (sm_wiring){.pre = "ffn_norm"});
    }
    if (!p->status && !p->net->n_states)
        plan_fail(p, SM_ERR_FORMAT, SM_K_HEADS_KV, "leaves no layer with attention");
    plan_head(p, (sm_head_params){0});
}
