/* encoders.h - an encoder's handle, and its parts: steps (encoders.c), what is made of hidden
 * states (pool.c). Private to lib/run.
 */
#ifndef SM_ENCODERS_H
#define SM_ENCODERS_H

#include "run.h"

#include "smallmind/embed.h"

#define SM_ENCODER_SPANS 256 /* of a step */

struct sm_encoder {
    sm_use use;
    const sm_model *model;
    sm_mem *mem;
    sm_team *team;
    sm_workspace *workspace;
    sm_cancel *flag; /* a reference; NULL: none */
    sm_ask ask;
    sm_encoder_options o; /* with defaults in place */
    char *prefix;         /* NULL: none */
    sm_pooling_type pooling;
    uint32_t n_dims;
    /* a step: [SM_ENCODER_SPANS], and with * n_states; [n_batch]; memory of all caches */
    sm_span *spans;
    sm_state *states;
    sm_kv *kv;
    uint8_t *memory;
    int32_t *ids;
    uint8_t *types;
    uint32_t *outputs;
    float **hidden;
    float *rows; /* [n_batch][n_embd] */
};

/* A text's tokens, or some of them, that are computed as a sequence. */
typedef struct sm_sequence {
    const int32_t *ids;
    const uint8_t *types; /* of each; NULL: 0 */
    uint32_t n;
    uint64_t to; /* where what comes out of it goes */
} sm_sequence;

/* Gets the rows of a sequence's tokens, or that of the one which pooling wants. */
typedef void (*sm_rows_fn)(void *user, const sm_sequence *sequence, const float *rows,
                           uint32_t n_rows);

/* Computes sequences, longest first; all: rows of all tokens, whatever pooling says. SM_ERR_TOKEN,
 * _CANCELLED, _NOMEM, _FORMAT. */
sm_status sm_encoder_run(sm_encoder *e, const sm_sequence *sequences, uint64_t n, bool all,
                         sm_rows_fn take, void *user, sm_error *error);

/* ---- pool.c ------------------------------------------------------------------------------ */

/* What n rows of hidden states are pooled to, in y[n_embd]. */
void sm_pool_rows(sm_pooling_type type, const float *rows, uint32_t n, uint32_t n_embd, float *y);
/* A vector of what was pooled: through the model's dense layers, cut to n_dims and, unless raw,
 * made as long as 1. scratch: 3 times the widest of these. */
void sm_pool_vector(const sm_net *net, const float *pooled, uint32_t n_dims, bool raw,
                    float *vector, float *scratch);
/* scores[labels] of the first token's hidden state. */
void sm_pool_scores(const sm_net *net, const float *hidden, float *scores, float *scratch);
/* Floats of scratch that these want. */
uint64_t sm_pool_scratch(const sm_net *net);
/* Elements of a vector before it is cut. */
uint32_t sm_pool_dims(const sm_net *net);

#endif
