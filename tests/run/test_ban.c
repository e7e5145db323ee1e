/* Strings that text must not hold, tokens that must come before its end, and what is told of
 * each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

static sm_model *open_model(fail_alloc *counter) {
    const char *path = scratch_path("ban.gguf");
    sm_allocator allocator;
    sm_model_options o = {.struct_size = sizeof o};
    sm_model *model;
    assert_int_equal(fixture_write(path, &(fixture_model){.seed = 5}), 0);
    if (counter) {
        allocator = fail_allocator(counter);
        o.allocator = &allocator;
    }
    assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_OK);
    return model;
}

typedef struct heard {
    char text[4096];
    size_t length;
    int32_t ids[256];
    uint32_t n;
    uint64_t n_top;
} heard;

static int32_t listen(void *user, const sm_token *token) {
    heard *h = user;
    memcpy(h->text + h->length, token->text, (size_t)token->length + 1);
    h->length += (size_t)token->length;
    if (token->id >= 0) {
        h->ids[h->n++] = token->id;
        h->n_top += token->n_top;
        for (uint64_t i = 0; i < token->n_top; i++) {
            assert_true(token->top[i].logprob >= token->logprob || token->top[i].id != token->id);
            assert_true(i == 0 || token->top[i - 1].logprob >= token->top[i].logprob);
            if (token->top[i].id == token->id)
                assert_true(token->top[i].logprob == token->logprob);
        }
    }
    return 0;
}

static sm_status speak(sm_session *s, const sm_generate_options *o, heard *h) {
    sm_error error = {0};
    memset(h, 0, sizeof *h);
    const sm_status status = sm_session_generate(s, "and the", SM_ZT, o, listen, h, &error);
    if (status && status != SM_ERR_NOMEM && status != SM_ERR_ARGUMENT)
        fail_msg("%s", error.message);
    return status;
}

/* Pieces of what a model says are banned one after the other: they come no more, and what a
 * session held before makes no difference. */
static void banned_strings_never_appear(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    static heard h, again;
    uint32_t changed = 0;
    for (uint64_t seed = 0; seed < test_share(12, 3); seed++) {
        const sm_sampling sampling = {.struct_size = sizeof sampling,
                                      .temperature = seed % 3 ? 1 : 0,
                                      .seed = seed,
                                      .mirostat = seed % 4 == 1 ? 2 : 0};
        char bans[8][8];
        sm_text list[8];
        sm_session *s, *fresh;
        assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
        sm_generate_options o = {.struct_size = sizeof o,
                                 .max_tokens = 60,
                                 .sampling = &sampling,
                                 .ban = list,
                                 .speculate = seed % 2 ? SM_SPECULATE_NGRAM : 0,
                                 .ignore_end = 1};
        for (uint32_t n = 0; n < 8; n++) {
            o.n_ban = n;
            assert_int_equal(speak(s, &o, &h), SM_OK);
            assert_int_equal(h.n, 60);
            for (uint32_t i = 0; i < n; i++)
                if (strstr(h.text, bans[i]))
                    fail_msg("seed %u, %u bans: \"%s\" (%u bytes) at %u of %u", (unsigned)seed, n,
                             bans[i], (unsigned)strlen(bans[i]),
                             (unsigned)(strstr(h.text, bans[i]) - h.text), (unsigned)h.length);
            assert_int_equal(sm_session_new(&fresh, model, NULL, NULL), SM_OK);
            assert_int_equal(speak(fresh, &o, &again), SM_OK);
            assert_string_equal(again.text, h.text);
            assert_memory_equal(again.ids, h.ids, sizeof h.ids);
            sm_session_free(fresh);
            /* the next one: some bytes from the middle, which may lie in several tokens */
            size_t at = (h.length / 3 + n) % (h.length - 8), length = 0;
            while (at + 1 < h.length && (h.text[at] < ' ' || h.text[at] == 127))
                at++;
            while (length < 1 + (n + seed) % 4 && h.text[at + length] >= ' ')
                length++;
            snprintf(bans[n], sizeof bans[n], "%.*s", (int)length, h.text + at);
            if (!length) /* nothing but bytes that are no text */
                snprintf(bans[n], sizeof bans[n], "qzx");
            list[n] = (sm_text){bans[n], n % 2 ? SM_ZT : strlen(bans[n])};
            changed += n > 0;
        }
        sm_session_free(s);
    }
    assert_true(changed > 0);
    sm_model_free(model);
}

static void bad_bans_are_refused(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    static heard h;
    sm_session *s;
    const sm_text empty[] = {{"", SM_ZT}}, fine[] = {{"x", 1}};
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 4, .n_ban = 1};
    assert_int_equal(speak(s, &o, &h), SM_ERR_ARGUMENT);
    o.ban = empty;
    assert_int_equal(speak(s, &o, &h), SM_ERR_ARGUMENT);
    o.ban = fine;
    assert_int_equal(speak(s, &o, &h), SM_OK);
    o.heal = 1;
    assert_int_equal(speak(s, &o, &h), SM_ERR_ARGUMENT);
    sm_session_free(s);
    sm_model_free(model);
}

static void short_session(sm_session **s, const sm_model *model, uint32_t n_ctx) {
    const sm_session_options o = {
        .struct_size = sizeof o, .n_ctx = n_ctx, .n_threads = 1, .n_batch = 16};
    assert_int_equal(sm_session_new(s, model, &o, NULL), SM_OK);
}

/* `length` printable bytes of a text from a place on, or something that is no part of it. */
static void cut_out(const heard *h, size_t at, size_t length, char *to) {
    size_t n = 0;
    at %= h->length;
    while (at + 1 < h->length && (h->text[at] < ' ' || h->text[at] == 127))
        at++;
    while (n < length && h->text[at + n] >= ' ')
        n++;
    memcpy(to, h->text + at, n);
    memcpy(to + n, n ? "" : "qzx", n ? 1 : 4);
}

/* Speculation changes nothing: not the text, not the ids, whatever is gone back from. */
static void the_same_with_speculation(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    static heard plain, guessed;
    uint64_t drafted = 0;
    for (uint64_t seed = 0; seed < test_share(24, 6); seed++) {
        const sm_sampling sampling = {.struct_size = sizeof sampling,
                                      .temperature = seed % 3 ? 0.3 * (double)(seed % 4) : 0,
                                      .seed = seed,
                                      .mirostat = seed % 5 == 1 ? 2 : 0};
        char bans[6][12];
        sm_text list[6];
        sm_session *s, *t, *draft;
        short_session(&s, model, 200);
        short_session(&t, model, 200);
        short_session(&draft, model, 200);
        sm_generate_options o = {.struct_size = sizeof o,
                                 .max_tokens = 90,
                                 .sampling = &sampling,
                                 .ban = list,
                                 .ignore_end = 1},
                            ahead = o;
        ahead.speculate = seed % 2 ? SM_SPECULATE_NGRAM : SM_SPECULATE_NO;
        ahead.draft = seed % 2 ? NULL : draft;
        for (uint32_t n = 0; n < 6; n++) {
            sm_generate_stats stats = {.struct_size = sizeof stats};
            o.n_ban = ahead.n_ban = n;
            assert_int_equal(speak(s, &o, &plain), SM_OK);
            assert_int_equal(speak(t, &ahead, &guessed), SM_OK);
            assert_string_equal(plain.text, guessed.text);
            assert_memory_equal(plain.ids, guessed.ids, sizeof plain.ids);
            assert_int_equal(sm_session_get_stats(t, &stats, NULL), SM_OK);
            assert_int_equal(stats.generated_tokens, 90);
            drafted += n ? stats.drafted_tokens : 0;
            cut_out(&plain, plain.length / 2 + n, 1 + (n + seed) % 9, bans[n]);
            list[n] = (sm_text){bans[n], SM_ZT};
        }
        sm_session_free(s);
        sm_session_free(t);
        sm_session_free(draft);
    }
    assert_true(drafted > 100);
    sm_model_free(model);
}

static int32_t half_of_it(void *user, sm_context_full *full) {
    (void)user;
    if (full->policy != SM_CONTEXT_ASK)
        return 0;
    full->n_replacement = full->n_ctx / 2;
    memcpy(full->replacement, full->ids, full->n_replacement * sizeof *full->ids);
    return 0;
}

/* Tokens that wait stand elsewhere when the context was full, or are gone. */
static void across_full_contexts(void **state) {
    (void)state;
    static const uint32_t policies[] = {SM_CONTEXT_SLIDE, SM_CONTEXT_SINKS, SM_CONTEXT_ASK};
    sm_model *model = open_model(NULL);
    static heard h, again;
    for (uint64_t seed = 0; seed < test_share(30, 6); seed++) {
        const sm_sampling sampling = {
            .struct_size = sizeof sampling, .temperature = seed % 4 ? 0.8 : 0, .seed = seed};
        char bans[5][48];
        sm_text list[5];
        sm_session *s, *t;
        const uint32_t n_ctx = seed % 2 ? 52 : 64;
        sm_generate_options o = {.struct_size = sizeof o,
                                 .max_tokens = 220,
                                 .sampling = &sampling,
                                 .ban = list,
                                 .context_full = policies[seed % 3],
                                 .on_context_full = half_of_it,
                                 .n_keep = (uint32_t)seed % 5,
                                 .n_drop = seed % 3 == 0 ? 1 + (uint32_t)seed % 40 : 0,
                                 .ignore_end = 1};
        for (uint32_t n = 0; n < 5; n++) {
            o.n_ban = n;
            sm_generate_stats stats = {.struct_size = sizeof stats};
            short_session(&s, model, n_ctx);
            short_session(&t, model, n_ctx);
            o.speculate = SM_SPECULATE_NO;
            assert_int_equal(speak(s, &o, &h), SM_OK);
            assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
            assert_int_equal(h.n, 220);
            assert_true(stats.context_fulls > 1);
            for (uint32_t i = 0; i < n; i++)
                if (strstr(h.text, bans[i]))
                    fail_msg("seed %u: \"%s\" of %u bans", (unsigned)seed, bans[i], n);
            o.speculate = SM_SPECULATE_NGRAM;
            assert_int_equal(speak(t, &o, &again), SM_OK);
            assert_string_equal(h.text, again.text);
            sm_session_free(s);
            sm_session_free(t);
            /* short ones, and some whose beginnings wait while the context is full */
            cut_out(&h, h.length / 2 + 31 * n, n % 2 ? 2 + n : 40, bans[n]);
            list[n] = (sm_text){bans[n], SM_ZT};
        }
    }
    sm_model_free(model);
}

/* A bias makes every token an end; the text goes on until it may end. */
static void the_end_waits(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    static heard h;
    sm_session *s;
    sm_generate_stats stats = {.struct_size = sizeof stats};
    const sm_logit_bias bias = {.token = 265, .bias = 1000};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .bias = &bias, .n_bias = 1};
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    assert_true(sm_tokenizer_is_end(tokenizer, 265));
    sm_tokenizer_free(tokenizer);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    for (uint32_t least = 0; least < 12; least += 3) {
        const sm_generate_options o = {.struct_size = sizeof o,
                                       .max_tokens = 20,
                                       .sampling = &sampling,
                                       .min_tokens = least,
                                       .n_logprobs = 3};
        assert_int_equal(speak(s, &o, &h), SM_OK);
        assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
        assert_int_equal(stats.finish, SM_FINISH_END);
        assert_int_equal(stats.generated_tokens, least);
        assert_int_equal(h.n_top, 3 * least);
    }
    const sm_generate_options never = {.struct_size = sizeof never,
                                       .max_tokens = 20,
                                       .sampling = &sampling,
                                       .min_tokens = UINT32_MAX};
    assert_int_equal(speak(s, &never, &h), SM_OK);
    assert_int_equal(h.n, 20);
    sm_session_free(s);
    sm_model_free(model);
}

static void allocations_fail(void **state) {
    (void)state;
    fail_alloc counter = {0};
    sm_model *model = open_model(&counter);
    static heard h;
    const sm_text list[] = {{"e", 1}, {"th", 2}, {"x", SM_ZT}};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1};
    const sm_generate_options o = {.struct_size = sizeof o,
                                   .max_tokens = 30,
                                   .sampling = &sampling,
                                   .min_tokens = 10,
                                   .ban = list,
                                   .n_ban = 3};
    uint32_t failed = 0;
    for (uint64_t at = 1; at < 30; at++) {
        sm_session *s;
        assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
        counter.fail_at = counter.calls + at;
        const sm_status status = speak(s, &o, &h);
        assert_true(status == SM_OK || status == SM_ERR_NOMEM);
        failed += status == SM_ERR_NOMEM;
        counter.fail_at = 0;
        sm_session_free(s);
    }
    assert_true(failed > 2);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

static uint64_t calls_of(sm_session *s, const fail_alloc *counter, const sm_generate_options *o) {
    static heard h;
    const uint64_t before = counter->calls;
    assert_int_equal(speak(s, o, &h), SM_OK);
    return counter->calls - before;
}

/* After a first text of that length a longer one takes as few allocations as a short one: those
 * of the call, none for a token. With each sampler, and with what else is asked of a token. */
static void tokens_allocate_nothing(void **state) {
    (void)state;
    static const sm_text ban[] = {{"e", 1}, {"qzx", 3}}, stop[] = {{"qzxw", 4}},
                         breakers[] = {{"e ", 2}, {"n", 1}};
    fail_alloc counter = {0};
    sm_model *model = open_model(&counter);
    const sm_watermark green = {.struct_size = sizeof green, .key = 5};
    const sm_logit_bias bias = {.token = 5, .bias = 1};
    const sm_sampling each[] = {
        {.temperature = 0},
        {.temperature = 1},
        {.repeat_penalty = 1.2, .presence_penalty = 0.5, .frequency_penalty = 0.1},
        {.dry_multiplier = 1},
        {.dry_multiplier = 1, .dry_breaker_texts = breakers, .n_dry_breaker_texts = 2},
        {.temperature = 1, .top_n_sigma = 1},
        {.temperature = 1, .top_k = 40},
        {.temperature = 1, .typical_p = 0.9},
        {.temperature = 1, .top_p = 0.9},
        {.temperature = 1, .min_p = 0.05},
        {.temperature = 1, .top_a = 0.2},
        {.temperature = 1, .xtc_probability = 0.5},
        {.temperature = 1, .dynatemp_range = 0.5},
        {.temperature = 1, .mirostat = 1},
        {.temperature = 1, .mirostat = 2},
        {.temperature = 1, .watermark = &green, .bias = &bias, .n_bias = 1},
        {.temperature = 1, .order = "edskypmxt", .top_p = 0.9, .top_k = 20},
    };
    for (size_t i = 0; i < 2 * sizeof each / sizeof *each; i++) {
        sm_sampling sampling = each[i / 2];
        sm_session *s;
        sampling.struct_size = sizeof sampling;
        short_session(&s, model, 200);
        sm_generate_options o = {
            .struct_size = sizeof o, .sampling = &sampling, .ignore_end = 1, .max_tokens = 120};
        if (i % 2) { /* and all of this at once */
            o.ban = ban;
            o.n_ban = 2;
            o.stop = stop;
            o.n_stop = 1;
            o.n_logprobs = 5;
            o.min_tokens = 3;
            o.speculate = SM_SPECULATE_NGRAM;
        }
        calls_of(s, &counter, &o);
        const uint64_t of_many = calls_of(s, &counter, &o);
        o.max_tokens = 8;
        const uint64_t of_few = calls_of(s, &counter, &o);
        if (of_many > of_few + (i % 2 ? 2 : 0)) /* lists of banned places grow */
            fail_msg("case %u: %u allocations of 120 tokens, %u of 8", (unsigned)i,
                     (unsigned)of_many, (unsigned)of_few);
        sm_session_free(s);
    }
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

/* The same of a constraint, of speculation and of contexts that are full again and again. */
static void tokens_of_other_ways_allocate_nothing(void **state) {
    (void)state;
    static const char grammar[] = "root ::= part{2000,}\n" /* so that it does not end by itself */
                                  "part ::= [a-z] | \" \" [A-Z0-9]+ [ ,] | [^a-zA-Z0-9 ]";
    static const uint32_t contexts[] = {SM_CONTEXT_STOP, SM_CONTEXT_STOP, SM_CONTEXT_STOP,
                                        SM_CONTEXT_SLIDE, SM_CONTEXT_SINKS};
    fail_alloc counter = {0};
    sm_model *model = open_model(&counter);
    sm_tokenizer *tokenizer;
    sm_constraint *constraint;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    assert_int_equal(
        sm_constraint_new(&constraint, tokenizer, SM_CONSTRAINT_GBNF, grammar, SM_ZT, NULL, NULL),
        SM_OK);
    for (size_t i = 0; i < 5; i++) {
        sm_session *s, *draft;
        const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1};
        short_session(&s, model, i > 2 ? 64 : 200);
        short_session(&draft, model, 200);
        sm_generate_options o = {.struct_size = sizeof o,
                                 .sampling = &sampling,
                                 .ignore_end = 1,
                                 .max_tokens = 120,
                                 .constraint = i == 0 ? constraint : NULL,
                                 .speculate = i == 2 ? SM_SPECULATE_NGRAM : SM_SPECULATE_NO,
                                 .draft = i == 1 ? draft : NULL,
                                 .context_full = contexts[i]};
        sm_generate_stats stats = {.struct_size = sizeof stats};
        calls_of(s, &counter, &o);
        const uint64_t of_many = calls_of(s, &counter, &o);
        assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
        assert_int_equal(stats.generated_tokens, 120);
        assert_true((stats.context_fulls > 1) == (i > 2));
        o.max_tokens = 8;
        const uint64_t of_few = calls_of(s, &counter, &o);
        assert_true(stats.context_fulls < 6);
        if (of_many > of_few + 8 * stats.context_fulls) /* some a drop, none a token */
            fail_msg("case %u: %u allocations of 120 tokens, %u of 8", (unsigned)i,
                     (unsigned)of_many, (unsigned)of_few);
        sm_session_free(s);
        sm_session_free(draft);
    }
    sm_constraint_free(constraint);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

/* Mirostat by hand: what was rewound comes again, and a fork goes on as the session would. */
static void mirostat_follows_rewind_and_fork(void **state) {
    (void)state;
    sm_model *model = open_model(NULL);
    sm_session *s, *fork = NULL;
    const int32_t prompt[] = {5, 9, 77};
    int32_t ids[24], id;
    const sm_sampling o = {.struct_size = sizeof o,
                           .temperature = 1,
                           .mirostat = 2,
                           .mirostat_tau = 3,
                           .mirostat_eta = 1,
                           .seed = 4};
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, prompt, 3, NULL), SM_OK);
    for (int i = 0; i < 24; i++) {
        assert_int_equal(test_sample(s, &o, &ids[i], NULL, NULL), SM_OK);
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        assert_int_equal(id, ids[i]);
        if (i == 11)
            assert_int_equal(sm_session_fork(&fork, s, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_feed(s, &ids[i], 1, NULL), SM_OK);
    }
    assert_int_equal(sm_session_rewind(s, 3 + 6, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, &ids[6], 1, NULL), SM_OK); /* fed, not chosen: mu stays */
    assert_int_equal(sm_session_rewind(s, 3 + 5, NULL), SM_OK);
    assert_int_equal(sm_session_rewind(s, 3 + 4, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, &ids[4], 1, NULL), SM_OK);
    assert_int_equal(sm_session_rewind(s, 2, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, &prompt[2], 1, NULL), SM_OK);
    for (int i = 0; i < 24; i++) {
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        assert_int_equal(id, ids[i]);
        assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
    }
    for (int i = 11; i < 24; i++) {
        assert_int_equal(test_sample(fork, &o, &id, NULL, NULL), SM_OK);
        assert_int_equal(id, ids[i]);
        assert_int_equal(sm_session_feed(fork, &id, 1, NULL), SM_OK);
    }
    sm_session_free(fork);
    sm_session_free(s);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(banned_strings_never_appear),
        cmocka_unit_test(the_same_with_speculation),
        cmocka_unit_test(across_full_contexts),
        cmocka_unit_test(bad_bans_are_refused),
        cmocka_unit_test(the_end_waits),
        cmocka_unit_test(tokens_allocate_nothing),
        cmocka_unit_test(tokens_of_other_ways_allocate_nothing),
        cmocka_unit_test(allocations_fail),
        cmocka_unit_test(mirostat_follows_rewind_and_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
