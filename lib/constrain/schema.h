/* schema.h - JSON Schema becomes expressions of grammar.h in three steps, which the files
 * schema_….c do.
 *
 * Read (schema_read.c, schema_refs.c): what a schema says is a formula: and, or, not over literals,
 * each of which speaks of one type and holds for every value of another. Literals about objects and
 * arrays hold formulas about keys and items; a schema inside is a node that is read when somebody
 * looks into it, so that recursion costs nothing.
 *
 * Decide (schema_logic.c, schema_parts.c): a formula seen by one type (null, false, true, number,
 * string, array, object) has only that type's literals. Objects and arrays are parted into cases,
 * each a list of literals; what no value satisfies is found and left out where that can be done.
 *
 * Write (schema_write.c and one file for each type): cases become rules, numbers automata, strings
 * regular expressions over their spelling.
 *
 * Everything is in memory of the reading, which sm_schema_compile frees; errors are kept in it (the
 * first one), and functions answer something harmless from then on.
 */
#ifndef SM_CONSTRAIN_SCHEMA_H
#define SM_CONSTRAIN_SCHEMA_H

#include "base/base.h"
#include "constrain/constrain.h"
#include "format/json.h"

/* ---- what callers use ------------------------------------------------------------------ */

typedef enum sm_schema_draft { /* where the schema does not say by $schema */
                               SM_SCHEMA_2020_12,
                               SM_SCHEMA_DRAFT7
} sm_schema_draft;

typedef struct sm_schema_choices {
    sm_schema_draft draft;
    bool fixed_draft;      /* $schema does not change it */
    uint32_t spaces;       /* SM_SPACES_… of smallmind/constrain.h */
    uint32_t max_spaces;   /* of SM_SPACES_ANY */
    bool any_order;        /* keys in any order; objects with more than 10 are refused */
    uint32_t any_order_to; /* likewise where an object has up to so many, without refusing others */
    bool unknown_passes;   /* unknown formats, and keywords that look like slips, say nothing */
    /* of the arguments of a function (sm_schema_arguments); notation NULL: any values, in JSON */
    const sm_notation *notation;
    const char *name;
    bool closed;
} sm_schema_choices;

/* The expression of all JSON texts that schema, text[0..length), admits as options say; made in g,
 * whose mem is used. SM_ERR_FORMAT (no JSON, or no schema: place), SM_ERR_UNSUPPORTED (what cannot
 * be honoured: keyword and place), SM_ERR_NOMEM; what g fails with. cancel may be NULL. */
sm_status sm_schema_compile(sm_grammar *g, const void *text, uint64_t length,
                            const sm_schema_choices *options, const sm_hook *cancel, sm_expr *out,
                            sm_error *error);

/* ---- limits: what goes beyond is SM_ERR_UNSUPPORTED --------------------------------------- */

#define MAX_FORMULAS (1u << 20)
#define MAX_NESTED 160     /* formulas inside each other at one place, and questions about them */
#define MAX_CASES 512      /* that an object or array is parted into */
#define MAX_CLASSES 64     /* of keys that are not named, by what their values must be */
#define MAX_CLAIMS 4       /* of items or members that are looked for or counted */
#define MAX_STATES 8192    /* of an automaton that counts members, items or digits */
#define MAX_ANY_ORDER 10   /* keys that may come in any order */
#define MAX_LISTED 4096    /* values of a finite set that are looked at one by one */
#define MAX_POSITIONS 1024 /* array positions with a schema of their own */
#define MAX_DIGITS 1000    /* of a number in a schema, written without an exponent */
#define N_BUCKETS 4096
#define MAX_REPEAT (1u << 30) /* a length or number of items; above it is no limit */

/* ---- formulas ------------------------------------------------------------------------------ */

typedef uint32_t formula;
#define FALSUM 0u
#define VERUM 1u
#define NO_FORMULA UINT32_MAX
#define BEING_READ (UINT32_MAX - 1)

typedef enum type { T_NULL, T_FALSE, T_TRUE, T_NUMBER, T_STRING, T_ARRAY, T_OBJECT, N_TYPES } type;

/* Literals come in pairs that negate each other: kind ^ 1. */
typedef enum node_kind {
    K_FALSE,
    K_TRUE,
    K_AND, /* a: first of b children in `lists` */
    K_OR,
    K_SCHEMA, /* a: the value in the document */
    K_NOT_SCHEMA,
    K_ONE, /* of the children exactly one */
    K_NOT_ONE,
    K_TYPE, /* a: set of types */
    K_TYPE_UNUSED,
    N_BELOW, /* a: decimal; number < a */
    N_LEAST, /* >= */
    N_ABOVE,
    N_MOST,
    N_EQUAL,
    N_OTHER,
    N_WHOLE, /* an integer */
    N_BROKEN,
    N_TIMES, /* a multiple of a */
    N_NOT_TIMES,
    S_EQUAL, /* a: text */
    S_OTHER,
    S_LEAST, /* a: characters at least */
    S_BELOW, /* fewer than a */
    S_REGEX, /* a: text of a pattern, b: format's number + 1, or 0; c: where it stands */
    S_NOT_REGEX,
    O_ALL,    /* members whose key is in a have values in b */
    O_SOME,   /* a member with a key in a and a value in b exists */
    O_LEAST,  /* a: members at least */
    O_BELOW,  /* fewer than a */
    A_BELOW,  /* fewer than d items of positions a..b are in c */
    A_LEAST,  /* at least d */
    A_SINGLE, /* no two items are equal; a: where it stands */
    A_DOUBLE
} node_kind;

typedef struct node {
    uint32_t kind;
    uint32_t a, b, c, d;
    uint32_t hash_next;
    formula negated;       /* NO_FORMULA: not asked yet */
    formula seen[N_TYPES]; /* by a type; NO_FORMULA: not asked yet */
    formula read;          /* K_SCHEMA: what it says */
    uint32_t mark;         /* the last list that was made with it */
    /* in `cases`: how many, then these; NO_FORMULA: not parted yet */
    uint32_t cases, object_cases;
    sm_expr written[2];    /* as array, as object */
    sm_expr value;         /* as any value */
    uint8_t dead[N_TYPES]; /* 0 not asked, 1 has a value, 2 has none, 3 being asked */
} node;

/* (-1)^minus * digits * 10^exponent; the digits neither begin nor end with 0, zero has none. */
typedef struct decimal {
    uint32_t digits, n; /* in `bytes` */
    int32_t exponent;
    bool minus;
} decimal;

typedef struct text_row {
    uint32_t at, length; /* in `bytes` */
    uint32_t next;       /* of its bucket */
} text_row;

/* A range of `lists`. */
typedef struct range {
    uint32_t at, n;
} range;

typedef struct resource {
    uint32_t uri; /* text */
    sm_json_value value;
} resource;

typedef struct anchor_row {
    uint32_t resource, name;
    sm_json_value value;
} anchor_row;

/* A list that grows. */
typedef struct list {
    void *data;
    uint32_t n, capacity;
} list;

typedef struct schema {
    sm_mem *mem;
    sm_grammar *g;
    sm_json *json;
    sm_schema_choices options;
    const sm_hook *cancel;
    bool draft7; /* what stands beside $ref is not looked at */
    sm_status status;
    sm_error *error;

    list nodes, lists /* formula */, bytes /* char */, decimals, texts, cases /* range */;
    uint32_t buckets[N_BUCKETS], text_buckets[N_BUCKETS]; /* of nodes, of texts */
    uint32_t mark, depth;
    bool one_type;       /* what is combined is seen by one type: literals contradict each other */
    bool outermost;      /* the object of all arguments is written, where others look different */
    bool bare;           /* strings are written as they are, without quotes */
    sm_json_value place; /* of the schema that is read or written, for messages */
    uint64_t work;       /* since the hook was asked */

    uint32_t n_values; /* of the document */
    sm_json_value *parent;
    uint32_t *base; /* of each value: number of the resource around it */
    uint8_t *holds;
    list resources; /* resource: schemas with an $id, the first is the root */
    list anchors;   /* anchor_row */

    list queue; /* formula, type: arrays and objects whose rules wait for being written */
    sm_expr open_object, close_object, open_array, close_array, comma, colon; /* with spaces */
    sm_expr outer_comma;      /* between the members of the outermost object */
    sm_expr any_character[2]; /* of a string: in its one spelling; as it is */
    sm_expr free_character;   /* in any spelling */
    sm_expr formats[2][32];   /* in JSON's spelling; as they are */
    sm_expr avoiding;         /* texts without what no string may hold; SM_EXPR_NONE: all may be */
} schema;

#define AT(s, list_name, type_name, i) (((type_name *)(s)->list_name.data)[i])
#define NODE(s, f) (&AT(s, nodes, node, f))

/* ---- memory and errors (schema_logic.c) ------------------------------------------------- */

/* Room for `more` items behind; false: out of memory, kept as the schema's error. */
bool sm_schema_room(schema *s, list *l, uint32_t more, uint32_t size);
bool sm_schema_push(schema *s, list *l, const void *item, uint32_t size);
/* The first error is kept: "schema, PLACE: WHY"; the place is that of a value, by preference of a
 * keyword's. SM_JSON_NONE: that of the schema that is read or written. */
void sm_schema_fail(schema *s, sm_status status, sm_json_value place, const char *why);
/* Whether to go on: no error so far, asks the hook now and then. */
bool sm_schema_goes_on(schema *s);
uint32_t sm_schema_text(schema *s, const char *bytes, uint64_t length); /* equal ones are one */
const char *sm_schema_text_of(const schema *s, uint32_t text, uint32_t *length);

/* ---- formulas (schema_logic.c) ------------------------------------------------------------ */

formula sm_formula_literal(schema *s, node_kind kind, uint32_t a, uint32_t b, uint32_t c,
                           uint32_t d);
formula sm_formula_types(schema *s, uint32_t set);
/* Of n; the lists keep their order, which becomes the order of keys. */
formula sm_formula_and(schema *s, const formula *items, uint32_t n);
formula sm_formula_or(schema *s, const formula *items, uint32_t n);
formula sm_formula_one(schema *s, const formula *items, uint32_t n);
formula sm_formula_and2(schema *s, formula a, formula b);
formula sm_formula_or2(schema *s, formula a, formula b);
formula sm_formula_not(schema *s, formula f);
/* A literal for its own type: of one that is seen by it. */
formula sm_formula_flip(schema *s, formula literal);
static inline bool is_literal(const node *n) {
    return n->kind >= N_BELOW;
}
type sm_formula_type_of(uint32_t kind); /* of a literal */
static inline const formula *children(const schema *s, formula f) {
    return &AT(s, lists, formula, NODE(s, f)->a);
}

/* ---- reading (schema_read.c, schema_refs.c) ------------------------------------------------- */

bool sm_schema_index(schema *s);                        /* places, resources, anchors */
formula sm_schema_at(schema *s, sm_json_value value);   /* the schema that stands there, unread */
formula sm_schema_read(schema *s, sm_json_value value); /* what it says */
sm_json_value sm_schema_resolve(schema *s, sm_json_value ref); /* SM_JSON_NONE: failed */
formula sm_schema_equal(schema *s, sm_json_value value);       /* equal to this value */
/* Whether no later member has the name of this one: only the last of equal ones counts. */
bool sm_schema_is_last(const schema *s, sm_json_value object, sm_json_value name);
/* The keys that properties and patternProperties of this schema do not speak of. */
formula sm_schema_other_keys(schema *s, sm_json_value in);
/* unevaluatedProperties, unevaluatedItems (schema_rest.c) of the schema `in`. */
formula sm_schema_rest_members(schema *s, sm_json_value in, sm_json_value value);
formula sm_schema_rest_items(schema *s, sm_json_value in, sm_json_value value);
/* Where a value stands: "#/properties/a", or behind the schema's name ".properties.a"; cut to
 * capacity. */
void sm_schema_place(const schema *s, sm_json_value value, char *out, uint32_t capacity);
/* Keywords whose value holds schemas. */
typedef enum holding { H_NOTHING, H_SCHEMA, H_LIST, H_MAP } holding;
holding sm_schema_holds(const char *keyword, uint64_t length);

/* ---- deciding (schema_parts.c) ------------------------------------------------------------- */

formula sm_formula_seen(schema *s, formula f, type t);
/* Whether no value is known to satisfy f: true is certain, false is not. */
bool sm_formula_dead(schema *s, formula f);
bool sm_formula_dead_as(schema *s, formula seen, type t);
/* The cases of what a type (array, object) sees: lists of literals; a case without is true. */
const range *sm_formula_cases(schema *s, formula seen, type t, uint32_t *n);
/* ---- numbers (schema_decimal.c, schema_number.c) --------------------------------------------- */

/* As JSON spells them; SM_ERR_UNSUPPORTED past MAX_DIGITS. */
uint32_t sm_decimal_read(schema *s, sm_json_value place);
uint32_t sm_decimal_parse(schema *s, const char *text, uint64_t length, sm_json_value place);
int sm_decimal_compare(const schema *s, uint32_t a, uint32_t b);
bool sm_decimal_whole(const schema *s, uint32_t a);
/* A whole number in 0..UINT32_MAX - 1, greater ones become that; false if it is none. */
bool sm_decimal_count(const schema *s, uint32_t a, uint32_t *out);
/* Without an exponent, or as Python writes what is very small or large; bytes written. */
#define DECIMAL_TEXT (2 * MAX_DIGITS + 16)
uint32_t sm_decimal_write(const schema *s, uint32_t a, bool scientific, char *out);

bool sm_number_dead(schema *s, formula seen);
sm_expr sm_number_write(schema *s, formula seen);
bool sm_number_has(schema *s, formula seen, uint32_t decimal);
/* Calls each with every number (a decimal) that satisfies it; false: too many. */
typedef bool (*sm_listed_fn)(schema *s, void *user, uint32_t item);
bool sm_number_list(schema *s, formula seen, uint32_t most, sm_listed_fn each, void *user);
sm_expr sm_number_write_one(schema *s, uint32_t decimal);
bool sm_decimal_is_scientific(const schema *s, uint32_t decimal); /* in Python's spelling */

/* ---- strings (schema_string.c, schema_format.c) ---------------------------------------------- */

/* Whether characters stand for themselves, not in JSON's spelling. */
bool sm_string_plain(const schema *s);
bool sm_string_dead(schema *s, formula seen, bool thorough);
sm_expr sm_string_write(schema *s, formula seen); /* with quotes */
/* For keys: in their one spelling. */
sm_expr sm_string_write_key(schema *s, formula seen);
sm_expr sm_string_write_text(schema *s, uint32_t text);
bool sm_string_has(schema *s, formula seen, uint32_t text);
bool sm_string_list(schema *s, formula seen, sm_listed_fn each, void *user);
/* The number of a format; -1: unknown. What it says of strings is S_REGEX, of numbers a formula. */
formula sm_format_read(schema *s, const char *name, uint64_t length, sm_json_value place);
sm_expr sm_format_write(schema *s, uint32_t format, const sm_char_map *map);
void sm_string_prepare(schema *s);

/* ---- notations (schema_notation.c) ---------------------------------------------------------- */

sm_notation_kind sm_notation_of(const schema *s);
void sm_notation_prepare(schema *s); /* commas, brackets, spaces */
/* A member of an object. name (a text): its key; NO_NAME: any key of the formula. */
#define NO_NAME UINT32_MAX
sm_expr sm_member_write(schema *s, uint32_t name, formula key, formula value);
sm_expr sm_arguments_write(schema *s, formula root);

/* ---- arrays, objects, values (schema_array.c, schema_object.c, schema_write.c) --------------- */

bool sm_array_dead(schema *s, const formula *literals, uint32_t n);
sm_expr sm_array_write(schema *s, const formula *literals, uint32_t n);
bool sm_object_dead(schema *s, const formula *literals, uint32_t n);
sm_expr sm_object_write(schema *s, const formula *literals, uint32_t n);
sm_expr sm_value_write(schema *s, formula f);
sm_expr sm_value_write_type(schema *s, formula seen, type t);
void sm_cases_write(schema *s, formula seen, type t, sm_rule rule); /* of an array or object */
/* A finite set of values: number of items, each an expression and a value to look at. */
typedef struct listed_value {
    type type;
    uint32_t content; /* decimal or text */
} listed_value;
bool sm_value_list(schema *s, formula f, list *values); /* false: not finite, or too many */
bool sm_value_has(schema *s, formula f, const listed_value *v);
sm_expr sm_value_write_one(schema *s, const listed_value *v);

#endif
