/* A matrix alone: x += W norm(x). Its product is the block's last as well as its first. */
#include "worker.h"

const sm_kind sm_kind_linear = {
    .name = "linear",
    .id = SM_KIND_LINEAR,
    .n_slots = SM_LINEAR_SLOTS,
    .last = SM_LINEAR_MATRIX,
    .last_bias = SM_LINEAR_BIAS,
    .slot = {SM_WIRING_ROWS,
             [SM_LINEAR_MATRIX] = {"attn_output.weight", SM_DIM_EMBD, SM_DIM_EMBD, 0, 1,
                                   SM_ROLE_RESIDUAL, SM_MUST},
             [SM_LINEAR_BIAS] = {"attn_output.bias", SM_DIM_EMBD, 0, 0, 0, SM_ROLE_BIAS, SM_MAY}},
};

bool sm_linear_run(sm_worker *w, const sm_block *b, sm_input *in) {
    (void)b, (void)in; /* what is normed is what the last product reads */
    if (w->T == 1)     /* where each thread normed for itself, and sums go next */
        sm_team_barrier(w->team);
    return true;
}

void sm_linear_expect(const sm_worker *w, const sm_block *b) {
    const sm_weight *W = b->w[SM_LINEAR_MATRIX];
    sm_expect(w, W, sm_share_groups(w, W));
}
