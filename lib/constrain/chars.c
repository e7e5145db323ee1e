/* chars.c - characters as bytes: ranges of code points as UTF-8, and the properties of Unicode. */
#include "expr.h"

#include <string.h>

#define LAST_CODE 0x10FFFFu

/* ---- ranges (chars.c) ------------------------------------------------------------------------ */

static void sift(sm_range *x, uint64_t n, uint64_t i) {
    for (;;) {
        uint64_t most = i;
        for (uint64_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (x[child].first > x[most].first)
                most = child;
        if (most == i)
            return;
        const sm_range swap = x[i];
        x[i] = x[most];
        x[most] = swap;
        i = most;
    }
}

static void sort(sm_range *x, uint64_t n) {
    for (uint64_t i = n / 2; i-- > 0;)
        sift(x, n, i);
    for (uint64_t end = n; end-- > 1;) {
        const sm_range swap = x[0];
        x[0] = x[end];
        x[end] = swap;
        sift(x, end, 0);
    }
}

uint64_t sm_ranges_sort(sm_range *ranges, uint64_t n) {
    uint64_t sound = 0, kept = 0;
    for (uint64_t i = 0; i < n; i++)
        if (ranges[i].first <= ranges[i].last && ranges[i].first <= LAST_CODE)
            ranges[sound++] = (sm_range){ranges[i].first, min_u32(ranges[i].last, LAST_CODE)};
    sort(ranges, sound);
    for (uint64_t i = 0; i < sound; i++) {
        sm_range *last = kept ? &ranges[kept - 1] : NULL;
        if (!last || ranges[i].first > last->last + 1)
            ranges[kept++] = ranges[i];
        else if (ranges[i].last > last->last)
            last->last = ranges[i].last;
    }
    return kept;
}

uint64_t sm_ranges_invert(const sm_range *ranges, uint64_t n, sm_range *out) {
    uint64_t count = 0;
    uint32_t from = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (ranges[i].first > from)
            out[count++] = (sm_range){from, ranges[i].first - 1};
        from = ranges[i].last + 1;
    }
    if (from <= LAST_CODE)
        out[count++] = (sm_range){from, LAST_CODE};
    return count;
}

/* ---- as UTF-8 (chars.c) ---------------------------------------------------------------------- */

static sm_expr byte_range(sm_grammar *g, uint32_t first, uint32_t last) {
    uint64_t set[4] = {0};
    for (uint32_t b = first; b <= last; b++)
        set[b / 64] |= 1ULL << b % 64;
    return sm_expr_byte(g, set);
}

/* What k continuation bytes can be: all of them. */
static sm_expr any_tail(sm_grammar *g, uint32_t k) {
    if (k == 0)
        return sm_expr_empty(g);
    if (!g->tail[k])
        g->tail[k] = sm_expr_seq2(g, byte_range(g, 0x80, 0xBF), any_tail(g, k - 1));
    return g->tail[k];
}

/* A group of lead or continuation bytes after which the same follows. */
typedef struct group {
    uint64_t set[4];
    sm_expr rest;
} group;

static sm_expr join_groups(sm_grammar *g, const group *groups, uint32_t n) {
    sm_expr items[64];
    for (uint32_t i = 0; i < n; i++)
        items[i] = sm_expr_seq2(g, sm_expr_byte(g, groups[i].set), groups[i].rest);
    return sm_expr_alt(g, items, n);
}

static void put_group(group *groups, uint32_t *n, uint32_t byte, sm_expr rest) {
    uint32_t i = 0;
    while (i < *n && groups[i].rest != rest)
        i++;
    if (i == *n)
        groups[(*n)++] = (group){.rest = rest};
    groups[i].set[byte / 64] |= 1ULL << byte % 64;
}

/* The k continuation bytes of the codes base..base + 64^k - 1 that lie in the ranges. */
static sm_expr tail_of(sm_grammar *g, const sm_range *ranges, uint64_t n, uint32_t base,
                       uint32_t k) {
    const uint32_t last = base + (1U << 6 * k) - 1;
    while (n > 0 && ranges[0].last < base) {
        ranges++;
        n--;
    }
    if (n == 0 || ranges[0].first > last)
        return sm_expr_nothing(g);
    if (ranges[0].first <= base && ranges[0].last >= last)
        return any_tail(g, k);
    group groups[64];
    uint32_t n_groups = 0;
    for (uint32_t i = 0; i < 64; i++) {
        const uint32_t from = base + (i << 6 * (k - 1));
        const sm_expr rest = tail_of(g, ranges, n, from, k - 1); /* k <= 3 deep */
        if (rest == SM_EXPR_NONE)
            return rest;
        if (rest != SM_NOTHING)
            put_group(groups, &n_groups, 0x80 + i, rest);
    }
    return join_groups(g, groups, n_groups);
}

/* Characters of 1 + k bytes. */
static sm_expr chars_of(sm_grammar *g, const sm_range *ranges, uint64_t n, uint32_t k) {
    static const uint8_t lead[4] = {0, 0xC0, 0xE0, 0xF0}, last[4] = {0, 0xDF, 0xEF, 0xF4};
    group groups[64];
    uint32_t n_groups = 0;
    for (uint32_t b = lead[k]; b <= last[k]; b++) {
        const sm_expr rest = tail_of(g, ranges, n, (b - lead[k]) << 6 * k, k);
        if (rest == SM_EXPR_NONE)
            return rest;
        if (rest != SM_NOTHING)
            put_group(groups, &n_groups, b, rest);
    }
    return join_groups(g, groups, n_groups);
}

/* The part of sorted ranges within first..last. */
static uint64_t clip(const sm_range *ranges, uint64_t n, uint32_t first, uint32_t last,
                     sm_range *out) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) {
        const sm_range r = {ranges[i].first > first ? ranges[i].first : first,
                            min_u32(ranges[i].last, last)};
        if (r.first <= r.last)
            out[count++] = r;
    }
    return count;
}

static sm_expr ascii_of(sm_grammar *g, const sm_range *ranges, uint64_t n) {
    uint64_t set[4] = {0};
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t b = ranges[i].first; b <= ranges[i].last; b++)
            set[b / 64] |= 1ULL << b % 64;
    return sm_expr_byte(g, set);
}

/* part: room for n + 1. */
static sm_expr utf8_of(sm_grammar *g, const sm_range *ranges, uint64_t n, sm_range *part) {
    sm_expr items[4];
    items[0] = ascii_of(g, part, clip(ranges, n, 0, 0x7F, part));
    items[1] = chars_of(g, part, clip(ranges, n, 0x80, 0x7FF, part), 1);
    uint64_t count = clip(ranges, n, 0x800, 0xD7FF, part); /* no surrogates */
    count += clip(ranges, n, 0xE000, 0xFFFF, part + count);
    items[2] = chars_of(g, part, count, 2);
    items[3] = chars_of(g, part, clip(ranges, n, 0x10000, LAST_CODE, part), 3);
    return sm_expr_alt(g, items, 4);
}

/* Of a copy, sorted; inverted or not. */
static sm_expr chars_from(sm_grammar *g, const sm_range *ranges, uint64_t n, bool invert) {
    if (g->status)
        return SM_EXPR_NONE;
    sm_range *own = sm_alloc_array(g->mem, 3 * n + 4, sizeof *own);
    if (!own)
        return sm_grammar_nomem(g);
    if (n)
        memcpy(own, ranges, n * sizeof *own);
    n = sm_ranges_sort(own, n);
    sm_range *used = own;
    if (invert) {
        used = own + n;
        n = sm_ranges_invert(own, n, used);
    }
    const sm_expr e = utf8_of(g, used, n, used + n);
    sm_free(g->mem, own);
    return e;
}

sm_expr sm_expr_chars(sm_grammar *g, const sm_range *ranges, uint64_t n) {
    return chars_from(g, ranges, n, false);
}

sm_expr sm_expr_not_chars(sm_grammar *g, const sm_range *ranges, uint64_t n) {
    return chars_from(g, ranges, n, true);
}

/* ---- properties (chars.c) -------------------------------------------------------------------- */

#define OF(category) (1U << SM_CATEGORY_##category)
#define LETTERS (OF(LU) | OF(LL) | OF(LT) | OF(LM) | OF(LO))
#define MARKS (OF(MN) | OF(MC) | OF(ME))
#define NUMBERS (OF(ND) | OF(NL) | OF(NO))
#define PUNCTUATION (OF(PC) | OF(PD) | OF(PS) | OF(PE) | OF(PI) | OF(PF) | OF(PO))
#define SYMBOLS (OF(SM) | OF(SC) | OF(SK) | OF(SO))
#define SEPARATORS (OF(ZS) | OF(ZL) | OF(ZP))
#define OTHERS (OF(CC) | OF(CF) | OF(CS) | OF(CO) | OF(CN))

/* General categories, as UTS 18 and PropertyValueAliases.txt name them. */
static const struct {
    char name[4];
    const char *full;
    uint32_t mask;
} categories[] = {
    {"L", "Letter", LETTERS},
    {"LC", "Cased_Letter", OF(LU) | OF(LL) | OF(LT)},
    {"L&", "Cased_Letter", OF(LU) | OF(LL) | OF(LT)},
    {"Lu", "Uppercase_Letter", OF(LU)},
    {"Ll", "Lowercase_Letter", OF(LL)},
    {"Lt", "Titlecase_Letter", OF(LT)},
    {"Lm", "Modifier_Letter", OF(LM)},
    {"Lo", "Other_Letter", OF(LO)},
    {"M", "Mark", MARKS},
    {"M", "Combining_Mark", MARKS},
    {"Mn", "Nonspacing_Mark", OF(MN)},
    {"Mc", "Spacing_Mark", OF(MC)},
    {"Me", "Enclosing_Mark", OF(ME)},
    {"N", "Number", NUMBERS},
    {"Nd", "Decimal_Number", OF(ND)},
    {"Nd", "digit", OF(ND)},
    {"Nl", "Letter_Number", OF(NL)},
    {"No", "Other_Number", OF(NO)},
    {"P", "Punctuation", PUNCTUATION},
    {"P", "punct", PUNCTUATION},
    {"Pc", "Connector_Punctuation", OF(PC)},
    {"Pd", "Dash_Punctuation", OF(PD)},
    {"Ps", "Open_Punctuation", OF(PS)},
    {"Pe", "Close_Punctuation", OF(PE)},
    {"Pi", "Initial_Punctuation", OF(PI)},
    {"Pf", "Final_Punctuation", OF(PF)},
    {"Po", "Other_Punctuation", OF(PO)},
    {"S", "Symbol", SYMBOLS},
    {"Sm", "Math_Symbol", OF(SM)},
    {"Sc", "Currency_Symbol", OF(SC)},
    {"Sk", "Modifier_Symbol", OF(SK)},
    {"So", "Other_Symbol", OF(SO)},
    {"Z", "Separator", SEPARATORS},
    {"Zs", "Space_Separator", OF(ZS)},
    {"Zl", "Line_Separator", OF(ZL)},
    {"Zp", "Paragraph_Separator", OF(ZP)},
    {"C", "Other", OTHERS},
    {"Cc", "Control", OF(CC)},
    {"Cc", "cntrl", OF(CC)},
    {"Cf", "Format", OF(CF)},
    {"Cs", "Surrogate", OF(CS)},
    {"Co", "Private_Use", OF(CO)},
    {"Cn", "Unassigned", OF(CN)},
};

/* Properties that are no category: categories, and what they have beside them. */
static const struct {
    const char *name;
    uint32_t mask;
    sm_range more[12];
} properties[] = {
    {"Any", 0, {{0, LAST_CODE}}},
    {"ASCII", 0, {{0, 0x7F}}},
    {"ASCII_Hex_Digit", 0, {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
    {"Assigned", ~OF(CN), {{0, 0}}},
    {"White_Space", SEPARATORS, {{'\t', '\r'}, {0x85, 0x85}}},
    {"space", SEPARATORS, {{'\t', '\r'}, {0x85, 0x85}}},
    /* as UTS 18, annex C: Alphabetic, marks, decimal digits, connectors, joiners */
    {"word",
     LETTERS | MARKS | OF(ND) | OF(NL) | OF(PC),
     {{0x24B6, 0x24E9},
      {0x1F130, 0x1F149},
      {0x1F150, 0x1F169},
      {0x1F170, 0x1F189},
      {0x200C, 0x200D}}},
};

/* Whether two names are the same but for case, spaces, hyphens and underscores (UAX 44, LM3). */
static bool same_name(const char *a, uint64_t length, const char *b) {
    uint64_t i = 0;
    for (;;) {
        while (i < length && (a[i] == '_' || a[i] == '-' || a[i] == ' '))
            i++;
        while (*b == '_')
            b++;
        if (i == length || !*b)
            return i == length && !*b;
        if (lower_ascii(a[i++]) != lower_ascii(*b++))
            return false;
    }
}

static bool put_range(sm_grammar *g, uint32_t first, uint32_t last) {
    if (!sm_grammar_reserve(g, &g->property_ranges, &g->property_ranges_room,
                            g->n_property_ranges + 1, sizeof *g->property_ranges))
        return false;
    g->property_ranges[g->n_property_ranges++] = (sm_range){first, last};
    return true;
}

/* Where the block of equal characters ends that begins at code, for blocks that are long; else
 * code. */
static uint32_t block_end(uint32_t code) {
    static const sm_range blocks[] = {
        {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xAC00, 0xD7A3},     {0xD800, 0xDFFF},
        {0xE000, 0xF8FF},   {0x20000, 0x2A6DF}, {0x30000, 0x3134A},   {0x323B0, 0xE0000},
        {0xE01F0, 0xEFFFF}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i].first == code)
            return blocks[i].last;
    return code;
}

static uint32_t category_bit(uint32_t code) {
    return 1U << sm_category_of(code);
}

/* All characters of these categories, appended. */
static bool put_categories(sm_grammar *g, uint32_t mask) {
    uint32_t first = 0;
    bool inside = false;
    for (uint32_t code = 0; code <= LAST_CODE; code = block_end(code) + 1) {
        const bool here = mask & category_bit(code);
        if (here && !inside)
            first = code;
        if (!here && inside && !put_range(g, first, code - 1))
            return false;
        inside = here;
    }
    return !inside || put_range(g, first, LAST_CODE);
}

static bool put_property(sm_grammar *g, const char *name, uint64_t length) {
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (same_name(name, length, categories[i].name) ||
            same_name(name, length, categories[i].full))
            return put_categories(g, categories[i].mask);
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (!same_name(name, length, properties[i].name))
            continue;
        if (properties[i].mask && !put_categories(g, properties[i].mask))
            return false;
        for (const sm_range *r = properties[i].more; r->last; r++)
            if (!put_range(g, r->first, r->last))
                return false;
        return true;
    }
    return false;
}

bool sm_property_find(sm_grammar *g, const char *name, uint64_t length, uint64_t *at, uint64_t *n) {
    for (uint64_t i = 0; i < g->n_properties; i++)
        if (same_text(name, length, g->properties[i].name)) {
            *at = g->properties[i].at;
            *n = g->properties[i].n;
            return true;
        }
    const uint64_t from = g->n_property_ranges;
    if (length >= sizeof g->properties->name || !put_property(g, name, length) ||
        !sm_grammar_reserve(g, &g->properties, &g->properties_room, g->n_properties + 1,
                            sizeof *g->properties))
        return false;
    *n = sm_ranges_sort(g->property_ranges + from, g->n_property_ranges - from);
    *at = from;
    g->n_property_ranges = from + *n;
    sm_property *p = &g->properties[g->n_properties++];
    memcpy(p->name, name, length);
    p->name[length] = 0;
    p->at = (uint32_t)*at;
    p->n = (uint32_t)*n;
    return true;
}
