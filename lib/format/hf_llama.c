/* Hugging Face's form of llama and its relatives. */
#include "format/hf_tables.h"

#include <math.h>
#include <string.h>

static const hf_key granite_keys[] = {{HF_NUMBER, "attention_multiplier", "attention.scale", "1"},
                                      {HF_NUMBER, "embedding_multiplier", "embedding_scale", "1"},
                                      {HF_NUMBER, "residual_multiplier", "residual_scale", "1"},
                                      {HF_NUMBER, "logits_scaling", "logit_scale", "1"},
                                      END_KEY};

static void minicpm(hf_reader *r) {
    const double depth = hf_number_or(r, "scale_depth", 1.4);
    const double base = hf_number_or(r, "dim_model_base", 256);
    if (!(depth > 0) || !(base > 0) || !r->n_layer)
        hf_fail(r, SM_ERR_FORMAT, "scale_depth|dim_model_base", "is not positive");
    hf_put_number(r, "embedding_scale", hf_number_or(r, "scale_emb", 12));
    hf_put_number(r, "residual_scale", depth / sqrt(r->n_layer ? (double)r->n_layer : 1));
    hf_put_number(r, "logit_scale", base > 0 ? (double)r->n_embd / base : 1);
    hf_require_count(r, "num_experts", 0);
}

static void minicpm3(hf_reader *r) {
    const uint32_t nope = hf_count_or(r, "qk_nope_head_dim", 0);
    const uint32_t rot = hf_count_or(r, "qk_rope_head_dim", 0);
    minicpm(r);
    r->head_dim = rot;
    hf_put_count(r, SM_K_KEY_LENGTH, nope + rot);
    hf_put_count(r, SM_K_ROPE_DIMS, rot);
    hf_put_count(r, SM_K_VALUE_LENGTH,
                 hf_count_or(r, "v_head_dim", r->n_head ? r->n_embd / r->n_head : 0));
}

static const hf_key minicpm3_keys[] = {
    {HF_SKIP, "head_dim|qk_head_dim|num_key_value_heads", NULL, NULL},
    {HF_COUNT, "q_lora_rank", SM_K_Q_RANK, NULL},
    {HF_COUNT, "kv_lora_rank", SM_K_KV_RANK, "!"},
    END_KEY};
static const hf_name latent_names[] = {
    {"layers.#.self_attn.kv_a_proj_with_mqa", "blk.#.attn_kv_a_mqa", HF_SAME},
    {"layers.#.self_attn.kv_a_layernorm", "blk.#.attn_kv_a_norm", HF_SAME},
    {"layers.#.self_attn.q_a_proj", "blk.#.attn_q_a", HF_SAME},
    {"layers.#.self_attn.q_a_layernorm", "blk.#.attn_q_a_norm", HF_SAME},
    {"layers.#.self_attn.q_b_proj", "blk.#.attn_q_b", HF_SAME},
    {"layers.#.self_attn.kv_b_proj", "blk.#.attn_kv_b", HF_SAME},
    END_NAME};

static const hf_name internlm2_names[] = {{"tok_embeddings", "token_embd", HF_SAME},
                                          {"output", "output", HF_SAME},
                                          {"layers.#.attention_norm", "blk.#.attn_norm", HF_SAME},
                                          {"layers.#.ffn_norm", "blk.#.ffn_norm", HF_SAME},
                                          {"layers.#.attention.wqkv", "blk.#.attn_q", HF_GROUPS_Q},
                                          {"layers.#.attention.wqkv", "blk.#.attn_k", HF_GROUPS_K},
                                          {"layers.#.attention.wqkv", "blk.#.attn_v", HF_GROUPS_V},
                                          {"layers.#.attention.wo", "blk.#.attn_output", HF_SAME},
                                          {"layers.#.feed_forward.w1", "blk.#.ffn_gate", HF_SAME},
                                          {"layers.#.feed_forward.w2", "blk.#.ffn_down", HF_SAME},
                                          {"layers.#.feed_forward.w3", "blk.#.ffn_up", HF_SAME},
                                          END_NAME};

static const hf_key exaone_keys[] = {
    {HF_NUMBER, "layer_norm_epsilon|rms_norm_eps", SM_K_RMS_EPS, "!"},
    {HF_IS, "activation_function|hidden_act", NULL, "silu|swish"},
    END_KEY};
static const hf_name exaone_names[] = {
    {"wte", "token_embd", HF_SAME},
    {"ln_f", "output_norm", HF_SAME},
    {"h.#.ln_1", "blk.#.attn_norm", HF_SAME},
    {"h.#.ln_2", "blk.#.ffn_norm", HF_SAME},
    {"h.#.attn.attention.q_proj", "blk.#.attn_q", HF_SAME},
    {"h.#.attn.attention.k_proj", "blk.#.attn_k", HF_SAME},
    {"h.#.attn.attention.v_proj", "blk.#.attn_v", HF_SAME},
    {"h.#.attn.attention.out_proj", "blk.#.attn_output", HF_SAME},
    {"h.#.mlp.c_fc_0", "blk.#.ffn_gate", HF_SAME},
    {"h.#.mlp.c_fc_1", "blk.#.ffn_up", HF_SAME},
    {"h.#.mlp.c_proj", "blk.#.ffn_down", HF_SAME},
    END_NAME};

static const hf_name post_names[] = {
    {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_SAME},
    {"layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", HF_SAME},
    END_NAME};

static void period4(hf_reader *r) {
    hf_windows(r, 4, hf_count_or(r, "sliding_window_pattern|_sliding_window_pattern", 4));
}

/* The same, with the key of layers always, as llama.cpp's converter writes it. Of exaone 4 the
 * pattern may be letters. */
static void olmo3(hf_reader *r) {
    hf_windows(r, 1, 4);
}

static void smollm3(hf_reader *r) {
    const sm_json_value list = hf_find(r, "no_rope_layers");
    uint32_t i = 0;
    hf_all_windows(r);
    hf_require_count(r, "no_rope_layer_interval", 4);
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE;
         v = sm_json_next(r->json, list, v), i++) {
        uint64_t with = 2;
        if (!sm_json_u64(r->json, v, &with) || with != (i % 4 != 3))
            hf_fail(r, SM_ERR_UNSUPPORTED, "no_rope_layers",
                    "is no pattern of three layers with rope and one without");
    }
}

static const hf_name hunyuan_names[] = {
    {"layers.#.self_attn.query_layernorm", "blk.#.attn_q_norm", HF_SAME},
    {"layers.#.self_attn.key_layernorm", "blk.#.attn_k_norm", HF_SAME},
    END_NAME};

static const hf_name seed_oss_names[] = {
    {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_SAME}, END_NAME};

static const hf_key arcee_keys[] = {{HF_IS, ACTIVATION, NULL, "relu2"}, END_KEY};

static const hf_key olmo_keys[] = {
    {HF_SKIP, "rms_norm_eps", NULL, NULL},
    {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-5"}, /* which its code has */
    {HF_NUMBER, "clip_qkv", SM_K_CLAMP_QKV, NULL},
    END_KEY};

static const hf_key cohere_keys[] = {
    {HF_SKIP, "rms_norm_eps|use_qk_norm", NULL, NULL},
    {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-5"},
    {HF_NUMBER, "logit_scale", "logit_scale", "0.0625"},
    {HF_ON, "use_parallel_block|use_gated_activation|use_parallel_embedding", NULL, NULL},
    {HF_SKIP, "order_of_interleaved_layers|position_embedding_type", NULL, NULL},
    END_KEY};

static const hf_name glm4_names[] = {
    {"layers.#.post_self_attn_layernorm", "blk.#.post_attention_norm", HF_SAME},
    {"layers.#.post_mlp_layernorm", "blk.#.post_ffw_norm", HF_SAME},
    END_NAME};

/* Readers of GGUF want both keys of every model. */
static void phi3(hf_reader *r) {
    hf_all_windows(r);
    hf_put_count(r, SM_K_WINDOW, 0);
    hf_put_count(r, "rope.scaling.original_context_length",
                 hf_count_or(r, "original_max_position_embeddings|max_position_embeddings", 0));
}

const hf_family hf_llama_families[] = {
    {.types = "llama", .architecture = "llama", .more = hf_all_windows, .qk_in_pairs = true},
    {.types = "mistral|ministral",
     .architecture = "llama",
     .more = hf_all_windows,
     .qk_in_pairs = true},
    {.types = "qwen2|qwen2_vl_text|qwen2_5_vl_text",
     .architecture = "qwen2",
     .more = hf_all_windows},
    {.types = "qwen3|qwen3_vl_text", .architecture = "qwen3", .more = hf_all_windows},
    {.types = "phi3", .architecture = "phi3", .more = phi3, .partial = true},
    {.types = "granite", .architecture = "granite", .keys = granite_keys, .qk_in_pairs = true},
    {.types = "minicpm",
     .architecture = "minicpm",
     .more = minicpm,
     .tied = true,
     .qk_in_pairs = true},
    {.types = "minicpm3",
     .architecture = "minicpm3",
     .keys = minicpm3_keys,
     .names = latent_names,
     .more = minicpm3,
     .tied = true},
    {.types = "internlm2", .architecture = "internlm2", .names = internlm2_names},
    {.types = "ernie4_5", .architecture = "ernie4_5", .tied = true},
    {.types = "exaone",
     .architecture = "exaone",
     .keys = exaone_keys,
     .names = exaone_names,
     .prefix = "transformer."},
    {.types = "exaone4", .architecture = "exaone4", .names = post_names, .more = olmo3},
    {.types = "smollm3",
     .architecture = "smollm3",
     .more = smollm3,
     .theta = 2e6,
     .tied = true,
     .qk_in_pairs = true},
    {.types = "hunyuan_v1_dense", .architecture = "hunyuan-dense", .names = hunyuan_names},
    {.types = "seed_oss", .architecture = "seed_oss", .names = seed_oss_names},
    {.types = "arcee", .architecture = "arcee", .keys = arcee_keys, .qk_in_pairs = true},
    {.types = "olmo", .architecture = "olmo", .keys = olmo_keys, .qk_in_pairs = true},
    {.types = "olmo2", .architecture = "olmo2", .names = post_names},
    {.types = "olmo3", .architecture = "olmo2", .names = post_names, .more = olmo3},
    {.types = "cohere", .architecture = "command-r", .keys = cohere_keys, .tied = true},
    {.types = "cohere2",
     .architecture = "cohere2",
     .keys = cohere_keys,
     .more = period4,
     .tied = true},
    {.types = "glm", .architecture = "chatglm", .partial = true},
    {.types = "glm4", .architecture = "glm4", .names = glm4_names, .partial = true},
    {.types = "ministral3",
     .architecture = "mistral3",
     .more = hf_all_windows,
     .qk_in_pairs = true},
    {.types = NULL},
};
