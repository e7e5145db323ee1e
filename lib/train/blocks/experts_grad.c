/* Backward of a mixture of experts: x += share shared(n) + sum over the chosen e of p_e y_e, n =
 * norm(x), y_e = down_e(h_e), h_e = activation(gate_e n) * (up_e n), shared likewise, share =
 * sigmoid(v n) or 1.
 *
 *   dh_e = p_e down_e^T dy,  dp_e = dy . y_e = (down_e^T dy) . h_e (+ dy . bias of down_e)
 *   dv = dz n, dn += dz v, dz = share (1 - share) (down^T dy) . h
 *
 * From dp to the router's logits: route_grad.c. Expert by expert, the rows of its tokens beside
 * each other. */
#include "train/graph.h"

#include <math.h>
#include <string.h>

enum {
    DY, /* [together][ldx] rows of the output's gradient */
    X,  /* rows of n */
    DX, /* their gradient */
    H,  /* [together][ldh] */
    DGATE,
    DUP,
    DP,     /* [together][n_used] */
    DSCALE, /* [together][n_used] of experts' scales, token by token */
    DS,     /* [together][n_experts] */
    SHARED_H,
    SHARED_DGATE,
    SHARED_DUP,
    BUFFERS
};

/* What the tape has of the routing. */
typedef struct routing {
    const uint32_t *chosen, *row, *token, *bound;
    const float *weight;
    uint64_t ldu;
} routing;

static routing routing_of(const sm_graph *g, const sm_block *block) {
    const sm_places *l = &g->tape->blocks[block->index];
    return (routing){.chosen = l->buffer[SM_EX_CHOSEN],
                     .row = l->buffer[SM_EX_ROWS],
                     .token = l->buffer[SM_EX_TOKENS],
                     .bound = l->buffer[SM_EX_BOUNDS],
                     .weight = l->buffer[SM_EX_WEIGHT],
                     .ldu = block->ld[SM_EX_CHOSEN]};
}

/* Which of its experts row `row` of token t belongs to. */
static uint64_t place_of(const routing *r, uint64_t t, uint32_t row) {
    uint64_t at = t * r->ldu;
    while (r->row[at] != row)
        at++;
    return at;
}

static void my_share(const sm_backward *b, uint64_t n, uint64_t *begin, uint64_t *end) {
    sm_share(n, b->crew.thread, b->crew.n_threads, begin, end);
}

/* Rows [row, row + n) of an expert: dy and n of their tokens. Ends with a barrier. */
static void gather(const sm_backward *b, const sm_block *block, const routing *r, const float *dy,
                   uint32_t row, uint64_t n) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, bytes = block->dims[SM_DIM_EMBD] * sizeof(float);
    uint64_t begin, end;
    my_share(b, n, &begin, &end);
    for (uint64_t i = begin; i < end && !sm_crew_stopped_at(&b->crew, i - begin, ldx); i++) {
        const uint64_t t = r->token[row + i] - b->first;
        memcpy(sm_grad_at(g, block, DY) + i * ldx, dy + t * ldx, bytes);
        memcpy(sm_grad_at(g, block, X) + i * ldx, g->normed + t * ldx, bytes);
        if (block->experts.weigh_inputs)
            g->kernels->scale(sm_grad_at(g, block, X) + i * ldx, g->normed + t * ldx,
                              r->weight[place_of(r, r->token[row + i], row + (uint32_t)i)],
                              block->dims[SM_DIM_EMBD]);
    }
    sm_team_barrier(b->crew.team);
}

static sm_silu_mul_grad_fn *activation_of(const sm_graph *g, const sm_block *block) {
    return block->experts.activation == SM_GELU ? g->kernels->gelu_mul_grad
                                                : g->kernels->silu_mul_grad;
}

/* Through the clamping of gate and up (blocks/experts.c), which the tape has clamped. */
static void clamp_back(const sm_experts_params *p, float *dgate, float *dup, const float *gate,
                       const float *up) {
    const float most = p->alpha * p->limit;
    const float high = (p->limit + 1) / p->alpha, low = (1 - p->limit) / p->alpha;
    for (uint32_t i = 0; i < p->n_ff; i++) {
        dgate[i] = gate[i] < most ? dgate[i] * p->alpha : 0;
        dup[i] = up[i] > low && up[i] < high ? dup[i] / p->alpha : 0;
    }
}

/* From down^T dy, in DGATE, to the gradients of gate and up of expert e; h and dp on the way.
 * Barrier. */
static void activations(const sm_backward *b, const sm_block *block, const routing *r, uint32_t e,
                        uint32_t row, uint64_t n) {
    const sm_graph *g = b->g;
    const sm_places *l = &g->tape->blocks[block->index];
    const uint64_t ld = sm_row_stride(block->experts.n_ff), n_ff = block->experts.n_ff;
    const uint64_t ldp = sm_grad_ld(block, DP), n_embd = block->dims[SM_DIM_EMBD];
    const float *bias = block->v[SM_EXPERTS_DOWN_BIAS];
    sm_silu_mul_grad_fn *activate = activation_of(g, block);
    uint64_t begin, end;
    my_share(b, n, &begin, &end);
    for (uint64_t i = begin; i < end && !sm_crew_stopped_at(&b->crew, i - begin, n_ff); i++) {
        const float *gate = (const float *)l->buffer[SM_EX_GATE] + (row + i) * ld;
        const float *up = (const float *)l->buffer[SM_EX_UP] + (row + i) * ld;
        float *h = sm_grad_at(g, block, H) + i * ld, *dup = sm_grad_at(g, block, DUP) + i * ld;
        float *dgate = sm_grad_at(g, block, DGATE) + i * ld;
        const uint64_t t = r->token[row + i], place = place_of(r, t, row + (uint32_t)i);
        const float p = r->weight[place];
        activate(dgate, dup, h, dgate, gate, up, n_ff);
        if (block->experts.weigh_inputs)
            continue;
        /* dup is what the gradient of h and the activation make */
        float *dp = sm_grad_at(g, block, DP) + (t - b->first) * ldp + place - t * r->ldu;
        *dp = g->kernels->dot(dup, up, n_ff);
        if (bias)
            *dp += g->kernels->dot(sm_grad_at(g, block, DY) + i * g->tape->ldx, bias + e * n_embd,
                                   n_embd);
        if (block->experts.limit > 0)
            clamp_back(&block->experts, dgate, dup, gate, up);
        g->kernels->scale(dgate, dgate, p, n_ff);
        g->kernels->scale(dup, dup, p, n_ff);
        g->kernels->scale(h, h, p, n_ff); /* dy counts p times */
    }
    sm_team_barrier(b->crew.team);
}

/* dn of the rows' tokens += DX, p DX where inputs are weighed (p x is what is read, so dp = DX .
 * x). A token has one row of each expert at most. Barrier. */
static void scatter(const sm_backward *b, const sm_block *block, const routing *r, uint32_t row,
                    uint64_t n) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, width = block->dims[SM_DIM_EMBD];
    uint64_t begin, end;
    my_share(b, n, &begin, &end);
    for (uint64_t i = begin; i < end && !sm_crew_stopped_at(&b->crew, i - begin, ldx); i++) {
        const uint64_t t = r->token[row + i], own = t - b->first;
        const float *dx = sm_grad_at(g, block, DX) + i * ldx;
        const uint64_t place = place_of(r, t, row + (uint32_t)i);
        const bool weigh = block->experts.weigh_inputs;
        g->kernels->add_product(g->dn + own * ldx, dx, NULL, weigh ? r->weight[place] : 1, width);
        if (weigh)
            sm_grad_at(g, block, DP)[own * sm_grad_ld(block, DP) + place - t * r->ldu] =
                g->kernels->dot(dx, g->normed + own * ldx, width);
    }
    sm_team_barrier(b->crew.team);
}

/* Biases of expert e; DGATE and DUP count p times already. No barrier. */
static void biases(const sm_backward *b, const sm_block *block, const routing *r, uint32_t e,
                   uint32_t row, uint64_t n) {
    const sm_graph *g = b->g;
    float *const *d = g->blocks[block->index].v;
    const uint64_t n_ff = block->experts.n_ff, n_embd = block->dims[SM_DIM_EMBD];
    const uint64_t ld = sm_grad_ld(block, H);
    uint64_t begin, end;
    if (d[SM_EXPERTS_GATE_BIAS])
        sm_grad_bias(b, d[SM_EXPERTS_GATE_BIAS] + e * n_ff, sm_grad_at(g, block, DGATE), ld, n,
                     n_ff);
    if (d[SM_EXPERTS_UP_BIAS])
        sm_grad_bias(b, d[SM_EXPERTS_UP_BIAS] + e * n_ff, sm_grad_at(g, block, DUP), ld, n, n_ff);
    if (!d[SM_EXPERTS_DOWN_BIAS])
        return;
    sm_grad_columns(b, n_embd, &begin, &end);
    for (uint64_t i = 0; i < n && begin < end && !sm_crew_stopped_at(&b->crew, i, n_embd); i++) {
        const float p = block->experts.weigh_inputs
                            ? 1
                            : r->weight[place_of(r, r->token[row + i], row + (uint32_t)i)];
        g->kernels->add_product(d[SM_EXPERTS_DOWN_BIAS] + e * n_embd + begin,
                                sm_grad_at(g, block, DY) + i * g->tape->ldx + begin, NULL, p,
                                end - begin);
    }
}

/* n rows from `row` on of one expert. */
static void expert(const sm_backward *b, const sm_block *block, const routing *r, const float *dy,
                   uint32_t e, uint32_t row, uint64_t n) {
    const sm_graph *g = b->g;
    const sm_master *G = &g->masters[sm_block_expert(block, SM_EXPERTS_GATE, e)->index];
    const sm_master *U = &g->masters[sm_block_expert(block, SM_EXPERTS_UP, e)->index];
    const sm_master *D = &g->masters[sm_block_expert(block, SM_EXPERTS_DOWN, e)->index];
    const uint64_t ldx = g->tape->ldx, ld = sm_row_stride(block->experts.n_ff);
    const uint32_t *tokens = r->token + row;
    float *dgate = sm_grad_at(g, block, DGATE), *dup = sm_grad_at(g, block, DUP);
    float *x = sm_grad_at(g, block, X), *dx = sm_grad_at(g, block, DX);
    gather(b, block, r, dy, row, n);
    sm_grad_input(b, D, sm_grad_at(g, block, DY), ldx, n, tokens, dgate, ld, false);
    activations(b, block, r, e, row, n);
    biases(b, block, r, e, row, n);
    sm_grad_weight(b, D, sm_grad_at(g, block, DY), ldx, sm_grad_at(g, block, H), ld, n, tokens);
    sm_grad_weight(b, G, dgate, ld, x, ldx, n, tokens);
    sm_grad_weight(b, U, dup, ld, x, ldx, n, tokens);
    sm_grad_input(b, G, dgate, ld, n, tokens, dx, ldx, false);
    sm_grad_input(b, U, dup, ld, n, tokens, dx, ldx, true);
    scatter(b, block, r, row, n);
}

/* Of b's tokens: dn = 0. Barrier. */
static void clear(const sm_backward *b) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx;
    uint64_t begin, end;
    my_share(b, b->T, &begin, &end);
    memset(g->dn + begin * ldx, 0, (end - begin) * ldx * sizeof *g->dn);
    sm_team_barrier(b->crew.team);
}

/* ---- what all tokens go through ------------------------------------------------------------- */

/* From down^T dy, in SHARED_DGATE, to the gradients of gate and up, h on the way; with a share, dz
 * in g->r. Barrier. */
static void shared_activations(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_places *l = &g->tape->blocks[block->index];
    const uint64_t ld = sm_grad_ld(block, SHARED_H), n_ff = block->experts.n_ff_shared;
    const float *v = block->v[SM_EXPERTS_SHARE];
    sm_silu_mul_grad_fn *activate = activation_of(g, block);
    uint64_t begin, end;
    my_share(b, b->T, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n_ff); t++) {
        const uint64_t at = (b->first + t) * ld;
        const float *gate = (const float *)l->buffer[SM_EX_SHARED_GATE] + at;
        const float *up = (const float *)l->buffer[SM_EX_SHARED_UP] + at;
        float *h = sm_grad_at(g, block, SHARED_H) + t * ld;
        float *dgate = sm_grad_at(g, block, SHARED_DGATE) + t * ld;
        float *dup = sm_grad_at(g, block, SHARED_DUP) + t * ld;
        activate(dgate, dup, h, dgate, gate, up, n_ff);
        if (!v)
            continue;
        const float *n = g->normed + t * g->tape->ldx;
        const double z = (double)g->kernels->dot(n, v, block->dims[SM_DIM_EMBD]);
        const float share = (float)(1 / (1 + exp(-z)));
        g->r[t] = share * (1 - share) * g->kernels->dot(dup, up, n_ff);
        g->kernels->scale(dgate, dgate, share, n_ff);
        g->kernels->scale(dup, dup, share, n_ff);
        g->kernels->scale(h, h, share, n_ff);
    }
    sm_team_barrier(b->crew.team);
}

/* Of share = sigmoid(v n): dv += sum of dz n, dn += dz v. Each thread its columns. Barrier. */
static void share_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const float *v = block->v[SM_EXPERTS_SHARE];
    float *dv = g->blocks[block->index].v[SM_EXPERTS_SHARE];
    const uint64_t ldx = g->tape->ldx, width = block->dims[SM_DIM_EMBD];
    uint64_t begin, end;
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, width); t++) {
        const uint64_t at = t * ldx + begin;
        if (dv)
            g->kernels->add_product(dv + begin, g->normed + at, NULL, g->r[t], end - begin);
        g->kernels->add_product(g->dn + at, v + begin, NULL, g->r[t], end - begin);
    }
    sm_team_barrier(b->crew.team);
}

static void shared(const sm_backward *b, const sm_block *block, const float *dy) {
    const sm_graph *g = b->g;
    const sm_master *G = sm_master_of(g, block, SM_EXPERTS_SHARED_GATE);
    const sm_master *U = sm_master_of(g, block, SM_EXPERTS_SHARED_UP);
    const sm_master *D = sm_master_of(g, block, SM_EXPERTS_SHARED_DOWN);
    const uint64_t ldx = g->tape->ldx, ld = sm_grad_ld(block, SHARED_H), T = b->T;
    float *dgate = sm_grad_at(g, block, SHARED_DGATE), *dup = sm_grad_at(g, block, SHARED_DUP);
    sm_grad_input(b, D, dy, ldx, T, NULL, dgate, ld, false);
    shared_activations(b, block);
    sm_grad_weight(b, D, dy, ldx, sm_grad_at(g, block, SHARED_H), ld, T, NULL);
    sm_grad_weight(b, G, dgate, ld, g->normed, ldx, T, NULL);
    sm_grad_weight(b, U, dup, ld, g->normed, ldx, T, NULL);
    sm_grad_input(b, G, dgate, ld, T, NULL, g->dn, ldx, true);
    sm_grad_input(b, U, dup, ld, T, NULL, g->dn, ldx, true);
    if (block->v[SM_EXPERTS_SHARE])
        share_back(b, block);
}

/* ---- the block ------------------------------------------------------------------------------- */

/* Gradients of token t's logits; its part of the balancing loss in g->r. */
static void logits_back(const sm_backward *b, const sm_block *block, const routing *r, uint64_t t) {
    const sm_graph *g = b->g;
    const float *logits = g->tape->blocks[block->index].buffer[SM_EX_LOGITS];
    const uint64_t at = (b->first + t) * r->ldu;
    float *ds = sm_grad_at(g, block, DS) + t * sm_grad_ld(block, DS);
    logits += (b->first + t) * block->ld[SM_EX_LOGITS];
    float *dp = sm_grad_at(g, block, DP) + t * sm_grad_ld(block, DP), own[SM_MAX_USED];
    const float *scale = block->v[SM_EXPERTS_WEIGHT_SCALE], *weight = r->weight + at;
    for (uint32_t j = 0; scale && j < block->experts.n_used; j++) { /* p = own weight * scale */
        own[j] = weight[j] / scale[r->chosen[at + j]];
        sm_grad_at(g, block, DSCALE)[t * sm_grad_ld(block, DSCALE) + j] = dp[j] * own[j];
        dp[j] *= scale[r->chosen[at + j]];
    }
    sm_grad_route(&block->experts, logits, r->chosen + at, scale ? own : weight, dp, ds);
    if (g->balance_weight > 0)
        g->r[t] = (float)sm_grad_balance(&block->experts, logits, r->bound, g->balance_weight, ds);
}

/* Of the experts' own scales, token by token. Barrier. */
static void scales_back(const sm_backward *b, const sm_block *block, const routing *r) {
    const sm_graph *g = b->g;
    float *d = g->blocks[block->index].v[SM_EXPERTS_WEIGHT_SCALE];
    for (uint64_t t = 0; t < b->T && d && b->crew.thread == 0; t++)
        for (uint32_t j = 0; j < block->experts.n_used; j++)
            d[r->chosen[(b->first + t) * r->ldu + j]] +=
                sm_grad_at(g, block, DSCALE)[t * sm_grad_ld(block, DSCALE) + j];
    sm_team_barrier(b->crew.team);
}

/* A router that reads s norm(x) / root of n: its weights, s, and dx. Barrier. */
static void apart_back(const sm_backward *b, const sm_block *block, const sm_master *R,
                       const float *ds, uint64_t lds) {
    sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, n = block->dims[SM_DIM_EMBD];
    const float *x = g->tape->blocks[block->index].x + b->first * ldx;
    const float eps = g->net->config.norm_eps, size = 1 / sqrtf((float)n);
    const float *s = block->v[SM_EXPERTS_ROUTER_SCALE];
    float *in = sm_grad_at(g, block, X), *din = sm_grad_at(g, block, DX);
    float *dw = g->blocks[block->index].v[SM_EXPERTS_ROUTER_SCALE];
    uint64_t begin, end;
    my_share(b, b->T, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++)
        sm_router_row(g->kernels, block, in + t * ldx, x + t * ldx, eps);
    sm_team_barrier(b->crew.team);
    sm_grad_weight(b, R, ds, lds, in, ldx, b->T, NULL);
    sm_grad_input(b, R, ds, lds, b->T, NULL, din, ldx, false);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, n); t++) {
        float *row = in + t * ldx, *d = din + t * ldx;
        g->kernels->rms_norm(row, x + t * ldx, NULL, n, eps);
        for (uint64_t i = 0; i < n; i++) {
            row[i] *= d[i] * size; /* of s */
            d[i] *= s[i] * size;
        }
        g->kernels->rms_norm_grad(g->dx + (b->first + t) * ldx, d, x + t * ldx, NULL, n, eps, true);
    }
    sm_team_barrier(b->crew.team);
    sm_grad_bias(b, dw, in, ldx, b->T, n);
    sm_team_barrier(b->crew.team); /* they may be written again */
}

/* From dp to the router's logits, its weights and n. */
static void router(const sm_backward *b, const sm_block *block, const routing *r) {
    sm_graph *g = b->g;
    const sm_master *R = sm_master_of(g, block, SM_EXPERTS_ROUTER);
    const uint64_t lds = sm_grad_ld(block, DS), ldx = g->tape->ldx;
    float *ds = sm_grad_at(g, block, DS);
    uint64_t begin, end;
    my_share(b, b->T, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, lds); t++)
        logits_back(b, block, r, t);
    sm_team_barrier(b->crew.team);
    for (uint64_t t = 0; t < b->T && b->crew.thread == 0 && g->balance_weight > 0; t++)
        g->balance += (double)g->r[t];
    sm_grad_bias(b, g->blocks[block->index].v[SM_EXPERTS_ROUTER_BIAS], ds, lds, b->T,
                 block->experts.n_experts);
    scales_back(b, block, r);
    if (sm_routes_apart(block)) {
        apart_back(b, block, R, ds, lds);
        return;
    }
    sm_grad_weight(b, R, ds, lds, g->normed, ldx, b->T, NULL);
    sm_grad_input(b, R, ds, lds, b->T, NULL, g->dn, ldx, true);
}

static void part(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const routing r = routing_of(g, block);
    const float *dy = sm_grad_output(b, block) + b->first * g->tape->ldx;
    sm_grad_renorm(b, block);
    clear(b);
    for (uint32_t e = 0; e < block->experts.n_experts; e++) {
        uint32_t row = r.bound[e], end = r.bound[e + 1];
        while (row < end && r.token[row] < b->first)
            row++;
        while (row < end && r.token[end - 1] >= b->first + b->T)
            end--;
        if (row < end)
            expert(b, block, &r, dy, e, row, end - row);
    }
    if (block->w[SM_EXPERTS_SHARED_DOWN])
        shared(b, block, dy);
    router(b, block, &r);
    sm_grad_residual(b, block);
}

static void backward(const sm_backward *b, const sm_block *block) {
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward some = sm_grad_part(b, first);
        part(&some, block);
    }
}

const sm_grad_kind sm_grad_experts = {
    .backward = backward,
    .buffer =
        {
            [DY] = {SM_DIM_EMBD, true},
            [X] = {SM_DIM_EMBD, true},
            [DX] = {SM_DIM_EMBD, true},
            [H] = {SM_DIM_FF, true},
            [DGATE] = {SM_DIM_FF, true},
            [DUP] = {SM_DIM_FF, true},
            [DP] = {SM_DIM_USED, true},
            [DS] = {SM_DIM_EXPERTS, true},
            [DSCALE] = {SM_DIM_USED, true},
            [SHARED_H] = {SM_DIM_FF_SHARED, true},
            [SHARED_DGATE] = {SM_DIM_FF_SHARED, true},
            [SHARED_DUP] = {SM_DIM_FF_SHARED, true},
        },
    .n_buffers = BUFFERS,
};
