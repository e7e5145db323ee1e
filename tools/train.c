/* train.c - `smallmind train` and `smallmind finetune`: train a whole model, or adapters. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "keep.h"
#include "plot.h"
#include "resident.h"
#include "shown.h"
#include "terminal.h"

#define NAME_SPACE 4096
#define SAMPLE_TOKENS 100

typedef struct train_state {
    const char *command; /* "train" or "finetune" */
    const char *model, *out, *type;
    const char *metrics, *plot, *checkpoint;
    const char *prompt;
    const char *best;
    uint32_t save_every, eval_every, sample_every, sample_tokens, patience;
    bool resume, overwrite, json;
    sm_trainer_options options;
    cli_texts data;
    /* made while running */
    sm_trainer *trainer;
    sm_trainer_info info;
    char paths[3][NAME_SPACE]; /* of metrics, plot and checkpoint where they are not given */
    FILE *record;              /* of metrics */
    curve train, validation;
    curve_mean mean;
    curve_mean margin, accuracy; /* where answers are compared */
    double loss;                 /* smoothed; of train.n steps */
    double smooth_margin, smooth_accuracy;
    const char *phase;   /* what is done between steps; NULL: nothing */
    bool saved;          /* the checkpoint is of this run … */
    uint64_t saved_step; /* … and stands here */
    bool diverged;
    bool enough;                   /* validations have got no better for long enough */
    double start;                  /* seconds */
    uint64_t first, tokens_before; /* step and tokens at the start */
    uint64_t computed;             /* tokens since then, those of prompts too */
    sm_train_evaluation last;      /* struct_size 0: none yet */
} train_state;

/* ---- what the user sees while it runs --------------------------------------------------- */

static uint64_t tokens_done(const train_state *t) {
    return t->info.tokens - t->tokens_before;
}

static bool compares(const train_state *t) {
    return t->options.objective != SM_OBJECTIVE_SUPERVISED;
}

/* What the line says, the most important first; returns how many texts. */
enum { TEXTS = 10, TEXT_SPACE = 64, WIDE = 120 };
static size_t describe(const train_state *t, const sm_train_metrics *m, bool narrow,
                       char texts[][TEXT_SPACE]) {
    char buffer[PROGRESS_DURATION];
    const double spent = cli_seconds() - t->start, done = (double)(m->step - t->first);
    const double trained = spent > 0 ? (double)tokens_done(t) / spent : 0;
    const double computed = spent > 0 ? (double)t->computed / spent : 0;
    size_t n = 0;
    snprintf(texts[n++], TEXT_SPACE, "step %llu/%llu", (unsigned long long)m->step,
             (unsigned long long)t->info.steps);
    snprintf(texts[n++], TEXT_SPACE, "loss %.4f", t->loss);
    if (compares(t)) {
        snprintf(texts[n++], TEXT_SPACE, "margin %.3f", t->smooth_margin);
        snprintf(texts[n++], TEXT_SPACE, "accuracy %.2f", t->smooth_accuracy);
    }
    if (m->step < t->info.steps)
        snprintf(texts[n++], TEXT_SPACE, "%s left",
                 progress_duration(buffer, spent / done * (double)(t->info.steps - m->step)));
    snprintf(texts[n++], TEXT_SPACE, "epoch %.2f", t->info.epochs);
    const bool both = t->options.lora_rank != 0 || t->computed != tokens_done(t);
    if (both && narrow)
        snprintf(texts[n++], TEXT_SPACE, "%.0f/%.0f tokens/s", trained, computed);
    else if (both)
        snprintf(texts[n++], TEXT_SPACE, "%.0f tokens/s, %.0f trained", computed, trained);
    else
        snprintf(texts[n++], TEXT_SPACE, "%.0f tokens/s", trained);
    if (t->last.struct_size != 0)
        snprintf(texts[n++], TEXT_SPACE, "validation %.4f", t->last.loss);
    snprintf(texts[n++], TEXT_SPACE, "lr %.3g", m->lr);
    snprintf(texts[n++], TEXT_SPACE, "%s", cli_bytes(buffer, t->info.heap_peak));
    return n;
}

static double part_done(const train_state *t) {
    return (double)t->info.step / (double)t->info.steps;
}

/* After a step: the line of a terminal, or, where that goes elsewhere, one line every twentieth of
 * the run. */
static void show(const train_state *t, const sm_train_metrics *m, bool last) {
    char texts[TEXTS][TEXT_SPACE];
    const char *list[TEXTS];
    const uint64_t every = (t->info.steps + 19) / 20;
    const int columns = terminal_columns(STDERR_FILENO);
    const bool terminal = columns > 0;
    if (!terminal && !last && m->step % every != 0 && m->step != t->first + 1)
        return;
    const size_t n = describe(t, m, terminal && columns < WIDE, texts);
    for (size_t i = 0; i < n; i++) {
        list[i] = texts[i];
        if (!terminal)
            fprintf(stderr, "%s%s", texts[i], i + 1 < n ? "  " : "\n");
    }
    if (terminal)
        progress_show(part_done(t), list, n, last);
}

/* Between steps: what takes its time. NULL: that is over. */
static void show_phase(const train_state *t) {
    char step[TEXT_SPACE];
    const char *texts[] = {step, t->phase};
    if (t->phase == NULL)
        return;
    snprintf(step, sizeof step, "step %llu/%llu", (unsigned long long)t->info.step,
             (unsigned long long)t->info.steps);
    progress_show(part_done(t), texts, 2, false);
}

static void begin(train_state *t, const char *phase) {
    t->phase = phase;
    show_phase(t);
}

static int32_t on_cancel(void *user) {
    show_phase(user);
    return cli_interrupted();
}

/* The same where nothing is to be cancelled. */
static int32_t on_saving(void *user) {
    show_phase(user);
    return 0;
}

/* Reports a call of the library that failed. */
static int fail(train_state *t, sm_status status, const sm_error *error) {
    progress_keep();
    const int code = cli_fail(error);
    if (status != SM_ERR_DIVERGED)
        return code;
    t->diverged = true;
    char a[CLI_SHOWN_SPACE], b[CLI_SHOWN_SPACE];
    if (t->saved)
        fprintf(stderr, "the checkpoint of step %llu is kept: %s\n",
                (unsigned long long)t->saved_step, cli_shown(a, t->checkpoint));
    if (t->train.n > 0 && plot_write(t->plot, t->out, &t->train, &t->validation))
        fprintf(stderr, "the losses until there: %s, %s\n", cli_shown(a, t->metrics),
                cli_shown(b, t->plot));
    return code;
}

/* ---- the record ------------------------------------------------------------------------------ */

static int save(train_state *t) {
    sm_error error;
    begin(t, "saving");
    const sm_status status = sm_trainer_save(t->trainer, t->checkpoint, &error);
    begin(t, NULL);
    if (status != SM_OK)
        return fail(t, status, &error);
    t->saved = true;
    t->saved_step = t->info.step;
    return CLI_GO_ON;
}

static bool write_record(train_state *t, json_t *line) {
    errno = 0;
    bool good = line != NULL &&
                json_dumpf(line, t->record, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 &&
                fputc('\n', t->record) != EOF && fflush(t->record) == 0;
    json_decref(line);
    if (good)
        return true;
    progress_keep();
    cli_error("%s: cannot write: %s", t->metrics, strerror(errno ? errno : ENOMEM));
    /* a checkpoint of another run is not replaced for the sake of a run that cannot go on */
    char shown[CLI_SHOWN_SPACE];
    if (t->saved && save(t) == CLI_GO_ON)
        fprintf(stderr, "saved after step %llu: %s\n", (unsigned long long)t->info.step,
                cli_shown(shown, t->checkpoint));
    return false;
}

/* What is told of answers that are compared. */
static void add_rewards(json_t *line, double chosen, double rejected, double margin,
                        double accuracy) {
    const struct {
        const char *name;
        double value;
    } fields[] = {{"chosen_reward", chosen},
                  {"rejected_reward", rejected},
                  {"reward_margin", margin},
                  {"accuracy", accuracy}};
    for (size_t i = 0; line != NULL && i < sizeof fields / sizeof *fields; i++)
        json_object_set_new(line, fields[i].name, json_real(fields[i].value));
}

static bool add_loss(train_state *t, uint64_t step, double loss) {
    t->loss = curve_mean_add(&t->mean, loss);
    return curve_add(&t->train, (double)step, loss);
}

/* Takes over the lines of an earlier part of the run, up to the step it resumes from; those past it
 * are done again, and all that follows the first of them is cut off. */
static bool reread_record(train_state *t) {
    cli_input input;
    struct stat info;
    if (stat(t->metrics, &info) != 0 || !S_ISREG(info.st_mode))
        return true;
    if (!cli_read(&input, t->metrics))
        return false;
    const char *at = input.text, *end;
    bool good = true;
    while (good && (end = strchr(at, '\n')) != NULL) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        const json_t *step = json_object_get(line, "step");
        const uint64_t n = json_is_integer(step) ? (uint64_t)json_integer_value(step) : UINT64_MAX;
        const json_t *loss = json_object_get(line, "loss");
        const json_t *validation = json_object_get(line, "validation_loss");
        if (n <= t->info.step) {
            good = (!json_is_number(loss) || add_loss(t, n, json_number_value(loss))) &&
                   (!json_is_number(validation) ||
                    curve_add(&t->validation, (double)n, json_number_value(validation)));
            at = end + 1;
        }
        json_decref(line);
        if (n > t->info.step)
            break;
    }
    if (!good)
        cli_error("out of memory for the loss curve");
    else if (truncate(t->metrics, at - input.text) != 0)
        good = cli_error("%s: cannot write: %s", t->metrics, strerror(errno)) == CLI_GO_ON;
    free(input.text);
    return good;
}

static int open_record(train_state *t) {
    if (t->resume && !reread_record(t))
        return CLI_FAILED;
    t->record = fopen(t->metrics, t->resume ? "a" : "w");
    return t->record ? CLI_GO_ON : cli_error("%s: cannot write: %s", t->metrics, strerror(errno));
}

/* ---- parts of a run -------------------------------------------------------------------- */

static int refresh(train_state *t) {
    sm_error error;
    t->info.struct_size = sizeof t->info;
    return sm_trainer_get_info(t->trainer, &t->info, &error) == SM_OK ? CLI_GO_ON
                                                                      : cli_fail(&error);
}

static int export_to(train_state *t, const char *out) {
    sm_error error;
    begin(t, "writing OUT");
    const sm_status status =
        t->options.lora_rank
            ? sm_trainer_export_adapter(t->trainer, out, &error)
            : sm_trainer_export(
                  t->trainer, out,
                  &(sm_export_options){.struct_size = sizeof(sm_export_options), .type = t->type},
                  &error);
    begin(t, NULL);
    return status == SM_OK ? CLI_GO_ON : fail(t, status, &error);
}

static int export(train_state *t) {
    return export_to(t, t->out);
}

/* Validations since the best one. */
static size_t since_best(const train_state *t) {
    return t->validation.n > 0 ? t->validation.n - 1 - curve_lowest(&t->validation) : 0;
}

static bool is_enough(const train_state *t) {
    return t->patience != 0 && since_best(t) >= t->patience;
}

/* After a validation: the best model so far is kept, and a run that gets no better ends. */
static int take_stock(train_state *t) {
    const size_t since = since_best(t);
    t->enough = is_enough(t);
    return t->best != NULL && since == 0 ? export_to(t, t->best) : CLI_GO_ON;
}

static int evaluate(train_state *t) {
    sm_error error;
    sm_train_evaluation e = {.struct_size = sizeof e};
    begin(t, "validating");
    const sm_status status = sm_trainer_evaluate(t->trainer, &e, &error);
    begin(t, NULL);
    if (status == SM_ERR_CANCELLED)
        return CLI_GO_ON; /* the next step sees it too */
    if (status != SM_OK)
        return fail(t, status, &error);
    t->last = e;
    if (!curve_add(&t->validation, (double)t->info.step, e.loss))
        return cli_error("out of memory for the loss curve");
    json_t *line =
        json_pack("{s:I, s:f, s:I, s:f}", "step", (json_int_t)t->info.step, "validation_loss",
                  e.loss, "targets", (json_int_t)e.targets, "seconds", e.seconds);
    if (line != NULL && e.bits_per_byte > 0)
        json_object_set_new(line, "bits_per_byte", json_real(e.bits_per_byte));
    if (compares(t))
        add_rewards(line, e.chosen_reward, e.rejected_reward, e.reward_margin, e.accuracy);
    return write_record(t, line) ? take_stock(t) : CLI_FAILED;
}

/* The text generated so far. */
typedef struct sample {
    char text[8192];
    size_t length;
} sample;

static int32_t on_token(void *user, const sm_token *token) {
    sample *s = user;
    const size_t room = sizeof s->text - 1 - s->length;
    const size_t n = token->length < room ? (size_t)token->length : room;
    memcpy(s->text + s->length, token->text, n);
    s->length += n;
    return cli_interrupted();
}

/* Exports the model as it is and lets it write. */
static int write_sample(train_state *t) {
    sm_error error;
    sm_model *model = NULL;
    sm_session *session = NULL;
    sample s = {.length = 0};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = t->info.n_threads};
    const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = 0.8, .top_p = 0.95, .seed = t->info.step};
    const sm_generate_options go = {
        .struct_size = sizeof go, .max_tokens = t->sample_tokens, .sampling = &sampling};
    int code = export(t);
    if (code != CLI_GO_ON)
        return code;
    begin(t, "sampling");
    const bool adapts = t->options.lora_rank != 0;
    sm_status status = sm_model_load(&model, adapts ? t->model : t->out, NULL, &error);
    if (status == SM_OK)
        status = sm_session_new(&session, model, &so, &error);
    if (status == SM_OK && adapts)
        code = cli_attach(session, model, &(cli_texts){.items = {t->out}, .n = 1});
    if (code != CLI_GO_ON) {
        sm_session_free(session);
        sm_model_free(model);
        return code;
    }
    if (status == SM_OK)
        status = sm_session_set_cancel(session, on_cancel, t, &error);
    if (status == SM_OK)
        status = sm_session_generate(session, t->prompt, SM_ZT, &go, on_token, &s, &error);
    sm_session_free(session);
    sm_model_free(model);
    begin(t, NULL);
    if (status == SM_ERR_CANCELLED || status == SM_ERR_CONTEXT_FULL)
        status = SM_OK;
    if (status != SM_OK)
        return fail(t, status, &error);
    char clean[3 * sizeof s.text], prompt[CLI_SHOWN_SPACE];
    cli_clean(clean, s.text, s.length);
    progress_clear();
    fprintf(stderr, "--- sample after step %llu: %s%s\n", (unsigned long long)t->info.step,
            cli_shown(prompt, t->prompt), clean);
    return write_record(t,
                        json_pack("{s:I, s:s}", "step", (json_int_t)t->info.step, "sample", clean))
               ? CLI_GO_ON
               : CLI_FAILED;
}

static int record_step(train_state *t, const sm_train_metrics *m) {
    if (!add_loss(t, m->step, m->loss))
        return cli_error("out of memory for the loss curve");
    json_t *record = json_pack("{s:I, s:f, s:f, s:f, s:I, s:I, s:f}", "step", (json_int_t)m->step,
                               "loss", m->loss, "lr", m->lr, "grad_norm", m->grad_norm, "targets",
                               (json_int_t)m->targets, "tokens", (json_int_t)t->info.tokens,
                               "seconds", m->seconds);
    if (record != NULL && m->expert_balance > 0)
        json_object_set_new(record, "expert_balance", json_real(m->expert_balance));
    if (record != NULL && t->options.teacher != NULL)
        json_object_set_new(record, "teacher_loss", json_real(m->teacher_loss));
    if (compares(t)) {
        add_rewards(record, m->chosen_reward, m->rejected_reward, m->reward_margin, m->accuracy);
        t->smooth_margin = curve_mean_add(&t->margin, m->reward_margin);
        t->smooth_accuracy = curve_mean_add(&t->accuracy, m->accuracy);
    }
    return write_record(t, record) ? CLI_GO_ON : CLI_FAILED;
}

static bool due(uint32_t every, uint64_t step) {
    return every != 0 && step % every == 0;
}

/* One step and what is due after it. *stopped: by Ctrl-C or a signal like it. */
static int step(train_state *t, bool *stopped) {
    sm_error error;
    sm_train_metrics m = {.struct_size = sizeof m};
    sm_status status = sm_trainer_step(t->trainer, &m, &error);
    *stopped = status == SM_ERR_CANCELLED;
    if (*stopped) {
        const int code = refresh(t);
        if (code != CLI_GO_ON || !t->info.updating)
            return code;
        sm_trainer_set_cancel(t->trainer, NULL, NULL, NULL); /* it ends the step, and no more */
        status = sm_trainer_step(t->trainer, &m, &error);
    }
    if (status != SM_OK)
        return fail(t, status, &error);
    t->computed += m.tokens;
    int code = refresh(t);
    if (code == CLI_GO_ON)
        code = record_step(t, &m);
    if (*stopped)
        return code;
    const bool last = m.step == t->info.steps;
    if (code == CLI_GO_ON && t->options.validation > 0 && (due(t->eval_every, m.step) || last))
        code = evaluate(t);
    show(t, &m, last);
    if (code == CLI_GO_ON && due(t->save_every, m.step) && !last)
        code = save(t);
    if (code == CLI_GO_ON && due(t->sample_every, m.step))
        code = write_sample(t);
    return code;
}

/* ---- the run --------------------------------------------------------------------------- */

static void announce(const train_state *t) {
    const sm_trainer_info *i = &t->info;
    char bytes[32];
    fprintf(stderr, "%llu documents, %s of text",
            (unsigned long long)(i->train_documents + i->validation_documents),
            cli_bytes(bytes, i->train_bytes + i->validation_bytes));
    if (i->validation_documents)
        fprintf(stderr, " (the last %llu documents for validation)",
                (unsigned long long)i->validation_documents);
    fprintf(stderr, "; training %llu %s, %u thread%s, %s\n", (unsigned long long)i->n_params,
            t->options.lora_rank ? "adapter weights" : "weights", i->n_threads,
            i->n_threads == 1 ? "" : "s", sm_level_name(i->level));
}

/* A run whose loss exploded has a result all the same; nobody should take it for a good one. */
static bool warn_of_explosion(const train_state *t) {
    curve_rise rise;
    if (!curve_exploded(&t->train, log((double)t->info.n_vocab), &rise))
        return false;
    fprintf(
        stderr,
        "smallmind: warning: the loss exploded: it was %.4f at step %.0f and is %.4f at the end. "
        "The model is worse than it was then; a lower --lr, a longer --warmup or a lower --clip "
        "may help\n",
        rise.low, rise.low_step, rise.end);
    return true;
}

static int finish(train_state *t, bool stopped) {
    const double seconds = cli_seconds() - t->start, rate = seconds > 0 ? 1 / seconds : 0;
    progress_keep();
    /* what made it stop shall not stop the saving, which also finishes a step that was left */
    sm_trainer_set_cancel(t->trainer, on_saving, t, NULL);
    const bool saved = save(t) == CLI_GO_ON && refresh(t) == CLI_GO_ON;
    t->saved_step = t->info.step;
    if (t->diverged)
        return CLI_FAILED;
    /* each of the files is worth having without the others */
    const bool exported = export(t) == CLI_GO_ON;
    progress_clear();
    if (!plot_write(t->plot, t->out, &t->train, &t->validation) || !saved || !exported)
        return CLI_FAILED;
    char names[4][CLI_SHOWN_SPACE];
    fprintf(stderr, "%s after step %llu: %s, checkpoint %s, metrics %s, plot %s\n",
            stopped     ? "stopped"
            : t->enough ? "no better for some validations: ended"
                        : "done",
            (unsigned long long)t->info.step, cli_shown(names[0], t->out),
            cli_shown(names[1], t->checkpoint), cli_shown(names[2], t->metrics),
            cli_shown(names[3], t->plot));
    const bool exploded = warn_of_explosion(t);
    if (t->json) {
        json_t *root = json_pack(
            "{s:o, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:b, s:b}", "model",
            cli_json_name(t->out), "step", (json_int_t)t->info.step, "steps",
            (json_int_t)t->info.steps, "tokens", (json_int_t)t->info.tokens, "computed_tokens",
            (json_int_t)t->computed, "epochs", t->info.epochs, "seconds", seconds,
            "tokens_per_second", (double)tokens_done(t) * rate, "computed_tokens_per_second",
            (double)t->computed * rate, "heap_peak_bytes", (json_int_t)t->info.heap_peak, "stopped",
            (int)stopped, "exploded", (int)exploded);
        if (root != NULL && t->train.n > 0)
            json_object_set_new(root, "loss", json_real(t->loss));
        if (root != NULL && t->last.struct_size != 0) {
            json_object_set_new(root, "validation_loss", json_real(t->last.loss));
            json_object_set_new(
                root, "best_step",
                json_integer((json_int_t)t->validation.points[curve_lowest(&t->validation)].step));
            if (t->last.bits_per_byte > 0)
                json_object_set_new(root, "bits_per_byte", json_real(t->last.bits_per_byte));
        }
        if (root != NULL && compares(t) && t->train.n > 0) {
            json_object_set_new(root, "reward_margin", json_real(t->smooth_margin));
            json_object_set_new(root, "accuracy", json_real(t->smooth_accuracy));
        }
        if (root != NULL && compares(t) && t->last.struct_size != 0) {
            json_object_set_new(root, "validation_reward_margin", json_real(t->last.reward_margin));
            json_object_set_new(root, "validation_accuracy", json_real(t->last.accuracy));
        }
        resident memory;
        if (root != NULL && resident_get(&memory))
            json_object_set_new(root, "resident_peak_bytes", json_integer((json_int_t)memory.peak));
        const int code = cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        if (code != CLI_DONE)
            return code;
    }
    return stopped ? cli_interrupt_code() : CLI_DONE;
}

static int run(train_state *t) {
    sm_error error;
    bool stopped = false;
    sm_trainer_set_cancel(t->trainer, on_cancel, t, NULL);
    if (t->resume && sm_trainer_resume(t->trainer, t->checkpoint, &error) != SM_OK)
        return cli_fail(&error);
    int code = refresh(t);
    t->saved = t->resume;
    t->saved_step = t->info.step;
    if (code == CLI_GO_ON)
        code = open_record(t);
    if (code != CLI_GO_ON)
        return code;
    t->enough = is_enough(t); /* as it was when it ended */
    announce(t);
    t->first = t->info.step;
    t->tokens_before = t->info.tokens;
    t->start = cli_seconds();
    while (code == CLI_GO_ON && !stopped && !t->enough && sm_trainer_steps_left(t->trainer) > 0)
        code = step(t, &stopped);
    return code == CLI_GO_ON ? finish(t, stopped) : code;
}

static const char *beside(train_state *t, int i, const char *given, const char *ending) {
    if (given != NULL)
        return given;
    snprintf(t->paths[i], NAME_SPACE, "%s%s", t->out, ending);
    return t->paths[i];
}

/* What would be noticed only after the training, or destroy what it reads. */
static int check_files(const train_state *t) {
    const struct {
        const char *what, *path;
    } files[] = {{"MODEL", t->model},
                 {"DATA", t->options.data},
                 {"OUT", t->out},
                 {"the checkpoint", t->checkpoint},
                 {"the metrics", t->metrics},
                 {"the plot", t->plot},
                 {"the best model", t->best}};
    enum { INPUTS = 2, WHOLE = 4, ALL = 7 };
    for (int i = INPUTS; i < (t->best != NULL ? ALL : ALL - 1); i++) {
        for (int j = 0; j < i; j++)
            if (cli_same_file(files[j].path, files[i].path))
                return cli_misuse(t->command, "%s and %s would be the same file: %s", files[j].what,
                                  files[i].what, files[i].path);
        for (uint64_t j = 0; j < t->options.n_more_data; j++)
            if (cli_same_file(t->options.more_data[j], files[i].path))
                return cli_misuse(t->command, "DATA and %s would be the same file: %s",
                                  files[i].what, files[i].path);
        if (cli_check_output(files[i].path, i < WHOLE || i == ALL - 1) != CLI_GO_ON)
            return CLI_FAILED;
    }
    return CLI_GO_ON;
}

static int open_and_run(train_state *t) {
    sm_error error;
    t->metrics = beside(t, 0, t->metrics, ".jsonl");
    t->plot = beside(t, 1, t->plot, ".svg");
    t->checkpoint = beside(t, 2, t->checkpoint, ".ckpt");
    int usable = check_files(t);
    if (usable == CLI_GO_ON)
        usable = keep_check(&(keep_files){t->out, t->checkpoint, t->metrics, t->plot}, t->resume,
                            t->overwrite);
    if (usable != CLI_GO_ON)
        return usable;
    t->options.progress = cli_load_progress;
    t->options.log = cli_logger();
    cli_catch_interrupt();
    const sm_status status = sm_trainer_open(&t->trainer, t->model, &t->options, &error);
    progress_end();
    if (status != SM_OK)
        return cli_hint(cli_fail(&error), t->model);
    const int code = run(t);
    if (t->record != NULL)
        fclose(t->record);
    curve_free(&t->train);
    curve_free(&t->validation);
    sm_trainer_free(t->trainer);
    return code;
}

static const cli_command train_command = {
    .name = "train",
    .synopsis = "-m MODEL -d DATA -o OUT [OPTION]...\n--resume -o OUT [OPTION]...",
    .summary =
        "Trains every weight of a model on a text or on instructions and writes the result as a "
        "GGUF\n"
        "file. MODEL is not changed. A model to start from scratch with comes from `smallmind "
        "init`.\n"
        "Beside OUT appear OUT.ckpt (checkpoint), OUT.jsonl (metrics) and OUT.svg (loss plot).\n"
        "Ctrl-C stops, saves and ends with status 130, or at once the second time; so do SIGTERM "
        "(143)\n"
        "and SIGHUP (129), any number of times. --resume goes on from the checkpoint, with the "
        "same\n"
        "result as if nothing had happened. The same seed gives the same model, for every number "
        "of\n"
        "threads.",
    .examples = {{"smallmind train -m init.gguf -d stories.txt -o stories.gguf --validation 0.05 "
                  "-n 4000 --warmup 100",
                  "4000 steps over a text, of which the end is kept for validation"},
                 {"smallmind train --resume -o stories.gguf", "go on after an interruption"}},
};
static const cli_command finetune_command = {
    .name = "finetune",
    .synopsis = "-m MODEL -d DATA -o OUT [OPTION]...\n--resume -o OUT [OPTION]...",
    .summary =
        "Trains LoRA adapters over a frozen model of any type, quantized ones included, on\n"
        "instructions or text, and writes them as a GGUF adapter file, for `smallmind run "
        "--adapter`\n"
        "or `smallmind lora merge`. Beside OUT appear OUT.ckpt (checkpoint), OUT.jsonl (metrics) "
        "and\n"
        "OUT.svg (loss plot). Ctrl-C stops, saves and ends with status 130; so do SIGTERM (143) "
        "and\n"
        "SIGHUP (129). --resume goes on from the checkpoint. --lora-rank 0 trains every weight "
        "instead.",
    .examples = {{"smallmind finetune -m model.gguf -d instructions.json -o tuned.gguf -n 300",
                  "teach a model from instructions"},
                 {"smallmind finetune -m model.gguf -d pairs.jsonl -o preferred.gguf --objective "
                  "dpo --layout chatml --lr 5e-5 -n 200",
                  "teach it to prefer the chosen answers of pairs to the rejected ones"}},
};

/* Options that would change nothing. */
static int check_lora(const train_state *t) {
    const sm_trainer_options *o = &t->options;
    if (o->lora_rank != 0)
        return t->type == NULL ? CLI_GO_ON
                               : cli_misuse(t->command, "--type: adapters are written in F32");
    if (o->lora_targets != NULL || o->lora_alpha != 0 || o->lora_dropout != 0 || o->lora_rs != 0 ||
        o->lora_b_rate != 0)
        return cli_misuse(t->command, "--lora-… options need --lora-rank");
    if (t->type != NULL && strcmp(t->type, "F32") != 0 && strcmp(t->type, "F16") != 0 &&
        strcmp(t->type, "BF16") != 0)
        return cli_misuse(t->command, "--type: \"%s\" is none of F32|F16|BF16", t->type);
    return CLI_GO_ON;
}

/* Files of the command line become options. */
static void take_data(train_state *t) {
    if (t->data.n == 0)
        return;
    t->options.data = t->data.items[0];
    t->options.more_data = t->data.items + 1;
    t->options.n_more_data = t->data.n - 1;
}

static int parse(train_state *t, const cli_command *texts, int argc, char **argv) {
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &t->model, "FILE", 0, 0,
         "the model to start from; may stand without -m (required)"},
        {'d', "data", CLI_TEXTS, &t->data, "FILE", 0, 0,
         "text, or instructions as JSON or JSONL, for --objective dpo and others with chosen and "
         "rejected answers; may be given up to 64 times: the files are one data set (required)"},
        {'o', "out", CLI_TEXT, &t->out, "FILE", 0, 0, "the file to write (required)"},
        {0, "type", CLI_TEXT, &t->type, "TYPE", 0, 0,
         "of the written matrices: F32 (default), F16 or BF16; not for adapters"},
        {0, "separator", CLI_TEXT, &t->options.separator, "TEXT", 0, 0,
         "what stands between documents of a text (default <|endoftext|>)"},
        {0, "lora-targets", CLI_TEXT, &t->options.lora_targets, "NAMES", 0, 0,
         "tensors that get adapters, by part of their name, comma separated: attn_q,attn_v, or as "
         "Hugging Face calls them: q_proj,v_proj (default: every matrix of every layer)"},
        {0, "teacher", CLI_TEXT, &t->options.teacher, "FILE", 0, 0,
         "distillation: a model with the same vocabulary, whose probabilities are learned besides "
         "the text"},
        {0, "resume", CLI_SWITCH, &t->resume, "", 0, 0,
         "go on from the checkpoint, which knows all options of the trainer, MODEL and DATA; those "
         "that are given again must be the same, but --steps"},
        {0, "overwrite", CLI_SWITCH, &t->overwrite, "", 0, 0,
         "start anew even where a result, or the checkpoint of a run that can go on, is replaced"},
        {0, "checkpoint", CLI_TEXT, &t->checkpoint, "FILE", 0, 0, "default: OUT.ckpt"},
        {0, "metrics", CLI_TEXT, &t->metrics, "FILE", 0, 0,
         "one JSON object a step; default: OUT.jsonl"},
        {0, "plot", CLI_TEXT, &t->plot, "FILE", 0, 0, "loss over steps, SVG; default: OUT.svg"},
        {0, "save-every", CLI_COUNT, &t->save_every, "STEPS", 0, UINT32_MAX,
         "steps between checkpoints (default 250; 0: only at the end)"},
        {0, "eval-every", CLI_COUNT, &t->eval_every, "STEPS", 0, UINT32_MAX,
         "steps between validations, with --validation (default 250; 0: only at the end)"},
        {0, "best", CLI_TEXT, &t->best, "FILE", 0, 0,
         "also write the model (or the adapters) of the lowest validation loss so far"},
        {0, "patience", CLI_COUNT, &t->patience, "N", 0, UINT32_MAX,
         "end when so many validations in a row are not below the lowest before (default 0: "
         "never)"},
        {0, "sample-every", CLI_COUNT, &t->sample_every, "STEPS", 0, UINT32_MAX,
         "steps between samples of generated text, for which OUT is written (default 0: none)"},
        {0, "sample-prompt", CLI_TEXT, &t->prompt, "TEXT", 0, 0,
         "what samples begin with (default: nothing but the vocabulary's BOS)"},
        {0, "sample-tokens", CLI_COUNT, &t->sample_tokens, "N", 1, 1000,
         "length of a sample in tokens (default 100)"},
        {0, "json", CLI_SWITCH, &t->json, "", 0, 0, "print one JSON object at the end"},
    };
    const cli_fields fields[] = {{SM_OPTIONS_TRAINER, &t->options, NULL}};
    cli_command command = *texts;
    command.flags = flags;
    command.n_flags = sizeof flags / sizeof flags[0];
    command.fields = fields;
    command.n_fields = sizeof fields / sizeof fields[0];
    command.operand = &t->model;
    const int code = cli_parse(&command, argc, argv);
    take_data(t);
    return code;
}

/* What --resume needs not be told. */
typedef struct known {
    char out[NAME_SPACE];
    _Alignas(max_align_t) char text[16 * NAME_SPACE]; /* of the checkpoint's options */
} known;

/* OUT, be it only by the name of its checkpoint; NULL: neither is known. */
static const char *find_out(const train_state *t, known *k) {
    static const char ending[] = ".ckpt";
    if (t->out != NULL || t->checkpoint == NULL)
        return t->out;
    const size_t n = strlen(t->checkpoint), length = sizeof ending - 1;
    if (n <= length || n >= sizeof k->out || strcmp(t->checkpoint + n - length, ending) != 0)
        return NULL;
    snprintf(k->out, sizeof k->out, "%.*s", (int)(n - length), t->checkpoint);
    return k->out;
}

/* Parses once more, over the options that the checkpoint knows instead of the defaults. */
static int parse_over_checkpoint(train_state *t, const train_state *fresh, known *k,
                                 const cli_command *texts, int argc, char **argv) {
    sm_error error;
    sm_trainer_options options = fresh->options;
    const char *model = NULL, *out = find_out(t, k);
    uint64_t needed;
    if (out == NULL || strlen(out) > NAME_SPACE - 16)
        return CLI_GO_ON; /* it will be said what is missing */
    t->out = out;
    const char *checkpoint = beside(t, 2, t->checkpoint, ".ckpt");
    if (access(checkpoint, R_OK) != 0)
        return cli_error("%s: cannot resume: %s", checkpoint, strerror(errno));
    if (sm_checkpoint_get_options(checkpoint, &options, &model, k->text, sizeof k->text, &needed,
                                  &error) != SM_OK)
        return cli_fail(&error);
    *t = *fresh;
    t->options = options;
    const int code = parse(t, texts, argc, argv);
    t->out = out;
    if (t->model == NULL)
        t->model = model;
    return code;
}

static int check_usage(const train_state *t) {
    if (t->options.steps != 0 && t->options.epochs > 0 && !t->resume)
        return cli_misuse(t->command, "--steps and --epochs exclude each other");
    if (t->model == NULL || t->options.data == NULL || t->out == NULL)
        return cli_misuse(t->command, "-m MODEL, -d DATA and -o OUT are required%s",
                          t->resume ? ": the checkpoint does not know them" : "");
    if (strlen(t->out) > NAME_SPACE - 16)
        return cli_misuse(t->command, "the name of OUT is too long");
    if (t->resume && t->overwrite)
        return cli_misuse(t->command, "--resume and --overwrite exclude each other");
    if ((t->best != NULL || t->patience != 0) && !(t->options.validation > 0))
        return cli_misuse(t->command, "--best and --patience need --validation");
    return check_lora(t);
}

static int train_or_finetune(train_state *t, const cli_command *texts, int argc, char **argv) {
    const train_state fresh = *t;
    known k;
    int code = parse(t, texts, argc, argv);
    if (code == CLI_GO_ON && t->resume && !t->overwrite)
        code = parse_over_checkpoint(t, &fresh, &k, texts, argc, argv);
    if (code == CLI_GO_ON)
        code = check_usage(t);
    return code == CLI_GO_ON ? open_and_run(t) : code;
}

int cmd_train(int argc, char **argv) {
    train_state t = {.command = "train",
                     .prompt = "",
                     .save_every = 250,
                     .eval_every = 250,
                     .sample_tokens = SAMPLE_TOKENS,
                     .options.struct_size = sizeof t.options};
    return train_or_finetune(&t, &train_command, argc, argv);
}

int cmd_finetune(int argc, char **argv) {
    train_state t = {.command = "finetune",
                     .prompt = "",
                     .save_every = 250,
                     .eval_every = 250,
                     .sample_tokens = SAMPLE_TOKENS,
                     .options = {.struct_size = sizeof t.options, .lora_rank = 16, .lr = 2e-4}};
    return train_or_finetune(&t, &finetune_command, argc, argv);
}
