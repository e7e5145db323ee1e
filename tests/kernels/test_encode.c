/* Encoders: the reference's bytes, the same bytes on every level, errors within bounds,
 * blocks that are zero, tiny, huge or not finite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_cases.h"
#include "smallmind/types.h"

#define K 4096

static const uint32_t types[] = {
    SM_DTYPE_F32,     SM_DTYPE_F16,    SM_DTYPE_BF16,  SM_DTYPE_Q4_0,    SM_DTYPE_Q4_1,
    SM_DTYPE_Q5_0,    SM_DTYPE_Q5_1,   SM_DTYPE_Q8_0,  SM_DTYPE_Q2_K,    SM_DTYPE_Q3_K,
    SM_DTYPE_Q4_K,    SM_DTYPE_Q5_K,   SM_DTYPE_Q6_K,  SM_DTYPE_IQ4_NL,  SM_DTYPE_IQ4_XS,
    SM_DTYPE_IQ2_XXS, SM_DTYPE_IQ2_XS, SM_DTYPE_IQ2_S, SM_DTYPE_IQ3_XXS, SM_DTYPE_IQ3_S,
    SM_DTYPE_IQ1_S,   SM_DTYPE_IQ1_M,  SM_DTYPE_NVFP4, SM_DTYPE_Q1_0,    SM_DTYPE_Q2_0,
    SM_DTYPE_TQ1_0,   SM_DTYPE_TQ2_0,  SM_DTYPE_F64,   SM_DTYPE_MXFP4};
#define N_TYPES (sizeof types / sizeof *types)

static const sm_type_kernels *portable(uint32_t type) {
    return &sm_kernels_get(SM_LEVEL_SCALAR)->type[type];
}

/* The same bytes, as levels_give_the_same_bytes shows, sooner. */
static const sm_type_kernels *fast(uint32_t type) {
    return &sm_kernels_get(sm_level_best(SM_LEVEL_AUTO))->type[type];
}

static bool has_codebook(uint32_t type) {
    return (type >= SM_DTYPE_IQ2_XXS && type <= SM_DTYPE_IQ1_S) || type == SM_DTYPE_IQ3_S ||
           type == SM_DTYPE_IQ2_S || type == SM_DTYPE_IQ1_M;
}

static float cubed(void) {
    const float a = random_float(), b = random_float(), c = random_float();
    return a * b * c;
}

static uint64_t fnv1a(const uint8_t *data, size_t size) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Hashes of the encoded row: of the simple blocks as the format's reference encoder makes it, of
 * the others as these encoders do, on every machine. */
static void bytes_are_as_expected(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        uint64_t hash;
    } expected[] = {{SM_DTYPE_Q8_0, UINT64_C(0x46e129a4cf680eb0)},
                    {SM_DTYPE_Q4_0, UINT64_C(0x2c5e8e52fe65c380)},
                    {SM_DTYPE_Q4_1, UINT64_C(0x064f0f49113d9771)},
                    {SM_DTYPE_Q5_0, UINT64_C(0x0d21a8d6de4b5f39)},
                    {SM_DTYPE_Q5_1, UINT64_C(0x2e53f3de8c478e06)},
                    {SM_DTYPE_Q2_K, UINT64_C(0x88d8112e0c8e15ee)},
                    {SM_DTYPE_Q3_K, UINT64_C(0x552b6a23deb10fdf)},
                    {SM_DTYPE_Q4_K, UINT64_C(0x4ea07e9d3dcbd6f7)},
                    {SM_DTYPE_Q5_K, UINT64_C(0xd2d93ac093865e16)},
                    {SM_DTYPE_Q6_K, UINT64_C(0xd8b3d31369d40417)},
                    {SM_DTYPE_IQ4_NL, UINT64_C(0x1b874e74f467062e)},
                    {SM_DTYPE_IQ4_XS, UINT64_C(0x430484c98f7a3570)},
                    {SM_DTYPE_IQ2_XXS, UINT64_C(0xf2b2e6b330452659)},
                    {SM_DTYPE_IQ2_XS, UINT64_C(0x86424b967163b21d)},
                    {SM_DTYPE_IQ2_S, UINT64_C(0xafcf239a8d3fb9b5)},
                    {SM_DTYPE_IQ3_XXS, UINT64_C(0x236fc3f46c4fa191)},
                    {SM_DTYPE_IQ3_S, UINT64_C(0x38c6c765921ff0f3)},
                    {SM_DTYPE_IQ1_S, UINT64_C(0x0e15bcd9cd287453)},
                    {SM_DTYPE_IQ1_M, UINT64_C(0xca0f0efdce7d92f8)},
                    {SM_DTYPE_NVFP4, UINT64_C(0xc046382438c4b5ba)},
                    {SM_DTYPE_Q1_0, UINT64_C(0x5bf02bb310e9dd84)},
                    {SM_DTYPE_Q2_0, UINT64_C(0xcfaf06d37c7596e6)},
                    {SM_DTYPE_TQ1_0, UINT64_C(0x9624b1586e432d24)},
                    {SM_DTYPE_TQ2_0, UINT64_C(0x6b7d6f0a6c939682)},
                    {SM_DTYPE_MXFP4, UINT64_C(0x18d2b4ce459b7494)}};
    static float x[K];
    static uint8_t row[K * 2];
    seed_random(77);
    for (size_t i = 0; i < K; i++)
        x[i] = cubed() * (i % 64 < 32 ? 1.0f : 0.01f);
    for (size_t j = 0; j < 32; j++) {
        x[128 + j] = 0;
        x[192 + j] = -3;
        x[256 + j] = (float)j - 16;
        x[320 + j] *= 1e-6f;
    }
    for (size_t t = 0; t < sizeof expected / sizeof *expected; t++) {
        portable(expected[t].type)->encode(row, x, NULL, K);
        if (fnv1a(row, row_size(expected[t].type, K)) != expected[t].hash)
            fail_msg("%s: other bytes: %016llx", sm_dtype_get(expected[t].type)->name,
                     (unsigned long long)fnv1a(row, row_size(expected[t].type, K)));
    }
}

/* Rows with blocks of many kinds. */
static void fill_wild(float *x) {
    for (size_t b = 0; b < K; b += 32) {
        const uint32_t kind = random_bits() % 12;
        for (size_t i = b; i < b + 32; i++) {
            x[i] = cubed();
            switch (kind) {
            case 0:
                x[i] = 0;
                break;
            case 1:
                x[i] *= 1e-7f; /* about what f16 can hold */
                break;
            case 2:
                x[i] *= 1e-42f; /* subnormal */
                break;
            case 3:
                x[i] = 0.75f;
                break;
            case 4:
                x[i] = -0.75f;
                break;
            case 5:
                x[i] = fabsf(x[i]) + 1;
                break;
            case 6:
                x[i] = i % 32 ? x[i] * 1e-3f : 900.0f; /* an outlier */
                break;
            case 7:
                x[i] = i % 32 == 5 ? -1.0f : 0;
                break;
            case 8:
                x[i] *= 1e5f;
                break;
            default:
                break;
            }
        }
    }
}

static void fill_importance(float *importance, uint32_t kind) {
    for (size_t i = 0; i < K; i++) {
        const float a = random_float();
        importance[i] = kind == 0 ? 1 : kind == 1 ? a * a * 1e6f : a < 0 ? 0 : a * 1e-20f;
    }
    if (kind == 2)
        memset(importance, 0, 512 * sizeof *importance);
}

static void levels_give_the_same_bytes(void **state) {
    (void)state;
    static float x[K], importance[K];
    static uint8_t want[8 * K + 1], got[8 * K + 1];
    size_t n_run = 0;
    for (uint64_t round = 0; round < 12; round++) {
        seed_random(100 + round);
        if (round % 4 == 0)
            fill_rows(SM_DTYPE_F32, x, 1, K, RANDOM);
        else
            fill_wild(x);
        fill_importance(importance, (uint32_t)(round % 3));
        if (round == 11) {
            x[700] = NAN;
            x[1500] = -INFINITY;
            x[2500] = FLT_MAX;
        }
        for (size_t t = 0; t < N_TYPES; t++) {
            /* searching codebooks takes time */
            const size_t length = has_codebook(types[t]) ? K / 4 : K;
            const size_t from = has_codebook(types[t]) ? round % 3 * (K / 4) : 0;
            const float *given = round % 2 ? importance + from : NULL;
            memset(want, 0x55, sizeof want);
            portable(types[t])->encode(want, x + from, given, length);
            assert_int_equal(want[row_size(types[t], length)], 0x55);
            for (size_t n = 0; n < n_kernels; n++) {
                const kernel_entry *e = &kernels[n];
                if (e->kind != KIND_ENCODE || e->type != types[t] || !level_table(e->level))
                    continue;
                memset(got, 0x55, sizeof got);
                ((sm_encode_fn *)e->fn)(got, x + from, given, length);
                if (memcmp(want, got, sizeof want) != 0)
                    fail_msg("%s: other bytes than the portable encoder's, round %d", e->name,
                             (int)round);
                n_run++;
            }
        }
    }
    print_message("%zu rows compared\n", n_run);
}

static double relative_error(uint32_t type, const float *x, const float *importance) {
    static float y[K];
    static uint8_t row[8 * K];
    double error = 0, size = 0;
    fast(type)->encode(row, x, importance, K);
    portable(type)->dequantize(y, row, K);
    for (size_t i = 0; i < K; i++) {
        const double d = (double)x[i] - (double)y[i], w = importance ? (double)importance[i] : 1;
        error += w * d * d;
        size += w * (double)x[i] * (double)x[i];
    }
    return sqrt(error / size);
}

/* Root of the mean square error over that of the weights, for weights as normal as those of a
 * model: the bounds are 3% above what was measured. */
static void errors_are_small(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        double plain, weighted;
    } bounds[] = {{SM_DTYPE_Q8_0, 0.0055, 0.0057},    {SM_DTYPE_Q2_K, 0.2670, 0.2045},
                  {SM_DTYPE_Q3_K, 0.1478, 0.1233},    {SM_DTYPE_Q4_K, 0.0710, 0.0597},
                  {SM_DTYPE_Q5_K, 0.0350, 0.0293},    {SM_DTYPE_Q6_K, 0.0170, 0.0140},
                  {SM_DTYPE_IQ4_NL, 0.0752, 0.0649},  {SM_DTYPE_IQ4_XS, 0.0758, 0.0650},
                  {SM_DTYPE_IQ2_XXS, 0.3388, 0.2217}, {SM_DTYPE_IQ2_XS, 0.2965, 0.1939},
                  {SM_DTYPE_IQ2_S, 0.2497, 0.1889},   {SM_DTYPE_IQ3_XXS, 0.1834, 0.1024},
                  {SM_DTYPE_IQ3_S, 0.1350, 0.0902},   {SM_DTYPE_IQ1_S, 0.4625, 0.3765},
                  {SM_DTYPE_IQ1_M, 0.4288, 0.3224},   {SM_DTYPE_NVFP4, 0.0925, 0.0755},
                  {SM_DTYPE_Q1_0, 0.6113, 0.6054},    {SM_DTYPE_Q2_0, 0.3536, 0.3253},
                  {SM_DTYPE_TQ1_0, 0.4370, 0.4309},   {SM_DTYPE_TQ2_0, 0.4370, 0.4309},
                  {SM_DTYPE_MXFP4, 0.1149, 0.1122}};
    static float x[K], importance[K];
    seed_random(5);
    for (size_t i = 0; i < K; i++) {
        x[i] = 0;
        for (int n = 0; n < 12; n++)
            x[i] += random_float() * 0.01f;
        importance[i] = expf(4 * random_float());
    }
    for (size_t t = 0; t < sizeof bounds / sizeof *bounds; t++) {
        const double plain = relative_error(bounds[t].type, x, NULL);
        const double weighted = relative_error(bounds[t].type, x, importance);
        print_message("%-7s %.5f, with importance %.5f\n", sm_dtype_get(bounds[t].type)->name,
                      plain, weighted);
        assert_true(plain <= bounds[t].plain);
        assert_true(weighted <= bounds[t].weighted);
    }
}

/* A random block need not use the ends of its codes, by which scales are found. With codebooks the
 * more so, the more scales there are to a block and the less its words tell of a scale. */
static double decoded_bound(uint32_t type) {
    switch (type) {
    case SM_DTYPE_Q2_K:
        return 0.05;
    case SM_DTYPE_IQ3_S:
        return 0.035;
    case SM_DTYPE_IQ2_XS:
    case SM_DTYPE_IQ2_S:
        return 0.11;
    case SM_DTYPE_IQ1_S:
    case SM_DTYPE_IQ1_M:
        return 0.25;
    default:
        return is_float_type(type) ? 0 : 0.03;
    }
}

/* What the format's reference encoder makes of a block of one of the types below: values of a scale
 * that depends on the largest magnitude alone. */
static void reference_values(uint32_t type, float *y, const float *x, size_t n) {
    const bool nvfp4 = type == SM_DTYPE_NVFP4, fp4 = nvfp4 || type == SM_DTYPE_MXFP4;
    double top = 0, scale;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs((double)x[i]));
    if (nvfp4) { /* the nearest */
        uint8_t code = 0;
        for (uint8_t c = 1; c < 127; c++)
            if (fabs(2 * (double)sm_ue4m3_to_f32(c) - top / 6) <=
                fabs(2 * (double)sm_ue4m3_to_f32(code) - top / 6))
                code = c;
        scale = (double)sm_ue4m3_to_f32(code);
    } else if (fp4)
        scale = top > 0 ? exp2(floor(log2(top)) - 3) : 0;
    else
        scale = (double)sm_f16_to_f32(sm_f32_to_f16((float)top));
    for (size_t i = 0; i < n; i++) {
        double best = 0, least = fabs((double)x[i]);
        for (size_t v = 0; v < 16 && fp4; v++) {
            const double off = fabs((double)x[i] - scale * SM_FP4_VALUES[v]);
            if (off < least) {
                least = off;
                best = SM_FP4_VALUES[v];
            }
        }
        y[i] = (float)(scale * (fp4 ? best : top > 0 ? round((double)x[i] / top) : 0));
    }
}

static void fill_kind(float *x, int kind) {
    for (size_t i = 0; i < K; i++) {
        const float normal = random_float() + random_float() + random_float();
        x[i] = kind == 0   ? normal * 0.02f
               : kind == 1 ? cubed()
               : kind == 2 ? 0.0371f * (float)((int)(random_bits() % 3) - 1)
               : kind == 3 ? normal * (i % 97 ? 0.1f : 3.0f)
                           : normal * (float)(i / 256 + 1);
    }
}

/* Sum of w (x - y)^2. */
static double squared_error(const float *x, const float *y, const float *w, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double off = (double)x[i] - (double)y[i];
        sum += (double)w[i] * off * off;
    }
    return sum;
}

static void errors_are_no_larger_than_the_references(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        size_t n; /* elements with a scale of their own */
    } cases[] = {{SM_DTYPE_MXFP4, 32},
                 {SM_DTYPE_NVFP4, 16},
                 {SM_DTYPE_Q2_0, 64},
                 {SM_DTYPE_TQ1_0, 256},
                 {SM_DTYPE_TQ2_0, 256}};
    static float x[K], y[K], importance[K], ones[K], theirs[256];
    static const float zeros[256];
    static uint8_t row[4 * K];
    seed_random(8);
    for (size_t i = 0; i < K; i++)
        ones[i] = 1;
    for (size_t run = 0; run < 10 * sizeof cases / sizeof *cases; run++) {
        const uint32_t type = cases[run / 10].type;
        const size_t n = cases[run / 10].n;
        const float *given = run % 2 ? importance : NULL;
        fill_kind(x, (int)(run / 2 % 5));
        fill_importance(importance, 1);
        portable(type)->encode(row, x, given, K);
        portable(type)->dequantize(y, row, K);
        for (size_t b = 0; b < K; b += n) {
            const float *w = (given ? given : ones) + b;
            reference_values(type, theirs, x + b, n);
            const double ours = squared_error(x + b, y + b, w, n);
            const double reference = squared_error(x + b, theirs, w, n);
            const double size = squared_error(x + b, zeros, w, n);
            /* the factors are rounded, and sums of f32 compared */
            if (ours > reference + 1e-5 * size)
                fail_msg("%s, kind %d: block at %zu: error %g, the reference's %g",
                         sm_dtype_get(type)->name, (int)(run / 2 % 5), b, ours, reference);
        }
    }
}

/* What a block can express exactly comes back nearly so. */
static void decoded_rows_encode_again(void **state) {
    (void)state;
    static float x[K];
    static uint8_t row[8 * K];
    for (size_t t = 0; t < N_TYPES; t++) {
        seed_random(types[t]);
        if (types[t] == SM_DTYPE_TQ2_0) /* random codes are not those of three values */
            continue;
        fill_rows(types[t], row, 1, K, RANDOM);
        portable(types[t])->dequantize(x, row, K);
        const double error = relative_error(types[t], x, NULL);
        const double bound = decoded_bound(types[t]);
        print_message("%-7s %.5f\n", sm_dtype_get(types[t])->name, error);
        assert_true(error <= bound);
    }
}

static void zeros_stay_zeros(void **state) {
    (void)state;
    static float x[K], y[K];
    static uint8_t row[8 * K];
    memset(x, 0, sizeof x);
    for (size_t t = 0; t < N_TYPES; t++) {
        memset(row, 0xff, sizeof row);
        fast(types[t])->encode(row, x, NULL, K);
        portable(types[t])->dequantize(y, row, K);
        for (size_t i = 0; i < K; i++)
            assert_true(y[i] == 0);
    }
}

/* Blocks whose values are near the smallest f16 keep what it can hold of them. */
static void tiny_blocks_survive(void **state) {
    (void)state;
    static float x[K], y[K];
    static uint8_t row[8 * K];
    for (size_t i = 0; i < K; i++)
        x[i] = i % 2 ? 3e-6f : -3e-6f;
    for (size_t t = 0; t < N_TYPES; t++) {
        /* Q8_0's bytes are given: a scale that f16 rounds to 0; scales of 8 bits end before */
        if (types[t] == SM_DTYPE_Q8_0 || types[t] == SM_DTYPE_NVFP4)
            continue;
        fast(types[t])->encode(row, x, NULL, K);
        portable(types[t])->dequantize(y, row, K);
        for (size_t i = 0; i < K; i++)
            if (fabsf(y[i] - x[i]) > 0.2f * 3e-6f)
                fail_msg("%s: %g became %g", sm_dtype_get(types[t])->name, (double)x[i],
                         (double)y[i]);
    }
}

/* Whether a block has factors for a value of that size. */
static bool holds(uint32_t type, float x) {
    return type == SM_DTYPE_MXFP4 && isfinite(x);
}

/* A bad value spoils its block and no other. */
static void what_cannot_be_encoded_is_nan(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -1e38f};
    static float x[K], y[K], clean[K];
    static uint8_t row[8 * K];
    for (size_t t = 0; t < N_TYPES; t++) {
        const size_t at = 1024 + 7;
        const size_t size = sm_dtype_get(types[t])->block_size;
        if (is_float_type(types[t]))
            continue;
        for (size_t n = 0; n < 2 * sizeof bad / sizeof *bad; n++) {
            static float ones[K];
            seed_random(n);
            for (size_t i = 0; i < K; i++) {
                x[i] = cubed();
                ones[i] = 1;
            }
            const float *importance = n % 2 ? ones : NULL;
            fast(types[t])->encode(row, x, importance, K);
            portable(types[t])->dequantize(clean, row, K);
            x[at] = bad[n / 2];
            fast(types[t])->encode(row, x, importance, K);
            portable(types[t])->dequantize(y, row, K);
            for (size_t i = 0; i < K; i++) {
                const bool finite = isfinite(y[i]);
                const bool spoilt = i / size == at / size && !holds(types[t], x[at]);
                assert_true(finite != spoilt);
                if (i / size == at / size)
                    continue;
                /* weights of IQ4_NL, and those with importance, depend on the whole row */
                if (finite && !importance && types[t] != SM_DTYPE_IQ4_NL)
                    assert_true(y[i] == clean[i]);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_as_expected),
        cmocka_unit_test(levels_give_the_same_bytes),
        cmocka_unit_test(errors_are_small),
        cmocka_unit_test(errors_are_no_larger_than_the_references),
        cmocka_unit_test(decoded_rows_encode_again),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(tiny_blocks_survive),
        cmocka_unit_test(what_cannot_be_encoded_is_nan),
    };
    return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
