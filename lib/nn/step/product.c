/* A matrix of a layer times the step's tokens, with what adapters add: y += B (scale A x). */
#include "worker.h"

/* Shows the observer what W reads. Every thread sees its input whole at this point. */
static void observe(const sm_worker *w, const sm_weight *W, const sm_input *in, uint64_t n) {
    const sm_observer *o = w->batch ? w->batch->observer : NULL;
    uint64_t begin, end;
    if (!o || W == w->net->head)
        return;
    sm_work_share(w, W->cols, &begin, &end);
    if (begin < end)
        o->fn(o->user, W, in->f, in->ldf, begin, end, (uint32_t)n);
}

static const sm_lora *lora_of(const sm_worker *w, uint32_t adapter, uint32_t index) {
    return &w->adapters->adapter[adapter]->lora[index];
}

/* Matrices that read one input have their places side by side, adapter by adapter; those that share
 * an A share its place. */
static uint64_t low_place(const sm_worker *w, uint32_t adapter, const sm_weight *W) {
    uint64_t place = 0;
    uint32_t owner = W->index;
    while (lora_of(w, adapter, owner)->shares)
        owner--;
    for (uint32_t i = 0; i <= adapter; i++)
        for (uint32_t m = W->group_first; m < W->group_first + W->group_n; m++) {
            const sm_lora *lora = lora_of(w, i, m);
            if (i == adapter && m == owner)
                return place;
            if (!lora->shares)
                place += (lora->a.rows + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
        }
    return place;
}

/* Tokens [t0, t1) through groups [g0, g1) of one A, times the scales. rows: as in sm_input_norm. */
static void lower_part(const sm_worker *w, const sm_lora *lora, float scale, const sm_weight *W,
                       const sm_input *in, const uint32_t *rows, uint64_t t0, uint64_t t1,
                       uint64_t g0, uint64_t g1, float *low) {
    const sm_dropout *dropout = &w->adapters->dropout;
    const uint64_t step_size = dropout->rate > 0 ? SM_MUL_COLS : t1 - t0, k = lora->a.cols;
    for (uint64_t t = t0; t < t1; t += step_size) {
        const uint64_t n = min_u64(step_size, t1 - t);
        sm_input part = {.f = in->f + t * in->ldf, .ldf = in->ldf};
        if (dropout->rate > 0) {
            for (uint64_t i = 0; i < n; i++)
                sm_dropout_row(dropout, W, rows ? rows[t + i] : (uint32_t)(t + i),
                               w->scratch->dropped + i * k, part.f + i * in->ldf);
            part = (sm_input){.f = w->scratch->dropped, .ldf = k};
        }
        sm_matmul(w->kernels, &lora->a, g0, g1, &part, n, low + t * w->ws->ld_low, w->ws->ld_low,
                  false, w->scratch);
        for (uint64_t i = t; i < t + n; i++) {
            float *y = low + i * w->ws->ld_low + g0 * SM_GROUP;
            w->kernels->scale(y, y, scale, (g1 - g0) * SM_GROUP);
        }
    }
}

/* Of the adapters one token is shared out by rows of A, several by tokens. */
void sm_product_lower(const sm_worker *w, const sm_weight *W, const sm_input *in, uint64_t n,
                      const uint32_t *rows) {
    const sm_weight *matrices = &w->net->matrices[W->group_first];
    for (uint32_t m = 0; m < W->group_n; m++)
        observe(w, &matrices[m], in, n);
    if (!w->adapters || !w->adapters->n)
        return;
    for (uint32_t i = 0; i < w->adapters->n; i++)
        for (uint32_t m = 0; m < W->group_n; m++) {
            const sm_lora *lora = lora_of(w, i, matrices[m].index);
            const uint64_t groups = (lora->a.rows + SM_GROUP - 1) / SM_GROUP;
            uint64_t t0 = 0, t1 = n, g0 = 0, g1 = lora->shares ? 0 : groups;
            if (n == 1) /* matrices in turn begin with another thread */
                sm_share(g1, (w->thread + m + i) % w->n_threads, w->n_threads, &g0, &g1);
            else
                sm_work_share(w, n, &t0, &t1);
            if (g0 < g1)
                lower_part(w, lora, lora->scale * w->adapters->scale[i], &matrices[m], in, rows, t0,
                           t1, g0, g1, w->ws->low + low_place(w, i, &matrices[m]));
        }
    sm_team_barrier(w->team);
}

/* Rows from `first` on of what sm_product_lower made for one B. */
static sm_input lowered(const sm_worker *w, uint32_t adapter, const sm_weight *W, uint64_t first) {
    const uint64_t ld = w->ws->ld_low;
    return (sm_input){.f = w->ws->low + first * ld + low_place(w, adapter, W), .ldf = ld};
}

/* Rows of an input from `first` on. */
static sm_input rows_from(const sm_input *in, uint64_t first) {
    return (sm_input){in->f + first * in->ldf, in->ldf, in->q + first * in->ldq, in->ldq};
}

void sm_product_compute(const sm_worker *w, const sm_weight *W, uint64_t g0, uint64_t g1,
                        const sm_input *in, uint64_t first, uint64_t n, float *y, uint64_t ldy) {
    const sm_input rows = rows_from(in, first);
    sm_matmul(w->kernels, W, g0, g1, &rows, n, y, ldy, false, w->scratch);
    for (uint32_t i = 0; w->adapters && i < w->adapters->n; i++) {
        const sm_lora *lora = lora_of(w, i, W->index);
        if (!lora->a.rows)
            continue;
        const sm_input low = lowered(w, i, W, first);
        sm_matmul(w->kernels, &lora->b, g0, g1, &low, n, y, ldy, true, w->scratch);
    }
}

/* Groups [g, g + n_groups) of a matrix as one of its own. */
static sm_weight group_slice(const sm_weight *W, uint64_t g, uint64_t n_groups) {
    sm_weight part = *W;
    part.rows = (uint32_t)min_u64(n_groups * SM_GROUP, W->rows - g * SM_GROUP);
    if (part.data)
        part.data += g * SM_GROUP * part.row_bytes;
    if (part.packed)
        part.packed += g * part.group_bytes;
    return part;
}

void sm_product_piece(const sm_worker *w, const sm_weight *W, uint64_t g, uint64_t n_groups,
                      const sm_input *in, uint64_t first, uint64_t n, float *y, uint64_t ldy) {
    const sm_weight part = group_slice(W, g, n_groups);
    const sm_input rows = rows_from(in, first);
    sm_matmul(w->kernels, &part, 0, n_groups, &rows, n, y, ldy, false, w->scratch);
    for (uint32_t i = 0; w->adapters && i < w->adapters->n; i++) {
        const sm_lora *lora = lora_of(w, i, W->index);
        if (!lora->a.rows)
            continue;
        const sm_weight b = group_slice(&lora->b, g, n_groups);
        const sm_input low = lowered(w, i, W, first);
        sm_matmul(w->kernels, &b, 0, n_groups, &low, n, y, ldy, true, w->scratch);
    }
}
