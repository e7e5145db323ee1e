/* Sequences computed together: the team and the buffers they share, and the step. */
#include "run.h"

#include <string.h>

#define DEFAULT_CONTEXT 4096u
#define DEFAULT_THREADS 8u

static uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

uint32_t sm_default_context(const sm_model *model, uint32_t n_ctx) {
    return n_ctx ? n_ctx : min_u32(model->net->config.n_ctx_train, DEFAULT_CONTEXT);
}

sm_status sm_batch_make(sm_batch **out, const sm_model *model, const sm_batch_options *o,
                        bool shared, sm_error *error) {
    sm_mem *mem = model->mem;
    const uint64_t n_vocab = model->net->config.n_vocab;
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
    b->n_sequences = o->n_sequences;
    b->n_batch = o->n_batch > o->n_sequences ? o->n_batch : o->n_sequences;
    b->n_ctx = sm_default_context(model, o->n_ctx);
    sm_status status =
        sm_workspace_new(&b->workspace, mem, model->net, n_threads, b->n_batch, b->n_ctx, error);
    if (!status) {
        b->spans = sm_alloc_array(mem, b->n_sequences, sizeof *b->spans);
        b->ids = sm_alloc_array(mem, b->n_batch, sizeof *b->ids);
        b->outputs = sm_alloc_array(mem, b->n_batch, sizeof *b->outputs);
        b->logits = sm_alloc_array(mem, b->n_batch, sizeof *b->logits);
        b->sampler.logits = sm_alloc_array(mem, n_vocab, sizeof *b->sampler.logits);
        b->sampler.candidates = sm_alloc_array(mem, n_vocab, sizeof *b->sampler.candidates);
        b->sampler.counts = sm_alloc_zero(mem, n_vocab * sizeof *b->sampler.counts);
        if (!b->spans || !b->ids || !b->outputs || !b->logits || !b->sampler.logits ||
            !b->sampler.candidates || !b->sampler.counts)
            status =
                sm_fail(error, SM_ERR_NOMEM, "out of memory for a batch of %u tokens", b->n_batch);
    }
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
    sm_free(mem, b->ids);
    sm_free(mem, b->outputs);
    sm_free(mem, b->logits);
    sm_free(mem, b->sampler.logits);
    sm_free(mem, b->sampler.candidates);
    sm_free(mem, b->sampler.counts);
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
    b->cancel = cancel;
    b->cancel_user = user;
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
    for (uint64_t i = 0; i < item->n_ids; i++) /* see sm_session_token */
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

/* Everything about the items that can be wrong. */
static sm_status check(sm_batch *b, const sm_batch_item *items, uint64_t n_items, sm_error *error) {
    if (n_items > b->n_sequences)
        return sm_fail(error, SM_ERR_ARGUMENT, "%llu items are more than the batch's %u sequences",
                       (unsigned long long)n_items, b->n_sequences);
    uint64_t n_tokens = 0;
    b->n_steps++;
    for (uint32_t i = 0; i < n_items; i++) {
        sm_session *s = items[i].session;
        sm_error why = {0};
        if (!s)
            return sm_fail(error, SM_ERR_ARGUMENT, "item %u: session is NULL", i);
        if (s->batch != b)
            return sm_fail(error, SM_ERR_ARGUMENT, "item %u: the session is not of this batch", i);
        if (s->step == b->n_steps)
            return sm_fail(error, SM_ERR_ARGUMENT, "item %u: the session is in this step already",
                           i);
        s->step = b->n_steps;
        if (!sm_session_same_adapters(s, items->session))
            return sm_fail(error, SM_ERR_STATE, "item %u: its adapters are not those of item 0", i);
        const sm_status status = sm_session_check(s, items[i].ids, items[i].n_ids, s->length, &why);
        if (status)
            return sm_fail(error, status, "item %u: %s", i, why.message);
        n_tokens += items[i].n_ids; /* each is at most a context */
    }
    if (n_tokens > b->n_batch)
        return sm_fail(error, SM_ERR_ARGUMENT, "%llu tokens are more than the batch's %u a step",
                       (unsigned long long)n_tokens, b->n_batch);
    return SM_OK;
}

/* The hooks of a step: the batch's and those of all its sessions. */
typedef struct hooks {
    const sm_batch *batch;
    const sm_batch_item *items;
    uint64_t n_items;
} hooks;

static int32_t ask_all(void *user) {
    const hooks *h = user;
    int32_t stop = h->batch->cancel ? h->batch->cancel(h->batch->cancel_user) : 0;
    for (uint64_t i = 0; i < h->n_items && !stop; i++) {
        const sm_session *s = h->items[i].session;
        if (s->cancel && h->items[i].n_ids)
            stop = s->cancel(s->cancel_user);
    }
    return stop;
}

static bool any_hook(const hooks *h) {
    bool any = h->batch->cancel != NULL;
    for (uint64_t i = 0; i < h->n_items && !any; i++)
        any = h->items[i].session->cancel != NULL;
    return any;
}

/* In a call that has the batch's mark: those of its sessions too. */
static sm_status step(sm_batch *b, const sm_batch_item *items, uint64_t n_items, uint32_t process,
                      sm_error *error) {
    sm_status status = check(b, items, n_items, error);
    uint64_t marked = 0;
    while (!status && marked < n_items) {
        status = sm_use_begin(&items[marked].session->use, process, "session", error);
        marked += !status;
    }
    hooks h = {b, items, n_items};
    if (!status)
        status =
            sm_batch_compute(b, items, n_items, false, any_hook(&h) ? ask_all : NULL, &h, error);
    for (uint64_t i = 0; i < marked; i++)
        if (sm_use_end(&items[i].session->use))
            sm_session_free(items[i].session);
    return status;
}

sm_status sm_batch_step(sm_batch *b, const sm_batch_item *items, uint64_t n_items,
                        sm_error *error) {
    if (!b || (!items && n_items))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_step: batch or items is NULL");
    const uint32_t process = sm_process_id();
    sm_status status = sm_use_begin(&b->use, process, "batch", error);
    if (status)
        return status;
    /* the last session may go, and the user's hold on the batch */
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    status = step(b, items, n_items, process, error);
    sm_batch_end(b);
    sm_batch_release(b);
    return status;
}
