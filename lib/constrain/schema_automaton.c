/* schema_automaton.c - the automaton of a formula over numbers: its states are what the machines of
 * all literals are in; made smallest, and written as an expression. */
#include "schema_number.h"

/* ---- the automaton (schema_automaton.c) ------------------------------------------------------ */

static void find_literals(automaton *a, formula f) {
    schema *s = a->s;
    if (f <= VERUM || NODE(s, f)->mark == s->mark)
        return;
    NODE(s, f)->mark = s->mark;
    if (is_literal(NODE(s, f))) {
        sm_schema_push(s, &a->literals, &f, sizeof f);
        return;
    }
    if (++s->depth > MAX_NESTED)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, "nested too deeply in one place");
    for (uint32_t i = 0; i < NODE(s, f)->b && !s->status; i++)
        find_literals(a, AT(s, lists, formula, NODE(s, f)->a + i));
    s->depth--;
}

/* The formula's truth where each literal's is known; depth as in find_literals. */
static bool truth(const automaton *a, formula f, const uint8_t *holds) {
    const schema *s = a->s;
    const node *n = NODE(s, f);
    if (f <= VERUM)
        return f == VERUM;
    if (is_literal(n)) {
        const formula *literals = a->literals.data;
        uint32_t i = 0;
        while (literals[i] != f)
            i++;
        return holds[i];
    }
    for (uint32_t i = 0; i < n->b; i++)
        if (truth(a, AT(s, lists, formula, n->a + i), holds) == (n->kind == K_OR))
            return n->kind == K_OR;
    return n->kind == K_AND;
}

static uint32_t width(const automaton *a) {
    return a->literals.n + 1;
}

bool sm_automaton_holds(const automaton *a, const uint64_t *state, uint8_t *scratch) {
    if (!sm_spelling_ends((uint32_t)state[0], a->scientific))
        return false;
    for (uint32_t i = 0; i < a->literals.n; i++)
        scratch[i] =
            sm_digits_hold(&a->followers[i], (uint32_t)state[0], state[i + 1], a->scientific);
    return truth(a, a->seen, scratch);
}

static uint32_t *slot_of(automaton *a, const uint64_t *state) {
    const uint32_t w = width(a);
    uint64_t h = 0;
    for (uint32_t i = 0; i < w; i++)
        h = sm_mix64(h ^ state[i]);
    uint32_t at = (uint32_t)h & (a->n_slots - 1);
    while (a->slots[at] != DEAD && memcmp((uint64_t *)a->states.data + (uint64_t)a->slots[at] * w,
                                          state, w * sizeof *state) != 0)
        at = (at + 1) & (a->n_slots - 1);
    return &a->slots[at];
}

static uint32_t state_number(automaton *a, const uint64_t *state) {
    schema *s = a->s;
    uint32_t *slot = slot_of(a, state);
    if (*slot != DEAD)
        return *slot;
    if (a->ends.n >= MAX_STATES) {
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "numbers: bounds and multipleOf need more than 8192 states");
        return DEAD;
    }
    const uint32_t w = width(a), number = a->ends.n;
    if (!sm_schema_room(s, &a->states, w, sizeof *state))
        return DEAD;
    memcpy((uint64_t *)a->states.data + a->states.n, state, w * sizeof *state);
    a->states.n += w;
    const uint8_t ends = 0;
    sm_schema_push(s, &a->ends, &ends, 1);
    return *slot = number;
}

static void explore(automaton *a, uint64_t *state, uint8_t *scratch) {
    schema *s = a->s;
    const uint32_t w = width(a);
    state[0] = START;
    for (uint32_t i = 0; i < a->literals.n; i++)
        state[i + 1] = sm_digits_begin(&a->followers[i]);
    state_number(a, state);
    for (uint32_t at = 0; at < a->ends.n && sm_schema_goes_on(s); at++) {
        for (uint32_t symbol = 0; symbol < N_SYMBOLS && !s->status; symbol++) {
            const uint64_t *from = (uint64_t *)a->states.data + (uint64_t)at * w;
            const uint32_t spelling = sm_spelling_step((uint32_t)from[0], symbol, a->scientific);
            uint32_t to = DEAD;
            if (spelling != DEAD) {
                for (uint32_t i = 0; i < a->literals.n; i++)
                    state[i + 1] = sm_digits_advance(&a->followers[i], (uint32_t)from[0],
                                                     from[i + 1], symbol, a->scientific);
                state[0] = spelling;
                to = state_number(a, state);
            }
            sm_schema_push(s, &a->next, &to, sizeof to);
        }
        if (!s->status)
            ((uint8_t *)a->ends.data)[at] =
                sm_automaton_holds(a, (uint64_t *)a->states.data + (uint64_t)at * w, scratch);
    }
}

/* Merges what cannot be told apart (Moore), beginning with "from here no number comes". */
static void merge(automaton *a) {
    schema *s = a->s;
    const uint32_t n = a->ends.n, *next = a->next.data;
    const uint8_t *ends = a->ends.data;
    uint32_t *now = sm_alloc_array(s->mem, n, sizeof *now);
    uint32_t *then = sm_alloc_array(s->mem, n, sizeof *then);
    uint32_t *slots = sm_alloc_array(s->mem, 2 * MAX_STATES, sizeof *slots);
    if (!now || !then || !slots)
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
    /* which states lead to an end */
    bool changed = !s->status;
    for (uint32_t i = 0; i < n && !s->status; i++)
        now[i] = ends[i];
    while (changed) {
        changed = false;
        for (uint32_t i = n; i-- > 0;)
            for (uint32_t k = 0; k < N_SYMBOLS && !now[i]; k++) {
                const uint32_t to = next[i * N_SYMBOLS + k];
                if (to != DEAD && now[to])
                    now[i] = 1, changed = true;
            }
    }
    for (uint32_t i = 0; i < n && !s->status; i++)
        now[i] = !now[i] ? 0 : ends[i] ? 2 : 1;
    uint32_t classes = 0, before;
    do {
        before = classes;
        if (!sm_schema_goes_on(s))
            break;
        memset(slots, 0xff, 2 * MAX_STATES * sizeof *slots);
        classes = 1;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t h = now[i];
            for (uint32_t k = 0; k < N_SYMBOLS; k++) {
                const uint32_t to = next[i * N_SYMBOLS + k];
                h = sm_mix64(h ^ (to == DEAD ? 0 : now[to]));
            }
            then[i] = 0;
            if (!now[i])
                continue;
            uint32_t at = (uint32_t)h & (2 * MAX_STATES - 1);
            for (; slots[at] != DEAD; at = (at + 1) & (2 * MAX_STATES - 1)) {
                const uint32_t other = slots[at];
                bool same = now[other] == now[i];
                for (uint32_t k = 0; k < N_SYMBOLS && same; k++) {
                    const uint32_t x = next[i * N_SYMBOLS + k], y = next[other * N_SYMBOLS + k];
                    same = (x == DEAD ? 0 : now[x]) == (y == DEAD ? 0 : now[y]);
                }
                if (same)
                    break;
            }
            if (slots[at] == DEAD) {
                slots[at] = i;
                then[i] = classes++;
            } else {
                then[i] = then[slots[at]];
            }
        }
        uint32_t *const swap = now;
        now = then;
        then = swap;
    } while (classes != before);
    sm_free(s->mem, slots);
    sm_free(s->mem, then);
    a->class_of = now;
    a->n_classes = classes;
}

void sm_automaton_drop(automaton *a) {
    sm_mem *mem = a->s->mem;
    sm_free(mem, a->followers);
    sm_free(mem, a->literals.data);
    sm_free(mem, a->states.data);
    sm_free(mem, a->next.data);
    sm_free(mem, a->ends.data);
    sm_free(mem, a->slots);
    sm_free(mem, a->class_of);
}

void sm_automaton_prepare(automaton *a) {
    schema *s = a->s;
    s->mark++;
    find_literals(a, a->seen);
    const uint32_t n = a->literals.n;
    a->n_slots = 2 * MAX_STATES;
    a->followers = sm_alloc_array(s->mem, (uint64_t)n + 1, sizeof *a->followers);
    a->slots = sm_alloc_array(s->mem, a->n_slots, sizeof *a->slots);
    if (!a->followers || !a->slots) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
        return;
    }
    memset(a->slots, 0xff, a->n_slots * sizeof *a->slots);
    for (uint32_t i = 0; i < n && !s->status; i++)
        sm_digits_follow(s, AT(a, literals, formula, i), &a->followers[i]);
}

automaton sm_automaton_of(schema *s, formula seen, bool scientific) {
    automaton a = {.s = s, .seen = seen, .scientific = scientific};
    sm_automaton_prepare(&a);
    uint64_t *state = sm_alloc_array(s->mem, (uint64_t)a.literals.n + 1, sizeof *state);
    uint8_t *scratch = sm_alloc(s->mem, (uint64_t)a.literals.n + 1);
    if (!state || !scratch)
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
    if (!s->status)
        explore(&a, state, scratch);
    sm_free(s->mem, state);
    sm_free(s->mem, scratch);
    if (!s->status)
        merge(&a);
    return a;
}

bool sm_automaton_is_empty(const automaton *a) {
    return a->s->status || !a->class_of[0];
}

/* ---- writing it (schema_automaton.c) --------------------------------------------------------- */

/* The automaton by classes. */
typedef struct merged {
    schema *s;
    uint32_t n, *next; /* N_SYMBOLS of each class */
    uint8_t *ends;
    sm_expr *written;
    uint32_t *order, n_order; /* classes, what is led to before what leads there */
    uint8_t *color;
    bool circles; /* other than from a class to itself */
} merged;

static sm_expr symbols(schema *s, uint32_t set) {
    static const char spelling[N_SYMBOLS + 1] = "0123456789-.e+";
    uint64_t bytes[4] = {0};
    for (uint32_t k = 0; k < N_SYMBOLS; k++)
        if (set & 1u << k)
            bytes[spelling[k] / 64] |= 1ull << (spelling[k] % 64);
    if (set & 1u << EXPONENT)
        bytes['E' / 64] |= 1ull << ('E' % 64);
    return sm_expr_byte(s->g, bytes);
}

static uint32_t set_to(const merged *m, uint32_t from, uint32_t to) {
    uint32_t set = 0;
    for (uint32_t k = 0; k < N_SYMBOLS; k++)
        if (m->next[from * N_SYMBOLS + k] == to)
            set |= 1u << k;
    return set;
}

static void merge_into(merged *m, const automaton *a) {
    for (uint32_t i = 0; i < a->ends.n; i++) {
        const uint32_t c = a->class_of[i];
        m->ends[c] = ((uint8_t *)a->ends.data)[i] && c;
        for (uint32_t k = 0; k < N_SYMBOLS; k++) {
            const uint32_t to = ((uint32_t *)a->next.data)[i * N_SYMBOLS + k];
            m->next[c * N_SYMBOLS + k] = to == DEAD ? 0 : a->class_of[to];
        }
    }
}

/* Depth first, without recursion: the stack is a path of classes, each with its next symbol. */
static void put_in_order(merged *m, uint32_t first, uint32_t *stack, uint8_t *symbol) {
    uint32_t depth = 0;
    stack[0] = first;
    symbol[0] = 0;
    m->color[first] = 1;
    for (;;) {
        const uint32_t c = stack[depth];
        if (symbol[depth] < N_SYMBOLS) {
            const uint32_t to = m->next[c * N_SYMBOLS + symbol[depth]++];
            if (!to || to == c)
                continue;
            m->circles |= m->color[to] == 1;
            if (!m->color[to]) {
                m->color[to] = 1;
                stack[++depth] = to;
                symbol[depth] = 0;
            }
            continue;
        }
        m->color[c] = 2;
        m->order[m->n_order++] = c;
        if (!depth--)
            return;
    }
}

/* What follows from class c on; with circles classes are rules. */
static sm_expr write_class(merged *m, uint32_t c) {
    schema *s = m->s;
    list parts = {0};
    for (uint32_t k = 0; k < N_SYMBOLS; k++) {
        const uint32_t to = m->next[c * N_SYMBOLS + k], set = to ? set_to(m, c, to) : 0;
        if (!to || (to == c && !m->circles) || (set & ((1u << k) - 1)))
            continue;
        const sm_expr e = sm_expr_seq2(s->g, symbols(s, set), m->written[to]);
        sm_schema_push(s, &parts, &e, sizeof e);
    }
    const sm_expr empty = sm_expr_empty(s->g);
    if (m->ends[c])
        sm_schema_push(s, &parts, &empty, sizeof empty);
    sm_expr e = sm_expr_alt(s->g, parts.data, parts.n);
    const uint32_t self = set_to(m, c, c);
    if (self && !m->circles)
        e = sm_expr_seq2(s->g, sm_expr_repeat(s->g, symbols(s, self), 0, SM_FOREVER), e);
    sm_free(s->mem, parts.data);
    return e;
}

static sm_expr write_merged(merged *m, uint32_t first) {
    schema *s = m->s;
    if (!m->circles) {
        for (uint32_t i = 0; i < m->n_order; i++)
            m->written[m->order[i]] = write_class(m, m->order[i]);
        return m->written[first];
    }
    sm_rule base = 0;
    for (uint32_t i = 0; i < m->n_order; i++) {
        const sm_rule r = sm_rule_new(s->g, "number", 6);
        base = i ? base : r;
        m->written[m->order[i]] = sm_expr_rule(s->g, r);
    }
    for (uint32_t i = 0; i < m->n_order; i++)
        sm_rule_define(s->g, base + i, write_class(m, m->order[i]));
    return m->written[first];
}

sm_expr sm_automaton_write(const automaton *a) {
    schema *s = a->s;
    const uint64_t n = a->n_classes;
    merged m = {.s = s, .n = (uint32_t)n};
    m.next = sm_alloc_zero(s->mem, n * N_SYMBOLS * sizeof *m.next);
    m.ends = sm_alloc_zero(s->mem, n);
    m.color = sm_alloc_zero(s->mem, n);
    m.written = sm_alloc_array(s->mem, n, sizeof *m.written);
    m.order = sm_alloc_array(s->mem, n, sizeof *m.order);
    uint32_t *stack = sm_alloc_array(s->mem, n, sizeof *stack);
    uint8_t *symbol = sm_alloc(s->mem, n);
    sm_expr e = SM_EXPR_NONE;
    if (!m.next || !m.ends || !m.color || !m.written || !m.order || !stack || !symbol) {
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
    } else {
        merge_into(&m, a);
        put_in_order(&m, a->class_of[0], stack, symbol);
        e = write_merged(&m, a->class_of[0]);
    }
    sm_free(s->mem, m.next);
    sm_free(s->mem, m.ends);
    sm_free(s->mem, m.color);
    sm_free(s->mem, m.written);
    sm_free(s->mem, m.order);
    sm_free(s->mem, stack);
    sm_free(s->mem, symbol);
    return e;
}
