/* What Unicode's normal forms are made of, and scripts. */
#include "base.h"
#include "normal_form_tables.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

uint8_t sm_combining_class(uint32_t code) {
    if (code < combining_runs[0].first)
        return 0;
    size_t low = 0, n = COUNT(combining_runs);
    while (n > 1) { /* the last run that begins at or before code */
        const size_t half = n / 2;
        if (combining_runs[low + half].first <= code)
            low += half;
        n -= half;
    }
    return code <= combining_runs[low].last ? combining_runs[low].class : 0;
}

/* A leading consonant and a vowel, or those and a trailing consonant: Unicode, 3.12. */
static uint32_t compose_hangul(uint32_t first, uint32_t second) {
    if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176)
        return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28;
    if (first >= 0xAC00 && first < 0xD7A4 && (first - 0xAC00) % 28 == 0 && second > 0x11A7 &&
        second < 0x11C3)
        return first + second - 0x11A7;
    return 0;
}

uint32_t sm_compose(uint32_t first, uint32_t second) {
    size_t low = 0, n = COUNT(compositions);
    while (n > 1) {
        const size_t half = n / 2, at = low + half;
        if (compositions[at].first < first ||
            (compositions[at].first == first && compositions[at].second <= second))
            low += half;
        n -= half;
    }
    if (compositions[low].first == first && compositions[low].second == second)
        return compositions[low].both;
    return compose_hangul(first, second);
}

/* Where the code point stands in the list of compatible ones; their number if it does not. */
static size_t find_compatible(uint32_t code) {
    size_t low = 0, n = COUNT(compatible);
    while (n > 1) {
        const size_t half = n / 2;
        if (compatible[low + half].code <= code)
            low += half;
        n -= half;
    }
    return compatible[low].code == code ? low : COUNT(compatible);
}

uint32_t sm_decompose_compatible(uint32_t code, uint32_t parts[SM_MOST_COMPATIBLE]) {
    const size_t at = code < 0xA0 ? COUNT(compatible) : find_compatible(code);
    if (at == COUNT(compatible))
        return sm_decompose(code, parts);
    const uint16_t *units = compatible_parts + compatible[at].at;
    uint32_t n = 0;
    for (uint32_t i = 0; i < compatible[at].n; i++) {
        uint32_t part = units[i];
        if (part >= 0xD800 && part < 0xDC00)
            part = 0x10000 + ((part - 0xD800) << 10) + (units[++i] - 0xDC00U);
        parts[n++] = part;
    }
    return n;
}

uint32_t sm_script_of(uint32_t code) {
    size_t low = 0, n = COUNT(script_runs);
    while (n > 1) {
        const size_t half = n / 2;
        if (script_runs[low + half] >> 8 <= code)
            low += half;
        n -= half;
    }
    return script_runs[low] & 0xFF;
}

static char plain_letter(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_gap(char c) {
    return c == '_' || c == '-' || c == ' ';
}

/* Equal but for case and what parts words. */
static bool alike(const char *a, const char *end, const char *b) {
    for (;; a++, b++) {
        while (a < end && is_gap(*a))
            a++;
        while (is_gap(*b))
            b++;
        if (a == end || !*b)
            return a == end && !*b;
        if (plain_letter(*a) != plain_letter(*b))
            return false;
    }
}

int32_t sm_script_named(const char *name, uint64_t length) {
    int32_t number = 0;
    for (const char *at = script_names; at < script_names + sizeof script_names - 1;
         at += strlen(at) + 1, number++)
        if (alike(name, name + length, at))
            return number;
    return -1;
}
