/* encoders.c - an encoder's handle, and its steps: sequences of any lengths, packed one behind the
 * other, each computed whole. */
#include "encoders.h"

#include <string.h>

#define DEFAULT_BATCH 512u
#define DEFAULT_TOKENS 8192u
#define DEFAULT_THREADS 8u

/* ---- making ------------------------------------------------------------------------------- */

/* Keys and values of f32: they are there for one block only. */
static uint64_t cache_bytes(const sm_net *net, uint32_t tokens) {
    return (sm_state_bytes(net, SM_KV_F32, tokens) + SM_ALIGN - 1) / SM_ALIGN * SM_ALIGN;
}

static void release(sm_encoder *e) {
    sm_mem *mem = e->mem;
    sm_model *model = (sm_model *)(uintptr_t)e->model;
    sm_team_free(e->team);
    sm_workspace_free(e->workspace);
    sm_cancel_free(e->flag);
    sm_free(mem, e->prefix);
    sm_free(mem, e->spans);
    sm_free(mem, e->states);
    sm_free(mem, e->kv);
    sm_free(mem, e->memory);
    sm_free(mem, e->ids);
    sm_free(mem, e->types);
    sm_free(mem, e->outputs);
    sm_free(mem, e->hidden);
    sm_free(mem, e->rows);
    sm_free(mem, e);
    sm_model_free(model);
}

void sm_encoder_free(sm_encoder *e) {
    if (e && sm_use_free(&e->use))
        release(e);
}

static sm_status allocate(sm_encoder *e, sm_error *error) {
    const sm_net *net = e->model->net;
    const uint64_t n_batch = e->o.n_batch, n_kv = (uint64_t)SM_ENCODER_SPANS * net->n_states;
    /* spans are cut to whole tiles of tokens, and begin on cache lines */
    const uint32_t tokens = e->o.n_batch + SM_KV_TILE * SM_ENCODER_SPANS;
    e->spans = sm_alloc_array(e->mem, SM_ENCODER_SPANS, sizeof *e->spans);
    e->states = sm_alloc_array(e->mem, SM_ENCODER_SPANS, sizeof *e->states);
    e->kv = sm_alloc_array(e->mem, n_kv, sizeof *e->kv);
    e->memory = sm_alloc(e->mem, cache_bytes(net, tokens) +
                                     SM_ENCODER_SPANS * (cache_bytes(net, 0) + 2 * SM_ALIGN));
    e->ids = sm_alloc_array(e->mem, n_batch, sizeof *e->ids);
    e->types = sm_alloc_array(e->mem, n_batch, sizeof *e->types);
    e->outputs = sm_alloc_array(e->mem, n_batch, sizeof *e->outputs);
    e->hidden = sm_alloc_array(e->mem, n_batch, sizeof *e->hidden);
    e->rows = sm_alloc_array(e->mem, n_batch * net->config.n_embd, sizeof *e->rows);
    return e->spans && e->states && e->kv && e->memory && e->ids && e->types && e->outputs &&
                   e->hidden && e->rows
               ? SM_OK
               : sm_fail(error, SM_ERR_NOMEM, "out of memory for an encoder of %u tokens a step",
                         e->o.n_batch);
}

/* What the model says, or what the options say instead. */
static sm_pooling_type pooling_of(const sm_net *net, uint32_t asked) {
    static const sm_pooling_type of[] = {
        [SM_POOLING_MEAN] = SM_POOLED_MEAN,
        [SM_POOLING_FIRST] = SM_POOLED_FIRST,
        [SM_POOLING_LAST] = SM_POOLED_LAST,
    };
    const sm_pooling_type own = net->pooling.type;
    if (asked != SM_POOLING_MODEL)
        return of[asked];
    if (own == SM_POOLED_NOT)
        return net->both ? SM_POOLED_MEAN : SM_POOLED_LAST;
    return own == SM_POOLED_RANK ? SM_POOLED_FIRST : own;
}

/* A kind whose state is not keys and values of each token would have to be told where its sequence
 * begins. */
static sm_status check_model(const sm_model *model, const sm_encoder_options *o, sm_error *error) {
    const sm_net *net = model->net;
    const uint32_t most = net->positions.rows;
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind->has_state && !sm_block_attends(&net->blocks[i]))
            return sm_fail(error, SM_ERR_UNSUPPORTED,
                           "%s: models of architecture '%s' make no vectors in this version",
                           model->source->path, net->config.architecture);
    if (most && o->max_tokens > most)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_encoder_options: max_tokens is %u, but the model knows no more than %u "
                       "positions",
                       o->max_tokens, most);
    if (o->n_dims > sm_pool_dims(net))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_encoder_options: n_dims is %u, but the model's vectors have %u",
                       o->n_dims, sm_pool_dims(net));
    return SM_OK;
}

/* What the model's makers cut texts to, or what it can. */
static uint32_t usual_tokens(const sm_model *model) {
    const sm_config *c = &model->net->config;
    char name[128];
    uint32_t n = 0;
    sm_format(name, sizeof name, "%s." SM_K_TEXT_TOKENS, c->architecture);
    if (sm_source_find_key(model->source, name))
        sm_source_get_u32(model->source, name, &n, NULL);
    const uint32_t most = min_u32(c->n_ctx_train, DEFAULT_TOKENS);
    return n ? min_u32(n, most) : most;
}

static void set_defaults(sm_encoder_options *o, const sm_model *model) {
    if (!o->n_threads)
        o->n_threads = min_u32(sm_cpu_count(), DEFAULT_THREADS);
    if (!o->max_tokens)
        o->max_tokens = usual_tokens(model);
    if (!o->n_batch)
        o->n_batch = DEFAULT_BATCH;
    if (o->n_batch < o->max_tokens)
        o->n_batch = o->max_tokens;
}

/* Text i of a key that has several; false: there is none. */
static bool text_of_key(const sm_model *model, const char *suffix, uint64_t i, sm_text *out) {
    char name[128];
    uint64_t cursor = 0;
    sm_format(name, sizeof name, "%s.%s", model->net->config.architecture, suffix);
    const sm_key *key = sm_source_find_key(model->source, name);
    bool there = key && key->type == SM_KEY_ARRAY && key->element == SM_KEY_STRING;
    for (uint64_t k = 0; k <= i && there; k++)
        there = sm_key_next_str(key, &cursor, &out->text, &out->length);
    return there;
}

static bool is_text(const sm_text *text, const char *other, uint64_t length) {
    return text->length == length && !memcmp(text->text, other, (size_t)length);
}

/* The prefix of a name; false: the model knows none of that. */
static bool find_prompt(const sm_model *model, const char *name, uint64_t length, sm_text *out) {
    sm_text known;
    for (uint64_t i = 0; text_of_key(model, SM_K_PROMPTS, i, &known); i += 2)
        if (is_text(&known, name, length))
            return text_of_key(model, SM_K_PROMPTS, i + 1, out);
    return false;
}

/* What is put before texts: given as it is, by its name, or the model's own. */
static sm_status choose_prefix(const sm_encoder *e, sm_text *prefix, sm_error *error) {
    const sm_encoder_options *o = &e->o;
    sm_text usual;
    *prefix = (sm_text){NULL, 0};
    if (o->prefix && o->prompt)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_encoder_options: prefix and prompt exclude each other");
    if (o->prefix)
        *prefix = (sm_text){o->prefix, strlen(o->prefix)};
    else if (o->prompt && *o->prompt &&
             !find_prompt(e->model, o->prompt, strlen(o->prompt), prefix))
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "sm_encoder_options: prompt '%.*s' is none that %s knows", 100, o->prompt,
                       e->model->source->path);
    else if (!o->prompt && text_of_key(e->model, SM_K_PROMPT, 0, &usual))
        find_prompt(e->model, usual.text, usual.length, prefix);
    return SM_OK;
}

static sm_status fill(sm_encoder *e, sm_error *error) {
    const sm_net *net = e->model->net;
    set_defaults(&e->o, e->model);
    e->pooling = pooling_of(net, e->o.pooling);
    e->n_dims = e->o.n_dims ? e->o.n_dims : sm_pool_dims(net);
    sm_text prefix;
    sm_status status = choose_prefix(e, &prefix, error);
    if (!status && prefix.length && !(e->prefix = sm_strdup(e->mem, prefix.text, prefix.length)))
        status = sm_fail(error, SM_ERR_NOMEM, "out of memory for an encoder");
    if (status)
        return status;
    status = sm_workspace_new(&e->workspace, e->mem, net, e->o.n_threads, e->o.n_batch,
                              e->o.max_tokens, error);
    if (!status)
        status = allocate(e, error);
    if (!status)
        status = sm_team_new(&e->team, e->mem, e->o.n_threads, error);
    if (!status)
        sm_team_set_barrier_ns(e->team, SM_TEAM_MEASURE);
    return status;
}

sm_status sm_encoder_new(sm_encoder **out, const sm_model *model, const sm_encoder_options *options,
                         sm_error *error) {
    sm_encoder_options o;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_encoder_new: out is NULL");
    *out = NULL;
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_encoder_new: model is NULL");
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_ENCODER, error);
    if (!status)
        status = check_model(model, &o, error);
    if (status)
        return status;
    sm_encoder *e = sm_alloc_zero(model->mem, sizeof *e);
    if (!e)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for an encoder");
    sm_model_retain(model);
    e->model = model;
    e->mem = model->mem;
    e->o = o;
    e->flag = sm_cancel_retain(o.cancel_flag);
    e->ask.flag = e->flag;
    status = fill(e, error);
    if (status)
        release(e);
    else
        *out = e;
    return status;
}

static uint32_t labels_of(const sm_net *net) {
    return net->pooling.out.rows;
}

sm_status sm_encoder_get_info(const sm_encoder *e, sm_encoder_info *info, sm_error *error) {
    if (!e)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_encoder_get_info: encoder is NULL");
    static const uint32_t pooling[] = {[SM_POOLED_MEAN] = SM_POOLING_MEAN,
                                       [SM_POOLED_FIRST] = SM_POOLING_FIRST,
                                       [SM_POOLED_LAST] = SM_POOLING_LAST};
    const sm_encoder_info now = {.pooling = pooling[e->pooling],
                                 .n_dims = e->n_dims,
                                 .n_embd = e->model->net->config.n_embd,
                                 .max_tokens = e->o.max_tokens,
                                 .n_labels = labels_of(e->model->net)};
    return sm_struct_give(info, &now, sizeof now, NULL, "sm_encoder_info", error);
}

const char *sm_encoder_label(const sm_encoder *e, uint32_t i, uint64_t *length) {
    sm_text label = {NULL, 0};
    const bool there = e && text_of_key(e->model, SM_K_LABELS, i, &label);
    if (length)
        *length = there ? label.length : 0;
    return there ? label.text : NULL;
}

/* ---- steps -------------------------------------------------------------------------------- */

static int longest_first(const void *context, uint32_t a, uint32_t b) {
    const sm_sequence *s = context;
    if (s[a].n != s[b].n)
        return s[a].n < s[b].n ? 1 : -1;
    return (a > b) - (a < b);
}

/* The next sequences that fit into one step; empty ones come last. */
static uint64_t take_sequences(const sm_encoder *e, const sm_sequence *s, const uint32_t *order,
                               uint64_t n) {
    uint64_t count = 0, tokens = 0;
    while (count < n && count < SM_ENCODER_SPANS && s[order[count]].n &&
           tokens + s[order[count]].n <= e->o.n_batch)
        tokens += s[order[count++]].n;
    return count;
}

/* Lays out one span; gives the number of its outputs, the first of which is `first`. */
static uint32_t lay_out(sm_encoder *e, const sm_sequence *s, uint32_t i, uint32_t begin,
                        uint32_t first, bool all, uint64_t *at) {
    const sm_net *net = e->model->net;
    const uint32_t n_embd = net->config.n_embd;
    sm_state_share(&e->states[i], net, SM_KV_F32, s->n, e->kv + (uint64_t)i * net->n_states,
                   e->memory + *at);
    *at += cache_bytes(net, s->n);
    e->spans[i] = (sm_span){.state = &e->states[i], .first = begin, .n = s->n};
    memcpy(e->ids + begin, s->ids, s->n * sizeof *s->ids);
    if (s->types)
        memcpy(e->types + begin, s->types, s->n);
    else
        memset(e->types + begin, 0, s->n);
    const uint32_t n_rows = all ? s->n : 1;
    const uint32_t one = e->pooling == SM_POOLED_LAST ? begin + s->n - 1 : begin;
    for (uint32_t k = 0; k < n_rows; k++) {
        e->outputs[first + k] = all ? begin + k : one;
        e->hidden[first + k] = e->rows + (uint64_t)(first + k) * n_embd;
    }
    return n_rows;
}

static sm_status step(sm_encoder *e, const sm_sequence *s, const uint32_t *order, uint32_t n,
                      bool all, sm_error *error) {
    uint32_t tokens = 0, n_rows = 0;
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_rows += lay_out(e, &s[order[i]], i, tokens, n_rows, all, &at);
        tokens += s[order[i]].n;
    }
    const sm_step batch = {.n_tokens = tokens,
                           .ids = e->ids,
                           .types = e->types,
                           .n_spans = n,
                           .spans = e->spans,
                           .n_outputs = n_rows,
                           .outputs = e->outputs,
                           .hidden = e->hidden,
                           .cancel = sm_asks(&e->ask),
                           .cancel_user = &e->ask};
    const sm_status status = sm_forward(e->workspace, e->team, &batch, error);
    const uint64_t n_all = (uint64_t)n_rows * e->model->net->config.n_embd;
    return status || sm_first_not_finite(e->rows, n_all) == n_all
               ? status
               : sm_fail(error, SM_ERR_FORMAT,
                         "%s: hidden states are not finite: are weights damaged?",
                         e->model->source->path);
}

static sm_status check_ids(const sm_encoder *e, const sm_sequence *s, uint64_t n, sm_error *error) {
    const sm_net *net = e->model->net;
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t t = 0; t < s[i].n; t++) {
            if (s[i].ids[t] < 0 || (uint32_t)s[i].ids[t] >= net->config.n_vocab)
                return sm_fail(error, SM_ERR_TOKEN, "token %u is %d, not in 0..%u", t, s[i].ids[t],
                               net->config.n_vocab - 1);
            if (s[i].types && s[i].types[t] && s[i].types[t] >= net->types.rows)
                return sm_fail(error, SM_ERR_ARGUMENT,
                               "token %u has type %u, but the model has %u of them", t,
                               s[i].types[t], net->types.rows);
        }
    return SM_OK;
}

sm_status sm_encoder_run(sm_encoder *e, const sm_sequence *s, uint64_t n, bool all, sm_rows_fn take,
                         void *user, sm_error *error) {
    const uint32_t n_embd = e->model->net->config.n_embd;
    sm_status status = check_ids(e, s, n, error);
    if (status || !n)
        return status;
    uint32_t *order = sm_sort_indices(e->mem, n, longest_first, s);
    if (!order)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for %llu texts", (unsigned long long)n);
    for (uint64_t done = 0, count; done < n && !status; done += count) {
        count = take_sequences(e, s, order + done, n - done);
        if (!count)
            break;
        status = step(e, s, order + done, (uint32_t)count, all, error);
        const float *rows = e->rows;
        for (uint64_t i = 0; i < count && !status; i++) {
            const sm_sequence *one = &s[order[done + i]];
            take(user, one, rows, all ? one->n : 1);
            rows += (uint64_t)(all ? one->n : 1) * n_embd;
        }
    }
    sm_free(e->mem, order);
    return status;
}
