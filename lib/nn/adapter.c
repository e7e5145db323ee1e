/* Low-rank adapters: sizes, dropout. How they act on a product is in product.c. */
#include "nn.h"
#include "pack.h"

static uint32_t whole_groups(const sm_lora *lora) {
    return (lora->a.rows + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
}

uint32_t sm_adapter_width(const sm_net_adapter *adapter, const sm_net *net) {
    uint32_t widest = whole_groups(&adapter->head);
    for (uint32_t i = 0; i < net->config.n_layer; i++) {
        const sm_lora *l = adapter->layers[i];
        /* of matrices that read the same input */
        const uint32_t widths[] = {
            whole_groups(&l[SM_Q]) + whole_groups(&l[SM_K]) + whole_groups(&l[SM_V]),
            whole_groups(&l[SM_O]),
            whole_groups(&l[SM_GATE]) + whole_groups(&l[SM_UP]),
            whole_groups(&l[SM_DOWN]),
        };
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            widest = widths[j] > widest ? widths[j] : widest;
    }
    return widest;
}

sm_status sm_weight_load_f32(sm_weight *w, sm_mem *mem, const sm_net *net, const sm_gguf *gguf,
                             const sm_gguf_tensor *t, sm_error *error) {
    const sm_type_kernels *from = &net->kernels->type[t->type];
    const sm_type_kernels *to = &net->kernels->type[SM_DTYPE_F32];
    const uint64_t cols = t->dims[0], rows = t->dims[1], row_bytes = t->size / rows;
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
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for tensor '%s'", gguf->path,
                       t->name);
    }
    for (uint64_t first = 0; first < rows; first += SM_GROUP) {
        const uint64_t n = rows - first < SM_GROUP ? rows - first : SM_GROUP;
        for (uint64_t r = 0; r < n; r++)
            from->dequantize(group + r * cols, t->data + (first + r) * row_bytes, cols);
        to->pack(w->own_packed + first / SM_GROUP * w->group_bytes, group, w->row_bytes, n, cols);
    }
    sm_free(mem, group);
    return SM_OK;
}

/* splitmix64's output function (Steele, Lea, Flood 2014): a bijection that mixes well. */
static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static uint64_t key_of(uint64_t seed, uint64_t draw, uint32_t layer, uint32_t matrix,
                       uint64_t token) {
    uint64_t key = mix(seed + GOLDEN);
    key = mix(key ^ (draw + GOLDEN));
    key = mix(key ^ ((uint64_t)layer << 8 | matrix));
    return mix(key ^ (token + GOLDEN));
}

double sm_random_unit(uint64_t seed, uint32_t layer, uint32_t matrix, uint64_t i) {
    return (double)(key_of(seed, UINT64_MAX, layer, matrix, i) >> 11) * 0x1p-53;
}

void sm_dropout_row(const sm_dropout *dropout, uint32_t layer, uint32_t matrix, uint32_t token,
                    float *y, const float *x, uint64_t n) {
    const uint64_t key = key_of(dropout->seed, dropout->draw, layer, matrix, token);
    /* kept where 32 random bits reach rate * 2^32 */
    const double limit = dropout->rate * 0x1p32;
    const uint64_t dropped = limit < 0x1p32 ? (uint64_t)limit : UINT64_C(1) << 32;
    const float scale = dropout->rate < 1 ? (float)(1 / (1 - dropout->rate)) : 0;
    for (uint64_t i = 0; i < n; i += 2) {
        const uint64_t bits = mix(key + (i / 2 + 1) * GOLDEN);
        y[i] = (bits & 0xffffffff) < dropped ? 0 : x[i] * scale;
        if (i + 1 < n)
            y[i + 1] = bits >> 32 < dropped ? 0 : x[i + 1] * scale;
    }
}
