/* The head: norm and logits, of a step or of rows that lie elsewhere. */
#include "worker.h"

#include <string.h>

const sm_kind sm_kind_head = {
    .name = "head",
    .id = SM_KIND_HEAD,
    .n_slots = SM_HEAD_SLOTS,
    .outside = true,
    .slot = {SM_WIRING_ROWS,
             [SM_HEAD_OUTPUT] = {"output.weight", SM_DIM_VOCAB, SM_DIM_EMBD, 0, 0, SM_ROLE_HEAD,
                                 SM_MAY},
             [SM_HEAD_BIAS] = {"output.bias", SM_DIM_VOCAB, 0, 0, 0, SM_ROLE_BIAS, SM_MAY}},
};

/* The normed rows that the head reads, adapters' lower half done. rows: as in sm_input_norm. */
static sm_input head_input(const sm_worker *w, const float *x, const uint32_t *rows, uint64_t n) {
    const sm_weight *W = w->net->head;
    const sm_input in = sm_input_norm(w, sm_net_head(w->net), x, sm_input_use_of(w, W), rows, n);
    sm_product_lower(w, W, &in, n, rows);
    return in;
}

/* n rows of the logits from `first` on, with a bias, scaled and capped where the model does
 * that. */
static void finish_logits(const sm_worker *w, float *y, uint64_t ldy, uint64_t n, uint64_t first,
                          uint64_t width) {
    const sm_head_params *p = &sm_net_head(w->net)->head;
    const float *bias = sm_net_head(w->net)->v[SM_HEAD_BIAS];
    for (uint64_t i = 0; i < n && bias; i++)
        w->kernels->add(y + i * ldy, y + i * ldy, bias + first, width);
    for (uint64_t i = 0; i < n && p->scale > 0; i++)
        w->kernels->scale(y + i * ldy, y + i * ldy, p->scale, width);
    for (uint64_t i = 0; i < n && p->cap > 0; i++)
        w->kernels->soft_cap(y + i * ldy, y + i * ldy, width, 1, p->cap);
}

/* Groups [g, g + n_groups) of the head for outputs [o, o + n): computed in scratch, since the
 * rows of logits lie apart and have no room for whole groups, and copied from there. */
static void head_piece(const sm_worker *w, const sm_input *in, uint64_t g, uint64_t n_groups,
                       uint64_t o, uint64_t n) {
    const sm_weight *W = w->net->head;
    const uint64_t r0 = g * SM_GROUP, rows = min_u64(n_groups * SM_GROUP, W->rows - r0);
    float *y = w->scratch->logits;
    sm_product_piece(w, W, g, n_groups, in, o, n, y, SM_HEAD_ROWS);
    finish_logits(w, y, SM_HEAD_ROWS, n, r0, rows);
    for (uint64_t i = 0; i < n; i++)
        memcpy(w->batch->logits[o + i] + r0, y + i * SM_HEAD_ROWS, rows * sizeof(float));
}

void sm_head_logits(const sm_worker *w) {
    const sm_step *b = w->batch;
    const sm_weight *W = w->net->head;
    const uint64_t piece = SM_HEAD_ROWS / SM_GROUP;
    if (!b->n_outputs)
        return;
    const sm_input in = head_input(w, w->at.out, b->outputs, b->n_outputs);
    uint64_t begin, end;
    sm_work_share_weights(w, (W->rows + SM_GROUP - 1) / SM_GROUP, sm_weight_packed_bytes(W), &begin,
                          &end);
    if (b->n_outputs == 1) { /* whole groups can go where they belong */
        const uint64_t whole = min_u64(end, W->rows / SM_GROUP);
        sm_product_compute(w, W, begin, whole, &in, 0, 1, b->logits[0], 0);
        if (whole > begin)
            finish_logits(w, b->logits[0] + begin * SM_GROUP, 0, 1, begin * SM_GROUP,
                          (whole - begin) * SM_GROUP);
        begin = whole > begin ? whole : begin;
    }
    for (uint64_t o = 0; o < b->n_outputs; o += SM_HEAD_OUTPUTS)
        for (uint64_t g = begin; g < end; g += piece)
            head_piece(w, &in, g, min_u64(piece, end - g), o,
                       min_u64(SM_HEAD_OUTPUTS, b->n_outputs - o));
}

void sm_head_hidden(const sm_worker *w) {
    const sm_step *b = w->batch;
    const sm_block *head = sm_net_head(w->net);
    const uint64_t n = w->c->n_embd;
    uint64_t begin, end;
    sm_work_share(w, b->n_outputs, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        const float *x = w->at.out + b->outputs[i] * w->ws->ldx;
        if (sm_is_normed(head))
            sm_norm_before(w->kernels, head, b->hidden[i], x, w->c->norm_eps);
        else
            memcpy(b->hidden[i], x, n * sizeof *x);
    }
}

/* Logits alone, of rows that lie outside the workspace. */
typedef struct logits_run {
    sm_pass pass;
    const sm_adapters *adapters;
    sm_stop *stop;
    const float *x;
    const uint32_t *rows;
    uint32_t n;
    float *logits;
    uint64_t ldl;
} logits_run;

static void run_logits(void *arg, uint32_t thread, uint32_t n_threads) {
    logits_run *r = arg;
    sm_workspace *ws = r->pass.ws;
    const sm_net *net = ws->net;
    const sm_worker w = {.pass = &r->pass,
                         .ws = ws,
                         .team = r->pass.team,
                         .net = net,
                         .c = &net->config,
                         .kernels = net->kernels,
                         .scratch = &ws->threads[thread],
                         .thread = thread,
                         .n_threads = n_threads,
                         .adapters = r->adapters};
    w.scratch->stop = r->stop;
    w.scratch->asks = thread == 0;
    const sm_weight *W = net->head;
    const sm_input in = head_input(&w, r->x, r->rows, r->n);
    uint64_t g0, g1;
    sm_work_share_weights(&w, (W->rows + SM_GROUP - 1) / SM_GROUP, sm_weight_packed_bytes(W), &g0,
                          &g1);
    sm_product_compute(&w, W, g0, g1, &in, 0, r->n, r->logits, r->ldl);
    if (g0 < g1)
        finish_logits(&w, r->logits + g0 * SM_GROUP, r->ldl, r->n, g0 * SM_GROUP,
                      min_u64(g1 * SM_GROUP, W->rows) - g0 * SM_GROUP);
}

void sm_forward_logits(sm_workspace *ws, sm_team *team, const sm_adapters *adapters, sm_stop *stop,
                       const float *x, const uint32_t *rows, uint32_t n, float *logits,
                       uint64_t ldl) {
    logits_run r = {.pass = {.ws = ws, .team = team},
                    .adapters = adapters,
                    .stop = stop,
                    .x = x,
                    .rows = rows,
                    .n = n,
                    .logits = logits,
                    .ldl = ldl};
    sm_team_run(team, run_logits, &r);
}
