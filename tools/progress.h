/* progress.h - the one line on a terminal that says how far long work is.
 *
 * It goes to stderr if that is a terminal, else nowhere. It is as wide as the terminal, which is
 * asked each time, is rewritten at most ten times a second, and each time by one write.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `done` of `total`, with the time that is left once it can be told; total 0: not known, then the
 * time that has passed. Nothing is shown of what is over in a moment. */
void progress_count(const char *what, uint64_t done, uint64_t total);
/* The last count again if it is time for it: called from hooks that are asked often. */
void progress_tick(void);

/* A bar for `part` of 1 and as many of the texts, from the first, as fit. now: however short ago
 * the last update was, which only a last one may be. */
void progress_show(double part, const char *const *texts, size_t n, bool now);

/* Erases the line, so that something else can be printed. */
void progress_clear(void);
/* The same, and what was counted is done. */
void progress_end(void);
/* Leaves the line as it is and begins another one. */
void progress_keep(void);

#define PROGRESS_DURATION 40
/* 12 s, 3 min 02 s, 12 min, 1 h 05 min; buffer of PROGRESS_DURATION. */
const char *progress_duration(char *buffer, double seconds);

#endif
