/* docs/sampling.md beside the tables it tells of: every sampler with its fields and letter, in the
 * default order, and every other field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sample/sample.h"
#include "smallmind/smallmind.h"
#include "support.h"

static char *page;

/* What stands behind a comment, up to the next heading. */
static char *part(const char *comment) {
    char *begin = strstr(page, comment);
    assert_non_null(begin);
    begin += strlen(comment);
    const char *end = strstr(begin, "\n## ");
    assert_non_null(end);
    const size_t n = (size_t)(end - begin);
    char *copy = calloc(n + 1, 1);
    assert_non_null(copy);
    memcpy(copy, begin, n);
    return copy;
}

/* The row of a table that begins with a name. */
static char *row_of(const char *table, const char *name) {
    char begin[64];
    snprintf(begin, sizeof begin, "\n| `%s` |", name);
    const char *row = strstr(table, begin);
    if (!row)
        fail_msg("docs/sampling.md has no row for %s", name);
    const size_t n = strcspn(row + 1, "\n");
    char *copy = calloc(n + 1, 1);
    assert_non_null(copy);
    memcpy(copy, row + 1, n);
    return copy;
}

/* Names between bars, each in the row in backquotes. */
static void assert_has_all(const char *row, const char *names) {
    uint64_t length;
    const char *name;
    for (uint32_t i = 0; (name = sm_names_get(names, i, &length)); i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "`%.*s`", (int)length, name);
        if (!strstr(row, quoted))
            fail_msg("%s is missing in: %s", quoted, row);
    }
}

static void samplers_and_their_order(void **state) {
    (void)state;
    uint32_t n;
    const sm_sampler_info *table = sm_sampler_table(&n);
    char *rows = part("<!-- samplers -->"), *order = part("<!-- order -->"), *at = order;
    uint32_t n_rows = 0;
    for (char *row = rows; (row = strstr(row, "\n| `")); row++)
        n_rows++;
    assert_int_equal(n_rows, n);
    for (uint32_t i = 0; i < n; i++) {
        char *row = row_of(rows, table[i].name), quoted[64];
        assert_has_all(row, table[i].fields);
        const char *letter = strstr(row, "` | ") + 4;
        const bool named = letter[0] != '|' && letter[1] == ' ';
        char one[2] = {named ? letter[0] : 0, 0};
        if (named) /* one of those that an order understands */
            assert_int_not_equal(sm_names_find(table[i].other_names, one, NULL), UINT32_MAX);
        free(row);
        snprintf(quoted, sizeof quoted, "`%s`", table[i].name);
        at = strstr(at, quoted);
        if (!at)
            fail_msg("%s does not stand in its place in the order", table[i].name);
    }
    free(rows);
    free(order);
}

static void every_other_field(void **state) {
    (void)state;
    uint32_t n, n_samplers;
    const sm_option *options = sm_options_table(SM_OPTIONS_SAMPLING, &n);
    const sm_sampler_info *table = sm_sampler_table(&n_samplers);
    char *rows = part("<!-- others -->");
    for (uint32_t i = 0; i < n; i++) {
        bool of_sampler = false;
        for (uint32_t k = 0; k < n_samplers; k++)
            of_sampler |= sm_names_find(table[k].fields, options[i].name, NULL) != UINT32_MAX;
        if (!of_sampler && strncmp(options[i].name, "n_", 2) != 0)
            free(row_of(rows, options[i].name));
    }
    free(rows);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(samplers_and_their_order),
                                       cmocka_unit_test(every_other_field)};
    size_t size;
    page = argc > 1 ? (char *)scratch_read(argv[1], &size) : NULL;
    if (!page)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(page);
    return failed;
}
