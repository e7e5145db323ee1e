/* Writing safetensors files: the directory first, then the tensors in its order. */
#include "format/json_write.h"
#include "format/safetensors.h"

#include <string.h>

struct sm_st_writer {
    sm_mem *mem;
    sm_file_writer *file;
    uint64_t left; /* bytes of tensors that are not written */
    const char *shown;
};

static uint64_t bytes_of(const sm_st_tensor *t) {
    uint64_t n = sm_st_type_size(t->type);
    for (uint32_t i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

static void put_list(sm_json_writer *w, const uint64_t *value, uint32_t n) {
    sm_json_open(w, SM_JSON_ARRAY);
    for (uint32_t i = 0; i < n; i++)
        sm_json_put_i64(w, (int64_t)value[i]);
    sm_json_close(w);
}

static void put_text(sm_json_writer *w, const char *key, const char *text) {
    sm_json_put_key(w, key, strlen(key));
    sm_json_put_string(w, text, strlen(text));
}

/* Readers of PyTorch's ask for that format. */
static void put_directory(sm_json_writer *w, const sm_st_tensor *tensors, uint64_t n,
                          uint64_t *size) {
    *size = 0;
    sm_json_open(w, SM_JSON_OBJECT);
    sm_json_put_key(w, "__metadata__", strlen("__metadata__"));
    sm_json_open(w, SM_JSON_OBJECT);
    put_text(w, "format", "pt");
    sm_json_close(w);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t place[2] = {*size, *size + bytes_of(&tensors[i])};
        sm_json_put_key(w, tensors[i].name, strlen(tensors[i].name));
        sm_json_open(w, SM_JSON_OBJECT);
        put_text(w, "dtype", sm_st_type_name(tensors[i].type));
        sm_json_put_key(w, "shape", strlen("shape"));
        put_list(w, tensors[i].dims, tensors[i].n_dims);
        sm_json_put_key(w, "data_offsets", strlen("data_offsets"));
        put_list(w, place, 2);
        sm_json_close(w);
        *size = place[1];
    }
    sm_json_close(w);
}

sm_status sm_st_writer_open(sm_st_writer **out, sm_mem *mem, const char *path,
                            const sm_st_tensor *tensors, uint64_t n, sm_error *error) {
    sm_builder text = sm_builder_of(mem, SM_SAFETENSORS_MAX_HEADER);
    sm_json_writer json = sm_json_writer_of(&text, SM_JSON_COMPACT);
    sm_st_writer *w = sm_alloc_zero(mem, sizeof *w);
    sm_status status = SM_OK;
    *out = NULL;
    uint8_t length[8];
    if (w) {
        w->mem = mem;
        w->shown = path;
        put_directory(&json, tensors, n, &w->left);
        sm_builder_repeat(&text, ' ', (8 - text.length % 8) % 8); /* tensors begin at whole words */
    }
    if (!w || text.failed)
        status = sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    if (!status)
        status = sm_file_writer_open(&w->file, mem, path, error);
    for (uint32_t i = 0; i < 8; i++)
        length[i] = (uint8_t)(text.length >> 8 * i);
    if (!status)
        status = sm_file_write(w->file, length, sizeof length, error);
    if (!status)
        status = sm_file_write(w->file, text.data, text.length, error);
    sm_builder_free(&text);
    if (status)
        sm_st_writer_end(w, status, NULL);
    else
        *out = w;
    return status;
}

sm_status sm_st_write(sm_st_writer *w, const void *data, uint64_t size, sm_error *error) {
    if (size > w->left)
        return sm_fail(error, SM_ERR_STATE, "%s: more bytes than its tensors have", w->shown);
    w->left -= size;
    return sm_file_write(w->file, data, size, error);
}

sm_status sm_st_writer_end(sm_st_writer *w, sm_status status, sm_error *error) {
    if (!w)
        return status;
    if (!status && w->left)
        status = sm_fail(error, SM_ERR_STATE, "%s: fewer bytes than its tensors have", w->shown);
    if (status)
        sm_file_abort(w->file);
    else
        status = sm_file_commit(w->file, error);
    sm_free(w->mem, w);
    return status;
}
