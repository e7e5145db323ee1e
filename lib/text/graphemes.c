/* Extended grapheme clusters (Unicode Standard Annex 29), but for sequences of pictures and of
 * Indic consonants, none of which has less than six bytes: charsmaps of Hugging Face's tokenizers
 * look up shorter clusters only. */
#include "internal.h"

typedef enum part {
    PART_OTHER,
    PART_CONTROL,
    PART_EXTEND, /* and the joiner, and marks that take space: what never begins a cluster */
    PART_PREPEND,
    PART_REGION,
    PART_L,
    PART_V,
    PART_T,
    PART_LV,
    PART_LVT,
} part;

typedef struct code_range {
    uint32_t low, high;
} code_range;

/* Marks that take space but stand alone. */
static const code_range alone[] = {
    {0x102B, 0x102C}, {0x1038, 0x1038}, {0x1062, 0x1064},  {0x1067, 0x106D}, {0x1083, 0x1083},
    {0x1087, 0x108C}, {0x108F, 0x108F}, {0x109A, 0x109C},  {0x1A61, 0x1A61}, {0x1A63, 0x1A64},
    {0xAA7B, 0xAA7B}, {0xAA7D, 0xAA7D}, {0x11720, 0x11721}};
/* What else extends. */
static const code_range extends[] = {{0xE33, 0xE33},   {0xEB3, 0xEB3},     {0x200C, 0x200D},
                                     {0xFF9E, 0xFF9F}, {0x1F3FB, 0x1F3FF}, {0xE0020, 0xE007F}};
static const code_range prepends[] = {{0x600, 0x605},     {0x6DD, 0x6DD},     {0x70F, 0x70F},
                                      {0x890, 0x891},     {0x8E2, 0x8E2},     {0xD4E, 0xD4E},
                                      {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x111C2, 0x111C3},
                                      {0x1193F, 0x1193F}, {0x11941, 0x11941}, {0x11A3A, 0x11A3A},
                                      {0x11A84, 0x11A89}, {0x11D46, 0x11D46}, {0x11F02, 0x11F02}};

static bool within(uint32_t code, const code_range *ranges, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (code >= ranges[i].low && code <= ranges[i].high)
            return true;
    return false;
}

#define WITHIN(code, list) within(code, list, sizeof(list) / sizeof *(list))

static part hangul_part(uint32_t code) {
    if (code >= 0x1100 && code < 0x1160)
        return PART_L;
    if (code >= 0x1160 && code < 0x11A8)
        return PART_V;
    if (code >= 0x11A8 && code < 0x1200)
        return PART_T;
    if (code >= 0xAC00 && code < 0xD7A4)
        return (code - 0xAC00) % 28 ? PART_LVT : PART_LV;
    return code >= 0xA960 && code < 0xA97D   ? PART_L
           : code >= 0xD7B0 && code < 0xD7C7 ? PART_V
           : code >= 0xD7CB && code < 0xD7FC ? PART_T
                                             : PART_OTHER;
}

static part part_of(uint32_t code) {
    if (code < 0x300)
        return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xAD ? PART_CONTROL
                                                                            : PART_OTHER;
    if (WITHIN(code, extends))
        return PART_EXTEND;
    if (WITHIN(code, prepends))
        return PART_PREPEND;
    if (code >= 0x1F1E6 && code <= 0x1F1FF)
        return PART_REGION;
    switch (sm_category_of(code)) {
    case SM_CATEGORY_MN:
    case SM_CATEGORY_ME:
        return PART_EXTEND;
    case SM_CATEGORY_MC:
        return WITHIN(code, alone) ? PART_OTHER : PART_EXTEND;
    case SM_CATEGORY_CC:
    case SM_CATEGORY_CF:
    case SM_CATEGORY_ZL:
    case SM_CATEGORY_ZP:
    case SM_CATEGORY_CS:
        return PART_CONTROL;
    default:
        return hangul_part(code);
    }
}

/* Whether nothing parts two neighbours; regions: how many of these stand before b. */
static bool joined(part a, part b, uint32_t regions) {
    if (a == PART_CONTROL || b == PART_CONTROL)
        return false;
    if (b == PART_EXTEND || a == PART_PREPEND)
        return true;
    switch (a) {
    case PART_L:
        return b == PART_L || b == PART_V || b == PART_LV || b == PART_LVT;
    case PART_LV:
    case PART_V:
        return b == PART_V || b == PART_T;
    case PART_LVT:
    case PART_T:
        return b == PART_T;
    case PART_REGION:
        return b == PART_REGION && regions % 2;
    default:
        return false;
    }
}

uint64_t sm_grapheme_end(const uint8_t *text, uint64_t length, uint64_t at) {
    uint32_t code, next;
    uint64_t end = at + sm_utf8_decode(text + at, length - at, &code);
    if (code == '\r' && end < length && text[end] == '\n')
        return end + 1;
    part a = part_of(code);
    for (uint32_t regions = a == PART_REGION; end < length;) {
        const uint32_t n = sm_utf8_decode(text + end, length - end, &next);
        const part b = part_of(next);
        if (!joined(a, b, regions))
            break;
        regions += b == PART_REGION;
        a = b;
        end += n;
    }
    return end;
}
