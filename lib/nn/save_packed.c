/* Packed files: checking that one has our layout, and writing one. */
#include "net.h"
#include "pack.h"

#include <string.h>

/* Alignment of the tensors in the file: a pair of cache lines (repack.c). */
#define ALIGNMENT 128
/* Written, and packed, at a time. */
#define PIECE_BYTES ((uint64_t)1 << 20)

sm_status sm_net_check_packed(const sm_source *source, sm_error *error) {
    uint32_t version;
    if (!sm_source_find_key(source, SM_PACKED_VERSION_KEY))
        return SM_OK;
    sm_status status = sm_source_get_u32(source, SM_PACKED_VERSION_KEY, &version, error);
    if (!status && version != SM_PACK_VERSION)
        status = sm_fail(error, SM_ERR_UNSUPPORTED,
                         "%s: key '" SM_PACKED_VERSION_KEY
                         "' is %u, this version of the library computes layout %u: pack the model "
                         "again",
                         source->path, version, SM_PACK_VERSION);
    return status;
}

/* ---- writing ---------------------------------------------------------------------------- */

typedef struct saver {
    const sm_net *net;
    sm_gguf_writer *writer;
    const sm_weight **matrices; /* [n_tensors] the one that a tensor of the file holds, or NULL */
    uint8_t *piece;             /* one or more packed groups */
    float *row;                 /* of the widest tensor */
    sm_progress_fn progress;
    void *progress_user;
    uint64_t done, total; /* bytes of data */
    sm_error *error;
} saver;

/* The matrix that each tensor of the file holds; a head that shares one comes last, by itself. */
static void note_matrices(saver *s) {
    const sm_net *net = s->net;
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const sm_weight *w = &net->matrices[i];
        if (w->name != net->embd.name && sm_weight_is_first(w))
            s->matrices[sm_source_find_tensor(net->source, w->name) - net->source->tensors] = w;
    }
}

/* The embeddings' tensor serves as the head too. */
static bool shares_head(const sm_net *net) {
    return net->head->name == net->embd.name;
}

static void declare_packed(saver *s, const char *name, const sm_weight *w) {
    const uint64_t shape[3] = {w->type, w->cols, w->joined_rows};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < sm_weight_count(w); i++)
        bytes += sm_weight_packed_bytes(w + sm_weight_place(w, i));
    const uint64_t dims[2] = {w->group_bytes, bytes / w->group_bytes};
    char key[192];
    sm_format(key, sizeof key, SM_PACKED_TENSOR_KEYS "%s", name);
    sm_gguf_put_array(s->writer, key, SM_KEY_UINT64, shape, 3);
    sm_gguf_declare_tensor(s->writer, name, SM_DTYPE_I8, 2, dims, NULL);
    s->total += bytes;
}

/* Keys and the directory. The writer keeps the first failure: its calls need no look. */
static void declare(saver *s) {
    const sm_source *source = s->net->source;
    sm_gguf_copy_keys(s->writer, source, SM_KEYS_OF_PARTS | SM_KEY_ALIGNMENT | SM_KEYS_OF_PACKED);
    sm_gguf_put_u32(s->writer, SM_PACKED_VERSION_KEY, SM_PACK_VERSION);
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const sm_tensor *t = &source->tensors[i];
        if (s->matrices[i]) {
            declare_packed(s, t->name, s->matrices[i]);
        } else {
            sm_gguf_declare_tensor(s->writer, t->name, t->type, t->n_dims, t->dims, NULL);
            s->total += t->size;
        }
    }
    if (shares_head(s->net))
        declare_packed(s, SM_PACKED_HEAD, s->net->head);
}

static sm_status write_piece(saver *s, const uint8_t *data, uint64_t size) {
    sm_status status = sm_gguf_write_part(s->writer, data, size, s->error);
    s->done += size;
    if (!status && s->progress && s->progress(s->progress_user, s->done, s->total))
        status = sm_fail(s->error, SM_ERR_CANCELLED, "writing the packed model was cancelled");
    return status;
}

/* Groups that are packed at a time. */
static uint64_t piece_groups(const sm_weight *w) {
    return w->group_bytes < PIECE_BYTES ? PIECE_BYTES / w->group_bytes : 1;
}

/* A matrix as it is packed in memory or in the file, NULL where it is not (yet). */
static const uint8_t *packed_of(const sm_net *net, const sm_weight *w) {
    if (!net->lock || sm_mutex_is_mine(net->lock))
        return w->packed;
    sm_mutex_lock(net->lock);
    const uint8_t *packed = w->packed;
    sm_mutex_unlock(net->lock);
    return packed;
}

static const sm_tensor *tensor_of(const saver *s, const sm_weight *w) {
    return w->data ? sm_source_find_tensor(s->net->source, w->name) : NULL;
}

static sm_status write_matrix(saver *s, const sm_weight *w) {
    const uint8_t *packed = packed_of(s->net, w);
    const sm_tensor *t = tensor_of(s, w);
    const uint64_t first = sm_weight_first_row(w);
    sm_status status = SM_OK;
    const uint64_t n_groups = sm_weight_packed_bytes(w) / w->group_bytes, n = piece_groups(w);
    for (uint64_t g = 0; g < n_groups && !status; g += n) {
        const uint64_t end = g + n < n_groups ? g + n : n_groups;
        const uint64_t end_row = end * SM_GROUP < w->rows ? end * SM_GROUP : w->rows;
        if (t) /* else it was packed in the file */
            status = sm_rows_check(s->net->source, t, s->net->kernels, first + g * SM_GROUP,
                                   first + end_row, s->row, s->error);
        if (status)
            return status;
        if (!packed)
            sm_weight_pack(w, s->net->kernels, g, end, s->piece);
        status = write_piece(s, packed ? packed + g * w->group_bytes : s->piece,
                             (end - g) * w->group_bytes);
    }
    return status;
}

/* A tensor that stays as it is, in pieces of whole rows. */
static sm_status write_copy(saver *s, const sm_tensor *t) {
    const uint64_t n_rows = t->dims[1] * t->dims[2] * t->dims[3], row_bytes = t->size / n_rows;
    const uint64_t most = row_bytes < PIECE_BYTES ? PIECE_BYTES / row_bytes : 1;
    sm_status status = SM_OK;
    for (uint64_t r = 0, n; r < n_rows && !status; r += n) {
        n = min_u64(most, sm_tensor_rows_left(t, r));
        const uint64_t end = r + n;
        status = sm_rows_check(s->net->source, t, s->net->kernels, r, end, s->row, s->error);
        if (!status)
            status = write_piece(s, sm_tensor_row(t, r, row_bytes), n * row_bytes);
    }
    return status;
}

/* The matrices of one tensor. */
static sm_status write_stack(saver *s, const sm_weight *w) {
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < sm_weight_count(w) && !status; i++)
        status = write_matrix(s, w + sm_weight_place(w, i));
    return status;
}

static sm_status write_data(saver *s) {
    const sm_source *source = s->net->source;
    sm_status status = SM_OK;
    for (uint64_t i = 0; i < source->n_tensors && !status; i++)
        status =
            s->matrices[i] ? write_stack(s, s->matrices[i]) : write_copy(s, &source->tensors[i]);
    if (!status && shares_head(s->net))
        status = write_matrix(s, s->net->head);
    return status;
}

static uint64_t largest_piece(const sm_net *net) {
    uint64_t largest = 0;
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const uint64_t bytes = piece_groups(&net->matrices[i]) * net->matrices[i].group_bytes;
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

static uint64_t widest_row(const sm_net *net) {
    uint64_t widest = 1;
    for (uint64_t i = 0; i < net->source->n_tensors; i++) {
        const uint64_t columns = net->source->tensors[i].dims[0];
        widest = columns > widest ? columns : widest;
    }
    return widest;
}

sm_status sm_net_save(sm_net *net, const char *path, sm_progress_fn progress, void *progress_user,
                      sm_error *error) {
    saver s = {.net = net, .progress = progress, .progress_user = progress_user, .error = error};
    s.matrices = sm_alloc_zero(net->mem, net->source->n_tensors * sizeof *s.matrices);
    s.piece = sm_alloc(net->mem, largest_piece(net));
    s.row = sm_alloc_array(net->mem, widest_row(net), sizeof *s.row);
    sm_status status = s.matrices && s.piece && s.row
                           ? sm_gguf_writer_open(&s.writer, net->mem, path, 3, ALIGNMENT, error)
                           : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    if (!status) {
        note_matrices(&s);
        declare(&s);
        status = sm_gguf_writer_end(s.writer, write_data(&s), error);
    }
    sm_free(net->mem, s.piece);
    sm_free(net->mem, s.row);
    sm_free(net->mem, s.matrices);
    return status;
}
