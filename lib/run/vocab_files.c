/* Tokenizers from files as Hugging Face, SentencePiece and tiktoken write them, and from the
 * directories that hold these. */
#include "format/json.h"
#include "run/run.h"

#include <string.h>

#define MAX_PATH_BYTES 4096

/* A place that files are read from: a directory, or the one that a file stands in. */
typedef struct place {
    sm_mem *mem;
    sm_pace *pace;
    sm_error *error;
    const char *directory; /* ends with a slash; "": none */
} place;

static int32_t ask(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return user && !sm_pace_ask(user);
}

static sm_str bytes_of(const sm_file *file) {
    return (sm_str){(const char *)file->data, file->size};
}

/* A file of the place, read; an empty one, and no failure, if there is none. */
static sm_status open_beside(const place *p, const char *name, sm_file *file) {
    char path[MAX_PATH_BYTES];
    memset(file, 0, sizeof *file);
    if (!*p->directory || sm_format(path, sizeof path, "%s%s", p->directory, name) >= sizeof path)
        return SM_OK;
    const sm_status status =
        sm_file_open_asking(file, p->mem, path, false, &(sm_hook){ask, p->pace}, p->error);
    if (status == SM_ERR_IO) {
        memset(file, 0, sizeof *file);
        return SM_OK;
    }
    return status;
}

/* ---- what is said of special tokens ---------------------------------------------------------- */

static sm_status name_specials(const place *p, sm_tokenizer *tokenizer) {
    sm_file config, map = {0};
    sm_status status = open_beside(p, "tokenizer_config.json", &config);
    if (!status)
        status = open_beside(p, "special_tokens_map.json", &map);
    if (!status)
        status = sm_tokenizer_name_specials(tokenizer, bytes_of(&config), bytes_of(&map), p->error);
    sm_file_close(&config);
    sm_file_close(&map);
    return status;
}

/* ---- tiktoken -------------------------------------------------------------------------------- */

#define MAX_SPECIALS 4096

/* Patterns of encodings that are known by the name of their file. */
static const struct {
    const char *name, *pattern;
} encodings[] = {
    {"cl100k_base", "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| "
                    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"},
    {"o200k_base", "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{"
                   "Lo}\\p{M}]+(?i:'s|'t|'"
                   "re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+["
                   "\\p{Ll}\\p{Lm}\\p{Lo}\\"
                   "p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/"
                   "]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {"r50k_base",
     "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {"p50k_base",
     "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {"qwen", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
             "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
};

typedef struct ranks {
    sm_str pattern;
    sm_special *specials; /* [MAX_SPECIALS] */
    uint32_t n;
} ranks;

/* {"<|end|>": 7, …} */
static void take_specials(const sm_json *json, sm_json_value map, ranks *r) {
    int64_t id;
    for (sm_json_value key = sm_json_first(json, map); key != SM_JSON_NONE && r->n < MAX_SPECIALS;
         key = sm_json_next(json, map, key)) {
        sm_special *s = &r->specials[r->n];
        s->text.data = sm_json_text(json, key, &s->text.length);
        if (sm_json_i64(json, sm_json_member(json, key), &id) && id >= 0 && id < INT32_MAX)
            s->id = (int32_t)id, r->n++;
    }
}

/* {"7": {"content": "<|end|>"}, …} */
static void take_decoder(const sm_json *json, sm_json_value map, ranks *r) {
    for (sm_json_value key = sm_json_first(json, map); key != SM_JSON_NONE && r->n < MAX_SPECIALS;
         key = sm_json_next(json, map, key)) {
        sm_special *s = &r->specials[r->n];
        uint64_t length;
        const char *number = sm_json_text(json, key, &length);
        const sm_json_value text = sm_json_get(json, sm_json_member(json, key), "content");
        s->text.data = sm_json_text(json, text, &s->text.length);
        s->id = 0;
        for (uint64_t i = 0; i < length && i < 8; i++)
            s->id = s->id * 10 + (number[i] - '0');
        r->n += sm_json_kind_of(json, text) == SM_JSON_STRING && length && length < 9;
    }
}

static void take_ranks(const sm_json *json, ranks *r) {
    uint64_t length;
    const sm_json_value pattern = sm_json_get(json, SM_JSON_ROOT, "pat_str");
    const char *text = sm_json_text(json, pattern, &length);
    if (sm_json_kind_of(json, pattern) == SM_JSON_STRING)
        r->pattern = (sm_str){text, length};
    take_specials(json, sm_json_get(json, SM_JSON_ROOT, "special_tokens"), r);
    if (!r->n)
        take_decoder(json, sm_json_get(json, SM_JSON_ROOT, "added_tokens_decoder"), r);
}

static void known_pattern(const char *name, ranks *r) {
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings && !r->pattern.length; i++) {
        const size_t n = strlen(encodings[i].name);
        if (strncmp(name, encodings[i].name, n) == 0 && (name[n] == '.' || !name[n]))
            r->pattern = (sm_str){encodings[i].pattern, strlen(encodings[i].pattern)};
    }
}

/* The pattern and special tokens stand in a JSON file beside; some are known by name. */
static sm_status read_ranks(const place *p, const char *name, sm_str text, sm_tokenizer **out) {
    static const char *const beside[] = {"config.json", "tokenizer_config.json"};
    sm_file files[2];
    sm_json *json[2] = {NULL, NULL};
    ranks r = {.specials = sm_alloc_array(p->mem, MAX_SPECIALS, sizeof *r.specials)};
    sm_status status = r.specials ? SM_OK : sm_fail(p->error, SM_ERR_NOMEM, "out of memory");
    memset(files, 0, sizeof files);
    for (uint32_t i = 0; i < 2 && !status; i++) {
        const sm_json_source source = {.name = beside[i], .line = 1};
        status = open_beside(p, beside[i], &files[i]);
        if (!status && files[i].size)
            status = sm_json_read(&json[i], p->mem, files[i].data, files[i].size, &source, NULL,
                                  p->error);
        if (!status && json[i])
            take_ranks(json[i], &r);
    }
    if (!status)
        known_pattern(name, &r);
    if (!status && !r.pattern.length)
        status = sm_fail(
            p->error, SM_ERR_MISSING,
            "%s: a tiktoken file needs its pattern: \"pat_str\" in a config.json beside", name);
    if (!status)
        status = sm_tokenizer_from_tiktoken(out, p->mem, text, r.pattern, r.specials, r.n, p->pace,
                                            p->error);
    for (uint32_t i = 0; i < 2; i++) {
        sm_json_free(json[i]);
        sm_file_close(&files[i]);
    }
    sm_free(p->mem, r.specials);
    return status;
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef enum vocab_form { FORM_NONE, FORM_JSON, FORM_SENTENCEPIECE, FORM_TIKTOKEN } vocab_form;

static vocab_form form_of(sm_str bytes) {
    uint64_t i = 0;
    while (i < bytes.length && i < 64 && strchr(" \t\r\n", bytes.data[i]) && bytes.data[i])
        i++;
    if (i < bytes.length && bytes.data[i] == '{')
        return FORM_JSON;
    if (sm_is_sentencepiece(bytes))
        return FORM_SENTENCEPIECE;
    return sm_is_tiktoken(bytes) ? FORM_TIKTOKEN : FORM_NONE;
}

bool sm_vocab_in_bytes(const void *data, uint64_t size) {
    return form_of((sm_str){data, size}) != FORM_NONE;
}

/* A vocabulary in some bytes, and what stands beside it. name: without folders. */
static sm_status from_bytes(const place *p, const char *name, sm_str bytes, sm_tokenizer **out) {
    sm_status status;
    switch (form_of(bytes)) {
    case FORM_JSON:
        status = sm_tokenizer_from_json(out, p->mem, bytes, p->pace, p->error);
        break;
    case FORM_SENTENCEPIECE:
        status = sm_tokenizer_from_sentencepiece(out, p->mem, bytes, p->pace, p->error);
        break;
    case FORM_TIKTOKEN:
        status = read_ranks(p, name, bytes, out);
        break;
    default:
        return sm_fail(p->error, SM_ERR_FORMAT, "%s: no tokenizer that is known", name);
    }
    if (!status)
        status = name_specials(p, *out);
    if (status) {
        sm_tokenizer_free(*out);
        *out = NULL;
    }
    return status;
}

sm_status sm_vocab_from_bytes(sm_tokenizer **out, sm_mem *mem, const char *path, const void *data,
                              uint64_t size, sm_pace *pace, sm_error *error) {
    char directory[MAX_PATH_BYTES];
    const char *slash = path ? strrchr(path, '/') : NULL;
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    place p = {mem, pace, error, directory};
    *out = NULL;
    if (n + 2 >= sizeof directory)
        p.directory = "";
    else if (n)
        (void)sm_format(directory, sizeof directory, "%.*s", (int)n, path);
    else
        (void)sm_format(directory, sizeof directory, "%s", path ? "./" : "");
    sm_error cause = {0};
    p.error = &cause;
    const sm_status status = from_bytes(&p,
                                        slash  ? slash + 1
                                        : path ? path
                                               : "input",
                                        (sm_str){data, size}, out);
    if (status)
        (void)sm_fail(error, status, "%s: %s", path ? path : "input", cause.message);
    return status;
}

/* ---- directories ----------------------------------------------------------------------------- */

/* What a directory may have, the best first: names, and the ends of names. */
static const char *const names[] = {"tokenizer.json", "tokenizer.model", "spiece.model",
                                    "sentencepiece.bpe.model"};
static const char *const endings[] = {".tiktoken", "tiktoken.model", ".model"};

/* The file of a directory that its tokenizer is read from. */
static bool find_file(const char *directory, char *name, uint64_t capacity) {
    bool is_directory;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (sm_directory_find(directory, names[i], name, capacity, &is_directory) &&
            strcmp(name, names[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (sm_directory_find(directory, endings[i], name, capacity, &is_directory))
            return true;
    return false;
}

bool sm_vocab_in_directory(const char *directory) {
    char name[256];
    return find_file(directory, name, sizeof name);
}

sm_status sm_vocab_from_directory(sm_tokenizer **out, sm_mem *mem, const char *directory,
                                  sm_pace *pace, sm_error *error) {
    char name[256], path[MAX_PATH_BYTES];
    *out = NULL;
    if (!find_file(directory, name, sizeof name))
        return sm_fail(error, SM_ERR_MISSING,
                       "%s: no tokenizer (tokenizer.json, a SentencePiece model, tiktoken ranks)",
                       directory);
    if (sm_format(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return sm_fail(error, SM_ERR_IO, "%s: the path is too long", directory);
    sm_file file;
    sm_status status = sm_file_open_asking(&file, mem, path, false, &(sm_hook){ask, pace}, error);
    if (status)
        return status;
    status = sm_vocab_from_bytes(out, mem, path, file.data, file.size, pace, error);
    sm_file_close(&file);
    return status;
}
