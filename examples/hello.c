/* hello.c - generate text: load a model, continue a prompt, print it as it comes.
 *
 *     cc hello.c $(pkg-config --cflags --libs smallmind) -o hello
 *     ./hello model.gguf "Once upon a time"
 */
#include <stdio.h>

#include <smallmind/smallmind.h>

static int32_t on_token(void *user, const sm_token *token) {
    (void)user;
    fwrite(token->text, 1, token->length, stdout);
    fflush(stdout);
    return 0; /* anything else would stop the generation */
}

int main(int argc, char **argv) {
    sm_model *model = NULL;
    sm_session *session = NULL;
    sm_error error;
    sm_generate_options options = {.struct_size = sizeof options, .max_tokens = 64};
    if (argc != 3) {
        fprintf(stderr, "usage: hello MODEL PROMPT\n");
        return 2;
    }
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_session_new(&session, model, NULL, &error);
    if (status == SM_OK) {
        fputs(argv[2], stdout);
        status = sm_session_generate(session, argv[2], SM_ZT, &options, on_token, NULL, &error);
        putchar('\n');
    }
    if (status != SM_OK)
        fprintf(stderr, "hello: %s\n", error.message);
    sm_session_free(session); /* in any order, NULL is fine */
    sm_model_free(model);
    return status == SM_OK ? 0 : 1;
}
