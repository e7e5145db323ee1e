/* Token healing: a prompt that ends inside what the vocabulary would write as one token ("http:",
 * and not "http://") leads models astray. Its last tokens are given up, and the continuation has to
 * begin with their text: with any token that continues it, or is a beginning of it.
 */
#include "run.h"

#include <string.h>

#define MOST 4    /* tokens that are given up */
#define TEXT 1024 /* bytes of a token that are looked at */

void sm_heal_free(sm_session *s, sm_heal *heal) {
    sm_free(s->mem, heal->text);
    sm_free(s->mem, heal->mask);
    *heal = (sm_heal){0};
}

/* The bytes of a token within a text; 0: control tokens, and those too long to matter. */
static uint64_t bytes_of(const sm_session *s, int32_t id, char text[TEXT]) {
    uint64_t n = 0;
    const sm_status status = sm_tokenizer_decode(s->model->tokenizer, &id, 1, SM_DECODE_KEEP_SPACE,
                                                 text, TEXT, &n, NULL);
    return status ? 0 : n;
}

/* Where the texts of the last tokens begin in `text`, the last one first; how many there are. */
static uint32_t last_texts(const sm_session *s, const int32_t *ids, uint64_t n, char *text,
                           uint64_t begin[MOST]) {
    uint64_t at = MOST * TEXT;
    uint32_t k = 0;
    while (k < MOST && k + 1 < n) { /* one token is left, for logits */
        char piece[TEXT];
        const uint64_t length = bytes_of(s, ids[n - 1 - k], piece);
        if (!length)
            break;
        at -= length;
        memcpy(text + at, piece, (size_t)length);
        begin[k++] = at;
    }
    return k;
}

/* Whether the token has bytes[0..n) and more, or is [0..m) of them; `whole` asks for the first. */
static bool continues(const char *token, uint64_t m, const char *bytes, uint64_t n, bool whole) {
    return m && (m > n || !whole) && !memcmp(token, bytes, (size_t)min_u64(m, n));
}

/* The most tokens whose text together is the beginning of a longer token. */
static uint32_t find(const sm_session *s, const char *text, const uint64_t *begin, uint32_t k) {
    const int32_t n_vocab = sm_tokenizer_n_vocab(s->model->tokenizer);
    uint32_t found = 0;
    for (int32_t id = 0; id < n_vocab && found < k; id++) {
        char token[TEXT];
        const uint64_t m = bytes_of(s, id, token);
        for (uint32_t i = k; i > found; i--)
            if (continues(token, m, text + begin[i - 1], MOST * TEXT - begin[i - 1], true))
                found = i;
    }
    return found;
}

sm_status sm_heal_begin(sm_session *s, sm_heal *heal, const int32_t *ids, uint64_t *n,
                        sm_error *error) {
    uint64_t begin[MOST];
    char *text = sm_alloc(s->mem, MOST * TEXT);
    const uint64_t words = ((uint64_t)s->model->net->config.n_vocab + 31) / 32;
    heal->text = text;
    heal->mask = sm_alloc_array(s->mem, words, sizeof *heal->mask);
    if (!text || !heal->mask)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for token healing");
    const uint32_t k = find(s, text, begin, last_texts(s, ids, *n, text, begin));
    if (k) {
        heal->length = MOST * TEXT - begin[k - 1];
        memmove(text, text + begin[k - 1], (size_t)heal->length);
    }
    *n -= k;
    s->stats.healed_tokens = k;
    heal->skip = heal->length;
    return SM_OK;
}

const uint32_t *sm_heal_mask(sm_session *s, sm_heal *heal, const uint32_t *allowed) {
    if (heal->at >= heal->length)
        return allowed;
    const int32_t n_vocab = sm_tokenizer_n_vocab(s->model->tokenizer);
    memset(heal->mask, 0, ((size_t)s->model->net->config.n_vocab + 31) / 32 * sizeof *heal->mask);
    for (int32_t id = 0; id < n_vocab; id++) {
        char token[TEXT];
        const uint64_t m = bytes_of(s, id, token);
        if (continues(token, m, heal->text + heal->at, heal->length - heal->at, false))
            heal->mask[id / 32] |= (allowed ? allowed[id / 32] : UINT32_MAX) & 1u << id % 32;
    }
    return heal->mask;
}

void sm_heal_take(sm_session *s, sm_heal *heal, int32_t id) {
    char token[TEXT];
    if (heal->at < heal->length)
        heal->at += bytes_of(s, id, token);
}

void sm_heal_hide(sm_heal *heal, const char **text, uint64_t *length) {
    const uint64_t n = min_u64(heal->skip, *length);
    heal->skip -= n;
    *text += n;
    *length -= n;
}
