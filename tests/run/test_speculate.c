/* Speculation changes no token, no log-probability and no logit, whoever guesses and however wrong;
 * and it gives up where guesses are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <math.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "run/run.h"
#include "several.h"
#include "support.h"

#define V FIXTURE_VOCAB
#define CONTEXT 256
#define MOST 256
#define PROMPT "the cat and the hat and the cat and the hat and the bat and the"

static sm_model *open_model(const fixture_model *spec, const sm_allocator *allocator) {
    const char *path = scratch_path("speculate.gguf");
    const sm_model_options o = {.struct_size = sizeof o, .allocator = allocator};
    sm_model *model;
    sm_error error;
    assert_int_equal(fixture_write(path, spec), 0);
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session *open_session(const sm_model *model, uint32_t threads, uint32_t n_batch,
                                uint32_t kv_type) {
    const sm_session_options o = {.struct_size = sizeof o,
                                  .n_ctx = CONTEXT,
                                  .n_threads = threads,
                                  .n_batch = n_batch,
                                  .kv_type = kv_type};
    sm_session *s;
    sm_error error;
    if (sm_session_new(&s, model, &o, &error))
        fail_msg("%s", error.message);
    return s;
}

/* What a generate gave. */
typedef struct told {
    uint32_t n;
    int32_t ids[MOST];
    double logprobs[MOST];
    char text[8 * MOST];
    sm_generate_stats stats;
    float logits[V];
    uint32_t length;
    sm_session *watched; /* whose state is looked at in each callback */
} told;

static int32_t on_token(void *user, const sm_token *token) {
    told *t = user;
    if (token->id >= 0) {
        const float *logits;
        t->ids[t->n] = token->id;
        t->logprobs[t->n++] = token->logprob;
        /* behind everything before this token, whatever was computed ahead */
        assert_int_equal(sm_session_length(t->watched), t->length + t->n - 1);
        assert_int_equal(sm_session_logits(t->watched, &logits, NULL, NULL), SM_OK);
        assert_int_equal(test_token(t->watched, t->length + t->n - 1), -1);
        if (t->n > 1)
            assert_int_equal(test_token(t->watched, t->length + t->n - 2), t->ids[t->n - 2]);
    }
    strcat(t->text, token->text);
    return 0;
}

static void generate(told *t, sm_session *s, const char *prompt, const sm_generate_options *o) {
    sm_error error;
    const float *logits;
    memset(t, 0, sizeof *t);
    t->watched = s;
    t->stats.struct_size = sizeof t->stats;
    /* the length of the prompt is not known before */
    int32_t ids[CONTEXT];
    uint64_t n;
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_get_tokenizer(s->model, &tokenizer, NULL), SM_OK);
    assert_int_equal(sm_tokenizer_encode(tokenizer, prompt, strlen(prompt),
                                         ENCODE(SM_ENCODE_MARKERS), ids, CONTEXT, &n, NULL),
                     SM_OK);
    sm_tokenizer_free(tokenizer);
    t->length = (uint32_t)n;
    if (sm_session_generate(s, prompt, SM_ZT, o, on_token, t, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_get_stats(s, &t->stats, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    memcpy(t->logits, logits, sizeof t->logits);
    t->length = sm_session_length(s);
    t->watched = NULL;
}

static void assert_same(const told *a, const told *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->stats.finish, b->stats.finish);
    assert_int_equal(a->stats.generated_tokens, b->stats.generated_tokens);
    assert_int_equal(a->length, b->length);
    assert_memory_equal(a->logits, b->logits, sizeof a->logits);
}

static const sm_sampling samplings[] = {
    {.struct_size = sizeof(sm_sampling)},
    {.struct_size = sizeof(sm_sampling), .temperature = 0.3, .seed = 5},
    {.struct_size = sizeof(sm_sampling), .temperature = 1.2, .top_k = 20, .seed = 6},
    {.struct_size = sizeof(sm_sampling),
     .temperature = 0.7,
     .repeat_penalty = 1.3,
     .frequency_penalty = 0.2,
     .seed = 7},
    {.struct_size = sizeof(sm_sampling), .temperature = 1, .mirostat = 2, .seed = 8},
    {.struct_size = sizeof(sm_sampling),
     .temperature = 1,
     .dry_multiplier = 0.8,
     .xtc_probability = 0.5,
     .top_p = 0.9,
     .seed = 9},
};
#define SAMPLINGS (sizeof samplings / sizeof *samplings)

/* Guesses of the text, of the same model, of another one, of both. */
enum { NGRAM, SELF, OTHER, BOTH, MODES };

static void changes_no_bit(void **state) {
    (void)state;
    static told plain, ahead;
    uint64_t accepted[MODES] = {0};
    fixture_model small = {.n_layer = 1, .seed = 99};
    sm_model *other = open_model(&small, NULL);
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m], NULL);
        for (uint32_t type = 0; type < 7; type++)
            for (size_t i = 0; i < SAMPLINGS; i++) {
                if ((m + i + type) % test_share(3, 7))
                    continue;
                const uint32_t n_batch = type % 2 ? 16 : 100;
                sm_generate_options o = {.struct_size = sizeof o,
                                         .max_tokens = i % 2 ? 0 : 120,
                                         .sampling = &samplings[i],
                                         .ignore_end = 1};
                sm_session *s = open_session(model, 1, n_batch, type);
                generate(&plain, s, PROMPT, &o);
                sm_session_free(s);
                for (int mode = 0; mode < MODES; mode++) {
                    s = open_session(model, 1 + (uint32_t)mode % 2, n_batch, type);
                    sm_session *draft =
                        open_session(mode == SELF ? model : other, 1, 32, SM_KV_TYPE_F16);
                    o.speculate = mode == NGRAM || mode == BOTH ? SM_SPECULATE_NGRAM : 0;
                    o.draft = mode == NGRAM ? NULL : draft;
                    o.draft_tokens = 1 + (uint32_t)(i * 7 + type) % 20;
                    for (int again = 0; again < 2; again++) {
                        generate(&ahead, s, PROMPT, &o);
                        assert_same(&plain, &ahead);
                        assert_true(ahead.stats.accepted_tokens <= ahead.stats.drafted_tokens);
                        accepted[mode] += ahead.stats.accepted_tokens;
                    }
                    sm_session_free(draft);
                    sm_session_free(s);
                }
            }
        sm_model_free(model);
    }
    sm_model_free(other);
    for (int mode = 0; mode < MODES; mode++)
        assert_true(accepted[mode] > 0);
}

/* What follows a speculating call, on the same session and on a copy. */
static void the_session_goes_on_alike(void **state) {
    (void)state;
    static told plain, ahead;
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m], NULL);
        sm_session *a = open_session(model, 1, 16, 0), *b = open_session(model, 1, 16, 0), *fork;
        sm_generate_options o = {
            .struct_size = sizeof o, .max_tokens = 60, .ignore_end = 1, .stop = NULL};
        generate(&plain, a, PROMPT, &o);
        o.speculate = SM_SPECULATE_NGRAM;
        generate(&ahead, b, PROMPT, &o);
        assert_same(&plain, &ahead);
        assert_int_equal(sm_session_fork(&fork, b, NULL, NULL), SM_OK);
        sm_session *const all[] = {a, b, fork};
        static float rows[3][9][V];
        for (int i = 0; i < 3; i++) {
            const int32_t ids[9] = {5, 6, 7, 8, 9, 10, 11, 12, 13};
            assert_int_equal(sm_session_rewind(all[i], sm_session_length(a) - (i ? 0 : 10), NULL),
                             SM_OK);
            if (i)
                assert_int_equal(sm_session_rewind(all[i], sm_session_length(a) - 9, NULL), SM_OK);
            assert_int_equal(sm_session_feed_logits(all[i], ids, 9, rows[i][0], UINT64_MAX, NULL),
                             SM_OK);
            assert_memory_equal(rows[i], rows[0], sizeof rows[0]);
        }
        sm_session_free(a);
        sm_session_free(b);
        sm_session_free(fork);
        sm_model_free(model);
    }
}

/* Stop strings, the end of the text and of the context come where they came. */
static void ends_where_it_ended(void **state) {
    (void)state;
    static told plain, ahead;
    sm_model *model = open_model(&several[0], NULL);
    for (uint64_t seed = 0; seed < 12; seed++) {
        const sm_sampling sampling = {
            .struct_size = sizeof sampling, .temperature = 1.5, .seed = seed};
        const sm_text stops[] = {{"e", SM_ZT}, {"th", SM_ZT}};
        sm_generate_options o = {.struct_size = sizeof o,
                                 .sampling = &sampling,
                                 .stop = seed % 3 ? NULL : stops,
                                 .n_stop = seed % 3 ? 0 : 2};
        sm_session *s = open_session(model, 1, 64, 0), *draft = open_session(model, 1, 64, 0);
        generate(&plain, s, PROMPT, &o);
        o.draft = draft;
        generate(&ahead, s, PROMPT, &o);
        assert_same(&plain, &ahead);
        sm_session_free(s);
        sm_session_free(draft);
    }
    sm_model_free(model);
}

/* Guesses that never come true cost a small part of the steps; those that always do save most. */
static void tries_as_much_as_comes_true(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0], NULL);
    sm_session *s = open_session(model, 1, 64, 0);
    sm_chain chain;
    uint64_t seed = 3;
    int32_t id = 1;
    assert_int_equal(sm_chain_take(&chain, NULL, V, NULL), SM_OK);
    assert_int_equal(sm_ahead_begin(s, true, NULL, 16, NULL), SM_OK);
    for (uint32_t i = 0; i < CONTEXT; i++) { /* the same three, and then another each time */
        id = i % 5 < 3 ? (int32_t)(i % 5) + 1 : 10 + (int32_t)(test_random(&seed) % 240);
        assert_int_equal(sm_ahead_feed(s, &chain, id, 100, NULL), SM_OK);
    }
    assert_true(s->stats.drafted_tokens > 0 && s->stats.drafted_tokens < 40);
    assert_int_equal(sm_session_rewind(s, 0, NULL), SM_OK);
    memset(&s->stats, 0, sizeof s->stats);
    assert_int_equal(sm_ahead_begin(s, true, NULL, 16, NULL), SM_OK);
    s->ahead.started = false;
    assert_int_equal(sm_ahead_begin(s, true, NULL, 16, NULL), SM_OK);
    for (uint32_t i = 0; i < CONTEXT; i++)
        assert_int_equal(sm_ahead_feed(s, &chain, 1 + (int32_t)(i % 7), 100, NULL), SM_OK);
    assert_true(s->stats.accepted_tokens > CONTEXT * 3 / 4);
    sm_session_free(s);
    sm_model_free(model);
}

/* A guess that nobody comes to may have logits that are none. */
static void guesses_may_be_damaged(void **state) {
    (void)state;
    static told plain, ahead;
    const fixture_model spoilt = {.untied = true, .nan_tensor = "token_embd.weight"}; /* token 0 */
    sm_model *model = open_model(&spoilt, NULL), *whole = open_model(&several[0], NULL);
    sm_session *s = open_session(model, 1, 64, 0), *draft = open_session(whole, 1, 64, 0);
    const sm_logit_bias ban = {.token = 0, .bias = -INFINITY};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .bias = &ban, .n_bias = 1};
    sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = 50, .sampling = &sampling, .ignore_end = 1};
    generate(&plain, s, PROMPT, &o);
    /* the draft session's choice is always token 0: its own chain would not have the ban */
    o.draft = draft;
    generate(&ahead, s, PROMPT, &o);
    assert_same(&plain, &ahead);
    sm_chain chain;
    assert_int_equal(sm_chain_take(&chain, NULL, V, NULL), SM_OK);
    assert_int_equal(sm_session_rewind(s, 0, NULL), SM_OK);
    assert_int_equal(sm_ahead_begin(s, true, NULL, 8, NULL), SM_OK);
    s->ahead.started = false;
    assert_int_equal(sm_ahead_begin(s, true, NULL, 8, NULL), SM_OK);
    static const int32_t ids[] = {3, 4, 5, 6, 3, 4, 5};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_int_equal(sm_ahead_feed(s, &chain, ids[i], 100, NULL), SM_OK);
    s->ids[3] = 0; /* what is looked up now leads to the damaged token */
    s->length = 6;
    assert_int_equal(sm_ahead_feed(s, &chain, 5, 100, NULL), SM_OK);
    assert_int_equal(sm_session_length(s), 7);
    assert_int_equal(s->ahead.n, 0);
    sm_session_free(s);
    sm_session_free(draft);
    sm_model_free(model);
    sm_model_free(whole);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

typedef struct guest {
    sm_session *s, *draft;
    uint32_t n;
} guest;

static int32_t in_token(void *user, const sm_token *token) {
    guest *g = user;
    (void)token;
    const int32_t id = 1;
    assert_int_equal(sm_session_feed(g->draft, &id, 1, NULL), SM_ERR_STATE);
    const sm_generate_options o = {.struct_size = sizeof o, .draft = g->s};
    assert_int_equal(sm_session_generate(g->draft, "a", SM_ZT, &o, NULL, NULL, NULL), SM_ERR_STATE);
    if (++g->n == 3)
        sm_session_free(g->draft); /* when the call ends */
    return 0;
}

static int32_t draft_a_busy_one(void *user, const sm_token *token) {
    guest *g = user;
    sm_error error;
    (void)token;
    const sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 3, .draft = g->s};
    assert_int_equal(sm_session_generate(g->draft, "a", SM_ZT, &o, NULL, NULL, &error),
                     SM_ERR_STATE);
    assert_non_null(strstr(error.message, "draft"));
    return 0;
}

static void misuse_is_refused(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0], NULL);
    const fixture_model spm = {.spm = true}, none = {.no_vocab = true};
    sm_model *other = open_model(&spm, NULL), *bare = open_model(&none, NULL);
    sm_session *s = open_session(model, 1, 16, 0), *draft = open_session(model, 1, 16, 0);
    sm_session *t = open_session(other, 1, 16, 0), *u = open_session(bare, 1, 16, 0);
    sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 9, .ignore_end = 1, .draft = s};
    sm_error error;
    assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "itself"));
    sm_session *const strangers[] = {t, u};
    for (int i = 0; i < 2; i++) {
        o.draft = strangers[i];
        assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, NULL, NULL, &error),
                         SM_ERR_ARGUMENT);
        assert_non_null(strstr(error.message, "vocabulary"));
        const int32_t id = 1; /* it is free again */
        assert_int_equal(sm_session_feed(strangers[i], &id, 1, NULL), SM_OK);
    }
    guest g = {.s = s, .draft = draft};
    o.draft = NULL;
    assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, draft_a_busy_one, &g, NULL), SM_OK);
    o.draft = draft;
    assert_int_equal(sm_session_generate(s, "a", SM_ZT, &o, in_token, &g, NULL), SM_OK);
    assert_true(g.n >= 9);
    sm_session_free(s);
    sm_session_free(t);
    sm_session_free(u);
    sm_model_free(model);
    sm_model_free(other);
    sm_model_free(bare);
}

/* Both in one batch. */
static void drafts_within_a_batch(void **state) {
    (void)state;
    static told plain, ahead;
    sm_model *model = open_model(&several[1], NULL);
    sm_batch *batch;
    const sm_batch_options bo = {.struct_size = sizeof bo, .n_ctx = CONTEXT, .n_batch = 40};
    assert_int_equal(sm_batch_new(&batch, model, &bo, NULL), SM_OK);
    sm_session *s, *draft;
    assert_int_equal(sm_batch_new_session(&s, batch, NULL, NULL), SM_OK);
    assert_int_equal(sm_batch_new_session(&draft, batch, NULL, NULL), SM_OK);
    sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 60, .ignore_end = 1};
    generate(&plain, s, PROMPT, &o);
    o.draft = draft;
    generate(&ahead, s, PROMPT, &o);
    assert_same(&plain, &ahead);
    assert_true(ahead.stats.accepted_tokens > 0);
    sm_session_free(s);
    sm_session_free(draft);
    sm_batch_free(batch);
    sm_model_free(model);
}

static int32_t stop_at(void *user) {
    uint32_t *left = user;
    return *left && --*left == 0;
}

static void cancelling_and_failing(void **state) {
    (void)state;
    static told plain, ahead;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    sm_model *model = open_model(&several[0], &allocator);
    sm_session *s = open_session(model, 1, 64, 0), *draft = open_session(model, 1, 64, 0);
    sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 40, .ignore_end = 1};
    generate(&plain, s, PROMPT, &o);
    o.draft = draft;
    o.speculate = SM_SPECULATE_NGRAM;
    for (uint64_t n = 1;; n++) {
        assert_true(n < 50);
        counter.calls = 0;
        counter.fail_at = n;
        sm_session_rewind(s, 0, NULL);
        const sm_status status = sm_session_generate(s, PROMPT, SM_ZT, &o, NULL, NULL, NULL);
        counter.fail_at = 0;
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
    /* once there is room nothing is allocated for a token */
    sm_model_info info = {.struct_size = sizeof info};
    uint64_t allocs[2];
    for (int i = 0; i < 2; i++) {
        o.max_tokens = i ? 80 : 20;
        sm_model_get_info(model, &info, NULL);
        const uint64_t before = info.n_allocs;
        generate(&ahead, s, PROMPT, &o);
        sm_model_get_info(model, &info, NULL);
        allocs[i] = info.n_allocs - before;
    }
    assert_int_equal(allocs[0], allocs[1]);
    o.max_tokens = 40;
    for (uint32_t stop = 1; stop < 2000; stop += 37) {
        uint32_t left = stop;
        sm_session_set_cancel(s, stop_at, &left, NULL);
        sm_session_rewind(s, 0, NULL);
        left = stop;
        const sm_status status = sm_session_generate(s, PROMPT, SM_ZT, &o, NULL, NULL, NULL);
        assert_true(status == SM_OK || status == SM_ERR_CANCELLED);
    }
    sm_session_set_cancel(s, NULL, NULL, NULL);
    generate(&ahead, s, PROMPT, &o);
    assert_same(&plain, &ahead);
    sm_session_free(s);
    sm_session_free(draft);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_no_bit),         cmocka_unit_test(the_session_goes_on_alike),
        cmocka_unit_test(ends_where_it_ended),    cmocka_unit_test(tries_as_much_as_comes_true),
        cmocka_unit_test(guesses_may_be_damaged), cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(drafts_within_a_batch),  cmocka_unit_test(cancelling_and_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
