/* From keys to blocks. Keys are read as `<architecture>.suffix`; every value is checked before it
 * becomes a size. */
#include "plan.h"
#include "pack.h"

#include <math.h>
#include <string.h>

/* ---- keys -------------------------------------------------------------------------------- */

#define DIM_MAX (1u << 24)
#define MAX_TAPS 64 /* of a short convolution */

/* Keys that change the computation: a family that reads one of them computes what it says. */
static const char *const changing[] = {
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attention.output_scale",
    "attention.shared_kv_layers",
    "attention.temperature_scale",
    SM_K_WINDOW,
    "rope.scaling.alpha",
    SM_K_ROPE_BASE_SWA,
    SM_K_SCORE_CAP,
    SM_K_LOGIT_CAP,
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "router_logit_softcapping",
    "use_parallel_residual",
};
#define N_CHANGING (sizeof changing / sizeof *changing)
_Static_assert(N_CHANGING <= 32, "sm_plan.asked_for has a bit for each");

static const char *key_name(sm_plan *p, const char *suffix) {
    sm_format(p->name, sizeof p->name, "%s.%s", p->net->config.architecture, suffix);
    const char *after = p->name + strlen(p->net->config.architecture) + 1;
    for (uint32_t i = 0; i < N_CHANGING; i++)
        if (strcmp(changing[i], after) == 0)
            p->asked_for |= 1u << i;
    return p->name;
}

bool plan_has(sm_plan *p, const char *suffix) {
    return sm_source_find_key(p->source, key_name(p, suffix)) != NULL;
}

void plan_fail(sm_plan *p, sm_status status, const char *suffix, const char *what) {
    if (!p->status)
        p->status = sm_fail(p->error, status, "%s: key '%s' %s", p->source->path,
                            key_name(p, suffix), what);
}

uint32_t plan_u32(sm_plan *p, const char *suffix) {
    uint32_t value = 0;
    if (p->status)
        return 0;
    p->status = sm_source_get_u32(p->source, key_name(p, suffix), &value, p->error);
    if (!p->status && (value == 0 || value > DIM_MAX))
        plan_fail(p, SM_ERR_FORMAT, suffix, value ? "is too large" : "is 0");
    return value;
}

uint32_t plan_u32_or(sm_plan *p, const char *suffix, uint32_t fallback) {
    return plan_has(p, suffix) ? plan_u32(p, suffix) : fallback;
}

void plan_drop_drafts(sm_plan *p) {
    const uint32_t n = plan_count_or(p, SM_K_DRAFT_LAYERS, 0);
    if (n >= p->n_layer)
        plan_fail(p, SM_ERR_FORMAT, SM_K_DRAFT_LAYERS, "leaves no layer");
    if (p->status)
        return;
    p->n_layer -= n;
    p->net->config.n_layer = p->n_layer;
    p->net->config.n_drafts = n;
}

bool plan_has_tensor(sm_plan *p, const char *name) {
    return sm_source_find_tensor(p->source, name) != NULL;
}

bool plan_has_in_layer(sm_plan *p, uint32_t layer, const char *suffix) {
    char name[64];
    sm_format(name, sizeof name, "blk.%u.%s", layer, suffix);
    return plan_has_tensor(p, name);
}

bool plan_is_file(const sm_plan *p) {
    return p->n_tensors != UINT64_MAX;
}

uint32_t plan_count_or(sm_plan *p, const char *suffix, uint32_t fallback) {
    uint32_t value = fallback;
    if (p->status || !plan_has(p, suffix))
        return fallback;
    p->status = sm_source_get_u32(p->source, key_name(p, suffix), &value, p->error);
    if (!p->status && value > DIM_MAX)
        plan_fail(p, SM_ERR_FORMAT, suffix, "is too large");
    return value;
}

static uint32_t of_layer(sm_plan *p, const char *suffix, uint32_t layer, int64_t least) {
    const sm_key *key = sm_source_find_key(p->source, key_name(p, suffix));
    int64_t value = 0;
    if (p->status || !key || key->type != SM_KEY_ARRAY)
        return plan_u32(p, suffix);
    if (key->count != p->n_layer + p->net->config.n_drafts)
        plan_fail(p, SM_ERR_FORMAT, suffix, "has another number of elements than the model layers");
    else if (sm_key_i64(key, layer, &value))
        plan_fail(p, SM_ERR_FORMAT, suffix, "holds something other than integers");
    else if (value < least || value > DIM_MAX)
        plan_fail(p, SM_ERR_FORMAT, suffix, "is out of range");
    return p->status ? 0 : (uint32_t)value;
}

uint32_t plan_of_layer(sm_plan *p, const char *suffix, uint32_t layer) {
    return of_layer(p, suffix, layer, 1);
}

uint32_t plan_count_of_layer(sm_plan *p, const char *suffix, uint32_t layer) {
    return of_layer(p, suffix, layer, 0);
}

bool plan_sparse(sm_plan *p, uint32_t layer, double *deviations) {
    const sm_key *key = sm_source_find_key(p->source, key_name(p, SM_K_SPARSITY));
    const bool array = key && key->type == SM_KEY_ARRAY;
    if (p->status || !key)
        return false;
    if (array && key->count != p->n_layer)
        plan_fail(p, SM_ERR_FORMAT, SM_K_SPARSITY,
                  "has another number of elements than the model layers");
    else if (sm_key_f64(key, array ? layer : 0, deviations) || !(*deviations < 1e30))
        plan_fail(p, SM_ERR_FORMAT, SM_K_SPARSITY, "holds something other than numbers");
    return !p->status && *deviations > -1e30;
}

double plan_positive(sm_plan *p, const char *suffix) {
    double value = 0;
    if (p->status)
        return 0;
    p->status = sm_source_get_f64(p->source, key_name(p, suffix), &value, p->error);
    if (!p->status && !(value > 0 && value < 1e30))
        plan_fail(p, SM_ERR_FORMAT, suffix, "is not a positive number");
    return value;
}

double plan_positive_or(sm_plan *p, const char *suffix, double fallback) {
    return plan_has(p, suffix) ? plan_positive(p, suffix) : fallback;
}

double plan_number_or(sm_plan *p, const char *suffix, double fallback) {
    double value = fallback;
    if (p->status || !plan_has(p, suffix))
        return fallback;
    p->status = sm_source_get_f64(p->source, key_name(p, suffix), &value, p->error);
    if (!p->status && !(fabs(value) < 1e30))
        plan_fail(p, SM_ERR_FORMAT, suffix, "is not a finite number");
    return value;
}

bool plan_bool_or(sm_plan *p, const char *suffix, bool fallback) {
    bool value = fallback;
    if (!p->status && plan_has(p, suffix))
        p->status = sm_source_get_bool(p->source, key_name(p, suffix), &value, p->error);
    return value;
}

/* ---- rope ---------------------------------------------------------------------------------- */

static bool is_text(const char *text, uint64_t length, const char *expected) {
    return strlen(expected) == length && memcmp(text, expected, (size_t)length) == 0;
}

/* The kind of scaling; a factor without a kind is linear, as old files have it. */
static sm_rope_scaling scaling_of(sm_plan *p) {
    const char *type = "";
    uint64_t length = 0;
    if (p->status || !plan_has(p, SM_K_ROPE_TYPE))
        return SM_ROPE_LINEAR;
    p->status = sm_source_get_str(p->source, key_name(p, SM_K_ROPE_TYPE), &type, &length, p->error);
    if (p->status || is_text(type, length, "linear"))
        return SM_ROPE_LINEAR;
    if (is_text(type, length, "yarn"))
        return SM_ROPE_YARN;
    if (is_text(type, length, "longrope"))
        return SM_ROPE_LONG;
    if (!is_text(type, length, "none"))
        p->status = sm_fail(p->error, SM_ERR_UNSUPPORTED,
                            "%s: key '%s': rope scaling '%.*s' cannot be computed (none, linear, "
                            "yarn and longrope can)",
                            p->source->path, p->name, (int)(length < 64 ? length : 64), type);
    return SM_ROPE_NONE;
}

static double stretch_of(sm_plan *p, sm_rope_scaling scaling) {
    const char *key = plan_has(p, SM_K_ROPE_FACTOR) ? SM_K_ROPE_FACTOR : "rope.scale_linear";
    const double factor = plan_number_or(p, key, 0);
    if (factor < 0)
        plan_fail(p, SM_ERR_FORMAT, key, "is negative");
    const bool unscaled = scaling == SM_ROPE_NONE || scaling == SM_ROPE_LONG || factor == 0;
    return unscaled ? 1 : factor; /* 0 means unset */
}

/* The rotation's number. */
static uint32_t add_rope(sm_plan *p, sm_rope r) {
    sm_net *net = p->net;
    sm_rope *ropes =
        p->status ? NULL : sm_realloc(net->mem, net->ropes, (net->n_ropes + 1) * sizeof *ropes);
    if (!ropes) {
        if (!p->status)
            p->status = sm_fail(p->error, SM_ERR_NOMEM, "out of memory");
        return 0;
    }
    net->ropes = ropes;
    ropes[net->n_ropes] = r;
    return net->n_ropes++;
}

/* Of the first layer, which may be one without attention. */
static uint32_t head_dim_of(sm_plan *p) {
    const uint32_t heads = plan_of_layer(p, SM_K_HEADS, 0);
    return p->status ? 0 : plan_u32_or(p, SM_K_KEY_LENGTH, p->n_embd / heads);
}

/* Without what stretches the context. */
static sm_rope plain_rope(sm_plan *p, double base, bool neox) {
    sm_rope r = {.neox = neox, .theta = base, .factor = 1, .attn_factor = 1};
    r.n_rot = plan_has(p, SM_K_ROPE_DIMS) ? plan_u32(p, SM_K_ROPE_DIMS) : head_dim_of(p);
    if (!p->status && (r.n_rot % 2 || r.n_rot > SM_MAX_HEAD_DIM))
        plan_fail(p, SM_ERR_FORMAT, SM_K_ROPE_DIMS, "is odd or more than a head dimension");
    return r;
}

uint32_t plan_rope_plain(sm_plan *p, double base, bool neox) {
    return add_rope(p, plain_rope(p, base, neox));
}

uint32_t plan_rope_none(sm_plan *p) {
    return add_rope(p, (sm_rope){.theta = 1, .factor = 1, .attn_factor = 1});
}

uint32_t plan_rope(sm_plan *p, const char *base, bool neox) {
    sm_rope r = plain_rope(p, plan_positive_or(p, base, 10000.0), neox);
    r.takes_freqs = true;
    r.scaling = scaling_of(p);
    r.factor = stretch_of(p, r.scaling);
    r.attn_factor = plan_positive_or(p, "rope.scaling.attn_factor", 1.0);
    uint32_t original = 0;
    if (!p->status && plan_has(p, "rope.scaling.original_context_length"))
        p->status = sm_source_get_u32(
            p->source, key_name(p, "rope.scaling.original_context_length"), &original, p->error);
    r.n_ctx_original = original && original <= DIM_MAX ? original : p->net->config.n_ctx_train;
    r.growth = 0.1;
    r.ext_factor = plan_number_or(p, "rope.scaling.yarn_ext_factor", -1);
    r.ext_factor = r.ext_factor < 0 ? 1 : r.ext_factor; /* unset */
    r.beta_fast = plan_positive_or(p, "rope.scaling.yarn_beta_fast", 32.0);
    r.beta_slow = plan_positive_or(p, "rope.scaling.yarn_beta_slow", 1.0);
    return add_rope(p, r);
}

/* ---- layers ---------------------------------------------------------------------------------- */

uint32_t plan_window(sm_plan *p) {
    uint32_t window = 0;
    if (p->status || !plan_has(p, SM_K_WINDOW))
        return 0;
    p->status = sm_source_get_u32(p->source, key_name(p, SM_K_WINDOW), &window, p->error);
    if (!p->status && window && plan_has(p, SM_K_WINDOW_PATTERN))
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_WINDOW_PATTERN,
                  "says that layers differ, which this version cannot compute");
    return window > DIM_MAX ? 0 : window; /* more than any sequence has */
}

bool plan_windowed(sm_plan *p, uint32_t layer, uint32_t period) {
    const char *suffix = SM_K_WINDOW_PATTERN;
    const sm_key *key = sm_source_find_key(p->source, key_name(p, suffix));
    bool value = false;
    if (key && key->type == SM_KEY_ARRAY) {
        const uint64_t all = p->n_layer + (uint64_t)p->net->config.n_drafts;
        if ((key->count != p->n_layer && key->count != all) || sm_key_bool(key, layer, &value))
            plan_fail(p, SM_ERR_FORMAT, suffix, "does not say yes or no for each layer");
        return value;
    }
    period = plan_u32_or(p, suffix, period);
    return period && layer % period < period - 1;
}

/* 0: none */
static float limit_of(sm_plan *p, const char *suffix) {
    const double limit = plan_number_or(p, suffix, 0);
    if (limit < 0)
        plan_fail(p, SM_ERR_FORMAT, suffix, "is negative");
    return (float)limit;
}

sm_attn_params plan_heads(sm_plan *p, uint32_t layer) {
    sm_attn_params a = {.n_head = plan_of_layer(p, SM_K_HEADS, layer)};
    a.n_head_kv = plan_has(p, SM_K_HEADS_KV) ? plan_of_layer(p, SM_K_HEADS_KV, layer) : a.n_head;
    if (p->status)
        return a;
    if (a.n_head % a.n_head_kv)
        plan_fail(p, SM_ERR_FORMAT, SM_K_HEADS_KV, "does not divide the number of heads");
    if (!plan_has(p, SM_K_KEY_LENGTH) && p->n_embd % a.n_head)
        plan_fail(p, SM_ERR_FORMAT, SM_K_HEADS, "does not divide the embedding length");
    a.head_dim = plan_u32_or(p, SM_K_KEY_LENGTH, p->n_embd / a.n_head);
    if (!p->status && plan_u32_or(p, SM_K_VALUE_LENGTH, p->n_embd / a.n_head) != a.head_dim)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_VALUE_LENGTH,
                  "differs from the key length, which this version cannot compute");
    if (!p->status && a.head_dim > SM_MAX_HEAD_DIM)
        plan_fail(p, SM_ERR_UNSUPPORTED,
                  plan_has(p, SM_K_KEY_LENGTH) ? SM_K_KEY_LENGTH : SM_K_HEADS,
                  "gives a head dimension above 1024");
    /* products that sizes are made of must fit 32 bits */
    if ((uint64_t)a.n_head * a.head_dim > DIM_MAX)
        plan_fail(p, SM_ERR_FORMAT, SM_K_HEADS, "is too large");
    if (!p->status)
        a.scale = 1.0f / sqrtf((float)a.head_dim);
    a.clamp = limit_of(p, SM_K_CLAMP_QKV);
    a.max_bias = limit_of(p, SM_K_ALIBI);
    return a;
}

uint32_t plan_head_norms(sm_plan *p, sm_attn_params *a) {
    if (!plan_has_tensor(p, "blk.0.attn_q_norm.weight"))
        return 0;
    a->norm = SM_NORM_LAYER;
    a->norm_own = true;
    return 1u << SM_ATTN_Q_NORM | 1u << SM_ATTN_K_NORM;
}

void plan_joined(sm_plan *p, const sm_kind *kind) {
    p->joined |= 1u << kind->id;
}

/* Which of its tensors a block might come by joined, and which it does: those that the file has
 * so. */
static void find_joins(const sm_plan *p, sm_block *b) {
    const bool usual = p->joined >> b->kind->id & 1;
    char own[128], name[128];
    uint32_t joined = 0;
    for (uint32_t i = 0; i < b->kind->n_joins; i++) {
        const sm_join *join = &b->kind->join[i];
        sm_slot_name(b, join->first, own, sizeof own);
        sm_join_name(b, join, name, sizeof name);
        const bool there = join->when == SM_MAY && sm_source_find_tensor(p->source, name);
        if (usual || join->when == SM_MAY)
            b->may_join |= 1u << i;
        if ((usual || there) && !sm_source_find_tensor(p->source, own))
            joined |= 1u << i;
    }
    b->joined = joined;
}

/* Counts the tensors that a file must have by now: key block_count may say any number. */
static void count_tensors(sm_plan *p, const sm_block *b) {
    for (uint32_t i = 0; i < b->kind->n_slots; i++)
        p->needed += b->kind->slot[i].when == SM_MUST && !sm_slot_part(b, i);
    if (p->needed > p->n_tensors && !p->status)
        p->status =
            sm_fail(p->error, SM_ERR_MISSING,
                    "%s: key '%s' is %u but the file has only %llu tensors", p->source->path,
                    key_name(p, SM_K_LAYERS), p->n_layer, (unsigned long long)p->n_tensors);
}

/* What is added under the root of a norm has a key for each kind of norm. */
static void read_eps(sm_plan *p, sm_norm norm) {
    const bool layer = norm == SM_NORM_LAYER && !p->rms_key;
    const char *suffix = layer ? SM_K_LAYER_EPS : SM_K_RMS_EPS;
    const float eps = (float)plan_positive(p, suffix);
    if (!p->status && (!(eps > 0) || eps >= 1))
        plan_fail(p, SM_ERR_FORMAT, suffix, "is out of range");
    p->net->config.norm_eps = eps;
}

static sm_block *add_block(sm_plan *p, const sm_kind *kind, uint32_t layer, sm_wiring wiring) {
    sm_net *net = p->net;
    if (!net->n_blocks)
        read_eps(p, wiring.norm);
    sm_block new_block = {.kind = kind,
                          .layer = layer,
                          .index = net->n_blocks,
                          .wiring = wiring,
                          .asked = (wiring.pre && !wiring.shared ? 1u << SM_SLOT_PRE : 0) |
                                   (wiring.bias && !wiring.shared ? 1u << SM_SLOT_PRE_BIAS : 0) |
                                   (wiring.post ? 1u << SM_SLOT_POST : 0) |
                                   (wiring.sum ? 1u << SM_SLOT_SUM : 0)};
    find_joins(p, &new_block);
    new_block.dims[SM_DIM_EMBD] = p->n_embd;
    count_tensors(p, &new_block);
    if (p->status)
        return NULL;
    if (net->n_blocks == p->capacity) {
        const uint32_t capacity = p->capacity ? 2 * p->capacity : 16;
        sm_block *blocks = sm_realloc(net->mem, net->blocks, capacity * sizeof *blocks);
        if (!blocks) {
            p->status = sm_fail(p->error, SM_ERR_NOMEM, "out of memory for %u layers", p->n_layer);
            return NULL;
        }
        net->blocks = blocks;
        p->capacity = capacity;
    }
    sm_block *b = &net->blocks[net->n_blocks++];
    *b = new_block;
    return b;
}

/* ALiBi (arXiv:2108.12409): slopes are a geometric sequence from 2^-(max_bias / n) to 2^-max_bias.
 * Of n heads that are no power of two, those beyond the largest one in n take every second slope of
 * twice as many, as in bloom; mpt's code gives the same. */
static float *alibi_slopes(sm_plan *p, uint32_t n, double max_bias) {
    float *slopes = sm_alloc_array(p->net->mem, n, sizeof *slopes);
    uint32_t power = 1;
    if (!slopes) {
        p->status = sm_fail(p->error, SM_ERR_NOMEM, "out of memory");
        return NULL;
    }
    while (power <= n / 2)
        power *= 2;
    for (uint32_t h = 0; h < n; h++) {
        const double step = h < power ? h + 1 : h - power + 0.5;
        slopes[h] = (float)exp2(-max_bias * step / power);
    }
    return slopes;
}

void plan_attention(sm_plan *p, uint32_t layer, sm_attn_params a, sm_wiring wiring,
                    uint32_t asked) {
    sm_block *b = add_block(p, &sm_kind_attention, layer, wiring);
    if (!b)
        return;
    if (p->net->ropes[a.rope].n_rot > a.head_dim)
        plan_fail(p, SM_ERR_FORMAT, SM_K_ROPE_DIMS, "is more than a head dimension");
    if (a.max_bias > 0)
        a.slopes = alibi_slopes(p, a.n_head, (double)a.max_bias);
    b->attn = a;
    b->asked |= asked;
    if (a.borrows) {
        sm_block *lender = &p->net->blocks[a.lender];
        lender->last_borrower = b->index;
        b->state = lender->state;
    } else {
        b->asked |= 1u << SM_ATTN_K | (a.keyed_values ? 0 : 1u << SM_ATTN_V);
        b->state = p->net->n_states++;
    }
    b->dims[SM_DIM_Q] = a.n_head * a.head_dim;
    b->dims[SM_DIM_KV] = a.n_head_kv * a.head_dim;
    b->dims[SM_DIM_Q_NORMED] = a.norm_bare || asked >> SM_ATTN_Q_NORM & 1 ? b->dims[SM_DIM_Q] : 0;
    b->dims[SM_DIM_K_NORMED] = a.norm_bare || asked >> SM_ATTN_K_NORM & 1 ? b->dims[SM_DIM_KV] : 0;
    b->dims[SM_DIM_V_RAW] = a.norm_values ? b->dims[SM_DIM_KV] : 0;
    b->dims[SM_DIM_HEAD] = a.head_dim;
    b->dims[SM_DIM_HEADS] = a.n_head;
    b->dims[SM_DIM_Q_NORM] = a.norm_whole ? b->dims[SM_DIM_Q] : a.head_dim;
    b->dims[SM_DIM_K_NORM] = a.norm_whole ? b->dims[SM_DIM_KV] : a.head_dim;
    b->dims[SM_DIM_Q_NORMS] = a.norm_own ? a.n_head : 0;
    b->dims[SM_DIM_K_NORMS] = a.norm_own ? a.n_head_kv : 0;
}

sm_latent_params plan_latent_heads(sm_plan *p, uint32_t layer, uint32_t rope) {
    sm_latent_params l = {.attn = {.n_head = plan_of_layer(p, SM_K_HEADS, layer), .rope = rope}};
    l.absorbed = plan_has(p, SM_K_KEY_LENGTH_MLA);
    l.rank = plan_u32(p, SM_K_KV_RANK);
    l.q_rank = plan_has(p, SM_K_Q_RANK) ? plan_u32(p, SM_K_Q_RANK) : 0;
    const char *const key_name = l.absorbed ? SM_K_KEY_LENGTH_MLA : SM_K_KEY_LENGTH;
    const uint32_t key = plan_u32(p, key_name);
    if (l.absorbed)
        l.value = plan_u32(p, SM_K_VALUE_LENGTH_MLA);
    else if (!p->status)
        l.value = plan_u32_or(p, SM_K_VALUE_LENGTH, p->n_embd / l.attn.n_head);
    if (p->status)
        return l;
    l.n_rot = p->net->ropes[rope].n_rot;
    if (l.n_rot >= key)
        plan_fail(p, SM_ERR_FORMAT, key_name, "leaves no part of a head without a position");
    l.nope = key - l.n_rot;
    l.attn.n_head_kv = l.absorbed ? 1 : l.attn.n_head;
    l.attn.head_dim = l.absorbed ? l.rank + l.n_rot : key > l.value ? key : l.value;
    l.attn.scale = 1.0f / sqrtf((float)key);
    if (l.attn.head_dim > SM_MAX_HEAD_DIM)
        plan_fail(p, SM_ERR_UNSUPPORTED, l.absorbed ? SM_K_KV_RANK : key_name,
                  "gives a head dimension above 1024");
    if (!l.value || (uint64_t)l.attn.n_head * l.attn.head_dim > DIM_MAX ||
        (uint64_t)l.attn.n_head * (key + l.value) > DIM_MAX)
        plan_fail(p, SM_ERR_FORMAT, SM_K_HEADS, "is too large");
    return l;
}

static void set_latent_dims(sm_block *b, const sm_latent_params *l) {
    const uint32_t n_head = l->attn.n_head;
    b->dims[SM_DIM_Q] = n_head * l->attn.head_dim;
    b->dims[SM_DIM_KV] = l->attn.n_head_kv * l->attn.head_dim;
    b->dims[SM_DIM_HEAD] = l->attn.head_dim;
    b->dims[SM_DIM_HEADS] = n_head;
    b->dims[SM_DIM_RANK] = l->rank;
    b->dims[SM_DIM_RANK_ROT] = l->rank + l->n_rot;
    b->dims[SM_DIM_Q_RANK] = l->q_rank;
    b->dims[SM_DIM_Q_RAW] = n_head * (l->nope + l->n_rot);
    b->dims[SM_DIM_NOPE] = l->nope;
    b->dims[SM_DIM_VALUE] = l->value;
    b->dims[SM_DIM_VALUES] = n_head * l->value;
    if (l->absorbed) {
        b->dims[SM_DIM_NOPE_BLOCKS] = n_head * ((l->nope + 31) / 32 * 32);
        b->dims[SM_DIM_RANK_GROUPS] = n_head * ((l->rank + SM_GROUP - 1) / SM_GROUP * SM_GROUP);
        b->dims[SM_DIM_RANK_BLOCKS] = n_head * ((l->rank + 31) / 32 * 32);
        b->dims[SM_DIM_VALUE_GROUPS] = n_head * ((l->value + SM_GROUP - 1) / SM_GROUP * SM_GROUP);
    } else {
        b->dims[SM_DIM_KV_RAW] = n_head * (l->nope + l->value);
    }
}

void plan_latent(sm_plan *p, uint32_t layer, sm_latent_params l, sm_wiring wiring) {
    sm_block *b = add_block(p, &sm_kind_latent, layer, wiring);
    if (!b)
        return;
    b->latent = l;
    b->asked |= l.q_rank ? 1u << SM_LATENT_Q_A | 1u << SM_LATENT_Q_A_NORM | 1u << SM_LATENT_Q_B
                         : 1u << SM_LATENT_Q;
    b->asked |= l.absorbed ? 1u << SM_LATENT_K_B | 1u << SM_LATENT_V_B : 1u << SM_LATENT_KV_B;
    b->state = p->net->n_states++;
    set_latent_dims(b, &l);
}

/* ---- feed-forward parts ------------------------------------------------------------------ */

/* Key expert_gating_func, numbered as in llama.cpp. */
static void read_scoring(sm_plan *p, sm_experts_params *e) {
    const uint32_t number = plan_count_or(p, SM_K_EXPERTS_SCORING, 0);
    if (number > 3)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_EXPERTS_SCORING,
                  "is none of 1 (softmax), 2 (sigmoid), 3 (softmax of the chosen)");
    if (number)
        e->scoring = number == 2 ? SM_SCORE_SIGMOID : SM_SCORE_SOFTMAX;
    e->renormalise = plan_bool_or(p, SM_K_EXPERTS_NORM, number == 3 || e->renormalise);
    const double scale = plan_number_or(p, SM_K_EXPERTS_SCALE, (double)e->scale);
    e->scale = scale == 0 ? 1 : (float)scale; /* 0 means unset */
}

/* Of how many groups experts are chosen. Their best score stands for them with softmax, the sum of
 * the best two with sigmoid (the code of DeepSeek-V2 and -V3). */
static void read_groups(sm_plan *p, sm_experts_params *e) {
    e->n_groups = plan_count_or(p, SM_K_EXPERTS_GROUPS, 1);
    e->n_groups = e->n_groups ? e->n_groups : 1;
    e->n_groups_used = plan_u32_or(p, SM_K_EXPERTS_GROUPS_USED, e->n_groups);
    e->group_top = e->scoring == SM_SCORE_SIGMOID ? 2 : 1;
    if (p->status || e->n_groups == 1)
        return;
    if (e->n_experts % e->n_groups)
        plan_fail(p, SM_ERR_FORMAT, SM_K_EXPERTS_GROUPS, "does not divide the number of experts");
    else if (e->n_groups_used > e->n_groups)
        plan_fail(p, SM_ERR_FORMAT, SM_K_EXPERTS_GROUPS_USED, "is more than there are groups");
    else if (e->n_used > e->n_experts / e->n_groups * e->n_groups_used)
        plan_fail(p, SM_ERR_FORMAT, SM_K_EXPERTS_USED,
                  "is more than there are experts in the groups that are used");
}

static void read_experts(sm_plan *p, uint32_t layer, sm_experts_params *e) {
    const uint32_t usual = e->n_ff ? e->n_ff : plan_of_layer(p, SM_K_FF, layer);
    e->n_ff = plan_has(p, SM_K_EXPERTS_FF) ? plan_of_layer(p, SM_K_EXPERTS_FF, layer) : usual;
    e->n_used = plan_u32(p, SM_K_EXPERTS_USED);
    if (e->n_experts > SM_MAX_EXPERTS)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_EXPERTS, "is above 1024");
    if (e->n_used > e->n_experts)
        plan_fail(p, SM_ERR_FORMAT, SM_K_EXPERTS_USED, "is more than there are experts");
    if (e->n_used > SM_MAX_USED)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_EXPERTS_USED, "is above 32");
    read_scoring(p, e);
    read_groups(p, e);
    const uint64_t shared = (uint64_t)plan_count_or(p, SM_K_EXPERTS_SHARED, 0) * e->n_ff;
    if (shared > DIM_MAX)
        plan_fail(p, SM_ERR_FORMAT, SM_K_EXPERTS_SHARED, "is too large");
    e->n_ff_shared =
        plan_count_or(p, SM_K_EXPERTS_FF_SHARED, shared ? (uint32_t)shared : e->n_ff_shared);
}

/* Elements that a row of n takes, whatever its form. */
static uint32_t room_of(uint32_t n) {
    return (uint32_t)max_u64(sm_row_stride(n), 32 * sm_block_stride(n));
}

static void plan_experts(sm_plan *p, uint32_t layer, sm_experts_params e, sm_wiring wiring,
                         uint32_t asked) {
    read_experts(p, layer, &e);
    e.short_name = plan_has_in_layer(p, layer, "exp_probs_b");
    sm_block *b = add_block(p, &sm_kind_experts, layer, wiring);
    if (!b)
        return;
    b->experts = e;
    b->asked |= asked | (e.n_ff_shared ? SM_EXPERTS_SHARED_PART : 0);
    b->dims[SM_DIM_FF] = e.n_ff;
    b->dims[SM_DIM_FF_SHARED] = e.n_ff_shared;
    b->dims[SM_DIM_EXPERTS] = e.n_experts;
    b->dims[SM_DIM_BOUNDS] = e.n_experts + 1;
    b->dims[SM_DIM_USED] = e.n_used;
    b->dims[SM_DIM_ROUTED] = asked >> SM_EXPERTS_ROUTER_SCALE & 1 ? p->n_embd : 0;
    b->dims[SM_DIM_USED_EMBD] = e.n_used * room_of(p->n_embd);
    b->dims[SM_DIM_USED_FF] = e.n_used * room_of(e.n_ff);
}

/* 0: none */
static uint32_t expert_count(sm_plan *p) {
    uint32_t n = 0;
    if (!p->status && plan_has(p, SM_K_EXPERTS))
        p->status = sm_source_get_u32(p->source, key_name(p, SM_K_EXPERTS), &n, p->error);
    return n;
}

/* Whether this is one of the layers without experts. */
static bool is_dense(sm_plan *p, uint32_t layer) {
    const uint32_t step = plan_count_or(p, SM_K_EXPERTS_STEP, 1);
    return layer < plan_count_or(p, SM_K_DENSE_LAYERS, 0) || (step && (layer + 1) % step) ||
           (p->keyless && plan_has_in_layer(p, layer, "ffn_gate.weight"));
}

static void add_gated(sm_plan *p, uint32_t layer, uint32_t n_ff, sm_activation activation,
                      sm_wiring wiring) {
    sm_block *b = add_block(p, &sm_kind_gated, layer, wiring);
    if (!b)
        return;
    b->gated = (sm_gated_params){.n_ff = n_ff, .activation = activation};
    b->dims[SM_DIM_FF] = n_ff;
}

void plan_gated_and_experts(sm_plan *p, uint32_t layer, const sm_experts_params *usual,
                            sm_wiring gated, sm_wiring wiring, uint32_t asked) {
    sm_experts_params e = *usual;
    e.n_experts = expert_count(p);
    gated.aside = true;
    add_gated(p, layer, plan_of_layer(p, SM_K_FF, layer), e.activation, gated);
    plan_experts(p, layer, e, wiring, asked);
}

void plan_experts_or_gated(sm_plan *p, uint32_t layer, const sm_experts_params *usual,
                           sm_wiring wiring, uint32_t asked) {
    static const sm_experts_params mixtral = {.renormalise = true};
    sm_experts_params e = usual ? *usual : mixtral;
    e.n_experts = expert_count(p);
    if (e.n_experts && !is_dense(p, layer))
        plan_experts(p, layer, e, wiring, asked);
    else
        add_gated(p, layer, plan_of_layer(p, SM_K_FF, layer), e.activation, wiring);
}

/* Of a part that is none of experts. */
static void refuse_experts(sm_plan *p) {
    if (expert_count(p))
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_EXPERTS,
                  "says mixture of experts, which this version cannot compute for this family");
}

/* Of a layer's keys, whose names have no prefix: a number, or one for each layer. */
static double xielu_key(sm_plan *p, uint32_t layer, const char *name, double fallback) {
    const sm_key *key = sm_source_find_key(p->source, name);
    const bool array = key && key->type == SM_KEY_ARRAY;
    double value = fallback;
    if (p->status || !key)
        return fallback;
    if ((array && key->count != p->n_layer) || sm_key_f64(key, array ? layer : 0, &value) ||
        !(fabs(value) < 1e6))
        p->status = sm_fail(p->error, SM_ERR_FORMAT, "%s: key '%s' is not a number for each layer",
                            p->source->path, name);
    return value;
}

/* Keys have what positive numbers are made of. */
static double softplus(double x) {
    return log1p(exp(-fabs(x))) + (x > 0 ? x : 0);
}

/* What no key says is what models are begun with. */
static sm_xielu read_xielu(sm_plan *p, uint32_t layer) {
    const double b = xielu_key(p, layer, "xielu.beta", 0.5);
    return (sm_xielu){
        .p = (float)softplus(xielu_key(p, layer, "xielu.alpha_p", log(expm1(0.8)))),
        .n = (float)(b + softplus(xielu_key(p, layer, "xielu.alpha_n", log(expm1(0.3))))),
        .b = (float)b,
        .e = (float)xielu_key(p, layer, "xielu.eps", -1e-6)};
}

void plan_plain(sm_plan *p, uint32_t layer, sm_activation activation, sm_wiring wiring,
                uint32_t asked) {
    const uint32_t n_ff = plan_of_layer(p, SM_K_FF, layer);
    refuse_experts(p);
    sm_block *b = add_block(p, &sm_kind_plain, layer, wiring);
    if (!b)
        return;
    b->plain = (sm_plain_params){.n_ff = n_ff, .activation = activation};
    if (activation == SM_XIELU)
        b->plain.xielu = read_xielu(p, layer);
    b->asked |= asked;
    b->dims[SM_DIM_FF] = n_ff;
}

void plan_gated_sparse(sm_plan *p, uint32_t layer, sm_activation activation, sm_wiring wiring) {
    double deviations = 0;
    const bool sparse = plan_sparse(p, layer, &deviations);
    plan_gated(p, layer, activation, wiring);
    if (p->status || !sparse)
        return;
    sm_block *b = &p->net->blocks[p->net->n_blocks - 1];
    b->gated.sparse = true;
    b->gated.deviations = (float)deviations;
    b->dims[SM_DIM_FF_SPARSE] = b->gated.n_ff;
}

void plan_gated(sm_plan *p, uint32_t layer, sm_activation activation, sm_wiring wiring) {
    plan_gated_of(p, layer, plan_of_layer(p, SM_K_FF, layer), activation, wiring);
}

void plan_gated_of(sm_plan *p, uint32_t layer, uint32_t n_ff, sm_activation activation,
                   sm_wiring wiring) {
    refuse_experts(p);
    add_gated(p, layer, n_ff, activation, wiring);
}

void plan_linear(sm_plan *p, uint32_t layer, sm_wiring wiring) {
    add_block(p, &sm_kind_linear, layer, wiring);
}

void plan_norm(sm_plan *p, sm_wiring wiring) {
    add_block(p, &sm_kind_norm, 0, wiring);
}

void plan_layer_norm(sm_plan *p, uint32_t layer, sm_wiring wiring) {
    add_block(p, &sm_kind_layer_norm, layer, wiring);
}

void plan_types(sm_plan *p) {
    if (plan_has_tensor(p, SM_TYPES))
        p->net->types = (sm_weight){.cols = p->n_embd, .n_parts = 1};
}

void plan_both(sm_plan *p) {
    p->net->both = true;
    if (plan_bool_or(p, SM_K_CAUSAL, false))
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_CAUSAL,
                  "says attention in one direction, which this version cannot compute for this "
                  "family");
}

void plan_positions(sm_plan *p) {
    const uint32_t n = p->net->config.n_ctx_train;
    p->net->positions = (sm_weight){.rows = n, .cols = p->n_embd, .n_parts = 1, .joined_rows = n};
}

void plan_inputs(sm_plan *p, uint32_t n) {
    sm_block *b = add_block(p, &sm_kind_inputs, 0, (sm_wiring){0});
    if (!b)
        return;
    if ((uint64_t)n * p->n_layer > DIM_MAX)
        plan_fail(p, SM_ERR_FORMAT, SM_K_INPUT_LENGTH, "is too large");
    b->inputs.n = b->dims[SM_DIM_INPUT] = n;
    b->dims[SM_DIM_INPUTS] = n * p->n_layer;
    p->net->inputs = (sm_weight){.cols = n * p->n_layer, .n_parts = 1};
}

void plan_layer_input(sm_plan *p, uint32_t layer, sm_wiring wiring) {
    sm_block *b = add_block(p, &sm_kind_layer_input, layer, wiring);
    if (b)
        b->inputs.n = b->dims[SM_DIM_INPUT] = p->net->blocks[0].inputs.n;
}

void plan_scale(sm_plan *p, uint32_t layer) {
    const char *suffix = sm_kind_scale.slot[SM_SCALE_SCALE].suffix;
    if (plan_is_file(p) && !plan_has_in_layer(p, layer, suffix))
        return;
    sm_block *b = add_block(p, &sm_kind_scale, layer, (sm_wiring){0});
    if (!b)
        return;
    b->asked |= 1u << SM_SCALE_SCALE;
    b->dims[SM_DIM_ONE] = 1;
}

void plan_factor(sm_plan *p, uint32_t layer, double factor) {
    sm_block *b = add_block(p, &sm_kind_scale, layer, (sm_wiring){0});
    if (b)
        b->factor = (float)factor;
}

void plan_shortconv(sm_plan *p, uint32_t layer, sm_wiring wiring) {
    const uint32_t taps = plan_u32(p, SM_K_CONV_TAPS);
    if (!p->status && taps > MAX_TAPS)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_CONV_TAPS, "is more than 64");
    sm_block *b = add_block(p, &sm_kind_shortconv, layer, wiring);
    if (!b)
        return;
    b->shortconv = (sm_shortconv_params){
        .attn = {.n_head = 1, .n_head_kv = 1, .head_dim = p->n_embd, .window = taps}, .taps = taps};
    b->state = p->net->n_states++;
    b->dims[SM_DIM_TAPS] = taps;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void plan_project(sm_plan *p, const sm_kind *kind, uint32_t layer) {
    sm_block *b = add_block(p, kind, layer, (sm_wiring){0});
    if (!b)
        return;
    b->dims[SM_DIM_OTHERS] = p->net->n_streams - 1;
    b->dims[SM_DIM_OTHER_ROWS] = (p->net->n_streams - 1) * (uint32_t)sm_row_stride(p->n_embd);
}

void plan_split(sm_plan *p, uint32_t n) {
    if (n < 2 || n > SM_MAX_STREAMS)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_STREAMS, "is not in 2..16");
    p->net->n_streams = n;
    plan_project(p, &sm_kind_split, 0);
}

void plan_merge(sm_plan *p) {
    plan_project(p, &sm_kind_merge, p->n_layer - 1);
}

uint32_t plan_predict(sm_plan *p, uint32_t layer) {
    sm_block *b = add_block(p, &sm_kind_predict, layer, (sm_wiring){0});
    if (!b)
        return 0;
    b->dims[SM_DIM_STREAMS] = p->net->n_streams;
    b->dims[SM_DIM_COEFS] = p->net->n_streams * p->net->n_streams;
    return b->index;
}

void plan_correct(sm_plan *p, uint32_t layer, uint32_t predict) {
    sm_block *b = add_block(p, &sm_kind_correct, layer, (sm_wiring){0});
    if (!b)
        return;
    b->streams.predict = predict;
    b->dims[SM_DIM_STREAMS] = b->dims[SM_DIM_COEFS] = p->net->n_streams;
}

void plan_laurel(sm_plan *p, uint32_t layer, uint32_t rank, sm_wiring wiring) {
    sm_block *b = add_block(p, &sm_kind_laurel, layer, wiring);
    if (b)
        b->dims[SM_DIM_LAUREL] = rank;
}

/* The head comes last: it is behind the blocks, not one of them. Its norm is as theirs are. */
void plan_head(sm_plan *p, sm_head_params params) {
    const sm_net *net = p->net;
    sm_wiring wiring = {0};
    if (net->n_blocks)
        wiring = net->blocks[net->n_blocks - 1].wiring;
    const char *name = params.norm ? params.norm : "output_norm";
    wiring = params.unnormed ? (sm_wiring){.norm = wiring.norm}
                             : (sm_wiring){.pre = wiring.bare ? NULL : name,
                                           .norm = wiring.norm,
                                           .bias = wiring.bias,
                                           .bare = wiring.bare};
    sm_block *b = add_block(p, &sm_kind_head, p->n_layer, wiring);
    if (!b)
        return;
    b->head = params;
    b->asked |= params.bias ? 1u << SM_HEAD_BIAS : 0;
    p->net->n_blocks--;
}

/* After the family: what it has not asked for may be there only where it says nothing. */
static void refuse_unread(sm_plan *p) {
    for (uint32_t i = 0; i < N_CHANGING && !p->status; i++) {
        double value = 0;
        bool flag = false;
        if (p->asked_for >> i & 1)
            continue;
        const sm_key *key = sm_source_find_key(p->source, key_name(p, changing[i]));
        if (!key || (!sm_key_bool(key, 0, &flag) && !flag) ||
            (!sm_key_f64(key, 0, &value) && value == 0))
            continue;
        plan_fail(p, SM_ERR_UNSUPPORTED, changing[i],
                  "says what this version does not compute for this family");
    }
}

/* ---- the whole ---------------------------------------------------------------------------- */

static sm_status find_family(const sm_source *source, const char **name, sm_family_fn *plan,
                             sm_error *error) {
    const char *architecture;
    uint64_t length;
    sm_status status = sm_source_get_str(source, SM_K_ARCHITECTURE, &architecture, &length, error);
    if (status)
        return status;
    *plan = sm_family_find(architecture, length, name);
    if (*plan)
        return SM_OK;
    char known[256];
    sm_family_list(architecture, length, known, sizeof known);
    return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: architecture '%.*s' cannot be computed (%s)",
                   source->path, (int)(length < 64 ? length : 64), architecture, known);
}

/* What is asked for and computed by no family is refused. */
static void refuse(sm_plan *p) {
    if (!p->status && !p->net->both && !plan_bool_or(p, SM_K_CAUSAL, true))
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_CAUSAL,
                  "says attention in both directions, which this version cannot compute");
}

/* Numbered as in llama.cpp; what no key says is not pooled, but for what has scores. */
static void read_pooling(sm_plan *p) {
    static const sm_pooling_type of[] = {SM_POOLED_NOT, SM_POOLED_MEAN, SM_POOLED_FIRST,
                                         SM_POOLED_LAST, SM_POOLED_RANK};
    const uint32_t number = plan_count_or(p, SM_K_POOLING, 0);
    if (number >= sizeof of / sizeof *of)
        plan_fail(p, SM_ERR_UNSUPPORTED, SM_K_POOLING,
                  "is none of 0 (none), 1 (mean), 2 (first), 3 (last), 4 (rank)");
    else
        p->net->pooling.type = of[number];
    if (!p->status && plan_has_tensor(p, SM_SCORES_OUT))
        p->net->pooling.type = SM_POOLED_RANK;
}

static void read_config(sm_plan *p) {
    sm_config *c = &p->net->config;
    c->n_ctx_train = plan_u32(p, SM_K_CONTEXT);
    p->n_embd = c->n_embd = plan_u32(p, SM_K_EMBD);
    p->n_layer = c->n_layer = plan_u32(p, SM_K_LAYERS);
}

sm_status sm_config_read(sm_config *config, const sm_source *source, sm_error *error) {
    sm_family_fn family;
    sm_net net = {0};
    sm_plan p = {.net = &net, .source = source, .error = error};
    p.status = find_family(source, &net.config.architecture, &family, error);
    if (!p.status)
        read_config(&p);
    *config = net.config;
    return p.status;
}

sm_status sm_net_plan(sm_net **out, sm_mem *mem, const sm_source *source, uint64_t n_tensors,
                      sm_error *error) {
    *out = NULL;
    sm_net *net = sm_alloc_zero(mem, sizeof *net);
    if (!net)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    net->mem = mem;
    net->source = source;
    atomic_init(&net->packed_bytes, 0);
    atomic_init(&net->unpacked_in_layers, 0);
    atomic_init(&net->unpacked_experts, 0);
    atomic_init(&net->unpacked_head, 0);
    sm_family_fn family;
    sm_plan p = {.net = net, .source = source, .n_tensors = n_tensors, .error = error};
    p.status = find_family(source, &net->config.architecture, &family, error);
    if (!p.status)
        read_config(&p);
    if (!p.status)
        family(&p);
    refuse(&p);
    refuse_unread(&p);
    read_pooling(&p);
    if (!p.status)
        p.status = sm_net_list(net, error);
    if (p.status)
        sm_net_free(net);
    else
        *out = net;
    return p.status;
}
