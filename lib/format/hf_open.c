/* Opening a directory: config.json, the safetensors files, and a source of both. */
#include "format/hf.h"

#include <inttypes.h>
#include <string.h>

#define CONFIG "config.json"
#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"
#define MAX_JSON ((uint64_t)256 << 20) /* bytes */
#define PATH 4096

/* A path in the directory, as the system wants it; false if it is too long. */
static bool path_of(const hf_reader *r, const char *name, char path[PATH]) {
    const size_t n = strlen(r->dir);
    const char *slash = n && r->dir[n - 1] == '/' ? "" : "/";
    return sm_format(path, PATH, "%s%s%s", r->dir, slash, name) < PATH;
}

static void fail_file(hf_reader *r, sm_status status, const char *name, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, status, "%s: %s %s", r->shown, name, what);
}

bool hf_has_file(const hf_reader *r, const char *name) {
    char path[PATH];
    return path_of(r, name, path) && sm_path_is_file(path);
}

static void open_file(hf_reader *r, const char *name, bool map, sm_file *file) {
    char path[PATH];
    *file = (sm_file){0};
    if (!path_of(r, name, path))
        fail_file(r, SM_ERR_IO, name, "has a path that is too long");
    if (!r->status)
        r->status = sm_file_open_asking(file, r->mem, path, map, r->hook, r->error);
}

void hf_open_text(hf_reader *r, const char *name, sm_file *file) {
    open_file(r, name, false, file);
    if (!r->status && file->size > MAX_JSON)
        fail_file(r, SM_ERR_UNSUPPORTED, name, "is larger than 256 MiB");
}

/* ---- weights ----------------------------------------------------------------------------- */

static bool is_pickle(const char *name) {
    return ends_with(name, ".bin") || ends_with(name, ".pt") || ends_with(name, ".pth") ||
           ends_with(name, ".ckpt");
}

#define PICKLE                                                                            \
    "is a Python pickle, which can run code and is never read here: load the model with " \
    "transformers and save it with save_pretrained, which writes safetensors"

/* Nothing in it that this reads: why. */
static void refuse_weights(hf_reader *r) {
    static const char *const pickles[] = {"pytorch_model.bin", ".bin.index.json", ".bin", ".pt",
                                          ".pth"};
    char name[256];
    bool is_directory;
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
        if (sm_directory_find(r->dir, pickles[i], name, sizeof name, &is_directory)) {
            fail_file(r, SM_ERR_UNSUPPORTED, name, PICKLE);
            return;
        }
    if (sm_directory_find(r->dir, ".gguf", name, sizeof name, &is_directory))
        fail_file(r, SM_ERR_MISSING, SINGLE, "is missing, but there is a GGUF file: name that");
    else
        fail_file(r, SM_ERR_MISSING, SINGLE " (or " INDEX ")", "is missing");
}

/* A name in the index: a file of this directory, in safetensors. */
static bool good_name(hf_reader *r, const char *name, uint64_t length) {
    char text[256];
    if (!length || length >= sizeof text || memchr(name, 0, (size_t)length) ||
        memchr(name, '/', (size_t)length) || memchr(name, '\\', (size_t)length)) {
        r->status = sm_fail(r->error, SM_ERR_FORMAT,
                            "%s/" INDEX ": names the file '%.*s', which is not in the directory",
                            r->shown, (int)(length < 200 ? length : 200), name);
        return false;
    }
    sm_format(text, sizeof text, "%.*s", (int)length, name);
    if (is_pickle(text))
        fail_file(r, SM_ERR_UNSUPPORTED, text, PICKLE);
    else if (!ends_with(text, ".safetensors"))
        fail_file(r, SM_ERR_FORMAT, INDEX, "names a file that is no .safetensors");
    return !r->status;
}

void hf_add_file(hf_reader *r, const char *name, bool map) {
    sm_source *s = r->source;
    char shown[HF_SHOWN + 300];
    const uint32_t n = r->n_files;
    sm_safetensors *read = sm_realloc(r->mem, r->files, (n + 1) * sizeof *read);
    r->files = read ? read : r->files;
    sm_file *files = sm_realloc(r->mem, s->files, (n + 1) * sizeof *files);
    s->files = files ? files : s->files;
    if (!read || !files) {
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
        return;
    }
    open_file(r, name, map, &files[n]);
    if (r->status)
        return;
    s->n_files = n + 1;
    sm_format(shown, sizeof shown, "%s/%s", r->shown, name);
    r->status = sm_safetensors_read(&read[n], r->mem, files[n].data, files[n].size, shown, r->hook,
                                    r->error);
    r->n_files += !r->status;
}

/* The names of files in the index, each once. */
typedef struct shards {
    hf_reader *r;
    sm_json *json;
    sm_json_value map;
    sm_json_value *value; /* the first that names each */
    uint32_t n;
} shards;

static bool same_name(const sm_json *json, sm_json_value a, sm_json_value b) {
    uint64_t na, nb;
    const char *ta = sm_json_text(json, a, &na), *tb = sm_json_text(json, b, &nb);
    return na == nb && memcmp(ta, tb, (size_t)na) == 0;
}

/* Number of the file, in the order of its first tensor; neighbours mostly lie in one. */
static uint32_t shard_of(shards *s, sm_json_value file, uint32_t last) {
    if (s->n && same_name(s->json, s->value[last], file))
        return last;
    for (uint32_t i = 0; i < s->n; i++)
        if (same_name(s->json, s->value[i], file))
            return i;
    if (s->n == SM_SOURCE_MAX_FILES) {
        fail_file(s->r, SM_ERR_UNSUPPORTED, INDEX, "names more than 4096 files");
        return 0;
    }
    s->value[s->n] = file;
    return s->n++;
}

static void open_shards(shards *s, bool map) {
    hf_reader *r = s->r;
    uint32_t last = 0;
    for (sm_json_value m = sm_json_first(s->json, s->map); m != SM_JSON_NONE && !r->status;
         m = sm_json_next(s->json, s->map, m)) {
        uint64_t length;
        const sm_json_value file = sm_json_member(s->json, m);
        const char *name = sm_json_text(s->json, file, &length);
        if (sm_json_kind_of(s->json, file) != SM_JSON_STRING)
            fail_file(r, SM_ERR_FORMAT, INDEX, "has a 'weight_map' of something other than texts");
        else if (good_name(r, name, length))
            last = shard_of(s, file, last);
    }
    for (uint32_t i = 0; i < s->n && !r->status; i++) {
        char name[256];
        uint64_t length;
        const char *text = sm_json_text(s->json, s->value[i], &length);
        sm_format(name, sizeof name, "%.*s", (int)length, text);
        hf_add_file(r, name, map);
    }
}

/* Every tensor of the index lies in the file that it says. */
static void check_shards(shards *s) {
    hf_reader *r = s->r;
    uint32_t last = 0;
    for (sm_json_value m = sm_json_first(s->json, s->map); m != SM_JSON_NONE && !r->status;
         m = sm_json_next(s->json, s->map, m)) {
        char name[512];
        uint64_t length;
        const char *text = sm_json_text(s->json, m, &length);
        last = shard_of(s, sm_json_member(s->json, m), last);
        const bool whole = length < sizeof name && !memchr(text, 0, (size_t)length);
        sm_format(name, sizeof name, "%.*s", (int)(whole ? length : 0), text);
        if (!r->status && (!whole || !sm_safetensors_find(&r->files[last], name)))
            r->status = sm_fail(r->error, SM_ERR_MISSING,
                                "%s: " INDEX " names the tensor '%.*s', which is not in its file",
                                r->shown, (int)(length < 100 ? length : 100), text);
    }
}

static void open_index(hf_reader *r, bool map) {
    sm_file file;
    shards s = {.r = r};
    const sm_json_source from = {INDEX, 1, NULL, NULL};
    hf_open_text(r, INDEX, &file);
    if (!r->status)
        r->status = sm_json_read(&s.json, r->mem, file.data, file.size, &from, NULL, r->error);
    if (!r->status) {
        s.map = sm_json_get(s.json, SM_JSON_ROOT, "weight_map");
        s.value = sm_alloc_array(r->mem, SM_SOURCE_MAX_FILES, sizeof *s.value);
        if (!s.value)
            r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
        else if (sm_json_kind_of(s.json, s.map) != SM_JSON_OBJECT || !sm_json_count(s.json, s.map))
            fail_file(r, SM_ERR_FORMAT, INDEX, "has no object 'weight_map', or an empty one");
    }
    if (!r->status)
        open_shards(&s, map);
    if (!r->status)
        check_shards(&s);
    sm_free(r->mem, s.value);
    sm_json_free(s.json);
    sm_file_close(&file);
}

static void open_weights(hf_reader *r, bool map) {
    if (hf_has_file(r, SINGLE))
        hf_add_file(r, SINGLE, map);
    else if (hf_has_file(r, INDEX))
        open_index(r, map);
    else
        refuse_weights(r);
    for (uint32_t i = 0; i < r->n_dense && !r->status; i++)
        hf_add_file(r, r->dense[i], map);
}

/* ---- keys -------------------------------------------------------------------------------- */

static void put_name(hf_reader *r) {
    const char *end = r->dir + strlen(r->dir);
    while (end > r->dir && end[-1] == '/')
        end--;
    const char *begin = end;
    while (begin > r->dir && begin[-1] != '/')
        begin--;
    if (end > begin && !(end - begin == 1 && *begin == '.'))
        sm_gguf_put_str(r->keys, SM_K_NAME, begin, (uint64_t)(end - begin));
}

/* The source of the keys that were written: a GGUF file of keys alone, in memory. */
void hf_make_source(hf_reader *r) {
    uint8_t *image = NULL;
    uint64_t size = 0;
    const sm_status status = sm_gguf_writer_image(r->keys, &image, &size, r->error);
    r->keys = NULL;
    r->status = r->status ? r->status : status;
    if (!r->status)
        r->status = sm_source_open_bytes(&r->source, r->mem, image, size, r->dir, r->error);
    if (r->status) {
        sm_free(r->mem, image);
        return;
    }
    r->source->directory = sm_strdup(r->mem, r->dir, strlen(r->dir));
    r->source->n_files = 0;
    r->source->version = 0;
    r->source->alignment = SM_GGUF_DEFAULT_ALIGNMENT; /* of what is written of it */
    r->source->owned = sm_alloc(r->mem, sizeof *r->source->owned);
    if (r->source->owned && r->source->directory) {
        r->source->owned_capacity = r->source->n_owned = 1;
        r->source->owned[0] = image;
    } else {
        sm_free(r->mem, image);
        r->source->n_keys = 0; /* which lay there */
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "%s: out of memory", r->shown);
    }
}

/* config: of the model; beside: whether files beside it are looked at. */
static void read_keys(hf_reader *r, const void *config, uint64_t size, bool beside) {
    if (!r->status)
        r->status =
            sm_gguf_writer_new(&r->keys, r->mem, r->dir, 3, SM_GGUF_DEFAULT_ALIGNMENT, r->error);
    if (!r->status)
        hf_read_config(r, config, size);
    if (!r->status)
        put_name(r);
    if (!r->status && beside)
        hf_read_texts(r);
    if (beside)
        hf_read_modules(r);
    sm_json_free(r->json);
    r->json = NULL;
    if (!r->status)
        hf_make_source(r);
    else if (r->keys)
        sm_gguf_writer_abort(r->keys);
}

/* ---- the whole --------------------------------------------------------------------------- */

bool sm_directory_is_model(const char *path) {
    const hf_reader r = {.dir = path};
    return hf_has_file(&r, CONFIG);
}

hf_reader hf_begin(sm_mem *mem, const char *path, const char *config, const sm_hook *hook,
                   hf_labels *l, sm_error *error) {
    const size_t length = strlen(path);
    const bool fits = length < sizeof l->shown;
    sm_format(l->shown, sizeof l->shown, "%s%s", fits ? "" : "...",
              fits ? path : path + length - (sizeof l->shown - 8));
    sm_format(l->config, sizeof l->config, "%s/%s", l->shown, config);
    return (hf_reader){.mem = mem,
                       .error = error,
                       .hook = hook,
                       .dir = path,
                       .shown = l->shown,
                       .config_shown = l->config};
}

sm_status hf_end(hf_reader *r, sm_source **out) {
    if (!r->status)
        hf_read_tensors(r);
    for (uint32_t i = 0; i < r->n_files; i++)
        sm_safetensors_free(&r->files[i]);
    sm_free(r->mem, r->files);
    for (uint32_t i = 0; i < r->n_made; i++)
        sm_free(r->mem, r->made[i].value);
    if (r->status)
        sm_source_close(r->source);
    *out = r->status ? NULL : r->source;
    return r->status;
}

sm_status sm_source_open_directory(sm_source **out, sm_mem *mem, const char *path, bool map,
                                   const sm_hook *hook, sm_error *error) {
    hf_labels l;
    sm_file config;
    hf_reader r = hf_begin(mem, path, CONFIG, hook, &l, error);
    hf_open_text(&r, CONFIG, &config);
    read_keys(&r, config.data, config.size, true);
    sm_file_close(&config);
    if (!r.status)
        open_weights(&r, map);
    return hf_end(&r, out);
}

sm_status hf_open_bytes(sm_source **out, sm_mem *mem, const void *config, uint64_t config_size,
                        const uint8_t *weights, uint64_t size, sm_error *error) {
    hf_labels l;
    hf_reader r = hf_begin(mem, "bytes", CONFIG, NULL, &l, error);
    read_keys(&r, config, config_size, false);
    r.files = r.status ? NULL : sm_alloc_zero(mem, sizeof *r.files);
    if (!r.status && !r.files)
        r.status = sm_fail(error, SM_ERR_NOMEM, "out of memory");
    if (!r.status) {
        r.source->n_files = 1;
        r.source->files[0] = (sm_file){.data = weights, .size = size};
        r.status = sm_safetensors_read(r.files, mem, weights, size, "bytes", NULL, error);
        r.n_files = !r.status;
    }
    return hf_end(&r, out);
}
