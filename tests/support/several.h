/* several.h - small models of families that carry different things from token to token, for tests
 * of what sessions do whatever the model is.
 */
#ifndef TEST_SEVERAL_H
#define TEST_SEVERAL_H

#include "fixture.h"

static const fixture_key several_latent[] = {
    {"attention.q_lora_rank", 'u', 20},    {"attention.kv_lora_rank", 'u', 20},
    {"attention.key_length_mla", 'u', 14}, {"attention.value_length_mla", 'u', 12},
    {"rope.dimension_count", 'u', 4},      {NULL, 0, 0}};
static const fixture_key several_expanded[] = {
    {"attention.q_lora_rank", 'u', 24}, {"attention.kv_lora_rank", 'u', 20},
    {"attention.key_length", 'u', 14},  {"attention.value_length", 'u', 18},
    {"rope.dimension_count", 'u', 4},   {NULL, 0, 0}};

static const fixture_key several_convolved[] = {
    {"attention.head_count_kv", 'l', 20}, {"shortconv.l_cache", 'u', 3}, {NULL, 0, 0}};

/* All tokens' keys; rings of a window beside them (layers 0 and 2); a latent for all heads, and
 * keys made of one; a mixture; what short convolutions read (layers 0 and 2). */
static const fixture_model several[] = {
    {.architecture = "llama", .seed = 1},
    {.architecture = "gemma2", .n_layer = 3, .head_dim = 24, .sliding_window = 20, .seed = 2},
    {.architecture = "gemma3", .n_layer = 7, .head_dim = 16, .sliding_window = 33, .seed = 3},
    {.architecture = "deepseek2",
     .n_head = 3,
     .n_embd = 48,
     .keys = several_latent,
     .rope_scaling = "yarn",
     .seed = 4},
    {.architecture = "deepseek2", .n_head = 3, .n_embd = 48, .keys = several_expanded, .seed = 5},
    {.architecture = "qwen3moe", .n_experts = 4, .n_used = 2, .seed = 6},
    {.architecture = "lfm2", .n_layer = 3, .keys = several_convolved, .seed = 7},
};
#define SEVERAL (sizeof several / sizeof *several)

#endif
