/* Pre-tokenizers: each hand-written scanner against the regex it stands for, on random
 * text, on text made to be awkward, and on the corpora where they are at hand. */
#include "text/internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"
#include "text/patterns.h"

/* Blocks whose classes have not changed for many Unicode versions: the scanners ask
 * lib/base, the regexes PCRE2, and the two may know different versions. */
static const uint32_t blocks[][2] = {
    {0x20, 0x7E},       {0x20, 0x7E},       {0x20, 0x7E},       {0x41, 0x7A},
    {0x30, 0x39},       {0x09, 0x0D},       {0x00, 0x1F},       {0x80, 0xFF},
    {0x100, 0x24F},     {0x250, 0x2AF},     {0x300, 0x36F},     {0x391, 0x3A1},
    {0x3B1, 0x3C9},     {0x410, 0x44F},     {0x5D0, 0x5EA},     {0x620, 0x64A},
    {0x660, 0x669},     {0x905, 0x939},     {0x93E, 0x94D},     {0xE01, 0xE3A},
    {0x1780, 0x17D3},   {0x1E00, 0x1EF9},   {0x1F00, 0x1F15},   {0x2000, 0x200A},
    {0x2010, 0x2029},   {0x2030, 0x205E},   {0x2070, 0x2071},   {0x20A0, 0x20B0},
    {0x2100, 0x214D},   {0x2150, 0x2182},   {0x2190, 0x23FF},   {0x2460, 0x24FF},
    {0x2580, 0x25FF},   {0x2C00, 0x2C2E},   {0x3000, 0x3029},   {0x3041, 0x3096},
    {0x30A1, 0x30FF},   {0x3105, 0x312C},   {0x3131, 0x318E},   {0x3400, 0x3480},
    {0x4E00, 0x9FA5},   {0x2E80, 0x2E99},   {0x3005, 0x3007},   {0xA640, 0xA66D},
    {0xAC00, 0xD7A3},   {0xE000, 0xE010},   {0xF900, 0xFA0D},   {0xFB00, 0xFB06},
    {0xFE30, 0xFE4F},   {0xFF01, 0xFF5E},   {0xFF66, 0xFF9D},   {0x10400, 0x1044F},
    {0x1D400, 0x1D454}, {0x1D7CE, 0x1D7FF}, {0x1F600, 0x1F640}, {0x20000, 0x20010},
    {0x85, 0x85},       {0xA0, 0xA0},       {0x1680, 0x1680},   {0x180E, 0x180E},
    {0x202F, 0x202F},   {0x205F, 0x205F},   {0xFEFF, 0xFEFF},   {0xFFFD, 0xFFFD}};

static const char *const words[] = {" ",
                                    "  ",
                                    "   ",
                                    "\n",
                                    "\n\n",
                                    "\r\n",
                                    "\t",
                                    " \n",
                                    "\n ",
                                    "'s",
                                    "'S",
                                    "'\xC5\xBF",
                                    "'ll",
                                    "'LL",
                                    "'Re",
                                    "'t",
                                    "'",
                                    "don't",
                                    "HTTPServer",
                                    "camelCase",
                                    "UPPER",
                                    "x",
                                    "1",
                                    "12",
                                    "123",
                                    "1234567",
                                    "3.14",
                                    "_",
                                    "...",
                                    "!?",
                                    "/",
                                    "//\n",
                                    "<|im_end|>",
                                    "<sentinel:12>",
                                    "IMGIMGABZ",
                                    "<sentinel:>",
                                    "<sentinel:7",
                                    "<<sentinel:7>>",
                                    "IMGIMGIMGABCDZ",
                                    "IMGIMGABCDEZ",
                                    "IMGIMGJZ",
                                    "a b c",
                                    "\xE2\x80\xA6",
                                    "\xE3\x80\x82",
                                    "\xE3\x84\x85\xEA\xB0\x80",
                                    "|",
                                    "\xD8\x8C",
                                    "\xDB\x94",
                                    "\xE0\xA5\xA4",
                                    "\xC3\x89\x41",
                                    "\xE3\x80\x80",
                                    "\xE2\x80\xA9",
                                    "(",
                                    "$",
                                    "`",
                                    " (",
                                    " $",
                                    " 7",
                                    " \xC3\xA9",
                                    "\xC2\xA0z",
                                    "\xCC\x81"};

static uint32_t below(uint64_t *seed, uint32_t n) {
    return (uint32_t)(test_random(seed) % n);
}

static size_t add_piece(char *out, uint64_t *seed) {
    uint32_t what = below(seed, 8);
    if (what < 4) {
        const char *word = words[below(seed, sizeof words / sizeof *words)];
        memcpy(out, word, strlen(word));
        return strlen(word);
    }
    const uint32_t *block = blocks[below(seed, sizeof blocks / sizeof *blocks)];
    uint32_t count = what == 7 && below(seed, 20) == 0 ? 600 : 1 + below(seed, 5);
    bool same = below(seed, 3) == 0;
    uint32_t code = block[0] + below(seed, block[1] - block[0] + 1);
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        n += sm_utf8_encode(code, (uint8_t *)out + n);
        if (!same)
            code = block[0] + below(seed, block[1] - block[0] + 1);
    }
    return n;
}

static sm_pre *open_pre(sm_mem *mem, const char *name) {
    sm_pre *pre;
    uint32_t flags;
    sm_error error;
    assert_int_equal(sm_pre_new(&pre, mem, name, strlen(name), &flags, &error), SM_OK);
    return pre;
}

/* ---- what the regexes say -------------------------------------------------------------------- */

#define SM_NAMES(...) \
    { __VA_ARGS__ }
#define STAGE(regex, ...) regex
#define SM_PRE(flags, names, ...) {names, {__VA_ARGS__}},

static const struct pattern {
    const char *names[12], *regexes[SM_MAX_STAGES];
} patterns[] = {
#include "text/pretokenizers.inc"
};

typedef struct regexes {
    pcre2_code *code[SM_MAX_STAGES];
    uint32_t n;
    pcre2_match_data *match;
} regexes;

static const struct pattern *pattern_of(const char *name) {
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        for (size_t k = 0; k < 12 && patterns[i].names[k]; k++)
            if (strcmp(patterns[i].names[k], name) == 0)
                return &patterns[i];
    fail_msg("%s has no regexes", name);
    return NULL;
}

static regexes open_regexes(const char *name) {
    const struct pattern *pattern = pattern_of(name);
    regexes r = {.match = pcre2_match_data_create(1, NULL)};
    for (; r.n < SM_MAX_STAGES && pattern->regexes[r.n]; r.n++) {
        int error;
        PCRE2_SIZE at;
        assert_true(*pattern->regexes[r.n] != '\0');
        r.code[r.n] =
            pcre2_compile((PCRE2_SPTR)pattern->regexes[r.n], PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE, &error, &at, NULL);
        if (!r.code[r.n])
            fail_msg("%s, regex %u: error %d at %zu", name, (unsigned)r.n, error, (size_t)at);
    }
    assert_true(r.n > 0);
    return r;
}

static void close_regexes(regexes *r) {
    for (uint32_t i = 0; i < r->n; i++)
        pcre2_code_free(r->code[i]);
    pcre2_match_data_free(r->match);
}

/* Ends of the pieces, matches and what lies between them, of text[begin..end): how many there
 * are */
static size_t pieces_of(const regexes *r, uint32_t level, const char *text, uint64_t begin,
                        uint64_t end, uint64_t *ends) {
    size_t n = 0;
    for (uint64_t from = begin; from < end;) {
        const int found = pcre2_match(r->code[level], (PCRE2_SPTR)text + begin,
                                      (size_t)(end - begin), (size_t)(from - begin),
                                      PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, r->match, NULL);
        assert_true(found > 0 || found == PCRE2_ERROR_NOMATCH);
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->match);
        if (found > 0 && begin + at[0] > from)
            ends[n++] = begin + at[0];
        ends[n++] = from = found > 0 ? begin + at[1] : end;
    }
    return n;
}

/* Every regex splits the pieces of the one before. Ends of the last ones, to be freed. */
static uint64_t *split_by_regexes(const regexes *r, const char *text, size_t length) {
    uint64_t *ends = calloc(length + 1, sizeof *ends), *next = calloc(length + 1, sizeof *next);
    size_t n = length > 0;
    ends[0] = length;
    for (uint32_t level = 0; level < r->n; level++) {
        size_t n_next = 0;
        for (size_t i = 0; i < n; i++)
            n_next += pieces_of(r, level, text, i ? ends[i - 1] : 0, ends[i], next + n_next);
        uint64_t *swap = ends;
        ends = next;
        next = swap;
        n = n_next;
    }
    free(next);
    return ends;
}

static void show(const char *name, const char *text, size_t length, uint64_t at) {
    print_error("%s differs from its regex at byte %llu of:", name, (unsigned long long)at);
    for (size_t i = 0; i < length; i++)
        print_error(" %02X", (uint8_t)text[i]);
    print_error("\n");
}

/* The scanner's pieces, which cover the text, are the regexes'. */
static void compare(const sm_pre *pre, const regexes *r, const char *name, const char *text,
                    size_t length) {
    uint64_t *ends = split_by_regexes(r, text, length), begin = 0, end = 0, before = 0;
    sm_error error;
    sm_split split;
    sm_split_start(&split, pre, (const uint8_t *)text, length, NULL);
    for (size_t i = 0; before < length; i++, before = end) {
        assert_int_equal(sm_split_next(&split, &begin, &end, &error), SM_OK);
        assert_int_equal(begin, before);
        if (end != ends[i])
            show(name, text, length < 400 ? length : 400, begin);
        assert_int_equal(end, ends[i]);
        assert_true(end > begin);
    }
    assert_int_equal(sm_split_next(&split, &begin, &end, &error), SM_OK);
    assert_int_equal(begin, length);
    assert_int_equal(end, length);
    free(ends);
}

static void test_scanners_equal_regexes(void **state) {
    (void)state;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    static char text[64 * 1024];
    uint32_t n = 0;
    for (const char *name; (name = sm_pre_name(n)); n++) {
        sm_pre *pre = open_pre(&mem, name);
        regexes r = open_regexes(name);
        uint64_t seed = n; /* aliases of one pattern thus see different texts */
        for (uint32_t round = 0; round < 400; round++) {
            size_t length = 0;
            for (uint32_t k = below(&seed, 12); k > 0; k--)
                length += add_piece(text + length, &seed);
            compare(pre, &r, name, text, length);
        }
        close_regexes(&r);
        sm_pre_free(pre, &mem);
    }
    assert_true(n > 60);
    assert_int_equal(mem.in_use, 0);
}

static void test_corpora(void **state) {
    (void)state;
    const char *path = data_path("corpora/wiki.test.raw");
    if (!path) {
        print_message("skipped: no test data\n");
        skip();
    }
    size_t size;
    char *text = (char *)scratch_read(path, &size);
    size = size < 300000 ? size : 300000;
    while (((uint8_t)text[size - 1] & 0xC0) == 0x80 || (uint8_t)text[size - 1] >= 0x80)
        size--;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    static const char *const names[] = {
        "gpt-2",        "llama-bpe",  "qwen2",       "default",        "falcon",   "starcoder",
        "deepseek-llm", "gpt-4o",     "deepseek-v3", "deepseek-coder", "tekken",   "qwen35",
        "youtu",        "exaone-moe", "spark2_5",    "viking",         "chameleon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sm_pre *pre = open_pre(&mem, names[i]);
        regexes r = open_regexes(names[i]);
        compare(pre, &r, names[i], text, size);
        close_regexes(&r);
        sm_pre_free(pre, &mem);
    }
    free(text);
}

/* Runs that would take quadratic time in a careless scanner. */
static void test_long_runs(void **state) {
    (void)state;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    const size_t size = 300000;
    char *text = malloc(size);
    static const char *const units[] = {"x",    " ",   "1",     "A", "\xC3\xA9",
                                        "a b ", ",\n", "\t \n", "."};
    for (uint32_t n = 0; sm_pre_name(n); n++) {
        sm_pre *pre = open_pre(&mem, sm_pre_name(n));
        for (size_t p = n % 3; p < sizeof units / sizeof *units; p += 3) {
            size_t width = strlen(units[p]), length = 0;
            for (; length + width < size; length += width)
                memcpy(text + length, units[p], width);
            text[length++] = 'z';
            sm_split split;
            sm_split_start(&split, pre, (const uint8_t *)text, length, NULL);
            uint64_t begin, end;
            sm_error error;
            do
                assert_int_equal(sm_split_next(&split, &begin, &end, &error), SM_OK);
            while (begin < length);
        }
        sm_pre_free(pre, &mem);
    }
    free(text);
}

typedef struct judge {
    uint64_t asked, yes_at;
} judge;

static int32_t decide(void *user) {
    judge *j = user;
    return ++j->asked == j->yes_at;
}

/* Asked often enough in one long piece, or search, of every pre-tokenizer, and in runs that end
 * shortly before they are counted; a yes ends it. */
static void test_cancel(void **state) {
    (void)state;
    enum { LENGTH = 1 << 19, RUN = 8000 };
    static char wide[RUN + 3], digits[RUN + 2], spaces[RUN + 2];
    memset(wide, 'a', RUN);
    memcpy(wide + RUN, "\xC3\xA9", 2);
    memset(digits, '7', RUN);
    digits[RUN] = 'a';
    memset(spaces, ' ', RUN);
    spaces[RUN] = 'a';
    const char *const units[] = {
        "a",        "A",  " ",    "\n",  "7", "!", "\xE4\xB8\xAD", "\xEA\xB0\x80",
        "\xCC\x81", wide, digits, spaces};
    char *text = malloc(LENGTH);
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    for (uint32_t i = 0; sm_pre_name(i); i++) {
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            sm_pre *pre = open_pre(&mem, sm_pre_name(i));
            sm_split split;
            for (size_t k = 0; k < LENGTH; k++)
                text[k] = units[u][k % strlen(units[u])];
            if (strcmp(units[u], "\xCC\x81") == 0)
                memcpy(text, "aa", 2); /* marks behind a letter */
            const uint64_t length = LENGTH / strlen(units[u]) * strlen(units[u]);
            uint64_t begin = 0, end, asked = 0;
            for (uint32_t run = 0; run < 2; run++) {
                judge j = {0, run ? asked / 2 + 1 : 0};
                sm_pace pace = {.cancel = decide, .user = &j};
                sm_status status;
                sm_split_start(&split, pre, (const uint8_t *)text, length, &pace);
                do
                    status = sm_split_next(&split, &begin, &end, NULL);
                while (!status && begin < length && sm_pace_step(&pace, end - begin));
                if (run)
                    assert_true(status == SM_ERR_CANCELLED || pace.stopped);
                else if (status || j.asked < 3)
                    fail_msg("%s, \"%.8s\": %d after %u questions", sm_pre_name(i), units[u],
                             status, (unsigned)j.asked);
                asked = j.asked;
            }
            sm_pre_free(pre, &mem);
        }
    }
    free(text);
}

static void check_pieces(const char *name, const char *text, const char *expected) {
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    sm_pre *pre = open_pre(&mem, name);
    sm_split split;
    char out[256] = "";
    size_t n = 0, length = strlen(text);
    uint64_t begin, end;
    sm_split_start(&split, pre, (const uint8_t *)text, length, NULL);
    while (sm_split_next(&split, &begin, &end, NULL) == SM_OK && begin < length) {
        if (n)
            out[n++] = '|';
        memcpy(out + n, text + begin, (size_t)(end - begin));
        n += (size_t)(end - begin);
    }
    assert_string_equal(out, expected);
    sm_pre_free(pre, &mem);
}

/* By hand, so that a mistake in the patterns themselves shows. */
static void test_examples(void **state) {
    (void)state;
    check_pieces("gpt-2", "I'll  say 'S 12345!!\n\n x", "I|'ll| | say| '|S| 12345|!!|\n\n| x");
    check_pieces("llama-bpe", "I'LL (go) 12345\n\n  x", "I|'LL| (|go|)| |123|45|\n\n| | x");
    check_pieces("qwen2", "a 12\r\n", "a| |1|2|\r\n");
    check_pieces("starcoder", "x42 y", "x|4|2| y");
    check_pieces("falcon", "a-b, 12345", "a|-|b|,| |123|45");
    check_pieces("gpt-4o", "HTTPServer isn't HELLO a/\nb", "HTTPServer| isn't| HELLO| a|/\n|b");
    check_pieces("tekken", "camelCase 12", "camel|Case| |1|2");
    check_pieces("deepseek-v3", "abc 1234 \xE4\xBD\xA0\xE5\xA5\xBD,x",
                 "abc| |123|4| |\xE4\xBD\xA0\xE5\xA5\xBD|,x");
    check_pieces("superbpe", "ab 1234567", "ab |1|234|567");
    check_pieces("afmoe", "12345", "12|345");
    check_pieces("bloom", "one, two", "one|,| two");
    check_pieces("bloom", "a (b  c)d", "a| (|b| | c|)|d");
    check_pieces("viking", "a 12, b", "a| |1|2|,| b");
    check_pieces("spark2_5", "ab!?\n\n c.de 1234", "ab|!?|\n|\n| c|.de| |1|2|3|4");
    check_pieces("youtu", "a\xEA\xB0\x80\xE2\x80\xA6\xE3\x84\x85\xE4\xB8\x80 B1",
                 "a|\xEA\xB0\x80|\xE2\x80\xA6|\xE3\x84\x85|\xE4\xB8\x80| B|1");
    check_pieces("chameleon", "x<sentinel:12>IMGIMGABZ   y\t7-a",
                 "x|<|sentinel|:|1|2|>|IMGIMGABZ|  | y|\t|7|-|a");
    check_pieces("chameleon", "<sentinel:>IMGIMGIMGAZ IMGIMGABCDEZ",
                 "<|sentinel|:|>|IMG|IMGIMGAZ| IMGIMGABCDEZ");
    check_pieces("exaone-moe",
                 "a\xCC\x81"
                 "b cd  e\xCC\x81\xCC\x81 \n\t\n  x 1\t",
                 "a\xCC\x81"
                 "b cd| | e\xCC\x81\xCC\x81| \n\t\n| | x| |1|\t");
}

static void test_names(void **state) {
    (void)state;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    sm_pre *pre;
    uint32_t flags;
    sm_error error;
    assert_int_equal(sm_pre_new(&pre, &mem, "no-such", 7, &flags, &error), SM_ERR_UNSUPPORTED);
    assert_null(pre);
    assert_non_null(strstr(error.message, "no-such"));
    assert_int_equal(sm_pre_new(&pre, &mem, "", 0, &flags, &error), SM_OK);
    sm_pre_free(pre, &mem);
    assert_int_equal(sm_pre_new(&pre, &mem, "llama-bpe", 9, &flags, &error), SM_OK);
    assert_int_equal(flags, SM_PRE_IGNORE_MERGES | SM_PRE_ADD_BOS);
    sm_pre_free(pre, &mem);
    for (uint32_t n = 0; sm_pre_name(n); n++) { /* fits the info struct, names one pattern */
        assert_true(strlen(sm_pre_name(n)) < 64);
        for (uint32_t k = 0; k < n; k++)
            assert_string_not_equal(sm_pre_name(k), sm_pre_name(n));
    }
    assert_int_equal(mem.in_use, 0);
}

static void test_no_memory(void **state) {
    (void)state;
    fail_alloc failing = {.fail_at = 1};
    sm_allocator hook = fail_allocator(&failing);
    sm_mem mem;
    sm_pre *pre;
    uint32_t flags;
    sm_error error;
    assert_int_equal(sm_mem_init(&mem, &hook, 0, NULL), SM_OK);
    assert_int_equal(sm_pre_new(&pre, &mem, "gpt-2", 5, &flags, &error), SM_ERR_NOMEM);
    assert_null(pre);
    assert_int_equal(failing.live_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples), cmocka_unit_test(test_scanners_equal_regexes),
        cmocka_unit_test(test_corpora),  cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
