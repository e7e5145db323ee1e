/* support.h - what several test programs share: scratch files, an allocator that fails on
 * demand, bytes put together by hand. Tests may use stdio and malloc; failures here end
 * the test program. */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smallmind/tokenizer.h"

/* Options of encoding with these flags. */
#define ENCODE(what) \
    (&(const sm_encode_options){.struct_size = sizeof(sm_encode_options), .flags = (what)})

/* ---- scratch files: in a directory of this process, removed at exit ------------- */

/* Path of a file of that name in it; in one of 8 buffers that take turns. */
const char *scratch_path(const char *name);
void scratch_write(const char *path, const void *data, size_t size);
/* Whole file, to be freed; *size bytes and a zero. NULL if it is not there. */
uint8_t *scratch_read(const char *path, size_t *size);
/* Files in the directory now. */
size_t scratch_count(void);

/* Path of a file of the test data, "models/stories260K.gguf"; NULL if there is none. In
 * one of 8 buffers that take turns. */
const char *data_path(const char *name);

/* How many of n cases, steps, ... to go through: all of them in a plain build. A sanitizer looks at
 * what is read and written, which is the same for cases that differ in values only, and takes many
 * times as long: there it is `few`, unless SM_TEST_ALL is set (scripts/test.sh --all). */
uint32_t test_share(uint32_t n, uint32_t few);

/* ---- an allocator that counts and fails ------------------------------------------ */

typedef struct fail_alloc {
    uint64_t calls;       /* allocations asked for */
    uint64_t fail_at;     /* the one that fails, counted from 1; 0: none */
    bool sticky;          /* and all after it */
    uint64_t live_blocks; /* allocated and not released */
    uint64_t live_bytes;
    uint64_t peak_bytes; /* highest live_bytes; set to these to measure from there on */
} fail_alloc;

/* A hook over state, which must outlive its use. */
sm_allocator fail_allocator(fail_alloc *state);

/* ---- bytes ------------------------------------------------------------------------ */

typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;

void bytes_put(bytes *b, const void *data, size_t size);
void bytes_u32(bytes *b, uint32_t value); /* little endian */
void bytes_u64(bytes *b, uint64_t value);
void bytes_str(bytes *b, const char *text); /* as GGUF has strings: length, bytes */
void bytes_pad(bytes *b, size_t alignment); /* zeros up to a multiple */
void bytes_free(bytes *b);
/* Overwrites width bytes at `at` with value, little endian. */
void bytes_patch(bytes *b, size_t at, uint64_t value, size_t width);

/* A small pseudo-random generator (splitmix64). */
uint64_t test_random(uint64_t *state);

#endif
