/* Sessions, token by token. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

static int ids_of(napi_env env, struct job *job, napi_value value) {
    size_t n = 0;
    const int32_t *ids = array_of(env, value, &n);
    job->ids = take(&job->chunks, (n + 1) * sizeof *ids);
    if (job->ids && n)
        memcpy(job->ids, ids, n * sizeof *ids);
    job->n_ids = n;
    return job->ids != NULL;
}

/* session(model, pairs) */
napi_value session(napi_env env, napi_callback_info info) {
    napi_value arguments[2], external = NULL;
    sm_error error = {0};
    sm_session_options how = {0};
    sm_session *made = NULL;
    struct chunk *chunks = NULL;
    arguments_of(env, info, 2, arguments);
    struct box *model = opened(env, arguments[0], MODEL);
    if (!model)
        return NULL;
    struct box *box = box_new_of(SESSION, model);
    if (!box)
        return throw_no_memory(env);
    int ready = fill(env, &chunks, SM_OPTIONS_SESSION, arguments[1], &how, sizeof how);
    how.cancel_flag = box->flag;
    sm_status status =
        ready ? sm_session_new(&made, model->handle, &how, &error) : no_memory(&error);
    give_back(chunks);
    box->handle = made;
    if (!status && box_wrap(env, box, &external))
        return external;
    box_drop(box);
    return status ? throw_error(env, &error) : throw_no_memory(env);
}

/* length(session) */
napi_value length(napi_env env, napi_callback_info info) {
    napi_value argument = NULL, value = NULL;
    arguments_of(env, info, 1, &argument);
    struct box *box = opened(env, argument, SESSION);
    if (box)
        napi_create_uint32(env, sm_session_length(box->handle), &value);
    return value;
}

/* tokens(session) */
napi_value tokens(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    sm_error error = {0};
    uint64_t n = 0;
    arguments_of(env, info, 1, &argument);
    struct box *box = opened(env, argument, SESSION);
    if (!box)
        return NULL;
    uint32_t held = sm_session_length(box->handle);
    int32_t *ids = calloc(held + (size_t)1, sizeof *ids);
    if (!ids)
        return throw_no_memory(env);
    sm_status status = sm_session_tokens(box->handle, 0, ids, held, &n, &error);
    napi_value value =
        status ? throw_error(env, &error) : new_array(env, napi_int32_array, ids, (size_t)n);
    free(ids);
    return value;
}

/* logits(session): a copy */
napi_value logits(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    sm_error error = {0};
    const float *values = NULL;
    uint64_t n = 0;
    arguments_of(env, info, 1, &argument);
    struct box *box = idle(env, argument, SESSION);
    if (!box)
        return NULL;
    if (sm_session_logits(box->handle, &values, &n, &error))
        return throw_error(env, &error);
    return new_array(env, napi_float32_array, values, (size_t)n);
}

/* stats(session) */
napi_value stats(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    sm_error error = {0};
    sm_generate_stats what = {.struct_size = sizeof what};
    arguments_of(env, info, 1, &argument);
    struct box *box = idle(env, argument, SESSION);
    if (!box)
        return NULL;
    if (sm_session_get_stats(box->handle, &what, &error))
        return throw_error(env, &error);
    return stats_object(env, &what);
}

static sm_status feed_work(struct job *job) {
    return sm_session_feed(job->box->handle, job->ids, job->n_ids, &job->error);
}

/* feed(session, ids, callback) */
napi_value feed(napi_env env, napi_callback_info info) {
    napi_value arguments[3];
    arguments_of(env, info, 3, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    struct job *job = job_new(box, feed_work);
    return start(env, job, job && ids_of(env, job, arguments[1]), arguments[2]);
}

static sm_status sync_work(struct job *job) {
    uint64_t reused = 0;
    sm_status status =
        sm_session_sync(job->box->handle, job->ids, job->n_ids, &reused, &job->error);
    job->number = (double)reused;
    return status;
}

/* sync(session, ids, callback): tells how many were there */
napi_value sync_session(napi_env env, napi_callback_info info) {
    napi_value arguments[3];
    arguments_of(env, info, 3, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    struct job *job = job_new(box, sync_work);
    return start(env, job, job && ids_of(env, job, arguments[1]), arguments[2]);
}

static sm_status fork_work(struct job *job) {
    sm_session *made = NULL;
    sm_status status = sm_session_fork(&made, job->box->handle, &job->fork, &job->error);
    job->made->handle = made;
    return status;
}

/* fork(session, pairs, callback): makes a session */
napi_value fork_session(napi_env env, napi_callback_info info) {
    napi_value arguments[3];
    arguments_of(env, info, 3, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    struct job *job = job_new(box, fork_work);
    if (job)
        job->made = box_new_of(SESSION, box->model);
    int ready =
        job && job->made &&
        fill(env, &job->chunks, SM_OPTIONS_FORK, arguments[1], &job->fork, sizeof job->fork);
    if (ready)
        job->fork.cancel_flag = job->made->flag;
    return start(env, job, ready, arguments[2]);
}

static sm_status rewind_work(struct job *job) {
    return sm_session_rewind(job->box->handle, job->length, &job->error);
}

/* rewind(session, length, callback) */
napi_value rewind_to(napi_env env, napi_callback_info info) {
    napi_value arguments[3];
    arguments_of(env, info, 3, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    struct job *job = job_new(box, rewind_work);
    if (job)
        napi_get_value_uint32(env, arguments[1], &job->length);
    return start(env, job, 1, arguments[2]);
}
