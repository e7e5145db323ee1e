/* fp4.h - encoders of the blocks of 4-bit floats. Included behind encode.h, by ref/encode.c alone.
 *
 * Few scales are possible, so all that come into question are tried. The error is counted with
 * importance alone: that of the scale which the format's reference encoder takes is one of the
 * trials, so none is larger than its.
 */

/* Whole numbers that 4-bit floats stand for (twice their values), the nearest to v; of two as near
 * the smaller. */
static inline lanes snap_fp4(lanes v) {
    const lanes zero = l_all(0), size = l_max(v, l_sub(zero, v));
    lanes value = zero;
    for (size_t i = 1; i < 8; i++) {
        const float middle = 0.5f * (float)(SM_FP4_VALUES[i - 1] + SM_FP4_VALUES[i]);
        value = l_less(l_all(middle), size, l_all(SM_FP4_VALUES[i]), value);
    }
    return l_less(v, zero, l_sub(zero, value), value);
}

/* Sum of w * (x - scale * value)^2 over n elements; q: the values. */
static inline float fp4_error(float *q, const float *x, const float *w, size_t n, float scale) {
    const lanes s = l_all(scale), inverse = l_all(1.0f / scale);
    lanes error = l_all(0);
    for (size_t i = 0; i < n; i += LANES) {
        const lanes v = l_load(x + i), value = snap_fp4(l_mul(v, inverse));
        const lanes off = l_sub(v, l_mul(s, value));
        error = l_add(error, l_mul(l_load(w + i), l_mul(off, off)));
        l_store(q + i, value);
    }
    return l_sum(error);
}

/* Their codes; 0 has that of +0. */
static inline void take_fp4(uint8_t *code, const float *q, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float size = fabsf(q[i]);
        uint8_t number = 0;
        for (size_t l = 1; l < 8; l++) {
            number = (uint8_t)(number + (size >= (float)SM_FP4_VALUES[l]));
        }
        code[i] = (uint8_t)(number | (q[i] < 0) << 3);
    }
}

/* All elements count the same but for importance. */
#define PLAIN_ERROR INFINITY /* as s2 of take_patch */

void ENCODER(mxfp4)(void *row, const float *x, const float *importance, size_t k) {
    FOR_BLOCKS(sm_block_mxfp4) {
        /* the reference's exponent, by which the largest element is 8 to 16 in the values' units
         * (of which there are none above 12), and those about it */
        static const int tries[] = {0, 1, -1, -2};
        patch p;
        float least = INFINITY;
        uint8_t code[32];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 32, PLAIN_ERROR)) {
            b->e = 255;
            continue;
        }
        const int exponent = (int)(sm_float_bits(p.unit) >> 23) - 2;
        for (size_t t = 0; t < sizeof tries / sizeof *tries; t++) {
            const int e = exponent + tries[t];
            float q[32];
            if (e < 1) { /* 0 would do for zeros, but not in products */
                continue;
            }
            const float error = fp4_error(q, p.x, p.w, 32, sm_e8m0_to_f32((uint8_t)e) / p.unit);
            if (error < least) {
                least = error;
                b->e = (uint8_t)e;
                take_fp4(code, q, 32);
                pack_nibbles(b->qs, code);
            }
        }
    }
}

/* The scale of 16 elements which are at most `largest`, in the way of the format's reference
 * encoder: largest / 6, cut off behind four bits, and up if the next one is set. */
static inline int ue4m3_below(float largest) {
    const float scale = largest / 6;
    if (scale < 0x1p-6f) { /* steps of 2^-9 */
        return (int)(scale * 512 + 0.5f);
    }
    const int bits = (int)((sm_float_bits(scale) >> 19) - (120 << 4)); /* exponent less 120 */
    return bits / 2 + bits % 2;
}

/* The scale for 16 elements, 0 if all are 0, and their codes. A lane tries a scale: the
 * reference's and those about it. */
static inline uint8_t encode_fp4_part(uint8_t code[16], const float *x, const float *w, float unit,
                                      float largest) {
    enum { LEAST = 1, MOST = 126, BELOW = 6 };
    float scales[LANES], errors[LANES], q[LANES];
    int first = ue4m3_below(largest) - BELOW;
    first = first < LEAST ? LEAST : first > MOST - LANES + 1 ? MOST - LANES + 1 : first;
    for (int t = 0; t < LANES; t++) {
        scales[t] = sm_ue4m3_to_f32((uint8_t)(first + t)) / unit;
    }
    for (size_t t = 0; t < LANES; t++) {
        errors[t] = -fp4_error(q, x, w, 16, scales[t]);
    }
    const size_t t = l_which_largest(l_load(errors));
    fp4_error(q, x, w, 16, scales[t]);
    take_fp4(code, q, 16);
    for (size_t i = 0; i < 16; i++) {
        if (q[i] != 0) {
            return (uint8_t)(first + (int)t);
        }
    }
    return 0;
}

/* What the largest scale makes of the largest value, and half a step more. */
#define FP4_MOST (464.0f * 6)

void ENCODER(nvfp4)(void *row, const float *x, const float *importance, size_t k) {
    FOR_EACH_BLOCK(sm_block_nvfp4, 64) {
        patch p;
        uint8_t code[64];
        memset(b, 0, sizeof *b);
        const bool good = take_patch(&p, x, importance, 64, PLAIN_ERROR);
        for (size_t s = 0; s < 4; s++) {
            float largest = 0;
            for (size_t i = 16 * s; i < 16 * (s + 1); i++) {
                largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
            }
            if (!good || largest > FP4_MOST) {
                memset(b, 255, sizeof b->d);
                break;
            }
            b->d[s] = encode_fp4_part(code + 16 * s, p.x + 16 * s, p.w + 16 * s, p.unit, largest);
        }
        for (size_t j = 0; j < 32 && b->d[0] != 255; j++) {
            const uint8_t *c = code + j / 8 * 16 + j % 8;
            b->qs[j] = (uint8_t)(c[0] | c[8] << 4);
        }
    }
}
