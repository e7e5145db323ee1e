/* Prompt in, streamed text out. */
#include "generation.h"

#include <math.h>
#include <string.h>

#define MAX_STOP_BYTES 1024
#define MOST_FORCED (65536 + 16)

/* That will be fed at most. */
static uint32_t tokens_left(const sm_generation *g) {
    const uint32_t most = g->o->max_tokens, done = g->s->stats.generated_tokens;
    return most ? most - done - 1 : UINT32_MAX;
}

/* ---- by a constraint (generate.c) ------------------------------------------------------------ */

static sm_status constrain_begin(sm_generation *g) {
    sm_constrained *by = &g->by;
    sm_session *s = g->s;
    if (!g->o->constraint)
        return SM_OK;
    if (g->o->heal)
        return sm_fail(g->error, SM_ERR_ARGUMENT,
                       "option constraint: not together with heal, which takes tokens back");
    const uint64_t words = sm_constraint_words(g->o->constraint);
    if (words != ((uint64_t)sm_tokenizer_n_vocab(s->model->tokenizer) + 31) / 32)
        return sm_fail(g->error, SM_ERR_ARGUMENT,
                       "option constraint: made for another vocabulary than the model's");
    by->n_words = max_u64(words, (s->model->net->config.n_vocab + 31) / 32);
    by->mask = sm_alloc_array(s->mem, by->n_words, sizeof *by->mask);
    by->forced = sm_alloc_array(s->mem, MOST_FORCED, sizeof *by->forced);
    g->fed = sm_alloc_array(s->mem, MOST_FORCED, sizeof *g->fed);
    if (!by->mask || !by->forced || !g->fed)
        return sm_fail(g->error, SM_ERR_NOMEM, "out of memory for a constraint");
    sm_status status = sm_constraint_state_new(&by->state, g->o->constraint, g->error);
    if (!status)
        status = sm_constraint_forced(by->state, by->forced, MOST_FORCED, &by->n_forced, g->error);
    return status;
}

static void constrain_end(sm_generation *g) {
    sm_constraint_state_free(g->by.state);
    sm_free(g->s->mem, g->by.mask);
    sm_free(g->s->mem, g->by.forced);
    sm_free(g->s->mem, g->fed);
}

static bool is_forced(const sm_constrained *by) {
    return by->at < by->n_forced;
}

/* Goes on behind a token, and looks what must follow. */
static sm_status constrain_accept(sm_generation *g, int32_t id) {
    sm_constrained *by = &g->by;
    sm_status status = sm_constraint_accept(by->state, id, g->error);
    if (!status && !is_forced(by)) {
        by->at = 0;
        status = sm_constraint_forced(by->state, by->forced, MOST_FORCED, &by->n_forced, g->error);
    }
    return status;
}

/* A token chosen by the logits, with what is told of it. */
static sm_status choose(sm_generation *g, const uint32_t *mask, sm_waiting *token) {
    sm_session *s = g->s;
    sm_bans *b = &g->bans;
    const bool early = s->stats.generated_tokens < g->o->min_tokens;
    sm_status status = sm_bans_at(b, s->mem, s->length, early, g->error);
    if (status)
        return status;
    const uint32_t n_banned = b->n_ids - b->first;
    status = sm_session_choose(s, &g->chain, mask, n_banned ? b->ids + b->first : NULL, n_banned,
                               &g->mu, &token->id, g->error);
    if (status)
        return status;
    token->logprob = sm_logprob(s->batch->sampler, s->logits, token->id);
    token->n_top = sm_top_logprobs(s->batch->sampler, s->logits, token->top, g->o->n_logprobs);
    return SM_OK;
}

/* The next token: a forced one, or a chosen one. */
static sm_status next_token(sm_generation *g, sm_waiting *token) {
    sm_constrained *by = &g->by;
    token->position = g->s->length;
    token->mu = g->mu;
    token->logprob = 0;
    token->n_top = 0;
    if (is_forced(by)) {
        token->id = by->forced[by->at++];
        return constrain_accept(g, token->id);
    }
    const uint32_t *mask =
        by->state ? by->mask : sm_heal_mask(g->s, &g->heal, g->chain.options.mask);
    sm_status status = SM_OK;
    if (by->state)
        status = sm_constraint_mask(by->state, by->mask, by->n_words, g->error);
    if (!status)
        status = choose(g, mask, token);
    return status || !by->state ? status : constrain_accept(g, token->id);
}

/* ---- the loop (generate.c) ------------------------------------------------------------------ */

/* Feeds tokens that were chosen one after the other without logits. */
static sm_status feed_together(sm_generation *g, uint32_t n) {
    sm_session *s = g->s;
    sm_status status = SM_OK;
    if (n > 1 && !s->ahead.most)
        return sm_session_feed_marked(s, g->fed, n, NULL, g->error);
    for (uint32_t i = 0; i < n && !status; i++)
        status = sm_ahead_feed(s, &g->chain, g->fed[i], tokens_left(g), g->error);
    return status;
}

/* The end: the session gets all tokens but the last. */
static sm_status finish(sm_generation *g, uint32_t how, int32_t last) {
    g->s->stats.finish = how;
    const sm_status status = g->n_fed > 1 ? feed_together(g, g->n_fed - 1) : SM_OK;
    return status || g->stopped ? status : sm_generation_flush(g, last);
}

/* Whether it ends behind the token that was just delivered: SM_FINISH_…, 0: it goes on. */
static uint32_t ends_here(const sm_generation *g) {
    const sm_session *s = g->s;
    if (g->stopped)
        return SM_FINISH_STOP;
    if (g->by.state && !is_forced(&g->by) && sm_constraint_ended(g->by.state))
        return SM_FINISH_END;
    if (g->o->max_tokens && s->stats.generated_tokens == g->o->max_tokens)
        return SM_FINISH_LENGTH;
    const uint32_t held = s->length + (g->n_fed ? g->n_fed - 1 : 0);
    return held == s->n_ctx && g->policy.kind == SM_CONTEXT_STOP ? SM_FINISH_CONTEXT : 0;
}

/* Takes a chosen token in: whether another one has to be chosen, or the text ends with it. */
static sm_status take(sm_generation *g, sm_waiting *token, bool *again, bool *ended) {
    sm_session *s = g->s;
    const bool ends = !g->o->ignore_end || g->by.state;
    const int32_t id = token->id;
    sm_heal_take(s, &g->heal, id);
    if (!g->first) {
        g->first = sm_time_ns();
        s->stats.first_token_seconds = (double)(g->first - g->start) * 1e-9;
    }
    if (ends && sm_tokenizer_is_end(s->model->tokenizer, id)) {
        *ended = true;
        return finish(g, SM_FINISH_END, id);
    }
    s->stats.generated_tokens++;
    if (g->by.state)
        g->fed[g->n_fed++] = id;
    const sm_status status = sm_generation_deliver(g, token, again);
    const uint32_t end = status || *again ? 0 : ends_here(g);
    *ended = end != 0;
    return *ended ? finish(g, end, -1) : status;
}

/* Room for a token; those that wait stand elsewhere then. */
static sm_status make_room(sm_generation *g) {
    const sm_session *s = g->s;
    const uint64_t fulls = s->stats.context_fulls;
    const sm_policy *p = &g->policy;
    const sm_status status = sm_policy_room(g->s, &g->policy, g->error);
    if (s->stats.context_fulls == fulls)
        return status;
    if (p->kind == SM_CONTEXT_ASK) /* other tokens are there */
        sm_bans_drop(&g->bans, 0, s->n_ctx);
    else
        sm_bans_drop(&g->bans, p->n_keep, p->n_keep + p->n_drop);
    return status;
}

sm_status sm_generation_turn(sm_generation *g, int32_t *id, bool *ended) {
    const sm_session *s = g->s;
    *ended = g->by.state && !is_forced(&g->by) && sm_constraint_ended(g->by.state);
    if (*ended)
        return finish(g, SM_FINISH_END, -1);
    for (;;) {
        sm_waiting token;
        bool again = false;
        sm_status status = next_token(g, &token);
        if (!status)
            status = take(g, &token, &again, ended);
        if (status || *ended)
            return status;
        *id = token.id;
        if (again || (is_forced(&g->by) && s->length + g->n_fed < s->n_ctx))
            continue; /* these are fed together with what comes */
        return make_room(g);
    }
}

sm_status sm_generation_feed(sm_generation *g, int32_t id) {
    const sm_status status = g->n_fed
                                 ? feed_together(g, g->n_fed)
                                 : sm_ahead_feed(g->s, &g->chain, id, tokens_left(g), g->error);
    g->n_fed = 0;
    return status;
}

/* ---- a whole text (generate.c) --------------------------------------------------------------- */

static sm_status check_options(sm_generation *g) {
    const sm_generate_options *o = g->o;
    const sm_status status =
        sm_texts_take(g->stop, o->stop, o->n_stop, MAX_STOP_BYTES, "stop", g->error);
    if (!status && o->echo && o->heal)
        return sm_fail(g->error, SM_ERR_ARGUMENT,
                       "option echo goes without option heal, which takes tokens back");
    return status ? status : sm_bans_check(o, g->ban, g->error);
}

sm_status sm_generation_open(sm_generation *g, const sm_generate_options *options) {
    sm_session *s = g->s;
    sm_generate_options *o = &g->taken;
    if (!s->model->tokenizer)
        return sm_fail(g->error, SM_ERR_MISSING, "%s: no vocabulary (key 'tokenizer.ggml.model')",
                       s->model->source->path);
    g->o = o;
    g->mu = NAN;
    sm_status status = sm_options_take(o, sizeof *o, options, SM_OPTIONS_GENERATE, g->error);
    if (!status)
        status = check_options(g);
    if (!status)
        sm_session_call_flag(s, o->cancel_flag);
    if (!status)
        status = sm_chain_take(&g->chain, o->sampling, s->model->net->config.n_vocab, g->error);
    if (!status && g->chain.options.logits)
        status = sm_fail(g->error, SM_ERR_ARGUMENT,
                         "option logits is for tokens chosen one by one, not for whole texts");
    if (!status)
        status = sm_ahead_begin(s, o->speculate == SM_SPECULATE_NGRAM, o->draft, o->draft_tokens,
                                g->error);
    if (!status)
        status = sm_draft_begin(s, o->draft, g->error);
    g->opened = !status;
    if (status)
        sm_session_call_flag(s, NULL);
    if (!status)
        status = sm_policy_take(s, o, &g->policy, g->error);
    return status ? status : constrain_begin(g);
}

void sm_generation_close(sm_generation *g) {
    if (!g->opened)
        return;
    constrain_end(g);
    sm_policy_free(g->s, &g->policy);
    sm_bans_free(&g->bans, g->s->mem);
    sm_heal_free(g->s, &g->heal);
    sm_draft_end(g->s, g->o->draft);
    sm_session_call_flag(g->s, NULL);
}

sm_status sm_generation_begin(sm_generation *g, const sm_prompt *prompt) {
    sm_session *s = g->s;
    memset(&s->stats, 0, sizeof s->stats);
    s->pending_length = 0;
    sm_detokenizer_reset(s->detokenizer, NULL);
    g->control = prompt->control;
    g->start = sm_time_ns();
    const uint64_t repacked = s->batch->repack_ns;
    const sm_status status = sm_generation_feed_prompt(g, prompt);
    const uint64_t repack_ns = s->batch->repack_ns - repacked;
    s->stats.prepare_seconds = (double)repack_ns * 1e-9;
    s->stats.prompt_seconds = (double)(sm_time_ns() - g->start - repack_ns) * 1e-9;
    return !status && g->o->min_tokens ? sm_bans_ends(&g->bans, s, g->error) : status;
}

void sm_generation_end(sm_generation *g, sm_status status) {
    sm_generate_stats *stats = &g->s->stats;
    if (g->first)
        stats->generate_seconds = (double)(sm_time_ns() - g->first) * 1e-9;
    if (status == SM_ERR_CANCELLED)
        stats->finish = SM_FINISH_CANCELLED;
    else if (status)
        stats->finish = SM_FINISH_ERROR;
}

static sm_status generate(sm_generation *g, const sm_prompt *prompt) {
    bool ended = false;
    int32_t id = -1;
    sm_status status = sm_generation_begin(g, prompt);
    while (!status && !ended) {
        status = sm_generation_turn(g, &id, &ended);
        if (!status && !ended)
            status = sm_generation_feed(g, id);
    }
    sm_generation_end(g, status);
    return status;
}

sm_status sm_session_generate_marked(sm_session *s, const sm_prompt *prompt,
                                     const sm_generate_options *options, sm_token_fn on_token,
                                     void *user, sm_error *error) {
    sm_generation g = {.s = s, .on_token = on_token, .user = user, .error = error};
    sm_status status = sm_generation_open(&g, options);
    if (!status)
        status = generate(&g, prompt);
    sm_generation_close(&g);
    return status;
}

sm_status sm_session_generate(sm_session *s, const char *prompt, uint64_t length,
                              const sm_generate_options *options, sm_token_fn on_token, void *user,
                              sm_error *error) {
    if (!s || (!prompt && length))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_generate: session or prompt is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    const sm_prompt from = {.text = prompt ? prompt : "", .n = text_size(prompt, length)};
    status = sm_session_generate_marked(s, &from, options, on_token, user, error);
    sm_session_end(s);
    return status;
}
