/* What choosing a token costs: chains over vocabularies of 151,936 and 262,144 tokens.
 *
 *     bench_sample
 *
 * Logits are a bell with a few that stand out (as models have them), or the bell alone: then half a
 * vocabulary is in the nucleus. A line each: microseconds of a choice, the least of many.
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

static void measure(const char *name, sm_mem *mem, uint32_t n_vocab, bool flat,
                    const sm_sampling *o) {
    float *logits = malloc(n_vocab * sizeof *logits);
    uint64_t state = 1, least = UINT64_MAX;
    for (uint32_t i = 0; i < n_vocab; i++)
        logits[i] = (float)(3 * normal(&state)) + (!flat && i % 1500 == 7 ? 14.0f : 0.0f);
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
    printf("%-28s %7u %-6s %9.1f us\n", name, n_vocab, flat ? "flat" : "peaked",
           (double)least / 1e3);
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
        for (int flat = 0; flat < 2; flat++) {
            measure(chains[i].name, &mem, 151936, flat, &chains[i].o);
            measure(chains[i].name, &mem, 262144, flat, &chains[i].o);
        }
    return 0;
}
