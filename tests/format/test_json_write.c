/* The JSON writer: as Python's json.dumps(…, ensure_ascii=False) and repr() of floats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_write.h"
#include "support.h"

static sm_mem mem;

static void expect(sm_builder *b, const char *text) {
    sm_builder_byte(b, 0);
    assert_false(b->failed);
    assert_string_equal(b->data, text);
    sm_builder_free(b);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {10.5, "10.5"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {2.0 / 3, "0.6666666666666666"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {1e15, "1000000000000000.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {9007199254740993.0, "9007199254740992.0"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {-1e100, "-1e+100"},
        {HUGE_VAL, "inf"},
        {-HUGE_VAL, "-inf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_builder b = sm_builder_of(&mem, 0);
        sm_builder_double(&b, cases[i].value);
        expect(&b, cases[i].text);
    }
    sm_builder b = sm_builder_of(&mem, 0);
    sm_builder_i64(&b, INT64_MIN);
    expect(&b, "-9223372036854775808");
}

/* Any double reads back as itself, and not with a digit less. */
static void test_shortest(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (uint32_t i = 0; i < test_share(20000, 1000); i++) {
        char shorter[40], all[40];
        double value, back;
        int32_t point;
        char digits[SM_DOUBLE_DIGITS];
        seed = sm_mix64(seed);
        uint64_t bits = seed & INT64_MAX;
        memcpy(&value, &bits, sizeof value);
        if (value - value != 0 || value == 0)
            continue;
        const uint32_t n = sm_double_digits(value, digits, &point);
        snprintf(all, sizeof all, "0.%.*se%d", (int)n, digits, (int)point);
        assert_true(sm_json_parse_double(all, strlen(all), &back) && back == value);
        snprintf(shorter, sizeof shorter, "%.*e", n > 2 ? (int)n - 2 : 0, value);
        if (n > 1 && strtod(shorter, NULL) == value)
            fail_msg("%s is shorter than %s", shorter, all);
    }
}

static void write_sample(sm_json_writer *w) {
    sm_json_open(w, SM_JSON_OBJECT);
    sm_json_put_key(w, "a", 1);
    sm_json_open(w, SM_JSON_ARRAY);
    sm_json_put_i64(w, 1);
    sm_json_put_double(w, 10.5);
    sm_json_put_literal(w, SM_JSON_NULL);
    sm_json_close(w);
    sm_json_put_key(w, "\"\\\n\x01\x7f\xc3\xa9/", 8);
    sm_json_open(w, SM_JSON_OBJECT);
    sm_json_close(w);
    sm_json_close(w);
}

static void test_styles(void **state) {
    (void)state;
    sm_builder b = sm_builder_of(&mem, 0);
    sm_json_writer w = sm_json_writer_of(&b, NULL);
    write_sample(&w);
    expect(&b, "{\"a\": [1, 10.5, null], \"\\\"\\\\\\n\\u0001\x7f\xc3\xa9/\": {}}");
    w = sm_json_writer_of(&b, SM_JSON_COMPACT);
    write_sample(&w);
    expect(&b, "{\"a\":[1,10.5,null],\"\\\"\\\\\\n\\u0001\x7f\xc3\xa9/\":{}}");
    w = sm_json_writer_of(&b, &(sm_json_style){.lines = true, .indent = 2});
    write_sample(&w);
    expect(&b, "{\n  \"a\": [\n    1,\n    10.5,\n    null\n  ],\n"
               "  \"\\\"\\\\\\n\\u0001\x7f\xc3\xa9/\": {}\n}");
}

static void test_copy(void **state) {
    (void)state;
    static const char text[] =
        "{\"n\": [1e400, -0, {\"x\": []}], \"t\": true, \"s\": \"\\u00e9\\/\", \"s\": [[], {}]}";
    static const sm_json_source source = {.name = "test", .line = 1};
    sm_json *json;
    sm_builder b = sm_builder_of(&mem, 0);
    sm_json_writer w = sm_json_writer_of(&b, NULL);
    assert_int_equal(sm_json_read(&json, &mem, text, strlen(text), &source, NULL, NULL), SM_OK);
    sm_json_put_value(&w, json, SM_JSON_ROOT);
    sm_json_free(json);
    expect(&b,
           "{\"n\": [1e400, -0, {\"x\": []}], \"t\": true, \"s\": \"\xc3\xa9/\", \"s\": [[], {}]}");
}

static void test_limits(void **state) {
    (void)state;
    sm_builder b = sm_builder_of(&mem, 4);
    sm_builder_text(&b, "1234");
    assert_false(b.failed);
    sm_builder_byte(&b, '5');
    assert_true(b.failed);
    sm_builder_free(&b);
    b = sm_builder_of(&mem, 0);
    sm_json_writer w = sm_json_writer_of(&b, NULL);
    for (uint32_t i = 0; i < SM_JSON_MAX_DEPTH; i++)
        sm_json_open(&w, SM_JSON_ARRAY);
    assert_false(b.failed);
    sm_json_open(&w, SM_JSON_ARRAY);
    assert_true(b.failed);
    sm_builder_free(&b);
    assert_int_equal(mem.in_use, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_shortest),
        cmocka_unit_test(test_styles),  cmocka_unit_test(test_copy),
        cmocka_unit_test(test_limits),
    };
    sm_mem_init(&mem, NULL, 0, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
