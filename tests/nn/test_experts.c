/* What experts and gemma 2 have to go through beside being computed and trained: quantizing,
 * packing, measuring, adapters. */
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
#include "run/run.h"
#include "smallmind/experimental.h"
#include "support.h"

#define N 24
#define EXPERTS 4
#define USED 2

static const fixture_model mixtral = {
    .n_embd = 256, .n_ff = 256, .n_experts = EXPERTS, .n_used = USED, .untied = true, .seed = 11};
static const fixture_model gemma2 = {
    .architecture = "gemma2", .n_embd = 256, .n_ff = 512, .n_layer = 3, .sliding_window = 6};

/* Each head's matrices of latent attention lie in a stack. */
static const fixture_key heads[] = {{"attention.kv_lora_rank", 'u', 256},
                                    {"attention.key_length_mla", 'u', 80},
                                    {"attention.value_length_mla", 'u', 64},
                                    {"rope.dimension_count", 'u', 16},
                                    {NULL, 0, 0}};
static const fixture_model latent = {
    .architecture = "deepseek2", .n_embd = 256, .n_ff = 256, .keys = heads, .seed = 12};

/* Inputs of layers have a table of their own; the last layer has no keys and values. */
static const fixture_key inputs[] = {{"attention.key_length_swa", 'u', 32},
                                     {"attention.value_length_swa", 'u', 32},
                                     {"rope.dimension_count_swa", 'u', 32},
                                     {"attention.shared_kv_layers", 'u', 1},
                                     {"attention.sliding_window_pattern", 'u', 2},
                                     {"embedding_length_per_layer_input", 'u', 64},
                                     {NULL, 0, 0}};
static const fixture_model gemma4 = {.architecture = "gemma4",
                                     .n_embd = 256,
                                     .n_ff = 512,
                                     .n_layer = 4,
                                     .sliding_window = 6,
                                     .head_dim = 64,
                                     .keys = inputs,
                                     .seed = 13};

/* Streams, a learned residual, gates cut off. */
static const fixture_key streams[] = {{"attention.shared_kv_layers", 'u', 2},
                                      {"attention.sliding_window_pattern", 'u', 2},
                                      {"altup.num_inputs", 'u', 3},
                                      {"activation_sparsity_scale", 'f', 0.5},
                                      {"embedding_length_per_layer_input", 'u', 64},
                                      {NULL, 0, 0}};
static const fixture_model gemma3n = {.architecture = "gemma3n",
                                      .n_embd = 256,
                                      .n_ff = 512,
                                      .n_layer = 4,
                                      .sliding_window = 6,
                                      .head_dim = 64,
                                      .keys = streams,
                                      .seed = 15};

static const fixture_key layer_norm[] = {{"attention.layer_norm_epsilon", 'f', 1e-5}, {0}};
static const fixture_key scaled[] = {
    {"attention.layer_norm_epsilon", 'f', 1e-5}, {"logit_scale", 'f', 0.3}, {0}};
/* Learned positions, and q, k and v in one tensor; branches in parallel, and a bias of logits; two
 * norms; norms of each head. */
static const fixture_model gpt2 = {
    .architecture = "gpt2", .n_embd = 256, .n_ff = 512, .n_head_kv = 4, .keys = layer_norm};
static const fixture_model phi2 = {
    .architecture = "phi2", .n_embd = 256, .n_ff = 512, .untied = true, .keys = layer_norm};
static const fixture_model gptneox = {
    .architecture = "gptneox", .n_embd = 256, .n_ff = 512, .untied = true, .keys = layer_norm};
static const fixture_model cohere = {
    .architecture = "command-r", .n_embd = 256, .n_ff = 512, .head_norms = true, .keys = scaled};
static const fixture_model gemma3 = {
    .architecture = "gemma3", .n_embd = 256, .n_ff = 256, .n_layer = 7, .sliding_window = 6};
static const fixture_model olmo3 = {.architecture = "olmo2",
                                    .n_embd = 256,
                                    .n_ff = 256,
                                    .n_layer = 4,
                                    .sliding_window = 6,
                                    .untied = true};
static const fixture_key scales[] = {{"residual_scale", 'f', 0.7}, {"logit_scale", 'f', 3}, {0}};
static const fixture_model granite = {
    .architecture = "granite", .n_embd = 256, .n_ff = 256, .keys = scales};

static const char *name_of(const fixture_model *spec) {
    return spec->architecture ? spec->architecture : "llama";
}
static const fixture_key shared_keys[] = {
    {"expert_feed_forward_length", 'u', 256}, {"expert_shared_feed_forward_length", 'u', 512}, {0}};
static const fixture_model qwen2moe = {.architecture = "qwen2moe",
                                       .n_embd = 256,
                                       .n_ff = 256,
                                       .n_experts = EXPERTS,
                                       .n_used = USED,
                                       .keys = shared_keys,
                                       .seed = 12};
/* All experts are used: which ones are does not hang by rounding. */
static const fixture_model gpt_oss = {.architecture = "gpt-oss",
                                      .n_embd = 256,
                                      .n_ff = 256,
                                      .n_experts = EXPERTS,
                                      .n_used = EXPERTS,
                                      .sliding_window = 6,
                                      .seed = 16};
/* Weights of experts jump where another one's logit comes near. */
static const fixture_model phimoe = {.architecture = "phimoe",
                                     .n_embd = 256,
                                     .n_ff = 256,
                                     .n_experts = EXPERTS,
                                     .n_used = EXPERTS,
                                     .seed = 17};
static const fixture_key sigmoid_keys[] = {
    {"expert_shared_count", 'u', 1},    {"leading_dense_block_count", 'u', 1},
    {"expert_group_count", 'u', 2},     {"expert_group_used_count", 'u', 1},
    {"expert_weights_scale", 'f', 1.5}, {0}};
static const fixture_model glm4moe = {.architecture = "glm4moe",
                                      .n_embd = 256,
                                      .n_ff = 256,
                                      .n_experts = EXPERTS,
                                      .n_used = USED,
                                      .all_biases = true,
                                      .keys = sigmoid_keys,
                                      .seed = 14};

static int32_t id_of(uint32_t i) {
    return (int32_t)((i * 37 + i * i * 5) % FIXTURE_VOCAB);
}

static const char *write(const char *name, const fixture_model *spec) {
    const char *path = scratch_path(name);
    assert_int_equal(fixture_write(path, spec), 0);
    return path;
}

/* Logits of N tokens: `piece` at a time. */
static float *logits_of(const char *path, const char *adapter, uint32_t repack, uint32_t piece) {
    sm_error error = {0};
    const sm_model_options o = {.struct_size = sizeof o, .repack = repack};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2, .n_ctx = 32};
    sm_model *model;
    sm_session *s;
    sm_adapter *a = NULL;
    float *logits = calloc((size_t)N * FIXTURE_VOCAB, sizeof *logits);
    assert_non_null(logits);
    if (sm_model_load(&model, path, &o, &error) || sm_session_new(&s, model, &so, &error))
        fail_msg("%s", error.message);
    if (adapter &&
        (sm_adapter_load(&a, model, adapter, NULL, &error) || sm_session_attach(s, a, 1, &error)))
        fail_msg("%s", error.message);
    for (uint32_t t = 0; t < N; t += piece) {
        int32_t ids[N];
        for (uint32_t i = 0; i < piece; i++)
            ids[i] = id_of(t + i);
        assert_int_equal(sm_session_feed_logits(s, ids, piece, logits + (size_t)t * FIXTURE_VOCAB,
                                                UINT64_MAX, NULL),
                         SM_OK);
    }
    sm_adapter_free(a);
    sm_session_free(s);
    sm_model_free(model);
    return logits;
}

/* Root of the mean square of the difference beside that of b: a token that is routed to another
 * expert is far off. */
static double relative(const float *a, const float *b) {
    double off = 0, all = 0;
    for (size_t i = 0; i < (size_t)N * FIXTURE_VOCAB; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        all += (double)b[i] * (double)b[i];
    }
    return sqrt(off / all);
}

static void assert_same(float *a, float *b) {
    assert_memory_equal(a, b, (size_t)N * FIXTURE_VOCAB * sizeof *a);
    free(a);
    free(b);
}

static uint64_t params_of(const char *path) {
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
    assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
    sm_model_free(model);
    return info.n_params;
}

/* Quantized files, packed ones, and weights that are not repacked: the same bits in pieces of any
 * size, and near the exact ones. */
static void files_of_all_kinds_agree(void **state) {
    (void)state;
    const fixture_model *specs[] = {&mixtral, &gemma2, &latent,  &gpt2,    &phi2,     &gptneox,
                                    &cohere,  &gemma3, &olmo3,   &granite, &qwen2moe, &gpt_oss,
                                    &glm4moe, &gemma4, &gemma3n, &phimoe};
    const char *types[] = {"Q8_0", "Q4_K_M", "F16"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        const char *exact = write("exact.gguf", specs[i]);
        float *want = logits_of(exact, NULL, SM_REPACK_LAZY, N);
        for (size_t t = 0; t < 3; t++) {
            sm_error error = {0};
            const char *small = scratch_path("small.gguf"), *packed = scratch_path("packed.gguf");
            const sm_quantize_options o = {.struct_size = sizeof o, .type = types[t]};
            sm_model *model = NULL;
            if (sm_model_quantize(small, exact, &o, NULL, &error) ||
                sm_model_load(&model, small, NULL, &error) ||
                sm_model_save_packed(model, packed, NULL, &error))
                fail_msg("%s", error.message);
            sm_model_free(model);
            assert_int_equal(params_of(packed), params_of(small));
            float *got = logits_of(small, NULL, SM_REPACK_LAZY, N);
            const double off = relative(got, want);
            print_message("%s %s: off by %.2g\n", name_of(specs[i]), types[t], off);
            /* scores of gemma 4 are not divided by the root of a head's size; weights of phimoe's
             * experts jump */
            const bool twice = specs[i] == &gemma4 || specs[i] == &phimoe;
            assert_true(off > 0 && off < (twice ? 2 : 1) * (t == 1 ? 0.4 : 0.05));
            assert_same(got, logits_of(small, NULL, SM_REPACK_NONE, 1));
            got = logits_of(packed, NULL, SM_REPACK_LAZY, 4);
            assert_same(got, logits_of(small, NULL, SM_REPACK_LAZY, 1));
        }
        free(want);
    }
}

static float float_at(const sm_tensor *t, uint64_t i) {
    float x;
    memcpy(&x, t->data + 4 * i, 4);
    return x;
}

/* The importance of N tokens, open. */
static sm_source *importance_of(const char *path, const char *out, sm_mem *mem) {
    sm_model *model;
    sm_imatrix *im = NULL;
    sm_source *gguf;
    sm_error error = {0};
    int32_t ids[N];
    for (uint32_t i = 0; i < N; i++)
        ids[i] = id_of(i);
    if (sm_model_load(&model, path, NULL, &error) || sm_imatrix_new(&im, model, NULL, &error) ||
        sm_imatrix_feed(im, ids, N, &error) || sm_imatrix_save(im, out, NULL, &error))
        fail_msg("%s", error.message);
    sm_imatrix_free(im);
    sm_model_free(model);
    assert_int_equal(sm_mem_init(mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&gguf, mem, out, true, NULL), SM_OK);
    return gguf;
}

static void quantize_with(const char *path, const char *imatrix, uint64_t n_imatrix) {
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "Q4_K", .imatrix = imatrix};
    sm_quantize_result result = {.struct_size = sizeof result};
    sm_error error = {0};
    if (sm_model_quantize(scratch_path("small.gguf"), path, &o, &result, &error))
        fail_msg("%s", error.message);
    assert_int_equal(result.n_imatrix, n_imatrix);
}

/* Each token counts with the experts that it went through, and with no other; with what all tokens
 * go through always. */
static void importance_counts_per_expert(void **state) {
    (void)state;
    const char *path = write("exact.gguf", &qwen2moe), *out = scratch_path("im.gguf");
    sm_mem mem;
    sm_source *gguf = importance_of(path, out, &mem);
    const char *const names[] = {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_down_exps.weight"};
    for (size_t k = 0; k < 2; k++) {
        char name[128];
        snprintf(name, sizeof name, "%s.counts", names[k]);
        const sm_tensor *counts = sm_source_find_tensor(gguf, name);
        snprintf(name, sizeof name, "%s.in_sum2", names[k]);
        const sm_tensor *sums = sm_source_find_tensor(gguf, name);
        assert_true(counts && sums && sums->dims[0] == 256 && sums->dims[1] == EXPERTS);
        float total = 0;
        for (uint64_t e = 0; e < EXPERTS; e++) {
            total += float_at(counts, e);
            assert_true((float_at(counts, e) > 0) == (float_at(sums, e * 256) > 0));
        }
        assert_true(total == N * USED);
    }
    const sm_tensor *router = sm_source_find_tensor(gguf, "blk.0.ffn_gate_inp.weight.counts");
    assert_true(router && float_at(router, 0) == N);
    const sm_tensor *shared = sm_source_find_tensor(gguf, "blk.1.ffn_down_shexp.weight.counts");
    assert_true(shared && float_at(shared, 0) == N);
    sm_source_close(gguf);
    quantize_with(path, out, 2 * 10); /* all of both layers but the routers */
}

/* Each token counts with every head. */
static void importance_counts_per_head(void **state) {
    (void)state;
    const char *path = write("exact.gguf", &latent), *out = scratch_path("im.gguf");
    static const char *const names[] = {"blk.0.attn_k_b.weight", "blk.1.attn_v_b.weight"};
    static const uint64_t cols[] = {64, 256};
    sm_mem mem;
    sm_source *gguf = importance_of(path, out, &mem);
    for (size_t k = 0; k < 2; k++) {
        char name[128];
        snprintf(name, sizeof name, "%s.counts", names[k]);
        const sm_tensor *counts = sm_source_find_tensor(gguf, name);
        snprintf(name, sizeof name, "%s.in_sum2", names[k]);
        const sm_tensor *sums = sm_source_find_tensor(gguf, name);
        assert_true(counts && sums && sums->dims[0] == cols[k] && sums->dims[1] == 4);
        for (uint64_t h = 0; h < 4; h++)
            assert_true(float_at(counts, h) == N && float_at(sums, h * cols[k]) > 0);
        assert_true(float_at(sums, 0) != float_at(sums, cols[k]));
    }
    sm_source_close(gguf);
    quantize_with(path, out, 2 * 8);
}

/* An adapter of all matrices with the values of a counter. */
static void write_adapter(const char *path, const char *model_path, const char *architecture) {
    sm_mem mem;
    sm_source *gguf;
    sm_gguf_writer *w;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&gguf, &mem, model_path, true, NULL), SM_OK);
    assert_int_equal(sm_gguf_writer_open(&w, &mem, path, 3, 32, NULL), SM_OK);
    sm_gguf_put_str(w, "general.type", "adapter", 7);
    sm_gguf_put_str(w, "general.architecture", architecture, strlen(architecture));
    sm_gguf_put_str(w, "adapter.type", "lora", 4);
    sm_gguf_put_f32(w, "adapter.lora.alpha", 3);
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < gguf->n_tensors; i++) {
            const sm_tensor *t = &gguf->tensors[i];
            if (t->n_dims < 2 || strstr(t->name, ".bias") || strstr(t->name, "token_embd") ||
                !strncmp(t->name, "output", 6))
                continue;
            for (int half = 0; half < 2; half++) {
                char name[128];
                const uint64_t dims[3] = {half ? 3 : t->dims[0], half ? t->dims[1] : 3, t->dims[2]};
                const uint64_t n = dims[0] * dims[1] * dims[2];
                snprintf(name, sizeof name, "%s.lora_%c", t->name, half ? 'b' : 'a');
                if (!pass) {
                    sm_gguf_declare_tensor(w, name, SM_DTYPE_F32, t->n_dims, dims, NULL);
                    continue;
                }
                float *x = malloc(n * sizeof *x);
                assert_non_null(x);
                for (uint64_t k = 0; k < n; k++)
                    x[k] = 0.02f * (float)sin((double)(k + 7 * i));
                sm_gguf_write_tensor(w, x, n * sizeof *x, NULL);
                free(x);
            }
        }
    assert_int_equal(sm_gguf_writer_finish(w, NULL), SM_OK);
    sm_source_close(gguf);
}

/* Attached, the same bits in every piece; merged, the same but for rounding. */
static void stacks_take_adapters(void **state) {
    (void)state;
    const fixture_model *specs[] = {&mixtral, &latent,  &gemma3, &olmo3,   &granite, &qwen2moe,
                                    &gpt_oss, &glm4moe, &gemma4, &gemma3n, &phimoe};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        const char *path = write("exact.gguf", specs[i]), *adapter = scratch_path("adapter.gguf");
        const char *merged = scratch_path("merged.gguf");
        sm_error error = {0};
        write_adapter(adapter, path, name_of(specs[i]));
        float *plain = logits_of(path, NULL, SM_REPACK_LAZY, N);
        float *attached = logits_of(path, adapter, SM_REPACK_LAZY, N);
        float *single = logits_of(path, adapter, SM_REPACK_LAZY, 1);
        assert_memory_equal(attached, single, (size_t)N * FIXTURE_VOCAB * sizeof *single);
        if (sm_adapter_merge(merged, path, adapter, 1, NULL, &error))
            fail_msg("%s", error.message);
        float *whole = logits_of(merged, NULL, SM_REPACK_LAZY, N);
        const double apart = relative(plain, attached), off = relative(whole, attached);
        print_message("%s: %.2g apart, merged off by %.2g\n", name_of(specs[i]), apart, off);
        assert_true(apart > 0.005 && off < 1e-3 && off < apart / 20); /* keys in 16 bits */
        free(plain);
        free(attached);
        free(single);
        free(whole);
    }
}

/* ---- what is not used ------------------------------------------------------------------------ */

#define MANY 16

static const fixture_model wide = {
    .n_embd = 256, .n_ff = 256, .n_experts = MANY, .n_used = USED, .untied = true, .seed = 15};

/* Logits of one token; *packed: bytes that were packed for it. */
static void one_token(const char *path, uint32_t repack, float *logits, uint64_t *packed) {
    sm_error error = {0};
    sm_model *model;
    sm_session *s = NULL;
    const sm_model_options o = {.struct_size = sizeof o, .repack = repack};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2, .n_ctx = 32};
    sm_model_info info = {.struct_size = sizeof info};
    const int32_t id = id_of(0);
    if (sm_model_load(&model, path, &o, &error) || sm_session_new(&s, model, &so, &error) ||
        sm_session_feed_logits(s, &id, 1, logits, UINT64_MAX, &error) ||
        sm_model_get_info(model, &info, &error))
        fail_msg("%s", error.message);
    *packed = info.packed_bytes;
    sm_session_free(s);
    sm_model_free(model);
}

/* Memory of experts that no token was routed to stays in the file. */
static void what_is_not_routed_to_stays_in_the_file(void **state) {
    (void)state;
    static float logits[FIXTURE_VOCAB];
    uint64_t packed;
    one_token(write("exact.gguf", &wide), SM_REPACK_LAZY, logits, &packed);
    /* rows of q, k, v, o, the router and, filled up to whole groups, the head */
    const uint64_t rows = 2 * (256 + 128 + 128 + 256 + MANY) + 304, expert = 3 * 256;
    assert_int_equal(packed, (rows + 2 * USED * expert) * 256 * sizeof(float));
}

/* Writes a copy of the file whose experts that one token does not use are NaN. */
static void spoil_unused(const char *path, const char *out) {
    static const char *const what[] = {"gate", "up", "down"};
    const char *counted = scratch_path("one.gguf");
    sm_error error = {0};
    sm_model *model;
    sm_imatrix *im = NULL;
    const int32_t ids[2] = {id_of(0), id_of(0)};
    if (sm_model_load(&model, path, NULL, &error) || sm_imatrix_new(&im, model, NULL, &error) ||
        sm_imatrix_feed(im, ids, 1, &error) || sm_imatrix_save(im, counted, NULL, &error))
        fail_msg("%s", error.message);
    sm_imatrix_free(im);
    sm_model_free(model);
    sm_mem mem;
    sm_source *gguf, *counts;
    assert_int_equal(sm_mem_init(&mem, NULL, 0, NULL), SM_OK);
    assert_int_equal(sm_source_open(&gguf, &mem, path, true, NULL), SM_OK);
    assert_int_equal(sm_source_open(&counts, &mem, counted, true, NULL), SM_OK);
    FILE *from = fopen(path, "rb"), *to = fopen(out, "wb+");
    assert_true(from && to);
    for (int c; (c = fgetc(from)) != EOF;)
        fputc(c, to);
    uint32_t spoilt = 0;
    for (uint32_t layer = 0; layer < 2; layer++)
        for (int i = 0; i < 3; i++) {
            char name[128];
            snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight", layer, what[i]);
            const sm_tensor *t = sm_source_find_tensor(gguf, name);
            snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight.counts", layer, what[i]);
            const sm_tensor *n = sm_source_find_tensor(counts, name);
            assert_true(t && n);
            for (uint64_t e = 0; e < MANY; e++) {
                if (float_at(n, e) > 0)
                    continue;
                spoilt++;
                const long at = (long)(t->data - gguf->files[0].data) + (long)(e * t->size / MANY);
                fseek(to, at, SEEK_SET);
                for (uint64_t k = 0; k < t->size / MANY; k++)
                    fputc(0xff, to);
            }
        }
    assert_int_equal(spoilt, 2 * 3 * (MANY - USED));
    fclose(from);
    assert_int_equal(fclose(to), 0);
    sm_source_close(gguf);
    sm_source_close(counts);
}

/* Decoding reads nothing of experts that were not chosen, in either layout. */
static void only_the_chosen_are_read(void **state) {
    (void)state;
    static float want[FIXTURE_VOCAB], got[FIXTURE_VOCAB];
    const char *path = write("exact.gguf", &wide), *spoilt = scratch_path("spoilt.gguf");
    uint64_t packed;
    spoil_unused(path, spoilt);
    one_token(path, SM_REPACK_LAZY, want, &packed);
    one_token(spoilt, SM_REPACK_LAZY, got, &packed);
    assert_memory_equal(got, want, sizeof want);
    one_token(spoilt, SM_REPACK_NONE, got, &packed);
    assert_memory_equal(got, want, sizeof want);
}

/* Two ways to say the same: a base that grows by alpha^(d / (d - 2)), a magnitude that stays 1. */
static void keys_of_rotations_mean_what_they_say(void **state) {
    (void)state;
    static const fixture_key alpha[] = {{"rope.scaling.alpha", 'f', 50}, {0}};
    static const fixture_key all[] = {{"rope.scaling.yarn_log_multiplier", 'f', 1}, {0}};
    const fixture_key factor[] = {{"rope.scaling.attn_factor", 'f', 1 / (1 + 0.1 * log(4))}, {0}};
    const fixture_model pairs[][3] = {
        {{.architecture = "hunyuan_vl",
          .f32_key = "hunyuan_vl.rope.freq_base",
          .f32_value = 100,
          .keys = alpha},
         {.architecture = "hunyuan-dense",
          .f32_key = "hunyuan-dense.rope.freq_base",
          .f32_value = (float)(100 * pow(50, 16.0 / 14))},
         {.architecture = "hunyuan-dense",
          .f32_key = "hunyuan-dense.rope.freq_base",
          .f32_value = 100}},
        {{.architecture = "mistral3", .rope_scaling = "yarn", .keys = all},
         {.architecture = "mistral3", .rope_scaling = "yarn", .keys = factor},
         {.architecture = "mistral3", .rope_scaling = "yarn"}}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        float *one = logits_of(write("one.gguf", &pairs[i][0]), NULL, SM_REPACK_LAZY, N);
        float *same = logits_of(write("same.gguf", &pairs[i][1]), NULL, SM_REPACK_LAZY, N);
        float *other = logits_of(write("other.gguf", &pairs[i][2]), NULL, SM_REPACK_LAZY, N);
        print_message("%s: %.2g, %.2g\n", name_of(pairs[i]), relative(one, same),
                      relative(one, other));
        assert_true(relative(one, same) < 1e-3 && relative(one, other) > 5e-3);
        free(one);
        free(same);
        free(other);
    }
}

/* A token's rows have room in every form: strides that keep off multiples of 4096 bytes grow by
 * another amount in each. */
static void rows_have_room(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{2048, 64}, {64, 2048}, {1024, 96}, {96, 1024}};
    for (size_t i = 0; i < 4; i++) {
        const fixture_model spec = {.n_embd = sizes[i][0],
                                    .n_ff = sizes[i][1],
                                    .head_dim = 16,
                                    .n_layer = 1,
                                    .n_experts = 4,
                                    .n_used = 4,
                                    .type = SM_DTYPE_Q8_0};
        const char *path = write("wide.gguf", &spec);
        sm_model *model;
        assert_int_equal(sm_model_load(&model, path, NULL, NULL), SM_OK);
        const sm_block *b = &model->net->blocks[1];
        assert_ptr_equal(b->kind, &sm_kind_experts);
        assert_true(b->ld[SM_EX_IN] >= 4 * sm_row_stride(spec.n_embd));
        assert_true(b->ld[SM_EX_IN_FORM] >= 4 * sm_block_stride(spec.n_embd));
        assert_true(b->ld[SM_EX_H] >= 4 * sm_row_stride(spec.n_ff));
        assert_true(b->ld[SM_EX_H_FORM] >= 4 * sm_block_stride(spec.n_ff));
        sm_model_free(model);
        assert_same(logits_of(path, NULL, SM_REPACK_LAZY, N),
                    logits_of(path, NULL, SM_REPACK_LAZY, 1));
    }
}

static void expect(const fixture_model *spec, sm_status status, const char *names) {
    sm_error error = {0};
    sm_model *model = NULL;
    assert_int_equal(sm_model_load(&model, write("bad.gguf", spec), NULL, &error), status);
    assert_null(model);
    if (!strstr(error.message, names))
        fail_msg("'%s' does not name '%s'", error.message, names);
}

static void what_does_not_fit_is_named(void **state) {
    (void)state;
    fixture_model spec = mixtral;
    spec.u32_key = "llama.expert_used_count";
    spec.u32_value = EXPERTS + 1;
    expect(&spec, SM_ERR_FORMAT, "llama.expert_used_count");
    spec.u32_value = 0;
    expect(&spec, SM_ERR_FORMAT, "llama.expert_used_count");
    spec.u32_key = "llama.expert_count";
    spec.u32_value = EXPERTS + 1;
    expect(&spec, SM_ERR_SHAPE, "blk.0.ffn_gate_inp.weight");
    spec.u32_value = UINT32_MAX;
    expect(&spec, SM_ERR_UNSUPPORTED, "llama.expert_count");
    spec = mixtral;
    spec.bad_shape = "blk.1.ffn_up_exps.weight";
    expect(&spec, SM_ERR_SHAPE, "blk.1.ffn_up_exps.weight");
    spec = mixtral;
    spec.omit_tensor = "blk.0.ffn_down_exps.weight";
    expect(&spec, SM_ERR_MISSING, "blk.0.ffn_down_exps.weight");
    spec =
        (fixture_model){.architecture = "qwen2", .u32_key = "qwen2.expert_count", .u32_value = 4};
    expect(&spec, SM_ERR_UNSUPPORTED, "qwen2.expert_count");
    spec = (fixture_model){.architecture = "falcon",
                           .keys = layer_norm,
                           .f32_key = "falcon.attention.max_alibi_bias",
                           .f32_value = 8};
    expect(&spec, SM_ERR_UNSUPPORTED, "falcon.attention.max_alibi_bias");
    spec = (fixture_model){.architecture = "phimoe",
                           .n_experts = EXPERTS,
                           .n_used = USED,
                           .omit_tensor = "blk.1.ffn_norm.bias"};
    expect(&spec, SM_ERR_MISSING, "blk.1.ffn_norm.bias");
    spec = (fixture_model){.f32_key = "llama.residual_scale", .f32_value = 0.5f};
    expect(&spec, SM_ERR_UNSUPPORTED, "llama.residual_scale");
    spec = (fixture_model){
        .architecture = "gemma", .u32_key = "gemma.attention.sliding_window", .u32_value = 4};
    expect(&spec, SM_ERR_UNSUPPORTED, "gemma.attention.sliding_window");
    spec.u32_value = 0; /* says nothing */
    sm_model *model;
    assert_int_equal(sm_model_load(&model, write("ok.gguf", &spec), NULL, NULL), SM_OK);
    sm_model_free(model);
    spec = granite;
    spec.f32_key = "granite.attention.scale";
    spec.f32_value = NAN;
    expect(&spec, SM_ERR_FORMAT, "granite.attention.scale");
    spec = gemma3;
    spec.f32_key = "gemma3.rope.freq_base_swa";
    spec.f32_value = -1;
    expect(&spec, SM_ERR_FORMAT, "gemma3.rope.freq_base_swa");
    spec = olmo3;
    spec.bad_shape = "blk.1.attn_k_norm.weight";
    expect(&spec, SM_ERR_SHAPE, "blk.1.attn_k_norm.weight");
    static const struct {
        const char *key;
        uint32_t value;
        sm_status status;
        const char *names;
    } bad[] = {
        {"glm4moe.expert_group_count", 3, SM_ERR_FORMAT, "glm4moe.expert_group_count"},
        {"glm4moe.expert_group_count", UINT32_MAX, SM_ERR_FORMAT, "glm4moe.expert_group_count"},
        {"glm4moe.expert_group_used_count", 3, SM_ERR_FORMAT, "glm4moe.expert_group_used_count"},
        {"glm4moe.expert_group_used_count", 0, SM_ERR_FORMAT, "glm4moe.expert_group_used_count"},
        {"glm4moe.expert_used_count", 3, SM_ERR_FORMAT, "glm4moe.expert_used_count"},
        {"glm4moe.expert_gating_func", 4, SM_ERR_UNSUPPORTED, "glm4moe.expert_gating_func"},
        {"glm4moe.expert_shared_count", 1u << 23, SM_ERR_FORMAT, "glm4moe.expert_shared_count"},
        {"glm4moe.expert_shared_count", 2, SM_ERR_SHAPE, "ffn_gate_shexp.weight"},
        {"glm4moe.expert_shared_count", 0, SM_ERR_UNSUPPORTED, "shexp"},
        {"glm4moe.expert_feed_forward_length", 0, SM_ERR_FORMAT, "expert_feed_forward_length"},
        {"glm4moe.expert_feed_forward_length", 128, SM_ERR_SHAPE, "blk.1.ffn_"},
        {"glm4moe.leading_dense_block_count", 2, SM_ERR_MISSING, "blk.1.ffn_gate.weight"},
        {"glm4moe.leading_dense_block_count", 0, SM_ERR_MISSING, "blk.0.ffn_gate_inp.weight"},
        {"glm4moe.interleave_moe_layer_step", UINT32_MAX, SM_ERR_FORMAT,
         "interleave_moe_layer_step"},
        {"glm4moe.interleave_moe_layer_step", 3, SM_ERR_MISSING, "blk.1.ffn_gate.weight"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec = glm4moe;
        spec.u32_key = bad[i].key;
        spec.u32_value = bad[i].value;
        expect(&spec, bad[i].status, bad[i].names);
    }
    spec = glm4moe;
    spec.u32_key = "glm4moe.nextn_predict_layers";
    spec.u32_value = 2;
    expect(&spec, SM_ERR_FORMAT, "glm4moe.nextn_predict_layers");
    spec = glm4moe;
    spec.f32_key = "glm4moe.expert_weights_scale";
    spec.f32_value = NAN;
    expect(&spec, SM_ERR_FORMAT, "glm4moe.expert_weights_scale");
    static const char *const shaped[] = {"blk.1.ffn_gate_exps.bias", "blk.1.exp_probs_b.bias",
                                         "blk.1.ffn_gate_inp.bias", "blk.1.ffn_down_shexp.weight"};
    for (size_t i = 0; i < sizeof shaped / sizeof *shaped; i++) {
        spec = glm4moe;
        spec.bad_shape = shaped[i];
        expect(&spec, SM_ERR_SHAPE, shaped[i]);
    }
    static const char *const needed[] = {"blk.0.attn_sinks.weight", "blk.1.ffn_gate_inp.bias",
                                         "blk.0.ffn_down_exps.bias"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        spec = gpt_oss;
        spec.omit_tensor = needed[i];
        expect(&spec, SM_ERR_MISSING, needed[i]);
    }
    spec = gpt_oss;
    spec.nan_tensor = "blk.0.attn_sinks.weight";
    expect(&spec, SM_ERR_FORMAT, "blk.0.attn_sinks.weight");
    spec = gpt_oss;
    spec.bad_shape = "blk.1.attn_sinks.weight";
    expect(&spec, SM_ERR_SHAPE, "blk.1.attn_sinks.weight");
    spec = qwen2moe;
    spec.omit_tensor = "blk.0.ffn_gate_inp_shexp.weight";
    expect(&spec, SM_ERR_MISSING, "blk.0.ffn_gate_inp_shexp.weight");
    spec = gemma2;
    spec.f32_key = "gemma2.attn_logit_softcapping";
    spec.f32_value = NAN;
    expect(&spec, SM_ERR_FORMAT, "gemma2.attn_logit_softcapping");
    spec = gemma3n;
    spec.u32_key = "gemma3n.altup.active_idx";
    spec.u32_value = 1;
    expect(&spec, SM_ERR_UNSUPPORTED, "gemma3n.altup.active_idx");
    spec.u32_key = "gemma3n.altup.num_inputs";
    spec.u32_value = 1;
    expect(&spec, SM_ERR_UNSUPPORTED, "gemma3n.altup.num_inputs");
    spec.u32_value = 17;
    expect(&spec, SM_ERR_UNSUPPORTED, "gemma3n.altup.num_inputs");
    spec.u32_key = "gemma3n.attention.shared_kv_layers";
    spec.u32_value = 4;
    expect(&spec, SM_ERR_FORMAT, "gemma3n.attention.shared_kv_layers");
    spec = gemma4;
    spec.u32_key = "gemma4.attention.shared_kv_layers";
    spec.u32_value = 3;
    expect(&spec, SM_ERR_FORMAT, "gemma4.attention.shared_kv_layers");
    spec.u32_value = 4;
    expect(&spec, SM_ERR_FORMAT, "gemma4.attention.shared_kv_layers");
    spec.u32_value = 2;
    expect(&spec, SM_ERR_UNSUPPORTED, "blk.2.attn_k");
    spec.u32_key = "gemma4.attention.value_length_swa";
    expect(&spec, SM_ERR_UNSUPPORTED, "gemma4.attention.value_length_swa");
    spec.u32_key = "gemma4.embedding_length_per_layer_input";
    spec.u32_value = 1u << 23;
    expect(&spec, SM_ERR_FORMAT, "gemma4.embedding_length_per_layer_input");
    spec.u32_value = 63;
    expect(&spec, SM_ERR_SHAPE, "per_layer_token_embd.weight");
    spec = gemma4;
    spec.bad_shape = "per_layer_token_embd.weight";
    expect(&spec, SM_ERR_SHAPE, "per_layer_token_embd.weight");
    spec = gemma4;
    spec.omit_tensor = "per_layer_model_proj.weight";
    expect(&spec, SM_ERR_MISSING, "per_layer_model_proj.weight");
    spec = gemma2;
    spec.omit_tensor = "blk.2.post_ffw_norm.weight";
    expect(&spec, SM_ERR_MISSING, "blk.2.post_ffw_norm.weight");
}

/* Layers that predict tokens after the next one are left out; their tensors may be there. */
static void draft_layers_are_left_out(void **state) {
    (void)state;
    fixture_model spec = glm4moe;
    sm_error error = {0};
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    spec.n_layer = 3;
    float *all = logits_of(write("exact.gguf", &spec), NULL, SM_REPACK_LAZY, N);
    spec.u32_key = "glm4moe.nextn_predict_layers";
    spec.u32_value = 1;
    const char *path = write("drafts.gguf", &spec);
    float *two = logits_of(path, NULL, SM_REPACK_LAZY, N);
    assert_true(relative(two, all) > 0.1);
    free(all);
    free(two);
    if (sm_model_load(&model, path, NULL, &error) || sm_model_get_info(model, &info, &error))
        fail_msg("%s", error.message);
    assert_int_equal(info.n_layer, 2);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_all_kinds_agree),
        cmocka_unit_test(importance_counts_per_expert),
        cmocka_unit_test(importance_counts_per_head),
        cmocka_unit_test(stacks_take_adapters),
        cmocka_unit_test(what_is_not_routed_to_stays_in_the_file),
        cmocka_unit_test(only_the_chosen_are_read),
        cmocka_unit_test(draft_layers_are_left_out),
        cmocka_unit_test(keys_of_rotations_mean_what_they_say),
        cmocka_unit_test(rows_have_room),
        cmocka_unit_test(what_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
