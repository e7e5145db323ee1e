/* file.c - whole files as bytes, from anywhere, and files replaced at once, over os.h. */
#include "base.h"

#include <string.h>

#include "os.h"

sm_status sm_os_fail(sm_error *error, const char *path, const char *action, sm_os_code code) {
    sm_fail(error, SM_ERR_IO, "%s: cannot %s: %s (%s %u)", path, action, sm_os_reason(code),
            sm_os_number_name, code);
    if (error)
        error->system = (int32_t)code;
    return SM_ERR_IO;
}

/* ---- reading --------------------------------------------------------------- */

/* Where bytes that are read come from. */
typedef struct reading {
    const sm_origin *origin;
    const char *name;
    sm_os_file file; /* from `offset` on; SM_OS_NO_FILE: origin->read */
    uint64_t offset, size;
} reading;

/* Some of n bytes: how many, or a status. */
static int64_t read_some(const reading *r, uint64_t done, uint8_t *to, uint64_t n,
                         sm_error *error) {
    if (r->file == SM_OS_NO_FILE) {
        const int64_t got = r->origin->read(r->origin->user, done, to, n);
        if (got > 0 && (uint64_t)got <= n)
            return got;
        if (got == SM_ERR_CANCELLED)
            return sm_fail(error, SM_ERR_CANCELLED, "%s: reading was cancelled", r->name);
        return sm_fail(error, SM_ERR_IO, "%s: byte %llu of %llu could not be read", r->name,
                       (unsigned long long)done, (unsigned long long)r->size);
    }
    uint64_t got;
    const sm_os_code code = sm_os_read(r->file, r->offset + done, to, n, &got);
    if (!code && got)
        return (int64_t)got;
    if (code)
        sm_os_fail(error, r->name, "read", code);
    else
        sm_fail(error, SM_ERR_IO, "%s: file ended at byte %llu of %llu while reading", r->name,
                (unsigned long long)done, (unsigned long long)r->size);
    return SM_ERR_IO;
}

static sm_status read_all(const reading *r, uint8_t *data, const sm_hook *hook, sm_error *error) {
    const uint64_t piece = (uint64_t)4 << 20; /* between two questions: some milliseconds */
    for (uint64_t done = 0; done < r->size;) {
        if (sm_hook_ends(hook, done, r->size))
            return sm_fail(error, SM_ERR_CANCELLED, "%s: reading was cancelled", r->name);
        const int64_t got = read_some(r, done, data + done, min_u64(r->size - done, piece), error);
        if (got < 0)
            return (sm_status)got;
        done += (uint64_t)got;
    }
    return SM_OK;
}

static sm_status read_file(sm_file *file, sm_mem *mem, const reading *r, const sm_hook *hook,
                           sm_error *error) {
    if (!r->size)
        return SM_OK;
    uint8_t *data = sm_alloc(mem, r->size);
    if (!data)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for its %llu bytes", r->name,
                       (unsigned long long)r->size);
    const sm_status status = read_all(r, data, hook, error);
    if (status)
        sm_free(mem, data);
    else
        *file = (sm_file){.data = data, .size = r->size, .mem = mem};
    return status;
}

static sm_status map_file(sm_file *file, sm_mem *mem, const reading *r, sm_error *error) {
    if (!r->size)
        return SM_OK;
    const uint64_t before = r->offset % sm_os_map_step();
    void *at;
    const sm_os_code code = sm_os_map(&at, r->file, r->offset - before, before + r->size);
    if (code)
        return sm_os_lacks_memory(code)
                   ? sm_fail(error, SM_ERR_NOMEM, "%s: no address space to map it", r->name)
                   : sm_os_fail(error, r->name, "map", code);
    *file = (sm_file){.data = (const uint8_t *)at + before,
                      .size = r->size,
                      .mapped = true,
                      .before = (uint32_t)before,
                      .mem = mem};
    return SM_OK;
}

sm_status sm_file_open(sm_file *file, sm_mem *mem, const char *path, bool map, sm_error *error) {
    return sm_file_open_asking(file, mem, path, map, NULL, error);
}

sm_status sm_file_open_asking(sm_file *file, sm_mem *mem, const char *path, bool map,
                              const sm_hook *hook, sm_error *error) {
    *file = (sm_file){0};
    reading r = {.name = path};
    sm_status status = sm_os_open(&r.file, &r.size, path, error);
    if (status)
        return status;
    status = map ? map_file(file, mem, &r, error) : read_file(file, mem, &r, hook, error);
    sm_os_close(r.file);
    return status;
}

void sm_file_close(sm_file *file) {
    if (file->mapped)
        sm_os_unmap((void *)(uintptr_t)(file->data - file->before), file->before + file->size);
    else if (file->mem)
        sm_free(file->mem, (void *)(uintptr_t)file->data);
    if (file->done)
        file->done(file->user);
    *file = (sm_file){0};
}

/* ---- from anywhere ----------------------------------------------------------- */

static const sm_wide input_wide[] = {SM_WIDE_FROM(sm_origin, name), {0}};

sm_status sm_origin_take(sm_origin *to, const sm_origin *from, const char *what, sm_error *error) {
    if (!from)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: origin is NULL", what);
    sm_status status = sm_struct_take(to, sizeof *to, input_wide, from, what, error);
    if (status)
        return status;
    const char *lacks = to->kind > SM_ORIGIN_READ                                        ? "kind"
                        : to->kind == SM_ORIGIN_PATH && !to->name                        ? "name"
                        : to->kind == SM_ORIGIN_MEMORY && to->size && !to->data          ? "data"
                        : to->kind == SM_ORIGIN_FD && (to->fd < 0 || to->fd > INT32_MAX) ? "fd"
                        : to->kind == SM_ORIGIN_READ && !to->read                        ? "read"
                        : to->size > SIZE_MAX / 2 || to->offset > INT64_MAX - to->size   ? "size"
                                                                                         : NULL;
    if (lacks)
        return sm_fail(error, SM_ERR_ARGUMENT, "%s: origin.%s cannot be so", what, lacks);
    if (!to->name)
        to->name = "input";
    return SM_OK;
}

void sm_origin_drop(const sm_origin *origin) {
    if (origin->done)
        origin->done(origin->user);
}

/* A part of a file that the caller has open. */
static sm_status open_fd(sm_file *file, sm_mem *mem, const reading *from, bool map,
                         const sm_hook *hook, sm_error *error) {
    reading r = *from;
    uint64_t end;
    const sm_status status = sm_os_look(r.file, &end, r.name, error);
    if (status)
        return status;
    if (r.offset > end || r.size > end - r.offset)
        return sm_fail(error, SM_ERR_IO, "%s: bytes %llu to %llu are asked for, the file has %llu",
                       r.name, (unsigned long long)r.offset,
                       (unsigned long long)(r.offset + r.size), (unsigned long long)end);
    if (!r.size)
        r.size = end - r.offset;
    /* where a matrix would lie across the kernels' alignment the bytes are copied */
    const bool aligned = r.offset % SM_ALIGN == 0;
    return map && aligned ? map_file(file, mem, &r, error) : read_file(file, mem, &r, hook, error);
}

static sm_status open_memory(sm_file *file, sm_mem *mem, const sm_origin *origin, sm_error *error) {
    if ((uintptr_t)origin->data % SM_ALIGN == 0) {
        *file = (sm_file){.data = origin->data, .size = origin->size};
        return SM_OK;
    }
    void *copy = sm_alloc(mem, origin->size);
    if (!copy && origin->size)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory for its %llu bytes", origin->name,
                       (unsigned long long)origin->size);
    if (origin->size)
        memcpy(copy, origin->data, (size_t)origin->size);
    *file = (sm_file){.data = copy, .size = origin->size, .mem = mem};
    return SM_OK;
}

sm_status sm_file_open_origin(sm_file *file, sm_mem *mem, const sm_origin *origin, bool map,
                              const sm_hook *hook, sm_error *error) {
    *file = (sm_file){0};
    const reading r = {origin, origin->name,
                       origin->kind == SM_ORIGIN_FD ? (sm_os_file)origin->fd : SM_OS_NO_FILE,
                       origin->offset, origin->size};
    const sm_status status =
        origin->kind == SM_ORIGIN_PATH
            ? sm_file_open_asking(file, mem, origin->name, map, hook, error)
        : origin->kind == SM_ORIGIN_MEMORY ? open_memory(file, mem, origin, error)
        : origin->kind == SM_ORIGIN_FD     ? open_fd(file, mem, &r, map, hook, error)
                                           : read_file(file, mem, &r, hook, error);
    const bool needed = !status && (file->mapped || (file->size && !file->mem));
    if (needed) {
        file->done = origin->done;
        file->user = origin->user;
    } else {
        sm_origin_drop(origin);
    }
    return status;
}

void sm_file_release(const sm_file *file, const void *data, uint64_t size) {
    uintptr_t from = (uintptr_t)data, start = (uintptr_t)file->data;
    if (!file->mapped || from < start || from - start > file->size)
        return;
    /* from the beginning of the mapping, which is a page's */
    uint64_t begin = from - start + file->before;
    const uint64_t all = file->size + file->before;
    uint64_t end = size < all - begin ? begin + size : all;
    /* Only whole pages inside the range: its first and last may hold neighbours. */
    const uint64_t page = sm_os_page_bytes();
    begin = (begin + page - 1) / page * page;
    if (end < all)
        end = end / page * page;
    if (begin < end)
        sm_os_forget((void *)(uintptr_t)(file->data - file->before + begin), end - begin);
}

/* ---- atomic replacement ---------------------------------------------------- */

#define BUFFER_SIZE 65536

struct sm_file_writer {
    sm_os_new_file file;
    uint32_t process;  /* that opened it: a forked child shares the file, and leaves it alone */
    uint64_t position; /* bytes handed to sm_file_write */
    uint64_t buffered;
    uint8_t buffer[BUFFER_SIZE];
};

static const char *skip_digits(const char *text) {
    const char *at = text;
    while (*at >= '0' && *at <= '9')
        at++;
    return at > text ? at : NULL;
}

bool sm_os_is_temporary_of(const char *entry, const char *name) {
    const size_t length = strlen(name);
    if (strncmp(entry, name, length) != 0 || entry[length] != '.')
        return false;
    const char *at = skip_digits(entry + length + 1);
    at = at && *at == '-' ? skip_digits(at + 1) : NULL;
    return at && !strcmp(at, SM_OS_TEMPORARY_END);
}

sm_status sm_file_writer_open(sm_file_writer **out, sm_mem *mem, const char *path,
                              sm_error *error) {
    *out = NULL;
    sm_file_writer *w = sm_alloc(mem, sizeof *w);
    if (!w)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    memset(w, 0, offsetof(sm_file_writer, buffer));
    w->process = sm_process_id();
    const sm_status status = sm_os_new_file_open(&w->file, mem, path, error);
    if (status)
        sm_file_abort(w);
    else
        *out = w;
    return status;
}

static sm_status write_all(sm_file_writer *w, const uint8_t *data, uint64_t size, sm_error *error) {
    if (w->process != sm_process_id())
        return sm_fail(error, SM_ERR_STATE,
                       "%s: this process was forked while another one wrote the file, which goes "
                       "on there",
                       w->file.path);
    return sm_os_new_file_write(&w->file, data, size, error);
}

static sm_status flush(sm_file_writer *w, sm_error *error) {
    uint64_t n = w->buffered;
    w->buffered = 0;
    return write_all(w, w->buffer, n, error);
}

sm_status sm_file_write(sm_file_writer *writer, const void *data, uint64_t size, sm_error *error) {
    sm_status status = SM_OK;
    if (size > BUFFER_SIZE - writer->buffered)
        status = flush(writer, error);
    if (!status && size >= BUFFER_SIZE) {
        status = write_all(writer, data, size, error);
    } else if (!status && size) {
        memcpy(writer->buffer + writer->buffered, data, (size_t)size);
        writer->buffered += size;
    }
    if (!status)
        writer->position += size;
    return status;
}

uint64_t sm_file_writer_position(const sm_file_writer *writer) {
    return writer->position;
}

sm_status sm_file_commit(sm_file_writer *writer, sm_error *error) {
    sm_status status = flush(writer, error);
    if (!status)
        status = sm_os_new_file_commit(&writer->file, error);
    sm_file_abort(writer);
    return status;
}

void sm_file_abort(sm_file_writer *writer) {
    if (!writer)
        return;
    sm_mem *mem = writer->file.mem;
    sm_os_new_file_drop(&writer->file, writer->process != sm_process_id());
    sm_free(mem, writer);
}
