/* Backward of attention, causal and within the layer's window. With s = Q K^T,
 * P = softmax(scale s), O = P V and delta = sum(dO O) of each row, which is sum(P dP):
 *
 *   dV = P^T dO
 *   dP = dO V^T
 *   ds = scale P (dP - delta)
 *   dQ = ds K
 *   dK = ds^T Q
 *
 * A sink is a score whose value is 0: of its weight p, which lse tells, ds = -p delta.
 *
 * P is computed again from the scores and the logarithms of their sums that the forward pass
 * left, a block of queries and keys at a time (arXiv:2205.14135, algorithm 4).
 *
 * In bf16 all of q, k, v and dO are rounded where they are read, in the forward pass too: a score
 * computed of other numbers would not fit lse (P could be anything where scores are large), and
 * where dP and delta are the same nothing may be left of their difference. P and ds are rounded as
 * inputs of the last three products. */
#include "train/graph.h"

#include <math.h>
#include <string.h>

/* One head of one span. */
typedef struct head {
    const float *q, *k, *v, *out, *dout; /* first token, this head */
    const float *lse;                    /* [n] rows ldl apart */
    const float *sink;                   /* NULL: none */
    float *dq, *dk, *dv;
    float *dsink;            /* [n] rows ldl apart */
    uint64_t ldq, ldkv, ldl; /* all but k and v have rows of queries */
    uint32_t n, window, dim;
    float scale, cap, slope; /* what a score loses by distance; 0: nothing */
} head;

/* The first key of the first block of keys that query i sees. */
static uint32_t first_block(const head *h, uint32_t i) {
    return sm_window_begin(h->window, i) / SM_GRAD_KEYS * SM_GRAD_KEYS;
}

static void product(const sm_backward *b, uint64_t m, uint64_t n, uint64_t k, const float *a,
                    uint64_t lda, bool a_transposed, const float *x, uint64_t ldx,
                    bool x_transposed, float *y, uint64_t ldy, bool accumulate) {
    sm_gemm_alone(&b->crew, &(sm_gemm_args){.M = m,
                                            .N = n,
                                            .K = k,
                                            .a = a,
                                            .lda = lda,
                                            .a_transposed = a_transposed,
                                            .b = x,
                                            .ldb = ldx,
                                            .b_transposed = x_transposed,
                                            .c = y,
                                            .ldc = ldy,
                                            .accumulate = accumulate,
                                            .precision = b->g->options.precision});
}

/* Scores of n keys that a query sees, the first at `distance` from it, become p, dp becomes ds. */
static void weights_back(const sm_kernels *k, const head *h, float *s, float *dp, uint32_t n,
                         float lse, float delta, float distance) {
    const bool capped = h->cap > 0;
    float scores[SM_GRAD_KEYS];
    if (!capped && h->slope == 0) {
        k->softmax_grad(s, dp, n, h->scale, lse, delta);
        return;
    }
    if (capped) {
        k->soft_cap(scores, s, n, h->scale, h->cap);
        memcpy(s, scores, n * sizeof *s);
    }
    if (h->slope != 0)
        k->add_slope(s, s, n, capped ? 1 : h->scale, h->slope, distance);
    k->softmax_grad(s, dp, n, 1, lse, delta);
    if (capped)
        k->soft_cap_grad(dp, scores, n, h->scale, h->cap);
    else
        k->scale(dp, dp, h->scale, n);
}

/* Queries [q0, q0 + nq) against keys [k0, k0 + nk). */
static void block(const sm_backward *b, const head *h, const float *delta, uint32_t q0, uint32_t nq,
                  uint32_t k0, uint32_t nk) {
    const sm_graph *g = b->g;
    const sm_grad_scratch *scratch = &g->threads[b->crew.thread];
    const uint64_t ldq = h->ldq, ldkv = h->ldkv, dim = h->dim;
    const float *q = h->q + q0 * ldq, *dout = h->dout + q0 * ldq;
    const float *k = h->k + k0 * ldkv, *v = h->v + k0 * ldkv;
    float *s = scratch->s, *ds = scratch->ds;
    product(b, nq, nk, dim, q, ldq, false, k, ldkv, true, s, SM_GRAD_KEYS, false);
    product(b, nq, nk, dim, dout, ldq, false, v, ldkv, true, ds, SM_GRAD_KEYS, false);
    for (uint32_t i = 0; i < nq; i++) {
        float *row = s + i * SM_GRAD_KEYS, *drow = ds + i * SM_GRAD_KEYS;
        /* query i sees keys [begin, end) of the block, perhaps none */
        const uint32_t last = q0 + i + 1 < k0 ? 0 : q0 + i + 1 - k0;
        const uint32_t earliest = sm_window_begin(h->window, q0 + i);
        const uint32_t end = last < nk ? last : nk;
        uint32_t begin = earliest > k0 ? earliest - k0 : 0;
        begin = begin < end ? begin : end;
        memset(row, 0, begin * sizeof *row);
        memset(drow, 0, begin * sizeof *drow);
        weights_back(g->kernels, h, row + begin, drow + begin, end - begin,
                     h->lse[(q0 + i) * h->ldl], delta[i], (float)((int64_t)k0 + begin - (q0 + i)));
        memset(row + end, 0, (nk - end) * sizeof *row);
        memset(drow + end, 0, (nk - end) * sizeof *drow);
    }
    /* queries go from last to first: the first of them to see a block of keys write its gradient,
     * all of it, and the others add */
    const bool add = q0 + nq < h->n && first_block(h, q0 + nq) <= k0;
    product(b, nk, dim, nq, s, SM_GRAD_KEYS, true, dout, ldq, false, h->dv + k0 * ldq, ldq, add);
    product(b, nk, dim, nq, ds, SM_GRAD_KEYS, true, q, ldq, false, h->dk + k0 * ldq, ldq, add);
    product(b, nq, dim, nk, ds, SM_GRAD_KEYS, false, k, ldkv, false, h->dq + q0 * ldq, ldq,
            k0 > first_block(h, q0));
}

static void one_head(const sm_backward *b, const head *h) {
    const sm_graph *g = b->g;
    const uint64_t ldq = h->ldq;
    const uint32_t n_blocks = (h->n + SM_GRAD_QUERIES - 1) / SM_GRAD_QUERIES;
    float delta[SM_GRAD_QUERIES];
    for (uint32_t i = n_blocks; i-- > 0;) {
        const uint32_t q0 = i * SM_GRAD_QUERIES;
        const uint32_t nq = h->n - q0 < SM_GRAD_QUERIES ? h->n - q0 : SM_GRAD_QUERIES;
        for (uint32_t t = 0; t < nq; t++)
            delta[t] = g->kernels->dot(h->out + (q0 + t) * ldq, h->dout + (q0 + t) * ldq, h->dim);
        for (uint32_t t = q0; t < q0 + nq && h->sink; t++)
            h->dsink[t * h->ldl] = -expf(*h->sink - h->lse[t * h->ldl]) * delta[t - q0];
        for (uint32_t k0 = first_block(h, q0); k0 < q0 + nq; k0 += SM_GRAD_KEYS) {
            if (sm_crew_stopped(&b->crew))
                return;
            block(b, h, delta, q0, nq, k0,
                  q0 + nq - k0 < SM_GRAD_KEYS ? q0 + nq - k0 : SM_GRAD_KEYS);
        }
    }
}

/* dO as the products read it, for delta. */
static void round_rows(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t n = block->dims[SM_DIM_Q], ld = sm_grad_ld(block, SM_GRAD_OUT);
    uint16_t *rounded = g->threads[b->crew.thread].bf16;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++) {
        float *row = sm_grad_at(g, block, SM_GRAD_OUT) + t * ld;
        g->kernels->round_bf16(rounded, row, n);
        g->kernels->type[SM_DTYPE_BF16].dequantize(row, rounded, n);
    }
    sm_team_barrier(b->crew.team);
}

/* NULL: none; other kinds that attend have other slots. */
static const float *sinks_of(const sm_block *block) {
    return block->kind == &sm_kind_attention ? block->v[SM_ATTN_SINKS] : NULL;
}

/* Query head `index` of a span. */
static head head_of(const sm_graph *g, const sm_block *block, const sm_span *span, uint64_t index) {
    const sm_attn_params *p = &block->attn;
    const sm_places *l = &g->tape->blocks[block->index];
    const sm_places *keys = p->borrows ? &g->tape->blocks[p->lender] : l;
    const uint64_t *ld = block->ld, ldq = ld[SM_AT_Q], ldkv = ld[SM_AT_K];
    const uint64_t at = span->first * ldq + index * p->head_dim;
    const uint64_t at_kv = span->first * ldkv + index / (p->n_head / p->n_head_kv) * p->head_dim;
    const float *sinks = sinks_of(block);
    float *dsink = sinks ? sm_grad_at(g, block, SM_GRAD_SINKS) : NULL;
    if (sinks)
        dsink += span->first * ld[SM_AT_LSE] + index;
    return (head){.q = (const float *)l->buffer[SM_AT_Q] + at,
                  .k = (const float *)keys->buffer[SM_AT_K] + at_kv,
                  .v = (const float *)keys->buffer[SM_AT_V] + at_kv,
                  .out = (const float *)l->buffer[SM_AT_OUT] + at,
                  .dout = sm_grad_at(g, block, SM_GRAD_OUT) + at,
                  .lse = (const float *)l->buffer[SM_AT_LSE] + span->first * ld[SM_AT_LSE] + index,
                  .sink = sinks ? sinks + index : NULL,
                  .dsink = dsink,
                  .dq = sm_grad_at(g, block, SM_GRAD_Q) + at,
                  .dk = sm_grad_at(g, block, SM_GRAD_K_HEADS) + at,
                  .dv = sm_grad_at(g, block, SM_GRAD_V_HEADS) + at,
                  .ldq = ldq,
                  .ldkv = ldkv,
                  .ldl = ld[SM_AT_LSE],
                  .n = span->n,
                  .window = p->window,
                  .dim = p->head_dim,
                  .scale = p->scale,
                  .cap = p->cap,
                  .slope = p->slopes ? p->slopes[index] : 0};
}

void sm_grad_attend(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint32_t n_head = block->attn.n_head, n_tasks = g->n_spans * n_head;
    if (g->options.precision == SM_PRECISION_BF16)
        round_rows(b, block);
    for (;;) {
        const uint32_t task = atomic_fetch_add_explicit(b->next_task, 1, memory_order_relaxed);
        if (task >= n_tasks)
            break;
        const head h = head_of(g, block, &g->spans[task / n_head], task % n_head);
        one_head(b, &h);
    }
    sm_team_barrier(b->crew.team);
    if (sinks_of(block))
        sm_grad_bias(b, g->blocks[block->index].v[SM_ATTN_SINKS],
                     sm_grad_at(g, block, SM_GRAD_SINKS), sm_grad_ld(block, SM_GRAD_SINKS), b->T,
                     block->attn.n_head);
}
