/* Packing what changed, and loss and gradients of a batch. */
#include "graph.h"
#include "pack.h"
#include "teacher.h"

#include <string.h>

/* ---- update ---------------------------------------------------------------------- */

/* This thread's groups of a master of w's shape. */
static void pack_share(const sm_crew *crew, const sm_graph *g, const sm_weight *w,
                       const float *value, uint16_t *bf16) {
    uint64_t begin, end;
    sm_share((w->rows + SM_GROUP - 1) / SM_GROUP, crew->thread, crew->n_threads, &begin, &end);
    for (uint64_t i = begin; i < end && !sm_crew_stopped_at(crew, i - begin, SM_GROUP * w->cols);
         i++) {
        const float *from = value + i * SM_GROUP * w->cols;
        const uint64_t left = w->rows - i * SM_GROUP, n = left < SM_GROUP ? left : SM_GROUP;
        uint8_t *to = w->own_packed + i * w->group_bytes;
        if (w->type == SM_DTYPE_F32) {
            g->kernels->type[SM_DTYPE_F32].pack(to, from, w->cols * sizeof *from, n, w->cols);
            continue;
        }
        for (uint64_t j = 0; j < n * w->cols; j++)
            bf16[j] = sm_f32_to_bf16(from[j]);
        g->kernels->type[SM_DTYPE_BF16].pack(to, bf16, w->cols * sizeof *bf16, n, w->cols);
    }
}

static void pack_master(const sm_crew *crew, const sm_graph *g, const sm_master *master,
                        uint16_t *bf16) {
    if (master->value)
        pack_share(crew, g, master->w, master->value, bf16);
    if (master->lora) {
        const sm_weight *a = &master->lora->a, *b = &master->lora->b;
        if (!master->w->part) /* joined matrices share it */
            pack_share(crew, g, a, (const float *)(const void *)a->data, bf16);
        pack_share(crew, g, b, (const float *)(const void *)b->data, bf16);
    }
}

static void run_update(void *arg, uint32_t thread, uint32_t n_threads) {
    sm_graph *g = arg;
    const sm_crew crew = sm_graph_crew(g, thread, n_threads);
    uint16_t *bf16 = g->threads[thread].bf16;
    for (uint32_t i = 0; i < g->net->n_matrices; i++)
        pack_master(&crew, g, &g->masters[i], bf16);
}

sm_status sm_graph_update(sm_graph *g) {
    sm_graph_begin(g);
    g->lap_start = sm_time_ns();
    sm_team_run(g->team, run_update, g);
    sm_lap(g, SM_PART_UPDATE);
    return sm_graph_stopped(g) || sm_team_torn(g->team) ? SM_ERR_CANCELLED : SM_OK;
}

void sm_graph_times(const sm_graph *g, uint64_t times[SM_PART_COUNT]) {
    memcpy(times, g->times, sizeof g->times);
}

/* ---- a batch --------------------------------------------------------------------- */

static sm_status check_spans(const sm_graph *g, const sm_train_batch *batch, sm_error *error) {
    if (batch->n_tokens < 1 || batch->n_tokens > g->options.max_tokens)
        return sm_fail(error, SM_ERR_ARGUMENT, "a batch of %u tokens, not in 1..%u",
                       batch->n_tokens, g->options.max_tokens);
    if (batch->n_spans < 1 || batch->n_spans > g->options.max_spans)
        return sm_fail(error, SM_ERR_ARGUMENT, "a batch of %u spans, not in 1..%u", batch->n_spans,
                       g->options.max_spans);
    bool ok = batch->span_begin[0] == 0 && batch->span_begin[batch->n_spans] == batch->n_tokens;
    for (uint32_t i = 0; i < batch->n_spans && ok; i++)
        ok = batch->span_begin[i] < batch->span_begin[i + 1];
    const uint32_t most = g->net->positions.rows;
    for (uint32_t i = 0; i < batch->n_spans && ok && most; i++)
        if (batch->span_begin[i + 1] - batch->span_begin[i] > most)
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "a span of %u tokens, but the model knows no more than %u positions",
                           batch->span_begin[i + 1] - batch->span_begin[i], most);
    return ok ? SM_OK
              : sm_fail(error, SM_ERR_ARGUMENT,
                        "a batch whose spans do not cover its %u tokens in order", batch->n_tokens);
}

static sm_status check_tokens(const sm_graph *g, const sm_train_batch *batch, sm_error *error) {
    const uint32_t n_vocab = g->net->config.n_vocab;
    for (uint32_t i = 0; i < batch->n_tokens; i++)
        if ((uint32_t)batch->ids[i] >= n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "token %u of the batch is %d, not in 0..%u", i,
                           (int)batch->ids[i], n_vocab - 1);
        else if (batch->targets[i] < -1 ||
                 (batch->targets[i] >= 0 && (uint32_t)batch->targets[i] >= n_vocab))
            return sm_fail(error, SM_ERR_TOKEN, "target %u of the batch is %d, not in -1..%u", i,
                           (int)batch->targets[i], n_vocab - 1);
    return SM_OK;
}

/* Spans with caches cut from the arena; *n_rows tokens with a target. */
static void lay_out(sm_graph *g, const sm_train_batch *batch, uint32_t *n_rows) {
    const uint32_t type = sm_graph_kv_type(g);
    uint64_t at = 0;
    g->n_spans = batch->n_spans;
    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const uint32_t first = batch->span_begin[i], n = batch->span_begin[i + 1] - first;
        sm_state_share(&g->states[i], g->net, type, n, g->kv + i * g->net->n_states,
                       g->memory + at);
        g->spans[i] = (sm_span){.state = &g->states[i], .first = first, .n = n};
        at += sm_state_bytes(g->net, type, n);
    }
    *n_rows = 0;
    for (uint32_t i = 0; i < batch->n_tokens; i++)
        if (batch->targets[i] >= 0)
            g->rows[(*n_rows)++] = i;
}

/* How a batch is run. */
typedef struct batch_job {
    bool backward, base; /* base: without adapters */
    double weight;       /* of each token's loss in gradients */
    /* objectives of spans: their losses, and with backward what each counts */
    double *losses, *weights;
    sm_judge_fn weigh;
    void *user;
} batch_job;

static const sm_adapters no_adapters;

/* The head twice: what a token counts is known when all losses are. */
static sm_status run_weighed_head(sm_graph *g, const sm_train_batch *batch, const batch_job *job,
                                  sm_head_job *head, double *loss) {
    sm_status status = sm_graph_head(g, batch, head, loss);
    if (status || !job->backward)
        return status;
    job->weigh(job->user, job->losses, job->weights);
    for (uint32_t i = 0, span = 0; i < head->n_rows; i++) {
        while (batch->span_begin[span + 1] <= g->rows[i])
            span++;
        g->row_weights[i] = job->weights[span];
    }
    double again;
    return sm_graph_head(g, batch,
                         &(sm_head_job){.adapters = head->adapters,
                                        .n_rows = head->n_rows,
                                        .backward = true,
                                        .weights = g->row_weights},
                         &again);
}

static sm_status run_passes(sm_graph *g, const sm_train_batch *batch, const batch_job *job,
                            uint32_t n_rows, double *loss) {
    const sm_adapters *adapters = job->base ? &no_adapters : &g->adapters;
    const sm_step forward = {.n_tokens = batch->n_tokens,
                             .ids = batch->ids,
                             .n_spans = g->n_spans,
                             .spans = g->spans,
                             .cancel = g->stop.cancel,
                             .cancel_user = g->stop.cancel_user,
                             .tape = g->tape,
                             .adapters = adapters};
    sm_head_job head = {.adapters = adapters,
                        .n_rows = n_rows,
                        .backward = job->backward && !job->losses,
                        .weight = job->weight,
                        .span_losses = job->losses,
                        .teacher = job->backward && !job->losses ? g->teacher : NULL};
    g->lap_start = sm_time_ns();
    sm_status status = sm_forward(g->ws, g->team, &forward, NULL);
    if (!status && head.teacher)
        status = sm_teacher_forward(head.teacher, g->team, batch, &g->stop);
    sm_lap(g, SM_PART_FORWARD);
    if (!status)
        status = job->losses ? run_weighed_head(g, batch, job, &head, loss)
                             : sm_graph_head(g, batch, &head, loss);
    return status || !job->backward ? status : sm_graph_layers(g, batch);
}

static sm_status run_batch(sm_graph *g, const sm_train_batch *batch, const batch_job *job,
                           double *loss, uint64_t *n_targets, sm_error *error) {
    sm_status status = check_spans(g, batch, error);
    if (!status)
        status = check_tokens(g, batch, error);
    if (status)
        return status;
    uint32_t n_rows;
    const uint32_t process = sm_process_id();
    lay_out(g, batch, &n_rows);
    g->balance = g->unlike = 0;
    g->balance_weight =
        job->backward && !job->losses ? g->options.expert_balance * job->weight * n_rows : 0;
    g->adapters.dropout.rate = job->backward ? g->options.lora_dropout : 0;
    g->tape->begin = 0;
    g->tape->end = g->net->config.n_layer;
    if (job->losses)
        memset(job->losses, 0, batch->n_spans * sizeof *job->losses);
    sm_graph_begin(g);
    status = run_passes(g, batch, job, n_rows, loss);
    if (process != sm_process_id()) /* without the threads that it began with */
        return sm_fail(error, SM_ERR_STATE,
                       "this process was forked inside the call, by its cancel hook: here it ends");
    if (status)
        return sm_fail(error, status, "cancelled");
    if (n_targets)
        *n_targets = n_rows;
    return SM_OK;
}

sm_status sm_graph_loss(sm_graph *g, const sm_train_batch *batch, double *loss, uint64_t *n_targets,
                        sm_error *error) {
    uint64_t n = 0;
    sm_status status = run_batch(g, batch, &(batch_job){0}, loss, &n, error);
    if (status)
        return status;
    if (n)
        *loss /= (double)n;
    if (n_targets)
        *n_targets = n;
    return SM_OK;
}

sm_status sm_graph_answers(sm_graph *g, const sm_train_batch *batch, bool base, double *losses,
                           sm_error *error) {
    double all;
    return run_batch(g, batch, &(batch_job){.base = base, .losses = losses}, &all, NULL, error);
}

sm_status sm_graph_backward_answers(sm_graph *g, const sm_train_batch *batch, uint64_t draw,
                                    double *losses, double *weights, sm_judge_fn weigh, void *user,
                                    sm_error *error) {
    const batch_job job = {
        .backward = true, .losses = losses, .weights = weights, .weigh = weigh, .user = user};
    double all;
    g->adapters.dropout.draw = draw;
    return run_batch(g, batch, &job, &all, NULL, error);
}

double sm_graph_balance(const sm_graph *g) {
    return g->balance;
}

sm_status sm_graph_backward(sm_graph *g, const sm_train_batch *batch, double weight, uint64_t draw,
                            double *loss_sum, uint64_t *n_targets, sm_error *error) {
    g->adapters.dropout.draw = draw;
    return run_batch(g, batch, &(batch_job){.backward = true, .weight = weight}, loss_sum,
                     n_targets, error);
}
