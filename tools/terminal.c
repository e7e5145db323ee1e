/* terminal.c - whether there is a terminal, and how wide it is. */
#include "terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

int terminal_columns(int fd) {
    struct winsize size;
    if (!isatty(fd))
        return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return TERMINAL_USUAL;
    return size.ws_col;
}
