/* smallmind/constrain.h - constraints: what generated text may be.
 *
 * A constraint is compiled from a grammar (GBNF, llama.cpp's notation), a regular expression or a
 * list of texts into one automaton over bytes; a mask says which tokens of a vocabulary may come
 * next. It is used by sm_generate_options.constraint, or in a loop of one's own:
 *
 *     sm_constraint_new(&c, tokenizer, SM_CONSTRAINT_GBNF, text, strlen(text), NULL, &err);
 *     sm_constraint_state_new(&s, c, &err);
 *     while (!sm_constraint_ended(s)) {
 *         sm_constraint_mask(s, mask, n_words, &err);
 *         ... choose a token whose bit is set ...
 *         sm_constraint_accept(s, id, &err);
 *     }
 *
 * Constraints do not change: any number of states and threads may use one at a time (what of its
 * automaton is needed for the first time is made then, behind a lock; the answers do not depend on
 * who came first). States are for one thread at a time; who comes while a call has not returned
 * gets SM_ERR_STATE. A state holds a reference to its constraint, which holds one to the tokenizer.
 *
 * A token may come where its bytes can be gone on with to a text that the constraint matches;
 * tokens that end a generation where the text so far is matched; other control tokens nowhere (but
 * in the free text before a trigger).
 */
#ifndef SMALLMIND_CONSTRAIN_H
#define SMALLMIND_CONSTRAIN_H

#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_constraint sm_constraint;
typedef struct sm_constraint_state sm_constraint_state;

enum {
    SM_CONSTRAINT_GBNF = 1,  /* the rule "root"; rules that begin with themselves are refused */
    SM_CONSTRAINT_REGEX = 2, /* the text as a whole; no back-references, no look-behind */
    /* GBNF's notation, where rules may also begin with themselves, directly or through others (64
     * of them): e ::= e "+" e | [0-9]+ */
    SM_CONSTRAINT_GRAMMAR = 3,
};

typedef struct sm_constraint_options {
    uint32_t struct_size;
    uint32_t reserved;
    /* [n_triggers] texts: anything may be written until the first of them has been
     * (or the text of a control token that is one of them), the constraint holds for what follows.
     * NULL: it holds from the beginning */
    const sm_text *triggers;
    const sm_allocator *allocator; /* NULL: the C library's */
    uint64_t n_triggers;
    uint64_t memory_limit; /* bytes of heap for the constraint and its states; 0: 1 GiB */
    /* asked on the calling thread while the constraint is made (the table of a vocabulary apart);
     * NULL: never. May call what does not use this constraint */
    sm_cancel_fn cancel;
    void *cancel_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
    void *reserved_pointer; /* NULL */
} sm_constraint_options;

/* text[0..length): the grammar or expression, UTF-8. Makes a table of the vocabulary at the first
 * constraint of a tokenizer, which may be NULL: then it is for bytes, and what asks about tokens is
 * SM_ERR_MISSING. SM_ERR_FORMAT (no grammar or expression: place), SM_ERR_UNSUPPORTED (what
 * cannot be done, by name: left recursion in GBNF, references to tokens, look-behind …; a WordPiece
 * vocabulary), SM_ERR_ARGUMENT (also a constraint that no text matches, more at least than at
 * most), SM_ERR_NOMEM. */
SM_API sm_status SM_CALL sm_constraint_new(sm_constraint **out, const sm_tokenizer *tokenizer,
                                           uint32_t kind, const char *text, uint64_t length,
                                           const sm_constraint_options *options, sm_error *error);
/* One of n texts. */
SM_API sm_status SM_CALL
sm_constraint_new_choices(sm_constraint **out, const sm_tokenizer *tokenizer, const sm_text *texts,
                          uint64_t n, const sm_constraint_options *options, sm_error *error);

/* ---- JSON Schema ----------------------------------------------------------------------------
 *
 * 2020-12 and draft 7 (draft 4's exclusiveMinimum, too). What is generated is a value that
 * satisfies the schema, compact, keys in the schema's order (others behind them), strings in the
 * one spelling of Python's json.dumps(ensure_ascii=False) except where only their length matters.
 * Honoured: all keywords that constrain, references within the document, patterns unanchored with
 * ASCII \d \w; the formats date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid, uri,
 * uri-reference, json-pointer, relative-json-pointer, and OpenAPI's byte, int32, int64 (float,
 * double, binary and password say nothing). Refused by keyword and place (SM_ERR_UNSUPPORTED):
 * other formats, references to other documents, uniqueItems of items that are no small finite set,
 * unevaluatedItems beside contains, $vocabulary, $recursiveRef, keywords that look like a slip of
 * one, and what exceeds a limit (cases, states, depth). Unknown keywords are annotations, as the
 * standard says. Lengths and numbers of items of 2^30 and more are no limit. Names that the schema
 * does not list are not compared with each other: two may be equal. */

enum {
    SM_SPACES_NONE = 0, /* compact */
    SM_SPACES_ONE = 1,  /* a space behind each comma and colon, as Python's json.dumps */
    /* up to max_spaces of space, tab, line feed, return where JSON allows them */
    SM_SPACES_ANY = 2,
};

enum {
    SM_SCHEMA_ANY_ORDER = 1, /* of keys; objects with more than 10 of their own are refused */
    SM_SCHEMA_UNKNOWN = 2,   /* unknown formats and slips of keywords say nothing */
};

typedef struct sm_schema_options {
    uint32_t struct_size;
    uint32_t draft;      /* 0: as $schema says, 2020-12 without; 7 or 2020: that one */
    uint32_t spaces;     /* SM_SPACES_… */
    uint32_t max_spaces; /* 0: 8 */
    uint32_t flags;      /* SM_SCHEMA_… */
    uint32_t reserved;
    /* asked on the calling thread at the beginning and while the schema is read and written; NULL:
     * never. May call what does not use this constraint */
    sm_cancel_fn cancel;
    void *cancel_user;
    sm_cancel *cancel_flag; /* NULL, or what ends the call when it is set (types.h) */
} sm_schema_options;

/* text[0..length): the schema. schema_options may be NULL. Statuses as sm_constraint_new, and
 * SM_ERR_CANCELLED; a schema that no value satisfies is SM_ERR_UNSUPPORTED. */
SM_API sm_status SM_CALL
sm_constraint_new_schema(sm_constraint **out, const sm_tokenizer *tokenizer, const char *text,
                         uint64_t length, const sm_schema_options *schema_options,
                         const sm_constraint_options *options, sm_error *error);
SM_API void SM_CALL
sm_constraint_free(sm_constraint *constraint); /* NULL is fine; drops a reference */

/* At the beginning of a text. SM_ERR_NOMEM. */
SM_API sm_status SM_CALL sm_constraint_state_new(sm_constraint_state **out,
                                                 sm_constraint *constraint, sm_error *error);
/* A second state at the same place, with the same tokens to go back over. */
SM_API sm_status SM_CALL sm_constraint_state_fork(sm_constraint_state **out,
                                                  const sm_constraint_state *state,
                                                  sm_error *error);
SM_API void SM_CALL sm_constraint_state_free(sm_constraint_state *state); /* NULL is fine */

/* The tokens that may come next: bit id % 32 of mask[id / 32]; n_words: (n_vocab + 31) / 32 or
 * more, those beyond become 0. SM_ERR_BUFFER; SM_ERR_UNSUPPORTED or SM_ERR_NOMEM where the
 * automaton reaches a limit, which it says again from then on. */
SM_API sm_status SM_CALL sm_constraint_mask(sm_constraint_state *state, uint32_t *mask,
                                            uint64_t n_words, sm_error *error);
/* Appends a token. SM_ERR_ARGUMENT, and nothing has changed, if it may not come here; SM_ERR_TOKEN.
 * An end token ends the text: nothing may follow. */
SM_API sm_status SM_CALL sm_constraint_accept(sm_constraint_state *state, int32_t id,
                                              sm_error *error);
/* Appends bytes that come as no token; counts as one for sm_constraint_rewind. */
SM_API sm_status SM_CALL sm_constraint_accept_text(sm_constraint_state *state, const char *text,
                                                   uint64_t length, sm_error *error);
/* The bytes that have no alternative here: nothing else may come, the end neither. Writes what fits
 * in capacity and stores the length in *n (at most 65536); SM_ERR_BUFFER if that is more. */
SM_API sm_status SM_CALL sm_constraint_forced_text(sm_constraint_state *state, char *text,
                                                   uint64_t capacity, uint64_t *n, sm_error *error);
/* The same as tokens, as encoding has them: those at the end that would be others for some text
 * that may follow are left out. Accepts nothing. *n: how many; SM_ERR_BUFFER if more than
 * capacity. */
SM_API sm_status SM_CALL sm_constraint_forced(sm_constraint_state *state, int32_t *ids,
                                              uint64_t capacity, uint64_t *n, sm_error *error);
SM_API int32_t SM_CALL
sm_constraint_can_end(const sm_constraint_state *state); /* 1: the text so far matches */
/* 1: it matches and nothing can follow, or an end token was accepted. */
SM_API int32_t SM_CALL sm_constraint_ended(sm_constraint_state *state);
/* Takes the last n tokens back. SM_ERR_ARGUMENT if there are fewer. */
SM_API sm_status SM_CALL sm_constraint_rewind(sm_constraint_state *state, uint64_t n,
                                              sm_error *error);
/* Back to the beginning of a text. */
SM_API sm_status SM_CALL sm_constraint_reset(sm_constraint_state *state, sm_error *error);

#ifdef __cplusplus
}
#endif
#endif
