/* line.c - lines from a terminal, edited where libedit is there, or from a pipe. */
#include "line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "cli.h"

#ifdef SM_LIBEDIT
#include <editline/readline.h>
#endif

bool line_is_typed(void) {
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

#ifdef SM_LIBEDIT
/* stdout may be a pipe: what is edited is shown on stderr. */
static line_end edited(const char *prompt, char **text, size_t *length) {
    static bool begun;
    if (!begun) {
        rl_outstream = stderr;
        using_history();
        stifle_history(1000);
        begun = true;
    }
    cli_await_interrupt(true);
    *text = readline(prompt);
    cli_await_interrupt(false);
    if (cli_interrupted() && *text == NULL) {
        fputc('\n', stderr);
        return LINE_STOPPED;
    }
    cli_forget_interrupt(); /* one that came before reading began: the whole line came after it */
    *length = *text != NULL ? strlen(*text) : 0;
    return *text != NULL ? LINE_READ : LINE_OVER;
}
#endif

line_end line_read(const char *prompt, char **text, size_t *length) {
    size_t capacity = 0;
    *text = NULL;
    *length = 0;
#ifdef SM_LIBEDIT
    if (line_is_typed())
        return edited(prompt, text, length);
#endif
    if (line_is_typed()) {
        fputs(prompt, stderr);
        fflush(stderr);
    }
    cli_await_interrupt(true);
    const ssize_t n = getline(text, &capacity, stdin);
    cli_await_interrupt(false);
    if (n < 0) {
        free(*text);
        *text = NULL;
        if (!cli_interrupted())
            return LINE_OVER;
        clearerr(stdin);
        fputc('\n', stderr);
        return LINE_STOPPED;
    }
    *length = (size_t)n;
    while (*length > 0 && ((*text)[*length - 1] == '\n' || (*text)[*length - 1] == '\r'))
        (*text)[--*length] = 0;
    return LINE_READ;
}

void line_remember(const char *text) {
#ifdef SM_LIBEDIT
    if (line_is_typed())
        add_history(text);
#else
    (void)text;
#endif
}
