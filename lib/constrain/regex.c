/* regex.c - regular expressions as people write them, as expressions. */
#include "expr.h"

#include <string.h>

#define MAX_NESTED 100   /* groups inside each other */
#define MAX_UNROLLED 64U /* repetitions of what looks around */

/* A node of what was read. What does not look around is an expression already. */
enum { PLAIN, CAT, ALT, REPEAT, BEGIN, END, WORD, NO_WORD, AHEAD, NOT_AHEAD };

typedef struct part {
    uint8_t kind;
    sm_expr e;            /* PLAIN */
    uint32_t first, next; /* children; 0: none */
    uint32_t min, max;    /* REPEAT */
} part;

typedef struct reader {
    sm_grammar *g;
    const uint8_t *text;
    uint64_t length, at;
    uint32_t flags, nested;
    const sm_char_map *map;
    part *parts; /* [0] is none */
    uint64_t n_parts, parts_room;
    sm_range *ranges; /* of the class in work */
    uint64_t n_ranges, ranges_room;
    sm_expr *items; /* of the sequences in work */
    uint64_t n_items, items_room;
    sm_expr all, word, other; /* any text, a character of words, another; 0: not made yet */
} reader;

/* ---- reading characters (regex.c) ------------------------------------------------------------ */

static bool more(const reader *r) {
    return r->at < r->length;
}

static bool looking_at(const reader *r, const char *text) {
    const size_t n = strlen(text);
    return r->length - r->at >= n && !memcmp(r->text + r->at, text, n);
}

static bool skip(reader *r, const char *text) {
    if (!looking_at(r, text))
        return false;
    r->at += strlen(text);
    return true;
}

/* False, with the place and what it is. */
static bool fail(reader *r, sm_status status, uint64_t at, const char *what) {
    sm_grammar_fail(r->g, status, "regular expression, byte %llu: %s", (unsigned long long)at,
                    what);
    return false;
}

static bool bad(reader *r, uint64_t at, const char *what) {
    return fail(r, SM_ERR_FORMAT, at, what);
}

static bool refuse(reader *r, uint64_t at, const char *what) {
    return fail(r, SM_ERR_UNSUPPORTED, at, what);
}

static bool take_code(reader *r, uint32_t *code) {
    const uint32_t n = sm_utf8_decode(r->text + r->at, r->length - r->at, code);
    if (*code == UINT32_MAX)
        return bad(r, r->at, "not UTF-8");
    r->at += n;
    return true;
}

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool take_hex(reader *r, uint32_t digits, uint32_t *code) {
    *code = 0;
    for (uint32_t i = 0; i < digits; i++) {
        const int d = more(r) ? hex_digit(r->text[r->at]) : -1;
        if (d < 0)
            return bad(r, r->at, "a hexadecimal digit is missing");
        *code = *code << 4 | (uint32_t)d;
        r->at++;
    }
    return *code <= 0x10FFFF || bad(r, r->at, "a character beyond U+10FFFF");
}

static bool take_braced_hex(reader *r, uint32_t *code) {
    const uint64_t from = ++r->at;
    *code = 0;
    for (; more(r) && hex_digit(r->text[r->at]) >= 0; r->at++)
        *code = *code > 0x10FFFF ? *code : *code << 4 | (uint32_t)hex_digit(r->text[r->at]);
    if (r->at == from || !skip(r, "}"))
        return bad(r, from, "\\u{…} without digits or end");
    return *code <= 0x10FFFF || bad(r, from, "a character beyond U+10FFFF");
}

/* \uHHHH, with a second one where the first is half of a pair. */
static bool take_u(reader *r, uint32_t *code) {
    const uint64_t from = r->at;
    uint32_t low;
    if (more(r) && r->text[r->at] == '{')
        return take_braced_hex(r, code);
    if (!take_hex(r, 4, code))
        return false;
    if (*code >= 0xD800 && *code < 0xDC00 && skip(r, "\\u")) {
        if (!take_hex(r, 4, &low))
            return false;
        if (low >= 0xDC00 && low < 0xE000) {
            *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
            return true;
        }
        return bad(r, from, "half of a surrogate pair");
    }
    return (*code < 0xD800 || *code > 0xDFFF) || bad(r, from, "half of a surrogate pair");
}

/* ---- classes (regex.c) ----------------------------------------------------------------------- */

static bool put(reader *r, uint32_t first, uint32_t last) {
    if (!sm_grammar_reserve(r->g, &r->ranges, &r->ranges_room, r->n_ranges + 1, sizeof *r->ranges))
        return false;
    r->ranges[r->n_ranges++] = (sm_range){first, last};
    return true;
}

/* The ranges from `from` on, sorted, become all others. */
static bool invert_from(reader *r, uint64_t from) {
    const uint64_t n = sm_ranges_sort(r->ranges + from, r->n_ranges - from);
    if (!sm_grammar_reserve(r->g, &r->ranges, &r->ranges_room, from + 2 * n + 2, sizeof *r->ranges))
        return false;
    sm_range *out = r->ranges + from + n;
    const uint64_t m = sm_ranges_invert(r->ranges + from, n, out);
    memmove(r->ranges + from, out, m * sizeof *out);
    r->n_ranges = from + m;
    return true;
}

static bool put_property(reader *r, const char *name, uint64_t length) {
    uint64_t at, n;
    if (!sm_property_find(r->g, name, length, &at, &n))
        return false;
    for (uint64_t i = 0; i < n; i++) {
        const sm_range range = r->g->property_ranges[at + i];
        if (!put(r, range.first, range.last))
            return false;
    }
    return true;
}

static bool put_digits(reader *r) {
    return r->flags & SM_REGEX_ASCII ? put(r, '0', '9') : put_property(r, "Nd", 2);
}

static bool put_word(reader *r) {
    if (r->flags & SM_REGEX_ASCII)
        return put(r, '0', '9') && put(r, 'A', 'Z') && put(r, '_', '_') && put(r, 'a', 'z');
    return put_property(r, "word", 4);
}

static bool put_space(reader *r) {
    return put_property(r, "space", 5) && (!(r->flags & SM_REGEX_ASCII) || put(r, 0xFEFF, 0xFEFF));
}

/* \p{…} or \pL, behind the p. */
static bool take_property(reader *r) {
    const uint64_t from = r->at;
    const char *name = (const char *)r->text + r->at;
    uint64_t length = 1;
    if (skip(r, "{")) {
        name++;
        const uint8_t *end = memchr(r->text + r->at, '}', r->length - r->at);
        if (!end)
            return bad(r, from, "\\p{ without end");
        length = (uint64_t)(end - (r->text + r->at));
        r->at += length + 1;
    } else if (more(r)) {
        r->at++;
    } else {
        return bad(r, from, "\\p without a name");
    }
    static const char *const keys[] = {"General_Category=", "gc="};
    for (size_t i = 0; i < 2; i++) {
        const size_t n = strlen(keys[i]);
        if (length > n && !memcmp(name, keys[i], n)) {
            name += n;
            length -= n;
        }
    }
    if (put_property(r, name, length))
        return true;
    if (!r->g->status)
        sm_grammar_fail(r->g, SM_ERR_UNSUPPORTED,
                        "regular expression, byte %llu: the character property '%.*s' is not known",
                        (unsigned long long)from, (int)min_u64(length, 60), name);
    return false;
}

/* A class behind a backslash; *is: whether it was one. The letter was not taken yet. */
static bool take_class_escape(reader *r, bool *is) {
    const uint8_t c = more(r) ? r->text[r->at] : 0;
    const uint64_t from = r->n_ranges;
    *is = c && strchr("dDwWsSpP", c);
    if (!*is)
        return true;
    r->at++;
    const uint8_t low = (uint8_t)lower_ascii((char)c);
    const bool sound = low == 'd'   ? put_digits(r)
                       : low == 'w' ? put_word(r)
                       : low == 's' ? put_space(r)
                                    : take_property(r);
    return sound && (low == c || invert_from(r, from));
}

/* A character behind a backslash. */
static bool take_char_escape(reader *r, bool in_class, uint32_t *code) {
    const uint64_t from = r->at - 1;
    uint32_t c;
    if (!more(r))
        return bad(r, from, "a backslash at the end");
    if (!take_code(r, &c))
        return false;
    *code = c;
    switch (c) {
    case 't':
        *code = '\t';
        return true;
    case 'n':
        *code = '\n';
        return true;
    case 'r':
        *code = '\r';
        return true;
    case 'f':
        *code = '\f';
        return true;
    case 'v':
        *code = '\v';
        return true;
    case 'a':
        *code = 7;
        return true;
    case 'e':
        *code = 27;
        return true;
    case '0':
        *code = 0;
        return !(more(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9') ||
               refuse(r, from, "octal escapes are not supported");
    case 'x':
        return more(r) && r->text[r->at] == '{' ? take_braced_hex(r, code) : take_hex(r, 2, code);
    case 'u':
        return take_u(r, code);
    case 'U':
        return take_hex(r, 8, code);
    case 'c':
        if (!more(r) || lower_ascii((char)r->text[r->at]) < 'a' ||
            lower_ascii((char)r->text[r->at]) > 'z')
            return bad(r, from, "\\c without a letter");
        *code = r->text[r->at++] & 31U;
        return true;
    case 'b':
        if (in_class) {
            *code = 8;
            return true;
        }
        break;
    default:
        break;
    }
    if (c >= '1' && c <= '9')
        return refuse(r, from, "back-references are not supported");
    if (c < 0x80 && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
        return refuse(r, from,
                      c == 'k' || c == 'g' ? "back-references are not supported"
                                           : "an escape that is not supported");
    return true;
}

static bool has_code(const sm_range *ranges, uint64_t n, uint32_t code) {
    for (uint64_t i = 0; i < n; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

static uint32_t simple_fold(uint32_t code) {
    return sm_lower_of(sm_upper_of(code));
}

/* Where characters with two cases are; what lies between has none. */
static const sm_range cased[] = {
    {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0x587},      {0x10A0, 0x10FF},
    {0x13A0, 0x13FD},   {0x1C80, 0x1CBF},   {0x1D79, 0x1D8E},   {0x1E00, 0x1FFC},
    {0x2126, 0x2188},   {0x24B6, 0x24E9},   {0x2C00, 0x2D2D},   {0xA640, 0xA69B},
    {0xA722, 0xA7F6},   {0xAB53, 0xABBF},   {0xFF21, 0xFF5A},   {0x10400, 0x104FB},
    {0x10570, 0x105BC}, {0x10C80, 0x10CF2}, {0x118A0, 0x118DF}, {0x16E40, 0x16E7F},
    {0x1E900, 0x1E943},
};

/* Adds to the ranges what is the same but for case. */
static bool add_cases(reader *r) {
    const bool ascii = r->flags & SM_REGEX_ASCII;
    uint64_t n = r->n_ranges = sm_ranges_sort(r->ranges, r->n_ranges);
    for (size_t k = 0; k < (ascii ? 2 : sizeof cased / sizeof *cased); k++)
        for (uint64_t i = 0; i < n; i++) {
            const uint32_t last = min_u32(cased[k].last, r->ranges[i].last);
            uint32_t c = cased[k].first > r->ranges[i].first ? cased[k].first : r->ranges[i].first;
            for (; c <= last; c++) {
                const uint32_t low = ascii ? c | 32 : simple_fold(c),
                               up = ascii ? c & ~32U : sm_upper_of(low),
                               title = ascii ? up : sm_title_of(low);
                if (!put(r, low, low) || !put(r, up, up) || !put(r, title, title))
                    return false;
            }
        }
    if (ascii)
        return true;
    /* characters that others do not lead to: long s, kelvin, final sigma and their like */
    static const sm_range odd[] = {{0xB5, 0xB5},     {0x17F, 0x17F},   {0x345, 0x345},
                                   {0x3C2, 0x3F5},   {0x1C80, 0x1C88}, {0x1E9B, 0x1E9E},
                                   {0x1FBE, 0x1FBE}, {0x2126, 0x212B}, {0x1C5, 0x1F2}};
    n = r->n_ranges = sm_ranges_sort(r->ranges, r->n_ranges);
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
        for (uint32_t c = odd[k].first; c <= odd[k].last; c++)
            if (simple_fold(c) != c && has_code(r->ranges, n, simple_fold(c)) && !put(r, c, c))
                return false;
    return true;
}

/* The expression of the ranges in work, all others where `others`. */
static bool finish_class(reader *r, bool others, sm_expr *e) {
    if ((r->flags & SM_REGEX_NO_CASE) && !add_cases(r))
        return false;
    if (others && !invert_from(r, 0))
        return false;
    const uint64_t n = sm_ranges_sort(r->ranges, r->n_ranges);
    *e = r->map ? r->map->chars(r->map->user, r->g, r->ranges, n)
                : sm_expr_chars(r->g, r->ranges, n);
    r->n_ranges = 0;
    return *e != SM_EXPR_NONE;
}

/* One member of a class; *single: a character, which may begin a range. */
static bool take_member(reader *r, bool *single, uint32_t *code) {
    *single = true;
    if (!skip(r, "\\"))
        return take_code(r, code);
    bool is;
    if (!take_class_escape(r, &is))
        return false;
    *single = !is;
    return is || take_char_escape(r, true, code);
}

static bool take_range(reader *r, uint32_t first) {
    bool single;
    uint32_t last = first;
    const uint64_t from = r->at;
    if (looking_at(r, "-") && r->at + 1 < r->length && r->text[r->at + 1] != ']') {
        r->at++;
        const uint64_t before = r->n_ranges;
        if (!take_member(r, &single, &last))
            return false;
        if (!single) /* [a-\d]: the hyphen stands for itself */
            return before <= r->n_ranges && put(r, first, first) && put(r, '-', '-');
        if (last < first)
            return bad(r, from, "a range that ends before it begins");
    }
    return put(r, first, last);
}

/* Behind the '['. */
static bool take_class(reader *r, sm_expr *e) {
    const uint64_t from = r->at - 1;
    const bool others = skip(r, "^");
    r->n_ranges = 0;
    for (bool first = true;; first = false) {
        if (!more(r))
            return bad(r, from, "'[' without ']'");
        if (looking_at(r, "[:"))
            return refuse(r, r->at, "[: :] classes are not supported");
        if (r->text[r->at] == ']' && !first)
            break;
        bool single;
        uint32_t code;
        if (!take_member(r, &single, &code) || (single && !take_range(r, code)))
            return false;
    }
    r->at++;
    return finish_class(r, others, e);
}

/* ---- parts (regex.c) ------------------------------------------------------------------------- */

static bool new_part(reader *r, const part *p, uint32_t *number) {
    if (!sm_grammar_reserve(r->g, &r->parts, &r->parts_room, r->n_parts + 2, sizeof *r->parts))
        return false;
    if (!r->n_parts)
        r->parts[r->n_parts++] = (part){0};
    *number = (uint32_t)r->n_parts;
    r->parts[r->n_parts++] = *p;
    return true;
}

static bool plain(reader *r, sm_expr e, uint32_t *number) {
    return e != SM_EXPR_NONE && new_part(r, &(part){.kind = PLAIN, .e = e}, number);
}

static bool literal(reader *r, uint32_t code, uint32_t *number) {
    sm_expr e;
    r->n_ranges = 0;
    return put(r, code, code) && finish_class(r, false, &e) && plain(r, e, number);
}

static bool any_char(reader *r, bool newline, sm_expr *e) {
    const uint32_t flags = r->flags;
    r->flags &= ~SM_REGEX_NO_CASE;
    r->n_ranges = 0;
    const bool sound = (newline || put(r, '\n', '\n')) && finish_class(r, true, e);
    r->flags = flags;
    return sound;
}

/* Children from `first` on, which are plain all: their expressions, in r->items from *from on. */
static bool collect(reader *r, uint32_t first, uint64_t *from) {
    *from = r->n_items;
    for (uint32_t i = first; i; i = r->parts[i].next) {
        if (!sm_grammar_reserve(r->g, &r->items, &r->items_room, r->n_items + 1, sizeof *r->items))
            return false;
        r->items[r->n_items++] = r->parts[i].e;
    }
    return true;
}

static bool all_plain(const reader *r, uint32_t first) {
    for (uint32_t i = first; i; i = r->parts[i].next)
        if (r->parts[i].kind != PLAIN)
            return false;
    return true;
}

/* A sequence or alternatives of these children. */
static bool join(reader *r, uint8_t kind, uint32_t first, uint32_t *number) {
    if (first && !r->parts[first].next) {
        *number = first;
        return true;
    }
    if (!all_plain(r, first))
        return new_part(r, &(part){.kind = kind, .first = first}, number);
    uint64_t from;
    if (!collect(r, first, &from))
        return false;
    const sm_expr *items = r->items + from;
    const uint64_t n = r->n_items - from;
    r->n_items = from;
    return plain(r, kind == CAT ? sm_expr_seq(r->g, items, n) : sm_expr_alt(r->g, items, n),
                 number);
}

/* ---- reading (regex.c) ----------------------------------------------------------------------- */

static bool take_alternatives(reader *r, uint32_t *number);

static bool take_number(reader *r, uint32_t *value) {
    const uint64_t from = r->at;
    *value = 0;
    for (; more(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9'; r->at++)
        if (*value <= SM_GRAMMAR_MAX_REPEAT)
            *value = *value * 10 + (r->text[r->at] - '0');
    if (*value > SM_GRAMMAR_MAX_REPEAT)
        *value = SM_GRAMMAR_MAX_REPEAT + 1;
    return r->at > from;
}

/* {m}, {m,}, {m,n}, {,n}: false, and nothing taken, where it is none of them. */
static bool take_braces(reader *r, uint32_t *min, uint32_t *max) {
    const uint64_t from = r->at++;
    const bool low = take_number(r, min), comma = skip(r, ",");
    const bool high = comma && take_number(r, max);
    if (!comma)
        *max = *min;
    else if (!high)
        *max = SM_FOREVER;
    if ((low || high) && skip(r, "}"))
        return true;
    r->at = from;
    return false;
}

static bool take_quantifier(reader *r, uint32_t *min, uint32_t *max) {
    const uint8_t c = more(r) ? r->text[r->at] : 0;
    *min = c == '+';
    *max = c == '?' ? 1 : SM_FOREVER;
    if (c == '{')
        return take_braces(r, min, max);
    if (c != '*' && c != '+' && c != '?')
        return false;
    r->at++;
    return true;
}

static bool repeat(reader *r, uint32_t *number, uint32_t min, uint32_t max, uint64_t at) {
    const part p = r->parts[*number];
    if (min > max)
        return bad(r, at, "a repetition with more at least than at most");
    if (p.kind == PLAIN)
        return plain(r, sm_expr_repeat(r->g, p.e, min, max), number);
    if (p.kind >= BEGIN)
        return bad(r, at, "nothing to repeat");
    if (max > MAX_UNROLLED)
        return refuse(r, at,
                      "anchors, \\b and look-ahead inside an endless or long repetition are "
                      "not supported");
    return new_part(r, &(part){.kind = REPEAT, .first = *number, .min = min, .max = max}, number);
}

/* Flags of (?i) and (?i:…), behind the '?'; *group: whether a group follows. */
static bool take_flags(reader *r, bool *group) {
    const uint64_t from = r->at;
    bool on = true;
    for (; more(r) && r->text[r->at] != ')' && r->text[r->at] != ':'; r->at++) {
        const uint8_t c = r->text[r->at];
        const uint32_t flag = c == 'i'   ? SM_REGEX_NO_CASE
                              : c == 's' ? SM_REGEX_DOT_ALL
                              : c == 'a' ? SM_REGEX_ASCII
                                         : 0;
        if (c == '-')
            on = false;
        else if (!flag && c != 'u')
            return refuse(r, from, "a group of that kind, or a flag, that is not supported");
        r->flags = on ? r->flags | flag : r->flags & ~flag;
    }
    if (!more(r))
        return bad(r, from, "'(' without ')'");
    *group = r->text[r->at++] == ':';
    return true;
}

static bool take_name(reader *r, char end) {
    const uint64_t from = r->at;
    while (more(r) && r->text[r->at] != (uint8_t)end && r->text[r->at] != ')')
        r->at++;
    return (more(r) && r->text[r->at++] == (uint8_t)end && r->at > from + 1) ||
           bad(r, from, "a group's name is missing");
}

/* What a group is, behind its '('. *kind: PLAIN, AHEAD, NOT_AHEAD; CAT: flags or a comment,
 * over. */
static bool take_group_kind(reader *r, uint8_t *kind) {
    const uint64_t from = r->at;
    *kind = PLAIN;
    if (!skip(r, "?"))
        return true;
    if (skip(r, "#")) {
        const uint8_t *end = memchr(r->text + r->at, ')', r->length - r->at);
        *kind = CAT;
        r->at = end ? (uint64_t)(end - r->text) + 1 : r->length;
        return end || bad(r, from, "a comment without end");
    }
    if (skip(r, "=")) {
        *kind = AHEAD;
        return true;
    }
    if (skip(r, "!")) {
        *kind = NOT_AHEAD;
        return true;
    }
    if (looking_at(r, "<=") || looking_at(r, "<!"))
        return refuse(r, from, "look-behind is not supported");
    if (looking_at(r, ">"))
        return refuse(r, from, "atomic groups are not supported");
    if (looking_at(r, "P=") || looking_at(r, "P>"))
        return refuse(r, from, "references to groups are not supported");
    if (skip(r, "P<") || skip(r, "<"))
        return take_name(r, '>');
    bool group = false;
    if (!take_flags(r, &group))
        return false;
    *kind = group ? PLAIN : CAT;
    return true;
}

/* Behind the '('; *number 0: it stands for nothing. */
static bool take_group(reader *r, uint32_t *number) {
    const uint64_t from = r->at - 1;
    const uint32_t flags = r->flags;
    uint8_t kind;
    *number = 0;
    if (!take_group_kind(r, &kind))
        return false;
    if (kind == CAT)
        return true; /* its flags last until the end of the group around it */
    if (++r->nested > MAX_NESTED)
        return refuse(r, from, "too many groups inside each other");
    uint32_t inner;
    if (!take_alternatives(r, &inner))
        return false;
    if (!skip(r, ")"))
        return bad(r, from, "'(' without ')'");
    r->nested--;
    r->flags = flags;
    if (kind == PLAIN) {
        /* a node of its own: the same may not get into two lists */
        const part p = r->parts[inner];
        return new_part(
            r, &(part){.kind = p.kind, .e = p.e, .first = p.first, .min = p.min, .max = p.max},
            number);
    }
    return new_part(r, &(part){.kind = kind, .first = inner}, number);
}

static bool look(reader *r, uint8_t kind, uint32_t *number) {
    return new_part(r, &(part){.kind = kind}, number);
}

static bool take_escape(reader *r, uint32_t *number) {
    static const struct {
        char c;
        uint8_t kind;
    } looks[] = {{'A', BEGIN}, {'z', END}, {'Z', END}, {'b', WORD}, {'B', NO_WORD}};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        if (more(r) && r->text[r->at] == (uint8_t)looks[i].c) {
            r->at++;
            return look(r, looks[i].kind, number);
        }
    bool is;
    uint32_t code;
    sm_expr e;
    r->n_ranges = 0;
    if (!take_class_escape(r, &is))
        return false;
    if (is)
        return finish_class(r, false, &e) && plain(r, e, number);
    return take_char_escape(r, false, &code) && literal(r, code, number);
}

static bool take_atom(reader *r, uint32_t *number) {
    const uint64_t from = r->at;
    sm_expr e;
    uint32_t code;
    switch (r->text[r->at]) {
    case '(':
        r->at++;
        return take_group(r, number);
    case '[':
        r->at++;
        return take_class(r, &e) && plain(r, e, number);
    case '.':
        r->at++;
        return any_char(r, r->flags & SM_REGEX_DOT_ALL, &e) && plain(r, e, number);
    case '^':
        r->at++;
        return look(r, BEGIN, number);
    case '$':
        r->at++;
        return look(r, END, number);
    case '\\':
        r->at++;
        return take_escape(r, number);
    case '*':
    case '+':
    case '?':
        return bad(r, from, "nothing to repeat");
    case '{': {
        uint32_t min, max;
        if (take_braces(r, &min, &max))
            return bad(r, from, "nothing to repeat");
        break;
    }
    default:
        break;
    }
    return take_code(r, &code) && literal(r, code, number);
}

static bool take_repeated(reader *r, uint32_t *number) {
    uint32_t min, max;
    if (!take_atom(r, number))
        return false;
    const uint64_t at = r->at;
    if (!take_quantifier(r, &min, &max))
        return true;
    if (!*number)
        return bad(r, at, "nothing to repeat");
    if (looking_at(r, "+"))
        return refuse(r, at, "possessive repetitions are not supported");
    skip(r, "?"); /* what matches is the same */
    if (!repeat(r, number, min, max, at))
        return false;
    const uint64_t again = r->at;
    if (take_quantifier(r, &min, &max))
        return bad(r, again, "a repetition of a repetition without a group");
    return true;
}

static bool take_sequence(reader *r, uint32_t *number) {
    uint32_t first = 0, last = 0;
    while (more(r) && r->text[r->at] != '|' && r->text[r->at] != ')') {
        uint32_t one;
        if (!take_repeated(r, &one))
            return false;
        if (!one)
            continue;
        if (last)
            r->parts[last].next = one;
        else
            first = one;
        last = one;
    }
    return first ? join(r, CAT, first, number) : plain(r, SM_EMPTY, number);
}

static bool take_alternatives(reader *r, uint32_t *number) {
    uint32_t first = 0, last = 0;
    do {
        uint32_t one;
        if (!take_sequence(r, &one))
            return false;
        if (last)
            r->parts[last].next = one;
        else
            first = one;
        last = one;
    } while (skip(r, "|"));
    return join(r, ALT, first, number);
}

/* ---- looking around (regex.c) ---------------------------------------------------------------- */

/* What may follow, as an expression up to the end of the text, by what the character before it
 * is. */
enum { AT_BEGIN, AFTER_WORD, AFTER_OTHER, N_BEFORE };

typedef struct follow {
    sm_expr e[N_BEFORE];
} follow;

static bool build(reader *r, uint32_t number, follow *f);

static bool make_sets(reader *r) {
    if (r->all)
        return true;
    sm_expr any;
    r->n_ranges = 0;
    const uint32_t flags = r->flags;
    r->flags &= SM_REGEX_ASCII;
    const bool sound = any_char(r, true, &any) && put_word(r) && finish_class(r, false, &r->word) &&
                       put_word(r) && finish_class(r, true, &r->other);
    r->flags = flags;
    if (sound)
        r->all = sm_expr_repeat(r->g, any, 0, SM_FOREVER);
    return sound && r->all != SM_EXPR_NONE;
}

static bool sound(const follow *f) {
    return f->e[0] != SM_EXPR_NONE && f->e[1] != SM_EXPR_NONE && f->e[2] != SM_EXPR_NONE;
}

static bool same(const follow *f) {
    return f->e[0] == f->e[1] && f->e[1] == f->e[2];
}

static bool build_plain(reader *r, sm_expr e, follow *f) {
    sm_grammar *g = r->g;
    if (same(f)) {
        f->e[0] = f->e[1] = f->e[2] = sm_expr_seq2(g, e, f->e[0]);
        return sound(f);
    }
    const sm_expr word = sm_expr_and2(g, e, sm_expr_seq2(g, r->all, r->word)),
                  other = sm_expr_and2(g, e, sm_expr_seq2(g, r->all, r->other)),
                  some = sm_expr_alt2(g, sm_expr_seq2(g, word, f->e[AFTER_WORD]),
                                      sm_expr_seq2(g, other, f->e[AFTER_OTHER]));
    if (some == SM_EXPR_NONE)
        return false;
    const bool empty = sm_expr_has_empty(g, e);
    for (int i = 0; i < N_BEFORE; i++)
        f->e[i] = empty ? sm_expr_alt2(g, some, f->e[i]) : some;
    return sound(f);
}

/* Where a word begins or ends here (edge), or where none does. */
static bool build_word(reader *r, bool edge, follow *f) {
    sm_grammar *g = r->g;
    const sm_expr word = sm_expr_seq2(g, r->word, r->all),
                  other = sm_expr_optional(g, sm_expr_seq2(g, r->other, r->all));
    for (int i = 0; i < N_BEFORE; i++)
        f->e[i] = sm_expr_and2(g, f->e[i], (i == AFTER_WORD) == edge ? other : word);
    return sound(f);
}

static bool build_ahead(reader *r, uint32_t inner, bool is, follow *f) {
    follow body = {{r->all, r->all, r->all}};
    if (!build(r, inner, &body))
        return false;
    for (int i = 0; i < N_BEFORE; i++)
        f->e[i] = sm_expr_and2(r->g, f->e[i], is ? body.e[i] : sm_expr_other(r->g, body.e[i]));
    return sound(f);
}

/* Children from the last to the first. */
static bool build_cat(reader *r, uint32_t first, follow *f) {
    const uint64_t from = r->n_items;
    for (uint32_t i = first; i; i = r->parts[i].next) {
        if (!sm_grammar_reserve(r->g, &r->items, &r->items_room, r->n_items + 1, sizeof *r->items))
            return false;
        r->items[r->n_items++] = i;
    }
    while (r->n_items > from)
        if (!build(r, r->items[--r->n_items], f))
            return false;
    return true;
}

static bool build_alt(reader *r, uint32_t first, follow *f) {
    const follow rest = *f;
    *f = (follow){{SM_NOTHING, SM_NOTHING, SM_NOTHING}};
    for (uint32_t i = first; i; i = r->parts[i].next) {
        follow one = rest;
        if (!build(r, i, &one))
            return false;
        for (int k = 0; k < N_BEFORE; k++)
            f->e[k] = sm_expr_alt2(r->g, f->e[k], one.e[k]);
    }
    return sound(f);
}

static bool build_repeat(reader *r, const part *p, follow *f) {
    const follow rest = *f;
    for (uint32_t i = p->max; i > 0; i--) {
        if (!build(r, p->first, f))
            return false;
        for (int k = 0; i > p->min && k < N_BEFORE; k++)
            f->e[k] = sm_expr_alt2(r->g, f->e[k], rest.e[k]);
    }
    return sound(f);
}

/* Puts a part in front of what follows it. As deep as groups are. */
static bool build(reader *r, uint32_t number, follow *f) {
    const part p = r->parts[number];
    switch (p.kind) {
    case PLAIN:
        return build_plain(r, p.e, f);
    case CAT:
        return build_cat(r, p.first, f);
    case ALT:
        return build_alt(r, p.first, f);
    case REPEAT:
        return build_repeat(r, &p, f);
    case BEGIN:
        f->e[AFTER_WORD] = f->e[AFTER_OTHER] = SM_NOTHING;
        return true;
    case END:
        for (int i = 0; i < N_BEFORE; i++)
            f->e[i] = sm_expr_and2(r->g, f->e[i], SM_EMPTY);
        return sound(f);
    case WORD:
    case NO_WORD:
        return build_word(r, p.kind == WORD, f);
    default:
        return build_ahead(r, p.first, p.kind == AHEAD, f);
    }
}

/* ---- the whole (regex.c) --------------------------------------------------------------------- */

static sm_expr whole(reader *r, uint32_t number, bool search) {
    if (r->parts[number].kind == PLAIN && !search)
        return r->parts[number].e;
    if (!make_sets(r))
        return SM_EXPR_NONE;
    const sm_expr end = search ? r->all : SM_EMPTY;
    follow f = {{end, end, end}};
    if (!build(r, number, &f) || (search && !build_plain(r, r->all, &f)))
        return SM_EXPR_NONE;
    return f.e[AT_BEGIN];
}

sm_expr sm_expr_regex(sm_grammar *g, const char *pattern, uint64_t length, uint32_t flags,
                      const sm_char_map *map) {
    if (g->status)
        return SM_EXPR_NONE;
    reader r = {
        .g = g, .text = (const uint8_t *)pattern, .length = length, .flags = flags, .map = map};
    uint32_t number;
    sm_expr e = SM_EXPR_NONE;
    if (take_alternatives(&r, &number)) {
        if (more(&r))
            bad(&r, r.at, "')' without '('");
        else
            e = whole(&r, number, flags & SM_REGEX_SEARCH);
    }
    sm_free(g->mem, r.parts);
    sm_free(g->mem, r.ranges);
    sm_free(g->mem, r.items);
    return g->status ? SM_EXPR_NONE : e;
}
