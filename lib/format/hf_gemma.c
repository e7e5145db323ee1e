/* Hugging Face's form of gemma. */
#include "format/hf_tables.h"

#include <math.h>
#include <string.h>

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

/* null says that there is none, where no key says the usual one. */
static void cap(hf_reader *r, const char *name, const char *key) {
    if (sm_json_kind_of(r->json, sm_json_get(r->json, r->config, name)) == SM_JSON_NULL)
        hf_put_number(r, key, 0);
}

static void gemma2(hf_reader *r) {
    cap(r, "attn_logit_softcapping", SM_K_SCORE_CAP);
    cap(r, "final_logit_softcapping", SM_K_LOGIT_CAP);
    gemma_scale(r);
    hf_windows(r, 2, 2);
}

/* Published configurations leave out what is as in the class (of 4B). */
static void gemma3_defaults(hf_reader *r) {
    r->n_head = hf_count_or(r, "num_attention_heads", 8);
    r->n_head_kv = hf_count_or(r, "num_key_value_heads", 4);
    r->head_dim = hf_count_or(r, "head_dim", 256);
    hf_put_count(r, SM_K_HEADS, r->n_head);
    hf_put_count(r, SM_K_HEADS_KV, r->n_head_kv);
    hf_put_count(r, SM_K_KEY_LENGTH, r->head_dim);
    hf_put_count(r, SM_K_VALUE_LENGTH, r->head_dim);
    hf_put_count(r, SM_K_CONTEXT, hf_count_or(r, "max_position_embeddings", 131072));
    hf_put_number(r, SM_K_RMS_EPS, hf_number_or(r, "rms_norm_eps", 1e-6));
}

static void gemma3(hf_reader *r) {
    gemma3_defaults(r);
    gemma_scale(r);
    hf_windows(r, 6, hf_count_or(r, "sliding_window_pattern|_sliding_window_pattern", 6));
}

static const hf_key gemma_keys[] = {{HF_IS, ACTIVATION, NULL, "gelu|" GELU_TANH},
                                    {HF_NUMBER, "attn_logit_softcapping", SM_K_SCORE_CAP, NULL},
                                    {HF_NUMBER, "final_logit_softcapping", SM_K_LOGIT_CAP, NULL},
                                    END_KEY};
/* embeddinggemma: windows are those of its code, half as wide on either side. */
static const hf_key gemma3_both_keys[] = {
    {HF_IS, ACTIVATION, NULL, "gelu|" GELU_TANH},
    {HF_NUMBER, "attn_logit_softcapping", SM_K_SCORE_CAP, NULL},
    {HF_NUMBER, "final_logit_softcapping", SM_K_LOGIT_CAP, NULL},
    {HF_ON, "use_bidirectional_attention", NULL, NULL},
    END_KEY};

static const hf_family *one_side_or_both(hf_reader *r) {
    return hf_flag_or(r, "use_bidirectional_attention", false)
               ? hf_family_find("gemma3_embedding", 16)
               : r->family;
}

const hf_name hf_plus_one_names[] = {
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

/* ---- gemma 3n and 4 ------------------------------------------------------------------------ */

/* Where so much of a normal distribution lies below; minus infinity for nothing. */
static double quantile(double share) {
    double low = -40, high = 40;
    if (!(share > 0))
        return -INFINITY;
    for (int i = 0; i < 200; i++) {
        const double middle = (low + high) / 2;
        *(0.5 * erfc(-middle / sqrt(2)) < share ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

/* A gate keeps what is so many deviations above the mean. */
static void sparsity(hf_reader *r) {
    const char *name = "activation_sparsity_pattern";
    const sm_json_value list = hf_find(r, name);
    double share = 0;
    uint32_t i = 0;
    if (list == SM_JSON_NONE)
        return;
    float *value = sm_alloc_array(r->mem, r->n_layer ? r->n_layer : 1, sizeof *value);
    if (sm_json_kind_of(r->json, list) == SM_JSON_ARRAY &&
        sm_json_count(r->json, list) != r->n_layer)
        hf_fail(r, SM_ERR_FORMAT, name, "has another number of elements than there are layers");
    for (sm_json_value v = sm_json_first(r->json, list);
         value && v != SM_JSON_NONE && i < r->n_layer; v = sm_json_next(r->json, list, v))
        if (sm_json_double(r->json, v, &share) && share >= 0 && share < 1)
            value[i++] = (float)quantile(share);
        else
            hf_fail(r, SM_ERR_FORMAT, name, "holds something other than shares from 0 to 1");
    while (value && sm_json_double(r->json, list, &share) && i < r->n_layer)
        value[i++] = (float)quantile(share);
    if (value)
        hf_put_floats(r, SM_K_SPARSITY, value, i);
    else
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
    sm_free(r->mem, value);
}

/* One number for all layers, or an array, which must be of equal ones. */
static void gemma3n_width(hf_reader *r) {
    const sm_json_value list = hf_find(r, "intermediate_size");
    const sm_json_value first = sm_json_first(r->json, list);
    uint64_t width = 0, other;
    if (sm_json_kind_of(r->json, list) != SM_JSON_ARRAY) {
        hf_put_count(r, SM_K_FF, hf_count_or(r, "intermediate_size", 0));
        return;
    }
    bool alike = sm_json_u64(r->json, first, &width) && width < 1u << 24;
    for (sm_json_value v = first; v != SM_JSON_NONE; v = sm_json_next(r->json, list, v))
        alike = alike && sm_json_u64(r->json, v, &other) && other == width;
    if (alike)
        hf_put_count(r, SM_K_FF, (uint32_t)width);
    else
        hf_fail(r, SM_ERR_UNSUPPORTED, "intermediate_size", "differs from layer to layer");
}

static void gemma3n(hf_reader *r) {
    gemma3n_width(r);
    sparsity(r);
    hf_windows(r, 1, 5);
    hf_require_number(r, "altup_coef_clip", 120);
}

static const hf_key gemma3n_keys[] = {
    {HF_IS, ACTIVATION, NULL, "gelu|" GELU_TANH},
    {HF_NUMBER, "final_logit_softcapping", SM_K_LOGIT_CAP, NULL},
    {HF_SKIP, "intermediate_size|laurel_rank|query_pre_attn_scalar", NULL, NULL},
    {HF_COUNT, "altup_active_idx", SM_K_STREAM_ACTIVE, "0"},
    {HF_COUNT, "altup_num_inputs", SM_K_STREAMS, "4"},
    {HF_COUNT, "hidden_size_per_layer_input", SM_K_INPUT_LENGTH, "256"},
    {HF_COUNT, "num_kv_shared_layers", SM_K_SHARED_LAYERS, "15"},
    {HF_ON, "altup_correct_scale", NULL, NULL},
    END_KEY};

#define GEMMA3N_NAMES                                                                \
    {"embed_tokens_per_layer", "per_layer_token_embd", HF_SAME},                     \
        {"per_layer_model_projection", "per_layer_model_proj", HF_SAME},             \
        {"per_layer_projection_norm", "per_layer_proj_norm", HF_SAME},               \
        {"layers.#.per_layer_input_gate", "blk.#.inp_gate", HF_SAME},                \
        {"layers.#.per_layer_projection", "blk.#.proj", HF_SAME},                    \
        {"layers.#.post_per_layer_input_norm", "blk.#.post_norm", HF_SAME},          \
        {"layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_SAME}, \
        {"layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm", HF_SAME}, {         \
        "layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", HF_SAME        \
    }

static const hf_name gemma3n_names[] = {
    GEMMA3N_NAMES,
    {"altup_projections.&", "altup_proj", HF_SAME},
    {"altup_unembed_projections.&", "altup_unembd_proj", HF_SAME},
    {"layers.#.altup.correct_output_scale", "blk.#.altup_correct_scale.weight", HF_SAME},
    {"layers.#.altup.correction_coefs", "blk.#.altup_correct_coef", HF_SAME},
    {"layers.#.altup.prediction_coefs", "blk.#.altup_predict_coef", HF_SAME},
    {"layers.#.altup.modality_router", "blk.#.altup_router", HF_SAME},
    {"layers.#.altup.router_norm", "blk.#.altup_router_norm", HF_SAME},
    {"layers.#.laurel.linear_left", "blk.#.laurel_l", HF_SAME},
    {"layers.#.laurel.linear_right", "blk.#.laurel_r", HF_SAME},
    {"layers.#.laurel.post_laurel_norm", "blk.#.laurel_post_norm", HF_SAME},
    END_NAME};

/* Of full layers: a key of its own, or in the newest form of one layer after the other. */
static uint32_t of_full_layers(hf_reader *r, const char *own, const char *name, uint32_t fallback) {
    const sm_json_value layers = hf_find(r, "per_layer_config");
    uint64_t value = hf_count_or(r, own, 0), other;
    for (sm_json_value m = sm_json_first(r->json, layers); m != SM_JSON_NONE;
         m = sm_json_next(r->json, layers, m)) {
        const sm_json_value v = hf_find_in(r, sm_json_member(r->json, m), name);
        if (v == SM_JSON_NONE)
            continue;
        if (!sm_json_u64(r->json, v, &other) || !other || other > 1u << 20 ||
            (value && value != other))
            hf_fail(r, SM_ERR_UNSUPPORTED, "per_layer_config",
                    "has layers that differ, which this version does not compute");
        value = other;
    }
    return value ? (uint32_t)value : fallback;
}

/* Layers that have no keys of their own may be twice as wide. */
static void gemma4_widths(hf_reader *r) {
    const uint32_t width = hf_count_or(r, "intermediate_size", 0);
    const uint32_t n_shared = hf_count_or(r, "num_kv_shared_layers", 0);
    const bool twice = hf_flag_or(r, "use_double_wide_mlp", false);
    if (!twice || !n_shared || n_shared > r->n_layer || r->n_layer > 1u << 16 || width > 1u << 29) {
        hf_put_count(r, SM_K_FF, width);
        return;
    }
    uint32_t *widths = sm_alloc_array(r->mem, r->n_layer, sizeof *widths);
    for (uint32_t i = 0; widths && i < r->n_layer; i++)
        widths[i] = i < r->n_layer - n_shared ? width : 2 * width;
    if (widths)
        hf_put_counts(r, SM_K_FF, widths, r->n_layer);
    else
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
    sm_free(r->mem, widths);
}

static void gemma4(hf_reader *r) {
    const uint32_t near = r->head_dim;
    r->head_dim = of_full_layers(r, "global_head_dim", "head_dim", near);
    if (of_full_layers(r, "num_global_key_value_heads", "num_key_value_heads", r->n_head_kv) !=
        r->n_head_kv)
        hf_fail(r, SM_ERR_UNSUPPORTED, "num_global_key_value_heads",
                "differs from that of other layers");
    gemma4_widths(r);
    hf_windows(r, 1, 6);
    hf_put_count(r, SM_K_KEY_LENGTH, r->head_dim);
    hf_put_count(r, SM_K_VALUE_LENGTH, r->head_dim);
    hf_put_count(r, SM_K_KEY_LENGTH_SWA, near);
    hf_put_count(r, SM_K_VALUE_LENGTH_SWA, near);
    hf_put_count(r, SM_K_ROPE_DIMS_SWA, near);
}

static const hf_key gemma4_keys[] = {
    {HF_IS, ACTIVATION, NULL, "gelu|" GELU_TANH},
    {HF_NUMBER, "final_logit_softcapping", SM_K_LOGIT_CAP, NULL},
    {HF_SKIP, "intermediate_size|head_dim", NULL, NULL},
    {HF_COUNT, "hidden_size_per_layer_input", SM_K_INPUT_LENGTH, "0"},
    {HF_COUNT, "num_kv_shared_layers", SM_K_SHARED_LAYERS, "0"},
    {HF_OFF, "enable_moe_block|num_experts", NULL, NULL},
    {HF_OFF, "attention_k_eq_v", NULL, NULL},
    {HF_SKIP, "moe_intermediate_size|expert_intermediate_size|top_k_experts", NULL, NULL},
    END_KEY};
static const hf_name gemma4_names[] = {
    GEMMA3N_NAMES, {"layers.#.layer_scalar", "blk.#.layer_output_scale.weight", HF_SAME}, END_NAME};

const hf_family hf_gemma_families[] = {
    {.types = "gemma",
     .architecture = "gemma",
     .keys = gemma_keys,
     .names = hf_plus_one_names,
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
     .instead = one_side_or_both,
     .more = gemma3,
     .theta = 1e6,
     .tied = true},
    {.types = "gemma3_embedding",
     .architecture = "gemma-embedding",
     .keys = gemma3_both_keys,
     .names = gemma2_names,
     .more = gemma3,
     .theta = 1e6,
     .tied = true},
    {.types = "gemma3n_text|gemma3n",
     .architecture = "gemma3n",
     .keys = gemma3n_keys,
     .names = gemma3n_names,
     .more = gemma3n,
     .theta = 1e6,
     .tied = true},
    {.types = "gemma4_text|gemma4",
     .architecture = "gemma4",
     .keys = gemma4_keys,
     .names = gemma4_names,
     .more = gemma4,
     .theta = 1e6,
     .tied = true,
     .partial = true},
    {.types = NULL},
};
