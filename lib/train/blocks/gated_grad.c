/* Backward of the gated feed-forward part: x += down(activation(gate n) * (up n)), n = norm(x). */
#include "train/graph.h"

enum { H, DH, DUP, BUFFERS }; /* [together][ldh]: h again, and gradients of it (then of gate), up */

static void part(const sm_backward *b, const sm_block *block) {
    sm_graph *g = b->g;
    const sm_graph_block *d = &g->blocks[block->index];
    const sm_places *l = &g->tape->blocks[block->index];
    const uint64_t ldx = g->tape->ldx, ld = sm_grad_ld(block, H), T = b->T;
    const uint64_t n_ff = block->gated.n_ff, n_embd = block->dims[SM_DIM_EMBD];
    const float *gate = (const float *)l->buffer[SM_GATED_AT_GATE] + b->first * ld;
    const float *up = (const float *)l->buffer[SM_GATED_AT_UP] + b->first * ld;
    const sm_master *G = sm_master_of(g, block, SM_GATED_GATE);
    const sm_master *U = sm_master_of(g, block, SM_GATED_UP);
    const sm_master *D = sm_master_of(g, block, SM_GATED_DOWN);
    const float *dy = sm_grad_output(b, block) + b->first * ldx;
    float *h = sm_grad_at(g, block, H);
    float *dgate = sm_grad_at(g, block, DH), *dup = sm_grad_at(g, block, DUP);
    sm_silu_mul_grad_fn *activate = sm_activation_grad_of(g->kernels, block->gated.activation);
    uint64_t begin, end;
    sm_grad_input(b, D, dy, ldx, T, NULL, dgate, ld, false);
    sm_share(T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n_ff); t++)
        activate(dgate + t * ld, dup + t * ld, h + t * ld, dgate + t * ld, gate + t * ld,
                 up + t * ld, n_ff);
    sm_grad_renorm(b, block);
    sm_lap_of(b, SM_PART_ROWS);
    sm_grad_bias(b, d->v[SM_GATED_DOWN_BIAS], dy, ldx, T, n_embd);
    sm_grad_weight(b, D, dy, ldx, h, ld, T, NULL);
    sm_grad_bias(b, d->v[SM_GATED_GATE_BIAS], dgate, ld, T, n_ff);
    sm_grad_bias(b, d->v[SM_GATED_UP_BIAS], dup, ld, T, n_ff);
    sm_grad_weight(b, G, dgate, ld, g->normed, ldx, T, NULL);
    sm_grad_weight(b, U, dup, ld, g->normed, ldx, T, NULL);
    sm_grad_input(b, G, dgate, ld, T, NULL, g->dn, ldx, false);
    sm_grad_input(b, U, dup, ld, T, NULL, g->dn, ldx, true);
    sm_grad_residual(b, block);
}

static void backward(const sm_backward *b, const sm_block *block) {
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward some = sm_grad_part(b, first);
        part(&some, block);
    }
}

const sm_grad_kind sm_grad_gated = {
    .backward = backward,
    .buffer = {[H] = {SM_DIM_FF, true}, [DH] = {SM_DIM_FF, true}, [DUP] = {SM_DIM_FF, true}},
    .n_buffers = BUFFERS,
};
