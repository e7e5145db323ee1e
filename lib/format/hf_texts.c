/* What the files beside config.json say of texts: the chat template, which tokens end an answer,
 * how they are sampled. The vocabulary itself is read elsewhere, from the tokenizer's own files. */
#include "format/hf.h"

#include <string.h>

#define TEMPLATE_FILE "chat_template.jinja"
#define TOKENIZER "tokenizer_config.json"
#define GENERATION "generation_config.json"
#define MAX_ENDS 64

/* A file of JSON beside the configuration. */
typedef struct beside {
    sm_file file;
    sm_json *json; /* NULL: there is none */
} beside;

static beside open_beside(hf_reader *r, const char *name) {
    beside b = {{0}, NULL};
    const sm_json_source from = {name, 1, NULL, NULL};
    if (r->status || !hf_has_file(r, name))
        return b;
    hf_open_text(r, name, &b.file);
    if (!r->status)
        r->status = sm_json_read(&b.json, r->mem, b.file.data, b.file.size, &from, NULL, r->error);
    return b;
}

static void close_beside(beside *b) {
    sm_json_free(b->json);
    sm_file_close(&b->file);
}

/* ---- chat templates ---------------------------------------------------------------------- */

static void put_template(hf_reader *r, const char *name, uint64_t name_length, const char *text,
                         uint64_t length) {
    char key[128];
    const bool usual = name_length == 7 && memcmp(name, "default", 7) == 0;
    if (name_length > 64 || memchr(name, 0, (size_t)name_length))
        return; /* nobody could name it */
    if (usual || !name_length)
        sm_format(key, sizeof key, SM_K_CHAT_TEMPLATE);
    else
        sm_format(key, sizeof key, SM_K_CHAT_TEMPLATE ".%.*s", (int)name_length, name);
    sm_gguf_put_str(r->keys, key, text, length);
}

/* A text, or a list of named ones. */
static void read_templates(hf_reader *r, const sm_json *json, sm_json_value v) {
    uint64_t length, name_length;
    const char *text = sm_json_text(json, v, &length);
    if (sm_json_kind_of(json, v) == SM_JSON_STRING) {
        put_template(r, "", 0, text, length);
        return;
    }
    if (sm_json_kind_of(json, v) != SM_JSON_ARRAY)
        return;
    for (sm_json_value one = sm_json_first(json, v); one != SM_JSON_NONE;
         one = sm_json_next(json, v, one)) {
        const sm_json_value t = sm_json_get(json, one, "template");
        const char *name = sm_json_text(json, sm_json_get(json, one, "name"), &name_length);
        text = sm_json_text(json, t, &length);
        if (sm_json_kind_of(json, t) == SM_JSON_STRING && name)
            put_template(r, name, name_length, text, length);
    }
}

/* The file of its own counts, if it is there. */
static void read_chat(hf_reader *r) {
    if (hf_has_file(r, TEMPLATE_FILE)) {
        sm_file file;
        hf_open_text(r, TEMPLATE_FILE, &file);
        if (!r->status)
            put_template(r, "", 0, (const char *)file.data, file.size);
        sm_file_close(&file);
        return;
    }
    beside b = open_beside(r, TOKENIZER);
    const sm_json_value v =
        b.json ? sm_json_get(b.json, SM_JSON_ROOT, "chat_template") : SM_JSON_NONE;
    if (v != SM_JSON_NONE)
        read_templates(r, b.json, v);
    close_beside(&b);
}

/* ---- ends and sampling --------------------------------------------------------------------- */

/* One id or several. */
static uint32_t read_ids(const sm_json *json, sm_json_value v, int32_t ids[MAX_ENDS]) {
    int64_t id;
    uint32_t n = 0;
    if (sm_json_i64(json, v, &id) && id >= 0 && id <= INT32_MAX)
        ids[n++] = (int32_t)id;
    if (sm_json_kind_of(json, v) != SM_JSON_ARRAY)
        return n;
    for (sm_json_value one = sm_json_first(json, v); one != SM_JSON_NONE && n < MAX_ENDS;
         one = sm_json_next(json, v, one))
        if (sm_json_i64(json, one, &id) && id >= 0 && id <= INT32_MAX)
            ids[n++] = (int32_t)id;
    return n;
}

static void put_float(hf_reader *r, const sm_json *json, const char *from, const char *to) {
    double value;
    if (sm_json_double(json, sm_json_get(json, SM_JSON_ROOT, from), &value))
        sm_gguf_put_f32(r->keys, to, (float)value);
}

/* Under the names that llama.cpp's converter gives them. */
static void put_sampling(hf_reader *r, const sm_json *json) {
    uint64_t top_k;
    if (sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, "do_sample")) == SM_JSON_FALSE)
        return;
    if (sm_json_u64(json, sm_json_get(json, SM_JSON_ROOT, "top_k"), &top_k) && top_k <= INT32_MAX)
        sm_gguf_put_scalar(r->keys, "general.sampling.top_k", SM_KEY_INT32,
                           &(int32_t){(int32_t)top_k});
    put_float(r, json, "top_p", "general.sampling.top_p");
    put_float(r, json, "min_p", "general.sampling.min_p");
    put_float(r, json, "temperature", "general.sampling.temp");
    put_float(r, json, "repetition_penalty", "general.sampling.penalty_repeat");
}

void hf_read_texts(hf_reader *r) {
    int32_t ids[MAX_ENDS];
    read_chat(r);
    beside b = open_beside(r, GENERATION);
    uint32_t n = 0;
    if (b.json)
        n = read_ids(b.json, sm_json_get(b.json, SM_JSON_ROOT, "eos_token_id"), ids);
    if (!n)
        n = read_ids(r->json, hf_find(r, "eos_token_id"), ids);
    if (n && !r->status)
        sm_gguf_put_array(r->keys, SM_K_ENDS, SM_KEY_INT32, ids, n);
    if (b.json && !r->status)
        put_sampling(r, b.json);
    close_beside(&b);
}

/* ---- vocabularies in files that are made of a directory ------------------------------------ */

void sm_gguf_put_texts(sm_gguf_writer *writer, const sm_source *from) {
    static const char *const files[][2] = {{"tokenizer.json", SM_K_TOKENIZER_JSON},
                                           {TOKENIZER, SM_K_TOKENIZER_CONFIG},
                                           {"special_tokens_map.json", SM_K_TOKENIZER_SPECIALS}};
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        sm_file file;
        const uint64_t n = sm_format(path, sizeof path, "%s/%s", from->directory, files[i][0]);
        if (n >= sizeof path || !sm_path_is_file(path) ||
            sm_file_open(&file, from->mem, path, false, NULL))
            continue;
        sm_gguf_put_str(writer, files[i][1], (const char *)file.data, file.size);
        sm_file_close(&file);
    }
}
