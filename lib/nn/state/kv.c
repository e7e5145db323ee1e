/* Keys and values of one block. */
#include "state.h"

#include <string.h>

uint32_t sm_kv_width(uint32_t head_dim) {
    return (head_dim + 7) / 8 * 8;
}

void sm_kv_place(sm_kv *kv, uint32_t n_head_kv, uint32_t head_dim, uint32_t type, uint32_t n_ctx,
                 uint8_t *k, uint8_t *v) {
    *kv = (sm_kv){.type = type,
                  .capacity = (n_ctx + 15) / 16 * 16,
                  .n_head_kv = n_head_kv,
                  .head_dim = head_dim,
                  .width = sm_kv_width(head_dim),
                  .k = k,
                  .v = v};
    kv->tile_bytes = sm_kv_tile_bytes(type, kv->width);
    kv->head_bytes = kv->capacity / 16 * kv->tile_bytes;
}

void sm_kv_place_ring(sm_kv *kv, uint32_t n_head_kv, uint32_t head_dim, uint32_t type,
                      uint32_t n_ctx, uint32_t window, uint32_t n_step) {
    /* so many tokens lie in (seen + 30) / 16 tiles, wherever those begin */
    const uint64_t seen = (uint64_t)sm_window_size(window) - 1 + n_step,
                   ring = (seen + 30) / 16 * 16;
    const bool is_ring = ring < n_ctx;
    sm_kv_place(kv, n_head_kv, head_dim, type, is_ring ? (uint32_t)ring : n_ctx, NULL, NULL);
    kv->window = is_ring ? window : 0;
}

uint64_t sm_kv_bytes(const sm_kv *kv) {
    return kv->n_head_kv * kv->head_bytes;
}

float *sm_kv_row(const sm_kv *kv, uint32_t position) {
    return (float *)(void *)(kv->v + sm_kv_offset(kv, 0, position / 16 * 16)) +
           (uint64_t)(position % 16) * kv->width;
}

/* The weight type whose blocks a cache type stores. */
static const uint32_t block_types[SM_KV_TYPES] = {
    [SM_KV_Q4_0] = SM_DTYPE_Q4_0, [SM_KV_Q5_0] = SM_DTYPE_Q5_0, [SM_KV_IQ4_NL] = SM_DTYPE_IQ4_NL};

/* What the type's store kernels take: the vector itself, filled up with zeros to the cache's
 * width or to whole blocks where it is narrower, quantized where they want that. */
typedef struct stored {
    float wide[SM_MAX_HEAD_DIM];
    sm_act_block blocks[SM_KV_SCALES(SM_MAX_HEAD_DIM)]; /* more than any block takes */
} stored;

static const void *prepare(const sm_kv *kv, const sm_kernels *kernels, const float *x,
                           bool quantized, stored *copy) {
    const size_t width = quantized ? SM_KV_SCALES(kv->width) * 32 : (size_t)kv->width;
    if (width != kv->head_dim) {
        memcpy(copy->wide, x, kv->head_dim * sizeof *x);
        memset(copy->wide + kv->head_dim, 0, (width - kv->head_dim) * sizeof *x);
        x = copy->wide;
    }
    if (!quantized)
        return x;
    if (kv->type == SM_KV_Q8_0)
        kernels->quantize(copy->blocks, x, width);
    else
        kernels->type[block_types[kv->type]].encode(copy->blocks, x, NULL, width);
    return copy->blocks;
}

static inline const void *prepared(const sm_kv *kv, const sm_kernels *kernels, const float *x,
                                   stored *copy) {
    const bool quantized = sm_kv_is_quantized(kv->type);
    return quantized || kv->width != kv->head_dim ? prepare(kv, kernels, x, quantized, copy) : x;
}

void sm_kv_store(sm_kv *kv, const sm_kernels *kernels, uint32_t head, uint32_t position,
                 const float *k, const float *v) {
    const uint64_t at = sm_kv_offset(kv, head, position / 16 * 16);
    const uint32_t lane = position % 16;
    const sm_kv_kernels *store = &kernels->kv[kv->type];
    stored copy;
    /* kernels read whole tiles: all of each must be finite */
    if (k) {
        if (lane == 0)
            memset(kv->k + at, 0, (size_t)kv->tile_bytes);
        store->store_k(kv->k + at, lane, prepared(kv, kernels, k, &copy), kv->width);
    }
    if (v) {
        if (lane == 0)
            memset(kv->v + at, 0, (size_t)kv->tile_bytes);
        store->store_v(kv->v + at, lane, prepared(kv, kernels, v, &copy), kv->width);
    }
}

void sm_kv_fetch(const sm_kv *kv, uint32_t head, uint32_t position, bool key) {
    const uint64_t at = sm_kv_offset(kv, head, position / 16 * 16);
    /* a key goes to every line of its tile, a value to its row: of quantized types to one that four
     * or eight tokens share */
    const uint32_t share = kv->type == SM_KV_Q8_0 ? 4 : sm_kv_is_quantized(kv->type) ? 8 : 1;
    const uint64_t tile = kv->tile_bytes, part = share == 1 ? tile / 16 : 4 * kv->width;
    const uint64_t begin = key ? 0 : position % 16 / share * part;
    const uint8_t *p = (key ? kv->k : kv->v) + at + begin;
    for (uint64_t i = 0; i < (key ? tile : part); i += 64)
        __builtin_prefetch(p + i, 1);
}

/* Which of a head's tiles has the position. */
static uint32_t tile_of(const sm_kv *kv, uint32_t position) {
    return position < kv->capacity ? position / 16 : position % kv->capacity / 16;
}

uint64_t sm_kv_offset(const sm_kv *kv, uint32_t head, uint32_t position) {
    return head * kv->head_bytes + tile_of(kv, position) * kv->tile_bytes;
}

uint32_t sm_kv_run(const sm_kv *kv, uint32_t position, uint32_t n) {
    const uint32_t left = kv->capacity / 16 - tile_of(kv, position);
    return n < left ? n : left;
}

bool sm_kv_copy(sm_kv *to, const sm_kv *from, uint32_t n, const sm_hook *hook) {
    const uint32_t held = n < from->capacity ? n : from->capacity;
    const uint64_t size = (held + 15) / 16 * from->tile_bytes; /* whole tiles */
    for (uint64_t h = 0; h < from->n_head_kv; h++) {
        if (sm_hook_ends(hook, h, from->n_head_kv))
            return false;
        if (!from->keyless)
            memcpy(to->k + h * to->head_bytes, from->k + h * from->head_bytes, (size_t)size);
        memcpy(to->v + h * to->head_bytes, from->v + h * from->head_bytes, (size_t)size);
    }
    return true;
}
