/* The fewest digits that tell a double from its neighbours, the nearest ones among these: Steele
 * and White's algorithm as Burger and Dybvig give it (PLDI 1996), in natural numbers. */
#include "json_write.h"

#define MAX_LIMBS 40 /* 2^1130 and room */

typedef struct natural {
    uint32_t limb[MAX_LIMBS];
    uint32_t n;
} natural;

static void multiply(natural *a, uint32_t by) {
    uint64_t carry = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        carry += (uint64_t)a->limb[i] * by;
        a->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && a->n < MAX_LIMBS)
        a->limb[a->n++] = (uint32_t)carry;
}

static natural shifted(uint64_t value, uint32_t bits) {
    natural a = {.limb = {(uint32_t)value, (uint32_t)(value >> 32)}, .n = value >> 32 ? 2 : 1};
    for (; bits >= 31; bits -= 31)
        multiply(&a, 1u << 31);
    multiply(&a, 1u << bits);
    return a;
}

static void multiply_ten(natural *a, uint32_t exponent) {
    for (; exponent >= 9; exponent -= 9)
        multiply(a, 1000000000u);
    for (; exponent; exponent--)
        multiply(a, 10);
}

static uint32_t limb_at(const natural *a, uint32_t i) {
    return i < a->n ? a->limb[i] : 0;
}

/* The sign of a + b - c. */
static int compare_sum(const natural *a, const natural *b, const natural *c) {
    natural sum = {.n = MAX_LIMBS};
    uint64_t carry = 0;
    for (uint32_t i = 0; i < MAX_LIMBS; i++) {
        carry += (uint64_t)limb_at(a, i) + limb_at(b, i);
        sum.limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    for (uint32_t i = MAX_LIMBS; i-- > 0;)
        if (sum.limb[i] != limb_at(c, i))
            return sum.limb[i] < limb_at(c, i) ? -1 : 1;
    return 0;
}

/* a -= b, which is no larger. */
static void subtract(natural *a, const natural *b) {
    int64_t borrow = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        borrow += (int64_t)a->limb[i] - limb_at(b, i);
        a->limb[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
}

/* The value is rest / scale, what is nearer to it than to its neighbours lies between
 * (rest - below) / scale and (rest + above) / scale. */
typedef struct range {
    natural rest, scale, below, above;
    bool closed; /* the ends belong to it: ties go to even mantissas */
} range;

static range range_of(uint64_t bits, int32_t *point) {
    const uint32_t field = (uint32_t)(bits >> 52);
    const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    const uint64_t mantissa = field ? fraction | (uint64_t)1 << 52 : fraction;
    const int32_t exponent = (int32_t)(field ? field : 1) - 1075;
    const uint32_t up = exponent > 0 ? (uint32_t)exponent : 0;
    const uint32_t down = exponent < 0 ? (uint32_t)-exponent : 0;
    const uint32_t uneven = !fraction && field > 1; /* the neighbour below is at half the step */
    range r = {.rest = shifted(mantissa, up + 1 + uneven),
               .scale = shifted(1, down + 1 + uneven),
               .below = shifted(1, up),
               .above = shifted(1, up + uneven),
               .closed = !(mantissa & 1)};
    const int64_t log2 = exponent + 63 - __builtin_clzll(mantissa);
    *point = (int32_t) - ((-log2 * 1292913986) >> 32); /* by log10(2) * 2^32, up; or one more */
    if (*point > 0) {
        multiply_ten(&r.scale, (uint32_t)*point);
    } else {
        multiply_ten(&r.rest, (uint32_t) - *point);
        multiply_ten(&r.below, (uint32_t) - *point);
        multiply_ten(&r.above, (uint32_t) - *point);
    }
    return r;
}

static uint32_t next_digit(range *r) {
    static const natural none = {.n = 0};
    uint32_t digit = 0;
    for (; compare_sum(&r->rest, &none, &r->scale) >= 0; digit++)
        subtract(&r->rest, &r->scale);
    return digit;
}

static void times_ten(range *r) {
    multiply(&r->rest, 10);
    multiply(&r->below, 10);
    multiply(&r->above, 10);
}

uint32_t sm_double_digits(double value, char digits[SM_DOUBLE_DIGITS], int32_t *point) {
    static const natural none = {.n = 0};
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    range r = range_of(bits, point);
    if (compare_sum(&r.rest, &r.above, &r.scale) >= (r.closed ? 0 : 1))
        ++*point;
    else
        times_ten(&r);
    for (uint32_t n = 0;;) {
        const uint32_t digit = next_digit(&r);
        const bool low = compare_sum(&r.rest, &none, &r.below) < (r.closed ? 1 : 0);
        const bool high = compare_sum(&r.rest, &r.above, &r.scale) >= (r.closed ? 0 : 1);
        const int half = compare_sum(&r.rest, &r.rest, &r.scale);
        const bool up = high && (!low || half > 0 || (half == 0 && digit & 1));
        digits[n++] = (char)('0' + digit + up);
        if (low || high || n == SM_DOUBLE_DIGITS)
            return n;
        times_ten(&r);
    }
}
