/* Tokens computed before they are chosen. A guess of what follows is fed together with a chosen
 * token, which reads the weights once for all of them; each next token is then chosen from its own
 * logits, as ever, and where it is the guessed one its step has been done. What was guessed wrong
 * is gone back from, and nothing else knows of it: text and logits are those of single steps, to
 * the bit.
 *
 * Guesses come from the tokens so far (what followed the last time that the text went like this),
 * or from a second session with a smaller model. How many there are depends on how many came true,
 * by counts and not by clocks: each costs a part of a step, each that comes true gains one, and
 * what is gained may be spent. Without gains a small part of the steps is all that is tried.
 */
#include "run.h"

#include <string.h>

#define UNIT 128         /* of credit: one step of one token */
#define COST 28          /* of a token more in a step: more than it takes where weights are read */
#define FIRST (2 * UNIT) /* credit of a new session */
#define MOST (24 * UNIT)
#define EARNED 1   /* of each token that is computed alone: a hundredth of its step */
#define SHORTEST 3 /* tokens that must have gone alike, for what followed them to be a guess */
#define LONGEST 32 /* that are compared */
#define FIRST_GUESS 4

/* ---- guesses from the tokens so far ---------------------------------------------------------- */

/* How many tokens before ids[a] and ids[b], both included, are the same; a < b. */
static uint32_t alike(const int32_t *ids, uint32_t a, uint32_t b) {
    uint32_t n = 0;
    while (n <= a && n < LONGEST && ids[a - n] == ids[b - n])
        n++;
    return n;
}

/* The place before the end of ids[0..n) where most of the last tokens stand in the same order, the
 * last one of those; 0 if there is none. */
static uint32_t look_up(const int32_t *ids, uint32_t n) {
    const int32_t last = ids[n - 1];
    uint32_t best = SHORTEST - 1, found = 0;
    for (uint32_t i = n - 1; i-- > 0 && best < LONGEST;) {
        const uint32_t same = ids[i] == last ? alike(ids, i, n - 1) : 0;
        if (same > best) {
            best = same;
            found = i + 1;
        }
    }
    return found;
}

/* What followed there; as long as it is short of `most` it goes on with itself. */
static uint32_t guess_from_text(const int32_t *ids, uint32_t n, int32_t *guess, uint32_t most) {
    const uint32_t at = look_up(ids, n);
    for (uint32_t i = 0; at && i < most; i++)
        guess[i] = at + i < n ? ids[at + i] : guess[at + i - n];
    return at ? most : 0;
}

/* ---- guesses of a second session ------------------------------------------------------------- */

/* What a step of it costs, in parts of a step of the session's. */
static int64_t draft_cost(const sm_session *s, const sm_session *draft) {
    const double own = (double)s->model->net->decode_bytes;
    return (int64_t)((double)draft->model->net->decode_bytes / (own > 1 ? own : 1) * UNIT) + 1;
}

/* Chooses as the session will: from other logits by the same draws; where the rows of the heads are
 * not the same, of which options may speak, the likeliest. */
static sm_status guess_from_draft(sm_session *s, const sm_chain *chain, const int32_t *ids,
                                  uint32_t n, uint32_t most, uint32_t *n_guess, sm_error *error) {
    sm_ahead *a = &s->ahead;
    sm_session *d = a->draft;
    const uint32_t n_vocab = d->model->net->config.n_vocab;
    sm_chain likeliest;
    if (n_vocab != s->model->net->config.n_vocab && !sm_chain_take(&likeliest, NULL, n_vocab, NULL))
        chain = &likeliest;
    const int64_t cost = draft_cost(s, d);
    uint64_t reused;
    *n_guess = 0;
    if (n >= d->n_ctx)
        return SM_OK;
    sm_status status = sm_session_sync_marked(d, ids, n, &reused, error);
    d->gone = s->gone;
    d->gone_at = s->gone_at;
    for (uint32_t i = 0; i < most && !status && d->length < d->n_ctx; i++) {
        int32_t id;
        if (i)
            status = sm_session_feed_marked(d, &a->ids[i], 1, NULL, error);
        if (!status)
            status = sm_session_choose(d, chain, NULL, NULL, 0, NULL, &id, error);
        if (status || (uint32_t)id >= s->model->net->config.n_vocab)
            break;
        a->credit -= cost;
        a->ids[++*n_guess] = id;
    }
    return status;
}

/* Whether both have the same tokens: what one guesses means nothing to another vocabulary. */
static bool same_vocabulary(const sm_tokenizer *a, const sm_tokenizer *b) {
    bool same = a && b && sm_tokenizer_n_vocab(a) == sm_tokenizer_n_vocab(b);
    for (int32_t i = 0; same && a != b && i < sm_tokenizer_n_vocab(a); i++) {
        uint64_t na, nb;
        const char *ta = sm_tokenizer_token_text(a, i, &na);
        const char *tb = sm_tokenizer_token_text(b, i, &nb);
        same = na == nb && !memcmp(ta, tb, (size_t)na);
    }
    return same;
}

/* Sessions of one batch share its mark. */
static bool in_batch_of(const sm_session *s, const sm_session *draft) {
    return draft->batch->shared && draft->batch == s->batch;
}

sm_status sm_draft_begin(sm_session *s, sm_session *draft, sm_error *error) {
    if (!draft)
        return SM_OK;
    if (draft == s)
        return sm_fail(error, SM_ERR_ARGUMENT, "option draft is the session itself");
    sm_error why;
    const sm_status status = in_batch_of(s, draft)
                                 ? sm_use_begin(&draft->use, sm_process_id(), "session", &why)
                                 : sm_session_begin(draft, &why);
    if (status)
        return sm_fail(error, status, "option draft: %s", why.message);
    if (!same_vocabulary(s->model->tokenizer, draft->model->tokenizer)) {
        sm_draft_end(s, draft);
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "option draft: its model has another vocabulary than the session's");
    }
    s->ahead.draft_cancel = draft->cancel;
    s->ahead.draft_cancel_user = draft->cancel_user;
    draft->cancel = s->cancel;
    draft->cancel_user = s->cancel_user;
    return SM_OK;
}

void sm_draft_end(sm_session *s, sm_session *draft) {
    if (!draft)
        return;
    draft->cancel = s->ahead.draft_cancel;
    draft->cancel_user = s->ahead.draft_cancel_user;
    if (!in_batch_of(s, draft))
        sm_session_end(draft);
    else if (sm_use_end(&draft->use))
        sm_session_free(draft);
}

/* ---- the session's --------------------------------------------------------------------------- */

static sm_status reserve(sm_session *s, uint32_t most, sm_error *error) {
    sm_ahead *a = &s->ahead;
    const uint64_t n_vocab = s->model->net->config.n_vocab;
    if (most <= a->capacity)
        return SM_OK;
    sm_ahead_free(s);
    a->ids = sm_alloc_array(s->mem, (uint64_t)most + 1, sizeof *a->ids);
    a->rows = sm_alloc_array(s->mem, (most + 1) * n_vocab, sizeof *a->rows);
    if (!a->ids || !a->rows) {
        sm_ahead_free(s);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for %u guessed tokens", most);
    }
    a->capacity = most;
    return SM_OK;
}

void sm_ahead_free(sm_session *s) {
    sm_free(s->mem, s->ahead.ids);
    sm_free(s->mem, s->ahead.rows);
    s->ahead.ids = NULL;
    s->ahead.rows = NULL;
    s->ahead.capacity = s->ahead.n = 0;
}

/* The credit, and the next guess's length, after `right` of `all` guesses came true. */
static void settle(sm_ahead *a) {
    const uint32_t all = a->n - 1, right = a->at - 1;
    a->credit += (int64_t)right * UNIT;
    a->credit = a->credit < MOST ? a->credit : MOST;
    if (right == all)
        a->size = min_u32(2 * a->size, a->most);
    else
        a->size = right + 1 < FIRST_GUESS ? FIRST_GUESS : min_u32(right + 1, a->most);
    a->n = 0;
}

sm_status sm_ahead_begin(sm_session *s, bool look_up_text, sm_session *draft, uint32_t most,
                         sm_error *error) {
    sm_ahead *a = &s->ahead;
    most = min_u32(most, s->batch->n_batch - 1);
    if (a->n)
        settle(a);
    a->look_up = look_up_text;
    a->draft = draft;
    a->most = look_up_text || draft ? most : 0;
    if (!a->started) {
        a->started = true;
        a->credit = FIRST;
        a->size = FIRST_GUESS;
    }
    return a->most ? reserve(s, a->most, error) : SM_OK;
}

/* The token is one that was guessed: what follows it is there. */
static bool take(sm_session *s, int32_t id) {
    sm_ahead *a = &s->ahead;
    const uint64_t n_vocab = s->model->net->config.n_vocab;
    if (!a->n || s->length != a->position + a->at || a->at == a->n || a->ids[a->at] != id)
        return false;
    memcpy(s->logits, a->rows + a->at * n_vocab, n_vocab * sizeof *s->logits);
    a->at++;
    s->length++;
    s->stats.accepted_tokens++;
    return true;
}

/* Fills in a->ids[1..] behind a->ids[0]; returns in *n how many. */
static sm_status guess(sm_session *s, const sm_chain *chain, uint32_t left, uint32_t *n,
                       sm_error *error) {
    sm_ahead *a = &s->ahead;
    const int64_t each = COST + (a->draft && !a->look_up ? draft_cost(s, a->draft) : 0);
    const uint32_t held = s->length + 1;
    uint32_t most = min_u32(min_u32(a->size, a->most), min_u32(left, s->n_ctx - held));
    *n = 0;
    most = a->credit < each ? 0 : (uint32_t)min_u64(most, (uint64_t)(a->credit / each));
    if (!most)
        return SM_OK;
    __atomic_store_n(&s->ids[s->length], a->ids[0], __ATOMIC_RELAXED); /* not yet counted */
    if (a->look_up)
        *n = guess_from_text(s->ids, held, a->ids + 1, most);
    if (!*n && a->draft)
        return guess_from_draft(s, chain, s->ids, held, most, n, error);
    return SM_OK;
}

/* Feeds a->ids[0] and n guesses; the session is then behind the first. A guess whose logits are not
 * finite, where nobody may ever come to, is none. */
static sm_status feed_all(sm_session *s, uint32_t n, sm_error *error) {
    sm_ahead *a = &s->ahead;
    const int32_t id = a->ids[0];
    const uint32_t position = s->length;
    const uint64_t n_vocab = s->model->net->config.n_vocab;
    const sm_status status = sm_session_feed_marked(s, a->ids, n + 1, a->rows, error);
    if (status == SM_ERR_FORMAT)
        return sm_session_feed_marked(s, &id, 1, NULL, error);
    if (status)
        return status;
    a->credit -= (int64_t)n * COST;
    a->position = position;
    a->n = n + 1;
    a->at = 1;
    s->length = position + 1;
    memcpy(s->logits, a->rows, n_vocab * sizeof *s->logits);
    s->stats.drafted_tokens += n;
    return SM_OK;
}

sm_status sm_ahead_feed(sm_session *s, const sm_chain *chain, int32_t id, uint32_t left,
                        sm_error *error) {
    sm_ahead *a = &s->ahead;
    uint32_t n = 0;
    if (a->most && take(s, id))
        return SM_OK;
    if (a->n)
        settle(a);
    if (!a->most)
        return sm_session_feed_marked(s, &id, 1, NULL, error);
    a->ids[0] = id;
    sm_error why;
    const sm_status status = guess(s, chain, left, &n, &why);
    if (status == SM_ERR_CANCELLED)
        return sm_fail(error, status, "%s", why.message);
    if (status) /* the text does not depend on the second session */
        a->draft = NULL;
    if (n)
        return feed_all(s, n, error);
    a->credit += a->credit < FIRST ? EARNED : 0;
    return sm_session_feed_marked(s, &id, 1, NULL, error);
}
