/* The step, run by every thread of a team at once. Each operator takes its share of rows (or
 * tokens, or heads); a barrier stands where another thread's results are read next: five per layer
 * of attention and a gated part when decoding. */
#include "worker.h"

#include <math.h>

/* The rotations of token t, which has `position` in a sequence of at most n_ctx tokens. */
static void rotate(const sm_worker *w, uint64_t t, double position, uint32_t n_ctx) {
    for (uint32_t r = 0; r < w->net->n_ropes; r++) {
        const sm_rope *rope = &w->net->ropes[r];
        const double *angles = sm_rope_angles(rope, n_ctx);
        const uint64_t half = rope->n_rot / 2;
        float *cosines = w->cos[r] + t * half, *sines = w->sin[r] + t * half;
        for (uint64_t d = 0; d < half; d++) {
            const double angle = position * angles[d];
            cosines[d] = (float)cos(angle) * rope->mscale;
            sines[d] = (float)sin(angle) * rope->mscale;
        }
    }
}

/* x of token t += what its position is embedded as. */
static void place(const sm_worker *w, uint64_t t, uint32_t position) {
    const sm_weight *P = &w->net->positions;
    float *x = w->at.x + t * w->ws->ldx, *row = w->scratch->row;
    w->kernels->type[P->type].dequantize(row, P->data + position * P->row_bytes, w->c->n_embd);
    w->kernels->add(x, x, row, w->c->n_embd);
}

/* x of token t += what its type is embedded as. */
static void mark(const sm_worker *w, uint64_t t) {
    const sm_weight *E = &w->net->types;
    const uint64_t type = w->batch->types ? w->batch->types[t] : 0;
    float *x = w->at.x + t * w->ws->ldx, *row = w->scratch->row;
    w->kernels->type[E->type].dequantize(row, E->data + type * E->row_bytes, w->c->n_embd);
    w->kernels->add(x, x, row, w->c->n_embd);
}

/* x = token embeddings; rotation angles of every token. */
static void embed(const sm_worker *w) {
    const sm_weight *E = &w->net->embd;
    const sm_step *b = w->batch;
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        float *x = w->at.x + t * w->ws->ldx;
        w->kernels->type[E->type].dequantize(x, E->data + (uint64_t)b->ids[t] * E->row_bytes,
                                             w->c->n_embd);
        if (w->net->embd_scale > 0)
            w->kernels->scale(x, x, w->net->embd_scale, w->c->n_embd);
        if (w->net->types.rows)
            mark(w, t);
    }
    for (uint32_t i = 0; i < b->n_spans; i++) {
        const sm_span *span = &b->spans[i];
        const uint64_t last = min_u64(span->first + span->n, end);
        for (uint64_t t = span->first > begin ? span->first : begin; t < last; t++) {
            rotate(w, t, (double)(span->position + (t - span->first)), span->state->capacity);
            if (w->net->positions.rows)
                place(w, t, span->position + (uint32_t)(t - span->first));
        }
    }
}

static sm_worker worker_of(sm_pass *pass, uint32_t thread, uint32_t n_threads) {
    sm_workspace *ws = pass->ws;
    const sm_config *c = &ws->net->config;
    const sm_tape *tape = pass->batch->tape;
    return (sm_worker){.pass = pass,
                       .ws = ws,
                       .team = pass->team,
                       .net = ws->net,
                       .c = c,
                       .kernels = ws->net->kernels,
                       .batch = pass->batch,
                       .scratch = &ws->threads[thread],
                       .thread = thread,
                       .n_threads = n_threads,
                       .T = pass->batch->n_tokens,
                       .adapters = pass->batch->adapters,
                       .cos = tape ? tape->cos : ws->cos,
                       .sin = tape ? tape->sin : ws->sin};
}

static void forward(void *arg, uint32_t thread, uint32_t n_threads) {
    sm_pass *pass = arg;
    const sm_net *net = pass->ws->net;
    const sm_tape *tape = pass->batch->tape;
    const uint32_t begin = tape ? tape->begin : 0, end = tape ? tape->end : net->config.n_layer;
    sm_worker w = worker_of(pass, thread, n_threads);
    w.scratch->stop = &pass->stop;
    w.scratch->asks = thread == 0;
    sm_block_begin(&w, sm_net_layer(net, begin));
    if (begin == 0) {
        embed(&w);
        sm_team_barrier(w.team);
    }
    for (const sm_block *b = sm_net_layer(net, begin); b->layer < end; b++) {
        const bool new_layer = b->index == 0 || b[-1].layer != b->layer;
        if (new_layer && pass->repack_layers &&
            !sm_repack(&w, net->first_of[b->layer], net->first_of[b->layer + 1]))
            return;
        if (!sm_block_run(&w, b))
            return;
    }
    /* Nobody has asked the hook since the last barrier: all threads see the same. Packing asks it,
     * and has an answer for all. */
    if (pass->batch->hidden) {
        if (!atomic_load_explicit(&pass->stop.stopped, memory_order_relaxed))
            sm_head_hidden(&w);
        return;
    }
    if (pass->repack_head ? !sm_repack(&w, net->head->index, net->n_matrices)
                          : atomic_load_explicit(&pass->stop.stopped, memory_order_relaxed))
        return;
    /* the head is not cut short: the caller's logits stay whole or are all written */
    w.scratch->stop = &pass->never;
    sm_head_logits(&w);
}

sm_status sm_forward(sm_workspace *ws, sm_team *team, const sm_step *batch, sm_error *error) {
    sm_pass pass = {.ws = ws,
                    .team = team,
                    .batch = batch,
                    .error = error,
                    .stop = {.cancel = batch->cancel, .cancel_user = batch->cancel_user},
                    .least_share = sm_work_least_share(team)};
    atomic_init(&pass.next_task, 0);
    atomic_init(&pass.stop.stopped, false);
    atomic_init(&pass.never.stopped, false);
    for (uint32_t i = 0; i < batch->n_spans; i++)
        sm_state_begin(batch->spans[i].state, batch->spans[i].position, batch->spans[i].n);
    sm_repack_plan(&pass);
    /* packing keeps all threads busy, however small the rest of the step */
    const uint32_t n_threads = pass.repack_layers || pass.repack_experts || pass.repack_head
                                   ? sm_team_size(team)
                                   : sm_work_threads(ws, team, batch);
    if (batch->n_tokens > 1)
        sm_attn_plan(&pass, n_threads);
    sm_team_run_some(team, n_threads, forward, &pass);
    if (pass.repack_status)
        return pass.repack_status;
    if (sm_team_torn(team))
        return sm_torn(error);
    return atomic_load(&pass.stop.stopped) ? sm_fail(error, SM_ERR_CANCELLED, "cancelled") : SM_OK;
}
