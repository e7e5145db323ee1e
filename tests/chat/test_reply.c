/* Replies: what is a call and what is not, in texts cut at every byte; types of arguments; marks
 * and white space; the format of a template; time on hostile texts; failing memory; misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/reply.h"
#include "smallmind/chat.h"
#include "support.h"

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": {\"type\": "
    "\"object\", \"properties\": {\"place\": {\"type\": \"string\"}, \"days\": {\"type\": "
    "\"integer\"}, \"deep\": {\"$ref\": \"#/$defs/deep\"}, \"maybe\": {\"type\": [\"string\", "
    "\"null\"]}, \"either\": {\"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}, "
    "\"flag\": {\"type\": \"boolean\"}, \"kind\": {\"enum\": [\"1\", \"2\"]}}, \"$defs\": "
    "{\"deep\": {\"type\": \"object\"}}}}}, {\"name\": \"ping\"}]";

/* What a text becomes: content | reasoning | NAME ARGUMENTS; … | ! where malformed. */
typedef struct one {
    const char *format, *text, *prompt, *want;
} one;

static const one ones[] = {
    /* JSON between marks */
    {"hermes", "<tool_call>{\"name\": \"ping\"}</tool_call>", NULL, "||ping {};|"},
    {"hermes", "<tool_call>{\"name\": \"ping\", \"arguments\": null}</tool_call>", NULL,
     "||ping {};|"},
    {"hermes", "a <tool_call> b", NULL, "a <tool_call> b|||"},
    {"hermes", "a <tool_call", NULL, "a <tool_call|||"},
    {"hermes", "a </tool_call> b", NULL, "a </tool_call> b|||"},
    {"hermes", "  indented\n", NULL, "  indented\n|||"},
    {"hermes", "A <tool_call>{\"name\":\"ping\"}</tool_call> B", NULL, "A  B||ping {};|"},
    {"hermes", "<tool_call>{\"name\":\"ping\"}\n<tool_call>{\"name\":\"look\"}</tool_call>", NULL,
     "||ping {};look {};|"},
    {"hermes", "<tool_call>{\"name\":\"ping\"}</tool", NULL, "||ping {};|"},
    {"hermes", "<tool_call>{\"name\":\"ping\"}x</tool_call>", NULL,
     "<tool_call>{\"name\":\"ping\"}x</tool_call>|||!"},
    {"hermes", "<tool_call>{\"arguments\":{}}</tool_call>", NULL,
     "<tool_call>{\"arguments\":{}}</tool_call>|||!"},
    {"hermes", "<tool_call>{\"name\":\"ping\",\"arguments\":[1]}</tool_call>", NULL,
     "<tool_call>{\"name\":\"ping\",\"arguments\":[1]}</tool_call>|||!"},
    {"hermes", "<tool_call>{\"name\":\"ping\",\"arguments\":\"no\"}</tool_call>", NULL,
     "<tool_call>{\"name\":\"ping\",\"arguments\":\"no\"}</tool_call>|||!"},
    {"hermes", "<tool_call>{oops}</tool_call> <tool_call>{\"name\":\"ping\"}</tool_call>", NULL,
     "<tool_call>{oops}</tool_call>||ping {};|!"},
    {"hermes", "<tool_call>{\"name\":\"p\n<tool_call>{\"name\":\"ping\"}</tool_call>", NULL,
     "<tool_call>{\"name\":\"p||ping {};|!"},
    {"hermes", "<tool_call>[{\"name\":\"ping\"},{\"name\":\"look\"}]</tool_call>", NULL,
     "||ping {};look {};|"},
    {"hermes",
     "<tool_call>{\"function\":{\"name\":\"ping\",\"arguments\":\"{}\"},\"id\":\"x1\"}</tool_call>",
     NULL, "||ping#x1 {};|"},
    {"hermes", "<think>a</think>b<think>c</think>", NULL, "b<think>c</think>|a||"},
    {"hermes", "<think>never closed ", NULL, "|never closed||"},
    {"hermes", "more</think> b", "<|im_start|>assistant\n<think>\n", "b|more||"},
    {"hermes", "b", "<|im_start|>assistant\n<think>\n\n</think>\n\n", "b|||"},
    {"hermes", "<tool_call>{\"name\":\"ping\",\"arguments\":{\"a\":\"\xff\"}}</tool_call>", NULL,
     "<tool_call>{\"name\":\"ping\",\"arguments\":{\"a\":\"\xEF\xBF\xBD\"}}</tool_call>|||!"},
    {"hermes", "\xff\xe2\x82\xac\xf0\x9f", NULL,
     "\xEF\xBF\xBD\xE2\x82\xAC\xEF\xBF\xBD\xEF\xBF\xBD|||"},
    /* parameters */
    {"qwen3-coder",
     "<tool_call>\n<function=look>\n<parameter=place>\n</parameter> is a tag\n</parameter>\n"
     "</function>\n</tool_call>",
     NULL, "||look {\"place\": \"</parameter> is a tag\"};|"},
    {"qwen3-coder",
     "<tool_call>\n<function=look>\n<parameter=place>\nOslo\n</function>\n</tool_call>", NULL,
     "<tool_call>\n<function=look>\n<parameter=place>\nOslo\n</function>\n</tool_call>|||!"},
    {"qwen3-coder",
     "<tool_call>\n<function=look>\n<parameter=place>\nOslo\n</function>\n</tool_call>\n"
     "<tool_call>\n<function=look>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
     NULL,
     "<tool_call>\n<function=look>\n<parameter=place>\nOslo\n</function>\n</tool_call>"
     "||look {\"days\": 3};|!"},
    {"qwen3-coder", "<tool_call>\n<function=look>\n<parameter=days>\n3\n</parameter>\n</function>",
     NULL, "||look {\"days\": 3};|"},
    {"qwen3-coder", "<function=look>\n<parameter=days>\n3\n</parameter>\n</function>", NULL,
     "||look {\"days\": 3};|"},
    {"qwen3-coder", "<tool_call>\n<function=look>\n<parameter=days>\n3", NULL,
     "<tool_call>\n<function=look>\n<parameter=days>\n3|||!"},
    {"qwen3-coder",
     "<tool_call>\n<function=look>\n<parameter=days>\nthree\n</parameter>\n<parameter=deep>\n"
     "{'a': None, 'b': (1, 2.)}\n</parameter>\n<parameter=maybe>\nnull\n</parameter>\n"
     "<parameter=either>\n7\n</parameter>\n<parameter=flag>\nTrue\n</parameter>\n"
     "<parameter=kind>\n1\n</parameter>\n<parameter=new>\n[1]\n</parameter>\n</function>\n"
     "</tool_call>",
     NULL,
     "||look {\"days\": \"three\", \"deep\": {\"a\": null, \"b\": [1, 2.0]}, \"maybe\": null, "
     "\"either\": 7, \"flag\": true, \"kind\": \"1\", \"new\": [1]};|"},
    {"glm-4.5", "<tool_call>ping</tool_call>", NULL, "||ping {};|"},
    {"glm-4.5",
     "<tool_call>look\n<arg_key>place</arg_key>\n<arg_value>x</tool_call>y</arg_value>\n"
     "</tool_call>",
     NULL, "||look {\"place\": \"x</tool_call>y\"};|"},
    {"glm-4.5", "<tool_call>look<arg_key>place</arg_key><arg_value>Os", NULL,
     "<tool_call>look<arg_key>place</arg_key><arg_value>Os|||!"},
    {"deepseek-v32",
     "<｜DSML｜function_calls><｜DSML｜invoke name=\"ping\"></｜DSML｜invoke>"
     "<｜DSML｜invoke name=\"look\"><｜DSML｜parameter name=\"place\" string=\"false\">7"
     "</｜DSML｜parameter></｜DSML｜invoke>",
     NULL, "||ping {};look {\"place\": 7};|"},
    {"minimax-m2",
     "<minimax:tool_call>\n<invoke name=\"ping\">\n</invoke>\n<invoke name=\"look\">\n<parameter "
     "name=\"days\">2",
     NULL, "<invoke name=\"look\">\n<parameter name=\"days\">2||ping {};|!"},
    {"minimax-m3",
     "</mm:think>]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"look\">]<]minimax[>[<place>"
     "a <b> /c]<]minimax[>[</place>]<]minimax[>[<days>2]<]minimax[>[</days>]<]minimax[>[</invoke>\n"
     "]<]minimax[>[<invoke name=\"ping\">]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
     NULL, "||look {\"place\": \"a <b> /c\", \"days\": 2};ping {};|"},
    {"minicpm5",
     "<function name=\"look\"><param name=\"place\"><![CDATA[a \"<b>\"]]></param>"
     "<param name=\"days\"><![CDATA[3]]></param></function>",
     NULL, "||look {\"place\": \"a \\\"<b>\\\"\", \"days\": 3};|"},
    /* without marks */
    {"llama3-json", "{\"name\": \"ping\", \"parameters\": {}}\nAnd so on.", NULL,
     "And so on.||ping {};|"},
    {"llama3-json", "{\"name\": \"Bob\", \"age\": 3}", NULL, "{\"name\": \"Bob\", \"age\": 3}|||"},
    {"llama3-json", "{\"name\": \"ping\", \"parameters\": {\"a", NULL,
     "{\"name\": \"ping\", \"parameters\": {\"a|||!"},
    {"llama3-json", "I ask.\n{\"name\": \"ping\", \"parameters\": {}}", NULL, "I ask.||ping {};|"},
    {"llama3-json", "Say {\"name\": \"ping\", \"parameters\": {}}", NULL,
     "Say {\"name\": \"ping\", \"parameters\": {}}|||"},
    {"llama3-json", "Like so:\n{\"name\": \"other\", \"parameters\": {}}", NULL,
     "Like so:\n{\"name\": \"other\", \"parameters\": {}}|||"},
    {"pythonic", "[1, 2]", NULL, "[1, 2]|||"},
    {"pythonic", "[see](http://x)", NULL, "[see](http://x)|||"},
    {"pythonic", "[look(place='a'", NULL, "[look(place='a'|||!"},
    {"pythonic", "[look('Oslo', 3), ping()]", NULL,
     "||look {\"place\": \"Oslo\", \"days\": 3};ping {};|"},
    {"pythonic", "[f(a=\"\"\"x\"y\"\"\", b='\\x41\\n', c=-.5e1, d=[(1, 2), {}, 'p' 'q'], e=007)]",
     NULL,
     "||f {\"a\": \"x\\\"y\", \"b\": \"A\\n\", \"c\": -0.5e1, \"d\": [[1, 2], {}, \"pq\"], "
     "\"e\": 7};|"},
    {"pythonic", "[f(a=b)]", NULL, "[f(a=b)]|||"},
    /* others */
    {"mistral-v3", "x[TOOL_CALLS][{\"name\":\"ping\",\"arguments\":{}},{\"na", NULL,
     "x[TOOL_CALLS][{\"name\":\"ping\",\"arguments\":{}},{\"na|||!"},
    {"mistral-v11", "[TOOL_CALLS]ping[ARGS]{}[TOOL_CALLS]look[ARGS]{\"a", NULL,
     "[TOOL_CALLS]look[ARGS]{\"a||ping {};|!"},
    {"gpt-oss", " to=functions.ping<|channel|>commentary json<|message|>{}<|call|>", NULL,
     "||ping {};|"},
    {"gpt-oss", "<|channel|>final<|message|>Yes<|return|>", NULL, "Yes|||"},
    {"gpt-oss", "Plain", NULL, "Plain|||"},
    {"functionary-v3.2", "Hello there", NULL, "Hello there|||"},
    {"functionary-v3.2", "all\nHello >>> there", NULL, "Hello >>> there|||"},
    {"kimi-k2",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.ping:3<|tool_call_argument_begin|>"
     "<|tool_call_end|><|tool_calls_section_end|>",
     NULL, "||ping#functions.ping:3 {};|"},
    {"deepseek-v3",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n{}\n```"
     "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n{x",
     NULL, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n{x||ping {};|!"},
    {"gemma-4",
     "<|tool_call>call:look{deep:{a:[1,<|\"|>}<|\"|>],b:null},place:<|\"|>a\"b<|\"|>}<tool_call|>",
     NULL, "||look {\"deep\": {\"a\": [1, \"}\"], \"b\": null}, \"place\": \"a\\\"b\"};|"},
    {"gemma-4", "<|tool_call>call:ping{}<tool_call|>", NULL, "||ping {};|"},
    {"apertus", "<|tools_prefix|>[{\"a\": 1}]<|tools_suffix|>", NULL,
     "<|tools_prefix|>[{\"a\": 1}]<|tools_suffix|>|||!"},
    {"hy3",
     "<think:x>h</think:x><tool_calls:x>\n<tool_call:x>look<tool_sep:x>\n<arg_key:x>days</"
     "arg_key:x>"
     "\n<arg_value:x>2</arg_value:x>\n</tool_call:x>\n</tool_calls:x>",
     NULL, "<think:x>h</think:x>||look {\"days\": 2};|"},
    {"auto", "[TOOL_CALLS]ping[ARGS]{}", NULL, "||ping {};|"},
    {"auto", "{\"name\": \"other\", \"parameters\": {}}", NULL,
     "{\"name\": \"other\", \"parameters\": {}}|||"},
    {"auto", "[ping()]", NULL, "||ping {};|"},
    {"auto", "<think>x</think><tool_call>{\"name\":\"other\"}</tool_call>", NULL, "|x|other {};|"},
};

/* The deltas of one reading, as `want` has them. */
typedef struct got {
    char content[4096], reasoning[512], calls[4096];
} got;

static void append(char *to, size_t capacity, const char *text, uint64_t n) {
    const size_t at = strlen(to);
    assert_true(at + n < capacity);
    memcpy(to + at, text, (size_t)n);
    to[at + n] = 0;
}

static int32_t on_delta(void *user, const sm_delta *d) {
    got *g = user;
    const sm_json_source source = {.name = "delta", .line = 1};
    sm_mem mem;
    sm_json *json;
    sm_mem_init(&mem, NULL, 0, NULL);
    assert_int_equal(sm_json_read(&json, &mem, d->json, d->json_length, &source, NULL, NULL),
                     SM_OK);
    sm_json_free(json);
    assert_int_equal(d->text[d->length], 0);
    if (d->kind == SM_DELTA_CONTENT)
        append(g->content, sizeof g->content, d->text, d->length);
    if (d->kind == SM_DELTA_REASONING)
        append(g->reasoning, sizeof g->reasoning, d->text, d->length);
    if (d->kind != SM_DELTA_CALL)
        return 0;
    append(g->calls, sizeof g->calls, d->name, strlen(d->name));
    if (strncmp(d->id, "call0000", 8) != 0) {
        append(g->calls, sizeof g->calls, "#", 1);
        append(g->calls, sizeof g->calls, d->id, strlen(d->id));
    }
    append(g->calls, sizeof g->calls, " ", 1);
    append(g->calls, sizeof g->calls, d->text, d->length);
    append(g->calls, sizeof g->calls, ";", 1);
    return 0;
}

static sm_reply *begin(const char *format, const char *prompt) {
    sm_reply *reply;
    sm_error error = {0};
    const sm_reply_options o = {
        .struct_size = sizeof o, .format = format, .prompt_end = prompt, .tools = tools};
    if (sm_reply_new(&reply, &o, &error))
        fail_msg("%s: %s", format, error.message);
    return reply;
}

/* Reads a text in pieces of `step` bytes, the first of `first`. */
static void read_one(const one *o, uint64_t first, uint64_t step, char *out, size_t capacity,
                     char *message) {
    got g = {0};
    sm_reply *reply = begin(o->format, o->prompt);
    const uint64_t n = strlen(o->text);
    for (uint64_t at = 0, piece = first; at < n; at += piece, piece = step)
        assert_int_equal(
            sm_reply_feed(reply, o->text + at, piece < n - at ? piece : n - at, on_delta, &g, NULL),
            SM_OK);
    assert_int_equal(sm_reply_finish(reply, on_delta, &g, NULL), SM_OK);
    sm_reply_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_reply_get_info(reply, &info, NULL), SM_OK);
    snprintf(out, capacity, "%s|%s|%s|%s", g.content, g.reasoning, g.calls,
             info.malformed ? "!" : "");
    assert_int_equal(sm_reply_message(reply, message, 4096, &(uint64_t){0}, NULL), SM_OK);
    sm_reply_free(reply);
}

static void test_formats(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) {
        static char out[16384], whole[4096], message[4096];
        const uint64_t n = strlen(ones[i].text);
        memset(whole, 0, sizeof whole);
        read_one(&ones[i], n, n, out, sizeof out, whole);
        if (strcmp(out, ones[i].want) != 0)
            fail_msg("%s: %s\n gives %s\n not   %s", ones[i].format, ones[i].text, out,
                     ones[i].want);
        for (uint64_t cut = 0; cut < n; cut++) { /* 0: byte by byte */
            memset(message, 0, sizeof message);
            read_one(&ones[i], cut ? cut : 1, cut ? n : 1, out, sizeof out, message);
            if (strcmp(out, ones[i].want) != 0 || strcmp(whole, message) != 0)
                fail_msg("%s, cut at %u: %s\n gives %s\n not   %s", ones[i].format, (unsigned)cut,
                         ones[i].text, out, ones[i].want);
        }
    }
}

/* All marks of all formats are content in a text that has nothing else of them. */
static void test_patterns(void **state) {
    (void)state;
    for (uint32_t i = 0; i < sm_reply_n_formats; i++) {
        const sm_reply_format *f = &sm_reply_formats[i];
        sm_reply_step steps[SM_REPLY_MAX_STEPS];
        assert_ptr_equal(sm_reply_format_named(f->own), f);
        assert_int_not_equal(sm_names_find(sm_reply_formats_list(), f->own, NULL), SM_NAME_NONE);
        for (uint32_t k = 0; f->patterns[k]; k++)
            if (!sm_reply_compile(f->patterns[k], steps))
                fail_msg("%s: %s", f->own, f->patterns[k]);
        for (uint32_t k = 0; f->think[k]; k += 2)
            assert_non_null(f->think[k + 1]);
    }
    sm_reply_step steps[SM_REPLY_MAX_STEPS];
    assert_int_equal(sm_reply_compile("a%", steps), 0);
    assert_int_equal(sm_reply_compile("a%[b%)", steps), 0);
    assert_int_equal(sm_reply_compile("a%[b", steps), 0);
    assert_int_equal(sm_reply_compile("a%%b%_", steps), 4);
}

static void test_message(void **state) {
    (void)state;
    char json[512];
    uint64_t n, m;
    sm_reply_options o = {.struct_size = sizeof o, .format = "hermes", .first_call = 35};
    sm_reply *reply;
    assert_int_equal(sm_reply_new(&reply, &o, NULL), SM_OK);
    const char text[] = "<think>t</think><tool_call>{\"name\":\"a\"}</tool_call>"
                        "<tool_call>{\"name\":\"b\",\"arguments\":{\"x\":1}}</tool_call>";
    assert_int_equal(sm_reply_feed(reply, text, sizeof text - 1, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_finish(reply, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_finish(reply, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_feed(reply, "x", 1, NULL, NULL, NULL), SM_ERR_STATE);
    assert_int_equal(sm_reply_message(reply, NULL, 0, &n, NULL), SM_ERR_BUFFER);
    assert_int_equal(sm_reply_message(reply, json, sizeof json, &m, NULL), SM_OK);
    assert_int_equal(n, m);
    json[n] = 0;
    assert_string_equal(
        json,
        "{\"role\": \"assistant\", \"content\": null, \"reasoning_content\": \"t\", "
        "\"tool_calls\": [{\"id\": \"call0000z\", \"type\": \"function\", \"function\": "
        "{\"name\": \"a\", \"arguments\": \"{}\"}}, {\"id\": \"call00010\", \"type\": "
        "\"function\", \"function\": {\"name\": \"b\", \"arguments\": \"{\\\"x\\\": 1}\"}}]}");
    sm_reply_free(reply);
}

static void test_format_of(void **state) {
    (void)state;
    static const char *const of[][2] = {
        {"{{ '<tool_call>\\n' }}…{{ '\\n</tool_call>' }}", "hermes"},
        {"'<tool_call>\\n<function=' … '<parameter=' … '>' '</parameter>' '</function>' "
         "'</tool_call>'",
         "qwen3-coder"},
        {"<tool_call> <arg_key> </arg_key> <arg_value> </arg_value> </tool_call>", "glm-4.5"},
        {"{{ '[TOOL_CALLS] [' }}", "mistral-v3"},
        {"{{ '[TOOL_CALLS]' + name + '[ARGS]' }}", "mistral-v11"},
        {"<|channel|>commentary to=functions.", "gpt-oss"},
        {"<|start_header_id|>", NULL},
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const char *name = sm_reply_format_of(of[i][0]);
        if (!of[i][1])
            assert_null(name);
        else
            assert_string_equal(name ? name : "none", of[i][1]);
    }
}

/* The formats of real templates, where they are at hand. */
static void test_templates(void **state) {
    (void)state;
    static const char *const of[][2] = {
        {"Qwen-Qwen3-0.6B", "hermes"},
        {"Qwen3-Coder", "qwen3-coder"},
        {"meta-llama-Llama-3.1-8B-Instruct", "llama3-json"},
        {"vllm-tool-llama3.2_pythonic", "pythonic"},
        {"vllm-tool-llama4_pythonic", "llama4-pythonic"},
        {"LFM2-8B-A1B", "lfm2"},
        {"mistralai-Mistral-Nemo-Instruct-2407", "mistral-v3"},
        {"Mistral-Small-3.2-24B-Instruct-2506", "mistral-v11"},
        {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral-v13"},
        {"llama-cpp-deepseek-r1", "deepseek-v3"},
        {"deepseek-ai-DeepSeek-V3.1", "deepseek-v31"},
        {"deepseek-ai-DeepSeek-V3.2", "deepseek-v32"},
        {"deepseek-ai-DeepSeek-V4", "deepseek-v4"},
        {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command-r7b"},
        {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r-plus"},
        {"ibm-granite-granite-3.3-2B-Instruct", "granite-3"},
        {"meetkai-functionary-medium-v3.1", "functionary-v3.1"},
        {"meetkai-functionary-medium-v3.2", "functionary-v3.2"},
        {"fireworks-ai-llama-3-firefunction-v2", "firefunction-v2"},
        {"vllm-tool-phi4_mini", "phi4-mini"},
        {"openai-gpt-oss-120b", "gpt-oss"},
        {"GLM-4.6", "glm-4.5"},
        {"Kimi-K2-Instruct", "kimi-k2"},
        {"Kimi-K3", "kimi-k3"},
        {"MiniMax-M2", "minimax-m2"},
        {"MiniMax-M1", "minimax-m1"},
        {"NVIDIA-Nemotron-Nano-v2", "nemotron-nano-v2"},
        {"ByteDance-Seed-OSS", "seed-oss"},
        {"Apertus-8B-Instruct", "apertus"},
        {"google-gemma-4-31B-it", "gemma-4"},
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        char path[256];
        size_t size;
        snprintf(path, sizeof path, "chat/templates/%s.jinja", of[i][0]);
        const char *found = data_path(path);
        if (!found)
            skip();
        char *text = (char *)scratch_read(found, &size);
        const char *name = sm_reply_format_of(text);
        if (!name || strcmp(name, of[i][1]) != 0)
            fail_msg("%s: %s, not %s", of[i][0], name ? name : "none", of[i][1]);
        free(text);
    }
}

/* Texts made to be looked at again and again: the budget bounds that. Without it the largest of
 * these would take minutes. */
static void test_hostile(void **state) {
    (void)state;
    static const char *const units[][2] = {
        {"qwen3-coder", "<tool_call><function=a><parameter=b>"},
        {"qwen3-coder", "<tool_call><function=a><parameter=b></parameter>x"},
        {"hermes", "<tool_call>{\"a\":"},
        {"hermes", "<tool_call>["},
        {"glm-4.5", "<tool_call>a<arg_key>b</arg_key><arg_value>"},
        {"pythonic", "\n[look("},
        {"gemma-4", "<|tool_call>call:a{"},
        {"auto", "<tool_call>{\"a\":\"<tool_calls>[\""},
        {"auto", "\n{\"name\": \"ping\", \"parameters\": "},
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const uint64_t length = strlen(units[i][1]), n = test_share(20000, 2000);
        sm_reply *reply = begin(units[i][0], NULL);
        for (uint64_t k = 0; k < n; k++)
            assert_int_equal(sm_reply_feed(reply, units[i][1], length, NULL, NULL, NULL), SM_OK);
        assert_int_equal(sm_reply_finish(reply, NULL, NULL, NULL), SM_OK);
        uint64_t got_bytes;
        char *json = malloc(4 * n * length + 1000);
        assert_int_equal(sm_reply_message(reply, json, 4 * n * length + 1000, &got_bytes, NULL),
                         SM_OK);
        assert_true(got_bytes > n * (length - 1)); /* nothing is lost */
        free(json);
        sm_reply_free(reply);
    }
}

static int32_t refuse(void *user, const sm_delta *delta) {
    (void)delta;
    return *(int32_t *)user;
}

static void test_misuse(void **state) {
    (void)state;
    sm_reply *reply = NULL;
    sm_error error = {0};
    int32_t yes = 1;
    sm_reply_options o = {.struct_size = sizeof o, .format = "hermse"};
    assert_int_equal(sm_reply_new(&reply, &o, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "hermes"));
    o.format = NULL;
    o.tools = "{}";
    assert_int_equal(sm_reply_new(&reply, &o, &error), SM_ERR_FORMAT);
    o.tools = "[";
    assert_int_equal(sm_reply_new(&reply, &o, &error), SM_ERR_FORMAT);
    assert_null(reply);
    assert_int_equal(sm_reply_new(NULL, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_reply_new(&reply, NULL, NULL), SM_OK);
    assert_int_equal(sm_reply_feed(reply, NULL, 1, NULL, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_reply_feed(reply, "a", 1, refuse, &yes, &error), SM_ERR_CANCELLED);
    assert_int_equal(sm_reply_feed(reply, "a", 1, NULL, NULL, NULL), SM_ERR_CANCELLED);
    sm_reply_free(reply);
    sm_reply_free(NULL);
}

/* Every allocation of one reading fails in turn. */
static void test_memory(void **state) {
    (void)state;
    static const char text[] =
        "<think>a</think>b<tool_call>\n<function=look>\n<parameter=deep>\n{'a': 'b'}\n</parameter>"
        "\n</function>\n</tool_call><tool_call>{\"name\": \"ping\"}</tool_call>";
    for (uint64_t at = 1;; at++) {
        fail_alloc memory = {.fail_at = at};
        const sm_allocator allocator = fail_allocator(&memory);
        const sm_reply_options o = {.struct_size = sizeof o,
                                    .format = "qwen3-coder",
                                    .tools = tools,
                                    .allocator = &allocator};
        sm_reply *reply;
        got g = {0};
        sm_status status = sm_reply_new(&reply, &o, NULL);
        if (!status)
            status = sm_reply_feed(reply, text, sizeof text - 1, on_delta, &g, NULL);
        if (!status)
            status = sm_reply_finish(reply, on_delta, &g, NULL);
        sm_reply_free(reply);
        assert_int_equal(memory.live_blocks, 0);
        if (memory.calls < at) {
            assert_int_equal(status, SM_OK);
            break;
        }
        assert_int_equal(status, SM_ERR_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),   cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_message),   cmocka_unit_test(test_format_of),
        cmocka_unit_test(test_templates), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_misuse),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
