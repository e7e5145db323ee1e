/* posix_file.c - files over POSIX: opening, reading, mapping, replacing. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE /* madvise, flock */
#endif
#define _FILE_OFFSET_BITS 64

#include "os.h"

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

const char *const sm_os_number_name = "errno";

/* strerror depends on the locale and may not be thread-safe. */
const char *sm_os_reason(sm_os_code number) {
    const int code = (int)number;
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
        {EBADF, "no descriptor of an open file"},
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

/* The descriptor that an sm_os_file is here. */
static int fd_of(sm_os_file file) {
    return (int)file;
}

static sm_status io_fail(sm_error *error, const char *path, const char *action, int code) {
    return sm_os_fail(error, path, action, (sm_os_code)code);
}

void sm_os_close(sm_os_file file) {
    int keep = errno;
    close(fd_of(file)); /* never repeated: after EINTR the descriptor is gone on Linux */
    errno = keep;
}

/* ---- reading --------------------------------------------------------------- */

sm_status sm_os_look(sm_os_file file, uint64_t *size, const char *name, sm_error *error) {
    struct stat info;
    if (fstat(fd_of(file), &info) != 0)
        return io_fail(error, name, "open", errno);
    if (S_ISDIR(info.st_mode))
        return io_fail(error, name, "open", EISDIR);
    if (!S_ISREG(info.st_mode))
        return sm_fail(error, SM_ERR_IO, "%s: not a regular file", name);
    if ((uint64_t)info.st_size > SIZE_MAX / 2)
        return io_fail(error, name, "open", EFBIG);
    *size = (uint64_t)info.st_size;
    return SM_OK;
}

sm_status sm_os_open(sm_os_file *out, uint64_t *size, const char *path, sm_error *error) {
    int fd;
    do /* O_NONBLOCK: opening a FIFO must not hang */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return io_fail(error, path, "open", errno);
    const sm_status status = sm_os_look(fd, size, path, error);
    if (status)
        sm_os_close(fd);
    else
        *out = fd;
    return status;
}

sm_os_code sm_os_read(sm_os_file file, uint64_t offset, void *to, uint64_t n, uint64_t *got) {
    ssize_t read;
    do
        read = pread(fd_of(file), to, (size_t)n, (off_t)offset);
    while (read < 0 && errno == EINTR);
    *got = read > 0 ? (uint64_t)read : 0;
    return read < 0 ? (sm_os_code)errno : 0;
}

bool sm_os_lacks_memory(sm_os_code code) {
    return code == ENOMEM;
}

/* ---- mapping ---------------------------------------------------------------- */

uint64_t sm_os_page_bytes(void) {
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t sm_os_map_step(void) {
    return sm_os_page_bytes();
}

sm_os_code sm_os_map(void **at, sm_os_file file, uint64_t offset, uint64_t size) {
    *at = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd_of(file), (off_t)offset);
    return *at == MAP_FAILED ? (sm_os_code)errno : 0;
}

void sm_os_unmap(void *at, uint64_t size) {
    munmap(at, (size_t)size);
}

void sm_os_forget(void *at, uint64_t size) {
    madvise(at, (size_t)size, MADV_DONTNEED);
}

/* ---- the file that is replaced ------------------------------------------------- */

/* The path the new file gets: where path is a symbolic link, the file it points to. */
static sm_status resolve_target(sm_os_new_file *f, sm_error *error) {
    const char *path = f->path;
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        char *real = realpath(path, NULL); /* the C library's memory, returned at once */
        if (!real)
            return errno == ENOMEM ? sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path)
                                   : io_fail(error, path, "follow the link", errno);
        f->target = sm_strdup(f->mem, real, strlen(real));
        free(real);
    } else {
        f->target = sm_strdup(f->mem, path, strlen(path));
    }
    return f->target ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
}

static sm_status open_directory(sm_os_new_file *f, sm_error *error) {
    char *slash = strrchr(f->target, '/');
    f->name = slash ? slash + 1 : f->target;
    if (!*f->name)
        return io_fail(error, f->path, "write", *f->target ? EISDIR : ENOENT);
    const char *directory = !slash ? "." : slash == f->target ? "/" : f->target;
    if (directory == f->target)
        *slash = 0;
    do
        f->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (f->directory < 0 && errno == EINTR);
    if (slash)
        *slash = '/';
    return f->directory < 0 ? io_fail(error, f->path, "open the directory", errno) : SM_OK;
}

/* ---- temporaries -------------------------------------------------------------
 *
 * "<name>.<pid>-<n>.tmp" is written under an flock of its own, which ends when the last process
 * that has it open ends, however it ends. The lock says whether a temporary is alive, not the
 * number in its name: numbers are given again, and those of another container or machine mean
 * nothing here. Where the file system has no locks nothing is removed. */

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
    sm_os_close(fd);
}

/* What killed writers of this name left behind goes. That this cannot be done is no failure. */
static void remove_dead(const sm_os_new_file *f) {
    const int fd = openat(fd_of(f->directory), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd); /* the C library's memory, returned at once */
    if (!list) {
        if (fd >= 0)
            sm_os_close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(list));)
        if (sm_os_is_temporary_of(entry->d_name, f->name))
            remove_if_dead(fd_of(f->directory), entry->d_name);
    closedir(list);
}

/* Makes an empty temporary that is locked. Where locks cannot be had it has none, like all others
 * there. False: errno says why. */
static bool make_temporary(sm_os_new_file *f, uint64_t capacity, mode_t mode) {
    for (unsigned n = 0; n < 1000; n++) {
        sm_format(f->temporary, capacity, "%s.%ld-%u" SM_OS_TEMPORARY_END, f->name, (long)getpid(),
                  n);
        do
            f->file = openat(fd_of(f->directory), f->temporary,
                             O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        while (f->file < 0 && errno == EINTR);
        if (f->file < 0 && errno != EEXIST)
            return false;
        if (f->file < 0)
            continue;
        /* another writer may take it for dead as long as it has no lock */
        if ((try_lock(fd_of(f->file)) == 0 || errno != EWOULDBLOCK) && has_name(fd_of(f->file)))
            return true;
        sm_os_close(f->file);
        f->file = SM_OS_NO_FILE;
        errno = EEXIST;
    }
    return false;
}

/* Creates the temporary, with the permissions of the file it will replace. */
static sm_status create_temporary(sm_os_new_file *f, sm_error *error) {
    struct stat old;
    bool replaces = fstatat(fd_of(f->directory), f->name, &old, 0) == 0;
    if (replaces && S_ISDIR(old.st_mode))
        return io_fail(error, f->path, "write", EISDIR);
    if (replaces && !S_ISREG(old.st_mode))
        return sm_fail(error, SM_ERR_IO, "%s: not a regular file", f->path);
    mode_t mode = replaces ? old.st_mode & 0777 : 0666;
    uint64_t capacity = strlen(f->name) + 48;
    f->temporary = sm_alloc(f->mem, capacity);
    if (!f->temporary)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", f->path);
    remove_dead(f);
    if (!make_temporary(f, capacity, mode)) {
        f->temporary[0] = 0;
        return io_fail(error, f->path, "create a temporary beside it", errno);
    }
    if (replaces && fchmod(fd_of(f->file), mode) != 0) /* what the umask took away */
        return io_fail(error, f->path, "set the permissions", errno);
    return SM_OK;
}

/* ---- writing it ---------------------------------------------------------------- */

sm_status sm_os_new_file_open(sm_os_new_file *f, sm_mem *mem, const char *path, sm_error *error) {
    *f = (sm_os_new_file){.mem = mem, .directory = SM_OS_NO_FILE, .file = SM_OS_NO_FILE};
    f->path = sm_strdup(mem, path, strlen(path));
    sm_status status = f->path ? SM_OK : sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", path);
    if (!status)
        status = resolve_target(f, error);
    if (!status)
        status = open_directory(f, error);
    if (!status)
        status = create_temporary(f, error);
    return status;
}

sm_status sm_os_new_file_write(sm_os_new_file *f, const uint8_t *data, uint64_t size,
                               sm_error *error) {
    const uint64_t piece = (uint64_t)1 << 30;
    while (size) {
        const ssize_t n = write(fd_of(f->file), data, (size_t)(size < piece ? size : piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_fail(error, f->path, "write", n < 0 ? errno : ENOSPC);
        data += n;
        size -= (uint64_t)n;
    }
    return SM_OK;
}

static int sync_fd(int fd) {
    int rc;
#if defined(F_FULLFSYNC) /* fsync only hands the data to the disk there; not all file systems can */
    if (fcntl(fd, F_FULLFSYNC) == 0)
        return 0;
#endif
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

static sm_status put_in_place(sm_os_new_file *f, sm_error *error) {
    if (!has_name(fd_of(f->file)))
        return sm_fail(error, SM_ERR_IO, "%s: its temporary was taken away while it was written",
                       f->path);
    if (renameat(fd_of(f->directory), f->temporary, fd_of(f->directory), f->name) != 0)
        return io_fail(error, f->path, "rename the temporary", errno);
    f->temporary[0] = 0;
    /* From here on the file is written. Its content is on the disk; should this fail, a crash of
     * the system may bring the old file back, which is whole as well. */
    sync_fd(fd_of(f->directory));
    return SM_OK;
}

sm_status sm_os_new_file_commit(sm_os_new_file *f, sm_error *error) {
    if (sync_fd(fd_of(f->file)) != 0)
        return io_fail(error, f->path, "sync", errno);
    if (close_early(fd_of(f->file)) != 0)
        return io_fail(error, f->path, "close", errno);
    return put_in_place(f, error);
}

void sm_os_new_file_drop(sm_os_new_file *f, bool leave) {
    if (f->file != SM_OS_NO_FILE) {
        if (!leave && f->temporary[0] && has_name(fd_of(f->file)))
            unlinkat(fd_of(f->directory), f->temporary, 0);
        sm_os_close(f->file);
    }
    if (f->directory != SM_OS_NO_FILE)
        sm_os_close(f->directory);
    sm_free(f->mem, f->temporary);
    sm_free(f->mem, f->target);
    sm_free(f->mem, f->path);
}
