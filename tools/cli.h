/* cli.h - what the commands of `smallmind` share: options, input, messages, interruption.
 *
 * Most flags come from the library's options tables (sm_options_get): name,
 * range, default and help text of a field are written once, there. A command
 * adds the few flags of its own.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "progress.h"
#include "smallmind/smallmind.h"

/* Exit codes of the program. */
#define CLI_DONE 0
#define CLI_FAILED 1
#define CLI_USAGE 2

/* ---- options ------------------------------------------------------------------- */

typedef enum cli_kind {
    CLI_SWITCH, /* bool * */
    CLI_TEXT,   /* const char ** */
    CLI_TEXTS,  /* cli_texts *: the flag may be repeated */
    CLI_COUNT,  /* uint32_t *, a whole number in min..max */
    CLI_SIZE,   /* the same in bytes or tokens: K, M and G multiply by 1024 */
} cli_kind;

#define CLI_MAX_TEXTS 64
typedef struct cli_texts {
    const char *items[CLI_MAX_TEXTS];
    uint32_t n;
} cli_texts;

/* A flag of one command. */
typedef struct cli_flag {
    char letter;      /* of the short form; 0: none */
    const char *name; /* of the long form; NULL: none */
    cli_kind kind;
    void *target;
    const char *value; /* what the help calls the value */
    uint32_t min, max; /* of a count */
    const char *doc;
} cli_flag;

/* An options struct of the library whose fields become flags. */
typedef struct cli_fields {
    uint32_t table;   /* SM_OPTIONS_… */
    void *options;    /* the struct, holding the command's own defaults */
    const char *only; /* just this field; NULL: all of them */
} cli_fields;

typedef struct cli_example {
    const char *command; /* for a shell */
    const char *what;    /* it does */
} cli_example;

typedef struct cli_command {
    const char *name;
    const char *synopsis; /* what follows the name on the usage line; a line for each usage */
    const char *summary;  /* paragraphs for the help, as page_text takes them */
    cli_example examples[2];
    const cli_flag *flags;
    size_t n_flags;
    const cli_fields *fields;
    size_t n_fields;
    const char **operand; /* where the positional arguments go; NULL: none allowed */
    size_t n_operands;    /* of them at most; 0 means 1 */
    const char *choices;  /* of the first of them, separated by '|'; NULL: a file */
} cli_command;

#define CLI_GO_ON (-1)

/* Fills the targets from the arguments (argv[0] is the command's name). Returns
 * CLI_GO_ON, or the exit code after --help or wrong usage. */
int cli_parse(const cli_command *command, int argc, char **argv);
/* Hands the flags and texts of a command to `describe`, instead of running it. */
void cli_describe(int (*run)(int argc, char **argv),
                  void (*describe)(const cli_command *command, const void *user), const void *user);

/* ": did you mean NAME?", or nothing, if `name` looks like a slip of one of `names` (separated by
 * '|'). Returns buffer. */
const char *cli_did_you_mean(char *buffer, size_t capacity, const char *names, const char *name);

/* Reports wrong usage of a command and returns CLI_USAGE. */
int cli_misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- messages ------------------------------------------------------------------ */

/* `smallmind: MESSAGE` on stderr, escaped (shown.h); returns CLI_FAILED. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a failed library call; cli_interrupt_code() if a signal was the reason. */
int cli_fail(const sm_error *error);
/* sm_log_fn: prints warnings and errors as cli_error does. */
const sm_logger *cli_logger(void);
/* Writes out stdout: `code`, or CLI_FAILED if anything printed was lost. */
int cli_finish(int code);

/* Copies text with U+FFFD for what is not UTF-8 and for control characters but line ends and tabs;
 * `to` has room for 3 * length + 1 bytes. Returns the length of the copy, which ends with a zero.
 */
size_t cli_clean(char *to, const char *text, size_t length);
/* 1.5 KiB, 12.0 GiB; buffer of at least 32. */
const char *cli_bytes(char *buffer, uint64_t bytes);

/* ---- input --------------------------------------------------------------------- */

typedef struct cli_input {
    char *text; /* zero-terminated; free() it */
    size_t length;
    const char *path; /* for messages: the file, or what was read instead */
} cli_input;

/* Reads a whole file, "-" being stdin. Reports failure itself: false. */
bool cli_read(cli_input *input, const char *path);
/* The same, of text: what holds zero bytes is refused as binary. */
bool cli_read_text(cli_input *input, const char *path);
/* The text of a command. */
typedef struct cli_prompt {
    const char *text; /* of -p, "-" being stdin; NULL: not given */
    const char *file; /* of -f; likewise */
    bool escapes;     /* -e: \n and the like in the text of -p */
} cli_prompt;
/* Reads it (both: wrong usage; neither: `fallback` as a path, or the empty text if that is NULL).
 * CLI_GO_ON or an exit code. */
int cli_read_prompt(cli_input *input, const char *command, const cli_prompt *prompt,
                    const char *fallback);
/* Whether somebody feeds standard input: a pipe, a file or a socket. */
bool cli_input_waits(void);
/* Replaces escapes in place; `flag` is where the text comes from. CLI_GO_ON or an exit code. */
int cli_unescape(char *text, size_t *length, const char *command, const char *flag);
#define CLI_ESCAPES_DOC                                                                       \
    "in TEXT of -p take \\n, \\t, \\r, \\0, \\\\, \\\", \\', \\xHH and \\uHHHH (hexadecimal " \
    "digits) for the characters that they stand for"

/* Ids between spaces, commas or brackets; text ends with a zero at `length` or later, `name` stands
 * for it in messages. free() them. Reports failure itself: false. */
bool cli_parse_ids(int32_t **ids, uint64_t *n, const char *text, size_t length, const char *name);

/* The ids of a text, no markers added; free() them. Reports failure itself: CLI_GO_ON or an exit
 * code. */
int cli_encode(int32_t **ids, uint64_t *n, const sm_tokenizer *tokenizer, const cli_input *input);

/* ---- output --------------------------------------------------------------------- */

/* Whether the model is a directory in which this file is: to write it would destroy the model. */
bool cli_is_part(const char *file, const char *model);
/* Whether two names stand for one file, there already or not, or one for a part of the other; only
 * plain files count. */
bool cli_same_file(const char *a, const char *b);
/* Whether a file can be written where `path` says, as far as can be known before: reports what
 * stands against it. whole: it will be replaced as a whole, which only plain files can be.
 * CLI_GO_ON or an exit code. */
int cli_check_output(const char *path, bool whole);

/* ---- interruption ---------------------------------------------------------------- */

/* From here on Ctrl-C, SIGTERM and SIGHUP only set a mark; a second Ctrl-C ends the process. */
void cli_catch_interrupt(void);
/* Around what waits for input in read(), which then ends for any of these signals; after it they
 * end no call of the system's, so that writing goes on. */
void cli_await_interrupt(bool begins);
bool cli_interrupted(void);
/* What was interrupted has stopped, and the program goes on; SIGTERM and SIGHUP stay. */
void cli_forget_interrupt(void);
/* The exit code then: 128 and the signal's number, as shells count it. 130: Ctrl-C. */
int cli_interrupt_code(void);
/* sm_cancel_fn; keeps the line of what is being counted alive. */
int32_t cli_cancel(void *user);
int32_t cli_load_progress(void *user, uint64_t done, uint64_t total); /* sm_progress_fn */

#define CLI_MEDIAN_MOST 128
double cli_median(const double *values, size_t n); /* 1 <= n <= CLI_MEDIAN_MOST */

/* ---- models ---------------------------------------------------------------------- */

/* Loads with Ctrl-C and progress connected. Reports failure itself: an exit code,
 * else CLI_GO_ON. */
int cli_load_model(sm_model **model, sm_model_info *info, const char *path,
                   sm_model_options *options);
/* The same for a model with random weights (smallmind/experimental.h). */
int cli_random_model(sm_model **model, sm_model_info *info, const char *shape, const char *type,
                     sm_model_options *options);
/* Writes that model to a GGUF file. CLI_DONE or the exit code of a failure. */
int cli_save_random_model(const char *path, const char *shape, const char *type,
                          sm_model_options *options);
/* Token i of a session, or -1. */
int32_t cli_token(const sm_session *session, uint32_t i);
/* What is known of a session. */
sm_session_info cli_session_info(const sm_session *session);
/* Texts as the library takes them; returns where they are, NULL if there are none. */
const sm_text *cli_texts_of(const cli_texts *texts, sm_text to[CLI_MAX_TEXTS]);
/* A session of it, with Ctrl-C connected and adapters attached (NULL: none). */
int cli_open_session(sm_session **session, const sm_model *model, const sm_session_options *options,
                     const cli_texts *adapters);

/* After a call that failed over the model at `path`: what the program does with the file if it is
 * something else. Returns `code`. */
int cli_hint(int code, const char *path);

#define CLI_NAME_SPACE 4096
/* Takes FILE or FILE=SCALE apart; path has CLI_NAME_SPACE bytes. false: the name is too long. */
bool cli_split_adapter(char *path, double *scale, const char *text);
/* Loads the adapters named as FILE or FILE=SCALE and attaches them to the session, which keeps
 * them. Reports failure itself: an exit code, else CLI_GO_ON. */
int cli_attach(sm_session *session, const sm_model *model, const cli_texts *adapters);
#define CLI_MODEL_DOC \
    "the model, a GGUF file or a Hugging Face directory; may stand without -m (required)"
#define CLI_ADAPTER_DOC                                                                          \
    "LoRA adapter to attach, a GGUF file; FILE=SCALE counts it SCALE times. May be given up to " \
    "16 times"

/* ---- commands --------------------------------------------------------------------- */

/* argv[0] is the last word of the command's name. */
#define COMMAND(name, run, summary) int run(int argc, char **argv);
#include "commands.inc"
#undef COMMAND

#endif
