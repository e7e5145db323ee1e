/* chat.c - talk with a model: each line of standard input is a turn, the answers are streamed.
 *
 *     cc chat.c $(pkg-config --cflags --libs smallmind) -o chat
 *     ./chat model.gguf
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

#define MOST 65536

/* The conversation: a JSON array of messages. */
static char messages[MOST] = "[";
static size_t length = 1;

static void put(const char *text) {
    const size_t n = strlen(text);
    if (length + n + 1 > MOST) {
        fprintf(stderr, "chat: the conversation is too long for this example\n");
        exit(1);
    }
    memcpy(messages + length, text, n + 1);
    length += n;
}

/* {"role": "user", "content": …}; the text without its line end. */
static void put_user(const char *text) {
    put(length > 1 ? ", {\"role\": \"user\", \"content\": \""
                   : "{\"role\": \"user\", \"content\": \"");
    for (; *text && *text != '\n'; text++) {
        char piece[8] = {*text};
        if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ')
            snprintf(piece, sizeof piece, "\\u%04x", (unsigned)(unsigned char)*text);
        put(piece);
    }
    put("\"}");
}

/* The last delta is {"message": {…}, "finish_reason": …}: the message goes into the conversation. */
static void put_answer(const char *json) {
    const char *begin = json + strlen("{\"message\": ");
    int depth = 0, quoted = 0;
    const char *end = begin;
    do {
        if (*end == '\\')
            end++;
        else if (*end == '"')
            quoted = !quoted;
        else if (!quoted)
            depth += (*end == '{') - (*end == '}');
        end++;
    } while (depth > 0);
    put(", ");
    for (; begin < end; begin++) {
        const char piece[2] = {*begin};
        put(piece);
    }
}

static int32_t on_delta(void *user, const sm_delta *delta) {
    (void)user;
    if (delta->kind == SM_DELTA_CONTENT)
        fputs(delta->text, stdout);
    if (delta->kind == SM_DELTA_CALL)
        printf("%s(%s)\n", delta->name, delta->text);
    if (delta->kind == SM_DELTA_END)
        put_answer(delta->json);
    return fflush(stdout);
}

/* One turn: messages closed while they are handed over. */
static sm_status turn(sm_session *session, const sm_chat *chat, sm_error *error) {
    const size_t before = length;
    put("]");
    char *whole = strdup(messages);
    messages[length = before] = 0;
    const sm_status status =
        sm_session_chat(session, chat, whole, NULL, NULL, on_delta, NULL, error);
    free(whole);
    putchar('\n');
    return status;
}

int main(int argc, char **argv) {
    sm_model *model = NULL;
    sm_session *session = NULL;
    sm_chat *chat = NULL;
    sm_error error = {0};
    char line[4096];
    if (argc != 2) {
        fprintf(stderr, "usage: chat MODEL\n");
        return 2;
    }
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_session_new(&session, model, NULL, &error);
    if (status == SM_OK)
        status = sm_chat_new_from_model(&chat, model, NULL, &error);
    while (status == SM_OK && fgets(line, sizeof line, stdin)) {
        put_user(line);
        status = turn(session, chat, &error);
    }
    if (status != SM_OK)
        fprintf(stderr, "chat: %s\n", error.message);
    sm_chat_free(chat);
    sm_session_free(session);
    sm_model_free(model);
    return status != SM_OK;
}
