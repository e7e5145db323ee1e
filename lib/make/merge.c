/* An adapter added to the matrices of its model, for good: W + scale B A, in a new file. */
#include "kernels.h"
#include "make.h"
#include "nn/nn.h"
#include "run/run.h"

#include <math.h>
#include <string.h>

typedef struct merger {
    sm_model *model;
    sm_adapter *adapter; /* loaded: so everything about it fits */
    const sm_kernels *kernels;
    double scale;
    const sm_model_type *type; /* of merged matrices; NULL: as before */
    sm_gguf_writer *w;
    float *row, *b;
    uint8_t *out;
    uint64_t done, total;
    uint64_t work; /* since the hook was asked */
    sm_progress_fn progress;
    void *progress_user;
    sm_error *error;
} merger;

static const sm_lora *lora_of(const merger *m, const sm_weight *w) {
    return &m->adapter->low.lora[w->index];
}

/* The first matrix of a tensor of the model, if one of them is adapted; NULL if none is. */
static const sm_weight *adapted(const merger *m, const sm_tensor *t) {
    const sm_net *net = m->model->net;
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        const sm_weight *w = &net->matrices[i];
        if (lora_of(m, w)->b.rows && w->name == t->name)
            return w - w->part - (uint64_t)w->expert * w->stride;
    }
    return NULL;
}

/* Row r of a packed f32 matrix (kernels/pack.h). */
static void unpack_row(const sm_weight *packed, uint64_t r, float *row) {
    const float *group =
        (const float *)(const void *)(packed->packed + r / SM_GROUP * packed->group_bytes);
    for (uint64_t c = 0; c < packed->cols; c++)
        row[c] = group[c * SM_GROUP + r % SM_GROUP];
}

static uint32_t type_of(const merger *m, const sm_tensor *t) {
    return m->type && adapted(m, t) ? sm_fallback_type(m->type->type, t->dims[0]) : t->type;
}

/* Weights that are merged between two questions, an adapter of small rank given. */
#define PIECE_WEIGHTS 65536

/* Asked as files are read and written, and between rows: weights of all. */
static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const merger *m = user;
    (void)done;
    (void)total;
    return m->progress ? m->progress(m->progress_user, m->done, m->total ? m->total : 1) : 0;
}

/* After n weights more, or what takes as long. */
static sm_status go_on(merger *m, uint64_t n) {
    m->work += n;
    if (m->work < PIECE_WEIGHTS)
        return SM_OK;
    m->work = 0;
    return ask(m, 0, 0) ? sm_fail(m->error, SM_ERR_CANCELLED, "cancelled") : SM_OK;
}

/* Rows of a tensor, of stacked matrices all together. */
static uint64_t rows_of(const sm_tensor *t) {
    return t->dims[1] * t->dims[2];
}

/* What the adapter adds to row r of a matrix, put on m->row. A: [rank][cols]. */
static void merge_row(const merger *m, const sm_lora *lora, uint64_t r, const float *A) {
    const uint64_t cols = lora->a.cols, rank = lora->a.rows;
    const double alpha = m->adapter->info.alpha;
    const double factor = m->scale * (alpha != 0 ? alpha / (double)rank : 1);
    unpack_row(&lora->b, r, m->b);
    for (uint64_t i = 0; i < rank; i++) {
        const float f = (float)(factor * (double)m->b[i]);
        for (uint64_t c = 0; c < cols; c++)
            m->row[c] += f * A[i * cols + c];
    }
}

/* Row r, merged, as it will be read: m->row is that afterwards. */
static sm_status encode_row(const merger *m, const sm_tensor *t, uint64_t r, uint32_t type,
                            uint8_t *out) {
    const uint64_t cols = t->dims[0];
    if (sm_first_not_finite(m->row, cols) < cols)
        return sm_fail(m->error, SM_ERR_FORMAT,
                       "tensor '%s': row %llu with the adapter added is not finite", t->name,
                       (unsigned long long)r);
    m->kernels->type[type].encode(out, m->row, NULL, cols);
    m->kernels->type[type].dequantize(m->row, out, cols);
    if (sm_first_not_finite(m->row, cols) < cols)
        return sm_fail(m->error, SM_ERR_FORMAT,
                       "tensor '%s': row %llu holds values too large for type %s", t->name,
                       (unsigned long long)r, sm_dtype_get(type)->name);
    return SM_OK;
}

/* Row r of matrix w, as it will lie in m->out. One that nothing is added to and that keeps its type
 * is copied: encoding it anew might change it. */
static sm_status write_row(merger *m, const sm_tensor *t, const sm_weight *w, uint64_t r,
                           const float *A, uint32_t type, uint64_t row_bytes) {
    const uint64_t at = sm_weight_first_row(w) + r;
    const bool merged = lora_of(m, w)->b.rows;
    sm_status status = sm_rows_check(m->model->source, t, m->kernels, at, at + 1, m->row, m->error);
    if (status)
        return status;
    if (merged)
        merge_row(m, lora_of(m, w), r, A);
    if (merged || type != t->type)
        return encode_row(m, t, at, type, m->out + at * row_bytes);
    memcpy(m->out + at * row_bytes, sm_tensor_row(t, at, row_bytes), row_bytes);
    return SM_OK;
}

/* All rows of one of a tensor's matrices. */
static sm_status merge_matrix(merger *m, const sm_tensor *t, const sm_weight *w, uint32_t type,
                              uint64_t row_bytes) {
    const uint64_t cols = w->cols, rank = lora_of(m, w)->a.rows, some = rank ? rank : 1;
    sm_mem *mem = m->model->mem;
    sm_status status = SM_OK;
    float *A = sm_alloc_array(mem, some * cols, sizeof *A);
    m->b = sm_alloc_array(mem, some, sizeof *m->b);
    if (!A || !m->b)
        status = sm_fail(m->error, SM_ERR_NOMEM, "out of memory for '%s'", t->name);
    for (uint64_t i = 0; i < rank && !status; i++) {
        unpack_row(&lora_of(m, w)->a, i, A + i * cols);
        status = go_on(m, cols);
    }
    for (uint64_t r = 0; r < w->rows && !status; r++) {
        status = write_row(m, t, w, r, A, type, row_bytes);
        m->done += cols;
        status = status ? status : go_on(m, cols + cols * rank / 64);
    }
    sm_free(mem, A);
    sm_free(mem, m->b);
    return status;
}

/* A tensor some of whose matrices, the first of which is w, are adapted. */
static sm_status merge_tensor(merger *m, const sm_tensor *t, const sm_weight *w) {
    const uint64_t cols = t->dims[0], rows = rows_of(t);
    const uint32_t type = type_of(m, t);
    const sm_dtype_traits *traits = sm_dtype_get(type);
    const uint64_t row_bytes = cols / traits->block_size * traits->block_bytes;
    sm_mem *mem = m->model->mem;
    sm_status status = SM_OK;
    m->row = sm_alloc_array(mem, cols, sizeof *m->row);
    m->out = sm_alloc_array(mem, rows, row_bytes);
    if (!m->row || !m->out)
        status = sm_fail(m->error, SM_ERR_NOMEM, "out of memory for '%s'", t->name);
    for (uint32_t i = 0; i < sm_weight_count(w) && !status; i++)
        status = merge_matrix(m, t, w + sm_weight_place(w, i), type, row_bytes);
    if (!status)
        status = sm_gguf_write_tensor(m->w, m->out, rows * row_bytes, m->error);
    sm_free(mem, m->row);
    sm_free(mem, m->out);
    return status;
}

/* The type that most weights of the model's matrices have, before or after the merge. */
static uint32_t main_type(const merger *m, bool merged) {
    uint64_t weights[SM_DTYPE_COUNT] = {0};
    uint32_t most = 0;
    for (uint64_t i = 0; i < m->model->source->n_tensors; i++) {
        const sm_tensor *t = &m->model->source->tensors[i];
        if (sm_tensor_is_matrix(t))
            weights[merged ? type_of(m, t) : t->type] += t->dims[0] * rows_of(t);
    }
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++)
        most = weights[type] > weights[most] ? type : most;
    return most;
}

/* All of the model's, those that say what its weights are made true. The writer keeps its first
 * failure. */
static void put_keys(const merger *m) {
    const sm_source *base = m->model->source;
    const uint32_t type = main_type(m, true);
    const bool changed = type != main_type(m, false);
    const bool versioned = sm_source_find_key(base, SM_K_QUANTIZATION_VERSION);
    sm_gguf_copy_keys(m->w, base,
                      SM_KEYS_OF_PARTS | SM_KEY_ALIGNMENT | (changed ? SM_KEY_FILE_TYPE : 0u));
    if (changed)
        sm_gguf_put_u32(m->w, SM_K_FILE_TYPE, sm_file_type_of(type));
    if (!versioned && m->type && !sm_type_is_float(m->type->type))
        sm_gguf_put_u32(m->w, SM_K_QUANTIZATION_VERSION, 2);
}

/* A tensor that stays as it is. */
static sm_status copy_tensor(merger *m, const sm_tensor *t) {
    const sm_status status = sm_tensor_check(m->model->source, t, m->kernels, m->model->mem,
                                             &(sm_hook){ask, m}, m->error);
    return status ? status : sm_gguf_write_copy(m->w, t, m->error);
}

static sm_status write_all(merger *m, const char *path) {
    const sm_source *base = m->model->source;
    sm_status status =
        sm_gguf_writer_open(&m->w, m->model->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, m->error);
    if (status)
        return status;
    sm_gguf_writer_ask(m->w, &(sm_hook){ask, m});
    put_keys(m);
    for (uint64_t i = 0; i < base->n_tensors; i++) {
        const sm_tensor *t = &base->tensors[i];
        if (adapted(m, t))
            m->total += t->dims[0] * rows_of(t);
        sm_gguf_declare_tensor(m->w, t->name, type_of(m, t), t->n_dims, t->dims, NULL);
    }
    for (uint64_t i = 0; i < base->n_tensors && !status; i++) {
        const sm_tensor *t = &base->tensors[i];
        const sm_weight *w = adapted(m, t);
        status = w ? merge_tensor(m, t, w) : copy_tensor(m, t);
    }
    return sm_gguf_writer_end(m->w, status, m->error);
}

sm_status sm_adapter_merge(const char *out_path, const char *model_path, const char *adapter_path,
                           double scale, const sm_merge_options *options, sm_error *error) {
    sm_merge_options given;
    if (!model_path || !adapter_path || !out_path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_merge: a path is NULL");
    if (!isfinite(scale))
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_adapter_merge: scale %g is not finite", scale);
    sm_status status = sm_options_take(&given, sizeof given, options, SM_OPTIONS_MERGE, error);
    if (status)
        return status;
    sm_ask asked;
    sm_join_progress(&asked, &given.progress, &given.progress_user, given.cancel_flag);
    merger m = {.scale = scale,
                .progress = given.progress,
                .progress_user = given.progress_user,
                .error = error};
    const sm_hook hook = {ask, &m};
    const sm_model_options o = {
        .struct_size = sizeof o, .repack = SM_REPACK_NONE, .progress = ask, .progress_user = &m};
    status = sm_model_load(&m.model, model_path, &o, error);
    if (status)
        return status;
    m.kernels = m.model->net->kernels;
    status = sm_source_expect(m.model->source, SM_GGUF_HOLDS_MODEL, error);
    if (!status)
        status =
            sm_adapter_open(&m.adapter, m.model, &(sm_origin){.name = adapter_path}, &hook, error);
    if (!status && given.type) {
        m.type = sm_model_type_find(given.type, SM_TYPES_OF_TENSORS, error);
        status = m.type ? SM_OK : SM_ERR_ARGUMENT;
    }
    if (!status)
        status = write_all(&m, out_path);
    sm_adapter_free(m.adapter);
    sm_model_free(m.model);
    return status;
}
