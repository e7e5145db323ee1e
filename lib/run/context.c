/* What happens when a context is full. Policies drop tokens behind the first n_keep; those after
 * them are computed again as if the dropped ones had never been (slide), or keep their keys and
 * values at earlier positions (sinks: Xiao et al., "Efficient streaming language models with
 * attention sinks", arXiv:2309.17453, positions being those within the cache).
 */
#include "run.h"

#include <string.h>

#define TILE 16u
#define SINKS 4u /* the paper's */

/* ---- what is dropped ------------------------------------------------------------------------- */

static uint32_t up_to_tiles(uint32_t n) {
    return (n + TILE - 1) / TILE * TILE;
}

/* Fills in what zeros stand for. */
static sm_status take(const sm_session *s, sm_policy *p, sm_error *error) {
    const bool sinks = p->kind == SM_CONTEXT_SINKS;
    if (sinks)
        p->n_keep = up_to_tiles(p->n_keep ? p->n_keep : SINKS);
    if (p->n_keep >= s->n_ctx || s->n_ctx - p->n_keep < (sinks ? 2 * TILE : 2))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "option n_keep: %u tokens leave no room in a context of %u", p->n_keep,
                       s->n_ctx);
    uint32_t most = s->n_ctx - p->n_keep - 1;
    const uint32_t window = sm_state_window(&s->state);
    if (sinks && window) { /* a window must not look for what stood before the dropped ones */
        if (window + TILE > most)
            return sm_fail(error, SM_ERR_UNSUPPORTED,
                           "policy sinks: windows of %u tokens do not fit a context of %u beside "
                           "%u that are kept (kv_keep all keeps what they need)",
                           window, s->n_ctx, p->n_keep);
        most -= window;
    }
    if (p->n_drop > most)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_drop is %u, where %u can be dropped",
                       p->n_drop, most);
    p->n_drop = p->n_drop ? p->n_drop : min_u32((s->n_ctx - p->n_keep) / 2, most);
    if (sinks)
        p->n_drop = up_to_tiles(p->n_drop) <= most ? up_to_tiles(p->n_drop) : most / TILE * TILE;
    return SM_OK;
}

sm_status sm_policy_take(sm_session *s, const sm_generate_options *o, sm_policy *p,
                         sm_error *error) {
    *p = (sm_policy){.kind = o->context_full,
                     .n_keep = o->n_keep,
                     .n_drop = o->n_drop,
                     .told = o->on_context_full,
                     .user = o->context_full_user};
    sm_status status = SM_OK;
    if (p->kind == SM_CONTEXT_STOP)
        return SM_OK;
    if (p->kind == SM_CONTEXT_ASK && !p->told)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "option context_full is ask, and there is no on_context_full");
    if (p->kind == SM_CONTEXT_SINKS)
        status = sm_state_can_shift(s->model->net, error);
    if (!status && p->kind != SM_CONTEXT_ASK)
        status = take(s, p, error);
    if (!status) {
        p->ids = sm_alloc_array(s->mem, s->n_ctx, sizeof *p->ids);
        if (!p->ids)
            status = sm_fail(error, SM_ERR_NOMEM, "out of memory for %u tokens", s->n_ctx);
    }
    return status;
}

void sm_policy_free(sm_session *s, sm_policy *p) {
    sm_free(s->mem, p->ids);
}

/* Tells the caller, or asks for what is to be there instead. */
static sm_status tell(sm_session *s, sm_policy *p, const int32_t *ids, uint64_t n, uint64_t dropped,
                      uint32_t *n_new, sm_error *error) {
    sm_context_full full = {.struct_size = sizeof full,
                            .policy = p->kind,
                            .n_ctx = s->n_ctx,
                            .n_keep = p->n_keep,
                            .ids = ids,
                            .n_ids = n,
                            .n_dropped = dropped,
                            .replacement = p->kind == SM_CONTEXT_ASK ? p->ids : NULL};
    s->stats.context_fulls++;
    if (p->told && p->told(p->user, &full))
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled by the callback of a full context");
    if (p->kind != SM_CONTEXT_ASK)
        return SM_OK;
    if (full.n_replacement < 1 || full.n_replacement >= s->n_ctx)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "on_context_full: a replacement of %llu tokens, not of 1..%u",
                       (unsigned long long)full.n_replacement, s->n_ctx - 1);
    *n_new = (uint32_t)full.n_replacement;
    s->stats.dropped_tokens += n > *n_new ? n - *n_new : 0;
    return SM_OK;
}

/* Other tokens take the place of those from `at` on, and by them `gone` are lost in all. */
static sm_status replace(sm_session *s, const int32_t *ids, uint32_t n, uint32_t at, uint64_t gone,
                         uint64_t *reused, sm_error *error) {
    const uint32_t first = s->gone ? min_u32(s->gone_at, at) : at;
    const sm_status status = sm_session_sync_marked(s, ids, n, reused, error);
    if (!status) {
        s->gone = gone;
        s->gone_at = first;
    }
    return status;
}

/* The answer of the callback, in place of n tokens before which `gone` were lost. */
static sm_status replace_asked(sm_session *s, const sm_policy *p, const int32_t *ids, uint64_t n,
                               uint64_t gone, uint32_t n_new, uint64_t *reused, sm_error *error) {
    uint32_t at = 0;
    while (at < n_new && at < n && p->ids[at] == ids[at])
        at++;
    return replace(s, p->ids, n_new, at, gone + n - n_new, reused, error);
}

/* Tokens [begin, end) go, those behind are computed again. to: room for n_ctx ids. */
static sm_status drop(sm_session *s, uint32_t begin, uint32_t end, int32_t *to, sm_error *error) {
    const uint32_t rest = s->length - end;
    memcpy(to, s->ids, begin * sizeof *to);
    memcpy(to + begin, s->ids + end, rest * sizeof *to);
    return replace(s, to, begin + rest, begin, s->gone + end - begin, NULL, error);
}

static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const sm_session *s = user;
    (void)done;
    (void)total;
    return s->cancel && s->cancel(s->cancel_user);
}

/* The tokens behind those that go keep their keys and values; the logits stay as well. */
static sm_status evict(sm_session *s, const sm_policy *p, sm_error *error) {
    const uint32_t begin = p->n_keep + p->n_drop, length = s->length;
    const sm_hook hook = {ask, s};
    const sm_status status =
        sm_state_shift(&s->state, s->model->net, begin, length, p->n_drop, s->mem, &hook, error);
    s->ahead.n = 0;
    if (status == SM_ERR_CANCELLED) {
        s->length = 0;
        s->gone = 0;
        s->has_logits = false;
    }
    if (status)
        return status;
    s->length = length - p->n_drop;
    sm_session_lose(s, p->n_keep, p->n_drop);
    sm_trail_drop(s, p->n_keep, begin);
    for (uint32_t i = p->n_keep; i < s->length; i++) /* see sm_session_tokens */
        __atomic_store_n(&s->ids[i], s->ids[i + p->n_drop], __ATOMIC_RELAXED);
    return SM_OK;
}

static sm_status make_room(sm_session *s, sm_policy *p, sm_error *error) {
    uint32_t n_new = 0;
    sm_status status = tell(s, p, s->ids, s->length, p->n_drop, &n_new, error);
    if (status)
        return status;
    if (p->kind == SM_CONTEXT_ASK)
        return replace_asked(s, p, s->ids, s->length, s->gone, n_new, NULL, error);
    status = p->kind == SM_CONTEXT_SINKS ? evict(s, p, error)
                                         : drop(s, p->n_keep, p->n_keep + p->n_drop, p->ids, error);
    if (status)
        return status;
    s->kept = p->n_keep;
    s->dropped += p->n_drop;
    s->stats.dropped_tokens += p->n_drop;
    return SM_OK;
}

sm_status sm_policy_room(sm_session *s, sm_policy *p, sm_error *error) {
    return s->length == s->n_ctx && p->kind != SM_CONTEXT_STOP ? make_room(s, p, error) : SM_OK;
}

/* ---- prompts --------------------------------------------------------------------------------- */

/* A prompt that is too long loses whole multiples of n_drop, as a session that it was generated
 * by has: so that what that holds of it is found. */
static sm_status slide(sm_session *s, sm_policy *p, const int32_t *ids, uint64_t n,
                       uint64_t *reused, sm_error *error) {
    const uint64_t over = n > s->n_ctx ? n - s->n_ctx : 0;
    const uint64_t dropped = (over + p->n_drop - 1) / p->n_drop * p->n_drop;
    const uint64_t rest = n - dropped;
    sm_status status = SM_OK;
    uint32_t unused;
    if (dropped)
        status = tell(s, p, ids, n, dropped, &unused, error);
    if (status)
        return status;
    memcpy(p->ids, ids, min_u64(p->n_keep, rest) * sizeof *ids);
    if (rest > p->n_keep)
        memcpy(p->ids + p->n_keep, ids + p->n_keep + dropped, (rest - p->n_keep) * sizeof *ids);
    s->kept = p->n_keep;
    s->gone -= min_u64(s->gone, s->dropped); /* of this text it is known */
    s->dropped = dropped;
    s->stats.dropped_tokens += dropped;
    status = sm_session_sync_marked(s, p->ids, rest, reused, error);
    if (!status && dropped)
        sm_session_lose(s, p->n_keep, dropped);
    return status;
}

/* How much of what the session holds is the beginning of the text that lost `dropped` tokens behind
 * the first n_keep. */
static uint32_t common(const sm_session *s, uint32_t n_keep, uint64_t dropped, const int32_t *ids,
                       uint64_t n) {
    uint32_t i = 0;
    while (i < s->length && (i < n_keep ? i : i + dropped) < n &&
           s->ids[i] == ids[i < n_keep ? i : i + dropped])
        i++;
    return i;
}

/* The text as a stream: fed until the context is full, and on in the room that is made. */
static sm_status stream(sm_session *s, sm_policy *p, const int32_t *ids, uint64_t n,
                        uint64_t *reused, sm_error *error) {
    const uint64_t before = s->dropped;
    uint32_t held = common(s, p->n_keep, s->kept == p->n_keep ? s->dropped : 0, ids, n);
    if (s->kept != p->n_keep || held <= p->n_keep) {
        s->kept = p->n_keep;
        s->dropped = 0;
        held = common(s, p->n_keep, 0, ids, n);
    }
    if (held + s->dropped == n && !(s->has_logits && s->length == held))
        held--; /* the last one's logits are wanted */
    held = sm_state_rewinds_to(&s->state, s->length, held);
    if (held <= p->n_keep) /* all is computed anew, and nothing need be missing */
        s->dropped = 0;
    if (held < s->length) {
        sm_session_unlose(s, held);
        s->length = held;
        s->has_logits = false;
    }
    if (!s->dropped)
        s->gone -= min_u64(s->gone, before);
    *reused = held;
    sm_status status = SM_OK;
    for (uint64_t at = held ? held + s->dropped : 0, step; at < n && !status; at += step) {
        status = sm_policy_room(s, p, error);
        step = min_u64(n - at, s->n_ctx - s->length);
        if (!status)
            status = sm_session_feed_marked(s, ids + at, step, NULL, error);
    }
    return status;
}

static sm_status check_ids(const sm_session *s, const int32_t *ids, uint64_t n, sm_error *error) {
    sm_status status = SM_OK;
    for (uint64_t at = 0; at < n && !status; at += s->n_ctx)
        status = sm_batch_check(s, ids + at, min_u64(n - at, s->n_ctx), 0, error);
    return status;
}

sm_status sm_policy_sync(sm_session *s, sm_policy *p, const int32_t *ids, uint64_t n,
                         uint64_t *reused, sm_error *error) {
    sm_status status = check_ids(s, ids, n, error);
    uint32_t n_new;
    if (status)
        return status;
    if (p->kind == SM_CONTEXT_SLIDE)
        return slide(s, p, ids, n, reused, error);
    if (p->kind == SM_CONTEXT_SINKS)
        return stream(s, p, ids, n, reused, error);
    if (p->kind == SM_CONTEXT_STOP && n > s->n_ctx)
        return sm_fail(error, SM_ERR_CONTEXT_FULL,
                       "the prompt's %llu tokens do not fit the session's context of %u",
                       (unsigned long long)n, s->n_ctx);
    if (n <= s->n_ctx)
        return sm_session_sync_marked(s, ids, n, reused, error);
    status = tell(s, p, ids, n, 0, &n_new, error);
    return status ? status : replace_asked(s, p, ids, n, 0, n_new, reused, error);
}

/* ---- by hand --------------------------------------------------------------------------------- */

static sm_status drop_marked(sm_session *s, uint32_t begin, uint32_t end, sm_error *error) {
    if (begin > end || end > s->length)
        return sm_fail(error, SM_ERR_ARGUMENT, "tokens %u to %u of %u cannot be dropped", begin,
                       end, s->length);
    if (begin == end)
        return SM_OK;
    if (end == s->length)
        return sm_session_rewind_marked(s, begin, error);
    int32_t *ids = sm_alloc_array(s->mem, s->n_ctx, sizeof *ids);
    const sm_status status =
        ids ? drop(s, begin, end, ids, error)
            : sm_fail(error, SM_ERR_NOMEM, "out of memory for %u tokens", s->n_ctx);
    sm_free(s->mem, ids);
    return status;
}

sm_status sm_session_drop(sm_session *s, uint32_t begin, uint32_t end, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_drop: session is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = drop_marked(s, begin, end, error);
    sm_session_end(s);
    return status;
}

static sm_status drop_turns(sm_session *s, const uint32_t *turns, uint64_t n_turns, uint64_t keep,
                            uint32_t room, uint64_t *n_dropped, sm_error *error) {
    for (uint64_t i = 0; i < n_turns; i++)
        if (turns[i] > s->length || (i && turns[i] <= turns[i - 1]))
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "turn %llu begins at token %u, which is not behind the one before and "
                           "within the session's %u",
                           (unsigned long long)i, turns[i], s->length);
    if (keep >= n_turns)
        return sm_fail(error, SM_ERR_ARGUMENT, "%llu of %llu turns are to be kept",
                       (unsigned long long)keep, (unsigned long long)n_turns);
    uint64_t last = keep; /* the first one that stays */
    while (last + 1 < n_turns && s->n_ctx - s->length + turns[last] - turns[keep] < room)
        last++;
    if (s->n_ctx - s->length + turns[last] - turns[keep] < room)
        return sm_fail(error, SM_ERR_CONTEXT_FULL,
                       "dropping %llu turns leaves room for %u tokens, not for %u",
                       (unsigned long long)(last - keep),
                       s->n_ctx - s->length + turns[last] - turns[keep], room);
    const sm_status status = drop_marked(s, turns[keep], turns[last], error);
    *n_dropped = status ? 0 : last - keep;
    return status;
}

sm_status sm_session_drop_turns(sm_session *s, const uint32_t *turns, uint64_t n_turns,
                                uint64_t keep, uint32_t room, uint64_t *n_dropped,
                                sm_error *error) {
    if (n_dropped)
        *n_dropped = 0;
    if (!s || !turns || !n_dropped)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_session_drop_turns: session, turns or n_dropped is NULL");
    sm_status status = sm_session_begin(s, error);
    if (status)
        return status;
    status = drop_turns(s, turns, n_turns, keep, room, n_dropped, error);
    sm_session_end(s);
    return status;
}
