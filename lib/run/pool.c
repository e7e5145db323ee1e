/* pool.c - from hidden states to vectors and scores. The matrices are small beside the network's:
 * products are plain sums over dequantized rows, in order. */
#include "encoders.h"

#include <math.h>
#include <string.h>

/* y[rows] = W x, of an F32 copy of each row, chains in order. row[cols]: scratch. */
static void multiply(const sm_net *net, const sm_weight *W, const float *x, float *y, float *row) {
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
        multiply(net, &p->dense[0], pooled, inner, row);
        multiply(net, &p->dense[1], inner, all, row);
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
        multiply(net, &p->pooler, hidden, inner, row);
        add_bias(inner, p->pooler_bias, p->pooler.rows);
        for (uint32_t i = 0; i < p->pooler.rows; i++)
            inner[i] = tanhf(inner[i]);
        hidden = inner;
    }
    multiply(net, &p->out, hidden, scores, row);
    add_bias(scores, p->out_bias, p->out.rows);
}

/* ---- vectors of fewer bits --------------------------------------------------------------- */

static void pack_bytes(const float *x, uint32_t n, uint8_t *to) {
    for (uint32_t i = 0; i < n; i++) {
        const float scaled = roundf(127 * x[i]);
        const float within = scaled > 127 ? 127 : scaled < -127 ? -127 : scaled;
        to[i] = (uint8_t)(int8_t)within;
    }
}

static void pack_bits(const float *x, uint32_t n, uint8_t *to) {
    memset(to, 0, (n + 7) / 8);
    for (uint32_t i = 0; i < n; i++)
        to[i / 8] |= (uint8_t)((x[i] > 0) << (7 - i % 8));
}

sm_status sm_vectors_pack(const float *vectors, uint64_t n, uint32_t n_dims, uint32_t kind,
                          void *packed, uint64_t size, sm_error *error) {
    uint64_t n_all, n_bytes;
    if ((n && (!vectors || !packed)) || (kind != SM_PACKED_INT8 && kind != SM_PACKED_BINARY))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_vectors_pack: a pointer is NULL or kind %u is not known", kind);
    const uint64_t each = kind == SM_PACKED_INT8 ? n_dims : ((uint64_t)n_dims + 7) / 8;
    if (sm_mul_over(n, n_dims, &n_all) || sm_mul_over(n, each, &n_bytes) || size < n_bytes)
        return sm_fail(error, SM_ERR_BUFFER, "sm_vectors_pack: %llu bytes for %llu vectors of %llu",
                       (unsigned long long)size, (unsigned long long)n, (unsigned long long)each);
    if (n_all && sm_first_not_finite(vectors, n_all) < n_all)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_vectors_pack: a value is no number");
    for (uint64_t i = 0; i < n; i++)
        (kind == SM_PACKED_INT8 ? pack_bytes : pack_bits)(vectors + i * n_dims, n_dims,
                                                          (uint8_t *)packed + i * each);
    return SM_OK;
}
