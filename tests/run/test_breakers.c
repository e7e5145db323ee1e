/* Texts that DRY's repetitions do not reach over, beside a plain account of what llama.cpp does. */
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

#define V FIXTURE_VOCAB
#define N 70
#define MULTIPLIER 40
#define BASE 1.75
#define ALLOWED 2

static sm_model *model;
static sm_tokenizer *tokenizer;

static sm_model *open_model(fail_alloc *counter) {
    const char *path = scratch_path("breakers.gguf");
    sm_allocator allocator;
    sm_model_options o = {.struct_size = sizeof o};
    sm_model *m;
    assert_int_equal(fixture_write(path, &(fixture_model){.seed = 5}), 0);
    if (counter) {
        allocator = fail_allocator(counter);
        o.allocator = &allocator;
    }
    assert_int_equal(sm_model_load(&m, path, &o, NULL), SM_OK);
    return m;
}

static size_t text_of(int32_t id, char *text) {
    uint64_t n = 0;
    assert_int_equal(sm_tokenizer_decode(tokenizer, &id, 1, SM_DECODE_SPECIAL, text, 64, &n, NULL),
                     SM_OK);
    text[n] = 0;
    return (size_t)n;
}

static int32_t id_of(const char *text) {
    int32_t id;
    uint64_t n;
    assert_int_equal(
        sm_tokenizer_encode(tokenizer, text, strlen(text), ENCODE(0), &id, 1, &n, NULL), SM_OK);
    assert_int_equal(n, 1);
    return id;
}

/* Of the token ids[at], with those behind it up to n: the tokens behind it that end a text with it;
 * -1: it is none. *alone: it holds one. */
static int longest_at(const int32_t *ids, int n, int at, const char *const *texts, int n_texts,
                      bool *alone) {
    char word[64];
    const size_t length = text_of(ids[at], word);
    int longest = -1;
    *alone = false;
    for (int t = 0; t < n_texts; t++) {
        if (strstr(word, texts[t])) {
            *alone = true;
            longest = longest > 0 ? longest : 0;
            continue;
        }
        for (size_t same = 1; same < strlen(texts[t]) && same <= length; same++) {
            int32_t tail[40];
            uint64_t n_tail;
            if (strncmp(word + length - same, texts[t], same) != 0)
                continue;
            assert_int_equal(sm_tokenizer_encode(tokenizer, texts[t] + same,
                                                 strlen(texts[t] + same), ENCODE(0), tail, 40,
                                                 &n_tail, NULL),
                             SM_OK);
            if (at + (int)n_tail < n && !memcmp(tail, ids + at + 1, n_tail * sizeof *tail) &&
                (int)n_tail > longest)
                longest = (int)n_tail;
        }
    }
    return longest;
}

/* The likeliest token after DRY, whose repetitions end at the texts. */
static int32_t plain_choice(const float *logits, const int32_t *ids, int n,
                            const char *const *texts, int n_texts) {
    int limit = n, repeated[V] = {0};
    bool alone;
    for (int i = 0; i < n && limit == n; i++) {
        const int longest = longest_at(ids, n, n - 1 - i, texts, n_texts, &alone);
        if (longest >= 0)
            limit = i - longest;
    }
    for (int end = 0; end + 1 < n; end++) { /* ids[..end] like the end of all */
        int same = 0;
        while (same <= end && same < limit && ids[end - same] == ids[n - 1 - same])
            same++;
        if (same > repeated[ids[end + 1]])
            repeated[ids[end + 1]] = same;
    }
    int32_t best = -1;
    float most = -INFINITY;
    for (int32_t id = 0; id < V; id++) {
        float x = logits[id];
        if (repeated[id] >= ALLOWED) {
            longest_at(&id, 1, 0, texts, n_texts, &alone);
            if (!alone)
                x = (float)((double)x - MULTIPLIER * pow(BASE, repeated[id] - ALLOWED));
        }
        if (x > most) {
            most = x;
            best = id;
        }
    }
    return best;
}

static sm_sampling dry(const char *const *texts, int n_texts) {
    static sm_text taken[4][8];
    static int turn;
    turn = (turn + 1) % 4;
    for (int i = 0; texts && i < n_texts; i++)
        taken[turn][i] = (sm_text){texts[i], SM_ZT};
    return (sm_sampling){.struct_size = sizeof(sm_sampling),
                         .dry_multiplier = MULTIPLIER,
                         .dry_base = BASE,
                         .dry_allowed_length = ALLOWED,
                         .dry_breaker_texts = texts ? taken[turn] : NULL,
                         .n_dry_breaker_texts = (uint64_t)n_texts};
}

/* Repetitions that the likeliest token goes on with, of pieces in which the texts stand in one
 * token, in several, and across their ends. */
static void as_llama_cpp(void **state) {
    (void)state;
    static const char *const pieces[] = {" the", "in", "th", "e", "he", " ", "t", "and", "a", "n"};
    static const char *const texts[] = {"he t", "in", "the", "e ", "nd", "z", "heh"};
    int32_t ids[N + 1];
    uint64_t seed = 7;
    sm_session *s;
    int apart = 0;
    model = open_model(NULL);
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    const sm_session_options so = {.struct_size = sizeof so, .n_ctx = 100, .n_threads = 1};
    assert_int_equal(sm_session_new(&s, model, &so, NULL), SM_OK);
    for (uint32_t round = 0; round < test_share(300, 40); round++) {
        const float *logits;
        int32_t id, without;
        const int n = 12 + (int)(test_random(&seed) % (N - 12)), period = 2 + (int)(round % 9);
        const int first = (int)(round % 5), n_texts = 1 + (int)(round % 3);
        for (int i = 0; i < n; i++)
            ids[i] = i < period || test_random(&seed) % 16 == 0
                         ? id_of(pieces[test_random(&seed) % 10])
                         : ids[i - period];
        assert_int_equal(sm_session_sync(s, ids, (uint64_t)n, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
        /* what would go on with the repetition is what the model wants */
        const sm_logit_bias bias = {.token = ids[n - period], .bias = 30};
        float wanted[V];
        memcpy(wanted, logits, sizeof wanted);
        wanted[bias.token] = (float)((double)wanted[bias.token] + bias.bias);
        sm_sampling o = dry(texts + first, n_texts);
        o.bias = &bias;
        o.n_bias = 1;
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        const int32_t plain = plain_choice(wanted, ids, n, texts + first, n_texts);
        if (id != plain)
            fail_msg("round %u: %d, not %d", round, id, plain);
        o.n_dry_breaker_texts = 0;
        assert_int_equal(test_sample(s, &o, &without, NULL, NULL), SM_OK);
        apart += id != without;
    }
    assert_true(apart > 5);
    sm_session_free(s);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
}

static void what_is_refused(void **state) {
    (void)state;
    static const char *const fine[] = {"\n"}, *const empty[] = {""};
    static const char *const large[] = {"0123456789012345678901234567890123456789x"};
    const int32_t ids[] = {5, 6, 5, 6, 5};
    int32_t id;
    sm_session *s;
    model = open_model(NULL);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 5, NULL), SM_OK);
    sm_sampling o = dry(NULL, 1);
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_ERR_ARGUMENT);
    o = dry(empty, 1);
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_ERR_ARGUMENT);
    o = dry(large, 1);
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_ERR_ARGUMENT);
    o = dry(fine, 1);
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
    sm_session_free(s);
    sm_model_free(model);
    assert_int_equal(
        fixture_write(scratch_path("breakers.gguf"), &(fixture_model){.no_vocab = true}), 0);
    assert_int_equal(sm_model_load(&model, scratch_path("breakers.gguf"), NULL, NULL), SM_OK);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 5, NULL), SM_OK);
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_ERR_MISSING);
    o.dry_multiplier = 0;
    assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
    sm_session_free(s);
    sm_model_free(model);
}

/* Found once, and again for other texts; what fails leaves a session that goes on. */
static void memory(void **state) {
    (void)state;
    static const char *const texts[] = {"e ", "the", "n"}, *const others[] = {"e ", "th"};
    const int32_t ids[] = {5, 6, 5, 6, 5};
    fail_alloc counter = {0};
    int32_t id, first = -1;
    uint32_t failed = 0;
    sm_session *s;
    model = open_model(&counter);
    const sm_sampling o = dry(texts, 3), other = dry(others, 2), part = dry(texts, 2);
    for (uint64_t at = 1; at < 12; at++) {
        assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_feed(s, ids, 5, NULL), SM_OK);
        counter.fail_at = counter.calls + at;
        const sm_status status = test_sample(s, &o, &id, NULL, NULL);
        counter.fail_at = 0;
        failed += status != SM_OK;
        assert_true(status == SM_OK || status == SM_ERR_NOMEM);
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        first = first < 0 ? id : first;
        assert_int_equal(id, first);
        uint64_t calls = counter.calls;
        assert_int_equal(test_sample(s, &o, &id, NULL, NULL), SM_OK);
        assert_int_equal(counter.calls, calls);
        assert_int_equal(test_sample(s, &other, &id, NULL, NULL), SM_OK);
        assert_true(counter.calls > calls);
        calls = counter.calls;
        assert_int_equal(test_sample(s, &part, &id, NULL, NULL), SM_OK);
        assert_true(counter.calls > calls);
        sm_session_free(s);
    }
    assert_true(failed > 2);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_llama_cpp),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
