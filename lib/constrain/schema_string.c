/* schema_string.c - a formula over strings becomes a regular expression over their spelling in
 * JSON. */
#include "schema.h"

/* ---- characters (schema_string.c) ------------------------------------------------------------ */

static uint32_t spell(uint32_t code, char *out) {
    static const char named[] = "\b\t\n\f\r", letters[] = "btnfr";
    out[0] = '\\';
    if (code == '"' || code == '\\') {
        out[1] = (char)code;
        return 2;
    }
    const char *at = code ? strchr(named, (int)code) : NULL;
    if (at) {
        out[1] = letters[at - named];
        return 2;
    }
    static const char hex[] = "0123456789abcdef";
    memcpy(out + 1, "u00", 3);
    out[4] = hex[code >> 4];
    out[5] = hex[code & 15];
    return 6;
}

static bool is_spelt(uint32_t code) {
    return code < 0x20 || code == '"' || code == '\\';
}

/* Characters as JSON strings hold them, each in one spelling: raw where that may be. */
static sm_expr json_chars(void *user, sm_grammar *g, const sm_range *ranges, uint64_t n) {
    (void)user;
    sm_expr parts[40];
    uint64_t n_parts = 0;
    static const sm_range raw[] = {{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x10ffff}};
    for (uint32_t code = 0; code <= '\\'; code++)
        for (uint64_t i = 0; i < n && is_spelt(code); i++)
            if (ranges[i].first <= code && code <= ranges[i].last) {
                char bytes[6];
                const uint32_t length = spell(code, bytes);
                parts[n_parts++] = sm_expr_bytes(g, bytes, length);
                break;
            }
    sm_range *cut = sm_alloc_array(sm_grammar_mem(g), 3 * n + 1, sizeof *cut);
    if (!cut)
        return sm_grammar_fail(g, SM_ERR_NOMEM, "out of memory");
    uint64_t n_cut = 0;
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < 3; k++) {
            const uint32_t first = ranges[i].first > raw[k].first ? ranges[i].first : raw[k].first;
            const uint32_t last = min_u32(ranges[i].last, raw[k].last);
            if (first <= last)
                cut[n_cut++] = (sm_range){first, last};
        }
    if (n_cut)
        parts[n_parts++] = sm_expr_chars(g, cut, n_cut);
    sm_free(sm_grammar_mem(g), cut);
    return sm_expr_alt(g, parts, n_parts);
}

static sm_expr plain_chars(void *user, sm_grammar *g, const sm_range *ranges, uint64_t n) {
    (void)user;
    return sm_expr_chars(g, ranges, n);
}

static const sm_char_map json_map = {json_chars, NULL}, plain_map = {plain_chars, NULL};

bool sm_string_plain(const schema *s) {
    return s->bare || sm_notation_of(s) == SM_NOTATION_PAIRS;
}

void sm_string_prepare(schema *s) {
    static const sm_range all = {0, 0x10ffff};
    static const char free_char[] =
        "[^\\x00-\\x1f\"\\\\]|\\\\([\"\\\\/bfnrt]|u([0-9a-cefA-CEF][0-9a-fA-F]{3}"
        "|[dD][0-7][0-9a-fA-F]{2}|[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F]"
        "[0-9a-fA-F]{2}))";
    s->any_character[0] = json_chars(NULL, s->g, &all, 1);
    s->any_character[1] = sm_expr_chars(s->g, &all, 1);
    s->free_character = sm_expr_regex(s->g, free_char, sizeof free_char - 1, 0, NULL);
    memset(s->formats, 0xff, sizeof s->formats);
}

static sm_expr any_character(const schema *s) {
    return s->any_character[sm_string_plain(s)];
}

/* A text as it is written inside quotes. */
static list spelling_of(schema *s, uint32_t t) {
    uint32_t n;
    const char *bytes = sm_schema_text_of(s, t, &n);
    const bool plain = sm_string_plain(s);
    list out = {0};
    for (uint32_t i = 0; i < n; i++) {
        char spelt[6];
        const uint8_t c = (uint8_t)bytes[i];
        const bool as_is = plain || !is_spelt(c);
        const uint32_t length = as_is ? 1 : spell(c, spelt);
        if (!sm_schema_room(s, &out, length, 1))
            break;
        memcpy((char *)out.data + out.n, as_is ? bytes + i : spelt, length);
        out.n += length;
    }
    return out;
}

static sm_expr text_body(schema *s, uint32_t t) {
    list out = spelling_of(s, t);
    const sm_expr e = out.n ? sm_expr_bytes(s->g, out.data, out.n) : sm_expr_empty(s->g);
    sm_free(s->mem, out.data);
    return e;
}

static sm_expr between(schema *s, const char *quote, sm_expr body) {
    const sm_expr e = sm_expr_text(s->g, quote);
    return sm_expr_seq3(s->g, e, body, e);
}

/* Python has two quotes: the other one where the text has none of it. */
static sm_expr quoted_for_python(schema *s, sm_expr body) {
    static const sm_range single = {'\'', '\''};
    const sm_expr none = sm_expr_repeat(s->g, sm_expr_not_chars(s->g, &single, 1), 0, SM_FOREVER);
    return sm_expr_alt2(s->g, between(s, "\"", body),
                        between(s, "'", sm_expr_and2(s->g, body, none)));
}

static sm_expr quoted(schema *s, sm_expr body) {
    if (s->avoiding != SM_EXPR_NONE)
        body = sm_expr_and2(s->g, body, s->avoiding);
    if (s->bare)
        return body;
    switch (sm_notation_of(s)) {
    case SM_NOTATION_PYTHON:
        return quoted_for_python(s, body);
    case SM_NOTATION_PAIRS:
        return between(s, "<|\"|>", body);
    default:
        return between(s, "\"", body);
    }
}

sm_expr sm_string_write_text(schema *s, uint32_t t) {
    return quoted(s, text_body(s, t));
}

static sm_expr regex_body(schema *s, const node *n) {
    const sm_char_map *map = sm_string_plain(s) ? &plain_map : &json_map;
    if (n->b)
        return sm_format_write(s, n->b - 1, map);
    uint32_t length;
    const char *pattern = sm_schema_text_of(s, n->a, &length);
    const sm_expr e = sm_expr_regex(s->g, pattern, length, SM_REGEX_SEARCH | SM_REGEX_ASCII, map);
    if (e == SM_EXPR_NONE && !s->status) {
        sm_error why = {0};
        const sm_status status = sm_grammar_status(s->g, &why);
        sm_schema_fail(s, status ? status : SM_ERR_UNSUPPORTED, n->c, why.message);
    }
    return e;
}

/* ---- expressions (schema_string.c) ----------------------------------------------------------- */

static sm_expr all_bodies(schema *s, sm_expr character) {
    return sm_expr_repeat(s->g, character, 0, SM_FOREVER);
}

static sm_expr literal_body(schema *s, formula f) {
    const node n = *NODE(s, f);
    const sm_expr any = any_character(s);
    switch (n.kind) {
    case S_EQUAL:
        return text_body(s, n.a);
    case S_OTHER:
        return sm_expr_minus(s->g, all_bodies(s, any), text_body(s, n.a));
    case S_LEAST:
        return sm_expr_repeat(s->g, any, n.a, SM_FOREVER);
    case S_BELOW:
        return n.a ? sm_expr_repeat(s->g, any, 0, n.a - 1) : sm_expr_nothing(s->g);
    case S_REGEX:
        return regex_body(s, &n);
    default:
        return sm_expr_minus(s->g, all_bodies(s, any), regex_body(s, &n));
    }
}

static sm_expr body_of(schema *s, formula f);

/* Lengths are one repetition, texts that are left out one alternative. */
static sm_expr and_body(schema *s, formula f) {
    const uint32_t n = NODE(s, f)->b;
    uint32_t min = 0, max = SM_FOREVER;
    list parts = {0}, outside = {0};
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        const formula item = AT(s, lists, formula, NODE(s, f)->a + i);
        const node c = *NODE(s, item);
        if (c.kind == S_LEAST) {
            min = c.a > min ? c.a : min;
        } else if (c.kind == S_BELOW) {
            max = min_u32(max, c.a - 1);
        } else {
            const bool other = c.kind == S_OTHER;
            const sm_expr e = other ? text_body(s, c.a) : body_of(s, item);
            sm_schema_push(s, other ? &outside : &parts, &e, sizeof e);
        }
    }
    sm_expr e = sm_expr_nothing(s->g);
    if (min <= max) {
        e = sm_expr_repeat(s->g, any_character(s), min, max);
        if (min || max != SM_FOREVER || !parts.n)
            sm_schema_push(s, &parts, &e, sizeof e);
        e = sm_expr_and(s->g, parts.data, parts.n);
        if (outside.n)
            e = sm_expr_minus(s->g, e, sm_expr_alt(s->g, outside.data, outside.n));
    }
    sm_free(s->mem, parts.data);
    sm_free(s->mem, outside.data);
    return e;
}

static sm_expr or_body(schema *s, formula f) {
    const uint32_t n = NODE(s, f)->b;
    list parts = {0};
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        const sm_expr e = body_of(s, AT(s, lists, formula, NODE(s, f)->a + i));
        sm_schema_push(s, &parts, &e, sizeof e);
    }
    const sm_expr e = sm_expr_alt(s->g, parts.data, parts.n);
    sm_free(s->mem, parts.data);
    return e;
}

static sm_expr body_of(schema *s, formula f) {
    if (f <= VERUM)
        return f ? all_bodies(s, any_character(s)) : sm_expr_nothing(s->g);
    if (++s->depth > MAX_NESTED)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, "nested too deeply in one place");
    const uint32_t kind = NODE(s, f)->kind;
    const sm_expr e = s->status       ? SM_EXPR_NONE
                      : kind == K_AND ? and_body(s, f)
                      : kind == K_OR  ? or_body(s, f)
                                      : literal_body(s, f);
    s->depth--;
    return e;
}

/* ---- strings one by one (schema_string.c) ---------------------------------------------------- */

static bool literal_has(schema *s, formula f, uint32_t t) {
    const node n = *NODE(s, f);
    uint32_t length, count = 0;
    const char *bytes = sm_schema_text_of(s, t, &length);
    for (uint32_t i = 0; i < length; i++)
        count += ((uint8_t)bytes[i] & 0xc0) != 0x80;
    switch (n.kind) {
    case S_EQUAL:
        return n.a == t;
    case S_OTHER:
        return n.a != t;
    case S_LEAST:
        return count >= n.a;
    case S_BELOW:
        return count < n.a;
    default:
        break;
    }
    /* against the spelling; an escape makes it longer, not other */
    list out = spelling_of(s, t);
    const sm_expr e = regex_body(s, &n);
    const bool has = !s->status && sm_expr_matches(s->g, e, out.data ? out.data : "", out.n);
    sm_free(s->mem, out.data);
    return has == (n.kind == S_REGEX);
}

bool sm_string_has(schema *s, formula f, uint32_t t) {
    if (f <= VERUM || s->status)
        return f == VERUM;
    const node n = *NODE(s, f);
    if (is_literal(&n))
        return literal_has(s, f, t);
    bool has = n.kind == K_AND;
    for (uint32_t i = 0; i < n.b && has == (n.kind == K_AND) && !s->status; i++)
        has = sm_string_has(s, AT(s, lists, formula, n.a + i), t);
    return has;
}

static bool candidates(schema *s, formula f, list *out) {
    const node n = *NODE(s, f);
    if (n.kind == S_EQUAL)
        return sm_schema_push(s, out, &n.a, sizeof n.a);
    if (n.kind != K_AND && n.kind != K_OR)
        return f == FALSUM;
    for (uint32_t i = 0; i < n.b && sm_schema_goes_on(s); i++) {
        const uint32_t before = out->n;
        const bool found = candidates(s, AT(s, lists, formula, n.a + i), out);
        if (!found)
            out->n = before;
        if (found != (n.kind == K_OR))
            return found;
    }
    return n.kind == K_OR;
}

static bool listed(schema *s, formula seen, list *out) {
    list all = {0};
    const bool finite = candidates(s, seen, &all) && all.n <= MAX_LISTED;
    const bool plain = NODE(s, seen)->kind == K_OR; /* of texts alone: each satisfies it */
    for (uint32_t i = 0; i < all.n && finite && sm_schema_goes_on(s); i++) {
        const uint32_t t = ((uint32_t *)all.data)[i];
        if ((plain && all.n == NODE(s, seen)->b) || sm_string_has(s, seen, t))
            sm_schema_push(s, out, &t, sizeof t);
    }
    sm_free(s->mem, all.data);
    return finite;
}

bool sm_string_dead(schema *s, formula seen, bool thorough) {
    if (seen <= VERUM)
        return seen == FALSUM;
    if (is_literal(NODE(s, seen)))
        return NODE(s, seen)->kind == S_BELOW && !NODE(s, seen)->a;
    list l = {0};
    const bool finite = listed(s, seen, &l), none = !l.n;
    sm_free(s->mem, l.data);
    if (finite)
        return none;
    return thorough && !s->status && sm_expr_is_empty(s->g, body_of(s, seen));
}

bool sm_string_list(schema *s, formula seen, sm_listed_fn each, void *user) {
    list l = {0};
    bool finite = listed(s, seen, &l);
    for (uint32_t i = 0; i < l.n && finite; i++)
        finite = each(s, user, ((uint32_t *)l.data)[i]);
    sm_free(s->mem, l.data);
    return finite;
}

/* Whether it speaks of lengths alone: then characters may be spelt in any way. */
static bool lengths_alone(const schema *s, formula f, uint32_t *min, uint32_t *max) {
    const node *n = NODE(s, f);
    if (n->kind == S_LEAST)
        *min = n->a > *min ? n->a : *min;
    else if (n->kind == S_BELOW && n->a)
        *max = min_u32(*max, n->a - 1);
    else
        return f == VERUM;
    return true;
}

static bool only_lengths(const schema *s, formula f, uint32_t *min, uint32_t *max) {
    if (NODE(s, f)->kind != K_AND)
        return lengths_alone(s, f, min, max);
    for (uint32_t i = 0; i < NODE(s, f)->b; i++)
        if (!lengths_alone(s, AT(s, lists, formula, NODE(s, f)->a + i), min, max))
            return false;
    return true;
}

sm_expr sm_string_write_key(schema *s, formula seen) {
    list l = {0};
    sm_expr e;
    if (seen > VERUM && listed(s, seen, &l)) {
        list parts = {0};
        for (uint32_t i = 0; i < l.n; i++) {
            const sm_expr one = text_body(s, ((uint32_t *)l.data)[i]);
            sm_schema_push(s, &parts, &one, sizeof one);
        }
        e = sm_expr_alt(s->g, parts.data, parts.n);
        sm_free(s->mem, parts.data);
    } else {
        e = body_of(s, seen);
    }
    sm_free(s->mem, l.data);
    return quoted(s, e);
}

static sm_expr free_character(const schema *s) {
    return sm_string_plain(s) ? any_character(s) : s->free_character;
}

sm_expr sm_string_write(schema *s, formula seen) {
    uint32_t min = 0, max = SM_FOREVER;
    if (seen != FALSUM && only_lengths(s, seen, &min, &max))
        return min > max ? sm_expr_nothing(s->g)
                         : quoted(s, sm_expr_repeat(s->g, free_character(s), min, max));
    return sm_string_write_key(s, seen);
}
