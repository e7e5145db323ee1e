/* lex.c - the tokens of a template. Text between tags loses what trim_blocks, lstrip_blocks and the
 * signs in tags say, as Jinja's lexer does it. */
#include "lex.h"

#include <string.h>

#include "value.h"

static token lex_fail(lexer *l, sm_status status, const char *what) {
    if (!l->status)
        l->status = sm_fail(l->error, status, "%s, line %u: %s", l->name, l->line, what);
    return (token){.type = T_END, .data = "", .line = l->line};
}

bool token_is(const token *t, token_type type, const char *what) {
    return t->type == type && same_text(t->data, t->length, what);
}

/* ---- characters ------------------------------------------------------------------ */

static uint32_t code_of(const lexer *l, uint64_t at, uint32_t *n) {
    uint32_t code;
    *n = sm_utf8_decode((const uint8_t *)l->source + at, l->length - at, &code);
    return code;
}

static uint64_t skip_space(const lexer *l, uint64_t at) {
    uint32_t n;
    while (at < l->length && code_is_space(code_of(l, at, &n)))
        at += n;
    return at;
}

/* Where white space at the end of source[from, to) begins. */
static uint64_t strip_end(const lexer *l, uint64_t from, uint64_t to) {
    uint32_t n;
    while (to > from) {
        uint64_t at = to - 1;
        while (at > from && ((uint8_t)l->source[at] & 0xC0) == 0x80)
            at--;
        if (!code_is_space(code_of(l, at, &n)))
            break;
        to = at;
    }
    return to;
}

static bool has(const lexer *l, uint64_t at, const char *what) {
    const uint64_t n = strlen(what);
    return at <= l->length && n <= l->length - at && !memcmp(l->source + at, what, (size_t)n);
}

static void advance(lexer *l, uint64_t to) {
    for (; l->at < to; l->at++)
        l->line += l->source[l->at] == '\n';
}

static bool is_name_code(uint32_t code) {
    return code == '_' || (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') ||
           (code >= 'A' && code <= 'Z') || (code >= 0xAA && !code_is_space(code));
}

/* ---- between tags ---------------------------------------------------------------- */

/* What is left of the text from..to before a tag with this sign. */
static uint64_t data_end(const lexer *l, uint64_t from, uint64_t to, char sign, bool of_value) {
    if (sign == '-')
        return strip_end(l, from, to);
    if (sign == '+' || of_value)
        return to;
    uint64_t line = to;
    while (line > from && l->source[line - 1] != '\n')
        line--;
    const bool begins = line > from || l->line_starts;
    return begins && skip_space(l, line) >= to ? line : to;
}

/* Behind a tag that ends at `at`; sign is what stands before its end. */
static uint64_t after_tag(const lexer *l, uint64_t at, char sign, bool trims) {
    if (sign == '-')
        return skip_space(l, at);
    return trims && sign != '+' && has(l, at, "\n") ? at + 1 : at;
}

static void passed(lexer *l, uint64_t to) {
    l->line_starts = to > l->at ? l->source[to - 1] == '\n' : l->line_starts;
    advance(l, to);
}

static char sign_at(const lexer *l, uint64_t at) {
    const char c = at < l->length ? l->source[at] : 0;
    return c == '-' || c == '+' ? c : 0;
}

/* `{%- raw -%}` at the place: where it ends, 0 if it is another tag; endraw likewise. */
static uint64_t raw_tag(const lexer *l, uint64_t at, const char *word, char *end_sign) {
    uint64_t i = at + 2;
    i += sign_at(l, i) != 0;
    i = skip_space(l, i);
    if (!has(l, i, word))
        return 0;
    i = skip_space(l, i + strlen(word));
    *end_sign = sign_at(l, i);
    i += *end_sign != 0;
    return has(l, i, "%}") ? i + 2 : 0;
}

static token data_token(const lexer *l, uint64_t from, uint64_t to, uint32_t line) {
    return (token){T_DATA, l->source + from, to - from, line};
}

/* The text inside {% raw %}, whose tag ends at `at`. */
static token raw_text(lexer *l, uint64_t at, char sign) {
    const uint64_t from = sign == '-' ? skip_space(l, at) : at;
    passed(l, from);
    const uint32_t line = l->line;
    char end_sign;
    for (uint64_t i = from; i + 1 < l->length; i++) {
        const uint64_t end = has(l, i, "{%") ? raw_tag(l, i, "endraw", &end_sign) : 0;
        if (!end)
            continue;
        const token t = data_token(l, from, data_end(l, from, i, sign_at(l, i + 2), false), line);
        passed(l, after_tag(l, end, end_sign, true));
        return t;
    }
    return lex_fail(l, SM_ERR_FORMAT, "{% raw %} without {% endraw %}");
}

/* Behind the comment that begins at `at`; 0, failed, where it does not end. */
static uint64_t comment_end(lexer *l, uint64_t at) {
    for (uint64_t i = at + 2; i + 1 < l->length; i++)
        if (has(l, i, "#}"))
            return after_tag(l, i + 2, i > at + 2 ? sign_at(l, i - 1) : 0, true);
    lex_fail(l, SM_ERR_FORMAT, "a comment without its end");
    return 0;
}

static token outside(lexer *l) {
    const uint64_t from = l->at;
    const uint32_t line = l->line;
    uint64_t i = from;
    while (i + 1 < l->length && !(l->source[i] == '{' && memchr("{%#", l->source[i + 1], 3)))
        i++;
    if (i + 1 >= l->length) {
        const token t = from < l->length ? data_token(l, from, l->length, line)
                                         : (token){.type = T_END, .data = "", .line = line};
        passed(l, l->length);
        return t;
    }
    const char kind = l->source[i + 1], sign = sign_at(l, i + 2);
    const token before = data_token(l, from, data_end(l, from, i, sign, kind == '{'), line);
    char end_sign = 0;
    const uint64_t raw = kind == '%' ? raw_tag(l, i, "raw", &end_sign) : 0;
    if (kind == '#') {
        const uint64_t end = comment_end(l, i);
        passed(l, end ? end : l->length);
    } else if (raw) {
        passed(l, i);
        l->waiting[l->n_waiting++] = raw_text(l, raw, end_sign);
    } else {
        passed(l, i + 2 + (sign != 0));
        l->inside = kind == '{' ? T_OPEN_VAR : T_OPEN_TAG;
        l->waiting[l->n_waiting++] = (token){l->inside, l->source + i, 2, l->line};
    }
    return before;
}

/* ---- inside tags ----------------------------------------------------------------- */

static token take(lexer *l, token_type type, uint64_t n) {
    const token t = {type, l->source + l->at, n, l->line};
    passed(l, l->at + n);
    return t;
}

static uint64_t digits(const lexer *l, uint64_t at, const char *allowed) {
    uint64_t i = at;
    while (i < l->length && (strchr(allowed, l->source[i]) && l->source[i]))
        i++;
    /* an underscore only between two digits */
    for (; i < l->length && l->source[i] == '_' && i > at && i + 1 < l->length &&
           l->source[i + 1] && strchr(allowed, l->source[i + 1]);)
        for (i++; i < l->length && l->source[i] && strchr(allowed, l->source[i]);)
            i++;
    return i;
}

#define DECIMAL "0123456789"

static token number(lexer *l) {
    const char second = l->at + 1 < l->length ? (char)(l->source[l->at + 1] | 32) : 0;
    if (l->source[l->at] == '0' && second && strchr("xob", second)) {
        const char *allowed = second == 'x'   ? "0123456789abcdefABCDEF"
                              : second == 'o' ? "01234567"
                                              : "01";
        const uint64_t end = digits(l, l->at + 2, allowed);
        if (end > l->at + 2)
            return take(l, T_INTEGER, end - l->at);
    }
    uint64_t end = digits(l, l->at, DECIMAL);
    bool fraction = false;
    const bool after_dot = l->at && l->source[l->at - 1] == '.';
    if (!after_dot && has(l, end, ".")) {
        const uint64_t more = digits(l, end + 1, DECIMAL);
        fraction = more > end + 1;
        end = fraction ? more : end;
    }
    if (!after_dot && end < l->length && (l->source[end] | 32) == 'e') {
        const uint64_t first = end + 1 + (sign_at(l, end + 1) != 0);
        const uint64_t more = digits(l, first, DECIMAL);
        if (more > first) {
            fraction = true;
            end = more;
        }
    }
    return take(l, fraction ? T_FLOAT : T_INTEGER, end - l->at);
}

static token string(lexer *l) {
    const char quote = l->source[l->at];
    for (uint64_t i = l->at + 1; i < l->length; i++) {
        if (l->source[i] == quote)
            return take(l, T_STRING, i + 1 - l->at);
        i += l->source[i] == '\\';
    }
    return lex_fail(l, SM_ERR_FORMAT, "a string without its end");
}

/* The end of the tag, with what is stripped behind it. */
static bool closes(lexer *l, token *out) {
    const bool of_value = l->inside == T_OPEN_VAR;
    const char sign = sign_at(l, l->at);
    if (l->n_closers || (of_value && sign == '+') ||
        !has(l, l->at + (sign != 0), of_value ? "}}" : "%}"))
        return false;
    *out = (token){of_value ? T_CLOSE_VAR : T_CLOSE_TAG, l->source + l->at, 2, l->line};
    const uint64_t end = l->at + 2 + (sign != 0);
    passed(l, after_tag(l, end, sign, !of_value));
    l->inside = T_DATA;
    return true;
}

static token bracket(lexer *l, char c) {
    const char *open = "([{", *close = ")]}";
    const char *opens = strchr(open, c);
    if (opens) {
        if (l->n_closers == SM_TEMPLATE_MAX_DEPTH)
            return lex_fail(l, SM_ERR_UNSUPPORTED, "brackets more than 64 deep");
        l->closers[l->n_closers++] = close[opens - open];
    } else if (strchr(close, c)) {
        if (!l->n_closers || l->closers[l->n_closers - 1] != c)
            return lex_fail(l, SM_ERR_FORMAT, "a bracket that was not opened");
        l->n_closers--;
    }
    return take(l, T_SIGN, 1);
}

static token sign(lexer *l) {
    static const char *const two[] = {"**", "//", "==", "!=", "<=", ">="};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (has(l, l->at, two[i]))
            return take(l, T_SIGN, 2);
    const char c = l->source[l->at];
    if (!c || !strchr("+-*/%~[](){}<>=.:|,;", c)) {
        char message[40];
        sm_format(message, sizeof message, "unexpected character '%c'", c);
        return lex_fail(l, SM_ERR_FORMAT, message);
    }
    return bracket(l, c);
}

static token within(lexer *l) {
    token t;
    uint32_t n;
    passed(l, skip_space(l, l->at));
    if (l->at >= l->length)
        return lex_fail(l, SM_ERR_FORMAT, "a tag without its end");
    if (closes(l, &t))
        return t;
    const uint32_t code = code_of(l, l->at, &n);
    if (code >= '0' && code <= '9')
        return number(l);
    if (code == '"' || code == '\'')
        return string(l);
    if (!is_name_code(code))
        return sign(l);
    uint64_t end = l->at;
    while (end < l->length && is_name_code(code_of(l, end, &n)))
        end += n;
    return take(l, T_NAME, end - l->at);
}

token lex_next(lexer *l) {
    if (l->status)
        return (token){.type = T_END, .data = "", .line = l->line};
    if (l->n_waiting) {
        const token t = l->waiting[0];
        l->waiting[0] = l->waiting[1];
        l->n_waiting--;
        return t;
    }
    return l->inside == T_DATA ? outside(l) : within(l);
}
