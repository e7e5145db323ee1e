#include "documents.h"

#include <string.h>

/* Text without separators is cut at the first line end past this many bytes: large beside a
 * row of tokens, small beside a file worth shuffling. */
#define PIECE 16384
#define PROGRESS_BYTES (1u << 20)
#define HASH_BYTES 65536 /* hashed at once */

/* Pieces of one size, so that the hash depends on the bytes alone. */
void sm_documents_hash(sm_documents *d, uint64_t end) {
    for (; end - d->hashed >= HASH_BYTES; d->hashed += HASH_BYTES)
        d->hash = sm_hash_bytes(d->hash, d->file.data + d->hashed, HASH_BYTES);
    if (end == d->file.size) {
        d->hash = sm_hash_bytes(d->hash, d->file.data + d->hashed, end - d->hashed);
        d->hashed = end;
    }
}

sm_status sm_documents_add(sm_documents *d, uint64_t offset, uint64_t length, uint64_t line,
                           sm_error *error) {
    if (d->n == d->capacity) {
        const uint64_t capacity = d->capacity ? 2 * d->capacity : 256;
        sm_document *list = sm_realloc(d->mem, d->list, capacity * sizeof *list);
        if (!list)
            return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for a list of %llu documents",
                           d->path, (unsigned long long)capacity);
        d->list = list;
        d->capacity = capacity;
    }
    d->list[d->n++] = (sm_document){offset, length, line};
    return SM_OK;
}

/* Where `what` occurs in text[from..size), or size. */
static uint64_t find(const uint8_t *text, uint64_t size, uint64_t from, const char *what,
                     uint64_t length) {
    while (from + length <= size) {
        const uint8_t *at = memchr(text + from, what[0], size - length - from + 1);
        if (!at)
            break;
        if (!memcmp(at, what, length))
            return (uint64_t)(at - text);
        from = (uint64_t)(at - text) + 1;
    }
    return size;
}

static uint64_t count_lines(const uint8_t *text, uint64_t n) {
    uint64_t lines = 0;
    for (uint64_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

/* Adds text[begin..end) without the line ends around it. */
static sm_status add_trimmed(sm_documents *d, uint64_t begin, uint64_t end, uint64_t *line,
                             sm_error *error) {
    const uint8_t *text = d->file.data;
    const uint64_t whole = begin, whole_end = end, first = *line;
    while (begin < end && (text[begin] == '\n' || text[begin] == '\r'))
        begin++;
    while (end > begin && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    *line += count_lines(text + whole, whole_end - whole);
    if (begin == end)
        return SM_OK;
    return sm_documents_add(d, begin, end - begin, first + count_lines(text + whole, begin - whole),
                            error);
}

static sm_status index_text(sm_documents *d, const char *separator, sm_progress_fn progress,
                            void *progress_user, sm_error *error) {
    const uint8_t *text = d->file.data;
    const uint64_t size = d->file.size, length = separator ? strlen(separator) : 0;
    uint64_t told = 0, line = 1;
    sm_status status = SM_OK;
    d->continued = !length || find(text, size, 0, separator, length) == size;
    for (uint64_t at = 0; at < size && !status;) {
        uint64_t end, next;
        if (d->continued) {
            const uint8_t *stop =
                size - at > PIECE ? memchr(text + at + PIECE, '\n', size - at - PIECE) : NULL;
            end = next = stop ? (uint64_t)(stop - text) + 1 : size;
            status = sm_documents_add(d, at, end - at, line, error);
            line += count_lines(text + at, end - at);
        } else {
            end = find(text, size, at, separator, length);
            next = end + length;
            status = add_trimmed(d, at, end, &line, error);
        }
        at = next < size ? next : size;
        sm_documents_hash(d, at);
        if (progress && at < size && at - told >= PROGRESS_BYTES) {
            told = at;
            if (progress(progress_user, at, size))
                return sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", d->path);
        }
    }
    return status;
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

sm_status sm_documents_open(sm_documents *d, sm_mem *mem, const char *path,
                            const sm_tokenizer *tokenizer, const sm_dataset_options *options,
                            sm_progress_fn progress, void *progress_user, sm_error *error) {
    memset(d, 0, sizeof *d);
    d->mem = mem;
    d->tokenizer = tokenizer;
    d->vocab.struct_size = sizeof d->vocab;
    d->layout = options->layout;
    d->loss_on_prompt = options->loss_on_prompt;
    d->kind = options->kind;
    if (d->kind == SM_DATA_AUTO)
        d->kind =
            ends_with(path, ".json") || ends_with(path, ".jsonl") ? SM_DATA_INSTRUCT : SM_DATA_TEXT;
    sm_status status = sm_tokenizer_get_info(tokenizer, &d->vocab, error);
    if (!status) {
        d->path = sm_strdup(mem, path, strlen(path));
        if (!d->path)
            status = sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    }
    if (!status)
        status = sm_file_open(&d->file, mem, path, true, error);
    if (!status && !d->file.size)
        status = sm_fail(error, SM_ERR_FORMAT, "%s: the file is empty", path);
    if (!status)
        status = d->kind == SM_DATA_INSTRUCT
                     ? sm_instruct_index(d, progress, progress_user, error)
                     : index_text(d, options->separator, progress, progress_user, error);
    if (!status && !d->n)
        status = sm_fail(error, SM_ERR_FORMAT, "%s: there is no text in it", path);
    if (!status && d->hashed < d->file.size)
        sm_documents_hash(d, d->file.size);
    if (!status && progress && progress(progress_user, d->file.size, d->file.size))
        status = sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", path);
    if (status)
        sm_documents_close(d);
    return status;
}

void sm_documents_close(sm_documents *d) {
    sm_file_close(&d->file);
    sm_free(d->mem, d->list);
    sm_free(d->mem, d->path);
    memset(d, 0, sizeof *d);
}

/* ---- tokens ------------------------------------------------------------------------------- */

static sm_status reserve(const sm_documents *d, uint64_t more, sm_document_tokens *t,
                         sm_error *error) {
    const uint64_t wanted = t->n + more;
    if (wanted <= t->capacity)
        return SM_OK;
    const uint64_t capacity = wanted + wanted / 2;
    int32_t *ids = sm_realloc(d->mem, t->ids, capacity * sizeof *ids);
    if (ids)
        t->ids = ids;
    uint8_t *learn = ids ? sm_realloc(d->mem, t->learn, capacity) : NULL;
    if (!learn)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for a document of %llu tokens",
                       d->path, (unsigned long long)wanted);
    t->learn = learn;
    t->capacity = capacity;
    return SM_OK;
}

sm_status sm_documents_push(const sm_documents *d, int32_t id, bool learn, sm_document_tokens *t,
                            sm_error *error) {
    if (id < 0)
        return SM_OK;
    sm_status status = reserve(d, 1, t, error);
    if (!status) {
        t->ids[t->n] = id;
        t->learn[t->n++] = learn;
    }
    return status;
}

sm_status sm_documents_encode(const sm_documents *d, const char *text, uint64_t length,
                              bool special, bool learn, sm_document_tokens *t, sm_error *error) {
    const sm_encode_options how = {.struct_size = sizeof how,
                                   .flags = special ? SM_ENCODE_SPECIAL : 0};
    uint64_t n;
    /* enough for every kind but in odd vocabularies, where the second try has the exact number */
    sm_status status = reserve(d, length + 16, t, error);
    if (!status)
        status = sm_tokenizer_encode(d->tokenizer, text, length, &how, t->ids + t->n,
                                     t->capacity - t->n, &n, error);
    if (status == SM_ERR_BUFFER) {
        status = reserve(d, n, t, error);
        if (!status)
            status = sm_tokenizer_encode(d->tokenizer, text, length, &how, t->ids + t->n,
                                         t->capacity - t->n, &n, error);
    }
    if (status)
        return status;
    memset(t->learn + t->n, learn, n);
    t->n += n;
    return SM_OK;
}

sm_status sm_documents_read(const sm_documents *d, uint64_t i, sm_document_tokens *t,
                            sm_error *error) {
    t->n = 0;
    if (d->kind == SM_DATA_INSTRUCT)
        return sm_instruct_read(d, i, t, error);
    const sm_document *document = &d->list[i];
    const char *text = (const char *)d->file.data + document->offset;
    sm_status status = SM_OK;
    if (!d->continued)
        status = sm_documents_push(d, d->vocab.bos, false, t, error);
    if (!status)
        status = sm_documents_encode(d, text, document->length, false, true, t, error);
    if (!status && !d->continued)
        status = sm_documents_push(d, d->vocab.eos, true, t, error);
    return status;
}

void sm_document_tokens_free(sm_document_tokens *t, sm_mem *mem) {
    sm_free(mem, t->ids);
    sm_free(mem, t->learn);
    memset(t, 0, sizeof *t);
}
