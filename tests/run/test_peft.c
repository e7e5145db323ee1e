/* Adapters in PEFT's form: a model with one computes what the model does whose matrices, in Hugging
 * Face's order, have the product added; what a configuration asks for and is not computed is
 * refused by its key. */
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

#include "smallmind/smallmind.h"
#include "support.h"

#define EMBD 16
#define HEADS 4
#define HEADS_KV 2
#define FF 24
#define VOCAB 20
#define RANK 3
#define N_IDS 6

typedef struct matrix {
    char name[120];
    uint32_t rows, cols; /* cols 0: a vector */
    float *value;
} matrix;

typedef struct directory {
    char path[300];
    matrix list[48];
    size_t n;
} directory;

/* ---- directories --------------------------------------------------------------------------- */

static directory make(const char *name) {
    directory d = {0};
    snprintf(d.path, sizeof d.path, "%s", scratch_path(name));
    mkdir(d.path, 0700);
    return d;
}

static void write_text(const directory *d, const char *name, const char *text) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", d->path, name);
    scratch_write(path, text, strlen(text));
}

static void drop(directory *d) {
    static const char *const names[] = {"config.json", "model.safetensors", "adapter_config.json",
                                        "adapter_model.safetensors", "adapter_model.bin"};
    char path[400];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", d->path, names[i]);
        remove(path);
    }
    rmdir(d->path);
    for (size_t i = 0; i < d->n; i++)
        free(d->list[i].value);
}

/* Values that differ from place to place, of about `scale`; vectors near 1. */
static void add(directory *d, const char *name, uint32_t rows, uint32_t cols, float scale) {
    const uint32_t n = rows * (cols ? cols : 1);
    matrix *m = &d->list[d->n];
    *m = (matrix){.rows = rows, .cols = cols, .value = malloc(n * sizeof(float))};
    snprintf(m->name, sizeof m->name, "%s", name);
    for (uint32_t i = 0; i < n; i++)
        m->value[i] =
            (cols ? 0.0f : 1.0f) +
            scale * ((float)((i * 2654435761u + (uint32_t)d->n * 40503u) >> 8 & 1023) / 512 - 1);
    d->n++;
}

static void write_weights(const directory *d, const char *name) {
    bytes header = {0}, b = {0};
    char path[400];
    uint64_t at = 0;
    for (size_t i = 0; i < d->n; i++) {
        const matrix *m = &d->list[i];
        char text[300], shape[40];
        const uint64_t size = (uint64_t)m->rows * (m->cols ? m->cols : 1) * sizeof(float);
        snprintf(shape, sizeof shape, m->cols ? "%u,%u" : "%u", m->rows, m->cols);
        const int n = snprintf(text, sizeof text,
                               "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,"
                               "%llu]}",
                               i ? "," : "{", m->name, shape, (unsigned long long)at,
                               (unsigned long long)(at + size));
        bytes_put(&header, text, (size_t)n);
        at += size;
    }
    bytes_put(&header, "}", 1);
    while (header.size % 8)
        bytes_put(&header, " ", 1);
    bytes_u64(&b, header.size);
    bytes_put(&b, header.data, header.size);
    for (size_t i = 0; i < d->n; i++)
        bytes_put(&b, d->list[i].value,
                  d->list[i].rows * (d->list[i].cols ? d->list[i].cols : 1) * sizeof(float));
    snprintf(path, sizeof path, "%s/%s", d->path, name);
    scratch_write(path, b.data, b.size);
    bytes_free(&header);
    bytes_free(&b);
}

/* ---- models -------------------------------------------------------------------------------- */

/* A module of a layer that adapters may be of. */
typedef struct part {
    const char *name;
    uint32_t out, in;
} part;

typedef struct shape {
    const char *type, *config, *prefix;
    part parts[8];
    const char *vectors[4]; /* of a layer, EMBD each */
} shape;

static const shape llama = {"llama",
                            "",
                            "model.layers.",
                            {{"self_attn.q_proj", EMBD, EMBD},
                             {"self_attn.k_proj", EMBD / HEADS *HEADS_KV, EMBD},
                             {"self_attn.v_proj", EMBD / HEADS *HEADS_KV, EMBD},
                             {"self_attn.o_proj", EMBD, EMBD},
                             {"mlp.gate_proj", FF, EMBD},
                             {"mlp.up_proj", FF, EMBD},
                             {"mlp.down_proj", EMBD, FF}},
                            {"input_layernorm", "post_attention_layernorm"}};
static const shape phi3 = {"phi3",
                           ",\"pad_token_id\":0",
                           "model.layers.",
                           {{"self_attn.qkv_proj", EMBD + 2 * (EMBD / HEADS) * HEADS_KV, EMBD},
                            {"self_attn.o_proj", EMBD, EMBD},
                            {"mlp.gate_up_proj", 2 * FF, EMBD},
                            {"mlp.down_proj", EMBD, FF}},
                           {"input_layernorm", "post_attention_layernorm"}};

static directory make_model(const char *name, const shape *s) {
    directory d = make(name);
    char text[1000];
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"hidden_size\":%d,\"num_hidden_layers\":2,"
             "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"intermediate_size\":%d,"
             "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,\"vocab_size\":%d,"
             "\"tie_word_embeddings\":false,\"hidden_act\":\"silu\"%s}",
             s->type, EMBD, HEADS, HEADS_KV, FF, VOCAB, s->config);
    write_text(&d, "config.json", text);
    add(&d, "model.embed_tokens.weight", VOCAB, EMBD, 1);
    add(&d, "model.norm.weight", EMBD, 0, 0.2f);
    add(&d, "lm_head.weight", VOCAB, EMBD, 0.3f);
    for (unsigned layer = 0; layer < 2; layer++) {
        for (size_t i = 0; s->vectors[i]; i++) {
            snprintf(text, sizeof text, "%s%u.%s.weight", s->prefix, layer, s->vectors[i]);
            add(&d, text, EMBD, 0, 0.2f);
        }
        for (const part *m = s->parts; m->name; m++) {
            snprintf(text, sizeof text, "%s%u.%s.weight", s->prefix, layer, m->name);
            add(&d, text, m->out, m->in, 0.4f);
        }
    }
    write_weights(&d, "model.safetensors");
    return d;
}

static matrix *find(directory *d, const char *name) {
    for (size_t i = 0; i < d->n; i++)
        if (!strcmp(d->list[i].name, name))
            return &d->list[i];
    fail_msg("no %s", name);
    return NULL;
}

/* Both halves for "LAYERS.0.self_attn.q_proj", and the model's weight with the product added. */
static void adapt(directory *a, directory *model, const char *module, uint32_t rank, double scale) {
    char name[200];
    snprintf(name, sizeof name, "%s.weight", module);
    matrix *w = find(model, name);
    snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight", module);
    add(a, name, rank, w->cols, 0.5f);
    snprintf(name, sizeof name, "base_model.model.%s.lora_B.weight", module);
    add(a, name, w->rows, rank, 0.5f);
    const float *A = a->list[a->n - 2].value, *B = a->list[a->n - 1].value;
    for (uint32_t r = 0; r < w->rows; r++)
        for (uint32_t c = 0; c < w->cols; c++)
            for (uint32_t i = 0; i < rank; i++)
                w->value[r * w->cols + c] +=
                    (float)(scale * (double)B[r * rank + i] * (double)A[i * w->cols + c]);
}

static void write_adapter(const directory *a, const char *more) {
    char text[1000];
    snprintf(text, sizeof text,
             "{\"peft_type\":\"LORA\",\"r\":%d,\"lora_alpha\":6,\"bias\":\"none\","
             "\"target_modules\":[\"q_proj\"],\"inference_mode\":true,\"use_dora\":false%s}",
             RANK, more);
    write_text(a, "adapter_config.json", text);
    write_weights(a, "adapter_model.safetensors");
}

static void logits_of(const char *path, const char *adapter, float *logits) {
    sm_model *model;
    sm_session *s;
    sm_adapter *a = NULL;
    sm_error error = {0};
    int32_t ids[N_IDS];
    const sm_model_options o = {.struct_size = sizeof o, .activations = SM_ACTIVATIONS_FLOAT};
    const sm_session_options so = {.struct_size = sizeof so, .kv_type = SM_KV_TYPE_F32};
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = i * 7 % VOCAB;
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_new(&s, model, &so, NULL), SM_OK);
    if (adapter && sm_adapter_load(&a, model, adapter, NULL, &error))
        fail_msg("%s", error.message);
    if (a)
        assert_int_equal(sm_session_attach(s, a, 1, NULL), SM_OK);
    assert_int_equal(sm_session_feed_logits(s, ids, N_IDS, logits, UINT64_MAX, NULL), SM_OK);
    sm_adapter_free(a);
    sm_session_free(s);
    sm_model_free(model);
}

/* The model in `with` beside its adapter computes what the one in `merged` does alone. */
static void assert_same(const char *with, const char *adapter, const char *merged) {
    float one[N_IDS * VOCAB], two[N_IDS * VOCAB], without[N_IDS * VOCAB];
    double off = 0, moved = 0;
    logits_of(with, adapter, one);
    logits_of(merged, NULL, two);
    logits_of(with, NULL, without);
    for (size_t i = 0; i < N_IDS * VOCAB; i++) {
        off = fmax(off, fabs((double)one[i] - (double)two[i]));
        moved = fmax(moved, fabs((double)without[i] - (double)two[i]));
    }
    assert_true(moved > 0.05);
    if (off > 2e-5)
        fail_msg("differs by %g", off);
}

/* ---- what is computed ---------------------------------------------------------------------- */

/* All modules of both layers adapted, in a directory and in a GGUF file of the model. */
static void check_shape(const shape *s) {
    directory model = make_model("peft-model", s), merged = make_model("peft-merged", s);
    directory a = make("peft-adapter");
    char module[120], gguf[300];
    for (unsigned layer = 0; layer < 2; layer++)
        for (const part *m = s->parts; m->name; m++) {
            snprintf(module, sizeof module, "%s%u.%s", s->prefix, layer, m->name);
            adapt(&a, &merged, module, RANK, 6.0 / RANK);
        }
    adapt(&a, &merged, "lm_head", RANK, 6.0 / RANK);
    write_weights(&merged, "model.safetensors");
    write_adapter(&a, "");
    assert_same(model.path, a.path, merged.path);
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "F32"};
    snprintf(gguf, sizeof gguf, "%s", scratch_path("peft-model.gguf"));
    assert_int_equal(sm_model_quantize(gguf, model.path, &o, NULL, NULL), SM_OK);
    assert_same(gguf, a.path, merged.path);
    char both[300];
    snprintf(both, sizeof both, "%s", scratch_path("peft-both.gguf"));
    assert_int_equal(sm_adapter_merge(both, gguf, a.path, 1, NULL, NULL), SM_OK);
    float one[N_IDS * VOCAB], two[N_IDS * VOCAB];
    logits_of(both, NULL, one);
    logits_of(merged.path, NULL, two);
    for (size_t i = 0; i < N_IDS * VOCAB; i++)
        assert_true(fabs((double)one[i] - (double)two[i]) < 2e-5);
    drop(&model);
    drop(&merged);
    drop(&a);
}

/* Written again it computes the same bits, and an adapter without alpha counts once. */
static void check_export(const shape *s, const char *more, uint32_t second_rank) {
    directory model = make_model("peft-model", s), a = make("peft-adapter");
    directory out = make("peft-out");
    char module[120];
    sm_error error = {0};
    for (unsigned layer = 0; layer < 2; layer++)
        for (const part *m = s->parts; m->name; m++) {
            snprintf(module, sizeof module, "%s%u.%s", s->prefix, layer, m->name);
            adapt(&a, &model, module, layer ? second_rank : RANK, 1);
        }
    adapt(&a, &model, "lm_head", RANK, 1);
    write_adapter(&a, more);
    rmdir(out.path);
    for (int i = 0; i < 2; i++) /* into a new directory, then over what is there */
        if (sm_adapter_export(out.path, model.path, a.path, NULL, &error))
            fail_msg("%s", error.message);
    float one[N_IDS * VOCAB], two[N_IDS * VOCAB];
    logits_of(model.path, a.path, one);
    logits_of(model.path, out.path, two);
    assert_memory_equal(one, two, sizeof one);
    drop(&model);
    drop(&a);
    drop(&out);
}

static void written_again(void **state) {
    (void)state;
    check_export(&llama, "", RANK);
    check_export(&llama, "", 5);
    check_export(&phi3, "", 2);
}

/* An adapter of llama.cpp's without alpha: every pair counts once, whatever its rank. */
static void write_gguf(const char *path) {
    static const struct {
        const char *name;
        uint64_t cols, rows;
    } tensors[] = {{"blk.0.attn_q.weight.lora_a", EMBD, 2},
                   {"blk.0.attn_q.weight.lora_b", 2, EMBD},
                   {"blk.1.ffn_down.weight.lora_a", FF, 3},
                   {"blk.1.ffn_down.weight.lora_b", 3, EMBD}};
    static const char *const keys[][2] = {
        {"general.type", "adapter"}, {"general.architecture", "llama"}, {"adapter.type", "lora"}};
    bytes b = {0};
    uint64_t at = 0;
    bytes_put(&b, "GGUF", 4);
    bytes_u32(&b, 3);
    bytes_u64(&b, 4);
    bytes_u64(&b, 3);
    for (size_t i = 0; i < 3; i++) {
        bytes_str(&b, keys[i][0]);
        bytes_u32(&b, 8); /* a string */
        bytes_str(&b, keys[i][1]);
    }
    for (size_t i = 0; i < 4; i++) {
        bytes_str(&b, tensors[i].name);
        bytes_u32(&b, 2);
        bytes_u64(&b, tensors[i].cols);
        bytes_u64(&b, tensors[i].rows);
        bytes_u32(&b, 0); /* f32 */
        bytes_u64(&b, at);
        at += tensors[i].cols * tensors[i].rows * sizeof(float);
        at += (32 - at % 32) % 32;
    }
    for (size_t i = 0; i < 4; i++) {
        bytes_pad(&b, 32);
        for (uint64_t k = 0; k < tensors[i].cols * tensors[i].rows; k++) {
            const float value = (float)(k * 37 % 64) / 64 - 0.5f;
            bytes_put(&b, &value, sizeof value);
        }
    }
    bytes_pad(&b, 32);
    scratch_write(path, b.data, b.size);
    bytes_free(&b);
}

static void written_from_gguf(void **state) {
    (void)state;
    directory model = make_model("peft-model", &llama), out = make("peft-out");
    char gguf[300];
    sm_error error = {0};
    float one[N_IDS * VOCAB], two[N_IDS * VOCAB];
    snprintf(gguf, sizeof gguf, "%s", scratch_path("peft-adapter.gguf"));
    write_gguf(gguf);
    if (sm_adapter_export(out.path, model.path, gguf, NULL, &error))
        fail_msg("%s", error.message);
    logits_of(model.path, gguf, one);
    logits_of(model.path, out.path, two);
    for (size_t k = 0; k < N_IDS * VOCAB; k++) /* alphas of their own round */
        assert_true(fabs((double)one[k] - (double)two[k]) < 1e-5);
    /* a file where the directory would be */
    assert_int_equal(sm_adapter_export(gguf, model.path, out.path, NULL, &error), SM_ERR_IO);
    assert_non_null(strstr(error.message, gguf));
    assert_int_equal(sm_adapter_export(NULL, model.path, gguf, NULL, &error), SM_ERR_ARGUMENT);
    drop(&model);
    drop(&out);
}

static void heads_in_halves(void **state) {
    (void)state;
    check_shape(&llama);
}

static void joined_matrices(void **state) {
    (void)state;
    check_shape(&phi3);
}

/* rsLoRA; ranks and alphas of their own; the base's copy of an adapted head. */
static void how_often_a_pair_counts(void **state) {
    (void)state;
    directory model = make_model("peft-model", &llama), merged = make_model("peft-merged", &llama);
    directory a = make("peft-adapter");
    adapt(&a, &merged, "model.layers.0.self_attn.q_proj", RANK, 6 / sqrt(RANK));
    adapt(&a, &merged, "model.layers.1.self_attn.q_proj", 5, 6 / sqrt(5));
    adapt(&a, &merged, "model.layers.1.self_attn.k_proj", RANK, 2 / sqrt(RANK));
    adapt(&a, &merged, "model.layers.0.self_attn.k_proj", 2, -3 / sqrt(2));
    adapt(&a, &merged, "lm_head", RANK, 6 / sqrt(RANK));
    add(&a, "base_model.model.lm_head.base_layer.weight", VOCAB, EMBD, 0.3f);
    write_weights(&merged, "model.safetensors");
    write_adapter(&a,
                  ",\"use_rslora\":true,\"rank_pattern\":{\"model.layers.1.self_attn.q_proj\":5}"
                  ",\"alpha_pattern\":{\"layers.0.self_attn.k_proj\":-3,\"k_proj\":2,"
                  "\"elf_attn.q_proj\":9}");
    assert_same(model.path, a.path, merged.path);
    drop(&model);
    drop(&merged);
    drop(&a);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void assert_refused(const directory *model, const directory *a, sm_status status,
                           const char *says) {
    sm_model *m;
    sm_adapter *adapter = NULL;
    sm_error error = {0};
    assert_int_equal(sm_model_load(&m, model->path, NULL, NULL), SM_OK);
    const sm_status got = sm_adapter_load(&adapter, m, a->path, NULL, &error);
    if (got != status || !strstr(error.message, says))
        fail_msg("%d '%s', not %d with '%s'", got, error.message, status, says);
    assert_null(adapter);
    sm_model_free(m);
}

static void configurations_are_refused_by_key(void **state) {
    (void)state;
    static const struct {
        const char *config, *says;
        sm_status status;
    } cases[] = {
        {"{\"r\":3}", "'peft_type' is missing", SM_ERR_MISSING},
        {"[]", "no JSON object", SM_ERR_FORMAT},
        {"{\"peft_type\":\"IA3\"}", "'peft_type' is 'IA3'", SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"use_dora\":true}", "'use_dora'", SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"bias\":\"all\"}", "'bias'", SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"modules_to_save\":[\"lm_head\"]}", "'modules_to_save'",
         SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"alora_invocation_tokens\":[1]}", "'alora_invocation_tokens'",
         SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"init_lora_weights\":\"pissa\"}", "'init_lora_weights'",
         SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"new_kind\":3}", "'new_kind'", SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"r\":0}", "'r'", SM_ERR_FORMAT},
        {"{\"peft_type\":\"LORA\",\"r\":-1}", "'r'", SM_ERR_FORMAT},
        {"{\"peft_type\":\"LORA\",\"lora_alpha\":0}", "'lora_alpha'", SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"lora_alpha\":\"8\"}", "'lora_alpha'", SM_ERR_FORMAT},
        {"{\"peft_type\":\"LORA\",\"r\":3,\"r\":4}", "'r' appears more than once", SM_ERR_FORMAT},
        {"{\"peft_type\":\"LORA\",\"alpha_pattern\":{\"^q_proj\":4}}", "'alpha_pattern'",
         SM_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"LORA\",\"alpha_pattern\":{\"q_proj\":\"4\"}}", "'alpha_pattern'",
         SM_ERR_FORMAT},
    };
    directory model = make_model("peft-model", &llama), a = make("peft-adapter");
    adapt(&a, &model, "model.layers.0.self_attn.q_proj", RANK, 1);
    write_weights(&a, "adapter_model.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(&a, "adapter_config.json", cases[i].config);
        assert_refused(&model, &a, cases[i].status, cases[i].says);
    }
    drop(&model);
    drop(&a);
}

static void tensors_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t rows, cols;
        const char *says;
        sm_status status;
    } cases[] = {
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", EMBD, 0,
         "lora_magnitude_vector' has no place", SM_ERR_UNSUPPORTED},
        {"base_model.model.model.embed_tokens.lora_embedding_A", RANK, VOCAB,
         "lora_embedding_A' has no place", SM_ERR_UNSUPPORTED},
        {"base_model.model.lm_head.weight", VOCAB, EMBD, "lm_head.weight' has no place",
         SM_ERR_UNSUPPORTED},
        {"base_model.model.lm_head.base_layer.weight", VOCAB + 1, EMBD, "has no place",
         SM_ERR_UNSUPPORTED},
        {"base_model.model.model.layers.2.self_attn.k_proj.lora_A.weight", RANK, EMBD,
         "layer that the model does not have", SM_ERR_FORMAT},
        {"base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight", RANK, EMBD,
         "blk.1.attn_k.weight.lora_b' is missing", SM_ERR_MISSING},
        {"base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight", 7, RANK,
         "heads or halves do not divide", SM_ERR_SHAPE},
        {"base_model.model.model.layers.1.input_layernorm.lora_A.weight", RANK, EMBD,
         "blk.1.attn_norm.weight", SM_ERR_UNSUPPORTED},
        {"base_model.model.model.vision_tower.q_proj.lora_A.weight", RANK, EMBD, "reads no text",
         SM_ERR_UNSUPPORTED},
    };
    directory model = make_model("peft-model", &llama);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        directory a = make("peft-adapter");
        adapt(&a, &model, "model.layers.0.self_attn.q_proj", RANK, 1);
        add(&a, cases[i].name, cases[i].rows, cases[i].cols, 1);
        write_adapter(&a, "");
        assert_refused(&model, &a, cases[i].status, cases[i].says);
        drop(&a);
    }
    drop(&model);
}

static void files_are_refused(void **state) {
    (void)state;
    directory model = make_model("peft-model", &llama), a = make("peft-adapter");
    sm_model *m;
    sm_error error = {0};
    write_text(&a, "adapter_config.json", "{\"peft_type\":\"LORA\"}");
    assert_refused(&model, &a, SM_ERR_IO, "adapter_model.safetensors");
    write_text(&a, "adapter_model.bin", "PK");
    assert_refused(&model, &a, SM_ERR_UNSUPPORTED, "pickle");
    write_text(&a, "adapter_model.safetensors", "no such file");
    assert_refused(&model, &a, SM_ERR_FORMAT, "adapter_model.safetensors");
    assert_int_not_equal(sm_model_load(&m, a.path, NULL, &error), SM_OK);
    assert_non_null(strstr(error.message, "PEFT adapter"));
    drop(&model);
    drop(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_in_halves),
        cmocka_unit_test(joined_matrices),
        cmocka_unit_test(written_again),
        cmocka_unit_test(written_from_gguf),
        cmocka_unit_test(how_often_a_pair_counts),
        cmocka_unit_test(configurations_are_refused_by_key),
        cmocka_unit_test(tensors_are_refused_by_name),
        cmocka_unit_test(files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
