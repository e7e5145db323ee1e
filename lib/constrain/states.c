/* states.c - the states of a grammar as it is run over bytes. */
#include "machine.h"

#include <string.h>

static bool fail(sm_machine *m, const char *what) {
    sm_grammar_fail(m->g, SM_ERR_UNSUPPORTED, "%s", what);
    return false;
}

/* ---- entering expressions (states.c) --------------------------------------------------------- */

static bool work_put(sm_machine *m, sm_expr e, uint32_t stack) {
    if (e == SM_EXPR_NONE || stack == SM_PLACE_NONE || !sm_grammar_work(m->g, 8))
        return false;
    if (!sm_grammar_reserve(m->g, &m->work, &m->work_room, m->n_work + 1, sizeof *m->work))
        return false;
    m->work[m->n_work++] = (sm_thread){e, stack};
    return true;
}

static bool seen_grow(sm_machine *m) {
    const uint32_t size = m->seen_mask ? (m->seen_mask + 1) * 2 : 256;
    sm_thread *seen = sm_alloc_array(m->g->mem, size, sizeof *seen);
    uint32_t *stamp = sm_alloc_zero(m->g->mem, size * sizeof *stamp);
    if (!seen || !stamp) {
        sm_free(m->g->mem, seen);
        sm_free(m->g->mem, stamp);
        sm_grammar_nomem(m->g);
        return false;
    }
    for (uint32_t i = 0; m->seen_stamp && i <= m->seen_mask; i++) {
        if (m->seen_stamp[i] != m->stamp)
            continue;
        uint32_t at =
            (uint32_t)sm_mix64((uint64_t)m->seen[i].e << 32 | m->seen[i].stack) & (size - 1);
        while (stamp[at] == m->stamp)
            at = (at + 1) & (size - 1);
        seen[at] = m->seen[i];
        stamp[at] = m->stamp;
    }
    sm_free(m->g->mem, m->seen);
    sm_free(m->g->mem, m->seen_stamp);
    m->seen = seen;
    m->seen_stamp = stamp;
    m->seen_mask = size - 1;
    return true;
}

/* Whether it was entered before, after this byte. */
static bool was_seen(sm_machine *m, sm_thread t, bool *sound) {
    if (m->n_seen >= m->seen_mask / 2 && !(*sound = seen_grow(m)))
        return true;
    uint32_t at = (uint32_t)sm_mix64((uint64_t)t.e << 32 | t.stack) & m->seen_mask;
    for (; m->seen_stamp[at] == m->stamp; at = (at + 1) & m->seen_mask)
        if (m->seen[at].e == t.e && m->seen[at].stack == t.stack)
            return true;
    m->seen[at] = t;
    m->seen_stamp[at] = m->stamp;
    m->n_seen++;
    return false;
}

/* What follows when a thread's expression is over. */
static bool leave(sm_machine *m, uint32_t stack, bool *accepts) {
    if (stack == 0) {
        *accepts = true;
        return true;
    }
    const sm_stack s = m->stacks[stack];
    if (s.e != SM_EXPR_NONE)
        return work_put(m, s.e, s.a);
    for (uint32_t i = 0; i < s.n; i++) {
        const uint32_t member = m->members[s.a + i];
        if (member == 0)
            *accepts = true;
        else if (!work_put(m, m->stacks[member].e, m->stacks[member].a))
            return false;
    }
    return true;
}

static bool enter_regular(sm_machine *m, sm_thread t, bool *accepts) {
    if (!sm_expr_is_live(m->g, t.e))
        return true;
    if (t.e != SM_EMPTY) {
        if (!sm_grammar_reserve(m->g, &m->found, &m->found_room, m->n_found + 1, sizeof *m->found))
            return false;
        m->found[m->n_found++] = t;
    }
    return !sm_expr_has_empty(m->g, t.e) || leave(m, t.stack, accepts);
}

static bool enter(sm_machine *m, sm_thread t, bool *accepts) {
    const sm_node n = m->g->nodes[t.e];
    if (!(n.flags & SM_HAS_RULE))
        return enter_regular(m, t, accepts);
    switch (n.kind) {
    case SM_NODE_SEQ:
        return work_put(m, n.a, sm_stack_push(m, n.b, t.stack));
    case SM_NODE_ALT:
        for (uint32_t i = 0; i < n.b; i++)
            if (!work_put(m, m->g->list[n.a + i], t.stack))
                return false;
        return true;
    case SM_NODE_REPEAT: {
        const sm_expr rest = sm_expr_repeat(m->g, n.a, n.min ? n.min - 1 : 0,
                                            n.max == SM_FOREVER ? n.max : n.max - 1);
        if (rest == SM_EXPR_NONE || (n.min == 0 && !leave(m, t.stack, accepts)))
            return false;
        return work_put(m, n.a, sm_stack_push(m, rest, t.stack));
    }
    default:
        return work_put(m, m->g->rules[n.a].body, t.stack);
    }
}

/* Enters all that is to be; the threads are then in m->found. */
static bool enter_all(sm_machine *m, bool *accepts) {
    uint32_t entered = 0;
    m->stamp++;
    m->n_seen = 0;
    m->n_found = 0;
    while (m->n_work > 0) {
        const sm_thread t = m->work[--m->n_work];
        bool sound = true;
        if (was_seen(m, t, &sound)) {
            if (!sound)
                return false;
            continue;
        }
        if (++entered > SM_MACHINE_MAX_WORK)
            return fail(m, "too many ways at once to go on with a grammar");
        if (!enter(m, t, accepts))
            return false;
    }
    return !m->g->status;
}

/* ---- states (states.c) ----------------------------------------------------------------------- */

static bool before(sm_thread a, sm_thread b, bool by_stack) {
    return by_stack ? a.stack < b.stack || (a.stack == b.stack && a.e < b.e)
                    : a.e < b.e || (a.e == b.e && a.stack < b.stack);
}

static void sort_threads(sm_thread *x, uint64_t n, bool by_stack) {
    for (uint64_t gap = n / 2; gap > 0; gap /= 2)
        for (uint64_t i = gap; i < n; i++)
            for (uint64_t j = i; j >= gap && before(x[j], x[j - gap], by_stack); j -= gap) {
                const sm_thread swap = x[j];
                x[j] = x[j - gap];
                x[j - gap] = swap;
            }
}

/* One thread for each expression, on all its stacks, then one for each stack, of all on it. */
static bool tidy(sm_machine *m) {
    if (m->n_found < 2)
        return true;
    for (int by_stack = 0; by_stack < 2; by_stack++) {
        sort_threads(m->found, m->n_found, by_stack);
        uint64_t kept = 0;
        for (uint64_t i = 0, end; i < m->n_found; i = end) {
            sm_thread t = m->found[i];
            const uint64_t from = m->n_pile;
            for (end = i; end < m->n_found; end++) {
                const sm_thread o = m->found[end];
                if (by_stack ? o.stack != t.stack : o.e != t.e)
                    break;
                if (!sm_stack_pile(m, by_stack ? o.e : o.stack))
                    return false;
            }
            if (end > i + 1 && by_stack)
                t.e = sm_expr_alt(m->g, m->pile + from, m->n_pile - from);
            else if (end > i + 1)
                t.stack = sm_stack_join(m, from);
            m->n_pile = from;
            if (t.e == SM_EXPR_NONE || t.stack == SM_PLACE_NONE)
                return false;
            m->found[kept++] = t;
        }
        m->n_found = kept;
    }
    return true;
}

static uint64_t threads_key(const sm_thread *t, uint64_t n, bool accepts) {
    uint64_t h = accepts;
    for (uint64_t i = 0; i < n; i++)
        h = sm_mix64(h ^ ((uint64_t)t[i].e << 32 | t[i].stack));
    return sm_mix64(h);
}

static bool states_rehash(sm_machine *m) {
    uint32_t *old, mask;
    if (!sm_hash_reserve(m->g, &m->state_hash, &old, &mask))
        return false;
    for (uint32_t i = 0; old && i <= mask; i++) {
        if (!old[i])
            continue;
        const sm_state_entry *s = &m->states[old[i] - 1];
        uint32_t at = (uint32_t)threads_key(m->threads + s->threads, s->n_threads, s->accepts) &
                      m->state_hash.mask;
        while (m->state_hash.slots[at])
            at = (at + 1) & m->state_hash.mask;
        m->state_hash.slots[at] = old[i];
    }
    sm_free(m->g->mem, old);
    return true;
}

/* The state of the threads in m->found. */
static sm_place place_of(sm_machine *m, bool accepts) {
    const uint64_t n = m->n_found;
    if (!n && !accepts && m->n_states)
        return SM_PLACE_DEAD;
    if (!states_rehash(m))
        return SM_PLACE_NONE;
    uint32_t at = (uint32_t)threads_key(m->found, n, accepts) & m->state_hash.mask;
    for (; m->state_hash.slots[at]; at = (at + 1) & m->state_hash.mask) {
        const sm_state_entry *s = &m->states[m->state_hash.slots[at] - 1];
        if (s->n_threads == n && s->accepts == accepts &&
            (!n || !memcmp(m->threads + s->threads, m->found, n * sizeof *m->found)))
            return m->state_hash.slots[at] - 1;
    }
    if (m->n_states == SM_MACHINE_MAX_STATES) {
        fail(m, "too many states of a constraint");
        return SM_PLACE_NONE;
    }
    if (!sm_grammar_reserve(m->g, &m->states, &m->states_room, m->n_states + 1,
                            sizeof *m->states) ||
        !sm_grammar_reserve(m->g, &m->threads, &m->threads_room, m->n_threads + n,
                            sizeof *m->threads))
        return SM_PLACE_NONE;
    if (n)
        memcpy(m->threads + m->n_threads, m->found, n * sizeof *m->found);
    m->states[m->n_states] = (sm_state_entry){.threads = (uint32_t)m->n_threads,
                                              .n_threads = (uint32_t)n,
                                              .shape = SM_PLACE_NONE,
                                              .accepts = accepts};
    m->n_threads += n;
    m->state_hash.slots[at] = (uint32_t)++m->n_states;
    m->state_hash.used++;
    return (uint32_t)m->n_states - 1;
}

static sm_place settle(sm_machine *m) {
    bool accepts = false;
    if (!enter_all(m, &accepts) || !tidy(m))
        return SM_PLACE_NONE;
    return place_of(m, accepts);
}

/* Cells of bytes after which the same is left in two ways of parting them. */
static uint32_t refine(uint8_t cell[256], uint32_t n, const sm_shape *shape) {
    uint8_t number[256][2];
    uint32_t made = 0;
    uint8_t out[256];
    (void)n;
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t i = 0;
        while (i < made && (number[i][0] != cell[b] || number[i][1] != shape->cell[b]))
            i++;
        number[i][0] = cell[b];
        number[i][1] = shape->cell[b];
        made += i == made;
        out[b] = (uint8_t)i;
    }
    memcpy(cell, out, 256);
    return made;
}

/* Whether some thread goes on after that byte; -1: the grammar failed. */
static int goes_on(sm_machine *m, sm_place at, uint8_t byte) {
    const sm_state_entry s = m->states[at];
    for (uint32_t i = 0; i < s.n_threads; i++) {
        sm_step step;
        if (!sm_expr_step(m->g, m->threads[s.threads + i].e, &step))
            return -1;
        if (sm_step_target(m->g, step, byte) != SM_NOTHING)
            return 1;
    }
    return 0;
}

bool sm_machine_look(sm_machine *m, sm_place at) {
    const sm_state_entry s = m->states[at];
    if (s.shape != SM_PLACE_NONE)
        return true;
    uint8_t cell[256] = {0};
    uint32_t n = 1, shape = SM_EXPR_NONE;
    for (uint32_t i = 0; i < s.n_threads; i++) {
        sm_step step;
        if (!sm_expr_step(m->g, m->threads[s.threads + i].e, &step))
            return false;
        shape = step.shape;
        if (s.n_threads > 1)
            n = refine(cell, n, &m->g->shapes[step.shape]);
    }
    if (s.n_threads != 1)
        shape = sm_shape_find(m->g, cell, n);
    else
        n = m->g->shapes[shape].n;
    if (shape == SM_EXPR_NONE || !sm_grammar_reserve(m->g, &m->targets, &m->targets_room,
                                                     m->n_targets + n, sizeof *m->targets))
        return false;
    for (uint32_t c = 0; c < n; c++) {
        const sm_shape *made = &m->g->shapes[shape];
        const int alive = goes_on(m, at, made->bytes[made->start[c]]);
        if (alive < 0)
            return false;
        m->targets[m->n_targets + c] = alive ? SM_PLACE_NONE : SM_PLACE_DEAD;
    }
    m->states[at].targets = (uint32_t)m->n_targets;
    m->states[at].shape = shape;
    m->n_targets += n;
    return true;
}

sm_place sm_machine_next_slow(sm_machine *m, sm_place at, uint8_t byte) {
    if (m->g->status || !sm_machine_look(m, at))
        return SM_PLACE_NONE;
    const sm_state_entry s = m->states[at];
    const uint64_t slot = s.targets + m->g->shapes[s.shape].cell[byte];
    if (m->targets[slot] != SM_PLACE_NONE)
        return m->targets[slot];
    m->n_work = 0;
    for (uint32_t i = 0; i < s.n_threads; i++) {
        const sm_thread t = m->threads[s.threads + i];
        sm_step step;
        if (!sm_expr_step(m->g, t.e, &step))
            return SM_PLACE_NONE;
        const sm_expr left = sm_step_target(m->g, step, byte);
        if (left != SM_NOTHING && !work_put(m, left, t.stack))
            return SM_PLACE_NONE;
    }
    const sm_place next = settle(m);
    if (next != SM_PLACE_NONE)
        m->targets[slot] = next;
    return next;
}

bool sm_machine_init(sm_machine *m, sm_grammar *g) {
    *m = (sm_machine){.g = g};
    if (!sm_grammar_reserve(g, &m->stacks, &m->stacks_room, 1, sizeof *m->stacks))
        return false;
    m->stacks[m->n_stacks++] = (sm_stack){.e = SM_NOTHING};
    if (place_of(m, false) != SM_PLACE_DEAD || !work_put(m, g->root, 0))
        return false;
    m->start = settle(m);
    return m->start != SM_PLACE_NONE;
}

void sm_machine_done(sm_machine *m) {
    void *const blocks[] = {m->joins,
                            m->states,
                            m->state_hash.slots,
                            m->threads,
                            m->targets,
                            m->stacks,
                            m->stack_hash.slots,
                            m->members,
                            m->work,
                            m->found,
                            m->seen,
                            m->seen_stamp,
                            m->pile};
    for (size_t i = 0; m->g && i < sizeof blocks / sizeof *blocks; i++)
        sm_free(m->g->mem, blocks[i]);
}
