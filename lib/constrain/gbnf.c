/* gbnf.c - grammars in llama.cpp's notation (GBNF), as expressions. */
#include "machine.h"

#include <string.h>

#define MAX_NESTED 100 /* groups inside each other */

typedef struct reader {
    sm_grammar *g;
    const char *text;
    uint64_t length, at;
    uint32_t nested;
    sm_expr *items; /* of the sequences and alternatives in work */
    uint64_t n_items, items_room;
    uint32_t *slots; /* rules by name: number + 1 */
    uint32_t mask;
} reader;

static char peek(const reader *r, uint64_t ahead) {
    return r->at + ahead < r->length ? r->text[r->at + ahead] : 0;
}

static bool more(const reader *r) {
    return r->at < r->length;
}

static bool fail_as(reader *r, sm_status status, uint64_t at, const char *what) {
    uint64_t line = 1;
    for (uint64_t i = 0; i < at; i++)
        line += r->text[i] == '\n';
    sm_grammar_fail(r->g, status, "grammar, line %llu: %s", (unsigned long long)line, what);
    return false;
}

static bool bad(reader *r, const char *what) {
    return fail_as(r, SM_ERR_FORMAT, r->at, what);
}

static void skip_space(reader *r, bool newlines) {
    for (; more(r); r->at++) {
        const char c = r->text[r->at];
        if (c == '#')
            while (more(r) && peek(r, 1) != '\n' && peek(r, 1) != '\r' && r->at + 1 < r->length)
                r->at++;
        else if (!(c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r'))))
            return;
    }
}

/* ---- names (gbnf.c) -------------------------------------------------------------------------- */

static bool name_char(char c) {
    const char low = lower_ascii(c);
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static uint64_t name_length(const reader *r) {
    uint64_t n = 0;
    while (r->at + n < r->length && name_char(r->text[r->at + n]))
        n++;
    return n;
}

static uint32_t name_slot(const reader *r, const char *name, uint64_t n) {
    uint64_t h = n;
    for (uint64_t i = 0; i < n; i++)
        h = sm_mix64(h ^ (uint8_t)name[i]);
    uint32_t at = (uint32_t)h & r->mask;
    while (r->slots[at] && !same_text(name, n, r->g->rules[r->slots[at] - 1].name))
        at = (at + 1) & r->mask;
    return at;
}

static bool grow_names(reader *r) {
    if (r->slots && r->g->n_rules < r->mask / 2)
        return true;
    sm_free(r->g->mem, r->slots);
    r->mask = r->mask ? r->mask * 2 + 1 : 255;
    r->slots = sm_alloc_zero(r->g->mem, (r->mask + 1ULL) * sizeof *r->slots);
    if (!r->slots) {
        sm_grammar_nomem(r->g);
        return false;
    }
    for (uint32_t i = 0; i < r->g->n_rules; i++)
        r->slots[name_slot(r, r->g->rules[i].name, strlen(r->g->rules[i].name))] = i + 1;
    return true;
}

static bool take_rule_name(reader *r, sm_rule *rule) {
    const uint64_t n = name_length(r);
    if (!n)
        return bad(r, "a rule's name was expected");
    if (!grow_names(r))
        return false;
    const char *name = r->text + r->at;
    const uint32_t at = name_slot(r, name, n);
    if (!r->slots[at]) {
        const sm_rule made = sm_rule_new(r->g, name, n);
        if (made == SM_EXPR_NONE)
            return false;
        r->slots[at] = made + 1;
    }
    *rule = r->slots[at] - 1;
    r->at += n;
    return true;
}

/* ---- characters (gbnf.c) --------------------------------------------------------------------- */

static int hex_digit(char c) {
    const char low = lower_ascii(c);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static bool take_hex(reader *r, uint32_t digits, uint32_t *code) {
    *code = 0;
    for (; digits > 0; digits--, r->at++) {
        const int d = hex_digit(peek(r, 0));
        if (d < 0)
            return bad(r, "a hexadecimal digit is missing");
        *code = *code << 4 | (uint32_t)d;
    }
    return (*code <= 0x10FFFF && (*code < 0xD800 || *code > 0xDFFF)) ||
           bad(r, "an escape of what is no character");
}

static bool take_char(reader *r, uint32_t *code) {
    if (!more(r))
        return bad(r, "the grammar ends inside a text or class");
    if (r->text[r->at] != '\\') {
        const uint32_t n =
            sm_utf8_decode((const uint8_t *)r->text + r->at, r->length - r->at, code);
        if (*code == UINT32_MAX)
            return bad(r, "not UTF-8");
        r->at += n;
        return true;
    }
    const char c = peek(r, 1);
    r->at += 2;
    switch (c) {
    case 'x':
        return take_hex(r, 2, code);
    case 'u':
        return take_hex(r, 4, code);
    case 'U':
        return take_hex(r, 8, code);
    case 't':
        *code = '\t';
        return true;
    case 'n':
        *code = '\n';
        return true;
    case 'r':
        *code = '\r';
        return true;
    default:
        *code = (uint8_t)c;
        if (c > ' ' && c < 127 && !name_char(c))
            return true;
        if (c == '-')
            return true;
        r->at -= 2;
        return bad(r, "an escape that is not known");
    }
}

static bool put(reader *r, sm_expr e) {
    if (e == SM_EXPR_NONE ||
        !sm_grammar_reserve(r->g, &r->items, &r->items_room, r->n_items + 1, sizeof *r->items))
        return false;
    r->items[r->n_items++] = e;
    return true;
}

/* Takes the items from `from` on out again, as one. */
static sm_expr take_items(reader *r, uint64_t from, bool alt) {
    const uint64_t n = r->n_items - from;
    r->n_items = from;
    return alt ? sm_expr_alt(r->g, r->items + from, n) : sm_expr_seq(r->g, r->items + from, n);
}

static bool take_text(reader *r, sm_expr *e) {
    const uint64_t from = r->n_items;
    r->at++;
    while (peek(r, 0) != '"' || !more(r)) {
        uint32_t code;
        uint8_t bytes[4];
        if (!take_char(r, &code) ||
            !put(r, sm_expr_bytes(r->g, bytes, sm_utf8_encode(code, bytes))))
            return false;
    }
    r->at++;
    *e = take_items(r, from, false);
    return *e != SM_EXPR_NONE;
}

static bool take_class(reader *r, sm_expr *e) {
    sm_range *ranges = NULL;
    uint64_t n = 0, room = 0;
    r->at++;
    const bool others = peek(r, 0) == '^';
    r->at += others;
    bool sound = true;
    while (sound && !(more(r) && peek(r, 0) == ']')) {
        sm_range range;
        sound = take_char(r, &range.first);
        range.last = range.first;
        if (sound && peek(r, 0) == '-' && peek(r, 1) != ']') {
            r->at++;
            sound = take_char(r, &range.last);
        }
        if (sound && range.last < range.first)
            sound = bad(r, "a range that ends before it begins");
        sound = sound && sm_grammar_reserve(r->g, &ranges, &room, n + 1, sizeof *ranges);
        if (sound)
            ranges[n++] = range;
    }
    r->at++;
    if (sound)
        *e = others ? sm_expr_not_chars(r->g, ranges, n) : sm_expr_chars(r->g, ranges, n);
    sm_free(r->g->mem, ranges);
    return sound && *e != SM_EXPR_NONE;
}

/* ---- rules (gbnf.c) -------------------------------------------------------------------------- */

static bool take_alternatives(reader *r, sm_expr *e);

static bool take_number(reader *r, uint32_t *value) {
    const uint64_t from = r->at;
    for (*value = 0; peek(r, 0) >= '0' && peek(r, 0) <= '9'; r->at++)
        if (*value <= SM_GRAMMAR_MAX_REPEAT)
            *value = *value * 10 + (uint32_t)(peek(r, 0) - '0');
    if (*value > SM_GRAMMAR_MAX_REPEAT)
        *value = SM_GRAMMAR_MAX_REPEAT + 1;
    return r->at > from || bad(r, "a number was expected in { }");
}

static bool take_braces(reader *r, uint32_t *min, uint32_t *max) {
    r->at++;
    skip_space(r, r->nested > 0);
    if (!take_number(r, min))
        return false;
    *max = *min;
    skip_space(r, r->nested > 0);
    if (peek(r, 0) == ',') {
        r->at++;
        skip_space(r, r->nested > 0);
        *max = SM_FOREVER;
        if (peek(r, 0) != '}' && !take_number(r, max))
            return false;
        skip_space(r, r->nested > 0);
    }
    if (peek(r, 0) != '}')
        return bad(r, "'}' was expected");
    r->at++;
    return *min <= *max || bad(r, "a repetition with more at least than at most");
}

/* All that is behind an item: "a"+, "a"{2,3}. */
static bool take_repetitions(reader *r, sm_expr *e) {
    for (;;) {
        skip_space(r, r->nested > 0);
        const char c = more(r) ? peek(r, 0) : 0;
        uint32_t min = c == '+', max = c == '?' ? 1 : SM_FOREVER;
        if (c == '{') {
            if (!take_braces(r, &min, &max))
                return false;
        } else if (c == '*' || c == '+' || c == '?') {
            r->at++;
        } else {
            return true;
        }
        *e = sm_expr_repeat(r->g, *e, min, max);
        if (*e == SM_EXPR_NONE)
            return false;
    }
}

static bool take_group(reader *r, sm_expr *e) {
    const uint64_t from = r->at++;
    if (++r->nested > MAX_NESTED)
        return fail_as(r, SM_ERR_UNSUPPORTED, from, "too many groups inside each other");
    if (!take_alternatives(r, e))
        return false;
    if (!more(r) || peek(r, 0) != ')')
        return bad(r, "')' was expected");
    r->at++;
    r->nested--;
    return true;
}

/* *is false: what comes is no item. */
static bool take_item(reader *r, bool *is, sm_expr *e) {
    const char c = more(r) ? peek(r, 0) : 0;
    sm_rule rule;
    *is = true;
    if (c == '"')
        return take_text(r, e);
    if (c == '[')
        return take_class(r, e);
    if (c == '(')
        return take_group(r, e);
    if (c == '.') {
        r->at++;
        *e = sm_expr_not_chars(r->g, NULL, 0);
        return *e != SM_EXPR_NONE;
    }
    if (c == '<' || c == '!')
        return fail_as(r, SM_ERR_UNSUPPORTED, r->at, "references to tokens are not supported");
    if (c == '*' || c == '+' || c == '?' || c == '{')
        return bad(r, "nothing to repeat");
    *is = name_char(c);
    if (!*is)
        return true;
    if (!take_rule_name(r, &rule))
        return false;
    *e = sm_expr_rule(r->g, rule);
    return *e != SM_EXPR_NONE;
}

static bool take_sequence(reader *r, sm_expr *e) {
    const uint64_t from = r->n_items;
    for (;;) {
        bool is;
        skip_space(r, r->nested > 0);
        if (!take_item(r, &is, e))
            return false;
        if (!is)
            break;
        if (!take_repetitions(r, e) || !put(r, *e))
            return false;
    }
    *e = take_items(r, from, false);
    return *e != SM_EXPR_NONE;
}

static bool take_alternatives(reader *r, sm_expr *e) {
    const uint64_t from = r->n_items;
    skip_space(r, true);
    for (;;) {
        if (!take_sequence(r, e) || !put(r, *e))
            return false;
        if (!more(r) || peek(r, 0) != '|')
            break;
        r->at++;
        skip_space(r, true);
    }
    *e = take_items(r, from, true);
    return *e != SM_EXPR_NONE;
}

static bool take_rule(reader *r) {
    sm_rule rule;
    sm_expr e;
    if (!take_rule_name(r, &rule))
        return false;
    skip_space(r, false);
    if (peek(r, 0) != ':' || peek(r, 1) != ':' || peek(r, 2) != '=')
        return bad(r, "'::=' was expected behind a rule's name");
    r->at += 3;
    if (!take_alternatives(r, &e))
        return false;
    if (more(r) && peek(r, 0) != '\n' && peek(r, 0) != '\r')
        return bad(r, "the end of the line was expected");
    sm_rule_define(r->g, rule, e);
    return !r->g->status;
}

sm_expr sm_expr_gbnf(sm_grammar *g, const char *text, uint64_t length) {
    reader r = {.g = g, .text = text, .length = length};
    bool sound = !g->status;
    skip_space(&r, true);
    while (sound && more(&r)) {
        sound = take_rule(&r);
        skip_space(&r, true);
    }
    sm_expr e = SM_EXPR_NONE;
    if (sound) {
        const uint32_t slot = grow_names(&r) ? r.slots[name_slot(&r, "root", 4)] : 0;
        if (slot)
            e = sm_expr_rule(g, slot - 1);
        else
            sm_grammar_fail(g, SM_ERR_FORMAT, "grammar: there is no rule 'root'");
    }
    sm_free(g->mem, r.items);
    sm_free(g->mem, r.slots);
    return e;
}
