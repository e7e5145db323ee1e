/* progress.c - the one line that says how far long work is. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "terminal.h"

#define INTERVAL 0.12 /* seconds between updates: nine a second, and a last one */
#define PATIENCE 0.25 /* seconds that counted work takes at least to be shown */
#define SETTLED 2.0   /* seconds after which the time that is left is told */
#define BAR_LEAST 9   /* columns that texts leave to the bar, brackets and a space included */
#define LONGEST 1024  /* bytes of a line */

static struct {
    bool open;           /* something stands on the line */
    double last;         /* when it was written, or found to go nowhere */
    char shown[LONGEST]; /* what was written */
} line;

static struct {
    const char *what; /* NULL: nothing is being counted */
    bool hidden;      /* there is no terminal for it */
    uint64_t done, total;
    double start;
} count;

const char *progress_duration(char *buffer, double seconds) {
    const unsigned long s = (unsigned long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buffer, PROGRESS_DURATION, "%lu h %02lu min", s / 3600, s / 60 % 60);
    else if (s >= 600)
        snprintf(buffer, PROGRESS_DURATION, "%lu min", s / 60);
    else if (s >= 60)
        snprintf(buffer, PROGRESS_DURATION, "%lu min %02lu s", s / 60, s % 60);
    else
        snprintf(buffer, PROGRESS_DURATION, "%lu s", s);
    return buffer;
}

/* ---- the line ------------------------------------------------------------------------- */

/* The texts that fit into `room` columns, the first ones first, with two spaces between; the first
 * one is cut if it must be. They are ASCII. Returns the length. */
static size_t join(char *to, size_t room, const char *const *texts, size_t n) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(texts[i]);
        const size_t gap = i > 0 ? 2 : 0;
        if (i == 0 && length > room)
            length = room;
        if (used + gap + length > room)
            continue;
        memset(to + used, ' ', gap);
        memcpy(to + used + gap, texts[i], length);
        used += gap + length;
    }
    to[used] = 0;
    return used;
}

/* A bar of `columns`, with a space behind it. */
static size_t draw_bar(char *to, size_t columns, double part) {
    const size_t inside = columns - 3;
    to[0] = '[';
    for (size_t i = 0; i < inside; i++)
        to[1 + i] = (double)i < part * (double)inside ? '#' : ' ';
    to[1 + inside] = ']';
    to[2 + inside] = ' ';
    return columns;
}

/* What fits a terminal; its last column stays empty, some go on to the next line from there. */
static void compose(char *to, size_t columns, double part, const char *const *texts, size_t n) {
    char joined[LONGEST];
    const size_t most = LONGEST - 16;
    const size_t width = columns - 1 < most ? columns - 1 : most;
    const bool bar = part >= 0.0 && width > 2 * BAR_LEAST;
    const size_t length = join(joined, bar ? width - BAR_LEAST : width, texts, n);
    const size_t used = bar ? draw_bar(to, width - length, part) : 0;
    memcpy(to + used, joined, length + 1);
}

static void write_out(const char *bytes, size_t n) {
    if (write(STDERR_FILENO, bytes, n) < 0)
        line.open = false; /* a terminal that is gone: nothing to be done about it */
}

static bool is_due(void) {
    return cli_seconds_roughly() - line.last >= INTERVAL;
}

void progress_show(double part, const char *const *texts, size_t n, bool now) {
    char next[LONGEST], bytes[LONGEST + 8];
    if (!now && !is_due())
        return;
    line.last = cli_seconds_roughly();
    const int columns = terminal_columns(STDERR_FILENO);
    if (columns == 0)
        return;
    compose(next, (size_t)columns, part, texts, n);
    if (line.open && strcmp(next, line.shown) == 0)
        return;
    strcpy(line.shown, next);
    line.open = true;
    write_out(bytes, (size_t)snprintf(bytes, sizeof bytes, "\r%s\033[K", next));
}

void progress_clear(void) {
    if (line.open)
        write_out("\r\033[K", 4);
    line.open = false;
}

void progress_end(void) {
    count.what = NULL;
    progress_clear();
}

void progress_keep(void) {
    count.what = NULL;
    if (line.open)
        write_out("\n", 1);
    line.open = false;
}

/* ---- counting --------------------------------------------------------------------------- */

void progress_tick(void) {
    char amount[32], time[PROGRESS_DURATION], left[PROGRESS_DURATION + 8];
    if (count.what == NULL || count.hidden || !is_due())
        return;
    const double spent = cli_seconds_roughly() - count.start;
    const char *texts[3] = {count.what, amount, left};
    size_t n = 2;
    if (spent < PATIENCE)
        return;
    if (count.total == 0) {
        texts[1] = progress_duration(time, spent);
        progress_show(-1.0, texts, n, false);
        return;
    }
    const double part = (double)count.done / (double)count.total;
    snprintf(amount, sizeof amount, "%5.1f%%", 100.0 * part);
    if (spent >= SETTLED && part > 0.0 && part < 1.0) {
        snprintf(left, sizeof left, "%s left",
                 progress_duration(time, spent * (1.0 - part) / part));
        n = 3;
    }
    progress_show(part, texts, n, false);
}

void progress_count(const char *what, uint64_t done, uint64_t total) {
    if (count.what == NULL || strcmp(count.what, what) != 0 || done < count.done) {
        count.what = what;
        count.start = cli_seconds_roughly();
        count.hidden = terminal_columns(STDERR_FILENO) == 0;
    }
    count.done = done;
    count.total = total;
    progress_tick();
}
