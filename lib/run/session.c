#include "run.h"

#include <string.h>

#define DEFAULT_CONTEXT 4096u
#define DEFAULT_THREADS 8u
/* Tokens whose logits are staged at a time where they cannot go straight to the
 * caller. */
#define STAGED 64u

static uint64_t pad16(uint64_t n) {
    return (n + 15) / 16 * 16;
}
static uint32_t n_vocab(const sm_session *s) {
    return s->model->net->config.n_vocab;
}

static const uint32_t kv_types[] = {
    [SM_KV_TYPE_F16] = SM_KV_F16,
    [SM_KV_TYPE_F32] = SM_KV_F32,
    [SM_KV_TYPE_BF16] = SM_KV_BF16,
    [SM_KV_TYPE_Q8_0] = SM_KV_Q8_0,
};

/* A session of given sizes, everything taken from the model's memory. */
static sm_status create(sm_session **out, const sm_model *model, uint32_t n_ctx, uint32_t n_threads,
                        uint32_t n_batch, uint32_t kv_type, bool pin, sm_error *error) {
    sm_mem *mem = model->mem;
    sm_session *s = sm_alloc_zero(mem, sizeof *s);
    if (!s)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a session");
    sm_model_retain(model);
    s->model = model;
    s->mem = mem;
    s->adapters.adapter = s->adapter;
    s->adapters.scale = s->adapter_scale;
    s->n_ctx = n_ctx;
    s->n_batch = n_batch;
    const uint64_t vocab = n_vocab(s);
    sm_status status = sm_kv_init(&s->kv, mem, &model->net->config, kv_type, n_ctx, error);
    if (!status)
        status = sm_workspace_new(&s->workspace, mem, model->net, n_threads, n_batch, n_ctx, error);
    if (!status) {
        s->ids = sm_alloc_array(mem, n_ctx, sizeof *s->ids);
        s->logits = sm_alloc_array(mem, pad16(vocab), sizeof *s->logits);
        s->sampler.logits = sm_alloc_array(mem, vocab, sizeof *s->sampler.logits);
        s->sampler.candidates = sm_alloc_array(mem, vocab, sizeof *s->sampler.candidates);
        s->sampler.counts = sm_alloc_zero(mem, vocab * sizeof *s->sampler.counts);
        if (!s->ids || !s->logits || !s->sampler.logits || !s->sampler.candidates ||
            !s->sampler.counts)
            status =
                sm_fail(error, SM_ERR_NOMEM, "out of memory for a session of %u tokens", n_ctx);
    }
    if (!status && model->tokenizer)
        /* generated text continues a prompt: its leading space counts */
        status = sm_detokenizer_new(&s->detokenizer, model->tokenizer, SM_DECODE_KEEP_SPACE, error);
    if (!status)
        status = sm_team_new(&s->team, mem, n_threads, error);
    if (!status && pin)
        status = sm_team_pin(s->team, error);
    if (status) {
        sm_session_free(s);
        return status;
    }
    sm_team_set_barrier_ns(s->team, SM_TEAM_MEASURE);
    *out = s;
    return SM_OK;
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
    const uint32_t trained = model->net->config.n_ctx_train;
    const uint32_t n_ctx = o.n_ctx                     ? o.n_ctx
                           : trained < DEFAULT_CONTEXT ? trained
                                                       : DEFAULT_CONTEXT;
    uint32_t n_threads = o.n_threads;
    if (!n_threads) {
        const uint32_t cpus = sm_cpu_count();
        n_threads = cpus < DEFAULT_THREADS ? cpus : DEFAULT_THREADS;
    }
    const uint32_t n_batch = o.n_batch < n_ctx ? o.n_batch : n_ctx;
    return create(out, model, n_ctx, n_threads, n_batch, kv_types[o.kv_type], o.pin != 0, error);
}

void sm_session_free(sm_session *s) {
    if (!s)
        return;
    sm_mem *mem = s->mem;
    sm_session_detach_all(s);
    sm_team_free(s->team);
    sm_detokenizer_free(s->detokenizer);
    sm_workspace_free(s->workspace);
    sm_kv_free(&s->kv, mem);
    sm_free(mem, s->ids);
    sm_free(mem, s->logits);
    sm_free(mem, s->all_logits);
    sm_free(mem, s->sampler.logits);
    sm_free(mem, s->sampler.candidates);
    sm_free(mem, s->sampler.counts);
    sm_free(mem, s->pending);
    sm_model *model = (sm_model *)(uintptr_t)s->model;
    sm_free(mem, s);
    sm_model_free(model);
}

sm_status sm_session_fork(sm_session **out, const sm_session *s, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_fork: out is NULL");
    *out = NULL;
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_fork: session is NULL");
    sm_session *copy;
    sm_status status = create(&copy, s->model, s->n_ctx, sm_team_size(s->team), s->n_batch,
                              s->kv.type, sm_team_pinned(s->team), error);
    if (status)
        return status;
    for (uint32_t i = 0; i < s->adapters.n && !status; i++)
        status = sm_session_attach(copy, s->attached[i], (double)s->adapter_scale[i], error);
    if (status) {
        sm_session_free(copy);
        return status;
    }
    sm_kv_copy(&copy->kv, &s->kv, s->length);
    memcpy(copy->ids, s->ids, s->length * sizeof *s->ids);
    copy->length = s->length;
    copy->has_logits = s->has_logits;
    if (s->has_logits)
        memcpy(copy->logits, s->logits, n_vocab(s) * sizeof *s->logits);
    *out = copy;
    return SM_OK;
}

uint32_t sm_session_length(const sm_session *s) {
    return s ? s->length : 0;
}
uint32_t sm_session_capacity(const sm_session *s) {
    return s ? s->n_ctx : 0;
}
uint32_t sm_session_threads(const sm_session *s) {
    return s ? sm_team_size(s->team) : 0;
}

int32_t sm_session_token(const sm_session *s, uint32_t i) {
    return s && i < s->length ? s->ids[i] : -1;
}

sm_status sm_session_set_cancel(sm_session *s, sm_cancel_fn cancel, void *user, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_set_cancel: session is NULL");
    s->cancel = cancel;
    s->cancel_user = user;
    return SM_OK;
}

static sm_status check_ids(const sm_session *s, const int32_t *ids, uint64_t n, uint32_t held,
                           sm_error *error) {
    if (!ids && n)
        return sm_fail(error, SM_ERR_ARGUMENT, "ids is NULL but n is %llu", (unsigned long long)n);
    if (n > s->n_ctx - held)
        return sm_fail(error, SM_ERR_CONTEXT_FULL,
                       "%llu tokens do not fit: the session holds %u of %u", (unsigned long long)n,
                       held, s->n_ctx);
    for (uint64_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab(s))
            return sm_fail(error, SM_ERR_TOKEN, "token id %d at index %llu is not in 0..%u", ids[i],
                           (unsigned long long)i, n_vocab(s) - 1);
    return SM_OK;
}

/* Computes the next n (<= n_batch) tokens; logits of the last `outputs` (<= STAGED) of
 * them go to `logits` with stride ldl. On failure the session is as before. */
static sm_status compute(sm_session *s, const int32_t *ids, uint32_t n, uint32_t outputs,
                         float *logits, uint64_t ldl, sm_error *error) {
    const sm_span span = {&s->kv, 0, n, s->length};
    uint32_t wanted[STAGED];
    for (uint32_t i = 0; i < outputs; i++)
        wanted[i] = n - outputs + i;
    const sm_batch batch = {.n_tokens = n,
                            .ids = ids,
                            .n_spans = 1,
                            .spans = &span,
                            .n_outputs = outputs,
                            .outputs = wanted,
                            .logits = logits,
                            .ldl = ldl,
                            .adapters = s->adapters.n ? &s->adapters : NULL,
                            .cancel = s->cancel,
                            .cancel_user = s->cancel_user,
                            .observer = s->observer};
    if (sm_forward(s->workspace, s->team, &batch))
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled after %u tokens", s->length);
    memcpy(s->ids + s->length, ids, n * sizeof *ids);
    s->length += n;
    return SM_OK;
}

sm_status sm_session_feed(sm_session *s, const int32_t *ids, uint64_t n, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_feed: session is NULL");
    sm_status status = check_ids(s, ids, n, s->length, error);
    if (!status && n)
        status = sm_model_prepare(s->model, s->team, s->cancel, s->cancel_user, error);
    while (!status && n) {
        const uint32_t step = n < s->n_batch ? (uint32_t)n : s->n_batch;
        const bool last = step == n;
        status = compute(s, ids, step, last, s->logits, pad16(n_vocab(s)), error);
        if (!status)
            s->has_logits = last;
        ids += step;
        n -= step;
    }
    return status;
}

sm_status sm_session_feed_logits(sm_session *s, const int32_t *ids, uint64_t n, float *logits,
                                 sm_error *error) {
    if (!s || (!logits && n))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_feed_logits: session or logits is NULL");
    sm_status status = check_ids(s, ids, n, s->length, error);
    if (!status && n)
        status = sm_model_prepare(s->model, s->team, s->cancel, s->cancel_user, error);
    const uint64_t vocab = n_vocab(s), ldl = pad16(vocab);
    if (!status && n && !s->all_logits) {
        s->all_logits = sm_alloc_array(s->mem, STAGED * ldl, sizeof *s->all_logits);
        if (!s->all_logits)
            status =
                sm_fail(error, SM_ERR_NOMEM, "out of memory for the logits of %u tokens", STAGED);
    }
    while (!status && n) {
        uint32_t step = n < STAGED ? (uint32_t)n : STAGED;
        step = step < s->n_batch ? step : s->n_batch;
        status = compute(s, ids, step, step, s->all_logits, ldl, error);
        if (status)
            break;
        for (uint32_t i = 0; i < step; i++)
            memcpy(logits + i * vocab, s->all_logits + i * ldl, vocab * sizeof *logits);
        memcpy(s->logits, s->all_logits + (step - 1) * ldl, vocab * sizeof *logits);
        s->has_logits = true;
        logits += step * vocab;
        ids += step;
        n -= step;
    }
    return status;
}

sm_status sm_session_rewind(sm_session *s, uint32_t length, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_rewind: session is NULL");
    if (length > s->length)
        return sm_fail(error, SM_ERR_ARGUMENT, "cannot rewind to %u: the session holds %u tokens",
                       length, s->length);
    if (length < s->length)
        s->has_logits = false;
    s->length = length;
    return SM_OK;
}

sm_status sm_session_sync(sm_session *s, const int32_t *ids, uint64_t n, uint64_t *reused,
                          sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_sync: session is NULL");
    sm_status status = check_ids(s, ids, n, 0, error);
    if (status)
        return status;
    uint32_t common = 0;
    while (common < s->length && common < n && s->ids[common] == ids[common])
        common++;
    /* the last token is computed again unless its logits are still here */
    if (common == n && n && !(s->has_logits && s->length == n))
        common--;
    sm_session_rewind(s, common, NULL);
    if (reused)
        *reused = common;
    return sm_session_feed(s, ids + common, n - common, error);
}

sm_status sm_session_logits(const sm_session *s, const float **logits, sm_error *error) {
    if (!s || !logits)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_logits: session or logits is NULL");
    *logits = NULL;
    if (!s->has_logits)
        return sm_fail(error, SM_ERR_STATE, "there are no logits: feed the session a token first");
    *logits = s->logits;
    return SM_OK;
}

sm_status sm_session_sample(sm_session *s, const sm_sampling *sampling, int32_t *id,
                            double *logprob, sm_error *error) {
    if (!s || !id)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_sample: session or id is NULL");
    sm_sampling o;
    sm_status status = sm_sampling_take(&o, sampling, n_vocab(s), error);
    const float *logits;
    if (!status)
        status = sm_session_logits(s, &logits, error);
    if (status)
        return status;
    const sm_kernels *kernels = s->model->net->kernels;
    status = sm_sample(id, &s->sampler, kernels, &o, logits, n_vocab(s), s->ids, s->length, error);
    if (!status && logprob)
        *logprob = sm_logprob(kernels, logits, n_vocab(s), *id);
    return status;
}

sm_status sm_session_get_stats(const sm_session *s, sm_generate_stats *stats, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_get_stats: session is NULL");
    return sm_struct_give(stats, &s->stats, sizeof s->stats, "sm_session_get_stats", error);
}
