/* What products read, made from rows of x. */
#include "step.h"

void sm_input_prepare(const sm_worker *w, sm_input_form form, sm_act_block *out, const float *x,
                      uint64_t n) {
    if (form == SM_INPUT_BLOCKS)
        w->kernels->quantize(out, x, n);
    else if (form == SM_INPUT_BF16)
        w->kernels->round_bf16((uint16_t *)(void *)out, x, n);
}

/* A single token is normed by every thread for itself, which costs less than a barrier. */
sm_input sm_input_norm(const sm_worker *w, const float *x, const float *weight, sm_input_form form,
                       const uint32_t *rows, uint64_t n) {
    sm_workspace *ws = w->ws;
    const uint64_t k = w->c->n_embd, blocks = ws->blocks_x;
    const bool alone = n == 1;
    float *f = alone ? w->scratch->vector : ws->normed;
    sm_act_block *q = alone ? w->scratch->blocks : ws->normed_q;
    uint64_t begin = 0, end = n;
    if (!alone)
        sm_work_share(w, n, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        w->kernels->rms_norm(f + t * ws->ldx, x + (rows ? rows[t] : t) * ws->ldx, weight, k,
                             w->c->norm_eps);
        sm_input_prepare(w, form, q + t * blocks, f + t * ws->ldx, k);
    }
    if (!alone)
        sm_team_barrier(w->team);
    return (sm_input){f, ws->ldx, q, blocks};
}
