/* reply_formats.c - the formats of replies, and how a pattern becomes steps. */
#include "reply_format.h"

#include "smallmind/chat.h"

/* Patterns that several formats have. */
#define XML_PARAMETERS "%!%_%[<parameter=%k>%w</parameter>%_%]</function>%."
#define HERMES "<tool_call>%_%o%.%_</tool_call>"
#define CODER "<tool_call>%_<function=%n>" XML_PARAMETERS "%_</tool_call>"
#define CODER_BARE "<function=%n>" XML_PARAMETERS "%(%_</tool_call>%)"
#define GLM "<tool_call>%_%n%_%[%!<arg_key>%k</arg_key>%_<arg_value>%v</arg_value>%_%]</tool_call>"
#define DEEPSEEK(call)                                     \
    "<｜tool▁calls▁begin｜>%_%{<｜tool▁call▁begin｜>" call \
    "%_<｜tool▁call▁end｜>%_%}<｜tool▁calls▁end｜>"
#define DEEPSEEK_3 DEEPSEEK("%_function<｜tool▁sep｜>%n%_```json%_%a%.%_```")
#define DEEPSEEK_31 DEEPSEEK("%_%n<｜tool▁sep｜>%_%a%.")
#define DSML(section)                                                               \
    "<｜DSML｜" section ">%_%{<｜DSML｜invoke name=\"%n\">%!%_"                   \
    "%[<｜DSML｜parameter name=\"%k\" string=\"%b\">%v</｜DSML｜parameter>%_%]" \
    "</｜DSML｜invoke>%.%_%}</｜DSML｜" section ">"
#define MISTRAL_LIST "[TOOL_CALLS]%_%o"
#define MISTRAL_NAMED "[TOOL_CALLS]%_%n%([CALL_ID]%i%)[ARGS]%_%a"
#define COHERE "<|START_ACTION|>%_%o%.%_<|END_ACTION|>"
#define GRANITE "<|tool_call|>%_%o%.%(%_<|/tool_call|>%)"
#define FUNCTOOLS "functools%o"
#define LFM "<|tool_call_start|>%_%p%.%_<|tool_call_end|>"
#define LFM_JSON "<|tool_call_start|>%_%o%.%_<|tool_call_end|>"
#define FENCED "<|tool_call_start|>%_```python%_%p%.%_```%_<|tool_call_end|>"
#define LIST_TAGS "<tool_calls>%_%o%.%_</tool_calls>"
#define HARMONY_TAIL "%x<|message|>%_%a%.<|call|>"
#define M3 "]<]minimax[>["
#define THINK "<think>", "</think>"

const sm_reply_format sm_reply_formats[] = {
    {.own = "hermes",
     .names = "hermes|qwen2.5|qwen3|qwq|mimo|exaone4|granite-4|bielik|reka|jamba-2|hermes-2-pro",
     .think = {THINK},
     .patterns = {HERMES, CODER}},
    {.own = "qwen3-coder",
     .names = "qwen3-coder|qwen3.5|qwen3.6|nemotron-3|step-3.5",
     .think = {THINK},
     .patterns = {CODER, CODER_BARE, HERMES}},
    {.own = "llama3-json",
     .keys = {"name", "parameters"},
     .hints = {"\"parameters\": dictionary of argument name"},
     .names = "llama3-json|llama3|llama3.1|llama3.2|llama4-json",
     .think = {THINK},
     .patterns = {"<|python_tag|>%_%o", "<|python_tag|>%_%p",
                  "<|python_start|>%_%p%.%_<|python_end|>", "%o"}},
    {.own = "pythonic",
     .hints = {"[func_name1(params_name1=params_value1"},
     .names = "pythonic|llama3.2-pythonic|toolace",
     .think = {THINK},
     .patterns = {"<|python_tag|>%_%p", "%p"}},
    {.own = "llama4-pythonic",
     .hints = {"[func_name1(param1=value1"},
     .names = "llama4-pythonic|llama4",
     .think = {THINK},
     .patterns = {"<|python_start|>%_%p%.%_<|python_end|>",
                  "<|python_start|>%_%o%.%_<|python_end|>", "%p"}},
    {.own = "lfm2",
     .hints = {"<|tool_list_start|>"},
     .names = "lfm2|lfm2.5",
     .think = {THINK},
     .patterns = {LFM, LFM_JSON}},
    {.own = "olmo3",
     .names = "olmo3|olmo-3",
     .think = {THINK},
     .patterns = {"<function_calls>%_%p%.%_</function_calls>"}},
    {.own = "mistral-v3",
     .names = "mistral-v3|mistral-nemo|mistral-v7|mistral-large",
     .think = {"[THINK]", "[/THINK]", THINK},
     .patterns = {MISTRAL_LIST, MISTRAL_NAMED}},
    {.own = "mistral-v11",
     .names = "mistral-v11|mistral-small-3.2|devstral",
     .think = {"[THINK]", "[/THINK]", THINK},
     .patterns = {MISTRAL_NAMED, MISTRAL_LIST}},
    {.own = "mistral-v13",
     .hints = {"[THINK]", "[ARGS]"},
     .names = "mistral-v13|magistral|ministral-3",
     .think = {"[THINK]", "[/THINK]", THINK},
     .patterns = {MISTRAL_NAMED, MISTRAL_LIST}},
    {.own = "deepseek-v3",
     .hints = {"<｜tool▁sep｜>", "```json"},
     .names = "deepseek-v3|deepseek-r1",
     .think = {THINK},
     .patterns = {DEEPSEEK_3, DEEPSEEK_31}},
    {.own = "deepseek-v31",
     .names = "deepseek-v31|deepseek-v3.1",
     .think = {THINK},
     .patterns = {DEEPSEEK_31, DEEPSEEK_3}},
    {.own = "deepseek-v32",
     .hints = {"｜DSML｜", "function_calls"},
     .names = "deepseek-v32|deepseek-v3.2",
     .think = {THINK},
     .patterns = {DSML("function_calls"), DSML("tool_calls")}},
    {.own = "deepseek-v4",
     .hints = {"｜DSML｜", "tool_calls"},
     .names = "deepseek-v4",
     .think = {THINK},
     .patterns = {DSML("tool_calls"), DSML("function_calls")}},
    {.own = "command-r7b",
     .keys = {"tool_name", "parameters"},
     .names = "command-r7b|command-a|command-a-reasoning|cohere2",
     .think = {"<|START_THINKING|>", "<|END_THINKING|>"},
     .silent = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"},
     .patterns = {COHERE}},
    {.own = "command-r-plus",
     .keys = {"tool_name", "parameters"},
     .names = "command-r-plus|command-r",
     .patterns = {"Action:%_```json%_%o%.%_```"}},
    {.own = "granite-3",
     .names = "granite-3|granite-3.3",
     .think = {THINK},
     .silent = {"<response>", "</response>"},
     .patterns = {GRANITE}},
    {.own = "functionary-v3.1",
     .names = "functionary-v3.1",
     .patterns = {"<function=%n>%_%a%.%_</function>", "<|python_tag|>%_%o"}},
    {.own = "functionary-v3.2",
     .names = "functionary-v3.2",
     .silent = {">>>all\n"},
     .patterns = {">>>%n%_%a"},
     .begun = ">>>"},
    {.own = "firefunction-v2", .names = "firefunction-v2", .patterns = {FUNCTOOLS}},
    {.own = "phi4-mini",
     .hints = {"functools[{", "<|end|>"},
     .names = "phi4-mini|phi-4-mini",
     .patterns = {GRANITE, FUNCTOOLS}},
    {.own = "gpt-oss",
     .hints = {"<|channel|>", "functions."},
     .names = "gpt-oss|harmony",
     .think = {"<|channel|>analysis<|message|>", "<|end|>"},
     .silent = {"<|channel|>final<|message|>", "<|channel|>commentary<|message|>", "<|end|>",
                "<|return|>", "<|start|>assistant",
                "<|channel|>final <|constrain|>json<|message|>"},
     .patterns = {"<|channel|>commentary to=%(functions.%)%n" HARMONY_TAIL,
                  "<|channel|>analysis to=%(functions.%)%n" HARMONY_TAIL,
                  "<|start|>assistant to=%(functions.%)%n<|channel|>" HARMONY_TAIL},
     .begun = "<|start|>assistant"},
    {.own = "glm-4.5",
     .names = "glm-4.5|glm-4.6|glm-4.7|glm-5|laguna|ling-3|spark",
     .think = {THINK},
     .patterns = {GLM}},
    {.own = "kimi-k2",
     .names = "kimi-k2|kimi-k2-thinking",
     .think = {THINK},
     .patterns = {"<|tool_calls_section_begin|>%_%{<|tool_call_begin|>%_%j%_<|tool_call_argument_"
                  "begin|>%_%a%.%_<|tool_call_end|>%_%}<|tool_calls_section_end|>"}},
    {.own = "kimi-k3",
     .hints = {"<|open|>", "<|close|>"},
     .names = "kimi-k3",
     .think = {"<|open|>think<|sep|>", "<|close|>think<|sep|>"},
     .silent = {"<|open|>response<|sep|>", "<|close|>response<|sep|>"},
     .patterns = {"<|open|>tools<|sep|>%_%{<|open|>call tool=\"%n\"%x<|sep|>%!%_%[<|open|>argument "
                  "key=\"%k\" type=\"%t\"<|sep|>%v<|close|>argument<|sep|>%_%]<|close|>call<|sep|>"
                  "%.%_%}<|close|>tools<|sep|>"}},
    {.own = "minimax-m2",
     .names = "minimax-m2",
     .think = {THINK},
     .patterns = {"<minimax:tool_call>%_%{<invoke name=\"%n\">%!%_%[<parameter name=\"%k\">%v"
                  "</parameter>%_%]</invoke>%.%_%}</minimax:tool_call>"}},
    {.own = "minimax-m3",
     .names = "minimax-m3",
     .hints = {M3, "<invoke name=", "<mm:think>"},
     .think = {"<mm:think>", "</mm:think>"},
     .silent = {"</mm:think>"},
     .patterns = {M3 "<tool_call>%_%{" M3 "<invoke name=\"%n\">%!%_%[" M3 "<%k>%v" M3 "</%x>%_%]" M3
                     "</invoke>%.%_%}" M3 "</tool_call>"}},
    {.own = "minimax-m1",
     .names = "minimax-m1|apriel|jamba",
     .think = {THINK},
     .patterns = {LIST_TAGS}},
    {.own = "nemotron-nano-v2",
     .names = "nemotron-nano-v2|nemotron",
     .think = {THINK},
     .patterns = {"<TOOLCALL>%_%o%.%_</TOOLCALL>"}},
    {.own = "seed-oss",
     .names = "seed-oss",
     .think = {"<seed:think>", "</seed:think>"},
     .patterns = {"<seed:tool_call>%_<function=%n>%!%_%[<parameter=%k>%v</parameter>%_%]</function>"
                  "%.%_</seed:tool_call>"}},
    {.own = "apertus",
     .names = "apertus",
     .think = {"<|inner_prefix|>", "<|inner_suffix|>"},
     .patterns = {"<|tools_prefix|>%_%m%.%_<|tools_suffix|>"}},
    {.own = "gemma-4",
     .names = "gemma-4|gemma4",
     .think = {"<|channel>thought", "<channel|>"},
     .patterns = {"<|tool_call>call:%n%g%.<tool_call|>"}},
    {.own = "json-list", .names = "json-list|xlam|hammer", .think = {THINK}, .patterns = {"%o"}},
    {.own = "minicpm3",
     .names = "minicpm3|minicpm-3",
     .think = {"<|thought_start|>", "<|thought_end|>"},
     .patterns = {FENCED, LFM}},
    {.own = "hy3",
     .names = "hy3|hunyuan-3",
     .hints = {"<tool_sep", "<arg_key"},
     .think = {"<think:opensource>", "</think:opensource>", THINK},
     .patterns = {"<tool_calls%x>%_%{<tool_call%x>%_%n%_<tool_sep%x>%!%_%[<arg_key%x>%k</arg_key%x>"
                  "%_<arg_value%x>%v</arg_value%x>%_%]</tool_call%x>%_%}</tool_calls%x>"}},
    {.own = "minicpm5",
     .names = "minicpm5",
     .think = {THINK},
     .patterns = {"<function name=\"%n\">%!%_%[<param name=\"%k\">%v</param>%_%]</function>"}},
    {.own = "solar-open",
     .names = "solar-open|solar",
     .think = {"<|think|>", "<|end|>"},
     .silent = {"<|begin|>assistant", "<|content|>", "<|tool_calls|>", "<|calls|>", "<|end|>"},
     .patterns = {"<|tool_call:begin|>%i<|tool_call:name|>%n<|tool_call:args|>%_%a%."
                  "<|tool_call:end|>"}},
    {.own = "muse-glimmer",
     .names = "muse-glimmer",
     .patterns = {"<atem:function_calls>%_%{<atem:invoke name=\"%n\">%!%_%[<atem:parameter "
                  "name=\"%k\">%v</atem:parameter>%_%]</atem:invoke>%.%_%}</atem:function_calls>"}},
    {.own = "internlm2",
     .names = "internlm2",
     .patterns = {"<|action_start|>%_<|plugin|>%_%o%.%_<|action_end|>"}},
    {.own = "granite-20b-fc", .names = "granite-20b-fc", .patterns = {"<function_call>%_%o"}},
    {.own = "firefunction-v1", .names = "firefunction-v1", .patterns = {"<functioncall>%_%o"}},
    {.own = "gigachat3",
     .names = "gigachat3|gigachat",
     .patterns = {"<|function_call|>%_%o", "function call<|role_sep|>%_%o"}},
    {.own = "functionary-v2.2",
     .names = "functionary-v2.2|functionary-v2",
     .silent = {"<|from|>assistant\n<|recipient|>all\n<|content|>"},
     .patterns = {"<|from|>assistant\n<|recipient|>%n%_<|content|>%_%a"},
     .begun = "<|from|>assistant\n<|recipient|>"},
};
const uint32_t sm_reply_n_formats = sizeof sm_reply_formats / sizeof *sm_reply_formats;

/* ---- patterns -------------------------------------------------------------------- */

static uint8_t code_of(char letter) {
    static const char letters[] = "_nijkvwbtxomagp()[]{}.!";
    static const uint8_t codes[] = {
        SM_REPLY_SPACE,     SM_REPLY_NAME,     SM_REPLY_ID,       SM_REPLY_ID_NAME,
        SM_REPLY_KEY,       SM_REPLY_VALUE,    SM_REPLY_LINES,    SM_REPLY_IS_STRING,
        SM_REPLY_TYPE,      SM_REPLY_ANY,      SM_REPLY_OBJECTS,  SM_REPLY_MAPS,
        SM_REPLY_ARGUMENTS, SM_REPLY_PAIRS,    SM_REPLY_PYTHON,   SM_REPLY_MAYBE,
        SM_REPLY_MAYBE_END, SM_REPLY_LOOP,     SM_REPLY_LOOP_END, SM_REPLY_CALL,
        SM_REPLY_CALL_END,  SM_REPLY_COMPLETE, SM_REPLY_MEANT,
    };
    const char *found = letter ? strchr(letters, letter) : NULL;
    return found ? codes[found - letters] : SM_REPLY_END;
}

static bool opens(uint8_t code) {
    return code == SM_REPLY_MAYBE || code == SM_REPLY_LOOP || code == SM_REPLY_CALL;
}

static bool closes(uint8_t code) {
    return code == SM_REPLY_MAYBE_END || code == SM_REPLY_LOOP_END || code == SM_REPLY_CALL_END;
}

/* Text up to the next %, which %% is part of: it then begins a step of its own. */
static uint32_t text_length(const char *p) {
    uint32_t n = 1; /* the first is none, or the second of %% */
    while (p[n] && p[n] != '%')
        n++;
    return n;
}

uint32_t sm_reply_compile(const char *pattern, sm_reply_step steps[SM_REPLY_MAX_STEPS]) {
    uint16_t open[SM_REPLY_MAX_NESTING];
    uint32_t n = 0, depth = 0;
    for (const char *p = pattern; *p;) {
        if (n == SM_REPLY_MAX_STEPS - 1)
            return 0;
        sm_reply_step *step = &steps[n];
        *step = (sm_reply_step){.code = SM_REPLY_TEXT, .text = p};
        if (*p != '%' || p[1] == '%') {
            step->text += *p == '%';
            step->length = (uint16_t)text_length(step->text);
            p = step->text + step->length;
        } else {
            step->code = code_of(p[1]);
            p += 2;
        }
        if (step->code == SM_REPLY_END || (opens(step->code) && depth == SM_REPLY_MAX_NESTING) ||
            (closes(step->code) && (!depth || steps[open[depth - 1]].code + 1 != step->code)))
            return 0;
        if (opens(step->code)) {
            open[depth++] = (uint16_t)n;
        } else if (closes(step->code)) {
            step->other = open[--depth];
            steps[step->other].other = (uint16_t)n;
        }
        n++;
    }
    steps[n++] = (sm_reply_step){.code = SM_REPLY_END};
    return depth || n == 1 ? 0 : n;
}

/* ---- which one ------------------------------------------------------------------- */

const sm_reply_format *sm_reply_format_named(const char *name) {
    for (uint32_t i = 0; i < sm_reply_n_formats; i++)
        if (sm_names_find(sm_reply_formats[i].names, name, NULL) != SM_NAME_NONE)
            return &sm_reply_formats[i];
    return NULL;
}

const char *sm_reply_formats_list(void) {
    return "auto|"
           "hermes|"
           "qwen3-coder|"
           "llama3-json|"
           "pythonic|"
           "llama4-pythonic|"
           "lfm2|"
           "olmo3|"
           "mistral-v3|"
           "mistral-v11|"
           "mistral-v13|"
           "deepseek-v3|"
           "deepseek-v31|"
           "deepseek-v32|"
           "deepseek-v4|"
           "command-r7b|"
           "command-r-plus|"
           "granite-3|"
           "functionary-v3.1|"
           "functionary-v3.2|"
           "firefunction-v2|"
           "phi4-mini|"
           "gpt-oss|"
           "glm-4.5|"
           "kimi-k2|"
           "kimi-k3|"
           "minimax-m2|"
           "minimax-m3|"
           "minimax-m1|"
           "nemotron-nano-v2|"
           "seed-oss|"
           "apertus|"
           "gemma-4|"
           "json-list|"
           "minicpm3|"
           "hy3|"
           "minicpm5|"
           "solar-open|"
           "muse-glimmer|"
           "internlm2|"
           "granite-20b-fc|"
           "firefunction-v1|"
           "gigachat3|"
           "functionary-v2.2";
}

/* ---- one in words ---------------------------------------------------------------- */

/* The next line, its end made a zero; NULL: there is none. */
static char *take_line(char **at) {
    char *line = *at, *end = strchr(line, '\n');
    if (!*line)
        return NULL;
    *at = end ? end + 1 : line + strlen(line);
    if (end)
        *end = 0;
    return line;
}

static bool add_line(sm_reply_format *f, char *line, uint32_t *n_calls, uint32_t *n_think) {
    sm_reply_step steps[SM_REPLY_MAX_STEPS];
    char *tab = strchr(line, '\t');
    if (!strncmp(line, "call ", 5) && *n_calls < SM_REPLY_MARKS - 1 && strlen(line) <= UINT16_MAX &&
        sm_reply_compile(line + 5, steps)) {
        f->patterns[(*n_calls)++] = line + 5;
        return true;
    }
    if (strncmp(line, "think ", 6) != 0 || !tab || tab == line + 6 || !tab[1] ||
        *n_think + 2 >= SM_REPLY_MARKS)
        return false;
    *tab = 0;
    f->think[(*n_think)++] = line + 6;
    f->think[(*n_think)++] = tab + 1;
    return true;
}

static sm_status describe(sm_reply_described *kept, sm_mem *mem, const char *what,
                          sm_error *error) {
    uint32_t n_calls = 0, n_think = 0;
    kept->text = sm_strdup(mem, what, strlen(what));
    if (!kept->text)
        return sm_fail(error, SM_ERR_NOMEM, "reply: out of memory");
    char *at = kept->text, *line;
    kept->format = (sm_reply_format){.own = "described", .names = "described"};
    while ((line = take_line(&at)) != NULL)
        if (!add_line(&kept->format, line, &n_calls, &n_think))
            return sm_fail(error, SM_ERR_FORMAT, "format: no line of a description: %.100s", line);
    return SM_OK;
}

sm_status sm_reply_format_find(const sm_reply_format **format, sm_reply_described *kept,
                               sm_mem *mem, const char *what, sm_error *error) {
    *format = NULL;
    *kept = (sm_reply_described){.text = NULL};
    if (!what || same_text(what, strlen(what), "auto"))
        return SM_OK;
    if (!strncmp(what, "call ", 5)) {
        *format = &kept->format;
        return describe(kept, mem, what, error);
    }
    *format = sm_reply_format_named(what);
    return *format ? SM_OK : sm_fail_name(error, "format", what, sm_reply_formats_list());
}

/* ---- by a template's text -------------------------------------------------------- */

/* How much of a pattern's text a template holds, in bytes, what may be missing left out; 0: not all
 * of it. */
static uint32_t share_of(const char *pattern, const char *text) {
    sm_reply_step steps[SM_REPLY_MAX_STEPS];
    const uint32_t n = sm_reply_compile(pattern, steps);
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        char piece[128];
        if (steps[i].code == SM_REPLY_MAYBE)
            i = steps[i].other;
        if (steps[i].code != SM_REPLY_TEXT)
            continue;
        sm_format(piece, sizeof piece, "%.*s", (int)steps[i].length, steps[i].text);
        if (!strstr(text, piece))
            return 0;
        bytes += steps[i].length;
    }
    return bytes;
}

static bool has_hints(const sm_reply_format *f, const char *text) {
    for (uint32_t i = 0; f->hints[i]; i++)
        if (!strstr(text, f->hints[i]))
            return false;
    return f->hints[0] != NULL;
}

const sm_reply_format *sm_reply_format_in(const char *text, bool *told) {
    const sm_reply_format *best = NULL;
    uint32_t most = 0;
    *told = false;
    for (uint32_t i = 0; i < sm_reply_n_formats && text; i++) {
        const sm_reply_format *f = &sm_reply_formats[i];
        const bool hints = has_hints(f, text);
        uint32_t bytes = share_of(f->patterns[0], text);
        for (uint32_t k = 0; hints && f->hints[k]; k++)
            bytes += 4 * (uint32_t)strlen(f->hints[k]);
        if (bytes > most) {
            most = bytes;
            best = f;
            *told = hints;
        }
    }
    return best;
}

const char *sm_reply_format_of(const char *text) {
    bool told;
    const sm_reply_format *f = sm_reply_format_in(text, &told);
    return f ? f->own : NULL;
}
