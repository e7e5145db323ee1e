/* schema_object.c - a case of an object becomes a chain of members: those with names in their
 * order, each there or not, then any number of others. */
#include "schema.h"

typedef struct member {
    uint32_t name; /* text */
    formula value;
    bool required;
    sm_expr key;
} member;

/* Keys that are not named, by what their values must be; a member that is looked for. */
typedef struct other {
    formula key, value;
    sm_expr written;
} other;

typedef struct object {
    schema *s;
    list members, others, claims;
    uint32_t min, max, n_required;
    bool dead;
} object;

static void drop(object *o) {
    sm_free(o->s->mem, o->members.data);
    sm_free(o->s->mem, o->others.data);
    sm_free(o->s->mem, o->claims.data);
}

#define MEMBER(o, i) ((member *)(o)->members.data)[i]
#define OTHER(o, i) ((other *)(o)->others.data)[i]
#define CLAIM(o, i) ((other *)(o)->claims.data)[i]

static member *member_named(object *o, uint32_t name) {
    for (uint32_t i = 0; i < o->members.n; i++)
        if (MEMBER(o, i).name == name)
            return &MEMBER(o, i);
    return NULL;
}

static void add_name(object *o, formula key) {
    const node *n = NODE(o->s, key);
    if (n->kind != S_EQUAL || member_named(o, n->a))
        return;
    const member m = {n->a, VERUM, false, SM_EXPR_NONE};
    sm_schema_push(o->s, &o->members, &m, sizeof m);
}

/* A literal about keys of which one has a name: its value's formula goes to the members it is
 * about. */
static void apply_all(object *o, formula key, formula value) {
    schema *s = o->s;
    const node k = *NODE(s, key);
    for (uint32_t i = 0; i < o->members.n && sm_schema_goes_on(s); i++) {
        const uint32_t name = MEMBER(o, i).name;
        if (k.kind == S_EQUAL ? k.a != name : !sm_string_has(s, key, name))
            continue;
        const formula both = sm_formula_and2(s, MEMBER(o, i).value, value);
        MEMBER(o, i).value = both;
    }
    if (k.kind == S_EQUAL)
        return;
    list out = {0};
    for (uint32_t i = 0; i < o->others.n && sm_schema_goes_on(s); i++) {
        const other c = OTHER(o, i);
        other in = {sm_formula_and2(s, c.key, key), sm_formula_and2(s, c.value, value),
                    SM_EXPR_NONE};
        other left = {
            sm_formula_seen(s, sm_formula_and2(s, c.key, sm_formula_not(s, key)), T_STRING),
            c.value, SM_EXPR_NONE};
        in.key = sm_formula_seen(s, in.key, T_STRING);
        if (in.key != FALSUM && in.value != FALSUM)
            sm_schema_push(s, &out, &in, sizeof in);
        if (left.key != FALSUM)
            sm_schema_push(s, &out, &left, sizeof left);
    }
    if (out.n > MAX_CLASSES)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "patternProperties: more than 64 kinds of keys");
    sm_free(s->mem, o->others.data);
    o->others = out;
}

static void apply_some(object *o, formula key, formula value) {
    schema *s = o->s;
    const node *k = NODE(s, key);
    member *m = k->kind == S_EQUAL ? member_named(o, k->a) : NULL;
    if (m) {
        m->required = true;
        const formula both = sm_formula_and2(s, m->value, value);
        m->value = both;
        return;
    }
    const other c = {key, value, SM_EXPR_NONE};
    sm_schema_push(s, &o->claims, &c, sizeof c);
}

/* What has no values goes. */
static void clean(object *o) {
    schema *s = o->s;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < o->members.n && !s->status; i++) {
        const member m = MEMBER(o, i);
        const bool dead = sm_formula_dead(s, m.value);
        o->dead |= dead && m.required;
        o->n_required += m.required;
        if (!dead)
            MEMBER(o, kept++) = m;
    }
    o->members.n = kept;
    kept = 0;
    for (uint32_t i = 0; i < o->others.n && !s->status; i++) {
        const other c = OTHER(o, i);
        if (!sm_formula_dead(s, c.value) && !sm_string_dead(s, c.key, false))
            OTHER(o, kept++) = c;
    }
    o->others.n = kept;
    for (uint32_t i = 0; i < o->claims.n && !s->status; i++)
        o->dead |= sm_formula_dead(s, CLAIM(o, i).value);
    if (!o->others.n)
        o->max = min_u32(o->max, o->members.n);
    o->min = o->min > o->n_required ? o->min : o->n_required;
    o->dead |= o->min > o->max;
}

static object object_of(schema *s, const formula *literals, uint32_t n) {
    object o = {.s = s, .max = SM_FOREVER};
    const other all = {VERUM, VERUM, SM_EXPR_NONE};
    list named = {0};
    sm_schema_push(s, &o.others, &all, sizeof all);
    for (uint32_t i = 0; i < n; i++)
        if (NODE(s, literals[i])->kind == O_ALL || NODE(s, literals[i])->kind == O_SOME)
            add_name(&o, NODE(s, literals[i])->a);
    for (uint32_t i = 0; i < n && sm_schema_goes_on(s); i++) {
        const node l = *NODE(s, literals[i]);
        const bool keys = l.kind == O_ALL || l.kind == O_SOME;
        const formula key = keys ? sm_formula_seen(s, l.a, T_STRING) : FALSUM;
        if (l.kind == O_ALL)
            apply_all(&o, key, l.b);
        else if (l.kind == O_SOME)
            apply_some(&o, key, l.b);
        else if (l.kind == O_LEAST)
            o.min = l.a > o.min ? l.a : o.min;
        else
            o.max = min_u32(o.max, l.a - 1);
    }
    sm_free(s->mem, named.data);
    /* keys that have names are no others */
    list outside = {0};
    for (uint32_t i = 0; i < o.members.n; i++) {
        const formula f = sm_formula_literal(s, S_OTHER, MEMBER(&o, i).name, 0, 0, 0);
        sm_schema_push(s, &outside, &f, sizeof f);
    }
    for (uint32_t i = 0; i < o.others.n && outside.n && !s->status; i++) {
        const formula rest = sm_formula_and(s, outside.data, outside.n);
        const formula key =
            sm_formula_seen(s, sm_formula_and2(s, OTHER(&o, i).key, rest), T_STRING);
        OTHER(&o, i).key = key;
    }
    sm_free(s->mem, outside.data);
    clean(&o);
    return o;
}

bool sm_object_dead(schema *s, const formula *literals, uint32_t n) {
    object o = object_of(s, literals, n);
    drop(&o);
    return o.dead && !s->status;
}

/* ---- writing (schema_object.c) --------------------------------------------------------------- */

static sm_expr comma_of(const schema *s) {
    return s->outermost ? s->outer_comma : s->comma;
}

static sm_expr write_member(object *o, uint32_t i, formula also) {
    schema *s = o->s;
    const formula value =
        also == VERUM ? MEMBER(o, i).value : sm_formula_and2(s, MEMBER(o, i).value, also);
    if (sm_formula_dead(s, value))
        return sm_expr_nothing(s->g);
    return sm_member_write(s, MEMBER(o, i).name, VERUM, value);
}

/* Any member without a name that answers the claims of the set. */
static sm_expr write_other(object *o, uint32_t set) {
    schema *s = o->s;
    list parts = {0};
    for (uint32_t i = 0; i < o->others.n && sm_schema_goes_on(s); i++) {
        formula key = OTHER(o, i).key, value = OTHER(o, i).value;
        for (uint32_t c = 0; c < o->claims.n; c++)
            if (set & 1u << c) {
                key = sm_formula_seen(s, sm_formula_and2(s, key, CLAIM(o, c).key), T_STRING);
                value = sm_formula_and2(s, value, CLAIM(o, c).value);
            }
        if (key == FALSUM || sm_string_dead(s, key, false) || sm_formula_dead(s, value))
            continue;
        const sm_expr e = sm_member_write(s, NO_NAME, key, value);
        sm_schema_push(s, &parts, &e, sizeof e);
    }
    const sm_expr e = sm_expr_alt(s->g, parts.data, parts.n);
    sm_free(s->mem, parts.data);
    return e;
}

/* Without counting: in order, commas where something stands before. */
static sm_expr write_chain(object *o) {
    schema *s = o->s;
    const uint32_t n = o->members.n;
    const sm_expr extra = write_other(o, 0);
    if (!n)
        return sm_expr_list(s->g, extra, comma_of(s), o->min, o->max);
    sm_expr tail = sm_expr_empty(s->g);
    if (o->others.n)
        tail = sm_expr_repeat(s->g, sm_expr_seq2(s->g, comma_of(s), extra), 0, SM_FOREVER);
    list starts = {0};
    if (!o->n_required) {
        const sm_expr none = sm_expr_empty(s->g), just = sm_expr_seq2(s->g, extra, tail);
        sm_schema_push(s, &starts, &none, sizeof none);
        if (o->others.n)
            sm_schema_push(s, &starts, &just, sizeof just);
    }
    uint32_t first = 0;
    while (first < n && !MEMBER(o, first).required)
        first++;
    for (uint32_t i = n; i-- > 0 && sm_schema_goes_on(s);) {
        const sm_expr m = write_member(o, i, VERUM);
        if (i <= first || first == n) {
            const sm_expr start = sm_expr_seq2(s->g, m, tail);
            sm_schema_push(s, &starts, &start, sizeof start);
        }
        const sm_expr with = sm_expr_seq2(s->g, comma_of(s), m);
        tail =
            sm_expr_seq2(s->g, MEMBER(o, i).required ? with : sm_expr_optional(s->g, with), tail);
    }
    const sm_expr e = sm_expr_alt(s->g, starts.data, starts.n);
    sm_free(s->mem, starts.data);
    return e;
}

/* With counting, claims or any order: a rule for each state. */
typedef struct state {
    uint32_t at; /* members passed; in any order a set of those that were there */
    uint32_t count, claims;
    sm_rule rule;
} state;

typedef struct walk {
    object *o;
    list states, parts;
    bool any_order;
    uint32_t most; /* what is counted to */
} walk;

static sm_expr go_to(walk *w, state to) {
    schema *s = w->o->s;
    to.count = min_u32(to.count, w->most);
    for (uint32_t i = 0; i < w->states.n; i++) {
        const state *has = (state *)w->states.data + i;
        if (has->at == to.at && has->count == to.count && has->claims == to.claims)
            return sm_expr_rule(s->g, has->rule);
    }
    if (w->states.n >= MAX_STATES / 4)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "counting the members of an object needs more than 2048 states");
    to.rule = sm_rule_new(s->g, "object", 6);
    sm_schema_push(s, &w->states, &to, sizeof to);
    return sm_expr_rule(s->g, to.rule);
}

static void add_step(walk *w, const state *from, sm_expr what, uint32_t at, uint32_t set) {
    schema *s = w->o->s;
    if (what == sm_expr_nothing(s->g) || from->count + 1 > w->o->max)
        return;
    const sm_expr comma = from->count ? comma_of(s) : sm_expr_empty(s->g);
    const state to = {at, from->count + 1, from->claims | set, 0};
    const sm_expr e = sm_expr_seq3(s->g, comma, what, go_to(w, to));
    sm_schema_push(s, &w->parts, &e, sizeof e);
}

static void add_members(walk *w, const state *from, uint32_t i, uint32_t at) {
    object *o = w->o;
    schema *s = o->s;
    for (uint32_t set = 0; set < 1u << o->claims.n && sm_schema_goes_on(s); set++) {
        formula also = VERUM;
        bool fits = !(set & from->claims);
        for (uint32_t c = 0; c < o->claims.n && fits; c++)
            if (set & 1u << c) {
                fits = sm_string_has(s, CLAIM(o, c).key, MEMBER(o, i).name);
                also = sm_formula_and2(s, also, CLAIM(o, c).value);
            }
        if (fits)
            add_step(w, from, write_member(o, i, also), at, set);
    }
}

static void add_others(walk *w, const state *from) {
    for (uint32_t set = 0; set < 1u << w->o->claims.n && sm_schema_goes_on(w->o->s); set++)
        if (w->o->others.n && !(set & from->claims))
            add_step(w, from, write_other(w->o, set), w->any_order ? from->at : w->o->members.n,
                     set);
}

static void write_state(walk *w, const state from) {
    object *o = w->o;
    schema *s = o->s;
    const uint32_t n = o->members.n;
    w->parts.n = 0;
    bool rest = true;
    for (uint32_t i = w->any_order ? 0 : from.at; i < n && sm_schema_goes_on(s); i++) {
        if (w->any_order && from.at & 1u << i)
            continue;
        if (w->any_order || rest)
            add_members(w, &from, i, w->any_order ? from.at | 1u << i : i + 1);
        rest = rest && !MEMBER(o, i).required;
    }
    if (rest || w->any_order)
        add_others(w, &from);
    const sm_expr end = sm_expr_empty(s->g);
    if (rest && from.count >= o->min && from.claims == (1u << o->claims.n) - 1)
        sm_schema_push(s, &w->parts, &end, sizeof end);
    sm_rule_define(s->g, from.rule, sm_expr_alt(s->g, w->parts.data, w->parts.n));
}

static sm_expr write_states(object *o, bool any_order) {
    schema *s = o->s;
    walk w = {.o = o, .any_order = any_order};
    w.most = o->max != SM_FOREVER ? o->max : o->min ? o->min : 1;
    if (o->max >= o->members.n && !o->others.n)
        w.most = o->min ? o->min : 1;
    const sm_expr first = go_to(&w, (state){0, 0, 0, 0});
    for (uint32_t i = 0; i < w.states.n && sm_schema_goes_on(s); i++)
        write_state(&w, ((state *)w.states.data)[i]);
    sm_free(s->mem, w.states.data);
    sm_free(s->mem, w.parts.data);
    return first;
}

static sm_expr write_body(object *o) {
    schema *s = o->s;
    const uint32_t n = o->members.n;
    const bool any_order =
        (s->options.any_order || n <= s->options.any_order_to) && n && (n > 1 || o->others.n);
    if (any_order && n > MAX_ANY_ORDER)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, "more than 10 keys in any order");
    if (o->claims.n > MAX_CLAIMS)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "more than 4 members that are looked for");
    if (s->status || o->dead)
        return sm_expr_nothing(s->g);
    const bool counts =
        n && (o->min > o->n_required || (o->max != SM_FOREVER && (o->others.n || o->max < n)));
    return any_order || counts || o->claims.n ? write_states(o, any_order) : write_chain(o);
}

sm_expr sm_object_write(schema *s, const formula *literals, uint32_t n) {
    object o = object_of(s, literals, n);
    const sm_expr body = write_body(&o);
    drop(&o);
    return s->outermost ? body : sm_expr_seq3(s->g, s->open_object, body, s->close_object);
}
