/* schema_parts.c - a formula as one type sees it; the cases of arrays and objects; what has no
 * values. */
#include "schema.h"

static bool deeper(schema *s) {
    if (++s->depth > MAX_NESTED)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, "nested too deeply in one place");
    return sm_schema_goes_on(s);
}

static formula child(const schema *s, formula f, uint32_t i) {
    return AT(s, lists, formula, NODE(s, f)->a + i);
}

/* ---- seen by a type (schema_parts.c) --------------------------------------------------------- */

static formula combine_seen(schema *s, bool and, const list *l) {
    const bool before = s->one_type;
    s->one_type = true;
    const formula f = s->status ? FALSUM
                      : and     ? sm_formula_and(s, l->data, l->n)
                                : sm_formula_or(s, l->data, l->n);
    s->one_type = before;
    return f;
}

static formula and_seen(schema *s, formula a, formula b) {
    formula items[] = {a, b};
    const list l = {items, 2, 2};
    return combine_seen(s, true, &l);
}

static formula not_seen(schema *s, formula f, type t) {
    return sm_formula_seen(s, sm_formula_not(s, f), t);
}

static list seen_children(schema *s, formula f, type t) {
    list l = {0};
    const uint32_t n = NODE(s, f)->b;
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        const formula seen = sm_formula_seen(s, child(s, f, i), t);
        sm_schema_push(s, &l, &seen, sizeof seen);
    }
    return l;
}

/* Whether no value satisfies both; false where that is not known. */
static bool apart(schema *s, formula a, formula b, type t) {
    const node *x = NODE(s, a), *y = NODE(s, b);
    if (x->kind == y->kind && (x->kind == S_EQUAL || x->kind == N_EQUAL))
        return x->a != y->a;
    const formula both = and_seen(s, a, b);
    return sm_formula_dead_as(s, both, t) || (t == T_STRING && sm_string_dead(s, both, true));
}

/* Item i of l and none of those that are not apart from it. */
static formula alone(schema *s, const list *l, uint32_t i, type t) {
    const formula *items = l->data;
    list out = {0};
    sm_schema_push(s, &out, &items[i], sizeof *items);
    for (uint32_t k = 0; k < l->n && sm_schema_goes_on(s); k++) {
        if (k == i || items[k] == FALSUM || apart(s, items[i], items[k], t))
            continue;
        const formula not = not_seen(s, items[k], t);
        sm_schema_push(s, &out, &not, sizeof not );
    }
    const formula f = combine_seen(s, true, &out);
    sm_free(s->mem, out.data);
    return f;
}

/* Exactly one holds. */
static formula one_seen(schema *s, formula f, type t) {
    list l = seen_children(s, f, t), out = {0};
    for (uint32_t i = 0; i < l.n && sm_schema_goes_on(s); i++) {
        if (((formula *)l.data)[i] == FALSUM)
            continue;
        const formula only = alone(s, &l, i, t);
        sm_schema_push(s, &out, &only, sizeof only);
    }
    const formula one = combine_seen(s, false, &out);
    sm_free(s->mem, l.data);
    sm_free(s->mem, out.data);
    return one;
}

/* None holds, or two. */
static formula not_one_seen(schema *s, formula f, type t) {
    list l = seen_children(s, f, t), none = {0}, out = {0};
    const formula *items = l.data;
    for (uint32_t i = 0; i < l.n && sm_schema_goes_on(s); i++) {
        const formula not = not_seen(s, items[i], t);
        sm_schema_push(s, &none, &not, sizeof not );
        for (uint32_t k = 0; k < i && sm_schema_goes_on(s); k++) {
            const formula both =
                apart(s, items[i], items[k], t) ? FALSUM : and_seen(s, items[i], items[k]);
            if (both != FALSUM)
                sm_schema_push(s, &out, &both, sizeof both);
        }
    }
    const formula nothing = combine_seen(s, true, &none);
    sm_schema_push(s, &out, &nothing, sizeof nothing);
    const formula not_one = combine_seen(s, false, &out);
    sm_free(s->mem, l.data);
    sm_free(s->mem, none.data);
    sm_free(s->mem, out.data);
    return not_one;
}

static formula read_once(schema *s, formula f) {
    if (NODE(s, f)->read == NO_FORMULA) {
        const sm_json_value around = s->place;
        const formula what = sm_schema_read(s, NODE(s, f)->a);
        NODE(s, f)->read = what;
        s->place = around;
    }
    return NODE(s, f)->read;
}

static formula see(schema *s, formula f, type t) {
    const node n = *NODE(s, f);
    switch (n.kind) {
    case K_TYPE:
        return n.a & 1u << t ? VERUM : FALSUM;
    case K_AND:
    case K_OR: {
        list l = seen_children(s, f, t);
        const formula seen = combine_seen(s, n.kind == K_AND, &l);
        sm_free(s->mem, l.data);
        return seen;
    }
    case K_SCHEMA:
        return sm_formula_seen(s, read_once(s, f), t);
    case K_NOT_SCHEMA: /* through the positive, where a cycle is found */
        return not_seen(s, read_once(s, sm_formula_not(s, f)), t);
    case K_ONE:
        return one_seen(s, f, t);
    case K_NOT_ONE:
        return not_one_seen(s, sm_formula_not(s, f), t);
    default:
        return sm_formula_type_of(n.kind) == t ? f : VERUM;
    }
}

formula sm_formula_seen(schema *s, formula f, type t) {
    if (f <= VERUM || s->status)
        return s->status ? FALSUM : f;
    if (NODE(s, f)->seen[t] == BEING_READ) {
        const uint32_t kind = NODE(s, f)->kind;
        sm_schema_fail(s, SM_ERR_UNSUPPORTED,
                       kind == K_SCHEMA || kind == K_NOT_SCHEMA ? NODE(s, f)->a : SM_JSON_NONE,
                       "leads back to itself without going into a member or an item");
        return FALSUM;
    }
    if (NODE(s, f)->seen[t] != NO_FORMULA)
        return NODE(s, f)->seen[t];
    NODE(s, f)->seen[t] = BEING_READ;
    const formula seen = deeper(s) ? see(s, f, t) : FALSUM;
    s->depth--;
    NODE(s, f)->seen[t] = seen;
    if (seen > VERUM)
        NODE(s, seen)->seen[t] = seen;
    return seen;
}

/* ---- cases (schema_parts.c) ------------------------------------------------------------------ */

/* A list of cases, each a list of literals; both grow here and end in the schema's. */
typedef struct parts {
    list cases, literals; /* range, formula */
} parts;

static void drop(schema *s, parts *p) {
    sm_free(s->mem, p->cases.data);
    sm_free(s->mem, p->literals.data);
    *p = (parts){0};
}

static bool is_dead_case(schema *s, type t, const formula *literals, uint32_t n) {
    return t == T_ARRAY ? sm_array_dead(s, literals, n) : sm_object_dead(s, literals, n);
}

/* Adds the union of two lists as a case. */
static void add_case(schema *s, parts *p, const formula *a, uint32_t n, const formula *b,
                     uint32_t m) {
    const range r = {p->literals.n, 0};
    const uint32_t mark = ++s->mark;
    if (!sm_schema_room(s, &p->literals, n + m, sizeof(formula)))
        return;
    formula *out = p->literals.data;
    for (uint32_t i = 0; i < n + m; i++) {
        const formula f = i < n ? a[i] : b[i - n];
        if (NODE(s, f)->mark == mark)
            continue;
        NODE(s, f)->mark = mark;
        out[p->literals.n++] = f;
    }
    if (sm_schema_push(s, &p->cases, &r, sizeof r))
        ((range *)p->cases.data)[p->cases.n - 1].n = p->literals.n - r.at;
    if (p->cases.n > 8 * MAX_CASES)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "more than 4096 cases of one object or array");
}

static const formula *literals_of(const parts *p, uint32_t i, uint32_t *n) {
    const range *r = (range *)p->cases.data + i;
    *n = r->n;
    return (const formula *)p->literals.data + r->at;
}

/* Leaves out what has no values. */
static void sift(schema *s, parts *p, type t) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->cases.n && sm_schema_goes_on(s); i++) {
        uint32_t n;
        const formula *literals = literals_of(p, i, &n);
        if (!is_dead_case(s, t, literals, n))
            ((range *)p->cases.data)[kept++] = ((range *)p->cases.data)[i];
    }
    p->cases.n = kept;
}

static parts part(schema *s, formula f, type t);

static void part_or(schema *s, formula f, type t, parts *out) {
    const uint32_t n = NODE(s, f)->b;
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        parts inner = part(s, child(s, f, i), t);
        for (uint32_t k = 0; k < inner.cases.n; k++) {
            uint32_t m;
            const formula *literals = literals_of(&inner, k, &m);
            add_case(s, out, literals, m, NULL, 0);
        }
        drop(s, &inner);
    }
}

static void multiply(schema *s, parts *a, parts *b, type t) {
    parts out = {0};
    for (uint32_t i = 0; i < a->cases.n && sm_schema_goes_on(s); i++)
        for (uint32_t k = 0; k < b->cases.n && !s->status; k++) {
            uint32_t n, m;
            const formula *x = literals_of(a, i, &n), *y = literals_of(b, k, &m);
            add_case(s, &out, x, n, y, m);
        }
    drop(s, a);
    drop(s, b);
    if (out.cases.n > 8)
        sift(s, &out, t);
    *a = out;
}

/* Literals first, which stay one case; then what has several. */
static void part_and(schema *s, formula f, type t, parts *out) {
    const uint32_t n = NODE(s, f)->b;
    list literals = {0};
    for (uint32_t i = 0; i < n; i++) {
        const formula item = child(s, f, i);
        if (is_literal(NODE(s, item)))
            sm_schema_push(s, &literals, &item, sizeof item);
    }
    add_case(s, out, literals.data, literals.n, NULL, 0);
    sm_free(s->mem, literals.data);
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        const formula item = child(s, f, i);
        if (is_literal(NODE(s, item)))
            continue;
        parts inner = part(s, item, t);
        multiply(s, out, &inner, t);
    }
}

static parts part(schema *s, formula f, type t) {
    parts out = {0};
    if (deeper(s) && f != FALSUM) {
        const uint32_t kind = NODE(s, f)->kind;
        if (f == VERUM)
            add_case(s, &out, NULL, 0, NULL, 0);
        else if (kind == K_OR)
            part_or(s, f, t, &out);
        else if (kind == K_AND)
            part_and(s, f, t, &out);
        else
            add_case(s, &out, &f, 1, NULL, 0);
    }
    s->depth--;
    return out;
}

static uint32_t *cases_slot(schema *s, formula f, type t) {
    return t == T_ARRAY ? &NODE(s, f)->cases : &NODE(s, f)->object_cases;
}

const range *sm_formula_cases(schema *s, formula seen, type t, uint32_t *n) {
    *n = 0;
    if (*cases_slot(s, seen, t) == NO_FORMULA) {
        parts p = part(s, seen, t);
        sift(s, &p, t);
        if (p.cases.n > MAX_CASES)
            sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                           "more than 512 cases of one object or array");
        const range all = {s->cases.n + 1, p.cases.n};
        sm_schema_push(s, &s->cases, &all, sizeof all);
        for (uint32_t i = 0; i < p.cases.n && !s->status; i++) {
            range r = ((range *)p.cases.data)[i];
            if (sm_schema_room(s, &s->lists, r.n, sizeof(formula)) && r.n)
                memcpy(&AT(s, lists, formula, s->lists.n), (formula *)p.literals.data + r.at,
                       r.n * sizeof(formula));
            r.at = s->lists.n;
            s->lists.n += s->status ? 0 : r.n;
            sm_schema_push(s, &s->cases, &r, sizeof r);
        }
        drop(s, &p);
        if (s->status)
            return NULL;
        *cases_slot(s, seen, t) = all.at - 1;
    }
    const range *all = &AT(s, cases, range, *cases_slot(s, seen, t));
    *n = all->n;
    return all + 1;
}

/* ---- dead (schema_parts.c) ------------------------------------------------------------------- */

static bool find_dead(schema *s, formula seen, type t) {
    uint32_t n;
    switch (t) {
    case T_NUMBER:
        return sm_number_dead(s, seen);
    case T_STRING:
        return sm_string_dead(s, seen, false);
    case T_ARRAY:
    case T_OBJECT:
        sm_formula_cases(s, seen, t, &n);
        return n == 0;
    default:
        return seen == FALSUM;
    }
}

/* While it is asked, and too deep inside, everything is taken to have values. */
bool sm_formula_dead_as(schema *s, formula seen, type t) {
    enum { UNKNOWN, ALIVE, DEAD, ASKED };
    if (seen <= VERUM || s->status)
        return seen == FALSUM;
    const uint8_t known = NODE(s, seen)->dead[t];
    if (known != UNKNOWN || s->depth > MAX_NESTED / 2)
        return known == DEAD;
    NODE(s, seen)->dead[t] = ASKED;
    s->depth++;
    const bool dead = find_dead(s, seen, t);
    s->depth--;
    NODE(s, seen)->dead[t] = dead ? DEAD : ALIVE;
    return dead && !s->status;
}

bool sm_formula_dead(schema *s, formula f) {
    if (f <= VERUM || s->status)
        return f == FALSUM;
    for (uint32_t t = 0; t < N_TYPES; t++)
        if (!sm_formula_dead_as(s, sm_formula_seen(s, f, (type)t), (type)t))
            return false;
    return !s->status;
}
