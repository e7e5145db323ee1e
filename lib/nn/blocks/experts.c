/* Mixture of experts. A token's experts are added up in the order of their numbers, and each row is
 * a chain of its own: so results depend neither on the company of a token nor on the threads. */
#include "worker.h"

#include <math.h>
#include <string.h>

const sm_kind sm_kind_experts = {
    .name = "experts",
    .id = SM_KIND_EXPERTS,
    .n_slots = SM_EXPERTS_SLOTS,
    .n_buffers = SM_EX_BUFFERS,
    .slot =
        {
            SM_WIRING_ROWS,
            [SM_EXPERTS_ROUTER] = {"ffn_gate_inp.weight", SM_DIM_EXPERTS, SM_DIM_EMBD, 0, 1,
                                   SM_ROLE_ROUTER, SM_MUST},
            [SM_EXPERTS_GATE] = {"ffn_gate_exps.weight", SM_DIM_FF, SM_DIM_EMBD, SM_DIM_EXPERTS, 1,
                                 SM_ROLE_MATRIX, SM_MUST},
            [SM_EXPERTS_UP] = {"ffn_up_exps.weight", SM_DIM_FF, SM_DIM_EMBD, SM_DIM_EXPERTS, 1,
                               SM_ROLE_MATRIX, SM_MUST},
            [SM_EXPERTS_DOWN] = {"ffn_down_exps.weight", SM_DIM_EMBD, SM_DIM_FF, SM_DIM_EXPERTS, 2,
                                 SM_ROLE_DOWN, SM_MUST},
        },
    .buffer =
        {
            [SM_EX_LOGITS] = {SM_DIM_EXPERTS, SM_KEEP, 0},
            [SM_EX_CHOSEN] = {SM_DIM_USED, SM_KEEP, 0},
            [SM_EX_WEIGHT] = {SM_DIM_USED, SM_KEEP, 0},
            [SM_EX_ROWS] = {SM_DIM_USED, SM_KEEP, 0},
            [SM_EX_TOKENS] = {SM_DIM_USED, SM_KEEP, 0},
            [SM_EX_BOUNDS] = {SM_DIM_BOUNDS, SM_KEEP, 0},
            [SM_EX_IN] = {SM_DIM_USED_EMBD, 0, 0},
            [SM_EX_IN_FORM] = {SM_DIM_USED_EMBD, SM_FORMS, 0},
            [SM_EX_GATE] = {SM_DIM_USED_FF, SM_KEEP, 0},
            [SM_EX_UP] = {SM_DIM_USED_FF, SM_KEEP, 0},
            [SM_EX_H] = {SM_DIM_USED_FF, 0, 0},
            [SM_EX_H_FORM] = {SM_DIM_USED_FF, SM_FORMS, 0},
            [SM_EX_OUT] = {SM_DIM_USED_EMBD, 0, 0},
        },
};

/* Rows of the feed-forward width are shared out in whole activation blocks. */
#define UNIT 32

/* Rows of all tokens' experts, and where they are. */
typedef struct rows {
    const sm_block *b;
    uint32_t n_used, n_experts;
    uint32_t *chosen, *row; /* [T][ldu] */
    float *weight;
    uint64_t ldu;
    uint32_t *token;        /* [rows] */
    uint32_t *bound;        /* [n_experts + 1] */
    uint64_t ldh, blocks_h; /* of rows as wide as the feed-forward part */
    sm_input in;            /* of each row */
} rows;

static rows rows_of(const sm_worker *w) {
    const sm_block *b = w->block;
    return (rows){.b = b,
                  .n_used = b->experts.n_used,
                  .n_experts = b->experts.n_experts,
                  .chosen = w->at.buffer[SM_EX_CHOSEN],
                  .row = w->at.buffer[SM_EX_ROWS],
                  .weight = w->at.buffer[SM_EX_WEIGHT],
                  .ldu = b->ld[SM_EX_CHOSEN],
                  .token = w->at.buffer[SM_EX_TOKENS],
                  .bound = w->at.buffer[SM_EX_BOUNDS],
                  .ldh = sm_row_stride(b->experts.n_ff),
                  .blocks_h = sm_block_stride(b->experts.n_ff)};
}

/* ---- routing --------------------------------------------------------------------------------- */

/* The n_used largest logits, of equal ones the first, by number; softmax of these. NaN if one of
 * all is not finite: no comparison would find it. */
static void choose(const float *logits, uint32_t n, uint32_t n_used, uint32_t *chosen,
                   float *weight) {
    bool taken[SM_MAX_EXPERTS] = {false};
    double sum = 0, most = -INFINITY;
    for (uint32_t e = 0; e < n; e++)
        sum += (double)(logits[e] - logits[e]);
    for (uint32_t j = 0; j < n_used; j++) {
        uint32_t best = n;
        for (uint32_t e = 0; e < n; e++)
            if (!taken[e] && (best == n || logits[e] > logits[best]))
                best = e;
        taken[best] = true;
        most = (double)logits[best] > most ? (double)logits[best] : most;
    }
    for (uint32_t e = 0, j = 0; e < n; e++)
        if (taken[e]) {
            const double p = exp((double)logits[e] - most);
            chosen[j] = e;
            weight[j++] = (float)p;
            sum += p;
        }
    for (uint32_t j = 0; j < n_used; j++)
        weight[j] = (float)((double)weight[j] / sum);
}

/* Which experts each token goes through. */
static void route(const sm_worker *w, const rows *r) {
    const float *logits = w->at.buffer[SM_EX_LOGITS];
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++)
        choose(logits + t * r->b->ld[SM_EX_LOGITS], r->n_experts, r->n_used, r->chosen + t * r->ldu,
               r->weight + t * r->ldu);
}

/* Rows in the order of experts, then of tokens. */
static void number_rows(const rows *r, uint32_t T) {
    memset(r->bound, 0, (r->n_experts + 1) * sizeof *r->bound);
    for (uint32_t t = 0; t < T; t++)
        for (uint32_t j = 0; j < r->n_used; j++)
            r->bound[r->chosen[t * r->ldu + j] + 1]++;
    for (uint32_t e = 0; e < r->n_experts; e++)
        r->bound[e + 1] += r->bound[e];
    uint32_t next[SM_MAX_EXPERTS];
    memcpy(next, r->bound, r->n_experts * sizeof *next);
    for (uint32_t t = 0; t < T; t++)
        for (uint32_t j = 0; j < r->n_used; j++) {
            const uint32_t row = next[r->chosen[t * r->ldu + j]]++;
            r->row[t * r->ldu + j] = row;
            r->token[row] = t;
        }
}

/* The inputs of rows beside each other. */
static void gather(const sm_worker *w, rows *r, const sm_input *in) {
    const uint64_t n = w->c->n_embd;
    const sm_weight *G = r->b->w[SM_EXPERTS_GATE];
    const bool floats = G->form == SM_INPUT_FLOAT ||
                        r->b->w[SM_EXPERTS_UP]->form == SM_INPUT_FLOAT ||
                        (w->adapters && w->adapters->n) || w->batch->observer;
    float *f = w->at.buffer[SM_EX_IN];
    sm_act_block *q = w->at.buffer[SM_EX_IN_FORM];
    uint64_t begin, end;
    sm_work_share(w, (uint64_t)w->T * r->n_used, &begin, &end);
    for (uint64_t row = begin; row < end; row++) {
        const uint64_t t = r->token[row];
        if (floats)
            memcpy(f + row * w->ws->ldx, in->f + t * in->ldf, n * sizeof *f);
        if (G->input_form != SM_INPUT_FLOAT)
            memcpy(q + row * w->ws->blocks_x, in->q + t * in->ldq, (n + 31) / 32 * sizeof *q);
    }
    r->in = (sm_input){f, w->ws->ldx, q, w->ws->blocks_x};
}

/* Several tokens: each thread chooses for some, one numbers the rows, all gather. False where the
 * other threads are gone: what they should have chosen is no expert. */
static bool route_many(const sm_worker *w, rows *r, const sm_input *in) {
    route(w, r);
    sm_team_barrier(w->team);
    if (sm_team_torn(w->team))
        return false;
    if (w->thread == 0)
        number_rows(r, w->T);
    sm_team_barrier(w->team);
    gather(w, r, in);
    sm_team_barrier(w->team);
    return true;
}

/* A single token's choice, by every thread for itself: what it needs is in `own`. */
typedef struct own_rows {
    uint32_t chosen[SM_MAX_USED], row[SM_MAX_USED], token[SM_MAX_USED];
    uint32_t bound[SM_MAX_EXPERTS + 1];
    float weight[SM_MAX_USED];
} own_rows;

static void route_one(const sm_worker *w, rows *r, own_rows *own, const sm_input *in) {
    choose(w->at.buffer[SM_EX_LOGITS], r->n_experts, r->n_used, own->chosen, own->weight);
    r->chosen = own->chosen;
    r->row = own->row;
    r->token = own->token;
    r->bound = own->bound;
    r->weight = own->weight;
    number_rows(r, 1);
    r->in = (sm_input){in->f, 0, in->q, 0}; /* all rows are the one token's */
}

static sm_input from_row(const sm_input *in, uint64_t row) {
    return (sm_input){in->f + row * in->ldf, in->ldf, in->q + row * in->ldq, in->ldq};
}

/* ---- the experts ----------------------------------------------------------------------------- */

static sm_range share_rows(const sm_worker *w, const sm_block *b) {
    const uint32_t n_ff = b->experts.n_ff;
    uint64_t begin, end;
    sm_work_share_weights(w, (n_ff + UNIT - 1) / UNIT,
                          (sm_weight_packed_bytes(b->w[SM_EXPERTS_GATE]) +
                           sm_weight_packed_bytes(b->w[SM_EXPERTS_UP])) *
                              b->experts.n_used,
                          &begin, &end);
    return (sm_range){begin * UNIT, min_u64(end * UNIT, n_ff)};
}

/* What was used of `low` by one expert may be written for the next. */
static void next_expert(const sm_worker *w) {
    if (w->adapters && w->adapters->n)
        sm_team_barrier(w->team);
}

/* Elements [f0, f1) of a row of h. */
static void activate(const sm_worker *w, const rows *r, sm_input_use use, uint64_t row, uint64_t f0,
                     uint64_t f1) {
    const uint64_t at = row * r->ldh + f0;
    const float *gate = (float *)w->at.buffer[SM_EX_GATE] + at;
    const float *up = (float *)w->at.buffer[SM_EX_UP] + at;
    float *h = use.floats ? (float *)w->at.buffer[SM_EX_H] + at : w->scratch->row;
    sm_act_block *formed = w->at.buffer[SM_EX_H_FORM];
    if (r->b->experts.activation == SM_GELU)
        w->kernels->gelu_mul(h, gate, up, f1 - f0);
    else
        w->kernels->silu_mul(h, gate, up, f1 - f0);
    sm_input_prepare(w, use.form, formed + row * r->blocks_h + f0 / 32, h, f1 - f0);
}

/* h of all rows of expert e. */
static void gate_up(const sm_worker *w, const rows *r, uint32_t e) {
    const sm_weight *G = sm_block_expert(r->b, SM_EXPERTS_GATE, e);
    const sm_weight *U = sm_block_expert(r->b, SM_EXPERTS_UP, e);
    const sm_input_use use = sm_input_use_of(w, r->b->w[SM_EXPERTS_DOWN]);
    const uint64_t first = r->bound[e], n = r->bound[e + 1] - first;
    const sm_input in = from_row(&r->in, first);
    float *gate = (float *)w->at.buffer[SM_EX_GATE] + first * r->ldh;
    float *up = (float *)w->at.buffer[SM_EX_UP] + first * r->ldh;
    const sm_range share = share_rows(w, r->b), groups = sm_groups_of(share);
    sm_product_lower(w, G, &in, n, r->token + first);
    if (share.begin < share.end) {
        sm_product_compute(w, G, groups.begin, groups.end, &in, 0, n, gate, r->ldh);
        sm_product_compute(w, U, groups.begin, groups.end, &in, 0, n, up, r->ldh);
    }
    for (uint64_t row = first; row < first + n && share.begin < share.end; row++)
        activate(w, r, use, row, share.begin, share.end);
    next_expert(w);
}

static sm_range share_down(const sm_worker *w, const sm_block *b) {
    const sm_weight *D = b->w[SM_EXPERTS_DOWN];
    sm_range share;
    sm_work_share_weights(w, (D->rows + SM_GROUP - 1) / SM_GROUP,
                          sm_weight_packed_bytes(D) * b->experts.n_used, &share.begin, &share.end);
    return share;
}

static void down(const sm_worker *w, const rows *r, uint32_t e) {
    const sm_weight *D = sm_block_expert(r->b, SM_EXPERTS_DOWN, e);
    const sm_input h = {w->at.buffer[SM_EX_H], r->ldh, w->at.buffer[SM_EX_H_FORM], r->blocks_h};
    const uint64_t first = r->bound[e], n = r->bound[e + 1] - first;
    const sm_input in = from_row(&h, first);
    const sm_range groups = share_down(w, r->b);
    sm_product_lower(w, D, &in, n, r->token + first);
    if (groups.begin < groups.end)
        sm_product_compute(w, D, groups.begin, groups.end, &in, 0, n,
                           (float *)w->at.buffer[SM_EX_OUT] + first * w->ws->ldx, w->ws->ldx);
    next_expert(w);
}

/* y of this thread's columns: a token's rows, weighted, in the order of experts. */
static void add_up(const sm_worker *w, const rows *r) {
    const sm_range groups = share_down(w, r->b);
    const uint64_t ld = w->ws->ldx, r0 = groups.begin * SM_GROUP;
    const uint64_t end = min_u64(groups.end * SM_GROUP, w->c->n_embd);
    const float *out = w->at.buffer[SM_EX_OUT];
    for (uint64_t t = 0; t < w->T && r0 < end; t++) {
        float *y = w->at.y + t * ld + r0;
        for (uint32_t j = 0; j < r->n_used; j++) {
            const float *row = out + r->row[t * r->ldu + j] * ld + r0;
            const float p = r->weight[t * r->ldu + j];
            if (j == 0)
                w->kernels->scale(y, row, p, end - r0);
            else
                w->kernels->add_product(y, row, NULL, p, end - r0);
        }
        sm_add_output(w, t, r0, end - r0);
    }
}

/* Of the router's few rows each thread takes some. */
static void router(const sm_worker *w, const sm_input *in) {
    const sm_block *b = w->block;
    const sm_weight *R = b->w[SM_EXPERTS_ROUTER];
    const sm_range groups = sm_share_groups(w, R);
    if (groups.begin < groups.end)
        sm_product_compute(w, R, groups.begin, groups.end, in, 0, w->T, w->at.buffer[SM_EX_LOGITS],
                           b->ld[SM_EX_LOGITS]);
}

/* What is used of the experts for the first time. All have to be through with one call before the
 * next one begins. */
static bool pack_experts(const sm_worker *w, const rows *r) {
    for (uint32_t e = 0; e < r->n_experts && w->pass->repack_experts; e++) {
        const sm_weight *first = sm_block_expert(r->b, SM_EXPERTS_GATE, e);
        if (r->bound[e] == r->bound[e + 1])
            continue;
        if (!sm_repack(w, first->index, first->index + first->stride))
            return false;
        sm_team_barrier(w->team);
    }
    return true;
}

bool sm_experts_run(sm_worker *w, const sm_block *b, sm_input *in) {
    rows r = rows_of(w);
    own_rows own;
    router(w, in);
    if (w->thread == 0) /* one decision for all: they must meet at the same barriers */
        w->pass->cancelled = sm_stopped(w->scratch);
    sm_team_barrier(w->team);
    if (w->pass->cancelled)
        return false;
    if (w->T == 1 && !w->batch->tape)
        route_one(w, &r, &own, in);
    else if (!route_many(w, &r, in))
        return false;
    if (!pack_experts(w, &r))
        return false;
    for (uint32_t e = 0; e < b->experts.n_experts; e++)
        if (r.bound[e] < r.bound[e + 1])
            gate_up(w, &r, e);
    sm_team_barrier(w->team);
    for (uint32_t e = 0; e < b->experts.n_experts; e++)
        if (r.bound[e] < r.bound[e + 1])
            down(w, &r, e);
    add_up(w, &r);
    return true;
}

void sm_experts_expect(const sm_worker *w, const sm_block *b) {
    const sm_weight *R = b->w[SM_EXPERTS_ROUTER];
    sm_expect(w, R, sm_share_groups(w, R));
}
