#include "ops.h"
#include "pack.h"

/* Columns that go through mul; from one more on, unpacking a slab to a byte panel pays. */
#define MUL_MAX_COLS SM_MUL_COLS
/* Columns walked together: their activations stay in the second-level cache while all
 * the weights go by. A multiple of the kernels' tile widths. */
#define GEMM_COLS 126

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

bool sm_stopped(const sm_thread_scratch *scratch) {
    sm_stop *stop = scratch->stop;
    if (!stop->cancel)
        return false;
    if (scratch->asks && !atomic_load_explicit(&stop->stopped, memory_order_relaxed) &&
        stop->cancel(stop->cancel_user))
        atomic_store_explicit(&stop->stopped, true, memory_order_relaxed);
    return atomic_load_explicit(&stop->stopped, memory_order_relaxed);
}

/* Where column 0 of x begins at element k, and its stride, as the kernels want it. */
static const void *column(const sm_weight *W, const sm_input *x, uint64_t t, uint64_t k) {
    return W->quantized ? (const void *)(x->q + t * x->ldq + k / 32)
                        : (const void *)(x->f + t * x->ldf + k);
}

/* Columns [t, t + n_cols): two groups and one slab at a time, all of them against it. */
static void many(const sm_type_kernels *kernel, const sm_weight *W, uint64_t g0, uint64_t g1,
                 const sm_input *x, uint64_t t, uint64_t n_cols, float *y, uint64_t ldy, bool add,
                 sm_thread_scratch *s) {
    const uint64_t ldx = W->quantized ? x->ldq : x->ldf;
    for (uint64_t g = g0; g < g1; g += SM_GEMM_GROUPS) {
        const uint64_t n = min_u64(SM_GEMM_GROUPS, g1 - g);
        if (sm_stopped(s))
            return;
        for (uint64_t k = 0; k < W->cols; k += SM_SLAB) {
            const uint64_t depth = min_u64(SM_SLAB, W->cols - k);
            const uint8_t *packed;
            uint64_t stride = W->group_bytes;
            if (W->packed) {
                packed = W->packed + g * W->group_bytes + sm_packed_bytes(W->type, k);
            } else {
                packed = s->pack;
                stride = sm_packed_bytes(W->type, depth);
                for (uint64_t i = 0; i < n; i++)
                    kernel->pack(
                        s->pack + i * stride,
                        W->data + (g + i) * SM_GROUP * W->row_bytes + k * W->row_bytes / W->cols,
                        W->row_bytes, min_u64(SM_GROUP, W->rows - (g + i) * SM_GROUP), depth);
            }
            kernel->gemm(y + t * ldy + g * SM_GROUP, ldy, packed, stride, n, depth,
                         column(W, x, t, k), ldx, n_cols, add || k > 0, s->gemm);
        }
    }
}

/* Few columns, weights in the file's layout: packed slab by slab as they are used. */
static void few_unpacked(const sm_type_kernels *kernel, const sm_weight *W, uint64_t g0,
                         uint64_t g1, const sm_input *x, uint64_t T, float *y, uint64_t ldy,
                         bool add, sm_thread_scratch *s) {
    const uint64_t ldx = W->quantized ? x->ldq : x->ldf;
    for (uint64_t g = g0; g < g1; g++) {
        for (uint64_t k = 0; k < W->cols; k += SM_SLAB) {
            const uint64_t depth = min_u64(SM_SLAB, W->cols - k);
            kernel->pack(s->pack,
                         W->data + g * SM_GROUP * W->row_bytes + k * W->row_bytes / W->cols,
                         W->row_bytes, min_u64(SM_GROUP, W->rows - g * SM_GROUP), depth);
            kernel->mul(y + g * SM_GROUP, ldy, s->pack, 0, 1, depth, column(W, x, 0, k), ldx, T,
                        add || k > 0);
        }
    }
}

void sm_matmul(const sm_kernels *kernels, const sm_weight *W, uint64_t g0, uint64_t g1,
               const sm_input *x, uint64_t T, float *y, uint64_t ldy, bool add,
               sm_thread_scratch *scratch) {
    const sm_type_kernels *kernel = &kernels->type[W->type];
    if (g0 >= g1)
        return;
    if (T > MUL_MAX_COLS) {
        /* what is packed on the fly is packed once for all columns */
        const uint64_t step = W->packed ? GEMM_COLS : T;
        for (uint64_t t = 0; t < T; t += step)
            many(kernel, W, g0, g1, x, t, min_u64(step, T - t), y, ldy, add, scratch);
    } else if (!W->packed) {
        few_unpacked(kernel, W, g0, g1, x, T, y, ldy, add, scratch);
    } else {
        kernel->mul(y + g0 * SM_GROUP, ldy, W->packed + g0 * W->group_bytes, W->group_bytes,
                    g1 - g0, W->cols, column(W, x, 0, 0), W->quantized ? x->ldq : x->ldf, T, add);
    }
}
