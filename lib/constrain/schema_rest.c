/* schema_rest.c - unevaluatedProperties and unevaluatedItems: what a schema and those applied in
 * its place have not looked at. Which of these apply depends on the value: each way is a case of
 * its own. */
#include "schema.h"

#define MAX_WAYS 64

/* If `when` holds, keys in `keys` and items from `items` on were not looked at. */
typedef struct way {
    formula when, keys;
    uint32_t items;
} way;

static void add_way(schema *s, list *l, formula when, formula keys, uint32_t items) {
    const way w = {when, keys, items};
    if (when != FALSUM)
        sm_schema_push(s, l, &w, sizeof w);
}

/* Both happen: every way of one with every way of the other. Takes `b`. */
static void both(schema *s, list *a, list *b) {
    list out = {0};
    for (uint32_t i = 0; i < a->n && !s->status; i++)
        for (uint32_t k = 0; k < b->n && !s->status; k++) {
            const way *x = (way *)a->data + i, *y = (way *)b->data + k;
            add_way(s, &out, sm_formula_and2(s, x->when, y->when),
                    sm_formula_and2(s, x->keys, y->keys),
                    x->items > y->items ? x->items : y->items);
        }
    if (out.n > MAX_WAYS)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "unevaluated: more than 64 ways through the schemas in place");
    sm_free(s->mem, a->data);
    sm_free(s->mem, b->data);
    *a = out;
}

static list ways_of(schema *s, sm_json_value value, bool nested);

/* All ways of `value` where `when` holds. */
static void add_ways(schema *s, list *l, formula when, sm_json_value value) {
    list inner = ways_of(s, value, true);
    for (uint32_t i = 0; i < inner.n; i++) {
        const way *w = (way *)inner.data + i;
        add_way(s, l, sm_formula_and2(s, when, w->when), w->keys, w->items);
    }
    sm_free(s->mem, inner.data);
}

/* A schema that may hold or not. */
static void maybe(schema *s, list *ways, formula f, sm_json_value value) {
    list l = {0};
    add_ways(s, &l, f, value);
    add_way(s, &l, sm_formula_not(s, f), VERUM, 0);
    both(s, ways, &l);
}

static void by_condition(schema *s, list *ways, sm_json_value in) {
    const sm_json_value condition = sm_json_get(s->json, in, "if");
    if (condition == SM_JSON_NONE)
        return;
    const sm_json_value then = sm_json_get(s->json, in, "then");
    const sm_json_value otherwise = sm_json_get(s->json, in, "else");
    const formula f = sm_schema_at(s, condition);
    list yes = {0}, no = {0}, l = {0};
    add_ways(s, &yes, f, condition);
    if (then != SM_JSON_NONE) {
        add_ways(s, &l, VERUM, then);
        both(s, &yes, &l);
    }
    l = (list){0};
    if (otherwise != SM_JSON_NONE)
        add_ways(s, &no, sm_formula_not(s, f), otherwise);
    else
        add_way(s, &no, sm_formula_not(s, f), VERUM, 0);
    for (uint32_t i = 0; i < no.n; i++)
        sm_schema_push(s, &yes, (way *)no.data + i, sizeof(way));
    sm_free(s->mem, no.data);
    both(s, ways, &yes);
}

static void by_members(schema *s, list *ways, sm_json_value dependent) {
    for (sm_json_value v = sm_json_first(s->json, dependent); v != SM_JSON_NONE && !s->status;
         v = sm_json_next(s->json, dependent, v)) {
        uint64_t n;
        const char *name = sm_json_text(s->json, v, &n);
        const formula key = sm_formula_literal(s, S_EQUAL, sm_schema_text(s, name, n), 0, 0, 0);
        const formula present = sm_formula_literal(s, O_SOME, key, VERUM, 0, 0);
        if (sm_json_kind_of(s->json, sm_json_member(s->json, v)) != SM_JSON_ARRAY)
            maybe(s, ways, present, sm_json_member(s->json, v));
    }
}

static void by_lists(schema *s, list *ways, sm_json_value in) {
    static const char *const names[] = {"allOf", "anyOf", "oneOf"};
    for (uint32_t i = 0; i < 3; i++) {
        const sm_json_value l = sm_json_get(s->json, in, names[i]);
        for (sm_json_value v = sm_json_first(s->json, l); v != SM_JSON_NONE && !s->status;
             v = sm_json_next(s->json, l, v)) {
            list inner = {0};
            if (i == 0) {
                inner = ways_of(s, v, true);
                both(s, ways, &inner);
            } else {
                maybe(s, ways, sm_schema_at(s, v), v);
            }
        }
    }
}

static uint32_t items_seen(schema *s, sm_json_value in, bool nested) {
    const sm_json_value items = sm_json_get(s->json, in, "items");
    const sm_json_value prefix = sm_json_get(s->json, in, "prefixItems");
    const bool listed = sm_json_kind_of(s->json, items) == SM_JSON_ARRAY;
    if (listed && sm_json_get(s->json, in, "additionalItems") == SM_JSON_NONE)
        return sm_json_count(s->json, items);
    if (items != SM_JSON_NONE ||
        (nested && sm_json_get(s->json, in, "unevaluatedItems") != SM_JSON_NONE))
        return UINT32_MAX;
    return sm_json_count(s->json, prefix);
}

static formula keys_unseen(schema *s, sm_json_value in, bool nested) {
    if (sm_json_get(s->json, in, "additionalProperties") != SM_JSON_NONE ||
        (nested && sm_json_get(s->json, in, "unevaluatedProperties") != SM_JSON_NONE))
        return FALSUM;
    return sm_schema_other_keys(s, in);
}

static void through_refs(schema *s, list *ways, sm_json_value in) {
    static const char *const names[] = {"$ref", "$dynamicRef"};
    for (uint32_t i = 0; i < 2; i++) {
        const sm_json_value ref = sm_json_get(s->json, in, names[i]);
        const sm_json_value to = ref == SM_JSON_NONE ? ref : sm_schema_resolve(s, ref);
        if (to == SM_JSON_NONE)
            continue;
        list inner = ways_of(s, to, true);
        both(s, ways, &inner);
    }
}

/* nested: a schema in place, whose own unevaluated… looks at everything. */
static list ways_of(schema *s, sm_json_value value, bool nested) {
    list ways = {0};
    if (++s->depth > MAX_NESTED)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, value, "nested too deeply in one place");
    if (!s->status && sm_json_kind_of(s->json, value) == SM_JSON_OBJECT) {
        add_way(s, &ways, VERUM, keys_unseen(s, value, nested), items_seen(s, value, nested));
        through_refs(s, &ways, value);
        by_lists(s, &ways, value);
        by_condition(s, &ways, value);
        by_members(s, &ways, sm_json_get(s->json, value, "dependentSchemas"));
        by_members(s, &ways, sm_json_get(s->json, value, "dependencies"));
    } else {
        add_way(s, &ways, VERUM, VERUM, 0);
    }
    s->depth--;
    return ways;
}

static formula rest(schema *s, sm_json_value in, sm_json_value value, bool of_items) {
    const formula inner = sm_schema_at(s, value), not = sm_formula_not(s, inner);
    if (inner == VERUM || s->status)
        return VERUM;
    list ways = ways_of(s, in, false), l = {0};
    for (uint32_t i = 0; i < ways.n && !s->status; i++) {
        const way *w = (way *)ways.data + i;
        formula f = sm_formula_literal(s, O_ALL, w->keys, inner, 0, 0);
        if (of_items && w->items == UINT32_MAX)
            f = VERUM;
        else if (of_items)
            f = sm_formula_literal(s, A_BELOW, w->items, UINT32_MAX, not, 1);
        f = sm_formula_and2(s, w->when, f);
        sm_schema_push(s, &l, &f, sizeof f);
    }
    const formula all = s->status ? FALSUM : sm_formula_or(s, l.data, l.n);
    sm_free(s->mem, ways.data);
    sm_free(s->mem, l.data);
    return all;
}

formula sm_schema_rest_members(schema *s, sm_json_value in, sm_json_value value) {
    return rest(s, in, value, false);
}

/* What `contains` finds counts as looked at: which items that are depends on each. */
static bool finds_items(const schema *s) {
    for (sm_json_value v = 0; v < s->n_values; v++)
        if (s->holds[v] == H_SCHEMA && sm_json_get(s->json, v, "contains") != SM_JSON_NONE)
            return true;
    return false;
}

formula sm_schema_rest_items(schema *s, sm_json_value in, sm_json_value value) {
    if (sm_schema_at(s, value) != VERUM && finds_items(s)) {
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, value, "beside `contains` it is not decided");
        return FALSUM;
    }
    return rest(s, in, value, true);
}
