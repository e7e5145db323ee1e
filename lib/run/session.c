/* session.c - a sequence that users hold: feeding, logits, rewinding, forking. */
#include "run.h"

#include <string.h>

static uint32_t n_vocab(const sm_session *s) {
    return s->model->net->config.n_vocab;
}

static const uint32_t kv_types[] = {
    [SM_KV_TYPE_F16] = SM_KV_F16,       [SM_KV_TYPE_F32] = SM_KV_F32,
    [SM_KV_TYPE_BF16] = SM_KV_BF16,     [SM_KV_TYPE_Q8_0] = SM_KV_Q8_0,
    [SM_KV_TYPE_Q4_0] = SM_KV_Q4_0,     [SM_KV_TYPE_Q5_0] = SM_KV_Q5_0,
    [SM_KV_TYPE_IQ4_NL] = SM_KV_IQ4_NL,
};

sm_status sm_session_make(sm_session **out, sm_batch *batch, const sm_session_options *o,
                          sm_error *error) {
    const sm_model *model = batch->model;
    sm_mem *mem = batch->mem;
    sm_session *s = sm_alloc_zero(mem, sizeof *s);
    if (!s) {
        sm_batch_release(batch);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a session");
    }
    s->model = model;
    s->mem = mem;
    s->adapters.adapter = s->adapter;
    s->adapters.scale = s->adapter_scale;
    s->batch = batch;
    s->n_ctx = o->n_ctx;
    s->kv_type = o->kv_type;
    s->kv_keep = o->kv_keep;
    s->flag = sm_cancel_retain(o->cancel_flag);
    s->ask.flag = s->flag;
    s->cancel = sm_asks(&s->ask);
    s->cancel_user = &s->ask;
    sm_status status = sm_state_init(&s->state, mem, model->net, kv_types[o->kv_type], o->n_ctx,
                                     o->kv_keep == SM_KV_KEEP_WINDOW ? batch->n_batch : 0, error);
    if (!status) {
        s->ids = sm_alloc_array(mem, o->n_ctx, sizeof *s->ids);
        s->logits = sm_alloc_array(mem, n_vocab(s), sizeof *s->logits);
        if (!s->ids || !s->logits)
            status =
                sm_fail(error, SM_ERR_NOMEM, "out of memory for a session of %u tokens", o->n_ctx);
    }
    if (!status && model->tokenizer)
        /* generated text continues a prompt: its leading space counts */
        status = sm_detokenizer_new(&s->detokenizer, model->tokenizer, SM_DECODE_KEEP_SPACE, error);
    if (status) {
        sm_session_free(s);
        return status;
    }
    *out = s;
    return SM_OK;
}

/* A session with a batch of its own. */
static sm_status make_alone(sm_session **out, const sm_model *model, const sm_session_options *o,
                            sm_error *error) {
    const sm_batch_options alone = {.n_threads = o->n_threads,
                                    .n_sequences = 1,
                                    .n_batch = min_u32(o->n_batch, o->n_ctx),
                                    .n_ctx = o->n_ctx,
                                    .pin = o->pin};
    sm_batch *batch;
    const sm_status status = sm_batch_make(&batch, model, &alone, false, error);
    return status ? status : sm_session_make(out, batch, o, error);
}

sm_status sm_session_new(sm_session **out, const sm_model *model, const sm_session_options *options,
                         sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_new: out is NULL");
    *out = NULL;
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_new: model is NULL");
    sm_session_options o;
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_SESSION, error);
    if (status)
        return status;
    o.n_ctx = sm_default_context(model, o.n_ctx);
    return make_alone(out, model, &o, error);
}

sm_status sm_batch_new_session(sm_session **out, sm_batch *batch, const sm_session_options *options,
                               sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_new_session: out is NULL");
    *out = NULL;
    if (!batch)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_batch_new_session: batch is NULL");
    sm_session_options o;
    sm_status status = sm_struct_take(&o, sizeof o, NULL, options, "sm_session_options", error);
    if (!status && (o.n_threads || o.n_batch || o.pin))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "option %s is set: a session of a batch computes with what the batch has",
                       o.n_threads ? "n_threads"
                       : o.n_batch ? "n_batch"
                                   : "pin");
    if (!status)
        status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_SESSION, error);
    if (status)
        return status;
    if (o.n_ctx > batch->n_ctx)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_ctx is %u, more than the batch's %u",
                       o.n_ctx, batch->n_ctx);
    status = sm_use_begin(&batch->use, sm_process_id(), "batch", error);
    if (status)
        return status;
    atomic_fetch_add_explicit(&batch->references, 1, memory_order_relaxed);
    o.n_ctx = o.n_ctx ? o.n_ctx : batch->n_ctx;
    status = sm_session_make(out, batch, &o, error);
    sm_batch_end(batch);
    return status;
}

sm_status sm_session_begin(const sm_session *session, sm_error *error) {
    sm_session *s = (sm_session *)(uintptr_t)session; /* a mark is no change that callers see */
    sm_batch *b = s->batch;
    const uint32_t process = sm_process_id();
    sm_status status = b->shared ? sm_use_begin(&b->use, process, "session's batch", error) : SM_OK;
    if (status)
        return status;
    status = sm_use_begin(&s->use, process, "session", error);
    if (status && b->shared)
        sm_batch_end(b);
    return status;
}

void sm_session_end(const sm_session *session) {
    sm_session *s = (sm_session *)(uintptr_t)session;
    if (s->batch->shared)
        sm_batch_end(s->batch); /* which the session still holds */
    if (sm_use_end(&s->use))
        sm_session_free(s);
}

void sm_session_free(sm_session *s) {
    if (!s || !sm_use_free(&s->use))
        return;
    sm_mem *mem = s->mem;
    sm_adapter_take_all(s);
    sm_batch *batch = s->batch;
    sm_detokenizer_free(s->detokenizer);
    sm_ahead_free(s);
    sm_state_free(&s->state, mem);
    sm_free(mem, s->ids);
    sm_free(mem, s->logits);
    sm_free(mem, s->trail.at);
    sm_free(mem, s->marked);
    sm_breaker_cache_free(&s->breakers, mem);
    sm_free(mem, s->pending);
    sm_free(mem, s->silent);
    sm_cancel_free(s->flag);
    sm_free(mem, s);
    sm_batch_release(batch);
}

static int32_t ask_session(void *user, uint64_t done, uint64_t total) {
    const sm_session *s = user;
    (void)done;
    (void)total;
    return s->cancel && s->cancel(s->cancel_user);
}

static sm_status make_copy(sm_session **out, const sm_session *s, const sm_fork_options *how,
                           sm_error *error) {
    const sm_session_options o = {.n_ctx = s->n_ctx,
                                  .n_threads = how->n_threads ? how->n_threads
                                                              : sm_team_size(s->batch->team),
                                  .n_batch = s->batch->n_batch,
                                  .kv_type = s->kv_type,
                                  .kv_keep = s->kv_keep,
                                  .cancel_flag = how->cancel_flag,
                                  .pin = sm_team_pinned(s->batch->team)};
    sm_session *copy;
    sm_status status;
    if (s->batch->shared) {
        atomic_fetch_add_explicit(&s->batch->references, 1, memory_order_relaxed);
        status = sm_session_make(&copy, s->batch, &o, error);
    } else {
        status = make_alone(&copy, s->model, &o, error);
    }
    if (status)
        return status;
    for (uint32_t i = 0; i < s->adapters.n && !status; i++)
        status = sm_adapter_put(copy, s->attached[i], (double)s->adapter_scale[i], error);
    if (status) {
        sm_session_free(copy);
        return status;
    }
    if (!sm_state_copy(&copy->state, &s->state, s->length,
                       &(sm_hook){ask_session, (void *)(uintptr_t)s})) {
        sm_session_free(copy);
        return sm_fail(error, SM_ERR_CANCELLED, "copying the session was cancelled");
    }
    memcpy(copy->ids, s->ids, s->length * sizeof *s->ids);
    copy->kept = s->kept;
    copy->dropped = s->dropped;
    copy->gone = s->gone;
    copy->gone_at = s->gone_at;
    copy->length = s->length;
    status = sm_trail_copy(copy, s, error);
    if (status) {
        sm_session_free(copy);
        return status;
    }
    copy->has_logits = s->has_logits;
    if (s->has_logits)
        memcpy(copy->logits, s->logits, n_vocab(s) * sizeof *s->logits);
    *out = copy;
    return SM_OK;
}

sm_status sm_session_fork(sm_session **out, const sm_session *s, const sm_fork_options *options,
                          sm_error *error) {
    sm_fork_options o;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_fork: out is NULL");
    *out = NULL;
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_fork: session is NULL");
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_FORK, error);
    if (!status && o.n_threads && s->batch->shared)
        status =
            sm_fail(error, SM_ERR_ARGUMENT,
                    "sm_fork_options.n_threads is set: a session of a batch computes with what "
                    "the batch has");
    if (!status)
        status = sm_session_begin(s, error);
    if (status)
        return status;
    status = make_copy(out, s, &o, error);
    sm_session_end(s);
    return status;
}

uint32_t sm_session_length(const sm_session *s) {
    return s ? s->length : 0;
}
uint64_t sm_session_read_bytes(const sm_session *s, uint32_t position) {
    return s && position < s->n_ctx
               ? (uint64_t)sm_state_read_bytes(&s->state, s->model->net, position, 1)
               : 0;
}

sm_status sm_session_get_info(const sm_session *s, sm_session_info *info, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_session_info, cache_bytes), {0, 0, 0}};
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_get_info: session is NULL");
    const sm_session_info now = {.length = s->length,
                                 .n_ctx = s->n_ctx,
                                 .n_threads = sm_team_size(s->batch->team),
                                 .n_batch = s->batch->n_batch,
                                 .kv_type = s->kv_type,
                                 .kv_keep = s->kv_keep,
                                 .n_vocab = (int32_t)n_vocab(s),
                                 .cache_bytes = s->state.bytes};
    return sm_struct_give(info, &now, sizeof now, wide, "sm_session_info", error);
}

sm_status sm_session_tokens(const sm_session *s, uint32_t begin, int32_t *ids, uint64_t capacity,
                            uint64_t *n, sm_error *error) {
    if (n)
        *n = 0;
    if (!s || (!ids && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_tokens: session or ids is NULL");
    const uint32_t length = s->length;
    const uint64_t count = begin < length ? min_u64(length - begin, capacity) : 0;
    for (uint64_t i = 0; i < count; i++)
        ids[i] = __atomic_load_n(&s->ids[begin + i], __ATOMIC_RELAXED);
    if (n)
        *n = count;
    return SM_OK;
}

sm_status sm_session_set_cancel(sm_session *s, sm_cancel_fn cancel, void *user, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_set_cancel: session is NULL");
    const sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    s->ask.cancel = cancel;
    s->ask.user = user;
    s->cancel = sm_asks(&s->ask);
    sm_session_end(s);
    return SM_OK;
}

void sm_session_call_flag(sm_session *s, const sm_cancel *flag) {
    s->ask.call_flag = flag;
    s->cancel = sm_asks(&s->ask);
}

static sm_status go_back(sm_session *s, uint32_t length, sm_error *error);

/* Feeds checked ids, n_batch at a time; logits may be NULL. */
static sm_status feed(sm_session *s, const int32_t *ids, uint64_t n, float *logits,
                      sm_error *error) {
    sm_batch *b = s->batch;
    sm_status status = SM_OK;
    sm_error why;
    const uint32_t length = s->length;
    const bool had_logits = s->has_logits;
    while (!status && n) {
        const uint64_t step = n < b->n_batch ? n : b->n_batch;
        const sm_batch_item item = {.session = s, .ids = ids, .n_ids = step, .logits = logits};
        status = sm_batch_compute(b, &item, 1, step < n, s->cancel, s->cancel_user, &why);
        if (logits && !status)
            logits += step * n_vocab(s);
        ids += step;
        n -= step;
    }
    if (status == SM_ERR_CANCELLED)
        return sm_fail(error, status, "%s after %u tokens", why.message, s->length);
    if (status) { /* the caller's logits were copied after each batch */
        const bool logits_stay = had_logits && (!logits || s->length == length);
        if (s->length > length && go_back(s, length, NULL))
            return sm_fail(error, status, "%s; the session holds %u tokens", why.message,
                           s->length);
        s->has_logits = logits_stay;
        return sm_fail(error, status, "%s", why.message);
    }
    return SM_OK;
}

/* To a length that the session has had; where the state cannot go back that far, tokens are
 * computed again. */
static sm_status go_back(sm_session *s, uint32_t length, sm_error *error) {
    s->length = sm_state_rewinds_to(&s->state, s->length, length);
    return s->length < length ? feed(s, s->ids + s->length, length - s->length, NULL, error)
                              : SM_OK;
}

sm_status sm_session_feed_marked(sm_session *s, const int32_t *ids, uint64_t n, float *logits,
                                 sm_error *error) {
    const sm_status status = sm_batch_check(s, ids, n, s->length, error);
    return status ? status : feed(s, ids, n, logits, error);
}

sm_status sm_session_feed(sm_session *s, const int32_t *ids, uint64_t n, sm_error *error) {
    if (!s || (!ids && n))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_feed: session or ids is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sm_session_feed_marked(s, ids, n, NULL, error);
    sm_session_end(s);
    return status;
}

sm_status sm_session_feed_logits(sm_session *s, const int32_t *ids, uint64_t n, float *logits,
                                 uint64_t capacity, sm_error *error) {
    if (!s || ((!ids || !logits) && n))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_session_feed_logits: session, ids or logits is NULL");
    if (n > capacity / n_vocab(s))
        return sm_fail(
            error, SM_ERR_BUFFER,
            "sm_session_feed_logits: room for %llu floats, too few for %llu tokens of %u",
            (unsigned long long)capacity, (unsigned long long)n, n_vocab(s));
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sm_session_feed_marked(s, ids, n, logits, error);
    sm_session_end(s);
    return status;
}

void sm_session_lose(sm_session *s, uint32_t at, uint64_t n) {
    s->gone_at = s->gone ? min_u32(s->gone_at, at) : at;
    s->gone += n;
}

void sm_session_unlose(sm_session *s, uint32_t length) {
    if (length <= s->gone_at)
        s->gone = 0;
}

sm_status sm_session_rewind_marked(sm_session *s, uint32_t length, sm_error *error) {
    if (length > s->length)
        return sm_fail(error, SM_ERR_ARGUMENT, "cannot rewind to %u: the session holds %u tokens",
                       length, s->length);
    if (length == s->length)
        return SM_OK;
    const uint32_t known = min_u32(s->trail.end, length);
    const sm_status status = go_back(s, length, error);
    s->trail.end = status ? min_u32(known, s->length) : known; /* of these tokens it stays */
    s->has_logits = false;
    sm_session_unlose(s, status ? min_u32(length, s->length) : length);
    return status;
}

sm_status sm_session_rewind(sm_session *s, uint32_t length, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_rewind: session is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sm_session_rewind_marked(s, length, error);
    sm_session_end(s);
    return status;
}

sm_status sm_session_sync_marked(sm_session *s, const int32_t *ids, uint64_t n, uint64_t *reused,
                                 sm_error *error) {
    const sm_status status = sm_batch_check(s, ids, n, 0, error);
    if (status)
        return status;
    uint32_t common = 0;
    while (common < s->length && common < n && s->ids[common] == ids[common])
        common++;
    if (common < s->length)
        sm_session_unlose(s, common);
    /* the last token is computed again unless its logits are still here */
    if (common == n && n && !(s->has_logits && s->length == n))
        common--;
    const uint32_t known = min_u32(s->trail.end, common);
    s->trail.end = known;
    if (common < s->length) {
        common = sm_state_rewinds_to(&s->state, s->length, common);
        s->length = common;
        s->has_logits = false;
    }
    if (reused)
        *reused = common;
    const sm_status fed = sm_session_feed_marked(s, ids + common, n - common, NULL, error);
    s->trail.end = min_u32(known, s->length); /* computing tokens again does not change it */
    return fed;
}

sm_status sm_session_sync(sm_session *s, const int32_t *ids, uint64_t n, uint64_t *reused,
                          sm_error *error) {
    if (reused)
        *reused = 0;
    if (!s || (!ids && n))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_sync: session or ids is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sm_session_sync_marked(s, ids, n, reused, error);
    sm_session_end(s);
    return status;
}

/* ---- adapters: tokens were computed without it, or with it ----------------------------------- */

sm_status sm_session_attach(sm_session *s, const sm_adapter *a, double scale, sm_error *error) {
    if (!s || !a)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_attach: session or adapter is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sm_adapter_put(s, a, scale, error);
    if (!status)
        status = sm_session_rewind_marked(s, 0, error);
    sm_session_end(s);
    return status;
}

sm_status sm_session_detach(sm_session *s, const sm_adapter *a, sm_error *error) {
    if (!s || !a)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_detach: session or adapter is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sm_adapter_take(s, a, error);
    if (!status)
        status = sm_session_rewind_marked(s, 0, error);
    sm_session_end(s);
    return status;
}

static sm_status has_logits(const sm_session *s, sm_error *error) {
    return s->has_logits ? SM_OK
                         : sm_fail(error, SM_ERR_STATE,
                                   "there are no logits: feed the session a token first");
}

sm_status sm_session_logits(const sm_session *s, const float **logits, uint64_t *n,
                            sm_error *error) {
    if (logits)
        *logits = NULL;
    if (n)
        *n = 0;
    if (!s || !logits)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_logits: session or logits is NULL");
    sm_status status = has_logits(s, error);
    if (!status)
        status = sm_logits_check(s->model, s->logits, s->length, error);
    if (status)
        return status;
    *logits = s->logits;
    if (n)
        *n = n_vocab(s);
    return SM_OK;
}

static sm_status sample(sm_session *s, const sm_sampling *sampling, int32_t *id, sm_error *error) {
    sm_chain chain;
    sm_status status = sm_chain_take(&chain, sampling, n_vocab(s), error);
    if (!status)
        status = has_logits(s, error);
    const bool mirostat = !status && sm_chain_mirostat(&chain);
    const double before = mirostat ? sm_trail_mu(s) : 0;
    double mu = before;
    if (mirostat)
        status = sm_trail_reserve(s, error);
    if (!status)
        status = sm_session_choose(s, &chain, NULL, NULL, 0, mirostat ? &mu : NULL, id, error);
    if (!status && mirostat)
        sm_trail_put(s, *id, before, mu);
    return status;
}

/* What is told of a token that was chosen. */
static void describe(const sm_session *s, sm_choice *choice) {
    sm_sampler *sampler = s->batch->sampler;
    choice->logprob = sm_logprob(sampler, s->logits, choice->id);
    choice->rank = sm_rank(sampler, s->logits, choice->id);
    choice->n_top =
        choice->top ? sm_top_logprobs(sampler, s->logits, choice->top, (uint32_t)choice->n_top) : 0;
}

/* *logits with the chain's watermark, where it has one. */
static sm_status mark(sm_session *s, const sm_chain *chain, const float **logits, sm_error *error) {
    sm_watermark w;
    if (!chain->options.watermark || sm_first_not_finite(*logits, n_vocab(s)) < n_vocab(s))
        return SM_OK;
    const sm_status status = sm_watermark_take(&w, chain->options.watermark, error);
    if (status)
        return status;
    if (!s->marked)
        s->marked = sm_alloc_array(s->mem, n_vocab(s), sizeof *s->marked);
    if (!s->marked)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a watermark");
    memcpy(s->marked, *logits, n_vocab(s) * sizeof *s->marked);
    sm_watermark_mark(&w, s->marked, n_vocab(s), s->ids, s->length);
    *logits = s->marked;
    return SM_OK;
}

sm_status sm_session_choose(sm_session *s, const sm_chain *chain, const uint32_t *mask,
                            const int32_t *banned, uint64_t n_banned, double *mu, int32_t *id,
                            sm_error *error) {
    const float *given = chain->options.logits, *logits = given ? given : s->logits;
    const sm_breakers *breakers = NULL;
    sm_status status = mark(s, chain, &logits, error);
    if (!status)
        status = sm_breaker_cache_take(s, chain, &breakers, error);
    if (status)
        return status;
    const sm_draw draw = {.logits = logits,
                          .mask = mask ? mask : chain->options.mask,
                          .banned = banned,
                          .n_banned = n_banned,
                          .ids = s->ids,
                          .length = s->length,
                          .gone = s->gone,
                          .breakers = breakers,
                          .mu = mu};
    status = sm_sample(id, s->batch->sampler, chain, &draw, error);
    if (status == SM_ERR_FORMAT && given)
        return sm_fail(error, SM_ERR_ARGUMENT, "option logits: they are not all finite");
    return status == SM_ERR_FORMAT ? sm_logits_check(s->model, s->logits, s->length, error)
                                   : status;
}

static sm_status sample_into(sm_session *s, const sm_sampling *sampling, sm_choice *choice,
                             const sm_wide *wide, sm_error *error) {
    sm_choice c;
    sm_status status = sm_struct_take(&c, sizeof c, wide, choice, "sm_choice", error);
    if (!status && c.top && c.n_top > SM_MAX_LOGPROBS)
        status = sm_fail(error, SM_ERR_ARGUMENT, "sm_session_sample: n_top is %llu, more than %d",
                         (unsigned long long)c.n_top, SM_MAX_LOGPROBS);
    if (!status)
        status = sample(s, sampling, &c.id, error);
    if (status)
        return status;
    describe(s, &c);
    return sm_struct_give(choice, &c, sizeof c, wide, "sm_choice", error);
}

sm_status sm_session_sample(sm_session *s, const sm_sampling *sampling, sm_choice *choice,
                            sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_choice, logprob), {0, 0, 0}};
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_sample: session is NULL");
    sm_status status = sm_struct_check(choice, sizeof *choice, wide, "sm_choice", error);
    if (status)
        return status;
    choice->id = -1;
    status = sm_session_begin(s, error);
    if (status)
        return status;
    status = sample_into(s, sampling, choice, wide, error);
    sm_session_end(s);
    return status;
}

static const sm_wide stats_wide[] = {SM_WIDE_FROM(sm_generate_stats, prepare_seconds), {0, 0, 0}};

sm_status sm_session_get_stats(const sm_session *s, sm_generate_stats *stats, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_get_stats: session is NULL");
    return sm_struct_give(stats, &s->stats, sizeof s->stats, stats_wide, "sm_session_get_stats",
                          error);
}
