/* chat.c - answers: what a session generates, read as a reply. */
#include "run.h"

#include "smallmind/chat.h"

typedef struct answer {
    sm_reply *reply;
    sm_delta_fn on_delta;
    void *user;
    sm_error *error;
    sm_status status; /* of reading */
} answer;

static int32_t on_token(void *user, const sm_token *token) {
    answer *a = user;
    a->status = sm_reply_feed(a->reply, token->text, token->length, a->on_delta, a->user, a->error);
    return a->status != SM_OK;
}

/* What waits is handed out whatever ended the text, unless reading itself did. */
static sm_status finish(answer *a, sm_status status) {
    if (a->status)
        return a->status;
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
