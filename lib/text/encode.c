/* Text to ids: special tokens are cut out first, the fragments between them go to the
 * vocabulary's algorithm word by word, through a cache of words seen in this call. */
#include "internal.h"

#include <string.h>

/* ---- scratch and sink ---------------------------------------------------- */

void *sm_scratch_reserve(sm_scratch *scratch, sm_mem *mem, uint64_t keep, uint64_t size) {
    if (size <= scratch->size && scratch->data)
        return scratch->data;
    uint64_t grown = scratch->size + scratch->size / 2;
    size = size > grown ? size : grown;
    size = size > 256 ? size : 256;
    void *fresh = sm_alloc(mem, size);
    if (!fresh)
        return NULL;
    if (keep)
        memcpy(fresh, scratch->data, (size_t)keep);
    sm_free(mem, scratch->data);
    scratch->data = fresh;
    scratch->size = size;
    return fresh;
}

/* Room for n more ids, unless there will be too many for the caller anyway. */
static bool sink_grow(sm_sink *sink, sm_mem *mem, uint64_t n) {
    uint64_t wanted = sink->n + n;
    if (!sink->own || wanted <= sink->room || wanted > sink->capacity)
        return true;
    uint64_t room = wanted > 2 * sink->room ? wanted : 2 * sink->room;
    room = room > sink->guess ? room : sink->guess;
    room = room < sink->capacity ? room : sink->capacity;
    int32_t *ids = sm_alloc_array(mem, room, sizeof *ids);
    if (!ids)
        return false;
    if (sink->n)
        memcpy(ids, sink->ids, (size_t)sink->n * sizeof *ids);
    sm_free(mem, sink->ids);
    sink->ids = ids;
    sink->room = room;
    return true;
}

sm_status sm_encoder_put(sm_encoder *encoder, const int32_t *ids, uint64_t n) {
    sm_sink *sink = &encoder->sink;
    if (!sink_grow(sink, encoder->mem, n))
        return sm_fail(encoder->error, SM_ERR_NOMEM, "out of memory");
    if (n && sink->n + n <= sink->room)
        memcpy(sink->ids + sink->n, ids, (size_t)n * sizeof *ids);
    sink->n += n;
    return SM_OK;
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
    if (t->kind == SM_TOKENIZER_UNIGRAM && n) { /* unknown pieces in a row make one */
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
    if (encoder->cache && length <= CACHED_BYTES) {
        make_key(word, length, key);
        slot = cache_slot(encoder, key, length);
        if (slot->length == length && slot->key[0] == key[0] && slot->key[1] == key[1] &&
            slot->key[2] == key[2]) {
            sm_sink *sink = &encoder->sink;
            if (sink->n + CACHED_IDS > sink->room ||
                encoder->tokenizer->kind == SM_TOKENIZER_UNIGRAM)
                return put_word(encoder, slot->ids, slot->n);
            memcpy(sink->ids + sink->n, slot->ids, sizeof slot->ids);
            sink->n += slot->n;
            return SM_OK;
        }
    }
    sm_status status = make(encoder, word, length, &ids, &n);
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

/* Where the first invalid byte is, or length. */
static uint64_t find_invalid(const uint8_t *text, uint64_t length) {
    uint64_t i = 0;
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

/* The pre-tokenizer wants valid UTF-8; it sees a control character (which belongs to no
 * class that a pattern names) for every byte that is not. Offsets stay the same. */
static const uint8_t *make_valid(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    uint64_t i = find_invalid(text, length);
    if (i == length)
        return text;
    uint8_t *copy = sm_scratch_reserve(&encoder->shadow, encoder->mem, 0, length);
    if (!copy)
        return NULL;
    memcpy(copy, text, (size_t)length);
    while (i < length) {
        copy[i++] = 1;
        i += find_invalid(text + i, length - i);
    }
    return copy;
}

static sm_status encode_bytes(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    const uint8_t *valid = make_valid(encoder, text, length);
    if (!valid)
        return sm_fail(encoder->error, SM_ERR_NOMEM, "out of memory");
    sm_split_start(&encoder->split, valid, length);
    for (;;) {
        uint64_t begin, end;
        sm_status status = sm_split_next(&encoder->split, &begin, &end, encoder->error);
        if (status || begin == length)
            return status;
        status = sm_encoder_word(encoder, text + begin, end - begin, sm_bpe_word);
        if (status)
            return status;
    }
}

static sm_status encode_pieces(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    uint64_t begin = 0;
    if (encoder->tokenizer->add_space_prefix) {
        begin = sm_segment_end(encoder->tokenizer, text, length, 0);
        uint8_t *first = sm_scratch_reserve(&encoder->normal, encoder->mem, 0, begin + 1);
        if (!first)
            return sm_fail(encoder->error, SM_ERR_NOMEM, "out of memory");
        first[0] = ' ';
        memcpy(first + 1, text, (size_t)begin);
        sm_status status = sm_encoder_word(encoder, first, begin + 1, sm_bpe_word);
        if (status)
            return status;
    }
    while (begin < length) {
        uint64_t end = sm_segment_end(encoder->tokenizer, text, length, begin);
        sm_status status = sm_encoder_word(encoder, text + begin, end - begin, sm_bpe_word);
        if (status)
            return status;
        begin = end;
    }
    return SM_OK;
}

static sm_status encode_fragment(sm_encoder *encoder, const uint8_t *text, uint64_t length) {
    if (!length)
        return SM_OK;
    switch (encoder->tokenizer->kind) {
    case SM_TOKENIZER_BPE:
        return encode_bytes(encoder, text, length);
    case SM_TOKENIZER_SPM:
        return encode_pieces(encoder, text, length);
    case SM_TOKENIZER_WORDPIECE:
        return sm_wordpiece_fragment(encoder, text, length);
    default:
        return sm_unigram_fragment(encoder, text, length);
    }
}

/* ---- special tokens ------------------------------------------------------ */

static bool is_strippable(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The longest member of the set at text[0..length), SM_NO_ID if there is none. */
static uint32_t find_special(const sm_tokenizer *t, const sm_prefixes *set, const uint8_t *text,
                             uint64_t length, uint32_t *bytes) {
    sm_prefix_walk walk;
    uint32_t best = SM_NO_ID, id, n;
    sm_prefixes_start(set, text[0], &walk);
    while ((id = sm_prefixes_next(set, &t->text, text, length, &walk, &n)) != SM_NO_ID) {
        best = id;
        *bytes = n;
    }
    return best;
}

static sm_status encode_text(sm_encoder *encoder, const uint8_t *text, uint64_t length,
                             const sm_prefixes *set) {
    const sm_tokenizer *t = encoder->tokenizer;
    uint64_t begin = 0;
    for (uint64_t i = 0; set->n && i < length;) {
        uint32_t bytes = 0, id = SM_NO_ID;
        if (set->first[text[i]] != set->first[text[i] + 1])
            id = find_special(t, set, text + i, length - i, &bytes);
        if (id == SM_NO_ID) {
            i++;
            continue;
        }
        uint64_t end = i;
        if (t->flags[id] & SM_FLAG_LSTRIP)
            while (end > begin && is_strippable(text[end - 1]))
                end--;
        sm_status status = encode_fragment(encoder, text + begin, end - begin);
        encoder->after_unknown = false;
        if (!status)
            status = sm_encoder_put(encoder, &(int32_t){(int32_t)id}, 1);
        if (status)
            return status;
        i += bytes;
        if (t->flags[id] & SM_FLAG_RSTRIP)
            while (i < length && is_strippable(text[i]))
                i++;
        begin = i;
    }
    return encode_fragment(encoder, text + begin, length - begin);
}

/* ---- the call ----------------------------------------------------------------------------------
 */

static sm_status encoder_init(sm_encoder *encoder, const sm_tokenizer *t, uint64_t length,
                              int32_t *ids, uint64_t capacity, sm_error *error) {
    memset(encoder, 0, sizeof *encoder);
    encoder->tokenizer = t;
    encoder->mem = t->mem;
    encoder->error = error;
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

sm_status sm_tokenizer_encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                              uint32_t flags, int32_t *ids, uint64_t capacity, uint64_t *n,
                              sm_error *error) {
    if (!tokenizer || !n || (!text && length) || (!ids && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_encode: a pointer is NULL");
    *n = 0;
    if (flags & ~(SM_ENCODE_SPECIAL | SM_ENCODE_MARKERS))
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_encode: unknown flag in %u", flags);
    if (length > SIZE_MAX / 64)
        return sm_fail(error, SM_ERR_ARGUMENT, "tokenizer_encode: the text is too long");
    sm_encoder encoder;
    sm_status status = encoder_init(&encoder, tokenizer, length, ids, capacity, error);
    if (!status)
        status = encode_all(&encoder, (const uint8_t *)text, length, flags);
    if (!status) {
        *n = encoder.sink.n;
        if (*n > capacity)
            status = sm_fail(error, SM_ERR_BUFFER, "tokenizer_encode: %llu ids, room for %llu",
                             (unsigned long long)*n, (unsigned long long)capacity);
        else if (encoder.sink.own && *n)
            memcpy(ids, encoder.sink.ids, (size_t)*n * sizeof *ids);
    }
    encoder_done(&encoder);
    return status;
}
