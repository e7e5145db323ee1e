/* Adapters as PEFT saves them: the pairs in Hugging Face's names and order of rows, and what its
 * loader asks for in adapter_config.json. */
#include "format/json_write.h"
#include "format/peft.h"
#include "format/safetensors.h"
#include "kernels.h"
#include "make.h"
#include "run/run.h"

#include <string.h>

/* A matrix of the adapter's and where it goes. */
typedef struct pair {
    const sm_tensor *a, *b;
    sm_peft_place place;
} pair;

typedef struct exporter {
    sm_mem *mem;
    const sm_kernels *kernels;
    const char *directory;
    const sm_model *model;
    const sm_source *source; /* of the adapter */
    sm_adapter_info info;
    pair *pairs;
    uint32_t n;
    const sm_hook *hook;
    sm_error *error;
} exporter;

/* ---- what is written ------------------------------------------------------------------------- */

static uint64_t rank_of(const pair *p) {
    return p->a->dims[1];
}

static sm_status add_pair(exporter *x, const sm_tensor *a) {
    char name[256];
    pair *p = &x->pairs[x->n];
    const uint64_t length = strlen(a->name) - strlen(".lora_a");
    if (a->n_dims != 2)
        return sm_fail(x->error, SM_ERR_UNSUPPORTED,
                       "%s: tensor '%s' is of all experts of a layer, which PEFT has no names for",
                       x->source->path, a->name);
    sm_format(name, sizeof name, "%.*s.lora_b", (int)length, a->name);
    *p = (pair){.a = a, .b = sm_source_find_tensor(x->source, name)};
    if (!p->b) /* loading found it */
        return sm_fail(x->error, SM_ERR_MISSING, "%s: tensor '%s' is missing", x->source->path,
                       name);
    const sm_status status = sm_peft_find(&p->place, x->mem, x->model->source, x->source, a->name,
                                          length, p->b->dims[1], x->error);
    x->n += !status;
    return status;
}

static sm_status find_pairs(exporter *x) {
    sm_status status = SM_OK;
    x->pairs = sm_alloc_array(x->mem, x->info.n_matrices, sizeof *x->pairs);
    if (!x->pairs)
        return sm_fail(x->error, SM_ERR_NOMEM, "%s: out of memory", x->source->path);
    for (uint64_t i = 0; i < x->source->n_tensors && !status; i++)
        if (ends_with(x->source->tensors[i].name, ".lora_a"))
            status = add_pair(x, &x->source->tensors[i]);
    return status;
}

/* ---- adapter_config.json --------------------------------------------------------------------- */

static void put_text(sm_json_writer *w, const char *key, const char *text) {
    sm_json_put_key(w, key, strlen(key));
    sm_json_put_string(w, text, strlen(text));
}

static void put_literal(sm_json_writer *w, const char *key, sm_json_kind kind) {
    sm_json_put_key(w, key, strlen(key));
    sm_json_put_literal(w, kind);
}

static void put_number(sm_json_writer *w, const char *key, double value) {
    sm_json_put_key(w, key, strlen(key));
    if (value == (double)(int64_t)value)
        sm_json_put_i64(w, (int64_t)value);
    else
        sm_json_put_double(w, value);
}

/* Modules whose rank is not the usual one; where the file has no alpha a pair counts once, whatever
 * its rank. */
static void put_patterns(const exporter *x, sm_json_writer *w, double rank) {
    static const char *const keys[] = {"rank_pattern", "alpha_pattern"};
    for (size_t k = 0; k < 2; k++) {
        sm_json_put_key(w, keys[k], strlen(keys[k]));
        sm_json_open(w, SM_JSON_OBJECT);
        for (uint32_t i = 0; i < x->n; i++)
            if ((double)rank_of(&x->pairs[i]) != rank && (k == 0 || x->info.alpha == 0))
                put_number(w, x->pairs[i].place.module, (double)rank_of(&x->pairs[i]));
        sm_json_close(w);
    }
}

static void put_config(const exporter *x, sm_json_writer *w) {
    const double rank = (double)rank_of(&x->pairs[0]);
    bool turned = false;
    sm_json_open(w, SM_JSON_OBJECT);
    put_text(w, "peft_type", "LORA");
    put_text(w, "task_type", "CAUSAL_LM");
    put_literal(w, "base_model_name_or_path", SM_JSON_NULL);
    put_text(w, "bias", "none");
    put_literal(w, "inference_mode", SM_JSON_TRUE);
    put_literal(w, "init_lora_weights", SM_JSON_TRUE);
    put_number(w, "r", rank);
    put_number(w, "lora_alpha", x->info.alpha != 0 ? x->info.alpha : rank);
    put_number(w, "lora_dropout", 0);
    put_patterns(x, w, rank);
    sm_json_put_key(w, "target_modules", strlen("target_modules"));
    sm_json_open(w, SM_JSON_ARRAY);
    for (uint32_t i = 0; i < x->n; i++) {
        sm_json_put_string(w, x->pairs[i].place.module, strlen(x->pairs[i].place.module));
        turned = turned || x->pairs[i].place.turned;
    }
    sm_json_close(w);
    put_literal(w, "fan_in_fan_out", turned ? SM_JSON_TRUE : SM_JSON_FALSE);
    put_literal(w, "use_dora", SM_JSON_FALSE);
    put_literal(w, "use_rslora", SM_JSON_FALSE);
    sm_json_close(w);
}

static sm_status write_config(const exporter *x, const char *path) {
    sm_file_writer *file = NULL;
    sm_builder text = sm_builder_of(x->mem, 0);
    sm_json_writer w = sm_json_writer_of(&text, &(sm_json_style){.lines = true, .indent = 2});
    put_config(x, &w);
    sm_builder_byte(&text, '\n');
    sm_status status = SM_OK;
    if (text.failed)
        status = sm_fail(x->error, SM_ERR_NOMEM, "%s: out of memory", path);
    if (!status)
        status = sm_file_writer_open(&file, x->mem, path, x->error);
    if (!status)
        status = sm_file_write(file, text.data, text.length, x->error);
    if (!status)
        status = sm_file_commit(file, x->error);
    else
        sm_file_abort(file);
    sm_builder_free(&text);
    return status;
}

/* ---- adapter_model.safetensors --------------------------------------------------------------- */

/* One half as f32; row_of NULL: its rows stay in their order. */
static sm_status write_half(const exporter *x, sm_st_writer *w, const sm_tensor *t,
                            const uint64_t *row_of) {
    const uint64_t cols = t->dims[0], rows = t->dims[1];
    const sm_dtype_traits *traits = sm_dtype_get(t->type);
    const uint64_t row_bytes = cols / traits->block_size * traits->block_bytes;
    float *out = sm_alloc_array(x->mem, rows * cols, sizeof *out);
    if (!out)
        return sm_fail(x->error, SM_ERR_NOMEM, "%s: out of memory", x->directory);
    for (uint64_t j = 0; j < rows; j++)
        x->kernels->type[t->type].dequantize(out + (row_of ? row_of[j] : j) * cols,
                                             sm_tensor_row(t, j, row_bytes), cols);
    const sm_status status = sm_st_write(w, out, rows * cols * sizeof *out, x->error);
    sm_free(x->mem, out);
    return status;
}

/* Two names and shapes for each pair. */
static sm_st_tensor *list_tensors(const exporter *x, char (*names)[SM_PEFT_NAME + 40]) {
    sm_st_tensor *list = sm_alloc_array(x->mem, 2 * (uint64_t)x->n, sizeof *list);
    for (uint32_t i = 0; list && i < 2 * x->n; i++) {
        const pair *p = &x->pairs[i / 2];
        const sm_tensor *t = i % 2 ? p->b : p->a;
        sm_format(names[i], sizeof names[i], SM_PEFT_BEFORE "%s%s", p->place.module,
                  i % 2 ? SM_PEFT_B : SM_PEFT_A);
        list[i] = (sm_st_tensor){
            .name = names[i], .type = SM_ST_F32, .n_dims = 2, .dims = {t->dims[1], t->dims[0]}};
    }
    return list;
}

static sm_status write_weights(const exporter *x, const char *path) {
    char(*names)[SM_PEFT_NAME + 40] = sm_alloc_array(x->mem, 2 * (uint64_t)x->n, sizeof *names);
    sm_st_tensor *list = names ? list_tensors(x, names) : NULL;
    sm_st_writer *w = NULL;
    sm_status status = SM_OK;
    if (!list)
        status = sm_fail(x->error, SM_ERR_NOMEM, "%s: out of memory", path);
    if (!status)
        status = sm_st_writer_open(&w, x->mem, path, list, 2 * (uint64_t)x->n, x->error);
    for (uint32_t i = 0; i < x->n && !status; i++) {
        status = write_half(x, w, x->pairs[i].a, NULL);
        if (!status)
            status = write_half(x, w, x->pairs[i].b, x->pairs[i].place.row_of);
        if (!status && sm_hook_ends(x->hook, i + 1, x->n))
            status = sm_fail(x->error, SM_ERR_CANCELLED, "cancelled");
    }
    sm_free(x->mem, list);
    sm_free(x->mem, names);
    return sm_st_writer_end(w, status, x->error);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The weights first: a directory that has the configuration is whole. */
static sm_status write_all(const exporter *x) {
    char path[4096];
    sm_status status = sm_directory_make(x->directory, x->error);
    if (!status && sm_format(path, sizeof path, "%s/" SM_PEFT_WEIGHTS, x->directory) >= sizeof path)
        status = sm_fail(x->error, SM_ERR_IO, "%.100s…: the path is too long", x->directory);
    if (!status)
        status = write_weights(x, path);
    sm_format(path, sizeof path, "%s/" SM_PEFT_CONFIG, x->directory);
    return status ? status : write_config(x, path);
}

static sm_status export_adapter(exporter *x, const char *adapter_path) {
    const sm_origin origin = {.struct_size = sizeof origin, .name = adapter_path};
    sm_adapter *adapter;
    sm_source *source = NULL;
    sm_status status = sm_adapter_open(&adapter, x->model, &origin, x->hook, x->error);
    if (status)
        return status;
    x->info = adapter->info;
    status = sm_adapter_source(&source, x->model, &origin, x->hook, x->error);
    if (!status) {
        x->source = source;
        status = find_pairs(x);
    }
    if (!status)
        status = write_all(x);
    for (uint32_t i = 0; i < x->n; i++)
        sm_free(x->mem, x->pairs[i].place.row_of);
    sm_free(x->mem, x->pairs);
    if (source)
        sm_source_close(source);
    sm_adapter_free(adapter);
    return status;
}

sm_status sm_adapter_export(const char *out_directory, const char *model_path,
                            const char *adapter_path, const sm_adapter_options *options,
                            sm_error *error) {
    sm_adapter_options given;
    if (!out_directory || !model_path || !adapter_path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_export: a path is NULL");
    sm_status status = sm_options_take(&given, sizeof given, options, SM_OPTIONS_ADAPTER, error);
    if (status)
        return status;
    sm_ask asked;
    sm_join_progress(&asked, &given.progress, &given.progress_user, given.cancel_flag);
    const sm_hook hook = {given.progress, given.progress_user};
    const sm_model_options o = {.struct_size = sizeof o,
                                .repack = SM_REPACK_NONE,
                                .progress = given.progress,
                                .progress_user = given.progress_user};
    sm_model *model;
    status = sm_model_load(&model, model_path, &o, error);
    if (status)
        return status;
    exporter x = {.mem = model->mem,
                  .kernels = model->net->kernels,
                  .directory = out_directory,
                  .model = model,
                  .hook = &hook,
                  .error = error};
    status = export_adapter(&x, adapter_path);
    sm_model_free(model);
    return status;
}
