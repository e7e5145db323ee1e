/* Byte-pair merging of ids by a list of merges: the lowest rank first, of equal ones the
 * leftmost. */
#include "internal.h"

#define SHORT 48 /* ids; up to here a plain search beats the heap */
#define HEAP_STEPS 64
#define NOTHING UINT32_MAX

/* ---- short words ----------------------------------------------------------------------------- */

typedef struct short_word {
    uint32_t rank[SHORT], merged[SHORT]; /* of each id with the next */
} short_word;

static void look(const sm_pairs *pairs, const uint32_t *ids, short_word *w, uint64_t i) {
    const sm_pair *pair = sm_pairs_find(pairs, ids[i], ids[i + 1]);
    w->rank[i] = pair ? pair->rank : NOTHING;
    w->merged[i] = pair ? pair->merged : SM_NO_ID;
}

static uint64_t merge_short(const sm_pairs *pairs, uint32_t *ids, uint64_t n) {
    short_word w;
    for (uint64_t i = 0; i + 1 < n; i++)
        look(pairs, ids, &w, i);
    while (n > 1) {
        uint64_t best = 0;
        for (uint64_t i = 1; i + 1 < n; i++)
            if (w.rank[i] < w.rank[best])
                best = i;
        if (w.rank[best] == NOTHING)
            break;
        ids[best] = w.merged[best];
        n--;
        for (uint64_t i = best + 1; i < n; i++)
            ids[i] = ids[i + 1];
        for (uint64_t i = best + 1; i + 1 < n; i++) {
            w.rank[i] = w.rank[i + 1];
            w.merged[i] = w.merged[i + 1];
        }
        if (best > 0)
            look(pairs, ids, &w, best - 1);
        if (best + 1 < n)
            look(pairs, ids, &w, best);
    }
    return n;
}

/* ---- long words ------------------------------------------------------------------------------ */

typedef struct link {
    uint32_t prev, next;
} link;

typedef struct candidate {
    uint32_t rank, at, left, right, merged; /* left, right: the ids that it was found for */
} candidate;

typedef struct long_word {
    sm_encoder *encoder;
    const sm_pairs *pairs;
    uint32_t *ids; /* SM_NO_ID - 1: merged away */
    link *links;
    uint64_t n_heap;
} long_word;

#define GONE (SM_NO_ID - 1)

static bool before(const candidate *a, const candidate *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static bool push(long_word *w, uint32_t at) {
    const uint32_t next = w->links[at].next;
    if (next == NOTHING)
        return true;
    const sm_pair *pair = sm_pairs_find(w->pairs, w->ids[at], w->ids[next]);
    if (!pair)
        return sm_pace_step(&w->encoder->pace, 8);
    const uint64_t used = w->n_heap * sizeof(candidate);
    candidate *heap =
        sm_scratch_reserve(w->encoder, &w->encoder->heap, used, used + sizeof(candidate));
    if (!heap)
        return false;
    const candidate item = {pair->rank, at, w->ids[at], w->ids[next], pair->merged};
    uint64_t i = w->n_heap++;
    for (uint64_t parent; i > 0 && before(&item, &heap[parent = (i - 1) / 2]); i = parent)
        heap[i] = heap[parent];
    heap[i] = item;
    return sm_pace_step(&w->encoder->pace, HEAP_STEPS);
}

static candidate pop(long_word *w) {
    candidate *heap = w->encoder->heap.data;
    const candidate top = heap[0], item = heap[--w->n_heap];
    uint64_t at = 0;
    for (;;) {
        uint64_t child = 2 * at + 1;
        if (child >= w->n_heap)
            break;
        if (child + 1 < w->n_heap && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &item))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
    return top;
}

static bool merge_one(long_word *w, const candidate *c) {
    const uint32_t at = c->at, right = w->links[at].next;
    if (w->ids[at] != c->left || right == NOTHING || w->ids[right] != c->right)
        return true; /* overtaken */
    w->ids[at] = c->merged;
    w->ids[right] = GONE;
    w->links[at].next = w->links[right].next;
    if (w->links[at].next != NOTHING)
        w->links[w->links[at].next].prev = at;
    return (w->links[at].prev == NOTHING || push(w, w->links[at].prev)) && push(w, at);
}

static sm_status merge_long(sm_encoder *encoder, const sm_pairs *pairs, uint32_t *ids,
                            uint64_t *n) {
    long_word w = {encoder, pairs, ids, NULL, 0};
    w.links = sm_scratch_reserve(encoder, &encoder->links, 0, *n * sizeof(link));
    if (!w.links)
        return sm_encoder_fail(encoder);
    const uint32_t count = (uint32_t)*n;
    for (uint32_t i = 0; i < count; i++)
        w.links[i] = (link){i - 1, i + 1 < count ? i + 1 : NOTHING}; /* 0 - 1: nothing */
    for (uint32_t i = 0; i + 1 < count; i++)
        if (!push(&w, i))
            return sm_encoder_fail(encoder);
    while (w.n_heap) {
        const candidate c = pop(&w);
        if (!sm_pace_step(&encoder->pace, HEAP_STEPS) || !merge_one(&w, &c))
            return sm_encoder_fail(encoder);
    }
    uint64_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] != GONE)
            ids[kept++] = ids[i];
    *n = kept;
    return SM_OK;
}

sm_status sm_merge_ids(sm_encoder *encoder, const sm_pairs *pairs, uint32_t *ids, uint64_t *n) {
    if (*n > SHORT)
        return merge_long(encoder, pairs, ids, n);
    *n = merge_short(pairs, ids, *n);
    return SM_OK;
}
