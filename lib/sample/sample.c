/* Choosing the next token. Everything here depends on the logits, the options
 * and the token history only; ties go to the lower id. */
#include "sample.h"

#include <math.h>
#include <string.h>

/* ---- buffers ------------------------------------------------------------------------------- */

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct sm_sampler {
    sm_mem *mem;
    const sm_kernels *kernels;
    uint32_t n_vocab;
    /* all [n_vocab] */
    float *logits;
    candidate *candidates;
    int32_t *counts; /* all zero between calls */
};

sm_status sm_sampler_new(sm_sampler **out, sm_mem *mem, const sm_kernels *kernels, uint32_t n_vocab,
                         sm_error *error) {
    sm_sampler *s = *out = sm_alloc_zero(mem, sizeof *s);
    if (s) {
        s->mem = mem;
        s->kernels = kernels;
        s->n_vocab = n_vocab;
        s->logits = sm_alloc_array(mem, n_vocab, sizeof *s->logits);
        s->candidates = sm_alloc_array(mem, n_vocab, sizeof *s->candidates);
        s->counts = sm_alloc_zero(mem, n_vocab * sizeof *s->counts);
    }
    if (s && s->logits && s->candidates && s->counts)
        return SM_OK;
    sm_sampler_free(s);
    *out = NULL;
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for choosing among %u tokens", n_vocab);
}

void sm_sampler_free(sm_sampler *s) {
    if (!s)
        return;
    sm_free(s->mem, s->logits);
    sm_free(s->mem, s->candidates);
    sm_free(s->mem, s->counts);
    sm_free(s->mem, s);
}

/* ---- random numbers ---------------------------------------------------------------- */

/* Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. A keyed bijection of a 128-bit counter; no state. */
static void philox(uint32_t counter[4], uint32_t key[2]) {
    for (int round = 0; round < 10; round++) {
        const uint64_t a = 0xD2511F53ull * counter[0], b = 0xCD9E8D57ull * counter[2];
        const uint32_t next[4] = {(uint32_t)(b >> 32) ^ counter[1] ^ key[0], (uint32_t)b,
                                  (uint32_t)(a >> 32) ^ counter[3] ^ key[1], (uint32_t)a};
        memcpy(counter, next, sizeof next);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

double sm_uniform(uint64_t seed, uint64_t sequence, uint64_t position) {
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), (uint32_t)sequence,
                           (uint32_t)(sequence >> 32)};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    philox(counter, key);
    const uint64_t bits = ((uint64_t)counter[0] << 32 | counter[1]) >> 11;
    return (double)bits * 0x1p-53;
}

/* ---- options ---------------------------------------------------------------------------- */

sm_status sm_chain_take(sm_chain *chain, const sm_sampling *from, uint32_t n_vocab,
                        sm_error *error) {
    sm_sampling *to = &chain->options;
    sm_status status = sm_options_take(to, sizeof *to, from, SM_OPTIONS_SAMPLING, error);
    if (status)
        return status;
    if (to->reserved)
        return sm_fail(error, SM_ERR_ARGUMENT, "option reserved is set");
    if (to->n_bias && !to->bias)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_bias is %llu but bias is NULL",
                       (unsigned long long)to->n_bias);
    for (uint64_t i = 0; i < to->n_bias; i++) {
        if (to->bias[i].token < 0 || (uint32_t)to->bias[i].token >= n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "option bias: token %d is not in 0..%u",
                           to->bias[i].token, n_vocab - 1);
        if (to->bias[i].reserved)
            return sm_fail(error, SM_ERR_ARGUMENT, "option bias: reserved is set");
        if (isnan(to->bias[i].bias) || (isinf(to->bias[i].bias) && to->bias[i].bias > 0))
            return sm_fail(error, SM_ERR_ARGUMENT, "option bias: the bias of token %d is no number",
                           to->bias[i].token);
    }
    return SM_OK;
}

/* ---- changing logits ----------------------------------------------------------------------- */

static void penalize(const sm_sampler *s, const sm_sampling *o, const int32_t *ids,
                     uint32_t length) {
    const uint32_t n = o->penalty_last_n < length ? o->penalty_last_n : length;
    ids += length - n;
    for (uint32_t i = 0; i < n; i++)
        s->counts[ids[i]]++;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t count = s->counts[ids[i]];
        if (!count)
            continue; /* seen before in this window */
        s->counts[ids[i]] = 0;
        double logit = (double)s->logits[ids[i]];
        logit = logit > 0 ? logit / o->repeat_penalty : logit * o->repeat_penalty;
        logit -= o->presence_penalty + count * o->frequency_penalty;
        s->logits[ids[i]] = (float)logit;
    }
}

/* ---- selection ------------------------------------------------------------------------------- */

static bool before(const candidate *a, const candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* Restores the heap (worst candidate on top) below i. */
static void sift(candidate *heap, uint32_t n, uint32_t i) {
    for (;;) {
        uint32_t worst = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (before(&heap[worst], &heap[child]))
                worst = child;
        if (worst == i)
            return;
        const candidate swap = heap[i];
        heap[i] = heap[worst];
        heap[worst] = swap;
        i = worst;
    }
}

/* The k best of logits, best first; returns how many (n_vocab may be less). */
static uint32_t best(candidate *heap, uint32_t k, const float *logits, uint32_t n_vocab) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < n_vocab; id++) {
        const candidate c = {logits[id], (int32_t)id};
        if (n < k) {
            heap[n++] = c;
            if (n == k)
                for (uint32_t i = k / 2; i-- > 0;)
                    sift(heap, k, i);
        } else if (before(&c, &heap[0])) {
            heap[0] = c;
            sift(heap, k, 0);
        }
    }
    if (n < k)
        for (uint32_t i = n / 2; i-- > 0;)
            sift(heap, n, i);
    for (uint32_t end = n; end > 1; end--) { /* heap sort: the worst goes last */
        const candidate swap = heap[0];
        heap[0] = heap[end - 1];
        heap[end - 1] = swap;
        sift(heap, end - 1, 0);
    }
    return n;
}

static double weight(float logit, float top, double temperature) {
    return exp(((double)logit - (double)top) / temperature);
}

/* How many of the n best candidates make up top_p of `mass`; n + 1 if they do not. */
static uint32_t count_top_p(const candidate *c, uint32_t n, float top, double top_p, double mass) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += weight(c[i].logit, top, 1);
        if (sum >= top_p * mass)
            return i + 1;
    }
    return n + 1;
}

/* Fills the candidates, best first, that top-k and top-p leave; returns how many. */
static uint32_t choose(const sm_sampler *s, const sm_sampling *o, float top) {
    candidate *c = s->candidates;
    const uint32_t n_vocab = s->n_vocab;
    if (o->top_k && o->top_k < n_vocab) {
        const uint32_t n = best(c, o->top_k, s->logits, n_vocab);
        double mass = 0; /* top-p is a share of what top-k left */
        for (uint32_t i = 0; i < n; i++)
            mass += weight(c[i].logit, top, 1);
        const uint32_t keep = o->top_p < 1 ? count_top_p(c, n, top, o->top_p, mass) : n;
        return keep < n ? keep : n;
    }
    /* few tokens hold most of the mass: sort no more of them than needed */
    const double mass = s->kernels->sum_exp(s->logits, n_vocab, top);
    for (uint32_t k = 256;; k = k < n_vocab / 8 ? k * 8 : n_vocab) {
        const uint32_t n = best(c, k < n_vocab ? k : n_vocab, s->logits, n_vocab);
        const uint32_t keep = count_top_p(c, n, top, o->top_p, mass);
        if (keep <= n || n == n_vocab)
            return keep < n ? keep : n;
    }
}

/* A draw from the candidates at or above floor. */
static int32_t draw_sorted(const candidate *c, uint32_t n, float top, float floor,
                           double temperature, double u) {
    while (n > 1 && c[n - 1].logit < floor)
        n--;
    double left = 0;
    for (uint32_t i = 0; i < n; i++)
        left += weight(c[i].logit, top, temperature);
    left *= u;
    for (uint32_t i = 0; i < n; i++) {
        left -= weight(c[i].logit, top, temperature);
        if (left < 0)
            return c[i].id;
    }
    return c[0].id; /* rounding ate the last bit */
}

/* A draw from all logits at or above floor, in the order of ids. */
static int32_t draw_all(const float *logits, uint32_t n_vocab, float top, float floor,
                        double temperature, int32_t fallback, double u) {
    double left = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (logits[i] >= floor)
            left += weight(logits[i], top, temperature);
    left *= u;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (logits[i] >= floor)
            left -= weight(logits[i], top, temperature);
        if (left < 0)
            return (int32_t)i;
    }
    return fallback;
}

/* What may not be chosen. */
static void forbid(const sm_sampler *s, const sm_draw *d) {
    for (uint32_t i = 0; d->mask && i < s->n_vocab; i++)
        if (!(d->mask[i / 32] >> (i % 32) & 1))
            s->logits[i] = -INFINITY;
    for (uint64_t i = 0; i < d->n_banned; i++)
        s->logits[d->banned[i]] = -INFINITY;
}

/* The id, or -1 if none can be chosen: the best logit is not finite. */
static int32_t sample(const sm_sampler *s, const sm_sampling *o, const sm_draw *d) {
    const uint32_t n_vocab = s->n_vocab;
    const bool penalties =
        o->repeat_penalty != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0;
    if (o->temperature == 0 && !penalties && !o->n_bias && !d->mask && !d->n_banned) {
        const size_t id = s->kernels->argmax(d->logits, n_vocab);
        return isfinite(d->logits[id]) ? (int32_t)id : -1;
    }
    memcpy(s->logits, d->logits, n_vocab * sizeof *s->logits);
    for (uint64_t i = 0; i < o->n_bias; i++)
        s->logits[o->bias[i].token] =
            (float)((double)s->logits[o->bias[i].token] + o->bias[i].bias);
    if (penalties)
        penalize(s, o, d->ids, d->length);
    forbid(s, d);
    const int32_t likeliest = (int32_t)s->kernels->argmax(s->logits, n_vocab);
    const float top = s->logits[likeliest];
    if (!isfinite(top))
        return -1;
    if (o->temperature == 0)
        return likeliest;
    const double u = sm_uniform(o->seed, o->sequence, d->length);
    const float floor = o->min_p > 0 ? (float)((double)top + log(o->min_p)) : -INFINITY;
    if (!o->top_k && o->top_p >= 1)
        return draw_all(s->logits, n_vocab, top, floor, o->temperature, likeliest, u);
    const uint32_t n = choose(s, o, top);
    return draw_sorted(s->candidates, n, top, floor, o->temperature, u);
}

/* Whether something else than biases is what leaves no token. */
static bool is_limited(const sm_draw *d) {
    return d->mask || d->n_banned;
}

sm_status sm_sample(int32_t *id, sm_sampler *s, const sm_chain *chain, const sm_draw *d,
                    sm_error *error) {
    *id = -1;
    if (sm_first_not_finite(d->logits, s->n_vocab) < s->n_vocab)
        return sm_fail(error, SM_ERR_FORMAT, "the logits after token %u are not finite", d->length);
    *id = sample(s, &chain->options, d);
    return *id >= 0 ? SM_OK
                    : sm_fail(error, SM_ERR_ARGUMENT, "%s leaves no token to choose",
                              is_limited(d) ? "what may be chosen" : "option bias");
}

double sm_logprob(const sm_sampler *s, const float *logits, int32_t id) {
    const float top = logits[s->kernels->argmax(logits, s->n_vocab)];
    return (double)logits[id] - (double)top - log(s->kernels->sum_exp(logits, s->n_vocab, top));
}
