/* plan.h - how a family's keys become blocks. Private to lib/nn: families use it, and read like
 * the paper; plan.c is the rest.
 *
 * Failures stick: the first one is what sm_net_plan returns, calls after it do nothing.
 */
#ifndef SM_PLAN_H
#define SM_PLAN_H

#include "net.h"

typedef struct sm_plan {
    sm_net *net;
    const sm_source *source;
    uint32_t n_embd, n_layer;
    uint32_t capacity;          /* of net->blocks */
    uint32_t asked_for;         /* bits of the keys that change the computation (plan.c) */
    uint64_t n_tensors, needed; /* in the file, UINT64_MAX: not known; so far in the plan */
    uint32_t joined;            /* see plan_joined */
    bool rms_key;               /* what LayerNorms add is under RMS norms' key */
    bool keyless;               /* what a layer has says whether it is one without experts */
    sm_status status;
    sm_error *error;
    char name[128]; /* of the last key */
} sm_plan;

/* ---- keys: `suffix` follows "<architecture>." ------------------------------------------- */

bool plan_has(sm_plan *p, const char *suffix);
void plan_fail(sm_plan *p, sm_status status, const char *suffix, const char *what);
uint32_t plan_u32(sm_plan *p, const char *suffix); /* a count in 1..2^24 */
uint32_t plan_u32_or(sm_plan *p, const char *suffix, uint32_t fallback);
uint32_t plan_count_or(sm_plan *p, const char *suffix, uint32_t fallback); /* may be 0 */
/* A count of a layer: the key holds one for all, or an array. */
uint32_t plan_of_layer(sm_plan *p, const char *suffix, uint32_t layer);
uint32_t plan_count_of_layer(sm_plan *p, const char *suffix, uint32_t layer); /* may be 0 */
/* Whether a layer's gate is cut off, and where: key activation_sparsity_scale, a number or one for
 * each layer. Minus infinity: it is not (nothing is below it). */
bool plan_sparse(sm_plan *p, uint32_t layer, double *deviations);
double plan_positive(sm_plan *p, const char *suffix);
double plan_positive_or(sm_plan *p, const char *suffix, double fallback);
double plan_number_or(sm_plan *p, const char *suffix, double fallback);
bool plan_bool_or(sm_plan *p, const char *suffix, bool fallback);

/* Leaves out the last nextn_predict_layers layers, which predict tokens after the next one: the
 * others do not read them. */
void plan_drop_drafts(sm_plan *p);
/* Whether the file has the tensor; false where it is still to be made. */
bool plan_has_tensor(sm_plan *p, const char *name);
bool plan_has_in_layer(sm_plan *p, uint32_t layer, const char *suffix);
/* Whether there is a file, not a model that is still to be made. */
bool plan_is_file(const sm_plan *p);

/* ---- parts of a layer ------------------------------------------------------------------- */

/* The rotation that keys rope.… describe, with the base under `base`; its number. neox: pairs are
 * (i, i + n/2). Call it once for each kind of layers. */
uint32_t plan_rope(sm_plan *p, const char *base, bool neox);
/* The same with that base, not stretched. */
uint32_t plan_rope_plain(sm_plan *p, double base, bool neox);
/* The number that layers without positions have. */
uint32_t plan_rope_none(sm_plan *p);
/* attention.sliding_window: the same for every layer (which layers have one, where not all have, is
 * another key, which is refused). */
uint32_t plan_window(sm_plan *p);
/* Whether a layer has the window where not all have: key attention.sliding_window_pattern, an array
 * of booleans or n, of n layers the first n - 1; `period` where there is no key. */
bool plan_windowed(sm_plan *p, uint32_t layer, uint32_t period);
/* A tensor of positions, a row for each of the context, is added to what tokens are embedded as. */
void plan_positions(sm_plan *p);
/* The tensor of types of tokens is added to what tokens are embedded as, if the file has it. */
void plan_types(sm_plan *p);
/* Tokens see those behind them: key attention.causal must say so, or not be there. */
void plan_both(sm_plan *p);
/* Heads of a layer as keys say; rope is 0 and window 0. */
sm_attn_params plan_heads(sm_plan *p, uint32_t layer);

/* Blocks of this kind, added after the call, have joined tensors (sm_join) unless the file has them
 * one by one; without the call those joins alone that any file may have, if it does. */
void plan_joined(sm_plan *p, const sm_kind *kind);

/* LayerNorms of q and k, of each head with gains of its own, if the file has them: into params;
 * bits of slots. */
uint32_t plan_head_norms(sm_plan *p, sm_attn_params *params);

/* Each adds a block to the end of the list. */
/* A norm by itself; of the embedding it comes first. */
void plan_norm(sm_plan *p, sm_wiring wiring);
/* Of a layer, of what the block before has left. */
void plan_layer_norm(sm_plan *p, uint32_t layer, sm_wiring wiring);
/* asked: bits of slots beside those that every block of the kind has. */
void plan_attention(sm_plan *p, uint32_t layer, sm_attn_params params, sm_wiring wiring,
                    uint32_t asked);
/* Keys attention.{q,kv}_lora_rank and, where heads are absorbed, key_length_mla and
 * value_length_mla, else key_length and value_length; the rotation is number `rope`. */
sm_latent_params plan_latent_heads(sm_plan *p, uint32_t layer, uint32_t rope);
void plan_latent(sm_plan *p, uint32_t layer, sm_latent_params params, sm_wiring wiring);
/* Before all others, and then one of each layer. */
void plan_inputs(sm_plan *p, uint32_t n);
void plan_layer_input(sm_plan *p, uint32_t layer, sm_wiring wiring);
/* If the file has it; a new model does. */
void plan_scale(sm_plan *p, uint32_t layer);
/* The same by a number that no file has. */
void plan_factor(sm_plan *p, uint32_t layer, double factor);
/* Streams (sm_kind_split): all layers' blocks stand between split and merge, those of a layer
 * between predict, which gives its number, and correct. */
void plan_split(sm_plan *p, uint32_t n);
uint32_t plan_predict(sm_plan *p, uint32_t layer);
void plan_correct(sm_plan *p, uint32_t layer, uint32_t predict);
void plan_merge(sm_plan *p);
void plan_laurel(sm_plan *p, uint32_t layer, uint32_t rank, sm_wiring wiring);
void plan_gated(sm_plan *p, uint32_t layer, sm_activation activation, sm_wiring wiring);
/* Of that inner width. */
void plan_gated_of(sm_plan *p, uint32_t layer, uint32_t n_ff, sm_activation activation,
                   sm_wiring wiring);
/* With a gate that is cut off where plan_sparse says so. */
void plan_gated_sparse(sm_plan *p, uint32_t layer, sm_activation activation, sm_wiring wiring);
void plan_plain(sm_plan *p, uint32_t layer, sm_activation activation, sm_wiring wiring,
                uint32_t asked);
/* Experts where key expert_count, and for this layer leading_dense_block_count and
 * interleave_moe_layer_step, say so, else a gated part. `usual` (NULL: mixtral's) is what holds
 * where no key says other; its activation is that of both. asked: as of plan_attention, of
 * experts. */
void plan_experts_or_gated(sm_plan *p, uint32_t layer, const sm_experts_params *usual,
                           sm_wiring wiring, uint32_t asked);
/* A gated part and experts beside each other; there are experts. */
void plan_gated_and_experts(sm_plan *p, uint32_t layer, const sm_experts_params *usual,
                            sm_wiring gated, sm_wiring wiring, uint32_t asked);
/* Key shortconv.l_cache. */
void plan_shortconv(sm_plan *p, uint32_t layer, sm_wiring wiring);
/* A matrix alone. */
void plan_linear(sm_plan *p, uint32_t layer, sm_wiring wiring);
void plan_head(sm_plan *p, sm_head_params params);

#define SM_FAMILY(name, plan) void plan(sm_plan *p);
#include "families/families.inc"
#undef SM_FAMILY

/* The family's function, NULL if there is none of that name. */
typedef void (*sm_family_fn)(sm_plan *p);
sm_family_fn sm_family_find(const char *architecture, uint64_t length, const char **name);
/* For messages: the families whose names begin as this one, comma separated, or how many there are;
 * cut off where it does not fit. */
void sm_family_list(const char *architecture, uint64_t length, char *text, size_t capacity);

#endif
