/* Backward of the operators that the layers are made of. */
#include "graph.h"

/* This thread's columns of n, in whole vectors. */
static void columns(const sm_backward *b, uint64_t n, uint64_t *begin, uint64_t *end) {
    sm_share((n + 15) / 16, b->crew.thread, b->crew.n_threads, begin, end);
    *begin *= 16;
    *end = *end * 16 < n ? *end * 16 : n;
}

void sm_grad_weight(const sm_backward *b, const sm_slot *slot, const float *dy, uint64_t ldy,
                    const float *x, uint64_t ldx, uint64_t n) {
    if (!slot->grad)
        return;
    sm_gemm(&b->crew, &(sm_gemm_args){.M = slot->w->rows,
                                      .N = slot->w->cols,
                                      .K = n,
                                      .a = dy,
                                      .lda = ldy,
                                      .a_transposed = true,
                                      .b = x,
                                      .ldb = ldx,
                                      .c = slot->grad,
                                      .ldc = slot->w->cols,
                                      .accumulate = true,
                                      .precision = b->g->options.precision});
    sm_lap_of(b, SM_PART_WEIGHTS);
}

/* dx += dy W for frozen weights of any type: some rows of W are unpacked at a time. */
static void grad_input_frozen(const sm_backward *b, const sm_weight *w, const float *dy,
                              uint64_t ldy, uint64_t n, float *dx, uint64_t ldx, bool accumulate) {
    sm_graph *g = b->g;
    for (uint64_t r = 0; r < w->rows; r += SM_DEQUANT_ROWS) {
        const uint64_t n_rows = w->rows - r < SM_DEQUANT_ROWS ? w->rows - r : SM_DEQUANT_ROWS;
        uint64_t begin, end;
        sm_share(n_rows, b->crew.thread, b->crew.n_threads, &begin, &end);
        for (uint64_t i = begin; i < end; i++)
            g->kernels->type[w->type].dequantize(g->slab + i * w->cols,
                                                 w->data + (r + i) * w->row_bytes, w->cols);
        sm_team_barrier(b->crew.team);
        sm_gemm(&b->crew, &(sm_gemm_args){.M = n,
                                          .N = w->cols,
                                          .K = n_rows,
                                          .a = dy + r,
                                          .lda = ldy,
                                          .b = g->slab,
                                          .ldb = w->cols,
                                          .c = dx,
                                          .ldc = ldx,
                                          .accumulate = accumulate || r > 0,
                                          .precision = g->options.precision});
    }
}

void sm_grad_input(const sm_backward *b, const sm_slot *slot, const float *dy, uint64_t ldy,
                   uint64_t n, float *dx, uint64_t ldx, bool accumulate) {
    const sm_weight *w = slot->w;
    if (!slot->value) {
        grad_input_frozen(b, w, dy, ldy, n, dx, ldx, accumulate);
        sm_lap_of(b, SM_PART_INPUTS);
        return;
    }
    sm_gemm(&b->crew, &(sm_gemm_args){.M = n,
                                      .N = w->cols,
                                      .K = w->rows,
                                      .a = dy,
                                      .lda = ldy,
                                      .b = slot->value,
                                      .ldb = w->cols,
                                      .c = dx,
                                      .ldc = ldx,
                                      .accumulate = accumulate,
                                      .precision = b->g->options.precision});
    sm_lap_of(b, SM_PART_INPUTS);
}

void sm_grad_bias(const sm_backward *b, float *db, const float *dy, uint64_t ldy, uint64_t n,
                  uint64_t width) {
    uint64_t begin, end;
    if (!db)
        return;
    columns(b, width, &begin, &end);
    for (uint64_t i = 0; i < n && begin < end; i++)
        b->g->kernels->add_product(db + begin, dy + i * ldy + begin, NULL, 1, end - begin);
}

void sm_grad_norm(const sm_backward *b, float *dx, const float *dy, const float *x,
                  const uint32_t *rows, uint64_t n, const float *w, float *dw) {
    sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, width = g->net->config.n_embd;
    uint64_t begin, end;
    sm_share(n, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        const uint64_t at = (rows ? rows[i] : i) * ldx;
        g->r[i] = g->kernels->rms_norm_grad(dx + at, dy + i * ldx, x + at, w, width,
                                            g->net->config.norm_eps, !rows);
    }
    sm_team_barrier(b->crew.team);
    if (!dw)
        return;
    columns(b, width, &begin, &end);
    for (uint64_t i = 0; i < n && begin < end; i++)
        g->kernels->add_product(dw + begin, dy + i * ldx + begin,
                                x + (rows ? rows[i] : i) * ldx + begin, g->r[i], end - begin);
    sm_team_barrier(b->crew.team); /* dy and r may be written again */
    sm_lap_of(b, SM_PART_ROWS);
}
