/* Importance matrices of the kind that llama.cpp wrote before it had them in GGUF (.dat): a number
 * of entries, each a name, a number of calls and the mean squares of inputs times that number; then
 * what was read. All numbers have 32 bits, little-endian; texts a length in front.
 * Format: save_imatrix_legacy of llama.cpp's tools/imatrix. */
#include "make.h"

#include <string.h>

#define MAX_ENTRIES (SM_SOURCE_MAX_TENSORS / 2)

typedef struct reader {
    sm_mem *mem;
    const sm_file *file;
    const char *path; /* for messages */
    uint64_t at;
    sm_error *error;
} reader;

typedef struct entry {
    char name[256];
    uint64_t n; /* values */
    float calls;
    const uint8_t *values;
} entry;

static sm_status wrong(const reader *r, const char *what) {
    return sm_fail(r->error, SM_ERR_FORMAT, "%s: byte %llu: %s", r->path, (unsigned long long)r->at,
                   what);
}

static sm_status read_number(reader *r, uint32_t max, const char *what, uint32_t *out) {
    if (r->file->size - r->at < 4)
        return wrong(r, "the file ends inside an entry");
    const uint64_t value = sm_load_le(r->file->data + r->at, 4);
    if (!value || value > max)
        return wrong(r, what);
    r->at += 4;
    *out = (uint32_t)value;
    return SM_OK;
}

static sm_status read_entry(reader *r, entry *e) {
    uint32_t length, calls, n;
    sm_status status = read_number(r, sizeof e->name - 1, "is no length of a name", &length);
    if (!status && r->file->size - r->at < length)
        status = wrong(r, "the file ends inside a name");
    if (status)
        return status;
    memcpy(e->name, r->file->data + r->at, length);
    e->name[length] = 0;
    if (strlen(e->name) != length)
        return wrong(r, "a name has a zero byte");
    r->at += length;
    status = read_number(r, INT32_MAX, "is no number of calls", &calls);
    if (!status)
        status = read_number(r, INT32_MAX, "is no number of values", &n);
    if (!status && (r->file->size - r->at) / sizeof(float) < n)
        status = wrong(r, "the file ends inside the values of an entry");
    if (status)
        return status;
    e->n = n;
    e->calls = (float)calls;
    e->values = r->file->data + r->at;
    r->at += n * sizeof(float);
    return SM_OK;
}

static void full_name(char *name, size_t capacity, const entry *e, const char *suffix) {
    sm_format(name, capacity, "%s%s", e->name, suffix);
}

/* A GGUF file of the same, in memory, whose data is still to be filled in. */
static sm_status declare(reader *r, uint32_t n, uint8_t **image, uint64_t *size) {
    sm_gguf_writer *w;
    entry e;
    char name[300];
    sm_status status =
        sm_gguf_writer_new(&w, r->mem, r->path, 3, SM_GGUF_DEFAULT_ALIGNMENT, r->error);
    if (status)
        return status;
    sm_gguf_put_str(w, SM_K_TYPE, "imatrix", strlen("imatrix"));
    for (uint32_t i = 0; i < n && !status; i++) {
        status = read_entry(r, &e);
        if (status)
            break;
        full_name(name, sizeof name, &e, ".in_sum2");
        status = sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, 1, &e.n, r->error);
        full_name(name, sizeof name, &e, ".counts");
        if (!status)
            status = sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, 1, &(uint64_t){1}, r->error);
    }
    if (!status)
        return sm_gguf_writer_image(w, image, size, r->error);
    sm_gguf_writer_abort(w);
    return status;
}

static void fill(const sm_source *source, uint8_t *image, const entry *e, const char *suffix,
                 const void *data, uint64_t size) {
    char name[300];
    full_name(name, sizeof name, e, suffix);
    const sm_tensor *t = sm_source_find_tensor(source, name);
    memcpy(image + (t->data - image), data, (size_t)size); /* of this size: declare */
}

static sm_status convert(reader *r, sm_importance *out) {
    uint32_t n;
    entry e;
    uint64_t size;
    sm_status status = read_number(r, MAX_ENTRIES, "is no number of entries", &n);
    const uint64_t first = r->at;
    if (!status)
        status = declare(r, n, &out->image, &size);
    if (!status)
        status = sm_source_open_bytes(&out->source, r->mem, out->image, size, r->path, r->error);
    r->at = first;
    for (uint32_t i = 0; i < n && !status; i++) {
        status = read_entry(r, &e);
        if (status)
            break;
        fill(out->source, out->image, &e, ".in_sum2", e.values, e.n * sizeof(float));
        fill(out->source, out->image, &e, ".counts", &e.calls, sizeof e.calls);
    }
    return status;
}

sm_status sm_importance_open_old(sm_importance *out, sm_mem *mem, const sm_file *file,
                                 const char *path, sm_error *error) {
    reader r = {.mem = mem, .file = file, .path = path, .error = error};
    const sm_status status = convert(&r, out);
    if (status)
        sm_importance_close(out);
    return status;
}
