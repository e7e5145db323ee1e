/* Latent attention: x += O(values), keys and values made of one latent per token (block.h). What
 * lies between queries, keys and values and what each head gets is attention as in every other
 * block (attend.c). */
#include "worker.h"

#include <string.h>

const sm_kind sm_kind_latent = {
    .name = "latent",
    .id = SM_KIND_LATENT,
    .n_slots = SM_LATENT_SLOTS,
    .n_buffers = SM_LT_BUFFERS,
    .last = SM_LATENT_O,
    .has_state = true,
    .slot =
        {
            SM_WIRING_ROWS,
            [SM_LATENT_Q] = {"attn_q.weight", SM_DIM_Q_RAW, SM_DIM_EMBD, 0, 1, SM_ROLE_SCORE,
                             SM_IF_ASKED},
            [SM_LATENT_KV_A] = {"attn_kv_a_mqa.weight", SM_DIM_RANK_ROT, SM_DIM_EMBD, 0, 1,
                                SM_ROLE_MATRIX, SM_MUST},
            [SM_LATENT_Q_A] = {"attn_q_a.weight", SM_DIM_Q_RANK, SM_DIM_EMBD, 0, 1, SM_ROLE_MATRIX,
                               SM_IF_ASKED},
            [SM_LATENT_Q_A_NORM] = {"attn_q_a_norm.weight", SM_DIM_Q_RANK, 0, 0, 0, SM_ROLE_NORM,
                                    SM_IF_ASKED},
            [SM_LATENT_KV_A_NORM] = {"attn_kv_a_norm.weight", SM_DIM_RANK, 0, 0, 0, SM_ROLE_NORM,
                                     SM_MUST},
            [SM_LATENT_Q_B] = {"attn_q_b.weight", SM_DIM_Q_RAW, SM_DIM_Q_RANK, 0, 2, SM_ROLE_MATRIX,
                               SM_IF_ASKED},
            [SM_LATENT_K_B] = {"attn_k_b.weight", SM_DIM_RANK, SM_DIM_NOPE, SM_DIM_HEADS, 3,
                               SM_ROLE_MATRIX, SM_IF_ASKED},
            [SM_LATENT_V_B] = {"attn_v_b.weight", SM_DIM_VALUE, SM_DIM_RANK, SM_DIM_HEADS, 4,
                               SM_ROLE_VALUE, SM_IF_ASKED},
            [SM_LATENT_KV_B] = {"attn_kv_b.weight", SM_DIM_KV_RAW, SM_DIM_RANK, 0, 5, SM_ROLE_VALUE,
                                SM_IF_ASKED},
            [SM_LATENT_O] = {"attn_output.weight", SM_DIM_EMBD, SM_DIM_VALUES, 0, 6,
                             SM_ROLE_RESIDUAL, SM_MUST},
        },
    .buffer =
        {
            [SM_AT_Q] = {SM_DIM_Q, SM_KEEP, 0},
            [SM_AT_K] = {SM_DIM_KV, SM_KEEP, 0},
            [SM_AT_V] = {SM_DIM_KV, SM_KEEP, 0},
            [SM_AT_OUT] = {SM_DIM_Q, SM_KEEP, 0},
            [SM_AT_LSE] = {SM_DIM_HEADS, SM_KEEP | SM_ONLY_KEPT, 0},
            [SM_LT_Q_LOW] = {SM_DIM_Q_RANK, SM_KEEP, 0},
            [SM_LT_Q_NORMED] = {SM_DIM_Q_RANK, 0, 0},
            [SM_LT_Q_NORMED_FORM] = {SM_DIM_Q_RANK, SM_FORMS, 0},
            [SM_LT_Q_RAW] = {SM_DIM_Q_RAW, SM_KEEP, 0},
            [SM_LT_KV_A] = {SM_DIM_RANK_ROT, SM_KEEP, 0},
            [SM_LT_LATENT] = {SM_DIM_RANK, SM_KEEP, 0},
            [SM_LT_LATENT_FORM] = {SM_DIM_RANK, SM_FORMS, 0},
            [SM_LT_Q_FORM] = {SM_DIM_NOPE_BLOCKS, SM_FORMS, 0},
            [SM_LT_ABSORBED] = {SM_DIM_RANK_GROUPS, 0, 0},
            [SM_LT_OUT_FORM] = {SM_DIM_RANK_BLOCKS, SM_FORMS, 0},
            [SM_LT_LIFTED] = {SM_DIM_VALUE_GROUPS, 0, 0},
            [SM_LT_KV_B] = {SM_DIM_KV_RAW, 0, 0},
            [SM_LT_VALUES] = {SM_DIM_VALUES, SM_KEEP, 0},
            [SM_LT_VALUES_FORM] = {SM_DIM_VALUES, SM_FORMS, 0},
        },
};

static uint64_t whole_groups(uint64_t n) {
    return (n + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
}

static uint64_t whole_blocks(uint64_t n) {
    return (n + 31) / 32;
}

static float *row_of(const sm_worker *w, uint32_t buffer, uint64_t t) {
    return (float *)w->at.buffer[buffer] + t * w->block->ld[buffer];
}

static sm_act_block *form_of(const sm_worker *w, uint32_t buffer, uint64_t t) {
    return (sm_act_block *)w->at.buffer[buffer] + t * w->block->ld[buffer];
}

/* Whether the step is of one token that each thread norms and quantizes for itself. */
static bool single(const sm_worker *w) {
    return w->T == 1 && !w->batch->tape;
}

/* This thread's rows of y = W in, of all tokens. */
static void product(const sm_worker *w, uint32_t slot, const sm_input *in, uint32_t to) {
    const sm_weight *W = w->block->w[slot];
    const sm_range groups = sm_share_groups(w, W);
    const uint64_t step = sm_tokens_together(w, W);
    for (uint64_t t = 0; t < w->T && groups.begin < groups.end; t += step)
        sm_product_compute(w, W, groups.begin, groups.end, in, t, min_u64(step, w->T - t),
                           row_of(w, to, t), w->block->ld[to]);
}

/* norm of the first n elements of each row of a buffer, as W reads it. Holds a barrier unless
 * single. */
static sm_input norm_of(const sm_worker *w, uint32_t from, uint32_t to, uint32_t to_form,
                        uint32_t norm, const sm_weight *W) {
    const sm_block *b = w->block;
    const sm_input_use use = sm_input_use_of(w, W);
    const bool alone = single(w);
    const uint64_t n = W->cols;
    uint64_t begin = 0, end = 1;
    if (!alone)
        sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        float *f = alone ? w->scratch->vector : row_of(w, to, t);
        w->kernels->rms_norm(f, row_of(w, from, t), b->v[norm], n, w->c->norm_eps);
        sm_input_prepare(w, use.form, alone ? w->scratch->blocks : form_of(w, to_form, t), f, n);
    }
    if (alone)
        return (sm_input){w->scratch->vector, b->ld[to], w->scratch->blocks, b->ld[to_form]};
    sm_team_barrier(w->team);
    return (sm_input){row_of(w, to, 0), b->ld[to], form_of(w, to_form, 0), b->ld[to_form]};
}

/* ---- token by token -------------------------------------------------------------------------- */

static void rotate(const sm_worker *w, uint64_t t, float *part) {
    const sm_rope *rope = &w->net->ropes[w->block->attn.rope];
    const uint64_t half = rope->n_rot / 2;
    w->kernels->rope(part, w->cos[w->block->attn.rope] + t * half,
                     w->sin[w->block->attn.rope] + t * half, rope->n_rot, rope->neox);
}

#define TILE \
    16 /* tokens whose keys lie side by side in the cache: one thread stores them, in order */

static uint64_t tiles_of(const sm_span *span) {
    return (span->position + span->n - 1) / TILE - span->position / TILE + 1;
}

/* Calls fn for the tokens of this thread's tiles. */
static void each_token(const sm_worker *w,
                       void (*fn)(const sm_worker *w, const sm_span *span, uint64_t t)) {
    uint64_t begin, end, tile = 0;
    for (uint32_t i = 0; i < w->batch->n_spans; i++)
        tile += tiles_of(&w->batch->spans[i]);
    sm_work_share(w, tile, &begin, &end);
    tile = 0;
    for (uint32_t i = 0; i < w->batch->n_spans; tile += tiles_of(&w->batch->spans[i++])) {
        const sm_span *span = &w->batch->spans[i];
        for (uint64_t t = 0; t < span->n; t++) {
            const uint64_t at = tile + (span->position + t) / TILE - span->position / TILE;
            if (at >= begin && at < end)
                fn(w, span, span->first + t);
        }
    }
}

static void store(const sm_worker *w, const sm_span *span, uint64_t t, uint32_t head,
                  const float *key, const float *value) {
    sm_kv_store(&span->state->kv[w->block->state], w->kernels, head,
                span->position + (uint32_t)(t - span->first), key, value);
}

/* Absorbed: the latent, normed, and the part with a position are key and value. */
static void keep_latent(const sm_worker *w, const sm_span *span, uint64_t t) {
    const sm_latent_params *p = &w->block->latent;
    const float *made = row_of(w, SM_LT_KV_A, t);
    float *key = row_of(w, SM_AT_K, t), *value = row_of(w, SM_AT_V, t);
    w->kernels->rms_norm(key, made, w->block->v[SM_LATENT_KV_A_NORM], p->rank, w->c->norm_eps);
    memcpy(key + p->rank, made + p->rank, p->n_rot * sizeof *key);
    rotate(w, t, key + p->rank);
    memcpy(value, key, (p->rank + p->n_rot) * sizeof *value);
    store(w, span, t, 0, key, value);
}

/* Expanded: keys, values and queries of all heads, each filled up with zeros to the width that all
 * have. */
static void keep_heads(const sm_worker *w, const sm_span *span, uint64_t t) {
    const sm_latent_params *p = &w->block->latent;
    const uint64_t dim = p->attn.head_dim, bytes = dim * sizeof(float);
    float position[SM_MAX_HEAD_DIM];
    memcpy(position, row_of(w, SM_LT_KV_A, t) + p->rank, p->n_rot * sizeof *position);
    rotate(w, t, position);
    for (uint32_t h = 0; h < p->attn.n_head; h++) {
        const float *made = row_of(w, SM_LT_KV_B, t) + h * (uint64_t)(p->nope + p->value);
        const float *raw = row_of(w, SM_LT_Q_RAW, t) + h * (uint64_t)(p->nope + p->n_rot);
        float *key = row_of(w, SM_AT_K, t) + h * dim, *value = row_of(w, SM_AT_V, t) + h * dim;
        float *query = row_of(w, SM_AT_Q, t) + h * dim;
        memset(key, 0, bytes);
        memset(value, 0, bytes);
        memset(query, 0, bytes);
        memcpy(key, made, p->nope * sizeof *key);
        memcpy(key + p->nope, position, p->n_rot * sizeof *key);
        memcpy(value, made + p->nope, p->value * sizeof *value);
        memcpy(query, raw, (p->nope + p->n_rot) * sizeof *query);
        rotate(w, t, query + p->nope);
        store(w, span, t, h, key, value);
    }
}

/* ---- head by head ---------------------------------------------------------------------------- */

/* What head h's matrix of a stack reads and writes. */
typedef struct head_product {
    uint32_t slot;
    const float *from; /* its input's first token */
    uint64_t ldf;
    uint32_t form; /* buffer; a head's blocks of it begin at h * blocks */
    uint32_t to;   /* buffer; a head's rows of it begin at h * rows */
} head_product;

/* Y = W x of one head, all tokens, by this thread. */
static void one_head(const sm_worker *w, const head_product *p, uint32_t h, sm_input in) {
    const sm_weight *W = sm_block_expert(w->block, p->slot, h);
    const uint64_t ldy = w->block->ld[p->to], blocks = whole_blocks(W->cols);
    sm_act_block *formed = form_of(w, p->form, 0) + h * blocks;
    in.q = formed;
    in.ldq = w->block->ld[p->form];
    for (uint64_t t = 0; t < w->T; t++)
        sm_input_prepare(w, W->input_form, formed + t * in.ldq, in.f + t * in.ldf, W->cols);
    sm_product_compute(w, W, 0, whole_groups(W->rows) / SM_GROUP, &in, 0, w->T,
                       row_of(w, p->to, 0) + h * whole_groups(W->rows), ldy);
}

/* Each thread its heads. Adapters' products are shared out by all threads, and one head's are used
 * before the next one's are made. step: from one head's input to the next. */
static sm_range each_head(const sm_worker *w, const head_product *p, uint64_t step) {
    const uint32_t n_head = w->block->attn.n_head;
    uint64_t begin, end;
    sm_work_share(w, n_head, &begin, &end);
    for (uint32_t h = 0; h < n_head; h++) {
        const sm_input in = {.f = p->from + h * step, .ldf = p->ldf};
        sm_product_lower(w, sm_block_expert(w->block, p->slot, h), &in, w->T, NULL);
        if (h >= begin && h < end)
            one_head(w, p, h, in);
        if (w->adapters && w->adapters->n)
            sm_team_barrier(w->team);
    }
    return (sm_range){begin, end};
}

/* Queries that score latents: this thread's heads. */
static void absorb(const sm_worker *w) {
    const sm_latent_params *p = &w->block->latent;
    const uint64_t key = p->nope + p->n_rot, groups = whole_groups(p->rank);
    const head_product product = {.slot = SM_LATENT_K_B,
                                  .from = row_of(w, SM_LT_Q_RAW, 0),
                                  .ldf = w->block->ld[SM_LT_Q_RAW],
                                  .form = SM_LT_Q_FORM,
                                  .to = SM_LT_ABSORBED};
    const sm_range heads = each_head(w, &product, key);
    for (uint64_t t = 0; t < w->T; t++)
        for (uint64_t h = heads.begin; h < heads.end; h++) {
            float *query = row_of(w, SM_AT_Q, t) + h * p->attn.head_dim;
            memcpy(query, row_of(w, SM_LT_ABSORBED, t) + h * groups, p->rank * sizeof *query);
            memcpy(query + p->rank, row_of(w, SM_LT_Q_RAW, t) + h * key + p->nope,
                   p->n_rot * sizeof *query);
            rotate(w, t, query + p->rank);
        }
}

/* Values from the latents that attention has left: this thread's heads. */
static void lift(const sm_worker *w, const sm_input *attended) {
    const head_product product = {.slot = SM_LATENT_V_B,
                                  .from = attended->f,
                                  .ldf = attended->ldf,
                                  .form = SM_LT_OUT_FORM,
                                  .to = SM_LT_LIFTED};
    each_head(w, &product, w->block->attn.head_dim);
}

/* Values of heads side by side, as O reads them, from rows where a head takes `step`. Holds a
 * barrier unless single. */
static sm_input join_heads(const sm_worker *w, const float *from, uint64_t ld, uint64_t step) {
    const sm_block *b = w->block;
    const sm_latent_params *p = &b->latent;
    const sm_input_form form = b->w[SM_LATENT_O]->form;
    const bool alone = single(w);
    sm_input in = {row_of(w, SM_LT_VALUES, 0), b->ld[SM_LT_VALUES],
                   form_of(w, SM_LT_VALUES_FORM, 0), b->ld[SM_LT_VALUES_FORM]};
    uint64_t begin = 0, end = 1;
    if (!alone)
        sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        float *to = alone ? w->scratch->row : row_of(w, SM_LT_VALUES, t);
        sm_act_block *formed = alone ? w->scratch->blocks : form_of(w, SM_LT_VALUES_FORM, t);
        for (uint64_t h = 0; h < p->attn.n_head; h++)
            memcpy(to + h * p->value, from + t * ld + h * step, p->value * sizeof *to);
        sm_input_prepare(w, form, formed, to, (uint64_t)p->attn.n_head * p->value);
    }
    if (alone) {
        in.f = w->scratch->row;
        in.q = w->scratch->blocks;
    } else {
        sm_team_barrier(w->team);
    }
    return in;
}

/* ---- the block ------------------------------------------------------------------------------- */

/* From what the first products made to raw queries, and to keys and values in the cache. Ends with
 * a barrier. */
static void queries_keys_values(const sm_worker *w) {
    const sm_block *b = w->block;
    if (b->w[SM_LATENT_Q_B]) {
        const sm_weight *W = b->w[SM_LATENT_Q_B];
        const sm_input in =
            norm_of(w, SM_LT_Q_LOW, SM_LT_Q_NORMED, SM_LT_Q_NORMED_FORM, SM_LATENT_Q_A_NORM, W);
        sm_product_lower(w, W, &in, w->T, NULL);
        product(w, SM_LATENT_Q_B, &in, SM_LT_Q_RAW);
    }
    if (b->latent.absorbed) {
        each_token(w, keep_latent);
        if (b->w[SM_LATENT_Q_B])
            sm_team_barrier(w->team);
        absorb(w);
    } else {
        const sm_weight *W = b->w[SM_LATENT_KV_B];
        const sm_input in =
            norm_of(w, SM_LT_KV_A, SM_LT_LATENT, SM_LT_LATENT_FORM, SM_LATENT_KV_A_NORM, W);
        if (w->adapters && w->adapters->n) /* those of Q_B may still be read */
            sm_team_barrier(w->team);
        sm_product_lower(w, W, &in, w->T, NULL);
        product(w, SM_LATENT_KV_B, &in, SM_LT_KV_B);
        sm_team_barrier(w->team);
        each_token(w, keep_heads);
    }
    sm_team_barrier(w->team);
}

bool sm_latent_run(sm_worker *w, const sm_block *b, sm_input *in) {
    sm_pass *pass = w->pass;
    w->attn = (sm_attn){.kernels = w->kernels,
                        .p = b->attn,
                        .state = b->state,
                        .width = sm_kv_width(b->attn.head_dim),
                        .rounded = w->batch->tape && w->batch->tape->rounded};
    if (w->thread == 0)
        atomic_store_explicit(&pass->next_task, 0, memory_order_relaxed);
    product(w, SM_LATENT_KV_A, in, SM_LT_KV_A);
    if (b->w[SM_LATENT_Q])
        product(w, SM_LATENT_Q, in, SM_LT_Q_RAW);
    else
        product(w, SM_LATENT_Q_A, in, SM_LT_Q_LOW);
    if (w->thread == 0) /* one decision for all: they must meet at the same barriers */
        pass->cancelled = sm_stopped(w->scratch);
    sm_team_barrier(w->team);
    if (pass->cancelled)
        return false;
    queries_keys_values(w);
    const sm_input attended = sm_attn_step(w, SM_INPUT_FLOAT);
    if (!b->latent.absorbed) {
        *in = join_heads(w, attended.f, attended.ldf, b->attn.head_dim);
        return true;
    }
    lift(w, &attended);
    sm_expect(w, b->w[SM_LATENT_O], sm_share_groups(w, b->w[SM_LATENT_O]));
    sm_team_barrier(w->team);
    *in = join_heads(w, row_of(w, SM_LT_LIFTED, 0), b->ld[SM_LT_LIFTED],
                     whole_groups(b->latent.value));
    return true;
}

void sm_latent_expect(const sm_worker *w, const sm_block *b) {
    const sm_weight *W = sm_block_first(b);
    sm_expect(w, W, sm_share_groups(w, W));
}
