/* test_operators - the backward of each operator by itself, on every instruction-set level of this
 * machine, against finite differences of its formula in double.
 *
 * An operator is made a scalar: L = the sum of its outputs, each times a random number dy, which
 * is what backward gets from above. Its derivative by every element of every input is the
 * difference of L at four points (an error of about 1e-12), and the library's gradient of an input
 * must not be off by more than the case's tolerance times the largest element of that gradient.
 * Inputs of the large cases are checked at SOME elements, and along random signs, where every
 * element takes part. Values in double are those the library has in f32, so that what is left is
 * rounding inside backward, whose unit is 6e-8. The largest error measured was 4.8e-7 (2e-3 for
 * products in bf16, whose unit is 4e-3); the tolerances are three to four times that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "support.h"
#include "train/graph.h"

#define STEP 1e-3 /* of the differences */
#define SOME 8
#define DIRECTIONS 2
#define MAX_VARIABLES 6
#define MAX_OWNED 64
#define MAX_TOKENS 640

/* ---- trials ---------------------------------------------------------------------- */

/* An input of an operator: its values, and what the library says is the gradient. */
typedef struct variable {
    const char *name;
    uint64_t n;
    double *x, *grad;
    bool fixed; /* given, not an input */
} variable;

typedef struct trial trial;

/* Matrices of the first layer. */
typedef enum which { Q, O, GATE, UP, DOWN } which;

typedef struct operator_case {
    const char *name;
    const fixture_model *model; /* NULL: the operator is a kernel */
    /* add the inputs; L of them; the library's gradient of L */
    void (*make)(trial *t);
    double (*loss)(const trial *t);
    void (*backward)(trial *t);
    double tolerance;
    uint32_t sizes[4]; /* tokens (of a kernel: elements), up to a 0 */
    which matrix;      /* of products */
    uint32_t lora_rank;
    double dropout;
    sm_precision precision;
    double sharpness; /* of attention: queries are so many times as long; 0: 1 */
    bool centered;    /* a norm is LayerNorm */
    bool alone;       /* of no residual */
    bool some_rows;   /* of the norm, or tokens of a product that are not 0, 1, … */
    bool writes;      /* a product that writes dx rather than adding to it */
    bool large;       /* see the top */
} operator_case;

/* One case of one size on one level. */
struct trial {
    const operator_case *c;
    const sm_kernels *kernels;
    uint32_t n;
    sm_mem mem;
    sm_source *gguf;
    sm_graph *g;
    const sm_config *config;
    const sm_block *attention, *gated; /* of the first layer */
    uint64_t seed;
    variable v[MAX_VARIABLES];
    uint32_t n_variables;
    double *dy, *dy2, *dy3; /* what comes from above */
    double *frozen, *mask;  /* of products */
    float *buffer[3];
    uint32_t *rows;
    int32_t *ids, *targets;
    uint32_t n_rows;
    double got_loss; /* where the library computes it; otherwise NaN */
    void *owned[MAX_OWNED];
    uint32_t n_owned;
};

static void *own(trial *t, uint64_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    assert_non_null(p);
    assert_true(t->n_owned < MAX_OWNED);
    return t->owned[t->n_owned++] = p;
}

static double *doubles(trial *t, uint64_t n) {
    return own(t, n, sizeof(double));
}

/* Uniform in center ± spread, each a number that f32 has. */
static double *randoms(trial *t, uint64_t n, double center, double spread) {
    double *x = doubles(t, n);
    for (uint64_t i = 0; i < n; i++)
        x[i] = (double)(float)(center +
                               spread * ((double)(test_random(&t->seed) >> 11) * 0x1p-52 - 1));
    return x;
}

/* A matrix of the library's: [rows][cols], ld apart. */
static void to_floats(float *y, uint64_t ld, const double *x, uint64_t rows, uint64_t cols) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t i = 0; i < cols; i++)
            y[r * ld + i] = (float)x[r * cols + i];
}

static void from_floats(double *y, const float *x, uint64_t ld, uint64_t rows, uint64_t cols) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t i = 0; i < cols; i++)
            y[r * cols + i] = (double)x[r * ld + i];
}

static float *floats(trial *t, const double *x, uint64_t n) {
    float *y = own(t, n, sizeof *y);
    if (x)
        to_floats(y, n, x, 1, n);
    return y;
}

static variable *add(trial *t, const char *name, double *x, uint64_t n) {
    assert_true(t->n_variables < MAX_VARIABLES);
    variable *v = &t->v[t->n_variables++];
    *v = (variable){.name = name, .n = n, .x = x, .grad = doubles(t, n)};
    return v;
}

/* Of an array of the library's. */
static variable *add_floats(trial *t, const char *name, const float *x, uint64_t n) {
    variable *v = add(t, name, doubles(t, n), n);
    from_floats(v->x, x, n, 1, n);
    return v;
}

static double dot(const double *x, const double *y, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* ---- on the team ----------------------------------------------------------------- */

typedef struct team_job {
    trial *t;
    void (*fn)(const sm_backward *b, trial *t);
    _Atomic uint32_t next_task;
} team_job;

static void run_job(void *arg, uint32_t thread, uint32_t n_threads) {
    team_job *job = arg;
    sm_graph *g = job->t->g;
    const sm_backward b = {.crew = {g->team, g->kernels, g->gemm, thread, n_threads, NULL},
                           .g = g,
                           .T = job->t->n,
                           .next_task = &job->next_task};
    job->fn(&b, job->t);
}

static void in_team(trial *t, void (*fn)(const sm_backward *b, trial *t)) {
    team_job job = {.t = t, .fn = fn};
    atomic_init(&job.next_task, 0);
    sm_team_run(t->g->team, run_job, &job);
}

/* ---- kernels: rms norm, silu(gate) up, softmax ------------------------------------------ */

#define EPS 1e-5

/* y = x w / sqrt(mean(x^2) + eps); gives L = sum(dy y) */
static double rms_norm(const double *x, const double *w, const double *dy, uint64_t n, double eps) {
    const double r = 1 / sqrt(dot(x, x, n) / (double)n + eps);
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += dy[i] * x[i] * r * w[i];
    return sum;
}

static double mean_of(const double *x, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* The same of x - mean(x). */
static double layer_norm(const double *x, const double *w, const double *dy, uint64_t n,
                         double eps) {
    double *z = malloc(n * sizeof *z);
    assert_non_null(z);
    for (uint64_t i = 0; i < n; i++)
        z[i] = x[i] - mean_of(x, n);
    const double sum = rms_norm(z, w, dy, n, eps);
    free(z);
    return sum;
}

/* A residual's gradient is there already: dx is added to. */
static void norm_row_make(trial *t) {
    add(t, "x", randoms(t, t->n, 0.1, 1), t->n);
    add(t, "gain", randoms(t, t->n, 1, 0.5), t->n);
    t->dy = randoms(t, t->n, 0, 1);
    t->dy2 = randoms(t, t->n, 0, 1);
}
static double norm_row_loss(const trial *t) {
    return rms_norm(t->v[0].x, t->v[1].x, t->dy, t->n, (double)(float)EPS) +
           dot(t->dy2, t->v[0].x, t->n);
}
static void norm_row_backward(trial *t) {
    const uint32_t n = t->n;
    float *dx = floats(t, t->dy2, n), *dw = floats(t, NULL, n);
    const float *x = floats(t, t->v[0].x, n), *dy = floats(t, t->dy, n);
    const float r =
        t->kernels->rms_norm_grad(dx, dy, x, floats(t, t->v[1].x, n), n, (float)EPS, true);
    t->kernels->add_product(dw, dy, x, r, n);
    from_floats(t->v[0].grad, dx, n, 1, n);
    from_floats(t->v[1].grad, dw, n, 1, n);
}

static void swiglu_make(trial *t) {
    add(t, "gate", randoms(t, t->n, 0, 6), t->n);
    add(t, "up", randoms(t, t->n, 0, 2), t->n);
    t->dy = randoms(t, t->n, 0, 1);
}
static double swiglu_loss(const trial *t) {
    const double *gate = t->v[0].x, *up = t->v[1].x;
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++)
        sum += t->dy[i] * gate[i] / (1 + exp(-gate[i])) * up[i];
    return sum;
}
static void swiglu_backward(trial *t) {
    const uint32_t n = t->n;
    float *dgate = floats(t, t->dy, n), *dup = floats(t, NULL, n);
    t->kernels->silu_mul_grad(dgate, dup, floats(t, NULL, n), dgate, floats(t, t->v[0].x, n),
                              floats(t, t->v[1].x, n), n);
    from_floats(t->v[0].grad, dgate, n, 1, n);
    from_floats(t->v[1].grad, dup, n, 1, n);
}

/* gate / (1 + exp(-2 z)) up, z = sqrt(2/pi) (gate + 0.044715 gate^3) */
static double geglu_loss(const trial *t) {
    const double *gate = t->v[0].x, *up = t->v[1].x;
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const double x = gate[i], z = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        sum += t->dy[i] * x * 0.5 * (1 + tanh(z)) * up[i];
    }
    return sum;
}
static void geglu_backward(trial *t) {
    const uint32_t n = t->n;
    float *dgate = floats(t, t->dy, n), *dup = floats(t, NULL, n);
    t->kernels->gelu_mul_grad(dgate, dup, floats(t, NULL, n), dgate, floats(t, t->v[0].x, n),
                              floats(t, t->v[1].x, n), n);
    from_floats(t->v[0].grad, dgate, n, 1, n);
    from_floats(t->v[1].grad, dup, n, 1, n);
}

#define CAP 5.0
#define CAP_SCALE 0.75

static void cap_make(trial *t) {
    add(t, "x", randoms(t, t->n, 0, 8), t->n);
    t->dy = randoms(t, t->n, 0, 1);
}
static double cap_loss(const trial *t) {
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++)
        sum += t->dy[i] * CAP * tanh(CAP_SCALE * t->v[0].x[i] / CAP);
    return sum;
}
static void cap_backward(trial *t) {
    float *y = floats(t, t->v[0].x, t->n), *dy = floats(t, t->dy, t->n);
    t->kernels->soft_cap(y, y, t->n, (float)CAP_SCALE, (float)CAP);
    t->kernels->soft_cap_grad(dy, y, t->n, (float)CAP_SCALE, (float)CAP);
    from_floats(t->v[0].grad, dy, t->n, 1, t->n);
}

#define SOFTMAX_SCALE 0.25

static void softmax_make(trial *t) {
    add(t, "scores", randoms(t, t->n, 1, 12), t->n);
    t->dy = randoms(t, t->n, 0, 1);
}
/* p = exp(scale s - lse); gives L = sum(dy p) */
static double softmax_of(const trial *t, double *lse) {
    const double *s = t->v[0].x;
    double sum = 0, weighted = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const double e = exp(SOFTMAX_SCALE * s[i]);
        sum += e;
        weighted += t->dy[i] * e;
    }
    *lse = log(sum);
    return weighted / sum;
}
static double softmax_loss(const trial *t) {
    double lse;
    return softmax_of(t, &lse);
}
static void softmax_backward(trial *t) {
    double lse;
    const double delta = softmax_of(t, &lse);
    float *s = floats(t, t->v[0].x, t->n), *dp = floats(t, t->dy, t->n);
    t->kernels->softmax_grad(s, dp, t->n, (float)SOFTMAX_SCALE, (float)lse, (float)delta);
    from_floats(t->v[0].grad, dp, t->n, 1, t->n);
}

/* ---- norms of the residual stream, biases ---------------------------------------------- */

/* Rows 1, 2, 4, 5, 7, … or all. */
static void choose_rows(trial *t) {
    t->rows = own(t, t->n, sizeof *t->rows);
    for (uint32_t i = 0; i < t->n; i++)
        if (!t->c->some_rows || i % 3)
            t->rows[t->n_rows++] = i;
}

static void norm_make(trial *t) {
    const uint32_t E = t->config->n_embd;
    choose_rows(t);
    add(t, "x", randoms(t, (uint64_t)t->n * E, 0, 2), (uint64_t)t->n * E);
    add(t, "gain", randoms(t, E, 1, 0.5), E);
    t->dy = randoms(t, (uint64_t)t->n_rows * E, 0, 1);
    /* the residual that is added to; with rows nothing is */
    t->dy2 = randoms(t, (uint64_t)t->n * E, 0, t->c->some_rows || t->c->alone ? 0 : 1);
}
static double norm_loss(const trial *t) {
    const uint64_t E = t->config->n_embd;
    double sum = dot(t->dy2, t->v[0].x, t->n * E);
    for (uint32_t i = 0; i < t->n_rows; i++)
        sum += (t->c->centered ? layer_norm : rms_norm)(
            t->v[0].x + t->rows[i] * E, t->v[1].x, t->dy + i * E, E, (double)t->config->norm_eps);
    return sum;
}
static float *last_norm_grad(const sm_graph *g) {
    return g->blocks[sm_net_head(g->net)->index].v[SM_SLOT_PRE];
}
static void norm_run(const sm_backward *b, trial *t) {
    sm_graph *g = t->g;
    sm_block head = *sm_net_head(g->net);
    head.v[SM_SLOT_PRE] = t->buffer[0];
    head.wiring.norm = t->c->centered ? SM_NORM_LAYER : SM_NORM_RMS;
    sm_grad_norm(b, g->dx, g->dn, g->tape->x, t->c->some_rows ? t->rows : NULL, t->n_rows, &head);
}
static void norm_backward(trial *t) {
    const uint64_t E = t->config->n_embd, ld = t->g->tape->ldx;
    t->buffer[0] = floats(t, t->v[1].x, E);
    to_floats(t->g->tape->x, ld, t->v[0].x, t->n, E);
    to_floats(t->g->dn, ld, t->dy, t->n_rows, E);
    to_floats(t->g->dx, ld, t->dy2, t->n, E);
    in_team(t, norm_run);
    from_floats(t->v[0].grad, t->g->dx, ld, t->n, E);
    from_floats(t->v[1].grad, last_norm_grad(t->g), E, 1, E);
}

/* x = norm(x): the residual goes no further. */
static void norm_block_run(const sm_backward *b, trial *t) {
    sm_block block = b->g->net->blocks[0];
    block.kind = &sm_kind_norm;
    block.v[SM_SLOT_PRE] = t->buffer[0];
    block.wiring.norm = SM_NORM_LAYER;
    sm_grad_kind_of(&block)->backward(b, &block);
}
static void norm_block_backward(trial *t) {
    const uint64_t E = t->config->n_embd, ld = t->g->tape->ldx;
    float *gain_grad = t->g->blocks[0].v[SM_SLOT_PRE];
    t->buffer[0] = floats(t, t->v[1].x, E);
    to_floats(t->g->tape->blocks[0].x, ld, t->v[0].x, t->n, E);
    to_floats(t->g->dx, ld, t->dy, t->n, E);
    in_team(t, norm_block_run);
    from_floats(t->v[0].grad, t->g->dx, ld, t->n, E);
    from_floats(t->v[1].grad, gain_grad, E, 1, E);
}

static void bias_make(trial *t) {
    add(t, "bias", randoms(t, t->gated->gated.n_ff, 0, 1), t->gated->gated.n_ff);
    t->dy = randoms(t, (uint64_t)t->n * t->gated->gated.n_ff, 0, 1);
}
static double bias_loss(const trial *t) {
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++)
        sum += dot(t->dy + (uint64_t)i * t->gated->gated.n_ff, t->v[0].x, t->gated->gated.n_ff);
    return sum;
}
static float *bias_grad(const trial *t) {
    return t->g->blocks[t->gated->index].v[SM_GATED_GATE_BIAS];
}
static void bias_run(const sm_backward *b, trial *t) {
    sm_grad_bias(b, bias_grad(t), t->g->buffer[SM_KIND_GATED][0], t->gated->ld[SM_GATED_AT_H], t->n,
                 t->gated->gated.n_ff);
}
static void bias_backward(trial *t) {
    to_floats(t->g->buffer[SM_KIND_GATED][0], t->gated->ld[SM_GATED_AT_H], t->dy, t->n,
              t->gated->gated.n_ff);
    in_team(t, bias_run);
    from_floats(t->v[0].grad, bias_grad(t), t->v[0].n, 1, t->v[0].n);
}

/* ---- products: y = W x + scale B A dropout(x); W in f32 or frozen in any type --------- */

#define LORA_ALPHA 12.0

static const sm_master *master_of(const trial *t) {
    static const uint8_t slots[] = {[Q] = SM_ATTN_Q,
                                    [O] = SM_ATTN_O,
                                    [GATE] = SM_GATED_GATE,
                                    [UP] = SM_GATED_UP,
                                    [DOWN] = SM_GATED_DOWN};
    return sm_master_of(t->g, t->c->matrix < GATE ? t->attention : t->gated, slots[t->c->matrix]);
}

/* W as the file's type has it. */
static double *dequantized(trial *t, const sm_weight *w) {
    const sm_kernels *scalar = sm_kernels_get(SM_LEVEL_SCALAR);
    double *y = doubles(t, (uint64_t)w->rows * w->cols);
    float *row = own(t, w->cols, sizeof *row);
    for (uint64_t r = 0; r < w->rows; r++) {
        scalar->type[w->type].dequantize(row, w->data + r * w->row_bytes, w->cols);
        from_floats(y + r * w->cols, row, w->cols, 1, w->cols);
    }
    return y;
}

/* What sm_dropout_row multiplies each element by; 1 without dropout. */
static double *dropout_mask(trial *t, const sm_master *master) {
    const uint64_t n = master->w->cols;
    double *mask = doubles(t, t->n * n);
    float *row = own(t, n, sizeof *row);
    t->g->adapters.dropout = (sm_dropout){.rate = t->c->dropout, .seed = 9, .draw = 4};
    uint64_t n_dropped = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        for (uint64_t j = 0; j < n; j++)
            row[j] = 1;
        if (t->c->dropout > 0)
            sm_dropout_row(&t->g->adapters.dropout, master->w, t->rows[i], row, row);
        from_floats(mask + i * n, row, n, 1, n);
        for (uint64_t j = 0; j < n; j++)
            n_dropped += row[j] == 0;
    }
    assert_true((n_dropped > 0) == (t->c->dropout > 0) && n_dropped < t->n * n);
    return mask;
}

static void product_make(trial *t) {
    const sm_master *master = master_of(t);
    const uint64_t rows = master->w->rows, cols = master->w->cols;
    t->rows = own(t, t->n, sizeof *t->rows);
    for (uint32_t i = 0; i < t->n; i++)
        t->rows[i] = t->c->some_rows ? 3 * i + 2 : i;
    add(t, "x", randoms(t, t->n * cols, 0, 1), t->n * cols);
    if (master->value)
        add_floats(t, "W", master->value, rows * cols);
    else
        t->frozen = dequantized(t, master->w);
    assert_true((master->lora != NULL) == (t->c->lora_rank > 0 && t->c->matrix == Q));
    if (master->lora) {
        const sm_weight *A = &master->lora->a, *B = &master->lora->b;
        add_floats(t, "A", (const float *)(const void *)A->data, (uint64_t)A->rows * A->cols);
        add(t, "B", randoms(t, (uint64_t)B->rows * B->cols, 0, 0.5), (uint64_t)B->rows * B->cols);
        to_floats((float *)(uintptr_t)B->data, B->cols, t->v[2].x, B->rows, B->cols);
        t->mask = dropout_mask(t, master);
    }
    t->dy = randoms(t, t->n * rows, 0, 1);
    /* of what else reads x: dx is added to */
    t->dy2 = randoms(t, t->n * cols, 0, t->c->writes ? 0 : 1);
}
static double product_loss(const trial *t) {
    const sm_master *master = master_of(t);
    const uint64_t rows = master->w->rows, cols = master->w->cols;
    const double *W = t->frozen ? t->frozen : t->v[1].x, *A = NULL, *B = NULL;
    uint64_t rank = 0;
    if (master->lora) {
        A = t->v[1].x;
        B = t->v[2].x;
        rank = master->lora->a.rows;
    }
    double sum = dot(t->dy2, t->v[0].x, t->n * cols);
    for (uint32_t i = 0; i < t->n; i++) {
        const double *x = t->v[0].x + i * cols, *dy = t->dy + i * rows;
        for (uint64_t r = 0; r < rows; r++)
            sum += dy[r] * dot(W + r * cols, x, cols);
        for (uint64_t k = 0; k < rank; k++) {
            double low = 0;
            for (uint64_t c = 0; c < cols; c++)
                low += A[k * cols + c] * x[c] * t->mask[i * cols + c];
            for (uint64_t r = 0; r < rows; r++)
                sum += dy[r] * LORA_ALPHA / (double)rank * B[r * rank + k] * low;
        }
    }
    return sum;
}

/* Rows a little apart, as of a wider buffer. */
#define APART 3

enum { PRODUCT_X, PRODUCT_DY, PRODUCT_DX }; /* buffers */

static void product_run(const sm_backward *b, trial *t) {
    const sm_master *master = master_of(t);
    const uint64_t ldy = master->w->rows + APART, ldx = master->w->cols + APART;
    const uint32_t *tokens = t->c->some_rows ? t->rows : NULL;
    sm_grad_weight(b, master, t->buffer[PRODUCT_DY], ldy, t->buffer[PRODUCT_X], ldx, t->n, tokens);
    sm_grad_input(b, master, t->buffer[PRODUCT_DY], ldy, t->n, tokens, t->buffer[PRODUCT_DX], ldx,
                  !t->c->writes);
}
static void product_backward(trial *t) {
    const sm_master *master = master_of(t);
    const uint64_t rows = master->w->rows, cols = master->w->cols;
    const uint64_t ldy = rows + APART, ldx = cols + APART;
    for (int i = 0; i < 3; i++)
        t->buffer[i] = own(t, t->n * (i == PRODUCT_DY ? ldy : ldx), sizeof(float));
    to_floats(t->buffer[PRODUCT_X], ldx, t->v[0].x, t->n, cols);
    to_floats(t->buffer[PRODUCT_DY], ldy, t->dy, t->n, rows);
    to_floats(t->buffer[PRODUCT_DX], ldx, t->dy2, t->n, cols);
    if (t->c->writes) /* over whatever is there */
        memset(t->buffer[PRODUCT_DX], 0xff, t->n * ldx * sizeof(float));
    in_team(t, product_run);
    from_floats(t->v[0].grad, t->buffer[PRODUCT_DX], ldx, t->n, cols);
    if (master->value)
        from_floats(t->v[1].grad, master->grad, cols, rows, cols);
    if (master->lora) {
        const uint64_t rank = master->lora->a.rows;
        from_floats(t->v[1].grad, master->a_grad, cols, rank, cols);
        from_floats(t->v[2].grad, master->b_grad, rank, rows, rank);
    }
}

/* ---- heads: rope after a head norm, k and v read by groups of query heads ------------- */

enum { HEAD_Q, HEAD_K, HEAD_V, HEAD_Q_NORM, HEAD_K_NORM };

/* Tokens stand at positions 0, 5, 10, … */
static double angle_of(const trial *t, uint32_t token, uint32_t pair) {
    return 5.0 * token * t->g->net->ropes[0].inv_freq[pair];
}

static void heads_make(trial *t) {
    const sm_attn_params *c = &t->attention->attn;
    const uint64_t q = (uint64_t)c->n_head * c->head_dim * t->n;
    const uint64_t kv = (uint64_t)c->n_head_kv * c->head_dim * t->n;
    add(t, "q", randoms(t, q, 0, 2), q);
    add(t, "k", randoms(t, kv, 0, 2), kv);
    add(t, "v", randoms(t, kv, 0, 2), kv);
    if (t->attention->v[SM_ATTN_Q_NORM]) {
        add(t, "q norm", randoms(t, c->head_dim, 1, 0.5), c->head_dim);
        add(t, "k norm", randoms(t, c->head_dim, 1, 0.5), c->head_dim);
    }
    t->dy = randoms(t, q, 0, 1);
    t->dy2 = randoms(t, q, 0, 1);
    t->dy3 = randoms(t, q, 0, 1);
}

/* sum(dy rope(norm(x))) of one head */
static double head_loss(const trial *t, const double *x, const double *norm, const double *dy,
                        uint32_t token) {
    const sm_attn_params *c = &t->attention->attn;
    const double m = (double)t->g->net->ropes[0].mscale;
    double y[64], sum = 0;
    assert_true(c->head_dim <= 64);
    const double r =
        norm ? 1 / sqrt(dot(x, x, c->head_dim) / c->head_dim + (double)t->config->norm_eps) : 1;
    for (uint32_t i = 0; i < c->head_dim; i++)
        y[i] = norm ? x[i] * r * norm[i] : x[i];
    for (uint32_t i = t->g->net->ropes[0].n_rot; i < c->head_dim; i++)
        sum += dy[i] * y[i];
    for (uint32_t i = 0; i < t->g->net->ropes[0].n_rot / 2; i++) {
        const double angle = angle_of(t, token, i);
        const uint32_t a = t->g->net->ropes[0].neox ? i : 2 * i;
        const uint32_t b = t->g->net->ropes[0].neox ? i + t->g->net->ropes[0].n_rot / 2 : 2 * i + 1;
        sum += dy[a] * m * (y[a] * cos(angle) - y[b] * sin(angle));
        sum += dy[b] * m * (y[a] * sin(angle) + y[b] * cos(angle));
    }
    return sum;
}
static double heads_loss(const trial *t) {
    const sm_attn_params *c = &t->attention->attn;
    const bool norm = t->attention->v[SM_ATTN_Q_NORM] != NULL;
    const uint64_t dim = c->head_dim, group = c->n_head / c->n_head_kv;
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++)
        for (uint64_t h = 0; h < c->n_head; h++) {
            const uint64_t at = (i * c->n_head + h) * dim;
            const uint64_t at_kv = (i * c->n_head_kv + h / group) * dim;
            sum +=
                head_loss(t, t->v[HEAD_Q].x + at, norm ? t->v[HEAD_Q_NORM].x : NULL, t->dy + at, i);
            sum += head_loss(t, t->v[HEAD_K].x + at_kv, norm ? t->v[HEAD_K_NORM].x : NULL,
                             t->dy2 + at, i);
            sum += dot(t->dy3 + at, t->v[HEAD_V].x + at_kv, dim);
        }
    return sum;
}
static float *grad(const trial *t, uint32_t buffer) {
    return sm_grad_at(t->g, t->attention, buffer);
}
/* Where each head of keys has one of queries, and no norm, they stay where they are. */
static bool alone(const trial *t) {
    return t->attention->attn.n_head == t->attention->attn.n_head_kv &&
           !t->attention->v[SM_ATTN_K_NORM];
}
static float *grad_of_keys(const trial *t) {
    return grad(t, alone(t) ? SM_GRAD_K_HEADS : SM_GRAD_K);
}
static float *grad_of_values(const trial *t) {
    return grad(t, alone(t) ? SM_GRAD_V_HEADS : SM_GRAD_V);
}
static void heads_run(const sm_backward *b, trial *t) {
    sm_grad_heads(b, t->attention);
}
static void heads_backward(trial *t) {
    sm_graph *g = t->g;
    const sm_attn_params *c = &t->attention->attn;
    const bool norm = t->attention->v[SM_ATTN_Q_NORM] != NULL;
    const uint64_t qd = (uint64_t)c->n_head * c->head_dim, half = t->g->net->ropes[0].n_rot / 2;
    const uint64_t kd = (uint64_t)c->n_head_kv * c->head_dim;
    const uint64_t ldq = t->attention->ld[SM_AT_Q], ldkv = t->attention->ld[SM_AT_K];
    const sm_places *l = &g->tape->blocks[t->attention->index];
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t j = 0; j < half; j++) {
            g->tape->cos[0][i * half + j] = (float)cos(angle_of(t, i, j)) * g->net->ropes[0].mscale;
            g->tape->sin[0][i * half + j] = (float)sin(angle_of(t, i, j)) * g->net->ropes[0].mscale;
        }
    if (norm) {
        to_floats(l->buffer[SM_AT_Q_RAW], ldq, t->v[HEAD_Q].x, t->n, qd);
        to_floats(l->buffer[SM_AT_K_RAW], ldkv, t->v[HEAD_K].x, t->n, kd);
        to_floats((float *)(uintptr_t)t->attention->v[SM_ATTN_Q_NORM], c->head_dim,
                  t->v[HEAD_Q_NORM].x, 1, c->head_dim);
        to_floats((float *)(uintptr_t)t->attention->v[SM_ATTN_K_NORM], c->head_dim,
                  t->v[HEAD_K_NORM].x, 1, c->head_dim);
    }
    to_floats(grad(t, SM_GRAD_Q), ldq, t->dy, t->n, qd);
    to_floats(grad(t, SM_GRAD_K_HEADS), ldq, t->dy2, t->n, qd);
    to_floats(grad(t, SM_GRAD_V_HEADS), ldq, t->dy3, t->n, qd);
    in_team(t, heads_run);
    from_floats(t->v[HEAD_Q].grad, norm ? grad(t, SM_GRAD_K_HEADS) : grad(t, SM_GRAD_Q), ldq, t->n,
                qd);
    from_floats(t->v[HEAD_K].grad, norm ? grad(t, SM_GRAD_V_HEADS) : grad_of_keys(t),
                norm ? ldq : ldkv, t->n, kd);
    from_floats(t->v[HEAD_V].grad, grad_of_values(t), ldkv, t->n, kd);
    if (norm) {
        from_floats(t->v[HEAD_Q_NORM].grad, g->blocks[t->attention->index].v[SM_ATTN_Q_NORM],
                    c->head_dim, 1, c->head_dim);
        from_floats(t->v[HEAD_K_NORM].grad, g->blocks[t->attention->index].v[SM_ATTN_K_NORM],
                    c->head_dim, 1, c->head_dim);
    }
}

/* ---- attention: several documents in a batch ------------------------------------------ */

/* In bf16 such numbers, since then the forward pass, too, works with these. */
static double *attended(trial *t, uint64_t n, double spread) {
    double *x = randoms(t, n, 0, spread);
    for (uint64_t i = 0; i < n && t->c->precision == SM_PRECISION_BF16; i++)
        x[i] = (double)sm_bf16_to_f32(sm_f32_to_bf16((float)x[i]));
    return x;
}

static void attention_make(trial *t) {
    const sm_attn_params *c = &t->attention->attn;
    const uint64_t q = (uint64_t)c->n_head * c->head_dim * t->n;
    const uint64_t kv = (uint64_t)c->n_head_kv * c->head_dim * t->n;
    const double sharpness = t->c->sharpness > 0 ? t->c->sharpness : 1;
    add(t, "q", attended(t, q, 1.5 * sharpness), q);
    add(t, "k", attended(t, kv, 1.5), kv);
    add(t, "v", attended(t, kv, 1.5), kv);
    t->dy = randoms(t, q, 0, 1); /* which the backward pass alone reads */
    /* a document of one token, one of an eighth of the rest, one of all that is left */
    const uint32_t ends[] = {1, 1 + (t->n - 1) / 8, t->n};
    for (uint32_t i = 0, first = 0; i < 3; first = ends[i++])
        t->g->spans[i] = (sm_span){.first = first, .n = ends[i] - first};
    t->g->n_spans = 3;
}

/* One head of one token: out[head_dim] = sum of p v, p = softmax(q k / sqrt(head_dim)) over the
 * tokens of its document up to itself, within the window. */
static void attend(const trial *t, const sm_span *span, uint32_t token, uint32_t head, double *out,
                   double *lse) {
    const sm_attn_params *c = &t->attention->attn;
    const uint64_t dim = c->head_dim, kv_head = head / (c->n_head / c->n_head_kv);
    const double *q = t->v[0].x + ((uint64_t)token * c->n_head + head) * dim;
    const uint32_t window = c->window;
    const uint32_t first = span->first + sm_window_begin(window, token - span->first);
    double sum = 0;
    memset(out, 0, dim * sizeof *out);
    for (uint32_t j = first; j <= token; j++) {
        const uint64_t at = ((uint64_t)j * c->n_head_kv + kv_head) * dim;
        const double e = exp(dot(q, t->v[1].x + at, dim) / sqrt((double)dim));
        sum += e;
        for (uint64_t d = 0; d < dim; d++)
            out[d] += e * t->v[2].x[at + d];
    }
    for (uint64_t d = 0; d < dim; d++)
        out[d] /= sum;
    *lse = log(sum);
}
/* The same of all; att and lse may be NULL. */
static double attention_of(const trial *t, float *att, float *lse) {
    const sm_attn_params *c = &t->attention->attn;
    double sum = 0, out[64], logsum;
    for (uint32_t i = 0; i < t->g->n_spans; i++) {
        const sm_span *span = &t->g->spans[i];
        for (uint32_t token = span->first; token < span->first + span->n; token++)
            for (uint32_t h = 0; h < c->n_head; h++) {
                attend(t, span, token, h, out, &logsum);
                const uint64_t at = ((uint64_t)token * c->n_head + h) * c->head_dim;
                sum += dot(t->dy + at, out, c->head_dim);
                if (att)
                    to_floats(att + token * t->attention->ld[SM_AT_Q] + (uint64_t)h * c->head_dim,
                              c->head_dim, out, 1, c->head_dim);
                if (lse)
                    lse[token * t->attention->ld[SM_AT_LSE] + h] = (float)logsum;
            }
    }
    return sum;
}
static double attention_loss(const trial *t) {
    return attention_of(t, NULL, NULL);
}
static void attention_run(const sm_backward *b, trial *t) {
    sm_grad_attend(b, t->attention);
}
static void attention_backward(trial *t) {
    sm_graph *g = t->g;
    const sm_attn_params *c = &t->attention->attn;
    const sm_places *l = &g->tape->blocks[t->attention->index];
    const uint64_t dim = c->head_dim, group = c->n_head / c->n_head_kv;
    const uint64_t qd = c->n_head * dim, kd = c->n_head_kv * dim;
    const uint64_t ldq = t->attention->ld[SM_AT_Q], ldkv = t->attention->ld[SM_AT_K];
    to_floats(l->buffer[SM_AT_Q], ldq, t->v[0].x, t->n, qd);
    to_floats(l->buffer[SM_AT_K], ldkv, t->v[1].x, t->n, kd);
    to_floats(l->buffer[SM_AT_V], ldkv, t->v[2].x, t->n, kd);
    to_floats(grad(t, SM_GRAD_OUT), ldq, t->dy, t->n, qd);
    attention_of(t, l->buffer[SM_AT_OUT], l->buffer[SM_AT_LSE]);
    in_team(t, attention_run);
    from_floats(t->v[0].grad, grad(t, SM_GRAD_Q), ldq, t->n, qd);
    for (uint32_t i = 0; i < t->n; i++)
        for (uint64_t h = 0; h < c->n_head; h++)
            for (uint64_t d = 0; d < dim; d++) {
                const uint64_t at = i * kd + h / group * dim + d;
                t->v[1].grad[at] += (double)grad(t, SM_GRAD_K_HEADS)[i * ldq + h * dim + d];
                t->v[2].grad[at] += (double)grad(t, SM_GRAD_V_HEADS)[i * ldq + h * dim + d];
            }
}

/* ---- head, cross-entropy, embedding ------------------------------------------------------ */

#define WEIGHT 0.125 /* of the loss */

enum { LAST_X, LAST_GAIN, LAST_W };

/* Every fourth token has no target; ids repeat. */
static void make_targets(trial *t) {
    const uint32_t n_vocab = t->config->n_vocab;
    t->rows = t->g->rows;
    t->ids = own(t, t->n, sizeof *t->ids);
    t->targets = own(t, t->n, sizeof *t->targets);
    for (uint32_t i = 0; i < t->n; i++) {
        t->ids[i] = (int32_t)(test_random(&t->seed) % 7 * (n_vocab / 7));
        t->targets[i] = i % 4 == 1 ? -1 : (int32_t)(test_random(&t->seed) % n_vocab);
        if (t->targets[i] >= 0)
            t->rows[t->n_rows++] = i;
    }
}
static void head_make(trial *t) {
    const uint64_t E = t->config->n_embd;
    make_targets(t);
    add(t, "x", randoms(t, t->n * E, 0, 2), t->n * E);
    add_floats(t, "last norm", sm_net_head(t->g->net)->v[SM_SLOT_PRE], E);
    add_floats(t, "W", t->g->masters[t->g->net->head->index].value, t->config->n_vocab * E);
    t->dy = randoms(t, t->n * E, 0, 0.01);
}
static void logits_of(const trial *t, uint32_t token, double *logits) {
    const uint64_t E = t->config->n_embd;
    const double *x = t->v[LAST_X].x + token * E;
    const double r = 1 / sqrt(dot(x, x, E) / (double)E + (double)t->config->norm_eps);
    double z[64];
    assert_true(E <= 64);
    for (uint64_t i = 0; i < E; i++)
        z[i] = x[i] * r * t->v[LAST_GAIN].x[i];
    for (uint32_t i = 0; i < t->config->n_vocab; i++)
        logits[i] = dot(t->v[LAST_W].x + i * E, z, E);
}
/* -log softmax(logits)[target] */
static double cross_entropy(const double *logits, uint32_t n, int32_t target) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp(logits[i]);
    return log(sum) - logits[target];
}
#define MAX_VOCAB 320
static double head_loss_of(const trial *t) {
    double logits[MAX_VOCAB], sum = 0;
    assert_true(t->config->n_vocab <= MAX_VOCAB);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        logits_of(t, t->rows[i], logits);
        sum += WEIGHT * cross_entropy(logits, t->config->n_vocab, t->targets[t->rows[i]]);
    }
    return sum;
}
static void run_head(trial *t) {
    sm_graph *g = t->g;
    const sm_train_batch batch = {.n_tokens = t->n, .ids = t->ids, .targets = t->targets};
    to_floats(g->tape->x, g->tape->ldx, t->v[LAST_X].x, t->n, t->config->n_embd);
    const sm_head_job job = {
        .adapters = &g->adapters, .n_rows = t->n_rows, .backward = true, .weight = WEIGHT};
    assert_int_equal(sm_graph_head(g, &batch, &job, &t->got_loss), SM_OK);
    t->got_loss *= WEIGHT;
}
static void head_backward(trial *t) {
    const uint64_t E = t->config->n_embd;
    run_head(t);
    from_floats(t->v[LAST_X].grad, t->g->dx, t->g->tape->ldx, t->n, E);
    from_floats(t->v[LAST_GAIN].grad, last_norm_grad(t->g), E, 1, E);
    from_floats(t->v[LAST_W].grad, t->g->masters[t->g->net->head->index].grad, E,
                t->config->n_vocab, E);
}

/* The embedding is the head's matrix too. */
static double tied_loss(const trial *t) {
    const uint64_t E = t->config->n_embd;
    double sum = head_loss_of(t);
    for (uint32_t i = 0; i < t->n; i++)
        sum += dot(t->dy + i * E, t->v[LAST_W].x + (uint64_t)t->ids[i] * E, E);
    return sum;
}
static void embedding_run(const sm_backward *b, trial *t) {
    sm_grad_embedding(b, t->ids);
}
static void tied_backward(trial *t) {
    const uint64_t E = t->config->n_embd;
    assert_ptr_equal(t->g->masters[t->g->net->head->index].grad, t->g->embd_grad);
    run_head(t);
    from_floats(t->v[LAST_X].grad, t->g->dx, t->g->tape->ldx, t->n, E);
    from_floats(t->v[LAST_GAIN].grad, last_norm_grad(t->g), E, 1, E);
    to_floats(t->g->dx, t->g->tape->ldx, t->dy, t->n, E);
    in_team(t, embedding_run);
    from_floats(t->v[LAST_W].grad, t->g->embd_grad, E, t->config->n_vocab, E);
    t->got_loss = NAN; /* the head's only */
}

static void embedding_make(trial *t) {
    const uint64_t E = t->config->n_embd;
    make_targets(t);
    add_floats(t, "E", (const float *)(const void *)t->g->net->embd.data, t->config->n_vocab * E);
    t->dy = randoms(t, t->n * E, 0, 1);
}
static double embedding_loss(const trial *t) {
    const uint64_t E = t->config->n_embd;
    double sum = 0;
    for (uint32_t i = 0; i < t->n; i++)
        sum += dot(t->dy + i * E, t->v[0].x + (uint64_t)t->ids[i] * E, E);
    return sum;
}
static void embedding_backward(trial *t) {
    const uint64_t E = t->config->n_embd;
    to_floats(t->g->dx, t->g->tape->ldx, t->dy, t->n, E);
    in_team(t, embedding_run);
    from_floats(t->v[0].grad, t->g->embd_grad, E, t->config->n_vocab, E);
}

/* Logits alone: the rows that the head leaves where the logits were. */
static void logits_make(trial *t) {
    head_make(t);
    const uint64_t n_vocab = t->config->n_vocab;
    double *logits = doubles(t, t->n_rows * n_vocab);
    for (uint32_t i = 0; i < t->n_rows; i++)
        logits_of(t, t->rows[i], logits + i * n_vocab);
    for (uint32_t i = 0; i < t->n_variables; i++)
        t->v[i].fixed = true;
    add(t, "logits", logits, t->n_rows * n_vocab);
}
static double logits_loss(const trial *t) {
    const uint64_t n_vocab = t->config->n_vocab;
    double sum = 0;
    for (uint32_t i = 0; i < t->n_rows; i++)
        sum += WEIGHT *
               cross_entropy(t->v[3].x + i * n_vocab, (uint32_t)n_vocab, t->targets[t->rows[i]]);
    return sum;
}
static void logits_backward(trial *t) {
    assert_true(t->n_rows <= t->g->chunk);
    run_head(t);
    from_floats(t->v[3].grad, t->g->logits, t->g->ldl, t->n_rows, t->config->n_vocab);
}

/* ---- the cases ------------------------------------------------------------------- */

/* Nothing fills a vector: groups of 3 query heads, neighbours n_rot/2 apart in rope. */
#define ODD                                                                           \
    .architecture = "qwen3", .n_embd = 37, .n_layer = 1, .n_head = 6, .n_head_kv = 2, \
    .head_dim = 22, .n_ff = 29, .no_vocab = true, .n_rows = 131, .untied = true
static const fixture_model odd = {ODD};
static const fixture_model windowed = {ODD, .sliding_window = 11};
/* Neighbours side by side, 10 of 18 dimensions rotated, by yarn's angles and magnitude. */
static const fixture_model plain = {.n_embd = 45,
                                    .n_layer = 1,
                                    .n_head = 3,
                                    .n_head_kv = 3,
                                    .head_dim = 18,
                                    .n_ff = 23,
                                    .all_biases = true,
                                    .no_vocab = true,
                                    .n_rows = 131,
                                    .rope_scaling = "yarn",
                                    .u32_key = "llama.rope.dimension_count",
                                    .u32_value = 10};
/* More rows than are unpacked at a time. */
static const fixture_model wide = {
    .n_embd = 64, .n_layer = 1, .n_ff = 288, .type = SM_DTYPE_Q4_0, .no_vocab = true};
static const fixture_model half = {
    .n_embd = 35, .n_layer = 1, .head_dim = 10, .type = SM_DTYPE_BF16, .no_vocab = true};

static const operator_case cases[] = {
    {"rms norm, a row", NULL, norm_row_make, norm_row_loss, norm_row_backward, 2e-6,
     .sizes = {3, 16, 67}},
    {"silu(gate) up", NULL, swiglu_make, swiglu_loss, swiglu_backward, 2e-6, .sizes = {1, 16, 67}},
    {"gelu(gate) up", NULL, swiglu_make, geglu_loss, geglu_backward, 4e-6, .sizes = {1, 16, 67}},
    {"soft cap", NULL, cap_make, cap_loss, cap_backward, 4e-6, .sizes = {1, 16, 67}},
    {"softmax", NULL, softmax_make, softmax_loss, softmax_backward, 2e-6, .sizes = {2, 16, 67}},
    {"rms norm and residual", &odd, norm_make, norm_loss, norm_backward, 2e-6, .sizes = {1, 19}},
    {"rms norm of some rows", &odd, norm_make, norm_loss, norm_backward, 2e-6, .sizes = {19},
     .some_rows = true},
    {"LayerNorm and residual", &odd, norm_make, norm_loss, norm_backward, 4e-6, .sizes = {1, 19},
     .centered = true},
    {"LayerNorm that is a block", &odd, norm_make, norm_loss, norm_block_backward, 4e-6,
     .sizes = {1, 19}, .centered = true, .alone = true},
    {"LayerNorm of some rows", &odd, norm_make, norm_loss, norm_backward, 4e-6, .sizes = {19},
     .centered = true, .some_rows = true},
    {"bias", &plain, bias_make, bias_loss, bias_backward, 2e-6, .sizes = {1, 19, 300}},
    {"product", &odd, product_make, product_loss, product_backward, 2e-6, .sizes = {1, 19, 40},
     .matrix = DOWN},
    {"product that writes", &odd, product_make, product_loss, product_backward, 2e-6, .sizes = {19},
     .matrix = O, .writes = true},
    {"product in bf16", &odd, product_make, product_loss, product_backward, 6e-3, .sizes = {19},
     .matrix = UP, .precision = SM_PRECISION_BF16},
    {"product, frozen Q4_0", &wide, product_make, product_loss, product_backward, 2e-6,
     .sizes = {7}, .matrix = GATE, .lora_rank = 5},
    {"product that writes, frozen Q4_0", &wide, product_make, product_loss, product_backward, 2e-6,
     .sizes = {7}, .matrix = GATE, .lora_rank = 5, .writes = true},
    {"product with LoRA", &half, product_make, product_loss, product_backward, 2e-6,
     .sizes = {1, 19}, .matrix = Q, .lora_rank = 5},
    {"product with LoRA and dropout", &half, product_make, product_loss, product_backward, 2e-6,
     .sizes = {19}, .matrix = Q, .lora_rank = 5, .dropout = 0.3, .writes = true},
    {"product with LoRA and dropout, some tokens", &half, product_make, product_loss,
     product_backward, 2e-6, .sizes = {19}, .matrix = Q, .lora_rank = 5, .dropout = 0.6,
     .some_rows = true},
    {"heads with norms", &odd, heads_make, heads_loss, heads_backward, 2e-6, .sizes = {1, 7}},
    {"heads, part of them rotated", &plain, heads_make, heads_loss, heads_backward, 2e-6,
     .sizes = {1, 7}},
    {"attention, grouped heads", &odd, attention_make, attention_loss, attention_backward, 2e-6,
     .sizes = {9, 17}},
    {"attention, a head each", &plain, attention_make, attention_loss, attention_backward, 2e-6,
     .sizes = {20}},
    {"attention, many blocks", &odd, attention_make, attention_loss, attention_backward, 2e-6,
     .sizes = {310}, .large = true},
    {"attention, windowed", &windowed, attention_make, attention_loss, attention_backward, 2e-6,
     .sizes = {9, 40}},
    {"attention, windowed, many blocks", &windowed, attention_make, attention_loss,
     attention_backward, 2e-6, .sizes = {310}, .large = true},
    {"attention in bf16", &odd, attention_make, attention_loss, attention_backward, 6e-3,
     .sizes = {17}, .precision = SM_PRECISION_BF16},
    {"attention in bf16 that takes few keys", &odd, attention_make, attention_loss,
     attention_backward, 6e-3, .sizes = {17}, .precision = SM_PRECISION_BF16, .sharpness = 30},
    {"cross-entropy", &odd, logits_make, logits_loss, logits_backward, 2e-6, .sizes = {3, 14}},
    {"head and cross-entropy", &odd, head_make, head_loss_of, head_backward, 2e-6, .sizes = {3, 9}},
    {"head and cross-entropy, two chunks", &odd, head_make, head_loss_of, head_backward, 2e-6,
     .sizes = {MAX_TOKENS}, .large = true},
    {"embedding", &odd, embedding_make, embedding_loss, embedding_backward, 2e-6, .sizes = {1, 40}},
    {"embedding that is the head", &plain, head_make, tied_loss, tied_backward, 2e-6, .sizes = {9}},
};

/* ---- differences ----------------------------------------------------------------- */

/* Where the derivative is looked at: element k, or along random signs, each 1 / sqrt(n). */
typedef struct place {
    uint64_t element;
    bool signs;
    uint64_t seed;
} place;

static uint64_t n_places(const trial *t, const variable *v) {
    return t->c->large ? SOME + DIRECTIONS : v->n;
}
static place place_of(const trial *t, const variable *v, uint64_t k) {
    uint64_t seed = k + 1;
    if (!t->c->large)
        return (place){.element = k};
    return k < SOME ? (place){.element = test_random(&seed) % v->n} : (place){0, true, seed};
}

/* x = from, moved along the place's unit vector. */
static void move(const variable *v, const double *from, place p, double by) {
    const double each = by / sqrt((double)v->n);
    if (!p.signs)
        v->x[p.element] = from[p.element] + by;
    for (uint64_t i = 0; p.signs && i < v->n; i++)
        v->x[i] = from[i] + (test_random(&p.seed) & 1 ? each : -each);
}

static double difference(const trial *t, const variable *v, const double *from, place p) {
    static const double steps[] = {-2 * STEP, -STEP, STEP, 2 * STEP};
    double at[4];
    for (int i = 0; i < 4; i++) {
        move(v, from, p, steps[i]);
        at[i] = t->c->loss(t);
        move(v, from, p, 0);
    }
    return (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * STEP);
}

/* The differences of all inputs, one after the other: equal on all levels. */
static double *differences(const trial *t) {
    uint64_t n = 0, at = 0;
    for (uint32_t i = 0; i < t->n_variables; i++)
        n += t->v[i].fixed ? 0 : n_places(t, &t->v[i]);
    double *want = calloc(n, sizeof *want);
    assert_non_null(want);
    for (uint32_t i = 0; i < t->n_variables; i++) {
        const variable *v = &t->v[i];
        double *from = malloc(v->n * sizeof *from);
        assert_non_null(from);
        memcpy(from, v->x, v->n * sizeof *from);
        for (uint64_t k = 0; !v->fixed && k < n_places(t, v); k++)
            want[at++] = difference(t, v, from, place_of(t, v, k));
        free(from);
    }
    return want;
}

static double gradient_at(const variable *v, place p) {
    double sum = 0;
    if (!p.signs)
        return v->grad[p.element];
    for (uint64_t i = 0; i < v->n; i++)
        sum += test_random(&p.seed) & 1 ? v->grad[i] : -v->grad[i];
    return sum / sqrt((double)v->n);
}

/* Returns the largest error, as a part of the largest gradient of the same input. */
static double compare(const trial *t, const double *want) {
    double worst = 0;
    for (uint32_t i = 0; i < t->n_variables; i++) {
        const variable *v = &t->v[i];
        double largest = 0;
        for (uint64_t k = 0; k < v->n; k++)
            largest = fmax(largest, fabs(v->grad[k]));
        for (uint64_t k = 0; !v->fixed && k < n_places(t, v); k++) {
            const place p = place_of(t, v, k);
            const double got = gradient_at(v, p), error = fabs(got - want[k]) / largest;
            if (!(error <= t->c->tolerance))
                fail_msg("%s, %s, size %u: gradient of %s%s[%llu] is %.9g, not %.9g (largest %.3g)",
                         t->c->name, sm_level_name(t->kernels->level), t->n, v->name,
                         p.signs ? " along signs" : "", (unsigned long long)p.element, got, want[k],
                         largest);
            worst = fmax(worst, error);
        }
        want += v->fixed ? 0 : n_places(t, v);
    }
    return worst;
}

/* ---- running them ---------------------------------------------------------------- */

static void open_graph(trial *t) {
    const char *path = scratch_path("operators.gguf");
    sm_error error;
    const sm_graph_options options = {.max_tokens = MAX_TOKENS,
                                      .max_spans = 8,
                                      .n_threads = 2,
                                      .precision = t->c->precision,
                                      .lora_rank = t->c->lora_rank,
                                      .lora_alpha = LORA_ALPHA,
                                      .lora_dropout = t->c->dropout,
                                      .lora_targets = "attn_q"};
    assert_int_equal(fixture_write(path, t->c->model), 0);
    if (sm_source_open(&t->gguf, &t->mem, path, true, &error) ||
        sm_graph_new(&t->g, &t->mem, t->gguf, t->kernels, &options, &error))
        fail_msg("%s", error.message);
    t->config = &t->g->net->config;
    t->attention = &t->g->net->blocks[0];
    t->gated = &t->g->net->blocks[1];
}

static void open_trial(trial *t, const operator_case *c, const sm_kernels *kernels, uint32_t size) {
    *t = (trial){.c = c, .kernels = kernels, .n = size, .seed = 1, .got_loss = NAN};
    assert_int_equal(sm_mem_init(&t->mem, NULL, 0, NULL), SM_OK);
    if (c->model)
        open_graph(t);
    c->make(t);
}

static void close_trial(trial *t) {
    for (uint32_t i = 0; i < t->n_owned; i++)
        free(t->owned[i]);
    if (t->g) {
        sm_graph_free(t->g);
        sm_source_close(t->gguf);
    }
    assert_int_equal(t->mem.in_use, 0);
}

static void run_size(const operator_case *c, uint32_t size) {
    double *want = NULL, loss = NAN;
    for (uint32_t level = SM_LEVEL_SCALAR; sm_level_name(level); level++) {
        const sm_kernels *kernels = sm_kernels_get(level);
        trial t;
        if (!kernels)
            continue;
        open_trial(&t, c, kernels, size);
        if (!want) {
            want = differences(&t);
            loss = c->loss(&t);
        }
        assert_true(c->loss(&t) == loss); /* the same values on every level */
        c->backward(&t);
        if (!isnan(t.got_loss) && fabs(t.got_loss - loss) > 1e-6 * loss)
            fail_msg("%s: loss %.9g, not %.9g", c->name, t.got_loss, loss);
        const double error = compare(&t, want);
        print_message("%s, size %u, %s: off by at most %.1e\n", c->name, size, sm_level_name(level),
                      error);
        close_trial(&t);
    }
    free(want);
}

static void run_case(void **state) {
    const operator_case *c = *state;
    for (int i = 0; i < 4 && c->sizes[i]; i++)
        run_size(c, c->sizes[i]);
}

#define N_CASES (sizeof cases / sizeof *cases)

int main(void) {
    struct CMUnitTest tests[N_CASES];
    for (size_t i = 0; i < N_CASES; i++)
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = run_case,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
