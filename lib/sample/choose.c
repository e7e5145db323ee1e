/* A choice: what may be chosen, the chain, the draw. */
#include "survivors.h"

#include <math.h>
#include <string.h>

/* ---- before the chain ----------------------------------------------------------------------- */

static void add_biases(sm_survivors *l, const sm_sampling *o) {
    float *x = sv_own(l);
    for (uint64_t i = 0; i < o->n_bias; i++) {
        const int32_t id = o->bias[i].token;
        x[id] = sm_to_logit((double)x[id] + o->bias[i].bias);
        l->holes |= x[id] == -INFINITY;
    }
}

/* All tokens but those that may not be chosen. */
static sm_survivors all(sm_sampler *s, const sm_sampling *o, const sm_draw *d) {
    sm_survivors l = {.s = s, .x = d->logits, .n = s->n_vocab, .temperature = 1};
    if (d->mask) {
        s->kernels->mask(s->x, d->logits, d->mask, s->n_vocab);
        l.x = s->x;
    }
    l.holes = d->mask || d->n_banned;
    if (d->n_banned)
        sv_own(&l);
    for (uint64_t i = 0; i < d->n_banned; i++)
        s->x[d->banned[i]] = -INFINITY;
    if (o->n_bias)
        add_biases(&l, o);
    return l;
}

/* ---- the chain ------------------------------------------------------------------------------- */

/* A sampler that keeps the likeliest token and needs not be run where that is what will be
 * taken. */
static bool keeps_the_likeliest(uint32_t sampler) {
    return sampler == SM_SAMPLER_TOP_N_SIGMA || sampler == SM_SAMPLER_TOP_K ||
           sampler == SM_SAMPLER_TOP_P || sampler == SM_SAMPLER_MIN_P ||
           sampler == SM_SAMPLER_TOP_A;
}

/* The step from which on all that counts is the likeliest token; n_steps if there is none. */
static uint32_t greedy_from(const sm_chain *chain) {
    uint32_t i = chain->n_steps;
    while (i-- > 0)
        if (chain->steps[i].sampler == SM_SAMPLER_TEMPERATURE && chain->steps[i].value[0] == 0 &&
            chain->steps[i].value[1] == 0)
            break;
    if (i == UINT32_MAX)
        return chain->n_steps;
    while (i > 0 && keeps_the_likeliest(chain->steps[i - 1].sampler))
        i--;
    return i;
}

/* What the chain leaves in s->left. */
static sm_status run(sm_sampler *s, const sm_chain *chain, const sm_draw *d, sm_error *error) {
    if (sm_first_not_finite(d->logits, s->n_vocab) < s->n_vocab)
        return sm_fail(error, SM_ERR_FORMAT, "the logits after token %u are not finite", d->length);
    sm_survivors *l = &s->left;
    *l = all(s, &chain->options, d);
    const uint32_t greedy = greedy_from(chain);
    if (l->holes && sv_top(l) == -INFINITY)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s leaves no token to choose",
                       d->mask || d->n_banned ? "what may be chosen" : "option bias");
    const sm_stage c = {l, chain, d, d->mu ? *d->mu : NAN};
    for (uint32_t i = 0; i < greedy; i++)
        sm_step_run(&chain->steps[i], &c);
    if (greedy < chain->n_steps)
        sv_keep_best(l, 1);
    return SM_OK;
}

sm_status sm_sample_left(sm_left *left, sm_sampler *s, const sm_chain *chain, const sm_draw *d,
                         sm_error *error) {
    const sm_status status = run(s, chain, d, error);
    if (!status)
        *left = (sm_left){.n = s->left.n,
                          .ids = s->left.id,
                          .logits = s->left.x,
                          .temperature = s->left.temperature,
                          .top = sv_top(&s->left)};
    return status;
}

void sm_left_probabilities(const sm_left *left, double *p) {
    double mass = 0;
    for (uint32_t i = 0; i < left->n; i++) {
        p[i] = exp(((double)left->logits[i] - (double)left->top) / left->temperature);
        mass += p[i];
    }
    for (uint32_t i = 0; i < left->n; i++)
        p[i] /= mass;
}

/* ---- the draw -------------------------------------------------------------------------------- */

/* Goes through all, best first or by id. */
static int32_t draw_in_order(const sm_survivors *l, float top, double u) {
    double left = 0;
    for (uint32_t i = 0; i < l->n; i++)
        left += sv_weight(l, i, top);
    left *= u;
    for (uint32_t i = 0; i < l->n; i++) {
        left -= sv_weight(l, i, top);
        if (left < 0)
            return sv_id(l, i);
    }
    return sv_id(l, l->sorted ? 0 : (uint32_t)l->s->kernels->argmax(l->x, l->n)); /* rounding */
}

/* Of many by id. */
static int32_t draw_of_many(const sm_survivors *l, float top, double u) {
    uint32_t at;
    return sv_reach_by_id(l, top, u, &at) ? sv_id(l, at) : draw_in_order(l, top, u);
}

static int32_t draw(sm_survivors *l, double u) {
    const float top = sv_top(l);
    if (l->n == 1)
        return sv_id(l, 0);
    if (!l->ranked || l->sorted || l->n <= SM_FEW) {
        if (l->ranked)
            sv_sort(l);
        return l->n > SM_FEW && !l->sorted ? draw_of_many(l, top, u) : draw_in_order(l, top, u);
    }
    sm_ranked pair;
    const double mass = sv_mass(l, top);
    if (sv_reach(l, top, u * mass, mass, &pair))
        return sv_pair_id(pair);
    sv_sort(l);
    return draw_in_order(l, top, u);
}

sm_status sm_sample(int32_t *id, sm_sampler *s, const sm_chain *chain, const sm_draw *d,
                    sm_error *error) {
    const sm_sampling *o = &chain->options;
    *id = -1;
    sm_left left;
    const sm_status status = sm_sample_left(&left, s, chain, d, error);
    if (status)
        return status;
    *id = draw(&s->left, sm_uniform(o->seed, o->sequence, d->length + d->gone, SM_DRAW_TOKEN));
    if (d->mu && sm_chain_mirostat(chain)) {
        left.ids = s->left.id; /* a draw may sort them */
        left.logits = s->left.x;
        *d->mu = sm_left_mu(&left, chain, *id, *d->mu);
    }
    return SM_OK;
}
