/* The JSON reader: what is JSON and what is not, what it finds in it, numbers, memory, cancelling,
 * a small stack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "support.h"

static sm_mem mem;
static const sm_json_source source = {.name = "test.json", .line = 7};

static sm_status read_text(sm_json **json, const char *text, uint64_t length, sm_error *error) {
    return sm_json_read(json, &mem, text, length, &source, NULL, error);
}

static void test_valid(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "0",
        "-0",
        "1e5",
        "1E+5",
        "1.5e-5",
        "true",
        "false",
        "null",
        "\"\"",
        " [ ] ",
        "\t\r\n{ \"a\" : [ 1 , { } ] }\n",
        "[1,2,3]",
        "{\"\":{\"\":{\"\":[]}}}",
        "12345678901234567890123456789012345678901234567890",
        "1e400",
        "-1e-400",
        "\"\\u0000\"",
        "{\"\\u0000\":\"\\u0000\"}",
        "\"\\ud83d\\ude00\"",
        "\"\\uFFFE\\uffff\"",
        "\"\x7F\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "{\"a\":1,\"a\":2}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sm_json *json;
        sm_error error = {0};
        if (read_text(&json, texts[i], strlen(texts[i]), &error))
            fail_msg("%s: %s", texts[i], error.message);
        sm_json_free(json);
    }
    assert_int_equal(mem.in_use, 0);
}

static void test_invalid(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "it ends, expected a value"},
        {" \n", ":8: not valid JSON: it ends"},
        {"[", "it ends, expected a value"},
        {"[1", "it ends, expected , or ] after an item"},
        {"[1,]", "expected a value"},
        {"[,1]", "expected a value"},
        {"[1 2]", "expected , or ] after an item"},
        {"[1}", "expected , or ]"},
        {"{\"a\":1]", "expected , or } after a member"},
        {"{\"a\":1,}", "expected a name in quotes"},
        {"{a:1}", "expected a name in quotes"},
        {"{\"a\" 1}", "expected : after a name"},
        {"{\"a\":}", "expected a value"},
        {"{\"a\"", "it ends, expected : after a name"},
        {"]", "expected a value"},
        {"01", "something follows"},
        {"-", "expected a digit"},
        {"-a", "expected a digit"},
        {"1.", "expected a digit"},
        {"1.e1", "expected a digit"},
        {".5", "expected a value"},
        {"+1", "expected a value"},
        {"1e", "expected a digit"},
        {"1e+", "expected a digit"},
        {"0x10", "something follows"},
        {"NaN", "expected a value"},
        {"Infinity", "expected a value"},
        {"-Infinity", "expected a digit"},
        {"nul", "expected a value"},
        {"True", "expected a value"},
        {"'a'", "expected a value"},
        {"\"a", "it ends, expected a quote"},
        {"\"a\\", "it ends, expected a quote"},
        {"\"a\\\"", "it ends, expected a quote"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12\"", "unknown escape"},
        {"\"\\u12g4\"", "unknown escape"},
        {"\"\\ud83d\"", "surrogate"},
        {"\"\\ud83d\\n\"", "surrogate"},
        {"\"\\ud83d\\u0041\"", "surrogate"},
        {"\"\\ude00\"", "surrogate"},
        {"\"\\ude00\\ud83d\"", "surrogate"},
        {"\"a\nb\"", "control character"},
        {"\"a\tb\"", "control character"},
        {"\"\\\n\"", "unknown escape"},
        {"\"\xff\"", "not UTF-8"},
        {"\"\xc0\x80\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "not UTF-8"},
        {"\"\xc3\"", "not UTF-8"},
        {"\"\\\xc3\xa9\"", "not UTF-8"},
        {"\xEF\xBB\xBF{}", "expected a value"},
        {"[1]\n\n x", ":9: not valid JSON: something follows"},
        {"[1,\n2,\n\n3 4]", ":10: not valid JSON: expected , or ]"},
        {"{} {}", "something follows"},
        {"/**/{}", "expected a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_json *json;
        sm_error error = {0};
        assert_int_equal(read_text(&json, cases[i].text, strlen(cases[i].text), &error),
                         SM_ERR_FORMAT);
        assert_null(json);
        if (!strstr(error.message, cases[i].part) || strncmp(error.message, "test.json:", 10) != 0)
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].text, error.message, cases[i].part);
        /* a zero byte is no white space */
        assert_int_equal(read_text(&json, "[1]\0", 4, &error), SM_ERR_FORMAT);
    }
    assert_int_equal(mem.in_use, 0);
}

static void expect_text(const sm_json *json, sm_json_value v, const char *want, uint64_t n) {
    uint64_t length;
    const char *text = sm_json_text(json, v, &length);
    assert_non_null(text);
    assert_int_equal(length, n);
    assert_memory_equal(text, want, n);
}

static void test_looking(void **state) {
    (void)state;
    const char *text = "{\"a\":[10,{\"b\":\"c\\u0000d\"},[],\"\"],\"n\":null,\"\\u0061\":[1,2],"
                       "\"t\":true,\"f\":false,\"num\":-1.50e3}";
    sm_json *json;
    assert_int_equal(read_text(&json, text, strlen(text), NULL), SM_OK);
    assert_int_equal(sm_json_kind_of(json, SM_JSON_ROOT), SM_JSON_OBJECT);
    assert_int_equal(sm_json_count(json, SM_JSON_ROOT), 6);
    const sm_json_value names = sm_json_first(json, SM_JSON_ROOT);
    const sm_json_value a = sm_json_member(json, names);
    expect_text(json, names, "a", 1);
    assert_int_equal(sm_json_kind_of(json, a), SM_JSON_ARRAY);
    assert_int_equal(sm_json_count(json, a), 4);
    sm_json_value item = sm_json_first(json, a);
    expect_text(json, item, "10", 2);
    item = sm_json_next(json, a, item);
    expect_text(json, sm_json_get(json, item, "b"), "c\0d", 3);
    item = sm_json_next(json, a, item);
    assert_int_equal(sm_json_count(json, item), 0);
    assert_int_equal(sm_json_first(json, item), SM_JSON_NONE);
    item = sm_json_next(json, a, item);
    expect_text(json, item, "", 0);
    assert_true(sm_json_is(json, item, ""));
    assert_int_equal(sm_json_next(json, a, item), SM_JSON_NONE);
    /* of equal names the last one, however it is spelt */
    const sm_json_value last = sm_json_get(json, SM_JSON_ROOT, "a");
    assert_int_equal(sm_json_count(json, last), 2);
    uint32_t n = 0;
    for (item = names; item != SM_JSON_NONE; item = sm_json_next(json, SM_JSON_ROOT, item))
        n++;
    assert_int_equal(n, 6);
    assert_int_equal(sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, "n")), SM_JSON_NULL);
    assert_int_equal(sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, "t")), SM_JSON_TRUE);
    assert_int_equal(sm_json_kind_of(json, sm_json_get(json, SM_JSON_ROOT, "f")), SM_JSON_FALSE);
    expect_text(json, sm_json_get(json, SM_JSON_ROOT, "num"), "-1.50e3", 7);
    assert_false(sm_json_is(json, sm_json_get(json, SM_JSON_ROOT, "num"), "-1.50e3"));
    /* what is not there can be asked on */
    const sm_json_value none = sm_json_get(json, SM_JSON_ROOT, "b");
    uint64_t length, u;
    int64_t i;
    double f;
    assert_int_equal(none, SM_JSON_NONE);
    assert_int_equal(sm_json_kind_of(json, none), SM_JSON_ABSENT);
    assert_int_equal(sm_json_get(json, sm_json_get(json, none, "x"), "y"), SM_JSON_NONE);
    assert_int_equal(sm_json_first(json, none), SM_JSON_NONE);
    assert_int_equal(sm_json_next(json, none, none), SM_JSON_NONE);
    assert_int_equal(sm_json_member(json, none), SM_JSON_NONE);
    assert_int_equal(sm_json_member(json, last), SM_JSON_NONE);
    assert_null(sm_json_text(json, last, &length));
    assert_false(sm_json_u64(json, none, &u) || sm_json_i64(json, last, &i) ||
                 sm_json_double(json, names, &f));
    sm_json_free(json);
    sm_json_free(NULL);
}

static void test_integers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_u, is_i;
        uint64_t u;
        int64_t i;
    } cases[] = {
        {"0", true, true, 0, 0},
        {"-0", false, true, 0, 0},
        {"18446744073709551615", true, false, UINT64_MAX, 0},
        {"18446744073709551616", false, false, 0, 0},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", true, false, (uint64_t)INT64_MAX + 1, 0},
        {"-9223372036854775808", false, true, 0, INT64_MIN},
        {"-9223372036854775809", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"1e2", false, false, 0, 0},
        {"\"1\"", false, false, 0, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        sm_json *json;
        uint64_t u = 77;
        int64_t i = 77;
        assert_int_equal(read_text(&json, cases[k].text, strlen(cases[k].text), NULL), SM_OK);
        assert_int_equal(sm_json_u64(json, SM_JSON_ROOT, &u), cases[k].is_u);
        assert_int_equal(sm_json_i64(json, SM_JSON_ROOT, &i), cases[k].is_i);
        assert_true(u == (cases[k].is_u ? cases[k].u : 77));
        assert_true(i == (cases[k].is_i ? cases[k].i : 77));
        sm_json_free(json);
    }
}

static void expect_double(const char *text) {
    double got, want = strtod(text, NULL); /* of this program's C locale, rounded right by glibc */
    const bool fits = sm_json_parse_double(text, strlen(text), &got);
    assert_int_equal(fits, want - want == 0);
    if (fits && memcmp(&got, &want, sizeof got) != 0)
        fail_msg("%s: %.17g instead of %.17g", text, got, want);
}

static void test_doubles(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "-0.0e99",
        "1",
        "0.1",
        "1e22",
        "1e23",
        "123456789012345e22",
        "1e-22",
        "1e308",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017"
        "977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273"
        "854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704"
        "342711559699508093042880", /* half a step above the largest: beyond the range */
        "1e309",
        "1e400",
        "-1e400",
        "1e-400",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.2250738585072011e-308",
        "2.2250738585072014e-308",
        "9007199254740993",
        "9007199254740992.9999999999999999999999",
        "9007199254740993.0000001",
        "0.500000000000000166533453693773481063544750213623046875",
        "3.518437208883201171875e13",
        "6.929001713869936e236",
        "1e99999999999999999999",
        "0e99999999999999999999",
        "1e-99999999999999999999",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_double(texts[i]);
    uint64_t random = 5;
    char text[1600];
    for (int i = 0; i < 3000; i++) { /* all doubles alike, at three lengths */
        const uint64_t bits = test_random(&random) & ~((uint64_t)1 << 63);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (value - value != 0)
            continue;
        snprintf(text, sizeof text, "%.*e", i % 3 == 0 ? 5 : i % 3 == 1 ? 16 : 25, value);
        expect_double(text);
    }
    /* the middle between two doubles in full, and a last digit beyond all that are kept */
    for (int i = 0; i < 60; i++) {
        const uint64_t bits = i < 20 ? (uint64_t)i : test_random(&random) >> 2;
        double value;
        memcpy(&value, &bits, sizeof value);
        int n = snprintf(text, sizeof text, "%.1100f", value);
        if (value > 1e-5 || n > 1200)
            continue;
        expect_double(text);
        memset(text + n, '0', 300);
        text[n + 300] = '1';
        text[n + 301] = 0;
        expect_double(text);
    }
    text[0] = '1'; /* digits before the point are counted, too */
    memset(text + 1, '0', 1200);
    strcpy(text + 1201, "e-1200");
    expect_double(text);
}

/* A value at the beginning of a text, as the entries of a file follow each other. */
static void test_beginning(void **state) {
    (void)state;
    const char *text = " \n[1,\n2] , {\"a\":3}\n";
    sm_json *json;
    uint64_t used;
    assert_int_equal(sm_json_read(&json, &mem, text, strlen(text), &source, &used, NULL), SM_OK);
    assert_int_equal(used, 8);
    assert_int_equal(sm_json_lines(json), 2);
    assert_int_equal(sm_json_count(json, SM_JSON_ROOT), 2);
    sm_json_free(json);
    assert_int_equal(sm_json_read(&json, &mem, "12", 1, &source, &used, NULL), SM_OK);
    expect_text(json, SM_JSON_ROOT, "1", 1);
    sm_json_free(json);
}

static char *nested(int depth, bool object) {
    char *text = malloc((size_t)depth * 6 + 8), *at = text;
    assert_non_null(text);
    for (int i = 0; i < depth; i++)
        at += sprintf(at, "%s", object ? "{\"a\":" : "[");
    at += sprintf(at, "1");
    for (int i = 0; i < depth; i++)
        *at++ = object ? '}' : ']';
    *at = 0;
    return text;
}

static void *on_small_stack(void *arg) {
    (void)arg;
    static const struct {
        int depth;
        sm_status want;
    } cases[] = {{63, SM_OK},
                 {64, SM_OK},
                 {65, SM_ERR_UNSUPPORTED},
                 {1024, SM_ERR_UNSUPPORTED},
                 {1000000, SM_ERR_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int object = 0; object < 2; object++) {
            char *text = nested(cases[i].depth, object);
            sm_json *json;
            sm_error error = {0};
            assert_int_equal(read_text(&json, text, strlen(text), &error), cases[i].want);
            assert_true(!cases[i].want || strstr(error.message, "64 deep"));
            sm_json_free(json);
            free(text);
        }
    return NULL;
}

static void test_depth(void **state) {
    (void)state;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    pthread_attr_setstacksize(&attr, 1 << 20); /* theirs is not ours to count */
#else
    pthread_attr_setstacksize(&attr, 65536);
#endif
    assert_int_equal(pthread_create(&thread, &attr, on_small_stack, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}

/* Enough for several pages of values and of strings with escapes, one longer than a page. */
static char *large(size_t n_items, size_t *length) {
    char *text = malloc(n_items * 40 + 300000), *at = text;
    assert_non_null(text);
    *at++ = '[';
    for (size_t i = 0; i < n_items; i++)
        at += sprintf(at, "{\"k%zu\":\"\\tv\\u00e9%zu\"},", i, i);
    *at++ = '"';
    memset(at, 'x', 150000);
    memcpy(at + 75000, "\\n", 2);
    at += 150000;
    at += sprintf(at, "\",\"\\\\last\"]");
    *length = (size_t)(at - text);
    return text;
}

static void test_large(void **state) {
    (void)state;
    enum { ITEMS = 20000 };
    size_t size;
    char *text = large(ITEMS, &size), name[32], want[32];
    sm_json *json;
    assert_int_equal(read_text(&json, text, size, NULL), SM_OK);
    assert_int_equal(sm_json_count(json, SM_JSON_ROOT), ITEMS + 2);
    sm_json_value item = sm_json_first(json, SM_JSON_ROOT);
    for (int i = 0; i < ITEMS; i++, item = sm_json_next(json, SM_JSON_ROOT, item)) {
        snprintf(name, sizeof name, "k%d", i);
        snprintf(want, sizeof want, "\tv\xc3\xa9%d", i);
        assert_true(sm_json_is(json, sm_json_get(json, item, name), want));
    }
    uint64_t length;
    const char *x = sm_json_text(json, item, &length);
    assert_int_equal(length, 149999);
    assert_true(x[74999] == 'x' && x[75000] == '\n' && x[75001] == 'x' && x[149998] == 'x');
    assert_true(sm_json_is(json, sm_json_next(json, SM_JSON_ROOT, item), "\\last"));
    /* 16 bytes a value, three to an item, and the strings with escapes once more */
    assert_true(mem.in_use <= 16 * 3 * ITEMS + size + 3 * 65536);
    sm_json_free(json);
    assert_int_equal(mem.in_use, 0);
    free(text);
}

/* Every allocation fails in turn, once and from there on; a limit that is too low. */
static void test_out_of_memory(void **state) {
    (void)state;
    size_t size;
    char *text = large(3000, &size);
    sm_json *json;
    for (int sticky = 0; sticky < 2; sticky++)
        for (uint64_t at = 1;; at++) {
            fail_alloc fail = {.fail_at = at, .sticky = sticky};
            const sm_allocator hook = fail_allocator(&fail);
            sm_mem own;
            sm_error error = {0};
            assert_int_equal(sm_mem_init(&own, &hook, 0, NULL), SM_OK);
            sm_status status = sm_json_read(&json, &own, text, size, &source, NULL, &error);
            sm_json_free(json);
            assert_int_equal(fail.live_blocks, 0);
            if (!status) {
                assert_true(at > 5);
                break;
            }
            assert_int_equal(status, SM_ERR_NOMEM);
            assert_non_null(strstr(error.message, "out of memory"));
        }
    sm_mem limited;
    assert_int_equal(sm_mem_init(&limited, NULL, 100000, NULL), SM_OK);
    assert_int_equal(sm_json_read(&json, &limited, text, size, &source, NULL, NULL), SM_ERR_NOMEM);
    assert_true(limited.in_use == 0 && limited.peak <= 100000);
    free(text);
}

typedef struct asked {
    int n, last;
} asked;

static int32_t count_asked(void *user) {
    asked *a = user;
    return ++a->n == a->last;
}

/* Whatever a long text is made of, the hook is asked once a MiB, and can end it. */
static void test_cancel(void **state) {
    (void)state;
    enum { SIZE = 8 << 20 };
    static const char *const parts[] = {"[],", "\"\\n\",", "1,", " "};
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (int kind = 0; kind < 7; kind++) {
        size_t n = 0;
        if (kind < 4) { /* many small things */
            const size_t length = strlen(parts[kind]);
            for (text[n++] = '['; n + length + 2 < SIZE; n += length)
                memcpy(text + n, parts[kind], length);
            n += (size_t)sprintf(text + n, "1]");
        } else { /* one large one: a number, a string, a string with escapes */
            memset(text, kind == 4 ? '1' : 'x', SIZE);
            n = SIZE;
            if (kind > 4)
                text[0] = text[n - 1] = '"';
            if (kind == 6)
                memcpy(text + 1, "\\n", 2);
        }
        asked a = {0, 0};
        sm_json_source s = {.name = "long", .line = 1, .cancel = count_asked, .user = &a};
        sm_json *json;
        sm_error error;
        if (sm_json_read(&json, &mem, text, n, &s, NULL, &error))
            fail_msg("%d: %s", kind, error.message);
        sm_json_free(json);
        assert_in_range(a.n, 7, 20);
        const int all = a.n;
        for (int last = 1; last <= all; last += 3) {
            a = (asked){0, last};
            assert_int_equal(sm_json_read(&json, &mem, text, n, &s, NULL, &error),
                             SM_ERR_CANCELLED);
            assert_null(json);
            assert_int_equal(a.n, last);
        }
    }
    assert_int_equal(mem.in_use, 0);
    free(text);
}

static int set_up(void **state) {
    (void)state;
    return sm_mem_init(&mem, NULL, 0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),         cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_looking),       cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),       cmocka_unit_test(test_beginning),
        cmocka_unit_test(test_depth),         cmocka_unit_test(test_large),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
