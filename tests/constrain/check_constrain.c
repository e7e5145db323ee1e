/* Grammars and regular expressions against texts that they must and must not match: gbnf.jsonl and
 * regex.jsonl of a folder. A line for each failure, "N passed, N failed" last.
 *
 *     check_constrain [DIR]                   default: schema of the test data
 *     check_constrain --vocab FILE [DIR]      masks along the accepted texts: every token of a text
 * may
 *                                             come where it does
 *     check_constrain --bench FILE [DIR]      the same with times: compiling, masks
 */
#include "constrain/constrain.h"
#include "format/json.h"
#include "format/json_write.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t n_passed, n_failed;
static sm_mem mem;
static sm_tokenizer *tokenizer;
static uint32_t *mask;
static uint64_t n_words;
static double *compile_us, *mask_us;
static size_t n_compiled, n_masks, compile_room, mask_room;

static double *put_time(double *list, size_t *n, size_t *room, uint64_t ns) {
    if (*n == *room)
        list = realloc(list, (*room = *room * 2 + 1024) * sizeof *list);
    list[(*n)++] = (double)ns * 1e-3;
    return list;
}

static void check(bool good, const char *file, const char *name, const char *what, const char *text,
                  uint64_t length) {
    n_passed += good;
    n_failed += !good;
    if (!good) {
        char shown[400];
        sm_text_escape(text, length, shown, sizeof shown);
        printf("%s: %s: %s: %s\n", file, name, what, shown);
    }
}

/* The mask where a text stands lets its next token come, and the state accepts it. */
static const char *step(sm_constraint_state *state, int32_t id, sm_error *error) {
    const uint64_t begin = sm_time_ns();
    if (sm_constraint_mask(state, mask, n_words, error))
        return error->message;
    mask_us = put_time(mask_us, &n_masks, &mask_room, sm_time_ns() - begin);
    if (!(mask[id / 32] >> id % 32 & 1))
        return "the mask lacks a token of";
    return sm_constraint_accept(state, id, error) ? error->message : NULL;
}

static void walk_tokens(sm_constraint *c, const char *file, const char *name, const char *text,
                        uint64_t length) {
    static int32_t ids[1 << 16];
    uint64_t n;
    sm_error error = {0};
    sm_constraint_state *state;
    char *whole = malloc(length + 2);
    whole[0] = 'x';
    memcpy(whole + 1, text, (size_t)length);
    const char *wrong = NULL;
    if (sm_tokenizer_encode_rest(tokenizer, whole, length + 1, 1, NULL, ids, 1 << 16, &n, &error) ||
        sm_constraint_state_new(&state, c, &error)) {
        check(false, file, name, error.message, text, length);
        free(whole);
        return;
    }
    for (uint64_t i = 0; i < n && !wrong; i++)
        wrong = step(state, ids[i], &error);
    if (!wrong && !sm_constraint_can_end(state))
        wrong = "does not end after the tokens of";
    check(!wrong, file, name, wrong, text, length);
    sm_constraint_state_free(state);
    free(whole);
}

static void check_text(sm_constraint *c, const char *file, const char *name, bool accept,
                       const char *text, uint64_t length) {
    sm_constraint_state *state;
    sm_error error = {0};
    if (sm_constraint_state_new(&state, c, &error)) {
        check(false, file, name, error.message, text, length);
        return;
    }
    const bool matches =
        !sm_constraint_accept_text(state, text, length, &error) && sm_constraint_can_end(state);
    check(matches == accept, file, name, matches ? "accepts" : "rejects", text, length);
    sm_constraint_state_free(state);
    if (accept && matches && tokenizer)
        walk_tokens(c, file, name, text, length);
}

static void check_texts(sm_constraint *c, const sm_json *j, const char *file, const char *name,
                        bool accept) {
    const sm_json_value all = sm_json_get(j, SM_JSON_ROOT, accept ? "accept" : "reject");
    for (sm_json_value i = sm_json_first(j, all); i != SM_JSON_NONE; i = sm_json_next(j, all, i)) {
        uint64_t length;
        const char *text = sm_json_text(j, i, &length);
        check_text(c, file, name, accept, text, length);
    }
}

static void check_line(const sm_json *j, const char *file, const char *key, uint32_t kind) {
    uint64_t n, n_name;
    const char *text = sm_json_text(j, sm_json_get(j, SM_JSON_ROOT, key), &n);
    const char *label = sm_json_text(j, sm_json_get(j, SM_JSON_ROOT, "name"), &n_name);
    char name[200];
    snprintf(name, sizeof name, "%.*s", label ? (int)n_name : (int)n, label ? label : text);
    const bool wrong = sm_json_kind_of(j, sm_json_get(j, SM_JSON_ROOT, "error")) == SM_JSON_TRUE;
    sm_constraint *c;
    sm_error error = {0};
    const uint64_t begin = sm_time_ns();
    const sm_status status = sm_constraint_new(&c, tokenizer, kind, text, n, NULL, &error);
    compile_us = put_time(compile_us, &n_compiled, &compile_room, sm_time_ns() - begin);
    if (wrong || status)
        check(wrong && status, file, name, status ? error.message : "is not refused", "", 0);
    if (!status && !wrong) {
        check_texts(c, j, file, name, true);
        check_texts(c, j, file, name, false);
    }
    sm_constraint_free(c);
}

/* ---- schemas: instances as Python's json.dumps writes them ----------------------------------- */

static void write_json(sm_builder *b, const sm_json *j, sm_json_value value) {
    static const sm_json_style python = {.item = ", ", .key = ": "};
    sm_json_writer w = sm_json_writer_of(b, &python);
    sm_json_put_value(&w, j, value);
}

static bool schema_admits(sm_constraint *c, const sm_builder *text) {
    sm_constraint_state *state;
    sm_error error;
    if (!c || sm_constraint_state_new(&state, c, &error))
        return false;
    const bool yes = !sm_constraint_accept_text(state, text->data, text->length, &error) &&
                     sm_constraint_can_end(state);
    sm_constraint_state_free(state);
    return yes;
}

/* c[1]: with keys in any order, or NULL. A valid instance whose keys stand in another order than
 * the schema's is generated in that mode alone; a wrong one in none. */
static void check_instances(sm_constraint *const *c, const sm_json *j, const char *name,
                            bool accept) {
    const sm_json_value all = sm_json_get(j, SM_JSON_ROOT, accept ? "accept" : "reject");
    for (sm_json_value i = sm_json_first(j, all); i != SM_JSON_NONE; i = sm_json_next(j, all, i)) {
        sm_builder text = sm_builder_of(&mem, 0);
        write_json(&text, j, i);
        const bool first = schema_admits(c[0], &text);
        const bool yes = first || schema_admits(c[1], &text);
        check(yes == accept, "cases.jsonl", name, yes ? "accepts" : "rejects", text.data,
              text.length);
        if (first && accept && tokenizer)
            walk_tokens(c[0], "cases.jsonl", name, text.data, text.length);
        sm_builder_free(&text);
    }
}

static uint32_t n_schemas, n_refused;

static void check_schema(const sm_json *j) {
    uint64_t n_name;
    const char *label = sm_json_text(j, sm_json_get(j, SM_JSON_ROOT, "name"), &n_name);
    char name[200];
    snprintf(name, sizeof name, "%.*s", (int)n_name, label ? label : "");
    sm_builder schema = sm_builder_of(&mem, 0);
    write_json(&schema, j, sm_json_get(j, SM_JSON_ROOT, "schema"));
    sm_schema_options o = {.struct_size = sizeof o, .spaces = SM_SPACES_ONE};
    o.draft = sm_json_is(j, sm_json_get(j, SM_JSON_ROOT, "draft"), "draft7") ? 7 : 2020;
    sm_constraint *c[2] = {NULL, NULL};
    sm_error error = {0};
    const uint64_t begin = sm_time_ns();
    const sm_status status =
        sm_constraint_new_schema(&c[0], tokenizer, schema.data, schema.length, &o, NULL, &error);
    compile_us = put_time(compile_us, &n_compiled, &compile_room, sm_time_ns() - begin);
    n_schemas++;
    if (status) { /* by name: no failure, but counted */
        n_refused++;
        check(status == SM_ERR_UNSUPPORTED, "cases.jsonl", name, error.message, "", 0);
    } else {
        o.flags = SM_SCHEMA_ANY_ORDER;
        sm_constraint_new_schema(&c[1], NULL, schema.data, schema.length, &o, NULL, &error);
        check_instances(c, j, name, true);
        check_instances(c, j, name, false);
    }
    sm_constraint_free(c[0]);
    sm_constraint_free(c[1]);
    sm_builder_free(&schema);
}

static bool check_file(const char *dir, const char *file, const char *key, uint32_t kind) {
    char path[4096], line[1 << 18];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    while (fgets(line, sizeof line, f)) {
        sm_json *j;
        sm_error error = {0};
        if (sm_json_read(&j, &mem, line, strlen(line), NULL, NULL, &error)) {
            check(false, file, "", error.message, line, 40);
            continue;
        }
        if (kind)
            check_line(j, file, key, kind);
        else
            check_schema(j);
        sm_json_free(j);
    }
    fclose(f);
    return true;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show_times(const char *what, double *us, size_t n) {
    if (!n)
        return;
    qsort(us, n, sizeof *us, by_value);
    printf("%s: %zu, median %.1f us, 99%% %.1f us, 99.9%% %.1f us, most %.1f us\n", what, n,
           us[n / 2], us[n * 99 / 100], us[n * 999 / 1000], us[n - 1]);
}

static bool open_vocab(const char *path) {
    sm_error error = {0};
    sm_constraint *first;
    if (sm_tokenizer_load(&tokenizer, path, NULL, &error)) {
        printf("%s\n", error.message);
        return false;
    }
    n_words = ((uint64_t)sm_tokenizer_n_vocab(tokenizer) + 31) / 32;
    mask = malloc(n_words * 4);
    const uint64_t begin = sm_time_ns();
    if (sm_constraint_new(&first, tokenizer, SM_CONSTRAINT_REGEX, "a", 1, NULL, &error))
        printf("%s\n", error.message);
    sm_constraint_free(first);
    printf("table of the vocabulary: %.1f ms\n", (double)(sm_time_ns() - begin) * 1e-6);
    return true;
}

int main(int argc, char **argv) {
    bool bench = false;
    const char *dir = NULL;
    char path[4096];
    sm_mem_init(&mem, NULL, 0, NULL);
    for (int i = 1; i < argc; i++) {
        const bool vocab = !strcmp(argv[i], "--vocab") || !strcmp(argv[i], "--bench");
        if (vocab && i + 1 < argc) {
            bench = !strcmp(argv[i], "--bench");
            if (!open_vocab(argv[++i]))
                return 1;
        } else {
            dir = argv[i];
        }
    }
    if (!dir) {
        const char *data =
            getenv("SM_TEST_DATA") ? getenv("SM_TEST_DATA") : getenv("SM_TEST_DATA_DEFAULT");
        snprintf(path, sizeof path, "%s/schema", data ? data : "");
        dir = path;
    }
    bool any = check_file(dir, "gbnf.jsonl", "grammar", SM_CONSTRAINT_GBNF);
    any = check_file(dir, "regex.jsonl", "regex", SM_CONSTRAINT_REGEX) || any;
    any = check_file(dir, "cases.jsonl", "schema", 0) || any;
    if (!any) {
        printf("no test data: %s\n", dir);
        return 77;
    }
    if (bench) {
        show_times("compiling", compile_us, n_compiled);
        show_times("masks", mask_us, n_masks);
    }
    printf("schemas: %u of %u compiled, the others refused by name\n", n_schemas - n_refused,
           n_schemas);
    printf("%u passed, %u failed\n", n_passed, n_failed);
    sm_tokenizer_free(tokenizer);
    free(mask);
    free(compile_us);
    free(mask_us);
    return n_failed != 0;
}
