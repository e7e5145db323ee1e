/* reply_calls.c - calls that were read: from JSON in its spellings, and from Python's. */
#include "reply.h"

static void drop(sm_mem *mem, sm_reply_call *call) {
    sm_free(mem, call->name);
    sm_free(mem, call->arguments);
    sm_free(mem, call->id);
}

void sm_reply_calls_cut(sm_reply_calls *calls, uint32_t n) {
    while (calls->n > n)
        drop(calls->mem, &calls->call[--calls->n]);
}

void sm_reply_calls_free(sm_reply_calls *calls) {
    sm_reply_calls_cut(calls, 0);
    sm_free(calls->mem, calls->call);
}

void sm_reply_put_clean(sm_builder *out, const char *text, uint64_t n) {
    for (uint64_t i = 0; i < n;) {
        uint32_t code;
        const uint32_t used = sm_utf8_decode((const uint8_t *)text + i, n - i, &code);
        sm_builder_add(out, code == UINT32_MAX ? "\xEF\xBF\xBD" : text + i,
                       code == UINT32_MAX ? 3 : used);
        i += used;
    }
}

/* A zero-terminated copy whose bytes are UTF-8. */
static char *clean(sm_mem *mem, const char *text, uint64_t n, uint64_t *length) {
    sm_builder b = sm_builder_of(mem, 0);
    sm_reply_put_clean(&b, text, n);
    *length = b.length;
    sm_builder_byte(&b, 0);
    if (!b.failed)
        return b.data;
    sm_builder_free(&b);
    return NULL;
}

static sm_reply_call *room(sm_reply_calls *calls) {
    if (calls->n < calls->capacity)
        return &calls->call[calls->n];
    const uint32_t capacity = calls->capacity ? 2 * calls->capacity : 4;
    sm_reply_call *call = capacity > SM_REPLY_MAX_CALLS
                              ? NULL
                              : sm_realloc(calls->mem, calls->call, capacity * sizeof *call);
    if (!call)
        return NULL;
    calls->call = call;
    calls->capacity = capacity;
    return &call[calls->n];
}

bool sm_reply_calls_add(sm_reply_calls *calls, const char *name, uint64_t name_length,
                        const char *id, uint64_t id_length, const char *arguments,
                        uint64_t arguments_length) {
    sm_reply_call *call = room(calls);
    if (!call) {
        calls->failed = true;
        return false;
    }
    *call = (sm_reply_call){0};
    call->name = clean(calls->mem, name, name_length, &call->name_length);
    call->arguments = clean(calls->mem, arguments, arguments_length, &call->arguments_length);
    if (id)
        call->id = clean(calls->mem, id, id_length, &call->id_length);
    if (!call->name || !call->arguments || (id && !call->id)) {
        drop(calls->mem, call);
        calls->failed = true;
        return false;
    }
    calls->n++;
    return true;
}

/* A text that may be JSON; NULL: it is none, or there was no memory, which `failed` notes. */
static sm_json *read_json(sm_mem *mem, const char *text, uint64_t n, bool *failed) {
    const sm_json_source source = {.name = "call", .line = 1};
    sm_json *json;
    *failed |= sm_json_read(&json, mem, text, n, &source, NULL, NULL) == SM_ERR_NOMEM;
    return json;
}

/* ---- JSON ------------------------------------------------------------------------ */

static sm_json_value first_of(const sm_json *json, sm_json_value object, const char *const *names) {
    sm_json_value found = SM_JSON_NONE;
    for (; *names && found == SM_JSON_NONE; names++)
        found = sm_json_get(json, object, *names);
    return found;
}

static bool put_object(sm_builder *out, const sm_json *json, sm_json_value object) {
    if (sm_json_kind_of(json, object) != SM_JSON_OBJECT)
        return false;
    sm_json_writer w = sm_json_writer_of(out, NULL);
    sm_json_put_value(&w, json, object);
    return true;
}

/* An object, or the string that holds one (in which case there is no further string inside). */
static bool put_arguments(sm_builder *out, const sm_json *json, sm_json_value value) {
    uint64_t n;
    const char *text = sm_json_text(json, value, &n);
    if (sm_json_kind_of(json, value) != SM_JSON_STRING)
        return put_object(out, json, value);
    sm_json *inner = read_json(out->mem, text, n, &out->failed);
    if (!inner)
        return false;
    const bool good = put_object(out, inner, SM_JSON_ROOT);
    sm_json_free(inner);
    return good;
}

bool sm_reply_put_arguments(sm_builder *out, const char *text, uint64_t n) {
    sm_json *json = read_json(out->mem, text, n, &out->failed);
    if (!json)
        return false;
    const bool good = put_arguments(out, json, SM_JSON_ROOT);
    sm_json_free(json);
    return good && !out->failed;
}

static bool add_json(sm_reply_calls *calls, const sm_json *json, sm_json_value name,
                     sm_json_value id, sm_json_value arguments, bool strict) {
    sm_builder text = sm_builder_of(calls->mem, 0);
    uint64_t name_length, id_length;
    const char *name_text = sm_json_text(json, name, &name_length);
    const char *id_text = sm_json_text(json, id, &id_length);
    const sm_json_kind kind = sm_json_kind_of(json, arguments);
    bool good = sm_json_kind_of(json, name) == SM_JSON_STRING && name_length > 0 &&
                name_length <= SM_REPLY_MAX_WORD;
    if (good && !strict && (kind == SM_JSON_ABSENT || kind == SM_JSON_NULL))
        sm_builder_text(&text, "{}");
    else
        good = good && put_arguments(&text, json, arguments);
    calls->failed |= text.failed;
    if (good)
        good = sm_reply_calls_add(calls, name_text, name_length, id_length ? id_text : NULL,
                                  id_length, text.data, text.length);
    sm_builder_free(&text);
    return good && !calls->failed;
}

/* {"name": …, "arguments": …} as different models spell it. */
static bool add_object(sm_reply_calls *calls, const sm_json *json, sm_json_value object,
                       bool strict) {
    static const char *const names[] = {"name", "tool_name", "function", NULL};
    static const char *const arguments[] = {"arguments", "parameters", "args", NULL};
    static const char *const ids[] = {"id", "tool_call_id", "call_id", NULL};
    const sm_json_value function = sm_json_get(json, object, "function");
    const sm_json_value inner =
        sm_json_kind_of(json, function) == SM_JSON_OBJECT ? function : object;
    return add_json(calls, json, first_of(json, inner, names), first_of(json, object, ids),
                    first_of(json, inner, arguments), strict);
}

static bool add_map(sm_reply_calls *calls, const sm_json *json, sm_json_value object) {
    const sm_json_value name = sm_json_first(json, object);
    return sm_json_kind_of(json, object) == SM_JSON_OBJECT && sm_json_count(json, object) == 1 &&
           add_json(calls, json, name, SM_JSON_NONE, sm_json_member(json, name), true);
}

bool sm_reply_calls_json(sm_reply_calls *calls, const char *text, uint64_t n, bool maps,
                         bool strict) {
    sm_json *json = read_json(calls->mem, text, n, &calls->failed);
    if (!json)
        return false;
    const bool list = sm_json_kind_of(json, SM_JSON_ROOT) == SM_JSON_ARRAY;
    bool good = !list || sm_json_count(json, SM_JSON_ROOT) > 0;
    sm_json_value item = list ? sm_json_first(json, SM_JSON_ROOT) : SM_JSON_ROOT;
    while (good && item != SM_JSON_NONE) {
        good = maps ? add_map(calls, json, item) : add_object(calls, json, item, strict);
        item = list ? sm_json_next(json, SM_JSON_ROOT, item) : SM_JSON_NONE;
    }
    sm_json_free(json);
    return good;
}

/* ---- Python ---------------------------------------------------------------------- */

/* Arguments that were given by place get their names, which only the tool's schema knows. */
static bool name_places(sm_builder *out, const sm_reply_tools *tools, sm_json_value tool,
                        const char *text, uint64_t n) {
    uint32_t place = 0;
    bool good = true;
    sm_json *json = read_json(out->mem, text, n, &out->failed);
    if (!json)
        return false;
    sm_json_writer w = sm_json_writer_of(out, NULL);
    sm_json_open(&w, SM_JSON_OBJECT);
    for (sm_json_value i = sm_json_first(json, SM_JSON_ROOT); i != SM_JSON_NONE && good;
         i = sm_json_next(json, SM_JSON_ROOT, i)) {
        uint64_t length;
        const char *name = sm_json_text(json, i, &length);
        if (length && *name >= '0' && *name <= '9') {
            const sm_json_value property = sm_reply_property_at(tools, tool, place++);
            good = property != SM_JSON_NONE;
            name = good ? sm_json_text(tools->json, property, &length) : NULL;
        }
        if (good) {
            sm_json_put_key(&w, name, length);
            sm_json_put_value(&w, json, sm_json_member(json, i));
        }
    }
    sm_json_close(&w);
    sm_json_free(json);
    return good && !out->failed;
}

/* NAME, and NAME.call as llama writes calls of its own tools. */
static uint64_t without_call(const char *name, uint64_t n) {
    return n > 5 && !memcmp(name + n - 5, ".call", 5) ? n - 5 : n;
}

bool sm_reply_calls_python(sm_reply_calls *calls, const sm_reply_tools *tools, const char *text,
                           uint64_t n) {
    uint64_t at = 0, length;
    const char *name;
    for (;;) {
        sm_builder raw = sm_builder_of(calls->mem, 0), out = sm_builder_of(calls->mem, 0);
        const sm_reply_found found = sm_reply_python_call(&raw, text, n, &at, &name, &length);
        bool good = found == SM_REPLY_WHOLE;
        if (good) {
            length = without_call(name, length);
            good = length && length <= SM_REPLY_MAX_WORD &&
                   name_places(&out, tools, sm_reply_tool(tools, name, length), raw.data,
                               raw.length) &&
                   sm_reply_calls_add(calls, name, length, NULL, 0, out.data, out.length);
        }
        calls->failed |= raw.failed || out.failed;
        sm_builder_free(&raw);
        sm_builder_free(&out);
        if (!good)
            return found == SM_REPLY_MORE;
    }
}
