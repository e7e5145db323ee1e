/* tools.c - tools and a choice among them as a constraint of what is generated. */
#include "run.h"
#include "tool_calls.h"

#include "smallmind/chat.h"

typedef struct choosing {
    sm_mem mem;
    sm_reply_tools tools;
    const sm_reply_format *format;
    const char *only;
    bool lazy; /* the constraint begins behind a mark */
    char mark[SM_REPLY_MAX_WORD];
    sm_error *error;
} choosing;

/* "auto", "required", or the name of a tool. */
static sm_status look_at_choice(choosing *c, const char *choice) {
    if (same_text(choice, strlen(choice), "auto")) {
        c->lazy = true;
    } else if (!same_text(choice, strlen(choice), "required")) {
        c->only = choice;
        if (sm_reply_tool(&c->tools, choice, strlen(choice)) == SM_JSON_NONE)
            return sm_fail(c->error, SM_ERR_ARGUMENT, "tool_choice: no tool is called %s", choice);
    }
    return sm_json_count(c->tools.json, SM_JSON_ROOT)
               ? SM_OK
               : sm_fail(c->error, SM_ERR_ARGUMENT, "tool_choice: there are no tools");
}

/* The mark that the constraint begins behind: of calls, or of the reasoning's end where that has to
 * come first. */
static bool find_mark(choosing *c, bool reasoning) {
    sm_reply_step step[SM_REPLY_MAX_STEPS];
    const char *mark = c->format->think[1];
    uint64_t n = mark ? strlen(mark) : 0;
    if (c->lazy) {
        sm_reply_compile(c->format->patterns[0], step);
        mark = step[0].code == SM_REPLY_TEXT ? step[0].text : NULL;
        n = step[0].length;
    } else if (!reasoning) {
        return false;
    }
    if (!mark || n >= sizeof c->mark)
        return false;
    memcpy(c->mark, mark, (size_t)n);
    c->mark[n] = 0;
    return true;
}

static sm_status make(choosing *c, sm_constraint **out, const sm_tokenizer *tokenizer,
                      bool reasoning) {
    const bool marked = find_mark(c, reasoning);
    const sm_text triggers[] = {{c->mark, SM_ZT}};
    const sm_constraint_options o = {
        .struct_size = sizeof o, .n_triggers = marked, .triggers = marked ? triggers : NULL};
    sm_tool_calls calls = {c->format, &c->tools, c->only, c->lazy};
    return sm_tool_calls_fit(&calls)
               ? sm_constraint_make(out, tokenizer, sm_tool_calls_write, &calls, NULL, &o, c->error)
               : SM_OK;
}

static sm_status choose_and_make(choosing *c, sm_constraint **out, const sm_tokenizer *tokenizer,
                                 const char *tools, const char *choice, bool reasoning) {
    sm_status status = sm_reply_tools_read(&c->tools, &c->mem, tools, c->error);
    if (!status)
        status = look_at_choice(c, choice);
    return status ? status : make(c, out, tokenizer, reasoning);
}

sm_status sm_constraint_new_tools(sm_constraint **out, const sm_tokenizer *tokenizer,
                                  const char *format, const char *tools, const char *choice,
                                  uint32_t reasoning, sm_error *error) {
    choosing c = {.error = error};
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_tools: out is NULL");
    *out = NULL;
    if (!choice || same_text(choice, strlen(choice), "none"))
        return SM_OK;
    sm_reply_described kept = {.text = NULL};
    sm_status status = sm_mem_init(&c.mem, NULL, 0, error);
    if (!status)
        status = sm_reply_format_find(&c.format, &kept, &c.mem, format, error);
    const bool is_auto = same_text(choice, strlen(choice), "auto");
    if (!status && !c.format && !is_auto)
        status = sm_fail(error, SM_ERR_UNSUPPORTED,
                         "tool_choice: %s: how the model writes calls is not known", choice);
    if (!status && c.format) /* else nobody knows what the model would write */
        status = choose_and_make(&c, out, tokenizer, tools, choice, reasoning != 0);
    sm_reply_tools_free(&c.tools, &c.mem);
    sm_free(&c.mem, kept.text);
    return status;
}
