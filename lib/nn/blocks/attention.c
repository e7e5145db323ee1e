/* Attention: x += O(attention(rope(norm(QKV(norm(x)))))). Keys and values go into the sequence's
 * state on the way. */
#include "worker.h"

#include <math.h>
#include <string.h>

const sm_kind sm_kind_attention = {
    .name = "attention",
    .id = SM_KIND_ATTENTION,
    .n_slots = SM_ATTN_SLOTS,
    .n_buffers = SM_AT_BUFFERS,
    .n_joins = 2,
    .last = SM_ATTN_O,
    .last_bias = SM_ATTN_O_BIAS,
    .has_state = true,
    .slot =
        {
            SM_WIRING_ROWS,
            [SM_ATTN_Q] = {"attn_q.weight", SM_DIM_Q, SM_DIM_EMBD, 0, 1, SM_ROLE_SCORE, SM_MUST},
            [SM_ATTN_K] = {"attn_k.weight", SM_DIM_KV, SM_DIM_EMBD, 0, 1, SM_ROLE_SCORE,
                           SM_IF_ASKED},
            [SM_ATTN_V] = {"attn_v.weight", SM_DIM_KV, SM_DIM_EMBD, 0, 1, SM_ROLE_VALUE,
                           SM_IF_ASKED},
            [SM_ATTN_Q_BIAS] = {"attn_q.bias", SM_DIM_Q, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_ATTN_K_BIAS] = {"attn_k.bias", SM_DIM_KV, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_ATTN_V_BIAS] = {"attn_v.bias", SM_DIM_KV, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_ATTN_Q_NORM] = {"attn_q_norm.weight", SM_DIM_Q_NORM, 0, SM_DIM_Q_NORMS, 0,
                                SM_ROLE_NORM, SM_IF_ASKED},
            [SM_ATTN_K_NORM] = {"attn_k_norm.weight", SM_DIM_K_NORM, 0, SM_DIM_K_NORMS, 0,
                                SM_ROLE_NORM, SM_IF_ASKED},
            [SM_ATTN_O] = {"attn_output.weight", SM_DIM_EMBD, SM_DIM_Q, 0, 2, SM_ROLE_RESIDUAL,
                           SM_MUST},
            [SM_ATTN_O_BIAS] = {"attn_output.bias", SM_DIM_EMBD, 0, 0, 0, SM_ROLE_BIAS, SM_MAY},
            [SM_ATTN_SINKS] = {"attn_sinks.weight", SM_DIM_HEADS, 0, 0, 0, SM_ROLE_BIAS,
                               SM_IF_ASKED},
        },
    .buffer =
        {
            [SM_AT_Q] = {SM_DIM_Q, SM_KEEP, 0},
            [SM_AT_K] = {SM_DIM_KV, SM_KEEP, 0},
            [SM_AT_V] = {SM_DIM_KV, SM_KEEP, 0},
            [SM_AT_OUT] = {SM_DIM_Q, SM_KEEP, 0},
            [SM_AT_OUT_FORM] = {SM_DIM_Q, SM_FORMS, 0},
            [SM_AT_LSE] = {SM_DIM_HEADS, SM_KEEP | SM_ONLY_KEPT, 0},
            [SM_AT_Q_RAW] = {SM_DIM_Q_NORMED, SM_KEEP | SM_ONLY_KEPT, 0},
            [SM_AT_K_RAW] = {SM_DIM_K_NORMED, SM_KEEP | SM_ONLY_KEPT, 0},
            [SM_AT_V_RAW] = {SM_DIM_V_RAW, SM_KEEP | SM_ONLY_KEPT, 0},
            [SM_AT_Q_FREE] = {SM_DIM_Q, SM_KEEP | SM_ONLY_KEPT | SM_IF_CLAMPED, 0},
            [SM_AT_K_FREE] = {SM_DIM_KV, SM_KEEP | SM_ONLY_KEPT | SM_IF_CLAMPED, 0},
            [SM_AT_V_FREE] = {SM_DIM_KV, SM_KEEP | SM_ONLY_KEPT | SM_IF_CLAMPED, 0},
        },
    .join = {{"attn_qkv.weight", SM_ATTN_Q, 3, SM_MAY},
             {"attn_qkv.bias", SM_ATTN_Q_BIAS, 3, SM_MAY}},
};

/* Of queries, keys and values: what each has. */
enum { QUERIES, KEYS, VALUES, PARTS };
static const struct {
    uint8_t matrix, bias, norm, to, raw, free; /* slots; buffers */
} parts[PARTS] = {
    [QUERIES] = {SM_ATTN_Q, SM_ATTN_Q_BIAS, SM_ATTN_Q_NORM, SM_AT_Q, SM_AT_Q_RAW, SM_AT_Q_FREE},
    [KEYS] = {SM_ATTN_K, SM_ATTN_K_BIAS, SM_ATTN_K_NORM, SM_AT_K, SM_AT_K_RAW, SM_AT_K_FREE},
    [VALUES] = {SM_ATTN_V, SM_ATTN_V_BIAS, 0, SM_AT_V, SM_AT_V_RAW, SM_AT_V_FREE},
};

/* Rows that are shared out as one: whole heads and whole groups, lcm(head_dim, 16). */
static uint64_t head_unit(const sm_block *b) {
    uint64_t unit = b->attn.head_dim;
    while (unit % SM_GROUP) /* at most 16 heads */
        unit += b->attn.head_dim;
    return unit;
}

/* Of head units [u0, u1); keys and values that are another block's have no rows. */
static sm_range head_rows(const sm_block *b, const sm_weight *W, uint64_t u0, uint64_t u1) {
    const uint64_t unit = head_unit(b);
    return (sm_range){u0 * unit, min_u64(u1 * unit, W ? W->rows : 0)};
}

/* Whether part `what` has a norm over all heads, which one thread computes when all are there. */
static bool waits(const sm_block *b, uint32_t what) {
    return what != VALUES && b->attn.norm_whole && sm_attn_normed(b, parts[what].norm);
}

/* In place: n elements of token t from row r0 on, which the tape wants as they are. */
static void norm_heads(const sm_worker *w, uint32_t what, uint64_t t, float *row, uint64_t r0,
                       uint64_t n) {
    const sm_block *b = w->block;
    float *raw = w->at.buffer[parts[what].raw];
    if (raw)
        memcpy(raw + t * b->ld[parts[what].raw] + r0, row + r0, n * sizeof *raw);
    const float *gain = what != VALUES ? b->v[parts[what].norm] : NULL;
    if (gain && b->attn.norm_own)
        gain += r0;
    sm_norm_row(w->kernels, what != VALUES ? b->attn.norm : SM_NORM_RMS, row + r0, row + r0, gain,
                NULL, n, w->c->norm_eps);
}

/* The same, within the block's limit. */
static void clamp_heads(const sm_worker *w, uint32_t what, uint64_t t, float *row, uint64_t r0,
                        uint64_t n) {
    const sm_block *b = w->block;
    float *kept = w->at.buffer[parts[what].free];
    if (kept)
        memcpy(kept + t * b->ld[parts[what].free] + r0, row + r0, n * sizeof *kept);
    w->kernels->clamp(row + r0, row + r0, n, b->attn.clamp);
}

/* Rotates heads in [r0, r1) of token t. */
static void rotate_heads(const sm_worker *w, uint64_t t, float *row, uint64_t r0, uint64_t r1) {
    const sm_attn_params *p = &w->block->attn;
    const sm_rope *rope = &w->net->ropes[p->rope];
    const uint64_t at = t * (rope->n_rot / 2);
    for (uint64_t r = r0; r < r1; r += p->head_dim)
        w->kernels->rope(row + r, w->cos[p->rope] + at, w->sin[p->rope] + at, rope->n_rot,
                         rope->neox);
}

/* By Llama 4's and Ministral's code in transformers (get_llama_4_attn_scale). */
float sm_query_scale(const sm_attn_params *p, uint32_t position) {
    const double n = position + (double)p->temperature_first;
    const double times = floor(n / (double)p->temperature_span);
    return (float)(1 + (double)p->temperature * log(1 + times));
}

/* One token's heads [r0, r1) rows of part `what`, product done: bias, limit, norm, rope, and for
 * keys and values the way into the cache. */
static void finish_heads(const sm_worker *w, uint32_t what, const sm_span *span, uint64_t t,
                         uint64_t r0, uint64_t r1) {
    const sm_block *b = w->block;
    const uint32_t dim = b->attn.head_dim;
    const float *bias = b->v[parts[what].bias];
    const bool norm = what != VALUES ? sm_attn_normed(b, parts[what].norm) : b->attn.norm_values;
    const uint64_t together = waits(b, what) ? r1 - r0 : dim;
    const uint32_t position = span->position + (uint32_t)(t - span->first);
    float *row = (float *)w->at.buffer[parts[what].to] + t * b->ld[parts[what].to];
    if (bias)
        w->kernels->add(row + r0, row + r0, bias + r0, r1 - r0);
    if (b->attn.clamp > 0)
        clamp_heads(w, what, t, row, r0, r1 - r0);
    if (!norm && what != VALUES)
        rotate_heads(w, t, row, r0, r1);
    for (uint64_t r = r0; r < r1 && norm; r += together) {
        if (what == VALUES || !b->attn.norm_late)
            norm_heads(w, what, t, row, r, together);
        if (what != VALUES)
            rotate_heads(w, t, row, r, r + together);
        if (what != VALUES && b->attn.norm_late)
            norm_heads(w, what, t, row, r, together);
    }
    if (what == QUERIES && b->attn.temperature != 0)
        w->kernels->scale(row + r0, row + r0, sm_query_scale(&b->attn, position), r1 - r0);
    for (uint64_t r = r0; r < r1 && what != QUERIES; r += dim)
        sm_kv_store(&span->state->kv[b->state], w->kernels, (uint32_t)(r / dim), position,
                    what == KEYS ? row + r : NULL, what == VALUES ? row + r : NULL);
}

/* Of tokens [t0, t1). */
static void finish_tokens(const sm_worker *w, uint32_t what, uint64_t t0, uint64_t t1, uint64_t r0,
                          uint64_t r1) {
    for (uint32_t i = 0; i < w->batch->n_spans; i++) {
        const sm_span *span = &w->batch->spans[i];
        const uint64_t end = min_u64(span->first + span->n, t1);
        for (uint64_t t = span->first > t0 ? span->first : t0; t < end; t++)
            finish_heads(w, what, span, t, r0, r1);
    }
}

/* Rows of keys as their product made them are those of values. */
static void take_keys(const sm_worker *w, uint64_t t0, uint64_t t1, sm_range rows) {
    const uint64_t ld = w->block->ld[SM_AT_K];
    const float *k = w->at.buffer[SM_AT_K];
    float *v = w->at.buffer[SM_AT_V];
    for (uint64_t t = t0; t < t1; t++)
        memcpy(v + t * ld + rows.begin, k + t * ld + rows.begin,
               (rows.end - rows.begin) * sizeof *v);
    finish_tokens(w, VALUES, t0, t1, rows.begin, rows.end);
}

/* Tokens [t0, t1), rows [u0, u1) head units of one part. */
static void project(const sm_worker *w, uint32_t what, const sm_input *in, uint64_t u0, uint64_t u1,
                    uint64_t t0, uint64_t t1) {
    const sm_block *b = w->block;
    const sm_weight *W = b->w[parts[what].matrix];
    const uint64_t ldy = b->ld[parts[what].to];
    float *y = w->at.buffer[parts[what].to];
    const sm_range rows = head_rows(b, W, u0, u1), groups = sm_groups_of(rows);
    if (rows.begin >= rows.end)
        return;
    sm_product_compute(w, W, groups.begin, groups.end, in, t0, t1 - t0, y + t0 * ldy, ldy);
    if (what == KEYS && b->attn.keyed_values)
        take_keys(w, t0, t1, rows);
    if (!waits(b, what))
        finish_tokens(w, what, t0, t1, rows.begin, rows.end);
}

/* From token t on the first one that begins a tile of keys: one thread fills a tile, in order. */
static uint64_t next_tile(const sm_worker *w, uint64_t t) {
    for (uint32_t i = 0; i < w->batch->n_spans; i++) {
        const sm_span *span = &w->batch->spans[i];
        const uint64_t end = span->first + span->n, position = span->position + (t - span->first);
        if (t > span->first && t < end)
            return min_u64(t + (SM_KV_TILE - position % SM_KV_TILE) % SM_KV_TILE, end);
    }
    return t;
}

/* What waited for all heads: each thread its tokens. */
static void finish_waiting(const sm_worker *w) {
    const sm_block *b = w->block;
    uint64_t begin, end;
    if (!waits(b, QUERIES) && !waits(b, KEYS))
        return;
    sm_team_barrier(w->team);
    sm_work_share(w, w->T, &begin, &end);
    begin = next_tile(w, begin);
    end = next_tile(w, end);
    for (uint32_t i = QUERIES; i <= KEYS; i++)
        if (waits(b, i))
            finish_tokens(w, i, begin, end, 0, b->w[parts[i].matrix]->rows);
}

/* Head units [b, e) of keys or values of a single token: asks for their places in the cache, which
 * arrive while the products run. */
static void fetch_places(const sm_worker *w, uint32_t what, uint64_t begin, uint64_t end) {
    const sm_span *span = &w->batch->spans[0];
    const sm_block *b = w->block;
    const sm_range rows = head_rows(b, b->w[parts[what].matrix], begin, end);
    for (uint64_t r = rows.begin; r < rows.end; r += b->attn.head_dim)
        sm_kv_fetch(&span->state->kv[b->state], (uint32_t)(r / b->attn.head_dim), span->position,
                    what == KEYS);
}

/* ---- sharing out ----------------------------------------------------------------------------- */

/* This thread's head units of Wq, Wk and Wv, which are shared out as one list: values, keys,
 * queries. */
typedef struct qkv_share {
    uint64_t begin[PARTS], end[PARTS];
} qkv_share;

/* What else takes time, as bytes of weights that are read in it: the beginning of a product that
 * reads weights for few tokens, and bringing a head unit of keys or values into the cache, whose
 * lines one token waits for. By number of units the first thread, which may have three products
 * where the second has one, would take longer. */
#define PRODUCT_BYTES 24000.0
#define KEEP_ONE_BYTES 5000.0
#define KEEP_BYTES 1000.0

/* Where `thread` begins in that list of count[m] units of unit[m] bytes each; thread n_threads
 * stands for its end. */
static uint64_t qkv_begin(const uint64_t count[PARTS], const double unit[PARTS], double product,
                          uint32_t thread, uint32_t n_threads) {
    if (thread == 0)
        return 0;
    /* each thread but the first begins one of the products again */
    double work = (n_threads - 1) * product;
    for (uint32_t m = 0; m < PARTS; m++)
        work += product + (double)count[m] * unit[m];
    double before = work * thread / n_threads - (thread - 1) * product;
    uint64_t at = 0;
    for (uint32_t m = PARTS; m-- > 0 && thread < n_threads;) {
        const double units = (before - product) / unit[m];
        if (units < (double)count[m])
            return at + (units > 0 ? (uint64_t)(units + 0.5) : 0);
        before -= product + (double)count[m] * unit[m];
        at += count[m];
    }
    return count[QUERIES] + count[KEYS] + count[VALUES];
}

static qkv_share share_qkv(const sm_worker *w, const sm_block *b) {
    const uint64_t rows = head_unit(b);
    const double keep = w->T == 1 ? KEEP_ONE_BYTES : KEEP_BYTES;
    const double product = w->T <= SM_MUL_COLS ? PRODUCT_BYTES : 0;
    uint64_t count[PARTS], bytes = 0, begin = 0, end = 0;
    double unit[PARTS];
    for (uint32_t m = 0; m < PARTS; m++) {
        const sm_weight *W = b->w[parts[m].matrix];
        count[m] = W ? (W->rows + rows - 1) / rows : 0;
        unit[m] = (W ? (double)(rows / SM_GROUP * W->group_bytes) : 1) + (m != QUERIES ? keep : 0);
        bytes += W ? sm_weight_packed_bytes(W) : 0;
    }
    const uint32_t sharers = sm_work_sharers(w, bytes);
    if (w->thread < sharers) {
        begin = qkv_begin(count, unit, product, w->thread, sharers);
        end = qkv_begin(count, unit, product, w->thread + 1, sharers);
    }
    qkv_share share;
    uint64_t at = 0;
    for (uint32_t m = PARTS; m-- > 0; at += count[m]) {
        share.begin[m] = begin > at ? min_u64(begin - at, count[m]) : 0;
        share.end[m] = end > at ? min_u64(end - at, count[m]) : 0;
    }
    return share;
}

static void qkv(const sm_worker *w, const sm_input *in) {
    const qkv_share s = share_qkv(w, w->block);
    const uint64_t step = sm_tokens_together(w, w->block->w[SM_ATTN_Q]);
    for (uint32_t i = KEYS; i <= VALUES && w->T == 1; i++)
        fetch_places(w, i, s.begin[i], s.end[i]);
    for (uint32_t i = 0; i < PARTS; i++)
        for (uint64_t t = 0; t < w->T && s.begin[i] < s.end[i]; t += step)
            project(w, i, in, s.begin[i], s.end[i], t, min_u64(t + step, w->T));
}

/* ---- the block ---------------------------------------------------------------------------- */

bool sm_attention_run(sm_worker *w, const sm_block *b, sm_input *in) {
    sm_pass *pass = w->pass;
    const sm_weight *O = b->w[SM_ATTN_O];
    w->attn = (sm_attn){.kernels = w->kernels,
                        .p = b->attn,
                        .sinks = b->v[SM_ATTN_SINKS],
                        .state = b->state,
                        .width = sm_kv_width(b->attn.head_dim),
                        .rounded = w->batch->tape && w->batch->tape->rounded};
    if (w->thread == 0)
        atomic_store_explicit(&pass->next_task, 0, memory_order_relaxed);
    qkv(w, in);
    finish_waiting(w);
    sm_expect(w, O, sm_share_groups(w, O));
    if (w->thread == 0) /* one decision for all: they must meet at the same barriers */
        pass->cancelled = sm_stopped(w->scratch);
    sm_team_barrier(w->team);
    if (pass->cancelled)
        return false;
    *in = sm_attn_step(w, O->form);
    return true;
}

void sm_attention_expect(const sm_worker *w, const sm_block *b) {
    const qkv_share s = share_qkv(w, b);
    for (uint32_t m = 0; m < PARTS; m++) {
        const sm_weight *W = b->w[parts[m].matrix];
        if (W)
            sm_expect(w, W, sm_groups_of(head_rows(b, W, s.begin[m], s.end[m])));
    }
}
