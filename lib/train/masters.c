/* Parameters: f32 masters of what is trained, their gradients, the copies that are computed
 * with. */
#include "builder.h"
#include "pack.h"

#include <math.h>
#include <string.h>

/* ---- parameters ---------------------------------------------------------------------------- */

/* Enters a trained tensor; returns its gradient. */
static float *add_param(sm_builder *b, const char *name, uint64_t rows, uint64_t cols,
                        uint64_t depth, float *value, bool decay) {
    sm_params *params = &b->g->params;
    float *grad = sm_build_floats(b, rows, cols);
    if (b->status)
        return NULL;
    sm_build_clear(b, grad, rows * cols);
    params->param[params->n++] = (sm_param){.name = name,
                                            .rows = rows,
                                            .cols = cols,
                                            .value = value,
                                            .grad = grad,
                                            .decay = decay,
                                            .depth = depth};
    params->n_elements += rows * cols;
    return grad;
}

/* From the first matrix of w's tensor to w, in the net's list. */
static uint64_t before(const sm_weight *w) {
    return (uint64_t)w->expert * w->stride + w->part;
}

/* Master and gradient of w, whose tensor they are made for when its first matrix comes: stacked and
 * joined matrices are one parameter. */
static void own_master(sm_builder *b, sm_master *master, sm_weight *w) {
    const uint64_t rows = (uint64_t)w->joined_rows * (w->n_experts ? w->n_experts : 1);
    master->w = w;
    if (sm_weight_is_first(w)) {
        master->value = sm_build_floats(b, rows, w->cols);
        master->grad = add_param(b, w->name, rows, w->cols, w->n_experts, master->value, true);
        return;
    }
    const sm_master *first = master - before(w);
    master->value = first->value + sm_weight_first_row(w) * w->cols;
    master->grad = first->grad + sm_weight_first_row(w) * w->cols;
}

/* The f32 master of a matrix, which takes the place of the file's data. */
static void add_matrix(sm_builder *b, sm_master *master, sm_weight *w) {
    if (b->status)
        return;
    own_master(b, master, w);
    if (b->status)
        return;
    for (uint64_t r = 0; r < w->rows && sm_build_go_on(b, w->cols); r++, b->made += w->cols)
        b->g->kernels->type[w->type].dequantize(master->value + r * w->cols,
                                                w->data + r * w->row_bytes, w->cols);
    w->type = SM_DTYPE_F32;
    w->data = (const uint8_t *)master->value;
    w->row_bytes = (uint64_t)w->cols * sizeof(float);
}

/* The copy of a matrix that the forward pass multiplies by; sm_graph_update fills it in. */
static void add_packed(sm_builder *b, sm_weight *w) {
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
static void add_vector(sm_builder *b, sm_vector *v) {
    if (b->status)
        return;
    float **grad = &b->g->blocks[v->block->index].v[v->slot];
    if (v->part) {
        *grad = grad[-1] + v[-1].n;
        return;
    }
    char *name = b->g->names[b->g->params.n];
    sm_slot_name(v->block, v->slot, name, sizeof *b->g->names);
    *grad = add_param(b, name, 1, v->joined, 0, v->value, false);
}

/* Matrices, then vectors; of layer n_layer the last norm alone. */
static void add_layer(sm_builder *b, uint32_t layer) {
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

void sm_build_masters(sm_builder *b) {
    sm_graph *g = b->g;
    sm_net *net = g->net;
    const bool tied = sm_net_tied(net);
    sm_master embd = {0}, *head = &g->masters[net->head->index];
    add_matrix(b, &embd, &net->embd);
    g->embd_grad = embd.grad;
    if (net->inputs.rows) {
        sm_master inputs = {0};
        add_matrix(b, &inputs, &net->inputs);
        g->inputs_grad = inputs.grad;
    }
    if (net->positions.rows) {
        sm_master positions = {0};
        add_matrix(b, &positions, &net->positions);
        g->positions_grad = positions.grad;
    }
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
    for (uint32_t i = 1; i < net->n_blocks; i++) /* one norm of two blocks is one parameter */
        for (uint32_t s = SM_SLOT_PRE; s <= SM_SLOT_PRE_BIAS && net->blocks[i].wiring.shared; s++)
            g->blocks[i].v[s] = g->blocks[i - 1].v[s];
}

/* One of the two factors of an adapter: which tensor it belongs to, its shape, which rows of its
 * own tensor it is. */
typedef struct half {
    const sm_weight *of;
    const char *suffix;
    uint32_t rows, cols;
    uint64_t first_row, all_rows;
    const sm_weight *first; /* the one of the tensor's first matrix */
    double rate;            /* times the learning rate; 0: 1 */
} half;

/* Its master, which is also a parameter (of stacked and joined matrices one): made for the first of
 * them. */
static float *half_value(sm_builder *b, const half *h, float **grad, const float *first_grad) {
    if (!sm_weight_is_first(h->of)) {
        *grad = (float *)(uintptr_t)first_grad + h->first_row * h->cols;
        return (float *)(uintptr_t)h->first->data + h->first_row * h->cols;
    }
    char *name = b->g->names[b->g->params.n];
    if (sm_format(name, sizeof *b->g->names, "%s.%s", h->of->name, h->suffix) >=
        sizeof *b->g->names) {
        b->status =
            sm_fail(b->error, SM_ERR_UNSUPPORTED, "the name of '%s' is too long", h->of->name);
        return NULL;
    }
    float *value = sm_build_floats(b, h->all_rows, h->cols);
    if (b->status)
        return NULL;
    sm_build_clear(b, value, h->all_rows * h->cols);
    *grad = add_param(b, name, h->all_rows, h->cols, h->of->n_experts, value, true);
    if (*grad)
        b->g->params.param[b->g->params.n - 1].rate = h->rate;
    return value;
}

/* A weight of an adapter: its master and the packed copy; its gradient. */
static float *add_half(sm_builder *b, sm_weight *w, const half *h, const float *first_grad) {
    float *grad = NULL;
    if (b->status)
        return NULL;
    const uint64_t group_bytes = sm_packed_bytes(SM_DTYPE_F32, h->cols);
    float *value = half_value(b, h, &grad, first_grad);
    uint8_t *packed = sm_build_own(b, (h->rows + SM_GROUP - 1) / SM_GROUP, group_bytes);
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

/* A uniform in +-1/sqrt(cols), a function of the seed and its place; B zero. Joined matrices share
 * the A of the first of them. */
static void add_lora(sm_builder *b, sm_master *master, sm_lora *lora) {
    const sm_graph_options *o = &b->g->options;
    const sm_weight *w = master->w;
    const uint64_t rank = o->lora_rank, depth = w->n_experts ? w->n_experts : 1;
    const sm_master *first = master - before(w);
    const sm_lora *of_first = lora - before(w);
    const half A = {
        w, "lora_a", o->lora_rank, w->cols, w->expert * rank, depth * rank, &of_first->a, 0};
    const half B = {.of = w,
                    .suffix = "lora_b",
                    .rows = w->rows,
                    .cols = o->lora_rank,
                    .first_row = sm_weight_first_row(w),
                    .all_rows = depth * w->joined_rows,
                    .first = &of_first->b,
                    .rate = o->lora_b_rate};
    if (w->part) {
        lora->a = lora[-1].a;
        lora->shares = true;
        master->a_grad = master[-1].a_grad;
    } else {
        master->a_grad = add_half(b, &lora->a, &A, first->a_grad);
    }
    master->b_grad = add_half(b, &lora->b, &B, first->b_grad);
    if (b->status)
        return;
    master->lora = lora;
    lora->scale =
        (float)(o->lora_alpha / (o->lora_rs ? sqrt((double)o->lora_rank) : (double)o->lora_rank));
    if (w->part)
        return;
    float *a = (float *)(uintptr_t)lora->a.data;
    const double range = 1 / sqrt((double)w->cols);
    for (uint64_t i = 0; i < (uint64_t)o->lora_rank * w->cols && sm_build_go_on(b, 1); i++)
        a[i] = (float)(range * (2 * sm_weight_random(o->seed, w, i) - 1));
}

void sm_build_adapter(sm_builder *b) {
    sm_graph *g = b->g;
    sm_net *net = g->net;
    sm_build_check_targets(b);
    g->adapter.lora = sm_build_own(b, net->n_matrices, sizeof *g->adapter.lora);
    if (b->status)
        return;
    memset(g->adapter.lora, 0, net->n_matrices * sizeof *g->adapter.lora);
    for (uint32_t i = 0; i < net->n_matrices; i++) {
        g->masters[i].w = &net->matrices[i];
        if (sm_build_is_target(b, &net->matrices[i]))
            add_lora(b, &g->masters[i], &g->adapter.lora[i]);
    }
    static const float one = 1;
    g->adapter_list[0] = &g->adapter;
    g->adapters = (sm_adapters){
        .n = 1, .adapter = g->adapter_list, .scale = &one, .dropout = {.seed = g->options.seed}};
}
