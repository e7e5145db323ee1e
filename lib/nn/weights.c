/* Binding the tensors of a file to the network. */
#include "nn.h"
#include "pack.h"

#include <math.h>
#include <string.h>

/* Carries the first failure through the binding of many tensors. */
typedef struct binder {
    sm_net *net;
    sm_status status;
    sm_error *error;
    sm_progress_fn progress;
    void *progress_user;
    uint64_t done;
    bool *bound; /* [n_tensors] which the network uses */
} binder;

static sm_status shape_error(binder *b, const sm_gguf_tensor *t, uint64_t rows, uint64_t cols) {
    return sm_fail(b->error, SM_ERR_SHAPE,
                   "%s: tensor '%s' has shape [%llu, %llu, %llu, %llu], expected [%llu, %llu]",
                   b->net->gguf->path, t->name, (unsigned long long)t->dims[0],
                   (unsigned long long)t->dims[1], (unsigned long long)t->dims[2],
                   (unsigned long long)t->dims[3], (unsigned long long)cols,
                   (unsigned long long)rows);
}

static const sm_gguf_tensor *find(binder *b, const char *name, bool required) {
    if (b->status)
        return NULL;
    if (b->progress && b->progress(b->progress_user, b->done, b->net->gguf->n_tensors)) {
        b->status =
            sm_fail(b->error, SM_ERR_CANCELLED, "%s: loading was cancelled", b->net->gguf->path);
        return NULL;
    }
    const sm_gguf_tensor *t = sm_gguf_find_tensor(b->net->gguf, name);
    if (t) {
        bool *bound = &b->bound[t - b->net->gguf->tensors];
        b->done += !*bound;
        *bound = true;
    } else if (required)
        b->status = sm_fail(b->error, SM_ERR_MISSING, "%s: tensor '%s' is missing",
                            b->net->gguf->path, name);
    return t;
}

static bool computable(binder *b, const sm_gguf_tensor *t, uint32_t type) {
    if (type < SM_DTYPE_COUNT && b->net->kernels->type[type].mul)
        return true;
    const sm_dtype_traits *traits = sm_dtype_get(type);
    b->status = sm_fail(b->error, SM_ERR_UNSUPPORTED,
                        "%s: tensor '%s' has type %s, which cannot be computed", b->net->gguf->path,
                        t->name, traits && traits->name ? traits->name : "unknown");
    return false;
}

static bool check(binder *b, const sm_gguf_tensor *t, uint64_t rows, uint64_t cols) {
    if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != 1 || t->dims[3] != 1) {
        b->status = shape_error(b, t, rows, cols);
        return false;
    }
    return computable(b, t, t->type);
}

/* A packed matrix: key and data must agree with each other and with what is expected. */
static bool check_packed(binder *b, const sm_gguf_tensor *t, const sm_gguf_packed *p, uint64_t rows,
                         uint64_t cols) {
    if (p->cols != cols || p->rows != rows) {
        b->status = sm_fail(b->error, SM_ERR_SHAPE,
                            "%s: key '" SM_PACKED_TENSOR_KEYS
                            "%s' says shape [%u, %u], expected [%llu, %llu]",
                            b->net->gguf->path, t->name, p->cols, p->rows, (unsigned long long)cols,
                            (unsigned long long)rows);
        return false;
    }
    return computable(b, t, p->type);
}

/* A matrix under its name; an absent optional one leaves *w empty. */
static void bind_matrix(binder *b, sm_weight *w, const char *name, uint64_t rows, uint64_t cols,
                        bool required) {
    const sm_gguf_tensor *t = find(b, name, required);
    sm_gguf_packed packed = {0};
    if (!t)
        return;
    b->status = sm_gguf_get_packed(b->net->gguf, t, &packed, b->error);
    if (b->status ||
        !(packed.packed ? check_packed(b, t, &packed, rows, cols) : check(b, t, rows, cols)))
        return;
    const uint32_t type = packed.packed ? packed.type : t->type;
    const sm_dtype_traits *traits = sm_dtype_get(type);
    if (cols % traits->block_size) {
        b->status = sm_fail(b->error, SM_ERR_SHAPE,
                            "%s: tensor '%s' has %llu columns, no multiple of the %u of its type "
                            "%s",
                            b->net->gguf->path, name, (unsigned long long)cols, traits->block_size,
                            traits->name);
        return;
    }
    const sm_weight bound = {
        .name = t->name,
        .type = type,
        .rows = (uint32_t)rows,
        .cols = (uint32_t)cols,
        .data = packed.packed ? NULL : t->data,
        .row_bytes = cols / traits->block_size * traits->block_bytes,
        .packed = packed.packed ? t->data : NULL,
        .group_bytes = sm_packed_bytes(type, cols),
    };
    if (packed.packed && t->size != sm_weight_packed_bytes(&bound)) {
        b->status = sm_fail(b->error, SM_ERR_FORMAT,
                            "%s: tensor '%s' has %llu bytes, but [%llu, %llu] packed %s takes %llu",
                            b->net->gguf->path, name, (unsigned long long)t->size,
                            (unsigned long long)cols, (unsigned long long)rows, traits->name,
                            (unsigned long long)sm_weight_packed_bytes(&bound));
        return;
    }
    b->net->packed_file_bytes += packed.packed ? t->size : 0;
    *w = bound;
}

/* A vector, converted to f32 and owned by the net; NULL if optional and absent. */
static const float *bind_vector(binder *b, const char *name, uint64_t n, bool required) {
    const sm_gguf_tensor *t = find(b, name, required);
    if (!t || !check(b, t, 1, n))
        return NULL;
    if (n % sm_dtype_get(t->type)->block_size) {
        b->status = shape_error(b, t, 1, n);
        return NULL;
    }
    float *v = sm_alloc_array(b->net->mem, n, sizeof *v);
    if (!v) {
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for tensor '%s'", name);
        return NULL;
    }
    b->net->kernels->type[t->type].dequantize(v, t->data, n);
    b->net->vectors[b->net->n_vectors++] = v;
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) {
            b->status = sm_fail(b->error, SM_ERR_FORMAT,
                                "%s: tensor '%s' holds a value that is not finite at %llu",
                                b->net->gguf->path, name, (unsigned long long)i);
            return NULL;
        }
    }
    return v;
}

/* Brings the shared input of n matrices into one form besides f32: where some want blocks, the
 * others read it as f32. */
static sm_input_form share_input(sm_weight *const *matrices, size_t n) {
    sm_input_form form = SM_INPUT_FLOAT;
    for (size_t i = 0; i < n; i++)
        if (form != SM_INPUT_BLOCKS && matrices[i]->form != SM_INPUT_FLOAT)
            form = matrices[i]->form;
    for (size_t i = 0; i < n; i++)
        if (matrices[i]->form != form)
            matrices[i]->form = SM_INPUT_FLOAT;
    return form;
}

static sm_input_form form_of(const sm_net *net, const sm_weight *w, bool round) {
    if (sm_dtype_get(w->type)->block_size > 1)
        return SM_INPUT_BLOCKS;
    return round && net->kernels->type[w->type].mul_rounded ? SM_INPUT_BF16 : SM_INPUT_FLOAT;
}

/* In inference input stays f32 where rounding to bf16 costs much accuracy for the time it saves:
 * values are few rows, the head is computed for few tokens. Figures: docs/architecture.md. */
void sm_net_choose_forms(sm_net *net, sm_rounding rounding) {
    net->head.form = form_of(net, &net->head, rounding == SM_ROUND_ALL);
    for (uint32_t i = 0; i < net->config.n_layer; i++) {
        sm_layer *l = &net->layers[i];
        for (uint32_t m = 0; m < SM_MATRICES; m++) {
            sm_weight *w = sm_layer_matrix(l, m);
            w->form =
                form_of(net, w, m == SM_V ? rounding == SM_ROUND_ALL : rounding != SM_ROUND_NONE);
        }
        l->qkv_form = share_input((sm_weight *const[]){&l->wq, &l->wk, &l->wv}, 3);
        l->ffn_form = share_input((sm_weight *const[]){&l->gate, &l->up}, 2);
    }
}

static void bind_layer(binder *b, sm_layer *l, uint32_t index) {
    const sm_config *c = &b->net->config;
    const uint64_t q_rows = (uint64_t)c->n_head * c->head_dim;
    const uint64_t kv_rows = (uint64_t)c->n_head_kv * c->head_dim;
    const bool bias = c->family->qkv_bias;
    char name[64];
    l->window = c->sliding_window;
#define NAME(suffix) (sm_format(name, sizeof name, "blk.%u." suffix, index), name)
    l->attn_norm = bind_vector(b, NAME("attn_norm.weight"), c->n_embd, true);
    bind_matrix(b, &l->wq, NAME("attn_q.weight"), q_rows, c->n_embd, true);
    bind_matrix(b, &l->wk, NAME("attn_k.weight"), kv_rows, c->n_embd, true);
    bind_matrix(b, &l->wv, NAME("attn_v.weight"), kv_rows, c->n_embd, true);
    l->bq = bind_vector(b, NAME("attn_q.bias"), q_rows, bias);
    l->bk = bind_vector(b, NAME("attn_k.bias"), kv_rows, bias);
    l->bv = bind_vector(b, NAME("attn_v.bias"), kv_rows, bias);
    if (c->family->qk_norm) {
        l->q_norm = bind_vector(b, NAME("attn_q_norm.weight"), c->head_dim, true);
        l->k_norm = bind_vector(b, NAME("attn_k_norm.weight"), c->head_dim, true);
    }
    bind_matrix(b, &l->wo, NAME("attn_output.weight"), c->n_embd, q_rows, true);
    l->bo = bind_vector(b, NAME("attn_output.bias"), c->n_embd, false);
    l->ffn_norm = bind_vector(b, NAME("ffn_norm.weight"), c->n_embd, true);
    bind_matrix(b, &l->gate, NAME("ffn_gate.weight"), c->n_ff, c->n_embd, true);
    bind_matrix(b, &l->up, NAME("ffn_up.weight"), c->n_ff, c->n_embd, true);
    bind_matrix(b, &l->down, NAME("ffn_down.weight"), c->n_embd, c->n_ff, true);
    l->b_gate = bind_vector(b, NAME("ffn_gate.bias"), c->n_ff, false);
    l->b_up = bind_vector(b, NAME("ffn_up.bias"), c->n_ff, false);
    l->b_down = bind_vector(b, NAME("ffn_down.bias"), c->n_embd, false);
#undef NAME
}

#define VECTORS_PER_LAYER 11
#define TENSORS_PER_LAYER 9 /* those that every layer of every family has */

/* Angles per position and their magnitude. Plain: theta^(-2i/n_rot). YaRN
 * (arXiv:2309.00071, section 3): interpolated by 1/factor where the wavelength
 * is long against the original context, untouched where it is short, a linear
 * ramp between; the magnitude grows by 0.1 ln(factor) + 1. */
static sm_status rope_frequencies(sm_net *net, sm_error *error) {
    const sm_config *c = &net->config;
    const double n_rot = c->n_rot;
    const double pi = 3.14159265358979323846;
    double low = 0, high = 0;
    if (c->scaling == SM_ROPE_YARN) {
        /* the dimension that turns `beta` times within the original context */
        const double per = n_rot / (2 * log(c->rope_theta));
        low = floor(per * log(c->n_ctx_original / (c->yarn_beta_fast * 2 * pi)));
        high = ceil(per * log(c->n_ctx_original / (c->yarn_beta_slow * 2 * pi)));
        low = low < 0 ? 0 : low;
        high = high > n_rot - 1 ? n_rot - 1 : high;
    }
    for (uint32_t i = 0; i < c->n_rot / 2; i++) {
        double angle = pow(c->rope_theta, -2.0 * i / n_rot);
        if (net->rope_freqs)
            angle /= (double)net->rope_freqs[i];
        double stretched = angle / c->rope_factor;
        if (c->scaling == SM_ROPE_YARN) {
            double width = high - low < 0.001 ? 0.001 : high - low;
            double ramp = (i - low) / width;
            ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
            double keep = (1 - ramp) * c->yarn_ext_factor; /* share of the untouched angle;
                                                              factor 0 turns the ramp off */
            stretched = stretched * (1 - keep) + angle * keep;
        }
        if (!isfinite(stretched))
            return sm_fail(error, SM_ERR_FORMAT,
                           "%s: keys '%s.rope.*' give angles that are not finite", net->gguf->path,
                           c->family->architecture);
        net->rope_inv_freq[i] = stretched;
    }
    double scale = c->rope_attn_factor;
    if (c->scaling == SM_ROPE_YARN && c->yarn_ext_factor != 0 && c->rope_factor > 1)
        scale *= 1.0 + 0.1 * log(c->rope_factor);
    net->rope_mscale = (float)scale;
    return SM_OK;
}

static bool ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* A tensor that nothing here uses means another computation than the one here:
 * running without it would give wrong text. */
static sm_status check_unused(const binder *b) {
    const sm_gguf *gguf = b->net->gguf;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const char *name = gguf->tensors[i].name;
        /* rope angles that old converters stored; they follow from the keys */
        if (b->bound[i] || ends_with(name, ".rotary_emb.inv_freq") ||
            ends_with(name, ".attn_rot_embd.weight") || ends_with(name, ".attn_rot_embd"))
            continue;
        return sm_fail(b->error, SM_ERR_UNSUPPORTED,
                       "%s: tensor '%s' has no place in a %s model of %u layers as this version "
                       "computes it",
                       gguf->path, name, b->net->config.family->architecture,
                       b->net->config.n_layer);
    }
    return SM_OK;
}

static sm_status load(binder *b) {
    sm_net *net = b->net;
    sm_config *c = &net->config;
    if ((uint64_t)c->n_layer * TENSORS_PER_LAYER > net->gguf->n_tensors)
        return sm_fail(b->error, SM_ERR_MISSING,
                       "%s: key '%s.block_count' is %u but the file has only %llu tensors",
                       net->gguf->path, c->family->architecture, c->n_layer,
                       (unsigned long long)net->gguf->n_tensors);
    net->layers = sm_alloc_zero(net->mem, c->n_layer * sizeof *net->layers);
    net->vectors = sm_alloc_array(net->mem, (uint64_t)c->n_layer * VECTORS_PER_LAYER + 2,
                                  sizeof *net->vectors);
    net->rope_inv_freq = sm_alloc_array(net->mem, c->n_rot / 2, sizeof *net->rope_inv_freq);
    if (!net->layers || !net->vectors || !net->rope_inv_freq)
        return sm_fail(b->error, SM_ERR_NOMEM, "out of memory for %u layers", c->n_layer);

    const sm_gguf_tensor *embd = find(b, "token_embd.weight", true);
    if (!embd)
        return b->status;
    if (embd->dims[1] == 0 || embd->dims[1] > INT32_MAX / 2)
        return sm_fail(b->error, SM_ERR_SHAPE, "%s: tensor 'token_embd.weight' has %llu rows",
                       net->gguf->path, (unsigned long long)embd->dims[1]);
    c->n_vocab = (uint32_t)embd->dims[1];
    if (check(b, embd, c->n_vocab, c->n_embd)) /* read by row: never packed */
        bind_matrix(b, &net->embd, "token_embd.weight", c->n_vocab, c->n_embd, true);
    bind_matrix(b, &net->head, "output.weight", c->n_vocab, c->n_embd, false);
    if (!net->head.rows)
        bind_matrix(b, &net->head, SM_PACKED_HEAD, c->n_vocab, c->n_embd, false);
    if (!net->head.rows)
        net->head = net->embd;
    net->out_norm = bind_vector(b, "output_norm.weight", c->n_embd, true);
    net->rope_freqs = bind_vector(b, "rope_freqs.weight", c->n_rot / 2, false);
    for (uint32_t i = 0; net->rope_freqs && i < c->n_rot / 2 && !b->status; i++)
        if (!(net->rope_freqs[i] > 0))
            b->status = sm_fail(b->error, SM_ERR_FORMAT,
                                "%s: tensor 'rope_freqs.weight' holds a value that is not positive",
                                net->gguf->path);
    for (uint32_t i = 0; i < c->n_layer && !b->status; i++)
        bind_layer(b, &net->layers[i], i);
    if (!b->status)
        sm_net_choose_forms(net, SM_ROUND_MOST);
    return b->status ? b->status : check_unused(b);
}

sm_weight *sm_layer_matrix(sm_layer *l, uint32_t matrix) {
    sm_weight *const matrices[SM_MATRICES] = {&l->wq,   &l->wk, &l->wv,  &l->wo,
                                              &l->gate, &l->up, &l->down};
    return matrices[matrix];
}

uint64_t sm_weight_packed_bytes(const sm_weight *w) {
    return ((uint64_t)w->rows + SM_GROUP - 1) / SM_GROUP * w->group_bytes;
}

void sm_weight_pack(const sm_weight *w, const sm_kernels *kernels, uint64_t begin, uint64_t end,
                    uint8_t *packed) {
    for (uint64_t g = begin; g < end; g++) {
        const uint64_t left = w->rows - g * SM_GROUP;
        kernels->type[w->type].pack(packed + (g - begin) * w->group_bytes,
                                    w->data + g * SM_GROUP * w->row_bytes, w->row_bytes,
                                    left < SM_GROUP ? left : SM_GROUP, w->cols);
    }
}

void sm_net_each_matrix(sm_net *net, void (*fn)(sm_net *net, sm_weight *w, void *arg), void *arg) {
    for (uint32_t i = 0; i < net->config.n_layer; i++) {
        for (uint32_t m = 0; m < SM_MATRICES; m++)
            fn(net, sm_layer_matrix(&net->layers[i], m), arg);
    }
    fn(net, &net->head, arg);
}

static void count_matrix(sm_net *net, sm_weight *w, void *arg) {
    (void)arg;
    net->decode_bytes += w->rows * w->row_bytes;
}

static void place_matrix(sm_net *net, sm_weight *w, void *arg) {
    (void)net;
    w->prefetch = *(const sm_prefetch *)arg;
}

/* What passes through a cache that it nearly fills pushes itself out; a quarter is for the rest. */
static sm_prefetch prefetch_of(const sm_net *net) {
    return sm_prefetch_for(net->decode_bytes > sm_cache_bytes() / 4 * 3);
}

sm_status sm_net_load(sm_net **out, sm_mem *mem, const sm_gguf *gguf, const sm_kernels *kernels,
                      sm_progress_fn progress, void *progress_user, sm_error *error) {
    *out = NULL;
    sm_net *net = sm_alloc_zero(mem, sizeof *net);
    if (!net)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory");
    net->mem = mem;
    net->gguf = gguf;
    net->kernels = kernels;
    atomic_init(&net->packed_bytes, 0);
    atomic_init(&net->unpacked_in_layers, 0);
    atomic_init(&net->unpacked_head, 0);
    binder b = {.net = net, .error = error, .progress = progress, .progress_user = progress_user};
    sm_status status = sm_gguf_expect(gguf, SM_CONTENT_MODEL | SM_CONTENT_PACKED, error);
    if (!status)
        status = sm_config_read(&net->config, gguf, error);
    if (!status)
        status = sm_net_check_packed(gguf, error);
    if (!status && gguf->n_tensors) { /* none: load() says which is missing */
        b.bound = sm_alloc_zero(mem, gguf->n_tensors * sizeof *b.bound);
        if (!b.bound)
            status = sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    if (!status)
        status = load(&b);
    sm_free(mem, b.bound);
    if (!status)
        status = rope_frequencies(net, error);
    if (status) {
        sm_net_free(net);
        return status;
    }
    sm_net_each_matrix(net, count_matrix, NULL);
    sm_prefetch prefetch = prefetch_of(net);
    sm_net_each_matrix(net, place_matrix, &prefetch);
    *out = net;
    return SM_OK;
}

static void free_packed(sm_net *net, sm_weight *w, void *arg) {
    (void)arg;
    sm_free(net->mem, w->own_packed);
}

void sm_net_free(sm_net *net) {
    if (!net)
        return;
    if (net->layers)
        sm_net_each_matrix(net, free_packed, NULL);
    for (sm_packed_block *block = net->blocks, *next; block; block = next) {
        next = block->next;
        sm_free(net->mem, block);
    }
    for (uint64_t i = 0; i < net->n_vectors; i++)
        sm_free(net->mem, net->vectors[i]);
    sm_free(net->mem, net->vectors);
    sm_free(net->mem, net->rope_inv_freq);
    sm_free(net->mem, net->layers);
    sm_mutex_free(net->lock, net->mem);
    sm_free(net->mem, net);
}
