/* summary.c - a conversation in fewer words, by the model that has it. */
#include "summary.h"

#include <stdlib.h>
#include <string.h>

#include "shown.h"

#define TASK                                                                                      \
    "You summarise conversations. Write a short summary of the conversation that you are given: " \
    "the facts, names, numbers and wishes in it that later answers may need. Write the summary "  \
    "and nothing else."

/* ---- what is to be read --------------------------------------------------------------------- */

typedef struct script {
    char *text;
    size_t length;
} script;

static bool add(script *s, const char *text, size_t n) {
    char *longer = realloc(s->text, s->length + n + 1);
    if (longer == NULL)
        return false;
    memcpy(longer + s->length, text, n);
    longer[s->length + n] = 0;
    s->text = longer;
    s->length += n;
    return true;
}

/* "role: text"; calls of tools and content in parts as JSON. */
static bool add_message(script *s, json_t *message) {
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    const bool plain = json_is_string(content) && json_object_get(message, "tool_calls") == NULL;
    char *json = plain ? NULL : json_dumps(message, JSON_COMPACT | JSON_ENCODE_ANY);
    const char *text = plain ? json_string_value(content) : json;
    role = role != NULL ? role : "";
    const bool good = text != NULL && add(s, role, strlen(role)) && add(s, ": ", 2) &&
                      add(s, text, plain ? json_string_length(content) : strlen(text)) &&
                      add(s, "\n", 1);
    free(json);
    return good;
}

static bool write_script(script *s, const json_t *messages, size_t from, size_t to,
                         const char *before) {
    bool good = before == NULL ||
                (add(s, "Before that: ", 13) && add(s, before, strlen(before)) && add(s, "\n", 1));
    for (size_t i = from; i < to && good; i++)
        good = add_message(s, json_array_get(messages, i));
    return good;
}

/* The messages that ask for it, as text; NULL: no memory. */
static char *request(const json_t *messages, size_t from, size_t to, const char *before) {
    script s = {0};
    json_t *both = NULL;
    if (write_script(&s, messages, from, to, before))
        both = json_pack("[{s:s, s:s}, {s:s, s:o}]", "role", "system", "content", TASK, "role",
                         "user", "content", cli_json_text(s.text, s.length));
    free(s.text);
    char *text = both != NULL ? json_dumps(both, JSON_COMPACT) : NULL;
    json_decref(both);
    return text;
}

/* ---- what comes ----------------------------------------------------------------------------- */

static int32_t take_summary(void *user, const sm_delta *delta) {
    char **text = user;
    if (delta->kind != SM_DELTA_END)
        return 0;
    json_t *end = json_loadb(delta->json, (size_t)delta->json_length, 0, NULL);
    const char *content =
        json_string_value(json_object_get(json_object_get(end, "message"), "content"));
    *text = strdup(content != NULL ? content : "");
    json_decref(end);
    return *text == NULL;
}

static sm_status generate(const summary_by *by, sm_session *session, const char *messages,
                          char **text, sm_error *error) {
    const uint32_t n_ctx = cli_session_info(session).n_ctx;
    /* what is kept in front: the task, and what is known of before */
    const sm_generate_options generate = {.struct_size = sizeof generate,
                                          .sampling = by->sampling,
                                          .max_tokens = n_ctx / 8 != 0 ? n_ctx / 8 : 1,
                                          .context_full = SM_CONTEXT_SLIDE,
                                          .n_keep = n_ctx / 4};
    const sm_answer_options options = {.struct_size = sizeof options, .generate = &generate};
    const sm_status status = sm_session_set_cancel(session, by->cancel, NULL, error);
    return status != SM_OK ? status
                           : sm_session_chat(session, by->chat, messages, NULL, &options,
                                             take_summary, text, error);
}

char *summarise(const summary_by *by, const json_t *messages, size_t from, size_t to,
                const char *before) {
    sm_error error = {0};
    sm_session *session = NULL;
    char *text = NULL, *asked = request(messages, from, to, before);
    if (asked == NULL) {
        cli_error("out of memory for a summary");
        return NULL;
    }
    sm_status status = sm_session_new(&session, by->model, by->session, &error);
    if (status == SM_OK)
        status = generate(by, session, asked, &text, &error);
    sm_session_free(session);
    free(asked);
    if (status == SM_OK)
        return text;
    free(text);
    if (status != SM_ERR_CANCELLED || !cli_interrupted())
        cli_fail(&error);
    return NULL;
}
