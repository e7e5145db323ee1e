/* The keys of packed files. */
#include "format/format.h"

#include <string.h>

/* More than any tensor's name that a network uses; a longer one is not packed. */
#define KEY_BYTES 192

static sm_status wrong(const sm_source *source, const char *key, const char *what,
                       sm_error *error) {
    return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' %s", source->path, key, what);
}

sm_status sm_source_get_packed(const sm_source *source, const sm_tensor *t, sm_packed_tensor *out,
                               sm_error *error) {
    *out = (sm_packed_tensor){0};
    char name[KEY_BYTES];
    if (sm_format(name, sizeof name, SM_PACKED_TENSOR_KEYS "%s", t->name) >= sizeof name ||
        !sm_source_find_key(source, SM_PACKED_VERSION_KEY))
        return SM_OK;
    const sm_key *key = sm_source_find_key(source, name);
    if (!key)
        return SM_OK;
    int64_t value[3];
    if (key->type != SM_KEY_ARRAY || key->count != 3)
        return wrong(source, name, "is not an array of 3 integers: type, columns, rows", error);
    for (uint64_t i = 0; i < 3; i++)
        if (sm_key_i64(key, i, &value[i]))
            return wrong(source, name, "is not an array of 3 integers: type, columns, rows", error);
    if (value[0] < 0 || value[0] >= SM_DTYPE_COUNT || !sm_dtype_get((uint32_t)value[0]))
        return wrong(source, name, "says a type that is not known", error);
    if (value[1] < 1 || value[1] > INT32_MAX || value[2] < 1 || value[2] > INT32_MAX)
        return wrong(source, name, "says a shape out of range", error);
    if (t->type != SM_DTYPE_I8)
        return wrong(source, name, "belongs to a tensor whose type is not I8", error);
    *out = (sm_packed_tensor){true, (uint32_t)value[0], (uint32_t)value[1], (uint32_t)value[2]};
    return SM_OK;
}
