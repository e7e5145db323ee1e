/* A checkpoint is a sealed GGUF file (format.h) with the parameters and, as NAME/ROLE, the
 * optimizer's states, each as bytes, and these keys:
 *
 *   general.type                 "checkpoint"
 *   smallmind.checkpoint.version 3: of all that follows
 *   smallmind.checkpoint.run     the options that determine what is computed, as text: whole
 *                                numbers and choices
 *   smallmind.checkpoint.numbers f64: the others, in the order of `numbers`
 *   smallmind.checkpoint.targets option lora_targets, empty where it is not given
 *   smallmind.checkpoint.origin  the paths of the model and of the data, option separator and the
 *                                paths of further data, as they were given (this key and the next
 *                                are not in older files: they say where a run came from, and do not
 *                                count when it is compared)
 *   smallmind.checkpoint.kind    option data_kind
 *   smallmind.checkpoint.model   sm_source_fingerprint of the model
 *   smallmind.checkpoint.data    hash of the data's bytes and of how documents part them
 *   smallmind.checkpoint.teacher, .teacher_fingerprint
 *                                of a model that teaches, if there is one: its path, and as `model`
 *   smallmind.checkpoint.state   u64: step, optimizer steps, tokens, epoch, position, offset, and
 *                                the steps of the whole run
 *
 * Version 2 had no seal, but the key smallmind.checkpoint.sum, a hash of the state and of all
 * tensor data: damage elsewhere went unseen. It is read, and never written.
 */
#include "smallmind/generate.h"
#include "trainer.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define VERSION 3
#define VERSION_UNSEALED 2
#define KEY_VERSION "smallmind.checkpoint.version"
#define KEY_RUN "smallmind.checkpoint.run"
#define KEY_NUMBERS "smallmind.checkpoint.numbers"
#define KEY_TARGETS "smallmind.checkpoint.targets"
#define KEY_ORIGIN "smallmind.checkpoint.origin"
#define KEY_KIND "smallmind.checkpoint.kind"
#define KEY_MODEL "smallmind.checkpoint.model"
#define KEY_DATA "smallmind.checkpoint.data"
#define KEY_TEACHER "smallmind.checkpoint.teacher"
#define KEY_TEACHER_PRINT "smallmind.checkpoint.teacher_fingerprint"
#define KEY_STATE "smallmind.checkpoint.state"
#define KEY_SUM "smallmind.checkpoint.sum" /* of VERSION_UNSEALED */
#define STATES 7
#define ORIGINS 3
#define NAME_SPACE 256

/* ---- what a checkpoint holds --------------------------------------------------------------- */

/* Whole numbers and choices; words as the messages of a refusal show them. */
static void run_text(const sm_trainer *t, char *text, size_t capacity) {
    const sm_trainer_options *o = &t->options;
    uint64_t length = sm_format(
        text, capacity,
        "sequence=%u rows=%u accumulate=%u seed=%llu layout=%u loss_on_prompt=%u optimizer=%u "
        "state_8bit=%u no_clip=%u schedule=%u warmup=%llu precision=%u level=%s lora_rank=%u "
        "lora_rs=%u openblas=%u trained=%llu",
        o->sequence, o->rows, o->accumulate, (unsigned long long)o->seed, o->layout,
        o->loss_on_prompt, o->optimizer, o->state_8bit, o->no_clip, o->schedule,
        (unsigned long long)o->warmup, o->precision,
        sm_level_name(sm_graph_net(t->graph)->kernels->level), o->lora_rank, o->lora_rs,
        o->openblas, (unsigned long long)sm_graph_params(t->graph)->n_elements);
    if (o->schedule == SM_LR_RESTARTS && length < capacity)
        length += sm_format(text + length, capacity - length, " cycle=%llu",
                            (unsigned long long)o->cycle);
    if (o->objective != SM_OBJECTIVE_SUPERVISED && length < capacity)
        sm_format(text + length, capacity - length, " objective=%u length_normalized=%u",
                  o->objective, o->length_normalized);
}

#define NUMBER(name) \
    { #name, offsetof(sm_trainer_options, name) }
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {NUMBER(lr),
               NUMBER(min_lr),
               NUMBER(validation),
               NUMBER(beta1),
               NUMBER(beta2),
               NUMBER(eps),
               NUMBER(momentum),
               NUMBER(weight_decay),
               NUMBER(clip),
               NUMBER(power),
               NUMBER(decay_part),
               NUMBER(cycle_growth),
               NUMBER(lora_dropout),
               NUMBER(lora_alpha),
               NUMBER(expert_balance),
               NUMBER(preference_beta),
               NUMBER(label_smoothing),
               NUMBER(preference_margin),
               NUMBER(desirable_weight),
               NUMBER(undesirable_weight),
               NUMBER(teacher_weight),
               NUMBER(teacher_temperature),
               NUMBER(lora_b_rate)};
#define NUMBERS (sizeof numbers / sizeof numbers[0])
#define FIRST_NUMBERS 14 /* that the oldest files have; those after them were 0 */

static void get_numbers(const sm_trainer *t, double value[NUMBERS]) {
    for (size_t i = 0; i < NUMBERS; i++)
        memcpy(&value[i], (const uint8_t *)&t->options + numbers[i].offset, sizeof value[i]);
}

static const char *get_targets(const sm_trainer *t) {
    return t->targets ? t->targets : "";
}

/* Tensor i: parameters first, then the optimizer's states. False past the last. */
static bool tensor_at(const sm_trainer *t, uint32_t i, char *name, void **data, uint64_t *bytes) {
    const sm_params *params = sm_graph_params(t->graph);
    if (i < params->n) {
        const sm_param *p = &params->param[i];
        sm_format(name, NAME_SPACE, "%s", p->name);
        *data = p->value;
        *bytes = p->rows * p->cols * sizeof(float);
        return true;
    }
    if (i - params->n >= sm_optim_state_count(t->optim))
        return false;
    const char *param, *role;
    sm_optim_state(t->optim, i - params->n, &param, &role, data, bytes);
    sm_format(name, NAME_SPACE, "%s/%s", param, role);
    return true;
}

static void get_state(const sm_trainer *t, uint64_t state[STATES]) {
    sm_data_cursor cursor;
    sm_dataset_cursor(t->dataset, &cursor);
    state[0] = t->step;
    state[1] = sm_optim_steps(t->optim);
    state[2] = t->tokens;
    state[3] = cursor.epoch;
    state[4] = cursor.position;
    state[5] = cursor.offset;
    state[6] = t->options.steps;
}

/* Bytes that are looked at, or copied, between two questions: a millisecond or less. */
#define PIECE ((uint64_t)1 << 20)

/* Whether the trainer's cancel hook says stop. */
static bool asked(sm_trainer *t) {
    const sm_hook hook = sm_trainer_hook(t);
    return sm_hook_ends(&hook, 0, 1);
}

/* ---- save ------------------------------------------------------------------------------------ */

static sm_gguf_str text_of(const char *text) {
    return (sm_gguf_str){text, strlen(text)};
}

static sm_status put_origin(const sm_trainer *t, sm_gguf_writer *w, sm_error *error) {
    uint64_t n = 0;
    while (sm_dataset_file(t->dataset, n))
        n++;
    sm_gguf_str *origin = sm_alloc_array(t->mem, ORIGINS + n - 1, sizeof *origin);
    if (!origin)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for the paths of the data");
    origin[0] = text_of(t->path);
    origin[1] = text_of(sm_dataset_file(t->dataset, 0));
    origin[2] = text_of(t->separator ? t->separator : "");
    for (uint64_t i = 1; i < n; i++)
        origin[ORIGINS + i - 1] = text_of(sm_dataset_file(t->dataset, i));
    sm_gguf_put_array(w, KEY_ORIGIN, SM_KEY_STRING, origin, ORIGINS + n - 1);
    sm_free(t->mem, origin);
    sm_gguf_put_u32(w, KEY_KIND, t->options.data_kind);
    return SM_OK; /* the writer tells of what it could not take */
}

static sm_status save(sm_trainer *t, const char *path, sm_error *error) {
    char text[1024], name[NAME_SPACE];
    void *data;
    uint64_t bytes, state[STATES];
    double value[NUMBERS];
    sm_dataset_info info;
    sm_gguf_writer *w;
    sm_status status = sm_trainer_settle(t, error);
    if (status)
        return status;
    get_state(t, state);
    get_numbers(t, value);
    sm_dataset_get_info(t->dataset, &info);
    const uint64_t model = sm_source_fingerprint(t->source);
    status = sm_trainer_check(t, error);
    if (!status)
        status = sm_gguf_writer_open(&w, t->mem, path, 3, 64, error);
    if (status)
        return status;
    const sm_hook hook = sm_trainer_hook(t);
    sm_gguf_writer_ask(w, &hook);
    run_text(t, text, sizeof text);
    sm_gguf_put_str(w, SM_K_TYPE, "checkpoint", 10);
    sm_gguf_put_u32(w, KEY_VERSION, VERSION);
    sm_gguf_put_str(w, KEY_RUN, text, strlen(text));
    sm_gguf_put_array(w, KEY_NUMBERS, SM_KEY_FLOAT64, value, NUMBERS);
    sm_gguf_put_str(w, KEY_TARGETS, get_targets(t), strlen(get_targets(t)));
    status = put_origin(t, w, error);
    sm_gguf_put_scalar(w, KEY_MODEL, SM_KEY_UINT64, &model);
    sm_gguf_put_scalar(w, KEY_DATA, SM_KEY_UINT64, &info.hash);
    sm_gguf_put_array(w, KEY_STATE, SM_KEY_UINT64, state, STATES);
    if (t->teacher_path) {
        const uint64_t teacher = sm_source_fingerprint(t->teacher_source);
        sm_gguf_put_str(w, KEY_TEACHER, t->teacher_path, strlen(t->teacher_path));
        sm_gguf_put_scalar(w, KEY_TEACHER_PRINT, SM_KEY_UINT64, &teacher);
    }
    for (uint32_t i = 0; tensor_at(t, i, name, &data, &bytes); i++)
        sm_gguf_declare_tensor(w, name, SM_DTYPE_I8, 1, &bytes, NULL);
    sm_gguf_declare_seal(w, NULL);
    for (uint32_t i = 0; !status && tensor_at(t, i, name, &data, &bytes); i++)
        status = sm_gguf_write_tensor(w, data, bytes, error);
    return sm_gguf_writer_end(w, status, error);
}

sm_status sm_trainer_save(sm_trainer *t, const char *path, sm_error *error) {
    if (!t || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_save: trainer or path is NULL");
    sm_status status = sm_trainer_begin(t, true, error);
    if (status)
        return status;
    status = save(t, path, error);
    sm_trainer_end(t);
    return status;
}

/* ---- resume ---------------------------------------------------------------------------------- */

/* The word of `text` that begins at *at, and where the next one begins. */
static uint64_t word(const char *text, uint64_t length, uint64_t *at) {
    const uint64_t begin = *at;
    while (*at < length && text[*at] != ' ')
        ++*at;
    const uint64_t n = *at - begin;
    *at += *at < length;
    return n;
}

static sm_status compare_run(const sm_trainer *t, const sm_source *source, sm_error *error) {
    char own[1024];
    const char *theirs;
    uint64_t length, n_own, n_theirs, at = 0, bt = 0;
    run_text(t, own, sizeof own);
    sm_status status = sm_source_get_str(source, KEY_RUN, &theirs, &length, error);
    const uint64_t own_length = strlen(own);
    while (!status && (at < own_length || bt < length)) {
        const uint64_t a = at, b = bt;
        n_own = word(own, own_length, &at);
        n_theirs = word(theirs, length, &bt);
        if (n_own != n_theirs || memcmp(own + a, theirs + b, n_own) != 0)
            status = sm_fail(error, SM_ERR_ARGUMENT,
                             "%s is a checkpoint of another run: it has %.*s, this run %.*s",
                             source->path, (int)n_theirs, theirs + b, (int)n_own, own + a);
    }
    return status;
}

static sm_status read_numbers(const sm_source *source, double value[NUMBERS], sm_error *error) {
    const sm_key *key = sm_source_find_key(source, KEY_NUMBERS);
    if (!key || key->type != SM_KEY_ARRAY || key->element != SM_KEY_FLOAT64 ||
        key->count < FIRST_NUMBERS || key->count > NUMBERS)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is not %zu f64", source->path,
                       KEY_NUMBERS, NUMBERS);
    memset(value, 0, NUMBERS * sizeof value[0]);
    memcpy(value, key->data, key->count * sizeof value[0]);
    return SM_OK;
}

/* Compares bits, where the words of a text would show six digits. */
static sm_status compare_numbers(const sm_trainer *t, const sm_source *source, sm_error *error) {
    double own[NUMBERS], theirs[NUMBERS];
    get_numbers(t, own);
    const sm_status status = read_numbers(source, theirs, error);
    if (status)
        return status;
    for (size_t i = 0; i < NUMBERS; i++) {
        if (!memcmp(&own[i], &theirs[i], sizeof own[i]))
            continue;
        char a[40], b[40];
        const char *name = numbers[i].name;
        sm_format(a, sizeof a, "%g", theirs[i]);
        sm_format(b, sizeof b, "%g", own[i]);
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "%s is a checkpoint of another run: it has %s=%s, this run %s=%s%s",
                       source->path, name, a, name, b,
                       strcmp(a, b) ? "" : " and other digits after these");
    }
    return SM_OK;
}

static sm_status compare_targets(const sm_trainer *t, const sm_source *source, sm_error *error) {
    const char *own = get_targets(t), *theirs;
    uint64_t length;
    const sm_status status = sm_source_get_str(source, KEY_TARGETS, &theirs, &length, error);
    if (status || (length == strlen(own) && !memcmp(own, theirs, length)))
        return status;
    return sm_fail(error, SM_ERR_ARGUMENT,
                   "%s is a checkpoint of another run: it has lora_targets '%.*s', this run '%s'",
                   source->path, length < 100 ? (int)length : 100, theirs, own);
}

static sm_status get_u64(const sm_source *source, const char *name, uint64_t *out,
                         sm_error *error) {
    const sm_key *key = sm_source_find_key(source, name);
    if (!key || key->type != SM_KEY_UINT64)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is missing or no u64", source->path,
                       name);
    memcpy(out, key->data, sizeof *out);
    return SM_OK;
}

/* Whether the file is a checkpoint of a version that is known, and where it stands. */
static sm_status read_state(const sm_source *source, uint64_t state[STATES], sm_error *error) {
    uint32_t version;
    if (sm_source_get_u32(source, KEY_VERSION, &version, error))
        return sm_fail(error, SM_ERR_FORMAT, "%s is no checkpoint", source->path);
    if (version != VERSION && version != VERSION_UNSEALED)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: checkpoint version %u; this program goes on from versions %d and %d",
                       source->path, version, VERSION_UNSEALED, VERSION);
    const sm_key *key = sm_source_find_key(source, KEY_STATE);
    if (!key || key->type != SM_KEY_ARRAY || key->element != SM_KEY_UINT64 || key->count != STATES)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is not %d u64", source->path, KEY_STATE,
                       STATES);
    memcpy(state, key->data, STATES * sizeof *state);
    return SM_OK;
}

/* Whether the same model teaches, or none. */
static sm_status check_teacher(const sm_trainer *t, const sm_source *source, sm_error *error) {
    uint64_t teacher = 0;
    const uint64_t own = t->teacher_path ? sm_source_fingerprint(t->teacher_source) : 0;
    const sm_status status = sm_source_find_key(source, KEY_TEACHER_PRINT)
                                 ? get_u64(source, KEY_TEACHER_PRINT, &teacher, error)
                                 : SM_OK;
    if (status)
        return status;
    return teacher == own ? SM_OK
                          : sm_fail(error, SM_ERR_ARGUMENT,
                                    "%s is a checkpoint of a run with another teacher (or none)",
                                    source->path);
}

static sm_status check_origin(const sm_trainer *t, const sm_source *source, sm_error *error) {
    uint64_t model = 0, data = 0;
    sm_dataset_info info;
    sm_dataset_get_info(t->dataset, &info);
    /* first what an option names, then what it may have changed: the tensors, the documents */
    sm_status status = compare_targets(t, source, error);
    if (!status)
        status = compare_run(t, source, error);
    if (!status)
        status = compare_numbers(t, source, error);
    if (!status)
        status = check_teacher(t, source, error);
    if (!status)
        status = get_u64(source, KEY_MODEL, &model, error);
    if (!status && model != sm_source_fingerprint(t->source))
        status = sm_fail(error, SM_ERR_ARGUMENT, "%s is a checkpoint of another model than %s",
                         source->path, t->path);
    if (!status)
        status = get_u64(source, KEY_DATA, &data, error);
    if (!status && data != info.hash)
        status = sm_fail(error, SM_ERR_ARGUMENT,
                         "%s is not the training data that checkpoint %s was made with: its "
                         "bytes, or how documents part them, have changed",
                         info.path, source->path);
    return status;
}

static sm_status check_tensors(const sm_trainer *t, const sm_source *source, sm_error *error) {
    char name[NAME_SPACE];
    void *data;
    uint64_t bytes;
    for (uint32_t i = 0; tensor_at(t, i, name, &data, &bytes); i++) {
        const sm_tensor *tensor = sm_source_find_tensor(source, name);
        if (!tensor)
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "%s is a checkpoint of another run: it has no tensor '%s'", source->path,
                           name);
        if (tensor->size != bytes)
            return sm_fail(error, SM_ERR_FORMAT, "%s: tensor '%s' is not %llu bytes", source->path,
                           name, (unsigned long long)bytes);
    }
    return SM_OK;
}

/* The sum that files without a seal have; every tensor has been found. */
static sm_status check_sum(const sm_trainer *t, const sm_source *source,
                           const uint64_t state[STATES], sm_error *error) {
    char name[NAME_SPACE];
    void *data;
    uint64_t bytes, wanted = 0, sum = sm_hash_bytes(0, state, STATES * sizeof *state);
    for (uint32_t i = 0; tensor_at(t, i, name, &data, &bytes); i++)
        sum = sm_hash_bytes(sum, sm_source_find_tensor(source, name)->data, bytes);
    sm_status status = get_u64(source, KEY_SUM, &wanted, error);
    if (!status && sum != wanted)
        status =
            sm_fail(error, SM_ERR_FORMAT, "%s: the checkpoint is damaged (checksum)", source->path);
    return status;
}

/* Of a version that had no seal, and without one: check_sum is what there is. */
static bool is_unsealed(const sm_source *source) {
    uint32_t version;
    return !sm_source_get_u32(source, KEY_VERSION, &version, NULL) && version == VERSION_UNSEALED &&
           !sm_source_find_tensor(source, SM_GGUF_SEAL);
}

/* Whether every byte is as it was written, before any of it is believed. */
static sm_status check_whole(const sm_source *source, const sm_hook *hook, sm_error *error) {
    if (is_unsealed(source))
        return SM_OK;
    const sm_status status = sm_source_check_seal(source, hook, error);
    if (status == SM_ERR_MISSING)
        return sm_fail(error, SM_ERR_FORMAT, "%s: the checkpoint has no checksum", source->path);
    return status;
}

/* All of them, which have been checked, and what is derived from them. Where this is cancelled the
 * trainer is of two runs. */
static sm_status take_tensors(sm_trainer *t, const sm_source *source, sm_error *error) {
    char name[NAME_SPACE];
    void *data;
    uint64_t bytes;
    t->update.stage = SM_UPDATE_MIXED;
    t->updating = false;
    for (uint32_t i = 0; tensor_at(t, i, name, &data, &bytes); i++) {
        const uint8_t *from = sm_source_find_tensor(source, name)->data;
        for (uint64_t at = 0, n; at < bytes; at += n) {
            n = bytes - at < PIECE ? bytes - at : PIECE;
            if (asked(t))
                return sm_fail(error, SM_ERR_CANCELLED, "%s: resuming was cancelled", source->path);
            memcpy((uint8_t *)data + at, from + at, n);
        }
    }
    return sm_graph_update(t->graph)
               ? sm_fail(error, SM_ERR_CANCELLED, "%s: resuming was cancelled", source->path)
               : SM_OK;
}

static sm_status resume(sm_trainer *t, const char *path, sm_error *error) {
    sm_source *source;
    uint64_t state[STATES];
    const sm_hook hook = sm_trainer_hook(t);
    sm_status status = sm_source_open_asking(&source, t->mem, path, true, &hook, error);
    if (status)
        return status;
    status = read_state(source, state, error);
    if (!status)
        status = check_whole(source, &hook, error);
    if (!status)
        status = check_origin(t, source, error);
    if (!status && state[0] > t->options.steps)
        status =
            sm_fail(error, SM_ERR_ARGUMENT, "%s stands at step %llu, past the %llu of this run",
                    path, (unsigned long long)state[0], (unsigned long long)t->options.steps);
    if (!status)
        status = check_tensors(t, source, error);
    if (!status && is_unsealed(source))
        status = check_sum(t, source, state, error);
    if (!status) {
        const sm_data_cursor cursor = {state[3], state[4], state[5]};
        status = sm_dataset_seek(t->dataset, &cursor, error);
    }
    if (!status)
        status = take_tensors(t, source, error);
    if (!status) {
        t->step = state[0];
        sm_optim_set_steps(t->optim, state[1]);
        t->tokens = state[2];
        t->epoch = state[3];
        t->epochs = sm_dataset_epochs(t->dataset);
        t->diverged = false;
        t->update.stage = SM_UPDATE_NONE;
    }
    sm_source_close(source);
    return status;
}

sm_status sm_trainer_resume(sm_trainer *t, const char *path, sm_error *error) {
    if (!t || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_trainer_resume: trainer or path is NULL");
    sm_status status = sm_trainer_begin(t, false, error);
    if (status)
        return status;
    status = resume(t, path, error);
    sm_trainer_end(t);
    return status;
}

static const sm_wide info_wide[] = {SM_WIDE_FROM(sm_checkpoint_info, step), {0, 0, 0}};

sm_status sm_checkpoint_get_info(const char *path, sm_checkpoint_info *info, sm_error *error) {
    if (!path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_checkpoint_get_info: path is NULL");
    sm_status status =
        sm_struct_check(info, sizeof *info, info_wide, "sm_checkpoint_get_info", error);
    if (status)
        return status;
    sm_mem *mem;
    sm_source *source;
    uint64_t state[STATES];
    status = sm_mem_create(&mem, NULL, 0, error);
    if (status)
        return status;
    status = sm_source_open(&source, mem, path, true, error);
    if (!status) {
        status = read_state(source, state, error);
        sm_source_close(source);
    }
    sm_mem_destroy(mem);
    if (status)
        return status;
    const sm_checkpoint_info full = {.step = state[0], .steps = state[6], .tokens = state[2]};
    return sm_struct_give(info, &full, sizeof full, info_wide, "sm_checkpoint_get_info", error);
}

/* ---- what a run was made with ---------------------------------------------------------------- */

/* Where strings go. */
typedef struct strings {
    char *text;
    uint64_t capacity, used; /* used: what all of them need, be there room or not */
} strings;

/* A copy of the string; NULL where it is empty or there is no room. */
static const char *keep(strings *s, const char *data, uint64_t length) {
    char *at = s->used < s->capacity ? s->text + s->used : NULL;
    if (!length)
        return NULL;
    s->used += length + 1;
    if (s->used > s->capacity)
        return NULL;
    memcpy(at, data, (size_t)length);
    at[length] = 0;
    return at;
}

/* Room for n pointers, where pointers can lie; NULL where there is none. */
static const char **keep_list(strings *s, uint64_t n) {
    const uint64_t unit = sizeof(const char *), begin = s->used;
    const uint64_t gap = (unit - ((uintptr_t)s->text + begin) % unit) % unit;
    s->used += (n + 1) * unit; /* the same for every text, wherever it lies */
    return s->used > s->capacity ? NULL : (const char **)(void *)(s->text + begin + gap);
}

static bool parse_whole(const char *text, uint64_t *value) {
    *value = 0;
    for (const char *c = text; *c; c++) {
        const uint64_t digit = (uint64_t)(*c - '0');
        if (digit > 9 || *value > (UINT64_MAX - digit) / 10)
            return false;
        *value = 10 * *value + digit;
    }
    return *text != 0;
}

/* A whole number or a choice of the run's text, "rows=8"; others than options are left out. */
static sm_status take_word(sm_trainer_options *o, const char *text, uint64_t length) {
    uint32_t n;
    char name[64] = "", *at;
    const sm_option *table = sm_options_table(SM_OPTIONS_TRAINER, &n);
    if (length >= sizeof name)
        return SM_ERR_FORMAT;
    memcpy(name, text, (size_t)length);
    at = strchr(name, '=');
    if (!at)
        return SM_ERR_FORMAT;
    *at++ = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t value = 0;
        if (strcmp(table[i].name, name) != 0)
            continue;
        if (!strcmp(name, "level"))
            value = sm_level_from_name(at);
        else if (!parse_whole(at, &value))
            return SM_ERR_FORMAT;
        const uint32_t small = (uint32_t)value;
        const bool wide = table[i].type == SM_OPTION_U64;
        if (table[i].type == SM_OPTION_F64 || table[i].type == SM_OPTION_POINTER ||
            (!wide && value > UINT32_MAX))
            return SM_ERR_FORMAT;
        memcpy((uint8_t *)o + table[i].offset, wide ? (const void *)&value : &small,
               wide ? sizeof value : sizeof small);
    }
    return SM_OK;
}

static sm_status take_run(sm_trainer_options *o, const sm_source *source, sm_error *error) {
    const char *text;
    uint64_t length, at = 0;
    sm_status status = sm_source_get_str(source, KEY_RUN, &text, &length, error);
    o->objective = SM_OBJECTIVE_SUPERVISED; /* which it does not say */
    o->length_normalized = 0;
    while (!status && at < length) {
        const uint64_t begin = at, n = word(text, length, &at);
        if (take_word(o, text + begin, n))
            status =
                sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' cannot be read", source->path, KEY_RUN);
    }
    return status;
}

static sm_status take_numbers(sm_trainer_options *o, const sm_source *source, sm_error *error) {
    double value[NUMBERS];
    const sm_status status = read_numbers(source, value, error);
    for (size_t i = 0; !status && i < NUMBERS; i++)
        memcpy((uint8_t *)o + numbers[i].offset, &value[i], sizeof value[i]);
    return status;
}

static sm_status take_strings(sm_trainer_options *o, const char **model_path, strings *s,
                              const sm_source *source, sm_error *error) {
    const sm_key *origin = sm_source_find_key(source, KEY_ORIGIN);
    const char *text;
    uint64_t length, cursor = 0;
    const char **to[ORIGINS] = {model_path, &o->data, &o->separator};
    sm_status status = sm_source_get_str(source, KEY_TARGETS, &text, &length, error);
    if (status)
        return status;
    o->lora_targets = keep(s, text, length);
    o->teacher = NULL;
    if (sm_source_find_key(source, KEY_TEACHER)) {
        status = sm_source_get_str(source, KEY_TEACHER, &text, &length, error);
        if (status)
            return status;
        o->teacher = keep(s, text, length);
    }
    if (origin && (origin->type != SM_KEY_ARRAY || origin->element != SM_KEY_STRING))
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is no array of strings", source->path,
                       KEY_ORIGIN);
    for (int i = 0; origin && i < ORIGINS && sm_key_next_str(origin, &cursor, &text, &length); i++)
        *to[i] = keep(s, text, length);
    if (!origin)
        return SM_OK;
    o->n_more_data = origin->count > ORIGINS ? origin->count - ORIGINS : 0;
    const char **list = o->n_more_data ? keep_list(s, o->n_more_data) : NULL;
    for (uint64_t i = 0; sm_key_next_str(origin, &cursor, &text, &length); i++) {
        const char *path = keep(s, text, length);
        if (list)
            list[i] = path;
    }
    o->more_data = list;
    return SM_OK;
}

/* Of an open file. */
static sm_status take_options(sm_trainer_options *o, const char **model_path, strings *s,
                              const sm_source *source, sm_error *error) {
    uint64_t state[STATES];
    sm_status status = read_state(source, state, error);
    if (!status)
        status = check_whole(source, NULL, error);
    if (!status)
        status = take_run(o, source, error);
    if (!status)
        status = take_numbers(o, source, error);
    if (!status)
        status = take_strings(o, model_path, s, source, error);
    if (!status && sm_source_find_key(source, KEY_KIND))
        status = sm_source_get_u32(source, KEY_KIND, &o->data_kind, error);
    if (!status)
        o->steps = state[6];
    return status;
}

sm_status sm_checkpoint_get_options(const char *path, sm_trainer_options *options,
                                    const char **model_path, char *text, uint64_t capacity,
                                    uint64_t *needed, sm_error *error) {
    if (needed)
        *needed = 0;
    if (!path || !model_path || !needed || (!text && capacity))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_checkpoint_get_options: path, model_path, needed or text is NULL");
    sm_status status =
        sm_struct_check(options, sizeof *options, NULL, "sm_checkpoint_get_options", error);
    if (!status)
        status = sm_options_check(options, SM_OPTIONS_TRAINER, error);
    if (status)
        return status;
    sm_trainer_options o;
    strings s = {text, capacity, 0};
    const char *model = NULL;
    sm_mem *mem;
    sm_source *source;
    status = sm_struct_take(&o, sizeof o, NULL, options, "sm_checkpoint_get_options", error);
    if (!status)
        status = sm_mem_create(&mem, NULL, 0, error);
    if (status)
        return status;
    status = sm_source_open(&source, mem, path, true, error);
    if (!status) {
        status = take_options(&o, &model, &s, source, error);
        sm_source_close(source);
    }
    sm_mem_destroy(mem);
    if (status)
        return status;
    *needed = s.used;
    if (s.used > capacity)
        return sm_fail(error, SM_ERR_BUFFER, "%s: its options need %llu bytes, there are %llu",
                       path, (unsigned long long)s.used, (unsigned long long)capacity);
    if (model)
        *model_path = model;
    sm_options_say_zero(&o, SM_OPTIONS_TRAINER);
    return sm_struct_give(options, &o, sizeof o, NULL, "sm_checkpoint_get_options", error);
}
