/* Broken models and failing allocations through the public API: a status, a message
 * that names file and key or tensor, nothing leaked, nothing printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "blocks.h"
#include "fixture.h"
#include "run/run.h"
#include "smallmind/smallmind.h"
#include "support.h"

/* Loads with a counting allocator: must fail with `expected`, name `word` and the
 * file, and leave nothing behind. */
static void refused(const fixture_model *spec, sm_status expected, const char *word) {
    const char *path = scratch_path("broken.gguf");
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    assert_int_equal(fixture_write(path, spec), 0);
    for (uint32_t io = SM_IO_MAP; io <= SM_IO_READ; io++) {
        sm_error error = {0};
        sm_model *model = NULL;
        const sm_model_options o = {.struct_size = sizeof o, .io = io, .allocator = &allocator};
        const sm_status status = sm_model_load(&model, path, &o, &error);
        if (status != expected)
            fail_msg("status %d, expected %d for %s: %s", status, expected, word, error.message);
        assert_null(model);
        assert_int_equal(error.code, expected);
        if (!strstr(error.message, word) || !strstr(error.message, "broken.gguf"))
            fail_msg("the message lacks %s or the file: %s", word, error.message);
        assert_int_equal(counter.live_blocks, 0);
    }
}

static void missing_keys_are_named(void **state) {
    (void)state;
    const char *keys[] = {"general.architecture",
                          "llama.context_length",
                          "llama.embedding_length",
                          "llama.block_count",
                          "llama.feed_forward_length",
                          "llama.attention.head_count",
                          "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        refused(&(fixture_model){.omit_key = keys[i]}, SM_ERR_MISSING, keys[i]);
    refused(&(fixture_model){.omit_key = "tokenizer.ggml.tokens"}, SM_ERR_MISSING,
            "tokenizer.ggml.tokens");
}

static void missing_tensors_are_named(void **state) {
    (void)state;
    const char *tensors[] = {
        "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
        "blk.0.attn_q.weight",      "blk.1.attn_k.weight",   "blk.1.attn_v.weight",
        "blk.0.attn_output.weight", "blk.1.ffn_norm.weight", "blk.0.ffn_gate.weight",
        "blk.0.ffn_up.weight",      "blk.1.ffn_down.weight"};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        refused(&(fixture_model){.omit_tensor = tensors[i], .rope_freqs = true}, SM_ERR_MISSING,
                tensors[i]);
        if (i > 0) /* more rows of the embedding than tokens are padding */
            refused(&(fixture_model){.bad_shape = tensors[i]}, SM_ERR_SHAPE, tensors[i]);
    }
    refused(&(fixture_model){.architecture = "qwen2", .omit_tensor = "blk.0.attn_q.bias"},
            SM_ERR_MISSING, "blk.0.attn_q.bias");
    refused(&(fixture_model){.architecture = "qwen3", .omit_tensor = "blk.1.attn_k_norm.weight"},
            SM_ERR_MISSING, "blk.1.attn_k_norm.weight");
    refused(&(fixture_model){.architecture = "qwen3", .bad_shape = "blk.1.attn_k_norm.weight"},
            SM_ERR_SHAPE, "blk.1.attn_k_norm.weight");
    refused(&(fixture_model){.untied = true, .bad_shape = "output.weight"}, SM_ERR_SHAPE,
            "output.weight");
}

static void what_cannot_be_computed_is_named(void **state) {
    (void)state;
    refused(&(fixture_model){.set_architecture = "mamba"}, SM_ERR_UNSUPPORTED, "mamba");
    refused(&(fixture_model){.n_embd = 256, .bad_type = "blk.0.ffn_up.weight"}, SM_ERR_UNSUPPORTED,
            "Q8_1");
    /* layers the key does not count: half a model would be computed */
    refused(&(fixture_model){.u32_key = "llama.block_count", .u32_value = 1}, SM_ERR_UNSUPPORTED,
            "blk.1.");
    refused(&(fixture_model){.rope_scaling = "dynamic"}, SM_ERR_UNSUPPORTED, "dynamic");
    refused(&(fixture_model){.rope_scaling = "longrope"}, SM_ERR_MISSING, "rope_factors_long");
    refused(&(fixture_model){.u32_key = "llama.expert_count", .u32_value = 8}, SM_ERR_MISSING,
            "llama.expert_used_count");
    refused(&(fixture_model){.u32_key = "llama.attention.value_length", .u32_value = 8},
            SM_ERR_UNSUPPORTED, "llama.attention.value_length");
    refused(&(fixture_model){.f32_key = "llama.attention.temperature_scale", .f32_value = 0.5F},
            SM_ERR_UNSUPPORTED, "llama.attention.temperature_scale");
    refused(&(fixture_model){.f32_key = "llama.attention.sliding_window", .f32_value = 8},
            SM_ERR_FORMAT, "llama.attention.sliding_window");
}

/* Nothing a file or its name says gets into a message or the log as it is. */
static void keep_line(void *user, int32_t severity, const char *message) {
    (void)severity;
    snprintf(user, sizeof(sm_error), "%s", message);
}

static void texts_of_files_are_escaped(void **state) {
    (void)state;
    refused(&(fixture_model){.set_architecture = "\033]0;owned\a\xe2\x80\xae\xff"},
            SM_ERR_UNSUPPORTED, "'\\x1b]0;owned\\x07\\u{202e}\\xff'");
    refused(&(fixture_model){.rope_scaling = "\033[2J\xc2\x9b"}, SM_ERR_UNSUPPORTED,
            "'\\x1b[2J\\u{9b}'");
    const char *name = "red\033[31m\xe2\x80\xae.gguf", *shown = "red\\x1b[31m\\u{202e}.gguf";
    const char *path = scratch_path(name);
    char line[sizeof(sm_error)] = "";
    sm_error error = {0};
    sm_model *model;
    const sm_model_options o = {
        .struct_size = sizeof o,
        .log = &(sm_logger){.struct_size = sizeof(sm_logger), .log = keep_line, .user = line}};
    assert_int_equal(sm_model_load(&model, path, &o, &error), SM_ERR_IO);
    assert_non_null(strstr(error.message, shown));
    assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    assert_int_equal(sm_model_load(&model, path, &o, &error), SM_OK);
    assert_non_null(strstr(line, shown));
    assert_null(strchr(line, '\033'));
    sm_model_free(model);
}

static void impossible_numbers_are_named(void **state) {
    (void)state;
    const struct {
        const char *key;
        uint32_t value;
    } counts[] = {{"llama.block_count", 0},
                  {"llama.context_length", 0},
                  {"llama.attention.head_count", 0},
                  {"llama.attention.head_count", UINT32_MAX},
                  {"llama.attention.head_count_kv", 0},
                  {"llama.attention.head_count_kv", 3},
                  {"llama.feed_forward_length", 0},
                  {"llama.embedding_length", UINT32_MAX},
                  {"llama.rope.dimension_count", 7},
                  {"llama.rope.dimension_count", 1000}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        refused(&(fixture_model){.u32_key = counts[i].key, .u32_value = counts[i].value},
                SM_ERR_FORMAT, counts[i].key);
    /* more layers than tensors */
    refused(&(fixture_model){.u32_key = "llama.block_count", .u32_value = 16000000}, SM_ERR_MISSING,
            "llama.block_count");
    const struct {
        const char *key;
        float value;
    } floats[] = {{"llama.attention.layer_norm_rms_epsilon", 0},
                  {"llama.attention.layer_norm_rms_epsilon", NAN},
                  {"llama.attention.layer_norm_rms_epsilon", -1e-5f},
                  {"llama.attention.layer_norm_rms_epsilon", INFINITY},
                  {"llama.rope.freq_base", 0},
                  {"llama.rope.freq_base", NAN},
                  {"llama.rope.freq_base", -10000},
                  {"llama.rope.freq_base", INFINITY}};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        refused(&(fixture_model){.f32_key = floats[i].key, .f32_value = floats[i].value},
                SM_ERR_FORMAT, floats[i].key);
    refused(&(fixture_model){.nan_tensor = "blk.0.attn_norm.weight"}, SM_ERR_FORMAT,
            "blk.0.attn_norm.weight");
}

static void unreadable_paths_are_named(void **state) {
    (void)state;
    sm_model *model;
    sm_error error = {0};
    assert_int_equal(sm_model_load(&model, "/nonexistent/model.gguf", NULL, &error), SM_ERR_IO);
    assert_non_null(strstr(error.message, "/nonexistent/model.gguf"));
    assert_int_equal(sm_model_load(&model, "/", NULL, &error), SM_ERR_IO);
    const char *path = scratch_path("junk.gguf");
    scratch_write(path, "GGML and more", 13);
    assert_int_equal(sm_model_load(&model, path, NULL, &error), SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "junk.gguf"));
    scratch_write(path, "", 0);
    assert_int_equal(sm_model_load(&model, path, NULL, &error), SM_ERR_FORMAT);
}

static int32_t no_progress(void *user, uint64_t done, uint64_t total) {
    (void)total;
    return done >= *(uint64_t *)user;
}

static void loading_can_be_cancelled(void **state) {
    (void)state;
    const char *path = scratch_path("whole.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    fail_alloc counter = {0};
    const sm_allocator allocator = fail_allocator(&counter);
    uint64_t after = 5;
    const sm_model_options o = {.struct_size = sizeof o,
                                .progress = no_progress,
                                .progress_user = &after,
                                .allocator = &allocator};
    sm_model *model;
    assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_ERR_CANCELLED);
    assert_int_equal(counter.live_blocks, 0);
}

/* Everything from load to generated text; the first failure ends it. */
static sm_status whole_run(const char *path, const sm_allocator *allocator, uint64_t limit,
                           sm_error *error) {
    const sm_model_options o = {
        .struct_size = sizeof o, .allocator = allocator, .memory_limit = limit};
    const sm_session_options so = {.struct_size = sizeof so, .n_threads = 2, .n_ctx = 64};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .temperature = 1, .top_p = 0.9};
    const sm_text stops[] = {{"stop", 4}};
    const sm_generate_options go = {.struct_size = sizeof go,
                                    .max_tokens = 4,
                                    .sampling = &sampling,
                                    .stop = stops,
                                    .n_stop = 1};
    sm_model *model = NULL;
    sm_session *session = NULL, *fork = NULL;
    float logits[2 * FIXTURE_VOCAB];
    const int32_t ids[2] = {1, 2};
    sm_status status = sm_model_load(&model, path, &o, error);
    if (!status)
        status = sm_session_new(&session, model, &so, error);
    if (!status)
        status = sm_session_generate(session, "the hand", SM_ZT, &go, NULL, NULL, error);
    if (!status)
        status = sm_session_feed_logits(session, ids, 2, logits, UINT64_MAX, error);
    if (!status)
        status = sm_session_fork(&fork, session, NULL, error);
    sm_session_free(fork);
    sm_session_free(session);
    sm_model_free(model);
    return status;
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    const char *path = scratch_path("alloc.gguf");
    const fixture_model specs[] = {{.type = SM_DTYPE_Q8_0, .n_layer = 1},
                                   {.spm = true, .n_layer = 1, .rope_freqs = true}};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        assert_int_equal(fixture_write(path, &specs[i]), 0);
        fail_alloc counter = {0};
        sm_allocator allocator = fail_allocator(&counter);
        assert_int_equal(whole_run(path, &allocator, 0, NULL), SM_OK);
        assert_int_equal(counter.live_blocks, 0);
        const uint64_t n = counter.calls;
        assert_true(n > 50);
        for (uint64_t at = 1; at <= n; at++) {
            for (int sticky = 0; sticky < 2; sticky++) {
                fail_alloc failing = {.fail_at = at, .sticky = sticky};
                allocator = fail_allocator(&failing);
                sm_error error = {0};
                assert_int_equal(whole_run(path, &allocator, 0, &error), SM_ERR_NOMEM);
                assert_int_equal(error.code, SM_ERR_NOMEM);
                assert_true(error.message[0] != 0);
                assert_int_equal(failing.live_blocks, 0);
            }
        }
    }
}

/* Tokens of a prompt that takes three steps, of which the last one alone gives logits. */
#define STEPS_TOKENS 40

/* How a step gets memory for what it packs: n_blocks of up to block_bytes each. */
typedef struct packing {
    uint64_t block_bytes, n_blocks;
} packing;

/* A session's first feed with allocation `fail_at` of it failing (0: none), then the same again:
 * logits gets the last token's. Returns the first feed's status. */
static sm_status feed_twice(const char *path, const packing *by, uint64_t fail_at, bool each,
                            float *logits, fail_alloc *counter, sm_error *error) {
    static float all[STEPS_TOKENS * FIXTURE_VOCAB], untouched[STEPS_TOKENS * FIXTURE_VOCAB];
    const sm_allocator allocator = fail_allocator(counter);
    const sm_model_options o = {.struct_size = sizeof o, .allocator = &allocator};
    const sm_session_options so = {
        .struct_size = sizeof so, .n_threads = 2, .n_ctx = 64, .n_batch = 16};
    sm_model_info before = {.struct_size = sizeof before}, after = before;
    int32_t ids[STEPS_TOKENS];
    sm_model *model;
    sm_session *s;
    const float *last;
    for (int32_t i = 0; i < STEPS_TOKENS; i++)
        ids[i] = i * 7;
    memset(all, 0xff, sizeof all);
    memset(untouched, 0xff, sizeof untouched);
    assert_int_equal(sm_model_load(&model, path, &o, NULL), SM_OK);
    model->net->block_bytes = by->block_bytes;
    assert_int_equal(sm_session_new(&s, model, &so, NULL), SM_OK);
    counter->calls = 0;
    counter->fail_at = fail_at;
    const sm_status status =
        each ? sm_session_feed_logits(s, ids, STEPS_TOKENS, all, UINT64_MAX, error)
             : sm_session_feed(s, ids, STEPS_TOKENS, error);
    counter->fail_at = 0;
    if (status) {
        assert_int_equal(sm_session_length(s), 0);
        assert_int_equal(sm_session_logits(s, &last, NULL, NULL), SM_ERR_STATE);
        assert_memory_equal(all, untouched, sizeof all);
        assert_int_equal(sm_model_get_info(model, &before, NULL), SM_OK);
        assert_true((before.packed_bytes > 0) == (fail_at > 1));
        /* what was packed is not packed again */
        const uint64_t calls = counter->calls;
        assert_int_equal(sm_session_feed(s, ids, STEPS_TOKENS, NULL), SM_OK);
        assert_int_equal(sm_model_get_info(model, &after, NULL), SM_OK);
        assert_true(after.packed_bytes > before.packed_bytes);
        assert_int_equal(counter->calls - calls, by->n_blocks - (fail_at - 1));
    }
    assert_int_equal(sm_session_logits(s, &last, NULL, NULL), SM_OK);
    memcpy(logits, last, FIXTURE_VOCAB * sizeof *logits);
    sm_session_free(s);
    sm_model_free(model);
    return status;
}

static void running_out_of_memory_in_a_step_is_survived(void **state) {
    (void)state;
    static float expected[FIXTURE_VOCAB], got[FIXTURE_VOCAB];
    static const char *const names[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_gate", "ffn_up", "ffn_down"};
    /* every matrix by itself; those of both layers together, and the head */
    static const packing ways[] = {{1, 2 * 7 + 1}, {(uint64_t)1 << 20, 2}};
    const char *path = scratch_path("steps.gguf");
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .untied = true};
    assert_int_equal(fixture_write(path, &spec), 0);
    for (int run = 0; run < 4; run++) {
        const packing *by = &ways[run / 2];
        const bool each = run % 2;
        fail_alloc counter = {0};
        assert_int_equal(feed_twice(path, by, 0, each, expected, &counter, NULL), SM_OK);
        assert_int_equal(counter.calls, by->n_blocks); /* a step allocates nothing but this */
        for (uint64_t at = 1; at <= by->n_blocks; at++) {
            fail_alloc failing = {0};
            sm_error error = {0};
            char name[64];
            if (at == by->n_blocks)
                snprintf(name, sizeof name, "'output.weight' (");
            else
                snprintf(name, sizeof name, "'blk.%d.%s.weight'%s (", (int)(at - 1) / 7,
                         names[(at - 1) % 7], by->block_bytes > 1 ? " and others" : "");
            assert_int_equal(feed_twice(path, by, at, each, got, &failing, &error), SM_ERR_NOMEM);
            assert_int_equal(error.code, SM_ERR_NOMEM);
            if (!strstr(error.message, name))
                fail_msg("allocation %d: %s", (int)at, error.message);
            assert_memory_equal(got, expected, sizeof got);
            assert_int_equal(failing.live_blocks, 0);
        }
    }
}

static void the_memory_limit_is_obeyed(void **state) {
    (void)state;
    const char *path = scratch_path("limit.gguf");
    assert_int_equal(fixture_write(path, &(fixture_model){0}), 0);
    sm_error error = {0};
    for (uint64_t limit = 1 << 10; limit < 1u << 30; limit *= 2) {
        fail_alloc counter = {0};
        const sm_allocator allocator = fail_allocator(&counter);
        const sm_status status = whole_run(path, &allocator, limit, &error);
        assert_int_equal(counter.live_blocks, 0);
        if (status == SM_OK)
            return;
        assert_int_equal(status, SM_ERR_NOMEM);
    }
    fail_msg("no limit was enough");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_keys_are_named),
        cmocka_unit_test(missing_tensors_are_named),
        cmocka_unit_test(what_cannot_be_computed_is_named),
        cmocka_unit_test(texts_of_files_are_escaped),
        cmocka_unit_test(impossible_numbers_are_named),
        cmocka_unit_test(unreadable_paths_are_named),
        cmocka_unit_test(loading_can_be_cancelled),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(running_out_of_memory_in_a_step_is_survived),
        cmocka_unit_test(the_memory_limit_is_obeyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
