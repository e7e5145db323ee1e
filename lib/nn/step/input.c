/* What products read, made from rows of x. */
#include "worker.h"

sm_input_use sm_input_use_of(const sm_worker *w, const sm_weight *W) {
    const bool others = (w->adapters && w->adapters->n) || (w->batch && w->batch->observer);
    return (sm_input_use){W->input_form, W->input_floats || others};
}

void sm_input_prepare(const sm_worker *w, sm_input_form form, sm_act_block *out, const float *x,
                      uint64_t n) {
    if (form == SM_INPUT_BLOCKS)
        w->kernels->quantize(out, x, n);
    else if (form == SM_INPUT_BF16)
        w->kernels->round_bf16((uint16_t *)(void *)out, x, n);
}

/* A single token is normed by every thread for itself, which costs less than a barrier. Where no
 * one reads them, floats are not left in memory. */
sm_input sm_input_norm(const sm_worker *w, const sm_block *b, const float *x, sm_input_use use,
                       const uint32_t *rows, uint64_t n) {
    sm_workspace *ws = w->ws;
    const uint64_t k = w->c->n_embd, blocks = ws->blocks_x;
    const bool alone = n == 1, normed = sm_is_normed(b);
    float *f = alone ? w->scratch->vector : use.floats ? ws->normed : w->scratch->row;
    const uint64_t ldf = use.floats ? ws->ldx : 0;
    sm_act_block *q = alone ? w->scratch->blocks : ws->normed_q;
    uint64_t begin = 0, end = n;
    if (!alone)
        sm_work_share(w, n, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        const float *row = x + (rows ? rows[t] : t) * ws->ldx;
        if (normed) {
            sm_norm_before(w->kernels, b, f + t * ldf, row, w->c->norm_eps);
            row = f + t * ldf;
        }
        sm_input_prepare(w, use.form, q + t * blocks, row, k);
    }
    if (!alone)
        sm_team_barrier(w->team);
    return normed ? (sm_input){f, ldf, q, blocks} : (sm_input){x, ws->ldx, q, blocks};
}
