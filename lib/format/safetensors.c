/* The directory of a safetensors file. */
#include "format/safetensors.h"
#include "format/source.h"

#include <inttypes.h>
#include <string.h>

#define SHOWN 100 /* bytes of a name in messages */

static const struct {
    const char *name;
    uint32_t size;
} types[SM_ST_COUNT] = {
    [SM_ST_BOOL] = {"BOOL", 1},       [SM_ST_U8] = {"U8", 1},
    [SM_ST_I8] = {"I8", 1},           [SM_ST_F8_E4M3] = {"F8_E4M3", 1},
    [SM_ST_F8_E5M2] = {"F8_E5M2", 1}, [SM_ST_F8_E8M0] = {"F8_E8M0", 1},
    [SM_ST_U16] = {"U16", 2},         [SM_ST_I16] = {"I16", 2},
    [SM_ST_F16] = {"F16", 2},         [SM_ST_BF16] = {"BF16", 2},
    [SM_ST_U32] = {"U32", 4},         [SM_ST_I32] = {"I32", 4},
    [SM_ST_F32] = {"F32", 4},         [SM_ST_U64] = {"U64", 8},
    [SM_ST_I64] = {"I64", 8},         [SM_ST_F64] = {"F64", 8},
    [SM_ST_C64] = {"C64", 8},
};

const char *sm_st_type_name(sm_st_type type) {
    return types[type].name;
}

uint32_t sm_st_type_size(sm_st_type type) {
    return types[type].size;
}

uint64_t sm_st_elements(const sm_st_tensor *t) {
    return t->size / types[t->type].size;
}

typedef struct reader {
    sm_safetensors *st;
    const uint8_t *data;
    uint64_t size;    /* of the file */
    uint64_t data_at; /* where the tensors begin */
    const char *shown;
    const sm_hook *hook;
    sm_json *json;
    sm_error *error;
} reader;

/* ---- messages -------------------------------------------------------------------------------- */

static sm_status wrong(const reader *r, const char *what) {
    return sm_fail(r->error, SM_ERR_FORMAT, "%s: %s", r->shown, what);
}

static sm_status wrong_tensor(const reader *r, const char *name, uint64_t length,
                              const char *what) {
    return sm_fail(r->error, SM_ERR_FORMAT, "%s: tensor '%.*s' %s", r->shown,
                   (int)(length < SHOWN ? length : SHOWN), name, what);
}

/* ---- one tensor ------------------------------------------------------------------------------ */

static bool find_type(const reader *r, sm_json_value v, sm_st_type *out) {
    for (uint32_t i = 0; i < SM_ST_COUNT; i++)
        if (sm_json_is(r->json, v, types[i].name)) {
            *out = (sm_st_type)i;
            return true;
        }
    return false;
}

/* Types that take less than a byte; known by name, so that the message is the right one. */
static bool is_narrow(const reader *r, sm_json_value v) {
    static const char *const narrow[] = {"F4", "F6_E2M3", "F6_E3M2"};
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        if (sm_json_is(r->json, v, narrow[i]))
            return true;
    return false;
}

static const char *read_shape(const reader *r, sm_json_value shape, sm_st_tensor *t) {
    uint64_t bytes = types[t->type].size;
    uint32_t k = 0;
    if (sm_json_kind_of(r->json, shape) != SM_JSON_ARRAY)
        return "has no array 'shape'";
    if (sm_json_count(r->json, shape) > SM_SAFETENSORS_MAX_DIMS)
        return "has more than 8 dimensions";
    t->n_dims = sm_json_count(r->json, shape);
    for (sm_json_value d = sm_json_first(r->json, shape); d != SM_JSON_NONE;
         d = sm_json_next(r->json, shape, d)) {
        if (!sm_json_u64(r->json, d, &t->dims[k]))
            return "has a dimension that is no whole number from 0";
        if (sm_mul_over(bytes, t->dims[k], &bytes) || bytes > INT64_MAX)
            return "has a shape that is too large";
        k++;
    }
    t->size = bytes;
    return NULL;
}

static const char *read_place(const reader *r, sm_json_value offsets, sm_st_tensor *t) {
    uint64_t begin, end;
    const sm_json_value first = sm_json_first(r->json, offsets);
    if (sm_json_kind_of(r->json, offsets) != SM_JSON_ARRAY ||
        sm_json_count(r->json, offsets) != 2 || !sm_json_u64(r->json, first, &begin) ||
        !sm_json_u64(r->json, sm_json_next(r->json, offsets, first), &end))
        return "has no 'data_offsets' of two whole numbers";
    if (begin > end)
        return "ends before it begins ('data_offsets')";
    if (end > r->size - r->data_at)
        return "ends behind the end of the file: a download that broke off? Fetch it again";
    if (end - begin != t->size)
        return "has another size ('data_offsets') than its shape and type make";
    t->data = r->data + r->data_at + begin;
    return NULL;
}

static sm_status read_tensor(const reader *r, sm_json_value name, sm_st_tensor *t, char **names) {
    uint64_t length;
    const char *text = sm_json_text(r->json, name, &length);
    const sm_json_value v = sm_json_member(r->json, name);
    const sm_json_value type = sm_json_get(r->json, v, "dtype");
    const char *what = NULL;
    *t = (sm_st_tensor){.name = *names};
    memcpy(*names, text, (size_t)length);
    (*names)[length] = 0;
    *names += length + 1;
    if (!length || length > SM_SOURCE_MAX_NAME || memchr(text, 0, (size_t)length))
        what = "has a name that is empty, longer than 65535 bytes or has a zero byte";
    else if (sm_json_kind_of(r->json, v) != SM_JSON_OBJECT || sm_json_count(r->json, v) != 3)
        what = "is no object of 'dtype', 'shape' and 'data_offsets'";
    else if (is_narrow(r, type))
        return sm_fail(r->error, SM_ERR_UNSUPPORTED,
                       "%s: tensor '%.*s' has a type of less than a byte, which this version does "
                       "not read",
                       r->shown, (int)(length < SHOWN ? length : SHOWN), t->name);
    else if (!find_type(r, type, &t->type))
        what = "has a 'dtype' that the format does not know";
    if (!what)
        what = read_shape(r, sm_json_get(r->json, v, "shape"), t);
    if (!what)
        what = read_place(r, sm_json_get(r->json, v, "data_offsets"), t);
    return what ? wrong_tensor(r, text, length, what) : SM_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int by_name(const void *context, uint32_t a, uint32_t b) {
    const sm_st_tensor *t = context;
    return strcmp(t[a].name, t[b].name);
}

/* Empty ones come before what begins at the same byte. */
static int by_place(const void *context, uint32_t a, uint32_t b) {
    const sm_st_tensor *t = context;
    if (t[a].data != t[b].data)
        return t[a].data < t[b].data ? -1 : 1;
    return (t[a].size > t[b].size) - (t[a].size < t[b].size);
}

static sm_status out_of_memory(const reader *r) {
    return sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
}

/* The format allows no byte between tensors, before the first or behind the last. */
static sm_status check_places(const reader *r) {
    const sm_safetensors *st = r->st;
    const uint8_t *end = r->data + r->data_at;
    uint32_t *order = sm_sort_indices(st->mem, st->n, by_place, st->tensors);
    sm_status status = order || !st->n ? SM_OK : out_of_memory(r);
    for (uint64_t i = 0; i < st->n && !status; i++) {
        const sm_st_tensor *t = &st->tensors[order[i]];
        if (t->data != end)
            status = wrong_tensor(r, t->name, strlen(t->name),
                                  t->data < end ? "overlaps another one"
                                                : "has a hole before it, of bytes of no tensor");
        end = t->data + t->size;
    }
    sm_free(st->mem, order);
    if (!status && end != r->data + r->size)
        status = wrong(r, "bytes follow the last tensor that belong to none");
    return status;
}

static sm_status sort_names(const reader *r) {
    sm_safetensors *st = r->st;
    uint32_t *order = sm_sort_indices(st->mem, st->n, by_name, st->tensors);
    sm_st_tensor *sorted = sm_alloc_array(st->mem, st->n, sizeof *sorted);
    if (!order || !sorted) {
        sm_free(st->mem, order);
        sm_free(st->mem, sorted);
        return st->n ? out_of_memory(r) : SM_OK;
    }
    for (uint64_t i = 0; i < st->n; i++)
        sorted[i] = st->tensors[order[i]];
    sm_free(st->mem, order);
    sm_free(st->mem, st->tensors);
    st->tensors = sorted;
    for (uint64_t i = 1; i < st->n; i++)
        if (!strcmp(sorted[i - 1].name, sorted[i].name))
            return wrong_tensor(r, sorted[i].name, strlen(sorted[i].name),
                                "appears more than once");
    return SM_OK;
}

/* A map of texts, or null, as old writers have it; nothing is made of it. */
static sm_status check_metadata(const reader *r, sm_json_value v) {
    if (sm_json_kind_of(r->json, v) == SM_JSON_NULL)
        return SM_OK;
    if (sm_json_kind_of(r->json, v) != SM_JSON_OBJECT)
        return wrong(r, "'__metadata__' is no object");
    for (sm_json_value m = sm_json_first(r->json, v); m != SM_JSON_NONE;
         m = sm_json_next(r->json, v, m))
        if (sm_json_kind_of(r->json, sm_json_member(r->json, m)) != SM_JSON_STRING)
            return wrong(r, "'__metadata__' holds something other than texts");
    return SM_OK;
}

#define ASK_EVERY 4096 /* tensors: some milliseconds */

static sm_status read_tensors(const reader *r) {
    sm_safetensors *st = r->st;
    char *names = st->names;
    bool metadata = false;
    sm_status status = SM_OK;
    for (sm_json_value m = sm_json_first(r->json, SM_JSON_ROOT); m != SM_JSON_NONE && !status;
         m = sm_json_next(r->json, SM_JSON_ROOT, m)) {
        if (sm_json_is(r->json, m, "__metadata__")) {
            status = metadata ? wrong(r, "'__metadata__' appears more than once")
                              : check_metadata(r, sm_json_member(r->json, m));
            metadata = true;
            continue;
        }
        status = read_tensor(r, m, &st->tensors[st->n++], &names);
        if (!status && st->n % ASK_EVERY == 0 && sm_hook_ends(r->hook, 0, r->size))
            status = sm_fail(r->error, SM_ERR_CANCELLED, "%s: reading was cancelled", r->shown);
    }
    if (!status)
        status = sort_names(r);
    return status ? status : check_places(r);
}

/* Room for what the header holds: names are no longer than it. */
static sm_status make_room(const reader *r, uint64_t header) {
    sm_safetensors *st = r->st;
    const uint64_t n = sm_json_count(r->json, SM_JSON_ROOT);
    if (n > SM_SOURCE_MAX_TENSORS)
        return sm_fail(r->error, SM_ERR_UNSUPPORTED, "%s: %" PRIu64 " tensors, more than %u",
                       r->shown, n, SM_SOURCE_MAX_TENSORS);
    st->tensors = sm_alloc_array(st->mem, n + 1, sizeof *st->tensors);
    st->names = sm_alloc(st->mem, header + n + 1);
    return st->tensors && st->names ? SM_OK : out_of_memory(r);
}

static sm_status read_header(reader *r, uint64_t *header) {
    const char *broken = "the file ends inside its header: a download that broke off? Fetch it "
                         "again";
    if (r->size < 8)
        return wrong(r, broken);
    *header = sm_load_le(r->data, 8);
    if (*header > SM_SAFETENSORS_MAX_HEADER)
        return wrong(r, "the header's length is more than 100 MiB: this is no safetensors file");
    if (*header > r->size - 8)
        return wrong(r, broken);
    r->data_at = 8 + *header;
    if (!*header || r->data[8] != '{')
        return wrong(r, "the header is no JSON object: this is no safetensors file");
    const sm_json_source from = {r->shown, 1, NULL, NULL};
    return sm_json_read(&r->json, r->st->mem, r->data + 8, *header, &from, NULL, r->error);
}

sm_status sm_safetensors_read(sm_safetensors *out, sm_mem *mem, const uint8_t *data, uint64_t size,
                              const char *shown, const sm_hook *hook, sm_error *error) {
    reader r = {
        .st = out, .data = data, .size = size, .shown = shown, .hook = hook, .error = error};
    uint64_t header = 0;
    *out = (sm_safetensors){.mem = mem};
    sm_status status = read_header(&r, &header);
    if (!status)
        status = make_room(&r, header);
    if (!status)
        status = read_tensors(&r);
    sm_json_free(r.json);
    if (status)
        sm_safetensors_free(out);
    return status;
}

void sm_safetensors_free(sm_safetensors *st) {
    if (!st->mem)
        return;
    sm_free(st->mem, st->tensors);
    sm_free(st->mem, st->names);
    *st = (sm_safetensors){0};
}

const sm_st_tensor *sm_safetensors_find(const sm_safetensors *st, const char *name) {
    uint64_t low = 0, high = st->n;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const int order = strcmp(name, st->tensors[middle].name);
        if (order == 0)
            return &st->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
