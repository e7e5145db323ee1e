/* beam.c - beam search: of all continuations, the likeliest that are found by going on, token by
 * token, with the WIDTH likeliest so far. Beams are sessions of one batch: a step computes a token
 * of each, and the prompt was computed once.
 *
 *     cc beam.c $(pkg-config --cflags --libs smallmind) -lm -o beam
 *     ./beam model.gguf "Once upon a time" 4 16
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <smallmind/smallmind.h>

#define MOST 64 /* beams, and tokens of each */

typedef struct beam {
    sm_session *session; /* holds the prompt and the ids; NULL: the text has ended */
    int32_t ids[MOST];
    uint32_t n;
    double logprob; /* of the ids, together */
} beam;

/* Puts a candidate where it belongs among the best `width`; how many there are then. */
static uint32_t keep(beam *best, uint32_t n, uint32_t width, const beam *candidate) {
    uint32_t at = n;
    while (at > 0 && best[at - 1].logprob < candidate->logprob)
        at--;
    if (at == width)
        return n;
    n = n < width ? n + 1 : n;
    memmove(best + at + 1, best + at, (n - 1 - at) * sizeof *best);
    best[at] = *candidate;
    return n;
}

/* All continuations of one beam by a token, by the logits of its session. */
static sm_status extend(const beam *from, beam *best, uint32_t *n_best, uint32_t width,
                        sm_error *error) {
    const float *logits;
    uint64_t n_vocab;
    const sm_status status = sm_session_logits(from->session, &logits, &n_vocab, error);
    double top = -INFINITY, sum = 0;
    for (uint64_t i = 0; status == SM_OK && i < n_vocab; i++)
        top = fmax(top, (double)logits[i]);
    for (uint64_t i = 0; status == SM_OK && i < n_vocab; i++)
        sum += exp((double)logits[i] - top);
    for (uint64_t i = 0; status == SM_OK && i < n_vocab; i++) {
        beam next = *from;
        next.ids[next.n++] = (int32_t)i;
        next.logprob += (double)logits[i] - top - log(sum);
        *n_best = keep(best, *n_best, width, &next);
    }
    return status;
}

/* One token more: beams[*n] become the best of their continuations, each with a session that has
 * its last token fed. Texts end by an end token; never without a tokenizer. */
static sm_status step(sm_batch *batch, const sm_tokenizer *tokenizer, uint32_t width, beam *beams,
                      uint32_t *n, sm_error *error) {
    sm_batch_item items[MOST];
    beam old[MOST];
    uint32_t n_old = *n, n_items = 0;
    sm_status status = SM_OK;
    memcpy(old, beams, n_old * sizeof *old);
    *n = 0;
    for (uint32_t i = 0; i < n_old && status == SM_OK; i++)
        if (old[i].session == NULL)
            *n = keep(beams, *n, width, &old[i]);
        else
            status = extend(&old[i], beams, n, width, error);
    for (uint32_t i = 0; i < *n; i++) {
        const int32_t *last = &beams[i].ids[beams[i].n - 1];
        sm_session *parent = beams[i].session;
        beams[i].session = NULL;
        if (parent == NULL || (tokenizer != NULL && sm_tokenizer_is_end(tokenizer, *last)))
            continue;
        if (status == SM_OK)
            status = sm_session_fork(&beams[i].session, parent, NULL, error);
        items[n_items++] = (sm_batch_item){
            .struct_size = sizeof *items, .session = beams[i].session, .ids = last, .n_ids = 1};
    }
    for (uint32_t i = 0; i < n_old; i++)
        sm_session_free(old[i].session);
    return status == SM_OK ? sm_batch_step(batch, items, n_items, error) : status;
}

int main(int argc, char **argv) {
    const sm_batch_options o = {.struct_size = sizeof o, .n_sequences = MOST};
    const sm_encode_options how = {.struct_size = sizeof how, .flags = SM_ENCODE_MARKERS};
    const int width = argc == 5 ? atoi(argv[3]) : 0, length = argc == 5 ? atoi(argv[4]) : 0;
    static beam beams[MOST]; /* at first one, of no tokens */
    static int32_t ids[2048];
    sm_model *model = NULL;
    sm_tokenizer *tokenizer = NULL;
    sm_batch *batch = NULL;
    sm_error error;
    uint64_t n_ids, size;
    uint32_t n = 1;
    if (width < 1 || width > MOST || length < 1 || length > MOST) {
        fprintf(stderr, "usage: beam MODEL PROMPT WIDTH LENGTH (1 to %d)\n", MOST);
        return 2;
    }
    sm_status status = sm_model_load(&model, argv[1], NULL, &error);
    if (status == SM_OK)
        status = sm_model_get_tokenizer(model, &tokenizer, &error);
    if (status == SM_OK)
        status = sm_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), &how, ids, 2048, &n_ids,
                                     &error);
    if (status == SM_OK)
        status = sm_batch_new(&batch, model, &o, &error);
    if (status == SM_OK)
        status = sm_batch_new_session(&beams[0].session, batch, NULL, &error);
    if (status == SM_OK)
        status = sm_session_feed(beams[0].session, ids, n_ids, &error);
    for (int i = 0; i < length && status == SM_OK; i++)
        status = step(batch, tokenizer, (uint32_t)width, beams, &n, &error);
    for (uint32_t i = 0; i < n; i++) {
        char text[4096];
        if (status == SM_OK)
            status = sm_tokenizer_decode(tokenizer, beams[i].ids, beams[i].n, SM_DECODE_KEEP_SPACE,
                                         text, sizeof text, &size, &error);
        if (status == SM_OK)
            printf("%9.4f %.*s\n", beams[i].logprob, (int)size, text);
        sm_session_free(beams[i].session);
    }
    if (status != SM_OK)
        fprintf(stderr, "beam: %s\n", error.message);
    sm_batch_free(batch);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
    return status == SM_OK ? 0 : 1;
}
