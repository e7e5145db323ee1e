/* struct.c - options structs of any age: sizes that callers tell, and copies of what is known. */
#include "base.h"

#include <string.h>

/* Sizes that anyone may have meant: the caller's struct may be of an earlier or a
 * later version than this library. */
#define STRUCT_MIN 8
#define STRUCT_MAX 4096

static bool cuts_field(uint32_t size, const sm_wide *wide) {
    bool cut = size % 4 != 0;
    for (; wide && wide->step; wide++)
        cut = cut || (size > wide->begin && size < wide->end && (size - wide->begin) % wide->step);
    return cut;
}

static sm_status check_size(uint32_t size, size_t known, const sm_wide *wide, const char *what,
                            sm_error *error) {
    if (size < STRUCT_MIN || size > STRUCT_MAX)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: struct_size is %u, expected %zu", what, size,
                       known);
    return cuts_field(size, wide)
               ? sm_fail(error, SM_ERR_ARGUMENT,
                         "%s: struct_size is %u, which is inside a field; expected %zu", what, size,
                         known)
               : SM_OK;
}

sm_status sm_struct_take(void *to, size_t known, const sm_wide *wide, const void *from,
                         const char *what, sm_error *error) {
    const uint32_t own = (uint32_t)known;
    memset(to, 0, known);
    if (from) {
        uint32_t size;
        memcpy(&size, from, sizeof size);
        sm_status status = check_size(size, known, wide, what, error);
        if (status)
            return status;
        for (size_t i = known; i < size; i++)
            if (((const uint8_t *)from)[i])
                return sm_fail(error, SM_ERR_ARGUMENT,
                               "%s: byte %zu is set but this version knows only %zu", what, i,
                               known);
        memcpy(to, from, size < known ? size : known);
    }
    memcpy(to, &own, sizeof own);
    return SM_OK;
}

sm_status sm_struct_check(const void *to, size_t known, const sm_wide *wide, const char *what,
                          sm_error *error) {
    uint32_t size;
    if (!to)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: the struct to fill in is NULL", what);
    memcpy(&size, to, sizeof size);
    return check_size(size, known, wide, what, error);
}

sm_status sm_struct_give(void *to, const void *full, size_t known, const sm_wide *wide,
                         const char *what, sm_error *error) {
    uint32_t size;
    sm_status status = sm_struct_check(to, known, wide, what, error);
    if (status)
        return status;
    memcpy(&size, to, sizeof size);
    const size_t n = size < known ? size : known;
    memcpy((uint8_t *)to + sizeof size, (const uint8_t *)full + sizeof size, n - sizeof size);
    memset((uint8_t *)to + n, 0, size - n);
    return SM_OK;
}

sm_status sm_structs_take(void *to, size_t known, const sm_wide *wide, const void *from, uint64_t n,
                          const char *what, sm_error *error) {
    uint32_t stride = 0;
    if (n)
        memcpy(&stride, from, sizeof stride);
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *item = (const uint8_t *)from + i * stride;
        sm_error why = {0};
        uint32_t size;
        memcpy(&size, item, sizeof size);
        const sm_status status =
            size == stride
                ? sm_struct_take((uint8_t *)to + i * known, known, wide, item, what, &why)
                : sm_fail(&why, SM_ERR_ARGUMENT, "%s: struct_size is %u, of the first one %u", what,
                          size, stride);
        if (status)
            return sm_fail(error, status, "%s (number %llu of %llu)", why.message,
                           (unsigned long long)i, (unsigned long long)n);
    }
    return SM_OK;
}

sm_status sm_texts_take(sm_text *to, const sm_text *from, uint64_t n, uint64_t most,
                        const char *what, sm_error *error) {
    if (n && !from)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_%s is %llu but %s is NULL", what,
                       (unsigned long long)n, what);
    for (uint64_t i = 0; i < n; i++) {
        to[i] = (sm_text){from[i].text, text_size(from[i].text, from[i].length)};
        if (!to[i].text || to[i].length < 1 || to[i].length > most)
            return sm_fail(
                error, SM_ERR_ARGUMENT, "option %s: text %llu has %llu bytes, not 1..%llu", what,
                (unsigned long long)i, (unsigned long long)to[i].length, (unsigned long long)most);
    }
    return SM_OK;
}
