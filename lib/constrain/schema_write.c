/* schema_write.c - values: alternatives by type, a rule for each array or object; and the whole
 * reading. */
#include "schema.h"

typedef struct waiting {
    formula seen;
    type type;
    sm_rule rule;
    sm_json_value place;
} waiting;

static sm_expr rule_of(schema *s, formula seen, type t) {
    if (NODE(s, seen)->written[t == T_OBJECT] == SM_EXPR_NONE) {
        const waiting w = {
            seen, t, sm_rule_new(s->g, t == T_OBJECT ? "object" : "array", t == T_OBJECT ? 6 : 5),
            s->place};
        sm_schema_push(s, &s->queue, &w, sizeof w);
        NODE(s, seen)->written[t == T_OBJECT] = sm_expr_rule(s->g, w.rule);
    }
    return NODE(s, seen)->written[t == T_OBJECT];
}

sm_expr sm_value_write_type(schema *s, formula seen, type t) {
    static const char *const words[2][3] = {{"null", "false", "true"}, {"None", "False", "True"}};
    switch (t) {
    case T_NUMBER:
        return sm_number_write(s, seen);
    case T_STRING:
        return sm_string_write(s, seen);
    case T_ARRAY:
    case T_OBJECT:
        return rule_of(s, seen, t);
    default:
        return sm_expr_text(s->g, words[sm_notation_of(s) == SM_NOTATION_PYTHON][t]);
    }
}

/* What the grammar failed with, at the place that is written. */
static void note_failure(schema *s) {
    sm_error why = {0};
    const sm_status status = sm_grammar_status(s->g, &why);
    if (status)
        sm_schema_fail(s, status, SM_JSON_NONE, why.message);
}

sm_expr sm_value_write(schema *s, formula f) {
    sm_expr parts[N_TYPES];
    uint32_t n = 0;
    if (!s->status && NODE(s, f)->value != SM_EXPR_NONE)
        return NODE(s, f)->value;
    const sm_json_value around = s->place;
    if (!s->status && NODE(s, f)->kind == K_SCHEMA)
        s->place = NODE(s, f)->a;
    for (uint32_t t = 0; t < N_TYPES && !s->status; t++) {
        const formula seen = sm_formula_seen(s, f, (type)t);
        if (!sm_formula_dead_as(s, seen, (type)t))
            parts[n++] = sm_value_write_type(s, seen, (type)t);
    }
    const sm_expr e = sm_expr_alt(s->g, parts, n);
    NODE(s, f)->value = e;
    if (e == SM_EXPR_NONE)
        note_failure(s);
    s->place = around;
    return e;
}

/* ---- finite sets (schema_write.c) ------------------------------------------------------------ */

#define MAX_VALUES 64

typedef struct adder {
    list *to;
    type type;
} adder;

static bool add_value(schema *s, void *user, uint32_t item) {
    const adder *a = user;
    const listed_value v = {a->type, item};
    return a->to->n < MAX_VALUES && sm_schema_push(s, a->to, &v, sizeof v);
}

bool sm_value_list(schema *s, formula f, list *values) {
    for (uint32_t t = 0; t < N_TYPES && !s->status; t++) {
        const formula seen = sm_formula_seen(s, f, (type)t);
        adder a = {values, (type)t};
        if (sm_formula_dead_as(s, seen, (type)t))
            continue;
        const bool finite =
            t == T_NUMBER   ? seen != VERUM && sm_number_list(s, seen, MAX_VALUES, add_value, &a)
            : t == T_STRING ? seen != VERUM && sm_string_list(s, seen, add_value, &a)
            : t < T_NUMBER  ? add_value(s, &a, 0)
                            : false;
        if (!finite)
            return false;
    }
    return !s->status;
}

bool sm_value_has(schema *s, formula f, const listed_value *v) {
    const formula seen = sm_formula_seen(s, f, v->type);
    return v->type == T_NUMBER   ? sm_number_has(s, seen, v->content)
           : v->type == T_STRING ? sm_string_has(s, seen, v->content)
                                 : seen != FALSUM;
}

sm_expr sm_value_write_one(schema *s, const listed_value *v) {
    return v->type == T_NUMBER   ? sm_number_write_one(s, v->content)
           : v->type == T_STRING ? sm_string_write_text(s, v->content)
                                 : sm_value_write_type(s, VERUM, v->type);
}

/* ---- the whole reading (schema_write.c) ------------------------------------------------------ */

void sm_cases_write(schema *s, formula seen, type t, sm_rule rule) {
    uint32_t n;
    sm_formula_cases(s, seen, t, &n);
    list parts = {0}, literals = {0};
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        const range r = sm_formula_cases(s, seen, t, &n)[i]; /* writing may move them */
        literals.n = 0;
        if (!sm_schema_room(s, &literals, r.n + 1, sizeof(formula)))
            break;
        if (r.n)
            memcpy(literals.data, &AT(s, lists, formula, r.at), r.n * sizeof(formula));
        const sm_expr e = t == T_ARRAY ? sm_array_write(s, literals.data, r.n)
                                       : sm_object_write(s, literals.data, r.n);
        sm_schema_push(s, &parts, &e, sizeof e);
    }
    if (!s->status)
        sm_rule_define(s->g, rule, sm_expr_alt(s->g, parts.data, parts.n));
    sm_free(s->mem, parts.data);
    sm_free(s->mem, literals.data);
}

/* $schema of the document, unless the caller knows better. */
static void choose_draft(schema *s) {
    uint64_t n;
    const char *uri = sm_json_text(s->json, sm_json_get(s->json, SM_JSON_ROOT, "$schema"), &n);
    static const char old[] = "://json-schema.org/draft-0";
    s->draft7 = s->options.draft == SM_SCHEMA_DRAFT7;
    if (!uri || s->options.fixed_draft)
        return;
    s->draft7 = false;
    for (uint64_t i = 0; i + sizeof old - 1 <= n && i < 6; i++)
        s->draft7 |= memcmp(uri + i, old, sizeof old - 1) == 0;
}

/* Depth first, so that the last value is the last one inside. */
static uint32_t count_values(const sm_json *json) {
    sm_json_value last = SM_JSON_ROOT;
    for (;;) {
        sm_json_value inner = SM_JSON_NONE;
        const bool object = sm_json_kind_of(json, last) == SM_JSON_OBJECT;
        for (sm_json_value v = sm_json_first(json, last); v != SM_JSON_NONE;
             v = sm_json_next(json, last, v))
            inner = object ? sm_json_member(json, v) : v;
        if (inner == SM_JSON_NONE)
            return last + 1;
        last = inner;
    }
}

static sm_expr compile(schema *s) {
    memset(s->buckets, 0xff, sizeof s->buckets);
    memset(s->text_buckets, 0xff, sizeof s->text_buckets);
    sm_formula_literal(s, K_FALSE, 0, 0, 0, 0);
    sm_formula_literal(s, K_TRUE, 0, 0, 0, 0);
    choose_draft(s);
    s->n_values = count_values(s->json);
    sm_string_prepare(s);
    sm_notation_prepare(s);
    if (s->status || !sm_schema_index(s))
        return SM_EXPR_NONE;
    formula root = sm_schema_at(s, SM_JSON_ROOT);
    if (s->options.notation)
        root = sm_formula_and2(s, root, sm_formula_types(s, 1u << T_OBJECT));
    if (sm_formula_dead(s, root))
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_ROOT,
                       s->options.notation ? "no object satisfies it" : "no value satisfies it");
    const sm_expr e = s->options.notation ? sm_arguments_write(s, root) : sm_value_write(s, root);
    for (uint32_t i = 0; i < s->queue.n && sm_schema_goes_on(s); i++) {
        const waiting w = ((waiting *)s->queue.data)[i];
        s->place = w.place;
        sm_cases_write(s, w.seen, w.type, w.rule);
    }
    return e;
}

static void drop(schema *s) {
    list *const lists[] = {&s->nodes, &s->lists,     &s->bytes,   &s->decimals, &s->texts,
                           &s->cases, &s->resources, &s->anchors, &s->queue};
    for (uint32_t i = 0; i < sizeof lists / sizeof *lists; i++)
        sm_free(s->mem, lists[i]->data);
    sm_free(s->mem, s->parent);
    sm_free(s->mem, s->base);
    sm_free(s->mem, s->holds);
    sm_json_free(s->json);
    sm_free(s->mem, s);
}

static int32_t reading_ends(void *user) {
    return sm_hook_ends(user, 0, 0);
}

sm_status sm_schema_compile(sm_grammar *g, const void *text, uint64_t length,
                            const sm_schema_choices *options, const sm_hook *cancel, sm_expr *out,
                            sm_error *error) {
    sm_mem *mem = sm_grammar_mem(g);
    schema *s = sm_alloc_zero(mem, sizeof *s);
    if (!s)
        return sm_fail(error, SM_ERR_NOMEM, "schema: out of memory");
    *s = (schema){.mem = mem, .g = g, .options = *options, .cancel = cancel, .error = error};
    const sm_json_source source = {"schema", 1, reading_ends, (void *)(uintptr_t)cancel};
    s->status = sm_hook_ends(cancel, 0, 0)
                    ? sm_fail(error, SM_ERR_CANCELLED, "schema: cancelled")
                    : sm_json_read(&s->json, mem, text, length, &source, NULL, error);
    *out = s->status ? SM_EXPR_NONE : compile(s);
    const sm_status status = s->status;
    drop(s);
    return status ? status : sm_grammar_status(g, error);
}
