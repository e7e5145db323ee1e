/* check_replies DIR: every line of DIR/toolcalls.jsonl, read whole, in its pieces and byte by byte,
 * with the tools of DIR/toolcalls.tools.json; and that the formats of DIR/templates are found. A
 * line for each failure, `N passed, N failed` last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_write.h"
#include "smallmind/chat.h"
#include "support.h"

static sm_mem mem;
static unsigned passed, failed;

static char *text_of(const sm_json *json, sm_json_value value) {
    uint64_t n;
    const char *text = sm_json_text(json, value, &n);
    return text ? sm_strdup(&mem, text, n) : NULL;
}

/* ---- the sum of deltas ----------------------------------------------------------------------- */

typedef struct sum {
    sm_builder text[4]; /* by kind */
} sum;

static int32_t add(void *user, const sm_delta *delta) {
    sum *s = user;
    sm_builder *b = &s->text[delta->kind];
    const sm_json_source source = {.name = "delta", .line = 1};
    sm_json *json;
    sm_error error;
    if (sm_json_read(&json, &mem, delta->json, delta->json_length, &source, NULL, &error)) {
        printf("a delta that is no JSON: %s\n", delta->json);
        exit(1);
    }
    if (delta->kind == SM_DELTA_CALL) {
        sm_builder_text(b, delta->name);
        sm_builder_byte(b, '(');
        sm_builder_text(b, delta->id);
        sm_builder_byte(b, ')');
    } else {
        uint64_t n;
        const char *name = delta->kind == SM_DELTA_CONTENT ? "content" : "reasoning_content";
        const char *text = sm_json_text(json, sm_json_get(json, SM_JSON_ROOT, name), &n);
        if (!text || n != delta->length || memcmp(text, delta->text, (size_t)n) != 0) {
            printf("a delta whose JSON says something else\n");
            exit(1);
        }
    }
    sm_builder_add(b, delta->text, delta->length);
    sm_json_free(json);
    return 0;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool equal(const sm_json *a, sm_json_value x, const sm_json *b, sm_json_value y) {
    const sm_json_kind kind = sm_json_kind_of(a, x);
    uint64_t n, m;
    double p = 0, q = 1;
    if (kind != sm_json_kind_of(b, y) || sm_json_count(a, x) != sm_json_count(b, y))
        return false;
    const char *s = sm_json_text(a, x, &n), *t = sm_json_text(b, y, &m);
    if (kind == SM_JSON_STRING)
        return n == m && !memcmp(s, t, (size_t)n);
    if (kind == SM_JSON_NUMBER)
        return sm_json_double(a, x, &p) && sm_json_double(b, y, &q) && p >= q && p <= q;
    sm_json_value j = sm_json_first(b, y);
    for (sm_json_value i = sm_json_first(a, x); i != SM_JSON_NONE; i = sm_json_next(a, x, i)) {
        if (kind == SM_JSON_ARRAY) {
            if (!equal(a, i, b, j))
                return false;
            j = sm_json_next(b, y, j);
        } else {
            char *name = text_of(a, i);
            const sm_json_value other = sm_json_get(b, y, name);
            sm_free(&mem, name);
            if (other == SM_JSON_NONE || !equal(a, sm_json_member(a, i), b, other))
                return false;
        }
    }
    return true;
}

/* Texts but for white space at both ends; one that is not there is empty. */
static bool same_words(const sm_json *a, sm_json_value x, const sm_json *b, sm_json_value y) {
    uint64_t n, m;
    const char *s = sm_json_text(a, x, &n), *t = sm_json_text(b, y, &m);
    while (n && strchr(" \n\t\r", *s))
        s++, n--;
    while (m && strchr(" \n\t\r", *t))
        t++, m--;
    while (n && strchr(" \n\t\r", s[n - 1]))
        n--;
    while (m && strchr(" \n\t\r", t[m - 1]))
        m--;
    return n == m && (!n || !memcmp(s, t, (size_t)n));
}

static bool same_call(const sm_json *want, sm_json_value call, const sm_json *got,
                      sm_json_value item) {
    const sm_json_source source = {.name = "arguments", .line = 1};
    const sm_json_value id = sm_json_get(want, call, "id");
    const sm_json_value function = sm_json_get(got, item, "function");
    sm_json *arguments;
    uint64_t n;
    const char *text = sm_json_text(got, sm_json_get(got, function, "arguments"), &n);
    if (!equal(want, sm_json_get(want, call, "name"), got, sm_json_get(got, function, "name")) ||
        (id != SM_JSON_NONE && !equal(want, id, got, sm_json_get(got, item, "id"))) || !text ||
        sm_json_read(&arguments, &mem, text, n, &source, NULL, NULL))
        return false;
    const bool same = equal(want, sm_json_get(want, call, "arguments"), arguments, SM_JSON_ROOT);
    sm_json_free(arguments);
    return same;
}

static const char *difference(const sm_json *want, const sm_json *got, bool malformed) {
    const sm_json_value calls = sm_json_get(want, SM_JSON_ROOT, "calls");
    const sm_json_value items = sm_json_get(got, SM_JSON_ROOT, "tool_calls");
    const bool flag =
        sm_json_kind_of(want, sm_json_get(want, SM_JSON_ROOT, "malformed")) == SM_JSON_TRUE;
    if (!same_words(want, sm_json_get(want, SM_JSON_ROOT, "content"), got,
                    sm_json_get(got, SM_JSON_ROOT, "content")))
        return "content";
    if (!same_words(want, sm_json_get(want, SM_JSON_ROOT, "reasoning"), got,
                    sm_json_get(got, SM_JSON_ROOT, "reasoning_content")))
        return "reasoning";
    if (sm_json_count(want, calls) != sm_json_count(got, items))
        return "number of calls";
    sm_json_value j = sm_json_first(got, items);
    for (sm_json_value i = sm_json_first(want, calls); i != SM_JSON_NONE;
         i = sm_json_next(want, calls, i), j = sm_json_next(got, items, j))
        if (!same_call(want, i, got, j))
            return "a call";
    return flag != malformed ? "the malformed flag" : NULL;
}

/* ---- one line -------------------------------------------------------------------------------- */

typedef struct reading {
    char *message; /* zero-terminated */
    bool malformed;
    sum sum;
} reading;

static void require(sm_status status, const sm_error *error) {
    if (status) {
        printf("%s\n", error->message);
        exit(1);
    }
}

static sm_reply *begin(const sm_json *line, const char *tools) {
    char *format = text_of(line, sm_json_get(line, SM_JSON_ROOT, "format"));
    char *prompt = text_of(line, sm_json_get(line, SM_JSON_ROOT, "prompt_ends"));
    const char *names = sm_reply_formats_list();
    sm_reply_options o = {
        .struct_size = sizeof o, .format = format, .prompt_end = prompt, .tools = tools};
    sm_reply *reply;
    sm_error error = {0};
    if (!format || sm_reply_new(&reply, &o, &error)) { /* a format that has another name here */
        o.format = "auto";
        printf("format %s is not known by that name (of %s)\n", format ? format : "?", names);
        require(sm_reply_new(&reply, &o, &error), &error);
    }
    sm_free(&mem, format);
    sm_free(&mem, prompt);
    return reply;
}

static void feed(sm_reply *reply, reading *to, const char *text, uint64_t n) {
    sm_error error = {0};
    require(sm_reply_feed(reply, text, n, add, &to->sum, &error), &error);
}

static void end(sm_reply *reply, reading *to) {
    sm_error error = {0};
    sm_reply_info info = {.struct_size = sizeof info};
    uint64_t n;
    require(sm_reply_finish(reply, add, &to->sum, &error), &error);
    sm_reply_message(reply, NULL, 0, &n, NULL);
    to->message = sm_alloc_zero(&mem, n + 1);
    require(sm_reply_message(reply, to->message, n, &n, &error), &error);
    require(sm_reply_get_info(reply, &info, &error), &error);
    to->malformed = info.malformed != 0;
    sm_reply_free(reply);
}

static bool same_sum(const reading *a, const reading *b) {
    for (uint32_t i = 0; i < 4; i++)
        if (a->sum.text[i].length != b->sum.text[i].length ||
            (a->sum.text[i].length &&
             memcmp(a->sum.text[i].data, b->sum.text[i].data, (size_t)a->sum.text[i].length) != 0))
            return false;
    return true;
}

static const char *check(const reading *r, const reading *whole, const sm_json *line) {
    const sm_json_source source = {.name = "message", .line = 1};
    sm_json *got;
    sm_error error = {0};
    require(sm_json_read(&got, &mem, r->message, strlen(r->message), &source, NULL, &error),
            &error);
    uint64_t n;
    const char *text = sm_json_text(got, sm_json_get(got, SM_JSON_ROOT, "content"), &n);
    const char *what = difference(line, got, r->malformed);
    if (!what && n + (text == NULL) != r->sum.text[SM_DELTA_CONTENT].length + (text == NULL))
        what = "the sum of deltas";
    if (!what && (strcmp(r->message, whole->message) != 0 || !same_sum(r, whole)))
        what = "not as when read whole";
    sm_json_free(got);
    return what;
}

static void release(reading *r) {
    sm_free(&mem, r->message);
    for (uint32_t i = 0; i < 4; i++)
        sm_builder_free(&r->sum.text[i]);
}

static reading new_reading(void) {
    reading r = {0};
    for (uint32_t i = 0; i < 4; i++)
        r.sum.text[i] = sm_builder_of(&mem, 0);
    return r;
}

static void check_line(const sm_json *line, const char *tools) {
    uint64_t n, m;
    const char *text = sm_json_text(line, sm_json_get(line, SM_JSON_ROOT, "text"), &n);
    const sm_json_value pieces = sm_json_get(line, SM_JSON_ROOT, "pieces");
    static const char *const how[] = {"whole", "pieces", "bytes", "cut"};
    reading r[3];
    char *name = text_of(line, sm_json_get(line, SM_JSON_ROOT, "name"));
    const char *what = NULL;
    uint32_t which = 0;
    for (uint32_t i = 0; i < 3; i++) {
        r[i] = new_reading();
        sm_reply *reply = begin(line, tools);
        if (i == 0)
            feed(reply, &r[i], text, n);
        for (sm_json_value p = i == 1 ? sm_json_first(line, pieces) : SM_JSON_NONE;
             p != SM_JSON_NONE; p = sm_json_next(line, pieces, p)) {
            const char *piece = sm_json_text(line, p, &m);
            feed(reply, &r[i], piece, m);
        }
        for (uint64_t b = 0; i == 2 && b < n; b++)
            feed(reply, &r[i], text + b, 1);
        end(reply, &r[i]);
        if (!what) {
            what = check(&r[i], &r[0], line);
            which = i;
        }
    }
    for (uint64_t at = 1; at < n && !what; at++) { /* in two pieces, at every byte */
        reading two = new_reading();
        sm_reply *reply = begin(line, tools);
        feed(reply, &two, text, at);
        feed(reply, &two, text + at, n - at);
        end(reply, &two);
        what = check(&two, &r[0], line);
        which = 3;
        release(&two);
    }
    if (what)
        printf("%s, %s: %s: %s%s\n", name, how[which], what, r[which % 3].message,
               r[which % 3].malformed ? " malformed" : "");
    *(what ? &failed : &passed) += 1;
    for (uint32_t i = 0; i < 3; i++)
        release(&r[i]);
    sm_free(&mem, name);
}

static char *read_file(const char *directory, const char *name) {
    char path[4096];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return (char *)scratch_read(path, &size);
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 ? argv[1] : data_path("chat");
    if (!directory) {
        printf("no data: skipped\n");
        return 77;
    }
    sm_mem_init(&mem, NULL, 0, NULL);
    char *lines = read_file(directory, "toolcalls.jsonl");
    char *tools = read_file(directory, "toolcalls.tools.json");
    if (!lines || !tools) {
        printf("%s: no toolcalls.jsonl or toolcalls.tools.json%s\n", directory,
               argc > 1 ? "" : ": skipped");
        return argc > 1 ? 1 : 77;
    }
    sm_json_source source = {.name = "toolcalls.jsonl", .line = 1};
    for (char *p = lines, *next; *p; p = next, source.line++) {
        sm_json *line;
        sm_error error = {0};
        next = strchr(p, '\n');
        next = next ? next + 1 : p + strlen(p);
        if (next - p < 2)
            continue;
        require(sm_json_read(&line, &mem, p, (uint64_t)(next - p), &source, NULL, &error), &error);
        check_line(line, tools);
        sm_json_free(line);
    }
    free(lines);
    free(tools);
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
