/* Batches: documents in a shuffled order, packed into rows of tokens. */
#include "documents.h"

#include <string.h>

#define PAD_TOKEN 0

/* A walk through one part of the documents. */
typedef struct stream {
    sm_data_cursor at;
    sm_document_tokens tokens; /* of the document there, if loaded */
    bool loaded;
    bool whole; /* it goes into one row, or the next */
} stream;

struct sm_dataset {
    sm_mem *mem;
    sm_documents *files; /* their documents follow each other */
    uint64_t n_files;
    sm_dataset_options options;
    sm_dataset_info info;
    stream train, validation;
    /* the batch handed out */
    int32_t *ids, *targets;
    uint32_t *span_begin;
    uint32_t n_padding; /* of it */
};

/* ---- order ------------------------------------------------------------------------------- */

/* Place i of a permutation of 0..n-1 that depends on seed and epoch: a Feistel network over the
 * next power of four, walked until it lands inside. Needs no table, and any place can be had
 * without those before it. */
static uint64_t shuffled(uint64_t i, uint64_t n, uint64_t seed, uint64_t epoch) {
    uint32_t half = 1;
    while (n > (uint64_t)1 << (2 * half))
        half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1, key = sm_mix64(seed ^ sm_mix64(epoch));
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 6; round++) {
            const uint64_t next = left ^ (sm_mix64(right ^ sm_mix64(key + round)) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* ---- open --------------------------------------------------------------------------------- */

/* Spans of one row at most: what is left of a row after so many is padded. */
static uint32_t spans_per_row(const sm_dataset_options *o) {
    return o->sequence / 8 + 2;
}

uint32_t sm_dataset_max_spans(const sm_dataset *d) {
    return d->options.rows * spans_per_row(&d->options);
}

/* The file that document i is in; *i becomes its place there. */
static const sm_documents *file_of(const sm_dataset *d, uint64_t *i) {
    uint64_t file = 0;
    while (*i >= d->files[file].n)
        *i -= d->files[file++].n;
    return &d->files[file];
}

/* One file has the hash that it had when there could be no more. */
static uint64_t hash_of(const sm_documents *file) {
    uint64_t hash = file->hash ^ file->kind;
    for (uint64_t i = 0; i < file->n; i++)
        hash = sm_mix64(hash ^ sm_mix64(file->list[i].offset) ^ file->list[i].length);
    return hash;
}

static void split(sm_dataset *d) {
    sm_dataset_info *info = &d->info;
    uint64_t total = 0, n = 0;
    info->path = d->files[0].path;
    for (uint64_t k = 0; k < d->n_files; k++) {
        const uint64_t hash = hash_of(&d->files[k]);
        info->hash = k == 0 ? hash : sm_mix64(info->hash ^ sm_mix64(hash + k));
        n += d->files[k].n;
        for (uint64_t i = 0; i < d->files[k].n; i++)
            total += d->files[k].list[i].length;
    }
    info->train_documents = n;
    while (d->options.validation > 0 && info->train_documents > 1 &&
           (double)info->validation_bytes < d->options.validation * (double)total) {
        uint64_t last = --info->train_documents;
        const sm_documents *file = file_of(d, &last);
        info->validation_bytes += file->list[last].length;
    }
    info->validation_documents = n - info->train_documents;
    info->train_bytes = total - info->validation_bytes;
}

static sm_status open_files(sm_dataset *d, const char *path, const sm_tokenizer *tokenizer,
                            const sm_dataset_options *options, sm_progress_fn progress, void *user,
                            sm_error *error) {
    d->files = sm_alloc_zero(d->mem, (options->n_more + 1) * sizeof *d->files);
    if (!d->files)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    d->n_files = options->n_more + 1;
    sm_status status = SM_OK;
    for (uint64_t k = 0; k < d->n_files && !status; k++)
        status = sm_documents_open(&d->files[k], d->mem, k ? options->more_paths[k - 1] : path,
                                   tokenizer, options, progress, user, error);
    d->options.more_paths = NULL; /* the caller's */
    return status;
}

sm_status sm_dataset_open(sm_dataset **out, sm_mem *mem, const char *path,
                          const sm_tokenizer *tokenizer, const sm_dataset_options *options,
                          sm_progress_fn progress, void *progress_user, sm_error *error) {
    *out = NULL;
    if (options->sequence < 2 || !options->rows ||
        (uint64_t)options->sequence * options->rows > UINT32_MAX / 2)
        return sm_fail(error, SM_ERR_ARGUMENT, "batches of %u rows of %u tokens cannot be made",
                       options->rows, options->sequence);
    if (!(options->validation >= 0 && options->validation <= 0.5))
        return sm_fail(error, SM_ERR_ARGUMENT, "validation part %g is not in [0, 0.5]",
                       options->validation);
    sm_dataset *d = sm_alloc_zero(mem, sizeof *d);
    if (!d)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    d->mem = mem;
    d->options = *options;
    const uint64_t n = (uint64_t)options->sequence * options->rows;
    d->ids = sm_alloc_array(mem, n, sizeof *d->ids);
    d->targets = sm_alloc_array(mem, n, sizeof *d->targets);
    d->span_begin =
        sm_alloc_array(mem, (uint64_t)sm_dataset_max_spans(d) + 1, sizeof *d->span_begin);
    sm_status status = SM_OK;
    if (!d->ids || !d->targets || !d->span_begin)
        status = sm_fail(error, SM_ERR_NOMEM, "out of memory for batches of %llu tokens",
                         (unsigned long long)n);
    if (!status)
        status = open_files(d, path, tokenizer, options, progress, progress_user, error);
    if (status) {
        sm_dataset_free(d);
        return status;
    }
    split(d);
    *out = d;
    return SM_OK;
}

void sm_dataset_free(sm_dataset *d) {
    if (!d)
        return;
    for (uint64_t k = 0; k < d->n_files; k++)
        if (d->files[k].mem)
            sm_documents_close(&d->files[k]);
    sm_free(d->mem, d->files);
    sm_document_tokens_free(&d->train.tokens, d->mem);
    sm_document_tokens_free(&d->validation.tokens, d->mem);
    sm_free(d->mem, d->ids);
    sm_free(d->mem, d->targets);
    sm_free(d->mem, d->span_begin);
    sm_free(d->mem, d);
}

void sm_dataset_set_cancel(sm_dataset *d, int32_t (*cancel)(void *user), void *user) {
    for (uint64_t k = 0; k < d->n_files; k++) {
        d->files[k].cancel = cancel;
        d->files[k].cancel_user = user;
    }
}

void sm_dataset_get_info(const sm_dataset *d, sm_dataset_info *info) {
    *info = d->info;
}

const char *sm_dataset_file(const sm_dataset *d, uint64_t i) {
    return i < d->n_files ? d->files[i].path : NULL;
}

bool sm_dataset_is_text(const sm_dataset *d) {
    bool text = true;
    for (uint64_t k = 0; k < d->n_files; k++)
        text &= d->files[k].kind == SM_DATA_TEXT;
    return text;
}

void sm_dataset_cursor(const sm_dataset *d, sm_data_cursor *cursor) {
    *cursor = d->train.at;
}

uint32_t sm_dataset_padding(const sm_dataset *d) {
    return d->n_padding;
}

double sm_dataset_epochs(const sm_dataset *d) {
    const stream *s = &d->train;
    const double used =
        s->loaded && s->tokens.n > 1 ? (double)s->at.offset / (double)(s->tokens.n - 1) : 0.0;
    return (double)s->at.epoch + ((double)s->at.position + used) / (double)d->info.train_documents;
}

sm_status sm_dataset_seek(sm_dataset *d, const sm_data_cursor *cursor, sm_error *error) {
    if (cursor->position > d->info.train_documents)
        return sm_fail(
            error, SM_ERR_ARGUMENT, "document %llu is not in the data set of %llu documents",
            (unsigned long long)cursor->position, (unsigned long long)d->info.train_documents);
    d->train.at = *cursor;
    d->train.loaded = false;
    return SM_OK;
}

/* ---- batches -------------------------------------------------------------------------------- */

/* An entry longer than a row is cut off; where that leaves nothing to learn (a prompt that fills
 * the row), it counts as empty: a batch made of it alone would train nothing. */
static void cut(const sm_dataset *d, sm_document_tokens *t) {
    uint64_t learned = 0;
    if (t->n > (uint64_t)d->options.sequence + 1)
        t->n = (uint64_t)d->options.sequence + 1;
    for (uint64_t i = 1; i < t->n; i++)
        learned += t->learn[i];
    if (!learned)
        t->n = 0;
}

/* Loads the document where the stream stands. */
static sm_status load(sm_dataset *d, stream *s, bool validation, sm_error *error) {
    const uint64_t n = d->info.train_documents;
    uint64_t i =
        validation ? n + s->at.position : shuffled(s->at.position, n, d->options.seed, s->at.epoch);
    const sm_documents *file = file_of(d, &i);
    sm_status status = sm_documents_read(file, i, SM_SIDE_ANSWER, &s->tokens, error);
    if (status)
        return status;
    s->whole = file->kind != SM_DATA_TEXT;
    if (s->whole)
        cut(d, &s->tokens);
    s->loaded = true;
    return SM_OK;
}

sm_status sm_dataset_read(const sm_dataset *d, uint64_t i, sm_answer_side side,
                          sm_document_tokens *tokens, sm_error *error) {
    const sm_documents *file = file_of(d, &i);
    if (file->cancel && file->cancel(file->cancel_user))
        return sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", d->info.path);
    return sm_documents_read(file, i, side, tokens, error);
}

uint64_t sm_dataset_take(sm_dataset *d) {
    sm_data_cursor *at = &d->train.at;
    const uint64_t n = d->info.train_documents;
    if (at->position >= n) {
        at->epoch++;
        at->position = 0;
    }
    return shuffled(at->position++, n, d->options.seed, at->epoch);
}

/* Tokens of the loaded document that still have to be fed. */
static uint64_t left(const stream *s) {
    return s->tokens.n > s->at.offset + 1 ? s->tokens.n - 1 - s->at.offset : 0;
}

/* Makes sure that a document with something left is loaded. *end: there is no more. */
static sm_status advance(sm_dataset *d, stream *s, bool validation, bool *end, sm_error *error) {
    const uint64_t n = validation ? d->info.validation_documents : d->info.train_documents;
    uint64_t empty = 0; /* documents in a row that have nothing to learn from */
    *end = false;
    while (!s->loaded || !left(s)) {
        if (s->loaded) {
            s->loaded = false;
            s->at.position++;
            s->at.offset = 0;
        }
        if (s->at.position >= n) {
            if (validation) {
                *end = true;
                return SM_OK;
            }
            s->at.epoch++;
            s->at.position = 0;
        }
        const sm_documents *file = d->files;
        if (file->cancel && file->cancel(file->cancel_user))
            return sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", d->info.path);
        if (empty++ > n)
            return !sm_dataset_is_text(d)
                       ? sm_fail(error, SM_ERR_STATE,
                                 "%s: no entry has an answer within a row of %u tokens",
                                 d->info.path, d->options.sequence)
                       : sm_fail(error, SM_ERR_STATE, "%s: no document has two tokens",
                                 d->info.path);
        sm_status status = load(d, s, validation, error);
        if (status)
            return status;
    }
    return SM_OK;
}

static void pad(sm_dataset *d, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        d->ids[i] = PAD_TOKEN;
        d->targets[i] = -1;
    }
    d->n_padding += (uint32_t)(to - from);
}

/* Fills one row from token `at` of the batch; *any: something was put there. */
static sm_status fill_row(sm_dataset *d, stream *s, bool validation, uint32_t at, uint32_t *n_spans,
                          bool *any, sm_error *error) {
    const uint32_t end = at + d->options.sequence, limit = spans_per_row(&d->options) - 1;
    uint32_t spans = 0;
    *any = false;
    while (at < end && spans < limit) {
        bool over;
        sm_status status = advance(d, s, validation, &over, error);
        if (status)
            return status;
        const uint64_t room = end - at, n = left(s);
        if (over || (s->whole && n > room))
            break;
        const uint32_t take = (uint32_t)(n < room ? n : room);
        for (uint64_t i = 0; i < take; i++) {
            const uint64_t from = s->at.offset + i;
            d->ids[at + i] = s->tokens.ids[from];
            d->targets[at + i] = s->tokens.learn[from + 1] ? s->tokens.ids[from + 1] : -1;
        }
        d->span_begin[(*n_spans)++] = at;
        at += take;
        spans++;
        s->at.offset += take;
        *any = true;
    }
    if (at < end) {
        d->span_begin[(*n_spans)++] = at;
        pad(d, at, end);
    }
    return SM_OK;
}

static sm_status next(sm_dataset *d, stream *s, bool validation, sm_train_batch *batch, bool *any,
                      sm_error *error) {
    uint32_t n_spans = 0;
    *any = false;
    d->n_padding = 0;
    for (uint32_t row = 0; row < d->options.rows; row++) {
        bool some;
        sm_status status =
            fill_row(d, s, validation, row * d->options.sequence, &n_spans, &some, error);
        if (status)
            return status;
        *any |= some;
    }
    const uint32_t n = d->options.rows * d->options.sequence;
    d->span_begin[n_spans] = n;
    if (*any)
        *batch = (sm_train_batch){n, d->ids, d->targets, n_spans, d->span_begin};
    return SM_OK;
}

sm_status sm_dataset_next(sm_dataset *d, sm_train_batch *batch, sm_error *error) {
    bool any;
    return next(d, &d->train, false, batch, &any, error);
}

sm_status sm_dataset_validation(sm_dataset *d, bool restart, sm_train_batch *batch, bool *more,
                                sm_error *error) {
    if (restart) {
        d->validation.at = (sm_data_cursor){0};
        d->validation.loaded = false;
    }
    return next(d, &d->validation, true, batch, more, error);
}
