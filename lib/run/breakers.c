/* Texts that DRY's repetitions do not reach over, as tokens: those that hold such a text, and those
 * that end with its beginning together with the tokens of the rest, as in llama.cpp
 * (get_overlapping_token_sequences). Found once for a session, and again when the texts change. */
#include "run.h"

#include <string.h>

#define TOKEN 1024    /* bytes of a token that are looked at */
#define MOST_TAIL 20u /* tokens behind the first */

void sm_breaker_cache_free(sm_breaker_cache *b, sm_mem *mem) {
    sm_free(mem, b->key);
    sm_free(mem, b->head);
    sm_free(mem, b->end);
    sm_free(mem, b->tail);
    *b = (sm_breaker_cache){0};
}

/* Room for one more of each. */
static bool reserve(sm_breaker_cache *b, sm_mem *mem) {
    const uint32_t n = b->found.n + 2, tail = b->n_tail + MOST_TAIL;
    if (n > b->capacity) {
        int32_t *head = sm_realloc(mem, b->head, 2 * (uint64_t)n * sizeof *head);
        b->head = head ? head : b->head;
        uint32_t *end = head ? sm_realloc(mem, b->end, 2 * (uint64_t)n * sizeof *end) : NULL;
        if (!end)
            return false;
        b->end = end;
        b->capacity = 2 * n;
    }
    if (tail > b->tail_capacity) {
        int32_t *more = sm_realloc(mem, b->tail, 2 * (uint64_t)tail * sizeof *more);
        if (!more)
            return false;
        b->tail = more;
        b->tail_capacity = 2 * tail;
    }
    return true;
}

/* Whether one of the head's sequences is this already. */
static bool is_there(const sm_breaker_cache *b, int32_t head, const int32_t *tail, uint64_t n) {
    for (uint32_t i = b->found.n; i-- > 0 && b->head[i] == head;)
        if (b->end[i + 1] - b->end[i] == n &&
            !memcmp(b->tail + b->end[i], tail, (size_t)n * sizeof *tail))
            return true;
    return false;
}

static bool add(sm_breaker_cache *b, sm_mem *mem, int32_t head, const int32_t *tail, uint64_t n) {
    if (is_there(b, head, tail, n))
        return true;
    if (!reserve(b, mem))
        return false;
    if (n)
        memcpy(b->tail + b->n_tail, tail, (size_t)n * sizeof *tail);
    b->n_tail += (uint32_t)n;
    b->head[b->found.n] = head;
    b->end[0] = 0;
    b->end[++b->found.n] = b->n_tail;
    return true;
}

/* A token that ends with text[0..at): it and the tokens of the rest. */
static bool add_rest(sm_breaker_cache *b, const sm_session *s, int32_t head, const sm_text *text,
                     uint64_t at) {
    const sm_encode_options plain = {.struct_size = sizeof plain};
    int32_t tail[SM_MAX_BREAKER + 16];
    uint64_t n;
    return !sm_tokenizer_encode_rest(s->model->tokenizer, text->text, text->length, at, &plain,
                                     tail, SM_MAX_BREAKER + 16, &n, NULL) &&
           add(b, s->mem, head, tail, min_u64(n, MOST_TAIL));
}

static bool holds(const char *token, uint64_t n, const char *text, uint64_t length) {
    for (uint64_t at = 0; at + length <= n; at++)
        if (!memcmp(token + at, text, (size_t)length))
            return true;
    return false;
}

/* Everything about one token and one text. */
static bool add_token(sm_breaker_cache *b, const sm_session *s, int32_t id, const char *token,
                      uint64_t n, const sm_text *text) {
    if (holds(token, n, text->text, text->length))
        return add(b, s->mem, id, NULL, 0);
    bool fine = true;
    for (uint64_t same = 1; same < text->length && same <= n && fine; same++)
        if (!memcmp(token + n - same, text->text, (size_t)same))
            fine = add_rest(b, s, id, text, same);
    return fine;
}

static bool find(sm_breaker_cache *b, const sm_session *s, const sm_chain *chain) {
    const int32_t n_vocab = (int32_t)min_u32((uint32_t)sm_tokenizer_n_vocab(s->model->tokenizer),
                                             s->model->net->config.n_vocab);
    for (int32_t id = 0; id < n_vocab; id++) {
        char token[TOKEN];
        uint64_t n;
        if (sm_tokenizer_decode(s->model->tokenizer, &id, 1,
                                SM_DECODE_SPECIAL | SM_DECODE_KEEP_SPACE, token, TOKEN, &n, NULL))
            continue; /* longer than any text that matters */
        for (uint64_t i = 0; i < chain->options.n_dry_breaker_texts; i++)
            if (!add_token(b, s, id, token, n, &chain->breakers[i]))
                return false;
    }
    return true;
}

/* The texts one behind the other, each behind its length, and a 0; how many bytes that is, and
 * whether they are those of `key`. */
static uint64_t key_of(const sm_chain *chain, const char *key, char *copy, bool *same) {
    uint64_t at = 0;
    *same = key != NULL;
    for (uint64_t i = 0; i < chain->options.n_dry_breaker_texts; i++) {
        const sm_text *text = &chain->breakers[i];
        const char length = (char)text->length;
        *same = *same && key[at] == length && !memcmp(key + at + 1, text->text, text->length);
        if (copy) {
            copy[at] = length;
            memcpy(copy + at + 1, text->text, text->length);
        }
        at += 1 + text->length;
    }
    *same = *same && key[at] == 0;
    if (copy)
        copy[at] = 0;
    return at + 1;
}

sm_status sm_breaker_cache_take(sm_session *s, const sm_chain *chain, const sm_breakers **breakers,
                                sm_error *error) {
    sm_breaker_cache *b = &s->breakers;
    bool same;
    *breakers = NULL;
    if (!chain->options.n_dry_breaker_texts ||
        !(chain->options.dry_multiplier > 0 || chain->options.n_steps))
        return SM_OK;
    if (!s->model->tokenizer)
        return sm_fail(error, SM_ERR_MISSING,
                       "option dry_breaker_texts: the model has no vocabulary");
    const uint64_t length = key_of(chain, b->key, NULL, &same);
    if (!same) {
        sm_breaker_cache_free(b, s->mem);
        char *key = sm_alloc(s->mem, length);
        if (!key || !find(b, s, chain)) {
            sm_free(s->mem, key);
            sm_breaker_cache_free(b, s->mem);
            return sm_fail(error, SM_ERR_NOMEM, "out of memory for the breakers of DRY");
        }
        key_of(chain, NULL, key, &same);
        b->key = key;
        b->found.head = b->head;
        b->found.end = b->end;
        b->found.tail = b->tail;
    }
    *breakers = &b->found;
    return SM_OK;
}
