/* Real chat templates against the texts that Jinja makes of them.
 *
 *     check_templates [DIR]     a folder laid out as `chat` of SM_TEST_DATA (its README), which is
 *                               what it takes without DIR
 *
 * A line for each failure, then "N passed, N failed". A line of expected.jsonl with a text wants that
 * text; one with raise_exception that message; with another error any failure or, since being
 * milder is no fault, any text. Where transformers' own result stands beside, that one is as good.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/template.h"
#include "support.h"

static sm_mem mem;
static uint32_t n_passed, n_failed;

typedef struct world {
    char dir[4096];
    char *conversations_text, *templates_text;
    sm_json *conversations, *templates;
    int64_t clock;
    /* the template of the last line */
    char name[256];
    sm_template *parsed;
    sm_error parse_error;
} world;

static char *read_file(const char *dir, const char *name, uint64_t *length) {
    char path[8192];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    char *data = (char *)scratch_read(path, &size);
    *length = size;
    return data;
}

static sm_json *read_json(const char *text, uint64_t length, const char *name) {
    sm_json *json;
    sm_error error;
    if (sm_json_read(&json, &mem, text, length, NULL, NULL, &error)) {
        printf("%s: %s\n", name, error.message);
        exit(2);
    }
    return json;
}

/* "2026-03-14T09:26:53", as if it were UTC. */
static int64_t clock_of(const char *s) {
    int y, m, d, hour, minute, second;
    if (sscanf(s, "%d-%d-%dT%d:%d:%d", &y, &m, &d, &hour, &minute, &second) != 6)
        return 0;
    y -= m <= 2;
    const int64_t era = y / 400, yoe = y - era * 400,
                  doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1,
                  days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    return days * 86400 + hour * 3600 + minute * 60 + second;
}

static void copy_text(const sm_json *json, sm_json_value v, char *out, size_t size) {
    uint64_t n;
    const char *text = sm_json_text(json, v, &n);
    snprintf(out, size, "%.*s", (int)n, text ? text : "");
}

static sm_json_value named(const sm_json *json, sm_json_value list, const char *key,
                           const char *name) {
    for (sm_json_value i = sm_json_first(json, list); i != SM_JSON_NONE;
         i = sm_json_next(json, list, i))
        if (sm_json_is(json, sm_json_get(json, i, key), name))
            return i;
    return SM_JSON_NONE;
}

static void load_template(world *w, const char *name) {
    char file[512];
    uint64_t length;
    if (strcmp(w->name, name) == 0)
        return;
    snprintf(w->name, sizeof w->name, "%s", name);
    sm_template_free(w->parsed);
    w->parsed = NULL;
    snprintf(file, sizeof file, "templates/%s.jinja", name);
    char *text = read_file(w->dir, file, &length);
    if (!text) {
        printf("%s: no such template\n", file);
        exit(2);
    }
    sm_template_parse(&w->parsed, &mem, text, length, name, &w->parse_error);
    free(text);
}

#define MAX_VARIABLES 32

static uint32_t variables_of(const world *w, sm_json_value conversation, sm_variable *v) {
    const sm_json *json = w->conversations;
    const sm_json_value entry = named(w->templates, SM_JSON_ROOT, "template", w->name);
    uint32_t n = 0;
    uint64_t length;
    bool tools = false;
    for (sm_json_value i = sm_json_first(json, conversation); i != SM_JSON_NONE && n < 24;
         i = sm_json_next(json, conversation, i)) {
        if (sm_json_is(json, i, "name") || sm_json_is(json, i, "continue_final_message"))
            continue;
        tools |= sm_json_is(json, i, "tools");
        v[n] =
            (sm_variable){.kind = SM_VARIABLE_JSON, .json = json, .value = sm_json_member(json, i)};
        v[n].name = sm_json_text(json, i, &length);
        v[n++].name_length = length;
    }
    if (!tools)
        v[n++] = (sm_variable){.name = "tools", .kind = SM_VARIABLE_NONE};
    v[n++] = (sm_variable){.name = "documents", .kind = SM_VARIABLE_NONE};
    static const char *const tokens[] = {"bos_token", "eos_token"};
    for (int i = 0; i < 2; i++) {
        v[n] = (sm_variable){.name = tokens[i], .kind = SM_VARIABLE_TEXT};
        v[n].text =
            sm_json_text(w->templates, sm_json_get(w->templates, entry, tokens[i]), &length);
        v[n].length = length;
        if (!v[n].text)
            v[n].kind = SM_VARIABLE_NONE;
        n++;
    }
    return n;
}

/* continue_final_message: the text ends with the last message's content. */
static void cut_behind_last(const sm_json *json, sm_json_value conversation, sm_rendered *out) {
    const sm_json_value messages = sm_json_get(json, conversation, "messages");
    sm_json_value last = SM_JSON_NONE;
    uint64_t n;
    for (sm_json_value i = sm_json_first(json, messages); i != SM_JSON_NONE;
         i = sm_json_next(json, messages, i))
        last = i;
    const char *content = sm_json_text(json, sm_json_get(json, last, "content"), &n);
    if (!content)
        return;
    const uint64_t whole = n;
    while (n && strchr(" \t\n", content[n - 1]))
        n--;
    for (uint64_t at = out->length; at-- > 0;)
        if (at + n <= out->length && memcmp(out->text + at, content, n) == 0) {
            out->length = at + whole <= out->length && memcmp(out->text + at, content, whole) == 0
                              ? at + whole
                              : at + n;
            return;
        }
}

static bool is_text(const sm_json *json, sm_json_value v, const char *text, uint64_t length) {
    uint64_t n;
    const char *want = sm_json_text(json, v, &n);
    return want && n == length && memcmp(want, text, n) == 0;
}

static void report(const char *name, const char *conversation, const char *what, const char *got) {
    n_failed++;
    printf("FAILED %s %s: %s%.300s\n", name, conversation, what, got);
}

static void judge(const sm_json *line, const char *name, const char *conversation,
                  const sm_rendered *got, sm_status status, const sm_error *error) {
    const sm_json_value want = sm_json_get(line, SM_JSON_ROOT, "rendered"),
                        other = sm_json_get(line, SM_JSON_ROOT, "transformers"),
                        message = sm_json_get(line, SM_JSON_ROOT, "error");
    bool right;
    if (want != SM_JSON_NONE)
        right = !status && (is_text(line, want, got->text, got->length) ||
                            is_text(line, other, got->text, got->length));
    else if (sm_json_is(line, sm_json_get(line, SM_JSON_ROOT, "kind"), "raise_exception"))
        right = status && got->exception &&
                is_text(line, message, got->exception, strlen(got->exception));
    else
        right = true;
    if (right)
        n_passed++;
    else if (status)
        report(name, conversation, "", error->message);
    else
        report(name, conversation, "another text: ", got->text);
}

static void check_line(world *w, const char *text, uint64_t length) {
    char name[256], conversation[256];
    sm_json *line = read_json(text, length, "expected.jsonl");
    copy_text(line, sm_json_get(line, SM_JSON_ROOT, "template"), name, sizeof name);
    copy_text(line, sm_json_get(line, SM_JSON_ROOT, "conversation"), conversation,
              sizeof conversation);
    load_template(w, name);
    const sm_json_value c =
        named(w->conversations, sm_json_get(w->conversations, SM_JSON_ROOT, "conversations"),
              "name", conversation);
    sm_variable v[MAX_VARIABLES];
    sm_rendered got = {.mem = &mem};
    sm_error error = w->parse_error;
    sm_status status = w->parsed ? SM_OK : error.code;
    if (!status) {
        const sm_template_options options = {.clock = w->clock, .clock_is_set = true};
        const uint32_t n = variables_of(w, c, v);
        status = sm_template_render(w->parsed, &mem, v, n, &options, &got, &error);
    }
    if (!status && sm_json_get(w->conversations, c, "continue_final_message") != SM_JSON_NONE)
        cut_behind_last(w->conversations, c, &got);
    judge(line, name, conversation, &got, status, &error);
    sm_rendered_free(&got);
    sm_json_free(line);
}

int main(int argc, char **argv) {
    static world w;
    uint64_t length;
    const char *dir = argc > 1 ? argv[1] : data_path("chat");
    if (!dir) {
        printf("skipped: no test data\n");
        return 77;
    }
    snprintf(w.dir, sizeof w.dir, "%s", dir);
    sm_mem_init(&mem, NULL, 0, NULL);
    w.conversations_text = read_file(dir, "conversations.json", &length);
    if (!w.conversations_text) {
        printf("%s/conversations.json is not there\n", dir);
        return 2;
    }
    w.conversations = read_json(w.conversations_text, length, "conversations.json");
    w.templates_text = read_file(dir, "templates.json", &length);
    if (!w.templates_text)
        return 2;
    w.templates = read_json(w.templates_text, length, "templates.json");
    char clock[64];
    copy_text(w.conversations, sm_json_get(w.conversations, SM_JSON_ROOT, "strftime_now"), clock,
              sizeof clock);
    w.clock = clock_of(clock);
    char *lines = read_file(dir, "expected.jsonl", &length);
    if (!lines)
        return 2;
    for (uint64_t from = 0; from < length;) {
        const char *end = memchr(lines + from, '\n', length - from);
        const uint64_t to = end ? (uint64_t)(end - lines) : length;
        if (to > from)
            check_line(&w, lines + from, to - from);
        from = to + 1;
    }
    sm_template_free(w.parsed);
    sm_json_free(w.conversations);
    sm_json_free(w.templates);
    free(w.conversations_text);
    free(w.templates_text);
    free(lines);
    printf("%u passed, %u failed\n", n_passed, n_failed);
    return n_failed ? 1 : 0;
}
