/* Models with random weights, and the GGUF images in memory that they are made from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"
#include "make/make.h"
#include "smallmind/experimental.h"
#include "smallmind/smallmind.h"
#include "support.h"

static const char *const types[] = {
    "F32",    "F16",    "BF16",    "Q4_0",   "Q4_1",   "Q5_0",      "Q5_1",   "Q8_0",
    "Q2_K",   "Q3_K",   "Q4_K",    "Q5_K",   "Q6_K",   "IQ4_NL",    "IQ4_XS", "NVFP4",
    "Q1_0",   "Q2_0",   "TQ1_0",   "TQ2_0",  "F64",    "MXFP4_MOE", "MXFP4",  "IQ2_XXS",
    "IQ2_XS", "IQ2_S",  "IQ3_XXS", "IQ3_S",  "IQ1_S",  "IQ1_M",     "IQ2_M",  "IQ3_XS",
    "IQ3_M",  "Q4_K_M", "Q5_K_M",  "Q3_K_S", "Q3_K_M", "Q3_K_L",    "Q4_K_S", "Q5_K_S"};
#define N_TYPES (sizeof types / sizeof *types)
#define N_VOCAB 512 /* of stories260k */

/* Some ids one by one and together; logits after the last. Frees the model. */
static sm_status feed_model(sm_model *model, float *logits, sm_error *error) {
    static const int32_t ids[] = {1, 400, 77, 3, 9, 511};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 1, .n_ctx = 32};
    sm_session *session = NULL;
    const float *last = NULL;
    sm_status status = sm_session_new(&session, model, &so, error);
    if (!status)
        status = sm_session_feed(session, ids, 5, error);
    if (!status)
        status = sm_session_feed(session, ids + 5, 1, error);
    if (!status)
        status = sm_session_logits(session, &last, NULL, error);
    if (!status && logits)
        memcpy(logits, last, N_VOCAB * sizeof *logits);
    sm_session_free(session);
    sm_model_free(model);
    return status;
}

static sm_status feed_some(const char *shape, const char *type, uint64_t seed,
                           const sm_model_options *options, float *logits, sm_error *error) {
    sm_model *model;
    sm_status status = sm_model_random(&model, shape, type, seed, options, error);
    return status ? status : feed_model(model, logits, error);
}

static void unknown_names_list_the_known(void **state) {
    (void)state;
    sm_model *model = (sm_model *)1;
    sm_error error = {0};
    assert_int_equal(sm_model_random(&model, "gpt-5", "Q8_0", 1, NULL, &error), SM_ERR_ARGUMENT);
    assert_null(model);
    assert_int_equal(error.code, SM_ERR_ARGUMENT);
    for (const char **word =
             (const char *[]){"'gpt-5'", "smollm2-135m", "llama3.2-1b", "llama3.2-3b", "qwen3-0.6b",
                              "qwen3-1.7b", "gemma3-270m", "gemma3-1b", "phi3-mini", "stories15m",
                              "stories260k", NULL};
         *word; word++)
        assert_non_null(strstr(error.message, *word));
    assert_int_equal(sm_model_random(&model, "stories260k", "Q8_1", 1, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "'Q8_1'"));
    for (size_t i = 0; i < N_TYPES; i++)
        assert_non_null(strstr(error.message, types[i]));
    assert_int_equal(sm_model_random(NULL, "stories260k", "F32", 1, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_random(&model, NULL, "F32", 1, NULL, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_random(&model, "stories260k", NULL, 1, NULL, NULL), SM_ERR_ARGUMENT);
}

/* Logits of sane size for every type: with weights of variance 1/columns and normed input
 * their variance is about 1, more where the mean of random codes is not quite 0 (Q4_0). */
static void every_type_computes(void **state) {
    (void)state;
    static const char *const shapes[] = {"stories260k", "stories15m"};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < N_TYPES; i++) {
            float logits[N_VOCAB]; /* the first, of stories15m */
            sm_error error = {0};
            if (feed_some(shapes[s], types[i], 1, NULL, logits, &error) != SM_OK)
                fail_msg("%s %s: %s", shapes[s], types[i], error.message);
            double squares = 0;
            for (size_t k = 0; k < N_VOCAB; k++)
                squares += (double)logits[k] * (double)logits[k];
            const double deviation = sqrt(squares / N_VOCAB);
            if (!(deviation > 0.3 && deviation < 5))
                fail_msg("%s %s: logits have a standard deviation of %g", shapes[s], types[i],
                         deviation);
        }
    }
}

static void the_shape_is_the_models(void **state) {
    (void)state;
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_model_random(&model, "stories15m", "Q8_0", 1, NULL, NULL), SM_OK);
    assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
    assert_string_equal(info.architecture, "llama");
    assert_string_equal(info.name, "stories15m");
    assert_int_equal(info.n_vocab, 32000);
    assert_int_equal(info.n_embd, 288);
    assert_int_equal(info.n_layer, 6);
    assert_int_equal(info.n_head, 6);
    assert_int_equal(info.n_head_kv, 6);
    assert_int_equal(info.head_dim, 48);
    assert_int_equal(info.n_ff, 768);
    assert_true(info.heap_bytes > info.weight_bytes); /* they lie in it */
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_ERR_MISSING);
    sm_model_free(model);
}

/* Keys that only its family has are there. */
static void gemmas_have_windows(void **state) {
    (void)state;
    sm_model *model;
    sm_error error = {0};
    sm_model_info info = {.struct_size = sizeof info};
    if (sm_model_random(&model, "gemma3-270m", "Q4_0", 1, NULL, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
    assert_string_equal(info.architecture, "gemma3");
    assert_int_equal(info.n_vocab, 262144);
    assert_int_equal(info.sliding_window, 512);
    sm_model_free(model);
}

/* Most layers convolve: those have no keys, but taps and a joined product of their own. */
static void a_hybrid_attends_in_its_own_layers(void **state) {
    (void)state;
    static const uint32_t attending[] = {2, 5, 8, 10, 12, 14};
    const char *path = scratch_path("hybrid.gguf");
    sm_error error = {0};
    sm_source *file;
    uint32_t n = 0;
    if (sm_model_random_save(path, "lfm2-350m", "Q4_0", 1, NULL, &error))
        fail_msg("%s", error.message);
    sm_mem mem;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&file, &mem, path, true, &error), SM_OK);
    for (uint32_t i = 0; i < 16; i++) {
        char keys[64], taps[64];
        snprintf(keys, sizeof keys, "blk.%u.attn_k.weight", i);
        snprintf(taps, sizeof taps, "blk.%u.shortconv.conv.weight", i);
        const bool attends = n < 6 && attending[n] == i;
        assert_int_equal(sm_source_find_tensor(file, keys) != NULL, attends);
        assert_int_equal(sm_source_find_tensor(file, taps) != NULL, !attends);
        n += attends;
    }
    assert_int_equal(n, 6);
    sm_source_close(file);
    sm_model *model;
    if (sm_model_load(&model, path, NULL, &error) || feed_model(model, NULL, &error))
        fail_msg("%s", error.message);
    remove(path);
}

static void the_seed_decides(void **state) {
    (void)state;
    float first[N_VOCAB], again[N_VOCAB], other[N_VOCAB];
    for (size_t i = 0; i < N_TYPES; i++) {
        assert_int_equal(feed_some("stories260k", types[i], 7, NULL, first, NULL), SM_OK);
        assert_int_equal(feed_some("stories260k", types[i], 7, NULL, again, NULL), SM_OK);
        assert_int_equal(feed_some("stories260k", types[i], 8, NULL, other, NULL), SM_OK);
        assert_memory_equal(first, again, sizeof first);
        assert_memory_not_equal(first, other, sizeof first);
    }
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    fail_alloc counter = {0};
    sm_allocator allocator = fail_allocator(&counter);
    const sm_model_options o = {.struct_size = sizeof o, .allocator = &allocator};
    assert_int_equal(feed_some("stories260k", "Q8_0", 1, &o, NULL, NULL), SM_OK);
    assert_int_equal(counter.live_blocks, 0);
    const uint64_t n = counter.calls;
    assert_true(n > 50);
    for (uint64_t at = 1; at <= n; at++) {
        for (int sticky = 0; sticky < 2; sticky++) {
            fail_alloc failing = {.fail_at = at, .sticky = sticky};
            sm_error error = {0};
            allocator = fail_allocator(&failing);
            assert_int_equal(feed_some("stories260k", "Q8_0", 1, &o, NULL, &error), SM_ERR_NOMEM);
            assert_int_equal(error.code, SM_ERR_NOMEM);
            assert_true(error.message[0] != 0);
            assert_int_equal(failing.live_blocks, 0);
        }
    }
}

static void the_memory_limit_is_obeyed(void **state) {
    (void)state;
    sm_model *model;
    sm_error error = {0};
    const sm_model_options o = {.struct_size = sizeof o, .memory_limit = 1 << 20};
    assert_int_equal(sm_model_random(&model, "qwen3-1.7b", "F32", 1, &o, &error), SM_ERR_NOMEM);
    assert_null(model);
}

/* ---- files -------------------------------------------------------------------------------- */

static void a_saved_model_computes_the_same(void **state) {
    (void)state;
    const char *path = scratch_path("random.gguf");
    for (size_t i = 0; i < N_TYPES; i++) {
        float made[N_VOCAB], loaded[N_VOCAB];
        sm_model *model;
        assert_int_equal(feed_some("stories260k", types[i], 3, NULL, made, NULL), SM_OK);
        assert_int_equal(sm_model_random_save(path, "stories260k", types[i], 3, NULL, NULL), SM_OK);
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        assert_int_equal(feed_model(model, loaded, NULL), SM_OK);
        assert_memory_equal(made, loaded, sizeof made);
    }
}

/* llama.cpp wants to be told that there is no vocabulary, and the number of ids. */
static void a_saved_model_says_it_has_no_vocabulary(void **state) {
    (void)state;
    const char *path = scratch_path("random.gguf");
    sm_tokenizer *tokenizer;
    sm_model *model;
    sm_mem mem;
    sm_source *gguf;
    const char *text;
    uint64_t length;
    int64_t n;
    assert_int_equal(sm_model_random_save(path, "stories260k", "Q8_0", 1, NULL, NULL), SM_OK);
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_ERR_MISSING);
    sm_model_free(model);
    assert_int_equal(sm_tokenizer_load(&tokenizer, path, NULL, NULL), SM_ERR_MISSING);
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&gguf, &mem, path, true, NULL), SM_OK);
    assert_int_equal(sm_source_get_str(gguf, "tokenizer.ggml.model", &text, &length, NULL), SM_OK);
    assert_int_equal(length, 8);
    assert_memory_equal(text, "no_vocab", 8);
    assert_int_equal(sm_source_get_i64(gguf, "llama.vocab_size", &n, NULL), SM_OK);
    assert_int_equal(n, N_VOCAB);
    sm_source_close(gguf);
}

static void expect_type(const sm_source *gguf, const char *name, uint32_t type) {
    const sm_tensor *t = sm_source_find_tensor(gguf, name);
    assert_non_null(t);
    if (t->type != type)
        fail_msg("%s is %s", name, sm_dtype_get(t->type)->name);
}

/* 288 columns are no multiple of 256, the 768 of ffn_down are; of 6 layers number 2 and 5 get
 * more bits. */
static void a_mixture_has_more_bits_in_some_layers(void **state) {
    (void)state;
    const char *path = scratch_path("mixture.gguf");
    sm_mem mem;
    sm_source *gguf;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_model_random_save(path, "stories15m", "Q4_K_M", 1, NULL, NULL), SM_OK);
    assert_int_equal(sm_source_open(&gguf, &mem, path, true, NULL), SM_OK);
    expect_type(gguf, "token_embd.weight", SM_DTYPE_Q8_0);
    for (uint32_t layer = 0; layer < 6; layer++) {
        char name[64];
        const bool more = layer == 2 || layer == 5;
        const struct {
            const char *part;
            uint32_t type;
        } parts[] = {{"attn_q", SM_DTYPE_Q5_0},
                     {"attn_k", SM_DTYPE_Q5_0},
                     {"attn_v", more ? SM_DTYPE_Q8_0 : SM_DTYPE_Q5_0},
                     {"attn_output", SM_DTYPE_Q5_0},
                     {"ffn_gate", SM_DTYPE_Q5_0},
                     {"ffn_up", SM_DTYPE_Q5_0},
                     {"ffn_down", more ? SM_DTYPE_Q6_K : SM_DTYPE_Q4_K}};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            sm_format(name, sizeof name, "blk.%u.%s.weight", layer, parts[i].part);
            expect_type(gguf, name, parts[i].type);
        }
    }
    sm_source_close(gguf);
    assert_int_equal(mem.in_use, 0);
}

/* Where columns do not fit, each type falls back to what quantizing the same shape gives. */
static void types_fall_back_as_when_quantizing(void **state) {
    (void)state;
    const char *floats = scratch_path("floats.gguf"), *made = scratch_path("made.gguf"),
               *quantized = scratch_path("quantized.gguf");
    assert_int_equal(sm_model_random_save(floats, "stories260k", "F32", 1, NULL, NULL), SM_OK);
    for (size_t i = 0; i < N_TYPES; i++) {
        const sm_quantize_options o = {
            .struct_size = sizeof o,
            .type = types[i],
            .pure = sm_model_type_kind(sm_model_type_find(types[i], SM_TYPES_ALL, NULL)) !=
                    SM_TYPES_MIXED};
        sm_mem mem;
        sm_source *a, *b;
        assert_int_equal(sm_model_random_save(made, "stories260k", types[i], 1, NULL, NULL), SM_OK);
        assert_int_equal(sm_model_quantize(quantized, floats, &o, NULL, NULL), SM_OK);
        assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
        assert_int_equal(sm_source_open(&a, &mem, made, true, NULL), SM_OK);
        assert_int_equal(sm_source_open(&b, &mem, quantized, true, NULL), SM_OK);
        assert_int_equal(a->n_tensors, b->n_tensors);
        for (uint64_t t = 0; t < b->n_tensors; t++)
            expect_type(a, b->tensors[t].name, b->tensors[t].type);
        sm_source_close(a);
        sm_source_close(b);
    }
}

static bool exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file)
        fclose(file);
    return file != NULL;
}

static int32_t cancel_at_the_third(void *user, uint64_t done, uint64_t total) {
    (void)user;
    return done == 3 && total > 3;
}

static void a_save_that_fails_leaves_no_file(void **state) {
    (void)state;
    const char *path = scratch_path("unsaved.gguf");
    sm_error error = {0};
    sm_model_options o = {.struct_size = sizeof o, .progress = cancel_at_the_third};
    assert_int_equal(sm_model_random_save(path, "stories260k", "Q8_0", 1, &o, &error),
                     SM_ERR_CANCELLED);
    assert_int_equal(sm_model_random_save(path, "gpt-5", "Q8_0", 1, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_random_save(path, "stories260k", "Q9", 1, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_random_save(path, NULL, "Q8_0", 1, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_random_save(NULL, "stories260k", "Q8_0", 1, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(
        sm_model_random_save("/nonexistent/m.gguf", "stories260k", "Q8_0", 1, NULL, &error),
        SM_ERR_IO);
    assert_non_null(strstr(error.message, "/nonexistent/m.gguf"));
    fail_alloc counter = {0};
    sm_allocator allocator = fail_allocator(&counter);
    o = (sm_model_options){.struct_size = sizeof o, .allocator = &allocator};
    assert_int_equal(sm_model_random_save(path, "stories260k", "Q8_0", 1, &o, NULL), SM_OK);
    assert_int_equal(counter.live_blocks, 0);
    assert_true(exists(path));
    assert_int_equal(remove(path), 0);
    for (uint64_t at = 1; at <= counter.calls; at++) {
        fail_alloc failing = {.fail_at = at};
        allocator = fail_allocator(&failing);
        assert_int_equal(sm_model_random_save(path, "stories260k", "Q8_0", 1, &o, &error),
                         SM_ERR_NOMEM);
        assert_int_equal(failing.live_blocks, 0);
        assert_false(exists(path));
    }
}

/* ---- images ------------------------------------------------------------------------------ */

static void put_something(sm_gguf_writer *w) {
    const uint64_t dims[2] = {32, 3}, one = 5;
    sm_gguf_put_str(w, "general.name", "x", 1);
    sm_gguf_put_u32(w, "some.number", 3);
    assert_int_equal(sm_gguf_declare_tensor(w, "first", SM_DTYPE_Q8_0, 2, dims, NULL), SM_OK);
    assert_int_equal(sm_gguf_declare_tensor(w, "second", SM_DTYPE_F32, 1, &one, NULL), SM_OK);
}

static void an_image_is_the_file(void **state) {
    (void)state;
    static const uint8_t zeros[102];
    const char *path = scratch_path("file.gguf");
    for (uint32_t alignment = 32; alignment <= 64; alignment *= 2) {
        sm_mem mem;
        sm_gguf_writer *w;
        uint8_t *image;
        uint64_t size;
        size_t file_size;
        assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
        assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, alignment, NULL), SM_OK);
        put_something(w);
        assert_int_equal(sm_gguf_write_tensor(w, zeros, 102, NULL), SM_OK);
        assert_int_equal(sm_gguf_write_tensor(w, zeros, 20, NULL), SM_OK);
        assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
        assert_int_equal(sm_gguf_writer_new(&w, &mem, "image", 3, alignment, NULL), SM_OK);
        put_something(w);
        assert_int_equal(sm_gguf_writer_image(w, &image, &size, NULL), SM_OK);
        uint8_t *file = scratch_read(path, &file_size);
        assert_int_equal(size, file_size);
        /* in the image the tensors' data are left to the caller; what lies between them is not */
        const size_t data = size - alignment * ((102 + alignment - 1) / alignment) - alignment;
        memset(image + data, 0, 102);
        memset(image + size - alignment, 0, 20);
        assert_memory_equal(image, file, file_size);
        free(file);
        sm_free(&mem, image);
        assert_int_equal(mem.in_use, 0);
    }
}

static void a_name_given_twice_fails(void **state) {
    (void)state;
    sm_mem mem;
    sm_gguf_writer *w;
    uint8_t *image;
    uint64_t size;
    sm_error error = {0};
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_new(&w, &mem, "image", 3, 32, NULL), SM_OK);
    put_something(w);
    sm_gguf_put_u32(w, "some.number", 4);
    assert_int_equal(sm_gguf_writer_image(w, &image, &size, &error), SM_ERR_ARGUMENT);
    assert_null(image);
    assert_non_null(strstr(error.message, "some.number"));
    assert_int_equal(mem.in_use, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_names_list_the_known),
        cmocka_unit_test(every_type_computes),
        cmocka_unit_test(the_shape_is_the_models),
        cmocka_unit_test(gemmas_have_windows),
        cmocka_unit_test(a_hybrid_attends_in_its_own_layers),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(the_memory_limit_is_obeyed),
        cmocka_unit_test(a_saved_model_computes_the_same),
        cmocka_unit_test(a_saved_model_says_it_has_no_vocabulary),
        cmocka_unit_test(a_mixture_has_more_bits_in_some_layers),
        cmocka_unit_test(types_fall_back_as_when_quantizing),
        cmocka_unit_test(a_save_that_fails_leaves_no_file),
        cmocka_unit_test(an_image_is_the_file),
        cmocka_unit_test(a_name_given_twice_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
