/* Plain feed-forward part: x += down(activation(up(norm(x)))). */
#include "worker.h"

#include <math.h>

const sm_kind sm_kind_plain = {
    .name = "plain",
    .id = SM_KIND_PLAIN,
    .n_slots = SM_PLAIN_SLOTS,
    .n_buffers = SM_PLAIN_BUFFERS,
    .last = SM_PLAIN_DOWN,
    .last_bias = SM_PLAIN_DOWN_BIAS,
    .slot =
        {
            SM_WIRING_ROWS,
            [SM_PLAIN_UP] = {"ffn_up.weight", SM_DIM_FF, SM_DIM_EMBD, 0, 1, SM_ROLE_MATRIX,
                             SM_MUST},
            [SM_PLAIN_DOWN] = {"ffn_down.weight", SM_DIM_EMBD, SM_DIM_FF, 0, 2, SM_ROLE_DOWN,
                               SM_MUST},
            [SM_PLAIN_UP_BIAS] = {"ffn_up.bias", SM_DIM_FF, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_PLAIN_DOWN_BIAS] = {"ffn_down.bias", SM_DIM_EMBD, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
        },
    .buffer =
        {
            [SM_PLAIN_AT_UP] = {SM_DIM_FF, SM_KEEP, 0},
            [SM_PLAIN_AT_H] = {SM_DIM_FF, 0, 0},
            [SM_PLAIN_AT_H_FORM] = {SM_DIM_FF, SM_FORMS, 0},
        },
};

/* Rows are shared out in pieces of whole activation blocks, so that each thread quantizes what it
 * computed. */
#define UNIT 32

static sm_range share_rows(const sm_worker *w, const sm_block *b) {
    const uint32_t n_ff = b->plain.n_ff;
    uint64_t begin, end;
    sm_work_share_weights(w, (n_ff + UNIT - 1) / UNIT, sm_weight_packed_bytes(b->w[SM_PLAIN_UP]),
                          &begin, &end);
    return (sm_range){begin * UNIT, min_u64(end * UNIT, n_ff)};
}

static void xielu(const sm_xielu *a, float *y, const float *x, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        y[i] = a->b * x[i] +
               (x[i] > 0 ? a->p * x[i] * x[i] : a->n * (expm1f(x[i] < a->e ? x[i] : a->e) - x[i]));
}

/* Rows [r0, r1) of token t: h = activation(up), in down's form. */
static void activate(const sm_worker *w, sm_input_use use, uint64_t t, uint64_t r0, uint64_t r1) {
    const sm_block *b = w->block;
    const uint64_t ld = b->ld[SM_PLAIN_AT_H], at = t * ld + r0;
    float *up = (float *)w->at.buffer[SM_PLAIN_AT_UP] + at;
    float *h = use.floats ? (float *)w->at.buffer[SM_PLAIN_AT_H] + at : w->scratch->row;
    sm_act_block *formed = w->at.buffer[SM_PLAIN_AT_H_FORM];
    if (b->v[SM_PLAIN_UP_BIAS])
        w->kernels->add(up, up, b->v[SM_PLAIN_UP_BIAS] + r0, r1 - r0);
    if (b->plain.activation == SM_XIELU)
        xielu(&b->plain.xielu, h, up, r1 - r0);
    else
        sm_activation_of(w->kernels, b->plain.activation)(h, up, NULL, r1 - r0);
    sm_input_prepare(w, use.form, formed + t * b->ld[SM_PLAIN_AT_H_FORM] + r0 / 32, h, r1 - r0);
}

bool sm_plain_run(sm_worker *w, const sm_block *b, sm_input *in) {
    const sm_weight *U = b->w[SM_PLAIN_UP], *D = b->w[SM_PLAIN_DOWN];
    const uint64_t ld = b->ld[SM_PLAIN_AT_H];
    float *up = w->at.buffer[SM_PLAIN_AT_UP];
    const sm_input_use use = sm_input_use_of(w, D);
    const sm_range rows = share_rows(w, b), groups = sm_groups_of(rows);
    for (uint64_t t0 = 0, t1; t0 < w->T && rows.begin < rows.end; t0 = t1) {
        t1 = min_u64(t0 + sm_tokens_together(w, U), w->T);
        sm_product_compute(w, U, groups.begin, groups.end, in, t0, t1 - t0, up + t0 * ld, ld);
        for (uint64_t t = t0; t < t1; t++)
            activate(w, use, t, rows.begin, rows.end);
    }
    sm_expect(w, D, sm_share_groups(w, D));
    sm_team_barrier(w->team);
    *in = (sm_input){w->at.buffer[SM_PLAIN_AT_H], ld, w->at.buffer[SM_PLAIN_AT_H_FORM],
                     b->ld[SM_PLAIN_AT_H_FORM]};
    return true;
}

void sm_plain_expect(const sm_worker *w, const sm_block *b) {
    sm_expect(w, b->w[SM_PLAIN_UP], sm_groups_of(share_rows(w, b)));
}
