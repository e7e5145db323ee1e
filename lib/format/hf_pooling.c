/* sentence-transformers' modules.json: what is made of hidden states, and the matrices for that. */
#include "format/hf.h"

#include <string.h>

#define MODULES "modules.json"

typedef struct modules {
    hf_reader *r;
    sm_json *json; /* of modules.json */
    uint32_t next; /* the least kind that may come */
} modules;

static void refuse(hf_reader *r, const char *file, const char *what, const char *text,
                   uint64_t length) {
    if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s/%s: '%.*s' %s, which this version does not compute", r->shown, file,
                            (int)(length < 100 ? length : 100), text, what);
}

/* A file of JSON; NULL after a failure. The file stays open as long as what was read. */
static sm_json *read_json(hf_reader *r, const char *name, sm_file *file) {
    sm_json *json = NULL;
    const sm_json_source from = {name, 1, NULL, NULL};
    hf_open_text(r, name, file);
    if (!r->status)
        r->status = sm_json_read(&json, r->mem, file->data, file->size, &from, NULL, r->error);
    return json;
}

/* ---- pooling ------------------------------------------------------------------------------ */

static const struct {
    const char *flag, *word;
    uint32_t type; /* of key pooling_type */
} poolings[] = {
    {"pooling_mode_mean_tokens", "mean", 1},
    {"pooling_mode_cls_token", "cls", 2},
    {"pooling_mode_lasttoken", "lasttoken", 3},
};
#define POOLINGS (sizeof poolings / sizeof *poolings)

static bool is_flag_of_ours(const char *name, uint64_t length) {
    for (size_t i = 0; i < POOLINGS; i++)
        if (strlen(poolings[i].flag) == length && !memcmp(poolings[i].flag, name, (size_t)length))
            return true;
    return false;
}

/* The one that is set; anything else that is set is not computed. */
static void pick(hf_reader *r, const char *file, const sm_json *json) {
    uint32_t n = 0, type = 0;
    for (size_t i = 0; i < POOLINGS; i++)
        if (sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, poolings[i].flag)) ==
                SM_JSON_TRUE ||
            sm_json_is(json, sm_json_get(json, SM_JSON_ROOT, "pooling_mode"), poolings[i].word)) {
            type = poolings[i].type;
            n++;
        }
    for (sm_json_value m = sm_json_first(json, SM_JSON_ROOT); m != SM_JSON_NONE;
         m = sm_json_next(json, SM_JSON_ROOT, m)) {
        uint64_t length;
        const char *name = sm_json_text(json, m, &length);
        if (sm_json_kind_of(json, sm_json_member(json, m)) == SM_JSON_TRUE && length > 12 &&
            !memcmp(name, "pooling_mode", 12) && !is_flag_of_ours(name, length))
            refuse(r, file, "is true", name, length);
    }
    if (n != 1)
        refuse(r, file, "is of none or several kinds", "pooling_mode", 12);
    if (sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, "include_prompt")) == SM_JSON_FALSE)
        refuse(r, file, "is false", "include_prompt", 14);
    hf_put_count(r, SM_K_POOLING, type);
}

static void read_pooling(hf_reader *r, const char *folder) {
    char name[128];
    sm_file file = {0};
    sm_format(name, sizeof name, "%s/config.json", folder);
    sm_json *json = read_json(r, name, &file);
    if (!r->status)
        pick(r, name, json);
    sm_json_free(json);
    sm_file_close(&file);
}

/* ---- matrices behind it ------------------------------------------------------------------- */

static void check_dense(hf_reader *r, const char *name, const sm_json *json) {
    uint64_t length;
    const sm_json_value f = sm_json_get(json, SM_JSON_ROOT, "activation_function");
    const char *text = sm_json_text(json, f, &length);
    if (sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, "bias")) == SM_JSON_TRUE)
        refuse(r, name, "is true", "bias", 4);
    if (sm_json_kind_of(json, f) == SM_JSON_STRING &&
        (length < 8 || memcmp(text + length - 8, "Identity", 8) != 0))
        refuse(r, name, "is the activation", text, length);
}

static void read_dense(hf_reader *r, const char *folder) {
    char name[128];
    sm_file file = {0};
    if (r->n_dense == 2) {
        refuse(r, MODULES, "is one more than two matrices", folder, strlen(folder));
        return;
    }
    sm_format(name, sizeof name, "%s/config.json", folder);
    sm_json *json = read_json(r, name, &file);
    if (!r->status)
        check_dense(r, name, json);
    sm_json_free(json);
    sm_file_close(&file);
    sm_format(r->dense[r->n_dense++], sizeof r->dense[0], "%s/model.safetensors", folder);
}

/* ---- modules ------------------------------------------------------------------------------ */

/* Whether a class of Python's is called so, in whatever package. */
static bool is_class(const char *type, uint64_t length, const char *name) {
    const size_t n = strlen(name);
    return length >= n && !memcmp(type + length - n, name, n) &&
           (length == n || type[length - n - 1] == '.');
}

/* What is computed, in this order: what comes before another of its own or of an earlier kind would
 * be something else. Matrices may be several. */
static const char *const order[] = {"Transformer", "Pooling", "Dense", "Normalize"};
enum { TRANSFORMER, POOLING, DENSE, NORMALIZE, CLASSES };

static uint32_t class_of(const char *type, uint64_t length) {
    uint32_t i = 0;
    while (i < CLASSES && !is_class(type, length, order[i]))
        i++;
    return i;
}

static void read_module(modules *m, sm_json_value module) {
    hf_reader *r = m->r;
    uint64_t n_type, n_path;
    char folder[64];
    const char *type = sm_json_text(m->json, sm_json_get(m->json, module, "type"), &n_type);
    const char *path = sm_json_text(m->json, sm_json_get(m->json, module, "path"), &n_path);
    if (n_path >= sizeof folder || (n_path && memchr(path, 0, (size_t)n_path)) ||
        (n_path && (memchr(path, '/', (size_t)n_path) || memchr(path, '\\', (size_t)n_path))) ||
        (n_path && path[0] == '.')) {
        refuse(r, MODULES, "is the path of a module", path, n_path);
        return;
    }
    sm_format(folder, sizeof folder, "%.*s", (int)n_path, n_path ? path : "");
    const uint32_t kind = class_of(type, n_type);
    if (kind == CLASSES)
        refuse(r, MODULES, "is the type of a module", type, n_type);
    else if (kind < m->next)
        refuse(r, MODULES, "stands behind a module that it comes before", type, n_type);
    else if (kind == TRANSFORMER && n_path)
        refuse(r, MODULES, "is the folder of the network", path, n_path);
    else if (kind == POOLING)
        read_pooling(r, folder);
    else if (kind == DENSE)
        read_dense(r, folder);
    m->next = kind == DENSE ? kind : kind + 1;
}

#define SENTENCES "sentence_bert_config.json"

static bool is_set(const sm_json *json, const char *name) {
    return sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, name)) == SM_JSON_TRUE;
}

/* Texts in small letters are the same to a vocabulary that makes them so itself. */
static void check_letters(hf_reader *r, const sm_json *sentences) {
    static const char name[] = "tokenizer_config.json";
    sm_file file = {0};
    if (r->status || !is_set(sentences, "do_lower_case"))
        return;
    sm_json *json = hf_has_file(r, name) ? read_json(r, name, &file) : NULL;
    if (!r->status && (!json || !is_set(json, "do_lower_case")))
        refuse(r, SENTENCES, "is true", "do_lower_case", 13);
    sm_json_free(json);
    sm_file_close(&file);
}

/* Texts are cut to as many tokens as the model was made for, which may be less than it can. */
static void read_length(hf_reader *r) {
    sm_file file = {0};
    uint64_t n = 0;
    if (r->status || !hf_has_file(r, SENTENCES))
        return;
    sm_json *json = read_json(r, SENTENCES, &file);
    const sm_json_value v =
        r->status ? SM_JSON_NONE : sm_json_get(json, SM_JSON_ROOT, "max_seq_length");
    if (!r->status && sm_json_u64(json, v, &n) && n && n <= UINT32_MAX)
        hf_put_count(r, SM_K_TEXT_TOKENS, (uint32_t)n);
    check_letters(r, json);
    sm_json_free(json);
    sm_file_close(&file);
}

#define PROMPTS "config_sentence_transformers.json"
#define MAX_PROMPTS 64

static void put_prompts(hf_reader *r, const sm_json *json) {
    sm_gguf_str texts[2 * MAX_PROMPTS];
    uint32_t n = 0;
    uint64_t length;
    const sm_json_value all = sm_json_get(json, SM_JSON_ROOT, "prompts");
    const sm_json_value usual = sm_json_get(json, SM_JSON_ROOT, "default_prompt_name");
    for (sm_json_value m = sm_json_first(json, all); m != SM_JSON_NONE && n < 2 * MAX_PROMPTS;
         m = sm_json_next(json, all, m)) {
        const sm_json_value text = sm_json_member(json, m);
        if (sm_json_kind_of(json, text) != SM_JSON_STRING)
            continue;
        texts[n].data = sm_json_text(json, m, &texts[n].length);
        n++;
        texts[n].data = sm_json_text(json, text, &texts[n].length);
        n++;
    }
    if (n)
        hf_put_texts(r, SM_K_PROMPTS, texts, n);
    const char *name = sm_json_text(json, usual, &length);
    if (n && sm_json_kind_of(json, usual) == SM_JSON_STRING)
        hf_put_texts(r, SM_K_PROMPT, &(sm_gguf_str){name, length}, 1);
}

static void read_prompts(hf_reader *r) {
    sm_file file = {0};
    if (r->status || !hf_has_file(r, PROMPTS))
        return;
    sm_json *json = read_json(r, PROMPTS, &file);
    if (!r->status)
        put_prompts(r, json);
    sm_json_free(json);
    sm_file_close(&file);
}

void hf_read_modules(hf_reader *r) {
    sm_file file = {0};
    modules m = {.r = r};
    read_length(r);
    read_prompts(r);
    if (r->status || !hf_has_file(r, MODULES))
        return;
    m.json = read_json(r, MODULES, &file);
    if (!r->status && sm_json_kind_of(m.json, SM_JSON_ROOT) != SM_JSON_ARRAY)
        r->status = sm_fail(r->error, SM_ERR_FORMAT, "%s/" MODULES ": is no list", r->shown);
    for (sm_json_value v = r->status ? SM_JSON_NONE : sm_json_first(m.json, SM_JSON_ROOT);
         v != SM_JSON_NONE && !r->status; v = sm_json_next(m.json, SM_JSON_ROOT, v))
        read_module(&m, v);
    if (!r->status && r->n_dense == 1)
        refuse(r, MODULES, "stands alone", r->dense[0], strlen(r->dense[0]));
    sm_json_free(m.json);
    sm_file_close(&file);
}
