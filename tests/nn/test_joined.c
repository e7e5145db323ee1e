/* Tensors that are rows of a larger one (attn_qkv; ffn_up with the gate in it): the same bits as
 * from a file that has them one by one, whatever is done with it. */
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

static sm_mem mem;

/* ---- files ----------------------------------------------------------------------------------- */

/* What a file that has them one by one becomes: the first of a join, and all of it. */
static const struct {
    const char *part[3], *whole;
    bool gate; /* a join of the feed-forward part */
} joins[] = {
    {{"attn_q.weight", "attn_k.weight", "attn_v.weight"}, "attn_qkv.weight", false},
    {{"attn_q.bias", "attn_k.bias", "attn_v.bias"}, "attn_qkv.bias", false},
    {{"ffn_gate.weight", "ffn_up.weight", NULL}, "ffn_up.weight", true},
    {{"ffn_gate.bias", "ffn_up.bias", NULL}, "ffn_up.bias", true},
    {{"ffn_gate_exps.weight", "ffn_up_exps.weight", NULL}, "ffn_gate_up_exps.weight", false},
};

/* Adapters are joined by their B, which is `ending`; "" for models. */
static bool is_part(const sm_tensor *t, size_t join, int part, const char *ending) {
    char text[96];
    if (!joins[join].part[part])
        return false;
    snprintf(text, sizeof text, ".%s%s", joins[join].part[part], ending);
    const size_t n = strlen(t->name), m = strlen(text);
    return n > m && strcmp(t->name + n - m, text) == 0;
}

/* Which join, and part, a tensor is of; -1: none. */
static int join_of(const sm_tensor *t, bool gates, const char *ending, int *part) {
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++)
        for (*part = 0; *part < 3 && (gates || !joins[i].gate); ++*part)
            if (is_part(t, i, *part, ending))
                return (int)i;
    return -1;
}

static void name_in(char *name, size_t size, const sm_tensor *like, const char *suffix,
                    const char *ending) {
    unsigned layer = 0;
    assert_int_equal(sscanf(like->name, "blk.%u.", &layer), 1);
    snprintf(name, size, "blk.%u.%s%s", layer, suffix, ending);
}

static const sm_tensor *part_tensor(const sm_source *from, const sm_tensor *first, int join,
                                    int part, const char *ending) {
    char name[128];
    if (!joins[join].part[part])
        return NULL;
    name_in(name, sizeof name, first, joins[join].part[part], ending);
    return sm_source_find_tensor(from, name);
}

static void declare(sm_gguf_writer *w, const sm_source *from, const sm_tensor *t, int join,
                    const char *ending) {
    char name[128];
    uint64_t dims[4];
    memcpy(dims, t->dims, sizeof dims);
    snprintf(name, sizeof name, "%s", t->name);
    for (int part = 1; join >= 0 && part < 3; part++) {
        const sm_tensor *more = part_tensor(from, t, join, part, ending);
        dims[t->n_dims > 1] += more ? more->dims[t->n_dims > 1] : 0;
    }
    if (join >= 0)
        name_in(name, sizeof name, t, joins[join].whole, ending);
    OK(sm_gguf_declare_tensor(w, name, t->type, t->n_dims, dims, error));
}

static void copy(sm_gguf_writer *w, const sm_source *from, const sm_tensor *t, int join,
                 const char *ending) {
    for (uint64_t e = 0; e < t->dims[2]; e++) /* of stacks expert by expert */
        for (int part = 0; part < (join < 0 ? 1 : 3); part++) {
            const sm_tensor *one = part ? part_tensor(from, t, join, part, ending) : t;
            const uint64_t size = one ? one->size / t->dims[2] : 0;
            if (one)
                OK(sm_gguf_write_part(w, one->data + e * size, size, error));
        }
}

/* The file with its tensors joined: q, k and v, and with `gates` gate and up. Tensors of which the
 * joined one has one for all (`shared`: ".lora_a") are those of the first part. */
static void join(const char *from_path, const char *to_path, bool gates, const char *ending,
                 const char *shared) {
    sm_source *from;
    sm_gguf_writer *w;
    OK(sm_source_open(&from, &mem, from_path, false, error));
    OK(sm_gguf_writer_open(&w, &mem, to_path, 3, 32, error));
    OK(sm_gguf_copy_keys(w, from, SM_KEY_ALIGNMENT));
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < from->n_tensors; i++) {
            const sm_tensor *t = &from->tensors[i];
            int part;
            const int by = join_of(t, gates, ending, &part);
            const int shared_by = shared && by < 0 ? join_of(t, gates, shared, &part) : -1;
            if ((by >= 0 || shared_by >= 0) && part > 0)
                continue;
            if (shared_by >= 0 && !pass) {
                char name[128];
                name_in(name, sizeof name, t, joins[shared_by].whole, shared);
                OK(sm_gguf_declare_tensor(w, name, t->type, t->n_dims, t->dims, error));
            } else {
                (pass ? copy : declare)(w, from, t, by, ending);
            }
        }
    OK(sm_gguf_writer_finish(w, error));
    sm_source_close(from);
}

static void assert_same_files(const char *a, const char *b) {
    size_t size_a, size_b;
    uint8_t *data_a = scratch_read(a, &size_a), *data_b = scratch_read(b, &size_b);
    assert_non_null(data_a);
    assert_non_null(data_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(data_a, data_b, size_a);
    free(data_a);
    free(data_b);
}

/* ---- models ---------------------------------------------------------------------------------- */

/* Heads of 10: k begins inside a group of 16 rows of the joined tensor. */
static const fixture_model models[] = {
    {.architecture = "phi3", .split = true, .n_embd = 40, .head_dim = 10, .n_ff = 52},
    {.architecture = "phi3", .split = true, .all_biases = true, .n_ff = 40, .type = SM_DTYPE_BF16},
    {.architecture = "qwen2", .head_dim = 24, .type = SM_DTYPE_F16},
    {.architecture = "qwen3", .head_dim = 8, .type = SM_DTYPE_Q8_0},
    {.architecture = "phi3", .split = true, .n_embd = 256, .n_ff = 512, .type = SM_DTYPE_Q4_K},
    {.n_experts = 3, .n_used = 2, .n_head_kv = 4, .type = SM_DTYPE_Q4_0},
};
#define N_MODELS (sizeof models / sizeof *models)

static bool has_gates(const fixture_model *m) {
    return m->architecture && strcmp(m->architecture, "phi3") == 0;
}

#define N 21 /* tokens fed */
#define LOGITS (N * FIXTURE_VOCAB)

static void logits_of(const char *path, uint32_t repack, const char *adapter, float *logits,
                      sm_model_info *info) {
    const sm_model_options o = {.struct_size = sizeof o, .repack = repack};
    const sm_session_options so = {
        .struct_size = sizeof so, .n_threads = 2, .n_ctx = 32, .kv_type = SM_KV_TYPE_F32};
    sm_model *model;
    sm_session *s;
    sm_adapter *a = NULL;
    int32_t ids[N];
    uint64_t seed = 9;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(test_random(&seed) % FIXTURE_VOCAB);
    OK(sm_model_load(&model, path, &o, error));
    OK(sm_session_new(&s, model, &so, error));
    if (adapter) {
        OK(sm_adapter_load(&a, model, adapter, NULL, error));
        OK(sm_session_attach(s, a, 1, error));
    }
    OK(sm_session_feed_logits(s, ids, N - 1, logits, UINT64_MAX, error));
    OK(sm_session_feed_logits(s, ids + N - 1, 1, logits + (N - 1) * FIXTURE_VOCAB, UINT64_MAX,
                              error));
    OK(sm_model_get_info(model, info, error));
    sm_session_free(s);
    sm_adapter_free(a);
    sm_model_free(model);
}

/* From the file, packed as it is read, and from a packed file. */
static void test_same_bits(void **state) {
    (void)state;
    static float want[LOGITS], got[LOGITS];
    const char *split = scratch_path("split.gguf"), *joined = scratch_path("joined.gguf");
    const char *packed = scratch_path("packed.gguf"), *again = scratch_path("again.gguf");
    for (size_t i = 0; i < N_MODELS; i++) {
        sm_model_info info = {.struct_size = sizeof info}, other = info;
        sm_model *model;
        assert_int_equal(fixture_write(split, &models[i]), 0);
        join(split, joined, has_gates(&models[i]), "", NULL);
        logits_of(split, SM_REPACK_LAZY, NULL, want, &info);
        logits_of(joined, SM_REPACK_LAZY, NULL, got, &other);
        assert_memory_equal(got, want, sizeof want);
        assert_int_equal(other.n_params, info.n_params);
        assert_int_equal(other.decode_bytes, info.decode_bytes);
        assert_int_equal(other.packed_bytes, info.packed_bytes);
        logits_of(joined, SM_REPACK_NONE, NULL, got, &other);
        assert_memory_equal(got, want, sizeof want);
        for (int packs = 0; packs < 2; packs++) {
            OK(sm_model_load(&model, packs ? packed : joined, NULL, error));
            OK(sm_model_save_packed(model, packs ? again : packed, NULL, error));
            sm_model_free(model);
        }
        assert_same_files(packed, again);
        logits_of(packed, SM_REPACK_LAZY, NULL, got, &other);
        assert_memory_equal(got, want, sizeof want);
        assert_int_equal(other.packed_bytes, 0);
        if (!models[i].n_experts)
            assert_int_equal(other.packed_file_bytes, info.packed_bytes);
    }
}

/* ---- adapters -------------------------------------------------------------------------------- */

/* An adapter of all matrices of layers of the split file, or (`own`) of those but attn_k; A is one
 * for those that are joined, or each one's own. */
static void write_adapter(const char *path, const char *model_path, bool gates, bool own) {
    sm_source *model;
    sm_gguf_writer *w;
    const char *architecture;
    uint64_t length;
    enum { RANK = 5 };
    OK(sm_source_open(&model, &mem, model_path, false, error));
    OK(sm_source_get_str(model, "general.architecture", &architecture, &length, error));
    OK(sm_gguf_writer_open(&w, &mem, path, 3, 32, error));
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    sm_gguf_put_str(w, "general.architecture", architecture, length);
    sm_gguf_put_f32(w, "adapter.lora.alpha", 9);
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < model->n_tensors; i++) {
            const sm_tensor *t = &model->tensors[i];
            int part;
            const int by = join_of(t, gates, "", &part);
            if (t->n_dims < 2 || strncmp(t->name, "blk.", 4) != 0 || strstr(t->name, "gate_inp") ||
                (own && strstr(t->name, "attn_k.")))
                continue;
            for (int half = 0; half < 2; half++) {
                char name[128];
                const uint64_t dims[3] = {half ? RANK : t->dims[0], half ? t->dims[1] : RANK,
                                          t->dims[2]};
                const uint64_t n = dims[0] * dims[1] * dims[2];
                uint64_t seed = half ? i : by < 0 || own ? i + 1000 : 2000 + (uint64_t)by;
                snprintf(name, sizeof name, "%s.lora_%c", t->name, "ab"[half]);
                if (!pass) {
                    OK(sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, t->n_dims, dims, error));
                    continue;
                }
                float *data = malloc(n * sizeof *data);
                assert_non_null(data);
                for (uint64_t k = 0; k < n; k++)
                    data[k] = (float)(test_random(&seed) >> 40) * 0x1p-24f * 0.2f - 0.1f;
                OK(sm_gguf_write_tensor(w, data, n * sizeof *data, error));
                free(data);
            }
        }
    OK(sm_gguf_writer_finish(w, error));
    sm_source_close(model);
}

/* Attached and merged: PEFT's qkv_proj and gate_up_proj, which converters call as the files of the
 * models do. */
static void test_adapters(void **state) {
    (void)state;
    static float plain[LOGITS], want[LOGITS], got[LOGITS];
    const char *split = scratch_path("split.gguf"), *joined = scratch_path("joined.gguf");
    const char *of_split = scratch_path("of_split.gguf"), *of_joined = scratch_path("of.gguf");
    const char *merged = scratch_path("merged.gguf"), *want_merged = scratch_path("want.gguf");
    for (size_t i = 0; i < N_MODELS; i++) {
        const bool gates = has_gates(&models[i]);
        sm_model_info info = {.struct_size = sizeof info};
        assert_int_equal(fixture_write(split, &models[i]), 0);
        join(split, joined, gates, "", NULL);
        write_adapter(of_split, split, gates, false);
        join(of_split, of_joined, gates, ".lora_b", ".lora_a");
        logits_of(split, SM_REPACK_LAZY, NULL, plain, &info);
        logits_of(split, SM_REPACK_LAZY, of_split, want, &info);
        logits_of(joined, SM_REPACK_LAZY, of_joined, got, &info);
        assert_memory_not_equal(want, plain, sizeof want);
        assert_memory_equal(got, want, sizeof want);
        OK(sm_adapter_merge(merged, split, of_split, 1, NULL, error));
        join(merged, want_merged, gates, "", NULL);
        OK(sm_adapter_merge(merged, joined, of_joined, 1, NULL, error));
        assert_same_files(merged, want_merged);
        /* each of them for the other file */
        logits_of(joined, SM_REPACK_LAZY, of_split, got, &info);
        assert_memory_equal(got, want, sizeof want);
        logits_of(split, SM_REPACK_LAZY, of_joined, got, &info);
        assert_memory_equal(got, want, sizeof want);
        OK(sm_adapter_merge(merged, joined, of_split, 1, NULL, error));
        assert_same_files(merged, want_merged);
        OK(sm_adapter_merge(merged, split, of_joined, 1, NULL, error));
        join(merged, of_split, gates, "", NULL);
        assert_same_files(of_split, want_merged);
    }
}

/* Parts with an A of their own, and one without any, on joined tensors: the bits of the split file,
 * and of the merged one's floats up to rounding. */
static void test_parts(void **state) {
    (void)state;
    static float plain[LOGITS], want[LOGITS], got[LOGITS];
    const char *split = scratch_path("split.gguf"), *joined = scratch_path("joined.gguf");
    const char *adapter = scratch_path("parts.gguf"), *merged = scratch_path("merged.gguf");
    const char *merged_split = scratch_path("want.gguf"), *rejoined = scratch_path("of.gguf");
    for (size_t i = 0; i < N_MODELS; i++) {
        const bool gates = has_gates(&models[i]);
        const sm_merge_options floats = {.struct_size = sizeof floats, .type = "F32"};
        sm_model_info info = {.struct_size = sizeof info};
        assert_int_equal(fixture_write(split, &models[i]), 0);
        join(split, joined, gates, "", NULL);
        write_adapter(adapter, split, gates, true);
        logits_of(split, SM_REPACK_LAZY, NULL, plain, &info);
        logits_of(split, SM_REPACK_LAZY, adapter, want, &info);
        logits_of(joined, SM_REPACK_LAZY, adapter, got, &info);
        assert_memory_not_equal(want, plain, sizeof want);
        assert_memory_equal(got, want, sizeof want);
        OK(sm_adapter_merge(merged_split, split, adapter, 1, NULL, error));
        OK(sm_adapter_merge(merged, joined, adapter, 1, NULL, error));
        join(merged_split, rejoined, gates, "", NULL);
        assert_same_files(merged, rejoined);
        if (models[i].type != SM_DTYPE_F32)
            continue;
        OK(sm_adapter_merge(merged, joined, adapter, 1, &floats, error));
        logits_of(merged, SM_REPACK_LAZY, NULL, got, &info);
        for (int k = 0; k < LOGITS; k++)
            assert_true(fabsf(got[k] - want[k]) < 1e-4f);
    }
}

/* An adapter with one pair, or a joined and a single one of the same rows. */
static void expect_adapter_refused(const char *model_path, const char *first, uint64_t rows,
                                   const char *second, uint64_t more, sm_status want,
                                   const char *part) {
    static const float zeros[64 * 512];
    const char *path = scratch_path("odd.gguf"), *names[2] = {first, second};
    const uint64_t n_rows[2] = {rows, more};
    sm_gguf_writer *w;
    sm_model *model;
    sm_adapter *a;
    sm_error why = {0};
    OK(sm_gguf_writer_open(&w, &mem, path, 3, 32, error));
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    OK(sm_model_load(&model, model_path, NULL, error));
    sm_model_info info = {.struct_size = sizeof info};
    OK(sm_model_get_info(model, &info, error));
    sm_gguf_put_str(w, "general.architecture", info.architecture, strlen(info.architecture));
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < (second ? 2 : 1); i++)
            for (int half = 0; half < 2; half++) {
                char name[128];
                const uint64_t dims[2] = {half ? 4 : 64, half ? n_rows[i] : 4};
                snprintf(name, sizeof name, "%s.lora_%c", names[i], "ab"[half]);
                if (!pass)
                    OK(sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, 2, dims, error));
                else
                    OK(sm_gguf_write_tensor(w, zeros, dims[0] * dims[1] * sizeof *zeros, error));
            }
    OK(sm_gguf_writer_finish(w, error));
    assert_int_equal(sm_adapter_load(&a, model, path, NULL, &why), want);
    if (want)
        assert_non_null(strstr(why.message, part));
    sm_adapter_free(a);
    sm_model_free(model);
}

static void test_adapter_refusals(void **state) {
    (void)state;
    char path[512]; /* scratch_path gives its text to another after some calls */
    snprintf(path, sizeof path, "%s", scratch_path("split.gguf"));
    const char *qkv = "blk.0.attn_qkv.weight";
    const char *q = "blk.0.attn_q.weight", *up = "blk.1.ffn_up.weight";
    /* q, k and v of 64, 32 and 32 rows; gate and up of 96 */
    assert_int_equal(fixture_write(path, &(fixture_model){.seed = 3}), 0);
    expect_adapter_refused(path, qkv, 128, NULL, 0, SM_OK, "");
    expect_adapter_refused(path, qkv, 127, NULL, 0, SM_ERR_SHAPE, "blk.0.attn_qkv.weight.lora_b");
    expect_adapter_refused(path, qkv, 128, q, 64, SM_ERR_FORMAT, "blk.0.attn_q.weight.lora_a");
    expect_adapter_refused(path, q, 64, qkv, 128, SM_ERR_FORMAT, "blk.0.attn_qkv.weight.lora_a");
    /* no llama's up has the gate in it */
    expect_adapter_refused(path, up, 192, NULL, 0, SM_ERR_SHAPE, "blk.1.ffn_up.weight.lora_b");
    assert_int_equal(fixture_write(path, &(fixture_model){.architecture = "phi3"}), 0);
    expect_adapter_refused(path, q, 64, NULL, 0, SM_OK, "");
    expect_adapter_refused(path, q, 128, NULL, 0, SM_ERR_SHAPE, "blk.0.attn_q.weight.lora_b");
    expect_adapter_refused(path, up, 96, NULL, 0, SM_OK, "");
    expect_adapter_refused(path, up, 192, "blk.1.ffn_gate.weight", 96, SM_ERR_FORMAT, "blk.1.ffn_");
    expect_adapter_refused(path, up, 95, NULL, 0, SM_ERR_SHAPE, "blk.1.ffn_up.weight.lora_b");
}

/* ---- quantizing ------------------------------------------------------------------------------ */

static void measure(const char *model_path, const char *path) {
    sm_model *model;
    sm_imatrix *im;
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = 7 * i;
    OK(sm_model_load(&model, model_path, NULL, error));
    OK(sm_imatrix_new(&im, model, NULL, error));
    OK(sm_imatrix_feed(im, ids, N, error));
    OK(sm_imatrix_save(im, path, "", error));
    sm_imatrix_free(im);
    sm_model_free(model);
}

/* One entry for a joined tensor, that of any of its parts; with it the same codes. */
static void test_quantize(void **state) {
    (void)state;
    const fixture_model model = {.architecture = "phi3", .split = true, .n_embd = 256, .n_ff = 256};
    const char *split = scratch_path("split.gguf"), *joined = scratch_path("joined.gguf");
    const char *im = scratch_path("im.gguf"), *im_split = scratch_path("im_split.gguf");
    const char *out = scratch_path("out.gguf"), *want = scratch_path("want.gguf");
    sm_source *a, *b;
    assert_int_equal(fixture_write(split, &model), 0);
    join(split, joined, true, "", NULL);
    measure(joined, im);
    measure(split, im_split);
    OK(sm_source_open(&a, &mem, im, false, error));
    OK(sm_source_open(&b, &mem, im_split, false, error));
    assert_int_equal(a->n_tensors, 2 * 2 * 4); /* sums and counts, layers, matrices */
    assert_int_equal(b->n_tensors, 2 * 2 * 7);
    const sm_tensor *sums = sm_source_find_tensor(a, "blk.1.attn_qkv.weight.in_sum2");
    const sm_tensor *of_k = sm_source_find_tensor(b, "blk.1.attn_k.weight.in_sum2");
    assert_non_null(sums);
    assert_non_null(of_k);
    assert_int_equal(sums->size, of_k->size);
    assert_memory_equal(sums->data, of_k->data, sums->size);
    assert_null(sm_source_find_tensor(a, "blk.1.ffn_gate.weight.in_sum2"));
    sm_source_close(a);
    sm_source_close(b);
    sm_quantize_options o = {.struct_size = sizeof o, .type = "Q4_K", .pure = true, .imatrix = im};
    OK(sm_model_quantize(out, joined, &o, NULL, error));
    o.imatrix = im_split;
    OK(sm_model_quantize(im, split, &o, NULL, error));
    join(im, want, true, "", NULL);
    assert_same_files(out, want);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void refused(const fixture_model *model, sm_status status, const char *part) {
    const char *path = scratch_path("bad.gguf");
    sm_model *m = NULL;
    sm_error error = {0};
    assert_int_equal(fixture_write(path, model), 0);
    assert_int_equal(sm_model_load(&m, path, NULL, &error), status);
    assert_null(m);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void test_refusals(void **state) {
    (void)state;
    fixture_model m = {.architecture = "phi3", .bad_shape = "blk.1.attn_qkv.weight"};
    refused(&m, SM_ERR_SHAPE,
            "'blk.1.attn_qkv.weight' has shape [64, 129, 1, 1], expected [64, 128]");
    m.bad_shape = "blk.0.ffn_up.weight";
    refused(&m, SM_ERR_SHAPE, "expected [64, 192]");
    m = (fixture_model){.architecture = "phi3", .omit_tensor = "blk.0.attn_qkv.weight"};
    refused(&m, SM_ERR_MISSING, "'blk.0.attn_qkv.weight' is missing");
    m.split = true;
    m.omit_tensor = "blk.1.attn_k.weight";
    refused(&m, SM_ERR_MISSING, "'blk.1.attn_k.weight' is missing");
    m.omit_tensor = "blk.1.ffn_gate.weight"; /* then gate and up are in ffn_up */
    refused(&m, SM_ERR_SHAPE, "'blk.1.ffn_up.weight'");
    m = (fixture_model){
        .architecture = "qwen2", .joined = true, .bad_shape = "blk.0.attn_qkv.bias"};
    refused(&m, SM_ERR_SHAPE, "'blk.0.attn_qkv.bias'");
    m = (fixture_model){.omit_tensor = "blk.1.ffn_gate.weight"}; /* no family that joins them */
    refused(&m, SM_ERR_MISSING, "'blk.1.ffn_gate.weight' is missing");
}

/* Tensors of both forms at once: one of them is nobody's. */
static void test_both(void **state) {
    (void)state;
    const char *path = scratch_path("both.gguf"), *split = scratch_path("split.gguf");
    sm_source *from;
    sm_gguf_writer *w;
    sm_model *model;
    sm_error why = {0};
    const uint64_t dims[2] = {64, 128};
    static const float zeros[64 * 128];
    assert_int_equal(fixture_write(split, &(fixture_model){.seed = 2}), 0);
    OK(sm_source_open(&from, &mem, split, false, error));
    OK(sm_gguf_writer_open(&w, &mem, path, 3, 32, error));
    OK(sm_gguf_copy_keys(w, from, SM_KEY_ALIGNMENT));
    for (uint64_t i = 0; i < from->n_tensors; i++)
        declare(w, from, &from->tensors[i], -1, "");
    OK(sm_gguf_declare_tensor(w, "blk.0.attn_qkv.weight", SM_DTYPE_F32, 2, dims, error));
    for (uint64_t i = 0; i < from->n_tensors; i++)
        copy(w, from, &from->tensors[i], -1, "");
    OK(sm_gguf_write_tensor(w, zeros, sizeof zeros, error));
    OK(sm_gguf_writer_finish(w, error));
    sm_source_close(from);
    assert_int_equal(sm_model_load(&model, path, NULL, &why), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "'blk.0.attn_qkv.weight' has no place"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_parts),     cmocka_unit_test(test_adapter_refusals),
        cmocka_unit_test(test_quantize),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_both),
    };
    sm_mem_init(&mem, NULL, 0, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
