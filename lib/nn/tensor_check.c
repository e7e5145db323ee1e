/* Weights of files that are infinite or NaN, where they would be written on or trained. */
#include "weight.h"

/* Looked at between questions: some milliseconds. */
#define PIECE_WEIGHTS ((uint64_t)1 << 20)

sm_status sm_rows_check(const sm_source *source, const sm_tensor *t, const sm_kernels *kernels,
                        uint64_t begin, uint64_t end, float *row, sm_error *error) {
    const uint64_t columns = t->dims[0], n_rows = t->dims[1] * t->dims[2] * t->dims[3];
    for (uint64_t r = begin; r < end && kernels->type[t->type].dequantize; r++) {
        kernels->type[t->type].dequantize(row, sm_tensor_row(t, r, t->size / n_rows), columns);
        const uint64_t column = sm_first_not_finite(row, columns);
        if (column < columns)
            return sm_fail(error, SM_ERR_FORMAT,
                           "%s: tensor '%s': row %llu, column %llu is %g: the weights are damaged",
                           source->path, t->name, (unsigned long long)r, (unsigned long long)column,
                           (double)row[column]);
    }
    return SM_OK;
}

sm_status sm_tensor_check(const sm_source *source, const sm_tensor *t, const sm_kernels *kernels,
                          sm_mem *mem, const sm_hook *hook, sm_error *error) {
    const uint64_t columns = t->dims[0] ? t->dims[0] : 1;
    const uint64_t n_rows = t->dims[1] * t->dims[2] * t->dims[3];
    const uint64_t piece = columns < PIECE_WEIGHTS ? PIECE_WEIGHTS / columns : 1;
    float *row = sm_alloc_array(mem, columns, sizeof *row);
    sm_status status = row ? SM_OK
                           : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for a row of '%s'",
                                     source->path, t->name);
    for (uint64_t r = 0; r < n_rows && !status; r += piece) {
        const uint64_t end = n_rows - r < piece ? n_rows : r + piece;
        status = sm_rows_check(source, t, kernels, r, end, row, error);
        if (!status && sm_hook_ends(hook, end, n_rows))
            status = sm_fail(error, SM_ERR_CANCELLED, "cancelled");
    }
    sm_free(mem, row);
    return status;
}
