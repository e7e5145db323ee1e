/* The buffers of a workspace. */
#include "worker.h"

#define OWNED_SHARED 16
#define OWNED_PER_THREAD 16

/* Pointers to what is owned, at most. */
static uint64_t most_owned(const sm_workspace *ws) {
    return SM_KIND_COUNT * SM_MAX_BUFFERS + ws->n_threads * (uint64_t)OWNED_PER_THREAD +
           2 * (uint64_t)ws->net->n_ropes + OWNED_SHARED;
}

static void *own(sm_workspace *ws, uint64_t n, uint64_t size, bool *failed) {
    void *ptr = sm_alloc_array(ws->mem, n ? n : 1, size);
    if (!ptr)
        *failed = true;
    else
        ws->owned[ws->n_owned++] = ptr;
    return ptr;
}

static uint64_t largest_pack(const sm_net *net) {
    uint64_t largest = 0;
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++) {
        uint64_t bytes = net->kernels->type[type].mul ? sm_packed_bytes(type, SM_SLAB) : 0;
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* The buffers of a kind: each as large as the largest block of the kind wants it. */
static void own_buffers(sm_workspace *ws, const sm_kind *kind, bool *failed) {
    const sm_net *net = ws->net;
    for (uint32_t i = 0; i < kind->n_buffers; i++) {
        const uint8_t flags = kind->buffer[i].flags;
        uint64_t widest = 0;
        for (uint32_t b = 0; b < net->n_blocks; b++)
            if (net->blocks[b].kind == kind && net->blocks[b].ld[i] > widest)
                widest = net->blocks[b].ld[i];
        if (widest && !(flags & SM_ONLY_KEPT))
            ws->buffer[kind->id][i] =
                own(ws, ws->max_tokens * widest,
                    flags & SM_FORMS ? sizeof(sm_act_block) : sizeof(float), failed);
    }
}

static void own_kinds(sm_workspace *ws, bool *failed) {
    bool seen[SM_KIND_COUNT] = {false};
    for (uint32_t b = 0; b < ws->net->n_blocks; b++) {
        const sm_kind *kind = ws->net->blocks[b].kind;
        if (!seen[kind->id])
            own_buffers(ws, kind, failed);
        seen[kind->id] = true;
    }
}

static void own_rotations(sm_workspace *ws, bool *failed) {
    const uint32_t n = ws->net->n_ropes;
    ws->cos = own(ws, n, sizeof *ws->cos, failed);
    ws->sin = own(ws, n, sizeof *ws->sin, failed);
    for (uint32_t i = 0; i < n && !*failed; i++) {
        const uint64_t half = ws->max_tokens * (uint64_t)(ws->net->ropes[i].n_rot / 2);
        ws->cos[i] = own(ws, 2 * half, sizeof(float), failed);
        ws->sin[i] = ws->cos[i] + half;
    }
}

/* What attention wants at most in any block. */
typedef struct attn_sizes {
    uint64_t chunk;        /* floats of a chunk's queries */
    uint64_t chunk_n;      /* queries of a chunk */
    uint64_t queries;      /* floats of the queries that a thread prepares */
    uint64_t forms;        /* the same in blocks */
    uint64_t heads, width; /* of one token: heads, floats of all */
    uint64_t values;       /* bytes of a block of one head, where a ring may have it */
} attn_sizes;

static attn_sizes sizes_of(const sm_workspace *ws) {
    const sm_net *net = ws->net;
    attn_sizes s = {0};
    for (uint32_t i = 0; i < net->n_blocks; i++) {
        const sm_attn_params *p = &net->blocks[i].attn;
        if (!sm_block_attends(&net->blocks[i]))
            continue;
        uint32_t tokens;
        const uint64_t nq = sm_attn_chunk(p, &tokens), width = sm_kv_width(p->head_dim);
        s.chunk_n = max_u64(s.chunk_n, nq);
        s.chunk = max_u64(s.chunk, nq * width);
        s.queries = max_u64(s.queries, sm_attn_queries(p) * width);
        s.forms = max_u64(s.forms, sm_attn_queries(p) * SM_KV_SCALES(width));
        s.heads = max_u64(s.heads, p->n_head);
        s.width = max_u64(s.width, p->n_head * width);
        if (p->window && sm_window_size(p->window) < (uint64_t)ws->max_blocks * SM_KV_BLOCK)
            s.values =
                max_u64(s.values, SM_KV_BLOCK / 16 * sm_kv_tile_bytes(SM_KV_F32, (size_t)width));
    }
    return s;
}

static bool any_unfolds(const sm_net *net) {
    for (uint32_t i = 0; i < net->n_matrices; i++)
        if (sm_weight_unfolds(&net->matrices[i]))
            return true;
    return false;
}

static void own_scratch(sm_workspace *ws, sm_thread_scratch *s, const attn_sizes *a, bool *failed) {
    const uint64_t widest = sm_row_stride(max_u64(sm_net_widest_input(ws->net), a->width));
    s->gemm = own(ws, SM_GEMM_SCRATCH, 1, failed);
    s->pack = own(ws, SM_GEMM_GROUPS, largest_pack(ws->net), failed);
    s->unfolded = any_unfolds(ws->net) ? own(ws, SM_GROUP * SM_SLAB, sizeof(float), failed) : NULL;
    s->vector = own(ws, widest, sizeof(float), failed);
    s->row = own(ws, widest, sizeof(float), failed);
    s->blocks = own(ws, widest / 32 + 1, sizeof(sm_act_block), failed);
    s->attn_q = own(ws, a->queries, sizeof(float), failed);
    s->attn_qq = own(ws, a->forms, sizeof(sm_act_block), failed);
    s->attn_values = a->values ? own(ws, a->values, 1, failed) : NULL;
    s->attn_s = own(ws, a->chunk_n * SM_KV_BLOCK, sizeof(float), failed);
    s->attn_o = own(ws, a->chunk, sizeof(float), failed);
    s->attn_acc = own(ws, max_u64(a->chunk, a->width), sizeof(float), failed);
    s->attn_m = own(ws, a->chunk_n * 2, sizeof(float), failed);
    s->attn_l = own(ws, a->chunk_n * 2, sizeof(float), failed);
    s->logits =
        own(ws, min_u64(ws->max_tokens, SM_HEAD_OUTPUTS) * SM_HEAD_ROWS, sizeof(float), failed);
}

static void allocate(sm_workspace *ws, bool *failed) {
    const attn_sizes a = sizes_of(ws);
    const uint64_t T = ws->max_tokens, blocks = ws->max_blocks;
    ws->ldx = sm_net_ldx(ws->net);
    ws->blocks_x = sm_block_stride(ws->net->config.n_embd);
    ws->x = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->normed = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->normed_q = own(ws, T * ws->blocks_x, sizeof(sm_act_block), failed);
    ws->y = own(ws, T * ws->ldx, sizeof(float), failed);
    for (uint32_t i = 0; i < ws->net->n_blocks && !ws->aside; i++)
        if (ws->net->blocks[i].wiring.aside)
            ws->aside = own(ws, T * ws->ldx, sizeof(float), failed);
    own_kinds(ws, failed);
    own_rotations(ws, failed);
    ws->part_o = own(ws, blocks * a.width, sizeof(float), failed);
    ws->part_m = own(ws, blocks * a.heads * 2, sizeof(float), failed);
    ws->part_l = ws->part_m ? ws->part_m + blocks * a.heads : NULL;
    for (uint32_t i = 0; i < ws->n_threads; i++)
        own_scratch(ws, &ws->threads[i], &a, failed);
}

sm_status sm_workspace_new(sm_workspace **out, sm_mem *mem, const sm_net *net, uint32_t n_threads,
                           uint32_t max_tokens, uint32_t max_context, sm_error *error) {
    *out = NULL;
    bool failed = false;
    sm_workspace *ws = sm_alloc_zero(mem, sizeof *ws);
    if (!ws)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a session's buffers");
    ws->mem = mem;
    ws->net = net;
    ws->n_threads = n_threads;
    ws->max_tokens = max_tokens;
    ws->max_blocks = (max_context + SM_KV_BLOCK - 1) / SM_KV_BLOCK;
    ws->threads = sm_alloc_array(mem, n_threads, sizeof *ws->threads);
    ws->owned = sm_alloc_array(mem, most_owned(ws), sizeof *ws->owned);
    if (ws->threads && ws->owned)
        allocate(ws, &failed);
    if (!ws->threads || !ws->owned || failed) {
        sm_workspace_free(ws);
        return sm_fail(error, SM_ERR_NOMEM,
                       "out of memory for a session's buffers (%u tokens a batch)", max_tokens);
    }
    *out = ws;
    return SM_OK;
}

void sm_workspace_free(sm_workspace *ws) {
    if (!ws)
        return;
    for (uint32_t i = 0; i < ws->n_owned; i++)
        sm_free(ws->mem, ws->owned[i]);
    sm_free(ws->mem, ws->owned);
    sm_free(ws->mem, ws->low);
    sm_free(ws->mem, ws->dropped);
    sm_free(ws->mem, ws->threads);
    sm_free(ws->mem, ws);
}

sm_status sm_workspace_adapt(sm_workspace *ws, uint64_t width, bool dropout, sm_error *error) {
    const uint64_t ld = sm_row_stride(width);
    const uint64_t widest = (uint64_t)sm_net_widest_input(ws->net) * SM_MUL_COLS;
    uint64_t n;
    float *low = NULL, *dropped = NULL;
    if (ld > ws->ld_low && !sm_mul_over(ws->max_tokens, ld, &n))
        low = sm_alloc_array(ws->mem, n, sizeof *low);
    if (dropout && !ws->dropped)
        dropped = sm_alloc_array(ws->mem, ws->n_threads * widest, sizeof *dropped);
    if ((ld > ws->ld_low && !low) || (dropout && !ws->dropped && !dropped)) {
        sm_free(ws->mem, low);
        sm_free(ws->mem, dropped);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for adapters");
    }
    if (low) {
        sm_free(ws->mem, ws->low);
        ws->low = low;
        ws->ld_low = ld;
    }
    if (dropped) {
        ws->dropped = dropped;
        for (uint32_t i = 0; i < ws->n_threads; i++)
            ws->threads[i].dropped = dropped + i * widest;
    }
    return SM_OK;
}
