/* The models of tokenizer.json: from a piece of text to ids. */
#include "steps.h"

#include <float.h>

#define LOOK_STEPS 16

/* The token that is exactly this text and may come out of plain text. */
static uint32_t find_token(const sm_tokenizer *t, const void *text, uint64_t length) {
    const uint32_t id =
        length <= t->max_token ? sm_index_find(&t->index, &t->text, text, length) : SM_NO_ID;
    return id != SM_NO_ID && t->flags[id] & SM_FLAG_MERGE ? id : SM_NO_ID;
}

/* ---- BPE ------------------------------------------------------------------------------------- */

/* Symbols on their way, and unknown characters that wait to become one. */
typedef struct symbols {
    sm_encoder *encoder;
    uint32_t *ids;
    uint64_t n;
    bool unknown;
} symbols;

static void add_unknown(symbols *s) {
    if (s->unknown)
        s->ids[s->n++] = (uint32_t)s->encoder->tokenizer->unk;
    s->unknown = false;
}

/* The bytes of a symbol that no token spells, where all have tokens. */
static bool add_bytes(symbols *s, const uint8_t *text, uint64_t length) {
    const sm_tokenizer *t = s->encoder->tokenizer;
    if (!t->steps->byte_fallback)
        return false;
    for (uint64_t i = 0; i < length; i++)
        if (t->byte_id[text[i]] == SM_NO_ID)
            return false;
    for (uint64_t i = 0; i < length; i++)
        s->ids[s->n++] = t->byte_id[text[i]];
    return true;
}

static void add_symbol(symbols *s, const uint8_t *text, uint64_t length) {
    const sm_tokenizer *t = s->encoder->tokenizer;
    const uint32_t id = find_token(t, text, length);
    if (id != SM_NO_ID) {
        add_unknown(s);
        s->ids[s->n++] = id;
    } else if (!add_bytes(s, text, length) && t->unk >= 0) {
        if (!t->steps->fuse_unk)
            add_unknown(s);
        s->unknown = true;
    }
}

/* A character with what the vocabulary writes before or behind it. */
static uint64_t spell(const sm_steps *hf, const uint8_t *text, uint32_t n, bool first, bool last,
                      uint8_t *out) {
    const sm_str front = first ? (sm_str){"", 0} : hf->prefix,
                 back = last ? hf->suffix : (sm_str){"", 0};
    memcpy(out, front.data, (size_t)front.length);
    memcpy(out + front.length, text, n);
    memcpy(out + front.length + n, back.data, (size_t)back.length);
    return front.length + n + back.length;
}

/* The characters of a word where nothing is written before or behind them. */
static sm_status plain_symbols(symbols *s, const uint8_t *word, uint64_t length) {
    const sm_steps *steps = s->encoder->tokenizer->steps;
    for (uint64_t i = 0, passed = 0; i < length;) {
        uint32_t code, n = 1, id = SM_NO_ID;
        if (word[i] < 0x80) {
            id = steps->ascii_id[word[i]];
        } else {
            n = sm_utf8_decode(word + i, length - i, &code);
            if (code == 0x2581)
                id = steps->block_id;
        }
        if (id == SM_NO_ID) {
            add_symbol(s, word + i, n);
        } else {
            add_unknown(s);
            s->ids[s->n++] = id;
        }
        i += n;
        if (!sm_pace_add(&s->encoder->pace, &passed, n))
            return sm_encoder_fail(s->encoder);
    }
    add_unknown(s);
    return SM_OK;
}

static sm_status spelled_symbols(symbols *s, const uint8_t *word, uint64_t length) {
    const sm_steps *hf = s->encoder->tokenizer->steps;
    uint8_t spelled[2 * SM_MAX_TOKEN_BYTES + 4];
    for (uint64_t i = 0; i < length;) {
        uint32_t code;
        const uint32_t n = sm_utf8_decode(word + i, length - i, &code);
        add_symbol(s, spelled, spell(hf, word + i, n, i == 0, i + n == length, spelled));
        i += n;
        const sm_status status = sm_encoder_step(s->encoder, LOOK_STEPS);
        if (status)
            return status;
    }
    add_unknown(s);
    return SM_OK;
}

static sm_status bpe_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t *ids,
                          uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    symbols s = {encoder, (uint32_t *)ids, 0, false};
    const bool plain = !t->steps->prefix.length && !t->steps->suffix.length;
    sm_status status = plain ? plain_symbols(&s, word, length) : spelled_symbols(&s, word, length);
    if (!status)
        status = sm_merge_ids(encoder, &t->pairs, s.ids, &s.n);
    *n = s.n;
    return status;
}

/* ---- Unigram --------------------------------------------------------------------------------- */

/* Best way to a position; id SM_NO_ID: by an unknown character; from SM_NO_ID: none yet. */
typedef struct best {
    double score;
    uint32_t from, id;
} best;

static void offer(best *at, double score, uint32_t from, uint32_t id) {
    if (at->from == SM_NO_ID || score > at->score)
        *at = (best){score, from, id};
}

static sm_status find_path(sm_encoder *encoder, const uint8_t *word, uint32_t length, best *path) {
    const sm_tokenizer *t = encoder->tokenizer;
    for (uint32_t i = 0; i <= length; i++)
        path[i] = (best){0, SM_NO_ID, SM_NO_ID};
    for (uint32_t i = 0; i < length;) {
        uint32_t code, id, bytes;
        const uint32_t width = sm_utf8_decode(word + i, length - i, &code);
        bool known = false;
        sm_prefix_walk walk;
        sm_prefixes_start(&t->words, word[i], &walk);
        while ((id = sm_prefixes_next(&t->words, &t->text, word + i, length - i, &walk, &bytes)) !=
               SM_NO_ID) {
            known |= bytes == width;
            offer(&path[i + bytes], t->steps->score[id] + path[i].score, i, id);
        }
        if (!known)
            offer(&path[i + width], t->steps->unknown_score + path[i].score, i,
                  t->unk >= 0 ? (uint32_t)t->unk : SM_NO_ID);
        i += width;
        const sm_status status = sm_encoder_step(encoder, LOOK_STEPS + walk.depth);
        if (status)
            return status;
    }
    return SM_OK;
}

static bool is_unknown(const sm_tokenizer *t, uint32_t id) {
    return id == SM_NO_ID || (int32_t)id == t->unk;
}

/* What unknown characters in a row become, backwards as the whole path is. */
static uint64_t put_unknown(const sm_tokenizer *t, const uint8_t *text, uint64_t length,
                            int32_t *ids, uint64_t n) {
    const uint32_t id = find_token(t, text, length);
    bool bytes = id == SM_NO_ID && t->steps->byte_fallback;
    for (uint64_t i = 0; i < length && bytes; i++)
        bytes = t->byte_id[text[i]] != SM_NO_ID;
    if (id != SM_NO_ID)
        ids[n++] = (int32_t)id;
    else if (!bytes && t->unk >= 0)
        ids[n++] = t->unk;
    for (uint64_t i = length; i > 0 && bytes; i--)
        ids[n++] = (int32_t)t->byte_id[text[i - 1]];
    return n;
}

static void turn_round(int32_t *ids, uint64_t n) {
    for (uint64_t i = 0; i < n / 2; i++) {
        const int32_t swap = ids[i];
        ids[i] = ids[n - 1 - i];
        ids[n - 1 - i] = swap;
    }
}

static sm_status unigram_word(sm_encoder *encoder, const uint8_t *word, uint32_t length,
                              int32_t *ids, uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    best *path =
        sm_scratch_reserve(encoder, &encoder->symbols, 0, ((uint64_t)length + 1) * sizeof *path);
    if (!path)
        return sm_encoder_fail(encoder);
    const sm_status status = find_path(encoder, word, length, path);
    *n = 0;
    for (uint32_t at = length; at > 0 && !status;) {
        const uint32_t end = at, id = path[at].id;
        at = path[at].from;
        if (!is_unknown(t, id)) {
            ids[(*n)++] = (int32_t)id;
            continue;
        }
        while (at > 0 && is_unknown(t, path[at].id))
            at = path[at].from;
        *n = put_unknown(t, word + at, end - at, ids, *n);
    }
    turn_round(ids, *n);
    return status ? status : sm_encoder_step(encoder, *n);
}

/* ---- WordPiece, WordLevel -------------------------------------------------------------------- */

static uint64_t count_chars(const uint8_t *word, uint64_t length) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < length; i++)
        n += (word[i] & 0xC0) != 0x80;
    return n;
}

/* The longest token that the rest of a word begins with. */
static uint32_t longest(const sm_tokenizer *t, const uint8_t *text, uint64_t length, bool inner,
                        uint32_t *bytes, uint64_t *steps) {
    const sm_prefixes *set = inner ? &t->steps->inner : &t->words;
    const sm_strings *strings = inner ? &t->steps->tails : &t->text;
    uint32_t found = SM_NO_ID, id, n;
    sm_prefix_walk walk;
    sm_prefixes_start(set, text[0], &walk);
    while ((id = sm_prefixes_next(set, strings, text, length, &walk, &n)) != SM_NO_ID) {
        found = id;
        *bytes = n;
    }
    *steps += LOOK_STEPS + walk.depth;
    return found;
}

static sm_status wordpiece_word(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                                int32_t *ids, uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    bool good = count_chars(word, length) <= t->steps->max_chars;
    uint64_t steps = 0;
    *n = 0;
    for (uint64_t i = 0; i < length && good;) {
        uint32_t bytes = 0;
        const uint32_t id = longest(t, word + i, length - i, i > 0, &bytes, &steps);
        good = id != SM_NO_ID;
        ids[(*n)++] = (int32_t)id;
        i += bytes;
    }
    if (!good) {
        ids[0] = t->unk;
        *n = t->unk >= 0;
    }
    return sm_encoder_step(encoder, steps);
}

/* ---- any ------------------------------------------------------------------------------------- */

/* Ids that a piece may become at most. */
static uint64_t most_ids(const sm_steps *hf, uint64_t length) {
    return hf->model == HF_BPE ? (length + 1) * (1 + hf->prefix.length) + hf->suffix.length
                               : length + 1;
}

sm_status sm_steps_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t **ids,
                        uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    *n = 0;
    if (length > UINT32_MAX / 64)
        return sm_fail(encoder->error, SM_ERR_UNSUPPORTED,
                       "%llu bytes without a place to split are too long for the tokenizer",
                       (unsigned long long)length);
    *ids =
        sm_scratch_reserve(encoder, &encoder->found, 0, most_ids(t->steps, length) * sizeof **ids);
    if (!*ids)
        return sm_encoder_fail(encoder);
    if (t->steps->model == HF_WORDLEVEL || (t->steps->model == HF_BPE && t->ignore_merges)) {
        const uint32_t whole = find_token(t, word, length);
        (*ids)[0] = whole == SM_NO_ID ? t->unk : (int32_t)whole;
        *n = whole != SM_NO_ID || (t->steps->model == HF_WORDLEVEL && t->unk >= 0);
        if (*n || t->steps->model == HF_WORDLEVEL)
            return SM_OK;
    }
    if (t->steps->model == HF_BPE)
        return bpe_word(encoder, word, length, *ids, n);
    if (t->steps->model == HF_WORDPIECE)
        return wordpiece_word(encoder, word, length, *ids, n);
    return unigram_word(encoder, word, (uint32_t)length, *ids, n);
}
