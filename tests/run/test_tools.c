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
    {"mistral-v11", "[TOOL_CALLS]look[ARGS]{\"place\": \"\"}", false},
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

/* ---- schemas of parameters ------------------------------------------------------------------- */

static const char set_schema[] =
    "{\"type\": \"object\", \"properties\": {\"unit\": {\"enum\": [\"low\", \"high\"]}, \"days\": "
    "{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 14}, \"note\": {\"type\": [\"string\", "
    "\"null\"], \"maxLength\": 5}, \"on\": {\"type\": \"boolean\"}, \"tags\": {\"type\": "
    "\"array\", "
    "\"items\": {\"type\": \"string\", \"maxLength\": 3}, \"maxItems\": 2}, \"at\": {\"$ref\": "
    "\"#/$defs/at\"}, \"code\": {\"type\": \"string\", \"pattern\": \"^[a-z\\\"'<]{1,4}$\"}}, "
    "\"required\": [\"unit\", \"days\"], \"additionalProperties\": false, \"$defs\": {\"at\": "
    "{\"type\": \"object\", \"properties\": {\"x\": {\"type\": \"number\", \"minimum\": 0, "
    "\"maximum\": 9}}, \"required\": [\"x\"], \"additionalProperties\": false}}}";

/* [{"type": "function", "function": {"name": "set", "strict": …, "parameters": SCHEMA}}] */
static char *tools_of(const char *schema, const char *strict) {
    char *text = malloc(strlen(schema) + 200);
    assert_non_null(text);
    sprintf(text,
            "[{\"type\": \"function\", \"function\": {\"name\": \"set\", %s\"parameters\": %s}}]",
            strict, schema);
    return text;
}

static sm_constraint *constrain_by(const char *format, const char *list) {
    sm_constraint *c;
    sm_error error = {0};
    if (sm_constraint_new_tools(&c, NULL, format, list, "required", 0, &error))
        fail_msg("%s: %s", format, error.message);
    return c;
}

typedef struct fitting {
    const char *format, *head, *tail, *good, *bad[6];
} fitting;

/* Arguments between what is before and behind them, that fit the schema and that do not. */
static const fitting fittings[] = {
    {"hermes",
     "<tool_call>\n{\"name\": \"set\", \"arguments\": ",
     "}\n</tool_call>",
     "{\"unit\": \"low\", \"days\": 14, \"note\": null, \"tags\": [\"a\"], \"at\": {\"x\": 1.5}}",
     {"{\"unit\": \"mid\"", "{\"unit\": \"low\", \"days\": 15", "{\"days\"", "{\"unit\": \"low\"}",
      "{\"unit\": \"low\", \"days\": 1, \"other\"", "{\"unit\": \"low\", \"days\": 1, \"on\": 1"}},
    {"llama3-json",
     "<|python_tag|>{\"name\": \"set\", \"parameters\": ",
     "}",
     "{\"unit\":\"high\",\"days\":2,\"code\":\"a\\\"'<\"}",
     {"{\"unit\": 1", "{\"unit\": \"high\", \"days\": 0", "{}",
      "{\"unit\":\"high\",\"days\":2,\"code\":\"A\""}},
    {"apertus",
     "<|tools_prefix|>[{\"set\": ",
     "}]<|tools_suffix|>",
     "{\"unit\": \"low\", \"days\": 3}",
     {"{\"unit\": \"low\", \"days\": 3.5", "{\"unit\": \"x"}},
    {"pythonic",
     "<|python_tag|>[set(",
     ")]",
     "unit=\"low\", days=14, note=None, on=True, tags=['a', \"b'\"], at={\"x\": 1}",
     {"unit=\"mid", "unit='low', days=15", "unit='low')", "days=1", "unit='low', days=1, on=true",
      "unit=\"low\", days=14, tags=['a''"}},
    {"gemma-4",
     "<|tool_call>call:set",
     "<tool_call|>",
     "{unit:<|\"|>low<|\"|>,days:14,on:true,tags:[<|\"|>\"'<<|\"|>],at:{x:0}}",
     {"{unit:<|\"|>mid", "{unit:<|\"|>low<|\"|>,days:15", "{unit:low", "{days:1",
      "{unit:<|\"|>low<|\"|>,days:14}<"}},
    {"qwen3-coder",
     "<tool_call>\n<function=set>\n",
     "</function>\n</tool_call>",
     "<parameter=unit>\nlow\n</parameter>\n<parameter=days>\n7\n</parameter>\n<parameter=note>\n"
     "x\n\n</parameter>\n<parameter=at>\n{\"x\": 2}\n</parameter>\n<parameter=code>\na\"'<\n"
     "</parameter>\n",
     {"<parameter=unit>\nmid", "<parameter=days>",
      "<parameter=unit>\nlow\n</parameter>\n</function>", "<parameter=unit>\n\"low",
      "<parameter=unit>\nlow\n</parameter>\n<parameter=days>\n0\n",
      "<parameter=unit>\nlow\n</parameter>\n<parameter=days>\n1\n</parameter>\n<parameter=other>"}},
    {"glm-4.5",
     "<tool_call>set\n",
     "</tool_call>",
     "<arg_key>unit</arg_key>\n<arg_value>high</arg_value>\n<arg_key>days</arg_key>\n<arg_value>1"
     "</arg_value>\n<arg_key>on</arg_key>\n<arg_value>false</arg_value>\n",
     {"<arg_key>days", "<arg_key>unit</arg_key>\n<arg_value>\"high", "</tool_call>"}},
    {"deepseek-v32",
     "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"set\">\n",
     "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
     "<｜DSML｜parameter name=\"unit\" string=\"true\">low</｜DSML｜parameter>\n<｜DSML｜parameter "
     "name=\"days\" string=\"false\">2</｜DSML｜parameter>\n<｜DSML｜parameter name=\"note\" "
     "string=\"false\">null</｜DSML｜parameter>\n",
     {"<｜DSML｜parameter name=\"unit\" string=\"false",
      "<｜DSML｜parameter name=\"unit\" "
      "string=\"true\">low</｜DSML｜parameter>\n<｜DSML｜parameter "
      "name=\"days\" string=\"true"}},
    {"kimi-k3",
     "<|open|>tools<|sep|><|open|>call tool=\"set\"<|sep|>",
     "<|close|>call<|sep|><|close|>tools<|sep|>",
     "<|open|>argument key=\"unit\" type=\"string\"<|sep|>low<|close|>argument<|sep|><|open|>"
     "argument key=\"days\" type=\"number\"<|sep|>9<|close|>argument<|sep|>",
     {"<|open|>argument key=\"unit\" type=\"number", "<|open|>argument key=\"days"}},
};

static void test_schemas(void **state) {
    (void)state;
    char *list = tools_of(set_schema, "");
    for (size_t i = 0; i < sizeof fittings / sizeof *fittings; i++) {
        const fitting *f = &fittings[i];
        sm_constraint *c = constrain_by(f->format, list);
        char text[2048];
        bool end;
        snprintf(text, sizeof text, "%s%s%s", f->head, f->good, f->tail);
        if (!may(c, text, &end) || !end)
            fail_msg("%s: %s", f->format, text);
        for (uint32_t k = 0; k < 6 && f->bad[k]; k++) {
            snprintf(text, sizeof text, "%s%s", f->head, f->bad[k]);
            if (may(c, text, &end) && strstr(f->bad[k], "}<") == NULL)
                fail_msg("%s may write %s", f->format, f->bad[k]);
        }
        sm_constraint_free(c);
    }
    free(list);
}

/* ---- whatever is written fits ---------------------------------------------------------------- */

static uint32_t draw(uint64_t *seed, uint32_t n) {
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33) % n;
}

/* A text that the constraint allows, drawn byte by byte: marks and brackets more often than others,
 * or no string would end. */
static void walk(sm_constraint *c, uint64_t seed, char *text, size_t room) {
    static const char liked[] = "\"'}])<>|,:0123456789\n/=";
    sm_constraint_state *s;
    size_t n = 0;
    assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
    while (n + 1 < room && !sm_constraint_can_end(s)) {
        const uint32_t from = draw(&seed, 256);
        uint32_t i = 0;
        for (; i < 300; i++) { /* some at random, then all in turn */
            const char byte = i >= 44          ? (char)(uint8_t)(from + i)
                              : draw(&seed, 2) ? liked[draw(&seed, sizeof liked - 1)]
                                               : (char)(uint8_t)draw(&seed, 256);
            if (sm_constraint_accept_text(s, &byte, 1, NULL) == SM_OK) {
                text[n++] = byte;
                break;
            }
        }
        if (i == 300)
            fail_msg("nothing may follow %.*s", (int)n, text);
    }
    text[n] = 0;
    if (!sm_constraint_can_end(s))
        fail_msg("it does not end: %s", text);
    sm_constraint_state_free(s);
}

typedef struct read_call {
    sm_constraint *schema;
    const char *format, *text;
    uint32_t n;
} read_call;

/* Its arguments, in JSON, against the schema. */
static int32_t check_call(void *user, const sm_delta *delta) {
    read_call *r = user;
    bool end;
    if (delta->kind != SM_DELTA_CALL)
        return 0;
    r->n++;
    if (!may(r->schema, delta->text, &end) || !end)
        fail_msg("%s: %s is read as %s", r->format, r->text, delta->text);
    return 0;
}

static void read_walk(const char *format, const char *list, sm_constraint *schema,
                      const char *text) {
    sm_reply *reply;
    sm_reply_info info = {.struct_size = sizeof info};
    read_call r = {schema, format, text, 0};
    const sm_reply_format *f = sm_reply_format_named(format);
    const sm_reply_options options = {
        .struct_size = sizeof options, .format = format, .tools = list, .prompt_end = f->begun};
    assert_int_equal(sm_reply_new(&reply, &options, NULL), SM_OK);
    assert_int_equal(sm_reply_feed(reply, text, strlen(text), check_call, &r, NULL), SM_OK);
    assert_int_equal(sm_reply_finish(reply, check_call, &r, NULL), SM_OK);
    assert_int_equal(sm_reply_get_info(reply, &info, NULL), SM_OK);
    if (!r.n || info.malformed)
        fail_msg("%s: %s is no call", format, text);
    sm_reply_free(reply);
}

/* Every format: calls drawn at random read back as calls whose arguments fit the schema. */
static void test_walks(void **state) {
    (void)state;
    char *list = tools_of(set_schema, "");
    char text[8192];
    sm_constraint *schema;
    const sm_schema_options any = {
        .struct_size = sizeof any, .spaces = SM_SPACES_ANY, .flags = SM_SCHEMA_ANY_ORDER};
    assert_int_equal(
        sm_constraint_new_schema(&schema, NULL, set_schema, strlen(set_schema), &any, NULL, NULL),
        SM_OK);
    for (uint32_t i = 0; i < sm_reply_n_formats; i++) {
        const char *format = sm_reply_formats[i].own;
        sm_constraint *c = constrain_by(format, list);
        for (uint64_t seed = 0; seed < test_share(12, 2); seed++) {
            walk(c, seed * 977 + i, text, sizeof text);
            read_walk(format, list, schema, text);
        }
        sm_constraint_free(c);
    }
    sm_constraint_free(schema);
    free(list);
}

/* ---- what is refused, and strict ------------------------------------------------------------- */

static void refused(const char *schema, const char *strict, sm_status status, const char *message) {
    sm_constraint *c;
    sm_error error = {0};
    char *list = tools_of(schema, strict);
    const sm_status is = sm_constraint_new_tools(&c, NULL, "hermes", list, "auto", 0, &error);
    if (is != status || (message && !strstr(error.message, message)))
        fail_msg("%s: %d, %s", schema, (int)is, error.message);
    sm_constraint_free(c);
    free(list);
}

static void test_refused(void **state) {
    (void)state;
    static const char odd[] = "{\"type\": \"object\", \"properties\": {\"x\": {\"format\": "
                              "\"odd\"}}}";
    refused(odd, "", SM_ERR_UNSUPPORTED,
            "tools[0].function.parameters.properties.x.format: a format that is not honoured");
    refused(odd, "\"strict\": false, ", SM_OK, NULL);
    refused("{\"type\": \"objekt\"}", "", SM_ERR_FORMAT, "tools[0].function.parameters.type: ");
    refused("{\"type\": \"string\"}", "", SM_ERR_UNSUPPORTED,
            "tools[0].function.parameters: no object satisfies it");
    /* a key that no call can have in this format */
    sm_constraint *c;
    sm_error error = {0};
    char *list = tools_of("{\"properties\": {\"a b\": {\"type\": \"integer\"}}}", "");
    assert_int_equal(sm_constraint_new_tools(&c, NULL, "pythonic", list, "required", 0, &error),
                     SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "the key \"a b\""));
    sm_constraint_free(constrain_by("qwen3-coder", list));
    sm_constraint_free(constrain_by("gemma-4", list));
    free(list);
}

static void test_strict(void **state) {
    (void)state;
    static const char open[] = "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": "
                               "\"integer\"}, \"b\": {\"type\": \"object\", \"properties\": "
                               "{\"c\": {\"type\": \"null\"}}}}}";
    static const char head[] = "<tool_call>\n{\"name\": \"set\", \"arguments\": ";
    static const struct {
        const char *arguments;
        bool may[3]; /* not said, true, false */
    } rows[] = {{"{\"a\": 1, \"b\": {\"c\": null}}", {true, true, true}},
                {"{\"a\": 1, \"d\": 2}", {true, false, true}},
                {"{\"b\": {\"d\": 2}}", {true, false, true}},
                {"{\"a\": \"1\"}", {false, false, true}},
                {"{\"b\": {}, \"a\": 1}", {true, false, true}}};
    static const char *const said[] = {"", "\"strict\": true, ", "\"strict\": false, "};
    for (uint32_t k = 0; k < 3; k++) {
        char *list = tools_of(open, said[k]), text[256];
        sm_constraint *c = constrain_by("hermes", list);
        bool end;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            snprintf(text, sizeof text, "%s%s}\n</tool_call>", head, rows[i].arguments);
            if (may(c, text, &end) != rows[i].may[k])
                fail_msg("strict %u: %s", k, text);
        }
        sm_constraint_free(c);
        free(list);
    }
    /* without parameters there are no arguments */
    bool end;
    sm_constraint *c = make("hermes", "ping");
    assert_false(may(c, "<tool_call>\n{\"name\": \"ping\", \"arguments\": {\"a\"", &end));
    sm_constraint_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),   cmocka_unit_test(test_all),
        cmocka_unit_test(test_auto),    cmocka_unit_test(test_choices),
        cmocka_unit_test(test_schemas), cmocka_unit_test(test_walks),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_strict)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
