/* Byte-pair merging, for byte-level vocabularies (a list of merges) and
 * SentencePiece ones (any two neighbours that spell a token, best score first). */
#include "internal.h"

#include <string.h>

#define SHORT_WORD 48 /* symbols; up to here a plain search beats the heap */

/* Steps of work: a symbol looked up, and one on its way through a heap that caches do not hold */
#define LOOK_STEPS 8
#define HEAP_STEPS 64

uint32_t sm_byte_to_code(uint8_t byte) {
    /* GPT-2's table: printable Latin-1 stands for itself, the rest is numbered from 256 */
    if ((byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD))
        return byte;
    if (byte <= 0x20)
        return 256U + byte;
    if (byte <= 0xA0)
        return 256U + 33 + (byte - 0x7FU);
    return 256U + 67; /* 0xAD */
}

int32_t sm_code_to_byte(uint32_t code) {
    if (code < 256)
        return sm_byte_to_code((uint8_t)code) == code ? (int32_t)code : -1;
    if (code <= 256 + 32)
        return (int32_t)(code - 256);
    if (code <= 256 + 66)
        return (int32_t)(code - 256 - 33 + 0x7F);
    return code == 256 + 67 ? 0xAD : -1;
}

typedef struct merge {
    uint32_t key; /* lower is merged first; UINT32_MAX: none */
    uint32_t id;
} merge;

/* What the symbols left and right (text[start..end) together) may become. */
static merge find_merge(const sm_tokenizer *t, const uint8_t *text, uint32_t left, uint32_t right,
                        uint32_t start, uint32_t end) {
    merge none = {UINT32_MAX, SM_NO_ID};
    if (t->pairs.slots) {
        if (left == SM_NO_ID || right == SM_NO_ID)
            return none;
        const sm_pair *pair = sm_pairs_find(&t->pairs, left, right);
        return pair ? (merge){pair->rank, pair->merged} : none;
    }
    if (end - start > t->max_token)
        return none;
    uint32_t id = sm_index_find(&t->index, &t->text, text + start, end - start);
    if (id == SM_NO_ID || !(t->flags[id] & SM_FLAG_MERGE))
        return none;
    return (merge){t->order[id], id};
}

/* The first symbol of text: its bytes and id. */
static uint32_t first_symbol(const sm_tokenizer *t, const uint8_t *text, uint64_t length,
                             uint32_t *id) {
    if (t->kind == SM_TOKENIZER_BPE) {
        *id = t->byte_id[text[0]];
        return 1;
    }
    uint32_t code, n = sm_utf8_decode(text, length, &code);
    *id = sm_index_find(&t->index, &t->text, text, n);
    if (*id != SM_NO_ID && !(t->flags[*id] & SM_FLAG_MERGE))
        *id = SM_NO_ID;
    return n;
}

/* Appends the ids of one symbol to the n at out: its token, else those of its bytes, else the
 * unknown token (nothing where the vocabulary has none, and where it stands there already if it
 * is said once). Returns how many there are then: at most one more per byte. */
static uint64_t emit_symbol(const sm_tokenizer *t, uint32_t id, const uint8_t *text,
                            uint32_t length, int32_t *out, uint64_t n) {
    if (id != SM_NO_ID) {
        out[n] = (int32_t)id;
        return n + 1;
    }
    static const uint8_t space = ' ';
    if (length == 3 && memcmp(text, SM_LOWER_BLOCK, 3) == 0 && t->kind != SM_TOKENIZER_BPE) {
        text = &space;
        length = 1;
    }
    for (uint32_t i = 0; i < length; i++) {
        if (t->byte_id[text[i]] == SM_NO_ID) {
            if (t->unk < 0 || (t->fuses && n > 0 && out[n - 1] == t->unk))
                return n;
            out[n] = t->unk;
            return n + 1;
        }
    }
    for (uint32_t i = 0; i < length; i++)
        out[n + i] = (int32_t)t->byte_id[text[i]];
    return n + length;
}

/* ---- short words --------------------------------------------------------- */

typedef struct short_word {
    uint32_t n;
    uint32_t id[SHORT_WORD];
    uint32_t start[SHORT_WORD + 1];
    merge with_next[SHORT_WORD];
} short_word;

static void look_right(const sm_tokenizer *t, const uint8_t *text, short_word *w, uint32_t i) {
    w->with_next[i] = find_merge(t, text, w->id[i], w->id[i + 1], w->start[i], w->start[i + 2]);
}

static void merge_short(const sm_tokenizer *t, const uint8_t *text, short_word *w) {
    for (uint32_t i = 0; i + 1 < w->n; i++)
        look_right(t, text, w, i);
    while (w->n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < w->n; i++)
            if (w->with_next[i].key < w->with_next[best].key)
                best = i;
        if (w->with_next[best].key == UINT32_MAX)
            return;
        w->id[best] = w->with_next[best].id;
        size_t behind = w->n - best - 2; /* symbols after the two */
        memmove(&w->id[best + 1], &w->id[best + 2], behind * sizeof *w->id);
        memmove(&w->start[best + 1], &w->start[best + 2], (behind + 1) * sizeof *w->start);
        memmove(&w->with_next[best + 1], &w->with_next[best + 2], behind * sizeof *w->with_next);
        w->n--;
        if (best > 0)
            look_right(t, text, w, best - 1);
        if (best + 1 < w->n)
            look_right(t, text, w, best);
    }
}

/* ---- long words: linked symbols and a heap of possible merges ------------ */

typedef struct symbol {
    uint32_t id, start, prev, next; /* UINT32_MAX: no neighbour; prev == own index: merged away */
} symbol;

typedef struct candidate {
    merge merge;
    uint32_t left; /* symbol */
    uint32_t end;  /* of the text of both */
} candidate;

typedef struct long_word {
    sm_encoder *encoder;
    const uint8_t *text;
    uint32_t length;
    symbol *symbols;
    uint64_t n_heap;
} long_word;

static bool comes_before(const candidate *a, const candidate *b) {
    return a->merge.key < b->merge.key || (a->merge.key == b->merge.key && a->left < b->left);
}

static uint32_t symbol_end(const long_word *w, uint32_t i) {
    uint32_t next = w->symbols[i].next;
    return next == UINT32_MAX ? w->length : w->symbols[next].start;
}

/* Puts the merge of symbol `left` with its neighbour on the heap, if there is one. */
static bool push_candidate(long_word *w, uint32_t left) {
    const sm_tokenizer *t = w->encoder->tokenizer;
    uint32_t right = w->symbols[left].next;
    if (right == UINT32_MAX)
        return true;
    uint32_t end = symbol_end(w, right);
    uint32_t start = w->symbols[left].start;
    merge found = find_merge(t, w->text, w->symbols[left].id, w->symbols[right].id, start, end);
    uint64_t spelled = end - start < t->max_token ? end - start : 0; /* bytes that were hashed */
    if (!sm_pace_step(&w->encoder->pace, LOOK_STEPS + spelled / 8))
        return false;
    if (found.key == UINT32_MAX)
        return true;
    uint64_t used = w->n_heap * sizeof(candidate);
    candidate *heap =
        sm_scratch_reserve(w->encoder, &w->encoder->heap, used, used + sizeof(candidate));
    if (!heap)
        return false;
    candidate item = {found, left, end};
    uint64_t at = w->n_heap++;
    for (uint64_t parent; at > 0 && comes_before(&item, &heap[parent = (at - 1) / 2]); at = parent)
        heap[at] = heap[parent];
    heap[at] = item;
    return true;
}

static candidate pop_candidate(long_word *w) {
    candidate *heap = w->encoder->heap.data;
    candidate top = heap[0], item = heap[--w->n_heap];
    uint64_t at = 0;
    for (;;) {
        uint64_t child = 2 * at + 1;
        if (child >= w->n_heap)
            break;
        if (child + 1 < w->n_heap && comes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_before(&heap[child], &item))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
    return top;
}

static bool merge_long(long_word *w) {
    for (uint32_t i = 0; i != UINT32_MAX; i = w->symbols[i].next)
        if (!push_candidate(w, i))
            return false;
    while (w->n_heap) {
        if (!sm_pace_step(&w->encoder->pace, HEAP_STEPS))
            return false;
        candidate best = pop_candidate(w);
        symbol *left = &w->symbols[best.left];
        uint32_t right = left->next;
        /* overtaken if one of the two has been merged since */
        if (left->prev == best.left || right == UINT32_MAX || symbol_end(w, right) != best.end)
            continue;
        left->id = best.merge.id;
        left->next = w->symbols[right].next;
        w->symbols[right].prev = right;
        if (left->next != UINT32_MAX)
            w->symbols[left->next].prev = best.left;
        if (left->prev != UINT32_MAX && !push_candidate(w, left->prev))
            return false;
        if (!push_candidate(w, best.left))
            return false;
    }
    return true;
}

/* ---- words --------------------------------------------------------------- */

static sm_status encode_long(sm_encoder *encoder, const uint8_t *text, uint32_t length,
                             int32_t *ids, uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    long_word w = {encoder, text, length, NULL, 0};
    w.symbols =
        sm_scratch_reserve(encoder, &encoder->symbols, 0, (uint64_t)length * sizeof(symbol));
    if (!w.symbols)
        return sm_encoder_fail(encoder);
    uint32_t count = 0;
    for (uint32_t at = 0; at < length; count++) {
        symbol *s = &w.symbols[count];
        s->start = at;
        s->prev = count - 1; /* wraps to "none" for the first */
        s->next = count + 1;
        at += first_symbol(t, text + at, length - at, &s->id);
        if (!sm_pace_step(&encoder->pace, LOOK_STEPS))
            return sm_encoder_fail(encoder);
    }
    w.symbols[count - 1].next = UINT32_MAX;
    if (!merge_long(&w))
        return sm_encoder_fail(encoder);
    for (uint32_t i = 0; i != UINT32_MAX; i = w.symbols[i].next) {
        *n = emit_symbol(t, w.symbols[i].id, text + w.symbols[i].start,
                         symbol_end(&w, i) - w.symbols[i].start, ids, *n);
        if (!sm_pace_step(&encoder->pace, LOOK_STEPS))
            return sm_encoder_fail(encoder);
    }
    return SM_OK;
}

static sm_status encode_text(sm_encoder *encoder, const uint8_t *text, uint32_t length,
                             int32_t *ids, uint64_t *n) {
    const sm_tokenizer *t = encoder->tokenizer;
    short_word w;
    w.n = 0;
    for (uint32_t at = 0; at < length; w.n++) {
        if (w.n == SHORT_WORD)
            return encode_long(encoder, text, length, ids, n);
        w.start[w.n] = at;
        at += first_symbol(t, text + at, length - at, &w.id[w.n]);
    }
    w.start[w.n] = length;
    merge_short(t, text, &w);
    for (uint32_t i = 0; i < w.n; i++)
        *n = emit_symbol(t, w.id[i], text + w.start[i], w.start[i + 1] - w.start[i], ids, *n);
    return SM_OK;
}

/* The token that spells the whole word, or SM_NO_ID. */
static sm_status find_whole(sm_encoder *encoder, const uint8_t *word, uint64_t length,
                            uint32_t *id) {
    const sm_tokenizer *t = encoder->tokenizer;
    *id = SM_NO_ID;
    if (length > t->max_token)
        return SM_OK;
    uint8_t *spelled = sm_scratch_reserve(encoder, &encoder->word, 0, 2 * length);
    if (!spelled)
        return sm_encoder_fail(encoder);
    uint64_t n = 0;
    for (uint64_t i = 0; i < length; i++)
        n += sm_utf8_encode(sm_byte_to_code(word[i]), spelled + n);
    *id = sm_index_find(&t->index, &t->text, spelled, n);
    if (t->steps && *id != SM_NO_ID && !(t->flags[*id] & SM_FLAG_MERGE))
        *id = SM_NO_ID; /* a special token's text is text here */
    return SM_OK;
}

/* The word with its spaces as SentencePiece writes them; NULL without memory or if cancelled. */
static const uint8_t *escape(sm_encoder *encoder, const uint8_t *word, uint64_t *length) {
    const bool is_short = *length <= SHORT_WORD; /* room for all of it is quicker than counting */
    uint64_t spaces = is_short ? *length : 0, n = 0, i = is_short ? *length : 0, stop;
    while ((stop = sm_pace_block(&encoder->pace, i, *length)) > i)
        for (; i < stop; i++)
            spaces += word[i] == ' ';
    uint8_t *out = sm_scratch_reserve(encoder, &encoder->word, 0, *length + 2 * spaces);
    if (!out)
        return NULL;
    i = 0;
    while ((stop = sm_pace_block(&encoder->pace, i, *length)) > i)
        for (; i < stop; i++) {
            if (word[i] != ' ') {
                out[n++] = word[i];
                continue;
            }
            memcpy(out + n, SM_LOWER_BLOCK, 3);
            n += 3;
        }
    *length = n;
    return encoder->pace.stopped ? NULL : out;
}

sm_status sm_bpe_word(sm_encoder *encoder, const uint8_t *word, uint64_t length, int32_t **ids,
                      uint64_t *n) {
    *n = 0;
    if (length > UINT32_MAX / 4)
        return sm_fail(encoder->error, SM_ERR_UNSUPPORTED,
                       "%llu bytes without a place to split are too long for the tokenizer",
                       (unsigned long long)length);
    *ids = sm_scratch_reserve(encoder, &encoder->found, 0, length * sizeof **ids);
    if (!*ids)
        return sm_encoder_fail(encoder);
    const sm_tokenizer *t = encoder->tokenizer;
    uint32_t whole = SM_NO_ID;
    if (t->kind != SM_TOKENIZER_BPE && t->escape_whitespaces) {
        word = escape(encoder, word, &length);
        if (!word)
            return sm_encoder_fail(encoder);
    }
    sm_status status = SM_OK;
    if (t->kind == SM_TOKENIZER_BPE && t->ignore_merges)
        status = find_whole(encoder, word, length, &whole);
    else if (t->kind == SM_TOKENIZER_CHARS && word[0] == '\n') /* no merges of these are listed */
        whole = sm_index_find(&t->index, &t->text, word, length);
    if (status || whole != SM_NO_ID) {
        (*ids)[0] = (int32_t)whole;
        *n = 1;
        return status;
    }
    return encode_text(encoder, word, (uint32_t)length, *ids, n);
}
