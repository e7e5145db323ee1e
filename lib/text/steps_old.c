/* Classes of characters as Hugging Face's tokenizers know them: of the Unicode versions that their
 * tables are of (steps_old.inc has what is otherwise today). */
#include "steps.h"

typedef struct code_range {
    uint32_t low, high;
} code_range;

#define OLD(low, high) {low, high},

static const code_range punct[] = {
#define OLD_PUNCT
#include "steps_old.inc"
#undef OLD_PUNCT
};

static const code_range control[] = {
#define OLD_CONTROL
#include "steps_old.inc"
#undef OLD_CONTROL
};

static const code_range mn[] = {
#define OLD_MN
#include "steps_old.inc"
#undef OLD_MN
};

static const code_range mark[] = {
#define OLD_MARK
#include "steps_old.inc"
#undef OLD_MARK
};

/* Numbers that are younger than the library's tables; Rust's own are of Unicode 17. */
static const code_range young_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
    {0x11DE0, 0x11DE9}, {0x16130, 0x16139}, {0x16D70, 0x16D79},
    {0x16FF4, 0x16FF6}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA}};

/* What is decomposed today. */
static const code_range whole[] = {{0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},
                                   {0x10781, 0x107BA}, {0x11938, 0x11938}, {0x1E030, 0x1E06D},
                                   {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};

static bool within(uint32_t code, const code_range *ranges, size_t n) {
    size_t low = 0;
    while (low < n) { /* the first that ends at or after code */
        const size_t middle = low + (n - low) / 2;
        if (ranges[middle].high < code)
            low = middle + 1;
        else
            n = middle;
    }
    return code >= ranges[low].low && code <= ranges[low].high;
}

#define WITHIN(code, list)                                   \
    ((code) <= list[sizeof(list) / sizeof *(list)-1].high && \
     within(code, list, sizeof(list) / sizeof *(list)))

bool sm_old_punctuation(uint32_t code) {
    const uint32_t class = sm_char_class(code);
    if (code < 0x80)
        return (class & (SM_CHAR_PUNCT | SM_CHAR_SYMBOL)) != 0;
    return ((class & SM_CHAR_PUNCT) != 0) != WITHIN(code, punct);
}

bool sm_old_control(uint32_t code) {
    return ((sm_char_class(code) & SM_CHAR_CONTROL) != 0) != WITHIN(code, control);
}

bool sm_old_mark(uint32_t code, bool only_mn) {
    const uint32_t class = sm_char_class(code);
    return only_mn ? ((class & SM_CHAR_MN) != 0) != WITHIN(code, mn)
                   : ((class & SM_CHAR_MARK) != 0) != WITHIN(code, mark);
}

bool sm_old_number(uint32_t code) {
    return sm_char_class(code) & SM_CHAR_NUMBER || (code > 0x10D3F && WITHIN(code, young_numbers));
}

bool sm_old_whole(uint32_t code) {
    return code >= 0x32FF && WITHIN(code, whole);
}
