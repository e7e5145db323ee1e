/* survivors.h - the tokens that a chain has left, and what samplers do with them. */
#ifndef SM_SURVIVORS_H
#define SM_SURVIVORS_H

#include "sample.h"

#include <math.h>

/* Up to so many are looked at one by one, in double; of more the kernels see to most of it. */
#define SM_FEW 4096u

/* A token in 64 bits, which are the less the better it is: large logits first, then low ids. */
typedef uint64_t sm_ranked;

/* Tokens and their logits, by id or best first. All tokens at first, in the caller's own logits. */
typedef struct sm_survivors {
    sm_sampler *s;
    const float *x;    /* [n], in s->x once something has changed */
    const int32_t *id; /* [n], in s->id; NULL: token i has x[i] */
    uint32_t n;
    bool sorted; /* best first, else by id */
    bool ranked; /* draws go through them best first, else by id */
    bool holes;  /* some of x may be -INFINITY: no survivors */
    double temperature;
} sm_survivors;

struct sm_sampler {
    sm_mem *mem;
    const sm_kernels *kernels;
    uint32_t n_vocab, n_ctx;
    float *x;              /* [n_vocab] */
    int32_t *id;           /* [n_vocab] */
    int32_t *counts;       /* [n_vocab], all zero between calls */
    sm_ranked *pair[2];    /* [n_vocab] each: scratch */
    float *maxima;         /* of each block of x */
    double *bins;          /* [SM_BINS] */
    double (*bin_sums)[4]; /* [SM_BINS] */
    uint32_t *matches;     /* [n_ctx + 1] */
    sm_survivors left;
};

#define SM_BLOCK 128u
#define SM_BINS 2048u

static inline int32_t sv_id(const sm_survivors *l, uint32_t i) {
    return l->id ? l->id[i] : (int32_t)i;
}
/* In proportion to its probability. */
static inline double sv_weight(const sm_survivors *l, uint32_t i, float top) {
    return exp(((double)l->x[i] - (double)top) / l->temperature);
}

/* x to write to. */
float *sv_own(sm_survivors *l);
/* The largest; -INFINITY if there is none. */
float sv_top(const sm_survivors *l);
/* Keeps those of at least that logit (and no holes). */
void sv_cut(sm_survivors *l, float least);
/* Keeps the first n. */
void sv_shorten(sm_survivors *l, uint32_t n);
void sv_drop_holes(sm_survivors *l);
/* Best first. */
void sv_sort(sm_survivors *l);
/* Keeps the k best, sorted. k > 0. */
void sv_keep_best(sm_survivors *l, uint32_t k);
/* The k best (of all that there are), best first, in s->pair[0]; how many. Changes nothing. */
uint32_t sv_best(const sm_survivors *l, uint32_t k);
float sv_pair_logit(sm_ranked pair);
static inline int32_t sv_pair_id(sm_ranked pair) {
    return (int32_t)(uint32_t)pair;
}
/* Takes over the n pairs of s->pair[0], which are sorted. */
void sv_take_pairs(sm_survivors *l, uint32_t n);
/* Pair i of s->pair[0]: some figure and the place i; and sorting them, the largest figure first. */
void sv_set_pair(sm_survivors *l, uint32_t i, float x);
void sv_sort_pairs(sm_survivors *l, uint32_t n);
/* What was sorted, by id again. */
void sv_sort_by_id(sm_survivors *l);
/* Sum of the weights. */
double sv_mass(const sm_survivors *l, float top);
/* Entropy of what is left, in nats; *mass (may be NULL) gets the sum of the weights. */
double sv_entropy(const sm_survivors *l, double *mass);
/* Where the weights, added up best first, reach `target` (>= 0): the pair that does. False:
 * rounding keeps that open, they have to be added up one by one. For many that are not sorted. */
bool sv_reach(const sm_survivors *l, float top, double target, double mass, sm_ranked *pair);
/* The same by id, of u (in [0, 1)) times the sum of the weights: the place. */
bool sv_reach_by_id(const sm_survivors *l, float top, double u, uint32_t *at);
/* Keeps those up to and with that pair, by id. */
void sv_cut_behind(sm_survivors *l, sm_ranked last);

/* ---- samplers (penalties.c, cuts.c) -------------------------------------------------------- */

typedef struct sm_stage {
    sm_survivors *left;
    const sm_chain *chain;
    const sm_draw *draw;
    double mu;
} sm_stage;

typedef void sm_sampler_fn(const sm_stage *c, const sm_sampling_step *step);
sm_sampler_fn sm_penalties, sm_dry, sm_top_n_sigma, sm_top_k, sm_typical, sm_top_p, sm_min_p,
    sm_top_a, sm_xtc, sm_temperature, sm_mirostat;

/* Whether a step does anything; and running it. */
bool sm_step_is_on(const sm_sampling_step *step);
void sm_step_run(const sm_sampling_step *step, const sm_stage *choice);

/* A logit that arithmetic made: finite, but -INFINITY stays. */
float sm_to_logit(double x);

#endif
