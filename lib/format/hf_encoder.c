/* Hugging Face's form of encoders. */
#include "format/hf_tables.h"

#include <string.h>

/* What heads for predicting masked words and pairs have, which nobody asks of an encoder. */
#define PREDICTION_NAMES                                                                 \
    {"cls.predictions.bias", NULL, HF_SAME}, {"cls.predictions.decoder", NULL, HF_SAME}, \
        {"cls.predictions.transform.dense", NULL, HF_SAME},                              \
        {"cls.predictions.transform.LayerNorm", NULL, HF_SAME},                          \
        {"cls.seq_relationship", NULL, HF_SAME}, {"lm_head.dense", NULL, HF_SAME},       \
        {"lm_head.layer_norm", NULL, HF_SAME}, {"lm_head.decoder", NULL, HF_SAME},       \
        {"lm_head.bias", NULL, HF_SAME}, {                                               \
        "embeddings.position_ids", NULL, HF_SAME                                         \
    }

#define ATTENTION_NAMES                                                                 \
    {"embeddings.word_embeddings", "token_embd", HF_SAME},                              \
        {"embeddings.token_type_embeddings", "token_types", HF_SAME},                   \
        {"embeddings.LayerNorm", "token_embd_norm", HF_SAME},                           \
        {"encoder.layer.#.attention.self.query", "blk.#.attn_q", HF_SAME},              \
        {"encoder.layer.#.attention.self.key", "blk.#.attn_k", HF_SAME},                \
        {"encoder.layer.#.attention.self.value", "blk.#.attn_v", HF_SAME},              \
        {"encoder.layer.#.attention.output.dense", "blk.#.attn_output", HF_SAME}, {     \
        "encoder.layer.#.attention.output.LayerNorm", "blk.#.attn_output_norm", HF_SAME \
    }

#define BERT_NAMES                                                             \
    {"encoder.layer.#.intermediate.dense", "blk.#.ffn_up", HF_SAME},           \
        {"encoder.layer.#.output.dense", "blk.#.ffn_down", HF_SAME}, {         \
        "encoder.layer.#.output.LayerNorm", "blk.#.layer_output_norm", HF_SAME \
    }

/* Labels by their numbers, where there is a part that scores them. */
static void labels(hf_reader *r) {
    const sm_json_value names = hf_find(r, "id2label");
    const uint64_t n = sm_json_count(r->json, names);
    sm_gguf_str label[256];
    char key[16];
    if (sm_json_kind_of(r->json, names) != SM_JSON_OBJECT || n > sizeof label / sizeof *label)
        return;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t length;
        sm_format(key, sizeof key, "%u", i);
        const sm_json_value v = sm_json_get(r->json, names, key);
        const char *text = sm_json_text(r->json, v, &length);
        if (sm_json_kind_of(r->json, v) != SM_JSON_STRING)
            return; /* other numbers: then there are no names */
        label[i] = (sm_gguf_str){text, length};
    }
    hf_put_texts(r, SM_K_LABELS, label, (uint32_t)n);
}

/* The file of jina's is bert's but for this. */
static const hf_family *bert_or_jina(hf_reader *r) {
    return hf_is(r, "position_embedding_type", "alibi") ? hf_family_find("jina-bert-v2", 12)
                                                        : r->family;
}

/* The first two rows of positions are of padding. */
static void roberta(hf_reader *r) {
    const uint32_t n = hf_count_or(r, "max_position_embeddings", 0);
    hf_require_count(r, "pad_token_id", 1);
    if (n < 3)
        hf_fail(r, SM_ERR_FORMAT, "max_position_embeddings", "is less than 3");
    hf_put_count(r, SM_K_CONTEXT, n - 2);
    labels(r);
}

static void jina(hf_reader *r) {
    if (!hf_is(r, "feed_forward_type", "geglu"))
        hf_fail(r, SM_ERR_UNSUPPORTED, "feed_forward_type",
                "is none that this version computes for this family (it computes geglu)");
    labels(r);
}

static const hf_key bert_keys[] = {
    {HF_SKIP, "rms_norm_eps|type_vocab_size", NULL, NULL},
    {HF_SKIP, "directionality|pooler_fc_size|pooler_num_attention_heads", NULL, NULL},
    {HF_SKIP, "pooler_num_fc_layers|pooler_size_per_head|pooler_type|output_past", NULL, NULL},
    {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-12"},
    {HF_IS, ACTIVATION, NULL, "gelu"},
    {HF_IS, "position_embedding_type", NULL, "absolute"},
    {HF_OFF, "is_decoder", NULL, NULL},
    END_KEY};
static const hf_name bert_names[] = {ATTENTION_NAMES,
                                     BERT_NAMES,
                                     {"embeddings.position_embeddings", "position_embd", HF_SAME},
                                     {"pooler.dense", "cls", HF_SAME},
                                     {"classifier", "cls.output", HF_SAME},
                                     PREDICTION_NAMES,
                                     END_NAME};
static const hf_name roberta_names[] = {
    ATTENTION_NAMES,
    BERT_NAMES,
    {"embeddings.position_embeddings", "position_embd", HF_POSITIONS},
    {"pooler.dense", NULL, HF_SAME},
    {"classifier.dense", "cls", HF_SAME},
    {"classifier.out_proj", "cls.output", HF_SAME},
    PREDICTION_NAMES,
    END_NAME};

static const hf_key jina_keys[] = {{HF_SKIP, "rms_norm_eps|type_vocab_size", NULL, NULL},
                                   {HF_NUMBER, "layer_norm_eps", SM_K_LAYER_EPS, "1e-12"},
                                   {HF_IS, ACTIVATION, NULL, "gelu"},
                                   {HF_SKIP, "position_embedding_type|emb_pooler", NULL, NULL},
                                   {HF_OFF, "is_decoder", NULL, NULL},
                                   END_KEY};
static const hf_name jina_names[] = {
    ATTENTION_NAMES,
    {"encoder.layer.#.mlp.gated_layers", "blk.#.ffn_up", HF_SAME},
    {"encoder.layer.#.mlp.wo", "blk.#.ffn_down", HF_SAME},
    {"encoder.layer.#.mlp.layernorm", "blk.#.layer_output_norm", HF_SAME},
    {"pooler.dense", NULL, HF_SAME},
    PREDICTION_NAMES,
    END_NAME};

/* Beyond what it was trained with nomic stretches the rotation: there it ends here. */
static void nomic(hf_reader *r) {
    hf_require_number(r, "rotary_emb_fraction", 1);
    hf_put_count(r, SM_K_CONTEXT, hf_count_or(r, "max_trained_positions|n_positions", 2048));
}

static const hf_key nomic_keys[] = {
    {HF_SKIP, "rms_norm_eps|type_vocab_size|max_position_embeddings", NULL, NULL},
    {HF_SKIP, "n_positions|rotary_scaling_factor|dense_seq_output", NULL, NULL},
    {HF_SKIP, "qkv_proj_bias|mlp_fc1_bias|mlp_fc2_bias", NULL, NULL}, /* the tensors say it */
    {HF_COUNT, "n_inner|intermediate_size", SM_K_FF, "!"},
    {HF_NUMBER, "layer_norm_epsilon", SM_K_LAYER_EPS, "1e-12"},
    {HF_NUMBER, "rotary_emb_base", SM_K_ROPE_BASE, "10000"},
    {HF_IS, ACTIVATION, NULL, "swiglu"},
    {HF_OFF, "causal", NULL, NULL},
    {HF_OFF, "prenorm", NULL, NULL},
    {HF_OFF, "parallel_block", NULL, NULL},
    {HF_OFF, "parallel_block_tied_norm", NULL, NULL},
    {HF_OFF, "use_rms_norm", NULL, NULL},
    {HF_OFF, "rotary_emb_interleaved", NULL, NULL},
    {HF_OFF, "rotary_emb_scale_base", NULL, NULL},
    END_KEY};
static const hf_name nomic_names[] = {
    {"embeddings.word_embeddings", "token_embd", HF_SAME},
    {"embeddings.token_type_embeddings", "token_types", HF_SAME},
    {"emb_ln", "token_embd_norm", HF_SAME},
    {"encoder.layers.#.attn.Wqkv", "blk.#.attn_qkv", HF_SAME},
    {"encoder.layers.#.attn.out_proj", "blk.#.attn_output", HF_SAME},
    {"encoder.layers.#.norm1", "blk.#.attn_output_norm", HF_SAME},
    {"encoder.layers.#.mlp.fc11", "blk.#.ffn_up", HF_SAME},
    {"encoder.layers.#.mlp.fc12", "blk.#.ffn_gate", HF_SAME},
    {"encoder.layers.#.mlp.fc2", "blk.#.ffn_down", HF_SAME},
    {"encoder.layers.#.norm2", "blk.#.layer_output_norm", HF_SAME},
    PREDICTION_NAMES,
    END_NAME};

/* Layers that see all are as many apart as a key says, whatever the list of them. */
static void modern(hf_reader *r) {
    const uint32_t period = hf_count_or(r, "global_attn_every_n_layers", 3);
    const sm_json_value list = hf_find(r, "layer_types");
    uint32_t i = 0;
    for (sm_json_value v = sm_json_first(r->json, list); v != SM_JSON_NONE;
         v = sm_json_next(r->json, list, v), i++)
        if (!period || sm_json_is(r->json, v, "full_attention") != (i % period == 0))
            hf_fail(r, SM_ERR_UNSUPPORTED, "layer_types",
                    "is another order than 'global_attn_every_n_layers' says");
    hf_put_count(r, SM_K_WINDOW_PATTERN, period);
    if (hf_has(r, "local_rope_theta"))
        hf_put_number(r, SM_K_ROPE_BASE_SWA, hf_number_or(r, "local_rope_theta", 10000));
    if (hf_has(r, "global_rope_theta"))
        hf_put_number(r, SM_K_ROPE_BASE, hf_number_or(r, "global_rope_theta", 160000));
}

static const hf_key modern_keys[] = {
    {HF_SKIP, "rms_norm_eps|deterministic_flash_attn|sparse_pred_ignore_index", NULL, NULL},
    {HF_SKIP, "sparse_prediction|reference_compile|repad_logits_with_grad|decoder_bias", NULL,
     NULL},
    {HF_SKIP, "position_embedding_type", NULL, NULL},
    {HF_NUMBER, "layer_norm_eps|norm_eps", SM_K_LAYER_EPS, "1e-5"},
    {HF_COUNT, "local_attention", SM_K_WINDOW, "128"},
    {HF_IS, ACTIVATION, NULL, "gelu"},
    {HF_OFF, "norm_bias", NULL, NULL},
    END_KEY};
static const hf_name modern_names[] = {{"embeddings.tok_embeddings", "token_embd", HF_SAME},
                                       {"embeddings.norm", "token_embd_norm", HF_SAME},
                                       {"final_norm", "output_norm", HF_SAME},
                                       {"layers.#.attn_norm", "blk.#.attn_norm", HF_SAME},
                                       {"layers.#.attn.Wqkv", "blk.#.attn_qkv", HF_SAME},
                                       {"layers.#.attn.Wo", "blk.#.attn_output", HF_SAME},
                                       {"layers.#.mlp_norm", "blk.#.ffn_norm", HF_SAME},
                                       {"layers.#.mlp.Wi", "blk.#.ffn_up", HF_SAME},
                                       {"layers.#.mlp.Wo", "blk.#.ffn_down", HF_SAME},
                                       {"head.dense", NULL, HF_SAME},
                                       {"head.norm", NULL, HF_SAME},
                                       {"decoder", NULL, HF_SAME},
                                       END_NAME};

const hf_family hf_encoder_families[] = {
    {.types = "bert",
     .architecture = "bert",
     .keys = bert_keys,
     .names = bert_names,
     .instead = bert_or_jina,
     .more = labels,
     .prefix = "bert.",
     .tied = true,
     .no_rope = true},
    {.types = "roberta|xlm-roberta|camembert",
     .architecture = "bert",
     .keys = bert_keys,
     .names = roberta_names,
     .more = roberta,
     .prefix = "roberta.",
     .tied = true,
     .no_rope = true},
    {.types = "jina-bert-v2",
     .architecture = "jina-bert-v2",
     .keys = jina_keys,
     .names = jina_names,
     .more = jina,
     .prefix = "bert.",
     .tied = true,
     .no_rope = true},
    {.types = "nomic_bert",
     .architecture = "nomic-bert",
     .keys = nomic_keys,
     .names = nomic_names,
     .more = nomic,
     .prefix = "bert.",
     .tied = true},
    {.types = "modernbert",
     .architecture = "modern-bert",
     .keys = modern_keys,
     .names = modern_names,
     .more = modern,
     .theta = 160000,
     .tied = true},
    {.types = NULL},
};
