/* What every kind of encoding works with: memory that grows, the ids on their way to the caller,
 * and a cache of the words seen in this call. */
#include "steps.h"

#include <string.h>

#define COPY_BYTES (1U << 20)
#define COPY_STEPS 16384 /* of so many bytes, to memory that is touched for the first time */

sm_status sm_encoder_fail(sm_encoder *encoder) {
    return encoder->pace.stopped ? sm_fail(encoder->error, SM_ERR_CANCELLED, "cancelled")
                                 : sm_fail(encoder->error, SM_ERR_NOMEM, "out of memory");
}

sm_status sm_encoder_copy(sm_encoder *encoder, void *to, const void *from, uint64_t n) {
    if (n <= SM_PACE_PART) { /* whoever copies often counts that */
        if (n)
            memcpy(to, from, (size_t)n);
        return SM_OK;
    }
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

static uint64_t load32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* Numbers that together with the length determine the word (1..24 bytes). */
static void make_key(const uint8_t *word, uint64_t length, uint64_t *key) {
    key[1] = key[2] = 0;
    if (length > 8) {
        key[0] = sm_load64(word);
        key[1] = sm_load64(word + length - 8);
        if (length > 16)
            key[2] = sm_load64(word + 8);
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
    if (encoder->cache && length <= CACHED_BYTES) {
        make_key(word, length, key);
        slot = cache_slot(encoder, key, length);
        /* most words are: where gcc thinks it rare it copies the ids with a slow instruction */
        if (__builtin_expect(slot->length == length && slot->key[0] == key[0] &&
                                 slot->key[1] == key[1] && slot->key[2] == key[2],
                             1)) {
            sm_sink *sink = &encoder->sink;
            if (__builtin_expect(sink->n + CACHED_IDS > sink->room || encoder->tokenizer->fuses, 0))
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

/* ---- special tokens ------------------------------------------------------ */

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

/* ---- one call ------------------------------------------------------------ */

sm_status sm_encoder_init(sm_encoder *encoder, const sm_tokenizer *t, uint64_t length,
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
    encoder->matcher.mem = t->mem;
    encoder->matcher.pace = &encoder->pace;
    if (t->steps) {
        encoder->cuts = sm_alloc_zero(t->mem, (t->steps->n_cut + 1) * sizeof *encoder->cuts);
        if (!encoder->cuts)
            return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    /* a word of a SentencePiece unigram vocabulary is not alone */
    if (length < CACHE_MIN_TEXT || (t->kind == SM_TOKENIZER_UNIGRAM && !t->steps))
        return SM_OK;
    uint64_t slots = 64;
    while (slots < length / 8 && slots < CACHE_MAX_SLOTS)
        slots *= 2;
    encoder->cache_mask = slots - 1;
    encoder->cache = sm_alloc_zero(t->mem, slots * sizeof *encoder->cache);
    return encoder->cache ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "out of memory");
}

void sm_encoder_done(sm_encoder *encoder) {
    sm_scratch *const scratches[] = {&encoder->shadow, &encoder->word,     &encoder->symbols,
                                     &encoder->heap,   &encoder->normal,   &encoder->found,
                                     &encoder->links,  &encoder->clean[0], &encoder->clean[1]};
    for (size_t i = 0; i < sizeof scratches / sizeof *scratches; i++)
        sm_free(encoder->mem, scratches[i]->data);
    if (encoder->sink.own)
        sm_free(encoder->mem, encoder->sink.ids);
    for (uint32_t i = 0; encoder->cuts && i < encoder->tokenizer->steps->n_cut; i++)
        sm_free(encoder->mem, encoder->cuts[i].made.data);
    sm_free(encoder->mem, encoder->cuts);
    sm_matcher_done(&encoder->matcher);
    sm_free(encoder->mem, encoder->cache);
}
