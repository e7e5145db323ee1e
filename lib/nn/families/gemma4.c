/* gemma 3n and 4. Gemma 4: gemma 3's layers, with heads of two sizes, values that are normed,
 * inputs of each layer, and last layers that have no keys and values but those of the last one
 * before them that sees as much. */
#include "plan.h"

#include <math.h>

typedef struct gemma4 {
    uint32_t period; /* of so many layers the last has no window, where no key says which */
    uint32_t rope, near, window, n_shared;
    uint32_t
        lender[2]; /* number of the block, of full layers, of windowed ones; UINT32_MAX: none */
} gemma4;

/* Of layer i. */
static sm_attn_params attention(sm_plan *p, gemma4 *g, uint32_t i) {
    const bool windowed = plan_windowed(p, i, g->period);
    sm_attn_params a = plan_heads(p, i);
    if (windowed) {
        a.head_dim = plan_u32_or(p, SM_K_KEY_LENGTH_SWA, a.head_dim);
        if (plan_u32_or(p, SM_K_VALUE_LENGTH_SWA, a.head_dim) != a.head_dim)
            plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_VALUE_LENGTH_SWA,
                      "differs from the key length, which this version cannot compute");
    }
    a.rope = windowed ? g->near : g->rope;
    a.window = windowed ? g->window : 0;
    a.scale = 1;
    a.norm_values = true;
    a.borrows = i >= p->n_layer - g->n_shared;
    a.keyed_values = !a.borrows && plan_is_file(p) && plan_has_in_layer(p, i, "attn_k.weight") &&
                     !plan_has_in_layer(p, i, "attn_v.weight");
    a.lender = g->lender[windowed];
    if (a.borrows && a.lender == UINT32_MAX)
        plan_fail(p, SM_ERR_FORMAT, SM_K_SHARED_LAYERS, "leaves no layer to share with");
    return a;
}

static void add_attention(sm_plan *p, gemma4 *g, uint32_t i, sm_wiring wiring) {
    const uint32_t norms = 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;
    const sm_attn_params a = attention(p, g, i);
    if (!a.borrows && !p->status)
        g->lender[a.window != 0] = p->net->n_blocks;
    plan_attention(p, i, a, wiring, a.borrows ? 1u << SM_ATTN_Q_NORM : norms);
}

/* Experts, where there are, beside the gated part, with a router that reads x normed by itself;
 * what each makes is normed, and their sum. */
static void feed_forward(sm_plan *p, uint32_t i) {
    const sm_experts_params usual = {.renormalise = true, .activation = SM_GELU};
    const sm_wiring alone = {.pre = "ffn_norm", .post = "post_ffw_norm"};
    const sm_wiring gated = {.pre = "ffn_norm", .post = "post_ffw_norm_1"};
    const sm_wiring experts = {
        .pre = "pre_ffw_norm_2", .post = "post_ffw_norm_2", .sum = "post_ffw_norm"};
    if (plan_count_or(p, SM_K_EXPERTS, 0))
        plan_gated_and_experts(p, i, &usual, gated, experts,
                               1u << SM_EXPERTS_ROUTER_SCALE | 1u << SM_EXPERTS_WEIGHT_SCALE);
    else
        plan_gated(p, i, SM_GELU, alone);
}

void sm_plan_gemma4(sm_plan *p) {
    const uint32_t n_input = plan_count_or(p, SM_K_INPUT_LENGTH, 0);
    gemma4 g = {.period = 6,
                .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                .window = plan_u32(p, SM_K_WINDOW),
                .n_shared = plan_count_or(p, SM_K_SHARED_LAYERS, 0),
                .lender = {UINT32_MAX, UINT32_MAX}};
    g.near = plan_rope_plain(p, plan_positive_or(p, SM_K_ROPE_BASE_SWA, 10000), true);
    const uint32_t n_rot = plan_count_or(p, SM_K_ROPE_DIMS_SWA, 0);
    if (n_rot % 2 || n_rot > SM_MAX_HEAD_DIM)
        plan_fail(p, SM_ERR_FORMAT, SM_K_ROPE_DIMS_SWA, "is odd or more than a head dimension");
    if (g.n_shared >= p->n_layer)
        plan_fail(p, SM_ERR_FORMAT, SM_K_SHARED_LAYERS, "is not less than there are layers");
    if (!p->status && n_rot)
        p->net->ropes[g.near].n_rot = n_rot;
    p->net->embd_scale = sqrtf((float)p->n_embd);
    if (n_input)
        plan_inputs(p, n_input);
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        add_attention(p, &g, i, (sm_wiring){.pre = "attn_norm", .post = "post_attention_norm"});
        feed_forward(p, i);
        if (n_input)
            plan_layer_input(p, i, (sm_wiring){.post = "post_norm"});
        plan_scale(p, i);
    }
    plan_head(p, (sm_head_params){.cap = plan_has(p, SM_K_LOGIT_CAP)
                                             ? (float)plan_positive(p, SM_K_LOGIT_CAP)
                                             : 0});
}

/* Rows of layer 0's matrix; no key has this number. */
static uint32_t laurel_rank(const sm_plan *p) {
    const sm_tensor *left = sm_source_find_tensor(p->source, "blk.0.laurel_l.weight");
    sm_packed_tensor packed = {0};
    if (left)
        sm_source_get_packed(p->source, left, &packed, NULL); /* what is wrong there binding says */
    const uint64_t rank = packed.packed ? packed.rows : left ? left->dims[1] : 64;
    return rank && rank < p->n_embd ? (uint32_t)rank : p->n_embd;
}

/* Gemma 3n: the same with streams of the residual, of which a layer computes one and the others
 * follow, a learned residual beside attention, and gates of the first layers cut off. A layer's own
 * input goes to the streams that it has not computed. */
void sm_plan_gemma3n(sm_plan *p) {
    gemma4 g = {.period = 5,
                .rope = plan_rope(p, SM_K_ROPE_BASE, true),
                .near = plan_rope_plain(p, plan_positive_or(p, SM_K_ROPE_BASE_SWA, 10000), true),
                .window = plan_u32(p, SM_K_WINDOW),
                .n_shared = plan_count_or(p, SM_K_SHARED_LAYERS, 0),
                .lender = {UINT32_MAX, UINT32_MAX}};
    if (g.n_shared >= p->n_layer)
        plan_fail(p, SM_ERR_FORMAT, SM_K_SHARED_LAYERS, "is not less than there are layers");
    if (plan_count_or(p, SM_K_STREAM_ACTIVE, 0))
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_STREAM_ACTIVE, "is not 0");
    p->net->embd_scale = sqrtf((float)p->n_embd);
    p->net->idle_keys = true;
    plan_inputs(p, plan_u32_or(p, SM_K_INPUT_LENGTH, 256));
    plan_split(p, plan_u32_or(p, SM_K_STREAMS, 4));
    for (uint32_t i = 0; i < p->n_layer && !p->status; i++) {
        const uint32_t predict = plan_predict(p, i);
        plan_laurel(p, i, laurel_rank(p), (sm_wiring){.pre = "attn_norm", .aside = true});
        add_attention(
            p, &g, i,
            (sm_wiring){.pre = "attn_norm", .post = "post_attention_norm", .shared = true});
        plan_factor(p, i, sqrt(0.5));
        plan_gated_sparse(p, i, SM_GELU, (sm_wiring){.pre = "ffn_norm", .post = "post_ffw_norm"});
        plan_correct(p, i, predict);
        plan_layer_input(
            p, i,
            (sm_wiring){
                .pre = "altup_correct_scale", .gain = true, .post = "post_norm", .others = true});
    }
    plan_merge(p);
    plan_head(p, (sm_head_params){.cap = plan_has(p, SM_K_LOGIT_CAP)
                                             ? (float)plan_positive(p, SM_K_LOGIT_CAP)
                                             : 0});
}
