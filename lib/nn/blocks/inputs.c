/* What layers read of a token beside the residual stream: all their inputs, made before the first
 * layer, and what a layer makes of its own; and a scale of the stream. */
#include "worker.h"

#include <math.h>
#include <string.h>

const sm_kind sm_kind_inputs = {
    .name = "inputs",
    .id = SM_KIND_INPUTS,
    .n_slots = SM_INPUTS_SLOTS,
    .n_buffers = SM_IN_BUFFERS,
    .outside = true,
    .slot = {SM_WIRING_ROWS,
             [SM_INPUTS_PROJECTION] = {"per_layer_model_proj.weight", SM_DIM_INPUTS, SM_DIM_EMBD, 0,
                                       1, SM_ROLE_MATRIX, SM_MUST},
             [SM_INPUTS_NORM] = {"per_layer_proj_norm.weight", SM_DIM_INPUT, 0, 0, 0, SM_ROLE_NORM,
                                 SM_MUST}},
    .buffer =
        {[SM_IN_RAW] = {SM_DIM_INPUTS, SM_KEEP, 0}, [SM_IN_INPUTS] = {SM_DIM_INPUTS, SM_KEEP, 0}},
};

const sm_kind sm_kind_layer_input = {
    .name = "layer input",
    .id = SM_KIND_LAYER_INPUT,
    .n_slots = SM_LAYER_INPUT_SLOTS,
    .n_buffers = SM_LI_BUFFERS,
    .last = SM_LAYER_INPUT_PROJECTION,
    .slot = {SM_WIRING_ROWS,
             [SM_LAYER_INPUT_GATE] = {"inp_gate.weight", SM_DIM_INPUT, SM_DIM_EMBD, 0, 1,
                                      SM_ROLE_MATRIX, SM_MUST},
             [SM_LAYER_INPUT_PROJECTION] = {"proj.weight", SM_DIM_EMBD, SM_DIM_INPUT, 0, 2,
                                            SM_ROLE_RESIDUAL, SM_MUST}},
    .buffer = {[SM_LI_GATE] = {SM_DIM_INPUT, SM_KEEP, 0},
               [SM_LI_H] = {SM_DIM_INPUT, 0, 0},
               [SM_LI_H_FORM] = {SM_DIM_INPUT, SM_FORMS, 0}},
};

const sm_kind sm_kind_scale = {
    .name = "scale",
    .id = SM_KIND_SCALE,
    .n_slots = SM_SCALE_SLOTS,
    .slot = {SM_WIRING_ROWS, [SM_SCALE_SCALE] = {"layer_output_scale.weight", SM_DIM_ONE, 0, 0, 0,
                                                 SM_ROLE_NORM, SM_IF_ASKED}},
};

/* Rows are shared out in pieces of whole activation blocks. */
#define UNIT 32

/* ---- all inputs ------------------------------------------------------------------------------ */

/* Token t: from the projection's part of each layer and the token's row to its inputs. */
static void combine(const sm_worker *w, uint64_t t) {
    const sm_block *b = w->block;
    const sm_weight *E = &w->net->inputs;
    const uint64_t n = b->inputs.n, all = b->dims[SM_DIM_INPUTS];
    float *raw = (float *)w->at.buffer[SM_IN_RAW] + t * b->ld[SM_IN_RAW];
    float *inputs = (float *)w->at.buffer[SM_IN_INPUTS] + t * b->ld[SM_IN_INPUTS];
    float *normed = w->scratch->row;
    w->kernels->scale(raw, raw, 1 / sqrtf((float)b->dims[SM_DIM_EMBD]), all);
    w->kernels->type[E->type].dequantize(inputs,
                                         E->data + (uint64_t)w->batch->ids[t] * E->row_bytes, all);
    w->kernels->scale(inputs, inputs, sqrtf((float)n), all);
    for (uint64_t i = 0; i < all; i += n) {
        w->kernels->rms_norm(normed, raw + i, b->v[SM_INPUTS_NORM], n, w->c->norm_eps);
        w->kernels->add(inputs + i, inputs + i, normed, n);
    }
    w->kernels->scale(inputs, inputs, sqrtf(0.5f), all);
}

bool sm_inputs_run(sm_worker *w, const sm_block *b, sm_input *in) {
    const sm_weight *P = b->w[SM_INPUTS_PROJECTION];
    const sm_range groups = sm_share_groups(w, P);
    const uint64_t ldx = w->ws->ldx;
    uint64_t begin, end;
    if (groups.begin < groups.end)
        sm_product_compute(w, P, groups.begin, groups.end, in, 0, w->T, w->at.buffer[SM_IN_RAW],
                           b->ld[SM_IN_RAW]);
    sm_team_barrier(w->team);
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        combine(w, t);
        if (w->at.out != w->at.x)
            memcpy(w->at.out + t * ldx, w->at.x + t * ldx, w->c->n_embd * sizeof(float));
    }
    return true;
}

/* ---- a layer's ------------------------------------------------------------------------------- */

static sm_range share_rows(const sm_worker *w, const sm_block *b) {
    const uint64_t n = b->inputs.n;
    uint64_t begin, end;
    sm_work_share_weights(w, (n + UNIT - 1) / UNIT,
                          sm_weight_packed_bytes(b->w[SM_LAYER_INPUT_GATE]), &begin, &end);
    return (sm_range){begin * UNIT, min_u64(end * UNIT, n)};
}

/* Input of the running block's layer of token t. */
static const float *input_of(const sm_worker *w, uint64_t t) {
    const sm_block *first = w->net->blocks;
    const float *inputs = w->batch->tape ? w->batch->tape->blocks[0].buffer[SM_IN_INPUTS]
                                         : w->ws->buffer[SM_KIND_INPUTS][SM_IN_INPUTS];
    return inputs + t * first->ld[SM_IN_INPUTS] + (uint64_t)w->block->layer * first->inputs.n;
}

bool sm_layer_input_run(sm_worker *w, const sm_block *b, sm_input *in) {
    const sm_weight *G = b->w[SM_LAYER_INPUT_GATE], *P = b->w[SM_LAYER_INPUT_PROJECTION];
    const uint64_t ld = b->ld[SM_LI_GATE], ldf = b->ld[SM_LI_H_FORM];
    const sm_input_use use = sm_input_use_of(w, P);
    const sm_range rows = share_rows(w, b), groups = sm_groups_of(rows);
    float *gate = w->at.buffer[SM_LI_GATE], *all = w->at.buffer[SM_LI_H];
    sm_act_block *formed = w->at.buffer[SM_LI_H_FORM];
    const uint64_t n = rows.end - rows.begin;
    if (rows.begin < rows.end)
        sm_product_compute(w, G, groups.begin, groups.end, in, 0, w->T, gate, ld);
    for (uint64_t t = 0; t < w->T && rows.begin < rows.end; t++) {
        float *h = use.floats ? all + t * ld + rows.begin : w->scratch->row;
        w->kernels->gelu_mul(h, gate + t * ld + rows.begin, input_of(w, t) + rows.begin, n);
        sm_input_prepare(w, use.form, formed + t * ldf + rows.begin / UNIT, h, n);
    }
    sm_expect(w, P, sm_share_groups(w, P));
    sm_team_barrier(w->team);
    *in = (sm_input){all, ld, formed, ldf};
    return true;
}

void sm_layer_input_expect(const sm_worker *w, const sm_block *b) {
    sm_expect(w, b->w[SM_LAYER_INPUT_GATE], sm_groups_of(share_rows(w, b)));
}

/* ---- scale ----------------------------------------------------------------------------------- */

void sm_scale_rows(const sm_worker *w) {
    const uint64_t ld = w->ws->ldx;
    const float *own = w->block->v[SM_SCALE_SCALE], factor = own ? *own : w->block->factor;
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++)
        w->kernels->scale(w->at.out + t * ld, w->at.x + t * ld, factor, w->c->n_embd);
}
