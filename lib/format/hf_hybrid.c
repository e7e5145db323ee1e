/* Hugging Face's form of families whose layers are of several kinds. */
#include "format/hf_tables.h"

#include <string.h>

#define CONV_NAMES                                                        \
    {"embedding_norm", "token_embd_norm", HF_SAME},                       \
        {"layers.#.operator_norm", "blk.#.attn_norm", HF_SAME},           \
        {"layers.#.ffn_norm", "blk.#.ffn_norm", HF_SAME},                 \
        {"layers.#.conv.in_proj", "blk.#.shortconv.in_proj", HF_SAME},    \
        {"layers.#.conv.conv", "blk.#.shortconv.conv", HF_TAPS},          \
        {"layers.#.conv.out_proj", "blk.#.shortconv.out_proj", HF_SAME},  \
        {"layers.#.self_attn.out_proj", "blk.#.attn_output", HF_SAME},    \
        {"layers.#.self_attn.q_layernorm", "blk.#.attn_q_norm", HF_SAME}, \
        {"layers.#.self_attn.k_layernorm", "blk.#.attn_k_norm", HF_SAME}, \
        {"layers.#.feed_forward.w1", "blk.#.ffn_gate", HF_SAME},          \
        {"layers.#.feed_forward.w2", "blk.#.ffn_down", HF_SAME}, {        \
        "layers.#.feed_forward.w3", "blk.#.ffn_up", HF_SAME               \
    }

static const hf_name lfm2_names[] = {CONV_NAMES, END_NAME};
static const hf_name lfm2_moe_names[] = {
    CONV_NAMES,
    {"layers.#.feed_forward.gate", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.feed_forward.expert_bias", "blk.#.exp_probs_b.bias", HF_SAME},
    {"layers.#.feed_forward.experts.&.w1", "blk.#.ffn_gate_exps", HF_SAME},
    {"layers.#.feed_forward.experts.&.w2", "blk.#.ffn_down_exps", HF_SAME},
    {"layers.#.feed_forward.experts.&.w3", "blk.#.ffn_up_exps", HF_SAME},
    END_NAME};

#define CONV_KEYS                                                                                  \
    {HF_NUMBER, "norm_eps|block_norm_eps", SM_K_RMS_EPS, "!"},                                     \
        {HF_COUNT, "conv_L_cache", SM_K_CONV_TAPS, "!"}, {HF_OFF, "conv_bias", NULL, NULL},        \
        {HF_ON, "block_use_swiglu|use_pos_enc", NULL, NULL},                                       \
        {HF_SKIP, "layer_types|full_attn_idxs|theta|num_heads|conv_dim|conv_dim_out", NULL, NULL}, \
        {HF_SKIP, "conv_use_xavier_init|block_use_xavier_init", NULL, NULL}, {                     \
        HF_SKIP, "block_dim|block_mlp_init_scale|block_out_init_scale", NULL, NULL                 \
    }

static const hf_key lfm2_keys[] = {
    CONV_KEYS,
    {HF_SKIP, "block_ff_dim|intermediate_size", NULL, NULL},
    {HF_SKIP, "block_auto_adjust_ff_dim|block_ffn_dim_multiplier|block_multiple_of", NULL, NULL},
    END_KEY};
static const hf_key lfm2_moe_keys[] = {
    CONV_KEYS,
    EXPERT_KEYS("num_experts"),
    {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"},
    {HF_COUNT, "num_dense_layers", SM_K_DENSE_LAYERS, "0"},
    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "1"},
    {HF_NUMBER, "routed_scaling_factor", SM_K_EXPERTS_SCALE, "1"},
    {HF_SKIP, "use_expert_bias", NULL, NULL}, /* the tensors say it */
    END_KEY};

/* Whether a layer attends: layer_types, or in older files the list of those that do. */
static bool attends(hf_reader *r, sm_json_value types, sm_json_value list, uint32_t layer) {
    uint32_t i = 0;
    uint64_t one;
    for (sm_json_value v = sm_json_first(r->json, types); v != SM_JSON_NONE;
         v = sm_json_next(r->json, types, v), i++)
        if (i == layer) {
            const bool full = sm_json_is(r->json, v, "full_attention");
            if (!full && !sm_json_is(r->json, v, "conv"))
                hf_fail(r, SM_ERR_UNSUPPORTED, "layer_types",
                        "has a kind that this version does not compute for this family (it "
                        "computes full_attention and conv)");
            return full;
        }
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE;
         v = sm_json_next(r->json, list, v))
        if (sm_json_u64(r->json, v, &one) && one == layer)
            return true;
    return false;
}

/* Heads of keys, 0 where a layer convolves. */
static void heads_of_layers(hf_reader *r) {
    const sm_json_value types = hf_find(r, "layer_types"), list = hf_find(r, "full_attn_idxs");
    if (types == SM_JSON_NONE && list == SM_JSON_NONE)
        hf_fail(r, SM_ERR_MISSING, "layer_types", "is missing");
    else if (types != SM_JSON_NONE && sm_json_count(r->json, types) != r->n_layer)
        hf_fail(r, SM_ERR_FORMAT, "layer_types",
                "has another number of elements than there are layers");
    if (r->status || r->n_layer > 1u << 16)
        return;
    uint32_t *heads = sm_alloc_array(r->mem, r->n_layer, sizeof *heads);
    for (uint32_t i = 0; heads && i < r->n_layer; i++)
        heads[i] = attends(r, types, list, i) ? r->n_head_kv : 0;
    if (heads)
        hf_put_counts(r, SM_K_HEADS_KV, heads, r->n_layer);
    else
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
    sm_free(r->mem, heads);
}

/* The width may be one that two thirds, a factor and rounding up are still to be taken of, as in
 * transformers (Lfm2MLP). */
static void lfm2(hf_reader *r) {
    uint64_t width = hf_count_or(r, "block_ff_dim", hf_count_or(r, "intermediate_size", 0));
    const uint64_t unit = hf_count_or(r, "block_multiple_of", 256);
    if (hf_flag_or(r, "block_auto_adjust_ff_dim", true) && unit) {
        width = 2 * width / 3;
        const double factor = hf_number_or(r, "block_ffn_dim_multiplier", 1);
        width = factor > 0 && factor < 1e3 ? (uint64_t)(factor * (double)width) : 0;
        width = (width + unit - 1) / unit * unit;
    }
    heads_of_layers(r);
    if (!width || width > UINT32_MAX)
        hf_fail(r, SM_ERR_FORMAT, "block_ff_dim", "makes a width that no layer can have");
    else
        hf_put_count(r, SM_K_FF, (uint32_t)width);
}

static void lfm2_moe(hf_reader *r) {
    heads_of_layers(r);
    hf_put_count(r, SM_K_EXPERTS_SCORING, 2);
}

const hf_family hf_hybrid_families[] = {
    {.types = "lfm2",
     .architecture = "lfm2",
     .keys = lfm2_keys,
     .names = lfm2_names,
     .more = lfm2,
     .theta = 1000000,
     .tied = true},
    {.types = "lfm2_moe",
     .architecture = "lfm2moe",
     .keys = lfm2_moe_keys,
     .names = lfm2_moe_names,
     .more = lfm2_moe,
     .theta = 1000000,
     .tied = true},
    {.types = NULL},
};
