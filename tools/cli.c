/* cli.c - messages, input, Ctrl-C, and opening models for every command. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "shown.h"
#include "smallmind/experimental.h"

/* ---- messages ------------------------------------------------------------------------ */

static void print_log(void *user, int32_t severity, const char *message) {
    (void)user;
    if (severity <= SM_LOG_WARN)
        cli_error(severity == SM_LOG_WARN ? "warning: %s" : "%s", message);
}

const sm_logger *cli_logger(void) {
    static const sm_logger logger = {.struct_size = sizeof logger, .log = print_log};
    return &logger;
}

int cli_fail(const sm_error *error) {
    if (error->code == SM_ERR_CANCELLED && cli_interrupted()) {
        cli_error("interrupted");
        return cli_interrupt_code();
    }
    return cli_error("%s", error->message[0] != 0 ? error->message : sm_status_text(error->code));
}

int cli_finish(int code) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    return cli_error("cannot write the output: %s", errno != 0 ? strerror(errno) : "write error");
}

/* Length of the valid UTF-8 sequence at text[0..length), 0 if there is none. */
static size_t sequence_length(const unsigned char *text, size_t length) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char c = text[0];
    const size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    if (n <= 1 || n > length)
        return n <= length ? n : 0;
    uint32_t code = c & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        code = code << 6 | (text[i] & 0x3Fu);
    }
    if (code < smallest[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return 0;
    return n;
}

/* Whether the character of n bytes (0: not UTF-8) is nothing to print. U+0080..U+009F are control
 * characters too. */
static bool is_control(const unsigned char *c, size_t n) {
    return n == 0 || c[0] < 0x20 || c[0] == 0x7F || (n == 2 && c[0] == 0xC2 && c[1] < 0xA0);
}

size_t cli_clean(char *to, const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    size_t n = 0;
    for (size_t i = 0; i < length;) {
        const size_t wide = sequence_length(bytes + i, length - i);
        if (is_control(bytes + i, wide) && text[i] != '\n' && text[i] != '\t') {
            memcpy(to + n, "\xEF\xBF\xBD", 3);
            n += 3;
        } else {
            memcpy(to + n, text + i, wide);
            n += wide;
        }
        i += wide ? wide : 1;
    }
    to[n] = 0;
    return n;
}

const char *cli_bytes(char *buffer, uint64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024.0;
    size_t unit = 0;
    if (bytes < 1024) {
        snprintf(buffer, 32, "%u bytes", (unsigned)bytes);
        return buffer;
    }
    for (; value >= 1024.0 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1024.0;
    snprintf(buffer, 32, "%.1f %s", value, units[unit]);
    return buffer;
}

/* ---- input --------------------------------------------------------------------------- */

static bool read_stream(cli_input *input, FILE *stream, const char *name) {
    size_t capacity = 1u << 16;
    input->length = 0;
    input->text = malloc(capacity);
    while (input->text != NULL) {
        input->length +=
            fread(input->text + input->length, 1, capacity - input->length - 1, stream);
        if (ferror(stream)) {
            cli_error("%s: cannot read: %s", name, strerror(errno));
            break;
        }
        if (feof(stream)) {
            input->text[input->length] = 0;
            return true;
        }
        char *larger = capacity <= SIZE_MAX / 2 ? realloc(input->text, capacity * 2) : NULL;
        if (larger == NULL) {
            cli_error("%s: out of memory", name);
            break;
        }
        input->text = larger;
        capacity *= 2;
    }
    free(input->text);
    input->text = NULL;
    return false;
}

bool cli_read(cli_input *input, const char *path) {
    FILE *stream = stdin;
    const bool is_stdin = strcmp(path, "-") == 0;
    input->text = NULL;
    input->length = 0;
    input->path = is_stdin ? "standard input" : path;
    if (!is_stdin && (stream = fopen(path, "rb")) == NULL) {
        if (strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0)
            cli_error("%s: is an address and not a file: nothing is downloaded here", path);
        else
            cli_error("%s: cannot open: %s", path, strerror(errno));
        return false;
    }
    const bool done = read_stream(input, stream, input->path);
    if (!is_stdin)
        fclose(stream);
    return done;
}

bool cli_read_text(cli_input *input, const char *path) {
    if (!cli_read(input, path))
        return false;
    if (memchr(input->text, 0, input->length) == NULL)
        return true;
    cli_error("%s: holds zero bytes: it is no text in UTF-8, but binary or UTF-16", input->path);
    free(input->text);
    input->text = NULL;
    return false;
}

int cli_encode(int32_t **ids, uint64_t *n, const sm_tokenizer *tokenizer, const cli_input *input) {
    sm_error error = {0};
    const sm_encode_options how = {.struct_size = sizeof how, .cancel = cli_cancel};
    uint64_t capacity = input->length + 16;
    progress_count("encoding", 0, 0);
    for (;;) {
        *ids = malloc(capacity * sizeof **ids);
        if (*ids == NULL)
            return cli_error("out of memory");
        const sm_status status = sm_tokenizer_encode(tokenizer, input->text, input->length, &how,
                                                     *ids, capacity, n, &error);
        if (status == SM_OK) {
            progress_end();
            return CLI_GO_ON;
        }
        free(*ids);
        *ids = NULL;
        if (status != SM_ERR_BUFFER || *n <= capacity)
            return cli_fail(&error);
        capacity = *n;
    }
}

/* ---- output --------------------------------------------------------------------------- */

/* The directory of a path, "." if it names none; its last part in *name. NULL: out of memory. */
static char *directory_of(const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    const size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *directory = malloc(length + 1);
    *name = slash == NULL ? path : slash + 1;
    if (directory == NULL)
        return NULL;
    memcpy(directory, slash == NULL ? "." : path, length);
    directory[length] = 0;
    return directory;
}

static bool same_node(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool cli_is_part(const char *file, const char *model) {
    struct stat file_info, model_info, parent;
    const char *name;
    if (stat(file, &file_info) != 0 || stat(model, &model_info) != 0 ||
        !S_ISREG(file_info.st_mode) || !S_ISDIR(model_info.st_mode))
        return false;
    char *directory = directory_of(file, &name);
    const bool inside =
        directory != NULL && stat(directory, &parent) == 0 && same_node(&parent, &model_info);
    free(directory);
    return inside;
}

bool cli_same_file(const char *a, const char *b) {
    struct stat a_info, b_info;
    const bool a_there = stat(a, &a_info) == 0, b_there = stat(b, &b_info) == 0;
    if (cli_is_part(a, b) || cli_is_part(b, a))
        return true;
    if (a_there || b_there)
        return a_there && b_there && S_ISREG(a_info.st_mode) && same_node(&a_info, &b_info);
    const char *a_name, *b_name;
    char *a_directory = directory_of(a, &a_name), *b_directory = directory_of(b, &b_name);
    const bool same = a_directory != NULL && b_directory != NULL && strcmp(a_name, b_name) == 0 &&
                      stat(a_directory, &a_info) == 0 && stat(b_directory, &b_info) == 0 &&
                      same_node(&a_info, &b_info);
    free(a_directory);
    free(b_directory);
    return same;
}

int cli_check_output(const char *path, bool whole) {
    struct stat info;
    const char *name;
    const bool there = stat(path, &info) == 0;
    if (there && S_ISDIR(info.st_mode))
        return cli_error("%s: cannot write: %s", path, strerror(EISDIR));
    if (there && whole && !S_ISREG(info.st_mode))
        return cli_error("%s: cannot write: not a regular file", path);
    char *directory = directory_of(path, &name);
    if (directory == NULL)
        return cli_error("out of memory");
    const bool good =
        there && !whole ? access(path, W_OK) == 0 : access(directory, W_OK | X_OK) == 0;
    const int why = errno;
    free(directory);
    return good ? CLI_GO_ON : cli_error("%s: cannot write: %s", path, strerror(why));
}

/* ---- interruption ----------------------------------------------------------------------- */

static volatile sig_atomic_t interrupt_seen, interrupt_awaited;

static void on_interrupt(int number) {
    interrupt_seen = number;
    if (interrupt_awaited)
        alarm(1);
}

static void on_alarm(int number) {
    (void)number;
    alarm(1);
}

/* Whether a signal ends what waits for the system. Only what waits for input should: a write of
 * text that it ended would count as one that failed. */
static void let_end(bool ends) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (sigaction(signals[i], NULL, &action) != 0 || action.sa_handler != on_interrupt)
            continue;
        action.sa_flags = ends ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
        sigaction(signals[i], &action, NULL);
    }
}

/* A signal that comes just before read() blocks would not end it: so others follow. */
void cli_await_interrupt(bool begins) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    sigemptyset(&action.sa_mask);
    if (begins)
        sigaction(SIGALRM, &action, NULL);
    interrupt_awaited = begins;
    let_end(begins);
    if (!begins)
        alarm(0);
    else if (interrupt_seen)
        alarm(1);
}

void cli_catch_interrupt(void) {
    struct sigaction action, hangup;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    /* these come twice at times, from a terminal that closes or from timeout(1): what is being
     * saved is saved all the same */
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &action, NULL);
    action.sa_flags = (int)SA_RESETHAND; /* the second one acts as it does by default */
    sigaction(SIGINT, &action, NULL);
}

void cli_forget_interrupt(void) {
    if (interrupt_seen != SIGINT)
        return;
    interrupt_seen = 0;
    cli_catch_interrupt(); /* the second one had begun to end the program */
}

bool cli_interrupted(void) {
    return interrupt_seen != 0;
}

int cli_interrupt_code(void) {
    return 128 + interrupt_seen;
}

int32_t cli_cancel(void *user) {
    (void)user;
    progress_tick();
    return cli_interrupted();
}

int32_t cli_load_progress(void *user, uint64_t done, uint64_t total) {
    (void)user;
    progress_count("loading", done, total);
    return cli_interrupted();
}

static int compare_doubles(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

double cli_median(const double *values, size_t n) {
    double sorted[CLI_MEDIAN_MOST];
    memcpy(sorted, values, n * sizeof sorted[0]);
    qsort(sorted, n, sizeof sorted[0], compare_doubles);
    return n % 2 != 0 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0;
}

/* ---- models --------------------------------------------------------------------------- */

/* What follows loading, which gave `status`. */
static int give_info(sm_status status, sm_model **model, sm_model_info *info, sm_error *error) {
    if (status != SM_OK)
        return cli_fail(error);
    progress_end();
    info->struct_size = sizeof *info;
    if (sm_model_get_info(*model, info, error) != SM_OK) {
        sm_model_free(*model);
        *model = NULL;
        return cli_fail(error);
    }
    return CLI_GO_ON;
}

int cli_hint(int code, const char *path) {
    static const struct {
        uint64_t holds;
        const char *use;
    } hints[] = {
        {SM_GGUF_HOLDS_ADAPTER,
         "-m MODEL --adapter FILE attaches it, `smallmind lora merge` adds it "
         "to its model for good"},
        {SM_GGUF_HOLDS_VOCABULARY,
         "`smallmind init --vocab FILE -o MODEL` makes a model of random weights with it"},
        {SM_GGUF_HOLDS_IMATRIX, "`smallmind quantize IN OUT TYPE --imatrix FILE` uses it"},
        {SM_GGUF_HOLDS_CHECKPOINT,
         "`smallmind train --resume --checkpoint FILE -o OUT` goes on with it"},
    };
    sm_gguf *gguf;
    sm_gguf_info info = {.struct_size = sizeof info};
    if (code != CLI_FAILED || sm_gguf_load(&gguf, path, NULL, NULL) != SM_OK)
        return code;
    sm_gguf_get_info(gguf, &info, NULL);
    sm_gguf_free(gguf);
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (info.holds == hints[i].holds)
            cli_error("%s", hints[i].use);
    }
    return code;
}

int cli_load_model(sm_model **model, sm_model_info *info, const char *path,
                   sm_model_options *options) {
    sm_error error = {0};
    options->progress = cli_load_progress;
    options->log = cli_logger();
    const int code = give_info(sm_model_load(model, path, options, &error), model, info, &error);
    return cli_hint(code, path);
}

#define RANDOM_SEED 1 /* one set of weights for all comparisons */

int cli_random_model(sm_model **model, sm_model_info *info, const char *shape, const char *type,
                     sm_model_options *options) {
    sm_error error = {0};
    options->progress = cli_load_progress;
    return give_info(sm_model_random(model, shape, type, RANDOM_SEED, options, &error), model, info,
                     &error);
}

int cli_save_random_model(const char *path, const char *shape, const char *type,
                          sm_model_options *options) {
    sm_error error = {0};
    options->progress = cli_load_progress;
    if (sm_model_random_save(path, shape, type, RANDOM_SEED, options, &error) != SM_OK)
        return cli_fail(&error);
    progress_end();
    return CLI_DONE;
}

bool cli_split_adapter(char *path, double *scale, const char *text) {
    const char *equals = strrchr(text, '=');
    size_t length = strlen(text);
    *scale = 1;
    if (equals != NULL && equals[1] != 0) {
        char *end;
        const double value = strtod(equals + 1, &end);
        if (*end == 0) { /* else the sign is part of the name */
            *scale = value;
            length = (size_t)(equals - text);
        }
    }
    if (length >= CLI_NAME_SPACE)
        return false;
    memcpy(path, text, length);
    path[length] = 0;
    return true;
}

int cli_attach(sm_session *session, const sm_model *model, const cli_texts *adapters) {
    for (uint32_t i = 0; i < adapters->n; i++) {
        char path[CLI_NAME_SPACE];
        double scale;
        if (!cli_split_adapter(path, &scale, adapters->items[i]))
            return cli_error("--adapter: the name is too long");
        sm_error error;
        sm_adapter *adapter;
        if (sm_adapter_load(&adapter, model, path,
                            &(sm_adapter_options){.struct_size = sizeof(sm_adapter_options),
                                                  .progress = cli_load_progress},
                            &error) != SM_OK)
            return cli_fail(&error);
        progress_end();
        const sm_status status = sm_session_attach(session, adapter, scale, &error);
        sm_adapter_free(adapter);
        if (status != SM_OK)
            return cli_fail(&error);
    }
    return CLI_GO_ON;
}

int32_t cli_token(const sm_session *session, uint32_t i) {
    int32_t id = -1;
    (void)sm_session_tokens(session, i, &id, 1, NULL, NULL);
    return id;
}

sm_session_info cli_session_info(const sm_session *session) {
    sm_session_info info = {.struct_size = sizeof info};
    (void)sm_session_get_info(session, &info, NULL);
    return info;
}

const sm_text *cli_texts_of(const cli_texts *texts, sm_text to[CLI_MAX_TEXTS]) {
    for (uint32_t i = 0; i < texts->n; i++)
        to[i] = (sm_text){texts->items[i], SM_ZT};
    return texts->n > 0 ? to : NULL;
}

int cli_open_session(sm_session **session, const sm_model *model, const sm_session_options *options,
                     const cli_texts *adapters) {
    sm_error error = {0};
    if (sm_session_new(session, model, options, &error) != SM_OK)
        return cli_fail(&error);
    int code = CLI_GO_ON;
    if (sm_session_set_cancel(*session, cli_cancel, NULL, &error) != SM_OK)
        code = cli_fail(&error);
    else if (adapters != NULL)
        code = cli_attach(*session, model, adapters);
    if (code != CLI_GO_ON) {
        sm_session_free(*session);
        *session = NULL;
    }
    return code;
}
