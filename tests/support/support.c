/* support.c - scratch files, failing allocators, bytes put together by hand. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read by the address sanitizer, where it is built in: an allocation that cannot be had is
 * answered with NULL, as malloc does, for that is what some tests are about. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static _Noreturn void give_up(const char *what, const char *path) {
    fprintf(stderr, "test support: %s %s failed\n", what, path);
    exit(99);
}

/* ---- scratch files ---------------------------------------------------------------- */

static char directory[512];

static void remove_directory(void) {
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(directory);
}

static void make_directory(void) {
    if (directory[0])
        return;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/smallmind-test-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(directory))
        give_up("making directory", directory);
    atexit(remove_directory);
}

const char *scratch_path(const char *name) {
    static char paths[8][1024];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    make_directory();
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

void scratch_write(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || (size && fwrite(data, 1, size, f) != size) || fclose(f) != 0)
        give_up("writing", path);
}

uint8_t *scratch_read(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    bytes b = {0};
    char piece[65536];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        bytes_put(&b, piece, n);
    fclose(f);
    *size = b.size;
    bytes_put(&b, "", 1);
    return b.data;
}

size_t scratch_count(void) {
    size_t n = 0;
    make_directory();
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

const char *data_path(const char *name) {
    static char paths[8][1024];
    static unsigned turn;
    const char *base = getenv("SM_TEST_DATA");
    if (!base)
        base = getenv("SM_TEST_DATA_DEFAULT");
    if (!base)
        return NULL;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return access(path, R_OK) == 0 ? path : NULL;
}

uint32_t test_share(uint32_t n, uint32_t few) {
    const char *sanitizer = getenv("SM_TEST_SANITIZER"), *all = getenv("SM_TEST_ALL");
    const bool plain = !sanitizer || strcmp(sanitizer, "none") == 0;
    return plain || (all && *all) ? n : few;
}

/* ---- allocator --------------------------------------------------------------------- */

static void *counted_alloc(void *user, uint64_t size, uint64_t align) {
    fail_alloc *state = user;
    state->calls++;
    if (state->fail_at &&
        (state->calls == state->fail_at || (state->sticky && state->calls > state->fail_at)))
        return NULL;
    if (size > (uint64_t)1 << 32) /* nothing in the tests needs it: a length was believed */
        return NULL;
    void *block = aligned_alloc((size_t)align, (size_t)((size + align - 1) / align * align));
    if (block) {
        state->live_blocks++;
        state->live_bytes += size;
        if (state->live_bytes > state->peak_bytes)
            state->peak_bytes = state->live_bytes;
    }
    return block;
}

static void counted_release(void *user, void *ptr, uint64_t size, uint64_t align) {
    fail_alloc *state = user;
    (void)align;
    state->live_blocks--;
    state->live_bytes -= size;
    free(ptr);
}

sm_allocator fail_allocator(fail_alloc *state) {
    return (sm_allocator){.struct_size = sizeof(sm_allocator),
                          .alloc = counted_alloc,
                          .release = counted_release,
                          .user = state};
}

/* ---- bytes ------------------------------------------------------------------------- */

void bytes_put(bytes *b, const void *data, size_t size) {
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2;
        b->data = realloc(b->data, b->capacity);
        if (!b->data)
            give_up("allocating", "bytes");
    }
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_le(bytes *b, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; i++)
        bytes_put(b, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

void bytes_u32(bytes *b, uint32_t value) {
    put_le(b, value, 4);
}

void bytes_u64(bytes *b, uint64_t value) {
    put_le(b, value, 8);
}

void bytes_str(bytes *b, const char *text) {
    bytes_u64(b, strlen(text));
    bytes_put(b, text, strlen(text));
}

void bytes_pad(bytes *b, size_t alignment) {
    while (b->size % alignment)
        bytes_put(b, "", 1);
}

void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){0};
}

void bytes_patch(bytes *b, size_t at, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; i++)
        b->data[at + i] = (uint8_t)(value >> 8 * i);
}

uint64_t test_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
