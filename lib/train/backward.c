/* The backward pass: head and loss in chunks of tokens, the layers in reverse, the embedding.
 * Run by every thread of the team at once, as the forward pass; see graph.h. */
#include "graph.h"
#include "teacher.h"

#include <math.h>
#include <string.h>

/* ---- head and loss --------------------------------------------------------------- */

/* One chunk of tokens whose logits are there. */
typedef struct head_run {
    sm_graph *g;
    const sm_train_batch *batch;
    const uint32_t *rows;  /* tokens */
    const double *weights; /* of their losses; NULL: weight */
    uint32_t n;
    double weight;
    bool backward;
    sm_teacher *teacher; /* whose logits are there, too; NULL: none */
} head_run;

/* -log softmax(logits)[target]; difference: NULL, or what is added to the gradient, `teaching`
 * times; capped: room for a row where the model caps them. With backward the
 * row becomes its gradient times weight, softmax - onehot(target). */
static double row_loss(const head_run *r, double weight, float *logits, int32_t target,
                       float *capped, double teaching, const float *difference) {
    const sm_kernels *k = r->g->kernels;
    const uint64_t n = r->g->net->config.n_vocab;
    const float max = logits[k->argmax(logits, n)];
    const double sum = k->sum_exp(logits, n, max);
    const double loss = log(sum) + (double)max - (double)logits[target];
    const float cap = sm_net_head(r->g->net)->head.cap;
    const float scale = sm_net_head(r->g->net)->head.scale;
    if (r->backward) {
        if (cap > 0)
            memcpy(capped, logits, n * sizeof *capped);
        k->exp_scale(logits, max, (float)(weight / sum), n);
        logits[target] -= (float)weight;
        if (difference)
            k->add_product(logits, difference, NULL, (float)teaching, n);
        if (cap > 0)
            k->soft_cap_grad(logits, capped, n, 1, cap);
        if (scale > 0)
            k->scale(logits, logits, scale, n);
    }
    return loss;
}

/* The loss of row i of the chunk, and with backward its gradient. */
static void run_row(const head_run *r, uint32_t i, uint32_t thread) {
    sm_graph *g = r->g;
    const sm_teacher *teacher = r->teacher;
    const float *difference = NULL;
    double weight = r->weights ? r->weights[i] : r->weight, teaching = 0;
    float *logits = g->logits + i * g->ldl;
    if (teacher) {
        g->unlikes[i] = sm_teacher_loss(r->teacher, logits, i, thread, &difference);
        teaching = weight * teacher->weight * teacher->temperature;
        weight *= 1 - teacher->weight;
    }
    g->losses[i] = row_loss(r, weight, logits, r->batch->targets[r->rows[i]],
                            g->threads[thread].logits, teaching, difference);
    if (teacher)
        g->losses[i] = (1 - teacher->weight) * g->losses[i] + teacher->weight * g->unlikes[i];
}

static void run_head(void *arg, uint32_t thread, uint32_t n_threads) {
    const head_run *r = arg;
    sm_graph *g = r->g;
    const sm_config *c = &g->net->config;
    const sm_block *head = sm_net_head(g->net);
    const sm_master *master = sm_master_of(g, head, SM_HEAD_OUTPUT);
    const uint64_t ldx = g->tape->ldx;
    const sm_backward b = {.crew = sm_graph_crew(g, thread, n_threads), .g = g, .T = r->n};
    uint64_t begin, end;
    sm_share(r->n, thread, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        if (sm_crew_stopped_at(&b.crew, i - begin, c->n_vocab))
            break;
        const uint32_t t = r->rows[i];
        run_row(r, (uint32_t)i, thread);
        if (r->backward)
            sm_norm_before(g->kernels, head, g->z + i * ldx, g->tape->x + t * ldx, c->norm_eps);
    }
    if (!r->backward)
        return;
    sm_team_barrier(g->team);
    sm_lap_of(&b, SM_PART_HEAD);
    sm_grad_bias(&b, g->blocks[head->index].v[SM_HEAD_BIAS], g->logits, g->ldl, r->n, c->n_vocab);
    sm_grad_weight(&b, master, g->logits, g->ldl, g->z, ldx, r->n, r->rows);
    sm_grad_input(&b, master, g->logits, g->ldl, r->n, r->rows, g->dz, ldx, false);
    sm_grad_norm(&b, g->dx, g->dz, g->tape->x, r->rows, r->n, head);
}

/* Of the calling thread, between runs of the team. */
static bool cancelled(sm_graph *g) {
    return sm_stop_now(&g->stop, true);
}

static void clear_dx(void *arg, uint32_t thread, uint32_t n_threads) {
    const head_run *r = arg;
    const sm_crew crew = sm_graph_crew(r->g, thread, n_threads);
    const uint64_t ldx = r->g->tape->ldx;
    uint64_t begin, end;
    sm_share(r->batch->n_tokens, thread, n_threads, &begin, &end);
    for (uint64_t t = begin; t < end && !sm_crew_stopped_at(&crew, t - begin, ldx); t++)
        memset(r->g->dx + t * ldx, 0, ldx * sizeof *r->g->dx);
}

/* Adds the losses of a chunk's tokens to those of the spans they are in; *span is that of the
 * chunk's first or before. */
static void add_losses(const head_run *r, uint32_t *span, double *losses) {
    for (uint32_t i = 0; i < r->n; i++) {
        while (r->batch->span_begin[*span + 1] <= r->rows[i])
            ++*span;
        losses[*span] += r->g->losses[i];
    }
}

sm_status sm_graph_head(sm_graph *g, const sm_train_batch *batch, const sm_head_job *job,
                        double *loss) {
    uint32_t span = 0;
    *loss = 0;
    if (job->backward)
        sm_team_run(g->team, clear_dx, &(head_run){.g = g, .batch = batch});
    for (uint32_t i = 0; i < job->n_rows; i += g->chunk) {
        head_run run = {.g = g,
                        .batch = batch,
                        .rows = g->rows + i,
                        .weights = job->weights ? job->weights + i : NULL,
                        .n = job->n_rows - i < g->chunk ? job->n_rows - i : g->chunk,
                        .weight = job->weight,
                        .backward = job->backward,
                        .teacher = job->teacher};
        if (cancelled(g))
            return SM_ERR_CANCELLED;
        sm_forward_logits(g->ws, g->team, job->adapters, &g->stop, g->tape->x, run.rows, run.n,
                          g->logits, g->ldl);
        if (job->teacher)
            sm_teacher_logits(job->teacher, g->team, &g->stop, run.rows, run.n);
        sm_lap(g, SM_PART_HEAD);
        if (cancelled(g)) /* the logits may be anything */
            return SM_ERR_CANCELLED;
        sm_team_run(g->team, run_head, &run);
        for (uint32_t t = 0; t < run.n; t++)
            *loss += g->losses[t];
        for (uint32_t t = 0; job->teacher && t < run.n; t++)
            g->unlike += g->unlikes[t];
        if (job->span_losses)
            add_losses(&run, &span, job->span_losses);
    }
    return cancelled(g) ? SM_ERR_CANCELLED : SM_OK;
}

/* ---- the layers and the embedding ------------------------------------------------------------ */

void sm_grad_embedding(const sm_backward *b, const int32_t *ids) {
    const sm_graph *g = b->g;
    const uint64_t width = g->net->config.n_embd;
    uint64_t begin, end;
    if (!g->embd_grad)
        return;
    sm_grad_columns(b, width, &begin, &end);
    for (uint64_t t = 0; t < b->T && begin < end && !sm_crew_stopped_at(&b->crew, t, width); t++) {
        float *row = g->embd_grad + (uint64_t)ids[t] * width;
        const float *dx = g->dx + t * g->tape->ldx;
        if (g->net->embd_scale > 0)
            g->kernels->add_product(row + begin, dx + begin, NULL, g->net->embd_scale, end - begin);
        else
            g->kernels->add(row + begin, row + begin, dx + begin, end - begin);
    }
}

static void grad_positions(const sm_backward *b) {
    const sm_graph *g = b->g;
    const uint64_t width = g->net->config.n_embd;
    uint64_t begin, end;
    sm_grad_columns(b, width, &begin, &end);
    for (uint32_t i = 0; i < g->n_spans; i++)
        for (uint64_t t = 0; t < g->spans[i].n && begin < end; t++) {
            if (sm_crew_stopped_at(&b->crew, t, width))
                break;
            float *row = g->positions_grad + t * width + begin;
            const float *dx = g->dx + (g->spans[i].first + t) * g->tape->ldx + begin;
            g->kernels->add(row, row, dx, end - begin);
        }
}

typedef struct layers_run {
    sm_graph *g;
    const sm_train_batch *batch;
    uint32_t begin, end; /* layers */
    bool cancelled[2];   /* before blocks of even and odd numbers */
    _Atomic uint32_t next_task;
} layers_run;

static void run_layers(void *arg, uint32_t thread, uint32_t n_threads) {
    layers_run *r = arg;
    sm_graph *g = r->g;
    const sm_backward b = {.crew = sm_graph_crew(g, thread, n_threads),
                           .g = g,
                           .T = r->batch->n_tokens,
                           .next_task = &r->next_task};
    const sm_block *first = sm_net_layer(g->net, r->begin);
    for (const sm_block *block = sm_net_layer(g->net, r->end); block-- > first;) {
        /* One decision for all: barriers of the block stand between this and its use, those of the
         * next block between its use and the next change. */
        bool *stop = &r->cancelled[block->index % 2];
        if (thread == 0) {
            atomic_store_explicit(&r->next_task, 0, memory_order_relaxed);
            *stop = sm_crew_stopped(&b.crew);
        }
        sm_grad_kind_of(block)->backward(&b, block);
        if (*stop)
            return;
    }
    if (r->begin == 0) {
        sm_team_barrier(g->team);
        sm_grad_embedding(&b, r->batch->ids);
        sm_grad_input_table(&b, r->batch->ids);
        if (g->positions_grad)
            grad_positions(&b);
        sm_lap_of(&b, SM_PART_ROWS);
    }
}

sm_status sm_graph_layers(sm_graph *g, const sm_train_batch *batch) {
    const uint32_t n_layer = g->net->config.n_layer;
    layers_run run = {.g = g, .batch = batch, .end = n_layer};
    atomic_init(&run.next_task, 0);
    if (!g->options.checkpoint_layers) {
        sm_team_run(g->team, run_layers, &run);
        return cancelled(g) ? SM_ERR_CANCELLED : SM_OK;
    }
    const sm_step again = {.n_tokens = batch->n_tokens,
                           .ids = batch->ids,
                           .n_spans = g->n_spans,
                           .spans = g->spans,
                           .cancel = g->stop.cancel,
                           .cancel_user = g->stop.cancel_user,
                           .tape = g->tape,
                           .adapters = &g->adapters};
    for (uint32_t i = n_layer; i-- > 0;) {
        g->tape->begin = run.begin = i;
        g->tape->end = run.end = i + 1;
        /* the last one's values are still there */
        if (i + 1 < n_layer && sm_forward(g->ws, g->team, &again, NULL))
            return SM_ERR_CANCELLED;
        sm_lap(g, SM_PART_FORWARD);
        sm_team_run(g->team, run_layers, &run);
        if (cancelled(g))
            return SM_ERR_CANCELLED;
    }
    return SM_OK;
}
