/* filters_list.c - filters of sequences and mappings. */
#include <string.h>

#include "filters.h"

/* ---- sequences ------------------------------------------------------------------- */

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
    if (v.type == V_GEN && v.g->at < v.g->items.n)
        return v.g->items.items[v.g->at++];
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
    value attribute; /* "a.b,c": of several, the first counts most */
    bool case_sensitive;
    uint32_t place; /* of a pair */
} sort_by;

typedef struct group_by {
    value attribute, otherwise;
    bool case_sensitive;
} group_by;

/* A list, as in Jinja: where parts are equal nobody asks for their order. */
static value sort_key(run *r, value item, const void *of) {
    const sort_by *by = of;
    const value path = by->attribute;
    const uint32_t base = r->n;
    if (path.type != V_STR) {
        push(r, compared_part(r, item, path, by->case_sensitive));
        return list_from(r, V_LIST, base);
    }
    for (uint32_t at = 0; at <= path.s->length && !r->status;) {
        uint32_t end = at;
        while (end < path.s->length && path.s->data[end] != ',')
            end++;
        push(r, compared_part(r, item, text_slice(r, path.s, at, end), by->case_sensitive));
        at = end + 1;
    }
    return list_from(r, V_LIST, base);
}

static value pair_key(run *r, value item, const void *of) {
    const sort_by *by = of;
    return compared_part(r, item.l->items[by->place], undefined_value(), by->case_sensitive);
}

static value filter_sort(run *r, value v, const arguments *a) {
    const sort_by by = {.attribute = argument(a, 2, "attribute"),
                        .case_sensitive = flag_of(a, 1, "case_sensitive")};
    list items;
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

/* ---- parting --------------------------------------------------------------------- */

/* Lists of n items; the last one is filled up if asked. */
static value filter_batch(run *r, value v, const arguments *a) {
    const value fill = argument_or(a, 1, "fill_with", none_value());
    const uint32_t base = r->n;
    list items;
    int64_t n;
    if (!whole_or(r, a, 0, "linecount", 0, &n) || !items_of(r, v, &items))
        return undefined_value();
    uint32_t begun = r->n;
    for (uint32_t i = 0; i < items.n && push(r, items.items[i]); i++)
        if (i + 1 < items.n && r->n - begun == n) {
            push(r, list_from(r, V_LIST, begun));
            begun = r->n;
        }
    if (fill.type != V_NONE && items.n)
        while (r->n - begun < n && run_step(r, 1) && push(r, fill)) {
        }
    if (items.n)
        push(r, list_from(r, V_LIST, begun));
    return generator_of(r, base);
}

/* n lists, the first ones an item longer where it does not come out even. */
static value filter_slice(run *r, value v, const arguments *a) {
    const value fill = argument_or(a, 1, "fill_with", none_value());
    const uint32_t base = r->n;
    list items;
    int64_t n;
    if (!whole_or(r, a, 0, "slices", 0, &n) || !items_of(r, v, &items))
        return undefined_value();
    if (!n)
        return FAIL(r, SM_ERR_FORMAT, "%s", "integer division or modulo by zero");
    uint32_t at = 0;
    for (int64_t i = 0; i < n && run_step(r, 1); i++) {
        const bool longer = i < items.n % n;
        const uint32_t begun = r->n, end = at + (uint32_t)(items.n / n) + longer;
        while (at < end && push(r, items.items[at]))
            at++;
        if (fill.type != V_NONE && !longer)
            push(r, fill);
        push(r, list_from(r, V_LIST, begun));
    }
    return generator_of(r, base);
}

static value group_key(run *r, value item, const void *of) {
    const group_by *by = of;
    const value v = path_of(r, item, by->attribute);
    return compared_part(r, v.type == V_UNDEFINED ? by->otherwise : v, none_value(),
                         by->case_sensitive);
}

/* Pairs of what is equal and a list of its items; their parts have names, too. */
static value filter_groupby(run *r, value v, const arguments *a) {
    const group_by by = {argument(a, 0, "attribute"), argument(a, 1, "default"),
                         flag_of(a, 2, "case_sensitive")};
    const group_by shown = {by.attribute, by.otherwise, true};
    const uint32_t base = r->n;
    list items;
    if (!items_of(r, v, &items))
        return undefined_value();
    const value sorted_list = sorted_items(r, &items, group_key, &by, false);
    for (uint32_t i = 0; !r->status && i < sorted_list.l->n;) {
        const value *item = sorted_list.l->items + i;
        const value key = group_key(r, *item, &by);
        const uint32_t begun = r->n;
        push(r, group_key(r, *item, &shown));
        const uint32_t first = r->n;
        do
            push(r, sorted_list.l->items[i++]);
        while (i < sorted_list.l->n && run_step(r, 1) &&
               values_equal(r, group_key(r, sorted_list.l->items[i], &by), key));
        push(r, list_from(r, V_LIST, first));
        value pair = list_from(r, V_TUPLE, begun);
        pair.flag = true;
        push(r, pair);
    }
    return list_from(r, V_LIST, base);
}

/* ---- choosing -------------------------------------------------------------------- */

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

/* ---- of each item ---------------------------------------------------------------- */

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

const filter_row filters_of_lists[] = {
    {"batch", filter_batch, 1, 2, "linecount,fill_with,", true},
    {"count", filter_length, 0, 0, NULL, false},
    {"dictsort", filter_dictsort, 0, 3, "case_sensitive,by,reverse,", false},
    {"first", filter_first, 0, 0, NULL, false},
    {"groupby", filter_groupby, 1, 3, "attribute,default,case_sensitive,", false},
    {"items", filter_items, 0, 0, NULL, true},
    {"last", filter_last, 0, 0, NULL, false},
    {"length", filter_length, 0, 0, NULL, false},
    {"list", filter_list, 0, 0, NULL, false},
    {"map", filter_map, 0, 254, "*", true},
    {"max", filter_max, 0, 2, "case_sensitive,attribute,", false},
    {"min", filter_min, 0, 2, "case_sensitive,attribute,", false},
    {"reject", filter_reject, 0, 254, "*", true},
    {"rejectattr", filter_rejectattr, 0, 254, "*", true},
    {"reverse", filter_reverse, 0, 0, NULL, false},
    {"select", filter_select, 0, 254, "*", true},
    {"selectattr", filter_selectattr, 0, 254, "*", true},
    {"slice", filter_slice, 1, 2, "slices,fill_with,", true},
    {"sort", filter_sort, 0, 3, "reverse,case_sensitive,attribute,", false},
    {"unique", filter_unique, 0, 2, "case_sensitive,attribute,", true},
    {NULL, NULL, 0, 0, NULL, false},
};
