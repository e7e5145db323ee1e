/* How each kind of blocks is trained, and what all of them share: norm and residual stream. */
#include "train/graph.h"

#include <string.h>

/* x = norm(x): dx anew. */
static void norm_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx;
    for (uint32_t first = 0; first < b->T; first += g->together) {
        const sm_backward some = sm_grad_part(b, first);
        float *dx = g->dx + first * ldx;
        uint64_t begin, end;
        sm_share(some.T, b->crew.thread, b->crew.n_threads, &begin, &end);
        if (begin < end) {
            memcpy(g->dn + begin * ldx, dx + begin * ldx, (end - begin) * ldx * sizeof *dx);
            memset(dx + begin * ldx, 0, (end - begin) * ldx * sizeof *dx);
        }
        sm_team_barrier(b->crew.team);
        sm_grad_residual(&some, block);
    }
}

static const sm_grad_kind norm_kind = {.backward = norm_back};

static const sm_grad_kind *const kinds[SM_KIND_COUNT] = {
    [SM_KIND_ATTENTION] = &sm_grad_attention, [SM_KIND_LATENT] = &sm_grad_latent,
    [SM_KIND_INPUTS] = &sm_grad_inputs,       [SM_KIND_LAYER_INPUT] = &sm_grad_layer_input,
    [SM_KIND_SCALE] = &sm_grad_scale,         [SM_KIND_GATED] = &sm_grad_gated,
    [SM_KIND_PLAIN] = &sm_grad_plain,         [SM_KIND_NORM] = &norm_kind,
    [SM_KIND_EXPERTS] = &sm_grad_experts,     [SM_KIND_LINEAR] = &sm_grad_linear,
};

const sm_grad_kind *sm_grad_kind_of(const sm_block *block) {
    return kinds[block->kind->id];
}

uint64_t sm_grad_ld(const sm_block *block, uint32_t i) {
    return sm_row_stride(block->dims[kinds[block->kind->id]->buffer[i].width]);
}

sm_backward sm_grad_part(const sm_backward *b, uint32_t first) {
    sm_backward part = *b;
    part.first = first;
    part.T = b->T - first < b->g->together ? b->T - first : b->g->together;
    return part;
}

/* Where a norm stands behind what the block and the one before it make together: its gradient, of
 * either of them, to g->aside, for that one too. The sums are in g->dn meanwhile. Barrier. */
static void sum_back(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const float eps = g->net->config.norm_eps;
    const sm_norm norm = block->wiring.norm;
    const uint64_t ldx = g->tape->ldx, width = block->dims[SM_DIM_EMBD], first = b->first * ldx;
    const float *y = g->tape->blocks[block->index].y + first, *dx = g->dx + first;
    const float *before = g->tape->blocks[block->index - 1].y + first;
    float *dw = g->blocks[block->index].v[SM_SLOT_SUM], *part = g->dy + first;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, ldx); t++) {
        float *sum = g->dn + t * ldx;
        sm_norm_row(g->kernels, norm, sum, y + t * ldx, block->v[SM_SLOT_POST], NULL, width, eps);
        sm_norm_row(g->kernels, norm, part + t * ldx, before + t * ldx, block[-1].v[SM_SLOT_POST],
                    NULL, width, eps);
        g->kernels->add(sum, sum, part + t * ldx, width);
        g->r[t] = sm_grad_norm_row(g, norm, g->aside + first + t * ldx, dx + t * ldx, sum,
                                   block->v[SM_SLOT_SUM], width, false, &g->mean[t]);
    }
    sm_team_barrier(b->crew.team);
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t t = 0; dw && t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, width);
         t++)
        sm_grad_gain(g, norm, dw + begin, dx + t * ldx + begin, g->dn + t * ldx + begin, g->r[t],
                     g->mean[t], end - begin);
    sm_team_barrier(b->crew.team); /* r may be written again */
}

/* The gradient of what the block, normed or not, adds. A block beside the one before it, which goes
 * backward first, keeps it for that one: it will have changed. */
static const float *added(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, at = b->first * ldx;
    uint64_t begin, end;
    if (block->wiring.sum) {
        sum_back(b, block);
        return g->aside;
    }
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    if (sm_block_beside(block) && begin < end)
        memcpy(g->aside + at + begin * ldx, g->dx + at + begin * ldx,
               (end - begin) * ldx * sizeof *g->dx);
    return block->wiring.aside ? g->aside : g->dx;
}

const float *sm_grad_output(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, width = block->dims[SM_DIM_EMBD], at = b->first * ldx;
    const bool post = block->wiring.post;
    const float scale = block->wiring.scale > 0 ? block->wiring.scale : 1;
    float *dw = g->blocks[block->index].v[SM_SLOT_POST];
    uint64_t begin, end;
    const float *from = added(b, block), *dx = from + at;
    if (!post && scale == 1)
        return from;
    const float *y = post ? g->tape->blocks[block->index].y + at : NULL;
    float *dy = g->dy + at;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, ldx); t++) {
        if (post)
            g->r[t] = scale * sm_grad_norm_row(g, block->wiring.norm, dy + t * ldx, dx + t * ldx,
                                               y + t * ldx, block->v[SM_SLOT_POST], width, false,
                                               &g->mean[t]);
        if (scale != 1)
            g->kernels->scale(dy + t * ldx, (post ? dy : dx) + t * ldx, scale, width);
    }
    sm_team_barrier(b->crew.team);
    if (!dw)
        return g->dy;
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, width); t++)
        sm_grad_gain(g, block->wiring.norm, dw + begin, dx + t * ldx + begin, y + t * ldx + begin,
                     g->r[t], g->mean[t], end - begin);
    sm_team_barrier(b->crew.team); /* r may be written again */
    return g->dy;
}

void sm_grad_renorm(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx;
    const float *x = g->tape->blocks[block->index].x + b->first * ldx;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, ldx); t++)
        if (sm_is_normed(block))
            sm_norm_before(g->kernels, block, g->normed + t * ldx, x + t * ldx,
                           g->net->config.norm_eps);
        else
            memcpy(g->normed + t * ldx, x + t * ldx, block->dims[SM_DIM_EMBD] * sizeof *x);
    sm_team_barrier(b->crew.team);
}

/* g->dx += g->dn */
static void add_input(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, width = block->dims[SM_DIM_EMBD];
    float *dx = g->dx + b->first * ldx;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, ldx); t++)
        g->kernels->add(dx + t * ldx, dx + t * ldx, g->dn + t * ldx, width);
    sm_team_barrier(b->crew.team);
}

void sm_grad_residual(const sm_backward *b, const sm_block *block) {
    const sm_graph *g = b->g;
    const uint64_t at = b->first * g->tape->ldx;
    if (sm_is_normed(block))
        sm_grad_norm(b, g->dx + at, g->dn, g->tape->blocks[block->index].x + at, NULL, b->T, block);
    else
        add_input(b, block);
}
