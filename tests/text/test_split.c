/* Pre-tokenizers: each hand-written scanner against the regex it stands for, on random
 * text, on text made to be awkward, and on the corpora where they are at hand. */
#include "text/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* Blocks whose classes have not changed for many Unicode versions: the scanners ask
 * utf8proc, the regexes PCRE2, and the two may know different versions. */
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

typedef struct splitter {
    sm_pre *pre;
    sm_split split;
} splitter;

static void open_splitter(splitter *s, sm_mem *mem, const char *name, bool interpret) {
    uint32_t flags;
    sm_error error;
    assert_int_equal(sm_pre_new(&s->pre, mem, name, strlen(name), interpret, &flags, &error),
                     SM_OK);
    assert_int_equal(sm_split_init(&s->split, s->pre, &error), SM_OK);
}

static void close_splitter(splitter *s, sm_mem *mem) {
    sm_split_done(&s->split);
    sm_pre_free(s->pre, mem);
}

static void show(const char *name, const char *text, size_t length, uint64_t at) {
    print_error("%s differs from its regex at byte %llu of:", name, (unsigned long long)at);
    for (size_t i = 0; i < length; i++)
        print_error(" %02X", (uint8_t)text[i]);
    print_error("\n");
}

/* Both split the text alike, in pieces that are not empty and end at its end. */
static void compare(splitter *a, splitter *b, const char *name, const char *text, size_t length) {
    sm_error error;
    uint64_t begin_a, end_a = 0, begin_b, end_b, before = 0;
    sm_split_start(&a->split, (const uint8_t *)text, length, NULL);
    sm_split_start(&b->split, (const uint8_t *)text, length, NULL);
    do {
        assert_int_equal(sm_split_next(&a->split, &begin_a, &end_a, &error), SM_OK);
        assert_int_equal(sm_split_next(&b->split, &begin_b, &end_b, &error), SM_OK);
        assert_int_equal(begin_a, before);
        if (begin_a != begin_b || end_a != end_b)
            show(name, text, length < 400 ? length : 400, begin_a);
        assert_int_equal(begin_a, begin_b);
        assert_int_equal(end_a, end_b);
        assert_true(begin_a == length ? end_a == length : end_a > begin_a);
        before = end_a;
    } while (begin_a < length);
}

static void test_scanners_equal_regexes(void **state) {
    (void)state;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    static char text[64 * 1024];
    uint32_t n = 0;
    for (const char *name; (name = sm_pre_name(n)); n++) {
        splitter scanner, regex;
        open_splitter(&scanner, &mem, name, false);
        open_splitter(&regex, &mem, name, true);
        uint64_t seed = n; /* aliases of one pattern thus see different texts */
        for (uint32_t round = 0; round < 400; round++) {
            size_t length = 0;
            for (uint32_t k = below(&seed, 12); k > 0; k--)
                length += add_piece(text + length, &seed);
            compare(&scanner, &regex, name, text, length);
        }
        close_splitter(&scanner, &mem);
        close_splitter(&regex, &mem);
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
        splitter scanner, regex;
        open_splitter(&scanner, &mem, names[i], false);
        open_splitter(&regex, &mem, names[i], true);
        compare(&scanner, &regex, names[i], text, size);
        close_splitter(&scanner, &mem);
        close_splitter(&regex, &mem);
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
    static const char *const patterns[] = {"x",    " ",   "1",     "A", "\xC3\xA9",
                                           "a b ", ",\n", "\t \n", "."};
    for (uint32_t n = 0; sm_pre_name(n); n++) {
        splitter scanner;
        open_splitter(&scanner, &mem, sm_pre_name(n), false);
        for (size_t p = n % 3; p < sizeof patterns / sizeof *patterns; p += 3) {
            size_t width = strlen(patterns[p]), length = 0;
            for (; length + width < size; length += width)
                memcpy(text + length, patterns[p], width);
            text[length++] = 'z';
            sm_split_start(&scanner.split, (const uint8_t *)text, length, NULL);
            uint64_t begin, end;
            sm_error error;
            do
                assert_int_equal(sm_split_next(&scanner.split, &begin, &end, &error), SM_OK);
            while (begin < length);
        }
        close_splitter(&scanner, &mem);
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
            splitter s;
            open_splitter(&s, &mem, sm_pre_name(i), false);
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
                sm_split_start(&s.split, (const uint8_t *)text, length, &pace);
                do
                    status = sm_split_next(&s.split, &begin, &end, NULL);
                while (!status && begin < length && sm_pace_step(&pace, end - begin));
                if (run)
                    assert_true(status == SM_ERR_CANCELLED || pace.stopped);
                else if (status || j.asked < 3)
                    fail_msg("%s, \"%.8s\": %d after %u questions", sm_pre_name(i), units[u],
                             status, (unsigned)j.asked);
                asked = j.asked;
            }
            close_splitter(&s, &mem);
        }
    }
    free(text);
}

static void check_pieces(const char *name, const char *text, const char *expected) {
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    splitter s;
    open_splitter(&s, &mem, name, false);
    char out[256] = "";
    size_t n = 0, length = strlen(text);
    uint64_t begin, end;
    sm_split_start(&s.split, (const uint8_t *)text, length, NULL);
    while (sm_split_next(&s.split, &begin, &end, NULL) == SM_OK && begin < length) {
        if (n)
            out[n++] = '|';
        memcpy(out + n, text + begin, (size_t)(end - begin));
        n += (size_t)(end - begin);
    }
    assert_string_equal(out, expected);
    close_splitter(&s, &mem);
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
    assert_int_equal(sm_pre_new(&pre, &mem, "no-such", 7, false, &flags, &error),
                     SM_ERR_UNSUPPORTED);
    assert_null(pre);
    assert_non_null(strstr(error.message, "no-such"));
    assert_int_equal(sm_pre_new(&pre, &mem, "", 0, false, &flags, &error), SM_OK);
    sm_pre_free(pre, &mem);
    assert_int_equal(sm_pre_new(&pre, &mem, "llama-bpe", 9, false, &flags, &error), SM_OK);
    assert_int_equal(flags, SM_PRE_IGNORE_MERGES | SM_PRE_ADD_BOS);
    sm_pre_free(pre, &mem);
    for (uint32_t n = 0; sm_pre_name(n); n++) { /* fits the info struct, names one pattern */
        assert_true(strlen(sm_pre_name(n)) < 64);
        for (uint32_t k = 0; k < n; k++)
            assert_string_not_equal(sm_pre_name(k), sm_pre_name(n));
    }
    assert_int_equal(mem.in_use, 0);
}

/* The n-th allocation fails, for every n: an error, nothing leaked. */
static void test_no_memory(void **state) {
    (void)state;
    static const char *const names[] = {"kimi-k2", "chameleon", "gpt-2"};
    const char *text = "IMGIMGAZ  12 words, here\n";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (uint64_t n = 1;; n++) {
            fail_alloc failing = {.fail_at = n};
            sm_allocator hook = fail_allocator(&failing);
            sm_mem mem;
            sm_pre *pre;
            sm_split split;
            uint32_t flags;
            sm_error error;
            assert_int_equal(sm_mem_init(&mem, &hook, 0, NULL), SM_OK);
            sm_status status =
                sm_pre_new(&pre, &mem, names[i], strlen(names[i]), false, &flags, &error);
            if (!status) {
                status = sm_split_init(&split, pre, &error);
                uint64_t begin = 0, end;
                if (!status)
                    sm_split_start(&split, (const uint8_t *)text, strlen(text), NULL);
                while (!status && begin < strlen(text))
                    status = sm_split_next(&split, &begin, &end, &error);
                sm_split_done(&split);
                sm_pre_free(pre, &mem);
            }
            assert_int_equal(failing.live_blocks, 0);
            if (failing.calls < n) { /* it was not reached */
                assert_int_equal(status, SM_OK);
                break;
            }
            assert_int_equal(status, SM_ERR_NOMEM);
        }
    }
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
