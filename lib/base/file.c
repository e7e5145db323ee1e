/* Files over POSIX: whole-file reads and maps, atomic replacement. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE /* madvise, flock */
#endif
#define _FILE_OFFSET_BITS 64

#include "base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat; nothing of stdio proper */
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors ---------------------------------------------------------------- */

/* strerror depends on the locale and may not be thread-safe. */
static const char *reason(int code) {
    static const struct {
        int code;
        const char *text;
    } table[] = {
        {ENOENT, "no such file or directory"},
        {EACCES, "permission denied"},
        {EPERM, "operation not permitted"},
        {EISDIR, "is a directory"},
        {ENOTDIR, "not a directory"},
        {ENOSPC, "no space left on device"},
        {EIO, "device input/output error"},
        {EMFILE, "too many open files in this process"},
        {ENFILE, "too many open files in the system"},
        {ENOMEM, "out of memory"},
        {EROFS, "read-only file system"},
        {EFBIG, "file too large"},
        {EDQUOT, "disk quota exceeded"},
        {ELOOP, "too many symbolic links"},
        {ENAMETOOLONG, "file name too long"},
        {EEXIST, "file exists"},
        {EBUSY, "device or resource busy"},
        {ETXTBSY, "file is being executed"},
        {EINVAL, "invalid argument"},
        {ENODEV, "no such device, or it cannot be mapped"},
        {ENXIO, "no such device or address"},
        {EOVERFLOW, "value too large"},
        {EXDEV, "on another file system"},
        {EAGAIN, "temporarily unavailable"},
        {ESTALE, "stale file handle"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return table[i].text;
    return "system error";
}

static sm_status io_fail(sm_error *error, const char *path, const char *action, int code) {
    return sm_fail(error, SM_ERR_IO, "%s: cannot %s: %s (errno %d)", path, action, reason(code),
                   code);
}

static void close_fd(int fd) {
    int keep = errno;
    close(fd); /* never repeated: after EINTR the descriptor is gone on Linux */
    errno = keep;
}

/* ---- reading --------------------------------------------------------------- */

/* A descriptor of a regular file. O_NONBLOCK: opening a FIFO must not hang. */
static sm_status open_regular(int *out, uint64_t *size, const char *path, sm_error *error) {
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return io_fail(error, path, "open", errno);
    struct stat info;
    sm_status status = SM_OK;
    if (fstat(fd, &info) != 0)
        status = io_fail(error, path, "open", errno);
    else if (S_ISDIR(info.st_mode))
        status = io_fail(error, path, "open", EISDIR);
    else if (!S_ISREG(info.st_mode))
        status = sm_fail(error, SM_ERR_IO, "%s: not a regular file", path);
    else if ((uint64_t)info.st_size > SIZE_MAX / 2)
        status = io_fail(error, path, "open", EFBIG);
    if (status) {
        close_fd(fd);
        return status;
    }
    *out = fd;
    *size = (uint64_t)info.st_size;
    return SM_OK;
}

/* Where bytes that are read come from. */
typedef struct reading {
    const sm_origin *origin;
    const char *name;
    int fd; /* of a file, from `offset` on; origin->read otherwise */
    uint64_t offset, size;
} reading;

static int64_t read_some(const reading *r, uint64_t done, uint8_t *to, uint64_t n,
                         sm_error *error) {
    if (r->fd < 0) {
        const int64_t got = r->origin->read(r->origin->user, done, to, n);
        if (got > 0 && (uint64_t)got <= n)
            return got;
        sm_fail(error, SM_ERR_IO, "%s: byte %llu of %llu could not be read", r->name,
                (unsigned long long)done, (unsigned long long)r->size);
        return -1;
    }
    for (;;) {
        const ssize_t got = pread(r->fd, to, (size_t)n, (off_t)(r->offset + done));
        if (got > 0)
            return got;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            io_fail(error, r->name, "read", errno);
        else
            sm_fail(error, SM_ERR_IO, "%s: file ended at byte %llu of %llu while reading", r->name,
                    (unsigned long long)done, (unsigned long long)r->size);
        return -1;
    }
}

static sm_status read_all(const reading *r, uint8_t *data, const sm_hook *hook, sm_error *error) {
    const uint64_t piece = (uint64_t)4 << 20; /* between two questions: some milliseconds */
    for (uint64_t done = 0; done < r->size;) {
        if (sm_hook_ends(hook, done, r->size))
            return sm_fail(error, SM_ERR_CANCELLED, "%s: reading was cancelled", r->name);
        const int64_t got = read_some(r, done, data + done, min_u64(r->size - done, piece), error);
        if (got < 0)
            return SM_ERR_IO;
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
    const uint64_t before = r->offset % (uint64_t)sysconf(_SC_PAGESIZE);
    void *at = mmap(NULL, (size_t)(before + r->size), PROT_READ, MAP_PRIVATE, r->fd,
                    (off_t)(r->offset - before));
    if (at == MAP_FAILED)
        return errno == ENOMEM
                   ? sm_fail(error, SM_ERR_NOMEM, "%s: no address space to map it", r->name)
                   : io_fail(error, r->name, "map", errno);
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
    sm_status status = open_regular(&r.fd, &r.size, path, error);
    if (status)
        return status;
    status = map ? map_file(file, mem, &r, error) : read_file(file, mem, &r, hook, error);
    close_fd(r.fd);
    return status;
}

void sm_file_close(sm_file *file) {
    if (file->mapped)
        munmap((void *)(uintptr_t)(file->data - file->before), (size_t)(file->before + file->size));
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
    struct stat info;
    if (fstat(r.fd, &info) != 0)
        return io_fail(error, r.name, "look at the descriptor", errno);
    if (!S_ISREG(info.st_mode))
        return sm_fail(error, SM_ERR_IO, "%s: not a regular file", r.name);
    const uint64_t end = (uint64_t)info.st_size;
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
    const reading r = {origin, origin->name, origin->kind == SM_ORIGIN_FD ? (int)origin->fd : -1,
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
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    begin = (begin + page - 1) / page * page;
    if (end < all)
        end = end / page * page;
    if (begin < end)
        madvise((void *)(uintptr_t)(file->data - file->before + begin), (size_t)(end - begin),
                MADV_DONTNEED);
}

/* ---- atomic replacement ---------------------------------------------------- */

#define BUFFER_SIZE 65536

struct sm_file_writer {
    sm_mem *mem;
    char *path;       /* for messages */
    char *target;     /* where it goes: path, symbolic links followed */
    const char *name; /* last part of target */
    char *temporary;  /* name beside it; empty while there is none */
    int directory;    /* of target: names are relative to it, so chdir does not matter */
    int fd;
    uint32_t process;  /* that opened it: a forked child shares the file, and leaves it alone */
    uint64_t position; /* bytes handed to sm_file_write */
    uint64_t buffered;
    uint8_t buffer[BUFFER_SIZE];
};

/* The path the new file gets: where path is a symbolic link, the file it points to. */
static sm_status resolve_target(sm_file_writer *w, sm_error *error) {
    const char *path = w->path;
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        char *real = realpath(path, NULL); /* the C library's memory, returned at once */
        if (!real)
            return errno == ENOMEM ? sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path)
                                   : io_fail(error, path, "follow the link", errno);
        w->target = sm_strdup(w->mem, real, strlen(real));
        free(real);
    } else {
        w->target = sm_strdup(w->mem, path, strlen(path));
    }
    return w->target ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
}

static sm_status open_directory(sm_file_writer *w, sm_error *error) {
    char *slash = strrchr(w->target, '/');
    w->name = slash ? slash + 1 : w->target;
    if (!*w->name)
        return io_fail(error, w->path, "write", *w->target ? EISDIR : ENOENT);
    const char *directory = !slash ? "." : slash == w->target ? "/" : w->target;
    if (directory == w->target)
        *slash = 0;
    do
        w->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (w->directory < 0 && errno == EINTR);
    if (slash)
        *slash = '/';
    return w->directory < 0 ? io_fail(error, w->path, "open the directory", errno) : SM_OK;
}

/* ---- temporaries -------------------------------------------------------------
 *
 * "<name>.<pid>-<n>.tmp" is written under an flock of its own, which ends when the last process
 * that has it open ends, however it ends. The lock says whether a temporary is alive, not the
 * number in its name: numbers are given again, and those of another container or machine mean
 * nothing here. Where the file system has no locks nothing is removed. */

#define TEMPORARY_END ".tmp"

/* Whether the name in the directory is that of the open file. */
static bool is_named(int fd, int directory, const char *name) {
    struct stat open_one, named;
    return fstat(fd, &open_one) == 0 &&
           fstatat(directory, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

/* Whether the open file has a name, still. */
static bool has_name(int fd) {
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

static int try_lock(int fd) {
    int rc;
    do
        rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    return rc;
}

static const char *skip_digits(const char *text) {
    const char *at = text;
    while (*at >= '0' && *at <= '9')
        at++;
    return at > text ? at : NULL;
}

static bool is_temporary_of(const char *entry, const char *name) {
    const size_t length = strlen(name);
    if (strncmp(entry, name, length) != 0 || entry[length] != '.')
        return false;
    const char *at = skip_digits(entry + length + 1);
    at = at && *at == '-' ? skip_digits(at + 1) : NULL;
    return at && !strcmp(at, TEMPORARY_END);
}

/* Removes a temporary that nobody writes any more. */
static void remove_if_dead(int directory, const char *name) {
    /* open for writing: over NFS an exclusive lock asks for that */
    const int fd = openat(directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    struct stat info;
    /* The name may have gone to the finished file, or to another one, before the lock was had.
     * With the lock it cannot: whoever else would take it away needs the lock, too. */
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && try_lock(fd) == 0 &&
        is_named(fd, directory, name))
        unlinkat(directory, name, 0);
    close_fd(fd);
}

/* What killed writers of this name left behind goes. That this cannot be done is no failure. */
static void remove_dead(const sm_file_writer *w) {
    const int fd = openat(w->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd); /* the C library's memory, returned at once */
    if (!list) {
        if (fd >= 0)
            close_fd(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(list));)
        if (is_temporary_of(entry->d_name, w->name))
            remove_if_dead(w->directory, entry->d_name);
    closedir(list);
}

/* Makes an empty temporary that is locked. Where locks cannot be had it has none, like all others
 * there. False: errno says why. */
static bool make_temporary(sm_file_writer *w, uint64_t capacity, mode_t mode) {
    for (unsigned n = 0; n < 1000; n++) {
        sm_format(w->temporary, capacity, "%s.%ld-%u" TEMPORARY_END, w->name, (long)getpid(), n);
        do
            w->fd =
                openat(w->directory, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        while (w->fd < 0 && errno == EINTR);
        if (w->fd < 0 && errno != EEXIST)
            return false;
        if (w->fd < 0)
            continue;
        /* another writer may take it for dead as long as it has no lock */
        if ((try_lock(w->fd) == 0 || errno != EWOULDBLOCK) && has_name(w->fd))
            return true;
        close_fd(w->fd);
        w->fd = -1;
        errno = EEXIST;
    }
    return false;
}

/* Creates the temporary, with the permissions of the file it will replace. */
static sm_status create_temporary(sm_file_writer *w, sm_error *error) {
    struct stat old;
    bool replaces = fstatat(w->directory, w->name, &old, 0) == 0;
    if (replaces && S_ISDIR(old.st_mode))
        return io_fail(error, w->path, "write", EISDIR);
    if (replaces && !S_ISREG(old.st_mode))
        return sm_fail(error, SM_ERR_IO, "%s: not a regular file", w->path);
    mode_t mode = replaces ? old.st_mode & 0777 : 0666;
    uint64_t capacity = strlen(w->name) + 48;
    w->temporary = sm_alloc(w->mem, capacity);
    if (!w->temporary)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", w->path);
    remove_dead(w);
    if (!make_temporary(w, capacity, mode)) {
        w->temporary[0] = 0;
        return io_fail(error, w->path, "create a temporary beside it", errno);
    }
    if (replaces && fchmod(w->fd, mode) != 0) /* what the umask took away */
        return io_fail(error, w->path, "set the permissions", errno);
    return SM_OK;
}

/* ---- writing ------------------------------------------------------------------ */

sm_status sm_file_writer_open(sm_file_writer **out, sm_mem *mem, const char *path,
                              sm_error *error) {
    *out = NULL;
    sm_file_writer *w = sm_alloc(mem, sizeof *w);
    if (!w)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    memset(w, 0, offsetof(sm_file_writer, buffer));
    w->mem = mem;
    w->directory = w->fd = -1;
    w->process = sm_process_id();
    w->path = sm_strdup(mem, path, strlen(path));
    sm_status status = w->path ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    if (!status)
        status = resolve_target(w, error);
    if (!status)
        status = open_directory(w, error);
    if (!status)
        status = create_temporary(w, error);
    if (status)
        sm_file_abort(w);
    else
        *out = w;
    return status;
}

static sm_status check_owner(const sm_file_writer *w, sm_error *error) {
    return w->process == sm_process_id()
               ? SM_OK
               : sm_fail(error, SM_ERR_STATE,
                         "%s: this process was forked while another one wrote the file, which goes "
                         "on there",
                         w->path);
}

static sm_status write_all(sm_file_writer *w, const uint8_t *data, uint64_t size, sm_error *error) {
    const uint64_t piece = (uint64_t)1 << 30;
    const sm_status status = check_owner(w, error);
    if (status)
        return status;
    while (size) {
        ssize_t n = write(w->fd, data, (size_t)(size < piece ? size : piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_fail(error, w->path, "write", n < 0 ? errno : ENOSPC);
        data += n;
        size -= (uint64_t)n;
    }
    return SM_OK;
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

static int sync_fd(int fd) {
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    return rc;
}

/* Some file systems report late write errors when a file is closed. The writer's own descriptor
 * stays open, and with it the lock, until the temporary has its name. */
static int close_early(int fd) {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 || close(copy) == 0 || errno == EINTR ? 0 : -1;
}

static sm_status put_in_place(sm_file_writer *w, sm_error *error) {
    if (!has_name(w->fd))
        return sm_fail(error, SM_ERR_IO, "%s: its temporary was taken away while it was written",
                       w->path);
    if (renameat(w->directory, w->temporary, w->directory, w->name) != 0)
        return io_fail(error, w->path, "rename the temporary", errno);
    w->temporary[0] = 0;
    /* From here on the file is written. Its content is on the disk; should this fail, a crash of
     * the system may bring the old file back, which is whole as well. */
    sync_fd(w->directory);
    return SM_OK;
}

sm_status sm_file_commit(sm_file_writer *writer, sm_error *error) {
    sm_status status = flush(writer, error);
    if (!status && sync_fd(writer->fd) != 0)
        status = io_fail(error, writer->path, "sync", errno);
    if (!status && close_early(writer->fd) != 0)
        status = io_fail(error, writer->path, "close", errno);
    if (!status)
        status = put_in_place(writer, error);
    sm_file_abort(writer);
    return status;
}

void sm_file_abort(sm_file_writer *writer) {
    if (!writer)
        return;
    if (writer->fd >= 0) {
        if (writer->process == sm_process_id() && writer->temporary[0] && has_name(writer->fd))
            unlinkat(writer->directory, writer->temporary, 0);
        close_fd(writer->fd);
    }
    if (writer->directory >= 0)
        close_fd(writer->directory);
    sm_mem *mem = writer->mem;
    sm_free(mem, writer->temporary);
    sm_free(mem, writer->target);
    sm_free(mem, writer->path);
    sm_free(mem, writer);
}
