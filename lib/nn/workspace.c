/* The buffers of a workspace. */
#include "step.h"

/* Rows that lie a multiple of 4096 bytes apart share the sets of the first-level
 * cache: strides avoid it. */
#define ALIAS 4096

uint64_t sm_row_stride(uint64_t n) {
    n = (n + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
    return n * sizeof(float) % ALIAS ? n : n + SM_GROUP;
}

/* Stride of rows of n elements in another form, in blocks. */
static uint64_t block_stride(uint64_t n) {
    n = (n + 31) / 32;
    return n * sizeof(sm_act_block) % ALIAS ? n : n + 1;
}

#define OWNED_SHARED 15
#define OWNED_PER_THREAD 13

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

static void allocate(sm_workspace *ws, bool *failed) {
    const sm_config *c = &ws->net->config;
    const uint64_t T = ws->max_tokens, qd = (uint64_t)c->n_head * c->head_dim;
    uint32_t chunk;
    const uint64_t nq = sm_attn_chunk(c, &chunk), width = sm_kv_width(c);
    ws->chunk = chunk;
    ws->ldx = sm_row_stride(c->n_embd);
    ws->ldq = sm_row_stride(qd);
    ws->ldkv = sm_row_stride((uint64_t)c->n_head_kv * c->head_dim);
    ws->ldh = sm_row_stride(c->n_ff);
    ws->blocks_x = block_stride(c->n_embd);
    ws->blocks_q = block_stride(qd);
    ws->blocks_h = block_stride(c->n_ff);
    ws->x = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->normed = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->normed_q = own(ws, T * ws->blocks_x, sizeof(sm_act_block), failed);
    ws->q = own(ws, T * ws->ldq, sizeof(float), failed);
    ws->k = own(ws, T * ws->ldkv, sizeof(float), failed);
    ws->v = own(ws, T * ws->ldkv, sizeof(float), failed);
    ws->att = own(ws, T * ws->ldq, sizeof(float), failed);
    ws->att_q = own(ws, T * ws->blocks_q, sizeof(sm_act_block), failed);
    ws->y = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->h = own(ws, T * ws->ldh, sizeof(float), failed);
    ws->up = own(ws, T * ws->ldh, sizeof(float), failed);
    ws->h_q = own(ws, T * ws->blocks_h, sizeof(sm_act_block), failed);
    ws->cos = own(ws, T * c->n_rot, sizeof(float), failed);
    ws->sin = ws->cos ? ws->cos + T * (c->n_rot / 2) : NULL;
    ws->part_o = own(ws, (uint64_t)ws->max_blocks * c->n_head * width, sizeof(float), failed);
    ws->part_m = own(ws, (uint64_t)ws->max_blocks * c->n_head * 2, sizeof(float), failed);
    ws->part_l = ws->part_m ? ws->part_m + (uint64_t)ws->max_blocks * c->n_head : NULL;
    const uint64_t widest = ws->ldx > ws->ldq ? ws->ldx : ws->ldq;
    for (uint32_t i = 0; i < ws->n_threads; i++) {
        sm_thread_scratch *s = &ws->threads[i];
        s->gemm = own(ws, SM_GEMM_SCRATCH, 1, failed);
        s->pack = own(ws, SM_GEMM_GROUPS, largest_pack(ws->net), failed);
        s->vector = own(ws, widest, sizeof(float), failed);
        s->row = own(ws, widest > ws->ldh ? widest : ws->ldh, sizeof(float), failed);
        s->blocks = own(ws, widest / 32 + 1, sizeof(sm_act_block), failed);
        s->attn_q = own(ws, sm_attn_queries(c) * width, sizeof(float), failed);
        s->attn_qq =
            own(ws, sm_attn_queries(c) * SM_KV_SCALES(width), sizeof(sm_act_block), failed);
        s->attn_s = own(ws, nq * SM_KV_BLOCK, sizeof(float), failed);
        s->attn_o = own(ws, nq * width, sizeof(float), failed);
        s->attn_acc = own(ws, nq * width, sizeof(float), failed);
        s->attn_m = own(ws, nq * 2, sizeof(float), failed);
        s->attn_l = own(ws, nq * 2, sizeof(float), failed);
        s->logits = own(ws, min_u64(T, SM_HEAD_OUTPUTS) * SM_HEAD_ROWS, sizeof(float), failed);
    }
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
    ws->head_unit = net->config.head_dim;
    while (ws->head_unit % SM_GROUP) /* at most 16 heads */
        ws->head_unit += net->config.head_dim;
    ws->threads = sm_alloc_array(mem, n_threads, sizeof *ws->threads);
    ws->owned = sm_alloc_array(mem, OWNED_SHARED + (uint64_t)n_threads * OWNED_PER_THREAD,
                               sizeof *ws->owned);
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

/* Widest input of a matrix. */
static uint64_t widest_input(const sm_config *c) {
    const uint64_t qd = (uint64_t)c->n_head * c->head_dim;
    const uint64_t widest = c->n_embd > c->n_ff ? c->n_embd : c->n_ff;
    return qd > widest ? qd : widest;
}

sm_status sm_workspace_adapt(sm_workspace *ws, uint64_t width, bool dropout, sm_error *error) {
    const uint64_t ld = sm_row_stride(width);
    const uint64_t widest = widest_input(&ws->net->config) * SM_MUL_COLS;
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
