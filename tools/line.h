/* line.h - lines that people type, and lines from pipes. */
#ifndef LINE_H
#define LINE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether lines are typed: standard input and error are a terminal. With libedit they can be edited
 * then, and earlier ones called back. */
bool line_is_typed(void);

typedef enum line_end {
    LINE_READ,
    LINE_OVER,   /* the input has ended */
    LINE_STOPPED /* Ctrl-C: what had been typed is gone */
} line_end;

/* The next line, without its end; *text is to be freed. Typed ones get the prompt. */
line_end line_read(const char *prompt, char **text, size_t *length);
/* What was read goes into the history of typed lines. */
void line_remember(const char *text);

#endif
