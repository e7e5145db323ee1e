/* filters.c - the filters of templates, as Jinja's. */
#include <math.h>
#include <string.h>

#include "value.h"

/* ---- arguments
 * ---------------------------------------------------------------------------------- */

static bool flag_of(const arguments *a, uint32_t i, const char *name) {
    return truth_of(argument(a, i, name));
}

static bool whole_or(run *r, const arguments *a, uint32_t i, const char *name, int64_t otherwise,
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

static value generator_of(run *r, uint32_t base) {
    generator *g = run_alloc(r, sizeof *g);
    const value items = list_from(r, V_LIST, base);
    if (!g || r->status)
        return undefined_value();
    *g = (generator){*items.l, 0};
    return (value){.type = V_GEN, .g = g};
}

/* Of a path like "function.name" or 0. */
static value path_of(run *r, value v, value path) {
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

/* What is compared: the attribute if there is one, letters without their case unless asked. */
static value compared_part(run *r, value v, value attribute, bool case_sensitive) {
    if (attribute.type != V_UNDEFINED && attribute.type != V_NONE)
        v = path_of(r, v, attribute);
    return v.type == V_STR && !case_sensitive && !r->status ? change_case(r, v.s, CASE_LOWER) : v;
}

/* ---- text
 * ----------------------------------------------------------------------------------------- */

static value filter_string(run *r, value v, const arguments *a) {
    (void)a;
    return v.type == V_STR ? v : value_of_text(text_of(r, v));
}

static value filter_safe(run *r, value v, const arguments *a) {
    (void)a;
    return marked(value_of_text(text_of(r, v)), true);
}

static value filter_escape(run *r, value v, const arguments *a) {
    (void)a;
    return v.type == V_STR && v.flag ? v
                                     : marked(value_of_text(text_escape(r, text_of(r, v))), true);
}

static value filter_lower(run *r, value v, const arguments *a) {
    (void)a;
    return marked(change_case(r, text_of(r, v), CASE_LOWER), v.type == V_STR && v.flag);
}

static value filter_upper(run *r, value v, const arguments *a) {
    (void)a;
    return marked(change_case(r, text_of(r, v), CASE_UPPER), v.type == V_STR && v.flag);
}

static value filter_capitalize(run *r, value v, const arguments *a) {
    (void)a;
    return marked(change_case(r, text_of(r, v), CASE_CAPITAL), v.type == V_STR && v.flag);
}

static bool parts_words(uint32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || code_is_space(c);
}

/* The first character of each word in upper case, the rest in lower case. */
static value filter_title(run *r, value v, const arguments *a) {
    const text *s = text_of(r, v);
    const mark from = text_begin(r);
    uint32_t n;
    (void)a;
    for (uint32_t at = 0; at < s->length && run_step(r, 1);) {
        const bool between = parts_words(code_at(s, at, &n));
        uint32_t end = at;
        while (end < s->length && parts_words(code_at(s, end, &n)) == between)
            end += n;
        code_at(s, at, &n);
        const value first = text_slice(r, s, at, at + n), rest = text_slice(r, s, at + n, end);
        if (r->status)
            break;
        text_append(r, change_case(r, first.s, CASE_UPPER).s);
        text_append(r, change_case(r, rest.s, CASE_LOWER).s);
        at = end;
    }
    return text_value(r, from);
}

static value filter_trim(run *r, value v, const arguments *a) {
    const value chars = argument(a, 0, "chars");
    if (chars.type != V_STR && chars.type != V_UNDEFINED && chars.type != V_NONE)
        return FAIL(r, SM_ERR_FORMAT, "trim wants a string, not '%s'", type_name(chars));
    return marked(strip_text(r, text_of(r, v), chars.type == V_STR ? chars.s : NULL, true, true),
                  v.type == V_STR && v.flag);
}

static value filter_replace(run *r, value v, const arguments *a) {
    int64_t count;
    const text *s = text_of(r, v), *from = text_of(r, argument(a, 0, "old")),
               *to = text_of(r, argument(a, 1, "new"));
    if (!whole_or(r, a, 2, "count", -1, &count))
        return undefined_value();
    return replace_text(r, s, from, to, count);
}

static value filter_format(run *r, value v, const arguments *a) {
    const text *s = text_of(r, v);
    if (a->n && a->n_named)
        return FAIL(r, SM_ERR_FORMAT, "%s",
                    "can't handle positional and keyword arguments at once");
    return printf_text(r, s,
                       a->n_named ? dict_value(r, a->named, a->n_named)
                                  : list_value(r, V_TUPLE, a->v, a->n));
}

static value filter_indent(run *r, value v, const arguments *a) {
    const value width = argument_or(a, 0, "width", int_value(4));
    const bool first = flag_of(a, 1, "first"), blank = flag_of(a, 2, "blank");
    const text *s = text_of(r, v);
    mark from = text_begin(r);
    if (width.type != V_STR && !is_whole(width))
        return FAIL(r, SM_ERR_FORMAT, "%s", "indent wants a number or a string");
    for (int64_t i = 0; width.type != V_STR && i < whole_of(width) && run_step(r, 1); i++)
        text_literal(r, " ");
    const text *by = width.type == V_STR ? width.s : text_end(r, from);
    /* as if the text ended with one more newline, of which nothing is seen */
    const value lines =
        split_lines(r, text_concat(r, s, &(text){.data = "\n", .length = 1, .chars = 1}).s, false);
    from = text_begin(r);
    for (uint32_t i = 0; !r->status && i < lines.l->n; i++) {
        const text *line = lines.l->items[i].s;
        if (i)
            text_literal(r, "\n");
        if (i ? blank || line->length : first)
            text_append(r, by);
        text_append(r, line);
    }
    return text_value(r, from);
}

static value filter_join(run *r, value v, const arguments *a) {
    const text *between = text_of(r, argument(a, 0, "d"));
    const value attribute = argument(a, 1, "attribute");
    list items;
    if (!items_of(r, v, &items))
        return undefined_value();
    const mark from = text_begin(r);
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++) {
        value item = items.items[i];
        if (i)
            text_append(r, between);
        if (attribute.type != V_UNDEFINED && attribute.type != V_NONE)
            item = path_of(r, item, attribute);
        show(r, item);
    }
    return text_value(r, from);
}

static const text *separator(run *r, value pair, uint32_t i, const char *otherwise) {
    list two;
    if (pair.type == V_UNDEFINED || pair.type == V_NONE)
        return value_of_bytes(r, otherwise, strlen(otherwise), false).s;
    if (!items_of(r, pair, &two))
        return &text_empty;
    if (two.n != 2 || two.items[i].type != V_STR) {
        FAIL(r, SM_ERR_FORMAT, "%s", "separators are two strings");
        return &text_empty;
    }
    return two.items[i].s;
}

/* json.dumps */
static value filter_tojson(run *r, value v, const arguments *a) {
    const value indent = argument(a, 1, "indent"), pair = argument(a, 2, "separators");
    const bool lines = indent.type == V_STR || is_whole(indent);
    json_form form = {.item = separator(r, pair, 0, lines ? "," : ", "),
                      .key = separator(r, pair, 1, ": "),
                      .ascii = flag_of(a, 0, "ensure_ascii"),
                      .sorted = flag_of(a, 3, "sort_keys")};
    mark from = text_begin(r);
    if (indent.type == V_STR)
        form.indent = indent.s;
    else if (is_whole(indent)) {
        for (int64_t i = 0; i < whole_of(indent) && run_step(r, 1); i++)
            text_literal(r, " ");
        form.indent = text_end(r, from);
    }
    from = text_begin(r);
    show_json(r, v, &form);
    return text_value(r, from);
}

static value filter_from_json(run *r, value v, const arguments *a) {
    (void)a;
    return v.type == V_STR
               ? json_text_value(r, v.s)
               : FAIL(r, SM_ERR_FORMAT, "from_json wants a string, not '%s'", type_name(v));
}

static value filter_wordcount(run *r, value v, const arguments *a) {
    const text *s = text_of(r, v);
    int64_t words = 0;
    bool inside = false;
    uint32_t n;
    (void)a;
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const uint32_t c = code_at(s, at, &n);
        const bool is =
            c == '_' || (c < 0x80 ? (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z')
                                  : !code_is_space(c));
        words += is && !inside;
        inside = is;
    }
    return int_value(words);
}

/* ---- numbers
 * --------------------------------------------------------------------------------------- */

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
    if (v.type != V_STR)
        return otherwise;
    if (text_to_number(v.s, true, base, &number))
        return number;
    return text_to_number(v.s, false, 10, &number) ? whole_of_float(number.f, otherwise)
                                                   : otherwise;
}

static value filter_float(run *r, value v, const arguments *a) {
    value number;
    (void)r;
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

/* ---- sequences
 * --------------------------------------------------------------------------------------- */

static value filter_length(run *r, value v, const arguments *a) {
    uint32_t n;
    (void)a;
    if (!length_of(v, &n))
        return FAIL(r, SM_ERR_FORMAT, "object of type '%s' has no len()", type_name(v));
    return int_value(n);
}

static value filter_list(run *r, value v, const arguments *a) {
    list items;
    (void)a;
    return items_of(r, v, &items) ? list_value(r, V_LIST, items.items, items.n) : undefined_value();
}

static value filter_items(run *r, value v, const arguments *a) {
    const uint32_t base = r->n;
    list items;
    (void)a;
    if (v.type != V_DICT && v.type != V_UNDEFINED)
        return FAIL(r, SM_ERR_FORMAT, "%s", "can only get item pairs from a mapping");
    if (v.type == V_DICT &&
        items_of(r, (value){.type = V_VIEW, .flag = VIEW_ITEMS, .d = v.d}, &items))
        for (uint32_t i = 0; i < items.n; i++)
            push(r, items.items[i]);
    return generator_of(r, base);
}

static value filter_first(run *r, value v, const arguments *a) {
    list items;
    (void)a;
    if (v.type == V_GEN)
        return v.g->at < v.g->items.n ? v.g->items.items[v.g->at++] : undefined_value();
    return items_of(r, v, &items) && items.n ? items.items[0] : undefined_value();
}

static value filter_last(run *r, value v, const arguments *a) {
    list items;
    (void)a;
    if (v.type == V_GEN)
        return FAIL(r, SM_ERR_FORMAT, "'%s' object is not reversible", type_name(v));
    return items_of(r, v, &items) && items.n ? items.items[items.n - 1] : undefined_value();
}

static value filter_reverse(run *r, value v, const arguments *a) {
    const uint32_t base = r->n;
    list items;
    (void)a;
    if (!items_of(r, v, &items))
        return undefined_value();
    if (v.type == V_STR) {
        const mark from = text_begin(r);
        for (uint32_t i = items.n; i-- > 0 && run_step(r, 1);)
            text_append(r, items.items[i].s);
        return text_value(r, from);
    }
    for (uint32_t i = items.n; i-- > 0 && push(r, items.items[i]);) {
    }
    return generator_of(r, base);
}

typedef struct sorted {
    value key, item;
} sorted;

/* Stable: merges halves. */
static void merge_sort(run *r, sorted *x, sorted *other, uint32_t n, bool down) {
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t from = 0; from < n && !r->status; from += 2 * width) {
            const uint32_t middle = min_u32(from + width, n), end = min_u32(from + 2 * width, n);
            uint32_t i = from, k = middle;
            for (uint32_t to = from; to < end && run_step(r, 1); to++) {
                const int order = i < middle && k < end ? values_compare(r, x[k].key, x[i].key) : 0;
                const bool right = i == middle || (k < end && (down ? order > 0 : order < 0));
                other[to] = right ? x[k++] : x[i++];
            }
        }
        for (uint32_t i = 0; i < n && !r->status; i++)
            x[i] = other[i];
    }
}

static value sorted_items(run *r, const list *items,
                          value (*key)(run *r, value item, const void *of), const void *of,
                          bool down) {
    sorted *x = run_alloc(r, ((uint64_t)items->n + 1) * 2 * sizeof *x);
    const uint32_t base = r->n;
    if (!x)
        return undefined_value();
    for (uint32_t i = 0; i < items->n && run_step(r, 1); i++)
        x[i] = (sorted){key(r, items->items[i], of), items->items[i]};
    merge_sort(r, x, x + items->n + 1, items->n, down);
    for (uint32_t i = 0; i < items->n && !r->status; i++)
        push(r, x[i].item);
    return list_from(r, V_LIST, base);
}

typedef struct sort_by {
    value attribute;
    bool case_sensitive;
    uint32_t place; /* of a pair */
} sort_by;

static value sort_key(run *r, value item, const void *of) {
    const sort_by *by = of;
    return compared_part(r, item, by->attribute, by->case_sensitive);
}

static value pair_key(run *r, value item, const void *of) {
    const sort_by *by = of;
    return compared_part(r, item.l->items[by->place], undefined_value(), by->case_sensitive);
}

static value filter_sort(run *r, value v, const arguments *a) {
    const sort_by by = {.attribute = argument(a, 2, "attribute"),
                        .case_sensitive = flag_of(a, 1, "case_sensitive")};
    list items;
    if (by.attribute.type == V_STR && memchr(by.attribute.s->data, ',', by.attribute.s->length))
        return FAIL(r, SM_ERR_UNSUPPORTED, "%s", "sorting by several attributes is not supported");
    return items_of(r, v, &items) ? sorted_items(r, &items, sort_key, &by, flag_of(a, 0, "reverse"))
                                  : undefined_value();
}

static value filter_dictsort(run *r, value v, const arguments *a) {
    const value what = argument(a, 1, "by");
    const bool by_value = what.type == V_STR && text_is(what.s, "value");
    const sort_by by = {.case_sensitive = flag_of(a, 0, "case_sensitive"), .place = by_value};
    list items;
    if (what.type != V_UNDEFINED && !by_value && !(what.type == V_STR && text_is(what.s, "key")))
        return FAIL(r, SM_ERR_FORMAT, "%s", "you can only sort by either \"key\" or \"value\"");
    if (v.type != V_DICT)
        return FAIL(r, SM_ERR_FORMAT, "'%s' object has no items to sort", type_name(v));
    if (!items_of(r, (value){.type = V_VIEW, .flag = VIEW_ITEMS, .d = v.d}, &items))
        return undefined_value();
    return sorted_items(r, &items, pair_key, &by, flag_of(a, 2, "reverse"));
}

static value filter_unique(run *r, value v, const arguments *a) {
    const value attribute = argument(a, 1, "attribute");
    const bool case_sensitive = flag_of(a, 0, "case_sensitive");
    const uint32_t base = r->n;
    list items;
    if (!items_of(r, v, &items))
        return undefined_value();
    value *seen = run_alloc(r, ((uint64_t)items.n + 1) * sizeof *seen);
    uint32_t n = 0;
    for (uint32_t i = 0; seen && i < items.n && run_step(r, 1 + n); i++) {
        const value key = compared_part(r, items.items[i], attribute, case_sensitive);
        uint32_t k = 0;
        if (!can_be_key(key))
            return FAIL(r, SM_ERR_FORMAT, "unhashable type: '%s'", type_name(key));
        while (k < n && !values_equal(r, seen[k], key))
            k++;
        if (k < n)
            continue;
        seen[n++] = key;
        push(r, items.items[i]);
    }
    return generator_of(r, base);
}

static value extreme(run *r, value v, const arguments *a, int sign) {
    const value attribute = argument(a, 1, "attribute");
    const bool case_sensitive = flag_of(a, 0, "case_sensitive");
    list items;
    if (!items_of(r, v, &items) || !items.n)
        return undefined_value();
    value best = items.items[0], best_key = compared_part(r, best, attribute, case_sensitive);
    for (uint32_t i = 1; i < items.n && run_step(r, 1); i++) {
        const value key = compared_part(r, items.items[i], attribute, case_sensitive);
        if (values_compare(r, key, best_key) == sign) {
            best = items.items[i];
            best_key = key;
        }
    }
    return best;
}

static value filter_min(run *r, value v, const arguments *a) {
    return extreme(r, v, a, -1);
}

static value filter_max(run *r, value v, const arguments *a) {
    return extreme(r, v, a, 1);
}

/* ---- of each item
 * -------------------------------------------------------------------------------------- */

/* What is false has no items, whatever it is. */
static bool items_or_none(run *r, value v, list *items) {
    *items = (list){0, NULL};
    return !truth_of(v) || items_of(r, v, items);
}

/* Arguments from i on. */
static arguments rest_of(const arguments *a, uint32_t i) {
    const uint32_t skip = min_u32(i, a->n);
    return (arguments){a->v + skip, a->n - skip, a->named, a->n_named, a->of};
}

static value map_attributes(run *r, const list *items, const arguments *a) {
    const value attribute = argument(a, UINT32_MAX, "attribute"),
                otherwise = argument(a, UINT32_MAX, "default");
    const uint32_t base = r->n;
    for (uint32_t i = 0; i < items->n && run_step(r, 1); i++) {
        const value v = path_of(r, items->items[i], attribute);
        push(r, v.type == V_UNDEFINED ? otherwise : v);
    }
    return generator_of(r, base);
}

static value filter_map(run *r, value v, const arguments *a) {
    list items;
    const uint32_t base = r->n;
    if (!items_or_none(r, v, &items))
        return undefined_value();
    if (!a->n && argument(a, UINT32_MAX, "attribute").type != V_UNDEFINED)
        return map_attributes(r, &items, a);
    const value name = argument(a, 0, NULL);
    if (name.type != V_STR)
        return FAIL(r, SM_ERR_FORMAT, "%s", "map requires a filter argument");
    const uint32_t filter = filter_find(name.s->data, name.s->length);
    if (filter == UINT32_MAX)
        return FAIL(r, SM_ERR_UNSUPPORTED, "the filter '%.*s' is not supported",
                    (int)name.s->length, name.s->data);
    const arguments rest = rest_of(a, 1);
    if (++r->deep > 16)
        FAIL(r, SM_ERR_UNSUPPORTED, "%s", "map inside map inside map");
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++)
        push(r, filter_apply(r, filter, items.items[i], &rest));
    r->deep--;
    return generator_of(r, base);
}

/* Items whose attribute (place 0 of the arguments, if asked) the test says `want` of. */
static value selected(run *r, value v, const arguments *a, bool by_attribute, bool want) {
    const uint32_t base = r->n;
    list items;
    if (by_attribute && !a->n)
        return FAIL(r, SM_ERR_FORMAT, "%s", "missing parameter for attribute name");
    if (!items_or_none(r, v, &items))
        return undefined_value();
    const value name = argument(a, by_attribute, NULL);
    uint32_t test = UINT32_MAX;
    if (name.type != V_UNDEFINED) {
        if (name.type == V_STR)
            test = test_find(name.s->data, name.s->length);
        if (test == UINT32_MAX)
            return FAIL(r, SM_ERR_UNSUPPORTED, "the test '%.*s' is not supported",
                        name.type == V_STR ? (int)name.s->length : 0,
                        name.type == V_STR ? name.s->data : "");
    }
    const arguments rest = rest_of(a, 1 + by_attribute);
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++) {
        const value item = items.items[i];
        const value part_of = by_attribute ? path_of(r, item, a->v[0]) : item;
        const bool is =
            test == UINT32_MAX ? truth_of(part_of) : test_apply(r, test, part_of, &rest);
        if (is == want)
            push(r, item);
    }
    return generator_of(r, base);
}

static value filter_select(run *r, value v, const arguments *a) {
    return selected(r, v, a, false, true);
}

static value filter_reject(run *r, value v, const arguments *a) {
    return selected(r, v, a, false, false);
}

static value filter_selectattr(run *r, value v, const arguments *a) {
    return selected(r, v, a, true, true);
}

static value filter_rejectattr(run *r, value v, const arguments *a) {
    return selected(r, v, a, true, false);
}

/* ---- the rest
 * -------------------------------------------------------------------------------------------- */

static value filter_default(run *r, value v, const arguments *a) {
    (void)r;
    const bool absent = v.type == V_UNDEFINED || (flag_of(a, 1, "boolean") && !truth_of(v));
    return absent ? argument_or(a, 0, "default_value", value_of_text(&text_empty)) : v;
}

static value filter_attr(run *r, value v, const arguments *a) {
    const value name = argument(a, 0, "name");
    return name.type == V_STR && v.type != V_DICT ? attribute_of(r, v, name.s) : undefined_value();
}

/* ---- the table
 * -------------------------------------------------------------------------------------------- */

static const struct filter_row {
    const char *name;
    value (*apply)(run *r, value v, const arguments *a);
    uint8_t least, most;
    const char *names; /* of arguments; "*": any */
} filters[] = {
    {"abs", filter_abs, 0, 0, NULL},
    {"attr", filter_attr, 1, 1, "name,"},
    {"capitalize", filter_capitalize, 0, 0, NULL},
    {"count", filter_length, 0, 0, NULL},
    {"d", filter_default, 0, 2, "default_value,boolean,"},
    {"default", filter_default, 0, 2, "default_value,boolean,"},
    {"dictsort", filter_dictsort, 0, 3, "case_sensitive,by,reverse,"},
    {"e", filter_escape, 0, 0, NULL},
    {"escape", filter_escape, 0, 0, NULL},
    {"first", filter_first, 0, 0, NULL},
    {"float", filter_float, 0, 1, "default,"},
    {"format", filter_format, 0, 254, "*"},
    {"from_json", filter_from_json, 0, 0, NULL},
    {"indent", filter_indent, 0, 3, "width,first,blank,"},
    {"int", filter_int, 0, 2, "default,base,"},
    {"items", filter_items, 0, 0, NULL},
    {"join", filter_join, 0, 2, "d,attribute,"},
    {"last", filter_last, 0, 0, NULL},
    {"length", filter_length, 0, 0, NULL},
    {"list", filter_list, 0, 0, NULL},
    {"lower", filter_lower, 0, 0, NULL},
    {"map", filter_map, 0, 254, "*"},
    {"max", filter_max, 0, 2, "case_sensitive,attribute,"},
    {"min", filter_min, 0, 2, "case_sensitive,attribute,"},
    {"reject", filter_reject, 0, 254, "*"},
    {"rejectattr", filter_rejectattr, 0, 254, "*"},
    {"replace", filter_replace, 2, 3, "old,new,count,"},
    {"reverse", filter_reverse, 0, 0, NULL},
    {"round", filter_round, 0, 2, "precision,method,"},
    {"safe", filter_safe, 0, 0, NULL},
    {"select", filter_select, 0, 254, "*"},
    {"selectattr", filter_selectattr, 0, 254, "*"},
    {"sort", filter_sort, 0, 3, "reverse,case_sensitive,attribute,"},
    {"string", filter_string, 0, 0, NULL},
    {"sum", filter_sum, 0, 2, "attribute,start,"},
    {"title", filter_title, 0, 0, NULL},
    {"tojson", filter_tojson, 0, 4, "ensure_ascii,indent,separators,sort_keys,"},
    {"trim", filter_trim, 0, 1, "chars,"},
    {"unique", filter_unique, 0, 2, "case_sensitive,attribute,"},
    {"upper", filter_upper, 0, 0, NULL},
    {"wordcount", filter_wordcount, 0, 0, NULL},
};

uint32_t filter_find(const char *name, uint64_t length) {
    for (uint32_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (same_text(name, length, filters[i].name))
            return i;
    return UINT32_MAX;
}

value filter_apply(run *r, uint32_t filter, value v, const arguments *a) {
    const struct filter_row *f = &filters[filter];
    const arguments of = {a->v, a->n, a->named, a->n_named, f->name};
    if (r->status ||
        (!(f->names && f->names[0] == '*') && !arguments_fit(r, &of, f->least, f->most, f->names)))
        return undefined_value();
    return f->apply(r, v, &of);
}
