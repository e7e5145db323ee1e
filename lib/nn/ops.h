/* ops.h - the operators a forward pass is made of, as one thread of a team runs
 * them. Private to lib/nn.
 */
#ifndef SM_OPS_H
#define SM_OPS_H

#include "step.h"

/* What a matrix reads: T columns as f32 and as the matrix wants them. */
typedef struct sm_input {
    const float *f; /* [T][ldf] */
    uint64_t ldf;
    const sm_act_block *q; /* [T][ldq] of the form other than f32, or NULL; 32 elements rounded
                              to bf16 take the room of a block */
    uint64_t ldq;
} sm_input;
_Static_assert(sizeof(sm_act_block) == 32 * sizeof(uint16_t), "forms are as large");

/* Scratch that belongs to one thread. */
typedef struct sm_thread_scratch {
    sm_stop *stop;        /* of the running step */
    bool asks;            /* this is thread 0 */
    void *gemm;           /* SM_GEMM_SCRATCH */
    uint8_t *pack;        /* SM_GEMM_GROUPS groups of one slab of any type */
    float *unfolded;      /* [SM_GROUP][SM_SLAB] of quantized weights; NULL: none do so */
    float *dropped;       /* [SM_MUL_COLS][widest input], with dropout */
    float *vector;        /* one normed or attended token */
    sm_act_block *blocks; /* the same in another form */
    float *row;           /* of an input that is kept in another form only */
    float *logits;        /* a piece of every output's logits */
    float *attn_q, *attn_s, *attn_o, *attn_acc, *attn_m, *attn_l; /* see attend.c */
    sm_act_block *attn_qq; /* queries as a quantized cache wants them */
    uint8_t *attn_values;  /* a block's, where the end of a ring lies inside; NULL: no windows */
} sm_thread_scratch;

/* y[t][r] = sum_k W[r][k] x[t][k] for the rows of groups [g0, g1) (16 rows each; rows
 * past W->rows are written as 0) and T columns. y points at row 0, column 0. With add the
 * chains go on from what y holds. */
void sm_matmul(const sm_kernels *kernels, const sm_weight *W, uint64_t g0, uint64_t g1,
               const sm_input *x, uint64_t T, float *y, uint64_t ldy, bool add,
               sm_thread_scratch *scratch);
/* Asks for the beginning of what sm_matmul with these groups and one column will read, where
 * nothing else does before the first loads: hardware takes a while to notice a stream. */
void sm_matmul_expect(const sm_weight *W, uint64_t g0, uint64_t g1);

/* True if the step has been cancelled; asks the hook if this thread is the one to. */
bool sm_stopped(const sm_thread_scratch *scratch);

/* Attention of one block. */
typedef struct sm_attn {
    const sm_kernels *kernels;
    sm_attn_params p;
    const float *sinks; /* [n_head] or NULL */
    uint32_t state;     /* whose keys and values */
    uint32_t width;     /* head_dim as the cache has it, a multiple of 8 */
    bool rounded; /* sm_attn_prefill rounds queries to bf16; the cache is not quantized then */
} sm_attn;

static inline sm_kv *sm_attn_kv(const sm_attn *a, const sm_span *span) {
    return &span->state->kv[a->state];
}

/* The blocks of SM_KV_BLOCK tokens that a token at `position` sees something of: [*first, *end). */
void sm_attn_blocks(uint32_t window, uint32_t position, uint32_t *first, uint32_t *end);

/* Queries that one prefill task handles at most, all heads of a group counted, and its tokens. */
uint32_t sm_attn_chunk(const sm_attn_params *p, uint32_t *tokens);

/* Queries that a thread has prepared at most, for a prefill task or one decoded token. */
uint32_t sm_attn_queries(const sm_attn_params *p);

/* out[t] = attention of tokens [first, first + n) of a span for all query heads of one
 * kv head. q, out: [T][n_head*head_dim] of the whole batch. lse, unless NULL, gets
 * [T][ldl] the log of each head's softmax's sum. */
void sm_attn_prefill(const sm_attn *a, const sm_span *span, uint32_t kv_head, uint32_t first,
                     uint32_t n, const float *q, uint64_t ldq, float *out, uint64_t ldo, float *lse,
                     uint64_t ldl, sm_thread_scratch *scratch);

/* Before the blocks of one token: q[n_head*head_dim] as the span's cache wants it, for this
 * thread. Valid until the scratch is used for other queries. */
const void *sm_attn_decode_queries(const sm_attn *a, const sm_span *span, const float *q,
                                   sm_thread_scratch *scratch);
/* One token: partial result of one KV block for query heads [head, head + n), all of one kv head,
 * into o[n_head][width], m[n_head], l[n_head] of that block. q: of sm_attn_decode_queries. */
void sm_attn_decode_block(const sm_attn *a, const sm_span *span, uint32_t head, uint32_t n,
                          uint32_t block, const void *q, float *o, float *m, float *l,
                          sm_thread_scratch *scratch);
/* Combines the blocks of one token in their order: out[n_head][head_dim]. */
void sm_attn_decode_merge(const sm_attn *a, uint32_t n_blocks, const float *o, const float *m,
                          const float *l, float *out, sm_thread_scratch *scratch);

#endif
