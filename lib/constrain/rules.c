/* rules.c - what is found out of a whole grammar before it is run: rules that are missing, those
 * that begin with themselves (left.c), and those that are regular, which are put in where they are
 * called. */
#include "machine.h"

#include <string.h>

#define EMPTY SM_FACT_EMPTY
#define PRODUCTIVE 2U /* matches some text */
#define REGULAR 4U    /* no rule inside is part of a circle */

typedef struct analysis {
    sm_grammar *g;
    uint64_t n;      /* nodes when it began */
    uint8_t *facts;  /* [n] */
    uint8_t *rules;  /* [n_rules]: facts of their bodies */
    sm_expr *better; /* [n]: what stands for a node when all is known */
} analysis;

static uint8_t facts_of_list(const analysis *a, const sm_node *n) {
    uint8_t any = 0, all = REGULAR;
    for (uint32_t i = 0; i < n->b; i++) {
        any |= a->facts[a->g->list[n->a + i]];
        all &= a->facts[a->g->list[n->a + i]];
    }
    return (uint8_t)((any & (EMPTY | PRODUCTIVE)) | (all & REGULAR));
}

static uint8_t facts_of(const analysis *a, sm_expr e) {
    const sm_node *n = &a->g->nodes[e];
    if (!(n->flags & SM_HAS_RULE))
        return (uint8_t)(REGULAR | (n->flags & SM_HAS_EMPTY ? EMPTY | PRODUCTIVE : 0) |
                         (sm_expr_is_live(a->g, e) ? PRODUCTIVE : 0));
    switch (n->kind) {
    case SM_NODE_SEQ:
        return a->facts[n->a] & a->facts[n->b];
    case SM_NODE_ALT:
        return facts_of_list(a, n);
    case SM_NODE_REPEAT:
        return a->facts[n->a] | (n->min == 0 ? EMPTY | PRODUCTIVE : 0);
    default:
        return a->rules[n->a];
    }
}

/* An expression that is regular, with the bodies of rules in place of their names. */
static sm_expr rebuild(analysis *a, sm_expr e) {
    sm_grammar *g = a->g;
    const sm_node n = g->nodes[e];
    if (!(n.flags & SM_HAS_RULE))
        return e;
    switch (n.kind) {
    case SM_NODE_SEQ:
        return sm_expr_seq2(g, a->better[n.a], a->better[n.b]);
    case SM_NODE_REPEAT:
        return sm_expr_repeat(g, a->better[n.a], n.min, n.max);
    case SM_NODE_ALT: {
        sm_expr *items = sm_alloc_array(g->mem, n.b, sizeof *items);
        if (!items)
            return sm_grammar_nomem(g);
        for (uint32_t i = 0; i < n.b; i++)
            items[i] = a->better[g->list[n.a + i]];
        const sm_expr made = sm_expr_alt(g, items, n.b);
        sm_free(g->mem, items);
        return made;
    }
    default:
        if (!(a->rules[n.a] & PRODUCTIVE))
            return SM_NOTHING;
        return a->rules[n.a] & REGULAR ? a->better[g->rules[n.a].body] : e;
    }
}

/* One round: facts of all nodes by what is known of rules; what became regular is put together. */
static bool round_of(analysis *a, bool *changed) {
    sm_grammar *g = a->g;
    *changed = false;
    for (sm_expr e = 0; e < a->n; e++)
        a->facts[e] = facts_of(a, e);
    for (uint64_t r = 0; r < g->n_rules; r++) {
        const sm_expr body = g->rules[r].body;
        const uint8_t facts = body == SM_EXPR_NONE ? 0 : a->facts[body];
        *changed |= facts != a->rules[r];
        a->rules[r] = facts;
    }
    return !g->status;
}

/* Regular nodes become what they are without rules: in rounds, as bodies are needed by others. */
static bool resolve(analysis *a) {
    sm_grammar *g = a->g;
    bool left = true;
    while (left && !g->status) {
        left = false;
        for (sm_expr e = 0; e < a->n && !g->status; e++) {
            if (a->better[e] != SM_EXPR_NONE || !(a->facts[e] & REGULAR))
                continue;
            const sm_node *n = &g->nodes[e];
            bool ready = true;
            if (n->kind == SM_NODE_RULE)
                ready = !(a->rules[n->a] & PRODUCTIVE) ||
                        a->better[g->rules[n->a].body] != SM_EXPR_NONE;
            else if (n->flags & SM_HAS_RULE && n->kind == SM_NODE_ALT)
                for (uint32_t i = 0; i < n->b; i++)
                    ready &= a->better[g->list[n->a + i]] != SM_EXPR_NONE;
            else if (n->flags & SM_HAS_RULE)
                ready = a->better[n->a] != SM_EXPR_NONE &&
                        (n->kind != SM_NODE_SEQ || a->better[n->b] != SM_EXPR_NONE);
            if (ready)
                a->better[e] = rebuild(a, e);
            left |= !ready;
        }
    }
    for (sm_expr e = 0; e < a->n && !g->status; e++)
        if (a->better[e] == SM_EXPR_NONE)
            a->better[e] = rebuild(a, e);
    return !g->status;
}

/* ---- the whole (rules.c) --------------------------------------------------------------------- */

static bool check_defined(analysis *a) {
    sm_grammar *g = a->g;
    for (sm_expr e = 0; e < a->n; e++)
        if (g->nodes[e].kind == SM_NODE_RULE && g->rules[g->nodes[e].a].body == SM_EXPR_NONE) {
            sm_grammar_fail(g, SM_ERR_FORMAT, "rule '%s' is not defined",
                            g->rules[g->nodes[e].a].name);
            return false;
        }
    return true;
}

/* What is known of a grammar as it stands; *again: it was written anew. */
static bool analyse(analysis *a, bool *again) {
    sm_grammar *g = a->g;
    bool changed = true;
    *again = false;
    if (!check_defined(a))
        return false;
    while (changed)
        if (!round_of(a, &changed))
            return false;
    if (!sm_left_remove(g, a->facts, a->n, again) || *again || !resolve(a))
        return false;
    for (uint64_t r = 0; r < g->n_rules; r++)
        if (g->rules[r].body != SM_EXPR_NONE)
            g->rules[r].body = a->better[g->rules[r].body];
    if (!(a->facts[g->root] & PRODUCTIVE))
        sm_grammar_fail(g, SM_ERR_ARGUMENT, "the constraint matches no text");
    g->root = a->better[g->root];
    return !g->status;
}

/* false: it failed, or has to be looked at once more. */
static bool look_through(sm_grammar *g, bool *again) {
    analysis a = {.g = g, .n = g->n_nodes};
    *again = false;
    a.facts = sm_alloc_zero(g->mem, a.n);
    a.rules = sm_alloc_zero(g->mem, g->n_rules + 1);
    a.better = sm_alloc_array(g->mem, a.n, sizeof *a.better);
    if (a.facts && a.rules && a.better) {
        memset(a.better, 0xFF, a.n * sizeof *a.better);
        analyse(&a, again);
    } else {
        sm_grammar_nomem(g);
    }
    sm_free(g->mem, a.facts);
    sm_free(g->mem, a.rules);
    sm_free(g->mem, a.better);
    return !g->status && !*again;
}

bool sm_grammar_finish(sm_grammar *g) {
    bool again;
    if (g->status)
        return false;
    if (g->root == SM_EXPR_NONE) {
        sm_grammar_fail(g, SM_ERR_ARGUMENT, "a grammar without a root");
        return false;
    }
    /* the second time nothing begins with itself */
    if (!look_through(g, &again) && again && !look_through(g, &again) && again)
        sm_grammar_fail(g, SM_ERR_UNSUPPORTED, "rules that begin with themselves");
    return !g->status;
}
