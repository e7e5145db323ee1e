/* smallmind/model.h - load a model file; look at it.
 *
 * A model is immutable after loading and may be used by any number of sessions
 * and threads at a time. Handles are reference counted inside: a session or
 * tokenizer made from a model keeps what it needs, so handles may be freed in
 * any order.
 */
#ifndef SMALLMIND_MODEL_H
#define SMALLMIND_MODEL_H

#include "gguf.h"
#include "tokenizer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_model sm_model;

enum {
    /* each tensor is copied once into the layout the kernels like, when a computation first
     * comes to it: fast; costs private memory of about the weights' size */
    SM_REPACK_LAZY = 0,
    SM_REPACK_NONE = 1, /* compute from the file's layout: slower, no copy; same results */
};
/* Weights of a file that sm_model_save_packed wrote need no copy: there both mean the same. */

/* What weights multiply. FAST: beside quantized weights it is rounded to 8 bits, as in llama.cpp,
 * and beside F16 and BF16 ones to bf16 where the CPU has instructions for that. FLOAT: it stays
 * f32, and weights of every type become f32 as they are used: the bits of the same weights in a
 * file of F32, for measuring and comparing. Several times slower; quantized weights are not
 * repacked, files that have them packed are refused (SM_ERR_UNSUPPORTED). */
enum {
    SM_ACTIVATIONS_FAST = 0,
    SM_ACTIVATIONS_FLOAT = 1,
};

typedef struct sm_model_options {
    uint32_t struct_size;
    uint32_t io;          /* SM_IO_MAP (default), SM_IO_READ */
    uint32_t level;       /* cap on the instruction set, SM_LEVEL_… (default: none) */
    uint32_t repack;      /* SM_REPACK_LAZY (default), SM_REPACK_NONE */
    uint32_t activations; /* SM_ACTIVATIONS_FAST (default), SM_ACTIVATIONS_FLOAT */
    uint32_t reserved;
    const sm_allocator *allocator; /* NULL: the C library's */
    const sm_logger *log;          /* NULL: silent; warnings as of sm_tokenizer_options */
    sm_progress_fn progress; /* NULL: none; while loading: with SM_IO_READ bytes read of all (of a
                                split model: of each part), then tensors checked of all */
    void *progress_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
    uint64_t memory_limit;  /* bytes of heap for the model, its tokenizer and its sessions
                                      together; 0: no limit. Mapped file pages do not count. */
} sm_model_options;

typedef struct sm_model_info {
    uint32_t struct_size;     /* set by the caller */
    uint32_t level;           /* SM_LEVEL_… in use */
    const char *architecture; /* "llama"; valid as long as the model, like name */
    const char *name;         /* general.name, "" if absent */
    int32_t n_vocab;
    int32_t n_ctx_train; /* context length the model was trained for */
    int32_t n_embd;
    int32_t n_layer;
    int32_t n_head;
    int32_t n_head_kv;
    int32_t head_dim;
    int32_t n_ff;
    uint64_t n_params;     /* weights in all tensors, the second copy in a packed file left out */
    uint64_t weight_bytes; /* of all tensors in the file */
    uint64_t decode_bytes; /* weight bytes read to decode one token, in GGUF's own layout */
    uint64_t packed_bytes; /* weights repacked so far, in the heap; grows as they come into use */
    uint64_t heap_bytes;   /* all heap of model, tokenizer and sessions now */
    uint64_t heap_peak;
    uint64_t n_allocs;          /* allocations made so far (a test counts them) */
    uint64_t packed_file_bytes; /* weights of a packed file, used where they lie in it */
    int32_t sliding_window;     /* tokens that a token attends to at most; 0: all before it */
    int32_t reserved;
} sm_model_info;

/* Loads a GGUF model (of a split one: the first part), or a Hugging Face directory: config.json and
 * model.safetensors, or the files of model.safetensors.index.json. Tensors stay in the mapped files
 * where they lie as in GGUF; converted ones (queries and keys of llama's relatives, weights of
 * gpt-2, weights of 8 bits, gains) are in memory of the model's. Everything the file says is
 * checked before it is used. SM_ERR_IO, _FORMAT, _MISSING, _SHAPE, _UNSUPPORTED (architecture,
 * tensor type, rope scaling, tokenizer: by name), _NOMEM, _SYSTEM, _CANCELLED, _ARGUMENT; the
 * message names the file and the key or tensor. */
SM_API sm_status SM_CALL sm_model_load(sm_model **out, const char *path,
                                       const sm_model_options *options, sm_error *error);
/* The same from anywhere (types.h; parts of split models must be files). Statuses as above. */
SM_API sm_status SM_CALL sm_model_load_from(sm_model **out, const sm_origin *origin,
                                            const sm_model_options *options, sm_error *error);
SM_API void SM_CALL sm_model_free(sm_model *model); /* NULL is fine */

SM_API sm_status SM_CALL sm_model_get_info(const sm_model *model, sm_model_info *info,
                                           sm_error *error);

typedef struct sm_pack_options {
    uint32_t struct_size;
    uint32_t reserved;
    sm_progress_fn progress; /* NULL: none; bytes written of all */
    void *progress_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_pack_options;

/* Writes the model to one GGUF file with its matrices in the layout that the kernels compute
 * from. Loaded, such a file needs no repacking and no private copy of the weights: it is
 * fast from the first token on, and processes that map it share its pages. It is of use to
 * this library only, on every instruction-set level and machine with little-endian numbers;
 * a version of the library with another layout refuses it by name (SM_ERR_UNSUPPORTED). All
 * keys are kept, but for those of the alignment and of splitting. Where the output layer
 * shares the token embeddings the file holds them twice, as rows and packed.
 *
 * The file appears at path, replacing one there, when it is complete and on the disk.
 * options may be NULL. Any thread may call this while sessions
 * of the model run. SM_ERR_ARGUMENT, _IO, _NOMEM, _CANCELLED, _FORMAT (weights that are infinite or
 * NaN: names tensor and row; those of a packed file are not looked at again). */
SM_API sm_status SM_CALL sm_model_save_packed(const sm_model *model, const char *path,
                                              const sm_pack_options *options, sm_error *error);

/* The model's tokenizer: a new reference, freed with sm_tokenizer_free.
 * SM_ERR_MISSING if the file holds no vocabulary. */
SM_API sm_status SM_CALL sm_model_get_tokenizer(const sm_model *model, sm_tokenizer **out,
                                                sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
