/* smallmind/chat.h - conversations: messages through a model's template, and its replies read back
 * while they arrive.
 *
 * Messages and tools cross this boundary as JSON, in the form OpenAI's API gave them.
 */
#ifndef SMALLMIND_CHAT_H
#define SMALLMIND_CHAT_H

#include "constrain.h"
#include "generate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- templates ------------------------------------------------------------------------ */

/* A chat template, compiled: immutable, any number of threads may use one at a time. What templates
 * cannot do themselves is done before, as far as a look at what they make of small conversations
 * shows that it has to be: arguments of calls become objects or text, parts of a content are joined
 * or made of a text, a system message goes into the first of the user's where there is no such
 * role. tools are undefined where there are none.
 *
 * Text of messages, tools and variables never becomes control tokens: these are looked for in the
 * template's own text only. Everything of a hostile template is bounded (steps, depth, output,
 * memory: SM_ERR_UNSUPPORTED). */
typedef struct sm_chat sm_chat;

typedef struct sm_chat_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *template_text; /* the template itself; NULL: by name */
    const char *template_name; /* of sm_chat_new_from_model a variant of the model's (key
                                  tokenizer.chat_template.NAME; "default"), or a layout of
                                  sm_chat_layouts_list; NULL: the model's own */
    const char *bos, *eos; /* texts of these tokens for the template; NULL: the model's, or "" */
    const sm_allocator *allocator; /* NULL: the C library's */
} sm_chat_options;

typedef struct sm_render_options {
    uint32_t struct_size;
    uint32_t
        no_generation_prompt; /* 1: nothing behind the last message that an answer goes on from */
    const char *variables; /* more for the template, a JSON object ({"enable_thinking": false}) */
    sm_cancel_fn cancel;   /* asked every few milliseconds; NULL: never */
    void *cancel_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
    int64_t clock;          /* what the time is, for templates that ask: seconds since 1970 as it is
                              to be shown; 0: the system's, UTC */
} sm_render_options;

/* From text or a layout's name. SM_ERR_FORMAT, _UNSUPPORTED (the template: line and what),
 * _ARGUMENT (no such layout, with what it may be a slip of), _NOMEM. */
SM_API sm_status SM_CALL sm_chat_new(sm_chat **out, const sm_chat_options *options,
                                     sm_error *error);
/* Of a model; options may be NULL. Besides: SM_ERR_MISSING where the model has no template. */
SM_API sm_status SM_CALL sm_chat_new_from_model(sm_chat **out, const sm_model *model,
                                                const sm_chat_options *options, sm_error *error);
SM_API void SM_CALL sm_chat_free(sm_chat *chat); /* NULL is fine */
/* The template, zero-terminated, valid as long as the handle. */
SM_API const char *SM_CALL sm_chat_template_text(const sm_chat *chat);
/* How the model writes reasoning and calls, as sm_reply_options.format takes it: the name of a
 * format by the marks in the template, or where what the template makes of a probe (a message with
 * known calls) is none of that format's, a description found by it. Valid as long as the handle;
 * NULL: none is known. */
SM_API const char *SM_CALL sm_chat_reply_format(const sm_chat *chat);
/* The names of the layouts that are known, as sm_names_find takes them. */
SM_API const char *SM_CALL sm_chat_layouts_list(void);

/* messages: a JSON array as in OpenAI's API; tools likewise, or NULL. Stores the bytes in *n and
 * writes them if capacity is enough, else SM_ERR_BUFFER. SM_ERR_ARGUMENT with the template's own
 * words where it refuses the messages, SM_ERR_FORMAT (messages, tools that name no function, or an
 * error inside the template), _UNSUPPORTED (also tools where the template shows none to the model),
 * _NOMEM, _CANCELLED. */
SM_API sm_status SM_CALL sm_chat_render(const sm_chat *chat, const char *messages,
                                        const char *tools, const sm_render_options *options,
                                        char *text, uint64_t capacity, uint64_t *n,
                                        sm_error *error);
/* The same as ids, with the BOS that the vocabulary wants unless the template writes it. Errors as
 * sm_tokenizer_encode's, too. */
SM_API sm_status SM_CALL sm_chat_encode(const sm_chat *chat, const sm_tokenizer *tokenizer,
                                        const char *messages, const char *tools,
                                        const sm_render_options *options, int32_t *ids,
                                        uint64_t capacity, uint64_t *n, sm_error *error);
/* What is rendered behind the last message: sm_reply_options.prompt_end. */
SM_API sm_status SM_CALL sm_chat_prompt_end(const sm_chat *chat, const char *messages,
                                            const char *tools, const sm_render_options *options,
                                            char *text, uint64_t capacity, uint64_t *n,
                                            sm_error *error);

/* ---- replies ---------------------------------------------------------------------------- */

/* What a model writes becomes an assistant's message: content, reasoning, tool calls. How models
 * write reasoning and calls differs; a format says it, by name ("hermes", "mistral-v11", "gpt-oss"
 * …), or is found from the model's template, or all are tried ("auto").
 *
 *     sm_reply_new(&reply, &(sm_reply_options){.struct_size = …, .format = "hermes"}, &error);
 *     while (…)
 *         sm_reply_feed(reply, text, length, on_delta, user, &error);
 *     sm_reply_finish(reply, on_delta, user, &error);
 *     sm_reply_message(reply, json, capacity, &length, &error);
 *
 * Text may be fed in any pieces, down to single bytes: the message, and the sum of the deltas, are
 * the same. Nothing is lost: what looked like a call and was none stays content, and so does a call
 * that cannot be read (malformed; sm_reply_info says so). White space beside marks is dropped.
 * A call is handed out when it is complete. Bytes that are not UTF-8 become U+FFFD.
 *
 * A reply is used by one call at a time (SM_ERR_STATE, see types.h). */
typedef struct sm_reply sm_reply;

typedef struct sm_reply_options {
    uint32_t struct_size;
    uint32_t first_call; /* number of the first id made up for calls that have none: the calls of
                            the conversation so far, so that ids differ */
    const char *format;  /* a name of sm_reply_formats_list, a description (of
                            sm_chat_reply_format), or "auto"; NULL: of `template_text`, if there is
                            one, else "auto" */
    const char *template_text; /* the model's chat template: its format is found by what it writes;
                                  NULL: none */
    const char *prompt_end;    /* what the template wrote behind the last message: whether it opened
                               the reasoning; NULL: nothing */
    const char *tools; /* the tools as a JSON array: types of arguments that the format leaves
                               to them; NULL: none */
    const sm_allocator *allocator; /* NULL: the C library's */
} sm_reply_options;

enum {
    SM_DELTA_CONTENT = 1,
    SM_DELTA_REASONING = 2,
    SM_DELTA_CALL = 3,
    SM_DELTA_END = 4, /* of sm_session_chat only: the answer is complete */
};

/* What has become certain. Texts are UTF-8, zero-terminated too, and valid during the call. */
typedef struct sm_delta {
    uint32_t struct_size;
    uint32_t kind;    /* SM_DELTA_… */
    const char *text; /* content, reasoning, or a call's arguments, a JSON object */
    uint64_t length;
    const char *name; /* of a call: the function's; NULL otherwise */
    const char *id;   /* of a call; NULL otherwise */
    const char *json; /* the same as the "delta" of an OpenAI chunk: {"content": "…"},
                         {"reasoning_content": "…"}, {"tool_calls": [{"index": 0, …}]}. At the
                         end {"message": …, "finish_reason": …, "usage": …} */
    uint64_t json_length;
} sm_delta;

/* Called on the calling thread; non-zero cancels. May not call functions with its reply. */
typedef int32_t(SM_CALL *sm_delta_fn)(void *user, const sm_delta *delta);

typedef struct sm_reply_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t n_calls;     /* complete by now */
    uint32_t malformed;   /* 1: something began as a call and could not be read */
    uint32_t reasoning;   /* 1: the reply is inside its reasoning */
} sm_reply_info;

/* SM_ERR_ARGUMENT (unknown format, with what it may be a slip of), _FORMAT (tools), _NOMEM. */
SM_API sm_status SM_CALL sm_reply_new(sm_reply **out, const sm_reply_options *options,
                                      sm_error *error);
SM_API void SM_CALL sm_reply_free(sm_reply *reply); /* NULL is fine */
/* The next piece. on_delta may be NULL. SM_ERR_CANCELLED (by on_delta), SM_ERR_UNSUPPORTED (more
 * than 256 MiB, or 4096 calls), SM_ERR_NOMEM; after a failure only freeing is left. SM_ERR_STATE
 * behind sm_reply_finish. */
SM_API sm_status SM_CALL sm_reply_feed(sm_reply *reply, const char *text, uint64_t length,
                                       sm_delta_fn on_delta, void *user, sm_error *error);
/* The text has ended: what was waiting is decided. As sm_reply_feed; a second time does nothing. */
SM_API sm_status SM_CALL sm_reply_finish(sm_reply *reply, sm_delta_fn on_delta, void *user,
                                         sm_error *error);
/* The message so far: {"role": "assistant", "content": …, "reasoning_content": …, "tool_calls":
 * […]}, the last two where there are any; content is null beside calls if there is none. *n gets
 * its bytes; SM_ERR_BUFFER where capacity is less, then nothing is written. Not zero-terminated. */
SM_API sm_status SM_CALL sm_reply_message(sm_reply *reply, char *json, uint64_t capacity,
                                          uint64_t *n, sm_error *error);
SM_API sm_status SM_CALL sm_reply_get_info(sm_reply *reply, sm_reply_info *info, sm_error *error);

/* Continues ids[0..n) as sm_session_generate does a prompt, and reads what comes into `reply`,
 * which is made anew for each answer: the text of control tokens included, for marks of calls are
 * often those; what ends the answer is not. on_delta gets what has become certain; it may call what
 * the header of sessions lets callbacks call. The reply is finished afterwards, also when
 * SM_ERR_CANCELLED says that a hook or on_delta ended it; why it ended otherwise:
 * sm_session_get_stats. Errors as sm_session_generate and sm_reply_feed. */
SM_API sm_status SM_CALL sm_session_reply(sm_session *session, const int32_t *ids, uint64_t n,
                                          const sm_generate_options *options, sm_reply *reply,
                                          sm_delta_fn on_delta, void *user, sm_error *error);

/* Tools (a JSON array, as in OpenAI's API) and a choice among them as a constraint on what a model
 * writes in a format: "auto" holds from the first mark of a call on, what comes before is free;
 * "required" and the name of a tool hold at once, behind the reasoning if the prompt has opened one
 * (reasoning: 1). Calls are of these tools, in the format's notation.
 *
 * In every format the arguments fit the function's `parameters` (`input_schema`), a JSON Schema, as
 * sm_constraint_new_schema takes it: all of its keywords are honoured, or the tools are refused by
 * keyword and place ("tools[1].function.parameters.properties.x.format: …"). By notation:
 *
 *     JSON                keys in any order where an object names up to 6, otherwise in the
 *                         schema's (as everywhere below); white space where JSON allows it
 *     Python (f(a=1))     values in Python's words, strings in either quote; names of arguments are
 *                         words of [A-Za-z0-9_.-]; other names are refused
 *     pairs (gemma)       strings as they are, between their marks
 *     markup (a parameter strings as they are, but none holds the mark that ends a value or all of
 *     in marks of its     them, nor, where the schema allows other types beside strings and nothing
 *     own)                says which it is, what would be read as one ("null", "12"); values of
 *                         other types in JSON
 *
 * Keys that a schema admits without naming them are words where the notation has no quotes. A
 * function without parameters takes none. "strict": true beside "parameters" closes objects, as
 * OpenAI's does: those of type "object" whose schema has properties and says nothing of others have
 * no others, keys come in the schema's order. "strict": false takes the schema for a hint: any
 * object in the format's notation. *out is NULL where nothing is constrained: choice "none" or
 * NULL, "auto" in formats whose calls have no mark, or with a format that is not known (NULL,
 * "auto"). SM_ERR_ARGUMENT (no such tool, no tools), _FORMAT (tools, a schema), _UNSUPPORTED, and
 * as sm_constraint_new. */
SM_API sm_status SM_CALL sm_constraint_new_tools(sm_constraint **out, const sm_tokenizer *tokenizer,
                                                 const char *format, const char *tools,
                                                 const char *choice, uint32_t reasoning,
                                                 sm_error *error);

typedef struct sm_answer_options {
    uint32_t struct_size;
    uint32_t reserved;
    const char *tool_choice;             /* "auto", "none", "required" or the name of a tool, as
                                sm_constraint_new_tools; NULL: auto where there are tools. Not
                                beside a constraint of `generate` */
    const sm_generate_options *generate; /* NULL: all defaults */
    const char *format;    /* of replies, as in sm_reply_options; NULL: found from the template */
    const char *variables; /* more variables for the template, a JSON object ("enable_thinking"
                                …); NULL: none */
} sm_answer_options;

/* The whole way: renders messages (a JSON array) and tools (likewise, or NULL) through the
 * template, encodes them, feeds what the session does not hold of them yet, generates an answer and
 * reads it. on_delta gets it while it comes, last an SM_DELTA_END with the message (also when the
 * answer was cancelled: as far as it came), the reason for its end ("stop", "tool_calls", "length",
 * "cancelled") and the tokens used; sm_session_get_stats has the times. Errors as
 * sm_chat_encode and sm_session_reply. */
SM_API sm_status SM_CALL sm_session_chat(sm_session *session, const sm_chat *chat,
                                         const char *messages, const char *tools,
                                         const sm_answer_options *options, sm_delta_fn on_delta,
                                         void *user, sm_error *error);

/* The names of all formats, as sm_names_find takes them. */
SM_API const char *SM_CALL sm_reply_formats_list(void);
/* The name of the format that a chat template (zero-terminated) writes calls in: by the marks in
 * its text. NULL: none is known. */
SM_API const char *SM_CALL sm_reply_format_of(const char *template_text);

#ifdef __cplusplus
}
#endif
#endif
