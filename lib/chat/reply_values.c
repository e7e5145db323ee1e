/* reply_values.c - values of other notations as JSON. */
#include "reply_scan.h"

/* A text that is read, and what it becomes. */
typedef struct reader {
    const char *text;
    uint64_t at, n;
    uint32_t depth;
    sm_builder *out;
    bool python; /* or pairs */
} reader;

static bool value(reader *r);

static void skip(reader *r) {
    while (r->at < r->n && sm_reply_is_space(r->text[r->at]))
        r->at++;
}

/* Past one byte, and white space in front of it. */
static bool take(reader *r, char c) {
    skip(r);
    if (r->at == r->n || r->text[r->at] != c)
        return false;
    r->at++;
    return true;
}

static bool take_text(reader *r, const char *text) {
    const uint64_t n = strlen(text);
    if (r->n - r->at < n || memcmp(r->text + r->at, text, (size_t)n) != 0)
        return false;
    r->at += n;
    return true;
}

static void put_string(sm_builder *out, const char *text, uint64_t n) {
    sm_builder_byte(out, '"');
    sm_builder_json_escaped(out, text, n);
    sm_builder_byte(out, '"');
}

/* ---- words and numbers ----------------------------------------------------------- */

static bool in_word(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.' ||
           c == '-' || c == '+';
}

static bool literal(reader *r, const char *text, uint64_t n) {
    static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                                           {"true", "true"}, {"false", "false"}, {"null", "null"},
                                           {"TRUE", "true"}, {"FALSE", "false"}};
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++)
        if (same_text(text, n, words[i][0])) {
            sm_builder_text(r->out, words[i][1]);
            return true;
        }
    return false;
}

static uint64_t put_digits(reader *r, const char *text, uint64_t n) {
    uint64_t i = 0;
    for (; i < n && ((text[i] >= '0' && text[i] <= '9') || (text[i] == '_' && i)); i++)
        if (text[i] != '_')
            sm_builder_byte(r->out, text[i]);
    return i;
}

/* Decimal numbers as JSON spells them: no + in front, no digit missing beside the point. */
static bool number(reader *r, const char *text, uint64_t n) {
    uint64_t i = 0;
    if (n && (*text == '-' || *text == '+'))
        i++;
    if (i && *text == '-')
        sm_builder_byte(r->out, '-');
    while (i + 1 < n && text[i] == '0' && text[i + 1] >= '0' && text[i + 1] <= '9')
        i++;
    const uint64_t whole = put_digits(r, text + i, n - i);
    i += whole;
    if (!whole)
        sm_builder_byte(r->out, '0');
    if (i < n && text[i] == '.') {
        sm_builder_byte(r->out, '.');
        const uint64_t part = put_digits(r, text + i + 1, n - i - 1);
        if (!part)
            sm_builder_byte(r->out, '0');
        if (!part && !whole)
            return false;
        i += 1 + part;
    } else if (!whole) {
        return false;
    }
    if (i < n && (text[i] | 32) == 'e') {
        sm_builder_byte(r->out, 'e');
        i++;
        if (i < n && (text[i] == '-' || text[i] == '+'))
            sm_builder_byte(r->out, text[i++]);
        const uint64_t power = put_digits(r, text + i, n - i);
        if (!power)
            return false;
        i += power;
    }
    return i == n;
}

static bool word(reader *r) {
    const char *text = r->text + r->at;
    uint64_t n = 0;
    while (r->at + n < r->n && in_word(text[n]))
        n++;
    r->at += n;
    return n && (literal(r, text, n) || number(r, text, n));
}

/* ---- strings --------------------------------------------------------------------- */

static bool hex(reader *r, uint32_t digits, uint32_t *code) {
    *code = 0;
    for (uint32_t i = 0; i < digits; i++, r->at++) {
        const char c = r->at < r->n ? r->text[r->at] : 'x';
        const uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0')
                               : (c | 32) >= 'a' && (c | 32) <= 'f'
                                   ? (uint32_t)((c | 32) - 'a' + 10)
                                   : 16;
        if (digit == 16)
            return false;
        *code = *code << 4 | digit;
    }
    return true;
}

static bool put_code(sm_builder *b, uint32_t code) {
    uint8_t bytes[4];
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return false;
    sm_builder_add(b, bytes, sm_utf8_encode(code, bytes));
    return true;
}

/* \uD83D\uDE00, which Python does not join but JSON does. */
static bool low_surrogate(reader *r, uint32_t *code) {
    uint32_t low;
    if (*code < 0xD800 || *code > 0xDBFF)
        return true;
    if (!take_text(r, "\\u") || !hex(r, 4, &low) || low < 0xDC00 || low > 0xDFFF)
        return false;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

/* What follows a backslash. One that means nothing stays. */
static bool escape(reader *r, sm_builder *b) {
    static const char from[] = "\\'\"abfnrtv/", to[] = "\\'\"\a\b\f\n\r\t\v/";
    const char c = r->text[r->at++];
    const char *simple = c ? strchr(from, c) : NULL;
    uint32_t code = 0;
    if (simple) {
        sm_builder_byte(b, to[simple - from]);
        return true;
    }
    if (c == '\n')
        return true;
    if (c >= '0' && c <= '7') {
        code = (uint32_t)(c - '0');
        for (uint32_t i = 0;
             i < 2 && r->at < r->n && r->text[r->at] >= '0' && r->text[r->at] <= '7'; i++)
            code = code * 8 + (uint32_t)(r->text[r->at++] - '0');
        return put_code(b, code);
    }
    if (c == 'x' || c == 'u' || c == 'U')
        return hex(r,
                   c == 'x'   ? 2
                   : c == 'u' ? 4
                              : 8,
                   &code) &&
               low_surrogate(r, &code) && put_code(b, code);
    sm_builder_byte(b, '\\');
    sm_builder_byte(b, c);
    return true;
}

/* The string whose first quote is here, added to b. */
static bool python_string(reader *r, sm_builder *b) {
    const char quote = r->text[r->at];
    const char three[] = {quote, quote, quote, 0}, one[] = {quote, 0};
    const char *end = take_text(r, three) ? three : (r->at++, one);
    while (r->at < r->n) {
        if (take_text(r, end))
            return true;
        if (r->text[r->at] == '\\' && r->at + 1 < r->n) {
            r->at++;
            if (!escape(r, b))
                return false;
        } else if (r->text[r->at] == '\n' && end == one) {
            return false;
        } else {
            sm_builder_byte(b, r->text[r->at++]);
        }
    }
    return false;
}

static bool is_quote(const reader *r) {
    return r->at < r->n && (r->text[r->at] == '"' || r->text[r->at] == '\'');
}

/* One string or several that stand together. */
static bool python_strings(reader *r) {
    sm_builder b = sm_builder_of(r->out->mem, 0);
    bool good = true;
    while (good && is_quote(r)) {
        good = python_string(r, &b);
        skip(r);
    }
    if (good && !b.failed)
        put_string(r->out, b.data, b.length);
    r->out->failed |= b.failed;
    sm_builder_free(&b);
    return good;
}

static bool pairs_string(reader *r) {
    const uint64_t begin = r->at;
    for (; r->at < r->n; r->at++)
        if (r->text[r->at] == '<' && take_text(r, "<|\"|>")) {
            put_string(r->out, r->text + begin, r->at - 5 - begin);
            return true;
        }
    return false;
}

/* ---- lists and objects ----------------------------------------------------------- */

/* Items up to `end`, a comma between them and maybe behind the last. */
static bool items(reader *r, char end, bool (*item)(reader *r)) {
    for (bool first = true;; first = false) {
        if (take(r, end))
            return true;
        if (!first && !take(r, ','))
            return false;
        if (!first && take(r, end))
            return true;
        if (!first)
            sm_builder_text(r->out, ", ");
        skip(r);
        if (!item(r))
            return false;
    }
}

static bool pairs_key(reader *r) {
    const uint64_t begin = r->at;
    if (take_text(r, "<|\"|>"))
        return pairs_string(r);
    while (r->at < r->n && r->text[r->at] != ':' && r->text[r->at] != ',' && r->text[r->at] != '}')
        r->at++;
    put_string(r->out, r->text + begin, r->at - begin);
    return r->at > begin;
}

static bool member(reader *r) {
    if (r->python ? !is_quote(r) || !python_strings(r) : !pairs_key(r))
        return false;
    if (!take(r, ':'))
        return false;
    sm_builder_text(r->out, ": ");
    skip(r);
    return value(r);
}

static bool container(reader *r, char begin) {
    if (r->depth == SM_JSON_MAX_DEPTH)
        return false;
    r->depth++;
    r->at++;
    sm_builder_byte(r->out, begin == '{' ? '{' : '[');
    const bool good =
        begin == '{' ? items(r, '}', member) : items(r, begin == '[' ? ']' : ')', value);
    sm_builder_byte(r->out, begin == '{' ? '}' : ']');
    r->depth--;
    return good;
}

static bool value(reader *r) {
    const char c = r->at < r->n ? r->text[r->at] : 0;
    if (c == '{' || c == '[' || (c == '(' && r->python))
        return container(r, c);
    if (r->python && is_quote(r))
        return python_strings(r);
    if (!r->python && take_text(r, "<|\"|>"))
        return pairs_string(r);
    return word(r);
}

static bool whole(reader *r) {
    skip(r);
    if (!value(r))
        return false;
    skip(r);
    return r->at == r->n && !r->out->failed;
}

bool sm_reply_pairs_to_json(sm_builder *out, const char *text, uint64_t n) {
    reader r = {.text = text, .n = n, .out = out};
    return n && *text == '{' && whole(&r);
}

bool sm_reply_python_to_json(sm_builder *out, const char *text, uint64_t n) {
    reader r = {.text = text, .n = n, .out = out, .python = true};
    return whole(&r);
}

/* ---- calls ----------------------------------------------------------------------- */

/* The bytes of NAME in NAME=value at r->at; 0: there is none. */
static uint64_t argument_name(const reader *r) {
    uint64_t n = 0, behind;
    while (r->at + n < r->n && in_word(r->text[r->at + n]))
        n++;
    for (behind = r->at + n; behind < r->n && sm_reply_is_space(r->text[behind]);)
        behind++;
    return behind + 1 < r->n && r->text[behind] == '=' && r->text[behind + 1] != '=' ? n : 0;
}

static bool argument(reader *r) {
    char place[12];
    const uint64_t n = argument_name(r);
    if (n) {
        put_string(r->out, r->text + r->at, n);
        r->at += n;
        take(r, '=');
    } else {
        put_string(r->out, place, sm_format(place, sizeof place, "%u", r->depth++));
    }
    sm_builder_text(r->out, ": ");
    skip(r);
    const uint32_t depth = r->depth;
    r->depth = 0;
    const bool good = value(r);
    r->depth = depth;
    return good;
}

sm_reply_found sm_reply_python_call(sm_builder *out, const char *text, uint64_t n, uint64_t *at,
                                    const char **name, uint64_t *length) {
    reader r = {.text = text, .at = *at, .n = n, .out = out, .python = true};
    while (r.at < n && (sm_reply_is_space(text[r.at]) || text[r.at] == ',' || text[r.at] == '[' ||
                        text[r.at] == ']'))
        r.at++;
    if (r.at == n)
        return SM_REPLY_MORE;
    const char *bracket = memchr(text + r.at, '(', (size_t)(n - r.at));
    if (!bracket)
        return SM_REPLY_NONE;
    *name = text + r.at;
    *length = (uint64_t)(bracket - *name);
    r.at = (uint64_t)(bracket - text) + 1;
    sm_builder_byte(out, '{');
    if (!items(&r, ')', argument))
        return SM_REPLY_NONE;
    sm_builder_byte(out, '}');
    *at = r.at;
    return SM_REPLY_WHOLE;
}
