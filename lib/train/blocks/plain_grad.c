/* Backward of the plain feed-forward part: x += down(activation(up n)), n = norm(x). */
#include "train/graph.h"

#include <math.h>

enum { H, DUP, BUFFERS }; /* [together][ldh]: h again; the gradient of it, then of up */

/* From dh, in dup, to that of up, and h again. */
static void xielu_back(const sm_xielu *a, float *dup, float *h, const float *up, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        const float x = up[i], low = x < a->e ? x : a->e;
        h[i] = a->b * x + (x > 0 ? a->p * x * x : a->n * (expm1f(low) - x));
        dup[i] *= a->b + (x > 0 ? 2 * a->p * x : a->n * ((x < a->e ? expf(x) : 0) - 1));
    }
}

static void part(const sm_backward *b, const sm_block *block) {
    sm_graph *g = b->g;
    const sm_graph_block *d = &g->blocks[block->index];
    const sm_places *l = &g->tape->blocks[block->index];
    const uint64_t ldx = g->tape->ldx, ld = sm_grad_ld(block, H), T = b->T;
    const uint64_t n_ff = block->plain.n_ff;
    const float *up = (const float *)l->buffer[SM_PLAIN_AT_UP] + b->first * ld;
    const sm_master *U = sm_master_of(g, block, SM_PLAIN_UP);
    const sm_master *D = sm_master_of(g, block, SM_PLAIN_DOWN);
    const float *dy = sm_grad_output(b, block) + b->first * ldx;
    float *h = sm_grad_at(g, block, H), *dup = sm_grad_at(g, block, DUP);
    const bool xielu = block->plain.activation == SM_XIELU;
    sm_silu_mul_grad_fn *activate =
        xielu ? NULL : sm_activation_grad_of(g->kernels, block->plain.activation);
    uint64_t begin, end;
    sm_grad_input(b, D, dy, ldx, T, NULL, dup, ld, false);
    sm_share(T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n_ff); t++)
        if (xielu)
            xielu_back(&block->plain.xielu, dup + t * ld, h + t * ld, up + t * ld, n_ff);
        else
            activate(dup + t * ld, NULL, h + t * ld, dup + t * ld, up + t * ld, NULL, n_ff);
    sm_grad_renorm(b, block);
    sm_lap_of(b, SM_PART_ROWS);
    sm_grad_bias(b, d->v[SM_PLAIN_DOWN_BIAS], dy, ldx, T, block->dims[SM_DIM_EMBD]);
    sm_grad_weight(b, D, dy, ldx, h, ld, T, NULL);
    sm_grad_bias(b, d->v[SM_PLAIN_UP_BIAS], dup, ld, T, n_ff);
    sm_grad_weight(b, U, dup, ld, g->normed, ldx, T, NULL);
    sm_grad_input(b, U, dup, ld, T, NULL, g->dn, ldx, false);
    sm_grad_residual(b, block);
}

static void backward(const sm_backward *b, const sm_block *block) {
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward some = sm_grad_part(b, first);
        part(&some, block);
    }
}

const sm_grad_kind sm_grad_plain = {
    .backward = backward,
    .buffer = {[H] = {SM_DIM_FF, true}, [DUP] = {SM_DIM_FF, true}},
    .n_buffers = BUFFERS,
};
