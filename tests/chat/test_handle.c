/* Chat templates as handles: what they need done before, layouts, user text that spells control
 * tokens, options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "fixture.h"
#include "smallmind/smallmind.h"
#include "support.h"

static sm_chat *open_chat(const char *text) {
    sm_chat *chat;
    sm_error error = {0};
    const sm_chat_options o = {.struct_size = sizeof o, .template_text = text};
    if (sm_chat_new(&chat, &o, &error))
        fail_msg("%s: %s", text, error.message);
    return chat;
}

static void expect(const char *text, const char *messages, const char *tools, const char *want) {
    sm_chat *chat = open_chat(text);
    char got[4096] = "";
    uint64_t n;
    sm_error error = {0};
    if (sm_chat_render(chat, messages, tools, NULL, got, sizeof got - 1, &n, &error))
        fail_msg("%s: %s", text, error.message);
    got[n] = 0;
    assert_string_equal(got, want);
    sm_chat_free(chat);
}

#define PLAIN "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"

static void test_needs(void **state) {
    (void)state;
    const char parts[] =
        "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, "
        "{\"type\": \"text\", \"text\": \"b\"}]}]";
    /* a template that prints a content as it is gets text */
    expect(PLAIN, parts, NULL, "[user]a\nb");
    /* one that walks over parts gets parts */
    const char walks[] = "{% for m in messages %}{% for p in m.content %}{% if p.type == 'text' %}"
                         "<{{ p.text }}>{% endif %}{% endfor %}{% endfor %}";
    expect(walks, parts, NULL, "<a><b>");
    expect(walks, "[{\"role\": \"user\", \"content\": \"a\"}]", NULL, "<a>");
    /* no system role: refused, or left out in silence */
    const char refuses[] =
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "[{{ m.role }}]{{ m.content }}{% endfor %}";
    const char silent[] = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]"
                          "{{ m.content }}{% endif %}{% endfor %}";
    const char system[] = "[{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", "
                          "\"content\": \"U\"}, {\"role\": \"user\", \"content\": \"V\"}]";
    expect(refuses, system, NULL, "[user]S\n\nU[user]V");
    expect(silent, system, NULL, "[user]S\n\nU[user]V");
    expect(PLAIN, system, NULL, "[system]S[user]U[user]V");
    /* arguments */
    const char object[] = "[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": "
                          "\"f\", \"arguments\": {\"a\": 1}}}]}]";
    const char text[] = "[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": "
                        "\"f\", \"arguments\": \"{\\\"a\\\": 1}\"}}]}]";
    const char as_object[] = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}"
                             "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}";
    const char as_text[] = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}"
                           "{{ '' + c.function.arguments }}{% endfor %}{% endfor %}";
    expect(as_object, object, NULL, "{\"a\": 1}");
    expect(as_object, text, NULL, "{\"a\": 1}");
    expect(as_text, object, NULL, "{\"a\": 1}");
    expect(as_text, text, NULL, "{\"a\": 1}");
    /* tools */
    expect("{{ tools is defined }}", "[]", NULL, "False");
    expect("{{ tools is defined }}", "[]", "[]", "True");
}

static void test_options(void **state) {
    (void)state;
    char got[256] = "";
    uint64_t n;
    sm_error error = {0};
    sm_chat *chat = open_chat("{{ bos_token }}{{ x }}{% if add_generation_prompt %}<a>{% endif %}");
    sm_render_options o = {.struct_size = sizeof o, .variables = "{\"x\": 5}"};
    assert_int_equal(sm_chat_render(chat, "[]", NULL, &o, NULL, 0, &n, &error), SM_ERR_BUFFER);
    assert_int_equal(n, 4);
    assert_int_equal(sm_chat_render(chat, "[]", NULL, &o, got, sizeof got, &n, &error), SM_OK);
    assert_memory_equal(got, "5<a>", 4);
    assert_int_equal(sm_chat_prompt_end(chat, "[]", NULL, &o, got, sizeof got, &n, &error), SM_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(got, "<a>", 3);
    o.no_generation_prompt = 1;
    assert_int_equal(sm_chat_render(chat, "[]", NULL, &o, got, sizeof got, &n, &error), SM_OK);
    assert_int_equal(n, 1);
    o.variables = "[]";
    assert_int_equal(sm_chat_render(chat, "[]", NULL, &o, got, sizeof got, &n, &error),
                     SM_ERR_FORMAT);
    assert_int_equal(sm_chat_render(chat, "{}", NULL, NULL, got, sizeof got, &n, &error),
                     SM_ERR_FORMAT);
    assert_int_equal(sm_chat_render(chat, "[", NULL, NULL, got, sizeof got, &n, &error),
                     SM_ERR_FORMAT);
    sm_chat_free(chat);
    sm_chat_free(NULL);
    sm_chat_options c = {.struct_size = sizeof c, .template_name = "chatlm"};
    assert_int_equal(sm_chat_new(&chat, &c, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "chatml"));
    assert_null(chat);
    c.template_text = "{% for %}";
    assert_int_equal(sm_chat_new(&chat, &c, &error), SM_ERR_FORMAT);
}

/* Each layout says what was said, and where an answer begins. */
/* Tools that name no function are refused by their place, and any where the template has none. */
static void test_tools_are_checked(void **state) {
    static const char *const bad[] = {
        "{}",     "[1]", "[{\"a\": 1}]", "[{\"function\": {}}]", "[{\"function\": {\"name\": 3}}]",
        "[\"f\"]"};
    sm_chat *chat = open_chat("{{ tools | length }}");
    char got[64];
    uint64_t n;
    sm_error error;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sm_chat_render(chat, "[]", bad[i], NULL, got, sizeof got, &n, &error),
                         SM_ERR_FORMAT);
        assert_non_null(strstr(error.message, "tools: "));
    }
    sm_chat_free(chat);
    chat = open_chat(PLAIN);
    assert_int_equal(
        sm_chat_render(chat, "[]", "[{\"name\": \"f\"}]", NULL, got, sizeof got, &n, &error),
        SM_ERR_UNSUPPORTED);
    sm_chat_free(chat);
    expect("{{ tools | length }}", "[]", "[{\"name\": \"f\"}, {\"function\": {\"name\": \"g\"}}]",
           "2");
    expect("{{ tools | length }}", "[]", "[]", "0");
}

static void test_layouts(void **state) {
    (void)state;
    const char messages[] =
        "[{\"role\": \"system\", \"content\": \"SYS\"}, {\"role\": \"user\", "
        "\"content\": \"ASK\"}, {\"role\": \"assistant\", \"content\": \"ANS\"}, "
        "{\"role\": \"user\", \"content\": \"MORE\"}]";
    for (uint32_t i = 0;; i++) {
        char name[64], got[1024] = "";
        uint64_t length;
        uint64_t n;
        sm_error error = {0};
        const char *at = sm_names_get(sm_chat_layouts_list(), i, &length);
        if (!at)
            break;
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        const sm_chat_options o = {
            .struct_size = sizeof o, .template_name = name, .bos = "<s>", .eos = "</s>"};
        sm_chat *chat;
        if (sm_chat_new(&chat, &o, &error) ||
            sm_chat_render(chat, messages, NULL, NULL, got, sizeof got - 1, &n, &error))
            fail_msg("%s: %s", name, error.message);
        const char *sys = strstr(got, "SYS"), *ask = strstr(got, "ASK"), *ans = strstr(got, "ANS"),
                   *more = strstr(got, "MORE");
        if (!(sys && ask && ans && more && sys < ask && ask < ans && ans < more))
            fail_msg("%s: %s", name, got);
        sm_chat_free(chat);
    }
}

#define CONTENTS "{% for m in messages %}{{ m.content }}{% endfor %}"

/* Whether the token is one that only its spelling with SM_ENCODE_SPECIAL gives. */
static bool is_special(const sm_tokenizer *tokenizer, int32_t id, const char *token,
                       uint64_t length) {
    int32_t ids[256];
    uint64_t n;
    if (!length || length > 40 || memchr(token, '"', (size_t)length) ||
        memchr(token, '\\', (size_t)length) || memchr(token, '{', (size_t)length) ||
        memchr(token, '\n', (size_t)length) || memchr(token, 0, (size_t)length))
        return false;
    if (sm_tokenizer_encode(tokenizer, token, length, ENCODE(SM_ENCODE_SPECIAL), ids, 256, &n,
                            NULL) ||
        n != 1 || ids[0] != id)
        return false;
    return !sm_tokenizer_encode(tokenizer, token, length, ENCODE(0), ids, 256, &n, NULL) &&
           !(n == 1 && ids[0] == id);
}

static uint32_t times_in(const sm_chat *chat, const sm_tokenizer *tokenizer, const char *messages,
                         int32_t id, bool has_bos) {
    int32_t ids[256];
    uint64_t n;
    uint32_t times = 0;
    assert_int_equal(sm_chat_encode(chat, tokenizer, messages, NULL, NULL, ids, 256, &n, NULL),
                     SM_OK);
    for (uint64_t i = has_bos; i < n; i++)
        times += ids[i] == id;
    return times;
}

/* Every special token of a vocabulary: in what a user wrote it is text, in the template it is
 * one. Every 50th of more than 500 is tried in a template. */
static uint32_t check_special(const sm_tokenizer *tokenizer) {
    sm_tokenizer_info info = {.struct_size = sizeof info};
    uint32_t found = 0;
    sm_chat *chat = open_chat(CONTENTS);
    assert_int_equal(sm_tokenizer_get_info(tokenizer, &info, NULL), SM_OK);
    const bool has_bos = info.add_bos == 1;
    for (int32_t id = 0; id < info.n_vocab; id++) {
        uint64_t length;
        char messages[256], text[256];
        const char *token = sm_tokenizer_token_text(tokenizer, id, &length);
        if (!is_special(tokenizer, id, token, length))
            continue;
        snprintf(messages, sizeof messages, "[{\"role\": \"user\", \"content\": \"a%.*sb %.*s\"}]",
                 (int)length, token, (int)length, token);
        assert_int_equal(times_in(chat, tokenizer, messages, id, has_bos), 0);
        if (found++ > 500 && found % 50)
            continue;
        snprintf(text, sizeof text, "%s%.*s", CONTENTS, (int)length, token);
        sm_chat *with_token = open_chat(text);
        assert_int_equal(times_in(with_token, tokenizer, messages, id, has_bos), 1);
        sm_chat_free(with_token);
    }
    sm_chat_free(chat);
    return found;
}

static void test_control_tokens(void **state) {
    (void)state;
    char path[512];
    sm_model *model;
    sm_tokenizer *tokenizer;
    snprintf(path, sizeof path, "%s", scratch_path("handle.gguf"));
    assert_int_equal(fixture_write(path, &(fixture_model){.type = SM_DTYPE_Q8_0, .untied = true}),
                     0);
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    assert_true(check_special(tokenizer) > 0);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
}

/* Real vocabularies of every kind, where they are at hand. */
static void test_real_vocabularies(void **state) {
    (void)state;
    static const char *const names[] = {"bert-bge",  "command-r", "deepseek-coder", "deepseek-llm",
                                        "falcon",    "gemma-4",   "gpt-2",          "llama-bpe",
                                        "llama-spm", "mpt",       "phi-3",          "qwen2",
                                        "qwen35",    "refact",    "starcoder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[96];
        sm_tokenizer *tokenizer;
        sm_error error;
        snprintf(name, sizeof name, "vocab/ggml-vocab-%s.gguf", names[i]);
        const char *path = data_path(name);
        if (!path)
            skip();
        if (sm_tokenizer_load(&tokenizer, path, NULL, &error))
            fail_msg("%s: %s", name, error.message);
        if (!check_special(tokenizer))
            fail_msg("%s has no special token", name);
        sm_tokenizer_free(tokenizer);
    }
}

#define TOOLS "[{\"type\": \"function\", \"function\": {\"name\": \"look\"}}]"

#define CALLED                                                                                  \
    "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"hm\"}]}, {\"role\": " \
    "\"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": {\"name\": \"look\", "   \
    "\"arguments\": \"{\\\"a\\\": 1}\"}}]}]"

/* A render with memory that fails at each place in turn. */
static void test_memory(void **state) {
    (void)state;
    static const sm_render_options o = {.struct_size = sizeof o,
                                        .variables = "{\"a\": [1, \"x\"]}"};
    for (uint64_t at = 1;; at++) {
        fail_alloc memory = {.fail_at = at};
        const sm_allocator hook = fail_allocator(&memory);
        const sm_chat_options of = {.struct_size = sizeof of,
                                    .template_text = "{{ tools|tojson }}{{ a|join }}" CONTENTS,
                                    .allocator = &hook};
        sm_chat *chat;
        char text[400] = "";
        uint64_t n = 0;
        sm_status status = sm_chat_new(&chat, &of, NULL);
        if (!status)
            status = sm_chat_render(chat, CALLED, TOOLS, &o, text, sizeof text, &n, NULL);
        if (!status)
            status = sm_chat_prompt_end(chat, CALLED, TOOLS, &o, text, sizeof text, &n, NULL);
        sm_chat_free(chat);
        assert_int_equal(memory.live_blocks, 0);
        if (memory.calls < at) {
            assert_int_equal(status, SM_OK);
            break;
        }
        if (status != SM_ERR_NOMEM)
            fail_msg("allocation %llu: status %d", (unsigned long long)at, (int)status);
    }
}

static int32_t at_once(void *user) {
    ++*(int *)user;
    return 1;
}

static void test_cancel(void **state) {
    (void)state;
    int asked = 0;
    char text[64];
    uint64_t n;
    const sm_render_options o = {.struct_size = sizeof o, .cancel = at_once, .cancel_user = &asked};
    sm_chat *chat =
        open_chat("{% for m in messages if m.content == 'x' %}{% for i in range(9999) %}"
                  "{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}");
    assert_int_equal(sm_chat_render(chat, "[{\"role\": \"user\", \"content\": \"x\"}]", NULL, &o,
                                    text, sizeof text, &n, NULL),
                     SM_ERR_CANCELLED);
    assert_int_equal(asked, 1);
    sm_chat_free(chat);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_needs),
                                       cmocka_unit_test(test_options),
                                       cmocka_unit_test(test_tools_are_checked),
                                       cmocka_unit_test(test_layouts),
                                       cmocka_unit_test(test_control_tokens),
                                       cmocka_unit_test(test_real_vocabularies),
                                       cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_cancel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
