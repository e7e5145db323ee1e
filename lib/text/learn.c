/* Learning a byte-level BPE vocabulary: the most frequent pair of neighbouring symbols inside
 * the words of a text becomes a new symbol, again and again (Sennrich et al.,
 * arXiv:1508.07909). Of equally frequent pairs the one whose bytes compare greater, left part
 * first, comes first, as in the usual reference implementations.
 *
 * Words are counted once; each keeps its present symbols, and each pair the list of words where
 * it was seen, so that a merge only touches these. */
#include "internal.h"

#include <string.h>

#define NONE UINT32_MAX
#define MAX_WORD 4096 /* bytes; longer runs of one kind of character are cut */
#define COPY_PIECE ((uint64_t)1 << 18)

typedef struct word {
    uint64_t count;
    uint32_t first, length; /* in `symbols`; of the text the word had: `bytes` */
    uint32_t bytes, hash;
    uint32_t next; /* of the same hash slot */
} word;

typedef struct pair {
    uint32_t left, right;
    uint64_t count;
    uint32_t places;    /* newest entry of its list */
    uint32_t last_word; /* that was entered, to enter a word once */
    uint32_t next;      /* of the same hash slot */
} pair;

typedef struct place {
    uint32_t word, next;
} place;

typedef struct candidate {
    uint64_t count;
    uint32_t pair;
} candidate;

/* An array that grows. */
typedef struct array {
    void *data;
    uint64_t n, capacity, size;
} array;

struct sm_bpe_learner {
    sm_mem *mem;
    sm_error *error; /* of the running call */
    sm_pace *pace;   /* of the running call */
    sm_pace idle;    /* what pace points to where the caller has none */
    sm_pre *pre;
    sm_split split;
    array text;    /* bytes of all words and tokens */
    array words;   /* word */
    array symbols; /* uint32_t */
    array pairs;   /* pair */
    array places;  /* place */
    array heap;    /* candidate, greatest first */
    array tokens;  /* learned */
    uint32_t *word_slots, *pair_slots;
    uint64_t n_word_slots, n_pair_slots;
    uint32_t n_special;
    array merges; /* two uint32_t each: token ids */
};

/* A token's bytes in `text`. */
typedef struct learned {
    uint64_t begin;
    uint32_t length;
} learned;

/* Why a call cannot go on. */
static sm_status no_memory(const sm_bpe_learner *l) {
    if (l->pace && l->pace->stopped)
        return sm_fail(l->error, SM_ERR_CANCELLED, "cancelled");
    return sm_fail(l->error, SM_ERR_NOMEM, "out of memory while learning a vocabulary");
}

/* Steps of work that hashing a pair and finding it in memory are. */
#define FIND_STEPS 8

static sm_status step(const sm_bpe_learner *l, uint64_t steps) {
    return sm_pace_step(l->pace, steps) ? SM_OK : no_memory(l);
}

/* The array in a block of `bytes`; NULL without memory, or if the call is to stop. */
static void *move(const sm_bpe_learner *l, const array *a, uint64_t bytes) {
    uint8_t *to = sm_alloc(l->mem, bytes);
    const uint64_t size = a->n * a->size;
    for (uint64_t at = 0, n; to && at < size; at += n) {
        n = size - at < COPY_PIECE ? size - at : COPY_PIECE;
        memcpy(to + at, (const uint8_t *)a->data + at, n);
        if (l->pace && !sm_pace_step(l->pace, n / 8)) {
            sm_free(l->mem, to);
            return NULL;
        }
    }
    if (to)
        sm_free(l->mem, a->data);
    return to;
}

/* n slots without an entry, likewise. */
static uint32_t *empty_slots(const sm_bpe_learner *l, uint64_t n) {
    uint32_t *slots = sm_alloc_array(l->mem, n, sizeof *slots);
    for (uint64_t at = 0, k; slots && at < n; at += k) {
        k = n - at < COPY_PIECE / sizeof *slots ? n - at : COPY_PIECE / sizeof *slots;
        memset(slots + at, 0xff, k * sizeof *slots);
        if (!sm_pace_step(l->pace, k / 2)) {
            sm_free(l->mem, slots);
            return NULL;
        }
    }
    return slots;
}

/* Room for one more element; NULL without memory, past 2^32 elements, or if the call is to stop. */
static void *push(const sm_bpe_learner *l, array *a) {
    if (a->n == a->capacity) {
        const uint64_t capacity = a->capacity ? 2 * a->capacity : 1024;
        void *data = a->n < NONE ? move(l, a, capacity * a->size) : NULL;
        if (!data)
            return NULL;
        a->data = data;
        a->capacity = capacity;
    }
    return (uint8_t *)a->data + a->n++ * a->size;
}

static word *word_at(const sm_bpe_learner *l, uint32_t i) {
    return (word *)l->words.data + i;
}
static pair *pair_at(const sm_bpe_learner *l, uint32_t i) {
    return (pair *)l->pairs.data + i;
}
static uint32_t *symbol_at(const sm_bpe_learner *l, uint32_t i) {
    return (uint32_t *)l->symbols.data + i;
}
static learned *token_at(const sm_bpe_learner *l, uint32_t i) {
    return (learned *)l->tokens.data + i;
}
static const uint8_t *bytes_at(const sm_bpe_learner *l, uint64_t i) {
    return (const uint8_t *)l->text.data + i;
}

/* Appends bytes to the text; false without memory. */
static bool keep(sm_bpe_learner *l, const uint8_t *bytes, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *to = push(l, &l->text);
        if (!to)
            return false;
        *to = bytes[i];
    }
    return true;
}

static bool add_token(sm_bpe_learner *l, uint64_t begin, uint64_t length) {
    learned *t = push(l, &l->tokens);
    if (t)
        *t = (learned){begin, (uint32_t)length};
    return t;
}

/* ---- making ------------------------------------------------------------------------------- */

sm_status sm_bpe_learner_new(sm_bpe_learner **out, sm_mem *mem, sm_str pre, const sm_str *special,
                             uint32_t n_special, sm_error *error) {
    uint32_t flags;
    *out = NULL;
    sm_bpe_learner *l = sm_alloc_zero(mem, sizeof *l);
    if (!l)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    l->mem = mem;
    l->error = error;
    l->text.size = 1;
    l->words.size = sizeof(word);
    l->symbols.size = sizeof(uint32_t);
    l->pairs.size = sizeof(pair);
    l->places.size = sizeof(place);
    l->heap.size = sizeof(candidate);
    l->tokens.size = sizeof(learned);
    l->merges.size = 2 * sizeof(uint32_t);
    l->n_special = n_special;
    sm_status status = sm_pre_new(&l->pre, mem, pre.data, pre.length, &flags, error);
    for (uint32_t i = 0; i < n_special && !status; i++) {
        const uint64_t begin = l->text.n;
        if (!keep(l, (const uint8_t *)special[i].data, special[i].length) ||
            !add_token(l, begin, special[i].length))
            status = no_memory(l);
    }
    /* bytes in the order of the characters that spell them */
    for (uint32_t code = 0; code < 512 && !status; code++) {
        const int32_t byte = sm_code_to_byte(code);
        if (byte < 0)
            continue;
        const uint8_t c = (uint8_t)byte;
        const uint64_t begin = l->text.n;
        if (!keep(l, &c, 1) || !add_token(l, begin, 1))
            status = no_memory(l);
    }
    if (status)
        sm_bpe_learner_free(l);
    else
        *out = l;
    return status;
}

void sm_bpe_learner_free(sm_bpe_learner *l) {
    if (!l)
        return;
    sm_pre_free(l->pre, l->mem);
    array *const arrays[] = {&l->text,   &l->words, &l->symbols, &l->pairs,
                             &l->places, &l->heap,  &l->tokens,  &l->merges};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        sm_free(l->mem, arrays[i]->data);
    sm_free(l->mem, l->word_slots);
    sm_free(l->mem, l->pair_slots);
    sm_free(l->mem, l);
}

/* ---- counting words -------------------------------------------------------------------------- */

static uint32_t hash_bytes(const uint8_t *bytes, uint64_t n) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (uint64_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 32);
}

static sm_status grow_words(sm_bpe_learner *l) {
    const uint64_t n = l->n_word_slots ? 2 * l->n_word_slots : 4096;
    uint32_t *slots = empty_slots(l, n);
    if (!slots)
        return no_memory(l);
    for (uint32_t i = 0; i < l->words.n && sm_pace_step(l->pace, FIND_STEPS); i++) {
        word *w = word_at(l, i);
        w->next = slots[w->hash & (n - 1)];
        slots[w->hash & (n - 1)] = i;
    }
    sm_free(l->mem, l->word_slots);
    l->word_slots = slots;
    l->n_word_slots = n;
    return l->pace->stopped ? no_memory(l) : SM_OK;
}

static sm_status count_word(sm_bpe_learner *l, const uint8_t *bytes, uint64_t n) {
    const uint32_t hash = hash_bytes(bytes, n);
    if (l->words.n >= l->n_word_slots) {
        sm_status status = grow_words(l);
        if (status)
            return status;
    }
    uint32_t *slot = &l->word_slots[hash & (l->n_word_slots - 1)];
    for (uint32_t i = *slot; i != NONE; i = word_at(l, i)->next) {
        word *w = word_at(l, i);
        if (w->hash == hash && w->length == n && !memcmp(bytes_at(l, w->bytes), bytes, n)) {
            w->count++;
            return SM_OK;
        }
    }
    if (l->text.n + n >= NONE)
        return sm_fail(l->error, SM_ERR_UNSUPPORTED,
                       "the text has more than 4 GiB of different words");
    const uint32_t begin = (uint32_t)l->text.n;
    word *w = keep(l, bytes, n) ? push(l, &l->words) : NULL;
    if (!w)
        return no_memory(l);
    *w = (word){1, 0, (uint32_t)n, begin, hash, *slot};
    *slot = (uint32_t)l->words.n - 1;
    return SM_OK;
}

sm_status sm_bpe_learner_add(sm_bpe_learner *l, const void *text, uint64_t length, sm_pace *pace,
                             sm_error *error) {
    l->error = error;
    l->pace = pace ? pace : &l->idle;
    const uint8_t *bytes = text;
    for (uint64_t at = 0; at < length;) {
        uint32_t code;
        const uint32_t n = sm_utf8_decode(bytes + at, length - at, &code);
        if (step(l, n))
            return SM_ERR_CANCELLED;
        if (code == UINT32_MAX)
            return sm_fail(error, SM_ERR_FORMAT, "byte %llu of the text is not UTF-8",
                           (unsigned long long)at);
        at += n;
    }
    sm_split_start(&l->split, l->pre, bytes, length, pace);
    for (;;) {
        uint64_t begin, end;
        sm_status status = sm_split_next(&l->split, &begin, &end, error);
        if (!status && begin == length)
            return SM_OK;
        if (!status)
            status = step(l, FIND_STEPS + end - begin);
        for (; begin < end && !status; begin += MAX_WORD)
            status = count_word(l, bytes + begin, end - begin < MAX_WORD ? end - begin : MAX_WORD);
        if (status)
            return status;
    }
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static uint32_t hash_pair(uint32_t left, uint32_t right) {
    const uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

static sm_status grow_pairs(sm_bpe_learner *l) {
    const uint64_t n = l->n_pair_slots ? 2 * l->n_pair_slots : 4096;
    uint32_t *slots = empty_slots(l, n);
    if (!slots)
        return no_memory(l);
    for (uint32_t i = 0; i < l->pairs.n && sm_pace_step(l->pace, FIND_STEPS); i++) {
        pair *p = pair_at(l, i);
        const uint64_t slot = hash_pair(p->left, p->right) & (n - 1);
        p->next = slots[slot];
        slots[slot] = i;
    }
    sm_free(l->mem, l->pair_slots);
    l->pair_slots = slots;
    l->n_pair_slots = n;
    return l->pace->stopped ? no_memory(l) : SM_OK;
}

/* Number of a pair, made if it is new; NONE without memory. */
static uint32_t find_pair(sm_bpe_learner *l, uint32_t left, uint32_t right) {
    if (l->pairs.n >= l->n_pair_slots && grow_pairs(l))
        return NONE;
    uint32_t *slot = &l->pair_slots[hash_pair(left, right) & (l->n_pair_slots - 1)];
    for (uint32_t i = *slot; i != NONE; i = pair_at(l, i)->next)
        if (pair_at(l, i)->left == left && pair_at(l, i)->right == right)
            return i;
    pair *p = push(l, &l->pairs);
    if (!p)
        return NONE;
    *p = (pair){left, right, 0, NONE, NONE, *slot};
    *slot = (uint32_t)l->pairs.n - 1;
    return *slot;
}

/* The pair occurs in word w (once more). */
static sm_status enter(sm_bpe_learner *l, uint32_t left, uint32_t right, uint32_t w,
                       uint32_t *number) {
    const uint32_t i = find_pair(l, left, right);
    if (i == NONE)
        return no_memory(l);
    pair *p = pair_at(l, i);
    p->count += word_at(l, w)->count;
    *number = i;
    if (p->last_word == w)
        return SM_OK;
    place *at = push(l, &l->places);
    if (!at)
        return no_memory(l);
    *at = (place){w, p->places};
    p->places = (uint32_t)l->places.n - 1;
    p->last_word = w;
    return SM_OK;
}

static sm_status leave(sm_bpe_learner *l, uint32_t left, uint32_t right, uint32_t w) {
    const uint32_t i = find_pair(l, left, right);
    if (i == NONE)
        return no_memory(l);
    pair_at(l, i)->count -= word_at(l, w)->count;
    return SM_OK;
}

/* ---- the heap -------------------------------------------------------------------------------- */

static int compare_tokens(const sm_bpe_learner *l, uint32_t a, uint32_t b) {
    const learned *x = token_at(l, a), *y = token_at(l, b);
    const uint32_t n = x->length < y->length ? x->length : y->length;
    const int order = memcmp(bytes_at(l, x->begin), bytes_at(l, y->begin), n);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* Whether candidate a is merged before b. */
static bool before(const sm_bpe_learner *l, const candidate *a, const candidate *b) {
    if (a->count != b->count)
        return a->count > b->count;
    const pair *p = pair_at(l, a->pair), *q = pair_at(l, b->pair);
    const int order = compare_tokens(l, p->left, q->left);
    return order ? order > 0 : compare_tokens(l, p->right, q->right) > 0;
}

static sm_status offer(sm_bpe_learner *l, uint32_t number) {
    if (!push(l, &l->heap))
        return no_memory(l);
    candidate *heap = l->heap.data;
    const candidate c = {pair_at(l, number)->count, number};
    uint64_t i = l->heap.n - 1;
    for (; i > 0 && before(l, &c, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = c;
    return SM_OK;
}

static candidate take(sm_bpe_learner *l) {
    candidate *heap = l->heap.data;
    const candidate top = heap[0], c = heap[--l->heap.n];
    const uint64_t n = l->heap.n;
    uint64_t i = 0;
    for (uint64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(l, &heap[child + 1], &heap[child]))
            child++;
        if (!before(l, &heap[child], &c))
            break;
        heap[i] = heap[child];
    }
    if (n)
        heap[i] = c;
    return top;
}

/* ---- merging --------------------------------------------------------------------------------- */

static sm_status spell_words(sm_bpe_learner *l) {
    uint32_t byte_token[256];
    for (uint32_t i = 0; i < 256; i++)
        byte_token[*bytes_at(l, token_at(l, l->n_special + i)->begin)] = l->n_special + i;
    for (uint32_t w = 0; w < l->words.n; w++) {
        word_at(l, w)->first = (uint32_t)l->symbols.n;
        for (uint32_t i = 0; i < word_at(l, w)->length; i++) {
            uint32_t *symbol = push(l, &l->symbols);
            if (!symbol)
                return no_memory(l);
            *symbol = byte_token[*bytes_at(l, word_at(l, w)->bytes + i)];
        }
        if (step(l, word_at(l, w)->length))
            return SM_ERR_CANCELLED;
    }
    for (uint32_t w = 0; w < l->words.n; w++) {
        const uint32_t *s = symbol_at(l, word_at(l, w)->first);
        for (uint32_t i = 0; i + 1 < word_at(l, w)->length; i++) {
            uint32_t number;
            sm_status status = enter(l, s[i], s[i + 1], w, &number);
            if (status)
                return status;
        }
        if (step(l, FIND_STEPS * (uint64_t)word_at(l, w)->length))
            return SM_ERR_CANCELLED;
    }
    for (uint32_t i = 0; i < l->pairs.n; i++) {
        sm_status status = offer(l, i);
        if (!status)
            status = step(l, FIND_STEPS);
        if (status)
            return status;
    }
    return SM_OK;
}

/* Replaces the pair in word w by token `merged`; pairs that come into being are >= first_new. */
static sm_status merge_word(sm_bpe_learner *l, uint32_t w, uint32_t left, uint32_t right,
                            uint32_t merged) {
    uint32_t *s = symbol_at(l, word_at(l, w)->first);
    const uint32_t n = word_at(l, w)->length;
    uint32_t out = 0, number;
    sm_status status = SM_OK;
    bool found = false;
    for (uint32_t i = 0; i + 1 < n && !found; i++)
        found = s[i] == left && s[i + 1] == right;
    if (!found) /* an earlier merge took it */
        return step(l, FIND_STEPS + n);
    for (uint32_t i = 0; i + 1 < n && !status; i++)
        status = leave(l, s[i], s[i + 1], w);
    for (uint32_t i = 0; i < n; out++) {
        const bool hit = i + 1 < n && s[i] == left && s[i + 1] == right;
        s[out] = hit ? merged : s[i];
        i += hit ? 2 : 1;
    }
    word_at(l, w)->length = out;
    for (uint32_t i = 0; i + 1 < out && !status; i++)
        status = enter(l, s[i], s[i + 1], w, &number);
    return status ? status : step(l, 2 * FIND_STEPS * (uint64_t)n);
}

/* The pair becomes a token. */
static sm_status merge_pair(sm_bpe_learner *l, uint32_t number) {
    const pair p = *pair_at(l, number);
    const uint32_t merged = (uint32_t)l->tokens.n, first_new = (uint32_t)l->pairs.n;
    const learned left = *token_at(l, p.left), right = *token_at(l, p.right);
    const uint64_t begin = l->text.n;
    for (uint32_t i = 0; i < left.length + right.length; i++) {
        const uint8_t byte = i < left.length ? *bytes_at(l, left.begin + i)
                                             : *bytes_at(l, right.begin + i - left.length);
        if (!keep(l, &byte, 1))
            return no_memory(l);
    }
    uint32_t *merge = push(l, &l->merges);
    if (!merge || !add_token(l, begin, left.length + right.length))
        return no_memory(l);
    merge[0] = p.left;
    merge[1] = p.right;
    sm_status status = SM_OK;
    for (uint32_t at = p.places; at != NONE && !status; at = ((place *)l->places.data)[at].next)
        status = merge_word(l, ((place *)l->places.data)[at].word, p.left, p.right, merged);
    for (uint32_t i = first_new; i < l->pairs.n && !status; i++) {
        status = offer(l, i);
        if (!status)
            status = step(l, FIND_STEPS);
    }
    return status;
}

/* How a pace asks a progress hook. */
typedef struct goal {
    const sm_bpe_learner *learner;
    uint32_t n_vocab;
    sm_hook hook;
} goal;

static int32_t ask_hook(void *user) {
    const goal *g = user;
    return sm_hook_ends(&g->hook, g->learner->tokens.n, g->n_vocab);
}

sm_status sm_bpe_learner_run(sm_bpe_learner *l, uint32_t n_vocab, uint64_t min_count,
                             sm_progress_fn progress, void *progress_user, sm_error *error) {
    goal asked = {l, n_vocab, {progress, progress_user}};
    sm_pace pace = {.cancel = ask_hook, .user = &asked};
    l->error = error;
    l->pace = &pace;
    if (n_vocab < l->tokens.n || n_vocab > INT32_MAX / 2)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "a vocabulary of %u tokens: at least %llu are needed for bytes and marks",
                       n_vocab, (unsigned long long)l->tokens.n);
    sm_status status = spell_words(l);
    while (!status && l->tokens.n < n_vocab && l->heap.n) {
        const candidate c = take(l);
        const uint64_t count = pair_at(l, c.pair)->count;
        status = step(l, FIND_STEPS);
        if (status || count < min_count)
            continue;
        if (count != c.count) /* it lost occurrences since it was offered */
            status = offer(l, c.pair);
        else
            status = merge_pair(l, c.pair);
    }
    l->pace = NULL;
    return status;
}

uint32_t sm_bpe_learner_tokens(const sm_bpe_learner *l) {
    return (uint32_t)l->tokens.n;
}

uint32_t sm_bpe_learner_merges(const sm_bpe_learner *l) {
    return (uint32_t)l->merges.n;
}

uint64_t sm_bpe_learner_token(const sm_bpe_learner *l, uint32_t id, char *out) {
    const learned *t = token_at(l, id);
    if (id < l->n_special) {
        if (out)
            memcpy(out, bytes_at(l, t->begin), t->length);
        return t->length;
    }
    uint64_t n = 0;
    for (uint32_t i = 0; i < t->length; i++) {
        uint8_t utf8[4];
        const uint32_t bytes = sm_utf8_encode(sm_byte_to_code(*bytes_at(l, t->begin + i)), utf8);
        if (out)
            memcpy(out + n, utf8, bytes);
        n += bytes;
    }
    return n;
}

void sm_bpe_learner_merge(const sm_bpe_learner *l, uint32_t i, uint32_t *left, uint32_t *right) {
    const uint32_t *merge = (const uint32_t *)l->merges.data + 2 * (uint64_t)i;
    *left = merge[0];
    *right = merge[1];
}
