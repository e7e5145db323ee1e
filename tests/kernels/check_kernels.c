/* check_kernels - every kernel of kernels.inc that this CPU can run, against the reference
 * and the reference against plain double arithmetic.
 *
 *   check_kernels                    the tests
 *   check_kernels --bench [filter]   speeds of the kernels whose name contains filter
 *
 * SM_TEST_LEVEL=<level> leaves out the levels above (for emulators).
 *
 * Tolerances
 *   quantized products, quantize, stores   the bits of the reference
 *   mul against gemm, any split            equal bits within a level
 *   float products, attention              n * 2^-23 * sum |a*b|, n terms (two orders of n
 *                                          roundings each)
 *   tiles                                  (k + 2) * 2^-24 * sum |a*b|; equal bits for every
 *                                          m and n; panels the bits of their definition
 *   exp                                    2e-7 relative
 *   the other row operations               stated at each test
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_cases.h"
#include "smallmind/types.h"

static const uint32_t computed_types[] = {
    SM_DTYPE_F32,     SM_DTYPE_F16,    SM_DTYPE_BF16,  SM_DTYPE_Q4_0,    SM_DTYPE_Q4_1,
    SM_DTYPE_Q5_0,    SM_DTYPE_Q5_1,   SM_DTYPE_Q8_0,  SM_DTYPE_Q2_K,    SM_DTYPE_Q3_K,
    SM_DTYPE_Q4_K,    SM_DTYPE_Q5_K,   SM_DTYPE_Q6_K,  SM_DTYPE_IQ4_NL,  SM_DTYPE_IQ4_XS,
    SM_DTYPE_IQ2_XXS, SM_DTYPE_IQ2_XS, SM_DTYPE_IQ2_S, SM_DTYPE_IQ3_XXS, SM_DTYPE_IQ3_S,
    SM_DTYPE_IQ1_S,   SM_DTYPE_IQ1_M,  SM_DTYPE_NVFP4, SM_DTYPE_Q1_0,    SM_DTYPE_Q2_0,
    SM_DTYPE_TQ1_0,   SM_DTYPE_TQ2_0,  SM_DTYPE_F64,   SM_DTYPE_MXFP4,
};
#define N_TYPES (sizeof computed_types / sizeof computed_types[0])

/* The level a test runs on; skips where this machine cannot. */
static const sm_kernels *level_of(void **state) {
    uint32_t level = *(const uint32_t *)*state;
    const sm_kernels *table = level_table(level);
    if (table == NULL) {
        print_message("skipped: no level %s on this CPU or in this build\n", sm_level_name(level));
        skip();
    }
    return table;
}

static bool same_bits(float a, float b) {
    return sm_float_bits(a) == sm_float_bits(b);
}

static bool close_to(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance;
}

/* ---- products ------------------------------------------------------------------------------ */

#define MAX_GROUPS 5
#define MAX_COLS 37
#define GUARD 7 /* floats behind each column of y that must stay as they are */
#define LDY (MAX_GROUPS * SM_GROUP + GUARD)

/* One matrix, its activations and what the products should be. */
typedef struct product {
    uint32_t type;
    bool rounded; /* x is bf16 */
    size_t k, ldx, group_bytes;
    void *packed;      /* MAX_GROUPS groups */
    void *x;           /* MAX_COLS columns */
    float *start;      /* y before an accumulating product, [MAX_COLS][LDY] */
    float *fresh;      /* reference from zero */
    float *continued;  /* reference from start */
    double *magnitude; /* sum of |w * x|: f32 input only */
} product;

static size_t x_size(const product *p) {
    return p->rounded               ? sizeof(uint16_t)
           : is_float_type(p->type) ? sizeof(float)
                                    : sizeof(sm_act_block);
}

/* Column c of x from element k0 on. */
static const void *x_at(const product *p, size_t c, size_t k0) {
    size_t index = c * p->ldx + (is_float_type(p->type) ? k0 : k0 / 32);
    return (const uint8_t *)p->x + index * x_size(p);
}

static const uint8_t *packed_at(const product *p, size_t group, size_t k0) {
    return (const uint8_t *)p->packed + group * p->group_bytes + sm_packed_bytes(p->type, k0);
}

/* n floats that begin one float past an aligned address: kernels assume no alignment. */
static float *take_floats(size_t n) {
    return (float *)take((n + 1) * sizeof(float)) + 1;
}

static void free_floats(float *p) {
    free(p - 1);
}

static void sum_magnitudes(product *p, const void *rows) {
    const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    float *w = take_floats(p->k);
    for (size_t r = 0; r < MAX_GROUPS * SM_GROUP; r++) {
        ref->type[p->type].dequantize(w, (const uint8_t *)rows + r * row_size(p->type, p->k), p->k);
        for (size_t c = 0; c < MAX_COLS; c++) {
            const float *x = x_at(p, c, 0);
            double sum = 0;
            for (size_t i = 0; i < p->k; i++) {
                sum += fabs((double)w[i] * (double)x[i]);
            }
            p->magnitude[c * LDY + r] = sum;
        }
    }
    free_floats(w);
}

/* bf16 as vdpbf16ps reads it, and f32 as it writes it: subnormals are 0. */
static float flushed(float x) {
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

/* The products of rounded input as the contract says; y holds the start of each chain. */
static void rounded_reference(const product *p, const void *rows, float *y) {
    const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    float *w = take_floats(p->k + 1);
    for (size_t r = 0; r < MAX_GROUPS * SM_GROUP; r++) {
        ref->type[p->type].dequantize(w, (const uint8_t *)rows + r * row_size(p->type, p->k), p->k);
        w[p->k] = 0;
        for (size_t c = 0; c < MAX_COLS; c++) {
            const uint16_t *x = x_at(p, c, 0);
            float sum = flushed(y[c * LDY + r]);
            for (size_t pair = 0; pair < p->k; pair += 2) {
                for (size_t i = pair + 2; i-- > pair;) {
                    const float wi = flushed(sm_bf16_to_f32(sm_f32_to_bf16(w[i])));
                    const float xi = i < p->k ? flushed(sm_bf16_to_f32(x[i])) : 0;
                    sum = flushed(fmaf(wi, xi, sum));
                }
            }
            y[c * LDY + r] = sum;
        }
    }
    free_floats(w);
}

static product make_product(uint32_t type, bool rounded, size_t k, data_style style) {
    const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    const size_t n_rows = MAX_GROUPS * SM_GROUP;
    product p = {.type = type, .rounded = rounded, .k = k, .group_bytes = sm_packed_bytes(type, k)};
    void *rows = take(n_rows * row_size(type, k));
    fill_rows(type, rows, n_rows, k, style);
    p.packed = pack_rows(type, rows, n_rows, k);

    float *x = take_floats(k);
    p.ldx = is_float_type(type) ? k + 3 : k / 32 + 1;
    const size_t x_length = is_float_type(type) ? k : k / 32;
    const size_t x_bytes = ((MAX_COLS - 1) * p.ldx + x_length) * x_size(&p);
    p.x = take(x_bytes);
    memset(p.x, 0, x_bytes);
    for (size_t c = 0; c < MAX_COLS; c++) {
        fill_activations(x, k, style);
        if (rounded) {
            ref->round_bf16((uint16_t *)p.x + c * p.ldx, x, k);
        } else if (is_float_type(type)) {
            memcpy((float *)p.x + c * p.ldx, x, k * sizeof *x);
        } else {
            ref->quantize((sm_act_block *)p.x + c * p.ldx, x, k);
        }
    }
    free_floats(x);

    const size_t n = MAX_COLS * LDY;
    p.start = take_floats(n);
    p.fresh = take_floats(n);
    p.continued = take_floats(n);
    for (size_t i = 0; i < n; i++) {
        p.start[i] = p.fresh[i] = p.continued[i] = random_float() * 100;
    }
    p.magnitude = take(n * sizeof *p.magnitude);
    memset(p.magnitude, 0, n * sizeof *p.magnitude);
    if (rounded) {
        rounded_reference(&p, rows, p.continued);
        memset(p.fresh, 0, n * sizeof *p.fresh);
        rounded_reference(&p, rows, p.fresh);
    } else {
        ref->type[type].mul(p.fresh, LDY, p.packed, p.group_bytes, MAX_GROUPS, k, p.x, p.ldx,
                            MAX_COLS, false, SM_PREFETCH_NONE);
        ref->type[type].mul(p.continued, LDY, p.packed, p.group_bytes, MAX_GROUPS, k, p.x, p.ldx,
                            MAX_COLS, true, SM_PREFETCH_NONE);
        if (is_float_type(type)) {
            sum_magnitudes(&p, rows);
        }
    }
    free(rows);
    return p;
}

static void free_product(product *p) {
    free(p->packed);
    free(p->x);
    free_floats(p->start);
    free_floats(p->fresh);
    free_floats(p->continued);
    free(p->magnitude);
}

/* The whole product by mul, at most `slab` of k and `cols` columns per call. */
static void run_mul(sm_mul_fn *mul, const product *p, float *y, size_t n_groups, size_t ncols,
                    bool accumulate, size_t slab, size_t cols) {
    for (size_t c = 0; c < ncols; c += cols) {
        size_t n = ncols - c < cols ? ncols - c : cols;
        for (size_t k0 = 0; k0 < p->k; k0 += slab) {
            size_t k = p->k - k0 < slab ? p->k - k0 : slab;
            mul(y + c * LDY, LDY, packed_at(p, 0, k0), p->group_bytes, n_groups, k, x_at(p, c, k0),
                p->ldx, n, accumulate || k0 > 0, (sm_prefetch)(n_groups % 3));
        }
    }
}

/* The whole product by gemm, in slabs and pairs of groups. */
static void run_gemm(sm_gemm_fn *gemm, const product *p, float *y, size_t n_groups, size_t ncols,
                     bool accumulate, void *scratch) {
    for (size_t g = 0; g < n_groups; g += SM_GEMM_GROUPS) {
        size_t n = n_groups - g < SM_GEMM_GROUPS ? n_groups - g : SM_GEMM_GROUPS;
        for (size_t k0 = 0; k0 < p->k; k0 += SM_SLAB) {
            size_t k = p->k - k0 < SM_SLAB ? p->k - k0 : SM_SLAB;
            gemm(y + g * SM_GROUP, LDY, packed_at(p, g, k0), p->group_bytes, n, k, x_at(p, 0, k0),
                 p->ldx, ncols, accumulate || k0 > 0, n_groups % 2 ? NULL : packed_at(p, g, 0),
                 scratch);
        }
    }
}

/* Compares y with the reference over n_groups and ncols, and with y's start elsewhere. */
static void compare_product(const char *name, const product *p, const float *y, size_t n_groups,
                            size_t ncols, bool accumulate) {
    const float *expected = accumulate ? p->continued : p->fresh;
    for (size_t i = 0; i < MAX_COLS * LDY; i++) {
        size_t c = i / LDY, r = i % LDY;
        bool inside = c < ncols && r < n_groups * SM_GROUP;
        double tolerance = 0;
        const bool exact = p->rounded || !is_float_type(p->type);
        if (inside && !exact) {
            tolerance = (double)p->k * 0x1p-23 *
                        (p->magnitude[i] + (accumulate ? fabs((double)p->start[i]) : 0));
        }
        float want = inside ? expected[i] : p->start[i];
        bool good = same_bits(y[i], want) ||
                    (inside && !exact && close_to((double)y[i], (double)want, tolerance));
        if (!good) {
            fail_msg("%s: k %zu, groups %zu, columns %zu%s: y[%zu][%zu] is %a, not %a", name, p->k,
                     n_groups, ncols, accumulate ? ", accumulating" : "", c, r, (double)y[i],
                     (double)want);
        }
    }
}

/* All shapes of one kernel on one matrix. */
static void check_shapes(const kernel_entry *entry, const product *p) {
    float *y = take_floats(MAX_COLS * LDY);
    void *scratch = take(SM_GEMM_SCRATCH);
    const bool gemm = entry->kind == KIND_GEMM || entry->kind == KIND_GEMM_ROUNDED;
    static const size_t gemm_cols[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, MAX_COLS};
    const size_t n_cases = gemm ? sizeof gemm_cols / sizeof gemm_cols[0] : SM_MUL_COLS;
    for (size_t groups = 1; groups <= MAX_GROUPS; groups++) {
        for (size_t i = 0; i < n_cases; i++) {
            size_t ncols = gemm ? gemm_cols[i] : i + 1;
            if (ncols == MAX_COLS && groups % 2 == 0) {
                continue; /* 1, 3 and 5 groups have every kind of pair */
            }
            bool accumulate = (groups + ncols) % 2 != 0;
            memcpy(y, p->start, MAX_COLS * LDY * sizeof *y);
            if (gemm) {
                memset(scratch, 0xff, SM_GEMM_SCRATCH); /* nothing may be expected there */
                run_gemm((sm_gemm_fn *)entry->fn, p, y, groups, ncols, accumulate, scratch);
            } else {
                size_t slab = ncols % 3 == 0 ? (size_t)SM_SLAB : p->k; /* whole or in slabs */
                run_mul((sm_mul_fn *)entry->fn, p, y, groups, ncols, accumulate, slab, SM_MUL_COLS);
            }
            compare_product(entry->name, p, y, groups, ncols, accumulate);
        }
    }
    free_floats(y);
    free(scratch);
}

/* Lengths of k to try: one block, some, past a slab, past two. */
static size_t lengths_of(uint32_t type, size_t out[8]) {
    static const size_t blocks_32[] = {32, 64, 160, 512, 544, 1120};
    static const size_t blocks_64[] = {64, 192, 512, 576, 1088};
    static const size_t blocks_128[] = {128, 384, 512, 640, 1152};
    static const size_t blocks_256[] = {256, 512, 768, 1280};
    static const size_t any[] = {1, 2, 3, 17, 64, 511, 517, 1090};
    switch (sm_dtype_get(type)->block_size) {
    case 1:
        memcpy(out, any, sizeof any);
        return sizeof any / sizeof any[0];
    case 64:
        memcpy(out, blocks_64, sizeof blocks_64);
        return sizeof blocks_64 / sizeof blocks_64[0];
    case 128:
        memcpy(out, blocks_128, sizeof blocks_128);
        return sizeof blocks_128 / sizeof blocks_128[0];
    case 32:
        memcpy(out, blocks_32, sizeof blocks_32);
        return sizeof blocks_32 / sizeof blocks_32[0];
    default:
        memcpy(out, blocks_256, sizeof blocks_256);
        return sizeof blocks_256 / sizeof blocks_256[0];
    }
}

static void test_products(void **state) {
    const sm_kernels *table = level_of(state);
    size_t n_run = 0;
    for (size_t t = 0; t < N_TYPES; t++) {
        const uint32_t type = computed_types[t];
        size_t lengths[8];
        size_t n_lengths = lengths_of(type, lengths);
        const size_t n_forms = table->type[type].mul_rounded ? 2 : 1;
        for (size_t i = 0; i < 2 * n_forms * n_lengths; i++) {
            const bool rounded = i >= 2 * n_lengths;
            const size_t k = lengths[i / 2 % n_lengths];
            seed_random(1000 * type + i);
            product p = make_product(type, rounded, k, i % 2 == 0 ? RANDOM : EXTREME);
            for (size_t n = 0; n < n_kernels; n++) {
                const kernel_entry *e = &kernels[n];
                if (e->level == table->level && e->type == type &&
                    (e->kind == (rounded ? KIND_MUL_ROUNDED : KIND_MUL) ||
                     e->kind == (rounded ? KIND_GEMM_ROUNDED : KIND_GEMM))) {
                    check_shapes(e, &p);
                    n_run++;
                }
            }
            free_product(&p);
        }
    }
    print_message("%s: %zu products\n", sm_level_name(table->level), n_run);
}

static void check_one_chain(uint32_t type, bool rounded, sm_mul_fn *mul, sm_gemm_fn *gemm) {
    static const size_t lengths[] = {3, 64, 517, 1090};
    void *scratch = take(SM_GEMM_SCRATCH);
    float *y = take_floats(MAX_COLS * LDY), *want = take_floats(MAX_COLS * LDY);
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        seed_random(2000 + i);
        product p = make_product(type, rounded, lengths[i / 2], i % 2 ? RANDOM : EXTREME);
        const size_t bytes = MAX_COLS * LDY * sizeof *y;
        memcpy(want, p.start, bytes);
        run_mul(mul, &p, want, MAX_GROUPS, MAX_COLS, true, p.k, 1);
        for (size_t cols = 1; cols <= SM_MUL_COLS; cols++) {
            memcpy(y, p.start, bytes);
            run_mul(mul, &p, y, MAX_GROUPS, MAX_COLS, true, cols % 2 ? (size_t)SM_SLAB : p.k, cols);
            assert_memory_equal(y, want, bytes);
        }
        memcpy(y, p.start, bytes);
        run_gemm(gemm, &p, y, MAX_GROUPS, MAX_COLS, true, scratch);
        assert_memory_equal(y, want, bytes);
        free_product(&p);
    }
    free_floats(y);
    free_floats(want);
    free(scratch);
}

/* Within a level the bits depend neither on slabs nor on how columns are taken together
 * nor on the kernel. Quantized products follow from test_products; so the float types. */
static void test_one_chain(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t t = 0; t < N_TYPES; t++) {
        const uint32_t type = computed_types[t];
        const sm_type_kernels *kernel = &table->type[type];
        if (is_float_type(type)) {
            check_one_chain(type, false, kernel->mul, kernel->gemm);
        }
        assert_int_equal(kernel->mul_rounded != NULL, kernel->gemm_rounded != NULL);
        if (kernel->mul_rounded != NULL) {
            check_one_chain(type, true, kernel->mul_rounded, kernel->gemm_rounded);
        }
    }
}

/* ---- packing --------------------------------------------------------------------------------- */

/* mul over packed rows against native rows dequantized and multiplied in double. */
static void check_packing(uint32_t type, size_t k, size_t n_rows, data_style style) {
    const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    const size_t row_bytes = row_size(type, k);
    uint8_t *rows = take(n_rows * row_bytes);
    fill_rows(type, rows, n_rows, k, style);
    void *packed = pack_rows(type, rows, n_rows, k);
    float *x = take_floats(k), *w = take_floats(k);
    fill_activations(x, k, RANDOM);
    sm_act_block *q = take(k / 32 * sizeof *q);
    if (!is_float_type(type)) {
        ref->quantize(q, x, k);
        for (size_t i = 0; i < k; i++) {
            x[i] = q[i / 32].d * (float)q[i / 32].q[i % 32];
        }
    }
    float y[SM_GROUP];
    const void *input = is_float_type(type) ? (const void *)x : q;
    ref->type[type].mul(y, SM_GROUP, packed, 0, 1, k, input, k, 1, false, SM_PREFETCH_NEAR);
    for (size_t r = 0; r < SM_GROUP; r++) {
        double sum = 0, magnitude = 0;
        if (r < n_rows) {
            ref->type[type].dequantize(w, rows + r * row_bytes, k);
            for (size_t i = 0; i < k; i++) {
                sum += (double)w[i] * (double)x[i];
                magnitude += fabs((double)w[i] * (double)x[i]);
            }
            /* code * scale and minimum cancel: count what they are made of */
            magnitude = type == SM_DTYPE_Q2_K || type == SM_DTYPE_Q4_K || type == SM_DTYPE_Q5_K ||
                                type == SM_DTYPE_Q4_1 || type == SM_DTYPE_Q5_1
                            ? magnitude + (double)k * 65504 * 63 * 3 * (style == EXTREME)
                            : magnitude;
        }
        double tolerance = (double)(k + 8) * 0x1p-23 * (magnitude + 1e-3 * (r < n_rows));
        if (!close_to((double)y[r], sum, tolerance)) {
            fail_msg("%s: k %zu, rows %zu: row %zu is %a, not %a", sm_dtype_get(type)->name, k,
                     n_rows, r, (double)y[r], sum);
        }
    }
    free(rows);
    free(packed);
    free_floats(x);
    free_floats(w);
    free(q);
}

static void test_packing(void **state) {
    (void)state;
    seed_random(3);
    for (size_t t = 0; t < N_TYPES; t++) {
        size_t lengths[8];
        size_t n_lengths = lengths_of(computed_types[t], lengths);
        for (size_t i = 0; i < n_lengths; i++) {
            for (size_t n_rows = 1; n_rows <= SM_GROUP; n_rows++) {
                check_packing(computed_types[t], lengths[i], n_rows, RANDOM);
                check_packing(computed_types[t], lengths[i], n_rows, EXTREME);
            }
        }
    }
}

/* A slab of a group is a contiguous piece of it: packing from the middle of the rows gives
 * the same bytes. */
static void test_packing_slabs(void **state) {
    (void)state;
    const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    const size_t k = 3 * SM_SLAB;
    for (size_t t = 0; t < N_TYPES; t++) {
        const uint32_t type = computed_types[t];
        const size_t row_bytes = row_size(type, k);
        uint8_t *rows = take(SM_GROUP * row_bytes);
        fill_rows(type, rows, SM_GROUP, k, RANDOM);
        uint8_t *whole = pack_rows(type, rows, SM_GROUP, k);
        uint8_t *part = take(sm_packed_bytes(type, SM_SLAB));
        for (size_t k0 = 0; k0 < k; k0 += SM_SLAB) {
            ref->type[type].pack(part, rows + row_size(type, k0), row_bytes, SM_GROUP, SM_SLAB);
            assert_memory_equal(part, whole + sm_packed_bytes(type, k0),
                                sm_packed_bytes(type, SM_SLAB));
        }
        free(rows);
        free(whole);
        free(part);
    }
    assert_int_equal(sm_packed_bytes(SM_DTYPE_Q8_K, 256), 0);
    assert_int_equal(sm_packed_bytes(12345, 256), 0);
}

/* The bits that each type's pseudo-random rows stand for, as FNV-1a hashes. Recorded when
 * the decoders had been checked against files of the format's reference encoder. */
static void test_dequantize(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        uint32_t hash;
    } known[] = {{SM_DTYPE_F32, 0x89b1940e},     {SM_DTYPE_F16, 0x783b3f87},
                 {SM_DTYPE_BF16, 0x13987f28},    {SM_DTYPE_Q4_0, 0xabaf83c0},
                 {SM_DTYPE_Q4_1, 0xd50fa4e9},    {SM_DTYPE_Q5_0, 0xdb75bf0a},
                 {SM_DTYPE_Q5_1, 0x6909311c},    {SM_DTYPE_Q8_0, 0x6ebfcf1e},
                 {SM_DTYPE_Q2_K, 0x78238047},    {SM_DTYPE_Q3_K, 0x84b864a6},
                 {SM_DTYPE_Q4_K, 0x5ab28f68},    {SM_DTYPE_Q5_K, 0xaccd5f74},
                 {SM_DTYPE_Q6_K, 0x5a15021d},    {SM_DTYPE_IQ4_NL, 0x53fe58d8},
                 {SM_DTYPE_IQ4_XS, 0x8054d5e3},  {SM_DTYPE_IQ2_XXS, 0x1f8be70c},
                 {SM_DTYPE_IQ2_XS, 0x6f19ad8c},  {SM_DTYPE_IQ2_S, 0xa05bb4d2},
                 {SM_DTYPE_IQ3_XXS, 0x9e5d9ab7}, {SM_DTYPE_IQ3_S, 0xb7a7c714},
                 {SM_DTYPE_IQ1_S, 0x172e49bf},   {SM_DTYPE_IQ1_M, 0xa8338e3e},
                 {SM_DTYPE_NVFP4, 0x54f0a9fb},   {SM_DTYPE_Q1_0, 0x814e6a45},
                 {SM_DTYPE_Q2_0, 0x274ed5b8},    {SM_DTYPE_TQ1_0, 0x207e6e3d},
                 {SM_DTYPE_TQ2_0, 0x6dc9d50d},   {SM_DTYPE_F64, 0x562aa2a6},
                 {SM_DTYPE_MXFP4, 0x6811f6eb}};
    for (size_t t = 0; t < sizeof known / sizeof known[0]; t++) {
        const size_t k = 512;
        float y[512];
        void *row = take(row_size(known[t].type, k));
        seed_random(known[t].type);
        fill_rows(known[t].type, row, 1, k, RANDOM);
        sm_kernels_get(SM_LEVEL_SCALAR)->type[known[t].type].dequantize(y, row, k);
        uint32_t hash = 0x811c9dc5;
        for (size_t i = 0; i < sizeof y; i++) {
            hash = (hash ^ ((const uint8_t *)y)[i]) * 0x01000193;
        }
        if (hash != known[t].hash) {
            fail_msg("%s: 0x%08x", sm_dtype_get(known[t].type)->name, hash);
        }
        free(row);
    }
}

/* pack and dequantize of any level: the bytes of the reference. */
static void test_native(void **state) {
    const sm_kernels *table = level_of(state);
    const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    seed_random(6);
    for (size_t t = 0; t < N_TYPES; t++) {
        const uint32_t type = computed_types[t];
        size_t lengths[8];
        size_t n_lengths = lengths_of(type, lengths);
        for (size_t i = 0; i < n_lengths; i++) {
            const size_t k = lengths[i], row_bytes = row_size(type, k);
            const size_t bytes = sm_packed_bytes(type, k);
            uint8_t *rows = take(SM_GROUP * row_bytes), *got = take(bytes), *want = take(bytes);
            float *y = take_floats(k), *z = take_floats(k);
            fill_rows(type, rows, SM_GROUP, k, EXTREME);
            for (size_t n_rows = 1; n_rows <= SM_GROUP; n_rows++) {
                memset(got, 0xee, bytes);
                table->type[type].pack(got, rows, row_bytes, n_rows, k);
                ref->type[type].pack(want, rows, row_bytes, n_rows, k);
                assert_memory_equal(got, want, bytes);
            }
            table->type[type].dequantize(y, rows, k);
            ref->type[type].dequantize(z, rows, k);
            assert_memory_equal(y, z, k * sizeof *y);
            free(rows);
            free(got);
            free(want);
            free_floats(y);
            free_floats(z);
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static const size_t row_lengths[] = {1,  2,  3,  4,  7,  8,  9,  15,  16,  17,  31,
                                     32, 33, 48, 63, 64, 65, 80, 127, 255, 256, 1000};
#define N_LENGTHS (sizeof row_lengths / sizeof row_lengths[0])
#define MAX_ROW 1024

static void check_close(const char *what, size_t n, size_t i, double got, double want,
                        double tolerance) {
    if (!close_to(got, want, tolerance)) {
        fail_msg("%s: n %zu: element %zu is %a, not %a", what, n, i, got, want);
    }
}

/* The block that the text of kernels.h describes. */
static sm_act_block quantized_block(const float *x) {
    sm_act_block best = {.d = 0};
    float max = 0, least = 0;
    for (size_t i = 0; i < 32; i++) {
        max = fmaxf(max, fabsf(x[i]));
    }
    for (int j = 0; j < 8 && max >= 1e-30f; j++) {
        const float inv = (float)(127 - j) * (1 / max), fine = 32512 * (1 / max);
        const long ratio = lrint(32768.0 * (127 - j) / 127);
        int8_t q[32];
        long sum = 0;
        for (size_t i = 0; i < 32; i++) {
            q[i] = (int8_t)nearbyint((double)x[i] * (double)inv); /* exact, rounded once */
            const long y = lrint((double)x[i] * (double)fine);
            /* of j = 0 the ratio is 1, and nothing is left to round */
            const long z = (long)floor((double)(y * ratio) / 32768 + 0.5);
            const long beyond = z - 256 * (long)floor((double)z / 256 + 0.5);
            sum += beyond * beyond;
        }
        const float error = (float)sum * (1.0f / (float)((127 - j) * (127 - j)));
        if (j == 0 || error < least) {
            least = error;
            best.d = max * (1 / (float)(127 - j));
            memcpy(best.q, q, sizeof q);
        }
    }
    for (size_t i = 0; i < 32; i++) {
        best.nsum -= best.q[i];
        best.nsum16[i / 16] -= best.q[i];
    }
    best.nsum128 = best.nsum * 128;
    best.ds = best.d * (float)-best.nsum;
    best.ds16[0] = best.d * (float)-best.nsum16[0];
    best.ds16[1] = best.d * (float)-best.nsum16[1];
    return best;
}

static void test_quantize(void **state) {
    const sm_kernels *table = level_of(state);
    static const size_t lengths[] = {2048, 32, 256, 576, 96, 4096 + 2048 + 224};
    const size_t longest = lengths[5];
    float *x = take_floats(longest);
    sm_act_block *got = take((longest / 32 + 1) * sizeof *got);
    seed_random(4);
    for (size_t round = 0; round < 40; round++) {
        const size_t k = lengths[round / 8 % 6];
        memset(got, 0xee, (longest / 32 + 1) * sizeof *got);
        fill_activations(x, k, round % 2 ? RANDOM : EXTREME);
        for (size_t i = 0; round == 2 && i < k; i++) { /* exact halves of the step */
            x[i] = i % 32 == 0 ? 127 : (float)(random_bits() % 253) - 127 + 0.5f;
        }
        for (size_t i = 0; round == 4 && i < k; i++) { /* about the smallest that count */
            x[i] = random_float() * 2e-30f;
        }
        table->quantize(got, x, k);
        for (size_t b = 0; b < k / 32; b++) {
            sm_act_block want = quantized_block(x + 32 * b);
            assert_memory_equal(got[b].q, want.q, sizeof want.q);
            assert_true(got[b].d == want.d);
            assert_true(got[b].ds == want.ds);
            assert_true(got[b].ds16[0] == want.ds16[0] && got[b].ds16[1] == want.ds16[1]);
            assert_int_equal(got[b].nsum, want.nsum);
            assert_int_equal(got[b].nsum128, want.nsum128);
            assert_int_equal(got[b].nsum16[0], want.nsum16[0]);
            assert_int_equal(got[b].nsum16[1], want.nsum16[1]);
        }
        assert_int_equal(got[k / 32].q[0], (int8_t)0xee); /* nothing beyond */
    }
    for (size_t at = 0; at < 32 * 40; at += 7) { /* what is not finite shows */
        static const float bad[] = {NAN, INFINITY, -INFINITY};
        fill_activations(x, 32 * 40, RANDOM);
        x[at] = bad[at % 3];
        table->quantize(got, x, 32 * 40);
        for (size_t b = 0; b < 40; b++) {
            assert_true((b == at / 32) == (bool)isnan(got[b].d));
            assert_true((b == at / 32) == (bool)isnan(got[b].ds));
            assert_true((b == at / 32) == (bool)isnan(got[b].ds16[1]));
        }
    }
    free_floats(x);
    free(got);
}

static void test_round_bf16(void **state) {
    const sm_kernels *table = level_of(state);
    static const struct {
        float x;
        uint16_t rounded;
    } known[] = {
        {0, 0},
        {-0.0f, 0x8000},
        {1, 0x3f80},
        {-1.00390625f, 0xbf80}, /* half way: to even */
        {1.01171875f, 0x3f82},  /* half way: to even */
        {0x1.01fffep0f, 0x3f81},
        {FLT_MIN, 0x0080},
        {0x1.fefffep127f, 0x7f7f},
        {FLT_MAX, 0x7f80},
        {INFINITY, 0x7f80},
        {-INFINITY, 0xff80},
    };
    enum { N_KNOWN = sizeof known / sizeof known[0], LONGEST = 77 };
    float *x = take_floats(LONGEST);
    for (size_t n = 0; n <= LONGEST; n++) {
        uint16_t got[LONGEST + 1];
        for (size_t i = 0; i < n; i++) {
            const uint32_t bits = random_bits();
            memcpy(&x[i], &bits, sizeof bits);
            x[i] = isfinite(x[i]) ? x[i] : known[bits % N_KNOWN].x;
        }
        memset(got, 0xee, sizeof got);
        table->round_bf16(got, x, n);
        for (size_t i = 0; i < n; i++) {
            uint16_t want = sm_f32_to_bf16(x[i]);
            if (fabsf(x[i]) < FLT_MIN && (got[i] & 0x7fff) == 0) { /* subnormals may go */
                want &= 0x8000;
            }
            assert_int_equal(got[i], want);
        }
        assert_int_equal(got[n], 0xeeee);
    }
    for (size_t i = 0; i < N_KNOWN; i++) {
        uint16_t got;
        table->round_bf16(&got, &known[i].x, 1);
        assert_int_equal(got, known[i].rounded);
        assert_int_equal(sm_f32_to_bf16(known[i].x), known[i].rounded);
    }
    x[0] = NAN;
    uint16_t not_a_number;
    table->round_bf16(&not_a_number, x, 1);
    assert_true(isnan(sm_bf16_to_f32(not_a_number)));
    free_floats(x);
}

static void test_rms_norm(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        float *x = take_floats(n), *w = take_floats(n), *y = take_floats(n), *z = take_floats(n);
        for (int round = 0; round < 4; round++) {
            double sum = 0;
            const float size = round == 3 ? 1e15f : 1;
            for (size_t i = 0; i < n; i++) {
                x[i] = round == 2 ? 0 : random_float() * 4 * size;
                w[i] = random_float();
                sum += (double)x[i] * (double)x[i];
            }
            const float *weight = round == 1 ? NULL : w;
            double scale = 1 / sqrt(sum / (double)n + (double)1e-5f);
            table->rms_norm(y, x, weight, n, 1e-5f);
            for (size_t i = 0; i < n; i++) { /* 2e-6 relative */
                double want = (double)x[i] * scale * (weight ? (double)w[i] : 1);
                check_close("rms_norm", n, i, (double)y[i], want, 2e-6 * fabs(want));
            }
            memcpy(z, x, n * sizeof *x);
            table->rms_norm(z, z, weight, n, 1e-5f);
            assert_memory_equal(z, y, n * sizeof *y);
        }
        free_floats(x);
        free_floats(w);
        free_floats(y);
        free_floats(z);
    }
}

/* Also of rows whose mean is far from zero. */
static void test_layer_norm(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        float *x = take_floats(n), *w = take_floats(n), *y = take_floats(n), *z = take_floats(n);
        float *b = take_floats(n);
        for (int round = 0; round < 5; round++) {
            double sum = 0, squares = 0;
            for (size_t i = 0; i < n; i++) {
                x[i] = round == 2 ? 3 : random_float() * 4 + (round == 3 ? 100 : 0);
                w[i] = random_float();
                b[i] = random_float();
                sum += (double)x[i];
            }
            const double mean = sum / (double)n;
            for (size_t i = 0; i < n; i++) {
                squares += ((double)x[i] - mean) * ((double)x[i] - mean);
            }
            const float *weight = round == 1 ? NULL : w, *bias = round == 4 ? NULL : b;
            const double scale = 1 / sqrt(squares / (double)n + (double)1e-5f);
            table->layer_norm(y, x, weight, bias, n, 1e-5f);
            for (size_t i = 0; i < n; i++) {
                const double normed = ((double)x[i] - mean) * scale;
                const double want =
                    normed * (weight ? (double)w[i] : 1) + (bias ? (double)b[i] : 0);
                /* a mean of 100 is known to its last bits */
                check_close("layer_norm", n, i, (double)y[i], want,
                            (round == 3 ? 2e-5 : 4e-6) * (1 + fmin(scale, 50)));
            }
            memcpy(z, x, n * sizeof *x);
            table->layer_norm(z, z, weight, bias, n, 1e-5f);
            assert_memory_equal(z, y, n * sizeof *y);
        }
        free_floats(x);
        free_floats(w);
        free_floats(b);
        free_floats(y);
        free_floats(z);
    }
}

/* The activations that are no function of up alone: the value of each, and its slope. */
static double gelu_erf(double x) {
    return 0.5 * x * erfc(-x / sqrt(2));
}
static double gelu_erf_slope(double x) {
    return 0.5 * erfc(-x / sqrt(2)) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI);
}
static double relu2(double x) {
    return x > 0 ? x * x : 0;
}
static double relu2_slope(double x) {
    return x > 0 ? 2 * x : 0;
}
static double silu(double x) {
    return x / (1 + exp(-x));
}
static double silu_slope(double x) {
    const double s = 1 / (1 + exp(-x));
    return s * (1 + x * (1 - s));
}
static double gelu(double x) {
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double gelu_slope(double x) {
    const double c = sqrt(2 / M_PI), s = 1 / (1 + exp(-2 * c * (x + 0.044715 * x * x * x)));
    return s + 2 * x * s * (1 - s) * c * (1 + 3 * 0.044715 * x * x);
}

typedef struct activation {
    const char *name;
    sm_silu_mul_fn *mul;
    sm_silu_mul_grad_fn *grad;
    double (*value)(double x), (*slope)(double x);
} activation;

/* With up and without, in place and not, of what lies far outside too; NaN shows. */
static void check_activation(const activation *a, size_t n, float *v[5]) {
    float *x = v[0], *up = v[1], *dy = v[2], *y = v[3], *dup = v[4];
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float() * (i % 3 ? 3 : 12);
        up[i] = random_float();
        dy[i] = random_float();
    }
    x[0] = n % 2 ? 30 : -30;
    y[n] = dup[n] = 99;
    for (int with = 0; with < 2; with++) {
        const float *u = with ? up : NULL;
        a->mul(y, x, u, n);
        for (size_t i = 0; i < n; i++) {
            const double g = (double)x[i], factor = u ? (double)u[i] : 1;
            check_close(a->name, n, i, (double)y[i], a->value(g) * factor,
                        2e-6 * fabs(factor) * (1e-3 + fabs(g) * fmin(1, exp(g))));
        }
        memcpy(dup, x, n * sizeof *x);
        a->mul(dup, dup, u, n);
        assert_memory_equal(dup, y, n * sizeof *y);
    }
    assert_true(y[n] == 99 && dup[n] == 99);
    x[n - 1] = NAN;
    a->mul(y, x, NULL, n);
    assert_true(isnan(y[n - 1]));
    x[n - 1] = 0.5f;
    for (size_t i = 0; i < n; i++)
        dup[i] = 7;
    float *again = v[0] + n + 1, *dgate = v[1] + n + 1;
    a->grad(dgate, NULL, again, dy, x, NULL, n);
    a->mul(y, x, NULL, n);
    for (size_t i = 0; i < n; i++) {
        const double g = (double)x[i], d = (double)dy[i];
        check_close(a->name, n, i, (double)again[i], a->value(g), 4e-6 * (1 + fabs(g)));
        check_close(a->name, n, i, (double)dgate[i], d * a->slope(g), 1e-5 * (1 + fabs(g)));
    }
    a->grad(dgate, dup, again, dy, x, up, n);
    for (size_t i = 0; i < n; i++) {
        const double g = (double)x[i], d = (double)dy[i], u = (double)up[i];
        check_close(a->name, n, i, (double)again[i], a->value(g) * u, 4e-6 * (1 + fabs(g)));
        check_close(a->name, n, i, (double)dup[i], d * a->value(g), 4e-6 * (1 + fabs(g)));
        check_close(a->name, n, i, (double)dgate[i], d * u * a->slope(g), 1e-5 * (1 + fabs(g)));
    }
}

static void test_activations(void **state) {
    const sm_kernels *k = level_of(state);
    const activation all[] = {
        {"silu", k->silu_mul, k->silu_mul_grad, silu, silu_slope},
        {"gelu", k->gelu_mul, k->gelu_mul_grad, gelu, gelu_slope},
        {"gelu_erf", k->gelu_erf_mul, k->gelu_erf_mul_grad, gelu_erf, gelu_erf_slope},
        {"relu2", k->relu2_mul, k->relu2_mul_grad, relu2, relu2_slope}};
    float *v[5];
    for (size_t i = 0; i < 5; i++)
        v[i] = take_floats(2 * MAX_ROW);
    for (size_t l = 0; l < N_LENGTHS; l++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            check_activation(&all[i], row_lengths[l], v);
    for (size_t i = 0; i < 5; i++)
        free_floats(v[i]);
}

/* add, scale, silu_mul, gelu_mul, soft_cap, add_slope, clamp: element by element, in place and
 * not. */
static void test_elementwise(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        float *a = take_floats(n), *b = take_floats(n), *y = take_floats(n), *z = take_floats(n);
        for (size_t i = 0; i < n; i++) {
            a[i] = random_float() * 20;
            b[i] = random_float() * 20;
        }
        a[0] = n % 2 ? 1000 : -1000; /* exp leaves its range */

        table->add(y, a, b, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(y[i] == a[i] + b[i]);
        }
        memcpy(z, a, n * sizeof *a);
        table->add(z, z, b, n);
        assert_memory_equal(z, y, n * sizeof *y);
        memcpy(z, b, n * sizeof *b);
        table->add(z, a, z, n);
        assert_memory_equal(z, y, n * sizeof *y);

        table->scale(y, a, 0.3f, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(y[i] == 0.3f * a[i]);
        }
        memcpy(z, a, n * sizeof *a);
        table->scale(z, z, 0.3f, n);
        assert_memory_equal(z, y, n * sizeof *y);

        table->silu_mul(y, a, b, n);
        for (size_t i = 0; i < n; i++) { /* 1e-6 relative; below exp's range absolute */
            double x = (double)a[i], want = x / (1 + exp(-x)) * (double)b[i];
            check_close("silu_mul", n, i, (double)y[i], want, 1e-6 * fabs(want) + 1e-33);
        }
        memcpy(z, a, n * sizeof *a);
        table->silu_mul(z, z, b, n);
        assert_memory_equal(z, y, n * sizeof *y);

        table->gelu_mul(y, a, b, n);
        for (size_t i = 0; i < n; i++) { /* exp multiplies the error of its argument */
            double x = (double)a[i], in = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
            double gate = 1 / (1 + exp(-2 * in)), want = x * gate * (double)b[i];
            check_close("gelu_mul", n, i, (double)y[i], want,
                        1e-6 * fabs(want) * (1 + fabs(in) * (1 - gate)) + 1e-33);
        }
        memcpy(z, a, n * sizeof *a);
        table->gelu_mul(z, z, b, n);
        assert_memory_equal(z, y, n * sizeof *y);

        table->soft_cap(y, a, n, 0.5f, 7);
        for (size_t i = 0; i < n; i++)
            check_close("soft_cap", n, i, (double)y[i], 7 * tanh(0.5 * (double)a[i] / 7), 7e-6);
        memcpy(z, a, n * sizeof *a);
        table->soft_cap(z, z, n, 0.5f, 7);
        assert_memory_equal(z, y, n * sizeof *y);

        table->add_slope(y, a, n, 0.3f, -0.7f, -4097);
        for (size_t i = 0; i < n; i++) { /* the same bits on every level */
            const float scaled = 0.3f * a[i], bias = -0.7f * (float)((double)i - 4097);
            assert_true(y[i] == scaled + bias);
        }
        memcpy(z, a, n * sizeof *a);
        table->add_slope(z, z, n, 0.3f, -0.7f, -4097);
        assert_memory_equal(z, y, n * sizeof *y);

        if (n > 2)
            a[n / 2] = 9;
        table->clamp(y, a, n, 9);
        for (size_t i = 0; i < n; i++)
            assert_true(y[i] == (a[i] < -9 ? -9 : a[i] > 9 ? 9 : a[i]));
        memcpy(z, a, n * sizeof *a);
        table->clamp(z, z, n, 9);
        assert_memory_equal(z, y, n * sizeof *y);
        memcpy(z, b, n * sizeof *b);
        table->clamp_grad(z, a, n, 9);
        for (size_t i = 0; i < n; i++)
            assert_true(z[i] == (fabsf(a[i]) > 9 ? 0 : b[i]));

        static const float bad[] = {NAN, INFINITY, -INFINITY};
        for (size_t i = 0; i < n; i += 5) /* no cap hides damage */
            z[i] = bad[i / 5 % 3];
        table->soft_cap(z, z, n, 0.5f, 7);
        for (size_t i = 0; i < n; i++)
            assert_true((i % 5 == 0) == (bool)isnan(z[i]));
        for (size_t i = 0; i < n; i++)
            z[i] = i % 5 ? 100 : bad[i / 5 % 3];
        table->clamp(z, z, n, 9);
        for (size_t i = 0; i < n; i++)
            assert_true(i % 5 ? z[i] == 9 : (bool)isnan(z[i]));
        free_floats(a);
        free_floats(b);
        free_floats(y);
        free_floats(z);
    }
}

static void test_rope(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t n_rot = 2; n_rot <= 256; n_rot += n_rot < 40 ? 2 : 24) {
        const size_t half = n_rot / 2;
        float *x = take_floats(n_rot), *y = take_floats(n_rot);
        float *c = take_floats(half), *s = take_floats(half);
        for (size_t i = 0; i < half; i++) {
            double angle = (double)random_float() * 3;
            c[i] = (float)cos(angle);
            s[i] = (float)sin(angle);
        }
        for (int neox = 0; neox < 2; neox++) {
            for (size_t i = 0; i < n_rot; i++) {
                x[i] = y[i] = random_float() * 4;
            }
            table->rope(y, c, s, n_rot, neox != 0);
            for (size_t i = 0; i < half; i++) { /* the formula of kernels.h, exactly */
                size_t a = neox ? i : 2 * i, b = neox ? i + half : 2 * i + 1;
                assert_true(y[a] == fmaf(x[a], c[i], -(x[b] * s[i])));
                assert_true(y[b] == fmaf(x[a], s[i], x[b] * c[i]));
            }
        }
        free_floats(x);
        free_floats(y);
        free_floats(c);
        free_floats(s);
    }
}

static void test_exp(void **state) {
    const sm_kernels *table = level_of(state);
    float s[16], m, l;
    for (size_t i = 0; i < 60000; i += 15) { /* s[0] is the maximum, so s[j] = exp(s[j]) */
        s[0] = 0;
        for (size_t j = 1; j < 16; j++) {
            s[j] = -90 * (float)(i + j) / 60000;
        }
        float x[16];
        memcpy(x, s, sizeof s);
        table->softmax_block(s, 16, 1, &m, &l);
        for (size_t j = 0; j < 16; j++) {
            double want = exp((double)x[j]);
            if (x[j] < -87.3f) {
                assert_true(s[j] == 0);
            } else if (x[j] >= -87) {
                check_close("exp", 16, j, (double)s[j], want, 2e-7 * want);
            }
        }
    }
    static const float large[] = {0, 1, 10, 40, 80, 87, 88};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        double want = exp((double)large[i]);
        check_close("sum_exp", 1, 0, table->sum_exp(&large[i], 1, 0), want, 2e-7 * want);
    }
    const float beyond[] = {89, 1000, 3e38f, -1000, -3e38f, -INFINITY};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        double e = table->sum_exp(&beyond[i], 1, 0);
        assert_true(beyond[i] > 0 ? e >= 1.65e38 : e == 0);
    }
}

static void test_softmax(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t n = 1; n <= SM_KV_BLOCK; n++) {
        float s[SM_KV_BLOCK + 16], x[SM_KV_BLOCK], m, l;
        const float size = n % 3 == 0 ? 1000 : 10, scale = n % 5 == 0 ? -0.125f : 0.125f;
        double max = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = s[i] = random_float() * size;
            max = fmax(max, (double)(scale * x[i]));
        }
        for (size_t i = n; i < SM_KV_BLOCK + 16; i++) {
            s[i] = 77;
        }
        table->softmax_block(s, n, scale, &m, &l);
        /* roundings of scale * s - m, then of exp */
        const double relative = 1e-6 + 0x1p-22 * (double)size;
        for (size_t i = 0; i < n; i++) {
            double want = exp((double)scale * (double)x[i] - max);
            check_close("softmax_block", n, i, (double)s[i], want, relative * want + 1e-37);
            sum += (double)s[i];
        }
        const size_t n16 = (n + 15) / 16 * 16;
        for (size_t i = n; i < SM_KV_BLOCK + 16; i++) {
            assert_true(s[i] == (i < n16 ? 0 : 77));
        }
        assert_true(m == (float)max);
        check_close("softmax_block sum", n, 0, (double)l, sum, 1e-5 * sum);
    }
}

/* Tokens outside a window are -INFINITY: they weigh nothing, and the others as without them. */
static void test_softmax_window(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t n = 2; n <= SM_KV_BLOCK; n++) {
        float s[SM_KV_BLOCK], alone[SM_KV_BLOCK], m, l, m_alone, l_alone;
        const size_t out = 1 + random_bits() % (n - 1);
        for (size_t i = 0; i < SM_KV_BLOCK; i++) {
            s[i] = i < out ? -INFINITY : random_float() * 100;
        }
        memcpy(alone, s + out, (n - out) * sizeof *s);
        table->softmax_block(s, n, 0.25f, &m, &l);
        table->softmax_block(alone, n - out, 0.25f, &m_alone, &l_alone);
        assert_true(m == m_alone);
        check_close("softmax_block sum", n, 0, (double)l, (double)l_alone, 1e-5 * (double)l_alone);
        for (size_t i = 0; i < n; i++) {
            const double want = i < out ? 0 : (double)alone[i - out];
            check_close("softmax_block window", n, i, (double)s[i], want, 1e-6 * want);
        }
    }
}

static void test_merge(void **state) {
    const sm_kernels *table = level_of(state);
    for (size_t n = 8; n <= 256; n += 8) {
        float *O = take_floats(n), *o = take_floats(n);
        double *want = take(n * sizeof *want);
        float M = -INFINITY, L = 0;
        double max = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) {
            O[i] = 0;
            want[i] = 0;
        }
        for (int block = 0; block < 6; block++) {
            float m = random_float() * (block == 4 ? 300 : 5), l = 1 + random_float() * 0.5f;
            double next = fmax(max, (double)m);
            double a = exp(max - next), b = exp((double)m - next);
            for (size_t i = 0; i < n; i++) {
                o[i] = random_float();
                want[i] = want[i] * a + (double)o[i] * b;
            }
            sum = sum * a + (double)l * b;
            max = next;
            table->attn_merge(O, &M, &L, o, m, l, n);
            for (size_t i = 0; i < n; i++) { /* of values of at most 6 */
                check_close("attn_merge", n, i, (double)O[i], want[i], 6e-6);
            }
            assert_true(M == (float)max);
            check_close("attn_merge", n, 0, (double)L, sum, 4e-6 * sum);
        }
        free_floats(O);
        free_floats(o);
        free(want);
    }
}

static void test_argmax(void **state) {
    const sm_kernels *table = level_of(state);
    float *x = take_floats(MAX_ROW);
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        for (size_t round = 0; round < 20; round++) {
            for (size_t i = 0; i < n; i++) { /* few values: many ties */
                x[i] = (float)(int)(random_bits() % 7) - 9;
                if (round >= 10 && random_bits() % 4 == 0) {
                    x[i] = round % 2 ? NAN : -INFINITY;
                }
            }
            size_t want = n;
            for (size_t i = 0; i < n; i++) {
                if (!isnan(x[i]) && (want == n || x[i] > x[want])) {
                    want = i;
                }
            }
            assert_int_equal(table->argmax(x, n), want == n ? 0 : want);
        }
        for (size_t i = 0; i < n; i++) {
            x[i] = NAN;
        }
        assert_int_equal(table->argmax(x, n), 0);
        x[n - 1] = -INFINITY;
        assert_int_equal(table->argmax(x, n), n - 1);
    }
    free_floats(x);
}

static void test_sum_exp(void **state) {
    const sm_kernels *table = level_of(state);
    float *x = take_floats(MAX_ROW);
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        double want = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = random_float() * 10;
            want += exp((double)(x[i] - 9.5f));
        }
        double got = table->sum_exp(x, n, 9.5f);
        check_close("sum_exp", n, 0, got, want, 5e-7 * want);
    }
    free_floats(x);
}

/* What selects is the same on every level, bit for bit; a guard behind what is written stays. */
static void test_selection(void **state) {
    const sm_kernels *table = level_of(state), *ref = sm_kernels_get(SM_LEVEL_SCALAR);
    float *x = take_floats(MAX_ROW), *got = take_floats(MAX_ROW + 1);
    uint32_t *index = malloc((MAX_ROW + 1) * sizeof *index);
    uint32_t *want = malloc((MAX_ROW + 1) * sizeof *want);
    uint32_t mask[MAX_ROW / 32 + 1];
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        for (size_t i = 0; i < n; i++) { /* few values: many ties */
            x[i] = random_bits() % 5 == 0 ? -INFINITY : (float)(int)(random_bits() % 100) - 50;
        }
        for (size_t i = 0; i <= n / 32; i++) {
            mask[i] = (uint32_t)random_bits();
        }
        for (size_t block = 64; block <= 128; block *= 2) {
            const size_t n_blocks = (n + block - 1) / block;
            float *most = take_floats(n_blocks);
            ref->block_max(most, x, n, block);
            got[n_blocks] = 7;
            table->block_max(got, x, n, block);
            assert_memory_equal(got, most, n_blocks * sizeof *got);
            assert_true(got[n_blocks] == 7);
            free_floats(most);
        }
        const float limits[] = {-INFINITY, -51, -3, 49, 50};
        for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
            const size_t m = ref->select(want, x, n, limits[k]);
            index[m] = 7;
            assert_int_equal(table->select(index, x, n, limits[k]), m);
            assert_memory_equal(index, want, m * sizeof *index);
            assert_int_equal(index[m], 7);
        }
        got[n] = 7;
        table->mask(got, x, mask, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(got[i] == (mask[i / 32] >> (i % 32) & 1 ? x[i] : -INFINITY));
        }
        assert_true(got[n] == 7);
    }
    free(index);
    free(want);
    free_floats(x);
    free_floats(got);
}

static void test_weigh(void **state) {
    const sm_kernels *table = level_of(state);
    float *x = take_floats(MAX_ROW), *e = take_floats(MAX_ROW + 1);
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        double want = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = i % 7 == 3 ? -INFINITY : random_float() * 10;
            want += exp(((double)x[i] - 10) * 0.5);
        }
        e[n] = 7;
        check_close("weigh", n, 0, table->weigh(e, x, n, 10, 0.5f), want, 1e-6 * want);
        assert_true(e[n] == 7);
        for (size_t i = 0; i < n; i++) {
            const double w = exp(((double)x[i] - 10) * 0.5);
            check_close("weigh", n, i, (double)e[i], w, 2e-6 * w);
        }
        assert_true(table->weigh(e, x, n, 10, 1) == table->sum_exp(x, n, 10));
    }
    free_floats(x);
    free_floats(e);
}

/* Gradients of row operations against their formulas in double; a guard behind each row stays. */
static void test_grad_rows(void **state) {
    const sm_kernels *table = level_of(state);
    enum { ROWS = 7 };
    float *v[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        v[i] = take_floats(MAX_ROW);
    }
    for (size_t l = 0; l < N_LENGTHS; l++) {
        const size_t n = row_lengths[l];
        float *x = v[0], *dy = v[1], *w = v[2], *out = v[3], *other = v[4], *start = v[5],
              *third = v[6];
        for (size_t i = 0; i < n; i++) {
            x[i] = 3 * random_float();
            dy[i] = random_float();
            w[i] = 1 + random_float();
            start[i] = random_float();
        }
        out[n] = other[n] = third[n] = 99;

        double squares = 0, along = 0, dot = 0;
        for (size_t i = 0; i < n; i++) {
            squares += (double)x[i] * (double)x[i];
            along += (double)x[i] * (double)dy[i] * (double)w[i];
            dot += (double)x[i] * (double)dy[i];
        }
        check_close("dot", n, 0, (double)table->dot(x, dy, n), dot, 1e-6 * 3 * (double)n);
        const double r = 1 / sqrt(squares / (double)n + 1e-5);
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            memcpy(out, start, n * sizeof *out);
            const float got = table->rms_norm_grad(out, dy, x, w, n, 1e-5f, accumulate);
            check_close("rms_norm_grad r", n, 0, (double)got, r, 1e-6 * r);
            for (size_t i = 0; i < n; i++) {
                const double g =
                    r * ((double)w[i] * (double)dy[i] - (double)x[i] * r * r * along / (double)n);
                check_close("rms_norm_grad", n, i, (double)out[i],
                            g + (accumulate ? (double)start[i] : 0), 4e-6 * (r + 1));
            }
        }
        table->silu_mul_grad(out, other, third, dy, x, w, n);
        for (size_t i = 0; i < n; i++) {
            const double g = (double)x[i], s = 1 / (1 + exp(-g)), d = (double)dy[i];
            check_close("silu_mul_grad y", n, i, (double)third[i], g * s * (double)w[i], 2e-6);
            check_close("silu_mul_grad up", n, i, (double)other[i], d * g * s, 2e-6);
            check_close("silu_mul_grad gate", n, i, (double)out[i],
                        d * (double)w[i] * s * (1 + g * (1 - s)), 4e-6);
        }
        table->gelu_mul_grad(out, other, third, dy, x, w, n);
        for (size_t i = 0; i < n; i++) {
            const double g = (double)x[i], d = (double)dy[i], c = sqrt(2 / M_PI);
            const double s = 1 / (1 + exp(-2 * c * (g + 0.044715 * g * g * g)));
            check_close("gelu_mul_grad y", n, i, (double)third[i], g * s * (double)w[i], 4e-6);
            check_close("gelu_mul_grad up", n, i, (double)other[i], d * g * s, 4e-6);
            check_close("gelu_mul_grad gate", n, i, (double)out[i],
                        d * (double)w[i] *
                            (s + 2 * g * s * (1 - s) * c * (1 + 3 * 0.044715 * g * g)),
                        8e-6);
        }
        memcpy(out, dy, n * sizeof *out);
        table->soft_cap_grad(out, x, n, 0.5f, 9);
        for (size_t i = 0; i < n; i++)
            check_close("soft_cap_grad", n, i, (double)out[i],
                        (double)dy[i] * 0.5 * (1 - (double)x[i] * (double)x[i] / 81), 4e-6);
        memcpy(out, x, n * sizeof *out);
        memcpy(other, dy, n * sizeof *out);
        table->softmax_grad(out, other, n, 0.25f, 0.5f, 0.125f);
        for (size_t i = 0; i < n; i++) {
            const double p = exp(0.25 * (double)x[i] - 0.5);
            check_close("softmax_grad p", n, i, (double)out[i], p, 1e-6);
            check_close("softmax_grad ds", n, i, (double)other[i],
                        0.25 * p * ((double)dy[i] - 0.125), 1e-6);
        }
        memcpy(out, x, n * sizeof *out);
        out[0] = -200; /* nothing is left of it */
        table->exp_scale(out, 1.5f, 2, n);
        for (size_t i = 0; i < n; i++) {
            check_close("exp_scale", n, i, (double)out[i], i ? 2 * exp((double)(x[i] - 1.5f)) : 0,
                        1e-5);
        }
        double mean = 0, centered = 0, gradient = 0, inner = 0;
        for (size_t i = 0; i < n; i++)
            mean += (double)x[i] / (double)n;
        for (int with = 0; with < 2; with++) {
            centered = gradient = inner = 0;
            for (size_t i = 0; i < n; i++) {
                const double z = (double)x[i] - mean, d = (double)dy[i] * (with ? (double)w[i] : 1);
                centered += z * z;
                gradient += d / (double)n;
                inner += d * z / (double)n;
            }
            const double ln = 1 / sqrt(centered / (double)n + 1e-5);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                float m;
                memcpy(out, start, n * sizeof *out);
                const float got =
                    table->layer_norm_grad(out, dy, x, with ? w : NULL, n, 1e-5f, accumulate, &m);
                check_close("layer_norm_grad r", n, 0, (double)got, ln, 2e-6 * ln);
                check_close("layer_norm_grad m", n, 0, (double)m, mean, 2e-6);
                for (size_t i = 0; i < n; i++) {
                    const double d = (double)dy[i] * (with ? (double)w[i] : 1);
                    const double g = ln * (d - gradient - ((double)x[i] - mean) * ln * ln * inner);
                    check_close("layer_norm_grad", n, i, (double)out[i],
                                g + (accumulate ? (double)start[i] : 0), 1e-5 * (ln + 1));
                }
            }
        }
        memcpy(out, start, n * sizeof *out);
        table->rms_norm_grad(out, dy, x, NULL, n, 1e-5f, false);
        for (size_t i = 0; i < n; i++) {
            const double g = r * ((double)dy[i] - (double)x[i] * r * r * dot / (double)n);
            check_close("rms_norm_grad of ones", n, i, (double)out[i], g, 4e-6 * (r + 1));
        }
        memcpy(out, start, n * sizeof *out);
        table->add_centered(out, x, w, 1.25f, 0.75f, n);
        for (size_t i = 0; i < n; i++) {
            check_close("add_centered", n, i, (double)out[i],
                        (double)start[i] + 0.75 * (double)x[i] * ((double)w[i] - 1.25), 1e-6);
        }
        for (int with = 0; with < 2; with++) {
            memcpy(out, start, n * sizeof *out);
            table->add_product(out, x, with ? w : NULL, 0.75f, n);
            for (size_t i = 0; i < n; i++) {
                check_close("add_product", n, i, (double)out[i],
                            (double)start[i] + 0.75 * (double)x[i] * (with ? (double)w[i] : 1),
                            1e-6);
            }
        }
        assert_true(out[n] == 99 && other[n] == 99 && third[n] == 99);
    }
    for (size_t i = 0; i < ROWS; i++) {
        free_floats(v[i]);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

static const size_t head_dims[] = {8, 16, 24, 32, 64, 80, 128, 256};
#define N_HEAD_DIMS (sizeof head_dims / sizeof head_dims[0])

/* A cache of one kv head: tiles of K or V, and their queries. */
typedef enum cache_side { K_SIDE, V_SIDE } cache_side;

static size_t kv_index(cache_side side, size_t lane, size_t d, size_t dim) {
    return side == K_SIDE ? 16 * d + lane : lane * dim + d;
}

/* Bytes of a tile's codes. */
static size_t kv_codes(uint32_t type, size_t dim) {
    return type == SM_KV_Q8_0 ? 16 * dim : type == SM_KV_Q5_0 ? 10 * dim : 8 * dim;
}

/* Code of element d of a tile's token, for types with scales. */
static int kv_code(uint32_t type, cache_side side, const uint8_t *tile, size_t lane, size_t d,
                   size_t dim) {
    /* as q8_0 has them: vectors of four bytes for each of 16 tokens, or for each element */
    const size_t vector = side == K_SIDE ? d / 4 : lane / 4;
    const size_t in_vector = side == K_SIDE ? 4 * lane + d % 4 : 4 * d + lane % 4;
    const size_t size = side == K_SIDE ? 64 : 4 * dim;
    if (type == SM_KV_Q8_0) {
        return (int8_t)tile[vector * size + in_vector];
    }
    const unsigned both = tile[vector / 2 * size + in_vector];
    const unsigned low = vector % 2 == 0 ? both % 16 : both / 16;
    const size_t bit = vector * size + in_vector;
    switch (type) {
    case SM_KV_Q4_0:
        return (int)low - 8;
    case SM_KV_Q5_0:
        return (int)(low + 16 * (tile[8 * dim + bit / 8] >> bit % 8 & 1u)) - 16;
    default:
        return SM_IQ4_VALUES[low];
    }
}

/* Element d of token t. */
static float kv_load(uint32_t type, cache_side side, const void *tiles, size_t t, size_t d,
                     size_t dim) {
    const uint8_t *tile = (const uint8_t *)tiles + t / 16 * sm_kv_tile_bytes(type, dim);
    const size_t lane = t % 16, i = kv_index(side, lane, d, dim);
    switch (type) {
    case SM_KV_F32:
        return ((const float *)tile)[i];
    case SM_KV_F16:
        return sm_f16_to_f32(((const uint16_t *)tile)[i]);
    case SM_KV_BF16:
        return sm_bf16_to_f32(((const uint16_t *)tile)[i]);
    default: {
        uint16_t scale;
        memcpy(&scale, tile + kv_codes(type, dim) + 2 * (d / 32 * 16 + lane), sizeof scale);
        return sm_f16_to_f32(scale) * (float)kv_code(type, side, tile, lane, d, dim);
    }
    }
}

/* The weight type whose blocks a cache type stores; SM_DTYPE_COUNT: none. */
static uint32_t block_type(uint32_t type) {
    return type == SM_KV_Q4_0     ? SM_DTYPE_Q4_0
           : type == SM_KV_Q5_0   ? SM_DTYPE_Q5_0
           : type == SM_KV_IQ4_NL ? SM_DTYPE_IQ4_NL
                                  : SM_DTYPE_COUNT;
}

/* What the cache should hold after storing x[d]; blocks: x quantized. */
static float kv_round(uint32_t type, const float *x, const void *in, size_t d) {
    const sm_act_block *blocks = in;
    float y[256];
    if (block_type(type) != SM_DTYPE_COUNT) {
        sm_kernels_get(SM_LEVEL_SCALAR)->type[block_type(type)].dequantize(y, in, d / 32 * 32 + 32);
        return y[d];
    }
    switch (type) {
    case SM_KV_F32:
        return x[d];
    case SM_KV_F16:
        return sm_f16_to_f32(sm_f32_to_f16(fmaxf(-65504, fminf(65504, x[d]))));
    case SM_KV_BF16:
        return sm_bf16_to_f32(sm_f32_to_bf16(x[d]));
    default:
        return sm_f16_to_f32(sm_f32_to_f16(fminf(65504, blocks[d / 32].d))) *
               (float)blocks[d / 32].q[d % 32];
    }
}

/* One vector as blocks, zeros past its end. */
static void kv_quantize(sm_act_block *blocks, const float *x, size_t dim) {
    float wide[256] = {0};
    memcpy(wide, x, dim * sizeof *x);
    sm_kernels_get(SM_LEVEL_SCALAR)->quantize(blocks, wide, SM_KV_SCALES(dim) * 32);
}

/* As the store kernels take it; blocks has room for it. */
static const void *kv_input(uint32_t type, const float *x, sm_act_block *blocks, size_t dim) {
    const uint32_t dtype = block_type(type);
    float wide[256] = {0};
    if (type == SM_KV_Q8_0) {
        kv_quantize(blocks, x, dim);
    } else if (dtype != SM_DTYPE_COUNT) {
        memcpy(wide, x, dim * sizeof *x);
        sm_kernels_get(SM_LEVEL_SCALAR)
            ->type[dtype]
            .encode(blocks, wide, NULL, SM_KV_SCALES(dim) * 32);
    }
    return sm_kv_is_quantized(type) ? (const void *)blocks : x;
}

/* n tokens, stored; EXTREME: some zero, huge or tiny. The tile's other tokens are zero. */
static uint8_t *make_cache(const sm_kv_kernels *kv, uint32_t type, cache_side side, size_t n,
                           size_t dim, data_style style) {
    const size_t bytes = sm_kv_tile_bytes(type, dim), n_tiles = (n + 15) / 16;
    uint8_t *tiles = take(n_tiles * bytes);
    memset(tiles, 0, n_tiles * bytes);
    for (size_t t = 0; t < n; t++) {
        static const float sizes[] = {0, 1e-32f, 1e-6f, 1e-3f, 6e4f, 3, 3, 3};
        float x[256];
        sm_act_block blocks[8];
        const float size = style == RANDOM ? 3 : sizes[random_bits() % 8];
        for (size_t d = 0; d < dim; d++) {
            x[d] = random_float() * size;
        }
        (side == K_SIDE ? kv->store_k : kv->store_v)(tiles + t / 16 * bytes, t % 16,
                                                     kv_input(type, x, blocks, dim), dim);
    }
    return tiles;
}

static void check_stored(const sm_kv_kernels *kv, uint32_t type, cache_side side, size_t dim) {
    const size_t bytes = sm_kv_tile_bytes(type, dim);
    float *x = take_floats(dim);
    sm_act_block blocks[8];
    uint8_t *tile = take(bytes), *before = take(bytes);
    memset(tile, 0x2e, bytes);
    for (size_t lane = 0; lane < 16; lane++) {
        for (size_t d = 0; d < dim; d++) {
            static const float edges[] = {65504, 65519.99f, 65520, -70000, 1e30f,   -3e38f,
                                          6e-8f, 2.9e-8f,   3e-8f, 1e-40f, 1.0f / 3};
            uint32_t pick = random_bits() % (lane % 4 == 3 ? 300 : 30);
            x[d] = pick < sizeof edges / sizeof edges[0] ? edges[pick] : random_float();
            if (block_type(type) != SM_DTYPE_COUNT) { /* whose scales do not saturate */
                x[d] = fminf(fmaxf(x[d], -70000), 70000);
            }
        }
        const void *in = kv_input(type, x, blocks, dim);
        memcpy(before, tile, bytes);
        (side == K_SIDE ? kv->store_k : kv->store_v)(tile, lane, in, dim);
        for (size_t t = 0; t < 16; t++) {
            for (size_t d = 0; d < dim; d++) {
                const float want =
                    t == lane ? kv_round(type, x, in, d) : kv_load(type, side, before, t, d, dim);
                const float got = kv_load(type, side, tile, t, d, dim);
                if (!same_bits(got, want) || !isfinite(got)) {
                    fail_msg("kv type %u, side %d: token %zu, element %zu of %zu is %a, not %a",
                             type, (int)side, t, d, dim, (double)got, (double)want);
                }
            }
        }
    }
    free_floats(x);
    free(tile);
    free(before);
}

/* What is not finite stays so: damage is to be seen in the logits. */
static void check_stored_damage(const sm_kv_kernels *kv, uint32_t type, cache_side side,
                                size_t dim) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float *x = take_floats(dim);
    uint8_t *tile = take(sm_kv_tile_bytes(type, dim));
    memset(tile, 0, sm_kv_tile_bytes(type, dim));
    for (size_t at = 0; at < dim; at++) {
        for (size_t d = 0; d < dim; d++)
            x[d] = d == at ? bad[at % 3] : random_float();
        sm_act_block blocks[8];
        (side == K_SIDE ? kv->store_k : kv->store_v)(tile, at % 16, kv_input(type, x, blocks, dim),
                                                     dim);
        for (size_t d = 0; d < dim; d++) { /* of quantized types the whole block */
            const bool damaged = sm_kv_is_quantized(type) ? d / 32 == at / 32 : d == at;
            assert_true(damaged != (bool)isfinite(kv_load(type, side, tile, at % 16, d, dim)));
        }
    }
    free_floats(x);
    free(tile);
}

static void test_store(void **state) {
    const sm_kernels *table = level_of(state);
    for (uint32_t type = 0; type < SM_KV_TYPES; type++)
        for (size_t h = 0; h < N_HEAD_DIMS; h++) {
            check_stored_damage(&table->kv[type], type, K_SIDE, head_dims[h]);
            check_stored_damage(&table->kv[type], type, V_SIDE, head_dims[h]);
        }
    for (uint32_t type = 0; type < SM_KV_TYPES; type++) {
        for (size_t h = 0; h < N_HEAD_DIMS; h++) {
            check_stored(&table->kv[type], type, K_SIDE, head_dims[h]);
            check_stored(&table->kv[type], type, V_SIDE, head_dims[h]);
        }
    }
}

#define MAX_QUERIES 15 /* twice what a kernel takes together and some */

/* Queries as the type's score kernels take them, ldq apart. */
typedef struct queries {
    float *x; /* [MAX_QUERIES][ldx] */
    size_t ldx;
    sm_act_block *blocks; /* [MAX_QUERIES][ldb] */
    size_t ldb;
} queries;

static queries make_queries(size_t dim) {
    queries q = {.ldx = dim + 8, .ldb = SM_KV_SCALES(dim) + 1};
    q.x = take_floats(MAX_QUERIES * q.ldx);
    q.blocks = take(MAX_QUERIES * q.ldb * sizeof *q.blocks);
    for (size_t i = 0; i < MAX_QUERIES; i++) {
        for (size_t d = 0; d < q.ldx; d++) {
            q.x[i * q.ldx + d] = i == 5 ? 0 : random_float();
        }
        kv_quantize(q.blocks + i * q.ldb, q.x + i * q.ldx, dim);
    }
    return q;
}

static void run_scores(const sm_kv_kernels *kv, uint32_t type, float *s, size_t lds,
                       const queries *q, size_t first, size_t nq, const void *k, size_t n_tiles,
                       size_t dim) {
    if (sm_kv_is_quantized(type)) {
        kv->scores(s, lds, q->blocks + first * q->ldb, q->ldb, nq, k, n_tiles, dim);
    } else {
        kv->scores(s, lds, q->x + first * q->ldx, q->ldx, nq, k, n_tiles, dim);
    }
}

/* Any number of queries and tiles gives the bits of one query alone, and quantized types those of
 * the reference. */
static void check_scores(const sm_kernels *table, uint32_t type, size_t dim, size_t n_tiles,
                         data_style style) {
    const sm_kv_kernels *kv = &table->kv[type];
    const size_t lds = 16 * n_tiles + 16;
    queries q = make_queries(dim);
    float *s = take_floats(MAX_QUERIES * lds), *one = take_floats(lds);
    uint8_t *k = make_cache(kv, type, K_SIDE, 16 * n_tiles, dim, style);
    for (size_t nq = 1; nq <= MAX_QUERIES; nq++) {
        for (size_t i = 0; i < MAX_QUERIES * lds; i++) {
            s[i] = 77;
        }
        run_scores(kv, type, s, lds, &q, 0, nq, k, n_tiles, dim);
        for (size_t i = 0; i < MAX_QUERIES; i++) {
            if (i < nq) {
                run_scores(kv, type, one, lds, &q, i, 1, k, n_tiles, dim);
                assert_memory_equal(s + i * lds, one, 16 * n_tiles * sizeof *s);
            }
            for (size_t t = i < nq ? 16 * n_tiles : 0; t < lds; t++) {
                assert_true(s[i * lds + t] == 77);
            }
        }
    }
    for (size_t i = 0; i < MAX_QUERIES; i++) {
        if (sm_kv_is_quantized(type)) {
            const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
            run_scores(&ref->kv[type], type, one, lds, &q, i, 1, k, n_tiles, dim);
            assert_memory_equal(s + i * lds, one, 16 * n_tiles * sizeof *s);
        }
        for (size_t t = 0; t < 16 * n_tiles; t++) {
            double sum = 0, magnitude = 0;
            for (size_t d = 0; d < dim; d++) {
                const sm_act_block *b = &q.blocks[i * q.ldb + d / 32];
                const float x =
                    sm_kv_is_quantized(type) ? b->d * (float)b->q[d % 32] : q.x[i * q.ldx + d];
                double term = (double)x * (double)kv_load(type, K_SIDE, k, t, d, dim);
                sum += term;
                magnitude += fabs(term);
            }
            check_close("attn_scores", dim, t, (double)s[i * lds + t], sum,
                        (double)(dim + 8) * (0x1p-23 * magnitude + 0x1p-149));
        }
    }
    free_floats(q.x);
    free(q.blocks);
    free_floats(s);
    free_floats(one);
    free(k);
}

/* Softmax numerators: in [0, 1], many close to 0, some 0. */
static void fill_weights(float *p, size_t n, data_style style) {
    for (size_t i = 0; i < n; i++) {
        p[i] = fabsf(random_float());
        if (style == EXTREME) {
            static const float sizes[] = {0, 1e-38f, 1e-20f, 1e-5f, 1e-3f, 0.1f, 1, 1};
            p[i] *= sizes[random_bits() % 8];
        }
    }
}

/* What o may be off by: the rounding of the sum, and for quantized types that of the weights, half
 * a unit of the block's largest each. */
static double values_tolerance(uint32_t type, const float *p, const void *v, size_t n_tokens,
                               size_t d, size_t dim, double magnitude) {
    if (!sm_kv_is_quantized(type)) {
        return (double)n_tokens * (0x1p-23 * magnitude + 0x1p-149); /* or it underflows */
    }
    double top = 0, codes = 0;
    for (size_t t = 0; t < n_tokens; t++) {
        const uint8_t *tile = (const uint8_t *)v + t / 16 * sm_kv_tile_bytes(type, dim);
        uint16_t half;
        memcpy(&half, tile + kv_codes(type, dim) + 2 * (d / 32 * 16 + t % 16), sizeof half);
        const double scale = (double)sm_f16_to_f32(half);
        const double value = fabs((double)kv_load(type, V_SIDE, v, t, d, dim));
        top = fmax(top, (double)p[t] * fabs(scale));
        codes += scale != 0 ? value / fabs(scale) : 0;
    }
    return 0.51 * top / SM_KV_WEIGHT_MAX * codes + 4 * 0x1p-23 * magnitude + 1e-26;
}

static void check_values(const sm_kernels *table, uint32_t type, size_t dim, size_t n_tokens,
                         data_style style) {
    const sm_kv_kernels *kv = &table->kv[type];
    const size_t ldp = (n_tokens + 15) / 16 * 16, ldo = dim + 8;
    float *p = take_floats(MAX_QUERIES * ldp);
    float *o = take_floats(MAX_QUERIES * ldo), *one = take_floats(ldo);
    uint8_t *v = make_cache(kv, type, V_SIDE, n_tokens, dim, style);
    fill_weights(p, MAX_QUERIES * ldp, style);
    for (size_t nq = 1; nq <= MAX_QUERIES; nq++) {
        for (size_t i = 0; i < MAX_QUERIES * ldo; i++) {
            o[i] = 77;
        }
        kv->values(o, ldo, p, ldp, nq, v, n_tokens, dim);
        for (size_t i = 0; i < MAX_QUERIES; i++) {
            if (i < nq) {
                kv->values(one, ldo, p + i * ldp, ldp, 1, v, n_tokens, dim);
                assert_memory_equal(o + i * ldo, one, dim * sizeof *o);
            }
            for (size_t d = i < nq ? dim : 0; d < ldo; d++) {
                assert_true(o[i * ldo + d] == 77);
            }
        }
    }
    for (size_t i = 0; i < MAX_QUERIES; i++) {
        if (sm_kv_is_quantized(type)) {
            const sm_kernels *ref = sm_kernels_get(SM_LEVEL_SCALAR);
            ref->kv[type].values(one, ldo, p + i * ldp, ldp, 1, v, n_tokens, dim);
            assert_memory_equal(o + i * ldo, one, dim * sizeof *o);
        }
        for (size_t d = 0; d < dim; d++) {
            double sum = 0, magnitude = 0;
            for (size_t t = 0; t < n_tokens; t++) {
                double term = (double)p[i * ldp + t] * (double)kv_load(type, V_SIDE, v, t, d, dim);
                sum += term;
                magnitude += fabs(term);
            }
            check_close("attn_values", n_tokens, d, (double)o[i * ldo + d], sum,
                        values_tolerance(type, p + i * ldp, v, n_tokens, d, dim, magnitude));
        }
    }
    free_floats(p);
    free_floats(o);
    free_floats(one);
    free(v);
}

/* The largest sums: all codes and all weights alike. And weights of nothing, and a scale that is
 * NaN. */
static void check_largest(const sm_kernels *table, uint32_t type, size_t dim) {
    const sm_kv_kernels *kv = &table->kv[type];
    const size_t n_blocks = SM_KV_SCALES(dim), bytes = sm_kv_tile_bytes(type, dim);
    uint8_t *tiles = take(SM_KV_BLOCK / 16 * bytes);
    float *p = take_floats(SM_KV_BLOCK), *y = take_floats(SM_KV_BLOCK), *x = take_floats(dim);
    sm_act_block blocks[8], query[8];
    for (int sign = -1; sign <= 1; sign += 2) {
        for (size_t d = 0; d < dim; d++) {
            x[d] = (float)sign * 127;
        }
        kv_quantize(query, x, dim);
        for (size_t d = 0; d < dim; d++) {
            x[d] = type == SM_KV_Q8_0 ? 3e38f : 6e4f; /* a scale that saturates */
        }
        const void *in = kv_input(type, x, blocks, dim);
        for (size_t t = 0; t < SM_KV_BLOCK; t++) {
            kv->store_k(tiles + t / 16 * bytes, t % 16, in, dim);
        }
        kv->scores(y, SM_KV_BLOCK, query, n_blocks, 1, tiles, SM_KV_BLOCK / 16, dim);
        for (size_t t = 0; t < SM_KV_BLOCK; t++) {
            const double k = (double)kv_load(type, K_SIDE, tiles, t, 0, dim);
            assert_true(fabs(k) > 5.9e4);
            check_close("largest scores", dim, t, (double)y[t],
                        (double)sign * 127.0 * k * (double)dim, 1e-3 * fabs(k) * (double)dim);
        }
        for (size_t d = 0; d < dim; d++) {
            x[d] = (float)sign * 127;
        }
        in = kv_input(type, x, blocks, dim);
        for (size_t t = 0; t < SM_KV_BLOCK; t++) {
            kv->store_v(tiles + t / 16 * bytes, t % 16, in, dim);
            p[t] = 1;
        }
        kv->values(y, dim, p, SM_KV_BLOCK, 1, tiles, SM_KV_BLOCK, dim);
        for (size_t d = 0; d < dim; d++) {
            check_close("largest values", dim, d, (double)y[d],
                        SM_KV_BLOCK * (double)kv_load(type, V_SIDE, tiles, 0, d, dim), 0.1);
        }
        memset(p, 0, SM_KV_BLOCK * sizeof *p);
        kv->values(y, dim, p, SM_KV_BLOCK, 1, tiles, SM_KV_BLOCK, dim);
        for (size_t d = 0; d < dim; d++) {
            assert_true(y[d] == 0);
        }
        p[3] = 1;
        for (size_t d = 0; d < 32 && d < dim; d++) {
            x[d] = NAN;
        }
        kv->store_v(tiles, 77 % 16, kv_input(type, x, blocks, dim), dim);
        kv->values(y, dim, p, SM_KV_BLOCK, 1, tiles, SM_KV_BLOCK, dim);
        for (size_t d = 0; d < dim; d++) {
            assert_true((bool)isnan(y[d]) == (d < 32));
        }
    }
    free(tiles);
    free_floats(p);
    free_floats(y);
    free_floats(x);
}

static void test_attention(void **state) {
    const sm_kernels *table = level_of(state);
    static const size_t tokens[] = {1, 2, 3, 15, 16, 17, 40, 256};
    seed_random(5);
    for (uint32_t type = 0; type < SM_KV_TYPES; type++) {
        for (size_t h = 0; h < N_HEAD_DIMS; h++) {
            for (size_t i = 0; i < 2 * sizeof tokens / sizeof tokens[0]; i++) {
                const size_t n = tokens[i / 2];
                const data_style style = i % 2 == 0 ? RANDOM : EXTREME;
                if (n == 256 && head_dims[h] > 64) {
                    continue;
                }
                check_values(table, type, head_dims[h], n, style);
                if (n % 16 == 0 || n == 40) {
                    check_scores(table, type, head_dims[h], (n + 15) / 16, style);
                }
            }
        }
    }
    for (size_t h = 0; h < N_HEAD_DIMS; h++) {
        for (uint32_t type = SM_KV_Q8_0; type < SM_KV_TYPES; type++) {
            check_largest(table, type, head_dims[h]);
        }
    }
}

/* ---- tiles --------------------------------------------------------------------------------- */

/* One element of a panel. */
static float panel_at(const sm_tile_kernels *tile, const void *panel, size_t width, size_t i,
                      size_t l) {
    if (tile->element_bytes == 2) {
        return sm_bf16_to_f32(((const uint16_t *)panel)[(l / 2 * width + i) * 2 + l % 2]);
    }
    return ((const float *)panel)[l * width + i];
}

/* Packs n rows or columns of k elements and compares each panel with src; returns the panels. */
static void *check_panels(const sm_tile_kernels *tile, uint32_t type, size_t width, size_t n,
                          size_t k, bool columns) {
    const size_t n_panels = (n + width - 1) / width;
    const size_t bytes = sm_panel_bytes(width, k, tile->element_bytes);
    const size_t ld = (columns ? k : n) + 3;
    float *src = take_floats(columns ? (n - 1) * ld + k : (k - 1) * ld + n);
    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < k; l++) {
            src[columns ? i * ld + l : l * ld + i] =
                (i + l) % 11 == 0 ? sm_bits_float(0x3f808000 + ((random_bits() & 1) << 16))
                                  : random_float(); /* with ties of the rounding */
        }
    }
    uint8_t *panels = take(n_panels * bytes + GUARD);
    memset(panels, 0xff, n_panels * bytes + GUARD);
    (columns ? tile->columns : tile->rows)(panels, width, src, ld, n, k);
    for (size_t i = 0; i < n_panels * width; i++) {
        for (size_t l = 0; l < k + k % 2; l++) {
            if (l == k && tile->element_bytes == 4) {
                continue;
            }
            float want = i < n && l < k ? src[columns ? i * ld + l : l * ld + i] : 0;
            if (type == SM_TILE_BF16) {
                want = sm_bf16_to_f32(sm_f32_to_bf16(want));
            }
            float is = panel_at(tile, panels + i / width * bytes, width, i % width, l);
            if (!same_bits(is, want)) {
                fail_msg("%s, width %zu, %zu x %zu: element (%zu, %zu) is %a, not %a",
                         columns ? "columns" : "rows", width, n, k, i, l, (double)is, (double)want);
            }
        }
    }
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(panels[n_panels * bytes + i], 0xff);
    }
    free_floats(src);
    return panels;
}

/* All edges of a tile against sums in double, and against the whole tile bit for bit. */
static void check_tile(const sm_tile_kernels *tile, size_t k, const void *a, const void *b) {
    const size_t ldc = tile->nr + GUARD, length = tile->mr * ldc;
    float *start = take_floats(length), *whole = take_floats(length), *c = take_floats(length);
    for (size_t i = 0; i < length; i++) {
        start[i] = whole[i] = random_float();
    }
    tile->product(whole, ldc, a, b, k, tile->mr, tile->nr, true);
    for (size_t i = 0; i < length; i++) {
        const size_t m = i / ldc, n = i % ldc;
        double sum = (double)start[i], magnitude = fabs(sum);
        for (size_t l = 0; n < tile->nr && l < k; l++) {
            double term = (double)panel_at(tile, a, tile->mr, m, l) *
                          (double)panel_at(tile, b, tile->nr, n, l);
            sum += term;
            magnitude += fabs(term);
        }
        double tolerance = n < tile->nr ? (double)(k + 2) * 0x1p-24 * magnitude : 0;
        if (!close_to((double)whole[i], sum, tolerance)) {
            fail_msg("k %zu: c[%zu][%zu] is %a, not %a", k, m, n, (double)whole[i], sum);
        }
    }
    for (size_t m = 1; m <= tile->mr; m++) {
        for (size_t n = 1; n <= tile->nr; n++) {
            memcpy(c, start, length * sizeof *c);
            tile->product(c, ldc, a, b, k, m, n, true);
            for (size_t i = 0; i < length; i++) {
                bool inside = i / ldc < m && i % ldc < n;
                assert_true(same_bits(c[i], inside ? whole[i] : start[i]));
            }
        }
    }
    /* not accumulating: the same sums over what c held, NaN here */
    for (size_t i = 0; i < length; i++) {
        c[i] = NAN;
        whole[i] = 0;
    }
    tile->product(c, ldc, a, b, k, tile->mr, tile->nr, false);
    tile->product(whole, ldc, a, b, k, tile->mr, tile->nr, true);
    for (size_t i = 0; i < length; i++) {
        assert_true(i % ldc < tile->nr ? c[i] == whole[i] : isnan(c[i]));
    }
    free_floats(start);
    free_floats(whole);
    free_floats(c);
}

static void test_tiles(void **state) {
    const sm_kernels *table = level_of(state);
    static const size_t depths[] = {1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 33, 64, 150};
    seed_random(21);
    for (uint32_t type = 0; type < SM_TILE_TYPES; type++) {
        const sm_tile_kernels *tile = &table->tile[type];
        assert_true(tile->mr > 0 && tile->nr > 0 && tile->kc > 0 && tile->kc % 2 == 0);
        for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
            for (size_t n = 1; n <= 2 * (size_t)tile->nr + 1; n += 1 + n / 9) {
                for (unsigned columns = 0; columns < 2; columns++) {
                    free(check_panels(tile, type, tile->mr, n, depths[i], columns));
                    free(check_panels(tile, type, tile->nr, n, depths[i], columns));
                }
            }
            void *a = check_panels(tile, type, tile->mr, tile->mr, depths[i], true);
            void *b = check_panels(tile, type, tile->nr, tile->nr, depths[i], false);
            check_tile(tile, depths[i], a, b);
            free(a);
            free(b);
        }
    }
}

/* ---- types, levels, half floats -------------------------------------------------------------- */

static void test_traits(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        const char *name;
        uint32_t size, bytes;
    } some[] = {{0, "F32", 1, 4},       {8, "Q8_0", 32, 34},   {12, "Q4_K", 256, 144},
                {14, "Q6_K", 256, 210}, {30, "BF16", 1, 2},    {19, "IQ1_S", 256, 50},
                {28, "F64", 1, 8},      {39, "MXFP4", 32, 17}, {40, "NVFP4", 64, 36}};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        const sm_dtype_traits *traits = sm_dtype_get(some[i].type);
        assert_non_null(traits);
        assert_string_equal(traits->name, some[i].name);
        assert_int_equal(traits->block_size, some[i].size);
        assert_int_equal(traits->block_bytes, some[i].bytes);
    }
    static const uint32_t gone[] = {4, 5, 31, 32, 33, 36, 37, 38, SM_DTYPE_COUNT, UINT32_MAX};
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
        assert_null(sm_dtype_get(gone[i]));
    }
}

static void test_levels(void **state) {
    (void)state;
    for (uint32_t level = SM_LEVEL_AUTO; level <= SM_LEVEL_AVX512BF16; level++) {
        assert_int_equal(sm_level_from_name(sm_level_name(level)), level);
        uint32_t best = sm_level_best(level);
        assert_true(level == SM_LEVEL_AUTO || level_at_most(best, level));
        const sm_kernels *table = sm_kernels_get(best);
        assert_non_null(table);
        assert_ptr_equal(sm_kernels_get(best), table);
        assert_int_equal(table->level, best);
        for (size_t t = 0; t < SM_DTYPE_COUNT; t++) {
            bool computed = sm_packed_bytes((uint32_t)t, 256) != 0;
            assert_true(computed == (table->type[t].mul != NULL));
            assert_true(computed == (table->type[t].gemm != NULL));
            assert_true(computed == (table->type[t].pack != NULL));
            assert_true(computed == (table->type[t].dequantize != NULL));
        }
    }
    assert_int_equal(sm_level_best(SM_LEVEL_SCALAR), SM_LEVEL_SCALAR);
    assert_int_equal(sm_level_best(UINT32_MAX), sm_level_best(SM_LEVEL_AUTO));
    /* a level of another architecture leaves the portable one */
    uint32_t host = sm_level_best(SM_LEVEL_AUTO);
    if (level_at_most(host, SM_LEVEL_AVX512BF16)) {
        assert_int_equal(sm_level_best(SM_LEVEL_I8MM), SM_LEVEL_SCALAR);
    }
    if (level_at_most(host, SM_LEVEL_I8MM)) {
        assert_int_equal(sm_level_best(SM_LEVEL_AVX512BF16), SM_LEVEL_SCALAR);
        assert_int_equal(sm_level_best(SM_LEVEL_AVXVNNI), SM_LEVEL_SCALAR);
    }
    assert_true(level_at_most(SM_LEVEL_AVXVNNI, SM_LEVEL_AVX512));
    assert_true(level_at_most(SM_LEVEL_AVX512, SM_LEVEL_AVX512BF16));
    /* what is taken by itself is the best, or one that was left out for being slow */
    assert_true(level_at_most(host, sm_level_best(SM_LEVEL_AVX512BF16)) ||
                sm_level_best(SM_LEVEL_AVX512BF16) == SM_LEVEL_SCALAR);
    assert_false(level_at_most(SM_LEVEL_AVX512, SM_LEVEL_AVXVNNI));
    assert_false(level_at_most(SM_LEVEL_NEON, SM_LEVEL_AVX512));
    assert_int_equal(sm_level_below(UINT32_MAX), SM_LEVEL_SCALAR);
    assert_null(sm_level_name(99));
    assert_int_equal(sm_level_from_name("AVX512BF16"), sm_level_from_name("avx512bf16"));
    assert_int_equal(sm_level_from_name("avx"), 0);
    assert_int_equal(sm_level_from_name("sse9"), 0);
    assert_int_equal(sm_level_from_name(NULL), 0);
    assert_null(sm_kernels_get(SM_LEVEL_AUTO));
    assert_null(sm_kernels_get(99));
}

static void test_half_floats(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float x = sm_f16_to_f32((uint16_t)h);
        uint32_t exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
        if (exponent == 31) {
            assert_true(mantissa ? isnan(x) : isinf(x));
        } else {
            double value =
                exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, (int)exponent - 25);
            assert_true((double)x == (h & 0x8000 ? -value : value));
        }
        assert_true(isnan(x) ? isnan(sm_f16_to_f32(sm_f32_to_f16(x))) : sm_f32_to_f16(x) == h);
        float b = sm_bf16_to_f32((uint16_t)h);
        assert_true(isnan(b) ? isnan(sm_bf16_to_f32(sm_f32_to_bf16(b))) : sm_f32_to_bf16(b) == h);
        if ((h & 0x7fff) < 0x7bff) { /* rounding between neighbours of a sign */
            double next = (double)sm_f16_to_f32((uint16_t)(h + 1));
            float middle = (float)(((double)x + next) / 2); /* exact */
            uint32_t even = h % 2 == 0 ? h : h + 1;
            assert_int_equal(sm_f32_to_f16(middle), even);
            assert_int_equal(sm_f32_to_f16(nextafterf(middle, x)), h);
            assert_int_equal(sm_f32_to_f16(nextafterf(middle, (float)next)), h + 1);
        }
        if ((h & 0x7fff) < 0x7f7f) {
            float middle = sm_bits_float(h << 16 | 0x8000);
            assert_int_equal(sm_f32_to_bf16(middle), h % 2 == 0 ? h : h + 1);
            assert_int_equal(sm_f32_to_bf16(sm_bits_float(h << 16 | 0x7fff)), h);
            assert_int_equal(sm_f32_to_bf16(sm_bits_float(h << 16 | 0x8001)), h + 1);
        }
    }
    assert_int_equal(sm_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(sm_f32_to_f16(65520), 0x7c00);
    assert_int_equal(sm_f32_to_f16(-1e30f), 0xfc00);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return run_benchmark(argc > 2 ? argv[2] : "");
    }
    static uint32_t levels[] = {SM_LEVEL_SCALAR, SM_LEVEL_AVX2,      SM_LEVEL_AVX512,
                                SM_LEVEL_NEON,   SM_LEVEL_DOTPROD,   SM_LEVEL_AVXVNNI,
                                SM_LEVEL_I8MM,   SM_LEVEL_AVX512BF16};
#define ON_LEVEL(test, name, level) \
    { #test "/" #name, test, NULL, NULL, &levels[(level)-1] }
#define ON_LEVELS(test)                                                                       \
    ON_LEVEL(test, scalar, SM_LEVEL_SCALAR), ON_LEVEL(test, avx2, SM_LEVEL_AVX2),             \
        ON_LEVEL(test, avx512, SM_LEVEL_AVX512), ON_LEVEL(test, neon, SM_LEVEL_NEON),         \
        ON_LEVEL(test, dotprod, SM_LEVEL_DOTPROD), ON_LEVEL(test, avxvnni, SM_LEVEL_AVXVNNI), \
        ON_LEVEL(test, i8mm, SM_LEVEL_I8MM), ON_LEVEL(test, avx512bf16, SM_LEVEL_AVX512BF16)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traits),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_half_floats),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_packing_slabs),
        cmocka_unit_test(test_dequantize),
        ON_LEVELS(test_native),
        ON_LEVELS(test_products),
        ON_LEVELS(test_one_chain),
        ON_LEVELS(test_quantize),
        ON_LEVELS(test_round_bf16),
        ON_LEVELS(test_rms_norm),
        ON_LEVELS(test_layer_norm),
        ON_LEVELS(test_activations),
        ON_LEVELS(test_elementwise),
        ON_LEVELS(test_rope),
        ON_LEVELS(test_exp),
        ON_LEVELS(test_softmax),
        ON_LEVELS(test_softmax_window),
        ON_LEVELS(test_merge),
        ON_LEVELS(test_argmax),
        ON_LEVELS(test_sum_exp),
        ON_LEVELS(test_selection),
        ON_LEVELS(test_weigh),
        ON_LEVELS(test_grad_rows),
        ON_LEVELS(test_store),
        ON_LEVELS(test_attention),
        ON_LEVELS(test_tiles),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
