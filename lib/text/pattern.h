/* pattern.h - regular expressions of tokenizers' files: how they split and replace.
 *
 * A backtracking matcher (first alternative first, as Oniguruma and Rust's fancy-regex, whose
 * dialects are read) over valid UTF-8, without recursion: in memory linear in the text and in steps
 * that are limited and counted. What is not read (back-references, conditions, \R, \X, \K, \G,
 * extended syntax) is refused by name. Case folding is that of single characters.
 */
#ifndef SM_TEXT_PATTERN_H
#define SM_TEXT_PATTERN_H

#include "internal.h"

/* How a pattern is spelled: what `{2,3}+`, `^`, `$` and flags mean. */
typedef enum sm_dialect {
    SM_DIALECT_ONIGURUMA, /* tokenizer.json: Ruby's */
    SM_DIALECT_FANCY      /* tiktoken: Rust's */
} sm_dialect;

typedef struct sm_pattern sm_pattern;

/* A set of characters that a pattern is made of. */
typedef struct sm_char_test {
    uint8_t ascii[128];
    uint32_t at, n; /* its terms, for what is not ASCII */
} sm_char_test;

/* SM_ERR_UNSUPPORTED (the message names `place` and what is not read), SM_ERR_FORMAT, _NOMEM. */
sm_status sm_pattern_new(sm_pattern **out, sm_mem *mem, sm_str text, sm_dialect dialect,
                         const char *place, sm_error *error);
/* A pattern that is the text itself, which is not empty. */
sm_status sm_pattern_new_literal(sm_pattern **out, sm_mem *mem, sm_str text, sm_error *error);
/* Whether it matches one character of ASCII and nothing else: which. */
bool sm_pattern_is_byte(const sm_pattern *pattern, uint8_t *byte);
void sm_pattern_free(sm_pattern *pattern, sm_mem *mem); /* NULL is fine */

void sm_matcher_done(sm_matcher *matcher);

/* The first match in text[0..length) that begins at `from` or later (maybe an empty one): *begin
 * and *end; *begin is UINT64_MAX if there is none. SM_ERR_UNSUPPORTED (more steps than allowed),
 * SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_pattern_find(const sm_pattern *pattern, sm_matcher *matcher, const uint8_t *text,
                          uint64_t length, uint64_t from, uint64_t *begin, uint64_t *end,
                          sm_error *error);

/* \w: letters and what is used like them, marks, decimal digits, connecting punctuation. */
bool sm_is_word(uint32_t code);

#endif
