/* What is known of each family in Hugging Face's form. */
#include "format/hf.h"

#include <math.h>
#include <string.h>

/* ---- what all have ----------------------------------------------------------------------- */

const hf_key hf_common_keys[] = {
    {HF_COUNT, "num_hidden_layers|n_layer|n_layers|num_layers", SM_K_LAYERS, "!"},
    {HF_COUNT, "hidden_size|n_embd|d_model", SM_K_EMBD, "!"},
    {HF_COUNT, "max_position_embeddings|n_positions|seq_length|max_seq_len", SM_K_CONTEXT, "!"},
    {HF_COUNT, "num_attention_heads|n_head|n_heads", SM_K_HEADS, "!"},
    {HF_COUNT, "num_key_value_heads|num_kv_heads", SM_K_HEADS_KV, NULL},
    {HF_COUNT, "intermediate_size", SM_K_FF, "!"},
    {HF_COUNT, "head_dim", SM_K_KEY_LENGTH, NULL},
    {HF_COUNT, "head_dim", SM_K_VALUE_LENGTH, NULL},
    {HF_NUMBER, "rms_norm_eps", SM_K_RMS_EPS, "!"},
    {HF_IS, "hidden_act|hidden_activation|activation_function", NULL, "silu|swish"},
    /* whether there are biases the tensors say */
    {HF_SKIP, "attention_bias|qkv_bias|mlp_bias|use_bias|use_qkv_bias|bias|no_bias", NULL, NULL},
    {HF_OFF, "use_bidirectional_attention", NULL, NULL},
    {HF_OFF, "add_cross_attention|is_encoder_decoder", NULL, NULL},
    {HF_END, NULL, NULL, NULL},
};

const hf_name hf_common_names[] = {
    {"embed_tokens", "token_embd", HF_SAME},
    {"norm", "output_norm", HF_SAME},
    {"lm_head", "output", HF_SAME},
    {"layers.#.input_layernorm", "blk.#.attn_norm", HF_SAME},
    {"layers.#.post_attention_layernorm", "blk.#.ffn_norm", HF_SAME},
    {"layers.#.self_attn.q_proj", "blk.#.attn_q", HF_SAME},
    {"layers.#.self_attn.k_proj", "blk.#.attn_k", HF_SAME},
    {"layers.#.self_attn.v_proj", "blk.#.attn_v", HF_SAME},
    {"layers.#.self_attn.o_proj", "blk.#.attn_output", HF_SAME},
    {"layers.#.self_attn.qkv_proj", "blk.#.attn_qkv", HF_SAME},
    {"layers.#.self_attn.q_norm", "blk.#.attn_q_norm", HF_SAME},
    {"layers.#.self_attn.k_norm", "blk.#.attn_k_norm", HF_SAME},
    {"layers.#.self_attn.rotary_emb.inv_freq", NULL, HF_SAME},
    {"rotary_emb.inv_freq", NULL, HF_SAME},
    {"layers.#.mlp.gate_proj", "blk.#.ffn_gate", HF_SAME},
    {"layers.#.mlp.up_proj", "blk.#.ffn_up", HF_SAME},
    {"layers.#.mlp.down_proj", "blk.#.ffn_down", HF_SAME},
    {"layers.#.mlp.gate_up_proj", "blk.#.ffn_up", HF_SAME},
    {"layers.#.mlp.gate", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.mlp.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias", HF_SAME},
    {"layers.#.mlp.experts.&.gate_proj", "blk.#.ffn_gate_exps", HF_SAME},
    {"layers.#.mlp.experts.&.up_proj", "blk.#.ffn_up_exps", HF_SAME},
    {"layers.#.mlp.experts.&.down_proj", "blk.#.ffn_down_exps", HF_SAME},
    {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight", HF_FIRST_HALF},
    {"layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", HF_LAST_HALF},
    {"layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight", HF_SAME},
    {"layers.#.mlp.shared_experts.gate_proj", "blk.#.ffn_gate_shexp", HF_SAME},
    {"layers.#.mlp.shared_experts.up_proj", "blk.#.ffn_up_shexp", HF_SAME},
    {"layers.#.mlp.shared_experts.down_proj", "blk.#.ffn_down_shexp", HF_SAME},
    {"layers.#.mlp.shared_expert.gate_proj", "blk.#.ffn_gate_shexp", HF_SAME},
    {"layers.#.mlp.shared_expert.up_proj", "blk.#.ffn_up_shexp", HF_SAME},
    {"layers.#.mlp.shared_expert.down_proj", "blk.#.ffn_down_shexp", HF_SAME},
    {"layers.#.mlp.shared_expert_gate", "blk.#.ffn_gate_inp_shexp", HF_SAME},
    {NULL, NULL, HF_SAME},
};

const char *const hf_harmless[] = {
    /* who wrote it, and with what */
    "_*",
    "transformers*",
    "architectures",
    "model_type",
    "auto_map",
    "dtype",
    "torch_dtype",
    "unsloth*",
    "license",
    "custom_pipelines",
    "torchscript",
    "use_bfloat16",
    "onnx",
    "tf_legacy_loss",
    "language",
    "keys_to_ignore_at_inference",
    /* of training */
    "*dropout",
    "*pdrop",
    "*_dropout_*",
    "initializer_*",
    "init_*",
    "embedding_dropout",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "router_z_loss*",
    "output_router_logits",
    "aux_loss_alpha",
    "seq_aux",
    "use_cache",
    "pretraining_tp",
    "gradient_checkpointing",
    "label_smoothing",
    "z_loss*",
    "moe_z_loss_coeff",
    "ep_size",
    "rescale_prenorm_residual",
    /* of other heads and outputs */
    "summary_*",
    "id2label",
    "label2id",
    "problem_type",
    "return_dict*",
    "output_attentions",
    "output_hidden_states",
    "num_labels",
    "finetuning_task",
    "classifier_*",
    "pruned_heads",
    /* of texts and how they are generated: the tokenizer's files say it, or generation_config.json */
    "*_token_id",
    "*_token_index",
    "vocab_size",
    "vocab_size_per_layer_input",
    "prefix",
    "task_specific_params",
    "tokenizer_class",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "max_length",
    "min_length",
    "max_new_tokens",
    "repetition_penalty",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "diversity_penalty",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "num_beam_groups",
    "num_return_sequences",
    "remove_invalid_values",
    "typical_p",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_*_token_id",
    /* how it is computed, with the same result */
    "chunk_size_feed_forward",
    "attn_implementation",
    "use_flash_attention*",
    "use_flash_attn",
    "flash_attn",
    "reorder_and_upcast_attn",
    "attention_softmax_in_fp32",
    "scale_attention_softmax_in_fp32",
    "slow_but_exact",
    "pad_vocab_size_multiple_of",
    "fused_*",
    "tensor_parallel*",
    "base_model_tp_plan",
    "base_model_pp_plan",
    "cache_implementation",
    NULL,
};

/* ---- families ---------------------------------------------------------------------------- */

#define END_KEY \
    { HF_END, NULL, NULL, NULL }
#define END_NAME \
    { NULL, NULL, HF_SAME }
#define EXPERT_KEYS(count)                                                              \
    {HF_COUNT, count, SM_K_EXPERTS, "!"}, {                                             \
        HF_COUNT, "num_experts_per_tok|experts_per_token|moe_topk|moe_k|top_k_experts", \
            SM_K_EXPERTS_USED, "!"                                                      \
    }
#define GELU_TANH "gelu_new|gelu_pytorch_tanh|gelu_fast|gelu_python_tanh"
#define ACTIVATION "hidden_act|hidden_activation|activation_function|activation"

/* A key that must have one value, of which a family's code knows nothing else. */
static void require_count(hf_reader *r, const char *name, uint32_t value) {
    if (hf_count_or(r, name, value) != value)
        hf_fail(r, SM_ERR_UNSUPPORTED, name,
                "is one that this version does not compute for this family");
}

static void require_number(hf_reader *r, const char *name, double value) {
    if (fabs(hf_number_or(r, name, value) - value) > 1e-6 * fabs(value))
        hf_fail(r, SM_ERR_UNSUPPORTED, name,
                "is one that this version does not compute for this family");
}

static void windows(hf_reader *r) {
    hf_windows(r, 0, 0);
}

static const hf_key mixtral_keys[] = {EXPERT_KEYS("num_local_experts"), END_KEY};
static const hf_name mixtral_names[] = {
    {"layers.#.block_sparse_moe.gate", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w1", "blk.#.ffn_gate_exps", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w2", "blk.#.ffn_down_exps", HF_SAME},
    {"layers.#.block_sparse_moe.experts.&.w3", "blk.#.ffn_up_exps", HF_SAME},
    END_NAME};

/* ---- qwen -------------------------------------------------------------------------------- */

static void all_sparse(hf_reader *r) {
    windows(r);
    require_count(r, "decoder_sparse_step|moe_layer_freq", 1);
}

static const hf_key qwen_moe_keys[] = {
    EXPERT_KEYS("num_experts|num_local_experts"),
    {HF_COUNT, "moe_intermediate_size", SM_K_EXPERTS_FF, "!"},
    {HF_COUNT, "shared_expert_intermediate_size", SM_K_EXPERTS_FF_SHARED, NULL},
    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "0"},
    {HF_OFF, "mlp_only_layers", NULL, NULL},
    END_KEY};

/* ---- gemma ------------------------------------------------------------------------------- */

/* Scores are divided by the root of query_pre_attn_scalar; readers of GGUF take the head dimension
 * for it, of two sizes that models have n_embd / n_head. */
static void gemma_scale(hf_reader *r) {
    const double by = hf_number_or(r, "query_pre_attn_scalar", (double)r->head_dim);
    const bool large =
        (r->n_embd == 4608 || r->n_embd == 5376) && r->n_head == 32 && r->head_dim == 128;
    const uint32_t usual = large ? r->n_embd / r->n_head : r->head_dim;
    if (!(by > 0))
        hf_fail(r, SM_ERR_FORMAT, "query_pre_attn_scalar", "is not positive");
    else if (fabs(by - usual) > 1e-9)
        hf_put_number(r, "attention.scale", 1 / sqrt(by));
}

static void gemma2(hf_reader *r) {
    gemma_scale(r);
    hf_windows(r, 2, 2);
}

static void gemma3(hf_reader *r) {
    gemma_scale(r);
    hf_windows(r, 6, hf_count_or(r, "sliding_window_pattern|_sliding_window_pattern", 6));
}

static const hf_key gemma_keys[] = {{HF_IS, ACTIVATION, NULL, "gelu|" GELU_TANH},
                                    {HF_NUMBER, "attn_logit_softcapping", SM_K_SCORE_CAP, NULL},
                                    {HF_NUMBER, "final_logit_softcapping", SM_K_LOGIT_CAP, NULL},
                                    END_KEY};
static const hf_name gemma_names[] = {
    {"norm", "output_norm", HF_PLUS_ONE},
    {"layers.#.input_layernorm", "blk.#.attn_norm", HF_PLUS_ONE},
    {"layers.#.post_attention_layernorm", "blk.#.ffn_norm", HF_PLUS_ONE},
    END_NAME};
static const hf_name gemma2_names[] = {
    {"norm", "output_norm", HF_PLUS_ONE},
    {"layers.#.input_layernorm", "blk.#.attn_norm", HF_PLUS_ONE},
    {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_PLUS_ONE},
    {"layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm", HF_PLUS_ONE},
    {"layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", HF_PLUS_ONE},
    {"layers.#.self_attn.q_norm", "blk.#.attn_q_norm", HF_PLUS_ONE},
    {"layers.#.self_attn.k_norm", "blk.#.attn_k_norm", HF_PLUS_ONE},
    END_NAME};

/* ---- gpt-2 and what came after it ---------------------------------------------------------- */

static void gpt2(hf_reader *r) {
    hf_put_count(r, SM_K_FF, hf_count_or(r, "n_inner", 4 * r->n_embd));
}

static const hf_key gpt2_keys[] = {{HF_SKIP, "intermediate_size|n_inner|n_ctx", NULL, NULL},
                                   {HF_SKIP, "rms_norm_eps", NULL, NULL},
                                   {HF_NUMBER, "layer_norm_epsilon", SM_K_LAYER_EPS, "1e-5"},
                                   {HF_IS, ACTIVATION, NULL, GELU_TANH},
                                   {HF_OFF, "scale_attn_by_inverse_layer_idx", NULL, NULL},
                                   {HF_ON, "scale_attn_weights", NULL, NULL},
                                   END_KEY};
static const hf_name gpt2_names[] = {{"wte", "token_embd", HF_SAME},
                                     {"wpe", "position_embd", HF_SAME},
                                     {"ln_f", "output_norm", HF_SAME},
                                     {"h.#.ln_1", "blk.#.attn_norm", HF_SAME},
                                     {"h.#.ln_2", "blk.#.ffn_norm", HF_SAME},
                                     {"h.#.attn.bias", NULL, HF_SAME}, /* a mask */
                                     {"h.#.attn.masked_bias", NULL, HF_SAME},
                                     {"h.#.attn.c_attn", "blk.#.attn_qkv", HF_TURNED},
                                     {"h.#.attn.c_proj", "blk.#.attn_output", HF_TURNED},
                                     {"h.#.mlp.c_fc", "blk.#.ffn_up", HF_TURNED},
                                     {"h.#.mlp.c_proj", "blk.#.ffn_down", HF_TURNED},
                                     END_NAME};

static void starcoder(hf_reader *r) {
    gpt2(r);
    r->n_head_kv = 1;
    hf_put_count(r, SM_K_HEADS_KV, 1);
}

static const hf_key starcoder_keys[] = {{HF_SKIP, "intermediate_size|n_inner|n_ctx", NULL, NULL},
                                        {HF_SKIP, "rms_norm_eps|num_key_value_heads", NULL, NULL},
                                        {HF_NUMBER, "layer_norm_epsilon", SM_K_LAYER_EPS, "1e-5"},
                                        {HF_IS, ACTIVATION, NULL, GELU_TANH},
                                        {HF_ON, "multi_query", NULL, NULL},
                                        {HF_ON, "scale_attn_weights", NULL, NULL},
                                        END_KEY};
static const hf_name starcoder_names[] = {{"wte", "token_embd", HF_SAME},
                                          {"wpe", "position_embd", HF_SAME},
                                          {"ln_f", "output_norm", HF_SAME},
                                          {"h.#.ln_1", "blk.#.attn_norm", HF_SAME},
                                          {"h.#.ln_2", "blk.#.ffn_norm", HF_SAME},
                                          {"h.#.attn.bias", NULL, HF_SAME},
                                          {"h.#.attn.masked_bias", NULL, HF_SAME},
                                          {"h.#.attn.c_attn", "blk.#.attn_qkv", HF_SAME},
                                          {"h.#.attn.c_proj", "blk.#.attn_output", HF_SAME},
                                          {"h.#.mlp.c_fc", "blk.#.ffn_up", HF_SAME},
                                          {"h.#.mlp.c_proj", "blk.#.ffn_down", HF_SAME},
                                          END_NAME};

static void bloom(hf_reader *r) {
    hf_put_count(r, SM_K_FF, 4 * r->n_embd);
    hf_put_count(r, SM_K_CONTEXT, hf_count_or(r, "seq_length|n_positions", 2048));
}

static const hf_key bloom_keys[] = {
    {HF_SKIP, "intermediate_size|n_inner", NULL, NULL},
    {HF_SKIP,
     "max_position_embeddings|n_positions|seq_length|max_seq_len|attention_softmax_in_fp32", NULL,
     NULL},
    {HF_SKIP, "rms_norm_eps|masked_softmax_fusion|bias_dropout_fusion|offset_alibi", NULL, NULL},
    {HF_NUMBER, "layer_norm_epsilon", SM_K_LAYER_EPS, "1e-5"},
    {HF_OFF, "apply_residual_connection_post_layernorm", NULL, NULL},
    END_KEY};
static const hf_name bloom_names[] = {
    {"word_embeddings", "token_embd", HF_SAME},
    {"word_embeddings_layernorm", "token_embd_norm", HF_SAME},
    {"ln_f", "output_norm", HF_SAME},
    {"h.#.input_layernorm", "blk.#.attn_norm", HF_SAME},
    {"h.#.post_attention_layernorm", "blk.#.ffn_norm", HF_SAME},
    {"h.#.self_attention.query_key_value", "blk.#.attn_qkv", HF_HEADS},
    {"h.#.self_attention.dense", "blk.#.attn_output", HF_SAME},
    {"h.#.mlp.dense_h_to_4h", "blk.#.ffn_up", HF_SAME},
    {"h.#.mlp.dense_4h_to_h", "blk.#.ffn_down", HF_SAME},
    END_NAME};

static const hf_key gptneox_keys[] = {
    {HF_SKIP, "rms_norm_eps", NULL, NULL},
    {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-5"},
    {HF_FLAG, "use_parallel_residual", "use_parallel_residual", "1"},
    {HF_IS, ACTIVATION, NULL, "gelu"},
    END_KEY};
static const hf_name gptneox_names[] = {
    {"embed_in", "token_embd", HF_SAME},
    {"embed_out", "output", HF_SAME},
    {"final_layer_norm", "output_norm", HF_SAME},
    {"layers.#.input_layernorm", "blk.#.attn_norm", HF_SAME},
    {"layers.#.post_attention_layernorm", "blk.#.ffn_norm", HF_SAME},
    {"layers.#.attention.bias", NULL, HF_SAME},
    {"layers.#.attention.masked_bias", NULL, HF_SAME},
    {"layers.#.attention.rotary_emb.inv_freq", NULL, HF_SAME},
    {"layers.#.attention.query_key_value", "blk.#.attn_qkv", HF_HEADS},
    {"layers.#.attention.dense", "blk.#.attn_output", HF_SAME},
    {"layers.#.mlp.dense_h_to_4h", "blk.#.ffn_up", HF_SAME},
    {"layers.#.mlp.dense_4h_to_h", "blk.#.ffn_down", HF_SAME},
    END_NAME};

/* Of 7B one head of keys, and a number of them that means nothing; of 40B as many as it says. */
static void falcon(hf_reader *r) {
    const bool grouped = hf_flag_or(r, "new_decoder_architecture", false);
    const bool one = hf_flag_or(r, "multi_query", true);
    if (!grouped && !one)
        hf_fail(r, SM_ERR_UNSUPPORTED, "multi_query",
                "is false, which this version does not compute for this family");
    r->n_head_kv = grouped ? hf_count_or(r, "num_kv_heads|n_head_kv", r->n_head) : 1;
    hf_put_count(r, SM_K_HEADS_KV, r->n_head_kv);
    hf_put_count(r, SM_K_FF, hf_count_or(r, "ffn_hidden_size", 4 * r->n_embd));
    hf_put_count(r, SM_K_CONTEXT, hf_count_or(r, "max_position_embeddings", 2048));
}

static const hf_key falcon_keys[] = {
    {HF_SKIP, "rms_norm_eps|num_ln_in_parallel_attn|intermediate_size", NULL, NULL},
    {HF_SKIP, "num_key_value_heads|num_kv_heads|n_head_kv", NULL, NULL},
    {HF_SKIP, "max_position_embeddings|apply_residual_connection_post_layernorm", NULL, NULL},
    {HF_NUMBER, "layer_norm_epsilon", SM_K_LAYER_EPS, "1e-5"},
    {HF_IS, ACTIVATION, NULL, "gelu"},
    {HF_ON, "parallel_attn", NULL, NULL},
    {HF_OFF, "alibi", NULL, NULL},
    END_KEY};
static const hf_name falcon_names[] = {
    {"word_embeddings", "token_embd", HF_SAME},
    {"ln_f", "output_norm", HF_SAME},
    {"h.#.input_layernorm", "blk.#.attn_norm", HF_SAME},
    {"h.#.ln_attn", "blk.#.attn_norm_2", HF_SAME},
    {"h.#.ln_mlp", "blk.#.attn_norm", HF_SAME},
    {"h.#.self_attention.query_key_value", "blk.#.attn_qkv", HF_GROUPS},
    {"h.#.self_attention.dense", "blk.#.attn_output", HF_SAME},
    {"h.#.self_attention.rotary_emb.inv_freq", NULL, HF_SAME},
    {"h.#.mlp.dense_h_to_4h", "blk.#.ffn_up", HF_SAME},
    {"h.#.mlp.dense_4h_to_h", "blk.#.ffn_down", HF_SAME},
    END_NAME};

/* mpt: what attention does stands in an object of its own. */
static void mpt(hf_reader *r) {
    static const char *const off[] = {"qk_ln", "prefix_lm", "attn_uses_sequence_id", "rope",
                                      "sliding_window_size"};
    const sm_json_value attn = hf_find(r, "attn_config");
    double number = 0;
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        const sm_json_value v = hf_find_in(r, attn, off[i]);
        const bool minus = sm_json_double(r->json, v, &number) && number < 0;
        if (v != SM_JSON_NONE && sm_json_kind_of(r->json, v) != SM_JSON_FALSE && !minus)
            hf_fail(r, SM_ERR_UNSUPPORTED, "attn_config",
                    "asks for what this version does not compute for this family");
    }
    const sm_json_value clip = hf_find_in(r, attn, "clip_qkv");
    const sm_json_value scale = hf_find_in(r, attn, "softmax_scale");
    if (clip != SM_JSON_NONE && sm_json_double(r->json, clip, &number))
        hf_put_number(r, SM_K_CLAMP_QKV, number);
    if (scale != SM_JSON_NONE)
        hf_fail(r, SM_ERR_UNSUPPORTED, "attn_config", "has a 'softmax_scale' of its own");
    const sm_json_value alibi = hf_find_in(r, attn, "alibi");
    if (sm_json_kind_of(r->json, alibi) == SM_JSON_TRUE) {
        number = 8;
        sm_json_double(r->json, hf_find_in(r, attn, "alibi_bias_max"), &number);
        hf_put_number(r, SM_K_ALIBI, number);
    }
    const sm_json_value heads = hf_find_in(r, attn, "kv_n_heads");
    uint64_t n_kv = r->n_head;
    if (heads != SM_JSON_NONE && sm_json_u64(r->json, heads, &n_kv) && n_kv <= r->n_head)
        r->n_head_kv = (uint32_t)n_kv;
    hf_put_count(r, SM_K_HEADS_KV, r->n_head_kv);
    hf_put_count(r, SM_K_FF, hf_count_or(r, "expansion_ratio", 4) * r->n_embd);
    require_number(r, "embedding_fraction", 1);
}

static const hf_key mpt_keys[] = {
    {HF_SKIP, "rms_norm_eps|num_key_value_heads|intermediate_size|learned_pos_emb|verbose", NULL,
     NULL},
    {HF_NUMBER, "layer_norm_epsilon", SM_K_LAYER_EPS, "1e-5"},
    {HF_IS, "norm_type", NULL, "low_precision_layernorm|layernorm"},
    {HF_OFF, "logit_scale", NULL, NULL},
    {HF_SKIP, "ffn_config|fc_type", NULL, NULL},
    END_KEY};
static const hf_name mpt_names[] = {{"wte", "token_embd", HF_SAME},
                                    {"wpe", "position_embd", HF_SAME},
                                    {"norm_f", "output_norm", HF_SAME},
                                    {"blocks.#.norm_1", "blk.#.attn_norm", HF_SAME},
                                    {"blocks.#.norm_2", "blk.#.ffn_norm", HF_SAME},
                                    {"blocks.#.attn.Wqkv", "blk.#.attn_qkv", HF_SAME},
                                    {"blocks.#.attn.out_proj", "blk.#.attn_output", HF_SAME},
                                    {"blocks.#.ffn.up_proj", "blk.#.ffn_up", HF_SAME},
                                    {"blocks.#.ffn.down_proj", "blk.#.ffn_down", HF_SAME},
                                    END_NAME};

static const hf_key phi2_keys[] = {{HF_SKIP, "rms_norm_eps", NULL, NULL},
                                   {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-5"},
                                   {HF_IS, ACTIVATION, NULL, GELU_TANH},
                                   {HF_OFF, "qk_layernorm", NULL, NULL},
                                   END_KEY};
static const hf_name phi2_names[] = {{"final_layernorm", "output_norm", HF_SAME},
                                     {"layers.#.self_attn.dense", "blk.#.attn_output", HF_SAME},
                                     {"layers.#.mlp.fc1", "blk.#.ffn_up", HF_SAME},
                                     {"layers.#.mlp.fc2", "blk.#.ffn_down", HF_SAME},
                                     END_NAME};

static const hf_key stablelm_keys[] = {
    {HF_SKIP, "rms_norm_eps|qk_layernorm", NULL, NULL}, /* norms of heads: the tensors say it */
    {HF_NUMBER, "layer_norm_eps|norm_eps", SM_K_LAYER_EPS, "1e-5"},
    {HF_FLAG, "use_parallel_residual", "use_parallel_residual", "0"},
    END_KEY};
static const hf_name stablelm_names[] = {
    {"layers.#.self_attn.q_layernorm.norms.&", "blk.#.attn_q_norm", HF_SAME},
    {"layers.#.self_attn.k_layernorm.norms.&", "blk.#.attn_k_norm", HF_SAME},
    END_NAME};

static const hf_key starcoder2_keys[] = {
    {HF_SKIP, "rms_norm_eps", NULL, NULL}, {HF_NUMBER, "norm_epsilon", SM_K_LAYER_EPS, "1e-5"},
    {HF_IS, ACTIVATION, NULL, GELU_TANH},  {HF_IS, "norm_type", NULL, "layer_norm"},
    {HF_IS, "mlp_type", NULL, "default"},  END_KEY};
static const hf_name starcoder2_names[] = {{"layers.#.mlp.c_fc", "blk.#.ffn_up", HF_SAME},
                                           {"layers.#.mlp.c_proj", "blk.#.ffn_down", HF_SAME},
                                           END_NAME};

static const hf_key nemotron_keys[] = {{HF_SKIP, "rms_norm_eps", NULL, NULL},
                                       {HF_NUMBER, "norm_eps", SM_K_LAYER_EPS, "1e-5"},
                                       {HF_IS, ACTIVATION, NULL, "relu2"},
                                       END_KEY};

/* ---- llama's relatives ---------------------------------------------------------------------- */

static const hf_key granite_keys[] = {{HF_NUMBER, "attention_multiplier", "attention.scale", "1"},
                                      {HF_NUMBER, "embedding_multiplier", "embedding_scale", "1"},
                                      {HF_NUMBER, "residual_multiplier", "residual_scale", "1"},
                                      {HF_NUMBER, "logits_scaling", "logit_scale", "1"},
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

static void minicpm(hf_reader *r) {
    const double depth = hf_number_or(r, "scale_depth", 1.4);
    const double base = hf_number_or(r, "dim_model_base", 256);
    if (!(depth > 0) || !(base > 0) || !r->n_layer)
        hf_fail(r, SM_ERR_FORMAT, "scale_depth|dim_model_base", "is not positive");
    hf_put_number(r, "embedding_scale", hf_number_or(r, "scale_emb", 12));
    hf_put_number(r, "residual_scale", depth / sqrt(r->n_layer ? (double)r->n_layer : 1));
    hf_put_number(r, "logit_scale", base > 0 ? (double)r->n_embd / base : 1);
    require_count(r, "num_experts", 0);
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
    windows(r);
    require_count(r, "no_rope_layer_interval", 4);
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
    {"layers.#.mlp.gate.wg", "blk.#.ffn_gate_inp", HF_SAME},
    {"layers.#.mlp.shared_mlp.gate_proj", "blk.#.ffn_gate_shexp", HF_SAME},
    {"layers.#.mlp.shared_mlp.up_proj", "blk.#.ffn_up_shexp", HF_SAME},
    {"layers.#.mlp.shared_mlp.down_proj", "blk.#.ffn_down_shexp", HF_SAME},
    END_NAME};

static const hf_name seed_oss_names[] = {
    {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_SAME}, END_NAME};

static const hf_key arcee_keys[] = {{HF_IS, ACTIVATION, NULL, "relu2"}, END_KEY};

static const hf_key olmo_keys[] = {
    {HF_SKIP, "rms_norm_eps", NULL, NULL},
    {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-5"}, /* which its code has */
    {HF_NUMBER, "clip_qkv", SM_K_CLAMP_QKV, NULL},
    END_KEY};
static const hf_key olmoe_keys[] = {EXPERT_KEYS("num_experts"),
                                    {HF_FLAG, "norm_topk_prob", SM_K_EXPERTS_NORM, "0"},
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

/* ---- experts -------------------------------------------------------------------------------- */

/* The last layers, which guess more tokens, are left out. */
static void drafts(hf_reader *r) {
    r->n_drafts = hf_count_or(r, "num_nextn_predict_layers", 0);
}

static void glm4_moe(hf_reader *r) {
    windows(r);
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
    require_count(r, "moe_layer_freq", 1);
    if (hf_is(r, "topk_method", "greedy")) { /* groups, should there be some, are not looked at */
        hf_put_count(r, SM_K_EXPERTS_GROUPS, 1);
        hf_put_count(r, SM_K_EXPERTS_GROUPS_USED, 1);
    }
}

static void deepseek3(hf_reader *r) {
    latent_keys(r);
    drafts(r);
    require_count(r, "moe_layer_freq", 1);
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
    windows(r);
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
    require_count(r, "moe_layer_interval", 1);
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
    require_number(r, "swiglu_alpha", 1.702);
    require_number(r, "swiglu_limit", 7);
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

/* Readers of GGUF want both keys of every model. */
static void phi3(hf_reader *r) {
    windows(r);
    hf_put_count(r, SM_K_WINDOW, 0);
    hf_put_count(r, "rope.scaling.original_context_length",
                 hf_count_or(r, "original_max_position_embeddings|max_position_embeddings", 0));
}

/* ---- families ---------------------------------------------------------------------------- */

static const hf_family families[] = {
    {.types = "llama", .architecture = "llama", .more = windows, .qk_in_pairs = true},
    {.types = "mistral|ministral", .architecture = "llama", .more = windows, .qk_in_pairs = true},
    {.types = "mixtral",
     .architecture = "llama",
     .keys = mixtral_keys,
     .names = mixtral_names,
     .more = windows,
     .theta = 1e6,
     .qk_in_pairs = true},
    {.types = "qwen2|qwen2_vl_text|qwen2_5_vl_text", .architecture = "qwen2", .more = windows},
    {.types = "qwen3|qwen3_vl_text", .architecture = "qwen3", .more = windows},
    {.types = "qwen2_moe", .architecture = "qwen2moe", .keys = qwen_moe_keys, .more = all_sparse},
    {.types = "qwen3_moe", .architecture = "qwen3moe", .keys = qwen_moe_keys, .more = all_sparse},
    {.types = "gemma",
     .architecture = "gemma",
     .keys = gemma_keys,
     .names = gemma_names,
     .tied = true},
    {.types = "gemma2",
     .architecture = "gemma2",
     .keys = gemma_keys,
     .names = gemma2_names,
     .more = gemma2,
     .tied = true},
    {.types = "gemma3_text|gemma3",
     .architecture = "gemma3",
     .keys = gemma_keys,
     .names = gemma2_names,
     .more = gemma3,
     .theta = 1e6,
     .tied = true},
    {.types = "gpt2",
     .architecture = "gpt2",
     .keys = gpt2_keys,
     .names = gpt2_names,
     .more = gpt2,
     .prefix = "transformer.",
     .tied = true,
     .no_rope = true},
    {.types = "gpt_bigcode",
     .architecture = "starcoder",
     .keys = starcoder_keys,
     .names = starcoder_names,
     .more = starcoder,
     .prefix = "transformer.",
     .tied = true,
     .no_rope = true},
    {.types = "bloom",
     .architecture = "bloom",
     .keys = bloom_keys,
     .names = bloom_names,
     .more = bloom,
     .prefix = "transformer.",
     .tied = true,
     .no_rope = true},
    {.types = "gpt_neox",
     .architecture = "gptneox",
     .keys = gptneox_keys,
     .names = gptneox_names,
     .prefix = "gpt_neox.",
     .partial = true},
    {.types = "falcon|RefinedWeb|RefinedWebModel",
     .architecture = "falcon",
     .keys = falcon_keys,
     .names = falcon_names,
     .more = falcon,
     .prefix = "transformer.",
     .tied = true},
    {.types = "mpt",
     .architecture = "mpt",
     .keys = mpt_keys,
     .names = mpt_names,
     .more = mpt,
     .prefix = "transformer.",
     .tied = true,
     .no_rope = true},
    {.types = "phi",
     .architecture = "phi2",
     .keys = phi2_keys,
     .names = phi2_names,
     .partial = true},
    {.types = "phi3", .architecture = "phi3", .more = phi3, .partial = true},
    {.types = "phimoe",
     .architecture = "phimoe",
     .keys = phimoe_keys,
     .names = mixtral_names,
     .more = windows},
    {.types = "stablelm",
     .architecture = "stablelm",
     .keys = stablelm_keys,
     .names = stablelm_names,
     .partial = true},
    {.types = "starcoder2",
     .architecture = "starcoder2",
     .keys = starcoder2_keys,
     .names = starcoder2_names,
     .more = windows,
     .tied = true},
    {.types = "nemotron",
     .architecture = "nemotron",
     .keys = nemotron_keys,
     .names = gemma_names,
     .partial = true},
    {.types = "granite", .architecture = "granite", .keys = granite_keys, .qk_in_pairs = true},
    {.types = "granitemoe|granitemoeshared",
     .architecture = "granitemoe",
     .keys = granite_moe_keys,
     .names = granite_moe_names,
     .qk_in_pairs = true},
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
    {.types = "ernie4_5_moe",
     .architecture = "ernie4_5-moe",
     .keys = ernie_moe_keys,
     .names = ernie_moe_names,
     .more = ernie_moe,
     .tied = true},
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
    {.types = "olmoe", .architecture = "olmoe", .keys = olmoe_keys},
    {.types = "cohere", .architecture = "command-r", .keys = cohere_keys, .tied = true},
    {.types = "cohere2",
     .architecture = "cohere2",
     .keys = cohere_keys,
     .more = period4,
     .tied = true},
    {.types = "glm", .architecture = "chatglm", .partial = true},
    {.types = "glm4", .architecture = "glm4", .names = glm4_names, .partial = true},
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
};
#define N_FAMILIES (sizeof families / sizeof *families)

const hf_family *hf_family_find(const char *type, uint64_t length) {
    for (size_t i = 0; i < N_FAMILIES; i++)
        for (const char *at = families[i].types; *at;) {
            const size_t n = strcspn(at, "|");
            if (n == length && memcmp(at, type, n) == 0)
                return &families[i];
            at += n + (at[n] == '|');
        }
    return NULL;
}
