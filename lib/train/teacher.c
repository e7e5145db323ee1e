/* Distillation (arXiv:1503.02531): beside its text a model learns what a teacher says of it, that
 * is softmax of the teacher's logits by a temperature. */
#include "teacher.h"

#include <math.h>
#include <string.h>

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for a teacher");
}

static sm_status add_buffers(sm_teacher *t, uint32_t max_tokens, uint32_t max_spans, uint32_t chunk,
                             sm_error *error) {
    const uint64_t n_vocab = t->net->config.n_vocab, spans = max_spans;
    t->ldl = sm_row_stride(n_vocab);
    t->spans = sm_alloc_array(t->mem, spans, sizeof *t->spans);
    t->states = sm_alloc_array(t->mem, spans, sizeof *t->states);
    t->kv = sm_alloc_array(t->mem, spans * t->net->n_states + 1, sizeof *t->kv);
    t->memory =
        sm_alloc(t->mem, sm_state_bytes(t->net, SM_KV_F32, max_tokens + 15 * max_spans) +
                             spans * sm_state_bytes(t->net, SM_KV_F32, 0) + 2 * SM_ALIGN * spans);
    t->logits = sm_alloc_array(t->mem, chunk * t->ldl, sizeof *t->logits);
    t->room = sm_alloc_zero(t->mem, t->n_threads * sizeof *t->room);
    for (uint32_t i = 0; t->room && i < t->n_threads; i++) {
        t->room[i] = sm_alloc_array(t->mem, 2 * t->ldl, sizeof *t->room[i]);
        if (!t->room[i])
            return no_memory(error);
    }
    return t->spans && t->states && t->kv && t->memory && t->logits && t->room ? SM_OK
                                                                               : no_memory(error);
}

sm_status sm_teacher_new(sm_teacher **out, sm_mem *mem, const sm_source *source,
                         const sm_kernels *kernels, const sm_teacher_options *o, sm_error *error) {
    *out = NULL;
    sm_teacher *t = sm_alloc_zero(mem, sizeof *t);
    if (!t)
        return no_memory(error);
    t->mem = mem;
    t->weight = o->weight;
    t->temperature = o->temperature;
    t->n_threads = o->n_threads;
    sm_status status = sm_net_load(&t->net, mem, source, kernels, SM_ROUND_NONE, NULL, NULL, error);
    if (!status && t->net->config.n_vocab != o->n_vocab)
        status = sm_fail(error, SM_ERR_SHAPE,
                         "%s cannot teach: its vocabulary has %u rows, the model's %u",
                         source->path, t->net->config.n_vocab, o->n_vocab);
    if (!status)
        status = sm_tape_new(&t->tape, mem, t->net, o->max_tokens, false, error);
    if (!status)
        status = sm_workspace_new(&t->ws, mem, t->net, o->n_threads, o->max_tokens, o->max_tokens,
                                  error);
    if (!status)
        status = add_buffers(t, o->max_tokens, o->max_spans, o->chunk, error);
    if (status)
        sm_teacher_free(t);
    else
        *out = t;
    return status;
}

void sm_teacher_free(sm_teacher *t) {
    if (!t)
        return;
    sm_workspace_free(t->ws);
    sm_tape_free(t->tape);
    sm_net_free(t->net);
    for (uint32_t i = 0; t->room && i < t->n_threads; i++)
        sm_free(t->mem, t->room[i]);
    sm_free(t->mem, t->room);
    sm_free(t->mem, t->spans);
    sm_free(t->mem, t->states);
    sm_free(t->mem, t->kv);
    sm_free(t->mem, t->memory);
    sm_free(t->mem, t->logits);
    sm_free(t->mem, t);
}

sm_status sm_teacher_forward(sm_teacher *t, sm_team *team, const sm_train_batch *batch,
                             sm_stop *stop) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const uint32_t first = batch->span_begin[i], n = batch->span_begin[i + 1] - first;
        sm_state_share(&t->states[i], t->net, SM_KV_F32, n, t->kv + i * t->net->n_states,
                       t->memory + at);
        t->spans[i] = (sm_span){.state = &t->states[i], .first = first, .n = n};
        at += sm_state_bytes(t->net, SM_KV_F32, n);
    }
    t->tape->begin = 0;
    t->tape->end = t->net->config.n_layer;
    return sm_forward(t->ws, team,
                      &(sm_step){.n_tokens = batch->n_tokens,
                                 .ids = batch->ids,
                                 .n_spans = batch->n_spans,
                                 .spans = t->spans,
                                 .cancel = stop->cancel,
                                 .cancel_user = stop->cancel_user,
                                 .tape = t->tape},
                      NULL);
}

void sm_teacher_logits(sm_teacher *t, sm_team *team, sm_stop *stop, const uint32_t *rows,
                       uint32_t n) {
    sm_forward_logits(t->ws, team, NULL, stop, t->tape->x, rows, n, t->logits, t->ldl);
}

/* Softmax in place; returns the logarithm of what it was divided by. */
static double softmax(const sm_kernels *k, float *x, uint64_t n) {
    const float max = x[k->argmax(x, n)];
    const double sum = k->sum_exp(x, n, max);
    k->exp_scale(x, max, (float)(1 / sum), n);
    return log(sum) + (double)max;
}

double sm_teacher_loss(sm_teacher *t, const float *logits, uint32_t i, uint32_t thread,
                       const float **difference) {
    const sm_kernels *k = t->net->kernels;
    const uint64_t n = t->net->config.n_vocab;
    float *theirs = t->logits + i * t->ldl, *p = t->room[thread], *q = p + t->ldl;
    const float by = (float)(1 / t->temperature);
    double sum = 0;
    k->scale(p, theirs, by, n);
    k->scale(q, logits, by, n);
    memcpy(theirs, p, n * sizeof *p);
    for (uint64_t j = 0; j < n; j++)
        theirs[j] -= q[j];
    const double own = softmax(k, q, n), other = softmax(k, p, n);
    for (uint64_t j = 0; j < n; j++)
        sum += (double)p[j] * (double)theirs[j];
    for (uint64_t j = 0; j < n; j++)
        q[j] -= p[j];
    *difference = q;
    return t->temperature * t->temperature * (sum + own - other);
}
