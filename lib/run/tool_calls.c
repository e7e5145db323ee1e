/* tool_calls.c - calls of tools, in the format that a model writes them in, with arguments that fit
 * the tools' schemas, as an expression. */
#include "tool_calls.h"

#include "format/json_write.h"

typedef struct tool {
    const char *name; /* [length], in the tools' JSON */
    uint64_t length;
    sm_expr arguments;
} tool;

#define MAX_MARK 64

typedef struct writer {
    const sm_tool_calls *calls;
    sm_grammar *g;
    sm_mem *mem;
    sm_reply_step step[SM_REPLY_MAX_STEPS];
    tool *tools;
    uint32_t n_tools;
    sm_json_value function; /* whose arguments are written */
    uint32_t loop;          /* the step that begins one argument; 0: they are no members */
    sm_expr space;
    char key_end[MAX_MARK], value_end[MAX_MARK], members_end[MAX_MARK];
} writer;

static sm_expr pattern(writer *w, const char *regex) {
    return sm_expr_regex(w->g, regex, strlen(regex), 0, NULL);
}

/* ---- values of members ---------------------------------------------------------------------- */

/* Texts that are read as something else than the string they are, by the types that may be there:
 * more than those, where that is simpler. */
static sm_expr misread(writer *w, uint32_t types) {
    static const struct {
        uint32_t types;
        const char *regex;
    } rows[] = {
        {1u << SM_JSON_NUMBER | SM_REPLY_INTEGERS,
         "\\s*[-+]?([0-9][0-9_]*\\.?[0-9_]*|\\.[0-9_]+)([eE][-+]?[0-9_]+)?\\s*"},
        {1u << SM_JSON_TRUE | 1u << SM_JSON_FALSE, "\\s*(true|True|TRUE|false|False|FALSE)\\s*"},
        {1u << SM_JSON_NULL, "\\s*(null|None)\\s*"},
        {1u << SM_JSON_OBJECT, "\\s*\\{[^\\x00]*"},
        {1u << SM_JSON_ARRAY, "\\s*[\\[(][^\\x00]*"},
    };
    sm_expr e = sm_expr_nothing(w->g);
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (types & rows[i].types)
            e = sm_expr_alt2(w->g, e, pattern(w, rows[i].regex));
    return e;
}

/* What may be a string where nothing says whether it is one. */
static sm_expr clear_string(writer *w, const sm_written *m) {
    const sm_json_value schema =
        m->name ? sm_reply_property(w->calls->tools, w->function, m->name, m->length)
                : SM_JSON_NONE;
    const uint32_t types = sm_reply_types(w->calls->tools, schema);
    return types == 1u << SM_JSON_STRING ? m->string
                                         : sm_expr_minus(w->g, m->string, misread(w, types));
}

static sm_expr others(writer *w, const sm_written *m) {
    return sm_expr_alt(w->g, (sm_expr[]){m->number, m->boolean, m->null, m->array, m->object}, 5);
}

/* One argument: its key, its value in this expression, what is said of the value. */
typedef struct argument {
    sm_expr key, string, other;
    const char *word;
} argument;

/* A value between line ends. Where they are missing, it has none itself: one is cut off. */
static sm_expr lines(writer *w, const argument *a) {
    sm_grammar *g = w->g;
    const sm_expr line = sm_expr_text(g, "\n"), whole = sm_expr_alt2(g, a->string, a->other);
    const sm_expr string = sm_expr_minus(g, a->string, pattern(w, "[\\s\\S]*\\r"));
    const sm_expr inner = sm_expr_minus(g, string, pattern(w, "[\\r\\n][\\s\\S]*|[\\s\\S]*\\n"));
    if (a->string == sm_expr_nothing(g))
        return sm_expr_alt2(g, sm_expr_seq3(g, line, whole, line), whole);
    return sm_expr_alt2(g, sm_expr_seq3(g, line, sm_expr_alt2(g, string, a->other), line),
                        sm_expr_alt2(g, inner, a->other));
}

/* ---- steps ---------------------------------------------------------------------------------- */

static sm_expr steps(writer *w, uint32_t from, uint32_t to, const tool *t, const argument *a);

/* "key": and what may be between. */
static sm_expr key_of(writer *w, const char *key) {
    sm_grammar *g = w->g;
    return sm_expr_seq(
        g,
        (sm_expr[]){sm_expr_text(g, "\""), sm_expr_text(g, key), sm_expr_text(g, "\":"), w->space},
        4);
}

static sm_expr quoted_name(writer *w, const tool *t) {
    sm_builder name = sm_builder_of(w->mem, 0);
    sm_json_writer json = sm_json_writer_of(&name, NULL);
    sm_json_put_string(&json, t->name, t->length);
    const sm_expr e =
        name.failed ? sm_grammar_fail(w->g, SM_ERR_NOMEM, "out of memory for the grammar of tools")
                    : sm_expr_bytes(w->g, name.data, name.length);
    sm_builder_free(&name);
    return e;
}

static sm_expr comma(writer *w) {
    return sm_expr_seq3(w->g, w->space, sm_expr_text(w->g, ","), w->space);
}

static sm_expr braced(writer *w, sm_expr members) {
    sm_grammar *g = w->g;
    return sm_expr_seq(
        g, (sm_expr[]){sm_expr_text(g, "{"), w->space, members, w->space, sm_expr_text(g, "}")}, 5);
}

/* {"name": NAME, "arguments": {…}}, by the format's own keys, an id before or behind. */
static sm_expr object_call(writer *w, const tool *t) {
    const char *const *keys = w->calls->format->keys;
    sm_grammar *g = w->g;
    const sm_expr id = pattern(w, "\"[A-Za-z0-9_-]{1,40}\"");
    const sm_expr before =
        sm_expr_optional(g, sm_expr_seq3(g, key_of(w, "tool_call_id"), id, comma(w)));
    const sm_expr behind = sm_expr_optional(g, sm_expr_seq3(g, comma(w), key_of(w, "id"), id));
    const sm_expr members[] = {keys[0] ? before : sm_expr_empty(g),
                               key_of(w, keys[0] ? keys[0] : "name"),
                               quoted_name(w, t),
                               comma(w),
                               key_of(w, keys[1] ? keys[1] : "arguments"),
                               t->arguments,
                               keys[0] ? sm_expr_empty(g) : behind};
    return braced(w, sm_expr_seq(g, members, 7));
}

/* {NAME: {…}} */
static sm_expr map_call(writer *w, const tool *t) {
    sm_grammar *g = w->g;
    const sm_expr members[] = {quoted_name(w, t), w->space, sm_expr_text(g, ":"), w->space,
                               t->arguments};
    return braced(w, sm_expr_seq(g, members, 5));
}

static sm_expr python_call(writer *w, const tool *t) {
    sm_grammar *g = w->g;
    return sm_expr_seq(g,
                       (sm_expr[]){sm_expr_bytes(g, t->name, t->length), sm_expr_text(g, "("),
                                   t->arguments, sm_expr_text(g, ")")},
                       4);
}

/* Calls in one value, a list, or in lines, one behind the other, where a mark is in front. */
static sm_expr call_list(writer *w, uint8_t code) {
    sm_grammar *g = w->g;
    const bool python = code == SM_REPLY_PYTHON, marked = w->step[0].code == SM_REPLY_TEXT;
    sm_expr call = sm_expr_nothing(g);
    for (uint32_t i = 0; i < w->n_tools; i++)
        call = sm_expr_alt2(g, call,
                            python                  ? python_call(w, &w->tools[i])
                            : code == SM_REPLY_MAPS ? map_call(w, &w->tools[i])
                                                    : object_call(w, &w->tools[i]));
    const sm_expr s = python ? sm_expr_empty(g) : w->space, line = sm_expr_text(g, "\n");
    const sm_expr parts[] = {
        sm_expr_text(g, "["), s,
        sm_expr_list(g, call, python ? sm_expr_text(g, ", ") : comma(w), 1, SM_FOREVER), s,
        sm_expr_text(g, "]")};
    const sm_expr list = sm_expr_seq(g, parts, 5);
    if (code == SM_REPLY_MAPS || (python && !marked))
        return list;
    return sm_expr_alt2(g, list, marked ? sm_expr_list(g, call, line, 1, SM_FOREVER) : call);
}

static sm_expr name_and_id(writer *w, const tool *t) {
    return sm_expr_seq3(w->g, sm_expr_text(w->g, "functions."),
                        sm_expr_bytes(w->g, t->name, t->length), pattern(w, ":[0-9]{1,3}"));
}

/* Calls of each tool in turn. */
static sm_expr each_tool(writer *w, uint32_t from, uint32_t to) {
    sm_expr e = sm_expr_nothing(w->g);
    for (uint32_t i = 0; i < w->n_tools; i++)
        e = sm_expr_alt2(w->g, e, steps(w, from, to, &w->tools[i], NULL));
    return e;
}

/* Where anything may stand: what harmony says of the arguments, kimi's number of the call. */
static sm_expr said_between(writer *w, const sm_reply_step *next) {
    static const char *const rows[][2] = {{"<|message|>", " <\\|constrain\\|>json| json"},
                                          {"<|sep|>", " index=\"[0-9]{1,2}\""}};
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (next->code == SM_REPLY_TEXT && next->length >= strlen(rows[i][0]) &&
            !memcmp(next->text, rows[i][0], strlen(rows[i][0])))
            return sm_expr_optional(w->g, pattern(w, rows[i][1]));
    return sm_expr_empty(w->g);
}

static sm_expr step_of(writer *w, uint32_t at, const tool *t, const argument *a) {
    sm_grammar *g = w->g;
    const sm_reply_step *s = &w->step[at];
    switch (s->code) {
    case SM_REPLY_TEXT:
        return sm_expr_bytes(g, s->text, s->length);
    case SM_REPLY_SPACE:
        return w->space;
    case SM_REPLY_NAME:
        return sm_expr_bytes(g, t->name, t->length);
    case SM_REPLY_ID:
        return pattern(w, "[a-zA-Z0-9]{9}");
    case SM_REPLY_ID_NAME:
        return name_and_id(w, t);
    case SM_REPLY_KEY:
        return a->key;
    case SM_REPLY_VALUE:
        return sm_expr_alt2(g, a->string, a->other);
    case SM_REPLY_LINES:
        return lines(w, a);
    case SM_REPLY_IS_STRING:
    case SM_REPLY_TYPE:
        return sm_expr_text(g, a->word);
    case SM_REPLY_ANY:
        return said_between(w, s + 1);
    case SM_REPLY_OBJECTS:
    case SM_REPLY_MAPS:
    case SM_REPLY_PYTHON:
        return call_list(w, s->code);
    case SM_REPLY_ARGUMENTS:
    case SM_REPLY_PAIRS:
    case SM_REPLY_LOOP:
        return t->arguments;
    case SM_REPLY_MAYBE:
        return sm_expr_optional(g, steps(w, at + 1, s->other, t, a));
    case SM_REPLY_CALL:
        return sm_expr_repeat(g, each_tool(w, at + 1, s->other), 1, SM_FOREVER);
    default:
        return sm_expr_empty(g);
    }
}

static bool opens(const sm_reply_step *s) {
    return s->code == SM_REPLY_MAYBE || s->code == SM_REPLY_LOOP || s->code == SM_REPLY_CALL;
}

/* t NULL: outside of a call. a NULL: outside of its arguments. */
static sm_expr steps(writer *w, uint32_t from, uint32_t to, const tool *t, const argument *a) {
    sm_expr e = sm_expr_empty(w->g);
    for (uint32_t i = from; i < to; i++) {
        e = sm_expr_seq2(w->g, e, step_of(w, i, t, a));
        if (opens(&w->step[i]))
            i = w->step[i].other;
    }
    return e;
}

/* ---- members -------------------------------------------------------------------------------- */

static sm_expr member_as(writer *w, sm_expr key, sm_expr string, sm_expr other, const char *word) {
    const argument a = {key, string, other, word};
    const sm_expr none = sm_expr_nothing(w->g);
    return string == none && other == none
               ? none
               : steps(w, w->loop + 1, w->step[w->loop].other, NULL, &a);
}

/* By the word for its type, of which only "string" and the others are told apart by who reads. */
static sm_expr typed_member(writer *w, const sm_written *m) {
    const sm_expr no = sm_expr_nothing(w->g);
    const struct {
        sm_expr value;
        const char *word;
    } rows[] = {{m->number, "number"},
                {m->boolean, "boolean"},
                {m->null, "null"},
                {m->array, "array"},
                {m->object, "object"}};
    sm_expr e = member_as(w, m->key, m->string, no, "string");
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++)
        e = sm_expr_alt2(w->g, e, member_as(w, m->key, no, rows[i].value, rows[i].word));
    return e;
}

static sm_expr write_member(void *user, sm_grammar *g, const sm_written *m) {
    writer *w = user;
    const sm_expr no = sm_expr_nothing(g);
    for (uint32_t i = w->loop + 1; i < w->step[w->loop].other; i++) {
        if (w->step[i].code == SM_REPLY_TYPE)
            return typed_member(w, m);
        if (w->step[i].code == SM_REPLY_IS_STRING)
            return sm_expr_alt2(g, member_as(w, m->key, m->string, no, "true"),
                                member_as(w, m->key, no, others(w, m), "false"));
    }
    return member_as(w, m->key, clear_string(w, m), others(w, m), NULL);
}

/* ---- arguments ------------------------------------------------------------------------------ */

static sm_notation notation_of(const writer *w, uint32_t n) {
    sm_notation notation = {SM_NOTATION_JSON, NULL, {NULL, NULL}, write_member, NULL};
    for (uint32_t i = 0; i < n; i++) {
        if (w->step[i].code == SM_REPLY_PYTHON)
            notation.kind = SM_NOTATION_PYTHON;
        else if (w->step[i].code == SM_REPLY_PAIRS)
            notation.kind = SM_NOTATION_PAIRS;
        else if (w->step[i].code == SM_REPLY_LOOP)
            notation.kind = SM_NOTATION_TEXT;
    }
    return notation;
}

/* The first text from a step on. */
static void copy_mark(const writer *w, uint32_t from, char out[MAX_MARK]) {
    while (w->step[from].code != SM_REPLY_TEXT && w->step[from].code != SM_REPLY_END)
        from++;
    const sm_reply_step *s = &w->step[from];
    const uint32_t n = s->code == SM_REPLY_TEXT ? min_u32(s->length, MAX_MARK - 1) : 0;
    if (n)
        memcpy(out, s->text, n);
    out[n] = 0;
}

/* What ends a key, a value, and all members: no value may hold the latter two. */
static void find_marks(writer *w, uint32_t n, sm_notation *notation) {
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t code = w->step[i].code;
        if (code == SM_REPLY_KEY)
            copy_mark(w, i + 1, w->key_end);
        else if (code == SM_REPLY_VALUE || code == SM_REPLY_LINES)
            copy_mark(w, i + 1, w->value_end);
        else if (code == SM_REPLY_LOOP)
            w->loop = i;
        else if (code == SM_REPLY_LOOP_END)
            copy_mark(w, i + 1, w->members_end);
    }
    notation->key_end = w->key_end;
    notation->avoid[0] = w->value_end[0] ? w->value_end : NULL;
    notation->avoid[1] = w->members_end[0] ? w->members_end : NULL;
    notation->user = w;
}

/* The text of its schema, zero-terminated: without parameters there are no arguments, "strict": false
 * takes any. */
static void put_schema(const writer *w, sm_json_value schema, sm_json_kind strict,
                       sm_builder *out) {
    const sm_json *json = w->calls->tools->json;
    if (strict == SM_JSON_FALSE) {
        sm_builder_text(out, "{\"type\": \"object\"}");
    } else if (schema == SM_JSON_NONE || sm_json_kind_of(json, schema) == SM_JSON_NULL) {
        sm_builder_text(out, "{\"type\": \"object\", \"additionalProperties\": false}");
    } else {
        sm_json_writer json_out = sm_json_writer_of(out, NULL);
        sm_json_put_value(&json_out, json, schema);
    }
}

static sm_status write_arguments(writer *w, sm_json_value item, uint32_t place, tool *t,
                                 const sm_notation *notation, sm_error *error) {
    const sm_json *json = w->calls->tools->json;
    const char *key;
    char name[64];
    w->function = sm_reply_function(w->calls->tools, item);
    const sm_json_value schema = sm_reply_parameters(w->calls->tools, w->function, &key);
    const sm_json_kind strict = sm_json_kind_of(json, sm_json_get(json, w->function, "strict"));
    sm_format(name, sizeof name, "tools[%u].%s%s", place, w->function == item ? "" : "function.",
              key);
    sm_builder text = sm_builder_of(w->mem, 0);
    put_schema(w, schema, strict, &text);
    const sm_status status =
        text.failed ? sm_fail(error, SM_ERR_NOMEM, "out of memory for the grammar of tools")
                    : sm_schema_arguments(w->g, text.data, text.length, name,
                                          strict == SM_JSON_TRUE, notation, &t->arguments, error);
    sm_builder_free(&text);
    return status;
}

static sm_status take_tools(writer *w, const sm_notation *notation, sm_error *error) {
    const sm_reply_tools *tools = w->calls->tools;
    uint32_t place = 0;
    w->tools = sm_alloc_array(w->mem, sm_json_count(tools->json, SM_JSON_ROOT), sizeof *w->tools);
    if (!w->tools)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for the grammar of tools");
    for (sm_json_value i = sm_json_first(tools->json, SM_JSON_ROOT); i != SM_JSON_NONE;
         i = sm_json_next(tools->json, SM_JSON_ROOT, i), place++) {
        tool *t = &w->tools[w->n_tools];
        t->name = sm_reply_tool_name(tools, i, &t->length);
        if (!t->name || (w->calls->only && !same_text(t->name, t->length, w->calls->only)))
            continue;
        const sm_status status = write_arguments(w, i, place, t, notation, error);
        if (status)
            return status;
        w->n_tools++;
    }
    return SM_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Whether the name stands in the pattern itself, not in a section or in values that hold calls. */
static bool is_one_call(const writer *w, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (w->step[i].code == SM_REPLY_CALL)
            return false;
        if (w->step[i].code == SM_REPLY_NAME || w->step[i].code == SM_REPLY_ID_NAME)
            return true;
    }
    return false;
}

static bool begins(const sm_tool_calls *calls, const sm_reply_step *first) {
    return calls->format->begun && same_text(first->text, first->length, calls->format->begun);
}

bool sm_tool_calls_fit(const sm_tool_calls *calls) {
    sm_reply_step step[SM_REPLY_MAX_STEPS];
    sm_reply_compile(calls->format->patterns[0], step);
    const bool marked = step[0].code == SM_REPLY_TEXT;
    return calls->tools->json && (!calls->behind_mark || (marked && !begins(calls, &step[0])));
}

static sm_expr write_all(writer *w, uint32_t n) {
    sm_grammar *g = w->g;
    const sm_tool_calls *calls = w->calls;
    const bool marked = w->step[0].code == SM_REPLY_TEXT, one = is_one_call(w, n),
               begun = calls->behind_mark || (marked && begins(calls, &w->step[0]));
    const uint32_t from = begun ? 1 : 0;
    sm_expr e = one ? each_tool(w, from, n) : steps(w, from, n, NULL, NULL);
    if (marked) { /* further calls */
        const sm_expr call = one ? each_tool(w, 0, n) : steps(w, 0, n, NULL, NULL);
        e = sm_expr_seq2(g, e, sm_expr_repeat(g, sm_expr_seq2(g, w->space, call), 0, SM_FOREVER));
    }
    return begun ? e : sm_expr_seq2(g, w->space, e);
}

sm_status sm_tool_calls_write(void *calls, sm_grammar *g, sm_expr *root, sm_error *error) {
    static const sm_range blanks[] = {{' ', ' '}, {'\n', '\n'}};
    writer w = {.calls = calls, .g = g, .mem = sm_grammar_mem(g)};
    const uint32_t n = sm_reply_compile(w.calls->format->patterns[0], w.step);
    sm_notation notation = notation_of(&w, n);
    find_marks(&w, n, &notation);
    /* bounded, for a model may go on with white space forever */
    w.space = sm_expr_repeat(g, sm_expr_chars(g, blanks, 2), 0, 20);
    const sm_status status = take_tools(&w, &notation, error);
    if (!status)
        *root = write_all(&w, n);
    sm_free(w.mem, w.tools);
    return status;
}
