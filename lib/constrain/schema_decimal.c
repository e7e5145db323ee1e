/* schema_decimal.c - numbers of a schema, exact: their digits and where the point is. */
#include "schema.h"

#include <stdlib.h>

static const char *digits_of(const schema *s, const decimal *d) {
    return (const char *)s->bytes.data + d->digits;
}

/* The power of ten behind the first digit: 1 for 1..9. */
static int64_t top_of(const decimal *d) {
    return (int64_t)d->n + d->exponent;
}

/* An exponent, which stays far from overflow. */
static int64_t parse_exponent(const char *text, uint64_t length) {
    int64_t e = 0;
    const bool minus = length && text[0] == '-';
    for (uint64_t i = 0; i < length; i++)
        if (text[i] >= '0' && text[i] <= '9' && e < 1000000)
            e = e * 10 + (text[i] - '0');
    return minus ? -e : e;
}

static uint32_t add_decimal(schema *s, const decimal *d, const char *digits) {
    for (uint32_t i = 0; i < s->decimals.n && s->decimals.n < 256; i++) {
        const decimal *has = &AT(s, decimals, decimal, i);
        if (has->minus == d->minus && has->exponent == d->exponent && has->n == d->n &&
            memcmp(digits_of(s, has), digits, d->n) == 0)
            return i;
    }
    decimal made = *d;
    const uint32_t t = sm_schema_text(s, digits, d->n);
    made.digits = s->status ? 0 : AT(s, texts, text_row, t).at;
    return sm_schema_push(s, &s->decimals, &made, sizeof made) ? s->decimals.n - 1 : 0;
}

uint32_t sm_decimal_parse(schema *s, const char *spelt, uint64_t length, sm_json_value place) {
    char digits[MAX_DIGITS];
    decimal d = {.minus = length && spelt[0] == '-'};
    int64_t exponent = 0;
    bool fraction = false, too_long = length > 4 * MAX_DIGITS;
    for (uint64_t i = d.minus; i < length && !too_long; i++) {
        if (spelt[i] == 'e' || spelt[i] == 'E') {
            exponent += parse_exponent(spelt + i + 1, length - i - 1);
            break;
        }
        if (spelt[i] == '.') {
            fraction = true;
            continue;
        }
        exponent -= fraction;
        if (!d.n && spelt[i] == '0')
            continue;
        too_long = d.n == MAX_DIGITS;
        if (!too_long)
            digits[d.n++] = spelt[i];
    }
    while (d.n && digits[d.n - 1] == '0') {
        d.n--;
        exponent++;
    }
    if (!d.n) {
        exponent = 0;
        d.minus = false;
    }
    if (too_long || exponent > MAX_DIGITS || exponent < -MAX_DIGITS ||
        d.n + exponent > MAX_DIGITS) {
        sm_schema_fail(s, SM_ERR_UNSUPPORTED, place, "a number of more than 1000 digits");
        return 0;
    }
    d.exponent = (int32_t)exponent;
    return add_decimal(s, &d, digits);
}

uint32_t sm_decimal_read(schema *s, sm_json_value place) {
    uint64_t n;
    const char *spelt = sm_json_text(s->json, place, &n);
    return sm_decimal_parse(s, spelt, n, place);
}

bool sm_decimal_whole(const schema *s, uint32_t a) {
    return AT(s, decimals, decimal, a).exponent >= 0;
}

bool sm_decimal_count(const schema *s, uint32_t a, uint32_t *out) {
    if (a >= s->decimals.n)
        return false;
    const decimal *d = &AT(s, decimals, decimal, a);
    if (d->minus || d->exponent < 0)
        return false;
    uint64_t n = 0;
    for (int64_t i = 0; i < top_of(d) && n < UINT32_MAX; i++)
        n = n * 10 + (i < d->n ? (uint64_t)(digits_of(s, d)[i] - '0') : 0);
    *out = n < UINT32_MAX - 1 ? (uint32_t)n : UINT32_MAX - 1;
    return true;
}

static uint32_t write_scientific(const decimal *d, const char *digits, char *out) {
    uint32_t n = 0;
    const int64_t e = top_of(d) - 1;
    out[n++] = digits[0];
    if (d->n > 1)
        out[n++] = '.';
    memcpy(out + n, digits + 1, d->n - 1);
    n += d->n - 1;
    n += (uint32_t)sm_format(out + n, 16, "e%c%s%u", e < 0 ? '-' : '+', llabs(e) < 10 ? "0" : "",
                             (uint32_t)llabs(e));
    return n;
}

static uint32_t write_plain(const decimal *d, const char *digits, char *out) {
    uint32_t n = 0;
    const int64_t top = top_of(d);
    if (top <= 0)
        out[n++] = '0';
    for (int64_t i = 0; i < top; i++)
        out[n++] = i < d->n ? digits[i] : '0';
    if (top < d->n)
        out[n++] = '.';
    for (int64_t i = top; i < 0; i++)
        if (d->n)
            out[n++] = '0';
    for (int64_t i = top > 0 ? top : 0; i < d->n; i++)
        out[n++] = digits[i];
    return n;
}

bool sm_decimal_is_scientific(const schema *s, uint32_t a) {
    const decimal *d = &AT(s, decimals, decimal, a);
    return d->n && (top_of(d) - 1 < -4 || top_of(d) - 1 >= 16);
}

uint32_t sm_decimal_write(const schema *s, uint32_t a, bool scientific, char *out) {
    const decimal *d = &AT(s, decimals, decimal, a);
    out[0] = '-';
    const uint32_t n = d->minus;
    return n + (scientific ? write_scientific : write_plain)(d, digits_of(s, d), out + n);
}
