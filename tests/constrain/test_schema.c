/* JSON Schema as a constraint: what is accepted, what is not, what is refused by name, failing
 * memory. */
#include "constrain/constrain.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static bool admits(sm_constraint *c, const char *text) {
    sm_constraint_state *state;
    sm_error error;
    assert_int_equal(sm_constraint_state_new(&state, c, &error), SM_OK);
    const bool yes = !sm_constraint_accept_text(state, text, strlen(text), &error) &&
                     sm_constraint_can_end(state);
    sm_constraint_state_free(state);
    return yes;
}

static sm_status make(sm_constraint **c, const char *schema, uint32_t flags,
                      const sm_constraint_options *o, sm_error *error) {
    const sm_schema_options options = {.struct_size = sizeof options, .flags = flags};
    return sm_constraint_new_schema(c, NULL, schema, strlen(schema), &options, o, error);
}

static const struct {
    const char *schema, *yes[4], *no[4];
} cases[] = {
    {"{\"type\":\"integer\",\"minimum\":-3,\"maximum\":12}",
     {"-3", "0", "12"},
     {"-4", "13", "1.5", "\"1\""}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0.05,\"maximum\":1}",
     {"0.051", "1", "5.1e-2", "1.00"},
     {"0.05", "1.01", "5e-2", "1e1"}},
    {"{\"type\":\"integer\",\"multipleOf\":7}",
     {"0", "21", "-700000007"},
     {"1", "22", "700000008"}},
    {"{\"type\":\"string\",\"pattern\":\"b+\",\"maxLength\":3}",
     {"\"b\"", "\"abc\""},
     {"\"abcd\"", "\"ac\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"\"2024-02-29\"", "\"2000-02-29\""},
     {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\""}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"boolean\"}},"
     "\"required\":[\"b\"],\"additionalProperties\":false}",
     {"{\"b\":true}", "{\"a\":null,\"b\":false}"},
     {"{}", "{\"a\":null}", "{\"b\":true,\"c\":1}", "{\"b\":1}"}},
    {"{\"oneOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"integer\",\"maximum\":10}]}",
     {"-1", "11"},
     {"0", "10"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[1,2]},\"uniqueItems\":true}",
     {"[]", "[2,1]"},
     {"[1,1]", "[1,2,1]", "[3]"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"contains\":{\"const\":3},"
     "\"maxContains\":2}",
     {"[3]", "[1,3,3,1]"},
     {"[]", "[1]", "[3,3,3]"}},
    {"{\"$ref\":\"#/$defs/"
     "n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#/$defs/n\"}},"
     "\"additionalProperties\":false}}}",
     {"{}", "{\"next\":{\"next\":{}}}"},
     {"{\"next\":1}", "{\"x\":{}}"}},
    {"{\"_format\":\"x\",\"type\":\"null\"}", {"null"}, {"1"}},
    {"{\"not\":{\"type\":[\"string\",\"object\"]}}", {"1", "[\"a\"]", "null"}, {"\"a\"", "{}"}},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}}}],\"type\":\"object\","
     "\"unevaluatedProperties\":false}",
     {"{}", "{\"a\":1}"},
     {"{\"b\":1}", "{\"a\":\"\"}"}},
};

static void values(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_constraint *c;
        sm_error error = {0};
        if (make(&c, cases[i].schema, 0, NULL, &error))
            fail_msg("%s: %s", cases[i].schema, error.message);
        for (size_t k = 0; k < 4; k++) {
            if (cases[i].yes[k] && !admits(c, cases[i].yes[k]))
                fail_msg("%s rejects %s", cases[i].schema, cases[i].yes[k]);
            if (cases[i].no[k] && admits(c, cases[i].no[k]))
                fail_msg("%s admits %s", cases[i].schema, cases[i].no[k]);
        }
        sm_constraint_free(c);
    }
}

static void any_order(void **state) {
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},"
        "\"required\":[\"a\"],\"additionalProperties\":false}";
    sm_constraint *c;
    sm_error error;
    assert_int_equal(make(&c, schema, 0, NULL, &error), SM_OK);
    assert_false(admits(c, "{\"b\":2,\"a\":1}"));
    sm_constraint_free(c);
    assert_int_equal(make(&c, schema, SM_SCHEMA_ANY_ORDER, NULL, &error), SM_OK);
    assert_true(admits(c, "{\"b\":2,\"a\":1}"));
    assert_false(admits(c, "{\"b\":2}"));
    assert_false(admits(c, "{\"a\":1,\"a\":1}"));
    sm_constraint_free(c);
}

static void refused(void **state) {
    (void)state;
    static const struct {
        const char *schema, *place;
        sm_status status;
    } wrong[] = {
        {"{\"properties\":{\"a\":{\"format\":\"color\"}}}", "#/properties/a/format",
         SM_ERR_UNSUPPORTED},
        {"{\"minLenght\":1}", "minLength", SM_ERR_UNSUPPORTED},
        {"{\"$ref\":\"#\"}", "itself", SM_ERR_UNSUPPORTED},
        {"{\"$ref\":\"http://x.example/y\"}", "#/$ref", SM_ERR_UNSUPPORTED},
        {"{\"items\":{\"type\":\"string\"},\"uniqueItems\":true}", "#/uniqueItems",
         SM_ERR_UNSUPPORTED},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "no value", SM_ERR_UNSUPPORTED},
        {"{\"type\":\"strin\"}", "#/type", SM_ERR_FORMAT},
        {"{\"$ref\":\"#/nowhere\"}", "#/$ref", SM_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sm_constraint *c;
        sm_error error = {0};
        assert_int_equal(make(&c, wrong[i].schema, 0, NULL, &error), wrong[i].status);
        if (!strstr(error.message, wrong[i].place))
            fail_msg("%s: %s", wrong[i].schema, error.message);
    }
}

static void little_memory(void **state) {
    (void)state;
    for (uint64_t limit = 1 << 12; limit < 1 << 22; limit += limit / 3) {
        sm_constraint_options o = {.struct_size = sizeof o, .memory_limit = limit};
        sm_constraint *c;
        sm_error error;
        const sm_status status = make(&c, cases[5].schema, 0, &o, &error);
        assert_true(status == SM_OK || status == SM_ERR_NOMEM);
        sm_constraint_free(c);
    }
}

/* A schema with a keyword of every kind: all files of the compiler allocate for it. */
static const char rich[] =
    "{\"$id\":\"http://x.example/r\",\"type\":\"object\",\"$defs\":{\"n\":{\"$anchor\":\"n\","
    "\"type\":[\"object\",\"null\"],\"properties\":{\"next\":{\"$ref\":\"#n\"}},"
    "\"additionalProperties\":false}},\"properties\":{\"i\":{\"type\":\"integer\",\"minimum\":-5,"
    "\"maximum\":90,\"multipleOf\":5},\"f\":{\"type\":\"number\",\"exclusiveMinimum\":0.25,"
    "\"maximum\":1e2,\"not\":{\"const\":1}},\"s\":{\"type\":\"string\",\"pattern\":\"[a-f]+\\\\d\","
    "\"minLength\":2,\"maxLength\":5},\"d\":{\"format\":\"date\"},\"u\":{\"anyOf\":[{\"type\":"
    "\"string\",\"format\":\"uuid\"},{\"enum\":[1,\"\\u00e9\",[null,{\"k\":true}]]}]},"
    "\"a\":{\"type\":\"array\",\"prefixItems\":[{\"const\":0}],\"items\":{\"type\":\"integer\"},"
    "\"contains\":{\"minimum\":7},\"maxContains\":2,\"maxItems\":6},"
    "\"q\":{\"type\":\"array\",\"items\":{\"enum\":[1,2,3]},\"uniqueItems\":true},"
    "\"n\":{\"$ref\":\"#/$defs/n\"}},\"required\":[\"i\"],\"dependentRequired\":{\"f\":[\"s\"]},"
    "\"patternProperties\":{\"^x-\":{\"type\":\"boolean\"}},\"propertyNames\":{\"maxLength\":4},"
    "\"maxProperties\":5,\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"u\"]},"
    "\"oneOf\":[{\"required\":[\"q\"]},{\"required\":[\"n\"]},{\"required\":[\"a\"]}],"
    "\"unevaluatedProperties\":"
    "false}";

/* Whichever allocation fails: SM_ERR_NOMEM, nothing left behind. */
static void no_memory(void **state) {
    (void)state;
    fail_alloc counter = {0};
    sm_allocator hook = fail_allocator(&counter);
    sm_constraint_options o = {.struct_size = sizeof o, .allocator = &hook};
    sm_constraint *c;
    sm_error error = {0};
    if (make(&c, rich, 0, &o, &error))
        fail_msg("%s", error.message);
    assert_true(admits(c, "{\"i\":-5,\"n\":{\"next\":null}}"));
    assert_false(admits(c, "{\"i\":-5,\"a\":[0,8],\"n\":null}"));
    sm_constraint_free(c);
    assert_int_equal(counter.live_blocks, 0);
    const uint64_t all = counter.calls;
    for (uint64_t at = 1; at <= all; at += 1 + at / 40) { /* each of the first, then samples */
        counter = (fail_alloc){.fail_at = at, .sticky = at & 1};
        assert_int_equal(make(&c, rich, 0, &o, &error), SM_ERR_NOMEM);
        assert_null(c);
        assert_int_equal(counter.live_blocks, 0);
    }
}

static int32_t countdown(void *user) {
    uint32_t *left = user;
    return *left == 0 || --*left == 0;
}

/* Wherever the hook says yes the compiling ends; asked from the beginning, and again. */
static void cancelled(void **state) {
    (void)state;
    sm_constraint *c;
    sm_error error;
    uint32_t left, asked = 1;
    sm_schema_options options = {
        .struct_size = sizeof options, .cancel = countdown, .cancel_user = &left};
    for (;; asked++) {
        left = asked;
        const sm_status status =
            sm_constraint_new_schema(&c, NULL, rich, strlen(rich), &options, NULL, &error);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_CANCELLED);
        assert_null(c);
    }
    assert_true(asked > 3);
    sm_constraint_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),    cmocka_unit_test(any_order),     cmocka_unit_test(refused),
        cmocka_unit_test(no_memory), cmocka_unit_test(little_memory), cmocka_unit_test(cancelled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
