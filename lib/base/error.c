/* error.c - statuses, messages and the log, formatted without the C library's locale. */
#include "base.h"

#include <stdarg.h>

#define STRING_(x) #x
#define STRING(x) STRING_(x)

#define ARGUMENT_SHOWN 400 /* bytes of an argument in a message */

/* Own formatting: the C library's depends on the locale and drags stdio into
 * the host. */
typedef struct sink {
    char *out;
    size_t capacity, length;
    bool shown;  /* to people: arguments are escaped, and characters are whole */
    bool full;   /* a character had no room: nothing comes after it */
    size_t kept; /* bytes written */
} sink;

static void put_bytes(sink *s, const char *bytes, size_t n) {
    if (s->shown && s->length + n >= s->capacity)
        s->full = true;
    for (size_t i = 0; i < n; i++, s->length++)
        if (!s->full && s->length + 1 < s->capacity)
            s->out[s->length] = bytes[i];
    if (!s->full)
        s->kept = s->length;
}

static void put(sink *s, char c) {
    put_bytes(s, &c, 1);
}

/* An argument that people see: escaped, and cut where it would leave no room for what is said
 * about it. */
static void put_shown(sink *s, const char *text, size_t length) {
    const size_t begin = s->length;
    for (size_t i = 0; i < length;) {
        char unit[SM_ESCAPE_UNIT];
        uint32_t used;
        const uint32_t n = sm_escape_next(text + i, length - i, unit, &used);
        if (s->length - begin + n > ARGUMENT_SHOWN) {
            put_bytes(s, "...", 3);
            return;
        }
        put_bytes(s, unit, n);
        i += used;
    }
}

static void put_u64(sink *s, uint64_t v, unsigned min_digits) {
    char digits[24];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n < min_digits)
        digits[n++] = '0';
    while (n)
        put(s, digits[--n]);
}

static void put_i64(sink *s, int64_t v) {
    if (v < 0)
        put(s, '-');
    put_u64(s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 1);
}

static void put_double(sink *s, double v) {
    if (v != v || v - v != 0) {
        for (const char *t = v != v ? "nan" : v > 0 ? "inf" : "-inf"; *t; t++)
            put(s, *t);
        return;
    }
    if (v < 0) {
        put(s, '-');
        v = -v;
    }
    /* six significant digits, with an exponent outside 1e-4 .. 1e15 */
    int exponent = 0;
    if (v != 0 && (v < 1e-4 || v >= 1e15)) {
        while (v >= 10) {
            v /= 10;
            exponent++;
        }
        while (v < 1) {
            v *= 10;
            exponent--;
        }
    }
    unsigned decimals = v >= 1e6 ? 0 : 6;
    double scale = decimals ? 1e6 : 1;
    uint64_t fixed = (uint64_t)(v * scale + 0.5);
    uint64_t whole = fixed / (uint64_t)scale, part = fixed % (uint64_t)scale;
    put_u64(s, whole, 1);
    if (part) {
        while (part % 10 == 0) {
            part /= 10;
            decimals--;
        }
        put(s, '.');
        put_u64(s, part, decimals);
    }
    if (exponent) {
        put(s, 'e');
        put_i64(s, exponent);
    }
}

static void format_into(sink *s, const char *format, va_list args) {
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            put(s, *f);
            continue;
        }
        f++;
        size_t limit = SIZE_MAX;
        if (f[0] == '.' && f[1] == '*') {
            int n = va_arg(args, int);
            limit = n < 0 ? 0 : (size_t)n;
            f += 2;
        }
        unsigned longs = 0;
        bool size = false;
        for (; *f == 'l' || *f == 'z'; f++) {
            size = *f == 'z';
            longs += *f == 'l';
        }
        switch (*f) {
        case 's': {
            const char *text = va_arg(args, const char *);
            if (!text)
                text = "(null)";
            size_t length = 0;
            while (length < limit && text[length])
                length++;
            /* a limit may fall inside a character */
            const bool cut = s->shown && length == limit;
            const size_t whole =
                cut ? (size_t)sm_utf8_complete((const uint8_t *)text, length) : length;
            (s->shown ? put_shown : put_bytes)(s, text, whole);
            if (whole < length)
                put_bytes(s, "...", 3);
            break;
        }
        case 'c': {
            const char c = (char)va_arg(args, int);
            (s->shown ? put_shown : put_bytes)(s, &c, 1);
            break;
        }
        case 'd':
            put_i64(s, longs == 0   ? va_arg(args, int)
                       : longs == 1 ? va_arg(args, long)
                                    : va_arg(args, long long));
            break;
        case 'u':
            put_u64(s,
                    size         ? va_arg(args, size_t)
                    : longs == 0 ? va_arg(args, unsigned)
                    : longs == 1 ? va_arg(args, unsigned long)
                                 : va_arg(args, unsigned long long),
                    1);
            break;
        case 'g':
            put_double(s, va_arg(args, double));
            break;
        case '%':
            put(s, '%');
            break;
        default: /* a form this function does not know is a bug: make it visible */
            put(s, '?');
            if (!*f)
                f--;
        }
    }
}

/* Formats and ends with a zero. Returns the untruncated length. */
static size_t finish(char *out, size_t capacity, bool shown, const char *format, va_list args) {
    sink s = {.out = out, .capacity = capacity, .shown = shown};
    format_into(&s, format, args);
    if (capacity)
        out[s.kept < capacity ? s.kept : capacity - 1] = 0;
    return s.length;
}

size_t sm_format(char *out, size_t capacity, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const size_t length = finish(out, capacity, false, format, args);
    va_end(args);
    return length;
}

sm_status sm_fail_args(sm_error *error, sm_status status, const char *format, va_list args) {
    if (error) {
        finish(error->message, sizeof error->message, true, format, args);
        error->code = status;
        error->system = 0;
    }
    return status;
}

sm_status sm_fail(sm_error *error, sm_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sm_fail_args(error, status, format, args);
    va_end(args);
    return status;
}

void sm_log(sm_log_fn log, void *user, int32_t severity, const char *format, ...) {
    if (!log)
        return;
    char line[sizeof((sm_error *)NULL)->message];
    va_list args;
    va_start(args, format);
    finish(line, sizeof line, true, format, args);
    va_end(args);
    log(user, severity, line);
}

const char *sm_status_text(sm_status status) {
    switch (status) {
    case SM_OK:
        return "ok";
    case SM_ERR_ARGUMENT:
        return "invalid argument";
    case SM_ERR_NOMEM:
        return "out of memory";
    case SM_ERR_IO:
        return "input/output error";
    case SM_ERR_FORMAT:
        return "malformed file";
    case SM_ERR_MISSING:
        return "missing key or tensor";
    case SM_ERR_SHAPE:
        return "wrong shape or type";
    case SM_ERR_UNSUPPORTED:
        return "unsupported";
    case SM_ERR_TOKEN:
        return "token id out of range";
    case SM_ERR_CONTEXT_FULL:
        return "context full";
    case SM_ERR_CANCELLED:
        return "cancelled";
    case SM_ERR_STATE:
        return "not possible in this state";
    case SM_ERR_BUFFER:
        return "buffer too small";
    case SM_ERR_SYSTEM:
        return "system service failed";
    case SM_ERR_DIVERGED:
        return "training diverged";
    default:
        return "unknown status";
    }
}

const char *sm_version(void) {
    return STRING(SM_VERSION_MAJOR) "." STRING(SM_VERSION_MINOR) "." STRING(SM_VERSION_PATCH)
        SM_VERSION_PRE;
}
