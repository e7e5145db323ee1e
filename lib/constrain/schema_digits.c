/* schema_digits.c - how numbers are spelt, and small machines that follow their digits: for a
 * bound, a multiple, a whole number. */
#include "schema_number.h"

/* ---- spelling (schema_digits.c) -------------------------------------------------------------- */

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

uint32_t sm_spelling_step(uint32_t at, uint32_t symbol, bool scientific) {
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
bool sm_spelling_ends(uint32_t at, bool scientific) {
    const uint32_t phase = at & PHASE;
    if ((at & NEGATIVE) && !(at & NONZERO))
        return false;
    return scientific ? phase == E_DIGITS : phase == ZERO || phase == INTEGER || phase == FRACTION;
}

/* ---- comparing with a number (schema_digits.c) ----------------------------------------------- */

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

/* ---- multiples (schema_digits.c) ------------------------------------------------------------- */

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

/* ---- machines (schema_digits.c) -------------------------------------------------------------- */

uint64_t sm_digits_begin(const follower *f) {
    if (f->kind == N_TIMES || f->kind == N_NOT_TIMES)
        return 0;
    return WITH_ORDER(0, 0);
}

uint64_t sm_digits_advance(const follower *f, uint32_t at, uint64_t state, uint32_t symbol,
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
bool sm_digits_hold(const follower *f, uint32_t at, uint64_t state, bool scientific) {
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

void sm_digits_follow(schema *s, formula literal, follower *f) {
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
