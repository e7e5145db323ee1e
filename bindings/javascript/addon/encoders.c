/* Vectors and scores of texts. */
#include "addon.h"

/* encoder(model, pairs) */
napi_value encoder(napi_env env, napi_callback_info info) {
    napi_value arguments[2], external = NULL;
    sm_error error = {0};
    sm_encoder_options how = {0};
    sm_encoder *made = NULL;
    struct chunk *chunks = NULL;
    arguments_of(env, info, 2, arguments);
    struct box *model = opened(env, arguments[0], MODEL);
    if (!model)
        return NULL;
    struct box *box = box_new_of(ENCODER, model);
    if (!box)
        return throw_no_memory(env);
    int ready = fill(env, &chunks, SM_OPTIONS_ENCODER, arguments[1], &how, sizeof how);
    how.cancel_flag = box->flag;
    sm_status status =
        ready ? sm_encoder_new(&made, model->handle, &how, &error) : no_memory(&error);
    give_back(chunks);
    box->handle = made;
    if (!status && box_wrap(env, box, &external))
        return external;
    box_drop(box);
    return status ? throw_error(env, &error) : throw_no_memory(env);
}

/* encoderInfo(encoder) */
napi_value encoder_info(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    sm_encoder_info what = {.struct_size = sizeof what};
    sm_error error = {0};
    arguments_of(env, info, 1, &argument);
    struct box *box = opened(env, argument, ENCODER);
    if (!box)
        return NULL;
    if (sm_encoder_get_info(box->handle, &what, &error))
        return throw_error(env, &error);
    return encoder_info_object(env, &what);
}

/* labels(encoder): of those that have none undefined */
napi_value labels(napi_env env, napi_callback_info info) {
    napi_value argument = NULL, array = NULL, value = NULL;
    sm_encoder_info what = {.struct_size = sizeof what};
    sm_error error = {0};
    arguments_of(env, info, 1, &argument);
    struct box *box = opened(env, argument, ENCODER);
    if (!box)
        return NULL;
    if (sm_encoder_get_info(box->handle, &what, &error))
        return throw_error(env, &error);
    napi_create_array(env, &array);
    for (uint32_t i = 0; i < what.n_labels; i++) {
        uint64_t length = 0;
        const char *label = sm_encoder_label(box->handle, i, &length);
        if (label)
            napi_create_string_utf8(env, label, (size_t)length, &value);
        napi_set_element(env, array, i, label ? value : undefined(env));
    }
    return array;
}

/* Room for so many numbers of each text; 0: out of memory. */
static int room_for(struct job *job, uint64_t each) {
    job->n_floats = job->n_texts * each;
    job->floats = take(&job->chunks, (size_t)(job->n_floats + 1) * sizeof *job->floats);
    return job->floats != NULL;
}

static sm_encoder_info info_of(const struct job *job) {
    sm_encoder_info what = {.struct_size = sizeof what};
    sm_encoder_get_info(job->box->handle, &what, NULL);
    return what;
}

static sm_status embed_work(struct job *job) {
    if (!room_for(job, info_of(job).n_dims))
        return no_memory(&job->error);
    return sm_encoder_embed(job->box->handle, job->texts, job->n_texts, job->floats, job->n_floats,
                            &job->error);
}

static sm_status score_work(struct job *job) {
    uint32_t n_labels = info_of(job).n_labels;
    if (!room_for(job, n_labels ? n_labels : 1)) /* without any the call says what is wrong */
        return no_memory(&job->error);
    return sm_encoder_score(job->box->handle, job->texts, job->n_texts, job->floats, job->n_floats,
                            &job->error);
}

static sm_status rerank_work(struct job *job) {
    if (!room_for(job, 1))
        return no_memory(&job->error);
    return sm_encoder_rerank(job->box->handle, job->prompt.text, job->prompt.length, job->texts,
                             job->n_texts, job->floats, job->n_floats, &job->error);
}

/* (encoder, [texts, query], callback): the query of rerank alone */
static napi_value over_texts(napi_env env, napi_callback_info info,
                             sm_status (*work)(struct job *job)) {
    napi_value arguments[3], query = NULL;
    arguments_of(env, info, 3, arguments);
    struct box *box = idle(env, arguments[0], ENCODER);
    if (!box)
        return NULL;
    struct job *job = job_new(box, work);
    int ready = job && texts_at(env, &job->chunks, arguments[1], 0, &job->texts, &job->n_texts);
    if (ready && work == rerank_work) {
        napi_get_element(env, arguments[1], 1, &query);
        job->prompt = text_of(env, &job->chunks, query);
        ready = job->prompt.text != NULL;
    }
    return start(env, job, ready, arguments[2]);
}

/* embed(encoder, [texts], callback) */
napi_value embed(napi_env env, napi_callback_info info) {
    return over_texts(env, info, embed_work);
}

/* score(encoder, [texts], callback) */
napi_value score(napi_env env, napi_callback_info info) {
    return over_texts(env, info, score_work);
}

/* rerank(encoder, [documents, query], callback) */
napi_value rerank(napi_env env, napi_callback_info info) {
    return over_texts(env, info, rerank_work);
}
