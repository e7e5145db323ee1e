/* patterns.h - the regexes that pre-tokenizers are made of, as those of the models' tokenizer.json
 * files. They are the specification: the library has scanners (scan.c) that do what they say and no
 * regex. The stages that several pre-tokenizers have stand here too; pretokenizers.inc has the
 * others, and says what STAGE is. */
#ifndef SM_TEXT_PATTERNS_H
#define SM_TEXT_PATTERNS_H

/* White_Space, for use in a class: PCRE2's \s has U+180E besides, which is none
 * since Unicode 6.3. */
#define W "\\t-\\r\\x{85}\\p{Z}"
#define GAPS "[" W "]+(?![^" W "])|[" W "]+"
#define LINE_ENDS "[" W "]*[\\r\\n]+"
#define SUFFIX "(?:'[sS\\x{17F}]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
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
#define NONE(low, high)

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
/* Youtu's sets, no two of which share a character: signs, Bopomofo, Kana and Han, Hangul */
#define YOUTU(S, B, K, H)                                                                      \
    S(2014, 2014) S(2018, 2019) S(201C, 201D) S(2026, 2026) S(3001, 303F) K(3040, 30FF)        \
    B(3105, 312F) H(3131, 318E) K(4E00, 9FA5) H(AC00, D7A3) S(FE30, FE4F) S(FF01, FF01)        \
    S(FF0C, FF0C) S(FF1A, FF1B)
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

#define IS_HAN "[" HAN(AS_REGEX) "]"
#define NO_HAN(class) "(?:(?!" IS_HAN ")" class ")"
/* groups of three counted from the right end of a run, where `behind` does not follow it */
#define GROUPS_REGEX(digit, behind) digit "{1,3}(?=(?:" digit "{3})*+(?!" behind "))"

/* ---- stages ---------------------------------------------------------------------------------- */

#define GPT2 STAGE(GPT2_REGEX, .op = STAGE_GPT2)
#define NUMBER_EACH STAGE("\\p{N}", .op = STAGE_SET, .max = 1, .set = &set_numbers)
#define NUMBER_3 STAGE("\\p{N}{1,3}", .op = STAGE_SET, .max = 3, .set = &set_numbers)
#define NUMBER_RUN STAGE("\\p{N}+", .op = STAGE_SET, .set = &set_numbers)
#define TRIPLE STAGE("[0-9][0-9][0-9]", .op = STAGE_TRIPLE)
#define LINE_END_EACH STAGE("[\\r\\n]", .op = STAGE_SET, .max = 1, .set = &set_line_ends)
#define LINES STAGE("[^\\n]+|[\\n]+", .op = STAGE_LINES)
#define CJK_RUN                                                                                \
    STAGE("[" DEEPSEEK_CJK(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_deepseek_cjk)
#define KANA_HAN_RUN STAGE("[" KANA_HAN(AS_REGEX) "]+", .op = STAGE_SET, .set = &set_kana_han)
#define SCRIPT STAGE(SCRIPT_REGEX("[\\r\\n]*", LINE_ENDS), .op = STAGE_SCRIPT)
#define PARTS                                                                                  \
    STAGE(" ?[^(" W "|.,!?" PART_ENDS(AS_REGEX) ")]+", .op = STAGE_PARTS, .set = &set_part_ends)
#define LLAMA3                                                                                 \
    STAGE(WORDS_REGEX(SUFFIX "|", "\\p{N}{1,3}"), .op = STAGE_WORDS, .max = 3,                 \
          .contractions = true)
#define QWEN2                                                                                  \
    STAGE(WORDS_REGEX(SUFFIX "|", "\\p{N}"), .op = STAGE_WORDS, .max = 1, .contractions = true)
#define GPT4O                                                                                  \
    STAGE(CASED_REGEX(SUFFIX "?", "\\p{N}{1,3}", "[\\r\\n/]*"), .op = STAGE_CASED, .max = 3, \
          .contractions = true, .slash = true)

/* clang-format on */

#endif
