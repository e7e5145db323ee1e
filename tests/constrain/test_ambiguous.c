/* Grammars that are ambiguous at every byte, and rules that begin with themselves: thousands of
 * bytes within a bound of memory, and grammars drawn at random against the sets of their texts.
 * Over bytes, without a vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smallmind/smallmind.h"
#include "support.h"

static sm_constraint *compile(const char *grammar, uint64_t memory) {
    const sm_constraint_options o = {.struct_size = sizeof o, .memory_limit = memory};
    sm_constraint *c;
    sm_error error = {0};
    if (sm_constraint_new(&c, NULL, SM_CONSTRAINT_GRAMMAR, grammar, strlen(grammar), &o, &error))
        fail_msg("%s: %s", grammar, error.message);
    return c;
}

/* ---- long texts ------------------------------------------------------------------------------ */

typedef struct text_case {
    const char *grammar, *unit, *end; /* unit, over and over, then end, is a whole text */
    const char *wrong;                /* behind the units it may not come */
} text_case;

static const text_case cases[] = {
    {"root ::= \"a\" root root | \"a\"", "aa", "a", "b"},
    {"root ::= \"a\" root root | \"a\" | \"\"", "a", "", "b"},
    {"root ::= root root | \"a\"", "a", "", "b"},
    {"root ::= root root root | root root | \"a\" | \"\"", "a", "", "b"},
    {"root ::= root \"+\" root | root \"*\" root | \"(\" root \")\" | [0-9]", "1+2*", "3", "*"},
    {"root ::= root \"+\" root | root \"*\" root | \"(\" root \")\" | [0-9]", "1*(2)+", "3", ")"},
    {"root ::= \"i\" root | \"i\" root \"e\" root | \"x\"", "i", "xexex",
     "xee"},                                                                  /* dangling else */
    {"root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"\"", "abba", "", "c"}, /* even palindromes */
    {"root ::= \"a\" root \"b\" root | \"\"", "ab", "", "b"},
    {"root ::= a a a\na ::= \"x\" a | a \"x\" | \"\"", "x", "", "y"},
    {"root ::= expr\nexpr ::= expr ws \"-\" ws expr | num | \"-\" expr\nnum ::= num [0-9] | "
     "[0-9]\nws ::= \" \" ws | ws \" \" | \"\"",
     "12 -  ", "3", "x"},
    {"root ::= a \"x\" | \"y\"\na ::= b \"p\" | root\nb ::= a \"q\" | root \"r\"", "y", "", NULL},
    {"root ::= ((\"a\" root)* \"a\")* | \"b\"", "a", "", "c"},
};

static void test_long(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const text_case *t = &cases[i];
        sm_constraint *c = compile(t->grammar, 64 << 20);
        sm_constraint_state *s;
        sm_error error = {0};
        const size_t unit = strlen(t->unit), most = t->wrong ? test_share(2500, 400) : 1;
        assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
        for (size_t n = 0; n < most; n += unit)
            if (sm_constraint_accept_text(s, t->unit, unit, &error))
                fail_msg("%s: byte %zu: %s", t->grammar, n, error.message);
        if (t->wrong)
            assert_int_equal(sm_constraint_accept_text(s, t->wrong, strlen(t->wrong), NULL),
                             SM_ERR_ARGUMENT);
        assert_int_equal(sm_constraint_accept_text(s, t->end, strlen(t->end), NULL), SM_OK);
        assert_int_equal(sm_constraint_can_end(s), 1);
        sm_constraint_state_free(s);
        sm_constraint_free(c);
    }
}

/* In one call as well. */
static void test_at_once(void **state) {
    (void)state;
    sm_constraint *c = compile("root ::= \"a\" root? root? root? | \"b\"", 64 << 20);
    sm_constraint_state *s;
    char text[1000];
    memset(text, 'a', sizeof text);
    assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
    assert_int_equal(sm_constraint_accept_text(s, text, test_share(sizeof text, 100), NULL), SM_OK);
    assert_int_equal(sm_constraint_can_end(s), 1);
    sm_constraint_state_free(s);
    sm_constraint_free(c);
}

/* ---- grammars at random ---------------------------------------------------------------------- */

#define LONGEST 5 /* texts of a and b up to this length: 63, which are the bits of a set */
#define N_RULES 4

typedef struct expr {
    enum { TEXT, RULE, SEQ, ALT, REPEAT } kind;
    uint64_t set; /* of TEXT */
    uint32_t a, b;
    uint32_t min, max; /* of REPEAT; max 9: without end */
} expr;

typedef struct grammar {
    expr e[256];
    uint32_t n, n_rules;
    uint64_t set[N_RULES], seed;
    char text[8192];
} grammar;

static uint32_t draw(grammar *g, uint32_t n) {
    g->seed = g->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(g->seed >> 33) % n;
}

static uint64_t text_bit(uint32_t length, uint32_t value) {
    return (uint64_t)1 << ((1u << length) - 1 + value);
}

/* Texts of x with one of y behind, as far as they are kept. */
static uint64_t behind(uint64_t x, uint64_t y) {
    uint64_t out = 0;
    for (uint32_t n = 0; n <= LONGEST; n++)
        for (uint32_t v = 0; v < 1u << n; v++)
            for (uint32_t m = 0; x & text_bit(n, v) && m + n <= LONGEST; m++)
                for (uint32_t w = 0; w < 1u << m; w++)
                    if (y & text_bit(m, w))
                        out |= text_bit(n + m, v << m | w);
    return out;
}

static uint64_t set_of(const grammar *g, uint32_t at) {
    const expr *e = &g->e[at];
    uint64_t x, out, power = text_bit(0, 0);
    switch (e->kind) {
    case TEXT:
        return e->set;
    case RULE:
        return g->set[e->a];
    case SEQ:
        return behind(set_of(g, e->a), set_of(g, e->b));
    case ALT:
        return set_of(g, e->a) | set_of(g, e->b);
    default:
        break;
    }
    x = set_of(g, e->a);
    for (uint32_t i = 0; i < e->min; i++)
        power = behind(power, x);
    out = power;
    for (uint32_t i = e->min; i < (e->max == 9 ? e->min + LONGEST : e->max); i++)
        out |= power = behind(power, x);
    return out;
}

static void put(grammar *g, const char *text) {
    strcat(g->text, text);
}

static uint32_t make_leaf(grammar *g, uint32_t at) {
    static const char *const texts[] = {"\"a\"", "\"b\"", "\"\"", "[ab]"};
    static const char *const rules[] = {"root", "x", "y", "z"};
    expr *e = &g->e[at];
    const uint32_t which = draw(g, 7);
    if (which < 3) {
        *e = (expr){.kind = RULE, .a = draw(g, g->n_rules)};
        put(g, rules[e->a]);
    } else {
        const uint64_t sets[] = {text_bit(1, 0), text_bit(1, 1), text_bit(0, 0),
                                 text_bit(1, 0) | text_bit(1, 1)};
        *e = (expr){.kind = TEXT, .set = sets[which - 3]};
        put(g, texts[which - 3]);
    }
    return at;
}

static uint32_t make(grammar *g, uint32_t depth) {
    static const struct {
        uint32_t min, max;
        const char *text;
    } counts[] = {{0, 9, "*"}, {1, 9, "+"}, {0, 1, "?"}, {2, 3, "{2,3}"}};
    const uint32_t at = g->n++, which = draw(g, 10);
    if (!depth || which < 3)
        return make_leaf(g, at);
    put(g, "(");
    const uint32_t a = make(g, depth - 1);
    if (which == 9) {
        const uint32_t k = draw(g, 4);
        put(g, ")");
        put(g, counts[k].text);
        g->e[at] = (expr){.kind = REPEAT, .a = a, .min = counts[k].min, .max = counts[k].max};
        return at;
    }
    put(g, which < 6 ? " " : " | ");
    const uint32_t b = make(g, depth - 1);
    put(g, ")");
    g->e[at] = (expr){.kind = which < 6 ? SEQ : ALT, .a = a, .b = b};
    return at;
}

static uint64_t texts_of(grammar *g) {
    static const char *const heads[] = {"root ::= ", "x ::= ", "y ::= ", "z ::= "};
    uint32_t body[N_RULES];
    bool changed = true;
    g->n = 0;
    g->text[0] = 0;
    g->n_rules = 1 + draw(g, N_RULES);
    for (uint32_t i = 0; i < g->n_rules; i++) {
        put(g, heads[i]);
        body[i] = make(g, 1 + draw(g, 3));
        put(g, "\n");
        g->set[i] = 0;
    }
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < g->n_rules; i++) {
            const uint64_t set = set_of(g, body[i]) | g->set[i];
            changed |= set != g->set[i];
            g->set[i] = set;
        }
    }
    return g->set[0];
}

static void compare(sm_constraint *c, const grammar *g, uint64_t set) {
    for (uint32_t n = 0; n <= LONGEST; n++)
        for (uint32_t v = 0; v < 1u << n; v++) {
            char text[LONGEST + 1] = {0};
            sm_constraint_state *s;
            for (uint32_t i = 0; i < n; i++)
                text[i] = v >> (n - 1 - i) & 1 ? 'b' : 'a';
            assert_int_equal(sm_constraint_state_new(&s, c, NULL), SM_OK);
            const bool is = sm_constraint_accept_text(s, text, n, NULL) == SM_OK &&
                            sm_constraint_can_end(s) == 1;
            if (is != ((set & text_bit(n, v)) != 0))
                fail_msg("%s\"%s\" is %s", g->text, text, is ? "taken" : "refused");
            sm_constraint_state_free(s);
        }
}

static void test_drawn(void **state) {
    (void)state;
    grammar g = {.seed = 17};
    uint32_t compared = 0;
    for (uint32_t i = 0; i < test_share(600, 60); i++) {
        const uint64_t set = texts_of(&g);
        sm_constraint *c;
        sm_error error = {0};
        const sm_status status = sm_constraint_new(&c, NULL, SM_CONSTRAINT_GRAMMAR, g.text,
                                                   strlen(g.text), NULL, &error);
        if (status && (set || !strstr(error.message, "matches no text")))
            fail_msg("%s%s", g.text, error.message);
        if (!status)
            compare(c, &g, set);
        compared += !status;
        sm_constraint_free(c);
    }
    assert_true(compared > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_long), cmocka_unit_test(test_at_once),
                                       cmocka_unit_test(test_drawn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
