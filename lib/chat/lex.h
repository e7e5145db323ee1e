/* lex.h - the tokens of a template, with what Jinja strips around its tags. */
#ifndef SM_CHAT_LEX_H
#define SM_CHAT_LEX_H

#include "program.h"

typedef enum token_type {
    T_END,       /* of the template */
    T_DATA,      /* text between tags */
    T_OPEN_VAR,  /* {{ */
    T_CLOSE_VAR, /* }} */
    T_OPEN_TAG,  /* {% */
    T_CLOSE_TAG, /* %} */
    T_NAME,
    T_STRING, /* quotes included */
    T_INTEGER,
    T_FLOAT,
    T_SIGN /* an operator or bracket: one or two bytes */
} token_type;

typedef struct token {
    token_type type;
    const char *data;
    uint64_t length;
    uint32_t line;
} token;

typedef struct lexer {
    const char *name; /* of the template, for messages */
    const char *source;
    uint64_t length, at;
    uint32_t line;
    bool line_starts;                    /* what was taken last ended with a newline */
    token_type inside;                   /* T_OPEN_VAR, T_OPEN_TAG, or T_DATA outside */
    char closers[SM_TEMPLATE_MAX_DEPTH]; /* of brackets that are open */
    uint32_t n_closers;
    token waiting[2]; /* found with the text before it */
    uint32_t n_waiting;
    sm_error *error;
    sm_status status;
} lexer;

/* The next token; after a failure T_END, with a status. */
token lex_next(lexer *l);
bool token_is(const token *t, token_type type, const char *text);

#endif
