/* Models, sessions and generation through the public API, on tiny random models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "blocks.h"
#include "fixture.h"
#include "run/run.h"
#include "smallmind/smallmind.h"
#include "support.h"

#define MOST 4300

static const char *write_model(const char *name, const fixture_model *spec) {
    const char *path = scratch_path(name);
    assert_int_equal(fixture_write(path, spec), 0);
    return path;
}

static sm_model *load(const char *path, uint32_t level, uint32_t repack) {
    sm_model *model = NULL;
    sm_error error = {0};
    const sm_model_options o = {.struct_size = sizeof o, .level = level, .repack = repack};
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_session *open_session(const sm_model *model, uint32_t n_threads, uint32_t n_ctx,
                                uint32_t n_batch, uint32_t kv_type) {
    sm_session *session = NULL;
    sm_error error = {0};
    const sm_session_options o = {.struct_size = sizeof o,
                                  .n_ctx = n_ctx,
                                  .n_threads = n_threads,
                                  .n_batch = n_batch,
                                  .kv_type = kv_type};
    if (sm_session_new(&session, model, &o, &error))
        fail_msg("%s", error.message);
    /* else these tiny steps would run on one thread */
    sm_team_set_barrier_ns(session->batch->team, 0);
    return session;
}

static void make_ids(int32_t *ids, uint32_t n) {
    uint64_t state = 7;
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)(test_random(&state) % FIXTURE_VOCAB);
}

static uint64_t hash(const float *logits, uint64_t n) {
    uint64_t h = 14695981039346656037ull;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t bits;
        assert_true(isfinite(logits[i]));
        memcpy(&bits, &logits[i], sizeof bits);
        h = (h ^ bits) * 1099511628211ull;
    }
    return h;
}

/* Hash of the logits of all n tokens fed in pieces of `chunk`; long ones are computed 512 tokens at
 * a time, others in one step, which may be more than go through a product together. */
static uint64_t run_hash(const sm_model *model, const int32_t *ids, uint32_t n, uint32_t n_threads,
                         uint32_t chunk, uint32_t kv_type) {
    sm_session *s = open_session(model, n_threads, n, chunk <= 1400 ? chunk : 512, kv_type);
    float *logits = malloc((size_t)n * FIXTURE_VOCAB * sizeof *logits);
    sm_error error = {0};
    for (uint32_t i = 0; i < n; i += chunk)
        if (sm_session_feed_logits(s, ids + i, n - i < chunk ? n - i : chunk,
                                   logits + (size_t)i * FIXTURE_VOCAB, UINT64_MAX, &error))
            fail_msg("%s", error.message);
    const uint64_t h = hash(logits, (uint64_t)n * FIXTURE_VOCAB);
    free(logits);
    sm_session_free(s);
    return h;
}

/* ---- determinism -------------------------------------------------------------------- */

static const uint32_t levels[] = {SM_LEVEL_SCALAR, SM_LEVEL_AVX2,      SM_LEVEL_AVX512,
                                  SM_LEVEL_NEON,   SM_LEVEL_DOTPROD,   SM_LEVEL_AVXVNNI,
                                  SM_LEVEL_I8MM,   SM_LEVEL_AVX512BF16};

/* Levels this CPU has, each once; the best comes last. */
static uint32_t host_levels(uint32_t *out) {
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (sm_level_best(levels[i]) == levels[i])
            out[n++] = levels[i];
    return n;
}

static void check_bits(const char *path, uint32_t n_ids, uint32_t level, uint32_t kv_type) {
    int32_t ids[MOST];
    make_ids(ids, n_ids);
    sm_model *model = load(path, level, SM_REPACK_LAZY);
    const uint64_t expected = run_hash(model, ids, n_ids, 1, n_ids, kv_type);
    const struct {
        uint32_t n_threads, chunk;
    } ways[] = {{3, 1}, {8, 64}, {2, n_ids}, {4, 7}, {1, 13}};
    const uint32_t n_ways = test_share(sizeof ways / sizeof *ways, 2);
    for (size_t i = 0; i < n_ways; i++)
        assert_int_equal(run_hash(model, ids, n_ids, ways[i].n_threads, ways[i].chunk, kv_type),
                         expected);
    sm_model_free(model);
    model = load(path, level, SM_REPACK_NONE);
    assert_int_equal(run_hash(model, ids, n_ids, 2, n_ids, kv_type), expected);
    assert_int_equal(run_hash(model, ids, n_ids, 2, 5, kv_type), expected);
    sm_model_free(model);
}

static const uint32_t types[] = {SM_DTYPE_F32,   SM_DTYPE_F16,    SM_DTYPE_BF16,    SM_DTYPE_Q4_0,
                                 SM_DTYPE_Q4_1,  SM_DTYPE_Q5_0,   SM_DTYPE_Q5_1,    SM_DTYPE_Q8_0,
                                 SM_DTYPE_Q2_K,  SM_DTYPE_Q3_K,   SM_DTYPE_Q4_K,    SM_DTYPE_Q5_K,
                                 SM_DTYPE_Q6_K,  SM_DTYPE_IQ4_NL, SM_DTYPE_IQ4_XS,  SM_DTYPE_NVFP4,
                                 SM_DTYPE_Q1_0,  SM_DTYPE_Q2_0,   SM_DTYPE_TQ1_0,   SM_DTYPE_TQ2_0,
                                 SM_DTYPE_F64,   SM_DTYPE_MXFP4,  SM_DTYPE_IQ2_XXS, SM_DTYPE_IQ2_XS,
                                 SM_DTYPE_IQ3_S, SM_DTYPE_IQ1_M};

/* Every type on every level: threads, chunks and repacking change no bit. */
static void every_type_is_bit_exact(void **state) {
    (void)state;
    uint32_t mine[8];
    const uint32_t n = host_levels(mine);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const bool super = sm_dtype_get(types[i])->block_size > 32;
        const fixture_model spec = {.type = types[i],
                                    .n_layer = 1,
                                    .n_embd = super ? 256 : 64,
                                    .n_ff = super ? 256 : 96,
                                    .untied = true};
        const char *path = write_model("type.gguf", &spec);
        for (uint32_t l = 0; l < n; l++)
            check_bits(path, 40, mine[l], SM_KV_TYPE_F16);
    }
}

/* Root mean square of what a level's logits differ from the scalar ones, of which they have a
 * standard deviation of about 1. */
static double distance(const char *path, uint32_t level) {
    enum { N = 24, SIZE = N * FIXTURE_VOCAB };
    static float logits[2][SIZE];
    int32_t ids[N];
    double sum = 0;
    make_ids(ids, N);
    for (int i = 0; i < 2; i++) {
        sm_model *model = load(path, i ? level : SM_LEVEL_SCALAR, SM_REPACK_LAZY);
        sm_session *s = open_session(model, 1, N, N, SM_KV_TYPE_F32);
        sm_error error = {0};
        if (sm_session_feed_logits(s, ids, N, logits[i], UINT64_MAX, &error))
            fail_msg("%s", error.message);
        sm_session_free(s);
        sm_model_free(model);
    }
    for (int i = 0; i < SIZE; i++)
        sum += pow((double)(logits[1][i] - logits[0][i]), 2);
    return sqrt(sum / SIZE);
}

/* Matrices that share an input but want it in different forms; columns that fill no block. */
static void mixed_types_are_bit_exact(void **state) {
    (void)state;
    uint32_t mine[8];
    const uint32_t n = host_levels(mine);
    const fixture_model specs[] = {
        {.type = SM_DTYPE_Q8_0, .other_type = SM_DTYPE_BF16},
        {.type = SM_DTYPE_F16, .other_type = SM_DTYPE_Q5_0},
        {.type = SM_DTYPE_BF16, .other_type = SM_DTYPE_F32},
        {.type = SM_DTYPE_F32, .other_type = SM_DTYPE_F16, .n_embd = 40, .n_ff = 51},
        {.type = SM_DTYPE_F16,
         .other_type = SM_DTYPE_BF16,
         .n_embd = 300,
         .n_head = 3,
         .n_head_kv = 1,
         .n_ff = 99},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        const char *path = write_model("mixed.gguf", &specs[i]);
        for (uint32_t l = 0; l < n; l++) {
            check_bits(path, 40, mine[l], SM_KV_TYPE_F16);
            const double d = distance(path, mine[l]);
            if (d > 0.02)
                fail_msg("mix %zu: level %s is %g off", i, sm_level_name(mine[l]), d);
        }
    }
}

/* Long enough for several KV blocks; every KV type; several shapes and families. */
static void every_shape_is_bit_exact(void **state) {
    (void)state;
    uint32_t mine[8];
    const uint32_t n = host_levels(mine);
    const fixture_model specs[] = {
        {.architecture = "llama", .rope_freqs = true},
        {.architecture = "qwen2"},
        {.architecture = "qwen3", .head_dim = 32},
        {.n_head = 6, .n_head_kv = 1, .head_dim = 24, .n_ff = 100}, /* MQA, odd sizes */
        {.n_embd = 40, .n_head = 5, .n_head_kv = 5, .n_ff = 52},    /* MHA, head_dim 8 */
        {.rope_scaling = "yarn"},
        {.n_embd = 80, .n_head = 4, .n_head_kv = 2},              /* head_dim 20: padded inside */
        {.n_embd = 300, .n_head = 3, .n_head_kv = 1, .n_ff = 64}, /* head_dim 100 */
        {.sliding_window = 130},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        const char *path = write_model("shape.gguf", &specs[i]);
        check_bits(path, test_share(560, 300), SM_LEVEL_AUTO, (uint32_t)(i % 3));
        check_bits(path, 290, SM_LEVEL_AUTO, SM_KV_TYPE_Q4_0 + (uint32_t)(i % 3));
        for (uint32_t l = 0; l < n; l++)
            /* 3: a short last block; 8: windows */
            if (mine[l] == sm_level_best(SM_LEVEL_AUTO) || i == 3 || i == 8)
                check_bits(path, 290, mine[l], SM_KV_TYPE_Q8_0);
    }
}

/* Seventeen KV blocks. */
static void long_contexts_are_bit_exact(void **state) {
    (void)state;
    static int32_t ids[MOST];
    const uint32_t n = MOST;
    make_ids(ids, n);
    const fixture_model spec = {.type = SM_DTYPE_Q4_0, .n_layer = 1, .n_ctx = MOST};
    sm_model *model = load(write_model("long.gguf", &spec), 0, 0);
    const uint64_t expected = run_hash(model, ids, n, 1, n, 0);
    const struct {
        uint32_t n_threads, chunk;
    } ways[] = {{2, 1400}, {3, 64}, {2, 512}, {1, 7}, {2, 1}};
    const uint32_t n_ways = test_share(sizeof ways / sizeof *ways, 2);
    for (size_t i = 0; i < n_ways; i++)
        assert_int_equal(run_hash(model, ids, n, ways[i].n_threads, ways[i].chunk, 0), expected);
    sm_model_free(model);
}

/* The quantized products are the same on every level; what differs is the float part. */
static void levels_agree(void **state) {
    (void)state;
    uint32_t mine[8];
    const uint32_t n = host_levels(mine);
    int32_t ids[64];
    make_ids(ids, 64);
    const fixture_model spec = {.type = SM_DTYPE_Q8_0};
    const char *path = write_model("levels.gguf", &spec);
    float *first = malloc(64 * FIXTURE_VOCAB * sizeof *first);
    float *other = malloc(64 * FIXTURE_VOCAB * sizeof *other);
    for (uint32_t l = 0; l < n; l++) {
        sm_model *model = load(path, mine[l], SM_REPACK_LAZY);
        sm_session *s = open_session(model, 1, 64, 64, SM_KV_TYPE_F32);
        assert_int_equal(sm_session_feed_logits(s, ids, 64, l ? other : first, UINT64_MAX, NULL),
                         SM_OK);
        for (uint32_t i = 0; l && i < 64 * FIXTURE_VOCAB; i++)
            assert_true(fabsf(first[i] - other[i]) < 2e-2f);
        sm_session_free(s);
        sm_model_free(model);
    }
    free(first);
    free(other);
}

static void check_fork_rewind_and_sync(uint32_t kv_type) {
    int32_t ids[300];
    const float *logits;
    uint64_t reused;
    make_ids(ids, 300);
    const fixture_model spec = {.type = SM_DTYPE_Q4_0};
    sm_model *model = load(write_model("fork.gguf", &spec), 0, 0);
    sm_session *s = open_session(model, 2, 300, 64, kv_type);
    assert_int_equal(sm_session_feed(s, ids, 300, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    const uint64_t expected = hash(logits, FIXTURE_VOCAB);

    /* other tokens written over the tail, then the first ones again */
    assert_int_equal(sm_session_rewind(s, 130, NULL), SM_OK);
    assert_int_equal(sm_session_length(s), 130);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_ERR_STATE);
    assert_int_equal(sm_session_feed(s, ids, 100, NULL), SM_OK);
    assert_int_equal(sm_session_sync(s, ids, 300, &reused, NULL), SM_OK);
    assert_int_equal(reused, 130);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    assert_int_equal(hash(logits, FIXTURE_VOCAB), expected);

    /* nothing new: logits are still there; shorter: the last token is computed again */
    assert_int_equal(sm_session_sync(s, ids, 300, &reused, NULL), SM_OK);
    assert_int_equal(reused, 300);
    assert_int_equal(sm_session_sync(s, ids, 299, &reused, NULL), SM_OK);
    assert_int_equal(reused, 298);
    assert_int_equal(sm_session_length(s), 299);

    /* a fork goes its own way and outlives its origin */
    sm_session *fork;
    assert_int_equal(sm_session_fork(&fork, s, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_length(fork), 299);
    assert_int_equal(test_token(fork, 5), ids[5]);
    assert_int_equal(test_token(fork, 299), -1);
    assert_int_equal(sm_session_rewind(s, 0, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids + 100, 200, NULL), SM_OK);
    sm_session_free(s);
    sm_model_free(model); /* the fork holds it */
    assert_int_equal(sm_session_feed(fork, ids + 299, 1, NULL), SM_OK);
    assert_int_equal(sm_session_logits(fork, &logits, NULL, NULL), SM_OK);
    assert_int_equal(hash(logits, FIXTURE_VOCAB), expected);
    sm_session_free(fork);
}

static void fork_rewind_and_sync_change_no_bit(void **state) {
    (void)state;
    check_fork_rewind_and_sync(SM_KV_TYPE_F16);
    check_fork_rewind_and_sync(SM_KV_TYPE_Q8_0);
    check_fork_rewind_and_sync(SM_KV_TYPE_Q5_0);
}

/* ---- generation -------------------------------------------------------------------------- */

typedef struct stream {
    char text[20000];
    uint64_t length;
    int32_t ids[MOST];
    uint32_t n;
    uint32_t stop_after; /* tokens until the callback cancels; 0: never */
    double logprobs;
} stream;

static int32_t collect(void *user, const sm_token *token) {
    stream *out = user;
    assert_int_equal(strlen(token->text), token->length);
    memcpy(out->text + out->length, token->text, token->length + 1);
    out->length += token->length;
    if (token->id >= 0) {
        out->ids[out->n++] = token->id;
        out->logprobs += token->logprob;
        assert_true(token->logprob <= 1e-6);
    }
    return out->stop_after && out->n == out->stop_after;
}

static sm_status generate(sm_session *s, const char *prompt, const sm_generate_options *o,
                          stream *out, sm_error *error) {
    const uint32_t stop_after = out->stop_after;
    memset(out, 0, sizeof *out);
    out->stop_after = stop_after;
    return sm_session_generate(s, prompt, SM_ZT, o, collect, out, error);
}

static uint32_t finish_of(const sm_session *s) {
    sm_generate_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    return stats.finish;
}

static void generation_streams_and_counts(void **state) {
    (void)state;
    const fixture_model spec = {.untied = true};
    sm_model *model = load(write_model("gen.gguf", &spec), 0, 0);
    sm_session *s = open_session(model, 2, 200, 0, 0);
    static stream first, second;
    sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 40, .ignore_end = 1};
    assert_int_equal(generate(s, "the hand", &o, &first, NULL), SM_OK);
    assert_int_equal(first.n, 40);
    sm_generate_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    assert_int_equal(stats.finish, SM_FINISH_LENGTH);
    assert_int_equal(stats.generated_tokens, 40);
    assert_int_equal(stats.reused_tokens, 0);
    assert_true(stats.prompt_tokens >= 4);
    assert_true(stats.first_token_seconds >= stats.prompt_seconds && stats.prompt_seconds > 0);
    assert_true(stats.generate_seconds > 0);

    /* what the session holds is prompt and continuation but its last token */
    assert_int_equal(sm_session_length(s), stats.prompt_tokens + 39);
    for (uint32_t i = 0; i < 39; i++)
        assert_int_equal(test_token(s, stats.prompt_tokens + i), first.ids[i]);

    /* again: the prompt is found in the cache; the same tokens come */
    assert_int_equal(generate(s, "the hand", &o, &second, NULL), SM_OK);
    assert_memory_equal(first.ids, second.ids, 40 * sizeof *first.ids);
    assert_string_equal(first.text, second.text);
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    assert_int_equal(stats.reused_tokens, stats.prompt_tokens - 1);

    /* seeds: equal ones agree on any number of threads, others do not */
    sm_session *other = open_session(model, 3, 200, 3, 0);
    const sm_sampling sampling = {
        .struct_size = sizeof sampling, .temperature = 1.2, .top_k = 50, .seed = 3};
    o.sampling = &sampling;
    assert_int_equal(generate(s, "and", &o, &first, NULL), SM_OK);
    assert_int_equal(generate(other, "and", &o, &second, NULL), SM_OK);
    assert_memory_equal(first.ids, second.ids, 40 * sizeof *first.ids);
    sm_sampling reseeded = sampling;
    reseeded.seed = 4;
    o.sampling = &reseeded;
    assert_int_equal(generate(s, "and", &o, &second, NULL), SM_OK);
    assert_memory_not_equal(first.ids, second.ids, 40 * sizeof *first.ids);
    sm_session_free(other);
    sm_session_free(s);
    sm_model_free(model);
}

static void generation_ends_for_each_reason(void **state) {
    (void)state;
    sm_error error = {0};
    const fixture_model spec = {.untied = true};
    sm_model *model = load(write_model("end.gguf", &spec), 0, 0);
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    sm_session *s = open_session(model, 1, 64, 0, 0);
    static stream out;
    out.stop_after = 0;
    sm_generate_options o = {.struct_size = sizeof o, .ignore_end = 1};

    /* the context fills up */
    assert_int_equal(generate(s, "in the", &o, &out, NULL), SM_OK);
    assert_int_equal(finish_of(s), SM_FINISH_CONTEXT);
    assert_int_equal(sm_session_length(s), 64);

    /* a prompt that does not fit */
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(generate(s, text, &o, &out, &error), SM_ERR_CONTEXT_FULL);
    assert_int_equal(finish_of(s), SM_FINISH_ERROR);
    assert_non_null(strstr(error.message, "64"));

    /* the callback cancels */
    out.stop_after = 5;
    assert_int_equal(generate(s, "in the", &o, &out, &error), SM_ERR_CANCELLED);
    assert_int_equal(finish_of(s), SM_FINISH_CANCELLED);
    assert_int_equal(out.n, 5);
    out.stop_after = 0;

    /* an end token, forced by its bias */
    const int32_t eos = sm_tokenizer_find(tokenizer, "</s>", 4);
    assert_true(eos > 0 && sm_tokenizer_is_end(tokenizer, eos));
    const sm_logit_bias bias = {.token = eos, .bias = 1000};
    const sm_sampling sampling = {.struct_size = sizeof sampling, .bias = &bias, .n_bias = 1};
    o.sampling = &sampling;
    o.ignore_end = 0;
    assert_int_equal(generate(s, "in the", &o, &out, NULL), SM_OK);
    assert_int_equal(finish_of(s), SM_FINISH_END);
    assert_int_equal(out.n, 0);
    sm_tokenizer_free(tokenizer);
    sm_session_free(s);
    sm_model_free(model);
}

/* What is known of a session in one struct, its tokens in one call, and a choice with what the
 * model thought of it. */
static void sessions_and_choices_are_described(void **state) {
    (void)state;
    sm_model *model = load(write_model("described.gguf", &(fixture_model){0}), 0, 0);
    sm_session *s = open_session(model, 1, 48, 0, 0);
    const int32_t ids[] = {1, 77, 3, 9};
    sm_error error = {0};
    assert_int_equal(sm_session_feed(s, ids, 4, NULL), SM_OK);
    sm_session_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_session_get_info(s, &info, NULL), SM_OK);
    assert_int_equal(info.length, 4);
    assert_int_equal(info.n_ctx, 48);
    assert_int_equal(info.n_threads, 1);
    assert_int_equal(info.n_vocab, FIXTURE_VOCAB);
    assert_true(info.cache_bytes > 0 && info.n_batch > 0);
    int32_t got[8] = {0};
    uint64_t n = 99;
    assert_int_equal(sm_session_tokens(s, 1, got, 8, &n, NULL), SM_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(got, ids + 1, 3 * sizeof *ids);
    assert_int_equal(got[3], 0);
    assert_int_equal(sm_session_tokens(s, 0, got, 2, &n, NULL), SM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(sm_session_tokens(s, 4, got, 8, &n, NULL), SM_OK);
    assert_int_equal(n, 0);
    assert_int_equal(sm_session_tokens(s, 0, NULL, 1, &n, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_get_info(NULL, &info, &error), SM_ERR_ARGUMENT);
    /* logits with their number, and room for them */
    const float *logits;
    float rows[2 * FIXTURE_VOCAB];
    assert_int_equal(sm_session_logits(s, &logits, &n, NULL), SM_OK);
    assert_int_equal(n, FIXTURE_VOCAB);
    /* every token in turn: its rank is how many are better, the likeliest are those first */
    bool taken[FIXTURE_VOCAB] = {false};
    sm_token_logprob top[SM_MAX_LOGPROBS];
    for (int32_t id = 0; id < FIXTURE_VOCAB; id += 7) {
        const sm_logit_bias bias = {.token = id, .bias = 1e6};
        const sm_sampling o = {.struct_size = sizeof o, .bias = &bias, .n_bias = 1};
        sm_choice c = {.struct_size = sizeof c, .top = top, .n_top = 5};
        assert_int_equal(sm_session_sample(s, &o, &c, NULL), SM_OK);
        assert_int_equal(c.id, id);
        assert_int_equal(c.n_top, 5);
        assert_true(c.rank < FIXTURE_VOCAB && !taken[c.rank]);
        taken[c.rank] = true;
        uint32_t better = 0;
        for (int32_t k = 0; k < FIXTURE_VOCAB; k++)
            better += logits[k] > logits[id];
        assert_int_equal(c.rank, better); /* no two are equal */
        assert_true(c.rank >= 5 || (top[c.rank].id == id && top[c.rank].logprob == c.logprob));
    }
    sm_choice greedy = {.struct_size = sizeof greedy};
    assert_int_equal(sm_session_sample(s, NULL, &greedy, NULL), SM_OK);
    assert_int_equal(greedy.rank, 0);
    assert_int_equal(greedy.n_top, 0);
    /* an older program's struct is left alone behind what it knows */
    sm_choice old = {.struct_size = offsetof(sm_choice, rank), .rank = 1234};
    assert_int_equal(sm_session_sample(s, NULL, &old, NULL), SM_OK);
    assert_int_equal(old.id, greedy.id);
    assert_true(old.rank == 1234 && old.logprob == greedy.logprob);
    greedy.top = top;
    greedy.n_top = SM_MAX_LOGPROBS + 1;
    assert_int_equal(sm_session_sample(s, NULL, &greedy, &error), SM_ERR_ARGUMENT);
    assert_int_equal(greedy.id, -1);
    assert_int_equal(sm_session_sample(s, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logits(s, ids, 2, rows, 2 * FIXTURE_VOCAB - 1, &error),
                     SM_ERR_BUFFER);
    assert_int_equal(sm_session_length(s), 4);
    assert_int_equal(sm_session_feed_logits(s, ids, 2, rows, 2 * FIXTURE_VOCAB, &error), SM_OK);
    sm_session_free(s);
    sm_model_free(model);
}

/* The model is made to repeat "the"; stop strings are cut out wherever they lie. */
static void stop_strings_end_the_text(void **state) {
    (void)state;
    const fixture_model spec = {.untied = true};
    sm_model *model = load(write_model("stop.gguf", &spec), 0, 0);
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    const sm_logit_bias bias = {.token = sm_tokenizer_find(tokenizer, "the", 3), .bias = 1000};
    sm_tokenizer_free(tokenizer);
    assert_true(bias.token > 0);
    const sm_sampling sampling = {.struct_size = sizeof sampling, .bias = &bias, .n_bias = 1};
    sm_session *s = open_session(model, 1, 64, 0, 0);
    static stream out;
    const struct {
        const char *stops[2];
        uint32_t n;
        const char *text;
        uint32_t tokens, finish;
    } cases[] = {
        {{NULL, NULL}, 0, "thethethethe", 4, SM_FINISH_LENGTH},
        {{"eth", NULL}, 1, "th", 2, SM_FINISH_STOP},
        {{"the", NULL}, 1, "", 1, SM_FINISH_STOP},
        {{"ethethe", NULL}, 1, "th", 3, SM_FINISH_STOP},
        {{"hexx", NULL}, 1, "thethethethe", 4, SM_FINISH_LENGTH},
        {{"xyz", "heth"}, 2, "t", 2, SM_FINISH_STOP},
        {{"ethethethethet", NULL}, 1, "thethethethe", 4, SM_FINISH_LENGTH},
        {{"hethe", "ethe"}, 2, "t", 2, SM_FINISH_STOP}, /* the earlier beginning counts */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sm_text stops[] = {{cases[i].stops[0], SM_ZT}, {cases[i].stops[1], SM_ZT}};
        const sm_generate_options o = {.struct_size = sizeof o,
                                       .max_tokens = 4,
                                       .sampling = &sampling,
                                       .stop = stops,
                                       .n_stop = cases[i].n};
        assert_int_equal(generate(s, "in", &o, &out, NULL), SM_OK);
        assert_string_equal(out.text, cases[i].text);
        assert_int_equal(out.n, cases[i].tokens);
        assert_int_equal(finish_of(s), cases[i].finish);
    }
    sm_error error;
    /* of what is longer only the bytes count that are said to belong to it */
    const sm_text part[] = {{"ethXX", 3}};
    const sm_generate_options cut = {.struct_size = sizeof cut,
                                     .max_tokens = 4,
                                     .sampling = &sampling,
                                     .stop = part,
                                     .n_stop = 1};
    assert_int_equal(generate(s, "in", &cut, &out, NULL), SM_OK);
    assert_string_equal(out.text, "th");
    assert_int_equal(finish_of(s), SM_FINISH_STOP);
    assert_int_equal(sm_session_generate(s, "inXX", 2, &cut, NULL, NULL, NULL), SM_OK);
    assert_int_equal(finish_of(s), SM_FINISH_STOP);
    sm_generate_stats stats = {.struct_size = sizeof stats};
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    const uint32_t of_two = stats.prompt_tokens;
    assert_int_equal(sm_session_generate(s, "in", SM_ZT, &cut, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    assert_int_equal(stats.prompt_tokens, of_two);
    /* a zero is a byte of a prompt like others */
    assert_int_equal(sm_session_generate(s, "in\0in", 5, &cut, NULL, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
    assert_true(stats.prompt_tokens > of_two);
    const sm_text empty[] = {{"", 0}};
    const sm_generate_options bad = {.struct_size = sizeof bad, .stop = empty, .n_stop = 1};
    assert_int_equal(generate(s, "in", &bad, &out, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "stop"));
    sm_session_free(s);
    sm_model_free(model);
}

/* Two tokens take turns: penalties push down the one that was last. Control tokens are matched by
 * stop strings, with what stands around them, and never handed out. */
static void stop_strings_match_control_tokens(void **state) {
    (void)state;
    const fixture_model spec = {.untied = true};
    sm_model *model = load(write_model("control.gguf", &spec), 0, 0);
    sm_tokenizer *tokenizer;
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    const int32_t the = sm_tokenizer_find(tokenizer, "the", 3);
    const int32_t control = sm_tokenizer_find(tokenizer, "<s>", 3);
    const int32_t end = sm_tokenizer_find(tokenizer, "</s>", 4);
    sm_tokenizer_free(tokenizer);
    sm_session *s = open_session(model, 1, 64, 0, 0);
    static stream out;
    const struct {
        int32_t second; /* after "the" */
        const char *stops[2];
        uint32_t n;
        const char *text;
        uint32_t tokens, finish, ignore_end;
    } cases[] = {
        {control, {NULL, NULL}, 0, "thethe", 4, SM_FINISH_LENGTH, 0},
        {control, {"<s>", NULL}, 1, "the", 2, SM_FINISH_STOP, 0},
        {control, {"e<s>t", NULL}, 1, "th", 3, SM_FINISH_STOP, 0},
        {control, {"<s>thex", NULL}, 1, "thethe", 4, SM_FINISH_LENGTH, 0},
        {control, {"e<s>the<s>the", NULL}, 1, "thethe", 4, SM_FINISH_LENGTH, 0},
        {control, {"thethe", NULL}, 1, "", 3, SM_FINISH_STOP, 0}, /* as it would be seen */
        {control, {"hethex", NULL}, 1, "thethe", 4, SM_FINISH_LENGTH, 0},
        {control, {"xx", "he<s>"}, 2, "t", 2, SM_FINISH_STOP, 0},
        {end, {NULL, NULL}, 0, "the", 1, SM_FINISH_END, 0},
        {end, {"xx", NULL}, 1, "the", 1, SM_FINISH_END, 0},
        {end, {"</s>", NULL}, 1, "the", 1, SM_FINISH_STOP, 0},
        {end, {"he</s>", NULL}, 1, "t", 1, SM_FINISH_STOP, 0},
        {end, {"he</s>x", NULL}, 1, "the", 1, SM_FINISH_END, 0},
        {end, {"</s>", NULL}, 1, "the", 2, SM_FINISH_STOP, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sm_text stops[] = {{cases[i].stops[0], SM_ZT}, {cases[i].stops[1], SM_ZT}};
        const sm_logit_bias bias[] = {{.token = the, .bias = 1000},
                                      {.token = cases[i].second, .bias = 950}};
        const sm_sampling sampling = {
            .struct_size = sizeof sampling, .frequency_penalty = 100, .bias = bias, .n_bias = 2};
        const sm_generate_options o = {.struct_size = sizeof o,
                                       .max_tokens = 4,
                                       .sampling = &sampling,
                                       .stop = stops,
                                       .n_stop = cases[i].n,
                                       .no_bos = 1,
                                       .ignore_end = cases[i].ignore_end};
        assert_int_equal(generate(s, "in", &o, &out, NULL), SM_OK);
        assert_string_equal(out.text, cases[i].text);
        assert_int_equal(out.n, cases[i].tokens);
        assert_int_equal(finish_of(s), cases[i].finish);
    }
    sm_session_free(s);
    sm_model_free(model);
}

typedef struct countdown {
    int32_t asked, limit;
} countdown;

static int32_t cancel_at(void *user) {
    countdown *c = user;
    return ++c->asked > c->limit;
}

static void feeding_can_be_cancelled(void **state) {
    (void)state;
    int32_t ids[200];
    const float *logits;
    make_ids(ids, 200);
    const fixture_model spec = {.n_layer = 4};
    sm_model *model = load(write_model("cancel.gguf", &spec), 0, 0);
    sm_session *s = open_session(model, 2, 200, 32, 0);
    assert_int_equal(sm_session_feed(s, ids, 200, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    const uint64_t expected = hash(logits, FIXTURE_VOCAB);
    sm_session_rewind(s, 0, NULL);
    countdown count = {0, INT32_MAX};
    assert_int_equal(sm_session_set_cancel(s, cancel_at, &count, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 200, NULL), SM_OK);
    sm_session_rewind(s, 0, NULL);
    count = (countdown){0, count.asked / 2};
    sm_error error;
    assert_int_equal(sm_session_feed(s, ids, 200, &error), SM_ERR_CANCELLED);
    /* how often the hook is asked depends on how many threads take part: about the middle */
    assert_true(sm_session_length(s) >= 32 && sm_session_length(s) <= 160);
    assert_int_equal(sm_session_length(s) % 32, 0);

    /* cancelling the very next token leaves the logits as they were */
    count = (countdown){0, INT32_MAX};
    assert_int_equal(sm_session_sync(s, ids, 150, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    const uint64_t before = hash(logits, FIXTURE_VOCAB);
    count.limit = 0;
    assert_int_equal(sm_session_feed(s, ids + 150, 1, &error), SM_ERR_CANCELLED);
    assert_int_equal(sm_session_length(s), 150);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    assert_int_equal(hash(logits, FIXTURE_VOCAB), before);
    sm_session_set_cancel(s, NULL, NULL, NULL);
    assert_int_equal(sm_session_sync(s, ids, 200, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    assert_int_equal(hash(logits, FIXTURE_VOCAB), expected);
    sm_session_free(s);
    sm_model_free(model);
}

/* ---- repacking ------------------------------------------------------------------------ */

static uint64_t packed_bytes(const sm_model *model) {
    sm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
    return info.packed_bytes;
}

static uint64_t head_bytes(const sm_model *model) {
    return sm_weight_packed_bytes(model->net->head);
}

static uint64_t logits_hash(const sm_session *s) {
    const float *logits;
    assert_int_equal(sm_session_logits(s, &logits, NULL, NULL), SM_OK);
    return hash(logits, s->model->net->config.n_vocab);
}

static int32_t cancel_when_begun(void *user) {
    return sm_session_length(user) > 0;
}

/* A step packs what it comes to: without logits that is not the head. */
static void a_step_packs_what_it_uses(void **state) {
    (void)state;
    int32_t ids[64];
    make_ids(ids, 64);
    for (int untied = 0; untied < 2; untied++) {
        const fixture_model spec = {.type = SM_DTYPE_Q8_0, .untied = untied};
        sm_model *model = load(write_model("lazy.gguf", &spec), 0, 0);
        sm_session *s = open_session(model, 2, 64, 32, 0);
        assert_int_equal(packed_bytes(model), 0);
        assert_int_equal(sm_session_feed(s, ids, 64, NULL), SM_OK);
        const uint64_t all = packed_bytes(model), expected = logits_hash(s);
        assert_true(all > head_bytes(model));
        sm_session_free(s);
        sm_model_free(model);

        model = load(write_model("lazy.gguf", &spec), 0, 0);
        s = open_session(model, 2, 64, 32, 0);
        /* the first 32 tokens are fed without logits */
        assert_int_equal(sm_session_set_cancel(s, cancel_when_begun, s, NULL), SM_OK);
        assert_int_equal(sm_session_feed(s, ids, 64, NULL), SM_ERR_CANCELLED);
        assert_int_equal(sm_session_length(s), 32);
        assert_int_equal(packed_bytes(model), all - head_bytes(model));
        sm_session_set_cancel(s, NULL, NULL, NULL);
        assert_int_equal(sm_session_feed(s, ids + 32, 32, NULL), SM_OK);
        assert_int_equal(packed_bytes(model), all);
        assert_int_equal(logits_hash(s), expected);
        sm_session_free(s);
        sm_model_free(model);
    }
}

static void repacking_is_timed_once(void **state) {
    (void)state;
    sm_model *model = load(write_model("timed.gguf", &(fixture_model){0}), 0, 0);
    sm_session *s = open_session(model, 2, 64, 0, 0);
    const sm_generate_options o = {.struct_size = sizeof o, .max_tokens = 2};
    for (int i = 0; i < 2; i++) {
        sm_generate_stats stats = {.struct_size = sizeof stats};
        assert_int_equal(sm_session_generate(s, "the hand", SM_ZT, &o, NULL, NULL, NULL), SM_OK);
        assert_int_equal(sm_session_get_stats(s, &stats, NULL), SM_OK);
        assert_true((stats.prepare_seconds > 0) == (i == 0));
        assert_true(stats.prompt_seconds > 0);
        assert_true(stats.prepare_seconds + stats.prompt_seconds <= stats.first_token_seconds);
    }
    sm_session_free(s);
    sm_model_free(model);
}

/* Cancels a model's first feed at every place where the hook is asked, goes on with another
 * session, and returns how many amounts of packed weights there were then. */
static uint32_t cancel_everywhere(const char *path) {
    const int32_t id = 7; /* of one token, the hook is asked at the same places each time */
    sm_model *model = load(path, 0, 0);
    sm_session *s = open_session(model, 2, 64, 0, 0);
    assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
    const uint64_t expected = logits_hash(s), all = packed_bytes(model);
    uint64_t last = UINT64_MAX;
    uint32_t n_amounts = 0, n_named = 0; /* the latter with a message that names a matrix */
    bool named = false;
    sm_status status = SM_ERR_CANCELLED;
    sm_session_free(s);
    sm_model_free(model);
    for (int32_t limit = 0; status; limit++) {
        countdown count = {0, limit};
        sm_error error = {0};
        model = load(path, 0, 0);
        s = open_session(model, 2, 64, 0, 0);
        assert_int_equal(sm_session_set_cancel(s, cancel_at, &count, NULL), SM_OK);
        status = sm_session_feed(s, &id, 1, &error);
        if (status) {
            const uint64_t packed = packed_bytes(model);
            assert_int_equal(status, SM_ERR_CANCELLED);
            assert_int_equal(error.code, status);
            assert_int_equal(count.asked, limit + 1);
            assert_int_equal(sm_session_length(s), 0);
            assert_true(last == UINT64_MAX ? packed == 0 : packed >= last);
            named = named && packed == last;
            if (!named && strstr(error.message, "cancelled while repacking '")) {
                named = true;
                n_named++;
            }
            n_amounts += packed != last;
            last = packed;
            sm_session_free(s);
            s = open_session(model, 1 + (uint32_t)limit % 3, 64, 0, 0);
            assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
        }
        assert_int_equal(packed_bytes(model), all);
        assert_int_equal(logits_hash(s), expected);
        sm_session_free(s);
        sm_model_free(model);
    }
    assert_int_equal(last, all);
    assert_int_equal(n_named + 1, n_amounts); /* all but the last one */
    return n_amounts;
}

static void repacking_can_be_cancelled(void **state) {
    (void)state;
    const fixture_model spec = {.type = SM_DTYPE_Q4_0, .n_layer = 3};
    assert_int_equal(cancel_everywhere(write_model("cancel.gguf", &spec)), 3 * 7 + 2);
    /* a head of more than 16 MiB is packed in two pieces */
    const fixture_model large = {.n_layer = 1, .no_vocab = true, .n_rows = 70000};
    assert_int_equal(cancel_everywhere(write_model("cancel.gguf", &large)), 7 + 3);
}

/* The hook is free to use the model: no lock is held then. */
typedef struct other_use {
    sm_session *session;
    const int32_t *ids;
    bool used;
} other_use;

static int32_t use_other(void *user) {
    other_use *o = user;
    if (!o->used && packed_bytes(o->session->model) > 0) {
        o->used = true;
        assert_int_equal(sm_session_feed(o->session, o->ids, 3, NULL), SM_OK);
    }
    return 0;
}

static void the_hook_may_use_the_model(void **state) {
    (void)state;
    int32_t ids[3];
    make_ids(ids, 3);
    sm_model *model = load(write_model("hook.gguf", &(fixture_model){0}), 0, 0);
    sm_session *s = open_session(model, 2, 64, 0, 0), *other = open_session(model, 2, 64, 0, 0);
    other_use use = {other, ids, false};
    assert_int_equal(sm_session_set_cancel(s, use_other, &use, NULL), SM_OK);
    assert_int_equal(sm_session_feed(s, ids, 3, NULL), SM_OK);
    assert_true(use.used);
    assert_int_equal(logits_hash(s), logits_hash(other));
    sm_session_free(s);
    sm_session_free(other);
    sm_model_free(model);
}

/* The ways files say "linear rope scaling by 4" all mean the same. */
static void linear_scaling_has_several_spellings(void **state) {
    (void)state;
    int32_t ids[40];
    make_ids(ids, 40);
    const fixture_model specs[] = {
        {.rope_scaling = "linear", .rope_factor = 4},
        {.f32_key = "llama.rope.scaling.factor", .f32_value = 4},
        {.f32_key = "llama.rope.scale_linear", .f32_value = 4},
        {.rope_scaling = "none", .rope_factor = 4},
        {0},
    };
    uint64_t hashes[5];
    for (size_t i = 0; i < 5; i++) {
        sm_model *model = load(write_model("rope.gguf", &specs[i]), 0, 0);
        hashes[i] = run_hash(model, ids, 40, 1, 40, 0);
        sm_model_free(model);
    }
    assert_int_equal(hashes[1], hashes[0]);
    assert_int_equal(hashes[2], hashes[0]);
    assert_int_not_equal(hashes[3], hashes[0]);
    assert_int_equal(hashes[4], hashes[3]);
}

static void damaged_weights_are_an_error(void **state) {
    (void)state;
    sm_error error = {0};
    const fixture_model spec = {.nan_tensor = "blk.0.ffn_down.weight"};
    sm_model *model = load(write_model("nan.gguf", &spec), 0, 0);
    sm_session *s = open_session(model, 1, 64, 0, 0);
    assert_int_equal(sm_session_generate(s, "the", SM_ZT, NULL, NULL, NULL, &error), SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "finite"));
    sm_session_free(s);
    sm_model_free(model);
}

static uint64_t allocations(const sm_model *model) {
    sm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_model_get_info(model, &info, NULL), SM_OK);
    return info.n_allocs;
}

typedef struct alloc_watch {
    const sm_model *model;
    uint64_t at_second, at_last;
    uint32_t n;
} alloc_watch;

static int32_t watch_allocations(void *user, const sm_token *token) {
    alloc_watch *w = user;
    (void)token;
    w->n++;
    if (w->n == 2)
        w->at_second = allocations(w->model);
    w->at_last = allocations(w->model);
    return 0;
}

static void nothing_is_allocated_per_token(void **state) {
    (void)state;
    const fixture_model spec = {.type = SM_DTYPE_Q8_0, .spm = true};
    sm_model *model = load(write_model("alloc.gguf", &spec), 0, 0);
    sm_session *s = open_session(model, 2, 512, 0, 0);
    const sm_text stops[] = {{"\x01never\x01", SM_ZT}};
    const sm_sampling sampling = {.struct_size = sizeof sampling,
                                  .temperature = 0.9,
                                  .top_p = 0.9,
                                  .repeat_penalty = 1.1,
                                  .seed = 1};
    const sm_generate_options o = {.struct_size = sizeof o,
                                   .max_tokens = 400,
                                   .sampling = &sampling,
                                   .stop = stops,
                                   .n_stop = 1,
                                   .ignore_end = 1};
    alloc_watch w = {.model = model};
    assert_int_equal(sm_session_generate(s, "the", SM_ZT, &o, watch_allocations, &w, NULL), SM_OK);
    assert_true(w.n >= 400);
    assert_int_equal(w.at_last, w.at_second);

    /* the token-level way: feed, sample, feed */
    int32_t id;
    const uint64_t before = allocations(model);
    sm_session_rewind(s, 1, NULL);
    for (int i = 0; i < 100; i++) {
        id = i;
        assert_int_equal(sm_session_feed(s, &id, 1, NULL), SM_OK);
        assert_int_equal(test_sample(s, &sampling, &id, NULL, NULL), SM_OK);
    }
    assert_int_equal(allocations(model), before);
    sm_session_free(s);
    sm_model_free(model);
}

/* ---- wrong use ------------------------------------------------------------------------ */

static void wrong_use_is_a_status(void **state) {
    (void)state;
    sm_error error = {0};
    const float *logits;
    int32_t id;
    const fixture_model spec = {.n_ctx = 64};
    sm_model *model = load(write_model("wrong.gguf", &spec), 0, 0);
    sm_session *s = open_session(model, 1, 0, 0, 0);
    assert_int_equal(test_info(s).n_ctx, 64);
    assert_int_equal(sm_session_logits(s, &logits, NULL, &error), SM_ERR_STATE);
    assert_null(logits);
    assert_int_equal(test_sample(s, NULL, &id, NULL, &error), SM_ERR_STATE);

    const int32_t ids[65] = {1, 2, FIXTURE_VOCAB};
    assert_int_equal(sm_session_feed(s, ids, 3, &error), SM_ERR_TOKEN);
    assert_non_null(strstr(error.message, "300"));
    const int32_t negative = -1;
    assert_int_equal(sm_session_feed(s, &negative, 1, &error), SM_ERR_TOKEN);
    assert_int_equal(sm_session_feed(s, ids, 65, &error), SM_ERR_CONTEXT_FULL);
    assert_int_equal(sm_session_feed(s, ids, UINT64_MAX, &error), SM_ERR_CONTEXT_FULL);
    assert_int_equal(sm_session_feed(s, NULL, 2, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed(s, NULL, 0, &error), SM_OK);
    assert_int_equal(sm_session_length(s), 0);
    assert_int_equal(sm_session_rewind(s, 1, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logits(s, ids, 2, NULL, UINT64_MAX, &error), SM_ERR_ARGUMENT);

    /* NULL everywhere */
    sm_session *session;
    sm_model *none;
    sm_tokenizer *tokenizer;
    sm_model_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_model_load(NULL, "x", NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_load(&none, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_get_info(NULL, &info, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_get_info(model, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_get_tokenizer(NULL, &tokenizer, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_model_get_tokenizer(model, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_new(NULL, model, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_new(&session, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_null(session);
    assert_int_equal(sm_session_fork(NULL, s, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_fork(&session, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed(NULL, ids, 1, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_feed_logits(NULL, ids, 1, NULL, UINT64_MAX, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_sync(NULL, ids, 1, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_rewind(NULL, 0, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_logits(NULL, &logits, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_logits(s, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(test_sample(NULL, NULL, &id, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_sample(s, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_generate(NULL, "", SM_ZT, NULL, NULL, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_generate(s, NULL, SM_ZT, NULL, NULL, NULL, &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_get_stats(NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_get_stats(s, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_set_cancel(NULL, NULL, NULL, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_session_length(NULL), 0);
    assert_int_equal(test_info(NULL).n_ctx, 0);
    assert_int_equal(test_token(NULL, 0), -1);
    sm_session_free(NULL);
    sm_model_free(NULL);
    assert_null(sm_options_name(99));

    /* options out of range are named */
    const sm_session_options threads = {.struct_size = sizeof threads, .n_threads = 100000};
    assert_int_equal(sm_session_new(&session, model, &threads, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "n_threads"));
    const sm_session_options kv = {.struct_size = sizeof kv, .kv_type = 7};
    assert_int_equal(sm_session_new(&session, model, &kv, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "kv_type"));
    const sm_session_options keep = {.struct_size = sizeof keep, .kv_keep = 2};
    assert_int_equal(sm_session_new(&session, model, &keep, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "kv_keep"));
    const sm_session_options pin = {.struct_size = sizeof pin, .pin = 2};
    assert_int_equal(sm_session_new(&session, model, &pin, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "pin"));
    const sm_model_options io = {.struct_size = sizeof io, .io = 7};
    assert_int_equal(sm_model_load(&none, "x", &io, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "io"));
    assert_null(none);
    sm_session_free(s);
    sm_model_free(model);

    /* no vocabulary: tokens work, text does not */
    const fixture_model mute = {.no_vocab = true};
    model = load(write_model("mute.gguf", &mute), 0, 0);
    s = open_session(model, 1, 0, 0, 0);
    assert_int_equal(sm_session_feed(s, ids, 2, &error), SM_OK);
    assert_int_equal(sm_session_generate(s, "x", SM_ZT, NULL, NULL, NULL, &error), SM_ERR_MISSING);
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, &error), SM_ERR_MISSING);
    assert_non_null(strstr(error.message, "tokenizer.ggml.model"));
    sm_session_free(s);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_bit_exact),
        cmocka_unit_test(mixed_types_are_bit_exact),
        cmocka_unit_test(every_shape_is_bit_exact),
        cmocka_unit_test(long_contexts_are_bit_exact),
        cmocka_unit_test(levels_agree),
        cmocka_unit_test(fork_rewind_and_sync_change_no_bit),
        cmocka_unit_test(generation_streams_and_counts),
        cmocka_unit_test(generation_ends_for_each_reason),
        cmocka_unit_test(sessions_and_choices_are_described),
        cmocka_unit_test(stop_strings_end_the_text),
        cmocka_unit_test(stop_strings_match_control_tokens),
        cmocka_unit_test(feeding_can_be_cancelled),
        cmocka_unit_test(a_step_packs_what_it_uses),
        cmocka_unit_test(repacking_is_timed_once),
        cmocka_unit_test(repacking_can_be_cancelled),
        cmocka_unit_test(the_hook_may_use_the_model),
        cmocka_unit_test(linear_scaling_has_several_spellings),
        cmocka_unit_test(damaged_weights_are_an_error),
        cmocka_unit_test(nothing_is_allocated_per_token),
        cmocka_unit_test(wrong_use_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
