/* model.c - the model that users hold: loading, sharing, describing, saving packed. */
#include "run.h"

#include <string.h>

typedef struct opening {
    const sm_origin *origin;
    bool *begun; /* from then on origin->done is taken care of */
} opening;

static sm_status open_input(sm_model *model, const void *what, const sm_model_options *o,
                            sm_error *error) {
    const opening *from = what;
    *from->begun = true;
    return sm_source_open_origin(&model->source, model->mem, from->origin, o->io == SM_IO_MAP,
                                 &(sm_hook){o->progress, o->progress_user}, error);
}

/* Of a packed tensor the matrices are counted: it may be a stack of them. A head that the embedding
 * shares is a copy. */
static void count_weights(sm_model *model) {
    const sm_net *net = model->net;
    for (uint64_t i = 0; i < model->source->n_tensors; i++) {
        const sm_tensor *t = &model->source->tensors[i];
        sm_packed_tensor packed;
        sm_source_get_packed(model->source, t, &packed, NULL); /* checked when the net was loaded */
        model->weight_bytes += t->size;
        if (!packed.packed)
            model->n_params += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    }
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const sm_weight *w = &net->matrices[i];
        if (!w->data && strcmp(w->name, SM_PACKED_HEAD) != 0)
            model->n_params += (uint64_t)w->rows * w->cols;
    }
}

/* While the tokenizer is made all tensors have been checked. */
typedef struct vocab_asking {
    sm_hook hook;
    uint64_t n_tensors;
} vocab_asking;

static int32_t ask_for_vocab(void *user) {
    const vocab_asking *a = user;
    return sm_hook_ends(&a->hook, a->n_tensors, a->n_tensors);
}

/* Tokens that end a generation beside those that the vocabulary says (generation_config.json). */
static void mark_ends(sm_model *model) {
    const sm_key *key = sm_source_find_key(model->source, SM_K_ENDS);
    const bool array = key && model->tokenizer && key->type == SM_KEY_ARRAY;
    int64_t id = 0;
    for (uint64_t i = 0; array && i < key->count && !sm_key_i64(key, i, &id); i++)
        sm_tokenizer_mark_end(model->tokenizer, id);
}

/* All that follows from the open file. */
static sm_status read_file(sm_model *model, const char *path, const sm_model_options *o,
                           const sm_logger *log, sm_error *error) {
    const sm_kernels *kernels = sm_kernels_get(sm_level_best(o->level));
    if (!kernels)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "level '%s' is not in this build",
                       sm_level_name(sm_level_best(o->level)));
    const sm_rounding rounding =
        o->activations == SM_ACTIVATIONS_FLOAT ? SM_ROUND_NOTHING : SM_ROUND_MOST;
    sm_status status = sm_net_load(&model->net, model->mem, model->source, kernels, rounding,
                                   o->progress, o->progress_user, error);
    if (!status && o->repack == SM_REPACK_LAZY)
        status = sm_net_pack_lazily(model->net, error);
    if (status)
        return status;
    const bool keys = sm_vocab_in_gguf(model->source);
    const char *directory = model->source->directory;
    if (keys || (directory && sm_vocab_in_directory(directory))) {
        vocab_asking asking = {{o->progress, o->progress_user}, model->source->n_tensors};
        sm_pace pace = {.cancel = ask_for_vocab, .user = &asking};
        status =
            keys ? sm_vocab_from_gguf(&model->tokenizer, model->mem, model->source, &pace, log->log,
                                      log->user, error)
                 : sm_vocab_from_directory(&model->tokenizer, model->mem, directory, &pace, error);
        if (status)
            return status;
        /* from here on the memory goes when the tokenizer's last reference does */
        sm_vocab_own_mem(model->tokenizer, model->mem);
        const int32_t n = sm_tokenizer_n_vocab(model->tokenizer);
        if (n < 0 || (uint32_t)n > model->net->config.n_vocab)
            return sm_fail(error, SM_ERR_SHAPE,
                           keys ? "%s: key 'tokenizer.ggml.tokens' has %d tokens but tensor "
                                  "'token_embd.weight' only %u rows"
                                : "%s: the tokenizer has %d tokens but the embedding only %u rows",
                           path, n, model->net->config.n_vocab);
    }
    mark_ends(model);
    count_weights(model);
    const char *name = "";
    uint64_t length = 0;
    sm_source_get_str(model->source, SM_K_NAME, &name, &length, NULL);
    model->name = sm_strdup(model->mem, name, length);
    return model->name ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

sm_status sm_model_load(sm_model **out, const char *path, const sm_model_options *options,
                        sm_error *error) {
    if (out)
        *out = NULL;
    if (!out || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_load: out or path is NULL");
    const sm_origin origin = {.struct_size = sizeof origin, .name = path};
    return sm_model_load_from(out, &origin, options, error);
}

sm_status sm_model_load_from(sm_model **out, const sm_origin *origin,
                             const sm_model_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_load_from: out is NULL");
    *out = NULL;
    sm_origin taken;
    sm_status status = sm_origin_take(&taken, origin, "sm_model_load_from", error);
    if (status)
        return status;
    bool begun = false;
    status = sm_model_make(out, taken.name, open_input, &(opening){&taken, &begun}, options, error);
    if (!begun)
        sm_origin_drop(&taken);
    return status;
}

/* With options that were taken. */
static sm_status make(sm_model **out, const char *name, sm_model_open_fn open, const void *what,
                      const sm_model_options *o, sm_error *error) {
    sm_logger log;
    sm_mem *mem;
    sm_status status = sm_logger_take(&log, o->log, error);
    if (status) {
        sm_allocator_drop(o->allocator);
        return status;
    }
    status = sm_mem_create(&mem, o->allocator, o->memory_limit, error);
    if (status)
        return status;
    sm_model *model = sm_alloc_zero(mem, sizeof *model);
    if (!model) {
        sm_mem_destroy(mem);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    atomic_init(&model->references, 1);
    model->mem = mem;
    status = open(model, what, o, error);
    if (!status)
        status = read_file(model, name, o, &log, error);
    if (status) {
        sm_model_free(model);
        return status;
    }
    sm_log(log.log, log.user, SM_LOG_INFO, "loaded %s: %s, %u layers, %llu weights, level %s", name,
           model->net->config.architecture, model->net->config.n_layer,
           (unsigned long long)model->n_params, sm_level_name(model->net->kernels->level));
    *out = model;
    return SM_OK;
}

sm_status sm_model_make(sm_model **out, const char *name, sm_model_open_fn open, const void *what,
                        const sm_model_options *options, sm_error *error) {
    *out = NULL;
    sm_model_options o;
    sm_ask asked;
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_MODEL, error);
    if (status)
        return status;
    sm_join_progress(&asked, &o.progress, &o.progress_user, o.cancel_flag);
    status = make(out, name, open, what, &o, error);
    sm_logger_drop(o.log);
    return status;
}

void sm_model_retain(const sm_model *model) {
    /* the count is the one thing of a shared model that changes */
    atomic_fetch_add_explicit(&((sm_model *)(uintptr_t)model)->references, 1, memory_order_relaxed);
}

void sm_model_free(sm_model *model) {
    if (!model || atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1)
        return;
    sm_mem *mem = model->mem;
    sm_tokenizer *tokenizer = model->tokenizer;
    sm_net_free(model->net);
    sm_source_close(model->source);
    sm_free(mem, model->image);
    sm_free(mem, model->name);
    sm_free(mem, model);
    if (tokenizer)
        sm_tokenizer_free(tokenizer); /* its last reference takes the memory along */
    else
        sm_mem_destroy(mem);
}

sm_status sm_model_save_packed(const sm_model *model, const char *path,
                               const sm_pack_options *options, sm_error *error) {
    sm_pack_options o;
    sm_ask asked;
    if (!model || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_save_packed: model or path is NULL");
    const sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_PACK, error);
    if (!status)
        sm_join_progress(&asked, &o.progress, &o.progress_user, o.cancel_flag);
    return status ? status : sm_net_save(model->net, path, o.progress, o.progress_user, error);
}

/* The most heads of keys, and the narrowest window, of any block. */
static sm_attn_params most_attention(const sm_net *net) {
    sm_attn_params most = {0};
    for (uint32_t i = 0; i < net->n_blocks; i++) {
        const sm_attn_params *p = &net->blocks[i].attn;
        if (!sm_block_attends(&net->blocks[i]))
            continue;
        most.n_head_kv = p->n_head_kv > most.n_head_kv ? p->n_head_kv : most.n_head_kv;
        const uint32_t window = sm_window_size(p->window);
        if (window && (!most.window || window < most.window))
            most.window = window;
    }
    return most;
}

static const sm_wide info_wide[] = {SM_WIDE_UNTIL(sm_model_info, architecture, n_vocab),
                                    SM_WIDE_UNTIL(sm_model_info, n_params, sliding_window),
                                    {0, 0, 0}};

sm_status sm_model_get_info(const sm_model *model, sm_model_info *info, sm_error *error) {
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_get_info: model is NULL");
    const sm_config *c = &model->net->config;
    const sm_attn_params attn = most_attention(model->net);
    const sm_model_info full = {
        .level = model->net->kernels->level,
        .architecture = c->architecture,
        .name = model->name,
        .n_vocab = (int32_t)c->n_vocab,
        .n_ctx_train = (int32_t)c->n_ctx_train,
        .n_embd = (int32_t)c->n_embd,
        .n_layer = (int32_t)c->n_layer,
        .n_head = (int32_t)sm_net_most(model->net, SM_DIM_HEADS),
        .n_head_kv = (int32_t)attn.n_head_kv,
        .head_dim = (int32_t)sm_net_most(model->net, SM_DIM_HEAD),
        .n_ff = (int32_t)sm_net_most(model->net, SM_DIM_FF),
        .n_params = model->n_params,
        .weight_bytes = model->weight_bytes,
        .decode_bytes = model->net->decode_bytes,
        .packed_bytes = atomic_load_explicit(&model->net->packed_bytes, memory_order_relaxed),
        .heap_bytes = atomic_load_explicit(&model->mem->in_use, memory_order_relaxed),
        .heap_peak = atomic_load_explicit(&model->mem->peak, memory_order_relaxed),
        .n_allocs = atomic_load_explicit(&model->mem->n_allocs, memory_order_relaxed),
        .packed_file_bytes = model->net->packed_file_bytes,
        .sliding_window = attn.window < INT32_MAX ? (int32_t)attn.window : INT32_MAX,
    };
    return sm_struct_give(info, &full, sizeof full, info_wide, "sm_model_get_info", error);
}

sm_status sm_model_get_tokenizer(const sm_model *model, sm_tokenizer **out, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_get_tokenizer: out is NULL");
    *out = NULL;
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_get_tokenizer: model is NULL");
    if (!model->tokenizer)
        return sm_fail(error, SM_ERR_MISSING, "%s: no vocabulary (key 'tokenizer.ggml.model')",
                       model->source->path);
    sm_tokenizer_retain(model->tokenizer);
    *out = model->tokenizer;
    return SM_OK;
}

sm_status sm_logits_check(const sm_model *model, const float *logits, uint32_t length,
                          sm_error *error) {
    const sm_net *net = model->net;
    const uint64_t id = sm_first_not_finite(logits, net->config.n_vocab);
    if (id == net->config.n_vocab)
        return SM_OK;
    const sm_tensor *t =
        net->head->data ? sm_source_find_tensor(model->source, net->head->name) : NULL;
    float *row = t ? sm_alloc_array(model->mem, t->dims[0], sizeof *row) : NULL;
    sm_status status = SM_OK;
    if (row)
        status = sm_rows_check(model->source, t, net->kernels, id, id + 1, row, error);
    sm_free(model->mem, row);
    return status
               ? status
               : sm_fail(error, SM_ERR_FORMAT,
                         "%s: the logits after token %u are not finite (that of token %llu is "
                         "%g): the weights are damaged",
                         model->source->path, length, (unsigned long long)id, (double)logits[id]);
}
