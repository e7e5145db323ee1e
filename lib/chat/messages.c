/* messages.c - messages as a template can take them. */

#include "handle.h"

static bool is_role(const sm_json *json, sm_json_value message, const char *role) {
    return sm_json_is(json, sm_json_get(json, message, "role"), role);
}

/* The texts of all parts, a line each; a content that is text is that. */
static void add_text(sm_builder *out, const sm_json *json, sm_json_value content) {
    uint64_t n;
    const char *text = sm_json_text(json, content, &n);
    if (sm_json_kind_of(json, content) == SM_JSON_STRING)
        sm_builder_add(out, text, n);
    if (sm_json_kind_of(json, content) != SM_JSON_ARRAY)
        return;
    bool first = true;
    for (sm_json_value i = sm_json_first(json, content); i != SM_JSON_NONE;
         i = sm_json_next(json, content, i)) {
        text = sm_json_text(json, sm_json_get(json, i, "text"), &n);
        if (!text)
            continue;
        if (!first)
            sm_builder_byte(out, '\n');
        first = false;
        sm_builder_add(out, text, n);
    }
}

static void put_text(sm_json_writer *w, const sm_builder *text, bool part) {
    if (part) {
        sm_json_open(w, SM_JSON_ARRAY);
        sm_json_open(w, SM_JSON_OBJECT);
        sm_json_put_key(w, "type", 4);
        sm_json_put_string(w, "text", 4);
        sm_json_put_key(w, "text", 4);
    }
    sm_json_put_string(w, text->data, text->length);
    if (part) {
        sm_json_close(w);
        sm_json_close(w);
    }
}

/* front: text that goes before it; SM_JSON_NONE: none. */
static void put_content(sm_json_writer *w, const sm_json *json, sm_json_value content,
                        sm_json_value front, const sm_chat_needs *needs) {
    const sm_json_kind kind = sm_json_kind_of(json, content);
    const bool changes = front != SM_JSON_NONE || (kind == SM_JSON_ARRAY && needs->text_content) ||
                         (kind == SM_JSON_STRING && needs->part_content);
    if (!changes) {
        sm_json_put_value(w, json, content);
        return;
    }
    sm_builder text = sm_builder_of(w->out->mem, 0);
    if (front != SM_JSON_NONE) {
        add_text(&text, json, front);
        sm_builder_text(&text, "\n\n");
    }
    add_text(&text, json, content);
    put_text(w, &text, needs->part_content);
    w->out->failed |= text.failed;
    sm_builder_free(&text);
}

/* Arguments as an object or as text, whatever they were; text that is no JSON stays text. */
static void put_arguments(sm_json_writer *w, const sm_json *json, sm_json_value arguments,
                          bool as_text) {
    const sm_json_source source = {.name = "arguments", .line = 1};
    const bool is_text = sm_json_kind_of(json, arguments) == SM_JSON_STRING;
    uint64_t n;
    const char *text = sm_json_text(json, arguments, &n);
    sm_json *inner = NULL;
    const sm_status read = is_text && !as_text
                               ? sm_json_read(&inner, w->out->mem, text, n, &source, NULL, NULL)
                               : SM_ERR_FORMAT;
    w->out->failed |= read == SM_ERR_NOMEM;
    if (!read) {
        sm_json_put_value(w, inner, SM_JSON_ROOT);
    } else if (!is_text && as_text) {
        sm_builder b = sm_builder_of(w->out->mem, 0);
        sm_json_writer inside = sm_json_writer_of(&b, NULL);
        sm_json_put_value(&inside, json, arguments);
        sm_json_put_string(w, b.data, b.length);
        w->out->failed |= b.failed;
        sm_builder_free(&b);
    } else {
        sm_json_put_value(w, json, arguments);
    }
    sm_json_free(inner);
}

/* What a message is made for, and text that goes before its content; SM_JSON_NONE: none. */
typedef struct preparing {
    const sm_chat_needs *needs;
    sm_json_value front;
} preparing;

/* A member whose value is written otherwise. */
typedef struct changed {
    const char *name; /* NULL: the end of a list */
    void (*put)(sm_json_writer *w, const sm_json *json, sm_json_value value, const preparing *p);
} changed;

static void put_member(sm_json_writer *w, const sm_json *json, sm_json_value member,
                       const changed *members, const preparing *p) {
    for (; members->name; members++)
        if (sm_json_is(json, member, members->name)) {
            members->put(w, json, sm_json_member(json, member), p);
            return;
        }
    sm_json_put_value(w, json, sm_json_member(json, member));
}

/* An object with the values of these members written otherwise; what is none stays. */
static void put_but(sm_json_writer *w, const sm_json *json, sm_json_value object,
                    const changed *members, const preparing *p) {
    if (sm_json_kind_of(json, object) != SM_JSON_OBJECT) {
        sm_json_put_value(w, json, object);
        return;
    }
    sm_json_open(w, SM_JSON_OBJECT);
    for (sm_json_value i = sm_json_first(json, object); i != SM_JSON_NONE;
         i = sm_json_next(json, object, i)) {
        uint64_t n;
        const char *key = sm_json_text(json, i, &n);
        sm_json_put_key(w, key, n);
        put_member(w, json, i, members, p);
    }
    sm_json_close(w);
}

static void put_call_arguments(sm_json_writer *w, const sm_json *json, sm_json_value value,
                               const preparing *p) {
    put_arguments(w, json, value, p->needs->text_arguments);
}

static void put_function(sm_json_writer *w, const sm_json *json, sm_json_value value,
                         const preparing *p) {
    static const changed members[] = {{"arguments", put_call_arguments}, {NULL, NULL}};
    put_but(w, json, value, members, p);
}

static void put_calls(sm_json_writer *w, const sm_json *json, sm_json_value calls,
                      const preparing *p) {
    static const changed members[] = {{"function", put_function}, {NULL, NULL}};
    if (sm_json_kind_of(json, calls) != SM_JSON_ARRAY) {
        sm_json_put_value(w, json, calls);
        return;
    }
    sm_json_open(w, SM_JSON_ARRAY);
    for (sm_json_value i = sm_json_first(json, calls); i != SM_JSON_NONE;
         i = sm_json_next(json, calls, i))
        put_but(w, json, i, members, p);
    sm_json_close(w);
}

static void put_message_content(sm_json_writer *w, const sm_json *json, sm_json_value value,
                                const preparing *p) {
    put_content(w, json, value, p->front, p->needs);
}

static const changed of_messages[] = {
    {"content", put_message_content}, {"tool_calls", put_calls}, {NULL, NULL}};

void sm_chat_prepare(sm_builder *out, const sm_json *json, const sm_chat_needs *needs) {
    sm_json_writer w = sm_json_writer_of(out, NULL);
    sm_json_value system = SM_JSON_NONE; /* its content, on the way to a user's message */
    sm_json_open(&w, SM_JSON_ARRAY);
    for (sm_json_value i = sm_json_first(json, SM_JSON_ROOT); i != SM_JSON_NONE;
         i = sm_json_next(json, SM_JSON_ROOT, i)) {
        if (needs->no_system && is_role(json, i, "system")) {
            system = sm_json_get(json, i, "content");
            continue;
        }
        const bool user = is_role(json, i, "user");
        const preparing p = {needs, user ? system : SM_JSON_NONE};
        put_but(&w, json, i, of_messages, &p);
        system = user ? SM_JSON_NONE : system;
    }
    sm_json_close(&w);
}
