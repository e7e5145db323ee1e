/* Products: which kernels multiply how many columns, and in which pieces. */
#include "ops.h"
#include "pack.h"

/* Columns that go through mul, SM_MUL_COLS at a time; from one more on gemm is faster, which
 * unpacks a slab to a panel of bytes (measured). Codes that are slow to take apart are unpacked
 * sooner, plain nibbles and bytes later. */
static uint64_t mul_most(const sm_kernels *kernels, uint32_t type) {
    const bool avx512 = kernels->level == SM_LEVEL_AVX512;
    if (!avx512 && kernels->level != SM_LEVEL_AVX512BF16)
        return SM_MUL_COLS;
    switch (type) {
    case SM_DTYPE_NVFP4:
    case SM_DTYPE_Q1_0:
    case SM_DTYPE_Q2_0:
    case SM_DTYPE_TQ1_0:
    case SM_DTYPE_TQ2_0:
        return 2;
    case SM_DTYPE_Q2_K:
    case SM_DTYPE_Q3_K:
    case SM_DTYPE_Q5_K:
    case SM_DTYPE_Q6_K:
        return 4;
    case SM_DTYPE_Q4_0:
    case SM_DTYPE_Q4_1:
        return avx512 ? 23 : 32;
    case SM_DTYPE_IQ4_NL:
    case SM_DTYPE_Q4_K:
        return avx512 ? 15 : 32;
    case SM_DTYPE_Q8_0:
        return 32;
    default:
        return SM_MUL_COLS;
    }
}

/* Bytes of weights that several calls of mul share: they stay in the second-level cache. */
#define MUL_BYTES (192u << 10)
/* Columns walked together, a multiple of the kernels' tile widths: their activations, a slab of K
 * deep, stay in the second-level cache with the results of GEMM_BLOCK groups while the weights of
 * those groups go by, whose panels are made once for all these columns. */
#define GEMM_BYTES (288u << 10)
#define GEMM_BLOCK 8
#define GEMM_UNIT 12

bool sm_stopped(const sm_thread_scratch *scratch) {
    return sm_stop_now(scratch->stop, scratch->asks);
}

/* Where column 0 of x begins at element k, and its stride, as the kernels want it. */
static const void *column(const sm_weight *W, const sm_input *x, uint64_t t, uint64_t k) {
    return W->form == SM_INPUT_FLOAT ? (const void *)(x->f + t * x->ldf + k)
                                     : (const void *)(x->q + t * x->ldq + k / 32);
}

static uint64_t column_stride(const sm_weight *W, const sm_input *x) {
    switch (W->form) {
    case SM_INPUT_FLOAT:
        return x->ldf;
    case SM_INPUT_BLOCKS:
        return x->ldq;
    default:
        return x->ldq * 32;
    }
}

typedef struct product_kernels {
    uint32_t type;                /* that they multiply */
    sm_dequantize_fn *dequantize; /* what makes numbers of that type of the weight's; NULL: they
                                     are */
    sm_pack_fn *pack;
    sm_mul_fn *mul;
    sm_gemm_fn *gemm;
} product_kernels;

static product_kernels kernels_for(const sm_kernels *kernels, const sm_weight *W) {
    const bool rounded = W->form == SM_INPUT_BF16;
    const bool unfolds = !W->packed && sm_weight_unfolds(W); /* what is packed never does */
    const uint32_t type = unfolds ? SM_DTYPE_F32 : W->type;
    const sm_type_kernels *k = &kernels->type[type];
    return (product_kernels){type, unfolds ? kernels->type[W->type].dequantize : NULL, k->pack,
                             rounded ? k->mul_rounded : k->mul,
                             rounded ? k->gemm_rounded : k->gemm};
}

/* Columns [k, k + depth) of group g of a matrix in the file's layout, packed. */
static void pack_slab(const product_kernels *kernel, const sm_weight *W, uint64_t g, uint64_t k,
                      uint64_t depth, uint8_t *to, const sm_thread_scratch *s) {
    const uint8_t *from = W->data + g * SM_GROUP * W->row_bytes + k * W->row_bytes / W->cols;
    const uint64_t n = min_u64(SM_GROUP, W->rows - g * SM_GROUP);
    if (!kernel->dequantize) {
        kernel->pack(to, from, W->row_bytes, n, depth);
        return;
    }
    for (uint64_t r = 0; r < n; r++)
        kernel->dequantize(s->unfolded + r * depth, from + r * W->row_bytes, depth);
    kernel->pack(to, s->unfolded, depth * sizeof(float), n, depth);
}

/* Columns [t, t + n_cols) times groups [g0, g1), which stay: one slab after another. */
static void many_block(const product_kernels *kernel, const sm_weight *W, uint64_t g0, uint64_t g1,
                       const sm_input *x, uint64_t t, uint64_t n_cols, float *y, uint64_t ldy,
                       bool add, sm_thread_scratch *s) {
    const uint64_t ldx = column_stride(W, x);
    for (uint64_t k = 0; k < W->cols; k += SM_SLAB) {
        const uint64_t depth = min_u64(SM_SLAB, W->cols - k);
        for (uint64_t g = g0, n; g < g1; g += n) {
            n = min_u64(SM_GEMM_GROUPS, g1 - g);
            const uint8_t *packed, *next = NULL;
            uint64_t stride = W->group_bytes;
            if (W->packed) {
                const uint64_t begin = sm_packed_bytes(W->type, k);
                packed = W->packed + g * stride + begin;
                next = g + n < g1 ? packed + n * stride
                       : k + depth < W->cols
                           ? W->packed + g0 * stride + begin + sm_packed_bytes(W->type, depth)
                           : W->packed + g1 * stride;
            } else {
                packed = s->pack;
                stride = sm_packed_bytes(kernel->type, depth);
                for (uint64_t i = 0; i < n; i++)
                    pack_slab(kernel, W, g + i, k, depth, s->pack + i * stride, s);
            }
            kernel->gemm(y + t * ldy + g * SM_GROUP, ldy, packed, stride, n, depth,
                         column(W, x, t, k), ldx, n_cols, add || k > 0, next, s->gemm);
        }
    }
}

static void many(const product_kernels *kernel, const sm_weight *W, uint64_t g0, uint64_t g1,
                 const sm_input *x, uint64_t t, uint64_t n_cols, float *y, uint64_t ldy, bool add,
                 sm_thread_scratch *s) {
    for (uint64_t g = g0; g < g1 && !sm_stopped(s); g += GEMM_BLOCK)
        many_block(kernel, W, g, min_u64(g + GEMM_BLOCK, g1), x, t, n_cols, y, ldy, add, s);
}

/* Few columns, weights in the file's layout: packed slab by slab as they are used. */
static void few_unpacked(const product_kernels *kernel, const sm_weight *W, uint64_t g0,
                         uint64_t g1, const sm_input *x, uint64_t T, float *y, uint64_t ldy,
                         bool add, sm_thread_scratch *s) {
    const uint64_t ldx = column_stride(W, x);
    for (uint64_t g = g0; g < g1; g++) {
        for (uint64_t k = 0; k < W->cols; k += SM_SLAB) {
            const uint64_t depth = min_u64(SM_SLAB, W->cols - k);
            pack_slab(kernel, W, g, k, depth, s->pack, s);
            kernel->mul(y + g * SM_GROUP, ldy, s->pack, 0, 1, depth, column(W, x, 0, k), ldx, T,
                        add || k > 0, SM_PREFETCH_NEAR);
        }
    }
}

/* A few more columns than one call of mul takes: the weights are read in pieces that all the
 * calls find in the cache. */
static void few(const product_kernels *kernel, const sm_weight *W, uint64_t g0, uint64_t g1,
                const sm_input *x, uint64_t T, float *y, uint64_t ldy, bool add,
                sm_thread_scratch *s) {
    const uint64_t ldx = column_stride(W, x);
    const uint64_t fit = MUL_BYTES / W->group_bytes / 2 * 2;
    const uint64_t piece = T <= SM_MUL_COLS ? g1 - g0 : fit ? fit : 2;
    for (uint64_t g = g0; g < g1; g += piece) {
        if (sm_stopped(s))
            return;
        for (uint64_t t = 0, n; t < T; t += n) {
            n = T - t;
            if (n > SM_MUL_COLS) /* the last two calls share what is left */
                n = n < SM_MUL_COLS + 4 ? n / 2 : SM_MUL_COLS;
            kernel->mul(y + t * ldy + g * SM_GROUP, ldy, W->packed + g * W->group_bytes,
                        W->group_bytes, min_u64(piece, g1 - g), W->cols, column(W, x, t, 0), ldx, n,
                        add, W->prefetch);
        }
    }
}

/* T columns in pieces alike. */
static uint64_t columns_together(const sm_weight *W, uint64_t T) {
    const uint64_t element = W->form == SM_INPUT_FLOAT ? sizeof(float) : sizeof(uint16_t);
    const uint64_t most = GEMM_BYTES / (min_u64(W->cols, SM_SLAB) * element);
    const uint64_t pieces = (T + most - 1) / most;
    return ((T + pieces - 1) / pieces + GEMM_UNIT - 1) / GEMM_UNIT * GEMM_UNIT;
}

void sm_matmul(const sm_kernels *kernels, const sm_weight *W, uint64_t g0, uint64_t g1,
               const sm_input *x, uint64_t T, float *y, uint64_t ldy, bool add,
               sm_thread_scratch *scratch) {
    const product_kernels kernel = kernels_for(kernels, W);
    if (g0 >= g1)
        return;
    if (T > (W->packed ? mul_most(kernels, W->type) : SM_MUL_COLS)) {
        /* what is packed on the fly is packed once for all columns */
        const uint64_t step = W->packed ? columns_together(W, T) : T;
        for (uint64_t t = 0; t < T; t += step)
            many(&kernel, W, g0, g1, x, t, min_u64(step, T - t), y, ldy, add, scratch);
    } else if (!W->packed) {
        few_unpacked(&kernel, W, g0, g1, x, T, y, ldy, add, scratch);
    } else {
        few(&kernel, W, g0, g1, x, T, y, ldy, add, scratch);
    }
}

/* Bytes of a stream: from 512 to 4096 make little difference. */
#define EXPECTED 1024

static void ask_for(const uint8_t *p) {
    for (uint64_t i = 0; i < EXPECTED; i += 64)
        __builtin_prefetch(p + i);
}

void sm_matmul_expect(const sm_weight *W, uint64_t g0, uint64_t g1) {
    if (!W->packed || W->prefetch != SM_PREFETCH_NONE)
        return;
    ask_for(W->packed + g0 * W->group_bytes);
    if (g1 - g0 > 1) /* kernels go through both halves side by side */
        ask_for(W->packed + (g0 + (g1 - g0 + 1) / 2) * W->group_bytes);
}
