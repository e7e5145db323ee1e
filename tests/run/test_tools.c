/* Tools as constraints: what may be written in every format and what not; what may, reads back as a
 * call. Over bytes, without a vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/reply.h"
#include "smallmind/smallmind.h"
#include "support.h"

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": {\"type\": "
    "\"object\", \"properties\": {\"place\": {\"type\": \"string\"}}}}}, {\"name\": \"ping\"}]";

typedef struct one {
    const char *format, *text; /* a whole call of ping or look */
    bool last;                 /* no further call may follow it as it stands there */
} one;

static const one ones[] = {
    {"hermes",
     "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"place\": \"a \\\"b\"}}\n"
     "</tool_call>",
     false},
    {"qwen3-coder",
     "<tool_call>\n<function=look>\n<parameter=place>\nOslo\n</parameter>\n</function>\n</"
     "tool_call>",
     false},
    {"llama3-json", "<|python_tag|>{\"name\": \"look\", \"parameters\": {\"place\": \"x\"}}",
     false},
    {"pythonic", "<|python_tag|>[look(place=\"x\"), ping()]", false},
    {"mistral-v3", "[TOOL_CALLS][{\"name\": \"ping\", \"arguments\": {}}]", false},
    {"mistral-v11", "[TOOL_CALLS]look[ARGS]{\"place\": null}", false},
    {"deepseek-v3",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n{}\n```"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     false},
    {"deepseek-v32",
     "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"look\">\n<｜DSML｜parameter name=\"place\" "
     "string=\"true\">Oslo</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     false},
    {"command-r7b",
     "<|START_ACTION|>[\n    {\"tool_name\": \"ping\", \"parameters\": {}}\n]<|END_ACTION|>",
     false},
    {"functionary-v3.1", "<function=look>{\"place\": \"x\"}</function>", false},
    {"gpt-oss", "<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}<|call|>",
     false},
    {"glm-4.5",
     "<tool_call>look\n<arg_key>place</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>", false},
    {"kimi-k2",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.ping:0<|tool_call_argument_begin|>{}"
     "<|tool_call_end|><|tool_calls_section_end|>",
     false},
    {"minimax-m2",
     "<minimax:tool_call>\n<invoke name=\"look\">\n<parameter name=\"place\">a < b</parameter>\n"
     "</invoke>\n</minimax:tool_call>",
     false},
    {"apertus", "<|tools_prefix|>[{\"look\": {\"place\": \"x\"}}, {\"ping\": {}}]<|tools_suffix|>",
     false},
    {"gemma-4", "<|tool_call>call:look{place:<|\"|>x<|\"|>}<tool_call|>", false},
    {"seed-oss", "<seed:tool_call>\n<function=ping>\n</function>\n</seed:tool_call>", false},
};

static sm_constraint *make(const char *format, const char *choice) {
    sm_constraint *c;
    sm_error error = {0};
    if (sm_constraint_new_tools(&c, NULL, format, tools, choice, 0, &error))
        fail_msg("%s, %s: %s", format, choice, error.message);
    return c;
}

/* Whether the text may be written, and be all. */
static bool may(sm_constraint *c, const char *text, bool *end) {
    sm_constraint_state *s;
    assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
    const bool good = sm_constraint_accept_text(s, text, strlen(text), NULL) == SM_OK;
    *end = good && sm_constraint_can_end(s) == 1;
    sm_constraint_state_free(s);
    return good;
}

static void reads_back(const one *o) {
    sm_reply *reply;
    sm_reply_info info = {.struct_size = sizeof info};
    const sm_reply_options options = {
        .struct_size = sizeof options, .format = o->format, .tools = tools};
    assert_int_equal(sm_reply_new(&reply, &options, NULL), SM_OK);
    assert_int_equal(sm_reply_feed(reply, o->text, strlen(o->text), NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_finish(reply, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_get_info(reply, &info, NULL), SM_OK);
    if (info.n_calls == 0 || info.malformed)
        fail_msg("%s: %s is no call", o->format, o->text);
    sm_reply_free(reply);
}

static void test_calls(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) {
        const char *text = ones[i].text;
        char other[1024];
        bool end;
        reads_back(&ones[i]);
        sm_constraint *c = make(ones[i].format, "required");
        if (!may(c, text, &end) || !end)
            fail_msg("%s: %s", ones[i].format, text);
        assert_false(may(c, "Well", &end));
        /* half of it is no end, another name is none of the tools */
        snprintf(other, sizeof other, "%.*s", (int)strlen(text) / 2, text);
        assert_true(may(c, other, &end));
        assert_false(end);
        const bool ping = strstr(text, "ping") != NULL;
        const char *name = strstr(text, ping ? "ping" : "look");
        snprintf(other, sizeof other, "%.*sjump%s", (int)(name - text), text, name + 4);
        assert_false(may(c, other, &end));
        sm_constraint_free(c);
        c = make(ones[i].format, ping ? "ping" : "look");
        assert_true(strstr(text, ping ? "look" : "ping") || may(c, text, &end));
        sm_constraint_free(c);
        c = make(ones[i].format, ping ? "look" : "ping");
        assert_false(may(c, text, &end));
        sm_constraint_free(c);
    }
}

/* Every format's calls are a grammar. */
static void test_all(void **state) {
    (void)state;
    for (uint32_t i = 0; i < sm_reply_n_formats; i++) {
        sm_constraint *c = make(sm_reply_formats[i].own, "required");
        assert_non_null(c);
        sm_constraint_free(c);
        sm_constraint_free(make(sm_reply_formats[i].own, "auto"));
    }
}

static void test_auto(void **state) {
    (void)state;
    bool end;
    sm_constraint *c = make("hermes", "auto");
    assert_true(may(c, "Anything, {even this}", &end) && end);
    assert_true(
        may(c, "Well. <tool_call>\n{\"name\": \"ping\", \"arguments\": {}}\n</tool_call>", &end) &&
        end);
    assert_false(may(c, "Well. <tool_call>\n{\"name\": \"jump\"", &end));
    sm_constraint_free(c);
    c = make("json-list", "auto"); /* no mark to begin behind */
    assert_null(c);
    sm_constraint_free(c);
}

static void test_choices(void **state) {
    (void)state;
    sm_constraint *c;
    sm_error error = {0};
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "hermes", tools, "none", 0, &error), SM_OK);
    assert_null(c);
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "hermes", tools, "jump", 0, &error),
                     SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "jump"));
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "hermes", "[]", "required", 0, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "hermes", "{}", "required", 0, &error),
                     SM_ERR_FORMAT);
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "hermse", tools, "required", 0, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_constraint_new_tools(&c, NULL, NULL, tools, "required", 0, &error),
                     SM_ERR_UNSUPPORTED);
    assert_int_equal(sm_constraint_new_tools(&c, NULL, NULL, tools, "auto", 0, &error), SM_OK);
    assert_null(c);
    /* behind the reasoning that the prompt has opened */
    bool end;
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "hermes", tools, "required", 1, &error),
                     SM_OK);
    assert_true(may(c, "I think</think>\n\n<tool_call>\n{\"name\": \"ping\", ", &end));
    assert_false(may(c, "I think</think>\n\nNo.", &end));
    sm_constraint_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_all),
                                       cmocka_unit_test(test_auto), cmocka_unit_test(test_choices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
