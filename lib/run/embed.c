/* embed.c - texts to sequences of tokens, and what encoders make of them. */
#include "encoders.h"

#include <string.h>

#define TEXTS_TOGETHER 512u /* that are sorted by length */

/* What a call works on: some texts at a time. */
typedef struct job {
    sm_encoder *e;
    const sm_tokenizer *tokenizer;
    const sm_text *query; /* of pairs */
    sm_sequence *sequences;
    uint64_t n, capacity;
    int32_t *ids; /* of all of them, one behind the other; sequences have offsets at first */
    uint8_t *types;
    uint64_t n_ids, ids_capacity;
    bool typed, windows; /* has types; long texts may be computed in pieces */
    float *pooled;       /* [TEXTS_TOGETHER][n_embd] */
    double *weight;      /* [TEXTS_TOGETHER] tokens that count */
    float *scratch;
    float *out; /* of these texts */
    sm_error *error;
} job;

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return sm_mul_over(a, b, &product) ? UINT64_MAX : product;
}

static sm_status no_memory(sm_error *error) {
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for the tokens of texts");
}

static sm_status reserve(job *j, uint64_t n_ids) {
    if (j->n == j->capacity) {
        const uint64_t capacity = 2 * j->capacity + 64;
        sm_sequence *s = sm_realloc(j->e->mem, j->sequences, capacity * sizeof *s);
        if (!s)
            return no_memory(j->error);
        j->sequences = s;
        j->capacity = capacity;
    }
    if (j->ids_capacity - j->n_ids >= n_ids)
        return SM_OK;
    const uint64_t capacity = 2 * (j->n_ids + n_ids);
    int32_t *ids = sm_realloc(j->e->mem, j->ids, capacity * sizeof *ids);
    if (!ids)
        return no_memory(j->error);
    j->ids = ids;
    uint8_t *types = sm_realloc(j->e->mem, j->types, capacity);
    if (!types)
        return no_memory(j->error);
    j->types = types;
    j->ids_capacity = capacity;
    return SM_OK;
}

/* A sequence of n ids, to be filled in; NULL after a failure. */
static int32_t *add_sequence(job *j, uint64_t n, uint64_t to, sm_status *status) {
    *status = reserve(j, n);
    if (*status)
        return NULL;
    j->sequences[j->n++] = (sm_sequence){.n = (uint32_t)n, .to = to};
    j->n_ids += n;
    if (n) /* without any there may be no memory */
        memset(j->types + j->n_ids - n, 0, n);
    return j->ids + j->n_ids - n;
}

/* ids are where they stay: sequences get their addresses. */
static void place_sequences(job *j) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < j->n; i++) {
        j->sequences[i].ids = j->ids + at;
        j->sequences[i].types = j->typed ? j->types + at : NULL;
        at += j->sequences[i].n;
    }
}

static void free_job(job *j) {
    sm_mem *mem = j->e->mem;
    sm_free(mem, j->sequences);
    sm_free(mem, j->ids);
    sm_free(mem, j->types);
    sm_free(mem, j->pooled);
    sm_free(mem, j->weight);
    sm_free(mem, j->scratch);
}

static sm_status make_job(job *j, sm_encoder *e, sm_error *error) {
    const sm_net *net = e->model->net;
    *j = (job){.e = e, .tokenizer = e->model->tokenizer, .error = error};
    j->pooled =
        sm_alloc_array(e->mem, (uint64_t)TEXTS_TOGETHER * net->config.n_embd, sizeof *j->pooled);
    j->weight = sm_alloc_array(e->mem, TEXTS_TOGETHER, sizeof *j->weight);
    j->scratch = sm_alloc_array(e->mem, sm_pool_scratch(net), sizeof *j->scratch);
    return j->pooled && j->weight && j->scratch
               ? SM_OK
               : sm_fail(error, SM_ERR_NOMEM, "out of memory for vectors");
}

/* ---- tokens ------------------------------------------------------------------------------ */

/* All ids of a text, in memory of the caller's to be freed. */
static sm_status encode(job *j, const char *text, uint64_t length, uint32_t flags, int32_t **ids,
                        uint64_t *n) {
    sm_encode_options o = {.struct_size = sizeof o, .flags = flags};
    uint64_t capacity = length + 64;
    sm_mem *mem = j->e->mem;
    o.cancel_flag = j->e->flag;
    for (;;) {
        *ids = sm_alloc_array(mem, capacity, sizeof **ids);
        if (!*ids)
            return no_memory(j->error);
        const sm_status status =
            sm_tokenizer_encode(j->tokenizer, text, length, &o, *ids, capacity, n, j->error);
        if (status != SM_ERR_BUFFER)
            return status;
        sm_free(mem, *ids);
        capacity = *n;
    }
}

/* The prefix of all texts and the text, in memory of the caller's to be freed. */
static char *prefixed(const sm_encoder *e, const sm_text *text, uint64_t *length) {
    const uint64_t before = e->prefix ? strlen(e->prefix) : 0;
    *length = text_size(text->text, text->length);
    char *all = sm_alloc(e->mem, before + *length + 1);
    if (!all)
        return NULL;
    if (before)
        memcpy(all, e->prefix, before);
    if (*length)
        memcpy(all + before, text->text, *length);
    *length += before;
    return all;
}

/* Tokens [begin, end) of a text's plain ones with the markers around it. */
static sm_status add_window(job *j, const int32_t *marked, uint64_t n_before, uint64_t n_after,
                            uint64_t begin, uint64_t end, uint64_t n_plain, uint64_t to) {
    sm_status status;
    int32_t *ids = add_sequence(j, n_before + end - begin + n_after, to, &status);
    if (!ids)
        return status;
    memcpy(ids, marked, n_before * sizeof *ids);
    memcpy(ids + n_before, marked + n_before + begin, (end - begin) * sizeof *ids);
    memcpy(ids + n_before + end - begin, marked + n_before + n_plain, n_after * sizeof *ids);
    return SM_OK;
}

/* How many markers stand in front of a text: those before its plain ids. */
static bool find_plain(const int32_t *marked, uint64_t n, const int32_t *plain, uint64_t n_plain,
                       uint64_t *before) {
    for (*before = 0; *before + n_plain <= n; ++*before)
        if (!memcmp(marked + *before, plain, n_plain * sizeof *plain))
            return true;
    return false;
}

/* A text that is too long: cut, in windows, or refused. */
static sm_status add_long(job *j, const char *text, uint64_t length, const int32_t *marked,
                          uint64_t n, uint64_t to, uint64_t number) {
    const uint64_t most = j->e->o.max_tokens;
    int32_t *plain = NULL;
    uint64_t n_plain, before = 0;
    if (j->e->o.long_texts == SM_LONG_REFUSE ||
        (j->e->o.long_texts == SM_LONG_WINDOWS && !j->windows))
        return sm_fail(j->error, SM_ERR_CONTEXT_FULL, "text %llu has %llu tokens, more than %llu",
                       (unsigned long long)number, (unsigned long long)n, (unsigned long long)most);
    sm_status status = encode(j, text, length, 0, &plain, &n_plain);
    if (!status && !find_plain(marked, n, plain, n_plain, &before)) {
        before = 0; /* markers change what the text is: it is cut as it is */
        n_plain = n;
    }
    const uint64_t markers = n - n_plain, after = markers - before;
    if (!status && markers >= most)
        status = sm_fail(j->error, SM_ERR_ARGUMENT, "max_tokens leaves no room beside markers");
    const uint64_t room = most - markers;
    const bool cut = j->e->o.long_texts == SM_LONG_CUT;
    for (uint64_t at = 0; at < n_plain && !status; at = cut ? n_plain : at + room)
        status = add_window(j, marked, before, after, at, min_u64(at + room, n_plain), n_plain, to);
    sm_free(j->e->mem, plain);
    return status;
}

static sm_status add_text(job *j, const sm_text *text, uint64_t to, uint64_t number) {
    uint64_t length, n;
    int32_t *marked = NULL;
    if (!text->text && text->length)
        return sm_fail(j->error, SM_ERR_ARGUMENT, "text %llu is NULL", (unsigned long long)number);
    char *all = prefixed(j->e, text, &length);
    if (!all)
        return no_memory(j->error);
    sm_status status = encode(j, all, length, SM_ENCODE_MARKERS, &marked, &n);
    if (!status && n > j->e->o.max_tokens) {
        status = add_long(j, all, length, marked, n, to, number);
    } else if (!status) {
        int32_t *ids = add_sequence(j, n, to, &status);
        if (ids)
            memcpy(ids, marked, n * sizeof *ids);
    }
    sm_free(j->e->mem, marked);
    sm_free(j->e->mem, all);
    return status;
}

/* ---- vectors ----------------------------------------------------------------------------- */

/* Adds what a sequence is pooled to, times its tokens. */
static void take_pooled(void *user, const sm_sequence *s, const float *rows, uint32_t n) {
    job *j = user;
    const uint32_t n_embd = j->e->model->net->config.n_embd;
    float *to = j->pooled + s->to * n_embd, *one = j->scratch;
    sm_pool_rows(n == 1 ? SM_POOLED_FIRST : j->e->pooling, rows, n, n_embd, one);
    if (j->weight[s->to] == 0) {
        memcpy(to, one, n_embd * sizeof *to);
    } else { /* further windows: the mean so far, and theirs */
        const double all = j->weight[s->to] + s->n;
        for (uint32_t i = 0; i < n_embd; i++)
            to[i] = (float)(((double)to[i] * j->weight[s->to] + (double)one[i] * s->n) / all);
    }
    j->weight[s->to] += s->n;
}

/* Vectors of the sequences that there are, of n texts. */
static sm_status finish_vectors(job *j, uint64_t n, float *vectors) {
    const sm_encoder *e = j->e;
    const uint32_t n_embd = e->model->net->config.n_embd;
    memset(j->weight, 0, n * sizeof *j->weight);
    memset(j->pooled, 0, n * n_embd * sizeof *j->pooled);
    place_sequences(j);
    const sm_status status = sm_encoder_run(j->e, j->sequences, j->n, e->pooling == SM_POOLED_MEAN,
                                            take_pooled, j, j->error);
    for (uint64_t i = 0; i < n && !status; i++)
        sm_pool_vector(e->model->net, j->pooled + i * n_embd, e->n_dims, e->o.raw,
                       vectors + i * e->n_dims, j->scratch);
    j->n = j->n_ids = 0;
    return status;
}

static sm_status begin(sm_encoder *e, const char *name, const void *in, uint64_t n, const void *out,
                       uint64_t capacity, uint64_t needed, sm_error *error) {
    if (!e || (n && !in) || (needed && !out))
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: a pointer is NULL", name);
    if (capacity < needed)
        return sm_fail(error, SM_ERR_BUFFER, "%s: capacity is %llu, %llu floats are needed", name,
                       (unsigned long long)capacity, (unsigned long long)needed);
    return sm_use_begin(&e->use, sm_process_id(), "encoder", error);
}

static void end(sm_encoder *e) {
    if (sm_use_end(&e->use))
        sm_encoder_free(e);
}

static sm_status check_vocabulary(const sm_encoder *e, sm_error *error) {
    return e->model->tokenizer
               ? SM_OK
               : sm_fail(error, SM_ERR_MISSING, "%s: no vocabulary (key 'tokenizer.ggml.model')",
                         e->model->source->path);
}

/* What is done with many texts, some at a time: what each becomes, and then all of them. */
typedef struct work {
    sm_status (*add)(job *j, const sm_text *text, uint64_t to, uint64_t number);
    sm_status (*finish)(job *j, uint64_t n, float *out);
    const sm_text *query; /* of pairs */
    uint64_t width;       /* floats of a text */
    bool windows;
} work;

static sm_status in_groups(sm_encoder *e, const work *w, const sm_text *texts, uint64_t n,
                           float *out, sm_error *error) {
    job j;
    sm_status status = check_vocabulary(e, error);
    if (status)
        return status;
    status = make_job(&j, e, error);
    j.query = w->query;
    j.windows = w->windows;
    for (uint64_t first = 0; first < n && !status; first += TEXTS_TOGETHER) {
        const uint64_t count = min_u64(TEXTS_TOGETHER, n - first);
        for (uint64_t i = 0; i < count && !status; i++)
            status = w->add(&j, &texts[first + i], i, first + i);
        if (!status)
            status = w->finish(&j, count, out + first * w->width);
    }
    free_job(&j);
    return status;
}

sm_status sm_encoder_embed(sm_encoder *e, const sm_text *texts, uint64_t n, float *vectors,
                           uint64_t capacity, sm_error *error) {
    sm_status status = begin(e, "sm_encoder_embed", texts, n, vectors, capacity,
                             e ? times(n, e->n_dims) : 0, error);
    if (status)
        return status;
    const work w = {.add = add_text, .finish = finish_vectors, .width = e->n_dims, .windows = true};
    status = in_groups(e, &w, texts, n, vectors, error);
    end(e);
    return status;
}

/* One sequence of the caller's ids. */
static sm_status add_ids(job *j, const int32_t *ids, const int32_t *types, uint64_t n) {
    sm_status status;
    if (n > j->e->o.max_tokens)
        return sm_fail(j->error, SM_ERR_CONTEXT_FULL, "%llu tokens are more than %u",
                       (unsigned long long)n, j->e->o.max_tokens);
    int32_t *to = add_sequence(j, n, 0, &status);
    if (!to)
        return status;
    memcpy(to, ids, n * sizeof *ids);
    j->typed = types != NULL;
    for (uint64_t i = 0; types && i < n; i++) {
        if (types[i] < 0 || types[i] > UINT8_MAX)
            return sm_fail(j->error, SM_ERR_ARGUMENT, "token %llu has type %d",
                           (unsigned long long)i, types[i]);
        j->types[i] = (uint8_t)types[i];
    }
    return SM_OK;
}

sm_status sm_encoder_embed_ids(sm_encoder *e, const int32_t *ids, uint64_t n_ids, float *vector,
                               uint64_t capacity, sm_error *error) {
    job j;
    sm_status status =
        begin(e, "sm_encoder_embed_ids", ids, n_ids, vector, capacity, e ? e->n_dims : 0, error);
    if (status)
        return status;
    status = make_job(&j, e, error);
    if (!status)
        status = add_ids(&j, ids, NULL, n_ids);
    if (!status)
        status = finish_vectors(&j, 1, vector);
    free_job(&j);
    end(e);
    return status;
}

/* ---- hidden states, scores --------------------------------------------------------------- */

static void take_rows(void *user, const sm_sequence *s, const float *rows, uint32_t n) {
    job *j = user;
    (void)s;
    memcpy(j->out, rows, (uint64_t)n * j->e->model->net->config.n_embd * sizeof *rows);
}

sm_status sm_encoder_hidden(sm_encoder *e, const int32_t *ids, uint64_t n_ids, float *states,
                            uint64_t capacity, sm_error *error) {
    job j;
    sm_status status = begin(e, "sm_encoder_hidden", ids, n_ids, states, capacity,
                             e ? times(n_ids, e->model->net->config.n_embd) : 0, error);
    if (status)
        return status;
    status = make_job(&j, e, error);
    j.out = states;
    if (!status)
        status = add_ids(&j, ids, NULL, n_ids);
    if (!status) {
        place_sequences(&j);
        status = sm_encoder_run(e, j.sequences, j.n, true, take_rows, &j, error);
    }
    free_job(&j);
    end(e);
    return status;
}

static void take_scores(void *user, const sm_sequence *s, const float *rows, uint32_t n) {
    job *j = user;
    const sm_net *net = j->e->model->net;
    (void)n;
    sm_pool_scores(net, rows, j->out + s->to * net->pooling.out.rows, j->scratch);
}

/* Of n texts; of one without tokens they are 0. */
static sm_status finish_scores(job *j, uint64_t n, float *scores) {
    memset(scores, 0, n * j->e->model->net->pooling.out.rows * sizeof *scores);
    place_sequences(j);
    j->out = scores;
    const sm_status status =
        sm_encoder_run(j->e, j->sequences, j->n, false, take_scores, j, j->error);
    j->n = j->n_ids = 0;
    return status;
}

static sm_status check_labels(const sm_encoder *e, sm_error *error) {
    return e->model->net->pooling.out.rows
               ? SM_OK
               : sm_fail(error, SM_ERR_UNSUPPORTED,
                         "%s: the model has no labels: it gives no scores", e->model->source->path);
}

sm_status sm_encoder_score(sm_encoder *e, const sm_text *texts, uint64_t n, float *scores,
                           uint64_t capacity, sm_error *error) {
    const uint64_t n_labels = e ? e->model->net->pooling.out.rows : 0;
    sm_status status =
        begin(e, "sm_encoder_score", texts, n, scores, capacity, times(n, n_labels), error);
    if (status)
        return status;
    const work w = {.add = add_text, .finish = finish_scores, .width = n_labels};
    status = check_labels(e, error);
    if (!status)
        status = in_groups(e, &w, texts, n, scores, error);
    end(e);
    return status;
}

sm_status sm_encoder_score_ids(sm_encoder *e, const int32_t *ids, const int32_t *types,
                               uint64_t n_ids, float *scores, uint64_t capacity, sm_error *error) {
    job j;
    const uint64_t n_labels = e ? e->model->net->pooling.out.rows : 0;
    sm_status status =
        begin(e, "sm_encoder_score_ids", ids, n_ids, scores, capacity, n_labels, error);
    if (status)
        return status;
    status = check_labels(e, error);
    if (!status) {
        status = make_job(&j, e, error);
        if (!status)
            status = add_ids(&j, ids, types, n_ids);
        if (!status)
            status = finish_scores(&j, 1, scores);
        free_job(&j);
    }
    end(e);
    return status;
}

/* ---- pairs ------------------------------------------------------------------------------- */

/* Both texts as the vocabulary's template puts them together; where it has none, as XLM-RoBERTa's
 * does, whose files say no more: begin, first, end, end (or separator), second, end. */
static sm_status encode_pair(job *j, const sm_text *a, const sm_text *b, int32_t *ids,
                             int32_t *types, uint64_t capacity, uint64_t *n) {
    const sm_encode_options o = {
        .struct_size = sizeof o, .flags = SM_ENCODE_MARKERS, .cancel_flag = j->e->flag};
    return sm_tokenizer_encode_pair(j->tokenizer, a->text, a->length, b->text, b->length, &o, ids,
                                    types, capacity, n, j->error);
}

static sm_status no_room(const job *j, uint64_t n_query) {
    return sm_fail(j->error, SM_ERR_CONTEXT_FULL,
                   "the query has %llu tokens, which leaves no room for documents",
                   (unsigned long long)n_query);
}

static sm_status join_pair(job *j, const int32_t *a, uint64_t n_a, const int32_t *b, uint64_t n_b,
                           uint64_t to) {
    sm_tokenizer_info v = {.struct_size = sizeof v};
    sm_status status = sm_tokenizer_get_info(j->tokenizer, &v, j->error);
    const int32_t between = v.sep >= 0 ? v.sep : v.eos;
    const uint64_t most = j->e->o.max_tokens, markers = 4;
    if (!status && (v.bos < 0 || v.eos < 0))
        return sm_fail(j->error, SM_ERR_UNSUPPORTED,
                       "%s: the vocabulary does not say how pairs are put together",
                       j->e->model->source->path);
    if (!status && n_a + markers >= most)
        status = no_room(j, n_a);
    if (status)
        return status;
    n_b = min_u64(n_b, most - n_a - markers);
    int32_t *ids = add_sequence(j, n_a + n_b + markers, to, &status);
    if (!ids)
        return status;
    *ids++ = v.bos;
    memcpy(ids, a, n_a * sizeof *ids);
    ids += n_a;
    *ids++ = v.eos;
    *ids++ = between;
    memcpy(ids, b, n_b * sizeof *ids);
    ids[n_b] = v.eos;
    return SM_OK;
}

static sm_status add_plain_pair(job *j, const sm_text *a, const sm_text *b, uint64_t to) {
    int32_t *first = NULL, *second = NULL;
    uint64_t n_first, n_second;
    sm_status status = encode(j, a->text, a->length, 0, &first, &n_first);
    if (!status)
        status = encode(j, b->text, b->length, 0, &second, &n_second);
    if (!status)
        status = join_pair(j, first, n_first, second, n_second, to);
    sm_free(j->e->mem, first);
    sm_free(j->e->mem, second);
    return status;
}

/* The ids of a pair and then, as far from *ids as *capacity, their types, in memory of the caller's
 * to be freed. Some vocabularies make many tokens of one character. */
static sm_status encode_all(job *j, const sm_text *a, const sm_text *b, int32_t **ids,
                            uint64_t *capacity, uint64_t *n) {
    for (*capacity = 2 * (a->length + b->length) + 64;; *capacity = *n) {
        *ids = sm_alloc_array(j->e->mem, 2 * *capacity, sizeof **ids);
        if (!*ids)
            return no_memory(j->error);
        const sm_status status = encode_pair(j, a, b, *ids, *ids + *capacity, *capacity, n);
        if (status != SM_ERR_BUFFER)
            return status;
        sm_free(j->e->mem, *ids);
        *ids = NULL;
    }
}

/* A pair that is too long loses tokens of its document: those before the last marker. */
static sm_status cut_pair(job *j, const sm_text *a, int32_t *ids, int32_t *types, uint64_t *n) {
    const uint64_t most = j->e->o.max_tokens;
    const sm_text nothing = {"", 0};
    int32_t *alone = NULL;
    uint64_t n_alone = 0, capacity;
    if (*n <= most)
        return SM_OK;
    sm_status status = encode_all(j, a, &nothing, &alone, &capacity, &n_alone);
    if (!status && n_alone >= most)
        status = no_room(j, n_alone);
    ids[most - 1] = ids[*n - 1];
    types[most - 1] = types[*n - 1];
    *n = most;
    sm_free(j->e->mem, alone);
    return status;
}

static sm_status add_typed_pair(job *j, const int32_t *ids, const int32_t *types, uint64_t n,
                                uint64_t to) {
    const bool several = j->e->model->net->types.rows > 1;
    sm_status status;
    int32_t *own = add_sequence(j, n, to, &status);
    if (!own)
        return status;
    memcpy(own, ids, n * sizeof *ids);
    for (uint64_t i = 0; i < n; i++)
        j->types[j->n_ids - n + i] = types[i] > 0 && several ? (uint8_t)1 : 0;
    j->typed = true;
    return SM_OK;
}

static sm_status add_both(job *j, const sm_text *a, const sm_text *b, uint64_t to) {
    int32_t *ids = NULL;
    uint64_t n = 0, capacity = 0;
    sm_status status = encode_all(j, a, b, &ids, &capacity, &n);
    if (status == SM_ERR_UNSUPPORTED) {
        status = add_plain_pair(j, a, b, to);
    } else if (!status) {
        status = cut_pair(j, a, ids, ids + capacity, &n);
        if (!status)
            status = add_typed_pair(j, ids, ids + capacity, n, to);
    }
    sm_free(j->e->mem, ids);
    return status;
}

/* The query and a document. */
static sm_status add_pair(job *j, const sm_text *text, uint64_t to, uint64_t number) {
    if (!text->text)
        return sm_fail(j->error, SM_ERR_ARGUMENT, "document %llu is NULL",
                       (unsigned long long)number);
    const sm_text document = {text->text, text_size(text->text, text->length)};
    return add_both(j, j->query, &document, to);
}

sm_status sm_encoder_rerank(sm_encoder *e, const char *query, uint64_t length,
                            const sm_text *documents, uint64_t n, float *scores, uint64_t capacity,
                            sm_error *error) {
    if (!query)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_encoder_rerank: query is NULL");
    sm_status status = begin(e, "sm_encoder_rerank", documents, n, scores, capacity, n, error);
    if (status)
        return status;
    status = check_labels(e, error);
    if (!status && e->model->net->pooling.out.rows != 1)
        status = sm_fail(error, SM_ERR_UNSUPPORTED, "%s: the model has %u labels: it ranks nothing",
                         e->model->source->path, e->model->net->pooling.out.rows);
    const sm_text q = {query, text_size(query, length)};
    const work w = {.add = add_pair, .finish = finish_scores, .query = &q, .width = 1};
    if (!status)
        status = in_groups(e, &w, documents, n, scores, error);
    end(e);
    return status;
}
