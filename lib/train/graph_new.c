/* Making a network in training, with its buffers. */
#include "builder.h"

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

#define OWNED_BUFFERS (35 + SM_KIND_COUNT * SM_MAX_GRAD_BUFFERS)
#define OWNED_PER_THREAD 5

/* Buffers of frozen matrices and of adapters, forward and backward. */
static void add_adapter_buffers(sm_builder *b) {
    sm_graph *g = b->g;
    const uint64_t T = g->options.max_tokens;
    const bool dropout = g->options.lora_dropout > 0;
    const uint64_t widest = sm_net_widest_input(g->net);
    g->slab = sm_build_floats(b, SM_DEQUANT_ROWS, widest);
    g->ld_low = sm_row_stride(g->options.lora_rank);
    g->low = sm_build_floats(b, T, g->ld_low);
    g->dlow = sm_build_floats(b, T, g->ld_low);
    g->ld_dropped = sm_row_stride(widest);
    if (dropout)
        g->dropped = sm_build_floats(b, T, g->ld_dropped);
    if (!b->status)
        b->status =
            sm_workspace_adapt(g->ws, sm_adapter_width(&g->adapter, g->net), dropout, b->error);
}

/* ---- buffers --------------------------------------------------------------------- */

static void add_batch_buffers(sm_builder *b) {
    sm_graph *g = b->g;
    const uint64_t T = g->options.max_tokens, spans = g->options.max_spans;
    g->spans = sm_build_own(b, spans, sizeof *g->spans);
    g->states = sm_build_own(b, spans, sizeof *g->states);
    g->kv = sm_build_own(b, spans * g->net->n_states, sizeof *g->kv);
    /* spans are cut to whole tiles of 16 tokens, and begin on cache lines */
    const uint64_t tokens = T + 15 * (spans < T ? spans : T);
    if (!b->status && tokens > UINT32_MAX)
        b->status = sm_fail(b->error, SM_ERR_ARGUMENT,
                            "batches of %u tokens in %u spans are too "
                            "large",
                            g->options.max_tokens, g->options.max_spans);
    g->memory = sm_build_own(b,
                             sm_state_bytes(g->net, sm_graph_kv_type(g), (uint32_t)tokens) +
                                 spans * sm_state_bytes(g->net, sm_graph_kv_type(g), 0) +
                                 2 * SM_ALIGN * spans,
                             1);
    g->rows = sm_build_own(b, T, sizeof *g->rows);
    if (g->options.answers)
        g->row_weights = sm_build_own(b, T, sizeof *g->row_weights);
}

/* Buffers of a kind's backward pass, as large as its largest block wants them. */
static void add_kind_buffers(sm_builder *b, const sm_block *block) {
    sm_graph *g = b->g;
    const sm_grad_kind *kind = sm_grad_kind_of(block);
    for (uint32_t i = 0; i < kind->n_buffers && !g->buffer[block->kind->id][i]; i++) {
        uint64_t widest = 0;
        for (uint32_t k = 0; k < g->net->n_blocks; k++)
            if (g->net->blocks[k].kind == block->kind)
                widest = max_u64(widest, sm_grad_ld(&g->net->blocks[k], i));
        g->buffer[block->kind->id][i] = sm_build_floats(
            b, kind->buffer[i].together ? g->together : g->options.max_tokens, widest);
    }
}

static void add_gradient_buffers(sm_builder *b) {
    sm_graph *g = b->g;
    const sm_config *c = &g->net->config;
    const sm_tape *tape = g->tape;
    const uint64_t T = g->options.max_tokens;
    g->chunk = chunk_of(c->n_vocab);
    if (g->chunk > T)
        g->chunk = g->options.max_tokens;
    g->ldl = sm_row_stride(c->n_vocab);
    g->logits = sm_build_floats(b, g->chunk, g->ldl);
    g->z = sm_build_floats(b, g->chunk, tape->ldx);
    g->dz = sm_build_floats(b, g->chunk, tape->ldx);
    g->losses = sm_build_own(b, g->chunk, sizeof *g->losses);
    g->unlikes = sm_build_own(b, g->chunk, sizeof *g->unlikes);
    /* frozen matrices are unpacked once for all tokens */
    g->together = g->options.lora_rank || T < TOGETHER ? g->options.max_tokens : TOGETHER;
    g->dx = sm_build_floats(b, T, tape->ldx);
    g->dn = sm_build_floats(b, g->together, tape->ldx);
    g->normed = sm_build_floats(b, g->together, tape->ldx);
    for (uint32_t i = 0; i < g->net->n_blocks && !b->status; i++)
        add_kind_buffers(b, &g->net->blocks[i]);
    for (uint32_t i = 0; i < g->net->n_blocks && !g->aside; i++)
        if (g->net->blocks[i].wiring.aside)
            g->aside = sm_build_floats(b, T, tape->ldx);
    g->lent = sm_build_own(b, g->net->n_blocks, sizeof *g->lent);
    for (uint32_t i = 0; i < g->net->n_blocks && !b->status; i++)
        g->lent[i] = g->net->blocks[i].last_borrower
                         ? sm_build_floats(b, T, 2 * g->net->blocks[i].ld[SM_AT_K])
                         : NULL;
    g->r = sm_build_floats(b, T, 1);
    g->mean = sm_build_floats(b, T, 1);
    for (uint32_t i = 0; i < g->net->n_blocks && !g->dy; i++)
        if (g->net->blocks[i].wiring.post || g->net->blocks[i].wiring.scale > 0)
            g->dy = sm_build_floats(b, T, tape->ldx);
}

static void add_thread_buffers(sm_builder *b, uint32_t n_threads) {
    sm_graph *g = b->g;
    const uint64_t widest = sm_net_widest_input(g->net);
    uint32_t n_rot = 0;
    for (uint32_t i = 0; i < g->net->n_ropes; i++)
        n_rot = g->net->ropes[i].n_rot > n_rot ? g->net->ropes[i].n_rot : n_rot;
    g->threads = sm_build_own(b, n_threads, sizeof *g->threads);
    if (g->threads)
        memset(g->threads, 0, n_threads * sizeof *g->threads);
    for (uint32_t i = 0; i < n_threads && !b->status; i++) {
        sm_grad_scratch *s = &g->threads[i];
        s->s = sm_build_floats(b, SM_GRAD_QUERIES, SM_GRAD_KEYS);
        s->ds = sm_build_floats(b, SM_GRAD_QUERIES, SM_GRAD_KEYS);
        s->neg_sin = sm_build_floats(b, n_rot / 2, 1);
        if (sm_net_head(g->net)->head.cap > 0)
            s->logits = sm_build_floats(b, g->net->config.n_vocab, 1);
        s->bf16 = sm_build_own(b, max_u64(SM_GROUP * widest, sm_net_most(g->net, SM_DIM_Q)),
                               sizeof *s->bf16);
    }
}

/* ---- making ---------------------------------------------------------------------- */

static sm_status check_options(const sm_graph_options *o, sm_error *error) {
    if (o->max_tokens < 1 || o->max_tokens > SM_GRAPH_MAX_TOKENS)
        return sm_fail(error, SM_ERR_ARGUMENT, "max_tokens is %u, not in 1..%u", o->max_tokens,
                       SM_GRAPH_MAX_TOKENS);
    if (o->max_spans < 1 || o->max_spans > o->max_tokens)
        return sm_fail(error, SM_ERR_ARGUMENT, "max_spans is %u, not in 1..max_tokens",
                       o->max_spans);
    if (o->precision != SM_PRECISION_F32 && o->precision != SM_PRECISION_BF16)
        return sm_fail(error, SM_ERR_ARGUMENT, "precision is %d", (int)o->precision);
    if (!(o->expert_balance >= 0 && o->expert_balance < 1e6))
        return sm_fail(error, SM_ERR_ARGUMENT, "expert_balance is %g, not from 0 to below 1e6",
                       o->expert_balance);
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
    const sm_builder *b = user;
    return sm_hook_ends(b->g->options.hook, b->total, b->total);
}

/* The first update, which asks the hook that opening asks. */
static void first_update(sm_builder *b) {
    sm_graph_set_cancel(b->g, ask_builder, b);
    if (sm_graph_update(b->g))
        b->status = sm_fail(b->error, SM_ERR_CANCELLED, "%s: cancelled", b->g->net->source->path);
    sm_graph_set_cancel(b->g, NULL, NULL);
    b->g->options.hook = NULL;
}

static void build(sm_builder *b) {
    sm_graph *g = b->g;
    const sm_graph_options *o = &g->options;
    const sm_net *net = g->net;
    const uint64_t n_params = 2 * (uint64_t)net->n_matrices + net->n_vectors + 2;
    const uint32_t n_threads = sm_team_size(g->team);
    g->owned = sm_alloc_array(g->mem,
                              3 * n_params + OWNED_BUFFERS + (uint64_t)n_threads * OWNED_PER_THREAD,
                              sizeof *g->owned);
    if (!g->owned) {
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for training");
        return;
    }
    g->params.param = sm_build_own(b, n_params, sizeof *g->params.param);
    g->names = sm_build_own(b, n_params, sizeof *g->names);
    g->masters = sm_build_own(b, net->n_matrices, sizeof *g->masters);
    g->blocks = sm_build_own(b, (uint64_t)net->n_blocks + 1, sizeof *g->blocks);
    if (b->status)
        return;
    memset(g->masters, 0, net->n_matrices * sizeof *g->masters);
    memset(g->blocks, 0, ((uint64_t)net->n_blocks + 1) * sizeof *g->blocks);
    if (o->lora_rank)
        sm_build_adapter(b);
    else
        sm_build_masters(b);
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

/* Kinds that are computed and have no backward pass. */
static sm_status refuse_kinds(const sm_net *net, const char *path, sm_error *error) {
    if (net->both)
        return sm_fail(error, SM_ERR_UNSUPPORTED,
                       "%s: models of architecture '%s' cannot be trained by this version (their "
                       "tokens see those behind them)",
                       path, net->config.architecture);
    for (uint32_t i = 0; i < net->n_blocks; i++) {
        const sm_block *b = &net->blocks[i];
        if (!sm_grad_kind_of(b))
            return sm_fail(error, SM_ERR_UNSUPPORTED,
                           "%s: models of architecture '%s' cannot be trained by this version (no "
                           "backward pass of '%s')",
                           path, net->config.architecture, b->kind->name);
    }
    return SM_OK;
}

sm_status sm_graph_new(sm_graph **out, sm_mem *mem, const sm_source *source,
                       const sm_kernels *kernels, const sm_graph_options *options,
                       sm_error *error) {
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
    sm_builder b = {.g = g, .error = error};
    for (uint64_t i = 0; i < source->n_tensors; i++)
        b.total += source->tensors[i].dims[0] * source->tensors[i].dims[1];
    b.status = sm_source_expect(source, SM_GGUF_HOLDS_MODEL, error);
    if (!b.status)
        b.status = sm_net_load(&g->net, mem, source, kernels, SM_ROUND_MOST, NULL, NULL, error);
    if (!b.status)
        b.status = refuse_kinds(g->net, source->path, error);
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
