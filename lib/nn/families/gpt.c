/* gpt-2 and what came after it with LayerNorm, all layers alike. */
#include "plan.h"

/* What a family's layers are made of. */
typedef struct parts {
    sm_wiring attention, ffn;
    uint32_t rope;
    uint32_t asked, asked_ffn; /* bits of slots of attention, and of plain feed-forward parts */
    bool gated, output_bias;
    float max_bias; /* of ALiBi, where no key says it */
    bool by_size;   /* scores are divided by a head's size, not its root */
    sm_activation activation;
} parts;

#define QKV_BIASES (1u << SM_ATTN_Q_BIAS | 1u << SM_ATTN_K_BIAS | 1u << SM_ATTN_V_BIAS)
#define ALL_BIASES (QKV_BIASES | 1u << SM_ATTN_O_BIAS)
#define FFN_BIASES (1u << SM_PLAIN_UP_BIAS | 1u << SM_PLAIN_DOWN_BIAS)

static sm_wiring layer_norm(const char *pre) {
    return (sm_wiring){.pre = pre, .norm = SM_NORM_LAYER, .bias = true};
}

/* Attention and feed-forward part read the same x: x += attention(n1 x) + ffn(n2 x). */
static parts parallel(parts l) {
    l.attention.aside = true;
    return l;
}

/* The same where n1 and n2 are one norm. */
static parts parallel_of_one(parts l) {
    l.ffn = l.attention;
    l.ffn.shared = true;
    return parallel(l);
}

/* Those biases of matrices that a file has; a new model has all. */
static uint32_t biases(sm_plan *p, const char *name, uint32_t all) {
    return p->n_tensors == UINT64_MAX || plan_has_tensor(p, name) ? all : 0;
}

static void layers(sm_plan *p, parts l) {
    const uint32_t window = plan_window(p);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        sm_attn_params a = plan_heads(p, i);
        a.rope = l.rope;
        a.window = window;
        if (!plan_has(p, SM_K_ALIBI))
            a.max_bias = l.max_bias;
        if (l.by_size && !p->status)
            a.scale = 1.0f / (float)a.head_dim;
        plan_attention(p, i, a, l.attention, l.asked | plan_head_norms(p, &a));
        if (l.gated)
            plan_gated(p, i, l.activation, l.ffn);
        else
            plan_plain(p, i, l.activation, l.ffn, l.asked_ffn);
    }
    plan_head(p, (sm_head_params){.bias = l.output_bias});
}

/* gpt-2, and starcoder with its one head of keys: learned positions. */
void sm_plan_gpt2(sm_plan *p) {
    plan_joined(p, &sm_kind_attention);
    plan_positions(p);
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope_none(p),
                      .asked = ALL_BIASES,
                      .asked_ffn = FFN_BIASES,
                      .activation = SM_GELU});
}

/* bloom: distances by ALiBi, a norm of the embedding. */
void sm_plan_bloom(sm_plan *p) {
    plan_joined(p, &sm_kind_attention);
    plan_norm(p, layer_norm("token_embd_norm"));
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope_none(p),
                      .max_bias = 8,
                      .asked = ALL_BIASES,
                      .asked_ffn = FFN_BIASES,
                      .activation = SM_GELU});
}

/* mpt: ALiBi by its key, or learned positions; biases, of norms too, if the file has them. */
void sm_plan_mpt(sm_plan *p) {
    parts l = {.attention = layer_norm("attn_norm"),
               .ffn = layer_norm("ffn_norm"),
               .rope = plan_rope_none(p),
               .activation = SM_GELU_ERF};
    l.attention.bias = l.ffn.bias = plan_has_tensor(p, "blk.0.attn_norm.bias");
    plan_joined(p, &sm_kind_attention);
    if (plan_has_tensor(p, "position_embd.weight"))
        plan_positions(p);
    layers(p, l);
}

/* pythia and others: both branches read x by norms of their own, or one after the other. */
void sm_plan_gptneox(sm_plan *p) {
    const parts l = {.attention = layer_norm("attn_norm"),
                     .ffn = layer_norm("ffn_norm"),
                     .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                     .asked = biases(p, "blk.0.attn_output.bias", ALL_BIASES),
                     .asked_ffn = FFN_BIASES,
                     .activation = SM_GELU_ERF};
    plan_joined(p, &sm_kind_attention);
    layers(p, plan_bool_or(p, "use_parallel_residual", true) ? parallel(l) : l);
}

/* falcon: one norm for both branches as of 7B, or as of 40B two, of which the feed-forward part has
 * the one that otherwise is of both. Of falcon-rw positions times slopes are rounded to bf16, so
 * that results hang by more than distances. */
void sm_plan_falcon(sm_plan *p) {
    parts l = {.attention = layer_norm("attn_norm"),
               .rope = plan_rope(p, SM_K_ROPE_BASE, true),
               .activation = SM_GELU_ERF};
    if (plan_number_or(p, SM_K_ALIBI, 0) != 0)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_ALIBI,
                  "says distances of falcon-rw, which this version cannot compute");
    plan_joined(p, &sm_kind_attention);
    if (!plan_has_tensor(p, "blk.0.attn_norm_2.weight")) {
        layers(p, parallel_of_one(l));
        return;
    }
    l.ffn = l.attention;
    l.attention.pre = "attn_norm_2";
    layers(p, parallel(l));
}

void sm_plan_starcoder2(sm_plan *p) {
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                      .asked = biases(p, "blk.0.attn_output.bias", ALL_BIASES),
                      .asked_ffn = biases(p, "blk.0.ffn_up.bias", FFN_BIASES),
                      .activation = SM_GELU});
}

void sm_plan_codeshell(sm_plan *p) {
    plan_joined(p, &sm_kind_attention);
    sm_plan_starcoder2(p);
}

void sm_plan_orion(sm_plan *p) {
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                      .gated = true,
                      .activation = SM_SILU});
}

/* jais: distances by ALiBi, gated feed-forward parts; its scales are in the files' weights. */
void sm_plan_jais(sm_plan *p) {
    plan_joined(p, &sm_kind_attention);
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope_none(p),
                      .max_bias = 8,
                      .by_size = true,
                      .asked = ALL_BIASES,
                      .gated = true,
                      .activation = SM_SILU});
}

void sm_plan_jais2(sm_plan *p) {
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                      .asked = ALL_BIASES,
                      .asked_ffn = FFN_BIASES,
                      .activation = SM_RELU2});
}

/* Part of each head is rotated; the square of relu. The files have 1 + w for the gains of norms. */
void sm_plan_nemotron(sm_plan *p) {
    layers(p, (parts){.attention = layer_norm("attn_norm"),
                      .ffn = layer_norm("ffn_norm"),
                      .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                      .activation = SM_RELU2});
}

/* phi 1, 1.5 and 2: one norm for both branches, biases everywhere, of the logits too. */
void sm_plan_phi2(sm_plan *p) {
    layers(p, parallel_of_one((parts){.attention = layer_norm("attn_norm"),
                                      .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                                      .asked = ALL_BIASES,
                                      .asked_ffn = FFN_BIASES,
                                      .output_bias = true,
                                      .activation = SM_GELU}));
}

/* olmo 1: norms without tensors, gated feed-forward parts. */
void sm_plan_olmo(sm_plan *p) {
    const sm_wiring bare = {.norm = SM_NORM_LAYER, .bare = true};
    layers(p, (parts){.attention = bare,
                      .ffn = bare,
                      .rope = plan_rope(p, SM_K_ROPE_BASE, false),
                      .gated = true,
                      .activation = SM_SILU});
}

/* stablelm 1 and 2: part of each head rotated, gated feed-forward parts; of 12B both branches read
 * one norm, and heads of q and k have norms. */
void sm_plan_stablelm(sm_plan *p) {
    const parts l = {.attention = layer_norm("attn_norm"),
                     .ffn = layer_norm("ffn_norm"),
                     .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                     .gated = true,
                     .activation = SM_SILU};
    layers(p, plan_bool_or(p, "use_parallel_residual", false) ? parallel_of_one(l) : l);
}
