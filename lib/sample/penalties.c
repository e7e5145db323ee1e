/* Samplers that change logits by what the history holds. */
#include "survivors.h"

#include <math.h>
#include <string.h>

#define MOST 1e30

float sm_to_logit(double x) {
    return (float)(x == -INFINITY ? x : x < -MOST ? -MOST : x > MOST ? MOST : x);
}

/* Applies change(count) to the logits of tokens whose count is not 0: those of ids[n], which all
 * have one, or all that are left. Afterwards no token of ids has a count. */
typedef double change_fn(double logit, int32_t count, const sm_sampling_step *step);

static void change_counted(sm_survivors *l, const int32_t *ids, uint32_t n, change_fn *change,
                           const sm_sampling_step *step) {
    int32_t *counts = l->s->counts;
    float *x = sv_own(l);
    for (uint32_t i = 0; !l->id && i < n; i++) {
        if (!counts[ids[i]])
            continue; /* seen before */
        x[ids[i]] = sm_to_logit(change((double)x[ids[i]], counts[ids[i]], step));
        counts[ids[i]] = 0;
    }
    for (uint32_t i = 0; l->id && i < l->n; i++)
        if (counts[l->id[i]])
            x[i] = sm_to_logit(change((double)x[i], counts[l->id[i]], step));
    for (uint32_t i = 0; l->id && i < n; i++)
        counts[ids[i]] = 0;
    if (l->sorted)
        sv_sort_by_id(l);
}

/* The last of the history that a last_n means: below 0 all. */
static uint32_t window(const sm_draw *d, double last_n) {
    return last_n < 0 || last_n >= d->length ? d->length : (uint32_t)last_n;
}

static double penalize(double logit, int32_t count, const sm_sampling_step *step) {
    logit = logit > 0 ? logit / step->value[1] : logit * step->value[1];
    return logit - (step->value[3] + count * step->value[2]);
}

void sm_penalties(const sm_stage *c, const sm_sampling_step *step) {
    const uint32_t n = window(c->draw, step->value[0]);
    const int32_t *ids = c->draw->ids + (c->draw->length - n);
    for (uint32_t i = 0; i < n; i++)
        c->left->s->counts[ids[i]]++;
    change_counted(c->left, ids, n, penalize, step);
}

/* ---- DRY ------------------------------------------------------------------------------------- */

/* Of a text read backwards from its end, ids[0], ids[-1] …: z[i], how far what begins at i goes on
 * like the beginning, no further than `most` (Gusfield's Z, linear). */
static void match_lengths(uint32_t *z, const int32_t *end, uint32_t n, uint32_t most) {
    uint32_t left = 0, right = 0; /* the match that reaches furthest */
    for (uint32_t i = 1; i < n; i++) {
        uint32_t same = i < right ? min_u32(z[i - left], right - i) : 0;
        while (i + same < n && same < most && end[-(ptrdiff_t)same] == end[-(ptrdiff_t)(i + same)])
            same++;
        z[i] = same;
        if (i + same > right) {
            left = i;
            right = i + same;
        }
    }
}

static double lessen(double logit, int32_t length, const sm_sampling_step *step) {
    return logit - step->value[0] * pow(step->value[1], length - step->value[2]);
}

#define ALONE (-1) /* in the counts: a breaker by itself, never made less likely */
#define FIRST (-2) /* or with what follows */

/* Marks breakers in the counts. */
static void mark_breakers(const sm_stage *c) {
    const sm_sampling *o = &c->chain->options;
    const sm_breakers *b = c->draw->breakers;
    int32_t *counts = c->left->s->counts;
    for (uint32_t i = 0; b && i < b->n; i++)
        if (counts[b->head[i]] != ALONE)
            counts[b->head[i]] = b->end[i] == b->end[i + 1] ? ALONE : FIRST;
    for (uint64_t i = 0; i < o->n_dry_breakers; i++)
        counts[o->dry_breakers[i]] = ALONE;
}

/* Takes marks of one kind away. */
static void unmark_breakers(const sm_stage *c, int32_t kind) {
    const sm_sampling *o = &c->chain->options;
    const sm_breakers *b = c->draw->breakers;
    int32_t *counts = c->left->s->counts;
    for (uint32_t i = 0; b && i < b->n; i++)
        if (counts[b->head[i]] == kind)
            counts[b->head[i]] = 0;
    for (uint64_t i = 0; kind == ALONE && i < o->n_dry_breakers; i++)
        counts[o->dry_breakers[i]] = 0;
}

static uint32_t first_of(const sm_breakers *b, int32_t head) {
    uint32_t low = 0, high = b->n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (b->head[middle] < head)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of the marked token i places before the last: how many tokens behind it belong to its longest
 * sequence that is there; -1: none is. */
static int32_t sequence_at(const sm_stage *c, const int32_t *end, uint32_t i) {
    const sm_breakers *b = c->draw->breakers;
    const int32_t head = end[-(ptrdiff_t)i];
    int32_t longest = c->left->s->counts[head] == ALONE ? 0 : -1;
    for (uint32_t k = b ? first_of(b, head) : 0; b && k < b->n && b->head[k] == head; k++) {
        const uint32_t n = b->end[k + 1] - b->end[k];
        if (n <= i && (int32_t)n > longest &&
            !memcmp(b->tail + b->end[k], end - i + 1, n * sizeof *end))
            longest = (int32_t)n;
    }
    return longest;
}

/* How many of the last n tokens stand behind the last breaker. */
static uint32_t behind_breakers(const sm_stage *c, const int32_t *end, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (c->left->s->counts[end[-(ptrdiff_t)i]] >= 0)
            continue;
        const int32_t longest = sequence_at(c, end, i);
        if (longest >= 0)
            return i - (uint32_t)longest;
    }
    return n;
}

void sm_dry(const sm_stage *c, const sm_sampling_step *step) {
    sm_sampler *s = c->left->s;
    const uint32_t n = window(c->draw, step->value[3]);
    if (n < 2)
        return;
    const int32_t *end = c->draw->ids + c->draw->length - 1;
    mark_breakers(c);
    const uint32_t most = behind_breakers(c, end, n);
    unmark_breakers(c, FIRST);
    match_lengths(s->matches, end, n, most);
    for (uint32_t i = 1; i < n; i++) { /* what came after the match that ends i tokens back */
        const int32_t id = end[1 - (ptrdiff_t)i];
        if (s->counts[id] >= 0 && s->matches[i] >= step->value[2] &&
            (int32_t)s->matches[i] > s->counts[id])
            s->counts[id] = (int32_t)s->matches[i];
    }
    unmark_breakers(c, ALONE);
    change_counted(c->left, end - (n - 1), n, lessen, step);
}
