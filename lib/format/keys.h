/* keys.h - names of keys that more than one place reads or writes. They are GGUF's; readers of
 * other formats translate to them.
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#standardized-key-value-pairs
 */
#ifndef SM_KEYS_H
#define SM_KEYS_H

#define SM_K_ARCHITECTURE "general.architecture" /* prefix of a model's own keys */
#define SM_K_TYPE "general.type"                 /* "model", "adapter", "imatrix", … */
#define SM_K_NAME "general.name"
#define SM_K_FILE_TYPE "general.file_type" /* mixture of types, numbered as in llama.cpp */
#define SM_K_QUANTIZATION_VERSION "general.quantization_version"
#define SM_K_ALIGNMENT "general.alignment"
#define SM_K_SPLIT_NO "split.no"
#define SM_K_SPLIT_COUNT "split.count"
#define SM_K_SPLIT_TENSORS "split.tensors.count"
#define SM_K_ADAPTER_TYPE "adapter.type"
#define SM_K_ADAPTER_ALPHA "adapter.lora.alpha"
#define SM_K_TOKENIZER_MODEL "tokenizer.ggml.model"
#define SM_K_TOKENS "tokenizer.ggml.tokens"
#define SM_K_ENDS "tokenizer.ggml.eos_token_ids" /* all tokens that end a generation */
/* The texts of a directory's files, in files that are made of one: its vocabulary. The first is
 * GGUF's own name. */
#define SM_K_TOKENIZER_JSON "tokenizer.huggingface.json"
#define SM_K_TOKENIZER_CONFIG "tokenizer.huggingface.config"
#define SM_K_TOKENIZER_SPECIALS "tokenizer.huggingface.special_tokens_map"
#define SM_K_CHAT_TEMPLATE "tokenizer.chat_template"

/* Of a model: after its architecture and a full stop. */
#define SM_K_CONTEXT "context_length"
#define SM_K_EMBD "embedding_length"
#define SM_K_LAYERS "block_count"
#define SM_K_FF "feed_forward_length"
#define SM_K_HEADS "attention.head_count"
#define SM_K_HEADS_KV "attention.head_count_kv"
#define SM_K_KEY_LENGTH "attention.key_length"
#define SM_K_VALUE_LENGTH "attention.value_length"
#define SM_K_KEY_LENGTH_MLA "attention.key_length_mla"
#define SM_K_VALUE_LENGTH_MLA "attention.value_length_mla"
#define SM_K_Q_RANK "attention.q_lora_rank"
#define SM_K_KV_RANK "attention.kv_lora_rank"
#define SM_K_INPUT_LENGTH "embedding_length_per_layer_input"
#define SM_K_RMS_EPS "attention.layer_norm_rms_epsilon"
#define SM_K_LAYER_EPS "attention.layer_norm_epsilon"
#define SM_K_WINDOW "attention.sliding_window"
#define SM_K_WINDOW_PATTERN "attention.sliding_window_pattern"
#define SM_K_CAUSAL "attention.causal"
#define SM_K_POOLING "pooling_type"
/* Tokens that texts are cut to, as sentence-transformers has it; of directories only. */
#define SM_K_TEXT_TOKENS "sentence.max_tokens"
/* Names and texts of what is put before texts, in turns; which is where none is asked for. */
#define SM_K_PROMPTS "sentence.prompts"
#define SM_K_PROMPT "sentence.default_prompt"
#define SM_K_LABELS "classifier.output_labels"
#define SM_K_ALIBI "attention.max_alibi_bias"
#define SM_K_CLAMP_QKV "attention.clamp_kqv"
#define SM_K_CONV_TAPS "shortconv.l_cache"
#define SM_K_ROPE_DIMS "rope.dimension_count"
#define SM_K_ROPE_BASE "rope.freq_base"
#define SM_K_ROPE_DIMS_SWA "rope.dimension_count_swa"
#define SM_K_KEY_LENGTH_SWA "attention.key_length_swa"
#define SM_K_VALUE_LENGTH_SWA "attention.value_length_swa"
#define SM_K_SHARED_LAYERS "attention.shared_kv_layers"
#define SM_K_ROPE_BASE_SWA "rope.freq_base_swa" /* of layers with a window */
#define SM_K_ROPE_TYPE "rope.scaling.type"
#define SM_K_ROPE_FACTOR "rope.scaling.factor"
#define SM_K_SCORE_CAP "attn_logit_softcapping"
#define SM_K_LOGIT_CAP "final_logit_softcapping"
#define SM_K_VOCAB_SIZE "vocab_size"
#define SM_K_EXPERTS "expert_count"
#define SM_K_EXPERTS_USED "expert_used_count"
#define SM_K_EXPERTS_SHARED "expert_shared_count"
#define SM_K_EXPERTS_FF "expert_feed_forward_length"
#define SM_K_EXPERTS_FF_SHARED "expert_shared_feed_forward_length"
#define SM_K_EXPERTS_SCORING "expert_gating_func"
#define SM_K_EXPERTS_NORM "expert_weights_norm"
#define SM_K_EXPERTS_SCALE "expert_weights_scale"
#define SM_K_EXPERTS_GROUPS "expert_group_count"
#define SM_K_EXPERTS_GROUPS_USED "expert_group_used_count"
#define SM_K_STREAMS "altup.num_inputs"
#define SM_K_STREAM_ACTIVE "altup.active_idx"
#define SM_K_SPARSITY "activation_sparsity_scale" /* standard deviations */
#define SM_K_DRAFT_LAYERS "nextn_predict_layers"
#define SM_K_DENSE_LAYERS "leading_dense_block_count"
#define SM_K_EXPERTS_STEP "interleave_moe_layer_step"

/* Names of tensors that no block has. */
#define SM_POSITIONS "position_embd.weight"
#define SM_TYPES "token_types.weight"
/* Of encoders: what was pooled goes through these, or the first token through the last two. */
#define SM_DENSE_1 "dense_2.weight"
#define SM_DENSE_2 "dense_3.weight"
#define SM_POOLER "cls.weight"
#define SM_SCORES_OUT "cls.output.weight"
#define SM_INPUTS_TABLE "per_layer_token_embd.weight"

#endif
