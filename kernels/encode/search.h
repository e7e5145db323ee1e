/* search.h - the searches the encoders are made of: scales and codes of least weighted
 * squared error for one sub-block. Included by encode.h.
 *
 * Elements are seen through a `patch`: divided by a power of two, so that the largest is
 * in [1, 2) and no product of the searches overflows or vanishes. The weight of element x
 * is importance * sqrt(s2 + x^2), s2 the mean square of its surroundings. The lanes of a
 * search are trials; of trials with equal errors the first wins.
 */

typedef struct patch {
    float unit;   /* power of two */
    float x[256]; /* elements / unit */
    float w[256]; /* weights: all > 0 */
    float q[256]; /* what the chosen codes stand for, before scales */
} patch;

/* A column whose importance is 0 still gets a code: the share of the largest importance that
 * all weights get. */
#define LEAST_IMPORTANCE 1e-6f

/* Mean square of a row; a multiple of 16. */
static float mean_square(const float *x, size_t n) {
    lanes squares = l_all(0);
    for (size_t i = 0; i < n; i += LANES) {
        squares = l_add(squares, l_mul(l_load(x + i), l_load(x + i)));
    }
    return l_sum(squares) / (float)n;
}

/* More than this makes all weights of a patch equal. */
#define MOST_S2 1e6f

/* n elements, a multiple of 16, n <= 256; s2: mean square, negative: of the patch. False if an
 * element is infinite or a NaN. */
static bool take_patch(patch *p, const float *x, const float *importance, size_t n, float s2) {
    lanes largest = l_all(0);
    lanes most = l_all(0);
    if (!all_finite(x, n)) {
        return false;
    }
    for (size_t i = 0; i < n; i += LANES) {
        const lanes v = l_load(x + i);
        largest = l_max(largest, l_max(v, l_sub(l_all(0), v)));
        if (importance != NULL) {
            most = l_max(most, l_load(importance + i));
        }
    }
    uint32_t exponent = sm_float_bits(l_largest(largest)) >> 23;
    exponent = exponent < 1 ? 1 : exponent > 253 ? 253 : exponent;
    p->unit = sm_bits_float(exponent << 23);
    const float inverse = sm_bits_float((254 - exponent) << 23);
    const float top = l_largest(most);
    const float share = top > 0 && 1.0f / top <= FLT_MAX ? 1.0f / top : 0;
    for (size_t i = 0; i < n; i += LANES) {
        l_store(p->x + i, l_mul(l_load(x + i), l_all(inverse)));
    }
    s2 = s2 < 0 ? mean_square(p->x, n) : s2 * inverse * inverse;
    s2 = s2 < MOST_S2 ? s2 : MOST_S2; /* an infinity and a NaN too */
    for (size_t i = 0; i < n; i += LANES) {
        const lanes v = l_load(p->x + i);
        lanes w = l_sqrt(l_add(l_all(s2), l_mul(v, v)));
        if (share > 0) {
            w = l_mul(w,
                      l_add(l_mul(l_load(importance + i), l_all(share)), l_all(LEAST_IMPORTANCE)));
        }
        l_store(p->w + i, w);
    }
    return true;
}

/* d, in the patch's unit, rounded to what the block can hold: *half as stored (at least the
 * smallest f16 where d > 0), and the value the decoder will use. */
static float round_scale(float d, float unit, uint16_t *half) {
    uint16_t bits = sm_f32_to_f16(d * unit);
    if (d != 0 && (bits & 0x7fff) == 0) {
        bits |= 1;
    }
    *half = bits;
    return sm_f16_to_f32(bits) / unit;
}

/* ---- codes 0..top with a scale and a minimum: x ~ scale * code + min ------------------------- */

/* Trial t of a round divides what lies above the minimum into top + TRIAL_FIRST + t * TRIAL_STEP
 * steps; then scale and min by least squares for its codes. A round begins at the best minimum
 * so far, and its trials lie between those of the one before. */
#define TRIAL_ROUNDS 2
#define TRIAL_FIRST (-1.2f)
#define TRIAL_STEP 0.14f

static const float lane_numbers[LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The largest and the smallest of n elements. */
static inline void find_ends(const float *x, size_t n, float *lo, float *hi) {
    lanes low = l_load(x), high = low;
    for (size_t i = LANES; i < n; i += LANES) {
        low = l_min(low, l_load(x + i));
        high = l_max(high, l_load(x + i));
    }
    *hi = l_largest(high);
    *lo = -l_largest(l_sub(l_all(0), low));
}

/* signed_min: min may be positive, else it is at most 0. scale >= 0. */
static inline void search_range(const float *x, const float *w, size_t n, float top,
                                bool signed_min, float *scale, float *min) {
    lanes sum_w = l_all(0), sum_wx = l_all(0);
    float lo, hi;
    find_ends(x, n, &lo, &hi);
    for (size_t i = 0; i < n; i += LANES) {
        sum_w = l_add(sum_w, l_load(w + i));
        sum_wx = l_add(sum_wx, l_mul(l_load(w + i), l_load(x + i)));
    }
    if (!signed_min && lo > 0) {
        lo = 0;
    }
    *scale = 0;
    *min = lo;
    if (!(hi - lo > 1e-30f)) {
        return;
    }
    const lanes W = l_all(l_sum(sum_w)), X = l_all(l_sum(sum_wx)), zero = l_all(0);
    float most = -1;
    for (int r = 0; r < TRIAL_ROUNDS; r++) {
        const float first = top + TRIAL_FIRST + (float)r * (TRIAL_STEP / TRIAL_ROUNDS);
        const lanes steps = l_add(l_all(first), l_mul(l_load(lane_numbers), l_all(TRIAL_STEP)));
        const lanes inverse = l_div(steps, l_all(hi - *min));
        const float base = *min;
        lanes L = zero, LL = zero, XL = zero;
        for (size_t i = 0; i < n; i++) {
            const lanes v = l_max(l_mul(inverse, l_all(x[i] - base)), zero);
            const lanes code = l_min(l_round(v), l_all(top));
            const lanes wl = l_mul(l_all(w[i]), code);
            L = l_add(L, wl);
            LL = l_add(LL, l_mul(wl, code));
            XL = l_add(XL, l_mul(wl, l_all(x[i])));
        }
        /* two equations in scale and min; gain: how much of sum w x^2 they explain */
        const lanes D = l_sub(l_mul(W, LL), l_mul(L, L));
        lanes s = l_div(l_sub(l_mul(W, XL), l_mul(X, L)), D);
        lanes m = l_div(l_sub(l_mul(LL, X), l_mul(L, XL)), D);
        if (!signed_min) {
            s = l_less(zero, m, l_div(XL, LL), s);
            m = l_less(zero, m, zero, m);
        }
        lanes gain = l_add(l_mul(s, XL), l_mul(m, X));
        gain = l_less(zero, D, gain, l_all(-1));
        gain = l_less(zero, s, gain, l_all(-1));
        const size_t t = l_which_largest(gain);
        float values[3][LANES];
        l_store(values[0], gain);
        l_store(values[1], s);
        l_store(values[2], m);
        if (values[0][t] > most) {
            most = values[0][t];
            *scale = values[1][t];
            *min = values[2][t];
        }
    }
}

/* Codes for x ~ S * code - M. */
static inline void code_range(float *q, const float *x, size_t n, float top, float S, float M) {
    const lanes inverse = l_all(S > 0 ? 1.0f / S : 0), m = l_all(M);
    for (size_t i = 0; i < n; i += LANES) {
        const lanes v = l_mul(l_add(l_load(x + i), m), inverse);
        l_store(q + i, l_min(l_round(l_max(v, l_all(0))), l_all(top)));
    }
}

/* Of the scale and minimum codes near (*s, *m) those with the least error for the factors d
 * and dmin; fills in q. */
static inline void choose_range(float *q, const float *x, const float *w, size_t n, float top,
                                float limit, float d, float dmin, float *s, float *m) {
    static const float s_steps[LANES] = {0, -1, 1, 0, -1, 1, 0, -1, 1, 0, -1, 1, 0, -1, 1, 2};
    static const float m_steps[LANES] = {0, 0, 0, -1, -1, -1, 1, 1, 1, -2, -2, -2, 2, 2, 2, 0};
    const lanes zero = l_all(0), limits = l_all(limit);
    const lanes ss = l_min(l_max(l_add(l_all(*s), l_load(s_steps)), zero), limits);
    const lanes ms = l_min(l_max(l_add(l_all(*m), l_load(m_steps)), zero), limits);
    const lanes S = l_mul(l_all(d), ss), M = l_mul(l_all(dmin), ms);
    const lanes inverse = l_less(zero, S, l_div(l_all(1), l_max(S, l_all(1e-37f))), zero);
    lanes error = zero;
    for (size_t i = 0; i < n; i++) {
        const lanes above = l_add(l_all(x[i]), M);
        const lanes code = l_min(l_round(l_max(l_mul(above, inverse), zero)), l_all(top));
        const lanes off = l_sub(l_mul(S, code), above);
        error = l_add(error, l_mul(l_all(w[i]), l_mul(off, off)));
    }
    const size_t t = l_which_largest(l_sub(zero, error));
    float values[2][LANES];
    l_store(values[0], ss);
    l_store(values[1], ms);
    *s = values[0][t];
    *m = values[1][t];
    code_range(q, x, n, top, d * *s, dmin * *m);
}

/* ---- codes on a grid about 0: x ~ scale * value ---------------------------------------------- */

/* half > 0: the whole numbers -half..half-1; half 0: the levels of IQ4. */
static inline lanes snap(lanes v, float half) {
    if (half > 0) {
        return l_round(l_min(l_max(v, l_all(-half)), l_all(half - 1)));
    }
    lanes value = l_all(SM_IQ4_VALUES[0]);
    for (size_t i = 1; i < 16; i++) {
        const float middle = 0.5f * (float)(SM_IQ4_VALUES[i - 1] + SM_IQ4_VALUES[i]);
        value = l_less(l_all(middle), v, l_all(SM_IQ4_VALUES[i]), value);
    }
    return value;
}

/* The scale of least error, of either sign. The trials let the element of the largest
 * magnitude fall at the lower end of the grid or at the upper, or a little past or before
 * it; then the scale by least squares for their codes. */
static inline float search_signed(const float *x, const float *w, size_t n, float half) {
    float lo, hi, best = 0, most = 0;
    find_ends(x, n, &lo, &hi);
    const float peak = hi > -lo ? hi : lo;
    if (!(fabsf(peak) > 1e-30f)) {
        return 0;
    }
    const float ends[2] = {half > 0 ? -half : (float)SM_IQ4_VALUES[0],
                           half > 0 ? half - 1 : (float)SM_IQ4_VALUES[15]};
    const float past = half > 0 ? 0.8f : 10.0f, step = half > 0 ? 0.14f : 2.2f;
    const lanes zero = l_all(0);
    for (int side = 0; side < 2; side++) {
        const lanes back = l_sub(l_mul(l_load(lane_numbers), l_all(step)), l_all(past));
        const lanes end = side == 0 ? l_add(l_all(ends[0]), back) : l_sub(l_all(ends[1]), back);
        const lanes inverse = l_div(end, l_all(peak));
        lanes XV = zero, VV = zero;
        for (size_t i = 0; i < n; i++) {
            const lanes value = snap(l_mul(inverse, l_all(x[i])), half);
            const lanes wv = l_mul(l_all(w[i]), value);
            VV = l_add(VV, l_mul(wv, value));
            XV = l_add(XV, l_mul(wv, l_all(x[i])));
        }
        /* no weight is 0, nor are all values: VV > 0 */
        const lanes s = l_div(XV, VV);
        const lanes gain = l_mul(s, XV);
        const size_t t = l_which_largest(gain);
        float values[2][LANES];
        l_store(values[0], gain);
        l_store(values[1], s);
        if (values[0][t] > most) {
            most = values[0][t];
            best = values[1][t];
        }
    }
    return best;
}

/* Values for x ~ S * value. */
static inline void code_signed(float *q, const float *x, size_t n, float half, float S) {
    const lanes inverse = l_all(fabsf(S) > 1e-37f ? 1.0f / S : 0);
    for (size_t i = 0; i < n; i += LANES) {
        l_store(q + i, snap(l_mul(l_load(x + i), inverse), half));
    }
}

/* Of the scale codes near *s, in -limit..limit-1, the one with the least error for the factor
 * d; fills in q. */
static inline void choose_signed(float *q, const float *x, const float *w, size_t n, float half,
                                 float limit, float d, float *s) {
    static const float steps[LANES] = {0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5, -6, 6, -7, 7, 8};
    const lanes zero = l_all(0);
    const lanes codes =
        l_max(l_min(l_add(l_all(*s), l_load(steps)), l_all(limit - 1)), l_all(-limit));
    const lanes S = l_mul(l_all(d), codes);
    const lanes usable = l_less(l_all(1e-37f), l_max(S, l_sub(zero, S)), S, l_all(1));
    const lanes inverse =
        l_less(l_all(1e-37f), l_max(S, l_sub(zero, S)), l_div(l_all(1), usable), zero);
    lanes error = zero;
    for (size_t i = 0; i < n; i++) {
        const lanes v = l_all(x[i]);
        const lanes off = l_sub(l_mul(S, snap(l_mul(v, inverse), half)), v);
        error = l_add(error, l_mul(l_all(w[i]), l_mul(off, off)));
    }
    const size_t t = l_which_largest(l_sub(zero, error));
    float values[LANES];
    l_store(values, codes);
    *s = values[t];
    code_signed(q, x, n, half, d * *s);
}
