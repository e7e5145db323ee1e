/* Regular expressions: from their text to code. Groups stand on a stack of their own; alternatives
 * and quantifiers put instructions before what is written already, which holds relative places
 * only. */
#include "pattern_code.h"

#define MAX_TEXT 65536
#define MAX_DEPTH 64
#define NO_ATOM UINT32_MAX
#define ENDLESS UINT32_MAX

typedef enum group_kind { GROUP_PLAIN, GROUP_ATOM, GROUP_LOOK, GROUP_BEHIND } group_kind;

typedef struct group {
    group_kind kind;
    uint32_t begin;                 /* first instruction; that of a frame */
    uint32_t branch;                /* where the branch begins */
    bool fold, dot_all, multi_line; /* to come back to */
} group;

typedef struct reader {
    sm_pattern *p;
    sm_mem *mem;
    sm_error *error;
    const char *place;
    const uint8_t *text;
    uint64_t length, at;
    sm_dialect dialect;
    bool fold, dot_all, multi_line;
    group groups[MAX_DEPTH];
    uint32_t depth;
    uint32_t atom; /* where the last atom begins */
    uint32_t n_registers;
    sm_status status;
} reader;

/* ---- failing, growing ------------------------------------------------------------------------ */

static bool refuse(reader *r, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED, "%s: %s is not supported (at byte %llu)",
                            r->place, what, (unsigned long long)r->at);
    return false;
}

static bool broken(reader *r, const char *what) {
    if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_FORMAT, "%s: %s at byte %llu", r->place, what,
                            (unsigned long long)r->at);
    return false;
}

static bool no_memory(reader *r) {
    if (!r->status)
        r->status = sm_fail(r->error, SM_ERR_NOMEM, "out of memory");
    return false;
}

/* Room for one more of `size` bytes in a list of n, which grows at powers of two. */
static bool grow(reader *r, void **list, uint32_t n, size_t size) {
    if (*list && (n & (n - 1)))
        return true;
    if (*list && n < 8)
        return true;
    const uint64_t room = n < 8 ? 8 : 2 * (uint64_t)n;
    void *fresh = sm_alloc_array(r->mem, room, size);
    if (!fresh)
        return no_memory(r);
    if (n)
        memcpy(fresh, *list, n * size);
    sm_free(r->mem, *list);
    *list = fresh;
    return true;
}

static bool emit(reader *r, instruction i) {
    if (r->p->n_code >= MAX_CODE)
        return refuse(r, "a pattern of that size");
    if (!grow(r, (void **)&r->p->code, r->p->n_code, sizeof i))
        return false;
    r->p->code[r->p->n_code++] = i;
    return true;
}

static bool insert(reader *r, uint32_t at, instruction i) {
    if (!emit(r, i))
        return false;
    memmove(r->p->code + at + 1, r->p->code + at, (r->p->n_code - 1 - at) * sizeof i);
    r->p->code[at] = i;
    return true;
}

static bool add_term(reader *r, term t) {
    if (!grow(r, (void **)&r->p->terms, r->p->n_terms, sizeof t))
        return false;
    r->p->terms[r->p->n_terms++] = t;
    return true;
}

static bool add_range(reader *r, uint32_t low, uint32_t high) {
    if (!grow(r, (void **)&r->p->ranges, r->p->n_ranges, sizeof(code_range)))
        return false;
    r->p->ranges[r->p->n_ranges++] = (code_range){low, high};
    return true;
}

/* A set of the terms from `at` on. */
static bool add_set(reader *r, uint32_t at, uint32_t *set) {
    sm_pattern *p = r->p;
    if (!grow(r, (void **)&p->sets, p->n_sets, sizeof *p->sets))
        return false;
    *set = p->n_sets++;
    sm_char_test *s = &p->sets[*set];
    s->at = at;
    s->n = p->n_terms - at;
    for (uint32_t c = 0; c < 128; c++)
        s->ascii[c] = sm_char_test_holds(p, s, c);
    return true;
}

/* ---- letters --------------------------------------------------------------------------------- */

static bool more(const reader *r) {
    return r->at < r->length && !r->status;
}

static bool next_is(const reader *r, const char *text) {
    const size_t n = strlen(text);
    return r->length - r->at >= n && memcmp(r->text + r->at, text, n) == 0;
}

static bool take(reader *r, const char *text) {
    const bool is = next_is(r, text);
    r->at += is ? strlen(text) : 0;
    return is;
}

static uint32_t take_code(reader *r) {
    uint32_t code;
    r->at += sm_utf8_decode(r->text + r->at, r->length - r->at, &code);
    return code;
}

static int digit_of(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

/* Up to `most` digits of a base; false if there is none. */
static bool take_number(reader *r, int base, uint32_t most, uint32_t *number) {
    uint32_t n = 0;
    *number = 0;
    for (; n < most && more(r) && digit_of(r->text[r->at]) < base; n++, r->at++) {
        *number = *number * (uint32_t)base + (uint32_t)digit_of(r->text[r->at]);
        if (*number > 0x10FFFF)
            return broken(r, "a number that is too large");
    }
    return n > 0;
}

/* What else a character is when cases are alike. */
static uint32_t other_cases(uint32_t code, uint32_t out[8]) {
    static const uint32_t odd[][2] = {
        {0x17F, 's'},    {0x212A, 'k'},    {0x212B, 0xE5},  {0x3C2, 0x3C3},  {0x3D0, 0x3B2},
        {0x3D1, 0x3B8},  {0x3D5, 0x3C6},   {0x3D6, 0x3C0},  {0x3F0, 0x3BA},  {0x3F1, 0x3C1},
        {0x3F5, 0x3B5},  {0x1E9B, 0x1E61}, {0xB5, 0x3BC},   {0x2126, 0x3C9}, {0x345, 0x3B9},
        {0x1FBE, 0x3B9}, {0x1E9E, 0xDF},   {0x1C80, 0x432}, {0x1C81, 0x434}, {0x1C82, 0x43E},
        {0x1C83, 0x441}, {0x1C84, 0x442},  {0x1C86, 0x44A}, {0x1C87, 0x463}};
    uint32_t n = 0, base = sm_lower_of(code);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (odd[i][0] == code || odd[i][0] == base)
            base = odd[i][1];
    const uint32_t ways[] = {base, sm_upper_of(base), sm_title_of(base), sm_lower_of(code)};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (ways[i] != code)
            out[n++] = ways[i];
    for (size_t i = 0; i < sizeof odd / sizeof *odd && n < 8; i++)
        if (odd[i][1] == base && odd[i][0] != code)
            out[n++] = odd[i][0];
    return n;
}

/* The ranges of low to high, and of what folds to one of these: one term. */
static bool add_ranges(reader *r, uint32_t low, uint32_t high) {
    const uint32_t at = r->p->n_ranges;
    bool ok = add_range(r, low, high);
    for (uint32_t code = low; ok && r->fold && code <= high && code - low < 0x3000; code++) {
        uint32_t others[8];
        const uint32_t n = other_cases(code, others);
        for (uint32_t i = 0; i < n && ok; i++)
            if (others[i] < low || others[i] > high)
                ok = add_range(r, others[i], others[i]);
    }
    return ok && add_term(r, (term){TERM_RANGES, at, r->p->n_ranges - at});
}

/* ---- classes --------------------------------------------------------------------------------- */

#define BIT(name) (1U << SM_CATEGORY_##name)

/* Names of categories: those of Unicode, short and long. */
static const struct {
    const char *name, *full;
    uint32_t bits;
} categories[] = {
    {"l", "letter", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"lc", "casedletter", BIT(LU) | BIT(LL) | BIT(LT)},
    {"l&", "l&", BIT(LU) | BIT(LL) | BIT(LT)},
    {"lu", "uppercaseletter", BIT(LU)},
    {"ll", "lowercaseletter", BIT(LL)},
    {"lt", "titlecaseletter", BIT(LT)},
    {"lm", "modifierletter", BIT(LM)},
    {"lo", "otherletter", BIT(LO)},
    {"m", "mark", BIT(MN) | BIT(MC) | BIT(ME)},
    {"mn", "nonspacingmark", BIT(MN)},
    {"mc", "spacingmark", BIT(MC)},
    {"me", "enclosingmark", BIT(ME)},
    {"n", "number", BIT(ND) | BIT(NL) | BIT(NO)},
    {"nd", "decimalnumber", BIT(ND)},
    {"nl", "letternumber", BIT(NL)},
    {"no", "othernumber", BIT(NO)},
    {"p", "punctuation", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"pc", "connectorpunctuation", BIT(PC)},
    {"pd", "dashpunctuation", BIT(PD)},
    {"ps", "openpunctuation", BIT(PS)},
    {"pe", "closepunctuation", BIT(PE)},
    {"pi", "initialpunctuation", BIT(PI)},
    {"pf", "finalpunctuation", BIT(PF)},
    {"po", "otherpunctuation", BIT(PO)},
    {"s", "symbol", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"sm", "mathsymbol", BIT(SM)},
    {"sc", "currencysymbol", BIT(SC)},
    {"sk", "modifiersymbol", BIT(SK)},
    {"so", "othersymbol", BIT(SO)},
    {"z", "separator", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"zs", "spaceseparator", BIT(ZS)},
    {"zl", "lineseparator", BIT(ZL)},
    {"zp", "paragraphseparator", BIT(ZP)},
    {"c", "other", BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN)},
    {"cc", "control", BIT(CC)},
    {"cf", "format", BIT(CF)},
    {"cs", "surrogate", BIT(CS)},
    {"co", "privateuse", BIT(CO)},
    {"cn", "unassigned", BIT(CN)},
    {"any", "any", UINT32_MAX},
    {"assigned", "assigned", ~BIT(CN)},
    {"digit", "digit", BIT(ND)},
};

#define PUNCTUATION (BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO))

static bool add_space(reader *r) {
    return add_term(r, (term){TERM_SPACE, 0, 0});
}

/* ASCII characters of a text, as ranges of one. */
static bool add_ascii(reader *r, const char *members) {
    const uint32_t at = r->p->n_ranges;
    bool ok = true;
    for (; *members && ok; members++)
        ok = add_range(r, (uint8_t)*members, (uint8_t)*members);
    return ok && add_term(r, (term){TERM_RANGES, at, r->p->n_ranges - at});
}

static bool is_name(const char *name, const char *other) {
    return strcmp(name, other) == 0;
}

/* What is no category: POSIX's names that mean the same everywhere, and scripts. */
static bool add_named_other(reader *r, const char *name) {
    if (is_name(name, "space") || is_name(name, "whitespace"))
        return add_space(r);
    if (is_name(name, "word"))
        return add_term(r, (term){TERM_WORD, 0, 0});
    if (is_name(name, "ascii"))
        return add_range(r, 0, 127) && add_term(r, (term){TERM_RANGES, r->p->n_ranges - 1, 1});
    if (is_name(name, "xdigit"))
        return add_ascii(r, "0123456789abcdefABCDEF");
    if (is_name(name, "punct"))
        return add_term(r, (term){TERM_CATEGORIES, PUNCTUATION, 0}) && add_ascii(r, "$+<=>^`|~") &&
               add_term(r, (term){TERM_OR, 0, 0});
    if (is_name(name, "blank"))
        return add_term(r, (term){TERM_CATEGORIES, BIT(ZS), 0}) && add_ascii(r, "\t") &&
               add_term(r, (term){TERM_OR, 0, 0});
    const char *equals = strchr(name, '=');
    const char *script = equals ? equals + 1 : name;
    const int32_t number = sm_script_named(script, strlen(script));
    if (number < 0)
        return refuse(r, "a property of that name");
    return add_term(r, (term){TERM_SCRIPT, (uint32_t)number, 0});
}

static bool add_named(reader *r, const char *name) {
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (is_name(name, categories[i].name) || is_name(name, categories[i].full))
            return add_term(r, (term){TERM_CATEGORIES, categories[i].bits, 0});
    if (memcmp(name, "gc=", 3) == 0)
        return add_named(r, name + 3);
    return add_named_other(r, name);
}

/* A name up to `end`, in lower case without what parts words; after a sign of negation. */
static bool take_name(reader *r, char end, char name[64], bool *negated) {
    uint32_t n = 0;
    *negated = take(r, "^");
    while (more(r) && r->text[r->at] != (uint8_t)end && n < 63) {
        const char c = (char)r->text[r->at++];
        if (c != '_' && c != ' ' && c != '-')
            name[n++] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    name[n] = 0;
    return more(r) && r->text[r->at] == (uint8_t)end && n ? true : refuse(r, "such a property");
}

/* Behind \p or \P. */
static bool take_property(reader *r, bool negated) {
    char name[64];
    bool also = false;
    if (take(r, "{")) {
        if (!take_name(r, '}', name, &also))
            return false;
        r->at++;
    } else if (more(r)) {
        const uint8_t c = r->text[r->at++];
        name[0] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        name[1] = 0;
    } else {
        return broken(r, "\\p without a name");
    }
    return add_named(r, name) && (negated == also || add_term(r, (term){TERM_NOT, 0, 0}));
}

/* The class that letter c behind a backslash is, if it is one (*is). */
static bool take_class_letter(reader *r, char c, bool *is) {
    *is = strchr("dDsSwWhHpP", c) != NULL && c;
    if (!*is)
        return true;
    const bool negated = c >= 'A' && c <= 'Z';
    bool ok = false;
    switch (negated ? c + ('a' - 'A') : c) {
    case 'd':
        ok = add_term(r, (term){TERM_CATEGORIES, BIT(ND), 0});
        break;
    case 's':
        ok = add_space(r);
        break;
    case 'w':
        ok = add_term(r, (term){TERM_WORD, 0, 0});
        break;
    case 'h':
        ok = add_ascii(r, "0123456789abcdefABCDEF");
        break;
    default:
        return take_property(r, negated);
    }
    return ok && (!negated || add_term(r, (term){TERM_NOT, 0, 0}));
}

/* The character that an escape stands for, whose first letter, c, was read. */
static bool take_escape(reader *r, char c, uint32_t *code) {
    static const char letters[] = "tnrfvae", codes[] = "\t\n\r\f\v\a\x1B";
    const char *known = c ? strchr(letters, c) : NULL;
    if (known) {
        *code = (uint8_t)codes[known - letters];
        return true;
    }
    if (c == 'x' || c == 'u') {
        const bool braces = take(r, "{");
        if (!take_number(r, 16, braces ? 8 : c == 'x' ? 2 : 4, code))
            return broken(r, "an escape without digits");
        return !braces || take(r, "}") || broken(r, "an escape without its end");
    }
    if (c == '0')
        return take_number(r, 8, 2, code) || !r->status;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
        char what[] = "\\? ";
        what[1] = c;
        what[2] = 0;
        return refuse(r, what);
    }
    r->at--;
    *code = take_code(r);
    return true;
}

typedef struct level {
    bool negated, any, joins; /* joins: a union waits left of && */
} level;

/* One more operand of a union. */
static bool joined(reader *r, level *l) {
    const bool ok = !l->any || add_term(r, (term){TERM_OR, 0, 0});
    l->any = true;
    return ok;
}

/* The end of a union: what && waits for, or the whole. */
static bool end_union(reader *r, level *l) {
    if (!l->any)
        return broken(r, "an empty class");
    return !l->joins || add_term(r, (term){TERM_AND, 0, 0});
}

/* One character of a class, or the first of a range, or a class of its own (*is_class). */
static bool take_member(reader *r, uint32_t *code, bool *is_class) {
    *is_class = false;
    if (!take(r, "\\")) {
        *code = take_code(r);
        return true;
    }
    if (!more(r))
        return broken(r, "a backslash at the end");
    const char c = (char)r->text[r->at++];
    if (c == 'b') {
        *code = '\b';
        return true;
    }
    return take_class_letter(r, c, is_class) && (*is_class || take_escape(r, c, code));
}

static bool take_members(reader *r, level *l) {
    uint32_t low, high;
    bool is_class;
    if (!take_member(r, &low, &is_class))
        return false;
    if (is_class)
        return joined(r, l);
    high = low;
    if (next_is(r, "-") && !next_is(r, "-]") && r->at + 1 < r->length) {
        r->at++;
        if (!take_member(r, &high, &is_class))
            return false;
        if (is_class || high < low)
            return broken(r, "a range without an end");
    }
    return add_ranges(r, low, high) && joined(r, l);
}

static bool take_posix(reader *r, level *l) {
    char name[64];
    bool negated;
    r->at += 2;
    if (!take_name(r, ':', name, &negated) || !take(r, ":]"))
        return refuse(r, "such a class");
    return add_named(r, name) && (!negated || add_term(r, (term){TERM_NOT, 0, 0})) && joined(r, l);
}

/* What stands between brackets; the first is read. */
static bool take_class(reader *r, uint32_t *set) {
    level levels[8];
    const uint32_t at = r->p->n_terms;
    int32_t n = 0;
    levels[0] = (level){take(r, "^"), false, false};
    for (bool first = true; more(r) && n >= 0; first = false) {
        level *l = &levels[n];
        if (next_is(r, "[:") && memchr(r->text + r->at, ']', (size_t)(r->length - r->at)) &&
            r->at + 2 < r->length) {
            (void)take_posix(r, l);
        } else if (next_is(r, "[")) {
            r->at++;
            if (n == 7)
                return refuse(r, "a class so deep");
            levels[++n] = (level){take(r, "^"), false, false};
            first = true;
        } else if (take(r, "&&")) {
            if (!end_union(r, l))
                return false;
            l->joins = true;
            l->any = false;
        } else if (next_is(r, "]") && !(first && !l->any)) {
            r->at++;
            if (!end_union(r, l) || (l->negated && !add_term(r, (term){TERM_NOT, 0, 0})))
                return false;
            if (--n >= 0)
                (void)joined(r, &levels[n]);
        } else {
            (void)take_members(r, l);
        }
    }
    if (r->status)
        return false;
    return n < 0 ? add_set(r, at, set) : broken(r, "a class without its end");
}

/* ---- atoms ----------------------------------------------------------------------------------- */

static bool begin_atom(reader *r) {
    r->atom = r->p->n_code;
    return true;
}

static bool emit_set(reader *r, uint32_t set) {
    return begin_atom(r) && emit(r, (instruction){.op = OP_SET, .a = set});
}

static bool emit_char(reader *r, uint32_t code) {
    uint32_t others[8], set;
    if (code > 0x10FFFF)
        return broken(r, "bytes that are not UTF-8");
    if (r->fold && other_cases(code, others)) {
        const uint32_t at = r->p->n_terms;
        return add_ranges(r, code, code) && add_set(r, at, &set) && emit_set(r, set);
    }
    instruction i = {.op = OP_CHAR};
    uint8_t bytes[4] = {0};
    i.b = sm_utf8_encode(code, bytes);
    memcpy(&i.a, bytes, 4);
    return begin_atom(r) && emit(r, i);
}

static bool emit_edge(reader *r, op what) {
    r->atom = NO_ATOM;
    return emit(r, (instruction){.op = what});
}

static bool take_dot(reader *r) {
    const uint32_t at = r->p->n_terms;
    uint32_t set;
    bool ok = r->dot_all ? add_term(r, (term){TERM_CATEGORIES, UINT32_MAX, 0})
                         : add_range(r, '\n', '\n') &&
                               add_term(r, (term){TERM_RANGES, r->p->n_ranges - 1, 1}) &&
                               add_term(r, (term){TERM_NOT, 0, 0});
    return ok && add_set(r, at, &set) && emit_set(r, set);
}

static bool take_backslash(reader *r) {
    static const struct {
        char letter;
        op what;
    } edges[] = {{'b', OP_WORD_EDGE},
                 {'B', OP_NO_WORD_EDGE},
                 {'A', OP_TEXT_BEGIN},
                 {'z', OP_TEXT_END},
                 {'Z', OP_TEXT_LAST}};
    if (r->at >= r->length)
        return broken(r, "a backslash at the end");
    const char c = (char)r->text[r->at++];
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        if (edges[i].letter == c)
            return emit_edge(r, edges[i].what);
    const uint32_t at = r->p->n_terms;
    uint32_t set, code = 0;
    bool is_class;
    if (!take_class_letter(r, c, &is_class))
        return false;
    if (is_class)
        return add_set(r, at, &set) && emit_set(r, set);
    return take_escape(r, c, &code) && emit_char(r, code);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* How many characters a branch of a look behind has. */
static bool width(reader *r, uint32_t from, uint32_t *chars) {
    *chars = 0;
    for (uint32_t i = from; i < r->p->n_code; i++) {
        const instruction *c = &r->p->code[i];
        if (c->op == OP_CHAR || c->op == OP_SET)
            ++*chars;
        else if (c->op == OP_RUN && c->min == c->max)
            *chars += c->min;
        else if (c->op < OP_LINE_BEGIN)
            return refuse(r, "a look behind of varying length");
    }
    return true;
}

static bool end_branch(reader *r, group *g) {
    uint32_t chars;
    if (g->kind != GROUP_BEHIND)
        return true;
    return width(r, g->branch, &chars) &&
           insert(r, g->branch, (instruction){.op = OP_BACK, .a = chars});
}

/* At a |. */
static bool next_branch(reader *r) {
    group *g = &r->groups[r->depth];
    if (!end_branch(r, g) || !insert(r, g->branch, (instruction){.op = OP_SPLIT, .a = 1}) ||
        !emit(r, (instruction){.op = OP_OUT, .a = r->depth}))
        return false;
    r->p->code[g->branch].b = r->p->n_code - g->branch;
    g->branch = r->p->n_code;
    r->atom = NO_ATOM;
    return true;
}

static void end_jumps(reader *r, uint32_t from) {
    for (uint32_t i = from; i < r->p->n_code; i++)
        if (r->p->code[i].op == OP_OUT && r->p->code[i].a == r->depth)
            r->p->code[i] = (instruction){.op = OP_JUMP, .a = r->p->n_code - i};
}

static bool open_group(reader *r, group_kind kind, bool negative) {
    if (r->depth + 1 == MAX_DEPTH)
        return refuse(r, "a group so deep");
    group *g = &r->groups[++r->depth];
    *g = (group){.kind = kind,
                 .begin = r->p->n_code,
                 .fold = r->fold,
                 .dot_all = r->dot_all,
                 .multi_line = r->multi_line};
    if (kind != GROUP_PLAIN &&
        !emit(r, (instruction){.op = kind == GROUP_ATOM ? OP_ATOM : OP_LOOK, .negative = negative}))
        return false;
    g->branch = r->p->n_code;
    r->atom = NO_ATOM;
    return true;
}

static bool close_group(reader *r) {
    if (!r->depth)
        return broken(r, "a parenthesis that closes nothing");
    group *g = &r->groups[r->depth];
    if (!end_branch(r, g))
        return false;
    end_jumps(r, g->begin);
    if (g->kind != GROUP_PLAIN) {
        if (!emit(r, (instruction){.op = OP_LEAVE}))
            return false;
        r->p->code[g->begin].a = r->p->n_code - g->begin;
    }
    r->fold = g->fold;
    r->dot_all = g->dot_all;
    r->multi_line = g->multi_line;
    r->atom = g->kind == GROUP_PLAIN || g->kind == GROUP_ATOM ? g->begin : NO_ATOM;
    r->depth--;
    return true;
}

static bool set_flag(reader *r, char c, bool on) {
    const bool ruby = r->dialect == SM_DIALECT_ONIGURUMA;
    if (c == 'i')
        r->fold = on;
    else if (c == (ruby ? 'm' : 's'))
        r->dot_all = on;
    else if (c == 'm')
        r->multi_line = on;
    else if (!(c == 'u' && on))
        return refuse(r, "such a flag");
    return true;
}

/* (?i) and (?i:; what comes before is read up to the question mark. */
static bool take_flags(reader *r) {
    const bool fold = r->fold, dot_all = r->dot_all, multi_line = r->multi_line;
    const bool first = r->p->n_code == r->groups[r->depth].branch &&
                       r->groups[r->depth].branch ==
                           r->groups[r->depth].begin + (r->groups[r->depth].kind != GROUP_PLAIN);
    bool on = true;
    while (more(r) && r->text[r->at] != ')' && r->text[r->at] != ':') {
        const char c = (char)r->text[r->at++];
        if (c == '-')
            on = false;
        else if (!set_flag(r, c, on))
            return false;
    }
    if (take(r, ")")) {
        r->atom = NO_ATOM;
        return first || refuse(r, "a flag that is not at the beginning of a group");
    }
    if (!take(r, ":") || !open_group(r, GROUP_PLAIN, false))
        return broken(r, "a group without its end");
    r->groups[r->depth].fold = fold;
    r->groups[r->depth].dot_all = dot_all;
    r->groups[r->depth].multi_line = multi_line;
    return true;
}

static bool take_group(reader *r) {
    static const struct {
        const char *mark;
        group_kind kind;
        bool negative;
    } kinds[] = {{"?:", GROUP_PLAIN, false},   {"?>", GROUP_ATOM, false},
                 {"?=", GROUP_LOOK, false},    {"?!", GROUP_LOOK, true},
                 {"?<=", GROUP_BEHIND, false}, {"?<!", GROUP_BEHIND, true}};
    if (take(r, "?#")) {
        while (more(r) && r->text[r->at] != ')')
            r->at++;
        return take(r, ")") || broken(r, "a comment without its end");
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (take(r, kinds[i].mark))
            return open_group(r, kinds[i].kind, kinds[i].negative);
    if (take(r, "?<") || take(r, "?P<")) {
        while (more(r) && r->text[r->at] != '>')
            r->at++;
        return take(r, ">") ? open_group(r, GROUP_PLAIN, false)
                            : broken(r, "a name without its end");
    }
    if (next_is(r, "?(") || next_is(r, "?~") || next_is(r, "?|"))
        return refuse(r, "a condition, an absence or a reset");
    if (take(r, "?"))
        return take_flags(r);
    return open_group(r, GROUP_PLAIN, false);
}

/* ---- quantifiers ----------------------------------------------------------------------------- */

typedef struct quantifier {
    uint32_t min, max;
    bool lazy, possessive;
} quantifier;

/* A single character's set. */
static bool set_of(reader *r, const instruction *i, uint32_t *set) {
    *set = i->a;
    if (i->op == OP_SET)
        return true;
    const uint32_t at = r->p->n_terms, first = r->p->n_ranges;
    uint8_t bytes[4];
    uint32_t code;
    memcpy(bytes, &i->a, 4);
    (void)sm_utf8_decode(bytes, i->b, &code);
    return add_range(r, code, code) && add_term(r, (term){TERM_RANGES, first, 1}) &&
           add_set(r, at, set);
}

static bool repeat_one(reader *r, quantifier q) {
    instruction *i = &r->p->code[r->atom];
    uint32_t set;
    if (!set_of(r, i, &set))
        return false;
    *i = (instruction){.op = OP_RUN,
                       .a = set,
                       .min = q.min,
                       .max = q.max,
                       .lazy = q.lazy,
                       .possessive = q.possessive};
    return true;
}

static bool emit_all(reader *r, const instruction *block, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!emit(r, block[i]))
            return false;
    return true;
}

static bool emit_split(reader *r, uint32_t skip, bool lazy) {
    return emit(r, lazy ? (instruction){.op = OP_SPLIT, .a = skip, .b = 1}
                        : (instruction){.op = OP_SPLIT, .a = 1, .b = skip});
}

/* A loop without end of the block. */
static bool emit_loop(reader *r, const instruction *block, uint32_t n, bool lazy) {
    if (r->n_registers == MAX_REGISTERS)
        return refuse(r, "a pattern with so many loops");
    const uint32_t own = r->n_registers++;
    return emit_split(r, n + 4, lazy) && emit(r, (instruction){.op = OP_MARK, .b = own}) &&
           emit_all(r, block, n) && emit(r, (instruction){.op = OP_CHECK, .a = 2, .b = own}) &&
           emit(r, (instruction){.op = OP_JUMP, .a = 0U - (n + 3)});
}

static bool repeat_block(reader *r, const instruction *block, uint32_t n, quantifier q) {
    bool ok = !q.possessive || emit(r, (instruction){.op = OP_ATOM});
    const uint32_t begin = r->p->n_code - 1;
    for (uint32_t i = 0; i < q.min && ok; i++)
        ok = emit_all(r, block, n);
    if (ok && q.max == ENDLESS)
        ok = emit_loop(r, block, n, q.lazy);
    for (uint32_t i = q.min; q.max != ENDLESS && i < q.max && ok; i++)
        ok = emit_split(r, (q.max - i) * (n + 1), q.lazy) && emit_all(r, block, n);
    if (!ok || !q.possessive)
        return ok;
    if (!emit(r, (instruction){.op = OP_LEAVE}))
        return false;
    r->p->code[begin].a = r->p->n_code - begin;
    return true;
}

static bool repeat(reader *r, quantifier q) {
    const uint32_t n = r->p->n_code - r->atom;
    const op what = r->p->code[r->atom].op;
    if (n == 1 && (what == OP_CHAR || what == OP_SET))
        return repeat_one(r, q);
    if ((uint64_t)n * (q.max == ENDLESS ? q.min + 1 : q.max) > MAX_CODE)
        return refuse(r, "a repetition of that size");
    instruction *block = sm_alloc_array(r->mem, n, sizeof *block);
    if (!block)
        return no_memory(r);
    memcpy(block, r->p->code + r->atom, n * sizeof *block);
    r->p->n_code = r->atom;
    const bool ok = repeat_block(r, block, n, q);
    sm_free(r->mem, block);
    return ok;
}

/* {2}, {2,}, {2,3}, {,3}: nothing is read if it is none of these (*is). */
static bool take_bounds(reader *r, quantifier *q, bool *is) {
    const uint64_t begin = r->at;
    r->at++;
    bool any = take_number(r, 10, 5, &q->min);
    q->max = q->min;
    if (take(r, ",")) {
        q->max = ENDLESS;
        uint32_t max;
        if (take_number(r, 10, 5, &max)) {
            q->max = max;
            any = true;
        }
    }
    *is = any && take(r, "}");
    if (!*is)
        r->at = begin;
    else if (q->max < q->min)
        return broken(r, "a repetition whose bounds are turned round");
    return !r->status;
}

/* The quantifiers behind an atom. */
static bool take_quantifiers(reader *r) {
    while (more(r) && r->atom != NO_ATOM) {
        quantifier q = {0, 1, false, false};
        bool bounds = false;
        if (take(r, "*"))
            q.max = ENDLESS;
        else if (take(r, "+"))
            q = (quantifier){1, ENDLESS, false, false};
        else if (!take(r, "?")) {
            if (!next_is(r, "{"))
                return true;
            if (!take_bounds(r, &q, &bounds) || !bounds)
                return !r->status;
        }
        const bool ruby_bounds = bounds && r->dialect == SM_DIALECT_ONIGURUMA;
        if (ruby_bounds && next_is(r, "?") && q.min == q.max)
            return refuse(r, "{n}?");
        q.lazy = take(r, "?");
        q.possessive = !q.lazy && !ruby_bounds && take(r, "+");
        if (!repeat(r, q))
            return false;
    }
    return !r->status;
}

/* ---- what matches begin with ----------------------------------------------------------------- */

static void begin_with_set(begin_set *to, const sm_char_test *set) {
    for (uint32_t c = 0; c < 128; c++)
        to->bytes[c] |= set->ascii[c];
    for (uint32_t c = 0xC2; set->n && c < 0xF5; c++) /* a set may have any of these */
        to->bytes[c] = 1;
}

/* Where one may go from an instruction that takes nothing, in to[2]. */
static uint32_t go_from(const sm_pattern *p, uint32_t pc, uint32_t to[2]) {
    const instruction *i = &p->code[pc];
    to[0] = pc + 1;
    if (i->op == OP_JUMP || i->op == OP_LOOK) /* what a look sees is left out */
        to[0] = pc + i->a;
    if (i->op == OP_SPLIT)
        to[0] = pc + i->a, to[1] = pc + i->b;
    if (i->op == OP_CHECK)
        to[1] = pc + i->a;
    return i->op == OP_SPLIT || i->op == OP_CHECK ? 2 : 1;
}

/* Follows one way; true where it goes on from there without a character. */
static bool takes_nothing(const sm_pattern *p, uint32_t pc, begin_set *to) {
    const instruction *i = &p->code[pc];
    uint8_t byte;
    switch (i->op) {
    case OP_MATCH:
        to->any = true;
        return false;
    case OP_CHAR:
        memcpy(&byte, &i->a, 1);
        to->bytes[byte] = 1;
        return false;
    case OP_SET:
        begin_with_set(to, &p->sets[i->a]);
        return false;
    case OP_RUN:
        if (i->max)
            begin_with_set(to, &p->sets[i->a]);
        return i->min == 0;
    case OP_BACK: /* inside a look, where nobody begins */
        to->any = true;
        return false;
    case OP_LEAVE: /* out of an atom, or of a look that a split is inside of: whatever comes */
        to->any = true;
        return false;
    default:
        return true;
    }
}

static void find_begins(const sm_pattern *p, uint32_t from, begin_set *to, uint32_t *stack,
                        uint8_t *seen) {
    uint32_t n = 0, next[2];
    memset(seen, 0, p->n_code);
    stack[n++] = from;
    seen[from] = 1;
    while (n) {
        const uint32_t pc = stack[--n];
        if (!takes_nothing(p, pc, to))
            continue;
        const uint32_t ways = go_from(p, pc, next);
        for (uint32_t i = 0; i < ways; i++)
            if (!seen[next[i]]) {
                seen[next[i]] = 1;
                stack[n++] = next[i];
            }
    }
}

/* The number of what leads to the match and nothing else: jumps. */
static bool leads_to_match(const sm_pattern *p, uint32_t pc) {
    while (p->code[pc].op == OP_JUMP && (int32_t)p->code[pc].a > 0)
        pc += p->code[pc].a;
    return p->code[pc].op == OP_MATCH;
}

static bool make_begins(reader *r) {
    sm_pattern *p = r->p;
    uint32_t splits = 0;
    for (uint32_t i = 0; i < p->n_code; i++)
        splits += p->code[i].op == OP_SPLIT;
    if (splits > 400)
        return refuse(r, "a pattern with so many alternatives");
    p->n_begins = 1 + 2 * splits;
    p->begins = sm_alloc_zero(r->mem, p->n_begins * sizeof *p->begins);
    uint32_t *stack = sm_alloc_array(r->mem, p->n_code, sizeof *stack);
    uint8_t *seen = sm_alloc(r->mem, p->n_code);
    const bool ok = p->begins && stack && seen;
    if (ok)
        find_begins(p, 0, &p->begins[0], stack, seen);
    for (uint32_t i = 0, next = 1; i < p->n_code && ok; i++) {
        instruction *c = &p->code[i];
        c->last = leads_to_match(p, i + 1 < p->n_code ? i + 1 : i);
        if (c->op != OP_SPLIT)
            continue;
        c->min = next;
        find_begins(p, i + c->a, &p->begins[next++], stack, seen);
        find_begins(p, i + c->b, &p->begins[next++], stack, seen);
    }
    sm_free(r->mem, stack);
    sm_free(r->mem, seen);
    return ok || no_memory(r);
}

/* ---- patterns -------------------------------------------------------------------------------- */

static bool take_one(reader *r) {
    const bool lines = r->dialect == SM_DIALECT_ONIGURUMA || r->multi_line;
    const uint8_t c = r->text[r->at];
    uint32_t set;
    switch (c) {
    case '|':
        r->at++;
        return next_branch(r);
    case '(':
        r->at++;
        return take_group(r);
    case ')':
        r->at++;
        return close_group(r);
    case '[':
        r->at++;
        return take_class(r, &set) && emit_set(r, set);
    case '.':
        r->at++;
        return take_dot(r);
    case '^':
        r->at++;
        return emit_edge(r, lines ? OP_LINE_BEGIN : OP_TEXT_BEGIN);
    case '$':
        r->at++;
        return emit_edge(r, lines ? OP_LINE_END : OP_TEXT_END);
    case '\\':
        r->at++;
        return take_backslash(r);
    case '*':
    case '+':
    case '?':
        return broken(r, "a quantifier of nothing");
    default:
        return emit_char(r, take_code(r));
    }
}

static bool read_all(reader *r) {
    r->groups[0] = (group){.kind = GROUP_PLAIN};
    while (more(r))
        if (!take_one(r) || !take_quantifiers(r))
            return false;
    if (r->status)
        return false;
    if (r->depth)
        return broken(r, "a group without its end");
    end_jumps(r, 0);
    return emit(r, (instruction){.op = OP_MATCH}) && make_begins(r);
}

static bool read_literal(reader *r) {
    while (more(r))
        if (!emit_char(r, take_code(r)))
            return false;
    return emit(r, (instruction){.op = OP_MATCH}) && make_begins(r);
}

static sm_status make(sm_pattern **out, reader *r, bool (*read)(reader *r)) {
    *out = NULL;
    r->atom = NO_ATOM;
    r->p = sm_alloc_zero(r->mem, sizeof *r->p);
    if (!r->p)
        return sm_fail(r->error, SM_ERR_NOMEM, "out of memory");
    if (!read(r)) {
        sm_pattern_free(r->p, r->mem);
        return r->status;
    }
    *out = r->p;
    return SM_OK;
}

sm_status sm_pattern_new(sm_pattern **out, sm_mem *mem, sm_str text, sm_dialect dialect,
                         const char *place, sm_error *error) {
    reader r = {.mem = mem,
                .error = error,
                .place = place,
                .text = (const uint8_t *)text.data,
                .length = text.length,
                .dialect = dialect};
    *out = NULL;
    if (text.length > MAX_TEXT)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: a pattern of %llu bytes", place,
                       (unsigned long long)text.length);
    return make(out, &r, read_all);
}

sm_status sm_pattern_new_literal(sm_pattern **out, sm_mem *mem, sm_str text, sm_error *error) {
    reader r = {.mem = mem,
                .error = error,
                .place = "a text",
                .text = (const uint8_t *)text.data,
                .length = text.length};
    return make(out, &r, read_literal);
}
