/* reply_scan.c - where values end, found byte by byte. */
#include "reply_scan.h"

static bool push(sm_reply_scan *s, char c) {
    if (s->depth == SM_JSON_MAX_DEPTH)
        return false;
    s->open[s->depth++] = (uint8_t)c;
    return true;
}

/* Whether the innermost bracket is the one that c closes. */
static bool pop(sm_reply_scan *s, char c) {
    const char with = c == '}' ? '{' : c == ']' ? '[' : '(';
    if (!s->depth || s->open[s->depth - 1] != (uint8_t)with)
        return false;
    s->depth--;
    return true;
}

static bool opens(char c) {
    return c == '{' || c == '[' || c == '(';
}

static bool closes(char c) {
    return c == '}' || c == ']' || c == ')';
}

/* ---- JSON ------------------------------------------------------------------------ */

/* What comes next. FIRST and NAME may be the end of an empty array or object. */
enum { BEGIN, VALUE, FIRST, NAME, NEXT_NAME, COLON, AFTER, WORD, STRING, ESCAPE, HEX };

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' ||
           c == 'E';
}

static bool json_value(sm_reply_scan *s, char c) {
    if (c == '{' || c == '[') {
        s->state = c == '{' ? NAME : FIRST;
        return push(s, c);
    }
    s->state = c == '"' ? STRING : WORD;
    s->quote = 0;
    return c == '"' || (is_word(c) && c != '+' && c != '.' && c != 'E');
}

/* A byte that is no part of a string. */
static bool json_byte(sm_reply_scan *s, char c) {
    if (s->state == WORD) {
        if (is_word(c))
            return true;
        s->state = AFTER;
    }
    if (sm_reply_is_space(c))
        return s->state != BEGIN;
    switch (s->state) {
    case BEGIN:
        return (c == '{' || c == '[') && json_value(s, c);
    case FIRST:
    case VALUE:
        if (c == ']' && s->state == FIRST) {
            s->state = AFTER;
            return pop(s, c);
        }
        return json_value(s, c);
    case NAME:
    case NEXT_NAME:
        if (c == '}' && s->state == NAME) {
            s->state = AFTER;
            return pop(s, c);
        }
        s->state = STRING;
        s->quote = 1; /* a name */
        return c == '"';
    case COLON:
        s->state = VALUE;
        return c == ':';
    default: /* AFTER */
        if (c == ',')
            s->state = s->open[s->depth - 1] == '{' ? NEXT_NAME : VALUE;
        return c == ',' || (closes(c) && pop(s, c));
    }
}

static bool json_string(sm_reply_scan *s, char c) {
    if (s->state == STRING) {
        if (c == '"')
            s->state = s->quote ? COLON : AFTER;
        else if (c == '\\')
            s->state = ESCAPE;
        return (uint8_t)c >= 0x20;
    }
    if (s->state == ESCAPE) {
        s->state = c == 'u' ? HEX : STRING;
        s->digits = 4;
        return c && strchr("\"\\/bfnrtu", c);
    }
    if (--s->digits == 0)
        s->state = STRING;
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

sm_reply_found sm_reply_scan_json(sm_reply_scan *s, const char *text, uint64_t n, uint64_t *at) {
    for (; *at < n; ++*at) {
        const char c = text[*at];
        if (!(s->state >= STRING ? json_string(s, c) : json_byte(s, c)))
            return SM_REPLY_NONE;
        if (!s->depth) {
            ++*at;
            return SM_REPLY_WHOLE;
        }
    }
    return SM_REPLY_MORE;
}

/* ---- pairs ----------------------------------------------------------------------- */

#define QUOTE "<|\"|>"
#define QUOTE_LENGTH (sizeof QUOTE - 1)

/* Whether a quote begins text[0..left): more may be needed to see. */
static sm_reply_found is_quote(const char *text, uint64_t left) {
    const uint64_t n = min_u64(left, QUOTE_LENGTH);
    if (memcmp(text, QUOTE, (size_t)n) != 0)
        return SM_REPLY_NONE;
    return n == QUOTE_LENGTH ? SM_REPLY_WHOLE : SM_REPLY_MORE;
}

sm_reply_found sm_reply_scan_pairs(sm_reply_scan *s, const char *text, uint64_t n, uint64_t *at) {
    for (; *at < n; ++*at) {
        const char c = text[*at];
        const sm_reply_found quote = c == '<' ? is_quote(text + *at, n - *at) : SM_REPLY_NONE;
        if (quote == SM_REPLY_MORE)
            return quote;
        if (quote == SM_REPLY_WHOLE) {
            s->quote ^= 1;
            *at += QUOTE_LENGTH - 1;
        } else if (!s->quote) {
            if (opens(c) ? !push(s, c) : closes(c) && !pop(s, c))
                return SM_REPLY_NONE;
        }
        if (!s->depth && (quote == SM_REPLY_WHOLE || !closes(c)))
            return SM_REPLY_NONE;
        if (!s->depth) {
            ++*at;
            return SM_REPLY_WHOLE;
        }
    }
    return SM_REPLY_MORE;
}

/* ---- Python ---------------------------------------------------------------------- */

enum { START, BETWEEN, IDENTIFIER, ARGUMENTS };

static bool is_identifier(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (uint8_t)c >= 0x80 ||
           (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

/* Inside the brackets of a call. Three quotes at a time are looked at: *more says that they are not
 * there yet. */
static bool argument_byte(sm_reply_scan *s, const char *text, uint64_t n, uint64_t *at,
                          bool *more) {
    const char c = text[*at];
    if (c == '\\' && s->quote) {
        *more = n - *at < 2;
        *at += !*more;
        return true;
    }
    if (s->quote ? c == (char)s->quote : c == '"' || c == '\'') {
        const bool one_only = s->quote && s->digits == 1;
        *more = !one_only && n - *at < 3;
        if (*more)
            return true;
        const bool three = !one_only && text[*at + 1] == c && text[*at + 2] == c;
        if (!s->quote) {
            s->quote = (uint8_t)c;
            s->digits = three ? 3 : 1;
        } else if (one_only || three) {
            s->quote = 0;
        }
        *at += three ? 2 : 0;
        return true;
    }
    if (s->quote)
        return true;
    return opens(c) ? push(s, c) : !closes(c) || pop(s, c);
}

static sm_reply_found between_byte(sm_reply_scan *s, char c, uint64_t at) {
    if (is_identifier(c, true)) {
        s->state = IDENTIFIER;
        s->name = at;
        return SM_REPLY_MORE;
    }
    if (sm_reply_is_space(c) || (c == ',' && s->called))
        return s->called || s->listed ? SM_REPLY_MORE : SM_REPLY_NONE;
    if (!s->called)
        return SM_REPLY_NONE;
    if (s->listed)
        return c == ']' ? SM_REPLY_WHOLE : SM_REPLY_NONE;
    return SM_REPLY_WHOLE;
}

sm_reply_found sm_reply_scan_python(sm_reply_scan *s, const char *text, uint64_t n, uint64_t *at) {
    for (; *at < n; ++*at) {
        const char c = text[*at];
        bool more = false;
        sm_reply_found found = SM_REPLY_MORE;
        if (s->state == START) {
            s->listed = c == '[';
            s->state = BETWEEN;
            if (s->listed)
                continue;
        }
        if (s->state == BETWEEN) {
            found = between_byte(s, c, *at);
        } else if (s->state == IDENTIFIER) {
            if (c == '(')
                s->state = ARGUMENTS;
            s->called |= c == '(';
            if (c == '(' ? !push(s, c) : !is_identifier(c, false))
                found = SM_REPLY_NONE;
        } else {
            if (!argument_byte(s, text, n, at, &more))
                found = SM_REPLY_NONE;
            if (!s->depth)
                s->state = BETWEEN;
        }
        if (more)
            return SM_REPLY_MORE;
        if (found == SM_REPLY_WHOLE)
            *at += s->listed;
        if (found != SM_REPLY_MORE)
            return found;
    }
    return SM_REPLY_MORE;
}

bool sm_reply_scan_python_may_end(const sm_reply_scan *s) {
    return s->state == BETWEEN && s->called && !s->listed;
}
