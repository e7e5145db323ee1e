/* Text of unknown origin in a form that a terminal or a log may get. */
#include "base.h"

#include <string.h>

/* What shows nothing of itself or says how others are shown, in increasing order: Unicode 15's
 * general categories Cc, Cf, Zl, Zp and Co, its property Default_Ignorable_Code_Point, and
 * noncharacters (those at the end of each plane are found by their number). */
static const struct {
    uint32_t first, last;
} hidden[] = {
    {0x0, 0x1F},        {0x7F, 0x9F},        {0xAD, 0xAD},       {0x34F, 0x34F},
    {0x600, 0x605},     {0x61C, 0x61C},      {0x6DD, 0x6DD},     {0x70F, 0x70F},
    {0x890, 0x891},     {0x8E2, 0x8E2},      {0x115F, 0x1160},   {0x17B4, 0x17B5},
    {0x180B, 0x180F},   {0x200B, 0x200F},    {0x2028, 0x202E},   {0x2060, 0x206F},
    {0x3164, 0x3164},   {0xE000, 0xF8FF},    {0xFDD0, 0xFDEF},   {0xFE00, 0xFE0F},
    {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},    {0xFFF0, 0xFFFB},   {0x110BD, 0x110BD},
    {0x110CD, 0x110CD}, {0x13430, 0x1343F},  {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},
    {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF},
};

static bool is_hidden(uint32_t code) {
    if (code >= 0x20 && code < 0x7F)
        return false;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden && hidden[i].first <= code; i++)
        if (code <= hidden[i].last)
            return true;
    return (code & 0xFFFE) == 0xFFFE;
}

static uint32_t put_hex(char *out, uint32_t value, uint32_t digits) {
    for (uint32_t i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
    return digits;
}

/* "\n", "\x1b", "\u{202e}" */
static uint32_t name_code(uint32_t code, char *out) {
    uint32_t n = 0;
    out[n++] = '\\';
    if (code == '\t' || code == '\n' || code == '\r') {
        out[n++] = code == '\t' ? 't' : code == '\n' ? 'n' : 'r';
    } else if (code < 0x80) {
        out[n++] = 'x';
        n += put_hex(out + n, code, 2);
    } else {
        uint32_t digits = 2;
        while (code >> 4 * digits)
            digits++;
        out[n++] = 'u';
        out[n++] = '{';
        n += put_hex(out + n, code, digits);
        out[n++] = '}';
    }
    return n;
}

uint32_t sm_escape_next(const char *text, uint64_t length, char *unit, uint32_t *used) {
    const uint8_t *bytes = (const uint8_t *)text;
    uint32_t code;
    *used = sm_utf8_decode(bytes, length, &code);
    if (code == UINT32_MAX) { /* no UTF-8: the byte itself */
        memcpy(unit, "\\x", 2);
        return 2 + put_hex(unit + 2, bytes[0], 2);
    }
    if (is_hidden(code))
        return name_code(code, unit);
    memcpy(unit, text, *used);
    return *used;
}

uint64_t sm_text_escape(const char *text, uint64_t length, char *out, uint64_t capacity) {
    uint64_t n = 0, kept = 0;
    length = text ? text_size(text, length) : 0;
    if (!out)
        capacity = 0;
    for (uint64_t i = 0; i < length;) {
        char unit[SM_ESCAPE_UNIT];
        uint32_t used;
        const uint32_t size = sm_escape_next(text + i, length - i, unit, &used);
        if (kept == n && n + size < capacity) {
            memcpy(out + n, unit, size);
            kept += size;
        }
        n += size;
        i += used;
    }
    if (capacity)
        out[kept] = 0;
    return n;
}
