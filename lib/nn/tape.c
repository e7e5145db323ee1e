/* The buffers of a tape. */
#include "nn.h"

#define PER_LAYER 11
#define PER_TAPE 3 /* cos, sin, the last output */

static float *own(sm_tape *tape, uint64_t rows, uint64_t stride, bool *failed) {
    uint64_t n;
    float *p = sm_mul_over(rows, stride, &n) ? NULL : sm_alloc_array(tape->mem, n, sizeof *p);
    if (!p)
        *failed = true;
    else
        tape->owned[tape->n_owned++] = p;
    return p;
}

/* All but x and out. */
static void allocate_layer(sm_tape *tape, sm_tape_layer *l, const sm_config *c, uint64_t T,
                           bool *failed) {
    if (c->family->qk_norm) {
        l->q_raw = own(tape, T, tape->ldq, failed);
        l->k_raw = own(tape, T, tape->ldkv, failed);
    }
    l->q = own(tape, T, tape->ldq, failed);
    l->k = own(tape, T, tape->ldkv, failed);
    l->v = own(tape, T, tape->ldkv, failed);
    l->att = own(tape, T, tape->ldq, failed);
    l->lse = own(tape, T, c->n_head, failed);
    l->mid = own(tape, T, tape->ldx, failed);
    l->gate = own(tape, T, tape->ldh, failed);
    l->up = own(tape, T, tape->ldh, failed);
}

static void allocate(sm_tape *tape, const sm_config *c, uint64_t T, bool keep_layers,
                     bool *failed) {
    sm_tape_layer *layers = tape->layers;
    tape->cos = own(tape, T, c->n_rot / 2, failed);
    tape->sin = own(tape, T, c->n_rot / 2, failed);
    tape->x = own(tape, T, tape->ldx, failed);
    for (uint32_t i = 0; i < c->n_layer && !*failed; i++) {
        if (keep_layers || i == 0)
            allocate_layer(tape, &layers[i], c, T, failed);
        else
            layers[i] = layers[0];
        layers[i].x = own(tape, T, tape->ldx, failed);
    }
    for (uint32_t i = 0; i < c->n_layer; i++)
        layers[i].out = i + 1 < c->n_layer ? layers[i + 1].x : tape->x;
}

sm_status sm_tape_new(sm_tape **out, sm_mem *mem, const sm_net *net, uint32_t max_tokens,
                      bool keep_layers, sm_error *error) {
    const sm_config *c = &net->config;
    bool failed = false;
    *out = NULL;
    sm_tape *tape = sm_alloc_zero(mem, sizeof *tape);
    if (!tape)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a tape");
    tape->mem = mem;
    tape->end = c->n_layer;
    tape->ldx = sm_row_stride(c->n_embd);
    tape->ldq = sm_row_stride((uint64_t)c->n_head * c->head_dim);
    tape->ldkv = sm_row_stride((uint64_t)c->n_head_kv * c->head_dim);
    tape->ldh = sm_row_stride(c->n_ff);
    tape->layers = sm_alloc_zero(mem, c->n_layer * sizeof *tape->layers);
    tape->owned =
        sm_alloc_array(mem, (uint64_t)c->n_layer * PER_LAYER + PER_TAPE, sizeof *tape->owned);
    if (tape->layers && tape->owned)
        allocate(tape, c, max_tokens, keep_layers, &failed);
    if (!tape->layers || !tape->owned || failed) {
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
    sm_free(tape->mem, tape->layers);
    sm_free(tape->mem, tape);
}
