/* Safetensors files: what is read, and that whatever breaks the format is refused with a message
 * that names file and tensor, without a crash, a leak or much memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "support.h"

static bytes file_of(const char *header, size_t data) {
    bytes b = {0};
    bytes_u64(&b, strlen(header));
    bytes_put(&b, header, strlen(header));
    for (size_t i = 0; i < data; i++)
        bytes_put(&b, "\x11", 1);
    return b;
}

static sm_status read_bytes(sm_safetensors *st, sm_mem *mem, const bytes *b, sm_error *error) {
    uint8_t *exact = malloc(b->size ? b->size : 1); /* so that reads past the end are seen */
    memcpy(exact, b->data, b->size);
    const sm_status status =
        sm_safetensors_read(st, mem, exact, b->size, "model.safetensors", NULL, error);
    for (uint64_t i = 0; i < st->n; i++) /* may be looked at while the bytes are there */
        assert_true(st->tensors[i].data >= exact &&
                    st->tensors[i].data + st->tensors[i].size <= exact + b->size);
    free(exact);
    return status;
}

#define GOOD                                                                 \
    "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"   \
    "\"__metadata__\":{\"format\":\"pt\"},"                                  \
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"        \
    "\"none\":{\"dtype\":\"I64\",\"shape\":[0,5],\"data_offsets\":[20,20]}," \
    "\"one\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[20,28]}}"

static void a_good_file_is_read(void **state) {
    (void)state;
    sm_mem mem;
    sm_safetensors st;
    bytes b = file_of(GOOD "   ", 28);
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(read_bytes(&st, &mem, &b, NULL), SM_OK);
    assert_int_equal(st.n, 4);
    const sm_st_tensor *t = sm_safetensors_find(&st, "b");
    assert_non_null(t);
    assert_int_equal(t->type, SM_ST_BF16);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 2);
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(t->size, 12);
    assert_int_equal(sm_st_elements(t), 6);
    assert_int_equal(sm_safetensors_find(&st, "one")->size, 8);
    assert_int_equal(sm_safetensors_find(&st, "none")->size, 0);
    assert_null(sm_safetensors_find(&st, "__metadata__"));
    assert_null(sm_safetensors_find(&st, "c"));
    sm_safetensors_free(&st);
    bytes_free(&b);
    b = file_of("{\"__metadata__\":null}", 0); /* as old writers have it */
    assert_int_equal(read_bytes(&st, &mem, &b, NULL), SM_OK);
    assert_int_equal(st.n, 0);
    sm_safetensors_free(&st);
    bytes_free(&b);
}

#define ONE(name, rest) "{\"" name "\":{" rest "}}"
#define F32_2 "\"dtype\":\"F32\",\"shape\":[2],"

/* A header, bytes of tensors behind it, and what the message must have. */
static const struct {
    const char *header;
    size_t data;
    sm_status status;
    const char *message;
} broken[] = {
    {"", 0, SM_ERR_FORMAT, "no JSON object"},
    {"[]", 0, SM_ERR_FORMAT, "no JSON object"},
    {" {}", 0, SM_ERR_FORMAT, "no JSON object"},
    {"{", 0, SM_ERR_FORMAT, "model.safetensors"},
    {"{} x", 0, SM_ERR_FORMAT, "model.safetensors"},
    {"{}", 1, SM_ERR_FORMAT, "follow the last tensor"},
    {ONE("a", F32_2 "\"data_offsets\":[0,8]"), 9, SM_ERR_FORMAT, "follow the last tensor"},
    {ONE("a", F32_2 "\"data_offsets\":[0,8]"), 7, SM_ERR_FORMAT, "'a' ends behind the end"},
    {ONE("a", F32_2 "\"data_offsets\":[1,9]"), 9, SM_ERR_FORMAT, "'a' has a hole"},
    {ONE("a", F32_2 "\"data_offsets\":[8,0]"), 8, SM_ERR_FORMAT, "'a' ends before it begins"},
    {ONE("a", F32_2 "\"data_offsets\":[0,4]"), 8, SM_ERR_FORMAT, "'a' has another size"},
    {ONE("a", F32_2 "\"data_offsets\":[0,8,8]"), 8, SM_ERR_FORMAT, "data_offsets"},
    {ONE("a", F32_2 "\"data_offsets\":[-8,0]"), 8, SM_ERR_FORMAT, "data_offsets"},
    {ONE("a", F32_2 "\"data_offsets\":[0,8.0]"), 8, SM_ERR_FORMAT, "data_offsets"},
    {ONE("a", F32_2 "\"data_offsets\":[0,18446744073709551616]"), 8, SM_ERR_FORMAT, "data_offsets"},
    {ONE("a", F32_2 "\"data_offsets\":[18446744073709551608,18446744073709551615]"), 8,
     SM_ERR_FORMAT, "'a' ends behind the end"},
    {ONE("a", F32_2 "\"data_offsets\":{}"), 8, SM_ERR_FORMAT, "data_offsets"},
    {ONE("a", F32_2 "\"offsets\":[0,8]"), 8, SM_ERR_FORMAT, "data_offsets"},
    {ONE("a", F32_2 "\"data_offsets\":[0,8],\"more\":1"), 8, SM_ERR_FORMAT, "is no object of"},
    {ONE("a", "\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"), 8,
     SM_ERR_FORMAT, "is no object of"},
    {ONE("a", "\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]"), 8, SM_ERR_FORMAT, "'shape'"},
    {ONE("a", "\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"), 8, SM_ERR_FORMAT,
     "whole number"},
    {ONE("a", "\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,8]"), 8,
     SM_ERR_FORMAT, "too large"},
    {ONE("a", "\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]"), 8,
     SM_ERR_FORMAT, "more than 8 dimensions"},
    {ONE("a", "\"dtype\":\"f32\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, SM_ERR_FORMAT,
     "'dtype'"},
    {ONE("a", "\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]"), 8, SM_ERR_FORMAT, "'dtype'"},
    {ONE("a", "\"dtype\":\"F4\",\"shape\":[16],\"data_offsets\":[0,8]"), 8, SM_ERR_UNSUPPORTED,
     "less than a byte"},
    {ONE("", F32_2 "\"data_offsets\":[0,8]"), 8, SM_ERR_FORMAT, "empty"},
    {ONE("a\\u0000b", F32_2 "\"data_offsets\":[0,8]"), 8, SM_ERR_FORMAT, "zero byte"},
    {"{\"a\":[]}", 8, SM_ERR_FORMAT, "'a' is no object"},
    {"{\"__metadata__\":[]}", 0, SM_ERR_FORMAT, "__metadata__"},
    {"{\"__metadata__\":{\"a\":1}}", 0, SM_ERR_FORMAT, "__metadata__"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, SM_ERR_FORMAT, "more than once"},
    {"{\"a\":{" F32_2 "\"data_offsets\":[0,8]},\"a\":{" F32_2 "\"data_offsets\":[8,16]}}", 16,
     SM_ERR_FORMAT, "'a' appears more than once"},
    {"{\"a\":{" F32_2 "\"data_offsets\":[0,8]},\"b\":{" F32_2 "\"data_offsets\":[4,12]}}", 12,
     SM_ERR_FORMAT, "'b' overlaps"},
    {"{\"a\":{" F32_2 "\"data_offsets\":[0,8]},\"b\":{" F32_2 "\"data_offsets\":[0,8]}}", 8,
     SM_ERR_FORMAT, "overlaps"},
    {"{\"a\":{" F32_2 "\"data_offsets\":[0,8]},\"b\":{" F32_2 "\"data_offsets\":[12,20]}}", 20,
     SM_ERR_FORMAT, "'b' has a hole"},
};

static void what_breaks_the_format_is_refused(void **state) {
    (void)state;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        sm_mem mem;
        sm_safetensors st;
        sm_error error = {0};
        bytes b = file_of(broken[i].header, broken[i].data);
        assert_int_equal(sm_mem_init(&mem, &allocator, 0, NULL), SM_OK);
        const sm_status status = read_bytes(&st, &mem, &b, &error);
        if (status != broken[i].status || !strstr(error.message, broken[i].message))
            fail_msg("%s: status %d, \"%s\"", broken[i].header, status, error.message);
        assert_non_null(strstr(error.message, "model.safetensors"));
        assert_int_equal(counter.live_blocks, 0);
        bytes_free(&b);
    }
}

/* Every beginning of a good file, and lengths that are lies. */
static void cut_files_are_refused(void **state) {
    (void)state;
    sm_mem mem;
    sm_safetensors st;
    sm_error error;
    bytes b = file_of(GOOD, 28);
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    const size_t whole = b.size;
    for (b.size = 0; b.size < whole; b.size++)
        assert_int_equal(read_bytes(&st, &mem, &b, &error), SM_ERR_FORMAT);
    static const uint64_t lies[] = {0, 1, 100u << 20, (100u << 20) + 1, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        bytes_patch(&b, 0, lies[i], 8);
        assert_int_equal(read_bytes(&st, &mem, &b, &error), SM_ERR_FORMAT);
    }
    bytes_free(&b);
}

static bytes many(uint32_t n) {
    bytes b = {0};
    char text[128];
    bytes_u64(&b, 0);
    bytes_put(&b, "{", 1);
    for (uint32_t i = 0; i < n; i++) {
        const int length =
            snprintf(text, sizeof text,
                     "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%u,%u]}",
                     i ? "," : "", i, i, i + 1);
        bytes_put(&b, text, (size_t)length);
    }
    bytes_put(&b, "}", 1);
    bytes_patch(&b, 0, b.size - 8, 8);
    for (uint32_t i = 0; i < n; i++)
        bytes_put(&b, "\1", 1);
    return b;
}

/* 100,000 tensors are read in no time; more than the limit are refused before they are. */
static void many_tensors(void **state) {
    (void)state;
    sm_mem mem;
    sm_safetensors st;
    sm_error error;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    bytes b = many(100000);
    assert_int_equal(read_bytes(&st, &mem, &b, &error), SM_OK);
    assert_int_equal(st.n, 100000);
    assert_non_null(sm_safetensors_find(&st, "t99999"));
    sm_safetensors_free(&st);
    bytes_free(&b);
    b = many(131073);
    assert_int_equal(read_bytes(&st, &mem, &b, &error), SM_ERR_UNSUPPORTED);
    bytes_free(&b);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    bytes b = file_of(GOOD, 28);
    sm_status status = SM_ERR_NOMEM;
    for (uint64_t i = 1; status; i++) {
        sm_mem mem;
        sm_safetensors st;
        counter = (fail_alloc){.fail_at = i};
        assert_int_equal(sm_mem_init(&mem, &allocator, 0, NULL), SM_OK);
        status = read_bytes(&st, &mem, &b, NULL);
        if (!status)
            sm_safetensors_free(&st);
        else
            assert_int_equal(status, SM_ERR_NOMEM);
        assert_int_equal(counter.live_blocks, 0);
    }
    bytes_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read),
        cmocka_unit_test(what_breaks_the_format_is_refused),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(many_tensors),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
