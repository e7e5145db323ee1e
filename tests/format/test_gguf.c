/* GGUF reader, writer and public view on well-formed files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/format.h"
#include "support.h"

static sm_mem memory;

static int nothing_left(void **state) {
    (void)state;
    assert_int_equal(memory.in_use, 0);
    return 0;
}

/* Ends the test with the library's message if a call failed. */
static void expect_ok(sm_status status, const sm_error *error) {
    if (status)
        fail_msg("status %d: %s", (int)status, error->message);
}

static sm_gguf *open_file(const char *path, bool map) {
    sm_gguf *gguf;
    sm_error error = {0};
    expect_ok(sm_source_open(&gguf, &memory, path, map, &error), &error);
    return gguf;
}

static sm_gguf_writer *new_writer(const char *path, uint32_t version, uint32_t alignment) {
    sm_gguf_writer *writer;
    sm_error error = {0};
    expect_ok(sm_gguf_writer_open(&writer, &memory, path, version, alignment, &error), &error);
    return writer;
}

static void finish_writer(sm_gguf_writer *writer) {
    sm_error error = {0};
    expect_ok(sm_gguf_writer_finish(writer, &error), &error);
}

/* ---- one file with everything in it -------------------------------------------------- */

static const sm_gguf_str texts[] = {{"one", 3}, {"", 0}, {"nul\0inside", 10}, {"\xff\xfe", 2}};
static const uint8_t u8s[] = {0, 1, 255};
static const int8_t i8s[] = {0, -128, 127};
static const uint16_t u16s[] = {0, 256, 65535};
static const int16_t i16s[] = {0, -32768, 32767};
static const uint32_t u32s[] = {0, 65536, UINT32_MAX};
static const int32_t i32s[] = {0, INT32_MIN, INT32_MAX};
static const float f32s[] = {0, -1.5f, 3.4028234e38f};
static const uint8_t bools[] = {0, 1, 1};
static const uint64_t u64s[] = {0, (uint64_t)1 << 63, UINT64_MAX};
static const int64_t i64s[] = {0, INT64_MIN, INT64_MAX};
static const double f64s[] = {0, -1e-300, 1.7976931348623157e308};

static const struct {
    sm_key_type type;
    const void *values;
    uint64_t n;
    const char *shown; /* the array as text */
} samples[] = {
    {SM_KEY_UINT8, u8s, 3, "[0, 1, 255]"},
    {SM_KEY_INT8, i8s, 3, "[0, -128, 127]"},
    {SM_KEY_UINT16, u16s, 3, "[0, 256, 65535]"},
    {SM_KEY_INT16, i16s, 3, "[0, -32768, 32767]"},
    {SM_KEY_UINT32, u32s, 3, "[0, 65536, 4294967295]"},
    {SM_KEY_INT32, i32s, 3, "[0, -2147483648, 2147483647]"},
    {SM_KEY_FLOAT32, f32s, 3, "[0, -1.5, 3.4028235e38]"},
    {SM_KEY_BOOL, bools, 3, "[false, true, true]"},
    {SM_KEY_STRING, texts, 4, "[one, , nul\0inside, \xff\xfe]"},
    {SM_KEY_UINT64, u64s, 3, "[0, 9223372036854775808, 18446744073709551615]"},
    {SM_KEY_INT64, i64s, 3, "[0, -9223372036854775808, 9223372036854775807]"},
    {SM_KEY_FLOAT64, f64s, 3, "[0, -1e-300, 1.7976931348623157e308]"},
};

#define N_SAMPLES (sizeof samples / sizeof *samples)

static const void *sample_value(size_t i, uint64_t k) {
    uint64_t unit = sm_key_type_size(samples[i].type);
    return (const char *)samples[i].values + k * (unit ? unit : sizeof(sm_gguf_str));
}

static void sample_name(char *out, size_t i, const char *what) {
    sprintf(out, "test.%s.%s", sm_key_type_name(samples[i].type), what);
}

static void put_samples(sm_gguf_writer *writer) {
    char name[64];
    for (size_t i = 0; i < N_SAMPLES; i++) {
        for (uint64_t k = 0; k < samples[i].n; k++) {
            sample_name(name, i, (const char *[]){"a", "b", "c", "d"}[k]);
            assert_int_equal(sm_gguf_put_scalar(writer, name, samples[i].type, sample_value(i, k)),
                             SM_OK);
        }
        sample_name(name, i, "array");
        assert_int_equal(
            sm_gguf_put_array(writer, name, samples[i].type, samples[i].values, samples[i].n),
            SM_OK);
        sample_name(name, i, "empty");
        assert_int_equal(sm_gguf_put_array(writer, name, samples[i].type, NULL, 0), SM_OK);
    }
}

static void check_elements(const sm_key *key, size_t i, uint64_t from, uint64_t n) {
    uint64_t unit = sm_key_type_size(samples[i].type), cursor = 0, length;
    const char *data;
    for (uint64_t k = 0; unit && k < n; k++)
        assert_memory_equal(key->data + k * unit, sample_value(i, from + k), unit);
    for (uint64_t k = 0; !unit && key->type == SM_KEY_ARRAY && k < n; k++) {
        assert_true(sm_key_next_str(key, &cursor, &data, &length));
        assert_int_equal(length, texts[k].length);
        assert_memory_equal(data, texts[k].data, length);
    }
    assert_false(sm_key_next_str(key, &cursor, &data, &length));
}

static void check_samples(const sm_gguf *gguf) {
    char name[64];
    for (size_t i = 0; i < N_SAMPLES; i++) {
        for (uint64_t k = 0; k < samples[i].n; k++) {
            sample_name(name, i, (const char *[]){"a", "b", "c", "d"}[k]);
            const sm_key *key = sm_source_find_key(gguf, name);
            assert_non_null(key);
            assert_string_equal(key->name, name);
            assert_int_equal(key->type, samples[i].type);
            assert_int_equal(key->count, 1);
            if (samples[i].type == SM_KEY_STRING) {
                assert_int_equal(key->size, texts[k].length);
                assert_memory_equal(key->data, texts[k].data, texts[k].length);
            } else {
                assert_int_equal(key->size, sm_key_type_size(key->type));
                check_elements(key, i, k, 1);
            }
        }
        sample_name(name, i, "array");
        const sm_key *key = sm_source_find_key(gguf, name);
        assert_int_equal(key->type, SM_KEY_ARRAY);
        assert_int_equal(key->element, samples[i].type);
        assert_int_equal(key->count, samples[i].n);
        check_elements(key, i, 0, samples[i].n);
        sample_name(name, i, "empty");
        key = sm_source_find_key(gguf, name);
        assert_int_equal(key->count, 0);
        assert_int_equal(key->size, 0);
        check_elements(key, i, 0, 0);
    }
}

/* Tensors of every type and number of dimensions; tensor t holds bytes of seed t. */
static void tensor_spec(uint32_t type, char *name, uint32_t *n_dims, uint64_t *dims) {
    const sm_dtype_traits *traits = sm_dtype_get(type);
    sprintf(name, "t.%s.weight", traits->name);
    *n_dims = traits->block_size == 1 ? type % 5 : 1 + type % 4;
    dims[0] = traits->block_size == 1 ? 5 : traits->block_size * 2;
    dims[1] = 3;
    dims[2] = 2;
    dims[3] = 2;
}

static uint64_t fill_tensor(uint8_t *data, uint32_t type, uint32_t n_dims, const uint64_t *dims) {
    uint64_t size = 0, seed = type;
    expect_ok(sm_tensor_bytes(type, n_dims, dims, &size, "", NULL), NULL);
    for (uint64_t i = 0; i < size; i++)
        data[i] = (uint8_t)test_random(&seed);
    return size;
}

static uint8_t tensor_data[100000];

static void write_everything(const char *path, uint32_t version, uint32_t alignment) {
    sm_gguf_writer *writer = new_writer(path, version, alignment);
    sm_error error = {0};
    char name[64];
    uint32_t n_dims;
    uint64_t dims[4];
    put_samples(writer);
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++)
        if (sm_dtype_get(type)) {
            tensor_spec(type, name, &n_dims, dims);
            expect_ok(sm_gguf_declare_tensor(writer, name, type, n_dims, dims, &error), &error);
        }
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++)
        if (sm_dtype_get(type)) {
            tensor_spec(type, name, &n_dims, dims);
            uint64_t size = fill_tensor(tensor_data, type, n_dims, dims);
            expect_ok(sm_gguf_write_tensor(writer, tensor_data, size, &error), &error);
        }
    finish_writer(writer);
}

static void check_everything(const sm_gguf *gguf, uint32_t version, uint32_t alignment) {
    char name[64];
    uint32_t n_dims;
    uint64_t dims[4], n = 0;
    assert_int_equal(gguf->version, version);
    assert_int_equal(gguf->alignment, alignment);
    assert_int_equal(gguf->n_files, 1);
    check_samples(gguf);
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++) {
        if (!sm_dtype_get(type))
            continue;
        tensor_spec(type, name, &n_dims, dims);
        const sm_tensor *tensor = sm_source_find_tensor(gguf, name);
        assert_non_null(tensor);
        assert_ptr_equal(tensor, &gguf->tensors[n++]); /* in the order of the file */
        assert_string_equal(tensor->name, name);
        assert_int_equal(tensor->type, type);
        assert_int_equal(tensor->n_dims, n_dims);
        for (uint32_t k = 0; k < 4; k++)
            assert_int_equal(tensor->dims[k], k < n_dims ? dims[k] : 1);
        assert_int_equal(tensor->offset % alignment, 0);
        assert_int_equal(tensor->size, fill_tensor(tensor_data, type, n_dims, dims));
        assert_memory_equal(tensor->data, tensor_data, tensor->size);
    }
    assert_int_equal(gguf->n_tensors, n);
    assert_null(sm_source_find_tensor(gguf, "t"));
    assert_null(sm_source_find_tensor(gguf, ""));
    assert_null(sm_source_find_tensor(gguf, "zzz"));
    assert_null(sm_source_find_key(gguf, "test.u8"));
    assert_null(sm_source_find_key(gguf, ""));
    assert_null(sm_source_find_key(gguf, "\xff"));
}

static void round_trip_test(void **state) {
    (void)state;
    static const uint32_t alignments[] = {8, 24, 32, 64, 4096, SM_GGUF_MAX_ALIGNMENT};
    const char *path = scratch_path("everything.gguf");
    for (uint32_t version = 2; version <= 3; version++)
        for (size_t a = 0; a < sizeof alignments / sizeof *alignments; a++) {
            if (alignments[a] == SM_GGUF_MAX_ALIGNMENT) { /* one tensor only: it is large */
                if (version == 3)
                    continue;
                sm_gguf_writer *writer = new_writer(path, version, alignments[a]);
                sm_gguf_declare_tensor(writer, "t", SM_DTYPE_I8, 0, NULL, NULL);
                sm_gguf_write_tensor(writer, "x", 1, NULL);
                finish_writer(writer);
                sm_gguf *gguf = open_file(path, true);
                assert_int_equal(gguf->tensors[0].data[0], 'x');
                sm_source_close(gguf);
                continue;
            }
            write_everything(path, version, alignments[a]);
            for (int map = 0; map < 2; map++) {
                sm_gguf *gguf = open_file(path, map);
                check_everything(gguf, version, alignments[a]);
                sm_source_close(gguf);
            }
            size_t size;
            uint8_t *data = scratch_read(path, &size);
            sm_gguf *gguf;
            sm_error error = {0};
            expect_ok(sm_source_open_bytes(&gguf, &memory, data, size, "bytes", &error), &error);
            check_everything(gguf, version, alignments[a]);
            sm_source_close(gguf);
            free(data);
        }
}

/* The writer's bytes against bytes put together by hand from the format's description. */
static void bytes_test(void **state) {
    (void)state;
    bytes b = {0};
    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, 2); /* tensors */
    bytes_u64(&b, 3); /* keys */
    bytes_str(&b, "general.architecture");
    bytes_u32(&b, 8);
    bytes_str(&b, "llama");
    bytes_str(&b, "n");
    bytes_u32(&b, 4);
    bytes_u32(&b, 77);
    bytes_str(&b, "words");
    bytes_u32(&b, 9);
    bytes_u32(&b, 8);
    bytes_u64(&b, 2);
    bytes_str(&b, "ab");
    bytes_str(&b, "");
    bytes_str(&b, "first");
    bytes_u32(&b, 2);
    bytes_u64(&b, 3);
    bytes_u64(&b, 1);
    bytes_u32(&b, SM_DTYPE_I8);
    bytes_u64(&b, 0);
    bytes_str(&b, "second");
    bytes_u32(&b, 1);
    bytes_u64(&b, 1);
    bytes_u32(&b, SM_DTYPE_I16);
    bytes_u64(&b, 32);
    bytes_pad(&b, 32);
    bytes_put(&b, "xyz", 3);
    bytes_pad(&b, 32);
    bytes_put(&b, "\x34\x12", 2);
    bytes_pad(&b, 32);

    const char *path = scratch_path("bytes.gguf");
    sm_gguf_writer *writer = new_writer(path, 3, 32);
    sm_gguf_put_str(writer, "general.architecture", "llama", 5);
    sm_gguf_put_u32(writer, "n", 77);
    sm_gguf_put_array(writer, "words", SM_KEY_STRING, (sm_gguf_str[]){{"ab", 2}, {"", 0}}, 2);
    sm_gguf_declare_tensor(writer, "first", SM_DTYPE_I8, 2, (uint64_t[]){3, 1}, NULL);
    sm_gguf_declare_tensor(writer, "second", SM_DTYPE_I16, 1, (uint64_t[]){1}, NULL);
    sm_gguf_write_tensor(writer, "xyz", 3, NULL);
    sm_gguf_write_tensor(writer, "\x34\x12", 2, NULL);
    finish_writer(writer);
    size_t size;
    uint8_t *data = scratch_read(path, &size);
    assert_int_equal(size, b.size);
    assert_memory_equal(data, b.data, size);
    free(data);

    /* the last padding may be missing, and bytes may follow the data */
    sm_gguf *gguf;
    sm_error error = {0};
    expect_ok(sm_source_open_bytes(&gguf, &memory, b.data, b.size - 30, "short", &error), &error);
    assert_memory_equal(gguf->tensors[1].data, "\x34\x12", 2);
    sm_source_close(gguf);
    bytes_put(&b, "more", 4);
    expect_ok(sm_source_open_bytes(&gguf, &memory, b.data, b.size, "long", &error), &error);
    sm_source_close(gguf);
    bytes_free(&b);
}

/* Copies a file key by key and tensor by tensor. */
static void copy_file(const char *from, const char *to) {
    sm_gguf *gguf = open_file(from, true);
    sm_gguf_writer *writer = new_writer(to, gguf->version, gguf->alignment);
    sm_error error = {0};
    for (uint64_t i = 0; i < gguf->n_keys; i++)
        assert_int_equal(sm_gguf_put_key(writer, &gguf->keys[i]), SM_OK);
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const sm_tensor *t = &gguf->tensors[i];
        expect_ok(sm_gguf_declare_tensor(writer, t->name, t->type, t->n_dims, t->dims, &error),
                  &error);
    }
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        expect_ok(
            sm_gguf_write_tensor(writer, gguf->tensors[i].data, gguf->tensors[i].size, &error),
            &error);
    finish_writer(writer);
    sm_source_close(gguf);
}

static void expect_same(const char *a, const char *b) {
    size_t size_a, size_b;
    uint8_t *data_a = scratch_read(a, &size_a), *data_b = scratch_read(b, &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(data_a, data_b, size_a);
    free(data_a);
    free(data_b);
}

static void copy_test(void **state) {
    (void)state;
    const char *path = scratch_path("original.gguf"), *copy = scratch_path("copy.gguf");
    for (uint32_t version = 2; version <= 3; version++) {
        write_everything(path, version, version == 2 ? 128 : 32);
        copy_file(path, copy);
        expect_same(path, copy);
    }
}

/* Files of another writer. */
static void copy_data_test(void **state) {
    (void)state;
    static const char *const names[] = {
        "models/stories260K.gguf",
        "golden/qwen3-256-f32.gguf",
        "golden/types/llama-256-Q4_K_M.gguf",
        "golden/types/llama-256-Q2_K.gguf",
        "golden/types/llama-256-IQ4_XS.gguf",
        "vocab/ggml-vocab-llama-bpe.gguf",
        "vocab/ggml-vocab-bert-bge.gguf",
    };
    const char *copy = scratch_path("copy.gguf");
    if (!data_path(names[0])) {
        print_message("skipped: no test data\n");
        skip();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = data_path(names[i]);
        assert_non_null(path);
        copy_file(path, copy);
        expect_same(path, copy);
    }
}

/* ---- typed reads ----------------------------------------------------------------------- */

static void typed_test(void **state) {
    (void)state;
    const char *path = scratch_path("typed.gguf");
    sm_gguf_writer *writer = new_writer(path, 3, 32);
    put_samples(writer);
    sm_gguf_put_f32(writer, "f", 0.5f);
    sm_gguf_put_bool(writer, "yes", true);
    finish_writer(writer);
    sm_gguf *gguf = open_file(path, false);

    static const struct {
        const char *name;
        bool fits_u32, fits_i64;
        int64_t value;
    } integers[] = {
        {"test.u8.c", true, true, 255},         {"test.i8.b", false, true, -128},
        {"test.i8.c", true, true, 127},         {"test.u16.c", true, true, 65535},
        {"test.i16.b", false, true, -32768},    {"test.u32.c", true, true, UINT32_MAX},
        {"test.i32.b", false, true, INT32_MIN}, {"test.u64.a", true, true, 0},
        {"test.u64.b", false, false, 0},        {"test.i64.b", false, true, INT64_MIN},
        {"test.i64.c", false, true, INT64_MAX}, {"test.f32.a", false, false, 0},
        {"test.bool.a", false, false, 0},       {"test.str.a", false, false, 0},
        {"test.u8.array", false, false, 0},
    };
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        sm_error error = {0};
        uint32_t u32 = 12345;
        int64_t i64 = 12345;
        bool fits = integers[i].fits_u32;
        assert_int_equal(sm_source_get_u32(gguf, integers[i].name, &u32, &error),
                         fits ? SM_OK : SM_ERR_FORMAT);
        assert_int_equal(u32, fits ? integers[i].value : 12345);
        if (!fits)
            assert_non_null(strstr(error.message, integers[i].name));
        fits = integers[i].fits_i64;
        assert_int_equal(sm_source_get_i64(gguf, integers[i].name, &i64, &error),
                         fits ? SM_OK : SM_ERR_FORMAT);
        assert_true(i64 == (fits ? integers[i].value : 12345));
    }

    double f64 = 7;
    assert_int_equal(sm_source_get_f64(gguf, "f", &f64, NULL), SM_OK);
    assert_true(f64 == 0.5);
    assert_int_equal(sm_source_get_f64(gguf, "test.f64.b", &f64, NULL), SM_OK);
    assert_true(f64 == -1e-300);
    f64 = 7;
    assert_int_equal(sm_source_get_f64(gguf, "test.u16.b", &f64, NULL), SM_ERR_FORMAT);
    assert_int_equal(sm_source_get_f64(gguf, "test.i64.c", &f64, NULL), SM_ERR_FORMAT);
    assert_int_equal(sm_source_get_f64(gguf, "test.bool.b", &f64, NULL), SM_ERR_FORMAT);
    assert_int_equal(sm_source_get_f64(gguf, "test.str.a", &f64, NULL), SM_ERR_FORMAT);
    assert_true(f64 == 7);

    bool flag = false;
    assert_int_equal(sm_source_get_bool(gguf, "yes", &flag, NULL), SM_OK);
    assert_true(flag);
    assert_int_equal(sm_source_get_bool(gguf, "test.u8.a", &flag, NULL), SM_ERR_FORMAT);
    assert_true(flag);

    const char *text = NULL;
    uint64_t length = 0;
    assert_int_equal(sm_source_get_str(gguf, "test.str.c", &text, &length, NULL), SM_OK);
    assert_int_equal(length, 10);
    assert_memory_equal(text, "nul\0inside", 10);
    assert_int_equal(sm_source_get_str(gguf, "f", &text, &length, NULL), SM_ERR_FORMAT);

    sm_error error = {0};
    uint32_t u32 = 1;
    assert_int_equal(sm_source_get_u32(gguf, "none", &u32, &error), SM_ERR_MISSING);
    assert_non_null(strstr(error.message, "typed.gguf: key 'none' is missing"));

    const sm_key *key = sm_source_find_key(gguf, "test.i16.array");
    int64_t i64;
    assert_int_equal(sm_key_i64(key, 1, &i64), SM_OK);
    assert_int_equal(i64, -32768);
    assert_int_equal(sm_key_f64(key, 1, &f64), SM_OK);
    assert_true(f64 == -32768);
    assert_int_equal(sm_key_i64(key, 3, &i64), SM_ERR_FORMAT);
    assert_int_equal(sm_key_f64(key, 3, &f64), SM_ERR_FORMAT);
    key = sm_source_find_key(gguf, "test.f32.array");
    assert_int_equal(sm_key_f64(key, 1, &f64), SM_OK);
    assert_true(f64 == -1.5);
    assert_int_equal(sm_key_i64(key, 1, &i64), SM_ERR_FORMAT);
    assert_int_equal(sm_key_i64(sm_source_find_key(gguf, "test.str.array"), 0, &i64),
                     SM_ERR_FORMAT);
    sm_source_close(gguf);
    sm_source_close(NULL);
}

/* ---- the public view ------------------------------------------------------------------- */

static void expect_text(const sm_gguf *gguf, const char *name, uint64_t max_items,
                        const char *expected, size_t length) {
    const char *found = "", *type;
    uint64_t i = 0, n = 0;
    for (; strcmp(found, name) != 0; i++)
        assert_int_equal(sm_gguf_get_key(gguf, i, &found, &type, NULL), SM_OK);
    i--;
    char text[256];
    memset(text, '#', sizeof text);
    sm_error error = {0};
    expect_ok(sm_gguf_get_value(gguf, i, max_items, text, sizeof text, &n, &error), &error);
    assert_int_equal(n, length);
    assert_memory_equal(text, expected, length + 1);
    assert_int_equal(text[length + 1], '#');
    /* too small by one: the length is told, nothing past the end is touched */
    memset(text, '#', sizeof text);
    assert_int_equal(sm_gguf_get_value(gguf, i, max_items, text, length, &n, &error),
                     SM_ERR_BUFFER);
    assert_int_equal(n, length);
    assert_int_equal(text[length], '#');
    assert_int_equal(sm_gguf_get_value(gguf, i, max_items, NULL, 0, &n, &error), SM_ERR_BUFFER);
    assert_int_equal(n, length);
}

static void view_test(void **state) {
    (void)state;
    const char *path = scratch_path("view.gguf");
    write_everything(path, 3, 64);
    for (uint32_t io = 0; io < 2; io++) {
        fail_alloc counter = {0};
        sm_allocator hook = fail_allocator(&counter);
        sm_gguf_options options = {.struct_size = sizeof options, .io = io, .allocator = &hook};
        sm_gguf *gguf;
        sm_error error = {0};
        expect_ok(sm_gguf_load(&gguf, path, &options, &error), &error);
        sm_gguf_info info = {.struct_size = sizeof info};
        expect_ok(sm_gguf_get_info(gguf, &info, &error), &error);
        assert_int_equal(info.struct_size, sizeof info);
        assert_int_equal(info.version, 3);
        assert_int_equal(info.alignment, 64);
        assert_int_equal(info.n_files, 1);

        char name[64];
        uint32_t n_dims;
        uint64_t dims[4], n = 0, elements = 0, size = 0;
        for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++) {
            if (!sm_dtype_get(type))
                continue;
            sm_gguf_tensor_info tensor = {.struct_size = sizeof tensor};
            expect_ok(sm_gguf_get_tensor(gguf, n++, &tensor, &error), &error);
            tensor_spec(type, name, &n_dims, dims);
            assert_string_equal(tensor.name, name);
            assert_string_equal(tensor.type_name, sm_dtype_get(type)->name);
            assert_int_equal(tensor.type, type);
            assert_int_equal(tensor.n_dims, n_dims);
            uint64_t product = 1;
            for (uint32_t k = 0; k < 4; k++)
                product *= tensor.dims[k];
            assert_int_equal(product, (n_dims > 0 ? dims[0] : 1) * (n_dims > 1 ? dims[1] : 1) *
                                          (n_dims > 2 ? dims[2] : 1) * (n_dims > 3 ? dims[3] : 1));
            elements += product;
            size += tensor.size;
        }
        assert_int_equal(info.n_tensors, n);
        assert_int_equal(info.n_elements, elements);
        assert_int_equal(info.data_bytes, size);

        for (size_t i = 0; i < N_SAMPLES; i++) {
            const char *shown = samples[i].shown;
            size_t length = samples[i].type == SM_KEY_STRING ? 23 : strlen(shown);
            sample_name(name, i, "array");
            expect_text(gguf, name, 0, shown, length);
            expect_text(gguf, name, samples[i].n, shown, length);
            sample_name(name, i, "empty");
            expect_text(gguf, name, 3, "[]", 2);
        }
        expect_text(gguf, "test.i16.array", 2, "[0, -32768, ...]", 16);
        expect_text(gguf, "test.str.array", 1, "[one, ...]", 10);
        expect_text(gguf, "test.str.c", 0, "nul\0inside", 10);
        expect_text(gguf, "test.str.b", 0, "", 0);
        expect_text(gguf, "test.bool.b", 1, "true", 4);
        expect_text(gguf, "test.u64.c", 0, "18446744073709551615", 20);
        expect_text(gguf, "test.f32.b", 0, "-1.5", 4);
        expect_text(gguf, "general.alignment", 0, "64", 2);

        const char *key, *type;
        assert_int_equal(sm_gguf_get_key(gguf, 3, &key, &type, NULL), SM_OK);
        assert_string_equal(key, "test.u8.array");
        assert_string_equal(type, "arr[u8,3]");
        assert_int_equal(sm_gguf_get_key(gguf, 0, &key, &type, NULL), SM_OK);
        assert_string_equal(type, "u8");
        assert_int_equal(sm_gguf_get_key(gguf, 0, NULL, NULL, NULL), SM_OK);
        sm_gguf_free(gguf);
        assert_int_equal(counter.live_blocks, 0);
    }
}

static void arguments_test(void **state) {
    (void)state;
    const char *path = scratch_path("arguments.gguf");
    write_everything(path, 2, 32);
    sm_gguf *gguf;
    sm_error error = {0};
#define REFUSED(call) assert_int_equal(call, SM_ERR_ARGUMENT)
    REFUSED(sm_gguf_load(NULL, path, NULL, &error));
    gguf = (sm_gguf *)(uintptr_t)8;
    REFUSED(sm_gguf_load(&gguf, NULL, NULL, &error));
    assert_null(gguf);

    struct {
        sm_gguf_options known;
        uint64_t later;
    } options = {{.struct_size = sizeof options}, 0};
    expect_ok(sm_gguf_load(&gguf, path, &options.known, &error), &error);
    sm_gguf_free(gguf);
    options.known = (sm_gguf_options){.struct_size = 8, .allocator = &(sm_allocator){0}};
    expect_ok(sm_gguf_load(&gguf, path, &options.known, &error), &error);
    sm_gguf_free(gguf);
    options.known = (sm_gguf_options){.struct_size = sizeof options};
    options.later = 1;
    REFUSED(sm_gguf_load(&gguf, path, &options.known, &error));
    options.known.struct_size = sizeof options.known;
    options.known.io = 2;
    REFUSED(sm_gguf_load(&gguf, path, &options.known, &error));
    options.known.io = 0;
    options.known.struct_size = 7;
    REFUSED(sm_gguf_load(&gguf, path, &options.known, &error));
    options.known.struct_size = 0;
    REFUSED(sm_gguf_load(&gguf, path, &options.known, &error));
    options.known.struct_size = UINT32_MAX;
    REFUSED(sm_gguf_load(&gguf, path, &options.known, &error));
    options.known.struct_size = sizeof options.known;
    options.known.allocator = &(sm_allocator){0};
    REFUSED(sm_gguf_load(&gguf, path, &options.known, &error));
    assert_null(gguf);

    expect_ok(sm_gguf_load(&gguf, path, NULL, &error), &error);
    struct {
        sm_gguf_info known;
        uint64_t later;
    } info = {{.struct_size = sizeof info}, 5};
    REFUSED(sm_gguf_get_info(NULL, &info.known, &error));
    REFUSED(sm_gguf_get_info(gguf, NULL, &error));
    expect_ok(sm_gguf_get_info(gguf, &info.known, &error), &error);
    assert_int_equal(info.later, 0);                               /* nothing is known of it */
    info.known = (sm_gguf_info){.struct_size = 12, .n_files = 99}; /* of an earlier version */
    expect_ok(sm_gguf_get_info(gguf, &info.known, &error), &error);
    assert_int_equal(info.known.alignment, 32);
    assert_int_equal(info.known.n_files, 99);
    info.known.struct_size = 7;
    REFUSED(sm_gguf_get_info(gguf, &info.known, &error));
    info.known.struct_size = 0;
    REFUSED(sm_gguf_get_info(gguf, &info.known, &error));
    info.known.struct_size = UINT32_MAX;
    REFUSED(sm_gguf_get_info(gguf, &info.known, &error));
    info.known.struct_size = sizeof info.known;
    expect_ok(sm_gguf_get_info(gguf, &info.known, &error), &error);

    const char *name;
    char text[8];
    uint64_t n;
    REFUSED(sm_gguf_get_key(NULL, 0, &name, NULL, &error));
    REFUSED(sm_gguf_get_key(gguf, info.known.n_keys, &name, NULL, &error));
    REFUSED(sm_gguf_get_key(gguf, UINT64_MAX, &name, NULL, &error));
    REFUSED(sm_gguf_get_value(NULL, 0, 0, text, 8, &n, &error));
    REFUSED(sm_gguf_get_value(gguf, 0, 0, text, 8, NULL, &error));
    REFUSED(sm_gguf_get_value(gguf, 0, 0, NULL, 8, &n, &error));
    REFUSED(sm_gguf_get_value(gguf, info.known.n_keys, 0, text, 8, &n, &error));
    sm_gguf_tensor_info tensor = {.struct_size = sizeof tensor};
    REFUSED(sm_gguf_get_tensor(NULL, 0, &tensor, &error));
    REFUSED(sm_gguf_get_tensor(gguf, 0, NULL, &error));
    REFUSED(sm_gguf_get_tensor(gguf, info.known.n_tensors, &tensor, &error));
    tensor.struct_size = 4;
    REFUSED(sm_gguf_get_tensor(gguf, 0, &tensor, &error));
#undef REFUSED
    sm_gguf_free(gguf);
    sm_gguf_free(NULL);
}

/* ---- numbers as text ------------------------------------------------------------------- */

/* The text of each value of an array key, one after the other. */
static char *values_text(const char *path, sm_key_type type, const void *values, uint64_t count) {
    sm_gguf_writer *writer = new_writer(path, 3, 32);
    sm_gguf_put_array(writer, "x", type, values, count);
    finish_writer(writer);
    sm_gguf *gguf = open_file(path, true);
    uint64_t n = 0;
    sm_gguf_get_value(gguf, 0, 0, NULL, 0, &n, NULL);
    char *text = malloc(n + 1);
    assert_int_equal(sm_gguf_get_value(gguf, 0, 0, text, n + 1, &n, NULL), SM_OK);
    sm_source_close(gguf);
    return text;
}

static int significant_digits(const char *text) {
    int n = 0, zeros = 0;
    for (; *text && *text != 'e' && *text != ','; text++)
        if (*text >= '0' && *text <= '9') {
            zeros = *text == '0' && n ? zeros + 1 : 0;
            n += *text != '0' || n;
        }
    return n - zeros;
}

static void shortest_f64_test(void **state) {
    (void)state;
    enum { N = 5000 };
    static double values[N] = {
        0,    -0.0, 1,    -1,  0.1,  1e-5,     123456, 5e-324, 1e23,   9.5e-323,
        1e16, 1e17, 1e-4, 0.3, 4.35, 2.2e-308, 1e22,   1 / 3., 2 / 3., 9007199254740993.0};
    uint64_t seed = 3;
    for (size_t i = 20; i < N; i++)
        do {
            uint64_t bits = test_random(&seed);
            if (i % 4 == 1) /* powers of two: the gap below is narrower */
                bits &= (uint64_t)0xfff << 52;
            if (i % 4 == 2) /* few digits */
                values[i] = (double)(int64_t)(bits % 2000001 - 1000000) / 1000;
            else
                memcpy(&values[i], &bits, sizeof bits);
        } while (!isfinite(values[i]));
    char *text = values_text(scratch_path("f64.gguf"), SM_KEY_FLOAT64, values, N), *at = text + 1;
    for (size_t i = 0; i < N; i++) {
        char *end, other[40];
        double back = strtod(at, &end);
        assert_memory_equal(&back, &values[i], sizeof back); /* the sign of zero too */
        assert_true(*end == (i + 1 < N ? ',' : ']'));
        int digits = 1;
        for (; digits < 17; digits++) {
            sprintf(other, "%.*e", digits - 1, values[i]);
            if (strtod(other, NULL) == values[i])
                break;
        }
        assert_true(significant_digits(at) <= digits);
        at = end + 2;
    }
    free(text);
}

static void shortest_f32_test(void **state) {
    (void)state;
    enum { N = 5000 };
    static float values[N] = {0, 1, 0.1f, 1e-5f, 1e-6f, 1e-45f, 16777216, 10000, 5e5f, 3e10f};
    uint64_t seed = 4;
    for (size_t i = 10; i < N; i++)
        do {
            uint32_t bits = (uint32_t)test_random(&seed);
            if (i % 4 == 1)
                bits &= (uint32_t)0x1ff << 23;
            memcpy(&values[i], &bits, sizeof bits);
        } while (!isfinite(values[i]));
    char *text = values_text(scratch_path("f32.gguf"), SM_KEY_FLOAT32, values, N), *at = text + 1;
    for (size_t i = 0; i < N; i++) {
        char *end, other[40];
        float back = strtof(at, &end);
        assert_memory_equal(&back, &values[i], sizeof back);
        int digits = 1;
        for (; digits < 9; digits++) {
            sprintf(other, "%.*e", digits - 1, (double)values[i]);
            if (strtof(other, NULL) == values[i])
                break;
        }
        assert_true(significant_digits(at) <= digits);
        at = end + 2;
    }
    free(text);
}

static void notation_test(void **state) {
    (void)state;
    static const double values[] = {
        10000, 1e-5, 1e-6, 12345678901234567.0, 1e17, 1.5e17, -2.5e-10, 0.00012, 100.25, -0.0};
    char *text = values_text(scratch_path("notation.gguf"), SM_KEY_FLOAT64, values, 10);
    assert_string_equal(text, "[10000, 0.00001, 1e-6, 12345678901234568, 1e17, 1.5e17, -2.5e-10, "
                              "0.00012, 100.25, -0]");
    free(text);
    const float special[] = {INFINITY, -INFINITY, NAN, 0.1f};
    text = values_text(scratch_path("notation.gguf"), SM_KEY_FLOAT32, special, 4);
    assert_string_equal(text, "[inf, -inf, nan, 0.1]");
    free(text);
}

/* ---- size ------------------------------------------------------------------------------ */

static void many_test(void **state) {
    (void)state;
    const char *path = scratch_path("many.gguf");
    sm_gguf_writer *writer = new_writer(path, 3, 8);
    sm_error error = {0};
    char name[32];
    for (uint32_t i = 0; i < 40000; i++) {
        sprintf(name, "key.%u", i * 7919 % 40000);
        assert_int_equal(sm_gguf_put_u32(writer, name, i), SM_OK);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        sprintf(name, "tensor.%u", i * 7919 % 100000);
        assert_int_equal(
            sm_gguf_declare_tensor(writer, name, SM_DTYPE_I32, 1, (uint64_t[]){1}, &error), SM_OK);
    }
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(sm_gguf_write_tensor(writer, &i, 4, &error), SM_OK);
    finish_writer(writer);
    sm_gguf *gguf = open_file(path, true);
    for (uint32_t i = 0; i < 40000; i++) {
        uint32_t value;
        sprintf(name, "key.%u", i * 7919 % 40000);
        assert_int_equal(sm_source_get_u32(gguf, name, &value, NULL), SM_OK);
        assert_int_equal(value, i);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        sprintf(name, "tensor.%u", i * 7919 % 100000);
        const sm_tensor *tensor = sm_source_find_tensor(gguf, name);
        assert_non_null(tensor);
        assert_memory_equal(tensor->data, &i, 4);
    }
    sm_source_close(gguf);
}

static void tiny_test(void **state) {
    (void)state;
    const char *path = scratch_path("tiny.gguf");
    finish_writer(new_writer(path, 3, 32)); /* no keys, no tensors */
    sm_gguf *gguf = open_file(path, true);
    assert_int_equal(gguf->n_keys + gguf->n_tensors, 0);
    assert_null(sm_source_find_key(gguf, "x"));
    assert_null(sm_source_find_tensor(gguf, "x"));
    sm_source_close(gguf);

    /* the longest names */
    char *name = malloc(SM_SOURCE_MAX_NAME + 2);
    memset(name, 'n', SM_SOURCE_MAX_NAME + 1);
    name[SM_SOURCE_MAX_NAME + 1] = 0;
    sm_gguf_writer *writer = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_u32(writer, name + 1, 1), SM_OK);
    assert_int_equal(sm_gguf_declare_tensor(writer, name + 1, 0, 0, NULL, NULL), SM_OK);
    assert_int_equal(sm_gguf_write_tensor(writer, "1234", 4, NULL), SM_OK);
    finish_writer(writer);
    gguf = open_file(path, true);
    assert_non_null(sm_source_find_key(gguf, name + 1));
    assert_non_null(sm_source_find_tensor(gguf, name + 1));
    sm_source_close(gguf);
    writer = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_u32(writer, name, 1), SM_ERR_ARGUMENT);
    sm_gguf_writer_abort(writer);
    free(name);
}

/* ---- split models ---------------------------------------------------------------------- */

typedef struct split {
    uint16_t number, count;
    int32_t tensors;
    bool with_number, with_count, with_tensors;
    uint32_t alignment;
    uint32_t n, first; /* tensors "t<first>" … of this part */
} split;

static void write_part(const char *path, const split *s) {
    sm_gguf_writer *writer = new_writer(path, 3, s->alignment);
    if (s->number == 0)
        sm_gguf_put_str(writer, "general.architecture", "llama", 5);
    if (s->with_number)
        sm_gguf_put_scalar(writer, "split.no", SM_KEY_UINT16, &s->number);
    if (s->with_count)
        sm_gguf_put_scalar(writer, "split.count", SM_KEY_UINT16, &s->count);
    if (s->with_tensors)
        sm_gguf_put_scalar(writer, "split.tensors.count", SM_KEY_INT32, &s->tensors);
    char name[16];
    for (uint32_t i = 0; i < s->n; i++) {
        sprintf(name, "t%u", s->first + i);
        sm_gguf_declare_tensor(writer, name, SM_DTYPE_I32, 1, (uint64_t[]){1}, NULL);
    }
    for (uint32_t i = 0; i < s->n; i++)
        sm_gguf_write_tensor(writer, &(uint32_t){s->first + i}, 4, NULL);
    finish_writer(writer);
}

static const char *part_path(unsigned number) {
    char name[64];
    sprintf(name, "split-%05u-of-00003.gguf", number);
    return scratch_path(name);
}

/* Three parts of 0, 2 and 3 tensors, the second with another alignment. */
static void write_split(void) {
    static const uint32_t n[] = {0, 2, 3}, first[] = {0, 0, 2}, alignment[] = {32, 64, 32};
    for (uint16_t i = 0; i < 3; i++)
        write_part(part_path(i + 1u),
                   &(split){i, 3, 5, true, true, true, alignment[i], n[i], first[i]});
}

static void split_test(void **state) {
    (void)state;
    write_split();
    for (int map = 0; map < 2; map++) {
        sm_gguf *gguf = open_file(part_path(1), map);
        assert_int_equal(gguf->n_files, 3);
        assert_int_equal(gguf->alignment, 32);
        assert_int_equal(gguf->n_tensors, 5);
        assert_int_equal(gguf->n_keys, 4);
        for (uint32_t i = 0; i < 5; i++) {
            char name[16];
            sprintf(name, "t%u", i);
            const sm_tensor *tensor = sm_source_find_tensor(gguf, name);
            assert_non_null(tensor);
            assert_int_equal(tensor->shard, i < 2 ? 1 : 2);
            assert_memory_equal(tensor->data, &i, 4);
            sm_gguf_tensor_info info = {.struct_size = sizeof info};
            sm_gguf_get_tensor(gguf, (uint64_t)(tensor - gguf->tensors), &info, NULL);
            assert_int_equal(info.file, tensor->shard);
        }
        sm_source_close(gguf);
    }
    /* a part alone, as some tools leave them, is an ordinary file */
    const char *single = scratch_path("single.gguf");
    write_part(single, &(split){0, 1, 2, true, true, true, 32, 2, 0});
    sm_source_close(open_file(single, true));
}

static void expect_split_fails(const char *path, sm_status expected, const char *fragment) {
    for (int map = 0; map < 2; map++) {
        sm_gguf *gguf;
        sm_error error = {0};
        sm_status status = sm_source_open(&gguf, &memory, path, map, &error);
        if (status != expected)
            fail_msg("status %d: %s", (int)status, error.message);
        assert_null(gguf);
        if (!strstr(error.message, fragment))
            fail_msg("'%s' is not in '%s'", fragment, error.message);
        assert_int_equal(memory.in_use, 0);
    }
}

static void split_fails_test(void **state) {
    (void)state;
    write_split();
    const char *one = part_path(1), *two = part_path(2), *three = part_path(3);
    expect_split_fails(two, SM_ERR_UNSUPPORTED, "part 2 of 3 of a split model; open its first");
    expect_split_fails(three, SM_ERR_UNSUPPORTED, "part 3 of 3");

    remove(three);
    expect_split_fails(one, SM_ERR_IO, "split-00003-of-00003.gguf: cannot open: no such file");
    const split good = {2, 3, 5, true, true, true, 32, 3, 2};
    split bad = good;
    bad.number = 1;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "expected part 3 of 3");
    bad = good;
    bad.count = 4;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "'split.count' is 4");
    bad = good;
    bad.with_number = false;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "expected part 3 of 3");
    bad = good;
    bad.with_count = false;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "expected part 3 of 3");
    bad = good;
    bad.tensors = 6;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "00003-of-00003.gguf: key 'split.tensors.count' is 6");
    bad = good;
    bad.n = 2;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "'split.tensors.count' is 5, but there are 4");
    bad = good;
    bad.first = 1;
    write_part(three, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "tensor 't1': appears more than once");
    scratch_write(three, "GGUF", 4);
    expect_split_fails(one, SM_ERR_FORMAT, "split-00003-of-00003.gguf: the file ends");

    bad = (split){0, 3, 5, false, true, true, 32, 0, 0};
    write_part(one, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "'split.no' is missing");
    bad.with_number = true;
    bad.with_count = false;
    bad.number = 1;
    write_part(one, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "'split.no' is 1 but 'split.count' is missing");
    bad.with_count = true;
    bad.number = 3;
    write_part(one, &bad);
    expect_split_fails(one, SM_ERR_FORMAT, "'split.no' is out of range");
    bad.number = 0;
    bad.count = 65535;
    write_part(one, &bad);
    expect_split_fails(one, SM_ERR_UNSUPPORTED, "'split.count' is 65535");

    /* the names of the parts come from the path alone */
    static const char *const names[] = {
        "plain.gguf",           "x-00001-of-00004.gguf", "x-00002-of-00003.gguf", "x-1-of-3.gguf",
        "-00001-of-00003.gguf", "x-00001-of-00003.GGUF", "x-0000a-of-00003.gguf"};
    bad.count = 3;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = scratch_path(names[i]);
        write_part(path, &bad);
        if (strcmp(names[i], "-00001-of-00003.gguf") == 0)
            expect_split_fails(path, SM_ERR_IO, "-00002-of-00003.gguf: cannot open");
        else
            expect_split_fails(path, SM_ERR_FORMAT, "does not say -00001-of-");
    }
    /* more tensors in all than are read */
    one = part_path(1), two = part_path(2), three = part_path(3);
    write_part(one, &(split){0, 3, 140000, true, true, true, 32, 70000, 0});
    write_part(two, &(split){1, 3, 140000, true, true, true, 32, 70000, 70000});
    write_part(three, &(split){2, 3, 140000, true, true, true, 32, 0, 0});
    expect_split_fails(one, SM_ERR_UNSUPPORTED, "140000 tensors in all parts");

    /* keys of the wrong type or below 0 */
    for (int i = 0; i < 3; i++) {
        sm_gguf_writer *writer = new_writer(one, 3, 32);
        if (i == 0)
            sm_gguf_put_scalar(writer, "split.count", SM_KEY_INT32, &(int32_t){-1});
        else if (i == 1)
            sm_gguf_put_str(writer, "split.count", "3", 1);
        else
            sm_gguf_put_array(writer, "split.count", SM_KEY_INT32, &(int32_t){3}, 1);
        finish_writer(writer);
        expect_split_fails(one, SM_ERR_FORMAT, "key 'split.count': not a whole number from 0");
    }
    char old_directory[4096];
    assert_non_null(getcwd(old_directory, sizeof old_directory));
    assert_int_equal(chdir(scratch_path(".")), 0);
    write_part("x.gguf", &bad);
    expect_split_fails("x.gguf", SM_ERR_FORMAT, "does not say -00001-of-");
    assert_int_equal(chdir(old_directory), 0);

    size_t size;
    uint8_t *data = scratch_read(scratch_path("plain.gguf"), &size);
    sm_gguf *gguf;
    assert_int_equal(sm_source_open_bytes(&gguf, &memory, data, size, "bytes", NULL),
                     SM_ERR_UNSUPPORTED);
    free(data);
}

/* ---- writer errors --------------------------------------------------------------------- */

/* finish fails with that status and message, and leaves no file. */
static void expect_finish(sm_gguf_writer *writer, sm_status expected, const char *fragment) {
    sm_error error = {0};
    size_t files = scratch_count();
    assert_int_equal(sm_gguf_writer_finish(writer, &error), expected);
    if (!strstr(error.message, fragment))
        fail_msg("'%s' is not in '%s'", fragment, error.message);
    assert_int_equal(scratch_count(), files - 1); /* the temporary is gone */
    assert_int_equal(memory.in_use, 0);
}

static void writer_errors_test(void **state) {
    (void)state;
    const char *path = scratch_path("refused.gguf");
    sm_gguf_writer *w;
    sm_error error = {0};
    static const uint32_t alignments[] = {0, 1, 4, 7, 33, SM_GGUF_MAX_ALIGNMENT + 8, UINT32_MAX};
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++)
        assert_int_equal(sm_gguf_writer_open(&w, &memory, path, 3, alignments[i], &error),
                         SM_ERR_ARGUMENT);
    assert_int_equal(sm_gguf_writer_open(&w, &memory, path, 1, 32, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_gguf_writer_open(&w, &memory, path, 4, 32, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_gguf_writer_open(&w, &memory, scratch_path("."), 3, 32, &error), SM_ERR_IO);
    assert_null(w);

    const uint64_t dims[] = {32, 2};
    w = new_writer(path, 3, 32);
    sm_gguf_put_u32(w, "a", 1);
    sm_gguf_put_u32(w, "b", 1);
    sm_gguf_put_u32(w, "a", 2);
    expect_finish(w, SM_ERR_ARGUMENT, "key 'a' was given twice");

    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "t", 0, 2, dims, NULL);
    sm_gguf_declare_tensor(w, "t", 0, 1, dims, NULL);
    expect_finish(w, SM_ERR_ARGUMENT, "tensor 't' was given twice");

    w = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_u32(w, "", 1), SM_ERR_ARGUMENT);
    assert_int_equal(sm_gguf_put_u32(w, "later", 1), SM_ERR_ARGUMENT); /* the first remains */
    assert_int_equal(sm_gguf_declare_tensor(w, "t", 0, 2, dims, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_gguf_write_tensor(w, "", 0, &error), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "name is empty");

    w = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_array(w, "k", SM_KEY_ARRAY, "", 1), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "key 'k'");
    w = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_array(w, "k", (sm_key_type)13, "", 1), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "key 'k'");
    w = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_array(w, "k", SM_KEY_UINT64, "", UINT64_MAX / 4), SM_ERR_NOMEM);
    expect_finish(w, SM_ERR_NOMEM, "out of memory");

    w = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_str(w, "k", "x", UINT64_MAX), SM_ERR_NOMEM);
    expect_finish(w, SM_ERR_NOMEM, "out of memory");
    w = new_writer(path, 3, 32);
    assert_int_equal(sm_gguf_put_str(w, "k", "x", UINT64_MAX - 24), SM_ERR_NOMEM);
    expect_finish(w, SM_ERR_NOMEM, "out of memory");
    w = new_writer(path, 3, 32);
    for (uint32_t i = 0; i <= SM_SOURCE_MAX_KEYS; i++) {
        char name[16];
        sprintf(name, "%u", i);
        assert_int_equal(sm_gguf_put_u32(w, name, i),
                         i < SM_SOURCE_MAX_KEYS ? SM_OK : SM_ERR_ARGUMENT);
    }
    expect_finish(w, SM_ERR_ARGUMENT, "more than 65536 keys");

    w = new_writer(path, 3, 32);
    sm_gguf_put_u32(w, "general.alignment", 64);
    expect_finish(w, SM_ERR_ARGUMENT, "'general.alignment' is not the writer's alignment 32");
    w = new_writer(path, 3, 32);
    sm_gguf_put_str(w, "general.alignment", "32", 2);
    expect_finish(w, SM_ERR_ARGUMENT, "general.alignment");
    w = new_writer(path, 3, 64);
    sm_gguf_put_u32(w, "general.alignment", 64);
    sm_gguf_writer_abort(w);

    static const struct {
        uint32_t type, n_dims;
        uint64_t dims[4];
    } shapes[] = {
        {4, 1, {32}},
        {SM_DTYPE_COUNT, 1, {32}},
        {UINT32_MAX, 1, {32}},
        {0, 5, {1, 1, 1, 1}},
        {0, 2, {32, 0}},
        {SM_DTYPE_Q4_0, 1, {33}},
        {SM_DTYPE_Q4_0, 0, {0}},
        {0, 2, {(uint64_t)1 << 32, (uint64_t)1 << 32}},
        {0, 1, {UINT64_MAX}},
        {SM_DTYPE_F64, 1, {(uint64_t)1 << 61}},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        w = new_writer(path, 3, 32);
        error = (sm_error){0};
        assert_int_equal(sm_gguf_declare_tensor(w, "odd", shapes[i].type, shapes[i].n_dims,
                                                shapes[i].dims, &error),
                         SM_ERR_ARGUMENT);
        assert_int_equal(error.code, SM_ERR_ARGUMENT);
        expect_finish(w, SM_ERR_ARGUMENT, "odd: ");
    }
    w = new_writer(path, 3, 32);
    const uint64_t huge[] = {(uint64_t)1 << 62};
    assert_int_equal(sm_gguf_declare_tensor(w, "a", SM_DTYPE_I8, 1, huge, &error), SM_OK);
    assert_int_equal(sm_gguf_declare_tensor(w, "b", SM_DTYPE_I8, 1, huge, &error), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "add up to too much");

    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    sm_gguf_declare_tensor(w, "second", SM_DTYPE_I8, 2, dims, NULL);
    assert_int_equal(sm_gguf_write_tensor(w, tensor_data, 68, NULL), SM_OK);
    expect_finish(w, SM_ERR_STATE, "tensor 'second' was given no data");
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    assert_int_equal(sm_gguf_write_tensor(w, tensor_data, 64, NULL), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "tensor 'first' takes 68 bytes of data, not 64");
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    sm_gguf_write_tensor(w, tensor_data, 68, NULL);
    assert_int_equal(sm_gguf_put_u32(w, "late", 1), SM_ERR_STATE);
    expect_finish(w, SM_ERR_STATE, "key 'late' comes after");
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    sm_gguf_write_tensor(w, tensor_data, 68, NULL);
    assert_int_equal(sm_gguf_write_tensor(w, tensor_data, 68, NULL), SM_ERR_STATE);
    expect_finish(w, SM_ERR_STATE, "more tensors than were declared");

    /* in parts */
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    assert_int_equal(sm_gguf_write_part(w, tensor_data, 60, NULL), SM_OK);
    expect_finish(w, SM_ERR_STATE, "tensor 'first' was given too little data");
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    assert_int_equal(sm_gguf_write_part(w, tensor_data, 60, NULL), SM_OK);
    assert_int_equal(sm_gguf_write_part(w, tensor_data, 9, NULL), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "tensor 'first' takes 68 bytes of data, not 69");
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
    assert_int_equal(sm_gguf_write_part(w, tensor_data, 4, NULL), SM_OK);
    assert_int_equal(sm_gguf_write_tensor(w, tensor_data, 64, NULL), SM_ERR_ARGUMENT);
    expect_finish(w, SM_ERR_ARGUMENT, "tensor 'first' takes 68 bytes");
    sm_gguf_writer_abort(NULL);
}

/* Parts make the same file as whole tensors. */
static void parts_test(void **state) {
    (void)state;
    const uint64_t dims[] = {32, 2};
    const char *paths[2] = {scratch_path("whole.gguf"), scratch_path("parts.gguf")};
    uint8_t *files[2];
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        sm_gguf_writer *w = new_writer(paths[i], 3, 64);
        sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL);
        sm_gguf_declare_tensor(w, "second", SM_DTYPE_I8, 2, dims, NULL);
        for (uint64_t at = 0; i && at < 68; at += 17)
            assert_int_equal(sm_gguf_write_part(w, tensor_data + at, 17, NULL), SM_OK);
        if (!i)
            assert_int_equal(sm_gguf_write_tensor(w, tensor_data, 68, NULL), SM_OK);
        assert_int_equal(sm_gguf_write_tensor(w, tensor_data, 64, NULL), SM_OK);
        assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
        files[i] = scratch_read(paths[i], &sizes[i]);
    }
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(files[0], files[1], sizes[0]);
    free(files[0]);
    free(files[1]);
}

/* ---- what is no GGUF file, or another kind of one ---------------------------------- */

/* ---- sealed files ------------------------------------------------------------------------ */

static int32_t stop_at(void *user, uint64_t done, uint64_t total) {
    uint64_t *left = user;
    assert_true(done < total);
    return (*left)-- == 0;
}

static sm_status check_seal(const char *path, bool map, const sm_hook *hook) {
    sm_gguf *gguf = open_file(path, map);
    const sm_status status = sm_source_check_seal(gguf, hook, NULL);
    sm_source_close(gguf);
    return status;
}

static void seal_test(void **state) {
    (void)state;
    enum { LARGE = 5 << 20 };
    uint8_t *data = malloc(LARGE);
    const uint64_t sizes[] = {LARGE, 3};
    uint64_t seed = 11;
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (uint8_t)test_random(&seed);
    for (uint32_t alignment = 8; alignment <= 128; alignment *= 4) {
        char path[512];
        snprintf(path, sizeof path, "%s", scratch_path("sealed.gguf"));
        sm_gguf_writer *w = new_writer(path, 3, alignment);
        sm_error error = {0};
        sm_gguf_put_u32(w, "a.key", 7);
        for (int i = 0; i < 2; i++)
            expect_ok(sm_gguf_declare_tensor(w, i ? "b" : "a", SM_DTYPE_I8, 1, &sizes[i], &error),
                      &error);
        expect_ok(sm_gguf_declare_seal(w, &error), &error);
        expect_ok(sm_gguf_write_part(w, data, 1000, &error), &error);
        expect_ok(sm_gguf_write_part(w, data + 1000, LARGE - 1000, &error), &error);
        expect_ok(sm_gguf_write_tensor(w, data, 3, &error), &error);
        finish_writer(w);
        uint64_t questions = 100;
        const sm_hook hook = {stop_at, &questions};
        assert_int_equal(check_seal(path, true, &hook), SM_OK);
        assert_int_equal(check_seal(path, false, NULL), SM_OK);
        assert_int_equal(questions, 100 - 2); /* every 4 MiB */
        questions = 1;
        assert_int_equal(check_seal(path, true, &hook), SM_ERR_CANCELLED);
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        const long size = ftell(file);
        for (long i = 0; i < 40; i++) { /* at the file's end, and anywhere in the data */
            const long at = i < 20 ? 1 + i * 3 : 100 + (long)(test_random(&seed) % LARGE);
            for (int restore = 0; restore < 2; restore++) {
                assert_int_equal(fseek(file, size - at, SEEK_SET), 0);
                const int byte = fgetc(file);
                assert_int_equal(fseek(file, size - at, SEEK_SET), 0);
                fputc(byte ^ 1, file);
                fflush(file);
                assert_int_equal(check_seal(path, i % 2, NULL), restore ? SM_OK : SM_ERR_FORMAT);
            }
        }
        fclose(file);
    }
    free(data);

    /* none, and one that is not the last */
    const char *path = scratch_path("unsealed.gguf");
    finish_writer(new_writer(path, 3, 32));
    assert_int_equal(check_seal(path, true, NULL), SM_ERR_MISSING);
    sm_gguf_writer *w = new_writer(path, 3, 32);
    sm_error error = {0};
    const uint64_t eight = SM_GGUF_SEAL_BYTES;
    sm_gguf_declare_seal(w, NULL);
    sm_gguf_declare_tensor(w, "after", SM_DTYPE_I8, 1, &eight, NULL);
    assert_int_equal(sm_gguf_writer_finish(w, &error), SM_ERR_STATE);
    w = new_writer(path, 3, 32);
    sm_gguf_declare_tensor(w, SM_GGUF_SEAL, SM_DTYPE_I8, 1, &eight, NULL);
    sm_gguf_declare_tensor(w, "after", SM_DTYPE_I8, 1, &eight, NULL);
    sm_gguf_write_tensor(w, "12345678", 8, NULL);
    sm_gguf_write_tensor(w, "12345678", 8, NULL);
    finish_writer(w);
    assert_int_equal(check_seal(path, true, NULL), SM_ERR_FORMAT);
}

/* Files of other formats by their beginnings: what the message calls them and advises. */
static void foreign_files_test(void **state) {
    (void)state;
#define BYTES(text) text, sizeof text - 1
    static const struct {
        const char *bytes;
        size_t size;
        const char *what, *advice;
    } cases[] = {
        {BYTES("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0model/data.pkl"), "a PyTorch file",
         "save_pretrained"},
        {BYTES("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0model.gguf"), "a zip archive", "unpack"},
        {BYTES("\x80\2\x8a\x0al\xfc\x9c"), "a PyTorch file (Python pickle)", "save_pretrained"},
        {BYTES("\x80\4\x95"), "a Python pickle", "convert_hf"},
        {BYTES("\x1f\x8b\x08"), "a gzip file", "gunzip"},
        {BYTES("\xFD\x37zXZ\0"), "an xz file", "xz -d"},
        {BYTES("\x28\xB5\x2F\xFD"), "a zstd file", "zstd -d"},
        {BYTES("BZh9"), "a bzip2 file", "bunzip2"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 12\n"),
         "a Git LFS pointer", "git lfs pull"},
        {BYTES("version https://hawser.github.com/spec/v1\noid sha256:1f\nsize 12\n"),
         "a Git LFS pointer", "git lfs pull"},
        {BYTES("<!DOCTYPE html><html>"), "an HTML page", "/resolve/"},
        {BYTES("\xEF\xBB\xBF \n<HTML lang=en>"), "an HTML page", "/resolve/"},
        {BYTES("<?xml version='1.0'?><Error>"), "an XML document", "fetch"},
        {BYTES("\x40\0\0\0\0\0\0\0{\"a.weight\":{\"dtype\":\"BF16\""), "a safetensors file",
         "name the directory"},
        {BYTES("\x40\0\0\0\0\0\0\0{\"q_proj.lora_A.weight\":{}"), "of a PEFT adapter",
         "adapter of its model"},
        {BYTES("{\n  \"metadata\": {}, \"weight_map\": {}}"), "the index of a safetensors",
         "name the directory"},
        {BYTES("{\"peft_type\": \"LORA\"}"), "configuration of a PEFT adapter",
         "adapter of its model"},
        {BYTES("{ \"architectures\": [\"LlamaForCausalLM\"]}"), "configuration of a Hugging Face",
         "name the directory"},
        {BYTES("{\"version\": \"1.0\", \"added_tokens\": []"), "tokenizer.json", "convert_hf"},
        {BYTES("{\"error\":\"Entry not found\"}"), "error message", "fetch"},
        {BYTES("[{\"instruction\": \"a\"}]"), "a JSON file", "model"},
        {BYTES("lmgg\1\0\0\0"), "a GGML file", "convert the original"},
        {BYTES("fmgg\1\0\0\0"), "a GGMF file", "convert the original"},
        {BYTES("tjgg\3\0\0\0"), "a GGJT file", "convert the original"},
        {BYTES("algg\1\0\0\0"), "a GGLA file", "convert_lora"},
        {BYTES("qsgg\1\0\0\0"), "a session that llama.cpp saved", "model"},
        {BYTES("\x60\0\0\0\x17\0\0\0blk.0.attn_k.weight"), "an importance matrix of the old kind",
         "--imatrix"},
        {BYTES("MZqFpD='"), "a llamafile", "GGUF"},
        {BYTES("\x7F"
               "ELF\2\1\1"),
         "a program or library", "model"},
        {BYTES("\n\x0e\n\5<unk>\x15\0\0\0\0"), "a SentencePiece vocabulary", "GGUF"},
        {BYTES("\x08\x08\x12\x07pytorch\x1a"), "an ONNX model", "convert_hf"},
        {BYTES("\x93NUMPY\1\0"), "a NumPy array", "convert_hf"},
        {BYTES("FUGG\0\0\0\3"), "a GGUF file of a big-endian machine", "little-endian"},
        {BYTES("Not found\n"), "a text file", "model"},
        {BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "nothing but zero bytes", "again"},
        {BYTES("\x01\x02\xF3"), "it does not begin with", ""},
        {BYTES("\x40\0\0\0\0\0\0\0{nothing"), "it does not begin with", ""},
        {BYTES("GG"), "a text file", ""},
    };
#undef BYTES
    const char *path = scratch_path("foreign");
    static uint8_t large[100000];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_gguf *gguf;
        sm_error error = {0};
        scratch_write(path, cases[i].bytes, cases[i].size);
        assert_int_equal(sm_source_open(&gguf, &memory, path, i % 2 == 0, &error), SM_ERR_FORMAT);
        if (!strstr(error.message, "not a GGUF file") || !strstr(error.message, path) ||
            !strstr(error.message, cases[i].what) || !strstr(error.message, cases[i].advice))
            fail_msg("case %zu: %s", i, error.message);
        /* every part of it, exactly as long, for the sanitizers */
        for (size_t n = 1; n <= cases[i].size; n++) {
            uint8_t *part = malloc(n);
            assert_non_null(part);
            memcpy(part, cases[i].bytes, n);
            sm_source_open_bytes(&gguf, &memory, part, n, "part", &error);
            assert_null(gguf);
            free(part);
        }
    }
    /* a tar archive's mark comes late; a text is looked at only so far, and may break off there */
    memcpy(large + 257, "ustar", 5);
    large[0] = 'm';
    sm_error error = {0};
    assert_int_equal(sm_recognize_bytes("t", large, 512, &error), SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "a tar archive"));
    for (size_t i = 0; i + 2 <= sizeof large; i += 3)
        memcpy(large + i, "\xE2\x82\xAC", i + 3 <= sizeof large ? 3 : sizeof large - i);
    assert_int_equal(sm_recognize_bytes("t", large, sizeof large, &error), SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "a text file"));
    assert_int_equal(sm_recognize_bytes("t", large, 4, &error), SM_OK); /* a whole one may not */
}

static void foreign_paths_test(void **state) {
    (void)state;
    static const struct {
        const char *files[2], *what, *advice;
    } cases[] = {
        {{"readme", "model-00001-of-00002.safetensors"}, "without config.json", "put the model's"},
        {{"readme", "pytorch_model.bin"}, "pickles", "save_pretrained"},
        {{"adapter_config.json", "adapter_model.safetensors"},
         "a PEFT adapter",
         "adapter of its model"},
        {{"b.gguf", "a.gguf"}, "a directory", "a.gguf"},
        {{"readme.txt", "notes"}, "a directory", "GGUF"},
        {{NULL, NULL}, "a directory", "GGUF"},
    };
    const char *directory = scratch_path("directory");
    char path[600];
    sm_gguf *gguf;
    sm_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mkdir(directory, 0700), 0);
        for (size_t k = 0; k < 2 && cases[i].files[k]; k++) {
            snprintf(path, sizeof path, "%s/%s", directory, cases[i].files[k]);
            scratch_write(path, "x", 1);
        }
        for (int map = 0; map < 2; map++) {
            assert_int_equal(sm_source_open(&gguf, &memory, directory, map, &error), SM_ERR_IO);
            if (!strstr(error.message, directory) || !strstr(error.message, cases[i].what) ||
                !strstr(error.message, cases[i].advice))
                fail_msg("case %zu: %s", i, error.message);
        }
        for (size_t k = 0; k < 2 && cases[i].files[k]; k++) {
            snprintf(path, sizeof path, "%s/%s", directory, cases[i].files[k]);
            assert_int_equal(remove(path), 0);
        }
        assert_int_equal(rmdir(directory), 0);
    }
    static const char *const addresses[] = {"https://huggingface.co/a/b/resolve/main/c.gguf",
                                            "http://x/y.gguf", "hf.co/a/b", "hf://a/b"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_int_equal(sm_source_open(&gguf, &memory, addresses[i], true, &error), SM_ERR_IO);
        assert_non_null(strstr(error.message, addresses[i]));
        assert_non_null(strstr(error.message, "is an address"));
    }
    assert_int_equal(sm_source_open(&gguf, &memory, "/nonexistent/x.gguf", true, &error),
                     SM_ERR_IO);
    assert_non_null(strstr(error.message, "no such file"));
    static const struct {
        const char *path;
        bool repository;
    } names[] = {{"TheOwner/Llama-2-7B.Q4_K_M-GGUF", true},
                 {"a/b/c", false},
                 {"./a/b", false},
                 {"nowhere", false},
                 {"nowhere/", false},
                 {"../a", false},
                 {"~/b", false}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(sm_source_open(&gguf, &memory, names[i].path, true, &error), SM_ERR_IO);
        assert_int_equal(strstr(error.message, "a repository's name") != NULL, names[i].repository);
        assert_non_null(strstr(error.message, "no such file"));
    }
}

/* GGUF files that hold something else, for every use; sm_source_expect tells by keys alone. */
static void contents_test(void **state) {
    (void)state;
    static const struct {
        const char *key, *text; /* NULL: a number */
        uint32_t content;
        const char *what;
    } cases[] = {
        {"general.type", "model", SM_GGUF_HOLDS_MODEL, "is a model, not"},
        {"general.type", "adapter", SM_GGUF_HOLDS_ADAPTER, "is a LoRA adapter"},
        {"adapter.type", "lora", SM_GGUF_HOLDS_ADAPTER, "is a LoRA adapter"},
        {"general.type", "imatrix", SM_GGUF_HOLDS_IMATRIX, "is an importance matrix"},
        {"general.type", "mmproj", SM_GGUF_HOLDS_OTHER, "mmproj"},
        {"general.architecture", "clip", SM_GGUF_HOLDS_OTHER, "mmproj"},
        {"general.type", "checkpoint", SM_GGUF_HOLDS_CHECKPOINT, "is a training checkpoint"},
        {"smallmind.checkpoint.version", NULL, SM_GGUF_HOLDS_CHECKPOINT,
         "is a training checkpoint"},
        {"smallmind.packed.version", NULL, SM_GGUF_HOLDS_PACKED, "packed"},
        {"tokenizer.ggml.tokens", "", SM_GGUF_HOLDS_VOCABULARY, "is a vocabulary without weights"},
    };
    const char *path = scratch_path("content.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sm_gguf_writer *writer = new_writer(path, 3, 32);
        if (cases[i].text)
            sm_gguf_put_str(writer, cases[i].key, cases[i].text, strlen(cases[i].text));
        else
            sm_gguf_put_u32(writer, cases[i].key, 1);
        finish_writer(writer);
        sm_gguf *gguf;
        sm_error error = {0};
        expect_ok(sm_source_open(&gguf, &memory, path, true, &error), &error);
        sm_gguf_info info = {.struct_size = sizeof info};
        expect_ok(sm_gguf_get_info(gguf, &info, &error), &error);
        assert_int_equal(info.holds, cases[i].content);
        for (uint32_t allowed = 1; allowed <= SM_GGUF_HOLDS_OTHER; allowed *= 2) {
            const sm_status status = sm_source_expect(gguf, allowed, &error);
            if (allowed == cases[i].content) {
                assert_int_equal(status, SM_OK);
                continue;
            }
            assert_int_not_equal(status, SM_OK);
            assert_int_equal(status, error.code);
            if (!strstr(error.message, cases[i].what) || !strstr(error.message, path))
                fail_msg("case %zu: %s", i, error.message);
        }
        sm_source_close(gguf);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(round_trip_test, nothing_left),
        cmocka_unit_test_teardown(bytes_test, nothing_left),
        cmocka_unit_test_teardown(copy_test, nothing_left),
        cmocka_unit_test_teardown(copy_data_test, nothing_left),
        cmocka_unit_test_teardown(typed_test, nothing_left),
        cmocka_unit_test_teardown(view_test, nothing_left),
        cmocka_unit_test_teardown(arguments_test, nothing_left),
        cmocka_unit_test_teardown(shortest_f64_test, nothing_left),
        cmocka_unit_test_teardown(shortest_f32_test, nothing_left),
        cmocka_unit_test_teardown(notation_test, nothing_left),
        cmocka_unit_test_teardown(many_test, nothing_left),
        cmocka_unit_test_teardown(tiny_test, nothing_left),
        cmocka_unit_test_teardown(split_test, nothing_left),
        cmocka_unit_test_teardown(split_fails_test, nothing_left),
        cmocka_unit_test_teardown(writer_errors_test, nothing_left),
        cmocka_unit_test_teardown(parts_test, nothing_left),
        cmocka_unit_test_teardown(seal_test, nothing_left),
        cmocka_unit_test_teardown(foreign_files_test, nothing_left),
        cmocka_unit_test_teardown(foreign_paths_test, nothing_left),
        cmocka_unit_test_teardown(contents_test, nothing_left),
    };
    sm_mem_init(&memory, NULL, 0, NULL);
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
