/* tests.c - what stands behind `is`, and functions that templates call by name. */
#include <string.h>

#include "value.h"

/* ---- tests ----------------------------------------------------------------------- */

typedef enum test_name {
    TEST_DEFINED,
    TEST_UNDEFINED,
    TEST_NONE,
    TEST_BOOLEAN,
    TEST_TRUE,
    TEST_FALSE,
    TEST_INTEGER,
    TEST_FLOAT,
    TEST_NUMBER,
    TEST_STRING,
    TEST_MAPPING,
    TEST_ITERABLE,
    TEST_SEQUENCE,
    TEST_CALLABLE,
    TEST_SAMEAS,
    TEST_EQ,
    TEST_NE,
    TEST_LT,
    TEST_LE,
    TEST_GT,
    TEST_GE,
    TEST_IN,
    TEST_ODD,
    TEST_EVEN,
    TEST_DIVISIBLEBY,
    TEST_LOWER,
    TEST_UPPER,
    TEST_ESCAPED,
    TEST_FILTER,
    TEST_TEST
} test_name;

static const struct test_row {
    const char *name;
    uint8_t test, n; /* arguments */
} tests[] = {
    {"defined", TEST_DEFINED, 0},
    {"undefined", TEST_UNDEFINED, 0},
    {"none", TEST_NONE, 0},
    {"boolean", TEST_BOOLEAN, 0},
    {"true", TEST_TRUE, 0},
    {"false", TEST_FALSE, 0},
    {"integer", TEST_INTEGER, 0},
    {"float", TEST_FLOAT, 0},
    {"number", TEST_NUMBER, 0},
    {"string", TEST_STRING, 0},
    {"mapping", TEST_MAPPING, 0},
    {"iterable", TEST_ITERABLE, 0},
    {"sequence", TEST_SEQUENCE, 0},
    {"callable", TEST_CALLABLE, 0},
    {"sameas", TEST_SAMEAS, 1},
    {"eq", TEST_EQ, 1},
    {"equalto", TEST_EQ, 1},
    {"==", TEST_EQ, 1},
    {"ne", TEST_NE, 1},
    {"!=", TEST_NE, 1},
    {"lt", TEST_LT, 1},
    {"lessthan", TEST_LT, 1},
    {"<", TEST_LT, 1},
    {"le", TEST_LE, 1},
    {"<=", TEST_LE, 1},
    {"gt", TEST_GT, 1},
    {"greaterthan", TEST_GT, 1},
    {">", TEST_GT, 1},
    {"ge", TEST_GE, 1},
    {">=", TEST_GE, 1},
    {"in", TEST_IN, 1},
    {"odd", TEST_ODD, 0},
    {"even", TEST_EVEN, 0},
    {"divisibleby", TEST_DIVISIBLEBY, 1},
    {"lower", TEST_LOWER, 0},
    {"upper", TEST_UPPER, 0},
    {"escaped", TEST_ESCAPED, 0},
    {"filter", TEST_FILTER, 0},
    {"test", TEST_TEST, 0},
};

uint32_t test_find(const char *name, uint64_t length) {
    for (uint32_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (same_text(name, length, tests[i].name))
            return i;
    return UINT32_MAX;
}

static bool is_iterable(value v) {
    return v.type == V_UNDEFINED || v.type == V_STR || is_sequence(v) || v.type == V_DICT ||
           v.type == V_VIEW || v.type == V_GEN || v.type == V_LOOP;
}

static bool is_letter_case(run *r, value v, letter_case how) {
    const text *s = text_of(r, v);
    const value lower = change_case(r, s, CASE_LOWER), upper = change_case(r, s, CASE_UPPER);
    if (r->status || text_same(lower.s, upper.s))
        return false; /* without letters it is neither */
    return text_same(s, how == CASE_LOWER ? lower.s : upper.s);
}

static bool same_object(value a, value b) {
    if (a.type != b.type)
        return false;
    return a.type == V_NONE || a.type == V_UNDEFINED ||
           (a.type == V_BOOL ? a.truth == b.truth : a.p == b.p);
}

static bool remainder_is(run *r, value v, value by, int64_t want) {
    const value m = binary(r, BINARY_MOD, v, by);
    return !r->status && is_number(m) && double_of(m) == (double)want;
}

static bool order_is(run *r, uint8_t test, value v, value other) {
    const int order = values_compare(r, v, other);
    if (order == 2 || r->status)
        return false;
    return test == TEST_LT   ? order < 0
           : test == TEST_LE ? order <= 0
           : test == TEST_GT ? order > 0
                             : order >= 0;
}

static bool type_is(uint8_t test, value v) {
    switch (test) {
    case TEST_DEFINED:
        return v.type != V_UNDEFINED;
    case TEST_UNDEFINED:
        return v.type == V_UNDEFINED;
    case TEST_NONE:
        return v.type == V_NONE;
    case TEST_BOOLEAN:
        return v.type == V_BOOL;
    case TEST_TRUE:
        return v.type == V_BOOL && v.truth;
    case TEST_FALSE:
        return v.type == V_BOOL && !v.truth;
    case TEST_INTEGER:
        return v.type == V_INT || v.type == V_BIG;
    case TEST_FLOAT:
        return v.type == V_FLOAT;
    case TEST_NUMBER:
        return is_number(v) || v.type == V_BIG;
    case TEST_STRING:
        return v.type == V_STR;
    case TEST_MAPPING:
        return v.type == V_DICT;
    case TEST_ITERABLE:
        return is_iterable(v);
    case TEST_SEQUENCE:
        return v.type == V_UNDEFINED || v.type == V_STR || is_sequence(v) || v.type == V_DICT;
    case TEST_CALLABLE:
        return v.type == V_MACRO || v.type == V_GLOBAL || v.type == V_METHOD ||
               v.type == V_UNDEFINED;
    default: /* TEST_ESCAPED */
        return v.type == V_STR && v.flag;
    }
}

bool test_apply(run *r, uint32_t test, value v, const arguments *a) {
    const struct test_row *t = &tests[test];
    const arguments of = {a->v, a->n, a->named, a->n_named, t->name};
    if (r->status || !arguments_fit(r, &of, t->n, t->n, NULL))
        return false;
    const value other = argument(&of, 0, NULL);
    switch (t->test) {
    case TEST_SAMEAS:
        return same_object(v, other);
    case TEST_EQ:
    case TEST_NE:
        return values_equal(r, v, other) == (t->test == TEST_EQ);
    case TEST_LT:
    case TEST_LE:
    case TEST_GT:
    case TEST_GE:
        return order_is(r, t->test, v, other);
    case TEST_IN:
        return value_in(r, v, other);
    case TEST_ODD:
        return remainder_is(r, v, int_value(2), 1);
    case TEST_EVEN:
        return remainder_is(r, v, int_value(2), 0);
    case TEST_DIVISIBLEBY:
        return remainder_is(r, v, other, 0);
    case TEST_LOWER:
    case TEST_UPPER:
        return is_letter_case(r, v, t->test == TEST_LOWER ? CASE_LOWER : CASE_UPPER);
    case TEST_FILTER:
    case TEST_TEST:
        return v.type == V_STR &&
               (t->test == TEST_FILTER ? filter_find(v.s->data, v.s->length)
                                       : test_find(v.s->data, v.s->length)) != UINT32_MAX;
    default:
        return type_is(t->test, v);
    }
}

/* ---- functions ------------------------------------------------------------------- */

#define MAX_RANGE 100000 /* of Jinja's sandbox */

static value make_range(run *r, const arguments *a) {
    int64_t limit[3] = {0, 0, 1};
    const uint32_t base = r->n;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!is_whole(a->v[i]))
            return FAIL(r, SM_ERR_FORMAT, "'%s' object cannot be interpreted as an integer",
                        type_name(a->v[i]));
        limit[a->n == 1 ? 1 : i] = whole_of(a->v[i]);
    }
    if (!limit[2])
        return FAIL(r, SM_ERR_FORMAT, "%s", "range() arg 3 must not be zero");
    for (int64_t i = limit[0]; (limit[2] > 0 ? i < limit[1] : i > limit[1]) && run_step(r, 1);) {
        if (r->n - base == MAX_RANGE)
            return FAIL(r, SM_ERR_UNSUPPORTED, "a range of more than %d items", MAX_RANGE);
        push(r, int_value(i));
        if (__builtin_add_overflow(i, limit[2], &i))
            break;
    }
    return list_from(r, V_RANGE, base);
}

/* Pairs of what is given: a dict or an iterable of pairs first, then names; onto the stack. */
static bool push_pairs(run *r, const arguments *a, uint32_t *n) {
    list items = {0, NULL}, two;
    *n = 0;
    const value from = argument(a, 0, NULL);
    const value given =
        from.type == V_DICT ? (value){.type = V_VIEW, .flag = VIEW_ITEMS, .d = from.d} : from;
    if (a->n && !items_of(r, given, &items))
        return false;
    for (uint32_t i = 0; i < items.n; i++, ++*n) {
        if (!items_of(r, items.items[i], &two) || two.n != 2) {
            FAIL(r, SM_ERR_FORMAT, "%s", "a dict is made of pairs");
            return false;
        }
        push(r, two.items[0]);
        push(r, two.items[1]);
    }
    for (uint32_t k = 0; k < a->n_named; k++, ++*n) {
        push(r, a->named[2 * k]);
        push(r, a->named[2 * k + 1]);
    }
    return !r->status;
}

static value make_dict(run *r, const arguments *a) {
    uint32_t n;
    const uint32_t base = r->n;
    if (!push_pairs(r, a, &n))
        return undefined_value();
    const value v = dict_value(r, r->stack + base, n);
    r->n = base;
    return v;
}

static value make_namespace(run *r, const arguments *a) {
    const value d = make_dict(r, a);
    space *n = run_alloc(r, sizeof *n);
    if (!n || r->status)
        return undefined_value();
    *n = (space){0};
    for (uint32_t i = 0; i < d.d->n; i++)
        if (d.d->keys[i].type == V_STR)
            space_set(r, n, d.d->keys[i].s, d.d->values[i]);
    return (value){.type = V_SPACE, .n = n};
}

static value raise_exception(run *r, const arguments *a) {
    const text *message = text_of(r, argument(a, 0, "message"));
    if (r->status)
        return undefined_value();
    r->exception = sm_strdup(r->mem, message->data, message->length);
    return FAIL(r, r->exception ? SM_ERR_ARGUMENT : SM_ERR_NOMEM, "%.*s", (int)message->length,
                message->data);
}

static value strftime_now(run *r, const arguments *a) {
    const value format = argument(a, 0, "format");
    if (format.type != V_STR)
        return FAIL(r, SM_ERR_FORMAT, "strftime_now() wants a string, not '%s'", type_name(format));
    return time_text(r, format.s);
}

static const struct global_row {
    const char *name;
    value (*call)(run *r, const arguments *a); /* NULL: not here */
    uint8_t least, most;
    const char *names; /* "*": any */
} globals[] = {
    {"range", make_range, 1, 3, NULL},
    {"dict", make_dict, 0, 1, "*"},
    {"namespace", make_namespace, 0, 1, "*"},
    {"raise_exception", raise_exception, 1, 1, "message,"},
    {"strftime_now", strftime_now, 1, 1, "format,"},
    {"cycler", NULL, 0, 0, NULL},
    {"joiner", NULL, 0, 0, NULL},
    {"lipsum", NULL, 0, 0, NULL},
};

uint32_t global_find(const char *name, uint64_t length) {
    for (uint32_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (same_text(name, length, globals[i].name))
            return i;
    return UINT32_MAX;
}

value global_call(run *r, uint32_t global, const arguments *a) {
    const struct global_row *g = &globals[global];
    const arguments of = {a->v, a->n, a->named, a->n_named, g->name};
    if (!g->call)
        return FAIL(r, SM_ERR_UNSUPPORTED, "%s() is not supported", g->name);
    const bool any = g->names && g->names[0] == '*';
    if (any ? a->n > g->most : !arguments_fit(r, &of, g->least, g->most, g->names))
        return r->status ? undefined_value()
                         : FAIL(r, SM_ERR_FORMAT, "%s() takes one argument and names", g->name);
    return g->call(r, &of);
}
