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
    {"count", filter_length, 0, 0, NULL},
    {"dictsort", filter_dictsort, 0, 3, "case_sensitive,by,reverse,"},
    {"first", filter_first, 0, 0, NULL},
    {"items", filter_items, 0, 0, NULL},
    {"last", filter_last, 0, 0, NULL},
    {"length", filter_length, 0, 0, NULL},
    {"list", filter_list, 0, 0, NULL},
    {"map", filter_map, 0, 254, "*"},
    {"max", filter_max, 0, 2, "case_sensitive,attribute,"},
    {"min", filter_min, 0, 2, "case_sensitive,attribute,"},
    {"reject", filter_reject, 0, 254, "*"},
    {"rejectattr", filter_rejectattr, 0, 254, "*"},
    {"reverse", filter_reverse, 0, 0, NULL},
    {"select", filter_select, 0, 254, "*"},
    {"selectattr", filter_selectattr, 0, 254, "*"},
    {"sort", filter_sort, 0, 3, "reverse,case_sensitive,attribute,"},
    {"unique", filter_unique, 0, 2, "case_sensitive,attribute,"},
    {NULL, NULL, 0, 0, NULL},
};
