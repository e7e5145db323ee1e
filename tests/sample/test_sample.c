/* Sampling on logits made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sample/sample.h"

#define VOCAB 100

static sm_mem mem;

typedef struct bench {
    sm_sampler *sampler;
    float logits[VOCAB]; /* logits[i] = log of a probability proportional to i + 1 */
} bench;

static bench b;

static int setup(void **state) {
    (void)state;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    for (int i = 0; i < VOCAB; i++)
        b.logits[i] = logf((float)(i + 1));
    return sm_sampler_new(&b.sampler, &mem, sm_kernels_get(SM_LEVEL_SCALAR), VOCAB, 20000, NULL);
}

static int teardown(void **state) {
    (void)state;
    sm_sampler_free(b.sampler);
    assert_int_equal(mem.in_use, 0);
    return 0;
}

/* Nothing is left over from one call to the next: twice the same. */
static int32_t draw(const sm_sampling *raw, const int32_t *ids, uint32_t length) {
    sm_chain chain;
    sm_error error = {0};
    assert_int_equal(sm_chain_take(&chain, raw, VOCAB, &error), SM_OK);
    int32_t id, again;
    const sm_draw d = {.logits = b.logits, .ids = ids, .length = length};
    if (sm_sample(&id, b.sampler, &chain, &d, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_sample(&again, b.sampler, &chain, &d, &error), SM_OK);
    assert_int_equal(again, id);
    return id;
}

/* Shares of n draws at positions 0, 1, …; ids are zeros and penalties off. */
static void shares(sm_sampling o, double *share, uint32_t n) {
    int32_t *ids = calloc(n, sizeof *ids);
    memset(share, 0, VOCAB * sizeof *share);
    for (uint32_t i = 0; i < n; i++)
        share[draw(&o, ids, i)] += 1.0 / n;
    free(ids);
}

/* The known answers of Random123's philox4x32-10. */
static void uniform_is_philox(void **state) {
    (void)state;
    assert_true(sm_uniform(0, 0, 0, 0) == (double)(0x6627e8d5e169c58dull >> 11) * 0x1p-53);
    assert_true(sm_uniform(UINT64_MAX, UINT64_MAX, UINT64_MAX, 0) ==
                (double)(0x408f276d41c83b0eull >> 11) * 0x1p-53);
    assert_true(sm_uniform(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0x85a308d3243f6a88ull,
                           0) == (double)(0xd16cfe0994fdccebull >> 11) * 0x1p-53);
}

static void greedy_takes_the_likeliest(void **state) {
    (void)state;
    assert_int_equal(draw(NULL, NULL, 0), VOCAB - 1);
    b.logits[7] = b.logits[VOCAB - 1]; /* of equals the lower id */
    assert_int_equal(draw(NULL, NULL, 0), 7);
    const sm_sampling one = {.struct_size = sizeof one, .temperature = 1.5, .top_k = 1};
    assert_int_equal(draw(&one, NULL, 0), 7);
}

static void draws_follow_the_distribution(void **state) {
    (void)state;
    double share[VOCAB];
    shares((sm_sampling){.struct_size = sizeof(sm_sampling), .temperature = 1, .seed = 5}, share,
           20000);
    for (int i = 0; i < VOCAB; i++) {
        const double p = (i + 1) / 5050.0;
        assert_true(fabs(share[i] - p) < 5 * sqrt(p * (1 - p) / 20000));
    }
    /* temperature 0.5 squares the probabilities */
    shares((sm_sampling){.struct_size = sizeof(sm_sampling), .temperature = 0.5, .seed = 5}, share,
           20000);
    double top = 0;
    for (int i = 90; i < VOCAB; i++)
        top += share[i];
    double expected = 0, total = 0;
    for (int i = 0; i < VOCAB; i++) {
        total += (i + 1) * (i + 1);
        expected += i >= 90 ? (i + 1) * (i + 1) : 0;
    }
    assert_true(fabs(top - expected / total) < 0.02);
}

static void filters_cut_the_tail(void **state) {
    (void)state;
    double share[VOCAB];
    shares((sm_sampling){.struct_size = sizeof(sm_sampling), .temperature = 1, .top_k = 3}, share,
           3000);
    assert_true(share[96] == 0 && share[97] > 0.25 && share[98] > 0.25 && share[99] > 0.25);

    /* the likeliest two have (100 + 99) / 5050 = 3.94%: 3.9% needs both, 1.9% one */
    shares((sm_sampling){.struct_size = sizeof(sm_sampling), .temperature = 1, .top_p = 0.039},
           share, 1000);
    assert_true(share[99] + share[98] > 0.999 && share[98] > 0.3);
    shares((sm_sampling){.struct_size = sizeof(sm_sampling), .temperature = 1, .top_p = 0.019},
           share, 100);
    assert_true(share[99] > 0.999);

    /* min-p 0.95: ids with (i + 1) / 100 >= 0.95 */
    shares((sm_sampling){.struct_size = sizeof(sm_sampling), .temperature = 1, .min_p = 0.945},
           share, 3000);
    assert_true(share[93] == 0 && share[94] > 0.1);
}

/* top-k, then top-p of what it left, then min-p: what min-p drops counts for top-p. */
static void filters_apply_in_order(void **state) {
    (void)state;
    double share[VOCAB];
    /* one token of .4, one of .25, the rest share .35 */
    for (int i = 0; i < VOCAB; i++)
        b.logits[i] = logf(0.35f / (VOCAB - 2));
    b.logits[3] = logf(0.4f);
    b.logits[8] = logf(0.25f);
    const uint32_t tops[] = {0, VOCAB - 1, 50};
    for (size_t i = 0; i < 3; i++) {
        shares((sm_sampling){.struct_size = sizeof(sm_sampling),
                             .temperature = 1,
                             .top_k = tops[i],
                             .top_p = 0.5,
                             .min_p = 0.3},
               share, 500);
        assert_true(share[3] > 0.5 && share[8] > 0.25);
        assert_true(share[3] + share[8] > 0.999);
    }
    /* more than 256 tokens in the nucleus: the sorted part has to grow */
    static float logits[5000];
    sm_sampler *large;
    const sm_sampling raw = {.struct_size = sizeof raw, .temperature = 1, .top_p = 0.5, .seed = 1};
    sm_chain chain;
    assert_int_equal(
        sm_sampler_new(&large, &mem, sm_kernels_get(SM_LEVEL_SCALAR), 5000, 2000, NULL), SM_OK);
    assert_int_equal(sm_chain_take(&chain, &raw, 5000, NULL), SM_OK);
    int32_t zeros[2000] = {0}, id, highest = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        const sm_draw d = {.logits = logits, .ids = zeros, .length = i};
        assert_int_equal(sm_sample(&id, large, &chain, &d, NULL), SM_OK);
        highest = id > highest ? id : highest;
    }
    sm_sampler_free(large);
    assert_true(highest < 2500 && highest > 2450); /* equals go by id: the first half */
}

static void nothing_to_choose_is_an_error(void **state) {
    (void)state;
    sm_error error = {0};
    sm_logit_bias ban[VOCAB];
    for (int32_t i = 0; i < VOCAB; i++)
        ban[i] = (sm_logit_bias){.token = i, .bias = -INFINITY};
    const sm_sampling raw = {.struct_size = sizeof raw, .bias = ban, .n_bias = VOCAB};
    sm_chain chain;
    int32_t id;
    const sm_draw d = {.logits = b.logits};
    assert_int_equal(sm_chain_take(&chain, &raw, VOCAB, &error), SM_OK);
    assert_int_equal(sm_sample(&id, b.sampler, &chain, &d, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "bias"));
    assert_int_equal(sm_chain_take(&chain, NULL, VOCAB, &error), SM_OK);
    float kept[VOCAB];
    memcpy(kept, b.logits, sizeof kept);
    for (int i = VOCAB; i-- > 0;) { /* one, that no maximum finds, to all */
        b.logits[i] = NAN;
        assert_int_equal(sm_sample(&id, b.sampler, &chain, &d, &error), SM_ERR_FORMAT);
        assert_int_equal(id, -1);
    }
    memcpy(b.logits, kept, sizeof kept);
}

/* Those that a mask allows and no ban takes away are chosen from. */
static void masks_and_bans(void **state) {
    (void)state;
    uint32_t mask[(VOCAB + 31) / 32] = {1u << 7 | 1u << 9, 0, 1u << 1};
    const int32_t banned[] = {65, 9};
    const sm_sampling ways[] = {
        {.struct_size = sizeof *ways},
        {.struct_size = sizeof *ways, .temperature = 1},
        {.struct_size = sizeof *ways, .temperature = 1, .top_k = 50},
        {.struct_size = sizeof *ways, .temperature = 1, .top_p = 0.9},
        {.struct_size = sizeof *ways, .temperature = 1, .min_p = 0.1},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        sm_chain chain;
        sm_error error;
        assert_int_equal(sm_chain_take(&chain, &ways[i], VOCAB, NULL), SM_OK);
        for (uint32_t n = 0; n < 200; n++) {
            const int32_t ids[200] = {0};
            sm_draw d = {.logits = b.logits, .mask = mask, .ids = ids, .length = n};
            int32_t id;
            assert_int_equal(sm_sample(&id, b.sampler, &chain, &d, NULL), SM_OK);
            assert_true(id == 7 || id == 9 || id == 65);
            d.banned = banned;
            d.n_banned = 2;
            assert_int_equal(sm_sample(&id, b.sampler, &chain, &d, NULL), SM_OK);
            assert_int_equal(id, 7);
            mask[0] = 1u << 9;
            assert_int_equal(sm_sample(&id, b.sampler, &chain, &d, &error), SM_ERR_ARGUMENT);
            assert_int_equal(id, -1);
            mask[0] = 1u << 7 | 1u << 9;
        }
    }
}

static void draws_depend_on_seed_sequence_position(void **state) {
    (void)state;
    int32_t ids[64] = {0};
    int same[3] = {0};
    for (uint32_t i = 0; i < 64; i++) {
        const sm_sampling base = {.struct_size = sizeof base, .temperature = 1, .seed = 9};
        sm_sampling seed = base, sequence = base;
        seed.seed = 10;
        sequence.sequence = 1;
        const int32_t id = draw(&base, ids, i);
        assert_int_equal(draw(&base, ids, i), id);
        same[0] += draw(&seed, ids, i) == id;
        same[1] += draw(&sequence, ids, i) == id;
        same[2] += i > 0 && draw(&base, ids, i - 1) == id;
    }
    assert_true(same[0] < 8 && same[1] < 8 && same[2] < 8);
}

static void penalties_and_bias(void **state) {
    (void)state;
    const int32_t ids[] = {99, 99, 98, 3};
    sm_sampling o = {.struct_size = sizeof o, .repeat_penalty = 2};
    assert_int_equal(draw(&o, ids, 4), 97);
    o.penalty_last_n = 2; /* sees 98 and 3 only */
    assert_int_equal(draw(&o, ids, 4), 99);
    o = (sm_sampling){.struct_size = sizeof o, .presence_penalty = 1};
    assert_int_equal(draw(&o, ids, 4), 97);
    /* 99 occurred twice: log 100 - 2 * 0.0075 < log 99 < log 100 - 0.0075 */
    const int32_t twice[] = {99, 99, 97, 3};
    o = (sm_sampling){.struct_size = sizeof o, .frequency_penalty = 0.0075};
    assert_int_equal(draw(&o, twice, 4), 98);
    o = (sm_sampling){.struct_size = sizeof o, .presence_penalty = 0.0075};
    assert_int_equal(draw(&o, twice, 4), 99);

    const sm_logit_bias bias[] = {{.token = 99, .bias = -INFINITY}, {.token = 5, .bias = 100}};
    o = (sm_sampling){.struct_size = sizeof o, .bias = bias, .n_bias = 1};
    assert_int_equal(draw(&o, NULL, 0), 98);
    o.n_bias = 2;
    assert_int_equal(draw(&o, NULL, 0), 5);
    o = (sm_sampling){.struct_size = sizeof o, .bias = bias, .n_bias = 1, .temperature = 1};
    for (uint32_t i = 0; i < 500; i++) {
        int32_t zeros[500] = {0};
        assert_int_not_equal(draw(&o, zeros, i), 99);
    }
}

static void logprob_is_log_softmax(void **state) {
    (void)state;
    for (int32_t i = 0; i < VOCAB; i++)
        assert_true(fabs(sm_logprob(b.sampler, b.logits, i) - log((i + 1) / 5050.0)) < 1e-5);
}

static void refused(const sm_sampling *o, const char *word, sm_status expected) {
    sm_chain taken;
    sm_error error = {0};
    assert_int_equal(sm_chain_take(&taken, o, VOCAB, &error), expected);
    assert_int_equal(error.code, expected);
    assert_non_null(strstr(error.message, word));
}

static void options_out_of_range_are_named(void **state) {
    (void)state;
    const uint32_t size = sizeof(sm_sampling);
    const sm_logit_bias outside = {.token = VOCAB}, nan_bias = {.token = 1, .bias = NAN};
    refused(&(sm_sampling){.struct_size = size, .temperature = -1}, "temperature", SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = size, .temperature = NAN}, "temperature",
            SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = size, .top_p = 1.5}, "top_p", SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = size, .min_p = -0.1}, "min_p", SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = size, .repeat_penalty = INFINITY}, "repeat_penalty",
            SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = size, .n_bias = 1}, "bias", SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = size, .n_bias = 1, .bias = &outside}, "bias",
            SM_ERR_TOKEN);
    refused(&(sm_sampling){.struct_size = size, .n_bias = 1, .bias = &nan_bias}, "bias",
            SM_ERR_ARGUMENT);
    refused(&(sm_sampling){.struct_size = 4}, "struct_size", SM_ERR_ARGUMENT);

    /* a longer struct of a later version: fine while what is new is zero */
    struct {
        sm_sampling known;
        uint64_t later;
    } longer = {.known = {.struct_size = sizeof longer}};
    sm_chain taken;
    assert_int_equal(sm_chain_take(&taken, &longer.known, VOCAB, NULL), SM_OK);
    longer.later = 1;
    assert_int_equal(sm_chain_take(&taken, &longer.known, VOCAB, NULL), SM_ERR_ARGUMENT);
    /* a shorter one of an earlier version */
    sm_sampling shorter = {.struct_size = 16, .temperature = 0.5, .top_p = 77};
    assert_int_equal(sm_chain_take(&taken, &shorter, VOCAB, NULL), SM_OK);
    assert_true(taken.options.temperature == 0.5 && taken.options.top_p == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(uniform_is_philox, setup, teardown),
        cmocka_unit_test_setup_teardown(greedy_takes_the_likeliest, setup, teardown),
        cmocka_unit_test_setup_teardown(draws_follow_the_distribution, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_cut_the_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_apply_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_choose_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(masks_and_bans, setup, teardown),
        cmocka_unit_test_setup_teardown(draws_depend_on_seed_sequence_position, setup, teardown),
        cmocka_unit_test_setup_teardown(penalties_and_bias, setup, teardown),
        cmocka_unit_test_setup_teardown(logprob_is_log_softmax, setup, teardown),
        cmocka_unit_test_setup_teardown(options_out_of_range_are_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
