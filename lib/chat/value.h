/* value.h - what a running template computes with: values, strings that know which of their bytes
 * came from the caller, and the state of a run. */
#ifndef SM_VALUE_H
#define SM_VALUE_H

#include "program.h"

typedef enum value_type {
    V_UNDEFINED, /* p: NULL; flag: what a sandbox forbids; user: a parameter that was not given */
    V_NONE,
    V_BOOL,
    V_INT,
    V_FLOAT,
    V_BIG,   /* s: an integer of more than 64 bits as it was spelt */
    V_STR,   /* flag: marked as `safe`, what is added to it is escaped */
    V_LIST,  /* these three: l */
    V_TUPLE, /* flag: a pair of groupby */
    V_RANGE,
    V_DICT,
    V_VIEW,   /* d; flag: VIEW_… */
    V_GEN,    /* g: what filters return that Python computes on demand: walked once, always true */
    V_SPACE,  /* n: a namespace */
    V_LOOP,   /* loop */
    V_MACRO,  /* m */
    V_GLOBAL, /* flag: a row of globals */
    V_METHOD, /* b */
} value_type;

enum { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

typedef struct text text;
typedef struct value value;
typedef struct run run;

struct value {
    uint8_t type;
    uint8_t flag;
    bool user; /* a number that came from the caller */
    union {
        bool truth;
        int64_t i;
        double f;
        const text *s;
        const struct list *l;
        const struct dict *d;
        struct generator *g;
        struct space *n;
        struct loop *loop;
        const struct macro *m;
        const struct bound *b;
        const void *p;
    };
};

/* Where a part of a string that has several origins ends. */
typedef struct part {
    uint32_t end;
    bool user;
} part;

/* Immutable, valid UTF-8. */
struct text {
    const char *data;
    uint32_t length;  /* bytes */
    uint32_t chars;   /* code points */
    uint32_t n_parts; /* 0: all of one origin */
    bool user;        /* with n_parts 0 */
    const part *parts;
};

typedef struct list {
    uint32_t n;
    const value *items;
} list;

typedef struct dict {
    uint32_t n;
    const value *keys, *values; /* in order of insertion */
} dict;

typedef struct generator {
    list items;
    uint32_t at;
    const char *failure; /* what comes behind the items; NULL: their end */
} generator;

typedef struct space {
    uint32_t n, capacity;
    const text **names;
    value *values;
} space;

typedef struct variable {
    uint32_t name;
    value v;
} variable;

typedef struct scope {
    struct scope *parent;
    uint32_t n, capacity;
    variable *variables;
} scope;

typedef struct macro {
    const macro_code *code;
    scope *around;
} macro;

/* A method and what it belongs to. */
typedef struct bound {
    value self;
    uint32_t method; /* a row of methods */
} bound;

/* A `for` that runs, and what it goes back to at each item. */
typedef struct loop {
    struct loop *outer;
    list items; /* of the iterable */
    value *kept;
    uint32_t n_kept;  /* items that passed `if`; all where there is none */
    uint32_t fetched; /* items looked at by `if` */
    uint32_t again;   /* where the next is looked at, where each is when it is its turn; 0 */
    uint32_t next;    /* among the kept: loop.index of the current one */
    uint32_t depth;   /* 1: not called by itself */
    const struct macro *body; /* of a recursive one: what a call runs; NULL */
    struct scope *scope;
    uint32_t n_stack, n_captures;
    value changed; /* the last arguments of loop.changed */
} loop;

/* ---- the state of a run ---------------------------------------------------------- */

typedef struct chunk {
    struct chunk *before;
    uint64_t size;
} chunk;

/* A macro's call. */
typedef struct frame {
    uint32_t back; /* where to go on */
    scope *scope;
    loop *loop;
    const macro *body; /* of a recursive `for`, and how deep that is; NULL */
    uint32_t depth;
} frame;

typedef struct mark {
    uint32_t length, n_parts;
} mark;

#define MAX_CAPTURES 256

struct run {
    const sm_template *t;
    sm_mem *mem;
    sm_error *error;
    sm_status status; /* once it is not SM_OK the run ends */
    const sm_template_options *options;
    uint64_t steps, ask_at;
    const instruction *at; /* the instruction that runs */

    chunk *chunks;
    char *top, *end; /* free bytes of the newest chunk */
    uint64_t memory; /* bytes of all */
    text *texts;     /* not in use yet */
    uint32_t texts_left;

    char *out; /* text being written: the result, captures on top of it, strings being made */
    uint32_t length, capacity;
    part *parts;
    uint32_t n_parts, parts_capacity;

    value *stack;
    uint32_t n, stack_capacity;
    frame frames[SM_TEMPLATE_MAX_DEPTH];
    uint32_t n_frames;
    mark captures[MAX_CAPTURES];
    uint32_t n_captures;
    scope *scope;
    loop *loop; /* the innermost one of the macro that runs */
    const sm_variable *variables;
    value *variable_values; /* undefined until one is asked for */
    uint32_t n_variables;
    uint32_t deep; /* of what recurses over values */
    char *exception;
};

/* Notes a failure and its place; the first one counts. */
#define FAIL(r, code, format, ...)                                                              \
    run_failed(r, (r)->status ? (r)->status                                                     \
                              : sm_fail((r)->error, code, "%s, line %u: " format, (r)->t->name, \
                                        (r)->at ? (r)->at->line : 0, __VA_ARGS__))
value run_failed(run *r, sm_status status); /* gives the undefined value */

/* Counts n steps; false, with a status, when the run is to end. */
bool run_step(run *r, uint64_t n);
/* Values being gathered lie on the stack; false, with a status, when it is full. */
bool push(run *r, value v);
/* A list of what was pushed since the stack had `from` values, which it has again. */
value list_from(run *r, value_type type, uint32_t from);
/* Memory of the run, 16-byte aligned; NULL, with a status, when there is none. */
void *run_alloc(run *r, uint64_t size);

/* ---- strings (string.c) ---------------------------------------------------------- */

mark text_begin(const run *r);
void text_add(run *r, const char *data, uint64_t n, bool user);
void text_literal(run *r, const char *s);                           /* the template's */
void text_range(run *r, const text *s, uint32_t from, uint32_t to); /* bytes, with their origin */
void text_append(run *r, const text *s);
const text *text_end(run *r, mark from); /* takes what was added since; never NULL */
value text_value(run *r, mark from);
value value_of_text(const text *s);
value value_of_bytes(run *r, const char *data, uint64_t n, bool user);
value text_slice(run *r, const text *s, uint32_t from, uint32_t to); /* bytes */
value text_concat(run *r, const text *a, const text *b);
const text *text_escape(run *r, const text *s); /* for HTML */
bool text_user_at(const text *s, uint32_t at);
bool text_same(const text *a, const text *b);
bool text_is(const text *s, const char *what);
int text_compare(const text *a, const text *b);
uint32_t text_offset(const text *s, uint32_t chars); /* byte of a code point */
/* Byte of the first place at or after `from`; UINT32_MAX if there is none. */
uint32_t text_find(run *r, const text *s, const text *what, uint32_t from);
uint32_t text_rfind(run *r, const text *s, const text *what, uint32_t before);
uint32_t code_at(const text *s, uint32_t at, uint32_t *n);
bool code_is_space(uint32_t code);
void text_drop(run *r, mark from); /* what was added since */
extern const text text_empty;
/* 0 past the end. */
static inline char byte_at(const text *s, uint32_t at) {
    return at < s->length ? s->data[at] : 0;
}

/* ---- values (value.c, arithmetic.c) ------------------------------------------------ */

static inline value none_value(void) {
    return (value){.type = V_NONE};
}
static inline value bool_value(bool truth) {
    return (value){.type = V_BOOL, .truth = truth};
}
static inline value int_value(int64_t i) {
    return (value){.type = V_INT, .i = i};
}
static inline value float_value(double f) {
    return (value){.type = V_FLOAT, .f = f};
}
static inline value undefined_value(void) {
    return (value){.type = V_UNDEFINED};
}
static inline bool is_number(value v) {
    return v.type == V_BOOL || v.type == V_INT || v.type == V_FLOAT;
}
static inline bool is_whole(value v) {
    return v.type == V_BOOL || v.type == V_INT;
}
static inline bool is_sequence(value v) {
    return v.type == V_LIST || v.type == V_TUPLE || v.type == V_RANGE;
}
static inline int64_t whole_of(value v) {
    return v.type == V_BOOL ? v.truth : v.i;
}
static inline double double_of(value v) {
    return v.type == V_FLOAT ? v.f : (double)whole_of(v);
}

/* The same text, marked as safe or not. */
static inline value marked(value v, bool safe) {
    v.flag = v.type == V_STR ? safe : v.flag;
    return v;
}

value list_value(run *r, value_type type, const value *items, uint32_t n); /* copies items */
value dict_value(run *r, const value *pairs, uint32_t n); /* of n keys and values in turn */
value json_value(run *r, const sm_json *json, sm_json_value v);
const char *type_name(value v); /* as Python names it */
bool truth_of(value v);
bool values_equal(run *r, value a, value b);
/* -1, 0, 1; fails where Python cannot order them. */
int values_compare(run *r, value a, value b);
/* What iterating gives; fails where Python does. Generators are used up. */
bool items_of(run *r, value v, list *out);
bool length_of(value v, uint32_t *n); /* false: has none */
bool value_in(run *r, value what, value where);
bool dict_find(run *r, const dict *d, value key, value *out);
bool dict_get(const dict *d, const char *name, value *out);
bool can_be_key(value v);
value attribute_of(run *r, value v, const text *name); /* v.name */
value item_of(run *r, value v, value key);             /* v[key] */
value slice_of(run *r, value v, const value *bounds);  /* start, stop, step; none where absent */
void space_set(run *r, space *n, const text *name, value v);
value binary(run *r, uint8_t how, value a, value b);
value negate(run *r, value v);

/* ---- printing (show.c) ----------------------------------------------------------- */

void show(run *r, value v);      /* str(): added to the text */
void show_repr(run *r, value v); /* repr() */
const text *text_of(run *r, value v);
typedef struct json_form {
    const text *item, *key;
    const text *indent; /* NULL: one line */
    bool ascii, sorted;
} json_form;
void show_json(run *r, value v, const json_form *form);

/* ---- what templates call (filters.c, tests.c, methods.c, globals.c) -------------- */

/* Arguments of a call: positional, then names and values in turn. */
typedef struct arguments {
    const value *v;
    uint32_t n;
    const value *named;
    uint32_t n_named;
    const char *of; /* whose, for messages */
} arguments;

/* Argument i, by place or by name; undefined where it was not given. */
value argument(const arguments *a, uint32_t i, const char *name);
value argument_or(const arguments *a, uint32_t i, const char *name, value otherwise);
/* Fails if there are more than `most` or one that is not named in names ("width,first,"). */
bool arguments_fit(run *r, const arguments *a, uint32_t least, uint32_t most, const char *names);

value filter_apply(run *r, uint32_t filter, value v, const arguments *a);
bool test_apply(run *r, uint32_t test, value v, const arguments *a);
value method_call(run *r, const bound *b, const arguments *a);
value global_call(run *r, uint32_t global, const arguments *a);
/* The method of that name of a value; false if Python has none. */
bool method_find(value v, const text *name, uint32_t *method, bool *forbidden);
value printf_text(run *r, const text *format, value given);
value brace_format(run *r, const text *format, const arguments *a);
value time_text(run *r, const text *format);
value split_lines(run *r, const text *s, bool keep_ends);
value strip_text(run *r, const text *s, const text *chars, bool left, bool right);
value replace_text(run *r, const text *s, const text *from, const text *to, int64_t count);
typedef enum letter_case { CASE_LOWER, CASE_UPPER, CASE_TITLE, CASE_CAPITAL } letter_case;
value change_case(run *r, const text *s, letter_case how);
value json_text_value(run *r, const text *s); /* from_json */
bool text_to_number(const text *s, bool whole, int64_t base, value *out);

#endif
