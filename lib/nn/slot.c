/* What the tables of kinds say about names. */
#include "block.h"

#include <string.h>

static const sm_kind *const kinds[SM_KIND_COUNT] = {
    [SM_KIND_ATTENTION] = &sm_kind_attention,
    [SM_KIND_GATED] = &sm_kind_gated,
    [SM_KIND_EXPERTS] = &sm_kind_experts,
    [SM_KIND_HEAD] = &sm_kind_head,
};

const sm_kind *sm_kind_get(sm_kind_id id) {
    return kinds[id];
}

static const char *wiring_name(const sm_block *b, uint32_t slot) {
    return slot == SM_SLOT_POST ? b->wiring.post : b->wiring.pre;
}

void sm_slot_name(const sm_block *b, uint32_t slot, char *name, size_t capacity) {
    const char *suffix = b->kind->slot[slot].suffix;
    size_t n = 0;
    if (b->kind != &sm_kind_head)
        n = sm_format(name, capacity, "blk.%u.", b->layer);
    if (n >= capacity)
        return;
    if (suffix)
        sm_format(name + n, capacity - n, "%s", suffix);
    else
        sm_format(name + n, capacity - n, "%s.%s", wiring_name(b, slot),
                  slot == SM_SLOT_PRE_BIAS ? "bias" : "weight");
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
    return NULL;
}
