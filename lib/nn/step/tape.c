/* The buffers of a tape. */
#include "step.h"

static void *own_array(sm_tape *tape, uint64_t n, uint64_t size, bool *failed) {
    void *p = sm_alloc_array(tape->mem, n ? n : 1, size);
    if (!p)
        *failed = true;
    else
        tape->owned[tape->n_owned++] = p;
    return p;
}

static float *own(sm_tape *tape, uint64_t rows, uint64_t stride, bool *failed) {
    uint64_t n;
    if (sm_mul_over(rows, stride, &n))
        n = UINT64_MAX;
    return own_array(tape, n, sizeof(float), failed);
}

static bool keeps(const sm_block *b, uint32_t buffer) {
    const sm_buffer *of = &b->kind->buffer[buffer];
    return (of->flags & SM_KEEP) && b->dims[of->width] && (!of->slot || b->v[of->slot]) &&
           (!(of->flags & SM_IF_CLAMPED) || b->attn.clamp > 0);
}

/* What the block keeps beside its input. */
static void own_block(sm_tape *tape, const sm_block *b, uint64_t T, bool *failed) {
    sm_places *at = &tape->blocks[b->index];
    for (uint32_t i = 0; i < b->kind->n_buffers; i++)
        if (keeps(b, i))
            at->buffer[i] = own(tape, T, b->ld[i], failed);
    if (b->wiring.post)
        at->y = own(tape, T, tape->ldx, failed);
}

static bool begins_layer(const sm_block *b) {
    return b->index == 0 || b[-1].layer != b->layer;
}

/* A block of an earlier layer of the same shape, in whose place this one's values go; keys and
 * values that others read stay where they are. */
static const sm_block *place_of(const sm_net *net, const sm_block *b) {
    for (uint32_t i = 0; i < b->index && !b->last_borrower; i++) {
        const sm_block *other = &net->blocks[i];
        bool same = other->kind == b->kind && other->layer != b->layer && !other->last_borrower &&
                    !other->wiring.post == !b->wiring.post &&
                    sm_block_beside(other) == sm_block_beside(b);
        for (uint32_t k = 0; k < b->kind->n_buffers && same; k++)
            same = other->ld[k] == b->ld[k] && keeps(other, k) == keeps(b, k);
        if (same)
            return other;
    }
    return b;
}

static void own_rotations(sm_tape *tape, const sm_net *net, uint64_t T, bool *failed) {
    tape->cos = own_array(tape, net->n_ropes, sizeof *tape->cos, failed);
    tape->sin = own_array(tape, net->n_ropes, sizeof *tape->sin, failed);
    for (uint32_t i = 0; i < net->n_ropes && !*failed; i++) {
        tape->cos[i] = own(tape, T, net->ropes[i].n_rot / 2, failed);
        tape->sin[i] = own(tape, T, net->ropes[i].n_rot / 2, failed);
    }
}

static void allocate(sm_tape *tape, const sm_net *net, uint64_t T, bool keep_layers, bool *failed) {
    own_rotations(tape, net, T, failed);
    tape->x = own(tape, T, tape->ldx, failed);
    for (uint32_t i = 0; i < net->n_blocks && !*failed; i++) {
        const sm_block *b = &net->blocks[i], *place = keep_layers ? b : place_of(net, b);
        if (place == b)
            own_block(tape, b, T, failed);
        else
            tape->blocks[i] = tape->blocks[place->index];
        if (sm_block_beside(b))
            tape->blocks[i].x = tape->blocks[i - 1].x;
        else if (place == b || begins_layer(b))
            tape->blocks[i].x = own(tape, T, tape->ldx, failed);
    }
    for (uint32_t i = 0; i < net->n_blocks; i++)
        tape->blocks[i].out = i + 1 < net->n_blocks ? tape->blocks[i + 1].x : tape->x;
}

/* Pointers to what is owned, at most. */
static uint64_t most_owned(const sm_net *net) {
    return net->n_blocks * (uint64_t)(SM_MAX_BUFFERS + 2) + 2 * (uint64_t)net->n_ropes + 3;
}

sm_status sm_tape_new(sm_tape **out, sm_mem *mem, const sm_net *net, uint32_t max_tokens,
                      bool keep_layers, sm_error *error) {
    bool failed = false;
    *out = NULL;
    sm_tape *tape = sm_alloc_zero(mem, sizeof *tape);
    if (!tape)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a tape");
    tape->mem = mem;
    tape->end = net->config.n_layer;
    tape->ldx = sm_net_ldx(net);
    tape->blocks = sm_alloc_zero(mem, net->n_blocks * sizeof *tape->blocks);
    tape->owned = sm_alloc_array(mem, most_owned(net), sizeof *tape->owned);
    if (tape->blocks && tape->owned)
        allocate(tape, net, max_tokens, keep_layers, &failed);
    if (!tape->blocks || !tape->owned || failed) {
        sm_tape_free(tape);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a tape of %u tokens", max_tokens);
    }
    *out = tape;
    return SM_OK;
}

void sm_tape_free(sm_tape *tape) {
    if (!tape)
        return;
    for (uint32_t i = 0; i < tape->n_owned; i++)
        sm_free(tape->mem, tape->owned[i]);
    sm_free(tape->mem, tape->owned);
    sm_free(tape->mem, tape->blocks);
    sm_free(tape->mem, tape);
}
