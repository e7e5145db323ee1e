/* case.c - upper, lower and title case, white space at ends, lines: what Python's str does to
 * characters. */

#include "value.h"

/* ---- case ------------------------------------------------------------------------------------ */

static bool is_cased(uint32_t code) {
    const sm_category c = sm_category_of(code);
    return c == SM_CATEGORY_LU || c == SM_CATEGORY_LL || c == SM_CATEGORY_LT;
}

/* Whether a sigma here ends a word. */
static bool is_final(const text *s, uint32_t at, bool after_cased) {
    uint32_t n;
    if (!after_cased || at + 2 > s->length)
        return false;
    return at + 2 == s->length || !is_cased(code_at(s, at + 2, &n));
}

static void add_code(run *r, uint32_t code, bool user) {
    uint8_t out[4];
    const uint32_t n = sm_utf8_encode(code, out);
    text_add(r, (const char *)out, n, user);
}

static void add_lower(run *r, const text *s, uint32_t at, uint32_t code, bool after_cased) {
    const bool user = text_user_at(s, at);
    if (code == 0x130)
        text_add(r, "i\xcc\x87", 3, user);
    else if (code == 0x3A3)
        add_code(r, is_final(s, at, after_cased) ? 0x3C2 : 0x3C3, user);
    else
        add_code(r, sm_lower_of(code), user);
}

/* The few whose upper case is several letters (Unicode's SpecialCasing, Latin). */
static void add_upper(run *r, const text *s, uint32_t at, uint32_t code, bool title) {
    static const struct {
        uint32_t code;
        const char *upper, *title;
    } special[] = {{0xDF, "SS", "Ss"},
                   {0x149, "\xca\xbcN", "\xca\xbcN"},
                   {0x1F0, "J\xcc\x8c", "J\xcc\x8c"},
                   {0xFB00, "FF", "Ff"},
                   {0xFB01, "FI", "Fi"},
                   {0xFB02, "FL", "Fl"},
                   {0xFB03, "FFI", "Ffi"},
                   {0xFB04, "FFL", "Ffl"},
                   {0xFB05, "ST", "St"},
                   {0xFB06, "ST", "St"}};
    const bool user = text_user_at(s, at);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (special[i].code == code) {
            const char *out = title ? special[i].title : special[i].upper;
            text_add(r, out, strlen(out), user);
            return;
        }
    add_code(r, title ? sm_title_of(code) : sm_upper_of(code), user);
}

value change_case(run *r, const text *s, letter_case how) {
    const mark from = text_begin(r);
    bool after_cased = false;
    uint32_t n;
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const uint32_t code = code_at(s, at, &n);
        const bool raise = how == CASE_UPPER || (how == CASE_TITLE && !after_cased) ||
                           (how == CASE_CAPITAL && at == 0);
        if (raise)
            add_upper(r, s, at, code, how != CASE_UPPER);
        else
            add_lower(r, s, at, code, after_cased);
        after_cased = is_cased(code) || (after_cased && how != CASE_TITLE && code == '\'');
    }
    return text_value(r, from);
}

/* ---- white space ----------------------------------------------------------------------------- */

static bool is_among(const text *chars, const char *data, uint32_t n) {
    uint32_t m;
    for (uint32_t at = 0; at < chars->length; at += m) {
        code_at(chars, at, &m);
        if (m == n && !memcmp(chars->data + at, data, n))
            return true;
    }
    return false;
}

/* chars NULL: white space */
static bool strips(const text *s, const text *chars, uint32_t at, uint32_t *n) {
    const uint32_t code = code_at(s, at, n);
    return chars ? is_among(chars, s->data + at, *n) : code_is_space(code);
}

value strip_text(run *r, const text *s, const text *chars, bool left, bool right) {
    const uint64_t cost = 1 + (chars ? chars->length : 0);
    uint32_t from = 0, to = s->length, n;
    while (left && from < to && run_step(r, cost) && strips(s, chars, from, &n))
        from += n;
    while (right && to > from && run_step(r, cost)) {
        uint32_t at = to - 1;
        while (at > from && ((uint8_t)s->data[at] & 0xC0) == 0x80)
            at--;
        if (!strips(s, chars, at, &n))
            break;
        to = at;
    }
    return text_slice(r, s, from, to);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool ends_line(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

value split_lines(run *r, const text *s, bool keep_ends) {
    const uint32_t base = r->n;
    uint32_t begin = 0, n;
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const uint32_t code = code_at(s, at, &n);
        if (!ends_line(code))
            continue;
        if (code == '\r' && at + 1 < s->length && s->data[at + 1] == '\n')
            n = 2;
        push(r, text_slice(r, s, begin, keep_ends ? at + n : at));
        begin = at + n;
    }
    if (begin < s->length)
        push(r, text_slice(r, s, begin, s->length));
    return list_from(r, V_LIST, base);
}

value replace_text(run *r, const text *s, const text *from, const text *to, int64_t count) {
    const mark start = text_begin(r);
    uint32_t at = 0, n;
    for (; count && run_step(r, 1); count--) {
        const uint32_t found = text_find(r, s, from, at);
        if (found == UINT32_MAX)
            break;
        text_range(r, s, at, found);
        text_append(r, to);
        at = found + from->length;
        if (!from->length) { /* between all characters */
            if (at == s->length)
                break;
            code_at(s, at, &n);
            text_range(r, s, at, at + n);
            at += n;
        }
    }
    text_range(r, s, at, s->length);
    return text_value(r, start);
}
