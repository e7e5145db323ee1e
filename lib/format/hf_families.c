/* What families in Hugging Face's form have in common, and where each is. */
#include "format/hf_tables.h"

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
    "*dropout_prob",
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
    /* of texts and how they are generated: the tokenizer's files say it, or
     * generation_config.json */
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

/* ---- what families' functions share ------------------------------------------------------ */

void hf_require_count(hf_reader *r, const char *name, uint32_t value) {
    if (hf_count_or(r, name, value) != value)
        hf_fail(r, SM_ERR_UNSUPPORTED, name,
                "is one that this version does not compute for this family");
}

void hf_require_number(hf_reader *r, const char *name, double value) {
    if (fabs(hf_number_or(r, name, value) - value) > 1e-6 * fabs(value))
        hf_fail(r, SM_ERR_UNSUPPORTED, name,
                "is one that this version does not compute for this family");
}

void hf_all_windows(hf_reader *r) {
    hf_windows(r, 0, 0);
}

/* ---- finding one ------------------------------------------------------------------------- */

static const hf_family *const groups[] = {hf_llama_families,  hf_gemma_families,
                                          hf_gpt_families,    hf_sparse_families,
                                          hf_hybrid_families, hf_encoder_families};

static bool is_type(const char *types, const char *type, uint64_t length) {
    for (const char *at = types; *at;) {
        const size_t n = strcspn(at, "|");
        if (n == length && memcmp(at, type, n) == 0)
            return true;
        at += n + (at[n] == '|');
    }
    return false;
}

const hf_family *hf_family_find(const char *type, uint64_t length) {
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        for (const hf_family *f = groups[i]; f->types; f++)
            if (is_type(f->types, type, length))
                return f;
    return NULL;
}

const hf_family *hf_family_of(const char *architecture, uint64_t length, uint32_t i) {
    for (size_t k = 0; k < sizeof groups / sizeof *groups; k++)
        for (const hf_family *f = groups[k]; f->types; f++)
            if (strlen(f->architecture) == length &&
                memcmp(f->architecture, architecture, (size_t)length) == 0 && !i--)
                return f;
    return NULL;
}
