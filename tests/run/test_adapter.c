/* Adapters: what they add, attached and merged; that they go away again; files that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "format/format.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define OK(call)                            \
    do {                                    \
        sm_error e_ = {0};                  \
        sm_error *error = &e_;              \
        if ((call) != SM_OK)                \
            fail_msg("%s", error->message); \
    } while (0)

#define N 24 /* tokens fed */

static sm_mem mem;

typedef struct recipe {
    const char *names; /* of matrices, comma separated; NULL: all of these */
    uint32_t rank;
    double b; /* size of B's elements */
    float alpha;
    uint64_t seed;
    const char *architecture, *type, *kind; /* keys; NULL: the right ones */
    const char *omit;                       /* this tensor is left out */
    int extra_rows;                         /* of the first B */
    const char *stray;                      /* a tensor of this name besides */
} recipe;

static const struct {
    const char *name;
    uint64_t cols, rows;
} matrices[] = {{"attn_q", 64, 64},      {"attn_k", 64, 32},   {"attn_v", 64, 32},
                {"attn_output", 64, 64}, {"ffn_gate", 64, 96}, {"ffn_up", 64, 96},
                {"ffn_down", 96, 64}};

static float noise(uint64_t *seed) {
    return (float)((double)(int64_t)test_random(seed) / 9223372036854775808.0);
}

/* An adapter for the fixture model. */
static void write_adapter(const char *path, const recipe *r) {
    sm_gguf_writer *w;
    OK(sm_gguf_writer_open(&w, &mem, path, 3, 32, error));
    const char *architecture = r->architecture ? r->architecture : "llama";
    const char *type = r->type ? r->type : "lora", *kind = r->kind ? r->kind : "adapter";
    sm_gguf_put_str(w, "general.type", kind, strlen(kind));
    sm_gguf_put_str(w, "adapter.type", type, strlen(type));
    sm_gguf_put_str(w, "general.architecture", architecture, strlen(architecture));
    sm_gguf_put_f32(w, "adapter.lora.alpha", r->alpha);
    static float data[64 * 128];
    uint64_t seed = r->seed + 1;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t layer = 0; layer < 2; layer++)
            for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
                if (r->names && !strstr(r->names, matrices[i].name))
                    continue;
                for (int half = 0; half < 2; half++) {
                    char name[64];
                    snprintf(name, sizeof name, "blk.%u.%s.weight.lora_%c", layer, matrices[i].name,
                             "ab"[half]);
                    if (r->omit && !strcmp(r->omit, name))
                        continue;
                    uint64_t dims[2] = {half ? r->rank : matrices[i].cols,
                                        half ? matrices[i].rows : r->rank};
                    if (half && r->extra_rows && !layer && !i)
                        dims[1] += (uint64_t)r->extra_rows;
                    const uint64_t n = dims[0] * dims[1];
                    if (!pass) {
                        sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, 2, dims, NULL);
                        continue;
                    }
                    for (uint64_t k = 0; k < n; k++)
                        data[k] = noise(&seed) * (half ? (float)r->b : 0.2f);
                    OK(sm_gguf_write_tensor(w, data, n * sizeof *data, error));
                }
            }
        if (r->stray) {
            const uint64_t n = 8;
            if (!pass)
                sm_gguf_declare_tensor(w, r->stray, SM_DTYPE_F32, 1, &n, NULL);
            else
                OK(sm_gguf_write_tensor(w, data, n * sizeof *data, error));
        }
    }
    OK(sm_gguf_writer_finish(w, error));
}

static const char *base(uint32_t type) {
    static char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("base.gguf"));
    assert_int_equal(fixture_write(path, &(fixture_model){.type = type, .seed = 4}), 0);
    return path;
}

static void logits_of(sm_session *s, float *logits) {
    int32_t ids[N];
    uint64_t seed = 9;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(test_random(&seed) % FIXTURE_VOCAB);
    OK(sm_session_rewind(s, 0, error));
    OK(sm_session_feed_logits(s, ids, N - 1, logits, UINT64_MAX, error));
    OK(sm_session_feed_logits(s, ids + N - 1, 1, logits + (N - 1) * FIXTURE_VOCAB, UINT64_MAX,
                              error));
}

#define LOGITS (N * FIXTURE_VOCAB)

static double difference(const float *a, const float *b) {
    double most = 0, size = 0;
    for (int i = 0; i < LOGITS; i++) {
        const double d = fabs((double)(a[i] - b[i])), x = fabs((double)a[i]);
        if (d > most)
            most = d;
        if (x > size)
            size = x;
    }
    return most / size;
}

/* Attached = merged; with B = 0 nothing changes, bit for bit; detached likewise; scales count;
 * several add up; forks keep them; threads do not matter. */
static void test_attach(void **state) {
    (void)state;
    static float plain[LOGITS], with[LOGITS], other[LOGITS];
    const char *path = scratch_path("a.gguf"), *zero = scratch_path("zero.gguf");
    const char *merged = scratch_path("merged.gguf"), *second = scratch_path("b.gguf");
    write_adapter(path, &(recipe){.rank = 5, .b = 0.2, .alpha = 10, .seed = 1});
    write_adapter(
        second,
        &(recipe){.rank = 20, .b = 0.1, .alpha = 20, .seed = 2, .names = "attn_q,attn_output"});
    write_adapter(zero, &(recipe){.rank = 3, .b = 0, .alpha = 3});
    const char *model_path = base(SM_DTYPE_F32);
    size_t before, after;
    uint8_t *bytes_before = scratch_read(model_path, &before);
    sm_model *model;
    sm_session *s, *fork;
    sm_adapter *a, *b, *z;
    OK(sm_model_load(&model, model_path, NULL, error));
    OK(sm_adapter_load(&a, model, path, NULL, error));
    OK(sm_adapter_load(&b, model, second, NULL, error));
    OK(sm_adapter_load(&z, model, zero, NULL, error));
    sm_adapter_info info = {.struct_size = sizeof info};
    OK(sm_adapter_get_info(a, &info, error));
    assert_int_equal(info.n_matrices, 14);
    assert_int_equal(info.max_rank, 5);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        const sm_session_options o = {.struct_size = sizeof o, .n_threads = threads};
        OK(sm_session_new(&s, model, &o, error));
        logits_of(s, plain);
        OK(sm_session_attach(s, z, 1, error));
        assert_int_equal(sm_session_length(s), 0);
        logits_of(s, with);
        assert_memory_equal(plain, with, sizeof plain);
        OK(sm_session_attach(s, a, 1, error));
        logits_of(s, with);
        if (threads == 1)
            memcpy(other, with, sizeof with);
        assert_memory_equal(with, other, sizeof with);
        assert_true(difference(plain, with) > 0.05);
        OK(sm_session_fork(&fork, s, NULL, error));
        static float forked[LOGITS];
        logits_of(fork, forked);
        assert_memory_equal(with, forked, sizeof with);
        sm_session_free(fork);
        OK(sm_session_detach(s, a, error));
        OK(sm_session_detach(s, z, error));
        logits_of(s, with);
        assert_memory_equal(plain, with, sizeof plain);
        sm_session_free(s);
    }
    /* merged, scaled, two of them; a 16-bit cache would round the two ways differently */
    const sm_session_options exact = {.struct_size = sizeof exact, .kv_type = SM_KV_TYPE_F32};
    OK(sm_session_new(&s, model, &exact, error));
    OK(sm_session_attach(s, a, 0.5, error));
    OK(sm_session_attach(s, b, -1, error));
    logits_of(s, with);
    sm_session_free(s);
    sm_adapter_free(a);
    sm_adapter_free(z);
    sm_model_free(model);
    sm_adapter_free(b); /* any order */
    OK(sm_adapter_merge(merged, model_path, path, 0.5, NULL, error));
    OK(sm_adapter_merge(merged, merged, second, -1, NULL, error));
    OK(sm_model_load(&model, merged, NULL, error));
    OK(sm_session_new(&s, model, &exact, error));
    logits_of(s, other);
    assert_true(difference(other, with) < 1e-5);
    assert_true(difference(other, plain) > 0.02);
    sm_session_free(s);
    sm_model_free(model);
    uint8_t *bytes_after = scratch_read(model_path, &after);
    assert_int_equal(before, after);
    assert_memory_equal(bytes_before, bytes_after, before);
    free(bytes_before);
    free(bytes_after);
}

/* Over quantized weights; merging quantizes anew or writes another type. */
static void test_quantized_base(void **state) {
    (void)state;
    static float with[LOGITS], other[LOGITS];
    const char *path = scratch_path("q.gguf"), *merged = scratch_path("qm.gguf");
    write_adapter(path, &(recipe){.rank = 4, .b = 0.2, .alpha = 8});
    const char *model_path = base(SM_DTYPE_Q8_0);
    sm_model *model;
    sm_session *s;
    sm_adapter *a;
    OK(sm_model_load(&model, model_path, NULL, error));
    OK(sm_adapter_load(&a, model, path, NULL, error));
    OK(sm_session_new(&s, model, NULL, error));
    OK(sm_session_attach(s, a, 1, error));
    logits_of(s, with);
    sm_session_free(s);
    sm_adapter_free(a);
    sm_model_free(model);
    const char *types[] = {"F32", NULL, "Q8_0"};
    for (int i = 0; i < 3; i++) {
        OK(sm_adapter_merge(
            merged, model_path, path, 1,
            &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = types[i]}, error));
        OK(sm_model_load(&model, merged, NULL, error));
        OK(sm_session_new(&s, model, NULL, error));
        logits_of(s, other);
        assert_true(difference(other, with) < 0.04); /* inputs in 8 bits, weights anew in 8 */
        sm_session_free(s);
        sm_model_free(model);
    }
    sm_error e;
    sm_source *gguf; /* rows of 64 are no blocks of 256 */
    OK(sm_adapter_merge(
        merged, model_path, path, 1,
        &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "Q4_K"}, error));
    OK(sm_source_open(&gguf, &mem, merged, true, error));
    assert_int_equal(sm_source_find_tensor(gguf, "blk.0.attn_q.weight")->type, SM_DTYPE_Q5_0);
    sm_source_close(gguf);
    assert_int_equal(
        sm_adapter_merge(merged, model_path, path, 1,
                         &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "X"},
                         &e),
        SM_ERR_ARGUMENT);
}

/* What the file says of its type; `otherwise` where it says nothing. */
static uint32_t key_of(const char *path, const char *name, uint32_t otherwise) {
    sm_source *gguf;
    OK(sm_source_open(&gguf, &mem, path, true, error));
    sm_source_get_u32(gguf, name, &otherwise, NULL);
    sm_source_close(gguf);
    return otherwise;
}

/* general.file_type is that of most weights after merging; kept where that is the same. */
static void test_file_type(void **state) {
    (void)state;
    enum { NONE = 99 };
    const char *adapter = scratch_path("ft-a.gguf"), *typed = scratch_path("ft-base.gguf"),
               *merged = scratch_path("ft-out.gguf");
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "Q8_0"};
    const struct {
        const char *type;
        uint32_t file_type;
    } cases[] = {{NULL, 7}, {"Q8_0", 7}, {"F32", 0}, {"F16", 1}, {"Q4_0", 2}, {"BF16", 32}};
    write_adapter(adapter, &(recipe){.rank = 4, .b = 0.2, .alpha = 8});
    OK(sm_model_quantize(typed, base(SM_DTYPE_F32), &o, NULL, error));
    assert_int_equal(key_of(typed, "general.file_type", NONE), 7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(sm_adapter_merge(
            merged, typed, adapter, 1,
            &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = cases[i].type},
            error));
        assert_int_equal(key_of(merged, "general.file_type", NONE), cases[i].file_type);
        assert_int_equal(key_of(merged, "general.quantization_version", NONE), 2);
    }
    /* small matrices of many: most weights are as before */
    write_adapter(adapter, &(recipe){.rank = 4, .b = 0.2, .alpha = 8, .names = "attn_k"});
    OK(sm_adapter_merge(merged, typed, adapter, 1,
                        &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "F32"},
                        error));
    assert_int_equal(key_of(merged, "general.file_type", NONE), 7);
    /* a base that says nothing */
    write_adapter(adapter, &(recipe){.rank = 4, .b = 0.2, .alpha = 8});
    OK(sm_adapter_merge(
        merged, base(SM_DTYPE_F32), adapter, 1,
        &(sm_merge_options){.struct_size = sizeof(sm_merge_options), .type = "Q8_0"}, error));
    assert_int_equal(key_of(merged, "general.file_type", NONE), 7);
    assert_int_equal(key_of(merged, "general.quantization_version", NONE), 2);
}

/* A step of more tokens than go through a product together: the logits of short ones. */
static void test_long_steps(void **state) {
    (void)state;
    enum { LONG = 700 };
    static float want[LONG * FIXTURE_VOCAB], got[LONG * FIXTURE_VOCAB];
    const char *path = scratch_path("long-a.gguf"), *base_path = scratch_path("long.gguf");
    write_adapter(path, &(recipe){.rank = 5, .b = 0.2, .alpha = 10});
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .seed = 4, .n_ctx = LONG};
    assert_int_equal(fixture_write(base_path, &spec), 0);
    int32_t ids[LONG];
    uint64_t seed = 9;
    for (int i = 0; i < LONG; i++)
        ids[i] = (int32_t)(test_random(&seed) % FIXTURE_VOCAB);
    sm_model *model;
    sm_adapter *a;
    OK(sm_model_load(&model, base_path, NULL, error));
    OK(sm_adapter_load(&a, model, path, NULL, error));
    for (int i = 0; i < 2; i++) {
        const sm_session_options o = {
            .struct_size = sizeof o, .n_ctx = LONG, .n_threads = 2, .n_batch = i ? LONG : 50};
        sm_session *s;
        OK(sm_session_new(&s, model, &o, error));
        OK(sm_session_attach(s, a, 1, error));
        OK(sm_session_feed_logits(s, ids, LONG, i ? got : want, UINT64_MAX, error));
        sm_session_free(s);
    }
    assert_memory_equal(got, want, sizeof want);
    sm_adapter_free(a);
    sm_model_free(model);
}

static void expect_refused(const sm_model *model, const recipe *r, sm_status want,
                           const char *part) {
    const char *path = scratch_path("refused.gguf");
    sm_adapter *a;
    sm_error e;
    write_adapter(path, r);
    assert_int_equal(sm_adapter_load(&a, model, path, NULL, &e), want);
    assert_null(a);
    if (!strstr(e.message, part) || !strstr(e.message, "refused.gguf"))
        fail_msg("\"%s\" names not both the file and %s", e.message, part);
}

static void test_refused(void **state) {
    (void)state;
    sm_model *model, *model2;
    sm_session *s;
    sm_adapter *a;
    sm_error e;
    OK(sm_model_load(&model, base(SM_DTYPE_F32), NULL, error));
    OK(sm_model_load(&model2, base(SM_DTYPE_F32), NULL, error));
    const char *b0 = "blk.0.attn_q.weight.lora_b";
    expect_refused(model, &(recipe){.rank = 4, .extra_rows = 1}, SM_ERR_SHAPE, b0);
    expect_refused(model, &(recipe){.rank = 4, .omit = b0}, SM_ERR_MISSING, b0);
    expect_refused(model, &(recipe){.rank = 4, .omit = "blk.1.ffn_up.weight.lora_a"},
                   SM_ERR_MISSING, "blk.1.ffn_up.weight.lora_a");
    expect_refused(model, &(recipe){.rank = 4, .architecture = "qwen2"}, SM_ERR_UNSUPPORTED,
                   "qwen2");
    expect_refused(model, &(recipe){.rank = 4, .type = "dora"}, SM_ERR_UNSUPPORTED, "dora");
    expect_refused(model, &(recipe){.rank = 4, .kind = "model"}, SM_ERR_UNSUPPORTED,
                   "general.type");
    expect_refused(model, &(recipe){.rank = 4, .names = "none"}, SM_ERR_MISSING, "empty");
    expect_refused(model, &(recipe){.rank = 4, .stray = "blk.7.attn_q.weight.lora_a"},
                   SM_ERR_UNSUPPORTED, "blk.7");
    expect_refused(model, &(recipe){.rank = 4, .stray = "something"}, SM_ERR_UNSUPPORTED,
                   "something");
    expect_refused(model, &(recipe){.rank = 4, .alpha = INFINITY}, SM_ERR_FORMAT, "alpha");
    assert_int_equal(sm_adapter_load(&a, model, "/nonexistent", NULL, &e), SM_ERR_IO);
    assert_int_equal(sm_adapter_load(&a, model, base(SM_DTYPE_F32), NULL, &e), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "is a model, not a LoRA adapter"));
    const char *path = scratch_path("good.gguf");
    sm_model *wrong;
    write_adapter(path, &(recipe){.rank = 4});
    assert_int_equal(sm_model_load(&wrong, path, NULL, &e), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(e.message, "is a LoRA adapter, not a model"));
    write_adapter(path, &(recipe){.rank = 4, .b = 1, .alpha = 4});
    OK(sm_adapter_load(&a, model, path, NULL, error));
    OK(sm_session_new(&s, model2, NULL, error));
    assert_int_equal(sm_session_attach(s, a, 1, &e), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_detach(s, a, &e), SM_ERR_ARGUMENT);
    sm_session_free(s);
    OK(sm_session_new(&s, model, NULL, error));
    assert_int_equal(sm_session_attach(s, a, (double)NAN, &e), SM_ERR_ARGUMENT);
    sm_adapter *many[SM_MAX_ADAPTERS];
    for (int i = 0; i < SM_MAX_ADAPTERS; i++) {
        OK(sm_adapter_load(&many[i], model, path, NULL, error));
        OK(sm_session_attach(s, many[i], 0.01, error));
        sm_adapter_free(many[i]); /* the session holds it */
    }
    assert_int_equal(sm_session_attach(s, a, 1, &e), SM_ERR_STATE);
    static float with[LOGITS];
    logits_of(s, with);
    sm_session_free(s);
    sm_adapter_free(a);
    sm_adapter_free(NULL);
    sm_model_free(model);
    sm_model_free(model2);
}

static void test_out_of_memory(void **state) {
    (void)state;
    const char *path = scratch_path("memory.gguf");
    write_adapter(path, &(recipe){.rank = 4, .b = 1, .alpha = 4});
    fail_alloc fail = {0};
    const sm_allocator hook = fail_allocator(&fail);
    const sm_model_options o = {.struct_size = sizeof o, .allocator = &hook};
    sm_model *model;
    sm_session *s;
    OK(sm_model_load(&model, base(SM_DTYPE_F32), &o, error));
    OK(sm_session_new(&s, model, NULL, error));
    const uint64_t live = fail.live_blocks;
    for (uint64_t at = 1;; at++) {
        sm_adapter *a = NULL;
        fail.fail_at = fail.calls + at;
        sm_status status = sm_adapter_load(&a, model, path, NULL, NULL);
        if (status)
            assert_int_equal(fail.live_blocks, live);
        else
            status = sm_session_attach(s, a, 1, NULL);
        fail.fail_at = 0;
        sm_adapter_free(a);
        if (!status)
            break;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
    sm_session_free(s);
    sm_model_free(model);
    assert_int_equal(fail.live_blocks, 0);
}

static int set_up(void **state) {
    (void)state;
    return sm_mem_init(&mem, NULL, 0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),    cmocka_unit_test(test_quantized_base),
        cmocka_unit_test(test_file_type), cmocka_unit_test(test_long_steps),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
