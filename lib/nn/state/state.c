/* What a sequence carries. */
#include "state.h"

static void place(sm_kv *kv, const sm_block *b, uint32_t type, uint32_t n_ctx, uint32_t n_step) {
    const sm_attn_params *p = &b->attn;
    const bool keyless = !sm_block_attends(b);
    if (keyless)
        type = SM_KV_F32;
    if (n_step && p->window)
        sm_kv_place_ring(kv, p->n_head_kv, p->head_dim, type, n_ctx, p->window, n_step);
    else
        sm_kv_place(kv, p->n_head_kv, p->head_dim, type, n_ctx, NULL, NULL);
    kv->keyless = keyless;
}

/* Of keys, or values: the next part begins on a cache line again. */
static uint64_t part_bytes(const sm_kv *kv) {
    return (sm_kv_bytes(kv) + SM_ALIGN - 1) / SM_ALIGN * SM_ALIGN;
}

static uint64_t all_bytes(const sm_kv *kv) {
    return (kv->keyless ? 1 : 2) * part_bytes(kv);
}

/* k and v, from there on. */
static void set_places(sm_kv *kv, uint8_t *memory) {
    kv->k = kv->keyless ? NULL : memory;
    kv->v = kv->keyless ? memory : memory + part_bytes(kv);
}

sm_status sm_state_init(sm_state *state, sm_mem *mem, const sm_net *net, uint32_t type,
                        uint32_t n_ctx, uint32_t n_step, sm_error *error) {
    uint64_t total = 0, at = 0;
    bool over = false;
    *state = (sm_state){.n = net->n_states, .type = type, .capacity = n_ctx};
    state->kv = sm_alloc_array(mem, state->n ? state->n : 1, sizeof *state->kv);
    if (!state->kv)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a KV cache");
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (sm_block_keeps(&net->blocks[i])) {
            sm_kv *kv = &state->kv[net->blocks[i].state];
            place(kv, &net->blocks[i], type, n_ctx, n_step);
            over = over || sm_add_over(total, all_bytes(kv), &total);
        }
    /* not zeroed: pages come into use as tokens do (sm_kv_store clears each new tile) */
    state->memory = over ? NULL : sm_alloc(mem, total);
    if (!state->memory && total) {
        sm_state_free(state, mem);
        return sm_fail(error, SM_ERR_NOMEM,
                       "out of memory for a KV cache of %u tokens (%llu bytes)", n_ctx,
                       (unsigned long long)total);
    }
    state->bytes = total;
    for (uint32_t i = 0; i < state->n; i++) {
        sm_kv *kv = &state->kv[i];
        set_places(kv, state->memory + at);
        at += all_bytes(kv);
    }
    return SM_OK;
}

void sm_state_free(sm_state *state, sm_mem *mem) {
    sm_free(mem, state->memory);
    sm_free(mem, state->kv);
    *state = (sm_state){0};
}

/* Whether the part is read after its block is done. */
static bool lends(const sm_block *b) {
    return b->last_borrower != 0;
}

static uint64_t most_bytes(const sm_net *net, uint32_t type, uint32_t n_ctx) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind->has_state) {
            sm_kv kv;
            place(&kv, &net->blocks[i], type, n_ctx, 0);
            most = all_bytes(&kv) > most ? all_bytes(&kv) : most;
        }
    return most;
}

void sm_state_share(sm_state *state, const sm_net *net, uint32_t type, uint32_t n_ctx, sm_kv *kv,
                    uint8_t *memory) {
    uint64_t at = most_bytes(net, type, n_ctx);
    *state = (sm_state){.n = net->n_states, .type = type, .capacity = n_ctx, .kv = kv};
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (sm_block_keeps(&net->blocks[i])) {
            sm_kv *part = &kv[net->blocks[i].state];
            place(part, &net->blocks[i], type, n_ctx, 0);
            set_places(part, lends(&net->blocks[i]) ? memory + at : memory);
            at += lends(&net->blocks[i]) ? all_bytes(part) : 0;
        }
}

uint64_t sm_state_bytes(const sm_net *net, uint32_t type, uint32_t n_ctx) {
    uint64_t bytes = most_bytes(net, type, n_ctx);
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (lends(&net->blocks[i])) {
            sm_kv kv;
            place(&kv, &net->blocks[i], type, n_ctx, 0);
            bytes += all_bytes(&kv);
        }
    return bytes;
}

void sm_state_begin(sm_state *state, uint32_t position, uint32_t n) {
    if (!position) /* nothing is behind: rings begin anew */
        state->reached = state->floor = 0;
    if (state->reached < position + n)
        state->reached = position + n;
}

double sm_state_read_bytes(const sm_state *state, const sm_net *net, uint32_t position,
                           uint32_t n) {
    double bytes = 0;
    for (uint32_t i = 0; i < net->n_blocks; i++) {
        const sm_block *b = &net->blocks[i];
        if (!b->kind->has_state)
            continue;
        const sm_kv *kv = &state->kv[b->state];
        bytes += (double)kv->n_head_kv * (double)(2 * kv->head_bytes / kv->capacity) *
                 (position + n - sm_window_begin(b->attn.window, position));
    }
    return bytes;
}

uint32_t sm_state_oldest(const sm_kv *kv, uint32_t reached) {
    const uint32_t end = (reached + 15) / 16 * 16;
    return end > kv->capacity ? end - kv->capacity : 0;
}

uint32_t sm_state_rewinds_to(const sm_state *state, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; i < state->n; i++) {
        const sm_kv *kv = &state->kv[i];
        const uint32_t seen = sm_window_begin(kv->window, to);
        if (kv->window && (seen < sm_state_oldest(kv, state->reached) || seen < state->floor))
            return 0;
    }
    return to < from ? to : from;
}

bool sm_state_copy(sm_state *to, const sm_state *from, uint32_t n, const sm_hook *hook) {
    /* of a ring that was behind n already all that is there */
    for (uint32_t i = 0; i < from->n; i++)
        if (!sm_kv_copy(&to->kv[i], &from->kv[i], from->kv[i].window ? from->reached : n, hook))
            return false;
    to->reached = from->reached;
    to->floor = from->floor;
    return true;
}
