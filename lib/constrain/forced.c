/* forced.c - what must follow where a constraint is, as text and as tokens. */
#include "constraint.h"

#include <string.h>

#define MAX_FORCED 65536
#define MAX_TOLD (1 << 20)

/* ---- what is forced (forced.c) --------------------------------------------------------------- */

/* The only byte that may follow; -1: there are others, or none, or the end may come. -2: failed. */
static int only_byte(sm_machine *m, sm_place at) {
    if (sm_machine_accepts(m, at))
        return -1;
    if (!sm_machine_look(m, at))
        return -2;
    int only = -1;
    const sm_shape shape = m->g->shapes[m->states[at].shape];
    for (uint32_t c = 0; c < shape.n; c++) {
        const sm_place next = sm_machine_next(m, at, shape.bytes[shape.start[c]]);
        if (next == SM_PLACE_NONE)
            return -2;
        if (next == SM_PLACE_DEAD)
            continue;
        if (only >= 0 || shape.start[c + 1] - shape.start[c] > 1)
            return -1;
        only = shape.bytes[shape.start[c]];
    }
    return only;
}

/* text NULL: only counts. *at: where they lead. */
static sm_status forced(sm_constraint_state *s, char *text, uint64_t capacity, uint64_t *n,
                        sm_place *at, sm_error *error) {
    sm_machine *m = &s->c->machine;
    *at = s->at;
    for (*n = 0; !s->over && *n < MAX_FORCED; ++*n) {
        const int byte = only_byte(m, *at);
        if (byte == -2)
            return sm_grammar_status(s->c->g, error);
        if (byte < 0)
            break;
        if (text && *n < capacity)
            text[*n] = (char)byte;
        *at = sm_machine_next(m, *at, (uint8_t)byte);
    }
    return SM_OK;
}

sm_status sm_constraint_forced_text(sm_constraint_state *s, char *text, uint64_t capacity,
                                    uint64_t *n, sm_error *error) {
    sm_place at;
    sm_status status = n ? sm_place_begin(s, "sm_constraint_forced_text", error)
                         : sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_forced_text: n is NULL");
    if (status)
        return status;
    status = forced(s, text, capacity, n, &at, error);
    if (!status && *n > capacity)
        status = sm_fail(error, SM_ERR_BUFFER, "%llu bytes are forced", (unsigned long long)*n);
    sm_place_end(s);
    return status;
}

/* Whether some token that begins with these bytes goes on beyond them in a way that may come. */
static bool goes_beyond(sm_constraint *c, const char *text, uint32_t n, sm_place at) {
    const sm_twig *twigs = c->trie->twigs[0];
    uint32_t i = 0;
    for (uint32_t d = 0; d < n; d++) { /* down to the twig of these bytes */
        uint32_t child = i + 1;
        while (child < twigs[i].end && twigs[child].byte != (uint8_t)text[d])
            child = twigs[child].end;
        if (child >= twigs[i].end)
            return false;
        i = child;
    }
    const uint32_t last = twigs[i].end;
    c->path[n] = at;
    for (i++; i < last;) {
        const sm_place next =
            sm_machine_next(&c->machine, c->path[twigs[i].depth - 1], twigs[i].byte);
        if (next == SM_PLACE_DEAD || next == SM_PLACE_NONE) {
            i = twigs[i].end;
            continue;
        }
        if (twigs[i].token >= 0)
            return true;
        c->path[twigs[i].depth] = next;
        i++;
    }
    return false;
}

/* Tokens that stand whatever comes: those before the first byte from which on a longer one may
 * come. */
static uint64_t standing(sm_constraint *c, const char *text, uint64_t n, sm_place at,
                         const int32_t *ids, uint64_t n_ids) {
    uint64_t safe = n;
    const uint64_t from = n > c->trie->max_depth ? n - c->trie->max_depth : 0;
    for (uint64_t i = from; i < n && safe == n; i++)
        if (goes_beyond(c, text + i, (uint32_t)(n - i), at))
            safe = i;
    uint64_t kept = 0, length = 0;
    while (kept < n_ids && length + c->trie->text[ids[kept]].length <= safe)
        length += c->trie->text[ids[kept++]].length;
    return kept;
}

/* Whether these ids are the text, byte by byte. */
static bool spells(const sm_trie *t, const int32_t *ids, uint64_t n_ids, const char *text,
                   uint64_t n) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n_ids; i++) {
        const sm_str piece = t->text[ids[i]];
        if (!piece.length || piece.length > n - at ||
            memcmp(piece.data, text + at, (size_t)piece.length))
            return false;
        at += piece.length;
    }
    return at == n;
}

/* Tokens of text[1..length], which is forced and leads to `at`, into own: how many stand. */
static sm_status forced_ids(sm_constraint *c, char *text, uint64_t length, sm_place at,
                            int32_t *own, uint64_t *n, sm_error *error) {
    uint64_t n_ids;
    text[0] = 'x'; /* something before it: the text goes on */
    const sm_status status = sm_tokenizer_encode_rest(c->tokenizer, text, length + 1, 1, NULL, own,
                                                      length + 16, &n_ids, error);
    if (status == SM_ERR_BUFFER)
        return SM_OK; /* a vocabulary that normalizes: nothing is put together */
    if (!status && spells(c->trie, own, n_ids, text + 1, length))
        *n = standing(c, text + 1, length, at, own, n_ids);
    return status;
}

/* Puts the tokens that are forced where the state is into c->told, at *told; kept for the next time
 * as long as there is room. */
static sm_status tell_forced(sm_constraint_state *s, uint64_t length, uint32_t *told,
                             sm_error *error) {
    sm_constraint *c = s->c;
    sm_place at;
    uint64_t n = 0;
    if (!sm_grammar_reserve(c->g, &c->forced, &c->forced_room, length + 2, 1) ||
        !sm_grammar_reserve(c->g, &c->forced_ids, &c->forced_ids_room, length + 16,
                            sizeof *c->forced_ids) ||
        !sm_grammar_reserve(c->g, &c->told, &c->told_room, c->n_told + length + 18,
                            sizeof *c->told))
        return sm_grammar_status(c->g, error);
    sm_status status = forced(s, c->forced + 1, length, &length, &at, error);
    if (!status)
        status = forced_ids(c, c->forced, length, at, c->forced_ids, &n, error);
    if (status)
        return status;
    c->n_told += !c->n_told;
    c->told[c->n_told] = (int32_t)n;
    if (n)
        memcpy(c->told + c->n_told + 1, c->forced_ids, n * sizeof *c->told);
    *told = (uint32_t)c->n_told;
    if (c->n_told + n + 1 <= MAX_TOLD) {
        c->machine.states[s->at].forced = *told;
        c->n_told += n + 1;
    }
    return SM_OK;
}

static sm_status forced_tokens(sm_constraint_state *s, int32_t *ids, uint64_t capacity, uint64_t *n,
                               sm_error *error) {
    sm_constraint *c = s->c;
    sm_place at;
    uint64_t length = 0;
    if (s->over)
        return SM_OK;
    uint32_t place = c->machine.states[s->at].forced;
    if (!place) {
        sm_status status = forced(s, NULL, 0, &length, &at, error);
        if (!status && length)
            status = tell_forced(s, length, &place, error);
        if (status || !length)
            return status;
    }
    const int32_t *told = c->told + place;
    *n = (uint64_t)told[0];
    if (*n > capacity)
        return sm_fail(error, SM_ERR_BUFFER, "%llu tokens are forced", (unsigned long long)*n);
    if (*n)
        memcpy(ids, told + 1, *n * sizeof *ids);
    return SM_OK;
}

sm_status sm_constraint_forced(sm_constraint_state *s, int32_t *ids, uint64_t capacity, uint64_t *n,
                               sm_error *error) {
    sm_status status = n ? sm_place_begin_tokens(s, "sm_constraint_forced", error)
                         : sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_forced: n is NULL");
    if (status)
        return status;
    *n = 0;
    status = forced_tokens(s, ids, capacity, n, error);
    sm_place_end(s);
    return status;
}
