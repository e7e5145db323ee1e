/* The expression language: what expressions match, what is one and the same, what is refused. */
#include "constrain/grammar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "support.h"

static sm_mem mem;

static sm_grammar *grammar(void) {
    sm_grammar *g;
    assert_int_equal(sm_grammar_new(&g, &mem, NULL), SM_OK);
    return g;
}

static bool matches(sm_grammar *g, sm_expr e, const char *text) {
    return sm_expr_matches(g, e, text, strlen(text));
}

static void test_same(void **state) {
    (void)state;
    sm_grammar *g = grammar();
    const sm_expr a = sm_expr_text(g, "ab"), b = sm_expr_text(g, "cd"), c = sm_expr_text(g, "ef");
    assert_int_equal(sm_expr_alt2(g, a, b), sm_expr_alt2(g, b, a));
    assert_int_equal(sm_expr_seq2(g, sm_expr_seq2(g, a, b), c), sm_expr_seq3(g, a, b, c));
    assert_int_equal(sm_expr_repeat(g, a, 0, 1), sm_expr_optional(g, a));
    assert_int_equal(sm_expr_not(g, sm_expr_not(g, a)), sm_expr_not(g, sm_expr_not(g, a)));
    assert_int_equal(sm_expr_alt(g, NULL, 0), sm_expr_nothing(g));
    const sm_expr low = sm_expr_repeat(g, a, 2, 5), high = sm_expr_repeat(g, a, 6, 9);
    assert_int_equal(sm_expr_alt2(g, low, high), sm_expr_repeat(g, a, 2, 9));
    assert_int_equal(sm_grammar_status(g, NULL), SM_OK);
    sm_grammar_free(g);
}

static void test_boolean(void **state) {
    (void)state;
    sm_grammar *g = grammar();
    const sm_expr dates = sm_expr_regex(g, "\\d{4}-\\d\\d-\\d\\d", 15, SM_REGEX_ASCII, NULL),
                  no = sm_expr_minus(g, dates, sm_expr_text(g, "2023-02-29"));
    assert_true(matches(g, no, "2024-02-29"));
    assert_false(matches(g, no, "2023-02-29"));
    assert_true(sm_expr_is_empty(g, sm_expr_minus(g, no, dates)));
    assert_true(sm_expr_contains(g, dates, no));
    assert_false(sm_expr_contains(g, no, dates));
    const sm_expr x = sm_expr_not(g, sm_expr_text(g, "x"));
    assert_true(matches(g, x, "\xC3\xBC"));
    assert_false(matches(g, x, "x"));
    assert_false(matches(g, x, "\xFF"));
    assert_int_equal(sm_grammar_status(g, NULL), SM_OK);
    sm_grammar_free(g);
}

/* Every character against the ranges of a few sets that cut blocks of UTF-8 in odd places. */
static void test_chars(void **state) {
    (void)state;
    sm_grammar *g = grammar();
    const sm_range ranges[] = {{0x7E, 0x81},      {0x7FF, 0x801},     {0xD7FE, 0xE001},
                               {0xFFFE, 0x10001}, {0x3FFFF, 0x40000}, {0x10FFFF, 0x10FFFF},
                               {0x1000, 0x1FFF}};
    const size_t n = sizeof ranges / sizeof *ranges;
    const sm_expr in = sm_expr_chars(g, ranges, n), out = sm_expr_not_chars(g, ranges, n);
    for (uint32_t c = 0; c <= 0x10FFFF; c += c < 0x11000 ? 1 : 0x101) {
        uint8_t text[4];
        bool inside = false;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        const uint32_t width = sm_utf8_encode(c, text);
        for (size_t i = 0; i < n; i++)
            inside |= c >= ranges[i].first && c <= ranges[i].last;
        assert_int_equal(sm_expr_matches(g, in, text, width), inside);
        assert_int_equal(sm_expr_matches(g, out, text, width), !inside);
    }
    assert_false(sm_expr_matches(g, sm_expr_any_text(g), "\xED\xA0\x80", 3));
    assert_false(sm_expr_matches(g, sm_expr_any_text(g), "\xC0\x80", 2));
    sm_grammar_free(g);
}

/* The long blocks that are passed over at once are what they are taken for. */
static void test_property(void **state) {
    (void)state;
    sm_grammar *g = grammar();
    const sm_expr letters = sm_expr_regex(g, "\\p{L}", 5, 0, NULL);
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        uint8_t text[4];
        if (c >= 0xD800 && c < 0xE000)
            continue;
        const utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        const bool letter = k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
        if (sm_expr_matches(g, letters, text, sm_utf8_encode(c, text)) != letter)
            fail_msg("U+%04X", c);
    }
    sm_grammar_free(g);
}

static void test_regex(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *yes, *no;
        uint32_t flags;
    } cases[] = {
        {"\\bcat\\b", "a cat sat", "concat", SM_REGEX_SEARCH},
        {"^ab", "abc", "cab", SM_REGEX_SEARCH},
        {"ab$", "cab", "abc", SM_REGEX_SEARCH},
        {"(^|,)x(,|$)", "a,x", "ax", SM_REGEX_SEARCH},
        {"^(?=.*[A-Z])(?=.*\\d).{4,}$", "abC4", "abcd", SM_REGEX_SEARCH},
        {"(?!ab)[a-c]+", "bab", "abc", 0},
        {"a(?=b)b", "ab", "aa", 0},
        {"\\Bx", "ax", "x", SM_REGEX_SEARCH},
        {"(\\bx\\b ?){2}", "x x", "xx", 0},
        {"(?i)stra\xC3\x9F"
         "e",
         "STRA\xE1\xBA\x9E"
         "E",
         "STRA", 0},
        {"(?i)k", "\xE2\x84\xAA", "x", 0},
        {"[^a-c\\d]", "d", "7", 0},
        {"[]a]+", "]a", "b", 0},
        {"a{,2}", "aa", "aaa", 0},
        {"a{x}", "a{x}", "a", 0},
        {"\\x{1F600}|\\uD83D\\uDE01", "\xF0\x9F\x98\x80", "x", 0},
        {"x{0,100000}y", "xxy", "xx", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_grammar *g = grammar();
        const sm_expr e =
            sm_expr_regex(g, cases[i].pattern, strlen(cases[i].pattern), cases[i].flags, NULL);
        sm_error error = {0};
        if (sm_grammar_status(g, &error))
            fail_msg("%s: %s", cases[i].pattern, error.message);
        if (!matches(g, e, cases[i].yes) || matches(g, e, cases[i].no))
            fail_msg("%s", cases[i].pattern);
        sm_grammar_free(g);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *pattern;
        sm_status status;
    } cases[] = {
        {"a(", SM_ERR_FORMAT},
        {"a)", SM_ERR_FORMAT},
        {"*a", SM_ERR_FORMAT},
        {"a**", SM_ERR_FORMAT},
        {"[b-a]", SM_ERR_FORMAT},
        {"[a", SM_ERR_FORMAT},
        {"a{3,1}", SM_ERR_FORMAT},
        {"\\", SM_ERR_FORMAT},
        {"\\x1", SM_ERR_FORMAT},
        {"\xFF", SM_ERR_FORMAT},
        {"\\uD800", SM_ERR_FORMAT},
        {"(a)\\1", SM_ERR_UNSUPPORTED},
        {"(?<=a)b", SM_ERR_UNSUPPORTED},
        {"a++", SM_ERR_UNSUPPORTED},
        {"(?>a)", SM_ERR_UNSUPPORTED},
        {"\\p{Klingon}", SM_ERR_UNSUPPORTED},
        {"(?m)a", SM_ERR_UNSUPPORTED},
        {"(\\ba)*", SM_ERR_UNSUPPORTED},
        {"[[:alpha:]]", SM_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_grammar *g = grammar();
        sm_error error = {0};
        assert_int_equal(sm_expr_regex(g, cases[i].pattern, strlen(cases[i].pattern), 0, NULL),
                         SM_EXPR_NONE);
        if (sm_grammar_status(g, &error) != cases[i].status || !strstr(error.message, "byte"))
            fail_msg("%s: %d %s", cases[i].pattern, error.code, error.message);
        assert_int_equal(sm_expr_empty(g), SM_EXPR_NONE); /* it stays so */
        sm_grammar_free(g);
    }
    sm_grammar *g = grammar();
    assert_int_equal(sm_expr_repeat(g, sm_expr_text(g, "a"), 3, 1), SM_EXPR_NONE);
    assert_int_equal(sm_grammar_status(g, NULL), SM_ERR_ARGUMENT);
    sm_grammar_free(g);
}

typedef struct texts {
    char all[200];
    uint32_t n;
} texts;

static int32_t keep(void *user, const uint8_t *text, uint64_t n) {
    texts *t = user;
    strncat(t->all, (const char *)text, (size_t)n);
    strcat(t->all, " ");
    t->n++;
    return 0;
}

static void test_list(void **state) {
    (void)state;
    sm_grammar *g = grammar();
    texts t = {.n = 0};
    const sm_expr finite = sm_expr_regex(g, "a?b(c|dd)", 9, 0, NULL);
    assert_true(sm_expr_list_texts(g, finite, 4, keep, &t));
    assert_string_equal(t.all, "bc abc bdd abdd ");
    assert_false(sm_expr_list_texts(g, finite, 3, NULL, NULL));
    assert_false(sm_expr_list_texts(g, sm_expr_regex(g, "a*b", 3, 0, NULL), 1000, NULL, NULL));
    assert_int_equal(sm_grammar_status(g, NULL), SM_OK);
    sm_grammar_free(g);
}

/* Whichever allocation fails: SM_ERR_NOMEM, nothing left behind. */
static void test_no_memory(void **state) {
    (void)state;
    for (uint64_t at = 1;; at++) {
        fail_alloc failing = {.fail_at = at, .sticky = true};
        const sm_allocator hook = fail_allocator(&failing);
        sm_mem own;
        assert_int_equal(sm_mem_init(&own, &hook, 0, NULL), SM_OK);
        sm_grammar *g;
        sm_status status = sm_grammar_new(&g, &own, NULL);
        if (!status) {
            const sm_expr e =
                sm_expr_regex(g, "(?i)^(?=.*\\d)(\\w|[^a-z]{2,7}){0,9}x{0,5}x{0,4}$", 47, 0, NULL);
            sm_expr_matches(g, e, "a1Bc", 4);
            sm_expr_is_empty(g, sm_expr_not(g, e));
            status = sm_grammar_status(g, NULL);
            sm_grammar_free(g);
        }
        assert_int_equal(failing.live_blocks, 0);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),  cmocka_unit_test(test_boolean),
        cmocka_unit_test(test_chars), cmocka_unit_test(test_property),
        cmocka_unit_test(test_regex), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_list),  cmocka_unit_test(test_no_memory),
    };
    sm_mem_init(&mem, NULL, 0, NULL);
    return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
