/* Sequences computed together: the team and the buffers they share, and the step. */
#include "run.h"

#include <string.h>

#define DEFAULT_CONTEXT 4096u
#define DEFAULT_THREADS 8u

/* Positions that are learned end with the last one. */
static sm_status check_context(const sm_model *model, uint32_t n_ctx, sm_error *error) {
    const uint32_t most = model->net->positions.rows;
    if (model->net->both)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: models of architecture '%s' are encoders: they write no text "
                       "(sm_encoder_new makes vectors and scores with them)",
                       model->net->source->path, model->net->config.architecture);
    return most && n_ctx > most
               ? sm_fail(error, SM_ERR_ARGUMENT,
                         "option n_ctx is %u, but the model knows no more than %u positions", n_ctx,
                         most)
               : SM_OK;
}

uint32_t sm_default_context(const sm_model *model, uint32_t n_ctx) {
    return n_ctx ? n_ctx : min_u32(model->net->config.n_ctx_train, DEFAULT_CONTEXT);
}

sm_status sm_batch_make(sm_batch **out, const sm_model *model, const sm_batch_options *o,
                        bool shared, sm_error *error) {
    sm_mem *mem = model->mem;
    const uint32_t n_threads =
        o->n_threads ? o->n_threads : min_u32(sm_cpu_count(), DEFAULT_THREADS);
    sm_batch *b = sm_alloc_zero(mem, sizeof *b);
    if (!b)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a session");
    atomic_init(&b->references, 1);
    sm_model_retain(model);
    b->model = model;
    b->mem = mem;
    b->shared = shared;
    b->flag = sm_cancel_retain(o->cancel_flag);
    b->ask.flag = b->flag;
    b->cancel = sm_asks(&b->ask);
    b->cancel_user = &b->ask;
    b->n_sequences = o->n_sequences;
    b->n_batch = o->n_batch > o->n_sequences ? o->n_batch : o->n_sequences;
    b->n_ctx = sm_default_context(model, o->n_ctx);
    sm_status status = check_context(model, b->n_ctx, error);
    if (!status)
        status = sm_workspace_new(&b->workspace, mem, model->net, n_threads, b->n_batch, b->n_ctx,
                                  error);
    if (!status) {
        b->spans = sm_alloc_array(mem, b->n_sequences, sizeof *b->spans);
        b->items = sm_alloc_array(mem, b->n_sequences, sizeof *b->items);
        b->ids = sm_alloc_array(mem, b->n_batch, sizeof *b->ids);
        b->outputs = sm_alloc_array(mem, b->n_batch, sizeof *b->outputs);
        b->logits = sm_alloc_array(mem, b->n_batch, sizeof *b->logits);
        if (!b->spans || !b->items || !b->ids || !b->outputs || !b->logits)
            status =
                sm_fail(error, SM_ERR_NOMEM, "out of memory for a batch of %u tokens", b->n_batch);
    }
    if (!status)
        status = sm_sampler_new(&b->sampler, mem, model->net->kernels, model->net->config.n_vocab,
                                b->n_ctx, error);
    if (!status)
        status = sm_team_new(&b->team, mem, n_threads, error);
    if (!status && o->pin)
        status = sm_team_pin(b->team, error);
    if (status) {
        sm_batch_release(b);
        return status;
    }
    sm_team_set_barrier_ns(b->team, SM_TEAM_MEASURE);
    *out = b;
    return SM_OK;
}

void sm_batch_release(sm_batch *b) {
    if (atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    sm_mem *mem = b->mem;
    sm_team_free(b->team);
    sm_workspace_free(b->workspace);
    sm_free(mem, b->spans);
    sm_free(mem, b->items);
    sm_free(mem, b->ids);
    sm_free(mem, b->outputs);
    sm_free(mem, b->logits);
    sm_sampler_free(b->sampler);
    sm_cancel_free(b->flag);
    sm_model *model = (sm_model *)(uintptr_t)b->model;
    sm_free(mem, b);
    sm_model_free(model);
}

sm_status sm_batch_new(sm_batch **out, const sm_model *model, const sm_batch_options *options,
                       sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_new: out is NULL");
    *out = NULL;
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_new: model is NULL");
    sm_batch_options o;
    const sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_BATCH, error);
    return status ? status : sm_batch_make(out, model, &o, true, error);
}

void sm_batch_free(sm_batch *b) {
    if (b && sm_use_free(&b->use))
        sm_batch_release(b);
}

void sm_batch_end(sm_batch *b) {
    if (sm_use_end(&b->use))
        sm_batch_release(b);
}

sm_status sm_batch_set_cancel(sm_batch *b, sm_cancel_fn cancel, void *user, sm_error *error) {
    if (!b)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_set_cancel: batch is NULL");
    const sm_status status = sm_use_begin(&b->use, sm_process_id(), "batch", error);
    if (status)
        return status;
    b->ask.cancel = cancel;
    b->ask.user = user;
    b->cancel = sm_asks(&b->ask);
    sm_batch_end(b);
    return SM_OK;
}

/* ---- the step --------------------------------------------------------------------------- */

/* Outputs of an item whose first token has index `first` in the step; returns how many. */
static uint32_t add_outputs(sm_batch *b, uint32_t n, const sm_batch_item *item, uint32_t first,
                            bool quiet) {
    const uint64_t n_vocab = b->model->net->config.n_vocab;
    const uint32_t last = first + (uint32_t)item->n_ids - 1;
    if (!item->logits && !quiet) {
        b->outputs[n] = last;
        b->logits[n] = item->session->logits;
        return 1;
    }
    for (uint32_t i = 0; item->logits && i < item->n_ids; i++) {
        b->outputs[n + i] = first + i;
        b->logits[n + i] = item->logits + i * n_vocab;
    }
    return item->logits ? (uint32_t)item->n_ids : 0;
}

static void append(const sm_batch *b, const sm_batch_item *item, bool quiet) {
    sm_session *s = item->session;
    const uint64_t n_vocab = b->model->net->config.n_vocab;
    if (!item->n_ids)
        return;
    s->trail.end = min_u32(s->trail.end, s->length + 1); /* beyond: of other tokens */
    s->ahead.n = 0; /* of what was guessed nothing holds behind other tokens */
    for (uint64_t i = 0; i < item->n_ids; i++) /* see sm_session_tokens */
        __atomic_store_n(&s->ids[s->length + i], item->ids[i], __ATOMIC_RELAXED);
    s->length += (uint32_t)item->n_ids;
    s->has_logits = item->logits || !quiet;
    if (item->logits)
        memcpy(s->logits, item->logits + (item->n_ids - 1) * n_vocab, n_vocab * sizeof *s->logits);
}

/* Logits that a caller gets are finite; a session's own are looked at when they are asked for. */
static sm_status check_logits(const sm_batch *b, const sm_batch_item *item, sm_error *error) {
    const uint64_t n_vocab = b->model->net->config.n_vocab;
    sm_status status = SM_OK;
    for (uint64_t i = 0; item->logits && i < item->n_ids && !status; i++)
        status = sm_logits_check(b->model, item->logits + i * n_vocab,
                                 item->session->length + (uint32_t)i + 1, error);
    return status;
}

sm_status sm_batch_compute(sm_batch *b, const sm_batch_item *items, uint64_t n_items, bool quiet,
                           sm_cancel_fn cancel, void *cancel_user, sm_error *error) {
    sm_step step = {.ids = b->ids,
                    .spans = b->spans,
                    .outputs = b->outputs,
                    .logits = b->logits,
                    .cancel = cancel,
                    .cancel_user = cancel_user,
                    .observer = n_items == 1 ? items->session->observer : NULL,
                    .repack_ns = &b->repack_ns};
    if (n_items && items->session->adapters.n)
        step.adapters = &items->session->adapters;
    for (uint64_t i = 0; i < n_items; i++) {
        const sm_batch_item *item = &items[i];
        const uint32_t n = (uint32_t)item->n_ids;
        if (!n)
            continue;
        memcpy(b->ids + step.n_tokens, item->ids, n * sizeof *item->ids);
        b->spans[step.n_spans++] =
            (sm_span){&item->session->state, step.n_tokens, n, item->session->length};
        step.n_outputs += add_outputs(b, step.n_outputs, item, step.n_tokens, quiet);
        step.n_tokens += n;
    }
    if (!step.n_tokens)
        return SM_OK;
    sm_status status = sm_forward(b->workspace, b->team, &step, error);
    for (uint64_t i = 0; i < n_items && !status; i++)
        status = check_logits(b, &items[i], error);
    for (uint64_t i = 0; i < n_items && !status; i++)
        append(b, &items[i], quiet);
    return status;
}

sm_status sm_batch_check(const sm_session *s, const int32_t *ids, uint64_t n, uint32_t held,
                         sm_error *error) {
    if (!ids && n)
        return sm_fail(error, SM_ERR_ARGUMENT, "ids is NULL, but their number is %llu",
                       (unsigned long long)n);
    if (n > s->n_ctx - held)
        return sm_fail(error, SM_ERR_CONTEXT_FULL,
                       "%llu tokens do not fit: the session holds %u of %u", (unsigned long long)n,
                       held, s->n_ctx);
    for (uint64_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->model->net->config.n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "token id %d at index %llu is not in 0..%u", ids[i],
                           (unsigned long long)i, s->model->net->config.n_vocab - 1);
    return SM_OK;
}
