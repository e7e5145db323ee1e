/* Text to ids: special tokens are cut out first, the fragments between them go to the
 * vocabulary's algorithm word by word, through a cache of words seen in this call. */
#include "internal.h"

#include <string.h>

/* ---- pace ------------------------------------------------------------------ */

#define PACE_STEPS 32768 /* a third of a millisecond at ten nanoseconds each */
#define COPY_BYTES (1U << 20)
#define COPY_STEPS 16384 /* of so many bytes, to memory that is touched for the first time */

bool sm_pace_ask(sm_pace *pace) {
    if (!pace->stopped && pace->cancel && pace->cancel(pace->user))
        pace->stopped = true;
    pace->left = pace->stopped ? 0 : PACE_STEPS;
    return !pace->stopped;
}

sm_status sm_encoder_fail(sm_encoder *encoder) {
    return encoder->pace.stopped ? sm_fail(encoder->error, SM_ERR_CANCELLED, "cancelled")
                                 : sm_fail(encoder->error, SM_ERR_NOMEM, "out of memory");
}

sm_status sm_encoder_copy(sm_encoder *encoder, void *to, const void *from, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        uint64_t bytes = n - at < COPY_BYTES ? n - at : COPY_BYTES;
        memcpy((uint8_t *)to + at, (const uint8_t *)from + at, (size_t)bytes);
        sm_status status = sm_encoder_step(encoder, bytes / (COPY_BYTES / COPY_STEPS));
        if (status)
            return status;
        at += bytes;
    }
    return SM_OK;
}

/* ---- scratch and sink ---------------------------------------------------- */

#define LARGE_BYTES (8U << 20)

/* Where much memory is needed, small pages would take a while to give back. */
static void *alloc(sm_mem *mem, uint64_t size) {
    return size < LARGE_BYTES ? sm_alloc(mem, size) : sm_alloc_large(mem, size);
}

void *sm_scratch_reserve(sm_encoder *encoder, sm_scratch *scratch, uint64_t keep, uint64_t size) {
    if (size <= scratch->size && scratch->data)
        return scratch->data;
    uint64_t grown = scratch->size + scratch->size / 2;
    size = size > grown ? size : grown;
    size = size > 256 ? size : 256;
    void *fresh = alloc(encoder->mem, size);
    if (!fresh)
        return NULL;
    if (sm_encoder_copy(encoder, fresh, scratch->data, keep)) {
        sm_free(encoder->mem, fresh);
        return NULL;
    }
    sm_free(encoder->mem, scratch->data);
    scratch->data = fresh;
    scratch->size = size;
    return fresh;
}

/* Room for n more ids, unless there will be too many for the caller anyway. */
static sm_status sink_grow(sm_encoder *encoder, uint64_t n) {
    sm_sink *sink = &encoder->sink;
    uint64_t wanted = sink->n + n;
    if (!sink->own || wanted <= sink->room || wanted > sink->capacity)
        return SM_OK;
    uint64_t room = wanted > 2 * sink->room ? wanted : 2 * sink->room;
    room = room > sink->guess ? room : sink->guess;
    room = room < sink->capacity ? room : sink->capacity;
    int32_t *ids =
        room <= UINT64_MAX / sizeof *ids ? alloc(encoder->mem, room * sizeof *ids) : NULL;
    sm_status status = ids ? sm_encoder_copy(encoder, ids, sink->ids, sink->n * sizeof *ids)
                           : sm_encoder_fail(encoder);
    sm_free(encoder->mem, status ? ids : sink->ids);
    if (status)
        return status;
    sink->ids = ids;
    sink->room = room;
    return SM_OK;
}

sm_status sm_encoder_put(sm_encoder *encoder, const int32_t *ids, uint64_t n) {
    sm_sink *sink = &encoder->sink;
    sm_status status = sink_grow(encoder, n);
    if (!status && sink->n + n <= sink->room)
        status = sm_encoder_copy(encoder, sink->ids + sink->n, ids, n * sizeof *ids);
    sink->n += n;
    return status;
}

/* ---- word cache ---------------------------------------------------------- */

#define CACHED_BYTES 24
#define CACHED_IDS 9
#define CACHE_MIN_TEXT 512   /* bytes; a shorter text repeats too little */
#define CACHE_MAX_SLOTS 8192 /* half a megabyte: stays in the second-level cache */

/* One cache line; length 0: free */
struct sm_cached {
    uint64_t key[CACHED_BYTES / 8];
    uint16_t length;
    uint16_t n;
    int32_t ids[CACHED_IDS];
};

_Static_assert(sizeof(struct sm_cached) == 64, "a cached word fills a cache line");

static uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static uint64_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* Numbers that together with the length determine the word (1..24 bytes). */
static void make_key(const uint8_t *word, uint64_t length, uint64_t *key) {
    key[1] = key[2] = 0;
    if (length > 8) {
        key[0] = load64(word);
        key[1] = load64(word + length - 8);
        if (length > 16)
            key[2] = load64(word + 8);
    } else if (length >= 4) {
        key[0] = load32(word) | load32(word + length - 4) << 32;
    } else {
        key[0] = word[0] | (uint64_t)word[length / 2] << 8 | (uint64_t)word[length - 1] << 16;
    }
}

static struct sm_cached *cache_slot(const sm_encoder *encoder, const uint64_t *key,
                                    uint64_t length) {
    uint64_t h = (key[0] ^ length) * 0x9E3779B97F4A7C15ULL;
    h ^= (h >> 32) ^ key[1];
    h = (h ^ key[2] * 0xD6E8FEB86659FD93ULL) * 0x9FB21C651E98DF25ULL;
    return &encoder->cache[h >> 40 & encoder->cache_mask];
}

static sm_status put_word(sm_encoder *encoder, const int32_t *ids, uint64_t n) {
    const sm_tokenizer *t = encoder->tokenizer;
    if (t->fuses && n) { /* unknown pieces in a row make one */
        bool joins = encoder->after_unknown && ids[0] == t->unk;
        encoder->after_unknown = ids[n - 1] == t->unk;
        ids += joins;
        n -= joins;
    }
    return sm_encoder_put(encoder, ids, n);
}

sm_status sm_encoder_word(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                          sm_word_fn make) {
    uint64_t key[CACHED_BYTES / 8], n;
    int32_t *ids;
    struct sm_cached *slot = NULL;
    sm_status status = sm_encoder_step(encoder, length < CACHED_BYTES ? length : CACHED_BYTES);
    if (status)
        return status;
    if (encoder->cache && length <= CACHED_BYTES) {
        make_key(word, length, key);
        slot = cache_slot(encoder, key, length);
        if (slot->length == length && slot->key[0] == key[0] && slot->key[1] == key[1] &&
            slot->key[2] == key[2]) {
            sm_sink *sink = &encoder->sink;
            if (sink->n + CACHED_IDS > sink->room || encoder->tokenizer->fuses)
                return put_word(encoder, slot->ids, slot->n);
            memcpy(sink->ids + sink->n, slot->ids, sizeof slot->ids);
            sink->n += slot->n;
            return SM_OK;
        }
    }
    status = make(encoder, word, length, &ids, &n);
    if (status)
        return status;
    if (slot && n <= CACHED_IDS) {
        memcpy(slot->key, key, sizeof key);
        slot->length = (uint16_t)length;
        slot->n = (uint16_t)n;
        for (uint64_t i = 0; i < n; i++)
            slot->ids[i] = ids[i];
    }
    return put_word(encoder, ids, n);
}

/* ---- fragments of plain text --------------------------------------------- */

/* Where the first invalid byte from i on is, or length. */
static uint64_t find_invalid(const uint8_t *text, uint64_t length, uint64_t i) {
    while (i < length) {
        if (length - i >= 8 && !(load64(text + i) & 0x8080808080808080ULL)) {
            i += 8;
            continue;
        }
        uint32_t code, n = sm_utf8_decode(text + i, length - i, &code);
        if (code == UINT32_MAX)
            return i;
        i += n;
    }
    return length;
}

/* find_invalid in pieces that each end where a character does. */
static sm_status find_invalid_paced(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                                    uint64_t *i) {
    for (;;) {
        uint64_t end = length;
        if (length - *i > PACE_STEPS)
            end = *i + sm_utf8_complete(text + *i, PACE_STEPS);
        uint64_t at = find_invalid(text, end, *i);
        sm_status status = sm_encoder_step(encoder, at - *i);
        *i = at;
        if (status || at < end || end == length)
            return status;
    }
}

/* The pre-tokenizer wants valid UTF-8; it sees a control character (which belongs to no
 * class that a pattern names) for every byte that is not. Offsets stay the same. */
static sm_status make_valid(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                            const uint8_t **valid) {
    uint64_t i = 0;
    sm_status status = find_invalid_paced(encoder, text, length, &i);
    *valid = text;
    if (status || i == length)
        return status;
    uint8_t *copy = sm_scratch_reserve(encoder, &encoder->shadow, 0, length);
    if (!copy)
        return sm_encoder_fail(encoder);
    status = sm_encoder_copy(encoder, copy, text, length);
    while (!status && i < length) {
        copy[i++] = 1;
        status = find_invalid_paced(encoder, text, length, &i);
    }
    *valid = copy;
    return status;
}

static sm_status encode_bytes(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    const uint8_t *valid;
    sm_status status = make_valid(encoder, text, length, &valid);
    if (status)
        return status;
    sm_split_start(&encoder->split, valid, length, &encoder->pace);
    for (;;) {
        uint64_t begin, end;
        status = sm_split_next(&encoder->split, &begin, &end, encoder->error);
        if (status || begin == length)
            return status;
        status = sm_encoder_word(encoder, text + begin, end - begin, sm_bpe_word);
        if (status)
            return status;
    }
}

uint32_t sm_find_special(const sm_tokenizer *t, const sm_prefixes *set, const uint8_t *text,
                         uint64_t length, uint32_t *bytes, uint64_t *steps) {
    sm_prefix_walk walk;
    uint32_t best = SM_NO_ID, id, n;
    sm_prefixes_start(set, text[0], &walk);
    while ((id = sm_prefixes_next(set, &t->text, text, length, &walk, &n)) != SM_NO_ID) {
        best = id;
        *bytes = n;
    }
    *steps += walk.depth;
    return best;
}

/* The first member of the set from *at on: where and what, or length and SM_NO_ID. */
static sm_status next_special(sm_encoder *encoder, const sm_prefixes *set, const uint8_t *text,
                              uint64_t length, uint64_t *at, uint32_t *id, uint32_t *bytes) {
    uint64_t i = set->n ? *at : length;
    sm_status status = SM_OK;
    *id = SM_NO_ID;
    while (i < length && *id == SM_NO_ID && !status) {
        uint64_t begin = i, stop = length - i < PACE_STEPS ? length : i + PACE_STEPS;
        while (i < stop && set->first[text[i]] == set->first[text[i] + 1])
            i++;
        uint64_t steps = i - begin;
        if (i < stop)
            *id = sm_find_special(encoder->tokenizer, set, text + i, length - i, bytes, &steps);
        i += i < stop && *id == SM_NO_ID;
        status = sm_encoder_step(encoder, steps);
    }
    *at = i;
    return status;
}

/* A stretch of a fragment without user-defined pieces, which is no empty one. */
static sm_status encode_segments(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                                 bool prefix) {
    const sm_word_fn make =
        encoder->tokenizer->kind == SM_TOKENIZER_UNIGRAM ? sm_unigram_word : sm_bpe_word;
    uint64_t begin = 0;
    if (prefix) {
        begin = length ? sm_segment_end(encoder, text, length, 0) : 0;
        uint8_t *first = sm_scratch_reserve(encoder, &encoder->normal, 0, begin + 1);
        if (!first)
            return sm_encoder_fail(encoder);
        first[0] = ' ';
        sm_status status = sm_encoder_copy(encoder, first + 1, text, begin);
        if (!status)
            status = sm_encoder_word(encoder, first, begin + 1, make);
        if (status)
            return status;
    }
    while (begin < length) {
        uint64_t end = sm_segment_end(encoder, text, length, begin);
        sm_status status = sm_encoder_word(encoder, text + begin, end - begin, make);
        if (status)
            return status;
        begin = end;
    }
    return SM_OK;
}

/* SentencePiece kinds. A user-defined piece stands for itself, and nothing merges across it; a
 * lattice (unigram) has them among its pieces. */
static sm_status encode_pieces(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    const sm_tokenizer *t = encoder->tokenizer;
    bool prefix = t->add_space_prefix && !t->normalizes && !encoder->joined;
    encoder->after_unknown = false;
    if (t->normalizes) {
        sm_status status = sm_normalize(encoder, text, length, &length);
        if (status)
            return status;
        text = encoder->normal.data;
    }
    if (t->kind == SM_TOKENIZER_UNIGRAM)
        return encode_segments(encoder, text, length, false);
    for (uint64_t begin = 0, i = 0;;) {
        uint32_t bytes, id;
        sm_status status = next_special(encoder, &t->woven, text, length, &i, &id, &bytes);
        if (!status)
            status = encode_segments(encoder, text + begin, i - begin, prefix);
        if (status || id == SM_NO_ID)
            return status;
        status = sm_encoder_put(encoder, &(int32_t){(int32_t)id}, 1);
        if (status)
            return status;
        prefix = encoder->after_unknown = false;
        begin = i += bytes;
    }
}

static sm_status encode_fragment(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    if (!length)
        return SM_OK;
    switch (encoder->tokenizer->kind) {
    case SM_TOKENIZER_BPE:
        return encode_bytes(encoder, text, length);
    case SM_TOKENIZER_WORDPIECE:
        return sm_wordpiece_fragment(encoder, text, length);
    default:
        return encode_pieces(encoder, text, length);
    }
}

/* ---- special tokens ------------------------------------------------------ */

static bool is_strippable(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static sm_status encode_text(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                             const sm_prefixes *set) {
    const sm_tokenizer *t = encoder->tokenizer;
    uint64_t begin = 0, i = 0;
    for (;;) {
        uint32_t bytes, id;
        sm_status status = next_special(encoder, set, text, length, &i, &id, &bytes);
        uint64_t end = i;
        if (!status && id != SM_NO_ID && t->flags[id] & SM_FLAG_WOVEN) {
            i += bytes; /* not the place of another that begins inside */
            continue;
        }
        if (!status && id != SM_NO_ID && t->flags[id] & SM_FLAG_LSTRIP)
            while (end > begin && is_strippable(text[end - 1]) && sm_pace_step(&encoder->pace, 1))
                end--;
        if (!status)
            status = encode_fragment(encoder, text + begin, end - begin);
        if (status || id == SM_NO_ID)
            return status;
        encoder->joined = false;
        status = sm_encoder_put(encoder, &(int32_t){(int32_t)id}, 1);
        if (status)
            return status;
        i += bytes;
        if (t->flags[id] & SM_FLAG_RSTRIP)
            while (i < length && is_strippable(text[i]) && sm_pace_step(&encoder->pace, 1))
                i++;
        begin = i;
    }
}

/* ---- the call -------------------------------------------------------------------------------- */

static sm_status encoder_init(sm_encoder *encoder, const sm_tokenizer *t, uint64_t length,
                              const sm_encode_options *options, int32_t *ids, uint64_t capacity,
                              sm_error *error) {
    memset(encoder, 0, sizeof *encoder);
    encoder->tokenizer = t;
    encoder->mem = t->mem;
    encoder->error = error;
    encoder->pace.cancel = options->cancel;
    encoder->pace.user = options->cancel_user;
    encoder->sink.capacity = capacity;
    encoder->sink.guess = length / 3 + 16;
    /* into the caller's array only if it cannot turn out too small */
    encoder->sink.own = !t->dense || capacity < 16 || capacity - 16 < length;
    if (!encoder->sink.own) {
        encoder->sink.ids = ids;
        encoder->sink.room = capacity;
    }
    if (t->pre) {
        sm_status status = sm_split_init(&encoder->split, t->pre, error);
        if (status)
            return status;
    }
    if (length < CACHE_MIN_TEXT)
        return SM_OK;
    uint64_t slots = 64;
    while (slots < length / 8 && slots < CACHE_MAX_SLOTS)
        slots *= 2;
    encoder->cache_mask = slots - 1;
    encoder->cache = sm_alloc_zero(t->mem, slots * sizeof *encoder->cache);
    return encoder->cache ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

static void encoder_done(sm_encoder *encoder) {
    if (encoder->tokenizer->pre)
        sm_split_done(&encoder->split);
    sm_scratch *const scratches[] = {&encoder->shadow, &encoder->word,   &encoder->symbols,
                                     &encoder->heap,   &encoder->normal, &encoder->found};
    for (size_t i = 0; i < sizeof scratches / sizeof *scratches; i++)
        sm_free(encoder->mem, scratches[i]->data);
    if (encoder->sink.own)
        sm_free(encoder->mem, encoder->sink.ids);
    sm_free(encoder->mem, encoder->cache);
}

static sm_status encode_all(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                            uint32_t flags) {
    const sm_tokenizer *t = encoder->tokenizer;
    bool word_piece = t->kind == SM_TOKENIZER_WORDPIECE;
    int32_t front = word_piece ? t->cls : t->bos, back = word_piece ? t->sep : t->eos;
    sm_status status = SM_OK;
    if (flags & SM_ENCODE_MARKERS && t->add_bos)
        status = sm_encoder_put(encoder, &front, 1);
    if (!status)
        status = encode_text(encoder, text, length,
                             flags & SM_ENCODE_SPECIAL ? &t->special : &t->user_defined);
    if (!status && flags & SM_ENCODE_MARKERS && t->add_eos)
        status = sm_encoder_put(encoder, &back, 1);
    return status;
}

static const sm_wide options_wide[] = {SM_WIDE_FROM(sm_encode_options, cancel), {0, 0, 0}};

sm_status sm_tokenizer_encode_rest(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                                   uint64_t from, const sm_encode_options *options, int32_t *ids,
                                   uint64_t capacity, uint64_t *n, sm_error *error) {
    if (n)
        *n = 0;
    if (!tokenizer || !n || (!text && length) || (!ids && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_encode: a pointer is NULL");
    sm_encode_options o;
    sm_status status =
        sm_struct_take(&o, sizeof o, options_wide, options, "sm_tokenizer_encode", error);
    if (status)
        return status;
    if (o.flags & ~(SM_ENCODE_SPECIAL | SM_ENCODE_MARKERS))
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_encode: unknown flag in %u", o.flags);
    if (length > SIZE_MAX / 64)
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_encode: the text is too long");
    sm_encoder encoder;
    status = encoder_init(&encoder, tokenizer, length - from, &o, ids, capacity, error);
    encoder.joined = from > 0;
    encoder.after_space = from > 0 && tokenizer->normalizes &&
                          sm_normal_ends_with_space(tokenizer, (const uint8_t *)text, from);
    if (!status)
        status = encode_all(&encoder, (const uint8_t *)text + from, length - from, o.flags);
    if (!status) {
        *n = encoder.sink.n;
        if (*n > capacity)
            status = sm_fail(error, SM_ERR_BUFFER, "tokenizer_encode: %llu ids, room for %llu",
                             (unsigned long long)*n, (unsigned long long)capacity);
        else if (encoder.sink.own)
            status = sm_encoder_copy(&encoder, ids, encoder.sink.ids, *n * sizeof *ids);
        if (status == SM_ERR_CANCELLED)
            *n = 0;
    }
    encoder_done(&encoder);
    return status;
}

sm_status sm_tokenizer_encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                              const sm_encode_options *options, int32_t *ids, uint64_t capacity,
                              uint64_t *n, sm_error *error) {
    return sm_tokenizer_encode_rest(tokenizer, text, length, 0, options, ids, capacity, n, error);
}
