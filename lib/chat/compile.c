/* compile.c - a template's text becomes code for the machine of run.c: a parser by recursive
 * descent, its depth limited, that writes code as it reads. What has to run before what was written
 * already is moved in front of it (jumps are relative). */
#include <string.h>

#include "lex.h"
#include "value.h"

#define MAX_ARGUMENTS 255

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

/* ---- failing, tables that grow
 * ------------------------------------------------------------------ */

static void fail_at(compiler *c, sm_status status, const char *what) {
    if (!c->lex.status)
        c->lex.status =
            sm_fail(c->error, status, "%s, line %u: %s", c->lex.name, c->now.line, what);
}

static void fail_token(compiler *c, const char *wanted) {
    char message[160];
    static const char *const kinds[] = {"the end of the template", "text", "{{", "}}", "{%", "%}"};
    if (c->now.type <= T_CLOSE_TAG)
        sm_format(message, sizeof message, "expected %s, not %s", wanted, kinds[c->now.type]);
    else
        sm_format(message, sizeof message, "expected %s, not '%.*s'", wanted,
                  (int)min_u64(c->now.length, 60), c->now.data);
    fail_at(c, SM_ERR_FORMAT, message);
}

static bool failed(const compiler *c) {
    return c->lex.status != SM_OK;
}

/* Room for one more in a table of the template. */
static bool grow(compiler *c, void *table, uint32_t n, uint32_t *capacity, size_t size) {
    void **p = table;
    if (failed(c))
        return false;
    if (n < *capacity)
        return true;
    const uint32_t more = 2 * *capacity + 32;
    void *grown = more < INT32_MAX / 2 ? sm_realloc(c->t->mem, *p, more * (uint64_t)size) : NULL;
    if (!grown) {
        fail_at(c, SM_ERR_NOMEM, "out of memory");
        return false;
    }
    *p = grown;
    *capacity = more;
    return true;
}

static uint32_t emit(compiler *c, op o, uint8_t a, uint32_t b, int32_t arg) {
    sm_template *t = c->t;
    if (!grow(c, &t->code, t->n_code, &t->code_capacity, sizeof *t->code))
        return 0;
    t->code[t->n_code] = (instruction){(uint8_t)o, a, (uint16_t)b, arg, c->now.line};
    return t->n_code++;
}

static uint32_t here(const compiler *c) {
    return c->t->n_code;
}

/* Lets the jump lead here. */
static void land(compiler *c, uint32_t jump) {
    if (!failed(c))
        c->t->code[jump].c = (int32_t)(here(c) - jump);
}

static void jump_to(compiler *c, op o, uint32_t target) {
    const uint32_t at = here(c);
    emit(c, o, 0, 0, (int32_t)target - (int32_t)at);
}

static void reverse(instruction *from, instruction *to) {
    for (; from + 1 < to; from++) {
        const instruction swap = *from;
        *from = *--to;
        *to = swap;
    }
}

/* The code [middle, end) comes before the code [from, middle). */
static void rotate(compiler *c, uint32_t from, uint32_t middle) {
    instruction *all = c->t->code;
    if (failed(c) || from == middle || middle == here(c))
        return;
    reverse(all + from, all + middle);
    reverse(all + middle, all + here(c));
    reverse(all + from, all + here(c));
}

static text *keep_text(compiler *c, const char *data, uint64_t length) {
    sm_template *t = c->t;
    if (!grow(c, &t->texts, t->n_texts, &t->texts_capacity, sizeof *t->texts))
        return NULL;
    text *s = sm_alloc(t->mem, sizeof *s + length + 1);
    if (!s) {
        fail_at(c, SM_ERR_NOMEM, "out of memory");
        return NULL;
    }
    char *copy = (char *)(s + 1);
    if (length)
        memcpy(copy, data, (size_t)length);
    copy[length] = 0;
    *s = (text){.data = copy, .length = (uint32_t)length};
    for (uint32_t i = 0; i < length; i++)
        s->chars += ((uint8_t)copy[i] & 0xC0) != 0x80;
    return t->texts[t->n_texts++] = s;
}

static int32_t add_constant(compiler *c, value v) {
    sm_template *t = c->t;
    if (!grow(c, &t->constants, t->n_constants, &t->constants_capacity, sizeof *t->constants))
        return 0;
    t->constants[t->n_constants] = v;
    return (int32_t)t->n_constants++;
}

static int32_t text_constant(compiler *c, const char *data, uint64_t length) {
    const text *s = keep_text(c, data, length);
    return s ? add_constant(c, value_of_text(s)) : 0;
}

/* The number of a variable's name. */
static int32_t name_of(compiler *c, const char *data, uint64_t length) {
    sm_template *t = c->t;
    for (uint32_t i = 0; i < t->n_names; i++)
        if (same_text(data, length, t->names[i]->data))
            return (int32_t)i;
    const text *s = keep_text(c, data, length);
    if (!s || !grow(c, &t->names, t->n_names, &t->names_capacity, sizeof *t->names))
        return 0;
    t->names[t->n_names] = s;
    return (int32_t)t->n_names++;
}

/* ---- tokens
 * ---------------------------------------------------------------------------------------- */

static void step(compiler *c) {
    c->now = c->next;
    c->next = lex_next(&c->lex);
    if (failed(c))
        c->now = (token){.type = T_END, .data = "", .line = c->now.line};
}

static bool at_sign(const compiler *c, const char *what) {
    return token_is(&c->now, T_SIGN, what);
}

static bool at_name(const compiler *c, const char *what) {
    return token_is(&c->now, T_NAME, what);
}

static bool skip_sign(compiler *c, const char *what) {
    const bool is = at_sign(c, what);
    if (is)
        step(c);
    return is;
}

static bool skip_name(compiler *c, const char *what) {
    const bool is = at_name(c, what);
    if (is)
        step(c);
    return is;
}

static void expect_sign(compiler *c, const char *what) {
    char wanted[16];
    sm_format(wanted, sizeof wanted, "'%s'", what);
    if (!skip_sign(c, what))
        fail_token(c, wanted);
}

static void expect_close(compiler *c) {
    if (c->now.type != T_CLOSE_TAG)
        fail_token(c, "%}");
    step(c);
}

static token expect_name(compiler *c) {
    const token t = c->now;
    if (t.type != T_NAME)
        fail_token(c, "a name");
    step(c);
    return t;
}

static bool enter(compiler *c) {
    if (++c->depth > 4 * SM_TEMPLATE_MAX_DEPTH)
        fail_at(c, SM_ERR_UNSUPPORTED, "nested too deep");
    return !failed(c);
}

/* ---- constants
 * ----------------------------------------------------------------------------------------- */

static int digit_of(char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : 99;
}

static uint32_t number_of(const char *s, uint32_t n, int base, uint32_t *out) {
    uint32_t i = 0;
    *out = 0;
    for (; i < n && digit_of(s[i]) < base; i++)
        *out = *out * (uint32_t)base + (uint32_t)digit_of(s[i]);
    return i;
}

/* \n, \x41, \u20ac, \101 …; *used bytes after the backslash. False: no escape of Python's. */
static bool unescape(const char *s, uint64_t left, uint32_t *code, uint32_t *used) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *simple = *s ? strchr(from, *s) : NULL;
    *used = 1;
    if (simple) {
        *code = (uint8_t)to[simple - from];
        return true;
    }
    if (*s >= '0' && *s <= '7') {
        *used = number_of(s, (uint32_t)min_u64(left, 3), 8, code);
        return true;
    }
    const uint32_t wanted = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
    if (!wanted || left < 1 + wanted || number_of(s + 1, wanted, 16, code) != wanted)
        return false;
    *used = 1 + wanted;
    return *code < 0xD800 || (*code >= 0xE000 && *code <= 0x10FFFF);
}

static void add_string(compiler *c, char *out, uint64_t *n, const token *t) {
    for (uint64_t i = 1; i + 1 < t->length; i++) {
        uint32_t code, used;
        const char *s = t->data + i;
        if (*s != '\\') {
            out[(*n)++] = *s;
        } else if (s[1] == '\n') {
            i++;
        } else if (unescape(s + 1, t->length - 2 - i, &code, &used)) {
            *n += sm_utf8_encode(code, (uint8_t *)out + *n);
            i += used;
        } else if (strchr("xuUN", s[1])) {
            fail_at(c, SM_ERR_FORMAT, "a string with an escape that cannot be read");
        } else {
            out[(*n)++] = *s;
        }
    }
}

/* Strings that follow each other are one. */
static void string_constant(compiler *c) {
    sm_mem *mem = c->t->mem;
    char *out = NULL;
    uint64_t n = 0;
    while (c->now.type == T_STRING && !failed(c)) {
        char *more = sm_realloc(mem, out, n + c->now.length + 8);
        if (!more) {
            fail_at(c, SM_ERR_NOMEM, "out of memory");
            break;
        }
        out = more;
        add_string(c, out, &n, &c->now);
        step(c);
    }
    const int32_t constant = text_constant(c, out, n);
    sm_free(mem, out);
    emit(c, OP_CONST, 0, 0, constant);
}

static void number_constant(compiler *c) {
    char digits[64];
    uint32_t n = 0;
    for (uint64_t i = 0; i < c->now.length; i++)
        if (c->now.data[i] != '_' && n < sizeof digits - 1)
            digits[n++] = c->now.data[i];
    value v = int_value(0);
    if (c->now.type == T_FLOAT) {
        v = float_value(0);
        if (!sm_json_parse_double(digits, n, &v.f))
            fail_at(c, SM_ERR_UNSUPPORTED, "a number that is too large");
    } else {
        const char second = n > 1 ? (char)(digits[1] | 32) : 0;
        const int base = second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
        for (uint32_t i = base == 10 ? 0 : 2; i < n; i++)
            if (__builtin_mul_overflow(v.i, base, &v.i) ||
                __builtin_add_overflow(v.i, digit_of(digits[i]), &v.i))
                fail_at(c, SM_ERR_UNSUPPORTED, "an integer of more than 64 bits");
    }
    emit(c, OP_CONST, 0, 0, add_constant(c, v));
    step(c);
}

static void constant(compiler *c, value v) {
    emit(c, OP_CONST, 0, 0, add_constant(c, v));
}

/* ---- expressions
 * ------------------------------------------------------------------------------------------ */

static void expression(compiler *c);
static void condition_free(compiler *c); /* without `a if b else c` */
static void unary(compiler *c, bool with_filters);

/* Whether what ended last time began there: a tuple may end here. */
static bool tuple_ends(const compiler *c, const char *end_name) {
    return c->now.type == T_CLOSE_VAR || c->now.type == T_CLOSE_TAG || at_sign(c, ")") ||
           (end_name && at_name(c, end_name));
}

/* Expressions with commas between them: one, or a tuple. `explicit`: inside brackets, where there
 * may be none. */
static void tuple(compiler *c, void (*item)(compiler *c), const char *end_name, bool explicit) {
    uint32_t n = 0;
    bool is_tuple = false;
    while (!failed(c)) {
        if (n)
            expect_sign(c, ",");
        if (tuple_ends(c, end_name))
            break;
        item(c);
        n++;
        if (!at_sign(c, ","))
            break;
        is_tuple = true;
    }
    if (!is_tuple && n == 1)
        return;
    if (!n && !explicit)
        fail_token(c, "an expression");
    emit(c, OP_TUPLE, 0, 0, (int32_t)n);
}

static void list_display(compiler *c) {
    int32_t n = 0;
    step(c);
    while (!at_sign(c, "]") && !failed(c)) {
        if (n)
            expect_sign(c, ",");
        if (at_sign(c, "]"))
            break;
        expression(c);
        n++;
    }
    step(c);
    emit(c, OP_LIST, 0, 0, n);
}

static void dict_display(compiler *c) {
    int32_t n = 0;
    step(c);
    while (!at_sign(c, "}") && !failed(c)) {
        if (n)
            expect_sign(c, ",");
        if (at_sign(c, "}"))
            break;
        expression(c);
        expect_sign(c, ":");
        expression(c);
        n++;
    }
    step(c);
    emit(c, OP_DICT, 0, 0, n);
}

static void note_name(compiler *c, const token *t) {
    c->names_caller |= token_is(t, T_NAME, "caller");
    c->names_varargs |= token_is(t, T_NAME, "varargs");
    c->names_kwargs |= token_is(t, T_NAME, "kwargs");
    c->names_loop |= token_is(t, T_NAME, "loop");
}

static void name_or_word(compiler *c) {
    if (at_name(c, "true") || at_name(c, "True"))
        constant(c, bool_value(true));
    else if (at_name(c, "false") || at_name(c, "False"))
        constant(c, bool_value(false));
    else if (at_name(c, "none") || at_name(c, "None"))
        constant(c, none_value());
    else
        emit(c, OP_LOAD, 0, 0, name_of(c, c->now.data, c->now.length));
    note_name(c, &c->now);
    step(c);
}

static void primary(compiler *c) {
    if (c->now.type == T_NAME) {
        name_or_word(c);
    } else if (c->now.type == T_STRING) {
        string_constant(c);
    } else if (c->now.type == T_INTEGER || c->now.type == T_FLOAT) {
        number_constant(c);
    } else if (at_sign(c, "(")) {
        step(c);
        tuple(c, expression, NULL, true);
        expect_sign(c, ")");
    } else if (at_sign(c, "[")) {
        list_display(c);
    } else if (at_sign(c, "{")) {
        dict_display(c);
    } else {
        fail_token(c, "an expression");
    }
}

/* The arguments between brackets: their numbers, and CALL_STAR… of those that lie apart. */
static uint8_t call_arguments(compiler *c, uint32_t *n, uint32_t *n_named) {
    uint8_t stars = 0;
    *n = *n_named = 0;
    expect_sign(c, "(");
    while (!at_sign(c, ")") && !failed(c)) {
        if (*n + *n_named || stars) {
            expect_sign(c, ",");
            if (at_sign(c, ")"))
                break;
        }
        const bool star = at_sign(c, "*");
        if (star || at_sign(c, "**")) { /* all positions, all names, after those that are written */
            if (stars & CALL_STARS || (star && (stars || *n_named)))
                fail_at(c, SM_ERR_UNSUPPORTED, "* and ** stand behind other arguments, once");
            stars |= star ? CALL_STAR : CALL_STARS;
            step(c);
            expression(c);
        } else if (stars & CALL_STARS) {
            fail_at(c, SM_ERR_UNSUPPORTED, "an argument behind **");
        } else if (c->now.type == T_NAME && token_is(&c->next, T_SIGN, "=")) {
            constant(c, value_of_text(keep_text(c, c->now.data, c->now.length)));
            step(c);
            step(c);
            expression(c);
            ++*n_named;
        } else {
            if (*n_named || stars)
                fail_at(c, SM_ERR_FORMAT, "an argument without a name behind one with a name");
            expression(c);
            ++*n;
        }
        if (*n + *n_named > MAX_ARGUMENTS)
            fail_at(c, SM_ERR_UNSUPPORTED, "more than 255 arguments");
    }
    step(c);
    return stars;
}

static void call(compiler *c) {
    uint32_t n, n_named;
    const uint8_t stars = call_arguments(c, &n, &n_named);
    emit(c, OP_CALL, stars, n, (int32_t)n_named);
}

static bool slice_ends(const compiler *c) {
    return at_sign(c, "]") || at_sign(c, ",");
}

static void bound_or_none(compiler *c, const char *end) {
    if (slice_ends(c) || (end && at_sign(c, end)))
        constant(c, none_value());
    else
        expression(c);
}

/* What stands in [ ]: an index, or three bounds; true if bounds. */
static bool subscribed(compiler *c) {
    if (!at_sign(c, ":")) {
        expression(c);
        if (!at_sign(c, ":"))
            return false;
    } else {
        constant(c, none_value());
    }
    step(c);
    bound_or_none(c, ":");
    if (skip_sign(c, ":"))
        bound_or_none(c, NULL);
    else
        constant(c, none_value());
    return true;
}

static void subscript(compiler *c) {
    if (skip_sign(c, ".")) {
        if (c->now.type == T_INTEGER) {
            number_constant(c);
            emit(c, OP_ITEM, 0, 0, 0);
            return;
        }
        const token name = expect_name(c);
        emit(c, OP_ATTR, 0, 0, text_constant(c, name.data, name.length));
        return;
    }
    step(c);
    if (subscribed(c))
        emit(c, OP_SLICE, 0, 0, 0);
    else if (!at_sign(c, ","))
        emit(c, OP_ITEM, 0, 0, 0);
    else
        fail_at(c, SM_ERR_UNSUPPORTED, "an index of several parts");
    expect_sign(c, "]");
}

static void postfix(compiler *c) {
    while (!failed(c)) {
        if (at_sign(c, ".") || at_sign(c, "["))
            subscript(c);
        else if (at_sign(c, "("))
            call(c);
        else
            break;
    }
}

/* a.b of filters and tests. */
static const text *dotted_name(compiler *c) {
    token t = expect_name(c);
    while (at_sign(c, ".") &&
           !failed(c)) { /* the source has no space between them, or is refused */
        step(c);
        const token more = expect_name(c);
        t.length = (uint64_t)(more.data + more.length - t.data);
    }
    return keep_text(c, t.data, t.length);
}

/* The filter or test of that name over the value and n arguments above it. */
static void apply(compiler *c, op o, const text *name, uint32_t n, uint32_t n_named) {
    if (failed(c))
        return;
    const uint32_t row =
        o == OP_TEST ? test_find(name->data, name->length) : filter_find(name->data, name->length);
    if (row == UINT32_MAX)
        emit(c, OP_UNKNOWN, o == OP_TEST, 0, add_constant(c, value_of_text(name)));
    else
        emit(c, o, (uint8_t)row, n, (int32_t)n_named);
}

static void filter(compiler *c) {
    const text *name = dotted_name(c);
    uint32_t n = 0, n_named = 0;
    if (at_sign(c, "(") && call_arguments(c, &n, &n_named))
        fail_at(c, SM_ERR_UNSUPPORTED, "* and ** of a filter are not supported");
    apply(c, OP_FILTER, name, n, n_named);
}

static void test(compiler *c) {
    const bool negated = skip_name(c, "not");
    const text *name = dotted_name(c);
    uint32_t n = 0, n_named = 0;
    const bool starts = c->now.type == T_NAME || c->now.type == T_STRING ||
                        c->now.type == T_INTEGER || c->now.type == T_FLOAT || at_sign(c, "[") ||
                        at_sign(c, "{");
    if (at_sign(c, "(")) {
        if (call_arguments(c, &n, &n_named))
            fail_at(c, SM_ERR_UNSUPPORTED, "* and ** of a test are not supported");
    } else if (starts && !at_name(c, "else") && !at_name(c, "or") && !at_name(c, "and")) {
        if (at_name(c, "is"))
            fail_at(c, SM_ERR_FORMAT, "tests behind each other");
        primary(c);
        postfix(c);
        n = 1;
    }
    apply(c, OP_TEST, name, n, n_named);
    if (negated)
        emit(c, OP_NOT, 0, 0, 0);
}

static void filters(compiler *c) {
    while (!failed(c)) {
        if (skip_sign(c, "|"))
            filter(c);
        else if (skip_name(c, "is"))
            test(c);
        else if (at_sign(c, "("))
            call(c);
        else
            break;
    }
}

static void unary(compiler *c, bool with_filters) {
    if (!enter(c))
        return;
    if (skip_sign(c, "-")) {
        unary(c, false);
        emit(c, OP_NEGATE, 0, 0, 0);
    } else if (skip_sign(c, "+")) {
        unary(c, false);
        emit(c, OP_PLUS, 0, 0, 0);
    } else {
        primary(c);
    }
    postfix(c);
    if (with_filters)
        filters(c);
    c->depth--;
}

static void power(compiler *c) {
    unary(c, true);
    while (skip_sign(c, "**")) {
        unary(c, true);
        emit(c, OP_BINARY, BINARY_POW, 0, 0);
    }
}

static void product(compiler *c) {
    static const char *const signs[] = {"*", "/", "//", "%"};
    static const uint8_t ops[] = {BINARY_MUL, BINARY_DIV, BINARY_FLOOR, BINARY_MOD};
    power(c);
    for (int i = 0; i < 4 && !failed(c); i++)
        if (skip_sign(c, signs[i])) {
            power(c);
            emit(c, OP_BINARY, ops[i], 0, 0);
            i = -1;
        }
}

static void concat(compiler *c) {
    uint32_t n = 1;
    product(c);
    for (; skip_sign(c, "~") && !failed(c); n++)
        product(c);
    if (n > UINT16_MAX)
        fail_at(c, SM_ERR_UNSUPPORTED, "more than 65535 texts joined by ~");
    if (n > 1)
        emit(c, OP_CONCAT, 0, n, 0);
}

static void sum(compiler *c) {
    concat(c);
    while (!failed(c)) {
        const bool add = at_sign(c, "+");
        if (!add && !at_sign(c, "-"))
            break;
        step(c);
        concat(c);
        emit(c, OP_BINARY, add ? BINARY_ADD : BINARY_SUB, 0, 0);
    }
}

/* The comparison at hand, taken; false if there is none. */
static bool comparison(compiler *c, uint8_t *how) {
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    for (uint8_t i = 0; i < 6; i++)
        if (skip_sign(c, signs[i])) {
            *how = (uint8_t)(COMPARE_EQ + i);
            return true;
        }
    if (skip_name(c, "in")) {
        *how = COMPARE_IN;
        return true;
    }
    if (at_name(c, "not") && token_is(&c->next, T_NAME, "in")) {
        step(c);
        step(c);
        *how = COMPARE_NOT_IN;
        return true;
    }
    return false;
}

static void compare(compiler *c) {
    uint32_t chained[16], n = 0;
    uint8_t how;
    sum(c);
    if (!comparison(c, &how))
        return;
    for (;;) {
        sum(c);
        uint8_t following;
        if (!comparison(c, &following))
            break;
        if (n == 16) {
            fail_at(c, SM_ERR_UNSUPPORTED, "more than 16 comparisons behind each other");
            return;
        }
        chained[n++] = emit(c, OP_COMPARE_CHAIN, how, 0, 0);
        how = following;
    }
    emit(c, OP_COMPARE, how, 0, 0);
    while (n)
        land(c, chained[--n]);
}

static void negation(compiler *c) {
    if (!enter(c))
        return;
    if (at_name(c, "not")) {
        step(c);
        negation(c);
        emit(c, OP_NOT, 0, 0, 0);
    } else {
        compare(c);
    }
    c->depth--;
}

/* `and`, `or`: the left value stays where it decides. */
static void both(compiler *c) {
    negation(c);
    while (skip_name(c, "and")) {
        const uint32_t jump = emit(c, OP_AND, 0, 0, 0);
        negation(c);
        land(c, jump);
    }
}

static void either(compiler *c) {
    both(c);
    while (skip_name(c, "or")) {
        const uint32_t jump = emit(c, OP_OR, 0, 0, 0);
        both(c);
        land(c, jump);
    }
}

static void condition_free(compiler *c) {
    if (!enter(c))
        return;
    either(c);
    c->depth--;
}

/* The value stands in front of its condition: its code goes behind that of the condition. */
static void expression(compiler *c) {
    const uint32_t from = here(c);
    if (!enter(c))
        return;
    either(c);
    while (skip_name(c, "if")) {
        const uint32_t condition = here(c);
        either(c);
        const uint32_t jump = emit(c, OP_JUMP_FALSE, 0, 0, 0);
        const uint32_t n_value = condition - from;
        rotate(c, from, condition);
        const uint32_t moved = jump - n_value;
        const uint32_t over = emit(c, OP_JUMP, 0, 0, 0);
        land(c, failed(c) ? 0 : moved);
        if (skip_name(c, "else"))
            expression(c);
        else
            emit(c, OP_UNDEFINED, 0, 0, 0);
        land(c, over);
    }
    c->depth--;
}

/* ---- what is assigned to
 * --------------------------------------------------------------------------------- */

static void store_name(compiler *c, const token *t) {
    if (token_is(t, T_NAME, "true") || token_is(t, T_NAME, "false") ||
        token_is(t, T_NAME, "none") || token_is(t, T_NAME, "True") ||
        token_is(t, T_NAME, "False") || token_is(t, T_NAME, "None"))
        fail_at(c, SM_ERR_FORMAT, "a constant cannot be assigned to");
    emit(c, OP_STORE, 0, 0, name_of(c, t->data, t->length));
}

/* `a`, `a.b` of a namespace, `a, b`, with brackets or without: code that takes a value off the
 * stack. */
static void target(compiler *c, bool namespaces, const char *end_name);

static void one_target(compiler *c, bool namespaces) {
    if (skip_sign(c, "(") || skip_sign(c, "[")) {
        target(c, namespaces, NULL);
        if (!skip_sign(c, ")"))
            expect_sign(c, "]");
        return;
    }
    const token name = expect_name(c);
    if (!namespaces || !at_sign(c, ".")) {
        store_name(c, &name);
        return;
    }
    step(c);
    const token attribute = expect_name(c);
    const int32_t constant_of = text_constant(c, attribute.data, attribute.length);
    if (constant_of > UINT16_MAX)
        fail_at(c, SM_ERR_UNSUPPORTED, "too many constants");
    emit(c, OP_STORE_ATTR, 0, (uint32_t)constant_of, name_of(c, name.data, name.length));
}

static void target(compiler *c, bool namespaces, const char *end_name) {
    const uint32_t from = here(c);
    uint32_t n = 1;
    if (!enter(c))
        return;
    one_target(c, namespaces);
    bool is_tuple = false;
    while (skip_sign(c, ",") && !failed(c)) {
        is_tuple = true;
        if (tuple_ends(c, end_name) || at_sign(c, "=") || at_sign(c, "]"))
            break;
        one_target(c, namespaces);
        n++;
    }
    if (is_tuple) {
        const uint32_t unpack = emit(c, OP_UNPACK, 0, n, 0);
        rotate(c, from, unpack);
    }
    c->depth--;
}

/* ---- statements
 * ------------------------------------------------------------------------------------------ */

static void body(compiler *c, const char *const *ends);

static bool at_end_of(const compiler *c, const char *const *ends) {
    for (; *ends; ends++)
        if (at_name(c, *ends))
            return true;
    return false;
}

/* Code that is written where it does not run, taken off to be written again elsewhere. */
typedef struct cutting {
    instruction *code;
    uint32_t n;
} cutting;

static cutting cut(compiler *c, uint32_t from) {
    cutting out = {NULL, 0};
    const uint32_t n = failed(c) ? 0 : here(c) - from;
    if (!n)
        return out;
    out.code = sm_alloc_array(c->t->mem, n, sizeof *out.code);
    if (!out.code) {
        fail_at(c, SM_ERR_NOMEM, "out of memory");
        return out;
    }
    memcpy(out.code, c->t->code + from, n * sizeof *out.code);
    out.n = n;
    c->t->n_code = from;
    return out;
}

static void paste(compiler *c, const cutting *k) {
    for (uint32_t i = 0; i < k->n; i++)
        emit(c, (op)k->code[i].op, k->code[i].a, k->code[i].b, k->code[i].c);
}

static void drop(compiler *c, cutting *k) {
    sm_free(c->t->mem, k->code);
}

static void loop_body(compiler *c) {
    static const char *const ends[] = {"endfor", "else", NULL};
    body(c, ends);
    c->n_loops--;
    jump_to(c, OP_JUMP, c->loop_next);
    land(c, c->loop_next);
}

static void for_else(compiler *c) {
    static const char *const end[] = {"endfor", NULL};
    expect_close(c);
    const uint32_t over = emit(c, OP_JUMP_FALSE, 0, 0, 0);
    emit(c, OP_SCOPE, 0, 0, 0);
    body(c, end);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    land(c, over);
}

/* With a condition all items go through it before the first one is used, or each when it is its
 * turn; the instruction that decides. */
static uint32_t for_condition(compiler *c, const cutting *targets) {
    const uint32_t fetch = emit(c, OP_FOR_FETCH, 0, 0, 0);
    paste(c, targets);
    expression(c);
    jump_to(c, OP_FOR_KEEP, fetch);
    land(c, fetch);
    return here(c) - 1;
}

static void for_statement(compiler *c) {
    const uint32_t from = here(c);
    target(c, false, "in");
    cutting targets = cut(c, from);
    if (!skip_name(c, "in"))
        fail_token(c, "'in'");
    tuple(c, condition_free, "recursive", false);
    emit(c, OP_FOR, at_name(c, "if"), 0, 0);
    const bool has_condition = skip_name(c, "if");
    const uint32_t keep = has_condition ? for_condition(c, &targets) : 0;
    if (at_name(c, "recursive"))
        fail_at(c, SM_ERR_UNSUPPORTED, "a recursive for is not supported");
    expect_close(c);
    const uint32_t outer_next = c->loop_next, first_break = c->n_breaks;
    c->loop_next = emit(c, OP_FOR_NEXT, 0, 0, 0);
    paste(c, &targets);
    drop(c, &targets);
    c->n_loops++;
    const bool outer_loop = c->names_loop;
    c->names_loop = false;
    loop_body(c);
    /* Jinja looks ahead for `loop` alone */
    if (has_condition && !c->names_loop && !failed(c))
        c->t->code[keep].a = 1;
    c->names_loop |= outer_loop;
    c->loop_next = outer_next;
    while (c->n_breaks > first_break)
        land(c, c->breaks[--c->n_breaks]);
    emit(c, OP_FOR_END, at_name(c, "else"), 0, 0);
    if (skip_name(c, "else"))
        for_else(c);
    step(c);
    expect_close(c);
}

static void loop_control(compiler *c, bool leaves) {
    if (!c->n_loops)
        fail_at(c, SM_ERR_FORMAT, "break or continue outside of a for");
    if (!leaves)
        jump_to(c, OP_JUMP, c->loop_next);
    else if (c->n_breaks == SM_TEMPLATE_MAX_DEPTH)
        fail_at(c, SM_ERR_UNSUPPORTED, "more than 64 breaks in a for");
    else
        c->breaks[c->n_breaks++] = emit(c, OP_JUMP, 0, 0, 0);
    expect_close(c);
}

static void if_statement(compiler *c) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    int32_t over = -1; /* jumps to the end, each with the number of the one before */
    do {
        tuple(c, condition_free, NULL, false);
        expect_close(c);
        const uint32_t jump = emit(c, OP_JUMP_FALSE, 0, 0, 0);
        body(c, ends);
        over = (int32_t)emit(c, OP_JUMP, 0, 0, over);
        land(c, jump);
    } while (skip_name(c, "elif") && !failed(c));
    if (skip_name(c, "else")) {
        expect_close(c);
        body(c, last);
    }
    while (over >= 0 && !failed(c)) {
        const int32_t before = c->t->code[over].c;
        land(c, (uint32_t)over);
        over = before;
    }
    step(c);
    expect_close(c);
}

/* A body whose text goes through filters, whose arguments run behind it. `named`: the first filter
 * stands without |. */
static void body_through_filters(compiler *c, const char *end, bool named) {
    const char *const ends[] = {end, NULL};
    const uint32_t from = here(c);
    if (named)
        filter(c);
    while (skip_sign(c, "|") && !failed(c))
        filter(c);
    cutting applied = cut(c, from);
    expect_close(c);
    emit(c, OP_CAPTURE, 0, 0, 0);
    emit(c, OP_SCOPE, 0, 0, 0);
    body(c, ends);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    emit(c, OP_CAPTURED, 0, 0, 0);
    paste(c, &applied);
    drop(c, &applied);
    step(c);
    expect_close(c);
}

static void set_statement(compiler *c) {
    const uint32_t from = here(c);
    target(c, true, NULL);
    cutting targets = cut(c, from);
    if (skip_sign(c, "=")) {
        tuple(c, expression, NULL, false);
        expect_close(c);
    } else {
        body_through_filters(c, "endset", false);
    }
    paste(c, &targets);
    drop(c, &targets);
}

/* All values are computed outside; the last one lies on top. */
static void with_targets(compiler *c) {
    const uint32_t from = here(c);
    if (c->now.type == T_CLOSE_TAG || !enter(c)) {
        emit(c, OP_SCOPE, 0, 0, 0);
        return;
    }
    target(c, false, "=");
    cutting targets = cut(c, from);
    expect_sign(c, "=");
    expression(c);
    if (skip_sign(c, ","))
        with_targets(c);
    else
        emit(c, OP_SCOPE, 0, 0, 0);
    paste(c, &targets);
    drop(c, &targets);
    c->depth--;
}

static void with_statement(compiler *c) {
    static const char *const ends[] = {"endwith", NULL};
    with_targets(c);
    expect_close(c);
    body(c, ends);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    step(c);
    expect_close(c);
}

/* (a, b=1): parameters of the macro, and the code of their defaults. */
static void parameters(compiler *c, uint32_t row) {
    sm_template *t = c->t;
    expect_sign(c, "(");
    for (uint32_t n = 0; !at_sign(c, ")") && !failed(c); n++) {
        if (n)
            expect_sign(c, ",");
        const token name = expect_name(c);
        const int32_t number = name_of(c, name.data, name.length);
        if (!grow(c, &t->params, t->n_params, &t->params_capacity, sizeof *t->params))
            return;
        t->params[t->n_params++] = (uint32_t)number;
        t->macros[row].n_params++;
        if (skip_sign(c, "=")) {
            const uint32_t given = emit(c, OP_DEFAULT, 0, n, 0);
            expression(c);
            emit(c, OP_STORE, 0, 0, number);
            land(c, given);
            t->macros[row].n_defaults++;
        } else if (t->macros[row].n_defaults) {
            fail_at(c, SM_ERR_FORMAT, "a parameter without a default behind one with it");
        }
    }
    step(c);
}

/* The code of a macro, which is jumped over; its row. */
static uint32_t macro_code_of(compiler *c, const text *name, const char *end, bool has_parameters) {
    const char *const ends[] = {end, NULL};
    sm_template *t = c->t;
    if (!name || !grow(c, &t->macros, t->n_macros, &t->macros_capacity, sizeof *t->macros))
        return 0;
    const uint32_t row = t->n_macros++, n_loops = c->n_loops;
    const bool outer_caller = c->names_caller, outer_varargs = c->names_varargs,
               outer_kwargs = c->names_kwargs;
    const uint32_t over = emit(c, OP_JUMP, 0, 0, 0);
    t->macros[row] = (macro_code){.entry = here(c), .name = name, .first_param = t->n_params};
    c->n_loops = 0;
    c->names_caller = c->names_varargs = c->names_kwargs = false;
    if (has_parameters)
        parameters(c, row);
    expect_close(c);
    body(c, ends);
    if (failed(c))
        return 0;
    t->macros[row].uses_caller = c->names_caller;
    t->macros[row].uses_varargs = c->names_varargs;
    t->macros[row].uses_kwargs = c->names_kwargs;
    emit(c, OP_RETURN, 0, 0, 0);
    land(c, over);
    c->n_loops = n_loops;
    c->names_caller = outer_caller;
    c->names_varargs = outer_varargs;
    c->names_kwargs = outer_kwargs;
    return row;
}

static void end_statement(compiler *c) {
    step(c);
    expect_close(c);
}

static void macro_statement(compiler *c) {
    const token name = expect_name(c);
    const uint32_t row = macro_code_of(c, keep_text(c, name.data, name.length), "endmacro", true);
    emit(c, OP_MACRO, 0, 0, (int32_t)row);
    emit(c, OP_STORE, 0, 0, name_of(c, name.data, name.length));
    end_statement(c);
}

/* The body is a macro that the one called knows as `caller`. Its parameters are read before what is
 * called, its body behind that. */
static void call_statement(compiler *c) {
    sm_template *t = c->t;
    uint32_t first = 0, n = 0;
    if (at_sign(c, "(")) {
        /* written as a macro of its own would take more than any template does */
        step(c);
        first = t->n_params;
        for (; !at_sign(c, ")") && !failed(c); n++) {
            if (n)
                expect_sign(c, ",");
            const token name = expect_name(c);
            const int32_t number = name_of(c, name.data, name.length);
            if (grow(c, &t->params, t->n_params, &t->params_capacity, sizeof *t->params))
                t->params[t->n_params++] = (uint32_t)number;
            if (at_sign(c, "="))
                fail_at(c, SM_ERR_UNSUPPORTED, "defaults of a call block are not supported");
        }
        step(c);
    }
    unary(c, false);
    if (!failed(c) && (!here(c) || t->code[here(c) - 1].op != OP_CALL))
        fail_at(c, SM_ERR_FORMAT, "expected a call");
    if (failed(c))
        return;
    const instruction called = t->code[--t->n_code];
    const uint32_t row = macro_code_of(c, keep_text(c, "caller", 6), "endcall", false);
    if (failed(c))
        return;
    t->macros[row].first_param = first;
    t->macros[row].n_params = n;
    emit(c, OP_MACRO, 0, 0, (int32_t)row);
    emit(c, OP_CALL, (uint8_t)(called.a | CALL_CALLER), called.b, called.c);
    emit(c, OP_SHOW, 0, 0, 0);
    end_statement(c);
}

/* What transformers marks for its masks: here the body by itself. */
static void generation_statement(compiler *c) {
    static const char *const ends[] = {"endgeneration", NULL};
    expect_close(c);
    emit(c, OP_SCOPE, 0, 0, 0);
    body(c, ends);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    end_statement(c);
}

static void print_statement(compiler *c) {
    tuple(c, expression, NULL, true);
    emit(c, OP_SHOW, 0, 0, 0);
    expect_close(c);
}

static void filter_statement(compiler *c) {
    body_through_filters(c, "endfilter", true);
    emit(c, OP_SHOW, 0, 0, 0);
}

static void statement(compiler *c) {
    static const struct {
        const char *name;
        void (*read)(compiler *c);
    } statements[] = {{"for", for_statement},    {"if", if_statement},
                      {"set", set_statement},    {"macro", macro_statement},
                      {"call", call_statement},  {"filter", filter_statement},
                      {"with", with_statement},  {"generation", generation_statement},
                      {"print", print_statement}};
    const token name = expect_name(c);
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (token_is(&name, T_NAME, statements[i].name)) {
            statements[i].read(c);
            return;
        }
    if (token_is(&name, T_NAME, "break") || token_is(&name, T_NAME, "continue")) {
        loop_control(c, name.length == 5);
        return;
    }
    char message[120];
    static const char known[] = " include import from extends block autoescape trans do ";
    char word[40];
    sm_format(word, sizeof word, " %.*s ", (int)min_u64(name.length, 30), name.data);
    sm_format(message, sizeof message, "{%% %.*s %%} is not %s", (int)min_u64(name.length, 60),
              name.data, strstr(known, word) ? "supported" : "a statement");
    c->now.line = name.line;
    fail_at(c, strstr(known, word) ? SM_ERR_UNSUPPORTED : SM_ERR_FORMAT, message);
}

/* Up to a tag with one of these names, whose name is the token at hand then; ends NULL: up to the
 * template's end. */
static void body(compiler *c, const char *const *ends) {
    if (!enter(c))
        return;
    while (!failed(c)) {
        if (c->now.type == T_DATA) {
            if (c->now.length)
                emit(c, OP_TEXT, 0, 0, text_constant(c, c->now.data, c->now.length));
            step(c);
        } else if (c->now.type == T_OPEN_VAR) {
            step(c);
            tuple(c, expression, NULL, false);
            emit(c, OP_SHOW, 0, 0, 0);
            if (c->now.type != T_CLOSE_VAR)
                fail_token(c, "}}");
            step(c);
        } else if (c->now.type == T_OPEN_TAG) {
            step(c);
            if (ends && at_end_of(c, ends))
                break;
            statement(c);
        } else {
            if (ends)
                fail_token(c, ends[0]);
            break;
        }
    }
    c->depth--;
}

/* ---- the template
 * ------------------------------------------------------------------------------------------ */

/* Line ends become \n, the last one goes. */
static bool take_source(sm_template *t, const char *data, uint64_t length) {
    uint64_t n = 0;
    t->source = sm_alloc(t->mem, length + 1);
    if (!t->source)
        return false;
    for (uint64_t i = 0; i < length; i++) {
        if (data[i] == '\r' && i + 1 < length && data[i + 1] == '\n')
            continue;
        t->source[n++] = data[i] == '\r' ? '\n' : data[i];
    }
    n -= n && t->source[n - 1] == '\n';
    t->source[n] = 0;
    t->length = n;
    return true;
}

static bool is_utf8(const char *data, uint64_t length) {
    uint32_t code, n;
    for (uint64_t i = 0; i < length; i += n) {
        n = sm_utf8_decode((const uint8_t *)data + i, length - i, &code);
        if (code == UINT32_MAX)
            return false;
    }
    return true;
}

void sm_template_free(sm_template *t) {
    if (!t)
        return;
    sm_mem *mem = t->mem;
    for (uint32_t i = 0; i < t->n_texts; i++)
        sm_free(mem, t->texts[i]);
    sm_free(mem, t->texts);
    sm_free(mem, t->names);
    sm_free(mem, t->constants);
    sm_free(mem, t->macros);
    sm_free(mem, t->params);
    sm_free(mem, t->code);
    sm_free(mem, t->source);
    sm_free(mem, t->name);
    sm_free(mem, t);
}

sm_status sm_template_parse(sm_template **out, sm_mem *mem, const char *from, uint64_t length,
                            const char *name, sm_error *error) {
    *out = NULL;
    if (length > SM_TEMPLATE_MAX_BYTES)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: a template of more than %u bytes", name,
                       SM_TEMPLATE_MAX_BYTES);
    if (!is_utf8(from, length))
        return sm_fail(error, SM_ERR_FORMAT, "%s: a template that is not UTF-8", name);
    sm_template *t = sm_alloc_zero(mem, sizeof *t);
    if (!t)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", name);
    t->mem = mem;
    t->name = sm_strdup(mem, name, strlen(name));
    if (!t->name || !take_source(t, from, length)) {
        sm_template_free(t);
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", name);
    }
    compiler c = {.t = t,
                  .error = error,
                  .lex = {.name = t->name,
                          .source = t->source,
                          .length = t->length,
                          .line = 1,
                          .line_starts = true,
                          .inside = T_DATA,
                          .error = error}};
    step(&c);
    step(&c);
    body(&c, NULL);
    if (!failed(&c) && c.now.type != T_END)
        fail_token(&c, "the end of the template");
    emit(&c, OP_END, 0, 0, 0);
    if (failed(&c)) {
        const sm_status status = c.lex.status;
        sm_template_free(t);
        return status;
    }
    *out = t;
    return SM_OK;
}

bool sm_template_names(const sm_template *t, const char *name) {
    for (uint32_t i = 0; i < t->n_code; i++)
        if (t->code[i].op == OP_LOAD && text_is(t->names[t->code[i].c], name))
            return true;
    return false;
}

bool sm_template_mentions(const sm_template *t, const char *what) {
    for (uint32_t i = 0; i < t->n_constants; i++)
        if (t->constants[i].type == V_STR && text_is(t->constants[i].s, what))
            return true;
    return false;
}
