/* GGUF writer. Keys and tensor entries are put together in memory as they will lie in the
 * file; the first tensor's data, finish, or image writes them out. */
#include "format/format.h"

#include <string.h>

#define HEADER_BYTES (4 + 4 + 8 + 8)
#define NAME_SHOWN 100 /* bytes of a name in messages */
#define ALIGNMENT_KEY SM_K_ALIGNMENT

typedef struct entry {
    uint64_t at;         /* of its name's length in the section's bytes */
    uint64_t data_bytes; /* of a tensor */
} entry;

/* The keys, or the tensor entries. */
typedef struct section {
    uint8_t *bytes;
    uint64_t size, capacity;
    entry *entries;
    uint64_t n, n_capacity;
} section;

struct sm_gguf_writer {
    sm_mem *mem;
    sm_file_writer *file; /* NULL: the file is made in memory */
    uint8_t *buffer;      /* of sm_gguf_writer_into */
    uint64_t capacity, position;
    uint64_t *size; /* gets position at the end; NULL: no such writer */
    char *path;     /* for messages */
    uint32_t version;
    uint32_t alignment;
    section keys, tensors;
    uint64_t data_bytes; /* of the tensors declared, padding included */
    uint64_t next;       /* tensor whose data is written next */
    uint64_t part;       /* bytes of its data that are written */
    bool started;        /* the header is written */
    sm_sum *sum;         /* of a sealed file: of what is written so far; else NULL */
    sm_hook hook;
    uint64_t written; /* bytes of data */
    sm_error first;   /* the first failure; its code is 0 while there is none */
};

/* ---- bytes ----------------------------------------------------------------------- */

static uint8_t *store(uint8_t *out, uint64_t value, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        out[i] = (uint8_t)(value >> 8 * i);
    return out + size;
}

static uint8_t *store_bytes(uint8_t *out, const void *data, uint64_t size) {
    if (size)
        memcpy(out, data, (size_t)size);
    return out + size;
}

/* A value of this machine's byte order. */
static uint64_t load_native(const void *data, uint32_t size) {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (size) {
    case 1:
        memcpy(&u8, data, 1);
        return u8;
    case 2:
        memcpy(&u16, data, 2);
        return u16;
    case 4:
        memcpy(&u32, data, 4);
        return u32;
    default:
        memcpy(&u64, data, 8);
        return u64;
    }
}

/* ---- sections -------------------------------------------------------------------- */

static sm_status no_memory(sm_gguf_writer *w) {
    return sm_fail(&w->first, SM_ERR_NOMEM, "%s: out of memory", w->path);
}

/* Makes *block hold need units; doubles, so that n additions copy O(n). */
static sm_status grow(sm_gguf_writer *w, void **block, uint64_t *capacity, uint64_t need,
                      uint64_t unit) {
    if (need <= *capacity)
        return SM_OK;
    uint64_t target = *capacity < 512 / unit ? 512 / unit : *capacity * 2, bytes;
    if (target < need)
        target = need;
    void *fresh = sm_mul_over(target, unit, &bytes) ? NULL : sm_realloc(w->mem, *block, bytes);
    if (!fresh)
        return no_memory(w);
    *block = fresh;
    *capacity = target;
    return SM_OK;
}

/* Adds an entry of that name with payload bytes after it, which the caller fills at the
 * place returned; NULL on failure. */
static uint8_t *add_entry(sm_gguf_writer *w, section *s, const char *name, uint64_t payload) {
    if (w->first.code)
        return NULL;
    const char *kind = s == &w->keys ? "key" : "tensor";
    uint64_t length = strlen(name), size,
             most = s == &w->keys ? SM_SOURCE_MAX_KEYS : SM_SOURCE_MAX_TENSORS;
    if (w->started) {
        sm_fail(&w->first, SM_ERR_STATE, "%s: %s '%.*s' comes after tensor data", w->path, kind,
                NAME_SHOWN, name);
        return NULL;
    }
    if (length == 0 || length > SM_SOURCE_MAX_NAME) {
        sm_fail(&w->first, SM_ERR_ARGUMENT, "%s: a %s's name is %s", w->path, kind,
                length ? "too long" : "empty");
        return NULL;
    }
    if (s->n == most) {
        sm_fail(&w->first, SM_ERR_ARGUMENT, "%s: more than %llu %ss", w->path,
                (unsigned long long)most, kind);
        return NULL;
    }
    void *bytes = s->bytes, *entries = s->entries;
    if (sm_add_over(s->size + 8 + length, payload, &size)) {
        no_memory(w);
        return NULL;
    }
    sm_status status = grow(w, &bytes, &s->capacity, size, 1);
    s->bytes = bytes;
    if (!status)
        status = grow(w, &entries, &s->n_capacity, s->n + 1, sizeof *s->entries);
    s->entries = entries;
    if (status)
        return NULL;
    s->entries[s->n++] = (entry){.at = s->size};
    uint8_t *out = store(s->bytes + s->size, length, 8);
    s->size = size;
    return store_bytes(out, name, length);
}

/* ---- keys ------------------------------------------------------------------------ */

/* Bytes of count values in the file; false if too many. */
static bool values_size(sm_key_type type, const void *values, uint64_t count, uint64_t *size) {
    if (type != SM_KEY_STRING)
        return !sm_mul_over(count, sm_key_type_size(type), size);
    const sm_gguf_str *text = values;
    *size = 0;
    for (uint64_t i = 0; i < count; i++)
        if (sm_add_over(*size, text[i].length, size) || sm_add_over(*size, 8, size))
            return false;
    return true;
}

static void store_values(uint8_t *out, sm_key_type type, const void *values, uint64_t count) {
    if (type == SM_KEY_STRING) {
        const sm_gguf_str *text = values;
        for (uint64_t i = 0; i < count; i++) {
            out = store(out, text[i].length, 8);
            out = store_bytes(out, text[i].data, text[i].length);
        }
        return;
    }
    uint32_t unit = sm_key_type_size(type);
    const uint8_t *in = values;
    for (uint64_t i = 0; i < count; i++)
        out = store(out, load_native(in + i * unit, unit), unit);
}

static sm_status put(sm_gguf_writer *w, const char *name, bool array, sm_key_type type,
                     const void *values, uint64_t count) {
    if (w->first.code)
        return w->first.code;
    uint64_t size = 0;
    if (!sm_key_type_name(type) || type == SM_KEY_ARRAY)
        return sm_fail(&w->first, SM_ERR_ARGUMENT, "%s: key '%.*s': type %u has no plain values",
                       w->path, NAME_SHOWN, name, (unsigned)type);
    uint64_t head = array ? 4 + 4 + 8 : 4;
    if (!values_size(type, values, count, &size) || sm_add_over(size, head, &size))
        return no_memory(w);
    uint8_t *out = add_entry(w, &w->keys, name, size);
    if (!out)
        return w->first.code;
    if (array) {
        out = store(out, SM_KEY_ARRAY, 4);
        out = store(out, type, 4);
        out = store(out, count, 8);
    } else {
        out = store(out, type, 4);
    }
    store_values(out, type, values, count);
    return SM_OK;
}

sm_status sm_gguf_put_scalar(sm_gguf_writer *writer, const char *name, sm_key_type type,
                             const void *value) {
    return put(writer, name, false, type, value, 1);
}

sm_status sm_gguf_put_array(sm_gguf_writer *writer, const char *name, sm_key_type element,
                            const void *values, uint64_t count) {
    return put(writer, name, true, element, values, count);
}

sm_status sm_gguf_put_u32(sm_gguf_writer *writer, const char *name, uint32_t value) {
    return put(writer, name, false, SM_KEY_UINT32, &value, 1);
}

sm_status sm_gguf_put_f32(sm_gguf_writer *writer, const char *name, float value) {
    return put(writer, name, false, SM_KEY_FLOAT32, &value, 1);
}

sm_status sm_gguf_put_bool(sm_gguf_writer *writer, const char *name, bool value) {
    uint8_t byte = value;
    return put(writer, name, false, SM_KEY_BOOL, &byte, 1);
}

sm_status sm_gguf_put_str(sm_gguf_writer *writer, const char *name, const char *text,
                          uint64_t length) {
    sm_gguf_str value = {text, length};
    return put(writer, name, false, SM_KEY_STRING, &value, 1);
}

sm_status sm_gguf_put_key(sm_gguf_writer *writer, const sm_key *key) {
    uint64_t head = key->type == SM_KEY_ARRAY ? 4 + 4 + 8 : key->type == SM_KEY_STRING ? 4 + 8 : 4;
    uint8_t *out = add_entry(writer, &writer->keys, key->name, head + key->size);
    if (!out)
        return writer->first.code;
    out = store(out, key->type, 4);
    if (key->type == SM_KEY_ARRAY) {
        out = store(out, key->element, 4);
        out = store(out, key->count, 8);
    } else if (key->type == SM_KEY_STRING) {
        out = store(out, key->size, 8);
    }
    store_bytes(out, key->data, key->size);
    return SM_OK;
}

/* What is copied but on request: names, or beginnings that end with a dot. */
static const struct {
    uint32_t bit;
    const char *name;
} own_keys[] = {
    {SM_KEYS_OF_PARTS, "split."},        {SM_KEY_ALIGNMENT, SM_K_ALIGNMENT},
    {SM_KEY_FILE_TYPE, SM_K_FILE_TYPE},  {SM_KEY_QUANTIZATION_VERSION, SM_K_QUANTIZATION_VERSION},
    {SM_KEYS_OF_PACKED, SM_PACKED_KEYS},
};

static bool is_left_out(const char *key, uint32_t but) {
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++) {
        const char *name = own_keys[i].name;
        const size_t n = strlen(name);
        if (but & own_keys[i].bit && strncmp(key, name, n) == 0 && (name[n - 1] == '.' || !key[n]))
            return true;
    }
    return but & SM_KEYS_BUT_VOCABULARY && !starts_with(key, "tokenizer.");
}

sm_status sm_gguf_copy_keys(sm_gguf_writer *writer, const sm_source *from, uint32_t but) {
    for (uint64_t i = 0; i < from->n_keys; i++)
        if (!is_left_out(from->keys[i].name, but))
            sm_gguf_put_key(writer, &from->keys[i]);
    if (from->directory)
        sm_gguf_put_texts(writer, from);
    return writer->first.code;
}

/* ---- tensors --------------------------------------------------------------------- */

/* Hands the first failure to the caller. */
static sm_status report(const sm_gguf_writer *w, sm_error *error) {
    if (w->first.code && error)
        *error = w->first;
    return w->first.code;
}

static uint64_t padding(const sm_gguf_writer *w, uint64_t size) {
    return (w->alignment - size % w->alignment) % w->alignment;
}

sm_status sm_gguf_declare_tensor(sm_gguf_writer *writer, const char *name, uint32_t type,
                                 uint32_t n_dims, const uint64_t *dims, sm_error *error) {
    sm_gguf_writer *w = writer;
    if (w->first.code)
        return report(w, error);
    uint64_t bytes, end;
    if (sm_tensor_bytes(type, n_dims, dims, &bytes, name, &w->first)) {
        w->first.code = SM_ERR_ARGUMENT; /* here it is the caller's, not a file's */
        return report(w, error);
    }
    if (sm_add_over(w->data_bytes, bytes, &end) || end > INT64_MAX - (uint64_t)w->alignment) {
        sm_fail(&w->first, SM_ERR_ARGUMENT, "%s: the tensors' sizes add up to too much", w->path);
        return report(w, error);
    }
    uint8_t *out = add_entry(w, &w->tensors, name, 4 + 8 * (uint64_t)n_dims + 4 + 8);
    if (!out)
        return report(w, error);
    out = store(out, n_dims, 4);
    for (uint32_t k = 0; k < n_dims; k++)
        out = store(out, dims[k], 8);
    out = store(out, type, 4);
    store(out, w->data_bytes, 8);
    w->tensors.entries[w->tensors.n - 1].data_bytes = bytes;
    w->data_bytes = end + padding(w, bytes);
    return SM_OK;
}

sm_status sm_gguf_declare_seal(sm_gguf_writer *writer, sm_error *error) {
    static const uint64_t bytes = SM_GGUF_SEAL_BYTES;
    sm_gguf_writer *w = writer;
    if (w->first.code ||
        sm_gguf_declare_tensor(w, SM_GGUF_SEAL, SM_DTYPE_I8, 1, &bytes, error) != SM_OK)
        return report(w, error);
    w->sum = sm_sum_new(w->mem);
    if (!w->sum)
        no_memory(w);
    return report(w, error);
}

/* ---- the header ------------------------------------------------------------------ */

static const uint8_t *entry_name(const section *s, uint64_t i, uint64_t *length) {
    const uint8_t *at = s->bytes + s->entries[i].at;
    *length = sm_load_le(at, 8);
    return at + 8;
}

static int by_name(const void *context, uint32_t a, uint32_t b) {
    const section *s = context;
    uint64_t na, nb;
    const uint8_t *name_a = entry_name(s, a, &na), *name_b = entry_name(s, b, &nb);
    int order = memcmp(name_a, name_b, (size_t)(na < nb ? na : nb));
    return order ? order : (na > nb) - (na < nb);
}

static sm_status check_duplicates(sm_gguf_writer *w, const section *s) {
    if (s->n == 0)
        return SM_OK;
    uint32_t *order = sm_sort_indices(w->mem, s->n, by_name, s);
    if (!order)
        return no_memory(w);
    for (uint64_t i = 1; i < s->n && !w->first.code; i++)
        if (by_name(s, order[i - 1], order[i]) == 0) {
            uint64_t length;
            const uint8_t *name = entry_name(s, order[i], &length);
            sm_fail(&w->first, SM_ERR_ARGUMENT, "%s: %s '%.*s' was given twice", w->path,
                    s == &w->keys ? "key" : "tensor",
                    (int)(length < NAME_SHOWN ? length : NAME_SHOWN), (const char *)name);
        }
    sm_free(w->mem, order);
    return w->first.code;
}

/* The key general.alignment says what the writer was opened with, or is added. */
static sm_status settle_alignment(sm_gguf_writer *w) {
    for (uint64_t i = 0; i < w->keys.n; i++) {
        uint64_t length;
        const uint8_t *name = entry_name(&w->keys, i, &length);
        if (length != sizeof ALIGNMENT_KEY - 1 || memcmp(name, ALIGNMENT_KEY, length) != 0)
            continue;
        uint32_t type = (uint32_t)sm_load_le(name + length, 4), size = sm_key_type_size(type);
        if (type == SM_KEY_FLOAT32 || type == SM_KEY_FLOAT64 || type == SM_KEY_BOOL || size == 0 ||
            sm_load_le(name + length + 4, size) != w->alignment)
            return sm_fail(&w->first, SM_ERR_ARGUMENT,
                           "%s: key '" ALIGNMENT_KEY "' is not the writer's alignment %u", w->path,
                           w->alignment);
        return SM_OK;
    }
    return w->alignment == SM_GGUF_DEFAULT_ALIGNMENT
               ? SM_OK
               : sm_gguf_put_u32(w, ALIGNMENT_KEY, w->alignment);
}

static void store_header(const sm_gguf_writer *w, uint8_t header[HEADER_BYTES]) {
    uint8_t *out = store_bytes(header, "GGUF", 4);
    out = store(out, w->version, 4);
    out = store(out, w->tensors.n, 8);
    store(out, w->keys.n, 8);
}

/* What is left to do before the header can be written. */
static sm_status settle(sm_gguf_writer *w) {
    sm_status status = settle_alignment(w);
    if (!status)
        status = check_duplicates(w, &w->keys);
    if (!status)
        status = check_duplicates(w, &w->tensors);
    return status;
}

/* The next bytes of the file. */
static sm_status emit(sm_gguf_writer *w, const void *data, uint64_t size) {
    if (w->sum)
        sm_sum_add(w->sum, data, size);
    if (w->file)
        return sm_file_write(w->file, data, size, &w->first);
    if (w->position < w->capacity && size)
        memcpy(w->buffer + w->position, data, (size_t)min_u64(size, w->capacity - w->position));
    w->position += size;
    return SM_OK;
}

static sm_status write_zeros(sm_gguf_writer *w, uint64_t n) {
    static const uint8_t zeros[4096];
    sm_status status = SM_OK;
    for (; n && !status; n -= n < sizeof zeros ? n : sizeof zeros)
        status = emit(w, zeros, n < sizeof zeros ? n : sizeof zeros);
    return status;
}

static sm_status start(sm_gguf_writer *w) {
    if (w->first.code || w->started)
        return w->first.code;
    sm_status status = settle(w);
    if (status)
        return status;
    w->started = true;
    uint8_t header[HEADER_BYTES];
    store_header(w, header);
    status = emit(w, header, sizeof header);
    if (!status && w->keys.size)
        status = emit(w, w->keys.bytes, w->keys.size);
    if (!status && w->tensors.size)
        status = emit(w, w->tensors.bytes, w->tensors.size);
    if (!status && w->tensors.n) /* without data there is nothing to align */
        status =
            write_zeros(w, padding(w, w->file ? sm_file_writer_position(w->file) : w->position));
    return status;
}

/* ---- writing --------------------------------------------------------------------- */

sm_status sm_gguf_writer_new(sm_gguf_writer **out, sm_mem *mem, const char *name, uint32_t version,
                             uint32_t alignment, sm_error *error) {
    *out = NULL;
    if (version != 2 && version != 3)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: GGUF version %u cannot be written, 2 and 3 can",
                       name, version);
    if (alignment == 0 || alignment % 8 || alignment > SM_GGUF_MAX_ALIGNMENT)
        return sm_fail(error, SM_ERR_ARGUMENT,
                       "%s: alignment %u is not a multiple of 8 from 8 to %u", name, alignment,
                       SM_GGUF_MAX_ALIGNMENT);
    sm_gguf_writer *w = sm_alloc_zero(mem, sizeof *w);
    if (!w)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", name);
    w->mem = mem;
    w->version = version;
    w->alignment = alignment;
    w->path = sm_strdup(mem, name, strlen(name));
    if (!w->path) {
        sm_gguf_writer_abort(w);
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", name);
    }
    *out = w;
    return SM_OK;
}

sm_status sm_gguf_writer_open(sm_gguf_writer **out, sm_mem *mem, const char *path, uint32_t version,
                              uint32_t alignment, sm_error *error) {
    sm_status status = sm_gguf_writer_new(out, mem, path, version, alignment, error);
    if (!status)
        status = sm_file_writer_open(&(*out)->file, mem, path, error);
    if (status) {
        sm_gguf_writer_abort(*out);
        *out = NULL;
    }
    return status;
}

sm_status sm_gguf_writer_into(sm_gguf_writer **out, sm_mem *mem, const char *name, uint32_t version,
                              uint32_t alignment, uint8_t *buffer, uint64_t capacity,
                              uint64_t *size, sm_error *error) {
    const sm_status status = sm_gguf_writer_new(out, mem, name, version, alignment, error);
    if (status)
        return status;
    (*out)->buffer = buffer;
    (*out)->capacity = capacity;
    (*out)->size = size;
    return SM_OK;
}

void sm_gguf_writer_ask(sm_gguf_writer *writer, const sm_hook *hook) {
    writer->hook = *hook;
}

/* In pieces, asking for each. */
static sm_status write_data(sm_gguf_writer *w, const uint8_t *data, uint64_t size) {
    for (uint64_t n; size && !w->first.code; data += n, size -= n) {
        n = size < SM_WRITE_PIECE ? size : SM_WRITE_PIECE;
        if (sm_hook_ends(&w->hook, w->written, w->data_bytes))
            sm_fail(&w->first, SM_ERR_CANCELLED, "%s: writing was cancelled", w->path);
        else
            emit(w, data, n);
        w->written += n;
    }
    return w->first.code;
}

/* Appends to the data of the next tensor; whole: it must be all of it. */
static sm_status append(sm_gguf_writer *w, const void *data, uint64_t size, bool whole,
                        sm_error *error) {
    if (start(w))
        return report(w, error);
    if (w->next == w->tensors.n) {
        sm_fail(&w->first, SM_ERR_STATE, "%s: data for more tensors than were declared", w->path);
        return report(w, error);
    }
    uint64_t length, expected = w->tensors.entries[w->next].data_bytes;
    const uint8_t *name = entry_name(&w->tensors, w->next, &length);
    if (whole ? w->part || size != expected : size > expected - w->part)
        sm_fail(&w->first, SM_ERR_ARGUMENT, "%s: tensor '%.*s' takes %llu bytes of data, not %llu",
                w->path, (int)(length < NAME_SHOWN ? length : NAME_SHOWN), (const char *)name,
                (unsigned long long)expected, (unsigned long long)(w->part + size));
    else if (!write_data(w, data, size) && w->part + size == expected)
        write_zeros(w, padding(w, expected));
    w->part += size;
    if (w->part >= expected) {
        w->next++;
        w->part = 0;
    }
    return report(w, error);
}

sm_status sm_gguf_write_tensor(sm_gguf_writer *writer, const void *data, uint64_t size,
                               sm_error *error) {
    return append(writer, data, size, true, error);
}

sm_status sm_gguf_write_part(sm_gguf_writer *writer, const void *data, uint64_t size,
                             sm_error *error) {
    return append(writer, data, size, false, error);
}

/* The seal comes when all else is written. */
static void write_seal(sm_gguf_writer *w) {
    uint8_t value[SM_GGUF_SEAL_BYTES];
    if (!w->sum || start(w) || w->next + 1 != w->tensors.n)
        return;
    store(value, sm_sum_value(w->sum), sizeof value);
    append(w, value, sizeof value, true, NULL);
}

sm_status sm_gguf_write_copy(sm_gguf_writer *writer, const sm_tensor *t, sm_error *error) {
    if (!t->pieces)
        return sm_gguf_write_tensor(writer, t->data, t->size, error);
    const uint64_t n_rows = sm_tensor_rows(t), row_bytes = t->size / n_rows;
    sm_status status = SM_OK;
    for (uint64_t row = 0, n; row < n_rows && !status; row += n) {
        n = sm_tensor_rows_left(t, row);
        status = sm_gguf_write_part(writer, sm_tensor_row(t, row, row_bytes), n * row_bytes, error);
    }
    return status;
}

sm_status sm_gguf_writer_finish(sm_gguf_writer *writer, sm_error *error) {
    sm_gguf_writer *w = writer;
    write_seal(w);
    if (!start(w) && w->next < w->tensors.n) {
        uint64_t length;
        const uint8_t *name = entry_name(&w->tensors, w->next, &length);
        sm_fail(&w->first, SM_ERR_STATE, "%s: tensor '%.*s' was given %s data", w->path,
                (int)(length < NAME_SHOWN ? length : NAME_SHOWN), (const char *)name,
                w->part ? "too little" : "no");
    }
    if (!w->first.code && w->file) {
        sm_file_commit(w->file, &w->first);
        w->file = NULL;
    }
    if (!w->first.code && w->size) {
        *w->size = w->position;
        if (w->position > w->capacity)
            sm_fail(&w->first, SM_ERR_BUFFER, "%s: %llu bytes do not fit a buffer of %llu", w->path,
                    (unsigned long long)w->position, (unsigned long long)w->capacity);
    }
    sm_status status = report(w, error);
    sm_gguf_writer_abort(w);
    return status;
}

/* Behind each tensor's data. */
static void clear_gaps(const sm_gguf_writer *w, uint8_t *data) {
    for (uint64_t i = 0; i < w->tensors.n; i++) {
        const uint64_t bytes = w->tensors.entries[i].data_bytes, n = padding(w, bytes);
        memset(data + bytes, 0, (size_t)n);
        data += bytes + n;
    }
}

sm_status sm_gguf_writer_image(sm_gguf_writer *writer, uint8_t **data, uint64_t *size,
                               sm_error *error) {
    sm_gguf_writer *w = writer;
    *data = NULL;
    *size = 0;
    if (!w->first.code && !settle(w)) {
        uint64_t total = HEADER_BYTES, padded = 0;
        if (!sm_add_over(total, w->keys.size, &total) &&
            !sm_add_over(total, w->tensors.size, &total) && w->tensors.n)
            padded = padding(w, total);
        uint8_t *image = NULL;
        if (!sm_add_over(total, padded, &total) && !sm_add_over(total, w->data_bytes, &total))
            image = sm_alloc(w->mem, total);
        if (image) {
            store_header(w, image);
            uint8_t *out = store_bytes(image + HEADER_BYTES, w->keys.bytes, w->keys.size);
            out = store_bytes(out, w->tensors.bytes, w->tensors.size);
            memset(out, 0, (size_t)padded);
            clear_gaps(w, out + padded);
            *data = image;
            *size = total;
        } else {
            no_memory(w);
        }
    }
    sm_status status = report(w, error);
    sm_gguf_writer_abort(w);
    return status;
}

void sm_gguf_writer_abort(sm_gguf_writer *writer) {
    if (!writer)
        return;
    sm_mem *mem = writer->mem;
    sm_file_abort(writer->file);
    sm_free(mem, writer->sum);
    sm_free(mem, writer->path);
    sm_free(mem, writer->keys.bytes);
    sm_free(mem, writer->keys.entries);
    sm_free(mem, writer->tensors.bytes);
    sm_free(mem, writer->tensors.entries);
    sm_free(mem, writer);
}

sm_status sm_gguf_writer_end(sm_gguf_writer *writer, sm_status status, sm_error *error) {
    if (!status)
        return sm_gguf_writer_finish(writer, error);
    sm_gguf_writer_abort(writer);
    return status;
}
