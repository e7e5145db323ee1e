#include "nn.h"

#include <string.h>

static uint64_t tile_bytes(const sm_kv *kv) {
    return sm_kv_tile_bytes(kv->type, kv->width);
}

uint32_t sm_kv_width(const sm_config *config) {
    return (config->head_dim + 7) / 8 * 8;
}

void sm_kv_place(sm_kv *kv, const sm_config *config, uint32_t type, uint32_t n_ctx, uint8_t *k,
                 uint8_t *v) {
    *kv = (sm_kv){.type = type,
                  .capacity = (n_ctx + 15) / 16 * 16,
                  .n_layer = 1,
                  .n_head_kv = config->n_head_kv,
                  .head_dim = config->head_dim,
                  .width = sm_kv_width(config),
                  .k = k,
                  .v = v};
    kv->head_bytes = kv->capacity / 16 * tile_bytes(kv);
}

uint64_t sm_kv_bytes(const sm_config *config, uint32_t type, uint32_t n_ctx) {
    return ((uint64_t)n_ctx + 15) / 16 * sm_kv_tile_bytes(type, sm_kv_width(config)) *
           config->n_head_kv;
}

sm_status sm_kv_init(sm_kv *kv, sm_mem *mem, const sm_config *config, uint32_t type, uint32_t n_ctx,
                     sm_error *error) {
    sm_kv_place(kv, config, type, n_ctx, NULL, NULL);
    kv->n_layer = config->n_layer;
    uint64_t total;
    if (sm_mul_over((uint64_t)kv->n_layer * kv->n_head_kv, kv->head_bytes, &total))
        return sm_fail(error, SM_ERR_NOMEM, "a KV cache of %u tokens is too large", n_ctx);
    /* not zeroed: pages come into use as tokens do (sm_kv_store clears each new tile) */
    kv->k = sm_alloc(mem, total);
    kv->v = sm_alloc(mem, total);
    if (!kv->k || !kv->v) {
        sm_kv_free(kv, mem);
        return sm_fail(error, SM_ERR_NOMEM,
                       "out of memory for a KV cache of %u tokens (%llu bytes)", n_ctx,
                       (unsigned long long)(2 * total));
    }
    return SM_OK;
}

void sm_kv_free(sm_kv *kv, sm_mem *mem) {
    sm_free(mem, kv->k);
    sm_free(mem, kv->v);
    kv->k = kv->v = NULL;
}

/* What the type's store kernels take: the vector itself, filled up with zeros to the cache's
 * width or to whole blocks where it is narrower, quantized where they want that. */
typedef struct stored {
    float wide[SM_MAX_HEAD_DIM];
    sm_act_block blocks[SM_KV_SCALES(SM_MAX_HEAD_DIM)];
} stored;

static const void *prepared(const sm_kv *kv, const sm_kernels *kernels, const float *x,
                            stored *copy) {
    const size_t width = kv->type == SM_KV_Q8_0 ? SM_KV_SCALES(kv->width) * 32 : (size_t)kv->width;
    if (width != kv->head_dim) {
        memcpy(copy->wide, x, kv->head_dim * sizeof *x);
        memset(copy->wide + kv->head_dim, 0, (width - kv->head_dim) * sizeof *x);
        x = copy->wide;
    }
    if (kv->type != SM_KV_Q8_0)
        return x;
    kernels->quantize(copy->blocks, x, width);
    return copy->blocks;
}

void sm_kv_store(sm_kv *kv, const sm_kernels *kernels, uint32_t layer, uint32_t head,
                 uint32_t position, const float *k, const float *v) {
    const uint64_t at = sm_kv_offset(kv, layer, head, position / 16 * 16);
    const uint32_t lane = position % 16;
    const sm_kv_kernels *store = &kernels->kv[kv->type];
    stored copy;
    /* kernels read whole tiles: all of each must be finite */
    if (k) {
        if (lane == 0)
            memset(kv->k + at, 0, (size_t)tile_bytes(kv));
        store->store_k(kv->k + at, lane, prepared(kv, kernels, k, &copy), kv->width);
    }
    if (v) {
        if (lane == 0)
            memset(kv->v + at, 0, (size_t)tile_bytes(kv));
        store->store_v(kv->v + at, lane, prepared(kv, kernels, v, &copy), kv->width);
    }
}

void sm_kv_fetch(const sm_kv *kv, uint32_t layer, uint32_t head, uint32_t position, bool key) {
    const uint64_t at = sm_kv_offset(kv, layer, head, position / 16 * 16);
    /* a key goes to every line of its tile, a value to its row (q8_0: to a quarter of the tile) */
    const uint64_t tile = tile_bytes(kv), part = kv->type == SM_KV_Q8_0 ? tile / 4 : tile / 16;
    const uint64_t begin = key                      ? 0
                           : kv->type == SM_KV_Q8_0 ? position % 16 / 4 * part
                                                    : position % 16 * part;
    const uint8_t *p = (key ? kv->k : kv->v) + at + begin;
    for (uint64_t i = 0; i < (key ? tile : part); i += 64)
        __builtin_prefetch(p + i, 1);
}

uint64_t sm_kv_offset(const sm_kv *kv, uint32_t layer, uint32_t head, uint32_t position) {
    const uint64_t place = kv->n_layer == 1 ? 0 : layer;
    return (place * kv->n_head_kv + head) * kv->head_bytes + position / 16 * tile_bytes(kv);
}

void sm_kv_copy(sm_kv *to, const sm_kv *from, uint32_t n) {
    const uint64_t size = (n + 15) / 16 * tile_bytes(from); /* whole tiles */
    uint64_t heads = (uint64_t)from->n_layer * from->n_head_kv;
    for (uint64_t h = 0; h < heads; h++) {
        memcpy(to->k + h * to->head_bytes, from->k + h * from->head_bytes, (size_t)size);
        memcpy(to->v + h * to->head_bytes, from->v + h * from->head_bytes, (size_t)size);
    }
}
