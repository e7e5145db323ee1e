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
#include <sys/stat.h>

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
    for (size_t m = 0; m < test_share(MODELS, 2); m++) {
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
    for (size_t m = 0; m < test_share(MODELS, 2); m++) {
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

/* ---- directories ------------------------------------------------------------------------- */

#define E 16 /* width of the models below */
#define N_ROWS 8
#define FOLDER 512

static char folder[FOLDER];

static void put_file(const char *name, const char *text) {
    char path[FOLDER + 100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    scratch_write(path, text, strlen(text));
}

typedef struct weights {
    bytes header, data;
    uint64_t seed;
} weights;

static void put_tensor(weights *w, const char *name, uint32_t rows, uint32_t cols) {
    char text[256];
    const size_t begin = w->data.size, n = (size_t)rows * (cols ? cols : 1);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)(test_random(&w->seed) % 1000) / 1000 - 0.5f;
        bytes_put(&w->data, &x, sizeof x);
    }
    snprintf(text, sizeof text,
             cols ? "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%u,%u],"
                  : "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%u],",
             w->header.size ? "," : "{", name, rows, cols);
    bytes_put(&w->header, text, strlen(text));
    snprintf(text, sizeof text, "\"data_offsets\":[%zu,%zu]}", begin, w->data.size);
    bytes_put(&w->header, text, strlen(text));
}

static void end_weights(weights *w, const char *name) {
    char path[FOLDER + 100];
    bytes file = {0};
    bytes_put(&w->header, "}", 1);
    while (w->header.size % 8)
        bytes_put(&w->header, " ", 1);
    bytes_u64(&file, w->header.size);
    bytes_put(&file, w->header.data, w->header.size);
    bytes_put(&file, w->data.data, w->data.size);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    scratch_write(path, file.data, file.size);
    bytes_free(&file);
    bytes_free(&w->header);
    bytes_free(&w->data);
}

/* Weights of a layer of bert's; those before the positions' are the same whatever the model. */
static void put_bert(const char *prefix, uint32_t padding, uint32_t n_labels) {
    static const struct {
        const char *name;
        uint32_t rows, cols;
    } all[] = {
        {"embeddings.word_embeddings.weight", N_ROWS, E},
        {"embeddings.token_type_embeddings.weight", 2, E},
        {"embeddings.LayerNorm.weight", E, 0},
        {"embeddings.LayerNorm.bias", E, 0},
        {"encoder.layer.0.attention.self.query.weight", E, E},
        {"encoder.layer.0.attention.self.query.bias", E, 0},
        {"encoder.layer.0.attention.self.key.weight", E, E},
        {"encoder.layer.0.attention.self.key.bias", E, 0},
        {"encoder.layer.0.attention.self.value.weight", E, E},
        {"encoder.layer.0.attention.self.value.bias", E, 0},
        {"encoder.layer.0.attention.output.dense.weight", E, E},
        {"encoder.layer.0.attention.output.dense.bias", E, 0},
        {"encoder.layer.0.attention.output.LayerNorm.weight", E, 0},
        {"encoder.layer.0.attention.output.LayerNorm.bias", E, 0},
        {"encoder.layer.0.intermediate.dense.weight", 2 * E, E},
        {"encoder.layer.0.intermediate.dense.bias", 2 * E, 0},
        {"encoder.layer.0.output.dense.weight", E, 2 * E},
        {"encoder.layer.0.output.dense.bias", E, 0},
        {"encoder.layer.0.output.LayerNorm.weight", E, 0},
        {"encoder.layer.0.output.LayerNorm.bias", E, 0},
    };
    weights w = {.seed = 5};
    char name[128];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, all[i].name);
        put_tensor(&w, name, all[i].rows, all[i].cols);
    }
    w.seed = padding ? 99 : 6; /* rows of padding are others */
    snprintf(name, sizeof name, "%sembeddings.position_embeddings.weight", prefix);
    if (padding) {
        weights rows = {.seed = 6};
        put_tensor(&rows, "rows", N_ROWS, E);
        put_tensor(&w, name, N_ROWS + padding, E);
        memcpy(w.data.data + w.data.size - rows.data.size, rows.data.data, rows.data.size);
        bytes_free(&rows.header);
        bytes_free(&rows.data);
    } else {
        put_tensor(&w, name, N_ROWS, E);
    }
    if (n_labels) {
        put_tensor(&w, "classifier.weight", n_labels, E);
        put_tensor(&w, "classifier.bias", n_labels, 0);
    }
    end_weights(&w, "model.safetensors");
}

static void put_config(const char *type, uint32_t positions, const char *more) {
    char text[1024];
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"hidden_size\":%d,\"num_hidden_layers\":1,"
             "\"num_attention_heads\":2,\"intermediate_size\":%d,\"vocab_size\":%d,"
             "\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-5,\"type_vocab_size\":2,"
             "\"max_position_embeddings\":%u%s}",
             type, E, 2 * E, N_ROWS, positions, more);
    put_file("config.json", text);
}

static void put_pooling(const char *mode) {
    char text[200];
    snprintf(text, sizeof text, "{\"word_embedding_dimension\":16,\"pooling_mode_%s\":true}", mode);
    put_file("1_Pooling/config.json", text);
}

#define MODULE(n, kind, path) \
    "{\"idx\":" #n ",\"path\":\"" path "\",\"type\":\"sentence_transformers.models." kind "\"}"

/* A vector of some tokens, and how it was pooled. */
static uint32_t vector_of_folder(float *vector) {
    static const int32_t ids[] = {1, 5, 2, 7, 3};
    sm_model *model;
    sm_error error;
    if (sm_model_load(&model, folder, NULL, &error))
        fail_msg("%s", error.message);
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.raw = 1});
    sm_encoder_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_encoder_get_info(e, &info, NULL), SM_OK);
    assert_int_equal(sm_encoder_embed_ids(e, ids, 5, vector, E, NULL), SM_OK);
    sm_encoder_free(e);
    sm_model_free(model);
    return info.pooling;
}

static void assert_refused(const char *what) {
    sm_model *model;
    sm_error error;
    assert_int_equal(sm_model_load(&model, folder, NULL, &error), SM_ERR_UNSUPPORTED);
    if (!strstr(error.message, what))
        fail_msg("'%s' does not name %s", error.message, what);
}

static void directories_say_how_to_pool(void **state) {
    (void)state;
    float plain[E], mean[E], first[E], dense[E], padded[E];
    snprintf(folder, sizeof folder, "%s", scratch_path("minilm"));
    mkdir(folder, 0700);
    char inner[FOLDER + 32];
    static const char *const inside[] = {"1_Pooling", "2_Dense", "3_Dense"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(inner, sizeof inner, "%s/%s", folder, inside[i]);
        mkdir(inner, 0700);
    }
    put_config("bert", N_ROWS, "");
    put_bert("", 0, 0);
    assert_int_equal(vector_of_folder(plain), SM_POOLING_MEAN); /* what no file says */
    put_file("modules.json",
             "[" MODULE(0, "Transformer", "") "," MODULE(1, "Pooling", "1_Pooling") "," MODULE(
                 2, "Normalize", "2_Normalize") "]");
    put_pooling("mean_tokens");
    assert_int_equal(vector_of_folder(mean), SM_POOLING_MEAN);
    assert_memory_equal(plain, mean, sizeof mean);
    put_pooling("cls_token");
    assert_int_equal(vector_of_folder(first), SM_POOLING_FIRST);
    assert_memory_not_equal(first, mean, sizeof mean);
    put_pooling("max_tokens");
    assert_refused("pooling_mode");
    put_pooling("mean_tokens");

    /* two matrices behind it */
    weights w = {.seed = 1};
    put_tensor(&w, "linear.weight", 3, E);
    end_weights(&w, "2_Dense/model.safetensors");
    w = (weights){.seed = 2};
    put_tensor(&w, "linear.weight", E, 3);
    end_weights(&w, "3_Dense/model.safetensors");
    put_file("2_Dense/config.json", "{\"bias\":false,\"activation_function\":\"x.Identity\"}");
    put_file("3_Dense/config.json", "{\"bias\":false,\"activation_function\":\"x.Identity\"}");
    put_file("modules.json",
             "[" MODULE(0, "Transformer", "") "," MODULE(1, "Pooling", "1_Pooling") "," MODULE(
                 2, "Dense", "2_Dense") "," MODULE(3, "Dense", "3_Dense") "]");
    vector_of_folder(dense);
    uint64_t a = 1, b = 2;
    float low[3] = {0};
    for (size_t i = 0; i < 3 * E; i++)
        low[i / E] += ((float)(test_random(&a) % 1000) / 1000 - 0.5f) * mean[i % E];
    for (size_t i = 0; i < E; i++) {
        float want = 0;
        for (size_t k = 0; k < 3; k++)
            want += ((float)(test_random(&b) % 1000) / 1000 - 0.5f) * low[k];
        assert_true(fabsf(want - dense[i]) < 1e-5f);
    }
    put_file("3_Dense/config.json", "{\"bias\":false,\"activation_function\":\"x.Tanh\"}");
    assert_refused("Tanh");
    put_file("modules.json",
             "[" MODULE(0, "Transformer", "") "," MODULE(1, "Pooling", "../up") "]");
    assert_refused("../up");
    put_file("modules.json", "[" MODULE(0, "Transformer", "") "," MODULE(
                                 1, "WeightedLayerPooling", "a") "," MODULE(2, "CNN", "b") "]");
    assert_refused("WeightedLayerPooling");
    put_file("modules.json",
             "[" MODULE(0, "Transformer", "") "," MODULE(1, "Pooling", "1_Pooling") "," MODULE(
                 2, "Normalize", "a") "," MODULE(3, "Dense", "2_Dense") "," MODULE(4, "Dense",
                                                                                   "2_Dense") "]");
    assert_refused("models.Dense");
    put_file("modules.json",
             "[" MODULE(0, "Transformer", "") "," MODULE(1, "Pooling", "1_Pooling") "," MODULE(
                 2, "Pooling", "1_Pooling") "]");
    assert_refused("models.Pooling");
    put_file("modules.json", "[{\"type\":5},7,null]");
    assert_refused("modules.json");
    put_file("modules.json",
             "[" MODULE(0, "Transformer", "") "," MODULE(1, "Pooling", "1_Pooling") "]");
    put_file("1_Pooling/config.json",
             "{\"pooling_mode_mean_tokens\":true,\"include_prompt\":false}");
    assert_refused("include_prompt");
    put_pooling("mean_tokens");
    put_file("sentence_bert_config.json", "{\"max_seq_length\":8,\"do_lower_case\":true}");
    assert_refused("do_lower_case");
    put_file("tokenizer_config.json", "{\"do_lower_case\":true}");
    vector_of_folder(padded);
    assert_memory_equal(plain, padded, sizeof plain);
    put_file("sentence_bert_config.json", "{\"max_seq_length\":8,\"do_lower_case\":false}");
    put_file("modules.json", "[" MODULE(0, "Transformer", "") "]");

    /* roberta's positions stand behind two of padding's, and its names have a prefix */
    put_config("roberta", N_ROWS + 2, ",\"pad_token_id\":1");
    put_bert("roberta.", 2, 0);
    vector_of_folder(padded);
    assert_memory_equal(plain, padded, sizeof plain);
    put_config("roberta", N_ROWS + 2, ",\"pad_token_id\":0");
    assert_refused("pad_token_id");
    put_config("bert", N_ROWS, ",\"position_embedding_type\":\"relative_key\"");
    assert_refused("position_embedding_type");
}

static void directories_name_labels(void **state) {
    (void)state;
    static const int32_t ids[] = {1, 5, 2};
    sm_model *model;
    sm_error error;
    uint64_t length;
    float scores[3];
    snprintf(folder, sizeof folder, "%s", scratch_path("labels"));
    mkdir(folder, 0700);
    put_config("bert", N_ROWS, ",\"id2label\":{\"0\":\"no\",\"2\":\"yes\",\"1\":\"perhaps\"}");
    put_bert("bert.", 0, 3);
    if (sm_model_load(&model, folder, NULL, &error))
        fail_msg("%s", error.message);
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.n_threads = 1});
    sm_encoder_info info = {.struct_size = sizeof info};
    assert_int_equal(sm_encoder_get_info(e, &info, NULL), SM_OK);
    assert_int_equal(info.n_labels, 3);
    const char *label = sm_encoder_label(e, 1, &length);
    assert_int_equal(length, 7);
    assert_memory_equal(label, "perhaps", 7);
    assert_null(sm_encoder_label(e, 3, NULL));
    assert_int_equal(sm_encoder_score_ids(e, ids, NULL, 3, scores, 3, &error), SM_OK);
    assert_true(isfinite(scores[0]) && scores[0] != scores[1]);
    const int32_t types[] = {0, 1, 1}, wrong[] = {0, 2, 0};
    float typed[3];
    assert_int_equal(sm_encoder_score_ids(e, ids, types, 3, typed, 3, &error), SM_OK);
    assert_memory_not_equal(scores, typed, sizeof scores);
    assert_int_equal(sm_encoder_score_ids(e, ids, wrong, 3, typed, 3, &error), SM_ERR_ARGUMENT);
    assert_int_equal(sm_encoder_score_ids(e, NULL, NULL, 0, typed, 3, &error), SM_OK);
    assert_true(typed[0] == 0 && typed[1] == 0 && typed[2] == 0);
    sm_encoder_free(e);
    sm_model_free(model);
}

/* One label, and a vocabulary that makes 18 tokens of a character, for which there is no room
 * at first; and pairs that are too long. */
static void pairs_of_any_length(void **state) {
    (void)state;
    enum { WIDE = 200 };
    static char many[3 * WIDE + 1];
    sm_model *model;
    sm_error error;
    float scores[3];
    snprintf(folder, sizeof folder, "%s", scratch_path("pairs"));
    mkdir(folder, 0700);
    put_config("bert", N_ROWS, ",\"id2label\":{\"0\":\"relevance\"}");
    put_bert("bert.", 0, 1);
    put_file("tokenizer.json",
             "{\"normalizer\":{\"type\":\"NFKC\"},\"model\":{\"type\":\"WordLevel\","
             "\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"<\":3,\">\":4}},"
             "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\".\"},"
             "\"behavior\":\"Isolated\",\"invert\":false},"
             "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"<\",3],"
             "\"sep\":[\">\",4]}}");
    if (sm_model_load(&model, folder, NULL, &error))
        fail_msg("%s", error.message);
    sm_encoder *e = open_encoder(model, (sm_encoder_options){.n_threads = 1});
    for (size_t i = 0; i < WIDE; i++)
        memcpy(many + 3 * i, "\xef\xb7\xba", 3); /* U+FDFA */
    const sm_text documents[] = {{"b", 1}, {many, 3 * WIDE}, {"b?a?b", 5}};
    const int32_t pair[] = {3, 1, 4, 2, 4}, types[] = {0, 0, 0, 1, 1};
    float want;
    if (sm_encoder_rerank(e, "a", 1, documents, 3, scores, 3, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_encoder_score_ids(e, pair, types, 5, &want, 1, NULL), SM_OK);
    assert_memory_equal(&want, scores, sizeof want);
    const int32_t cut[] = {3, 1, 4, 0, 0, 0, 0, 4}, segments[] = {0, 0, 0, 1, 1, 1, 1, 1};
    assert_int_equal(sm_encoder_score_ids(e, cut, segments, 8, &want, 1, NULL), SM_OK);
    assert_memory_equal(&want, scores + 1, sizeof want);
    /* 5 ids and 3 markers: nothing of a document has room */
    assert_int_equal(sm_encoder_rerank(e, "ababa", 5, documents, 1, scores, 3, &error),
                     SM_ERR_CONTEXT_FULL);
    assert_non_null(strstr(error.message, "no room for documents"));
    assert_int_equal(sm_encoder_rerank(e, "abab", 4, documents, 3, scores, 3, &error), SM_OK);
    sm_encoder_free(e);
    sm_model_free(model);
}

/* From the folder of the test before to vectors and scores; the first failure ends it. */
static sm_status whole_run(const sm_allocator *allocator, sm_error *error) {
    const sm_model_options o = {.struct_size = sizeof o, .allocator = allocator};
    const sm_encoder_options eo = {.struct_size = sizeof eo,
                                   .n_threads = 1,
                                   .max_tokens = 6,
                                   .long_texts = SM_LONG_WINDOWS,
                                   .prefix = "a"};
    const sm_text some[] = {{"b", 1}, {"abababababab", 12}, {"\xef\xb7\xba", 3}};
    float vectors[3 * E], scores[3];
    sm_model *model = NULL;
    sm_encoder *e = NULL;
    sm_status status = sm_model_load(&model, folder, &o, error);
    if (!status)
        status = sm_encoder_new(&e, model, &eo, error);
    if (!status)
        status = sm_encoder_embed(e, some, 3, vectors, 3 * E, error);
    if (!status)
        status = sm_encoder_score(e, some, 1, scores, 3, error);
    if (!status)
        status = sm_encoder_rerank(e, "a", 1, some, 3, scores, 3, error);
    sm_encoder_free(e);
    sm_model_free(model);
    return status;
}

static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    fail_alloc counter = {0};
    sm_allocator allocator = fail_allocator(&counter);
    sm_error error = {0};
    if (whole_run(&allocator, &error))
        fail_msg("%s", error.message);
    assert_int_equal(counter.live_blocks, 0);
    const bool all = test_share(1, 0) == 1;
    for (uint64_t at = 1; at <= counter.calls; at += all ? 1 : 1 + at / 16) {
        fail_alloc failing = {.fail_at = at, .sticky = at % 2};
        allocator = fail_allocator(&failing);
        assert_int_equal(whole_run(&allocator, &error), SM_ERR_NOMEM);
        assert_int_equal(failing.live_blocks, 0);
    }
}

static void prompts_have_names(void **state) {
    (void)state;
    static const char text[] = "abc";
    sm_model *model;
    sm_error error;
    sm_encoder *e;
    snprintf(folder, sizeof folder, "%s", scratch_path("prompts"));
    mkdir(folder, 0700);
    put_config("bert", N_ROWS, "");
    put_bert("", 0, 0);
    put_file("tokenizer.json",
             "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,"
             "\"abc\":1,\"to\":2,\"of\":3}},\"pre_tokenizer\":{\"type\":\"Whitespace\"}}");
    put_file("config_sentence_transformers.json",
             "{\"prompts\":{\"query\":\"to \",\"document\":\"of \"},"
             "\"default_prompt_name\":\"document\"}");
    if (sm_model_load(&model, folder, NULL, &error))
        fail_msg("%s", error.message);
    const struct {
        sm_encoder_options o;
        int32_t ids[2];
        uint64_t n;
    } cases[] = {{{.prompt = "query"}, {2, 1}, 2},
                 {{.prompt = "document"}, {3, 1}, 2},
                 {{.prompt = NULL}, {3, 1}, 2},
                 {{.prompt = ""}, {1, 0}, 1},
                 {{.prefix = "to "}, {2, 1}, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float want[E], got[E];
        e = open_encoder(model, cases[i].o);
        const sm_text t = {text, 3};
        assert_int_equal(sm_encoder_embed_ids(e, cases[i].ids, cases[i].n, want, E, NULL), SM_OK);
        assert_int_equal(sm_encoder_embed(e, &t, 1, got, E, &error), SM_OK);
        assert_memory_equal(got, want, sizeof got);
        sm_encoder_free(e);
    }
    sm_encoder_options o = {.struct_size = sizeof o, .prompt = "passage"};
    assert_int_equal(sm_encoder_new(&e, model, &o, &error), SM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "passage"));
    o.prefix = "to ";
    assert_int_equal(sm_encoder_new(&e, model, &o, &error), SM_ERR_ARGUMENT);
    sm_model_free(model);
}

static void vectors_are_packed(void **state) {
    (void)state;
    const float x[2][10] = {{0.5f, -0.5f, 0, 1, -1, 0.004f, 0.0039f, 2, -3, 1e-9f},
                            {-1, -1, -1, -1, -1, -1, -1, -1, 1, -1}};
    int8_t bytes8[20];
    uint8_t bits[4];
    const int8_t want[] = {64, -64, 0, 127, -127, 1, 0, 127, -127, 0};
    const float nan = NAN;
    assert_int_equal(sm_vectors_pack(x[0], 2, 10, SM_PACKED_INT8, bytes8, 20, NULL), SM_OK);
    assert_memory_equal(bytes8, want, sizeof want);
    assert_int_equal(sm_vectors_pack(x[0], 2, 10, SM_PACKED_BINARY, bits, 4, NULL), SM_OK);
    assert_memory_equal(bits, ((uint8_t[]){0x97, 0x40, 0x00, 0x80}), 4);
    assert_int_equal(sm_vectors_pack(x[0], 2, 10, SM_PACKED_BINARY, bits, 3, NULL), SM_ERR_BUFFER);
    assert_int_equal(sm_vectors_pack(x[0], 2, 10, 3, bits, 4, NULL), SM_ERR_ARGUMENT);
    assert_int_equal(sm_vectors_pack(&nan, 1, 1, SM_PACKED_INT8, bits, 4, NULL), SM_ERR_ARGUMENT);
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
    vector[3] = 5;
    assert_int_equal(sm_encoder_embed_ids(e, NULL, 0, vector, WIDTH, &error), SM_OK);
    for (size_t i = 0; i < WIDTH; i++)
        assert_true(vector[i] == 0);
    assert_int_equal(sm_encoder_embed_ids(e, NULL, 0, NULL, WIDTH, &error), SM_ERR_ARGUMENT);
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
        cmocka_unit_test(directories_say_how_to_pool),
        cmocka_unit_test(directories_name_labels),
        cmocka_unit_test(pairs_of_any_length),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(prompts_have_names),
        cmocka_unit_test(vectors_are_packed),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("encoder", tests, NULL, NULL);
}
