/* Tokens of a state moved to earlier positions: values stay what they are, keys are rotated as
 * their new positions ask (rotations of one plane add up, so that by the difference will do), read
 * from the cache and stored there again, which rounds once more. Tiles move whole. */
#include "state.h"

#include <math.h>
#include <string.h>

#define TILE SM_KV_TILE

/* What rereading keys works with. */
typedef struct mover {
    const sm_kernels *kernels;
    const sm_kv *kv;
    const sm_rope *rope;
    uint32_t at;             /* elements of a key before those that are rotated */
    uint8_t *k, *v;          /* a copy of one head's */
    float *ones;             /* [width] rows that each pick one element; of quantized types
                                     blocks, a row of which is ldq of them apart */
    float *picked;           /* [width][TILE] */
    float *cosines, *sines;  /* [n_rot / 2] */
    uint32_t begin, end, by; /* tokens [begin, end) go to begin - by */
    float unit;              /* what the ones are */
} mover;

sm_status sm_state_can_shift(const sm_net *net, sm_error *error) {
    if (net->positions.rows)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: positions are learned: tokens cannot be moved to others",
                       net->source->path);
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (sm_block_attends(&net->blocks[i]) && net->blocks[i].attn.norm_late)
            return sm_fail(error, SM_ERR_UNSUPPORTED,
                           "%s: keys are normed after their rotation: tokens cannot be moved to "
                           "other positions",
                           net->source->path);
    return SM_OK;
}

/* Whose key lies at which element's rotation. */
static uint32_t rotated_at(const sm_block *b) {
    if (b->kind->id != SM_KIND_LATENT)
        return 0;
    return b->latent.absorbed ? b->latent.rank : b->latent.nope;
}

static void set_angles(mover *m, uint32_t n_ctx) {
    const double *angles = sm_rope_angles(m->rope, n_ctx);
    for (uint32_t i = 0; i < m->rope->n_rot / 2; i++) {
        m->cosines[i] = (float)cos(-(double)m->by * angles[i]);
        m->sines[i] = (float)sin(-(double)m->by * angles[i]);
    }
}

/* Queries that each find one element of a key. */
static size_t set_ones(mover *m) {
    const uint32_t width = m->kv->width, blocks = SM_KV_SCALES(width);
    const bool quantized = sm_kv_is_quantized(m->kv->type);
    float row[SM_MAX_HEAD_DIM + 32] = {0};
    m->unit = quantized ? 127 : 1; /* whose code is 127 and whose scale is 1 */
    for (uint32_t d = 0; d < width; d++) {
        row[d] = m->unit;
        if (quantized)
            m->kernels->quantize((sm_act_block *)(void *)m->ones + (size_t)d * blocks, row,
                                 (size_t)blocks * 32);
        else
            memcpy(m->ones + (size_t)d * width, row, width * sizeof *row);
        row[d] = 0;
    }
    return quantized ? blocks : width;
}

/* Where a copied head has the tile that begins at position. */
static uint64_t tile_at(const sm_kv *kv, uint32_t position) {
    return sm_kv_offset(kv, 0, position);
}

static void move_tile(mover *m, sm_kv *kv, uint32_t head, uint32_t position, size_t ldq) {
    const uint64_t bytes = kv->tile_bytes;
    const uint8_t *from = m->k + tile_at(kv, position);
    const float *x = m->picked;
    float key[SM_MAX_HEAD_DIM + 32];
    memcpy(kv->v + sm_kv_offset(kv, head, position - m->by), m->v + tile_at(kv, position),
           (size_t)bytes);
    if (kv->keyless)
        return;
    if (!m->rope->n_rot) {
        memcpy(kv->k + sm_kv_offset(kv, head, position - m->by), from, (size_t)bytes);
        return;
    }
    m->kernels->kv[kv->type].scores(m->picked, TILE, m->ones, ldq, kv->width, from, 1, kv->width);
    for (uint32_t lane = 0; lane < TILE; lane++) {
        for (uint32_t d = 0; d < kv->width; d++)
            key[d] = x[d * TILE + lane] / m->unit;
        m->kernels->rope(key + m->at, m->cosines, m->sines, m->rope->n_rot, m->rope->neox);
        sm_kv_store(kv, m->kernels, head, position - m->by + lane, key, NULL);
    }
}

static void move_head(mover *m, sm_kv *kv, uint32_t head, uint32_t first, size_t ldq) {
    if (!kv->keyless)
        memcpy(m->k, kv->k + head * kv->head_bytes, (size_t)kv->head_bytes);
    memcpy(m->v, kv->v + head * kv->head_bytes, (size_t)kv->head_bytes);
    for (uint32_t p = first; p < m->end; p += TILE)
        move_tile(m, kv, head, p, ldq);
}

/* Room for the largest part. */
static sm_status reserve(mover *m, const sm_state *state, sm_mem *mem, sm_error *error) {
    uint64_t head = 1, ones = 1, width = 1;
    for (uint32_t i = 0; i < state->n; i++) {
        const sm_kv *kv = &state->kv[i];
        const uint64_t row = sm_kv_is_quantized(kv->type)
                                 ? SM_KV_SCALES(kv->width) * sizeof(sm_act_block)
                                 : kv->width * sizeof(float);
        head = max_u64(head, kv->head_bytes);
        if (kv->keyless)
            continue;
        ones = max_u64(ones, kv->width * row);
        width = max_u64(width, kv->width);
    }
    m->k = sm_alloc(mem, head);
    m->v = sm_alloc(mem, head);
    m->ones = sm_alloc(mem, ones);
    m->picked = sm_alloc_array(mem, width * TILE, sizeof *m->picked);
    m->cosines = sm_alloc_array(mem, width, sizeof *m->cosines);
    m->sines = sm_alloc_array(mem, width, sizeof *m->sines);
    return m->k && m->v && m->ones && m->picked && m->cosines && m->sines
               ? SM_OK
               : sm_fail(error, SM_ERR_NOMEM, "out of memory for moving a cache's tokens");
}

static void release(mover *m, sm_mem *mem) {
    sm_free(mem, m->k);
    sm_free(mem, m->v);
    sm_free(mem, m->ones);
    sm_free(mem, m->picked);
    sm_free(mem, m->cosines);
    sm_free(mem, m->sines);
}

static bool move_block(mover *m, const sm_net *net, const sm_block *b, sm_state *state,
                       const sm_hook *hook) {
    sm_kv *kv = &state->kv[b->state];
    const uint32_t oldest = kv->window ? sm_state_oldest(kv, state->reached) : 0;
    const uint32_t first = oldest > m->begin ? oldest : m->begin;
    m->kv = kv;
    m->rope = &net->ropes[b->attn.rope];
    m->at = rotated_at(b);
    size_t ldq = 0;
    if (!kv->keyless) {
        set_angles(m, state->capacity);
        ldq = set_ones(m);
    }
    for (uint32_t h = 0; h < kv->n_head_kv; h++) {
        if (sm_hook_ends(hook, h, kv->n_head_kv))
            return false;
        move_head(m, kv, h, first, ldq);
    }
    if (kv->window && state->floor < first - m->by)
        state->floor = first - m->by;
    return true;
}

sm_status sm_state_shift(sm_state *state, const sm_net *net, uint32_t begin, uint32_t end,
                         uint32_t by, sm_mem *mem, const sm_hook *hook, sm_error *error) {
    mover m = {.kernels = net->kernels, .begin = begin, .end = end, .by = by};
    sm_status status = reserve(&m, state, mem, error);
    state->floor = status ? state->floor : begin - by;
    for (uint32_t i = 0; i < net->n_blocks && !status; i++)
        if (sm_block_keeps(&net->blocks[i]) && !move_block(&m, net, &net->blocks[i], state, hook))
            status = sm_fail(error, SM_ERR_CANCELLED, "moving a cache's tokens was cancelled");
    if (!status)
        state->reached = end - by;
    release(&m, mem);
    return status;
}

uint32_t sm_state_window(const sm_state *state) {
    uint32_t widest = 0;
    for (uint32_t i = 0; i < state->n; i++) {
        const uint32_t window = sm_window_size(state->kv[i].window);
        widest = window > widest ? window : widest;
    }
    return widest;
}
