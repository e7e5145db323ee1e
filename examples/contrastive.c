/* contrastive.c - contrastive decoding (arXiv:2309.09117): what a large model thinks of a token and
 * a small one does not. Both need the same vocabulary.
 *
 *     cc contrastive.c $(pkg-config --cflags --libs smallmind) -lm -o contrastive
 *     ./contrastive large.gguf small.gguf "Once upon a time"
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

#define N_TOKENS 48
#define BETA 0.5  /* how much the small model counts */
#define ALPHA 0.1 /* least share of the likeliest token's probability under the large one */

/* (1 + beta) large - beta small, where the large model finds a token likely; the rest is masked. */
static void contrast(const float *large, const float *small, uint64_t n, float *to,
                     uint32_t *mask) {
    double top = -INFINITY;
    for (uint64_t i = 0; i < n; i++)
        top = fmax(top, (double)large[i]);
    memset(mask, 0, (n + 31) / 32 * sizeof *mask);
    for (uint64_t i = 0; i < n; i++) {
        to[i] = (float)((1 + BETA) * (double)large[i] - BETA * (double)small[i]);
        if ((double)large[i] >= top + log(ALPHA))
            mask[i / 32] |= 1u << i % 32;
    }
}

/* The next token of both sessions, which hold the same ids. */
static sm_status choose(sm_session *large, sm_session *small, float *buffer, uint32_t *mask,
                        sm_choice *choice, sm_error *error) {
    const float *a, *b;
    uint64_t n, m;
    sm_status status = sm_session_logits(large, &a, &n, error);
    if (status == SM_OK)
        status = sm_session_logits(small, &b, &m, error);
    if (status != SM_OK)
        return status;
    contrast(a, b, n, buffer, mask); /* n is m, as main has looked */
    const sm_sampling sampling = {.struct_size = sizeof sampling, .logits = buffer, .mask = mask};
    return sm_session_sample(large, &sampling, choice, error);
}

static sm_status go_on(sm_session *large, sm_session *small, const sm_tokenizer *tokenizer,
                       uint64_t n_vocab, sm_error *error) {
    float *buffer = malloc(n_vocab * sizeof *buffer);
    uint32_t *mask = malloc((n_vocab + 31) / 32 * sizeof *mask);
    sm_detokenizer *detokenizer = NULL;
    sm_status status = sm_detokenizer_new(&detokenizer, tokenizer, SM_DECODE_KEEP_SPACE, error);
    for (int i = 0; status == SM_OK && buffer != NULL && mask != NULL && i < N_TOKENS; i++) {
        sm_choice choice = {.struct_size = sizeof choice};
        const char *piece;
        uint64_t length;
        status = choose(large, small, buffer, mask, &choice, error);
        if (status != SM_OK || sm_tokenizer_is_end(tokenizer, choice.id))
            break;
        status = sm_detokenizer_feed(detokenizer, choice.id, &piece, &length, error);
        if (status == SM_OK && fwrite(piece, 1, length, stdout) == length)
            status = sm_session_feed(large, &choice.id, 1, error);
        if (status == SM_OK)
            status = sm_session_feed(small, &choice.id, 1, error);
    }
    putchar('\n');
    sm_detokenizer_free(detokenizer);
    free(buffer);
    free(mask);
    return status;
}

static sm_status open(const char *path, sm_model **model, sm_session **session, sm_error *error) {
    const sm_status status = sm_model_load(model, path, NULL, error);
    return status == SM_OK ? sm_session_new(session, *model, NULL, error) : status;
}

int main(int argc, char **argv) {
    const sm_encode_options how = {.struct_size = sizeof how, .flags = SM_ENCODE_MARKERS};
    sm_session_info a = {.struct_size = sizeof a}, b = {.struct_size = sizeof b};
    sm_model *models[2] = {NULL, NULL};
    sm_session *large = NULL, *small = NULL;
    sm_tokenizer *tokenizer = NULL;
    static int32_t ids[2048];
    uint64_t n;
    sm_error error;
    if (argc != 4) {
        fprintf(stderr, "usage: contrastive LARGE SMALL PROMPT\n");
        return 2;
    }
    sm_status status = open(argv[1], &models[0], &large, &error);
    if (status == SM_OK)
        status = open(argv[2], &models[1], &small, &error);
    if (status == SM_OK)
        status = sm_model_get_tokenizer(models[0], &tokenizer, &error);
    if (status == SM_OK)
        status =
            sm_tokenizer_encode(tokenizer, argv[3], strlen(argv[3]), &how, ids, 2048, &n, &error);
    if (status == SM_OK)
        status = sm_session_feed(large, ids, n, &error);
    if (status == SM_OK)
        status = sm_session_feed(small, ids, n, &error);
    sm_session_get_info(large, &a, NULL);
    sm_session_get_info(small, &b, NULL);
    if (status == SM_OK && a.n_vocab == b.n_vocab)
        status = go_on(large, small, tokenizer, (uint64_t)a.n_vocab, &error);
    if (status != SM_OK || a.n_vocab != b.n_vocab)
        fprintf(stderr, "contrastive: %s\n",
                status != SM_OK ? error.message : "the models have other vocabularies");
    sm_session_free(large);
    sm_session_free(small);
    sm_tokenizer_free(tokenizer);
    sm_model_free(models[0]);
    sm_model_free(models[1]);
    return status == SM_OK && a.n_vocab == b.n_vocab ? 0 : 1;
}
