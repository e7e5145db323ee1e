/* shown.c - text of files, names and paths on its way to a terminal or into JSON. */
#include "shown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* ---- escaped ------------------------------------------------------------------------------ */

const char *cli_shown(char buffer[CLI_SHOWN_SPACE], const char *text) {
    const size_t length = strlen(text);
    if (sm_text_escape(text, length, buffer, CLI_SHOWN_SPACE) >= CLI_SHOWN_SPACE) {
        sm_text_escape(text, length, buffer, CLI_SHOWN_SPACE - 3);
        strcat(buffer, "...");
    }
    return buffer;
}

size_t cli_print_escaped(const char *text, size_t length, size_t max_bytes) {
    const size_t whole = (size_t)sm_text_escape(text, length, NULL, 0);
    const size_t room = max_bytes != 0 && max_bytes < whole ? max_bytes : whole;
    char *shown = malloc(room + 1);
    if (shown == NULL)
        return 0;
    sm_text_escape(text, length, shown, room + 1);
    fputs(shown, stdout);
    if (room < whole)
        fputs("…", stdout);
    free(shown);
    return room;
}

void cli_say(const char *prefix, const char *format, va_list args) {
    static const char ending[] = "…"; /* where memory is short */
    char text[512], shown[2048];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(text, sizeof text, format, args);
    char *whole = n >= (int)sizeof text ? malloc((size_t)n + 1) : NULL;
    if (whole != NULL)
        n = vsnprintf(whole, (size_t)n + 1, format, again);
    va_end(again);
    const char *said = whole != NULL ? whole : text;
    const size_t length = n > 0 ? strlen(said) : 0;
    const size_t size = (size_t)sm_text_escape(said, length, shown, sizeof shown);
    char *all = size >= sizeof shown ? malloc(size + 1) : NULL;
    if (all != NULL)
        sm_text_escape(said, length, all, size + 1);
    const bool cut = all == NULL && (size >= sizeof shown || length < (size_t)(n > 0 ? n : 0));
    progress_clear();
    fprintf(stderr, "%s%s%s\n", prefix, all != NULL ? all : shown, cut ? ending : "");
    free(all);
    free(whole);
}

int cli_error(const char *format, ...) {
    va_list args;
    progress_end();
    va_start(args, format);
    cli_say("smallmind: ", format, args);
    va_end(args);
    return CLI_FAILED;
}

/* ---- JSON --------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at text[0..length), 0 where there is none. */
static size_t character(const char *text, size_t length) {
    const unsigned char lead = (unsigned char)text[0];
    const size_t n = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : 4;
    char shown[16] = "";
    if (n > 1 && n <= length)
        sm_text_escape(text, n, shown, sizeof shown);
    return n == 1 || (n <= length && memcmp(shown, "\\x", 2) != 0) ? n : 0;
}

json_t *cli_json_text(const char *text, size_t length) {
    json_t *string = json_stringn(text, length);
    if (string != NULL)
        return string;
    char *valid = malloc(3 * length + 1);
    size_t size = 0;
    for (size_t i = 0; valid != NULL && i < length;) {
        const size_t n = character(text + i, length - i);
        memcpy(valid + size, n != 0 ? text + i : "\xEF\xBF\xBD", n != 0 ? n : 3);
        size += n != 0 ? n : 3;
        i += n != 0 ? n : 1;
    }
    if (valid != NULL)
        string = json_stringn(valid, size);
    free(valid);
    return string;
}

json_t *cli_json_name(const char *text) {
    return cli_json_text(text, strlen(text));
}

static void print_unit(unsigned code) {
    if (code >= 0x10000)
        printf("\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF));
    else
        printf("\\u%04x", code);
}

/* What cannot be seen stands in strings only, where JSON has its own way to write it. */
static void print_visible(const char *json) {
    while (*json != 0) {
        const char *begin = json;
        while (*json > 0 && *json < 0x7F)
            json++;
        fwrite(begin, 1, (size_t)(json - begin), stdout);
        if (*json == 0)
            return;
        char shown[16];
        const size_t n = character(json, strnlen(json, 4));
        sm_text_escape(json, n, shown, sizeof shown);
        if (shown[0] == '\\') /* "\x7f" or "\u{202e}" */
            print_unit((unsigned)strtoul(shown + (n == 1 ? 2 : 3), NULL, 16));
        else
            fwrite(json, 1, n, stdout);
        json += n;
    }
}

int cli_print_json(json_t *root, size_t flags) {
    char *json = root != NULL ? json_dumps(root, flags) : NULL;
    json_decref(root);
    if (json == NULL)
        return cli_error("the result cannot be written as JSON");
    print_visible(json);
    putchar('\n');
    free(json);
    return CLI_DONE;
}
