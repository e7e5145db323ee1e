/* How many CPUs' worth of time the control groups of Linux leave this process: cgroups(7),
 * Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst of the kernel, proc(5) for
 * /proc/self/cgroup and /proc/self/mountinfo.
 *
 * A group's quota binds all groups below it, so that the least of a group's and its ancestors'
 * counts. What lies above the root of a mount or of a cgroup namespace cannot be seen from here. A
 * file that is not there or not as the kernel writes it tells of no limit. */
#define _FILE_OFFSET_BITS 64

#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define LINE_SPACE 2048       /* of a line; a longer one is passed over */
#define FILE_MOST (16u << 20) /* bytes read of a file */
#define NO_LIMIT UINT32_MAX

/* ---- reading lines ---------------------------------------------------------------------- */

typedef struct lines {
    int fd;
    uint32_t at, end, total;
    char buffer[512];
    char line[LINE_SPACE];
} lines;

static bool lines_open(lines *l, const char *path) {
    l->at = l->end = l->total = 0;
    do /* O_NONBLOCK: not to wait for the other end of a pipe */
        l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (l->fd < 0 && errno == EINTR);
    return l->fd >= 0;
}

static bool refill(lines *l) {
    ssize_t n;
    do
        n = read(l->fd, l->buffer, sizeof l->buffer);
    while (n < 0 && errno == EINTR);
    l->at = 0;
    l->end = n > 0 ? (uint32_t)n : 0;
    l->total += l->end;
    return n > 0 && l->total <= FILE_MOST;
}

/* The next line, without its end, in l->line; one that is too long or holds a zero byte becomes
 * empty. False, the file being closed, past the last. */
static bool lines_next(lines *l) {
    uint32_t n = 0;
    bool any = false, whole = true;
    for (;;) {
        if (l->at == l->end && !refill(l))
            break;
        const char c = l->buffer[l->at++];
        any = true;
        if (c == '\n')
            break;
        whole = whole && c != 0 && n + 1 < LINE_SPACE;
        if (whole)
            l->line[n++] = c;
    }
    l->line[whole ? n : 0] = 0;
    if (!any)
        close(l->fd);
    return any;
}

static void lines_close(lines *l) {
    close(l->fd);
}

/* ---- words ------------------------------------------------------------------------------ */

/* Ends the word at *at with a zero and goes on behind `separator`; NULL where it is not there. */
static char *cut(char **at, char separator) {
    char *word = *at, *end = strchr(word, separator);
    if (!end)
        return NULL;
    *end = 0;
    *at = end + 1;
    return word;
}

static bool has_word(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, word, length) && (at[length] == ',' || !at[length]))
            return true;
    }
    return false;
}

/* Digits that fill text up to `end`. */
static bool number(const char *text, const char *end, uint64_t *value) {
    *value = 0;
    const char *at = text;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        if (sm_mul_over(*value, 10, value) || sm_add_over(*value, (uint64_t)(*at - '0'), value))
            return false;
    return at > text && at == end;
}

/* \040 and the like, as /proc writes blanks, line ends and backslashes. */
static void unescape(char *text) {
    char *to = text;
    for (const char *at = text; *at; to++) {
        const bool octal = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' &&
                           at[2] <= '7' && at[3] >= '0' && at[3] <= '7';
        *to = *at;
        if (octal)
            *to = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
        at += octal ? 4 : 1;
    }
    *to = 0;
}

/* ---- one group -------------------------------------------------------------------------- */

static uint32_t divide(uint64_t quota, uint64_t period) {
    if (!quota || !period)
        return NO_LIMIT;
    const uint64_t cpus = quota / period + (quota % period != 0);
    return cpus < NO_LIMIT ? (uint32_t)cpus : NO_LIMIT;
}

/* The first line of file `name` of a group, in l->line. */
static bool read_line(lines *l, char *path, size_t length, const char *name) {
    if (length + strlen(name) + 1 > LINE_SPACE)
        return false;
    memcpy(path + length, name, strlen(name) + 1);
    const bool opened = lines_open(l, path), any = opened && lines_next(l);
    if (any)
        lines_close(l);
    path[length] = 0;
    return any;
}

/* "150000 100000" or "max 100000", in µs */
static uint32_t limit_v2(lines *l, char *path, size_t length) {
    uint64_t quota, period;
    const char *blank;
    if (!read_line(l, path, length, "/cpu.max") || !(blank = strchr(l->line, ' ')) ||
        !number(l->line, blank, &quota) || !number(blank + 1, blank + strlen(blank), &period))
        return NO_LIMIT;
    return divide(quota, period);
}

/* A quota of "-1" is none. */
static uint32_t limit_v1(lines *l, char *path, size_t length) {
    uint64_t quota, period;
    if (!read_line(l, path, length, "/cpu.cfs_quota_us") ||
        !number(l->line, l->line + strlen(l->line), &quota) ||
        !read_line(l, path, length, "/cpu.cfs_period_us") ||
        !number(l->line, l->line + strlen(l->line), &period))
        return NO_LIMIT;
    return divide(quota, period);
}

/* The least of the group at `path` and of those above it down to its first `top` bytes. */
static uint32_t least(lines *l, char *path, size_t top, bool v2) {
    uint32_t limit = NO_LIMIT;
    for (size_t length = strlen(path);; length--) {
        while (length > top && path[length - 1] == '/')
            length--;
        path[length] = 0;
        const uint32_t own = v2 ? limit_v2(l, path, length) : limit_v1(l, path, length);
        limit = own < limit ? own : limit;
        while (length > top && path[length - 1] != '/')
            length--;
        if (length <= top)
            return limit;
    }
}

/* ---- finding the groups ------------------------------------------------------------------- */

/* How far `path` goes up from the root of the cgroup namespace ("/../../a": 2); *rest: what
 * follows. */
static uint32_t ups(const char *path, const char **rest) {
    uint32_t n = 0;
    for (; !strncmp(path, "/..", 3) && (path[3] == '/' || !path[3]); path += 3)
        n++;
    *rest = path;
    return n;
}

/* Where the mount whose root is `root` has the group `group`: what comes behind the mount point;
 * NULL if it does not have it. */
static const char *below(const char *root, const char *group) {
    const size_t length = strcmp(root, "/") ? strlen(root) : 0;
    const char *rest, *root_rest;
    if (!strncmp(group, root, length) && (group[length] == '/' || !group[length]))
        return ups(group + length, &rest) ? NULL : group + length;
    /* A mount made outside the namespace may begin above what the process can name: then its top
     * group is one above the process's. */
    const bool above = ups(root, &root_rest) > ups(group, &rest) && !*root_rest;
    return above ? "" : NULL;
}

/* Our group of the hierarchy of the CPU controller, v1 or v2; false if there is none. */
static bool find_group(lines *l, const char *root, bool v2, char group[LINE_SPACE]) {
    bool found = false;
    if (sm_format(group, LINE_SPACE, "%s/proc/self/cgroup", root) >= LINE_SPACE ||
        !lines_open(l, group))
        return false;
    while (lines_next(l)) { /* "4:cpu,cpuacct:/group" or "0::/group" */
        char *at = l->line;
        const char *id = cut(&at, ':'), *controllers = id ? cut(&at, ':') : NULL;
        if (!controllers || *at != '/' || found ||
            (v2 ? strcmp(id, "0") != 0 || *controllers : !has_word(controllers, "cpu")))
            continue;
        memcpy(group, at, strlen(at) + 1);
        found = true;
    }
    return found;
}

/* Takes "36 35 98:0 ROOT POINT OPTIONS [TAG]... - TYPE SOURCE OPTIONS" apart: whether it is a mount
 * of the CPU controller's groups. */
static bool parse_mount(char *line, bool v2, char **root, char **point) {
    char *at = line;
    for (int i = 0; i < 3; i++)
        if (!cut(&at, ' '))
            return false;
    *root = cut(&at, ' ');
    *point = *root ? cut(&at, ' ') : NULL;
    if (!*point || **root != '/' || **point != '/')
        return false;
    char *word;
    do
        word = cut(&at, ' ');
    while (word && strcmp(word, "-") != 0);
    const char *type = word ? cut(&at, ' ') : NULL, *source = type ? cut(&at, ' ') : NULL;
    if (!source ||
        (v2 ? strcmp(type, "cgroup2") != 0 : strcmp(type, "cgroup") != 0 || !has_word(at, "cpu")))
        return false;
    unescape(*root);
    unescape(*point);
    return true;
}

static uint32_t limit_of(const char *root, bool v2) {
    lines l;
    char group[LINE_SPACE], path[LINE_SPACE];
    uint32_t limit = NO_LIMIT;
    if (!find_group(&l, root, v2, group) ||
        sm_format(path, sizeof path, "%s/proc/self/mountinfo", root) >= sizeof path ||
        !lines_open(&l, path))
        return NO_LIMIT;
    while (lines_next(&l)) {
        char *mount_root, *point;
        if (!parse_mount(l.line, v2, &mount_root, &point))
            continue;
        const char *rest = below(mount_root, group);
        if (!rest)
            continue;
        const size_t top =
            sm_format(path, sizeof path, "%s%s", root, strcmp(point, "/") ? point : "");
        if (top + strlen(rest) >= sizeof path)
            continue;
        memcpy(path + top, rest, strlen(rest) + 1);
        lines of_group;
        const uint32_t own = least(&of_group, path, top, v2);
        limit = own < limit ? own : limit;
    }
    return limit;
}

uint32_t sm_cpu_quota(const char *root) {
    const uint32_t v1 = limit_of(root, false), v2 = limit_of(root, true);
    return v1 < v2 ? v1 : v2;
}
