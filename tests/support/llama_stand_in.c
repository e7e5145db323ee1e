/* Stands in for the libraries of llama.cpp in test_peers.py, which copies it under all their
 * names: computes nothing, and notes what it is asked for in the file named by LLAMA_NOTES. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* As llama.cpp's begins; what follows has any size. */
typedef struct context_params {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq_max;
    uint64_t more[13];
} context_params;

typedef struct model_params {
    uint64_t words[9];
} model_params;

typedef struct batch {
    int32_t n_tokens;
    int32_t *token;
    float *embd;
    int32_t *pos;
    int32_t *n_seq_id;
    int32_t **seq_id;
    int8_t *logits;
} batch;

#define N_VOCAB 1000
#define MARK 0x1234567890ABCDEFu /* comes back where a struct is handed on whole */
static char model, context, memory, vocab;
static char pool = 'p'; /* of the CPU backend's copy */

EXPORT void ggml_backend_load_all_from_path(const char *folder);
EXPORT void *ggml_backend_load(const char *path);
EXPORT const char *ggml_commit(void);
EXPORT void ggml_threadpool_params_init(void *params, int n_threads);
EXPORT void *ggml_threadpool_new(const void *params);
EXPORT void llama_backend_init(void);
EXPORT const char *llama_version(void);
EXPORT model_params llama_model_default_params(void);
EXPORT void *llama_model_load_from_file(const char *path, model_params params);
EXPORT context_params llama_context_default_params(void);
EXPORT void *llama_init_from_model(const void *of, context_params params);
EXPORT void llama_set_n_threads(void *of, int32_t n_decode, int32_t n_prefill);
EXPORT void llama_attach_threadpool(void *of, void *one, void *other);
EXPORT const void *llama_model_get_vocab(const void *of);
EXPORT int32_t llama_vocab_n_tokens(const void *of);
EXPORT void *llama_get_memory(const void *of);
EXPORT bool llama_memory_seq_rm(void *of, int32_t sequence, int32_t from, int32_t to);
EXPORT void llama_memory_seq_cp(void *of, int32_t source, int32_t target, int32_t from, int32_t to);
EXPORT int32_t llama_decode(void *of, batch b);
EXPORT void llama_synchronize(void *of);

static FILE *notes(void) {
    static FILE *file;
    const char *path = getenv("LLAMA_NOTES");
    if (!file) {
        file = fopen(path ? path : "/dev/null", "a");
        setvbuf(file, NULL, _IOLBF, 0); /* the process ends without closing it */
    }
    return file;
}

static void *load(const char *path) {
    fprintf(notes(), "load %s\n", path);
    return dlopen(path, RTLD_NOW);
}

void ggml_backend_load_all_from_path(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/libggml-cpu-best.so", folder);
    load(path);
}

void *ggml_backend_load(const char *path) {
    return load(path);
}

const char *ggml_commit(void) {
    return "abc";
}

void ggml_threadpool_params_init(void *params, int n_threads) {
    memcpy(params, &n_threads, sizeof n_threads);
}

void *ggml_threadpool_new(const void *params) {
    int n_threads;
    memcpy(&n_threads, params, sizeof n_threads);
    fprintf(notes(), "pool %d\n", n_threads);
    return &pool;
}

void llama_backend_init(void) {}

const char *llama_version(void) {
    return "1.2";
}

model_params llama_model_default_params(void) {
    return (model_params){.words = {[8] = MARK}};
}

void *llama_model_load_from_file(const char *path, model_params params) {
    return path && params.words[8] == MARK ? &model : NULL;
}

context_params llama_context_default_params(void) {
    return (context_params){512, 2048, 512, 1, {[12] = MARK}};
}

void *llama_init_from_model(const void *of, context_params params) {
    fprintf(notes(), "context %u batch %u %u sequences %u\n", params.n_ctx, params.n_batch,
            params.n_ubatch, params.n_seq_max);
    return of == &model && params.more[12] == MARK ? &context : NULL;
}

void llama_set_n_threads(void *of, int32_t n_decode, int32_t n_prefill) {
    if (of == &context)
        fprintf(notes(), "threads %d %d\n", n_decode, n_prefill);
}

void llama_attach_threadpool(void *of, void *one, void *other) {
    if (of == &context && one == other && *(const char *)one == 'p')
        fputs("attach\n", notes());
}

const void *llama_model_get_vocab(const void *of) {
    return of == &model ? &vocab : NULL;
}

int32_t llama_vocab_n_tokens(const void *of) {
    return of == &vocab ? N_VOCAB : 0;
}

void *llama_get_memory(const void *of) {
    return of == &context ? &memory : NULL;
}

bool llama_memory_seq_rm(void *of, int32_t sequence, int32_t from, int32_t to) {
    fprintf(notes(), "remove %d %d %d\n", sequence, from, to);
    return of == &memory;
}

void llama_memory_seq_cp(void *of, int32_t source, int32_t target, int32_t from, int32_t to) {
    if (of == &memory)
        fprintf(notes(), "copy %d %d %d %d\n", source, target, from, to);
}

/* Each token as position:sequence, with ! where its logits are wanted. */
int32_t llama_decode(void *of, batch b) {
    if (of != &context || b.embd)
        return 1;
    fputs("decode", notes());
    for (int32_t i = 0; i < b.n_tokens; i++) {
        if (b.n_seq_id[i] != 1 || b.token[i] < 0 || b.token[i] >= N_VOCAB)
            return 1;
        fprintf(notes(), " %d:%d%s", b.pos[i], b.seq_id[i][0], b.logits[i] ? "!" : "");
    }
    fputs("\n", notes());
    return 0;
}

void llama_synchronize(void *of) {
    (void)of;
}
