/* Backward of routing. Of a token's chosen experts, with scores s of its logits (sigmoid, or
 * softmax of all), weights p and their gradients dp, of k = scale, and M = sum over f of p_f dp_f:
 *
 *   c_e = p_e dp_e, where weights were renormalised p_e (dp_e - M / k); 0 of experts not chosen
 *   softmax, renormalised: dlogit_e = c_e
 *   softmax:               dlogit_e = c_e - s_e M
 *   sigmoid:               dlogit_e = c_e (1 - s_e)
 *   mixer:                 of each f chosen, dlogit_f += c_f, dlogit_e -= c_f s_e, the scores of
 *                          those that count in f's
 *
 * The bias that takes part in the choice alone has no gradient.
 *
 * Balancing: of T tokens and c_e that use expert e, K for each token, N experts, the loss of a
 * layer is
 *
 *   N / (K T) sum over e of c_e P_e,  P_e = mean over tokens of s_e / (sum of s)
 *
 * (arXiv:2101.03961, equations 4 to 6, with more than one expert for a token as in
 * arXiv:2412.19437, equations 17 to 20, over a batch). c has no gradient. */
#include "train/graph.h"

#include <math.h>

/* Scores of all experts. */
static void score_all(const sm_experts_params *p, const float *logits, double *score) {
    double most = -INFINITY, sum = 0;
    for (uint32_t e = 0; e < p->n_experts; e++)
        most = (double)logits[e] > most ? (double)logits[e] : most;
    for (uint32_t e = 0; e < p->n_experts; e++) {
        score[e] = p->scoring == SM_SCORE_SIGMOID ? 1 / (1 + exp(-(double)logits[e]))
                                                  : exp((double)logits[e] - most);
        sum += score[e];
    }
    for (uint32_t e = 0; e < p->n_experts && p->scoring != SM_SCORE_SIGMOID; e++)
        score[e] /= sum;
}

static void grad_mixed(const sm_experts_params *p, const float *logits, const uint32_t *chosen,
                       const float *weight, const float *dp, float *dlogits) {
    bool mine[SM_MAX_EXPERTS] = {false};
    for (uint32_t j = 0; j < p->n_used; j++)
        mine[chosen[j]] = true;
    for (uint32_t e = 0; e < p->n_experts; e++) {
        double sum = 0;
        for (uint32_t j = 0; j < p->n_used; j++) {
            const uint32_t f = chosen[j];
            const double c = (double)weight[j] * (double)dp[j];
            if (sm_mixer_counts(logits, f, e, mine[e]))
                sum += c * ((e == f ? 1 : 0) - exp((double)logits[e] - (double)logits[f]) *
                                                   (double)weight[j] / (double)p->scale);
        }
        dlogits[e] = (float)sum;
    }
}

void sm_grad_route(const sm_experts_params *p, const float *logits, const uint32_t *chosen,
                   const float *weight, const float *dp, float *dlogits) {
    const bool sigmoid = p->scoring == SM_SCORE_SIGMOID;
    double score[SM_MAX_EXPERTS], mean = 0;
    if (p->scoring == SM_SCORE_MIXER) {
        grad_mixed(p, logits, chosen, weight, dp, dlogits);
        return;
    }
    if (sigmoid || !p->renormalise)
        score_all(p, logits, score);
    for (uint32_t j = 0; j < p->n_used; j++)
        mean += (double)weight[j] * (double)dp[j];
    for (uint32_t e = 0; e < p->n_experts; e++)
        dlogits[e] = sigmoid || p->renormalise ? 0 : (float)(-score[e] * mean);
    for (uint32_t j = 0; j < p->n_used; j++) {
        const uint32_t e = chosen[j];
        const double from = p->renormalise ? mean / (double)p->scale : 0;
        const double c = (double)weight[j] * ((double)dp[j] - from);
        dlogits[e] += (float)(sigmoid ? c * (1 - score[e]) : c);
    }
}

double sm_grad_balance(const sm_experts_params *p, const float *logits, const uint32_t *bound,
                       double weight, float *dlogits) {
    const double n_rows = (double)bound[p->n_experts], T = n_rows / p->n_used;
    double score[SM_MAX_EXPERTS], sum = 0, part = 0;
    score_all(p, logits, score);
    for (uint32_t e = 0; e < p->n_experts; e++)
        sum += score[e];
    for (uint32_t e = 0; e < p->n_experts; e++)
        part += p->n_experts / n_rows * (bound[e + 1] - bound[e]) / T * score[e] / sum;
    for (uint32_t e = 0; e < p->n_experts; e++) {
        const double share = p->n_experts / n_rows * (bound[e + 1] - bound[e]) / T;
        const double slope =
            p->scoring == SM_SCORE_SIGMOID ? score[e] * (1 - score[e]) / sum : score[e];
        dlogits[e] += (float)(weight * slope * (share - part));
    }
    return part;
}
