/* pool.c - from hidden states to vectors and scores. The matrices are small beside the network's:
 * products are plain sums over dequantized rows, in order. */
#include "encoders.h"

#include <math.h>
#include <string.h>

void sm_pool_product(const sm_net *net, const sm_weight *W, const float *x, float *y, float *row) {
    for (uint32_t r = 0; r < W->rows; r++) {
        double sum = 0;
        net->kernels->type[W->type].dequantize(row, W->data + r * W->row_bytes, W->cols);
        for (uint32_t i = 0; i < W->cols; i++)
            sum += (double)row[i] * (double)x[i];
        y[r] = (float)sum;
    }
}

static void add_bias(float *y, const float *bias, uint32_t n) {
    for (uint32_t i = 0; bias && i < n; i++)
        y[i] += bias[i];
}

void sm_pool_rows(sm_pooling_type type, const float *rows, uint32_t n, uint32_t n_embd, float *y) {
    if (type != SM_POOLED_MEAN) {
        memcpy(y, rows + (uint64_t)(type == SM_POOLED_LAST ? n - 1 : 0) * n_embd,
               n_embd * sizeof *y);
        return;
    }
    for (uint32_t i = 0; i < n_embd; i++) {
        double sum = 0;
        for (uint32_t t = 0; t < n; t++)
            sum += (double)rows[(uint64_t)t * n_embd + i];
        y[i] = (float)(sum / n);
    }
}

/* The widest of what pooling passes on. */
static uint64_t widest(const sm_net *net) {
    const sm_pooling *p = &net->pooling;
    uint64_t n = net->config.n_embd;
    n = max_u64(n, p->dense[0].rows);
    n = max_u64(n, p->dense[1].rows);
    return max_u64(n, max_u64(p->pooler.rows, p->out.rows));
}

uint64_t sm_pool_scratch(const sm_net *net) {
    return 3 * widest(net);
}

uint32_t sm_pool_dims(const sm_net *net) {
    return net->pooling.dense[1].rows ? net->pooling.dense[1].rows : net->config.n_embd;
}

void sm_pool_vector(const sm_net *net, const float *pooled, uint32_t n_dims, bool raw,
                    float *vector, float *scratch) {
    const sm_pooling *p = &net->pooling;
    const uint64_t wide = widest(net);
    float *row = scratch, *inner = scratch + wide, *all = scratch + 2 * wide;
    if (p->dense[1].rows) {
        sm_pool_product(net, &p->dense[0], pooled, inner, row);
        sm_pool_product(net, &p->dense[1], inner, all, row);
        pooled = all;
    }
    double squares = 0;
    for (uint32_t i = 0; i < n_dims; i++)
        squares += (double)pooled[i] * (double)pooled[i];
    const double by = raw ? 1 : squares > 0 ? 1 / sqrt(squares) : 0;
    for (uint32_t i = 0; i < n_dims; i++)
        vector[i] = (float)((double)pooled[i] * by);
}

void sm_pool_scores(const sm_net *net, const float *hidden, float *scores, float *scratch) {
    const sm_pooling *p = &net->pooling;
    float *row = scratch, *inner = scratch + widest(net);
    if (p->pooler.rows) {
        sm_pool_product(net, &p->pooler, hidden, inner, row);
        add_bias(inner, p->pooler_bias, p->pooler.rows);
        for (uint32_t i = 0; i < p->pooler.rows; i++)
            inner[i] = tanhf(inner[i]);
        hidden = inner;
    }
    sm_pool_product(net, &p->out, hidden, scores, row);
    add_bias(scores, p->out_bias, p->out.rows);
}
