/* format.c - texts made by patterns: % and str.format as Python's; numbers and JSON read from
 * texts. */
#include <math.h>
#include <string.h>

#include "format/json_write.h"
#include "value.h"

/* ---- numbers in decimal ---------------------------------------------------------- */

#define LIMBS 128 /* of 9 digits: any double, exactly */
#define DIGITS (9 * LIMBS)

/* All digits of a finite double >= 0: 0.d1d2… * 10^*point; exact. Returns their number. */
static uint32_t exact_digits(double f, char *out, int32_t *point) {
    uint32_t limbs[LIMBS] = {0}, n = 2;
    int exponent;
    uint64_t m = (uint64_t)ldexp(frexp(f, &exponent), 53);
    exponent -= 53;
    for (; exponent < 0 && m && !(m & 1); exponent++)
        m >>= 1;
    limbs[0] = (uint32_t)(m % 1000000000);
    limbs[1] = (uint32_t)(m / 1000000000);
    /* m * 2^e, or m * 5^-e / 10^-e */
    const uint32_t factor = exponent < 0 ? 5 : 2;
    for (int i = exponent < 0 ? -exponent : exponent; i > 0; i--) {
        uint64_t carry = 0;
        for (uint32_t k = 0; k < n; k++) {
            carry += (uint64_t)limbs[k] * factor;
            limbs[k] = (uint32_t)(carry % 1000000000);
            carry /= 1000000000;
        }
        if (carry && n < LIMBS)
            limbs[n++] = (uint32_t)carry;
    }
    char digits[DIGITS];
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0, v = limbs[n - 1 - k]; i < 9; i++, v /= 10)
            digits[9 * k + 8 - i] = (char)('0' + v % 10);
    uint32_t first = 0;
    while (first < 9 * n && digits[first] == '0')
        first++;
    *point = (int32_t)(9 * n - first) + (exponent < 0 ? exponent : 0);
    memcpy(out, digits + first, 9 * n - first);
    return 9 * n - first;
}

/* Rounds to n digits, ties to even; a carry may add one in front. */
static uint32_t round_digits(char *digits, uint32_t have, int64_t n, int32_t *point) {
    if (n < 0 || n >= have)
        return n < 0 ? 0 : have;
    uint32_t keep = (uint32_t)n;
    bool up = digits[keep] > '5', tie = digits[keep] == '5';
    for (uint32_t i = keep + 1; tie && i < have; i++)
        if (digits[i] != '0')
            up = true;
    if (tie && !up)
        up = keep && (digits[keep - 1] - '0') % 2;
    for (uint32_t i = keep; up && i-- > 0;) {
        up = digits[i] == '9';
        digits[i] = up ? '0' : (char)(digits[i] + 1);
    }
    if (up) {
        memmove(digits + 1, digits, keep);
        digits[0] = '1';
        ++*point;
        return keep + 1;
    }
    return keep;
}

static void put_fixed(sm_builder *b, double f, uint32_t precision) {
    char digits[DIGITS + 1];
    int32_t point;
    uint32_t n = exact_digits(f, digits, &point);
    n = round_digits(digits, n, (int64_t)point + precision, &point);
    for (int64_t i = 0; i < (point > 0 ? point : 1); i++)
        sm_builder_byte(b, point > 0 && i < n ? digits[i] : '0');
    if (precision)
        sm_builder_byte(b, '.');
    for (int64_t i = point, k = 0; k < precision; k++, i++)
        sm_builder_byte(b, i >= 0 && i < n ? digits[i] : '0');
}

static void put_exponent(sm_builder *b, double f, uint32_t precision, char letter) {
    char digits[DIGITS + 1], exponent[16];
    int32_t point;
    uint32_t n = exact_digits(f, digits, &point);
    n = round_digits(digits, n, (int64_t)precision + 1, &point);
    sm_builder_byte(b, n ? digits[0] : '0');
    if (precision)
        sm_builder_byte(b, '.');
    for (uint32_t i = 1; i <= precision; i++)
        sm_builder_byte(b, i < n ? digits[i] : '0');
    const int32_t e = n ? point - 1 : 0;
    sm_format(exponent, sizeof exponent, "%c%c%s%d", letter, e < 0 ? '-' : '+',
              e < 10 && e > -10 ? "0" : "", e < 0 ? -e : e);
    sm_builder_text(b, exponent);
}

/* %g */
static void put_general(sm_builder *b, double f, uint32_t precision) {
    char digits[DIGITS + 1];
    int32_t point;
    precision += !precision;
    const uint64_t from = b->length;
    uint32_t n = exact_digits(f, digits, &point);
    n = round_digits(digits, n, precision, &point);
    const int32_t e = n ? point - 1 : 0;
    if (e < -4 || e >= (int32_t)precision)
        put_exponent(b, f, precision - 1, 'e');
    else
        put_fixed(b, f, precision - 1 - (uint32_t)e);
    /* zeros at the end of the fraction go */
    if (b->failed || !memchr(b->data + from, '.', b->length - from))
        return;
    uint64_t end = from;
    while (end < b->length && b->data[end] != 'e')
        end++;
    uint64_t keep = end;
    while (b->data[keep - 1] == '0')
        keep--;
    keep -= b->data[keep - 1] == '.';
    memmove(b->data + keep, b->data + end, b->length - end);
    b->length -= end - keep;
}

static void put_whole(sm_builder *b, uint64_t v, uint32_t base, bool upper) {
    char digits[64];
    uint32_t n = 0;
    do
        digits[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
    while (v /= base);
    while (n)
        sm_builder_byte(b, digits[--n]);
}

/* ---- one value by a pattern ------------------------------------------------------ */

typedef struct spec {
    char fill, align, sign, kind; /* 0: none */
    bool zero, alternate, comma;
    int64_t width, precision; /* -1: none */
} spec;

/* Digits of a number, without its sign. */
static bool put_number(run *r, sm_builder *b, const spec *s, value v) {
    const double f = fabs(double_of(v));
    const uint32_t precision = s->precision < 0 ? 6 : (uint32_t)s->precision;
    const int64_t i = is_whole(v) ? whole_of(v) : 0;
    const uint64_t magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    const bool exact = s->kind && strchr("dixXob", s->kind);
    if (s->precision > 500) {
        FAIL(r, SM_ERR_UNSUPPORTED, "%s", "a precision of more than 500 digits");
        return false;
    }
    if (exact || (is_whole(v) && !s->kind)) {
        if (s->alternate && s->kind && strchr("xXob", s->kind)) {
            sm_builder_byte(b, '0');
            sm_builder_byte(b, s->kind);
        }
        put_whole(b, magnitude,
                  s->kind == 'o'          ? 8
                  : s->kind == 'b'        ? 2
                  : (s->kind | 32) == 'x' ? 16
                                          : 10,
                  s->kind == 'X');
    } else if (f != f || f - f != 0) {
        sm_builder_text(b, f != f ? "nan" : "inf");
    } else if (s->kind == 'f' || s->kind == 'F') {
        put_fixed(b, f, precision);
    } else if (s->kind == '%') {
        put_fixed(b, f * 100, precision);
        sm_builder_byte(b, '%');
    } else if (s->kind == 'e' || s->kind == 'E') {
        put_exponent(b, f, precision, s->kind);
    } else if (s->kind == 'g' || s->kind == 'G' || s->precision >= 0) {
        put_general(b, f, precision);
    } else {
        sm_builder_double(b, f);
    }
    return true;
}

static void add_commas(sm_builder *b, uint64_t from) {
    uint64_t end = from;
    while (end < b->length && b->data[end] >= '0' && b->data[end] <= '9')
        end++;
    for (uint64_t at = end; at > from + 3;) {
        at -= 3;
        sm_builder_byte(b, ',');
        if (b->failed)
            return;
        memmove(b->data + at + 1, b->data + at, b->length - at - 1);
        b->data[at] = ',';
    }
}

static void pad(run *r, char fill, int64_t n) {
    const char c = fill ? fill : ' ';
    for (int64_t i = 0; i < n && run_step(r, 1); i++)
        text_add(r, &c, 1, false);
}

static void show_spec_number(run *r, const spec *s, value v) {
    sm_builder b = sm_builder_of(r->mem, 0);
    const bool negative = v.type == V_FLOAT ? signbit(v.f) && v.f == v.f : whole_of(v) < 0;
    const char sign = negative ? '-' : s->sign == '+' || s->sign == ' ' ? s->sign : 0;
    if (put_number(r, &b, s, v) && s->comma)
        add_commas(&b, 0);
    const int64_t room = s->width - (int64_t)b.length - (sign != 0);
    const char align = s->align ? s->align : s->zero ? '=' : '>';
    const char fill = s->zero && !s->fill ? '0' : s->fill;
    if (align == '>' || align == '^')
        pad(r, fill, align == '^' ? room / 2 : room);
    if (sign)
        text_add(r, &sign, 1, v.user);
    if (align == '=')
        pad(r, fill, room);
    text_add(r, b.data, b.length, v.user);
    if (align == '<' || align == '^')
        pad(r, fill, align == '^' ? room - room / 2 : room);
    if (b.failed)
        FAIL(r, SM_ERR_NOMEM, "%s", "out of memory");
    sm_builder_free(&b);
}

static void show_spec_text(run *r, const spec *s, const text *shown) {
    const uint32_t chars =
        s->precision >= 0 ? (uint32_t)min_u64((uint64_t)s->precision, shown->chars) : shown->chars;
    const int64_t room = s->width - chars;
    const char align = s->align ? s->align : '<';
    if (align == '>' || align == '^')
        pad(r, s->fill, align == '^' ? room / 2 : room);
    text_range(r, shown, 0, text_offset(shown, chars));
    if (align == '<' || align == '^')
        pad(r, s->fill, align == '^' ? room - room / 2 : room);
}

/* ---- % --------------------------------------------------------------------------- */

typedef struct printf_state {
    const text *format;
    uint32_t at;
    value given;
    uint32_t used;
    bool by_name;
} printf_state;

static value next_given(run *r, printf_state *p) {
    const bool many = p->given.type == V_TUPLE;
    if (many ? p->used >= p->given.l->n : p->used > 0)
        return FAIL(r, SM_ERR_FORMAT, "%s", "not enough arguments for format string");
    return many ? p->given.l->items[p->used++] : (p->used++, p->given);
}

/* A number of the pattern, or * : the next argument. */
static int64_t printf_count(run *r, printf_state *p, int64_t otherwise) {
    int64_t n = 0;
    if (byte_at(p->format, p->at) == '*') {
        p->at++;
        const value v = next_given(r, p);
        if (!r->status && !is_whole(v))
            FAIL(r, SM_ERR_FORMAT, "%s", "* wants int");
        return r->status ? 0 : whole_of(v);
    }
    if (byte_at(p->format, p->at) < '0' || byte_at(p->format, p->at) > '9')
        return otherwise;
    for (char c; (c = byte_at(p->format, p->at)) >= '0' && c <= '9'; p->at++)
        n = n < 100000000 ? 10 * n + c - '0' : n;
    return n;
}

static spec printf_spec(run *r, printf_state *p) {
    spec s = {.precision = -1};
    for (char c; (c = byte_at(p->format, p->at)) && strchr("#0- +", c); p->at++) {
        s.alternate |= c == '#';
        s.zero |= c == '0';
        s.align = c == '-' ? '<' : s.align;
        s.sign = c == '+' || (c == ' ' && !s.sign) ? c : s.sign;
    }
    s.width = printf_count(r, p, 0);
    if (s.width < 0) {
        s.align = '<';
        s.width = -s.width;
    }
    if (byte_at(p->format, p->at) == '.') {
        p->at++;
        s.precision = printf_count(r, p, 0);
    }
    while (byte_at(p->format, p->at) && strchr("hlL", byte_at(p->format, p->at)))
        p->at++;
    s.kind = byte_at(p->format, p->at++);
    return s;
}

static void printf_number(run *r, spec *s, value v) {
    const bool whole = strchr("diuxXo", s->kind) != NULL;
    if (!is_number(v) ||
        (whole && s->kind != 'd' && s->kind != 'i' && s->kind != 'u' && !is_whole(v))) {
        FAIL(r, SM_ERR_FORMAT, "%%%c format: a number is required, not %s", s->kind, type_name(v));
        return;
    }
    if (whole && !is_whole(v)) {
        if (!(v.f > -0x1p63 && v.f < 0x1p63)) {
            FAIL(r, SM_ERR_UNSUPPORTED, "%s", "an integer of more than 64 bits");
            return;
        }
        v = (value){.type = V_INT, .user = v.user, .i = (int64_t)v.f};
    }
    if (whole && s->precision >= 0) { /* so many digits */
        spec digits = *s;
        digits.zero = true;
        digits.width = s->precision + (whole_of(v) < 0 || s->sign);
        digits.precision = -1;
        digits.align = 0;
        const mark from = text_begin(r);
        show_spec_number(r, &digits, v);
        show_spec_text(
            r, &(spec){.align = s->align ? s->align : '>', .width = s->width, .precision = -1},
            text_end(r, from));
        return;
    }
    s->kind = s->kind == 'i' || s->kind == 'u' ? 'd' : s->kind;
    s->zero = s->zero && !s->align;
    show_spec_number(r, s, v);
}

static void printf_value(run *r, spec *s, value v) {
    const mark from = text_begin(r);
    const char align = s->align ? s->align : '>';
    if (s->kind == 's' || s->kind == 'r' || s->kind == 'a') {
        if (s->kind == 's')
            show(r, v);
        else
            show_repr(r, v);
        const text *shown = text_end(r, from);
        s->align = align;
        show_spec_text(r, s, shown);
    } else if (s->kind && strchr("diuxXofFeEgG", s->kind)) {
        printf_number(r, s, v);
    } else if (s->kind == 'c' && v.type == V_STR && v.s->chars == 1) {
        s->align = align;
        show_spec_text(r, s, v.s);
    } else if (s->kind == 'c' && is_whole(v) && whole_of(v) >= 0 && whole_of(v) <= 0x10FFFF) {
        uint8_t out[4];
        text_add(r, (const char *)out, sm_utf8_encode((uint32_t)whole_of(v), out), v.user);
    } else {
        FAIL(r, SM_ERR_FORMAT, "unsupported format character '%c'", s->kind);
    }
}

static value named_given(run *r, printf_state *p) {
    const text *f = p->format;
    uint32_t end = p->at + 1, depth = 1;
    for (; end < f->length; end++) {
        depth += f->data[end] == '(';
        depth -= f->data[end] == ')';
        if (!depth)
            break;
    }
    if (depth)
        return FAIL(r, SM_ERR_FORMAT, "%s", "incomplete format key");
    if (p->given.type != V_DICT)
        return FAIL(r, SM_ERR_FORMAT, "%s", "format requires a mapping");
    const value key = text_slice(r, f, p->at + 1, end);
    value found;
    p->at = end + 1;
    p->by_name = true;
    if (!r->status && !dict_find(r, p->given.d, key, &found))
        return FAIL(r, SM_ERR_FORMAT, "no '%.*s' to format", (int)key.s->length, key.s->data);
    return r->status ? undefined_value() : found;
}

value printf_text(run *r, const text *format, value given) {
    printf_state p = {.format = format, .given = given};
    const mark from = text_begin(r);
    while (p.at < format->length && run_step(r, 1)) {
        const char *percent = memchr(format->data + p.at, '%', format->length - p.at);
        const uint32_t end = percent ? (uint32_t)(percent - format->data) : format->length;
        text_range(r, format, p.at, end);
        p.at = end + 1;
        if (!percent)
            break;
        value named = undefined_value();
        const bool has_name = byte_at(format, p.at) == '(';
        if (has_name)
            named = named_given(r, &p);
        spec s = printf_spec(r, &p);
        if (r->status)
            break;
        if (s.kind == '%')
            text_literal(r, "%");
        else if (!s.kind)
            FAIL(r, SM_ERR_FORMAT, "%s", "incomplete format");
        else
            printf_value(r, &s, has_name ? named : next_given(r, &p));
    }
    if (!r->status && given.type == V_TUPLE && p.used < given.l->n)
        FAIL(r, SM_ERR_FORMAT, "%s", "not all arguments converted during string formatting");
    if (!r->status && !p.by_name && !p.used && given.type != V_TUPLE && given.type != V_DICT &&
        given.type != V_LIST)
        FAIL(r, SM_ERR_FORMAT, "%s", "not all arguments converted during string formatting");
    return text_value(r, from);
}

/* ---- str.format ------------------------------------------------------------------ */

static bool brace_spec(run *r, const text *f, uint32_t at, uint32_t end, spec *s) {
    *s = (spec){.precision = -1};
    const char *aligns = "<>=^";
    if (at + 1 < end && strchr(aligns, f->data[at + 1])) {
        s->fill = f->data[at];
        s->align = f->data[at + 1];
        at += 2;
    } else if (at < end && strchr(aligns, f->data[at])) {
        s->align = f->data[at++];
    }
    if (at < end && strchr("+- ", f->data[at]))
        s->sign = f->data[at++];
    if (at < end && f->data[at] == '#')
        s->alternate = f->data[at++] == '#';
    if (at < end && f->data[at] == '0')
        s->zero = f->data[at++] == '0';
    for (; at < end && f->data[at] >= '0' && f->data[at] <= '9' && s->width < 1000000; at++)
        s->width = 10 * s->width + f->data[at] - '0';
    if (at < end && f->data[at] == ',')
        s->comma = f->data[at++] == ',';
    if (at < end && f->data[at] == '.')
        for (s->precision = 0, at++;
             at < end && f->data[at] >= '0' && f->data[at] <= '9' && s->precision < 1000000; at++)
            s->precision = 10 * s->precision + f->data[at] - '0';
    if (at < end)
        s->kind = f->data[at++];
    if (at == end && (!s->kind || strchr("sdfFeEgGxXob%", s->kind)))
        return true;
    FAIL(r, SM_ERR_UNSUPPORTED, "%s", "a format that is not supported");
    return false;
}

/* "name.attribute[key]", "0", "" */
static value brace_field(run *r, const text *f, uint32_t at, uint32_t end, const arguments *a,
                         uint32_t *automatic) {
    uint32_t stop = at;
    value v = undefined_value(), number;
    while (stop < end && f->data[stop] != '.' && f->data[stop] != '[')
        stop++;
    const value name = text_slice(r, f, at, stop);
    if (r->status)
        return v;
    bool found = false;
    if (!name.s->length || text_to_number(name.s, true, 10, &number)) {
        const uint32_t i = name.s->length ? (uint32_t)number.i : (*automatic)++;
        found = i < a->n;
        v = found ? a->v[i] : v;
    }
    for (uint32_t k = 0; !found && k < a->n_named; k++)
        if (text_same(a->named[2 * k].s, name.s)) {
            v = a->named[2 * k + 1];
            found = true;
        }
    if (!found)
        return FAIL(r, SM_ERR_FORMAT, "nothing given for {%.*s}", (int)name.s->length,
                    name.s->data);
    while (stop < end && !r->status) {
        const bool item = f->data[stop++] == '[';
        const uint32_t from = stop;
        while (stop < end &&
               (item ? f->data[stop] != ']' : f->data[stop] != '.' && f->data[stop] != '['))
            stop++;
        value key = text_slice(r, f, from, stop);
        if (!r->status && item && text_to_number(key.s, true, 10, &number))
            key = number;
        v = r->status ? v : item ? item_of(r, v, key) : attribute_of(r, v, key.s);
        stop += item;
    }
    return v;
}

static void show_brace(run *r, const text *f, uint32_t at, uint32_t end, const arguments *a,
                       uint32_t *automatic) {
    uint32_t name = at;
    spec s;
    while (name < end && f->data[name] != '!' && f->data[name] != ':')
        name++;
    value v = brace_field(r, f, at, name, a, automatic);
    const bool converts = name < end && f->data[name] == '!';
    const char conversion = converts ? byte_at(f, name + 1) : 0;
    const uint32_t from = name + (converts ? 2 : 0);
    if (r->status || !brace_spec(r, f, from + (from < end), end, &s))
        return;
    const mark start = text_begin(r);
    if (is_number(v) && !conversion && v.type != V_BOOL && s.kind != 's') {
        show_spec_number(r, &s, v);
        return;
    }
    if (conversion == 'r' || conversion == 'a')
        show_repr(r, v);
    else
        show(r, v);
    show_spec_text(r, &s, text_end(r, start));
}

value brace_format(run *r, const text *f, const arguments *a) {
    const mark from = text_begin(r);
    uint32_t automatic = 0;
    for (uint32_t at = 0; at < f->length && run_step(r, 1);) {
        const char c = f->data[at];
        if ((c == '{' || c == '}') && byte_at(f, at + 1) == c) {
            text_range(r, f, at, at + 1);
            at += 2;
        } else if (c == '{') {
            uint32_t end = at + 1;
            while (end < f->length && f->data[end] != '}' && f->data[end] != '{')
                end++;
            if (byte_at(f, end) != '}')
                return FAIL(r, SM_ERR_UNSUPPORTED, "%s",
                            "a field that does not end, or has others inside");
            show_brace(r, f, at + 1, end, a, &automatic);
            at = end + 1;
        } else if (c == '}') {
            return FAIL(r, SM_ERR_FORMAT, "%s", "single '}' encountered in format string");
        } else {
            uint32_t end = at;
            while (end < f->length && f->data[end] != '{' && f->data[end] != '}')
                end++;
            text_range(r, f, at, end);
            at = end;
        }
    }
    return text_value(r, from);
}

/* ---- reading --------------------------------------------------------------------- */

/* White space around, a sign, digits with single underscores between: int(), float() of Python. */
/* Digits, a point among or beside them, an exponent. */
static bool is_decimal(const char *s, uint32_t n) {
    uint32_t i = 0, found = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        found++;
    if (i < n && s[i] == '.')
        for (i++; i < n && s[i] >= '0' && s[i] <= '9'; i++)
            found++;
    if (i == n || !found)
        return i == n && found;
    if ((s[i] | 32) != 'e' || !memchr("0123456789", s[n - 1], 10) || memchr(s, '.', i) == s + i - 1)
        return false;
    for (i += 1u + (s[i + 1] == '-' || s[i + 1] == '+'); i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

bool text_to_number(const text *s, bool whole, int64_t base, value *out) {
    char digits[400] = {0};
    uint32_t n = 0, from = 0, to = s->length;
    bool negative = false;
    while (from < to && (uint8_t)s->data[from] <= ' ')
        from++;
    while (to > from && (uint8_t)s->data[to - 1] <= ' ')
        to--;
    if (from < to && (s->data[from] == '-' || s->data[from] == '+'))
        negative = s->data[from++] == '-';
    if (from == to || base < 2 || base > 36)
        return false;
    for (uint32_t i = from; i < to; i++) {
        if (s->data[i] == '_' && i > from && i + 1 < to && s->data[i - 1] != '_')
            continue;
        if (n == sizeof digits - 2)
            return false;
        digits[n++] = s->data[i];
    }
    if (!whole) {
        double f;
        if (!is_decimal(digits, n))
            return false;
        if (digits[0] == '.' || (n && digits[n - 1] == '.')) { /* JSON wants digits on both sides */
            if (n + 1 >= sizeof digits)
                return false;
            if (digits[0] == '.') {
                memmove(digits + 1, digits, n);
                digits[0] = '0';
            } else {
                digits[n] = '0';
            }
            n++;
        }
        uint32_t zeros = 0; /* nor zeros in front */
        while (zeros + 1 < n && digits[zeros] == '0' && digits[zeros + 1] >= '0' &&
               digits[zeros + 1] <= '9')
            zeros++;
        if (!sm_json_parse_double(digits + zeros, n - zeros, &f))
            return false;
        *out = float_value(negative ? -f : f);
        return true;
    }
    int64_t v = 0;
    for (uint32_t i = 0; i < n; i++) {
        const char c = digits[i];
        const int digit = c >= '0' && c <= '9'                 ? c - '0'
                          : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
                                                               : 99;
        if (digit >= base || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = int_value(negative ? -v : v);
    return true;
}

value json_text_value(run *r, const text *s) {
    const sm_json_source source = {.name = "text", .line = 1};
    sm_json *json;
    sm_error error = {0};
    if (!run_step(r, s->length / 8) ||
        sm_json_read(&json, r->mem, s->data, s->length, &source, NULL, &error))
        return r->status ? undefined_value() : FAIL(r, error.code, "from_json: %s", error.message);
    const value v = json_value(r, json, SM_JSON_ROOT);
    sm_json_free(json);
    return v;
}
