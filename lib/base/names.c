/* Names that a person types: found in either case, and what a slip was likely meant to be. */
#include "base.h"
#include "smallmind/types.h"

#include <string.h>

#define MOST 48 /* letters of a name that is compared by its slips */

static bool is_gap(char c) {
    return c == '|' || c == ',' || c == ' ';
}

/* The next name of a list, NULL behind the last; *length of it. */
static const char *next_name(const char **list, size_t *length) {
    while (is_gap(**list))
        (*list)++;
    const char *name = *list;
    while (**list && !is_gap(**list))
        (*list)++;
    *length = (size_t)(*list - name);
    return *length ? name : NULL;
}

static bool same(const char *a, const char *b, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (lower_ascii(a[i]) != lower_ascii(b[i]))
            return false;
    return true;
}

/* Letters and digits alone, in lower case; their number, 0 if there are too many. */
static uint32_t letters(char *out, const char *name, size_t length) {
    uint32_t n = 0;
    for (size_t i = 0; i < length; i++) {
        const char c = lower_ascii(name[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            if (n == MOST)
                return 0;
            out[n++] = c;
        }
    }
    return n;
}

/* Letters inserted, left out, exchanged or swapped with their neighbour (Damerau, Levenshtein). */
static uint32_t distance(const char *a, uint32_t n, const char *b, uint32_t m) {
    uint32_t rows[3][MOST + 1], *before = rows[0], *last = rows[1], *row = rows[2];
    for (uint32_t j = 0; j <= m; j++)
        last[j] = j;
    for (uint32_t i = 1; i <= n; i++) {
        row[0] = i;
        for (uint32_t j = 1; j <= m; j++) {
            row[j] =
                min_u32(min_u32(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min_u32(row[j], before[j - 2] + 1);
        }
        uint32_t *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[m];
}

/* How far a slip may be from what was meant: a third of its letters; UINT32_MAX if it is further.
 * A beginning of three letters or more counts as one slip. */
static uint32_t slips(const char *a, uint32_t n, const char *b, uint32_t m) {
    if (n >= 3 && m > n && memcmp(a, b, n) == 0)
        return 1;
    const uint32_t d = distance(a, n, b, m), most = min_u32(n, m) < 3 ? 0 : min_u32(n, m) / 3;
    return d <= most ? d : UINT32_MAX;
}

uint32_t sm_names_find(const char *names, const char *name, uint32_t *nearest) {
    char meant[MOST], known[MOST];
    size_t length;
    uint32_t near = SM_NAME_NONE, best = UINT32_MAX, i = 0;
    if (nearest)
        *nearest = SM_NAME_NONE;
    if (!names || !name)
        return SM_NAME_NONE;
    const size_t n = strlen(name);
    const uint32_t n_meant = letters(meant, name, n);
    for (const char *at = names, *item; (item = next_name(&at, &length)) != NULL; i++) {
        if (length == n && same(item, name, n))
            return i;
        const uint32_t n_known = letters(known, item, length);
        const uint32_t d = n_meant && n_known ? slips(meant, n_meant, known, n_known) : UINT32_MAX;
        if (d < best) {
            best = d;
            near = i;
        }
    }
    if (nearest)
        *nearest = near;
    return SM_NAME_NONE;
}

const char *sm_names_get(const char *names, uint32_t i, uint64_t *length) {
    const char *name = NULL;
    size_t n = 0;
    for (uint32_t k = 0; names && k <= i; k++)
        if (!(name = next_name(&names, &n)))
            break;
    if (length)
        *length = name ? n : 0;
    return name;
}

sm_status sm_fail_name(sm_error *error, const char *what, const char *name, const char *names) {
    uint32_t nearest;
    uint64_t length;
    sm_names_find(names, name, &nearest);
    const char *meant = sm_names_get(names, nearest, &length);
    if (nearest == SM_NAME_NONE)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s '%.*s' is not known (these are: %s)", what, 100,
                       name, names);
    return sm_fail(error, SM_ERR_ARGUMENT,
                   "%s '%.*s' is not known: did you mean %.*s? (these are: %s)", what, 100, name,
                   (int)length, meant, names);
}
