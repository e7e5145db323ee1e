/* Ids to text, at once and as a stream. */
#include "steps.h"

#include <string.h>

const char *sm_decode_token(const sm_tokenizer *t, int32_t id, uint32_t flags, bool *strip,
                            uint32_t *length) {
    const char *text = sm_strings_get(&t->piece, (uint32_t)id, length);
    uint8_t type = t->type[id];
    if (t->steps) {
        if (type == SM_TOKEN_CONTROL && !(flags & SM_DECODE_SPECIAL))
            *length = 0;
        return *length ? text : NULL;
    }
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
    return !(flags & SM_DECODE_KEEP_SPACE) &&
           (t->steps || t->add_space_prefix || t->remove_extra_whitespaces ||
            t->kind == SM_TOKENIZER_WORDPIECE);
}

static sm_status check_id(const sm_tokenizer *t, int32_t id, sm_error *error) {
    if (id >= 0 && (uint32_t)id < t->text.n)
        return SM_OK;
    return sm_fail(error, SM_ERR_TOKEN, "token %d is outside the vocabulary of %u", id, t->text.n);
}

/* also: what else is known. */
static sm_status check_flags(uint32_t flags, uint32_t also, sm_error *error) {
    if (flags & ~((uint32_t)SM_DECODE_SPECIAL | SM_DECODE_KEEP_SPACE | also))
        return sm_fail(error, SM_ERR_ARGUMENT, "unknown decode flag in %u", flags);
    return SM_OK;
}

/* The bytes of ids whose tokens' pieces follow each other. */
static bool join_pieces(const sm_tokenizer *t, const int32_t *ids, uint64_t n_ids, uint32_t flags,
                        sm_texts *texts) {
    bool strip = strips_first(t, flags);
    uint32_t length;
    for (uint64_t i = 0; i < n_ids; i++) {
        const char *piece = sm_decode_token(t, ids[i], flags, &strip, &length);
        if (t->type[ids[i]] == SM_TOKEN_UNKNOWN && *t->unk_surface) {
            piece = t->unk_surface;
            length = (uint32_t)strlen(piece);
        }
        if (length && !sm_texts_add(texts, t->mem, piece, length))
            return false;
    }
    return true;
}

static sm_status decode_plain(const sm_tokenizer *tokenizer, const int32_t *ids, uint64_t n_ids,
                              uint32_t flags, char *text, uint64_t capacity, uint64_t *n,
                              sm_error *error) {
    uint64_t total = 0;
    uint32_t length;
    bool strip = strips_first(tokenizer, flags);
    for (uint64_t i = 0; i < n_ids; i++) {
        (void)sm_decode_token(tokenizer, ids[i], flags, &strip, &length);
        total += length;
    }
    *n = total;
    if (total > capacity)
        return sm_fail(error, SM_ERR_BUFFER, "sm_tokenizer_decode: %llu bytes, room for %llu",
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

/* The texts of tokens as a tokenizer.json's decoder takes them. */
static bool list_tokens(const sm_tokenizer *t, const int32_t *ids, uint64_t n_ids, uint32_t flags,
                        sm_texts *texts) {
    for (uint64_t i = 0; i < n_ids; i++) {
        const uint32_t id = (uint32_t)ids[i];
        uint32_t length;
        if (t->type[id] == SM_TOKEN_UNUSED ||
            (t->type[id] == SM_TOKEN_CONTROL && !(flags & SM_DECODE_SPECIAL)))
            continue;
        const char *text = sm_steps_token_text(t, id, &length);
        if (!sm_texts_add(texts, t->mem, text, length))
            return false;
    }
    return true;
}

static sm_status decode_all(const sm_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                            uint32_t flags, sm_texts *texts, sm_texts *other, sm_error *error) {
    const bool lossy = flags & SM_DECODE_TEXT;
    if (t->steps) {
        if (!list_tokens(t, ids, n_ids, flags, texts))
            return sm_fail(error, SM_ERR_NOMEM, "out of memory");
        return sm_steps_undo(t, texts, other,
                             flags & SM_DECODE_KEEP_SPACE ? UNDO_MIDDLE : UNDO_WHOLE, lossy, error);
    }
    const bool each = t->kind == SM_TOKENIZER_SPM || t->kind == SM_TOKENIZER_UNIGRAM;
    if (!join_pieces(t, ids, n_ids, flags, texts) ||
        (lossy && !sm_texts_make_valid(texts, other, t->mem, each)))
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    return SM_OK;
}

sm_status sm_tokenizer_decode(const sm_tokenizer *tokenizer, const int32_t *ids, uint64_t n_ids,
                              uint32_t flags, char *text, uint64_t capacity, uint64_t *n,
                              sm_error *error) {
    if (n)
        *n = 0;
    if (!tokenizer || !n || (!ids && n_ids) || (!text && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_decode: a pointer is NULL");
    sm_status status = check_flags(flags, SM_DECODE_TEXT, error);
    for (uint64_t i = 0; i < n_ids && !status; i++)
        status = check_id(tokenizer, ids[i], error);
    if (!status && !tokenizer->steps && !(flags & SM_DECODE_TEXT))
        return decode_plain(tokenizer, ids, n_ids, flags, text, capacity, n, error);
    sm_texts texts = {0}, other = {0};
    if (!status)
        status = decode_all(tokenizer, ids, n_ids, flags, &texts, &other, error);
    if (!status) {
        *n = texts.n;
        if (texts.n > capacity)
            status = sm_fail(error, SM_ERR_BUFFER, "sm_tokenizer_decode: %llu bytes, room for %llu",
                             (unsigned long long)texts.n, (unsigned long long)capacity);
        else if (texts.n)
            memcpy(text, texts.data, (size_t)texts.n);
    }
    sm_texts_free(&texts, tokenizer->mem);
    sm_texts_free(&other, tokenizer->mem);
    return status;
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
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_detokenizer_new: out is NULL");
    *out = NULL;
    if (!tokenizer)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_detokenizer_new: tokenizer is NULL");
    sm_status status = check_flags(flags, 0, error);
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
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_detokenizer_reset: detokenizer is NULL");
    const sm_status status = begin(detokenizer, error);
    if (status)
        return status;
    reset(detokenizer);
    end(detokenizer);
    return SM_OK;
}

static bool shows(const sm_detokenizer *d, int32_t id) {
    const uint8_t type = d->tokenizer->type[id];
    return type != SM_TOKEN_UNUSED && (type != SM_TOKEN_CONTROL || d->flags & SM_DECODE_SPECIAL);
}

/* What a token becomes as the first one of a text: it may lose a space, or keep a prefix. */
static sm_status make_head(const sm_detokenizer *d, int32_t id, sm_texts *head, sm_texts *other,
                           sm_error *error) {
    if (!list_tokens(d->tokenizer, &id, 1, SM_DECODE_SPECIAL, head))
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    return sm_steps_undo(d->tokenizer, head, other, UNDO_HEAD, false, error);
}

void sm_detokenizer_get_mark(const sm_detokenizer *d, sm_detokenizer_mark *mark) {
    mark->n_waiting = d->n_waiting;
    memcpy(mark->waiting, d->waiting, sizeof mark->waiting);
    mark->strip = d->strip;
}

void sm_detokenizer_go_back(sm_detokenizer *d, const sm_detokenizer_mark *mark) {
    d->n_waiting = mark->n_waiting;
    memcpy(d->waiting, mark->waiting, sizeof d->waiting);
    d->strip = mark->strip;
}

static sm_status feed(sm_detokenizer *d, int32_t id, const char **piece, uint64_t *length,
                      sm_error *error) {
    const sm_status status = check_id(d->tokenizer, id, error);
    if (status)
        return status;
    uint32_t n_new;
    const char *text = sm_decode_token(d->tokenizer, id, d->flags, &d->strip, &n_new);
    sm_texts head = {0}, other = {0};
    if (d->strip && d->tokenizer->steps && shows(d, id)) {
        const sm_status found = make_head(d, id, &head, &other, error);
        if (found) {
            sm_texts_free(&head, d->tokenizer->mem);
            sm_texts_free(&other, d->tokenizer->mem);
            return found;
        }
        d->strip = false;
        text = head.data;
        n_new = (uint32_t)head.n;
    }
    memcpy(d->out, d->waiting, d->n_waiting);
    if (n_new)
        memcpy(d->out + d->n_waiting, text, n_new);
    uint64_t n = d->n_waiting + (uint64_t)n_new;
    uint64_t complete = sm_utf8_complete((const uint8_t *)d->out, n);
    d->n_waiting = (uint32_t)(n - complete);
    memcpy(d->waiting, d->out + complete, d->n_waiting);
    d->out[complete] = 0;
    sm_texts_free(&head, d->tokenizer->mem);
    sm_texts_free(&other, d->tokenizer->mem);
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
    sm_status status = begin_piece(detokenizer, "sm_detokenizer_feed", piece, length, error);
    if (status)
        return status;
    status = feed(detokenizer, id, piece, length, error);
    end(detokenizer);
    return status;
}

sm_status sm_detokenizer_flush(sm_detokenizer *detokenizer, const char **piece, uint64_t *length,
                               sm_error *error) {
    const sm_status status = begin_piece(detokenizer, "sm_detokenizer_flush", piece, length, error);
    if (status)
        return status;
    flush(detokenizer, piece, length);
    end(detokenizer);
    return SM_OK;
}
