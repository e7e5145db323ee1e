/* Backward of a matrix alone: x += W n, n = norm(x). */
#include "train/graph.h"

static void part(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_master *W = sm_master_of(g, block, SM_LINEAR_MATRIX);
    const uint64_t ldx = g->tape->ldx;
    const float *dy = sm_grad_output(b, block) + b->first * ldx;
    sm_grad_renorm(b, block);
    sm_grad_bias(b, g->blocks[block->index].v[SM_LINEAR_BIAS], dy, ldx, b->T,
                 block->dims[SM_DIM_EMBD]);
    sm_grad_weight(b, W, dy, ldx, g->normed, ldx, b->T, NULL);
    sm_grad_input(b, W, dy, ldx, b->T, NULL, g->dn, ldx, false);
    sm_grad_residual(b, block);
}

static void backward(const sm_backward *b, const sm_block *block) {
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward some = sm_grad_part(b, first);
        part(&some, block);
    }
}

const sm_grad_kind sm_grad_linear = {.backward = backward};
