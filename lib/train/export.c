/* Trained models and adapters as GGUF files. */
#include "trainer.h"

#include <math.h>
#include <string.h>

static const sm_param *find_param(const sm_params *params, const char *name) {
    for (uint32_t i = 0; i < params->n; i++)
        if (!strcmp(params->param[i].name, name))
            return &params->param[i];
    return NULL;
}

/* Keys of the model but those that name how its weights are stored. */
static void put_keys(const sm_trainer *t, sm_gguf_writer *w, uint32_t file_type) {
    for (uint64_t i = 0; i < t->gguf->n_keys; i++) {
        const sm_gguf_key *key = &t->gguf->keys[i];
        if (strcmp(key->name, "general.file_type") != 0 &&
            strcmp(key->name, "general.quantization_version") != 0 &&
            strcmp(key->name, "general.alignment") != 0 && strncmp(key->name, "split.", 6) != 0)
            sm_gguf_put_key(w, key);
    }
    sm_gguf_put_u32(w, "general.file_type", file_type);
}

static uint32_t export_type(const sm_gguf_tensor *tensor, const sm_param *p, uint32_t type) {
    return !p ? tensor->type : tensor->n_dims > 1 ? type : SM_DTYPE_F32;
}

/* Weights that are converted and written at a time. */
#define PIECE_WEIGHTS (1u << 16)

/* Weights [at, at + n) as `type`; SM_ERR_FORMAT if one is too large for it. */
static sm_status convert(uint16_t *to, const sm_param *p, uint64_t at, uint64_t n, uint32_t type,
                         sm_error *error) {
    const uint16_t infinite = type == SM_DTYPE_F16 ? 0x7c00 : 0x7f80;
    for (uint64_t i = 0; i < n; i++) {
        const float value = p->value[at + i];
        to[i] = type == SM_DTYPE_F16 ? sm_f32_to_f16(value) : sm_f32_to_bf16(value);
        if ((to[i] & infinite) == infinite)
            return sm_fail(error, SM_ERR_FORMAT,
                           "tensor '%s': row %llu holds values too large for type %s", p->name,
                           (unsigned long long)((at + i) / p->cols), sm_dtype_get(type)->name);
    }
    return SM_OK;
}

/* One trained tensor as `type`, converted in `room` if that is not f32. */
static sm_status write_param(sm_gguf_writer *w, const sm_param *p, uint32_t type, uint16_t *room,
                             sm_error *error) {
    const uint64_t size = p->rows * p->cols;
    if (type == SM_DTYPE_F32)
        return sm_gguf_write_tensor(w, p->value, size * sizeof(float), error);
    sm_status status = SM_OK;
    for (uint64_t at = 0, n; at < size && !status; at += n) {
        n = size - at < PIECE_WEIGHTS ? size - at : PIECE_WEIGHTS;
        status = convert(room, p, at, n, type, error);
        if (!status)
            status = sm_gguf_write_part(w, room, n * sizeof *room, error);
    }
    return status;
}

static sm_status export_model(sm_trainer *t, const char *path, const char *type_name,
                              sm_error *error) {
    static const struct {
        uint32_t type, file_type;
    } types[] = {{SM_DTYPE_F32, 0}, {SM_DTYPE_F16, 1}, {SM_DTYPE_BF16, 32}};
    if (t->options.lora_rank)
        return sm_fail(error, SM_ERR_STATE,
                       "adapters are trained: write them with sm_trainer_export_adapter");
    static const char names[] = "F32, F16, BF16"; /* of types, in that order */
    const uint32_t which = type_name ? sm_names_find(names, type_name, NULL) : 0;
    if (which == SM_NAME_NONE)
        return sm_fail_name(error, "type", type_name, names);
    sm_status status = sm_trainer_settle(t, error);
    if (status)
        return status;
    const sm_params *params = sm_graph_params(t->graph);
    status = sm_trainer_check(t, error);
    if (status)
        return status;
    uint16_t *room = sm_alloc_array(t->mem, PIECE_WEIGHTS, sizeof *room);
    if (!room)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory to write %s", path);
    sm_gguf_writer *w;
    status = sm_gguf_writer_open(&w, t->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (status) {
        sm_free(t->mem, room);
        return status;
    }
    const sm_hook hook = sm_trainer_hook(t);
    sm_gguf_writer_ask(w, &hook);
    put_keys(t, w, types[which].file_type);
    for (uint64_t i = 0; i < t->gguf->n_tensors; i++) {
        const sm_gguf_tensor *tensor = &t->gguf->tensors[i];
        const sm_param *p = find_param(params, tensor->name);
        sm_gguf_declare_tensor(w, tensor->name, export_type(tensor, p, types[which].type),
                               tensor->n_dims, tensor->dims, NULL);
    }
    for (uint64_t i = 0; i < t->gguf->n_tensors && !status; i++) {
        const sm_gguf_tensor *tensor = &t->gguf->tensors[i];
        const sm_param *p = find_param(params, tensor->name);
        const uint32_t type = export_type(tensor, p, types[which].type);
        status = p ? write_param(w, p, type, room, error)
                   : sm_gguf_write_tensor(w, tensor->data, tensor->size, error);
    }
    sm_free(t->mem, room);
    if (status) {
        sm_gguf_writer_abort(w);
        return status;
    }
    return sm_gguf_writer_finish(w, error);
}

sm_status sm_trainer_export(sm_trainer *t, const char *path, const char *type_name,
                            sm_error *error) {
    if (!t || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_export: trainer or path is NULL");
    sm_status status = sm_trainer_begin(t, true, error);
    if (status)
        return status;
    status = export_model(t, path, type_name, error);
    sm_trainer_end(t);
    return status;
}

/* llama.cpp's adapter format (its convert_lora_to_gguf.py): for a matrix W[out][in] the tensors
 * W.lora_a [rank][in] and W.lora_b [out][rank]; they count alpha / rank times. */
static sm_status export_adapter(sm_trainer *t, const char *path, sm_error *error) {
    const sm_trainer_options *o = &t->options;
    if (!o->lora_rank)
        return sm_fail(error, SM_ERR_STATE, "the whole model is trained: there are no adapters");
    sm_status status = sm_trainer_settle(t, error);
    if (status)
        return status;
    const sm_params *params = sm_graph_params(t->graph);
    const char *architecture = sm_graph_net(t->graph)->config.architecture;
    const double rank = o->lora_rank;
    sm_gguf_writer *w;
    status = sm_trainer_check(t, error);
    if (!status)
        status = sm_gguf_writer_open(&w, t->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (status)
        return status;
    const sm_hook hook = sm_trainer_hook(t);
    sm_gguf_writer_ask(w, &hook);
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "general.architecture", architecture, strlen(architecture));
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    sm_gguf_put_f32(w, "adapter.lora.alpha",
                    (float)(o->lora_rs ? o->lora_alpha * sqrt(rank) : o->lora_alpha));
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        const uint64_t depth = p->depth ? p->depth : 1, dims[3] = {p->cols, p->rows / depth, depth};
        sm_gguf_declare_tensor(w, p->name, SM_DTYPE_F32, p->depth ? 3 : 2, dims, NULL);
    }
    for (uint32_t i = 0; i < params->n && !status; i++)
        status = sm_gguf_write_tensor(w, params->param[i].value,
                                      params->param[i].rows * params->param[i].cols * sizeof(float),
                                      error);
    if (status) {
        sm_gguf_writer_abort(w);
        return status;
    }
    return sm_gguf_writer_finish(w, error);
}

sm_status sm_trainer_export_adapter(sm_trainer *t, const char *path, sm_error *error) {
    if (!t || !path)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_trainer_export_adapter: trainer or path is NULL");
    sm_status status = sm_trainer_begin(t, true, error);
    if (status)
        return status;
    status = export_adapter(t, path, error);
    sm_trainer_end(t);
    return status;
}
