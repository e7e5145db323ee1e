/* The decoder-only transformer, run by every thread of a team at once. Each
 * operator takes its share of rows (or tokens, or heads); a barrier stands where
 * another thread's results are read next: five per layer when decoding. */
#include "ops.h"
#include "pack.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* FFN rows are shared out in pieces of whole activation blocks, so that each
 * thread quantizes what it computed. */
#define FFN_UNIT 32
/* The piece of the head that is computed at a time: rows, outputs. */
#define HEAD_ROWS 256
#define HEAD_OUTPUTS 64

struct sm_workspace {
    sm_mem *mem;
    const sm_net *net;
    uint32_t n_threads, max_tokens, max_blocks;
    uint32_t head_unit;           /* rows of whole heads and whole groups: lcm(head_dim, 16) */
    uint32_t chunk;               /* tokens of one prefill attention task */
    uint64_t ldx, ldq, ldkv, ldh; /* row strides in floats */
    uint64_t blocks_x, blocks_q, blocks_h; /* and of their other forms in blocks */
    /* shared by the team; T = max_tokens */
    float *x;      /* [T][ldx] residual stream */
    float *normed; /* [T][ldx] */
    sm_act_block *normed_q;
    float *q, *k, *v; /* [T][ldq], [T][ldkv] */
    float *att;       /* [T][ldq] */
    sm_act_block *att_q;
    float *y;      /* [T][ldx] what is added to x */
    float *h, *up; /* [T][ldh] */
    sm_act_block *h_q;
    float *cos, *sin;                /* [T][n_rot/2] */
    float *part_o, *part_m, *part_l; /* [max_blocks][n_head][width], …: split tokens */
    float *low;                      /* [T][ld_low] scale A x of all adapters, for one input */
    uint64_t ld_low;                 /* 0: no adapters yet */
    float *dropped;                  /* [n_threads][SM_MUL_COLS][widest input], or NULL */
    sm_thread_scratch *threads;
    void **owned; /* everything allocated here */
    uint32_t n_owned;
};

/* One thread's view of the step. */
typedef struct step {
    sm_workspace *ws;
    sm_team *team;
    const sm_net *net;
    const sm_config *c;
    const sm_kernels *kernels;
    const sm_step *batch;
    sm_thread_scratch *scratch;
    uint32_t thread, n_threads;
    uint32_t T;
    double least_share;          /* weight bytes that are worth a thread of their own */
    const sm_adapters *adapters; /* NULL: none */
    uint32_t layer;
    float *cos, *sin;
    sm_tape_layer at; /* where the values of this layer go: the workspace, or the tape */
} step;

/* A token whose attention several threads share: partial results of its blocks lie in the
 * workspace from block `part` on. */
typedef struct split {
    const sm_span *span;
    uint32_t n_blocks, n_pieces, part;
} split;

#define MAX_SPLITS 4
#define PIECE_BLOCKS 4 /* that one thread computes at a time */

/* What the threads of one run share beside the workspace. */
typedef struct run {
    sm_workspace *ws;
    sm_team *team;
    const sm_step *batch;
    _Atomic uint32_t next_task;
    uint32_t n_splits;
    split splits[MAX_SPLITS];
    sm_stop stop, never;
    double least_share;
    bool cancelled; /* written by thread 0 before a barrier, read by all after it */
} run;

/* Rows that lie a multiple of 4096 bytes apart share the sets of the first-level
 * cache: strides avoid it. */
#define ALIAS 4096

uint64_t sm_row_stride(uint64_t n) {
    n = (n + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
    return n * sizeof(float) % ALIAS ? n : n + SM_GROUP;
}

/* Stride of rows of n elements in another form, in blocks. */
static uint64_t block_stride(uint64_t n) {
    n = (n + 31) / 32;
    return n * sizeof(sm_act_block) % ALIAS ? n : n + 1;
}
static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* ---- how much work there is ------------------------------------------------------------ */

/* What a thread reads of weights that lie in a cache, multiplying them with few columns; a rough
 * figure, which decides only where threads have hardly anything to do. */
#define THREAD_BYTES_PER_NS 50.0

/* Time of a product with n columns beside one with a single column. */
static double columns_cost(uint64_t n) {
    return n > 8 ? (double)n / 8 : 1;
}

static uint64_t weight_bytes(const sm_weight *w) {
    return w->rows * w->row_bytes;
}

/* ---- workspace ---------------------------------------------------------------------- */

#define OWNED_SHARED 15
#define OWNED_PER_THREAD 12

static void *own(sm_workspace *ws, uint64_t n, uint64_t size, bool *failed) {
    void *ptr = sm_alloc_array(ws->mem, n ? n : 1, size);
    if (!ptr)
        *failed = true;
    else
        ws->owned[ws->n_owned++] = ptr;
    return ptr;
}

static uint64_t largest_pack(const sm_net *net) {
    uint64_t largest = 0;
    for (uint32_t type = 0; type < SM_DTYPE_COUNT; type++) {
        uint64_t bytes = net->kernels->type[type].mul ? sm_packed_bytes(type, SM_SLAB) : 0;
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

static void allocate(sm_workspace *ws, bool *failed) {
    const sm_config *c = &ws->net->config;
    const uint64_t T = ws->max_tokens, qd = (uint64_t)c->n_head * c->head_dim;
    uint32_t chunk;
    const uint64_t nq = sm_attn_chunk(c, &chunk), width = sm_kv_width(c);
    ws->chunk = chunk;
    ws->ldx = sm_row_stride(c->n_embd);
    ws->ldq = sm_row_stride(qd);
    ws->ldkv = sm_row_stride((uint64_t)c->n_head_kv * c->head_dim);
    ws->ldh = sm_row_stride(c->n_ff);
    ws->blocks_x = block_stride(c->n_embd);
    ws->blocks_q = block_stride(qd);
    ws->blocks_h = block_stride(c->n_ff);
    ws->x = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->normed = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->normed_q = own(ws, T * ws->blocks_x, sizeof(sm_act_block), failed);
    ws->q = own(ws, T * ws->ldq, sizeof(float), failed);
    ws->k = own(ws, T * ws->ldkv, sizeof(float), failed);
    ws->v = own(ws, T * ws->ldkv, sizeof(float), failed);
    ws->att = own(ws, T * ws->ldq, sizeof(float), failed);
    ws->att_q = own(ws, T * ws->blocks_q, sizeof(sm_act_block), failed);
    ws->y = own(ws, T * ws->ldx, sizeof(float), failed);
    ws->h = own(ws, T * ws->ldh, sizeof(float), failed);
    ws->up = own(ws, T * ws->ldh, sizeof(float), failed);
    ws->h_q = own(ws, T * ws->blocks_h, sizeof(sm_act_block), failed);
    ws->cos = own(ws, T * c->n_rot, sizeof(float), failed);
    ws->sin = ws->cos ? ws->cos + T * (c->n_rot / 2) : NULL;
    ws->part_o = own(ws, (uint64_t)ws->max_blocks * c->n_head * width, sizeof(float), failed);
    ws->part_m = own(ws, (uint64_t)ws->max_blocks * c->n_head * 2, sizeof(float), failed);
    ws->part_l = ws->part_m ? ws->part_m + (uint64_t)ws->max_blocks * c->n_head : NULL;
    const uint64_t widest = ws->ldx > ws->ldq ? ws->ldx : ws->ldq;
    for (uint32_t i = 0; i < ws->n_threads; i++) {
        sm_thread_scratch *s = &ws->threads[i];
        s->gemm = own(ws, SM_GEMM_SCRATCH, 1, failed);
        s->pack = own(ws, SM_GEMM_GROUPS, largest_pack(ws->net), failed);
        s->vector = own(ws, widest, sizeof(float), failed);
        s->blocks = own(ws, widest / 32 + 1, sizeof(sm_act_block), failed);
        s->attn_q = own(ws, sm_attn_queries(c) * width, sizeof(float), failed);
        s->attn_qq =
            own(ws, sm_attn_queries(c) * SM_KV_SCALES(width), sizeof(sm_act_block), failed);
        s->attn_s = own(ws, nq * SM_KV_BLOCK, sizeof(float), failed);
        s->attn_o = own(ws, nq * width, sizeof(float), failed);
        s->attn_acc = own(ws, nq * width, sizeof(float), failed);
        s->attn_m = own(ws, nq * 2, sizeof(float), failed);
        s->attn_l = own(ws, nq * 2, sizeof(float), failed);
        s->logits = own(ws, min_u64(T, HEAD_OUTPUTS) * HEAD_ROWS, sizeof(float), failed);
    }
}

sm_status sm_workspace_new(sm_workspace **out, sm_mem *mem, const sm_net *net, uint32_t n_threads,
                           uint32_t max_tokens, uint32_t max_context, sm_error *error) {
    *out = NULL;
    bool failed = false;
    sm_workspace *ws = sm_alloc_zero(mem, sizeof *ws);
    if (!ws)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a session's buffers");
    ws->mem = mem;
    ws->net = net;
    ws->n_threads = n_threads;
    ws->max_tokens = max_tokens;
    ws->max_blocks = (max_context + SM_KV_BLOCK - 1) / SM_KV_BLOCK;
    ws->head_unit = net->config.head_dim;
    while (ws->head_unit % SM_GROUP) /* at most 16 heads */
        ws->head_unit += net->config.head_dim;
    ws->threads = sm_alloc_array(mem, n_threads, sizeof *ws->threads);
    ws->owned = sm_alloc_array(mem, OWNED_SHARED + (uint64_t)n_threads * OWNED_PER_THREAD,
                               sizeof *ws->owned);
    if (ws->threads && ws->owned)
        allocate(ws, &failed);
    if (!ws->threads || !ws->owned || failed) {
        sm_workspace_free(ws);
        return sm_fail(error, SM_ERR_NOMEM,
                       "out of memory for a session's buffers (%u tokens a batch)", max_tokens);
    }
    *out = ws;
    return SM_OK;
}

void sm_workspace_free(sm_workspace *ws) {
    if (!ws)
        return;
    for (uint32_t i = 0; i < ws->n_owned; i++)
        sm_free(ws->mem, ws->owned[i]);
    sm_free(ws->mem, ws->owned);
    sm_free(ws->mem, ws->low);
    sm_free(ws->mem, ws->dropped);
    sm_free(ws->mem, ws->threads);
    sm_free(ws->mem, ws);
}

/* Widest input of a matrix. */
static uint64_t widest_input(const sm_config *c) {
    const uint64_t qd = (uint64_t)c->n_head * c->head_dim;
    const uint64_t widest = c->n_embd > c->n_ff ? c->n_embd : c->n_ff;
    return qd > widest ? qd : widest;
}

sm_status sm_workspace_adapt(sm_workspace *ws, uint64_t width, bool dropout, sm_error *error) {
    const uint64_t ld = sm_row_stride(width);
    const uint64_t widest = widest_input(&ws->net->config) * SM_MUL_COLS;
    uint64_t n;
    float *low = NULL, *dropped = NULL;
    if (ld > ws->ld_low && !sm_mul_over(ws->max_tokens, ld, &n))
        low = sm_alloc_array(ws->mem, n, sizeof *low);
    if (dropout && !ws->dropped)
        dropped = sm_alloc_array(ws->mem, ws->n_threads * widest, sizeof *dropped);
    if ((ld > ws->ld_low && !low) || (dropout && !ws->dropped && !dropped)) {
        sm_free(ws->mem, low);
        sm_free(ws->mem, dropped);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for adapters");
    }
    if (low) {
        sm_free(ws->mem, ws->low);
        ws->low = low;
        ws->ld_low = ld;
    }
    if (dropped) {
        ws->dropped = dropped;
        for (uint32_t i = 0; i < ws->n_threads; i++)
            ws->threads[i].dropped = dropped + i * widest;
    }
    return SM_OK;
}

/* ---- pieces of the step ---------------------------------------------------------- */

static void barrier(const step *s) {
    sm_team_barrier(s->team);
}

static void share(const step *s, uint64_t n, uint64_t *begin, uint64_t *end) {
    sm_share(n, s->thread, s->n_threads, begin, end);
}

/* The same for pieces of matrices that take `bytes` of weights together: among no more
 * threads than have enough to do. */
static void share_weights(const step *s, uint64_t n, uint64_t bytes, uint64_t *begin,
                          uint64_t *end) {
    const double work = (double)bytes * columns_cost(s->T);
    if (work < s->n_threads * s->least_share) {
        const uint32_t few = work > s->least_share ? (uint32_t)(work / s->least_share) : 1;
        *begin = *end = 0;
        if (s->thread < few)
            sm_share(n, s->thread, few, begin, end);
    } else {
        share(s, n, begin, end);
    }
}

/* x = token embeddings; rotation angles of every token. */
static void embed(const step *s) {
    const sm_weight *E = &s->net->embd;
    const sm_step *b = s->batch;
    const uint64_t half = s->c->n_rot / 2;
    uint64_t begin, end;
    share(s, s->T, &begin, &end);
    for (uint32_t i = 0; i < b->n_spans; i++) {
        const sm_span *span = &b->spans[i];
        for (uint64_t t = begin; t < end; t++) {
            if (t < span->first || t >= span->first + span->n)
                continue;
            const double position = (double)(span->position + (t - span->first));
            for (uint64_t d = 0; d < half; d++) {
                const double angle = position * s->net->rope_inv_freq[d];
                s->cos[t * half + d] = (float)cos(angle) * s->net->rope_mscale;
                s->sin[t * half + d] = (float)sin(angle) * s->net->rope_mscale;
            }
        }
    }
    for (uint64_t t = begin; t < end; t++)
        s->kernels->type[E->type].dequantize(
            s->at.x + t * s->ws->ldx, E->data + (uint64_t)b->ids[t] * E->row_bytes, s->c->n_embd);
}

/* x[n] in the form that a product takes. */
static void prepare(const step *s, sm_input_form form, sm_act_block *out, const float *x,
                    uint64_t n) {
    if (form == SM_INPUT_BLOCKS)
        s->kernels->quantize(out, x, n);
    else if (form == SM_INPUT_BF16)
        s->kernels->round_bf16((uint16_t *)(void *)out, x, n);
}

/* rms_norm of rows of x, as a matrix input. A single token is normed by every
 * thread for itself, which costs less than a barrier. rows: which tokens (NULL:
 * 0, 1, …). */
static sm_input normed(const step *s, const float *x, const float *weight, sm_input_form form,
                       const uint32_t *rows, uint64_t n) {
    sm_workspace *ws = s->ws;
    const uint64_t k = s->c->n_embd, blocks = ws->blocks_x;
    const bool alone = n == 1;
    float *f = alone ? s->scratch->vector : ws->normed;
    sm_act_block *q = alone ? s->scratch->blocks : ws->normed_q;
    uint64_t begin = 0, end = n;
    if (!alone)
        share(s, n, &begin, &end);
    for (uint64_t t = begin; t < end; t++) {
        s->kernels->rms_norm(f + t * ws->ldx, x + (rows ? rows[t] : t) * ws->ldx, weight, k,
                             s->c->norm_eps);
        prepare(s, form, q + t * blocks, f + t * ws->ldx, k);
    }
    if (!alone)
        barrier(s);
    return (sm_input){f, ws->ldx, q, blocks};
}

/* Shows the observer what W reads. Every thread sees its input whole at this point. */
static void observe(const step *s, const sm_weight *W, const sm_input *in) {
    const sm_observer *o = s->batch ? s->batch->observer : NULL;
    uint64_t begin, end;
    if (!o)
        return;
    share(s, W->cols, &begin, &end);
    if (begin < end)
        o->fn(o->user, W, in->f, in->ldf, begin, end, s->T);
}

/* ---- adapters: y += B (scale A x) ----------------------------------------------------------- */

#define SM_HEAD SM_MATRICES /* the head, after the matrices of a layer */

static const sm_lora *lora_of(const step *s, uint32_t adapter, uint32_t matrix) {
    const sm_net_adapter *a = s->adapters->adapter[adapter];
    return matrix == SM_HEAD ? &a->head : &a->layers[s->layer][matrix];
}

/* Matrices that read one input have their places side by side, adapter by adapter. */
static uint64_t low_place(const step *s, uint32_t adapter, uint32_t matrix) {
    const uint32_t first = matrix <= SM_V ? SM_Q : matrix == SM_UP ? SM_GATE : matrix;
    const uint32_t last = matrix <= SM_V ? SM_V : matrix == SM_GATE ? SM_UP : matrix;
    uint64_t place = 0;
    for (uint32_t i = 0; i <= adapter; i++)
        for (uint32_t m = first; m <= last; m++) {
            if (i == adapter && m == matrix)
                return place;
            place += (lora_of(s, i, m)->a.rows + SM_GROUP - 1) / SM_GROUP * SM_GROUP;
        }
    return place;
}

/* Tokens [t0, t1) through groups [g0, g1) of one A, times the scales. rows: as in normed(). */
static void lower_part(const step *s, const sm_lora *lora, float scale, uint32_t matrix,
                       const sm_input *in, const uint32_t *rows, uint64_t t0, uint64_t t1,
                       uint64_t g0, uint64_t g1, float *low) {
    const sm_dropout *dropout = &s->adapters->dropout;
    const bool head = matrix == SM_HEAD;
    const uint64_t step_size = dropout->rate > 0 ? SM_MUL_COLS : t1 - t0, k = lora->a.cols;
    for (uint64_t t = t0; t < t1; t += step_size) {
        const uint64_t n = min_u64(step_size, t1 - t);
        sm_input part = {.f = in->f + t * in->ldf, .ldf = in->ldf};
        if (dropout->rate > 0) {
            for (uint64_t i = 0; i < n; i++)
                sm_dropout_row(dropout, s->layer, head ? 0 : matrix,
                               rows ? rows[t + i] : (uint32_t)(t + i), s->scratch->dropped + i * k,
                               part.f + i * in->ldf, k);
            part = (sm_input){.f = s->scratch->dropped, .ldf = k};
        }
        sm_matmul(s->kernels, &lora->a, g0, g1, &part, n, low + t * s->ws->ld_low, s->ws->ld_low,
                  false, s->scratch);
        for (uint64_t i = t; i < t + n; i++) {
            float *y = low + i * s->ws->ld_low + g0 * SM_GROUP;
            s->kernels->scale(y, y, scale, (g1 - g0) * SM_GROUP);
        }
    }
}

/* What comes before the products of matrices [first, last], which read the same n rows: the
 * observer's look, and the lower half of all adapters: one token is shared out by rows of A,
 * several by tokens. */
static void lower(const step *s, uint32_t first, uint32_t last, const sm_input *in, uint64_t n,
                  const uint32_t *rows) {
    for (uint32_t m = first; m <= last && m < SM_MATRICES; m++)
        observe(s, sm_layer_matrix(&s->net->layers[s->layer], m), in);
    if (!s->adapters || !s->adapters->n)
        return;
    for (uint32_t i = 0; i < s->adapters->n; i++)
        for (uint32_t m = first; m <= last; m++) {
            const sm_lora *lora = lora_of(s, i, m);
            const uint64_t groups = (lora->a.rows + SM_GROUP - 1) / SM_GROUP;
            uint64_t t0 = 0, t1 = n, g0 = 0, g1 = groups;
            if (n == 1) /* matrices in turn begin with another thread */
                sm_share(groups, (s->thread + m + i) % s->n_threads, s->n_threads, &g0, &g1);
            else
                share(s, n, &t0, &t1);
            if (g0 < g1)
                lower_part(s, lora, lora->scale * s->adapters->scale[i], m, in, rows, t0, t1, g0,
                           g1, s->ws->low + low_place(s, i, m));
        }
    barrier(s);
}

/* y = W in for groups [g0, g1) and n rows, and what the adapters add. */
static void product(const step *s, const sm_weight *W, uint32_t matrix, uint64_t g0, uint64_t g1,
                    const sm_input *in, uint64_t n, float *y, uint64_t ldy) {
    sm_matmul(s->kernels, W, g0, g1, in, n, y, ldy, false, s->scratch);
    for (uint32_t i = 0; s->adapters && i < s->adapters->n; i++) {
        const sm_lora *lora = lora_of(s, i, matrix);
        if (!lora->a.rows)
            continue;
        const sm_input low = {.f = s->ws->low + low_place(s, i, matrix), .ldf = s->ws->ld_low};
        sm_matmul(s->kernels, &lora->b, g0, g1, &low, n, y, ldy, true, s->scratch);
    }
}

/* ---- pieces of the step, continued --------------------------------------------------------- */

/* Rows [u0, u1) head units of one of Wq, Wk, Wv: product, bias, head norm, rope,
 * and for keys and values the way into the cache. */
static void project(const step *s, const sm_layer *layer, uint32_t index, uint32_t what,
                    const sm_input *in, uint64_t u0, uint64_t u1) {
    sm_workspace *ws = s->ws;
    const sm_config *c = s->c;
    const sm_weight *W = what == SM_Q ? &layer->wq : what == SM_K ? &layer->wk : &layer->wv;
    const float *bias = what == SM_Q ? layer->bq : what == SM_K ? layer->bk : layer->bv;
    const float *norm = what == SM_Q ? layer->q_norm : what == SM_K ? layer->k_norm : NULL;
    float *y = what == SM_Q ? s->at.q : what == SM_K ? s->at.k : s->at.v;
    float *raw = what == SM_Q ? s->at.q_raw : what == SM_K ? s->at.k_raw : NULL;
    const uint64_t ldy = what == SM_Q ? ws->ldq : ws->ldkv;
    const uint64_t r0 = u0 * ws->head_unit, r1 = min_u64(u1 * ws->head_unit, W->rows);
    const uint64_t half = c->n_rot / 2;
    if (r0 >= r1)
        return;
    product(s, W, what, r0 / SM_GROUP, (r1 + SM_GROUP - 1) / SM_GROUP, in, s->T, y, ldy);
    for (uint32_t i = 0; i < s->batch->n_spans; i++) {
        const sm_span *span = &s->batch->spans[i];
        for (uint64_t t = span->first; t < span->first + span->n; t++) {
            const uint32_t position = span->position + (uint32_t)(t - span->first);
            float *row = y + t * ldy;
            if (bias)
                s->kernels->add(row + r0, row + r0, bias + r0, r1 - r0);
            if (raw)
                memcpy(raw + t * ldy + r0, row + r0, (r1 - r0) * sizeof *raw);
            for (uint64_t h = r0 / c->head_dim; h < r1 / c->head_dim; h++) {
                float *head = row + h * c->head_dim;
                if (norm)
                    s->kernels->rms_norm(head, head, norm, c->head_dim, c->norm_eps);
                if (what != SM_V)
                    s->kernels->rope(head, s->cos + t * half, s->sin + t * half, c->n_rot,
                                     c->family->rope_neox);
                if (what != SM_Q)
                    sm_kv_store(span->kv, s->kernels, index, (uint32_t)h, position,
                                what == SM_K ? head : NULL, what == SM_V ? head : NULL);
            }
        }
    }
}

/* The three projections, shared out as one list of head units. */
static void qkv(const step *s, const sm_layer *layer, uint32_t index, const sm_input *in) {
    const uint64_t unit = s->ws->head_unit;
    const uint64_t nq = (layer->wq.rows + unit - 1) / unit,
                   nkv = (layer->wk.rows + unit - 1) / unit;
    uint64_t begin, end;
    share_weights(s, nq + 2 * nkv,
                  weight_bytes(&layer->wq) + weight_bytes(&layer->wk) + weight_bytes(&layer->wv),
                  &begin, &end);
    const uint64_t first[] = {0, nq, nq + nkv}, count[] = {nq, nkv, nkv};
    for (int i = 0; i < 3; i++) {
        const uint64_t b = begin > first[i] ? begin - first[i] : 0;
        const uint64_t e = end > first[i] ? min_u64(end - first[i], count[i]) : 0;
        if (b < e)
            project(s, layer, index, (uint32_t)i, in, b, e);
    }
}

/* Attention of one token: blocks shared out, then every thread merges them all
 * for itself. */
static sm_input attend_one(const step *s, const sm_attn *a, sm_input_form form) {
    sm_workspace *ws = s->ws;
    const sm_span *span = &s->batch->spans[0];
    const uint32_t n_blocks = span->position / SM_KV_BLOCK + 1;
    const uint64_t qd = (uint64_t)a->n_head * a->head_dim;
    uint64_t begin, end;
    share(s, (uint64_t)n_blocks * a->n_head_kv, &begin, &end);
    const void *queries = begin < end ? sm_attn_decode_queries(a, span, ws->q, s->scratch) : NULL;
    for (uint64_t task = begin; task < end; task++) {
        const uint32_t block = (uint32_t)(task / a->n_head_kv);
        sm_attn_decode_block(a, span, (uint32_t)(task % a->n_head_kv), block, queries,
                             ws->part_o + (uint64_t)block * a->n_head * a->width,
                             ws->part_m + (uint64_t)block * a->n_head,
                             ws->part_l + (uint64_t)block * a->n_head, s->scratch);
    }
    barrier(s);
    sm_attn_decode_merge(a, n_blocks, ws->part_o, ws->part_m, ws->part_l, s->scratch->vector,
                         s->scratch);
    prepare(s, form, s->scratch->blocks, s->scratch->vector, qd);
    return (sm_input){s->scratch->vector, ws->ldq, s->scratch->blocks, ws->blocks_q};
}

static uint32_t blocks_of(const sm_span *span) {
    return (span->position + span->n - 1) / SM_KV_BLOCK + 1;
}

static bool is_split(const run *r, const sm_span *span) {
    for (uint32_t i = 0; i < r->n_splits; i++)
        if (r->splits[i].span == span)
            return true;
    return false;
}

/* The longest single tokens that one thread would still be at when the others have nothing
 * left to do. Only who computes what depends on it. */
static void plan_splits(run *r, uint32_t n_threads) {
    const sm_step *b = r->batch;
    const uint64_t n_head_kv = r->ws->net->config.n_head_kv;
    uint64_t total = 0; /* blocks that the tasks of one kv head read */
    uint32_t room = r->ws->max_blocks;
    for (uint32_t i = 0; i < b->n_spans; i++)
        total += (uint64_t)blocks_of(&b->spans[i]) * ((b->spans[i].n - 1) / r->ws->chunk + 1);
    while (n_threads > 1 && r->n_splits < MAX_SPLITS) {
        const sm_span *longest = NULL;
        for (uint32_t i = 0; i < b->n_spans; i++) {
            const sm_span *span = &b->spans[i];
            if (span->n == 1 && blocks_of(span) <= room && !is_split(r, span) &&
                (!longest || blocks_of(span) > blocks_of(longest)))
                longest = span;
        }
        const uint32_t n = longest ? blocks_of(longest) : 0;
        /* an eighth of what one thread has to do is no matter */
        if (n <= PIECE_BLOCKS || (uint64_t)n * n_threads * 8 <= total * n_head_kv)
            return;
        r->splits[r->n_splits++] =
            (split){longest, n, (n + PIECE_BLOCKS - 1) / PIECE_BLOCKS, r->ws->max_blocks - room};
        room -= n;
    }
}

/* The blocks of a split token from `first` on, for one kv head. */
static void attend_piece(const step *s, const sm_attn *a, const split *p, uint32_t kv_head,
                         uint32_t first) {
    sm_workspace *ws = s->ws;
    const void *queries =
        sm_attn_decode_queries(a, p->span, ws->q + p->span->first * ws->ldq, s->scratch);
    for (uint32_t block = first; block < first + PIECE_BLOCKS && block < p->n_blocks; block++) {
        const uint64_t at = (uint64_t)(p->part + block) * a->n_head;
        sm_attn_decode_block(a, p->span, kv_head, block, queries, ws->part_o + at * a->width,
                             ws->part_m + at, ws->part_l + at, s->scratch);
    }
}

/* Attention of many tokens: tasks of (split token, piece, kv head), then of (span, chunk of
 * tokens, kv head), taken as threads come free, since some see more than others. */
static void attend_tasks(const step *s, const sm_attn *a, run *r) {
    sm_workspace *ws = s->ws;
    const sm_step *b = s->batch;
    uint32_t base = 0; /* number of the first task of the span */
    uint32_t task = atomic_fetch_add_explicit(&r->next_task, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < r->n_splits; i++) {
        const split *p = &r->splits[i];
        for (const uint32_t end = base + p->n_pieces * a->n_head_kv; task < end;) {
            if (sm_stopped(s->scratch))
                return;
            attend_piece(s, a, p, (task - base) / p->n_pieces,
                         (task - base) % p->n_pieces * PIECE_BLOCKS);
            task = atomic_fetch_add_explicit(&r->next_task, 1, memory_order_relaxed);
        }
        base += p->n_pieces * a->n_head_kv;
    }
    for (uint32_t i = 0; i < b->n_spans; i++) {
        if (is_split(r, &b->spans[i]))
            continue;
        const uint32_t n = b->spans[i].n, chunks = (n + ws->chunk - 1) / ws->chunk;
        while (task < base + chunks * a->n_head_kv) {
            /* last chunks first: they are the longest */
            if (sm_stopped(s->scratch))
                return;
            const uint32_t first = (chunks - 1 - (task - base) / a->n_head_kv) * ws->chunk;
            sm_attn_prefill(a, &b->spans[i], (task - base) % a->n_head_kv, first,
                            (uint32_t)min_u64(ws->chunk, n - first), s->at.q, ws->ldq, s->at.att,
                            ws->ldq, s->at.lse, s->scratch);
            task = atomic_fetch_add_explicit(&r->next_task, 1, memory_order_relaxed);
        }
        base += chunks * a->n_head_kv;
    }
}

static sm_input attend_many(const step *s, const sm_attn *a, sm_input_form form, run *r) {
    sm_workspace *ws = s->ws;
    const uint64_t qd = (uint64_t)a->n_head * a->head_dim;
    attend_tasks(s, a, r);
    barrier(s);
    if (form != SM_INPUT_FLOAT || r->n_splits) {
        uint64_t begin, end;
        share(s, s->T, &begin, &end);
        for (uint32_t i = 0; i < r->n_splits; i++) {
            const split *p = &r->splits[i];
            const uint64_t at = (uint64_t)p->part * a->n_head;
            if (p->span->first >= begin && p->span->first < end)
                sm_attn_decode_merge(a, p->n_blocks, ws->part_o + at * a->width, ws->part_m + at,
                                     ws->part_l + at, s->at.att + p->span->first * ws->ldq,
                                     s->scratch);
        }
        for (uint64_t t = begin; t < end; t++)
            prepare(s, form, ws->att_q + t * ws->blocks_q, s->at.att + t * ws->ldq, qd);
        barrier(s);
    }
    return (sm_input){s->at.att, ws->ldq, ws->att_q, ws->blocks_q};
}

/* to = from + W in (+ bias); to may be from. */
static void project_residual(const step *s, float *to, const float *from, const sm_weight *W,
                             uint32_t matrix, const float *bias, const sm_input *in) {
    sm_workspace *ws = s->ws;
    uint64_t g0, g1;
    share_weights(s, (W->rows + SM_GROUP - 1) / SM_GROUP, weight_bytes(W), &g0, &g1);
    if (g0 == g1)
        return;
    product(s, W, matrix, g0, g1, in, s->T, ws->y, ws->ldx);
    const uint64_t r0 = g0 * SM_GROUP, n = min_u64(g1 * SM_GROUP, W->rows) - r0;
    for (uint64_t t = 0; t < s->T; t++) {
        const uint64_t at = t * ws->ldx + r0;
        if (bias)
            s->kernels->add(ws->y + at, ws->y + at, bias + r0, n);
        s->kernels->add(to + at, from + at, ws->y + at, n);
    }
}

/* h = silu(gate in) * (up in), brought into down's form piece by piece. */
static sm_input gate_up(const step *s, const sm_layer *layer, const sm_input *in) {
    sm_workspace *ws = s->ws;
    const uint64_t blocks = ws->blocks_h;
    uint64_t begin, end;
    share_weights(s, (s->c->n_ff + FFN_UNIT - 1) / FFN_UNIT,
                  weight_bytes(&layer->gate) + weight_bytes(&layer->up), &begin, &end);
    const uint64_t r0 = begin * FFN_UNIT, r1 = min_u64(end * FFN_UNIT, s->c->n_ff);
    if (r0 < r1) {
        const uint64_t g0 = r0 / SM_GROUP, g1 = (r1 + SM_GROUP - 1) / SM_GROUP;
        product(s, &layer->gate, SM_GATE, g0, g1, in, s->T, s->at.gate, ws->ldh);
        product(s, &layer->up, SM_UP, g0, g1, in, s->T, s->at.up, ws->ldh);
        for (uint64_t t = 0; t < s->T; t++) {
            const uint64_t at = t * ws->ldh + r0;
            float *h = ws->h + at, *gate = s->at.gate + at, *up = s->at.up + at;
            if (layer->b_gate)
                s->kernels->add(gate, gate, layer->b_gate + r0, r1 - r0);
            if (layer->b_up)
                s->kernels->add(up, up, layer->b_up + r0, r1 - r0);
            s->kernels->silu_mul(h, gate, up, r1 - r0);
            prepare(s, layer->down.form, ws->h_q + t * blocks + r0 / 32, h, r1 - r0);
        }
    }
    return (sm_input){ws->h, ws->ldh, ws->h_q, blocks};
}

/* The normed rows that the head reads, adapters' lower half done. rows: as in normed(). */
static sm_input head_input(const step *s, const float *x, const uint32_t *rows, uint64_t n) {
    const sm_input in = normed(s, x, s->net->out_norm, s->net->head.form, rows, n);
    lower(s, SM_HEAD, SM_HEAD, &in, n, rows);
    return in;
}

/* Groups [g, g + n_groups) of a matrix as one of its own. */
static sm_weight group_slice(const sm_weight *W, uint64_t g, uint64_t n_groups) {
    sm_weight part = *W;
    part.rows = (uint32_t)min_u64(n_groups * SM_GROUP, W->rows - g * SM_GROUP);
    if (part.data)
        part.data += g * SM_GROUP * part.row_bytes;
    if (part.packed)
        part.packed += g * part.group_bytes;
    return part;
}

/* Groups [g, g + n_groups) of the head for outputs [o, o + n): computed in scratch, since the
 * rows of logits lie apart and have no room for whole groups, and copied from there. */
static void head_piece(const step *s, const sm_input *in, uint64_t g, uint64_t n_groups, uint64_t o,
                       uint64_t n) {
    const sm_weight part = group_slice(&s->net->head, g, n_groups);
    const sm_input columns = {in->f + o * in->ldf, in->ldf, in->q + o * in->ldq, in->ldq};
    float *y = s->scratch->logits;
    sm_matmul(s->kernels, &part, 0, n_groups, &columns, n, y, HEAD_ROWS, false, s->scratch);
    for (uint32_t i = 0; s->adapters && i < s->adapters->n; i++) {
        const sm_lora *lora = lora_of(s, i, SM_HEAD);
        if (!lora->a.rows)
            continue;
        const sm_weight b = group_slice(&lora->b, g, n_groups);
        const sm_input low = {.f = s->ws->low + o * s->ws->ld_low + low_place(s, i, SM_HEAD),
                              .ldf = s->ws->ld_low};
        sm_matmul(s->kernels, &b, 0, n_groups, &low, n, y, HEAD_ROWS, true, s->scratch);
    }
    for (uint64_t i = 0; i < n; i++)
        memcpy(s->batch->logits[o + i] + g * SM_GROUP, y + i * HEAD_ROWS,
               part.rows * sizeof(float));
}

static void logits(const step *s) {
    const sm_step *b = s->batch;
    const sm_weight *W = &s->net->head;
    const uint64_t piece = HEAD_ROWS / SM_GROUP;
    if (!b->n_outputs)
        return;
    const sm_input in = head_input(s, s->at.out, b->outputs, b->n_outputs);
    uint64_t begin, end;
    share_weights(s, (W->rows + SM_GROUP - 1) / SM_GROUP, weight_bytes(W), &begin, &end);
    if (b->n_outputs == 1) { /* whole groups can go where they belong */
        const uint64_t whole = min_u64(end, W->rows / SM_GROUP);
        product(s, W, SM_HEAD, begin, whole, &in, 1, b->logits[0], 0);
        begin = whole > begin ? whole : begin;
    }
    for (uint64_t o = 0; o < b->n_outputs; o += HEAD_OUTPUTS)
        for (uint64_t g = begin; g < end; g += piece)
            head_piece(s, &in, g, min_u64(piece, end - g), o,
                       min_u64(HEAD_OUTPUTS, b->n_outputs - o));
}

/* ---- the step -------------------------------------------------------------------- */

/* The workspace's own buffers, which every layer uses in turn. */
static sm_tape_layer own_places(const sm_workspace *ws) {
    return (sm_tape_layer){.x = ws->x,
                           .q = ws->q,
                           .k = ws->k,
                           .v = ws->v,
                           .att = ws->att,
                           .mid = ws->x,
                           .gate = ws->h,
                           .up = ws->up,
                           .out = ws->x};
}

static void forward(void *arg, uint32_t thread, uint32_t n_threads) {
    run *r = arg;
    const sm_net *net = r->ws->net;
    const sm_tape *tape = r->batch->tape;
    const uint32_t begin = tape ? tape->begin : 0, end = tape ? tape->end : net->config.n_layer;
    step state = {.ws = r->ws,
                  .team = r->team,
                  .net = net,
                  .c = &net->config,
                  .kernels = net->kernels,
                  .batch = r->batch,
                  .scratch = &r->ws->threads[thread],
                  .thread = thread,
                  .n_threads = n_threads,
                  .least_share = r->least_share,
                  .T = r->batch->n_tokens,
                  .adapters = r->batch->adapters,
                  .cos = tape ? tape->cos : r->ws->cos,
                  .sin = tape ? tape->sin : r->ws->sin,
                  .at = tape ? tape->layers[begin] : own_places(r->ws)};
    const step *s = &state;
    state.scratch->stop = &r->stop;
    state.scratch->asks = thread == 0;
    sm_attn attention = {.kernels = net->kernels,
                         .n_head = net->config.n_head,
                         .n_head_kv = net->config.n_head_kv,
                         .head_dim = net->config.head_dim,
                         .width = sm_kv_width(&net->config),
                         .scale = 1.0f / sqrtf((float)net->config.head_dim)};

    if (begin == 0) {
        embed(s);
        barrier(s);
    }
    for (uint32_t i = begin; i < end; i++) {
        const sm_layer *layer = &net->layers[i];
        attention.layer = state.layer = i;
        if (tape)
            state.at = tape->layers[i];
        if (thread == 0)
            atomic_store_explicit(&r->next_task, 0, memory_order_relaxed);

        sm_input in = normed(s, s->at.x, layer->attn_norm, layer->qkv_form, NULL, s->T);
        lower(s, SM_Q, SM_V, &in, s->T, NULL);
        qkv(s, layer, i, &in);
        if (thread == 0) /* one decision for all: they must meet at the same barriers */
            r->cancelled = sm_stopped(s->scratch);
        barrier(s);
        if (r->cancelled)
            return;
        in = s->T == 1 && !tape ? attend_one(s, &attention, layer->wo.form)
                                : attend_many(s, &attention, layer->wo.form, r);
        lower(s, SM_O, SM_O, &in, s->T, NULL);
        project_residual(s, s->at.mid, s->at.x, &layer->wo, SM_O, layer->bo, &in);
        barrier(s);

        in = normed(s, s->at.mid, layer->ffn_norm, layer->ffn_form, NULL, s->T);
        lower(s, SM_GATE, SM_UP, &in, s->T, NULL);
        in = gate_up(s, layer, &in);
        barrier(s);
        lower(s, SM_DOWN, SM_DOWN, &in, s->T, NULL);
        project_residual(s, s->at.out, s->at.mid, &layer->down, SM_DOWN, layer->b_down, &in);
        barrier(s);
    }
    /* the head is not cut short: the caller's logits stay whole or are all written */
    if (atomic_load_explicit(&r->stop.stopped, memory_order_relaxed))
        return;
    state.scratch->stop = &r->never;
    state.layer = net->config.n_layer;
    logits(s);
}

/* Logits alone, of rows that lie outside the workspace. */
typedef struct logits_run {
    sm_workspace *ws;
    sm_team *team;
    const sm_adapters *adapters;
    const float *x;
    const uint32_t *rows;
    uint32_t n;
    float *logits;
    uint64_t ldl;
    sm_stop stop;
} logits_run;

static void run_logits(void *arg, uint32_t thread, uint32_t n_threads) {
    logits_run *r = arg;
    const sm_net *net = r->ws->net;
    const step s = {.ws = r->ws,
                    .team = r->team,
                    .net = net,
                    .c = &net->config,
                    .kernels = net->kernels,
                    .scratch = &r->ws->threads[thread],
                    .thread = thread,
                    .n_threads = n_threads,
                    .adapters = r->adapters,
                    .layer = net->config.n_layer};
    s.scratch->stop = &r->stop;
    s.scratch->asks = false;
    const sm_weight *W = &net->head;
    const sm_input in = head_input(&s, r->x, r->rows, r->n);
    uint64_t g0, g1;
    share_weights(&s, (W->rows + SM_GROUP - 1) / SM_GROUP, weight_bytes(W), &g0, &g1);
    product(&s, W, SM_HEAD, g0, g1, &in, r->n, r->logits, r->ldl);
}

void sm_forward_logits(sm_workspace *ws, sm_team *team, const sm_adapters *adapters, const float *x,
                       const uint32_t *rows, uint32_t n, float *logits_out, uint64_t ldl) {
    logits_run r = {.ws = ws,
                    .team = team,
                    .adapters = adapters,
                    .x = x,
                    .rows = rows,
                    .n = n,
                    .logits = logits_out,
                    .ldl = ldl};
    atomic_init(&r.stop.stopped, false);
    sm_team_run(team, run_logits, &r);
}

/* ns of a barrier for each thread that takes part in it. A busy machine may measure any time:
 * more than PER_THREAD_MOST is not believed. */
#define PER_THREAD_MOST 500.0
/* ns that sharing an operator out takes beside: vectors move from one CPU's cache to another's,
 * and shares are not quite equal. */
#define SHARING 300.0
/* A step runs on several threads if that makes it faster by this factor at least: the estimate
 * is rough, and threads that wait take time from others. */
#define WORTH 1.3

/* The number of threads that makes the step fastest. On n of them it takes about
 *   t(n) = work / n + barriers * (SHARING + per_thread * n)
 * which is least where n^2 = work / (barriers * per_thread). */
static uint32_t useful_threads(const sm_workspace *ws, sm_team *team, const sm_step *b) {
    const uint32_t most = sm_team_size(team);
    const double measured = sm_team_barrier_ns(team) / most;
    if (most == 1 || measured <= 0)
        return most;
    const double per_thread = measured < PER_THREAD_MOST ? measured : PER_THREAD_MOST;
    const sm_config *c = &ws->net->config;
    const double barriers = 5.0 * c->n_layer + 2;
    double bytes = (double)ws->net->decode_bytes * columns_cost(b->n_tokens);
    for (uint32_t i = 0; i < b->n_spans; i++)
        bytes += columns_cost(b->spans[i].n) * (double)b->spans[i].kv->n_layer *
                 b->spans[i].kv->n_head_kv *
                 (double)(2 * b->spans[i].kv->head_bytes / b->spans[i].kv->capacity) *
                 (b->spans[i].position + b->spans[i].n);
    const double work = bytes / THREAD_BYTES_PER_NS;
    double n = floor(sqrt(work / (barriers * per_thread)) + 0.5);
    n = n < 2 ? 2 : n > most ? most : n;
    return work > WORTH * (work / n + barriers * (SHARING + per_thread * n)) ? (uint32_t)n : 1;
}

sm_status sm_forward(sm_workspace *ws, sm_team *team, const sm_step *batch) {
    run r = {.ws = ws,
             .team = team,
             .batch = batch,
             .stop = {.cancel = batch->cancel, .cancel_user = batch->cancel_user}};
    atomic_init(&r.next_task, 0);
    atomic_init(&r.stop.stopped, false);
    atomic_init(&r.never.stopped, false);
    r.least_share = sm_team_barrier_ns(team) * THREAD_BYTES_PER_NS;
    const uint32_t n_threads = useful_threads(ws, team, batch);
    if (batch->n_tokens > 1)
        plan_splits(&r, n_threads);
    sm_team_run_some(team, n_threads, forward, &r);
    return atomic_load(&r.stop.stopped) ? SM_ERR_CANCELLED : SM_OK;
}
