/* source.h - keys and tensors of a model, whatever files they came from: today GGUF files; a reader
 * of another format fills in the same struct, with the names that keys.h and the tables of lib/nn
 * know.
 * Nobody outside lib/format looks at files.
 */
#ifndef SM_SOURCE_H
#define SM_SOURCE_H

#include "base/base.h"
#include "blocks.h"
#include "keys.h"
#include "smallmind/gguf.h"

/* Metadata value types, numbered as in the file. */
typedef enum sm_key_type {
    SM_KEY_UINT8 = 0,
    SM_KEY_INT8 = 1,
    SM_KEY_UINT16 = 2,
    SM_KEY_INT16 = 3,
    SM_KEY_UINT32 = 4,
    SM_KEY_INT32 = 5,
    SM_KEY_FLOAT32 = 6,
    SM_KEY_BOOL = 7,
    SM_KEY_STRING = 8,
    SM_KEY_ARRAY = 9,
    SM_KEY_UINT64 = 10,
    SM_KEY_INT64 = 11,
    SM_KEY_FLOAT64 = 12,
} sm_key_type;

#define SM_SOURCE_MAX_DIMS 4

/* One key. Scalars and strings lie in the file at `data` (unaligned, little
 * endian); an array's elements follow each other at `data`. Every length was
 * checked when the file was opened. */
typedef struct sm_key {
    const char *name; /* zero-terminated copy */
    sm_key_type type;
    sm_key_type element;   /* of an array */
    uint64_t count;        /* of an array; 1 otherwise */
    const uint8_t *data;   /* scalar, first array element, or string bytes */
    uint64_t size;         /* bytes at data */
    const char *type_text; /* "u32", "arr[str,512]" */
} sm_key;

typedef struct sm_tensor {
    const char *name; /* zero-terminated copy */
    uint32_t type;    /* sm_dtype; only types with known traits get here */
    uint32_t n_dims;
    uint64_t dims[SM_SOURCE_MAX_DIMS]; /* dims[0] contiguous ("columns"); 1 where absent */
    uint64_t offset;                   /* in its file's data section */
    const uint8_t *data;               /* in the mapping or the read copy */
    uint64_t size;                     /* bytes */
    uint32_t shard;                    /* index into files */
    /* where its rows do not lie one behind the other (experts that are tensors of their own in a
     * directory): where each n_piece_rows of them lie; NULL: all at data */
    const uint8_t *const *pieces;
    uint64_t n_piece_rows;
} sm_tensor;

/* A row of a tensor, counted over all dimensions but the first; it and the rest of its matrix (one
 * of dims[2] × dims[3]) lie one behind the other. */
static inline const uint8_t *sm_tensor_row(const sm_tensor *t, uint64_t row, uint64_t row_bytes) {
    return t->pieces ? t->pieces[row / t->n_piece_rows] + row % t->n_piece_rows * row_bytes
                     : t->data + row * row_bytes;
}

/* Rows of a tensor, and how many from `row` on lie one behind the other. */
static inline uint64_t sm_tensor_rows(const sm_tensor *t) {
    return t->dims[1] * t->dims[2] * t->dims[3];
}
static inline uint64_t sm_tensor_rows_left(const sm_tensor *t, uint64_t row) {
    return t->pieces ? t->n_piece_rows - row % t->n_piece_rows : sm_tensor_rows(t) - row;
}

/* What a file may hold at most; more is refused as unsupported. They bound the memory
 * that the directory of a hostile file can ask for. */
#define SM_SOURCE_MAX_KEYS 65536
#define SM_SOURCE_MAX_TENSORS 131072
#define SM_SOURCE_MAX_FILES 4096
#define SM_SOURCE_MAX_NAME 65535         /* bytes */
#define SM_GGUF_MAX_ALIGNMENT (1u << 24) /* bytes */
#define SM_GGUF_DEFAULT_ALIGNMENT 32     /* without a general.alignment key */

/* A model's keys and tensors, whatever files they came from; smallmind/gguf.h shows users the same
 * under another name. */
typedef struct sm_gguf sm_source;
struct sm_gguf {
    sm_mem *mem;
    uint32_t n_files; /* shards */
    sm_file *files;
    char *path;         /* for messages: escaped, a long one without its front */
    char *directory;    /* where it is one: as it was opened; NULL of files */
    uint32_t version;   /* of the first file */
    uint32_t alignment; /* of the first file, bytes */
    uint64_t n_keys;
    sm_key *keys;
    uint64_t n_tensors;
    sm_tensor *tensors;
    /* private to lib/format */
    bool owns_mem;          /* made by sm_gguf_load */
    uint32_t *key_order;    /* indices in the order of names */
    uint32_t *tensor_order; /* likewise */
    char *text;             /* all names and type texts */
    void **owned;           /* memory of converted tensors and others, freed when it closes */
    uint64_t n_owned, owned_capacity;
};

/* Opens path and, where it is `…-00001-of-0000N.gguf` with split.count > 1, the
 * other parts beside it; keys come from the first part. `map` chooses mapping
 * or reading. SM_ERR_IO, SM_ERR_FORMAT, SM_ERR_UNSUPPORTED (version; tensor
 * type not known by name), SM_ERR_NOMEM; messages name file and key or tensor. */
sm_status sm_source_open(sm_source **out, sm_mem *mem, const char *path, bool map, sm_error *error);
/* Asks while a part is read into memory, and where its directory is very long: bytes done of the
 * part's. SM_ERR_CANCELLED. */
sm_status sm_source_open_asking(sm_source **out, sm_mem *mem, const char *path, bool map,
                                const sm_hook *hook, sm_error *error);
/* The same from anywhere; takes care of origin->done, on failure too. Only a path has other parts
 * beside it. */
sm_status sm_source_open_origin(sm_source **out, sm_mem *mem, const sm_origin *origin, bool map,
                                const sm_hook *hook, sm_error *error);
/* A single file that is already in memory; data is borrowed until close. name stands
 * for the path in messages. A part of a split model is refused. */
sm_status sm_source_open_bytes(sm_source **out, sm_mem *mem, const void *data, uint64_t size,
                               const char *name, sm_error *error);
void sm_source_close(sm_source *source); /* NULL is fine */
/* Hint: a tensor will not be read again soon; see sm_file_release. */
void sm_source_release(const sm_source *source, const sm_tensor *tensor);

const sm_key *sm_source_find_key(const sm_source *source, const char *name);
const sm_tensor *sm_source_find_tensor(const sm_source *source, const char *name);

/* Typed reads. Integers of every width convert when in range, to integers. SM_ERR_MISSING if
 * absent, SM_ERR_FORMAT if of another type or out of range; *out untouched then. */
sm_status sm_source_get_u32(const sm_source *source, const char *name, uint32_t *out,
                            sm_error *error);
sm_status sm_source_get_i64(const sm_source *source, const char *name, int64_t *out,
                            sm_error *error);
sm_status sm_source_get_f64(const sm_source *source, const char *name, double *out,
                            sm_error *error);
sm_status sm_source_get_bool(const sm_source *source, const char *name, bool *out, sm_error *error);
sm_status sm_source_get_str(const sm_source *source, const char *name, const char **data,
                            uint64_t *length, sm_error *error);
/* Element i of an array key (strings: O(1) amortised in increasing order is not
 * promised; use the iterator below for whole arrays). */
sm_status sm_key_i64(const sm_key *key, uint64_t i, int64_t *out);
sm_status sm_key_f64(const sm_key *key, uint64_t i, double *out);
/* Of booleans, or of integers 0 and 1. */
sm_status sm_key_bool(const sm_key *key, uint64_t i, bool *out);
/* Walks a string array: *cursor starts at 0 and is advanced; false at the end. */
bool sm_key_next_str(const sm_key *key, uint64_t *cursor, const char **data, uint64_t *length);
/* "u32", "f32", "str", "arr", ...; NULL if unknown. */
const char *sm_key_type_name(uint32_t type);
/* Bytes of one value; 0 for strings, arrays and unknown types. */
uint32_t sm_key_type_size(uint32_t type);

/* ---- packed files: matrices in the layout of the kernels ----------------------------
 *
 * A packed file is a GGUF file with the key smallmind.packed.version and one key
 * smallmind.packed.tensor.NAME, an array of three u64 (weight type, columns, rows), for
 * each tensor NAME whose data is a packed matrix (kernels/pack.h); such a tensor has type
 * I8 and shape [bytes of a group, groups]. Keys and other tensors are as in any file. Where
 * the output layer shares the token embeddings, the embeddings lie there as usual and once
 * more, packed, as the tensor SM_PACKED_HEAD. */
#define SM_PACKED_KEYS "smallmind.packed."
#define SM_PACKED_VERSION_KEY SM_PACKED_KEYS "version"
#define SM_PACKED_TENSOR_KEYS SM_PACKED_KEYS "tensor."
#define SM_PACKED_HEAD "token_embd.weight.packed"

typedef struct sm_packed_tensor {
    bool packed; /* false: a tensor as in any file; the rest is unset */
    uint32_t type;
    uint32_t cols, rows;
} sm_packed_tensor;

/* What the keys say of tensor t; whether its data has the right size is not looked at.
 * SM_ERR_FORMAT (names file and key) if its key holds anything else than the above. */
sm_status sm_source_get_packed(const sm_source *source, const sm_tensor *t, sm_packed_tensor *out,
                               sm_error *error);

/* ---- what is taken for a model, or for text, and is something else (recognize.c) ----------
 *
 * Each fails with a message that says what it is and what to do; SM_OK where that is not known. */

/* A file that is no GGUF file, by its first bytes: SM_ERR_FORMAT. */
sm_status sm_recognize_bytes(const char *path, const uint8_t *data, uint64_t size, sm_error *error);
/* A file that cannot be text in UTF-8 by its beginning (compressed, UTF-16, a format of its own):
 * SM_ERR_UNSUPPORTED. */
sm_status sm_recognize_text(const char *path, const uint8_t *data, uint64_t size, sm_error *error);
/* A path that could not be opened as a file, a directory or an address; `shown` stands for it in
 * the message: SM_ERR_IO. */
sm_status sm_recognize_path(const char *path, const char *shown, sm_error *error);

/* Whether a file begins like an importance matrix from before GGUF. */
bool sm_is_old_imatrix(const uint8_t *data, uint64_t size);

/* SM_GGUF_HOLDS_… of smallmind/gguf.h. */
uint32_t sm_source_holds(const sm_source *source);
/* Refuses a file that holds none of `allowed`: SM_ERR_UNSUPPORTED, _MISSING (a vocabulary alone),
 * _FORMAT (no importance matrix). */
sm_status sm_source_expect(const sm_source *source, uint32_t allowed, sm_error *error);

/* ---- sealed files: every byte under a checksum ----------------------------------------
 *
 * The last tensor of a sealed file is SM_GGUF_SEAL, of type I8 and SM_GGUF_SEAL_BYTES: XXH3 with 64
 * bits (seed 0), little-endian, of all bytes of the file before it, header and padding included.
 * After it come zeros up to the alignment, and the file ends. */
#define SM_GGUF_SEAL "smallmind.xxh3"
#define SM_GGUF_SEAL_BYTES 8

/* Sums the file up, asking hook (may be NULL: bytes of all). SM_ERR_MISSING (not sealed),
 * SM_ERR_FORMAT (any byte is another than was written), SM_ERR_CANCELLED, SM_ERR_NOMEM. */
sm_status sm_source_check_seal(const sm_source *source, const sm_hook *hook, sm_error *error);

/* ---- what identifies a model (fingerprint.c): checkpoints and saved sessions name theirs so -- */

/* Of its keys but general.*, and of its tensors' names, shapes and first 4096 bytes: it stays as it
 * is. A packed copy of a model is another one. */
uint64_t sm_source_fingerprint(const sm_source *source);

/* Whether path is a directory with a config.json, Hugging Face's form of a model; it opens as a
 * file does (hf_open.c). What is converted is in memory of its own, the rest is mapped. */
bool sm_directory_is_model(const char *path);
sm_status sm_source_open_directory(sm_source **out, sm_mem *mem, const char *path, bool map,
                                   const sm_hook *hook, sm_error *error);

/* Whether path is a directory with an adapter_config.json, PEFT's form of an adapter. It opens as
 * one of llama.cpp's: its tensors' names and the order of their rows are those of `model`, for
 * which it is (hf_adapter.c). Of kinds other than LoRA: SM_ERR_UNSUPPORTED. */
bool sm_directory_is_adapter(const char *path);
sm_status sm_source_open_adapter(sm_source **out, sm_mem *mem, const char *path, bool map,
                                 const sm_source *model, const sm_hook *hook, sm_error *error);

/* ---- for the code of a format --------------------------------------------------- */

/* A little-endian unsigned value of 1 to 8 bytes. */
static inline uint64_t sm_load_le(const uint8_t *data, uint32_t size) {
    uint64_t value = 0;
    for (uint32_t i = size; i-- > 0;)
        value = value << 8 | data[i];
    return value;
}

/* Bytes of a tensor: known type, at most 4 dimensions, none 0, whole blocks in a row, no
 * overflow. SM_ERR_UNSUPPORTED (type), SM_ERR_FORMAT; the message begins with subject. */
sm_status sm_tensor_bytes(uint32_t type, uint32_t n_dims, const uint64_t *dims, uint64_t *bytes,
                          const char *subject, sm_error *error);

/* The numbers below n sorted so that order(context, a, b) <= 0 for neighbours a, b; equal
 * ones keep their order. To be freed with sm_free; NULL if memory is out or n is 0. */
typedef int (*sm_order_fn)(const void *context, uint32_t a, uint32_t b);
uint32_t *sm_sort_indices(sm_mem *mem, uint64_t n, sm_order_fn order, const void *context);

#endif
