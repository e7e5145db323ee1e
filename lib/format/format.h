/* format.h - model files: one view of keys and tensors over GGUF (later also
 * safetensors); reader and writer together. Includes base and the type traits
 * of kernels/blocks.h, nothing else.
 *
 * GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef SM_FORMAT_H
#define SM_FORMAT_H

#include "base/base.h"
#include "blocks.h"
#include "smallmind/gguf.h"

/* Metadata value types, numbered as in the file. */
typedef enum sm_gguf_type {
    SM_GGUF_UINT8 = 0,
    SM_GGUF_INT8 = 1,
    SM_GGUF_UINT16 = 2,
    SM_GGUF_INT16 = 3,
    SM_GGUF_UINT32 = 4,
    SM_GGUF_INT32 = 5,
    SM_GGUF_FLOAT32 = 6,
    SM_GGUF_BOOL = 7,
    SM_GGUF_STRING = 8,
    SM_GGUF_ARRAY = 9,
    SM_GGUF_UINT64 = 10,
    SM_GGUF_INT64 = 11,
    SM_GGUF_FLOAT64 = 12,
} sm_gguf_type;

#define SM_GGUF_MAX_DIMS 4

/* One key. Scalars and strings lie in the file at `data` (unaligned, little
 * endian); an array's elements follow each other at `data`. Every length was
 * checked when the file was opened. */
typedef struct sm_gguf_key {
    const char *name; /* zero-terminated copy */
    sm_gguf_type type;
    sm_gguf_type element;  /* of an array */
    uint64_t count;        /* of an array; 1 otherwise */
    const uint8_t *data;   /* scalar, first array element, or string bytes */
    uint64_t size;         /* bytes at data */
    const char *type_text; /* "u32", "arr[str,512]" */
} sm_gguf_key;

typedef struct sm_gguf_tensor {
    const char *name; /* zero-terminated copy */
    uint32_t type;    /* sm_dtype; only types with known traits get here */
    uint32_t n_dims;
    uint64_t dims[SM_GGUF_MAX_DIMS]; /* dims[0] contiguous ("columns"); 1 where absent */
    uint64_t offset;                 /* in its file's data section */
    const uint8_t *data;             /* in the mapping or the read copy */
    uint64_t size;                   /* bytes */
    uint32_t shard;                  /* index into files */
} sm_gguf_tensor;

/* What a file may hold at most; more is refused as unsupported. They bound the memory
 * that the directory of a hostile file can ask for. */
#define SM_GGUF_MAX_KEYS 65536
#define SM_GGUF_MAX_TENSORS 131072
#define SM_GGUF_MAX_FILES 4096
#define SM_GGUF_MAX_NAME 65535           /* bytes */
#define SM_GGUF_MAX_ALIGNMENT (1u << 24) /* bytes */
#define SM_GGUF_DEFAULT_ALIGNMENT 32     /* without a general.alignment key */

/* The typedef is in smallmind/gguf.h. */
struct sm_gguf {
    sm_mem *mem;
    uint32_t n_files; /* shards */
    sm_file *files;
    char *path;         /* for messages: escaped, a long one without its front */
    uint32_t version;   /* of the first file */
    uint32_t alignment; /* of the first file, bytes */
    uint64_t n_keys;
    sm_gguf_key *keys;
    uint64_t n_tensors;
    sm_gguf_tensor *tensors;
    /* private to lib/format */
    bool owns_mem;          /* made by sm_gguf_load */
    uint32_t *key_order;    /* indices in the order of names */
    uint32_t *tensor_order; /* likewise */
    char *text;             /* all names and type texts */
};

/* Opens path and, where it is `…-00001-of-0000N.gguf` with split.count > 1, the
 * other parts beside it; keys come from the first part. `map` chooses mapping
 * or reading. SM_ERR_IO, SM_ERR_FORMAT, SM_ERR_UNSUPPORTED (version; tensor
 * type not known by name), SM_ERR_NOMEM; messages name file and key or tensor. */
sm_status sm_gguf_open(sm_gguf **out, sm_mem *mem, const char *path, bool map, sm_error *error);
/* Asks while a part is read into memory, and where its directory is very long: bytes done of the
 * part's. SM_ERR_CANCELLED. */
sm_status sm_gguf_open_asking(sm_gguf **out, sm_mem *mem, const char *path, bool map,
                              const sm_hook *hook, sm_error *error);
/* A single file that is already in memory; data is borrowed until close. name stands
 * for the path in messages. A part of a split model is refused. */
sm_status sm_gguf_open_bytes(sm_gguf **out, sm_mem *mem, const void *data, uint64_t size,
                             const char *name, sm_error *error);
void sm_gguf_close(sm_gguf *gguf); /* NULL is fine */

const sm_gguf_key *sm_gguf_find_key(const sm_gguf *gguf, const char *name);
const sm_gguf_tensor *sm_gguf_find_tensor(const sm_gguf *gguf, const char *name);

/* Typed reads. Integers of every width convert when in range, to integers. SM_ERR_MISSING if
 * absent, SM_ERR_FORMAT if of another type or out of range; *out untouched then. */
sm_status sm_gguf_get_u32(const sm_gguf *gguf, const char *name, uint32_t *out, sm_error *error);
sm_status sm_gguf_get_i64(const sm_gguf *gguf, const char *name, int64_t *out, sm_error *error);
sm_status sm_gguf_get_f64(const sm_gguf *gguf, const char *name, double *out, sm_error *error);
sm_status sm_gguf_get_bool(const sm_gguf *gguf, const char *name, bool *out, sm_error *error);
sm_status sm_gguf_get_str(const sm_gguf *gguf, const char *name, const char **data,
                          uint64_t *length, sm_error *error);
/* Element i of an array key (strings: O(1) amortised in increasing order is not
 * promised; use the iterator below for whole arrays). */
sm_status sm_gguf_key_i64(const sm_gguf_key *key, uint64_t i, int64_t *out);
sm_status sm_gguf_key_f64(const sm_gguf_key *key, uint64_t i, double *out);
/* Walks a string array: *cursor starts at 0 and is advanced; false at the end. */
bool sm_gguf_next_str(const sm_gguf_key *key, uint64_t *cursor, const char **data,
                      uint64_t *length);
/* "u32", "f32", "str", "arr", ...; NULL if unknown. */
const char *sm_gguf_type_name(uint32_t type);
/* Bytes of one value; 0 for strings, arrays and unknown types. */
uint32_t sm_gguf_type_size(uint32_t type);

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

typedef struct sm_gguf_packed {
    bool packed; /* false: a tensor as in any file; the rest is unset */
    uint32_t type;
    uint32_t cols, rows;
} sm_gguf_packed;

/* What the keys say of tensor t; whether its data has the right size is not looked at.
 * SM_ERR_FORMAT (names file and key) if its key holds anything else than the above. */
sm_status sm_gguf_get_packed(const sm_gguf *gguf, const sm_gguf_tensor *t, sm_gguf_packed *out,
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

/* SM_GGUF_HOLDS_… of smallmind/gguf.h. */
uint32_t sm_gguf_holds(const sm_gguf *gguf);
/* Refuses a file that holds none of `allowed`: SM_ERR_UNSUPPORTED, _MISSING (a vocabulary alone),
 * _FORMAT (no importance matrix). */
sm_status sm_gguf_expect(const sm_gguf *gguf, uint32_t allowed, sm_error *error);

/* ---- sealed files: every byte under a checksum ----------------------------------------
 *
 * The last tensor of a sealed file is SM_GGUF_SEAL, of type I8 and SM_GGUF_SEAL_BYTES: XXH3 with 64
 * bits (seed 0), little-endian, of all bytes of the file before it, header and padding included.
 * After it come zeros up to the alignment, and the file ends. */
#define SM_GGUF_SEAL "smallmind.xxh3"
#define SM_GGUF_SEAL_BYTES 8

/* Sums the file up, asking hook (may be NULL: bytes of all). SM_ERR_MISSING (not sealed),
 * SM_ERR_FORMAT (any byte is another than was written), SM_ERR_CANCELLED, SM_ERR_NOMEM. */
sm_status sm_gguf_check_seal(const sm_gguf *gguf, const sm_hook *hook, sm_error *error);

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

/* ---- writer: keys first, then tensors, then data in the order of declaration ---- */

typedef struct sm_gguf_writer sm_gguf_writer;
typedef struct sm_gguf_str {
    const char *data;
    uint64_t length;
} sm_gguf_str;
/* version 2 or 3; alignment a multiple of 8 (32 is usual): where it is not 32, the key
 * general.alignment is added unless it was put. The file appears under its name only
 * when sm_gguf_writer_finish succeeds. The put and declare functions fail with
 * SM_ERR_NOMEM, _ARGUMENT (name empty or longer than SM_GGUF_MAX_NAME; type or shape
 * impossible) or _STATE (after the first tensor's data); any failure makes the later
 * calls and finish fail with the first one's reason. A name given twice fails when the
 * first tensor's data is written or at finish. */
sm_status sm_gguf_writer_open(sm_gguf_writer **out, sm_mem *mem, const char *path, uint32_t version,
                              uint32_t alignment, sm_error *error);
/* Asks from now on while data is written, for every piece of SM_WRITE_PIECE bytes: bytes of data
 * done of all. SM_ERR_CANCELLED of the call that writes, as of any failure. hook is copied. */
void sm_gguf_writer_ask(sm_gguf_writer *writer, const sm_hook *hook);
sm_status sm_gguf_put_u32(sm_gguf_writer *writer, const char *name, uint32_t value);
sm_status sm_gguf_put_f32(sm_gguf_writer *writer, const char *name, float value);
sm_status sm_gguf_put_bool(sm_gguf_writer *writer, const char *name, bool value);
sm_status sm_gguf_put_str(sm_gguf_writer *writer, const char *name, const char *text,
                          uint64_t length);
/* count elements of `element` as they are in memory; bools as bytes, strings as
 * sm_gguf_str. */
sm_status sm_gguf_put_array(sm_gguf_writer *writer, const char *name, sm_gguf_type element,
                            const void *values, uint64_t count);
/* One value of any type but array, likewise. */
sm_status sm_gguf_put_scalar(sm_gguf_writer *writer, const char *name, sm_gguf_type type,
                             const void *value);
/* Copies a key of an open file as it is. */
sm_status sm_gguf_put_key(sm_gguf_writer *writer, const sm_gguf_key *key);
/* Keys that a file made from another one says itself, or not at all. */
enum {
    SM_KEYS_OF_PARTS = 1, /* split.…: which part of a model a file is */
    SM_KEY_ALIGNMENT = 2,
    SM_KEY_FILE_TYPE = 4,
    SM_KEY_QUANTIZATION_VERSION = 8,
    SM_KEYS_OF_PACKED = 16,
    SM_KEYS_BUT_VOCABULARY = 32 /* all but tokenizer.… */
};
/* Copies the keys of an open file but those: a sum of the above. */
sm_status sm_gguf_copy_keys(sm_gguf_writer *writer, const sm_gguf *from, uint32_t but);
/* Tensors lie in the file in the order they are declared. n_dims 0: one element. */
sm_status sm_gguf_declare_tensor(sm_gguf_writer *writer, const char *name, uint32_t type,
                                 uint32_t n_dims, const uint64_t *dims, sm_error *error);
/* Makes it a sealed file: in place of the last declaration; its data follow by themselves. */
sm_status sm_gguf_declare_seal(sm_gguf_writer *writer, sm_error *error);
/* Data of the next declared tensor, whole. size must match. */
sm_status sm_gguf_write_tensor(sm_gguf_writer *writer, const void *data, uint64_t size,
                               sm_error *error);
/* The next piece of it instead; pieces must add up to the tensor before the next one or
 * finish. */
sm_status sm_gguf_write_part(sm_gguf_writer *writer, const void *data, uint64_t size,
                             sm_error *error);
sm_status sm_gguf_writer_finish(sm_gguf_writer *writer, sm_error *error); /* frees writer */
void sm_gguf_writer_abort(sm_gguf_writer *writer);                        /* NULL is fine */
/* Finishes after success so far, else aborts and returns the status. */
sm_status sm_gguf_writer_end(sm_gguf_writer *writer, sm_status status, sm_error *error);

/* A writer that makes the file in memory instead, for sm_gguf_open_bytes: `name` stands for
 * the path in messages; ended by sm_gguf_writer_image or abort, not by finish. */
sm_status sm_gguf_writer_new(sm_gguf_writer **out, sm_mem *mem, const char *name, uint32_t version,
                             uint32_t alignment, sm_error *error);
/* The whole file, to be freed with sm_free; the data of tensors is undefined and is filled in
 * there, no sm_gguf_write_tensor being called before. Frees writer, also on failure. */
sm_status sm_gguf_writer_image(sm_gguf_writer *writer, uint8_t **data, uint64_t *size,
                               sm_error *error);

#endif
