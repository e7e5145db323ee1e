/* Tokenizers from GGUF metadata. */
#include "run.h"

#include <string.h>

#define KEY "tokenizer.ggml."

/* ---- scalars: an absent key leaves *out, one of another type is an error ---- */

static sm_status get_string(const sm_source *source, const char *name, sm_str *out,
                            sm_error *error) {
    if (!sm_source_find_key(source, name))
        return SM_OK;
    return sm_source_get_str(source, name, &out->data, &out->length, error);
}

static sm_status get_switch(const sm_source *source, const char *name, int32_t *out,
                            sm_error *error) {
    if (!sm_source_find_key(source, name))
        return SM_OK;
    bool on = false;
    sm_status status = sm_source_get_bool(source, name, &on, error);
    if (!status)
        *out = on;
    return status;
}

static sm_status get_id(const sm_source *source, const char *name, int32_t *out, sm_error *error) {
    if (!sm_source_find_key(source, name))
        return SM_OK;
    int64_t id = 0;
    sm_status status = sm_source_get_i64(source, name, &id, error);
    if (!status && id >= 0 && id <= INT32_MAX) /* else check_ids refuses it, or it is none */
        *out = (int32_t)id;
    return status;
}

/* Every id that a key gives to a special token, those that are not used here too. Some files
 * write "none" as -1, with a sign or without. */
static sm_status check_ids(const sm_source *source, uint64_t n_tokens, sm_error *error) {
    static const char begins[] = KEY, ends[] = "_token_id";
    for (uint64_t i = 0; i < source->n_keys; i++) {
        const char *name = source->keys[i].name;
        const size_t length = strlen(name);
        int64_t id = 0;
        if (length < sizeof ends || strncmp(name, begins, sizeof begins - 1) != 0 ||
            strcmp(name + length - (sizeof ends - 1), ends) != 0)
            continue;
        sm_status status = sm_source_get_i64(source, name, &id, error);
        if (status)
            return status;
        if (id != -1 && id != UINT32_MAX && (id < 0 || (uint64_t)id >= n_tokens))
            return sm_fail(error, SM_ERR_FORMAT, "%s: %s is %lld, the vocabulary has %llu tokens",
                           source->path, name, (long long)id, (unsigned long long)n_tokens);
    }
    return SM_OK;
}

static sm_status read_scalars(sm_vocab *v, const sm_source *source, sm_error *error) {
    const struct {
        const char *name;
        sm_str *out;
    } strings[] = {{KEY "model", &v->model},
                   {KEY "pre", &v->pre},
                   {SM_K_NAME, &v->name},
                   {SM_K_ARCHITECTURE, &v->architecture}};
    const struct {
        const char *name;
        int32_t *out;
    } ids[] = {{KEY "bos_token_id", &v->bos},     {KEY "eos_token_id", &v->eos},
               {KEY "unknown_token_id", &v->unk}, {KEY "seperator_token_id", &v->sep},
               {KEY "padding_token_id", &v->pad}, {KEY "mask_token_id", &v->mask},
               {KEY "cls_token_id", &v->cls},     {KEY "eot_token_id", &v->eot},
               {KEY "eom_token_id", &v->eom}};
    const struct {
        const char *name;
        int32_t *out;
    } switches[] = {{KEY "add_bos_token", &v->add_bos},
                    {KEY "add_eos_token", &v->add_eos},
                    {KEY "add_space_prefix", &v->add_space_prefix},
                    {KEY "remove_extra_whitespaces", &v->remove_extra_whitespaces},
                    {KEY "escape_whitespaces", &v->escape_whitespaces},
                    {KEY "normalizer.lowercase", &v->lowercase},
                    {KEY "normalizer.strip_accents", &v->strip_accents}};
    sm_status status = SM_OK;
    for (size_t i = 0; i < sizeof strings / sizeof *strings && !status; i++)
        status = get_string(source, strings[i].name, strings[i].out, error);
    for (size_t i = 0; i < sizeof ids / sizeof *ids && !status; i++) {
        *ids[i].out = SM_UNSET;
        status = get_id(source, ids[i].name, ids[i].out, error);
    }
    for (size_t i = 0; i < sizeof switches / sizeof *switches && !status; i++) {
        *switches[i].out = SM_UNSET;
        status = get_switch(source, switches[i].name, switches[i].out, error);
    }
    v->ignore_merges = SM_UNSET;
    return status;
}

/* ---- arrays -------------------------------------------------------------- */

typedef enum element_kind { STRINGS, REALS, INTEGERS, BYTES } element_kind;

static bool is_kind(sm_key_type type, element_kind kind) {
    const bool real = type == SM_KEY_FLOAT32 || type == SM_KEY_FLOAT64;
    switch (kind) {
    case STRINGS:
        return type == SM_KEY_STRING;
    case REALS:
        return real;
    case BYTES:
        return type == SM_KEY_UINT8 || type == SM_KEY_INT8;
    default:
        return !real && type != SM_KEY_BOOL && type != SM_KEY_STRING && type != SM_KEY_ARRAY;
    }
}

#define ANY_COUNT UINT64_MAX

/* The array key `name`, NULL if absent; SM_ERR_FORMAT if it is no array of the kind or has
 * another number of elements than n. */
static sm_status find_array(const sm_source *source, const char *name, element_kind kind,
                            uint64_t n, const sm_key **out, sm_error *error) {
    static const char *const names[] = {"strings", "floating-point numbers", "integers", "bytes"};
    const sm_key *key = sm_source_find_key(source, name);
    *out = key;
    if (!key)
        return SM_OK;
    if (key->type != SM_KEY_ARRAY || !is_kind(key->element, kind))
        return sm_fail(error, SM_ERR_FORMAT, "%s: %s is of type %s, not an array of %s",
                       source->path, name, key->type_text, names[kind]);
    if (n != ANY_COUNT && key->count != n)
        return sm_fail(error, SM_ERR_FORMAT, "%s: %s has %llu elements, " KEY "tokens has %llu",
                       source->path, name, (unsigned long long)key->count, (unsigned long long)n);
    return SM_OK;
}

static sm_status read_strings(sm_str **out, uint64_t *n, sm_mem *mem, const sm_source *source,
                              const char *name, sm_error *error) {
    const sm_key *key;
    sm_status status = find_array(source, name, STRINGS, ANY_COUNT, &key, error);
    if (status || !key || !key->count)
        return status;
    sm_str *strings = sm_alloc_array(mem, key->count, sizeof *strings);
    if (!strings)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    *out = strings;
    *n = key->count;
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < key->count; i++)
        if (!sm_key_next_str(key, &cursor, &strings[i].data, &strings[i].length))
            return sm_fail(error, SM_ERR_FORMAT, "%s: %s ends after %llu elements", source->path,
                           name, (unsigned long long)i);
    return SM_OK;
}

static sm_status read_scores(float **out, sm_mem *mem, const sm_source *source, uint64_t n,
                             sm_error *error) {
    const sm_key *key;
    sm_status status = find_array(source, KEY "scores", REALS, n, &key, error);
    if (status || !key || !n)
        return status;
    float *scores = *out = sm_alloc_array(mem, n, sizeof *scores);
    if (!scores)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; i < n; i++) {
        double score;
        if (sm_key_f64(key, i, &score))
            return sm_fail(error, SM_ERR_FORMAT, "%s: " KEY "scores[%llu] is not a number",
                           source->path, (unsigned long long)i);
        scores[i] = (float)score;
    }
    return SM_OK;
}

static sm_status read_types(int32_t **out, sm_mem *mem, const sm_source *source, uint64_t n,
                            sm_error *error) {
    const sm_key *key;
    sm_status status = find_array(source, KEY "token_type", INTEGERS, n, &key, error);
    if (status || !key || !n)
        return status;
    int32_t *types = *out = sm_alloc_array(mem, n, sizeof *types);
    if (!types)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; i < n; i++) {
        int64_t type;
        if (sm_key_i64(key, i, &type))
            return sm_fail(error, SM_ERR_FORMAT, "%s: " KEY "token_type[%llu] is not an integer",
                           source->path, (unsigned long long)i);
        types[i] = type >= 0 && type <= SM_TOKEN_BYTE ? (int32_t)type : 0;
    }
    return SM_OK;
}

static sm_status read_charsmap(sm_str *out, const sm_source *source, sm_error *error) {
    const char *name = KEY "precompiled_charsmap";
    const sm_key *key;
    sm_status status = find_array(source, name, BYTES, ANY_COUNT, &key, error);
    if (status || !key)
        return status;
    *out = (sm_str){(const char *)key->data, key->count};
    return SM_OK;
}

static bool is(sm_str text, const char *other) {
    return same_text(text.data, text.length, other);
}

/* What read_vocab allocates for the builder. */
typedef struct arrays {
    sm_str *tokens, *merges;
    float *scores;
    int32_t *types;
} arrays;

static sm_status read_vocab(sm_vocab *v, arrays *a, sm_mem *mem, const sm_source *source,
                            sm_error *error) {
    sm_status status = read_scalars(v, source, error);
    if (!status)
        status = read_strings(&a->tokens, &v->n_tokens, mem, source, KEY "tokens", error);
    if (!status && v->n_tokens) /* the builder says that there are none */
        status = check_ids(source, v->n_tokens, error);
    if (!status && v->n_tokens)
        status = read_scores(&a->scores, mem, source, v->n_tokens, error);
    if (!status && v->n_tokens)
        status = read_types(&a->types, mem, source, v->n_tokens, error);
    bool merges = is(v->model, "gpt2") || is(v->model, "gemma4");
    if (!status && merges && !sm_source_find_key(source, KEY "merges"))
        status = sm_fail(error, SM_ERR_MISSING, "%s: " KEY "merges is missing", source->path);
    if (!status && merges)
        status = read_strings(&a->merges, &v->n_merges, mem, source, KEY "merges", error);
    if (!status)
        status = read_charsmap(&v->charsmap, source, error);
    v->tokens = a->tokens;
    v->merges = a->merges;
    v->scores = a->scores;
    v->types = a->types;
    return status;
}

/* The text of a tokenizer.json, where there are no keys of ggml's. */
static const sm_key *find_json(const sm_source *source) {
    const sm_key *key = sm_source_find_key(source, SM_K_TOKENIZER_JSON);
    return !sm_source_find_key(source, KEY "model") && key && key->type == SM_KEY_STRING ? key
                                                                                         : NULL;
}

static sm_str text_of(const sm_source *source, const char *name) {
    const sm_key *key = sm_source_find_key(source, name);
    const bool text = key && key->type == SM_KEY_STRING;
    return text ? (sm_str){(const char *)key->data, key->size} : (sm_str){NULL, 0};
}

static sm_status from_json(sm_tokenizer **out, sm_mem *mem, const sm_source *source, sm_pace *pace,
                           sm_error *error) {
    sm_error cause = {0}; /* the reader knows no files */
    sm_status status =
        sm_tokenizer_from_json(out, mem, text_of(source, SM_K_TOKENIZER_JSON), pace, &cause);
    if (!status)
        status = sm_tokenizer_name_specials(*out, text_of(source, SM_K_TOKENIZER_CONFIG),
                                            text_of(source, SM_K_TOKENIZER_SPECIALS), &cause);
    if (!status)
        return SM_OK;
    sm_tokenizer_free(*out);
    *out = NULL;
    return sm_fail(error, status, "%s: key '" SM_K_TOKENIZER_JSON "': %s", source->path,
                   cause.message);
}

bool sm_vocab_in_gguf(const sm_source *source) {
    const sm_key *key = sm_source_find_key(source, KEY "model");
    const char *model;
    uint64_t length;
    if (!key)
        return find_json(source) != NULL;
    if (sm_source_get_str(source, KEY "model", &model, &length, NULL))
        return true; /* a vocabulary with an error */
    return !(length == 8 && memcmp(model, "no_vocab", 8) == 0) &&
           !(length == 4 && memcmp(model, "none", 4) == 0);
}

sm_status sm_vocab_from_gguf(sm_tokenizer **out, sm_mem *mem, const sm_source *source,
                             sm_pace *pace, sm_log_fn log, void *log_user, sm_error *error) {
    *out = NULL;
    if (!sm_vocab_in_gguf(source))
        return sm_fail(error, SM_ERR_MISSING, "%s: no vocabulary (key '" KEY "model')",
                       source->path);
    if (find_json(source))
        return from_json(out, mem, source, pace, error);
    sm_vocab vocab;
    arrays a = {NULL, NULL, NULL, NULL};
    memset(&vocab, 0, sizeof vocab);
    sm_status status = read_vocab(&vocab, &a, mem, source, error);
    if (!status) {
        sm_error cause = {0}; /* the builder knows keys, not files */
        vocab.pace = pace;
        status = sm_tokenizer_build(out, mem, &vocab, &cause);
        if (status)
            sm_fail(error, status, "%s: %s", source->path, cause.message);
        else if (is(vocab.model, "gpt2") && !vocab.pre.length)
            sm_log(log, log_user, SM_LOG_WARN,
                   "%s: " KEY "pre is missing: the file does not say how its model cuts text in "
                   "words; \"default\" is taken, ids may be others than the model was trained on",
                   source->path);
    }
    sm_free(mem, a.tokens);
    sm_free(mem, a.merges);
    sm_free(mem, a.scores);
    sm_free(mem, a.types);
    return status;
}

/* ---- a tokenizer that stands alone --------------------------------------- */

static void destroy_mem(void *mem) {
    sm_mem_destroy(mem);
}

void sm_vocab_own_mem(sm_tokenizer *tokenizer, sm_mem *mem) {
    sm_tokenizer_set_owner(tokenizer, destroy_mem, mem);
}

static int32_t ask_pace(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return !sm_pace_ask(user);
}

static const sm_wide options_wide[] = {SM_WIDE_FROM(sm_tokenizer_options, allocator), {0, 0, 0}};

sm_status sm_tokenizer_load(sm_tokenizer **out, const char *path,
                            const sm_tokenizer_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_load: out is NULL");
    *out = NULL;
    if (!path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_load: path is NULL");
    const sm_origin origin = {.struct_size = sizeof origin, .name = path};
    return sm_tokenizer_load_from(out, &origin, options, error);
}

static sm_status take_options(sm_tokenizer_options *to, sm_mem **mem,
                              const sm_tokenizer_options *options, sm_error *error) {
    sm_status status =
        sm_struct_take(to, sizeof *to, options_wide, options, "sm_tokenizer_options", error);
    if (!status && to->reserved)
        status = sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_load: reserved is set");
    if (status)
        sm_allocator_drop(to->allocator);
    else
        status = sm_mem_create(mem, to->allocator, 0, error);
    if (status)
        sm_logger_drop(to->log);
    return status;
}

static sm_status own_or_destroy(sm_tokenizer *tokenizer, sm_mem *mem, sm_status status) {
    if (status)
        sm_mem_destroy(mem);
    else
        sm_vocab_own_mem(tokenizer, mem);
    return status;
}

/* What is no GGUF file but holds a tokenizer: a directory, a file, bytes in memory. False if it is
 * none of these; else how reading it went in *status. */
static bool from_other_files(sm_tokenizer **out, sm_mem *mem, const sm_origin *from, sm_pace *pace,
                             sm_status *status, sm_error *error) {
    if (from->kind == SM_ORIGIN_MEMORY) {
        if (!sm_vocab_in_bytes(from->data, from->size))
            return false;
        *status = sm_vocab_from_bytes(out, mem, NULL, from->data, from->size, pace, error);
        return true;
    }
    if (from->kind != SM_ORIGIN_PATH)
        return false;
    if (sm_vocab_in_directory(from->name)) {
        *status = sm_vocab_from_directory(out, mem, from->name, pace, error);
        return true;
    }
    sm_file file;
    if (sm_file_open(&file, mem, from->name, true, NULL))
        return false;
    const bool is = sm_vocab_in_bytes(file.data, file.size);
    if (is)
        *status = sm_vocab_from_bytes(out, mem, from->name, file.data, file.size, pace, error);
    sm_file_close(&file);
    return is;
}

sm_status sm_tokenizer_load_from(sm_tokenizer **out, const sm_origin *origin,
                                 const sm_tokenizer_options *options, sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_tokenizer_load_from: out is NULL");
    *out = NULL;
    sm_origin from;
    sm_tokenizer_options taken;
    sm_mem *mem;
    sm_status status = sm_origin_take(&from, origin, "sm_tokenizer_load_from", error);
    if (status)
        return status;
    status = take_options(&taken, &mem, options, error);
    if (status) {
        sm_origin_drop(&from);
        return status;
    }
    sm_source *source = NULL;
    sm_ask asked;
    sm_logger log;
    sm_join_cancel(&asked, &taken.cancel, &taken.cancel_user, taken.cancel_flag);
    sm_pace pace = {.cancel = taken.cancel, .user = taken.cancel_user};
    status = sm_logger_take(&log, taken.log, error);
    if (status) {
        sm_origin_drop(&from);
        return own_or_destroy(NULL, mem, status);
    }
    if (from_other_files(out, mem, &from, &pace, &status, error)) {
        sm_origin_drop(&from);
        sm_logger_drop(taken.log);
        return own_or_destroy(*out, mem, status);
    }
    status = sm_source_open_origin(&source, mem, &from, true, &(sm_hook){ask_pace, &pace}, error);
    if (!status && !sm_vocab_in_gguf(source))
        status = sm_source_expect(source, SM_GGUF_HOLDS_MODEL | SM_GGUF_HOLDS_PACKED, error);
    if (!status)
        status = sm_vocab_from_gguf(out, mem, source, &pace, log.log, log.user, error);
    sm_source_close(source);
    sm_logger_drop(taken.log);
    return own_or_destroy(*out, mem, status);
}
