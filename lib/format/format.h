/* format.h - writing model files (GGUF), and all of source.h.
 *
 * GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef SM_FORMAT_H
#define SM_FORMAT_H

#include "source.h"

/* ---- writer: keys first, then tensors, then data in the order of declaration ---- */

typedef struct sm_gguf_writer sm_gguf_writer;
typedef struct sm_gguf_str {
    const char *data;
    uint64_t length;
} sm_gguf_str;
/* version 2 or 3; alignment a multiple of 8 (32 is usual): where it is not 32, the key
 * general.alignment is added unless it was put. The file appears under its name only
 * when sm_gguf_writer_finish succeeds. The put and declare functions fail with
 * SM_ERR_NOMEM, _ARGUMENT (name empty or longer than SM_SOURCE_MAX_NAME; type or shape
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
sm_status sm_gguf_put_array(sm_gguf_writer *writer, const char *name, sm_key_type element,
                            const void *values, uint64_t count);
/* One value of any type but array, likewise. */
sm_status sm_gguf_put_scalar(sm_gguf_writer *writer, const char *name, sm_key_type type,
                             const void *value);
/* Copies a key of an open file as it is. */
sm_status sm_gguf_put_key(sm_gguf_writer *writer, const sm_key *key);
/* Keys that a file made from another one says itself, or not at all. */
enum {
    SM_KEYS_OF_PARTS = 1, /* split.…: which part of a model a file is */
    SM_KEY_ALIGNMENT = 2,
    SM_KEY_FILE_TYPE = 4,
    SM_KEY_QUANTIZATION_VERSION = 8,
    SM_KEYS_OF_PACKED = 16,
    SM_KEYS_BUT_VOCABULARY = 32 /* all but tokenizer.… */
};
/* Of a directory, the files of its vocabulary as keys SM_K_TOKENIZER_…; those that are there and
 * can be read (hf_texts.c). */
void sm_gguf_put_texts(sm_gguf_writer *writer, const sm_source *from);
/* Copies the keys of an open file but those: a sum of the above; of a directory its vocabulary,
 * too. */
sm_status sm_gguf_copy_keys(sm_gguf_writer *writer, const sm_source *from, uint32_t but);
/* Tensors lie in the file in the order they are declared. n_dims 0: one element. */
sm_status sm_gguf_declare_tensor(sm_gguf_writer *writer, const char *name, uint32_t type,
                                 uint32_t n_dims, const uint64_t *dims, sm_error *error);
/* Makes it a sealed file: in place of the last declaration; its data follow by themselves. */
sm_status sm_gguf_declare_seal(sm_gguf_writer *writer, sm_error *error);
/* Data of the next declared tensor, whole. size must match. */
sm_status sm_gguf_write_tensor(sm_gguf_writer *writer, const void *data, uint64_t size,
                               sm_error *error);
/* The same of a tensor of an open file. */
sm_status sm_gguf_write_copy(sm_gguf_writer *writer, const sm_tensor *tensor, sm_error *error);
/* The next piece of it instead; pieces must add up to the tensor before the next one or
 * finish. */
sm_status sm_gguf_write_part(sm_gguf_writer *writer, const void *data, uint64_t size,
                             sm_error *error);
sm_status sm_gguf_writer_finish(sm_gguf_writer *writer, sm_error *error); /* frees writer */
void sm_gguf_writer_abort(sm_gguf_writer *writer);                        /* NULL is fine */
/* Finishes after success so far, else aborts and returns the status. */
sm_status sm_gguf_writer_end(sm_gguf_writer *writer, sm_status status, sm_error *error);

/* A writer that makes the file in memory instead, for sm_source_open_bytes: `name` stands for
 * the path in messages; ended by sm_gguf_writer_image or abort, not by finish. */
sm_status sm_gguf_writer_new(sm_gguf_writer **out, sm_mem *mem, const char *name, uint32_t version,
                             uint32_t alignment, sm_error *error);
/* A writer that puts the file into a buffer, as far as it fits; finish gives its bytes to *size,
 * and is SM_ERR_BUFFER where there are more than capacity. name stands for the path in messages. */
sm_status sm_gguf_writer_into(sm_gguf_writer **out, sm_mem *mem, const char *name, uint32_t version,
                              uint32_t alignment, uint8_t *buffer, uint64_t capacity,
                              uint64_t *size, sm_error *error);

/* The whole file, to be freed with sm_free; the data of tensors is undefined and is filled in
 * there, no sm_gguf_write_tensor being called before. Frees writer, also on failure. */
sm_status sm_gguf_writer_image(sm_gguf_writer *writer, uint8_t **data, uint64_t *size,
                               sm_error *error);

#endif
