/* Samplers that drop tokens, and those that change how sure the draw is. */
#include "survivors.h"

#include <math.h>

/* A logit at which a token has this share of the likeliest one's probability. */
static float floor_at(const sm_survivors *l, double share) {
    return (float)((double)sv_top(l) + l->temperature * log(share));
}

/* Cuts at a logit, but not so far that fewer than min_keep would stay. */
static void cut_keeping(sm_survivors *l, float least, uint32_t min_keep) {
    if (min_keep > 1) {
        sv_sort(l);
        if (min_keep >= l->n)
            return;
        least = least < l->x[min_keep - 1] ? least : l->x[min_keep - 1];
        uint32_t n = l->n;
        while (n > min_keep && l->x[n - 1] < least)
            n--;
        sv_shorten(l, n);
    } else {
        sv_cut(l, least);
    }
}

void sm_top_k(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    if (step->value[0] < l->n) {
        sv_keep_best(l, step->value[0] < 1 ? 1 : (uint32_t)step->value[0]);
        l->ranked = true;
    }
}

void sm_min_p(const sm_stage *c, const sm_sampling_step *step) {
    cut_keeping(c->left, floor_at(c->left, step->value[0]), step->min_keep);
}

/* p_i >= a * p_max^2 where p_i / p_max >= a * p_max. */
void sm_top_a(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    sv_cut(l, floor_at(l, step->value[0] / sv_mass(l, sv_top(l))));
}

void sm_top_n_sigma(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    double sum[4] = {0}, square[4] = {0};
    sv_drop_holes(l);
    for (uint32_t i = 0; i < l->n; i++) /* four sums: none waits for the one before */
        sum[i % 4] += (double)l->x[i];
    const double mean = (sum[0] + sum[1] + (sum[2] + sum[3])) / l->n;
    for (uint32_t i = 0; i < l->n; i++) {
        const double off = (double)l->x[i] - mean;
        square[i % 4] += off * off;
    }
    const double sigma = sqrt((square[0] + square[1] + (square[2] + square[3])) / l->n);
    sv_cut(l, (float)((double)sv_top(l) - step->value[0] * sigma));
}

/* ---- top-p ----------------------------------------------------------------------------------- */

/* How many of the first n of a sorted list reach `target`; n + 1 if they do not. */
static uint32_t count_reaching(const sm_survivors *l, uint32_t n, float top, double target) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += sv_weight(l, i, top);
        if (sum >= target)
            return i + 1;
    }
    return n + 1;
}

/* The same of pairs. */
static uint32_t pairs_reaching(const sm_survivors *l, uint32_t n, float top, double target) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp(((double)sv_pair_logit(l->s->pair[0][i]) - (double)top) / l->temperature);
        if (sum >= target)
            return i + 1;
    }
    return n + 1;
}

#define FEW_BEST 256 /* are tried first */

/* A logit below which no token is among those that reach target: however many are below it, they
 * weigh half of what is left behind target at most. Not where rounding may be as much. */
static float below_reach(const sm_survivors *l, float top, double target, double mass) {
    const double rest = mass - target;
    return rest < 1e-5 * mass
               ? -INFINITY
               : (float)((double)top + l->temperature * log(rest / 2 / (double)l->n)) - 1e-3f;
}

/* Drops what cannot be among those that reach target, if that seems to be half or more: copying
 * nearly all costs more than it saves. */
static void cut_below_reach(sm_survivors *l, float top, double target, double mass) {
    const float least = below_reach(l, top, target, mass);
    uint32_t above = 0;
    for (uint32_t i = 0; i < l->n; i += 64)
        above += l->x[i] >= least;
    if (above <= l->n / 128)
        sv_cut(l, least);
}

/* Few tokens hold most of the mass: the best of many are tried first, then the many are gone
 * through in bins. False: all have to be sorted. */
static bool top_p_of_many(sm_survivors *l, float top, double target, double mass,
                          uint32_t min_keep) {
    /* no weight is above 1: so few cannot reach more than their number */
    const uint32_t n = target > FEW_BEST ? 0 : sv_best(l, FEW_BEST);
    const uint32_t reach = pairs_reaching(l, n, top, target);
    const uint32_t keep = reach > min_keep ? reach : min_keep;
    if (reach <= n && keep <= n) {
        sv_take_pairs(l, keep);
        return true;
    }
    sm_ranked last;
    if (min_keep <= 1)
        cut_below_reach(l, top, target, mass);
    if (min_keep > 1 || !sv_reach(l, top, target, mass, &last))
        return false;
    sv_cut_behind(l, last);
    return true;
}

void sm_top_p(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    const float top = sv_top(l);
    l->ranked = true;
    if (!l->sorted && l->n <= SM_FEW && l->temperature != 1)
        sv_sort(l);
    const double mass = !l->sorted && l->temperature == 1 ? l->s->kernels->sum_exp(l->x, l->n, top)
                                                          : sv_mass(l, top);
    const double target = step->value[0] * mass;
    if (!l->sorted && l->n > SM_FEW && top_p_of_many(l, top, target, mass, step->min_keep))
        return;
    sv_sort(l);
    const uint32_t reach = count_reaching(l, l->n, top, target);
    sv_shorten(l, reach > step->min_keep ? reach : step->min_keep);
}

/* ---- typical --------------------------------------------------------------------------------- */

/* Keeps of pair[0][n], sorted by distance, the first ones with that mass; the rest goes. Marks are
 * made in counts, which are zero again at the end. */
static void keep_first(sm_survivors *l, uint32_t n, float top, double target, uint32_t min_keep) {
    sm_sampler *s = l->s;
    double sum = 0;
    uint32_t keep = 0;
    while (keep < n && (keep == 0 || keep < min_keep || sum < target)) {
        const uint32_t i = (uint32_t)sv_pair_id(s->pair[0][keep++]);
        sum += sv_weight(l, i, top);
        s->counts[sv_id(l, i)] = 1;
    }
    float *x = sv_own(l);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        const int32_t id = sv_id(l, i);
        if (!s->counts[id])
            continue;
        s->counts[id] = 0;
        x[kept] = x[i];
        s->id[kept++] = id;
    }
    l->id = s->id;
    l->n = kept;
}

/* By |-ln p - H|, the places of l in pair[0]. */
void sm_typical(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    double mass;
    sv_drop_holes(l);
    const float top = sv_top(l);
    const double entropy = sv_entropy(l, &mass), log_mass = log(mass);
    for (uint32_t i = 0; i < l->n; i++) {
        const double information = log_mass - ((double)l->x[i] - (double)top) / l->temperature;
        sv_set_pair(l, i, (float)-fabs(information - entropy));
    }
    sv_sort_pairs(l, l->n);
    keep_first(l, l->n, top, step->value[0] * mass, step->min_keep);
}

/* ---- XTC ------------------------------------------------------------------------------------- */

/* Of the tokens that reach a logit: how many, and the last of them. */
static uint32_t count_above(const sm_survivors *l, float least, uint32_t *last) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->x[i] < least)
            continue;
        if (n++ == 0 || l->x[i] <= l->x[*last])
            *last = i;
    }
    return n;
}

void sm_xtc(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    const sm_sampling *o = &c->chain->options;
    const double threshold = step->value[1];
    if (threshold > 0.5 || sm_uniform(o->seed, o->sequence, c->draw->length + c->draw->gone,
                                      SM_DRAW_XTC) >= step->value[0])
        return;
    sv_drop_holes(l);
    const double share = threshold * sv_mass(l, sv_top(l));
    uint32_t last = 0;
    const float least = share > 1e-300 ? floor_at(l, share) : -INFINITY;
    const uint32_t n = count_above(l, least, &last);
    if (n < 2 || l->n - (n - 1) < step->min_keep)
        return;
    float *x = sv_own(l);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        const int32_t id = sv_id(l, i);
        if (x[i] >= least && i != last)
            continue;
        x[kept] = x[i];
        l->s->id[kept++] = id;
    }
    l->id = l->s->id;
    l->n = kept;
}

/* ---- temperature ----------------------------------------------------------------------------- */

void sm_temperature(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    double t = step->value[0];
    const double range = step->value[1];
    if (range > 0) {
        sv_drop_holes(l);
        if (l->n < 2)
            return;
        const double low = t > range ? t - range : 0;
        t = low + (t + range - low) * pow(sv_entropy(l, NULL) / log(l->n), step->value[2]);
    }
    if (t > 0)
        l->temperature *= t;
    else
        sv_keep_best(l, 1);
}

/* ---- Mirostat -------------------------------------------------------------------------------- */

/* Version 1: the exponent of Zipf's law, from the m likeliest, says how many tokens have that
 * surprise. */
static double mirostat_k(const sm_survivors *l, uint32_t m, double mu) {
    const uint32_t n = sv_best(l, m);
    double products = 0, squares = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        const double t = log((double)(i + 2) / (double)(i + 1));
        const double b = ((double)sv_pair_logit(l->s->pair[0][i]) -
                          (double)sv_pair_logit(l->s->pair[0][i + 1])) /
                         l->temperature;
        products += t * b;
        squares += t * t;
    }
    if (n < 2)
        return 1;
    const double s = products / squares, e = s - 1;
    const double share = fabs(e) > 1e-9 ? e / (1 - pow(l->s->n_vocab, -e)) : 1 / log(l->s->n_vocab);
    return pow(share * exp2(mu), 1 / s);
}

void sm_mirostat(const sm_stage *c, const sm_sampling_step *step) {
    sm_survivors *l = c->left;
    const double mu = isnan(c->mu) ? 2 * step->value[1] : c->mu;
    l->ranked = true;
    if (step->value[0] == 1) {
        const double k = mirostat_k(l, (uint32_t)step->value[3], mu);
        sv_keep_best(l, k >= 1 ? (k < l->n ? (uint32_t)k : l->n) : 1);
        return;
    }
    const float top = sv_top(l);
    const double least = (double)top + l->temperature * (log(sv_mass(l, top)) - mu * log(2));
    sv_cut(l, least < (double)top ? (float)least : top);
}

double sm_left_mu(const sm_left *left, const sm_chain *chain, int32_t id, double mu) {
    const sm_sampling_step *step = sm_chain_mirostat(chain);
    double mass = 0, weight = 0;
    for (uint32_t i = 0; i < left->n; i++) {
        const double w = exp(((double)left->logits[i] - (double)left->top) / left->temperature);
        mass += w;
        if ((left->ids ? left->ids[i] : (int32_t)i) == id)
            weight = w;
    }
    mu = isnan(mu) ? 2 * step->value[1] : mu;
    return weight > 0 ? mu - step->value[2] * (log2(mass / weight) - step->value[1]) : mu;
}
