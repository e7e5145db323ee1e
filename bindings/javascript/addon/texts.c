/* Texts and answers. */
#include "addon.h"

static int bias_of(napi_env env, struct chunk **chunks, sm_sampling *sampling, napi_value lists,
                   uint32_t at) {
    napi_value value = NULL;
    size_t n = 0;
    napi_get_element(env, lists, at, &value);
    const int32_t *ids = array_of(env, value, &n);
    napi_get_element(env, lists, at + 1, &value);
    const double *values = array_of(env, value, &n);
    sm_logit_bias *bias = take(chunks, (n + 1) * sizeof *bias);
    for (size_t i = 0; bias && i < n; i++)
        bias[i] = (sm_logit_bias){.token = ids[i], .bias = values[i]};
    sampling->bias = bias;
    sampling->n_bias = n;
    return bias != NULL;
}

/* [pairs, [breakers, tokens, biases]] */
static int sampling_of(napi_env env, struct chunk **chunks, sm_sampling *sampling,
                       napi_value options) {
    napi_value pairs = NULL, lists = NULL;
    napi_get_element(env, options, 0, &pairs);
    napi_get_element(env, options, 1, &lists);
    return fill(env, chunks, SM_OPTIONS_SAMPLING, pairs, sampling, sizeof *sampling) &&
           texts_at(env, chunks, lists, 0, &sampling->dry_breaker_texts,
                    &sampling->n_dry_breaker_texts) &&
           bias_of(env, chunks, sampling, lists, 1);
}

/* sample(session, options of sampling): {id, logprob, rank} */
napi_value sample(napi_env env, napi_callback_info info) {
    napi_value arguments[2], value = NULL;
    sm_error error = {0};
    sm_sampling sampling = {0};
    sm_choice choice = {.struct_size = sizeof choice};
    struct chunk *chunks = NULL;
    arguments_of(env, info, 2, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    int ready = sampling_of(env, &chunks, &sampling, arguments[1]);
    sm_status status =
        ready ? sm_session_sample(box->handle, &sampling, &choice, &error) : no_memory(&error);
    give_back(chunks);
    if (status)
        return throw_error(env, &error);
    napi_create_object(env, &value);
    set_number(env, value, "id", choice.id);
    set_number(env, value, "logprob", choice.logprob);
    set_number(env, value, "rank", (double)choice.rank);
    return value;
}

/* [kind, text] or undefined: it is made by the job */
static int constraint_of(napi_env env, struct job *job, napi_value options) {
    napi_value pair = NULL, value = NULL;
    napi_valuetype type = napi_undefined;
    napi_get_element(env, options, 3, &pair);
    napi_typeof(env, pair, &type);
    if (type != napi_object)
        return 1;
    napi_get_element(env, pair, 0, &value);
    napi_get_value_uint32(env, value, &job->constraint_kind);
    napi_get_element(env, pair, 1, &value);
    job->constraint = text_of(env, &job->chunks, value);
    return job->constraint.text != NULL;
}

/* options: [pairs of generate, [stop, ban], options of sampling, constraint] */
static int options_of(napi_env env, struct job *job, napi_value options) {
    napi_value pairs = NULL, lists = NULL, sampling = NULL;
    struct chunk **chunks = &job->chunks;
    sm_generate_options *how = &job->generate;
    napi_get_element(env, options, 0, &pairs);
    napi_get_element(env, options, 1, &lists);
    napi_get_element(env, options, 2, &sampling);
    how->sampling = &job->sampling;
    return fill(env, chunks, SM_OPTIONS_GENERATE, pairs, how, sizeof *how) &&
           texts_at(env, chunks, lists, 0, &how->stop, &how->n_stop) &&
           texts_at(env, chunks, lists, 1, &how->ban, &how->n_ban) &&
           sampling_of(env, chunks, &job->sampling, sampling) && constraint_of(env, job, options);
}

static sm_status constraint_make(struct job *job, const sm_tokenizer *tokenizer) {
    sm_constraint_options how = {.struct_size = sizeof how, .cancel_flag = job->flag};
    sm_schema_options reading = {.struct_size = sizeof reading, .cancel_flag = job->flag};
    const char *text = job->constraint.text;
    uint64_t length = job->constraint.length;
    sm_constraint **out = &job->generate.constraint;
    if (job->constraint_kind)
        return sm_constraint_new(out, tokenizer, job->constraint_kind, text, length, &how,
                                 &job->error);
    return sm_constraint_new_schema(out, tokenizer, text, length, &reading, &how, &job->error);
}

/* Makes what the text must match, if anything, and does the work with it. */
static sm_status constrained(struct job *job, sm_status (*work)(struct job *job)) {
    sm_tokenizer *tokenizer = NULL;
    sm_status status = SM_OK;
    if (job->constraint.text)
        status = sm_model_get_tokenizer(job->box->model->handle, &tokenizer, &job->error);
    if (!status && job->constraint.text)
        status = constraint_make(job, tokenizer);
    if (!status)
        status = work(job);
    sm_constraint_free(job->generate.constraint);
    sm_tokenizer_free(tokenizer);
    return status;
}

static sm_status text_work(struct job *job) {
    return sm_session_generate(job->box->handle, job->prompt.text, job->prompt.length,
                               &job->generate, on_token, job, &job->error);
}

static sm_status generate_work(struct job *job) {
    return constrained(job, text_work);
}

/* generate(session, prompt, options, callback) */
napi_value generate(napi_env env, napi_callback_info info) {
    napi_value arguments[4];
    arguments_of(env, info, 4, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    struct job *job = job_new(box, generate_work);
    if (job)
        job->prompt = text_of(env, &job->chunks, arguments[1]);
    int ready = job && job->prompt.text && options_of(env, job, arguments[2]);
    return start(env, job, ready, arguments[3]);
}

static sm_status answer_work(struct job *job) {
    sm_chat *chat = NULL;
    sm_chat_options how = {.struct_size = sizeof how, .template_name = job->layout};
    sm_status status = sm_chat_new_from_model(&chat, job->box->model->handle, &how, &job->error);
    if (!status)
        status = sm_session_chat(job->box->handle, chat, job->messages, job->tools, &job->answer,
                                 on_delta, job, &job->error);
    sm_chat_free(chat);
    return status;
}

static sm_status chat_work(struct job *job) {
    return constrained(job, answer_work);
}

/* texts: [messages, tools, template, tool_choice, format, variables], of which all but the first
 * may be undefined */
static int chat_of(napi_env env, struct job *job, napi_value texts) {
    struct chunk **chunks = &job->chunks;
    job->answer.struct_size = sizeof job->answer;
    job->answer.generate = &job->generate;
    return text_at(env, chunks, texts, 0, &job->messages) &&
           text_at(env, chunks, texts, 1, &job->tools) &&
           text_at(env, chunks, texts, 2, &job->layout) &&
           text_at(env, chunks, texts, 3, &job->answer.tool_choice) &&
           text_at(env, chunks, texts, 4, &job->answer.format) &&
           text_at(env, chunks, texts, 5, &job->answer.variables);
}

/* chat(session, texts, options, callback) */
napi_value chat(napi_env env, napi_callback_info info) {
    napi_value arguments[4];
    arguments_of(env, info, 4, arguments);
    struct box *box = idle(env, arguments[0], SESSION);
    if (!box)
        return NULL;
    struct job *job = job_new(box, chat_work);
    int ready = job && chat_of(env, job, arguments[1]) && options_of(env, job, arguments[2]);
    return start(env, job, ready, arguments[3]);
}
