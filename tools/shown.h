/* shown.h - text of files, names and paths on its way to a terminal or into JSON.
 *
 * Nothing that a file, its name or an option says reaches a terminal as it is; only the text that a
 * model writes, which is what `run` is for, and the prompt before it.
 */
#ifndef SHOWN_H
#define SHOWN_H

#include <stdarg.h>
#include <stddef.h>

#include <jansson.h>

#define CLI_SHOWN_SPACE 1024
/* The text as sm_text_escape has it, a long one cut short; returns the buffer. */
const char *cli_shown(char buffer[CLI_SHOWN_SPACE], const char *text);
/* Prints it to stdout, at most max_bytes of it (then "…"; 0: all). Returns the bytes, without "…".
 */
size_t cli_print_escaped(const char *text, size_t length, size_t max_bytes);
/* A line on stderr, in one write: the prefix, then what is formatted, escaped. */
void cli_say(const char *prefix, const char *format, va_list args);

/* A JSON string, with U+FFFD for what is not UTF-8. NULL: out of memory. */
json_t *cli_json_text(const char *text, size_t length);
json_t *cli_json_name(const char *text);
/* Prints root (NULL: it could not be made) and frees it: CLI_DONE or the failure's exit code. What
 * cannot be seen stands there as \u202e. */
int cli_print_json(json_t *root, size_t flags);

#endif
