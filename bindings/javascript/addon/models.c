/* Models and their vocabularies. */
#include "addon.h"

static sm_status load_work(struct job *job) {
    sm_model *model = NULL;
    sm_status status = sm_model_load(&model, job->path, &job->loading, &job->error);
    job->made->handle = model;
    return status;
}

/* load(path, pairs, progress?, callback) */
napi_value load(napi_env env, napi_callback_info info) {
    napi_value arguments[4];
    bool progress = false;
    arguments_of(env, info, 4, arguments);
    struct job *job = job_new(NULL, load_work);
    if (!job)
        return throw_no_memory(env);
    job->path = text_of(env, &job->chunks, arguments[0]).text;
    job->made = box_new(MODEL);
    int ready =
        job->path && job->made &&
        fill(env, &job->chunks, SM_OPTIONS_MODEL, arguments[1], &job->loading, sizeof job->loading);
    napi_get_value_bool(env, arguments[2], &progress);
    job->loading.progress = progress ? on_progress : NULL;
    job->loading.progress_user = job;
    job->loading.cancel_flag = job->flag;
    return start(env, job, ready, arguments[3]);
}

/* model_info(model) */
napi_value model_info(napi_env env, napi_callback_info info) {
    napi_value argument = NULL;
    sm_model_info what = {.struct_size = sizeof what};
    sm_error error = {0};
    arguments_of(env, info, 1, &argument);
    struct box *box = opened(env, argument, MODEL);
    if (!box)
        return NULL;
    if (sm_model_get_info(box->handle, &what, &error))
        return throw_error(env, &error);
    return model_info_object(env, &what);
}

/* Once more where normalization makes a text longer. */
static sm_status encode_text(const sm_tokenizer *tokenizer, sm_text text, uint32_t flags,
                             struct chunk **chunks, int32_t **ids, uint64_t *n, sm_error *error) {
    sm_encode_options how = {.struct_size = sizeof how, .flags = flags};
    sm_status status = SM_ERR_BUFFER;
    *n = 2 * text.length + 16;
    for (int i = 0; i < 2 && status == SM_ERR_BUFFER; i++) {
        uint64_t capacity = *n;
        *ids = take(chunks, (size_t)capacity * sizeof **ids);
        if (!*ids)
            return no_memory(error);
        status =
            sm_tokenizer_encode(tokenizer, text.text, text.length, &how, *ids, capacity, n, error);
    }
    return status;
}

/* encode(model, text, flags) */
napi_value encode(napi_env env, napi_callback_info info) {
    napi_value arguments[3], result = NULL;
    sm_error error = {0};
    sm_tokenizer *tokenizer = NULL;
    struct chunk *chunks = NULL;
    uint32_t flags = 0;
    int32_t *ids = NULL;
    uint64_t n = 0;
    arguments_of(env, info, 3, arguments);
    struct box *box = opened(env, arguments[0], MODEL);
    if (!box)
        return NULL;
    sm_text text = text_of(env, &chunks, arguments[1]);
    napi_get_value_uint32(env, arguments[2], &flags);
    if (!text.text)
        return throw_no_memory(env);
    if (sm_model_get_tokenizer(box->handle, &tokenizer, &error) ||
        encode_text(tokenizer, text, flags, &chunks, &ids, &n, &error))
        throw_error(env, &error);
    else
        result = new_array(env, napi_int32_array, ids, (size_t)n);
    sm_tokenizer_free(tokenizer);
    give_back(chunks);
    return result;
}

static sm_status decode_ids(const sm_tokenizer *tokenizer, const int32_t *ids, size_t n_ids,
                            uint32_t flags, struct chunk **chunks, char **text, uint64_t *n,
                            sm_error *error) {
    sm_status status = SM_ERR_BUFFER;
    *n = 16 * (uint64_t)n_ids + 64;
    for (int i = 0; i < 2 && status == SM_ERR_BUFFER; i++) {
        uint64_t capacity = *n;
        *text = take(chunks, (size_t)capacity);
        if (!*text)
            return no_memory(error);
        status = sm_tokenizer_decode(tokenizer, ids, n_ids, flags, *text, capacity, n, error);
    }
    return status;
}

/* decode(model, ids, flags) */
napi_value decode(napi_env env, napi_callback_info info) {
    napi_value arguments[3], result = NULL;
    sm_error error = {0};
    sm_tokenizer *tokenizer = NULL;
    struct chunk *chunks = NULL;
    uint32_t flags = 0;
    char *text = NULL;
    uint64_t n = 0;
    size_t n_ids = 0;
    arguments_of(env, info, 3, arguments);
    struct box *box = opened(env, arguments[0], MODEL);
    if (!box)
        return NULL;
    const int32_t *ids = array_of(env, arguments[1], &n_ids);
    napi_get_value_uint32(env, arguments[2], &flags);
    if (sm_model_get_tokenizer(box->handle, &tokenizer, &error) ||
        decode_ids(tokenizer, ids, n_ids, flags, &chunks, &text, &n, &error))
        throw_error(env, &error);
    else
        napi_create_string_utf8(env, text, (size_t)n, &result);
    sm_tokenizer_free(tokenizer);
    give_back(chunks);
    return result;
}
