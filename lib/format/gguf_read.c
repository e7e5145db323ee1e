/* GGUF reader. A file is walked three times before anything is kept: its structure, its
 * tensors' places, then, the counts being proved by the bytes behind them, into arrays.
 * Names are compared and sorted where they lie in the file and copied last, so that a
 * refused file costs little more memory than its own bytes. */
#include "format/format.h"

#include <inttypes.h>
#include <string.h>

#define MAGIC "GGUF"
#define MIN_KEY_BYTES (8 + 1 + 4 + 1)        /* name, type, value of one byte */
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 4 + 8) /* name, n_dims, type, offset */
#define SPLIT_SUFFIX "-00001-of-00001.gguf"  /* its form; five digits, counted from 1 */
#define SPLIT_SUFFIX_LENGTH (sizeof SPLIT_SUFFIX - 1)
#define PATH_SHOWN 200 /* bytes of a path in messages with its end, escaped; and of a name */
#define NAME_SHOWN 100
/* What a file that ends too early most likely is. */
#define CUT_OFF ": a download that broke off? Fetch it again"

/* One file of the model while it is read. */
typedef struct part {
    const uint8_t *data;
    uint64_t size;
    uint32_t version;
    uint32_t alignment;
    uint64_t n_keys, n_tensors;
    uint64_t keys_at, tensors_at, data_at;        /* byte positions; data_at 0: unknown */
    int64_t split_no, split_count, split_tensors; /* split.* keys; -1 if absent */
} part;

typedef struct reader {
    sm_source *source;
    sm_error *error;
    char *path; /* of the part at hand */
    part *parts;
    part *p;     /* the part at hand */
    uint64_t at; /* next byte in it */
    const sm_hook *hook;
    uint64_t walked; /* things since it was asked */
    char subject[PATH_SHOWN + NAME_SHOWN + 64];
} reader;

/* ---- messages ------------------------------------------------------------------ */

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
} /* UTF-8 */

/* Text as messages show it, too long a one cut short. */
static void show(char *out, const char *text, uint64_t length, uint64_t capacity) {
    const uint64_t n = length < capacity ? length : capacity; /* no more than that fits */
    if (sm_text_escape(text, n, out, capacity) >= capacity) {
        sm_text_escape(text, n, out, capacity - 3);
        memcpy(out + strlen(out), "...", 4);
    }
}

/* The same for a path, of which the end says more. */
static void show_path(char *out, const char *path, uint64_t capacity) {
    const uint64_t length = strlen(path);
    uint64_t from = length < capacity ? 0 : length - capacity;
    if (sm_text_escape(path + from, length - from, out, capacity) < capacity && from == 0)
        return;
    memcpy(out, "...", 4);
    do
        from++;
    while (is_continuation(path[from]) ||
           sm_text_escape(path + from, length - from, out + 3, capacity - 3) >= capacity - 3);
}

/* "model.gguf": what every message begins with. */
static const char *file_text(reader *r) {
    show_path(r->subject, r->path, PATH_SHOWN);
    return r->subject;
}

/* "model.gguf: tensor 'blk.0.attn_q.weight'" */
static const char *item_text(reader *r, const char *kind, const char *name, uint64_t length) {
    char path[PATH_SHOWN], shown[NAME_SHOWN];
    show_path(path, r->path, sizeof path);
    show(shown, name, length, sizeof shown);
    sm_format(r->subject, sizeof r->subject, "%s: %s '%s'", path, kind, shown);
    return r->subject;
}

static sm_status out_of_memory(reader *r) {
    return sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", file_text(r));
}

/* Things of a file that are walked between two questions: some milliseconds. */
#define WALK_PIECE 65536

/* After each, if only it may be one of very many. */
static sm_status ask(reader *r) {
    if (++r->walked < WALK_PIECE)
        return SM_OK;
    r->walked = 0;
    return sm_hook_ends(r->hook, r->at, r->p->size)
               ? sm_fail(r->error, SM_ERR_CANCELLED, "%s: reading was cancelled", file_text(r))
               : SM_OK;
}

/* ---- bytes --------------------------------------------------------------------- */

static uint64_t left(const reader *r) {
    return r->p->size - r->at;
}

/* The next size bytes, or NULL where the file ends before. */
static const uint8_t *take(reader *r, uint64_t size) {
    if (size > left(r))
        return NULL;
    const uint8_t *at = r->p->data + r->at;
    r->at += size;
    return at;
}

static bool take_u32(reader *r, uint32_t *out) {
    const uint8_t *at = take(r, 4);
    if (at)
        *out = (uint32_t)sm_load_le(at, 4);
    return at != NULL;
}

static bool take_u64(reader *r, uint64_t *out) {
    const uint8_t *at = take(r, 8);
    if (at)
        *out = sm_load_le(at, 8);
    return at != NULL;
}

/* Names follow their length in the file; until they are copied it is read there. */
static uint64_t name_length(const char *name) {
    return sm_load_le((const uint8_t *)name - 8, 8);
}

static uint64_t align_up(uint64_t n, uint64_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

static const char *key_text(reader *r, const sm_key *key) {
    return item_text(r, "key", key->name, name_length(key->name));
}

static const char *tensor_text(reader *r, const sm_tensor *t) {
    return item_text(r, "tensor", t->name, name_length(t->name));
}

/* Makes part i the one at hand, read from byte `at`. */
static void enter(reader *r, uint32_t i, uint64_t at) {
    r->p = &r->parts[i];
    r->at = at;
    if (r->source->n_files > 1) {
        char *digits = r->path + strlen(r->path) - SPLIT_SUFFIX_LENGTH + 1;
        for (uint32_t n = i + 1, k = 5; k-- > 0; n /= 10)
            digits[k] = (char)('0' + n % 10);
    }
}

/* ---- keys ---------------------------------------------------------------------- */

static sm_status truncated(reader *r, const char *kind, const char *name) {
    return sm_fail(r->error, SM_ERR_FORMAT,
                   "%s: the file ends inside it (at byte %" PRIu64 ")" CUT_OFF,
                   item_text(r, kind, name, name_length(name)), r->p->size);
}

static sm_status read_name(reader *r, const char *kind, uint64_t i, const char **name) {
    uint64_t length;
    if (!take_u64(r, &length))
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: the file ends before the name of %s %" PRIu64 " (at byte %" PRIu64
                       ")" CUT_OFF,
                       file_text(r), kind, i, r->p->size);
    if (length == 0)
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: %s %" PRIu64 " has an empty name",
                       file_text(r), kind, i);
    if (length > SM_SOURCE_MAX_NAME || length > left(r))
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: the name of %s %" PRIu64 " is %" PRIu64 " bytes long, past %s",
                       file_text(r), kind, i, length,
                       length > left(r) ? "the end of the file" : "the 65535 allowed");
    *name = (const char *)take(r, length);
    if (memchr(*name, 0, (size_t)length))
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: the name has a zero byte in it",
                       item_text(r, kind, *name, length));
    return SM_OK;
}

static sm_status skip_strings(reader *r, const sm_key *key) {
    for (uint64_t i = 0; i < key->count; i++) {
        uint64_t length;
        if (!take_u64(r, &length))
            return truncated(r, "key", key->name);
        if (!take(r, length))
            return sm_fail(r->error, SM_ERR_FORMAT,
                           "%s: string %" PRIu64 " of %" PRIu64
                           " bytes runs past the end of the file",
                           key_text(r, key), i, length);
        if (ask(r))
            return SM_ERR_CANCELLED;
    }
    return SM_OK;
}

/* Values that follow each other, of an array or one scalar. Sets key->data and size. */
static sm_status read_values(reader *r, sm_key *key, sm_key_type type) {
    uint64_t unit = type == SM_KEY_STRING ? 8 : sm_key_type_size(type); /* bytes at least */
    if (key->count > left(r) / unit)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: %" PRIu64 " values of type %s run past the end of the file",
                       key_text(r, key), key->count, sm_key_type_name(type));
    key->data = r->p->data + r->at;
    uint64_t start = r->at;
    if (type == SM_KEY_STRING) {
        sm_status status = skip_strings(r, key);
        if (status)
            return status;
    } else {
        take(r, key->count * unit);
    }
    key->size = r->at - start;
    for (uint64_t i = 0; type == SM_KEY_BOOL && i < key->size; i++)
        if (key->data[i] > 1)
            return sm_fail(r->error, SM_ERR_FORMAT, "%s: bool with the value %u", key_text(r, key),
                           key->data[i]);
        else if (ask(r))
            return SM_ERR_CANCELLED;
    return SM_OK;
}

static sm_status read_array(reader *r, sm_key *key) {
    uint32_t element;
    if (!take_u32(r, &element) || !take_u64(r, &key->count))
        return truncated(r, "key", key->name);
    if (element == SM_KEY_ARRAY)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED, "%s: arrays of arrays are not supported",
                       key_text(r, key));
    if (!sm_key_type_name(element))
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: unknown type %u of the elements",
                       key_text(r, key), element);
    key->element = (sm_key_type)element;
    return read_values(r, key, key->element);
}

static sm_status read_key(reader *r, uint64_t i, sm_key *key) {
    *key = (sm_key){.count = 1};
    sm_status status = read_name(r, "key", i, &key->name);
    if (status)
        return status;
    uint32_t type;
    if (!take_u32(r, &type))
        return truncated(r, "key", key->name);
    if (!sm_key_type_name(type))
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: unknown value type %u", key_text(r, key),
                       type);
    key->type = (sm_key_type)type;
    if (key->type == SM_KEY_ARRAY)
        return read_array(r, key);
    status = read_values(r, key, key->type);
    if (!status && key->type == SM_KEY_STRING) { /* its bytes alone */
        key->data += 8;
        key->size -= 8;
    }
    return status;
}

static bool named(const sm_key *key, const char *name) {
    uint64_t length = name_length(key->name);
    return length == strlen(name) && memcmp(key->name, name, (size_t)length) == 0;
}

/* Takes note of a key that says how to read the file. */
static sm_status note_key(reader *r, const sm_key *key) {
    bool alignment = named(key, SM_K_ALIGNMENT);
    int64_t *split = named(key, SM_K_SPLIT_NO)        ? &r->p->split_no
                     : named(key, SM_K_SPLIT_COUNT)   ? &r->p->split_count
                     : named(key, SM_K_SPLIT_TENSORS) ? &r->p->split_tensors
                                                      : NULL;
    if (!alignment && !split)
        return SM_OK;
    int64_t value;
    if (alignment && key->type != SM_KEY_UINT32)
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: has type %s, expected u32", key_text(r, key),
                       sm_key_type_name(key->type));
    if (key->type == SM_KEY_ARRAY || sm_key_i64(key, 0, &value) || value < 0)
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: not a whole number from 0", key_text(r, key));
    if (split) {
        *split = value;
        return SM_OK;
    }
    if (value == 0 || value % 8 || value > SM_GGUF_MAX_ALIGNMENT)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: %" PRId64 " is not a multiple of 8 from 8 to %u", key_text(r, key),
                       value, SM_GGUF_MAX_ALIGNMENT);
    r->p->alignment = (uint32_t)value;
    return SM_OK;
}

/* ---- tensors ------------------------------------------------------------------- */

/* That its bytes are in the file; known once the data section's start is. */
static sm_status place_tensor(reader *r, sm_tensor *t) {
    const part *p = r->p;
    uint64_t begin, end;
    if (t->offset % p->alignment)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: offset %" PRIu64 " is not a multiple of the alignment %u",
                       tensor_text(r, t), t->offset, p->alignment);
    if (sm_add_over(p->data_at, t->offset, &begin) || sm_add_over(begin, t->size, &end))
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: offset %" PRIu64 " is too large",
                       tensor_text(r, t), t->offset);
    if (end > p->size)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: data ends at byte %" PRIu64 " but the file has %" PRIu64 CUT_OFF,
                       tensor_text(r, t), end, p->size);
    t->data = p->data + begin;
    return SM_OK;
}

static sm_status read_tensor(reader *r, uint64_t i, sm_tensor *t) {
    *t = (sm_tensor){.dims = {1, 1, 1, 1}};
    sm_status status = read_name(r, "tensor", i, &t->name);
    if (status)
        return status;
    if (!take_u32(r, &t->n_dims))
        return truncated(r, "tensor", t->name);
    if (t->n_dims > SM_SOURCE_MAX_DIMS)
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: %u dimensions, more than %u",
                       tensor_text(r, t), t->n_dims, SM_SOURCE_MAX_DIMS);
    for (uint32_t k = 0; k < t->n_dims; k++)
        if (!take_u64(r, &t->dims[k]))
            return truncated(r, "tensor", t->name);
    if (!take_u32(r, &t->type) || !take_u64(r, &t->offset))
        return truncated(r, "tensor", t->name);
    if (sm_tensor_bytes(t->type, t->n_dims, t->dims, &t->size, "", NULL)) /* again, to say why */
        return sm_tensor_bytes(t->type, t->n_dims, t->dims, &t->size, tensor_text(r, t), r->error);
    return r->p->data_at ? place_tensor(r, t) : SM_OK;
}

/* ---- one file ------------------------------------------------------------------ */

static sm_status read_header(reader *r) {
    part *p = r->p;
    if (p->size == 0)
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: the file is empty" CUT_OFF, file_text(r));
    const uint8_t *magic = take(r, 4);
    if (!magic || memcmp(magic, MAGIC, 4) != 0) {
        sm_status status = sm_recognize_bytes(file_text(r), p->data, p->size, r->error);
        return status
                   ? status
                   : sm_fail(r->error, SM_ERR_FORMAT,
                             "%s: not a GGUF file (it does not begin with \"GGUF\")", file_text(r));
    }
    if (!take_u32(r, &p->version))
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: the file ends inside the header" CUT_OFF,
                       file_text(r));
    if (p->version && !(p->version & 0xffff)) /* small number, bytes swapped */
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: big-endian GGUF is not supported, only little-endian", file_text(r));
    if (p->version != 2 && p->version != 3)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: GGUF version %u is not supported (2 and 3 are)", file_text(r),
                       p->version);
    if (!take_u64(r, &p->n_tensors) || !take_u64(r, &p->n_keys))
        return sm_fail(r->error, SM_ERR_FORMAT, "%s: the file ends inside the header" CUT_OFF,
                       file_text(r));
    p->keys_at = r->at;
    return SM_OK;
}

/* The counts of the header against the bytes there are and what this version takes. */
static sm_status check_counts(reader *r) {
    const part *p = r->p;
    if (p->n_keys > left(r) / MIN_KEY_BYTES ||
        p->n_tensors > (left(r) - p->n_keys * MIN_KEY_BYTES) / MIN_TENSOR_BYTES)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: %" PRIu64 " keys and %" PRIu64
                       " tensors are declared, more than fit in %" PRIu64 " bytes",
                       file_text(r), p->n_keys, p->n_tensors, p->size);
    if (p->n_keys > SM_SOURCE_MAX_KEYS || p->n_tensors > SM_SOURCE_MAX_TENSORS)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: %" PRIu64 " keys and %" PRIu64 " tensors; at most %u and %u are read",
                       file_text(r), p->n_keys, p->n_tensors, SM_SOURCE_MAX_KEYS,
                       SM_SOURCE_MAX_TENSORS);
    return SM_OK;
}

/* Walks the tensors of the part at hand, into store unless it is NULL. */
static sm_status walk_tensors(reader *r, sm_tensor *store) {
    sm_status status = SM_OK;
    r->at = r->p->tensors_at;
    for (uint64_t i = 0; i < r->p->n_tensors && !status; i++) {
        sm_tensor tensor;
        status = read_tensor(r, i, store ? &store[i] : &tensor);
        if (!status)
            status = ask(r);
        if (store)
            store[i].shard = (uint32_t)(r->p - r->parts);
    }
    return status;
}

/* Checks everything of the part at hand that it takes no memory to check. */
static sm_status scan_part(reader *r) {
    part *p = r->p;
    p->alignment = SM_GGUF_DEFAULT_ALIGNMENT;
    p->split_no = p->split_count = p->split_tensors = -1;
    p->data_at = 0;
    sm_status status = read_header(r);
    if (!status)
        status = check_counts(r);
    for (uint64_t i = 0; !status && i < p->n_keys; i++) {
        sm_key key;
        status = read_key(r, i, &key);
        if (!status)
            status = note_key(r, &key);
    }
    p->tensors_at = r->at;
    if (!status)
        status = walk_tensors(r, NULL);
    if (status)
        return status;
    p->data_at = align_up(r->at, p->alignment);
    return walk_tensors(r, NULL);
}

static sm_status open_part(reader *r, uint32_t i, const sm_origin *origin, bool map) {
    enter(r, i, 0);
    sm_file *file = &r->source->files[i];
    sm_status status =
        i ? sm_file_open_asking(file, r->source->mem, r->path, map, r->hook, r->error)
          : sm_file_open_origin(file, r->source->mem, origin, map, r->hook, r->error);
    if (status == SM_ERR_IO &&
        origin->kind == SM_ORIGIN_PATH) { /* unless it is known better, the reason stands */
        const sm_status known = sm_recognize_path(r->path, file_text(r), r->error);
        status = known ? known : status;
    }
    if (status)
        return status;
    r->p->data = file->data;
    r->p->size = file->size;
    return scan_part(r);
}

/* ---- split models -------------------------------------------------------------- */

static bool five_digits(const char *text, uint32_t *out) {
    *out = 0;
    for (int k = 0; k < 5; k++) {
        if (text[k] < '0' || text[k] > '9')
            return false;
        *out = *out * 10 + (uint32_t)(text[k] - '0');
    }
    return true;
}

/* Part and count of "…-00001-of-00003.gguf". */
static bool split_name(const char *path, uint32_t *number, uint32_t *count) {
    uint64_t length = strlen(path);
    if (length <= SPLIT_SUFFIX_LENGTH)
        return false;
    const char *suffix = path + length - SPLIT_SUFFIX_LENGTH;
    return suffix[0] == '-' && five_digits(suffix + 1, number) &&
           memcmp(suffix + 6, "-of-", 4) == 0 && five_digits(suffix + 10, count) &&
           memcmp(suffix + 15, ".gguf", 5) == 0;
}

/* What the first file says of the others: their number in *count, 1 without any. */
static sm_status split_count(reader *r, uint32_t *count) {
    const part *p = r->p;
    *count = 1;
    if (p->split_count <= 1) {
        if (p->split_no > 0)
            return sm_fail(r->error, SM_ERR_FORMAT,
                           "%s: key 'split.no' is %" PRId64 " but 'split.count' is %s",
                           file_text(r), p->split_no, p->split_count < 0 ? "missing" : "at most 1");
        return SM_OK;
    }
    if (p->split_count > SM_SOURCE_MAX_FILES)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: key 'split.count' is %" PRId64 ", more than %u", file_text(r),
                       p->split_count, SM_SOURCE_MAX_FILES);
    if (p->split_no < 0 || p->split_no >= p->split_count)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: key 'split.no' is %s, but the model has %" PRId64 " parts",
                       file_text(r), p->split_no < 0 ? "missing" : "out of range", p->split_count);
    if (p->split_no > 0)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: this is part %" PRId64 " of %" PRId64
                       " of a split model; open its first part",
                       file_text(r), p->split_no + 1, p->split_count);
    *count = (uint32_t)p->split_count;
    return SM_OK;
}

/* Room for n parts; the first n_files keep theirs. */
static sm_status grow_parts(reader *r, uint32_t n) {
    sm_source *g = r->source;
    part *parts = sm_realloc(g->mem, r->parts, n * (uint64_t)sizeof *parts);
    if (!parts)
        return out_of_memory(r);
    r->parts = r->p = parts;
    sm_file *files = sm_realloc(g->mem, g->files, n * (uint64_t)sizeof *files);
    if (!files)
        return out_of_memory(r);
    memset(files + g->n_files, 0, (n - g->n_files) * sizeof *files);
    g->files = files;
    g->n_files = n;
    return SM_OK;
}

static sm_status check_part(reader *r, uint32_t i) {
    const part *p = r->p;
    if (p->split_count != r->parts[0].split_count || p->split_no != (int64_t)i)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: expected part %u of %u, but key 'split.no' is %" PRId64
                       " and 'split.count' is %" PRId64,
                       file_text(r), i + 1, r->source->n_files, p->split_no, p->split_count);
    if (p->split_tensors != r->parts[0].split_tensors)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: key 'split.tensors.count' is %" PRId64 ", in the first part %" PRId64,
                       file_text(r), p->split_tensors, r->parts[0].split_tensors);
    return SM_OK;
}

/* Opens the parts that the first one announces. */
static sm_status open_others(reader *r, const sm_origin *origin, bool map) {
    uint32_t count = 1, name_number = 0, name_count = 0;
    sm_status status = split_count(r, &count);
    if (status || count == 1)
        return status;
    if (origin->kind != SM_ORIGIN_PATH)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: a split model can be opened by its path alone", file_text(r));
    if (!split_name(r->path, &name_number, &name_count) || name_number != 1 || name_count != count)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: key 'split.count' says %u parts, but the file's name does not say "
                       "-00001-of- that number",
                       file_text(r), count);
    status = grow_parts(r, count);
    for (uint32_t i = 1; i < count && !status; i++) {
        status = open_part(r, i, origin, map);
        if (!status)
            status = check_part(r, i);
    }
    return status;
}

/* Sums the parts' tensors. */
static sm_status count_tensors(reader *r, uint64_t *n) {
    *n = 0;
    for (uint32_t i = 0; i < r->source->n_files; i++)
        *n += r->parts[i].n_tensors; /* each was checked to be small */
    enter(r, 0, 0);
    if (*n > SM_SOURCE_MAX_TENSORS)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: %" PRIu64 " tensors in all parts, more than %u", file_text(r), *n,
                       SM_SOURCE_MAX_TENSORS);
    if (r->p->split_tensors >= 0 && (uint64_t)r->p->split_tensors != *n)
        return sm_fail(r->error, SM_ERR_FORMAT,
                       "%s: key 'split.tensors.count' is %" PRId64 ", but there are %" PRIu64,
                       file_text(r), r->p->split_tensors, *n);
    return SM_OK;
}

/* ---- order: names, places ------------------------------------------------------ */

static int compare_names(const char *a, const char *b) {
    uint64_t na = name_length(a), nb = name_length(b);
    int order = memcmp(a, b, (size_t)(na < nb ? na : nb));
    return order ? order : (na > nb) - (na < nb);
}

static int by_key_name(const void *context, uint32_t a, uint32_t b) {
    const sm_source *source = context;
    return compare_names(source->keys[a].name, source->keys[b].name);
}

static int by_tensor_name(const void *context, uint32_t a, uint32_t b) {
    const sm_source *source = context;
    return compare_names(source->tensors[a].name, source->tensors[b].name);
}

static int by_place(const void *context, uint32_t a, uint32_t b) {
    const sm_source *source = context;
    const sm_tensor *ta = &source->tensors[a], *tb = &source->tensors[b];
    if (ta->shard != tb->shard)
        return ta->shard < tb->shard ? -1 : 1;
    return (ta->offset > tb->offset) - (ta->offset < tb->offset);
}

static sm_status order_names(reader *r) {
    sm_source *g = r->source;
    if (g->n_keys) {
        g->key_order = sm_sort_indices(g->mem, g->n_keys, by_key_name, g);
        if (!g->key_order)
            return out_of_memory(r);
    }
    for (uint64_t i = 1; i < g->n_keys; i++)
        if (by_key_name(g, g->key_order[i - 1], g->key_order[i]) == 0) {
            const char *name = g->keys[g->key_order[i]].name;
            return sm_fail(r->error, SM_ERR_FORMAT, "%s: appears more than once",
                           item_text(r, "key", name, name_length(name)));
        }
    if (g->n_tensors) {
        g->tensor_order = sm_sort_indices(g->mem, g->n_tensors, by_tensor_name, g);
        if (!g->tensor_order)
            return out_of_memory(r);
    }
    for (uint64_t i = 1; i < g->n_tensors; i++)
        if (by_tensor_name(g, g->tensor_order[i - 1], g->tensor_order[i]) == 0) {
            const sm_tensor *t = &g->tensors[g->tensor_order[i]];
            enter(r, t->shard, 0);
            return sm_fail(r->error, SM_ERR_FORMAT, "%s: appears more than once",
                           tensor_text(r, t));
        }
    return SM_OK;
}

/* Tensors fill the data section without overlap, with padding only between them. */
static sm_status check_places(reader *r) {
    sm_source *g = r->source;
    if (g->n_tensors == 0)
        return SM_OK;
    uint32_t *order = sm_sort_indices(g->mem, g->n_tensors, by_place, g);
    if (!order)
        return out_of_memory(r);
    sm_status status = SM_OK;
    uint64_t end = 0;
    for (uint64_t i = 0; i < g->n_tensors && !status; i++) {
        const sm_tensor *t = &g->tensors[order[i]];
        if (i == 0 || t->shard != g->tensors[order[i - 1]].shard)
            end = 0;
        enter(r, t->shard, 0);
        if (t->offset < end) {
            char other[NAME_SHOWN];
            const char *name = g->tensors[order[i - 1]].name;
            show(other, name, name_length(name), sizeof other);
            status = sm_fail(r->error, SM_ERR_FORMAT, "%s: data overlaps that of '%s'",
                             tensor_text(r, t), other);
        } else if (t->offset > align_up(end, r->p->alignment)) {
            status = sm_fail(r->error, SM_ERR_FORMAT,
                             "%s: offset %" PRIu64
                             " leaves a hole, data before it ends at offset %" PRIu64,
                             tensor_text(r, t), t->offset, end);
        }
        end = t->offset + t->size;
    }
    sm_free(g->mem, order);
    return status;
}

/* ---- the directory ------------------------------------------------------------- */

static sm_status fill(reader *r, uint64_t n_tensors) {
    sm_source *g = r->source;
    enter(r, 0, r->parts[0].keys_at);
    g->n_keys = r->p->n_keys;
    if (g->n_keys) {
        g->keys = sm_alloc_array(g->mem, g->n_keys, sizeof *g->keys);
        if (!g->keys)
            return out_of_memory(r);
    }
    sm_status status = SM_OK;
    for (uint64_t i = 0; i < g->n_keys && !status; i++)
        status = read_key(r, i, &g->keys[i]);
    g->n_tensors = n_tensors;
    if (n_tensors) {
        g->tensors = sm_alloc_array(g->mem, n_tensors, sizeof *g->tensors);
        if (!g->tensors)
            return out_of_memory(r);
    }
    uint64_t done = 0;
    for (uint32_t i = 0; i < g->n_files && !status; i++) {
        enter(r, i, 0);
        if (r->p->n_tensors)
            status = walk_tensors(r, g->tensors + done);
        done += r->p->n_tensors;
    }
    return status;
}

static uint64_t array_text(const sm_key *key, char *out, uint64_t capacity) {
    return sm_format(out, capacity, "arr[%s,%" PRIu64 "]", sm_key_type_name(key->element),
                     key->count);
}

static char *copy_name(char *out, const char **name) {
    uint64_t length = name_length(*name);
    memcpy(out, *name, (size_t)length);
    out[length] = 0;
    *name = out;
    return out + length + 1;
}

/* Copies names and makes the type texts, in one block. */
static sm_status keep_text(reader *r) {
    sm_source *g = r->source;
    uint64_t size = 0;
    for (uint64_t i = 0; i < g->n_keys; i++) {
        size += name_length(g->keys[i].name) + 1;
        if (g->keys[i].type == SM_KEY_ARRAY)
            size += array_text(&g->keys[i], NULL, 0) + 1;
    }
    for (uint64_t i = 0; i < g->n_tensors; i++)
        size += name_length(g->tensors[i].name) + 1;
    if (size == 0)
        return SM_OK;
    char *out = g->text = sm_alloc(g->mem, size);
    if (!out)
        return out_of_memory(r);
    const char *end = out + size;
    for (uint64_t i = 0; i < g->n_keys; i++) {
        sm_key *key = &g->keys[i];
        out = copy_name(out, &key->name);
        key->type_text = sm_key_type_name(key->type);
        if (key->type == SM_KEY_ARRAY) {
            key->type_text = out;
            out += array_text(key, out, (uint64_t)(end - out)) + 1;
        }
    }
    for (uint64_t i = 0; i < g->n_tensors; i++)
        out = copy_name(out, &g->tensors[i].name);
    return SM_OK;
}

/* From scanned parts to the finished handle. */
static sm_status build(reader *r) {
    uint64_t n_tensors = 0;
    sm_status status = count_tensors(r, &n_tensors);
    if (!status)
        status = fill(r, n_tensors);
    enter(r, 0, 0);
    if (!status)
        status = order_names(r);
    if (!status)
        status = check_places(r);
    enter(r, 0, 0);
    if (!status)
        status = keep_text(r);
    r->source->version = r->parts[0].version;
    r->source->alignment = r->parts[0].alignment;
    return status;
}

/* ---- opening ------------------------------------------------------------------- */

/* A handle with room for one file, and a reader over it. */
static sm_status begin(reader *r, sm_mem *mem, const char *path, sm_error *error) {
    *r = (reader){.error = error};
    sm_source *g = r->source = sm_alloc_zero(mem, sizeof *g);
    if (!g)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    g->mem = mem;
    r->path = sm_strdup(mem, path, strlen(path));
    if (!r->path)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    const char *shown = file_text(r);
    g->path = sm_strdup(mem, shown, strlen(shown));
    g->files = sm_alloc_zero(mem, sizeof *g->files);
    r->parts = r->p = sm_alloc_zero(mem, sizeof *r->parts);
    if (!g->path || !g->files || !r->parts)
        return out_of_memory(r);
    g->n_files = 1;
    return SM_OK;
}

static sm_status finish(reader *r, sm_mem *mem, sm_status status, sm_source **out) {
    sm_free(mem, r->parts);
    sm_free(mem, r->path);
    if (status)
        sm_source_close(r->source);
    *out = status ? NULL : r->source;
    return status;
}

sm_status sm_source_open(sm_source **out, sm_mem *mem, const char *path, bool map,
                         sm_error *error) {
    return sm_source_open_asking(out, mem, path, map, NULL, error);
}

sm_status sm_source_open_asking(sm_source **out, sm_mem *mem, const char *path, bool map,
                                const sm_hook *hook, sm_error *error) {
    return sm_source_open_origin(out, mem, &(sm_origin){.name = path}, map, hook, error);
}

sm_status sm_source_open_origin(sm_source **out, sm_mem *mem, const sm_origin *origin, bool map,
                                const sm_hook *hook, sm_error *error) {
    reader r;
    if (origin->kind == SM_ORIGIN_PATH && sm_directory_is_model(origin->name)) {
        const sm_status status = sm_source_open_directory(out, mem, origin->name, map, hook, error);
        sm_origin_drop(origin);
        return status;
    }
    sm_status status = begin(&r, mem, origin->name, error);
    r.hook = hook;
    if (!status)
        status = open_part(&r, 0, origin, map);
    else
        sm_origin_drop(origin);
    if (!status)
        status = open_others(&r, origin, map);
    if (!status)
        status = build(&r);
    return finish(&r, mem, status, out);
}

sm_status sm_source_open_bytes(sm_source **out, sm_mem *mem, const void *data, uint64_t size,
                               const char *name, sm_error *error) {
    const sm_origin origin = {.kind = SM_ORIGIN_MEMORY};
    reader r;
    sm_status status = begin(&r, mem, name, error);
    if (!status) {
        r.source->files[0] = (sm_file){.data = data, .size = size};
        r.p->data = data;
        r.p->size = size;
        status = scan_part(&r);
    }
    if (!status)
        status = open_others(&r, &origin, false);
    if (!status)
        status = build(&r);
    return finish(&r, mem, status, out);
}

void sm_source_close(sm_source *source) {
    if (!source)
        return;
    sm_mem *mem = source->mem;
    for (uint32_t i = 0; i < source->n_files; i++)
        sm_file_close(&source->files[i]);
    sm_free(mem, source->files);
    sm_free(mem, source->path);
    sm_free(mem, source->directory);
    sm_free(mem, source->keys);
    sm_free(mem, source->tensors);
    sm_free(mem, source->key_order);
    sm_free(mem, source->tensor_order);
    sm_free(mem, source->text);
    for (uint64_t i = 0; i < source->n_owned; i++)
        sm_free(mem, source->owned[i]);
    sm_free(mem, source->owned);
    bool owns_mem = source->owns_mem;
    sm_free(mem, source);
    if (owns_mem)
        sm_mem_destroy(mem);
}
