/* utf8.c - reading and checking UTF-8. */
#include "base.h"

/* Unicode 15, table 3-7: which second bytes a lead byte allows. */
static bool second_fits(uint8_t lead, uint8_t second) {
    switch (lead) {
    case 0xE0:
        return second >= 0xA0 && second <= 0xBF;
    case 0xED:
        return second >= 0x80 && second <= 0x9F;
    case 0xF0:
        return second >= 0x90 && second <= 0xBF;
    case 0xF4:
        return second >= 0x80 && second <= 0x8F;
    default:
        return second >= 0x80 && second <= 0xBF;
    }
}

/* Bytes of a sequence that starts with `lead`; 1 for ASCII, 0 for what starts none. */
static uint32_t sequence_length(uint8_t lead) {
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

uint32_t sm_utf8_decode(const uint8_t *text, uint64_t length, uint32_t *code) {
    uint32_t n = sequence_length(text[0]);
    if (n == 1) {
        *code = text[0];
        return 1;
    }
    *code = UINT32_MAX;
    if (n == 0 || length < n || !second_fits(text[0], text[1]))
        return 1;
    uint32_t value = text[0] & (0x7FU >> n);
    value = value << 6 | (text[1] & 0x3FU);
    for (uint32_t i = 2; i < n; i++) {
        if ((text[i] & 0xC0U) != 0x80)
            return 1;
        value = value << 6 | (text[i] & 0x3FU);
    }
    *code = value;
    return n;
}

uint32_t sm_utf8_encode(uint32_t code, uint8_t *out) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

uint64_t sm_utf8_complete(const uint8_t *text, uint64_t length) {
    /* only a lead byte among the last three can begin an unfinished sequence */
    for (uint64_t back = 1; back <= 3 && back <= length; back++) {
        const uint8_t *lead = text + (length - back);
        if ((*lead & 0xC0) == 0x80)
            continue;
        if (sequence_length(*lead) <= back || (back > 1 && !second_fits(*lead, lead[1])))
            return length;
        return length - back;
    }
    return length;
}
