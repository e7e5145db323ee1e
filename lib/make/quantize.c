/* sm_model_quantize: tensor by tensor, rows shared out among threads. */
#include "kernels.h"
#include "make.h"
#include "nn/nn.h"
#include "smallmind/generate.h"
#include "smallmind/quantize.h"

#include <math.h>
#include <string.h>

#define DEFAULT_THREADS 8u
/* Weights that one run of the team encodes: some milliseconds, after which the progress hook
 * is asked. */
#define PIECE_WEIGHTS (1u << 17)

typedef struct job {
    sm_quantize_options o;
    sm_quantize_override *overrides; /* the options' own, as this version knows them */
    const sm_model_type *type;
    sm_mixture_model model;
    const char *in_path;
    sm_mem *mem;
    sm_source *in;
    sm_importance importance; /* gguf NULL: none */
    sm_gguf_writer *out;
    sm_team *team;
    const sm_kernels *kernels;
    float *rows; /* [n_threads][2][most columns]: source and decoded row of each thread */
    uint64_t most_columns;
    double *squares, *errors; /* [most rows of a piece]: sums over each row */
    uint64_t done, total;     /* weights */
    sm_quantize_result result;
} job;

/* ---- what each tensor becomes -------------------------------------------------------------- */

/* The type of an override by that name, SM_DTYPE_COUNT if none matches. */
static uint32_t overridden(const job *j, const char *name) {
    for (uint64_t i = 0; i < j->o.n_overrides; i++)
        if (sm_glob(j->overrides[i].pattern, name))
            return sm_model_type_find(j->overrides[i].type, SM_TYPES_ALL, NULL)->type;
    return SM_DTYPE_COUNT;
}

/* *fallback may be NULL. */
static uint32_t target_type(const job *j, const sm_tensor *t, bool *fallback) {
    if (fallback)
        *fallback = false;
    if (!sm_tensor_is_matrix(t))
        return t->type;
    uint32_t type = overridden(j, t->name);
    if (type == SM_DTYPE_COUNT)
        type = j->o.pure ? j->type->type : sm_mixture_type(j->type, &j->model, t->name);
    const uint32_t fitting = sm_fallback_type(type, t->dims[0]);
    if (fallback)
        *fallback = fitting != type;
    return fitting;
}

static uint64_t rows_of(const sm_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}

static sm_status check_source(const job *j, const sm_tensor *t, uint32_t type, sm_error *error) {
    if (t->type == type)
        return SM_OK;
    if (!j->kernels->type[t->type].dequantize)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: tensor '%s' is %s, which cannot be read",
                       j->in_path, t->name, sm_dtype_get(t->type)->name);
    if (!sm_type_is_float(t->type) && !sm_type_is_float(type) && !j->o.requantize)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: tensor '%s' is quantized already (%s): encoding it again adds to its "
                       "errors and must be asked for (requantize)",
                       j->in_path, t->name, sm_dtype_get(t->type)->name);
    return SM_OK;
}

/* Whether the type asks for importance in this tensor. The embedding and the head, which have none,
 * do without, as in llama.cpp. */
static bool needs_importance(const sm_tensor *t, uint32_t type) {
    return sm_type_needs_importance(type) && t->type != type &&
           strcmp(t->name, "token_embd.weight") != 0 && strcmp(t->name, "output.weight") != 0;
}

/* ---- keys and declarations ------------------------------------------------------------------- */

/* The writer keeps its first failure until it is finished. */
static void put_keys(job *j) {
    sm_gguf_copy_keys(j->out, j->in,
                      SM_KEYS_OF_PARTS | SM_KEY_FILE_TYPE | SM_KEY_QUANTIZATION_VERSION);
    sm_gguf_put_u32(j->out, SM_K_QUANTIZATION_VERSION, 2);
    sm_gguf_put_u32(j->out, SM_K_FILE_TYPE, j->type->file_type);
}

/* Declares every tensor; finds the sizes of the buffers. */
static sm_status declare(job *j, sm_error *error) {
    sm_status status = SM_OK;
    for (uint64_t i = 0; i < j->in->n_tensors && !status; i++) {
        const sm_tensor *t = &j->in->tensors[i];
        const uint32_t type = target_type(j, t, NULL);
        status = check_source(j, t, type, error);
        if (!status && !j->importance.source && needs_importance(t, type))
            status = sm_fail(error, SM_ERR_ARGUMENT,
                             "%s: tensor '%s': type %s needs an importance matrix (imatrix)",
                             j->in_path, t->name, sm_dtype_get(type)->name);
        if (!status)
            status = sm_gguf_declare_tensor(j->out, t->name, type, t->n_dims, t->dims, error);
        j->total += t->dims[0] * rows_of(t);
        j->most_columns = t->dims[0] > j->most_columns ? t->dims[0] : j->most_columns;
    }
    return status;
}

/* What mixtures depend on, as far as the file says. */
static void look_at_model(job *j) {
    const char *architecture;
    uint64_t length;
    char key[128];
    j->model.has_output = sm_source_find_tensor(j->in, "output.weight") != NULL;
    if (sm_source_get_str(j->in, SM_K_ARCHITECTURE, &architecture, &length, NULL) || length > 64)
        return;
#define READ(suffix, to)                                                    \
    (sm_format(key, sizeof key, "%.*s." suffix, (int)length, architecture), \
     sm_source_get_u32(j->in, key, to, NULL))
    READ(SM_K_LAYERS, &j->model.n_layer);
    READ(SM_K_HEADS, &j->model.n_head);
    if (READ(SM_K_HEADS_KV, &j->model.n_head_kv))
        j->model.n_head_kv = j->model.n_head;
#undef READ
}

/* ---- one tensor ------------------------------------------------------------------------------ */

typedef struct encoding {
    const job *job;
    const sm_tensor *tensor;
    uint32_t type;
    uint8_t *out;                 /* the whole encoded tensor */
    uint64_t in_bytes, out_bytes; /* of a row */
    const float *importance;      /* [n_importance][columns] or NULL */
    uint64_t n_importance;
    uint64_t first, n; /* rows of this piece */
} encoding;

static void encode_row(const encoding *e, uint64_t row, float *x, float *y, double *square,
                       double *error) {
    const sm_type_kernels *from = &e->job->kernels->type[e->tensor->type];
    const sm_type_kernels *to = &e->job->kernels->type[e->type];
    const uint64_t columns = e->tensor->dims[0];
    const float *importance = e->importance;
    uint8_t *out = e->out + row * e->out_bytes;
    if (importance && e->n_importance > 1)
        importance += row / e->tensor->dims[1] % e->n_importance * columns;
    from->dequantize(x, sm_tensor_row(e->tensor, row, e->in_bytes), columns);
    to->encode(out, x, importance, columns);
    to->dequantize(y, out, columns);
    *square = *error = 0;
    for (uint64_t i = 0; i < columns; i++) {
        const double off = (double)x[i] - (double)y[i];
        *square += (double)x[i] * (double)x[i];
        *error += off * off;
    }
}

static void encode_share(void *arg, uint32_t thread, uint32_t n_threads) {
    const encoding *e = arg;
    float *x = e->job->rows + 2 * thread * e->job->most_columns;
    uint64_t begin, end;
    sm_share(e->n, thread, n_threads, &begin, &end);
    for (uint64_t i = begin; i < end; i++)
        encode_row(e, e->first + i, x, x + e->job->most_columns, &e->job->squares[i],
                   &e->job->errors[i]);
}

/* Why the error of a row is infinite or a NaN. */
static sm_status explain(const encoding *e, uint64_t row, sm_error *error) {
    const job *j = e->job;
    const uint64_t columns = e->tensor->dims[0];
    j->kernels->type[e->tensor->type].dequantize(
        j->rows, sm_tensor_row(e->tensor, row, e->in_bytes), columns);
    for (uint64_t i = 0; i < columns; i++)
        if (!isfinite(j->rows[i]))
            return sm_fail(error, SM_ERR_FORMAT,
                           "%s: tensor '%s': row %llu, column %llu is %s: not a number to encode",
                           j->in_path, e->tensor->name, (unsigned long long)row,
                           (unsigned long long)i, isnan(j->rows[i]) ? "NaN" : "infinite");
    return sm_fail(error, SM_ERR_FORMAT,
                   "%s: tensor '%s': row %llu holds values too large for type %s", j->in_path,
                   e->tensor->name, (unsigned long long)row, sm_dtype_get(e->type)->name);
}

/* What asks the program's hook where it is not asked for weights: while files are read and
 * written. */
static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const job *j = user;
    (void)done;
    (void)total;
    return j->o.progress ? j->o.progress(j->o.progress_user, j->done, j->total ? j->total : 1) : 0;
}

/* All rows; *square and *error_sum get the sums over them. */
static sm_status encode_rows(job *j, encoding *e, double *square, double *error_sum,
                             sm_error *error) {
    const uint64_t columns = e->tensor->dims[0], n_rows = rows_of(e->tensor);
    uint64_t piece = PIECE_WEIGHTS / columns;
    piece = piece ? piece : 1;
    for (e->first = 0; e->first < n_rows; e->first += e->n) {
        e->n = n_rows - e->first < piece ? n_rows - e->first : piece;
        sm_team_run(j->team, encode_share, e);
        for (uint64_t i = 0; i < e->n; i++) {
            if (!isfinite(j->errors[i]))
                return explain(e, e->first + i, error);
            *square += j->squares[i];
            *error_sum += j->errors[i];
        }
        j->done += e->n * columns;
        if (j->o.progress && j->o.progress(j->o.progress_user, j->done, j->total))
            return SM_ERR_CANCELLED;
    }
    return SM_OK;
}

static sm_status encode_tensor(job *j, const sm_tensor *t, uint32_t type, sm_quantize_tensor *what,
                               sm_error *error) {
    const sm_dtype_traits *from = sm_dtype_get(t->type), *to = sm_dtype_get(type);
    encoding e = {.job = j, .tensor = t, .type = type};
    e.in_bytes = t->dims[0] / from->block_size * from->block_bytes;
    e.out_bytes = t->dims[0] / to->block_size * to->block_bytes;
    const uint64_t size = e.out_bytes * rows_of(t), n = t->dims[0] * rows_of(t);
    float *importance = NULL;
    double square = 0, error_sum = 0;
    sm_status status = SM_OK;
    if (j->importance.source && !sm_type_is_float(type))
        status = sm_importance_get(&importance, &e.n_importance, &j->importance, j->mem, t, error);
    if (!status && !importance && needs_importance(t, type))
        status = sm_fail(error, SM_ERR_MISSING,
                         "%s: the importance matrix has no '%s', which type %s needs", j->o.imatrix,
                         t->name, to->name);
    if (status)
        return status;
    e.importance = importance;
    e.out = sm_alloc(j->mem, size);
    if (!e.out)
        status = sm_fail(error, SM_ERR_NOMEM, "%s: tensor '%s': out of memory for its %llu bytes",
                         j->in_path, t->name, (unsigned long long)size);
    if (!status)
        status = encode_rows(j, &e, &square, &error_sum, error);
    if (!status)
        status = sm_gguf_write_tensor(j->out, e.out, size, error);
    what->rms = sqrt(square / (double)n);
    what->rmse = sqrt(error_sum / (double)n);
    /* Q8_0 is exact enough that its encoder leaves importance out of account */
    what->by_imatrix = importance != NULL && type != SM_DTYPE_Q8_0;
    what->bytes_after = size;
    j->result.n_quantized++;
    j->result.n_imatrix += what->by_imatrix;
    j->result.n_fallback += what->fallback;
    sm_free(j->mem, e.out);
    sm_free(j->mem, importance);
    return status;
}

/* A tensor that is copied, looked at for damage by all threads. */
typedef struct inspection {
    const job *job;
    const sm_tensor *tensor;
    uint64_t first, n;             /* rows of this piece */
    _Atomic uint64_t *damaged_row; /* the first; UINT64_MAX: none */
} inspection;

static void inspect_share(void *arg, uint32_t thread, uint32_t n_threads) {
    const inspection *e = arg;
    float *row = e->job->rows + 2 * thread * e->job->most_columns;
    uint64_t begin, end;
    sm_share(e->n, thread, n_threads, &begin, &end);
    for (uint64_t r = e->first + begin; r < e->first + end; r++) {
        if (!sm_rows_check(e->job->in, e->tensor, e->job->kernels, r, r + 1, row, NULL))
            continue;
        uint64_t least = atomic_load(e->damaged_row);
        while (r < least && !atomic_compare_exchange_weak(e->damaged_row, &least, r)) {
        }
        return;
    }
}

static sm_status inspect(job *j, const sm_tensor *t, sm_error *error) {
    const uint64_t n_rows = j->kernels->type[t->type].dequantize ? rows_of(t) : 0;
    const uint64_t piece = t->dims[0] < PIECE_WEIGHTS ? PIECE_WEIGHTS / t->dims[0] : 1;
    _Atomic uint64_t damaged = UINT64_MAX;
    inspection e = {.job = j, .tensor = t, .damaged_row = &damaged};
    for (e.first = 0; e.first < n_rows; e.first += e.n) {
        e.n = n_rows - e.first < piece ? n_rows - e.first : piece;
        sm_team_run(j->team, inspect_share, &e);
        const uint64_t row = atomic_load(&damaged);
        if (row != UINT64_MAX) /* once more, for the message */
            return sm_rows_check(j->in, t, j->kernels, row, row + 1, j->rows, error);
        j->done += e.n * t->dims[0];
        if (ask(j, 0, 0))
            return SM_ERR_CANCELLED;
    }
    return SM_OK;
}

static sm_status copy_tensor(job *j, const sm_tensor *t, sm_error *error) {
    const uint64_t done = j->done + t->dims[0] * rows_of(t);
    sm_status status = inspect(j, t, error);
    if (status)
        return status;
    j->done = done;
    status = sm_gguf_write_copy(j->out, t, error);
    return !status && ask(j, 0, 0) ? SM_ERR_CANCELLED : status;
}

static sm_status write_tensor(job *j, const sm_tensor *t, sm_error *error) {
    bool fallback;
    const uint32_t type = target_type(j, t, &fallback);
    sm_quantize_tensor what = {.struct_size = sizeof what,
                               .name = t->name,
                               .from = sm_dtype_get(t->type)->name,
                               .to = sm_dtype_get(type)->name,
                               .n_weights = t->dims[0] * rows_of(t),
                               .bytes_before = t->size,
                               .bytes_after = t->size,
                               .fallback = fallback && type != t->type,
                               .copied = type == t->type};
    sm_status status =
        type == t->type ? copy_tensor(j, t, error) : encode_tensor(j, t, type, &what, error);
    sm_source_release(j->in, t);
    j->result.bytes_before += what.bytes_before;
    j->result.bytes_after += what.bytes_after;
    if (!status && j->o.on_tensor && j->o.on_tensor(j->o.on_tensor_user, &what))
        status = SM_ERR_CANCELLED;
    return status;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* The caller's list into one of this version's structs. */
static sm_status take_overrides(job *j, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_quantize_override, pattern), {0, 0, 0}};
    if (!j->o.n_overrides)
        return SM_OK;
    if (!j->o.overrides)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_quantize: option overrides is NULL");
    j->overrides = sm_alloc_array(j->mem, j->o.n_overrides, sizeof *j->overrides);
    if (!j->overrides)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for overrides");
    return sm_structs_take(j->overrides, sizeof *j->overrides, wide, j->o.overrides,
                           j->o.n_overrides, "sm_quantize_override", error);
}

static sm_status check_options(job *j, sm_error *error) {
    const sm_quantize_options *o = &j->o;
    if (!o->type)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_quantize: option type is NULL");
    const sm_status taken = take_overrides(j, error);
    if (taken)
        return taken;
    j->type = sm_model_type_find(o->type, SM_TYPES_ALL, error);
    if (!j->type)
        return SM_ERR_ARGUMENT;
    for (uint64_t i = 0; i < o->n_overrides; i++) {
        if (!j->overrides[i].pattern || !j->overrides[i].type)
            return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_quantize: override %llu holds a NULL",
                           (unsigned long long)i);
        const sm_model_type *type = sm_model_type_find(j->overrides[i].type, SM_TYPES_ALL, error);
        if (!type)
            return SM_ERR_ARGUMENT;
        if (sm_model_type_kind(type) == SM_TYPES_MIXED)
            return sm_fail(error, SM_ERR_ARGUMENT,
                           "'%s' is a mixture: for single tensors the type must be one",
                           type->name);
    }
    return SM_OK;
}

/* A pattern that fits nothing is a slip of the pen. */
static sm_status check_overrides(const job *j, sm_error *error) {
    for (uint64_t i = 0; i < j->o.n_overrides; i++) {
        const char *pattern = j->overrides[i].pattern;
        bool fits = false;
        for (uint64_t t = 0; t < j->in->n_tensors && !fits; t++)
            fits =
                sm_tensor_is_matrix(&j->in->tensors[t]) && sm_glob(pattern, j->in->tensors[t].name);
        if (!fits)
            return sm_fail(error, SM_ERR_ARGUMENT, "%s: the pattern '%s' fits no matrix's name",
                           j->in_path, pattern);
    }
    return SM_OK;
}

/* Threads, kernels and the buffers of rows. */
static sm_status prepare(job *j, sm_error *error) {
    uint32_t n_threads = j->o.n_threads;
    if (!n_threads) {
        n_threads = sm_cpu_count();
        n_threads = n_threads < DEFAULT_THREADS ? n_threads : DEFAULT_THREADS;
    }
    sm_status status = sm_team_new(&j->team, j->mem, n_threads, error);
    if (status || !j->most_columns)
        return status;
    /* a piece has at most one row more than PIECE_WEIGHTS weights, and no fewer columns than 1 */
    j->rows = sm_alloc_array(j->mem, 2 * (uint64_t)n_threads * j->most_columns, sizeof *j->rows);
    j->squares = sm_alloc_array(j->mem, PIECE_WEIGHTS, sizeof *j->squares);
    j->errors = sm_alloc_array(j->mem, PIECE_WEIGHTS, sizeof *j->errors);
    if (!j->rows || !j->squares || !j->errors)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for rows of %llu weights",
                       j->in_path, (unsigned long long)j->most_columns);
    return SM_OK;
}

static sm_status run(job *j, const char *out_path, sm_error *error) {
    sm_status status = check_options(j, error);
    if (!status)
        status = sm_source_open_asking(&j->in, j->mem, j->in_path, true, &(sm_hook){ask, j}, error);
    if (!status)
        status = sm_source_expect(j->in, SM_GGUF_HOLDS_MODEL | SM_GGUF_HOLDS_OTHER, error);
    if (!status)
        status = check_overrides(j, error);
    if (!status && j->o.imatrix)
        status = sm_importance_open(&j->importance, j->mem, j->o.imatrix, error);
    if (!status) {
        j->kernels = sm_kernels_get(sm_level_best(j->o.level));
        look_at_model(j);
        status = sm_gguf_writer_open(&j->out, j->mem, out_path, 3, j->in->alignment, error);
    }
    if (!status) {
        sm_gguf_writer_ask(j->out, &(sm_hook){ask, j});
        put_keys(j);
        status = declare(j, error);
    }
    if (!status)
        status = prepare(j, error);
    j->result.n_tensors = status ? 0 : j->in->n_tensors;
    for (uint64_t i = 0; !status && i < j->in->n_tensors; i++)
        status = write_tensor(j, &j->in->tensors[i], error);
    if (!status) {
        status = sm_gguf_writer_finish(j->out, error);
        j->out = NULL;
    }
    return status;
}

static const sm_wide result_wide[] = {SM_WIDE_FROM(sm_quantize_result, n_tensors), {0, 0, 0}};

sm_status sm_model_quantize(const char *out_path, const char *in_path,
                            const sm_quantize_options *options, sm_quantize_result *result,
                            sm_error *error) {
    job j = {.in_path = in_path};
    if (!in_path || !out_path || !options)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_model_quantize: a path or options is NULL");
    sm_status status = sm_options_take(&j.o, sizeof j.o, options, SM_OPTIONS_QUANTIZE, error);
    if (!status)
        status = sm_mem_create(&j.mem, j.o.allocator, 0, error);
    if (status)
        return status;
    sm_ask asked;
    sm_join_progress(&asked, &j.o.progress, &j.o.progress_user, j.o.cancel_flag);
    status = run(&j, out_path, error);
    if (status == SM_ERR_CANCELLED) /* whatever it was that asked */
        sm_fail(error, status, "%s: quantizing was cancelled", in_path);
    sm_gguf_writer_abort(j.out);
    sm_team_free(j.team);
    sm_free(j.mem, j.overrides);
    sm_free(j.mem, j.rows);
    sm_free(j.mem, j.squares);
    sm_free(j.mem, j.errors);
    if (j.importance.source)
        sm_importance_close(&j.importance);
    sm_source_close(j.in);
    sm_mem_destroy(j.mem);
    if (!status && result)
        status = sm_struct_give(result, &j.result, sizeof j.result, result_wide,
                                "sm_model_quantize", error);
    return status;
}
