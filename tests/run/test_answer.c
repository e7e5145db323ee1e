/* Answers of sessions: what sm_session_reply reads is the text that sm_session_generate hands out;
 * cancelling, misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "blocks.h"
#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define MOST 200

static sm_session *open_session(void) {
    char path[512];
    sm_error error = {0};
    sm_model *model;
    sm_session *session;
    snprintf(path, sizeof path, "%s", scratch_path("answer.gguf"));
    assert_int_equal(fixture_write(path, &(fixture_model){.type = SM_DTYPE_Q8_0, .untied = true}),
                     0);
    if (sm_model_load(&model, path, NULL, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_new(&session, model, NULL, &error), SM_OK);
    sm_model_free(model);
    return session;
}

typedef struct text {
    char data[16384];
    size_t length;
    int32_t cancel_after;
} text;

static void put(text *t, const char *data, uint64_t n) {
    assert_true(t->length + n < sizeof t->data);
    memcpy(t->data + t->length, data, (size_t)n);
    t->length += (size_t)n;
}

static int32_t on_token(void *user, const sm_token *token) {
    put(user, token->text, token->length);
    return 0;
}

static int32_t on_delta(void *user, const sm_delta *delta) {
    text *t = user;
    assert_int_equal(delta->kind, SM_DELTA_CONTENT);
    put(t, delta->text, delta->length);
    return t->cancel_after && --t->cancel_after == 0;
}

/* What a reader makes of a text that was there before. */
static void read_again(const text *from, text *to) {
    sm_reply *reply;
    assert_int_equal(sm_reply_new(&reply, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_feed(reply, from->data, from->length, on_delta, to, NULL), SM_OK);
    assert_int_equal(sm_reply_finish(reply, on_delta, to, NULL), SM_OK);
    sm_reply_free(reply);
}

static void test_same_text(void **state) {
    (void)state;
    static text plain, want, got;
    const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1.5, .seed = 7};
    const sm_generate_options o = {
        .struct_size = sizeof o, .max_tokens = MOST, .ignore_end = 1, .sampling = &sampling};
    sm_session *session = open_session();
    sm_error error = {0};
    if (sm_session_generate(session, "One day", SM_ZT, &o, on_token, &plain, &error))
        fail_msg("%s", error.message);
    sm_generate_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(sm_session_get_stats(session, &stats, NULL), SM_OK);
    int32_t ids[64];
    const uint64_t n = stats.prompt_tokens;
    for (uint32_t i = 0; i < n; i++)
        ids[i] = test_token(session, i);
    read_again(&plain, &want);
    assert_true(want.length > 50);

    sm_reply *reply;
    assert_int_equal(sm_reply_new(&reply, NULL, NULL), SM_OK);
    if (sm_session_reply(session, ids, n, &o, reply, on_delta, &got, &error))
        fail_msg("%s", error.message);
    assert_int_equal(got.length, want.length);
    assert_memory_equal(got.data, want.data, want.length);
    assert_int_equal(sm_reply_feed(reply, "x", 1, NULL, NULL, NULL), SM_ERR_STATE); /* finished */
    /* a reply is for one answer */
    assert_int_equal(sm_session_reply(session, ids, n, &o, reply, NULL, NULL, &error),
                     SM_ERR_STATE);
    assert_int_equal(error.code, SM_ERR_STATE);
    assert_non_null(strstr(error.message, "finished"));
    sm_reply_free(reply);

    memset(&got, 0, sizeof got);
    got.cancel_after = 3;
    assert_int_equal(sm_reply_new(&reply, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_reply(session, ids, n, &o, reply, on_delta, &got, &error),
                     SM_ERR_CANCELLED);
    assert_true(got.length > 0 && got.length < want.length);
    sm_reply_free(reply);
    assert_int_equal(sm_session_reply(session, NULL, 1, &o, reply, NULL, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_reply(session, ids, n, &o, NULL, NULL, NULL, &error),
                     SM_ERR_ARGUMENT);
    sm_session_free(session);
}

/* ---- messages in, message out ---------------------------------------------------- */

#define TEMPLATE                                                                         \
    "{% for t in tools or [] %}{{ t|tojson }}{% endfor %}{% for m in messages %}"        \
    "[{{ m.role }}]{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}<act>" \
    "{{ c.function|tojson }}</act>{% endfor %}{% endif %}[end]{% endfor %}[assistant]"
#define ASKED "[{\"role\": \"user\", \"content\": \"a word\"}]"
#define TOOLS "[{\"type\": \"function\", \"function\": {\"name\": \"look\"}}]"

static int32_t count_deltas(void *user, const sm_delta *delta) {
    (void)delta;
    ++*(uint32_t *)user;
    return 0;
}

/* A conversation with memory of the model, the session and the template that fails at each place
 * in turn, and once more behind a failure. */
static void test_memory(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("answer.gguf"));
    fail_alloc memory = {0};
    const sm_allocator hook = fail_allocator(&memory);
    const sm_model_options o = {.struct_size = sizeof o, .allocator = &hook};
    const sm_chat_options of = {
        .struct_size = sizeof of, .template_text = TEMPLATE, .allocator = &hook};
    const sm_generate_options how = {.struct_size = sizeof how, .max_tokens = 3, .ignore_end = 1};
    const sm_answer_options answer = {.struct_size = sizeof answer, .generate = &how};
    sm_model *model;
    sm_session *session;
    sm_chat *chat;
    assert_int_equal(fixture_write(path, &(fixture_model){.type = SM_DTYPE_Q8_0, .untied = true}),
                     0);
    assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_OK);
    assert_int_equal(sm_session_new(&session, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_chat_new(&chat, &of, NULL), SM_OK);
    uint32_t deltas = 0, failures = 0;
    for (uint64_t at = 1;; at++) {
        memory.calls = 0;
        memory.fail_at = at;
        const sm_status status =
            sm_session_chat(session, chat, ASKED, TOOLS, &answer, count_deltas, &deltas, NULL);
        const bool whole = memory.calls < at;
        memory.fail_at = 0;
        if (whole) {
            assert_int_equal(status, SM_OK);
            break;
        }
        if (status != SM_ERR_NOMEM)
            fail_msg("allocation %llu: status %d", (unsigned long long)at, (int)status);
        failures++;
    }
    assert_true(failures > 20 && deltas > 0);
    sm_chat_free(chat);
    sm_session_free(session);
    sm_model_free(model);
    assert_int_equal(memory.live_blocks, 0);
}

static int32_t at_once(void *user) {
    ++*(uint32_t *)user;
    return 1;
}

/* The session's hook ends a render that goes on for long, before anything is computed. */
static void test_cancelled_render(void **state) {
    (void)state;
    uint32_t asked = 0, deltas = 0;
    const sm_chat_options of = {.struct_size = sizeof of,
                                .template_text =
                                    "{% if messages[0].content == 'go' %}"
                                    "{% for i in range(9999) %}{% for k in range(9999) %}"
                                    "{% endfor %}{% endfor %}{% endif %}"};
    sm_session *session = open_session();
    sm_chat *chat;
    assert_int_equal(sm_chat_new(&chat, &of, NULL), SM_OK);
    assert_int_equal(sm_session_set_cancel(session, at_once, &asked, NULL), SM_OK);
    assert_int_equal(sm_session_chat(session, chat, "[{\"role\": \"user\", \"content\": \"go\"}]",
                                     NULL, NULL, count_deltas, &deltas, NULL),
                     SM_ERR_CANCELLED);
    assert_int_equal(asked, 1);
    assert_int_equal(deltas, 0);
    sm_chat_free(chat);
    sm_session_free(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_text),
                                       cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_cancelled_render)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
