/* smallmind/chat.h - conversations: replies of models read back while they arrive.
 *
 * Messages and tools cross this boundary as JSON, in the form OpenAI's API gave them.
 */
#ifndef SMALLMIND_CHAT_H
#define SMALLMIND_CHAT_H

#include "generate.h"

#ifdef __cplusplus
extern "C" {
#endif

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
    const char *format;  /* a name of sm_reply_formats_list, or "auto"; NULL: of `template_text`, if
                            there is one, else "auto" */
    const char *template_text; /* the model's chat template: its format is found by what it writes;
                                  NULL: none */
    const char *prompt_end;    /* what the template wrote behind the last message: whether it opened
                               the reasoning; NULL: nothing */
    const char *tools; /* the tools as a JSON array: types of arguments that the format leaves
                               to them; NULL: none */
    const sm_allocator *allocator; /* NULL: the C library's */
} sm_reply_options;

#define SM_DELTA_CONTENT 1
#define SM_DELTA_REASONING 2
#define SM_DELTA_CALL 3

/* What has become certain. Texts are UTF-8, zero-terminated too, and valid during the call. */
typedef struct sm_delta {
    uint32_t struct_size;
    uint32_t kind;    /* SM_DELTA_… */
    const char *text; /* content, reasoning, or a call's arguments, a JSON object */
    uint64_t length;
    const char *name; /* of a call: the function's; NULL otherwise */
    const char *id;   /* of a call; NULL otherwise */
    const char *json; /* the same as the "delta" of an OpenAI chunk: {"content": "…"},
                         {"reasoning_content": "…"}, {"tool_calls": [{"index": 0, …}]} */
    uint64_t json_length;
} sm_delta;

/* Called on the calling thread; non-zero cancels. May not call functions with its reply. */
typedef int32_t (*sm_delta_fn)(void *user, const sm_delta *delta);

typedef struct sm_reply_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t n_calls;     /* complete by now */
    uint32_t malformed;   /* 1: something began as a call and could not be read */
    uint32_t reasoning;   /* 1: the reply is inside its reasoning */
} sm_reply_info;

/* SM_ERR_ARGUMENT (unknown format, with what it may be a slip of), _FORMAT (tools), _NOMEM. */
SM_API sm_status sm_reply_new(sm_reply **out, const sm_reply_options *options, sm_error *error);
SM_API void sm_reply_free(sm_reply *reply); /* NULL is fine */
/* The next piece. on_delta may be NULL. SM_ERR_CANCELLED (by on_delta), SM_ERR_UNSUPPORTED (more
 * than 256 MiB, or 4096 calls), SM_ERR_NOMEM; after a failure only freeing is left. SM_ERR_STATE
 * behind sm_reply_finish. */
SM_API sm_status sm_reply_feed(sm_reply *reply, const char *text, uint64_t length,
                               sm_delta_fn on_delta, void *user, sm_error *error);
/* The text has ended: what was waiting is decided. As sm_reply_feed; a second time does nothing. */
SM_API sm_status sm_reply_finish(sm_reply *reply, sm_delta_fn on_delta, void *user,
                                 sm_error *error);
/* The message so far: {"role": "assistant", "content": …, "reasoning_content": …, "tool_calls":
 * […]}, the last two where there are any; content is null beside calls if there is none. *n gets
 * its bytes; SM_ERR_BUFFER where capacity is less, then nothing is written. Not zero-terminated. */
SM_API sm_status sm_reply_message(sm_reply *reply, char *json, uint64_t capacity, uint64_t *n,
                                  sm_error *error);
SM_API sm_status sm_reply_get_info(sm_reply *reply, sm_reply_info *info, sm_error *error);

/* Continues ids[0..n) as sm_session_generate does a prompt, and reads what comes into `reply`, which
 * is made anew for each answer: the text of control tokens included, for marks of calls are often
 * those; what ends the answer is not. on_delta gets what has become certain; it may call what the
 * header of sessions lets callbacks call. The reply is finished afterwards, also when SM_ERR_CANCELLED
 * says that a hook or on_delta ended it; why it ended otherwise: sm_session_get_stats. Errors as
 * sm_session_generate and sm_reply_feed. */
SM_API sm_status sm_session_reply(sm_session *session, const int32_t *ids, uint64_t n,
                                  const sm_generate_options *options, sm_reply *reply,
                                  sm_delta_fn on_delta, void *user, sm_error *error);

/* The names of all formats, as sm_names_find takes them. */
SM_API const char *sm_reply_formats_list(void);
/* The name of the format that a chat template (zero-terminated) writes calls in: by the marks in
 * its text. NULL: none is known. */
SM_API const char *sm_reply_format_of(const char *template_text);

#ifdef __cplusplus
}
#endif
#endif
