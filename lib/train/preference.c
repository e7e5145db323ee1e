/* A trainer's steps where answers are compared. */
#include "objective.h"

#include <math.h>

struct sm_preference {
    sm_trainer *trainer;
    sm_answers *answers;
    bool pairs, refers;
    /* log-probabilities by the reference, [entries of the data][2]; NaN: not computed yet */
    double (*reference)[2];
    double *losses, *weights; /* of a batch's spans */
};

void sm_preference_free(sm_preference *p) {
    if (!p)
        return;
    sm_mem *mem = p->trainer->mem;
    sm_answers_free(p->answers);
    sm_free(mem, p->reference);
    sm_free(mem, p->losses);
    sm_free(mem, p->weights);
    sm_free(mem, p);
}

static uint64_t count_entries(const sm_preference *p) {
    sm_dataset_info info;
    sm_dataset_get_info(p->trainer->dataset, &info);
    return info.train_documents + info.validation_documents;
}

sm_status sm_preference_new(sm_preference **out, sm_trainer *t, sm_error *error) {
    const sm_trainer_options *o = &t->options;
    *out = NULL;
    sm_preference *p = sm_alloc_zero(t->mem, sizeof *p);
    if (!p)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for an objective");
    p->trainer = t;
    p->pairs = sm_objective_pairs(o->objective);
    p->refers = sm_objective_refers(o->objective);
    const uint64_t n = count_entries(p), spans = 2 * (uint64_t)o->rows;
    p->losses = sm_alloc_array(t->mem, spans, sizeof *p->losses);
    p->weights = sm_alloc_array(t->mem, spans, sizeof *p->weights);
    if (p->refers)
        p->reference = sm_alloc_array(t->mem, n, sizeof *p->reference);
    sm_status status = SM_OK;
    if (!p->losses || !p->weights || (p->refers && !p->reference))
        status = sm_fail(error, SM_ERR_NOMEM, "out of memory for what the reference says");
    for (uint64_t i = 0; p->refers && !status && i < n; i++)
        p->reference[i][0] = p->reference[i][1] = (double)NAN;
    if (!status)
        status =
            sm_answers_new(&p->answers, t->mem, t->dataset, o->rows, o->sequence, p->pairs, error);
    if (status)
        sm_preference_free(p);
    else
        *out = p;
    return status;
}

sm_status sm_preference_skip(sm_preference *p, sm_error *error) {
    return sm_answers_next(p->answers, error);
}

sm_status sm_preference_can_validate(sm_preference *p, bool *any, sm_error *error) {
    const sm_entry *e;
    const sm_status status = sm_answers_validation(p->answers, true, error);
    *any = !status && sm_answers_entries(p->answers, &e) > 0;
    return status;
}

uint64_t sm_preference_tokens(const sm_trainer_options *o) {
    return (uint64_t)sm_preference_spans(o) * o->sequence;
}

uint32_t sm_preference_spans(const sm_trainer_options *o) {
    return (sm_objective_pairs(o->objective) ? 2 : 1) * o->rows;
}

/* ---- the reference ------------------------------------------------------------------------- */

static bool knows(const sm_preference *p, uint32_t side) {
    const sm_entry *e;
    const uint32_t n = sm_answers_entries(p->answers, &e);
    bool known = true;
    for (uint32_t i = 0; i < n; i++)
        known &= e[i].span[side] == UINT32_MAX || !isnan(p->reference[e[i].document][side]);
    return known;
}

/* What the reference says of the batch's answers: of each once. */
static sm_status refer(sm_preference *p, sm_error *error) {
    const sm_entry *e;
    const uint32_t n = sm_answers_entries(p->answers, &e);
    for (uint32_t side = 0; p->refers && side < 2; side++) {
        const sm_train_batch *batch = sm_answers_batch(p->answers, side);
        if (knows(p, side))
            continue;
        const sm_status status = sm_graph_answers(p->trainer->graph, batch, true, p->losses, error);
        if (status)
            return status;
        for (uint32_t k = p->pairs ? 0 : side; k < (p->pairs ? 2 : side + 1); k++)
            for (uint32_t i = 0; i < n; i++)
                if (e[i].span[k] != UINT32_MAX)
                    p->reference[e[i].document][k] = -p->losses[e[i].span[k]];
    }
    return SM_OK;
}

/* A hook that is asked within batches, too: where the entries are. */
typedef struct asked {
    const sm_hook *hook;
    uint64_t at, n;
} asked;

static int32_t ask(void *user) {
    const asked *a = user;
    return sm_hook_ends(a->hook, a->at, a->n);
}

sm_status sm_preference_refer(sm_preference *p, const sm_hook *hook, sm_error *error) {
    asked a = {.hook = hook, .n = count_entries(p)};
    sm_status status = SM_OK;
    sm_graph_set_cancel(p->trainer->graph, ask, &a);
    for (uint64_t next = 0; p->refers && next < a.n && !status; a.at = next) {
        const sm_entry *e;
        status = sm_answers_list(p->answers, &next, error);
        if (!status && sm_answers_entries(p->answers, &e))
            status = refer(p, error);
    }
    sm_graph_set_cancel(p->trainer->graph, NULL, NULL);
    return status;
}

/* ---- a batch ------------------------------------------------------------------------------- */

/* What is done with a batch whose losses are known. */
typedef struct judging {
    sm_preference *p;
    sm_trainer_update *update;
    double kl;
} judging;

static sm_answer answer_of(const sm_preference *p, const sm_entry *e, uint32_t side,
                           const double *losses) {
    return (sm_answer){.logp = -losses[e->span[side]],
                       .reference = p->refers ? p->reference[e->document][side] : 0,
                       .n = e->targets[side]};
}

/* Adds what an entry gives to what is told of the step. */
static void tell(sm_trainer_update *u, const sm_judgement *j, bool pair, bool good) {
    u->loss += j->loss;
    u->entries++;
    for (int i = 0; pair && i < 2; i++) {
        u->reward[i] += j->reward[i];
        u->answers[i]++;
    }
    if (!pair) {
        u->reward[good ? 0 : 1] += j->reward[0];
        u->answers[good ? 0 : 1]++;
    }
    u->right += pair || good ? j->reward[0] > j->reward[1] : j->reward[0] < j->reward[1];
}

/* From the losses of the batch's spans to what each counts (NULL: not wanted). */
static void judge(void *user, const double *losses, double *weights) {
    const judging *job = user;
    const sm_preference *p = job->p;
    const sm_trainer_options *o = &p->trainer->options;
    const sm_entry *e;
    const uint32_t n = sm_answers_entries(p->answers, &e);
    for (uint32_t i = 0; i < n; i++) {
        const sm_answer answer[2] = {answer_of(p, &e[i], 0, losses),
                                     p->pairs ? answer_of(p, &e[i], 1, losses) : (sm_answer){0}};
        const sm_judgement j =
            p->pairs ? sm_judge_pair(o, answer) : sm_judge_label(o, answer, e[i].good, job->kl);
        tell(job->update, &j, p->pairs, e[i].good);
        for (uint32_t side = 0; side < (p->pairs ? 2 : 1); side++) {
            job->update->targets += e[i].targets[side];
            if (weights) /* a loss is the negative of a log-probability */
                weights[e[i].span[side]] = -j.slope[side];
        }
    }
}

/* How far the model is from the reference, by answers of other entries; not below 0. */
static sm_status measure_kl(judging *job, sm_error *error) {
    sm_preference *p = job->p;
    const sm_train_batch *batch = sm_answers_batch(p->answers, 1);
    const sm_entry *e;
    const uint32_t n = sm_answers_entries(p->answers, &e);
    double sum = 0;
    if (p->pairs || !batch->n_spans)
        return SM_OK;
    const sm_status status = sm_graph_answers(p->trainer->graph, batch, false, p->losses, error);
    for (uint32_t i = 0; i < n && !status; i++)
        if (e[i].span[1] != UINT32_MAX)
            sum += -p->losses[e[i].span[1]] - p->reference[e[i].document][1];
    job->kl = sum > 0 ? sum / batch->n_spans : 0;
    job->update->tokens += batch->n_tokens;
    return status;
}

/* All that stands before the answers themselves are looked at. */
static sm_status prepare(judging *job, sm_error *error) {
    const sm_status status = refer(job->p, error);
    return status ? status : measure_kl(job, error);
}

sm_status sm_preference_backward(sm_preference *p, uint64_t draw, sm_trainer_update *update,
                                 sm_error *error) {
    judging job = {.p = p, .update = update};
    sm_status status = sm_answers_next(p->answers, error);
    if (!status)
        status = prepare(&job, error);
    if (status)
        return status;
    const sm_train_batch *batch = sm_answers_batch(p->answers, 0);
    update->tokens += batch->n_tokens;
    return sm_graph_backward_answers(p->trainer->graph, batch, draw, p->losses, p->weights, judge,
                                     &job, error);
}

sm_status sm_preference_evaluate(sm_preference *p, bool restart, bool *more,
                                 sm_trainer_update *update, sm_error *error) {
    judging job = {.p = p, .update = update};
    const sm_entry *e;
    sm_status status = sm_answers_validation(p->answers, restart, error);
    *more = !status && sm_answers_entries(p->answers, &e) > 0;
    if (status || !*more)
        return status;
    status = prepare(&job, error);
    if (!status)
        status = sm_graph_answers(p->trainer->graph, sm_answers_batch(p->answers, 0), false,
                                  p->losses, error);
    if (!status)
        judge(&job, p->losses, NULL);
    return status;
}
