/* left.c - rules that begin with themselves ("e ::= e + e | n") are written anew without: a group of
 * rules that begin with each other is a system of equations X = X A + B over expressions, whose
 * solution is X = B A* (D. N. Arden, "Delayed-logic and finite-state machines", 1961). The texts
 * that match stay the same. */
#include "machine.h"

#include <string.h>

#define MAX_GROUP 64 /* rules that begin with each other */

/* An expression, and it without the empty text: the same where it does not match that. */
typedef struct part {
    sm_expr full, some;
} part;

typedef struct left {
    sm_grammar *g;
    const uint8_t *facts; /* [n] */
    uint64_t n;
    uint32_t *group; /* [n]: of nodes that begin with themselves, 0: of none */
    uint32_t n_groups;
    part *parts;      /* [n] */
    uint8_t *reaches; /* [n]: begins with a rule of the group in work */
    uint32_t now;     /* that group */
    sm_rule rules[MAX_GROUP];
    uint32_t n_rules;
    part *alpha; /* [MAX_GROUP][MAX_GROUP]: what follows a rule of the group in another one */
    sm_expr beta[MAX_GROUP];
} left;

/* ---- groups (left.c) ------------------------------------------------------------------------ */

/* The i-th expression that may begin e; SM_EXPR_NONE past the last. */
static sm_expr first_of(const left *l, sm_expr e, uint32_t i) {
    const sm_grammar *g = l->g;
    const sm_node *n = &g->nodes[e];
    if (!(n->flags & SM_HAS_RULE))
        return SM_EXPR_NONE;
    switch (n->kind) {
    case SM_NODE_SEQ:
        return i == 0 ? n->a : i == 1 && (l->facts[n->a] & SM_FACT_EMPTY) ? n->b : SM_EXPR_NONE;
    case SM_NODE_ALT:
        return i < n->b ? g->list[n->a + i] : SM_EXPR_NONE;
    case SM_NODE_REPEAT:
        return i == 0 ? n->a : SM_EXPR_NONE;
    default:
        return i == 0 ? g->rules[n->a].body : SM_EXPR_NONE;
    }
}

/* Tarjan's search for what leads back to itself, by a path of (node, next child). */
typedef struct search {
    left *l;
    uint32_t *order, *low; /* [n]; order 0: not seen */
    uint32_t *path, *open; /* nodes whose group is not known yet */
    uint64_t n_path, path_room, n_open, open_room;
    uint32_t count;
} search;

static bool enter(search *s, sm_expr e) {
    sm_grammar *g = s->l->g;
    if (!sm_grammar_reserve(g, &s->path, &s->path_room, 2 * s->n_path + 2, sizeof *s->path) ||
        !sm_grammar_reserve(g, &s->open, &s->open_room, s->n_open + 1, sizeof *s->open))
        return false;
    s->order[e] = s->low[e] = ++s->count;
    s->path[2 * s->n_path] = e;
    s->path[2 * s->n_path++ + 1] = 0;
    s->open[s->n_open++] = e;
    return true;
}

/* All that was seen behind e and leads back to it is one group, if that is more than e. */
static void close_group(search *s, sm_expr e) {
    left *l = s->l;
    const bool single = s->open[s->n_open - 1] == e && first_of(l, e, 0) != e;
    const uint32_t number = single ? 0 : ++l->n_groups;
    sm_expr last;
    do {
        last = s->open[--s->n_open];
        l->group[last] = number;
        s->low[last] = UINT32_MAX; /* closed */
    } while (last != e);
}

static bool search_from(search *s, sm_expr start) {
    if (!enter(s, start))
        return false;
    while (s->n_path) {
        uint32_t *at = s->path + 2 * (s->n_path - 1);
        const sm_expr e = at[0], next = first_of(s->l, e, at[1]++);
        if (next != SM_EXPR_NONE) {
            if (!s->order[next]) {
                if (!enter(s, next))
                    return false;
            } else if (s->low[next] != UINT32_MAX) {
                s->low[e] = min_u32(s->low[e], s->order[next]);
            }
            continue;
        }
        const uint32_t low = s->low[e];
        if (low == s->order[e])
            close_group(s, e);
        if (--s->n_path && low != UINT32_MAX && s->low[e] != UINT32_MAX) {
            const sm_expr above = s->path[2 * (s->n_path - 1)];
            s->low[above] = min_u32(s->low[above], low);
        }
    }
    return true;
}

static bool find_groups(left *l) {
    search s = {.l = l};
    s.order = sm_alloc_zero(l->g->mem, l->n * sizeof *s.order);
    s.low = sm_alloc_zero(l->g->mem, l->n * sizeof *s.low);
    bool sound = s.order && s.low;
    if (!sound)
        sm_grammar_nomem(l->g);
    for (sm_expr e = 0; sound && e < l->n; e++)
        if (l->g->nodes[e].kind == SM_NODE_RULE && !s.order[e])
            sound = search_from(&s, e);
    sm_free(l->g->mem, s.order);
    sm_free(l->g->mem, s.low);
    sm_free(l->g->mem, s.path);
    sm_free(l->g->mem, s.open);
    return sound;
}

/* ---- parts (left.c) ------------------------------------------------------------------------- */

static bool has_empty(part p) {
    return p.full != p.some;
}

static part seq(left *l, part a, part b) {
    const sm_expr full = sm_expr_seq2(l->g, a.full, b.full);
    if (!has_empty(a) || !has_empty(b))
        return (part){full, full};
    return (part){full, sm_expr_alt2(l->g, sm_expr_seq2(l->g, a.some, b.full), b.some)};
}

static part alt(left *l, part a, part b) {
    const sm_expr full = sm_expr_alt2(l->g, a.full, b.full);
    return has_empty(a) || has_empty(b) ? (part){full, sm_expr_alt2(l->g, a.some, b.some)}
                                        : (part){full, full};
}

static part repeat(left *l, part a, uint32_t min, uint32_t max) {
    if (has_empty(a))
        min = 0;
    const sm_expr full = sm_expr_repeat(l->g, a.some, min, max);
    return (part){full, min ? full : sm_expr_repeat(l->g, a.some, 1, max)};
}

/* Of a list, at once: one by one would sort it as often. */
static part alt_list(left *l, const sm_node *n) {
    const uint32_t count = n->b, from = n->a;
    sm_expr *items = sm_alloc_array(l->g->mem, 2ULL * count, sizeof *items);
    bool empty = false;
    if (!items)
        return (part){sm_grammar_nomem(l->g), SM_EXPR_NONE};
    for (uint32_t i = 0; i < count; i++) {
        const part p = l->parts[l->g->list[from + i]];
        items[i] = p.full;
        items[count + i] = p.some;
        empty |= has_empty(p);
    }
    const sm_expr full = sm_expr_alt(l->g, items, count);
    const part made = {full, empty ? sm_expr_alt(l->g, items + count, count) : full};
    sm_free(l->g->mem, items);
    return made;
}

/* Rules match the empty text no longer: where they did, it stands beside them. */
static part part_of(left *l, sm_expr e) {
    sm_grammar *g = l->g;
    const sm_node n = g->nodes[e];
    if (!(l->facts[e] & SM_FACT_EMPTY) && !(n.flags & SM_HAS_RULE))
        return (part){e, e};
    switch (n.kind) {
    case SM_NODE_SEQ:
        return seq(l, l->parts[n.a], l->parts[n.b]);
    case SM_NODE_ALT:
        return alt_list(l, &n);
    case SM_NODE_REPEAT:
        return repeat(l, l->parts[n.a], n.min, n.max);
    case SM_NODE_RULE:
        return (part){l->facts[e] & SM_FACT_EMPTY ? sm_expr_optional(g, e) : e, e};
    case SM_NODE_EMPTY:
        return (part){SM_EMPTY, SM_NOTHING};
    default:
        return (part){e, sm_expr_minus(g, e, SM_EMPTY)};
    }
}

static bool find_parts(left *l) {
    for (sm_expr e = 0; e < l->n && !l->g->status; e++)
        l->parts[e] = part_of(l, e);
    return !l->g->status;
}

/* ---- a group's equations (left.c) ------------------------------------------------------------ */

static bool in_group(const left *l, sm_expr e) {
    const sm_node *n = &l->g->nodes[e];
    if (!(n->flags & SM_HAS_RULE))
        return false;
    switch (n->kind) {
    case SM_NODE_SEQ:
        return l->reaches[n->a] || ((l->facts[n->a] & SM_FACT_EMPTY) && l->reaches[n->b]);
    case SM_NODE_ALT:
        for (uint32_t i = 0; i < n->b; i++)
            if (l->reaches[l->g->list[n->a + i]])
                return true;
        return false;
    case SM_NODE_REPEAT:
        return l->reaches[n->a];
    default:
        return l->group[e] == l->now;
    }
}

static uint32_t place_of(const left *l, sm_rule rule) {
    uint32_t i = 0;
    while (l->rules[i] != rule)
        i++;
    return i;
}

/* Adds e without the empty text, and what follows it, to the equation of a rule. */
static void add(left *l, uint32_t row, sm_expr e, part rest) {
    sm_grammar *g = l->g;
    for (; !g->status && l->reaches[e]; e = g->nodes[e].b) {
        const sm_node n = g->nodes[e];
        if (n.kind == SM_NODE_RULE) {
            part *a = &l->alpha[row * MAX_GROUP + place_of(l, n.a)];
            *a = alt(l, *a, rest);
            return;
        }
        if (n.kind == SM_NODE_REPEAT) {
            const part more = repeat(l, l->parts[n.a], n.min ? n.min - 1 : 0,
                                     n.max == SM_FOREVER ? n.max : n.max - 1);
            add(l, row, n.a, seq(l, more, rest));
            return;
        }
        if (n.kind == SM_NODE_ALT) {
            for (uint32_t i = 0; i < n.b; i++)
                add(l, row, g->list[n.a + i], rest);
            return;
        }
        add(l, row, n.a, seq(l, l->parts[n.b], rest));
        if (!(l->facts[n.a] & SM_FACT_EMPTY))
            return;
    }
    if (!g->status)
        l->beta[row] = sm_expr_alt2(g, l->beta[row], sm_expr_seq2(g, l->parts[e].some, rest.full));
}

static bool read_group(left *l, uint32_t number) {
    sm_grammar *g = l->g;
    const part none = {SM_NOTHING, SM_NOTHING}, empty = {SM_EMPTY, SM_NOTHING};
    l->now = number;
    l->n_rules = 0;
    if (!sm_grammar_work(g, l->n))
        return false;
    for (sm_expr e = 0; e < l->n; e++) {
        l->reaches[e] = in_group(l, e);
        if (l->group[e] != number || g->nodes[e].kind != SM_NODE_RULE)
            continue;
        if (l->n_rules == MAX_GROUP) {
            sm_grammar_fail(g, SM_ERR_UNSUPPORTED,
                            "rule '%s' begins with itself through more than %u rules",
                            g->rules[g->nodes[e].a].name, MAX_GROUP);
            return false;
        }
        l->rules[l->n_rules++] = g->nodes[e].a;
    }
    for (uint32_t i = 0; i < MAX_GROUP * MAX_GROUP; i++)
        l->alpha[i] = none;
    for (uint32_t i = 0; i < l->n_rules; i++) {
        l->beta[i] = SM_NOTHING;
        add(l, i, g->rules[l->rules[i]].body, empty);
    }
    return !g->status;
}

static part *alpha(left *l, uint32_t i, uint32_t k) {
    return &l->alpha[i * MAX_GROUP + k];
}

/* Puts what a rule is into those before it. */
static void put_in(left *l, uint32_t k) {
    sm_grammar *g = l->g;
    for (uint32_t i = 0; i < k && !g->status; i++) {
        const part behind = *alpha(l, i, k);
        if (behind.full == SM_NOTHING)
            continue;
        l->beta[i] = sm_expr_alt2(g, l->beta[i], sm_expr_seq2(g, l->beta[k], behind.full));
        for (uint32_t j = 0; j < k; j++)
            *alpha(l, i, j) = alt(l, *alpha(l, i, j), seq(l, *alpha(l, k, j), behind));
    }
}

static bool solve_group(left *l) {
    sm_grammar *g = l->g;
    for (uint32_t k = l->n_rules; k-- > 0 && !g->status;) {
        const part star = repeat(l, *alpha(l, k, k), 0, SM_FOREVER);
        l->beta[k] = sm_expr_seq2(g, l->beta[k], star.full);
        for (uint32_t j = 0; j < k; j++)
            *alpha(l, k, j) = seq(l, *alpha(l, k, j), star);
        put_in(l, k);
    }
    for (uint32_t k = 0; k < l->n_rules && !g->status; k++) {
        sm_expr body = l->beta[k];
        for (uint32_t j = 0; j < k; j++)
            body = sm_expr_alt2(
                g, body, sm_expr_seq2(g, sm_expr_rule(g, l->rules[j]), alpha(l, k, j)->full));
        g->rules[l->rules[k]].body = body;
    }
    return !g->status;
}

/* ---- the whole (left.c) ---------------------------------------------------------------------- */

static bool rewrite(left *l) {
    sm_grammar *g = l->g;
    if (!find_parts(l))
        return false;
    for (uint32_t k = 1; k <= l->n_groups; k++)
        if (!read_group(l, k) || !solve_group(l))
            return false;
    for (sm_expr e = 0; e < l->n && !g->status; e++) {
        const sm_node *n = &g->nodes[e];
        if (n->kind == SM_NODE_RULE && !l->group[e] && g->rules[n->a].body != SM_EXPR_NONE)
            g->rules[n->a].body = l->parts[g->rules[n->a].body].some;
    }
    g->root = l->parts[g->root].full;
    return !g->status;
}

static bool refuse(const left *l) {
    sm_expr e = 0;
    while (l->g->nodes[e].kind != SM_NODE_RULE || !l->group[e])
        e++;
    sm_grammar_fail(l->g, SM_ERR_UNSUPPORTED, "rule '%s' begins with itself (left recursion)",
                    l->g->rules[l->g->nodes[e].a].name);
    return false;
}

bool sm_left_remove(sm_grammar *g, const uint8_t *facts, uint64_t n, bool *found) {
    left l = {.g = g, .facts = facts, .n = n};
    bool sound = false;
    l.group = sm_alloc_zero(g->mem, n * sizeof *l.group);
    if (l.group)
        sound = find_groups(&l);
    if (sound && l.n_groups && !g->allow_left)
        sound = refuse(&l);
    *found = sound && l.n_groups;
    if (*found) {
        l.parts = sm_alloc_array(g->mem, n, sizeof *l.parts);
        l.reaches = sm_alloc_zero(g->mem, n);
        l.alpha = sm_alloc_array(g->mem, MAX_GROUP * MAX_GROUP, sizeof *l.alpha);
        sound = l.parts && l.reaches && l.alpha && rewrite(&l);
    }
    if (!sound && !g->status)
        sm_grammar_nomem(g);
    sm_free(g->mem, l.group);
    sm_free(g->mem, l.parts);
    sm_free(g->mem, l.reaches);
    sm_free(g->mem, l.alpha);
    return sound;
}
