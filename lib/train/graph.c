/* A network in training: masters, gradients, buffers; loss and gradients of a batch. */
#include "graph.h"
#include "pack.h"

#include <math.h>
#include <string.h>

/* Tokens whose logits exist at a time: less where they are wide. A property of the model, not
 * of the machine: sums are taken chunk by chunk. Not less, since each chunk unpacks a frozen head
 * once. */
static uint32_t chunk_of(uint32_t n_vocab) {
    return n_vocab > 65536 ? 128 : n_vocab > 32768 ? 256 : 512;
}

/* Tokens that go backward through a group of products and what stands between them before the next
 * ones do: what one wrote is in a cache where the next reads it. Sums over tokens are taken by
 * these pieces. */
#define TOGETHER 1024

#define MAX_RANK 4096

#define OWNED_BUFFERS (32 + SM_KIND_COUNT * SM_MAX_GRAD_BUFFERS)
#define OWNED_PER_THREAD 5

/* Carries the first failure through many allocations. */
typedef struct builder {
    sm_graph *g;
    sm_status status;
    sm_error *error;
    uint64_t made, total; /* weights that are ready, and of the whole file */
    uint64_t work;        /* since the hook was asked */
} builder;

/* Weights between two questions: well below a millisecond where memory is fast, some where each
 * page is touched for the first time. */
#define ASK_WEIGHTS (1u << 18)

/* False after a failure, and once the hook says so; asked after so many weights. */
static bool go_on(builder *b, uint64_t n) {
    b->work += n;
    if (!b->status && b->work >= ASK_WEIGHTS) {
        b->work = 0;
        if (sm_hook_ends(b->g->options.hook, b->made, b->total))
            b->status = sm_fail(b->error, SM_ERR_CANCELLED, "%s: cancelled", b->g->net->gguf->path);
    }
    return !b->status;
}

static void clear(builder *b, float *x, uint64_t count) {
    for (uint64_t n; count && go_on(b, 0); x += n, count -= n) {
        n = count < ASK_WEIGHTS ? count : ASK_WEIGHTS;
        memset(x, 0, n * sizeof *x);
        b->work += n;
    }
}

static void *own(builder *b, uint64_t n, uint64_t size) {
    if (b->status)
        return NULL;
    void *p = sm_alloc_array(b->g->mem, n ? n : 1, size);
    if (!p)
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for training (%llu bytes)",
                            (unsigned long long)(n * size));
    else
        b->g->owned[b->g->n_owned++] = p;
    return p;
}

static float *own_floats(builder *b, uint64_t rows, uint64_t stride) {
    uint64_t n;
    if (sm_mul_over(rows, stride, &n))
        n = UINT64_MAX;
    return own(b, n, sizeof(float));
}

/* ---- parameters ---------------------------------------------------------------------------- */

/* Enters a trained tensor; returns its gradient. */
static float *add_param(builder *b, const char *name, uint64_t rows, uint64_t cols, uint64_t depth,
                        float *value, bool decay) {
    sm_params *params = &b->g->params;
    float *grad = own_floats(b, rows, cols);
    if (b->status)
        return NULL;
    clear(b, grad, rows * cols);
    params->param[params->n++] = (sm_param){name, rows, cols, value, grad, decay, depth};
    params->n_elements += rows * cols;
    return grad;
}

/* Master and gradient of w, whose tensor they are made for when its first matrix comes: stacked
 * matrices are one parameter. */
static void own_master(builder *b, sm_master *master, sm_weight *w) {
    const uint64_t depth = w->n_experts ? w->n_experts : 1, size = (uint64_t)w->rows * w->cols;
    master->w = w;
    if (!w->expert) {
        master->value = own_floats(b, depth * w->rows, w->cols);
        master->grad =
            add_param(b, w->name, depth * w->rows, w->cols, w->n_experts, master->value, true);
        return;
    }
    const sm_master *first = master - (uint64_t)w->expert * w->stride;
    master->value = first->value + w->expert * size;
    master->grad = first->grad + w->expert * size;
}

/* The f32 master of a matrix, which takes the place of the file's data. */
static void add_matrix(builder *b, sm_master *master, sm_weight *w) {
    if (b->status)
        return;
    own_master(b, master, w);
    if (b->status)
        return;
    for (uint64_t r = 0; r < w->rows && go_on(b, w->cols); r++, b->made += w->cols)
        b->g->kernels->type[w->type].dequantize(master->value + r * w->cols,
                                                w->data + r * w->row_bytes, w->cols);
    w->type = SM_DTYPE_F32;
    w->data = (const uint8_t *)master->value;
    w->row_bytes = (uint64_t)w->cols * sizeof(float);
}

/* The copy of a matrix that the forward pass multiplies by; sm_graph_update fills it in. */
static void add_packed(builder *b, sm_weight *w) {
    if (b->status)
        return;
    w->type = b->g->options.precision == SM_PRECISION_BF16 ? SM_DTYPE_BF16 : SM_DTYPE_F32;
    w->group_bytes = sm_packed_bytes(w->type, w->cols);
    if (w->type != SM_DTYPE_F32) {
        w->data = NULL; /* read packed only */
        w->row_bytes = 0;
    }
    w->packed = w->own_packed = sm_alloc(b->g->mem, sm_weight_packed_bytes(w));
    if (!w->packed) /* the net frees it */
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for training '%s'", w->name);
}

/* A vector of the net, trained in place. */
static void add_vector(builder *b, sm_vector *v) {
    if (b->status)
        return;
    char *name = b->g->names[b->g->params.n];
    sm_slot_name(v->block, v->slot, name, sizeof *b->g->names);
    b->g->blocks[v->block->index].v[v->slot] = add_param(b, name, 1, v->n, 0, v->value, false);
}

/* Matrices, then vectors; of layer n_layer the last norm alone. */
static void add_layer(builder *b, uint32_t layer) {
    sm_net *net = b->g->net;
    for (uint32_t i = net->first_of[layer]; i < net->head->index && net->matrices[i].layer == layer;
         i++) {
        add_matrix(b, &b->g->masters[i], &net->matrices[i]);
        add_packed(b, &net->matrices[i]);
    }
    for (uint32_t i = 0; i < net->n_vectors; i++)
        if (net->vectors[i].block->layer == layer)
            add_vector(b, &net->vectors[i]);
}

/* What the head multiplies by where it has no tensor of its own. */
static void share_embedding(sm_net *net) {
    const sm_weight *e = &net->embd;
    net->head->name = e->name;
    net->head->type = e->type;
    net->head->data = e->data;
    net->head->row_bytes = e->row_bytes;
}

static void add_all(builder *b) {
    sm_graph *g = b->g;
    sm_net *net = g->net;
    const bool tied = sm_net_tied(net);
    sm_master embd = {0}, *head = &g->masters[net->head->index];
    add_matrix(b, &embd, &net->embd);
    g->embd_grad = embd.grad;
    if (tied) {
        share_embedding(net);
        *head = embd;
        head->w = net->head;
    } else {
        add_matrix(b, head, net->head);
    }
    add_packed(b, net->head);
    for (uint32_t i = 0; i <= net->config.n_layer; i++)
        add_layer(b, i);
}

/* ---- LoRA: all is frozen but A and B of the matrices that are asked for ----------- */

/* What Hugging Face's models call the matrices, and what a tensor is called here before
 * ".weight". */
static const char *const other_names[][2] = {
    {"q_proj", "attn_q"},      {"k_proj", "attn_k"},      {"v_proj", "attn_v"},
    {"o_proj", "attn_output"}, {"gate_proj", "ffn_gate"}, {"up_proj", "ffn_up"},
    {"down_proj", "ffn_down"}, {"lm_head", "output"},
};

/* Whether the last part of a tensor's name, before ".weight", is `own`. */
static bool is_called(const char *name, const char *own) {
    const size_t n = strlen(name), m = strlen(own) + strlen(".weight");
    return n >= m && (n == m || name[n - m - 1] == '.') &&
           strncmp(name + n - m, own, strlen(own)) == 0;
}

/* Whether a pattern fits the name: it is part of it, or another name of that matrix. */
static bool contains(const char *name, const char *part, size_t length) {
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
        if (strlen(other_names[i][0]) == length && strncmp(other_names[i][0], part, length) == 0)
            return is_called(name, other_names[i][1]);
    for (; *name; name++)
        if (strncmp(name, part, length) == 0)
            return true;
    return false;
}

/* The next of comma-separated patterns, without spaces around it; NULL behind the last. */
static const char *next_pattern(const char **targets, size_t *length) {
    const char *at = *targets;
    if (!*at)
        return NULL;
    at += strspn(at, " ");
    *length = strcspn(at, ",");
    *targets = at + *length + (at[*length] == ',');
    while (*length && at[*length - 1] == ' ')
        (*length)--;
    return at;
}

/* One of the patterns fits the name. */
static bool is_target(const char *targets, const char *name) {
    size_t length;
    for (const char *at; (at = next_pattern(&targets, &length)) != NULL;)
        if (length && contains(name, at, length))
            return true;
    return false;
}

/* One of the two factors of an adapter: which tensor it belongs to, and its shape. */
typedef struct half {
    const sm_weight *of;
    const char *suffix;
    uint32_t rows, cols;
    const sm_lora *first; /* of the first matrix of a stack */
    bool is_a;
} half;

/* Its master, which is also a parameter (of stacked matrices one): made for the first of them. */
static float *half_value(builder *b, const half *h, float **grad, const float *first_grad) {
    const uint64_t depth = h->of->n_experts ? h->of->n_experts : 1;
    const uint64_t size = (uint64_t)h->rows * h->cols;
    if (h->of->expert) {
        const sm_weight *first = h->is_a ? &h->first->a : &h->first->b;
        *grad = (float *)(uintptr_t)first_grad + h->of->expert * size;
        return (float *)(uintptr_t)first->data + h->of->expert * size;
    }
    char *name = b->g->names[b->g->params.n];
    if (sm_format(name, sizeof *b->g->names, "%s.%s", h->of->name, h->suffix) >=
        sizeof *b->g->names) {
        b->status =
            sm_fail(b->error, SM_ERR_UNSUPPORTED, "the name of '%s' is too long", h->of->name);
        return NULL;
    }
    float *value = own_floats(b, depth * h->rows, h->cols);
    if (b->status)
        return NULL;
    clear(b, value, depth * size);
    *grad = add_param(b, name, depth * h->rows, h->cols, h->of->n_experts, value, true);
    return value;
}

/* A weight of an adapter: its master and the packed copy; its gradient. */
static float *add_half(builder *b, sm_weight *w, const half *h, const float *first_grad) {
    float *grad = NULL;
    if (b->status)
        return NULL;
    const uint64_t group_bytes = sm_packed_bytes(SM_DTYPE_F32, h->cols);
    float *value = half_value(b, h, &grad, first_grad);
    uint8_t *packed = own(b, (h->rows + SM_GROUP - 1) / SM_GROUP, group_bytes);
    if (b->status)
        return NULL;
    *w = (sm_weight){.name = h->of->name,
                     .type = SM_DTYPE_F32,
                     .rows = h->rows,
                     .cols = h->cols,
                     .data = (const uint8_t *)value,
                     .row_bytes = (uint64_t)h->cols * sizeof *value,
                     .packed = packed,
                     .own_packed = packed,
                     .group_bytes = group_bytes};
    return grad;
}

/* A uniform in +-1/sqrt(cols), a function of the seed and its place; B zero. */
static void add_lora(builder *b, sm_master *master, sm_lora *lora) {
    const sm_graph_options *o = &b->g->options;
    const sm_weight *w = master->w;
    const uint64_t before = (uint64_t)w->expert * w->stride;
    const sm_master *first = master - before;
    const half A = {w, "lora_a", o->lora_rank, w->cols, lora - before, true};
    const half B = {w, "lora_b", w->rows, o->lora_rank, lora - before, false};
    master->a_grad = add_half(b, &lora->a, &A, first->a_grad);
    master->b_grad = add_half(b, &lora->b, &B, first->b_grad);
    if (b->status)
        return;
    master->lora = lora;
    lora->scale =
        (float)(o->lora_alpha / (o->lora_rs ? sqrt((double)o->lora_rank) : (double)o->lora_rank));
    float *a = (float *)(uintptr_t)lora->a.data;
    const double range = 1 / sqrt((double)w->cols);
    for (uint64_t i = 0; i < (uint64_t)o->lora_rank * w->cols && go_on(b, 1); i++)
        a[i] = (float)(range * (2 * sm_weight_random(o->seed, w, i) - 1));
}

/* Whether a target can be this matrix: a tied head cannot have an adapter of its own. */
static bool adaptable(const sm_net *net, const sm_weight *w) {
    return w != net->head || !sm_net_tied(net);
}

/* Refuses a pattern that fits nothing. */
static sm_status no_such_target(const builder *b, const char *pattern, size_t length) {
    char known[256], shown[64];
    size_t n = 0;
    uint32_t nearest, n_meant;
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names && n < sizeof known; i++)
        n += sm_format(known + n, sizeof known - n, "%s%s, %s", i ? ", " : "", other_names[i][1],
                       other_names[i][0]);
    sm_format(shown, sizeof shown, "%.*s", (int)(length < sizeof shown ? length : sizeof shown),
              pattern);
    sm_names_find(known, shown, &nearest);
    const char *meant = sm_names_get(known, nearest, &n_meant);
    return sm_fail(b->error, SM_ERR_ARGUMENT,
                   "LoRA target '%s' is in the name of no matrix of %s%s%.*s%s (known are %s)",
                   shown, b->g->net->gguf->path, meant ? ": did you mean " : "", (int)n_meant,
                   meant ? meant : "", meant ? "?" : "", known);
}

/* Checks each pattern alone, so that a misspelt one does not go unnoticed. */
static void check_targets(builder *b, const char *targets) {
    const sm_net *net = b->g->net;
    size_t length;
    for (const char *at; !b->status && (at = next_pattern(&targets, &length)) != NULL;) {
        bool found = false;
        for (uint32_t i = 0; i < net->n_matrices && !found; i++)
            found =
                adaptable(net, &net->matrices[i]) && contains(net->matrices[i].name, at, length);
        if (!length || !found)
            b->status = no_such_target(b, at, length);
    }
}

/* Without targets all matrices of layers get one, the head only by its name. */
static bool is_chosen(const builder *b, const sm_weight *w) {
    const char *targets = b->g->options.lora_targets;
    if (!targets)
        return w != b->g->net->head;
    return adaptable(b->g->net, w) && is_target(targets, w->name);
}

static void add_adapter(builder *b) {
    sm_graph *g = b->g;
    sm_net *net = g->net;
    if (g->options.lora_targets)
        check_targets(b, g->options.lora_targets);
    g->adapter.lora = own(b, net->n_matrices, sizeof *g->adapter.lora);
    if (b->status)
        return;
    memset(g->adapter.lora, 0, net->n_matrices * sizeof *g->adapter.lora);
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        g->masters[i].w = &net->matrices[i];
        if (is_chosen(b, &net->matrices[i]))
            add_lora(b, &g->masters[i], &g->adapter.lora[i]);
    }
    static const float one = 1;
    g->adapter_list[0] = &g->adapter;
    g->adapters = (sm_adapters){
        .n = 1, .adapter = g->adapter_list, .scale = &one, .dropout = {.seed = g->options.seed}};
}

/* Buffers of frozen matrices and of adapters, forward and backward. */
static void add_adapter_buffers(builder *b) {
    sm_graph *g = b->g;
    const uint64_t T = g->options.max_tokens;
    const bool dropout = g->options.lora_dropout > 0;
    const uint64_t widest = sm_net_widest_input(g->net);
    g->slab = own_floats(b, SM_DEQUANT_ROWS, widest);
    g->ld_low = sm_row_stride(g->options.lora_rank);
    g->low = own_floats(b, T, g->ld_low);
    g->dlow = own_floats(b, T, g->ld_low);
    g->ld_dropped = sm_row_stride(widest);
    if (dropout)
        g->dropped = own_floats(b, T, g->ld_dropped);
    if (!b->status)
        b->status =
            sm_workspace_adapt(g->ws, sm_adapter_width(&g->adapter, g->net), dropout, b->error);
}

/* ---- buffers --------------------------------------------------------------------- */

/* In bf16 attention multiplies rounded keys, values and queries (sm_tape.rounded) forward as it
 * does backward: other scores would not fit the sums that the forward pass leaves. */
static uint32_t kv_type(const sm_graph *g) {
    return g->options.precision == SM_PRECISION_BF16 ? SM_KV_BF16 : SM_KV_F32;
}

static void add_batch_buffers(builder *b) {
    sm_graph *g = b->g;
    const uint64_t T = g->options.max_tokens, spans = g->options.max_spans;
    g->spans = own(b, spans, sizeof *g->spans);
    g->states = own(b, spans, sizeof *g->states);
    g->kv = own(b, spans * g->net->n_states, sizeof *g->kv);
    /* spans are cut to whole tiles of 16 tokens, and begin on cache lines */
    const uint64_t tokens = T + 15 * (spans < T ? spans : T);
    if (!b->status && tokens > UINT32_MAX)
        b->status = sm_fail(b->error, SM_ERR_ARGUMENT,
                            "batches of %u tokens in %u spans are too "
                            "large",
                            g->options.max_tokens, g->options.max_spans);
    g->memory = own(b,
                    sm_state_bytes(g->net, kv_type(g), (uint32_t)tokens) +
                        spans * sm_state_bytes(g->net, kv_type(g), 0) + 2 * SM_ALIGN * spans,
                    1);
    g->rows = own(b, T, sizeof *g->rows);
}

/* Buffers of a kind's backward pass, as large as its largest block wants them. */
static void add_kind_buffers(builder *b, const sm_block *block) {
    sm_graph *g = b->g;
    const sm_grad_kind *kind = sm_grad_kind_of(block);
    for (uint32_t i = 0; i < kind->n_buffers && !g->buffer[block->kind->id][i]; i++) {
        uint64_t widest = 0;
        for (uint32_t k = 0; k < g->net->n_blocks; k++)
            if (g->net->blocks[k].kind == block->kind)
                widest = max_u64(widest, sm_grad_ld(&g->net->blocks[k], i));
        g->buffer[block->kind->id][i] =
            own_floats(b, kind->buffer[i].together ? g->together : g->options.max_tokens, widest);
    }
}

static void add_gradient_buffers(builder *b) {
    sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    const sm_tape *tape = g->tape;
    const uint64_t T = g->options.max_tokens;
    g->chunk = chunk_of(c->n_vocab);
    if (g->chunk > T)
        g->chunk = g->options.max_tokens;
    g->ldl = sm_row_stride(c->n_vocab);
    g->logits = own_floats(b, g->chunk, g->ldl);
    g->z = own_floats(b, g->chunk, tape->ldx);
    g->dz = own_floats(b, g->chunk, tape->ldx);
    g->losses = own(b, g->chunk, sizeof *g->losses);
    /* frozen matrices are unpacked once for all tokens */
    g->together = g->options.lora_rank || T < TOGETHER ? g->options.max_tokens : TOGETHER;
    g->dx = own_floats(b, T, tape->ldx);
    g->dn = own_floats(b, g->together, tape->ldx);
    g->normed = own_floats(b, g->together, tape->ldx);
    for (uint32_t i = 0; i < g->net->n_blocks && !b->status; i++)
        add_kind_buffers(b, &g->net->blocks[i]);
    g->r = own_floats(b, T, 1);
    for (uint32_t i = 0; i < g->net->n_blocks && !g->dy; i++)
        if (g->net->blocks[i].wiring.post)
            g->dy = own_floats(b, T, tape->ldx);
}

static void add_thread_buffers(builder *b, uint32_t n_threads) {
    sm_graph *g = b->g;
    const uint64_t widest = sm_net_widest_input(g->net);
    uint32_t n_rot = 0;
    for (uint32_t i = 0; i < g->net->n_ropes; i++)
        n_rot = g->net->ropes[i].n_rot > n_rot ? g->net->ropes[i].n_rot : n_rot;
    g->threads = own(b, n_threads, sizeof *g->threads);
    if (g->threads)
        memset(g->threads, 0, n_threads * sizeof *g->threads);
    for (uint32_t i = 0; i < n_threads && !b->status; i++) {
        sm_grad_scratch *s = &g->threads[i];
        s->s = own_floats(b, SM_GRAD_QUERIES, SM_GRAD_KEYS);
        s->ds = own_floats(b, SM_GRAD_QUERIES, SM_GRAD_KEYS);
        s->neg_sin = own_floats(b, n_rot / 2, 1);
        if (sm_net_head(g->net)->head.cap > 0)
            s->logits = own_floats(b, g->net->config.n_vocab, 1);
        s->bf16 = own(b, SM_GROUP * widest, sizeof *s->bf16);
    }
}

/* ---- making and freeing ---------------------------------------------------------- */

static sm_status check_options(const sm_graph_options *o, sm_error *error) {
    if (o->max_tokens < 1 || o->max_tokens > SM_GRAPH_MAX_TOKENS)
        return sm_fail(error, SM_ERR_ARGUMENT, "max_tokens is %u, not in 1..%u", o->max_tokens,
                       SM_GRAPH_MAX_TOKENS);
    if (o->max_spans < 1 || o->max_spans > o->max_tokens)
        return sm_fail(error, SM_ERR_ARGUMENT, "max_spans is %u, not in 1..max_tokens",
                       o->max_spans);
    if (o->precision != SM_PRECISION_F32 && o->precision != SM_PRECISION_BF16)
        return sm_fail(error, SM_ERR_ARGUMENT, "precision is %d", (int)o->precision);
    if (!o->lora_rank)
        return SM_OK;
    if (o->lora_rank > MAX_RANK)
        return sm_fail(error, SM_ERR_ARGUMENT, "lora_rank is %u, not in 1..%u", o->lora_rank,
                       MAX_RANK);
    if (!(o->lora_alpha > 0 && o->lora_alpha < 1e6))
        return sm_fail(error, SM_ERR_ARGUMENT, "lora_alpha is %g, not above 0 and below 1e6",
                       o->lora_alpha);
    if (!(o->lora_dropout >= 0 && o->lora_dropout < 1))
        return sm_fail(error, SM_ERR_ARGUMENT, "lora_dropout is %g, not in 0..1 (1 excluded)",
                       o->lora_dropout);
    return SM_OK;
}

static int32_t ask_builder(void *user) {
    const builder *b = user;
    return sm_hook_ends(b->g->options.hook, b->total, b->total);
}

/* The first update, which asks the hook that opening asks. */
static void first_update(builder *b) {
    sm_graph_set_cancel(b->g, ask_builder, b);
    if (sm_graph_update(b->g))
        b->status = sm_fail(b->error, SM_ERR_CANCELLED, "%s: cancelled", b->g->net->gguf->path);
    sm_graph_set_cancel(b->g, NULL, NULL);
    b->g->options.hook = NULL;
}

static void build(builder *b) {
    sm_graph *g = b->g;
    const sm_graph_options *o = &g->options;
    const sm_net *net = g->net;
    const uint64_t n_params = 2 * (uint64_t)net->n_matrices + net->n_vectors + 1;
    const uint32_t n_threads = sm_team_size(g->team);
    g->owned = sm_alloc_array(g->mem,
                              3 * n_params + OWNED_BUFFERS + (uint64_t)n_threads * OWNED_PER_THREAD,
                              sizeof *g->owned);
    if (!g->owned) {
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for training");
        return;
    }
    g->params.param = own(b, n_params, sizeof *g->params.param);
    g->names = own(b, n_params, sizeof *g->names);
    g->masters = own(b, net->n_matrices, sizeof *g->masters);
    g->blocks = own(b, (uint64_t)net->n_blocks + 1, sizeof *g->blocks);
    if (b->status)
        return;
    memset(g->masters, 0, net->n_matrices * sizeof *g->masters);
    memset(g->blocks, 0, ((uint64_t)net->n_blocks + 1) * sizeof *g->blocks);
    if (o->lora_rank)
        add_adapter(b);
    else
        add_all(b);
    if (!b->status)
        sm_net_choose_forms(g->net,
                            o->precision == SM_PRECISION_F32 ? SM_ROUND_NONE : SM_ROUND_ALL);
    add_batch_buffers(b);
    if (!b->status)
        b->status =
            sm_tape_new(&g->tape, g->mem, g->net, o->max_tokens, !o->checkpoint_layers, b->error);
    if (!b->status) {
        g->tape->rounded = o->precision == SM_PRECISION_BF16;
        b->status = sm_workspace_new(&g->ws, g->mem, g->net, n_threads, o->max_tokens,
                                     o->max_tokens, b->error);
    }
    if (b->status)
        return;
    if (o->lora_rank)
        add_adapter_buffers(b);
    add_gradient_buffers(b);
    add_thread_buffers(b, n_threads);
}

sm_status sm_graph_new(sm_graph **out, sm_mem *mem, const sm_gguf *gguf, const sm_kernels *kernels,
                       const sm_graph_options *options, sm_error *error) {
    *out = NULL;
    sm_status status = check_options(options, error);
    if (status)
        return status;
    sm_graph *g = sm_alloc_zero(mem, sizeof *g);
    if (!g)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for training");
    g->mem = mem;
    g->options = *options;
    g->kernels = kernels;
    builder b = {.g = g, .error = error};
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        b.total += gguf->tensors[i].dims[0] * gguf->tensors[i].dims[1];
    b.status = sm_gguf_expect(gguf, SM_GGUF_HOLDS_MODEL, error);
    if (!b.status)
        b.status = sm_net_load(&g->net, mem, gguf, kernels, NULL, NULL, error);
    if (!b.status)
        b.status = sm_team_new(&g->team, mem, options->n_threads, error);
    if (!b.status)
        b.status = sm_gemm_scratch_new(&g->gemm, mem, options->n_threads, error);
    if (!b.status)
        build(&b);
    if (!b.status)
        first_update(&b);
    if (b.status) {
        sm_graph_free(g);
        return b.status;
    }
    *out = g;
    return SM_OK;
}

void sm_graph_free(sm_graph *g) {
    if (!g)
        return;
    sm_workspace_free(g->ws);
    sm_tape_free(g->tape);
    sm_gemm_scratch_free(g->gemm);
    sm_team_free(g->team);
    for (uint32_t i = 0; i < g->n_owned; i++)
        sm_free(g->mem, g->owned[i]);
    sm_free(g->mem, g->owned);
    sm_net_free(g->net);
    sm_free(g->mem, g);
}

const sm_params *sm_graph_params(const sm_graph *g) {
    return &g->params;
}
const sm_net *sm_graph_net(const sm_graph *g) {
    return g->net;
}
const sm_adapters *sm_graph_adapters(const sm_graph *g) {
    return g->adapters.n ? &g->adapters : NULL;
}
sm_team *sm_graph_team(sm_graph *g) {
    return g->team;
}
sm_gemm_scratch *sm_graph_gemm(sm_graph *g) {
    return g->gemm;
}
void sm_graph_set_cancel(sm_graph *g, int32_t (*cancel)(void *user), void *user) {
    g->stop.cancel = cancel;
    g->stop.cancel_user = user;
}
void sm_graph_begin(sm_graph *g) {
    atomic_store_explicit(&g->stop.stopped, false, memory_order_relaxed);
}
bool sm_graph_ask(const sm_graph *g) {
    return g->stop.cancel && g->stop.cancel(g->stop.cancel_user);
}
bool sm_graph_stopped(const sm_graph *g) {
    return atomic_load_explicit(&g->stop.stopped, memory_order_relaxed);
}
sm_crew sm_graph_crew(sm_graph *g, uint32_t thread, uint32_t n_threads) {
    return (sm_crew){g->team, g->kernels, g->gemm, thread, n_threads, &g->stop};
}

/* ---- update ---------------------------------------------------------------------- */

/* This thread's groups of a master of w's shape. */
static void pack_share(const sm_crew *crew, const sm_graph *g, const sm_weight *w,
                       const float *value, uint16_t *bf16) {
    uint64_t begin, end;
    sm_share((w->rows + SM_GROUP - 1) / SM_GROUP, crew->thread, crew->n_threads, &begin, &end);
    for (uint64_t i = begin; i < end && !sm_crew_stopped_at(crew, i - begin, SM_GROUP * w->cols);
         i++) {
        const float *from = value + i * SM_GROUP * w->cols;
        const uint64_t left = w->rows - i * SM_GROUP, n = left < SM_GROUP ? left : SM_GROUP;
        uint8_t *to = w->own_packed + i * w->group_bytes;
        if (w->type == SM_DTYPE_F32) {
            g->kernels->type[SM_DTYPE_F32].pack(to, from, w->cols * sizeof *from, n, w->cols);
            continue;
        }
        for (uint64_t j = 0; j < n * w->cols; j++)
            bf16[j] = sm_f32_to_bf16(from[j]);
        g->kernels->type[SM_DTYPE_BF16].pack(to, bf16, w->cols * sizeof *bf16, n, w->cols);
    }
}

static void pack_master(const sm_crew *crew, const sm_graph *g, const sm_master *master,
                        uint16_t *bf16) {
    if (master->value)
        pack_share(crew, g, master->w, master->value, bf16);
    if (master->lora) {
        const sm_weight *a = &master->lora->a, *b = &master->lora->b;
        pack_share(crew, g, a, (const float *)(const void *)a->data, bf16);
        pack_share(crew, g, b, (const float *)(const void *)b->data, bf16);
    }
}

static void run_update(void *arg, uint32_t thread, uint32_t n_threads) {
    sm_graph *g = arg;
    const sm_crew crew = sm_graph_crew(g, thread, n_threads);
    uint16_t *bf16 = g->threads[thread].bf16;
    for (uint32_t i = 0; i < g->net->n_matrices; i++)
        pack_master(&crew, g, &g->masters[i], bf16);
}

sm_status sm_graph_update(sm_graph *g) {
    sm_graph_begin(g);
    g->lap_start = sm_time_ns();
    sm_team_run(g->team, run_update, g);
    sm_lap(g, SM_PART_UPDATE);
    return sm_graph_stopped(g) || sm_team_torn(g->team) ? SM_ERR_CANCELLED : SM_OK;
}

void sm_graph_times(const sm_graph *g, uint64_t times[SM_PART_COUNT]) {
    memcpy(times, g->times, sizeof g->times);
}

/* ---- a batch --------------------------------------------------------------------- */

static sm_status check_spans(const sm_graph *g, const sm_train_batch *batch, sm_error *error) {
    if (batch->n_tokens < 1 || batch->n_tokens > g->options.max_tokens)
        return sm_fail(error, SM_ERR_ARGUMENT, "a batch of %u tokens, not in 1..%u",
                       batch->n_tokens, g->options.max_tokens);
    if (batch->n_spans < 1 || batch->n_spans > g->options.max_spans)
        return sm_fail(error, SM_ERR_ARGUMENT, "a batch of %u spans, not in 1..%u", batch->n_spans,
                       g->options.max_spans);
    bool ok = batch->span_begin[0] == 0 && batch->span_begin[batch->n_spans] == batch->n_tokens;
    for (uint32_t i = 0; i < batch->n_spans && ok; i++)
        ok = batch->span_begin[i] < batch->span_begin[i + 1];
    return ok ? SM_OK
              : sm_fail(error, SM_ERR_ARGUMENT,
                        "a batch whose spans do not cover its %u tokens in order", batch->n_tokens);
}

static sm_status check_tokens(const sm_graph *g, const sm_train_batch *batch, sm_error *error) {
    const uint32_t n_vocab = g->net->config.n_vocab;
    for (uint32_t i = 0; i < batch->n_tokens; i++)
        if ((uint32_t)batch->ids[i] >= n_vocab)
            return sm_fail(error, SM_ERR_TOKEN, "token %u of the batch is %d, not in 0..%u", i,
                           (int)batch->ids[i], n_vocab - 1);
        else if (batch->targets[i] < -1 ||
                 (batch->targets[i] >= 0 && (uint32_t)batch->targets[i] >= n_vocab))
            return sm_fail(error, SM_ERR_TOKEN, "target %u of the batch is %d, not in -1..%u", i,
                           (int)batch->targets[i], n_vocab - 1);
    return SM_OK;
}

/* Spans with caches cut from the arena; *n_rows tokens with a target. */
static void lay_out(sm_graph *g, const sm_train_batch *batch, uint32_t *n_rows) {
    const uint32_t type = kv_type(g);
    uint64_t at = 0;
    g->n_spans = batch->n_spans;
    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const uint32_t first = batch->span_begin[i], n = batch->span_begin[i + 1] - first;
        sm_state_share(&g->states[i], g->net, type, n, g->kv + i * g->net->n_states,
                       g->memory + at);
        g->spans[i] = (sm_span){.state = &g->states[i], .first = first, .n = n};
        at += sm_state_bytes(g->net, type, n);
    }
    *n_rows = 0;
    for (uint32_t i = 0; i < batch->n_tokens; i++)
        if (batch->targets[i] >= 0)
            g->rows[(*n_rows)++] = i;
}

static sm_status run_batch(sm_graph *g, const sm_train_batch *batch, double weight, bool backward,
                           double *loss, uint64_t *n_targets, sm_error *error) {
    sm_status status = check_spans(g, batch, error);
    if (!status)
        status = check_tokens(g, batch, error);
    if (status)
        return status;
    uint32_t n_rows;
    const uint32_t process = sm_process_id();
    lay_out(g, batch, &n_rows);
    g->adapters.dropout.rate = backward ? g->options.lora_dropout : 0;
    g->tape->begin = 0;
    g->tape->end = g->net->config.n_layer;
    const sm_step forward = {.n_tokens = batch->n_tokens,
                             .ids = batch->ids,
                             .n_spans = g->n_spans,
                             .spans = g->spans,
                             .cancel = g->stop.cancel,
                             .cancel_user = g->stop.cancel_user,
                             .tape = g->tape,
                             .adapters = &g->adapters};
    sm_graph_begin(g);
    g->lap_start = sm_time_ns();
    status = sm_forward(g->ws, g->team, &forward, NULL);
    sm_lap(g, SM_PART_FORWARD);
    if (!status)
        status = sm_graph_head(g, batch, n_rows, weight, backward, loss);
    if (!status && backward)
        status = sm_graph_layers(g, batch);
    if (process != sm_process_id()) /* without the threads that it began with */
        return sm_fail(error, SM_ERR_STATE,
                       "this process was forked inside the call, by its cancel hook: here it ends");
    if (status)
        return sm_fail(error, status, "cancelled");
    if (n_targets)
        *n_targets = n_rows;
    return SM_OK;
}

sm_status sm_graph_loss(sm_graph *g, const sm_train_batch *batch, double *loss, uint64_t *n_targets,
                        sm_error *error) {
    uint64_t n = 0;
    sm_status status = run_batch(g, batch, 0, false, loss, &n, error);
    if (status)
        return status;
    if (n)
        *loss /= (double)n;
    if (n_targets)
        *n_targets = n;
    return SM_OK;
}

sm_status sm_graph_backward(sm_graph *g, const sm_train_batch *batch, double weight, uint64_t draw,
                            double *loss_sum, uint64_t *n_targets, sm_error *error) {
    g->adapters.dropout.draw = draw;
    return run_batch(g, batch, weight, true, loss_sum, n_targets, error);
}
