/* Ids to text, at once and as a stream. */
#include "internal.h"

#include <string.h>

const char *sm_decode_token(const sm_tokenizer *t, int32_t id, uint32_t flags, bool *strip,
                            uint32_t *length) {
    const char *text = sm_strings_get(&t->piece, (uint32_t)id, length);
    uint8_t type = t->type[id];
    if (type == SM_TOKEN_CONTROL || type == SM_TOKEN_UNKNOWN ||
        (type == SM_TOKEN_USER_DEFINED && !(t->flags[id] & SM_FLAG_WOVEN))) {
        if (type != SM_TOKEN_USER_DEFINED && !(flags & SM_DECODE_SPECIAL))
            *length = 0;
        if (type == SM_TOKEN_UNKNOWN) /* stands for text */
            *strip = false;
        else if (t->add_space_prefix) /* encoding puts it in front of every fragment */
            *strip = !(flags & SM_DECODE_KEEP_SPACE);
        else if (*length)
            *strip = false;
        return *length ? text : NULL;
    }
    const bool space = *strip && *length && *text == ' ';
    *length -= space;
    /* where all spaces in front are removed, those of several tokens */
    *strip &= !*length && (!space || t->remove_extra_whitespaces);
    return text + space;
}

const char *sm_tokenizer_silent_text(const sm_tokenizer *t, int32_t id, uint64_t *length) {
    *length = 0;
    if (id < 0 || (uint32_t)id >= t->text.n ||
        (t->type[id] != SM_TOKEN_CONTROL && t->type[id] != SM_TOKEN_UNKNOWN))
        return NULL;
    uint32_t n;
    const char *text = sm_strings_get(&t->piece, (uint32_t)id, &n);
    *length = n;
    return text;
}

const char *sm_tokenizer_inner_text(const sm_tokenizer *t, int32_t id, uint64_t *length) {
    *length = 0;
    if (id < 0 || (uint32_t)id >= t->text.n || t->type[id] == SM_TOKEN_UNUSED ||
        t->type[id] == SM_TOKEN_CONTROL || t->type[id] == SM_TOKEN_UNKNOWN)
        return NULL;
    bool strip = false;
    uint32_t n;
    const char *text = sm_decode_token(t, id, SM_DECODE_KEEP_SPACE, &strip, &n);
    *length = n;
    return n ? text : NULL;
}

/* Whether the first space of a text was put there by encoding or decoding. */
static bool strips_first(const sm_tokenizer *t, uint32_t flags) {
    return !(flags & SM_DECODE_KEEP_SPACE) && (t->add_space_prefix || t->remove_extra_whitespaces ||
                                               t->kind == SM_TOKENIZER_WORDPIECE);
}

static sm_status check_id(const sm_tokenizer *t, int32_t id, sm_error *error) {
    if (id >= 0 && (uint32_t)id < t->text.n)
        return SM_OK;
    return sm_fail(error, SM_ERR_TOKEN, "token %d is outside the vocabulary of %u", id, t->text.n);
}

static sm_status check_flags(uint32_t flags, sm_error *error) {
    if (flags & ~(uint32_t)(SM_DECODE_SPECIAL | SM_DECODE_KEEP_SPACE))
        return sm_fail(error, SM_ERR_ARGUMENT, "unknown decode flag in %u", flags);
    return SM_OK;
}

sm_status sm_tokenizer_decode(const sm_tokenizer *tokenizer, const int32_t *ids, uint64_t n_ids,
                              uint32_t flags, char *text, uint64_t capacity, uint64_t *n,
                              sm_error *error) {
    if (n)
        *n = 0;
    if (!tokenizer || !n || (!ids && n_ids) || (!text && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_decode: a pointer is NULL");
    sm_status status = check_flags(flags, error);
    uint64_t total = 0;
    uint32_t length;
    bool strip = strips_first(tokenizer, flags);
    for (uint64_t i = 0; i < n_ids && !status; i++) {
        status = check_id(tokenizer, ids[i], error);
        if (!status) {
            (void)sm_decode_token(tokenizer, ids[i], flags, &strip, &length);
            total += length;
        }
    }
    if (status)
        return status;
    *n = total;
    if (total > capacity)
        return sm_fail(error, SM_ERR_BUFFER, "tokenizer_decode: %llu bytes, room for %llu",
                       (unsigned long long)total, (unsigned long long)capacity);
    strip = strips_first(tokenizer, flags);
    for (uint64_t i = 0; i < n_ids; i++) {
        const char *piece = sm_decode_token(tokenizer, ids[i], flags, &strip, &length);
        if (length)
            memcpy(text, piece, length);
        text += length;
    }
    return SM_OK;
}

/* ---- streaming ----------------------------------------------------------- */

struct sm_detokenizer {
    sm_use use;
    const sm_tokenizer *tokenizer;
    uint32_t flags;
    bool strip;
    uint32_t n_waiting; /* bytes of an unfinished sequence */
    char waiting[4];
    char out[]; /* longest piece, what waited before it, terminator */
};

static void reset(sm_detokenizer *d) {
    d->n_waiting = 0;
    d->strip = strips_first(d->tokenizer, d->flags);
}

static sm_status begin(sm_detokenizer *d, sm_error *error) {
    return sm_use_begin(&d->use, sm_process_id(), "detokenizer", error);
}

static void end(sm_detokenizer *d) {
    if (sm_use_end(&d->use))
        sm_detokenizer_free(d);
}

sm_status sm_detokenizer_new(sm_detokenizer **out, const sm_tokenizer *tokenizer, uint32_t flags,
                             sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "detokenizer_new: out is NULL");
    *out = NULL;
    if (!tokenizer)
        return sm_fail(error, SM_ERR_ARGUMENT, "detokenizer_new: tokenizer is NULL");
    sm_status status = check_flags(flags, error);
    if (status)
        return status;
    sm_detokenizer *d =
        sm_alloc_zero(tokenizer->mem, sizeof *d + tokenizer->max_piece + sizeof d->waiting + 1);
    if (!d)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    d->tokenizer = tokenizer;
    d->flags = flags;
    sm_tokenizer_retain(tokenizer);
    reset(d);
    *out = d;
    return SM_OK;
}

void sm_detokenizer_free(sm_detokenizer *detokenizer) {
    if (!detokenizer || !sm_use_free(&detokenizer->use))
        return;
    const sm_tokenizer *tokenizer = detokenizer->tokenizer;
    sm_free(tokenizer->mem, detokenizer);
    sm_tokenizer_free((sm_tokenizer *)tokenizer);
}

sm_status sm_detokenizer_reset(sm_detokenizer *detokenizer, sm_error *error) {
    if (!detokenizer)
        return sm_fail(error, SM_ERR_ARGUMENT, "detokenizer_reset: detokenizer is NULL");
    const sm_status status = begin(detokenizer, error);
    if (status)
        return status;
    reset(detokenizer);
    end(detokenizer);
    return SM_OK;
}

static sm_status feed(sm_detokenizer *d, int32_t id, const char **piece, uint64_t *length,
                      sm_error *error) {
    const sm_status status = check_id(d->tokenizer, id, error);
    if (status)
        return status;
    uint32_t n_new;
    const char *text = sm_decode_token(d->tokenizer, id, d->flags, &d->strip, &n_new);
    memcpy(d->out, d->waiting, d->n_waiting);
    if (n_new)
        memcpy(d->out + d->n_waiting, text, n_new);
    uint64_t n = d->n_waiting + (uint64_t)n_new;
    uint64_t complete = sm_utf8_complete((const uint8_t *)d->out, n);
    d->n_waiting = (uint32_t)(n - complete);
    memcpy(d->waiting, d->out + complete, d->n_waiting);
    d->out[complete] = 0;
    *piece = d->out;
    *length = complete;
    return SM_OK;
}

static void flush(sm_detokenizer *d, const char **piece, uint64_t *length) {
    memcpy(d->out, d->waiting, d->n_waiting);
    d->out[d->n_waiting] = 0;
    *piece = d->out;
    *length = d->n_waiting;
    d->n_waiting = 0;
}

/* What all that hand out a piece begin with. */
static sm_status begin_piece(sm_detokenizer *d, const char *function, const char **piece,
                             uint64_t *length, sm_error *error) {
    if (piece)
        *piece = "";
    if (length)
        *length = 0;
    if (!d || !piece || !length)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: a pointer is NULL", function);
    return begin(d, error);
}

sm_status sm_detokenizer_feed(sm_detokenizer *detokenizer, int32_t id, const char **piece,
                              uint64_t *length, sm_error *error) {
    sm_status status = begin_piece(detokenizer, "detokenizer_feed", piece, length, error);
    if (status)
        return status;
    status = feed(detokenizer, id, piece, length, error);
    end(detokenizer);
    return status;
}

sm_status sm_detokenizer_flush(sm_detokenizer *detokenizer, const char **piece, uint64_t *length,
                               sm_error *error) {
    const sm_status status = begin_piece(detokenizer, "detokenizer_flush", piece, length, error);
    if (status)
        return status;
    flush(detokenizer, piece, length);
    end(detokenizer);
    return SM_OK;
}
