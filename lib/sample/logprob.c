/* Log-probabilities under the model's own distribution. */
#include "survivors.h"

#include <math.h>

/* ln of the sum of exp(logit - top). */
static double log_mass(const sm_sampler *s, const float *logits, float top) {
    return log(s->kernels->sum_exp(logits, s->n_vocab, top));
}

double sm_logprob(const sm_sampler *s, const float *logits, int32_t id) {
    const float top = logits[s->kernels->argmax(logits, s->n_vocab)];
    return (double)logits[id] - (double)top - log_mass(s, logits, top);
}

uint32_t sm_top_logprobs(sm_sampler *s, const float *logits, sm_token_logprob *top, uint32_t n) {
    const sm_survivors all = {.s = s, .x = logits, .n = s->n_vocab, .temperature = 1};
    n = n ? sv_best(&all, n) : 0;
    const float largest = n ? sv_pair_logit(s->pair[0][0]) : 0;
    const double mass = n ? log_mass(s, logits, largest) : 0;
    for (uint32_t i = 0; i < n; i++)
        top[i] = (sm_token_logprob){.id = sv_pair_id(s->pair[0][i]),
                                    .logprob = (double)sv_pair_logit(s->pair[0][i]) -
                                               (double)largest - mass};
    return n;
}

uint32_t sm_rank(const sm_sampler *s, const float *logits, int32_t id) {
    const float own = logits[id];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        rank += logits[i] > own || (logits[i] == own && i < (uint32_t)id);
    return rank;
}
