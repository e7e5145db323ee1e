/* Low-rank adapters: sizes, dropout. How they act on a product is in decoder.c. */
#include "nn.h"

static uint32_t whole_groups(const sm_lora *lora) {
    return (lora->a.rows + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
}

uint32_t sm_adapter_width(const sm_adapter *adapter, const sm_net *net) {
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
