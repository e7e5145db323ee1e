/* Attention of a step: which thread computes which part of it. */
#include "worker.h"

#define PIECE_BLOCKS 4 /* that one thread computes at a time */

/* Of tasks (block, query head), the number of those that lie in the first `work` tokens and heads
 * of all: the last block has only `rest` tokens. */
static uint64_t tasks_in(uint64_t work, uint64_t n_blocks, uint64_t n_head, uint64_t rest) {
    const uint64_t whole = (n_blocks - 1) * n_head;
    if (work < whole * SM_KV_BLOCK)
        return (work + SM_KV_BLOCK / 2) / SM_KV_BLOCK;
    return whole + (work - whole * SM_KV_BLOCK + rest / 2) / rest;
}

/* q of token t. */
static const float *queries_of(const sm_worker *w, uint64_t t) {
    return (const float *)w->at.buffer[SM_AT_Q] + t * w->block->ld[SM_AT_Q];
}

/* Attention of one token: (block, query head) shared out, heads of one kv head together, then every
 * thread merges all blocks for itself. */
static sm_input attend_one(const sm_worker *w, sm_input_form form) {
    const sm_attn *a = &w->attn;
    sm_workspace *ws = w->ws;
    const sm_span *span = &w->batch->spans[0];
    uint32_t first, last;
    sm_attn_blocks(a->p.window, span->position, &first, &last);
    const uint32_t n_blocks = last - first, group = a->p.n_head / a->p.n_head_kv;
    const uint64_t qd = (uint64_t)a->p.n_head * a->p.head_dim;
    const uint64_t rest = span->position + 1 - (last - 1) * SM_KV_BLOCK;
    uint64_t begin, end;
    sm_work_share(w, ((uint64_t)(n_blocks - 1) * SM_KV_BLOCK + rest) * a->p.n_head, &begin, &end);
    begin = tasks_in(begin, n_blocks, a->p.n_head, rest);
    end = tasks_in(end, n_blocks, a->p.n_head, rest);
    const void *queries =
        begin < end ? sm_attn_decode_queries(a, span, queries_of(w, 0), w->scratch) : NULL;
    for (uint64_t task = begin, n; task < end; task += n) {
        const uint32_t block = (uint32_t)(task / a->p.n_head),
                       head = (uint32_t)(task % a->p.n_head);
        n = min_u64(group - head % group, end - task);
        sm_attn_decode_block(a, span, head, (uint32_t)n, first + block, queries,
                             ws->part_o + (uint64_t)block * a->p.n_head * a->width,
                             ws->part_m + (uint64_t)block * a->p.n_head,
                             ws->part_l + (uint64_t)block * a->p.n_head, w->scratch);
    }
    sm_team_barrier(w->team);
    sm_attn_decode_merge(a, n_blocks, ws->part_o, ws->part_m, ws->part_l, w->scratch->vector,
                         w->scratch);
    sm_input_prepare(w, form, w->scratch->blocks, w->scratch->vector, qd);
    return (sm_input){w->scratch->vector, w->block->ld[SM_AT_OUT], w->scratch->blocks,
                      w->block->ld[SM_AT_OUT_FORM]};
}

/* Blocks that the last token of a span sees. */
static uint32_t blocks_of(uint32_t window, const sm_span *span) {
    uint32_t first, end;
    sm_attn_blocks(window, span->position + span->n - 1, &first, &end);
    return end - first;
}

/* A layer that sees most. */
static const sm_attn_params *widest(const sm_net *net) {
    const sm_attn_params *widest = NULL;
    for (uint32_t i = 0; i < net->n_blocks; i++) {
        const sm_attn_params *p = &net->blocks[i].attn;
        if (sm_block_attends(&net->blocks[i]) &&
            (!widest || (widest->window && (!p->window || sm_window_size(p->window) >
                                                              sm_window_size(widest->window)))))
            widest = p;
    }
    return widest;
}

static bool is_split(const sm_pass *pass, const sm_span *span) {
    for (uint32_t i = 0; i < pass->n_splits; i++)
        if (pass->splits[i].span == span)
            return true;
    return false;
}

/* The longest single tokens that one thread would still be at when the others have nothing
 * left to do. Only who computes what depends on it. */
void sm_attn_plan(sm_pass *pass, uint32_t n_threads) {
    const sm_step *b = pass->batch;
    const sm_attn_params *p = widest(pass->ws->net);
    uint64_t total = 0; /* blocks that the tasks of one kv head read */
    uint32_t room = pass->ws->max_blocks, chunk;
    if (!p)
        return;
    const uint32_t window = p->window;
    sm_attn_chunk(p, &chunk);
    for (uint32_t i = 0; i < b->n_spans; i++)
        total += (uint64_t)blocks_of(window, &b->spans[i]) * ((b->spans[i].n - 1) / chunk + 1);
    while (n_threads > 1 && pass->n_splits < SM_MAX_SPLITS) {
        const sm_span *longest = NULL;
        for (uint32_t i = 0; i < b->n_spans; i++) {
            const sm_span *span = &b->spans[i];
            if (span->n == 1 && blocks_of(window, span) <= room && !is_split(pass, span) &&
                (!longest || blocks_of(window, span) > blocks_of(window, longest)))
                longest = span;
        }
        const uint32_t n = longest ? blocks_of(window, longest) : 0;
        /* an eighth of what one thread has to do is no matter */
        if (n <= PIECE_BLOCKS || (uint64_t)n * n_threads * 8 <= total * p->n_head_kv)
            return;
        pass->splits[pass->n_splits++] = (sm_attn_split){longest, pass->ws->max_blocks - room};
        room -= n;
    }
}

/* Piece `piece` of the blocks that a split token sees, for one kv head. */
static void attend_piece(const sm_worker *w, const sm_attn_split *p, uint32_t kv_head,
                         uint32_t piece) {
    const sm_attn *a = &w->attn;
    sm_workspace *ws = w->ws;
    const void *queries =
        sm_attn_decode_queries(a, p->span, queries_of(w, p->span->first), w->scratch);
    const uint32_t group = a->p.n_head / a->p.n_head_kv;
    uint32_t first, end;
    sm_attn_blocks(a->p.window, p->span->position, &first, &end);
    const uint32_t begin = first + piece * PIECE_BLOCKS;
    for (uint32_t block = begin; block < begin + PIECE_BLOCKS && block < end; block++) {
        const uint64_t at = (uint64_t)(p->part + block - first) * a->p.n_head;
        sm_attn_decode_block(a, p->span, kv_head * group, group, block, queries,
                             ws->part_o + at * a->width, ws->part_m + at, ws->part_l + at,
                             w->scratch);
    }
}

/* Attention of many tokens: tasks of (split token, piece, kv head), then of (span, chunk of
 * tokens, kv head), taken as threads come free, since some see more than others. */
static void attend_tasks(const sm_worker *w) {
    const sm_attn *a = &w->attn;
    sm_pass *pass = w->pass;
    const sm_step *b = w->batch;
    uint32_t chunk, base = 0; /* number of the first task of the span */
    uint32_t task = atomic_fetch_add_explicit(&pass->next_task, 1, memory_order_relaxed);
    sm_attn_chunk(&a->p, &chunk);
    for (uint32_t i = 0; i < pass->n_splits; i++) {
        const sm_attn_split *p = &pass->splits[i];
        const uint32_t pieces = (blocks_of(a->p.window, p->span) + PIECE_BLOCKS - 1) / PIECE_BLOCKS;
        for (const uint32_t end = base + pieces * a->p.n_head_kv; task < end;) {
            if (sm_stopped(w->scratch))
                return;
            attend_piece(w, p, (task - base) / pieces, (task - base) % pieces);
            task = atomic_fetch_add_explicit(&pass->next_task, 1, memory_order_relaxed);
        }
        base += pieces * a->p.n_head_kv;
    }
    for (uint32_t i = 0; i < b->n_spans; i++) {
        if (is_split(pass, &b->spans[i]))
            continue;
        const uint32_t n = b->spans[i].n, chunks = (n + chunk - 1) / chunk;
        while (task < base + chunks * a->p.n_head_kv) {
            /* last chunks first: they are the longest */
            if (sm_stopped(w->scratch))
                return;
            const uint32_t first = (chunks - 1 - (task - base) / a->p.n_head_kv) * chunk;
            sm_attn_prefill(a, &b->spans[i], (task - base) % a->p.n_head_kv, first,
                            (uint32_t)min_u64(chunk, n - first), queries_of(w, 0),
                            w->block->ld[SM_AT_Q], w->at.buffer[SM_AT_OUT], w->block->ld[SM_AT_OUT],
                            w->at.buffer[SM_AT_LSE], w->block->ld[SM_AT_LSE], w->scratch);
            task = atomic_fetch_add_explicit(&pass->next_task, 1, memory_order_relaxed);
        }
        base += chunks * a->p.n_head_kv;
    }
}

static sm_input attend_many(const sm_worker *w, sm_input_form form) {
    const sm_attn *a = &w->attn;
    const sm_pass *pass = w->pass;
    sm_workspace *ws = w->ws;
    const uint64_t qd = (uint64_t)a->p.n_head * a->p.head_dim;
    const uint64_t ld = w->block->ld[SM_AT_OUT], ldf = w->block->ld[SM_AT_OUT_FORM];
    float *out = w->at.buffer[SM_AT_OUT];
    sm_act_block *formed = w->at.buffer[SM_AT_OUT_FORM];
    attend_tasks(w);
    sm_team_barrier(w->team);
    if (form != SM_INPUT_FLOAT || pass->n_splits) {
        uint64_t begin, end;
        sm_work_share(w, w->T, &begin, &end);
        for (uint32_t i = 0; i < pass->n_splits; i++) {
            const sm_attn_split *p = &pass->splits[i];
            const uint64_t at = (uint64_t)p->part * a->p.n_head;
            if (p->span->first >= begin && p->span->first < end)
                sm_attn_decode_merge(a, blocks_of(a->p.window, p->span), ws->part_o + at * a->width,
                                     ws->part_m + at, ws->part_l + at, out + p->span->first * ld,
                                     w->scratch);
        }
        for (uint64_t t = begin; t < end; t++)
            sm_input_prepare(w, form, formed + t * ldf, out + t * ld, qd);
        sm_team_barrier(w->team);
    }
    return (sm_input){out, ld, formed, ldf};
}

sm_input sm_attn_step(const sm_worker *w, sm_input_form form) {
    return w->T == 1 && !w->batch->tape ? attend_one(w, form) : attend_many(w, form);
}
