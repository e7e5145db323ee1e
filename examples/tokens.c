/* tokens.c - drive a session token by token: encode, feed, sample, decode.
 *
 * Feeds the prompt once, forks the session, and lets the two copies go on
 * differently: one takes the likeliest token each time, the other draws.
 *
 *     cc tokens.c $(pkg-config --cflags --libs smallmind) -o tokens
 *     ./tokens model.gguf "Once upon a time"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

#define N_TOKENS 32

/* The ids of the text with BOS where the vocabulary wants it; free() them. */
static sm_status encode(const sm_tokenizer *tokenizer, const char *text, int32_t **ids, uint64_t *n,
                        sm_error *error) {
    const sm_encode_options how = {.struct_size = sizeof how, .flags = SM_ENCODE_MARKERS};
    *ids = NULL;
    sm_status status = sm_tokenizer_encode(tokenizer, text, strlen(text), &how, NULL, 0, n, error);
    if (status != SM_ERR_BUFFER) /* what we expect: it tells how many there are */
        return status;
    *ids = malloc(*n * sizeof **ids);
    return sm_tokenizer_encode(tokenizer, text, strlen(text), &how, *ids, *ids != NULL ? *n : 0, n,
                               error);
}

static sm_status continue_text(sm_session *session, const sm_tokenizer *tokenizer,
                               const sm_sampling *sampling, sm_error *error) {
    sm_detokenizer *detokenizer;
    const char *piece;
    uint64_t length;
    sm_status status = sm_detokenizer_new(&detokenizer, tokenizer, SM_DECODE_KEEP_SPACE, error);
    for (int i = 0; status == SM_OK && i < N_TOKENS; i++) {
        sm_choice choice = {.struct_size = sizeof choice};
        status = sm_session_sample(session, sampling, &choice, error);
        if (status != SM_OK || sm_tokenizer_is_end(tokenizer, choice.id))
            break;
        status = sm_detokenizer_feed(detokenizer, choice.id, &piece, &length, error);
        if (status == SM_OK) {
            fwrite(piece, 1, length, stdout);
            status = sm_session_feed(session, &choice.id, 1, error);
        }
    }
    putchar('\n');
    sm_detokenizer_free(detokenizer);
    return status;
}

int main(int argc, char **argv) {
    sm_model *model = NULL;
    sm_tokenizer *tokenizer = NULL;
    sm_session *session = NULL, *fork = NULL;
    sm_error error;
    int32_t *ids = NULL;
    uint64_t n = 0;
    const sm_sampling drawn = {
        .struct_size = sizeof drawn, .temperature = 0.9, .top_p = 0.95, .seed = 7};
    if (argc != 3) {
        fprintf(stderr, "usage: tokens MODEL PROMPT\n");
        return 2;
    }
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_model_get_tokenizer(model, &tokenizer, &error);
    if (status == SM_OK)
        status = encode(tokenizer, argv[2], &ids, &n, &error);
    if (status == SM_OK)
        status = sm_session_new(&session, model, NULL, &error);
    if (status == SM_OK)
        status = sm_session_feed(session, ids, n, &error);
    if (status == SM_OK)
        status = sm_session_fork(&fork, session, NULL, &error);
    if (status == SM_OK) {
        printf("%llu tokens in the prompt\nlikeliest:", (unsigned long long)n);
        status = continue_text(session, tokenizer, NULL, &error);
    }
    if (status == SM_OK) {
        printf("drawn:");
        status = continue_text(fork, tokenizer, &drawn, &error);
    }
    if (status != SM_OK)
        fprintf(stderr, "tokens: %s\n", error.message);
    free(ids);
    sm_session_free(fork);
    sm_session_free(session);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
    return status == SM_OK ? 0 : 1;
}
