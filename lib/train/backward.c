/* The backward pass: head and loss in chunks of tokens, the layers in reverse, the embedding.
 * Run by every thread of the team at once, as the forward pass; see graph.h. */
#include "graph.h"

#include <math.h>
#include <string.h>

/* ---- head and loss --------------------------------------------------------------- */

/* One chunk of tokens whose logits are there. */
typedef struct head_run {
    sm_graph *g;
    const sm_train_batch *batch;
    const uint32_t *rows; /* tokens */
    uint32_t n;
    double weight;
    bool backward;
} head_run;

/* -log softmax(logits)[target]; with backward the row becomes its gradient times weight,
 * softmax - onehot(target). */
static double row_loss(const head_run *r, float *logits, int32_t target) {
    const sm_kernels *k = r->g->kernels;
    const uint64_t n = r->g->net->config.n_vocab;
    const float max = logits[k->argmax(logits, n)];
    const double sum = k->sum_exp(logits, n, max);
    const double loss = log(sum) + (double)max - (double)logits[target];
    if (r->backward) {
        k->exp_scale(logits, max, (float)(r->weight / sum), n);
        logits[target] -= (float)r->weight;
    }
    return loss;
}

static void run_head(void *arg, uint32_t thread, uint32_t n_threads) {
    const head_run *r = arg;
    sm_graph *g = r->g;
    const sm_config *c = &g->net->config;
    const uint64_t ldx = g->tape->ldx;
    const sm_backward b = {.crew = sm_graph_crew(g, thread, n_threads), .g = g, .T = r->n};
    uint64_t begin, end;
    sm_share(r->n, thread, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        if (sm_crew_stopped_at(&b.crew, i - begin, c->n_vocab))
            break;
        const uint32_t t = r->rows[i];
        g->losses[i] = row_loss(r, g->logits + i * g->ldl, r->batch->targets[t]);
        if (r->backward)
            g->kernels->rms_norm(g->z + i * ldx, g->tape->x + t * ldx, g->net->out_norm, c->n_embd,
                                 c->norm_eps);
    }
    if (!r->backward)
        return;
    sm_team_barrier(g->team);
    sm_lap_of(&b, SM_PART_HEAD);
    sm_grad_weight(&b, &g->head, g->logits, g->ldl, g->z, ldx, r->n, r->rows);
    sm_grad_input(&b, &g->head, g->logits, g->ldl, r->n, r->rows, g->dz, ldx, false);
    sm_grad_norm(&b, g->dx, g->dz, g->tape->x, r->rows, r->n, g->net->out_norm, g->out_norm);
}

/* Of the calling thread, between runs of the team. */
static bool cancelled(sm_graph *g) {
    return sm_stop_now(&g->stop, true);
}

static void clear_dx(void *arg, uint32_t thread, uint32_t n_threads) {
    const head_run *r = arg;
    const sm_crew crew = sm_graph_crew(r->g, thread, n_threads);
    const uint64_t ldx = r->g->tape->ldx;
    uint64_t begin, end;
    sm_share(r->batch->n_tokens, thread, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&crew, t - begin, ldx); t++)
        memset(r->g->dx + t * ldx, 0, ldx * sizeof *r->g->dx);
}

sm_status sm_graph_head(sm_graph *g, const sm_train_batch *batch, uint32_t n_rows, double weight,
                        bool backward, double *loss) {
    *loss = 0;
    if (backward)
        sm_team_run(g->team, clear_dx, &(head_run){.g = g, .batch = batch});
    for (uint32_t i = 0; i < n_rows; i += g->chunk) {
        head_run run = {.g = g,
                        .batch = batch,
                        .rows = g->rows + i,
                        .n = n_rows - i < g->chunk ? n_rows - i : g->chunk,
                        .weight = weight,
                        .backward = backward};
        if (cancelled(g))
            return SM_ERR_CANCELLED;
        sm_forward_logits(g->ws, g->team, &g->adapters, &g->stop, g->tape->x, run.rows, run.n,
                          g->logits, g->ldl);
        sm_lap(g, SM_PART_HEAD);
        if (cancelled(g)) /* the logits may be anything */
            return SM_ERR_CANCELLED;
        sm_team_run(g->team, run_head, &run);
        for (uint32_t t = 0; t < run.n; t++)
            *loss += g->losses[t];
    }
    return cancelled(g) ? SM_ERR_CANCELLED : SM_OK;
}

/* ---- a layer ----------------------------------------------------------------------------------
 */

/* Of b's tokens those from `first` on that go through some products and what stands between them
 * before the next ones do. */
static sm_backward part_from(const sm_backward *b, uint32_t first) {
    sm_backward part = *b;
    part.first = first;
    part.T = b->T - first < b->g->together ? b->T - first : b->g->together;
    return part;
}

/* x += down(silu(gate n) * (up n)), n = rms_norm(x), for b's tokens */
static void feed_forward_part(const sm_backward *b, const sm_layer *w, const sm_graph_layer *d,
                              const sm_tape_layer *l) {
    sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    const uint64_t ldx = g->tape->ldx, ldh = g->tape->ldh, T = b->T;
    const float *gate = l->gate + b->first * ldh, *up = l->up + b->first * ldh;
    const float *mid = l->mid + b->first * ldx;
    float *dx = g->dx + b->first * ldx;
    float *dgate = g->dh;
    uint64_t begin, end;
    sm_grad_input(b, &d->matrix[SM_DOWN], dx, ldx, T, NULL, g->dh, ldh, false);
    sm_share(T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, c->n_ff); t++) {
        g->kernels->silu_mul_grad(dgate + t * ldh, g->dup + t * ldh, g->h + t * ldh,
                                  g->dh + t * ldh, gate + t * ldh, up + t * ldh, c->n_ff);
        g->kernels->rms_norm(g->normed + t * ldx, mid + t * ldx, w->ffn_norm, c->n_embd,
                             c->norm_eps);
    }
    sm_team_barrier(g->team);
    sm_lap_of(b, SM_PART_ROWS);
    sm_grad_bias(b, d->b_down, dx, ldx, T, c->n_embd);
    sm_grad_weight(b, &d->matrix[SM_DOWN], dx, ldx, g->h, ldh, T, NULL);
    sm_grad_bias(b, d->b_gate, dgate, ldh, T, c->n_ff);
    sm_grad_bias(b, d->b_up, g->dup, ldh, T, c->n_ff);
    sm_grad_weight(b, &d->matrix[SM_GATE], dgate, ldh, g->normed, ldx, T, NULL);
    sm_grad_weight(b, &d->matrix[SM_UP], g->dup, ldh, g->normed, ldx, T, NULL);
    sm_grad_input(b, &d->matrix[SM_GATE], dgate, ldh, T, NULL, g->dn, ldx, false);
    sm_grad_input(b, &d->matrix[SM_UP], g->dup, ldh, T, NULL, g->dn, ldx, true);
    sm_grad_norm(b, dx, g->dn, mid, NULL, T, w->ffn_norm, d->ffn_norm);
}

static void feed_forward(const sm_backward *b, const sm_layer *w, const sm_graph_layer *d,
                         const sm_tape_layer *l) {
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward part = part_from(b, first);
        feed_forward_part(&part, w, d, l);
    }
}

/* dy (one token of n heads) back through rope, whose transpose turns the other way, into
 * itself; then through the head norm into draw. */
static void heads_back(const sm_graph *g, const float *cos, const float *neg_sin, float *dy,
                       const float *raw, const float *norm, uint32_t n, float *draw, float *r) {
    const sm_config *c = &g->net->config;
    for (uint32_t h = 0; h < n; h++, dy += c->head_dim) {
        g->kernels->rope(dy, cos, neg_sin, c->n_rot, c->family->rope_neox);
        if (norm)
            r[h] = g->kernels->rms_norm_grad(draw + h * c->head_dim, dy, raw + h * c->head_dim,
                                             norm, c->head_dim, c->norm_eps, false);
    }
}

/* Token t: heads of a group added up for dk and dv, then q and k back to the products. */
static void token_back(const sm_backward *b, const sm_layer *w, const sm_tape_layer *l,
                       uint64_t t) {
    sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    const uint32_t dim = c->head_dim, group = c->n_head / c->n_head_kv, half = c->n_rot / 2;
    const uint64_t ldq = g->tape->ldq, ldkv = g->tape->ldkv;
    float *neg_sin = g->threads[b->crew.thread].neg_sin;
    const float *cos = g->tape->cos + t * half;
    float *dk = g->dk + t * ldkv, *dv = g->dv + t * ldkv;
    float *dk_heads = g->dk_heads + t * ldq, *dv_heads = g->dv_heads + t * ldq;
    for (uint32_t h = 0; h < c->n_head_kv && dk != dk_heads; h++) {
        memcpy(dk + h * dim, dk_heads + h * group * dim, dim * sizeof *dk);
        memcpy(dv + h * dim, dv_heads + h * group * dim, dim * sizeof *dv);
        for (uint32_t i = 1; i < group; i++) {
            g->kernels->add(dk + h * dim, dk + h * dim, dk_heads + (h * group + i) * dim, dim);
            g->kernels->add(dv + h * dim, dv + h * dim, dv_heads + (h * group + i) * dim, dim);
        }
    }
    g->kernels->scale(neg_sin, g->tape->sin + t * half, -1, half);
    heads_back(g, cos, neg_sin, g->dq + t * ldq, l->q_raw ? l->q_raw + t * ldq : NULL, w->q_norm,
               c->n_head, dk_heads, g->r_q + t * c->n_head);
    heads_back(g, cos, neg_sin, dk, l->k_raw ? l->k_raw + t * ldkv : NULL, w->k_norm, c->n_head_kv,
               dv_heads, g->r_k + t * c->n_head_kv);
}

/* dw += sum over tokens and heads of dy raw r. No barrier. */
static void grad_head_norm(const sm_backward *b, float *dw, const float *dy, const float *raw,
                           uint64_t ld, const float *r, uint32_t n_head) {
    const uint32_t dim = b->g->net->config.head_dim;
    uint64_t begin, end;
    if (!dw)
        return;
    sm_share((dim + 15) / 16, b->crew.thread, b->crew.n_threads, &begin, &end);
    begin *= 16;
    end = end * 16 < dim ? end * 16 : dim;
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, ld); t++)
        for (uint32_t h = 0; h < n_head; h++) {
            const uint64_t at = t * ld + h * dim + begin;
            b->g->kernels->add_product(dw + begin, dy + at, raw + at, r[t * n_head + h],
                                       end - begin);
        }
}

void sm_grad_heads(const sm_backward *b, const sm_layer *w, const sm_graph_layer *d,
                   const sm_tape_layer *l) {
    const sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    uint64_t begin, end;
    sm_share(b->T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, g->tape->ldq); t++)
        token_back(b, w, l, t);
    sm_team_barrier(g->team);
    grad_head_norm(b, d->q_norm, g->dq, l->q_raw, g->tape->ldq, g->r_q, c->n_head);
    grad_head_norm(b, d->k_norm, g->dk, l->k_raw, g->tape->ldkv, g->r_k, c->n_head_kv);
}

/* q = rope(norm(Wq n + bq)), k likewise, v = Wv n + bv, n = rms_norm(x), for b's tokens: from the
 * gradients before norm and rope to x */
static void projections(const sm_backward *b, const sm_layer *w, const sm_graph_layer *d,
                        const sm_tape_layer *l) {
    sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    const uint64_t ldx = g->tape->ldx, ldq = g->tape->ldq, ldkv = g->tape->ldkv, T = b->T;
    const uint64_t lddk = w->k_norm ? ldq : ldkv;
    const float *dq = (w->q_norm ? g->dk_heads : g->dq) + b->first * ldq;
    const float *dk = (w->k_norm ? g->dv_heads : g->dk) + b->first * lddk;
    const float *dv = g->dv + b->first * ldkv, *x = l->x + b->first * ldx;
    uint64_t begin, end;
    sm_share(T, b->crew.thread, b->crew.n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&b->crew, t - begin, ldx); t++)
        g->kernels->rms_norm(g->normed + t * ldx, x + t * ldx, w->attn_norm, c->n_embd,
                             c->norm_eps);
    sm_team_barrier(g->team);
    sm_grad_bias(b, d->bq, dq, ldq, T, (uint64_t)c->n_head * c->head_dim);
    sm_grad_bias(b, d->bk, dk, lddk, T, (uint64_t)c->n_head_kv * c->head_dim);
    sm_grad_bias(b, d->bv, dv, ldkv, T, (uint64_t)c->n_head_kv * c->head_dim);
    sm_lap_of(b, SM_PART_ROWS);
    sm_grad_weight(b, &d->matrix[SM_Q], dq, ldq, g->normed, ldx, T, NULL);
    sm_grad_weight(b, &d->matrix[SM_K], dk, lddk, g->normed, ldx, T, NULL);
    sm_grad_weight(b, &d->matrix[SM_V], dv, ldkv, g->normed, ldx, T, NULL);
    sm_grad_input(b, &d->matrix[SM_Q], dq, ldq, T, NULL, g->dn, ldx, false);
    sm_grad_input(b, &d->matrix[SM_K], dk, lddk, T, NULL, g->dn, ldx, true);
    sm_grad_input(b, &d->matrix[SM_V], dv, ldkv, T, NULL, g->dn, ldx, true);
    sm_grad_norm(b, g->dx + b->first * ldx, g->dn, x, NULL, T, w->attn_norm, d->attn_norm);
}

/* x += O(attention(q, k, v)) */
static void attention(const sm_backward *b, const sm_layer *w, const sm_graph_layer *d,
                      const sm_tape_layer *l) {
    sm_graph *g = b->g;
    const uint64_t ldx = g->tape->ldx, ldq = g->tape->ldq, T = b->T;
    sm_grad_bias(b, d->bo, g->dx, ldx, T, g->net->config.n_embd);
    sm_grad_weight(b, &d->matrix[SM_O], g->dx, ldx, l->att, ldq, T, NULL);
    sm_grad_input(b, &d->matrix[SM_O], g->dx, ldx, T, NULL, g->datt, ldq, false);
    sm_grad_attention(b, w, l);
    sm_lap_of(b, SM_PART_ATTENTION);
    sm_grad_heads(b, w, d, l);
    for (uint32_t first = 0; first < b->T; first += b->g->together) {
        const sm_backward part = part_from(b, first);
        projections(&part, w, d, l);
    }
}

/* ---- the layers and the embedding -------------------------------------------------------------
 */

void sm_grad_embedding(const sm_backward *b, const int32_t *ids) {
    const sm_graph *g = b->g;
    const uint64_t width = g->net->config.n_embd;
    uint64_t begin, end;
    if (!g->embd_grad)
        return;
    sm_share((width + 15) / 16, b->crew.thread, b->crew.n_threads, &begin, &end);
    begin *= 16;
    end = end * 16 < width ? end * 16 : width;
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, width); t++) {
        float *row = g->embd_grad + (uint64_t)ids[t] * width;
        g->kernels->add(row + begin, row + begin, g->dx + t * g->tape->ldx + begin, end - begin);
    }
}

typedef struct layers_run {
    sm_graph *g;
    const sm_train_batch *batch;
    uint32_t begin, end; /* layers */
    bool cancelled;
    _Atomic uint32_t next_task;
} layers_run;

static void run_layers(void *arg, uint32_t thread, uint32_t n_threads) {
    layers_run *r = arg;
    sm_graph *g = r->g;
    const sm_backward b = {.crew = sm_graph_crew(g, thread, n_threads),
                           .g = g,
                           .T = r->batch->n_tokens,
                           .next_task = &r->next_task};
    for (uint32_t i = r->end; i-- > r->begin;) {
        if (thread == 0) /* barriers of the layer stand before and after it is used */
            atomic_store_explicit(&r->next_task, 0, memory_order_relaxed);
        feed_forward(&b, &g->net->layers[i], &g->layers[i], &g->tape->layers[i]);
        /* one decision for all: attention's barriers stand between this and its use, those of the
         * next feed_forward between its use and the next one */
        if (thread == 0)
            r->cancelled = sm_crew_stopped(&b.crew);
        attention(&b, &g->net->layers[i], &g->layers[i], &g->tape->layers[i]);
        if (r->cancelled)
            return;
    }
    if (r->begin == 0) {
        sm_team_barrier(g->team);
        sm_grad_embedding(&b, r->batch->ids);
        sm_lap_of(&b, SM_PART_ROWS);
    }
}

sm_status sm_graph_layers(sm_graph *g, const sm_train_batch *batch) {
    const uint32_t n_layer = g->net->config.n_layer;
    layers_run run = {.g = g, .batch = batch, .end = n_layer};
    atomic_init(&run.next_task, 0);
    if (!g->options.checkpoint_layers) {
        sm_team_run(g->team, run_layers, &run);
        return cancelled(g) ? SM_ERR_CANCELLED : SM_OK;
    }
    const sm_step again = {.n_tokens = batch->n_tokens,
                           .ids = batch->ids,
                           .n_spans = g->n_spans,
                           .spans = g->spans,
                           .cancel = g->stop.cancel,
                           .cancel_user = g->stop.cancel_user,
                           .tape = g->tape,
                           .adapters = &g->adapters};
    for (uint32_t i = n_layer; i-- > 0;) {
        g->tape->begin = run.begin = i;
        g->tape->end = run.end = i + 1;
        /* the last one's values are still there */
        if (i + 1 < n_layer && sm_forward(g->ws, g->team, &again, NULL))
            return SM_ERR_CANCELLED;
        sm_lap(g, SM_PART_FORWARD);
        sm_team_run(g->team, run_layers, &run);
        if (cancelled(g))
            return SM_ERR_CANCELLED;
    }
    return SM_OK;
}
