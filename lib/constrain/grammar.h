/* grammar.h - the expression language that every constraint is written in: GBNF, regular
 * expressions, choices and JSON Schema all become expressions over bytes, of which one automaton is
 * made.
 *
 *     sm_grammar_new(&g, mem, error);
 *     const sm_expr digit = sm_expr_chars(g, &(sm_range){'0', '9'}, 1);
 *     sm_grammar_root(g, sm_expr_repeat(g, digit, 1, SM_FOREVER));
 *     status = sm_grammar_status(g, error);
 *
 * Expressions are numbers: equal ones are one (tables without duplicates), so that comparing is ==
 * and sharing costs nothing. Building never fails by itself: the first thing that goes wrong is
 * kept in the grammar, every builder answers SM_EXPR_NONE from then on (and whenever it is handed
 * that), and sm_grammar_status tells what it was. One thread at a time.
 */
#ifndef SM_CONSTRAIN_GRAMMAR_H
#define SM_CONSTRAIN_GRAMMAR_H

#include "base/base.h"

typedef struct sm_grammar sm_grammar;
typedef uint32_t sm_expr;
typedef uint32_t sm_rule;

#define SM_EXPR_NONE UINT32_MAX
#define SM_FOREVER UINT32_MAX /* the max of a repetition without end */

/* Limits of one grammar, beside those of its sm_mem: what goes beyond is SM_ERR_UNSUPPORTED. */
#define SM_GRAMMAR_MAX_EXPRS (1U << 22)
#define SM_GRAMMAR_MAX_RULES (1U << 16)
#define SM_GRAMMAR_MAX_DEPTH 300U        /* expressions inside each other, sequences not counted */
#define SM_GRAMMAR_MAX_REPEAT (1U << 30) /* of a repetition's finite bounds */
#define SM_GRAMMAR_MAX_STEPS (1U << 18)  /* states looked at where a question is decided */
#define SM_GRAMMAR_MAX_LISTED \
    (1U << 20) /* bytes of all texts that are listed, common beginnings once */

/* Code points first..last, both included. */
typedef struct sm_range {
    uint32_t first, last;
} sm_range;

/* SM_ERR_NOMEM. mem must outlive the grammar. */
sm_status sm_grammar_new(sm_grammar **out, sm_mem *mem, sm_error *error);
void sm_grammar_free(sm_grammar *g); /* NULL is fine */
sm_mem *sm_grammar_mem(sm_grammar *g);
/* What went wrong first; SM_OK: nothing so far. */
sm_status sm_grammar_status(const sm_grammar *g, sm_error *error);
/* Makes it fail by a message of the caller's ("pattern at #/a/b: …"), unless it has already;
 * answers SM_EXPR_NONE. */
sm_expr sm_grammar_fail(sm_grammar *g, sm_status status, const char *format, ...) SM_PRINTF(3, 4);
/* What a text must match as a whole. */
void sm_grammar_root(sm_grammar *g, sm_expr e);
/* Rules may begin with themselves; otherwise they are refused. */
void sm_grammar_allow_left(sm_grammar *g);
/* Asked from now on while it works, now for the first time: it fails with SM_ERR_CANCELLED when
 * that says so. NULL: not any more. */
void sm_grammar_ask(sm_grammar *g, const sm_hook *hook);

/* ---- expressions -------------------------------------------------------------------- */

sm_expr sm_expr_nothing(sm_grammar *g); /* matches no text */
sm_expr sm_expr_empty(sm_grammar *g);   /* matches the empty text */
sm_expr sm_expr_bytes(sm_grammar *g, const void *text, uint64_t n);
sm_expr sm_expr_text(sm_grammar *g, const char *text); /* zero-terminated */
/* One byte of a set of 256 bits: byte b is bit b % 64 of set[b / 64]. */
sm_expr sm_expr_byte(sm_grammar *g, const uint64_t set[4]);
/* One character (as UTF-8) of any of the ranges, in any order, overlapping or not; surrogates and
 * what is beyond U+10FFFF are left out. */
sm_expr sm_expr_chars(sm_grammar *g, const sm_range *ranges, uint64_t n);
sm_expr sm_expr_not_chars(sm_grammar *g, const sm_range *ranges, uint64_t n);
sm_expr sm_expr_any_text(sm_grammar *g); /* any valid UTF-8, the empty text too */
sm_expr sm_expr_seq(sm_grammar *g, const sm_expr *items, uint64_t n);
sm_expr sm_expr_seq2(sm_grammar *g, sm_expr a, sm_expr b);
sm_expr sm_expr_seq3(sm_grammar *g, sm_expr a, sm_expr b, sm_expr c);
sm_expr sm_expr_alt(sm_grammar *g, const sm_expr *items, uint64_t n); /* n 0: nothing */
sm_expr sm_expr_alt2(sm_grammar *g, sm_expr a, sm_expr b);
sm_expr sm_expr_optional(sm_grammar *g, sm_expr e);
/* Fails where min > max. {0, 100000} costs no more than {0, 1}. */
sm_expr sm_expr_repeat(sm_grammar *g, sm_expr e, uint32_t min, uint32_t max);
/* Any number of items, `between` between two of them: min..max items. */
sm_expr sm_expr_list(sm_grammar *g, sm_expr item, sm_expr between, uint32_t min, uint32_t max);

/* Rules: what may refer to itself. The name is for messages and copied. */
sm_rule sm_rule_new(sm_grammar *g, const char *name, uint64_t length);
sm_expr sm_expr_rule(sm_grammar *g, sm_rule rule);
void sm_rule_define(sm_grammar *g, sm_rule rule, sm_expr e); /* once */

/* Of regular expressions alone, without rules inside (sm_expr_regular). What both, all, match; n 0
 * is any text. */
sm_expr sm_expr_and(sm_grammar *g, const sm_expr *items, uint64_t n);
sm_expr sm_expr_and2(sm_grammar *g, sm_expr a, sm_expr b);
/* The valid UTF-8 texts that e does not match. */
sm_expr sm_expr_not(sm_grammar *g, sm_expr e);
sm_expr sm_expr_minus(sm_grammar *g, sm_expr a, sm_expr b); /* a and not b */
/* Whether no rule is inside. */
bool sm_expr_regular(const sm_grammar *g, sm_expr e);

/* Questions about regular expressions, answered by looking at as many states as it takes; false
 * with the grammar failed where that are too many (SM_ERR_UNSUPPORTED). */
bool sm_expr_is_empty(sm_grammar *g, sm_expr e);                              /* matches no text */
bool sm_expr_matches(sm_grammar *g, sm_expr e, const void *text, uint64_t n); /* as a whole */
bool sm_expr_contains(sm_grammar *g, sm_expr all, sm_expr part); /* all that part matches */
/* Whether it matches finitely many texts: at most `most`, which are handed to `each` (NULL: not) in
 * some fixed order; false, and the grammar as it was, if there are more or `each` says non-zero. */
typedef int32_t (*sm_text_fn)(void *user, const uint8_t *text, uint64_t n);
bool sm_expr_list_texts(sm_grammar *g, sm_expr e, uint32_t most, sm_text_fn each, void *user);

/* ---- regular expressions as text (regex.c) -------------------------------------------- */

#define SM_REGEX_SEARCH 1U /* matches wherever in the text; otherwise the text as a whole */
#define SM_REGEX_ASCII \
    2U /* \d and \w (and \b by it) of ASCII alone; otherwise as Unicode has them */
#define SM_REGEX_DOT_ALL 4U /* `.` matches a newline, too */
#define SM_REGEX_NO_CASE 8U

/* How the characters that a pattern speaks of are written where it is applied: an expression for
 * one character of the ranges (sorted, apart from each other). For a JSON string all spellings of
 * these characters inside it. Must map different characters to different texts, none of which is
 * the beginning of another; asked once for each class. */
typedef struct sm_char_map {
    sm_expr (*chars)(void *user, sm_grammar *g, const sm_range *ranges, uint64_t n);
    void *user;
} sm_char_map;

/* The expression of a pattern: literals, classes, `.`, groups (also named, with flags i, s, -), * +
 * ? {m,n}, the lazy forms as well, |, \d \w \s \D \W \S \p{…} \P{…}, escapes \t \n \xHH \uHHHH
 * \u{…} \UHHHHHHHH \cX, ^ $ \A \z \Z \b \B, (?=…) (?!…). What is not there is refused by name and
 * place: look-behind, back-references, possessive and atomic groups, other flags, scripts; and
 * anchors, \b and look-ahead inside an endless repetition. map may be NULL: UTF-8. On failure
 * SM_EXPR_NONE, the status in the grammar: SM_ERR_FORMAT (no regular expression: which character),
 * _UNSUPPORTED.
 */
sm_expr sm_expr_regex(sm_grammar *g, const char *pattern, uint64_t length, uint32_t flags,
                      const sm_char_map *map);

/* ---- characters (chars.c) --------------------------------------------------------------- */

/* Sorts, joins what touches, cuts off what is no character; the new n. In place. */
uint64_t sm_ranges_sort(sm_range *ranges, uint64_t n);

#endif
