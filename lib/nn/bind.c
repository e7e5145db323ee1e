/* Binding the tensors of a file to the network. */
#include "net.h"
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
    sm_rounding rounding;
    bool *bound; /* [n_tensors] which the network uses */
} binder;

static sm_status shape_error(binder *b, const sm_tensor *t, uint64_t rows, uint64_t cols,
                             uint64_t depth) {
    char more[32] = "";
    if (depth > 1)
        sm_format(more, sizeof more, ", %llu", (unsigned long long)depth);
    return sm_fail(b->error, SM_ERR_SHAPE,
                   "%s: tensor '%s' has shape [%llu, %llu, %llu, %llu], expected [%llu, %llu%s]",
                   b->net->source->path, t->name, (unsigned long long)t->dims[0],
                   (unsigned long long)t->dims[1], (unsigned long long)t->dims[2],
                   (unsigned long long)t->dims[3], (unsigned long long)cols,
                   (unsigned long long)rows, more);
}

static const sm_tensor *find(binder *b, const char *name, bool required) {
    if (b->status)
        return NULL;
    if (b->progress && b->progress(b->progress_user, b->done, b->net->source->n_tensors)) {
        b->status =
            sm_fail(b->error, SM_ERR_CANCELLED, "%s: loading was cancelled", b->net->source->path);
        return NULL;
    }
    const sm_tensor *t = sm_source_find_tensor(b->net->source, name);
    if (t) {
        bool *bound = &b->bound[t - b->net->source->tensors];
        b->done += !*bound;
        *bound = true;
    } else if (required)
        b->status = sm_fail(b->error, SM_ERR_MISSING, "%s: tensor '%s' is missing",
                            b->net->source->path, name);
    return t;
}

static bool computable(binder *b, const sm_tensor *t, uint32_t type) {
    if (type < SM_DTYPE_COUNT && b->net->kernels->type[type].mul)
        return true;
    const sm_dtype_traits *traits = sm_dtype_get(type);
    b->status = sm_fail(
        b->error, SM_ERR_UNSUPPORTED, "%s: tensor '%s' has type %s, which cannot be computed",
        b->net->source->path, t->name, traits && traits->name ? traits->name : "unknown");
    return false;
}

static bool check(binder *b, const sm_tensor *t, uint64_t rows, uint64_t cols, uint64_t depth) {
    if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != depth || t->dims[3] != 1) {
        b->status = shape_error(b, t, rows, cols, depth);
        return false;
    }
    return computable(b, t, t->type);
}

/* A packed matrix: key and data must agree with each other and with what is expected. */
static bool check_packed(binder *b, const sm_tensor *t, const sm_packed_tensor *p, uint64_t rows,
                         uint64_t cols) {
    if (p->cols != cols || p->rows != rows) {
        b->status = sm_fail(b->error, SM_ERR_SHAPE,
                            "%s: key '" SM_PACKED_TENSOR_KEYS
                            "%s' says shape [%u, %u], expected [%llu, %llu]",
                            b->net->source->path, t->name, p->cols, p->rows,
                            (unsigned long long)cols, (unsigned long long)rows);
        return false;
    }
    return computable(b, t, p->type);
}

/* Matrix w, which has its shape, of a tensor, which may hold several; `before`: bytes of those
 * before it, packed. */
static void place(sm_weight *w, const sm_tensor *t, uint32_t type, bool packed, uint64_t before) {
    const sm_dtype_traits *traits = sm_dtype_get(type);
    w->name = t->name;
    w->type = type;
    w->row_bytes = w->cols / traits->block_size * traits->block_bytes;
    w->group_bytes = sm_packed_bytes(type, w->cols);
    if (packed)
        w->packed = t->data + before;
    else
        w->data = sm_tensor_row(t, sm_weight_first_row(w), w->row_bytes);
}

/* Whether the data of a packed tensor has the size of its matrices. */
static bool check_size(binder *b, const sm_tensor *t, const sm_weight *w, uint64_t bytes) {
    if (t->size != bytes)
        b->status = sm_fail(b->error, SM_ERR_FORMAT,
                            "%s: tensor '%s' has %llu bytes, but [%u, %u] packed %s takes %llu",
                            b->net->source->path, t->name, (unsigned long long)t->size, w->cols,
                            w->joined_rows, sm_dtype_get(w->type)->name, (unsigned long long)bytes);
    return !b->status;
}

/* A matrix under its name, of w's shape, or all that are stacked or joined in one tensor, whose
 * first is w; false if it is optional and absent, or after a failure. */
static bool bind_matrix(binder *b, sm_weight *w, const char *name, bool required) {
    const sm_tensor *t = find(b, name, required);
    const uint64_t rows = w->joined_rows, cols = w->cols, depth = w->n_experts ? w->n_experts : 1;
    uint64_t bytes = 0;
    sm_packed_tensor packed = {0};
    if (!t)
        return false;
    b->status = sm_source_get_packed(b->net->source, t, &packed, b->error);
    if (b->status ||
        !(packed.packed ? check_packed(b, t, &packed, rows, cols) : check(b, t, rows, cols, depth)))
        return false;
    const uint32_t type = packed.packed ? packed.type : t->type;
    const sm_dtype_traits *traits = sm_dtype_get(type);
    if (cols % traits->block_size) {
        b->status = sm_fail(b->error, SM_ERR_SHAPE,
                            "%s: tensor '%s' has %llu columns, no multiple of the %u of its type "
                            "%s",
                            b->net->source->path, name, (unsigned long long)cols,
                            traits->block_size, traits->name);
        return false;
    }
    for (uint32_t i = 0; i < sm_weight_count(w); i++) {
        sm_weight *one = w + sm_weight_place(w, i);
        place(one, t, type, packed.packed, bytes);
        bytes += sm_weight_packed_bytes(one);
    }
    if (packed.packed && !check_size(b, t, w, bytes))
        return false;
    if (packed.packed && b->rounding == SM_ROUND_NOTHING && traits->block_size > 1) {
        b->status = sm_fail(b->error, SM_ERR_UNSUPPORTED,
                            "%s: tensor '%s' is packed %s, which cannot be computed with f32 "
                            "activations (the file that was packed can)",
                            b->net->source->path, name, traits->name);
        return false;
    }
    b->net->packed_file_bytes += packed.packed ? t->size : 0;
    return true;
}

/* A vector, or `depth` of them in a row, of n elements in all, converted to f32 and owned by the
 * net; NULL if optional and absent. */
static float *bind_vector(binder *b, const char *name, uint64_t n, uint64_t depth, bool required) {
    const sm_tensor *t = find(b, name, required);
    if (!t || !check(b, t, depth, n / depth, 1))
        return NULL;
    if (n / depth % sm_dtype_get(t->type)->block_size) {
        b->status = shape_error(b, t, depth, n / depth, 1);
        return NULL;
    }
    float *v = sm_alloc_array(b->net->mem, n, sizeof *v);
    if (!v) {
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for tensor '%s'", name);
        return NULL;
    }
    b->net->kernels->type[t->type].dequantize(v, t->data, n);
    for (uint64_t i = 0; i < n && !b->status; i++)
        if (!isfinite(v[i]))
            b->status = sm_fail(b->error, SM_ERR_FORMAT,
                                "%s: tensor '%s' holds a value that is not finite at %llu",
                                b->net->source->path, name, (unsigned long long)i);
    return v;
}

/* Of a layer behind those that are computed. */
static bool is_draft(const sm_net *net, const char *name) {
    const uint64_t first = net->config.n_layer, end = first + net->config.n_drafts;
    uint64_t layer = 0;
    if (strncmp(name, "blk.", 4) != 0)
        return false;
    for (name += 4; *name >= '0' && *name <= '9' && layer < end; name++)
        layer = layer * 10 + (uint64_t)(*name - '0');
    return *name == '.' && layer >= first && layer < end;
}

/* Of a block that has another one's keys and values: some files (gemma 3n's) have its own all the
 * same. */
static bool is_idle(const sm_net *net, const char *name) {
    static const uint8_t idle[] = {SM_ATTN_K, SM_ATTN_V, SM_ATTN_K_NORM};
    char own[128];
    for (uint32_t i = 0; i < net->n_blocks && net->idle_keys; i++) {
        const sm_block *b = &net->blocks[i];
        if (b->kind->id != SM_KIND_ATTENTION || !b->attn.borrows)
            continue;
        for (uint32_t k = 0; k < sizeof idle; k++) {
            sm_slot_name(b, idle[k], own, sizeof own);
            if (!strcmp(own, name))
                return true;
        }
    }
    return false;
}

/* A tensor that nothing here uses means another computation than the one here:
 * running without it would give wrong text. */
static sm_status check_unused(const binder *b) {
    const sm_source *source = b->net->source;
    for (uint64_t i = 0; i < source->n_tensors; i++) {
        const char *name = source->tensors[i].name;
        /* rope angles that old converters stored; they follow from the keys */
        if (b->bound[i] || is_draft(b->net, name) || ends_with(name, ".rotary_emb.inv_freq") ||
            ends_with(name, ".attn_rot_embd.weight") || ends_with(name, ".attn_rot_embd") ||
            is_idle(b->net, name))
            continue;
        return sm_fail(b->error, SM_ERR_UNSUPPORTED,
                       "%s: tensor '%s' has no place in a %s model of %u layers as this version "
                       "computes it",
                       source->path, name, b->net->config.architecture, b->net->config.n_layer);
    }
    return SM_OK;
}

/* ---- what is where -------------------------------------------------------------------------- */

/* The embedding says how large the vocabulary is. */
static void bind_embedding(binder *b) {
    sm_net *net = b->net;
    const sm_tensor *t = find(b, "token_embd.weight", true);
    if (!t)
        return;
    if (t->dims[1] == 0 || t->dims[1] > INT32_MAX / 2) {
        b->status = sm_fail(b->error, SM_ERR_SHAPE, "%s: tensor 'token_embd.weight' has %llu rows",
                            net->source->path, (unsigned long long)t->dims[1]);
        return;
    }
    net->config.n_vocab = (uint32_t)t->dims[1];
    net->embd = (sm_weight){.rows = net->config.n_vocab,
                            .cols = net->config.n_embd,
                            .n_parts = 1,
                            .joined_rows = net->config.n_vocab};
    if (check(b, t, net->embd.rows, net->embd.cols, 1)) /* read by row: never packed */
        bind_matrix(b, &net->embd, t->name, true);
}

static void bind_inputs(binder *b) {
    sm_weight *w = &b->net->inputs;
    w->rows = w->joined_rows = w->cols ? b->net->config.n_vocab : 0;
    const sm_tensor *t = w->rows ? find(b, SM_INPUTS_TABLE, true) : NULL;
    if (t && check(b, t, w->rows, w->cols, 1)) /* never packed */
        bind_matrix(b, w, t->name, true);
}

/* The context goes no further than its rows. */
static void bind_positions(binder *b) {
    sm_weight *w = &b->net->positions;
    const sm_tensor *t = w->rows ? find(b, SM_POSITIONS, true) : NULL;
    if (t && check(b, t, w->rows, w->cols, 1)) /* never packed */
        bind_matrix(b, w, t->name, true);
}

/* An optional matrix of so many columns, read by row, whose rows the file tells; false: absent. */
static bool bind_rows(binder *b, sm_weight *w, const char *name, uint64_t cols) {
    const sm_tensor *t = find(b, name, false);
    if (!t)
        return false;
    if (t->dims[1] == 0 || t->dims[1] > UINT16_MAX) {
        b->status = shape_error(b, t, t->dims[1], cols, 1);
        return false;
    }
    const uint32_t rows = (uint32_t)t->dims[1];
    *w = (sm_weight){.rows = rows, .cols = (uint32_t)cols, .n_parts = 1, .joined_rows = rows};
    return check(b, t, rows, cols, 1) && bind_matrix(b, w, t->name, true);
}

static void bind_types(binder *b) {
    sm_net *net = b->net;
    if (net->types.cols && bind_rows(b, &net->types, SM_TYPES, net->config.n_embd) &&
        net->types.rows > UINT8_MAX)
        b->status = sm_fail(b->error, SM_ERR_UNSUPPORTED, "%s: tensor '%s' has more than 255 rows",
                            net->source->path, SM_TYPES);
}

/* What comes behind the last hidden states. */
static void bind_pooling(binder *b) {
    sm_pooling *p = &b->net->pooling;
    uint64_t n = b->net->config.n_embd;
    if (bind_rows(b, &p->dense[0], SM_DENSE_1, n) &&
        !bind_rows(b, &p->dense[1], SM_DENSE_2, p->dense[0].rows) && !b->status)
        b->status = sm_fail(b->error, SM_ERR_MISSING, "%s: tensor '%s' is missing",
                            b->net->source->path, SM_DENSE_2);
    if (p->type != SM_POOLED_RANK) { /* directories have it where nobody asks for scores, too */
        find(b, SM_POOLER, false);
        find(b, "cls.bias", false);
        return;
    }
    if (bind_rows(b, &p->pooler, SM_POOLER, n)) {
        n = p->pooler.rows;
        p->pooler_bias = bind_vector(b, "cls.bias", n, 1, true);
    }
    if (bind_rows(b, &p->out, SM_SCORES_OUT, n))
        p->out_bias = bind_vector(b, "cls.output.bias", p->out.rows, 1, false);
    else if (!b->status)
        b->status = sm_fail(b->error, SM_ERR_MISSING, "%s: tensor '%s' is missing",
                            b->net->source->path, SM_SCORES_OUT);
}

/* Its own tensor, the packed copy of the embedding, or the embedding itself. */
static void bind_head(binder *b) {
    sm_net *net = b->net;
    sm_weight *w = net->head;
    w->rows = w->joined_rows = net->blocks[net->n_blocks].dims[SM_DIM_VOCAB] = net->config.n_vocab;
    for (uint32_t i = 0; i < net->n_vectors; i++) /* what has an element for each token */
        if (net->vectors[i].block->kind->slot[net->vectors[i].slot].rows == SM_DIM_VOCAB)
            net->vectors[i].n = net->vectors[i].joined = net->config.n_vocab;
    if (bind_matrix(b, w, "output.weight", false) || bind_matrix(b, w, SM_PACKED_HEAD, false))
        return;
    const sm_weight *e = &net->embd;
    w->name = e->name;
    w->type = e->type;
    w->data = e->data;
    w->row_bytes = e->row_bytes;
    w->group_bytes = e->group_bytes;
}

static float *bind_divisors(binder *b, const char *name, uint64_t n, bool required) {
    float *v = bind_vector(b, name, n, 1, required);
    for (uint64_t i = 0; v && i < n && !b->status; i++)
        if (!(v[i] > 0))
            b->status = sm_fail(b->error, SM_ERR_FORMAT,
                                "%s: tensor '%s' holds a value that is not positive",
                                b->net->source->path, name);
    return v;
}

/* Divisors of angles: one of each, or one for short contexts and one for long ones. */
static void bind_rope_freqs(binder *b) {
    sm_net *net = b->net;
    const char *short_name = "rope_factors_short.weight";
    uint64_t half = 0;
    bool by_length = sm_source_find_tensor(net->source, short_name);
    for (uint32_t i = 0; i < net->n_ropes; i++)
        if (net->ropes[i].takes_freqs) {
            half = net->ropes[i].n_rot / 2;
            by_length = by_length || net->ropes[i].scaling == SM_ROPE_LONG;
        }
    if (!half)
        return;
    net->rope_long = bind_divisors(b, "rope_factors_long.weight", half, by_length);
    net->rope_freqs = net->rope_long ? bind_divisors(b, short_name, half, true)
                                     : bind_divisors(b, "rope_freqs.weight", half, false);
    for (uint32_t i = 0; i < net->n_ropes; i++)
        if (net->ropes[i].takes_freqs) {
            net->ropes[i].freqs = net->rope_freqs;
            net->ropes[i].long_freqs = net->rope_long;
        }
}

/* All but the head, which is bound. */
static void bind_block(binder *b, sm_block *block, uint32_t *vector) {
    char name[128];
    sm_net *net = b->net;
    for (uint32_t i = 0; i < block->kind->n_slots && !b->status; i++) {
        sm_vector *v = &net->vectors[*vector];
        sm_slot_name(block, i, name, sizeof name);
        if (block->w[i] && block->w[i] != net->head && !block->w[i]->part)
            bind_matrix(b, block->w[i], name, true);
        if (*vector < net->n_vectors && v->block == block && v->slot == i) {
            v->value =
                v->part ? v[-1].value + v[-1].n : bind_vector(b, name, v->joined, v->depth, true);
            block->v[i] = v->value;
            ++*vector;
        }
    }
    for (uint32_t i = SM_SLOT_PRE; i <= SM_SLOT_PRE_BIAS && block->wiring.shared; i++)
        block->v[i] = block[-1].v[i];
}

static sm_status load(binder *b) {
    sm_net *net = b->net;
    uint32_t vector = 0;
    bind_embedding(b);
    bind_positions(b);
    bind_types(b);
    bind_inputs(b);
    if (!b->status)
        bind_head(b);
    bind_rope_freqs(b);
    for (uint32_t i = 0; i <= net->n_blocks && !b->status; i++)
        bind_block(b, &net->blocks[i], &vector);
    bind_pooling(b);
    if (!b->status)
        sm_net_choose_forms(net, b->rounding);
    return b->status ? b->status : check_unused(b);
}

/* Bytes of a block's matrices that one token reads: of experts those that it goes through. */
static uint64_t block_bytes(const sm_block *b) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < b->kind->n_slots; i++)
        if (b->w[i])
            bytes += b->w[i]->rows * b->w[i]->row_bytes *
                     (b->w[i]->routed      ? b->experts.n_used
                      : b->w[i]->n_experts ? b->w[i]->n_experts
                                           : 1);
    return bytes;
}

/* What passes through a cache that it nearly fills pushes itself out; a quarter is for the rest. */
static void place_matrices(sm_net *net) {
    for (uint32_t i = 0; i <= net->n_blocks; i++)
        net->decode_bytes += block_bytes(&net->blocks[i]);
    const sm_prefetch prefetch = sm_prefetch_for(net->decode_bytes > sm_cache_bytes() / 4 * 3);
    for (uint32_t i = 0; i < net->n_matrices; i++)
        net->matrices[i].prefetch = prefetch;
}

sm_status sm_net_load(sm_net **out, sm_mem *mem, const sm_source *source, const sm_kernels *kernels,
                      sm_rounding rounding, sm_progress_fn progress, void *progress_user,
                      sm_error *error) {
    sm_net *net = NULL;
    *out = NULL;
    sm_status status = sm_source_expect(source, SM_GGUF_HOLDS_MODEL | SM_GGUF_HOLDS_PACKED, error);
    if (!status)
        status = sm_net_plan(&net, mem, source, source->n_tensors, error);
    if (status)
        return status;
    net->kernels = kernels;
    binder b = {.net = net,
                .error = error,
                .progress = progress,
                .progress_user = progress_user,
                .rounding = rounding};
    status = sm_net_check_packed(source, error);
    if (!status) {
        b.bound = sm_alloc_zero(mem, source->n_tensors * sizeof *b.bound);
        if (!b.bound)
            status = sm_fail(error, SM_ERR_NOMEM, "out of memory");
    }
    if (!status)
        status = load(&b);
    sm_free(mem, b.bound);
    for (uint32_t i = 0; i < net->n_ropes && !status; i++)
        status = sm_rope_init(net, &net->ropes[i], error);
    if (status) {
        sm_net_free(net);
        return status;
    }
    place_matrices(net);
    *out = net;
    return SM_OK;
}
