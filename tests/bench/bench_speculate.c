/* What speculation by look-up gains and costs: a model of random weights is fed a text as if it had
 * chosen it, with guesses and without, alternately.
 *
 *     bench_speculate [SHAPE [TYPE [THREADS]]]
 *
 * Texts: an answer that repeats the prompt but for one token in 20 (editing), tokens without any
 * pattern, and such in which three tokens come again and again and go on differently each time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "run/run.h"
#include "smallmind/experimental.h"
#include "support.h"

#define PROMPT 256
#define ANSWER 192
#define ROUNDS 2

static int32_t ids[PROMPT + ANSWER];
static uint64_t seed = 7;

static int32_t any(void) {
    return 1 + (int32_t)(test_random(&seed) % 30000);
}

static void editing(void) {
    for (int i = 0; i < PROMPT; i++)
        ids[i] = any();
    for (int i = 0; i < ANSWER; i++)
        ids[PROMPT + i] = test_random(&seed) % 20 ? ids[i] : any();
}

static void no_pattern(void) {
    for (int i = 0; i < PROMPT + ANSWER; i++)
        ids[i] = any();
}

static void broken_pattern(void) {
    for (int i = 0; i < PROMPT + ANSWER; i++)
        ids[i] = i % 6 < 3 ? 5 + i % 6 : any();
}

/* Seconds of decoding the answer. */
static double run(sm_session *s, bool look_up) {
    sm_chain chain;
    sm_error error = {0};
    int32_t id;
    sm_chain_take(&chain, NULL, s->model->net->config.n_vocab, NULL);
    if (sm_session_rewind_marked(s, 0, &error) ||
        sm_session_feed_marked(s, ids, PROMPT, NULL, &error))
        exit(fprintf(stderr, "%s\n", error.message));
    s->ahead.started = false;
    memset(&s->stats, 0, sizeof s->stats);
    sm_ahead_begin(s, look_up, NULL, 16, &error);
    const uint64_t start = sm_time_ns();
    for (uint32_t i = 0; i < ANSWER; i++) {
        sm_session_choose(s, &chain, NULL, NULL, 0, NULL, &id, &error);
        if (sm_ahead_feed(s, &chain, ids[PROMPT + i], ANSWER - 1 - i, &error))
            exit(fprintf(stderr, "%s\n", error.message));
    }
    return (double)(sm_time_ns() - start) * 1e-9;
}

/* Milliseconds of a step of n tokens behind the prompt. */
static double step_ms(sm_session *s, uint32_t n, float *rows) {
    double best = 1e9;
    for (int i = 0; i < 4; i++) {
        sm_session_rewind_marked(s, PROMPT, NULL);
        const uint64_t start = sm_time_ns();
        sm_session_feed_marked(s, ids + PROMPT, n, rows, NULL);
        const double ms = (double)(sm_time_ns() - start) * 1e-6;
        best = ms < best ? ms : best;
    }
    return best;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*fill)(void);
    } texts[] = {{"editing", editing}, {"no pattern", no_pattern}, {"broken", broken_pattern}};
    const char *shape = argc > 1 ? argv[1] : "llama3.2-1b", *type = argc > 2 ? argv[2] : "Q4_K";
    const sm_session_options o = {.struct_size = sizeof o,
                                  .n_ctx = 1024,
                                  .n_threads = argc > 3 ? (uint32_t)atoi(argv[3]) : 0};
    sm_model *model;
    sm_session *s;
    sm_error error;
    if (sm_model_random(&model, shape, type, 1, NULL, &error) ||
        sm_session_new(&s, model, &o, &error))
        return fprintf(stderr, "%s\n", error.message);
    float *rows = malloc(17 * sizeof *rows * model->net->config.n_vocab);
    no_pattern();
    run(s, false); /* repacks */
    printf("%s %s, %u threads; a step of n tokens in steps of one:", shape, type,
           test_info(s).n_threads);
    const double one = step_ms(s, 1, rows);
    for (uint32_t n = 1; rows && n <= 17; n = n < 4 ? n + 1 : 2 * n)
        printf("  %u: %.2f", n, step_ms(s, n, rows) / one);
    printf("\n");
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        double best[2] = {1e9, 1e9};
        texts[t].fill();
        for (int i = 0; i < 2 * ROUNDS; i++) {
            const double seconds = run(s, i % 2);
            best[i % 2] = seconds < best[i % 2] ? seconds : best[i % 2];
        }
        printf(
            "%-12s plain %.1f tokens/s, speculating %.1f: %.3f of it; %llu guessed, %llu right\n",
            texts[t].name, ANSWER / best[0], ANSWER / best[1], best[0] / best[1],
            (unsigned long long)s->stats.drafted_tokens,
            (unsigned long long)s->stats.accepted_tokens);
    }
    free(rows);
    sm_session_free(s);
    sm_model_free(model);
    return 0;
}
