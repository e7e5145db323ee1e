/* The training loop's pieces: step, evaluate; what a trainer says of itself; opening one is in
 * trainer_open.c. */
#include "objective.h"
#include "trainer.h"

#include <math.h>

#define LN2 0.69314718055994530942

sm_status sm_trainer_begin(sm_trainer *t, bool lent, sm_error *error) {
    const uint32_t process = sm_process_id();
    const sm_status status =
        (lent ? sm_use_begin_lent : sm_use_begin)(&t->use, process, "trainer", error);
    if (!status)
        t->process = process;
    return status;
}

sm_status sm_trainer_look(sm_trainer *t, sm_trained *out, sm_error *error) {
    const sm_trainer_options *o = &t->options;
    const sm_status status = sm_trainer_begin(t, true, error);
    if (status)
        return status;
    const double root = o->lora_rs ? sqrt((double)o->lora_rank) : 1;
    *out = (sm_trained){.mem = t->mem,
                        .source = t->source,
                        .net = sm_graph_net(t->graph),
                        .params = sm_graph_params(t->graph),
                        .lora_rank = o->lora_rank,
                        .lora_alpha = o->lora_alpha * root,
                        .hook = sm_trainer_hook(t)};
    return SM_OK;
}

/* Weights that are looked at between two questions: a millisecond or less. */
#define CHECKED_WEIGHTS ((uint64_t)1 << 18)

sm_status sm_trainer_check(sm_trainer *t, sm_error *error) {
    const sm_params *params = sm_graph_params(t->graph);
    const sm_hook hook = sm_trainer_hook(t);
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        const uint64_t size = p->rows * p->cols, piece = CHECKED_WEIGHTS;
        for (uint64_t at = 0, n; at < size; at += n) {
            n = size - at < piece ? size - at : piece;
            const uint64_t bad = sm_first_not_finite(p->value + at, n);
            if (bad < n)
                return sm_fail(error, SM_ERR_DIVERGED,
                               "step %llu: row %llu of tensor '%s' is not finite: a lower learning "
                               "rate may help",
                               (unsigned long long)t->step,
                               (unsigned long long)((at + bad) / p->cols), p->name);
            if (sm_hook_ends(&hook, 0, 1))
                return sm_fail(error, SM_ERR_CANCELLED, "saving was cancelled");
        }
    }
    return SM_OK;
}

sm_status sm_trainer_ready(sm_trainer *t, sm_error *error) {
    const sm_status status = sm_trainer_settle(t, error);
    return status ? status : sm_trainer_check(t, error);
}

void sm_trainer_end(sm_trainer *t) {
    if (sm_use_end(&t->use))
        sm_trainer_free(t);
}

void sm_trainer_free(sm_trainer *t) {
    if (!t || !sm_use_free(&t->use))
        return;
    sm_mem *mem = t->mem;
    sm_optim_free(t->optim);
    sm_preference_free(t->preference);
    sm_graph_free(t->graph);
    sm_teacher_free(t->teacher);
    sm_source_close(t->teacher_source);
    sm_free(mem, t->teacher_path);
    sm_dataset_free(t->dataset);
    sm_tokenizer_free(t->tokenizer);
    sm_source_close(t->source);
    sm_free(mem, t->targets);
    sm_free(mem, t->separator);
    sm_free(mem, t->path);
    sm_cancel_free(t->flag);
    sm_free(mem, t);
    sm_mem_destroy(mem);
}

static const sm_wide info_wide[] = {SM_WIDE_FROM(sm_trainer_info, n_params), {0, 0, 0}};

sm_status sm_trainer_get_info(const sm_trainer *t, sm_trainer_info *info, sm_error *error) {
    if (!t)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_get_info: trainer is NULL");
    sm_dataset_info data;
    sm_dataset_get_info(t->dataset, &data);
    const sm_trainer_info full = {
        .level = sm_graph_net(t->graph)->kernels->level,
        .n_threads = t->options.n_threads,
        .n_vocab = (uint32_t)sm_tokenizer_n_vocab(t->tokenizer),
        .n_params = sm_graph_params(t->graph)->n_elements,
        .steps = t->options.steps,
        .step = t->step,
        .tokens = t->tokens,
        .epoch = t->epoch,
        .train_documents = data.train_documents,
        .validation_documents = data.validation_documents,
        .train_bytes = data.train_bytes,
        .validation_bytes = data.validation_bytes,
        .heap_bytes = atomic_load_explicit(&t->mem->in_use, memory_order_relaxed),
        .heap_peak = atomic_load_explicit(&t->mem->peak, memory_order_relaxed),
        .epochs = t->epochs,
        .updating = t->updating,
    };
    return sm_struct_give(info, &full, sizeof full, info_wide, "sm_trainer_get_info", error);
}

uint64_t sm_trainer_steps_left(const sm_trainer *t) {
    return t && t->step < t->options.steps && !t->diverged ? t->options.steps - t->step : 0;
}

sm_status sm_trainer_set_cancel(sm_trainer *t, int32_t (*cancel)(void *user), void *user,
                                sm_error *error) {
    if (!t)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_set_cancel: trainer is NULL");
    const sm_status status = sm_trainer_begin(t, true, error);
    if (status)
        return status;
    t->ask.cancel = cancel;
    t->ask.user = user;
    sm_trainer_set_hook(t);
    sm_trainer_end(t);
    return SM_OK;
}

static int32_t ask_trainer(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return sm_graph_ask(user);
}

sm_hook sm_trainer_hook(sm_trainer *t) {
    return (sm_hook){ask_trainer, t->graph};
}

/* ---- step --------------------------------------------------------------------------------- */

typedef struct job {
    sm_trainer *trainer;
    sm_crew_fn fn;
    void *arg;
} job;

static void as_crew(void *arg, uint32_t thread, uint32_t n_threads) {
    const job *j = arg;
    const sm_crew crew = sm_graph_crew(j->trainer->graph, thread, n_threads);
    j->fn(&crew, j->arg);
}

/* Runs fn on the trainer's team. SM_ERR_CANCELLED: the hook said so, or forked and this is the
 * child, and fn left out some. */
static sm_status run_crew(sm_trainer *t, sm_crew_fn fn, void *arg) {
    sm_graph_begin(t->graph);
    sm_team_run(sm_graph_team(t->graph), as_crew, &(job){t, fn, arg});
    return sm_graph_stopped(t->graph) || sm_team_torn(sm_graph_team(t->graph)) ? SM_ERR_CANCELLED
                                                                               : SM_OK;
}

static void zero_grad(const sm_crew *crew, void *params) {
    sm_params_zero_grad(crew, params);
}

static void measure(const sm_crew *crew, void *arg) {
    sm_trainer_update *u = arg;
    const double norm = sm_optim_grad_norm(crew, u->optim) * u->scale;
    if (crew->thread == 0)
        u->norm = norm;
}

static void apply(const sm_crew *crew, void *arg) {
    const sm_trainer_update *u = arg;
    const double clip = u->clip > 0 && u->norm > u->clip ? u->clip / u->norm : 1;
    sm_optim_step(crew, u->optim, u->lr, u->scale * clip);
}

static sm_status cancelled(const sm_trainer *t, sm_error *error) {
    if (t->process != sm_process_id())
        return sm_fail(error, SM_ERR_STATE,
                       "this process was forked inside the call, by its cancel hook: here it ends");
    return sm_fail(error, SM_ERR_CANCELLED, "cancelled after step %llu",
                   (unsigned long long)t->step);
}

/* Adds the gradients of a batch, with its summed loss and its tokens. */
static sm_status add_batch(sm_trainer *t, uint64_t draw, sm_trainer_update *u, sm_error *error) {
    sm_train_batch batch;
    double sum;
    uint64_t n;
    if (t->preference)
        return sm_preference_backward(t->preference, draw, u, error);
    sm_status status = sm_dataset_next(t->dataset, &batch, error);
    if (!status)
        status = sm_graph_backward(t->graph, &batch, 1.0, draw, &sum, &n, error);
    if (status)
        return status;
    u->loss += sum;
    u->balance += sm_graph_balance(t->graph) * (double)n;
    u->unlike += sm_graph_unlike(t->graph);
    u->targets += n;
    u->tokens += batch.n_tokens - sm_dataset_padding(t->dataset);
    return SM_OK;
}

/* The same of all batches of the step. */
static sm_status accumulate(sm_trainer *t, sm_trainer_update *u, sm_error *error) {
    if (run_crew(t, zero_grad, (void *)(uintptr_t)sm_graph_params(t->graph)))
        return cancelled(t, error);
    for (uint32_t i = 0; i < t->options.accumulate; i++) {
        const sm_status status = add_batch(t, t->step * t->options.accumulate + i, u, error);
        if (status)
            return status == SM_ERR_CANCELLED ? cancelled(t, error) : status;
    }
    return SM_OK;
}

/* The gradient of the next step and its norm: all that it takes to update the weights. */
static sm_status prepare_step(sm_trainer *t, sm_error *error) {
    sm_trainer_update *u = &t->update;
    *u = (sm_trainer_update){.optim = t->optim,
                             .lr = sm_schedule_lr(&t->schedule, t->step),
                             .clip = t->options.no_clip ? 0 : t->options.clip};
    sm_status status = accumulate(t, u, error);
    if (!status && !u->targets)
        status = sm_fail(error, SM_ERR_STATE, "step %llu has no token to learn",
                         (unsigned long long)t->step + 1);
    if (status)
        return status;
    u->scale = 1.0 / (double)(t->preference ? u->entries : u->targets);
    if (run_crew(t, measure, u))
        return cancelled(t, error);
    if (isfinite(u->loss) && isfinite(u->norm))
        return SM_OK;
    t->diverged = true;
    return sm_fail(error, SM_ERR_DIVERGED,
                   "step %llu: the %s is not finite (loss %g, gradient norm %g): a lower learning "
                   "rate may help",
                   (unsigned long long)t->step + 1, isfinite(u->loss) ? "gradient" : "loss",
                   u->loss * u->scale, u->norm);
}

sm_status sm_trainer_settle(sm_trainer *t, sm_error *error) {
    sm_trainer_update *u = &t->update;
    if (u->stage == SM_UPDATE_MIXED)
        return sm_fail(error, SM_ERR_STATE, "resuming was cancelled: resume a checkpoint first");
    if (u->stage == SM_UPDATE_WEIGHTS) {
        if (run_crew(t, apply, u))
            return cancelled(t, error);
        u->stage = SM_UPDATE_PACKED;
    }
    if (u->stage == SM_UPDATE_NONE)
        return SM_OK;
    if (sm_graph_update(t->graph))
        return cancelled(t, error);
    u->stage = SM_UPDATE_NONE;
    t->updating = false;
    t->step++;
    t->tokens += u->targets;
    sm_data_cursor cursor;
    sm_dataset_cursor(t->dataset, &cursor);
    t->epoch = cursor.epoch;
    t->epochs = sm_dataset_epochs(t->dataset);
    return SM_OK;
}

static const sm_wide metrics_wide[] = {SM_WIDE_FROM(sm_train_metrics, step), {0, 0, 0}};

/* Of good answers, or the others. */
static double mean_reward(const sm_trainer_update *u, int side) {
    return u->answers[side] ? u->reward[side] / (double)u->answers[side] : 0;
}

static double accuracy_of(const sm_trainer_update *u) {
    return u->entries ? (double)u->right / (double)u->entries : 0;
}

/* Of the step that has just been done, in `ns`. */
static sm_status give_metrics(const sm_trainer *t, uint64_t ns, sm_train_metrics *metrics,
                              sm_error *error) {
    const sm_trainer_update *u = &t->update;
    if (!metrics)
        return SM_OK;
    const double good = mean_reward(u, 0), bad = mean_reward(u, 1);
    const sm_train_metrics full = {.step = t->step,
                                   .loss = u->loss * u->scale,
                                   .expert_balance = u->balance * u->scale,
                                   .grad_norm = u->norm,
                                   .lr = u->lr,
                                   .targets = u->targets,
                                   .seconds = (double)ns * 1e-9,
                                   .tokens = u->tokens,
                                   .chosen_reward = good,
                                   .rejected_reward = bad,
                                   .reward_margin = good - bad,
                                   .teacher_loss = u->unlike * u->scale,
                                   .accuracy = accuracy_of(u)};
    return sm_struct_give(metrics, &full, sizeof full, metrics_wide, "sm_trainer_step", error);
}

static void begin_update(sm_trainer *t) {
    t->update.stage = SM_UPDATE_WEIGHTS;
    t->updating = true;
}

static sm_status step(sm_trainer *t, sm_train_metrics *metrics, sm_error *error) {
    if (metrics &&
        sm_struct_check(metrics, sizeof *metrics, metrics_wide, "sm_trainer_step", error))
        return SM_ERR_ARGUMENT;
    if (t->diverged)
        return sm_fail(error, SM_ERR_DIVERGED, "training diverged at step %llu",
                       (unsigned long long)t->step + 1);
    const uint64_t start = sm_time_ns();
    sm_status status = SM_OK;
    if (t->update.stage == SM_UPDATE_MIXED)
        return sm_trainer_settle(t, error);
    if (!status && t->update.stage == SM_UPDATE_NONE) {
        if (t->step >= t->options.steps)
            return sm_fail(error, SM_ERR_STATE, "all %llu steps are done",
                           (unsigned long long)t->options.steps);
        sm_data_cursor cursor;
        sm_dataset_cursor(t->dataset, &cursor);
        status = prepare_step(t, error);
        if (status)
            sm_dataset_seek(t->dataset, &cursor, NULL);
        else
            begin_update(t);
    }
    if (!status)
        status = sm_trainer_settle(t, error);
    return status ? status : give_metrics(t, sm_time_ns() - start, metrics, error);
}

sm_status sm_trainer_step(sm_trainer *t, sm_train_metrics *metrics, sm_error *error) {
    if (!t)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_step: trainer is NULL");
    sm_status status = sm_trainer_begin(t, false, error);
    if (status)
        return status;
    status = step(t, metrics, error);
    sm_trainer_end(t);
    return status;
}

static sm_status train(sm_trainer *t, uint64_t steps, sm_train_step_fn on_step, void *user,
                       sm_error *error) {
    if (t->diverged) /* has no steps left either, but for another reason */
        return step(t, NULL, error);
    const uint64_t left = sm_trainer_steps_left(t);
    for (uint64_t n = steps && steps < left ? steps : left; n > 0; n--) {
        sm_train_metrics metrics = {.struct_size = sizeof metrics};
        const sm_status status = step(t, &metrics, error);
        if (status)
            return status;
        if (!on_step)
            continue;
        sm_use_lend(&t->use);
        const int32_t stop = on_step(user, &metrics);
        sm_use_take_back(&t->use);
        if (stop)
            return sm_fail(error, SM_ERR_CANCELLED, "on_step ended training after step %llu",
                           (unsigned long long)t->step);
    }
    return SM_OK;
}

sm_status sm_trainer_train(sm_trainer *t, uint64_t steps, sm_train_step_fn on_step, void *user,
                           sm_error *error) {
    if (!t)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_train: trainer is NULL");
    sm_status status = sm_trainer_begin(t, false, error);
    if (status)
        return status;
    status = train(t, steps, on_step, user, error);
    sm_trainer_end(t);
    return status;
}

static const sm_wide evaluation_wide[] = {SM_WIDE_FROM(sm_train_evaluation, loss), {0, 0, 0}};

/* Adds the loss and the targets of the next batch. */
static sm_status add_validation(sm_trainer *t, bool restart, bool *more, sm_trainer_update *u,
                                sm_error *error) {
    sm_train_batch batch;
    double loss;
    uint64_t n;
    sm_status status = sm_dataset_validation(t->dataset, restart, &batch, more, error);
    if (status || !*more)
        return status;
    status = sm_graph_loss(t->graph, &batch, &loss, &n, error);
    if (status)
        return status;
    u->loss += n ? loss * (double)n : 0;
    u->targets += n;
    return SM_OK;
}

static sm_status evaluate(sm_trainer *t, sm_train_evaluation *result, sm_error *error) {
    if (sm_struct_check(result, sizeof *result, evaluation_wide, "sm_trainer_evaluate", error))
        return SM_ERR_ARGUMENT;
    sm_dataset_info info;
    sm_dataset_get_info(t->dataset, &info);
    if (!info.validation_documents)
        return sm_fail(error, SM_ERR_STATE, "there is no validation data: set option validation");
    sm_status settled = sm_trainer_settle(t, error);
    if (settled)
        return settled;
    const uint64_t start = sm_time_ns();
    sm_trainer_update u = {.loss = 0};
    bool more = true;
    for (bool restart = true; more; restart = false) {
        const sm_status status =
            t->preference ? sm_preference_evaluate(t->preference, restart, &more, &u, error)
                          : add_validation(t, restart, &more, &u, error);
        if (status)
            return status;
    }
    if (!isfinite(u.loss))
        return sm_fail(error, SM_ERR_DIVERGED,
                       "step %llu: the validation loss is not finite: a lower learning rate may "
                       "help",
                       (unsigned long long)t->step);
    const bool text = info.validation_bytes && sm_dataset_is_text(t->dataset);
    const uint64_t counted = t->preference ? u.entries : u.targets;
    const double good = mean_reward(&u, 0), bad = mean_reward(&u, 1);
    const sm_train_evaluation full = {.loss = counted ? u.loss / (double)counted : 0,
                                      .bits_per_byte =
                                          text ? u.loss / LN2 / (double)info.validation_bytes : 0,
                                      .targets = u.targets,
                                      .seconds = (double)(sm_time_ns() - start) * 1e-9,
                                      .chosen_reward = good,
                                      .rejected_reward = bad,
                                      .reward_margin = good - bad,
                                      .accuracy = accuracy_of(&u)};
    return sm_struct_give(result, &full, sizeof full, evaluation_wide, "sm_trainer_evaluate",
                          error);
}

sm_status sm_trainer_evaluate(sm_trainer *t, sm_train_evaluation *result, sm_error *error) {
    if (!t)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_evaluate: trainer is NULL");
    sm_status status = sm_trainer_begin(t, true, error);
    if (status)
        return status;
    status = evaluate(t, result, error);
    sm_trainer_end(t);
    return status;
}
