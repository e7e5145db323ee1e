/* place.c - where a text stands in a constraint: going on by tokens and bytes, and back. */
#include "constraint.h"

#include <string.h>

/* What each byte of a text that is taken may cost beyond a call's limit, and all of them. */
#define WORK_OF_BYTE ((uint64_t)1 << 20)
#define WORK_OF_TEXT ((uint64_t)1 << 29)

/* ---- states (place.c) ------------------------------------------------------------------------ */

sm_status sm_place_begin(sm_constraint_state *s, const char *function, sm_error *error) {
    if (!s)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: state is NULL", function);
    const sm_status status = sm_use_begin(&s->use, sm_process_id(), "constraint state", error);
    if (status)
        return status;
    sm_mutex_lock(s->c->lock);
    s->c->g->work = 0;
    return SM_OK;
}

sm_status sm_place_begin_tokens(sm_constraint_state *s, const char *function, sm_error *error) {
    if (s && !s->c->trie)
        return sm_fail(error, SM_ERR_MISSING, "the constraint was made without a vocabulary");
    return sm_place_begin(s, function, error);
}

static void release_state(sm_constraint_state *s) {
    sm_constraint *c = s->c;
    sm_free(c->mem, s->history);
    sm_free(c->mem, s);
    sm_constraint_free(c);
}

void sm_place_end(sm_constraint_state *s) {
    sm_mutex_unlock(s->c->lock);
    if (sm_use_end(&s->use))
        release_state(s);
}

sm_status sm_constraint_state_new(sm_constraint_state **out, sm_constraint *c, sm_error *error) {
    if (out)
        *out = NULL;
    if (!out || !c)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_state_new: a pointer is NULL");
    sm_constraint_state *s = sm_alloc_zero(c->mem, sizeof *s);
    if (!s)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint's state");
    sm_constraint_retain(c);
    s->c = c;
    s->at = c->machine.start;
    *out = s;
    return SM_OK;
}

void sm_constraint_state_free(sm_constraint_state *s) {
    if (s && sm_use_free(&s->use))
        release_state(s);
}

static sm_status remember(sm_constraint_state *s, uint64_t more, sm_error *error) {
    if (s->n + more <= s->room)
        return SM_OK;
    const uint64_t room = max_u64(s->n + more, s->room * 2 + 256);
    sm_place *history = sm_realloc(s->c->mem, s->history, room * sizeof *history);
    if (!history)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint's state");
    s->history = history;
    s->room = room;
    return SM_OK;
}

sm_status sm_constraint_state_fork(sm_constraint_state **out, const sm_constraint_state *from,
                                   sm_error *error) {
    if (out)
        *out = NULL;
    sm_constraint_state *f = (sm_constraint_state *)from;
    sm_status status =
        out ? sm_place_begin(f, "sm_constraint_state_fork", error)
            : sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_state_fork: out is NULL");
    if (status)
        return status;
    status = sm_constraint_state_new(out, f->c, error);
    if (!status) {
        (*out)->at = f->at;
        (*out)->over = f->over;
        status = remember(*out, f->n, error);
        if (!status && f->n)
            memcpy((*out)->history, f->history, f->n * sizeof *f->history);
        (*out)->n = status ? 0 : f->n;
    }
    if (status && *out) {
        sm_constraint_state_free(*out);
        *out = NULL;
    }
    sm_place_end(f);
    return status;
}

sm_status sm_constraint_mask(sm_constraint_state *s, uint32_t *mask, uint64_t n_words,
                             sm_error *error) {
    sm_status status = sm_place_begin_tokens(s, "sm_constraint_mask", error);
    if (status)
        return status;
    const uint64_t words = s->c->trie->n_words;
    const uint32_t *bits = NULL;
    if (!mask || n_words < words)
        status = sm_fail(error, SM_ERR_BUFFER,
                         "sm_constraint_mask: room for %llu words, %llu are needed",
                         (unsigned long long)n_words, (unsigned long long)words);
    else if (s->over)
        memset(mask, 0, n_words * sizeof *mask);
    else
        status = sm_mask_of(s->c, s->at, &bits, error);
    if (!status && !s->over) {
        memcpy(mask, bits, words * sizeof *mask);
        memset(mask + words, 0, (n_words - words) * sizeof *mask);
    }
    sm_place_end(s);
    return status;
}

static sm_status advance(sm_constraint_state *s, const void *text, uint64_t n, sm_place *at,
                         sm_error *error) {
    const uint8_t *bytes = text;
    uint64_t more = WORK_OF_TEXT;
    *at = s->over ? SM_PLACE_DEAD : s->at;
    for (uint64_t i = 0; i < n && *at != SM_PLACE_DEAD; i++) {
        const uint64_t back = min_u64(s->c->g->work, min_u64(more, WORK_OF_BYTE));
        s->c->g->work -= back;
        more -= back;
        *at = sm_machine_next(&s->c->machine, *at, bytes[i]);
        if (*at == SM_PLACE_NONE)
            return sm_grammar_status(s->c->g, error);
    }
    return SM_OK;
}

static void move(sm_constraint_state *s, sm_place at, bool over) {
    s->history[s->n++] = s->at;
    s->at = at;
    s->over = over;
}

static sm_status accept(sm_constraint_state *s, int32_t id, sm_error *error) {
    const sm_trie *t = s->c->trie;
    sm_place at;
    if (id < 0 || (uint32_t)id >= t->n_vocab)
        return sm_fail(error, SM_ERR_TOKEN, "token %d is outside the vocabulary of %u", id,
                       t->n_vocab);
    sm_status status = remember(s, 1, error);
    if (status)
        return status;
    const bool ends = t->ends[id / 32] >> id % 32 & 1;
    if (ends && !s->over && sm_machine_accepts(&s->c->machine, s->at)) {
        move(s, s->at, true);
        return SM_OK;
    }
    status = advance(s, t->text[id].data, t->text[id].length, &at, error);
    if (status)
        return status;
    if (ends || !t->text[id].length || at == SM_PLACE_DEAD)
        return sm_fail(error, SM_ERR_ARGUMENT, "token %d may not come here by the constraint", id);
    move(s, at, false);
    return SM_OK;
}

sm_status sm_constraint_accept(sm_constraint_state *s, int32_t id, sm_error *error) {
    sm_status status = sm_place_begin_tokens(s, "sm_constraint_accept", error);
    if (status)
        return status;
    status = accept(s, id, error);
    sm_place_end(s);
    return status;
}

sm_status sm_constraint_accept_text(sm_constraint_state *s, const char *text, uint64_t length,
                                    sm_error *error) {
    sm_status status = sm_place_begin(s, "sm_constraint_accept_text", error);
    sm_place at = SM_PLACE_DEAD;
    if (status)
        return status;
    status = length && !text ? sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_accept_text: NULL")
                             : remember(s, 1, error);
    if (!status)
        status = advance(s, text, text_size(text, length), &at, error);
    if (!status && at == SM_PLACE_DEAD)
        status = sm_fail(error, SM_ERR_ARGUMENT, "the text may not come here by the constraint");
    if (!status)
        move(s, at, false);
    sm_place_end(s);
    return status;
}

int32_t sm_constraint_can_end(const sm_constraint_state *state) {
    sm_constraint_state *s = (sm_constraint_state *)state;
    if (sm_place_begin(s, "sm_constraint_can_end", NULL))
        return 0;
    const bool can = s->over || sm_machine_accepts(&s->c->machine, s->at);
    sm_place_end(s);
    return can;
}

int32_t sm_constraint_ended(sm_constraint_state *s) {
    if (sm_place_begin(s, "sm_constraint_ended", NULL))
        return 0;
    sm_machine *m = &s->c->machine;
    bool ended = s->over;
    if (!ended && sm_machine_accepts(m, s->at) && sm_machine_look(m, s->at)) {
        const sm_shape shape = m->g->shapes[m->states[s->at].shape];
        ended = true;
        for (uint32_t c = 0; c < shape.n && ended; c++)
            ended = sm_machine_next(m, s->at, shape.bytes[shape.start[c]]) == SM_PLACE_DEAD;
    }
    sm_place_end(s);
    return ended;
}

sm_status sm_constraint_rewind(sm_constraint_state *s, uint64_t n, sm_error *error) {
    sm_status status = sm_place_begin(s, "sm_constraint_rewind", error);
    if (status)
        return status;
    if (n > s->n) {
        status = sm_fail(error, SM_ERR_ARGUMENT, "%llu tokens are to be taken back, of %llu",
                         (unsigned long long)n, (unsigned long long)s->n);
    } else if (n) {
        s->n -= n;
        s->at = s->history[s->n];
        s->over = false;
    }
    sm_place_end(s);
    return status;
}

sm_status sm_constraint_reset(sm_constraint_state *s, sm_error *error) {
    const sm_status status = sm_place_begin(s, "sm_constraint_reset", error);
    if (status)
        return status;
    s->n = 0;
    s->at = s->c->machine.start;
    s->over = false;
    sm_place_end(s);
    return SM_OK;
}
