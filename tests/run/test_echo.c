/* What a model thought of tokens that it was given: beside logits computed one by one, in all
 * chunkings, by hand and as the echo of a generation. */
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
#define N 90
#define TOP 5

static sm_model *open_model(bool spm, fail_alloc *counter) {
    const char *path = scratch_path("echo.gguf");
    sm_allocator allocator;
    sm_model_options o = {.struct_size = sizeof o};
    sm_model *model;
    assert_int_equal(fixture_write(path, &(fixture_model){.seed = 5, .spm = spm}), 0);
    if (counter) {
        allocator = fail_allocator(counter);
        o.allocator = &allocator;
    }
    assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_OK);
    return model;
}

static sm_session *open_session(const sm_model *model, uint32_t n_batch) {
    const sm_session_options o = {
        .struct_size = sizeof o, .n_ctx = 128, .n_threads = 1, .n_batch = n_batch};
    sm_session *s;
    assert_int_equal(sm_session_new(&s, model, &o, NULL), SM_OK);
    return s;
}

static void make_ids(int32_t *ids) {
    uint64_t seed = 3;
    for (int i = 0; i < N; i++)
        ids[i] = 1 + (int32_t)(test_random(&seed) % 250);
}

/* ln p of a token, in double; and whether it is the i-th of the likeliest. */
static double plain_logprob(const float *logits, int32_t id) {
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < V; i++)
        top = (double)logits[i] > top ? (double)logits[i] : top;
    for (int i = 0; i < V; i++)
        sum += exp((double)logits[i] - top);
    return (double)logits[id] - top - log(sum);
}

static void assert_top(const float *logits, const sm_token_logprob *top) {
    for (int i = 0; i < TOP; i++) {
        uint32_t better = 0;
        for (int id = 0; id < V; id++)
            better += logits[id] > logits[top[i].id] ||
                      (logits[id] == logits[top[i].id] && id < top[i].id);
        assert_int_equal(better, i);
        assert_true(fabs(top[i].logprob - plain_logprob(logits, top[i].id)) < 1e-6);
    }
}

static void as_logits_one_by_one(void **state) {
    (void)state;
    sm_model *model = open_model(false, NULL);
    sm_session *s = open_session(model, 1);
    int32_t ids[N];
    static double all[N];
    static sm_token_logprob top[N][TOP];
    make_ids(ids);
    assert_int_equal(sm_session_feed_logprobs(s, ids, N, TOP, all, top[0], NULL), SM_OK);
    assert_true(isnan(all[0]));
    assert_int_equal(top[0][0].id, -1);
    assert_int_equal(sm_session_length(s), N);
    assert_int_equal(sm_session_rewind(s, 0, NULL), SM_OK);
    for (int i = 0; i < N; i++) {
        const float *logits;
        if (i) {
            assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
            assert_true(fabs(all[i] - plain_logprob(logits, ids[i])) < 1e-6);
            assert_top(logits, top[i]);
        }
        assert_int_equal(sm_session_feed(s, &ids[i], 1, NULL), SM_OK);
    }
    sm_session_free(s);
    sm_model_free(model);
}

/* However many are computed together, and however the tokens are cut into calls. */
static void the_same_bits_in_all_chunkings(void **state) {
    (void)state;
    static const uint32_t batches[] = {1, 7, 16, 64};
    sm_model *model = open_model(false, NULL);
    int32_t ids[N];
    static double first[N], again[N];
    static sm_token_logprob first_top[N][TOP], top[N][TOP];
    make_ids(ids);
    for (size_t b = 0; b < 4; b++)
        for (uint32_t cut = 1; cut <= N; cut += test_share(13, 44)) {
            sm_session *s = open_session(model, batches[b]);
            for (uint32_t at = 0; at < N; at += cut)
                assert_int_equal(sm_session_feed_logprobs(s, ids + at, at + cut < N ? cut : N - at,
                                                          TOP, again + at, top[at], NULL),
                                 SM_OK);
            if (b == 0 && cut == 1) {
                memcpy(first, again, sizeof first);
                memcpy(first_top, top, sizeof top);
            }
            assert_memory_equal(first, again, sizeof first);
            assert_memory_equal(first_top, top, sizeof top);
            sm_session_free(s);
        }
    sm_model_free(model);
}

/* ---- of a generation ------------------------------------------------------------------------- */

typedef struct heard {
    int32_t ids[256];
    double logprobs[256];
    sm_token_logprob top[256][TOP];
    uint32_t n, n_prompt, stop_at;
    char prompt[512], text[2048];
} heard;

static int32_t listen(void *user, const sm_token *token) {
    heard *h = user;
    assert_true(!token->in_prompt || h->n == h->n_prompt);
    strcat(token->in_prompt ? h->prompt : h->text, token->text);
    if (token->id < 0)
        return 0;
    for (uint32_t i = 0; i < token->n_top; i++)
        h->top[h->n][i] = token->top[i];
    h->ids[h->n] = token->id;
    h->logprobs[h->n++] = token->logprob;
    h->n_prompt += token->in_prompt;
    return h->n == h->stop_at;
}

static const char prompt[] = "and then \xc3\xa4 the hand\n in \xe2\x82\xac the inn";

static void echo_of_a_generation(void **state) {
    (void)state;
    for (int spm = 0; spm < 2; spm++) {
        sm_model *model = open_model(spm, NULL);
        static heard plain, echoed;
        static double logprobs[256];
        static sm_token_logprob top[256][TOP];
        const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1, .seed = 9};
        sm_generate_options o = {
            .struct_size = sizeof o, .max_tokens = 20, .sampling = &sampling, .n_logprobs = TOP};
        sm_generate_stats stats = {.struct_size = sizeof stats};
        memset(&plain, 0, sizeof plain);
        sm_session *s = open_session(model, 16), *t = open_session(model, 7);
        assert_int_equal(sm_session_generate(s, prompt, SM_ZT, &o, listen, &plain, NULL), SM_OK);
        o.echo = 1;
        for (int again = 0; again < 2; again++) { /* the second time it is all there */
            memset(&echoed, 0, sizeof echoed);
            assert_int_equal(sm_session_generate(s, prompt, SM_ZT, &o, listen, &echoed, NULL),
                             SM_OK);
            assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
            assert_int_equal(stats.reused_tokens, 0);
            assert_int_equal(echoed.n_prompt, stats.prompt_tokens);
            assert_string_equal(echoed.prompt, prompt);
            assert_string_equal(echoed.text, plain.text);
            assert_int_equal(echoed.n - echoed.n_prompt, plain.n);
            assert_memory_equal(echoed.ids + echoed.n_prompt, plain.ids, plain.n * 4);
            assert_memory_equal(echoed.logprobs + echoed.n_prompt, plain.logprobs, plain.n * 8);
        }
        /* by hand, over prompt and continuation */
        assert_int_equal(
            sm_session_feed_logprobs(t, echoed.ids, echoed.n, TOP, logprobs, top[0], NULL), SM_OK);
        assert_memory_equal(logprobs, echoed.logprobs, echoed.n * sizeof *logprobs);
        assert_memory_equal(top[1], echoed.top[1], (echoed.n - 1) * sizeof *top);
        for (uint32_t i = 0; i < echoed.n_prompt; i++)
            assert_int_equal(echoed.ids[i], test_token(s, i));
        sm_session_free(s);
        sm_session_free(t);
        sm_model_free(model);
    }
}

static void what_is_refused(void **state) {
    (void)state;
    sm_model *model = open_model(false, NULL);
    sm_session *s = open_session(model, 16);
    int32_t ids[N];
    double logprobs[N];
    static heard h;
    char large[300];
    sm_token_logprob top[SM_MAX_LOGPROBS + 1];
    make_ids(ids);
    assert_int_equal(sm_session_feed_logprobs(NULL, ids, 1, 0, logprobs, NULL, NULL),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logprobs(s, ids, 1, 0, NULL, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logprobs(s, ids, 1, 1, logprobs, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logprobs(s, ids, 1, SM_MAX_LOGPROBS + 1, logprobs, top, NULL),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logprobs(s, NULL, 0, 0, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 20, NULL), SM_OK);
    assert_int_equal(sm_session_rewind(s, 10, NULL), SM_OK);
    assert_int_equal(sm_session_feed_logprobs(s, ids, 1, 0, logprobs, NULL, NULL), SM_ERR_STATE);
    assert_int_equal(sm_session_length(s), 10);
    sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 4, .echo = 1, .heal = 1};
    assert_int_equal(sm_session_generate(s, prompt, SM_ZT, &o, listen, &h, NULL), SM_ERR_ARGUMENT);
    o.heal = 0;
    o.context_full = SM_CONTEXT_SLIDE;
    memset(large, '(', sizeof large - 1);
    large[sizeof large - 1] = 0;
    assert_int_equal(sm_session_generate(s, large, SM_ZT, &o, listen, &h, NULL),
                     SM_ERR_CONTEXT_FULL);
    for (h.stop_at = 1; h.stop_at < 8; h.stop_at += 3) {
        h.n = h.n_prompt = 0;
        h.prompt[0] = h.text[0] = 0;
        assert_int_equal(sm_session_generate(s, prompt, SM_ZT, &o, listen, &h, NULL),
                         SM_ERR_CANCELLED);
        assert_int_equal(h.n, h.stop_at);
    }
    sm_session_free(s);
    sm_model_free(model);
}

static void failing_allocations(void **state) {
    (void)state;
    fail_alloc counter = {0};
    sm_model *model = open_model(false, &counter);
    static heard h;
    int32_t ids[N];
    double logprobs[N];
    uint32_t failed = 0;
    make_ids(ids);
    for (uint64_t at = 1; at < 20; at++) {
        sm_session *s = open_session(model, 16);
        const sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 4, .echo = 1};
        assert_int_equal(sm_session_feed(s, ids, 5, NULL), SM_OK);
        counter.fail_at = counter.calls + at;
        sm_status status = sm_session_feed_logprobs(s, ids, N, 0, logprobs, NULL, NULL);
        assert_true(status == SM_OK || status == SM_ERR_NOMEM);
        assert_int_equal(sm_session_length(s), status ? 5 : 5 + N);
        failed += status != SM_OK;
        memset(&h, 0, sizeof h);
        counter.fail_at = counter.calls + at;
        status = sm_session_generate(s, prompt, SM_ZT, &o, listen, &h, NULL);
        assert_true(status == SM_OK || status == SM_ERR_NOMEM);
        failed += status != SM_OK;
        counter.fail_at = 0;
        sm_session_free(s);
    }
    assert_true(failed > 3);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_logits_one_by_one), cmocka_unit_test(the_same_bits_in_all_chunkings),
        cmocka_unit_test(echo_of_a_generation), cmocka_unit_test(what_is_refused),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
