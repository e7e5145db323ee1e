/* sample.h - choosing the next token from logits. Everything here depends on the logits, the
 * options and the history only; of equal tokens the lower id comes first. */
#ifndef SM_SAMPLE_H
#define SM_SAMPLE_H

#include "base/base.h"
#include "kernels.h"
#include "smallmind/smallmind.h"

/* All samplers in the default order; *n (may be NULL) gets how many. */
const sm_sampler_info *sm_sampler_table(uint32_t *n);

/* ---- buffers (survivors.c) ---------------------------------------------------------------- */

/* What choosing works with, for one choice at a time: nothing is allocated for a token. */
typedef struct sm_sampler sm_sampler;

/* For logits [n_vocab] that kernels computed, after n_ctx tokens at most. SM_ERR_NOMEM. */
sm_status sm_sampler_new(sm_sampler **out, sm_mem *mem, const sm_kernels *kernels, uint32_t n_vocab,
                         uint32_t n_ctx, sm_error *error);
void sm_sampler_free(sm_sampler *sampler); /* NULL is fine */

/* ---- chains (chain.c) --------------------------------------------------------------------- */

#define SM_MAX_STEPS 32
#define SM_MAX_BREAKERS 64
#define SM_MAX_BREAKER 40u /* bytes of a text that breaks repetitions, as in llama.cpp */

/* Sampling options that were taken and checked: how to choose. It points at what the options point
 * at. */
typedef struct sm_chain {
    sm_sampling options;
    uint32_t n_steps;
    sm_sampling_step steps[SM_MAX_STEPS]; /* those that do something */
    sm_text breakers[SM_MAX_BREAKERS];    /* [options.n_dry_breaker_texts] */
} sm_chain;

/* SM_ERR_ARGUMENT, SM_ERR_TOKEN (biases, breakers). */
sm_status sm_chain_take(sm_chain *to, const sm_sampling *from, uint32_t n_vocab, sm_error *error);
/* The step of mirostat, NULL if there is none. */
const sm_sampling_step *sm_chain_mirostat(const sm_chain *chain);

/* ---- choosing (choose.c) ------------------------------------------------------------------ */

/* Tokens, and sequences of them, that repetitions do not reach over: head[i] and behind it
 * tail[end[i]..end[i + 1]). */
typedef struct sm_breakers {
    uint32_t n;
    const int32_t *head; /* [n], none less than the one before */
    const uint32_t *end; /* [n + 1] */
    const int32_t *tail;
} sm_breakers;

/* What a choice depends on. */
typedef struct sm_draw {
    const float *logits;   /* [n_vocab] after the tokens ids[0..length); not changed */
    const uint32_t *mask;  /* bit i%32 of word i/32: token i may be chosen; NULL: any may */
    const int32_t *banned; /* [n_banned] more that may not; NULL: none */
    uint64_t n_banned;
    const int32_t *ids; /* [length] */
    uint32_t length;    /* n_ctx at most */
    uint64_t gone; /* tokens before that the text has lost: the draw's number is length + gone */
    const sm_breakers *breakers; /* of DRY, beside those of the options; NULL: none */
    double *mu; /* mirostat's: before the choice, and then after it; NAN: it begins. NULL:
                           it begins, and nobody wants to know how it went on */
} sm_draw;

/* Chooses. SM_ERR_ARGUMENT if biases, mask and bans leave no token, SM_ERR_FORMAT if the logits are
 * not finite; *id is -1 then. */
sm_status sm_sample(int32_t *id, sm_sampler *sampler, const sm_chain *chain, const sm_draw *draw,
                    sm_error *error);

/* The same without the draw: what the chain leaves. */
typedef struct sm_left {
    uint32_t n;
    const int32_t *ids;  /* [n]; NULL: all tokens */
    const float *logits; /* [n]; to be divided by temperature. Some may be -INFINITY */
    double temperature;
    float top; /* the largest logit */
} sm_left;
/* *left is valid until the sampler is next used. Statuses of sm_sample. */
sm_status sm_sample_left(sm_left *left, sm_sampler *sampler, const sm_chain *chain,
                         const sm_draw *draw, sm_error *error);
/* Their probabilities[n], in double. */
void sm_left_probabilities(const sm_left *left, double *probabilities);
/* Mirostat's mu after the token `id` of what is left. */
double sm_left_mu(const sm_left *left, const sm_chain *chain, int32_t id, double mu);

/* ---- watermarks (watermark.c) --------------------------------------------------------------- */

/* Takes and checks the options, NULL being those by default. SM_ERR_ARGUMENT. */
sm_status sm_watermark_take(sm_watermark *to, const sm_watermark *from, sm_error *error);
/* Adds delta to the logits of green tokens, what was taken being w; nothing where there are not yet
 * enough tokens before. */
void sm_watermark_mark(const sm_watermark *w, float *logits, uint32_t n_vocab, const int32_t *ids,
                       uint64_t length);

/* ---- log-probabilities (logprob.c) --------------------------------------------------------- */

/* Natural log-probability of id under softmax(logits). */
double sm_logprob(const sm_sampler *sampler, const float *logits, int32_t id);
/* The n likeliest tokens with theirs, best first; fewer if the vocabulary is smaller. How many. */
/* How many tokens are likelier than one, or as likely and of a lower id. */
uint32_t sm_rank(const sm_sampler *sampler, const float *logits, int32_t id);
uint32_t sm_top_logprobs(sm_sampler *sampler, const float *logits, sm_token_logprob *top,
                         uint32_t n);

/* ---- random numbers (philox.c) -------------------------------------------------------------- */

#define SM_DRAW_TOKEN 0
#define SM_DRAW_XTC 1

/* A number in [0, 1) that depends on nothing but its arguments: Philox4x32-10. */
double sm_uniform(uint64_t seed, uint64_t sequence, uint64_t position, uint32_t purpose);

#endif
