/* program.h - a template as code of a stack machine. Jumps are relative, so that code of an
 * expression can be moved to where it runs. */
#ifndef SM_PROGRAM_H
#define SM_PROGRAM_H

#include "template.h"

typedef enum op {
    /* values */
    OP_CONST,      /* c: constant */
    OP_LOAD,       /* c: name */
    OP_STORE,      /* c: name */
    OP_STORE_ATTR, /* c: name of the namespace, b: constant of the attribute */
    OP_UNPACK,     /* b: into how many */
    OP_ATTR,       /* c: constant */
    OP_ITEM,
    OP_SLICE,  /* three bounds, none where absent */
    OP_CALL,   /* b: arguments, c: named ones; a: CALL_… */
    OP_FILTER, /* b, c: likewise; a: row of filters; the next word is CONST of an unknown name */
    OP_TEST,
    OP_UNKNOWN, /* c: constant, its name; a: 0 filter, 1 test */
    OP_BINARY,  /* a: BINARY_… */
    OP_NEGATE,
    OP_PLUS,
    OP_NOT,
    OP_CONCAT,        /* b: of how many */
    OP_COMPARE,       /* a: COMPARE_… */
    OP_COMPARE_CHAIN, /* likewise; leaves the right side, or false and jumps by c */
    OP_AND,           /* jumps by c if the value is false, else drops it */
    OP_OR,
    OP_JUMP,
    OP_JUMP_FALSE, /* drops the value */
    OP_LIST,
    OP_TUPLE,
    OP_DICT,
    OP_UNDEFINED,
    OP_POP,
    /* output */
    OP_TEXT, /* c: constant */
    OP_SHOW,
    OP_CAPTURE,
    OP_CAPTURED, /* pushes the text */
    OP_DROP_CAPTURE,
    /* blocks */
    OP_SCOPE,
    OP_END_SCOPE,
    OP_RECURSE,   /* runs the code behind it as a macro, for the iterable; c: row of macros */
    OP_FOR,       /* the iterable becomes a loop; a: FOR_… */
    OP_FOR_FETCH, /* the next item of the iterable, in a scope; at the end jumps by c */
    OP_FOR_KEEP,  /* the value says whether; jumps by c, unless a and it was kept */
    OP_FOR_NEXT,  /* the next item in a scope; at the end jumps by c */
    OP_FOR_END,   /* a: 1: pushes whether there was no item */
    OP_MACRO,     /* c: row of macros */
    OP_DEFAULT,   /* b: parameter's name; jumps by c if it was given */
    OP_RETURN,
    OP_END,
} op;

enum { FOR_IF = 1, FOR_RECURSIVE = 2 };
enum { CALL_STAR = 1, CALL_STARS = 2, CALL_CALLER = 4 };
enum { BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV, BINARY_FLOOR, BINARY_MOD, BINARY_POW };
enum {
    COMPARE_EQ,
    COMPARE_NE,
    COMPARE_LT,
    COMPARE_LE,
    COMPARE_GT,
    COMPARE_GE,
    COMPARE_IN,
    COMPARE_NOT_IN
};

typedef struct instruction {
    uint8_t op, a;
    uint16_t b;
    int32_t c;
    uint32_t line;
} instruction;

struct value;
struct text;

typedef struct macro_code {
    uint32_t entry, end; /* its code */
    const struct text *name;
    uint32_t n_params;
    uint32_t first_param; /* in sm_template.params */
    uint32_t n_defaults;  /* of the last ones */
    bool uses_caller, uses_varargs, uses_kwargs;
} macro_code;

struct sm_template {
    sm_mem *mem;
    char *name;
    char *source; /* with \n for every line end, without the last one */
    uint64_t length;
    instruction *code;
    uint32_t n_code, code_capacity;
    struct value *constants;
    uint32_t n_constants, constants_capacity;
    struct text **texts; /* of constants, to be freed */
    uint32_t n_texts, texts_capacity;
    const struct text **names; /* of variables; texts owns them */
    uint32_t n_names, names_capacity;
    macro_code *macros;
    uint32_t n_macros, macros_capacity;
    uint32_t *params; /* names of macros' parameters */
    uint32_t n_params, params_capacity;
};

/* Rows of the tables of filters.c, tests.c and globals by name; UINT32_MAX where there is none. */
uint32_t filter_find(const char *name, uint64_t length);
uint32_t test_find(const char *name, uint64_t length);
uint32_t global_find(const char *name, uint64_t length);
uint32_t global_count(void);
const char *global_name(uint32_t i);

#endif
