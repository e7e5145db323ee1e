/* One step of a batch that the program asks for: its items checked, marked and computed. */
#include "run.h"

sm_status sm_batch_check_count(sm_batch *b, uint64_t n_items, sm_error *error) {
    b->n_steps++;
    return n_items <= b->n_sequences ? SM_OK
                                     : sm_fail(error, SM_ERR_ARGUMENT,
                                               "%llu items are more than the batch's %u sequences",
                                               (unsigned long long)n_items, b->n_sequences);
}

sm_status sm_batch_check_member(sm_batch *b, sm_session *s, const sm_session *first, uint32_t i,
                                sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "item %u: session is NULL", i);
    if (s->batch != b)
        return sm_fail(error, SM_ERR_ARGUMENT, "item %u: the session is not of this batch", i);
    if (s->step == b->n_steps)
        return sm_fail(error, SM_ERR_ARGUMENT, "item %u: the session is in this step already", i);
    s->step = b->n_steps;
    return sm_adapter_same(s, first)
               ? SM_OK
               : sm_fail(error, SM_ERR_STATE, "item %u: its adapters are not those of item 0", i);
}

/* Everything about the items that can be wrong. */
static sm_status check(sm_batch *b, const sm_batch_item *items, uint64_t n_items, sm_error *error) {
    const uint64_t n_vocab = b->model->net->config.n_vocab;
    uint64_t n_tokens = 0;
    for (uint32_t i = 0; i < n_items; i++) {
        sm_session *s = items[i].session;
        sm_error why = {0};
        sm_status status = sm_batch_check_member(b, s, items->session, i, error);
        if (!status && items[i].reserved)
            status = sm_fail(error, SM_ERR_ARGUMENT, "item %u: reserved is set", i);
        if (status)
            return status;
        status = sm_batch_check(s, items[i].ids, items[i].n_ids, s->length, &why);
        if (status)
            return sm_fail(error, status, "item %u: %s", i, why.message);
        n_tokens += items[i].n_ids; /* each is at most a context */
        if (items[i].logits && items[i].n_logits < items[i].n_ids * n_vocab)
            return sm_fail(error, SM_ERR_BUFFER,
                           "item %u: n_logits is %llu, fewer than %llu tokens times %llu", i,
                           (unsigned long long)items[i].n_logits,
                           (unsigned long long)items[i].n_ids, (unsigned long long)n_vocab);
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

/* The caller's items into the batch's own. */
static sm_status take_items(sm_batch *b, const sm_batch_item *items, uint64_t n, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_batch_item, session), {0, 0, 0}};
    const sm_status status = sm_batch_check_count(b, n, error);
    return status ? status
                  : sm_structs_take(b->items, sizeof *b->items, wide, items, n, "sm_batch_item",
                                    error);
}

sm_status sm_batch_compute_asking(sm_batch *b, const sm_batch_item *items, uint64_t n_items,
                                  sm_error *error) {
    hooks h = {b, items, n_items};
    return sm_batch_compute(b, items, n_items, false, any_hook(&h) ? ask_all : NULL, &h, error);
}

/* In a call that has the batch's mark: those of its sessions too. */
static sm_status step(sm_batch *b, const sm_batch_item *given, uint64_t n_items, uint32_t process,
                      sm_error *error) {
    const sm_batch_item *items = b->items;
    sm_status status = take_items(b, given, n_items, error);
    if (!status)
        status = check(b, items, n_items, error);
    uint64_t marked = 0;
    while (!status && marked < n_items) {
        status = sm_use_begin(&items[marked].session->use, process, "session", error);
        marked += !status;
    }
    if (!status)
        status = sm_batch_compute_asking(b, items, n_items, error);
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
