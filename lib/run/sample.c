/* Choosing the next token. Everything here depends on the logits, the options
 * and the token history only; ties go to the lower id. */
#include "run.h"

#include <math.h>
#include <string.h>

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

sm_status sm_sampling_take(sm_sampling *to, const sm_sampling *from, uint32_t n_vocab,
                           sm_error *error) {
    sm_status status = sm_options_take(to, sizeof *to, from, SM_OPTIONS_SAMPLING, error);
    if (status)
        return status;
    if (to->n_bias && !to->bias)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_bias is %llu but bias is NULL",
                       (unsigned long long)to->n_bias);
    for (uint64_t i = 0; i < to->n_bias; i++) {
        if (to->bias[i].token < 0 || (uint32_t)to->bias[i].token >= n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "option bias: token %d is not in 0..%u",
                           to->bias[i].token, n_vocab - 1);
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

static bool before(const sm_candidate *a, const sm_candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* Restores the heap (worst candidate on top) below i. */
static void sift(sm_candidate *heap, uint32_t n, uint32_t i) {
    for (;;) {
        uint32_t worst = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (before(&heap[worst], &heap[child]))
                worst = child;
        if (worst == i)
            return;
        const sm_candidate swap = heap[i];
        heap[i] = heap[worst];
        heap[worst] = swap;
        i = worst;
    }
}

/* The k best of logits at or above `floor`, best first; returns how many. */
static uint32_t best(sm_candidate *heap, uint32_t k, const float *logits, uint32_t n_vocab,
                     float floor) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < n_vocab; id++) {
        const sm_candidate c = {logits[id], (int32_t)id};
        if (!(c.logit >= floor))
            continue;
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
        const sm_candidate swap = heap[0];
        heap[0] = heap[end - 1];
        heap[end - 1] = swap;
        sift(heap, end - 1, 0);
    }
    return n;
}

/* Candidates whose probability may matter: with min-p those above its threshold. */
static float floor_of(const sm_sampling *o, float top) {
    return o->min_p > 0 ? (float)((double)top + log(o->min_p)) : -INFINITY;
}

static int32_t draw_sorted(const sm_sampler *s, const sm_kernels *kernels, const sm_sampling *o,
                           uint32_t n_vocab, float top, double u) {
    const uint32_t k = o->top_k && o->top_k < n_vocab ? o->top_k : n_vocab;
    uint32_t n = best(s->candidates, k, s->logits, n_vocab, floor_of(o, top));
    const sm_candidate *c = s->candidates;
    if (o->top_p < 1) {
        /* the mass that top-k left, or all of it: what min-p drops still counts */
        double mass = 0, sum = 0;
        if (k < n_vocab)
            for (uint32_t i = 0; i < n; i++)
                mass += exp((double)c[i].logit - (double)top);
        else
            mass = kernels->sum_exp(s->logits, n_vocab, top);
        uint32_t keep = 0;
        while (keep < n && sum < o->top_p * mass)
            sum += exp((double)c[keep++].logit - (double)top);
        n = keep ? keep : 1;
    }
    double total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += exp(((double)c[i].logit - (double)top) / o->temperature);
    double left = u * total;
    for (uint32_t i = 0; i < n; i++) {
        left -= exp(((double)c[i].logit - (double)top) / o->temperature);
        if (left < 0)
            return c[i].id;
    }
    return c[0].id; /* rounding ate the last bit */
}

static int32_t draw_all(const float *logits, uint32_t n_vocab, float top, double temperature,
                        int32_t fallback, double u) {
    double total = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        total += exp(((double)logits[i] - (double)top) / temperature);
    double left = u * total;
    for (uint32_t i = 0; i < n_vocab; i++) {
        left -= exp(((double)logits[i] - (double)top) / temperature);
        if (left < 0)
            return (int32_t)i;
    }
    return fallback;
}

int32_t sm_sample(const sm_sampler *s, const sm_kernels *kernels, const sm_sampling *o,
                  const float *logits, uint32_t n_vocab, const int32_t *ids, uint32_t length) {
    const bool penalties =
        o->repeat_penalty != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0;
    if (o->temperature == 0 && !penalties && !o->n_bias)
        return (int32_t)kernels->argmax(logits, n_vocab);
    memcpy(s->logits, logits, n_vocab * sizeof *logits);
    for (uint64_t i = 0; i < o->n_bias; i++)
        s->logits[o->bias[i].token] =
            (float)((double)s->logits[o->bias[i].token] + o->bias[i].bias);
    if (penalties)
        penalize(s, o, ids, length);
    const int32_t likeliest = (int32_t)kernels->argmax(s->logits, n_vocab);
    const float top = s->logits[likeliest];
    if (o->temperature == 0 || !isfinite(top))
        return likeliest;
    const double u = sm_uniform(o->seed, o->sequence, length);
    if (o->top_k || o->top_p < 1 || o->min_p > 0)
        return draw_sorted(s, kernels, o, n_vocab, top, u);
    return draw_all(s->logits, n_vocab, top, o->temperature, likeliest, u);
}

double sm_logprob(const sm_kernels *kernels, const float *logits, uint32_t n_vocab, int32_t id) {
    const float top = logits[kernels->argmax(logits, n_vocab)];
    return (double)logits[id] - (double)top - log(kernels->sum_exp(logits, n_vocab, top));
}
