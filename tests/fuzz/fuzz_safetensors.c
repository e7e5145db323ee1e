/* Fuzz target of safetensors files and of directories: the input is a config.json, a zero byte and
 * a model.safetensors; without a zero byte a safetensors file alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/hf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_safetensors: %s\n", what);
        abort();
    }
}

/* Sums what it can read, so that a sanitizer sees what lies outside. */
static unsigned look_at(const uint8_t *data, uint64_t size) {
    unsigned sum = 0;
    for (uint64_t i = 0; i < size; i++)
        sum += data[i];
    return sum;
}

static void look_at_file(const uint8_t *data, size_t size, sm_mem *mem) {
    sm_safetensors st;
    sm_error error = {0};
    const uint64_t none = size > 8 ? size - 8 : 0;
    if (sm_safetensors_read(&st, mem, data, size, "fuzz", NULL, &error)) {
        require(error.code != SM_OK && error.message[0] != 0, "no message");
        return;
    }
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < st.n; i++) {
        const sm_st_tensor *t = &st.tensors[i];
        require(sm_safetensors_find(&st, t->name) == t, "a tensor is not found");
        require(t->data >= data && t->size <= none && (size_t)(t->data - data) <= size - t->size,
                "tensor data outside the file");
        bytes += t->size;
    }
    require(bytes <= none, "tensors overlap");
    sm_safetensors_free(&st);
}

static void look_at_directory(const uint8_t *config, size_t config_size, const uint8_t *weights,
                              size_t size, sm_mem *mem) {
    sm_source *source;
    sm_error error = {0};
    if (hf_open_bytes(&source, mem, config, config_size, weights, size, &error)) {
        require(error.code != SM_OK && error.message[0] != 0, "no message");
        return;
    }
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const sm_tensor *t = &source->tensors[i];
        const uint64_t n_rows = sm_tensor_rows(t), row_bytes = t->size / n_rows;
        unsigned sum = 0;
        for (uint64_t row = 0; row < n_rows; row++)
            sum += look_at(sm_tensor_row(t, row, row_bytes), row_bytes);
        require(sum || t->size, "an empty tensor");
        require(sm_source_find_tensor(source, t->name) == t, "a tensor is not found");
    }
    sm_source_fingerprint(source);
    sm_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sm_mem mem;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t before = zero ? (size_t)(zero - data) : 0;
    sm_mem_init(&mem, NULL, 64 << 20, NULL);
    /* a safetensors file begins with its header's length, which has zero bytes */
    if (zero && before >= 8) {
        const uint64_t left = size - before - 1;
        uint8_t *weights = malloc(left ? left : 1); /* so that reads past the end are seen */
        require(weights != NULL, "out of memory");
        if (left)
            memcpy(weights, zero + 1, left);
        look_at_directory(data, before, weights, left, &mem);
        free(weights);
    } else {
        look_at_file(data, size, &mem);
    }
    return 0;
}
