/* reference.c - a network and its loss in plain double arithmetic. */
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *zeros(uint64_t n) {
    double *p = calloc(n, sizeof *p);
    if (!p)
        abort();
    return p;
}

static double or_one(float scale) {
    return scale > 0 ? (double)scale : 1;
}

/* Latent attention is computed with keys and values of each head, filled up to the same width. */
static void widen_heads(reference_shape *c, const sm_latent_params *p) {
    const uint32_t key = p->nope + p->n_rot;
    c->latent = p;
    c->n_head_kv = c->n_head;
    c->head_dim = key > p->value ? key : p->value;
}

static reference_shape shape_of(const sm_net *net) {
    const sm_block *attention = net->blocks;
    while (!attention->kind->has_state)
        attention++;
    const sm_attn_params *p = &attention->attn;
    const sm_block *ffn = attention + 1;
    sm_experts_params experts = {0};
    const sm_wiring *beside = NULL;
    uint32_t n_ff = 0;
    for (uint32_t i = 0; i < net->n_blocks; i++)
        if (net->blocks[i].kind == &sm_kind_experts) {
            experts = net->blocks[i].experts;
            beside = net->blocks[i].wiring.sum ? &net->blocks[i].wiring : NULL;
        } else if (net->blocks[i].kind == &sm_kind_gated || net->blocks[i].kind == &sm_kind_plain)
            n_ff = net->blocks[i].dims[SM_DIM_FF];
    const uint32_t n_input = net->blocks[0].kind == &sm_kind_inputs ? net->blocks[0].inputs.n : 0;
    return (reference_shape){.n_vocab = net->config.n_vocab,
                             .n_embd = net->config.n_embd,
                             .n_layer = net->config.n_layer,
                             .n_head = p->n_head,
                             .n_head_kv = p->n_head_kv,
                             .head_dim = p->head_dim,
                             .n_ff = n_ff,
                             .neox = net->ropes[0].neox,
                             .norm_whole = p->norm_whole,
                             .norm_own = p->norm_own,
                             .qk_layer_norm = p->norm == SM_NORM_LAYER,
                             .normed = sm_is_normed(attention),
                             .norm_eps = net->config.norm_eps,
                             .layer_norm = attention->wiring.norm == SM_NORM_LAYER,
                             .experts = experts,
                             .attention = attention->wiring,
                             .ffn = ffn->wiring,
                             .beside = beside,
                             .activation = ffn->kind == &sm_kind_gated   ? ffn->gated.activation
                                           : ffn->kind == &sm_kind_plain ? ffn->plain.activation
                                                                         : SM_SILU,
                             .plain = ffn->kind == &sm_kind_plain,
                             .xielu =
                                 ffn->kind == &sm_kind_plain ? ffn->plain.xielu : (sm_xielu){0},
                             .norm_values = p->norm_values,
                             .n_input = n_input,
                             .score_cap = (double)p->cap,
                             .clamp = (double)p->clamp,
                             .max_bias = (double)p->max_bias,
                             .logit_cap = (double)sm_net_head(net)->head.cap,
                             .embd_scale = (double)net->embd_scale,
                             .score_scale = (double)p->scale,
                             .residual_scale = or_one(attention->wiring.scale),
                             .logit_scale = or_one(sm_net_head(net)->head.scale)};
}

reference reference_make(const sm_graph *graph) {
    const sm_params *params = sm_graph_params(graph);
    reference r = {.config = shape_of(sm_graph_net(graph)), .params = params};
    if (sm_graph_net(graph)->blocks[0].kind == &sm_kind_latent)
        widen_heads(&r.config, &sm_graph_net(graph)->blocks[0].latent);
    r.rope = calloc(r.config.n_layer, sizeof *r.rope);
    r.window = calloc(r.config.n_layer, sizeof *r.window);
    r.attn = calloc(r.config.n_layer, sizeof *r.attn);
    r.head_dim = calloc(r.config.n_layer, sizeof *r.head_dim);
    r.n_ff = calloc(r.config.n_layer, sizeof *r.n_ff);
    r.lender = calloc(r.config.n_layer, sizeof *r.lender);
    if (!r.rope || !r.window || !r.attn || !r.head_dim || !r.n_ff || !r.lender)
        abort();
    for (uint32_t i = 0; i < sm_graph_net(graph)->n_blocks; i++) {
        const sm_block *b = &sm_graph_net(graph)->blocks[i];
        if (b->kind == &sm_kind_gated || b->kind == &sm_kind_plain)
            r.n_ff[b->layer] = b->dims[SM_DIM_FF];
        if (!sm_block_attends(b))
            continue;
        const bool borrows = b->kind == &sm_kind_attention && b->attn.borrows;
        r.head_dim[b->layer] = r.config.latent ? r.config.head_dim : b->attn.head_dim;
        r.lender[b->layer] = borrows ? sm_graph_net(graph)->blocks[b->attn.lender].layer : b->layer;
        r.attn[b->layer] = &b->attn;
        r.window[b->layer] = b->attn.window;
        r.rope[b->layer] = &sm_graph_net(graph)->ropes[b->attn.rope];
    }
    r.used = zeros(SM_MAX_EXPERTS);
    r.score = zeros(SM_MAX_EXPERTS);
    r.balanced = zeros(1);
    r.value = calloc(params->n, sizeof *r.value);
    for (uint32_t i = 0; r.value && i < params->n; i++) {
        const sm_param *p = &params->param[i];
        r.value[i] = malloc(p->rows * p->cols * sizeof **r.value);
        if (!r.value[i])
            abort();
        for (uint64_t j = 0; j < p->rows * p->cols; j++)
            r.value[i][j] = (double)p->value[j];
    }
    return r;
}

void reference_free(reference *r) {
    for (uint32_t i = 0; i < r->params->n; i++)
        free(r->value[i]);
    free(r->value);
    free(r->used);
    free(r->score);
    free(r->balanced);
    free(r->rope);
    free(r->window);
    free(r->attn);
    free(r->head_dim);
    free(r->n_ff);
    free(r->lender);
    *r = (reference){0};
}

/* NULL if the model has no such tensor. */
static const double *tensor(const reference *r, const char *name) {
    for (uint32_t i = 0; i < r->params->n; i++)
        if (strcmp(r->params->param[i].name, name) == 0)
            return r->value[i];
    return NULL;
}

static const double *layer_tensor(const reference *r, uint32_t layer, const char *suffix) {
    char name[96];
    snprintf(name, sizeof name, "blk.%u.%s", layer, suffix);
    return tensor(r, name);
}

/* y = W x + bias */
static void linear(double *y, const double *w, const double *bias, const double *x, uint64_t rows,
                   uint64_t cols) {
    for (uint64_t i = 0; i < rows; i++) {
        double sum = bias ? bias[i] : 0;
        for (uint64_t j = 0; j < cols; j++)
            sum += w[i * cols + j] * x[j];
        y[i] = sum;
    }
}

static double mean_of(const double *x, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* Of the kind that the model has, by the tensors name.weight and name.bias of layer `layer`, or of
 * none (UINT32_MAX); name NULL: without. */
static void norm_of(const reference *r, uint32_t layer, const char *name, double *y,
                    const double *x) {
    const uint64_t n = r->config.n_embd;
    char full[64];
    const double *v[2];
    v[0] = v[1] = NULL;
    for (int bias = 0; bias < 2 && name; bias++) {
        snprintf(full, sizeof full, "%s.%s", name, bias ? "bias" : "weight");
        v[bias] = layer == UINT32_MAX ? tensor(r, full) : layer_tensor(r, layer, full);
    }
    const double mean = r->config.layer_norm ? mean_of(x, n) : 0;
    double squares = 0;
    for (uint64_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / sqrt(squares / (double)n + (double)r->config.norm_eps);
    for (uint64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * scale * (v[0] ? v[0][i] : 1) + (v[1] ? v[1][i] : 0);
}

static void rms_norm(double *y, const double *x, const double *w, uint64_t n, double eps) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    const double scale = 1 / sqrt(sum / (double)n + eps);
    for (uint64_t i = 0; i < n; i++)
        y[i] = x[i] * scale * (w ? w[i] : 1);
}

/* The same of what is left without its mean. */
static void layer_norm(double *y, const double *x, const double *w, uint64_t n, double eps) {
    const double mean = mean_of(x, n);
    for (uint64_t i = 0; i < n; i++)
        y[i] = x[i] - mean;
    rms_norm(y, y, w, n, eps);
}

/* span: tokens of the sequence */
static void rope(const reference *r, uint32_t layer, double *head, uint32_t position,
                 uint32_t span) {
    const sm_rope *rope = r->rope[layer];
    const bool is_long = rope->long_inv_freq && span > rope->n_ctx_original;
    for (uint32_t i = 0; i < rope->n_rot / 2; i++) {
        const double rate = is_long ? rope->long_inv_freq[i] : rope->inv_freq[i];
        const double angle = position * rate, m = (double)rope->mscale;
        double *a = &head[rope->neox ? i : 2 * i];
        double *b = &head[rope->neox ? i + rope->n_rot / 2 : 2 * i + 1];
        const double x = *a, y = *b;
        *a = m * (x * cos(angle) - y * sin(angle));
        *b = m * (x * sin(angle) + y * cos(angle));
    }
}

/* A tensor, or rows from `row` on of the one that it came joined in. */
static const double *part_of(const reference *r, uint32_t layer, const char *own,
                             const char *joined, uint64_t row, uint64_t cols) {
    const double *w = layer_tensor(r, layer, own);
    const double *all = w ? NULL : layer_tensor(r, layer, joined);
    return all ? all + row * cols : w;
}

/* Heads of q, k or v of one token. */
static void project(const reference *r, uint32_t layer, const char *which, double *y,
                    const double *x, uint32_t heads, uint32_t position, uint32_t span) {
    const reference_shape *c = &r->config;
    char name[64];
    const uint64_t rows = (uint64_t)heads * c->head_dim;
    const uint32_t before = which[0] == 'q'   ? 0
                            : which[0] == 'k' ? c->n_head
                                              : c->n_head + c->n_head_kv;
    const uint64_t row = (uint64_t)before * c->head_dim; /* of attn_qkv */
    snprintf(name, sizeof name, "attn_%s.weight", which);
    const double *w = part_of(r, layer, name, "attn_qkv.weight", row, c->n_embd);
    w = w ? w : layer_tensor(r, layer, "attn_k.weight"); /* values may be keys */
    snprintf(name, sizeof name, "attn_%s.bias", which);
    linear(y, w, part_of(r, layer, name, "attn_qkv.bias", row, 1), x, rows, c->n_embd);
    for (uint64_t i = 0; i < rows && c->clamp > 0; i++)
        y[i] = fmin(fmax(y[i], -c->clamp), c->clamp);
    snprintf(name, sizeof name, "attn_%s_norm.weight", which);
    const sm_attn_params *p = r->attn[layer];
    const double *norm = layer_tensor(r, layer, name);
    const bool normed = norm || (p->norm_bare && which[0] != 'v');
    const uint64_t together = c->norm_whole ? rows : c->head_dim;
    for (int late = 0; late < 2; late++) {
        for (uint64_t i = 0; i < rows && normed && p->norm_late == late; i += together)
            (c->qk_layer_norm ? layer_norm : rms_norm)(
                y + i, y + i, norm && c->norm_own ? norm + i : norm, together, (double)c->norm_eps);
        for (uint32_t h = 0; h < heads && !late && which[0] != 'v'; h++)
            rope(r, layer, y + h * c->head_dim, position, span);
    }
    const double place = position + (double)p->temperature_first;
    for (uint64_t i = 0; i < rows && which[0] == 'q' && p->temperature != 0; i++)
        y[i] *= 1 + (double)p->temperature * log(floor(place / p->temperature_span) + 1);
}

/* Heads of q, k and v of one token of latent attention (arXiv:2405.04434, equations 9 to 17); files
 * have the matrix that makes a head's keys transposed. */
static void latent_heads(const reference *r, uint32_t layer, double *q, double *k, double *v,
                         const double *x, uint32_t position, uint32_t span) {
    const reference_shape *c = &r->config;
    const sm_latent_params *p = c->latent;
    const uint64_t rank = p->rank, nope = p->nope, key = nope + p->n_rot, value = p->value;
    const double *k_b = layer_tensor(r, layer, "attn_k_b.weight");
    const double *v_b = layer_tensor(r, layer, "attn_v_b.weight");
    const double *kv_b = layer_tensor(r, layer, "attn_kv_b.weight");
    const double *q_a = layer_tensor(r, layer, "attn_q_a.weight");
    double *low = zeros(p->q_rank), *raw = zeros(c->n_head * key), *latent = zeros(rank + p->n_rot);
    if (q_a) {
        linear(low, q_a, NULL, x, p->q_rank, c->n_embd);
        rms_norm(low, low, layer_tensor(r, layer, "attn_q_a_norm.weight"), p->q_rank,
                 (double)c->norm_eps);
        linear(raw, layer_tensor(r, layer, "attn_q_b.weight"), NULL, low, c->n_head * key,
               p->q_rank);
    } else {
        linear(raw, layer_tensor(r, layer, "attn_q.weight"), NULL, x, c->n_head * key, c->n_embd);
    }
    linear(latent, layer_tensor(r, layer, "attn_kv_a_mqa.weight"), NULL, x, rank + p->n_rot,
           c->n_embd);
    rms_norm(latent, latent, layer_tensor(r, layer, "attn_kv_a_norm.weight"), rank,
             (double)c->norm_eps);
    rope(r, layer, latent + rank, position, span);
    for (uint64_t h = 0; h < c->n_head; h++) {
        double *qh = q + h * c->head_dim, *kh = k + h * c->head_dim, *vh = v + h * c->head_dim;
        memcpy(qh, raw + h * key, key * sizeof *qh);
        rope(r, layer, qh + nope, position, span);
        memcpy(kh + nope, latent + rank, p->n_rot * sizeof *kh);
        for (uint64_t i = 0; i < rank; i++) {
            for (uint64_t d = 0; d < nope; d++)
                kh[d] += latent[i] * (k_b ? k_b[(h * rank + i) * nope + d]
                                          : kv_b[(h * (nope + value) + d) * rank + i]);
            for (uint64_t d = 0; d < value; d++)
                vh[d] += latent[i] * (v_b ? v_b[(h * value + d) * rank + i]
                                          : kv_b[(h * (nope + value) + nope + d) * rank + i]);
        }
    }
    free(low);
    free(raw);
    free(latent);
}

/* ALiBi's, as mpt's code has them: of the next power of two every second one, then the others. */
static double slope_of(const reference_shape *c, uint32_t head) {
    uint32_t n = 1;
    while (n < c->n_head)
        n *= 2;
    if (n == c->n_head)
        return pow(2, -c->max_bias * (head + 1) / n);
    const uint32_t i = head < n / 2 ? 2 * head + 2 : 2 * (head - n / 2) + 1;
    return pow(2, -c->max_bias * i / n);
}

/* Token t of a span that began at `first`, all heads. */
static void attend(const reference_shape *c, uint32_t window, const double *sinks, double *out,
                   const double *q, const double *k, const double *v, uint32_t first, uint32_t t) {
    if (window & SM_CHUNKED)
        first += (t - first) / (window & ~SM_CHUNKED) * (window & ~SM_CHUNKED);
    else if (window && t - first >= window)
        first = t - window + 1;
    const uint64_t qd = (uint64_t)c->n_head * c->head_dim,
                   kd = (uint64_t)c->n_head_kv * c->head_dim;
    double *p = zeros(t - first + 1);
    for (uint32_t h = 0; h < c->n_head; h++) {
        const uint64_t at = (uint64_t)h / (c->n_head / c->n_head_kv) * c->head_dim;
        const double *qh = q + t * qd + (uint64_t)h * c->head_dim;
        double max = sinks ? sinks[h] : -INFINITY, sum = 0;
        for (uint32_t j = first; j <= t; j++) {
            double s = 0;
            for (uint32_t d = 0; d < c->head_dim; d++)
                s += qh[d] * k[j * kd + at + d];
            p[j - first] = s * c->score_scale;
            if (c->score_cap > 0)
                p[j - first] = c->score_cap * tanh(p[j - first] / c->score_cap);
            if (c->max_bias > 0)
                p[j - first] -= slope_of(c, h) * (t - j);
            max = fmax(max, p[j - first]);
        }
        sum += sinks ? exp(sinks[h] - max) : 0;
        for (uint32_t j = first; j <= t; j++)
            sum += p[j - first] = exp(p[j - first] - max);
        for (uint32_t d = 0; d < c->head_dim; d++) {
            double o = 0;
            for (uint32_t j = first; j <= t; j++)
                o += p[j - first] * v[j * kd + at + d];
            out[(uint64_t)h * c->head_dim + d] = o / sum;
        }
    }
    free(p);
}

static double activation(const reference_shape *c, double x) {
    switch (c->activation) {
    case SM_GELU:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case SM_GELU_ERF:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case SM_RELU2:
        return x > 0 ? x * x : 0;
    case SM_XIELU:
        return (double)c->xielu.b * x +
               (x > 0 ? (double)c->xielu.p * x * x
                      : (double)c->xielu.n * (expm1(fmin(x, (double)c->xielu.e)) - x));
    default:
        return x / (1 + exp(-x));
    }
}

/* h = activation(gate) up; up NULL: 1 */
static void activate(const reference_shape *c, double *gate, const double *up, uint64_t n) {
    for (uint64_t j = 0; j < n; j++)
        gate[j] = activation(c, gate[j]) * (up ? up[j] : 1);
}

static void feed_forward(const reference *r, uint32_t layer, const double *n, double *y) {
    const reference_shape *c = &r->config;
    const uint64_t E = c->n_embd, F = c->n_ff;
    double *gate = zeros(F), *up = zeros(F);
#define TENSOR(suffix) layer_tensor(r, layer, suffix)
    if (c->plain) {
        linear(gate, TENSOR("ffn_up.weight"), TENSOR("ffn_up.bias"), n, F, E);
    } else {
        const uint64_t row = TENSOR("ffn_gate.weight") ? 0 : F; /* of ffn_up, behind the gate */
        const double *bias = TENSOR("ffn_up.bias");
        linear(gate, part_of(r, layer, "ffn_gate.weight", "ffn_up.weight", 0, E),
               part_of(r, layer, "ffn_gate.bias", "ffn_up.bias", 0, 1), n, F, E);
        linear(up, TENSOR("ffn_up.weight") + row * E, bias ? bias + row : NULL, n, F, E);
    }
    activate(c, gate, c->plain ? NULL : up, F);
    linear(y, TENSOR("ffn_down.weight"), TENSOR("ffn_down.bias"), gate, E, F);
    free(gate);
    free(up);
}

/* How many of n values are above value i, or as large and before it. */
static uint32_t rank_of(const double *value, uint64_t n, uint64_t i) {
    uint32_t above = 0;
    for (uint64_t f = 0; f < n; f++)
        above += value[f] > value[i] || (value[f] == value[i] && f < i);
    return above;
}

/* Of the router's logits, by the code of phimoe in transformers: the greatest; it is taken away,
 * and so on. */
static void route_mixed(const reference *r, double *logits) {
    const uint64_t X = r->config.experts.n_experts;
    double *left = zeros(X), *p = zeros(X);
    memcpy(left, logits, X * sizeof *left);
    for (uint32_t j = 0; j < r->config.experts.n_used; j++) {
        uint64_t best = 0;
        double sum = 0;
        for (uint64_t i = 0; i < X; i++)
            best = left[i] > left[best] ? i : best;
        for (uint64_t i = 0; i < X; i++)
            if ((left[best] - left[i]) / fmax(fabs(left[i]), left[best]) <= 0.02 || i == best)
                sum += exp(left[i]);
        p[best] = exp(left[best]) / sum;
        r->used[best]++;
        left[best] = -INFINITY;
    }
    double all = 0;
    for (uint64_t i = 0; i < X; i++)
        all += exp(logits[i]);
    for (uint64_t i = 0; i < X; i++)
        r->score[i] += exp(logits[i]) / all;
    memcpy(logits, p, X * sizeof *p);
    free(left);
    free(p);
}

/* Weights of all experts of a token, 0 of those not chosen; p: the router's logits. */
static void route(const reference *r, const double *bias, double *p) {
    const sm_experts_params *e = &r->config.experts;
    const uint64_t X = e->n_experts, per_group = X / e->n_groups;
    if (e->scoring == SM_SCORE_MIXER) {
        route_mixed(r, p);
        return;
    }
    double *value = zeros(X), *group = zeros(e->n_groups), all = 0, sum = 0;
    for (uint64_t i = 0; i < X; i++)
        all += p[i] = e->scoring == SM_SCORE_SIGMOID ? 1 / (1 + exp(-p[i])) : exp(p[i]);
    for (uint64_t i = 0; i < X; i++) {
        p[i] /= e->scoring == SM_SCORE_SIGMOID ? 1 : all;
        value[i] = p[i] + (bias ? bias[i] : 0);
    }
    for (uint64_t i = 0; i < X; i++) {
        const uint64_t first = i / per_group * per_group;
        if (rank_of(value + first, per_group, i - first) < e->group_top)
            group[i / per_group] += value[i];
    }
    for (uint64_t i = 0; i < X; i++)
        if (rank_of(group, e->n_groups, i / per_group) >= e->n_groups_used)
            value[i] = -INFINITY;
    for (uint64_t i = 0; i < X; i++) {
        r->score[i] += p[i] / (e->scoring == SM_SCORE_SIGMOID ? all : 1);
        r->used[i] += rank_of(value, X, i) < e->n_used ? 1 : 0;
        p[i] = rank_of(value, X, i) < e->n_used ? p[i] : 0;
        sum += p[i];
    }
    for (uint64_t i = 0; i < X; i++)
        p[i] *= (double)e->scale / (e->renormalise ? sum : 1);
    free(value);
    free(group);
}

/* gpt-oss's activation */
static void activate_clamped(double *gate, const double *up, uint64_t n, double limit,
                             double alpha) {
    for (uint64_t j = 0; j < n; j++) {
        const double g = fmin(gate[j], limit), u = fmax(fmin(up[j], limit), -limit);
        gate[j] = g / (1 + exp(-alpha * g)) * (u + 1);
    }
}

/* y += weight * one expert, number `e` of tensors "ffn_..._`of`.weight" of width F. */
static void add_expert(const reference *r, uint32_t layer, const char *of, uint64_t e, uint64_t F,
                       double weight, const double *n, double *y) {
    const uint64_t E = r->config.n_embd;
    double *gate = zeros(F), *up = zeros(F), *part = zeros(E);
    const double *matrix[3], *bias[3];
    static const char *const what[] = {"gate", "up", "down"};
    const double *both = layer_tensor(r, layer, "ffn_gate_up_exps.weight"); /* joined */
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "ffn_%s_%s.weight", what[i], of);
        const double *own = layer_tensor(r, layer, name);
        matrix[i] = own ? own + e * F * E : both + (2 * e + (uint64_t)i) * F * E;
        snprintf(name, sizeof name, "ffn_%s_%s.bias", what[i], of);
        bias[i] = layer_tensor(r, layer, name);
        bias[i] = bias[i] ? bias[i] + e * (i < 2 ? F : E) : NULL;
    }
    linear(gate, matrix[0], bias[0], n, F, E);
    linear(up, matrix[1], bias[1], n, F, E);
    if (r->config.experts.limit > 0)
        activate_clamped(gate, up, F, (double)r->config.experts.limit,
                         (double)r->config.experts.alpha);
    else
        activate(&r->config, gate, up, F);
    linear(part, matrix[2], bias[2], gate, E, F);
    for (uint64_t j = 0; j < E; j++)
        y[j] += weight * part[j];
    double *const owned[] = {gate, up, part};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

/* x: what the router reads that has an input of its own. */
static void experts(const reference *r, uint32_t layer, const double *x, const double *n,
                    double *y) {
    const sm_experts_params *e = &r->config.experts;
    const uint64_t E = r->config.n_embd, X = e->n_experts;
    double *p = zeros(X), z = 0;
    const double *share = TENSOR("ffn_gate_inp_shexp.weight");
    const double *apart = TENSOR("ffn_gate_inp.scale"), *scale = TENSOR("ffn_down_exps.scale");
    double *in = zeros(E);
    memcpy(in, n, E * sizeof *in);
    if (apart)
        rms_norm(in, x, apart, E, (double)r->config.norm_eps);
    for (uint64_t j = 0; j < E && apart; j++)
        in[j] /= sqrt((double)E);
    linear(p, TENSOR("ffn_gate_inp.weight"), TENSOR("ffn_gate_inp.bias"), in, X, E);
    free(in);
    route(r, TENSOR("exp_probs_b.bias"), p);
    for (uint64_t i = 0; i < X && scale; i++)
        p[i] *= scale[i];
    memset(y, 0, E * sizeof *y);
    for (uint64_t i = 0; i < X; i++) {
        if (p[i] == 0)
            continue;
        double *own = zeros(E);
        for (uint64_t j = 0; j < E; j++)
            own[j] = e->weigh_inputs ? p[i] * n[j] : n[j];
        add_expert(r, layer, "exps", i, e->n_ff, e->weigh_inputs ? 1 : p[i], own, y);
        free(own);
    }
    for (uint64_t j = 0; j < E && share; j++)
        z += share[j] * n[j];
    if (e->n_ff_shared)
        add_expert(r, layer, "shexp", 0, e->n_ff_shared, share ? 1 / (1 + exp(-z)) : 1, n, y);
    free(p);
#undef TENSOR
}

/* What a block's matrices read: x, normed where the layer has such a norm. */
static void input_of(const reference *r, uint32_t layer, const char *norm, double *n,
                     const double *x) {
    if (r->config.normed)
        norm_of(r, layer, norm, n, x);
    else
        memcpy(n, x, r->config.n_embd * sizeof *n);
}

/* x += y, normed where the layer has such a norm. */
static void add(const reference *r, uint32_t layer, const char *norm, double *x, double *y) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", norm ? norm : "");
    if (layer_tensor(r, layer, name))
        norm_of(r, layer, norm, y, y);
    for (uint64_t j = 0; j < r->config.n_embd; j++)
        x[j] += r->config.residual_scale * y[j];
}

/* What passes from layer to layer beside x. */
typedef struct passed {
    double **k, **v;      /* [n_layer] keys and values of all tokens */
    const double *inputs; /* [T][n_layer][n_input] */
} passed;

/* x += norm(projection(gelu(gate(x)) input)); x *= scale. */
static void layer_end(const reference *r, uint32_t layer, double *x, const double *input) {
    const reference_shape *c = &r->config;
    const double *scale = layer_tensor(r, layer, "layer_output_scale.weight");
    double *gate = zeros(c->n_input), *y = zeros(c->n_embd);
    if (c->n_input) {
        linear(gate, layer_tensor(r, layer, "inp_gate.weight"), NULL, x, c->n_input, c->n_embd);
        for (uint32_t i = 0; i < c->n_input; i++) {
            const double z = gate[i];
            gate[i] = input[i] * 0.5 * z * (1 + tanh(sqrt(2 / M_PI) * (z + 0.044715 * z * z * z)));
        }
        linear(y, layer_tensor(r, layer, "proj.weight"), NULL, gate, c->n_embd, c->n_input);
        add(r, layer, "post_norm", x, y);
    }
    for (uint32_t i = 0; i < c->n_embd && scale; i++)
        x[i] *= scale[0];
    free(gate);
    free(y);
}

/* Of all layers, from the embedding. */
static double *layer_inputs(const reference *r, const sm_train_batch *batch, const double *x) {
    const reference_shape *c = &r->config;
    const uint64_t n = c->n_input, all = n * c->n_layer;
    const double *table = tensor(r, "per_layer_token_embd.weight");
    double *inputs = zeros(batch->n_tokens * all);
    for (uint32_t t = 0; t < batch->n_tokens && n; t++) {
        double *row = inputs + t * all;
        linear(row, tensor(r, "per_layer_model_proj.weight"), NULL, x + t * c->n_embd, all,
               c->n_embd);
        for (uint64_t i = 0; i < all; i++)
            row[i] /= sqrt((double)c->n_embd);
        for (uint64_t i = 0; i < all; i += n)
            rms_norm(row + i, row + i, tensor(r, "per_layer_proj_norm.weight"), n,
                     (double)c->norm_eps);
        for (uint64_t i = 0; i < all; i++)
            row[i] =
                (row[i] + sqrt((double)n) * table[(uint64_t)batch->ids[t] * all + i]) / sqrt(2);
    }
    return inputs;
}

/* y, of the gated part, becomes the sum of it and experts', each normed. */
static void both(const reference *r, uint32_t layer, const double *x, double *y) {
    const reference_shape *c = &r->config;
    double *n = zeros(c->n_embd), *more = zeros(c->n_embd);
    norm_of(r, layer, c->ffn.post, y, y);
    norm_of(r, layer, c->beside->pre, n, x);
    experts(r, layer, x, n, more);
    norm_of(r, layer, c->beside->post, more, more);
    for (uint64_t j = 0; j < c->n_embd; j++)
        y[j] += more[j];
    free(n);
    free(more);
}

static void layer_forward(const reference *whole, uint32_t layer, const sm_train_batch *batch,
                          double *x, const passed *carried) {
    reference own = *whole;
    const reference *r = &own;
    const reference_shape *c = &r->config;
    own.config.head_dim = r->head_dim[layer];
    own.config.n_ff = r->n_ff[layer];
    if (r->attn[layer] && !r->config.latent) {
        own.config.n_head = r->attn[layer]->n_head;
        own.config.n_head_kv = r->attn[layer]->n_head_kv;
    }
    const bool attends = r->attn[layer] != NULL;
    const uint64_t E = c->n_embd, T = batch->n_tokens;
    const uint64_t qd = (uint64_t)c->n_head * c->head_dim,
                   kd = (uint64_t)c->n_head_kv * c->head_dim;
    const bool borrows = r->lender[layer] != layer;
    double *n = zeros(E), *q = zeros(T * qd);
    double *k = carried->k[layer] = zeros(T * kd), *v = carried->v[layer] = zeros(T * kd);
    double *a = zeros(qd), *y = zeros(E);
#define TENSOR(suffix) layer_tensor(r, layer, suffix)
    for (uint32_t i = 0; i < batch->n_spans && attends; i++)
        for (uint32_t t = batch->span_begin[i]; t < batch->span_begin[i + 1]; t++) {
            const uint32_t position = t - batch->span_begin[i];
            const uint32_t span = batch->span_begin[i + 1] - batch->span_begin[i];
            input_of(r, layer, c->attention.pre, n, x + t * E);
            if (c->latent) {
                latent_heads(r, layer, q + t * qd, k + t * kd, v + t * kd, n, position, span);
                continue;
            }
            project(r, layer, "q", q + t * qd, n, c->n_head, position, span);
            if (borrows)
                continue;
            project(r, layer, "k", k + t * kd, n, c->n_head_kv, position, span);
            project(r, layer, "v", v + t * kd, n, c->n_head_kv, position, span);
            for (uint64_t h = 0; h < c->n_head_kv && c->norm_values; h++)
                rms_norm(v + t * kd + h * c->head_dim, v + t * kd + h * c->head_dim, NULL,
                         c->head_dim, (double)c->norm_eps);
        }
    for (uint32_t i = 0; i < batch->n_spans; i++)
        for (uint32_t t = batch->span_begin[i]; t < batch->span_begin[i + 1]; t++) {
            const double *O = TENSOR("attn_output.weight"), *bias = TENSOR("attn_output.bias");
            if (attends)
                attend(c, r->window[layer], TENSOR("attn_sinks.weight"), a, q,
                       carried->k[r->lender[layer]], carried->v[r->lender[layer]],
                       batch->span_begin[i], t);
            for (uint32_t h = 1; c->latent && h < c->n_head; h++)
                memmove(a + h * c->latent->value, a + h * c->head_dim,
                        c->latent->value * sizeof *a);
            if (attends) {
                linear(y, O, bias, a, E, c->latent ? (uint64_t)c->n_head * c->latent->value : qd);
            } else if (O) {
                input_of(r, layer, c->attention.pre, n, x + t * E);
                linear(y, O, bias, n, E, E);
            }
            if (c->attention.aside)
                input_of(r, layer, c->ffn.pre, n, x + t * E);
            if (O)
                add(r, layer, c->attention.post, x + t * E, y);
            if (!c->attention.aside)
                input_of(r, layer, c->ffn.pre, n, x + t * E);
            if (c->beside) {
                feed_forward(r, layer, n, y);
                both(r, layer, x + t * E, y);
            } else if (TENSOR("ffn_gate_inp.weight")) {
                experts(r, layer, x + t * E, n, y);
            } else if (c->n_ff) {
                feed_forward(r, layer, n, y);
            }
            if (c->n_ff || TENSOR("ffn_gate_inp.weight"))
                add(r, layer, c->beside ? c->beside->sum : c->ffn.post, x + t * E, y);
            layer_end(r, layer, x + t * E,
                      carried->inputs + ((uint64_t)t * c->n_layer + layer) * c->n_input);
        }
#undef TENSOR
    double *const all[] = {n, q, a, y};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* x of a token at a position. */
static void embed(const reference *r, int32_t id, uint32_t position, double *x) {
    const reference_shape *c = &r->config;
    const uint64_t E = c->n_embd;
    const double *embd = tensor(r, "token_embd.weight");
    const double *places = tensor(r, "position_embd.weight");
    for (uint64_t j = 0; j < E; j++)
        x[j] = embd[(uint64_t)id * E + j] * (c->embd_scale > 0 ? c->embd_scale : 1) +
               (places ? places[position * E + j] : 0);
    if (tensor(r, "token_embd_norm.weight"))
        norm_of(r, UINT32_MAX, "token_embd_norm", x, x);
}

double *reference_logits(const reference *r, const sm_train_batch *batch) {
    const reference_shape *c = &r->config;
    const uint64_t E = c->n_embd;
    const double *head = tensor(r, "output.weight"), *embd = tensor(r, "token_embd.weight");
    double *x = zeros(batch->n_tokens * E), *n = zeros(E);
    double *logits = zeros((uint64_t)batch->n_tokens * c->n_vocab);
    for (uint32_t i = 0; i < batch->n_spans; i++)
        for (uint32_t t = batch->span_begin[i]; t < batch->span_begin[i + 1]; t++)
            embed(r, batch->ids[t], t - batch->span_begin[i], x + t * E);
    double *inputs = layer_inputs(r, batch, x);
    const passed carried = {.k = calloc(c->n_layer, sizeof *carried.k),
                            .v = calloc(c->n_layer, sizeof *carried.v),
                            .inputs = inputs};
    if (!carried.k || !carried.v)
        abort();
    *r->balanced = 0;
    for (uint32_t i = 0; i < c->n_layer; i++) {
        memset(r->used, 0, SM_MAX_EXPERTS * sizeof *r->used);
        memset(r->score, 0, SM_MAX_EXPERTS * sizeof *r->score);
        layer_forward(r, i, batch, x, &carried);
        for (uint32_t e = 0; e < c->experts.n_experts; e++)
            *r->balanced += c->experts.n_experts * r->used[e] / c->experts.n_used /
                            batch->n_tokens * r->score[e] / batch->n_tokens;
    }
    for (uint32_t i = 0; i < c->n_layer; i++) {
        free(carried.k[i]);
        free(carried.v[i]);
    }
    free(carried.k);
    free(carried.v);
    free(inputs);
    for (uint32_t t = 0; t < batch->n_tokens; t++) {
        norm_of(r, UINT32_MAX, "output_norm", n, x + t * E);
        double *row = logits + (uint64_t)t * c->n_vocab;
        linear(row, head ? head : embd, tensor(r, "output.bias"), n, c->n_vocab, E);
        for (uint32_t j = 0; j < c->n_vocab; j++)
            row[j] *= c->logit_scale;
        for (uint32_t j = 0; j < c->n_vocab && c->logit_cap > 0; j++)
            row[j] = c->logit_cap * tanh(row[j] / c->logit_cap);
    }
    free(x);
    free(n);
    return logits;
}

double reference_loss(const reference *r, const sm_train_batch *batch) {
    const uint32_t n_vocab = r->config.n_vocab;
    double *logits = reference_logits(r, batch), loss = 0;
    for (uint32_t t = 0; t < batch->n_tokens; t++) {
        if (batch->targets[t] < 0)
            continue;
        loss += r->balance * *r->balanced;
        const double *row = logits + (uint64_t)t * n_vocab;
        double max = -INFINITY, sum = 0;
        for (uint32_t i = 0; i < n_vocab; i++)
            max = fmax(max, row[i]);
        for (uint32_t i = 0; i < n_vocab; i++)
            sum += exp(row[i] - max);
        loss += log(sum) + max - row[batch->targets[t]];
    }
    free(logits);
    return loss;
}
