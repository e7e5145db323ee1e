/* Several streams of the residual, and the learned residual beside attention (block.h). */
#include "worker.h"

#include <math.h>
#include <string.h>

#define MATRIX(name, rows, cols, depth, reads, role) \
    { name, rows, cols, depth, reads, role, SM_MUST }

#define PROJECTS(matrix)                                                                      \
    .slot = {SM_WIRING_ROWS, [SM_STREAMS_MATRIX] = MATRIX(matrix, SM_DIM_EMBD, SM_DIM_EMBD,   \
                                                          SM_DIM_OTHERS, 1, SM_ROLE_ROUTER)}, \
    .buffer = {                                                                               \
        [SM_ST_RAW] = {SM_DIM_OTHER_ROWS, SM_KEEP, 0}, [SM_ST_FORM] = {SM_DIM_EMBD, SM_FORMS, 0}}

const sm_kind sm_kind_split = {.name = "split",
                               .id = SM_KIND_SPLIT,
                               .n_slots = SM_STREAMS_SLOTS,
                               .n_buffers = SM_ST_BUFFERS,
                               .outside = true,
                               PROJECTS("altup_proj.weight")};
const sm_kind sm_kind_merge = {.name = "merge",
                               .id = SM_KIND_MERGE,
                               .n_slots = SM_STREAMS_SLOTS,
                               .n_buffers = SM_ST_BUFFERS,
                               .outside = true,
                               PROJECTS("altup_unembd_proj.weight")};

#define MIX_BUFFERS                                                    \
    .buffer = {[SM_MIX_AT_NORMED] = {SM_DIM_EMBD, 0, 0},               \
               [SM_MIX_AT_NORMED_FORM] = {SM_DIM_EMBD, SM_FORMS, 0},   \
               [SM_MIX_AT_MODES] = {SM_DIM_STREAMS, SM_KEEP, 0},       \
               [SM_MIX_AT_MODES_FORM] = {SM_DIM_STREAMS, SM_FORMS, 0}, \
               [SM_MIX_AT_COEFS] = {SM_DIM_COEFS, SM_KEEP, 0}}

const sm_kind sm_kind_predict = {
    .name = "predict",
    .id = SM_KIND_PREDICT,
    .n_slots = SM_MIX_SLOTS,
    .n_buffers = SM_MIX_BUFFERS,
    .slot = {SM_WIRING_ROWS,
             [SM_MIX_COEFS] = MATRIX("altup_predict_coef.weight", SM_DIM_COEFS, SM_DIM_STREAMS, 0,
                                     2, SM_ROLE_ROUTER),
             [SM_MIX_ROUTER] =
                 MATRIX("altup_router.weight", SM_DIM_STREAMS, SM_DIM_EMBD, 0, 1, SM_ROLE_ROUTER),
             [SM_MIX_NORM] = {"altup_router_norm.weight", SM_DIM_EMBD, 0, 0, 0, SM_ROLE_NORM,
                              SM_MUST}},
    MIX_BUFFERS,
};
const sm_kind sm_kind_correct = {
    .name = "correct",
    .id = SM_KIND_CORRECT,
    .n_slots = SM_MIX_COEFS + 1,
    .n_buffers = SM_MIX_BUFFERS,
    .slot = {SM_WIRING_ROWS, [SM_MIX_COEFS] = MATRIX("altup_correct_coef.weight", SM_DIM_STREAMS,
                                                     SM_DIM_STREAMS, 0, 2, SM_ROLE_ROUTER)},
    MIX_BUFFERS,
};

const sm_kind sm_kind_laurel = {
    .name = "laurel",
    .id = SM_KIND_LAUREL,
    .n_slots = SM_LAUREL_SLOTS,
    .n_buffers = SM_LA_BUFFERS,
    .slot = {SM_WIRING_ROWS,
             [SM_LAUREL_LEFT] =
                 MATRIX("laurel_l.weight", SM_DIM_LAUREL, SM_DIM_EMBD, 0, 1, SM_ROLE_ROUTER),
             [SM_LAUREL_RIGHT] =
                 MATRIX("laurel_r.weight", SM_DIM_EMBD, SM_DIM_LAUREL, 0, 2, SM_ROLE_ROUTER),
             [SM_LAUREL_NORM] = {"laurel_post_norm.weight", SM_DIM_EMBD, 0, 0, 0, SM_ROLE_NORM,
                                 SM_MUST}},
    .buffer = {[SM_LA_LOW] = {SM_DIM_LAUREL, SM_KEEP, 0},
               [SM_LA_LOW_FORM] = {SM_DIM_LAUREL, SM_FORMS, 0},
               [SM_LA_RAW] = {SM_DIM_EMBD, SM_KEEP, 0}},
};

static float *row_of(const sm_worker *w, uint32_t buffer, uint64_t t) {
    return (float *)w->at.buffer[buffer] + t * w->block->ld[buffer];
}

/* Which threads do what: of a single token the first does all, without barriers, unless others look
 * on or take part. */
static bool alone(const sm_worker *w) {
    return w->T == 1 && !(w->adapters && w->adapters->n) && !w->batch->observer;
}

static void meet(const sm_worker *w) {
    if (!alone(w))
        sm_team_barrier(w->team);
}

static sm_range tokens_of(const sm_worker *w) {
    sm_range r = {0, w->thread == 0};
    if (!alone(w))
        sm_work_share(w, w->T, &r.begin, &r.end);
    return r;
}

/* to = W x of all tokens, x prepared in `form` by each thread for its tokens. Ends where all
 * meet. */
static void product(const sm_worker *w, const sm_weight *W, const float *x, uint64_t ldx,
                    uint32_t form, float *to, uint64_t ldt) {
    const sm_range tokens = tokens_of(w);
    sm_act_block *formed = w->at.buffer[form];
    const sm_input in = {x, ldx, formed, w->block->ld[form]};
    for (uint64_t t = tokens.begin; t < tokens.end; t++)
        sm_input_prepare(w, W->input_form, formed + t * in.ldq, x + t * ldx, W->cols);
    meet(w);
    sm_product_lower(w, W, &in, w->T, NULL);
    sm_range groups = {0, w->thread == 0 ? (W->rows + SM_GROUP - 1) / SM_GROUP : 0};
    if (!alone(w))
        groups = sm_share_groups(w, W);
    if (groups.begin < groups.end)
        sm_product_compute(w, W, groups.begin, groups.end, &in, 0, w->T, to, ldt);
    meet(w);
}

/* ---- split and merge ------------------------------------------------------------------------- */

static double mean_square(const float *x, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

/* By gemma 3n's code in transformers. */
float sm_stream_factor(const float *raw, const float *x, uint64_t n) {
    return (float)sqrt(mean_square(x, n) / fmax(mean_square(raw, n), SM_STREAM_LEAST));
}

/* Products of the other streams; apart: each its matrix, not all the first. All threads share
 * each. */
static void project(const sm_worker *w, bool apart) {
    const sm_block *b = w->block;
    const uint64_t ld = sm_net_stream_ld(w->net), ldr = b->ld[SM_ST_RAW];
    for (uint32_t i = 1; i < w->net->n_streams; i++)
        product(w, sm_block_expert(b, SM_STREAMS_MATRIX, i - 1), w->at.x + (apart ? i * ld : 0),
                w->ws->ldx, SM_ST_FORM, row_of(w, SM_ST_RAW, 0) + (i - 1) * ld, ldr);
}

void sm_split_run(const sm_worker *w) {
    const uint64_t n = w->c->n_embd, ld = sm_net_stream_ld(w->net), ldx = w->ws->ldx;
    project(w, false);
    const sm_range tokens = tokens_of(w);
    for (uint64_t t = tokens.begin; t < tokens.end; t++) {
        const float *x = w->at.x + t * ldx, *raw = row_of(w, SM_ST_RAW, t);
        float *out = w->at.out + t * ldx;
        for (uint32_t i = 1; i < w->net->n_streams; i++, raw += ld)
            w->kernels->scale(out + i * ld, raw, sm_stream_factor(raw, x, n), n);
        memmove(out, x, n * sizeof *out);
        memset(out + w->net->n_streams * ld, 0, n * sizeof *out);
    }
}

void sm_merge_run(const sm_worker *w) {
    const uint64_t n = w->c->n_embd, ld = sm_net_stream_ld(w->net), ldx = w->ws->ldx;
    project(w, true);
    const sm_range tokens = tokens_of(w);
    float *sum = w->scratch->row;
    for (uint64_t t = tokens.begin; t < tokens.end; t++) {
        const float *x = w->at.x + t * ldx, *raw = row_of(w, SM_ST_RAW, t);
        memcpy(sum, x, n * sizeof *sum);
        for (uint32_t i = 1; i < w->net->n_streams; i++, raw += ld)
            w->kernels->add_product(sum, raw, NULL, sm_stream_factor(raw, x, n), n);
        w->kernels->scale(w->at.out + t * ldx, sum, 1 / (float)w->net->n_streams, n);
    }
}

/* ---- predict and correct --------------------------------------------------------------------- */

/* What mixes the streams; R and the norm are those of block `of`. */
static void find_coefs(const sm_worker *w, const sm_block *of) {
    const sm_block *b = w->block;
    const uint64_t n = w->c->n_embd, n_streams = w->net->n_streams;
    const sm_range tokens = tokens_of(w);
    for (uint64_t t = tokens.begin; t < tokens.end; t++) {
        float *normed = row_of(w, SM_MIX_AT_NORMED, t);
        w->kernels->rms_norm(normed, w->at.x + t * w->ws->ldx, of->v[SM_MIX_NORM], n,
                             w->c->norm_eps);
        w->kernels->scale(normed, normed, 1 / (float)n, n);
    }
    product(w, of->w[SM_MIX_ROUTER], row_of(w, SM_MIX_AT_NORMED, 0), b->ld[SM_MIX_AT_NORMED],
            SM_MIX_AT_NORMED_FORM, row_of(w, SM_MIX_AT_MODES, 0), b->ld[SM_MIX_AT_MODES]);
    for (uint64_t t = tokens.begin; t < tokens.end; t++)
        for (uint64_t i = 0; i < n_streams; i++)
            row_of(w, SM_MIX_AT_MODES, t)[i] = tanhf(row_of(w, SM_MIX_AT_MODES, t)[i]);
    product(w, b->w[SM_MIX_COEFS], row_of(w, SM_MIX_AT_MODES, 0), b->ld[SM_MIX_AT_MODES],
            SM_MIX_AT_MODES_FORM, row_of(w, SM_MIX_AT_COEFS, 0), b->ld[SM_MIX_AT_COEFS]);
}

static void predict_token(const sm_worker *w, uint64_t t) {
    const uint64_t n = w->net->n_streams, ld = sm_net_stream_ld(w->net), ldx = w->ws->ldx;
    const float *x = w->at.x + t * ldx, *coefs = row_of(w, SM_MIX_AT_COEFS, t);
    float *out = w->at.out + t * ldx;
    for (uint64_t d = 0; d < w->c->n_embd; d++) {
        float s[SM_MAX_STREAMS];
        for (uint64_t i = 0; i < n; i++)
            s[i] = x[i * ld + d];
        for (uint64_t o = 0; o < n; o++) {
            float sum = 0;
            for (uint64_t i = 0; i < n; i++)
                sum += coefs[o * n + i] * s[i];
            out[o * ld + d] = sum + s[o];
        }
        out[n * ld + d] = out[d];
    }
}

void sm_predict_run(const sm_worker *w) {
    const sm_range tokens = tokens_of(w);
    find_coefs(w, w->block);
    for (uint64_t t = tokens.begin; t < tokens.end; t++)
        predict_token(w, t);
}

static void correct_token(const sm_worker *w, uint64_t t) {
    const uint64_t n = w->net->n_streams, ld = sm_net_stream_ld(w->net), ldx = w->ws->ldx;
    const float *x = w->at.x + t * ldx, *coefs = row_of(w, SM_MIX_AT_COEFS, t);
    float *out = w->at.out + t * ldx;
    for (uint64_t d = 0; d < w->c->n_embd; d++) {
        const float predicted = x[n * ld + d], off = x[d] - predicted;
        out[d] = off * (coefs[0] + 1) + predicted;
        for (uint64_t i = 1; i < n; i++)
            out[i * ld + d] = off * (coefs[i] + 1) + x[i * ld + d];
        out[n * ld + d] = predicted;
    }
}

void sm_correct_run(const sm_worker *w) {
    const sm_range tokens = tokens_of(w);
    find_coefs(w, &w->net->blocks[w->block->streams.predict]);
    for (uint64_t t = tokens.begin; t < tokens.end; t++)
        correct_token(w, t);
}

/* ---- laurel ---------------------------------------------------------------------------------- */

bool sm_laurel_run(sm_worker *w, const sm_block *b, sm_input *in) {
    const sm_weight *L = b->w[SM_LAUREL_LEFT], *R = b->w[SM_LAUREL_RIGHT];
    const sm_range groups = sm_share_groups(w, L);
    const uint64_t ldx = w->ws->ldx, n = w->c->n_embd;
    if (groups.begin < groups.end)
        sm_product_compute(w, L, groups.begin, groups.end, in, 0, w->T, row_of(w, SM_LA_LOW, 0),
                           b->ld[SM_LA_LOW]);
    sm_team_barrier(w->team);
    product(w, R, row_of(w, SM_LA_LOW, 0), b->ld[SM_LA_LOW], SM_LA_LOW_FORM,
            row_of(w, SM_LA_RAW, 0), b->ld[SM_LA_RAW]);
    const sm_range tokens = tokens_of(w);
    for (uint64_t t = tokens.begin; t < tokens.end; t++) {
        float *y = w->at.y + t * ldx;
        sm_norm_before(w->kernels, b, y, w->at.x + t * ldx, w->c->norm_eps);
        w->kernels->rms_norm(w->scratch->row, row_of(w, SM_LA_RAW, t), b->v[SM_LAUREL_NORM], n,
                             w->c->norm_eps);
        w->kernels->add(y, y, w->scratch->row, n);
        sm_add_output(w, t, 0, n);
    }
    return true;
}
