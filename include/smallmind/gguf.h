/* smallmind/gguf.h - look into a GGUF file: keys and tensors, nothing computed.
 *
 * Opens any well-formed GGUF v2 or v3 file, also of models this library cannot
 * run. Immutable, usable from many threads at a time.
 *
 * A Hugging Face directory opens as well, if its model can be computed: its keys and tensors under
 * the names that they would have in a GGUF file.
 */
#ifndef SMALLMIND_GGUF_H
#define SMALLMIND_GGUF_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_gguf sm_gguf;

enum {
    SM_IO_MAP = 0,  /* map the file: fast, shared pages; the file must not shrink meanwhile */
    SM_IO_READ = 1, /* read it into memory: no surprise if the file changes later */
};

typedef struct sm_gguf_options {
    uint32_t struct_size;
    uint32_t io; /* SM_IO_… */
    const sm_allocator *allocator;
    sm_progress_fn progress; /* NULL: none; bytes of the file (of a split model: of each part) while
                                it is read into memory, or where its directory is very long */
    void *progress_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_gguf_options;

/* What a file holds, told by its keys. */
enum {
    SM_GGUF_HOLDS_MODEL = 1,
    SM_GGUF_HOLDS_PACKED = 2,      /* a model in the layout that is computed from (model.h) */
    SM_GGUF_HOLDS_VOCABULARY = 4,  /* and no weights */
    SM_GGUF_HOLDS_ADAPTER = 8,     /* LoRA (adapter.h) */
    SM_GGUF_HOLDS_IMATRIX = 16,    /* an importance matrix (quantize.h) */
    SM_GGUF_HOLDS_CHECKPOINT = 32, /* of a training (train.h) */
    /* a projector of images or sound, a control vector, a saved session (generate.h) */
    SM_GGUF_HOLDS_OTHER = 64,
};

typedef struct sm_gguf_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t version;     /* of GGUF; 0: a Hugging Face directory */
    uint32_t alignment;   /* bytes */
    uint32_t n_files;     /* parts of a split model; of a directory files of weights */
    uint64_t n_keys;
    uint64_t n_tensors;
    uint64_t n_elements; /* over all tensors; of packed ones the weights they stand for */
    uint64_t data_bytes; /* over all tensors */
    uint64_t holds;      /* SM_GGUF_HOLDS_… */
} sm_gguf_info;

typedef struct sm_gguf_tensor_info {
    uint32_t struct_size; /* set by the caller */
    uint32_t type;        /* GGUF type number */
    const char *name;     /* valid as long as the handle, like type_name */
    const char *type_name;
    uint32_t n_dims;
    uint32_t file;    /* which part */
    uint64_t dims[4]; /* dims[0] is contiguous; 1 where absent */
    uint64_t offset;  /* bytes from the start of the part's data section, of a directory's file; 0
                         where it was converted */
    uint64_t size;    /* bytes */
    /* What it stands for: in a file of sm_model_save_packed a matrix is stored as bytes
     * (I8) in the kernels' layout. Of other tensors the same as type, type_name, dims. */
    uint32_t packed; /* 1 if so */
    uint32_t weight_type;
    const char *weight_type_name;
    uint64_t weight_dims[4];
} sm_gguf_tensor_info;

/* SM_ERR_IO, _FORMAT, _UNSUPPORTED, _NOMEM, _ARGUMENT, _CANCELLED. */
SM_API sm_status SM_CALL sm_gguf_load(sm_gguf **out, const char *path,
                                      const sm_gguf_options *options, sm_error *error);
/* The same from anywhere (types.h). */
SM_API sm_status SM_CALL sm_gguf_load_from(sm_gguf **out, const sm_origin *origin,
                                           const sm_gguf_options *options, sm_error *error);
SM_API void SM_CALL sm_gguf_free(sm_gguf *gguf);
SM_API sm_status SM_CALL sm_gguf_get_info(const sm_gguf *gguf, sm_gguf_info *info, sm_error *error);

/* Key i: its name and type ("u32", "str", "arr[f32,512]"), valid as long as the handle. */
SM_API sm_status SM_CALL sm_gguf_get_key(const sm_gguf *gguf, uint64_t i, const char **name,
                                         const char **type, sm_error *error);
/* Its value as text: numbers in shortest form, bools "true"/"false", strings as they are,
 * arrays as "[a, b, c]", or "[a, b, ...]" where max_items (0: no limit) cuts them off.
 * Zero-terminated; *n is the length without it; SM_ERR_BUFFER (with *n) when
 * capacity <= *n. */
SM_API sm_status SM_CALL sm_gguf_get_value(const sm_gguf *gguf, uint64_t i, uint64_t max_items,
                                           char *text, uint64_t capacity, uint64_t *n,
                                           sm_error *error);
SM_API sm_status SM_CALL sm_gguf_get_tensor(const sm_gguf *gguf, uint64_t i,
                                            sm_gguf_tensor_info *info, sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
