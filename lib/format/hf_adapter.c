/* Adapters as PEFT saves them (https://huggingface.co/docs/peft): a directory of
 * adapter_config.json and adapter_model.safetensors, whose tensors are called like those of the
 * model in Hugging Face's form. They become the tensors of an adapter of llama.cpp's. */
#include "format/hf_tables.h"

#include <math.h>
#include <string.h>

#define PICKLE "adapter_model.bin"

/* peft.LoraConfig. What says where there are matrices of an adapter the tensors say, too. */
static const hf_key lora_keys[] = {
    {HF_IS, "peft_type", NULL, "LORA"},
    {HF_IS, "bias", NULL, "none"},
    {HF_OFF, "use_dora", NULL, NULL},
    {HF_OFF, "lora_bias", NULL, NULL},
    {HF_OFF, "use_qalora", NULL, NULL},
    {HF_OFF, "use_bdlora", NULL, NULL},
    {HF_OFF, "modules_to_save", NULL, NULL},
    {HF_OFF, "target_parameters", NULL, NULL},
    {HF_OFF, "trainable_token_indices", NULL, NULL},
    {HF_OFF, "layer_replication", NULL, NULL},
    {HF_OFF, "alora_invocation_tokens", NULL, NULL},
    {HF_OFF, "arrow_config", NULL, NULL},
    {HF_SKIP, "lora_dropout|inference_mode|task_type|base_model_name_or_path|revision", NULL, NULL},
    {HF_SKIP, "target_modules|exclude_modules|layers_to_transform|layers_pattern", NULL, NULL},
    {HF_SKIP, "fan_in_fan_out|rank_pattern|megatron_config|megatron_core", NULL, NULL},
    {HF_SKIP, "loftq_config|eva_config|corda_config|qalora_group_size|runtime_config", NULL, NULL},
    {HF_SKIP, "ensure_weight_tying|peft_version|lora_ga_config", NULL, NULL},
    END_KEY};

/* ---- how often a pair counts ------------------------------------------------------------- */

static double root_or_rank(hf_reader *r, double rank) {
    return hf_flag_or(r, "use_rslora", false) ? sqrt(rank) : rank;
}

static double alpha_or(hf_reader *r, double fallback) {
    const double alpha = hf_number_or(r, "lora_alpha", fallback);
    if (!r->status && alpha == 0)
        hf_fail(r, SM_ERR_UNSUPPORTED, "lora_alpha", "is 0: the adapter would change nothing");
    return alpha;
}

/* A key of alpha_pattern is the end of a module's name, or an expression, which is not read. */
static bool is_end_of(const char *module, uint64_t length, const char *key, uint64_t n) {
    return n <= length && memcmp(module + (length - n), key, (size_t)n) == 0 &&
           (n == length || module[length - n - 1] == '.');
}

static double alpha_of(hf_reader *r, const char *module, uint64_t length) {
    const sm_json_value patterns = hf_find(r, "alpha_pattern");
    double alpha = alpha_or(r, 8);
    for (sm_json_value m = sm_json_first(r->json, patterns); m != SM_JSON_NONE;
         m = sm_json_next(r->json, patterns, m)) {
        uint64_t n;
        const char *key = sm_json_text(r->json, m, &n);
        for (uint64_t i = 0; i < n; i++)
            if (strchr("^$*+?[](){}|\\", key[i])) {
                hf_fail(r, SM_ERR_UNSUPPORTED, "alpha_pattern",
                        "holds an expression; names of modules are read");
                return alpha;
            }
        if (!is_end_of(module, length, key, n))
            continue;
        if (!sm_json_double(r->json, sm_json_member(r->json, m), &alpha) || !isfinite(alpha))
            hf_fail(r, SM_ERR_FORMAT, "alpha_pattern", "holds something other than numbers");
        return alpha; /* the first that fits counts */
    }
    return alpha;
}

/* What the file's one alpha has to be for a matrix of the usual rank. */
static double file_alpha(hf_reader *r) {
    const double rank = hf_count_or(r, "r", 8);
    return rank > 0 ? alpha_or(r, 8) * rank / root_or_rank(r, rank) : 0;
}

double hf_lora_factor(hf_reader *r, const sm_st_tensor *b) {
    if (!ends_with(b->name, SM_PEFT_B) || b->n_dims != 2 || r->status)
        return 1;
    const char *module =
        starts_with(b->name, SM_PEFT_BEFORE) ? b->name + strlen(SM_PEFT_BEFORE) : b->name;
    const double rank = (double)b->dims[1];
    const double wanted =
        alpha_of(r, module, strlen(module) - strlen(SM_PEFT_B)) * rank / root_or_rank(r, rank);
    const double factor = wanted / file_alpha(r);
    return fabs(factor - 1) < 1e-9 ? 1 : factor;
}

void hf_scale(hf_reader *r, hf_tensor *x, double factor) {
    if (r->status || factor == 1)
        return;
    const uint64_t n = x->depth * x->rows * x->cols, bytes = x->row_bytes / x->cols;
    float *to = hf_keep(r, n * sizeof *to);
    for (uint64_t i = 0; i < n && to; i++) {
        const uint8_t *at =
            x->data + i / (x->rows * x->cols) * x->distance + i % (x->rows * x->cols) * bytes;
        if (x->type == SM_DTYPE_F32)
            memcpy(&to[i], at, sizeof *to);
        else
            to[i] = x->type == SM_DTYPE_F16 ? sm_f16_to_f32((uint16_t)sm_load_le(at, 2))
                                            : sm_bf16_to_f32((uint16_t)sm_load_le(at, 2));
        to[i] = (float)(to[i] * factor);
    }
    x->type = SM_DTYPE_F32;
    x->row_bytes = x->cols * sizeof *to;
    x->distance = x->rows * x->row_bytes;
    x->data = (const uint8_t *)to;
}

/* PEFT saves embeddings that are adapted, too, as they may have got more rows. */
bool hf_is_copied(hf_reader *r, const sm_st_tensor *t) {
    static const char *const names[] = {"token_embd.weight", "output.weight"};
    if (!ends_with(t->name, HF_LORA_COPY) || t->n_dims != 2)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const sm_tensor *own = sm_source_find_tensor(r->model, names[i]);
        if (own && own->dims[1] == t->dims[0] && own->dims[0] == t->dims[1])
            return true;
    }
    return false;
}

/* ---- what it is for ---------------------------------------------------------------------- */

/* A number that the model has in all layers; 0 if it has none. */
static uint32_t model_count(const sm_source *model, const char *architecture, int length,
                            const char *key) {
    char name[128];
    uint32_t value = 0;
    sm_format(name, sizeof name, "%.*s.%s", length, architecture, key);
    return sm_source_get_u32(model, name, &value, NULL) ? 0 : value;
}

/* Of those that become such a model the one whose names the tensors have; the first, which then
 * says what does not fit, if there is none. */
static void choose_family(hf_reader *r) {
    const hf_family *first = r->family, *f;
    const char *architecture = first->architecture;
    for (uint32_t i = 0; (f = hf_family_of(architecture, strlen(architecture), i)) != NULL; i++) {
        r->family = f;
        if (hf_places_all(r))
            return;
    }
    r->family = first;
}

void hf_look_at_model(hf_reader *r, const sm_source *model) {
    const char *name;
    uint64_t length;
    r->model = model;
    r->pictures = true; /* names may have what such models' have */
    r->status = sm_source_get_str(model, SM_K_ARCHITECTURE, &name, &length, r->error);
    if (r->status)
        return;
    r->family = hf_family_of(name, length, 0);
    if (!r->family)
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: adapters in PEFT's form cannot be read for models of architecture "
                            "'%.*s'",
                            r->shown, (int)(length < 64 ? length : 64), name);
    const int n = (int)(length < 64 ? length : 64);
    r->n_layer = model_count(model, name, n, SM_K_LAYERS);
    r->n_head = model_count(model, name, n, SM_K_HEADS);
    r->n_head_kv = model_count(model, name, n, SM_K_HEADS_KV);
    r->n_head_kv = r->n_head_kv ? r->n_head_kv : r->n_head;
}

/* ---- the file of keys -------------------------------------------------------------------- */

/* Kinds of first values that leave the model as it is. Others are taken off its weights, so that
 * the adapter is one of another model than its file. */
static void check_start(hf_reader *r) {
    const sm_json_value v = hf_find(r, "init_lora_weights");
    static const char *const good[] = {"gaussian", "eva", "orthogonal"};
    bool is_good = sm_json_kind_of(r->json, v) != SM_JSON_STRING;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        is_good = is_good || sm_json_is(r->json, v, good[i]);
    if (!is_good)
        hf_fail(r, SM_ERR_UNSUPPORTED, "init_lora_weights",
                "says that the model's weights were changed at the start: save the adapter with "
                "PEFT's path_initial_model_for_weight_conversion");
}

static void read_keys(hf_reader *r, const sm_file *file) {
    hf_read_json(r, file->data, file->size);
    if (!r->status && !hf_has(r, "peft_type"))
        hf_fail(r, SM_ERR_MISSING, "peft_type", "is missing");
    if (r->status)
        return;
    hf_read_table(r, lora_keys);
    check_start(r);
    const double alpha = file_alpha(r);
    hf_find(r, "alpha_pattern");
    hf_refuse_unread(r);
    if (alpha == 0)
        hf_fail(r, SM_ERR_FORMAT, "r", "is 0");
    hf_put_text(r, SM_K_TYPE, "adapter");
    hf_put_text(r, SM_K_ARCHITECTURE, r->family->architecture);
    sm_gguf_put_str(r->keys, SM_K_ADAPTER_TYPE, "lora", 4);
    sm_gguf_put_f32(r->keys, SM_K_ADAPTER_ALPHA, (float)alpha);
}

/* ---- the whole --------------------------------------------------------------------------- */

bool sm_directory_is_adapter(const char *path) {
    const hf_reader r = {.dir = path};
    return hf_has_file(&r, SM_PEFT_CONFIG);
}

static void open_weights(hf_reader *r, bool map) {
    if (hf_has_file(r, SM_PEFT_WEIGHTS) || !hf_has_file(r, PICKLE))
        hf_add_file(r, SM_PEFT_WEIGHTS, map);
    else
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: " PICKLE " is a Python pickle, which can run code and is never "
                            "read here: load the adapter with PEFT and save it with "
                            "save_pretrained, which writes safetensors",
                            r->shown);
}

sm_status sm_source_open_adapter(sm_source **out, sm_mem *mem, const char *path, bool map,
                                 const sm_source *model, const sm_hook *hook, sm_error *error) {
    hf_labels l;
    sm_file file = {0};
    hf_reader r = hf_begin(mem, path, SM_PEFT_CONFIG, hook, &l, error);
    hf_look_at_model(&r, model);
    if (!r.status)
        hf_open_text(&r, SM_PEFT_CONFIG, &file);
    if (!r.status)
        r.status = sm_gguf_writer_new(&r.keys, mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (!r.status)
        read_keys(&r, &file);
    if (!r.status)
        hf_make_source(&r);
    else if (r.keys)
        sm_gguf_writer_abort(r.keys);
    if (!r.status)
        open_weights(&r, map);
    if (!r.status)
        choose_family(&r);
    const sm_status status = hf_end(&r, out); /* reads r.json still */
    sm_json_free(r.json);
    sm_file_close(&file);
    return status;
}
