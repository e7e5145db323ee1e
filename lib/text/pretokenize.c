/* Pre-tokenizers: which pieces of a text a byte-level BPE vocabulary merges
 * within. A vocabulary names one (tokenizer.ggml.pre); each is a sequence of
 * regexes, every one splitting the pieces of the one before into its matches
 * and what lies between them (pretokenizers.inc). */
#include "pretokenize.h"

#include "patterns.h"

#include <string.h>

#define PUNCTS_ASCII "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
#define LETTERS_ASCII "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const uint32_t deepseek_letters[][2] = {DEEPSEEK_LETTERS(AS_RANGE)};
static const uint32_t deepseek_signs[][2] = {DEEPSEEK_SIGNS(AS_RANGE)};
static const uint32_t deepseek_cjk[][2] = {DEEPSEEK_CJK(AS_RANGE)};
static const uint32_t kana_han[][2] = {KANA_HAN(AS_RANGE)};
static const uint32_t youtu[][2] = {YOUTU(AS_RANGE, AS_RANGE, AS_RANGE, AS_RANGE)};
#define AS_KIND_1(low, high) "\1"
#define AS_KIND_2(low, high) "\2"
#define AS_KIND_3(low, high) "\3"
#define AS_KIND_4(low, high) "\4"
static const char youtu_kinds[] = YOUTU(AS_KIND_1, AS_KIND_2, AS_KIND_3, AS_KIND_4);
static const uint32_t part_ends[][2] = {PART_ENDS(AS_RANGE)};
static const uint32_t afmoe_cjk[][2] = {AFMOE_CJK(AS_RANGE)};
static const uint32_t han[][2] = {HAN(AS_RANGE)};

#define RANGES(list) (list), (uint32_t)(sizeof(list) / sizeof *(list))

static const char_set set_numbers = {SM_CHAR_NUMBER, "", NULL, 0, NULL};
static const char_set set_digits = {SM_CHAR_DIGIT, "", NULL, 0, NULL};
static const char_set set_ascii_digits = {0, "0123456789", NULL, 0, NULL};
static const char_set set_letters = {SM_CHAR_LETTER, "", NULL, 0, NULL};
static const char_set set_puncts = {SM_CHAR_PUNCT, "", NULL, 0, NULL};
static const char_set set_line_ends = {0, "\r\n", NULL, 0, NULL};
static const char_set set_default_puncts = {SM_CHAR_PUNCT, "$+<=>^~|", NULL, 0, NULL};
static const char_set set_falcon_puncts = {SM_CHAR_PUNCT, "$+<=>^~|`", NULL, 0, NULL};
static const char_set set_deepseek_letters = {0, LETTERS_ASCII, RANGES(deepseek_letters), NULL};
static const char_set set_all_puncts = {SM_CHAR_PUNCT, PUNCTS_ASCII, NULL, 0, NULL};
static const char_set set_image_letters = {0, "ABCDEFGHI", NULL, 0, NULL};
static const char_set set_part_ends = {SM_CHAR_SPACE, "(|.,!?)", RANGES(part_ends), NULL};
static const char_set set_youtu = {0, "", RANGES(youtu), youtu_kinds};
static const char_set set_deepseek_signs = {0, PUNCTS_ASCII LETTERS_ASCII, RANGES(deepseek_signs),
                                            NULL};
static const char_set set_deepseek_cjk = {0, "", RANGES(deepseek_cjk), NULL};
static const char_set set_kana_han = {0, "", RANGES(kana_han), NULL};
static const char_set set_afmoe_cjk = {0, "", RANGES(afmoe_cjk), NULL};
static const char_set set_han = {0, "", RANGES(han), NULL};

#define SM_NAMES(...) \
    { __VA_ARGS__ }
#define STAGE(regex, ...) \
    { __VA_ARGS__ }
#define SM_PRE(flags, names, ...)                                        \
    {names, flags, sizeof((const stage[]){__VA_ARGS__}) / sizeof(stage), \
     (const stage[]){__VA_ARGS__}},

typedef struct pre_def {
    const char *names[12];
    uint32_t flags, n_stages;
    const stage *stages;
} pre_def;

static const pre_def pre_defs[] = {
#include "pretokenizers.inc"
};

struct sm_pre {
    const pre_def *def;
    uint8_t set[SM_MAX_STAGES][128]; /* ASCII members of the stages' sets */
};

const char *sm_pre_name(uint32_t i) {
    for (uint32_t d = 0; d < sizeof pre_defs / sizeof *pre_defs; d++)
        for (uint32_t k = 0; k < sizeof pre_defs[d].names / sizeof *pre_defs[d].names; k++)
            if (pre_defs[d].names[k] && i-- == 0)
                return pre_defs[d].names[k];
    return NULL;
}

static const pre_def *find_def(const char *name, uint64_t length) {
    for (uint32_t d = 0; d < sizeof pre_defs / sizeof *pre_defs; d++)
        for (uint32_t k = 0; k < sizeof pre_defs[d].names / sizeof *pre_defs[d].names; k++) {
            const char *known = pre_defs[d].names[k];
            if (known && strlen(known) == length && memcmp(known, name, (size_t)length) == 0)
                return &pre_defs[d];
        }
    return NULL;
}

static void fill_set(uint8_t *members, const char_set *set) {
    for (uint32_t c = 0; c < 128; c++)
        members[c] = (sm_char_ascii[c] & set->classes) != 0;
    for (const char *a = set->ascii; *a; a++)
        members[(uint8_t)*a] = 1;
}

sm_status sm_pre_new(sm_pre **out, sm_mem *mem, const char *name, uint64_t length, uint32_t *flags,
                     sm_error *error) {
    *out = NULL;
    const pre_def *def = length ? find_def(name, length) : &pre_defs[0];
    if (!def)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "tokenizer.ggml.pre: unknown pre-tokenizer \"%.*s\"",
                       length < 64 ? (int)length : 64, name);
    sm_pre *pre = sm_alloc_zero(mem, sizeof *pre);
    if (!pre)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    pre->def = def;
    for (uint32_t i = 0; i < def->n_stages; i++)
        if (def->stages[i].set)
            fill_set(pre->set[i], def->stages[i].set);
    *flags = def->flags;
    *out = pre;
    return SM_OK;
}

void sm_pre_free(sm_pre *pre, sm_mem *mem) {
    sm_free(mem, pre);
}

void sm_split_start(sm_split *split, const sm_pre *pre, const uint8_t *text, uint64_t length,
                    sm_pace *pace) {
    *split = (sm_split){.pre = pre, .text = text, .length = length};
    split->pace = pace ? pace : &split->idle;
}

/* Patterns of tokenizer.json files, and of tiktoken, as they stand there. */
static const struct {
    const char *text;
    stage rules;
} spelled[] = {
#define PATTERN(text, ...) {text, __VA_ARGS__},
#include "spelled_patterns.inc"
#undef PATTERN
};

const stage *sm_scan_of(sm_str pattern, uint8_t ascii[128]) {
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
        if (same_text(pattern.data, pattern.length, spelled[i].text)) {
            if (spelled[i].rules.set)
                fill_set(ascii, spelled[i].rules.set);
            return &spelled[i].rules;
        }
    return NULL;
}

/* sm_split_next where there is one stage, which most have. */
static sm_status scan_only(sm_split *split, uint64_t *begin, uint64_t *end, sm_error *error) {
    const uint64_t from = split->end[0];
    *begin = *end = from;
    if (from == split->length)
        return SM_OK;
    *end = split->end[0] = sm_scan(split->pre->def->stages, split->pre->set[0], split->text,
                                   split->length, from, &split->match_end[0], split->pace);
    return split->pace->stopped ? sm_fail(error, SM_ERR_CANCELLED, "cancelled") : SM_OK;
}

sm_status sm_split_next(sm_split *split, uint64_t *begin, uint64_t *end, sm_error *error) {
    const pre_def *def = split->pre->def;
    if (def->n_stages == 1)
        return scan_only(split, begin, end, error);
    uint32_t last = def->n_stages - 1, level = last;
    uint64_t from = split->end[last];
    *begin = *end = from;
    if (from == split->length)
        return SM_OK;
    while (level > 0 && split->end[level - 1] == from)
        level--; /* the piece that this level split is used up */
    for (; level <= last; level++) {
        uint64_t base = level ? split->begin[level - 1] : 0;
        uint64_t limit = level ? split->end[level - 1] : split->length;
        uint64_t memo = split->match_end[level] > base ? split->match_end[level] - base : 0;
        uint64_t stop =
            base + sm_scan(&def->stages[level], split->pre->set[level], split->text + base,
                           limit - base, from - base, &memo, split->pace);
        split->match_end[level] = base + memo;
        split->begin[level] = from;
        split->end[level] = stop;
    }
    if (split->pace->stopped)
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled");
    *end = split->end[last];
    return SM_OK;
}
