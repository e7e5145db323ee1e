/* Batches of answers to be compared: whole entries, each answer a span behind its prompt. */
#include "documents.h"
#include "objective.h"

#include <string.h>

/* Tokens of answers. */
typedef struct packed {
    int32_t *ids, *targets;
    uint32_t *span_begin;
    sm_train_batch batch;
} packed;

struct sm_answers {
    sm_mem *mem;
    sm_dataset *dataset;
    uint32_t rows, sequence;
    bool pairs;
    packed packed[2]; /* pairs use the first */
    sm_document_tokens own, other;
    sm_entry *entry; /* [rows] */
    uint32_t n;
    uint64_t validation; /* entries of it that were read */
};

static bool packed_new(packed *p, sm_mem *mem, uint64_t spans, uint64_t tokens) {
    p->ids = sm_alloc_array(mem, tokens, sizeof *p->ids);
    p->targets = sm_alloc_array(mem, tokens, sizeof *p->targets);
    p->span_begin = sm_alloc_array(mem, spans + 1, sizeof *p->span_begin);
    return p->ids && p->targets && p->span_begin;
}

sm_status sm_answers_new(sm_answers **out, sm_mem *mem, sm_dataset *dataset, uint32_t rows,
                         uint32_t sequence, bool pairs, sm_error *error) {
    *out = NULL;
    sm_answers *a = sm_alloc_zero(mem, sizeof *a);
    if (!a)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for batches of answers");
    *a = (sm_answers){
        .mem = mem, .dataset = dataset, .rows = rows, .sequence = sequence, .pairs = pairs};
    const uint64_t spans = (pairs ? 2 : 1) * (uint64_t)rows;
    bool good = packed_new(&a->packed[0], mem, spans, spans * sequence) &&
                (pairs || packed_new(&a->packed[1], mem, spans, spans * sequence));
    a->entry = sm_alloc_array(mem, rows, sizeof *a->entry);
    if (!good || !a->entry) {
        sm_answers_free(a);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for batches of answers");
    }
    *out = a;
    return SM_OK;
}

void sm_answers_free(sm_answers *a) {
    if (!a)
        return;
    for (int i = 0; i < 2; i++) {
        sm_free(a->mem, a->packed[i].ids);
        sm_free(a->mem, a->packed[i].targets);
        sm_free(a->mem, a->packed[i].span_begin);
    }
    sm_document_tokens_free(&a->own, a->mem);
    sm_document_tokens_free(&a->other, a->mem);
    sm_free(a->mem, a->entry);
    sm_free(a->mem, a);
}

static void clear(sm_answers *a) {
    a->n = 0;
    for (int i = 0; i < 2; i++)
        a->packed[i].batch = (sm_train_batch){.ids = a->packed[i].ids,
                                              .targets = a->packed[i].targets,
                                              .span_begin = a->packed[i].span_begin};
    for (int i = 0; i < 2; i++)
        if (a->packed[i].span_begin)
            a->packed[i].span_begin[0] = 0;
}

/* Tokens of an answer that are to be predicted within a row. */
static uint64_t count(const sm_answers *a, const sm_document_tokens *t) {
    const uint64_t end = t->n < (uint64_t)a->sequence + 1 ? t->n : (uint64_t)a->sequence + 1;
    uint64_t learned = 0;
    for (uint64_t i = 1; i < end; i++)
        learned += t->learn[i];
    return learned;
}

/* Puts an answer, as far as it fits a row, behind the others. */
static void put(sm_answers *a, packed *p, const sm_document_tokens *t, sm_entry *e, uint32_t side) {
    const uint64_t left = t->n - 1, n = left < a->sequence ? left : a->sequence;
    sm_train_batch *b = &p->batch;
    for (uint64_t i = 0; i < n; i++) {
        p->ids[b->n_tokens + i] = t->ids[i];
        p->targets[b->n_tokens + i] = t->learn[i + 1] ? t->ids[i + 1] : -1;
    }
    b->n_tokens += (uint32_t)n;
    e->span[side] = b->n_spans++;
    p->span_begin[b->n_spans] = b->n_tokens;
}

static sm_status add_pair(sm_answers *a, sm_entry *e, sm_error *error) {
    sm_status status = sm_dataset_read(a->dataset, e->document, SM_SIDE_REJECTED, &a->other, error);
    e->targets[1] = count(a, &a->other);
    if (status || !e->targets[1])
        return status;
    put(a, &a->packed[0], &a->own, e, 0);
    put(a, &a->packed[0], &a->other, e, 1);
    a->n++;
    return SM_OK;
}

/* The entry after this one in its part of the data: what it answers fits this prompt only by
 * chance. */
static uint64_t neighbour(const sm_answers *a, uint64_t document) {
    sm_dataset_info info;
    sm_dataset_get_info(a->dataset, &info);
    const uint64_t n = info.train_documents, all = n + info.validation_documents;
    if (document < n)
        return document + 1 < n ? document + 1 : 0;
    return document + 1 < all ? document + 1 : n;
}

static uint64_t prompt_length(const sm_document_tokens *t) {
    uint64_t n = 0;
    while (n < t->n && !t->learn[n])
        n++;
    return n;
}

/* Its own answer, and behind its prompt that of another. */
static sm_status add_label(sm_answers *a, sm_entry *e, sm_error *error) {
    sm_document_tokens *t = &a->own;
    put(a, &a->packed[0], t, e, 0);
    e->good = t->good;
    a->n++;
    sm_status status =
        sm_dataset_read(a->dataset, neighbour(a, e->document), SM_SIDE_ANSWER, &a->other, error);
    if (status)
        return status;
    const uint64_t from = prompt_length(&a->other), prompt = prompt_length(t),
                   more = a->other.n - from;
    status = sm_document_tokens_reserve(t, a->mem, prompt + more, error);
    if (status)
        return status;
    memcpy(t->ids + prompt, a->other.ids + from, more * sizeof *t->ids);
    memcpy(t->learn + prompt, a->other.learn + from, more);
    t->n = prompt + more;
    e->targets[1] = count(a, t);
    if (e->targets[1])
        put(a, &a->packed[1], t, e, 1);
    return SM_OK;
}

/* An entry, unless there is nothing to learn of it. */
static sm_status add(sm_answers *a, uint64_t document, sm_error *error) {
    sm_entry *e = &a->entry[a->n];
    *e = (sm_entry){.document = document, .span = {UINT32_MAX, UINT32_MAX}};
    const sm_status status = sm_dataset_read(a->dataset, document, SM_SIDE_ANSWER, &a->own, error);
    e->targets[0] = count(a, &a->own);
    if (status || !e->targets[0])
        return status;
    return a->pairs ? add_pair(a, e, error) : add_label(a, e, error);
}

sm_status sm_answers_next(sm_answers *a, sm_error *error) {
    sm_dataset_info info;
    uint64_t empty = 0;
    sm_dataset_get_info(a->dataset, &info);
    clear(a);
    while (a->n < a->rows) {
        const uint32_t before = a->n;
        sm_status status = add(a, sm_dataset_take(a->dataset), error);
        if (status)
            return status;
        empty = a->n > before ? 0 : empty + 1;
        if (empty > info.train_documents)
            return sm_fail(error, SM_ERR_STATE, "%s: no entry has its answers within %u tokens",
                           info.path, a->sequence);
    }
    return SM_OK;
}

sm_status sm_answers_validation(sm_answers *a, bool restart, sm_error *error) {
    sm_dataset_info info;
    sm_status status = SM_OK;
    sm_dataset_get_info(a->dataset, &info);
    clear(a);
    if (restart)
        a->validation = 0;
    while (!status && a->n < a->rows && a->validation < info.validation_documents)
        status = add(a, info.train_documents + a->validation++, error);
    return status;
}

sm_status sm_answers_list(sm_answers *a, uint64_t *first, sm_error *error) {
    sm_dataset_info info;
    sm_status status = SM_OK;
    sm_dataset_get_info(a->dataset, &info);
    clear(a);
    while (!status && a->n < a->rows && *first < info.train_documents + info.validation_documents)
        status = add(a, (*first)++, error);
    return status;
}

uint32_t sm_answers_entries(const sm_answers *a, const sm_entry **entries) {
    *entries = a->entry;
    return a->n;
}

const sm_train_batch *sm_answers_batch(const sm_answers *a, uint32_t side) {
    return &a->packed[a->pairs ? 0 : side].batch;
}
