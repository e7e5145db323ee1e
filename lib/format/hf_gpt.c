/* Hugging Face's form of gpt-2 and what came after it. */
#include "format/hf_tables.h"

#include <math.h>
#include <string.h>

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
    hf_require_number(r, "embedding_fraction", 1);
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

static const hf_key jais2_keys[] = {{HF_SKIP, "rms_norm_eps", NULL, NULL},
                                    {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-5"},
                                    {HF_IS, ACTIVATION, NULL, "relu2"},
                                    END_KEY};

const hf_family hf_gpt_families[] = {
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
    {.types = "stablelm",
     .architecture = "stablelm",
     .keys = stablelm_keys,
     .names = stablelm_names,
     .partial = true},
    {.types = "starcoder2",
     .architecture = "starcoder2",
     .keys = starcoder2_keys,
     .names = starcoder2_names,
     .more = hf_all_windows,
     .tied = true},
    {.types = "nemotron",
     .architecture = "nemotron",
     .keys = nemotron_keys,
     .names = hf_plus_one_names,
     .partial = true},
    {.types = "jais2", .architecture = "jais2", .keys = jais2_keys},
    {.types = NULL},
};
