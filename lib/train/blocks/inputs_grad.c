/* Backward of the inputs of layers, and of a scale of the stream (lib/nn/blocks/inputs.c). */
#include "train/graph.h"

#include <math.h>
#include <string.h>

enum { DINPUTS, RAW, INPUTS_BUFFERS };

/* ---- a layer's: x += norm(projection(gelu(gate(x)) input)) ----------------------------------- */

enum { H, DGATE, DUP, BUFFERS };

static void part(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_block *first = g->net->blocks;
    const uint64_t ldx = g->tape->ldx, ld = sm_grad_ld(block, H), n = block->inputs.n;
    const uint64_t ldi = first->ld[SM_IN_INPUTS], ldd = sm_grad_ld(first, DINPUTS);
    const float *gate = g->tape->blocks[block->index].buffer[SM_LI_GATE];
    const float *inputs = g->tape->blocks[0].buffer[SM_IN_INPUTS];
    const sm_master *G = sm_master_of(g, block, SM_LAYER_INPUT_GATE);
    const sm_master *P = sm_master_of(g, block, SM_LAYER_INPUT_PROJECTION);
    const float *dy = sm_grad_output(b, block) + b->first * ldx;
    float *h = sm_grad_at(g, block, H), *dgate = sm_grad_at(g, block, DGATE);
    float *dup = sm_grad_at(g, block, DUP), *dinputs = sm_grad_at(g, first, DINPUTS);
    uint64_t begin, end;
    sm_grad_input(b, P, dy, ldx, b->T, NULL, dgate, ld, false);
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++) {
        const uint64_t at = (b->first + t) * ldi + block->layer * n;
        g->kernels->gelu_mul_grad(dgate + t * ld, dup + t * ld, h + t * ld, dgate + t * ld,
                                  gate + (b->first + t) * ld, inputs + at, n);
        memcpy(dinputs + (b->first + t) * ldd + block->layer * n, dup + t * ld, n * sizeof *dup);
    }
    sm_grad_renorm(b, block);
    sm_lap_of(b, SM_PART_ROWS);
    sm_grad_weight(b, P, dy, ldx, h, ld, b->T, NULL);
    sm_grad_weight(b, G, dgate, ld, g->normed, ldx, b->T, NULL);
    sm_grad_input(b, G, dgate, ld, b->T, NULL, g->dn, ldx, false);
    sm_grad_residual(b, block);
}

static void layer_back(const sm_backward *b, const sm_block *block) {
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward some = sm_grad_part(b, first);
        part(&some, block);
    }
}

const sm_grad_kind sm_grad_layer_input = {
    .backward = layer_back,
    .buffer =
        {[H] = {SM_DIM_INPUT, true}, [DGATE] = {SM_DIM_INPUT, true}, [DUP] = {SM_DIM_INPUT, true}},
    .n_buffers = BUFFERS,
};

/* ---- all inputs ------------------------------------------------------------------------------ */

/* Through the norms of the layers' parts, which leave the gradient of what the projection made, in
 * RAW. Layer by layer the gain's: barriers. */
static void norms_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t n = block->inputs.n, ld = block->ld[SM_IN_RAW], ldd = sm_grad_ld(block, DINPUTS);
    const float *raw = g->tape->blocks[block->index].buffer[SM_IN_RAW];
    const float *gain = block->v[SM_INPUTS_NORM];
    float *dw = g->blocks[block->index].v[SM_INPUTS_NORM];
    float *dy = sm_grad_at(g, block, DINPUTS), *draw = sm_grad_at(g, block, RAW);
    uint64_t begin, end, c0, c1;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    sm_grad_columns(b, n, &c0, &c1);
    for (uint64_t i = 0; i < block->dims[SM_DIM_INPUTS]; i += n) {
        for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++) {
            g->r[t] =
                g->kernels->rms_norm_grad(draw + t * ldd + i, dy + t * ldd + i, raw + t * ld + i,
                                          gain, n, g->net->config.norm_eps, false);
            g->kernels->scale(draw + t * ldd + i, draw + t * ldd + i,
                              1 / sqrtf((float)block->dims[SM_DIM_EMBD]), n);
        }
        sm_team_barrier(b->crew.team);
        for (uint64_t t = 0; dw && t < b->T && c0 < c1 && !sm_crew_stopped_at(&b->crew, t, n); t++)
            g->kernels->add_product(dw + c0, dy + t * ldd + i + c0, raw + t * ld + i + c0, g->r[t],
                                    c1 - c0);
        sm_team_barrier(b->crew.team); /* r may be written again */
    }
}

void sm_grad_input_table(const sm_backward *b, const int32_t *ids) {
    const sm_graph *g = b->g;
    const sm_block *block = g->net->blocks;
    const uint64_t width = g->net->inputs.cols, ldd = width ? sm_grad_ld(block, DINPUTS) : 0;
    const float scale = width ? sqrtf((float)block->inputs.n) : 0;
    uint64_t begin, end;
    if (!width || !g->inputs_grad)
        return;
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, width); t++)
        g->kernels->add_product(g->inputs_grad + (uint64_t)ids[t] * width + begin,
                                sm_grad_at(g, block, DINPUTS) + t * ldd + begin, NULL, scale,
                                end - begin);
}

static void inputs_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldd = sm_grad_ld(block, DINPUTS), ldx = g->tape->ldx, all = g->net->inputs.cols;
    const sm_master *P = sm_master_of(g, block, SM_INPUTS_PROJECTION);
    float *d = sm_grad_at(g, block, DINPUTS);
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, all); t++)
        g->kernels->scale(d + t * ldd, d + t * ldd, sqrtf(0.5f), all);
    sm_team_barrier(b->crew.team);
    norms_back(b, block);
    sm_grad_weight(b, P, sm_grad_at(g, block, RAW), ldd, g->tape->blocks[block->index].x, ldx, b->T,
                   NULL);
    sm_grad_input(b, P, sm_grad_at(g, block, RAW), ldd, b->T, NULL, g->dx, ldx, true);
}

const sm_grad_kind sm_grad_inputs = {
    .backward = inputs_back,
    .buffer = {[DINPUTS] = {SM_DIM_INPUTS, false}, [RAW] = {SM_DIM_INPUTS, false}},
    .n_buffers = INPUTS_BUFFERS,
};

/* ---- scale ----------------------------------------------------------------------------------- */

/* ds = sum dy . x, token by token; dx = s dy. */
static void scale_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, n = block->dims[SM_DIM_EMBD];
    const float *x = g->tape->blocks[block->index].x;
    float *ds = g->blocks[block->index].v[SM_SCALE_SCALE];
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++) {
        g->r[t] = g->kernels->dot(g->dx + t * ldx, x + t * ldx, n);
        g->kernels->scale(g->dx + t * ldx, g->dx + t * ldx, block->v[SM_SCALE_SCALE][0], n);
    }
    sm_team_barrier(b->crew.team);
    for (uint64_t t = 0; t < b->T && ds && b->crew.thread == 0; t++)
        *ds += g->r[t];
    sm_team_barrier(b->crew.team); /* r may be written again */
}

const sm_grad_kind sm_grad_scale = {.backward = scale_back};
