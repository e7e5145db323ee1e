/* os.h - what lib/base asks the system for, beside what base.h itself names (time, process, CPUs,
 * directories): posix_*.c have it all, and windows_*.c; everything else of the library is portable
 * C. Nobody outside lib/base includes this.
 */
#ifndef SM_OS_H
#define SM_OS_H

#include "base.h"

/* What went wrong in the system's own numbers (errno, GetLastError); 0: nothing. */
typedef uint32_t sm_os_code;

/* Lower-case words for it, whatever the locale; "system error" where it is not known. */
const char *sm_os_reason(sm_os_code code);
bool sm_os_lacks_memory(sm_os_code code);
extern const char *const sm_os_number_name; /* "errno" */
/* "PATH: cannot ACTION: REASON (errno N)": SM_ERR_IO. */
sm_status sm_os_fail(sm_error *error, const char *path, const char *action, sm_os_code code);

/* ---- memory ----------------------------------------------------------------------- */

/* size: a multiple of align, a power of two. NULL: none left. */
void *sm_os_alloc(uint64_t size, uint64_t align);
void sm_os_release(void *block);

/* ---- threads ---------------------------------------------------------------------- */

/* Stays where it is while the thread lives. */
typedef struct sm_os_thread {
    uintptr_t handle;
    void (*run)(void *arg);
    void *arg;
} sm_os_thread;

/* The number of the calling thread: not 0, no two that live at one time in a process have the
 * same, its low three bits are 0; a forked child's only thread has that of the one that forked. */
uintptr_t sm_os_this_thread(void);
/* The thread takes no signals of the host's, but those that tell of a fault of its own. */
bool sm_os_thread_start(sm_os_thread *thread, uint64_t stack_bytes, void (*run)(void *arg),
                        void *arg);
void sm_os_thread_join(sm_os_thread *thread);
/* Binds threads[0..n) to CPUs of the process, one each, of which the first is left out; from the
 * beginning again where they are too few. SM_ERR_SYSTEM, SM_ERR_UNSUPPORTED. */
sm_status sm_os_threads_pin(const sm_os_thread *threads, uint32_t n, sm_error *error);
/* Sleeps while the word has that value; may return early. */
void sm_os_wait(_Atomic uint32_t *word, uint32_t value);
void sm_os_wake(_Atomic uint32_t *word); /* all who sleep on it */

/* ---- files that are read ------------------------------------------------------------ */

typedef intptr_t sm_os_file; /* a descriptor or a HANDLE */
#define SM_OS_NO_FILE ((sm_os_file)-1)

/* Opens for reading, without waiting for the other end of a pipe. What is no regular file fails
 * with SM_ERR_IO. */
sm_status sm_os_open(sm_os_file *out, uint64_t *size, const char *path, sm_error *error);
/* The same check of what the caller has open. */
sm_status sm_os_look(sm_os_file file, uint64_t *size, const char *name, sm_error *error);
void sm_os_close(sm_os_file file);
/* Reads at most n bytes from offset on; *got 0: the file ends there. */
sm_os_code sm_os_read(sm_os_file file, uint64_t offset, void *to, uint64_t n, uint64_t *got);

/* offset: a multiple of sm_os_map_step(). Read only. */
sm_os_code sm_os_map(void **at, sm_os_file file, uint64_t offset, uint64_t size);
void sm_os_unmap(void *at, uint64_t size);
uint64_t sm_os_map_step(void);
/* Whole pages of a mapping need not be kept in memory. */
void sm_os_forget(void *at, uint64_t size);
uint64_t sm_os_page_bytes(void);

/* ---- files that are replaced --------------------------------------------------------
 *
 * The temporary beside a file, as base.h promises of sm_file_writer. Messages name `path`. */

typedef struct sm_os_new_file {
    sm_mem *mem;
    char *path;           /* as it was given */
    char *target;         /* where it goes: path, symbolic links followed */
    char *temporary;      /* its name; NULL or empty while there is none */
    const char *name;     /* last part of target */
    sm_os_file directory; /* of target where the system has such handles: chdir does not matter */
    sm_os_file file;
} sm_os_new_file;

/* On failure nothing is left; the struct is then to be dropped all the same. */
sm_status sm_os_new_file_open(sm_os_new_file *f, sm_mem *mem, const char *path, sm_error *error);
sm_status sm_os_new_file_write(sm_os_new_file *f, const uint8_t *data, uint64_t size,
                               sm_error *error);
/* Puts it on the disk and in place. */
sm_status sm_os_new_file_commit(sm_os_new_file *f, sm_error *error);
/* Frees all, and removes a temporary that was not put in place: not where `leave` says that it is
 * another process's. */
void sm_os_new_file_drop(sm_os_new_file *f, bool leave);

/* Whether an entry of a directory is "NAME.<digits>-<digits>.tmp". */
bool sm_os_is_temporary_of(const char *entry, const char *name);
#define SM_OS_TEMPORARY_END ".tmp"

#endif
