/* The decoder-only transformer, run by every thread of a team at once. Each
 * operator takes its share of rows (or tokens, or heads); a barrier stands where
 * another thread's results are read next: five per layer when decoding. */
#include "step.h"

#include <math.h>
#include <string.h>

/* FFN rows are shared out in pieces of whole activation blocks, so that each
 * thread quantizes what it computed. */
#define FFN_UNIT 32

/* Tokens at most that a thread takes through a product and what follows it before the next ones:
 * what was computed is still in a cache when it is read again. */
#define TOKENS_TOGETHER 512

/* The step's tokens in pieces alike; all of them where W is packed as it is used. */
static uint64_t tokens_together(const sm_worker *w, const sm_weight *W) {
    const uint64_t pieces = W->packed ? (w->T + TOKENS_TOGETHER - 1) / TOKENS_TOGETHER : 1;
    return (w->T + pieces - 1) / pieces;
}

/* x = token embeddings; rotation angles of every token. */
static void embed(const sm_worker *w) {
    const sm_weight *E = &w->net->embd;
    const sm_step *b = w->batch;
    const uint64_t half = w->c->n_rot / 2;
    uint64_t begin, end;
    sm_work_share(w, w->T, &begin, &end);
    for (uint32_t i = 0; i < b->n_spans; i++) {
        const sm_span *span = &b->spans[i];
        for (uint64_t t = begin; t < end; t++) {
            if (t < span->first || t >= span->first + span->n)
                continue;
            const double position = (double)(span->position + (t - span->first));
            for (uint64_t d = 0; d < half; d++) {
                const double angle = position * w->net->rope_inv_freq[d];
                w->cos[t * half + d] = (float)cos(angle) * w->net->rope_mscale;
                w->sin[t * half + d] = (float)sin(angle) * w->net->rope_mscale;
            }
        }
    }
    for (uint64_t t = begin; t < end; t++)
        w->kernels->type[E->type].dequantize(
            w->at.x + t * w->ws->ldx, E->data + (uint64_t)b->ids[t] * E->row_bytes, w->c->n_embd);
}

typedef struct range {
    uint64_t begin, end;
} range;

/* The groups that have some of these rows. */
static range groups_of(range rows) {
    return (range){rows.begin / SM_GROUP, (rows.end + SM_GROUP - 1) / SM_GROUP};
}

/* Of head units [u0, u1). */
static range head_rows(const sm_worker *w, const sm_weight *W, uint64_t u0, uint64_t u1) {
    return (range){u0 * w->ws->head_unit, min_u64(u1 * w->ws->head_unit, W->rows)};
}

/* Tokens [t0, t1), rows [u0, u1) head units of one of Wq, Wk, Wv: product, bias, head norm, rope,
 * and for keys and values the way into the cache. */
static void project(const sm_worker *w, const sm_layer *layer, uint32_t what, const sm_input *in,
                    uint64_t u0, uint64_t u1, uint64_t t0, uint64_t t1) {
    sm_workspace *ws = w->ws;
    const sm_config *c = w->c;
    const sm_weight *W = what == SM_Q ? &layer->wq : what == SM_K ? &layer->wk : &layer->wv;
    const float *bias = what == SM_Q ? layer->bq : what == SM_K ? layer->bk : layer->bv;
    const float *norm = what == SM_Q ? layer->q_norm : what == SM_K ? layer->k_norm : NULL;
    float *y = what == SM_Q ? w->at.q : what == SM_K ? w->at.k : w->at.v;
    float *raw = what == SM_Q ? w->at.q_raw : what == SM_K ? w->at.k_raw : NULL;
    const uint64_t ldy = what == SM_Q ? ws->ldq : ws->ldkv;
    const range rows = head_rows(w, W, u0, u1), groups = groups_of(rows);
    const uint64_t r0 = rows.begin, r1 = rows.end, half = c->n_rot / 2;
    if (r0 >= r1)
        return;
    sm_product_compute(w, W, what, groups.begin, groups.end, in, t0, t1 - t0, y + t0 * ldy, ldy);
    for (uint32_t i = 0; i < w->batch->n_spans; i++) {
        const sm_span *span = &w->batch->spans[i];
        const uint64_t end = min_u64(span->first + span->n, t1);
        for (uint64_t t = span->first > t0 ? span->first : t0; t < end; t++) {
            const uint32_t position = span->position + (uint32_t)(t - span->first);
            float *row = y + t * ldy;
            if (bias)
                w->kernels->add(row + r0, row + r0, bias + r0, r1 - r0);
            if (raw)
                memcpy(raw + t * ldy + r0, row + r0, (r1 - r0) * sizeof *raw);
            for (uint64_t h = r0 / c->head_dim; h < r1 / c->head_dim; h++) {
                float *head = row + h * c->head_dim;
                if (norm)
                    w->kernels->rms_norm(head, head, norm, c->head_dim, c->norm_eps);
                if (what != SM_V)
                    w->kernels->rope(head, w->cos + t * half, w->sin + t * half, c->n_rot,
                                     c->family->rope_neox);
                if (what != SM_Q)
                    sm_kv_store(span->kv, w->kernels, w->layer, (uint32_t)h, position,
                                what == SM_K ? head : NULL, what == SM_V ? head : NULL);
            }
        }
    }
}

/* Head units [b, e) of keys or values of a single token: asks for their places in the cache, which
 * arrive while the products run. */
static void fetch_places(const sm_worker *w, const sm_weight *W, uint64_t b, uint64_t e, bool key) {
    const sm_span *span = &w->batch->spans[0];
    const range rows = head_rows(w, W, b, e);
    for (uint64_t r = rows.begin; r < rows.end; r += w->c->head_dim)
        sm_kv_fetch(span->kv, w->layer, (uint32_t)(r / w->c->head_dim), span->position, key);
}

/* This thread's head units of Wq, Wk and Wv, which are shared out as one list: values, keys,
 * queries. */
typedef struct qkv_share {
    uint64_t begin[3], end[3];
} qkv_share;

/* What else takes time, as bytes of weights that are read in it: the beginning of a product that
 * reads weights for few tokens (on Zen 4 0.9 us), and bringing a head unit of keys or values into
 * the cache, whose lines one token waits for (0.2 us). By number of units the first thread of the
 * 135M shape, which has three products where the second has one, takes 1.3 times as long. */
#define PRODUCT_BYTES 24000.0
#define KEEP_ONE_BYTES 5000.0
#define KEEP_BYTES 1000.0

/* Where `thread` begins in that list of count[m] units of unit[m] bytes each; thread n_threads
 * stands for its end. */
static uint64_t qkv_begin(const uint64_t count[3], const double unit[3], double product,
                          uint32_t thread, uint32_t n_threads) {
    if (thread == 0)
        return 0;
    /* each thread but the first begins one of the products again */
    double work = (n_threads - 1) * product;
    for (uint32_t m = SM_Q; m <= SM_V; m++)
        work += product + (double)count[m] * unit[m];
    double before = work * thread / n_threads - (thread - 1) * product;
    uint64_t at = 0;
    for (uint32_t m = SM_V + 1; m-- > SM_Q && thread < n_threads;) {
        const double units = (before - product) / unit[m];
        if (units < (double)count[m])
            return at + (units > 0 ? (uint64_t)(units + 0.5) : 0);
        before -= product + (double)count[m] * unit[m];
        at += count[m];
    }
    return count[SM_Q] + count[SM_K] + count[SM_V];
}

static qkv_share share_qkv(const sm_worker *w, const sm_layer *layer) {
    const sm_weight *const W[] = {&layer->wq, &layer->wk, &layer->wv};
    const double keep = w->T == 1 ? KEEP_ONE_BYTES : KEEP_BYTES;
    const double product = w->T <= SM_MUL_COLS ? PRODUCT_BYTES : 0;
    uint64_t count[3], bytes = 0, begin = 0, end = 0;
    double unit[3];
    for (uint32_t m = SM_Q; m <= SM_V; m++) {
        count[m] = (W[m]->rows + w->ws->head_unit - 1) / w->ws->head_unit;
        unit[m] =
            (double)(w->ws->head_unit / SM_GROUP * W[m]->group_bytes) + (m != SM_Q ? keep : 0);
        bytes += sm_weight_packed_bytes(W[m]);
    }
    const uint32_t sharers = sm_work_sharers(w, bytes);
    if (w->thread < sharers) {
        begin = qkv_begin(count, unit, product, w->thread, sharers);
        end = qkv_begin(count, unit, product, w->thread + 1, sharers);
    }
    qkv_share share;
    uint64_t at = 0;
    for (uint32_t m = SM_V + 1; m-- > SM_Q; at += count[m]) {
        share.begin[m] = begin > at ? min_u64(begin - at, count[m]) : 0;
        share.end[m] = end > at ? min_u64(end - at, count[m]) : 0;
    }
    return share;
}

static void qkv(const sm_worker *w, const sm_layer *layer, const sm_input *in) {
    const qkv_share s = share_qkv(w, layer);
    const uint64_t step = tokens_together(w, &layer->wq);
    for (uint32_t i = SM_K; i <= SM_V && w->T == 1; i++)
        fetch_places(w, i == SM_K ? &layer->wk : &layer->wv, s.begin[i], s.end[i], i == SM_K);
    for (uint32_t i = 0; i < 3; i++)
        for (uint64_t t = 0; t < w->T && s.begin[i] < s.end[i]; t += step)
            project(w, layer, i, in, s.begin[i], s.end[i], t, min_u64(t + step, w->T));
}

/* This thread's groups of a matrix that is shared out by itself, and of gate and up. */
static range share_groups(const sm_worker *w, const sm_weight *W) {
    range share;
    sm_work_share_weights(w, (W->rows + SM_GROUP - 1) / SM_GROUP, sm_weight_packed_bytes(W),
                          &share.begin, &share.end);
    return share;
}

static range share_ffn(const sm_worker *w, const sm_layer *layer) {
    uint64_t begin, end;
    sm_work_share_weights(w, (w->c->n_ff + FFN_UNIT - 1) / FFN_UNIT,
                          sm_weight_packed_bytes(&layer->gate) + sm_weight_packed_bytes(&layer->up),
                          &begin, &end);
    return (range){begin * FFN_UNIT, min_u64(end * FFN_UNIT, w->c->n_ff)};
}

/* to = from + W in (+ bias); to may be from. */
static void project_residual(const sm_worker *w, float *to, const float *from, const sm_weight *W,
                             uint32_t matrix, const float *bias, const sm_input *in) {
    sm_workspace *ws = w->ws;
    const range groups = share_groups(w, W);
    if (groups.begin == groups.end)
        return;
    const uint64_t r0 = groups.begin * SM_GROUP, n = min_u64(groups.end * SM_GROUP, W->rows) - r0;
    for (uint64_t t0 = 0, t1; t0 < w->T; t0 = t1) {
        t1 = min_u64(t0 + tokens_together(w, W), w->T);
        sm_product_compute(w, W, matrix, groups.begin, groups.end, in, t0, t1 - t0,
                           ws->y + t0 * ws->ldx, ws->ldx);
        for (uint64_t t = t0; t < t1; t++) {
            const uint64_t at = t * ws->ldx + r0;
            if (bias)
                w->kernels->add(ws->y + at, ws->y + at, bias + r0, n);
            w->kernels->add(to + at, from + at, ws->y + at, n);
        }
    }
}

/* h = silu(gate in) * (up in), brought into down's form piece by piece. */
static sm_input gate_up(const sm_worker *w, const sm_layer *layer, const sm_input *in) {
    sm_workspace *ws = w->ws;
    const uint64_t blocks = ws->blocks_h;
    const sm_input_use use = sm_input_use_of(w, layer->down.form, SM_DOWN, SM_DOWN);
    const range rows = share_ffn(w, layer), groups = groups_of(rows);
    const uint64_t r0 = rows.begin, r1 = rows.end;
    for (uint64_t t0 = 0, t1; t0 < w->T && r0 < r1; t0 = t1) {
        t1 = min_u64(t0 + tokens_together(w, &layer->gate), w->T);
        sm_product_compute(w, &layer->gate, SM_GATE, groups.begin, groups.end, in, t0, t1 - t0,
                           w->at.gate + t0 * ws->ldh, ws->ldh);
        sm_product_compute(w, &layer->up, SM_UP, groups.begin, groups.end, in, t0, t1 - t0,
                           w->at.up + t0 * ws->ldh, ws->ldh);
        for (uint64_t t = t0; t < t1; t++) {
            const uint64_t at = t * ws->ldh + r0;
            float *h = use.floats ? ws->h + at : w->scratch->row;
            float *gate = w->at.gate + at, *up = w->at.up + at;
            if (layer->b_gate)
                w->kernels->add(gate, gate, layer->b_gate + r0, r1 - r0);
            if (layer->b_up)
                w->kernels->add(up, up, layer->b_up + r0, r1 - r0);
            w->kernels->silu_mul(h, gate, up, r1 - r0);
            sm_input_prepare(w, use.form, ws->h_q + t * blocks + r0 / 32, h, r1 - r0);
        }
    }
    return (sm_input){ws->h, ws->ldh, ws->h_q, blocks};
}

/* ---- what comes next ------------------------------------------------------------ */

/* Of a step with a single token each thread asks for the beginnings of the matrices that it will
 * read behind the next barrier: they come while it waits. */
static void expect(const sm_worker *w, const sm_weight *W, range groups) {
    if (w->T == 1 && groups.begin < groups.end)
        sm_matmul_expect(W, groups.begin, groups.end);
}

static void expect_ffn(const sm_worker *w, const sm_layer *layer) {
    const range groups = groups_of(share_ffn(w, layer));
    expect(w, &layer->gate, groups);
    expect(w, &layer->up, groups);
}

static void expect_layer(const sm_worker *w, uint32_t i) {
    if (i == w->c->n_layer || w->pass->repack_layers) /* its matrices may be in the making */
        return;
    const sm_layer *layer = &w->net->layers[i];
    const qkv_share s = share_qkv(w, layer);
    const sm_weight *const W[] = {&layer->wq, &layer->wk, &layer->wv};
    for (uint32_t m = 0; m < 3; m++)
        expect(w, W[m], groups_of(head_rows(w, W[m], s.begin[m], s.end[m])));
}

/* ---- the step -------------------------------------------------------------------- */

/* The workspace's own buffers, which every layer uses in turn. */
static sm_tape_layer own_places(const sm_workspace *ws) {
    return (sm_tape_layer){.x = ws->x,
                           .q = ws->q,
                           .k = ws->k,
                           .v = ws->v,
                           .att = ws->att,
                           .mid = ws->x,
                           .gate = ws->h,
                           .up = ws->up,
                           .out = ws->x};
}

/* x += O(attention(norm(x))); the keys and values go into the cache on the way. False if the step
 * was cancelled. */
static bool attend(const sm_worker *w, const sm_layer *layer) {
    sm_pass *pass = w->pass;
    if (w->thread == 0)
        atomic_store_explicit(&pass->next_task, 0, memory_order_relaxed);
    sm_input in = sm_input_norm(w, w->at.x, layer->attn_norm,
                                sm_input_use_of(w, layer->qkv_form, SM_Q, SM_V), NULL, w->T);
    sm_product_lower(w, SM_Q, SM_V, &in, w->T, NULL);
    qkv(w, layer, &in);
    expect(w, &layer->wo, share_groups(w, &layer->wo));
    if (w->thread == 0) /* one decision for all: they must meet at the same barriers */
        pass->cancelled = sm_stopped(w->scratch);
    sm_team_barrier(w->team);
    if (pass->cancelled)
        return false;
    in = sm_attn_step(w, layer->wo.form);
    sm_product_lower(w, SM_O, SM_O, &in, w->T, NULL);
    project_residual(w, w->at.mid, w->at.x, &layer->wo, SM_O, layer->bo, &in);
    expect_ffn(w, layer);
    sm_team_barrier(w->team);
    return true;
}

/* x += down(silu(gate(norm(x))) * up(norm(x))) */
static void feed_forward(const sm_worker *w, const sm_layer *layer) {
    sm_input in = sm_input_norm(w, w->at.mid, layer->ffn_norm,
                                sm_input_use_of(w, layer->ffn_form, SM_GATE, SM_UP), NULL, w->T);
    sm_product_lower(w, SM_GATE, SM_UP, &in, w->T, NULL);
    in = gate_up(w, layer, &in);
    expect(w, &layer->down, share_groups(w, &layer->down));
    sm_team_barrier(w->team);
    sm_product_lower(w, SM_DOWN, SM_DOWN, &in, w->T, NULL);
    project_residual(w, w->at.out, w->at.mid, &layer->down, SM_DOWN, layer->b_down, &in);
    expect_layer(w, w->layer + 1);
    sm_team_barrier(w->team);
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
                       .sin = tape ? tape->sin : ws->sin,
                       .at = tape ? tape->layers[tape->begin] : own_places(ws),
                       .attn = {.kernels = ws->net->kernels,
                                .n_head = c->n_head,
                                .n_head_kv = c->n_head_kv,
                                .head_dim = c->head_dim,
                                .width = sm_kv_width(c),
                                .rounded = tape && tape->rounded,
                                .scale = 1.0f / sqrtf((float)c->head_dim)}};
}

static void forward(void *arg, uint32_t thread, uint32_t n_threads) {
    sm_pass *pass = arg;
    const sm_net *net = pass->ws->net;
    const sm_tape *tape = pass->batch->tape;
    const uint32_t begin = tape ? tape->begin : 0, end = tape ? tape->end : net->config.n_layer;
    sm_worker w = worker_of(pass, thread, n_threads);
    w.scratch->stop = &pass->stop;
    w.scratch->asks = thread == 0;
    if (begin == 0) {
        embed(&w);
        sm_team_barrier(w.team);
    }
    for (uint32_t i = begin; i < end; i++) {
        w.layer = w.attn.layer = i;
        w.attn.window = net->layers[i].window;
        if (tape)
            w.at = tape->layers[i];
        if (pass->repack_layers && !sm_repack(&w, 0, SM_MATRICES - 1))
            return;
        if (!attend(&w, &net->layers[i]))
            return;
        feed_forward(&w, &net->layers[i]);
    }
    w.layer = net->config.n_layer;
    /* Nobody has asked the hook since the last barrier: all threads see the same. Packing asks it,
     * and has an answer for all. */
    if (pass->repack_head ? !sm_repack(&w, SM_HEAD, SM_HEAD)
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
    sm_repack_plan(&pass);
    /* packing keeps all threads busy, however small the rest of the step */
    const uint32_t n_threads = pass.repack_layers || pass.repack_head
                                   ? sm_team_size(team)
                                   : sm_work_threads(ws, team, batch);
    if (batch->n_tokens > 1)
        sm_attn_plan(&pass, n_threads);
    sm_team_run_some(team, n_threads, forward, &pass);
    if (pass.repack_status)
        return pass.repack_status;
    return atomic_load(&pass.stop.stopped) ? sm_fail(error, SM_ERR_CANCELLED, "cancelled") : SM_OK;
}
