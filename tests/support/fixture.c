/* fixture.c - tiny models with random weights, written on demand. */
#include "fixture.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"
#include "nn/nn.h"
#include "support.h"

typedef struct tensor {
    char name[64];
    uint32_t type, n_dims;
    uint64_t dims[3];
    bool one; /* values about 1: a norm */
} tensor;

typedef struct maker {
    fixture_model spec; /* defaults filled in */
    sm_gguf_writer *writer;
    sm_error error;
    bool u32_done, f32_done; /* the keys the spec sets came by */
    bool own_keys;           /* those of spec.keys are being put */
    tensor *tensors;
    size_t n_tensors, capacity;
    char late[64]; /* a tensor that comes after others of its layer */
} maker;

/* ---- keys ---------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) {
    return a && strcmp(a, b) == 0;
}

/* Whether a key of the model's shape is one of spec.keys, too, which then count. */
static bool among_keys(const maker *m, const char *name) {
    const size_t n = strlen(m->spec.architecture);
    for (const fixture_key *k = m->spec.keys; k && k->suffix && !m->own_keys; k++)
        if (strncmp(name, m->spec.architecture, n) == 0 && name[n] == '.' &&
            same(k->suffix, name + n + 1))
            return true;
    return false;
}

/* True if the key was left out or replaced as the spec says. */
static bool handled(maker *m, const char *name) {
    if (same(m->spec.omit_key, name) || among_keys(m, name))
        return true;
    if (same(m->spec.u32_key, name)) {
        sm_gguf_put_u32(m->writer, name, m->spec.u32_value);
        return m->u32_done = true;
    }
    if (same(m->spec.f32_key, name)) {
        sm_gguf_put_f32(m->writer, name, m->spec.f32_value);
        return m->f32_done = true;
    }
    return false;
}

/* "<architecture>.suffix" */
static const char *key(const maker *m, const char *suffix) {
    static char name[128];
    snprintf(name, sizeof name, "%s.%s", m->spec.architecture, suffix);
    return name;
}

static void put_str(maker *m, const char *name, const char *text) {
    if (!handled(m, name))
        sm_gguf_put_str(m->writer, name, text, strlen(text));
}

static void put_u32(maker *m, const char *name, uint32_t value) {
    if (!handled(m, name))
        sm_gguf_put_u32(m->writer, name, value);
}

static void put_f32(maker *m, const char *name, float value) {
    if (!handled(m, name))
        sm_gguf_put_f32(m->writer, name, value);
}

static void put_bool(maker *m, const char *name, bool value) {
    if (!handled(m, name))
        sm_gguf_put_bool(m->writer, name, value);
}

static void put_array(maker *m, const char *name, sm_key_type element, const void *values,
                      uint64_t n) {
    if (!handled(m, name))
        sm_gguf_put_array(m->writer, name, element, values, n);
}

/* See fixture_key.type 'l'. */
static void put_digits(maker *m, const char *name, double number, uint32_t times) {
    uint32_t values[16] = {0};
    assert(m->spec.n_layer <= 16);
    for (uint32_t i = m->spec.n_layer; i-- > 0; number = floor(number / 10))
        values[i] = times * (uint32_t)fmod(number, 10);
    put_array(m, name, SM_KEY_UINT32, values, m->spec.n_layer);
}

static void put_shape_keys(maker *m) {
    const fixture_model *s = &m->spec;
    bool llama = same(s->architecture, "llama");
    uint32_t head_dim = s->head_dim ? s->head_dim : s->n_embd / s->n_head;
    put_str(m, "general.architecture", s->set_architecture ? s->set_architecture : s->architecture);
    put_str(m, "general.name", "random");
    put_u32(m, key(m, "context_length"), s->n_ctx);
    put_u32(m, key(m, "embedding_length"), s->n_embd);
    put_u32(m, key(m, "block_count"), s->n_layer);
    put_u32(m, key(m, "feed_forward_length"), s->n_ff);
    put_u32(m, key(m, "attention.head_count"), s->n_head);
    put_u32(m, key(m, "attention.head_count_kv"), s->n_head_kv);
    if (s->head_dim) {
        put_u32(m, key(m, "attention.key_length"), head_dim);
        put_u32(m, key(m, "attention.value_length"), head_dim);
    }
    if (s->sliding_window)
        put_u32(m, key(m, "attention.sliding_window"), s->sliding_window);
    put_f32(m, key(m, "attention.layer_norm_rms_epsilon"), llama ? 1e-5f : 1e-6f);
    put_u32(m, key(m, "rope.dimension_count"), head_dim);
    put_f32(m, key(m, "rope.freq_base"), llama ? 10000.0f : 1000000.0f);
    if (s->rope_scaling) {
        put_str(m, key(m, "rope.scaling.type"), s->rope_scaling);
        put_f32(m, key(m, "rope.scaling.factor"), s->rope_factor);
        put_u32(m, key(m, "rope.scaling.original_context_length"),
                (uint32_t)((float)s->n_ctx / s->rope_factor));
    }
    if (s->n_experts) {
        put_u32(m, key(m, "expert_count"), s->n_experts);
        put_u32(m, key(m, "expert_used_count"), s->n_used);
    }
    if (same(s->architecture, "gemma2")) { /* low enough to matter */
        put_f32(m, key(m, "attn_logit_softcapping"), 2);
        put_f32(m, key(m, "final_logit_softcapping"), 6);
    }
    put_u32(m, key(m, "vocab_size"), s->n_rows);
    m->own_keys = true;
    for (const fixture_key *k = s->keys; k && k->suffix; k++)
        if (k->type == 'u')
            put_u32(m, key(m, k->suffix), (uint32_t)k->value);
        else if (k->type == 'f')
            put_f32(m, key(m, k->suffix), (float)k->value);
        else if (k->type == 'l' || k->type == 'L')
            put_digits(m, key(m, k->suffix), k->value, k->type == 'L' ? 8 : 1);
        else
            put_bool(m, key(m, k->suffix), k->value != 0);
    m->own_keys = false;
}

/* ---- vocabularies -------------------------------------------------------------------- */

typedef struct vocabulary {
    char text[FIXTURE_VOCAB][24];
    sm_gguf_str tokens[FIXTURE_VOCAB];
    int32_t types[FIXTURE_VOCAB]; /* as in tokenizer.ggml.token_type */
    float scores[FIXTURE_VOCAB];
    uint32_t n;
} vocabulary;

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

static uint32_t add_token(vocabulary *v, const char *text, int32_t type, float score) {
    snprintf(v->text[v->n], sizeof v->text[0], "%s", text);
    v->tokens[v->n] = (sm_gguf_str){v->text[v->n], strlen(v->text[v->n])};
    v->types[v->n] = type;
    v->scores[v->n] = score;
    return v->n++;
}

static void fill_up(vocabulary *v) {
    for (unsigned i = 0; v->n < FIXTURE_VOCAB; i++) {
        char text[24];
        snprintf(text, sizeof text, "[unused%u]", i);
        add_token(v, text, UNUSED, -1000);
    }
}

static void add_code_point(vocabulary *v, uint32_t code) {
    char text[3] = {(char)code};
    if (code >= 0x80) {
        text[0] = (char)(0xc0 | code >> 6);
        text[1] = (char)(0x80 | (code & 63));
    }
    add_token(v, text, NORMAL, 0);
}

/* The characters that stand for the bytes in GPT-2's vocabulary: a printable byte is its own
 * Latin-1 character; the others are counted from U+0100. Ids in the order of characters. */
static void add_bytes(vocabulary *v) {
    uint32_t others = 0;
    for (uint32_t byte = 0; byte < 256; byte++)
        if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173))
            add_code_point(v, byte);
        else
            others++;
    for (uint32_t i = 0; i < others; i++)
        add_code_point(v, 0x100 + i);
}

static void put_bpe(maker *m) {
    static const char *const merges[] = {"h e", "i n",  "t h",        "t he",
                                         "a n", "an d", "\xc4\xa0 t", "\xc4\xa0 the"};
    enum { N_MERGES = sizeof merges / sizeof *merges };
    static vocabulary v;
    sm_gguf_str merged[N_MERGES];
    memset(&v, 0, sizeof v);
    add_bytes(&v);
    for (int i = 0; i < N_MERGES; i++) {
        const char *space = strchr(merges[i], ' ');
        char text[24];
        snprintf(text, sizeof text, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        add_token(&v, text, NORMAL, 0);
        merged[i] = (sm_gguf_str){merges[i], strlen(merges[i])};
    }
    uint32_t bos = add_token(&v, "<s>", CONTROL, 0), eos = add_token(&v, "</s>", CONTROL, 0);
    uint32_t eot = add_token(&v, "<|im_end|>", CONTROL, 0);
    fill_up(&v);
    put_str(m, "tokenizer.ggml.model", "gpt2");
    put_str(m, "tokenizer.ggml.pre", "gpt-2");
    put_array(m, "tokenizer.ggml.tokens", SM_KEY_STRING, v.tokens, v.n);
    put_array(m, "tokenizer.ggml.token_type", SM_KEY_INT32, v.types, v.n);
    put_array(m, "tokenizer.ggml.merges", SM_KEY_STRING, merged, N_MERGES);
    put_u32(m, "tokenizer.ggml.bos_token_id", bos);
    put_u32(m, "tokenizer.ggml.eos_token_id", eos);
    put_u32(m, "tokenizer.ggml.eot_token_id", eot);
    put_bool(m, "tokenizer.ggml.add_bos_token", true);
}

static void put_spm(maker *m) {
    /* pieces in the order they are preferred; "_" stands for U+2581 */
    static const char *const pieces[] = {"_t",  "he", "_the", "in", "an", "_a",
                                         "and", "re", "er",   "on", "_s"};
    static vocabulary v;
    memset(&v, 0, sizeof v);
    add_token(&v, "<unk>", UNKNOWN, 0);
    add_token(&v, "<s>", CONTROL, 0);
    add_token(&v, "</s>", CONTROL, 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        add_token(&v, text, BYTE, 0);
    }
    for (char c = 'a'; c <= 'z'; c++)
        add_token(&v, (char[]){c, 0}, NORMAL, -100 - (float)(c - 'a'));
    add_token(&v, "\xe2\x96\x81", NORMAL, -126);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        char text[24];
        bool space = pieces[i][0] == '_';
        snprintf(text, sizeof text, "%s%s", space ? "\xe2\x96\x81" : "", pieces[i] + space);
        add_token(&v, text, NORMAL, -1 - (float)i);
    }
    fill_up(&v);
    put_str(m, "tokenizer.ggml.model", "llama");
    put_str(m, "tokenizer.ggml.pre", "default");
    put_array(m, "tokenizer.ggml.tokens", SM_KEY_STRING, v.tokens, v.n);
    put_array(m, "tokenizer.ggml.scores", SM_KEY_FLOAT32, v.scores, v.n);
    put_array(m, "tokenizer.ggml.token_type", SM_KEY_INT32, v.types, v.n);
    put_u32(m, "tokenizer.ggml.bos_token_id", 1);
    put_u32(m, "tokenizer.ggml.eos_token_id", 2);
    put_u32(m, "tokenizer.ggml.unknown_token_id", 0);
    put_bool(m, "tokenizer.ggml.add_bos_token", true);
    put_bool(m, "tokenizer.ggml.add_eos_token", false);
    put_bool(m, "tokenizer.ggml.add_space_prefix", true);
}

/* ---- tensors ------------------------------------------------------------------------- */

/* A type that no version computes and whose rows can have that many elements. */
static uint32_t refused_type(uint64_t cols) {
    return cols % 32 == 0 ? SM_DTYPE_Q8_1 : SM_DTYPE_I8;
}

static void add_tensor(maker *m, const char *name, uint32_t type, uint64_t cols, uint64_t rows,
                       uint64_t depth, bool one) {
    if (same(m->spec.omit_tensor, name))
        return;
    if (m->n_tensors == m->capacity) {
        m->capacity = m->capacity * 2 + 16;
        tensor *grown = realloc(m->tensors, m->capacity * sizeof *grown);
        if (!grown)
            abort();
        m->tensors = grown;
    }
    tensor *t = &m->tensors[m->n_tensors++];
    *t = (tensor){.type = type,
                  .n_dims = depth  ? 3
                            : rows ? 2
                                   : 1,
                  .dims = {cols, rows, depth},
                  .one = one};
    snprintf(t->name, sizeof t->name, "%s", name);
    if (same(m->spec.bad_shape, name))
        t->dims[t->n_dims - 1]++;
    if (same(m->spec.bad_type, name))
        t->type = refused_type(cols);
}

static bool add_planned(void *user, const sm_new_tensor *t) {
    maker *m = user;
    const fixture_model *s = &m->spec;
    const uint64_t head_dim = s->head_dim ? s->head_dim : s->n_embd / s->n_head;
    const bool other = strstr(t->name, ".attn_k.") || strstr(t->name, ".attn_output.") ||
                       strstr(t->name, ".ffn_up.");
    const bool router = t->slot && t->slot->role == SM_ROLE_ROUTER;
    const uint32_t type = !t->rows || router ? SM_DTYPE_F32 : other ? s->other_type : s->type;
    /* the stored results of tests/train/golden are of models that had this bias behind the layer */
    const bool late = s->all_biases && !s->n_experts && strstr(t->name, ".attn_output.bias");
    if (late) {
        snprintf(m->late, sizeof m->late, "%s", t->name);
    } else if (*m->late && (strstr(t->name, ".ffn_gate.bias") || strstr(t->name, ".ffn_up.bias"))) {
        add_tensor(m, m->late, SM_DTYPE_F32, s->n_embd, 0, 0, false);
        *m->late = 0;
    }
    if (!late)
        add_tensor(m, t->name, type, t->cols, t->rows ? t->rows : t->depth, t->rows ? t->depth : 0,
                   t->slot && t->slot->role == SM_ROLE_NORM);
    if (!t->slot && s->rope_freqs)
        add_tensor(m, "rope_freqs.weight", SM_DTYPE_F32, head_dim / 2, 0, 0, false);
    return true;
}

static void put_planned_keys(void *user, sm_gguf_writer *writer) {
    maker whole = {.spec = *(const fixture_model *)user, .writer = writer};
    fixture_model *s = &whole.spec;
    s->omit_key = s->set_architecture = s->u32_key = s->f32_key = s->rope_scaling = NULL;
    put_shape_keys(&whole);
}

/* Optional tensors that the model is to have. */
static void ask(const fixture_model *s, sm_block *b) {
    const uint32_t qkv = 1u << SM_ATTN_Q_BIAS | 1u << SM_ATTN_K_BIAS | 1u << SM_ATTN_V_BIAS;
    if (b->kind == &sm_kind_attention)
        b->asked |= (s->biases ? qkv : 0) | (s->all_biases ? 1u << SM_ATTN_O_BIAS : 0);
    if (b->kind == &sm_kind_attention && s->head_norms) {
        b->asked |= 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;
        b->dims[SM_DIM_Q_NORMS] = b->attn.n_head;
        b->dims[SM_DIM_K_NORMS] = b->attn.n_head_kv;
    }
    for (uint32_t i = 0; i < b->kind->n_joins && s->joined; i++)
        b->joined |= b->kind->join[i].when == SM_MAY ? 1u << i : 0;
    if (s->split)
        b->joined = 0;
    if (b->kind == &sm_kind_experts && s->all_biases)
        b->asked |= 1u << SM_EXPERTS_ROUTER_BIAS | 1u << SM_EXPERTS_CHOICE_BIAS |
                    1u << SM_EXPERTS_GATE_BIAS | 1u << SM_EXPERTS_UP_BIAS |
                    1u << SM_EXPERTS_DOWN_BIAS;
    if (b->kind == &sm_kind_linear && s->all_biases)
        b->asked |= 1u << SM_LINEAR_BIAS;
    if (b->kind == &sm_kind_gated && s->all_biases)
        b->asked |= 1u << SM_GATED_GATE_BIAS | 1u << SM_GATED_UP_BIAS | 1u << SM_GATED_DOWN_BIAS;
}

/* What the library says a model of these keys has. */
static void add_tensors(maker *m) {
    sm_mem mem;
    sm_new_model model;
    if (sm_mem_init(&mem, NULL, 0, &m->error) ||
        sm_new_model_plan(&model, &mem, "fixture", put_planned_keys, &m->spec, &m->error)) {
        fprintf(stderr, "fixture: %s\n", m->error.message);
        abort();
    }
    for (uint32_t i = 0; i < model.net->n_blocks; i++)
        ask(&m->spec, &model.net->blocks[i]);
    sm_net_each_tensor(model.net, m->spec.n_rows, m->spec.untied, add_planned, m);
    const uint64_t half = model.net->ropes[0].n_rot / 2;
    if (m->spec.longrope) {
        add_tensor(m, "rope_factors_short.weight", SM_DTYPE_F32, half, 0, 0, false);
        add_tensor(m, "rope_factors_long.weight", SM_DTYPE_F32, half, 0, 0, false);
    }
    sm_new_model_free(&model, &mem);
}

/* ---- weights ------------------------------------------------------------------------- */

/* Of blocks whose bits are all random but for their factors (f16, or one byte): where these lie,
 * and the standard deviation of the weights for d = 1. Where a minimum is subtracted, dmin is
 * chosen so that the mean is 0 (for the codes' middle c and scales s, m alike: dmin = c * d). */
static const struct {
    uint32_t type;
    int d, min;    /* byte offsets; -1: none */
    double ratio;  /* of the second factor to d */
    double spread; /* root of the mean square of the weights */
} randoms[] = {
    {SM_DTYPE_Q4_0, 0, -1, 0, 4.64},   {SM_DTYPE_Q4_1, 0, 2, -7.5, 4.61},
    {SM_DTYPE_Q5_0, 0, -1, 0, 9.25},   {SM_DTYPE_Q5_1, 0, 2, -15.5, 9.23},
    {SM_DTYPE_Q8_0, 0, -1, 0, 73.9},   {SM_DTYPE_Q2_K, 80, 82, 1.5, 13.9},
    {SM_DTYPE_Q3_K, 108, -1, 0, 43.3}, {SM_DTYPE_Q4_K, 0, 2, 7.5, 258},
    {SM_DTYPE_Q5_K, 0, 2, 15.5, 527},  {SM_DTYPE_Q6_K, 208, -1, 0, 1366},
    {SM_DTYPE_IQ4_NL, 0, -1, 0, 67.4}, {SM_DTYPE_IQ4_XS, 0, -1, 0, 1247},
    {SM_DTYPE_MXFP4, 0, -1, 0, 5.85},  {SM_DTYPE_IQ2_XXS, 0, -1, 0, 53.6},
    {SM_DTYPE_IQ2_XS, 0, -1, 0, 55.9}, {SM_DTYPE_IQ2_S, 0, -1, 0, 56.4},
    {SM_DTYPE_IQ3_XXS, 0, -1, 0, 142}, {SM_DTYPE_IQ3_S, 0, -1, 0, 139},
    {SM_DTYPE_IQ1_S, 0, -1, 0, 7.2},   {SM_DTYPE_IQ1_M, 0, -1, 0, 7.2},
    {SM_DTYPE_NVFP4, 0, -1, 0, 5.85},  {SM_DTYPE_Q1_0, 0, -1, 0, 1},
    {SM_DTYPE_Q2_0, 0, -1, 0, 1.2},    {SM_DTYPE_TQ1_0, 52, -1, 0, 0.82},
    {SM_DTYPE_TQ2_0, 64, -1, 0, 1.2},
};

#define N_RANDOMS (sizeof randoms / sizeof *randoms)

static void store_u16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static void fill_random(uint8_t *data, uint64_t size, uint64_t *seed) {
    for (uint64_t i = 0; i < size; i++)
        data[i] = (uint8_t)test_random(seed);
}

static void fill_blocks(uint8_t *data, uint64_t size, size_t kind, double deviation) {
    uint32_t block_bytes = sm_dtype_get(randoms[kind].type)->block_bytes;
    for (uint64_t at = 0; at < size; at += block_bytes) {
        double d = deviation / randoms[kind].spread;
        if (randoms[kind].type == SM_DTYPE_MXFP4) { /* a power of two, 2^(e - 128) */
            data[at] = (uint8_t)(128 + lround(log2(d)));
            continue;
        }
        if (randoms[kind].type == SM_DTYPE_IQ1_M) { /* in four parts */
            sm_iq1_m_set_d((sm_block_iq1_m *)(void *)(data + at), sm_f32_to_f16((float)d));
            continue;
        }
        if (randoms[kind].type == SM_DTYPE_NVFP4) { /* (8 + 0..7) * 2^(e - 11) in four of them */
            const int e = (int)floor(log2(d)) + 8;
            for (uint64_t s = 0; s < 4; s++)
                data[at + s] = (uint8_t)((e > 0 ? e << 3 : 0) + 4 + (int)s);
            continue;
        }
        store_u16(data + at + randoms[kind].d, sm_f32_to_f16((float)d));
        if (randoms[kind].min >= 0)
            store_u16(data + at + randoms[kind].min,
                      sm_f32_to_f16((float)(d * randoms[kind].ratio)));
    }
}

/* Uniform values of that standard deviation around center. */
static void fill_floats(uint8_t *data, const tensor *t, uint64_t n, double center, double deviation,
                        uint64_t *seed) {
    for (uint64_t i = 0; i < n; i++) {
        double unit = (double)(test_random(seed) >> 11) * 0x1p-53; /* [0, 1) */
        float value = (float)(center + (2 * unit - 1) * sqrt(3.0) * deviation);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (t->type == SM_DTYPE_F16) {
            store_u16(data + 2 * i, sm_f32_to_f16(value));
        } else if (t->type == SM_DTYPE_F64) {
            memcpy(data + 8 * i, &(double){(double)value}, 8);
        } else if (t->type == SM_DTYPE_BF16) {
            store_u16(data + 2 * i, sm_f32_to_bf16(value));
        } else {
            store_u16(data + 4 * i, (uint16_t)bits);
            store_u16(data + 4 * i + 2, (uint16_t)(bits >> 16));
        }
    }
}

static void fill(const maker *m, const tensor *t, uint8_t *data, uint64_t size, uint64_t *seed) {
    uint64_t n = t->dims[0] * (t->n_dims > 1 ? t->dims[1] : 1) * (t->n_dims > 2 ? t->dims[2] : 1);
    double deviation = t->n_dims > 1 ? 1 / sqrt((double)t->dims[0]) : 0.1;
    if (starts_with(t->name, "rope_f")) {
        for (uint64_t i = 0; i < n; i++) {
            float divisor = 1 + 7 * (float)i / (float)(n > 1 ? n - 1 : 1);
            divisor *= strstr(t->name, "_long") ? 2 : 1;
            memcpy(data + 4 * i, &divisor, 4);
        }
    } else if (sm_dtype_get(t->type)->block_size == 1) {
        fill_floats(data, t, n, t->one ? 1 : 0, deviation, seed);
    } else {
        fill_random(data, size, seed);
        for (size_t kind = 0; kind < N_RANDOMS; kind++)
            if (randoms[kind].type == t->type)
                fill_blocks(data, size, kind, deviation);
    }
    if (same(m->spec.nan_tensor, t->name) && t->type == SM_DTYPE_F32)
        memcpy(data, &(uint32_t){0x7fc00000}, 4);
}

static bool can_fill(uint32_t type) {
    for (size_t kind = 0; kind < N_RANDOMS; kind++)
        if (randoms[kind].type == type)
            return true;
    return type == SM_DTYPE_F32 || type == SM_DTYPE_F16 || type == SM_DTYPE_BF16 ||
           type == SM_DTYPE_F64;
}

static void write_tensors(maker *m) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        const tensor *t = &m->tensors[i];
        sm_gguf_declare_tensor(m->writer, t->name, t->type, t->n_dims, t->dims, NULL);
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const tensor *t = &m->tensors[i];
        uint64_t size, seed = m->spec.seed * 1000003 + i;
        if (sm_tensor_bytes(t->type, t->n_dims, t->dims, &size, "", NULL))
            return; /* the writer has the error */
        uint8_t *data = malloc((size_t)size);
        if (!data)
            abort();
        fill(m, t, data, size, &seed);
        sm_gguf_write_tensor(m->writer, data, size, NULL);
        free(data);
    }
}

/* ---- the model ----------------------------------------------------------------------- */

static void default_u32(uint32_t *value, uint32_t fallback) {
    if (*value == 0)
        *value = fallback;
}

int fixture_write(const char *path, const fixture_model *model) {
    maker m = {.spec = *model};
    sm_mem mem;
    if (!m.spec.architecture)
        m.spec.architecture = "llama";
    default_u32(&m.spec.n_embd, 64);
    default_u32(&m.spec.n_layer, 2);
    default_u32(&m.spec.n_head, 4);
    default_u32(&m.spec.n_head_kv, 2);
    default_u32(&m.spec.n_ff, 96);
    default_u32(&m.spec.n_ctx, 512);
    default_u32(&m.spec.other_type, m.spec.type);
    default_u32(&m.spec.n_rows, FIXTURE_VOCAB);
    if (!m.spec.no_vocab)
        m.spec.n_rows = FIXTURE_VOCAB;
    if (m.spec.rope_factor == 0)
        m.spec.rope_factor = 4;
    m.spec.biases |= same(m.spec.architecture, "qwen2") || m.spec.all_biases;
    if (!can_fill(m.spec.type) || !can_fill(m.spec.other_type)) {
        fprintf(stderr, "fixture: %s: no random weights of type %u or %u\n", path, m.spec.type,
                m.spec.other_type);
        return -1;
    }
    sm_mem_init(&mem, NULL, 0, NULL);
    sm_status status = sm_gguf_writer_open(&m.writer, &mem, path, 3, 32, &m.error);
    if (!status) {
        put_shape_keys(&m);
        if (!m.spec.no_vocab)
            (m.spec.spm ? put_spm : put_bpe)(&m);
        if (m.spec.u32_key && !m.u32_done)
            sm_gguf_put_u32(m.writer, m.spec.u32_key, m.spec.u32_value);
        if (m.spec.f32_key && !m.f32_done)
            sm_gguf_put_f32(m.writer, m.spec.f32_key, m.spec.f32_value);
        add_tensors(&m);
        write_tensors(&m);
        status = sm_gguf_writer_finish(m.writer, &m.error);
    }
    free(m.tensors);
    if (status)
        fprintf(stderr, "fixture: %s\n", m.error.message);
    return status ? -1 : 0;
}
