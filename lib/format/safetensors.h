/* safetensors.h - reading safetensors files (https://github.com/huggingface/safetensors), which
 * nobody has checked: a length of 8 bytes, that many bytes of JSON that say where each tensor lies,
 * the tensors. Everything is checked before it is believed, holes and overlaps, too.
 */
#ifndef SM_SAFETENSORS_H
#define SM_SAFETENSORS_H

#include "base/base.h"
#include "json.h"

#define SM_SAFETENSORS_MAX_HEADER (100u << 20) /* bytes, as in the format's own reader */
#define SM_SAFETENSORS_MAX_DIMS 8

typedef enum sm_st_type {
    SM_ST_BOOL,
    SM_ST_U8,
    SM_ST_I8,
    SM_ST_F8_E4M3,
    SM_ST_F8_E5M2,
    SM_ST_F8_E8M0,
    SM_ST_U16,
    SM_ST_I16,
    SM_ST_F16,
    SM_ST_BF16,
    SM_ST_U32,
    SM_ST_I32,
    SM_ST_F32,
    SM_ST_U64,
    SM_ST_I64,
    SM_ST_F64,
    SM_ST_C64,
    SM_ST_COUNT
} sm_st_type;

typedef struct sm_st_tensor {
    const char *name; /* zero-terminated, in the handle's memory; no zero byte in it */
    sm_st_type type;
    uint32_t n_dims;                        /* may be 0: one element */
    uint64_t dims[SM_SAFETENSORS_MAX_DIMS]; /* as in the file: the last one is contiguous; any may
                                               be 0 */
    const uint8_t *data;                    /* in the file's bytes, at any address */
    uint64_t size;                          /* bytes: what shape and type make */
} sm_st_tensor;

typedef struct sm_safetensors {
    sm_mem *mem;
    uint64_t n;
    sm_st_tensor *tensors; /* in the order of names, no two alike */
    char *names;
} sm_safetensors;

/* Reads the directory of the file data[0..size), which must outlive the handle; `shown` stands for
 * its path in messages. SM_ERR_FORMAT (whatever the format does not allow: the message names the
 * tensor), SM_ERR_UNSUPPORTED (more tensors than SM_SOURCE_MAX_TENSORS, more dimensions, types of
 * less than a byte), SM_ERR_NOMEM, SM_ERR_CANCELLED (hook, which may be NULL). */
sm_status sm_safetensors_read(sm_safetensors *out, sm_mem *mem, const uint8_t *data, uint64_t size,
                              const char *shown, const sm_hook *hook, sm_error *error);
void sm_safetensors_free(sm_safetensors *st); /* one that was not read is fine, if zeroed */
/* NULL if there is none of that name. */
const sm_st_tensor *sm_safetensors_find(const sm_safetensors *st, const char *name);

const char *sm_st_type_name(sm_st_type type);   /* "BF16" */
uint32_t sm_st_type_size(sm_st_type type);      /* bytes of an element */
uint64_t sm_st_elements(const sm_st_tensor *t); /* product of its dimensions */

/* Writes a file as `metadata.format` "pt". Of tensors[0..n) name, type, n_dims and dims are read;
 * their bytes are then written one after the other. SM_ERR_IO, _NOMEM; _STATE where the bytes are
 * more or fewer than the shapes say. The file appears at _end, which frees the writer; with a
 * failure given it does not, and that is returned. A writer of NULL is fine there. */
typedef struct sm_st_writer sm_st_writer;
sm_status sm_st_writer_open(sm_st_writer **out, sm_mem *mem, const char *path,
                            const sm_st_tensor *tensors, uint64_t n, sm_error *error);
sm_status sm_st_write(sm_st_writer *writer, const void *data, uint64_t size, sm_error *error);
sm_status sm_st_writer_end(sm_st_writer *writer, sm_status status, sm_error *error);

#endif
