/* Sealed files: format.h says what they are. */
#include "format/format.h"

#include <string.h>

#define PIECE \
    ((uint64_t)4 << 20) /* bytes between two questions: less than a millisecond of summing */

/* The seal must be the last thing in the file: what would follow it is outside its sum. */
static bool ends_file(const sm_source *source, const sm_tensor *seal) {
    const sm_file *file = &source->files[seal->shard];
    const uint64_t left = file->size - (uint64_t)(seal->data - file->data);
    uint64_t rest = seal->size;
    while (rest < left && !seal->data[rest])
        rest++;
    return rest == left &&
           left == (seal->size + source->alignment - 1) / source->alignment * source->alignment;
}

sm_status sm_source_check_seal(const sm_source *source, const sm_hook *hook, sm_error *error) {
    const sm_tensor *seal = sm_source_find_tensor(source, SM_GGUF_SEAL);
    if (!seal)
        return sm_fail(error, SM_ERR_MISSING, "%s: no checksum (tensor '" SM_GGUF_SEAL "')",
                       source->path);
    if (source->n_files != 1 || seal->size != SM_GGUF_SEAL_BYTES || !ends_file(source, seal))
        return sm_fail(error, SM_ERR_FORMAT, "%s: the file does not end with its checksum",
                       source->path);
    const uint8_t *data = source->files[0].data;
    const uint64_t size = (uint64_t)(seal->data - data);
    sm_sum *sum = sm_sum_new(source->mem);
    if (!sum)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", source->path);
    sm_status status = SM_OK;
    for (uint64_t at = 0; at < size && !status; at += PIECE) {
        if (sm_hook_ends(hook, at, size))
            status = sm_fail(error, SM_ERR_CANCELLED, "%s: reading was cancelled", source->path);
        else
            sm_sum_add(sum, data + at, size - at < PIECE ? size - at : PIECE);
    }
    if (!status && sm_sum_value(sum) != sm_load_le(seal->data, SM_GGUF_SEAL_BYTES))
        status = sm_fail(error, SM_ERR_FORMAT, "%s: the file is damaged (checksum)", source->path);
    sm_free(source->mem, sum);
    return status;
}
