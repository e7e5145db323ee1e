/* Backward of attention, causal and within the layer's window. With s = Q K^T,
 * P = softmax(scale s), O = P V and delta = sum(dO O) of each row, which is sum(P dP):
 *
 *   dV = P^T dO
 *   dP = dO V^T
 *   ds = scale P (dP - delta)
 *   dQ = ds K
 *   dK = ds^T Q
 *
 * P is computed again from the scores and the logarithms of their sums that the forward pass
 * left, a block of queries and keys at a time (arXiv:2205.14135, algorithm 4).
 *
 * In bf16 all of q, k, v and dO are rounded where they are read, in the forward pass too: a score
 * computed of other numbers would not fit lse (P could be anything where scores are large), and
 * where dP and delta are the same nothing may be left of their difference. P and ds are rounded as
 * inputs of the last three products. */
#include "graph.h"

#include <math.h>
#include <string.h>

/* One head of one span. */
typedef struct head {
    const float *q, *k, *v, *out, *dout; /* first token, this head */
    const float *lse;                    /* [n] rows n_head apart */
    float *dq, *dk, *dv;
    uint32_t n, window;
    float scale;
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

/* Queries [q0, q0 + nq) against keys [k0, k0 + nk). */
static void block(const sm_backward *b, const head *h, const float *delta, uint32_t q0, uint32_t nq,
                  uint32_t k0, uint32_t nk) {
    const sm_graph *g = b->g;
    const sm_grad_scratch *scratch = &g->threads[b->crew.thread];
    const uint64_t ldq = g->tape->ldq, ldkv = g->tape->ldkv, dim = g->net->config.head_dim;
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
        g->kernels->softmax_grad(row + begin, drow + begin, end - begin, h->scale,
                                 h->lse[(uint64_t)(q0 + i) * g->net->config.n_head], delta[i]);
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
    const uint64_t ldq = g->tape->ldq;
    const uint32_t n_blocks = (h->n + SM_GRAD_QUERIES - 1) / SM_GRAD_QUERIES;
    float delta[SM_GRAD_QUERIES];
    for (uint32_t i = n_blocks; i-- > 0;) {
        const uint32_t q0 = i * SM_GRAD_QUERIES;
        const uint32_t nq = h->n - q0 < SM_GRAD_QUERIES ? h->n - q0 : SM_GRAD_QUERIES;
        for (uint32_t t = 0; t < nq; t++)
            delta[t] = g->kernels->dot(h->out + (q0 + t) * ldq, h->dout + (q0 + t) * ldq,
                                       g->net->config.head_dim);
        for (uint32_t k0 = first_block(h, q0); k0 < q0 + nq; k0 += SM_GRAD_KEYS) {
            if (sm_crew_stopped(&b->crew))
                return;
            block(b, h, delta, q0, nq, k0,
                  q0 + nq - k0 < SM_GRAD_KEYS ? q0 + nq - k0 : SM_GRAD_KEYS);
        }
    }
}

/* dO as the products read it, for delta. */
static void round_rows(const sm_backward *b) {
    const sm_graph *g = b->g;
    const uint64_t n = (uint64_t)g->net->config.n_head * g->net->config.head_dim;
    uint16_t *rounded = g->threads[b->crew.thread].bf16;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++) {
        float *row = g->datt + t * g->tape->ldq;
        g->kernels->round_bf16(rounded, row, n);
        g->kernels->type[SM_DTYPE_BF16].dequantize(row, rounded, n);
    }
    sm_team_barrier(b->crew.team);
}

void sm_grad_attention(const sm_backward *b, const sm_layer *w, const sm_tape_layer *l) {
    const sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    const uint32_t n_tasks = g->n_spans * c->n_head, group = c->n_head / c->n_head_kv;
    if (g->options.precision == SM_PRECISION_BF16)
        round_rows(b);
    for (;;) {
        const uint32_t task = atomic_fetch_add_explicit(b->next_task, 1, memory_order_relaxed);
        if (task >= n_tasks)
            break;
        const sm_span *span = &g->spans[task / c->n_head];
        const uint64_t index = task % c->n_head;
        const uint64_t at = span->first * g->tape->ldq + index * c->head_dim;
        const uint64_t at_kv = span->first * g->tape->ldkv + index / group * c->head_dim;
        one_head(b, &(head){.q = l->q + at,
                            .k = l->k + at_kv,
                            .v = l->v + at_kv,
                            .out = l->att + at,
                            .dout = g->datt + at,
                            .lse = l->lse + (uint64_t)span->first * c->n_head + index,
                            .dq = g->dq + at,
                            .dk = g->dk_heads + at,
                            .dv = g->dv_heads + at,
                            .n = span->n,
                            .window = w->window,
                            .scale = 1.0f / sqrtf((float)c->head_dim)});
    }
    sm_team_barrier(b->crew.team);
}
