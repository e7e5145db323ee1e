/* worker.h - how the threads of a team compute one step together: what they share, what each knows,
 * and the parts a step is made of, each run by all threads at once. Private to lib/nn.
 */
#ifndef SM_WORKER_H
#define SM_WORKER_H

#include "ops.h"
#include "pack.h"

/* Buffers of a team (workspace.c); T = max_tokens. */
struct sm_workspace {
    sm_mem *mem;
    const sm_net *net;
    uint32_t n_threads, max_tokens, max_blocks;
    uint64_t ldx, blocks_x; /* strides of rows as wide as the residual stream: floats, blocks */
    float *x;               /* [T][ldx] residual stream */
    float *normed;          /* [T][ldx] */
    sm_act_block *normed_q;
    float *y;     /* [T][ldx] what is added to x */
    float *aside; /* [T][ldx] the same, of a block beside the next one; NULL: there is none */
    void *buffer[SM_KIND_COUNT][SM_MAX_BUFFERS]; /* of the blocks of each kind, in turn */
    float **cos, **sin;                          /* [n_ropes][T][n_rot/2] */
    float *part_o, *part_m, *part_l; /* [max_blocks][n_head][width], …: split tokens */
    float *low;                      /* [T][ld_low] scale A x of all adapters, for one input */
    uint64_t ld_low;                 /* 0: no adapters yet */
    float *dropped;                  /* [n_threads][SM_MUL_COLS][widest input], or NULL */
    sm_thread_scratch *threads;
    void **owned; /* everything allocated here */
    uint32_t n_owned;
};

/* A token whose attention several threads share: partial results of the blocks that it sees lie in
 * the workspace from block `part` on. */
typedef struct sm_attn_split {
    const sm_span *span;
    uint32_t part;
} sm_attn_split;

#define SM_MAX_SPLITS 4

typedef struct sm_range {
    uint64_t begin, end;
} sm_range;

/* The groups that have some of these rows. */
static inline sm_range sm_groups_of(sm_range rows) {
    return (sm_range){rows.begin / SM_GROUP, (rows.end + SM_GROUP - 1) / SM_GROUP};
}

/* What a step packs in one go: groups [first, end) of a matrix, or of none. */
typedef struct sm_repack_piece {
    sm_weight *w;
    uint64_t first, end;
} sm_repack_piece;

/* What the threads of one step share beside the workspace. */
typedef struct sm_pass {
    sm_workspace *ws;
    sm_team *team;
    const sm_step *batch;
    _Atomic uint32_t next_task; /* of attention */
    uint32_t n_splits;
    sm_attn_split splits[SM_MAX_SPLITS];
    sm_stop stop, never;
    double least_share; /* weight bytes that are worth a thread of their own */
    bool cancelled;     /* written by thread 0 before a barrier, read by all after it */
    /* Whether matrices that the step comes to may have to be packed: looked up before the threads
     * begin, since all have to meet at the same barriers. */
    bool repack_layers, repack_experts, repack_head;
    sm_repack_piece piece;   /* written, like `cancelled`, by thread 0 before a barrier */
    sm_status repack_status; /* the same; other than SM_OK the step ends */
    sm_error *error;         /* of the caller; thread 0 writes it */
} sm_pass;

/* One thread's view of the step. */
typedef struct sm_worker {
    sm_pass *pass;
    sm_workspace *ws;
    sm_team *team;
    const sm_net *net;
    const sm_config *c;
    const sm_kernels *kernels;
    const sm_step *batch;
    sm_thread_scratch *scratch;
    uint32_t thread, n_threads;
    uint32_t T;
    const sm_adapters *adapters; /* NULL: none */
    float **cos, **sin;
    const sm_block *block; /* that is running */
    sm_attn attn;          /* of it */
    sm_places at; /* where the values of the running block go: the workspace, or the tape */
} sm_worker;

/* ---- kinds ------------------------------------------------------------------------------ */

/* What a kind computes. */
typedef struct sm_kind_ops {
    /* From the input of the block's first products to that of its last one, *in, which all threads
     * may read afterwards; or, where the kind has no last product, all the way (sm_add_output).
     * False if the step was cancelled. */
    bool (*run)(sm_worker *w, const sm_block *block, sm_input *in);
    /* Asks for the weights that `run` will read first of a single token. */
    void (*expect)(const sm_worker *w, const sm_block *block);
    /* Of a kind without the two: all of the block, from x to what it leaves, norms and all. */
    void (*all)(const sm_worker *w);
} sm_kind_ops;

bool sm_attention_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_attention_expect(const sm_worker *w, const sm_block *block);
bool sm_latent_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_latent_expect(const sm_worker *w, const sm_block *block);
bool sm_inputs_run(sm_worker *w, const sm_block *block, sm_input *in);
bool sm_layer_input_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_layer_input_expect(const sm_worker *w, const sm_block *block);
void sm_scale_rows(const sm_worker *w);
void sm_split_run(const sm_worker *w);
void sm_predict_run(const sm_worker *w);
void sm_correct_run(const sm_worker *w);
void sm_merge_run(const sm_worker *w);
bool sm_laurel_run(sm_worker *w, const sm_block *block, sm_input *in);
bool sm_gated_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_gated_expect(const sm_worker *w, const sm_block *block);
bool sm_plain_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_plain_expect(const sm_worker *w, const sm_block *block);
bool sm_linear_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_linear_expect(const sm_worker *w, const sm_block *block);
bool sm_shortconv_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_shortconv_expect(const sm_worker *w, const sm_block *block);
bool sm_experts_run(sm_worker *w, const sm_block *block, sm_input *in);
void sm_experts_expect(const sm_worker *w, const sm_block *block);

/* A token's experts, ascending, and what each counts, from the router's logits [n_experts], bias
 * added; `bias` (NULL: none) takes part in the choice. Weights are NaN if a logit is not finite.
 * (blocks/route.c) */
void sm_route(const sm_experts_params *p, const float *logits, const float *bias, uint32_t *chosen,
              float *weight);

/* SM_ERR_STATE of a step whose team is torn (sm_team_torn). */
sm_status sm_torn(sm_error *error);

/* ---- one block (residual.c) -------------------------------------------------------------- */

/* Makes it the worker's running block, without computing it. */
void sm_block_begin(sm_worker *w, const sm_block *block);
/* x += f(norm(x)), as the wiring has it. False if the step was cancelled. Ends with a barrier. */
bool sm_block_run(sm_worker *w, const sm_block *block);
/* Columns [r0, r0 + n) of token t, y being there: out = x + y, scaled as the wiring says, but not
 * where y is normed first. */
void sm_add_output(const sm_worker *w, uint64_t t, uint64_t r0, uint64_t n);
/* Of a step with a single token each thread asks for the beginnings of the matrices that it will
 * read behind the next barrier: they come while it waits. */
void sm_expect(const sm_worker *w, const sm_weight *W, sm_range groups);
/* This thread's groups of a matrix that is shared out by itself. */
sm_range sm_share_groups(const sm_worker *w, const sm_weight *W);
/* The step's tokens in pieces alike, or all of them where W is packed as it is used: those that a
 * thread takes through a product and what follows it before the next ones, so that what was
 * computed is still in a cache when it is read again. */
uint64_t sm_tokens_together(const sm_worker *w, const sm_weight *W);

/* ---- work (work.c) -------------------------------------------------------------------- */

/* The worker's share [begin, end) of n things. */
void sm_work_share(const sm_worker *w, uint64_t n, uint64_t *begin, uint64_t *end);
/* How many threads share work on `bytes` of weights: no more than have enough to do. */
uint32_t sm_work_sharers(const sm_worker *w, uint64_t bytes);
/* The worker's share of pieces of matrices that take `bytes` of weights together. */
void sm_work_share_weights(const sm_worker *w, uint64_t n, uint64_t bytes, uint64_t *begin,
                           uint64_t *end);
/* sm_pass.least_share: what could be read while the team meets at a barrier. */
double sm_work_least_share(sm_team *team);
/* The number of threads that makes the step fastest. */
uint32_t sm_work_threads(const sm_workspace *ws, sm_team *team, const sm_step *batch);

/* ---- input of products (input.c) ------------------------------------------------------ */

/* How the matrices that share an input read it: in one form, and some perhaps as f32 too. */
typedef struct sm_input_use {
    sm_input_form form;
    bool floats; /* f32 is read, by a matrix, an adapter or the observer */
} sm_input_use;

/* Of W and the matrices that read the same input. */
sm_input_use sm_input_use_of(const sm_worker *w, const sm_weight *W);
/* x[n] in the form that a product takes. */
void sm_input_prepare(const sm_worker *w, sm_input_form form, sm_act_block *out, const float *x,
                      uint64_t n);
/* n rows of x, as a matrix input, normed as before the block: where it has no norm, x itself. rows:
 * which tokens (NULL: 0, 1, …), of blocks that have one. Holds a barrier unless n is 1. */
sm_input sm_input_norm(const sm_worker *w, const sm_block *block, const float *x, sm_input_use use,
                       const uint32_t *rows, uint64_t n);

/* ---- products with adapters (product.c) ----------------------------------------------- */

/* What comes before the products of W and the matrices that read the same n rows: the observer's
 * look, and A x of all adapters. Holds a barrier if there are adapters. rows: as in
 * sm_input_norm. */
void sm_product_lower(const sm_worker *w, const sm_weight *W, const sm_input *in, uint64_t n,
                      const uint32_t *rows);
/* y = W in for groups [g0, g1) and rows [first, first + n) of the input, and what the adapters add;
 * y[n][ldy] begins at row `first`, group 0. */
void sm_product_compute(const sm_worker *w, const sm_weight *W, uint64_t g0, uint64_t g1,
                        const sm_input *in, uint64_t first, uint64_t n, float *y, uint64_t ldy);
/* The same for groups [g, g + n_groups), to y from its beginning. */
void sm_product_piece(const sm_worker *w, const sm_weight *W, uint64_t g, uint64_t n_groups,
                      const sm_input *in, uint64_t first, uint64_t n, float *y, uint64_t ldy);

/* ---- attention of a step (attend.c) ------------------------------------------------------ */

/* Decides which tokens' blocks are shared out; before the threads begin. */
void sm_attn_plan(sm_pass *pass, uint32_t n_threads);
/* Attention of all tokens of the step from the cache, in the given form. Holds barriers. */
sm_input sm_attn_step(const sm_worker *w, sm_input_form form);

/* ---- packing at first use (repack.c) --------------------------------------------------- */

/* Sets pass->repack_…; before the threads begin. */
void sm_repack_plan(sm_pass *pass);
/* Packs what is not yet packed of the net's matrices [first, end), if the first is one of experts
 * those of experts, else all but them, with all threads; afterwards all
 * may read sm_weight.packed of them. False if that failed or was cancelled: pass->repack_status.
 * Holds barriers. */
bool sm_repack(const sm_worker *w, uint32_t first, uint32_t end);

/* ---- head (head.c) -------------------------------------------------------------------- */

/* rows of the head that a piece of its products in scratch has, and outputs */
#define SM_HEAD_ROWS 256
#define SM_HEAD_OUTPUTS 64

/* The step's logits. */
void sm_head_logits(const sm_worker *w);
/* What the head reads (sm_step.hidden). */
void sm_head_hidden(const sm_worker *w);

#endif
