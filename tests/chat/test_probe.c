/* Formats of replies that are found by what a template makes of known calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "smallmind/smallmind.h"
#include "support.h"

/* A template of the usual kind: what stands around content, a call, all calls, and reasoning. */
#define TEMPLATE(open, call, close, think)                                         \
    "{% if tools %}tools: {{ tools|tojson }}\n{% endif %}"                         \
    "{% for m in messages %}[{{ m.role }}]\n"                                      \
    "{% if m.reasoning_content %}" think "{% endif %}"                             \
    "{{ m.content }}{% if m.tool_calls %}" open "{% for c in m.tool_calls %}" call \
    "{% endfor %}" close                                                           \
    "{% endif %}[end]\n{% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}"
#define F "{{ c.function.name }}"
#define A "{{ c.function.arguments|tojson }}"
#define EACH(body) "{% for k, v in c.function.arguments.items() %}" body "{% endfor %}"

static const struct {
    const char *template, *format, *reply, *message;
} cases[] = {
    {TEMPLATE("", "<act>\n{\"name\": \"" F "\", \"arguments\": " A "}\n</act>\n", "",
              "<muse>{{ m.reasoning_content }}</muse>\n"),
     "call <act>%_%o%.%_</act>\nthink <muse>\t</muse>\n",
     "<muse>so\n</muse>\n\nNow.\n<act>{\"name\": \"look\", \"arguments\": {\"q\": 1}}</act>",
     "{\"role\": \"assistant\", \"content\": \"Now.\", \"reasoning_content\": \"so\", "
     "\"tool_calls\": [{\"id\": \"call00000\", \"type\": \"function\", \"function\": {\"name\": "
     "\"look\", \"arguments\": \"{\\\"q\\\": 1}\"}}]}"},
    {TEMPLATE("[[", "{% if not loop.first %}, {% endif %}{\"" F "\": " A "}", "]]", ""),
     "call [%m%.]\nthink <think>\t</think>\n", NULL, NULL},
    {TEMPLATE("", "!!call " F " {{ c.id }} with " A "!!", "", ""),
     "call !!call %n %i with %a%.!!\nthink <think>\t</think>\n",
     "!!call look x1 with {\"q\": [2]}!!",
     "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"x1\", \"type\": "
     "\"function\", \"function\": {\"name\": \"look\", \"arguments\": \"{\\\"q\\\": [2]}\"}}]}"},
    {TEMPLATE("<all>\n", "<do what=" F ">" EACH("<p {{ k }}>{{ v }}</p>") "</do>\n", "</all>", ""),
     "call <all>%_%{<do what=%n>%!%_%[<p %k>%v</p>%_%]</do>%_%_%}</all>\n"
     "think <think>\t</think>\n",
     "<all><do what=look><p q>a b</p><p n>2</p></do> <do what=ping></do></all>",
     "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"call00000\", "
     "\"type\": \"function\", \"function\": {\"name\": \"look\", \"arguments\": "
     "\"{\\\"q\\\": \\\"a b\\\", \\\"n\\\": 2}\"}}, {\"id\": \"call00001\", \"type\": "
     "\"function\", \"function\": {\"name\": \"ping\", \"arguments\": \"{}\"}}]}"},
    {TEMPLATE("<py>[",
              "{% if not loop.first %}, {% endif %}" F
              "({% for k, v in c.function.arguments.items() %}{{ k }}={{ v|tojson }}"
              "{% if not loop.last %}, {% endif %}{% endfor %})",
              "]</py>", ""),
     "call <py>%p%.</py>\nthink <think>\t</think>\n", NULL, NULL},
    /* marks of a known format */
    {TEMPLATE("", "<tool_call>\n{\"name\": \"" F "\", \"arguments\": " A "}\n</tool_call>", "", ""),
     "hermes", NULL, NULL},
    /* marks of a known format around something else */
    {TEMPLATE("", "<tool_call>" F "\n" A "\n</tool_call>", "", ""),
     "call <tool_call>%n%_%a%.%_</tool_call>\nthink <think>\t</think>\n", NULL, NULL},
    /* no calls are written; nothing can be made of what is */
    {TEMPLATE("", "", "", ""), NULL, NULL, NULL},
    {TEMPLATE("", "<call>" F "{{ c.function.arguments|length }}</call>", "", ""), NULL, NULL, NULL},
    {"{{ raise_exception('never') }}{{ tools }}", NULL, NULL, NULL},
};

static void check_reply(const sm_reply_options *o, const char *text, const char *want) {
    sm_reply *reply;
    char json[2000];
    uint64_t n;
    sm_error error;
    if (sm_reply_new(&reply, o, &error))
        fail_msg("%s", error.message);
    for (const char *s = text; *s; s++)
        assert_int_equal(sm_reply_feed(reply, s, 1, NULL, NULL, &error), SM_OK);
    assert_int_equal(sm_reply_finish(reply, NULL, NULL, &error), SM_OK);
    assert_int_equal(sm_reply_message(reply, json, sizeof json - 1, &n, &error), SM_OK);
    json[n] = 0;
    assert_string_equal(json, want);
    sm_reply_free(reply);
}

static void test_found(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sm_chat_options of = {.struct_size = sizeof of, .template_text = cases[i].template};
        sm_chat *chat;
        sm_error error;
        if (sm_chat_new(&chat, &of, &error))
            fail_msg("%s: %s", cases[i].template, error.message);
        const char *format = sm_chat_reply_format(chat);
        if (!format != !cases[i].format || (format && strcmp(format, cases[i].format) != 0))
            fail_msg("%s: %s", cases[i].template, format ? format : "no format");
        if (cases[i].reply) {
            const sm_reply_options o = {.struct_size = sizeof o, .format = format};
            const sm_reply_options by_template = {.struct_size = sizeof o,
                                                  .template_text = cases[i].template};
            check_reply(&o, cases[i].reply, cases[i].message);
            check_reply(&by_template, cases[i].reply, cases[i].message);
        }
        sm_chat_free(chat);
    }
}

static void test_described(void **state) {
    (void)state;
    static const char *const wrong[] = {"call ",
                                        "call %q\n",
                                        "call %o%[\n",
                                        "call %o\nthink <a>\n",
                                        "call %o\nthink \t</a>\n",
                                        "call %o\nwink <a>\t</a>\n",
                                        "call %o\n\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const sm_reply_options o = {.struct_size = sizeof o, .format = wrong[i]};
        sm_reply *reply;
        sm_error error;
        assert_int_equal(sm_reply_new(&reply, &o, &error), SM_ERR_FORMAT);
        assert_null(reply);
    }
    assert_null(sm_chat_reply_format(NULL));
}

/* Templates that end in failures of memory, at each allocation in turn, leave nothing behind. */
static void test_memory(void **state) {
    (void)state;
    for (uint64_t at = 1;; at++) {
        fail_alloc memory = {.fail_at = at};
        const sm_allocator hook = fail_allocator(&memory);
        const sm_chat_options of = {
            .struct_size = sizeof of, .template_text = cases[3].template, .allocator = &hook};
        sm_chat *chat;
        sm_error error;
        const sm_status status = sm_chat_new(&chat, &of, &error);
        sm_chat_free(chat);
        assert_int_equal(memory.live_blocks, 0);
        if (memory.calls < at) {
            assert_int_equal(status, SM_OK);
            break;
        }
        if (status != SM_ERR_NOMEM)
            fail_msg("allocation %llu: %d", (unsigned long long)at, status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_described),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
