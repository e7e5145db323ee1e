/* Malformed GGUF files: every class of them refused with a message that names the file
 * and the place, no crash, no leak, no memory beyond the file's size and 16 MiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"
#include "support.h"

#define HEAP_MARGIN ((uint64_t)16 << 20) /* bytes beyond the file's size */

/* ---- a good file and the places in it ------------------------------------------------ */

/* Where each field lies. */
static struct {
    size_t version, n_tensors, n_keys;
    size_t key_name[7], key_type[7], key_value[7]; /* the length of a name, then its bytes */
    size_t element, count;                         /* of the array of strings */
    size_t number_count, flag_count;               /* of the other arrays */
    size_t string[3];
    size_t tensor_name[3], n_dims[3], dims[3], type[3], offset[3];
    size_t data;
} at;

enum { ARCHITECTURE, ALIGNMENT, NUMBER, FLAG, WORDS, FLOATS, FLAGS };
static const char *const key_names[] = {
    "general.architecture", "general.alignment", "some.count", "some.truth",
    "some.words",           "some.floats",       "some.flags"};
/* F32 [4,2], Q4_0 [32,2], I8 [40]: 32, 36 and 40 bytes at 0, 32 and 96 */
static const char *const tensor_names[] = {"tensor.a", "tensor.b", "tensor.c"};

static void put_key(bytes *b, int key, uint32_t type) {
    at.key_name[key] = b->size;
    bytes_str(b, key_names[key]);
    at.key_type[key] = b->size;
    bytes_u32(b, type);
    at.key_value[key] = b->size;
}

static void put_tensor(bytes *b, int i, uint32_t type, uint32_t n_dims, uint64_t d0, uint64_t d1,
                       uint64_t offset) {
    at.tensor_name[i] = b->size;
    bytes_str(b, tensor_names[i]);
    at.n_dims[i] = b->size;
    bytes_u32(b, n_dims);
    at.dims[i] = b->size;
    bytes_u64(b, d0);
    if (n_dims > 1)
        bytes_u64(b, d1);
    at.type[i] = b->size;
    bytes_u32(b, type);
    at.offset[i] = b->size;
    bytes_u64(b, offset);
}

static bytes good_file(void) {
    bytes b = {0};
    bytes_put(&b, "GGUF", 4);
    at.version = b.size;
    bytes_u32(&b, 3);
    at.n_tensors = b.size;
    bytes_u64(&b, 3);
    at.n_keys = b.size;
    bytes_u64(&b, 7);
    put_key(&b, ARCHITECTURE, SM_KEY_STRING);
    bytes_str(&b, "llama");
    put_key(&b, ALIGNMENT, SM_KEY_UINT32);
    bytes_u32(&b, 32);
    put_key(&b, NUMBER, SM_KEY_UINT64);
    bytes_u64(&b, 5);
    put_key(&b, FLAG, SM_KEY_BOOL);
    bytes_put(&b, "\1", 1);
    put_key(&b, WORDS, SM_KEY_ARRAY);
    at.element = b.size;
    bytes_u32(&b, SM_KEY_STRING);
    at.count = b.size;
    bytes_u64(&b, 3);
    for (int i = 0; i < 3; i++) {
        at.string[i] = b.size;
        bytes_str(&b, (const char *[]){"one", "", "three"}[i]);
    }
    put_key(&b, FLOATS, SM_KEY_ARRAY);
    bytes_u32(&b, SM_KEY_FLOAT32);
    at.number_count = b.size;
    bytes_u64(&b, 2);
    bytes_u64(&b, 0);
    put_key(&b, FLAGS, SM_KEY_ARRAY);
    bytes_u32(&b, SM_KEY_BOOL);
    at.flag_count = b.size;
    bytes_u64(&b, 3);
    bytes_put(&b, "\1\0\1", 3);
    put_tensor(&b, 0, SM_DTYPE_F32, 2, 4, 2, 0);
    put_tensor(&b, 1, SM_DTYPE_Q4_0, 2, 32, 2, 32);
    put_tensor(&b, 2, SM_DTYPE_I8, 1, 40, 1, 96);
    bytes_pad(&b, 32);
    at.data = b.size;
    for (int i = 0; i < 136; i++)
        bytes_put(&b, "d", 1);
    return b;
}

/* ---- what is expected of an opening -------------------------------------------------- */

static unsigned n_refused; /* by the test at hand */

static int start_count(void **state) {
    (void)state;
    n_refused = 0;
    return 0;
}

/* Opens b from memory; on failure checks status, message and memory. Status 0 stands for
 * any failure; fragment "" for any message. */
static sm_status open_bytes(const bytes *b, sm_status expected, const char *fragment) {
    sm_mem mem;
    sm_gguf *gguf;
    sm_error error = {0};
    sm_mem_init(&mem, NULL, 0, NULL);
    /* a copy that ends where the file does, so that the sanitizer sees reads past it */
    uint8_t *copy = malloc(b->size ? b->size : 1);
    if (b->size)
        memcpy(copy, b->data, b->size);
    sm_status status = sm_source_open_bytes(&gguf, &mem, copy, b->size, "bad.gguf", &error);
    if (status) {
        assert_null(gguf);
        assert_int_equal(error.code, status);
        assert_memory_equal(error.message, "bad.gguf: ", 10);
        assert_true(strlen(error.message) > 15);
        assert_true(status == SM_ERR_FORMAT || status == SM_ERR_UNSUPPORTED);
        if (!strstr(error.message, fragment))
            fail_msg("'%s' is not in '%s'", fragment, error.message);
        n_refused++;
    } else { /* whatever was accepted can be looked at */
        uint64_t n;
        for (uint64_t i = 0; i < gguf->n_keys; i++)
            sm_gguf_get_value(gguf, i, 0, NULL, 0, &n, NULL);
        for (uint64_t i = 0; i < gguf->n_tensors; i++) {
            const sm_tensor *t = &gguf->tensors[i];
            assert_true(t->data >= copy && t->data + t->size <= copy + b->size);
        }
    }
    assert_true(mem.peak <= b->size + HEAP_MARGIN);
    sm_source_close(gguf);
    assert_int_equal(mem.in_use, 0);
    free(copy);
    if (expected)
        assert_int_equal(status, expected);
    return status;
}

/* The good file with width bytes at a place overwritten is refused. */
static void refuse_patched(size_t place, uint64_t value, size_t width, sm_status expected,
                           const char *fragment) {
    bytes b = good_file();
    bytes_patch(&b, place, value, width);
    if (open_bytes(&b, expected, fragment) == SM_OK)
        fail_msg("accepted with %llu at %zu", (unsigned long long)value, place);
    bytes_free(&b);
}

static const uint64_t huge[] = {
    1000,
    65537,
    1000000,
    (uint64_t)1 << 24,
    (uint64_t)1 << 31,
    ((uint64_t)1 << 32) - 1,
    (uint64_t)1 << 32,
    (uint64_t)1 << 40,
    (uint64_t)1 << 60,
    (uint64_t)1 << 61,
    (uint64_t)1 << 62,
    INT64_MAX,
    (uint64_t)1 << 63,
    UINT64_MAX - 63,
    UINT64_MAX - 7,
    UINT64_MAX,
};

#define N_HUGE (sizeof huge / sizeof *huge)

/* ---- the classes ---------------------------------------------------------------------- */

static void good_test(void **state) {
    (void)state;
    bytes b = good_file();
    assert_int_equal(open_bytes(&b, SM_OK, ""), SM_OK);
    bytes_free(&b);
}

static void magic_test(void **state) {
    (void)state;
    static const char *const magics[] = {"GGUX", "ggml",     "ggjt",   "ggmf",     "GGUf",
                                         "FUGG", "\0\0\0\0", "PK\3\4", "\x80\2}q", "\x89PNG"};
    for (size_t i = 0; i < 10; i++) {
        bytes b = good_file();
        memcpy(b.data, magics[i], 4);
        assert_int_equal(open_bytes(&b, SM_ERR_FORMAT, "not a GGUF file"), SM_ERR_FORMAT);
        bytes_free(&b);
    }
    static const uint32_t versions[] = {0, 1, 4, 5, 6, 100, 65535, UINT32_MAX, 0x03020100, 257};
    for (size_t i = 0; i < 10; i++) {
        char text[32];
        sprintf(text, "version %u is not", versions[i]);
        refuse_patched(at.version, versions[i], 4, SM_ERR_UNSUPPORTED, text);
    }
    static const uint32_t swapped[] = {0x01000000, 0x02000000, 0x03000000, 0x04000000};
    for (size_t i = 0; i < 4; i++)
        refuse_patched(at.version, swapped[i], 4, SM_ERR_UNSUPPORTED, "big-endian");
    for (uint32_t version = 2; version <= 3; version++) {
        bytes b = good_file();
        bytes_patch(&b, at.version, version, 4);
        assert_int_equal(open_bytes(&b, SM_OK, ""), SM_OK);
        bytes_free(&b);
    }
}

static void counts_test(void **state) {
    (void)state;
    for (size_t i = 0; i < N_HUGE; i++) {
        refuse_patched(at.n_keys, huge[i], 8, SM_ERR_FORMAT, "more than fit");
        refuse_patched(at.n_tensors, huge[i], 8, SM_ERR_FORMAT, "more than fit");
        refuse_patched(at.count, huge[i], 8, SM_ERR_FORMAT, "key 'some.words'");
        refuse_patched(at.number_count, huge[i], 8, SM_ERR_FORMAT, "key 'some.floats'");
        refuse_patched(at.flag_count, huge[i], 8, SM_ERR_FORMAT, "key 'some.flags'");
    }
    /* small lies: what follows is then read as something else */
    for (uint64_t n = 0; n < 12; n++) {
        if (n != 7)
            refuse_patched(at.n_keys, n, 8, 0, "");
        if (n != 3)
            refuse_patched(at.count, n, 8, 0, "");
        if (n != 2)
            refuse_patched(at.number_count, n, 8, 0, "");
        if (n > 3)
            refuse_patched(at.n_tensors, n, 8, 0, "");
    }
}

/* A file of that many keys or tensors, in truth. */
static bytes many_file(uint64_t n_keys, uint64_t n_tensors) {
    bytes b = {0};
    char name[24];
    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, n_tensors);
    bytes_u64(&b, n_keys);
    for (uint64_t i = 0; i < n_keys; i++) {
        sprintf(name, "%llu", (unsigned long long)i);
        bytes_str(&b, name);
        bytes_u32(&b, SM_KEY_UINT8);
        bytes_put(&b, "", 1);
    }
    for (uint64_t i = 0; i < n_tensors; i++) {
        sprintf(name, "%llu", (unsigned long long)i);
        bytes_str(&b, name);
        bytes_u32(&b, 0);
        bytes_u32(&b, SM_DTYPE_I8);
        bytes_u64(&b, 32 * i);
    }
    for (uint64_t i = 0; i <= n_tensors; i++)
        bytes_pad(&b, 32), bytes_put(&b, "x", 1);
    return b;
}

static void limits_test(void **state) {
    (void)state;
    static const struct {
        uint64_t n_keys, n_tensors;
        bool fits;
    } cases[] = {
        {SM_SOURCE_MAX_KEYS - 1, 0, true},     {SM_SOURCE_MAX_KEYS, SM_SOURCE_MAX_TENSORS, true},
        {SM_SOURCE_MAX_KEYS + 1, 0, false},    {0, SM_SOURCE_MAX_TENSORS - 1, true},
        {0, SM_SOURCE_MAX_TENSORS + 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = many_file(cases[i].n_keys, cases[i].n_tensors);
        assert_int_equal(open_bytes(&b, 0, "are read"), cases[i].fits ? SM_OK : SM_ERR_UNSUPPORTED);
        bytes_free(&b);
    }
    /* the dearest refusal: full tables, the fault found last */
    bytes b = many_file(SM_SOURCE_MAX_KEYS, SM_SOURCE_MAX_TENSORS);
    bytes_patch(&b, b.size - 1, 0, 1);
    size_t last = b.size;
    while (memcmp(b.data + last - 8, "\xe0\xff\x3f\0\0\0\0", 8) != 0) /* 32 * 131071 */
        last--;
    bytes_patch(&b, last - 8, 32 * (SM_SOURCE_MAX_TENSORS - 2), 8);
    assert_int_equal(open_bytes(&b, SM_ERR_FORMAT, "overlaps"), SM_ERR_FORMAT);
    bytes_free(&b);
}

static void names_test(void **state) {
    (void)state;
    for (int key = 0; key < 7; key++) {
        refuse_patched(at.key_name[key], 0, 8, SM_ERR_FORMAT, "has an empty name");
        refuse_patched(at.key_name[key] + 8, 0, 1, SM_ERR_FORMAT, "zero byte");
        for (size_t i = 0; i < N_HUGE; i++)
            refuse_patched(at.key_name[key], huge[i], 8, SM_ERR_FORMAT, "the name of key ");
    }
    for (int t = 0; t < 3; t++) {
        refuse_patched(at.tensor_name[t], 0, 8, SM_ERR_FORMAT, "has an empty name");
        refuse_patched(at.tensor_name[t] + 9, 0, 1, SM_ERR_FORMAT, "zero byte");
        for (size_t i = 0; i < N_HUGE; i++)
            refuse_patched(at.tensor_name[t], huge[i], 8, SM_ERR_FORMAT, "the name of tensor ");
    }
    /* duplicates: some.words becomes some.count, tensor.? become each other */
    bytes b = good_file();
    memcpy(b.data + at.key_name[WORDS] + 8, "some.count", 10);
    assert_int_equal(open_bytes(&b, SM_ERR_FORMAT, "key 'some.count': appears more than once"),
                     SM_ERR_FORMAT);
    bytes_free(&b);
    for (int t = 0; t < 3; t++)
        refuse_patched(at.tensor_name[t] + 8 + 7, (uint64_t) "bca"[t], 1, SM_ERR_FORMAT,
                       "appears more than once");
    /* many duplicates, and names that differ late, cost no more */
    for (int same = 0; same < 2; same++) {
        bytes many = {0};
        char *name = malloc(2001);
        memset(name, 'x', 2000);
        name[2000] = 0;
        bytes_put(&many, "GGUF", 4);
        bytes_u32(&many, 3);
        bytes_u64(&many, 0);
        bytes_u64(&many, 5000);
        for (unsigned i = 0; i < 5000; i++) {
            if (!same)
                sprintf(name + 1990, "%u", i);
            bytes_str(&many, name);
            bytes_u32(&many, SM_KEY_BOOL);
            bytes_put(&many, "", 1);
        }
        assert_int_equal(open_bytes(&many, 0, "appears more than once"),
                         same ? SM_ERR_FORMAT : SM_OK);
        bytes_free(&many);
        free(name);
    }
}

static void long_name_test(void **state) {
    (void)state;
    for (uint64_t length = SM_SOURCE_MAX_NAME - 1; length <= SM_SOURCE_MAX_NAME + 1; length++) {
        bytes b = {0};
        char *name = calloc(1, length + 1);
        memset(name, 0x1b, length); /* escape: not to reach a terminal */
        bytes_put(&b, "GGUF", 4);
        bytes_u32(&b, 3);
        bytes_u64(&b, 0);
        bytes_u64(&b, 1);
        bytes_str(&b, name);
        size_t type = b.size;
        bytes_u32(&b, SM_KEY_UINT32);
        bytes_u32(&b, 1);
        bool fits = length <= SM_SOURCE_MAX_NAME;
        assert_int_equal(open_bytes(&b, 0, "65535 allowed"), fits ? SM_OK : SM_ERR_FORMAT);
        if (fits) { /* the message is about more than the name */
            bytes_patch(&b, type, 77, 4);
            open_bytes(&b, SM_ERR_FORMAT, "\\x1b\\x1b...': unknown value type 77");
        }
        free(name);
        bytes_free(&b);
    }
}

static void lengths_test(void **state) {
    (void)state;
    for (size_t i = 0; i < N_HUGE; i++) {
        refuse_patched(at.key_value[ARCHITECTURE], huge[i], 8, SM_ERR_FORMAT,
                       "key 'general.architecture'");
        for (int s = 0; s < 3; s++)
            refuse_patched(at.string[s], huge[i], 8, SM_ERR_FORMAT, "key 'some.words'");
    }
    /* a last string that ends with the file, and one byte later */
    bytes b = {0};
    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, 0);
    bytes_u64(&b, 1);
    bytes_str(&b, "k");
    bytes_u32(&b, SM_KEY_STRING);
    size_t place = b.size;
    bytes_str(&b, "end");
    for (uint64_t length = 2; length <= 4; length++) {
        bytes_patch(&b, place, length, 8);
        assert_int_equal(open_bytes(&b, 0, "key 'k'"), length <= 3 ? SM_OK : SM_ERR_FORMAT);
    }
    bytes_free(&b);
}

static void types_test(void **state) {
    (void)state;
    static const uint32_t values[] = {13, 14, 15, 16, 100, 255, 256, 65536, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < 10; i++) {
        for (int key = 0; key < 7; key++)
            refuse_patched(at.key_type[key], values[i], 4, SM_ERR_FORMAT, "unknown value type");
        refuse_patched(at.element, values[i], 4, SM_ERR_FORMAT, "unknown type");
    }
    refuse_patched(at.element, SM_KEY_ARRAY, 4, SM_ERR_UNSUPPORTED,
                   "key 'some.words': arrays of arrays");
    for (uint32_t value = 2; value < 256; value++) {
        refuse_patched(at.key_value[FLAG], value, 1, SM_ERR_FORMAT, "key 'some.truth': bool");
        refuse_patched(at.flag_count + 8 + value % 3, value, 1, SM_ERR_FORMAT,
                       "key 'some.flags': bool");
    }
    /* removed or unknown tensor types, named with their number */
    static const uint32_t removed[] = {
        4, 5, 31, 32, 33, 36, 37, 38, SM_DTYPE_COUNT, 64, 100, 255, 1u << 31, UINT32_MAX};
    for (int t = 0; t < 3; t++)
        for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
            char text[64];
            sprintf(text, "tensor '%s': type %u is not", tensor_names[t], removed[i]);
            refuse_patched(at.type[t], removed[i], 4, SM_ERR_UNSUPPORTED, text);
        }
}

static void alignment_test(void **state) {
    (void)state;
    static const uint32_t values[] = {0,          1,        2,        3,         4,   5,
                                      7,          9,        12,       31,        100, 0x01000008,
                                      0x02000000, 1u << 30, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        refuse_patched(at.key_value[ALIGNMENT], values[i], 4, SM_ERR_FORMAT,
                       "key 'general.alignment'");
    /* right key, wrong type: the four bytes read as another type of that size, or less */
    refuse_patched(at.key_type[ALIGNMENT], SM_KEY_FLOAT32, 4, SM_ERR_FORMAT,
                   "key 'general.alignment'");
    refuse_patched(at.key_type[ALIGNMENT], SM_KEY_INT32, 4, SM_ERR_FORMAT,
                   "key 'general.alignment': has type i32");
    refuse_patched(at.key_type[ALIGNMENT], SM_KEY_BOOL, 4, SM_ERR_FORMAT,
                   "key 'general.alignment'");
    refuse_patched(at.key_type[ALIGNMENT], SM_KEY_STRING, 4, SM_ERR_FORMAT,
                   "key 'general.alignment'");
    refuse_patched(at.key_value[ALIGNMENT], 64, 4, SM_ERR_FORMAT, "not a multiple of the alignm");
    refuse_patched(at.key_value[ALIGNMENT], 1u << 24, 4, SM_ERR_FORMAT, "tensor 'tensor.");
}

static void dims_test(void **state) {
    (void)state;
    char text[64];
    for (int t = 0; t < 3; t++) {
        sprintf(text, "tensor '%s': ", tensor_names[t]);
        for (int k = 0; k < (t < 2 ? 2 : 1); k++) {
            size_t place = at.dims[t] + 8 * (size_t)k;
            refuse_patched(place, 0, 8, SM_ERR_FORMAT, "is 0");
            for (size_t i = 0; i < N_HUGE; i++)
                refuse_patched(place, huge[i], 8, SM_ERR_FORMAT, text);
            for (uint64_t negative = 1; negative <= 10; negative++)
                refuse_patched(place, 0 - negative, 8, SM_ERR_FORMAT, text);
        }
        for (uint32_t n = 5; n < 15; n++)
            refuse_patched(at.n_dims[t], n, 4, SM_ERR_FORMAT, "dimensions, more than 4");
        refuse_patched(at.n_dims[t], UINT32_MAX, 4, SM_ERR_FORMAT, "dimensions, more than 4");
    }
    for (uint64_t row = 1; row < 32; row++)
        refuse_patched(at.dims[1], row, 8, SM_ERR_FORMAT, "not whole blocks of 32 (Q4_0)");
    /* products that wrap: to zero, to something small, and sizes that do */
    static const uint64_t pairs[][2] = {
        {(uint64_t)1 << 32, (uint64_t)1 << 32},
        {(uint64_t)1 << 63, 2},
        {((uint64_t)1 << 63) + 32, 2},
        {(uint64_t)1 << 31, (uint64_t)1 << 33},
        {((uint64_t)1 << 32) + 32, (uint64_t)1 << 32},
        {(uint64_t)1 << 61, 4},
        {(uint64_t)1 << 61, 2},
        {(uint64_t)1 << 62, 1},
        {(uint64_t)3 << 61, 8},
        {UINT64_MAX / 32 * 32, 32},
        {0xaaaaaaaaaaaaaaa0, 3},
    };
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            bytes b = good_file();
            bytes_patch(&b, at.dims[t], pairs[i][0], 8);
            bytes_patch(&b, at.dims[t] + 8, pairs[i][1], 8);
            assert_int_equal(open_bytes(&b, SM_ERR_FORMAT, tensor_names[t]), SM_ERR_FORMAT);
            bytes_free(&b);
        }
}

static void offsets_test(void **state) {
    (void)state;
    for (int t = 0; t < 3; t++) {
        for (uint64_t off = 1; off < 32; off++) /* unaligned */
            refuse_patched(at.offset[t], 32 * (uint64_t)t + off, 8, SM_ERR_FORMAT,
                           "not a multiple of the alignment 32");
        for (size_t i = 0; i < N_HUGE; i++) /* beyond the file; sums that wrap */
            refuse_patched(at.offset[t], huge[i] / 32 * 32, 8, SM_ERR_FORMAT, tensor_names[t]);
        for (uint64_t back = 32; back <= 320; back += 32)
            refuse_patched(at.offset[t], 0 - back, 8, SM_ERR_FORMAT, "offset");
    }
    /* overlap */
    refuse_patched(at.offset[0], 32, 8, SM_ERR_FORMAT, "leaves a hole"); /* that comes first */
    refuse_patched(at.offset[1], 0, 8, SM_ERR_FORMAT, "overlaps that of 'tensor.a'");
    refuse_patched(at.offset[2], 0, 8, SM_ERR_FORMAT, "overlaps that of 'tensor.a'");
    refuse_patched(at.offset[2], 32, 8, SM_ERR_FORMAT, "overlaps that of 'tensor.b'");
    refuse_patched(at.offset[2], 64, 8, SM_ERR_FORMAT, "overlaps that of 'tensor.b'");
    for (uint64_t rows = 3; rows < 9; rows++) /* a tensor that grows into the next */
        refuse_patched(at.dims[0] + 8, rows, 8, SM_ERR_FORMAT, "overlaps");
    /* holes: before the first, between, of 32 bytes and more */
    for (uint64_t hole = 32; hole <= 320; hole += 32)
        for (int first = 0; first < 3; first++) {
            bytes b = good_file();
            for (int t = first; t < 3; t++)
                bytes_patch(&b, at.offset[t], (const uint64_t[]){0, 32, 96}[t] + hole, 8);
            for (uint64_t i = 0; i < hole; i++)
                bytes_put(&b, "", 1);
            assert_int_equal(open_bytes(&b, SM_ERR_FORMAT, "leaves a hole"), SM_ERR_FORMAT);
            bytes_free(&b);
        }
    /* any order is fine */
    bytes b = good_file();
    bytes_patch(&b, at.offset[0], 64, 8);
    bytes_patch(&b, at.offset[1], 0, 8);
    assert_int_equal(open_bytes(&b, SM_OK, ""), SM_OK);
    bytes_free(&b);
}

/* ---- damage everywhere ---------------------------------------------------------------- */

static void truncation_test(void **state) {
    (void)state;
    bytes b = good_file();
    size_t full = b.size;
    for (b.size = 0; b.size < full; b.size++)
        if (open_bytes(&b, SM_ERR_FORMAT, "") == SM_OK)
            fail_msg("accepted with %zu of %zu bytes", b.size, full);
    assert_int_equal(n_refused, full);
    bytes_free(&b);
}

static void flip_test(void **state) {
    (void)state;
    bytes b = good_file();
    for (size_t bit = 0; bit < 8 * at.data; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        open_bytes(&b, 0, "");
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(n_refused > 2 * at.data);
    bytes_free(&b);
}

/* Bytes replaced at random, several at a time, with values that matter. */
static void scramble_test(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 20000; round++) {
        bytes b = good_file();
        for (uint64_t n = 1 + test_random(&seed) % 4; n > 0; n--) {
            uint64_t width = (uint64_t)1 << test_random(&seed) % 4;
            uint64_t value = test_random(&seed);
            if (value & 1)
                value = huge[value / 2 % N_HUGE];
            else if (value & 2)
                value = value / 4 % 16;
            bytes_patch(&b, test_random(&seed) % (at.data - width), value, width);
        }
        open_bytes(&b, 0, "");
        bytes_free(&b);
    }
}

/* ---- files and memory ------------------------------------------------------------------- */

static void paths_test(void **state) {
    (void)state;
    const char *good = scratch_path("good.gguf"), *empty = scratch_path("empty.gguf"),
               *part = scratch_path("part.gguf");
    bytes b = good_file();
    scratch_write(good, b.data, b.size);
    scratch_write(part, b.data, b.size - 1);
    scratch_write(empty, "", 0);
    bytes_free(&b);
    const struct {
        const char *path;
        sm_status status;
        const char *fragment;
    } cases[] = {
        {scratch_path("missing.gguf"), SM_ERR_IO, "missing.gguf: cannot open: no such file"},
        {scratch_path("."), SM_ERR_IO, "is a directory"},
        {scratch_path("good.gguf/x"), SM_ERR_IO, "not a directory"},
        {"/dev/null", SM_ERR_IO, "/dev/null: not a regular file"},
        {"", SM_ERR_IO, "no such file"},
        {empty, SM_ERR_FORMAT, "empty.gguf: the file is empty"},
        {part, SM_ERR_FORMAT, "part.gguf: tensor 'tensor.c': data ends at byte"},
        {good, SM_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t io = 0; io < 2; io++) {
            sm_gguf *gguf;
            sm_error error = {0};
            sm_gguf_options options = {.struct_size = sizeof options, .io = io};
            assert_int_equal(sm_gguf_load(&gguf, cases[i].path, &options, &error), cases[i].status);
            if (!strstr(error.message, cases[i].fragment))
                fail_msg("'%s' is not in '%s'", cases[i].fragment, error.message);
            assert_true(!gguf == (cases[i].status != SM_OK));
            sm_gguf_free(gguf);
            assert_int_equal(sm_gguf_load(&gguf, cases[i].path, &options, NULL), cases[i].status);
            sm_gguf_free(gguf);
        }
    /* a path too long for the message loses its front, not the reason */
    char path[2000];
    memset(path, 'p', sizeof path);
    for (size_t i = 100; i < sizeof path; i += 100)
        path[i] = '/';
    strcpy(path + sizeof path - 12, "/model.gguf");
    sm_mem mem;
    sm_gguf *gguf;
    sm_error error = {0};
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_source_open_bytes(&gguf, &mem, "GGUF", 4, path, &error);
    assert_non_null(strstr(error.message, "/model.gguf: the file ends inside the header"));
    assert_memory_equal(error.message, "...", 3);

    /* neither a path nor a name is cut inside a character */
    bytes odd = {0};
    for (size_t shift = 0; shift < 2; shift++) {
        char name[401] = "a";
        for (size_t i = shift; i + 1 < 400; i += 2)
            memcpy(name + i, "\xc3\xa4", 2);
        odd.size = 0;
        bytes_put(&odd, "GGUF", 4);
        bytes_u32(&odd, 3);
        bytes_u64(&odd, 0);
        bytes_u64(&odd, 1);
        bytes_str(&odd, name);
        bytes_u32(&odd, 99);
        bytes_u64(&odd, 0);
        assert_int_equal(sm_source_open_bytes(&gguf, &mem, odd.data, odd.size, name, &error),
                         SM_ERR_FORMAT);
        assert_non_null(strstr(error.message, "\xa4...': unknown value type 99"));
        const char *c = error.message;
        for (; *c; c += (unsigned char)*c < 0x80 ? 1 : 2)
            assert_true((unsigned char)*c < 0x80 || memcmp(c, "\xc3\xa4", 2) == 0);
    }
    bytes_free(&odd);
}

/* Loading, looking and saving with the Nth allocation failing. */
static sm_status load_all(const char *path, const char *copy, uint32_t io, fail_alloc *counter) {
    sm_allocator hook = fail_allocator(counter);
    sm_gguf_options options = {.struct_size = sizeof options, .io = io, .allocator = &hook};
    sm_gguf *gguf;
    sm_error error = {0};
    sm_status status = sm_gguf_load(&gguf, path, &options, &error);
    if (status) {
        assert_null(gguf);
        assert_int_equal(error.code, status);
        assert_true(strlen(error.message) > 5);
        return status;
    }
    sm_mem mem;
    sm_mem_init(&mem, &hook, 0, NULL);
    sm_gguf_writer *writer;
    status = sm_gguf_writer_open(&writer, &mem, copy, 3, 32, &error);
    if (!status) {
        for (uint64_t i = 0; i < gguf->n_keys; i++)
            sm_gguf_put_key(writer, &gguf->keys[i]);
        for (uint64_t i = 0; i < gguf->n_tensors; i++) {
            const sm_tensor *t = &gguf->tensors[i];
            sm_gguf_declare_tensor(writer, t->name, t->type, t->n_dims, t->dims, NULL);
        }
        for (uint64_t i = 0; i < gguf->n_tensors; i++)
            sm_gguf_write_tensor(writer, gguf->tensors[i].data, gguf->tensors[i].size, NULL);
        status = sm_gguf_writer_finish(writer, &error);
    }
    if (status)
        assert_true(strlen(error.message) > 5);
    sm_gguf_free(gguf);
    return status;
}

static void memory_test(void **state) {
    (void)state;
    const char *one = scratch_path("m-00001-of-00002.gguf");
    const char *two = scratch_path("m-00002-of-00002.gguf"), *copy = scratch_path("copy.gguf");
    for (uint16_t part = 0; part < 2; part++) {
        sm_mem mem;
        sm_gguf_writer *writer;
        sm_mem_init(&mem, NULL, 0, NULL);
        sm_gguf_writer_open(&writer, &mem, part ? two : one, 3, 32, NULL);
        sm_gguf_put_scalar(writer, "split.no", SM_KEY_UINT16, &part);
        sm_gguf_put_scalar(writer, "split.count", SM_KEY_UINT16, &(uint16_t){2});
        sm_gguf_put_array(writer, "a", SM_KEY_UINT32, (uint32_t[]){1, 2}, 2);
        for (uint32_t i = 0; i < 40; i++) {
            char name[16];
            sprintf(name, "t%u.%u", part, i);
            sm_gguf_declare_tensor(writer, name, SM_DTYPE_I32, 1, (uint64_t[]){1}, NULL);
        }
        for (uint32_t i = 0; i < 40; i++)
            sm_gguf_write_tensor(writer, &i, 4, NULL);
        assert_int_equal(sm_gguf_writer_finish(writer, NULL), SM_OK);
    }
    for (uint32_t mode = 0; mode < 4; mode++) {
        uint64_t n = 1;
        for (;; n++) {
            fail_alloc counter = {.fail_at = n, .sticky = mode / 2};
            remove(copy);
            size_t files = scratch_count();
            sm_status status = load_all(one, copy, mode % 2, &counter);
            assert_int_equal(counter.live_blocks, 0);
            assert_int_equal(counter.live_bytes, 0);
            assert_int_equal(scratch_count(), files + (status == SM_OK)); /* all or nothing */
            if (counter.calls < n) {
                assert_int_equal(status, SM_OK);
                break;
            }
            assert_int_equal(status, SM_ERR_NOMEM);
        }
        assert_true(n > 25);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good_test, start_count),
        cmocka_unit_test_setup(magic_test, start_count),
        cmocka_unit_test_setup(counts_test, start_count),
        cmocka_unit_test_setup(limits_test, start_count),
        cmocka_unit_test_setup(names_test, start_count),
        cmocka_unit_test_setup(long_name_test, start_count),
        cmocka_unit_test_setup(lengths_test, start_count),
        cmocka_unit_test_setup(types_test, start_count),
        cmocka_unit_test_setup(alignment_test, start_count),
        cmocka_unit_test_setup(dims_test, start_count),
        cmocka_unit_test_setup(offsets_test, start_count),
        cmocka_unit_test_setup(truncation_test, start_count),
        cmocka_unit_test_setup(flip_test, start_count),
        cmocka_unit_test_setup(scramble_test, start_count),
        cmocka_unit_test(paths_test),
        cmocka_unit_test(memory_test),
    };
    return cmocka_run_group_tests_name("gguf_fault", tests, NULL, NULL);
}
