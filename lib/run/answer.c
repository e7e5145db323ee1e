/* answer.c - answers: what a session generates, read as a reply. */
#include "run.h"

#include "format/json_write.h"
#include "smallmind/chat.h"

typedef struct answer {
    sm_reply *reply;
    sm_delta_fn on_delta;
    void *user;
    sm_error *error;
    sm_error why;     /* of reading: the end of the text that follows from it is another */
    sm_status status; /* of reading */
} answer;

static int32_t on_token(void *user, const sm_token *token) {
    answer *a = user;
    a->status = sm_reply_feed(a->reply, token->text, token->length, a->on_delta, a->user, &a->why);
    return a->status != SM_OK;
}

/* What waits is handed out whatever ended the text, unless reading itself did. */
static sm_status finish(answer *a, sm_status status) {
    if (a->status) {
        if (a->error)
            *a->error = a->why;
        return a->status;
    }
    const sm_status finished =
        sm_reply_finish(a->reply, a->on_delta, a->user, status ? NULL : a->error);
    return status ? status : finished;
}

sm_status sm_session_reply(sm_session *session, const int32_t *ids, uint64_t n,
                           const sm_generate_options *options, sm_reply *reply,
                           sm_delta_fn on_delta, void *user, sm_error *error) {
    if (!session || !reply || (!ids && n))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_session_reply: session, reply or ids is NULL");
    answer a = {.reply = reply, .on_delta = on_delta, .user = user, .error = error};
    const sm_prompt prompt = {.ids = ids, .n = n, .control = true};
    sm_status status = sm_session_begin(session, error);
    if (status)
        return status;
    status = sm_session_generate_marked(session, &prompt, options, on_token, &a, error);
    status = finish(&a, status);
    sm_session_end(session);
    return status;
}

/* ---- messages in, message out ------------------------------------------------------------- */

typedef struct conversation {
    sm_session *s;
    const sm_chat *chat;
    const char *messages, *tools;
    sm_answer_options o;
    int32_t *ids;
    uint64_t n;
    sm_builder end; /* what the template wrote behind the messages */
    sm_reply *reply;
    answer answer;
    sm_error *error;
} conversation;

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for an answer");
}

static sm_render_options how_to_render(const conversation *c) {
    return (sm_render_options){.struct_size = sizeof(sm_render_options),
                               .variables = c->o.variables,
                               .cancel = c->s->cancel,
                               .cancel_user = c->s->cancel_user};
}

static sm_status encode_messages(conversation *c) {
    const sm_render_options render = how_to_render(c);
    uint64_t capacity = 0;
    sm_status status;
    do {
        sm_free(c->s->mem, c->ids);
        c->ids = capacity ? sm_alloc_array(c->s->mem, capacity, sizeof *c->ids) : NULL;
        if (capacity && !c->ids)
            return no_memory(c->error);
        status = sm_chat_encode(c->chat, c->s->model->tokenizer, c->messages, c->tools, &render,
                                c->ids, capacity, &c->n, c->error);
    } while (status == SM_ERR_BUFFER && (capacity = c->n) > 0);
    return status;
}

/* What the prompt ends with, which the reply goes on from. */
static sm_status find_end(conversation *c) {
    const sm_render_options render = how_to_render(c);
    uint64_t n;
    sm_status status =
        sm_chat_prompt_end(c->chat, c->messages, c->tools, &render, NULL, 0, &n, c->error);
    if (status != SM_ERR_BUFFER)
        return status;
    sm_builder_repeat(&c->end, 0, n + 1);
    if (c->end.failed)
        return no_memory(c->error);
    return sm_chat_prompt_end(c->chat, c->messages, c->tools, &render, c->end.data, n, &n,
                              c->error);
}

/* Calls of the conversation so far: ids that are made up go on from there. */
static uint32_t count_calls(const sm_json *json) {
    uint32_t n = 0;
    for (sm_json_value m = sm_json_first(json, SM_JSON_ROOT); m != SM_JSON_NONE;
         m = sm_json_next(json, SM_JSON_ROOT, m))
        n += sm_json_count(json, sm_json_get(json, m, "tool_calls"));
    return n;
}

static sm_status open_reply(conversation *c) {
    const sm_json_source source = {.name = "messages", .line = 1};
    sm_json *json;
    sm_status status =
        sm_json_read(&json, c->s->mem, c->messages, strlen(c->messages), &source, NULL, c->error);
    if (status)
        return status;
    const sm_reply_options o = {.struct_size = sizeof o,
                                .first_call = count_calls(json),
                                .format = c->o.format ? c->o.format : sm_chat_reply_format(c->chat),
                                .prompt_end = c->end.data,
                                .tools = c->tools,
                                .allocator = c->s->mem->hook.alloc ? &c->s->mem->hook : NULL};
    sm_json_free(json);
    return sm_reply_new(&c->reply, &o, c->error);
}

static const char *reason(const sm_session *s, uint32_t n_calls) {
    switch (s->stats.finish) {
    case SM_FINISH_LENGTH:
    case SM_FINISH_CONTEXT:
        return "length";
    case SM_FINISH_CANCELLED:
        return "cancelled";
    case SM_FINISH_ERROR:
        return "error";
    default:
        return n_calls ? "tool_calls" : "stop";
    }
}

static void put_count(sm_json_writer *w, const char *name, int64_t count) {
    sm_json_put_key(w, name, strlen(name));
    sm_json_put_i64(w, count);
}

static void put_choice(const conversation *c, sm_builder *out, const char *message, uint64_t n) {
    const sm_generate_stats *stats = &c->s->stats;
    sm_reply_info info = {.struct_size = sizeof info};
    sm_json_writer w = sm_json_writer_of(out, NULL);
    sm_reply_get_info(c->reply, &info, NULL);
    const char *why = reason(c->s, info.n_calls);
    sm_json_open(&w, SM_JSON_OBJECT);
    sm_json_put_key(&w, "message", 7);
    sm_json_put_raw(&w, message, n);
    sm_json_put_key(&w, "finish_reason", 13);
    sm_json_put_string(&w, why, strlen(why));
    if (info.malformed) {
        sm_json_put_key(&w, "malformed", 9);
        sm_json_put_literal(&w, SM_JSON_TRUE);
    }
    sm_json_put_key(&w, "usage", 5);
    sm_json_open(&w, SM_JSON_OBJECT);
    put_count(&w, "prompt_tokens", stats->prompt_tokens);
    put_count(&w, "completion_tokens", stats->generated_tokens);
    put_count(&w, "cached_tokens", stats->reused_tokens);
    sm_json_close(&w);
    sm_json_close(&w);
}

/* The last delta. */
static sm_status give_end(conversation *c) {
    sm_builder message = sm_builder_of(c->s->mem, 0), choice = sm_builder_of(c->s->mem, 0);
    uint64_t n;
    int32_t refused = 0;
    if (!c->answer.on_delta)
        return SM_OK;
    sm_status status = sm_reply_message(c->reply, NULL, 0, &n, NULL);
    sm_builder_repeat(&message, 0, n);
    if (!message.failed && status == SM_ERR_BUFFER)
        status = sm_reply_message(c->reply, message.data, n, &n, c->error);
    if (!status) {
        put_choice(c, &choice, message.data, n);
        sm_builder_byte(&choice, 0);
    }
    if (message.failed || choice.failed)
        status = no_memory(c->error);
    if (!status) {
        const sm_delta delta = {.struct_size = sizeof delta,
                                .kind = SM_DELTA_END,
                                .text = "",
                                .json = choice.data,
                                .json_length = choice.length - 1};
        refused = c->answer.on_delta(c->answer.user, &delta);
    }
    sm_builder_free(&message);
    sm_builder_free(&choice);
    return refused ? sm_fail(c->error, SM_ERR_CANCELLED, "cancelled by the delta callback")
                   : status;
}

/* By the choice among tools, unless the caller has a constraint of his own. */
static sm_status constrain(conversation *c, sm_generate_options *o, sm_constraint **constraint) {
    const char *format = c->o.format ? c->o.format : sm_chat_reply_format(c->chat);
    const char *choice = c->o.tool_choice ? c->o.tool_choice : c->tools ? "auto" : "none";
    sm_reply_info info = {.struct_size = sizeof info};
    if (o->constraint)
        return SM_OK;
    sm_reply_get_info(c->reply, &info, NULL);
    const sm_status status = sm_constraint_new_tools(constraint, c->s->model->tokenizer, format,
                                                     c->tools, choice, info.reasoning, c->error);
    o->constraint = *constraint;
    return status;
}

static sm_status generate(conversation *c) {
    sm_constraint *constraint = NULL;
    sm_generate_options o;
    const sm_prompt prompt = {.ids = c->ids, .n = c->n, .control = true};
    memset(&c->s->stats, 0, sizeof c->s->stats);
    sm_status status = sm_options_take(&o, sizeof o, c->o.generate, SM_OPTIONS_GENERATE, c->error);
    if (status)
        return status;
    if (o.echo)
        return sm_fail(c->error, SM_ERR_ARGUMENT, "option echo: a reply is without its prompt");
    sm_options_say_zero(&o, SM_OPTIONS_GENERATE);
    status = constrain(c, &o, &constraint);
    if (!status)
        status = sm_session_generate_marked(c->s, &prompt, &o, on_token, &c->answer, c->error);
    sm_constraint_free(constraint);
    return status;
}

static sm_status converse(conversation *c) {
    sm_status status = encode_messages(c);
    if (!status)
        status = find_end(c);
    if (!status)
        status = open_reply(c);
    if (status)
        return status;
    c->answer.reply = c->reply;
    status = generate(c);
    if (c->s->stats.finish == SM_FINISH_NONE)
        return status; /* it never came to that */
    status = finish(&c->answer, status);
    if (status && status != SM_ERR_CANCELLED)
        return status;
    const sm_status ended = give_end(c);
    return status ? status : ended;
}

static const sm_wide wide[] = {SM_WIDE_FROM(sm_answer_options, generate), {0}};

sm_status sm_session_chat(sm_session *session, const sm_chat *chat, const char *messages,
                          const char *tools, const sm_answer_options *options, sm_delta_fn on_delta,
                          void *user, sm_error *error) {
    if (!session || !chat || !messages)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_session_chat: session, chat or messages is NULL");
    conversation c = {.s = session,
                      .chat = chat,
                      .messages = messages,
                      .tools = tools,
                      .answer = {.on_delta = on_delta, .user = user, .error = error},
                      .error = error};
    sm_status status = sm_struct_take(&c.o, sizeof c.o, wide, options, "sm_answer_options", error);
    if (!status && c.o.reserved)
        status = sm_fail(error, SM_ERR_ARGUMENT, "sm_answer_options: reserved is set");
    if (!status)
        status = sm_session_begin(session, error);
    if (status)
        return status;
    c.end = sm_builder_of(session->mem, 0);
    status = converse(&c);
    sm_reply_free(c.reply);
    sm_builder_free(&c.end);
    sm_free(session->mem, c.ids);
    sm_session_end(session);
    return status;
}
