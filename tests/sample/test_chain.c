/* Chains on vocabularies of many tokens, where kernels do most of the work, beside plain loops in
 * double; orders, masks, and parameters of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sample/sample.h"
#include "support.h"

#define N 20011u

static sm_mem mem;
static float logits[N];
static double weight[N];
static int32_t order[N];
static int32_t left_ids[N];

static double normal(uint64_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(test_random(state) >> 11) * 0x1p-53;
    return sum;
}

/* Kind 0: a bell; 1: few likely; 2: flat; 3: many ties; 4: all equal. */
static void fill(int kind, uint64_t seed) {
    for (uint32_t i = 0; i < N; i++) {
        const double z = normal(&seed);
        logits[i] = (float)(kind == 0   ? 3 * z + 10
                            : kind == 1 ? (i % 1000 == 7 ? 20 + z : 3 * z)
                            : kind == 2 ? 0.01 * z
                            : kind == 3 ? floor(3 * z)
                                        : 1.5);
    }
}

static int by_rank(const void *a, const void *b) {
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    return logits[i] != logits[j] ? (logits[i] < logits[j] ? 1 : -1) : (i > j) - (i < j);
}

static int by_id(const void *a, const void *b) {
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Ranks and weights of all tokens; their sum. */
static double rank(double temperature) {
    double sum = 0;
    for (uint32_t i = 0; i < N; i++)
        order[i] = (int32_t)i;
    qsort(order, N, sizeof *order, by_rank);
    for (uint32_t i = 0; i < N; i++) {
        weight[i] = exp(((double)logits[i] - (double)logits[order[0]]) / temperature);
        sum += weight[i];
    }
    return sum;
}

static uint32_t apply(uint32_t level, const sm_sampling_step *steps, uint32_t n,
                      const uint32_t *mask) {
    sm_sampler *s;
    sm_chain chain;
    sm_left left;
    const sm_sampling o = {.struct_size = sizeof o, .steps = steps, .n_steps = n};
    sm_error error;
    assert_int_equal(sm_sampler_new(&s, &mem, sm_kernels_get(level), N, 8, NULL), SM_OK);
    assert_int_equal(sm_chain_take(&chain, &o, N, NULL), SM_OK);
    const sm_draw d = {.logits = logits, .mask = mask};
    if (sm_sample_left(&left, s, &chain, &d, &error))
        fail_msg("%s", error.message);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < left.n; i++)
        if (left.logits[i] > -INFINITY)
            left_ids[kept++] = left.ids ? left.ids[i] : (int32_t)i;
    qsort(left_ids, kept, sizeof *left_ids, by_id);
    sm_sampler_free(s);
    return kept;
}

/* What is left is the best n by rank, give or take `off` at the end. */
static void is_best(uint32_t kept, uint32_t n, uint32_t off, const char *what, int kind) {
    if (kept + off < n || kept > n + off)
        fail_msg("%s of kind %d leaves %u, not %u", what, kind, kept, n);
    static int32_t best[N];
    memcpy(best, order, kept * sizeof *best);
    qsort(best, kept, sizeof *best, by_id);
    assert_memory_equal(best, left_ids, kept * sizeof *best);
}

static uint32_t reaching(double target) {
    double sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        sum += weight[order[i]];
        if (sum >= target)
            return i + 1;
    }
    return N;
}

static uint32_t of_weight(double least) {
    uint32_t n = 0;
    while (n < N && weight[order[n]] >= least)
        n++;
    return n;
}

static void many_are_cut_as_few(void **state) {
    (void)state;
    const uint32_t levels[] = {SM_LEVEL_SCALAR, sm_level_best(SM_LEVEL_AUTO),
                               sm_level_best(SM_LEVEL_AVX2)};
    for (int kind = 0; kind < 5; kind++) {
        fill(kind, 17 + (uint64_t)kind);
        for (size_t l = 0; l < 3; l++) {
            if (!sm_kernels_get(levels[l]))
                continue;
            rank(1);
            for (uint32_t k = 1; k <= N; k = k * 3 + 1)
                is_best(apply(levels[l], &(sm_sampling_step){SM_SAMPLER_TOP_K, 0, {k}}, 1, NULL), k,
                        0, "top-k", kind);
            for (double t = 0.5; t < 2; t += 0.5) {
                const double mass = rank(t);
                for (double p = 0.05; p < 1; p += 0.3) {
                    const sm_sampling_step top_p[] = {{SM_SAMPLER_TEMPERATURE, 0, {t, 0, 1}},
                                                      {SM_SAMPLER_TOP_P, 0, {p}}};
                    is_best(apply(levels[l], top_p, 2, NULL), reaching(p * mass), 1, "top-p", kind);
                    const sm_sampling_step min_p[] = {{SM_SAMPLER_TEMPERATURE, 0, {t, 0, 1}},
                                                      {SM_SAMPLER_MIN_P, 0, {p}}};
                    is_best(apply(levels[l], min_p, 2, NULL), of_weight(p), 1, "min-p", kind);
                    const sm_sampling_step top_a[] = {{SM_SAMPLER_TEMPERATURE, 0, {t, 0, 1}},
                                                      {SM_SAMPLER_TOP_A, 0, {p}}};
                    is_best(apply(levels[l], top_a, 2, NULL), of_weight(p / mass), 2, "top-a",
                            kind);
                }
            }
        }
    }
}

/* Draws of many tokens are those of plain loops, best first or by id. */
static void draws_of_many(void **state) {
    (void)state;
    sm_sampler *s;
    assert_int_equal(
        sm_sampler_new(&s, &mem, sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)), N, 8, NULL), SM_OK);
    for (int kind = 0; kind < 4; kind++) {
        fill(kind, 5 + (uint64_t)kind);
        const double mass = rank(1);
        for (uint32_t seed = 0; seed < test_share(200, 20); seed++) {
            const sm_sampling o = {.struct_size = sizeof o,
                                   .temperature = 1,
                                   .seed = seed,
                                   .top_p = seed % 2 ? 0.97 : 0};
            sm_chain chain;
            int32_t id;
            assert_int_equal(sm_chain_take(&chain, &o, N, NULL), SM_OK);
            const sm_draw d = {.logits = logits};
            assert_int_equal(sm_sample(&id, s, &chain, &d, NULL), SM_OK);
            const uint32_t n = seed % 2 ? reaching(0.97 * mass) : N;
            double left = 0;
            for (uint32_t i = 0; i < n; i++)
                left += weight[seed % 2 ? order[i] : (int32_t)i];
            left *= sm_uniform(seed, 0, 0, SM_DRAW_TOKEN);
            uint32_t i = 0;
            while (i < n && (left -= weight[seed % 2 ? order[i] : (int32_t)i]) >= 0)
                i++;
            assert_int_equal(id, seed % 2 ? order[i] : (int32_t)i);
        }
    }
    sm_sampler_free(s);
}

/* Whatever the parameters: something is left, and of one allowed token that. */
static void something_is_always_left(void **state) {
    (void)state;
    static uint32_t mask[N / 32 + 1];
    uint32_t n_samplers;
    const sm_sampler_info *table = sm_sampler_table(&n_samplers);
    const double sizes[] = {0, 5e-324, 1e-9, 0.5, 1, 2, 100, 16777216};
    for (int kind = 0; kind < 5; kind++) {
        fill(kind, 3);
        logits[5] = -3e38f;
        logits[6] = kind == 4 ? 3e38f : logits[6];
        for (uint32_t i = 0; i < n_samplers; i++) {
            for (size_t k = 0; k < 8; k++) {
                sm_sampling_step step = {.sampler = table[i].sampler};
                for (uint32_t v = 0; v < table[i].n_parameters; v++)
                    step.value[v] = sizes[(k + 3 * v) % 8];
                const sm_sampling o = {.struct_size = sizeof o, .steps = &step, .n_steps = 1};
                sm_chain chain;
                if (sm_chain_take(&chain, &o, N, NULL))
                    continue; /* out of the range of the option */
                assert_true(apply(SM_LEVEL_SCALAR, &step, 1, NULL) > 0);
                memset(mask, 0, sizeof mask);
                mask[777 / 32] = 1u << (777 % 32);
                assert_int_equal(apply(SM_LEVEL_SCALAR, &step, 1, mask), 1);
                assert_int_equal(left_ids[0], 777);
            }
        }
    }
}

static void orders_are_kept(void **state) {
    (void)state;
    sm_chain chain;
    sm_error error = {0};
    sm_sampling o = {.struct_size = sizeof o,
                     .temperature = 0.7,
                     .top_k = 5,
                     .typical_p = 0.9,
                     .order = "Top-K;typ_p, temp"};
    assert_int_equal(sm_chain_take(&chain, &o, N, NULL), SM_OK);
    assert_int_equal(chain.n_steps, 3);
    assert_int_equal(chain.steps[0].sampler, SM_SAMPLER_TOP_K);
    assert_int_equal(chain.steps[1].sampler, SM_SAMPLER_TYPICAL);
    assert_int_equal(chain.steps[2].sampler, SM_SAMPLER_TEMPERATURE);
    o.order = "temperature,top_k";
    assert_int_equal(sm_chain_take(&chain, &o, N, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "typical"));
    o.order = "temperature,top_k,typical,top_k";
    assert_int_equal(sm_chain_take(&chain, &o, N, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "twice"));
    o.order = "temperature,tpo_k";
    assert_int_equal(sm_chain_take(&chain, &o, N, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "did you mean top_k"));
    o.order = NULL;
    const sm_sampling_step steps[] = {{SM_SAMPLER_TOP_K, 0, {NAN}}, {99, 0, {0}}};
    o.steps = steps;
    o.n_steps = 1;
    assert_int_equal(sm_chain_take(&chain, &o, N, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "beside"));
    o = (sm_sampling){.struct_size = sizeof o, .steps = steps, .n_steps = 1};
    assert_int_equal(sm_chain_take(&chain, &o, N, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "k of step 0"));
    o.steps = &steps[1];
    assert_int_equal(sm_chain_take(&chain, &o, N, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "no sampler 99"));

    /* top-p of what top-k left is another thing than the other way round */
    fill(0, 1);
    const sm_sampling_step one[] = {{SM_SAMPLER_TOP_K, 0, {100}}, {SM_SAMPLER_TOP_P, 0, {0.5}}};
    const sm_sampling_step two[] = {{SM_SAMPLER_TOP_P, 0, {0.5}}, {SM_SAMPLER_TOP_K, 0, {100}}};
    assert_true(apply(SM_LEVEL_SCALAR, one, 2, NULL) < apply(SM_LEVEL_SCALAR, two, 2, NULL));
}

/* The names in the order of the documentation, which the program's help repeats. */
static void the_table_is_the_default_order(void **state) {
    (void)state;
    uint32_t n;
    const sm_sampler_info *table = sm_sampler_table(&n);
    static const char *const names[] = {"penalties", "dry",         "top_n_sigma", "top_k",
                                        "typical",   "top_p",       "min_p",       "top_a",
                                        "xtc",       "temperature", "mirostat"};
    assert_int_equal(n, sizeof names / sizeof *names);
    for (uint32_t i = 0; i < n; i++) {
        assert_string_equal(table[i].name, names[i]);
        assert_int_equal(table[i].sampler, i + 1);
        uint64_t length;
        assert_null(sm_names_get(table[i].parameters, table[i].n_parameters, &length));
        assert_null(sm_names_get(table[i].fields, table[i].n_parameters, &length));
        assert_non_null(sm_names_get(table[i].fields, table[i].n_parameters - 1, &length));
    }
}

static void allocations_fail(void **state) {
    (void)state;
    for (uint64_t at = 1; at < 12; at++) {
        fail_alloc counter = {.fail_at = at};
        const sm_allocator allocator = fail_allocator(&counter);
        sm_mem own;
        sm_sampler *s;
        assert_int_equal(sm_mem_init(&own, &allocator, 0, NULL), SM_OK);
        const sm_status status =
            sm_sampler_new(&s, &own, sm_kernels_get(SM_LEVEL_SCALAR), 100, 10, NULL);
        assert_int_equal(status,
                         at <= counter.calls && counter.calls >= at && !s ? SM_ERR_NOMEM : SM_OK);
        sm_sampler_free(s);
        assert_int_equal(counter.live_blocks, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_are_cut_as_few),
        cmocka_unit_test(draws_of_many),
        cmocka_unit_test(something_is_always_left),
        cmocka_unit_test(orders_are_kept),
        cmocka_unit_test(the_table_is_the_default_order),
        cmocka_unit_test(allocations_fail),
    };
    sm_mem_init(&mem, NULL, 0, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
