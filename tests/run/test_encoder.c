/* Encoders: vectors are the same bits whatever the company and the threads, tokens see both sides
 * over many blocks of keys, long texts, and what is refused. What the vectors are check_families
 * compares with stored ones. */
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
#include "smallmind/smallmind.h"
#include "support.h"

#define WIDTH 64
#define LONG 700 /* tokens: three blocks of keys */

static const fixture_key layer_norm[] = {{"attention.layer_norm_epsilon", 'f', 1e-5}, {0}};
static const fixture_model models[] = {
    {.architecture = "bert", .n_head_kv = 4, .n_ctx = 1024, .keys = layer_norm, .seed = 1},
    {.architecture = "nomic-bert", .n_head_kv = 4, .n_ctx = 1024, .keys = layer_norm, .seed = 2},
    {.architecture = "jina-bert-v2", .n_head_kv = 4, .n_ctx = 1024, .keys = layer_norm, .seed = 3},
    {.architecture = "modern-bert",
     .n_head_kv = 4,
     .n_layer = 4,
     .n_ctx = 1024,
     .keys = layer_norm,
     .sliding_window = 300,
     .seed = 4},
    {.architecture = "gemma-embedding",
     .n_layer = 7,
     .head_dim = 16,
     .n_ctx = 1024,
     .sliding_window = 65,
     .seed = 5},
    {.architecture = "qwen3", .n_ctx = 1024, .seed = 6},
};
#define MODELS (sizeof models / sizeof *models)

static sm_model *open_model(const fixture_model *m) {
    const char *path = scratch_path("encoder.gguf");
    sm_model *model;
    sm_error error;
    assert_int_equal(fixture_write(path, m), 0);
    if (sm_model_load(&model, path, NULL, &error))
        fail_msg("%s", error.message);
    return model;
}

static sm_encoder *open_encoder(const sm_model *model, sm_encoder_options o) {
    sm_encoder *e;
    sm_error error;
    o.struct_size = sizeof o;
    if (sm_encoder_new(&e, model, &o, &error))
        fail_msg("%s", error.message);
    return e;
}

static void fill_ids(int32_t *ids, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++)
        ids[i] = 1 + (int32_t)(test_random(&seed) % 255);
}

/* ---- bits -------------------------------------------------------------------------------- */

#define TEXTS 30
static char text_of[TEXTS][400];
static sm_text texts[TEXTS];

static void fill_texts(void) {
    uint64_t seed = 7;
    for (size_t i = 0; i < TEXTS; i++) {
        const uint64_t n = i ? test_random(&seed) % sizeof text_of[i] : 0;
        for (uint64_t k = 0; k < n; k++)
            text_of[i][k] = (char)('a' + test_random(&seed) % 26);
        texts[i] = (sm_text){text_of[i], n};
    }
}

static void company_changes_no_bit(void **state) {
    (void)state;
    static float want[TEXTS][WIDTH], got[TEXTS][WIDTH];
    fill_texts();
    for (size_t m = 0; m < MODELS; m++) {
        sm_model *model = open_model(&models[m]);
        sm_encoder *alone = open_encoder(model, (sm_encoder_options){.n_threads = 1});
        for (size_t i = 0; i < TEXTS; i++)
            assert_int_equal(sm_encoder_embed(alone, &texts[i], 1, want[i], WIDTH, NULL), SM_OK);
        sm_encoder_free(alone);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            sm_encoder *e =
                open_encoder(model, (sm_encoder_options){.n_threads = threads,
                                                         .n_batch = threads == 2 ? 2048 : 512,
                                                         .max_tokens = 512});
            memset(got, 0, sizeof got);
            assert_int_equal(sm_encoder_embed(e, texts, TEXTS, got[0], TEXTS * WIDTH, NULL), SM_OK);
            assert_memory_equal(got, want, sizeof got);
            sm_encoder_free(e);
        }
        double length = 0;
        for (size_t i = 0; i < WIDTH; i++)
            length += (double)want[1][i] * (double)want[1][i];
        assert_true(fabs(length - 1) < 1e-5);
        sm_model_free(model);
    }
}

/* ---- both sides -------------------------------------------------------------------------- */

/* jina's tokens know distances alone: a text from its end on has the same states the other way. */
static void sides_are_alike(void **state) {
    (void)state;
    static int32_t ids[LONG], back[LONG];
    static float forth[LONG][WIDTH], turned[LONG][WIDTH];
    sm_model *model = open_model(&models[2]);
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.n_threads = 2});
    fill_ids(ids, LONG, 1);
    for (size_t i = 0; i < LONG; i++)
        back[i] = ids[LONG - 1 - i];
    assert_int_equal(sm_encoder_hidden(e, ids, LONG, forth[0], LONG * WIDTH, NULL), SM_OK);
    assert_int_equal(sm_encoder_hidden(e, back, LONG, turned[0], LONG * WIDTH, NULL), SM_OK);
    for (size_t i = 0; i < LONG; i++)
        for (size_t k = 0; k < WIDTH; k++)
            if (fabsf(forth[i][k] - turned[LONG - 1 - i][k]) > 1e-4f)
                fail_msg("token %zu of %d: %g, from the end %g", i, LONG, (double)forth[i][k],
                         (double)turned[LONG - 1 - i][k]);
    sm_encoder_free(e);
    sm_model_free(model);
}

/* Another token at the end: who sees it? Of an encoder all; of a decoder itself alone. */
static void what_is_behind_is_seen(void **state) {
    (void)state;
    static int32_t ids[LONG];
    static float before[LONG][WIDTH], after[LONG][WIDTH];
    for (size_t m = 0; m < MODELS; m++) {
        sm_model *model = open_model(&models[m]);
        sm_encoder *e = open_encoder(model, (sm_encoder_options){.n_threads = 2});
        fill_ids(ids, LONG, 2);
        assert_int_equal(sm_encoder_hidden(e, ids, LONG, before[0], LONG * WIDTH, NULL), SM_OK);
        ids[LONG - 1] = ids[LONG - 1] % 200 + 1;
        assert_int_equal(sm_encoder_hidden(e, ids, LONG, after[0], LONG * WIDTH, NULL), SM_OK);
        size_t changed = 0;
        for (size_t i = 0; i < LONG; i++)
            changed += memcmp(before[i], after[i], sizeof *before) != 0;
        assert_int_equal(changed, strcmp(models[m].architecture, "qwen3") ? LONG : 1);
        sm_encoder_free(e);
        sm_model_free(model);
    }
}

/* A model all of whose layers have a window: nothing comes further than half of it a layer. */
static void windows_end_on_both_sides(void **state) {
    (void)state;
    static int32_t ids[LONG];
    static float before[LONG][WIDTH], after[LONG][WIDTH];
    const fixture_model m = {.architecture = "gemma-embedding",
                             .n_layer = 2,
                             .head_dim = 16,
                             .n_ctx = 1024,
                             .sliding_window = 65,
                             .seed = 5};
    sm_model *model = open_model(&m);
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.n_threads = 2});
    fill_ids(ids, LONG, 3);
    assert_int_equal(sm_encoder_hidden(e, ids, LONG, before[0], LONG * WIDTH, NULL), SM_OK);
    ids[400] = ids[400] % 200 + 1;
    assert_int_equal(sm_encoder_hidden(e, ids, LONG, after[0], LONG * WIDTH, NULL), SM_OK);
    for (int i = 0; i < LONG; i++) {
        const bool same = memcmp(before[i], after[i], sizeof *before) == 0;
        if (same != (abs(i - 400) > 2 * 32))
            fail_msg("token %d is %s", i, same ? "the same" : "another");
    }
    sm_encoder_free(e);
    sm_model_free(model);
}

/* ---- long texts -------------------------------------------------------------------------- */

static void long_texts_are_cut_refused_or_in_windows(void **state) {
    (void)state;
    static const char text[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    sm_model *model = open_model(&models[0]);
    sm_tokenizer *tokenizer;
    sm_encode_options markers = {.struct_size = sizeof markers, .flags = SM_ENCODE_MARKERS};
    int32_t ids[100];
    uint64_t n;
    float cut[WIDTH], got[WIDTH], all[WIDTH] = {0}, one[WIDTH];
    sm_error error;
    const sm_text t = {text, SM_ZT};
    assert_int_equal(sm_model_get_tokenizer(model, &tokenizer, NULL), SM_OK);
    assert_int_equal(sm_tokenizer_encode(tokenizer, text, SM_ZT, &markers, ids, 100, &n, NULL),
                     SM_OK);
    assert_true(n > 40);
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.max_tokens = 20});
    assert_int_equal(sm_encoder_embed_ids(e, ids, 20, cut, WIDTH, NULL), SM_OK);
    assert_int_equal(sm_encoder_embed(e, &t, 1, got, WIDTH, NULL), SM_OK);
    assert_memory_equal(got, cut, sizeof got);
    assert_int_equal(sm_encoder_embed_ids(e, ids, 21, cut, WIDTH, &error), SM_ERR_CONTEXT_FULL);
    sm_encoder_free(e);

    e = open_encoder(model, (sm_encoder_options){.max_tokens = 20, .long_texts = SM_LONG_REFUSE});
    const sm_text two[] = {{"a", 1}, t};
    float both[2 * WIDTH];
    assert_int_equal(sm_encoder_embed(e, two, 2, both, 2 * WIDTH, &error), SM_ERR_CONTEXT_FULL);
    assert_non_null(strstr(error.message, "text 1"));
    sm_encoder_free(e);

    /* BOS and 19 tokens a window: their mean, by tokens */
    e = open_encoder(
        model, (sm_encoder_options){.max_tokens = 20, .long_texts = SM_LONG_WINDOWS, .raw = 1});
    assert_int_equal(sm_encoder_embed(e, &t, 1, got, WIDTH, NULL), SM_OK);
    uint64_t weight = 0;
    for (uint64_t at = 1; at < n; at += 19) {
        int32_t window[20] = {ids[0]};
        const uint64_t part = n - at < 19 ? n - at : 19;
        memcpy(window + 1, ids + at, part * sizeof *ids);
        assert_int_equal(sm_encoder_embed_ids(e, window, part + 1, one, WIDTH, NULL), SM_OK);
        for (size_t i = 0; i < WIDTH; i++)
            all[i] += one[i] * (float)(part + 1);
        weight += part + 1;
    }
    for (size_t i = 0; i < WIDTH; i++)
        assert_true(fabsf(all[i] / (float)weight - got[i]) < 1e-5f);
    sm_encoder_free(e);
    sm_tokenizer_free(tokenizer);
    sm_model_free(model);
}

/* ---- vectors ----------------------------------------------------------------------------- */

static void vectors_are_pooled_cut_and_prefixed(void **state) {
    (void)state;
    const int32_t ids[] = {5, 6, 7, 8, 9};
    float states[5][WIDTH], got[WIDTH];
    sm_model *model = open_model(&models[0]);
    sm_encoder_info info = {.struct_size = sizeof info};
    for (uint32_t pooling = SM_POOLING_MEAN; pooling <= SM_POOLING_LAST; pooling++) {
        sm_encoder *e = open_encoder(model, (sm_encoder_options){.pooling = pooling, .raw = 1});
        assert_int_equal(sm_encoder_get_info(e, &info, NULL), SM_OK);
        assert_int_equal(info.pooling, pooling);
        assert_int_equal(info.n_dims, WIDTH);
        assert_int_equal(sm_encoder_hidden(e, ids, 5, states[0], 5 * WIDTH, NULL), SM_OK);
        assert_int_equal(sm_encoder_embed_ids(e, ids, 5, got, WIDTH, NULL), SM_OK);
        for (size_t i = 0; i < WIDTH; i++) {
            const double mean =
                ((double)states[0][i] + (double)states[1][i] + (double)states[2][i] +
                 (double)states[3][i] + (double)states[4][i]) /
                5;
            const double want = pooling == SM_POOLING_MEAN    ? mean
                                : pooling == SM_POOLING_FIRST ? (double)states[0][i]
                                                              : (double)states[4][i];
            assert_true(fabs(want - (double)got[i]) < 1e-6);
        }
        sm_encoder_free(e);
    }
    /* the first elements, and as long as 1 by themselves */
    float whole[WIDTH], part[10];
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.raw = 1});
    sm_encoder *few = open_encoder(model, (sm_encoder_options){.n_dims = 10});
    assert_int_equal(sm_encoder_embed_ids(e, ids, 5, whole, WIDTH, NULL), SM_OK);
    assert_int_equal(sm_encoder_embed_ids(few, ids, 5, part, 10, NULL), SM_OK);
    double squares = 0;
    for (size_t i = 0; i < 10; i++)
        squares += (double)whole[i] * (double)whole[i];
    for (size_t i = 0; i < 10; i++)
        assert_true(fabs((double)whole[i] / sqrt(squares) - (double)part[i]) < 1e-6);
    sm_encoder_free(few);
    sm_encoder_free(e);
    const sm_text plain = {"hello", 5}, prefixed = {"query: hello", 12};
    float a[WIDTH], b[WIDTH];
    e = open_encoder(model, (sm_encoder_options){.n_threads = 1});
    few = open_encoder(model, (sm_encoder_options){.n_threads = 1, .prefix = "query: "});
    assert_int_equal(sm_encoder_embed(e, &prefixed, 1, a, WIDTH, NULL), SM_OK);
    assert_int_equal(sm_encoder_embed(few, &plain, 1, b, WIDTH, NULL), SM_OK);
    assert_memory_equal(a, b, sizeof a);
    sm_encoder_free(few);
    sm_encoder_free(e);
    sm_model_free(model);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    sm_model *model = open_model(&models[0]);
    sm_error error;
    sm_session *session;
    assert_int_equal(sm_session_new(&session, model, NULL, &error), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "encoders"));
    sm_encoder *e;
    assert_int_equal(sm_encoder_new(&e, model,
                                    &(sm_encoder_options){.struct_size = sizeof(sm_encoder_options),
                                                          .n_dims = 65},
                                    &error),
                     SM_ERR_ARGUMENT);
    assert_int_equal(sm_encoder_new(&e, model,
                                    &(sm_encoder_options){.struct_size = sizeof(sm_encoder_options),
                                                          .max_tokens = 1025},
                                    &error),
                     SM_ERR_ARGUMENT);
    e = open_encoder(model, (sm_encoder_options){.n_threads = 1});
    const sm_text text = {"hello", 5}, none = {NULL, 4};
    const int32_t wrong[] = {1, FIXTURE_VOCAB};
    float vector[WIDTH];
    assert_int_equal(sm_encoder_embed(e, &text, 1, vector, WIDTH - 1, &error), SM_ERR_BUFFER);
    assert_int_equal(sm_encoder_embed(e, &none, 1, vector, WIDTH, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_encoder_embed_ids(e, wrong, 2, vector, WIDTH, &error), SM_ERR_TOKEN);
    assert_int_equal(sm_encoder_score(e, &text, 1, vector, WIDTH, &error), SM_ERR_UNSUPPORTED);
    assert_int_equal(sm_encoder_rerank(e, "hello", 5, &text, 1, vector, WIDTH, &error),
                     SM_ERR_UNSUPPORTED);
    assert_null(sm_encoder_label(e, 0, NULL));
    sm_encoder_free(e);

    sm_cancel *flag;
    assert_int_equal(sm_cancel_new(&flag, NULL), SM_OK);
    e = open_encoder(model, (sm_encoder_options){.cancel_flag = flag});
    sm_cancel_set(flag, 1);
    assert_int_equal(sm_encoder_embed(e, &text, 1, vector, WIDTH, &error), SM_ERR_CANCELLED);
    sm_cancel_set(flag, 0);
    assert_int_equal(sm_encoder_embed(e, &text, 1, vector, WIDTH, &error), SM_OK);
    sm_encoder_free(e);
    sm_cancel_free(flag);
    sm_model_free(model);

    const fixture_model convolved = {
        .architecture = "lfm2",
        .n_layer = 3,
        .keys = (const fixture_key[]){
            {"attention.head_count_kv", 'l', 20}, {"shortconv.l_cache", 'u', 3}, {0}}};
    model = open_model(&convolved);
    assert_int_equal(sm_encoder_new(&e, model, NULL, &error), SM_ERR_UNSUPPORTED);
    sm_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(company_changes_no_bit),
        cmocka_unit_test(sides_are_alike),
        cmocka_unit_test(what_is_behind_is_seen),
        cmocka_unit_test(windows_end_on_both_sides),
        cmocka_unit_test(long_texts_are_cut_refused_or_in_windows),
        cmocka_unit_test(vectors_are_pooled_cut_and_prefixed),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("encoder", tests, NULL, NULL);
}
