/* arithmetic.c - what operators make of two values. */
#include <math.h>
#include <string.h>

#include "value.h"

static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};

static value overflow(run *r) {
    return FAIL(r, SM_ERR_UNSUPPORTED, "%s", "an integer of more than 64 bits");
}

static value power(run *r, int64_t base, int64_t exponent) {
    int64_t result = 1;
    if (exponent < 0) {
        if (!base)
            return FAIL(r, SM_ERR_FORMAT, "%s", "zero cannot be raised to a negative power");
        return float_value(pow((double)base, (double)exponent));
    }
    while (exponent) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result))
            return overflow(r);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return overflow(r);
    }
    return int_value(result);
}

static value whole_arithmetic(run *r, uint8_t how, int64_t a, int64_t b) {
    int64_t out = 0;
    bool over = false;
    if ((how == BINARY_DIV || how == BINARY_FLOOR || how == BINARY_MOD) && !b)
        return FAIL(r, SM_ERR_FORMAT, "%s", "division by zero");
    switch (how) {
    case BINARY_ADD:
        over = __builtin_add_overflow(a, b, &out);
        break;
    case BINARY_SUB:
        over = __builtin_sub_overflow(a, b, &out);
        break;
    case BINARY_MUL:
        over = __builtin_mul_overflow(a, b, &out);
        break;
    case BINARY_DIV:
        return float_value((double)a / (double)b);
    case BINARY_FLOOR:
        over = a == INT64_MIN && b == -1;
        out = over ? 0 : a / b - (a % b && (a < 0) != (b < 0));
        break;
    case BINARY_MOD:
        out = b == -1 ? 0 : a % b;
        out += out && (out < 0) != (b < 0) ? b : 0;
        break;
    default:
        return power(r, a, b);
    }
    return over ? overflow(r) : int_value(out);
}

static double float_mod(double a, double b) {
    const double m = fmod(a, b);
    return m != 0 ? ((m < 0) != (b < 0) ? m + b : m) : copysign(0, b);
}

static value float_arithmetic(run *r, uint8_t how, double a, double b) {
    if (how >= BINARY_DIV && how <= BINARY_MOD && b == 0)
        return FAIL(r, SM_ERR_FORMAT, "%s", "float division by zero");
    switch (how) {
    case BINARY_ADD:
        return float_value(a + b);
    case BINARY_SUB:
        return float_value(a - b);
    case BINARY_MUL:
        return float_value(a * b);
    case BINARY_DIV:
        return float_value(a / b);
    case BINARY_FLOOR: {
        const double whole = (a - float_mod(a, b)) / b, down = floor(whole);
        return float_value(whole != 0 ? (whole - down > 0.5 ? down + 1 : down)
                                      : copysign(0, a / b));
    }
    case BINARY_MOD:
        return float_value(float_mod(a, b));
    default:
        if (a == 0 && b < 0)
            return FAIL(r, SM_ERR_FORMAT, "%s", "zero cannot be raised to a negative power");
        if (a < 0 && a - a == 0 && floor(b) != b)
            return FAIL(r, SM_ERR_UNSUPPORTED, "%s", "a complex number");
        return float_value(pow(a, b));
    }
}

static value join_sequences(run *r, value a, value b) {
    const uint64_t n = (uint64_t)a.l->n + b.l->n;
    value *items = run_alloc(r, (n + 1) * sizeof *items);
    if (!items || !run_step(r, n / 4))
        return undefined_value();
    for (uint32_t i = 0; i < a.l->n; i++)
        items[i] = a.l->items[i];
    for (uint32_t i = 0; i < b.l->n; i++)
        items[a.l->n + i] = b.l->items[i];
    return list_value(r, a.type, items, (uint32_t)n);
}

static value repeated(run *r, value v, int64_t times) {
    const uint64_t n = v.type == V_STR ? v.s->length : v.l->n;
    const mark from = text_begin(r);
    if (times <= 0 || !n)
        return v.type == V_STR ? value_of_text(&text_empty) : list_value(r, v.type, NULL, 0);
    if ((uint64_t)times > INT32_MAX / n)
        return FAIL(r, SM_ERR_UNSUPPORTED, "a sequence of %llu times %lld items",
                    (unsigned long long)n, (long long)times);
    if (v.type == V_STR) {
        for (int64_t i = 0; i < times && run_step(r, 1); i++)
            text_append(r, v.s);
        return text_value(r, from);
    }
    value *items = run_alloc(r, n * (uint64_t)times * sizeof *items);
    if (!items || !run_step(r, n * (uint64_t)times / 4))
        return undefined_value();
    for (uint64_t i = 0; i < n * (uint64_t)times; i++)
        items[i] = v.l->items[i % n];
    return list_value(r, v.type, items, (uint32_t)(n * (uint64_t)times));
}

static bool can_repeat(value v) {
    return v.type == V_STR || v.type == V_LIST || v.type == V_TUPLE;
}

/* What stands beside a text that is marked as safe is escaped. */
static value add_texts(run *r, value a, value b) {
    if (a.flag == b.flag)
        return marked(text_concat(r, a.s, b.s), a.flag);
    return marked(
        text_concat(r, a.flag ? a.s : text_escape(r, a.s), b.flag ? b.s : text_escape(r, b.s)),
        true);
}

value binary(run *r, uint8_t how, value a, value b) {
    if (how == BINARY_MOD && a.type == V_STR)
        return printf_text(r, a.s, b);
    if (is_whole(a) && is_whole(b))
        return whole_arithmetic(r, how, whole_of(a), whole_of(b));
    if (is_number(a) && is_number(b))
        return float_arithmetic(r, how, double_of(a), double_of(b));
    if (how == BINARY_ADD && a.type == V_STR && b.type == V_STR)
        return add_texts(r, a, b);
    if (how == BINARY_ADD && a.type == b.type && (a.type == V_LIST || a.type == V_TUPLE))
        return join_sequences(r, a, b);
    if (how == BINARY_MUL && can_repeat(a) && is_whole(b))
        return marked(repeated(r, a, whole_of(b)), a.flag);
    if (how == BINARY_MUL && can_repeat(b) && is_whole(a))
        return marked(repeated(r, b, whole_of(a)), b.flag);
    if (a.type == V_UNDEFINED || b.type == V_UNDEFINED)
        return FAIL(r, SM_ERR_FORMAT, "an undefined value beside %s", signs[how]);
    return FAIL(r, SM_ERR_FORMAT, "unsupported operand type(s) for %s: '%s' and '%s'", signs[how],
                type_name(a), type_name(b));
}

value negate(run *r, value v) {
    if (is_whole(v))
        return whole_of(v) == INT64_MIN ? overflow(r) : int_value(-whole_of(v));
    if (v.type == V_FLOAT)
        return float_value(-v.f);
    return FAIL(r, SM_ERR_FORMAT, "bad operand type for unary -: '%s'", type_name(v));
}
