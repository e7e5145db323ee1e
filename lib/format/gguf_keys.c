/* Lookup and typed access to the keys of an open GGUF file. */
#include "format/format.h"

#include <string.h>

/* ---- types ------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t size;
} types[] = {
    [SM_KEY_UINT8] = {"u8", 1},    [SM_KEY_INT8] = {"i8", 1},    [SM_KEY_UINT16] = {"u16", 2},
    [SM_KEY_INT16] = {"i16", 2},   [SM_KEY_UINT32] = {"u32", 4}, [SM_KEY_INT32] = {"i32", 4},
    [SM_KEY_FLOAT32] = {"f32", 4}, [SM_KEY_BOOL] = {"bool", 1},  [SM_KEY_STRING] = {"str", 0},
    [SM_KEY_ARRAY] = {"arr", 0},   [SM_KEY_UINT64] = {"u64", 8}, [SM_KEY_INT64] = {"i64", 8},
    [SM_KEY_FLOAT64] = {"f64", 8},
};

#define N_TYPES (sizeof types / sizeof *types)

const char *sm_key_type_name(uint32_t type) {
    return type < N_TYPES ? types[type].name : NULL;
}

uint32_t sm_key_type_size(uint32_t type) {
    return type < N_TYPES ? types[type].size : 0;
}

/* ---- lookup ------------------------------------------------------------------ */

const sm_key *sm_source_find_key(const sm_source *source, const char *name) {
    uint64_t low = 0, high = source->n_keys;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const sm_key *key = &source->keys[source->key_order[middle]];
        int order = strcmp(name, key->name);
        if (order == 0)
            return key;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const sm_tensor *sm_source_find_tensor(const sm_source *source, const char *name) {
    uint64_t low = 0, high = source->n_tensors;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const sm_tensor *tensor = &source->tensors[source->tensor_order[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0)
            return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- elements ---------------------------------------------------------------- */

static sm_key_type element_type(const sm_key *key) {
    return key->type == SM_KEY_ARRAY ? key->element : key->type;
}

/* The bits of element i; false for strings or past the end. */
static bool element_bits(const sm_key *key, uint64_t i, uint64_t *bits) {
    uint32_t size = sm_key_type_size(element_type(key));
    if (size == 0 || i >= key->count)
        return false;
    *bits = sm_load_le(key->data + i * size, size);
    return true;
}

sm_status sm_key_i64(const sm_key *key, uint64_t i, int64_t *out) {
    uint64_t bits;
    if (!element_bits(key, i, &bits))
        return SM_ERR_FORMAT;
    switch (element_type(key)) {
    case SM_KEY_UINT64:
        if (bits > INT64_MAX)
            return SM_ERR_FORMAT;
        *out = (int64_t)bits;
        return SM_OK;
    case SM_KEY_UINT8:
    case SM_KEY_UINT16:
    case SM_KEY_UINT32:
    case SM_KEY_INT64:
        *out = (int64_t)bits;
        return SM_OK;
    case SM_KEY_INT8:
        *out = (int8_t)bits;
        return SM_OK;
    case SM_KEY_INT16:
        *out = (int16_t)bits;
        return SM_OK;
    case SM_KEY_INT32:
        *out = (int32_t)bits;
        return SM_OK;
    default:
        return SM_ERR_FORMAT;
    }
}

sm_status sm_key_f64(const sm_key *key, uint64_t i, double *out) {
    uint64_t bits;
    if (!element_bits(key, i, &bits))
        return SM_ERR_FORMAT;
    if (element_type(key) == SM_KEY_FLOAT64) {
        memcpy(out, &bits, sizeof *out);
        return SM_OK;
    }
    if (element_type(key) == SM_KEY_FLOAT32) {
        uint32_t half = (uint32_t)bits;
        float value;
        memcpy(&value, &half, sizeof value);
        *out = (double)value;
        return SM_OK;
    }
    const int64_t exact = (int64_t)1 << 53; /* integers a double holds exactly */
    int64_t integer;
    if (sm_key_i64(key, i, &integer) || integer < -exact || integer > exact)
        return SM_ERR_FORMAT;
    *out = (double)integer;
    return SM_OK;
}

sm_status sm_key_bool(const sm_key *key, uint64_t i, bool *out) {
    uint64_t bits = 0;
    int64_t integer = 0;
    if (element_type(key) == SM_KEY_BOOL && element_bits(key, i, &bits))
        integer = bits != 0;
    else if (sm_key_i64(key, i, &integer))
        return SM_ERR_FORMAT;
    *out = integer != 0;
    return integer == 0 || integer == 1 ? SM_OK : SM_ERR_FORMAT;
}

bool sm_key_next_str(const sm_key *key, uint64_t *cursor, const char **data, uint64_t *length) {
    if (key->type != SM_KEY_ARRAY || key->element != SM_KEY_STRING || *cursor >= key->size)
        return false;
    const uint8_t *at = key->data + *cursor;
    *length = sm_load_le(at, 8);
    *data = (const char *)(at + 8);
    *cursor += 8 + *length;
    return true;
}

/* ---- typed reads of scalars ---------------------------------------------------- */

/* The key as a scalar, or an error. */
static sm_status scalar(const sm_source *source, const char *name, const sm_key **out,
                        sm_error *error) {
    const sm_key *key = *out = sm_source_find_key(source, name);
    if (!key)
        return sm_fail(error, SM_ERR_MISSING, "%s: key '%s' is missing", source->path, name);
    if (key->type == SM_KEY_ARRAY)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is an array (%s), expected one value",
                       source->path, name, key->type_text);
    return SM_OK;
}

static sm_status wrong_type(const sm_source *source, const sm_key *key, const char *expected,
                            sm_error *error) {
    return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' has type %s, expected %s", source->path,
                   key->name, key->type_text, expected);
}

static bool is_integer(const sm_key *key) {
    switch (key->type) {
    case SM_KEY_FLOAT32:
    case SM_KEY_FLOAT64:
    case SM_KEY_BOOL:
    case SM_KEY_STRING:
    case SM_KEY_ARRAY:
        return false;
    default:
        return true;
    }
}

sm_status sm_source_get_i64(const sm_source *source, const char *name, int64_t *out,
                            sm_error *error) {
    const sm_key *key;
    sm_status status = scalar(source, name, &key, error);
    if (status)
        return status;
    if (!is_integer(key))
        return wrong_type(source, key, "an integer", error);
    if (sm_key_i64(key, 0, out))
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is out of range", source->path, name);
    return SM_OK;
}

sm_status sm_source_get_u32(const sm_source *source, const char *name, uint32_t *out,
                            sm_error *error) {
    int64_t value = 0;
    sm_status status = sm_source_get_i64(source, name, &value, error);
    if (status)
        return status;
    if (value < 0 || value > UINT32_MAX)
        return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' is %lld, out of range", source->path,
                       name, (long long)value);
    *out = (uint32_t)value;
    return SM_OK;
}

sm_status sm_source_get_f64(const sm_source *source, const char *name, double *out,
                            sm_error *error) {
    const sm_key *key;
    sm_status status = scalar(source, name, &key, error);
    if (status)
        return status;
    if (key->type != SM_KEY_FLOAT32 && key->type != SM_KEY_FLOAT64)
        return wrong_type(source, key, "a floating-point number", error);
    return sm_key_f64(key, 0, out);
}

sm_status sm_source_get_bool(const sm_source *source, const char *name, bool *out,
                             sm_error *error) {
    const sm_key *key;
    sm_status status = scalar(source, name, &key, error);
    if (status)
        return status;
    if (key->type != SM_KEY_BOOL)
        return wrong_type(source, key, "bool", error);
    *out = key->data[0] != 0;
    return SM_OK;
}

sm_status sm_source_get_str(const sm_source *source, const char *name, const char **data,
                            uint64_t *length, sm_error *error) {
    const sm_key *key;
    sm_status status = scalar(source, name, &key, error);
    if (status)
        return status;
    if (key->type != SM_KEY_STRING)
        return wrong_type(source, key, "str", error);
    *data = (const char *)key->data;
    *length = key->size;
    return SM_OK;
}
