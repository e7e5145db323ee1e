/* What Unicode says of code points. */
#include "base.h"
#include "character_tables.h"

sm_category sm_category_of(uint32_t code) {
    if (code < CATEGORY_END)
        return (sm_category)(category_blocks[category_places[code / 128]][code % 128] - 'A');
    for (size_t i = 0; i < sizeof category_runs / sizeof *category_runs; i++)
        if (code >= category_runs[i].first && code <= category_runs[i].last)
            return (sm_category)category_runs[i].category;
    return SM_CATEGORY_CN;
}

static uint32_t mapped(const case_run *runs, size_t n, uint32_t code) {
    size_t low = 0;
    while (n > 1) { /* the last run that begins at or before code */
        const size_t half = n / 2;
        if (runs[low + half].first <= code)
            low += half;
        n -= half;
    }
    const case_run *run = &runs[low];
    if (code < run->first || code > run->last || (code - run->first) % run->step != 0)
        return code;
    return (uint32_t)((int32_t)code + run->difference);
}

uint32_t sm_lower_of(uint32_t code) {
    return mapped(lower_runs, sizeof lower_runs / sizeof *lower_runs, code);
}

uint32_t sm_upper_of(uint32_t code) {
    return mapped(upper_runs, sizeof upper_runs / sizeof *upper_runs, code);
}

uint32_t sm_title_of(uint32_t code) {
    return mapped(title_runs, sizeof title_runs / sizeof *title_runs, code);
}

/* A syllable is a leading consonant, a vowel, and maybe a trailing consonant: Unicode, 3.12. */
static uint32_t decompose_hangul(uint32_t syllable, uint32_t *parts) {
    parts[0] = 0x1100 + syllable / (21 * 28);
    parts[1] = 0x1161 + syllable % (21 * 28) / 28;
    parts[2] = 0x11A7 + syllable % 28;
    return syllable % 28 ? 3 : 2;
}

uint32_t sm_decompose(uint32_t code, uint32_t parts[SM_MOST_PARTS]) {
    if (code >= 0xAC00 && code < 0xD7A4)
        return decompose_hangul(code - 0xAC00, parts);
    size_t low = 0, n = sizeof decompositions / sizeof *decompositions;
    while (n > 1) {
        const size_t half = n / 2;
        if (decompositions[low + half].code <= code)
            low += half;
        n -= half;
    }
    if (decompositions[low].code != code) {
        parts[0] = code;
        return 1;
    }
    memcpy(parts, decomposed + decompositions[low].at, decompositions[low].n * sizeof *parts);
    return decompositions[low].n;
}
