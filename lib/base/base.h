/* base.h - what every other component stands on: errors, memory, files,
 * checked arithmetic, the thread team, time, UTF-8.
 *
 * The only component that calls the operating system or malloc.
 */
#ifndef SM_BASE_H
#define SM_BASE_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "smallmind/types.h"

/* ---- errors ---------------------------------------------------------------- */

#if defined(__GNUC__)
#if defined(__MINGW32__) && !defined(__clang__)
#define SM_PRINTF(fmt, args) __attribute__((format(gnu_printf, fmt, args))) /* sm_format is ours */
#else
#define SM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#endif
#else
#define SM_PRINTF(fmt, args)
#endif

/* Writes code and message if error is not NULL; returns status, so that failing reads
 * `return sm_fail(...)`. Arguments of %s and %c may come from anywhere: they are escaped as by
 * sm_text_escape, and longer ones than 400 bytes cut; a limit (%.*s) that falls inside a character
 * leaves it out ("..."). The message is cut to fit where a character ends. */
sm_status sm_fail(sm_error *error, sm_status status, const char *format, ...) SM_PRINTF(3, 4);
sm_status sm_fail_args(sm_error *error, sm_status status, const char *format, va_list args)
    SM_PRINTF(3, 0);

/* One line for a log hook, NULL or not, made like the message of sm_fail. */
void sm_log(sm_log_fn log, void *user, int32_t severity, const char *format, ...) SM_PRINTF(4, 5);

/* SM_ERR_ARGUMENT: a name that is not in a list (as sm_names_find takes), with what it may be a
 * slip of. `what` begins the message: "type". */
sm_status sm_fail_name(sm_error *error, const char *what, const char *name, const char *names);

/* snprintf without locale or stdio: %s %.*s %c %d %u %g %% with l, ll, z. Returns
 * the untruncated length. For names, which keep their bytes: nothing is escaped. */
size_t sm_format(char *out, size_t capacity, const char *format, ...) SM_PRINTF(3, 4);

/* The first character of text[0..length), length > 0, as sm_text_escape shows it: bytes in `unit`,
 * whose number is returned; *used: bytes of text. */
#define SM_ESCAPE_UNIT 12
uint32_t sm_escape_next(const char *text, uint64_t length, char *unit, uint32_t *used);

/* ---- checked arithmetic: true if the result does not fit --------------------- */

static inline bool sm_add_over(uint64_t a, uint64_t b, uint64_t *out) {
    return __builtin_add_overflow(a, b, out);
}
static inline bool sm_mul_over(uint64_t a, uint64_t b, uint64_t *out) {
    return __builtin_mul_overflow(a, b, out);
}

/* ---- figures --------------------------------------------------------------------- */

/* Index of the first of n that is infinite or NaN; n if none is. As fast as memory is read. */
uint64_t sm_first_not_finite(const float *x, uint64_t n);

/* ---- numbers and text ------------------------------------------------------------------- */

static inline uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}
static inline uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Of ASCII letters; other bytes stay. */
static inline char lower_ascii(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}
static inline bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}
static inline bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}
/* The bytes of a text, whose length may be SM_ZT. */
static inline uint64_t text_size(const char *text, uint64_t length) {
    return length != SM_ZT ? length : text ? strlen(text) : 0;
}
/* A caller's list of texts with their numbers of bytes, each 1 to `most`. SM_ERR_ARGUMENT: `what`
 * is the option's name. */
sm_status sm_texts_take(sm_text *to, const sm_text *from, uint64_t n, uint64_t most,
                        const char *what, sm_error *error);
/* Whether bytes that need not end with a zero are these. */
static inline bool same_text(const char *data, uint64_t length, const char *text) {
    return length == strlen(text) && memcmp(data, text, (size_t)length) == 0;
}

/* ---- hashing: splitmix64's step (Steele, Lea, Flood 2014), a bijection that mixes well ---- */

static inline uint64_t sm_mix64(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
/* Goes on from h (any value at first) over size bytes. Tells apart what differs by accident; it is
 * no defence against who wants two files to look the same. Not the same on machines of another
 * byte order. Checkpoints of every version compare model and data by it: it stays as it is. */
uint64_t sm_hash_bytes(uint64_t h, const void *data, uint64_t size);

/* ---- structs that begin with uint32_t struct_size ------------------------------------ */

/* Fields of 8 bytes each (or of `step` bytes) from begin to end, which no struct_size may cut; all
 * others have 4. A struct has a list of these that ends with step 0, NULL where it has none. Where
 * pointers have 4 bytes some of these have, too, and a cut in the middle of the others passes. */
typedef struct sm_wide {
    uint32_t begin, end, step;
} sm_wide;
#define SM_WIDE_FROM(S, first) \
    { offsetof(S, first), sizeof(S), sizeof(void *) } /* to the end */
#define SM_WIDE_UNTIL(S, first, next) \
    { offsetof(S, first), offsetof(S, next), sizeof(void *) }
#define SM_WIDE_ARRAY(S, field)                                              \
    {                                                                        \
        offsetof(S, field), offsetof(S, field) + sizeof(((S *)NULL)->field), \
            sizeof(((S *)NULL)->field)                                       \
    }

/* Takes a caller's struct into `to` (`known` bytes, struct_size set to that): a
 * missing one (NULL) is all zero, a shorter one is filled up with zeros, a longer one
 * must be zero past `known`. SM_ERR_ARGUMENT; `what` begins the message. */
sm_status sm_struct_take(void *to, size_t known, const sm_wide *wide, const void *from,
                         const char *what, sm_error *error);
/* Whether sm_struct_give could fill in `to`: for calls that do something first. */
sm_status sm_struct_check(const void *to, size_t known, const sm_wide *wide, const char *what,
                          sm_error *error);
/* Hands `full` (`known` bytes) to a caller whose struct_size may be another. */
sm_status sm_struct_give(void *to, const void *full, size_t known, const sm_wide *wide,
                         const char *what, sm_error *error);

/* sm_struct_take of n structs that lie struct_size of the first apart, which all have, into to[n].
 * `what` is an item: "item", of which the message tells the number. */
sm_status sm_structs_take(void *to, size_t known, const sm_wide *wide, const void *from, uint64_t n,
                          const char *what, sm_error *error);

/* The table of an options struct (SM_OPTIONS_…); *n gets its length; NULL for an unknown one. */
const sm_option *sm_options_table(uint32_t options_struct, uint32_t *n);

/* sm_struct_take, then checks every field of the struct's table and replaces zeros by their
 * fallbacks, and SM_ZERO and SM_ZERO_U32 by zeros where the table has a fallback (else the caller
 * does both). SM_ERR_ARGUMENT names the field. */
sm_status sm_options_take(void *to, size_t known, const void *from, uint32_t options_struct,
                          sm_error *error);
/* Whether a caller's struct ends between two fields of the table. */
sm_status sm_options_check(const void *options, uint32_t options_struct, sm_error *error);
/* Of options that were taken: zeros that stand for themselves become what says so (SM_ZERO). */
void sm_options_say_zero(void *options, uint32_t options_struct);

/* ---- cancelling ---------------------------------------------------------------- */

/* A reference more; NULL is fine. */
sm_cancel *sm_cancel_retain(sm_cancel *cancel);

/* A caller's hook and flags as one hook, so that what asks hooks need not know of flags. */
typedef struct sm_ask {
    const sm_cancel *flag, *call_flag; /* of a handle and of a call; NULL: none */
    sm_cancel_fn cancel;               /* either of these; NULL: none */
    sm_progress_fn progress;
    void *user;
} sm_ask;
int32_t sm_ask_cancel(void *ask);
/* What a handle asks by what its user set: its hook, and flags. */
static inline sm_cancel_fn sm_asks(const sm_ask *ask) {
    return ask->cancel || ask->flag || ask->call_flag ? sm_ask_cancel : NULL;
}
/* Makes the hook ask the flag too, where there is one; `ask` has to stay as long as the hook. */
void sm_join_cancel(sm_ask *ask, sm_cancel_fn *cancel, void **user, const sm_cancel *flag);
void sm_join_progress(sm_ask *ask, sm_progress_fn *progress, void **user, const sm_cancel *flag);

/* How work of a team is cut short: the caller's thread asks the hook now and then; once it said
 * yes all threads skip what is left of their work, but no barrier, and leave rubbish behind. */
typedef struct sm_stop {
    int32_t (*cancel)(void *user); /* NULL: never */
    void *cancel_user;
    _Atomic bool stopped;
} sm_stop;

/* Whether the work is to end; asks the hook if `asks`, which is so for one thread. */
static inline bool sm_stop_now(sm_stop *stop, bool asks) {
    if (!stop->cancel)
        return false;
    if (asks && !atomic_load_explicit(&stop->stopped, memory_order_relaxed) &&
        stop->cancel(stop->cancel_user))
        atomic_store_explicit(&stop->stopped, true, memory_order_relaxed);
    return atomic_load_explicit(&stop->stopped, memory_order_relaxed);
}

/* How long work of one thread asks: what is done of all, in units of its own. */
typedef struct sm_hook {
    sm_progress_fn fn; /* NULL: never */
    void *user;
} sm_hook;

/* Whether the work is to end. hook may be NULL. */
static inline bool sm_hook_ends(const sm_hook *hook, uint64_t done, uint64_t total) {
    return hook && hook->fn && hook->fn(hook->user, done, total);
}

/* ---- memory ------------------------------------------------------------------ */

#define SM_ALIGN 64 /* every block: one cache line, one AVX-512 vector */

/* An allocator with its counters. One per model or standalone tokenizer; all
 * objects that belong to it allocate here. Thread-safe. */
typedef struct sm_mem {
    sm_allocator hook;         /* hook.alloc NULL: C library */
    uint64_t limit;            /* bytes in use at most; 0: none */
    _Atomic uint64_t in_use;   /* bytes now, headers included */
    _Atomic uint64_t peak;     /* highest in_use seen */
    _Atomic uint64_t n_allocs; /* allocations ever made (tests count them) */
} sm_mem;

/* Says to a caller's hook that it is not needed, where it was not taken; NULL is fine. */
void sm_allocator_drop(const sm_allocator *allocator);
void sm_logger_drop(const sm_logger *logger);
/* Takes a caller's log hook; NULL: to->log is NULL. SM_ERR_ARGUMENT. */
sm_status sm_logger_take(sm_logger *to, const sm_logger *from, sm_error *error);
/* allocator may be NULL. SM_ERR_ARGUMENT if its struct_size or functions are off. */
sm_status sm_mem_init(sm_mem *mem, const sm_allocator *allocator, uint64_t limit, sm_error *error);
/* The same inside memory of its own (from that allocator), for a handle that stands
 * alone; destroyed after everything allocated from it was freed. Then, or where it cannot be made,
 * the allocator's done is called. */
sm_status sm_mem_create(sm_mem **out, const sm_allocator *allocator, uint64_t limit,
                        sm_error *error);
void sm_mem_destroy(sm_mem *mem);
/* SM_ALIGN-aligned; NULL on failure or if size is 0. */
void *sm_alloc(sm_mem *mem, uint64_t size);
void *sm_alloc_zero(sm_mem *mem, uint64_t size);
/* For what is read over and over from end to end: memory of the C library's is backed with large
 * pages where the system gives them on request. */
void *sm_alloc_large(sm_mem *mem, uint64_t size);
/* n*size checked for overflow. */
void *sm_alloc_array(sm_mem *mem, uint64_t n, uint64_t size);
/* Keeps the first min(old,new) bytes; NULL leaves the old block whole. */
void *sm_realloc(sm_mem *mem, void *ptr, uint64_t size);
void sm_free(sm_mem *mem, void *ptr);                            /* NULL is fine */
char *sm_strdup(sm_mem *mem, const char *text, uint64_t length); /* zero-terminated copy */

/* ---- sums: what tells damaged bytes from whole ones (XXH3, 64 bits; not against forgery) ----- */

typedef struct sm_sum sm_sum;
sm_sum *sm_sum_new(sm_mem *mem); /* of no bytes; ended with sm_free; NULL: out of memory */
void sm_sum_add(sm_sum *sum, const void *data, uint64_t size);
uint64_t sm_sum_value(const sm_sum *sum); /* of all bytes added, however they were parted */

/* ---- files -------------------------------------------------------------------- */

/* A whole file as read-only bytes: mapped, read into memory, or in memory of the caller's. */
typedef struct sm_file {
    const uint8_t *data;
    uint64_t size;
    bool mapped;
    uint32_t before;          /* bytes mapped in front of data, which need not begin a page */
    sm_mem *mem;              /* owner of data where it was read */
    void (*done)(void *user); /* NULL: nobody is to be told */
    void *user;
} sm_file;

/* Takes a caller's struct. SM_ERR_ARGUMENT: `what` begins the message; origin->done was not
 * called. */
sm_status sm_origin_take(sm_origin *to, const sm_origin *from, const char *what, sm_error *error);
/* Says that what was taken is not needed, where it was not opened. */
void sm_origin_drop(const sm_origin *origin);
/* Opens what was taken: its done is called, now or by sm_file_close. `map` counts for paths and
 * descriptors. Asks as below. */
sm_status sm_file_open_origin(sm_file *file, sm_mem *mem, const sm_origin *origin, bool map,
                              const sm_hook *hook, sm_error *error);

/* SM_ERR_IO (message names path and the system's reason), SM_ERR_NOMEM. An
 * empty file is an empty sm_file. */
sm_status sm_file_open(sm_file *file, sm_mem *mem, const char *path, bool map, sm_error *error);
/* Asks while it reads (map false): bytes read of all. SM_ERR_CANCELLED. */
sm_status sm_file_open_asking(sm_file *file, sm_mem *mem, const char *path, bool map,
                              const sm_hook *hook, sm_error *error);
void sm_file_close(sm_file *file);
/* Whether path is a directory with an entry that ends with `ending`: the first such name, if it
 * fits. */
bool sm_directory_find(const char *path, const char *ending, char *name, uint64_t capacity,
                       bool *is_directory);
/* Makes a directory; one that is there is fine. SM_ERR_IO. */
sm_status sm_directory_make(const char *path, sm_error *error);
/* Whether there is a file at path, or a link to one. */
bool sm_path_is_file(const char *path);
/* Hint: a range will not be read again soon; the pages of a mapping may be dropped. Nothing
 * happens where data is not in this file. */
void sm_file_release(const sm_file *file, const void *data, uint64_t size);

/* Atomic replacement of a file: writes go to a temporary beside it, commit fsyncs, renames and
 * fsyncs the directory. A failure, or abort, means that the old file is there, whole, and the
 * temporary is not; SM_OK that the new one is there (should the directory's fsync fail, the system
 * going down may still bring the old one back). A symbolic link stays, its file is replaced;
 * permissions are kept; what is no regular file is refused.
 *
 * The temporary is "NAME.<pid>-<n>.tmp", locked (flock) while it is written. What a killed process
 * left of that form is removed when NAME is written the next time. Several may write one name at
 * once, in any processes that see each other's locks: the last to commit wins. */
typedef struct sm_file_writer sm_file_writer;
sm_status sm_file_writer_open(sm_file_writer **out, sm_mem *mem, const char *path, sm_error *error);
sm_status sm_file_write(sm_file_writer *writer, const void *data, uint64_t size, sm_error *error);
/* What callers that ask a hook write at a time: some milliseconds. */
#define SM_WRITE_PIECE ((uint64_t)1 << 20)
uint64_t sm_file_writer_position(const sm_file_writer *writer);
sm_status sm_file_commit(sm_file_writer *writer, sm_error *error); /* frees writer */
void sm_file_abort(sm_file_writer *writer);                        /* frees writer; NULL is fine */

/* ---- time and machine ------------------------------------------------------------ */

uint64_t sm_time_ns(void);  /* monotonic */
int64_t sm_unix_time(void); /* seconds since 1970, UTC */
/* What sm_cpu_count (types.h) knows of control groups: CPUs, rounded up, UINT32_MAX where nothing
 * limits them. The least quota of the process's groups (Linux, v1 and v2) and of those above them.
 * root: "", or what stands for "/". */
uint32_t sm_cpu_quota(const char *root);
uint64_t sm_cache_bytes(void); /* of the last-level cache; a guess where the system does not tell */
/* Asks for large pages inside memory of the process's own; that may come to nothing. */
void sm_want_large_pages(void *ptr, uint64_t size);

/* Of the running process: other in a forked child. */
uint32_t sm_process_id(void);

/* A lock for rare, long work; waiting threads sleep. What a thread of the process held that this
 * one was forked from is free here. */
typedef struct sm_mutex sm_mutex;
sm_status sm_mutex_new(sm_mutex **out, sm_mem *mem, sm_error *error);
void sm_mutex_free(sm_mutex *mutex, sm_mem *mem); /* NULL is fine */
void sm_mutex_lock(sm_mutex *mutex);
/* Whether the calling thread has it: it may not lock it again. */
bool sm_mutex_is_mine(const sm_mutex *mutex);
void sm_mutex_unlock(sm_mutex *mutex);

/* ---- handles in use --------------------------------------------------------------- */

/* The mark of a handle that a call uses. Who comes meanwhile, a callback of that call or another
 * thread, is turned away; what frees the handle meanwhile takes effect when the call ends. All
 * zero at first. */
typedef struct sm_use {
    _Atomic uint64_t holder;  /* the thread whose call uses the handle, and notes; 0: none */
    _Atomic uint32_t process; /* that thread's */
} sm_use;

/* SM_ERR_STATE: "the WHAT is in use by a call that has not returned". process is sm_process_id(),
 * a system call, which one call asks once for all its marks. */
sm_status sm_use_begin(sm_use *use, uint32_t process, const char *what, sm_error *error);
/* The same, and let in is what a callback calls that the handle was lent to. */
sm_status sm_use_begin_lent(sm_use *use, uint32_t process, const char *what, sm_error *error);
/* True: the handle was to be freed meanwhile, and the caller now has to. */
bool sm_use_end(sm_use *use);
/* Around a callback, by the call that has the mark: calls of the same thread that begin with
 * sm_use_begin_lent may use the handle, one at a time. */
void sm_use_lend(sm_use *use);
void sm_use_take_back(sm_use *use);
/* True: nobody uses the handle, the caller has to free it. False: who does will. */
bool sm_use_free(sm_use *use);

/* ---- thread team ------------------------------------------------------------------ */

/* Up to n threads, the caller being number 0, that run one function together and
 * meet at barriers. Workers sleep between runs after a short spin. Where CPUs are
 * missing fewer threads than n take part in a run, so work must be shared out by
 * the n_threads that the function gets. A forked child has no workers: its first run
 * makes new ones, as many as the system gives. */
typedef struct sm_team sm_team;
typedef void (*sm_team_fn)(void *arg, uint32_t thread, uint32_t n_threads);

#define SM_MAX_THREADS 256

/* SM_ERR_SYSTEM if threads cannot be made, SM_ERR_NOMEM. */
sm_status sm_team_new(sm_team **out, sm_mem *mem, uint32_t n_threads, sm_error *error);
void sm_team_free(sm_team *team);
uint32_t sm_team_size(const sm_team *team);
/* Runs fn on every thread of the team and returns when all have finished. */
void sm_team_run(sm_team *team, sm_team_fn fn, void *arg);
/* The same with at most `most` threads, for work that more would not make faster. */
void sm_team_run_some(sm_team *team, uint32_t most, sm_team_fn fn, void *arg);
/* ns that a barrier is taken to cost where the number of threads for some work is chosen. 0, as
 * at first: nothing, so that all threads take part. SM_TEAM_MEASURE: what it does cost, which is
 * measured when it is first asked for, outside a run: in some tens of us, or about 1 ms where
 * threads have no CPU each. */
#define SM_TEAM_MEASURE (-1.0)
void sm_team_set_barrier_ns(sm_team *team, double ns);
double sm_team_barrier_ns(sm_team *team);
/* Keeps each thread but the caller's, which is not touched, on one CPU of those that the process
 * may use, in turn: thread 1 on the second of them, and so on. SM_ERR_SYSTEM;
 * SM_ERR_UNSUPPORTED where the system has no such call. */
sm_status sm_team_pin(sm_team *team, sm_error *error);
bool sm_team_pinned(const sm_team *team);
/* Called by every thread inside a run: none passes before all have come. What
 * was written before it is visible to all after it. */
void sm_team_barrier(sm_team *team);
/* Whether the last run, or the one that goes on, was left by its workers: a callback inside it
 * forked, and this is the child. Barriers hold nobody then, and what should have been computed is
 * not. The next run makes new workers. */
bool sm_team_torn(const sm_team *team);

/* The share of thread `thread` in n items: [*begin, *end). */
static inline void sm_share(uint64_t n, uint32_t thread, uint32_t n_threads, uint64_t *begin,
                            uint64_t *end) {
    *begin = n * thread / n_threads;
    *end = n * (thread + 1) / n_threads;
}

/* ---- UTF-8 -------------------------------------------------------------------------- */

/* Decodes one code point from text[0..length), length > 0. Returns the bytes
 * used (1..4); invalid input uses 1 byte and yields *code = UINT32_MAX. */
uint32_t sm_utf8_decode(const uint8_t *text, uint64_t length, uint32_t *code);
/* Encodes code (<= 0x10FFFF) to out[4]; returns the bytes written. */
uint32_t sm_utf8_encode(uint32_t code, uint8_t *out);
/* Length of the longest prefix of text that ends on a sequence boundary: an
 * incomplete but so far valid sequence at the end is left out. Invalid bytes
 * count as complete. */
uint64_t sm_utf8_complete(const uint8_t *text, uint64_t length);

/* ---- Unicode (15.0) -------------------------------------------------------------------- */

/* General categories by their names. */
typedef enum sm_category {
    SM_CATEGORY_CN,
    SM_CATEGORY_LU,
    SM_CATEGORY_LL,
    SM_CATEGORY_LT,
    SM_CATEGORY_LM,
    SM_CATEGORY_LO,
    SM_CATEGORY_MN,
    SM_CATEGORY_MC,
    SM_CATEGORY_ME,
    SM_CATEGORY_ND,
    SM_CATEGORY_NL,
    SM_CATEGORY_NO,
    SM_CATEGORY_PC,
    SM_CATEGORY_PD,
    SM_CATEGORY_PS,
    SM_CATEGORY_PE,
    SM_CATEGORY_PI,
    SM_CATEGORY_PF,
    SM_CATEGORY_PO,
    SM_CATEGORY_SM,
    SM_CATEGORY_SC,
    SM_CATEGORY_SK,
    SM_CATEGORY_SO,
    SM_CATEGORY_ZS,
    SM_CATEGORY_ZL,
    SM_CATEGORY_ZP,
    SM_CATEGORY_CC,
    SM_CATEGORY_CF,
    SM_CATEGORY_CS,
    SM_CATEGORY_CO,
} sm_category;

sm_category sm_category_of(uint32_t code); /* any number: SM_CATEGORY_CN of what is no code point */
/* The simple case mappings: the code point itself where there is none. */
uint32_t sm_lower_of(uint32_t code);
uint32_t sm_upper_of(uint32_t code);
uint32_t sm_title_of(uint32_t code);
/* The canonical decomposition; the number of its code points. */
#define SM_MOST_PARTS 4
uint32_t sm_decompose(uint32_t code, uint32_t parts[SM_MOST_PARTS]);
/* The same for compatibility (NFKD). */
#define SM_MOST_COMPATIBLE 18
uint32_t sm_decompose_compatible(uint32_t code, uint32_t parts[SM_MOST_COMPATIBLE]);
/* The canonical combining class; 0 of a starter. */
uint8_t sm_combining_class(uint32_t code);
/* What two code points are composed to (NFC); 0 if to nothing. */
uint32_t sm_compose(uint32_t first, uint32_t second);
/* The number of the script of a code point; those of the first three. */
#define SM_SCRIPT_UNKNOWN 0
#define SM_SCRIPT_COMMON 1
#define SM_SCRIPT_INHERITED 2
uint32_t sm_script_of(uint32_t code);
/* The number of the script of that name ("Latin"), in whatever case, with _, - or spaces or
 * without; -1 if there is none. */
int32_t sm_script_named(const char *name, uint64_t length);

#endif
