/* Measuring importance: a session whose forward pass shows the inputs of every matrix. */
#include "nn/nn.h"
#include "run/run.h"
#include "smallmind/generate.h"
#include "smallmind/quantize.h"

#include <math.h>
#include <string.h>

#define DEFAULT_CHUNK 512u

/* One matrix. */
typedef struct entry {
    const sm_weight *weight;
    double *sums;              /* [columns], of chunks that are done */
    double *now;               /* [columns], of the chunk that runs */
    uint64_t count, count_now; /* inputs: of an expert those of the tokens that used it */
} entry;

struct sm_imatrix {
    sm_use use;
    sm_mem *mem;
    sm_session *session; /* holds the model */
    uint64_t n;
    entry *entries; /* [n], of all matrices but the head, by sm_weight.index */
    sm_observer observer;
    _Atomic uint32_t n_chunks;
};

/* Adds the squares of some columns of a matrix's input; tokens in their order, so that neither
 * threads nor batches change the sums. */
static void add_squares(void *user, const sm_weight *weight, const float *x, uint64_t ldx,
                        uint64_t begin, uint64_t end, uint32_t n_tokens) {
    const sm_imatrix *im = user;
    if (begin == 0) /* one of the threads */
        im->entries[weight->index].count_now += n_tokens;
    double *now = im->entries[weight->index].now;
    for (uint32_t t = 0; t < n_tokens; t++)
        for (uint64_t c = begin; c < end; c++)
            now[c] += (double)x[t * ldx + c] * (double)x[t * ldx + c];
}

sm_status sm_imatrix_new(sm_imatrix **out, const sm_model *model, const sm_imatrix_options *options,
                         sm_error *error) {
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_imatrix_new: out is NULL");
    *out = NULL;
    if (!model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_imatrix_new: model is NULL");
    sm_imatrix_options o;
    sm_status status = sm_options_take(&o, sizeof o, options, SM_OPTIONS_IMATRIX, error);
    if (status)
        return status;
    const sm_net *net = model->net;
    const sm_config *c = &net->config;
    sm_imatrix *im = sm_alloc_zero(model->mem, sizeof *im);
    if (!im)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    im->mem = model->mem;
    const uint32_t chunk = c->n_ctx_train < DEFAULT_CHUNK ? c->n_ctx_train : DEFAULT_CHUNK;
    const sm_session_options so = {.struct_size = sizeof so,
                                   .n_ctx = o.n_ctx ? o.n_ctx : chunk,
                                   .n_threads = o.n_threads,
                                   .kv_type = SM_KV_TYPE_F32,
                                   .cancel_flag = o.cancel_flag};
    status = sm_session_new(&im->session, model, &so, error);
    if (!status) {
        im->entries = sm_alloc_zero(im->mem, net->head->index * sizeof *im->entries);
        if (!im->entries)
            status = sm_fail(error, SM_ERR_NOMEM, "out of memory for an importance matrix");
    }
    while (im->n < net->head->index && !status) {
        entry *e = &im->entries[im->n];
        e->weight = &net->matrices[im->n++];
        e->sums = sm_alloc_zero(im->mem, e->weight->cols * sizeof *e->sums);
        e->now = sm_alloc_zero(im->mem, e->weight->cols * sizeof *e->now);
        if (!e->sums || !e->now)
            status = sm_fail(error, SM_ERR_NOMEM, "out of memory for an importance matrix");
    }
    if (status) {
        sm_imatrix_free(im);
        return status;
    }
    im->observer = (sm_observer){add_squares, im};
    im->session->observer = &im->observer;
    *out = im;
    return SM_OK;
}

void sm_imatrix_free(sm_imatrix *im) {
    if (!im || !sm_use_free(&im->use))
        return;
    for (uint64_t i = 0; i < im->n; i++) {
        sm_free(im->mem, im->entries[i].sums);
        sm_free(im->mem, im->entries[i].now);
    }
    sm_free(im->mem, im->entries);
    sm_session *session = im->session;
    sm_free(im->mem, im);
    sm_session_free(session); /* takes the model's last reference along, perhaps, and the memory */
}

static sm_status begin(const sm_imatrix *im, sm_error *error) {
    return sm_use_begin(&((sm_imatrix *)(uintptr_t)im)->use, sm_process_id(), "importance matrix",
                        error);
}

static void end(const sm_imatrix *im) {
    sm_imatrix *own = (sm_imatrix *)(uintptr_t)im;
    if (sm_use_end(&own->use))
        sm_imatrix_free(own);
}

sm_status sm_imatrix_set_cancel(sm_imatrix *im, int32_t (*cancel)(void *user), void *user,
                                sm_error *error) {
    if (!im)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_imatrix_set_cancel: imatrix is NULL");
    sm_status status = begin(im, error);
    if (status)
        return status;
    status = sm_session_set_cancel(im->session, cancel, user, error);
    end(im);
    return status;
}

static sm_status feed(sm_imatrix *im, const int32_t *ids, uint64_t n, sm_error *error) {
    for (uint64_t i = 0; i < im->n; i++) {
        memset(im->entries[i].now, 0, im->entries[i].weight->cols * sizeof(double));
        im->entries[i].count_now = 0;
    }
    sm_status status = sm_session_rewind(im->session, 0, error);
    if (!status)
        status = sm_session_feed(im->session, ids, n, error);
    if (status)
        return status;
    for (uint64_t i = 0; i < im->n; i++) {
        for (uint32_t c = 0; c < im->entries[i].weight->cols; c++)
            im->entries[i].sums[c] += im->entries[i].now[c];
        im->entries[i].count += im->entries[i].count_now;
    }
    im->n_chunks++;
    return SM_OK;
}

sm_status sm_imatrix_feed(sm_imatrix *im, const int32_t *ids, uint64_t n, sm_error *error) {
    if (!im || !ids || !n)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_imatrix_feed: imatrix or ids is NULL, or n 0");
    sm_status status = begin(im, error);
    if (status)
        return status;
    status = feed(im, ids, n, error);
    end(im);
    return status;
}

static uint32_t capacity_of(const sm_session *session) {
    sm_session_info info = {.struct_size = sizeof info};
    return sm_session_get_info(session, &info, NULL) ? 0 : info.n_ctx;
}

uint32_t sm_imatrix_capacity(const sm_imatrix *im) {
    return im ? capacity_of(im->session) : 0;
}

uint32_t sm_imatrix_chunks(const sm_imatrix *im) {
    return im ? im->n_chunks : 0;
}

/* ---- the file ------------------------------------------------------------------------------- */

static uint32_t depth_of(const entry *e) {
    return e->weight->n_experts ? e->weight->n_experts : 1;
}

static sm_status declare(sm_gguf_writer *w, const entry *e, sm_error *error) {
    char name[512];
    const uint64_t sums[2] = {e->weight->cols, depth_of(e)}, counts[2] = {1, depth_of(e)};
    sm_format(name, sizeof name, "%s.in_sum2", e->weight->name);
    sm_status status = sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, 2, sums, error);
    sm_format(name, sizeof name, "%s.counts", e->weight->name);
    return status ? status : sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, 2, counts, error);
}

static sm_status write_sums(sm_gguf_writer *w, const entry *e, float *row, sm_error *error) {
    const uint32_t columns = e->weight->cols;
    for (uint32_t c = 0; c < columns; c++) {
        row[c] = (float)e->sums[c];
        if (!isfinite(row[c]))
            return sm_fail(error, SM_ERR_FORMAT,
                           "the inputs of '%s' are not finite: damaged weights", e->weight->name);
    }
    return sm_gguf_write_part(w, row, columns * sizeof *row, error);
}

/* A matrix, or a stack whose first is e. */
static sm_status write_entry(sm_gguf_writer *w, const entry *e, float *row, sm_error *error) {
    const uint32_t depth = depth_of(e), stride = e->weight->stride;
    sm_status status = SM_OK;
    for (uint32_t i = 0; i < depth && !status; i++)
        status = write_sums(w, e + i * stride, row, error);
    for (uint32_t i = 0; i < depth && !status; i++) {
        const float count = (float)e[i * stride].count;
        status = sm_gguf_write_part(w, &count, sizeof count, error);
    }
    return status;
}

static sm_status write_entries(const sm_imatrix *im, sm_gguf_writer *w, float *row,
                               sm_error *error) {
    sm_status status = SM_OK;
    for (uint64_t i = 0; i < im->n && !status; i++)
        if (sm_weight_is_first(im->entries[i].weight))
            status = declare(w, &im->entries[i], error);
    for (uint64_t i = 0; i < im->n && !status; i++)
        if (sm_weight_is_first(im->entries[i].weight))
            status = write_entry(w, &im->entries[i], row, error);
    return status;
}

static sm_status save(const sm_imatrix *im, const char *path, const char *dataset,
                      sm_error *error) {
    if (!im->n_chunks)
        return sm_fail(error, SM_ERR_STATE, "%s: nothing was fed that could be saved", path);
    const sm_gguf_str name = {dataset ? dataset : "", dataset ? strlen(dataset) : 0};
    uint32_t widest = 1;
    for (uint64_t i = 0; i < im->n; i++)
        widest = im->entries[i].weight->cols > widest ? im->entries[i].weight->cols : widest;
    sm_gguf_writer *w;
    sm_status status = sm_gguf_writer_open(&w, im->mem, path, 3, SM_GGUF_DEFAULT_ALIGNMENT, error);
    if (status)
        return status;
    sm_gguf_put_str(w, SM_K_TYPE, "imatrix", 7);
    sm_gguf_put_array(w, "imatrix.datasets", SM_KEY_STRING, &name, 1);
    sm_gguf_put_u32(w, "imatrix.chunk_count", im->n_chunks);
    sm_gguf_put_u32(w, "imatrix.chunk_size", sm_imatrix_capacity(im));
    float *row = sm_alloc_array(im->mem, widest, sizeof *row);
    status = row ? write_entries(im, w, row, error)
                 : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    sm_free(im->mem, row);
    return sm_gguf_writer_end(w, status, error);
}

sm_status sm_imatrix_save(const sm_imatrix *im, const char *path, const char *dataset,
                          sm_error *error) {
    if (!im || !path)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_imatrix_save: imatrix or path is NULL");
    sm_status status = begin(im, error);
    if (status)
        return status;
    status = save(im, path, dataset, error);
    end(im);
    return status;
}
