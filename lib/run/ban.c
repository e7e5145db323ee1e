/* Strings that generated text must not hold: tokens wait until no such string can begin in them,
 * and where one is complete, the text goes back to the token that it began in. */
#include "run.h"

#define MAX_BAN_BYTES 1024
#define FIRST_WAITING 256u

sm_status sm_bans_check(const sm_generate_options *o, sm_text *ban, sm_error *error) {
    if (o->n_ban && (o->heal || o->constraint))
        return sm_fail(error, SM_ERR_ARGUMENT, "option ban goes without option %s",
                       o->heal ? "heal" : "constraint");
    const sm_status status = sm_texts_take(ban, o->ban, o->n_ban, MAX_BAN_BYTES, "ban", error);
    if (status)
        return status;
    for (uint32_t i = 0; i < o->n_ban; i++)
        for (uint64_t at = 0; at < ban[i].length;) {
            uint32_t code;
            at += sm_utf8_decode((const uint8_t *)ban[i].text + at, ban[i].length - at, &code);
            if (code == UINT32_MAX)
                return sm_fail(error, SM_ERR_ARGUMENT, "option ban: text %u is no UTF-8", i);
        }
    return SM_OK;
}

/* Room for `needed` entries of a growing array. */
static void *grow(sm_mem *mem, void *array, uint32_t needed, uint32_t *capacity, uint64_t size) {
    if (needed <= *capacity)
        return array;
    const uint32_t more = needed * 2 > FIRST_WAITING ? needed * 2 : FIRST_WAITING;
    void *larger = sm_realloc(mem, array, more * size);
    if (larger)
        *capacity = more;
    return larger;
}

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for banned strings");
}

sm_status sm_bans_wait(sm_bans *b, sm_mem *mem, const sm_waiting *token, sm_error *error) {
    sm_waiting *waiting =
        grow(mem, b->waiting, b->n_waiting + 1, &b->waiting_capacity, sizeof *waiting);
    if (!waiting)
        return no_memory(error);
    b->waiting = waiting;
    waiting[b->n_waiting++] = *token;
    return SM_OK;
}

/* Those of positions behind it are of other texts. */
sm_status sm_bans_forbid(sm_bans *b, sm_mem *mem, uint32_t position, int32_t id, sm_error *error) {
    while (b->n && b->bans[b->n - 1].position > position)
        b->n--;
    sm_ban *bans = grow(mem, b->bans, b->n + 1, &b->bans_capacity, sizeof *bans);
    if (!bans)
        return no_memory(error);
    b->bans = bans;
    bans[b->n++] = (sm_ban){position, id};
    return SM_OK;
}

static sm_status add_id(sm_bans *b, sm_mem *mem, int32_t id, sm_error *error) {
    int32_t *ids = grow(mem, b->ids, b->n_ids + 1, &b->ids_capacity, sizeof *ids);
    if (!ids)
        return no_memory(error);
    b->ids = ids;
    ids[b->n_ids++] = id;
    return SM_OK;
}

sm_status sm_bans_at(sm_bans *b, sm_mem *mem, uint32_t position, bool ends, sm_error *error) {
    sm_status status = SM_OK;
    b->n_ids = b->n_ends;
    for (uint32_t i = b->n; i-- > 0 && b->bans[i].position == position && !status;)
        status = add_id(b, mem, b->bans[i].id, error);
    if (!b->n_waiting && b->n && b->bans[b->n - 1].position < position)
        b->n = 0; /* nothing goes back there */
    b->first = ends ? 0 : b->n_ends;
    return status;
}

/* The tokens that end the text, which are banned until there are enough. */
sm_status sm_bans_ends(sm_bans *b, const sm_session *s, sm_error *error) {
    const int32_t n = sm_tokenizer_n_vocab(s->model->tokenizer);
    for (int32_t id = 0; id < n && (uint32_t)id < s->model->net->config.n_vocab; id++) {
        if (!sm_tokenizer_is_end(s->model->tokenizer, id))
            continue;
        const sm_status status = add_id(b, s->mem, id, error);
        if (status)
            return status;
        b->n_ends = b->n_ids;
    }
    return SM_OK;
}

/* Where a position is then. Nothing can be chosen anew without a token before it. */
static uint32_t moved(uint32_t position, uint32_t begin, uint32_t end) {
    const uint32_t at = position < begin ? position : position - (end - begin);
    return position == SM_DROPPED || (position >= begin && position < end) || at == 0 ? SM_DROPPED
                                                                                      : at;
}

void sm_bans_drop(sm_bans *b, uint32_t begin, uint32_t end) {
    for (uint32_t i = 0; i < b->n_waiting; i++)
        b->waiting[i].position = moved(b->waiting[i].position, begin, end);
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const uint32_t position = moved(b->bans[i].position, begin, end);
        if (position != SM_DROPPED)
            b->bans[n++] = (sm_ban){position, b->bans[i].id};
    }
    b->n = n;
}

void sm_bans_drop_first(sm_bans *b, uint32_t n, uint64_t bytes) {
    b->n_waiting -= n;
    memmove(b->waiting, b->waiting + n, b->n_waiting * sizeof *b->waiting);
    for (uint32_t i = 0; i < b->n_waiting; i++)
        b->waiting[i].end -= bytes;
}

void sm_bans_free(sm_bans *b, sm_mem *mem) {
    sm_free(mem, b->waiting);
    sm_free(mem, b->bans);
    sm_free(mem, b->ids);
    *b = (sm_bans){0};
}
