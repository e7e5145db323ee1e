/* step.h - one forward pass over some tokens, of one or more sequences.
 *
 * T is the number of tokens computed together.
 */
#ifndef SM_STEP_H
#define SM_STEP_H

#include "state.h"

/* Consecutive tokens of one sequence inside a step. */
typedef struct sm_span {
    sm_state *state;
    uint32_t first;    /* index of its first token in the step */
    uint32_t n;        /* tokens */
    uint32_t position; /* of its first token in the sequence: what the state holds before */
} sm_span;

/* Shown what every matrix of the layers reads, for measuring. fn is called by each thread for its
 * share of the columns, [begin, end), of all n_tokens rows of x (ldx apart), once per matrix and
 * batch. */
typedef struct sm_observer {
    void (*fn)(void *user, const sm_weight *weight, const float *x, uint64_t ldx, uint64_t begin,
               uint64_t end, uint32_t n_tokens);
    void *user;
} sm_observer;

/* Where a block's values are: on the tape, or in the workspace. */
typedef struct sm_places {
    float *x;                     /* [T][ldx] what the block reads */
    float *out;                   /* [T][ldx] x and what the block adds: the next one's x. One that
                                     is beside the next does not write it */
    float *y;                     /* [T][ldx] what a norm of the wiring reads, where there is one */
    void *buffer[SM_MAX_BUFFERS]; /* [T][block->ld[i]], of the kind's sm_buffer i; NULL: none */
} sm_places;

/* What a forward pass leaves for a backward pass, block by block: their inputs, and the buffers
 * that are marked SM_KEEP. Norms and activations are cheap and computed again from these. */
typedef struct sm_tape {
    sm_mem *mem;
    uint64_t ldx;
    sm_places *blocks;  /* [n_blocks] */
    float *x;           /* [T][ldx] output of the last block */
    float **cos, **sin; /* [n_ropes][T][n_rot/2] rotation of each token */
    bool rounded;       /* set by the caller: attention reads queries rounded to bf16 */
    /* Layers that sm_forward computes, set by the caller before each call. begin > 0 starts from
     * what the layer's first block's x and cos, sin hold. */
    uint32_t begin, end;
    void **owned;
    uint32_t n_owned;
} sm_tape;

/* For batches of at most max_tokens tokens. keep_layers false: every layer keeps its input only,
 * all else lies in one place that the layers use in turn. SM_ERR_NOMEM. */
sm_status sm_tape_new(sm_tape **out, sm_mem *mem, const sm_net *net, uint32_t max_tokens,
                      bool keep_layers, sm_error *error);
void sm_tape_free(sm_tape *tape); /* NULL is fine */

/* What one forward pass computes. */
typedef struct sm_step {
    uint32_t n_tokens;
    const int32_t *ids; /* [n_tokens], checked by the caller */
    uint32_t n_spans;
    const sm_span *spans; /* cover the tokens in order; each has a state of its own */
    uint32_t n_outputs;
    const uint32_t *outputs; /* tokens whose logits are wanted */
    float *const *logits;    /* [n_outputs] rows of n_vocab floats each */
    float *const *hidden;    /* [n_outputs] rows of n_embd floats: what the head reads, instead of
                             logits; NULL: those */
    const uint8_t *types;    /* [n_tokens] of the net's types of tokens; NULL: 0 */
    int32_t (*cancel)(void *user); /* asked by thread 0 every fraction of a ms; NULL: never */
    void *cancel_user;
    const sm_observer *observer; /* NULL: none */
    const sm_tape *tape;         /* records, or NULL; every span must then begin at position 0 */
    const sm_adapters *adapters; /* NULL: none */
    uint64_t *repack_ns;         /* the time that packing took is added to it; NULL: to nothing */
} sm_step;

/* Buffers for steps of at most max_tokens tokens in contexts of at most max_context,
 * and for a team of n_threads. */
typedef struct sm_workspace sm_workspace;
sm_status sm_workspace_new(sm_workspace **out, sm_mem *mem, const sm_net *net, uint32_t n_threads,
                           uint32_t max_tokens, uint32_t max_context, sm_error *error);
void sm_workspace_free(sm_workspace *workspace);
/* Makes room for adapters whose widths sum up to `width`, with dropout or without; before
 * batches that have them. SM_ERR_NOMEM leaves the workspace as it was. */
sm_status sm_workspace_adapt(sm_workspace *workspace, uint64_t width, bool dropout,
                             sm_error *error);

/* Computes the step: takes its tokens into the states and writes the wanted logits.
 * SM_ERR_CANCELLED if the cancel hook said so; after sm_net_pack_lazily SM_ERR_NOMEM too, and the
 * message names the matrix that was to be packed. On failure no logits were written, what states
 * hold beyond the spans' positions is undefined, and what was packed stays for later steps. */
sm_status sm_forward(sm_workspace *workspace, sm_team *team, const sm_step *step, sm_error *error);
/* The last part of it alone: logits[i][ldl] of token rows[i] of x (sm_tape.x); n at most the
 * workspace's max_tokens. Asks `stop`; once it is stopped the logits are rubbish. */
void sm_forward_logits(sm_workspace *workspace, sm_team *team, const sm_adapters *adapters,
                       sm_stop *stop, const float *x, const uint32_t *rows, uint32_t n,
                       float *logits, uint64_t ldl);

#endif
