/* What every format's tensor directory needs: sizes of shapes, sorting by name or place. */
#include "format/format.h"

#include <inttypes.h>

sm_status sm_tensor_bytes(uint32_t type, uint32_t n_dims, const uint64_t *dims, uint64_t *bytes,
                          const char *subject, sm_error *error) {
    const sm_dtype_traits *traits = sm_dtype_get(type);
    if (!traits)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: type %u is not one of the format (unknown or removed)", subject, type);
    if (n_dims > SM_SOURCE_MAX_DIMS)
        return sm_fail(error, SM_ERR_FORMAT, "%s: %u dimensions, more than %d", subject, n_dims,
                       SM_SOURCE_MAX_DIMS);
    uint64_t elements = 1, row = n_dims ? dims[0] : 1;
    for (uint32_t k = 0; k < n_dims; k++) {
        if (dims[k] == 0)
            return sm_fail(error, SM_ERR_FORMAT, "%s: dimension %u is 0", subject, k);
        if (sm_mul_over(elements, dims[k], &elements) || elements > INT64_MAX)
            return sm_fail(error, SM_ERR_FORMAT, "%s: the product of its dimensions is too large",
                           subject);
    }
    if (row % traits->block_size)
        return sm_fail(error, SM_ERR_FORMAT,
                       "%s: rows of %" PRIu64 " elements are not whole blocks of %u (%s)", subject,
                       row, traits->block_size, traits->name);
    if (sm_mul_over(elements / traits->block_size, traits->block_bytes, bytes) ||
        *bytes > INT64_MAX)
        return sm_fail(error, SM_ERR_FORMAT, "%s: its size in bytes is too large", subject);
    return SM_OK;
}

/* Bottom-up merge sort: no recursion, and no input makes it slower than n log n. */
uint32_t *sm_sort_indices(sm_mem *mem, uint64_t n, sm_order_fn order, const void *context) {
    uint32_t *from = sm_alloc_array(mem, n, sizeof *from);
    uint32_t *to = sm_alloc_array(mem, n, sizeof *to);
    if (!from || !to) {
        sm_free(mem, from);
        sm_free(mem, to);
        return NULL;
    }
    for (uint64_t i = 0; i < n; i++)
        from[i] = (uint32_t)i;
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t begin = 0; begin < n; begin += 2 * width) {
            uint64_t middle = begin + width < n ? begin + width : n;
            uint64_t end = middle + width < n ? middle + width : n;
            for (uint64_t a = begin, b = middle, k = begin; k < end; k++)
                if (b >= end || (a < middle && order(context, from[a], from[b]) <= 0))
                    to[k] = from[a++];
                else
                    to[k] = from[b++];
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    sm_free(mem, to);
    return from;
}

void sm_source_release(const sm_source *source, const sm_tensor *t) {
    const uint64_t n_rows = sm_tensor_rows(t), row_bytes = t->size / n_rows;
    for (uint64_t row = 0, n; row < n_rows; row += n) {
        n = sm_tensor_rows_left(t, row);
        for (uint32_t i = 0; i < source->n_files; i++) /* of none where it was converted */
            sm_file_release(&source->files[i], sm_tensor_row(t, row, row_bytes), n * row_bytes);
    }
}
