/* sample.h - choosing the next token from logits. */
#ifndef SM_SAMPLE_H
#define SM_SAMPLE_H

#include "base/base.h"
#include "kernels.h"
#include "smallmind/smallmind.h"

/* ---- buffers (sample.c) ------------------------------------------------------------------- */

/* What choosing works with, for one choice at a time: nothing is allocated for a token. */
typedef struct sm_sampler sm_sampler;

/* For logits [n_vocab] that kernels computed. SM_ERR_NOMEM. */
sm_status sm_sampler_new(sm_sampler **out, sm_mem *mem, const sm_kernels *kernels, uint32_t n_vocab,
                         sm_error *error);
void sm_sampler_free(sm_sampler *sampler); /* NULL is fine */

/* ---- options (sample.c) ------------------------------------------------------------------- */

/* Sampling options that were taken and checked: how to choose. */
typedef struct sm_chain {
    sm_sampling options;
} sm_chain;

/* SM_ERR_ARGUMENT, SM_ERR_TOKEN (bias). The chain points at what the options point at. */
sm_status sm_chain_take(sm_chain *to, const sm_sampling *from, uint32_t n_vocab, sm_error *error);

/* ---- choosing (sample.c) ------------------------------------------------------------------ */

/* What a choice depends on. */
typedef struct sm_draw {
    const float *logits;   /* [n_vocab] after the tokens ids[0..length); not changed */
    const uint32_t *mask;  /* bit i%32 of word i/32: token i may be chosen; NULL: any may */
    const int32_t *banned; /* [n_banned] more that may not; NULL: none */
    uint64_t n_banned;
    const int32_t *ids; /* [length] */
    uint32_t length;    /* the draw's number, too */
} sm_draw;

/* Chooses. SM_ERR_ARGUMENT if biases, mask and bans leave no token, SM_ERR_FORMAT if the logits are
 * not finite; *id is -1 then. */
sm_status sm_sample(int32_t *id, sm_sampler *sampler, const sm_chain *chain, const sm_draw *draw,
                    sm_error *error);
/* Natural log-probability of id under softmax(logits). */
double sm_logprob(const sm_sampler *sampler, const float *logits, int32_t id);
/* A number in [0, 1) that depends on nothing but its arguments: Philox4x32-10. */
double sm_uniform(uint64_t seed, uint64_t sequence, uint64_t position);

#endif
