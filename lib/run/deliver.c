/* Generated text on its way out: what may become a stop string or a banned one waits. */
#include "generation.h"

#include <string.h>

/* Room in both arrays for so many bytes. */
static sm_status reserve(sm_generation *g, uint64_t needed) {
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

static sm_status append(sm_generation *g, const char *text, uint64_t length, bool silent) {
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
static sm_status append_silent(sm_generation *g, int32_t id) {
    uint64_t length;
    const char *text = sm_tokenizer_silent_text(g->s->model->tokenizer, id, &length);
    const bool shown = g->control && text && !sm_tokenizer_is_end(g->s->model->tokenizer, id);
    return text && (g->o->n_stop || shown) ? append(g, text, length, !shown) : SM_OK;
}

/* Does pending[at..], with or without what is silent in it, begin with stop (whole), or stop with
 * it (part)? */
static bool matches(const sm_session *s, uint64_t at, const sm_text *stop, bool whole,
                    bool silent) {
    uint64_t n = 0;
    if (!silent && s->silent[at])
        return false;
    for (; n < stop->length && at < s->pending_length; at++) {
        if (!silent && s->silent[at])
            continue;
        if (s->pending[at] != stop->text[n++])
            return false;
    }
    return whole == (n == stop->length);
}

/* Where the first match begins in the pending text; its length if there is none. */
static uint64_t first_match(const sm_generation *g, bool whole) {
    uint64_t first = g->s->pending_length;
    for (uint32_t i = 0; i < g->o->n_stop; i++)
        for (uint64_t at = 0; at < first; at++)
            if (matches(g->s, at, &g->stop[i], whole, true) ||
                matches(g->s, at, &g->stop[i], whole, false))
                first = at;
    return first;
}

/* How much of the pending text may go out: all before the first stop string, or
 * all that cannot become the beginning of one. */
static uint64_t releasable(sm_generation *g) {
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
static sm_status emit(sm_generation *g, const sm_waiting *of, uint64_t length) {
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
static uint64_t first_ban(const sm_generation *g, bool whole) {
    uint64_t first = g->s->pending_length;
    for (uint32_t i = 0; i < g->o->n_ban; i++)
        for (uint64_t at = 0; at < first; at++)
            if (matches(g->s, at, &g->ban[i], whole, false))
                first = at;
    return first;
}

/* Hands out the tokens whose text ends within n bytes, or all that wait, of whose text that
 * much. */
static sm_status release(sm_generation *g, uint64_t n, bool all) {
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

/* Back to waiting token w, or the first behind it that a full context has not dropped (the last one
 * is always there), which may not be chosen again there. */
static sm_status go_back_to(sm_generation *g, uint32_t w) {
    sm_session *s = g->s;
    sm_bans *b = &g->bans;
    while (b->waiting[w].position == SM_DROPPED)
        w++;
    const uint32_t position = b->waiting[w].position;
    sm_status status = sm_bans_forbid(b, s->mem, position, b->waiting[w].id, g->error);
    if (status)
        return status;
    sm_detokenizer_go_back(s->detokenizer, &b->waiting[w].before);
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
static uint64_t settled(sm_generation *g, uint64_t n) {
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
static sm_status wait(sm_generation *g, sm_waiting *token, bool *again) {
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

sm_status sm_generation_deliver(sm_generation *g, sm_waiting *token, bool *again) {
    const char *piece = "";
    uint64_t length = 0;
    sm_status status = SM_OK;
    sm_detokenizer_get_mark(g->s->detokenizer, &token->before);
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

sm_status sm_generation_flush(sm_generation *g, int32_t last) {
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
