/* vote.c - self-consistency (arXiv:2203.11171): several samples of one prompt, computed together;
 * what most of them answer is the answer. Here an answer is the last number of a sample, or its
 * last word.
 *
 *     cc vote.c $(pkg-config --cflags --libs smallmind) -o vote
 *     ./vote model.gguf "Tom has 3 apples and buys 4. How many has he now? " 8 64
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

#define MOST 32
#define TEXT 8192

typedef struct sample {
    sm_sampling sampling;
    sm_generate_options options;
    char text[TEXT];
    size_t length;
    char answer[64];
} sample;

static int32_t on_token(void *user, const sm_token *token) {
    sample *s = user;
    if (token->length >= TEXT - s->length)
        return 1;
    memcpy(s->text + s->length, token->text, token->length);
    s->length += token->length;
    s->text[s->length] = 0;
    return 0;
}

/* The last run of digits, or if there is none of letters. */
static void find_answer(sample *s) {
    for (int digits = 1; digits >= 0 && s->answer[0] == 0; digits--)
        for (size_t i = s->length; i-- > 0 && s->answer[0] == 0;) {
            size_t begin = i;
            while (begin > 0 && (digits ? isdigit : isalnum)((unsigned char)s->text[begin - 1]))
                begin--;
            if ((digits ? isdigit : isalnum)((unsigned char)s->text[i]))
                snprintf(s->answer, sizeof s->answer, "%.*s", (int)(i + 1 - begin),
                         s->text + begin);
        }
}

/* The answer that comes most often, of equal ones the first. */
static const char *vote(const sample *samples, uint32_t n, uint32_t *votes) {
    const char *best = "";
    *votes = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t same = 0;
        for (uint32_t k = 0; k < n; k++)
            same += strcmp(samples[i].answer, samples[k].answer) == 0;
        if (same > *votes && samples[i].answer[0] != 0) {
            *votes = same;
            best = samples[i].answer;
        }
    }
    return best;
}

static sm_status generate(sm_batch *batch, sm_session **sessions, sample *samples, uint32_t n,
                          const char *prompt, uint32_t length, sm_error *error) {
    sm_batch_text texts[MOST];
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < n && status == SM_OK; i++) {
        sample *s = &samples[i];
        s->sampling = (sm_sampling){.struct_size = sizeof s->sampling,
                                    .temperature = 0.7,
                                    .top_k = 40,
                                    .sequence = i}; /* draws of its own */
        s->options = (sm_generate_options){
            .struct_size = sizeof s->options, .max_tokens = length, .sampling = &s->sampling};
        status = sm_batch_new_session(&sessions[i], batch, NULL, error);
        texts[i] = (sm_batch_text){.struct_size = sizeof *texts,
                                   .session = sessions[i],
                                   .prompt = prompt,
                                   .length = SM_ZT,
                                   .options = &s->options,
                                   .on_token = on_token,
                                   .user = s};
    }
    return status == SM_OK ? sm_batch_generate(batch, texts, n, NULL, error) : status;
}

int main(int argc, char **argv) {
    static sample samples[MOST];
    sm_session *sessions[MOST] = {NULL};
    sm_model *model = NULL;
    sm_batch *batch = NULL;
    sm_error error;
    const int n = argc == 5 ? atoi(argv[3]) : 0, length = argc == 5 ? atoi(argv[4]) : 0;
    if (n < 1 || n > MOST || length < 1) {
        fprintf(stderr, "usage: vote MODEL PROMPT SAMPLES(1 to %d) LENGTH\n", MOST);
        return 2;
    }
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_batch_new(&batch, model, NULL, &error);
    if (status == SM_OK)
        status = generate(batch, sessions, samples, (uint32_t)n, argv[2], (uint32_t)length, &error);
    if (status == SM_OK) {
        uint32_t votes;
        for (int i = 0; i < n; i++) {
            find_answer(&samples[i]);
            printf("%d: %s\n", i, samples[i].answer);
        }
        const char *answer = vote(samples, (uint32_t)n, &votes);
        printf("answer: %s (%u of %d)\n", answer, votes, n);
    } else {
        fprintf(stderr, "vote: %s\n", error.message);
    }
    for (int i = 0; i < n; i++)
        sm_session_free(sessions[i]);
    sm_batch_free(batch);
    sm_model_free(model);
    return status == SM_OK ? 0 : 1;
}
