/* smallmind/types.h - version, status codes, errors, memory and log hooks.
 *
 * Every function that can fail returns an sm_status and takes an optional
 * sm_error as its last argument. On failure *out pointers are set to NULL, numbers
 * handed out to 0 (ids to -1).
 *
 * Handles that calls change (sm_session, sm_batch with its sessions, sm_trainer,
 * sm_imatrix, sm_detokenizer) take one call at a time. Who comes while a call has not
 * returned, one of its own callbacks (hooks and allocators, too) or another thread, gets
 * SM_ERR_STATE and nothing has happened; which functions may be called nevertheless says
 * each header. Freeing such a handle meanwhile takes effect when that call ends. Models,
 * tokenizers, adapters and sm_gguf are immutable: everything may be called with them at
 * any time.
 *
 * fork(): in the child every handle works on, with the same results; threads are made
 * anew by the first call that wants them, and with fewer, down to the caller alone, where
 * the system gives none. But a handle that another thread was using at that moment can only
 * be freed there (SM_ERR_STATE), and a call inside whose cancel hook the fork was ends in
 * the child with SM_ERR_STATE, unless its threads had nothing left to do; the next call works.
 * So does a call that was writing a file: that goes on in the parent alone. Freeing is always fine.
 *
 * Nothing in the library prints, exits, aborts, reads the environment or keeps
 * writable global state (beside the CPU dispatch table, filled in once).
 *
 * A file that a function writes appears under its name when it is complete and on the disk: on any
 * failure, and whenever the process is killed, what was there before stays whole; SM_OK says that
 * the new file is there (if the system goes down in that moment and the directory could not be
 * synced, the old one may be back). Until then it is NAME.<pid>-<n>.tmp in the same directory,
 * under an flock. What a killed process left of that form is removed when NAME is written again, by
 * the lock, not by the number: processes in other containers count. Machines that share a directory
 * without sharing its locks should not write one name at once: one of them may get SM_ERR_IO.
 */
#ifndef SMALLMIND_TYPES_H
#define SMALLMIND_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Release number; the build reads it from here. The ABI number is SM_ABI. */
#define SM_VERSION_MAJOR 1
#define SM_VERSION_MINOR 0
#define SM_VERSION_PATCH 0
#define SM_VERSION_PRE "-rc1" /* "" for a release */
#define SM_ABI 1

/* Before every function. A program may define it (as nothing, for what reads preprocessed headers).
 * On Windows a program that uses the DLL defines SM_SHARED, which saves a jump each call. */
#ifndef SM_API
#if defined(_WIN32) && defined(SM_BUILD_SHARED)
#define SM_API __declspec(dllexport)
#elif defined(_WIN32) && defined(SM_SHARED)
#define SM_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define SM_API __attribute__((visibility("default")))
#else
#define SM_API
#endif
#endif

/* How functions are called, and callbacks: write it where one is defined that Windows programs of
 * 32 bits may be compiled with. */
#ifndef SM_CALL
#if defined(_WIN32) && !defined(_WIN64)
#define SM_CALL __cdecl
#else
#define SM_CALL
#endif
#endif

/* Constants are enumerators without a type of their own: what a preprocessor leaves of this header
 * has them. Macros are only those that no int can be (SM_ZERO, SM_ZERO_U32, SM_NAME_NONE) and what
 * preprocessors ask for: the version. Where the library answers with a number of such a list
 * (status, level, finish, kind), later versions may answer with one that is not in it yet. */

/* 0 or a negative, stable code. */
typedef int32_t sm_status;

enum {
    SM_OK = 0,
    SM_ERR_ARGUMENT = -1,     /* NULL, negative, out of an option's range, unknown flag */
    SM_ERR_NOMEM = -2,        /* an allocation failed or the memory limit was reached */
    SM_ERR_IO = -3,           /* open, read, map or write failed; short file */
    SM_ERR_FORMAT = -4,       /* the file breaks its format; message names key or tensor */
    SM_ERR_MISSING = -5,      /* a required key or tensor is not in the file */
    SM_ERR_SHAPE = -6,        /* a tensor's shape or type does not fit the hyperparameters */
    SM_ERR_UNSUPPORTED = -7,  /* well formed, but this version cannot compute it */
    SM_ERR_TOKEN = -8,        /* token id outside [0, n_vocab) */
    SM_ERR_CONTEXT_FULL = -9, /* the tokens do not fit the session's context */
    SM_ERR_CANCELLED = -10,   /* a callback returned non-zero */
    SM_ERR_STATE = -11,       /* not possible now, e.g. logits before any token was fed */
    SM_ERR_BUFFER = -12,      /* caller's buffer too small; the needed length was stored */
    SM_ERR_SYSTEM = -13,      /* threads or another system service could not be had */
    SM_ERR_DIVERGED = -14,    /* training: the loss or a gradient is not finite */
};

/* Texts that come from the program are bytes and their number, UTF-8 where nothing else is said;
 * SM_ZT in place of the number says that a zero ends them. NULL is fine where the number is 0.
 * Paths, which are UTF-8 on every system, names of types and the like, and JSON documents end with
 * a zero. */
#define SM_ZT UINT64_MAX
/* It never grows. */
typedef struct sm_text {
    const char *text;
    uint64_t length; /* or SM_ZT */
} sm_text;

/* It never grows. Filled in by a failing call; untouched by a successful one. The message is
 * zero-terminated, whole UTF-8 and one line: what it quotes of files, paths and options is escaped
 * as by sm_text_escape, and cut short ("...") where it is long. */
typedef struct sm_error {
    sm_status code;
    int32_t system; /* the system's own number of what failed (errno, GetLastError), which the
                       message names too; 0: none */
    char message[504];
} sm_error;

/* A short fixed English name of a status ("out of memory"); never NULL. */
SM_API const char *SM_CALL sm_status_text(sm_status status);

/* "1.0.0", before that release "1.0.0-rc1". */
SM_API const char *SM_CALL sm_version(void);
/* The same as a number that grows: major * 1000000 + minor * 1000 + patch. */
SM_API uint32_t SM_CALL sm_version_number(void);
/* SM_ABI of the library that is running. Programs work with every library of the same number that
 * has the functions they call (docs/abi.md). */
SM_API uint32_t SM_CALL sm_abi(void);

/* What the library was built with. Lists of names are separated by '|' (sm_names_get). */
typedef struct sm_build_info {
    uint32_t struct_size;    /* set by the caller */
    uint32_t abi;            /* sm_abi */
    uint32_t version_number; /* sm_version_number */
    uint32_t level;          /* the best that this CPU has (SM_LEVEL_…) */
    const char *version;     /* sm_version */
    const char *families;    /* general.architecture of models that are computed */
    const char *types;       /* of their tensors */
    const char *features;    /* "threads", "training", "openblas" */
    uint64_t levels;         /* that are in it: bit 1 << SM_LEVEL_… */
} sm_build_info;
SM_API sm_status SM_CALL sm_build_get_info(sm_build_info *info, sm_error *error);

/* Text of unknown origin as a terminal or a log may get it: control characters, what is not UTF-8,
 * and characters that cannot be seen or turn the order of others (zero-width, bidirectional and
 * other format characters, line separators, private use) are written \n, \t, \r, \x1b or \u{202e}.
 * A backslash stays as it is, so that escaping twice changes nothing. Writes as many whole
 * characters as fit in capacity bytes, a zero among them; returns the bytes of all, without the
 * zero. length counts bytes of text, which may hold zeros. out may be NULL where capacity is 0.
 *
 * Messages and log lines are escaped; names, values and pieces of text that functions hand out
 * (sm_gguf_get_key, sm_gguf_get_value, sm_model_info, sm_tokenizer_token_text, generated text) are
 * as the file or the model has them. */
SM_API uint64_t SM_CALL sm_text_escape(const char *text, uint64_t length, char *out,
                                       uint64_t capacity);

/* In options a zero stands for the default. Where zero itself would be a value of its own, and the
 * option says so, these ask for it (sm_option.zero lists them all). */
#define SM_ZERO (-1.0)
#define SM_ZERO_U32 4294967295u

/* ---- hooks ---------------------------------------------------------------------------------
 *
 * Callbacks come on the thread of the call that they belong to, while it runs (memory hooks from
 * every thread that uses the library). One that answers with a number ends the call by any other
 * than 0: the call then returns SM_ERR_CANCELLED, having left everything as its header says. A
 * callback that fails in a way of its own (an exception of its language) keeps that for itself,
 * answers non-zero, and whoever made the call finds it when SM_ERR_CANCELLED comes.
 *
 * A callback may call anything but functions with a handle that the call is at work with, unless
 * the header names them; who does it all the same gets SM_ERR_STATE, and nothing has happened.
 * Frees of such handles take effect when the call ends. Memory hooks and `done` may call nothing of
 * the library. No callback may leave by longjmp or an exception that passes through the library. */

/* Told that `user` is not needed any more. */
typedef void(SM_CALL *sm_done_fn)(void *user);

/* Memory hook. alloc returns memory aligned to `align` (a power of two, at
 * least 16) or NULL; release gets the size and alignment that were asked for.
 * Both may be called from any thread that uses the library (what packs weights of a model inside an
 * alloc that packing asked for gets SM_ERR_STATE). The struct is copied. done (NULL: nobody is to
 * be told) is called once for every call that was given the struct: when the last of the memory has
 * been released, which is after the last handle made of that call went, or before the call returns
 * if it made none. Only where the call says SM_ERR_ARGUMENT since another pointer is NULL, or since
 * this struct or the one that it was given in cannot be read, is it not called. */
typedef void *(SM_CALL *sm_alloc_fn)(void *user, uint64_t size, uint64_t align);
typedef void(SM_CALL *sm_release_fn)(void *user, void *ptr, uint64_t size, uint64_t align);
typedef struct sm_allocator {
    uint32_t struct_size;
    uint32_t reserved;
    sm_alloc_fn alloc;
    sm_release_fn release;
    void *user;
    sm_done_fn done;
} sm_allocator;

/* Log hook: one line of text without newline, escaped like messages. More severities may come. */
enum {
    SM_LOG_ERROR = 1,
    SM_LOG_WARN = 2,
    SM_LOG_INFO = 3,
};
typedef void(SM_CALL *sm_log_fn)(void *user, int32_t severity, const char *message);
/* The struct is copied; done as of sm_allocator, when nothing will be logged any more. */
typedef struct sm_logger {
    uint32_t struct_size;
    uint32_t reserved;
    sm_log_fn log;
    void *user;
    sm_done_fn done;
} sm_logger;

/* Progress of long work: done of total units. */
typedef int32_t(SM_CALL *sm_progress_fn)(void *user, uint64_t done, uint64_t total);

/* Asked every few milliseconds of long work. */
typedef int32_t(SM_CALL *sm_cancel_fn)(void *user);

/* Cancelling without a callback: a flag that any thread, or a signal handler, may set, and that
 * options structs of long calls take as cancel_flag. Calls look at it as often as they ask hooks,
 * every few milliseconds, and return SM_ERR_CANCELLED while it is set; it stays set until it is set
 * to 0. One flag may serve any number of calls, at the same time too. */
typedef struct sm_cancel sm_cancel;
SM_API sm_status SM_CALL sm_cancel_new(sm_cancel **out, sm_error *error); /* SM_ERR_NOMEM */
/* By any thread, at any time, in signal handlers too; NULL is fine. */
SM_API void SM_CALL sm_cancel_set(sm_cancel *cancel, int32_t on);
SM_API int32_t SM_CALL sm_cancel_is_set(const sm_cancel *cancel); /* 0 for NULL */
/* NULL is fine. Sessions, batches, importance matrices and trainers hold a reference to theirs;
 * other calls use it until they return. */
SM_API void SM_CALL sm_cancel_free(sm_cancel *cancel);

/* ---- where the bytes of a file come from ------------------------------------------------
 *
 * For hosts whose models are no files of their own: in an archive, a database, encrypted, in the
 * program itself. Functions named _load_from take this in place of a path. */
enum {
    SM_ORIGIN_PATH = 0,   /* the file `name` */
    SM_ORIGIN_MEMORY = 1, /* data[0..size): used in place if its address is a multiple of 64 */
    SM_ORIGIN_FD = 2,     /* `size` bytes from `offset` of the open file `fd`: mapped if io says so
                             and the offset is a multiple of 64 */
    SM_ORIGIN_READ = 3,   /* `size` bytes that `read` gives */
};

/* Copies n bytes from `offset` on to `to`; returns how many, at least 1 and fewer if it likes, or a
 * number below 1 if it cannot: SM_ERR_CANCELLED where that is the number, else SM_ERR_IO. Called on
 * the calling thread, while loading alone; may not use the handle that is being made. */
typedef int64_t(SM_CALL *sm_read_fn)(void *user, uint64_t offset, void *to, uint64_t n);

typedef struct sm_origin {
    uint32_t struct_size;
    uint32_t kind;    /* SM_ORIGIN_… */
    const char *name; /* UTF-8; of the others for messages alone, NULL: "input". Copied */
    const void *data; /* MEMORY: not to change until `done` */
    sm_read_fn read;  /* READ */
    /* Called once, when the bytes are needed no more: before a call that fails returns, else when
     * the last handle that uses them goes (of READ and of what was copied: before the call
     * returns), on the thread where that happens. Not called where SM_ERR_ARGUMENT says that the
     * struct cannot be read. NULL: nothing to be done. */
    sm_done_fn done;
    void *user;      /* of read and done */
    uint64_t offset; /* FD */
    uint64_t size;   /* MEMORY, FD (0: up to the file's end), READ */
    int64_t fd;      /* FD: a descriptor open for reading of a regular file; stays the caller's,
                         who may close it when the call returns */
} sm_origin;

/* Instruction-set levels; the numbers are no order: scalar < avx2 < avxvnni < avx512 <
 * avx512bf16 and scalar < neon < dotprod < i8mm. As an option: the highest level to use (a cap; the
 * best level the CPU has at or below it is taken). SM_LEVEL_AUTO is no cap, but leaves avx512bf16
 * out on CPUs whose bf16 instructions are slower than those of f32 (Intel's). */
enum {
    SM_LEVEL_AUTO = 0,
    SM_LEVEL_SCALAR = 1,
    SM_LEVEL_AVX2 = 2,       /* AVX2, FMA, F16C */
    SM_LEVEL_AVX512 = 3,     /* AVX-512 F, BW, VL, DQ, VNNI */
    SM_LEVEL_NEON = 4,       /* Armv8-A Advanced SIMD */
    SM_LEVEL_DOTPROD = 5,    /* NEON with the dot-product instructions */
    SM_LEVEL_AVXVNNI = 6,    /* AVX2 level with AVX-VNNI */
    SM_LEVEL_I8MM = 7,       /* DOTPROD level with the int8 matrix-multiply instructions */
    SM_LEVEL_AVX512BF16 = 8, /* AVX512 level with AVX-512 BF16 */
};

/* Name of a level ("avx2"), or NULL if unknown; and back (0 on unknown name,
 * "auto" included). */
SM_API const char *SM_CALL sm_level_name(uint32_t level);
SM_API uint32_t SM_CALL sm_level_from_name(const char *name);
/* The best level that this CPU has and this build contains, at or below `cap`; a cap of
 * another architecture leaves SM_LEVEL_SCALAR. */
SM_API uint32_t SM_CALL sm_level_best(uint32_t cap);

/* CPUs worth a thread each: those that this process may run on, no more than its control groups
 * (Linux, v1 and v2) give it time for; at least 1. What `n_threads` 0 means, but for a cap of its
 * own. Asks the system each time. Any thread. */
SM_API uint32_t SM_CALL sm_cpu_count(void);

/* Place of a name in a list of names separated by '|', commas or spaces (sm_option.names),
 * upper and lower case being the same; SM_NAME_NONE if it is not there. *nearest (may be NULL) is
 * then the place of the name that it is likely a slip of, SM_NAME_NONE if none is near. For
 * messages: "did you mean …?". */
#define SM_NAME_NONE UINT32_MAX
SM_API uint32_t SM_CALL sm_names_find(const char *names, const char *name, uint32_t *nearest);
/* Name i of such a list, which ends where *length says, not with a zero; NULL behind the last. */
SM_API const char *SM_CALL sm_names_get(const char *names, uint32_t i, uint64_t *length);

/* ---- options tables --------------------------------------------------------------------------
 *
 * One field of an options struct: what the library itself checks by, the program's flags and help,
 * and bindings' keyword arguments are made of it. Later versions may have more types: whoever meets
 * one that is not listed here leaves the field alone. */
enum {
    SM_OPTION_U32 = 1,
    SM_OPTION_U64 = 2,
    SM_OPTION_F64 = 3,
    SM_OPTION_ENUM = 4,    /* uint32_t; `names` lists the values from 0 up, separated by '|' */
    SM_OPTION_POINTER = 5, /* not settable from text */
    SM_OPTION_BOOL = 6,    /* uint32_t, 0 or 1 */
    SM_OPTION_STRING = 7,  /* const char *, zero-terminated UTF-8; NULL: see doc */
};

typedef struct sm_option {
    uint32_t struct_size; /* set by the caller */
    uint32_t type;        /* SM_OPTION_… */
    uint32_t offset;      /* in the struct, of the library that is running */
    uint32_t reserved;
    const char *name; /* the field. All texts are the library's */
    const char *names;
    const char *unit; /* "tokens", "bytes", "" … */
    const char *doc;
    double min, max; /* inclusive */
    double fallback; /* what zero means (0: zero itself, or what doc says) */
    double zero;     /* what says zero itself where that is something else: SM_ZERO or SM_ZERO_U32;
                        0: zero is zero, or cannot be asked for */
} sm_option;

/* The options structs that have a table. */
enum {
    SM_OPTIONS_MODEL = 1,
    SM_OPTIONS_SESSION = 2,
    SM_OPTIONS_SAMPLING = 3,
    SM_OPTIONS_GENERATE = 4,
    SM_OPTIONS_QUANTIZE = 5,
    SM_OPTIONS_IMATRIX = 6,
    SM_OPTIONS_BATCH = 7,
    SM_OPTIONS_WATERMARK = 8,
    SM_OPTIONS_ADAPTER = 9,
    SM_OPTIONS_MERGE = 10,
    SM_OPTIONS_PACK = 11,
    SM_OPTIONS_FORK = 12,
    SM_OPTIONS_TRAINER = 16,
    SM_OPTIONS_INIT = 17,
    SM_OPTIONS_VOCABULARY = 18,
    SM_OPTIONS_EXPORT = 19,
    SM_OPTIONS_ENCODER = 20,
};

/* The struct's name ("sm_session_options"); NULL for an unknown number. */
SM_API const char *SM_CALL sm_options_name(uint32_t options_struct);
/* How many fields its table has; 0 for an unknown one. */
SM_API uint32_t SM_CALL sm_options_count(uint32_t options_struct);
/* Field i of it. SM_ERR_ARGUMENT. */
SM_API sm_status SM_CALL sm_options_get(uint32_t options_struct, uint32_t i, sm_option *option,
                                        sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
