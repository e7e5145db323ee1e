/* The double nearest to a decimal number, ties to even: a guess in floating point, then exact
 * comparisons with the middle between it and its neighbours, in integers. strtod would take the
 * host's locale for how a number is written. */
#include "json.h"

#include <string.h>

#define MAX_DIGITS 800  /* 767 tell any double from its neighbour; one more says "and a bit" */
#define MAX_LIMBS 192   /* 10^1150 or 10^800 * 2^1100, and room */
#define EXACT_POWERS 22 /* of ten, in a double */
#define MAX_EXPONENT 1000000000000 /* more than a text has digits */

typedef struct decimal {
    uint8_t digit[MAX_DIGITS + 1]; /* no zero in front */
    uint32_t n;
    int64_t exponent; /* value = digits * 10^exponent */
} decimal;

/* ---- natural numbers ----------------------------------------------------------------------- */

typedef struct natural {
    uint32_t limb[MAX_LIMBS];
    uint32_t n;
} natural;

/* a = a * by + plus */
static void multiply(natural *a, uint32_t by, uint32_t plus) {
    uint64_t carry = plus;
    for (uint32_t i = 0; i < a->n; i++) {
        carry += (uint64_t)a->limb[i] * by;
        a->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && a->n < MAX_LIMBS)
        a->limb[a->n++] = (uint32_t)carry;
}

static void multiply_power(natural *a, uint32_t base, uint32_t step, int64_t exponent) {
    uint32_t power = 1;
    for (uint32_t i = 0; i < step; i++)
        power *= base;
    for (; exponent >= step; exponent -= step)
        multiply(a, power, 0);
    for (; exponent > 0; exponent--)
        multiply(a, base, 0);
}

static int compare(const natural *a, const natural *b) {
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (uint32_t i = a->n; i-- > 0;)
        if (a->limb[i] != b->limb[i])
            return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

/* ---- rounding ------------------------------------------------------------------------------ */

/* Compares the number with the middle between the double of bit pattern `bits` (positive) and the
 * next one up: negative if it is less. */
static int beside_middle(const decimal *d, uint64_t bits) {
    const uint32_t field = (uint32_t)(bits >> 52);
    const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    const uint64_t mantissa = field ? fraction | (uint64_t)1 << 52 : fraction;
    const int32_t exponent = (int32_t)(field ? field : 1) - 1075 - 1; /* of half a step */
    const uint64_t middle = 2 * mantissa + 1;
    natural left = {.n = 0}, right = {.limb = {(uint32_t)middle, (uint32_t)(middle >> 32)}, .n = 2};
    right.n -= !right.limb[1];
    for (uint32_t i = 0; i < d->n; i++)
        multiply(&left, 10, d->digit[i]);
    multiply_power(d->exponent < 0 ? &right : &left, 10, 9,
                   d->exponent < 0 ? -d->exponent : d->exponent);
    multiply_power(exponent < 0 ? &left : &right, 2, 30, exponent < 0 ? -exponent : exponent);
    return compare(&left, &right);
}

/* Some ulp away at most. */
static double guess(const decimal *d) {
    static const double power[EXACT_POWERS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const uint32_t n = d->n < 19 ? d->n : 19;
    uint64_t leading = 0;
    for (uint32_t i = 0; i < n; i++)
        leading = leading * 10 + d->digit[i];
    double value = (double)leading;
    int64_t exponent = d->exponent + (int64_t)(d->n - n);
    for (; exponent > EXACT_POWERS; exponent -= EXACT_POWERS)
        value *= 1e22;
    for (; exponent < -EXACT_POWERS; exponent += EXACT_POWERS)
        value /= 1e22;
    return exponent < 0 ? value / power[-exponent] : value * power[exponent];
}

static bool nearest(const decimal *d, double *out) {
    const uint64_t infinity = (uint64_t)0x7FF << 52;
    double value = guess(d);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = bits < infinity ? bits : infinity - 1;
    for (;;) { /* an odd pattern is an odd mantissa: ties go away from it */
        const int up = bits < infinity ? beside_middle(d, bits) : -1;
        if (up > 0 || (up == 0 && bits & 1)) {
            bits++;
            continue;
        }
        const int down = bits > 0 ? beside_middle(d, bits - 1) : 1;
        if (down > 0 || (down == 0 && !(bits & 1)))
            break;
        bits--;
    }
    memcpy(out, &bits, sizeof bits);
    return bits < infinity;
}

/* ---- text ---------------------------------------------------------------------------------- */

static void add_digit(decimal *d, char c, bool fraction) {
    if (d->n < MAX_DIGITS) {
        if (c != '0' || d->n)
            d->digit[d->n++] = (uint8_t)(c - '0');
        d->exponent -= fraction;
        return;
    }
    d->exponent += !fraction;
    if (c != '0' && d->n == MAX_DIGITS) { /* more than the digits kept, however little */
        d->digit[d->n++] = 1;
        d->exponent--;
    }
}

/* Digits and exponent of a number that the reader found well formed. */
static void scan(decimal *d, const char *text, uint64_t length) {
    uint64_t i = text[0] == '-';
    bool fraction = false, minus;
    int64_t exponent = 0;
    for (; i < length && text[i] != 'e' && text[i] != 'E'; i++) {
        if (text[i] == '.')
            fraction = true;
        else
            add_digit(d, text[i], fraction);
    }
    minus = i + 1 < length && text[i + 1] == '-';
    for (i += 1; i < length; i++)
        if (text[i] >= '0' && text[i] <= '9' && exponent < MAX_EXPONENT)
            exponent = exponent * 10 + (text[i] - '0');
    d->exponent += minus ? -exponent : exponent;
}

bool sm_json_parse_double(const char *text, uint64_t length, double *out) {
    decimal d = {.n = 0};
    double value = 0;
    scan(&d, text, length);
    const int64_t top = d.n + d.exponent; /* the value is below 10^top */
    if (d.n && top > 310)
        return false;
    if (d.n && top > -330) {
        /* both exact in double, so one rounding is the right one */
        if (d.n <= 15 && d.exponent >= -EXACT_POWERS && d.exponent <= EXACT_POWERS)
            value = guess(&d);
        else if (!nearest(&d, &value))
            return false;
    }
    *out = text[0] == '-' ? -value : value;
    return true;
}
