/* What a sequence carries. */
#include "state.h"

static void place(sm_kv *kv, const sm_block *b, uint32_t type, uint32_t n_ctx) {
    sm_kv_place(kv, b->attn.n_head_kv, b->attn.head_dim, type, n_ctx, NULL, NULL);
}

/* Of keys, or values: the next part begins on a cache line again. */
static uint64_t part_bytes(const sm_kv *kv) {
    return (sm_kv_bytes(kv) + SM_ALIGN - 1) / SM_ALIGN * SM_ALIGN;
}

sm_status sm_state_init(sm_state *state, sm_mem *mem, const sm_net *net, uint32_t type,
                        uint32_t n_ctx, sm_error *error) {
    uint64_t total = 0, at = 0;
    bool over = false;
    *state = (sm_state){.n = net->n_states, .type = type, .capacity = n_ctx};
    state->kv = sm_alloc_array(mem, state->n ? state->n : 1, sizeof *state->kv);
    if (!state->kv)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a KV cache");
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind->has_state) {
            sm_kv *kv = &state->kv[net->blocks[i].state];
            place(kv, &net->blocks[i], type, n_ctx);
            over = over || sm_add_over(total, 2 * part_bytes(kv), &total);
        }
    /* not zeroed: pages come into use as tokens do (sm_kv_store clears each new tile) */
    state->memory = over ? NULL : sm_alloc(mem, total);
    if (!state->memory && total) {
        sm_state_free(state, mem);
        return sm_fail(error, SM_ERR_NOMEM,
                       "out of memory for a KV cache of %u tokens (%llu bytes)", n_ctx,
                       (unsigned long long)total);
    }
    for (uint32_t i = 0; i < state->n; i++) {
        sm_kv *kv = &state->kv[i];
        kv->k = state->memory + at;
        kv->v = kv->k + part_bytes(kv);
        at += 2 * part_bytes(kv);
    }
    return SM_OK;
}

void sm_state_free(sm_state *state, sm_mem *mem) {
    sm_free(mem, state->memory);
    sm_free(mem, state->kv);
    *state = (sm_state){0};
}

void sm_state_share(sm_state *state, const sm_net *net, uint32_t type, uint32_t n_ctx, sm_kv *kv,
                    uint8_t *memory) {
    *state = (sm_state){.n = net->n_states, .type = type, .capacity = n_ctx, .kv = kv};
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind->has_state) {
            sm_kv *part = &kv[net->blocks[i].state];
            place(part, &net->blocks[i], type, n_ctx);
            part->k = memory;
            part->v = memory + part_bytes(part);
        }
}

uint64_t sm_state_bytes(const sm_net *net, uint32_t type, uint32_t n_ctx) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind->has_state) {
            sm_kv kv;
            place(&kv, &net->blocks[i], type, n_ctx);
            most = 2 * part_bytes(&kv) > most ? 2 * part_bytes(&kv) : most;
        }
    return most;
}

uint32_t sm_state_rewinds_to(const sm_state *state, uint32_t from, uint32_t to) {
    (void)state;
    return to < from ? to : from;
}

bool sm_state_copy(sm_state *to, const sm_state *from, uint32_t n, const sm_hook *hook) {
    for (uint32_t i = 0; i < from->n; i++)
        if (!sm_kv_copy(&to->kv[i], &from->kv[i], n, hook))
            return false;
    return true;
}
