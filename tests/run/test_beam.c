/* examples/beam.c beside an exhaustive search: with as many beams as there are texts but for their
 * last token it finds the same, and with fewer what a plain account of beam search finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define main beam_main
int beam_main(int argc, char **argv);
#include "../../examples/beam.c"
#undef main

#include "fixture.h"
#include "support.h"

#define V 6
#define LENGTH 3
#define TEXTS (V * V * V)

static const int32_t prompt[] = {1, 4, 2};

/* ln p of a token after others, computed alone. */
static double logprob_of(const sm_model *model, const int32_t *before, uint32_t n, int32_t id) {
    const sm_session_options o = {.struct_size = sizeof o, .n_ctx = 16, .n_threads = 1};
    sm_session *s;
    double all;
    const float *logits;
    assert_int_equal(sm_session_new(&s, model, &o, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, prompt, 3, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, before, n, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    all = 0;
    for (int i = 0; i < V; i++)
        all += exp((double)logits[i]);
    const double logprob = (double)logits[id] - log(all);
    sm_session_free(s);
    return logprob;
}

typedef struct plain {
    int32_t ids[LENGTH];
    double logprob;
} plain;

static int by_logprob(const void *a, const void *b) {
    const double x = ((const plain *)a)->logprob, y = ((const plain *)b)->logprob;
    return (x < y) - (x > y);
}

/* Goes on with the `width` best of each length; how many there are at the end. */
static uint32_t plain_search(const sm_model *model, uint32_t width, plain *best) {
    static plain next[TEXTS];
    uint32_t n = 1;
    best[0].logprob = 0;
    for (uint32_t at = 0; at < LENGTH; at++) {
        uint32_t n_next = 0;
        for (uint32_t i = 0; i < n; i++)
            for (int32_t id = 0; id < V; id++) {
                next[n_next] = best[i];
                next[n_next].ids[at] = id;
                next[n_next++].logprob += logprob_of(model, best[i].ids, at, id);
            }
        qsort(next, n_next, sizeof *next, by_logprob);
        n = n_next < width ? n_next : width;
        memcpy(best, next, n * sizeof *next);
    }
    return n;
}

static uint32_t search(const sm_model *model, uint32_t width, beam *beams) {
    const sm_batch_options o = {.struct_size = sizeof o, .n_sequences = MOST, .n_ctx = 16};
    sm_batch *batch;
    uint32_t n = 1;
    memset(beams, 0, sizeof *beams);
    assert_int_equal(sm_batch_new(&batch, model, &o, NULL), SM_OK);
    assert_int_equal(sm_batch_new_session(&beams[0].session, batch, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(beams[0].session, prompt, 3, NULL), SM_OK);
    for (int i = 0; i < LENGTH; i++)
        assert_int_equal(step(batch, NULL, width, beams, &n, NULL), SM_OK);
    for (uint32_t i = 0; i < n; i++)
        sm_session_free(beams[i].session);
    sm_batch_free(batch);
    return n;
}

static void finds_what_there_is(void **state) {
    (void)state;
    static plain all[TEXTS], best[TEXTS];
    static beam beams[MOST];
    static const uint32_t widths[] = {1, 2, 3, 7, V * V};
    uint32_t missed = 0;
    for (uint64_t seed = 1; seed < test_share(12, 4); seed++) {
        const fixture_model spec = {.seed = seed, .no_vocab = true, .n_rows = V, .n_layer = 1};
        const char *path = scratch_path("beam.gguf");
        sm_model *model;
        assert_int_equal(fixture_write(path, &spec), 0);
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        assert_int_equal(plain_search(model, TEXTS, all), TEXTS); /* exhaustive */
        for (size_t w = 0; w < 5; w++) {
            const uint32_t n = search(model, widths[w], beams);
            assert_int_equal(n, plain_search(model, widths[w], best));
            for (uint32_t i = 0; i < n; i++) {
                assert_true(fabs(beams[i].logprob - best[i].logprob) < 1e-5);
                assert_memory_equal(beams[i].ids, best[i].ids, sizeof best[i].ids);
            }
            if (widths[w] == V * V)
                assert_memory_equal(beams[0].ids, all[0].ids, sizeof all[0].ids);
            missed += memcmp(beams[0].ids, all[0].ids, sizeof all[0].ids) != 0;
        }
        sm_model_free(model);
    }
    /* a narrow search may miss the best: in some of the models, of which a sanitizer gets few */
    assert_true(missed > 0 || test_share(12, 4) < 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_there_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
