/* Trained models and adapters as GGUF files. */
#include "format/format.h"
#include "kernels.h"
#include "make.h"
#include "nn/nn.h"
#include "smallmind/train.h"
#include "train/train.h"

#include <string.h>

static const sm_param *find_param(const sm_params *params, const char *name) {
    for (uint32_t i = 0; i < params->n; i++)
        if (!strcmp(params->param[i].name, name))
            return &params->param[i];
    return NULL;
}

static uint32_t export_type(const sm_tensor *tensor, const sm_param *p, uint32_t type) {
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

static sm_status write_model(const sm_trained *t, sm_gguf_writer *w, const sm_model_type *type,
                             uint16_t *room, sm_error *error) {
    const sm_source *source = t->source;
    sm_status status = SM_OK;
    sm_gguf_copy_keys(w, source,
                      SM_KEYS_OF_PARTS | SM_KEY_ALIGNMENT | SM_KEY_FILE_TYPE |
                          SM_KEY_QUANTIZATION_VERSION);
    sm_gguf_put_u32(w, SM_K_FILE_TYPE, type->file_type);
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const sm_tensor *tensor = &source->tensors[i];
        const sm_param *p = find_param(t->params, tensor->name);
        sm_gguf_declare_tensor(w, tensor->name, export_type(tensor, p, type->type), tensor->n_dims,
                               tensor->dims, NULL);
    }
    for (uint64_t i = 0; i < source->n_tensors && !status; i++) {
        const sm_tensor *tensor = &source->tensors[i];
        const sm_param *p = find_param(t->params, tensor->name);
        status = p ? write_param(w, p, export_type(tensor, p, type->type), room, error)
                   : sm_gguf_write_copy(w, tensor, error);
    }
    return status;
}

static sm_status export_model(sm_trainer *trainer, const sm_trained *t, const char *path,
                              const char *type_name, sm_error *error) {
    if (t->lora_rank)
        return sm_fail(error, SM_ERR_STATE,
                       "adapters are trained: write them with sm_trainer_export_adapter");
    const sm_model_type *type =
        sm_model_type_find(type_name ? type_name : "F32", SM_TYPES_FLOAT, error);
    if (!type)
        return SM_ERR_ARGUMENT;
    sm_status status = sm_trainer_ready(trainer, error);
    if (status)
        return status;
    uint16_t *room = sm_alloc_array(t->mem, PIECE_WEIGHTS, sizeof *room);
    if (!room)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory to write %s", path);
    sm_gguf_writer *w;
    status = sm_gguf_writer_open(&w, t->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (!status) {
        sm_gguf_writer_ask(w, &t->hook);
        status = sm_gguf_writer_end(w, write_model(t, w, type, room, error), error);
    }
    sm_free(t->mem, room);
    return status;
}

sm_status sm_trainer_export(sm_trainer *trainer, const char *path, const sm_export_options *options,
                            sm_error *error) {
    sm_export_options o;
    sm_trained t;
    if (!trainer || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_export: trainer or path is NULL");
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_EXPORT, error);
    if (!status)
        status = sm_trainer_look(trainer, &t, error);
    if (status)
        return status;
    status = export_model(trainer, &t, path, o.type, error);
    sm_trainer_end(trainer);
    return status;
}

static sm_status write_adapter(const sm_trained *t, sm_gguf_writer *w, sm_error *error) {
    const char *architecture = t->net->config.architecture;
    const sm_params *params = t->params;
    sm_status status = SM_OK;
    sm_gguf_put_str(w, SM_K_TYPE, "adapter", 7);
    sm_gguf_put_str(w, SM_K_ARCHITECTURE, architecture, strlen(architecture));
    sm_gguf_put_str(w, SM_K_ADAPTER_TYPE, "lora", 4);
    sm_gguf_put_f32(w, SM_K_ADAPTER_ALPHA, (float)t->lora_alpha);
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        const uint64_t depth = p->depth ? p->depth : 1, dims[3] = {p->cols, p->rows / depth, depth};
        sm_gguf_declare_tensor(w, p->name, SM_DTYPE_F32, p->depth ? 3 : 2, dims, NULL);
    }
    for (uint32_t i = 0; i < params->n && !status; i++)
        status = sm_gguf_write_tensor(w, params->param[i].value,
                                      params->param[i].rows * params->param[i].cols * sizeof(float),
                                      error);
    return status;
}

/* llama.cpp's adapter format (its convert_lora_to_gguf.py): for a matrix W[out][in] the tensors
 * W.lora_a [rank][in] and W.lora_b [out][rank]; they count alpha / rank times. */
static sm_status export_adapter(sm_trainer *trainer, const sm_trained *t, const char *path,
                                sm_error *error) {
    if (!t->lora_rank)
        return sm_fail(error, SM_ERR_STATE, "the whole model is trained: there are no adapters");
    sm_gguf_writer *w;
    sm_status status = sm_trainer_ready(trainer, error);
    if (!status)
        status = sm_gguf_writer_open(&w, t->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (status)
        return status;
    sm_gguf_writer_ask(w, &t->hook);
    return sm_gguf_writer_end(w, write_adapter(t, w, error), error);
}

sm_status sm_trainer_export_adapter(sm_trainer *trainer, const char *path, sm_error *error) {
    sm_trained t;
    if (!trainer || !path)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_trainer_export_adapter: trainer or path is NULL");
    sm_status status = sm_trainer_look(trainer, &t, error);
    if (status)
        return status;
    status = export_adapter(trainer, &t, path, error);
    sm_trainer_end(trainer);
    return status;
}
