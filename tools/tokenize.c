/* tokenize.c - `smallmind tokenize`: text to ids, at the speed of the tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct id_buffer {
    int32_t *ids;
    uint64_t capacity;
} id_buffer;

/* Encodes into the buffer, which grows as needed. */
static sm_status encode(const sm_tokenizer *tokenizer, const char *text, uint64_t length,
                        uint32_t flags, id_buffer *buffer, uint64_t *n, sm_error *error) {
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
        const sm_status status = sm_tokenizer_encode(tokenizer, text, length, flags, buffer->ids,
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

static int tokenize(const char *path, const cli_input *input, bool lines, uint32_t flags) {
    sm_error error = {0};
    sm_tokenizer *tokenizer;
    id_buffer buffer = {NULL, 0};
    int code = CLI_DONE;
    uint64_t at = 0, n_ids = 0;
    if (sm_tokenizer_load(&tokenizer, path, NULL, &error) != SM_OK)
        return cli_fail(&error);
    const double start = cli_seconds();
    while (!lines || at < input->length) {
        const char *text = input->text + at;
        uint64_t length = input->length - at, n = 0;
        const char *newline = lines ? memchr(text, '\n', length) : NULL;
        if (newline != NULL)
            length = (uint64_t)(newline - text);
        if (encode(tokenizer, text, length, flags, &buffer, &n, &error) != SM_OK) {
            code = cli_fail(&error);
            break;
        }
        print_ids(buffer.ids, n);
        n_ids += n;
        if (!lines || ferror(stdout))
            break;
        at += length + 1;
    }
    if (code == CLI_DONE)
        fprintf(stderr, "%llu bytes, %llu ids, %.3f s\n", (unsigned long long)input->length,
                (unsigned long long)n_ids, cli_seconds() - start);
    free(buffer.ids);
    sm_tokenizer_free(tokenizer);
    return code;
}

int cmd_tokenize(int argc, char **argv) {
    const char *path = NULL, *text = NULL, *file = NULL;
    bool lines = false, special = false, markers = false;
    sm_model_options model = {.struct_size = sizeof model};
    sm_session_options session = {.struct_size = sizeof session};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0,
         "the GGUF file with the vocabulary, a model or vocabulary only (required)"},
        {'p', "prompt", CLI_TEXT, &text, "TEXT", 0, 0, "the text; - reads standard input"},
        {'f', "file", CLI_TEXT, &file, "FILE", 0, 0,
         "the text, from a file or -. Without -p and -f standard input is read"},
        {0, "lines", CLI_SWITCH, &lines, "", 0, 0,
         "each line of the text by itself, without its newline: one line of ids per line"},
        {0, "special", CLI_SWITCH, &special, "", 0, 0,
         "take the text of special tokens, such as <|im_start|>, for those tokens"},
        {0, "bos", CLI_SWITCH, &markers, "", 0, 0,
         "add the markers (BOS, EOS) that the vocabulary asks for"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, "n_threads"},
        {SM_OPTIONS_MODEL, &model, "level"},
    };
    const cli_command command = {
        .name = "tokenize",
        .synopsis = "-m MODEL [-p TEXT | -f FILE] [--lines] [--special] [--bos]",
        .summary =
            "Prints the token ids of the text, separated by spaces, on one line. Every byte\n"
            "of a file counts, a newline at its end too. -t and --level change nothing here.",
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    cli_input input;
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL)
        return cli_misuse("tokenize", "-m MODEL is required");
    code = cli_read_prompt(&input, "tokenize", text, file, "-");
    if (code != CLI_GO_ON)
        return code;
    code = tokenize(path, &input, lines,
                    (special ? SM_ENCODE_SPECIAL : 0) | (markers ? SM_ENCODE_MARKERS : 0));
    free(input.text);
    return code;
}
