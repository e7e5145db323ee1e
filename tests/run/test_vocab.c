/* Vocabularies from GGUF files: small ones written here, whole and broken, and the real
 * ones of the test data with their expected ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "smallmind/tokenizer.h"
#include "support.h"

/* ---- files --------------------------------------------------------------- */

enum { U8 = 0, U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STR = 8, ARRAY = 9 };

typedef struct file {
    bytes keys;
    uint64_t n;
} file;

static void key(file *f, const char *name, uint32_t type) {
    bytes_str(&f->keys, name);
    bytes_u32(&f->keys, type);
    f->n++;
}

static void put_str(file *f, const char *name, const char *value) {
    key(f, name, STR);
    bytes_str(&f->keys, value);
}

static void put_u32(file *f, const char *name, uint32_t value) {
    key(f, name, U32);
    bytes_u32(&f->keys, value);
}

static void put_i32(file *f, const char *name, int32_t value) {
    key(f, name, I32);
    bytes_u32(&f->keys, (uint32_t)value);
}

static void put_bool(file *f, const char *name, bool value) {
    key(f, name, BOOL);
    bytes_put(&f->keys, &(uint8_t){value}, 1);
}

static void put_array(file *f, const char *name, uint32_t element, uint64_t n) {
    key(f, name, ARRAY);
    bytes_u32(&f->keys, element);
    bytes_u64(&f->keys, n);
}

static void put_numbers(file *f, const char *name, uint32_t element, uint64_t n, uint32_t value) {
    put_array(f, name, element, n);
    for (uint64_t i = 0; i < n; i++)
        bytes_u32(&f->keys, value);
}

static void put_strings(file *f, const char *name, const char *const *values, uint64_t n) {
    put_array(f, name, STR, n);
    for (uint64_t i = 0; i < n; i++)
        bytes_str(&f->keys, values[i]);
}

/* Writes the file and forgets its keys. */
static const char *finish(file *f) {
    bytes all = {0};
    bytes_put(&all, "GGUF", 4);
    bytes_u32(&all, 3);
    bytes_u64(&all, 0);
    bytes_u64(&all, f->n);
    bytes_put(&all, f->keys.data, f->keys.size);
    const char *path = scratch_path("vocab.gguf");
    scratch_write(path, all.data, all.size);
    bytes_free(&all);
    bytes_free(&f->keys);
    memset(f, 0, sizeof *f);
    return path;
}

static const char *const some_tokens[] = {"a", "b", "ab", "<s>", "</s>"};
static const char *const some_merges[] = {"a b"};

static void put_bpe(file *f) {
    put_str(f, "general.architecture", "llama");
    put_str(f, "tokenizer.ggml.model", "gpt2");
    put_str(f, "tokenizer.ggml.pre", "qwen2");
    put_strings(f, "tokenizer.ggml.tokens", some_tokens, 5);
    put_strings(f, "tokenizer.ggml.merges", some_merges, 1);
}

static void put_spm(file *f) {
    put_str(f, "tokenizer.ggml.model", "llama");
    put_strings(f, "tokenizer.ggml.tokens", some_tokens, 5);
    put_bool(f, "tokenizer.ggml.add_space_prefix", false);
}

/* ---- loading ------------------------------------------------------------- */

static void test_load(void **state) {
    (void)state;
    file f = {0};
    put_bpe(&f);
    put_u32(&f, "tokenizer.ggml.bos_token_id", 3);
    put_u32(&f, "tokenizer.ggml.padding_token_id", UINT32_MAX); /* how some write "none" */
    put_bool(&f, "tokenizer.ggml.add_bos_token", true);
    sm_tokenizer *t;
    sm_error error = {0};
    const char *path = finish(&f);
    assert_int_equal(sm_tokenizer_load(&t, path, NULL, &error), SM_OK);
    sm_tokenizer_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_tokenizer_get_info(t, &info, &error), SM_OK);
    assert_string_equal(info.pre, "qwen2");
    assert_int_equal(info.n_vocab, 5);
    assert_int_equal(info.bos, 3);
    assert_int_equal(info.eos, -1);
    assert_int_equal(info.pad, -1);
    assert_int_equal(info.add_bos, 1);
    int32_t ids[20];
    uint64_t n;
    assert_int_equal(
        sm_tokenizer_encode(t, "abb", 3, ENCODE(SM_ENCODE_MARKERS), ids, 20, &n, &error), SM_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(ids, ((int32_t[]){3, 2, 1}), sizeof(int32_t[3]));
    sm_tokenizer_free(t);
}

/* Types may be of any integer width. */
static void test_number_types(void **state) {
    (void)state;
    file f = {0};
    put_spm(&f);
    put_numbers(&f, "tokenizer.ggml.scores", F32, 5, 0);
    put_array(&f, "tokenizer.ggml.token_type", U8, 5);
    bytes_put(&f.keys, "\1\1\1\3\3", 5);
    sm_tokenizer *t;
    sm_error error = {0};
    assert_int_equal(sm_tokenizer_load(&t, finish(&f), NULL, &error), SM_OK);
    int32_t ids[20];
    uint64_t n;
    assert_int_equal(
        sm_tokenizer_encode(t, "<s>ab", 5, ENCODE(SM_ENCODE_SPECIAL), ids, 20, &n, &error), SM_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(ids, ((int32_t[]){3, 2}), sizeof(int32_t[2]));
    sm_tokenizer_free(t);
}

static void refuse(file *f, sm_status status, const char *word) {
    sm_tokenizer *t = (sm_tokenizer *)(uintptr_t)1;
    sm_error error = {0};
    assert_int_equal(sm_tokenizer_load(&t, finish(f), NULL, &error), status);
    assert_null(t);
    assert_int_equal(error.code, status);
    if (!strstr(error.message, word))
        fail_msg("\"%s\" does not name %s", error.message, word);
}

static void test_refused(void **state) {
    (void)state;
    file f = {0};
    put_str(&f, "general.architecture", "llama");
    refuse(&f, SM_ERR_MISSING, "tokenizer.ggml.model");
    put_str(&f, "tokenizer.ggml.model", "");
    refuse(&f, SM_ERR_MISSING, "tokenizer.ggml.model");
    put_str(&f, "tokenizer.ggml.model", "no_vocab");
    refuse(&f, SM_ERR_MISSING, "no vocabulary");
    put_str(&f, "tokenizer.ggml.model", "none");
    refuse(&f, SM_ERR_MISSING, "no vocabulary");
    put_str(&f, "tokenizer.ggml.model", "gpt2");
    refuse(&f, SM_ERR_MISSING, "tokenizer.ggml.merges");
    put_str(&f, "tokenizer.ggml.model", "llama");
    refuse(&f, SM_ERR_MISSING, "tokenizer.ggml.tokens");
    put_u32(&f, "tokenizer.ggml.model", 1);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.model");
    put_str(&f, "tokenizer.ggml.model", "llama");
    put_str(&f, "tokenizer.ggml.tokens", "a b");
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.tokens");
    put_str(&f, "tokenizer.ggml.model", "llama");
    put_numbers(&f, "tokenizer.ggml.tokens", U32, 5, 0);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.tokens");
    put_spm(&f);
    refuse(&f, SM_ERR_MISSING, "tokenizer.ggml.scores");
    put_spm(&f);
    put_numbers(&f, "tokenizer.ggml.scores", F32, 4, 0);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.scores");
    put_spm(&f);
    put_strings(&f, "tokenizer.ggml.scores", some_tokens, 5);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.scores");
    put_spm(&f);
    put_numbers(&f, "tokenizer.ggml.scores", F32, 5, 0x7FC00000); /* not a number */
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.scores");
    put_bpe(&f);
    put_numbers(&f, "tokenizer.ggml.token_type", I32, 4, 1);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.token_type");
    put_bpe(&f);
    put_numbers(&f, "tokenizer.ggml.token_type", F32, 5, 0);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.token_type");
    put_spm(&f);
    put_numbers(&f, "tokenizer.ggml.scores", F32, 6, 0); /* more than tokens */
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.scores");
    put_spm(&f);
    put_numbers(&f, "tokenizer.ggml.scores", I32, 5, 0);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.scores");
    put_bpe(&f);
    put_numbers(&f, "tokenizer.ggml.token_type", I32, 6, 1);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.token_type");
    put_spm(&f); /* some_tokens has none of <0x00> to <0xFF> */
    put_numbers(&f, "tokenizer.ggml.scores", F32, 5, 0);
    put_numbers(&f, "tokenizer.ggml.token_type", I32, 5, 6);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.tokens[0]");
    static const char *const ids[] = {"bos",  "eos", "unknown", "seperator", "padding",
                                      "mask", "cls", "eot",     "eom",       "fim_pre"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char name[64];
        snprintf(name, sizeof name, "tokenizer.ggml.%s_token_id", ids[i]);
        for (uint32_t what = 0; what < 5; what++) {
            put_bpe(&f);
            if (what < 2)
                put_u32(&f, name, what ? 4000000000U : 5); /* there are 5 tokens */
            else if (what == 2)
                put_i32(&f, name, -2);
            else if (what == 3)
                put_str(&f, name, "one");
            else
                put_bool(&f, name, true);
            refuse(&f, SM_ERR_FORMAT, name);
        }
    }
    put_bpe(&f);
    put_u32(&f, "tokenizer.ggml.add_bos_token", 1);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.add_bos_token");
    put_bpe(&f);
    put_bool(&f, "tokenizer.ggml.add_bos_token", true);
    refuse(&f, SM_ERR_MISSING, "tokenizer.ggml.bos_token_id");
    put_spm(&f);
    put_numbers(&f, "tokenizer.ggml.scores", F32, 5, 0);
    put_numbers(&f, "tokenizer.ggml.precompiled_charsmap", U32, 5, 0);
    refuse(&f, SM_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap");
    put_str(&f, "tokenizer.ggml.model", "plamo2");
    put_strings(&f, "tokenizer.ggml.tokens", some_tokens, 5);
    refuse(&f, SM_ERR_UNSUPPORTED, "plamo2");
    put_str(&f, "tokenizer.ggml.model", "gpt2");
    put_str(&f, "tokenizer.ggml.pre", "unheard-of");
    put_strings(&f, "tokenizer.ggml.tokens", some_tokens, 5);
    put_strings(&f, "tokenizer.ggml.merges", some_merges, 1);
    refuse(&f, SM_ERR_UNSUPPORTED, "unheard-of");
}

static void take_log(void *user, int32_t severity, const char *message) {
    if (severity == SM_LOG_WARN)
        snprintf(user, 600, "%s", message);
}

/* A byte-level vocabulary that does not say how text is cut is warned of, no other. */
static void test_warned(void **state) {
    (void)state;
    char said[600] = "";
    const sm_tokenizer_options options = {
        .struct_size = sizeof options,
        .log = &(sm_logger){.struct_size = sizeof(sm_logger), .log = take_log, .user = said}};
    sm_tokenizer *t;
    file f = {0};
    for (uint32_t kind = 0; kind < 3; kind++) {
        if (kind == 0) {
            put_bpe(&f);
        } else if (kind == 1) {
            put_spm(&f);
            put_numbers(&f, "tokenizer.ggml.scores", F32, 5, 0);
        } else {
            put_str(&f, "tokenizer.ggml.model", "gpt2");
            put_strings(&f, "tokenizer.ggml.tokens", some_tokens, 5);
            put_strings(&f, "tokenizer.ggml.merges", some_merges, 1);
        }
        const char *path = finish(&f);
        assert_int_equal(sm_tokenizer_load(&t, path, &options, NULL), SM_OK);
        sm_tokenizer_free(t);
        assert_int_equal(strstr(said, "tokenizer.ggml.pre is missing") != NULL, kind == 2);
        assert_int_equal(sm_tokenizer_load(&t, path, NULL, NULL), SM_OK); /* nobody to tell */
        sm_tokenizer_free(t);
    }
    assert_non_null(strstr(said, ".gguf"));
}

static void test_arguments(void **state) {
    (void)state;
    sm_tokenizer *t;
    sm_error error = {0};
    file f = {0};
    put_bpe(&f);
    const char *path = finish(&f);
    assert_int_equal(sm_tokenizer_load(NULL, path, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_tokenizer_load(&t, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_null(t);
    assert_int_equal(sm_tokenizer_load(&t, "/no/such/file.gguf", NULL, &error), SM_ERR_IO);
    assert_null(t);
    assert_non_null(strstr(error.message, "/no/such/file.gguf"));
    scratch_write(scratch_path("other"), "not a model", 11);
    assert_int_equal(sm_tokenizer_load(&t, scratch_path("other"), NULL, &error), SM_ERR_FORMAT);
    sm_tokenizer_options options = {.struct_size = 1};
    assert_int_equal(sm_tokenizer_load(&t, path, &options, &error), SM_ERR_ARGUMENT);
    options.struct_size = sizeof options;
    assert_int_equal(sm_tokenizer_load(&t, path, &options, &error), SM_OK);
    sm_tokenizer_free(t);
    sm_allocator broken = {.struct_size = sizeof broken};
    options.allocator = &broken;
    assert_int_equal(sm_tokenizer_load(&t, path, &options, &error), SM_ERR_ARGUMENT);
}

static void test_no_memory(void **state) {
    (void)state;
    file f = {0};
    put_bpe(&f);
    put_numbers(&f, "tokenizer.ggml.token_type", I32, 5, 1);
    const char *path = finish(&f);
    for (uint64_t n = 1;; n++) {
        fail_alloc failing = {.fail_at = n};
        sm_allocator hook = fail_allocator(&failing);
        sm_tokenizer_options options = {.struct_size = sizeof options, .allocator = &hook};
        sm_tokenizer *t;
        sm_error error = {0};
        sm_status status = sm_tokenizer_load(&t, path, &options, &error);
        sm_tokenizer_free(t);
        assert_int_equal(failing.live_blocks, 0);
        if (failing.calls < n) {
            assert_int_equal(status, SM_OK);
            break;
        }
        assert_int_equal(status, SM_ERR_NOMEM);
        assert_null(t);
    }
}

/* ---- real vocabularies --------------------------------------------------- */

static sm_tokenizer *load_data(const char *name) {
    sm_tokenizer *t;
    sm_error error = {0};
    const char *path = data_path(name);
    if (!path) {
        print_message("skipped: no test data (%s)\n", name);
        return NULL;
    }
    if (sm_tokenizer_load(&t, path, NULL, &error))
        fail_msg("%s: %s", path, error.message);
    return t;
}

/* Of different kinds. */
static const char *const vocabularies[] = {"bert-bge",  "deepseek-llm", "falcon",
                                           "gpt-2",     "gemma-4",      "llama-bpe",
                                           "llama-spm", "phi-3",        "qwen2"};

#define SEPARATOR "\n__ggml_vocab_test__\n"

/* Compares the ids of one test string with a line of numbers. */
static void check_line(const sm_tokenizer *t, const char *name, const char *text, size_t length,
                       const char *line) {
    int32_t ids[2048];
    uint64_t n, i = 0;
    assert_int_equal(sm_tokenizer_encode(t, text, length, NULL, ids, 2048, &n, NULL), SM_OK);
    bool same = true;
    while (*line && *line != '\n') {
        char *end;
        long id = strtol(line, &end, 10);
        if (end == line)
            break;
        same = same && i < n && ids[i] == id;
        i++;
        line = end;
    }
    if (!same || i != n)
        fail_msg("%s: wrong ids for \"%.*s\"", name, (int)length, text);
}

static void check_file(const char *which) {
    char name[3][300];
    static const char *const ends[] = {"", ".inp", ".out"};
    for (size_t i = 0; i < 3; i++)
        snprintf(name[i], sizeof name[i], "vocab/%s%s", which, ends[i]);
    sm_tokenizer *t = load_data(name[0]);
    size_t size, out_size;
    char *text = (char *)scratch_read(data_path(name[1]), &size);
    char *lines = (char *)scratch_read(data_path(name[2]), &out_size), *line = lines;
    uint32_t n = 0;
    for (char *at = text; at < text + size; n++) {
        char *end = strstr(at, SEPARATOR);
        size_t length = end ? (size_t)(end - at) : strlen(at);
        check_line(t, which, at, length, line);
        at += length + strlen(SEPARATOR);
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    assert_int_equal(line - lines, out_size);
    assert_true(n > 40);
    free(text);
    free(lines);
    sm_tokenizer_free(t);
}

/* Every vocabulary there is. */
static void test_expected_ids(void **state) {
    (void)state;
    const char *folder = data_path("vocab");
    DIR *directory = folder ? opendir(folder) : NULL;
    uint32_t n = 0;
    if (!directory)
        skip();
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *end = strrchr(entry->d_name, '.');
        if (!end || strcmp(end, ".gguf") != 0)
            continue;
        check_file(entry->d_name);
        n++;
    }
    closedir(directory);
    assert_true(n >= sizeof vocabularies / sizeof *vocabularies);
}

static void check_corpus(const sm_tokenizer *t, const char *name, const char *text, size_t size) {
    int32_t *ids = malloc((size + 16) * sizeof *ids);
    char *back = malloc(size + 1);
    uint64_t n, length;
    assert_int_equal(sm_tokenizer_encode(t, text, size, NULL, ids, size + 16, &n, NULL), SM_OK);
    assert_int_equal(sm_tokenizer_decode(t, ids, n, 0, back, size, &length, NULL), SM_OK);
    if (length != size || memcmp(back, text, size) != 0)
        fail_msg("%s does not bring a corpus back", name);
    free(ids);
    free(back);
}

static void test_corpora_come_back(void **state) {
    (void)state;
    static const char *const corpora[] = {"corpora/wiki.test.raw", "corpora/tinyshakespeare.txt",
                                          "corpora/tinystories-2M.txt",
                                          "corpora/tinystories-lowercase-4M.txt"};
    for (size_t v = 0; v <= sizeof vocabularies / sizeof *vocabularies; v++) {
        char name[96] = "models/stories260K.gguf";
        if (v > 0)
            snprintf(name, sizeof name, "vocab/ggml-vocab-%s.gguf", vocabularies[v - 1]);
        sm_tokenizer_info info = {.struct_size = sizeof info};
        sm_tokenizer *t = load_data(name);
        if (!t)
            skip();
        assert_int_equal(sm_tokenizer_get_info(t, &info, NULL), SM_OK);
        bool exact = info.kind == SM_TOKENIZER_BPE || info.kind == SM_TOKENIZER_SPM ||
                     info.kind == SM_TOKENIZER_CHARS;
        for (size_t c = 0; exact && c < sizeof corpora / sizeof *corpora; c++) {
            const char *path = data_path(corpora[c]);
            if (!path)
                skip();
            size_t size;
            char *text = (char *)scratch_read(path, &size);
            check_corpus(t, name, text, size);
            free(text);
        }
        sm_tokenizer_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),         cmocka_unit_test(test_number_types),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_warned),
        cmocka_unit_test(test_arguments),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_expected_ids), cmocka_unit_test(test_corpora_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
