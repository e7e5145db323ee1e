/* Pre-tokenizers: which pieces of a text a byte-level BPE vocabulary merges
 * within. A vocabulary names one (tokenizer.ggml.pre); each is a sequence of
 * regexes, every one splitting the pieces of the one before into its matches
 * and what lies between them. The patterns are those of the models'
 * tokenizer.json files. */
#include "pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* White_Space, for use in a class: PCRE2's \s has U+180E besides, which is none
 * since Unicode 6.3. */
#define W "\\t-\\r\\x{85}\\p{Z}"
#define GAPS "[" W "]+(?![^" W "])|[" W "]+"
#define LINE_ENDS "[" W "]*[\\r\\n]+"
#define SUFFIX "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define OTHER " ?[^" W "\\p{L}\\p{N}]+"

#define GPT2_REGEX "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" OTHER "|" GAPS
#define WORDS_REGEX(first, number) \
    first LEAD "\\p{L}+|" number "|" OTHER "[\\r\\n]*|" LINE_ENDS "|" GAPS
#define CASED_REGEX(suffix, number, behind)                                        \
    LEAD UPPER "*" LOWER "+" suffix "|" LEAD UPPER "+" LOWER "*" suffix "|" number \
               "|" OTHER behind "|" LINE_ENDS "|" GAPS
#define SCRIPT_REGEX(behind, line_ends)                      \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" \
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+" behind "|" line_ends "|" GAPS

/* clang-format off */

/* Each list of ranges is spelled once, for the scanner and for the regex. */
#define AS_RANGE(low, high) {0x##low, 0x##high},
#define AS_REGEX(low, high) "\\x{" #low "}-\\x{" #high "}"

/* Cased letters of DeepSeek's first tokenizer beyond ASCII */
#define DEEPSEEK_LETTERS(R)                                                                    \
    R(00B5, 00B5) R(00C0, 00D6) R(00D8, 00F6) R(00F8, 01BA) R(01BC, 01BF) R(01C4, 0293)        \
    R(0295, 02AF) R(0370, 0373) R(0376, 0377) R(037B, 037D) R(037F, 037F) R(0386, 0386)        \
    R(0388, 038A) R(038C, 038C) R(038E, 03A1) R(03A3, 03F5) R(03F7, 0481) R(048A, 052F)        \
    R(0531, 0556) R(10A0, 10C5) R(13A0, 13F5) R(13F8, 13FD) R(1C90, 1CBA) R(1CBD, 1CBF)        \
    R(1D00, 1D2B) R(1D6B, 1D77) R(1D79, 1D9A) R(1E00, 1F15) R(1F18, 1F1D) R(1F20, 1F45)        \
    R(1F48, 1F4D) R(1F50, 1F57) R(1F59, 1F59) R(1F5B, 1F5B) R(1F5D, 1F5D) R(1F5F, 1F7D)        \
    R(1F80, 1FB4) R(1FB6, 1FBC) R(1FBE, 1FBE) R(1FC2, 1FC4) R(1FC6, 1FCC) R(1FD0, 1FD3)        \
    R(1FD6, 1FDB) R(1FE0, 1FEC) R(1FF2, 1FF4) R(1FF6, 1FFC) R(2102, 2102) R(2107, 2107)        \
    R(210A, 2113) R(2115, 2115) R(2119, 211D) R(2124, 2124) R(2126, 2126) R(2128, 2128)        \
    R(212A, 212D) R(212F, 2134) R(2139, 2139) R(213C, 213F) R(2145, 2149) R(214E, 214E)        \
    R(2183, 2184) R(2C00, 2C7B) R(2C7E, 2CE4) R(2CEB, 2CEE) R(2CF2, 2CF3) R(A640, A66D)        \
    R(A680, A69B) R(A722, A76F) R(A771, A787) R(A78B, A78E) R(AB70, ABBF) R(FB00, FB06)        \
    R(FB13, FB17) R(FF21, FF3A) R(FF41, FF5A) R(10400, 1044F) R(104B0, 104D3) R(104D8, 104FB)  \
    R(10C80, 10CB2) R(10CC0, 10CF2) R(118A0, 118DF) R(1E900, 1E943)
#define DEEPSEEK_SIGNS(R) R(2018, 201F) R(3000, 3002) R(FF01, FF0F) R(FF1A, FF5E)
#define DEEPSEEK_CJK(R) R(0800, 4E00) R(4E00, 9FA5) R(AC00, D7FF)
#define KANA_HAN(R) R(3040, 30FF) R(4E00, 9FA5)
#define HANGUL(R) R(3131, 318E) R(AC00, D7A3)
#define BOPOMOFO(R) R(3105, 312F)
#define YOUTU_SIGNS(R)                                                                         \
    R(2014, 2014) R(2018, 2019) R(201C, 201D) R(2026, 2026) R(3001, 303F) R(FE30, FE4F)        \
    R(FF01, FF01) R(FF0C, FF0C) R(FF1A, FF1B)
/* What parts of a sentence end with in BLOOM's tokenizer, beyond ASCII */
#define PART_ENDS(R)                                                                           \
    R(060C, 060C) R(06D4, 06D4) R(0964, 0964) R(2026, 2026) R(3001, 3002) R(FF0C, FF0C)
#define AFMOE_CJK(R)                                                                           \
    R(0E40, 0E7F) R(0E80, 0EFF) R(1000, 109F) R(1100, 11FF) R(1780, 17FF) R(2F00, 2FDF)        \
    R(3040, 30FF) R(3400, 4DBF) R(4E00, 9FFF) R(A9E0, A9FF) R(AA60, AA7F) R(AC00, D7AF)        \
    R(F900, FAFF) R(FF65, FF9F)
/* Script=Han, Unicode 15 */
#define HAN(R)                                                                                 \
    R(2E80, 2E99) R(2E9B, 2EF3) R(2F00, 2FD5) R(3005, 3005) R(3007, 3007) R(3021, 3029)        \
    R(3038, 303B) R(3400, 4DBF) R(4E00, 9FFF) R(F900, FA6D) R(FA70, FAD9) R(16FE2, 16FE3)      \
    R(16FF0, 16FF1) R(20000, 2A6DF) R(2A700, 2B739) R(2B740, 2B81D) R(2B820, 2CEA1)            \
    R(2CEB0, 2EBE0) R(2F800, 2FA1D) R(30000, 3134A) R(31350, 323AF)

/* clang-format on */

#define PUNCTS_ASCII "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
#define LETTERS_ASCII "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const uint32_t deepseek_letters[][2] = {DEEPSEEK_LETTERS(AS_RANGE)};
static const uint32_t deepseek_signs[][2] = {DEEPSEEK_SIGNS(AS_RANGE)};
static const uint32_t deepseek_cjk[][2] = {DEEPSEEK_CJK(AS_RANGE)};
static const uint32_t kana_han[][2] = {KANA_HAN(AS_RANGE)};
static const uint32_t hangul[][2] = {HANGUL(AS_RANGE)};
static const uint32_t bopomofo[][2] = {BOPOMOFO(AS_RANGE)};
static const uint32_t youtu_signs[][2] = {YOUTU_SIGNS(AS_RANGE)};
static const uint32_t part_ends[][2] = {PART_ENDS(AS_RANGE)};
static const uint32_t afmoe_cjk[][2] = {AFMOE_CJK(AS_RANGE)};
static const uint32_t han[][2] = {HAN(AS_RANGE)};

#define RANGES(list) (list), (uint32_t)(sizeof(list) / sizeof *(list))

static const char_set set_numbers = {SM_CHAR_NUMBER, "", NULL, 0};
static const char_set set_digits = {SM_CHAR_DIGIT, "", NULL, 0};
static const char_set set_ascii_digits = {0, "0123456789", NULL, 0};
static const char_set set_letters = {SM_CHAR_LETTER, "", NULL, 0};
static const char_set set_puncts = {SM_CHAR_PUNCT, "", NULL, 0};
static const char_set set_line_ends = {0, "\r\n", NULL, 0};
static const char_set set_default_puncts = {SM_CHAR_PUNCT, "$+<=>^~|", NULL, 0};
static const char_set set_falcon_puncts = {SM_CHAR_PUNCT, "$+<=>^~|`", NULL, 0};
static const char_set set_deepseek_letters = {0, LETTERS_ASCII, RANGES(deepseek_letters)};
static const char_set set_all_puncts = {SM_CHAR_PUNCT, PUNCTS_ASCII, NULL, 0};
static const char_set set_image_letters = {0, "ABCDEFGHI", NULL, 0};
static const char_set set_part_ends = {SM_CHAR_SPACE, "(|.,!?)", RANGES(part_ends)};
static const char_set set_hangul = {0, "", RANGES(hangul)};
static const char_set set_bopomofo = {0, "", RANGES(bopomofo)};
static const char_set set_youtu_signs = {0, "", RANGES(youtu_signs)};
static const char_set set_deepseek_signs = {0, PUNCTS_ASCII LETTERS_ASCII, RANGES(deepseek_signs)};
static const char_set set_deepseek_cjk = {0, "", RANGES(deepseek_cjk)};
static const char_set set_kana_han = {0, "", RANGES(kana_han)};
static const char_set set_afmoe_cjk = {0, "", RANGES(afmoe_cjk)};
static const char_set set_han = {0, "", RANGES(han)};

/* clang-format off */
#define GPT2 {.regex = GPT2_REGEX, .op = STAGE_GPT2}
#define NUMBER_EACH {.regex = "\\p{N}", .op = STAGE_SET, .max = 1, .set = &set_numbers}
#define NUMBER_3 {.regex = "\\p{N}{1,3}", .op = STAGE_SET, .max = 3, .set = &set_numbers}
#define NUMBER_RUN {.regex = "\\p{N}+", .op = STAGE_SET, .set = &set_numbers}
#define TRIPLE {.regex = "[0-9][0-9][0-9]", .op = STAGE_TRIPLE}
#define LINE_END_EACH {.regex = "[\\r\\n]", .op = STAGE_SET, .max = 1, .set = &set_line_ends}
#define CJK_RUN {.regex = "[" DEEPSEEK_CJK(AS_REGEX) "]+", .op = STAGE_SET, \
                 .set = &set_deepseek_cjk}
#define KANA_HAN_RUN {.regex = "[" KANA_HAN(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_kana_han}
#define SCRIPT {.regex = SCRIPT_REGEX("[\\r\\n]*", LINE_ENDS), .op = STAGE_SCRIPT}
#define PARTS {.regex = " ?[^(" W "|.,!?" PART_ENDS(AS_REGEX) ")]+", .op = STAGE_PARTS, \
               .set = &set_part_ends}
#define LINES {.regex = "[^\\n]+|[\\n]+", .op = STAGE_LINES}
#define QWEN2 {.regex = WORDS_REGEX(SUFFIX "|", "\\p{N}"), .op = STAGE_WORDS, .max = 1, \
               .contractions = true}

static const stage st_gpt2[] = {GPT2};
static const stage st_starcoder[] = {NUMBER_EACH, GPT2};
static const stage st_falcon[] = {
    {.regex = "[\\p{P}$+<=>^~|`]+", .op = STAGE_SET, .set = &set_falcon_puncts}, GPT2, TRIPLE};
static const stage st_default[] = {
    {.regex = "[\\p{P}$+<=>^~|]+", .op = STAGE_SET, .set = &set_default_puncts}, GPT2,
    NUMBER_RUN, TRIPLE};
static const stage st_llama3[] = {
    {.regex = WORDS_REGEX(SUFFIX "|", "\\p{N}{1,3}"), .op = STAGE_WORDS, .max = 3,
     .contractions = true}};
static const stage st_qwen2[] = {QWEN2};
static const stage st_laguna[] = {LINES, QWEN2};
static const stage st_qwen35[] = {
    {.regex = SUFFIX "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^" W "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
              LINE_ENDS "|" GAPS,
     .op = STAGE_WORDS, .max = 1, .contractions = true, .marks = true}};
static const stage st_ufakzeka[] = {
    {.regex = WORDS_REGEX("", "\\p{N}"), .op = STAGE_WORDS, .max = 1}};
static const stage st_minicpm5[] = {
    NUMBER_3,
    {.regex = WORDS_REGEX(SUFFIX "|", "\\p{N}+"), .op = STAGE_WORDS, .contractions = true}};
static const stage st_seed_coder[] = {
    {.regex = SUFFIX "|" LEAD "\\p{L}+|\\p{N}|" OTHER "|" LINE_ENDS "|" GAPS, .op = STAGE_WORDS,
     .max = 1, .contractions = true, .bare = true}};
static const stage st_bailingmoe[] = {
    {.regex = SUFFIX "|" LEAD "\\p{L}+|\\p{N}|" OTHER "[\\r\\n]*|[" W "]*[\\r\\n]|" GAPS,
     .op = STAGE_WORDS, .max = 1, .contractions = true}};
static const stage st_jais2[] = {
    {.regex = SUFFIX "|" LEAD "\\p{L}+|\\p{N}{1,3}|" OTHER "[\\r\\n]*|" LINE_ENDS
              "|[" W "]{512}(?![^" W "])|[" W "]{256}(?![^" W "])|[" W "]{128}(?![^" W "])"
              "|[" W "]{64}(?![^" W "])|[" W "]{32}(?![^" W "])|[" W "]{16}(?![^" W "])"
              "|[" W "]{8}(?![^" W "])|[" W "]{4}(?![^" W "])|[" W "]{1,2}(?![^" W "])|[" W "]",
     .op = STAGE_WORDS, .max = 3, .contractions = true, .halving = true}};
static const stage st_gpt4o[] = {
    {.regex = CASED_REGEX(SUFFIX "?", "\\p{N}{1,3}", "[\\r\\n/]*"), .op = STAGE_CASED, .max = 3,
     .contractions = true, .slash = true}};
static const stage st_tekken[] = {
    {.regex = CASED_REGEX("", "\\p{N}", "[\\r\\n/]*"), .op = STAGE_CASED, .max = 1,
     .slash = true}};
static const stage st_tiny_aya[] = {
    {.regex = "\\p{Nd}{1,3}(?=(?:\\p{Nd}{3})*+(?![\\p{L}\\p{Nd}\\p{M}_]))", .op = STAGE_GROUPS,
     .whole = true, .set = &set_digits},
    {.regex = CASED_REGEX(SUFFIX "?", "\\p{N}{1,3}", "[\\r\\n/]*"), .op = STAGE_CASED, .max = 3,
     .contractions = true, .slash = true}};
/* [hangul]+|[signs]+|[bopomofo]+|[kana, han]+: no two share a character, so one after another
 * makes the same pieces */
static const stage st_youtu[] = {
    {.regex = "[" HANGUL(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_hangul},
    {.regex = "[" YOUTU_SIGNS(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_youtu_signs},
    {.regex = "[" BOPOMOFO(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_bopomofo},
    KANA_HAN_RUN,
    {.regex = CASED_REGEX(SUFFIX "?", "\\p{N}", "[\\r\\n/]*"), .op = STAGE_CASED, .max = 1,
     .contractions = true, .slash = true}};
#define IS_HAN "[" HAN(AS_REGEX) "]"
#define NO_HAN(class) "(?:(?!" IS_HAN ")" class ")"
static const stage st_kimi_k2[] = {
    {.regex = IS_HAN "+|" LEAD NO_HAN(UPPER) "*" NO_HAN(LOWER) "+" SUFFIX "?|"
              LEAD NO_HAN(UPPER) "+" NO_HAN(LOWER) "*" SUFFIX "?|"
              "\\p{N}{1,3}|" OTHER "[\\r\\n]*|" LINE_ENDS "|" GAPS,
     .op = STAGE_CASED, .max = 3, .contractions = true, .set = &set_han}};
static const stage st_exaone_moe[] = {
    {.regex = SUFFIX "|" LEAD "(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}|" OTHER "[\\r\\n/]?|"
              "(?:[" W "]*[\\r\\n])+|" GAPS,
     .op = STAGE_WORDS, .max = 1, .contractions = true, .phrases = true}};
static const stage st_deepseek_llm[] = {
    LINE_END_EACH,
    {.regex = "[" W "]?[A-Za-z" DEEPSEEK_LETTERS(AS_REGEX) "]+", .op = STAGE_SET, .spaced = true,
     .set = &set_deepseek_letters},
    {.regex = "[" W "]?[!-/:-~" DEEPSEEK_SIGNS(AS_REGEX) "]+", .op = STAGE_SET, .spaced = true,
     .set = &set_deepseek_signs},
    {.regex = "[" W "]+\\z", .op = STAGE_TRAILING},
    CJK_RUN,
    NUMBER_RUN};
static const stage st_deepseek_coder[] = {
    LINE_END_EACH,
    {.regex = "[" W "]?\\p{L}+", .op = STAGE_SET, .spaced = true, .set = &set_letters},
    {.regex = "[" W "]?\\p{P}+", .op = STAGE_SET, .spaced = true, .set = &set_puncts},
    CJK_RUN,
    NUMBER_EACH};
static const stage st_deepseek_v3[] = {NUMBER_3, KANA_HAN_RUN, SCRIPT};
static const stage st_spark[] = {
    NUMBER_3, KANA_HAN_RUN,
    {.regex = SCRIPT_REGEX("", "[\\r\\n]"), .op = STAGE_SCRIPT, .bare = true}, NUMBER_EACH};
static const stage st_afmoe[] = {
    {.regex = "", .op = STAGE_GROUPS, .set = &set_numbers},
    {.regex = "[" AFMOE_CJK(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_afmoe_cjk},
    SCRIPT};
static const stage st_superbpe[] = {
    NUMBER_RUN, {.regex = "", .op = STAGE_GROUPS, .set = &set_ascii_digits}};
static const stage st_bloom[] = {PARTS};
static const stage st_viking[] = {PARTS, NUMBER_EACH};
static const stage st_chameleon[] = {
    {.regex = "<sentinel:[0-9]+>", .op = STAGE_TAG, .before = "<sentinel:",
     .set = &set_ascii_digits, .after = '>'},
    {.regex = "IMGIMG[A-I]{1,4}Z", .op = STAGE_TAG, .before = "IMGIMG", .max = 4,
     .set = &set_image_letters, .after = 'Z'},
    {.regex = "[\\t\\n]|    |  ", .op = STAGE_INDENT},
    NUMBER_EACH,
    {.regex = "[\\p{P}!-/:-@\\[-`{-~]", .op = STAGE_SET, .max = 1, .set = &set_all_puncts},
    GPT2};

typedef struct pre_def {
    const char *names[12];
    const stage *stages;
    uint32_t n_stages;
    uint32_t flags;
} pre_def;

#define STAGES(list) (list), (uint32_t)(sizeof(list) / sizeof *(list))

static const pre_def pre_defs[] = {
    {{"default"}, STAGES(st_default), 0},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano"},
     STAGES(st_llama3), SM_PRE_IGNORE_MERGES | SM_PRE_ADD_BOS},
    {{"dbrx", "smaug-bpe", "chatglm-bpe", "glm4"}, STAGES(st_llama3), 0},
    {{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "a.x-4.0", "mellum", "modern-bert"},
     STAGES(st_gpt2), 0},
    {{"mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "jina-v1-en",
      "roberta-bpe"},
     STAGES(st_gpt2), 0},
    {{"jina-v2-es", "jina-v2-de", "jina-v2-code"}, STAGES(st_gpt2), SM_PRE_MASK_LSTRIP},
    {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
      "mellum2"},
     STAGES(st_starcoder), 0},
    {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan",
      "solar-open", "grok-2"},
     STAGES(st_qwen2), 0},
    {{"qwen35"}, STAGES(st_qwen35), 0},
    {{"deepseek-llm"}, STAGES(st_deepseek_llm), 0},
    {{"deepseek-coder"}, STAGES(st_deepseek_coder), 0},
    {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, STAGES(st_deepseek_v3), 0},
    {{"falcon"}, STAGES(st_falcon), 0},
    {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, STAGES(st_gpt4o), 0},
    {{"granite-embed-multi-97m"}, STAGES(st_gpt4o), SM_PRE_IGNORE_MERGES},
    {{"tekken"}, STAGES(st_tekken), SM_PRE_IGNORE_MERGES | SM_PRE_ADD_BOS},
    {{"tiny_aya", "cohere2moe"}, STAGES(st_tiny_aya), 0},
    {{"minicpm5"}, STAGES(st_minicpm5), SM_PRE_IGNORE_MERGES},
    {{"seed-coder"}, STAGES(st_seed_coder), 0},
    {{"bailingmoe", "bailingmoe2", "llada-moe"}, STAGES(st_bailingmoe), 0},
    {{"ufakzeka"}, STAGES(st_ufakzeka), 0},
    {{"laguna"}, STAGES(st_laguna), 0},
    {{"jais-2"}, STAGES(st_jais2), 0},
    {{"youtu"}, STAGES(st_youtu), SM_PRE_IGNORE_MERGES},
    {{"kimi-k2"}, STAGES(st_kimi_k2), 0},
    {{"exaone-moe"}, STAGES(st_exaone_moe), 0},
    {{"spark2_5"}, STAGES(st_spark), 0},
    {{"afmoe"}, STAGES(st_afmoe), 0},
    {{"superbpe"}, STAGES(st_superbpe), 0},
    {{"bloom", "gpt3-finnish", "poro-chat"}, STAGES(st_bloom), 0},
    {{"viking"}, STAGES(st_viking), 0},
    {{"chameleon"}, STAGES(st_chameleon), SM_PRE_ADD_BOS},
};
/* clang-format on */

/* The regexes, which the test holds the scanners against, are interpreted, not compiled by
 * PCRE2's JIT: that would map executable memory into the host. A regex that backtracks more than
 * this over one piece is given up. */
#define MATCH_LIMIT 20000000U
#define HEAP_LIMIT_KIB (256U * 1024)

struct sm_pre {
    const pre_def *def;
    uint8_t set[SM_MAX_STAGES][128]; /* ASCII members of the stages' sets */
    pcre2_code *code[SM_MAX_STAGES]; /* NULL: the scanner does it */
    bool needs_match;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
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

static void *regex_alloc(PCRE2_SIZE size, void *mem) {
    return sm_alloc(mem, size);
}

static void regex_release(void *ptr, void *mem) {
    sm_free(mem, ptr);
}

static void fill_set(uint8_t *members, const char_set *set) {
    for (uint32_t c = 0; c < 128; c++)
        members[c] = (sm_char_ascii[c] & set->classes) != 0;
    for (const char *a = set->ascii; *a; a++)
        members[(uint8_t)*a] = 1;
}

static sm_status compile(sm_pre *pre, sm_mem *mem, uint32_t i, sm_error *error) {
    if (!pre->memory) {
        pre->memory = pcre2_general_context_create(regex_alloc, regex_release, mem);
        pre->limits = pre->memory ? pcre2_match_context_create(pre->memory) : NULL;
        if (!pre->limits)
            return sm_fail(error, SM_ERR_NOMEM, "out of memory");
        pcre2_set_match_limit(pre->limits, MATCH_LIMIT);
        pcre2_set_heap_limit(pre->limits, HEAP_LIMIT_KIB);
    }
    pcre2_compile_context *context = pcre2_compile_context_create(pre->memory);
    if (!context)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    int code;
    PCRE2_SIZE at;
    pre->code[i] =
        pcre2_compile((PCRE2_SPTR)pre->def->stages[i].regex, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE, &code, &at, context);
    pcre2_compile_context_free(context);
    if (pre->code[i])
        return SM_OK;
    if (code == PCRE2_ERROR_NOMEMORY || code == 121) /* 121: no memory while compiling */
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    return sm_fail(error, SM_ERR_UNSUPPORTED, "pre-tokenizer %s: PCRE2 error %d at %zu",
                   pre->def->names[0], code, (size_t)at);
}

sm_status sm_pre_new(sm_pre **out, sm_mem *mem, const char *name, uint64_t length, bool interpret,
                     uint32_t *flags, sm_error *error) {
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
    for (uint32_t i = 0; i < def->n_stages; i++) {
        const stage *rules = &def->stages[i];
        if (rules->set)
            fill_set(pre->set[i], rules->set);
        if (!interpret || !*rules->regex)
            continue;
        sm_status status = compile(pre, mem, i, error);
        if (status) {
            sm_pre_free(pre, mem);
            return status;
        }
        pre->needs_match = true;
    }
    *flags = def->flags;
    *out = pre;
    return SM_OK;
}

void sm_pre_free(sm_pre *pre, sm_mem *mem) {
    if (!pre)
        return;
    for (uint32_t i = 0; i < SM_MAX_STAGES; i++)
        pcre2_code_free(pre->code[i]);
    pcre2_match_context_free(pre->limits);
    pcre2_general_context_free(pre->memory);
    sm_free(mem, pre);
}

sm_status sm_split_init(sm_split *split, const sm_pre *pre, sm_error *error) {
    memset(split, 0, sizeof *split);
    split->pre = pre;
    if (pre->needs_match) {
        split->match = pcre2_match_data_create(1, pre->memory);
        split->limits = pcre2_match_context_copy(pre->limits);
        if (!split->match || !split->limits) {
            sm_split_done(split);
            return sm_fail(error, SM_ERR_NOMEM, "out of memory");
        }
    }
    return SM_OK;
}

void sm_split_done(sm_split *split) {
    pcre2_match_data_free(split->match);
    pcre2_match_context_free(split->limits);
    split->match = split->limits = NULL;
}

void sm_split_start(sm_split *split, const uint8_t *text, uint64_t length, sm_pace *pace) {
    split->text = text;
    split->length = length;
    split->pace = pace ? pace : &split->idle;
    memset(split->end, 0, sizeof split->end);
    memset(split->match_end, 0, sizeof split->match_end);
}

#define WINDOW (1U << 18) /* bytes searched at once */

static int match(sm_split *split, uint32_t level, uint64_t base, uint64_t limit, uint64_t from,
                 uint32_t options) {
    return pcre2_match(split->pre->code[level], split->text + base, (size_t)(limit - base),
                       (size_t)(from - base), PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | options,
                       split->match, split->limits);
}

/* The first match in text[base..limit) from `from` on, as pcre2_match. It looks for places where
 * one begins in a window at a time; what comes to a window's end is matched by itself. */
static int search(sm_split *split, uint32_t level, uint64_t base, uint64_t limit, uint64_t from) {
    int found = PCRE2_ERROR_NOMATCH;
    while (from < limit && found == PCRE2_ERROR_NOMATCH) {
        uint64_t end = limit;
        if (limit - from > WINDOW)
            for (end = from + WINDOW; (split->text[end] & 0xC0) == 0x80;)
                end--;
        found = match(split, level, base, end, from, end < limit ? PCRE2_PARTIAL_HARD : 0);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH && found != PCRE2_ERROR_PARTIAL)
            break;
        const uint64_t at =
            found == PCRE2_ERROR_NOMATCH ? end : base + pcre2_get_ovector_pointer(split->match)[0];
        if (!sm_pace_step(split->pace, at - from + 1))
            break;
        from = at;
        if (found == PCRE2_ERROR_PARTIAL) {
            found = match(split, level, base, limit, from, PCRE2_ANCHORED);
            uint32_t code;
            from += sm_utf8_decode(split->text + from, limit - from, &code);
        }
    }
    return found;
}

/* End of the piece at `from` of text[base..limit) by the regex of a stage. */
static sm_status regex_piece(sm_split *split, uint32_t level, uint64_t base, uint64_t limit,
                             uint64_t from, uint64_t *end, sm_error *error) {
    const sm_pre *pre = split->pre;
    if (from < split->match_end[level]) { /* the gap is done, its match comes next */
        *end = split->match_end[level];
        return SM_OK;
    }
    int found = search(split, level, base, limit, from);
    if (split->pace->stopped)
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled");
    if (found == PCRE2_ERROR_NOMATCH) {
        *end = limit;
        return SM_OK;
    }
    if (found == PCRE2_ERROR_NOMEMORY)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    if (found < 0)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "the text is too complex for pre-tokenizer %s (PCRE2 error %d)",
                       pre->def->names[0], found);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(split->match);
    split->match_end[level] = base + at[1];
    *end = base + (base + at[0] > from ? at[0] : at[1]);
    return SM_OK;
}

/* sm_split_next where there is one stage, which most have, and a scanner for it. */
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
    if (def->n_stages == 1 && !split->pre->code[0])
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
        uint64_t limit = level ? split->end[level - 1] : split->length, stop = limit;
        if (split->pre->code[level]) {
            sm_status status = regex_piece(split, level, base, limit, from, &stop, error);
            if (status)
                return status;
        } else {
            uint64_t memo = split->match_end[level] > base ? split->match_end[level] - base : 0;
            stop = base + sm_scan(&def->stages[level], split->pre->set[level], split->text + base,
                                  limit - base, from - base, &memo, split->pace);
            split->match_end[level] = base + memo;
        }
        split->begin[level] = from;
        split->end[level] = stop;
    }
    if (split->pace->stopped)
        return sm_fail(error, SM_ERR_CANCELLED, "cancelled");
    *end = split->end[last];
    return SM_OK;
}
