/* The keys of packed files. */
#include "format/format.h"

#include <string.h>

/* More than any tensor's name that a network uses; a longer one is not packed. */
#define KEY_BYTES 192

static sm_status wrong(const sm_gguf *gguf, const char *key, const char *what, sm_error *error) {
    return sm_fail(error, SM_ERR_FORMAT, "%s: key '%s' %s", gguf->path, key, what);
}

sm_status sm_gguf_get_packed(const sm_gguf *gguf, const sm_gguf_tensor *t, sm_gguf_packed *out,
                             sm_error *error) {
    *out = (sm_gguf_packed){0};
    char name[KEY_BYTES];
    if (sm_format(name, sizeof name, SM_PACKED_TENSOR_KEYS "%s", t->name) >= sizeof name ||
        !sm_gguf_find_key(gguf, SM_PACKED_VERSION_KEY))
        return SM_OK;
    const sm_gguf_key *key = sm_gguf_find_key(gguf, name);
    if (!key)
        return SM_OK;
    int64_t value[3];
    if (key->type != SM_GGUF_ARRAY || key->count != 3)
        return wrong(gguf, name, "is not an array of 3 integers: type, columns, rows", error);
    for (uint64_t i = 0; i < 3; i++)
        if (sm_gguf_key_i64(key, i, &value[i]))
            return wrong(gguf, name, "is not an array of 3 integers: type, columns, rows", error);
    if (value[0] < 0 || value[0] >= SM_DTYPE_COUNT || !sm_dtype_get((uint32_t)value[0]))
        return wrong(gguf, name, "says a type that is not known", error);
    if (value[1] < 1 || value[1] > INT32_MAX || value[2] < 1 || value[2] > INT32_MAX)
        return wrong(gguf, name, "says a shape out of range", error);
    if (t->type != SM_DTYPE_I8)
        return wrong(gguf, name, "belongs to a tensor whose type is not I8", error);
    *out = (sm_gguf_packed){true, (uint32_t)value[0], (uint32_t)value[1], (uint32_t)value[2]};
    return SM_OK;
}
