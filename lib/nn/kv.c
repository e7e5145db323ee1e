#include "nn.h"

#include <string.h>

static uint64_t element_bytes(uint32_t type) {
    return type == SM_KV_F32 ? 4 : 2;
}

uint32_t sm_kv_width(const sm_config *config) {
    return (config->head_dim + 7) / 8 * 8;
}

sm_status sm_kv_init(sm_kv *kv, sm_mem *mem, const sm_config *config, uint32_t type, uint32_t n_ctx,
                     sm_error *error) {
    memset(kv, 0, sizeof *kv);
    kv->type = type;
    kv->capacity = (n_ctx + 15) / 16 * 16;
    kv->n_layer = config->n_layer;
    kv->n_head_kv = config->n_head_kv;
    kv->head_dim = config->head_dim;
    kv->width = sm_kv_width(config);
    kv->head_bytes = (uint64_t)kv->capacity * kv->width * element_bytes(type);
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

/* The vector itself, or a copy filled up with zeros where heads are narrower than rows. */
static const float *widened(const sm_kv *kv, const float *x, float *copy) {
    if (kv->width == kv->head_dim)
        return x;
    memcpy(copy, x, kv->head_dim * sizeof *x);
    memset(copy + kv->head_dim, 0, (kv->width - kv->head_dim) * sizeof *x);
    return copy;
}

void sm_kv_store(sm_kv *kv, const sm_kv_kernels *kernels, uint32_t layer, uint32_t head,
                 uint32_t position, const float *k, const float *v) {
    const uint64_t row = kv->width * element_bytes(kv->type);
    const uint64_t base = ((uint64_t)layer * kv->n_head_kv + head) * kv->head_bytes;
    float copy[SM_MAX_HEAD_DIM];
    if (k) {
        uint8_t *tile = kv->k + base + position / 16 * 16 * row;
        if (position % 16 == 0) /* kernels read whole tiles: all of it must be finite */
            memset(tile, 0, (size_t)(16 * row));
        kernels->store_k(tile, position % 16, widened(kv, k, copy), kv->width);
    }
    if (v)
        kernels->store_v(kv->v + base + position * row, widened(kv, v, copy), kv->width);
}

uint64_t sm_kv_offset(const sm_kv *kv, uint32_t layer, uint32_t head, uint32_t position) {
    return ((uint64_t)layer * kv->n_head_kv + head) * kv->head_bytes +
           (uint64_t)position * kv->width * element_bytes(kv->type);
}

void sm_kv_copy(sm_kv *to, const sm_kv *from, uint32_t n) {
    /* whole tiles: a tile of K holds 16 tokens */
    uint64_t size = (uint64_t)((n + 15) / 16 * 16) * from->width * element_bytes(from->type);
    uint64_t heads = (uint64_t)from->n_layer * from->n_head_kv;
    for (uint64_t h = 0; h < heads; h++) {
        memcpy(to->k + h * to->head_bytes, from->k + h * from->head_bytes, (size_t)size);
        memcpy(to->v + h * to->head_bytes, from->v + h * from->head_bytes, (size_t)size);
    }
}
