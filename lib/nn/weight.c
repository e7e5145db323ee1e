/* Matrices by themselves: packing, adapters' halves, dropout. How adapters act on a product is in
 * product.c. */
#include "weight.h"
#include "pack.h"

uint64_t sm_weight_packed_bytes(const sm_weight *w) {
    return ((uint64_t)w->rows + SM_GROUP - 1) / SM_GROUP * w->group_bytes;
}

bool sm_weight_unfolds(const sm_weight *w) {
    return w->form == SM_INPUT_FLOAT && sm_dtype_get(w->type)->block_size > 1;
}

void sm_weight_pack(const sm_weight *w, const sm_kernels *kernels, uint64_t begin, uint64_t end,
                    uint8_t *packed) {
    for (uint64_t g = begin; g < end; g++) {
        const uint64_t left = w->rows - g * SM_GROUP;
        kernels->type[w->type].pack(packed + (g - begin) * w->group_bytes,
                                    w->data + g * SM_GROUP * w->row_bytes, w->row_bytes,
                                    left < SM_GROUP ? left : SM_GROUP, w->cols);
    }
}

sm_status sm_weight_load_f32(sm_weight *w, sm_mem *mem, const sm_kernels *kernels,
                             const sm_source *source, const sm_tensor *t, uint64_t begin,
                             uint64_t rows, sm_error *error) {
    const sm_type_kernels *from = &kernels->type[t->type];
    const sm_type_kernels *to = &kernels->type[SM_DTYPE_F32];
    const uint64_t cols = t->dims[0], row_bytes = t->size / (t->dims[1] * t->dims[2]);
    const uint64_t groups = (rows + SM_GROUP - 1) / SM_GROUP;
    *w = (sm_weight){.name = "",
                     .type = SM_DTYPE_F32,
                     .rows = (uint32_t)rows,
                     .cols = (uint32_t)cols,
                     .row_bytes = cols * sizeof(float),
                     .group_bytes = sm_packed_bytes(SM_DTYPE_F32, cols)};
    w->packed = w->own_packed = sm_alloc_array(mem, groups, w->group_bytes);
    float *group = sm_alloc_array(mem, SM_GROUP * cols, sizeof *group);
    if (!w->packed || !group) {
        sm_free(mem, group);
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for tensor '%s'", source->path,
                       t->name);
    }
    for (uint64_t first = 0; first < rows; first += SM_GROUP) {
        const uint64_t n = rows - first < SM_GROUP ? rows - first : SM_GROUP;
        for (uint64_t r = 0; r < n; r++)
            from->dequantize(group + r * cols, sm_tensor_row(t, begin + first + r, row_bytes),
                             cols);
        to->pack(w->own_packed + first / SM_GROUP * w->group_bytes, group, w->row_bytes, n, cols);
    }
    sm_free(mem, group);
    return SM_OK;
}

/* sm_mix64 without the step that it begins with. */
static uint64_t mix(uint64_t z) {
    return sm_mix64(z - UINT64_C(0x9e3779b97f4a7c15));
}

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static uint64_t key_of(uint64_t seed, uint64_t draw, const sm_weight *w, uint64_t token) {
    uint64_t key = sm_mix64(seed);
    key = mix(key ^ (draw + GOLDEN));
    key = mix(key ^ ((uint64_t)w->layer << 8 | (w->place & 255)) ^ (uint64_t)(w->place >> 8) << 40);
    return mix(key ^ (token + GOLDEN));
}

double sm_weight_random(uint64_t seed, const sm_weight *w, uint64_t i) {
    return (double)(key_of(seed, UINT64_MAX, w, i) >> 11) * 0x1p-53;
}

void sm_dropout_row(const sm_dropout *dropout, const sm_weight *w, uint32_t token, float *y,
                    const float *x) {
    const uint64_t key = key_of(dropout->seed, dropout->draw, w, token), n = w->cols;
    /* kept where 32 random bits reach rate * 2^32 */
    const double limit = dropout->rate * 0x1p32;
    const uint64_t dropped = limit < 0x1p32 ? (uint64_t)limit : UINT64_C(1) << 32;
    const float scale = dropout->rate < 1 ? (float)(1 / (1 - dropout->rate)) : 0;
    for (uint64_t i = 0; i < n; i += 2) {
        const uint64_t bits = sm_mix64(key + i / 2 * GOLDEN);
        y[i] = (bits & 0xffffffff) < dropped ? 0 : x[i] * scale;
        if (i + 1 < n)
            y[i + 1] = bits >> 32 < dropped ? 0 : x[i + 1] * scale;
    }
}
