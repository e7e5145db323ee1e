/* Gated feed-forward part: x += down(activation(gate(norm(x))) * up(norm(x))). */
#include "worker.h"

#include <math.h>

const sm_kind sm_kind_gated = {
    .name = "gated",
    .id = SM_KIND_GATED,
    .n_slots = SM_GATED_SLOTS,
    .n_buffers = SM_GATED_BUFFERS,
    .n_joins = 2,
    .last = SM_GATED_DOWN,
    .last_bias = SM_GATED_DOWN_BIAS,
    .slot =
        {
            SM_WIRING_ROWS,
            [SM_GATED_GATE] = {"ffn_gate.weight", SM_DIM_FF, SM_DIM_EMBD, 0, 1, SM_ROLE_MATRIX,
                               SM_MUST},
            [SM_GATED_UP] = {"ffn_up.weight", SM_DIM_FF, SM_DIM_EMBD, 0, 1, SM_ROLE_MATRIX,
                             SM_MUST},
            [SM_GATED_DOWN] = {"ffn_down.weight", SM_DIM_EMBD, SM_DIM_FF, 0, 2, SM_ROLE_DOWN,
                               SM_MUST},
            [SM_GATED_GATE_BIAS] = {"ffn_gate.bias", SM_DIM_FF, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_GATED_UP_BIAS] = {"ffn_up.bias", SM_DIM_FF, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_GATED_DOWN_BIAS] = {"ffn_down.bias", SM_DIM_EMBD, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
        },
    .buffer =
        {
            [SM_GATED_AT_GATE] = {SM_DIM_FF, SM_KEEP, 0},
            [SM_GATED_AT_UP] = {SM_DIM_FF, SM_KEEP, 0},
            [SM_GATED_AT_H] = {SM_DIM_FF, 0, 0},
            [SM_GATED_AT_H_FORM] = {SM_DIM_FF, SM_FORMS, 0},
            [SM_GATED_AT_SPARSE] = {SM_DIM_FF_SPARSE, 0, 0},
        },
    .join = {{"ffn_up.weight", SM_GATED_GATE, 2, SM_IF_ASKED},
             {"ffn_up.bias", SM_GATED_GATE_BIAS, 2, SM_IF_ASKED}},
};

/* Rows are shared out in pieces of whole activation blocks, so that each thread quantizes what it
 * computed. */
#define UNIT 32

static sm_range share_rows(const sm_worker *w, const sm_block *b) {
    const uint32_t n_ff = b->gated.n_ff;
    uint64_t begin, end;
    sm_work_share_weights(w, (n_ff + UNIT - 1) / UNIT,
                          sm_weight_packed_bytes(b->w[SM_GATED_GATE]) +
                              sm_weight_packed_bytes(b->w[SM_GATED_UP]),
                          &begin, &end);
    return (sm_range){begin * UNIT, min_u64(end * UNIT, n_ff)};
}

double sm_gate_cutoff(const float *gate, uint64_t n, double k, double *mean, double *deviation) {
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)gate[i];
    *mean = sum / (double)n;
    for (uint64_t i = 0; i < n; i++)
        squares += ((double)gate[i] - *mean) * ((double)gate[i] - *mean);
    *deviation = sqrt(squares / (double)n);
    return *mean + k * *deviation;
}

/* Each thread its tokens: what is left of the gate, all of which is there. Barriers around it. */
static void cut_off(const sm_worker *w) {
    const sm_block *b = w->block;
    const uint64_t ld = b->ld[SM_GATED_AT_GATE], n = b->gated.n_ff;
    uint64_t begin, end;
    sm_team_barrier(w->team);
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        const float *gate = (const float *)w->at.buffer[SM_GATED_AT_GATE] + t * ld;
        float *left = (float *)w->at.buffer[SM_GATED_AT_SPARSE] + t * ld;
        double mean, deviation;
        const double cutoff =
            sm_gate_cutoff(gate, n, (double)b->gated.deviations, &mean, &deviation);
        for (uint64_t i = 0; i < n; i++)
            left[i] = (float)fmax((double)gate[i] - cutoff, 0);
    }
    sm_team_barrier(w->team);
}

/* Rows [r0, r1) of token t: h = activation(gate) * up, in down's form. */
static void activate(const sm_worker *w, sm_input_use use, uint64_t t, uint64_t r0, uint64_t r1) {
    const sm_block *b = w->block;
    const uint64_t ld = b->ld[SM_GATED_AT_H], at = t * ld + r0;
    const uint32_t from = b->gated.sparse ? SM_GATED_AT_SPARSE : SM_GATED_AT_GATE;
    float *gate = (float *)w->at.buffer[from] + at;
    float *up = (float *)w->at.buffer[SM_GATED_AT_UP] + at;
    float *h = use.floats ? (float *)w->at.buffer[SM_GATED_AT_H] + at : w->scratch->row;
    sm_act_block *formed = w->at.buffer[SM_GATED_AT_H_FORM];
    if (b->v[SM_GATED_GATE_BIAS])
        w->kernels->add(gate, gate, b->v[SM_GATED_GATE_BIAS] + r0, r1 - r0);
    if (b->v[SM_GATED_UP_BIAS])
        w->kernels->add(up, up, b->v[SM_GATED_UP_BIAS] + r0, r1 - r0);
    sm_activation_of(w->kernels, b->gated.activation)(h, gate, up, r1 - r0);
    sm_input_prepare(w, use.form, formed + t * b->ld[SM_GATED_AT_H_FORM] + r0 / 32, h, r1 - r0);
}

bool sm_gated_run(sm_worker *w, const sm_block *b, sm_input *in) {
    const sm_weight *G = b->w[SM_GATED_GATE], *U = b->w[SM_GATED_UP], *D = b->w[SM_GATED_DOWN];
    const uint64_t ld = b->ld[SM_GATED_AT_H];
    float *gate = w->at.buffer[SM_GATED_AT_GATE], *up = w->at.buffer[SM_GATED_AT_UP];
    const sm_input_use use = sm_input_use_of(w, D);
    const sm_range rows = share_rows(w, b), groups = sm_groups_of(rows);
    const bool sparse = b->gated.sparse;
    for (uint64_t t0 = 0, t1; t0 < w->T && rows.begin < rows.end; t0 = t1) {
        t1 = min_u64(t0 + sm_tokens_together(w, G), w->T);
        sm_product_compute(w, G, groups.begin, groups.end, in, t0, t1 - t0, gate + t0 * ld, ld);
        sm_product_compute(w, U, groups.begin, groups.end, in, t0, t1 - t0, up + t0 * ld, ld);
        for (uint64_t t = t0; t < t1 && !sparse; t++)
            activate(w, use, t, rows.begin, rows.end);
    }
    if (sparse)
        cut_off(w);
    for (uint64_t t = 0; t < w->T && sparse && rows.begin < rows.end; t++)
        activate(w, use, t, rows.begin, rows.end);
    sm_expect(w, D, sm_share_groups(w, D));
    sm_team_barrier(w->team);
    *in = (sm_input){w->at.buffer[SM_GATED_AT_H], ld, w->at.buffer[SM_GATED_AT_H_FORM],
                     b->ld[SM_GATED_AT_H_FORM]};
    return true;
}

void sm_gated_expect(const sm_worker *w, const sm_block *b) {
    const sm_range groups = sm_groups_of(share_rows(w, b));
    sm_expect(w, b->w[SM_GATED_GATE], groups);
    sm_expect(w, b->w[SM_GATED_UP], groups);
}
