/* The list of a file's documents, and how far the file has been gone through while it is made. */
#include "documents.h"

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

int32_t sm_watch_ask(void *watch) {
    const sm_watch *w = watch;
    return w->progress && w->progress(w->user, w->at, w->documents->file.size);
}

sm_status sm_watch_tell(sm_watch *w, sm_error *error) {
    if (w->at - w->told < SM_WATCH_BYTES)
        return SM_OK;
    w->told = w->at;
    return sm_watch_ask(w) ? sm_fail(error, SM_ERR_CANCELLED, "%s: cancelled", w->documents->path)
                           : SM_OK;
}
