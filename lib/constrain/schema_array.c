/* schema_array.c - a case of an array becomes items one behind the other, counted where that is
 * asked. */
#include "schema.h"

typedef struct claim { /* items of positions from..to in `what`: at least n, or fewer than n */
    uint32_t from, to, n;
    formula what;
    bool least;
} claim;

typedef struct array {
    schema *s;
    list items, claims; /* formula: of the first positions; claim */
    formula rest;
    uint32_t min, max;
    sm_json_value unique; /* SM_JSON_NONE: not asked */
    bool doubled, dead;
} array;

#define CLAIM(a, i) ((claim *)(a)->claims.data)[i]

static formula item_at(const array *a, uint32_t i) {
    return i < a->items.n ? ((formula *)a->items.data)[i] : a->rest;
}

static void restrict_items(array *a, uint32_t from, uint32_t to, formula not ) {
    schema *s = a->s;
    const formula f = sm_formula_not(s, not );
    const uint32_t end = to == UINT32_MAX ? from : to + 1;
    if (end > MAX_POSITIONS) {
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "more than 1024 positions of an array have schemas");
        return;
    }
    while (a->items.n < end && sm_schema_push(s, &a->items, &a->rest, sizeof a->rest))
        ;
    for (uint32_t i = from; i < a->items.n && i <= to && !s->status; i++) {
        const formula both = sm_formula_and2(s, item_at(a, i), f);
        ((formula *)a->items.data)[i] = both;
    }
    if (to == UINT32_MAX)
        a->rest = sm_formula_and2(s, a->rest, f);
}

static void apply(array *a, formula literal) {
    schema *s = a->s;
    const node l = *NODE(s, literal);
    if (l.kind == A_SINGLE) {
        a->unique = l.a;
    } else if (l.kind == A_DOUBLE) {
        a->doubled = true;
    } else if (l.kind == A_LEAST && l.c == VERUM && l.a == 0 && l.b == UINT32_MAX) {
        a->min = l.d > a->min ? l.d : a->min;
    } else if (l.kind == A_BELOW && l.c == VERUM && l.a == 0 && l.b == UINT32_MAX) {
        a->max = min_u32(a->max, l.d ? l.d - 1 : 0);
        a->dead |= !l.d;
    } else if (l.kind == A_BELOW && l.d <= 1) {
        a->dead |= !l.d;
        restrict_items(a, l.a, l.b, l.c);
    } else if (l.kind == A_LEAST && l.a == l.b) { /* an item there */
        a->min = l.a + 1 > a->min ? l.a + 1 : a->min;
        restrict_items(a, l.a, l.b, sm_formula_not(s, l.c));
    } else {
        const claim c = {l.a, l.b, l.d, l.c, l.kind == A_LEAST};
        sm_schema_push(s, &a->claims, &c, sizeof c);
    }
}

static array array_of(schema *s, const formula *literals, uint32_t n) {
    array a = {.s = s, .rest = VERUM, .max = SM_FOREVER, .unique = SM_JSON_NONE};
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++)
        apply(&a, literals[i]);
    for (uint32_t i = 0; i < a.items.n && i < a.max && !s->status; i++)
        if (sm_formula_dead(s, item_at(&a, i)))
            a.max = i;
    if (a.max > a.items.n && sm_formula_dead(s, a.rest))
        a.max = a.items.n;
    for (uint32_t i = 0; i < a.claims.n && !s->status; i++)
        a.dead |=
            CLAIM(&a, i).least && (sm_formula_dead(s, CLAIM(&a, i).what) || CLAIM(&a, i).n > a.max);
    a.dead |= a.min > a.max;
    if (a.max <= 1)
        a.unique = SM_JSON_NONE;
    return a;
}

static void drop(array *a) {
    sm_free(a->s->mem, a->items.data);
    sm_free(a->s->mem, a->claims.data);
}

bool sm_array_dead(schema *s, const formula *literals, uint32_t n) {
    array a = array_of(s, literals, n);
    drop(&a);
    return a.dead && !s->status;
}

/* ---- writing (schema_array.c) ---------------------------------------------------------------- */

static sm_expr write_plain(array *a) {
    schema *s = a->s;
    const uint32_t n = min_u32(a->items.n, a->max);
    sm_expr tail = sm_expr_empty(s->g);
    if (a->max > n) {
        const sm_expr rest = sm_value_write(s, a->rest);
        const uint32_t max = a->max == SM_FOREVER ? SM_FOREVER : a->max - n;
        if (!n)
            return sm_expr_list(s->g, rest, s->comma, a->min, max);
        tail = sm_expr_repeat(s->g, sm_expr_seq2(s->g, s->comma, rest), a->min > n ? a->min - n : 0,
                              max);
    }
    for (uint32_t i = n; i-- > 0 && sm_schema_goes_on(s);) {
        const sm_expr comma = i ? s->comma : sm_expr_empty(s->g);
        tail = sm_expr_seq3(s->g, comma, sm_value_write(s, item_at(a, i)), tail);
        if (i >= a->min)
            tail = sm_expr_optional(s->g, tail);
    }
    return tail;
}

/* With claims or distinct items: a rule for each state. */
typedef struct state {
    uint32_t count;
    uint32_t claims[MAX_CLAIMS];
    uint64_t used; /* values of the finite set */
    bool doubled;
    sm_rule rule;
} state;

typedef struct walk {
    array *a;
    list states, parts, values;
    uint32_t most;
    bool finite;
} walk;

static sm_expr go_to(walk *w, state to) {
    schema *s = w->a->s;
    to.count = min_u32(to.count, w->most);
    for (uint32_t i = 0; i < w->states.n; i++) {
        const state *has = (state *)w->states.data + i;
        if (has->count == to.count && has->used == to.used && has->doubled == to.doubled &&
            memcmp(has->claims, to.claims, sizeof to.claims) == 0)
            return sm_expr_rule(s->g, has->rule);
    }
    if (w->states.n >= MAX_STATES / 4)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, w->a->unique,
                       "contains or uniqueItems needs more than 2048 states");
    to.rule = sm_rule_new(s->g, "array", 5);
    sm_schema_push(s, &w->states, &to, sizeof to);
    return sm_expr_rule(s->g, to.rule);
}

static void add_step(walk *w, const state *from, sm_expr item, state to) {
    schema *s = w->a->s;
    to.count = from->count + 1;
    const sm_expr comma = from->count ? s->comma : sm_expr_empty(s->g);
    const sm_expr e = sm_expr_seq3(s->g, comma, item, go_to(w, to));
    sm_schema_push(s, &w->parts, &e, sizeof e);
}

static bool covers(const claim *c, uint32_t i) {
    return c->from <= i && i <= c->to;
}

/* set: which claims the item answers; false: too many. */
static bool count_claims(const array *a, uint32_t i, uint32_t set, state *to) {
    for (uint32_t k = 0; k < a->claims.n; k++) {
        const claim *c = &CLAIM(a, k);
        if (!(set & 1u << k) || !covers(c, i))
            continue;
        to->claims[k] = min_u32(to->claims[k] + 1, c->n);
        if (!c->least && to->claims[k] >= c->n)
            return false;
    }
    return true;
}

static void step_by_sets(walk *w, const state *from) {
    array *a = w->a;
    schema *s = a->s;
    for (uint32_t set = 0; set < 1u << a->claims.n && sm_schema_goes_on(s); set++) {
        state to = *from;
        formula f = item_at(a, from->count);
        bool fits = count_claims(a, from->count, set, &to);
        for (uint32_t k = 0; k < a->claims.n && fits; k++) {
            const claim *c = &CLAIM(a, k);
            const bool in = set & 1u << k;
            if (!covers(c, from->count))
                fits = !in;
            else if (in)
                f = sm_formula_and2(s, f, c->what);
            else if (!c->least)
                f = sm_formula_and2(s, f, sm_formula_not(s, c->what));
        }
        if (fits && !sm_formula_dead(s, f))
            add_step(w, from, sm_value_write(s, f), to);
    }
}

static void step_by_values(walk *w, const state *from) {
    array *a = w->a;
    schema *s = a->s;
    for (uint32_t v = 0; v < w->values.n && sm_schema_goes_on(s); v++) {
        const listed_value *item = (listed_value *)w->values.data + v;
        const bool seen = from->used >> v & 1;
        if ((seen && a->unique != SM_JSON_NONE) || !sm_value_has(s, item_at(a, from->count), item))
            continue;
        state to = *from;
        to.used |= 1ull << v;
        to.doubled |= seen;
        uint32_t set = 0;
        for (uint32_t k = 0; k < a->claims.n; k++)
            set |= (uint32_t)sm_value_has(s, CLAIM(a, k).what, item) << k;
        if (count_claims(a, from->count, set, &to))
            add_step(w, from, sm_value_write_one(s, item), to);
    }
}

static void write_state(walk *w, const state from) {
    array *a = w->a;
    schema *s = a->s;
    w->parts.n = 0;
    if (from.count < a->max) {
        if (w->finite)
            step_by_values(w, &from);
        else
            step_by_sets(w, &from);
    }
    bool ends = from.count >= a->min && (!a->doubled || from.doubled);
    for (uint32_t k = 0; k < a->claims.n; k++)
        ends = ends && (!CLAIM(a, k).least || from.claims[k] >= CLAIM(a, k).n);
    const sm_expr end = sm_expr_empty(s->g);
    if (ends)
        sm_schema_push(s, &w->parts, &end, sizeof end);
    sm_rule_define(s->g, from.rule, sm_expr_alt(s->g, w->parts.data, w->parts.n));
}

static void find_values(walk *w) {
    array *a = w->a;
    schema *s = a->s;
    formula any = a->max > a->items.n ? a->rest : FALSUM;
    for (uint32_t i = 0; i < a->items.n && i < a->max; i++)
        any = sm_formula_or2(s, any, item_at(a, i));
    w->finite = true;
    if (!sm_value_list(s, any, &w->values))
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, a->unique,
                       "honoured only of items from a small finite set (at most 64 numbers, texts, "
                       "true, false, null)");
}

static sm_expr write_states(array *a) {
    schema *s = a->s;
    walk w = {.a = a};
    w.most = a->max != SM_FOREVER ? a->max : a->min ? a->min : 1;
    w.most = w.most > a->items.n ? w.most : a->items.n;
    for (uint32_t k = 0; k < a->claims.n; k++) {
        const claim *c = &CLAIM(a, k);
        const uint32_t end = c->to == UINT32_MAX ? c->from : c->to + 1;
        w.most = w.most > end ? w.most : end;
    }
    if (a->unique != SM_JSON_NONE || a->doubled)
        find_values(&w);
    const sm_expr first = s->status ? SM_EXPR_NONE : go_to(&w, (state){0});
    for (uint32_t i = 0; i < w.states.n && sm_schema_goes_on(s); i++)
        write_state(&w, ((state *)w.states.data)[i]);
    sm_free(s->mem, w.states.data);
    sm_free(s->mem, w.parts.data);
    sm_free(s->mem, w.values.data);
    return first;
}

sm_expr sm_array_write(schema *s, const formula *literals, uint32_t n) {
    array a = array_of(s, literals, n);
    if (a.claims.n > MAX_CLAIMS)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "more than 4 kinds of items that are counted");
    sm_expr body = sm_expr_nothing(s->g);
    if (!s->status && !a.dead)
        body = a.claims.n || a.unique != SM_JSON_NONE || a.doubled ? write_states(&a)
                                                                   : write_plain(&a);
    drop(&a);
    return sm_expr_seq3(s->g, s->open_array, body, s->close_array);
}
