/* Mixture of experts, and what all tokens go through beside them. A token's experts are added up in
 * the order of their numbers, and each row is a chain of its own: so results depend neither on the
 * company of a token nor on the threads. */
#include "worker.h"

#include <math.h>
#include <string.h>

const sm_kind sm_kind_experts =
    {
        .name = "experts",
        .id = SM_KIND_EXPERTS,
        .n_slots = SM_EXPERTS_SLOTS,
        .n_buffers = SM_EX_BUFFERS,
        .n_joins = 1,
        .slot =
            {
                SM_WIRING_ROWS,
                [SM_EXPERTS_ROUTER] = {"ffn_gate_inp.weight", SM_DIM_EXPERTS, SM_DIM_EMBD, 0, 1,
                                       SM_ROLE_ROUTER, SM_MUST},
                [SM_EXPERTS_SHARED_GATE] = {"ffn_gate_shexp.weight", SM_DIM_FF_SHARED, SM_DIM_EMBD,
                                            0, 1, SM_ROLE_MATRIX, SM_IF_ASKED},
                [SM_EXPERTS_SHARED_UP] = {"ffn_up_shexp.weight", SM_DIM_FF_SHARED, SM_DIM_EMBD, 0,
                                          1, SM_ROLE_MATRIX, SM_IF_ASKED},
                [SM_EXPERTS_SHARED_DOWN] = {"ffn_down_shexp.weight", SM_DIM_EMBD, SM_DIM_FF_SHARED,
                                            0, 3, SM_ROLE_DOWN, SM_IF_ASKED},
                [SM_EXPERTS_GATE] = {"ffn_gate_exps.weight", SM_DIM_FF, SM_DIM_EMBD, SM_DIM_EXPERTS,
                                     1, SM_ROLE_MATRIX, SM_MUST},
                [SM_EXPERTS_UP] = {"ffn_up_exps.weight", SM_DIM_FF, SM_DIM_EMBD, SM_DIM_EXPERTS, 1,
                                   SM_ROLE_MATRIX, SM_MUST},
                [SM_EXPERTS_DOWN] = {"ffn_down_exps.weight", SM_DIM_EMBD, SM_DIM_FF, SM_DIM_EXPERTS,
                                     2, SM_ROLE_DOWN, SM_MUST},
                [SM_EXPERTS_ROUTER_BIAS] = {"ffn_gate_inp.bias", SM_DIM_EXPERTS, 0, 0, 0,
                                            SM_ROLE_BIAS, SM_MAY},
                [SM_EXPERTS_CHOICE_BIAS] = {"exp_probs_b.bias", SM_DIM_EXPERTS, 0, 0, 0,
                                            SM_ROLE_BIAS, SM_MAY},
                [SM_EXPERTS_SHARE] = {"ffn_gate_inp_shexp.weight", SM_DIM_EMBD, 0, 0, 1,
                                      SM_ROLE_ROUTER, SM_IF_ASKED},
                [SM_EXPERTS_GATE_BIAS] = {"ffn_gate_exps.bias", SM_DIM_FF, 0, SM_DIM_EXPERTS, 0,
                                          SM_ROLE_BIAS, SM_MAY},
                [SM_EXPERTS_UP_BIAS] = {"ffn_up_exps.bias", SM_DIM_FF, 0, SM_DIM_EXPERTS, 0,
                                        SM_ROLE_BIAS, SM_MAY},
                [SM_EXPERTS_DOWN_BIAS] = {"ffn_down_exps.bias", SM_DIM_EMBD, 0, SM_DIM_EXPERTS, 0,
                                          SM_ROLE_BIAS, SM_MAY},
                [SM_EXPERTS_ROUTER_SCALE] = {"ffn_gate_inp.scale", SM_DIM_EMBD, 0, 0, 0,
                                             SM_ROLE_NORM, SM_IF_ASKED},
                [SM_EXPERTS_WEIGHT_SCALE] = {"ffn_down_exps.scale", SM_DIM_EXPERTS, 0, 0, 0,
                                             SM_ROLE_NORM, SM_IF_ASKED},
            },
        .join = {{"ffn_gate_up_exps.weight", SM_EXPERTS_GATE, 2, SM_MAY}},
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
                [SM_EX_SHARED_GATE] = {SM_DIM_FF_SHARED, SM_KEEP, 0},
                [SM_EX_SHARED_UP] = {SM_DIM_FF_SHARED, SM_KEEP, 0},
                [SM_EX_SHARED_H] = {SM_DIM_FF_SHARED, 0, 0},
                [SM_EX_SHARED_H_FORM] = {SM_DIM_FF_SHARED, SM_FORMS, 0},
                [SM_EX_ROUTER_IN] = {SM_DIM_ROUTED, 0, 0},
                [SM_EX_ROUTER_IN_FORM] = {SM_DIM_ROUTED, SM_FORMS, 0},
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

/* Weights of a token's experts by their own scales. */
static void scale_weights(const sm_block *b, const uint32_t *chosen, float *weight) {
    const float *scale = b->v[SM_EXPERTS_WEIGHT_SCALE];
    for (uint32_t j = 0; scale && j < b->experts.n_used; j++)
        weight[j] *= scale[chosen[j]];
}

/* Which experts each token goes through. */
static void route(const sm_worker *w, const rows *r) {
    const sm_block *b = r->b;
    const float *bias = b->v[SM_EXPERTS_ROUTER_BIAS];
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        float *logits = (float *)w->at.buffer[SM_EX_LOGITS] + t * b->ld[SM_EX_LOGITS];
        if (bias)
            w->kernels->add(logits, logits, bias, r->n_experts);
        sm_route(&b->experts, logits, b->v[SM_EXPERTS_CHOICE_BIAS], r->chosen + t * r->ldu,
                 r->weight + t * r->ldu);
        scale_weights(b, r->chosen + t * r->ldu, r->weight + t * r->ldu);
    }
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

/* Of row `row` of token t. */
static float weight_of(const rows *r, uint64_t t, uint64_t row) {
    uint64_t at = t * r->ldu;
    while (r->row[at] != row)
        at++;
    return r->weight[at];
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
        if (r->b->experts.weigh_inputs) {
            float *own = f + row * w->ws->ldx;
            w->kernels->scale(own, in->f + t * in->ldf, weight_of(r, t, row), n);
            sm_input_prepare(w, G->input_form, q + row * w->ws->blocks_x, own, n);
            continue;
        }
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
    const float *bias = r->b->v[SM_EXPERTS_ROUTER_BIAS], *logits = w->at.buffer[SM_EX_LOGITS];
    float biased[SM_MAX_EXPERTS];
    if (bias) {
        w->kernels->add(biased, logits, bias, r->n_experts);
        logits = biased;
    }
    sm_route(&r->b->experts, logits, r->b->v[SM_EXPERTS_CHOICE_BIAS], own->chosen, own->weight);
    scale_weights(r->b, own->chosen, own->weight);
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

/* gate and up such that silu(gate) * up is what sm_experts_params.limit says: their gradients are
 * a factor away, and 0 where a bound is touched. */
static void clamp(float *gate, float *up, uint64_t n, float limit, float alpha) {
    for (uint64_t i = 0; i < n; i++) {
        const float g = gate[i] > limit ? limit : gate[i];
        const float u = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
        gate[i] = alpha * g;
        up[i] = (u + 1) / alpha;
    }
}

/* n elements of a row: h = activation(gate) * up, in down's form. */
static void activate(const sm_worker *w, sm_input_use use, const float *gate, const float *up,
                     float *h, sm_act_block *formed, uint64_t n) {
    h = use.floats ? h : w->scratch->row;
    if (w->block->experts.activation == SM_GELU)
        w->kernels->gelu_mul(h, gate, up, n);
    else
        w->kernels->silu_mul(h, gate, up, n);
    sm_input_prepare(w, use.form, formed, h, n);
}

/* Elements of a row of expert e. */
static void activate_row(const sm_worker *w, const rows *r, sm_input_use use, uint32_t e,
                         uint64_t row, sm_range f) {
    const sm_experts_params *p = &r->b->experts;
    const uint64_t at = row * r->ldh + f.begin, n = f.end - f.begin;
    const uint64_t of_expert = (uint64_t)e * p->n_ff + f.begin;
    const float *gate_bias = r->b->v[SM_EXPERTS_GATE_BIAS], *up_bias = r->b->v[SM_EXPERTS_UP_BIAS];
    float *gate = (float *)w->at.buffer[SM_EX_GATE] + at;
    float *up = (float *)w->at.buffer[SM_EX_UP] + at;
    if (gate_bias)
        w->kernels->add(gate, gate, gate_bias + of_expert, n);
    if (up_bias)
        w->kernels->add(up, up, up_bias + of_expert, n);
    if (p->limit > 0)
        clamp(gate, up, n, p->limit, p->alpha);
    activate(w, use, gate, up, (float *)w->at.buffer[SM_EX_H] + at,
             (sm_act_block *)w->at.buffer[SM_EX_H_FORM] + row * r->blocks_h + f.begin / 32, n);
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
        activate_row(w, r, use, e, row, share);
    next_expert(w);
}

/* The same of all experts, and of what all tokens go through. */
static sm_range share_down(const sm_worker *w, const sm_block *b) {
    const sm_weight *D = b->w[SM_EXPERTS_DOWN], *S = b->w[SM_EXPERTS_SHARED_DOWN];
    sm_range share;
    sm_work_share_weights(w, (D->rows + SM_GROUP - 1) / SM_GROUP,
                          sm_weight_packed_bytes(D) * b->experts.n_used +
                              (S ? sm_weight_packed_bytes(S) : 0),
                          &share.begin, &share.end);
    return share;
}

/* The bias of expert e to its n rows from `first` on, this thread's columns. */
static void add_down_bias(const sm_worker *w, const rows *r, uint32_t e, uint64_t first, uint64_t n,
                          sm_range groups) {
    const float *bias = r->b->v[SM_EXPERTS_DOWN_BIAS];
    const uint64_t n_embd = w->c->n_embd, begin = groups.begin * SM_GROUP;
    const uint64_t end = min_u64(groups.end * SM_GROUP, n_embd);
    for (uint64_t row = first; row < first + n && bias; row++) {
        float *out = (float *)w->at.buffer[SM_EX_OUT] + row * w->ws->ldx + begin;
        w->kernels->add(out, out, bias + e * n_embd + begin, end - begin);
    }
}

static void down(const sm_worker *w, const rows *r, uint32_t e) {
    const sm_weight *D = sm_block_expert(r->b, SM_EXPERTS_DOWN, e);
    const sm_input h = {w->at.buffer[SM_EX_H], r->ldh, w->at.buffer[SM_EX_H_FORM], r->blocks_h};
    const uint64_t first = r->bound[e], n = r->bound[e + 1] - first;
    const sm_input in = from_row(&h, first);
    const sm_range groups = share_down(w, r->b);
    sm_product_lower(w, D, &in, n, r->token + first);
    if (groups.begin < groups.end) {
        sm_product_compute(w, D, groups.begin, groups.end, &in, 0, n,
                           (float *)w->at.buffer[SM_EX_OUT] + first * w->ws->ldx, w->ws->ldx);
        add_down_bias(w, r, e, first, n, groups);
    }
    next_expert(w);
}

/* ---- what all tokens go through ------------------------------------------------------------- */

static sm_range share_shared(const sm_worker *w, const sm_block *b) {
    const uint32_t n_ff = b->experts.n_ff_shared;
    uint64_t begin, end;
    sm_work_share_weights(w, (n_ff + UNIT - 1) / UNIT,
                          sm_weight_packed_bytes(b->w[SM_EXPERTS_SHARED_GATE]) +
                              sm_weight_packed_bytes(b->w[SM_EXPERTS_SHARED_UP]),
                          &begin, &end);
    return (sm_range){begin * UNIT, min_u64(end * UNIT, n_ff)};
}

static void shared_gate_up(const sm_worker *w, const sm_block *b, const sm_input *in) {
    const sm_weight *G = b->w[SM_EXPERTS_SHARED_GATE], *U = b->w[SM_EXPERTS_SHARED_UP];
    const sm_input_use use = sm_input_use_of(w, b->w[SM_EXPERTS_SHARED_DOWN]);
    const uint64_t ld = b->ld[SM_EX_SHARED_H], ldq = b->ld[SM_EX_SHARED_H_FORM];
    const sm_range f = share_shared(w, b), groups = sm_groups_of(f);
    float *gate = w->at.buffer[SM_EX_SHARED_GATE], *up = w->at.buffer[SM_EX_SHARED_UP];
    float *h = w->at.buffer[SM_EX_SHARED_H];
    sm_act_block *formed = w->at.buffer[SM_EX_SHARED_H_FORM];
    for (uint64_t t0 = 0, t1; t0 < w->T && f.begin < f.end; t0 = t1) {
        t1 = min_u64(t0 + sm_tokens_together(w, G), w->T);
        sm_product_compute(w, G, groups.begin, groups.end, in, t0, t1 - t0, gate + t0 * ld, ld);
        sm_product_compute(w, U, groups.begin, groups.end, in, t0, t1 - t0, up + t0 * ld, ld);
        for (uint64_t t = t0; t < t1; t++)
            activate(w, use, gate + t * ld + f.begin, up + t * ld + f.begin, h + t * ld + f.begin,
                     formed + t * ldq + f.begin / 32, f.end - f.begin);
    }
}

/* y = share * down h, of this thread's columns. */
static void shared_down(const sm_worker *w, const sm_block *b, const sm_input *n) {
    const sm_weight *D = b->w[SM_EXPERTS_SHARED_DOWN];
    const sm_input h = {w->at.buffer[SM_EX_SHARED_H], b->ld[SM_EX_SHARED_H],
                        w->at.buffer[SM_EX_SHARED_H_FORM], b->ld[SM_EX_SHARED_H_FORM]};
    const float *share = b->v[SM_EXPERTS_SHARE];
    const sm_range groups = share_down(w, b);
    const uint64_t ld = w->ws->ldx, r0 = groups.begin * SM_GROUP;
    const uint64_t end = min_u64(groups.end * SM_GROUP, w->c->n_embd);
    sm_product_lower(w, D, &h, w->T, NULL);
    if (r0 < end)
        sm_product_compute(w, D, groups.begin, groups.end, &h, 0, w->T, w->at.y, ld);
    for (uint64_t t = 0; t < w->T && r0 < end && share; t++) {
        const double z = (double)w->kernels->dot(n->f + t * n->ldf, share, w->c->n_embd);
        float *y = w->at.y + t * ld + r0;
        w->kernels->scale(y, y, (float)(1 / (1 + exp(-z))), end - r0);
    }
    next_expert(w);
}

/* ---- the block ------------------------------------------------------------------------------- */

/* y of this thread's columns: a token's rows, weighted, in the order of experts, to what is there
 * of the shared part. */
static void add_up(const sm_worker *w, const rows *r) {
    const sm_range groups = share_down(w, r->b);
    const uint64_t ld = w->ws->ldx, r0 = groups.begin * SM_GROUP;
    const uint64_t end = min_u64(groups.end * SM_GROUP, w->c->n_embd);
    const float *out = w->at.buffer[SM_EX_OUT];
    for (uint64_t t = 0; t < w->T && r0 < end; t++) {
        float *y = w->at.y + t * ld + r0;
        for (uint32_t j = 0; j < r->n_used; j++) {
            const float *row = out + r->row[t * r->ldu + j] * ld + r0;
            const float p = r->b->experts.weigh_inputs ? 1 : r->weight[t * r->ldu + j];
            if (j == 0 && !r->b->w[SM_EXPERTS_SHARED_DOWN])
                w->kernels->scale(y, row, p, end - r0);
            else
                w->kernels->add_product(y, row, NULL, p, end - r0);
        }
        sm_add_output(w, t, r0, end - r0);
    }
}

void sm_router_row(const sm_kernels *kernels, const sm_block *b, float *y, const float *x,
                   float eps) {
    const uint64_t n = b->dims[SM_DIM_EMBD];
    const float size = 1 / sqrtf((float)n);
    kernels->rms_norm(y, x, NULL, n, eps);
    for (uint64_t i = 0; i < n; i++)
        y[i] = y[i] * b->v[SM_EXPERTS_ROUTER_SCALE][i] * size;
}

/* What a router reads that has an input of its own: each thread some rows. Barrier. */
static sm_input router_input(const sm_worker *w) {
    const sm_block *b = w->block;
    const sm_weight *R = b->w[SM_EXPERTS_ROUTER];
    const uint64_t ld = b->ld[SM_EX_ROUTER_IN], ldq = b->ld[SM_EX_ROUTER_IN_FORM];
    float *f = w->at.buffer[SM_EX_ROUTER_IN];
    sm_act_block *q = w->at.buffer[SM_EX_ROUTER_IN_FORM];
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        sm_router_row(w->kernels, b, f + t * ld, w->at.x + t * w->ws->ldx, w->c->norm_eps);
        sm_input_prepare(w, R->input_form, q + t * ldq, f + t * ld, w->c->n_embd);
    }
    sm_team_barrier(w->team);
    const sm_input in = {f, ld, q, ldq};
    sm_product_lower(w, R, &in, w->T, NULL);
    return in;
}

/* Of the router's few rows each thread takes some. */
static void router(const sm_worker *w, const sm_input *in) {
    const sm_block *b = w->block;
    const sm_weight *R = b->w[SM_EXPERTS_ROUTER];
    const sm_range groups = sm_share_groups(w, R);
    sm_input own;
    if (b->v[SM_EXPERTS_ROUTER_SCALE]) {
        own = router_input(w);
        in = &own;
    }
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
    if (b->w[SM_EXPERTS_SHARED_DOWN])
        shared_gate_up(w, b, in);
    if (w->thread == 0) /* one decision for all: they must meet at the same barriers */
        w->pass->cancelled = sm_stopped(w->scratch);
    sm_team_barrier(w->team);
    if (w->pass->cancelled)
        return false;
    if (w->T == 1 && !w->batch->tape && !b->experts.weigh_inputs)
        route_one(w, &r, &own, in);
    else if (!route_many(w, &r, in))
        return false;
    if (!pack_experts(w, &r))
        return false;
    for (uint32_t e = 0; e < b->experts.n_experts; e++)
        if (r.bound[e] < r.bound[e + 1])
            gate_up(w, &r, e);
    sm_team_barrier(w->team);
    if (b->w[SM_EXPERTS_SHARED_DOWN])
        shared_down(w, b, in);
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
