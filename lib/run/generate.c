/* Prompt in, streamed text out. */
#include "run.h"

#include <math.h>
#include <string.h>

#define MAX_STOP_BYTES 1024

#define MOST_FORCED (65536 + 16)

/* Generation by a constraint. */
typedef struct constrained {
    sm_constraint_state *state; /* NULL: without */
    uint32_t *mask;
    uint64_t n_words;
    int32_t *forced; /* [at .. n_forced): tokens that come next, whatever the logits say */
    uint64_t at, n_forced;
} constrained;

typedef struct generation {
    sm_session *s;
    const sm_generate_options *o;
    sm_chain chain;
    double mu; /* mirostat's */
    sm_policy policy;
    sm_heal heal;
    sm_bans bans;
    bool control; /* the text of control tokens is handed out */
    sm_token_fn on_token;
    void *user;
    sm_error *error;
    uint64_t start; /* when the call came, ns */
    uint64_t first; /* when the first token was chosen; 0: not yet */
    bool stopped;   /* a stop string was found */
    constrained by;
    int32_t *fed; /* [n_fed] chosen, not fed yet: fed together */
    uint32_t n_fed;
} generation;

static sm_status check_stops(const sm_generate_options *o, sm_error *error) {
    if (o->n_stop && !o->stop)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_stop is %u but stop is NULL", o->n_stop);
    for (uint32_t i = 0; i < o->n_stop; i++) {
        const size_t n = o->stop[i] ? strlen(o->stop[i]) : 0;
        if (n < 1 || n > MAX_STOP_BYTES)
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "option stop: string %u has %zu bytes, not 1..%u", i, n, MAX_STOP_BYTES);
    }
    return SM_OK;
}

/* The prompt's ids, allocated here. */
static sm_status encode(sm_session *s, const char *prompt, const sm_generate_options *o,
                        int32_t **ids, uint64_t *n, sm_error *error) {
    const sm_tokenizer *tokenizer = s->model->tokenizer;
    const uint64_t length = strlen(prompt);
    const sm_encode_options how = {.struct_size = sizeof how,
                                   .flags = (o->no_bos ? 0 : SM_ENCODE_MARKERS) |
                                            (o->parse_special ? SM_ENCODE_SPECIAL : 0),
                                   .cancel = s->cancel,
                                   .cancel_user = s->cancel_user};
    uint64_t capacity = length + 16;
    *ids = NULL;
    for (;;) { /* once more where a normalisation made the text longer */
        sm_free(s->mem, *ids);
        *ids = sm_alloc_array(s->mem, capacity, sizeof **ids);
        if (!*ids)
            return sm_fail(error, SM_ERR_NOMEM, "out of memory for a prompt of %llu bytes",
                           (unsigned long long)length);
        sm_status status =
            sm_tokenizer_encode(tokenizer, prompt, length, &how, *ids, capacity, n, error);
        if (status != SM_ERR_BUFFER || *n <= capacity)
            return status;
        capacity = *n;
    }
}

/* Markers mean BOS in front here; an EOS behind would end the text before it began. */
static void drop_eos(const sm_session *s, const int32_t *ids, uint64_t *n) {
    sm_tokenizer_info info = {.struct_size = sizeof info};
    if (!sm_tokenizer_get_info(s->model->tokenizer, &info, NULL) && info.add_eos == 1 && *n > 0 &&
        ids[*n - 1] == info.eos)
        --*n;
}

/* The ids that a caller has. */
static sm_status copy_ids(const generation *g, const sm_prompt *prompt, int32_t **ids) {
    *ids = sm_alloc_array(g->s->mem, prompt->n, sizeof **ids);
    if (!*ids && prompt->n)
        return sm_fail(g->error, SM_ERR_NOMEM, "out of memory for a prompt of %llu tokens",
                       (unsigned long long)prompt->n);
    memcpy(*ids, prompt->ids, (size_t)prompt->n * sizeof **ids);
    return SM_OK;
}

/* ---- the prompt's tokens, told of (generate.c) ----------------------------------------------- */

typedef struct echo {
    generation *g;
    sm_detokenizer *text;
} echo;

/* Hands out a token of the prompt, or what is left of its text (NULL). */
static sm_status hand_out(echo *e, const sm_thought *t, const char *text, uint64_t length,
                          sm_error *error) {
    const sm_token token = {.struct_size = sizeof token,
                            .id = t ? t->id : -1,
                            .logprob = t ? t->logprob : 0,
                            .text = text,
                            .length = length,
                            .top = t && t->n_top ? t->top : NULL,
                            .n_top = t ? t->n_top : 0,
                            .in_prompt = 1};
    if (!e->g->on_token || !e->g->on_token(e->g->user, &token))
        return SM_OK;
    return sm_fail(error, SM_ERR_CANCELLED, "cancelled by the token callback");
}

static sm_status echo_token(void *user, const sm_thought *t, sm_error *error) {
    echo *e = user;
    const char *piece = "";
    uint64_t length = 0;
    sm_status status = SM_OK;
    if (t->id < sm_tokenizer_n_vocab(e->g->s->model->tokenizer))
        status = sm_detokenizer_feed(e->text, t->id, &piece, &length, error);
    return status ? status : hand_out(e, t, piece, length, error);
}

/* Computes the prompt from its beginning, telling of its tokens. */
static sm_status echo_prompt(generation *g, const int32_t *ids, uint64_t n) {
    sm_session *s = g->s;
    echo e = {.g = g};
    const sm_thoughts to = {echo_token, &e, g->o->n_logprobs};
    const char *piece;
    uint64_t length;
    sm_status status = sm_batch_check(s, ids, n, 0, g->error);
    if (!status)
        status = sm_detokenizer_new(&e.text, s->model->tokenizer, 0, g->error);
    if (!status)
        status = sm_session_rewind_marked(s, 0, g->error);
    s->dropped = status ? s->dropped : 0;
    if (!status)
        status = sm_session_feed_thoughts(s, ids, n, &to, g->error);
    if (!status)
        status = sm_detokenizer_flush(e.text, &piece, &length, g->error);
    if (!status && length)
        status = hand_out(&e, NULL, piece, length, g->error);
    sm_detokenizer_free(e.text);
    return status;
}

static sm_status feed_prompt(generation *g, const sm_prompt *prompt) {
    sm_session *s = g->s;
    int32_t *ids = NULL;
    uint64_t n = prompt->n, reused = 0;
    sm_status status = prompt->text ? encode(s, prompt->text, g->o, &ids, &n, g->error)
                                    : copy_ids(g, prompt, &ids);
    if (!status && !g->o->no_bos && prompt->text)
        drop_eos(s, ids, &n);
    if (!status && n == 0)
        status = sm_fail(g->error, SM_ERR_ARGUMENT,
                         "the prompt is empty and the vocabulary puts no BOS token in front");
    if (!status && g->o->heal)
        status = sm_heal_begin(s, &g->heal, ids, &n, g->error);
    if (!status) {
        s->stats.prompt_tokens = (uint32_t)n;
        status = g->o->echo ? echo_prompt(g, ids, n)
                            : sm_policy_sync(s, &g->policy, ids, n, &reused, g->error);
        s->stats.reused_tokens = (uint32_t)reused;
    }
    sm_free(s->mem, ids);
    return status;
}

/* Room in both arrays for so many bytes. */
static sm_status reserve(generation *g, uint64_t needed) {
    sm_session *s = g->s;
    if (needed <= s->pending_capacity)
        return SM_OK;
    const uint64_t capacity = needed * 2 > 4096 ? needed * 2 : 4096;
    char *pending = sm_realloc(s->mem, s->pending, capacity);
    if (pending)
        s->pending = pending;
    uint8_t *silent = pending ? sm_realloc(s->mem, s->silent, capacity) : NULL;
    if (!silent)
        return sm_fail(g->error, SM_ERR_NOMEM, "out of memory for generated text");
    s->silent = silent;
    s->pending_capacity = capacity;
    return SM_OK;
}

static sm_status append(generation *g, const char *text, uint64_t length, bool silent) {
    sm_session *s = g->s;
    sm_status status = reserve(g, s->pending_length + length + 1);
    if (status)
        return status;
    memcpy(s->pending + s->pending_length, text, (size_t)length);
    memset(s->silent + s->pending_length, silent, (size_t)length);
    s->pending_length += length;
    s->pending[s->pending_length] = 0;
    return SM_OK;
}

/* The text of a control token, which nobody gets to see but stop strings, and readers of replies
 * unless it ends the text. */
static sm_status append_silent(generation *g, int32_t id) {
    uint64_t length;
    const char *text = sm_tokenizer_silent_text(g->s->model->tokenizer, id, &length);
    const bool shown = g->control && text && !sm_tokenizer_is_end(g->s->model->tokenizer, id);
    return text && (g->o->n_stop || shown) ? append(g, text, length, !shown) : SM_OK;
}

/* Does pending[at..], with or without what is silent in it, begin with stop (whole), or stop with
 * it (part)? */
static bool matches(const sm_session *s, uint64_t at, const char *stop, bool whole, bool silent) {
    if (!silent && s->silent[at])
        return false;
    for (; *stop && at < s->pending_length; at++) {
        if (!silent && s->silent[at])
            continue;
        if (s->pending[at] != *stop++)
            return false;
    }
    return whole == !*stop;
}

/* Where the first match begins in the pending text; its length if there is none. */
static uint64_t first_match(const generation *g, bool whole) {
    uint64_t first = g->s->pending_length;
    for (uint32_t i = 0; i < g->o->n_stop; i++)
        for (uint64_t at = 0; at < first; at++)
            if (matches(g->s, at, g->o->stop[i], whole, true) ||
                matches(g->s, at, g->o->stop[i], whole, false))
                first = at;
    return first;
}

/* How much of the pending text may go out: all before the first stop string, or
 * all that cannot become the beginning of one. */
static uint64_t releasable(generation *g) {
    const uint64_t stop = first_match(g, true);
    g->stopped = stop < g->s->pending_length;
    return g->stopped ? stop : first_match(g, false);
}

/* Moves what is not silent of the first `length` bytes to the front; how much that is. */
static uint64_t take_visible(sm_session *s, uint64_t length) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < length; i++)
        if (!s->silent[i])
            s->pending[n++] = s->pending[i];
    return n;
}

/* Hands out text, and a token or none (NULL). */
static sm_status emit(generation *g, const sm_waiting *of, uint64_t length) {
    static const sm_waiting none = {.id = -1};
    sm_session *s = g->s;
    int32_t cancel = 0;
    of = of ? of : &none;
    const int32_t id = of->id;
    const uint64_t visible = take_visible(s, length);
    if (g->on_token && (id >= 0 || visible)) {
        const char keep = s->pending ? s->pending[visible] : 0;
        if (s->pending)
            s->pending[visible] = 0;
        const sm_token token = {.struct_size = sizeof token,
                                .id = id,
                                .logprob = of->logprob,
                                .text = s->pending ? s->pending : "",
                                .length = visible,
                                .top = of->n_top ? of->top : NULL,
                                .n_top = of->n_top};
        cancel = g->on_token(g->user, &token);
        if (s->pending)
            s->pending[visible] = keep;
    }
    if (s->pending) {
        s->pending_length -= length;
        memmove(s->pending, s->pending + length, (size_t)s->pending_length + 1);
        memmove(s->silent, s->silent + length, (size_t)s->pending_length);
    }
    if (cancel) {
        s->stats.finish = SM_FINISH_CANCELLED;
        return sm_fail(g->error, SM_ERR_CANCELLED, "cancelled by the token callback");
    }
    return SM_OK;
}

/* Where a banned string begins in the pending text (whole), or may (not whole). */
static uint64_t first_ban(const generation *g, bool whole) {
    uint64_t first = g->s->pending_length;
    for (uint32_t i = 0; i < g->o->n_ban; i++)
        for (uint64_t at = 0; at < first; at++)
            if (matches(g->s, at, g->o->ban[i], whole, false))
                first = at;
    return first;
}

/* Hands out the tokens whose text ends within n bytes, or all that wait, of whose text that
 * much. */
static sm_status release(generation *g, uint64_t n, bool all) {
    sm_bans *b = &g->bans;
    sm_status status = SM_OK;
    while (!status && b->n_waiting && (all || b->waiting[0].end <= n)) {
        const sm_waiting token = b->waiting[0];
        const uint64_t length = min_u64(token.end, n);
        sm_bans_drop_first(b, 1, length);
        n -= length;
        status = emit(g, &token, length);
    }
    return status;
}

/* The detokenizer as it was before the token at a position. */
static sm_status decode_again(generation *g, uint32_t position) {
    sm_session *s = g->s;
    const char *piece;
    uint64_t length;
    sm_status status = SM_OK;
    sm_detokenizer_reset(s->detokenizer, NULL);
    for (uint32_t i = s->stats.prompt_tokens; i < position && !status; i++)
        if (s->ids[i] < sm_tokenizer_n_vocab(s->model->tokenizer))
            status = sm_detokenizer_feed(s->detokenizer, s->ids[i], &piece, &length, g->error);
    return status;
}

/* Back to waiting token w, which may not be chosen again there. */
static sm_status go_back_to(generation *g, uint32_t w) {
    sm_session *s = g->s;
    sm_bans *b = &g->bans;
    const uint32_t position = b->waiting[w].position;
    sm_status status = sm_bans_forbid(b, s->mem, position, b->waiting[w].id, g->error);
    if (!status)
        status = decode_again(g, position);
    if (status)
        return status;
    s->stats.generated_tokens -= b->n_waiting - w;
    s->pending_length = w ? b->waiting[w - 1].end : 0;
    g->mu = b->waiting[w].mu;
    b->n_waiting = w;
    if (position == s->length)
        return SM_OK; /* the logits are there */
    const int32_t last = s->ids[position - 1];
    status = sm_ahead_begin(s, g->o->speculate == SM_SPECULATE_NGRAM, g->o->draft,
                            g->o->draft_tokens, g->error);
    if (!status)
        status = sm_session_rewind_marked(s, position - 1, g->error);
    return status ? status : sm_session_feed_marked(s, &last, 1, NULL, g->error);
}

/* How much of the text of whole tokens may go out: what follows may yet be taken back and be other
 * text, so that nothing banned may begin in it even then. */
static uint64_t settled(generation *g, uint64_t n) {
    const uint64_t all = g->s->pending_length;
    for (uint64_t before = all + 1; n < before;) {
        before = n;
        uint64_t end = 0;
        for (uint32_t i = 0; i < g->bans.n_waiting && g->bans.waiting[i].end <= n; i++)
            end = g->bans.waiting[i].end;
        g->s->pending_length = end;
        n = first_ban(g, false);
    }
    g->s->pending_length = all;
    return n;
}

/* A token that waits, with its text at the end of what is pending. *again: it was banned. */
static sm_status wait(generation *g, sm_waiting *token, bool *again) {
    sm_session *s = g->s;
    sm_bans *b = &g->bans;
    token->end = s->pending_length;
    sm_status status = sm_bans_wait(b, s->mem, token, g->error);
    if (status)
        return status;
    const uint64_t banned = first_ban(g, true);
    *again = banned < s->pending_length;
    if (*again) {
        uint32_t w = 0;
        while (b->waiting[w].end <= banned)
            w++;
        return go_back_to(g, w);
    }
    const uint64_t n = releasable(g);
    return release(g, g->stopped ? n : settled(g, n), g->stopped);
}

/* One token's text into the stream. */
static sm_status deliver(generation *g, sm_waiting *token, bool *again) {
    const char *piece = "";
    uint64_t length = 0;
    sm_status status = SM_OK;
    /* the head may have padding rows that the vocabulary does not name: no text */
    if (token->id < sm_tokenizer_n_vocab(g->s->model->tokenizer))
        status = sm_detokenizer_feed(g->s->detokenizer, token->id, &piece, &length, g->error);
    if (status)
        return status;
    sm_heal_hide(&g->heal, &piece, &length);
    status = append(g, piece, length, false);
    if (!status)
        status = append_silent(g, token->id);
    if (status)
        return status;
    return g->o->n_ban ? wait(g, token, again) : emit(g, token, releasable(g));
}

/* The text that had been waiting, once nothing more comes. last: the token that ended it all and
 * was not delivered, or -1. */
static sm_status flush(generation *g, int32_t last) {
    const char *piece = "";
    uint64_t length = 0;
    if (g->stopped)
        return SM_OK;
    sm_status status = sm_detokenizer_flush(g->s->detokenizer, &piece, &length, g->error);
    sm_heal_hide(&g->heal, &piece, &length);
    if (!status)
        status = append(g, piece, length, false);
    if (!status)
        status = append_silent(g, last);
    if (status || (g->s->pending_length == 0 && !g->bans.n_waiting))
        return status;
    uint64_t n = releasable(g);
    if (g->stopped) /* what came last completed a stop string */
        g->s->stats.finish = SM_FINISH_STOP;
    n = g->stopped ? n : g->s->pending_length;
    n = min_u64(n, first_ban(g, true)); /* half a character at the end may complete one */
    const uint64_t before = g->s->pending_length;
    status = release(g, n, true);
    n -= before - g->s->pending_length;
    return status ? status : emit(g, NULL, n);
}

/* That will be fed at most. */
static uint32_t tokens_left(const generation *g) {
    const uint32_t most = g->o->max_tokens, done = g->s->stats.generated_tokens;
    return most ? most - done - 1 : UINT32_MAX;
}

/* ---- by a constraint (generate.c) ------------------------------------------------------------ */

static sm_status constrain_begin(generation *g) {
    constrained *by = &g->by;
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

static void constrain_end(generation *g) {
    sm_constraint_state_free(g->by.state);
    sm_free(g->s->mem, g->by.mask);
    sm_free(g->s->mem, g->by.forced);
    sm_free(g->s->mem, g->fed);
}

static bool is_forced(const constrained *by) {
    return by->at < by->n_forced;
}

/* Goes on behind a token, and looks what must follow. */
static sm_status constrain_accept(generation *g, int32_t id) {
    constrained *by = &g->by;
    sm_status status = sm_constraint_accept(by->state, id, g->error);
    if (!status && !is_forced(by)) {
        by->at = 0;
        status = sm_constraint_forced(by->state, by->forced, MOST_FORCED, &by->n_forced, g->error);
    }
    return status;
}

/* A token chosen by the logits, with what is told of it. */
static sm_status choose(generation *g, const uint32_t *mask, sm_waiting *token) {
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
static sm_status next_token(generation *g, sm_waiting *token) {
    constrained *by = &g->by;
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
static sm_status feed_together(generation *g, uint32_t n) {
    sm_session *s = g->s;
    sm_status status = SM_OK;
    if (n > 1 && !s->ahead.most)
        return sm_session_feed_marked(s, g->fed, n, NULL, g->error);
    for (uint32_t i = 0; i < n && !status; i++)
        status = sm_ahead_feed(s, &g->chain, g->fed[i], tokens_left(g), g->error);
    return status;
}

/* The end: the session gets all tokens but the last. */
static sm_status finish(generation *g, uint32_t how, int32_t last) {
    g->s->stats.finish = how;
    const sm_status status = g->n_fed > 1 ? feed_together(g, g->n_fed - 1) : SM_OK;
    return status || g->stopped ? status : flush(g, last);
}

/* Whether it ends behind the token that was just delivered: SM_FINISH_…, 0: it goes on. */
static uint32_t ends_here(const generation *g) {
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

static sm_status go_on(generation *g, int32_t id) {
    sm_session *s = g->s;
    if (is_forced(&g->by) && s->length + g->n_fed < s->n_ctx)
        return SM_OK; /* together with what comes */
    sm_status status = sm_policy_room(s, &g->policy, g->error);
    if (!status)
        status = g->n_fed ? feed_together(g, g->n_fed)
                          : sm_ahead_feed(s, &g->chain, id, tokens_left(g), g->error);
    g->n_fed = 0;
    return status;
}

static sm_status loop(generation *g) {
    sm_session *s = g->s;
    const bool ends = !g->o->ignore_end || g->by.state;
    if (g->by.state && !is_forced(&g->by) && sm_constraint_ended(g->by.state))
        return finish(g, SM_FINISH_END, -1);
    for (;;) {
        sm_waiting token;
        bool again = false;
        sm_status status = next_token(g, &token);
        if (status)
            return status;
        const int32_t id = token.id;
        sm_heal_take(s, &g->heal, id);
        if (s->stats.generated_tokens == 0) {
            g->first = sm_time_ns();
            s->stats.first_token_seconds = (double)(g->first - g->start) * 1e-9;
        }
        if (ends && sm_tokenizer_is_end(s->model->tokenizer, id))
            return finish(g, SM_FINISH_END, id);
        s->stats.generated_tokens++;
        if (g->by.state)
            g->fed[g->n_fed++] = id;
        status = deliver(g, &token, &again);
        if (status)
            return status;
        if (again)
            continue;
        const uint32_t end = ends_here(g);
        if (end)
            return finish(g, end, -1);
        status = go_on(g, id);
        if (status)
            return status;
    }
}

/* Options have been taken, marks are there. */
static sm_status generate_taken(generation *g, const sm_prompt *prompt) {
    sm_session *s = g->s;
    memset(&s->stats, 0, sizeof s->stats);
    s->pending_length = 0;
    sm_detokenizer_reset(s->detokenizer, NULL);
    g->start = sm_time_ns();
    const uint64_t repacked = s->batch->repack_ns;
    sm_status status = feed_prompt(g, prompt);
    const uint64_t repack_ns = s->batch->repack_ns - repacked;
    s->stats.prepare_seconds = (double)repack_ns * 1e-9;
    s->stats.prompt_seconds = (double)(sm_time_ns() - g->start - repack_ns) * 1e-9;
    if (!status && g->o->min_tokens)
        status = sm_bans_ends(&g->bans, s, g->error);
    if (!status)
        status = loop(g);
    if (g->first)
        s->stats.generate_seconds = (double)(sm_time_ns() - g->first) * 1e-9;
    if (status == SM_ERR_CANCELLED)
        s->stats.finish = SM_FINISH_CANCELLED;
    else if (status)
        s->stats.finish = SM_FINISH_ERROR;
    return status;
}

sm_status sm_session_generate_marked(sm_session *s, const sm_prompt *prompt,
                                     const sm_generate_options *options, sm_token_fn on_token,
                                     void *user, sm_error *error) {
    if (!s->model->tokenizer)
        return sm_fail(error, SM_ERR_MISSING, "%s: no vocabulary (key 'tokenizer.ggml.model')",
                       s->model->source->path);
    sm_generate_options o;
    generation g = {.s = s,
                    .o = &o,
                    .mu = NAN,
                    .control = prompt->control,
                    .on_token = on_token,
                    .user = user,
                    .error = error};
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_GENERATE, error);
    if (!status)
        status = check_stops(&o, error);
    if (!status)
        status = sm_bans_check(&o, error);
    if (!status && o.echo && o.heal)
        status = sm_fail(error, SM_ERR_ARGUMENT,
                         "option echo goes without option heal, which takes tokens back");
    if (!status)
        status = sm_chain_take(&g.chain, o.sampling, s->model->net->config.n_vocab, error);
    if (!status)
        status =
            sm_ahead_begin(s, o.speculate == SM_SPECULATE_NGRAM, o.draft, o.draft_tokens, error);
    if (!status)
        status = sm_draft_begin(s, o.draft, error);
    if (status)
        return status;
    status = sm_policy_take(s, &o, &g.policy, error);
    if (!status)
        status = constrain_begin(&g);
    if (!status)
        status = generate_taken(&g, prompt);
    constrain_end(&g);
    sm_policy_free(s, &g.policy);
    sm_bans_free(&g.bans, s->mem);
    sm_heal_free(s, &g.heal);
    sm_draft_end(s, o.draft);
    return status;
}

sm_status sm_session_generate(sm_session *s, const char *prompt, const sm_generate_options *options,
                              sm_token_fn on_token, void *user, sm_error *error) {
    if (!s || !prompt)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_generate: session or prompt is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status =
        sm_session_generate_marked(s, &(sm_prompt){.text = prompt}, options, on_token, user, error);
    sm_session_end(s);
    return status;
}
