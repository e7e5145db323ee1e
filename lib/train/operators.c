/* Backward of the operators that the layers are made of. */
#include "graph.h"

void sm_grad_columns(const sm_backward *b, uint64_t n, uint64_t *begin, uint64_t *end) {
    sm_share((n + 15) / 16, b->crew.thread, b->crew.n_threads, begin, end);
    *begin *= 16;
    *end = *end * 16 < n ? *end * 16 : n;
}

static void multiply(const sm_backward *b, sm_gemm_args args) {
    args.precision = b->g->options.precision;
    sm_gemm(&b->crew, &args);
}

/* ---- adapters: y += s B u, u = A x'; x' = x with dropout ------------------------------------
 *   dB += s dy^T u;  du = s dy B;  dA += du^T x';  dx += dropout(du A) */

/* The matrices' masters: what the weights' data are. */
static const float *values(const sm_weight *w) {
    return (const float *)(const void *)w->data;
}

/* g->dlow = s dy B */
static void grad_low(const sm_backward *b, const sm_master *master, const float *dy, uint64_t ldy,
                     uint64_t n) {
    const sm_graph *g = b->g;
    const sm_weight *B = &master->lora->b;
    multiply(b, (sm_gemm_args){.M = n,
                               .N = B->cols,
                               .K = B->rows,
                               .a = dy,
                               .lda = ldy,
                               .b = values(B),
                               .ldb = B->cols,
                               .c = g->dlow,
                               .ldc = g->ld_low});
    uint64_t begin, end;
    sm_share(n, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, B->cols); t++)
        g->kernels->scale(g->dlow + t * g->ld_low, g->dlow + t * g->ld_low, master->lora->scale,
                          B->cols);
    sm_team_barrier(b->crew.team);
}

/* g->dropped rows = x rows with dropout. */
static void drop(const sm_backward *b, const sm_master *master, const float *x, uint64_t ldx,
                 uint64_t n, const uint32_t *tokens) {
    const sm_graph *g = b->g;
    uint64_t begin, end;
    sm_share(n, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, master->w->cols);
         t++)
        sm_dropout_row(&g->adapters.dropout, master->w, tokens ? tokens[t] : b->first + (uint32_t)t,
                       g->dropped + t * g->ld_dropped, x + t * ldx);
    sm_team_barrier(b->crew.team);
}

static void grad_adapter(const sm_backward *b, const sm_master *master, const float *dy,
                         uint64_t ldy, const float *x, uint64_t ldx, uint64_t n,
                         const uint32_t *tokens) {
    const sm_graph *g = b->g;
    const sm_weight *A = &master->lora->a, *B = &master->lora->b;
    if (g->adapters.dropout.rate > 0) {
        drop(b, master, x, ldx, n, tokens);
        x = g->dropped;
        ldx = g->ld_dropped;
    }
    multiply(b, (sm_gemm_args){.M = n,
                               .N = A->rows,
                               .K = A->cols,
                               .a = x,
                               .lda = ldx,
                               .b = values(A),
                               .ldb = A->cols,
                               .b_transposed = true,
                               .c = g->low,
                               .ldc = g->ld_low});
    uint64_t begin, end;
    sm_share(n, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, A->rows); t++)
        g->kernels->scale(g->low + t * g->ld_low, g->low + t * g->ld_low, master->lora->scale,
                          A->rows);
    grad_low(b, master, dy, ldy, n); /* ends with a barrier */
    multiply(b, (sm_gemm_args){.M = B->rows,
                               .N = B->cols,
                               .K = n,
                               .a = dy,
                               .lda = ldy,
                               .a_transposed = true,
                               .b = g->low,
                               .ldb = g->ld_low,
                               .c = master->b_grad,
                               .ldc = B->cols,
                               .accumulate = true});
    multiply(b, (sm_gemm_args){.M = A->rows,
                               .N = A->cols,
                               .K = n,
                               .a = g->dlow,
                               .lda = g->ld_low,
                               .a_transposed = true,
                               .b = x,
                               .ldb = ldx,
                               .c = master->a_grad,
                               .ldc = A->cols,
                               .accumulate = true});
}

/* dx += dropout(du A) */
static void grad_adapter_input(const sm_backward *b, const sm_master *master, const float *dy,
                               uint64_t ldy, uint64_t n, const uint32_t *tokens, float *dx,
                               uint64_t ldx) {
    const sm_graph *g = b->g;
    const sm_weight *A = &master->lora->a;
    const bool dropout = g->adapters.dropout.rate > 0;
    grad_low(b, master, dy, ldy, n);
    multiply(b, (sm_gemm_args){.M = n,
                               .N = A->cols,
                               .K = A->rows,
                               .a = g->dlow,
                               .lda = g->ld_low,
                               .b = values(A),
                               .ldb = A->cols,
                               .c = dropout ? g->dropped : dx,
                               .ldc = dropout ? g->ld_dropped : ldx,
                               .accumulate = !dropout});
    if (!dropout)
        return;
    drop(b, master, g->dropped, g->ld_dropped, n, tokens);
    uint64_t begin, end;
    sm_share(n, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, A->cols); t++)
        g->kernels->add(dx + t * ldx, dx + t * ldx, g->dropped + t * g->ld_dropped, A->cols);
    sm_team_barrier(b->crew.team);
}

/* ---- products y = W x ------------------------------------------------------------ */

void sm_grad_weight(const sm_backward *b, const sm_master *master, const float *dy, uint64_t ldy,
                    const float *x, uint64_t ldx, uint64_t n, const uint32_t *tokens) {
    if (master->grad)
        multiply(b, (sm_gemm_args){.M = master->w->rows,
                                   .N = master->w->cols,
                                   .K = n,
                                   .a = dy,
                                   .lda = ldy,
                                   .a_transposed = true,
                                   .b = x,
                                   .ldb = ldx,
                                   .c = master->grad,
                                   .ldc = master->w->cols,
                                   .accumulate = true});
    if (master->lora)
        grad_adapter(b, master, dy, ldy, x, ldx, n, tokens);
    sm_lap_of(b, SM_PART_WEIGHTS);
}

/* dx += dy W for frozen weights of any type: some rows of W are unpacked at a time. */
static void grad_input_frozen(const sm_backward *b, const sm_weight *w, const float *dy,
                              uint64_t ldy, uint64_t n, float *dx, uint64_t ldx, bool accumulate) {
    const sm_graph *g = b->g;
    for (uint64_t r = 0; r < w->rows; r += SM_DEQUANT_ROWS) {
        const uint64_t n_rows = w->rows - r < SM_DEQUANT_ROWS ? w->rows - r : SM_DEQUANT_ROWS;
        uint64_t begin, end;
        sm_share(n_rows, b->crew.thread, b->crew.n_threads, &begin, &end);
        for (uint64_t i = begin; i < end && !sm_crew_stopped_at(&b->crew, i - begin, w->cols); i++)
            g->kernels->type[w->type].dequantize(g->slab + i * w->cols,
                                                 w->data + (r + i) * w->row_bytes, w->cols);
        sm_team_barrier(b->crew.team);
        multiply(b, (sm_gemm_args){.M = n,
                                   .N = w->cols,
                                   .K = n_rows,
                                   .a = dy + r,
                                   .lda = ldy,
                                   .b = g->slab,
                                   .ldb = w->cols,
                                   .c = dx,
                                   .ldc = ldx,
                                   .accumulate = accumulate || r > 0});
    }
}

void sm_grad_input(const sm_backward *b, const sm_master *master, const float *dy, uint64_t ldy,
                   uint64_t n, const uint32_t *tokens, float *dx, uint64_t ldx, bool accumulate) {
    const sm_weight *w = master->w;
    if (master->value)
        multiply(b, (sm_gemm_args){.M = n,
                                   .N = w->cols,
                                   .K = w->rows,
                                   .a = dy,
                                   .lda = ldy,
                                   .b = master->value,
                                   .ldb = w->cols,
                                   .c = dx,
                                   .ldc = ldx,
                                   .accumulate = accumulate});
    else
        grad_input_frozen(b, w, dy, ldy, n, dx, ldx, accumulate);
    if (master->lora)
        grad_adapter_input(b, master, dy, ldy, n, tokens, dx, ldx);
    sm_lap_of(b, SM_PART_INPUTS);
}

/* ---- biases and norms ------------------------------------------------------------ */

void sm_grad_bias(const sm_backward *b, float *db, const float *dy, uint64_t ldy, uint64_t n,
                  uint64_t width) {
    uint64_t begin, end;
    if (!db)
        return;
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t i = 0; i < n && begin < end && !sm_crew_stopped_at(&b->crew, i, width); i++)
        b->g->kernels->add_product(db + begin, dy + i * ldy + begin, NULL, 1, end - begin);
}

float sm_grad_norm_row(const sm_graph *g, sm_norm norm, float *dx, const float *dy, const float *x,
                       const float *w, uint64_t n, bool accumulate, float *mean) {
    const float eps = g->net->config.norm_eps;
    *mean = 0;
    if (norm == SM_NORM_LAYER)
        return g->kernels->layer_norm_grad(dx, dy, x, w, n, eps, accumulate, mean);
    return g->kernels->rms_norm_grad(dx, dy, x, w, n, eps, accumulate);
}

void sm_grad_gain(const sm_graph *g, sm_norm norm, float *dw, const float *dy, const float *x,
                  float r, float mean, uint64_t n) {
    if (norm == SM_NORM_LAYER)
        g->kernels->add_centered(dw, dy, x, mean, r, n);
    else
        g->kernels->add_product(dw, dy, x, r, n);
}

void sm_grad_norm(const sm_backward *b, float *dx, const float *dy, const float *x,
                  const uint32_t *rows, uint64_t n, const sm_block *block) {
    sm_graph *g = b->g;
    const sm_norm norm = block->wiring.norm;
    float *dw = g->blocks[block->index].v[SM_SLOT_PRE];
    float *db = g->blocks[block->index].v[SM_SLOT_PRE_BIAS];
    const uint64_t ldx = g->tape->ldx, width = g->net->config.n_embd;
    uint64_t begin, end;
    sm_share(n, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t i = begin; i < end && !sm_crew_stopped_at(&b->crew, i - begin, width); i++) {
        const uint64_t at = (rows ? rows[i] : i) * ldx;
        g->r[i] = sm_grad_norm_row(g, norm, dx + at, dy + i * ldx, x + at, block->v[SM_SLOT_PRE],
                                   width, !rows, &g->mean[i]);
    }
    sm_team_barrier(b->crew.team);
    if (!dw && !db)
        return;
    sm_grad_bias(b, db, dy, ldx, n, width);
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t i = 0; dw && i < n && begin < end && !sm_crew_stopped_at(&b->crew, i, width); i++)
        sm_grad_gain(g, norm, dw + begin, dy + i * ldx + begin,
                     x + (rows ? rows[i] : i) * ldx + begin, g->r[i], g->mean[i], end - begin);
    sm_team_barrier(b->crew.team); /* dy and r may be written again */
    sm_lap_of(b, SM_PART_ROWS);
}
