/* Which experts a token goes through, and how much each counts: the n_used of the highest score, of
 * equal ones the first by number. Scores are softmax (arXiv:2101.03961) or sigmoid
 * (arXiv:2412.19437 section 2.1.2) of the router's logits; a bias may take part in the choice
 * alone, and of groups of experts some can be ruled out (arXiv:2405.04434 section 2.2.2). */
#include "worker.h"

#include <math.h>
#include <string.h>

static float largest(const float *x, uint32_t n) {
    float most = x[0];
    for (uint32_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* Scores of all experts, before a division by their sum, which is returned (1: by none). */
static double score_all(const sm_experts_params *p, const float *logits, double *score) {
    const double most = (double)largest(logits, p->n_experts);
    double sum = 0;
    for (uint32_t e = 0; e < p->n_experts; e++) {
        score[e] = p->scoring == SM_SCORE_SIGMOID ? 1 / (1 + exp(-(double)logits[e]))
                                                  : exp((double)logits[e] - most);
        sum += score[e];
    }
    return p->scoring == SM_SCORE_SIGMOID ? 1 : sum;
}

/* Sum of the group_top greatest of n values. */
static double group_score(const sm_experts_params *p, const float *value, uint32_t n) {
    bool taken[SM_MAX_EXPERTS] = {false};
    double sum = 0;
    for (uint32_t j = 0; j < p->group_top && j < n; j++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++)
            if (!taken[i] && (best == n || value[i] > value[best]))
                best = i;
        taken[best] = true;
        sum += (double)value[best];
    }
    return sum;
}

/* Marks the experts of all groups but the n_groups_used best as taken. */
static void rule_out(const sm_experts_params *p, const float *value, bool *taken) {
    const uint32_t n = p->n_experts / p->n_groups;
    double score[SM_MAX_EXPERTS];
    for (uint32_t g = 0; g < p->n_groups; g++)
        score[g] = group_score(p, value + g * n, n);
    for (uint32_t g = 0; g < p->n_groups; g++) {
        uint32_t above = 0;
        for (uint32_t f = 0; f < p->n_groups; f++)
            above += score[f] > score[g] || (score[f] == score[g] && f < g);
        if (above >= p->n_groups_used)
            memset(taken + g * n, true, n);
    }
}

/* Of the experts not taken the n_used with the greatest values: in `chosen`, ascending. */
static void choose(const sm_experts_params *p, const float *value, bool *taken, uint32_t *chosen) {
    bool mine[SM_MAX_EXPERTS] = {false};
    for (uint32_t j = 0; j < p->n_used; j++) {
        uint32_t best = p->n_experts;
        for (uint32_t e = 0; e < p->n_experts; e++)
            if (!taken[e] && (best == p->n_experts || value[e] > value[best]))
                best = e;
        taken[best] = mine[best] = true;
    }
    for (uint32_t e = 0, j = 0; e < p->n_experts; e++)
        if (mine[e])
            chosen[j++] = e;
}

/* What order the experts' scores are in, logits are. */
static bool plain(const sm_experts_params *p, const float *bias) {
    return !bias && p->n_groups <= 1;
}

/* The chosen ones' softmax or, of `score`, shares. */
static void weigh(const sm_experts_params *p, const float *logits, const double *score, double all,
                  const uint32_t *chosen, float *weight) {
    double sum = 0, most = -INFINITY;
    for (uint32_t j = 0; j < p->n_used; j++)
        most = (double)logits[chosen[j]] > most ? (double)logits[chosen[j]] : most;
    for (uint32_t j = 0; j < p->n_used; j++) {
        const double s = score ? score[chosen[j]] / all : exp((double)logits[chosen[j]] - most);
        weight[j] = (float)s;
        sum += s;
    }
    sum = !p->renormalise ? 1 : p->scoring == SM_SCORE_SIGMOID ? sum + 1e-20 : sum;
    for (uint32_t j = 0; j < p->n_used; j++)
        weight[j] = (float)((double)weight[j] / sum * (double)p->scale);
}

/* With what is chosen first taken away from the next. */
static void weigh_mixed(const sm_experts_params *p, const float *logits, const uint32_t *chosen,
                        float *weight) {
    bool mine[SM_MAX_EXPERTS] = {false};
    for (uint32_t j = 0; j < p->n_used; j++)
        mine[chosen[j]] = true;
    for (uint32_t j = 0; j < p->n_used; j++) {
        double sum = 0;
        for (uint32_t e = 0; e < p->n_experts; e++)
            if (sm_mixer_counts(logits, chosen[j], e, mine[e]))
                sum += exp((double)logits[e] - (double)logits[chosen[j]]);
        weight[j] = (float)((double)p->scale / sum);
    }
}

void sm_route(const sm_experts_params *p, const float *logits, const float *bias, uint32_t *chosen,
              float *weight) {
    const bool softmax = p->scoring == SM_SCORE_SOFTMAX;
    const bool chosen_only = softmax && p->renormalise; /* other scores do not count */
    bool taken[SM_MAX_EXPERTS] = {false};
    double score[SM_MAX_EXPERTS], all = 1, bad = 0;
    float value[SM_MAX_EXPERTS];
    for (uint32_t e = 0; e < p->n_experts; e++)
        bad += (double)(logits[e] - logits[e]); /* NaN: no comparison would find it */
    if (!chosen_only || !plain(p, bias))
        all = score_all(p, logits, score);
    for (uint32_t e = 0; e < p->n_experts && !plain(p, bias); e++)
        value[e] = (float)(score[e] / all) + (bias ? bias[e] : 0);
    if (p->n_groups > 1)
        rule_out(p, value, taken);
    choose(p, plain(p, bias) ? logits : value, taken, chosen);
    if (p->scoring == SM_SCORE_MIXER)
        weigh_mixed(p, logits, chosen, weight);
    else
        weigh(p, logits, chosen_only ? NULL : score, all, chosen, weight);
    for (uint32_t j = 0; j < p->n_used && bad != 0; j++)
        weight[j] = NAN;
}
