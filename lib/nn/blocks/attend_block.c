/* Attention over KV blocks of SM_KV_BLOCK tokens at fixed positions. Each block
 * gives (max, sum, weighted values); blocks combine in order of position (online
 * softmax, arXiv:1805.02867). A query's result therefore depends neither on the
 * queries computed beside it nor on who computes which block. */
#include "ops.h"

#include <math.h>
#include <string.h>

uint32_t sm_attn_chunk(const sm_attn_params *p, uint32_t *tokens) {
    const uint32_t group = p->n_head / p->n_head_kv;
    *tokens = group < 64 ? 64 / group : 1;
    return *tokens * group;
}

uint32_t sm_attn_queries(const sm_attn_params *p) {
    uint32_t tokens;
    const uint32_t nq = sm_attn_chunk(p, &tokens);
    return nq > p->n_head ? nq : p->n_head;
}

/* From one prepared query to the next, as the score kernels count. */
static size_t query_stride(const sm_attn *a, const sm_span *span) {
    return sm_kv_is_quantized(sm_attn_kv(a, span)->type) ? SM_KV_SCALES(a->width) : a->width;
}

/* Prepared query i of q. */
static const void *query_at(const sm_attn *a, const sm_span *span, const void *q, uint64_t i) {
    const size_t size =
        sm_kv_is_quantized(sm_attn_kv(a, span)->type) ? sizeof(sm_act_block) : sizeof(float);
    return (const uint8_t *)q + i * query_stride(a, span) * size;
}

void sm_attn_blocks(uint32_t window, uint32_t position, uint32_t *first, uint32_t *end) {
    *first = sm_window_begin(window, position) / SM_KV_BLOCK;
    *end = position / SM_KV_BLOCK + 1; /* of single tokens nothing is behind them */
}

/* Scores of the n tiles that begin at position, some of which may lie at the ring's beginning. */
static void block_scores(const sm_attn *a, const sm_span *span, uint32_t kv_head, uint32_t position,
                         uint32_t n, const void *q, uint32_t nq, float *s) {
    const sm_kv *kv = sm_attn_kv(a, span);
    for (uint32_t i = 0, run; i < n; i += run) {
        run = sm_kv_run(kv, position + 16 * i, n - i);
        const uint8_t *k = kv->k + sm_kv_offset(kv, kv_head, position + 16 * i);
        a->kernels->kv[kv->type].scores(s + (uint64_t)16 * i, SM_KV_BLOCK, q, query_stride(a, span),
                                        nq, k, run, a->width);
    }
}

/* Their values, one after another: copied if they are not. */
static const uint8_t *block_values(const sm_attn *a, const sm_span *span, uint32_t kv_head,
                                   uint32_t position, uint32_t n, uint8_t *copy) {
    const sm_kv *kv = sm_attn_kv(a, span);
    const uint64_t tile = kv->tile_bytes;
    const uint32_t run = sm_kv_run(kv, position, n);
    const uint8_t *v = kv->v + sm_kv_offset(kv, kv_head, position);
    if (run == n)
        return v;
    memcpy(copy, v, (size_t)(run * tile));
    memcpy(copy + run * tile, kv->v + sm_kv_offset(kv, kv_head, position + 16 * run),
           (size_t)((n - run) * tile));
    return copy;
}

/* n scores times scale, less what distance costs: of token `position` with the keys from `first`
 * on. */
static void add_distances(const sm_attn *a, float *row, uint64_t n, float scale, uint32_t head,
                          uint32_t first, uint32_t position) {
    const float slope = a->p.slopes[head];
    const uint64_t before = first > position ? 0 : min_u64(n, (uint64_t)position - first + 1);
    if (before)
        a->kernels->add_slope(row, row, before, scale, slope,
                              (float)((int64_t)first - (int64_t)position));
    if (before < n) /* keys behind it */
        a->kernels->add_slope(row + before, row + before, n - before, scale, -slope,
                              (float)((int64_t)first + (int64_t)before - (int64_t)position));
}

/* In scratch->attn_s[i] softmax numerators of query i over the block, with its maximum and sum;
 * o[i] = their weighted sum of values. Query i is of token `position` + i / group, which sees some
 * of the block's tokens, and head `head` + i % group. */
static void block(const sm_attn *a, const sm_span *span, uint32_t head, uint32_t start,
                  const void *q, uint32_t nq, uint32_t group, uint32_t position, float *o, float *m,
                  float *l, sm_thread_scratch *scratch) {
    const uint32_t kv_head = head / group;
    float *s = scratch->attn_s;
    /* tokens of the block: the first query sees the earliest of them, the last one the latest */
    const uint32_t earliest = sm_window_begin(a->p.window, position);
    const uint32_t begin = earliest > start ? (earliest - start) / 16 * 16 : 0;
    const uint32_t n_all = span->position + span->n;
    const uint32_t end = (uint32_t)min_u64(
        SM_KV_BLOCK, sm_window_end(a->p.window, position + (nq - 1) / group, n_all) - start);
    const uint32_t n_tiles = (end - begin + 15) / 16;
    block_scores(a, span, kv_head, start + begin, n_tiles, q, nq, s + begin);
    for (uint32_t i = 0; i < nq; i++) {
        float *row = s + (uint64_t)i * SM_KV_BLOCK;
        const uint32_t p = position + i / group, seen = sm_window_begin(a->p.window, p);
        const uint32_t first = seen > start ? seen - start : 0, tile = first / 16 * 16;
        const uint32_t count = (uint32_t)min_u64(sm_window_end(a->p.window, p, n_all) - start, end);
        float scale = a->p.scale;
        if (a->p.cap > 0) {
            a->kernels->soft_cap(row + tile, row + tile, count - tile, scale, a->p.cap);
            scale = 1;
        }
        if (a->p.slopes) {
            add_distances(a, row + tile, count - tile, scale, head + i % group, start + tile, p);
            scale = 1;
        }
        /* sums run from the first tile that the query sees, so that they do not depend on the
         * queries beside it */
        for (uint32_t t = tile; t < first; t++)
            row[t] = -INFINITY;
        a->kernels->softmax_block(row + tile, count - tile, scale, &m[i], &l[i]);
        /* tokens this query does not see weigh nothing; exact, since values are finite */
        for (uint32_t t = begin; t < tile; t++)
            row[t] = 0;
        for (uint32_t t = (count + 15) / 16 * 16; t < end; t++)
            row[t] = 0;
    }
    const uint8_t *v = block_values(a, span, kv_head, start + begin, n_tiles, scratch->attn_values);
    a->kernels->kv[sm_attn_kv(a, span)->type].values(o, a->width, s + begin, SM_KV_BLOCK, nq, v,
                                                     end - begin, a->width);
}

/* Copies n heads to rows of the cache's width. */
static void widen(const sm_attn *a, float *to, const float *from, uint64_t n) {
    if (a->width == a->p.head_dim) {
        memcpy(to, from, n * a->p.head_dim * sizeof *to);
        return;
    }
    memset(to, 0, n * a->width * sizeof *to);
    for (uint64_t i = 0; i < n; i++)
        memcpy(to + i * a->width, from + i * a->p.head_dim, a->p.head_dim * sizeof *to);
}

/* n heads of width floats each as prepared queries; x itself where that is what the cache
 * wants. */
static const void *prepare(const sm_attn *a, const sm_span *span, const float *x, uint64_t n,
                           sm_act_block *blocks) {
    const size_t per_query = SM_KV_SCALES(a->width);
    if (!sm_kv_is_quantized(sm_attn_kv(a, span)->type))
        return x;
    if (a->width % 32 == 0) {
        a->kernels->quantize(blocks, x, n * a->width);
        return blocks;
    }
    float wide[SM_KV_SCALES(SM_MAX_HEAD_DIM) * 32];
    memset(wide + a->width, 0, (32 * per_query - a->width) * sizeof *wide);
    for (uint64_t i = 0; i < n; i++) {
        memcpy(wide, x + i * a->width, a->width * sizeof *wide);
        a->kernels->quantize(blocks + i * per_query, wide, 32 * per_query);
    }
    return blocks;
}

static void round_queries(const sm_attn *a, float *q, uint64_t n, uint16_t *rounded) {
    a->kernels->round_bf16(rounded, q, n);
    a->kernels->type[SM_DTYPE_BF16].dequantize(q, rounded, n);
}

/* One head's values of all blocks, added up, become its output: divided by the sum l of a softmax
 * with maximum m, in which a sink is one more score. lse (NULL: not wanted) is the log of the
 * sum. */
static inline void finish(const sm_attn *a, uint32_t head, float *out, const float *acc, float m,
                          float l, float *lse) {
    if (!a->sinks) {
        a->kernels->scale(out, acc, 1.0f / l, a->p.head_dim);
        if (lse)
            *lse = m + logf(l);
        return;
    }
    const double sum = (double)l + exp((double)a->sinks[head] - (double)m);
    a->kernels->scale(out, acc, (float)(1 / sum), a->p.head_dim);
    if (lse)
        *lse = (float)((double)m + log(sum));
}

void sm_attn_prefill(const sm_attn *a, const sm_span *span, uint32_t kv_head, uint32_t first,
                     uint32_t n, const float *q, uint64_t ldq, float *out, uint64_t ldo, float *lse,
                     uint64_t ldl, sm_thread_scratch *scratch) {
    const uint32_t group = a->p.n_head / a->p.n_head_kv;
    const uint32_t width = a->width, nq = n * group;
    const uint64_t column = (uint64_t)kv_head * group * a->p.head_dim;
    float *qs = scratch->attn_q, *acc = scratch->attn_acc;
    float *m = scratch->attn_m, *l = scratch->attn_l;
    float *acc_m = m + nq, *acc_l = l + nq;
    for (uint32_t t = 0; t < n; t++)
        widen(a, qs + (uint64_t)t * group * width, q + (span->first + first + t) * ldq + column,
              group);
    if (a->rounded) /* there and back; attn_o is not in use yet */
        round_queries(a, qs, (uint64_t)nq * width, (uint16_t *)(void *)scratch->attn_o);
    const void *queries = prepare(a, span, qs, nq, scratch->attn_qq);
    memset(acc, 0, sizeof(float) * nq * width);
    for (uint32_t i = 0; i < nq; i++) {
        acc_m[i] = -INFINITY;
        acc_l[i] = 0;
    }
    const uint32_t p0 = span->position + first, last = p0 + n - 1;
    const uint32_t end = sm_window_end(a->p.window, last, span->position + span->n);
    for (uint32_t start = sm_window_begin(a->p.window, p0) / SM_KV_BLOCK * SM_KV_BLOCK; start < end;
         start += SM_KV_BLOCK) {
        /* tokens before the block's start do not see it, nor do those whose window begins after
         * its end */
        const uint32_t sees = sm_window_first(a->p.window, start);
        const uint32_t skip = sees > p0 ? sees - p0 : 0;
        const uint64_t after = sm_window_after(a->p.window, start + SM_KV_BLOCK);
        const uint32_t i0 = skip * group, i1 = after <= last ? (uint32_t)(after - p0) * group : nq;
        block(a, span, kv_head * group, start, query_at(a, span, queries, i0), i1 - i0, group,
              p0 + skip, scratch->attn_o, m, l, scratch);
        for (uint32_t i = i0; i < i1; i++)
            a->kernels->attn_merge(acc + (uint64_t)i * width, &acc_m[i], &acc_l[i],
                                   scratch->attn_o + (uint64_t)(i - i0) * width, m[i - i0],
                                   l[i - i0], width);
    }
    for (uint32_t i = 0; i < nq; i++) {
        const uint64_t t = span->first + first + i / group;
        const uint32_t head = kv_head * group + i % group;
        finish(a, head, out + t * ldo + (uint64_t)head * a->p.head_dim, acc + (uint64_t)i * width,
               acc_m[i], acc_l[i], lse ? lse + t * ldl + head : NULL);
    }
}

const void *sm_attn_decode_queries(const sm_attn *a, const sm_span *span, const float *q,
                                   sm_thread_scratch *scratch) {
    if (a->width != a->p.head_dim) {
        widen(a, scratch->attn_q, q, a->p.n_head);
        q = scratch->attn_q;
    }
    return prepare(a, span, q, a->p.n_head, scratch->attn_qq);
}

void sm_attn_decode_block(const sm_attn *a, const sm_span *span, uint32_t head, uint32_t n,
                          uint32_t index, const void *q, float *o, float *m, float *l,
                          sm_thread_scratch *scratch) {
    const uint32_t group = a->p.n_head / a->p.n_head_kv;
    block(a, span, head, index * SM_KV_BLOCK, query_at(a, span, q, head), n, group, span->position,
          o + (uint64_t)head * a->width, m + head, l + head, scratch);
}

void sm_attn_decode_merge(const sm_attn *a, uint32_t n_blocks, const float *o, const float *m,
                          const float *l, float *out, sm_thread_scratch *scratch) {
    float *acc = scratch->attn_acc;
    for (uint32_t h = 0; h < a->p.n_head; h++) {
        /* merged with nothing, as sm_attn_prefill does it, the first block is what it is */
        const float *all = o + (uint64_t)h * a->width;
        float acc_m = m[h], acc_l = l[h];
        if (n_blocks > 1) {
            memcpy(acc, all, sizeof(float) * a->width);
            all = acc;
        }
        for (uint32_t b = 1; b < n_blocks; b++) {
            const uint64_t i = (uint64_t)b * a->p.n_head + h;
            a->kernels->attn_merge(acc, &acc_m, &acc_l, o + i * a->width, m[i], l[i], a->width);
        }
        finish(a, h, out + (uint64_t)h * a->p.head_dim, all, acc_m, acc_l, NULL);
    }
}
