/* stacks.c - stacks of what is to follow, as a graph: equal ones are one, and a union of stacks has
 * each expression on top once, on the union of what is below it. What two stacks are joined to is
 * kept: a grammar that is ambiguous at every byte joins stacks that differ from the byte before by
 * little, and what they have below was joined then. */
#include "machine.h"

#include <string.h>

/* Unions of stacks inside each other that are looked into while one is made; what is deeper stays
 * apart, which costs room and nothing else. */
#define MAX_JOINED 200
#define JOINS_KEPT (1U << 20)

static uint64_t stack_key(const sm_machine *m, const sm_stack *s) {
    uint64_t h = sm_mix64(s->e);
    if (s->e != SM_EXPR_NONE)
        return sm_mix64(h ^ s->a);
    for (uint32_t i = 0; i < s->n; i++)
        h = sm_mix64(h ^ m->members[s->a + i]);
    return h;
}

static bool stack_equal(const sm_machine *m, const sm_stack *s, const sm_stack *t) {
    if (s->e != t->e || s->n != t->n)
        return false;
    return s->e != SM_EXPR_NONE
               ? s->a == t->a
               : !memcmp(m->members + s->a, m->members + t->a, s->n * sizeof *m->members);
}

static bool stacks_rehash(sm_machine *m) {
    uint32_t *old, mask;
    if (!sm_hash_reserve(m->g, &m->stack_hash, &old, &mask))
        return false;
    for (uint32_t i = 0; old && i <= mask; i++) {
        if (!old[i])
            continue;
        uint32_t at = (uint32_t)stack_key(m, &m->stacks[old[i] - 1]) & m->stack_hash.mask;
        while (m->stack_hash.slots[at])
            at = (at + 1) & m->stack_hash.mask;
        m->stack_hash.slots[at] = old[i];
    }
    sm_free(m->g->mem, old);
    return true;
}

static uint32_t stack_find(sm_machine *m, const sm_stack *s) {
    if (!stacks_rehash(m))
        return SM_PLACE_NONE;
    uint32_t at = (uint32_t)stack_key(m, s) & m->stack_hash.mask;
    for (; m->stack_hash.slots[at]; at = (at + 1) & m->stack_hash.mask) {
        const uint32_t i = m->stack_hash.slots[at] - 1;
        if (!stack_equal(m, &m->stacks[i], s))
            continue;
        if (s->e == SM_EXPR_NONE)
            m->n_members = s->a; /* the list is the newest one */
        return i;
    }
    if (m->n_stacks >= SM_MACHINE_MAX_STATES) {
        sm_grammar_fail(m->g, SM_ERR_UNSUPPORTED, "too many stacks of rules");
        return SM_PLACE_NONE;
    }
    if (!sm_grammar_reserve(m->g, &m->stacks, &m->stacks_room, m->n_stacks + 1, sizeof *m->stacks))
        return SM_PLACE_NONE;
    m->stacks[m->n_stacks] = *s;
    m->stack_hash.slots[at] = (uint32_t)++m->n_stacks;
    m->stack_hash.used++;
    return (uint32_t)m->n_stacks - 1;
}

/* ---- joining (stacks.c) --------------------------------------------------------------------- */

bool sm_stack_pile(sm_machine *m, uint32_t stack) {
    if (!sm_grammar_work(m->g, 8) ||
        !sm_grammar_reserve(m->g, &m->pile, &m->pile_room, m->n_pile + 1, sizeof *m->pile))
        return false;
    m->pile[m->n_pile++] = stack;
    return true;
}

/* The place of a pair among the joins that are kept: its own, or a free one. */
static uint32_t join_slot(const sm_machine *m, uint32_t a, uint32_t b) {
    uint32_t at = (uint32_t)sm_mix64((uint64_t)a << 32 | b) & m->joins_mask;
    while (m->joins[at].a && (m->joins[at].a != a || m->joins[at].b != b))
        at = (at + 1) & m->joins_mask;
    return at;
}

/* Twice as many, or when they are very many none. */
static bool grow_joins(sm_machine *m) {
    const sm_join *old = m->joins;
    const uint32_t n = old ? m->joins_mask + 1 : 0, size = n ? 2 * n : 256;
    const bool forget = size > JOINS_KEPT;
    if (forget) {
        memset(m->joins, 0, n * sizeof *m->joins);
        m->n_joins = 0;
        return true;
    }
    m->joins = sm_alloc_zero(m->g->mem, size * sizeof *m->joins);
    if (!m->joins) {
        m->joins = (sm_join *)old;
        sm_grammar_nomem(m->g);
        return false;
    }
    m->joins_mask = size - 1;
    for (uint32_t i = 0; i < n; i++)
        if (old[i].a)
            m->joins[join_slot(m, old[i].a, old[i].b)] = old[i];
    sm_free(m->g->mem, (void *)old);
    return true;
}

static bool keep_join(sm_machine *m, uint32_t a, uint32_t b, uint32_t one) {
    if (m->n_joins >= m->joins_mask / 2 && !grow_joins(m))
        return false;
    const uint32_t at = join_slot(m, a, b);
    m->n_joins += !m->joins[at].a;
    m->joins[at] = (sm_join){a, b, one};
    return true;
}

/* Members of a stack, which may be a single one, onto the pile. */
static bool pile_members(sm_machine *m, uint32_t stack) {
    const sm_stack s = m->stacks[stack];
    if (s.e != SM_EXPR_NONE || stack == 0)
        return sm_stack_pile(m, stack);
    for (uint32_t i = 0; i < s.n; i++)
        if (!sm_stack_pile(m, m->members[s.a + i]))
            return false;
    return true;
}

/* By what is on top, the bottom first. */
static bool lower(const sm_machine *m, uint32_t a, uint32_t b) {
    const sm_expr x = a ? m->stacks[a].e : 0, y = b ? m->stacks[b].e : 0;
    return x < y || (x == y && a < b);
}

/* Sorts the pile from `from` on, of which two parts are sorted; each once. */
static void order(sm_machine *m, uint64_t from) {
    uint32_t *pile = m->pile;
    for (uint64_t gap = (m->n_pile - from) / 2; gap > 0; gap /= 2)
        for (uint64_t i = from + gap; i < m->n_pile; i++)
            for (uint64_t j = i; j >= from + gap && lower(m, pile[j], pile[j - gap]); j -= gap) {
                const uint32_t swap = pile[j];
                pile[j] = pile[j - gap];
                pile[j - gap] = swap;
            }
    uint64_t kept = from;
    for (uint64_t i = from; i < m->n_pile; i++)
        if (kept == from || pile[kept - 1] != pile[i])
            pile[kept++] = pile[i];
    m->n_pile = kept;
}

/* The union of what is on the pile from `from` on, which is taken off. */
static uint32_t take_union(sm_machine *m, uint64_t from) {
    const uint64_t n = m->n_pile - from;
    m->n_pile = from;
    if (n == 1)
        return m->pile[from];
    if (!sm_grammar_reserve(m->g, &m->members, &m->members_room, m->n_members + n,
                            sizeof *m->members))
        return SM_PLACE_NONE;
    const uint32_t at = (uint32_t)m->n_members;
    memcpy(m->members + at, m->pile + from, n * sizeof *m->members);
    m->n_members += n;
    return stack_find(m, &(sm_stack){.e = SM_EXPR_NONE, .a = at, .n = (uint32_t)n});
}

static uint32_t join(sm_machine *m, uint32_t a, uint32_t b, uint32_t nested);

/* Neighbours on the pile that have the same on top become one, on what they have below. */
static bool join_tops(sm_machine *m, uint64_t from, uint32_t nested) {
    uint64_t kept = from;
    for (uint64_t i = from; i < m->n_pile; i++) {
        const uint32_t top = m->pile[i];
        const uint32_t before = kept > from ? m->pile[kept - 1] : 0;
        if (!top || !before || m->stacks[top].e != m->stacks[before].e) {
            m->pile[kept++] = top;
            continue;
        }
        const sm_expr e = m->stacks[top].e;
        const uint32_t below = join(m, m->stacks[before].a, m->stacks[top].a, nested + 1);
        const uint32_t one =
            below == SM_PLACE_NONE ? below : stack_find(m, &(sm_stack){.e = e, .a = below});
        if (one == SM_PLACE_NONE)
            return false;
        m->pile[kept - 1] = one;
    }
    m->n_pile = kept;
    return true;
}

static uint32_t make_join(sm_machine *m, uint32_t a, uint32_t b, uint32_t nested) {
    const uint64_t from = m->n_pile;
    if (!pile_members(m, a) || !pile_members(m, b))
        return SM_PLACE_NONE;
    order(m, from);
    if (nested < MAX_JOINED && !join_tops(m, from, nested))
        return SM_PLACE_NONE;
    return take_union(m, from);
}

static uint32_t join(sm_machine *m, uint32_t a, uint32_t b, uint32_t nested) {
    if (a == b)
        return a;
    const uint32_t low = a < b ? a : b, high = a < b ? b : a;
    if (m->joins) {
        const sm_join *kept = &m->joins[join_slot(m, low + 1, high)];
        if (kept->a)
            return kept->one;
    }
    const uint32_t one = make_join(m, low, high, nested);
    return one == SM_PLACE_NONE || !keep_join(m, low + 1, high, one) ? SM_PLACE_NONE : one;
}

/* In the order of their numbers, so that what was joined after the byte before is joined first: it
 * is kept. */
uint32_t sm_stack_join(sm_machine *m, uint64_t from) {
    const uint64_t n = m->n_pile;
    for (uint64_t i = from; i < n; i++)
        if (!pile_members(m, m->pile[i]))
            return SM_PLACE_NONE;
    memmove(m->pile + from, m->pile + n, (m->n_pile - n) * sizeof *m->pile);
    m->n_pile -= n - from;
    order(m, from);
    return join_tops(m, from, 0) ? take_union(m, from) : SM_PLACE_NONE;
}

/* ---- pushing (stacks.c) --------------------------------------------------------------------- */

/* Whether e followed by e is e. */
static bool is_star(const sm_machine *m, sm_expr e) {
    const sm_node *n = &m->g->nodes[e];
    return n->kind == SM_NODE_REPEAT && n->min == 0 && n->max == SM_FOREVER;
}

/* The same, of a union in which e is on top of one: that is not put there twice. */
static uint32_t push_star(sm_machine *m, sm_expr e, uint32_t stack) {
    const sm_stack s = m->stacks[stack];
    const uint64_t from = m->n_pile;
    uint32_t below = SM_PLACE_NONE;
    for (uint32_t i = 0; i < s.n; i++) {
        const uint32_t member = m->members[s.a + i];
        if (member && m->stacks[member].e == e && below == SM_PLACE_NONE)
            below = m->stacks[member].a;
        else if (!sm_stack_pile(m, member))
            return SM_PLACE_NONE;
    }
    const uint32_t others = below == SM_PLACE_NONE ? stack : take_union(m, from);
    m->n_pile = from;
    const uint32_t all =
        below == SM_PLACE_NONE || others == SM_PLACE_NONE ? others : join(m, below, others, 0);
    return all == SM_PLACE_NONE ? all : stack_find(m, &(sm_stack){.e = e, .a = all});
}

uint32_t sm_stack_push(sm_machine *m, sm_expr e, uint32_t stack) {
    if (e == SM_EMPTY || e == SM_EXPR_NONE || stack == SM_PLACE_NONE)
        return e == SM_EMPTY ? stack : SM_PLACE_NONE;
    const sm_stack s = m->stacks[stack];
    if (stack && is_star(m, e) && s.e == e)
        return stack;
    if (stack && is_star(m, e) && s.e == SM_EXPR_NONE)
        return push_star(m, e, stack);
    return stack_find(m, &(sm_stack){.e = e, .a = stack});
}
