/* handle.c - the handle of a chat template: messages become text, and text ids. */
#include "handle.h"

#include "probe.h"
#include "reply_format.h"
#include "text/text.h"

#define MAX_VARIABLES 32

struct sm_chat {
    sm_mem *mem;
    sm_template *parsed;
    char *text, *bos, *eos;
    char *format; /* of replies, as sm_reply_options takes it; NULL: not known */
    sm_chat_needs needs;
    bool no_memory; /* for a look at what it needs */
};

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for a chat template");
}

/* ---- rendering ------------------------------------------------------------------- */

/* JSON texts of one render. */
typedef struct documents {
    sm_json *messages, *prepared, *tools, *variables;
    sm_builder prepared_text;
} documents;

typedef struct rendering {
    const sm_chat *chat;
    const char *messages, *tools;
    sm_render_options o;
    const sm_chat_needs *needs;
    bool continues; /* the generation prompt behind the messages */
} rendering;

static sm_status read_json(sm_json **json, sm_mem *mem, const char *text, uint64_t n,
                           const char *name, sm_json_kind kind, sm_error *error) {
    const sm_json_source source = {.name = name, .line = 1};
    const sm_status status = sm_json_read(json, mem, text, n, &source, NULL, error);
    if (status || sm_json_kind_of(*json, SM_JSON_ROOT) == kind)
        return status;
    return sm_fail(error, SM_ERR_FORMAT, "%s: not a JSON %s", name,
                   kind == SM_JSON_ARRAY ? "array" : "object");
}

/* Each names a function: {"type": "function", "function": {"name": …}}, or the name in it directly. */
static sm_status check_tools(const sm_json *tools, sm_error *error) {
    uint32_t i = 0;
    for (sm_json_value v = sm_json_first(tools, SM_JSON_ROOT); v != SM_JSON_NONE;
         v = sm_json_next(tools, SM_JSON_ROOT, v), i++) {
        const sm_json_value inside = sm_json_get(tools, v, "function");
        const sm_json_value name = sm_json_get(tools, inside == SM_JSON_NONE ? v : inside, "name");
        if (sm_json_kind_of(tools, name) != SM_JSON_STRING)
            return sm_fail(error, SM_ERR_FORMAT, "tools: item %u names no function", i);
    }
    return SM_OK;
}

static sm_status read_documents(const rendering *r, documents *d, sm_error *error) {
    sm_mem *mem = r->chat->mem;
    d->prepared_text = sm_builder_of(mem, 0);
    sm_status status = read_json(&d->messages, mem, r->messages, strlen(r->messages), "messages",
                                 SM_JSON_ARRAY, error);
    if (!status) {
        sm_chat_prepare(&d->prepared_text, d->messages, r->needs);
        if (d->prepared_text.failed)
            return no_memory(error);
        status = read_json(&d->prepared, mem, d->prepared_text.data, d->prepared_text.length,
                           "messages", SM_JSON_ARRAY, error);
    }
    if (!status && r->tools)
        status =
            read_json(&d->tools, mem, r->tools, strlen(r->tools), "tools", SM_JSON_ARRAY, error);
    if (!status && r->tools)
        status = check_tools(d->tools, error);
    if (!status && r->tools && sm_json_count(d->tools, SM_JSON_ROOT) &&
        !sm_template_names(r->chat->parsed, "tools"))
        status =
            sm_fail(error, SM_ERR_UNSUPPORTED, "tools: the chat template shows none to the model");
    if (!status && r->o.variables)
        status = read_json(&d->variables, mem, r->o.variables, strlen(r->o.variables), "variables",
                           SM_JSON_OBJECT, error);
    return status;
}

static void free_documents(documents *d) {
    sm_json_free(d->messages);
    sm_json_free(d->prepared);
    sm_json_free(d->tools);
    sm_json_free(d->variables);
    sm_builder_free(&d->prepared_text);
}

static sm_variable text_variable(const char *name, const char *text) {
    return (sm_variable){
        .name = name, .kind = SM_VARIABLE_TEXT, .text = text, .length = strlen(text)};
}

/* tools that are not there are undefined, which templates test for. */
static uint32_t name_variables(const rendering *r, const documents *d, sm_variable *v) {
    uint32_t n = 0;
    v[n++] = text_variable("bos_token", r->chat->bos);
    v[n++] = text_variable("eos_token", r->chat->eos);
    v[n++] = (sm_variable){.name = "add_generation_prompt",
                           .kind = r->continues ? SM_VARIABLE_TRUE : SM_VARIABLE_FALSE};
    v[n++] = (sm_variable){
        .name = "messages", .kind = SM_VARIABLE_JSON, .json = d->prepared, .value = SM_JSON_ROOT};
    if (d->tools)
        v[n++] = (sm_variable){
            .name = "tools", .kind = SM_VARIABLE_JSON, .json = d->tools, .value = SM_JSON_ROOT};
    sm_json_value i = d->variables ? sm_json_first(d->variables, SM_JSON_ROOT) : SM_JSON_NONE;
    for (; i != SM_JSON_NONE && n < MAX_VARIABLES;
         i = sm_json_next(d->variables, SM_JSON_ROOT, i)) {
        uint64_t length;
        v[n] = (sm_variable){.kind = SM_VARIABLE_JSON,
                             .json = d->variables,
                             .value = sm_json_member(d->variables, i)};
        v[n].name = sm_json_text(d->variables, i, &length);
        v[n++].name_length = length;
    }
    return n;
}

static sm_status render(const rendering *r, sm_rendered *out, sm_error *error) {
    sm_variable v[MAX_VARIABLES];
    documents d = {0};
    const sm_template_options o = {.clock = r->o.clock,
                                   .clock_is_set = r->o.clock != 0,
                                   .cancel = r->o.cancel,
                                   .user = r->o.cancel_user};
    *out = (sm_rendered){0};
    sm_status status = read_documents(r, &d, error);
    if (!status && d.variables && sm_json_count(d.variables, SM_JSON_ROOT) > MAX_VARIABLES - 5)
        status = sm_fail(error, SM_ERR_UNSUPPORTED, "variables: more than %d", MAX_VARIABLES - 5);
    if (!status)
        status = sm_template_render(r->chat->parsed, r->chat->mem, v, name_variables(r, &d, v), &o,
                                    out, error);
    free_documents(&d);
    return status;
}

/* ---- what a template needs, found by looking at what it makes of small conversations ---- */

/* Whether the template makes something of a conversation that holds one text and not another. */
static bool probe_has(sm_chat *chat, const char *messages, const char *want, const char *never) {
    /* messages stay as they are: arguments that are text, too */
    const sm_chat_needs raw = {.text_arguments = strstr(messages, "\\\"smKey") != NULL};
    const rendering r = {.chat = chat, .messages = messages, .needs = &raw};
    sm_rendered got;
    const sm_status status = render(&r, &got, NULL);
    chat->no_memory |= status == SM_ERR_NOMEM;
    const bool has = !status && strstr(got.text, want) && !(never && strstr(got.text, never));
    sm_rendered_free(&got);
    return has;
}

#define USER "{\"role\": \"user\", \"content\": \"smUser\"}"
#define PARTS "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"smUser\"}]}"
#define SYSTEM "{\"role\": \"system\", \"content\": \"smSystem\"}"
#define CALL(arguments)                                                                  \
    "[" USER ", {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": " \
    "\"smcall001\", \"type\": \"function\", \"function\": {\"name\": \"smName\", "       \
    "\"arguments\": " arguments                                                          \
    "}}]}, {\"role\": \"tool\", \"content\": \"smResult\", \"name\": \"smName\", "       \
    "\"tool_call_id\": \"smcall001\"}]"

/* Arguments as text are wanted where objects come out in Python's spelling, or not at all. */
static bool wants_text_arguments(sm_chat *chat) {
    return !probe_has(chat, CALL("{\"smKey\": \"smValue\"}"), "smValue", "'smKey'") &&
           probe_has(chat, CALL("\"{\\\"smKey\\\": \\\"smValue\\\"}\""), "{\"smKey\": \"smValue\"}",
                     NULL);
}

static void look(sm_chat *chat) {
    sm_chat_needs *needs = &chat->needs;
    const bool text = probe_has(chat, "[" USER "]", "smUser", NULL);
    const bool parts = probe_has(chat, "[" PARTS "]", "smUser", "'type'");
    needs->text_content = text && !parts;
    needs->part_content = parts && !text;
    const char *user = needs->part_content ? PARTS : USER;
    char with_system[256];
    sm_format(with_system, sizeof with_system, "[" SYSTEM ", %s]", user);
    needs->no_system = (text || parts) && !probe_has(chat, with_system, "smSystem", NULL);
    needs->text_arguments =
        sm_template_mentions(chat->parsed, "arguments") && wants_text_arguments(chat);
}

/* ---- the format of its replies --------------------------------------------------- */

static sm_status find_format(sm_chat *c, sm_error *error) {
    bool told;
    const sm_reply_format *f = sm_reply_format_in(c->text, &told);
    const char *named = f ? f->own : NULL;
    sm_builder described = sm_builder_of(c->mem, 0);
    sm_status status = SM_OK;
    if (!told &&
        (sm_template_names(c->parsed, "tools") || sm_template_mentions(c->parsed, "tool_calls")))
        status = sm_chat_probe(&described, c, named);
    const char *format = described.length ? described.data : named;
    if (!status && format)
        c->format = sm_strdup(c->mem, format, described.length ? described.length : strlen(named));
    sm_builder_free(&described);
    return status || (format && !c->format) ? no_memory(error) : SM_OK;
}

const char *sm_chat_reply_format(const sm_chat *chat) {
    return chat ? chat->format : NULL;
}

/* ---- making one ------------------------------------------------------------------ */

sm_status sm_chat_make(sm_chat **out, const char *text, uint64_t length, const char *bos,
                       const char *eos, const sm_allocator *allocator, sm_error *error) {
    sm_mem *mem;
    *out = NULL;
    sm_status status = sm_mem_create(&mem, allocator, 0, error);
    if (status)
        return status;
    sm_chat *c = sm_alloc_zero(mem, sizeof *c);
    if (!c) {
        sm_mem_destroy(mem);
        return no_memory(error);
    }
    c->mem = mem;
    c->text = sm_strdup(mem, text, length);
    c->bos = sm_strdup(mem, bos ? bos : "", bos ? strlen(bos) : 0);
    c->eos = sm_strdup(mem, eos ? eos : "", eos ? strlen(eos) : 0);
    status = c->text && c->bos && c->eos ? SM_OK : no_memory(error);
    if (!status)
        status = sm_template_parse(&c->parsed, mem, text, length, "chat template", error);
    if (status) {
        sm_chat_free(c);
        return status;
    }
    look(c);
    status = c->no_memory ? no_memory(error) : find_format(c, error);
    if (status)
        sm_chat_free(c);
    else
        *out = c;
    return status;
}

sm_status sm_chat_options_take(sm_chat_options *to, const sm_chat_options *from, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_chat_options, template_text), {0}};
    const sm_status status = sm_struct_take(to, sizeof *to, wide, from, "sm_chat_options", error);
    if (status || !to->reserved)
        return status;
    sm_allocator_drop(to->allocator);
    return sm_fail(error, SM_ERR_ARGUMENT, "sm_chat_options: reserved is set");
}

sm_status sm_chat_new(sm_chat **out, const sm_chat_options *options, sm_error *error) {
    sm_chat_options o;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_chat_new: out is NULL");
    *out = NULL;
    sm_status status = sm_chat_options_take(&o, options, error);
    if (status)
        return status;
    const char *text = o.template_text;
    if (!text && o.template_name)
        text = sm_chat_layout(o.template_name);
    if (!text) {
        sm_allocator_drop(o.allocator);
        return o.template_name
                   ? sm_fail_name(error, "template", o.template_name, sm_chat_layouts_list())
                   : sm_fail(error, SM_ERR_ARGUMENT, "sm_chat_new: neither a template nor a name");
    }
    return sm_chat_make(out, text, strlen(text), o.bos, o.eos, o.allocator, error);
}

void sm_chat_free(sm_chat *c) {
    if (!c)
        return;
    sm_mem *mem = c->mem;
    sm_template_free(c->parsed);
    sm_free(mem, c->text);
    sm_free(mem, c->format);
    sm_free(mem, c->bos);
    sm_free(mem, c->eos);
    sm_free(mem, c);
    sm_mem_destroy(mem);
}

const char *sm_chat_template_text(const sm_chat *chat) {
    return chat ? chat->text : NULL;
}

/* ---- public renders -------------------------------------------------------------- */

static const sm_wide render_wide[] = {SM_WIDE_FROM(sm_render_options, variables), {0}};

static sm_status begin(rendering *r, const char *function, const sm_chat *chat,
                       const char *messages, const char *tools, const sm_render_options *options,
                       const uint64_t *n, sm_error *error) {
    if (!chat || !messages || !n)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: chat, messages or n is NULL", function);
    *r = (rendering){.chat = chat, .messages = messages, .tools = tools, .needs = &chat->needs};
    const sm_status status =
        sm_struct_take(&r->o, sizeof r->o, render_wide, options, "sm_render_options", error);
    r->continues = !r->o.no_generation_prompt;
    return status;
}

static sm_status hand_out(const char *from, uint64_t length, char *text, uint64_t capacity,
                          uint64_t *n, sm_error *error) {
    *n = length;
    if (capacity < length || (!text && length))
        return sm_fail(error, SM_ERR_BUFFER, "a chat of %llu bytes of text does not fit",
                       (unsigned long long)length);
    memcpy(text ? text : "", from, text ? (size_t)length : 0);
    return SM_OK;
}

sm_status sm_chat_render(const sm_chat *chat, const char *messages, const char *tools,
                         const sm_render_options *options, char *text, uint64_t capacity,
                         uint64_t *n, sm_error *error) {
    rendering r;
    sm_rendered got;
    if (n)
        *n = 0;
    sm_status status = begin(&r, "sm_chat_render", chat, messages, tools, options, n, error);
    if (status)
        return status;
    status = render(&r, &got, error);
    if (!status)
        status = hand_out(got.text, got.length, text, capacity, n, error);
    sm_rendered_free(&got);
    return status;
}

sm_status sm_chat_prompt_end(const sm_chat *chat, const char *messages, const char *tools,
                             const sm_render_options *options, char *text, uint64_t capacity,
                             uint64_t *n, sm_error *error) {
    rendering r;
    sm_rendered with, without;
    if (n)
        *n = 0;
    sm_status status = begin(&r, "sm_chat_prompt_end", chat, messages, tools, options, n, error);
    if (status || !r.continues)
        return status;
    status = render(&r, &with, error);
    r.continues = false;
    if (!status) {
        uint64_t same = 0;
        status = render(&r, &without, error);
        while (!status && same < with.length && same < without.length &&
               with.text[same] == without.text[same])
            same++;
        if (!status)
            status = hand_out(with.text + same, with.length - same, text, capacity, n, error);
        sm_rendered_free(&without);
    }
    sm_rendered_free(&with);
    return status;
}

/* What BOS the vocabulary wants is put in front unless the template has it. */
static uint32_t wants_bos(const sm_tokenizer *tokenizer, const sm_rendered *got, int32_t *bos) {
    sm_tokenizer_info info = {.struct_size = sizeof info};
    uint64_t length;
    if (sm_tokenizer_get_info(tokenizer, &info, NULL) || info.add_bos != 1 || info.bos < 0)
        return 0;
    const char *text = sm_tokenizer_token_text(tokenizer, info.bos, &length);
    *bos = info.bos;
    return !(text && got->length >= length && !memcmp(got->text, text, (size_t)length));
}

static sm_status encode(const sm_chat *chat, const sm_tokenizer *tokenizer, const sm_rendered *got,
                        const sm_render_options *o, int32_t *ids, uint64_t capacity, uint64_t *n,
                        sm_error *error) {
    const sm_encode_options how = {.struct_size = sizeof how,
                                   .flags = SM_ENCODE_SPECIAL,
                                   .cancel = o->cancel,
                                   .cancel_user = o->cancel_user,
                                   .cancel_flag = o->cancel_flag};
    int32_t bos = -1;
    const uint32_t front = wants_bos(tokenizer, got, &bos);
    sm_text_part *parts = sm_alloc_array(chat->mem, got->n_pieces + 1, sizeof *parts);
    if (!parts)
        return no_memory(error);
    for (uint32_t i = 0; i < got->n_pieces; i++)
        parts[i] = (sm_text_part){.end = got->pieces[i].end, .plain = got->pieces[i].user};
    const bool room = capacity >= front;
    sm_status status = sm_tokenizer_encode_parts(
        tokenizer, got->text, got->length, parts, got->n_pieces, &how,
        room && ids ? ids + front : NULL, room && ids ? capacity - front : 0, n, error);
    sm_free(chat->mem, parts);
    if (status && status != SM_ERR_BUFFER)
        return status;
    *n += front;
    if (!status && front && ids && room)
        ids[0] = bos;
    if (!status && *n > capacity)
        status = sm_fail(error, SM_ERR_BUFFER, "a chat of %llu ids does not fit",
                         (unsigned long long)*n);
    return status;
}

sm_status sm_chat_encode(const sm_chat *chat, const sm_tokenizer *tokenizer, const char *messages,
                         const char *tools, const sm_render_options *options, int32_t *ids,
                         uint64_t capacity, uint64_t *n, sm_error *error) {
    rendering r;
    sm_rendered got;
    if (n)
        *n = 0;
    if (!tokenizer || (!ids && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_chat_encode: a pointer is NULL");
    sm_status status = begin(&r, "sm_chat_encode", chat, messages, tools, options, n, error);
    if (status)
        return status;
    status = render(&r, &got, error);
    if (!status)
        status = encode(chat, tokenizer, &got, &r.o, ids, capacity, n, error);
    sm_rendered_free(&got);
    return status;
}
