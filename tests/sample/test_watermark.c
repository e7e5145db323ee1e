/* Watermarks: found by who knows the key, in what was generated with it and in nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "sample/sample.h"
#include "support.h"

#define N 2000

static const sm_watermark marks[] = {
    {.struct_size = sizeof(sm_watermark), .key = 5},
    {.struct_size = sizeof(sm_watermark), .key = 5, .width = 3, .gamma = 0.5, .delta = 3},
    {.struct_size = sizeof(sm_watermark), .key = 5, .seeding = SM_WATERMARK_SELF},
    {.struct_size = sizeof(sm_watermark), .key = 5, .seeding = SM_WATERMARK_SELF, .width = 1},
};
#define MARKS (sizeof marks / sizeof *marks)

static sm_watermark_score detect(const sm_watermark *w, const int32_t *ids, uint64_t n) {
    sm_watermark_score score = {.struct_size = sizeof score};
    sm_error error;
    if (sm_watermark_detect(w, ids, n, &score, &error))
        fail_msg("%s", error.message);
    return score;
}

/* In texts of anybody's gamma of the tokens are green, and z is what chance makes it. */
static void finds_none_where_there_is_none(void **state) {
    (void)state;
    static int32_t ids[N];
    uint64_t seed = 3;
    for (size_t m = 0; m < MARKS; m++) {
        double squares = 0;
        for (int text = 0; text < 40; text++) {
            for (int i = 0; i < N; i++)
                ids[i] = (int32_t)(test_random(&seed) % 50000);
            const sm_watermark_score score = detect(&marks[m], ids, N);
            assert_int_equal(score.n_repeated, 0);
            assert_true(fabs(score.z) < 5);
            assert_true(fabs(score.p - 0.5 * erfc(score.z / sqrt(2))) < 1e-12);
            squares += score.z * score.z;
        }
        assert_true(squares / 40 > 0.4 && squares / 40 < 2); /* variance 1 */
    }
}

static void what_is_repeated_counts_once(void **state) {
    (void)state;
    static int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i % 10;
    for (size_t m = 0; m < MARKS; m++) {
        const sm_watermark_score score = detect(&marks[m], ids, N);
        assert_int_equal(score.n_scored, 10);
        const uint64_t width = marks[m].width ? marks[m].width : marks[m].seeding ? 4 : 1;
        assert_int_equal(score.n_repeated, N - 10 - width);
    }
}

/* What is marked is what is counted: each token is green or not, for both. */
static void marks_what_is_found(void **state) {
    (void)state;
    static float logits[1000];
    for (size_t m = 0; m < MARKS; m++) {
        sm_watermark w;
        const int32_t before[] = {17, 4, 900, 33, 5};
        assert_int_equal(sm_watermark_take(&w, &marks[m], NULL), SM_OK);
        memset(logits, 0, sizeof logits);
        sm_watermark_mark(&w, logits, 1000, before, w.width - 1);
        for (int i = 0; i < 1000; i++) /* too few tokens before */
            assert_true(logits[i] == 0);
        sm_watermark_mark(&w, logits, 1000, before, 5);
        int green = 0;
        for (int32_t i = 0; i < 1000; i++) {
            int32_t ids[] = {17, 4, 900, 33, 5, i};
            const sm_watermark_score with = detect(&w, ids + 5 - w.width, w.width + 1);
            assert_int_equal(with.n_scored, 1);
            assert_int_equal(with.n_green, logits[i] != 0);
            assert_true(logits[i] == 0 || logits[i] == (float)w.delta);
            green += logits[i] != 0;
        }
        assert_true(fabs(green - 1000 * w.gamma) < 6 * sqrt(1000 * w.gamma * (1 - w.gamma)));
    }
}

/* ---- generated ------------------------------------------------------------------------------- */

typedef struct told {
    int32_t ids[400];
    uint32_t n;
} told;

static int32_t on_token(void *user, const sm_token *token) {
    told *t = user;
    if (token->id >= 0)
        t->ids[t->n++] = token->id;
    return 0;
}

static void generated_texts_have_it(void **state) {
    (void)state;
    static told t, again;
    const fixture_model spec = {.n_ctx = 512};
    const char *path = scratch_path("watermark.gguf");
    sm_model *model;
    sm_session *s;
    assert_int_equal(fixture_write(path, &spec), 0);
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    for (size_t m = 0; m < MARKS; m++) {
        sm_watermark w = marks[m];
        w.delta = 4;
        sm_sampling sampling = {
            .struct_size = sizeof sampling, .temperature = 1.5, .seed = m, .watermark = &w};
        sm_generate_options o = {
            .struct_size = sizeof o, .max_tokens = 300, .sampling = &sampling, .ignore_end = 1};
        t.n = again.n = 0;
        assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, on_token, &t, NULL), SM_OK);
        o.speculate = SM_SPECULATE_NGRAM;
        assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, on_token, &again, NULL), SM_OK);
        assert_memory_equal(t.ids, again.ids, sizeof t.ids);
        const sm_watermark_score found = detect(&w, t.ids, t.n);
        assert_true(found.z > 6 && found.p < 1e-8);
        w.key = 6;
        assert_true(fabs(detect(&w, t.ids, t.n).z) < 4.5);
        sampling.watermark = NULL;
        t.n = 0;
        w.key = 5;
        assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, on_token, &t, NULL), SM_OK);
        assert_true(fabs(detect(&w, t.ids, t.n).z) < 4.5);
    }
    /* a bad one is refused where it is to be used */
    const sm_watermark bad = {.struct_size = sizeof bad, .gamma = 1};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .watermark = &bad};
    int32_t id;
    sm_error error;
    assert_int_equal(test_sample(s, &sampling, &id, NULL, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "gamma"));
    sm_session_free(s);
    sm_model_free(model);
}

static void arguments(void **state) {
    (void)state;
    sm_watermark_score score = {.struct_size = sizeof score};
    sm_watermark w = {.struct_size = sizeof w};
    const int32_t ids[] = {1, 2, 3};
    assert_int_equal(sm_watermark_detect(NULL, ids, 3, &score, NULL), SM_OK);
    assert_int_equal(score.n_scored, 2);
    assert_int_equal(sm_watermark_detect(&w, NULL, 0, &score, NULL), SM_OK);
    assert_true(score.z == 0 && score.p == 0.5);
    assert_int_equal(sm_watermark_detect(&w, NULL, 3, &score, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_watermark_detect(&w, ids, 3, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_watermark_detect(&w, ids, UINT64_MAX, &score, NULL), SM_ERR_NOMEM);
    w.width = 17;
    assert_int_equal(sm_watermark_detect(&w, ids, 3, &score, NULL), SM_ERR_ARGUMENT);
    w.width = 0;
    w.gamma = 1;
    assert_int_equal(sm_watermark_detect(&w, ids, 3, &score, NULL), SM_ERR_ARGUMENT);
    w.gamma = 0;
    w.seeding = 2;
    assert_int_equal(sm_watermark_detect(&w, ids, 3, &score, NULL), SM_ERR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_none_where_there_is_none),
        cmocka_unit_test(what_is_repeated_counts_once),
        cmocka_unit_test(marks_what_is_found),
        cmocka_unit_test(generated_texts_have_it),
        cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
