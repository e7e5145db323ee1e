/* Token healing: what the prompt ends with is spelled again, by any tokens that can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fixture.h"
#include "run/run.h"
#include "support.h"

#define V FIXTURE_VOCAB

static sm_model *open_model(bool spm, const sm_allocator *allocator) {
    const char *path = scratch_path("heal.gguf");
    const fixture_model spec = {.spm = spm, .seed = 4};
    const sm_model_options o = {.struct_size = sizeof o, .allocator = allocator};
    sm_model *model;
    sm_error error;
    assert_int_equal(fixture_write(path, &spec), 0);
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session *open_session(const sm_model *model) {
    const sm_session_options o = {.struct_size = sizeof o, .n_ctx = 200, .n_threads = 1};
    sm_session *s;
    assert_int_equal(sm_session_new(&s, model, &o, NULL), SM_OK);
    return s;
}

typedef struct told {
    char text[2000]; /* zeros among it */
    size_t length;
    int32_t ids[100];
    uint32_t n;
} told;

static int32_t on_token(void *user, const sm_token *token) {
    told *t = user;
    if (token->id >= 0)
        t->ids[t->n++] = token->id;
    memcpy(t->text + t->length, token->text, (size_t)token->length);
    t->length += (size_t)token->length;
    return 0;
}

static sm_generate_stats generate(sm_session *s, const char *prompt, const sm_generate_options *o,
                                  told *t) {
    sm_error error;
    sm_generate_stats stats = {.struct_size = sizeof stats};
    memset(t, 0, sizeof *t);
    if (sm_session_generate(s, prompt, SM_ZT, o, on_token, t, &error))
        fail_msg("'%s': %s", prompt, error.message);
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    return stats;
}

/* The tokens before those that were given up and the ones that came spell the prompt and the
 * text. */
static void assert_spells(sm_session *s, const char *prompt, uint64_t healed, const told *t) {
    int32_t ids[200];
    char text[3000], want[3000];
    uint64_t n, length;
    const sm_tokenizer *tokenizer = s->model->tokenizer;
    assert_int_equal(
        sm_tokenizer_encode(tokenizer, prompt, strlen(prompt), NULL, ids, 100, &n, NULL), SM_OK);
    n -= healed;
    memcpy(ids + n, t->ids, t->n * sizeof *ids);
    assert_int_equal(
        sm_tokenizer_decode(tokenizer, ids, n + t->n, 0, text, sizeof text - 1, &length, NULL),
        SM_OK);
    const size_t before = strlen(prompt);
    memcpy(want, prompt, before);
    memcpy(want + before, t->text, t->length);
    assert_int_equal(length, before + t->length);
    assert_memory_equal(text, want, length);
}

static const struct {
    const char *prompt;
    bool heals; /* with either vocabulary */
} prompts[] = {{"x th", true}, {"x t", true},    {"in an", true}, {"xx h", true},
               {"qqt", true},  {"the 7", false}, {"ab#", false},  {"x the", false}};

static void spells_the_prompt_again(void **state) {
    (void)state;
    static told t, plain;
    for (int spm = 0; spm < 2; spm++) {
        sm_model *model = open_model(spm, NULL);
        sm_session *s = open_session(model);
        for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++)
            for (uint64_t seed = 0; seed < 8; seed++) {
                const sm_sampling sampling = {
                    .struct_size = sizeof sampling, .temperature = seed ? 1.5 : 0, .seed = seed};
                sm_generate_options o = {.struct_size = sizeof o,
                                         .max_tokens = 20,
                                         .sampling = &sampling,
                                         .ignore_end = 1};
                generate(s, prompts[i].prompt, &o, &plain);
                o.heal = 1;
                const sm_generate_stats stats = generate(s, prompts[i].prompt, &o, &t);
                if (!spm)
                    assert_int_equal(stats.healed_tokens > 0, prompts[i].heals);
                if (!stats.healed_tokens) {
                    assert_int_equal(t.n, plain.n);
                    assert_memory_equal(t.ids, plain.ids, t.n * sizeof *t.ids);
                    assert_memory_equal(t.text, plain.text, sizeof t.text);
                } else if (!spm) {
                    assert_spells(s, prompts[i].prompt, stats.healed_tokens, &t);
                }
            }
        sm_session_free(s);
        sm_model_free(model);
    }
}

/* The token that the prompt was cut out of is chosen where the model wants it. */
static void takes_the_longer_token(void **state) {
    (void)state;
    static told t;
    sm_model *model = open_model(false, NULL);
    sm_session *s = open_session(model);
    const sm_logit_bias bias = {.token = sm_tokenizer_find(model->tokenizer, "\xc4\xa0the", 5),
                                .bias = 100};
    assert_true(bias.token > 0);
    const sm_sampling sampling = {.struct_size = sizeof sampling, .bias = &bias, .n_bias = 1};
    const sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = 1, .sampling = &sampling, .heal = 1};
    const sm_generate_stats stats = generate(s, "and t", &o, &t);
    assert_int_equal(stats.healed_tokens, 1);
    assert_int_equal(t.ids[0], bias.token);
    assert_string_equal(t.text, "he");
    sm_session_free(s);
    sm_model_free(model);
}

static void stops_and_empty_prompts(void **state) {
    (void)state;
    static told t;
    sm_model *model = open_model(false, NULL);
    sm_session *s = open_session(model);
    const sm_text stops[] = {{"t", SM_ZT},
                             {"x", SM_ZT}}; /* the prompt's own text is no stop string */
    sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = 2, .heal = 1, .stop = stops, .n_stop = 2};
    generate(s, "x t", &o, &t);
    generate(s, "", &o, &t); /* BOS alone is not given up */
    assert_true(sm_session_length(s) >= 1);
    o.no_bos = 1;
    generate(s, "t", &o, &t); /* nor is the only token */
    sm_session_free(s);
    sm_model_free(model);
}

static void failing_allocations(void **state) {
    (void)state;
    static told t;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    sm_model *model = open_model(false, &allocator);
    sm_session *s = open_session(model);
    const sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 9, .heal = 1};
    generate(s, "x th", &o, &t);
    for (uint64_t n = 1;; n++) {
        assert_true(n < 50);
        counter.calls = 0;
        counter.fail_at = n;
        const uint64_t before = counter.live_blocks;
        const sm_status status = sm_session_generate(s, "x th", SM_ZT, &o, NULL, NULL, NULL);
        counter.fail_at = 0;
        assert_int_equal(counter.live_blocks, before);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
    sm_session_free(s);
    sm_model_free(model);
    assert_int_equal(counter.live_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spells_the_prompt_again),
        cmocka_unit_test(takes_the_longer_token),
        cmocka_unit_test(stops_and_empty_prompts),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
