/* Families and their hyperparameters, from GGUF keys `<architecture>.…`. */
#include "nn.h"

#include <math.h>
#include <string.h>

static const sm_family families[] = {
    {.architecture = "llama"},
    {.architecture = "qwen2", .rope_neox = true, .qkv_bias = true},
    {.architecture = "qwen3", .rope_neox = true, .qk_norm = true},
};

#define N_FAMILIES (sizeof families / sizeof *families)

const sm_family *sm_family_find(const char *architecture, uint64_t length) {
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strlen(families[i].architecture) == length &&
            memcmp(families[i].architecture, architecture, (size_t)length) == 0)
            return &families[i];
    return NULL;
}

void sm_family_list(char *text, size_t capacity) {
    size_t n = 0;
    if (capacity)
        text[0] = 0;
    for (size_t i = 0; i < N_FAMILIES && n < capacity; i++)
        n += sm_format(text + n, capacity - n, "%s%s", i ? ", " : "", families[i].architecture);
}

/* Reads keys of one architecture; the first failure sticks. */
typedef struct reader {
    const sm_gguf *gguf;
    const char *architecture;
    sm_status status;
    sm_error *error;
    char name[128];
} reader;

static const char *key_name(reader *r, const char *suffix) {
    sm_format(r->name, sizeof r->name, "%s.%s", r->architecture, suffix);
    return r->name;
}

static bool has(reader *r, const char *suffix) {
    return sm_gguf_find_key(r->gguf, key_name(r, suffix)) != NULL;
}

static void fail(reader *r, sm_status status, const char *suffix, const char *what) {
    if (!r->status)
        r->status =
            sm_fail(r->error, status, "%s: key '%s' %s", r->gguf->path, key_name(r, suffix), what);
}

#define DIM_MAX (1u << 24)

/* A count in 1..DIM_MAX. */
static uint32_t dim(reader *r, const char *suffix) {
    uint32_t value = 0;
    if (r->status)
        return 0;
    r->status = sm_gguf_get_u32(r->gguf, key_name(r, suffix), &value, r->error);
    if (!r->status && (value == 0 || value > DIM_MAX))
        fail(r, SM_ERR_FORMAT, suffix, value ? "is too large" : "is 0");
    return value;
}

static uint32_t dim_or(reader *r, const char *suffix, uint32_t fallback) {
    return has(r, suffix) ? dim(r, suffix) : fallback;
}

/* A finite number above 0. */
static double positive(reader *r, const char *suffix) {
    double value = 0;
    if (r->status)
        return 0;
    r->status = sm_gguf_get_f64(r->gguf, key_name(r, suffix), &value, r->error);
    if (!r->status && !(value > 0 && value < 1e30))
        fail(r, SM_ERR_FORMAT, suffix, "is not a positive number");
    return value;
}

static double positive_or(reader *r, const char *suffix, double fallback) {
    return has(r, suffix) ? positive(r, suffix) : fallback;
}

/* A count that may be stored per layer; then all layers must agree. */
static uint32_t per_layer(reader *r, const char *suffix, uint32_t n_layer) {
    const sm_gguf_key *key = sm_gguf_find_key(r->gguf, key_name(r, suffix));
    if (r->status || !key || key->type != SM_GGUF_ARRAY)
        return dim(r, suffix);
    int64_t first = 0;
    if (key->count < n_layer) {
        fail(r, SM_ERR_FORMAT, suffix, "has fewer elements than the model layers");
        return 0;
    }
    for (uint64_t i = 0; i < key->count; i++) {
        int64_t value;
        if (sm_gguf_key_i64(key, i, &value)) {
            fail(r, SM_ERR_FORMAT, suffix, "holds something other than integers");
            return 0;
        }
        if (i == 0)
            first = value;
        if (value != first) {
            fail(r, SM_ERR_UNSUPPORTED, suffix,
                 "differs between layers, which this version cannot compute");
            return 0;
        }
    }
    if (first < 1 || first > DIM_MAX) {
        fail(r, SM_ERR_FORMAT, suffix, "is out of range");
        return 0;
    }
    return (uint32_t)first;
}

/* A finite number of any sign. */
static double number_or(reader *r, const char *suffix, double fallback) {
    double value = fallback;
    if (r->status || !has(r, suffix))
        return fallback;
    r->status = sm_gguf_get_f64(r->gguf, key_name(r, suffix), &value, r->error);
    if (!r->status && !(fabs(value) < 1e30))
        fail(r, SM_ERR_FORMAT, suffix, "is not a finite number");
    return value;
}

static bool is_text(const char *text, uint64_t length, const char *expected) {
    return strlen(expected) == length && memcmp(text, expected, (size_t)length) == 0;
}

/* The kind of scaling; a factor without a kind is linear, as old files have it. */
static void read_scaling(reader *r, sm_config *c) {
    c->scaling = SM_ROPE_LINEAR;
    if (r->status || !has(r, "rope.scaling.type"))
        return;
    const char *type = "";
    uint64_t length = 0;
    r->status =
        sm_gguf_get_str(r->gguf, key_name(r, "rope.scaling.type"), &type, &length, r->error);
    if (r->status)
        return;
    if (is_text(type, length, "yarn"))
        c->scaling = SM_ROPE_YARN;
    else if (is_text(type, length, "none"))
        c->scaling = SM_ROPE_NONE;
    else if (!is_text(type, length, "linear"))
        r->status = sm_fail(r->error, SM_ERR_UNSUPPORTED,
                            "%s: key '%s': rope scaling '%.*s' cannot be computed (none, linear "
                            "and yarn can)",
                            r->gguf->path, r->name, (int)(length < 64 ? length : 64), type);
}

static void read_rope(reader *r, sm_config *c) {
    c->n_rot = dim_or(r, "rope.dimension_count", c->head_dim);
    if (!r->status && (c->n_rot % 2 || c->n_rot > c->head_dim))
        fail(r, SM_ERR_FORMAT, "rope.dimension_count", "is odd or more than the head dimension");
    c->rope_theta = positive_or(r, "rope.freq_base", 10000.0);
    read_scaling(r, c);
    const char *factor =
        has(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    c->rope_factor = number_or(r, factor, 0);
    if (!r->status && c->rope_factor < 0)
        fail(r, SM_ERR_FORMAT, factor, "is negative");
    if (c->scaling == SM_ROPE_NONE || c->rope_factor == 0)
        c->rope_factor = 1; /* 0 means unset */
    c->rope_attn_factor = positive_or(r, "rope.scaling.attn_factor", 1.0);
    c->n_ctx_original = (uint32_t)number_or(r, "rope.scaling.original_context_length", 0);
    if (c->n_ctx_original == 0 || c->n_ctx_original > DIM_MAX)
        c->n_ctx_original = c->n_ctx_train;
    c->yarn_ext_factor = number_or(r, "rope.scaling.yarn_ext_factor", -1);
    if (c->yarn_ext_factor < 0) /* unset */
        c->yarn_ext_factor = 1;
    c->yarn_beta_fast = positive_or(r, "rope.scaling.yarn_beta_fast", 32.0);
    c->yarn_beta_slow = positive_or(r, "rope.scaling.yarn_beta_slow", 1.0);
}

/* The same for every layer: which layers have one, where not all have, is another key. */
static void read_window(reader *r, sm_config *c) {
    if (r->status || !has(r, "attention.sliding_window"))
        return;
    r->status = sm_gguf_get_u32(r->gguf, key_name(r, "attention.sliding_window"),
                                &c->sliding_window, r->error);
    if (!r->status && c->sliding_window && has(r, "attention.sliding_window_pattern"))
        fail(r, SM_ERR_UNSUPPORTED, "attention.sliding_window_pattern",
             "says that layers differ, which this version cannot compute");
}

sm_status sm_config_read(sm_config *c, const sm_gguf *gguf, sm_error *error) {
    memset(c, 0, sizeof *c);
    const char *architecture;
    uint64_t length;
    sm_status status = sm_gguf_get_str(gguf, "general.architecture", &architecture, &length, error);
    if (status)
        return status;
    c->family = sm_family_find(architecture, length);
    if (!c->family) {
        char known[256];
        sm_family_list(known, sizeof known);
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: architecture '%.*s' cannot be computed (these can: %s)", gguf->path,
                       (int)(length < 64 ? length : 64), architecture, known);
    }
    reader r = {.gguf = gguf, .architecture = c->family->architecture, .error = error};
    c->n_ctx_train = dim(&r, "context_length");
    c->n_embd = dim(&r, "embedding_length");
    c->n_layer = dim(&r, "block_count");
    c->n_ff = per_layer(&r, "feed_forward_length", c->n_layer);
    c->n_head = per_layer(&r, "attention.head_count", c->n_layer);
    c->n_head_kv = has(&r, "attention.head_count_kv")
                       ? per_layer(&r, "attention.head_count_kv", c->n_layer)
                       : c->n_head;
    c->norm_eps = (float)positive(&r, "attention.layer_norm_rms_epsilon");
    if (r.status)
        return r.status;
    if (!(c->norm_eps > 0) || c->norm_eps >= 1)
        fail(&r, SM_ERR_FORMAT, "attention.layer_norm_rms_epsilon", "is out of range");
    if (c->n_head % c->n_head_kv)
        fail(&r, SM_ERR_FORMAT, "attention.head_count_kv", "does not divide the number of heads");
    if (!has(&r, "attention.key_length") && c->n_embd % c->n_head)
        fail(&r, SM_ERR_FORMAT, "attention.head_count", "does not divide the embedding length");
    c->head_dim = dim_or(&r, "attention.key_length", c->n_embd / c->n_head);
    if (!r.status && dim_or(&r, "attention.value_length", c->n_embd / c->n_head) != c->head_dim)
        fail(&r, SM_ERR_UNSUPPORTED, "attention.value_length",
             "differs from the key length, which this version cannot compute");
    if (!r.status && c->head_dim > SM_MAX_HEAD_DIM)
        fail(&r, SM_ERR_UNSUPPORTED,
             has(&r, "attention.key_length") ? "attention.key_length" : "attention.head_count",
             "gives a head dimension above 1024");
    bool causal = true;
    if (!r.status && has(&r, "attention.causal"))
        r.status = sm_gguf_get_bool(gguf, key_name(&r, "attention.causal"), &causal, error);
    if (!causal)
        fail(&r, SM_ERR_UNSUPPORTED, "attention.causal",
             "says attention in both directions, which this version cannot compute");
    if (has(&r, "expert_count")) {
        uint32_t experts = 0;
        if (!r.status)
            r.status = sm_gguf_get_u32(gguf, key_name(&r, "expert_count"), &experts, error);
        if (!r.status && experts)
            fail(&r, SM_ERR_UNSUPPORTED, "expert_count",
                 "says mixture of experts, which this version cannot compute");
    }
    read_window(&r, c);
    if (!r.status)
        read_rope(&r, c);
    /* products that sizes are made of must fit 32 bits */
    if (!r.status && (uint64_t)c->n_head * c->head_dim > DIM_MAX)
        fail(&r, SM_ERR_FORMAT, "attention.head_count", "is too large");
    return r.status;
}
