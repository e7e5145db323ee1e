/* terminal.h - whether there is a terminal, and how wide it is. */
#ifndef TERMINAL_H
#define TERMINAL_H

#define TERMINAL_USUAL 80 /* columns where nothing says how many there are */

/* Columns of the terminal behind a file descriptor, as it is now: it may be made wider or narrower
 * at any time. TERMINAL_USUAL if the terminal does not say; 0 if there is none. */
int terminal_columns(int fd);

#endif
