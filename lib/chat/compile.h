/* compile.h - the parser of templates: its state, and what its parts (code and tokens, expressions,
 * statements) take from each other. */
#ifndef SM_CHAT_COMPILE_H
#define SM_CHAT_COMPILE_H

#include "lex.h"
#include "value.h"

typedef struct compiler {
    sm_template *t;
    lexer lex;
    token now, next;
    sm_error *error;
    uint32_t depth;
    uint32_t n_loops; /* `for` around, in this macro */
    uint32_t breaks[SM_TEMPLATE_MAX_DEPTH];
    uint32_t n_breaks;  /* jumps of `break` that wait for the end of their loop */
    uint32_t loop_next; /* where `continue` goes */
    bool names_caller, names_varargs, names_kwargs; /* what the macro at hand asks for */
    bool names_loop;                                /* what the `for` at hand asks for */
} compiler;

/* ---- code and tokens (compile_code.c) --------------------------------------------- */

/* The first failure counts; behind it there are no tokens but T_END, and nothing is written. */
void fail_at(compiler *c, sm_status status, const char *what);
void fail_token(compiler *c, const char *wanted);
bool failed(const compiler *c);
/* Room for one more in a table of the template. */
bool grow(compiler *c, void *table, uint32_t n, uint32_t *capacity, size_t size);
uint32_t emit(compiler *c, op o, uint8_t a, uint32_t b, int32_t arg);
uint32_t here(const compiler *c);
/* Lets the jump lead here. */
void land(compiler *c, uint32_t jump);
void jump_to(compiler *c, op o, uint32_t target);
/* The code [middle, end) comes before the code [from, middle). */
void rotate(compiler *c, uint32_t from, uint32_t middle);
/* NULL, with a status, when there is no memory. */
text *keep_text(compiler *c, const char *data, uint64_t length);
int32_t add_constant(compiler *c, value v);
int32_t text_constant(compiler *c, const char *data, uint64_t length);
/* The number of a variable's name. */
int32_t name_of(compiler *c, const char *data, uint64_t length);
void step(compiler *c);
bool at_sign(const compiler *c, const char *what);
bool at_name(const compiler *c, const char *what);
bool skip_sign(compiler *c, const char *what);
bool skip_name(compiler *c, const char *what);
void expect_sign(compiler *c, const char *what);
void expect_close(compiler *c);
token expect_name(compiler *c);
/* One level deeper; false where that is too deep. The caller takes it back from c->depth. */
bool enter(compiler *c);

/* ---- expressions (compile_expression.c) ------------------------------------------- */

void constant(compiler *c, value v);
void expression(compiler *c);
/* Without `a if b else c`. */
void condition_free(compiler *c);
void unary(compiler *c, bool with_filters);
/* Expressions with commas between them: one, or a tuple. `explicit`: inside brackets, where there
 * may be none. */
void tuple(compiler *c, void (*item)(compiler *c), const char *end_name, bool explicit);
/* Whether what ended last time began there: a tuple may end here. */
bool tuple_ends(const compiler *c, const char *end_name);
/* A filter by name, without the | before it. */
void filter(compiler *c);

/* ---- statements (compile_statement.c) --------------------------------------------- */

/* Up to a tag with one of these names, whose name is the token at hand then; ends NULL: up to the
 * template's end. */
void body(compiler *c, const char *const *ends);

#endif
