/* strings.c - tables of strings, and numbers by string. */
#include "internal.h"

#include <string.h>

/* ---- hash index ---------------------------------------------------------- */

static uint64_t mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0x9FB21C651E98DF25ULL;
    return h ^ h >> 29;
}

static uint64_t hash_bytes(const uint8_t *text, uint64_t length, uint64_t seed) {
    uint64_t h = seed ^ length * 0x9E3779B97F4A7C15ULL, word;
    for (; length > 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        h = mix(h ^ word) * 0xD6E8FEB86659FD93ULL;
    }
    word = 0;
    memcpy(&word, text, (size_t)length);
    return mix(mix(h ^ word) * 0xD6E8FEB86659FD93ULL);
}

/* Power of two that leaves a third or more of the slots free. */
static uint64_t slots_for(uint64_t n) {
    uint64_t slots = 16;
    while (slots / 3 * 2 < n)
        slots *= 2;
    return slots;
}

/* The layout of a table must not be predictable for whoever wrote the file, or
 * they could make it degenerate; what is found does not depend on the seed. */
static uint64_t fresh_seed(const void *address) {
    return mix(sm_time_ns() ^ (uint64_t)(uintptr_t)address * 0x9E3779B97F4A7C15ULL);
}

static bool is_at(const sm_strings *strings, uint32_t i, const void *text, uint64_t length) {
    uint32_t n;
    const char *data = sm_strings_get(strings, i, &n);
    return n == length && memcmp(data, text, n) == 0;
}

/* Steps of work that a string is: what it takes to find its place in memory. */
#define PLACE_STEPS 10

bool sm_index_build(sm_index *index, sm_mem *mem, const sm_strings *strings, sm_pace *pace) {
    uint64_t n_slots = slots_for(strings->n);
    index->slots = sm_alloc_zero(mem, n_slots * sizeof *index->slots);
    if (!index->slots)
        return false;
    index->mask = n_slots - 1;
    index->seed = fresh_seed(index->slots);
    for (uint32_t i = 0; i < strings->n; i++) {
        uint32_t length;
        const char *data = sm_strings_get(strings, i, &length);
        if (pace && !sm_pace_step(pace, PLACE_STEPS))
            return true;
        if (!length)
            continue;
        uint64_t hash = hash_bytes((const uint8_t *)data, length, index->seed);
        uint64_t tag = hash >> 32 << 32, at = hash & index->mask, slot;
        while ((slot = index->slots[at]) != 0) {
            if (slot >> 32 << 32 == tag && is_at(strings, (uint32_t)slot - 1, data, length))
                break;
            at = (at + 1) & index->mask;
        }
        if (!slot)
            index->slots[at] = tag | (i + 1);
    }
    return true;
}

uint32_t sm_index_find(const sm_index *index, const sm_strings *strings, const void *text,
                       uint64_t length) {
    if (!length || length > SM_MAX_TOKEN_BYTES)
        return SM_NO_ID;
    uint64_t hash = hash_bytes(text, length, index->seed);
    uint64_t tag = hash >> 32 << 32, slot;
    for (uint64_t at = hash & index->mask; (slot = index->slots[at]) != 0;
         at = (at + 1) & index->mask)
        if (slot >> 32 << 32 == tag && is_at(strings, (uint32_t)slot - 1, text, length))
            return (uint32_t)slot - 1;
    return SM_NO_ID;
}

/* ---- pairs --------------------------------------------------------------- */

bool sm_pairs_init(sm_pairs *pairs, sm_mem *mem, uint64_t n) {
    uint64_t n_slots = slots_for(n);
    pairs->slots = sm_alloc_array(mem, n_slots, sizeof *pairs->slots);
    if (!pairs->slots)
        return false;
    memset(pairs->slots, 0xFF, (size_t)(n_slots * sizeof *pairs->slots));
    pairs->mask = n_slots - 1;
    pairs->seed = fresh_seed(pairs->slots);
    return true;
}

static uint64_t pair_slot(const sm_pairs *pairs, uint64_t key) {
    return mix((key ^ pairs->seed) * 0xD6E8FEB86659FD93ULL) & pairs->mask;
}

void sm_pairs_add(sm_pairs *pairs, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged) {
    uint64_t key = (uint64_t)left << 32 | right, at = pair_slot(pairs, key);
    while (pairs->slots[at].key != UINT64_MAX) {
        if (pairs->slots[at].key == key)
            return;
        at = (at + 1) & pairs->mask;
    }
    pairs->slots[at] = (sm_pair){key, rank, merged};
}

const sm_pair *sm_pairs_find(const sm_pairs *pairs, uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 32 | right, at = pair_slot(pairs, key);
    while (pairs->slots[at].key != key) {
        if (pairs->slots[at].key == UINT64_MAX)
            return NULL;
        at = (at + 1) & pairs->mask;
    }
    return &pairs->slots[at];
}

/* ---- prefixes ------------------------------------------------------------ */

/* A string's first eight bytes as a number settle most comparisons. */
typedef struct sort_item {
    uint64_t head;
    uint32_t id;
} sort_item;

static uint64_t head_of(const char *data, uint32_t length) {
    uint64_t head = 0;
    for (uint32_t i = 0; i < 8; i++)
        head = head << 8 | (i < length ? (uint8_t)data[i] : 0);
    return head;
}

/* < 0, 0, > 0 by bytes; a prefix comes before what it begins. */
static int32_t compare_strings(const sm_strings *strings, uint32_t a, uint32_t b) {
    uint32_t na, nb;
    const char *ta = sm_strings_get(strings, a, &na), *tb = sm_strings_get(strings, b, &nb);
    int32_t order = memcmp(ta, tb, na < nb ? na : nb);
    return order ? order : na < nb ? -1 : na > nb;
}

static bool comes_first(const sm_strings *strings, const sort_item *a, const sort_item *b) {
    if (a->head != b->head)
        return a->head < b->head;
    int32_t order = compare_strings(strings, a->id, b->id);
    return order < 0 || (order == 0 && a->id <= b->id);
}

/* Merge sort; `other` is as large as `items`. Returns the one that holds the result, some order if
 * it is to end. */
static sort_item *sort_items(const sm_strings *strings, sort_item *items, sort_item *other,
                             uint64_t n, sm_pace *pace) {
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t begin = 0; begin < n; begin += 2 * width) {
            if (pace && !sm_pace_step(pace, 2 * (2 * width < n ? 2 * width : n)))
                return items;
            uint64_t middle = begin + width < n ? begin + width : n;
            uint64_t end = middle + width < n ? middle + width : n;
            uint64_t a = begin, b = middle;
            for (uint64_t to = begin; to < end; to++) {
                bool take_a =
                    b == end || (a < middle && comes_first(strings, &items[a], &items[b]));
                other[to] = take_a ? items[a++] : items[b++];
            }
        }
        sort_item *swap = items;
        items = other;
        other = swap;
    }
    return items;
}

/* First member in [low, high) whose byte at `depth` is `byte` or more; the range
 * shares its first `depth` bytes and one that ends there sorts first. */
static uint32_t lower_bound(const sm_prefixes *set, const sm_strings *strings, uint32_t low,
                            uint32_t high, uint32_t depth, uint32_t byte) {
    while (low < high) {
        uint32_t middle = low + (high - low) / 2, length;
        const char *data = sm_strings_get(strings, set->ids[middle], &length);
        if (length <= depth || (uint8_t)data[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

#define MARK_BYTES 3

static void index_marked(sm_prefixes *set, const sm_strings *strings) {
    uint32_t low = 0, high = set->n;
    for (uint32_t depth = 0; depth < MARK_BYTES; depth++) {
        uint32_t byte = (uint8_t)SM_LOWER_BLOCK[depth];
        low = lower_bound(set, strings, low, high, depth, byte);
        high = lower_bound(set, strings, low, high, depth, byte + 1);
    }
    for (uint32_t byte = 0; byte < 257; byte++)
        set->marked[byte] = lower_bound(set, strings, low, high, MARK_BYTES, byte);
}

bool sm_prefixes_build(sm_prefixes *set, sm_mem *mem, const sm_strings *strings,
                       const uint32_t *ids, uint32_t n, sm_pace *pace) {
    memset(set, 0, sizeof *set);
    if (!n)
        return true;
    sort_item *items = sm_alloc_array(mem, n, 2 * sizeof *items);
    set->ids = sm_alloc_array(mem, n, sizeof *set->ids);
    if (!items || !set->ids) {
        sm_free(mem, items);
        return false;
    }
    uint64_t n_items = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length;
        const char *data = sm_strings_get(strings, ids[i], &length);
        if (length)
            items[n_items++] = (sort_item){head_of(data, length), ids[i]};
    }
    const sort_item *sorted = sort_items(strings, items, items + n, n_items, pace);
    for (uint64_t i = 0; i < n_items; i++) {
        uint32_t id = sorted[i].id, length;
        if (set->n && compare_strings(strings, set->ids[set->n - 1], id) == 0)
            continue;
        set->first[(uint8_t)*sm_strings_get(strings, id, &length) + 1]++;
        set->ids[set->n++] = id;
    }
    for (uint32_t i = 1; i < 257; i++)
        set->first[i] += set->first[i - 1];
    sm_free(mem, items);
    index_marked(set, strings);
    return true;
}

/* Whether the byte at `depth` is `byte` throughout [low, high): true for most ranges
 * deep down and spares the searches. */
static bool all_have(const sm_prefixes *set, const sm_strings *strings, uint32_t low, uint32_t high,
                     uint32_t depth, uint8_t byte) {
    uint32_t n;
    const char *first = sm_strings_get(strings, set->ids[low], &n);
    if (n <= depth || (uint8_t)first[depth] != byte)
        return false;
    const char *last = sm_strings_get(strings, set->ids[high - 1], &n);
    return (uint8_t)last[depth] == byte;
}

uint32_t sm_prefixes_next(const sm_prefixes *set, const sm_strings *strings, const uint8_t *text,
                          uint64_t length, sm_prefix_walk *walk, uint32_t *bytes) {
    while (walk->low < walk->high) {
        uint32_t id = set->ids[walk->low], n;
        (void)sm_strings_get(strings, id, &n);
        uint32_t depth = walk->depth;
        if (n == depth) {
            walk->low++; /* so the next call goes on with the longer ones */
            *bytes = n;
            return id;
        }
        if (depth == length)
            break;
        walk->depth = depth + 1;
        if (depth == MARK_BYTES && walk->high == set->marked[256] && walk->low == set->marked[0]) {
            walk->low = set->marked[text[depth]];
            walk->high = set->marked[text[depth] + 1];
            continue;
        }
        if (all_have(set, strings, walk->low, walk->high, depth, text[depth]))
            continue;
        walk->low = lower_bound(set, strings, walk->low, walk->high, depth, text[depth]);
        walk->high = lower_bound(set, strings, walk->low, walk->high, depth, text[depth] + 1U);
    }
    return SM_NO_ID;
}
