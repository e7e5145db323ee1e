/* compile_expression.c - constants and expressions: code that leaves a value on the stack. */
#include <string.h>

#include "compile.h"

#define MAX_ARGUMENTS 255

/* ---- constants ------------------------------------------------------------------- */

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

void constant(compiler *c, value v) {
    emit(c, OP_CONST, 0, 0, add_constant(c, v));
}

/* ---- expressions ----------------------------------------------------------------- */

/* Whether what ended last time began there: a tuple may end here. */
bool tuple_ends(const compiler *c, const char *end_name) {
    return c->now.type == T_CLOSE_VAR || c->now.type == T_CLOSE_TAG || at_sign(c, ")") ||
           (end_name && at_name(c, end_name));
}

/* Expressions with commas between them: one, or a tuple. `explicit`: inside brackets, where there
 * may be none. */
void tuple(compiler *c, void (*item)(compiler *c), const char *end_name, bool explicit) {
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

void filter(compiler *c) {
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

void unary(compiler *c, bool with_filters) {
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

void condition_free(compiler *c) {
    if (!enter(c))
        return;
    either(c);
    c->depth--;
}

/* The value stands in front of its condition: its code goes behind that of the condition. */
void expression(compiler *c) {
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
