/* Tokens chosen by logits that the program gives in place of the session's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define V FIXTURE_VOCAB

typedef struct fixture {
    sm_model *model;
    sm_session *s;
    float logits[V]; /* what the session says after its prompt */
} fixture;

static void open_fixture(fixture *f) {
    const char *path = scratch_path("own_logits.gguf");
    const sm_session_options o = {.struct_size = sizeof o, .n_ctx = 64, .n_threads = 1};
    const int32_t ids[] = {1, 7, 30};
    const float *logits;
    assert_int_equal(fixture_write(path, &(fixture_model){.seed = 5}), 0);
    assert_int_equal(sm_model_load(&f->model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_new(&f->s, f->model, &o, NULL), SM_OK);
    assert_int_equal(sm_session_feed(f->s, ids, 3, NULL), SM_OK);
    assert_int_equal(sm_session_logits(f->s, &logits, NULL, NULL), SM_OK);
    memcpy(f->logits, logits, sizeof f->logits);
}

static void close_fixture(fixture *f) {
    sm_session_free(f->s);
    sm_model_free(f->model);
}

static int32_t choose(const fixture *f, const sm_sampling *o) {
    int32_t id;
    assert_int_equal(test_sample(f->s, o, &id, NULL, NULL), SM_OK);
    return id;
}

/* Whatever the session thinks of it; and its log-probability stays what the session thinks. */
static void the_likeliest_of_them_is_chosen(void **state) {
    (void)state;
    fixture f;
    float own[V];
    open_fixture(&f);
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp((double)f.logits[i]);
    for (int32_t want = 0; want < V; want++) {
        const sm_sampling o = {.struct_size = sizeof o, .logits = own};
        int32_t id;
        double logprob;
        for (int i = 0; i < V; i++)
            own[i] = i == want ? -1 : -2 - (float)(i % 3);
        assert_int_equal(test_sample(f.s, &o, &id, &logprob, NULL), SM_OK);
        assert_int_equal(id, want);
        assert_true(fabs(logprob - ((double)f.logits[id] - log(sum))) < 1e-5);
    }
    const float *after;
    assert_int_equal(sm_session_logits(f.s, &after, NULL, NULL), SM_OK);
    assert_memory_equal(after, f.logits, sizeof f.logits);
    close_fixture(&f);
}

/* Through the chain as the session's own would go: with biases, penalties, a watermark, a mask. */
static void a_copy_chooses_as_the_session(void **state) {
    (void)state;
    static uint32_t mask[(V + 31) / 32];
    fixture f;
    const sm_logit_bias bias = {.token = 9, .bias = 2};
    const sm_watermark green = {.struct_size = sizeof green, .key = 3};
    const sm_sampling chains[] = {
        {.temperature = 0},
        {.temperature = 1.5},
        {.temperature = 1, .top_k = 20, .top_p = 0.8, .repeat_penalty = 1.3},
        {.temperature = 1, .bias = &bias, .n_bias = 1, .watermark = &green},
        {.temperature = 1, .mask = mask},
        {.temperature = 1, .typical_p = 0.7, .xtc_probability = 0.5},
    };
    open_fixture(&f);
    for (int i = 0; i < V; i += 3)
        mask[i / 32] |= 1U << i % 32;
    float other[V];
    for (int i = 0; i < V; i++)
        other[i] = -f.logits[i];
    uint32_t differ = 0;
    for (size_t c = 0; c < sizeof chains / sizeof *chains; c++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            sm_sampling o = chains[c];
            o.struct_size = sizeof o;
            o.seed = seed;
            const int32_t id = choose(&f, &o);
            o.logits = f.logits;
            assert_int_equal(choose(&f, &o), id);
            o.logits = other;
            const int32_t turned = choose(&f, &o);
            differ += turned != id;
            if (o.mask)
                assert_int_equal(turned % 3, 0);
        }
    assert_true(differ > 60);
    close_fixture(&f);
}

static void expect_refused(const fixture *f, const sm_sampling *o, const char *says) {
    sm_error error = {0};
    int32_t id;
    assert_int_equal(test_sample(f->s, o, &id, NULL, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, says));
    assert_int_equal(id, -1);
}

static void what_is_refused(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    fixture f;
    float own[V];
    sm_error error = {0};
    const sm_sampling greedy = {.struct_size = sizeof greedy, .logits = own},
                      drawn = {.struct_size = sizeof drawn, .logits = own, .temperature = 1};
    const sm_generate_options o = {.struct_size = sizeof o, .sampling = &greedy, .max_tokens = 2};
    open_fixture(&f);
    for (int w = 0; w < 3; w++)
        for (int at = 0; at < V; at += 37) {
            memcpy(own, f.logits, sizeof own);
            own[at] = wrong[w];
            expect_refused(&f, &greedy, "logits");
            expect_refused(&f, &drawn, "logits");
        }
    memcpy(own, f.logits, sizeof own);
    assert_int_equal(sm_session_generate(f.s, "and", SM_ZT, &o, NULL, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "option logits"));
    assert_true(choose(&f, &drawn) >= 0); /* and the session goes on */
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_likeliest_of_them_is_chosen),
        cmocka_unit_test(a_copy_chooses_as_the_session),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
