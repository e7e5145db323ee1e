/* prompt.c - the text that a command is about: given, from a file, or from standard input. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* ---- escapes ----------------------------------------------------------------------------- */

static int hex_value(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Up to `most` hexadecimal digits; how many there were. */
static size_t read_hex(const char *text, size_t most, uint32_t *value) {
    size_t n = 0;
    for (*value = 0; n < most && hex_value(text[n]) >= 0; n++)
        *value = *value << 4 | (uint32_t)hex_value(text[n]);
    return n;
}

static size_t write_utf8(char *out, uint32_t code) {
    const uint32_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint32_t first[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (uint32_t i = n; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(first[n] | code);
    return n;
}

/* One escape behind its backslash: the bytes it stands for at `out` (up to 4, never more than it
 * takes itself), their number in *written, and how long it is; 0: it is none. */
static size_t read_escape(const char *text, char *out, size_t *written) {
    static const char letters[] = "ntrabfv0\\\"'", values[] = "\n\t\r\a\b\f\v\0\\\"'";
    uint32_t code;
    const char *letter = text[0] != 0 ? strchr(letters, text[0]) : NULL;
    *written = 1;
    if (letter != NULL) {
        *out = values[letter - letters];
        return 1;
    }
    if (text[0] == 'x') {
        const size_t n = read_hex(text + 1, 2, &code);
        *out = (char)code;
        return n == 0 ? 0 : n + 1;
    }
    const size_t digits = text[0] == 'u' ? 4 : text[0] == 'U' ? 8 : 0;
    if (digits == 0 || read_hex(text + 1, digits, &code) != digits || code > 0x10FFFF ||
        (code >= 0xD800 && code < 0xE000))
        return 0;
    *written = write_utf8(out, code);
    return digits + 1;
}

int cli_unescape(char *text, size_t *length, const char *command, const char *flag) {
    size_t n = 0, written;
    for (const char *at = text; *at != 0; n += written) {
        if (*at != '\\') {
            text[n] = *at++;
            written = 1;
            continue;
        }
        const size_t used = read_escape(at + 1, text + n, &written);
        if (used == 0)
            return cli_misuse(command, "%s: \"%.8s\" begins with no escape that -e knows", flag,
                              at);
        at += used + 1;
    }
    text[n] = 0;
    *length = n;
    return CLI_GO_ON;
}

/* ---- where the text comes from ----------------------------------------------------------- */

bool cli_input_waits(void) {
    struct stat info;
    return fstat(STDIN_FILENO, &info) == 0 &&
           (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode));
}

int cli_read_prompt(cli_input *input, const char *command, const cli_prompt *prompt,
                    const char *fallback) {
    const char *text = prompt->text, *file = prompt->file;
    if (text != NULL && file != NULL)
        return cli_misuse(command, "-p and -f exclude each other");
    const bool typed = text != NULL && strcmp(text, "-") != 0;
    if (text != NULL && !typed)
        file = text;
    else if (text == NULL && file == NULL && fallback == NULL)
        text = "";
    else if (text == NULL && file == NULL)
        file = fallback;
    if (file != NULL)
        return cli_read(input, file) ? CLI_GO_ON : CLI_FAILED;
    input->path = "-p";
    input->length = strlen(text);
    input->text = malloc(input->length + 1);
    if (input->text == NULL)
        return cli_error("out of memory");
    memcpy(input->text, text, input->length + 1);
    const int code = prompt->escapes && typed
                         ? cli_unescape(input->text, &input->length, command, "-p")
                         : CLI_GO_ON;
    if (code != CLI_GO_ON)
        free(input->text);
    return code;
}
