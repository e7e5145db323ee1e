/* Backward of latent attention (lib/nn/block.h): from the values that O reads back to the latents
 * of queries and of keys and values, and to x. Attention between is that of every block
 * (attend_grad.c). Head by head one head's matrix is multiplied after the other. */
#include "train/graph.h"

#include <string.h>

/* After those of attention. */
enum {
    DVALUES = SM_GRAD_V_HEADS + 1, /* of what O reads */
    DQ_RAW,
    DKV_A,
    DKV_RAW, /* expanded: of KV_B c */
    LATENT,  /* c, then its gradient */
    Q_NORMED,
    DQ_LOW, /* of norm(Q_A n), then of Q_A n */
    BUFFERS
};

static const float *kept(const sm_backward *b, const sm_block *block, uint32_t buffer) {
    return b->g->tape->blocks[block->index].buffer[buffer];
}

static void my_tokens(const sm_backward *b, uint64_t *begin, uint64_t *end) {
    sm_share(b->T, b->crew.thread, b->crew.n_threads, begin, end);
}

/* ---- norms inside the block ------------------------------------------------------------------ */

/* A norm of the first n elements of a row. */
typedef struct inner_norm {
    const float *x; /* first token */
    uint64_t ldx, n;
    uint32_t slot;
} inner_norm;

/* y = norm(x) of all tokens. Barrier. */
static void norm_again(const sm_backward *b, const sm_block *block, const inner_norm *norm,
                       float *y, uint64_t ldy) {
    const sm_graph *g = b->g;
    uint64_t begin, end;
    my_tokens(b, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, norm->n); t++)
        g->kernels->rms_norm(y + t * ldy, norm->x + t * norm->ldx, block->v[norm->slot], norm->n,
                             g->net->config.norm_eps);
    sm_team_barrier(b->crew.team);
}

/* dx of dy, which may be in its place; the norm's gain on the way. Barrier. */
static void norm_back(const sm_backward *b, const sm_block *block, const inner_norm *norm,
                      const float *dy, uint64_t ldy, float *dx, uint64_t lddx) {
    const sm_graph *g = b->g;
    float *dw = g->blocks[block->index].v[norm->slot];
    uint64_t begin, end;
    my_tokens(b, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, norm->n); t++)
        g->r[t] = g->kernels->rms_norm_grad(dx + t * lddx, dy + t * ldy, norm->x + t * norm->ldx,
                                            block->v[norm->slot], norm->n, g->net->config.norm_eps,
                                            false);
    sm_team_barrier(b->crew.team);
    if (!dw)
        return;
    sm_grad_columns(b, norm->n, &begin, &end);
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, norm->n); t++)
        g->kernels->add_product(dw + begin, dy + t * ldy + begin, norm->x + t * norm->ldx + begin,
                                g->r[t], end - begin);
    sm_team_barrier(b->crew.team); /* r may be written again */
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Head by head, y = W x of a stack: dW += dy^T x, dx = dy W. Steps: from one head to the next. */
typedef struct head_products {
    uint32_t slot;
    const float *dy, *x;
    float *dx;
    uint64_t ldy, ldx, lddx, step_y, step_x, step_dx;
} head_products;

static void heads_back(const sm_backward *b, const sm_block *block, const head_products *p) {
    for (uint32_t h = 0; h < block->attn.n_head; h++) {
        const sm_master *W = &b->g->masters[sm_block_expert(block, p->slot, h)->index];
        const float *dy = p->dy + h * p->step_y;
        sm_grad_weight(b, W, dy, p->ldy, p->x + h * p->step_x, p->ldx, b->T, NULL);
        sm_grad_input(b, W, dy, p->ldy, b->T, NULL, p->dx + h * p->step_dx, p->lddx, false);
    }
}

/* From values to what attention left. Barrier. */
static void values_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_latent_params *p = &block->latent;
    const uint64_t ld = block->ld[SM_AT_OUT], ldv = sm_grad_ld(block, DVALUES);
    const uint64_t dim = p->attn.head_dim, n_head = p->attn.n_head;
    float *dout = sm_grad_at(g, block, SM_GRAD_OUT);
    const float *dvalues = sm_grad_at(g, block, DVALUES);
    uint64_t begin, end;
    my_tokens(b, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, ld); t++) {
        memset(dout + t * ld, 0, n_head * dim * sizeof *dout);
        for (uint64_t h = 0; h < n_head && !p->absorbed; h++)
            memcpy(dout + t * ld + h * dim, dvalues + t * ldv + h * p->value,
                   p->value * sizeof *dout);
    }
    sm_team_barrier(b->crew.team);
    if (!p->absorbed)
        return;
    heads_back(b, block,
               &(head_products){.slot = SM_LATENT_V_B,
                                .dy = dvalues,
                                .ldy = ldv,
                                .step_y = p->value,
                                .x = kept(b, block, SM_AT_OUT),
                                .ldx = ld,
                                .step_x = dim,
                                .dx = dout,
                                .lddx = ld,
                                .step_dx = dim});
}

/* Back through the rotation, whose transpose turns the other way. */
static void rotate_back(const sm_backward *b, const sm_block *block, uint64_t t, float *part) {
    const sm_graph *g = b->g;
    const sm_rope *rope = &g->net->ropes[block->attn.rope];
    const uint64_t half = rope->n_rot / 2;
    g->kernels->rope(part, g->tape->cos[block->attn.rope] + t * half,
                     g->threads[b->crew.thread].neg_sin, rope->n_rot, rope->neox);
}

/* Token t: gradients of heads of keys and values become those of the latent (absorbed) or of what
 * KV_B makes of it, and of the part with a position; heads of queries those of raw ones, but for
 * what K_B has to multiply. */
static void token_back(const sm_backward *b, const sm_block *block, uint64_t t) {
    const sm_graph *g = b->g;
    const sm_latent_params *p = &block->latent;
    const uint64_t dim = p->attn.head_dim, ld = block->ld[SM_AT_Q], key = p->nope + p->n_rot;
    const uint64_t before = p->absorbed ? p->rank : p->nope; /* the part with a position */
    const uint64_t half = p->n_rot / 2;
    const float *dk = sm_grad_at(g, block, SM_GRAD_K_HEADS) + t * ld;
    const float *dv = sm_grad_at(g, block, SM_GRAD_V_HEADS) + t * ld;
    const float *dq = sm_grad_at(g, block, SM_GRAD_Q) + t * ld;
    float *dc = sm_grad_at(g, block, LATENT) + t * sm_grad_ld(block, LATENT);
    float *dr = sm_grad_at(g, block, DKV_A) + t * sm_grad_ld(block, DKV_A) + p->rank;
    float *draw = sm_grad_at(g, block, DQ_RAW) + t * sm_grad_ld(block, DQ_RAW);
    float *dkv = sm_grad_at(g, block, DKV_RAW) + t * sm_grad_ld(block, DKV_RAW);
    g->kernels->scale(g->threads[b->crew.thread].neg_sin, g->tape->sin[block->attn.rope] + t * half,
                      -1, half);
    memset(dr, 0, p->n_rot * sizeof *dr);
    if (p->absorbed)
        memset(dc, 0, p->rank * sizeof *dc);
    for (uint32_t h = 0; h < p->attn.n_head; h++, dk += dim, dv += dim, dq += dim, draw += key) {
        g->kernels->add(dr, dr, dk + before, p->n_rot);
        if (p->absorbed) {
            g->kernels->add(dc, dc, dk, p->rank);
            g->kernels->add(dc, dc, dv, p->rank);
        } else {
            memcpy(dkv, dk, p->nope * sizeof *dkv);
            memcpy(dkv + p->nope, dv, p->value * sizeof *dkv);
            memcpy(draw, dq, p->nope * sizeof *draw);
            dkv += p->nope + p->value;
        }
        memcpy(draw + p->nope, dq + before, p->n_rot * sizeof *draw);
        rotate_back(b, block, t, draw + p->nope);
    }
    rotate_back(b, block, t, dr);
}

/* From attention's queries, keys and values to DQ_RAW and DKV_A. */
static void attention_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_latent_params *p = &block->latent;
    const uint64_t ldc = sm_grad_ld(block, LATENT), lda = sm_grad_ld(block, DKV_A);
    const inner_norm norm = {.x = kept(b, block, SM_LT_KV_A),
                             .ldx = block->ld[SM_LT_KV_A],
                             .n = p->rank,
                             .slot = SM_LATENT_KV_A_NORM};
    float *latent = sm_grad_at(g, block, LATENT);
    uint64_t begin, end;
    my_tokens(b, &begin, &end);
    for (uint64_t t = begin;
         t < end && !sm_crew_stopped_at(&b->crew, t - begin, block->ld[SM_AT_Q]); t++)
        token_back(b, block, t);
    sm_team_barrier(b->crew.team);
    if (p->absorbed) {
        heads_back(b, block,
                   &(head_products){.slot = SM_LATENT_K_B,
                                    .dy = sm_grad_at(g, block, SM_GRAD_Q),
                                    .ldy = block->ld[SM_AT_Q],
                                    .step_y = p->attn.head_dim,
                                    .x = kept(b, block, SM_LT_Q_RAW),
                                    .ldx = block->ld[SM_LT_Q_RAW],
                                    .step_x = p->nope + p->n_rot,
                                    .dx = sm_grad_at(g, block, DQ_RAW),
                                    .lddx = sm_grad_ld(block, DQ_RAW),
                                    .step_dx = p->nope + p->n_rot});
    } else {
        const sm_master *KV_B = sm_master_of(g, block, SM_LATENT_KV_B);
        const float *dkv = sm_grad_at(g, block, DKV_RAW);
        const uint64_t ldkv = sm_grad_ld(block, DKV_RAW);
        norm_again(b, block, &norm, latent, ldc);
        sm_grad_weight(b, KV_B, dkv, ldkv, latent, ldc, b->T, NULL);
        sm_grad_input(b, KV_B, dkv, ldkv, b->T, NULL, latent, ldc, false);
    }
    norm_back(b, block, &norm, latent, ldc, sm_grad_at(g, block, DKV_A), lda);
}

/* From raw queries to the gradient of what the first product of queries made: DQ_RAW, or DQ_LOW. */
static void queries_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldn = sm_grad_ld(block, Q_NORMED), ldl = sm_grad_ld(block, DQ_LOW);
    const uint64_t ldr = sm_grad_ld(block, DQ_RAW);
    const inner_norm norm = {.x = kept(b, block, SM_LT_Q_LOW),
                             .ldx = block->ld[SM_LT_Q_LOW],
                             .n = block->latent.q_rank,
                             .slot = SM_LATENT_Q_A_NORM};
    float *normed = sm_grad_at(g, block, Q_NORMED), *low = sm_grad_at(g, block, DQ_LOW);
    const float *draw = sm_grad_at(g, block, DQ_RAW);
    if (!block->latent.q_rank)
        return;
    const sm_master *Q_B = sm_master_of(g, block, SM_LATENT_Q_B);
    norm_again(b, block, &norm, normed, ldn);
    sm_grad_weight(b, Q_B, draw, ldr, normed, ldn, b->T, NULL);
    sm_grad_input(b, Q_B, draw, ldr, b->T, NULL, normed, ldn, false);
    norm_back(b, block, &norm, normed, ldn, low, ldl);
}

/* For b's tokens: to x. */
static void projections(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, lda = sm_grad_ld(block, DKV_A);
    const bool low = block->latent.q_rank;
    const uint64_t ldq = sm_grad_ld(block, low ? DQ_LOW : DQ_RAW);
    const float *dq = sm_grad_at(g, block, low ? DQ_LOW : DQ_RAW) + b->first * ldq;
    const float *dkv = sm_grad_at(g, block, DKV_A) + b->first * lda;
    const sm_master *Q = sm_master_of(g, block, low ? SM_LATENT_Q_A : SM_LATENT_Q);
    const sm_master *KV_A = sm_master_of(g, block, SM_LATENT_KV_A);
    sm_grad_renorm(b, block);
    sm_grad_weight(b, Q, dq, ldq, g->normed, ldx, b->T, NULL);
    sm_grad_weight(b, KV_A, dkv, lda, g->normed, ldx, b->T, NULL);
    sm_grad_input(b, Q, dq, ldq, b->T, NULL, g->dn, ldx, false);
    sm_grad_input(b, KV_A, dkv, lda, b->T, NULL, g->dn, ldx, true);
    sm_grad_residual(b, block);
}

static void backward(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const sm_master *O = sm_master_of(g, block, SM_LATENT_O);
    const float *dy = sm_grad_output(b, block);
    const uint64_t ldx = g->tape->ldx, ld = block->ld[SM_LT_VALUES];
    sm_grad_weight(b, O, dy, ldx, kept(b, block, SM_LT_VALUES), ld, b->T, NULL);
    sm_grad_input(b, O, dy, ldx, b->T, NULL, sm_grad_at(g, block, DVALUES),
                  sm_grad_ld(block, DVALUES), false);
    values_back(b, block);
    sm_grad_attend(b, block);
    sm_lap_of(b, SM_PART_ATTENTION);
    attention_back(b, block);
    queries_back(b, block);
    sm_lap_of(b, SM_PART_ROWS);
    for (uint32_t first = 0; first < b->T; first += g->together) {
        const sm_backward part = sm_grad_part(b, first);
        projections(&part, block);
    }
}

const sm_grad_kind sm_grad_latent = {
    .backward = backward,
    .buffer =
        {
            [SM_GRAD_Q] = {SM_DIM_Q, false},
            [SM_GRAD_OUT] = {SM_DIM_Q, false},
            [SM_GRAD_K_HEADS] = {SM_DIM_Q, false},
            [SM_GRAD_V_HEADS] = {SM_DIM_Q, false},
            [DVALUES] = {SM_DIM_VALUES, false},
            [DQ_RAW] = {SM_DIM_Q_RAW, false},
            [DKV_A] = {SM_DIM_RANK_ROT, false},
            [DKV_RAW] = {SM_DIM_KV_RAW, false},
            [LATENT] = {SM_DIM_RANK, false},
            [Q_NORMED] = {SM_DIM_Q_RANK, false},
            [DQ_LOW] = {SM_DIM_Q_RANK, false},
        },
    .n_buffers = BUFFERS,
};
