/* tokenize.c - `smallmind tokenize`: text to ids, at the speed of the tokenizer, and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "shown.h"

typedef struct id_buffer {
    int32_t *ids;
    uint64_t capacity;
} id_buffer;

typedef struct byte_buffer {
    char *bytes;
    uint64_t capacity;
} byte_buffer;

typedef struct tokenize_job {
    const char *path; /* of the vocabulary */
    const char *name; /* of the input, for messages */
    bool lines, decode, json;
    uint32_t flags; /* SM_ENCODE_… or SM_DECODE_… */
    sm_tokenizer *tokenizer;
    id_buffer ids;
    byte_buffer text;
    uint64_t n_ids; /* in all */
} tokenize_job;

/* Encodes into the buffer, which grows as needed. */
static sm_status encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                        uint32_t flags, id_buffer *buffer, uint64_t *n, sm_error *error) {
    const sm_encode_options how = {.struct_size = sizeof how, .flags = flags, .cancel = cli_cancel};
    uint64_t need = length + 16; /* enough for most kinds of vocabulary, see tokenizer.h */
    for (;;) {
        if (need > buffer->capacity) {
            free(buffer->ids);
            buffer->ids = need <= SIZE_MAX / sizeof *buffer->ids
                              ? malloc((size_t)need * sizeof *buffer->ids)
                              : NULL;
            buffer->capacity = buffer->ids != NULL ? need : 0;
            if (buffer->ids == NULL) {
                error->code = SM_ERR_NOMEM;
                error->message[0] = 0;
                return SM_ERR_NOMEM;
            }
        }
        const sm_status status = sm_tokenizer_encode(tokenizer, text, length, &how, buffer->ids,
                                                     buffer->capacity, n, error);
        if (status != SM_ERR_BUFFER || *n <= buffer->capacity)
            return status;
        need = *n;
    }
}

static char *format_id(char *end, int32_t id) {
    char digits[16];
    size_t n = 0;
    uint32_t value = (uint32_t)id;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (n > 0)
        *end++ = digits[--n];
    return end;
}

static void print_ids(const int32_t *ids, uint64_t n) {
    char block[1 << 14];
    char *end = block;
    for (uint64_t i = 0; i < n; i++) {
        if ((size_t)(end - block) > sizeof block - 16) {
            fwrite(block, 1, (size_t)(end - block), stdout);
            end = block;
        }
        if (i > 0)
            *end++ = ' ';
        end = format_id(end, ids[i]);
    }
    *end++ = '\n';
    fwrite(block, 1, (size_t)(end - block), stdout);
}

/* Decodes into the buffer, which grows as needed. */
static sm_status decode(const sm_tokenizer *tokenizer, const int32_t *ids, uint64_t n_ids,
                        uint32_t flags, byte_buffer *buffer, uint64_t *n, sm_error *error) {
    for (;;) {
        const sm_status status = sm_tokenizer_decode(tokenizer, ids, n_ids, flags, buffer->bytes,
                                                     buffer->capacity, n, error);
        if (status != SM_ERR_BUFFER || *n <= buffer->capacity)
            return status;
        char *larger = *n <= SIZE_MAX ? realloc(buffer->bytes, (size_t)*n) : NULL;
        if (larger == NULL) {
            error->code = SM_ERR_NOMEM;
            error->message[0] = 0;
            return SM_ERR_NOMEM;
        }
        buffer->bytes = larger;
        buffer->capacity = *n;
    }
}

static json_t *json_ids(const int32_t *ids, uint64_t n) {
    json_t *list = json_array();
    for (uint64_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

/* What each id stands for by itself, spaces and special tokens included. */
static json_t *json_pieces(tokenize_job *job, uint64_t n, sm_error *error) {
    json_t *list = json_array();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t length = 0;
        if (decode(job->tokenizer, job->ids.ids + i, 1, SM_DECODE_SPECIAL | SM_DECODE_KEEP_SPACE,
                   &job->text, &length, error) != SM_OK) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, cli_json_text(length > 0 ? job->text.bytes : "", length));
    }
    return list;
}

static int print_line(json_t *line) {
    return cli_print_json(line, JSON_COMPACT);
}

static int encode_part(tokenize_job *job, const char *text, uint64_t length) {
    sm_error error = {0};
    uint64_t n = 0;
    if (encode(job->tokenizer, text, length, job->flags, &job->ids, &n, &error) != SM_OK)
        return cli_fail(&error);
    job->n_ids += n;
    if (!job->json) {
        print_ids(job->ids.ids, n);
        return CLI_DONE;
    }
    json_t *pieces = json_pieces(job, n, &error);
    if (pieces == NULL)
        return cli_fail(&error);
    return print_line(json_pack("{s:o, s:o, s:o}", "text", cli_json_text(text, (size_t)length),
                                "ids", json_ids(job->ids.ids, n), "pieces", pieces));
}

static int decode_part(tokenize_job *job, const char *text, uint64_t length) {
    sm_error error = {0};
    uint64_t n_ids, n = 0;
    int code = CLI_DONE;
    free(job->ids.ids);
    if (!cli_parse_ids(&job->ids.ids, &n_ids, text, (size_t)length, job->name))
        return CLI_FAILED;
    if (decode(job->tokenizer, job->ids.ids, n_ids, job->flags, &job->text, &n, &error) != SM_OK)
        return cli_fail(&error);
    job->n_ids += n_ids;
    const char *decoded = n > 0 ? job->text.bytes : "";
    if (job->json)
        code = print_line(json_pack("{s:o, s:o}", "ids", json_ids(job->ids.ids, n_ids), "text",
                                    cli_json_text(decoded, (size_t)n)));
    else
        fwrite(decoded, 1, (size_t)n, stdout);
    /* nothing but the text goes to a file: it is the one that was encoded */
    if (!job->json && (job->lines || isatty(STDOUT_FILENO)))
        putchar('\n');
    return code;
}

static int tokenize(tokenize_job *job, const cli_input *input) {
    sm_error error = {0};
    int code = CLI_DONE;
    uint64_t at = 0;
    const sm_tokenizer_options options = {
        .struct_size = sizeof options, .cancel = cli_cancel, .log = cli_logger()};
    if (sm_tokenizer_load(&job->tokenizer, job->path, &options, &error) != SM_OK)
        return cli_fail(&error);
    const double start = cli_seconds();
    const bool shown = !isatty(STDOUT_FILENO); /* else the ids themselves show how far it is */
    while (code == CLI_DONE && (!job->lines || at < input->length)) {
        const char *text = input->text + at;
        if (shown)
            progress_count(job->decode ? "decoding" : "encoding", at,
                           job->lines ? input->length : 0);
        uint64_t length = input->length - at;
        const char *newline = job->lines ? memchr(text, '\n', length) : NULL;
        if (newline != NULL)
            length = (uint64_t)(newline - text);
        code = (job->decode ? decode_part : encode_part)(job, text, length);
        if (code == CLI_DONE && cli_interrupted()) {
            error.code = SM_ERR_CANCELLED;
            code = cli_fail(&error);
        }
        if (!job->lines || ferror(stdout))
            break;
        at += length + 1;
    }
    progress_end();
    if (code == CLI_DONE)
        fprintf(stderr, "%llu bytes, %llu ids, %.3f s\n", (unsigned long long)input->length,
                (unsigned long long)job->n_ids, cli_seconds() - start);
    free(job->ids.ids);
    free(job->text.bytes);
    sm_tokenizer_free(job->tokenizer);
    return code;
}

int cmd_tokenize(int argc, char **argv) {
    tokenize_job job = {.path = NULL};
    cli_prompt given = {.text = NULL};
    bool special = false, markers = false;
    sm_model_options model = {.struct_size = sizeof model};
    sm_session_options session = {.struct_size = sizeof session};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &job.path, "FILE", 0, 0,
         "the vocabulary (required): a GGUF file, a tokenizer.json, a SentencePiece model, "
         "tiktoken ranks, a directory with one of these"},
        {'p', "prompt", CLI_TEXT, &given.text, "TEXT", 0, 0, "the text; - reads standard input"},
        {'e', "escapes", CLI_SWITCH, &given.escapes, "", 0, 0, CLI_ESCAPES_DOC},
        {'f', "file", CLI_TEXT, &given.file, "FILE", 0, 0,
         "the text, from a file or -. Without -p and -f standard input is read"},
        {'d', "decode", CLI_SWITCH, &job.decode, "", 0, 0,
         "the other way: the text is token ids between spaces, commas or brackets, and what they "
         "stand for is printed, without a newline of its own unless to a terminal"},
        {0, "lines", CLI_SWITCH, &job.lines, "", 0, 0,
         "each line of the text by itself, without its newline: one line of output per line"},
        {0, "special", CLI_SWITCH, &special, "", 0, 0,
         "take the text of special tokens, such as <|im_start|>, for those tokens; with --decode "
         "print it"},
        {0, "bos", CLI_SWITCH, &markers, "", 0, 0,
         "add the markers (BOS, EOS) that the vocabulary asks for"},
        {0, "json", CLI_SWITCH, &job.json, "", 0, 0,
         "print one JSON object, or with --lines one a line: text, ids and pieces, what each id "
         "stands for by itself. U+FFFD stands for bytes that are not UTF-8"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, "n_threads"},
        {SM_OPTIONS_MODEL, &model, "level"},
    };
    const cli_command command = {
        .name = "tokenize",
        .synopsis = "-m MODEL [-p TEXT | -f FILE] [--lines] [--special] [--bos] [--decode]",
        .summary =
            "Prints the token ids of the text, separated by spaces, on one line. Every byte\n"
            "of a file counts, a newline at its end too. -t and --level change nothing here.",
        .examples = {{"smallmind tokenize -m model.gguf -p \"Hello, world\"", "the ids of a text"},
                     {"smallmind tokenize -m model.gguf --lines < corpus.txt > ids.txt",
                      "the ids of every line of a file"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &job.path,
    };
    cli_input input;
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (job.path == NULL)
        return cli_misuse("tokenize", "-m MODEL is required");
    if (job.decode && markers)
        return cli_misuse("tokenize", "--bos goes without --decode");
    job.name = given.file != NULL ? given.file : "the text";
    job.flags = job.decode ? (special ? SM_DECODE_SPECIAL : 0)
                           : (special ? SM_ENCODE_SPECIAL : 0) | (markers ? SM_ENCODE_MARKERS : 0);
    code = cli_read_prompt(&input, "tokenize", &given, "-");
    if (code != CLI_GO_ON)
        return code;
    cli_catch_interrupt();
    code = tokenize(&job, &input);
    free(input.text);
    return code;
}
