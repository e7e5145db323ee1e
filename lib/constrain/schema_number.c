/* schema_number.c - a formula over numbers becomes an automaton that reads their spelling.
 *
 * Two spellings are read, each by an automaton of its own: plain (-12.50) and scientific with one
 * digit before the point (-1.25e+01). A literal is a small machine that follows the digits; the
 * automaton's states are what all machines of a formula are in, and its ends are where the formula
 * is true. It is made smallest, which also tells whether there is any number; then it is written as
 * an expression.
 */
#include "schema.h"

/* Symbols: the digits, then these. */
enum { MINUS = 10, POINT, EXPONENT, PLUS, N_SYMBOLS };
#define DEAD UINT32_MAX

/* ---- spelling (schema_number.c)
 * ------------------------------------------------------------------ */

enum { START, SIGN, ZERO, INTEGER, AFTER_POINT, FRACTION, AFTER_E, E_SIGN, E_DIGITS };

/* Where the spelling is, packed: phase, and what was seen. */
#define PHASE 15u
#define NEGATIVE 16u
#define NONZERO 32u    /* a digit other than 0 */
#define BROKEN 64u     /* one behind the point */
#define TRAILING 128u  /* the last digit behind the point is 0 */
#define SMALL 256u     /* exponent below zero */
#define E_NONZERO 512u /* the exponent is not zero */

static uint32_t digit_step(uint32_t at, uint32_t digit) {
    const uint32_t phase = at & PHASE, flags = at & ~(PHASE | TRAILING);
    const uint32_t nonzero = digit ? NONZERO : 0;
    switch (phase) {
    case START:
    case SIGN:
        return flags | nonzero | (digit ? INTEGER : ZERO);
    case INTEGER:
        return flags | INTEGER;
    case AFTER_POINT:
    case FRACTION:
        return flags | nonzero | FRACTION | (digit ? BROKEN : TRAILING);
    case AFTER_E:
    case E_SIGN:
    case E_DIGITS:
        return flags | (at & TRAILING) | E_DIGITS | (digit ? E_NONZERO : 0);
    default:
        return DEAD;
    }
}

static uint32_t spelling_step(uint32_t at, uint32_t symbol, bool scientific) {
    const uint32_t phase = at & PHASE, flags = at & ~PHASE;
    if (symbol < 10) /* scientific: one digit before the point, not 0 */
        return scientific && (phase == INTEGER || (phase <= SIGN && !symbol))
                   ? DEAD
                   : digit_step(at, symbol);
    if (symbol == MINUS && phase == START)
        return flags | NEGATIVE | SIGN;
    if (symbol == POINT && (phase == ZERO || phase == INTEGER))
        return flags | AFTER_POINT;
    if (!scientific)
        return DEAD;
    if (symbol == EXPONENT && (phase == INTEGER || phase == FRACTION))
        return flags | AFTER_E;
    if ((symbol == MINUS || symbol == PLUS) && phase == AFTER_E)
        return flags | E_SIGN | (symbol == MINUS ? SMALL : 0);
    return DEAD;
}

/* There is one zero, without a sign. */
static bool spelling_ends(uint32_t at, bool scientific) {
    const uint32_t phase = at & PHASE;
    if ((at & NEGATIVE) && !(at & NONZERO))
        return false;
    return scientific ? phase == E_DIGITS : phase == ZERO || phase == INTEGER || phase == FRACTION;
}

/* ---- comparing with a number (schema_number.c)
 * --------------------------------------------------------- */

/* What is known of |x| against |bound|: digits compared so far, how many. */
typedef struct follower {
    uint32_t kind;
    const char *digits; /* of the bound, without point */
    uint32_t n;         /* of them */
    int64_t top;        /* how many stand before the point; below zero: zeros behind it */
    bool minus;
    uint64_t factor; /* N_TIMES: x * 10^places must be a multiple of it */
    uint32_t places;
} follower;

/* A state: order in the lowest two bits (0 less, 1 equal, 2 more), places above. */
#define ORDER(state) ((int)((state)&3) - 1)
#define WITH_ORDER(count, order) ((uint64_t)(count) << 2 | (uint64_t)((order) + 1))

static int bound_digit(const follower *f, int64_t i) {
    return i >= 0 && i < f->n ? f->digits[i] - '0' : 0;
}

static int sign_of(int64_t x) {
    return x < 0 ? -1 : x > 0;
}

/* Plain: digits before the point are counted against those of the bound, of which there is at least
 * one (0); behind the point places are compared one by one. */
static uint64_t plain_digit(const follower *f, uint32_t phase, uint64_t state, uint32_t digit) {
    const int64_t before = f->top > 0 ? f->top : 1, count = (int64_t)(state >> 2);
    int order = ORDER(state);
    if (phase <= INTEGER) {
        const int64_t place = f->top > 0 ? count : count - 1 + f->top;
        if (count < before && !order)
            order = sign_of((int64_t)digit - (f->top > 0 ? bound_digit(f, place) : 0));
        const int64_t next = count < before ? count + 1 : before + 1;
        return next > before ? WITH_ORDER(next, 0) : WITH_ORDER(next, order);
    }
    if (order)
        return state;
    const int64_t place = f->top + count; /* count: places behind the point */
    const int64_t last = (int64_t)f->n - f->top;
    return WITH_ORDER(count < last ? count + 1 : count,
                      sign_of((int64_t)digit - bound_digit(f, place)));
}

/* The point is reached, or the end of a number without. */
static int whole_order(const follower *f, uint64_t state) {
    const int64_t before = f->top > 0 ? f->top : 1, count = (int64_t)(state >> 2);
    return count < before ? -1 : count > before ? 1 : ORDER(state);
}

static int plain_order(const follower *f, uint32_t phase, uint64_t state) {
    const int64_t last = (int64_t)f->n - f->top; /* places of the bound behind the point */
    int order = phase <= INTEGER ? whole_order(f, state) : ORDER(state);
    const int64_t count = phase <= INTEGER ? 0 : (int64_t)(state >> 2);
    /* digits of the bound that are left are not all zero */
    return order || count >= last || !f->n ? order : -1;
}

/* Scientific: the digits in the low half (order, count), the exponent in the high one. */
static uint64_t scientific_digit(const follower *f, uint32_t phase, uint64_t state,
                                 uint32_t digit) {
    uint64_t low = state & UINT32_MAX, high = state >> 32;
    if (phase < AFTER_E) {
        const int64_t count = (int64_t)(low >> 2);
        int order = ORDER(low);
        if (!order)
            order = sign_of((int64_t)digit - bound_digit(f, count));
        low = WITH_ORDER(order ? 0 : count < f->n ? count + 1 : count, order);
    } else {
        const int64_t e = f->top - 1; /* beyond the bound's it does not matter how far */
        high = min_u64((high >> 1) * 10 + digit, (uint64_t)(e < 0 ? -e : e) + 1) << 1;
    }
    return high << 32 | low;
}

static int scientific_order(const follower *f, uint32_t at, uint64_t state) {
    const uint64_t low = state & UINT32_MAX;
    int64_t e = (int64_t)(state >> 33);
    if (!f->n)
        return 1;
    if (at & SMALL)
        e = -e;
    const int64_t difference = e - (f->top - 1);
    const int order = ORDER(low);
    return difference ? sign_of(difference) : order ? order : (int64_t)(low >> 2) < f->n ? -1 : 0;
}

/* ---- multiples (schema_number.c)
 * -------------------------------------------------------------------------- */

#define NOT_MULTIPLE UINT64_MAX

static uint64_t times_digit(const follower *f, uint32_t phase, uint64_t state, uint32_t digit) {
    if (state == NOT_MULTIPLE)
        return state;
    const uint64_t places = state >> 56, rest = state & ((1ull << 56) - 1);
    if (phase > INTEGER && places == f->places)
        return digit ? NOT_MULTIPLE : state;
    const uint64_t next = (rest * 10 + digit) % f->factor;
    return (places + (phase > INTEGER)) << 56 | next;
}

static bool is_multiple(const follower *f, uint64_t state) {
    if (state == NOT_MULTIPLE)
        return false;
    uint64_t rest = state & ((1ull << 56) - 1);
    for (uint64_t p = state >> 56; p < f->places; p++)
        rest = rest * 10 % f->factor;
    return rest == 0;
}

/* ---- machines (schema_number.c)
 * ----------------------------------------------------------------------------- */

static uint64_t begin(const follower *f) {
    if (f->kind == N_TIMES || f->kind == N_NOT_TIMES)
        return 0;
    return WITH_ORDER(0, 0);
}

static uint64_t advance(const follower *f, uint32_t at, uint64_t state, uint32_t symbol,
                        bool scientific) {
    const uint32_t phase = at & PHASE;
    if (f->kind == N_WHOLE || f->kind == N_BROKEN)
        return 0;
    if (symbol < 10)
        return f->kind >= N_TIMES ? times_digit(f, phase, state, symbol)
               : scientific       ? scientific_digit(f, phase, state, symbol)
                                  : plain_digit(f, phase, state, symbol);
    if (symbol == POINT && !scientific && f->kind < N_TIMES)
        return WITH_ORDER(0, whole_order(f, state));
    return state;
}

static int order_at(const follower *f, uint32_t at, uint64_t state, bool scientific) {
    const int order =
        scientific ? scientific_order(f, at, state) : plain_order(f, at & PHASE, state);
    const bool minus = at & NEGATIVE;
    if (minus != f->minus)
        return minus ? -1 : !(at & NONZERO) && !f->n ? 0 : 1;
    return minus ? -order : order;
}

/* Whether a number that ends here satisfies the literal; false where it may or may not, as the
 * multiples of scientific spellings. */
static bool holds_at(const follower *f, uint32_t at, uint64_t state, bool scientific) {
    const uint32_t phase = at & PHASE;
    switch (f->kind) {
    case N_WHOLE: /* 1.0 is one, too, but is not written */
        return phase == ZERO || phase == INTEGER;
    case N_BROKEN:
        return scientific ? (at & SMALL) && (at & E_NONZERO) : (at & BROKEN) != 0;
    case N_TIMES:
        return !scientific && is_multiple(f, state);
    case N_NOT_TIMES:
        return !scientific && !is_multiple(f, state);
    default:
        break;
    }
    const int order = order_at(f, at, state, scientific);
    switch (f->kind) {
    case N_BELOW:
        return order < 0;
    case N_LEAST:
        return order >= 0;
    case N_ABOVE:
        return order > 0;
    case N_MOST:
        return order <= 0;
    case N_EQUAL: /* without zeros at its end */
        return !order && !(at & TRAILING);
    default:
        return order != 0;
    }
}

static bool power_of_ten(uint64_t *x, int32_t e) {
    for (; e > 0; e--)
        if (sm_mul_over(*x, 10, x))
            return false;
    return true;
}

static void set_factor(schema *s, follower *f, const decimal *d) {
    uint64_t factor = 0;
    bool fits = d->n <= 17;
    for (uint32_t i = 0; fits && i < d->n; i++)
        factor = factor * 10 + (uint64_t)(f->digits[i] - '0');
    f->places = d->exponent < 0 ? (uint32_t)-d->exponent : 0;
    fits = fits && power_of_ten(&factor, d->exponent) && factor < 1ull << 56 && f->places < 64;
    if (!fits)
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE,
                       "multipleOf a number of more than 16 digits");
    f->factor = fits ? factor : 1;
}

static void make_follower(schema *s, formula literal, follower *f) {
    const node *n = NODE(s, literal);
    *f = (follower){.kind = n->kind};
    if (n->kind == N_WHOLE || n->kind == N_BROKEN)
        return;
    const decimal *d = &AT(s, decimals, decimal, n->a);
    f->digits = (const char *)s->bytes.data + d->digits;
    f->n = d->n;
    f->top = d->n ? (int64_t)d->n + d->exponent : 1;
    f->minus = d->minus;
    if (n->kind >= N_TIMES)
        set_factor(s, f, d);
}

/* ---- the automaton (schema_number.c)
 * --------------------------------------------------------------------------- */

typedef struct automaton {
    schema *s;
    formula seen;
    bool scientific;
    follower *followers;
    list literals; /* formula */
    list states;   /* each: spelling, then one per follower, as uint64_t */
    list next;     /* N_SYMBOLS of each state */
    list ends;     /* uint8_t */
    uint32_t *slots, n_slots;
    uint32_t *class_of, n_classes; /* after merging; class 0: no number comes */
} automaton;

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

static bool state_holds(const automaton *a, const uint64_t *state, uint8_t *scratch) {
    if (!spelling_ends((uint32_t)state[0], a->scientific))
        return false;
    for (uint32_t i = 0; i < a->literals.n; i++)
        scratch[i] = holds_at(&a->followers[i], (uint32_t)state[0], state[i + 1], a->scientific);
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
        state[i + 1] = begin(&a->followers[i]);
    state_number(a, state);
    for (uint32_t at = 0; at < a->ends.n && sm_schema_goes_on(s); at++) {
        for (uint32_t symbol = 0; symbol < N_SYMBOLS && !s->status; symbol++) {
            const uint64_t *from = (uint64_t *)a->states.data + (uint64_t)at * w;
            const uint32_t spelling = spelling_step((uint32_t)from[0], symbol, a->scientific);
            uint32_t to = DEAD;
            if (spelling != DEAD) {
                for (uint32_t i = 0; i < a->literals.n; i++)
                    state[i + 1] = advance(&a->followers[i], (uint32_t)from[0], from[i + 1], symbol,
                                           a->scientific);
                state[0] = spelling;
                to = state_number(a, state);
            }
            sm_schema_push(s, &a->next, &to, sizeof to);
        }
        if (!s->status)
            ((uint8_t *)a->ends.data)[at] =
                state_holds(a, (uint64_t *)a->states.data + (uint64_t)at * w, scratch);
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

static void drop(automaton *a) {
    sm_mem *mem = a->s->mem;
    sm_free(mem, a->followers);
    sm_free(mem, a->literals.data);
    sm_free(mem, a->states.data);
    sm_free(mem, a->next.data);
    sm_free(mem, a->ends.data);
    sm_free(mem, a->slots);
    sm_free(mem, a->class_of);
}

static void prepare(automaton *a) {
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
        make_follower(s, AT(a, literals, formula, i), &a->followers[i]);
}

static automaton automaton_of(schema *s, formula seen, bool scientific) {
    automaton a = {.s = s, .seen = seen, .scientific = scientific};
    prepare(&a);
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

static bool comes_to_nothing(const automaton *a) {
    return a->s->status || !a->class_of[0];
}

/* ---- writing it (schema_number.c)
 * ----------------------------------------------------------------------------- */

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

static sm_expr write_automaton(const automaton *a) {
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

/* ---- numbers one by one (schema_number.c)
 * ------------------------------------------------------------------------ */

/* Numbers of which the formula's must be one, as formulas N_EQUAL; false: there is no such list. */
static bool candidates(schema *s, formula f, list *out) {
    const node n = *NODE(s, f);
    if (n.kind == N_EQUAL)
        return sm_schema_push(s, out, &n.a, sizeof n.a);
    if (n.kind != K_AND && n.kind != K_OR)
        return f == FALSUM;
    for (uint32_t i = 0; i < n.b && sm_schema_goes_on(s); i++) {
        const uint32_t before = out->n;
        const bool found = candidates(s, AT(s, lists, formula, n.a + i), out);
        if (found != (n.kind == K_OR)) {
            if (!found)
                out->n = before;
            return found;
        }
        if (!found)
            out->n = before;
    }
    return n.kind == K_OR;
}

static bool text_holds(automaton *a, const char *spelt, uint32_t n, uint64_t *state,
                       uint8_t *scratch) {
    static const char spelling[N_SYMBOLS + 1] = "0123456789-.e+";
    state[0] = START;
    for (uint32_t i = 0; i < a->literals.n; i++)
        state[i + 1] = begin(&a->followers[i]);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t symbol = (uint32_t)(strchr(spelling, spelt[i]) - spelling);
        for (uint32_t k = 0; k < a->literals.n; k++)
            state[k + 1] =
                advance(&a->followers[k], (uint32_t)state[0], state[k + 1], symbol, a->scientific);
        state[0] = spelling_step((uint32_t)state[0], symbol, a->scientific);
        if (state[0] == DEAD)
            return false;
    }
    return state_holds(a, state, scratch);
}

bool sm_number_has(schema *s, formula seen, uint32_t number) {
    if (seen <= VERUM || s->status)
        return seen == VERUM;
    automaton a = {.s = s, .seen = seen};
    prepare(&a);
    uint64_t *state = sm_alloc_array(s->mem, (uint64_t)a.literals.n + 1, sizeof *state);
    uint8_t *scratch = sm_alloc(s->mem, (uint64_t)a.literals.n + 1);
    char spelt[DECIMAL_TEXT];
    bool has = false;
    if (!state || !scratch)
        sm_schema_fail(s, SM_ERR_NOMEM, SM_JSON_NONE, "out of memory");
    else if (!s->status)
        has = text_holds(&a, spelt, sm_decimal_write(s, number, false, spelt), state, scratch);
    sm_free(s->mem, state);
    sm_free(s->mem, scratch);
    drop(&a);
    return has;
}

static bool is_early(const list *l, uint32_t i) {
    const uint32_t *items = l->data;
    for (uint32_t k = 0; k < i; k++)
        if (items[k] == items[i])
            return false;
    return true;
}

/* The candidates that satisfy it; 1: they are all, 0: there is no such list. */
static bool listed(schema *s, formula seen, list *out) {
    list all = {0};
    const bool finite = candidates(s, seen, &all) && all.n <= MAX_LISTED;
    for (uint32_t i = 0; i < all.n && finite && sm_schema_goes_on(s); i++) {
        const uint32_t d = ((uint32_t *)all.data)[i];
        if (is_early(&all, i) && sm_number_has(s, seen, d))
            sm_schema_push(s, out, &d, sizeof d);
    }
    sm_free(s->mem, all.data);
    return finite;
}

bool sm_number_dead(schema *s, formula seen) {
    if (seen <= VERUM)
        return seen == FALSUM;
    if (is_literal(NODE(s, seen)))
        return false;
    list l = {0};
    bool dead = listed(s, seen, &l) && !l.n;
    if (!dead && !l.n) {
        automaton plain = automaton_of(s, seen, false);
        dead = comes_to_nothing(&plain);
        drop(&plain);
        if (dead && !s->status) {
            automaton scientific = automaton_of(s, seen, true);
            dead = comes_to_nothing(&scientific);
            drop(&scientific);
        }
    }
    sm_free(s->mem, l.data);
    return dead && !s->status;
}

/* ---- what callers ask (schema_number.c)
 * --------------------------------------------------------------------------- */

static sm_expr write_decimal(schema *s, uint32_t d) {
    char spelt[DECIMAL_TEXT];
    const sm_expr plain = sm_expr_bytes(s->g, spelt, sm_decimal_write(s, d, false, spelt));
    if (!sm_decimal_is_scientific(s, d) || sm_decimal_whole(s, d))
        return plain;
    return sm_expr_alt2(s->g, plain,
                        sm_expr_bytes(s->g, spelt, sm_decimal_write(s, d, true, spelt)));
}

static sm_expr write_listed(schema *s, const list *l) {
    list parts = {0};
    for (uint32_t i = 0; i < l->n && sm_schema_goes_on(s); i++) {
        const sm_expr e = write_decimal(s, ((uint32_t *)l->data)[i]);
        sm_schema_push(s, &parts, &e, sizeof e);
    }
    const sm_expr e = sm_expr_alt(s->g, parts.data, parts.n);
    sm_free(s->mem, parts.data);
    return e;
}

sm_expr sm_number_write_one(schema *s, uint32_t d) {
    return write_decimal(s, d);
}

static const char any_number[] = "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?";
static const char any_integer[] = "0|-?[1-9][0-9]*";

sm_expr sm_number_write(schema *s, formula seen) {
    if (seen == FALSUM || s->status)
        return sm_expr_nothing(s->g);
    if (seen == VERUM)
        return sm_expr_regex(s->g, any_number, sizeof any_number - 1, 0, NULL);
    if (NODE(s, seen)->kind == N_WHOLE)
        return sm_expr_regex(s->g, any_integer, sizeof any_integer - 1, 0, NULL);
    list l = {0};
    if (listed(s, seen, &l)) {
        const sm_expr e = write_listed(s, &l);
        sm_free(s->mem, l.data);
        return e;
    }
    sm_free(s->mem, l.data);
    sm_expr e[2];
    for (uint32_t i = 0; i < 2; i++) {
        automaton a = automaton_of(s, seen, i == 1);
        e[i] = comes_to_nothing(&a) ? sm_expr_nothing(s->g) : write_automaton(&a);
        drop(&a);
    }
    return sm_expr_alt(s->g, e, 2);
}

/* ---- finite sets (schema_number.c)
 * --------------------------------------------------------------------------------- */

typedef struct lister {
    schema *s;
    uint32_t n;
    sm_listed_fn each;
    void *user;
} lister;

static int32_t take_text(void *user, const uint8_t *bytes, uint64_t n) {
    lister *l = user;
    const uint32_t d = sm_decimal_parse(l->s, (const char *)bytes, n, SM_JSON_NONE);
    return !l->each(l->s, l->user, d);
}

/* Few whole numbers between bounds: whatever has one spelling each. */
bool sm_number_list(schema *s, formula seen, uint32_t most, sm_listed_fn each, void *user) {
    list l = {0};
    bool finite = listed(s, seen, &l);
    for (uint32_t i = 0; i < l.n && finite; i++)
        finite = each(s, user, ((uint32_t *)l.data)[i]);
    const bool was_listed = finite || l.n;
    sm_free(s->mem, l.data);
    if (was_listed || s->status)
        return finite;
    const sm_expr e = sm_number_write(s, seen);
    lister to = {s, 0, each, user};
    return sm_expr_regular(s->g, e) && sm_expr_list_texts(s->g, e, most, take_text, &to);
}
