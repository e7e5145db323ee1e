/* Backward of an attention block: x += O(attention(q, k, v)), q = rope(norm(Wq n + bq)) or
 * norm(rope(Wq n + bq)), k likewise, v = Wv n + bv, n = norm(x). */
#include "train/graph.h"

#include <string.h>

/* Where a head of keys and values has one of queries, no norm and no other block that reads it,
 * nothing is added up and nothing goes to another place. */
static bool alone(const sm_block *block) {
    return block->attn.n_head == block->attn.n_head_kv && !sm_attn_normed(block, SM_ATTN_K_NORM) &&
           !block->attn.norm_values && !block->attn.borrows && !block->last_borrower;
}

static float *keys(const sm_graph *g, const sm_block *block) {
    return sm_grad_at(g, block, alone(block) ? SM_GRAD_K_HEADS : SM_GRAD_K);
}

static float *values(const sm_graph *g, const sm_block *block) {
    return sm_grad_at(g, block, alone(block) ? SM_GRAD_V_HEADS : SM_GRAD_V);
}

/* n elements, some heads of one token, back through rope, whose transpose turns the other way. */
static void turn_back(const sm_graph *g, const sm_block *block, const float *cos,
                      const float *neg_sin, float *dy, uint32_t n) {
    const sm_rope *rope = &g->net->ropes[block->attn.rope];
    for (uint32_t i = 0; i < n; i += block->attn.head_dim)
        g->kernels->rope(dy + i, cos, neg_sin, rope->n_rot, rope->neox);
}

/* Elements that a norm of n heads takes together. */
static uint32_t normed_together(const sm_block *block, uint32_t n) {
    return block->attn.norm_whole ? n * block->attn.head_dim : block->attn.head_dim;
}

/* dy (one token of n heads) back through rope into itself, then through the norm into draw; or,
 * where the norm is the later one, through it into draw and through rope there. */
static void heads_back(const sm_graph *g, const sm_block *block, const float *cos,
                       const float *neg_sin, float *dy, const float *raw, uint32_t slot, uint32_t n,
                       float *draw, float *r, float *mean) {
    const float *norm = block->v[slot];
    const bool normed = sm_attn_normed(block, slot), late = normed && block->attn.norm_late;
    const uint32_t all = n * block->attn.head_dim, some = normed_together(block, n);
    if (!late)
        turn_back(g, block, cos, neg_sin, dy, all);
    for (uint32_t at = 0; at < all && normed; at += some)
        r[at / some] = sm_grad_norm_row(g, block->attn.norm, draw + at, dy + at, raw + at,
                                        norm && block->attn.norm_own ? norm + at : norm, some,
                                        false, &mean[at / some]);
    if (late)
        turn_back(g, block, cos, neg_sin, draw, all);
}

/* Heads of a group added up. */
static void add_groups(const sm_graph *g, const sm_attn_params *p, float *sum, const float *heads) {
    const uint32_t dim = p->head_dim, group = p->n_head / p->n_head_kv;
    for (uint32_t h = 0; h < p->n_head_kv; h++) {
        memcpy(sum + h * dim, heads + h * group * dim, dim * sizeof *sum);
        for (uint32_t i = 1; i < group; i++)
            g->kernels->add(sum + h * dim, sum + h * dim, heads + (h * group + i) * dim, dim);
    }
}

static const float *raw_of(const sm_places *l, const sm_block *block, uint32_t buffer, uint64_t t) {
    const float *raw = l->buffer[buffer];
    return raw ? raw + t * block->ld[buffer] : NULL;
}

static uint32_t position_of(const sm_graph *g, uint64_t t) {
    uint32_t i = 0;
    while (t >= g->spans[i].first + g->spans[i].n)
        i++;
    return (uint32_t)t - g->spans[i].first;
}

/* Of token t: gradients d of what was clamped, 0 where it was outside. */
static void clamp_back(const sm_graph *g, const sm_block *block, uint32_t buffer, uint64_t t,
                       float *d, sm_dim width) {
    const float *free = raw_of(&g->tape->blocks[block->index], block, buffer, t);
    if (free)
        g->kernels->clamp_grad(d, free, block->dims[width], block->attn.clamp);
}

/* n elements of keys (part 0) or values (1) of token t that several blocks read: those after the
 * lender leave their gradients with it, the last of them first. */
static void lend(const sm_graph *g, const sm_block *block, uint64_t t, uint32_t part, float *dy) {
    const sm_block *lender = block->attn.borrows ? &g->net->blocks[block->attn.lender] : block;
    const uint64_t ld = lender->ld[SM_AT_K], n = lender->dims[SM_DIM_KV];
    if (!lender->last_borrower)
        return;
    float *sum = g->lent[lender->index] + (2 * t + part) * ld;
    if (block == lender)
        g->kernels->add(dy, dy, sum, n);
    else if (block->index == lender->last_borrower)
        memcpy(sum, dy, n * sizeof *sum);
    else
        g->kernels->add(sum, sum, dy, n);
}

/* dv (one token of n heads), through the norm without gains, in place. */
static void values_back(const sm_graph *g, const sm_block *block, float *dv, const float *raw) {
    const uint32_t dim = block->attn.head_dim;
    for (uint32_t h = 0; h < block->attn.n_head_kv; h++)
        g->kernels->rms_norm_grad(dv + h * dim, dv + h * dim, raw + h * dim, NULL, dim,
                                  g->net->config.norm_eps, false);
}

/* Token t: heads of a group added up for dk and dv, then q and k back to the products. */
static void token_back(const sm_backward *b, const sm_block *block, uint64_t t) {
    sm_graph *g = b->g;
    const sm_places *l = &g->tape->blocks[block->index];
    const sm_attn_params *p = &block->attn;
    const uint32_t half = g->net->ropes[p->rope].n_rot / 2;
    const uint64_t ldq = block->ld[SM_AT_Q], ldkv = block->ld[SM_AT_K];
    float *neg_sin = g->threads[b->crew.thread].neg_sin;
    const float *cos = g->tape->cos[p->rope] + t * half;
    float *dk = keys(g, block) + t * ldkv, *dv = values(g, block) + t * ldkv;
    float *dk_heads = sm_grad_at(g, block, SM_GRAD_K_HEADS) + t * ldq;
    float *dv_heads = sm_grad_at(g, block, SM_GRAD_V_HEADS) + t * ldq;
    if (!alone(block)) {
        add_groups(g, p, dk, dk_heads);
        add_groups(g, p, dv, dv_heads);
        lend(g, block, t, 0, dk);
        lend(g, block, t, 1, dv);
    }
    float *dq = sm_grad_at(g, block, SM_GRAD_Q) + t * ldq;
    if (p->temperature != 0)
        g->kernels->scale(dq, dq, sm_query_scale(p, position_of(g, t)), block->dims[SM_DIM_Q]);
    g->kernels->scale(neg_sin, g->tape->sin[p->rope] + t * half, -1, half);
    heads_back(g, block, cos, neg_sin, dq, raw_of(l, block, SM_AT_Q_RAW, t), SM_ATTN_Q_NORM,
               p->n_head, dk_heads,
               sm_grad_at(g, block, SM_GRAD_R_Q) + t * sm_grad_ld(block, SM_GRAD_R_Q),
               sm_grad_at(g, block, SM_GRAD_MEAN_Q) + t * sm_grad_ld(block, SM_GRAD_MEAN_Q));
    clamp_back(g, block, SM_AT_Q_FREE, t,
               sm_attn_normed(block, SM_ATTN_Q_NORM) ? dk_heads
                                                     : sm_grad_at(g, block, SM_GRAD_Q) + t * ldq,
               SM_DIM_Q);
    if (p->borrows)
        return;
    if (p->norm_values)
        values_back(g, block, dv, raw_of(l, block, SM_AT_V_RAW, t));
    heads_back(g, block, cos, neg_sin, dk, raw_of(l, block, SM_AT_K_RAW, t), SM_ATTN_K_NORM,
               p->n_head_kv, dv_heads,
               sm_grad_at(g, block, SM_GRAD_R_K) + t * sm_grad_ld(block, SM_GRAD_R_K),
               sm_grad_at(g, block, SM_GRAD_MEAN_K) + t * sm_grad_ld(block, SM_GRAD_MEAN_K));
    clamp_back(g, block, SM_AT_K_FREE, t, sm_attn_normed(block, SM_ATTN_K_NORM) ? dv_heads : dk,
               SM_DIM_KV);
    clamp_back(g, block, SM_AT_V_FREE, t, dv, SM_DIM_KV);
}

/* dw += sum over tokens and heads, or tokens alone, of dy raw r. No barrier. */
static void grad_head_norm(const sm_backward *b, const sm_block *block, float *dw, const float *dy,
                           const float *raw, uint64_t ld, uint32_t r, uint32_t mean,
                           uint32_t n_head) {
    const uint32_t dim = normed_together(block, n_head);
    const uint32_t n = n_head * block->attn.head_dim / dim;
    const uint64_t ldr = sm_grad_ld(block, r);
    uint64_t begin, end;
    if (!dw)
        return;
    sm_share((dim + 15) / 16, b->crew.thread, b->crew.n_threads, &begin, &end);
    begin *= 16;
    end = end * 16 < dim ? end * 16 : dim;
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, ld); t++)
        for (uint32_t h = 0; h < n; h++) {
            const uint64_t at = t * ld + h * dim + begin;
            sm_grad_gain(b->g, block->attn.norm, dw + (block->attn.norm_own ? h * dim : 0) + begin,
                         dy + at, raw + at, sm_grad_at(b->g, block, r)[t * ldr + h],
                         sm_grad_at(b->g, block, mean)[t * ldr + h], end - begin);
        }
}

void sm_grad_heads(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_places *l = &g->tape->blocks[block->index];
    float *const *d = g->blocks[block->index].v;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    const uint64_t width = block->dims[SM_DIM_Q];
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, width); t++)
        token_back(b, block, t);
    sm_team_barrier(g->team);
    grad_head_norm(b, block, d[SM_ATTN_Q_NORM], sm_grad_at(g, block, SM_GRAD_Q),
                   l->buffer[SM_AT_Q_RAW], block->ld[SM_AT_Q], SM_GRAD_R_Q, SM_GRAD_MEAN_Q,
                   block->attn.n_head);
    grad_head_norm(b, block, d[SM_ATTN_K_NORM], keys(g, block), l->buffer[SM_AT_K_RAW],
                   block->ld[SM_AT_K], SM_GRAD_R_K, SM_GRAD_MEAN_K, block->attn.n_head_kv);
}

/* Of keys that are values as well: dk += dv. Barrier. */
static void add_values(const sm_backward *b, const sm_block *block, float *dk, uint64_t ldk,
                       const float *dv, uint64_t ldv) {
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end; t++)
        b->g->kernels->add(dk + t * ldk, dk + t * ldk, dv + t * ldv, block->dims[SM_DIM_KV]);
    sm_team_barrier(b->crew.team);
}

/* For b's tokens: from the gradients before norm and rope to x. */
static void projections(const sm_backward *b, const sm_block *block) {
    sm_graph *g = b->g;
    float *const *d = g->blocks[block->index].v;
    const uint64_t ldx = g->tape->ldx, ldq = block->ld[SM_AT_Q], ldkv = block->ld[SM_AT_K];
    const uint64_t T = b->T;
    const bool q_norm = sm_attn_normed(block, SM_ATTN_Q_NORM);
    const bool k_norm = sm_attn_normed(block, SM_ATTN_K_NORM);
    const uint64_t lddk = k_norm ? ldq : ldkv;
    const float *dq = sm_grad_at(g, block, q_norm ? SM_GRAD_K_HEADS : SM_GRAD_Q) + b->first * ldq;
    float *dk = (k_norm ? sm_grad_at(g, block, SM_GRAD_V_HEADS) : keys(g, block)) + b->first * lddk;
    const float *dv = values(g, block) + b->first * ldkv;
    const sm_master *Q = sm_master_of(g, block, SM_ATTN_Q);
    sm_grad_renorm(b, block);
    sm_grad_bias(b, d[SM_ATTN_Q_BIAS], dq, ldq, T, block->dims[SM_DIM_Q]);
    sm_grad_bias(b, d[SM_ATTN_K_BIAS], dk, lddk, T, block->dims[SM_DIM_KV]);
    sm_grad_bias(b, d[SM_ATTN_V_BIAS], dv, ldkv, T, block->dims[SM_DIM_KV]);
    sm_lap_of(b, SM_PART_ROWS);
    sm_grad_weight(b, Q, dq, ldq, g->normed, ldx, T, NULL);
    if (block->attn.keyed_values) {
        const sm_master *K = sm_master_of(g, block, SM_ATTN_K);
        add_values(b, block, dk, lddk, dv, ldkv);
        sm_grad_weight(b, K, dk, lddk, g->normed, ldx, T, NULL);
        sm_grad_input(b, Q, dq, ldq, T, NULL, g->dn, ldx, false);
        sm_grad_input(b, K, dk, lddk, T, NULL, g->dn, ldx, true);
    } else if (block->attn.borrows) {
        sm_grad_input(b, Q, dq, ldq, T, NULL, g->dn, ldx, false);
    } else {
        const sm_master *K = sm_master_of(g, block, SM_ATTN_K);
        const sm_master *V = sm_master_of(g, block, SM_ATTN_V);
        sm_grad_weight(b, K, dk, lddk, g->normed, ldx, T, NULL);
        sm_grad_weight(b, V, dv, ldkv, g->normed, ldx, T, NULL);
        sm_grad_input(b, Q, dq, ldq, T, NULL, g->dn, ldx, false);
        sm_grad_input(b, K, dk, lddk, T, NULL, g->dn, ldx, true);
        sm_grad_input(b, V, dv, ldkv, T, NULL, g->dn, ldx, true);
    }
    sm_grad_residual(b, block);
}

static void backward(const sm_backward *b, const sm_block *block) {
    sm_graph *g = b->g;
    const sm_master *O = sm_master_of(g, block, SM_ATTN_O);
    const float *dy = sm_grad_output(b, block);
    const uint64_t ldx = g->tape->ldx, ld = block->ld[SM_AT_OUT], T = b->T;
    sm_grad_bias(b, g->blocks[block->index].v[SM_ATTN_O_BIAS], dy, ldx, T,
                 block->dims[SM_DIM_EMBD]);
    sm_grad_weight(b, O, dy, ldx, g->tape->blocks[block->index].buffer[SM_AT_OUT], ld, T, NULL);
    sm_grad_input(b, O, dy, ldx, T, NULL, sm_grad_at(g, block, SM_GRAD_OUT), ld, false);
    sm_grad_attend(b, block);
    sm_lap_of(b, SM_PART_ATTENTION);
    sm_grad_heads(b, block);
    for (uint32_t first = 0; first < b->T; first += g->together) {
        const sm_backward part = sm_grad_part(b, first);
        projections(&part, block);
    }
}

const sm_grad_kind sm_grad_attention = {
    .backward = backward,
    .buffer =
        {
            [SM_GRAD_Q] = {SM_DIM_Q, false},
            [SM_GRAD_OUT] = {SM_DIM_Q, false},
            [SM_GRAD_K_HEADS] = {SM_DIM_Q, false},
            [SM_GRAD_V_HEADS] = {SM_DIM_Q, false},
            [SM_GRAD_K] = {SM_DIM_KV, false},
            [SM_GRAD_V] = {SM_DIM_KV, false},
            [SM_GRAD_R_Q] = {SM_DIM_HEADS, false},
            [SM_GRAD_R_K] = {SM_DIM_HEADS, false},
            [SM_GRAD_SINKS] = {SM_DIM_HEADS, false},
            [SM_GRAD_MEAN_Q] = {SM_DIM_HEADS, false},
            [SM_GRAD_MEAN_K] = {SM_DIM_HEADS, false},
        },
    .n_buffers = SM_GRAD_ATTN_BUFFERS,
};
