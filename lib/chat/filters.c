/* filters.c - the filters of templates, as Jinja's: what they share, those of numbers, and how
 * they are found. */
#include <math.h>
#include <string.h>

#include "filters.h"

/* ---- arguments ------------------------------------------------------------------- */

bool flag_of(const arguments *a, uint32_t i, const char *name) {
    return truth_of(argument(a, i, name));
}

bool whole_or(run *r, const arguments *a, uint32_t i, const char *name, int64_t otherwise,
              int64_t *out) {
    const value v = argument_or(a, i, name, int_value(otherwise));
    *out = otherwise;
    if (v.type == V_NONE)
        return true;
    if (!is_whole(v)) {
        FAIL(r, SM_ERR_FORMAT, "%s() wants an integer, not '%s'", a->of, type_name(v));
        return false;
    }
    *out = whole_of(v);
    return true;
}

value generator_of(run *r, uint32_t base) {
    generator *g = run_alloc(r, sizeof *g);
    const value items = list_from(r, V_LIST, base);
    if (!g || r->status)
        return undefined_value();
    *g = (generator){.items = *items.l};
    return (value){.type = V_GEN, .g = g};
}

/* What a filter that runs when it is asked for items would say only then. */
static value postponed(run *r, uint32_t base) {
    static const char none[] = "the items of a filter cannot be had";
    const char *what = r->error ? r->error->message : none;
    const uint64_t size = strlen(what) + 1;
    r->status = SM_OK;
    char *failure = run_alloc(r, size);
    const value v = generator_of(r, base);
    if (failure && v.type == V_GEN) {
        memcpy(failure, what, size);
        v.g->failure = failure;
    }
    return v;
}

value path_of(run *r, value v, value path) {
    if (path.type != V_STR)
        return item_of(r, v, path);
    const text *s = path.s;
    for (uint32_t at = 0; at <= s->length && !r->status;) {
        uint32_t end = at;
        bool digits = true;
        for (; end < s->length && s->data[end] != '.'; end++)
            digits = digits && s->data[end] >= '0' && s->data[end] <= '9';
        value key = text_slice(r, s, at, end), number;
        if (digits && end > at && !r->status && text_to_number(key.s, true, 10, &number))
            key = number;
        v = r->status ? v : item_of(r, v, key);
        at = end + 1;
    }
    return v;
}

value compared_part(run *r, value v, value attribute, bool case_sensitive) {
    if (attribute.type != V_UNDEFINED && attribute.type != V_NONE)
        v = path_of(r, v, attribute);
    return v.type == V_STR && !case_sensitive && !r->status ? change_case(r, v.s, CASE_LOWER) : v;
}

/* ---- numbers --------------------------------------------------------------------- */

static value whole_of_float(double f, value otherwise) {
    return f >= -0x1p63 && f < 0x1p63 ? int_value((int64_t)f) : otherwise;
}

static value filter_int(run *r, value v, const arguments *a) {
    const value otherwise = argument_or(a, 0, "default", int_value(0));
    int64_t base;
    value number;
    if (!whole_or(r, a, 1, "base", 10, &base))
        return undefined_value();
    if (is_whole(v))
        return int_value(whole_of(v));
    if (v.type == V_FLOAT)
        return whole_of_float(v.f, otherwise);
    if (v.type == V_UNDEFINED)
        return FAIL(r, SM_ERR_FORMAT, "%s", "an undefined value is no integer");
    if (v.type != V_STR)
        return otherwise;
    if (text_to_number(v.s, true, base, &number))
        return number;
    return text_to_number(v.s, false, 10, &number) ? whole_of_float(number.f, otherwise)
                                                   : otherwise;
}

static value filter_float(run *r, value v, const arguments *a) {
    value number;
    if (v.type == V_UNDEFINED)
        return FAIL(r, SM_ERR_FORMAT, "%s", "an undefined value is no number");
    if (is_number(v))
        return float_value(double_of(v));
    if (v.type == V_STR && text_to_number(v.s, false, 10, &number))
        return number;
    return argument_or(a, 0, "default", float_value(0));
}

static value filter_abs(run *r, value v, const arguments *a) {
    (void)a;
    if (v.type == V_FLOAT)
        return float_value(fabs(v.f));
    if (is_whole(v))
        return whole_of(v) < 0 ? negate(r, v) : int_value(whole_of(v));
    return FAIL(r, SM_ERR_FORMAT, "bad operand type for abs(): '%s'", type_name(v));
}

static value filter_round(run *r, value v, const arguments *a) {
    int64_t digits;
    const value method = argument(a, 1, "method");
    if (!is_number(v))
        return FAIL(r, SM_ERR_FORMAT, "type %s cannot be rounded", type_name(v));
    if (!whole_or(r, a, 0, "precision", 0, &digits))
        return undefined_value();
    const double scale = pow(10, (double)digits), f = double_of(v);
    if (method.type == V_STR && text_is(method.s, "ceil"))
        return float_value(ceil(f * scale) / scale);
    if (method.type == V_STR && text_is(method.s, "floor"))
        return float_value(floor(f * scale) / scale);
    return is_whole(v) && digits >= 0 ? int_value(whole_of(v))
                                      : float_value(rint(f * scale) / scale);
}

static value filter_sum(run *r, value v, const arguments *a) {
    const value attribute = argument(a, 0, "attribute");
    value total = argument_or(a, 1, "start", int_value(0));
    list items;
    if (!items_of(r, v, &items))
        return undefined_value();
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++)
        total = binary(r, BINARY_ADD, total, compared_part(r, items.items[i], attribute, true));
    return total;
}

/* ---- the rest -------------------------------------------------------------------- */

static value filter_default(run *r, value v, const arguments *a) {
    (void)r;
    const bool absent = v.type == V_UNDEFINED || (flag_of(a, 1, "boolean") && !truth_of(v));
    return absent ? argument_or(a, 0, "default_value", value_of_text(&text_empty)) : v;
}

static value filter_attr(run *r, value v, const arguments *a) {
    const value name = argument(a, 0, "name");
    return name.type == V_STR && v.type != V_DICT ? attribute_of(r, v, name.s) : undefined_value();
}

/* ---- the tables ------------------------------------------------------------------ */

static const filter_row other_filters[] = {
    {"abs", filter_abs, 0, 0, NULL, false},
    {"float", filter_float, 0, 1, "default,", false},
    {"int", filter_int, 0, 2, "default,base,", false},
    {"round", filter_round, 0, 2, "precision,method,", false},
    {"sum", filter_sum, 0, 2, "attribute,start,", false},
    {"attr", filter_attr, 1, 1, "name,", false},
    {"d", filter_default, 0, 2, "default_value,boolean,", false},
    {"default", filter_default, 0, 2, "default_value,boolean,", false},
    {NULL, NULL, 0, 0, NULL, false},
};

/* A filter is a table and its row there. */
#define MAX_ROWS 64
static const filter_row *const tables[] = {filters_of_text, filters_of_lists, other_filters};

uint32_t filter_find(const char *name, uint64_t length) {
    for (uint32_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (uint32_t i = 0; tables[t][i].name; i++)
            if (same_text(name, length, tables[t][i].name))
                return t * MAX_ROWS + i;
    return UINT32_MAX;
}

value filter_apply(run *r, uint32_t filter, value v, const arguments *a) {
    const filter_row *f = &tables[filter / MAX_ROWS][filter % MAX_ROWS];
    const arguments of = {a->v, a->n, a->named, a->n_named, f->name};
    if (r->status ||
        (!(f->names && f->names[0] == '*') && !arguments_fit(r, &of, f->least, f->most, f->names)))
        return undefined_value();
    const uint32_t base = r->n;
    const value made = f->apply(r, v, &of);
    return f->lazy && r->status == SM_ERR_FORMAT ? postponed(r, base) : made;
}
