/* schema_number.c - a formula over numbers becomes an automaton that reads their spelling.
 *
 * Two spellings are read, each by an automaton of its own: plain (-12.50) and scientific with one
 * digit before the point (-1.25e+01). A literal is a small machine that follows the digits; the
 * automaton's states are what all machines of a formula are in, and its ends are where the formula
 * is true. It is made smallest, which also tells whether there is any number; then it is written as
 * an expression.
 */
#include "schema_number.h"

/* ---- numbers one by one (schema_number.c) ---------------------------------------------------- */

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
        state[i + 1] = sm_digits_begin(&a->followers[i]);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t symbol = (uint32_t)(strchr(spelling, spelt[i]) - spelling);
        for (uint32_t k = 0; k < a->literals.n; k++)
            state[k + 1] = sm_digits_advance(&a->followers[k], (uint32_t)state[0], state[k + 1],
                                             symbol, a->scientific);
        state[0] = sm_spelling_step((uint32_t)state[0], symbol, a->scientific);
        if (state[0] == DEAD)
            return false;
    }
    return sm_automaton_holds(a, state, scratch);
}

bool sm_number_has(schema *s, formula seen, uint32_t number) {
    if (seen <= VERUM || s->status)
        return seen == VERUM;
    automaton a = {.s = s, .seen = seen};
    sm_automaton_prepare(&a);
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
    sm_automaton_drop(&a);
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
        automaton plain = sm_automaton_of(s, seen, false);
        dead = sm_automaton_is_empty(&plain);
        sm_automaton_drop(&plain);
        if (dead && !s->status) {
            automaton scientific = sm_automaton_of(s, seen, true);
            dead = sm_automaton_is_empty(&scientific);
            sm_automaton_drop(&scientific);
        }
    }
    sm_free(s->mem, l.data);
    return dead && !s->status;
}

/* ---- what callers ask (schema_number.c) ------------------------------------------------------ */

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
        automaton a = sm_automaton_of(s, seen, i == 1);
        e[i] = sm_automaton_is_empty(&a) ? sm_expr_nothing(s->g) : sm_automaton_write(&a);
        sm_automaton_drop(&a);
    }
    return sm_expr_alt(s->g, e, 2);
}

/* ---- finite sets (schema_number.c) ----------------------------------------------------------- */

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
