/* What choosing a token costs: chains over vocabularies of 151,936 and 262,144 tokens.
 *
 *     bench_sample
 *
 * Logits are a bell with a few that stand out (peaked, as models have them), the bell alone (flat:
 * a tenth of the vocabulary has 95 % of the probability) or one a third as wide (level: three
 * quarters have). A line each: microseconds of a choice, the least of many.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sample/sample.h"
#include "support.h"

#define ROUNDS 60

static double normal(uint64_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(test_random(state) >> 11) * 0x1p-53;
    return sum;
}

enum { PEAKED, FLAT, LEVEL, N_SHAPES };

static void measure(const char *name, sm_mem *mem, uint32_t n_vocab, int shape,
                    const sm_sampling *o) {
    static const char *const shapes[] = {"peaked", "flat", "level"};
    float *logits = malloc(n_vocab * sizeof *logits);
    uint64_t state = 1, least = UINT64_MAX;
    for (uint32_t i = 0; i < n_vocab; i++)
        logits[i] = (float)((shape == LEVEL ? 1 : 3) * normal(&state)) +
                    (shape == PEAKED && i % 1500 == 7 ? 14.0f : 0.0f);
    sm_sampler *s;
    sm_chain chain;
    int32_t id;
    if (sm_sampler_new(&s, mem, sm_kernels_get(sm_level_best(SM_LEVEL_AUTO)), n_vocab, 64, NULL) ||
        sm_chain_take(&chain, o, n_vocab, NULL))
        exit(1);
    const sm_draw d = {.logits = logits};
    for (int i = 0; i < ROUNDS; i++) {
        chain.options.seed = (uint64_t)i;
        const uint64_t start = sm_time_ns();
        sm_sample(&id, s, &chain, &d, NULL);
        const uint64_t ns = sm_time_ns() - start;
        least = ns < least ? ns : least;
    }
    printf("%-28s %7u %-6s %9.1f us\n", name, n_vocab, shapes[shape], (double)least / 1e3);
    sm_sampler_free(s);
    free(logits);
}

int main(void) {
    static const struct {
        const char *name;
        sm_sampling o;
    } chains[] = {
        {"greedy", {.struct_size = sizeof(sm_sampling)}},
        {"temperature", {.struct_size = sizeof(sm_sampling), .temperature = 0.8}},
        {"top-k 40, top-p, min-p",
         {.struct_size = sizeof(sm_sampling),
          .temperature = 0.8,
          .top_k = 40,
          .top_p = 0.95,
          .min_p = 0.05}},
        {"top-p over everything",
         {.struct_size = sizeof(sm_sampling), .temperature = 0.8, .top_p = 0.95}},
        {"min-p over everything",
         {.struct_size = sizeof(sm_sampling), .temperature = 0.8, .min_p = 0.05}},
        {"top-n-sigma", {.struct_size = sizeof(sm_sampling), .temperature = 0.8, .top_n_sigma = 1}},
        {"typical over everything",
         {.struct_size = sizeof(sm_sampling), .temperature = 0.8, .typical_p = 0.9}},
        {"mirostat 2", {.struct_size = sizeof(sm_sampling), .temperature = 0.8, .mirostat = 2}},
    };
    sm_mem mem;
    sm_mem_init(&mem, NULL, 0, NULL);
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        for (int shape = 0; shape < N_SHAPES; shape++) {
            measure(chains[i].name, &mem, 151936, shape, &chains[i].o);
            measure(chains[i].name, &mem, 262144, shape, &chains[i].o);
        }
    return 0;
}
