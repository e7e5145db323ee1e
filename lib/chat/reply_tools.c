/* reply_tools.c - what the tools of a request say about arguments. */
#include "reply.h"

/* Schemas inside each other, by $ref, anyOf and the like, looked at. */
#define MAX_SCHEMAS 8

static sm_json_value function_of(const sm_json *json, sm_json_value tool) {
    const sm_json_value function = sm_json_get(json, tool, "function");
    return sm_json_kind_of(json, function) == SM_JSON_OBJECT ? function : tool;
}

sm_json_value sm_reply_function(const sm_reply_tools *tools, sm_json_value item) {
    return function_of(tools->json, item);
}

const char *sm_reply_tool_name(const sm_reply_tools *tools, sm_json_value item, uint64_t *length) {
    return sm_json_text(tools->json,
                        sm_json_get(tools->json, function_of(tools->json, item), "name"), length);
}

sm_status sm_reply_tools_read(sm_reply_tools *tools, sm_mem *mem, const char *text,
                              sm_error *error) {
    const sm_json_source source = {.name = "tools", .line = 1};
    *tools = (sm_reply_tools){0};
    if (!text)
        return SM_OK;
    tools->text = sm_strdup(mem, text, strlen(text));
    if (!tools->text)
        return sm_fail(error, SM_ERR_NOMEM, "tools: out of memory");
    const sm_status status =
        sm_json_read(&tools->json, mem, tools->text, strlen(text), &source, NULL, error);
    if (status)
        return status;
    const sm_json_kind kind = sm_json_kind_of(tools->json, SM_JSON_ROOT);
    if (kind == SM_JSON_ARRAY)
        return SM_OK;
    sm_json_free(tools->json);
    tools->json = NULL;
    return kind == SM_JSON_NULL ? SM_OK : sm_fail(error, SM_ERR_FORMAT, "tools: not a JSON array");
}

void sm_reply_tools_free(sm_reply_tools *tools, sm_mem *mem) {
    sm_json_free(tools->json);
    sm_free(mem, tools->text);
}

sm_json_value sm_reply_tool(const sm_reply_tools *tools, const char *name, uint64_t length) {
    if (!tools || !tools->json)
        return SM_JSON_NONE;
    for (sm_json_value i = sm_json_first(tools->json, SM_JSON_ROOT); i != SM_JSON_NONE;
         i = sm_json_next(tools->json, SM_JSON_ROOT, i)) {
        uint64_t n;
        const sm_json_value function = function_of(tools->json, i);
        const char *text =
            sm_json_text(tools->json, sm_json_get(tools->json, function, "name"), &n);
        if (text && n == length && !memcmp(text, name, (size_t)n))
            return function;
    }
    return SM_JSON_NONE;
}

sm_json_value sm_reply_parameters(const sm_reply_tools *tools, sm_json_value function,
                                  const char **key) {
    static const char *const keys[] = {"parameters", "input_schema"};
    sm_json_value p = SM_JSON_NONE;
    for (uint32_t i = 0; i < 2 && p == SM_JSON_NONE && function != SM_JSON_NONE; i++) {
        p = sm_json_get(tools->json, function, keys[i]);
        if (key)
            *key = keys[i];
    }
    return p;
}

sm_json_value sm_reply_property(const sm_reply_tools *tools, sm_json_value tool, const char *name,
                                uint64_t length) {
    if (tool == SM_JSON_NONE)
        return tool;
    const sm_json *json = tools->json;
    const sm_json_value all =
        sm_json_get(json, sm_reply_parameters(tools, tool, NULL), "properties");
    for (sm_json_value i = sm_json_first(json, all); i != SM_JSON_NONE;
         i = sm_json_next(json, all, i)) {
        uint64_t n;
        const char *text = sm_json_text(json, i, &n);
        if (text && n == length && !memcmp(text, name, (size_t)n))
            return sm_json_member(json, i);
    }
    return SM_JSON_NONE;
}

sm_json_value sm_reply_property_at(const sm_reply_tools *tools, sm_json_value tool,
                                   uint32_t place) {
    if (tool == SM_JSON_NONE)
        return tool;
    const sm_json_value all =
        sm_json_get(tools->json, sm_reply_parameters(tools, tool, NULL), "properties");
    sm_json_value i = sm_json_first(tools->json, all);
    while (place-- && i != SM_JSON_NONE)
        i = sm_json_next(tools->json, all, i);
    return i;
}

/* ---- types ----------------------------------------------------------------------- */

/* Sets of them: bit (1 << sm_json_kind), and integers beside numbers. */
#define INTEGER SM_REPLY_INTEGERS
#define ANY_TYPE SM_REPLY_ANY_TYPE

static uint32_t type_named(const sm_json *json, sm_json_value name) {
    static const struct {
        const char *name;
        uint32_t set;
    } types[] = {{"string", 1u << SM_JSON_STRING},
                 {"integer", INTEGER},
                 {"number", 1u << SM_JSON_NUMBER | INTEGER},
                 {"boolean", 1u << SM_JSON_TRUE | 1u << SM_JSON_FALSE},
                 {"null", 1u << SM_JSON_NULL},
                 {"object", 1u << SM_JSON_OBJECT},
                 {"array", 1u << SM_JSON_ARRAY}};
    for (uint32_t i = 0; i < sizeof types / sizeof *types; i++)
        if (sm_json_is(json, name, types[i].name))
            return types[i].set;
    return ANY_TYPE;
}

static uint32_t type_of_value(const sm_json *json, sm_json_value value) {
    const uint32_t kind = 1u << sm_json_kind_of(json, value);
    return sm_json_kind_of(json, value) == SM_JSON_NUMBER ? kind | INTEGER : kind;
}

/* "#/$defs/name", looked up in the parameters it stands in; SM_JSON_NONE: nowhere. */
static sm_json_value follow(const sm_json *json, sm_json_value reference) {
    uint64_t n;
    const char *text = sm_json_text(json, reference, &n);
    /* where parameters begin is not known here: the definitions are looked for in every tool */
    const char *last = NULL;
    for (uint64_t i = 0; text && i < n; i++)
        if (text[i] == '/')
            last = text + i + 1;
    if (!last)
        return SM_JSON_NONE;
    const uint64_t length = n - (uint64_t)(last - text);
    for (sm_json_value tool = sm_json_first(json, SM_JSON_ROOT); tool != SM_JSON_NONE;
         tool = sm_json_next(json, SM_JSON_ROOT, tool)) {
        const sm_json_value p = sm_json_get(json, function_of(json, tool), "parameters");
        for (uint32_t k = 0; k < 2; k++) {
            const sm_json_value all = sm_json_get(json, p, k ? "definitions" : "$defs");
            for (sm_json_value i = sm_json_first(json, all); i != SM_JSON_NONE;
                 i = sm_json_next(json, all, i)) {
                uint64_t m;
                const char *name = sm_json_text(json, i, &m);
                if (name && m == length && !memcmp(name, last, (size_t)m))
                    return sm_json_member(json, i);
            }
        }
    }
    return SM_JSON_NONE;
}

static uint32_t types_of(const sm_json *json, sm_json_value schema, uint32_t depth);

/* Of the schemas in an array: what any of them allows, or what all do. */
static uint32_t types_in(const sm_json *json, sm_json_value list, bool all, uint32_t depth) {
    uint32_t set = all ? ANY_TYPE : 0;
    for (sm_json_value i = sm_json_first(json, list); i != SM_JSON_NONE;
         i = sm_json_next(json, list, i)) {
        const uint32_t of = types_of(json, i, depth + 1);
        set = all ? set & of : set | of;
    }
    return set;
}

static uint32_t types_of(const sm_json *json, sm_json_value schema, uint32_t depth) {
    uint32_t set = ANY_TYPE, listed = 0;
    if (depth == MAX_SCHEMAS || sm_json_kind_of(json, schema) != SM_JSON_OBJECT)
        return set;
    const sm_json_value type = sm_json_get(json, schema, "type");
    if (sm_json_kind_of(json, type) == SM_JSON_STRING)
        set &= type_named(json, type);
    for (sm_json_value i = sm_json_kind_of(json, type) == SM_JSON_ARRAY ? sm_json_first(json, type)
                                                                        : SM_JSON_NONE;
         i != SM_JSON_NONE; i = sm_json_next(json, type, i))
        listed |= type_named(json, i);
    set &= listed ? listed : ANY_TYPE;
    const sm_json_value values = sm_json_get(json, schema, "enum");
    const sm_json_value only = sm_json_get(json, schema, "const");
    listed = only != SM_JSON_NONE ? type_of_value(json, only) : 0;
    for (sm_json_value i = sm_json_first(json, values); i != SM_JSON_NONE;
         i = sm_json_next(json, values, i))
        listed |= type_of_value(json, i);
    set &= listed ? listed : ANY_TYPE;
    const char *const any[] = {"anyOf", "oneOf"};
    for (uint32_t i = 0; i < 2; i++) {
        const sm_json_value list = sm_json_get(json, schema, any[i]);
        if (sm_json_count(json, list))
            set &= types_in(json, list, false, depth);
    }
    set &= types_in(json, sm_json_get(json, schema, "allOf"), true, depth);
    const sm_json_value reference = follow(json, sm_json_get(json, schema, "$ref"));
    return reference == SM_JSON_NONE ? set : set & types_of(json, reference, depth + 1);
}

uint32_t sm_reply_types(const sm_reply_tools *tools, sm_json_value schema) {
    return schema == SM_JSON_NONE ? ANY_TYPE : types_of(tools->json, schema, 0);
}

/* ---- values ---------------------------------------------------------------------- */

/* By their spelling, however long, or as 5.0 and 5e3. */
static bool is_whole(const sm_json *json, const char *text, uint64_t n) {
    double number;
    bool digits = true;
    for (uint64_t i = 0; i < n; i++)
        digits &= text[i] != '.' && (text[i] | 32) != 'e';
    return digits || (sm_json_double(json, SM_JSON_ROOT, &number) && number > -1e15 &&
                      number < 1e15 && number == (double)(int64_t)number);
}

/* Whether the text is a JSON value of one of the types; then it is written. */
static bool put_if(sm_builder *out, const char *text, uint64_t n, uint32_t types) {
    const sm_json_source source = {.name = "argument", .line = 1};
    sm_json *json;
    const sm_status status = sm_json_read(&json, out->mem, text, n, &source, NULL, NULL);
    out->failed |= status == SM_ERR_NOMEM;
    if (status)
        return false;
    const sm_json_kind kind = sm_json_kind_of(json, SM_JSON_ROOT);
    const bool good = (types >> kind & 1) ||
                      (kind == SM_JSON_NUMBER && types & INTEGER && is_whole(json, text, n));
    if (good) {
        sm_json_writer w = sm_json_writer_of(out, NULL);
        sm_json_put_value(&w, json, SM_JSON_ROOT);
    }
    sm_json_free(json);
    return good;
}

static void put_string(sm_builder *out, const char *text, uint64_t n) {
    sm_json_writer w = sm_json_writer_of(out, NULL);
    sm_json_put_string(&w, text, n);
}

/* What stands in <![CDATA[ … ]]> is text, whatever it looks like. */
static bool take_cdata(const char **text, uint64_t *n) {
    static const char open[] = "<![CDATA[", close[] = "]]>";
    const uint64_t front = sizeof open - 1, behind = sizeof close - 1;
    if (*n < front + behind || memcmp(*text, open, front) != 0 ||
        memcmp(*text + *n - behind, close, behind) != 0)
        return false;
    *text += front;
    *n -= front + behind;
    return true;
}

void sm_reply_put_typed(sm_builder *out, const sm_reply_tools *tools, sm_json_value schema,
                        const char *text, uint64_t n, sm_reply_as as) {
    const uint32_t string = 1u << SM_JSON_STRING;
    as = take_cdata(&text, &n) && as == SM_REPLY_AS_SCHEMA && schema == SM_JSON_NONE
             ? SM_REPLY_AS_STRING
             : as;
    uint32_t types = as == SM_REPLY_AS_STRING ? string : sm_reply_types(tools, schema);
    if (as == SM_REPLY_AS_VALUE)
        types = types == string ? ANY_TYPE : types & ~string;
    else if (types == ANY_TYPE)
        types &= ~string; /* "42" in quotes is text that has quotes */
    if ((types & ~string) && n && put_if(out, text, n, types))
        return;
    if (types & ~string && n) { /* {'a': None}, True */
        sm_builder python = sm_builder_of(out->mem, 0);
        const bool good = sm_reply_python_to_json(&python, text, n) &&
                          put_if(out, python.data, python.length, types & ~string);
        out->failed |= python.failed;
        sm_builder_free(&python);
        if (good)
            return;
    }
    put_string(out, text, n);
}
