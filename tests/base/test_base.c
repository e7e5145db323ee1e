/* Memory, files and messages of lib/base. read, write, fsync and renameat are linked
 * through the wrappers below (--wrap), which fail or fall short on demand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utf8proc.h>

#include "base/base.h"
#include "support.h"

/* ---- system calls that misbehave --------------------------------------------------- */

static struct {
    size_t most;      /* bytes a read or write moves at most; 0: all */
    bool interrupt;   /* every second call is interrupted */
    int fail;         /* errno of the failing call */
    unsigned fail_at; /* which call fails, counted from 1; 0: none */
    bool end_early;   /* the failing read reports the end of the file */
    unsigned calls;
    bool renamed; /* a rename has succeeded */
} plan;

ssize_t __real_pread64(int fd, void *data, size_t size, off_t offset);
ssize_t __real_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);

/* True if this call fails, errno being set. */
static bool misbehave(void) {
    plan.calls++;
    if (plan.interrupt && plan.calls % 2) {
        errno = EINTR;
        return true;
    }
    if (plan.calls == plan.fail_at) {
        errno = plan.fail;
        return true;
    }
    return false;
}

static size_t shortened(size_t size) {
    return plan.most && plan.most < size ? plan.most : size;
}

ssize_t __wrap_pread64(int fd, void *data, size_t size, off_t offset) {
    if (misbehave())
        return plan.end_early ? 0 : -1;
    return __real_pread64(fd, data, shortened(size), offset);
}

ssize_t __wrap_write(int fd, const void *data, size_t size) {
    if (misbehave())
        return -1;
    return __real_write(fd, data, shortened(size));
}

int __wrap_fsync(int fd) {
    return misbehave() ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to) {
    bool interrupt = plan.interrupt; /* rename is not interrupted by signals */
    plan.interrupt = false;
    bool fails = misbehave();
    plan.interrupt = interrupt;
    if (fails)
        return -1;
    plan.renamed = true;
    return __real_renameat(from_fd, from, to_fd, to);
}

static int calm(void **state) {
    (void)state;
    memset(&plan, 0, sizeof plan);
    return 0;
}

/* ---- messages ------------------------------------------------------------------------ */

static void expect_format(const char *expected, size_t length, const char *text) {
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
}

static void format_test(void **state) {
    (void)state;
    char out[200];
#define EXPECT(expected, ...) expect_format(expected, sm_format(out, sizeof out, __VA_ARGS__), out)
    EXPECT("plain", "plain");
    EXPECT("a b c", "%s %c %s", "a", 'b', "c");
    EXPECT("abc", "%.*s", 3, "abcdef");
    EXPECT("ab", "%.*s", 10, "ab");
    EXPECT("", "%.*s", 0, "ab");
    EXPECT("100%", "%u%%", 100u);
    EXPECT("-1 0 2147483647 -2147483648", "%d %d %d %d", -1, 0, INT32_MAX, INT32_MIN);
    EXPECT("18446744073709551615", "%llu", (unsigned long long)UINT64_MAX);
    EXPECT("-9223372036854775808", "%lld", (long long)INT64_MIN);
    EXPECT("7 -7", "%lu %ld", 7ul, -7l);
    EXPECT("12345", "%zu", (size_t)12345);
    const char *volatile null = NULL;
    EXPECT("(null)", "%s", null);
    EXPECT("2.000001 1.05", "%g %g", 2.000001, 1.05);
    EXPECT("0 1 -1.5 0.25", "%g %g %g %g", 0.0, 1.0, -1.5, 0.25);
    EXPECT("1000000 123456789", "%g %g", 1e6, 123456789.0);
    EXPECT("1e20 1.5e-7", "%g %g", 1e20, 1.5e-7);
    volatile double zero = 0;
    EXPECT("inf -inf nan", "%g %g %g", 1 / zero, -1 / zero, zero / zero);
#undef EXPECT
}

static void format_truncates_test(void **state) {
    (void)state;
    char out[8];
    memset(out, 'x', sizeof out);
    assert_int_equal(sm_format(out, 4, "%s", "abcdef"), 6);
    assert_memory_equal(out, "abc\0xxxx", 8);
    assert_int_equal(sm_format(out, 1, "%u", 123u), 3);
    assert_memory_equal(out, "\0bc\0", 4);
    assert_int_equal(sm_format(NULL, 0, "%u", 123u), 3);
}

static void fail_test(void **state) {
    (void)state;
    sm_error error = {0};
    assert_int_equal(sm_fail(&error, SM_ERR_IO, "%s: %d", "x", 5), SM_ERR_IO);
    assert_int_equal(error.code, SM_ERR_IO);
    assert_string_equal(error.message, "x: 5");
    assert_int_equal(sm_fail(NULL, SM_ERR_FORMAT, "%s", "unheard"), SM_ERR_FORMAT);
    char longer[2 * sizeof error.message];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = 0;
    sm_fail(&error, SM_ERR_IO, "%s%s", longer, longer);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
    sm_fail(&error, SM_ERR_IO, "%s is too long", longer); /* which is not lost */
    assert_string_equal(error.message + strlen(error.message) - 18, "aaa... is too long");
}

/* Every text in a message is shown escaped, wherever it comes from. */
static void escape_test(void **state) {
    (void)state;
    static const struct {
        const char *text, *shown;
        size_t length; /* 0: that of the text */
    } cases[] = {
        {"plain text, 100% \\ \"", "plain text, 100% \\ \"", 0},
        {"\033]0;title\a\033[31m", "\\x1b]0;title\\x07\\x1b[31m", 0},
        {"a\tb\nc\rd\x7f", "a\\tb\\nc\\rd\\x7f", 0},
        {"zero \0 inside", "zero \\x00 inside", 13},
        {"gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x98\x80", 0},
        {"\xc2\x9b"
         "31m \xc2\x85",
         "\\u{9b}31m \\u{85}", 0},
        {"\xe2\x80\xae"
         "fdp.\xe2\x80\xac \xe2\x81\xa6",
         "\\u{202e}fdp.\\u{202c} \\u{2066}", 0},
        {"\xe2\x80\x8b\xef\xbb\xbf\xc2\xad\xe2\x80\xa8\xe2\x80\xa9",
         "\\u{200b}\\u{feff}\\u{ad}\\u{2028}\\u{2029}", 0},
        {"\xf3\xa0\x81\x81 \xef\xbf\xbf \xee\x80\x80", "\\u{e0041} \\u{ffff} \\u{e000}", 0},
        {"\x80 \xc3 \xc0\xaf \xed\xa0\x80 \xf5", "\\x80 \\xc3 \\xc0\\xaf \\xed\\xa0\\x80 \\xf5", 0},
        {"\xe2\x82", "\\xe2\\x82", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t length = cases[i].length ? cases[i].length : strlen(cases[i].text);
        const size_t shown = strlen(cases[i].shown);
        char out[100], again[100];
        assert_int_equal(sm_text_escape(cases[i].text, length, out, sizeof out), shown);
        assert_string_equal(out, cases[i].shown);
        assert_int_equal(sm_text_escape(out, shown, again, sizeof again), shown);
        assert_string_equal(again, out);
        sm_error error;
        sm_fail(&error, SM_ERR_FORMAT, "key '%.*s'", (int)length, cases[i].text);
        if (!memchr(cases[i].text, 0, length) && length != 2) {
            assert_memory_equal(error.message + 5, cases[i].shown, shown);
            assert_string_equal(error.message + 5 + shown, "'");
        }
    }
    assert_int_equal(sm_text_escape("a\n", 2, NULL, 0), 3);
    sm_error cut;
    const char *days = "\xe6\x97\xa5\xe6\x97\xa5";
    static const char *const ends[] = {"''", "'...'", "'...'", "'\xe6\x97\xa5'",
                                       "'\xe6\x97\xa5...'"};
    for (int limit = 0; limit < 5; limit++) {
        sm_fail(&cut, SM_ERR_FORMAT, "'%.*s'", limit, days);
        assert_string_equal(cut.message, ends[limit]);
    }
    assert_int_equal(sm_text_escape(NULL, 5, NULL, 5), 0);
    sm_error error;
    sm_fail(&error, SM_ERR_FORMAT, "'%c' and '%c'", '\033', 0x9b - 256);
    assert_string_equal(error.message, "'\\x1b' and '\\x9b'");
    char name[20]; /* names keep their bytes */
    sm_format(name, sizeof name, "%s.weight", "\033\xff");
    assert_string_equal(name, "\033\xff.weight");
}

/* What is escaped is what Unicode says cannot be seen, for every code point. */
static void escape_all_test(void **state) {
    (void)state;
    for (uint32_t code = 1; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code < 0xE000)
            continue;
        char text[4], out[16];
        const uint32_t n = sm_utf8_encode(code, (uint8_t *)text);
        const uint64_t length = sm_text_escape(text, n, out, sizeof out);
        const bool kept = length == n && !memcmp(out, text, n);
        const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
        const bool noncharacter = (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
        const bool unseen = category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
                            category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP ||
                            category == UTF8PROC_CATEGORY_CO || noncharacter ||
                            utf8proc_get_property((utf8proc_int32_t)code)->ignorable;
        if (unseen == kept && (unseen || category != UTF8PROC_CATEGORY_CN))
            fail_msg("U+%04X is %s", code, kept ? "kept" : "escaped");
        for (uint64_t i = 0; !kept && i < length; i++)
            assert_in_range(out[i], 0x20, 0x7e);
    }
}

/* Combining class, compatibility decomposition, and what it is composed of. */
static void expect_normal_forms(uint32_t code) {
    const utf8proc_int32_t c = (utf8proc_int32_t)code;
    utf8proc_int32_t whole[32];
    uint32_t parts[SM_MOST_COMPATIBLE];
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char(c, whole, 32, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &boundary);
    if (sm_decompose_compatible(code, parts) != n ||
        memcmp(parts, whole, (size_t)n * sizeof *parts) != 0)
        fail_msg("U+%04X is decomposed otherwise for compatibility", code);
    if (sm_combining_class(code) != utf8proc_get_property(c)->combining_class)
        fail_msg("U+%04X has another combining class", code);
    const utf8proc_ssize_t m = utf8proc_decompose_char(c, whole, 32, UTF8PROC_DECOMPOSE, &boundary);
    utf8proc_int32_t again[32];
    memcpy(again, whole, sizeof again);
    const utf8proc_ssize_t k =
        utf8proc_normalize_utf32(again, m, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (m == 2 &&
        sm_compose((uint32_t)whole[0], (uint32_t)whole[1]) != (k == 1 ? (uint32_t)again[0] : 0))
        fail_msg("U+%04X is composed otherwise", code);
}

/* All code points, as utf8proc of the tables' version knows them; and numbers that are none. */
static void unicode_test(void **state) {
    (void)state;
    const bool same = !strcmp(utf8proc_unicode_version(), "15.0.0");
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        const utf8proc_int32_t c = (utf8proc_int32_t)code;
        const uint32_t category = (uint32_t)utf8proc_category(c);
        if (!same && (!category || sm_category_of(code) == SM_CATEGORY_CN))
            continue; /* assigned by one of two versions */
        if (sm_category_of(code) != category ||
            sm_lower_of(code) != (uint32_t)utf8proc_tolower(c) ||
            sm_upper_of(code) != (uint32_t)utf8proc_toupper(c) ||
            sm_title_of(code) != (uint32_t)utf8proc_totitle(c))
            fail_msg("U+%04X", code);
        if (code >= 0xD800 && code < 0xE000)
            continue;
        utf8proc_int32_t whole[32];
        uint32_t parts[SM_MOST_PARTS];
        int boundary = 0;
        const utf8proc_ssize_t n =
            utf8proc_decompose_char(c, whole, 32, UTF8PROC_DECOMPOSE, &boundary);
        if (sm_decompose(code, parts) != n || memcmp(parts, whole, (size_t)n * sizeof *parts) != 0)
            fail_msg("U+%04X is decomposed otherwise", code);
        expect_normal_forms(code);
    }
    assert_int_equal(sm_compose(0x1100, 0x1161), 0xAC00);
    assert_int_equal(sm_compose(0xAC00, 0x11A8), 0xAC01);
    assert_int_equal(sm_compose(0xAC01, 0x11A8), 0);
    assert_int_equal(sm_script_of('a'), sm_script_named("latin", 5));
    assert_int_equal(sm_script_of(0x4E00), sm_script_named("Han", 3));
    assert_int_equal(sm_script_of(0x10FFFF), SM_SCRIPT_UNKNOWN);
    assert_int_equal(sm_script_of('1'), SM_SCRIPT_COMMON);
    assert_int_equal(sm_script_named("old-persian", 11), sm_script_named("Old_Persian", 11));
    assert_int_equal(sm_script_named("Lat", 3), -1);
    assert_int_equal(sm_script_named("", 0), -1);
    assert_int_equal(sm_category_of(0x110000), SM_CATEGORY_CN);
    assert_int_equal(sm_category_of(UINT32_MAX), SM_CATEGORY_CN);
    assert_int_equal(sm_lower_of(UINT32_MAX), UINT32_MAX);
}

static bool is_whole_utf8(const char *text) {
    for (size_t i = 0, length = strlen(text); i < length;) {
        uint32_t code;
        i += sm_utf8_decode((const uint8_t *)text + i, length - i, &code);
        if (code == UINT32_MAX)
            return false;
    }
    return true;
}

/* Wherever a message or a buffer ends, its last character is whole, and an escape too. */
static void escape_cut_test(void **state) {
    (void)state;
    static const char *const units[] = {"a",    "\xc3\xbc",    "\xe6\x97\xa5", "\xf0\x9f\x98\x80",
                                        "\033", "\xe2\x80\xae"};
    static const char *const shown[] = {"a",     "\xc3\xbc", "\xe6\x97\xa5", "\xf0\x9f\x98\x80",
                                        "\\x1b", "\\u{202e}"};
    char text[2000], out[600];
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        const size_t width = strlen(shown[u]);
        text[0] = 0;
        for (int i = 0; i < 300; i++)
            strcat(text, units[u]);
        for (size_t capacity = 1; capacity < 40; capacity++) {
            memset(out, 'x', sizeof out);
            assert_int_equal(sm_text_escape(text, strlen(text), out, capacity), 300 * width);
            assert_int_equal(strlen(out), (capacity - 1) / width * width);
            for (size_t i = 0; i < strlen(out); i += width)
                assert_memory_equal(out + i, shown[u], width);
            for (size_t i = capacity; i < 60; i++)
                assert_int_equal(out[i], 'x');
        }
        for (int before = 0; before < 12; before++) { /* at every place of a unit */
            sm_error error;
            memset(&error, 'x', sizeof error);
            sm_fail(&error, SM_ERR_FORMAT, "%.*s'%s' and '%s'", before, "............", text, text);
            assert_true(is_whole_utf8(error.message));
            assert_true(strlen(error.message) >= sizeof error.message - 9);
            /* what stands behind a long text is not lost */
            if (width * 300 > 400)
                assert_non_null(strstr(error.message, "...' and '"));
        }
    }
}

static void keep_line(void *user, int32_t severity, const char *message) {
    assert_int_equal(severity, SM_LOG_WARN);
    snprintf(user, 600, "%s", message);
}

static void log_test(void **state) {
    (void)state;
    char line[600] = "";
    sm_log(NULL, NULL, SM_LOG_WARN, "%s", "unheard");
    sm_log(keep_line, line, SM_LOG_WARN, "loaded %s: %u", "\033[2J", 5U);
    assert_string_equal(line, "loaded \\x1b[2J: 5");
}

static void status_text_test(void **state) {
    (void)state;
    for (int a = 0; a >= SM_ERR_SYSTEM; a--) {
        assert_true(strlen(sm_status_text(a)) > 0);
        assert_string_not_equal(sm_status_text(a), sm_status_text(1));
        for (int b = 0; b > a; b--)
            assert_string_not_equal(sm_status_text(a), sm_status_text(b));
    }
    assert_string_equal(sm_status_text(1), sm_status_text(-1000));
    int major, minor, patch;
    assert_int_equal(sscanf(sm_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    assert_int_equal(major, SM_VERSION_MAJOR);
    assert_int_equal(minor, SM_VERSION_MINOR);
    assert_int_equal(patch, SM_VERSION_PATCH);
}

/* ---- memory -------------------------------------------------------------------------- */

static void memory_test(void **state) {
    (void)state;
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    static const uint64_t sizes[] = {1, 15, 63, 64, 65, 4096, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *p = sm_alloc(&mem, sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % SM_ALIGN, 0);
        memset(p, 0xff, (size_t)sizes[i]);
        assert_true(mem.in_use >= sizes[i]);
        assert_true(mem.peak >= mem.in_use);
        sm_free(&mem, p);
        assert_int_equal(mem.in_use, 0);
        p = sm_alloc_zero(&mem, sizes[i]);
        for (uint64_t k = 0; k < sizes[i]; k++)
            assert_int_equal(p[k], 0);
        sm_free(&mem, p);
    }
    assert_null(sm_alloc(&mem, 0));
    assert_null(sm_alloc_zero(&mem, 0));
    assert_null(sm_alloc(&mem, UINT64_MAX));
    assert_null(sm_alloc(&mem, UINT64_MAX - 64));
    assert_null(sm_alloc(&mem, (uint64_t)1 << 62));
    assert_null(sm_alloc_array(&mem, (uint64_t)1 << 33, (uint64_t)1 << 33));
    assert_null(sm_alloc_array(&mem, 0, 8));
    sm_free(&mem, NULL);
    assert_int_equal(mem.in_use, 0);
}

static void realloc_test(void **state) {
    (void)state;
    sm_mem mem;
    sm_mem_init(&mem, NULL, 4096, NULL);
    char *p = sm_realloc(&mem, NULL, 4);
    memcpy(p, "abc", 4);
    p = sm_realloc(&mem, p, 1000);
    assert_string_equal(p, "abc");
    p = sm_realloc(&mem, p, 2);
    assert_memory_equal(p, "ab", 2);
    assert_null(sm_realloc(&mem, p, 5000)); /* past the limit: the old block stays */
    assert_memory_equal(p, "ab", 2);
    sm_free(&mem, p);
    assert_int_equal(mem.in_use, 0);
    char *copy = sm_strdup(&mem, "hello world", 5);
    assert_string_equal(copy, "hello");
    sm_free(&mem, copy);
    copy = sm_strdup(&mem, "", 0);
    assert_string_equal(copy, "");
    sm_free(&mem, copy);
    assert_null(sm_strdup(&mem, "x", UINT64_MAX));
}

static void limit_test(void **state) {
    (void)state;
    sm_mem mem;
    sm_mem_init(&mem, NULL, 1000, NULL);
    uint64_t most = 0;
    for (uint64_t size = 1; size <= 1000; size++) {
        void *p = sm_alloc(&mem, size);
        if (p)
            most = size;
        sm_free(&mem, p);
    }
    assert_in_range(most, 800, 1000);
    void *p = sm_alloc(&mem, most);
    assert_int_equal(mem.in_use, 1000);
    assert_null(sm_alloc(&mem, 1));
    sm_free(&mem, p);
    assert_int_equal(mem.in_use, 0);
    assert_int_equal(mem.peak, 1000);
}

static void hook_test(void **state) {
    (void)state;
    fail_alloc counter = {.fail_at = 3};
    sm_allocator hook = fail_allocator(&counter);
    sm_error error = {0};
    sm_mem *mem;
    assert_int_equal(sm_mem_create(&mem, &hook, 0, &error), SM_OK);
    void *p = sm_alloc(mem, 100);
    assert_non_null(p);
    uint64_t before = mem->in_use;
    assert_null(sm_alloc(mem, 100)); /* the third */
    assert_int_equal(mem->in_use, before);
    sm_free(mem, p);
    sm_mem_destroy(mem);
    assert_int_equal(counter.live_blocks, 0);
    sm_mem_destroy(NULL);

    counter = (fail_alloc){.fail_at = 1};
    assert_int_equal(sm_mem_create(&mem, &hook, 0, &error), SM_ERR_NOMEM);
    assert_null(mem);
    hook.struct_size--;
    assert_int_equal(sm_mem_create(&mem, &hook, 0, &error), SM_ERR_ARGUMENT);
    hook.struct_size++;
    hook.release = NULL;
    assert_int_equal(sm_mem_create(&mem, &hook, 0, &error), SM_ERR_ARGUMENT);
}

/* The published values of XXH3 (64 bits, seed 0), on every machine; the same however parted. */
static void sum_test(void **state) {
    (void)state;
    sm_mem mem;
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_sum *sum = sm_sum_new(&mem);
    assert_true(sm_sum_value(sum) == 0x2d06800538d394c2u);
    sm_sum_add(sum, NULL, 0);
    sm_sum_add(sum, "abc", 3);
    assert_true(sm_sum_value(sum) == 0x78af5f94892f3950u);
    sm_free(&mem, sum);
    static uint8_t data[20000];
    uint64_t seed = 3, whole = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)test_random(&seed);
    for (size_t step = sizeof data; step; step /= 3) {
        sum = sm_sum_new(&mem);
        for (size_t at = 0; at < sizeof data; at += step)
            sm_sum_add(sum, data + at, step < sizeof data - at ? step : sizeof data - at);
        whole = whole ? whole : sm_sum_value(sum);
        assert_true(sm_sum_value(sum) == whole);
        sm_free(&mem, sum);
    }
    mem.limit = 1;
    assert_null(sm_sum_new(&mem));
    assert_int_equal(mem.in_use, 0);
}

/* ---- reading ------------------------------------------------------------------------- */

static sm_mem memory;

static void expect_open_fails(const char *path, const char *reason) {
    for (int map = 0; map < 2; map++) {
        sm_file file;
        sm_error error = {0};
        assert_int_equal(sm_file_open(&file, &memory, path, map, &error), SM_ERR_IO);
        assert_int_equal(error.code, SM_ERR_IO);
        assert_non_null(strstr(error.message, path));
        assert_non_null(strstr(error.message, reason));
        assert_null(file.data);
        assert_int_equal(memory.in_use, 0);
        sm_file_close(&file); /* harmless */
    }
}

static void open_test(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 300000};
    uint8_t *data = malloc(600000); /* twice the same */
    uint64_t seed = 1;
    for (size_t i = 0; i < 300000; i++)
        data[i] = data[i + 300000] = (uint8_t)test_random(&seed);
    const char *path = scratch_path("open");
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i / 2];
        bool map = i % 2;
        sm_file file;
        scratch_write(path, data, size);
        assert_int_equal(sm_file_open(&file, &memory, path, map, NULL), SM_OK);
        assert_int_equal(file.size, size);
        assert_int_equal(file.mapped, map && size);
        if (size)
            assert_memory_equal(file.data, data, size);
        /* released pages come back */
        if (size > 5000)
            sm_file_release(&file, file.data + 100, size - 200);
        sm_file_release(&file, file.data, size);
        sm_file_release(&file, file.data + size / 2, UINT64_MAX);
        sm_file_release(&file, data, 100); /* not in the file */
        assert_memory_equal(data, data + 300000, 300000);
        if (size)
            assert_memory_equal(file.data, data, size);
        sm_file_close(&file);
        assert_int_equal(memory.in_use, 0);
    }
    free(data);
}

static void open_fails_test(void **state) {
    (void)state;
    const char *file = scratch_path("plain");
    scratch_write(file, "x", 1);
    expect_open_fails(scratch_path("missing"), "no such file");
    expect_open_fails(scratch_path("."), "is a directory");
    expect_open_fails(scratch_path("plain/below"), "not a directory");
    expect_open_fails("", "no such file");
    expect_open_fails("/dev/null", "not a regular file");
    const char *fifo = scratch_path("fifo"); /* must not wait for a writer */
    assert_int_equal(mkfifo(fifo, 0600), 0);
    expect_open_fails(fifo, "not a regular file");
    if (geteuid() != 0) { /* root may read everything */
        const char *closed = scratch_path("closed");
        scratch_write(closed, "x", 1);
        chmod(closed, 0);
        expect_open_fails(closed, "permission denied");
    }
}

static void read_faults_test(void **state) {
    (void)state;
    const char *path = scratch_path("faults"), *text = "twenty bytes of text";
    sm_file file;
    sm_error error = {0};
    scratch_write(path, text, 20);

    plan.most = 3;
    plan.interrupt = true;
    assert_int_equal(sm_file_open(&file, &memory, path, false, &error), SM_OK);
    assert_memory_equal(file.data, text, 20);
    sm_file_close(&file);

    calm(NULL);
    plan.most = 3;
    plan.fail_at = 4;
    plan.fail = EIO;
    assert_int_equal(sm_file_open(&file, &memory, path, false, &error), SM_ERR_IO);
    assert_non_null(strstr(error.message, "device input/output error (errno 5)"));

    calm(NULL);
    plan.most = 3;
    plan.fail_at = 4;
    plan.end_early = true; /* the file shrank */
    assert_int_equal(sm_file_open(&file, &memory, path, false, &error), SM_ERR_IO);
    assert_non_null(strstr(error.message, "ended at byte 9 of 20"));

    calm(NULL);
    fail_alloc counter = {.fail_at = 1};
    sm_allocator hook = fail_allocator(&counter);
    sm_mem mem;
    sm_mem_init(&mem, &hook, 0, NULL);
    assert_int_equal(sm_file_open(&file, &mem, path, false, &error), SM_ERR_NOMEM);
    assert_int_equal(memory.in_use, 0);
}

/* ---- writing ------------------------------------------------------------------------- */

static void expect_content(const char *path, const void *data, size_t size) {
    size_t got;
    uint8_t *content = scratch_read(path, &got);
    assert_non_null(content);
    assert_int_equal(got, size);
    assert_memory_equal(content, data, size);
    free(content);
}

static void writer_test(void **state) {
    (void)state;
    const char *path = scratch_path("written");
    static uint8_t data[400000];
    uint64_t seed = 2;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)test_random(&seed);
    for (int round = 0; round < 3; round++) { /* new, then replaced; whole and interrupted */
        sm_file_writer *writer;
        sm_error error = {0};
        calm(NULL);
        plan.interrupt = round == 2;
        plan.most = round == 2 ? 1001 : 0;
        size_t files = scratch_count();
        assert_int_equal(sm_file_writer_open(&writer, &memory, path, &error), SM_OK);
        size_t size = sizeof data - 7 * (size_t)round, done = 0;
        for (size_t step = 1; done < size; step = step * 3 + 1) {
            size_t n = step < size - done ? step : size - done;
            assert_int_equal(sm_file_writer_position(writer), done);
            assert_int_equal(sm_file_write(writer, data + done, n, &error), SM_OK);
            done += n;
        }
        assert_int_equal(sm_file_write(writer, NULL, 0, &error), SM_OK);
        assert_int_equal(scratch_count(), files + 1); /* beside the old one, if any */
        assert_int_equal(sm_file_commit(writer, &error), SM_OK);
        calm(NULL);
        expect_content(path, data, size);
        assert_int_equal(scratch_count(), round == 0 ? files + 1 : files);
        assert_int_equal(memory.in_use, 0);
    }
}

static void abort_test(void **state) {
    (void)state;
    const char *path = scratch_path("aborted");
    scratch_write(path, "old", 3);
    size_t files = scratch_count();
    sm_file_writer *writer;
    assert_int_equal(sm_file_writer_open(&writer, &memory, path, NULL), SM_OK);
    sm_file_write(writer, "newer", 5, NULL);
    sm_file_abort(writer);
    sm_file_abort(NULL);
    expect_content(path, "old", 3);
    assert_int_equal(scratch_count(), files);
    assert_int_equal(memory.in_use, 0);
}

/* Every system call of a replacement fails in turn: the old file stays where it is reported,
 * nothing is left behind. */
static void writer_faults_test(void **state) {
    (void)state;
    const char *path = scratch_path("replaced");
    static uint8_t data[200000];
    unsigned failures = 0;
    for (unsigned n = 1;; n++) {
        scratch_write(path, "old", 3);
        size_t files = scratch_count();
        sm_file_writer *writer;
        sm_error error = {0};
        calm(NULL);
        plan.most = 30000;
        plan.fail_at = n;
        plan.fail = ENOSPC;
        assert_int_equal(sm_file_writer_open(&writer, &memory, path, &error), SM_OK);
        sm_status status = sm_file_write(writer, data, 100, &error);
        if (!status)
            status = sm_file_write(writer, data + 100, sizeof data - 100, &error);
        if (status)
            sm_file_abort(writer);
        else
            status = sm_file_commit(writer, &error);
        bool reached = plan.calls >= n, last = plan.calls == n && plan.renamed;
        calm(NULL);
        assert_int_equal(memory.in_use, 0);
        assert_int_equal(scratch_count(), files);
        if (!reached) {
            assert_int_equal(status, SM_OK);
            break;
        }
        failures++;
        /* the sync of the directory comes after the rename: the new file is there, and that is what
         * the status says */
        if (last) {
            assert_int_equal(status, SM_OK);
            expect_content(path, data, sizeof data);
            continue;
        }
        assert_int_equal(status, SM_ERR_IO);
        assert_non_null(strstr(error.message, path));
        assert_non_null(strstr(error.message, "no space left on device"));
        expect_content(path, "old", 3);
    }
    assert_in_range(failures, 10, 12); /* header, 7 pieces, fsync, rename, fsync */
}

static void writer_paths_test(void **state) {
    (void)state;
    sm_file_writer *writer;
    sm_error error = {0};
    struct {
        const char *path, *reason;
    } bad[] = {
        {"", ""},
        {scratch_path("dangling"), "no such file"},
        {scratch_path("no/where"), "no such file"},
        {scratch_path("plain/below"), "not a directory"},
        {scratch_path("slash/"), ""},
        {"/", "is a directory"},
        {"/proc", "is a directory"},
        {"", "no such file"},
        {"/dev/null", "not a regular file"},
    };
    scratch_write(scratch_path("plain"), "x", 1);
    char long_name[4096]; /* a name as long as may be leaves no room for the temporary's */
    snprintf(long_name, sizeof long_name, "%s", scratch_path("aaaaaaaaaa"));
    size_t end = strlen(long_name);
    memset(long_name + end, 'a', 240);
    long_name[end + 240] = 0;
    bad[0].path = long_name;
    bad[0].reason = "file name too long";
    assert_int_equal(symlink("nowhere", scratch_path("dangling")), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sm_file_writer_open(&writer, &memory, bad[i].path, &error), SM_ERR_IO);
        assert_null(writer);
        assert_non_null(strstr(error.message, bad[i].path));
        assert_non_null(strstr(error.message, bad[i].reason));
        assert_int_equal(memory.in_use, 0);
    }

    /* a symbolic link stays one; its file is replaced and keeps its permissions */
    const char *target = scratch_path("target"), *link = scratch_path("link");
    scratch_write(target, "old", 3);
    chmod(target, 0640);
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(sm_file_writer_open(&writer, &memory, link, &error), SM_OK);
    sm_file_write(writer, "newer", 5, NULL);
    assert_int_equal(sm_file_commit(writer, &error), SM_OK);
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(lstat(target, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(info.st_mode & 0777, 0640);
    expect_content(target, "newer", 5);

    /* a path without directory */
    char old_directory[4096];
    assert_non_null(getcwd(old_directory, sizeof old_directory));
    assert_int_equal(chdir(scratch_path(".")), 0);
    assert_int_equal(sm_file_writer_open(&writer, &memory, "bare", &error), SM_OK);
    assert_int_equal(chdir(old_directory), 0); /* does not matter any more */
    sm_file_write(writer, "bare", 4, NULL);
    assert_int_equal(sm_file_commit(writer, &error), SM_OK);
    expect_content(scratch_path("bare"), "bare", 4);
}

/* ---- temporaries of writers that are gone ------------------------------------------------ */

static sm_file_writer *begin_writing(const char *path, const char *text) {
    sm_file_writer *writer;
    sm_error error = {0};
    assert_int_equal(sm_file_writer_open(&writer, &memory, path, &error), SM_OK);
    assert_int_equal(sm_file_write(writer, text, strlen(text), &error), SM_OK);
    return writer;
}

static void write_file(const char *path, const char *text) {
    sm_error error = {0};
    assert_int_equal(sm_file_commit(begin_writing(path, text), &error), SM_OK);
    expect_content(path, text, strlen(text));
}

/* A process that writes the file, but for its end, and waits to be killed. */
static pid_t start_writer(const char *path) {
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sm_file_writer *writer;
        static char data[100000];
        if (sm_file_writer_open(&writer, &memory, path, NULL) != SM_OK ||
            sm_file_write(writer, data, sizeof data, NULL) != SM_OK ||
            __real_write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void kill_writer(pid_t child) {
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void killed_writer_test(void **state) {
    (void)state;
    const char *path = scratch_path("killed");
    size_t files = scratch_count();
    const pid_t one = start_writer(path), two = start_writer(path),
                other = start_writer(scratch_path("kille"));
    assert_int_equal(scratch_count(), files + 3);
    write_file(path, "first"); /* they live: theirs stay */
    assert_int_equal(scratch_count(), files + 4);
    kill_writer(one);
    write_file(path, "second");
    assert_int_equal(scratch_count(), files + 3);
    kill_writer(two);
    kill_writer(other);
    sm_file_abort(begin_writing(path, "third")); /* cleans up as well, what has this name */
    assert_int_equal(scratch_count(), files + 2);
    expect_content(path, "second", 6);
    write_file(scratch_path("kille"), "x");
    assert_int_equal(scratch_count(), files + 2);
}

/* A child that was forked has the writer's file open and could go on: its lock is alive. */
static void forked_writer_test(void **state) {
    (void)state;
    const char *path = scratch_path("forked");
    size_t files = scratch_count();
    sm_file_writer *writer = begin_writing(path, "from before the fork");
    const pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    write_file(path, "beside it");
    assert_int_equal(scratch_count(), files + 2);
    assert_int_equal(sm_file_commit(writer, NULL), SM_OK);
    expect_content(path, "from before the fork", 20);
    write_file(path, "after it");
    assert_int_equal(scratch_count(), files + 1);
    kill_writer(child);
}

/* Two at once, in one process: each has its own, and the last one counts. */
/* A child forked in the midst of writing shares the file: it neither adds to it nor takes its
 * name. */
static void writing_on_in_a_child_test(void **state) {
    (void)state;
    static char half[200000];
    const char *path = scratch_path("shared.bin");
    sm_mem mem;
    memset(half, 'a', sizeof half);
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    for (int how = 0; how < 3; how++) {
        sm_file_writer *w;
        int status = 0;
        size_t size;
        scratch_write(path, "old", 3);
        assert_int_equal(sm_file_writer_open(&w, &mem, path, NULL), SM_OK);
        assert_int_equal(sm_file_write(w, half, sizeof half, NULL), SM_OK);
        const pid_t child = fork();
        if (!child) {
            sm_error error = {0};
            if (how == 0)
                sm_file_abort(w);
            else if (how == 1)
                _exit(sm_file_write(w, half, sizeof half, &error) == SM_ERR_STATE &&
                              error.code == SM_ERR_STATE
                          ? 0
                          : 1);
            else
                _exit(sm_file_commit(w, &error) == SM_ERR_STATE ? 0 : 1);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(sm_file_write(w, "end", 3, NULL), SM_OK);
        assert_int_equal(sm_file_commit(w, NULL), SM_OK);
        uint8_t *got = scratch_read(path, &size);
        assert_int_equal(size, sizeof half + 3);
        assert_memory_equal(got, half, sizeof half);
        free(got);
    }
}

static void two_writers_test(void **state) {
    (void)state;
    const char *path = scratch_path("two");
    size_t files = scratch_count();
    sm_file_writer *a = begin_writing(path, "from a"), *b = begin_writing(path, "from b");
    assert_int_equal(scratch_count(), files + 2);
    assert_int_equal(sm_file_commit(b, NULL), SM_OK);
    expect_content(path, "from b", 6);
    sm_file_abort(begin_writing(path, "neither"));
    assert_int_equal(sm_file_commit(a, NULL), SM_OK);
    expect_content(path, "from a", 6);
    assert_int_equal(scratch_count(), files + 1);
    assert_int_equal(memory.in_use, 0);
}

/* What only looks like a temporary, or has another's name, stays. */
static void kept_names_test(void **state) {
    (void)state;
    static const char *const kept[] = {
        "name.tmp",      "name.1.tmp",       "name.1-.tmp",    "name.-1.tmp",   "name.1-0.tmp2",
        "name.x-0.tmp",  "name.1-0x.tmp",    "name1-0.tmp",    "names.1-0.tmp", "nam.1-0.tmp",
        ".name.1-0.tmp", "name.1-0.tmp.tmp", "name.1-0-0.tmp", "name. 1-0.tmp", "name.1-0.TMP",
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        scratch_write(scratch_path(kept[i]), "kept", 4);
    scratch_write(scratch_path("elsewhere"), "kept", 4);
    assert_int_equal(mkdir(scratch_path("name.2-0.tmp"), 0700), 0);
    assert_int_equal(symlink("elsewhere", scratch_path("name.3-0.tmp")), 0);
    assert_int_equal(mkfifo(scratch_path("name.4-0.tmp"), 0600), 0);
    scratch_write(scratch_path("name.12345678901234567890-99999999999.tmp"), "dead", 4);
    char own[64]; /* left by a process of the same number */
    snprintf(own, sizeof own, "name.%ld-0.tmp", (long)getpid());
    scratch_write(scratch_path(own), "dead", 4);
    size_t files = scratch_count();
    write_file(scratch_path("name"), "new");
    assert_int_equal(scratch_count(), files - 2 + 1);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        expect_content(scratch_path(kept[i]), "kept", 4);
        unlink(scratch_path(kept[i]));
    }
    expect_content(scratch_path("name.3-0.tmp"), "kept", 4);
    assert_int_equal(rmdir(scratch_path("name.2-0.tmp")), 0);
}

/* A temporary that goes away is not renamed to anything, nor is one that took its name. */
static void taken_away_test(void **state) {
    (void)state;
    const char *path = scratch_path("taken");
    char temporary[64];
    snprintf(temporary, sizeof temporary, "taken.%ld-0.tmp", (long)getpid());
    for (int again = 0; again < 2; again++) {
        sm_error error = {0};
        scratch_write(path, "old", 3);
        sm_file_writer *writer = begin_writing(path, "new");
        assert_int_equal(unlink(scratch_path(temporary)), 0);
        if (again)
            scratch_write(scratch_path(temporary), "another's", 9);
        assert_int_equal(sm_file_commit(writer, &error), SM_ERR_IO);
        assert_non_null(strstr(error.message, "taken away"));
        expect_content(path, "old", 3);
    }
    expect_content(scratch_path(temporary), "another's", 9);
}

#define CROWD 4
#define CROWD_ROUNDS 60
#define CROWD_SIZE 70000

/* Whole: bytes that are all the same. */
static void expect_uniform(const char *path) {
    size_t size;
    uint8_t *data = scratch_read(path, &size);
    assert_non_null(data);
    assert_int_equal(size, CROWD_SIZE);
    for (size_t i = 1; i < size; i++)
        assert_int_equal(data[i], data[0]);
    free(data);
}

/* Writers in several processes, some of them killed at any point: none spoils or removes what
 * another one writes, and the last one leaves the directory clean. */
static void crowd_test(void **state) {
    (void)state;
    const char *path = scratch_path("crowd");
    pid_t child[CROWD];
    size_t files = scratch_count();
    uint64_t seed = 7;
    scratch_write(path, "", 0);
    write_file(path, "");
    static char data[CROWD_SIZE];
    sm_file_writer *first = begin_writing(path, "");
    sm_file_write(first, data, sizeof data, NULL);
    assert_int_equal(sm_file_commit(first, NULL), SM_OK);
    for (int i = 0; i < CROWD; i++) {
        child[i] = fork();
        for (int round = 0; child[i] == 0; round++) { /* the first ones for ever, to be killed */
            sm_file_writer *writer;
            memset(data, 'a' + i, sizeof data);
            if (sm_file_writer_open(&writer, &memory, path, NULL) != SM_OK ||
                sm_file_write(writer, data, sizeof data, NULL) != SM_OK ||
                sm_file_commit(writer, NULL) != SM_OK)
                _exit(1);
            if (i >= CROWD / 2 && round == CROWD_ROUNDS)
                _exit(0);
        }
    }
    for (int round = 0; round < 20; round++) {
        expect_uniform(path);
        usleep((useconds_t)(test_random(&seed) % 3000));
        if (round % 10 == 9)
            kill_writer(child[round / 10]);
    }
    for (int i = CROWD / 2; i < CROWD; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0); /* no commit has failed */
    }
    expect_uniform(path);
    sm_file_abort(begin_writing(path, ""));
    assert_int_equal(scratch_count(), files + 1);
    expect_uniform(path);
}

/* Its number is a process's own in children and theirs, asked before the fork or not. */
static void process_test(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(sm_process_id(), (uint32_t)getpid());
        const pid_t child = fork();
        if (child == 0) {
            const bool own = sm_process_id() == (uint32_t)getpid();
            const pid_t next = own ? fork() : -1;
            if (next == 0)
                _exit(sm_process_id() == (uint32_t)getpid() ? 0 : 1);
            int status = 1;
            _exit(next > 0 && waitpid(next, &status, 0) == next && WIFEXITED(status) &&
                          WEXITSTATUS(status) == 0 && sm_process_id() == (uint32_t)getpid()
                      ? 0
                      : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(sm_process_id(), (uint32_t)getpid());
    }
}

static void writer_memory_test(void **state) {
    (void)state;
    const char *path = scratch_path("memory");
    for (int sticky = 0; sticky < 2; sticky++) {
        for (uint64_t n = 1;; n++) {
            fail_alloc counter = {.fail_at = n, .sticky = sticky};
            sm_allocator hook = fail_allocator(&counter);
            sm_mem mem;
            sm_mem_init(&mem, &hook, 0, NULL);
            sm_file_writer *writer;
            sm_error error = {0};
            size_t files = scratch_count();
            sm_status status = sm_file_writer_open(&writer, &mem, path, &error);
            if (!status) {
                sm_file_abort(writer);
                assert_true(counter.calls < n);
            } else {
                assert_int_equal(status, SM_ERR_NOMEM);
                assert_null(writer);
            }
            assert_int_equal(counter.live_blocks, 0);
            assert_int_equal(scratch_count(), files);
            if (!status)
                break;
        }
    }
}

/* ---- names ------------------------------------------------------------------------- */

static void names_test(void **state) {
    (void)state;
    static const char types[] = "F32, F16, Q4_K, Q4_K_M, Q8_0";
    static const struct {
        const char *names, *name;
        uint32_t place, nearest;
    } cases[] = {
        {types, "F16", 1, SM_NAME_NONE},
        {types, "q4_k_m", 3, SM_NAME_NONE},
        {types, "Q4_K", 2, SM_NAME_NONE},
        {types, "q4km", SM_NAME_NONE, 3}, /* nothing but the signs between letters */
        {types, "fp16", SM_NAME_NONE, 1},
        {types, "Q8-0", SM_NAME_NONE, 4},
        {types, "IQ1_S", SM_NAME_NONE, SM_NAME_NONE},
        {types, "", SM_NAME_NONE, SM_NAME_NONE},
        {types, "F", SM_NAME_NONE, SM_NAME_NONE},
        {"cosine|constant|wsd", "WSD", 2, SM_NAME_NONE},
        {"cosine|constant|wsd", "cosnie", SM_NAME_NONE, 0},  /* swapped */
        {"cosine|constant|wsd", "constat", SM_NAME_NONE, 1}, /* left out */
        {"cosine|constant|wsd", "const", SM_NAME_NONE, 1},   /* a beginning */
        {"cosine|constant|wsd", "linear", SM_NAME_NONE, SM_NAME_NONE},
        {"cosine", "cosine|", SM_NAME_NONE, 0}, /* a separator is no part of a name */
        {"", "x", SM_NAME_NONE, SM_NAME_NONE},
        {NULL, "x", SM_NAME_NONE, SM_NAME_NONE},
        {types, NULL, SM_NAME_NONE, SM_NAME_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t nearest = 77;
        assert_int_equal(sm_names_find(cases[i].names, cases[i].name, &nearest), cases[i].place);
        assert_int_equal(nearest, cases[i].nearest);
        assert_int_equal(sm_names_find(cases[i].names, cases[i].name, NULL), cases[i].place);
    }
    char longest[400], list[900];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    snprintf(list, sizeof list, "b|%s|c", longest);
    assert_int_equal(sm_names_find(list, longest, NULL), 1);
    longest[300] = 0; /* too long to be compared by its slips, and nothing else happens */
    assert_int_equal(sm_names_find(list, longest, NULL), SM_NAME_NONE);
    uint64_t length;
    assert_memory_equal(sm_names_get(types, 3, &length), "Q4_K_M", 6);
    assert_int_equal(length, 6);
    assert_null(sm_names_get(types, 5, &length));
    assert_int_equal(length, 0);
    assert_null(sm_names_get(types, SM_NAME_NONE, NULL));
    sm_error error;
    assert_int_equal(sm_fail_name(&error, "type", "q4km", types), SM_ERR_ARGUMENT);
    assert_string_equal(error.message, "type 'q4km' is not known: did you mean Q4_K_M? (these are: "
                                       "F32, F16, Q4_K, Q4_K_M, Q8_0)");
    sm_fail_name(&error, "type", "x", "a, b");
    assert_string_equal(error.message, "type 'x' is not known (these are: a, b)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_test),
        cmocka_unit_test(format_truncates_test),
        cmocka_unit_test(fail_test),
        cmocka_unit_test(escape_test),
        cmocka_unit_test(escape_all_test),
        cmocka_unit_test(unicode_test),
        cmocka_unit_test(escape_cut_test),
        cmocka_unit_test(log_test),
        cmocka_unit_test(status_text_test),
        cmocka_unit_test(memory_test),
        cmocka_unit_test(realloc_test),
        cmocka_unit_test(limit_test),
        cmocka_unit_test(hook_test),
        cmocka_unit_test(sum_test),
        cmocka_unit_test_setup(open_test, calm),
        cmocka_unit_test_setup(open_fails_test, calm),
        cmocka_unit_test_setup(read_faults_test, calm),
        cmocka_unit_test_setup(writer_test, calm),
        cmocka_unit_test_setup(abort_test, calm),
        cmocka_unit_test_setup(writer_faults_test, calm),
        cmocka_unit_test_setup(writer_paths_test, calm),
        cmocka_unit_test_setup(writer_memory_test, calm),
        cmocka_unit_test_setup(killed_writer_test, calm),
        cmocka_unit_test_setup(forked_writer_test, calm),
        cmocka_unit_test_setup(writing_on_in_a_child_test, calm),
        cmocka_unit_test_setup(two_writers_test, calm),
        cmocka_unit_test_setup(kept_names_test, calm),
        cmocka_unit_test_setup(taken_away_test, calm),
        cmocka_unit_test_setup(crowd_test, calm),
        cmocka_unit_test(names_test),
        cmocka_unit_test(process_test),
    };
    sm_mem_init(&memory, NULL, 0, NULL);
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
