/* Hugging Face directories: a model opens from one as from the GGUF file that is made of it, whole
 * or in parts; what its configuration asks for and nobody computes is refused by its key. */
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

#define EMBD 32
#define HEADS 4
#define HEADS_KV 2
#define FF 48
#define VOCAB 40
#define LAYERS 2
#define EXPERTS 3

/* ---- directories --------------------------------------------------------------------- */

typedef struct tensor {
    char name[110];
    const char *type;
    uint32_t rows, cols; /* cols 0: a vector */
    enum kind {
        NUMBERS,
        BLOCKS,      /* F32: the products of 8 bits and the scales of blocks */
        SCALES,      /* F32: those scales, of a matrix of 16 times as many rows and columns */
        GPTQ,        /* I32: codes of 4 bits, eight of a column in a word */
        GPTQ_ZEROS,  /* I32: 7 everywhere, which lacks one */
        GPTQ_SCALES, /* F16: of 32 columns and a row */
        GPTQ_VALUES, /* F32: the products */
        NIBBLES,     /* U8: two codes of 4 bits, of bitsandbytes; then what stands beside them */
        NIBBLES_MAP,
        NIBBLES_MAX, /* U8, or F32 where there is nothing outer */
        NIBBLES_OUTER,
        NIBBLES_OUTER_MAP,
        NIBBLES_STATE,
        NIBBLES_VALUES,      /* F32: the products */
        NIBBLES_VALUES_INNER /* of those without anything outer */
    } what;
} tensor;

typedef struct directory {
    char path[300];
    tensor tensors[64];
    size_t n;
} directory;

static directory make(const char *name) {
    directory d = {0};
    snprintf(d.path, sizeof d.path, "%s", scratch_path(name));
    mkdir(d.path, 0700);
    return d;
}

static const char *file_in(const directory *d, const char *name) {
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", d->path, name);
    return path;
}

static void write_text(const directory *d, const char *name, const char *text) {
    scratch_write(file_in(d, name), text, strlen(text));
}

/* scratch_path's directory is removed file by file. */
static void clear(const directory *d, const char *name) {
    remove(file_in(d, name));
}

static void drop(directory *d) {
    static const char *const names[] = {"config.json",         "model.safetensors",
                                        "a.safetensors",       "b.safetensors",
                                        "pytorch_model.bin",   "model.safetensors.index.json",
                                        "chat_template.jinja", "tokenizer_config.json",
                                        "tokenizer.json",      "generation_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        clear(d, names[i]);
    rmdir(d->path);
}

static void add(directory *d, const char *type, uint32_t rows, uint32_t cols, const char *name) {
    tensor *t = &d->tensors[d->n++];
    *t = (tensor){.type = type, .rows = rows, .cols = cols};
    snprintf(t->name, sizeof t->name, "%s", name);
}

static void add_layer(directory *d, const char *type, uint32_t layer, uint32_t n_experts) {
    static const struct {
        const char *name;
        uint32_t rows, cols;
    } parts[] = {{"input_layernorm", EMBD, 0},
                 {"post_attention_layernorm", EMBD, 0},
                 {"self_attn.q_proj", EMBD, EMBD},
                 {"self_attn.k_proj", EMBD / HEADS * HEADS_KV, EMBD},
                 {"self_attn.v_proj", EMBD / HEADS * HEADS_KV, EMBD},
                 {"self_attn.o_proj", EMBD, EMBD},
                 {"mlp.gate_proj", FF, EMBD},
                 {"mlp.up_proj", FF, EMBD},
                 {"mlp.down_proj", EMBD, FF}};
    static const char *const experts[] = {"w1", "w3", "w2"};
    char name[96];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const bool mlp = !strncmp(parts[i].name, "mlp.", 4);
        for (uint32_t e = 0; e < (mlp && n_experts ? n_experts : 1); e++) {
            if (mlp && n_experts)
                snprintf(name, sizeof name, "model.layers.%u.block_sparse_moe.experts.%u.%s.weight",
                         layer, e, experts[i - 6]);
            else
                snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, parts[i].name);
            add(d, parts[i].cols ? type : "F32", parts[i].rows, parts[i].cols, name);
        }
    }
    snprintf(name, sizeof name, "model.layers.%u.block_sparse_moe.gate.weight", layer);
    if (n_experts)
        add(d, "F32", n_experts, EMBD, name);
}

static void add_model(directory *d, const char *type, uint32_t n_experts) {
    add(d, type, VOCAB, EMBD, "model.embed_tokens.weight");
    add(d, "F32", EMBD, 0, "model.norm.weight");
    add(d, type, VOCAB, EMBD, "lm_head.weight");
    for (uint32_t i = 0; i < LAYERS; i++)
        add_layer(d, type, i, n_experts);
}

static uint32_t width(const char *type) {
    return !strcmp(type, "F32") || !strcmp(type, "I32")      ? 4
           : !strcmp(type, "F8_E4M3") || !strcmp(type, "U8") ? 1
                                                             : 2;
}

/* Of OCP's E4M3, that is no NaN. */
static float e4m3(uint8_t byte) {
    const int exponent = byte >> 3 & 15, fraction = byte & 7;
    const float value =
        exponent ? ldexpf((float)(8 + fraction), exponent - 10) : ldexpf((float)fraction, -9);
    return byte & 0x80 ? -value : value;
}

/* What blocks of 16 × 16 of "F8_E4M3 in blocks" are multiplied by. */
static float block_scale(uint32_t row, uint32_t col) {
    return 0.3f + 0.07f * (float)(row / 16) + 0.013f * (float)(col / 16);
}

static uint32_t gptq_code(uint32_t row, uint32_t col) {
    return (row * 7 + col * 5 + row * col) % 16;
}

/* As f16: 2^-4 or 2^-5. */
static uint16_t gptq_scale(uint32_t row, uint32_t group) {
    return (row + group) % 3 ? 0x2c00 : 0x2800;
}

static void put_gptq(bytes *b, const tensor *t, uint32_t row, uint32_t col) {
    uint32_t bits = 0x77777777;
    for (uint32_t i = 0; i < 8 && t->what == GPTQ; i++)
        bits = bits >> 4 | gptq_code(col, row * 8 + i) << 28;
    const uint16_t scale = gptq_scale(col, row);
    const float value = ((float)gptq_code(row, col) - 8) *
                        (gptq_scale(row, col / 32) == 0x2c00 ? 0x1p-4f : 0x1p-5f);
    if (t->what == GPTQ_SCALES) {
        bytes_put(b, &scale, 2);
        return;
    }
    if (t->what == GPTQ_VALUES)
        memcpy(&bits, &value, 4);
    bytes_u32(b, bits);
}

/* ---- bitsandbytes: blocks of 64, four of which share an outer scale ---- */

static uint8_t nibble(uint32_t i) {
    return (uint8_t)((i * 7 + i / 5) % 16);
}

static float nibble_value(uint32_t code) {
    return ((float)code - 7.5f) / 16;
}

static float nibbles_scale(uint32_t block, bool outer) {
    if (!outer)
        return 0.25f + (float)(block % 7) / 16;
    const float inner = (float)(block * 37 % 256) / 512;
    return inner * (0.5f + 0.125f * (float)(block / 4)) + 0.25f;
}

static size_t nibbles_state(const char *name, char *text, size_t capacity) {
    return (size_t)snprintf(text, capacity,
                            "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"bfloat16\", "
                            "\"shape\": [%d, %d], \"nested_blocksize\": 4, \"nested_dtype\": "
                            "\"float32\", \"nested_offset\": 0.25}",
                            EMBD, strstr(name, "q_proj") ? EMBD : FF);
}

static void put_nibbles(bytes *b, const tensor *t, uint32_t i) {
    char text[300];
    float value = 0;
    uint8_t byte = 0;
    if (t->what == NIBBLES)
        byte = (uint8_t)(nibble(2 * i) << 4 | nibble(2 * i + 1));
    else if (t->what == NIBBLES_MAP)
        value = nibble_value(i);
    else if (t->what == NIBBLES_MAX && !strcmp(t->type, "U8"))
        byte = (uint8_t)(i * 37 % 256);
    else if (t->what == NIBBLES_MAX)
        value = nibbles_scale(i, false);
    else if (t->what == NIBBLES_OUTER)
        value = 0.5f + 0.125f * (float)i;
    else if (t->what == NIBBLES_OUTER_MAP)
        value = (float)i / 512;
    else if (t->what == NIBBLES_STATE && i < nibbles_state(t->name, text, sizeof text))
        byte = (uint8_t)text[i];
    else
        value = nibble_value(nibble(i)) * nibbles_scale(i / 64, t->what == NIBBLES_VALUES);
    bytes_put(b, width(t->type) == 1 ? (const void *)&byte : &value, width(t->type));
}

/* A number of the tensor's, by its name; of 8 bits none that is not finite. */
static void put_value(bytes *b, const tensor *t, uint32_t i) {
    uint64_t seed = i * 977u + t->rows;
    for (const char *c = t->name; *c; c++)
        seed = seed * 31 + (unsigned char)*c;
    const float value = (float)((double)(test_random(&seed) >> 11) * 0x1p-53 - 0.5) / 4 + !t->cols;
    uint32_t bits;
    const uint8_t byte = (uint8_t)(test_random(&seed) % 0x60 | (seed & 0x80));
    const float product = t->cols ? e4m3(byte) * block_scale(i / t->cols, i % t->cols) : value;
    memcpy(&bits, t->what == BLOCKS ? &product : &value, 4);
    if (t->what >= NIBBLES) {
        put_nibbles(b, t, i);
        return;
    }
    if (t->what >= GPTQ) {
        put_gptq(b, t, i / t->cols, i % t->cols);
        return;
    }
    if (t->what == SCALES) {
        const float scale = block_scale(i / t->cols * 16, i % t->cols * 16);
        memcpy(&bits, &scale, 4);
    }
    if (width(t->type) == 4)
        bytes_u32(b, bits);
    else if (width(t->type) == 2) /* bf16 */
        bytes_put(b, (const uint8_t *)&bits + 2, 2);
    else
        bytes_put(b, &byte, 1);
}

/* Tensors [from, to), with `gap` spaces behind the header. */
static void write_weights(const directory *d, const char *name, size_t from, size_t to,
                          unsigned gap) {
    bytes header = {0}, b = {0};
    uint64_t at = 0;
    for (size_t i = from; i < to; i++) {
        const tensor *t = &d->tensors[i];
        char text[300], shape[40];
        const uint64_t size = (uint64_t)t->rows * (t->cols ? t->cols : 1) * width(t->type);
        snprintf(shape, sizeof shape, t->cols ? "%u,%u" : "%u", t->rows, t->cols);
        const int n = snprintf(text, sizeof text,
                               "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,"
                               "%llu]}",
                               i > from ? "," : "{", t->name, t->type, shape,
                               (unsigned long long)at, (unsigned long long)(at + size));
        bytes_put(&header, text, (size_t)n);
        at += size;
    }
    bytes_put(&header, "}", 1);
    while ((header.size + 8) % 8 || gap--)
        bytes_put(&header, " ", 1);
    bytes_u64(&b, header.size);
    bytes_put(&b, header.data, header.size);
    for (size_t i = from; i < to; i++)
        for (uint32_t k = 0; k < d->tensors[i].rows * (d->tensors[i].cols ? d->tensors[i].cols : 1);
             k++)
            put_value(&b, &d->tensors[i], k);
    scratch_write(file_in(d, name), b.data, b.size);
    bytes_free(&header);
    bytes_free(&b);
}

static void write_config(const directory *d, const char *type, const char *more) {
    char text[2000];
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"hidden_size\":%d,\"num_hidden_layers\":%d,"
             "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"intermediate_size\":%d,"
             "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,\"vocab_size\":%d,"
             "\"hidden_act\":\"silu\",\"torch_dtype\":\"float32\"%s%s}",
             type, EMBD, LAYERS, HEADS, HEADS_KV, FF, VOCAB, more[0] ? "," : "", more);
    write_text(d, "config.json", text);
}

/* ---- what is computed ----------------------------------------------------------------- */

#define N_IDS 12

static void logits_of(const char *path, float *logits) {
    sm_model *model;
    sm_session *s;
    sm_error error = {0};
    int32_t ids[N_IDS];
    const sm_model_options o = {.struct_size = sizeof o, .activations = SM_ACTIVATIONS_FLOAT};
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = i * 7 % VOCAB;
    if (sm_model_load(&model, path, &o, &error))
        fail_msg("%s", error.message);
    assert_int_equal(sm_session_new(&s, model, NULL, NULL), SM_OK);
    assert_int_equal(sm_session_feed_logits(s, ids, N_IDS, logits, UINT64_MAX, NULL), SM_OK);
    sm_session_free(s);
    sm_model_free(model);
}

static void assert_same(const char *a, const char *b) {
    static float one[N_IDS * VOCAB], two[N_IDS * VOCAB];
    logits_of(a, one);
    logits_of(b, two);
    assert_memory_equal(one, two, sizeof one);
}

static sm_status load(const directory *d, sm_error *error) {
    sm_model *model = NULL;
    const sm_status status = sm_model_load(&model, d->path, NULL, error);
    sm_model_free(model);
    return status;
}

/* The directory beside the GGUF file that is made of it, and beside itself in parts whose data
 * begin at an odd place. */
static void check_model(directory *d) {
    char gguf[300];
    sm_error error = {0};
    directory parts = make("in-parts");
    snprintf(gguf, sizeof gguf, "%s", scratch_path("of-directory.gguf"));
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "F32"};
    if (sm_model_quantize(gguf, d->path, &o, NULL, &error))
        fail_msg("%s", error.message);
    assert_same(d->path, gguf);
    memcpy(parts.tensors, d->tensors, sizeof d->tensors);
    size_t size;
    char *config = (char *)scratch_read(file_in(d, "config.json"), &size);
    write_text(&parts, "config.json", config);
    free(config);
    write_weights(&parts, "a.safetensors", 0, 3, 1);
    write_weights(&parts, "b.safetensors", 3, d->n, 3);
    bytes index = {0};
    for (size_t i = 0; i < d->n; i++) {
        char text[200];
        const int n = snprintf(text, sizeof text, "%s\"%s\":\"%s.safetensors\"",
                               i ? "," : "{\"metadata\":{},\"weight_map\":{", d->tensors[i].name,
                               i < 3 ? "a" : "b");
        bytes_put(&index, text, (size_t)n);
    }
    bytes_put(&index, "}}", 3);
    write_text(&parts, "model.safetensors.index.json", (const char *)index.data);
    bytes_free(&index);
    assert_same(d->path, parts.path);
    drop(&parts);
}

static void a_model_opens_as_its_file_does(void **state) {
    (void)state;
    directory d = make("llama");
    add_model(&d, "F32", 0);
    write_config(&d, "llama", "");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    check_model(&d);
    drop(&d);
}

static void experts_are_stacked_where_they_lie(void **state) {
    (void)state;
    directory d = make("mixtral");
    add_model(&d, "BF16", EXPERTS);
    write_config(&d, "mixtral", "\"num_local_experts\":3,\"num_experts_per_tok\":2");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    check_model(&d);
    drop(&d);
}

/* Eight bits without a scale are BF16's numbers. */
static void eight_bits(void **state) {
    (void)state;
    directory d = make("fp8");
    add_model(&d, "F8_E4M3", 0);
    write_config(&d, "llama", "\"quantization_config\":{\"quant_method\":\"fp8\"}");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    check_model(&d);
    drop(&d);
}

/* Scales of blocks, at the edges smaller ones, beside the same numbers as f32. */
static void eight_bits_in_blocks(void **state) {
    (void)state;
    directory d = make("blocks"), plain = make("plain");
    add_model(&d, "F32", 0);
    memcpy(plain.tensors, d.tensors, sizeof d.tensors);
    plain.n = d.n;
    for (size_t i = 0; i < plain.n; i++) {
        tensor *t = &d.tensors[i];
        if (!strstr(t->name, "_proj.weight"))
            continue;
        t->type = "F8_E4M3";
        plain.tensors[i].what = BLOCKS;
        char name[110];
        snprintf(name, sizeof name, "%s_scale_inv", t->name);
        add(&d, "F32", (t->rows + 15) / 16, (t->cols + 15) / 16, name);
        d.tensors[d.n - 1].what = SCALES;
    }
    write_config(&plain, "llama", "");
    write_weights(&plain, "model.safetensors", 0, plain.n, 0);
    write_config(
        &d, "llama",
        "\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[16,16]}");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    assert_same(d.path, plain.path);
    sm_error error = {0};
    write_config(&d, "llama",
                 "\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[16,8]}");
    assert_int_equal(load(&d, &error), SM_ERR_SHAPE);
    assert_non_null(strstr(error.message, "weight_block_size"));
    drop(&d);
    drop(&plain);
}

/* GPTQ's codes with zero in the middle beside the same numbers as f32: blocks of 4 bits where the
 * columns are whole ones, else f32. */
static void packed_weights(void **state) {
    (void)state;
    directory d = make("gptq"), plain = make("gptq-plain");
    char name[110];
    add_model(&d, "F32", 0);
    memcpy(plain.tensors, d.tensors, sizeof d.tensors);
    plain.n = d.n;
    for (size_t i = 0; i < plain.n; i++) {
        tensor *t = &d.tensors[i];
        const uint32_t rows = t->rows, cols = t->cols, n_groups = (cols + 31) / 32;
        if (!strstr(t->name, "_proj.weight"))
            continue;
        plain.tensors[i].what = GPTQ_VALUES;
        *t = (tensor){.type = "I32", .rows = cols / 8, .cols = rows, .what = GPTQ};
        snprintf(t->name, sizeof t->name, "%.*s_proj.qweight",
                 (int)(strstr(plain.tensors[i].name, "_proj") - plain.tensors[i].name),
                 plain.tensors[i].name);
        const int stem = (int)(strlen(t->name) - strlen("qweight"));
        snprintf(name, sizeof name, "%.*sqzeros", stem, t->name);
        add(&d, "I32", n_groups, rows / 8, name);
        d.tensors[d.n - 1].what = GPTQ_ZEROS;
        snprintf(name, sizeof name, "%.*sscales", stem, d.tensors[i].name);
        add(&d, "F16", n_groups, rows, name);
        d.tensors[d.n - 1].what = GPTQ_SCALES;
    }
    write_config(&plain, "llama", "");
    write_weights(&plain, "model.safetensors", 0, plain.n, 0);
    write_config(
        &d, "llama",
        "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32}");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    assert_same(d.path, plain.path);
    sm_error error = {0};
    write_config(
        &d, "llama",
        "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16}");
    assert_int_equal(load(&d, &error), SM_ERR_SHAPE);
    write_config(&d, "llama", "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":5}");
    assert_int_equal(load(&d, &error), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "'bits'"));
    write_config(&d, "llama", "");
    assert_int_equal(load(&d, &error), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "quantization_config"));
    drop(&d);
    drop(&plain);
}

static void add_beside(directory *d, size_t owner, const char *type, uint32_t n, enum kind what,
                       const char *suffix) {
    char name[110];
    snprintf(name, sizeof name, "%.70s%.38s", d->tensors[owner].name, suffix);
    add(d, type, n, 0, name);
    d->tensors[d->n - 1].what = what;
}

/* Codes of bitsandbytes, with scales in bytes and without, beside the same numbers as f32. */
static void codes_of_sixteen_values(void **state) {
    (void)state;
    static const char config[] =
        "\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true,"
        "\"bnb_4bit_quant_type\":\"nf4\"}";
    for (int outer = 0; outer < 2; outer++) {
        char text[300];
        directory d = make("nibbles"), plain = make("nibbles-plain");
        add_model(&d, "F32", 0);
        memcpy(plain.tensors, d.tensors, sizeof d.tensors);
        plain.n = d.n;
        for (size_t i = 0; i < plain.n; i++) {
            const tensor *t = &plain.tensors[i];
            const uint32_t n = t->rows * t->cols, blocks = n / 64;
            if (!strstr(t->name, "q_proj.weight") && !strstr(t->name, "down_proj.weight"))
                continue;
            plain.tensors[i].what = outer ? NIBBLES_VALUES : NIBBLES_VALUES_INNER;
            d.tensors[i].type = "U8";
            d.tensors[i].rows = n / 2;
            d.tensors[i].cols = 1;
            d.tensors[i].what = NIBBLES;
            add_beside(&d, i, outer ? "U8" : "F32", blocks, NIBBLES_MAX, ".absmax");
            add_beside(&d, i, "F32", 16, NIBBLES_MAP, ".quant_map");
            add_beside(&d, i, "U8", (uint32_t)nibbles_state(t->name, text, sizeof text),
                       NIBBLES_STATE, ".quant_state.bitsandbytes__nf4");
            if (outer)
                add_beside(&d, i, "F32", (blocks + 3) / 4, NIBBLES_OUTER, ".nested_absmax");
            if (outer)
                add_beside(&d, i, "F32", 256, NIBBLES_OUTER_MAP, ".nested_quant_map");
        }
        write_config(&plain, "llama", "");
        write_weights(&plain, "model.safetensors", 0, plain.n, 0);
        write_config(&d, "llama", config);
        write_weights(&d, "model.safetensors", 0, d.n, 0);
        assert_same(d.path, plain.path);
        /* without what says the shape; with a table that is too short; without the key */
        sm_error error = {0};
        write_weights(&d, "model.safetensors", 0, d.n - (outer ? 3 : 1), 0);
        assert_int_equal(load(&d, &error), SM_ERR_FORMAT);
        assert_non_null(strstr(error.message, "quant_state"));
        d.tensors[d.n - 1].rows--;
        write_weights(&d, "model.safetensors", 0, d.n, 0);
        assert_int_equal(load(&d, &error), outer ? SM_ERR_SHAPE : SM_ERR_FORMAT);
        write_config(&d, "llama", "");
        assert_int_not_equal(load(&d, &error), SM_OK);
        write_config(&d, "llama",
                     "\"quantization_config\":{\"quant_method\":\"bitsandbytes\","
                     "\"load_in_8bit\":true}");
        assert_int_equal(load(&d, &error), SM_ERR_UNSUPPORTED);
        assert_non_null(strstr(error.message, "load_in_4bit"));
        drop(&d);
        drop(&plain);
    }
}

/* Layers that differ: neither as with the window in all nor as without. */
static void windows_of_some_layers(void **state) {
    (void)state;
    static const char *const keys[] = {
        "\"sliding_window\":4", "\"sliding_window\":null",
        "\"sliding_window\":4,\"layer_types\":[\"full_attention\",\"sliding_attention\"]",
        "\"sliding_window\":4,\"use_sliding_window\":false",
        "\"sliding_window\":4,\"layer_types\":[\"full_attention\",\"full_attention\"]"};
    static float logits[5][N_IDS * VOCAB];
    directory d = make("windows");
    add_model(&d, "F32", 0);
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    for (int i = 0; i < 5; i++) {
        write_config(&d, "llama", keys[i]);
        logits_of(d.path, logits[i]);
        for (int k = 0; k < i; k++)
            assert_int_equal(memcmp(logits[i], logits[k], sizeof logits[0]) == 0,
                             i > 2 && k != 0 && k != 2);
    }
    write_config(&d, "llama", keys[2]);
    check_model(&d);
    drop(&d);
}

/* Both forms of the rotation's keys, and with it the base that no key says. */
static void old_and_new_keys_of_the_rotation(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"\"rope_theta\":500.0,\"rope_scaling\":null",
         "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":500.0}"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}",
         "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4,\"rope_theta\":10000}"},
        {"\"rope_theta\":100,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
         "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":16}",
         "\"rope_parameters\":{\"rope_theta\":100,\"rope_type\":\"llama3\",\"factor\":8,"
         "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":16}"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,"
         "\"original_max_position_embeddings\":32}",
         "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":2,"
         "\"original_max_position_embeddings\":32,\"rope_theta\":10000}"}};
    static float plain[N_IDS * VOCAB], got[N_IDS * VOCAB];
    directory a = make("old"), b = make("new");
    add_model(&a, "F32", 0);
    memcpy(b.tensors, a.tensors, sizeof a.tensors);
    write_weights(&a, "model.safetensors", 0, a.n, 0);
    write_weights(&b, "model.safetensors", 0, a.n, 0);
    write_config(&a, "llama", "");
    logits_of(a.path, plain);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        write_config(&a, "llama", pairs[i][0]);
        write_config(&b, "llama", pairs[i][1]);
        assert_same(a.path, b.path);
        logits_of(a.path, got);
        assert_true(memcmp(plain, got, sizeof got) != 0);
    }
    drop(&a);
    drop(&b);
}

/* ---- texts ------------------------------------------------------------------------------- */

static void assert_chat(const directory *d, const char *name, const char *expected) {
    const sm_chat_options o = {.struct_size = sizeof o, .template_name = name};
    sm_model *model;
    sm_chat *chat;
    assert_int_equal(sm_model_load(&model, d->path, NULL, NULL), SM_OK);
    const sm_status status = sm_chat_new_from_model(&chat, model, &o, NULL);
    if (!expected) {
        assert_int_not_equal(status, SM_OK);
    } else {
        assert_int_equal(status, SM_OK);
        assert_string_equal(sm_chat_template_text(chat), expected);
        sm_chat_free(chat);
    }
    sm_model_free(model);
}

/* A file of its own, before those of tokenizer_config.json. */
static void templates_of_chats(void **state) {
    (void)state;
    directory d = make("chats");
    add_model(&d, "F32", 0);
    write_config(&d, "llama", "");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    assert_chat(&d, NULL, NULL);
    write_text(&d, "tokenizer_config.json",
               "{\"chat_template\":\"one {{ messages[0].content }}\"}");
    assert_chat(&d, NULL, "one {{ messages[0].content }}");
    write_text(&d, "tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"default\",\"template\":\"two\"},"
               "{\"name\":\"tool_use\",\"template\":\"three\"}]}");
    assert_chat(&d, NULL, "two");
    assert_chat(&d, "tool_use", "three");
    write_text(&d, "chat_template.jinja", "four {{ messages[0].role }}");
    assert_chat(&d, NULL, "four {{ messages[0].role }}");
    write_text(&d, "tokenizer_config.json", "{");
    remove(file_in(&d, "chat_template.jinja"));
    sm_error error = {0};
    sm_model *model;
    assert_int_equal(sm_model_load(&model, d.path, NULL, &error), SM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "tokenizer_config.json"));
    drop(&d);
}

static void assert_ids(const char *path, const char *text, int32_t first, int32_t second) {
    sm_model *model;
    sm_error error = {0};
    int32_t ids[8];
    uint64_t n;
    if (sm_model_load(&model, path, NULL, &error))
        fail_msg("%s", error.message);
    sm_tokenizer *t;
    assert_int_equal(sm_model_get_tokenizer(model, &t, NULL), SM_OK);
    assert_int_equal(sm_tokenizer_encode(t, text, strlen(text), NULL, ids, 8, &n, NULL), SM_OK);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], first);
    assert_int_equal(ids[1], second);
    assert_int_equal(sm_tokenizer_is_end(t, 5), 1); /* generation_config.json */
    assert_int_equal(sm_tokenizer_is_end(t, 4), 0);
    sm_tokenizer_free(t);
    sm_model_free(model);
}

/* Its vocabulary goes with a model that is made of a directory. */
static void vocabularies(void **state) {
    (void)state;
    char gguf[300];
    directory d = make("vocabulary");
    sm_error error = {0};
    const sm_quantize_options o = {.struct_size = sizeof o, .type = "F16"};
    snprintf(gguf, sizeof gguf, "%s", scratch_path("vocabulary.gguf"));
    add_model(&d, "F32", 0);
    write_config(&d, "llama", "");
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    write_text(&d, "generation_config.json", "{\"eos_token_id\":[5,6],\"top_k\":7}");
    write_text(&d, "tokenizer.json",
               "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,"
               "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":null,"
               "\"decoder\":null,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\","
               "\"vocab\":{\"u\":0,\"one\":1,\"two\":2,\"v\":3,\"w\":4,\"x\":5,\"y\":6}}}");
    assert_ids(d.path, "two one", 2, 1);
    assert_int_equal(sm_model_quantize(gguf, d.path, &o, NULL, &error), SM_OK);
    assert_ids(gguf, "two three", 2, 0);
    /* a new model with the directory's vocabulary, and one with that one's */
    char made[300];
    snprintf(made, sizeof made, "%s", scratch_path("of-vocabulary.gguf"));
    const sm_model_init_options i = {.struct_size = sizeof i, .n_embd = 32, .n_layer = 1};
    assert_int_equal(sm_model_init(made, d.path, &i, &error), SM_OK);
    assert_ids(made, "two one", 2, 1);
    assert_int_equal(sm_model_init(gguf, made, &i, &error), SM_OK);
    assert_ids(gguf, "one two", 1, 2);
    clear(&d, "tokenizer.json");
    assert_int_equal(sm_model_init(made, d.path, &i, &error), SM_ERR_MISSING);
    assert_non_null(strstr(error.message, "tokenizer.json"));
    drop(&d);
}

/* ---- what is refused ------------------------------------------------------------------- */

static const struct {
    const char *type, *more;
    sm_status status;
    const char *message;
} refused[] = {
    {"llama", "\"brand_new_trick\":true", SM_ERR_UNSUPPORTED, "'brand_new_trick'"},
    {"llama", "\"hidden_act\":\"gelu\"", SM_ERR_FORMAT, "'hidden_act' appears more than once"},
    {"llama", "\"num_hidden_layers\":2", SM_ERR_FORMAT, "more than once"},
    {"llama", "\"hidden_activation\":\"silu\",\"head_dim\":-8", SM_ERR_FORMAT, "'head_dim'"},
    {"llama", "\"head_dim\":8.5", SM_ERR_FORMAT, "'head_dim'"},
    {"llama", "\"head_dim\":\"8\"", SM_ERR_FORMAT, "'head_dim'"},
    {"llama", "\"head_dim\":16", SM_ERR_SHAPE, "attn_"},
    {"llama", "\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2}", SM_ERR_UNSUPPORTED,
     "'dynamic'"},
    {"llama", "\"rope_scaling\":{\"rope_type\":\"linear\"}", SM_ERR_FORMAT, "rope_scaling"},
    {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"twist\":3}", SM_ERR_UNSUPPORTED,
     "'twist'"},
    {"llama", "\"rope_scaling\":[]", SM_ERR_FORMAT, "rope_scaling"},
    {"llama", "\"partial_rotary_factor\":0.5", SM_ERR_UNSUPPORTED, "'partial_rotary_factor'"},
    {"llama", "\"quantization_config\":{\"quant_method\":\"hqq\"}", SM_ERR_UNSUPPORTED, "'hqq'"},
    {"llama", "\"quantization_config\":{}", SM_ERR_UNSUPPORTED, "quant_method"},
    {"llama", "\"tie_word_embeddings\":\"yes\"", SM_ERR_FORMAT, "'tie_word_embeddings'"},
    {"llama", "\"is_encoder_decoder\":true", SM_ERR_UNSUPPORTED, "add_cross_attention"},
    {"llama", "\"layer_types\":[\"full_attention\"]", SM_ERR_FORMAT, "'layer_types'"},
    {"llama", "\"layer_types\":[\"full_attention\",\"linear_attention\"]", SM_ERR_UNSUPPORTED,
     "'layer_types'"},
    {"llama", "\"attention_bias\":true", SM_ERR_MISSING, "'attention_bias'"},
    {"mamba9", "", SM_ERR_UNSUPPORTED, "'mamba9'"},
    {"mixtral", "\"num_local_experts\":3,\"num_experts_per_tok\":2", SM_ERR_MISSING, "blk.0.ffn"},
    {"mixtral", "\"num_local_experts\":3", SM_ERR_MISSING, "'num_experts_per_tok'"},
};

static void configurations_are_refused_by_key(void **state) {
    (void)state;
    directory d = make("refused");
    sm_error error = {0};
    add_model(&d, "F32", 0);
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    write_config(&d, "llama", "");
    assert_int_equal(load(&d, &error), SM_OK);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        write_config(&d, refused[i].type, refused[i].more);
        const sm_status status = load(&d, &error);
        if (status != refused[i].status || !strstr(error.message, refused[i].message))
            fail_msg("%s: status %d, \"%s\"", refused[i].more, status, error.message);
    }
    static const char *const texts[] = {"", "[]", "{", "{\"model_type\":7}", "{\"hidden_size\":3}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(&d, "config.json", texts[i]);
        assert_int_not_equal(load(&d, &error), SM_OK);
        assert_non_null(strstr(error.message, "config.json"));
    }
    drop(&d);
}

/* What the tensors say and the configuration does not. */
static void tensors_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t rows, cols;
        const char *type;
        sm_status status;
        const char *message;
    } more[] = {
        {"model.layers.0.self_attn.w_proj.weight", EMBD, EMBD, "F32", SM_ERR_UNSUPPORTED, "w_proj"},
        {"model.layers.2.self_attn.q_proj.weight", EMBD, EMBD, "F32", SM_ERR_FORMAT, "layers.2"},
        {"model.layers.0.self_attn.q_norm.weight", 8, 0, "F32", SM_ERR_UNSUPPORTED, "attn_q_norm"},
        {"model.layers.0.self_attn.q_proj.weight_scale", 1, 0, "F32", SM_ERR_UNSUPPORTED,
         "weight_scale"},
        {"model.layers.00.self_attn.q_proj.weight", EMBD, EMBD, "F32", SM_ERR_UNSUPPORTED,
         "layers.00"},
        {"model.layers.0.mlp.up_proj", FF, EMBD, "F32", SM_ERR_UNSUPPORTED, "blk.0.ffn_up"},
    };
    sm_error error = {0};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        directory d = make("tensors");
        add_model(&d, "F32", 0);
        add(&d, more[i].type, more[i].rows, more[i].cols, more[i].name);
        write_config(&d, "llama", "");
        write_weights(&d, "model.safetensors", 0, d.n, 0);
        const sm_status status = load(&d, &error);
        if (status != more[i].status || !strstr(error.message, more[i].message))
            fail_msg("%s: status %d, \"%s\"", more[i].name, status, error.message);
        drop(&d);
    }
}

static void the_head_is_shared_as_the_key_says(void **state) {
    (void)state;
    static float own[N_IDS * VOCAB], shared[N_IDS * VOCAB], without[N_IDS * VOCAB];
    sm_error error = {0};
    directory d = make("tied");
    add_model(&d, "F32", 0);
    write_weights(&d, "model.safetensors", 0, d.n, 0);
    write_config(&d, "llama", "\"tie_word_embeddings\":false");
    logits_of(d.path, own);
    write_config(&d, "llama", "\"tie_word_embeddings\":true");
    logits_of(d.path, shared);
    assert_true(memcmp(own, shared, sizeof own) != 0);
    memmove(&d.tensors[2], &d.tensors[3], (d.n - 3) * sizeof *d.tensors); /* lm_head */
    write_weights(&d, "model.safetensors", 0, d.n - 1, 0);
    logits_of(d.path, without);
    assert_memory_equal(shared, without, sizeof shared);
    write_config(&d, "llama", "\"tie_word_embeddings\":false");
    assert_int_equal(load(&d, &error), SM_ERR_MISSING);
    assert_non_null(strstr(error.message, "lm_head.weight"));
    drop(&d);
}

/* Files that are missing, pickles, and names in the index that lead elsewhere. */
static void files_are_refused(void **state) {
    (void)state;
    directory d = make("files");
    sm_error error = {0};
    assert_int_equal(load(&d, &error), SM_ERR_IO);
    write_config(&d, "llama", "");
    assert_int_equal(load(&d, &error), SM_ERR_MISSING);
    assert_non_null(strstr(error.message, "model.safetensors"));
    write_text(&d, "pytorch_model.bin", "\x80\2");
    assert_int_equal(load(&d, &error), SM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "pickle"));
    assert_non_null(strstr(error.message, "save_pretrained"));
    static const struct {
        const char *text;
        sm_status status;
    } indexes[] = {
        {"{}", SM_ERR_FORMAT},
        {"{\"weight_map\":{}}", SM_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":1}}", SM_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", SM_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"/x.safetensors\"}}", SM_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"\"}}", SM_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"x.txt\"}}", SM_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"x.bin\"}}", SM_ERR_UNSUPPORTED},
        {"{\"weight_map\":{\"a\":\"missing.safetensors\"}}", SM_ERR_IO},
        {"{\"weight_map\":{\"a\":\"a.safetensors\"}}", SM_ERR_MISSING},
    };
    add_model(&d, "F32", 0);
    write_weights(&d, "a.safetensors", 0, d.n, 0);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        write_text(&d, "model.safetensors.index.json", indexes[i].text);
        const sm_status status = load(&d, &error);
        if (status != indexes[i].status)
            fail_msg("%s: status %d, \"%s\"", indexes[i].text, status, error.message);
    }
    drop(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_opens_as_its_file_does),
        cmocka_unit_test(experts_are_stacked_where_they_lie),
        cmocka_unit_test(eight_bits),
        cmocka_unit_test(eight_bits_in_blocks),
        cmocka_unit_test(packed_weights),
        cmocka_unit_test(codes_of_sixteen_values),
        cmocka_unit_test(windows_of_some_layers),
        cmocka_unit_test(old_and_new_keys_of_the_rotation),
        cmocka_unit_test(templates_of_chats),
        cmocka_unit_test(vocabularies),
        cmocka_unit_test(configurations_are_refused_by_key),
        cmocka_unit_test(tensors_are_refused_by_name),
        cmocka_unit_test(the_head_is_shared_as_the_key_says),
        cmocka_unit_test(files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
