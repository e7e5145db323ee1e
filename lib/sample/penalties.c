/* Samplers that change logits by what the history holds. */
#include "survivors.h"

#include <math.h>

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

/* ---- DRY
 * --------------------------------------------------------------------------------------- */

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

/* -1 in the counts of breakers, or 0 again. */
static void mark_breakers(const sm_stage *c, int32_t mark) {
    const sm_sampling *o = &c->chain->options;
    for (uint64_t i = 0; i < o->n_dry_breakers; i++)
        c->left->s->counts[o->dry_breakers[i]] = mark;
}

void sm_dry(const sm_stage *c, const sm_sampling_step *step) {
    sm_sampler *s = c->left->s;
    const uint32_t n = window(c->draw, step->value[3]);
    if (n < 2)
        return;
    const int32_t *end = c->draw->ids + c->draw->length - 1;
    uint32_t most = 0; /* up to the last breaker */
    mark_breakers(c, -1);
    while (most < n && s->counts[end[-(ptrdiff_t)most]] >= 0)
        most++;
    match_lengths(s->matches, end, n, most);
    for (uint32_t i = 1; i < n; i++) { /* what came after the match that ends i tokens back */
        const int32_t id = end[1 - (ptrdiff_t)i];
        if (s->counts[id] >= 0 && s->matches[i] >= step->value[2] &&
            (int32_t)s->matches[i] > s->counts[id])
            s->counts[id] = (int32_t)s->matches[i];
    }
    mark_breakers(c, 0);
    change_counted(c->left, end - (n - 1), n, lessen, step);
}
