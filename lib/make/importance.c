/* Reading importance matrices: GGUF files (and what is made of older ones) with NAME.in_sum2
 * [columns] (or [columns][n]), the sums of squared inputs, and NAME.counts [1] (or [1][n]), of how
 * many inputs. Format: https://github.com/ggml-org/llama.cpp/pull/9400 */
#include "make.h"

#include <math.h>
#include <string.h>

sm_status sm_importance_open(sm_importance *importance, sm_mem *mem, const char *path,
                             sm_error *error) {
    sm_file file;
    *importance = (sm_importance){.mem = mem};
    if (sm_path_is_file(path) && !sm_file_open(&file, mem, path, true, NULL)) {
        const bool old = sm_is_old_imatrix(file.data, file.size);
        const sm_status opened =
            old ? sm_importance_open_old(importance, mem, &file, path, error) : SM_OK;
        sm_file_close(&file);
        if (old)
            return opened;
    }
    sm_status status = sm_source_open(&importance->source, mem, path, true, error);
    if (status)
        return status;
    status = sm_source_expect(importance->source, SM_GGUF_HOLDS_IMATRIX, error);
    if (status)
        sm_importance_close(importance);
    return status;
}

void sm_importance_close(sm_importance *importance) {
    sm_source_close(importance->source);
    importance->source = NULL;
    if (importance->image)
        sm_free(importance->mem, importance->image);
    importance->image = NULL;
}

static const sm_tensor *find(const sm_source *source, const char *name, const char *suffix,
                             char *full, size_t capacity) {
    if (sm_format(full, capacity, "%s%s", name, suffix) >= capacity)
        return NULL;
    return sm_source_find_tensor(source, full);
}

static float float_at(const sm_tensor *t, uint64_t i) {
    float value;
    memcpy(&value, t->data + 4 * i, sizeof value);
    return value;
}

/* The sums of one matrix divided by its count. */
static sm_status divide(float *out, const sm_tensor *sums, uint64_t begin, uint64_t n, float count,
                        const char *path, sm_error *error) {
    for (uint64_t i = 0; i < n; i++) {
        const float sum = float_at(sums, begin + i);
        if (!(sum >= 0) || !isfinite(sum))
            return sm_fail(error, SM_ERR_FORMAT, "%s: tensor '%s': element %llu is %g", path,
                           sums->name, (unsigned long long)(begin + i), (double)sum);
        out[i] = count > 0 ? sum / count : 1; /* not used when measured: nothing is known */
    }
    return SM_OK;
}

sm_status sm_importance_get(float **out, uint64_t *n_matrices, const sm_importance *importance,
                            sm_mem *mem, const sm_tensor *tensor, sm_error *error) {
    char name[512];
    const sm_source *source = importance->source;
    const uint64_t columns = tensor->dims[0];
    *out = NULL;
    const sm_tensor *sums = find(source, tensor->name, ".in_sum2", name, sizeof name);
    if (!sums)
        return SM_OK;
    const sm_tensor *counts = find(source, tensor->name, ".counts", name, sizeof name);
    if (sums->type != SM_DTYPE_F32 || !counts || counts->type != SM_DTYPE_F32)
        return sm_fail(error, SM_ERR_FORMAT,
                       "%s: tensor '%s' is not F32 or lacks its .counts of type F32", source->path,
                       sums->name);
    /* of old files the sums of all experts are one vector, and so often had each been used */
    const bool flat = importance->image && sums->dims[0] % columns == 0;
    *n_matrices = sums->size / 4 / columns;
    if ((sums->dims[0] != columns && !flat) ||
        (*n_matrices != 1 && *n_matrices != tensor->dims[2]) ||
        counts->size / 4 != (flat ? 1 : *n_matrices))
        return sm_fail(error, SM_ERR_SHAPE,
                       "%s: tensor '%s' has %llu elements (and %llu counts), but the matrix '%s' "
                       "has %llu columns",
                       source->path, sums->name, (unsigned long long)(sums->size / 4),
                       (unsigned long long)(counts->size / 4), tensor->name,
                       (unsigned long long)columns);
    float *values = sm_alloc_array(mem, *n_matrices * columns, sizeof *values);
    if (!values)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    sm_status status = SM_OK;
    for (uint64_t m = 0; m < *n_matrices && !status; m++) {
        const float count = float_at(counts, flat ? 0 : m);
        status = isfinite(count)
                     ? divide(values + m * columns, sums, m * columns, columns, count, source->path,
                              error)
                     : sm_fail(error, SM_ERR_FORMAT, "%s: tensor '%s': element %llu is %g",
                               source->path, counts->name, (unsigned long long)m, (double)count);
    }
    if (status)
        sm_free(mem, values);
    else
        *out = values;
    return status;
}
