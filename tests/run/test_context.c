/* Full contexts: every policy goes on, tells what it drops, and leaves the session as it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "fixture.h"
#include "run/run.h"
#include "several.h"
#include "support.h"

#define V FIXTURE_VOCAB
#define CONTEXT 128

static sm_model *open_model(const fixture_model *spec) {
    const char *path = scratch_path("context.gguf");
    sm_model *model;
    sm_error error;
    assert_int_equal(fixture_write(path, spec), 0);
    if (sm_model_load(&model, path, NULL, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session *open_session(const sm_model *model, uint32_t n_ctx, uint32_t threads,
                                uint32_t n_batch, uint32_t kv_type) {
    const sm_session_options o = {.struct_size = sizeof o,
                                  .n_ctx = n_ctx,
                                  .n_threads = threads,
                                  .n_batch = n_batch,
                                  .kv_type = kv_type};
    sm_session *s;
    sm_error error;
    if (sm_session_new(&s, model, &o, &error))
        fail_msg("%s", error.message);
    return s;
}

/* What the policies told. */
typedef struct heard {
    uint32_t calls;
    uint64_t dropped, n_ids;
    bool stop;
    sm_session *s;
} heard;

static int32_t on_full(void *user, sm_context_full *full) {
    heard *h = user;
    h->calls++;
    h->dropped += full->n_dropped;
    h->n_ids = full->n_ids;
    assert_int_equal(full->struct_size, sizeof *full);
    if (h->s)
        assert_int_equal(sm_session_rewind(h->s, 0, NULL), SM_ERR_STATE);
    if (full->policy == SM_CONTEXT_ASK) { /* the first and the last ones, and something between */
        const uint32_t last = full->n_ctx / 3;
        memcpy(full->replacement, full->ids, 4 * sizeof *full->ids);
        full->replacement[4] = 7;
        memcpy(full->replacement + 5, full->ids + full->n_ids - last, last * sizeof *full->ids);
        full->n_replacement = last + 5;
        h->dropped += full->n_ids - full->n_replacement;
    }
    return h->stop;
}

static sm_generate_options with(uint32_t policy, heard *h) {
    return (sm_generate_options){.struct_size = sizeof(sm_generate_options),
                                 .max_tokens = 300,
                                 .ignore_end = 1,
                                 .context_full = policy,
                                 .n_keep = 5,
                                 .on_context_full = on_full,
                                 .context_full_user = h};
}

static void generate(sm_session *s, const char *prompt, const sm_generate_options *o,
                     sm_generate_stats *stats) {
    sm_error error;
    *stats = (sm_generate_stats){.struct_size = sizeof *stats};
    if (sm_session_generate(s, prompt, SM_ZT, o, NULL, NULL, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_get_stats(s, stats, NULL), SM_OK);
}

/* The session's logits are those of one that was fed what it holds: to the bit, or nearly. */
static double distance(const sm_session *s) {
    int32_t ids[CONTEXT];
    const float *a, *b;
    double most = 0;
    const uint32_t n = sm_session_length(s);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = test_token(s, i);
    sm_session *fresh = open_session(s->model, s->n_ctx, 1, 64, s->kv_type);
    assert_int_equal(sm_session_feed(fresh, ids, n, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &a, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_logits(fresh, &b, NULL, NULL), SM_OK);
    for (int i = 0; i < V; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    sm_session_free(fresh);
    return most;
}

#define PROMPT "the cat and the hat"

static void slides_and_asks_exactly(void **state) {
    (void)state;
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m]);
        for (uint32_t policy = SM_CONTEXT_SLIDE; policy <= SM_CONTEXT_ASK; policy += 2)
            for (uint32_t type = m % 2; type < 7; type += 3) {
                heard h = {0};
                sm_session *s = open_session(model, CONTEXT, 1, 16, type);
                h.s = s;
                const sm_generate_options o = with(policy, &h);
                sm_generate_stats stats;
                generate(s, PROMPT, &o, &stats);
                assert_int_equal(stats.finish, SM_FINISH_LENGTH);
                assert_int_equal(stats.generated_tokens, 300);
                assert_true(h.calls >= 2);
                assert_int_equal(stats.context_fulls, h.calls);
                assert_int_equal(stats.dropped_tokens, h.dropped);
                assert_int_equal(h.dropped + sm_session_length(s),
                                 stats.prompt_tokens + stats.generated_tokens - 1);
                assert_true(distance(s) == 0);
                sm_session_free(s);
            }
        sm_model_free(model);
    }
}

static void stops(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0]);
    sm_session *s = open_session(model, CONTEXT, 1, 16, 0);
    heard h = {0};
    const sm_generate_options o = with(SM_CONTEXT_STOP, &h);
    sm_generate_stats stats;
    generate(s, PROMPT, &o, &stats);
    assert_int_equal(stats.finish, SM_FINISH_CONTEXT);
    assert_int_equal(h.calls, 0);
    char longer[2 * CONTEXT];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(sm_session_generate(s, longer, SM_ZT, &o, NULL, NULL, NULL),
                     SM_ERR_CONTEXT_FULL);
    sm_session_free(s);
    sm_model_free(model);
}

/* With one layer keys and values depend on token and position alone: what sinks rotate is what
 * slide computes again, but for rounding. */
static void sinks_have_the_keys_of_their_positions(void **state) {
    (void)state;
    static const double tolerance[] = {2e-3, 2e-5, 2e-2, 3e-2, 0.5, 0.3, 0.5};
    for (size_t m = 0; m < SEVERAL; m++) {
        fixture_model one = several[m];
        one.n_layer = 1;
        sm_model *model = open_model(&one);
        for (uint32_t type = 0; type < 7; type++) {
            heard h = {0};
            sm_session *s = open_session(model, CONTEXT - 3 * (type % 2), 1, 16, type);
            sm_generate_options o = with(SM_CONTEXT_SINKS, &h);
            o.n_keep = type % 3 * 9;
            sm_generate_stats stats;
            generate(s, PROMPT, &o, &stats);
            assert_true(h.calls >= 2 && h.dropped == stats.dropped_tokens);
            assert_int_equal(h.dropped + sm_session_length(s),
                             stats.prompt_tokens + stats.generated_tokens - 1);
            const double far = distance(s);
            if (!(far <= tolerance[type]))
                fail_msg("model %zu, type %u: %g", m, type, far);
            sm_session_free(s);
        }
        sm_model_free(model);
    }
}

/* What a stream gives depends neither on how it is cut into calls, nor on threads, nor on
 * copies. */
static void streams_are_the_same_bits(void **state) {
    (void)state;
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m]);
        sm_session *whole = open_session(model, CONTEXT, 1, 16, m % 2 ? SM_KV_TYPE_Q8_0 : 0);
        sm_session *parts = open_session(model, CONTEXT, 2, 16, m % 2 ? SM_KV_TYPE_Q8_0 : 0);
        char text[1200] = "";
        sm_generate_options o = {.struct_size = sizeof o,
                                 .max_tokens = 1,
                                 .ignore_end = 1,
                                 .context_full = SM_CONTEXT_SINKS,
                                 .n_keep = 16};
        sm_generate_stats stats;
        uint64_t seed = m;
        uint64_t dropped = 0;
        for (int turn = 0; turn < 30; turn++) {
            for (int i = 0; i < 31; i++) /* of letters that no merge takes */
                text[31 * turn + i] = "bdfgjklm"[test_random(&seed) % 8];
            text[31 * turn + 31] = 0;
            if (turn == 12) { /* through a file */
                sm_session *copy;
                assert_int_equal(sm_session_save(parts, scratch_path("stream.sms"), NULL), SM_OK);
                copy = open_session(model, CONTEXT, 1, 16, m % 2 ? SM_KV_TYPE_Q8_0 : 0);
                assert_int_equal(sm_session_restore(copy, scratch_path("stream.sms"), NULL), SM_OK);
                sm_session_free(parts);
                parts = copy;
            }
            if (turn == 20) {
                sm_session *copy;
                assert_int_equal(sm_session_fork(&copy, parts, NULL, NULL), SM_OK);
                sm_session_free(parts);
                parts = copy;
            }
            generate(parts, text, &o, &stats);
            dropped += stats.dropped_tokens;
            if (turn) /* only what is new is computed */
                assert_true(stats.reused_tokens + dropped + 31 >= stats.prompt_tokens);
        }
        generate(whole, text, &o, &stats);
        assert_int_equal(stats.dropped_tokens, dropped);
        assert_int_equal(sm_session_length(whole), sm_session_length(parts));
        for (uint32_t i = 0; i < sm_session_length(whole); i++)
            assert_int_equal(test_token(whole, i), test_token(parts, i));
        const float *a, *b;
        assert_int_equal(sm_session_logits(whole, &a, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_logits(parts, &b, NULL, NULL), SM_OK);
        assert_memory_equal(a, b, V * sizeof *a);
        /* going back where a stream cannot: the tokens it holds are computed as they are */
        const uint32_t back = sm_session_length(parts) - 60;
        assert_int_equal(sm_session_rewind(parts, back, NULL), SM_OK);
        const int32_t id = 5;
        assert_int_equal(sm_session_feed(parts, &id, 1, NULL), SM_OK);
        assert_int_equal(sm_session_length(parts), back + 1);
        sm_session_free(whole);
        sm_session_free(parts);
        sm_model_free(model);
    }
}

/* Two hundred turns of a chat whose whole text is handed over each time. */
static void two_hundred_turns(void **state) {
    (void)state;
    const fixture_model spec = {.n_embd = 32, .n_head = 2, .n_head_kv = 1, .n_ctx = 4096};
    sm_model *model = open_model(&spec);
    char *text = malloc(200 * 256);
    assert_non_null(text);
    for (uint32_t policy = SM_CONTEXT_SLIDE; policy <= SM_CONTEXT_ASK; policy++) {
        sm_session *s = open_session(model, 2048, 1, 512, 0);
        heard h = {0};
        sm_generate_options o = with(policy, &h);
        uint32_t reused = 0;
        o.max_tokens = 12;
        o.n_keep = 32;
        sprintf(text, "A chat about the things that the cat and the hat did. ");
        for (int turn = 0; turn < 200; turn++) {
            sm_generate_stats stats;
            sprintf(text + strlen(text), "\nUser: what is number %d of the things?\nAnswer:", turn);
            generate(s, text, &o, &stats);
            assert_int_equal(stats.finish, SM_FINISH_LENGTH);
            assert_int_equal(stats.generated_tokens, 12);
            reused += stats.reused_tokens > 0;
            strcat(text, " the other one, and the next in the row.");
        }
        assert_true(h.calls >= 5);
        assert_true(reused > 150);
        sm_session_free(s);
    }
    free(text);
    sm_model_free(model);
}

static void turns_are_dropped_whole(void **state) {
    (void)state;
    for (size_t m = 0; m < SEVERAL; m++) {
        sm_model *model = open_model(&several[m]);
        sm_session *s = open_session(model, CONTEXT, 1, 16, 0);
        int32_t ids[100];
        uint32_t turns[] = {0, 10, 30, 55, 90};
        uint64_t n;
        for (int i = 0; i < 100; i++)
            ids[i] = 20 + i;
        assert_int_equal(sm_session_feed(s, ids, 100, NULL), SM_OK);
        assert_int_equal(sm_session_drop_turns(s, turns, 5, 1, 28, &n, NULL), SM_OK);
        assert_int_equal(n, 0);
        assert_int_equal(sm_session_length(s), 100);
        assert_int_equal(sm_session_drop_turns(s, turns, 5, 1, 49, &n, NULL), SM_OK);
        assert_int_equal(n, 2);
        assert_int_equal(sm_session_length(s), 55);
        assert_int_equal(test_token(s, 9), 29);
        assert_int_equal(test_token(s, 10), 75);
        assert_true(distance(s) == 0);
        sm_error error;
        uint32_t left[] = {0, 10, 45};
        assert_int_equal(sm_session_drop_turns(s, left, 3, 1, 109, &n, &error),
                         SM_ERR_CONTEXT_FULL);
        assert_int_equal(sm_session_length(s), 55);
        assert_int_equal(sm_session_drop(s, 3, 20, NULL), SM_OK);
        assert_int_equal(sm_session_length(s), 38);
        assert_true(distance(s) == 0);
        assert_int_equal(sm_session_drop(s, 30, 38, NULL), SM_OK);
        assert_int_equal(sm_session_length(s), 30);
        assert_int_equal(sm_session_drop(s, 7, 7, NULL), SM_OK);
        assert_int_equal(sm_session_drop(s, 8, 7, NULL), SM_ERR_ARGUMENT);
        assert_int_equal(sm_session_drop(s, 8, 31, NULL), SM_ERR_ARGUMENT);
        assert_int_equal(sm_session_drop(NULL, 0, 0, NULL), SM_ERR_ARGUMENT);
        uint32_t mixed[] = {0, 12, 12};
        assert_int_equal(sm_session_drop_turns(s, mixed, 3, 0, 120, &n, NULL), SM_ERR_ARGUMENT);
        mixed[2] = 31;
        assert_int_equal(sm_session_drop_turns(s, mixed, 3, 0, 120, &n, NULL), SM_ERR_ARGUMENT);
        assert_int_equal(sm_session_drop_turns(s, mixed, 2, 2, 120, &n, NULL), SM_ERR_ARGUMENT);
        assert_int_equal(sm_session_drop_turns(s, NULL, 2, 2, 1, &n, NULL), SM_ERR_ARGUMENT);
        assert_int_equal(sm_session_drop_turns(NULL, mixed, 2, 2, 1, &n, NULL), SM_ERR_ARGUMENT);
        assert_int_equal(sm_session_drop_turns(s, mixed, 2, 1, 1, NULL, NULL), SM_ERR_ARGUMENT);
        sm_session_free(s);
        sm_model_free(model);
    }
}

#define DRAWS 48

/* What sequences of one seed draw from a session. */
static void draws(sm_session *s, int32_t *ids) {
    for (uint64_t i = 0; i < DRAWS; i++) {
        const sm_sampling o = {
            .struct_size = sizeof o, .temperature = 3, .seed = 11, .sequence = i};
        assert_int_equal(test_sample(s, &o, &ids[i], NULL, NULL), SM_OK);
    }
}

static void assert_draws(sm_session *s, sm_session *other, bool same) {
    int32_t a[DRAWS], b[DRAWS];
    draws(s, a);
    draws(other, b);
    assert_int_equal(!memcmp(a, b, sizeof a), same);
}

/* Draws go on behind those that were made for tokens that are gone, also in copies; and begin as if
 * nothing had been dropped where a session went back to before that. */
static void no_draw_comes_twice(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0]);
    sm_session *s = open_session(model, CONTEXT, 1, 16, 0), *copy;
    sm_session *plain = open_session(model, CONTEXT, 1, 16, 0);
    int32_t ids[100];
    for (int i = 0; i < 100; i++)
        ids[i] = 20 + i;
    assert_int_equal(sm_session_feed(s, ids, 100, NULL), SM_OK);
    assert_int_equal(sm_session_drop(s, 10, 30, NULL), SM_OK);
    memmove(ids + 10, ids + 30, 70 * sizeof *ids);
    assert_int_equal(sm_session_feed(plain, ids, 80, NULL), SM_OK);
    assert_draws(s, plain, false);
    assert_int_equal(sm_session_fork(&copy, s, NULL, NULL), SM_OK);
    assert_draws(s, copy, true);
    assert_int_equal(sm_session_save(s, scratch_path("draws.sms"), NULL), SM_OK);
    assert_int_equal(sm_session_rewind(copy, 0, NULL), SM_OK);
    assert_int_equal(sm_session_restore(copy, scratch_path("draws.sms"), NULL), SM_OK);
    assert_draws(s, copy, true);
    assert_int_equal(sm_session_rewind(s, 11, NULL), SM_OK);
    assert_int_equal(sm_session_sync(s, ids, 80, NULL, NULL), SM_OK);
    assert_draws(s, copy, true);
    assert_int_equal(sm_session_rewind(s, 10, NULL), SM_OK);
    assert_int_equal(sm_session_sync(s, ids, 80, NULL, NULL), SM_OK);
    assert_draws(s, plain, true);
    ids[3]++;
    assert_int_equal(sm_session_sync(copy, ids, 80, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_sync(plain, ids, 80, NULL, NULL), SM_OK);
    assert_draws(copy, plain, true);
    for (uint32_t policy = SM_CONTEXT_SLIDE; policy <= SM_CONTEXT_ASK; policy++) {
        heard h = {0};
        const sm_generate_options o = with(policy, &h);
        sm_generate_stats stats;
        for (int again = 0; again < 2; again++) { /* a text begun anew has lost nothing */
            generate(copy, PROMPT, &o, &stats);
            assert_true(stats.dropped_tokens > 0);
            assert_int_equal(copy->gone, stats.dropped_tokens);
        }
    }
    sm_session_free(copy);
    sm_session_free(plain);
    sm_session_free(s);
    sm_model_free(model);
}

static int32_t no_answer(void *user, sm_context_full *full) {
    full->n_replacement = *(uint32_t *)user;
    return 0;
}

static int32_t no_token(void *user, sm_context_full *full) {
    (void)user;
    full->replacement[0] = V;
    full->n_replacement = 1;
    return 0;
}

static void refused(sm_session *s, const sm_generate_options *o, sm_status status,
                    const char *word) {
    sm_error error = {0};
    const sm_status got = sm_session_generate(s, PROMPT, SM_ZT, o, NULL, NULL, &error);
    if (got != status || !strstr(error.message, word))
        fail_msg("%d '%s', not %d '%s'", got, error.message, status, word);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0]);
    sm_session *s = open_session(model, CONTEXT, 1, 16, 0);
    heard h = {0};
    sm_generate_options o = with(SM_CONTEXT_ASK, &h);
    uint32_t n = 0;
    o.on_context_full = NULL;
    refused(s, &o, SM_ERR_ARGUMENT, "on_context_full");
    o.on_context_full = no_answer;
    o.context_full_user = &n;
    refused(s, &o, SM_ERR_ARGUMENT, "replacement");
    n = CONTEXT;
    refused(s, &o, SM_ERR_ARGUMENT, "replacement");
    o.on_context_full = no_token;
    refused(s, &o, SM_ERR_TOKEN, "300");
    o = with(SM_CONTEXT_SLIDE, &h);
    o.n_keep = CONTEXT - 1;
    refused(s, &o, SM_ERR_ARGUMENT, "n_keep");
    o.n_keep = CONTEXT - 2;
    assert_int_equal(sm_session_generate(s, PROMPT, SM_ZT, &o, NULL, NULL, NULL), SM_OK);
    o.n_drop = 2;
    refused(s, &o, SM_ERR_ARGUMENT, "n_drop");
    o = with(SM_CONTEXT_SINKS, &h);
    o.n_keep = CONTEXT - 20;
    refused(s, &o, SM_ERR_ARGUMENT, "n_keep");
    o = with(SM_CONTEXT_SLIDE, &h);
    h.stop = true;
    refused(s, &o, SM_ERR_CANCELLED, "callback");
    sm_session_free(s);
    sm_model_free(model);

    static const fixture_key layer_norm[] = {{"attention.layer_norm_epsilon", 'f', 1e-5}, {0}};
    const fixture_model learned = {
        .architecture = "gpt2", .n_head_kv = 4, .n_ctx = CONTEXT, .keys = layer_norm};
    model = open_model(&learned);
    s = open_session(model, CONTEXT, 1, 16, 0);
    o = with(SM_CONTEXT_SINKS, &h);
    refused(s, &o, SM_ERR_UNSUPPORTED, "learned");
    h.stop = false;
    o = with(SM_CONTEXT_SLIDE, &h);
    assert_int_equal(sm_session_generate(s, PROMPT, SM_ZT, &o, NULL, NULL, NULL), SM_OK);
    sm_session_free(s);
    sm_model_free(model);

    fixture_model wide = several[1];
    wide.sliding_window = 90; /* kept with steps of 16 it is a ring, and no room for sinks */
    model = open_model(&wide);
    s = open_session(model, CONTEXT, 1, 1, 0);
    o = with(SM_CONTEXT_SINKS, &h);
    o.n_keep = 30;
    refused(s, &o, SM_ERR_UNSUPPORTED, "kv_keep");
    sm_session_free(s);
    sm_model_free(model);
}

static int32_t stop_at(void *user) {
    uint32_t *left = user;
    return *left && --*left == 0;
}

/* Cancelled anywhere, also while keys are rotated: what the session holds then is whole. */
static void cancelled_anywhere(void **state) {
    (void)state;
    sm_model *model = open_model(&several[0]);
    heard h = {0};
    sm_session *s = open_session(model, CONTEXT, 1, 16, 0);
    for (uint32_t policy = SM_CONTEXT_SLIDE; policy <= SM_CONTEXT_SINKS; policy++)
        for (uint32_t stop = 1; stop < 12000; stop += 149) {
            uint32_t left = 0;
            const sm_generate_options o = with(policy, &h);
            sm_session_set_cancel(s, stop_at, &left, NULL);
            assert_int_equal(sm_session_rewind(s, 0, NULL), SM_OK);
            left = stop;
            const sm_status status = sm_session_generate(s, PROMPT, SM_ZT, &o, NULL, NULL, NULL);
            sm_session_set_cancel(s, NULL, NULL, NULL);
            assert_true(status == SM_OK || status == SM_ERR_CANCELLED);
            const float *logits;
            if (policy == SM_CONTEXT_SLIDE && !sm_session_logits(s, &logits, NULL, NULL))
                assert_true(distance(s) == 0);
        }
    sm_session_free(s);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slides_and_asks_exactly),
        cmocka_unit_test(stops),
        cmocka_unit_test(sinks_have_the_keys_of_their_positions),
        cmocka_unit_test(streams_are_the_same_bits),
        cmocka_unit_test(two_hundred_turns),
        cmocka_unit_test(turns_are_dropped_whole),
        cmocka_unit_test(no_draw_comes_twice),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(cancelled_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
