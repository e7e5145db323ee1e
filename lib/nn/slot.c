/* What the tables of kinds say about names. */
#include "block.h"

#include <string.h>

static const sm_kind *const kinds[SM_KIND_COUNT] = {
    [SM_KIND_ATTENTION] = &sm_kind_attention, [SM_KIND_LATENT] = &sm_kind_latent,
    [SM_KIND_INPUTS] = &sm_kind_inputs,       [SM_KIND_LAYER_INPUT] = &sm_kind_layer_input,
    [SM_KIND_SCALE] = &sm_kind_scale,         [SM_KIND_GATED] = &sm_kind_gated,
    [SM_KIND_PLAIN] = &sm_kind_plain,         [SM_KIND_EXPERTS] = &sm_kind_experts,
    [SM_KIND_NORM] = &sm_kind_norm,           [SM_KIND_HEAD] = &sm_kind_head,
    [SM_KIND_SPLIT] = &sm_kind_split,         [SM_KIND_PREDICT] = &sm_kind_predict,
    [SM_KIND_CORRECT] = &sm_kind_correct,     [SM_KIND_MERGE] = &sm_kind_merge,
    [SM_KIND_LAUREL] = &sm_kind_laurel,       [SM_KIND_LINEAR] = &sm_kind_linear,
    [SM_KIND_SHORTCONV] = &sm_kind_shortconv,
};

const sm_kind *sm_kind_get(sm_kind_id id) {
    return kinds[id];
}

static const char *wiring_name(const sm_block *b, uint32_t slot) {
    return slot == SM_SLOT_SUM    ? b->wiring.sum
           : slot == SM_SLOT_POST ? b->wiring.post
                                  : b->wiring.pre;
}

/* "blk.N." and suffix or, where that is NULL, what the wiring calls it. */
static void full_name(const sm_block *b, uint32_t slot, const char *suffix, char *name,
                      size_t capacity) {
    size_t n = 0;
    if (!b->kind->outside)
        n = sm_format(name, capacity, "blk.%u.", b->layer);
    if (n >= capacity)
        return;
    if (suffix)
        sm_format(name + n, capacity - n, "%s", suffix);
    else
        sm_format(name + n, capacity - n, "%s.%s", wiring_name(b, slot),
                  slot == SM_SLOT_PRE_BIAS ? "bias" : "weight");
}

const sm_join *sm_slot_join(const sm_block *b, uint32_t slot) {
    for (uint32_t i = 0; i < b->kind->n_joins; i++) {
        const sm_join *join = &b->kind->join[i];
        if ((b->joined >> i & 1) && slot >= join->first && slot < (uint32_t)join->first + join->n)
            return join;
    }
    return NULL;
}

uint32_t sm_slot_part(const sm_block *b, uint32_t slot) {
    const sm_join *join = sm_slot_join(b, slot);
    return join ? slot - join->first : 0;
}

uint32_t sm_slot_rows(const sm_block *b, uint32_t slot) {
    const sm_join *join = sm_slot_join(b, slot);
    uint32_t rows = join ? 0 : b->dims[b->kind->slot[slot].rows];
    for (uint32_t i = 0; join && i < join->n; i++)
        rows += b->dims[b->kind->slot[join->first + i].rows];
    return rows;
}

void sm_join_name(const sm_block *b, const sm_join *join, char *name, size_t capacity) {
    full_name(b, join->first, join->suffix, name, capacity);
}

void sm_slot_own_name(const sm_block *b, uint32_t slot, char *name, size_t capacity) {
    const char *suffix = b->kind->slot[slot].suffix;
    if (b->kind == &sm_kind_experts && slot == SM_EXPERTS_CHOICE_BIAS && b->experts.short_name)
        suffix = "exp_probs_b";
    full_name(b, slot, suffix, name, capacity);
}

void sm_slot_name(const sm_block *b, uint32_t slot, char *name, size_t capacity) {
    const sm_join *join = sm_slot_join(b, slot);
    if (join)
        sm_join_name(b, join, name, capacity);
    else
        sm_slot_own_name(b, slot, name, capacity);
}

bool sm_slot_wanted(const sm_block *b, uint32_t slot) {
    return b->kind->slot[slot].when == SM_MUST || (b->asked >> slot & 1);
}

/* What follows "blk.N." */
static const char *suffix_of(const char *name) {
    if (strncmp(name, "blk.", 4) != 0)
        return name;
    const char *at = name + 4;
    while (*at >= '0' && *at <= '9')
        at++;
    return at > name + 4 && *at == '.' ? at + 1 : name;
}

const sm_slot *sm_slot_by_name(const char *name) {
    const char *suffix = suffix_of(name);
    for (uint32_t k = 0; k < SM_KIND_COUNT; k++)
        for (uint32_t i = 0; i < kinds[k]->n_slots; i++) {
            const sm_slot *slot = &kinds[k]->slot[i];
            if (slot->suffix && strcmp(slot->suffix, suffix) == 0)
                return slot;
        }
    for (uint32_t k = 0; k < SM_KIND_COUNT; k++)
        for (uint32_t i = 0; i < kinds[k]->n_joins; i++)
            if (strcmp(kinds[k]->join[i].suffix, suffix) == 0)
                return &kinds[k]->slot[kinds[k]->join[i].first];
    return NULL;
}
