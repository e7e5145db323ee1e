/* Calls that take long, in threads of their own. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

enum { AHEAD = 64 }; /* pieces that wait for their reader at most */
enum { PROGRESS, TOKEN, DELTA };

/* What a job has to say; none at its end. */
struct message {
    int kind;
    double done, total;    /* PROGRESS */
    int32_t id, in_prompt; /* TOKEN */
    double logprob;        /* TOKEN */
    uint64_t n_top;        /* TOKEN */
    sm_token_logprob top[SM_MAX_LOGPROBS];
    size_t length;
    char text[];
};

static void job_drop(struct job *job) {
    if (atomic_fetch_sub(&job->refs, 1) > 1)
        return;
    give_back(job->chunks);
    uv_sem_destroy(&job->room);
    box_drop(job->made);
    box_drop(job->box);
    sm_cancel_free(job->own_flag);
    free(job);
}

void job_cancel(struct job *job) {
    if (job->ended)
        return;
    atomic_store(&job->stop, 1);
    sm_cancel_set(job->flag, 1);
    uv_sem_post(&job->room);
}

/* ---- jobs ---- */

/* Tells JavaScript, whose queue may hold so much; non-zero: the work is to end. */
static int32_t tell(struct job *job, struct message *message) {
    if (!message)
        job->no_memory = 1;
    else if (!job->deaf && !atomic_load(&job->stop))
        uv_sem_wait(&job->room);
    if (!message || job->deaf || atomic_load(&job->stop)) {
        free(message);
        return 1;
    }
    if (napi_call_threadsafe_function(job->to, message, napi_tsfn_nonblocking) == napi_ok)
        return 0;
    free(message);
    job->deaf = 1;
    return 1;
}

static struct message *message_new(int kind, const char *text, uint64_t length) {
    struct message *message = calloc(1, sizeof *message + (size_t)length);
    if (!message)
        return NULL;
    message->kind = kind;
    message->length = (size_t)length;
    if (length)
        memcpy(message->text, text, (size_t)length);
    return message;
}

int32_t SM_CALL on_token(void *user, const sm_token *token) {
    struct message *message = message_new(TOKEN, token->text, token->length);
    if (message) {
        message->id = token->id;
        message->logprob = token->logprob;
        message->in_prompt = token->in_prompt != 0;
        message->n_top = token->n_top < SM_MAX_LOGPROBS ? token->n_top : SM_MAX_LOGPROBS;
        if (message->n_top)
            memcpy(message->top, token->top, (size_t)message->n_top * sizeof *token->top);
    }
    return tell(user, message);
}

int32_t SM_CALL on_delta(void *user, const sm_delta *delta) {
    return tell(user, message_new(DELTA, delta->json, delta->json_length));
}

int32_t SM_CALL on_progress(void *user, uint64_t done, uint64_t total) {
    struct message *message = message_new(PROGRESS, NULL, 0);
    if (message) {
        message->done = (double)done;
        message->total = (double)total;
    }
    return tell(user, message);
}

static napi_value progress_of(napi_env env, const struct message *message) {
    napi_value value = NULL, number = NULL;
    napi_create_array(env, &value);
    napi_create_double(env, message->done, &number);
    napi_set_element(env, value, 0, number);
    napi_create_double(env, message->total, &number);
    napi_set_element(env, value, 1, number);
    return value;
}

static napi_value token_of(napi_env env, const struct message *message) {
    napi_value value = NULL, text = NULL, in_prompt = NULL;
    napi_create_object(env, &value);
    napi_create_string_utf8(env, message->text, message->length, &text);
    napi_get_boolean(env, message->in_prompt, &in_prompt);
    set_number(env, value, "id", message->id);
    napi_set_named_property(env, value, "text", text);
    set_number(env, value, "logprob", message->logprob);
    napi_set_named_property(env, value, "top", top_object(env, message->top, message->n_top));
    napi_set_named_property(env, value, "in_prompt", in_prompt);
    return value;
}

static napi_value value_of(napi_env env, const struct message *message) {
    napi_value value = NULL;
    if (message->kind == PROGRESS)
        return progress_of(env, message);
    if (message->kind == TOKEN)
        return token_of(env, message);
    napi_create_string_utf8(env, message->text, message->length, &value);
    return value;
}

/* What the work gave: undefined, a number, numbers, or the handle that it made. */
static napi_value outcome(napi_env env, struct job *job) {
    napi_value value = undefined(env);
    if (!job->status && job->made && box_wrap(env, job->made, &value))
        job->made = NULL;
    else if (!job->status && job->floats)
        value = new_array(env, napi_float32_array, job->floats, (size_t)job->n_floats);
    else if (!job->status && job->number >= 0)
        napi_create_double(env, job->number, &value);
    return value;
}

/* The session goes on without it: a handle that was closed goes now, whoever holds the job. */
static void job_leave(struct job *job) {
    struct box *box = job->box;
    job->ended = 1;
    job->box = NULL;
    if (box && box->job == job)
        box->job = NULL;
    box_drop(box);
}

/* Main thread: calls back with (value) of a message, or (undefined, error, outcome) at the end. */
static void told(napi_env env, napi_value callback, void *context, void *data) {
    struct job *job = context;
    struct message *message = data;
    napi_value values[3];
    if (!env) { /* the program ends; the job may be gone */
        free(message);
        return;
    }
    if (message) {
        values[0] = value_of(env, message);
        free(message);
        napi_call_function(env, undefined(env), callback, 1, values, NULL);
        return;
    }
    job_leave(job);
    values[0] = undefined(env);
    values[1] = job->status ? failure(env, &job->error) : undefined(env);
    values[2] = outcome(env, job);
    napi_call_function(env, undefined(env), callback, 3, values, NULL);
}

static void run(void *argument) {
    struct job *job = argument;
    job->status = job->work(job);
    if (job->no_memory)
        job->status = no_memory(&job->error);
    if (!job->deaf &&
        napi_call_threadsafe_function(job->to, NULL, napi_tsfn_nonblocking) == napi_ok)
        napi_release_threadsafe_function(job->to, napi_tsfn_release);
}

/* The threadsafe function goes: behind the job's end, or before it where the program ends. */
static void job_finalize(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    struct job *job = data;
    if (job->started) {
        job_cancel(job);
        uv_thread_join(&job->thread);
    }
    job_leave(job);
    job_drop(job);
}

static void job_external_finalize(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    job_drop(data);
}

struct job *job_new(struct box *box, sm_status (*work)(struct job *)) {
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    if (uv_sem_init(&job->room, AHEAD)) {
        free(job);
        return NULL;
    }
    atomic_init(&job->refs, 1);
    atomic_init(&job->stop, 0);
    job->work = work;
    job->number = -1;
    job->box = box ? box_keep(box) : NULL;
    if (!box && sm_cancel_new(&job->own_flag, NULL)) {
        job_drop(job);
        return NULL;
    }
    job->flag = box ? box->flag : job->own_flag;
    return job;
}

static napi_value started(napi_env env, struct job *job, napi_value external) {
    job->started = 1;
    if (job->box)
        job->box->job = job;
    sm_cancel_set(job->flag, 0);
    if (!uv_thread_create(&job->thread, run, job))
        return external;
    job->started = 0;
    if (job->box)
        job->box->job = NULL;
    napi_release_threadsafe_function(job->to, napi_tsfn_abort);
    return throw_own(env, SM_ERR_SYSTEM, "no thread could be made");
}

napi_value start(napi_env env, struct job *job, int ready, napi_value callback) {
    napi_value external = NULL, name = NULL;
    if (!job)
        return throw_no_memory(env);
    napi_create_string_utf8(env, "smallmind", NAPI_AUTO_LENGTH, &name);
    if (!ready || napi_create_external(env, job, job_external_finalize, NULL, &external)) {
        job_drop(job);
        return throw_no_memory(env);
    }
    atomic_fetch_add(&job->refs, 1); /* the threadsafe function's */
    if (napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, job, job_finalize, job,
                                        told, &job->to)) {
        job_drop(job);
        return throw_no_memory(env);
    }
    return started(env, job, external);
}

static struct job *job_of(napi_env env, napi_value value) {
    struct job *job = NULL;
    napi_get_value_external(env, value, (void **)&job);
    return job;
}

/* cancel(job) */
napi_value cancel(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    arguments_of(env, info, 1, &argument);
    job_cancel(job_of(env, argument));
    return undefined(env);
}

/* taken(job): there is room for one more piece */
napi_value taken(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    arguments_of(env, info, 1, &argument);
    uv_sem_post(&job_of(env, argument)->room);
    return undefined(env);
}

/* hold(job, on): whether the program goes on for it */
napi_value hold(napi_env env, napi_callback_info info) {
    napi_value arguments[2];
    bool on = false;
    arguments_of(env, info, 2, arguments);
    struct job *job = job_of(env, arguments[0]);
    napi_get_value_bool(env, arguments[1], &on);
    if (job->ended)
        return undefined(env);
    if (on)
        napi_ref_threadsafe_function(env, job->to);
    else
        napi_unref_threadsafe_function(env, job->to);
    return undefined(env);
}
