/* Hugging Face's form of mixtures of experts. */
#include "format/hf_tables.h"

#include <math.h>
#include <string.h>

static const hf_key mixtral_keys[] = {EXPERT_KEYS("num_local_experts"), END_KEY};
static const hf_name mixtral_names[] = {
    {"layers.#.block_sparse_moe.gate", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w1", "blk.#.ffn_gate_exps", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w2", "blk.#.ffn_down_exps", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w3", "blk.#.ffn_up_exps", HF_SAME},
    END_NAME};

static void all_sparse(hf_reader *r) {
    hf_all_windows(r);
    hf_require_count(r, "decoder_sparse_step|moe_layer_freq", 1);
}

static const hf_key qwen_moe_keys[] = {
    EXPERT_KEYS("num_experts|num_local_experts"),
    {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"},
    {HF_COUNT, "shared_expert_intermediate_size", SM_K_EXPERTS_FF_SHARED, NULL},
    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "0"},
    {HF_OFF, "mlp_only_layers", NULL, NULL},
    END_KEY};

static const hf_key granite_moe_keys[] = {
    {HF_NUMBER, "attention_multiplier", "attention.scale", "1"},
    {HF_NUMBER, "embedding_multiplier", "embedding_scale", "1"},
    {HF_NUMBER, "residual_multiplier", "residual_scale", "1"},
    {HF_NUMBER, "logits_scaling", "logit_scale", "1"},
    {HF_COUNT, "shared_intermediate_size", SM_K_EXPERTS_FF_SHARED, NULL},
    EXPERT_KEYS("num_local_experts"),
    END_KEY};

static const hf_name granite_moe_names[] = {
    {"layers.#.block_sparse_moe.input_linear", "blk.#.ffn_gate_exps", HF_FIRST_HALF},
    {"layers.#.block_sparse_moe.input_linear", "blk.#.ffn_up_exps", HF_LAST_HALF},
    {"layers.#.block_sparse_moe.output_linear", "blk.#.ffn_down_exps", HF_SAME},
    {"layers.#.block_sparse_moe.router.layer", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.shared_mlp.input_linear", "blk.#.ffn_gate_shexp", HF_FIRST_HALF},
    {"layers.#.shared_mlp.input_linear", "blk.#.ffn_up_shexp", HF_LAST_HALF},
    {"layers.#.shared_mlp.output_linear", "blk.#.ffn_down_shexp", HF_SAME},
    END_NAME};

static const hf_key olmoe_keys[] = {EXPERT_KEYS("num_experts"),
                                    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "0"},
                                    {HF_NUMBER, "clip_qkv", SM_K_CLAMP_QKV, NULL},
                                    END_KEY};

/* The last layers, which guess more tokens, are left out. */
static void drafts(hf_reader *r) {
    r->n_drafts = hf_count_or(r, "num_nextn_predict_layers", 0);
}

static void glm4_moe(hf_reader *r) {
    hf_all_windows(r);
    drafts(r);
    hf_put_count(r, SM_K_EXPERTS_SCORING, 2);
}

#define DEEPSEEK_KEYS                                                                           \
    EXPERT_KEYS("n_routed_experts"), {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"}, \
        {HF_COUNT, "n_shared_experts", SM_K_EXPERTS_SHARED, NULL},                              \
        {HF_COUNT, "first_k_dense_replace", SM_K_DENSE_LAYERS, "0"}, {                          \
        HF_NUMBER, "routed_scaling_factor", SM_K_EXPERTS_SCALE, "1"                             \
    }
#define GROUP_KEYS                                             \
    {HF_COUNT, "n_group", SM_K_EXPERTS_GROUPS, NULL}, {        \
        HF_COUNT, "topk_group", SM_K_EXPERTS_GROUPS_USED, NULL \
    }

static const hf_key glm4_moe_keys[] = {
    DEEPSEEK_KEYS,
    GROUP_KEYS,
    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "1"},
    {HF_SKIP, "use_qk_norm", NULL, NULL}, /* the tensors say it */
    END_KEY};
static const hf_name glm4_moe_names[] = {
    {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_SAME}, END_NAME};

/* Keys of heads that latent attention absorbs, as llama.cpp's converter writes them. */
static void latent_keys(hf_reader *r) {
    const uint32_t rank = hf_count_or(r, "kv_lora_rank", 0);
    const uint32_t rot = hf_count_or(r, "qk_rope_head_dim", 0);
    r->nope = hf_count_or(r, "qk_nope_head_dim", 0);
    r->value_dim = hf_count_or(r, "v_head_dim", 0);
    r->head_dim = rot;
    hf_put_count(r, SM_K_HEADS_KV, 1);
    hf_put_count(r, SM_K_KEY_LENGTH, rank + rot);
    hf_put_count(r, SM_K_VALUE_LENGTH, rank);
    hf_put_count(r, SM_K_KEY_LENGTH_MLA, r->nope + rot);
    hf_put_count(r, SM_K_VALUE_LENGTH_MLA, r->value_dim);
    hf_put_count(r, SM_K_ROPE_DIMS, rot);
}

static void deepseek2(hf_reader *r) {
    latent_keys(r);
    drafts(r);
    hf_require_count(r, "moe_layer_freq", 1);
    if (hf_is(r, "topk_method", "greedy")) { /* groups, should there be some, are not looked at */
        hf_put_count(r, SM_K_EXPERTS_GROUPS, 1);
        hf_put_count(r, SM_K_EXPERTS_GROUPS_USED, 1);
    }
}

static void deepseek3(hf_reader *r) {
    latent_keys(r);
    drafts(r);
    hf_require_count(r, "moe_layer_freq", 1);
    hf_put_count(r, SM_K_EXPERTS_SCORING, 2);
}

static const hf_key deepseek2_keys[] = {
    {HF_SKIP, "head_dim|qk_head_dim|num_key_value_heads", NULL, NULL},
    {HF_COUNT, "q_lora_rank", SM_K_Q_RANK, NULL},
    {HF_COUNT, "kv_lora_rank", SM_K_KV_RANK, "!"},
    DEEPSEEK_KEYS,
    GROUP_KEYS,
    {HF_OFF, "norm_topk_prob", NULL, NULL},
    {HF_IS, "scoring_func", NULL, "softmax"},
    {HF_IS, "topk_method", NULL, "greedy|group_limited_greedy"},
    END_KEY};
static const hf_key deepseek3_keys[] = {
    {HF_SKIP, "head_dim|qk_head_dim|num_key_value_heads", NULL, NULL},
    {HF_COUNT, "q_lora_rank", SM_K_Q_RANK, NULL},
    {HF_COUNT, "kv_lora_rank", SM_K_KV_RANK, "!"},
    DEEPSEEK_KEYS,
    GROUP_KEYS,
    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "1"},
    {HF_IS, "scoring_func", NULL, "sigmoid"},
    {HF_IS, "topk_method", NULL, "noaux_tc"},
    {HF_ON, "rope_interleave", NULL, NULL},
    END_KEY};
static const hf_name deepseek_names[] = {
    {"layers.#.self_attn.kv_a_proj_with_mqa", "blk.#.attn_kv_a_mqa", HF_SAME},
    {"layers.#.self_attn.kv_a_layernorm", "blk.#.attn_kv_a_norm", HF_SAME},
    {"layers.#.self_attn.q_a_proj", "blk.#.attn_q_a", HF_SAME},
    {"layers.#.self_attn.q_a_layernorm", "blk.#.attn_q_a_norm", HF_SAME},
    {"layers.#.self_attn.q_b_proj", "blk.#.attn_q_b", HF_SAME},
    {"layers.#.self_attn.kv_b_proj", "blk.#.attn_k_b", HF_LATENT_K},
    {"layers.#.self_attn.kv_b_proj", "blk.#.attn_v_b", HF_LATENT_V},
    END_NAME};

static void dots1(hf_reader *r) {
    hf_all_windows(r);
    hf_put_count(r, SM_K_EXPERTS_SCORING, 2);
}

static const hf_key dots1_keys[] = {DEEPSEEK_KEYS,
                                    GROUP_KEYS,
                                    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "0"},
                                    {HF_IS, "scoring_func", NULL, "sigmoid|noaux_tc"},
                                    {HF_IS, "topk_method", NULL, "noaux_tc"},
                                    {HF_SKIP, "moe_layer_freq", NULL, NULL},
                                    END_KEY};

static void ernie_moe(hf_reader *r) {
    const uint32_t first = hf_count_or(r, "moe_layer_start_index", 1);
    const uint32_t width = hf_count_or(r, "moe_intermediate_size", 0);
    const uint32_t shared = hf_count_or(r, "moe_num_shared_experts", 0);
    const uint32_t end = hf_count_or(r, "moe_layer_end_index", r->n_layer - 1);
    hf_require_count(r, "moe_layer_interval", 1);
    if (end + 1 != r->n_layer)
        hf_fail(r, SM_ERR_UNSUPPORTED, "moe_layer_end_index", "is not the last layer");
    hf_put_count(r, SM_K_DENSE_LAYERS, first);
    hf_put_count(r, SM_K_EXPERTS_STEP, 1);
    hf_put_count(r, SM_K_EXPERTS_SHARED, shared);
    if (shared && (uint64_t)width * shared < 1u << 30)
        hf_put_count(r, SM_K_EXPERTS_FF_SHARED, width * shared);
}

static const hf_key ernie_moe_keys[] = {EXPERT_KEYS("moe_num_experts"),
                                        {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"},
                                        {HF_SKIP, "moe_norm_min|moe_capacity", NULL, NULL},
                                        {HF_IS, "moe_gate_act", NULL, "softmax"},
                                        END_KEY};
static const hf_name ernie_moe_names[] = {
    {"layers.#.mlp.moe_statics.e_score_correction_bias", "blk.#.exp_probs_b.bias", HF_SAME},
    END_NAME};

static void gpt_oss(hf_reader *r) {
    hf_windows(r, 2, 2);
    hf_require_number(r, "swiglu_alpha", 1.702);
    hf_require_number(r, "swiglu_limit", 7);
    hf_put_count(r, SM_K_EXPERTS_FF, hf_count_or(r, "intermediate_size", 0));
}

static const hf_key gpt_oss_keys[] = {
    EXPERT_KEYS("num_local_experts|num_experts"),
    {HF_SKIP, "initial_context_length", NULL, NULL}, /* as the rotation's original context */
    END_KEY};
static const hf_name gpt_oss_names[] = {
    {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_SAME},
    {"layers.#.self_attn.sinks", "blk.#.attn_sinks.weight", HF_SAME},
    {"layers.#.mlp.router", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight", HF_TURNED_EVEN},
    {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", HF_TURNED_ODD},
    {"layers.#.mlp.experts.gate_up_proj_bias", "blk.#.ffn_gate_exps.bias", HF_EVEN},
    {"layers.#.mlp.experts.gate_up_proj_bias", "blk.#.ffn_up_exps.bias", HF_ODD},
    {"layers.#.mlp.experts.gate_up_proj_blocks", "blk.#.ffn_gate_exps.weight", HF_MXFP4_EVEN},
    {"layers.#.mlp.experts.gate_up_proj_blocks", "blk.#.ffn_up_exps.weight", HF_MXFP4_ODD},
    {"layers.#.mlp.experts.gate_up_proj_scales", NULL, HF_SAME},
    {"layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight", HF_TURNED},
    {"layers.#.mlp.experts.down_proj_bias", "blk.#.ffn_down_exps.bias", HF_SAME},
    {"layers.#.mlp.experts.down_proj_blocks", "blk.#.ffn_down_exps.weight", HF_MXFP4},
    {"layers.#.mlp.experts.down_proj_scales", NULL, HF_SAME},
    END_NAME};

static const hf_key phimoe_keys[] = {
    EXPERT_KEYS("num_local_experts"),
    {HF_SKIP, "lm_head_bias|original_max_position_embeddings", NULL, NULL},
    END_KEY};

/* One number for all layers; older configurations may have a list. */
static void hunyuan_moe(hf_reader *r) {
    const uint32_t shared = hf_count_or(r, "num_shared_expert", 1);
    const uint32_t width = hf_count_or(r, "intermediate_size", 0);
    hf_require_count(r, "use_mixed_mlp_moe", 1);
    hf_put_count(r, SM_K_EXPERTS_FF, hf_count_or(r, "moe_intermediate_size", width));
    if (shared && (uint64_t)width * shared < 1u << 30)
        hf_put_count(r, SM_K_EXPERTS_FF_SHARED, width * shared);
}

static const hf_key hunyuan_moe_keys[] = {EXPERT_KEYS("num_experts"),
                                          {HF_OFF, "use_cla", NULL, NULL},
                                          {HF_SKIP, "use_qk_norm|norm_topk_prob", NULL, NULL},
                                          END_KEY};
static const hf_name hunyuan_moe_names[] = {
    {"layers.#.self_attn.query_layernorm", "blk.#.attn_q_norm", HF_SAME},
    {"layers.#.self_attn.key_layernorm", "blk.#.attn_k_norm", HF_SAME},
    {"layers.#.mlp.gate.wg", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.mlp.shared_mlp.gate_proj", "blk.#.ffn_gate_shexp", HF_SAME},
    {"layers.#.mlp.shared_mlp.up_proj", "blk.#.ffn_up_shexp", HF_SAME},
    {"layers.#.mlp.shared_mlp.down_proj", "blk.#.ffn_down_shexp", HF_SAME},
    END_NAME};

/* Part of a head is rotated; old configurations say how many elements. */
static void minimax_m2(hf_reader *r) {
    const uint32_t n = hf_count_or(r, "rotary_dim", 0);
    hf_all_windows(r);
    if (n)
        hf_put_count(r, SM_K_ROPE_DIMS, n);
    hf_put_count(r, SM_K_EXPERTS_SCORING, 2);
    hf_put_count(r, SM_K_EXPERTS_FF, hf_count_or(r, "intermediate_size", 0));
    r->n_drafts = hf_count_or(r, "num_mtp_modules", 0);
}

static const hf_key minimax_m2_keys[] = {
    EXPERT_KEYS("num_local_experts"),
    {HF_IS, "scoring_func", NULL, "sigmoid"},
    {HF_IS, "qk_norm_type", NULL, "per_layer"},
    {HF_ON, "use_qk_norm|use_routing_bias", NULL, NULL},
    {HF_OFF, "shared_intermediate_size", NULL, NULL},
    {HF_SKIP, "attn_type_list|use_mtp|mtp_transformer_layers", NULL, NULL},
    END_KEY};
static const hf_name minimax_m2_names[] = {
    {"layers.#.block_sparse_moe.gate", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.block_sparse_moe.e_score_correction_bias", "blk.#.exp_probs_b.bias", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w1", "blk.#.ffn_gate_exps", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w2", "blk.#.ffn_down_exps", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w3", "blk.#.ffn_up_exps", HF_SAME},
    END_NAME};

/* Which layers have experts: as many without at the beginning as another key says. */
static void dense_first(hf_reader *r, uint32_t n_dense) {
    const sm_json_value list = hf_find(r, "mlp_layer_types|is_moe_layer");
    uint32_t i = 0;
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE;
         v = sm_json_next(r->json, list, v), i++) {
        const bool sparse =
            sm_json_is(r->json, v, "sparse") || sm_json_kind_of(r->json, v) == SM_JSON_TRUE;
        if (sparse != (i >= n_dense))
            hf_fail(r, SM_ERR_UNSUPPORTED, "mlp_layer_types",
                    "has layers without experts behind such with some");
    }
}

static void exaone_moe(hf_reader *r) {
    const uint32_t width = hf_count_or(r, "moe_intermediate_size", 0);
    const uint32_t shared = hf_count_or(r, "num_shared_experts", 0);
    const uint32_t dense = hf_count_or(r, "first_k_dense_replace|first_last_k_dense_replace", 0);
    hf_windows(r, 1, 4);
    drafts(r);
    dense_first(r, dense);
    hf_put_count(r, SM_K_DENSE_LAYERS, dense);
    hf_put_count(r, SM_K_EXPERTS_FF, width);
    hf_put_count(r, SM_K_EXPERTS_SHARED, shared);
    if (shared && (uint64_t)width * shared < 1u << 30)
        hf_put_count(r, SM_K_EXPERTS_FF_SHARED, width * shared);
    hf_put_count(r, SM_K_EXPERTS_SCORING, 2);
}

static const hf_key exaone_moe_keys[] = {
    EXPERT_KEYS("num_experts"),
    GROUP_KEYS,
    {HF_NUMBER, "routed_scaling_factor", SM_K_EXPERTS_SCALE, "1"},
    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "1"},
    {HF_IS, "scoring_func", NULL, "sigmoid"},
    {HF_IS, "topk_method", NULL, "noaux_tc"},
    END_KEY};
static const hf_name exaone_moe_names[] = {
    {"layers.#.mlp.e_score_correction_bias", "blk.#.exp_probs_b.bias", HF_SAME}, END_NAME};

static void mellum(hf_reader *r) {
    hf_windows(r, 1, 4);
    dense_first(r, 0);
}

static const hf_key mellum_keys[] = {EXPERT_KEYS("num_experts|num_local_experts"),
                                     {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"},
                                     {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "1"},
                                     END_KEY};

/* Of four layers three see chunks and know positions. */
static void llama4_layers(hf_reader *r) {
    const sm_json_value types = hf_find(r, "layer_types"), ropes = hf_find(r, "no_rope_layers");
    const char *wrong = "is no pattern of three layers that see chunks and one that sees all";
    uint64_t rope;
    uint32_t i = 0;
    for (sm_json_value v = sm_json_first(r->json, types); v != SM_JSON_NONE;
         v = sm_json_next(r->json, types, v), i++)
        if (!sm_json_is(r->json, v, i % 4 < 3 ? "chunked_attention" : "full_attention"))
            hf_fail(r, SM_ERR_UNSUPPORTED, "layer_types", wrong);
    i = 0;
    for (sm_json_value v = sm_json_first(r->json, ropes); v != SM_JSON_NONE;
         v = sm_json_next(r->json, ropes, v), i++)
        if (!sm_json_u64(r->json, v, &rope) || rope != (i % 4 < 3))
            hf_fail(r, SM_ERR_UNSUPPORTED, "no_rope_layers", wrong);
    hf_require_count(r, "no_rope_layer_interval", 4);
}

/* Layers with experts: every n-th. */
static void llama4_experts(hf_reader *r) {
    const uint32_t step = hf_count_or(r, "interleave_moe_layer_step", 1);
    const sm_json_value list = hf_find(r, "moe_layers");
    uint64_t layer = 0, expected = step ? step - 1 : 0;
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE;
         v = sm_json_next(r->json, list, v), expected += step)
        if (!sm_json_u64(r->json, v, &layer) || layer != expected)
            hf_fail(r, SM_ERR_UNSUPPORTED, "moe_layers",
                    "are others than 'interleave_moe_layer_step' says");
    hf_put_count(r, SM_K_EXPERTS_STEP, step);
    hf_put_count(r, SM_K_EXPERTS_FF, hf_count_or(r, "intermediate_size", 0));
    hf_put_count(r, SM_K_FF, hf_count_or(r, "intermediate_size_mlp", 0));
}

static void llama4(hf_reader *r) {
    const bool norms = hf_flag_or(r, "use_qk_norm", true);
    const bool tuned = hf_flag_or(r, "attn_temperature_tuning", true);
    const double scale = hf_number_or(r, "attn_scale", 0.1);
    llama4_layers(r);
    llama4_experts(r);
    if (norms != (hf_count_or(r, "num_local_experts", 16) != 128))
        hf_fail(r, SM_ERR_UNSUPPORTED, "use_qk_norm",
                "is another than this version computes for so many experts");
    hf_put_count(r, SM_K_WINDOW, hf_count_or(r, "attention_chunk_size", 8192));
    const uint32_t span = hf_count_or(r, "floor_scale", 8192);
    if (r->n_layer > 3) { /* else none sees all */
        hf_put_number(r, "attention.temperature_scale", tuned ? scale : 0);
        hf_put_count(r, "attention.temperature_length", span);
    }
}

static const hf_key llama4_keys[] = {
    EXPERT_KEYS("num_local_experts"), {HF_SKIP, "intermediate_size", NULL, NULL}, END_KEY};
static const hf_name llama4_names[] = {
    {"layers.#.feed_forward.router", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight", HF_TURNED_FIRST},
    {"layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", HF_TURNED_LAST},
    {"layers.#.feed_forward.experts.down_proj", "blk.#.ffn_down_exps.weight", HF_TURNED},
    {"layers.#.feed_forward.shared_expert.gate_proj", "blk.#.ffn_gate_shexp", HF_SAME},
    {"layers.#.feed_forward.shared_expert.up_proj", "blk.#.ffn_up_shexp", HF_SAME},
    {"layers.#.feed_forward.shared_expert.down_proj", "blk.#.ffn_down_shexp", HF_SAME},
    {"layers.#.feed_forward.gate_proj", "blk.#.ffn_gate", HF_SAME},
    {"layers.#.feed_forward.up_proj", "blk.#.ffn_up", HF_SAME},
    {"layers.#.feed_forward.down_proj", "blk.#.ffn_down", HF_SAME},
    END_NAME};

static void qwen3vl_moe(hf_reader *r) {
    all_sparse(r);
    r->n_ff_expert = hf_count_or(r, "moe_intermediate_size", 0);
}

static const hf_key qwen3vl_moe_keys[] = {EXPERT_KEYS("num_experts|num_local_experts"),
                                          {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"},
                                          {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "1"},
                                          {HF_OFF, "mlp_only_layers", NULL, NULL},
                                          END_KEY};

static const hf_name qwen3vl_moe_names[] = {
    {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight", HF_EITHER_FIRST},
    {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", HF_EITHER_LAST},
    {"layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight", HF_EITHER},
    END_NAME};

const hf_family hf_sparse_families[] = {
    {.types = "mixtral",
     .architecture = "llama",
     .keys = mixtral_keys,
     .names = mixtral_names,
     .more = hf_all_windows,
     .theta = 1e6,
     .qk_in_pairs = true},
    {.types = "qwen2_moe", .architecture = "qwen2moe", .keys = qwen_moe_keys, .more = all_sparse},
    {.types = "qwen3_moe", .architecture = "qwen3moe", .keys = qwen_moe_keys, .more = all_sparse},
    {.types = "phimoe",
     .architecture = "phimoe",
     .keys = phimoe_keys,
     .names = mixtral_names,
     .more = hf_all_windows},
    {.types = "granitemoe|granitemoeshared",
     .architecture = "granitemoe",
     .keys = granite_moe_keys,
     .names = granite_moe_names,
     .qk_in_pairs = true},
    {.types = "ernie4_5_moe",
     .architecture = "ernie4_5-moe",
     .keys = ernie_moe_keys,
     .names = ernie_moe_names,
     .more = ernie_moe,
     .tied = true},
    {.types = "olmoe", .architecture = "olmoe", .keys = olmoe_keys},
    {.types = "glm4_moe",
     .architecture = "glm4moe",
     .keys = glm4_moe_keys,
     .names = glm4_moe_names,
     .more = glm4_moe,
     .partial = true},
    {.types = "deepseek_v2",
     .architecture = "deepseek2",
     .keys = deepseek2_keys,
     .names = deepseek_names,
     .more = deepseek2},
    {.types = "deepseek_v3|kimi_k2",
     .architecture = "deepseek2",
     .keys = deepseek3_keys,
     .names = deepseek_names,
     .more = deepseek3},
    {.types = "dots1", .architecture = "dots1", .keys = dots1_keys, .more = dots1},
    {.types = "gpt_oss",
     .architecture = "gpt-oss",
     .keys = gpt_oss_keys,
     .names = gpt_oss_names,
     .more = gpt_oss,
     .theta = 150000},
    {.types = "hunyuan_v1_moe",
     .architecture = "hunyuan-moe",
     .keys = hunyuan_moe_keys,
     .names = hunyuan_moe_names,
     .more = hunyuan_moe},
    {.types = "minimax_m2",
     .architecture = "minimax-m2",
     .keys = minimax_m2_keys,
     .names = minimax_m2_names,
     .more = minimax_m2,
     .partial = true},
    {.types = "exaone_moe",
     .architecture = "exaone-moe",
     .keys = exaone_moe_keys,
     .names = exaone_moe_names,
     .more = exaone_moe},
    {.types = "mellum", .architecture = "mellum", .keys = mellum_keys, .more = mellum},
    {.types = "llama4_text",
     .architecture = "llama4",
     .keys = llama4_keys,
     .names = llama4_names,
     .more = llama4,
     .theta = 500000},
    {.types = "qwen3_vl_moe_text",
     .architecture = "qwen3vlmoe",
     .keys = qwen3vl_moe_keys,
     .names = qwen3vl_moe_names,
     .more = qwen3vl_moe},
    {.types = NULL},
};
