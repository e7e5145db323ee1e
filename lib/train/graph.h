/* graph.h - what is inside an sm_graph. Private to lib/train. */
#ifndef SM_GRAPH_H
#define SM_GRAPH_H

#include "train.h"

/* One matrix of the net in training. */
typedef struct sm_master {
    sm_weight *w;
    float *value;           /* [rows][cols] f32 master; NULL where frozen */
    float *grad;            /* NULL where frozen */
    sm_lora *lora;          /* NULL: none */
    float *a_grad, *b_grad; /* of lora->a, lora->b, whose data are the masters */
} sm_master;

/* Gradients of one block's vectors, by slot; NULL where it has none, or frozen. */
typedef struct sm_graph_block {
    float *v[SM_MAX_SLOTS];
} sm_graph_block;

/* A buffer of a kind's backward pass: gradients of some activations. */
typedef struct sm_grad_buffer {
    uint8_t width; /* sm_dim */
    bool together; /* of g->together tokens only */
} sm_grad_buffer;

#define SM_MAX_GRAD_BUFFERS 14

/* Scratch of one thread in attention: scores and their gradients of one block. */
#define SM_GRAD_QUERIES 64
#define SM_GRAD_KEYS 256
typedef struct sm_grad_scratch {
    float *s, *ds;  /* [SM_GRAD_QUERIES][SM_GRAD_KEYS] */
    float *logits;  /* [n_vocab] where they are capped, or NULL */
    float *neg_sin; /* [n_rot/2] */
    uint16_t *bf16; /* [SM_GROUP][widest matrix]: rows on their way to being packed; or one of
                       queries */
} sm_grad_scratch;

struct sm_graph {
    sm_mem *mem;
    sm_graph_options options;
    const sm_kernels *kernels;
    sm_net *net;
    sm_team *team;
    sm_stop stop; /* of the batch, or the update, that runs */
    sm_gemm_scratch *gemm;
    sm_workspace *ws;
    sm_tape *tape;
    sm_params params;
    char (*names)[64];      /* of params that have none in the file */
    sm_master *masters;     /* [net->n_matrices]; a tied head's value and grad are those of the
                               embedding */
    sm_graph_block *blocks; /* [net->n_blocks + 1], the head's last */
    float *embd_grad;       /* NULL where frozen */
    float *inputs_grad;     /* of net->inputs, likewise */
    float **lent;          /* [net->n_blocks] gradients of keys that others read, and behind them of
                               values, [T][ld of each]; NULL: nobody does */
    float *positions_grad; /* NULL where frozen, or there are none */

    /* LoRA; adapters.n is 0 without */
    sm_net_adapter adapter;
    const sm_net_adapter *adapter_list[1];
    sm_adapters adapters;
    float *low, *dlow; /* [T][ld_low] A x, and its gradient */
    uint64_t ld_low;
    float *dropped; /* [T][widest], with dropout */
    uint64_t ld_dropped;

    /* of the batch: what the routers' balancing loss counts in gradients, and its sum over
     * layers */
    double balance_weight, balance;
    sm_teacher *teacher; /* NULL: none */
    double unlike;       /* of the batch, what tokens lose to the teacher */

    /* the batch */
    uint32_t n_spans;
    sm_span *spans;   /* [max_spans] */
    sm_state *states; /* [max_spans], in `memory` */
    sm_kv *kv;        /* [max_spans][net->n_states] */
    uint8_t *memory;
    uint32_t *rows;      /* [T] tokens with a target */
    double *row_weights; /* [T] what the loss of each counts in gradients; NULL: all alike */

    /* the head, a chunk of tokens at a time */
    uint32_t chunk;
    uint64_t ldl;
    float *logits;   /* [chunk][ldl], then their gradient */
    float *z, *dz;   /* [chunk][ldx] normed output of the last layer */
    double *losses;  /* [chunk] */
    double *unlikes; /* [chunk] */

    /* gradients of activations; T = max_tokens, strides of the tape */
    uint32_t together;  /* tokens that go through a group of products before the next */
    float *dx;          /* [T][ldx] of the residual stream */
    float *dn, *normed; /* [together][ldx] gradient of a matrix's normed input; that input */
    void *buffer[SM_KIND_COUNT][SM_MAX_GRAD_BUFFERS]; /* of the blocks of each kind, in turn */
    float *r, *mean; /* [T] 1 / rms of a row, after its mean is taken away where that is done */
    float *dy;    /* [T][ldx] gradient of what the wiring norms or scales; NULL: it does neither */
    float *aside; /* [T][ldx] dx as it was for a block beside the next; NULL: there is none */
    float *slab;  /* [SM_DEQUANT_ROWS][widest] of a frozen matrix */
    sm_grad_scratch *threads;
    uint64_t lap_start, times[SM_PART_COUNT]; /* see sm_lap */
    void **owned;
    uint32_t n_owned;
};

/* In bf16 attention multiplies rounded keys, values and queries (sm_tape.rounded) forward as it
 * does backward: other scores would not fit the sums that the forward pass leaves. */
static inline uint32_t sm_graph_kv_type(const sm_graph *g) {
    return g->options.precision == SM_PRECISION_BF16 ? SM_KV_BF16 : SM_KV_F32;
}

/* Rows of a frozen matrix that are unpacked to f32 at a time. */
#define SM_DEQUANT_ROWS 256

/* One thread's view of a running backward pass. */
typedef struct sm_backward {
    sm_crew crew;
    sm_graph *g;
    uint32_t first, T;           /* tokens [first, first + T) of the batch */
    _Atomic uint32_t *next_task; /* 0 at the beginning of a run */
} sm_backward;

/* Counts the time since the last call for `part`; thread 0 only. */
static inline void sm_lap(sm_graph *g, sm_graph_part part) {
    const uint64_t now = sm_time_ns();
    g->times[part] += now - g->lap_start;
    g->lap_start = now;
}
static inline void sm_lap_of(const sm_backward *b, sm_graph_part part) {
    if (b->crew.thread == 0)
        sm_lap(b->g, part);
}

/* ---- operators (operators.c): collective, each ends with a barrier unless it says so ------
 * All of them, and those below, ask g->stop; once it is stopped they leave out what is left of
 * their work, but no barrier. */

/* This thread's columns of n, in whole vectors. */
void sm_grad_columns(const sm_backward *b, uint64_t n, uint64_t *begin, uint64_t *end);
/* grad(W) += dy^T x, and gradients of an adapter's A and B. tokens: of x's rows (NULL: b's). */
void sm_grad_weight(const sm_backward *b, const sm_master *master, const float *dy, uint64_t ldy,
                    const float *x, uint64_t ldx, uint64_t n, const uint32_t *tokens);
/* dx = dy W, or +=, adapter included */
void sm_grad_input(const sm_backward *b, const sm_master *master, const float *dy, uint64_t ldy,
                   uint64_t n, const uint32_t *tokens, float *dx, uint64_t ldx, bool accumulate);
/* db += sum of the n rows of dy, each thread its columns; db NULL: nothing. No barrier. */
void sm_grad_bias(const sm_backward *b, float *db, const float *dy, uint64_t ldy, uint64_t n,
                  uint64_t width);
/* Of y = norm(x) as before the block for n rows: dx += …, and gradients of gain and bias. rows: x
 * and dx by rows[i] (dx is then set, not added to), dy by i. */
void sm_grad_norm(const sm_backward *b, float *dx, const float *dy, const float *x,
                  const uint32_t *rows, uint64_t n, const sm_block *block);
/* Of one row, by its thread alone: dx; returns r, stores the mean that was taken away (0: none). */
float sm_grad_norm_row(const sm_graph *g, sm_norm norm, float *dx, const float *dy, const float *x,
                       const float *w, uint64_t n, bool accumulate, float *mean);
/* dw += dy (x - mean) r, of n columns of a row. */
void sm_grad_gain(const sm_graph *g, sm_norm norm, float *dw, const float *dy, const float *x,
                  float r, float mean, uint64_t n);

/* ---- kinds (blocks/) ---------------------------------------------------------------------- */

/* How a kind of blocks is trained. */
typedef struct sm_grad_kind {
    /* From g->dx, the gradient of the block's output, to that of its input, in place; gradients of
     * its tensors on the way. Collective. */
    void (*backward)(const sm_backward *b, const sm_block *block);
    sm_grad_buffer buffer[SM_MAX_GRAD_BUFFERS];
    uint8_t n_buffers;
} sm_grad_kind;

/* NULL: this kind cannot be trained. */
const sm_grad_kind *sm_grad_kind_of(const sm_block *block);

static inline const sm_master *sm_master_of(const sm_graph *g, const sm_block *block,
                                            uint32_t slot) {
    return &g->masters[block->w[slot]->index];
}
/* Gradient buffer i of the block's kind, and the stride of its rows. */
static inline float *sm_grad_at(const sm_graph *g, const sm_block *block, uint32_t i) {
    return g->buffer[block->kind->id][i];
}
uint64_t sm_grad_ld(const sm_block *block, uint32_t i);
/* Of b's tokens those from `first` on that go through some products and what stands between them
 * before the next ones do. */
sm_backward sm_grad_part(const sm_backward *b, uint32_t first);
/* The gradient of the block's last product, [T][ldx] of all tokens of the batch: g->dx, or what
 * scale and norm behind it make of that, of b's tokens. Ends with a barrier where there are
 * such. */
const float *sm_grad_output(const sm_backward *b, const sm_block *block);
/* What the block's products read, its input normed or not: g->normed for b's tokens. Ends with a
 * barrier. */
void sm_grad_renorm(const sm_backward *b, const sm_block *block);
/* g->dn, the gradient of that, back to g->dx. */
void sm_grad_residual(const sm_backward *b, const sm_block *block);

/* ---- attention (blocks/attention_grad.c, attend_grad.c) -------------------------------------- */

extern const sm_grad_kind sm_grad_attention;
enum { /* buffers; up to SM_GRAD_V_HEADS those of every kind that attends */
       SM_GRAD_Q,
       SM_GRAD_OUT,     /* of what O reads */
       SM_GRAD_K_HEADS, /* of keys, and values, per query head */
       SM_GRAD_V_HEADS,
       SM_GRAD_K, /* not used where a head of keys has one of queries and no norm */
       SM_GRAD_V,
       SM_GRAD_R_Q, /* [T][n_head] 1 / rms of a head; of all together: the first */
       SM_GRAD_R_K,
       SM_GRAD_MEAN_Q, /* likewise, what was taken away (LayerNorm) */
       SM_GRAD_MEAN_K,
       SM_GRAD_SINKS, /* [T][n_head] what each token adds to the sinks' gradient */
       SM_GRAD_ATTN_BUFFERS
};

/* Gradients of queries, and of keys and values per query head, from those of the output (in bf16
 * rounded on the way) and what the tape has. */
void sm_grad_attend(const sm_backward *b, const sm_block *block);
/* Of q = rope(norm(q_raw) q_norm) or norm(rope(q_raw)) q_norm, k likewise, and values, each k and v
 * read by a group of query heads: from what sm_grad_attend left to what the products wrote, with
 * gains added up. A barrier stands after values and these: with a head norm they are in
 * SM_GRAD_K_HEADS (of q) and SM_GRAD_V_HEADS (of k), otherwise in SM_GRAD_Q and _K. */
void sm_grad_heads(const sm_backward *b, const sm_block *block);

/* ---- latent attention (blocks/latent_grad.c) ------------------------------------------------- */

extern const sm_grad_kind sm_grad_latent;

/* ---- inputs of layers, scale (blocks/inputs_grad.c) ------------------------------------------ */

extern const sm_grad_kind sm_grad_inputs, sm_grad_layer_input, sm_grad_scale;
/* The table's rows of the batch's tokens, where it is trained, each thread its columns, after all
 * blocks. No barrier. */
void sm_grad_input_table(const sm_backward *b, const int32_t *ids);

/* ---- gated (blocks/gated_grad.c) ------------------------------------------------------------- */

extern const sm_grad_kind sm_grad_gated;

/* ---- plain (blocks/plain_grad.c) ------------------------------------------------------------- */

extern const sm_grad_kind sm_grad_plain;

/* ---- linear (blocks/linear_grad.c) ----------------------------------------------------------- */

extern const sm_grad_kind sm_grad_linear;

/* ---- experts (blocks/experts_grad.c) --------------------------------------------------------- */

extern const sm_grad_kind sm_grad_experts;

/* Of one token, from the gradients of its weights to that of its router's logits, all of them.
 * (blocks/route_grad.c) */
void sm_grad_route(const sm_experts_params *p, const float *logits, const uint32_t *chosen,
                   const float *weight, const float *dp, float *dlogits);
/* The part of one token in the loss that keeps experts equally in use; `weight` times its gradient
 * is added to that of the logits. bound: rows of all tokens (SM_EX_BOUNDS). */
double sm_grad_balance(const sm_experts_params *p, const float *logits, const uint32_t *bound,
                       double weight, float *dlogits);

/* ---- embedding (backward.c): collective ------------------------------------------------------ */

/* dE[ids[t]] += dx[t], and of positions likewise, each thread its columns: tokens in order,
 * whatever the threads. No barrier. */
void sm_grad_embedding(const sm_backward *b, const int32_t *ids);

/* ---- the backward pass (backward.c): called by one thread, runs on the team ------------------ */

/* What the head does with the n_rows tokens g->rows after a forward pass. */
typedef struct sm_head_job {
    const sm_adapters *adapters;
    uint32_t n_rows;
    bool backward;         /* gradients of head and final norm, and g->dx, too */
    double weight;         /* of each loss in gradients */
    const double *weights; /* [n_rows], instead */
    double *span_losses;   /* NULL, or to which the losses of the batch's spans are added */
    sm_teacher *teacher;   /* NULL, or what is learned too, with backward */
} sm_head_job;
/* *loss is the sum of the losses. SM_ERR_CANCELLED. */
sm_status sm_graph_head(sm_graph *g, const sm_train_batch *batch, const sm_head_job *job,
                        double *loss);
/* From g->dx back through layers and embedding. SM_ERR_CANCELLED. */
sm_status sm_graph_layers(sm_graph *g, const sm_train_batch *batch);

#endif
