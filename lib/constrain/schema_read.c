/* schema_read.c - what the keywords of a schema say, as a formula. */
#include "schema.h"

#define ENDLESS UINT32_MAX /* a position */

/* ---- helpers (schema_read.c) ----------------------------------------------------------------- */

static formula wrong(schema *s, sm_json_value place, const char *why) {
    sm_schema_fail(s, SM_ERR_FORMAT, place, why);
    return FALSUM;
}

static formula refused(schema *s, sm_json_value place, const char *why) {
    sm_schema_fail(s, SM_ERR_UNSUPPORTED, place, why);
    return FALSUM;
}

static uint32_t text_at(schema *s, sm_json_value string) {
    uint64_t n;
    const char *bytes = sm_json_text(s->json, string, &n);
    return sm_schema_text(s, bytes ? bytes : "", n);
}

static formula key_is(schema *s, sm_json_value name) {
    return sm_formula_literal(s, S_EQUAL, text_at(s, name), 0, 0, 0);
}

static formula present(schema *s, sm_json_value name) {
    return sm_formula_literal(s, O_SOME, key_is(s, name), VERUM, 0, 0);
}

static formula absent(schema *s, sm_json_value name) {
    return sm_formula_literal(s, O_ALL, key_is(s, name), FALSUM, 0, 0);
}

static formula of_type(schema *s, type t) {
    return sm_formula_types(s, 1u << t);
}

/* A list of formulas that ends as their conjunction or disjunction. */
static void put(schema *s, list *l, formula f) {
    sm_schema_push(s, l, &f, sizeof f);
}

static formula all_of(schema *s, list *l) {
    const formula f = s->status ? FALSUM : sm_formula_and(s, l->data, l->n);
    sm_free(s->mem, l->data);
    *l = (list){0};
    return f;
}

static formula any_of(schema *s, list *l) {
    const formula f = s->status ? FALSUM : sm_formula_or(s, l->data, l->n);
    sm_free(s->mem, l->data);
    *l = (list){0};
    return f;
}

static bool is_kind(const schema *s, sm_json_value value, sm_json_kind kind) {
    return sm_json_kind_of(s->json, value) == kind;
}

bool sm_schema_is_last(const schema *s, sm_json_value object, sm_json_value name) {
    uint64_t n, m;
    const char *bytes = sm_json_text(s->json, name, &n);
    for (sm_json_value v = sm_json_next(s->json, object, name); v != SM_JSON_NONE;
         v = sm_json_next(s->json, object, v)) {
        const char *other = sm_json_text(s->json, v, &m);
        if (m == n && memcmp(bytes, other, (size_t)n) == 0)
            return false;
    }
    return true;
}

#define EACH(v, container)                               \
    sm_json_value v = sm_json_first(s->json, container); \
    v != SM_JSON_NONE && !s->status;                     \
    v = sm_json_next(s->json, container, v)

/* ---- values (schema_read.c) ------------------------------------------------------------------ */

static formula item_is(schema *s, uint32_t i, formula f) {
    return sm_formula_literal(s, A_BELOW, i, i, sm_formula_not(s, f), 1);
}

static formula items_least(schema *s, uint32_t n) {
    return n ? sm_formula_literal(s, A_LEAST, 0, ENDLESS, VERUM, n) : VERUM;
}

static formula items_most(schema *s, uint32_t n) {
    return n >= MAX_REPEAT ? VERUM : sm_formula_literal(s, A_BELOW, 0, ENDLESS, VERUM, n + 1);
}

static formula equal_array(schema *s, sm_json_value value) {
    const uint32_t n = sm_json_count(s->json, value);
    list l = {0};
    put(s, &l, of_type(s, T_ARRAY));
    put(s, &l, items_least(s, n));
    put(s, &l, items_most(s, n));
    uint32_t i = 0;
    for (EACH(v, value))
        put(s, &l, item_is(s, i++, sm_schema_equal(s, v)));
    return all_of(s, &l);
}

static formula equal_object(schema *s, sm_json_value value) {
    list l = {0}, others = {0};
    put(s, &l, of_type(s, T_OBJECT));
    for (EACH(name, value)) {
        if (!sm_schema_is_last(s, value, name))
            continue;
        put(s, &l, present(s, name));
        const formula is = sm_schema_equal(s, sm_json_member(s->json, name));
        put(s, &l, sm_formula_literal(s, O_ALL, key_is(s, name), is, 0, 0));
        put(s, &others, sm_formula_literal(s, S_OTHER, text_at(s, name), 0, 0, 0));
    }
    put(s, &l, sm_formula_literal(s, O_ALL, all_of(s, &others), FALSUM, 0, 0));
    return all_of(s, &l);
}

formula sm_schema_equal(schema *s, sm_json_value value) {
    switch (sm_json_kind_of(s->json, value)) {
    case SM_JSON_NULL:
        return of_type(s, T_NULL);
    case SM_JSON_FALSE:
        return of_type(s, T_FALSE);
    case SM_JSON_TRUE:
        return of_type(s, T_TRUE);
    case SM_JSON_NUMBER: {
        const uint32_t d = sm_decimal_read(s, value);
        return sm_formula_and2(s, of_type(s, T_NUMBER), sm_formula_literal(s, N_EQUAL, d, 0, 0, 0));
    }
    case SM_JSON_STRING:
        return sm_formula_and2(s, of_type(s, T_STRING), key_is(s, value));
    case SM_JSON_ARRAY:
        return equal_array(s, value);
    default:
        return equal_object(s, value);
    }
}

static formula read_const(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return sm_schema_equal(s, value);
}

static formula read_enum(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    if (!is_kind(s, value, SM_JSON_ARRAY))
        return wrong(s, value, "is no array");
    list l = {0};
    for (EACH(v, value))
        put(s, &l, sm_schema_equal(s, v));
    return any_of(s, &l);
}

static formula named_type(schema *s, sm_json_value name) {
    static const struct {
        const char *name;
        uint32_t set;
    } types[] = {
        {"null", 1u << T_NULL},     {"boolean", 1u << T_FALSE | 1u << T_TRUE},
        {"number", 1u << T_NUMBER}, {"string", 1u << T_STRING},
        {"array", 1u << T_ARRAY},   {"object", 1u << T_OBJECT},
    };
    for (uint32_t i = 0; i < sizeof types / sizeof *types; i++)
        if (sm_json_is(s->json, name, types[i].name))
            return sm_formula_types(s, types[i].set);
    if (sm_json_is(s->json, name, "integer"))
        return sm_formula_and2(s, of_type(s, T_NUMBER), sm_formula_literal(s, N_WHOLE, 0, 0, 0, 0));
    return wrong(s, name, "no type of JSON Schema");
}

static formula read_type(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    if (is_kind(s, value, SM_JSON_STRING))
        return named_type(s, value);
    if (!is_kind(s, value, SM_JSON_ARRAY))
        return wrong(s, value, "no type of JSON Schema");
    list l = {0};
    for (EACH(v, value))
        put(s, &l, named_type(s, v));
    return any_of(s, &l);
}

/* ---- numbers and strings (schema_read.c) ----------------------------------------------------- */

static formula bound(schema *s, node_kind kind, sm_json_value value) {
    if (!is_kind(s, value, SM_JSON_NUMBER))
        return wrong(s, value, "is no number");
    return sm_formula_literal(s, kind, sm_decimal_read(s, value), 0, 0, 0);
}

/* Draft 4: exclusiveMinimum says whether minimum itself is left out. */
static bool is_strict(const schema *s, sm_json_value in, const char *keyword) {
    return is_kind(s, sm_json_get(s->json, in, keyword), SM_JSON_TRUE);
}

static formula read_minimum(schema *s, sm_json_value in, sm_json_value value) {
    return bound(s, is_strict(s, in, "exclusiveMinimum") ? N_ABOVE : N_LEAST, value);
}

static formula read_maximum(schema *s, sm_json_value in, sm_json_value value) {
    return bound(s, is_strict(s, in, "exclusiveMaximum") ? N_BELOW : N_MOST, value);
}

static bool is_flag(const schema *s, sm_json_value value) {
    return is_kind(s, value, SM_JSON_TRUE) || is_kind(s, value, SM_JSON_FALSE);
}

static formula read_above(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return is_flag(s, value) ? VERUM : bound(s, N_ABOVE, value);
}

static formula read_below(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return is_flag(s, value) ? VERUM : bound(s, N_BELOW, value);
}

static formula read_multiple(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    const formula f = bound(s, N_TIMES, value);
    const decimal *d = s->status ? NULL : &AT(s, decimals, decimal, NODE(s, f)->a);
    if (d && (!d->n || d->minus))
        return wrong(s, value, "is not above zero");
    return f;
}

/* A length or a number of things. */
static uint32_t count_at(schema *s, sm_json_value value) {
    uint32_t n = 0;
    if (!is_kind(s, value, SM_JSON_NUMBER) || !sm_decimal_count(s, sm_decimal_read(s, value), &n))
        wrong(s, value, "no whole number, or below zero");
    return n;
}

static uint32_t least_at(schema *s, sm_json_value value) {
    const uint32_t n = count_at(s, value);
    if (n >= MAX_REPEAT)
        refused(s, value, "more than 2^30");
    return n;
}

/* What says "at least n", and its negation "fewer than n + 1"; above 2^30 that is no limit. */
static formula at_least(schema *s, node_kind kind, sm_json_value value) {
    const uint32_t n = least_at(s, value);
    return n ? sm_formula_literal(s, kind, n, 0, 0, 0) : VERUM;
}

static formula at_most(schema *s, node_kind kind, sm_json_value value) {
    const uint32_t n = count_at(s, value);
    return n >= MAX_REPEAT ? VERUM : sm_formula_literal(s, kind ^ 1, n + 1, 0, 0, 0);
}

static formula read_min_length(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return at_least(s, S_LEAST, value);
}

static formula read_max_length(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return at_most(s, S_LEAST, value);
}

static formula regex_at(schema *s, sm_json_value value) {
    if (!is_kind(s, value, SM_JSON_STRING))
        return wrong(s, value, "is no string");
    return sm_formula_literal(s, S_REGEX, text_at(s, value), 0, value, 0);
}

static formula read_pattern(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return regex_at(s, value);
}

static formula read_format(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    uint64_t n;
    const char *name = sm_json_text(s->json, value, &n);
    if (!is_kind(s, value, SM_JSON_STRING))
        return wrong(s, value, "is no string");
    return sm_format_read(s, name, n, value);
}

/* ---- objects (schema_read.c) ----------------------------------------------------------------- */

static bool is_object(schema *s, sm_json_value value) {
    if (!is_kind(s, value, SM_JSON_OBJECT))
        wrong(s, value, "is no object");
    return !s->status;
}

static formula read_properties(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    list l = {0};
    if (is_object(s, value))
        for (EACH(name, value))
            if (sm_schema_is_last(s, value, name)) {
                const formula inner = sm_schema_at(s, sm_json_member(s->json, name));
                put(s, &l, sm_formula_literal(s, O_ALL, key_is(s, name), inner, 0, 0));
            }
    return all_of(s, &l);
}

static formula read_patterns(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    list l = {0};
    if (is_object(s, value))
        for (EACH(name, value)) {
            const formula inner = sm_schema_at(s, sm_json_member(s->json, name));
            put(s, &l, sm_formula_literal(s, O_ALL, regex_at(s, name), inner, 0, 0));
        }
    return all_of(s, &l);
}

formula sm_schema_other_keys(schema *s, sm_json_value in) {
    list l = {0};
    const sm_json_value named = sm_json_get(s->json, in, "properties");
    for (EACH(name, named))
        put(s, &l, sm_formula_literal(s, S_OTHER, text_at(s, name), 0, 0, 0));
    const sm_json_value patterns = sm_json_get(s->json, in, "patternProperties");
    for (EACH(name, patterns))
        put(s, &l, sm_formula_literal(s, S_NOT_REGEX, text_at(s, name), 0, name, 0));
    return all_of(s, &l);
}

static formula read_additional(schema *s, sm_json_value in, sm_json_value value) {
    const formula inner = sm_schema_at(s, value);
    if (inner == VERUM)
        return VERUM;
    return sm_formula_literal(s, O_ALL, sm_schema_other_keys(s, in), inner, 0, 0);
}

/* No key is outside. */
static formula read_names(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    const formula outside = sm_formula_not(s, sm_schema_at(s, value));
    return sm_formula_literal(s, O_ALL, outside, FALSUM, 0, 0);
}

static formula read_required(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    if (!is_kind(s, value, SM_JSON_ARRAY))
        return wrong(s, value, "is no array");
    list l = {0};
    for (EACH(name, value)) {
        if (!is_kind(s, name, SM_JSON_STRING))
            wrong(s, name, "is no string");
        put(s, &l, present(s, name));
    }
    return all_of(s, &l);
}

/* dependentRequired, dependentSchemas, dependencies. */
static formula read_dependent(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    list l = {0};
    if (is_object(s, value))
        for (EACH(name, value)) {
            const sm_json_value then = sm_json_member(s->json, name);
            const formula what = is_kind(s, then, SM_JSON_ARRAY) ? read_required(s, value, then)
                                                                 : sm_schema_at(s, then);
            put(s, &l, sm_formula_or2(s, absent(s, name), what));
        }
    return all_of(s, &l);
}

static formula read_min_members(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return at_least(s, O_LEAST, value);
}

static formula read_max_members(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return at_most(s, O_LEAST, value);
}

/* ---- arrays (schema_read.c) ------------------------------------------------------------------ */

static formula read_prefix(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    if (!is_kind(s, value, SM_JSON_ARRAY))
        return wrong(s, value, "is no array");
    list l = {0};
    uint32_t i = 0;
    for (EACH(v, value))
        put(s, &l, item_is(s, i++, sm_schema_at(s, v)));
    return all_of(s, &l);
}

static formula items_from(schema *s, uint32_t from, sm_json_value value) {
    const formula not = sm_formula_not(s, sm_schema_at(s, value));
    return not == FALSUM ? VERUM : sm_formula_literal(s, A_BELOW, from, ENDLESS, not, 1);
}

static formula read_items(schema *s, sm_json_value in, sm_json_value value) {
    if (is_kind(s, value, SM_JSON_ARRAY)) /* before 2020-12 */
        return read_prefix(s, in, value);
    return items_from(s, sm_json_count(s->json, sm_json_get(s->json, in, "prefixItems")), value);
}

/* Says nothing unless items is a list. */
static formula read_additional_items(schema *s, sm_json_value in, sm_json_value value) {
    const sm_json_value items = sm_json_get(s->json, in, "items");
    return is_kind(s, items, SM_JSON_ARRAY) ? items_from(s, sm_json_count(s->json, items), value)
                                            : VERUM;
}

static formula read_contains(schema *s, sm_json_value in, sm_json_value value) {
    const sm_json_value min = sm_json_get(s->json, in, "minContains");
    const sm_json_value max = sm_json_get(s->json, in, "maxContains");
    const uint32_t least = min == SM_JSON_NONE ? 1 : least_at(s, min);
    const uint32_t most = max == SM_JSON_NONE ? MAX_REPEAT : count_at(s, max);
    const formula f = sm_schema_at(s, value);
    const formula enough = least ? sm_formula_literal(s, A_LEAST, 0, ENDLESS, f, least) : VERUM;
    if (most >= MAX_REPEAT)
        return enough;
    return sm_formula_and2(s, enough, sm_formula_literal(s, A_BELOW, 0, ENDLESS, f, most + 1));
}

static formula read_min_items(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return items_least(s, least_at(s, value));
}

static formula read_max_items(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return items_most(s, count_at(s, value));
}

static formula read_unique(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    if (!is_flag(s, value))
        return wrong(s, value, "is neither true nor false");
    return is_kind(s, value, SM_JSON_TRUE) ? sm_formula_literal(s, A_SINGLE, value, 0, 0, 0)
                                           : VERUM;
}

/* ---- schemas in place (schema_read.c) -------------------------------------------------------- */

static list schemas_of(schema *s, sm_json_value value) {
    list l = {0};
    if (!is_kind(s, value, SM_JSON_ARRAY) || !sm_json_count(s->json, value))
        wrong(s, value, "no array of schemas");
    for (EACH(v, value))
        put(s, &l, sm_schema_at(s, v));
    return l;
}

static formula read_all(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    list l = schemas_of(s, value);
    return all_of(s, &l);
}

static formula read_any(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    list l = schemas_of(s, value);
    return any_of(s, &l);
}

static formula read_one(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    list l = schemas_of(s, value);
    const formula f = s->status ? FALSUM : sm_formula_one(s, l.data, l.n);
    sm_free(s->mem, l.data);
    return f;
}

static formula read_not(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return sm_formula_not(s, sm_schema_at(s, value));
}

static formula read_if(schema *s, sm_json_value in, sm_json_value value) {
    const sm_json_value then = sm_json_get(s->json, in, "then");
    const sm_json_value otherwise = sm_json_get(s->json, in, "else");
    if (then == SM_JSON_NONE && otherwise == SM_JSON_NONE)
        return VERUM;
    const formula f = sm_schema_at(s, value);
    const formula yes = then == SM_JSON_NONE ? VERUM : sm_schema_at(s, then);
    const formula no = otherwise == SM_JSON_NONE ? VERUM : sm_schema_at(s, otherwise);
    return sm_formula_or2(s, sm_formula_and2(s, f, yes),
                          sm_formula_and2(s, sm_formula_not(s, f), no));
}

static formula read_ref(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    const sm_json_value to = sm_schema_resolve(s, value);
    return to == SM_JSON_NONE ? FALSUM : sm_schema_at(s, to);
}

/* As $ref, where only one schema has that name: else the path there decides which is meant. */
static formula read_dynamic(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    const sm_json_value to = sm_schema_resolve(s, value);
    const sm_json_value name = sm_json_get(s->json, to, "$dynamicAnchor");
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->anchors.n && name != SM_JSON_NONE; i++)
        n += AT(s, anchors, anchor_row, i).name == text_at(s, name);
    if (n > 1)
        return refused(s, value, "several schemas have this $dynamicAnchor");
    return to == SM_JSON_NONE ? FALSUM : sm_schema_at(s, to);
}

static formula read_refused(schema *s, sm_json_value in, sm_json_value value) {
    (void)in;
    return refused(s, value, "a keyword that is not honoured");
}

/* Draft 4 and before had other things under these names. */
static formula read_nothing(schema *s, sm_json_value in, sm_json_value value) {
    (void)s, (void)in, (void)value;
    return VERUM;
}

/* ---- keywords (schema_read.c) ---------------------------------------------------------------- */

typedef struct keyword {
    const char *name;
    uint8_t holds;
    uint8_t turn; /* 0: names keys in their order; 1: everything else */
    formula (*read)(schema *s, sm_json_value in, sm_json_value value);
} keyword;

static const keyword keywords[] = {
    {"properties", H_MAP, 0, read_properties},
    {"$ref", H_NOTHING, 0, read_ref},
    {"$dynamicRef", H_NOTHING, 0, read_dynamic},
    {"allOf", H_LIST, 0, read_all},
    {"anyOf", H_LIST, 0, read_any},
    {"oneOf", H_LIST, 0, read_one},
    {"if", H_SCHEMA, 0, read_if},
    {"dependentSchemas", H_MAP, 0, read_dependent},
    {"dependencies", H_MAP, 0, read_dependent},
    {"type", H_NOTHING, 1, read_type},
    {"enum", H_NOTHING, 1, read_enum},
    {"const", H_NOTHING, 1, read_const},
    {"not", H_SCHEMA, 1, read_not},
    {"required", H_NOTHING, 1, read_required},
    {"dependentRequired", H_NOTHING, 1, read_dependent},
    {"patternProperties", H_MAP, 1, read_patterns},
    {"additionalProperties", H_SCHEMA, 1, read_additional},
    {"propertyNames", H_SCHEMA, 1, read_names},
    {"minProperties", H_NOTHING, 1, read_min_members},
    {"maxProperties", H_NOTHING, 1, read_max_members},
    {"unevaluatedProperties", H_SCHEMA, 1, sm_schema_rest_members},
    {"prefixItems", H_LIST, 1, read_prefix},
    {"items", H_LIST, 1, read_items},
    {"additionalItems", H_SCHEMA, 1, read_additional_items},
    {"contains", H_SCHEMA, 1, read_contains},
    {"minItems", H_NOTHING, 1, read_min_items},
    {"maxItems", H_NOTHING, 1, read_max_items},
    {"uniqueItems", H_NOTHING, 1, read_unique},
    {"unevaluatedItems", H_SCHEMA, 1, sm_schema_rest_items},
    {"minLength", H_NOTHING, 1, read_min_length},
    {"maxLength", H_NOTHING, 1, read_max_length},
    {"pattern", H_NOTHING, 1, read_pattern},
    {"format", H_NOTHING, 1, read_format},
    {"minimum", H_NOTHING, 1, read_minimum},
    {"maximum", H_NOTHING, 1, read_maximum},
    {"exclusiveMinimum", H_NOTHING, 1, read_above},
    {"exclusiveMaximum", H_NOTHING, 1, read_below},
    {"multipleOf", H_NOTHING, 1, read_multiple},
    /* read with another */
    {"then", H_SCHEMA, 1, read_nothing},
    {"else", H_SCHEMA, 1, read_nothing},
    {"minContains", H_NOTHING, 1, read_nothing},
    {"maxContains", H_NOTHING, 1, read_nothing},
    {"$defs", H_MAP, 1, read_nothing},
    {"definitions", H_MAP, 1, read_nothing},
    {"$id", H_NOTHING, 1, read_nothing},
    {"$anchor", H_NOTHING, 1, read_nothing},
    {"$dynamicAnchor", H_NOTHING, 1, read_nothing},
    /* of no meaning for what is valid */
    {"title", H_NOTHING, 1, read_nothing},
    {"description", H_NOTHING, 1, read_nothing},
    {"default", H_NOTHING, 1, read_nothing},
    {"example", H_NOTHING, 1, read_nothing},
    {"examples", H_NOTHING, 1, read_nothing},
    {"deprecated", H_NOTHING, 1, read_nothing},
    {"readOnly", H_NOTHING, 1, read_nothing},
    {"writeOnly", H_NOTHING, 1, read_nothing},
    {"contentEncoding", H_NOTHING, 1, read_nothing},
    {"contentMediaType", H_NOTHING, 1, read_nothing},
    {"contentSchema", H_NOTHING, 1, read_nothing},
    {"$comment", H_NOTHING, 1, read_nothing},
    {"$schema", H_NOTHING, 1, read_nothing},
    {"$vocabulary", H_NOTHING, 1, read_refused},
    /* of older drafts */
    {"$recursiveRef", H_NOTHING, 1, read_refused},
    {"$recursiveAnchor", H_NOTHING, 1, read_refused},
    {"extends", H_NOTHING, 1, read_refused},
    {"disallow", H_NOTHING, 1, read_refused},
    {"divisibleBy", H_NOTHING, 1, read_refused},
};
#define N_KEYWORDS (sizeof keywords / sizeof *keywords)
#define FIRST_ANNOTATION "title"

static const keyword *keyword_of(const char *name, uint64_t length) {
    for (uint32_t i = 0; i < N_KEYWORDS; i++)
        if (same_text(name, length, keywords[i].name))
            return &keywords[i];
    return NULL;
}

holding sm_schema_holds(const char *name, uint64_t length) {
    const keyword *k = keyword_of(name, length);
    return k ? (holding)k->holds : H_NOTHING;
}

/* Whether `name` comes from `known` by one slip: a letter more, less, other, of other case, or two
 * in each other's place. */
static bool is_slip(const char *name, uint64_t n, const char *known) {
    const uint64_t m = strlen(known);
    uint64_t a = 0, b = 0;
    while (a < n && a < m && lower_ascii(name[a]) == lower_ascii(known[a]))
        a++;
    while (b < n - a && b < m - a && lower_ascii(name[n - 1 - b]) == lower_ascii(known[m - 1 - b]))
        b++;
    const uint64_t left = n - a - b, right = m - a - b;
    if (left == 2 && right == 2)
        return name[a] == known[a + 1] && name[a + 1] == known[a];
    return left <= 1 && right <= 1;
}

/* Unknown keywords are annotations by the standard; a slip is none. */
static void check_unknown(schema *s, sm_json_value name) {
    uint64_t n;
    const char *text = sm_json_text(s->json, name, &n);
    /* "_format" is no slip: somebody took a keyword out */
    if (s->options.unknown_passes || n < 4 || text[0] == '_')
        return;
    for (uint32_t i = 0; i < N_KEYWORDS && strcmp(keywords[i].name, FIRST_ANNOTATION) != 0; i++)
        if (strlen(keywords[i].name) >= 4 && is_slip(text, n, keywords[i].name)) {
            char why[100];
            sm_format(why, sizeof why, "unknown keyword; \"%s\" was meant?", keywords[i].name);
            sm_schema_fail(s, SM_ERR_UNSUPPORTED, name, why);
            return;
        }
}

static void read_turn(schema *s, sm_json_value value, uint32_t turn, list *l) {
    for (EACH(name, value)) {
        uint64_t n;
        const char *text = sm_json_text(s->json, name, &n);
        const keyword *k = keyword_of(text, n);
        if (!k && turn)
            check_unknown(s, name);
        if (k && k->turn == turn && sm_schema_is_last(s, value, name))
            put(s, l, k->read(s, value, sm_json_member(s->json, name)));
    }
}

/* Of type object, with properties, and nothing said of others. */
static bool is_open(const schema *s, sm_json_value value) {
    static const char *const others[] = {"additionalProperties", "patternProperties",
                                         "unevaluatedProperties"};
    if (!sm_json_is(s->json, sm_json_get(s->json, value, "type"), "object") ||
        !is_kind(s, sm_json_get(s->json, value, "properties"), SM_JSON_OBJECT))
        return false;
    for (uint32_t i = 0; i < sizeof others / sizeof *others; i++)
        if (sm_json_get(s->json, value, others[i]) != SM_JSON_NONE)
            return false;
    return true;
}

formula sm_schema_read(schema *s, sm_json_value value) {
    list l = {0};
    const sm_json_value ref = sm_json_get(s->json, value, "$ref");
    s->place = value;
    if (s->draft7 && is_kind(s, ref, SM_JSON_STRING))
        return read_ref(s, value, ref);
    read_turn(s, value, 0, &l);
    read_turn(s, value, 1, &l);
    if (s->options.closed && is_open(s, value))
        put(s, &l, sm_formula_literal(s, O_ALL, sm_schema_other_keys(s, value), FALSUM, 0, 0));
    return all_of(s, &l);
}

formula sm_schema_at(schema *s, sm_json_value value) {
    const sm_json_kind kind = sm_json_kind_of(s->json, value);
    if (kind == SM_JSON_TRUE || (kind == SM_JSON_OBJECT && !sm_json_count(s->json, value)))
        return VERUM;
    if (kind == SM_JSON_FALSE)
        return FALSUM;
    if (kind != SM_JSON_OBJECT)
        return wrong(s, value, "is no schema");
    return sm_formula_literal(s, K_SCHEMA, value, 0, 0, 0);
}
