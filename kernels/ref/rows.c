/* rows.c - operations on vectors, spelled out. */
#include <math.h>

#include "damage.h"
#include "table.h"

/* exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2. The polynomial is the
 * minimax fit of exp on that range with its first two coefficients held at 1: relative
 * error 3e-9, so that the rounding to f32 is all that shows. */
static float exp_f32(float x) {
    const double magic = 0x1.8p52; /* adding it rounds to an integer, kept in the low bits */
    if (x < -87.3f) {
        return 0;
    }
    double v = x > 88.3f ? 88.3 : (double)x;
    double shifted = v * 1.4426950408889634 + magic;
    double n = shifted - magic;
    double r = v - n * 0.6931471805599453;
    double p = 0.0013814598356707722;
    p = p * r + 0.008368716897946559;
    p = p * r + 0.04166838805129196;
    p = p * r + 0.16666520631513237;
    p = p * r + 0.49999993447766905;
    p = p * r * r + r + 1;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (float)p * sm_bits_float(((uint32_t)bits + 127) << 23);
}

/* x * inverse, rounded once to the nearest even integer, below 2^22. */
static int32_t nearest(float x, float inverse) {
    const float magic = 0x1.8p23f; /* the integer is in the low bits of what is added to it */
    return (int32_t)(sm_float_bits(fmaf(x, inverse, magic)) - sm_float_bits(magic));
}

/* The number of the scale for 32 elements in fine steps: see sm_act_block. */
static int best_scale(const int16_t *y) {
    float least = 0;
    int best = 0;
    for (int j = 0; j < SM_ACT_SCALES; j++) {
        int32_t sum = 0;
        for (size_t i = 0; i < 32; i++) {
            const int32_t z = j == 0 ? y[i] : (y[i] * SM_ACT_RATIO[j][0] + (1 << 14)) >> 15;
            const int32_t r = ((z + 128) & 255) - 128;
            sum += r * r;
        }
        const float error = (float)sum * SM_ACT_WEIGHT[j];
        if (j == 0 || error < least) {
            least = error;
            best = j;
        }
    }
    return best;
}

void sm_quantize_ref(sm_act_block *out, const float *x, size_t k) {
    for (size_t n = 0; n < k / 32; n++, out++, x += 32) {
        float max = 0;
        if (sm_damage_block(out, x)) {
            continue;
        }
        for (size_t j = 0; j < 32; j++) {
            max = fabsf(x[j]) > max ? fabsf(x[j]) : max;
        }
        memset(out, 0, sizeof *out);
        if (max < 1e-30f) {
            continue;
        }
        const float reciprocal = 1 / max;
        int16_t y[32];
        for (size_t j = 0; j < 32; j++) {
            y[j] = (int16_t)nearest(x[j], SM_ACT_FINE * reciprocal);
        }
        const int best = best_scale(y);
        const float inverse = (float)(127 - best) * reciprocal;
        int32_t sum[2] = {0, 0};
        for (size_t j = 0; j < 32; j++) {
            out->q[j] = (int8_t)nearest(x[j], inverse);
            sum[j / 16] += out->q[j];
        }
        out->d = max * SM_ACT_STEP[best];
        out->ds = out->d * (float)(sum[0] + sum[1]);
        out->nsum = -(sum[0] + sum[1]);
        out->nsum128 = 128 * out->nsum;
        for (size_t h = 0; h < 2; h++) {
            out->ds16[h] = out->d * (float)sum[h];
            out->nsum16[h] = -sum[h];
        }
    }
}

void sm_round_bf16_ref(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = sm_f32_to_bf16(x[i]);
    }
}

void sm_rms_norm_ref(float *y, const float *x, const float *w, size_t n, float eps) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    float scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * scale;
        if (w != NULL) {
            y[i] *= w[i];
        }
    }
}

void sm_layer_norm_ref(float *y, const float *x, const float *w, const float *b, size_t n,
                       float eps) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    const double scale = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        const double normed = ((double)x[i] - mean) * scale;
        y[i] = (float)(normed * (w != NULL ? (double)w[i] : 1) + (b != NULL ? (double)b[i] : 0));
    }
}

void sm_add_ref(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

void sm_silu_mul_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = gate[i] / (1 + exp_f32(-gate[i])) * (up != NULL ? up[i] : 1);
    }
}

void sm_rope_ref(float *x, const float *cos, const float *sin, size_t n_rot, bool neox) {
    for (size_t i = 0; i < n_rot / 2; i++) {
        float *a = neox ? &x[i] : &x[2 * i];
        float *b = neox ? &x[i + n_rot / 2] : &x[2 * i + 1];
        float old = *a;
        *a = fmaf(old, cos[i], -(*b * sin[i]));
        *b = fmaf(old, sin[i], *b * cos[i]);
    }
}

void sm_softmax_block_ref(float *s, size_t n, float scale, float *m, float *l) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        s[i] *= scale;
        max = s[i] > max ? s[i] : max;
    }
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        s[i] = exp_f32(s[i] - max);
        sum += s[i];
    }
    for (size_t i = n; i % 16 != 0; i++) {
        s[i] = 0;
    }
    *m = max;
    *l = sum;
}

void sm_attn_merge_ref(float *O, float *M, float *L, const float *o, float m, float l, size_t n) {
    float max = *M > m ? *M : m;
    float a = exp_f32(*M - max), b = exp_f32(m - max);
    for (size_t i = 0; i < n; i++) {
        O[i] = fmaf(o[i], b, O[i] * a);
    }
    *L = fmaf(l, b, *L * a);
    *M = max;
}

void sm_scale_ref(float *y, const float *x, float a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = a * x[i];
    }
}

size_t sm_argmax_ref(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i]))) {
            best = i;
        }
    }
    return best;
}

double sm_sum_exp_ref(const float *x, size_t n, float m) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)exp_f32(x[i] - m);
    }
    return sum;
}

/* ---- choosing tokens ------------------------------------------------------------------------- */

void sm_block_max_ref(float *out, const float *x, size_t n, size_t block) {
    for (size_t begin = 0; begin < n; begin += block) {
        const size_t end = n - begin < block ? n : begin + block;
        float max = x[begin];
        for (size_t i = begin + 1; i < end; i++) {
            max = x[i] > max ? x[i] : max;
        }
        out[begin / block] = max;
    }
}

size_t sm_select_ref(uint32_t *index, const float *x, size_t n, float least) {
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i] >= least) {
            index[m++] = (uint32_t)i;
        }
    }
    return m;
}

void sm_mask_ref(float *y, const float *x, const uint32_t *mask, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = mask[i / 32] >> (i % 32) & 1 ? x[i] : -INFINITY;
    }
}

double sm_weigh_ref(float *e, const float *x, size_t n, float m, float scale) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        e[i] = exp_f32((x[i] - m) * scale);
        sum += (double)e[i];
    }
    return sum;
}
