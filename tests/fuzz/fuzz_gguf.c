/* Fuzz target of the GGUF reader. Built with -Dfuzz=true (clang) it is a libFuzzer
 * program; otherwise it replays the files and the files of the directories it is given,
 * which is how the test suite runs the corpus. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_gguf: %s\n", what);
        abort();
    }
}

/* Everything a caller can read from an open file. */
static void look(const sm_source *gguf, const uint8_t *data, size_t size) {
    char text[64];
    sm_gguf_info info = {.struct_size = sizeof info};
    require(sm_gguf_get_info(gguf, &info, NULL) == SM_OK, "no info");
    for (uint64_t i = 0; i < info.n_keys; i++) {
        const char *name, *type;
        uint64_t n;
        uint32_t u32;
        double f64;
        require(sm_gguf_get_key(gguf, i, &name, &type, NULL) == SM_OK, "no key");
        require(sm_source_find_key(gguf, name) == &gguf->keys[i], "a key is not found");
        require(strlen(type) > 0, "no type");
        sm_status status = sm_gguf_get_value(gguf, i, 100, text, sizeof text, &n, NULL);
        require(status == (n < sizeof text ? SM_OK : SM_ERR_BUFFER), "wrong length of a value");
        sm_source_get_u32(gguf, name, &u32, NULL);
        sm_source_get_f64(gguf, name, &f64, NULL);
    }
    for (uint64_t i = 0; i < info.n_tensors; i++) {
        const sm_tensor *t = &gguf->tensors[i];
        sm_gguf_tensor_info tensor = {.struct_size = sizeof tensor};
        sm_packed_tensor packed;
        sm_error error = {0};
        require(sm_gguf_get_tensor(gguf, i, &tensor, NULL) == SM_OK, "no tensor");
        sm_status status = sm_source_get_packed(gguf, t, &packed, &error);
        require(status ? error.message[0] != 0
                       : !packed.packed || (packed.rows > 0 && packed.cols > 0 &&
                                            sm_dtype_get(packed.type) && tensor.packed),
                "a packed tensor of no shape");
        require(sm_source_find_tensor(gguf, tensor.name) == t, "a tensor is not found");
        require(t->size > 0 && t->data >= data && t->size <= size &&
                    (size_t)(t->data - data) <= size - t->size,
                "tensor data outside the file");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sm_mem mem;
    sm_source *gguf;
    sm_error error = {0};
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_status status = sm_source_open_bytes(&gguf, &mem, data, size, "fuzz", &error);
    require(status == SM_OK || (!gguf && error.code == status && error.message[0]), "no reason");
    require(mem.peak <= size + ((uint64_t)16 << 20), "too much memory");
    if (gguf)
        look(gguf, data, size);
    sm_source_close(gguf);
    require(mem.in_use == 0, "a leak");
    return 0;
}

#if !defined(SM_LIBFUZZER)
static unsigned n_replayed;

static void replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0, capacity = 0;
    for (size_t n = 1; f && n > 0; size += n) {
        if (size == capacity) {
            capacity = capacity * 2 + 4096;
            data = realloc(data, capacity);
            require(data != NULL, "out of memory");
        }
        n = fread(data + size, 1, capacity - size, f);
    }
    require(f && !ferror(f), path);
    fclose(f);
    data = realloc(data, size ? size : 1); /* so that reads past the end are seen */
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    n_replayed++;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        if (!directory)
            replay_file(argv[i]);
        for (struct dirent *e; directory && (e = readdir(directory));) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.')
                replay_file(path);
        }
        if (directory)
            closedir(directory);
    }
    printf("%u inputs replayed\n", n_replayed);
    return n_replayed ? 0 : 1;
}
#endif
