/* Gated short convolution (LFM2): x += O(c conv(b u)), b, c, u = products of norm(x). What it
 * convolves, b u of each token, lies in the sequence's state as rows. A channel is one thread's
 * from the products to what O reads, so that no barrier stands between. */
#include "worker.h"

const sm_kind sm_kind_shortconv = {
    .name = "short convolution",
    .id = SM_KIND_SHORTCONV,
    .n_slots = SM_SHORTCONV_SLOTS,
    .n_buffers = SM_SC_BUFFERS,
    .n_joins = 1,
    .last = SM_SHORTCONV_O,
    .has_state = true,
    .slot =
        {
            SM_WIRING_ROWS,
            [SM_SHORTCONV_B] = {"shortconv.in_b.weight", SM_DIM_EMBD, SM_DIM_EMBD, 0, 1,
                                SM_ROLE_MATRIX, SM_MUST},
            [SM_SHORTCONV_C] = {"shortconv.in_c.weight", SM_DIM_EMBD, SM_DIM_EMBD, 0, 1,
                                SM_ROLE_MATRIX, SM_MUST},
            [SM_SHORTCONV_X] = {"shortconv.in_x.weight", SM_DIM_EMBD, SM_DIM_EMBD, 0, 1,
                                SM_ROLE_MATRIX, SM_MUST},
            [SM_SHORTCONV_TAPS] = {"shortconv.conv.weight", SM_DIM_TAPS, 0, SM_DIM_EMBD, 0,
                                   SM_ROLE_NORM, SM_MUST},
            [SM_SHORTCONV_O] = {"shortconv.out_proj.weight", SM_DIM_EMBD, SM_DIM_EMBD, 0, 2,
                                SM_ROLE_RESIDUAL, SM_MUST},
        },
    .buffer =
        {
            [SM_SC_B] = {SM_DIM_EMBD, SM_KEEP, 0},
            [SM_SC_C] = {SM_DIM_EMBD, SM_KEEP, 0},
            [SM_SC_X] = {SM_DIM_EMBD, SM_KEEP, 0},
            [SM_SC_OUT] = {SM_DIM_EMBD, SM_KEEP, 0},
            [SM_SC_OUT_FORM] = {SM_DIM_EMBD, SM_FORMS, 0},
        },
    .join = {{"shortconv.in_proj.weight", SM_SHORTCONV_B, 3, SM_IF_ASKED}},
};

/* Channels are shared out in pieces of whole activation blocks, so that each thread quantizes what
 * it computed. */
#define UNIT 32

static sm_range share_channels(const sm_worker *w, const sm_block *b) {
    const uint32_t n = b->dims[SM_DIM_EMBD];
    uint64_t begin, end;
    sm_work_share_weights(w, (n + UNIT - 1) / UNIT,
                          3 * sm_weight_packed_bytes(b->w[SM_SHORTCONV_B]), &begin, &end);
    return (sm_range){begin * UNIT, min_u64(end * UNIT, n)};
}

/* y = sum over taps of weight times the rows up to `position`, oldest first; before position 0
 * there is nothing. Channels [c0, c1). */
static void convolve(const sm_block *b, const sm_kv *kv, uint32_t position, float *y, uint64_t c0,
                     uint64_t c1) {
    const uint32_t taps = b->shortconv.taps;
    const float *weight = b->v[SM_SHORTCONV_TAPS];
    for (uint64_t c = c0; c < c1; c++)
        y[c] = 0;
    for (uint32_t i = position + 1 < taps ? taps - 1 - position : 0; i < taps; i++) {
        const float *row = sm_kv_row(kv, position - (taps - 1 - i));
        for (uint64_t c = c0; c < c1; c++)
            y[c] += weight[c * taps + i] * row[c];
    }
}

/* Channels [c0, c1) of token t, products done, in O's form. */
static void mix(const sm_worker *w, const sm_span *span, sm_input_use use, uint64_t t, uint64_t c0,
                uint64_t c1) {
    const sm_block *b = w->block;
    const sm_kv *kv = &span->state->kv[b->state];
    const uint32_t position = span->position + (uint32_t)(t - span->first);
    const uint64_t at = t * b->ld[SM_SC_B];
    const float *gate = (const float *)w->at.buffer[SM_SC_B] + at;
    const float *after = (const float *)w->at.buffer[SM_SC_C] + at;
    const float *x = (const float *)w->at.buffer[SM_SC_X] + at;
    float *row = sm_kv_row(kv, position), *out = (float *)w->at.buffer[SM_SC_OUT] + at;
    sm_act_block *formed = w->at.buffer[SM_SC_OUT_FORM];
    for (uint64_t c = c0; c < c1; c++)
        row[c] = gate[c] * x[c];
    convolve(b, kv, position, out, c0, c1);
    for (uint64_t c = c0; c < c1; c++)
        out[c] *= after[c];
    sm_input_prepare(w, use.form, formed + t * b->ld[SM_SC_OUT_FORM] + c0 / 32, out + c0, c1 - c0);
}

/* Tokens [t0, t1), in order. */
static void mix_tokens(const sm_worker *w, sm_input_use use, uint64_t t0, uint64_t t1,
                       sm_range channels) {
    for (uint32_t i = 0; i < w->batch->n_spans; i++) {
        const sm_span *span = &w->batch->spans[i];
        const uint64_t end = min_u64(span->first + span->n, t1);
        for (uint64_t t = span->first > t0 ? span->first : t0; t < end; t++)
            mix(w, span, use, t, channels.begin, channels.end);
    }
}

bool sm_shortconv_run(sm_worker *w, const sm_block *b, sm_input *in) {
    static const uint8_t to[] = {SM_SC_B, SM_SC_C, SM_SC_X};
    const sm_weight *O = b->w[SM_SHORTCONV_O];
    const uint64_t ld = b->ld[SM_SC_B];
    const sm_input_use use = sm_input_use_of(w, O);
    const sm_range channels = share_channels(w, b), groups = sm_groups_of(channels);
    for (uint64_t t0 = 0, t1; t0 < w->T && channels.begin < channels.end; t0 = t1) {
        t1 = min_u64(t0 + sm_tokens_together(w, b->w[SM_SHORTCONV_B]), w->T);
        for (uint32_t i = 0; i < 3; i++)
            sm_product_compute(w, b->w[SM_SHORTCONV_B + i], groups.begin, groups.end, in, t0,
                               t1 - t0, (float *)w->at.buffer[to[i]] + t0 * ld, ld);
        mix_tokens(w, use, t0, t1, channels);
    }
    sm_expect(w, O, sm_share_groups(w, O));
    sm_team_barrier(w->team);
    *in = (sm_input){w->at.buffer[SM_SC_OUT], ld, w->at.buffer[SM_SC_OUT_FORM],
                     b->ld[SM_SC_OUT_FORM]};
    return true;
}

void sm_shortconv_expect(const sm_worker *w, const sm_block *b) {
    const sm_range groups = sm_groups_of(share_channels(w, b));
    for (uint32_t i = 0; i < 3; i++)
        sm_expect(w, b->w[SM_SHORTCONV_B + i], groups);
}
