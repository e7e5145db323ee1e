/* value.c - values: truth, order, looking things up, as Python and Jinja do it. */
#include "value.h"

#include <math.h>

#define DEEP 100 /* lists and dicts inside each other */

/* ---- making ---------------------------------------------------------------------- */

value list_value(run *r, value_type type, const value *items, uint32_t n) {
    list *l = run_alloc(r, sizeof *l);
    value *copy = l ? run_alloc(r, ((uint64_t)n + !n) * sizeof *copy) : NULL;
    if (!copy || !run_step(r, n / 4))
        return undefined_value();
    for (uint32_t i = 0; i < n; i++)
        copy[i] = items[i];
    *l = (list){n, copy};
    return (value){.type = (uint8_t)type, .l = l};
}

bool can_be_key(value v) {
    return v.type != V_LIST && v.type != V_DICT && v.type != V_SPACE;
}

static bool find_key(run *r, const value *keys, uint32_t n, value key, uint32_t *at) {
    if (!run_step(r, 1 + n / 8))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (keys[i].type == V_STR && key.type == V_STR ? text_same(keys[i].s, key.s)
                                                       : values_equal(r, keys[i], key)) {
            *at = i;
            return true;
        }
    return false;
}

value dict_value(run *r, const value *pairs, uint32_t n) {
    dict *d = run_alloc(r, sizeof *d);
    value *keys = run_alloc(r, ((uint64_t)n + 1) * 2 * sizeof *keys), *values = keys + n + 1;
    if (!d || !keys)
        return undefined_value();
    *d = (dict){0, keys, values};
    for (uint32_t i = 0; i < n && !r->status; i++) {
        uint32_t at = d->n;
        if (!can_be_key(pairs[2 * i]))
            return FAIL(r, SM_ERR_FORMAT, "unhashable type: '%s'", type_name(pairs[2 * i]));
        if (!find_key(r, keys, d->n, pairs[2 * i], &at))
            keys[d->n++] = pairs[2 * i];
        values[at] = pairs[2 * i + 1];
    }
    return (value){.type = V_DICT, .d = d};
}

/* ---- from JSON ------------------------------------------------------------------- */

static value json_number(run *r, const sm_json *json, sm_json_value v) {
    uint64_t length;
    int64_t i;
    double f;
    const char *digits = sm_json_text(json, v, &length);
    if (sm_json_i64(json, v, &i))
        return (value){.type = V_INT, .user = true, .i = i};
    for (uint64_t k = 0; k < length; k++)
        if (digits[k] == '.' || digits[k] == 'e' || digits[k] == 'E') {
            if (!sm_json_double(json, v, &f))
                f = digits[0] == '-' ? -HUGE_VAL : HUGE_VAL;
            return (value){.type = V_FLOAT, .user = true, .f = f};
        }
    value big = value_of_bytes(r, digits, length, true);
    big.type = V_BIG;
    return big;
}

static value json_container(run *r, const sm_json *json, sm_json_value v, bool object) {
    const uint32_t n = sm_json_count(json, v);
    value *items = run_alloc(r, ((uint64_t)n + 1) * (object ? 2 : 1) * sizeof *items);
    uint32_t k = 0;
    if (!items || !run_step(r, n))
        return undefined_value();
    for (sm_json_value i = sm_json_first(json, v); i != SM_JSON_NONE && !r->status;
         i = sm_json_next(json, v, i)) {
        items[k++] = json_value(r, json, i);
        if (object)
            items[k++] = json_value(r, json, sm_json_member(json, i));
    }
    return object ? dict_value(r, items, n) : list_value(r, V_LIST, items, n);
}

/* Its depth is that of the document: SM_JSON_MAX_DEPTH at most. */
value json_value(run *r, const sm_json *json, sm_json_value v) {
    uint64_t length;
    const char *data = sm_json_text(json, v, &length);
    switch (sm_json_kind_of(json, v)) {
    case SM_JSON_FALSE:
    case SM_JSON_TRUE:
        return bool_value(sm_json_kind_of(json, v) == SM_JSON_TRUE);
    case SM_JSON_NUMBER:
        return json_number(r, json, v);
    case SM_JSON_STRING:
        return value_of_bytes(r, data, length, true);
    case SM_JSON_ARRAY:
        return json_container(r, json, v, false);
    case SM_JSON_OBJECT:
        return json_container(r, json, v, true);
    default:
        return none_value();
    }
}

/* ---- what they are --------------------------------------------------------------- */

const char *type_name(value v) {
    static const char *const names[] = {
        "Undefined", "NoneType",  "bool",        "int",   "float",    "int",
        "str",       "list",      "tuple",       "range", "dict",     "dict_view",
        "generator", "Namespace", "LoopContext", "Macro", "function", "method"};
    return names[v.type];
}

bool truth_of(value v) {
    switch (v.type) {
    case V_UNDEFINED:
    case V_NONE:
        return false;
    case V_BOOL:
        return v.truth;
    case V_INT:
        return v.i != 0;
    case V_FLOAT:
        return v.f != 0;
    case V_STR:
        return v.s->length != 0;
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
        return v.l->n != 0;
    case V_DICT:
    case V_VIEW:
        return v.d->n != 0;
    default:
        return true;
    }
}

bool length_of(value v, uint32_t *n) {
    switch (v.type) {
    case V_UNDEFINED:
        *n = 0;
        return true;
    case V_STR:
        *n = v.s->chars;
        return true;
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
        *n = v.l->n;
        return true;
    case V_DICT:
    case V_VIEW:
        *n = v.d->n;
        return true;
    case V_LOOP:
        *n = v.loop->n_kept;
        return true;
    default:
        return false;
    }
}

static bool chars_of(run *r, const text *s, list *out) {
    value *items = run_alloc(r, (uint64_t)s->chars * sizeof *items + 1);
    uint32_t n;
    if (!items || !run_step(r, s->chars))
        return false;
    *out = (list){s->chars, items};
    for (uint32_t i = 0, at = 0; i < s->chars; i++, at += n) {
        code_at(s, at, &n);
        items[i] = text_slice(r, s, at, at + n);
    }
    return !r->status;
}

static bool view_items(run *r, value v, list *out) {
    value *pairs;
    if (v.flag != VIEW_ITEMS) {
        *out = (list){v.d->n, v.flag == VIEW_KEYS ? v.d->keys : v.d->values};
        return true;
    }
    pairs = run_alloc(r, (uint64_t)v.d->n * sizeof *pairs + 1);
    if (!pairs)
        return false;
    for (uint32_t i = 0; i < v.d->n && !r->status; i++) {
        const value pair[2] = {v.d->keys[i], v.d->values[i]};
        pairs[i] = list_value(r, V_TUPLE, pair, 2);
    }
    *out = (list){v.d->n, pairs};
    return !r->status;
}

bool items_of(run *r, value v, list *out) {
    switch (v.type) {
    case V_UNDEFINED:
        *out = (list){0, NULL};
        if (v.flag)
            FAIL(r, SM_ERR_FORMAT, "%s", "access to an attribute that is unsafe");
        return !v.flag;
    case V_STR:
        return chars_of(r, v.s, out);
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
        *out = *v.l;
        return true;
    case V_DICT:
        *out = (list){v.d->n, v.d->keys};
        return true;
    case V_VIEW:
        return view_items(r, v, out);
    case V_GEN:
        *out = (list){v.g->items.n - v.g->at, v.g->items.items + v.g->at};
        v.g->at = v.g->items.n;
        if (v.g->failure && !r->status)
            run_failed(r, sm_fail(r->error, SM_ERR_FORMAT, "%s", v.g->failure));
        return !r->status;
    default:
        FAIL(r, SM_ERR_FORMAT, "'%s' object is not iterable", type_name(v));
        return false;
    }
}

/* ---- order ----------------------------------------------------------------------- */

static bool sequences_equal(run *r, const list *a, const list *b) {
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!values_equal(r, a->items[i], b->items[i]))
            return false;
    return true;
}

static bool dicts_equal(run *r, const dict *a, const dict *b) {
    value other;
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (!dict_find(r, b, a->keys[i], &other) || !values_equal(r, a->values[i], other))
            return false;
    return true;
}

/* Whether an integer is a double, exactly. */
static bool number_equal(value a, value b) {
    if (is_whole(a) && is_whole(b))
        return whole_of(a) == whole_of(b);
    if (a.type == V_FLOAT && b.type == V_FLOAT)
        return a.f == b.f;
    const value whole = is_whole(a) ? a : b;
    const double f = is_whole(a) ? b.f : a.f;
    return f >= -0x1p63 && f < 0x1p63 && floor(f) == f && (int64_t)f == whole_of(whole);
}

static bool same_kind_equal(run *r, value a, value b) {
    switch (a.type) {
    case V_UNDEFINED:
    case V_NONE:
        return true;
    case V_BIG:
    case V_STR:
        return text_same(a.s, b.s);
    case V_LIST:
    case V_TUPLE:
    case V_RANGE:
        return a.l == b.l || sequences_equal(r, a.l, b.l);
    case V_DICT:
        return a.d == b.d || dicts_equal(r, a.d, b.d);
    case V_GLOBAL:
        return a.flag == b.flag;
    default:
        return a.p == b.p;
    }
}

bool values_equal(run *r, value a, value b) {
    if (is_number(a) && is_number(b))
        return number_equal(a, b);
    if (a.type != b.type || !run_step(r, 1))
        return false;
    if (++r->deep > DEEP)
        FAIL(r, SM_ERR_UNSUPPORTED, "values more than %d deep", DEEP);
    const bool equal = !r->status && same_kind_equal(r, a, b);
    r->deep--;
    return equal;
}

static int compare_numbers(value a, value b) {
    if (is_whole(a) && is_whole(b))
        return (whole_of(a) > whole_of(b)) - (whole_of(a) < whole_of(b));
    const double x = double_of(a), y = double_of(b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

static int compare_sequences(run *r, const list *a, const list *b) {
    for (uint32_t i = 0; i < a->n && i < b->n && run_step(r, 1); i++)
        if (!values_equal(r, a->items[i], b->items[i]))
            return values_compare(r, a->items[i], b->items[i]);
    return (a->n > b->n) - (a->n < b->n);
}

/* 2: not a number, which is neither. */
int values_compare(run *r, value a, value b) {
    int order = 0;
    if (is_number(a) && is_number(b))
        return compare_numbers(a, b);
    if (a.type == V_STR && b.type == V_STR)
        return run_step(r, 1 + a.s->length / 64) ? text_compare(a.s, b.s) : 0;
    if (a.type == b.type && (a.type == V_LIST || a.type == V_TUPLE)) {
        if (++r->deep > DEEP)
            FAIL(r, SM_ERR_UNSUPPORTED, "values more than %d deep", DEEP);
        else
            order = compare_sequences(r, a.l, b.l);
        r->deep--;
        return order;
    }
    FAIL(r, SM_ERR_FORMAT, "'%s' and '%s' have no order", type_name(a), type_name(b));
    return 0;
}

bool value_in(run *r, value what, value where) {
    value ignored;
    list items;
    if (where.type == V_STR) {
        if (what.type == V_STR)
            return text_find(r, where.s, what.s, 0) != UINT32_MAX;
        FAIL(r, SM_ERR_FORMAT, "'in <string>' requires string as left operand, not %s",
             type_name(what));
        return false;
    }
    if (where.type == V_DICT)
        return dict_find(r, where.d, what, &ignored);
    if (!items_of(r, where, &items))
        return false;
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++)
        if (values_equal(r, items.items[i], what))
            return true;
    return false;
}

/* ---- looking things up ----------------------------------------------------------- */

bool dict_find(run *r, const dict *d, value key, value *out) {
    uint32_t at;
    *out = undefined_value();
    if (!can_be_key(key)) {
        FAIL(r, SM_ERR_FORMAT, "unhashable type: '%s'", type_name(key));
        return false;
    }
    if (!find_key(r, d->keys, d->n, key, &at))
        return false;
    *out = d->values[at];
    return true;
}

bool dict_get(const dict *d, const char *name, value *out) {
    for (uint32_t i = 0; i < d->n; i++)
        if (d->keys[i].type == V_STR && text_is(d->keys[i].s, name)) {
            *out = d->values[i];
            return true;
        }
    return false;
}

void space_set(run *r, space *n, const text *name, value v) {
    for (uint32_t i = 0; i < n->n; i++)
        if (text_same(n->names[i], name)) {
            n->values[i] = v;
            return;
        }
    if (n->n == n->capacity) {
        const uint32_t capacity = 2 * n->capacity + 4;
        const text **names = run_alloc(r, capacity * sizeof *names);
        value *values = run_alloc(r, capacity * sizeof *values);
        if (!names || !values)
            return;
        for (uint32_t i = 0; i < n->n; i++) {
            names[i] = n->names[i];
            values[i] = n->values[i];
        }
        *n = (space){n->n, capacity, names, values};
    }
    n->names[n->n] = name;
    n->values[n->n++] = v;
}

static value space_get(const space *n, const text *name) {
    for (uint32_t i = 0; i < n->n; i++)
        if (text_same(n->names[i], name))
            return n->values[i];
    return undefined_value();
}

static value loop_attribute(run *r, loop *l, const text *name) {
    const uint32_t i = l->next - 1;
    if (text_is(name, "index"))
        return int_value(l->next);
    if (text_is(name, "index0"))
        return int_value(i);
    if (text_is(name, "first"))
        return bool_value(i == 0);
    if (text_is(name, "last"))
        return bool_value(l->next == l->n_kept);
    if (text_is(name, "length"))
        return int_value(l->n_kept);
    if (text_is(name, "revindex"))
        return int_value(l->n_kept - i);
    if (text_is(name, "revindex0"))
        return int_value(l->n_kept - l->next);
    if (text_is(name, "depth"))
        return int_value(l->depth);
    if (text_is(name, "depth0"))
        return int_value(l->depth - 1);
    if (text_is(name, "previtem"))
        return i ? l->kept[i - 1] : undefined_value();
    if (text_is(name, "nextitem"))
        return l->next < l->n_kept ? l->kept[l->next] : undefined_value();
    (void)r;
    return undefined_value();
}

/* The method of that name, bound; undefined if there is none, forbidden where it would change what
 * it belongs to. */
static bool method_of(run *r, value v, const text *name, value *out) {
    uint32_t method;
    bool forbidden;
    if (!method_find(v, name, &method, &forbidden))
        return false;
    *out = (value){.type = V_UNDEFINED, .flag = true};
    if (forbidden)
        return true;
    bound *b = run_alloc(r, sizeof *b);
    if (b) {
        *b = (bound){v, method};
        *out = (value){.type = V_METHOD, .b = b};
    }
    return true;
}

static value undefined_has(run *r, const text *name) {
    return FAIL(r, SM_ERR_FORMAT, "an undefined value has no '%.*s'", (int)name->length,
                name->data);
}

value attribute_of(run *r, value v, const text *name) {
    value found = undefined_value();
    if (v.type == V_UNDEFINED)
        return undefined_has(r, name);
    if (v.type == V_SPACE)
        return space_get(v.n, name);
    if (method_of(r, v, name, &found))
        return found;
    if (v.type == V_LOOP)
        return loop_attribute(r, v.loop, name);
    if (v.type == V_DICT)
        dict_find(r, v.d, value_of_text(name), &found);
    if (v.type == V_TUPLE && v.flag && (text_is(name, "grouper") || text_is(name, "list")))
        return v.l->items[text_is(name, "list")];
    if (v.type == V_MACRO && text_is(name, "name"))
        return value_of_text(v.m->code->name);
    return found;
}

static value index_of(run *r, value v, int64_t i) {
    uint32_t n, bytes;
    length_of(v, &n);
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n)
        return undefined_value();
    if (v.type != V_STR)
        return v.l->items[i];
    run_step(r, (uint64_t)i / 8);
    const uint32_t at = text_offset(v.s, (uint32_t)i);
    code_at(v.s, at, &bytes);
    return text_slice(r, v.s, at, at + bytes);
}

value item_of(run *r, value v, value key) {
    value found = undefined_value();
    if (v.type == V_UNDEFINED)
        return FAIL(r, SM_ERR_FORMAT, "%s", "an undefined value has no items");
    if (v.type == V_DICT && can_be_key(key) && dict_find(r, v.d, key, &found))
        return found;
    if (is_whole(key) && (is_sequence(v) || v.type == V_STR))
        return index_of(r, v, whole_of(key));
    if (key.type == V_STR) {
        if (v.type == V_SPACE)
            return space_get(v.n, key.s);
        if (v.type == V_LOOP)
            return loop_attribute(r, v.loop, key.s);
        if (v.type == V_TUPLE)
            return attribute_of(r, v, key.s);
        method_of(r, v, key.s, &found);
    }
    return found;
}

/* A bound of a slice inside [low, high]; none: otherwise. */
static int64_t bound_of(run *r, value v, int64_t n, int64_t low, int64_t high, int64_t otherwise) {
    if (v.type == V_NONE)
        return otherwise;
    if (!is_whole(v)) {
        FAIL(r, SM_ERR_FORMAT, "%s", "slice indices must be integers or None");
        return 0;
    }
    int64_t i = whole_of(v);
    i += i < 0 ? n : 0;
    return i < low ? low : i > high ? high : i;
}

static value slice_text(run *r, const text *s, int64_t from, int64_t step, uint32_t n) {
    const mark start = text_begin(r);
    if (step == 1) {
        run_step(r, s->length / 32);
        return text_slice(r, s, text_offset(s, (uint32_t)from), text_offset(s, (uint32_t)from + n));
    }
    for (uint32_t i = 0; i < n && run_step(r, 1 + s->length / 64); i++, from += step) {
        uint32_t bytes;
        const uint32_t at = text_offset(s, (uint32_t)from);
        code_at(s, at, &bytes);
        text_range(r, s, at, at + bytes);
    }
    return text_value(r, start);
}

value slice_of(run *r, value v, const value *bounds) {
    uint32_t length;
    if (v.type == V_UNDEFINED)
        return FAIL(r, SM_ERR_FORMAT, "%s", "an undefined value has no items");
    if (v.type != V_STR && !is_sequence(v))
        return FAIL(r, SM_ERR_FORMAT, "no slice can be taken of a value of type '%s'",
                    type_name(v));
    length_of(v, &length);
    const int64_t n = length;
    const int64_t step = bounds[2].type == V_NONE ? 1
                         : is_whole(bounds[2])    ? whole_of(bounds[2])
                                                  : 0;
    if (!step || step < -INT32_MAX || step > INT32_MAX)
        return FAIL(r, SM_ERR_FORMAT, "%s", "slice step must be an integer other than zero");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    const int64_t from = bound_of(r, bounds[0], n, low, high, step > 0 ? 0 : n - 1);
    const int64_t to = bound_of(r, bounds[1], n, low, high, step > 0 ? n : -1);
    const int64_t span = step > 0 ? to - from : from - to, size = step > 0 ? step : -step;
    const uint32_t count = span > 0 ? (uint32_t)((span + size - 1) / size) : 0;
    if (v.type == V_STR)
        return marked(count ? slice_text(r, v.s, from, step, count) : value_of_text(&text_empty),
                      v.flag);
    value *items = run_alloc(r, ((uint64_t)count + 1) * sizeof *items);
    if (!items || !run_step(r, count))
        return undefined_value();
    for (uint32_t i = 0; i < count; i++)
        items[i] = v.l->items[from + step * i];
    return list_value(r, v.type == V_RANGE ? V_RANGE : v.type, items, count);
}
