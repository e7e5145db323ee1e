/* guidance.c - classifier-free guidance (arXiv:2306.17806): away from what the model would write
 * after a negative prompt. Both texts go on with the same tokens; SCALE 1 is no guidance.
 *
 *     cc guidance.c $(pkg-config --cflags --libs smallmind) -lm -o guidance
 *     ./guidance model.gguf "The weather was" "The sad weather was" 1.5
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

#define N_TOKENS 48

/* Into log-probabilities: two of them can be subtracted, logits cannot. */
static double log_mass(const float *logits, uint64_t n) {
    double top = -INFINITY, sum = 0;
    for (uint64_t i = 0; i < n; i++)
        top = fmax(top, (double)logits[i]);
    for (uint64_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - top);
    return top + log(sum);
}

/* The next token: negative + scale (positive - negative), of log-probabilities. */
static sm_status choose(sm_session *with, sm_session *without, double scale, float *buffer,
                        sm_choice *choice, sm_error *error) {
    const float *a, *b;
    uint64_t n;
    sm_status status = sm_session_logits(with, &a, &n, error);
    if (status == SM_OK)
        status = sm_session_logits(without, &b, NULL, error);
    if (status != SM_OK)
        return status;
    const double mass_a = log_mass(a, n), mass_b = log_mass(b, n);
    for (uint64_t i = 0; i < n; i++) {
        const double other = (double)b[i] - mass_b;
        buffer[i] = (float)(other + scale * ((double)a[i] - mass_a - other));
    }
    const sm_sampling sampling = {.struct_size = sizeof sampling,
                                  .logits = buffer,
                                  .temperature = 0.7,
                                  .top_p = 0.9,
                                  .seed = 1};
    return sm_session_sample(with, &sampling, choice, error);
}

/* Both prompts go on in one batch: each step reads the weights once. */
static sm_status go_on(sm_batch *batch, sm_session **s, const sm_tokenizer *tokenizer, double scale,
                       sm_error *error) {
    sm_session_info info = {.struct_size = sizeof info};
    sm_detokenizer *detokenizer = NULL;
    sm_status status = sm_session_get_info(s[0], &info, error);
    float *buffer = malloc((size_t)info.n_vocab * sizeof *buffer);
    if (status == SM_OK)
        status = sm_detokenizer_new(&detokenizer, tokenizer, SM_DECODE_KEEP_SPACE, error);
    for (int i = 0; status == SM_OK && buffer != NULL && i < N_TOKENS; i++) {
        sm_choice choice = {.struct_size = sizeof choice};
        sm_batch_item items[2];
        const char *piece;
        uint64_t length;
        status = choose(s[0], s[1], scale, buffer, &choice, error);
        if (status != SM_OK || sm_tokenizer_is_end(tokenizer, choice.id))
            break;
        status = sm_detokenizer_feed(detokenizer, choice.id, &piece, &length, error);
        for (int k = 0; k < 2; k++)
            items[k] = (sm_batch_item){
                .struct_size = sizeof *items, .session = s[k], .ids = &choice.id, .n_ids = 1};
        if (status == SM_OK && fwrite(piece, 1, length, stdout) == length)
            status = sm_batch_step(batch, items, 2, error);
    }
    putchar('\n');
    sm_detokenizer_free(detokenizer);
    free(buffer);
    return status;
}

int main(int argc, char **argv) {
    const sm_encode_options how = {.struct_size = sizeof how, .flags = SM_ENCODE_MARKERS};
    sm_model *model = NULL;
    sm_tokenizer *tokenizer = NULL;
    sm_batch *batch = NULL;
    sm_session *sessions[2] = {NULL, NULL};
    sm_error error;
    if (argc != 5) {
        fprintf(stderr, "usage: guidance MODEL PROMPT NEGATIVE SCALE\n");
        return 2;
    }
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_model_get_tokenizer(model, &tokenizer, &error);
    if (status == SM_OK)
        status = sm_batch_new(&batch, model, NULL, &error);
    for (int i = 0; i < 2 && status == SM_OK; i++) {
        static int32_t ids[2048];
        uint64_t n;
        status = sm_batch_new_session(&sessions[i], batch, NULL, &error);
        if (status == SM_OK)
            status = sm_tokenizer_encode(tokenizer, argv[2 + i], strlen(argv[2 + i]), &how, ids,
                                         2048, &n, &error);
        if (status == SM_OK)
            status = sm_session_feed(sessions[i], ids, n, &error);
    }
    if (status == SM_OK)
        status = go_on(batch, sessions, tokenizer, atof(argv[4]), &error);
    if (status != SM_OK)
        fprintf(stderr, "guidance: %s\n", error.message);
    for (int i = 0; i < 2; i++)
        sm_session_free(sessions[i]);
    sm_batch_free(batch);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
    return status == SM_OK ? 0 : 1;
}
