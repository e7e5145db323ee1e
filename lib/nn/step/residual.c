/* One block on the residual stream: what is normed before it, what its last product is added to,
 * and what is asked for before the next one. */
#include "worker.h"

#include <string.h>

const sm_kind sm_kind_norm = {.name = "norm",
                              .id = SM_KIND_NORM,
                              .n_slots = SM_WIRING_SLOTS,
                              .outside = true,
                              .slot = {SM_WIRING_ROWS}};

const sm_kind sm_kind_layer_norm = {
    .name = "norm", .id = SM_KIND_NORM, .n_slots = SM_WIRING_SLOTS, .slot = {SM_WIRING_ROWS}};

static void norm_rows(const sm_worker *w);

static const sm_kind_ops ops[SM_KIND_COUNT] = {
    [SM_KIND_ATTENTION] = {sm_attention_run, sm_attention_expect, NULL},
    [SM_KIND_LATENT] = {sm_latent_run, sm_latent_expect, NULL},
    [SM_KIND_INPUTS] = {sm_inputs_run, NULL, NULL},
    [SM_KIND_LAYER_INPUT] = {sm_layer_input_run, sm_layer_input_expect, NULL},
    [SM_KIND_GATED] = {sm_gated_run, sm_gated_expect, NULL},
    [SM_KIND_PLAIN] = {sm_plain_run, sm_plain_expect, NULL},
    [SM_KIND_LINEAR] = {sm_linear_run, sm_linear_expect, NULL},
    [SM_KIND_EXPERTS] = {sm_experts_run, sm_experts_expect, NULL},
    [SM_KIND_SHORTCONV] = {sm_shortconv_run, sm_shortconv_expect, NULL},
    [SM_KIND_LAUREL] = {sm_laurel_run, NULL, NULL},
    [SM_KIND_NORM] = {NULL, NULL, norm_rows},
    [SM_KIND_SCALE] = {NULL, NULL, sm_scale_rows},
    [SM_KIND_SPLIT] = {NULL, NULL, sm_split_run},
    [SM_KIND_PREDICT] = {NULL, NULL, sm_predict_run},
    [SM_KIND_CORRECT] = {NULL, NULL, sm_correct_run},
    [SM_KIND_MERGE] = {NULL, NULL, sm_merge_run},
};

#define TOKENS_TOGETHER 512

uint64_t sm_tokens_together(const sm_worker *w, const sm_weight *W) {
    const uint64_t pieces = W->packed ? (w->T + TOKENS_TOGETHER - 1) / TOKENS_TOGETHER : 1;
    return (w->T + pieces - 1) / pieces;
}

sm_range sm_share_groups(const sm_worker *w, const sm_weight *W) {
    sm_range share;
    sm_work_share_weights(w, (W->rows + SM_GROUP - 1) / SM_GROUP, sm_weight_packed_bytes(W),
                          &share.begin, &share.end);
    return share;
}

void sm_expect(const sm_worker *w, const sm_weight *W, sm_range groups) {
    if (w->T == 1 && groups.begin < groups.end)
        sm_matmul_expect(W, groups.begin, groups.end);
}

/* A layer's matrices may be in the making until it begins. */
static void expect_next(const sm_worker *w, const sm_block *b) {
    const sm_block *next = b + 1;
    if (next->index == w->net->n_blocks || (w->pass->repack_layers && next->layer != b->layer))
        return;
    if (ops[next->kind->id].expect)
        ops[next->kind->id].expect(w, next);
}

/* Where the values of a block go: to the tape what is kept, else to the workspace. */
static sm_places places_of(const sm_worker *w, const sm_block *b) {
    const sm_workspace *ws = w->ws;
    const sm_tape *tape = w->batch->tape;
    /* what is normed there goes to its place after that */
    float *y = b->wiring.aside && !b->wiring.post ? ws->aside : ws->y;
    sm_places at = {.x = ws->x, .out = ws->x, .y = y};
    if (!tape) {
        memcpy(at.buffer, ws->buffer[b->kind->id], b->kind->n_buffers * sizeof *at.buffer);
        return at;
    }
    at = tape->blocks[b->index];
    if (!at.y)
        at.y = y;
    for (uint32_t i = 0; i < b->kind->n_buffers; i++)
        if (!at.buffer[i])
            at.buffer[i] = ws->buffer[b->kind->id][i];
    return at;
}

void sm_add_output(const sm_worker *w, uint64_t t, uint64_t r0, uint64_t n) {
    const uint64_t at = t * w->ws->ldx + r0;
    const sm_wiring *wiring = &w->block->wiring;
    if (wiring->post)
        return;
    if (wiring->scale > 0)
        w->kernels->scale(w->at.y + at, w->at.y + at, wiring->scale, n);
    if (wiring->aside)
        return;
    if (sm_block_beside(w->block))
        w->kernels->add(w->at.y + at, w->ws->aside + at, w->at.y + at, n);
    w->kernels->add(w->at.out + at, w->at.x + at, w->at.y + at, n);
}

/* y = last product (+ bias), out = x + y unless y is normed first; each thread its rows. */
static void add_product(const sm_worker *w, const sm_input *in) {
    const sm_block *b = w->block;
    const sm_weight *W = b->w[b->kind->last];
    const float *bias = b->kind->last_bias ? b->v[b->kind->last_bias] : NULL;
    const uint64_t ld = w->ws->ldx;
    const sm_range groups = sm_share_groups(w, W);
    if (groups.begin == groups.end)
        return;
    const uint64_t r0 = groups.begin * SM_GROUP, n = min_u64(groups.end * SM_GROUP, W->rows) - r0;
    for (uint64_t t0 = 0, t1; t0 < w->T; t0 = t1) {
        t1 = min_u64(t0 + sm_tokens_together(w, W), w->T);
        sm_product_compute(w, W, groups.begin, groups.end, in, t0, t1 - t0, w->at.y + t0 * ld, ld);
        for (uint64_t t = t0; t < t1; t++) {
            float *y = w->at.y + t * ld + r0;
            if (bias)
                w->kernels->add(y, y, bias + r0, n);
            sm_add_output(w, t, r0, n);
        }
    }
}

/* n columns of a token from `at` on: out = x + y, of the stream that the block adds to, or of all
 * others. */
static void add_row(const sm_worker *w, uint64_t at, const float *y, uint64_t n) {
    const uint64_t ld = sm_net_stream_ld(w->net);
    if (!w->block->wiring.others) {
        w->kernels->add(w->at.out + at, w->at.x + at, y, n);
        return;
    }
    if (w->at.out != w->at.x)
        memcpy(w->at.out + at, w->at.x + at, n * sizeof *y);
    for (uint32_t i = 1; i < w->net->n_streams; i++)
        w->kernels->add(w->at.out + at + i * ld, w->at.x + at + i * ld, y, n);
}

/* y of token t, all of it, = norm(y + what the block before made). */
static void norm_sum(const sm_worker *w, uint64_t t, float *y) {
    const sm_block *b = w->block;
    const uint64_t n = w->c->n_embd;
    w->kernels->add(y, w->ws->aside + t * w->ws->ldx, y, n);
    sm_norm_row(w->kernels, b->wiring.norm, y, y, b->v[SM_SLOT_SUM], NULL, n, w->c->norm_eps);
}

/* out = x + norm(y), y being there: of one token each thread norms all and adds its columns. */
static void add_normed(const sm_worker *w) {
    const sm_block *b = w->block;
    const uint64_t ld = w->ws->ldx, n = w->c->n_embd;
    float *normed = w->scratch->row;
    uint64_t t0 = 0, t1 = 1, g0 = 0, g1 = (n + SM_GROUP - 1) / SM_GROUP;
    if (w->T == 1)
        sm_work_share(w, g1, &g0, &g1);
    else
        sm_work_share(w, w->T, &t0, &t1);
    const uint64_t begin = g0 * SM_GROUP, end = min_u64(g1 * SM_GROUP, n);
    for (uint64_t t = t0; t < t1 && begin < end; t++) {
        sm_norm_row(w->kernels, b->wiring.norm, normed, w->at.y + t * ld, b->v[SM_SLOT_POST], NULL,
                    n, w->c->norm_eps);
        if (b->wiring.scale > 0)
            w->kernels->scale(normed + begin, normed + begin, b->wiring.scale, end - begin);
        if (b->wiring.aside) {
            memcpy(w->ws->aside + t * ld + begin, normed + begin, (end - begin) * sizeof *normed);
            continue;
        }
        if (b->wiring.sum)
            norm_sum(w, t, normed);
        else if (sm_block_beside(b))
            w->kernels->add(normed + begin, w->ws->aside + t * ld + begin, normed + begin,
                            end - begin);
        add_row(w, t * ld + begin, normed + begin, end - begin);
    }
}

void sm_block_begin(sm_worker *w, const sm_block *b) {
    w->block = b;
    w->at = places_of(w, b);
}

/* out = norm(x) */
static void norm_rows(const sm_worker *w) {
    const uint64_t ld = w->ws->ldx;
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++)
        sm_norm_before(w->kernels, w->block, w->at.out + t * ld, w->at.x + t * ld, w->c->norm_eps);
}

/* x += f(norm(x)). False if the step was cancelled. */
static bool run(sm_worker *w, const sm_block *b) {
    const sm_weight *first = sm_block_first(b);
    sm_input in = sm_input_norm(w, b, w->at.x, sm_input_use_of(w, first), NULL, w->T);
    if (!sm_routes_apart(b))
        sm_product_lower(w, first, &in, w->T, NULL);
    if (!ops[b->kind->id].run(w, b, &in))
        return false;
    if (b->kind->last) {
        const sm_weight *last = b->w[b->kind->last];
        if (last != first)
            sm_product_lower(w, last, &in, w->T, NULL);
        add_product(w, &in);
    }
    if (b->wiring.post) {
        sm_team_barrier(w->team);
        add_normed(w);
    }
    return true;
}

/* Where a block's output has a place of its own: the streams that it leaves as they are. */
static void pass_streams(const sm_worker *w) {
    const uint64_t ld = w->ws->ldx, first = sm_net_stream_ld(w->net);
    uint64_t begin, end;
    if (!w->net->n_streams || w->at.out == w->at.x || w->block->wiring.aside ||
        w->block->wiring.others)
        return;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++)
        memcpy(w->at.out + t * ld + first, w->at.x + t * ld + first, (ld - first) * sizeof(float));
}

bool sm_block_run(sm_worker *w, const sm_block *b) {
    const sm_kind_ops *op = &ops[b->kind->id];
    sm_block_begin(w, b);
    if (op->all && b->kind->id != SM_KIND_SCALE) {
        op->all(w);
    } else {
        pass_streams(w);
        if (op->all)
            op->all(w);
        else if (!run(w, b))
            return false;
    }
    expect_next(w, b);
    sm_team_barrier(w->team);
    return true;
}
