/* ids.c - lists of token ids as text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define BETWEEN " \t\r\n\v\f,[]"

bool cli_parse_ids(int32_t **ids, uint64_t *n, const char *text, size_t length, const char *name) {
    const char *at = text, *end = text + length;
    *n = 0;
    *ids = malloc((length / 2 + 1) * sizeof **ids);
    if (*ids == NULL) {
        cli_error("out of memory");
        return false;
    }
    while ((at += strspn(at, BETWEEN)) < end) {
        char *after;
        errno = 0;
        const long long id = strtoll(at, &after, 10);
        if (after == at || errno != 0 || id < INT32_MIN || id > INT32_MAX ||
            strchr(BETWEEN, *after) == NULL) {
            cli_error("%s: id %llu, at byte %td, is not a whole number", name,
                      (unsigned long long)*n, at - text);
            free(*ids);
            *ids = NULL;
            return false;
        }
        (*ids)[(*n)++] = (int32_t)id;
        at = after;
    }
    return true;
}
