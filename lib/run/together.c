/* Texts generated together: each step of a batch computes a token of every one. */
#include "generation.h"

#include <string.h>

/* ---- what another session holds of a prompt -------------------------------------------------- */

/* How many of its tokens are the prompt's first. */
static uint32_t held(const sm_session *s, const int32_t *ids, uint64_t n) {
    uint32_t i = 0;
    while (i < s->length && i < n && s->ids[i] == ids[i])
        i++;
    return i;
}

/* What a session could go on from, with another's tokens. */
static uint32_t offered(const sm_session *to, const sm_session *from, const int32_t *ids,
                        uint64_t n) {
    const bool alike = to->n_ctx == from->n_ctx && to->kv_type == from->kv_type &&
                       to->kv_keep == from->kv_keep && !from->dropped && !to->dropped;
    const uint32_t common = alike ? held(from, ids, n) : 0;
    return common ? sm_state_rewinds_to(&from->state, from->length, common) : 0;
}

static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const sm_session *s = user;
    (void)done;
    (void)total;
    return s->cancel && s->cancel(s->cancel_user);
}

/* All tokens of another session, of which the first `own` are there already. */
static sm_status take_over(sm_session *s, const sm_session *from, uint32_t own, sm_error *error) {
    if (own < s->length)
        sm_session_unlose(s, own);
    s->trail.end = min_u32(s->trail.end, own);
    s->ahead.n = 0;
    s->length = 0;
    s->has_logits = false;
    if (!sm_state_copy(&s->state, &from->state, from->length, &(sm_hook){ask, s}))
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled while a prompt's beginning was copied");
    for (uint32_t i = 0; i < from->length; i++) /* see sm_session_token */
        __atomic_store_n(&s->ids[i], from->ids[i], __ATOMIC_RELAXED);
    s->length = from->length;
    s->has_logits = from->has_logits;
    if (from->has_logits)
        memcpy(s->logits, from->logits, s->model->net->config.n_vocab * sizeof *s->logits);
    return SM_OK;
}

sm_status sm_generation_share(sm_generation *g, const int32_t *ids, uint64_t n) {
    sm_session *s = g->s;
    const uint32_t own = held(s, ids, n);
    uint32_t best = sm_state_rewinds_to(&s->state, s->length, own);
    const sm_session *from = NULL;
    for (uint64_t i = 0; i < g->n_before; i++) {
        const uint32_t common = offered(s, g->before[i]->s, ids, n);
        if (common > best) {
            best = common;
            from = g->before[i]->s;
        }
    }
    return from ? take_over(s, from, own, g->error) : SM_OK;
}

/* ---- the steps ------------------------------------------------------------------------------- */

typedef struct text {
    sm_generation g;
    sm_error why;
    sm_status status;
    int32_t id;
    bool ended;
} text;

typedef struct texts {
    sm_batch *batch;
    sm_batch_text *items;   /* [n] of the caller's */
    text *all;              /* [n] */
    sm_generation **begun;  /* [n] whose prompts are there */
    text **next;            /* [n] those that have a token to feed, and with it ... */
    sm_batch_item *feeding; /* [n] */
    uint64_t n, n_begun, n_marked;
    bool cancelled; /* by the batch's hook: nothing more begins */
} texts;

/* The hooks of a batch and of the session whose prompt it feeds. */
typedef struct both {
    texts *all;
    sm_cancel_fn own;
    void *own_user;
} both;

static int32_t ask_both(void *user) {
    both *b = user;
    const sm_batch *batch = b->all->batch;
    if (batch->cancel && batch->cancel(batch->cancel_user))
        b->all->cancelled = true;
    return b->all->cancelled || (b->own && b->own(b->own_user));
}

static void end(text *t, sm_status status) {
    if (t->g.start) /* it had begun */
        sm_generation_end(&t->g, status);
    t->status = status;
    t->ended = true;
}

static sm_status open(text *t, const sm_batch_text *item) {
    const sm_status status = sm_generation_open(&t->g, item->options);
    if (!status && (t->g.o->draft || t->g.o->speculate))
        return sm_fail(&t->why, SM_ERR_ARGUMENT,
                       "option %s is for one text: those of a batch are computed together",
                       t->g.o->draft ? "draft" : "speculate");
    return status;
}

static void set_hook(sm_session *s, sm_cancel_fn cancel, void *user) {
    s->cancel = cancel;
    s->cancel_user = user;
}

static void begin(texts *all, text *t, const sm_batch_text *item) {
    t->g = (sm_generation){.s = item->session,
                           .on_token = item->on_token,
                           .user = item->user,
                           .error = &t->why,
                           .before = all->begun,
                           .n_before = all->n_begun};
    sm_session *s = item->session;
    both hooks = {all, s->cancel, s->cancel_user};
    sm_status status = open(t, item);
    if (!status && all->cancelled)
        status = sm_fail(&t->why, SM_ERR_CANCELLED, "cancelled before it began");
    set_hook(s, ask_both, &hooks);
    if (!status)
        status = sm_generation_begin(
            &t->g, &(sm_prompt){.text = item->prompt, .n = text_size(item->prompt, item->length)});
    set_hook(s, hooks.own, hooks.own_user);
    if (status)
        end(t, status);
    else
        all->begun[all->n_begun++] = &t->g;
}

/* Chooses of every text; those of which several tokens are to be fed do that at once. How many have
 * one. */
static uint64_t choose(texts *all) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < all->n; i++) {
        text *t = &all->all[i];
        bool ended = false;
        if (t->ended)
            continue;
        sm_status status = sm_generation_turn(&t->g, &t->id, &ended);
        const bool several = t->g.n_fed > 1;
        if (!status && !ended && several)
            status = sm_generation_feed(&t->g, t->id);
        if (status || ended)
            end(t, status);
        else if (!several)
            all->next[n++] = t;
    }
    return n;
}

static void step(texts *all, uint64_t n) {
    sm_error why;
    for (uint64_t i = 0; i < n; i++)
        all->feeding[i] = (sm_batch_item){.struct_size = sizeof *all->feeding,
                                          .session = all->next[i]->g.s,
                                          .ids = &all->next[i]->id,
                                          .n_ids = 1};
    const sm_status status = n ? sm_batch_compute_asking(all->batch, all->feeding, n, &why) : SM_OK;
    for (uint64_t i = 0; i < n; i++) {
        all->next[i]->g.n_fed = 0;
        if (!status)
            continue;
        all->next[i]->why = why;
        end(all->next[i], status);
    }
}

static bool any_left(const texts *all) {
    bool any = false;
    for (uint64_t i = 0; i < all->n && !any; i++)
        any = !all->all[i].ended;
    return any;
}

static sm_status first_failure(const texts *all, sm_error *error) {
    for (uint64_t i = 0; i < all->n; i++) {
        const text *t = &all->all[i];
        if (t->status)
            return sm_fail(error, t->status, "item %llu: %s", (unsigned long long)i,
                           t->why.message);
    }
    return SM_OK;
}

static sm_status generate(texts *all, sm_error *error) {
    for (uint64_t i = 0; i < all->n; i++)
        begin(all, &all->all[i], &all->items[i]);
    while (any_left(all))
        step(all, choose(all));
    for (uint64_t i = 0; i < all->n; i++)
        sm_generation_close(&all->all[i].g);
    return first_failure(all, error);
}

/* ---- the call -------------------------------------------------------------------------------- */

static sm_status check(const texts *all, sm_error *error) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < all->n && !status; i++) {
        const sm_batch_text *item = &all->items[i];
        status = sm_batch_check_member(all->batch, item->session, all->items->session, i, error);
        if (!status && (!item->prompt || item->reserved))
            status = sm_fail(error, SM_ERR_ARGUMENT, "item %u: %s", i,
                             item->prompt ? "reserved is set" : "prompt is NULL");
    }
    return status;
}

static sm_status reserve(texts *all, sm_error *error) {
    sm_mem *mem = all->batch->mem;
    all->items = sm_alloc_array(mem, all->n, sizeof *all->items);
    all->all = sm_alloc_zero(mem, all->n * sizeof *all->all);
    all->begun = sm_alloc_array(mem, all->n, sizeof *all->begun);
    all->next = sm_alloc_array(mem, all->n, sizeof *all->next);
    all->feeding = sm_alloc_array(mem, all->n, sizeof *all->feeding);
    return all->items && all->all && all->begun && all->next && all->feeding
               ? SM_OK
               : sm_fail(error, SM_ERR_NOMEM, "out of memory for %llu texts",
                         (unsigned long long)all->n);
}

static void let_go(texts *all) {
    sm_mem *mem = all->batch->mem;
    for (uint64_t i = 0; i < all->n_marked; i++)
        if (sm_use_end(&all->items[i].session->use))
            sm_session_free(all->items[i].session);
    sm_free(mem, all->items);
    sm_free(mem, all->all);
    sm_free(mem, all->begun);
    sm_free(mem, all->next);
    sm_free(mem, all->feeding);
}

/* In a call that has the batch's mark: with those of the sessions. *began: statuses are set. */
static sm_status generate_marked(texts *all, const sm_batch_text *given, sm_status *statuses,
                                 uint32_t process, bool *began, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_batch_text, session), {0, 0, 0}};
    sm_status status = sm_batch_check_count(all->batch, all->n, error);
    if (!status)
        status = reserve(all, error);
    if (!status)
        status = sm_structs_take(all->items, sizeof *all->items, wide, given, all->n,
                                 "sm_batch_text", error);
    if (!status)
        status = check(all, error);
    while (!status && all->n_marked < all->n) {
        status = sm_use_begin(&all->items[all->n_marked].session->use, process, "session", error);
        all->n_marked += !status;
    }
    *began = !status;
    if (!status)
        status = generate(all, error);
    for (uint64_t i = 0; statuses && *began && i < all->n; i++)
        statuses[i] = all->all[i].status;
    let_go(all);
    return status;
}

sm_status sm_batch_generate(sm_batch *b, const sm_batch_text *items, uint64_t n_items,
                            sm_status *statuses, sm_error *error) {
    if (!b || (!items && n_items))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_generate: batch or items is NULL");
    texts all = {.batch = b, .n = n_items};
    bool began = false;
    const uint32_t process = sm_process_id();
    sm_status status = sm_use_begin(&b->use, process, "batch", error);
    if (!status) {
        /* the last session may go, and the user's hold on the batch */
        atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
        if (n_items)
            status = generate_marked(&all, items, statuses, process, &began, error);
        sm_batch_end(b);
        sm_batch_release(b);
    }
    for (uint64_t i = 0; statuses && !began && i < n_items; i++)
        statuses[i] = status;
    return status;
}
