/* What a model thought of tokens that were given to it, a prompt's for instance, before each
 * came. */
#include "run.h"

#include <math.h>

#define ROW_BYTES (64u << 20) /* of logits at a time */
#define LEAST_ROWS 16u

/* Tokens fed at a time. */
static uint32_t at_once(const sm_session *s) {
    const uint32_t fit = ROW_BYTES / (4 * s->model->net->config.n_vocab);
    return min_u32(fit > LEAST_ROWS ? fit : LEAST_ROWS, s->batch->n_batch);
}

/* Tells of a token, by the logits before it; NULL: there are none. */
static sm_status tell(const sm_session *s, const float *logits, uint32_t position,
                      sm_thought *thought, const sm_thoughts *to, sm_error *error) {
    thought->logprob = NAN;
    thought->n_top = 0;
    if (logits) {
        const sm_status status = sm_logits_check(s->model, logits, position, error);
        if (status)
            return status;
        thought->logprob = sm_logprob(s->batch->sampler, logits, thought->id);
        thought->n_top = sm_top_logprobs(s->batch->sampler, logits, thought->top, to->n_top);
    }
    return to->told(to->user, thought, error);
}

/* Feeds tokens that fit `rows`, and tells of them. */
static sm_status feed_some(sm_session *s, const int32_t *ids, uint32_t n, float *rows,
                           const sm_thoughts *to, sm_error *error) {
    const uint64_t n_vocab = s->model->net->config.n_vocab;
    const uint32_t position = s->length;
    sm_thought thought = {.id = ids[0]};
    sm_status status = tell(s, s->has_logits ? s->logits : NULL, position, &thought, to, error);
    if (!status)
        status = sm_session_feed_marked(s, ids, n, rows, error);
    for (uint32_t i = 1; i < n && !status; i++) {
        thought.id = ids[i];
        status = tell(s, rows + (i - 1) * n_vocab, position + i, &thought, to, error);
    }
    return status;
}

sm_status sm_session_feed_thoughts(sm_session *s, const int32_t *ids, uint64_t n,
                                   const sm_thoughts *to, sm_error *error) {
    sm_status status = sm_batch_check(s, ids, n, s->length, error);
    if (status)
        return status;
    if (s->length && !s->has_logits)
        return sm_fail(error, SM_ERR_STATE,
                       "there are no logits before the first token: the session was rewound");
    const uint32_t most = at_once(s);
    float *rows =
        sm_alloc_array(s->mem, (uint64_t)most * s->model->net->config.n_vocab, sizeof *rows);
    if (!rows)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for the logits of %u tokens", most);
    for (uint64_t at = 0; at < n && !status; at += most)
        status = feed_some(s, ids + at, (uint32_t)min_u64(n - at, most), rows, to, error);
    sm_free(s->mem, rows);
    return status;
}

/* ---- into arrays (echo.c) -------------------------------------------------------------------- */

typedef struct arrays {
    double *logprobs;
    sm_token_logprob *top;
    uint32_t n_top;
} arrays;

static sm_status put(void *user, const sm_thought *t, sm_error *error) {
    arrays *to = user;
    (void)error;
    *to->logprobs++ = t->logprob;
    for (uint32_t i = 0; i < to->n_top; i++)
        *to->top++ = i < t->n_top ? t->top[i] : (sm_token_logprob){.id = -1, .logprob = NAN};
    return SM_OK;
}

static sm_status feed_logprobs(sm_session *s, const int32_t *ids, uint64_t n, arrays *to,
                               sm_error *error) {
    const uint32_t length = s->length;
    const sm_thoughts thoughts = {put, to, to->n_top};
    sm_error why = {0};
    const sm_status status = sm_session_feed_thoughts(s, ids, n, &thoughts, &why);
    if (!status)
        return SM_OK;
    if (status != SM_ERR_CANCELLED && s->length > length)
        sm_session_rewind_marked(s, length, NULL);
    return sm_fail(error, status, "%s", why.message);
}

sm_status sm_session_feed_logprobs(sm_session *s, const int32_t *ids, uint64_t n, uint32_t n_top,
                                   double *logprobs, sm_token_logprob *top, sm_error *error) {
    if (!s || ((!ids || !logprobs) && n) || (!top && n_top))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_session_feed_logprobs: session, ids, logprobs or top is NULL");
    if (n_top > SM_MAX_LOGPROBS)
        return sm_fail(error, SM_ERR_ARGUMENT, "n_top is %u, more than %u", n_top, SM_MAX_LOGPROBS);
    arrays to = {logprobs, top, n_top};
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = feed_logprobs(s, ids, n, &to, error);
    sm_session_end(s);
    return status;
}
