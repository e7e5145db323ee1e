/* check_tokenizer_files DIR...: tokenizers of folders laid out as shared/data/tokenizers against
 * what their cases.jsonl says: ids, tokens, texts of ids, pairs. A line for each failure; the last
 * is "N passed, N failed". Folders of shared/data/families count, too: their hf/ and text_ids.txt.
 * Without arguments: the test data, skipped where there is none. */
#define _GNU_SOURCE /* memmem */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "run/run.h"

typedef struct run {
    const char *folder;
    sm_tokenizer *t;
    sm_tokenizer_info info;
    sm_mem mem;
    uint64_t line, passed, failed;
    bool model; /* a SentencePiece model: ids are with bos and eos */
    bool ranks; /* tiktoken: ids are with special tokens allowed */
} run;

static void fail(run *r, const char *what) {
    r->failed++;
    printf("%s:%llu: %s\n", r->folder, (unsigned long long)r->line, what);
}

/* ---- lists of ids ---------------------------------------------------------------------------- */

typedef struct ids {
    int32_t *id;
    uint64_t n;
} ids;

static ids read_ids(const sm_json *json, sm_json_value list) {
    ids out = {malloc((sm_json_count(json, list) + 1) * sizeof *out.id), 0};
    int64_t id;
    for (sm_json_value item = sm_json_first(json, list); item != SM_JSON_NONE;
         item = sm_json_next(json, list, item))
        if (sm_json_i64(json, item, &id))
            out.id[out.n++] = (int32_t)id;
    return out;
}

static bool same(const ids *a, const ids *b) {
    return a->n == b->n && (!a->n || memcmp(a->id, b->id, a->n * sizeof *a->id) == 0);
}

static void expect_ids(run *r, const char *what, const ids *got, const ids *want) {
    if (same(got, want)) {
        r->passed++;
        return;
    }
    uint64_t i = 0;
    while (i < got->n && i < want->n && got->id[i] == want->id[i])
        i++;
    r->failed++;
    printf("%s:%llu: %s: %llu ids for %llu, the first other one is %llu: %d for %d\n", r->folder,
           (unsigned long long)r->line, what, (unsigned long long)got->n,
           (unsigned long long)want->n, (unsigned long long)i, i < got->n ? got->id[i] : -1,
           i < want->n ? want->id[i] : -1);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static sm_str text_of(const sm_json *json, sm_json_value value) {
    sm_str text;
    text.data = sm_json_text(json, value, &text.length);
    return text;
}

static ids encode(run *r, sm_str text, uint32_t flags) {
    const sm_encode_options options = {.struct_size = sizeof options, .flags = flags};
    ids out = {NULL, 0};
    sm_error error;
    (void)sm_tokenizer_encode(r->t, text.data, text.length, &options, NULL, 0, &out.n, &error);
    out.id = malloc((out.n + 1) * sizeof *out.id);
    if (sm_tokenizer_encode(r->t, text.data, text.length, &options, out.id, out.n, &out.n, &error))
        fail(r, error.message);
    return out;
}

static void check_decode(run *r, const char *what, const ids *from, uint32_t flags, sm_str want) {
    uint64_t n = 0;
    sm_error error;
    (void)sm_tokenizer_decode(r->t, from->id, from->n, flags, NULL, 0, &n, &error);
    char *text = malloc(n + 1);
    if (sm_tokenizer_decode(r->t, from->id, from->n, flags, text, n, &n, &error)) {
        fail(r, error.message);
    } else if (n != want.length || memcmp(text, want.data, n) != 0) {
        r->failed++;
        printf("%s:%llu: %s: \"%.*s\" for \"%.*s\"\n", r->folder, (unsigned long long)r->line, what,
               (int)n, text, (int)want.length, want.data);
    } else {
        r->passed++;
    }
    free(text);
}

static int hex_digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void check_hex(run *r, const ids *from, sm_str hex) {
    char *bytes = malloc(hex.length / 2 + 1);
    for (uint64_t i = 0; i + 1 < hex.length; i += 2)
        bytes[i / 2] = (char)(hex_digit(hex.data[i]) * 16 + hex_digit(hex.data[i + 1]));
    check_decode(r, "decoded_hex", from, SM_DECODE_SPECIAL, (sm_str){bytes, hex.length / 2});
    free(bytes);
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Whether a token that is looked for in normalized text is in the text. */
static bool reads_as(const run *r, int32_t id, sm_str want) {
    char text[256];
    uint64_t n;
    return sm_tokenizer_decode(r->t, &id, 1, SM_DECODE_SPECIAL, text, sizeof text, &n, NULL) ==
               SM_OK &&
           n && memmem(want.data, want.length, text, n) != NULL;
}

static void check_tokens(run *r, const sm_json *json, sm_json_value list, const ids *plain) {
    uint64_t i = 0;
    bool good = sm_json_count(json, list) == plain->n;
    for (sm_json_value item = sm_json_first(json, list); item != SM_JSON_NONE && good;
         item = sm_json_next(json, list, item), i++) {
        const sm_str want = text_of(json, item);
        uint64_t n;
        const char *text = sm_tokenizer_token_text(r->t, plain->id[i], &n);
        /* the case has what stands in the text: of a word that is no token that, of an added token
         * the space beside it, too */
        good = (text && n <= want.length && memmem(want.data, want.length, text, n)) ||
               plain->id[i] == r->info.unk || reads_as(r, plain->id[i], want);
    }
    if (good)
        r->passed++;
    else
        fail(r, "tokens are others");
}

/* SentencePiece's ids are with bos and eos. */
static ids with_marks(const run *r, const ids *plain) {
    ids out = {malloc((plain->n + 2) * sizeof *out.id), 0};
    if (r->info.bos >= 0)
        out.id[out.n++] = r->info.bos;
    memcpy(out.id + out.n, plain->id, plain->n * sizeof *out.id);
    out.n += plain->n;
    if (r->info.eos >= 0)
        out.id[out.n++] = r->info.eos;
    return out;
}

static void check_text(run *r, const sm_json *json, sm_str text) {
    /* SentencePiece has no way to say control tokens in a text */
    const uint32_t plain_flags = r->ranks || r->model ? 0 : SM_ENCODE_SPECIAL;
    ids want = read_ids(json, sm_json_get(json, SM_JSON_ROOT, "ids")),
        want_plain = read_ids(json, sm_json_get(json, SM_JSON_ROOT, "ids_plain"));
    ids plain = encode(r, text, plain_flags);
    ids whole = r->model ? with_marks(r, &plain)
                         : encode(r, text, SM_ENCODE_SPECIAL | (r->ranks ? 0u : SM_ENCODE_MARKERS));
    expect_ids(r, "ids", &whole, &want);
    expect_ids(r, "ids_plain", &plain, &want_plain);
    const sm_json_value tokens = sm_json_get(json, SM_JSON_ROOT, "tokens"),
                        decoded = sm_json_get(json, SM_JSON_ROOT, "decoded"),
                        decoded_plain = sm_json_get(json, SM_JSON_ROOT, "decoded_plain");
    if (tokens != SM_JSON_NONE && same(&plain, &want_plain))
        check_tokens(r, json, tokens, &plain);
    if (decoded != SM_JSON_NONE)
        check_decode(r, "decoded", &want, SM_DECODE_SPECIAL | SM_DECODE_TEXT,
                     text_of(json, decoded));
    if (decoded_plain != SM_JSON_NONE)
        check_decode(r, "decoded_plain", &want_plain, SM_DECODE_TEXT, text_of(json, decoded_plain));
    free(want.id);
    free(want_plain.id);
    free(plain.id);
    free(whole.id);
}

static void check_pair(run *r, const sm_json *json, sm_str first, sm_str second) {
    const sm_encode_options options = {.struct_size = sizeof options,
                                       .flags = SM_ENCODE_SPECIAL | SM_ENCODE_MARKERS};
    ids want = read_ids(json, sm_json_get(json, SM_JSON_ROOT, "ids")),
        want_types = read_ids(json, sm_json_get(json, SM_JSON_ROOT, "type_ids"));
    const uint64_t room = 4 * (first.length + second.length) + 64;
    ids got = {malloc(room * sizeof *got.id), 0}, types = {malloc(room * sizeof *types.id), 0};
    sm_error error;
    if (sm_tokenizer_encode_pair(r->t, first.data, first.length, second.data, second.length,
                                 &options, got.id, types.id, room, &got.n, &error))
        fail(r, error.message);
    types.n = got.n;
    expect_ids(r, "ids of a pair", &got, &want);
    expect_ids(r, "type_ids", &types, &want_types);
    free(want.id);
    free(want_types.id);
    free(got.id);
    free(types.id);
}

static void check_ids(run *r, const sm_json *json, sm_json_value list) {
    ids from = read_ids(json, list);
    const sm_json_value decoded = sm_json_get(json, SM_JSON_ROOT, "decoded"),
                        plain = sm_json_get(json, SM_JSON_ROOT, "decoded_plain"),
                        hex = sm_json_get(json, SM_JSON_ROOT, "decoded_hex");
    if (decoded != SM_JSON_NONE)
        check_decode(r, "decoded ids", &from, SM_DECODE_SPECIAL | SM_DECODE_TEXT,
                     text_of(json, decoded));
    if (plain != SM_JSON_NONE)
        check_decode(r, "decoded ids, plain", &from, SM_DECODE_TEXT, text_of(json, plain));
    if (hex != SM_JSON_NONE)
        check_hex(r, &from, text_of(json, hex));
    free(from.id);
}

static void check_case(run *r, const char *line, uint64_t length) {
    sm_json *json;
    sm_error error;
    if (sm_json_read(&json, &r->mem, line, length, NULL, NULL, &error)) {
        fail(r, error.message);
        return;
    }
    const sm_json_value text = sm_json_get(json, SM_JSON_ROOT, "text"),
                        pair = sm_json_get(json, SM_JSON_ROOT, "pair"),
                        from = sm_json_get(json, SM_JSON_ROOT, "decode_ids");
    if (from != SM_JSON_NONE)
        check_ids(r, json, from);
    else if (pair != SM_JSON_NONE)
        check_pair(r, json, text_of(json, text), text_of(json, pair));
    else
        check_text(r, json, text_of(json, text));
    sm_json_free(json);
}

/* ---- folders --------------------------------------------------------------------------------- */

static char *read_file(const char *folder, const char *name, size_t *size) {
    char path[1024];
    (void)sm_format(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*size + 1);
    *size = fread(text, 1, *size, file);
    text[*size] = 0;
    fclose(file);
    return text;
}

static bool has_file(const char *folder, const char *name) {
    char path[1024];
    (void)sm_format(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file)
        fclose(file);
    return file != NULL;
}

static bool load(run *r, const char *folder) {
    sm_error error;
    r->info.struct_size = sizeof r->info;
    if (sm_tokenizer_load(&r->t, folder, NULL, &error) ||
        sm_tokenizer_get_info(r->t, &r->info, &error)) {
        fail(r, error.message);
        return false;
    }
    return true;
}

static void check_cases(run *r, const char *folder) {
    size_t size;
    char *text = read_file(folder, "cases.jsonl", &size);
    r->folder = folder;
    r->model = has_file(folder, "tokenizer.model") && !has_file(folder, "tokenizer.json");
    r->ranks = !r->model && !has_file(folder, "tokenizer.json");
    r->line = 0;
    if (load(r, folder))
        for (char *line = text; *line;) {
            const char *end = strchr(line, '\n');
            const size_t n = end ? (size_t)(end - line) : strlen(line);
            r->line++;
            if (n)
                check_case(r, line, n);
            line += n + (end != NULL);
        }
    sm_tokenizer_free(r->t);
    r->t = NULL;
    free(text);
}

/* families/NAME: the ids of families/text.txt. */
static void check_family(run *r, const char *folder) {
    char path[1024];
    size_t size, n;
    char *numbers = read_file(folder, "text_ids.txt", &n);
    (void)sm_format(path, sizeof path, "%s/..", folder);
    char *text = read_file(path, "text.txt", &size);
    (void)sm_format(path, sizeof path, "%s/hf", folder);
    r->folder = folder;
    r->line = 0;
    if (text && numbers && load(r, path)) {
        ids want = {malloc((n + 1) * sizeof *want.id), 0};
        for (char *at = numbers, *end;; at = end) {
            const long id = strtol(at, &end, 10);
            if (end == at)
                break;
            want.id[want.n++] = (int32_t)id;
        }
        ids got = encode(r, (sm_str){text, size}, SM_ENCODE_SPECIAL);
        expect_ids(r, "ids of text.txt", &got, &want);
        free(got.id);
        free(want.id);
    }
    sm_tokenizer_free(r->t);
    r->t = NULL;
    free(text);
    free(numbers);
}

static bool has_tokenizer(const char *folder) {
    char path[1024];
    (void)sm_format(path, sizeof path, "%s/hf", folder);
    return sm_vocab_in_directory(path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_names(const char *folder, char ***names) {
    DIR *directory = opendir(folder);
    size_t n = 0, room = 256;
    *names = malloc(room * sizeof **names);
    for (const struct dirent *e; directory && n < room && (e = readdir(directory)) != NULL;)
        if (e->d_name[0] != '.')
            (*names)[n++] = strcpy(malloc(strlen(e->d_name) + 1), e->d_name);
    if (directory)
        closedir(directory);
    qsort(*names, n, sizeof **names, by_name);
    return n;
}

static uint32_t check_below(run *r, const char *folder) {
    char **names;
    const size_t n = list_names(folder, &names);
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        char path[1024];
        (void)sm_format(path, sizeof path, "%s/%s", folder, names[i]);
        if (has_file(path, "cases.jsonl"))
            found++, check_cases(r, path);
        else if (has_file(path, "text_ids.txt") && has_tokenizer(path))
            found++, check_family(r, path);
        free(names[i]);
    }
    free(names);
    return found;
}

int main(int argc, char **argv) {
    run r = {0};
    uint32_t found = 0;
    sm_mem_init(&r.mem, NULL, 0, NULL);
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            found += check_below(&r, argv[i]);
    } else {
        const char *data = getenv("SM_TEST_DATA");
        char path[1024];
        data = data ? data : getenv("SM_TEST_DATA_DEFAULT");
        if (!data)
            data = "";
        (void)sm_format(path, sizeof path, "%s/tokenizers", data);
        found += check_below(&r, path);
        (void)sm_format(path, sizeof path, "%s/families", data);
        found += check_below(&r, path);
        if (!found) {
            puts("no test data");
            return 77;
        }
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)r.passed,
           (unsigned long long)r.failed);
    return r.failed || !found;
}
