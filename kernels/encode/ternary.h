/* ternary.h - encoders of the blocks with one factor for codes of one or two bits; and of F64.
 * Included behind encode.h, by ref/encode.c alone.
 *
 * The format's reference encoder takes the largest magnitude for the factor of three values -d, 0,
 * d. Here it is the best there is: the error is counted with importance alone, and of all ways to
 * tell elements that become 0 from the others the one of least error is found.
 */

/* Magnitudes from the largest down: their bits, and below them the element's number. `from` and
 * `to` are merged through in turns; returns where the sorted ones are. n: a power of two. */
static inline const uint64_t *sort_down(uint64_t *from, uint64_t *to, size_t n) {
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            size_t a = at, b = at + run;
            for (size_t i = at; i < at + 2 * run; i++) {
                const bool first = b == at + 2 * run || (a < at + run && from[a] >= from[b]);
                to[i] = first ? from[a++] : from[b++];
            }
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* The d of least error for values -d, 0, d. With the m largest magnitudes not 0 that is their
 * weighted mean, and the error is less than with none by (sum of w |x|)^2 / sum of w. */
static inline float ternary_scale(const patch *p, size_t n) {
    uint64_t keys[2][256];
    double sum_w = 0, sum_wx = 0, most = 0, d = 0;
    for (size_t i = 0; i < n; i++) {
        keys[0][i] = (uint64_t)sm_float_bits(fabsf(p->x[i])) << 32 | i;
    }
    const uint64_t *sorted = sort_down(keys[0], keys[1], n);
    for (size_t m = 0; m < n; m++) {
        const size_t i = sorted[m] & 255;
        sum_w += (double)p->w[i];
        sum_wx += (double)p->w[i] * (double)fabsf(p->x[i]);
        if (sum_wx * sum_wx > most * sum_w) {
            most = sum_wx * sum_wx / sum_w;
            d = sum_wx / sum_w;
        }
    }
    return (float)d;
}

/* Sum of w (x - d * value)^2 for the values -1 .. top nearest to x / d, which q is filled with. */
static inline float few_error(float *q, const patch *p, size_t n, float top, float d) {
    const lanes scale = l_all(d), inverse = l_all(d != 0 ? 1.0f / d : 0);
    lanes error = l_all(0);
    for (size_t i = 0; i < n; i += LANES) {
        const lanes x = l_load(p->x + i);
        const lanes v = l_min(l_max(l_mul(x, inverse), l_all(-1)), l_all(top));
        const lanes value = l_round(v), off = l_sub(x, l_mul(scale, value));
        error = l_add(error, l_mul(l_load(p->w + i), l_mul(off, off)));
        l_store(q + i, value);
    }
    return l_sum(error);
}

/* Codes 0..2 of 256 elements and their factor. */
static inline uint16_t encode_ternary(uint8_t code[256], const float *x, const float *importance) {
    patch p;
    uint16_t half;
    memset(code, 1, 256);
    if (!take_patch(&p, x, importance, 256, PLAIN_ERROR)) {
        return NOT_A_NUMBER;
    }
    const float d = ternary_scale(&p, 256);
    if (!fits_f16(d * p.unit)) {
        return NOT_A_NUMBER;
    }
    few_error(p.q, &p, 256, 1, round_scale(d, p.unit, &half));
    take_codes(code, p.q, 1, 256);
    return half;
}

void ENCODER(tq2_0)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_tq2_0) {
        uint8_t code[256];
        b->d = encode_ternary(code, x, importance);
        pack_pairs(b->qs, code);
    }
}

/* Digits to base 3, the first most significant, as a fraction of a byte; see blocks.h. */
static inline uint8_t pack_base3(const uint8_t *code, size_t n, size_t apart) {
    uint32_t v = 0;
    for (size_t i = 0; i < 5; i++) {
        v = v * 3 + (i < n ? code[i * apart] : 0);
    }
    return (uint8_t)((v * 256 + 242) / 243);
}

void ENCODER(tq1_0)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_tq1_0) {
        uint8_t code[256];
        b->d = encode_ternary(code, x, importance);
        for (size_t m = 0; m < 32; m++) {
            b->qs[m] = pack_base3(code + m, 5, 32);
        }
        for (size_t m = 0; m < 16; m++) {
            b->qs[32 + m] = pack_base3(code + 160 + m, 5, 16);
        }
        for (size_t m = 0; m < 4; m++) {
            b->qh[m] = pack_base3(code + 240 + m, 4, 4);
        }
    }
}

/* The factor as stored for values -1..2, of either sign: from `d` on fitted to the codes by least
 * squares, in turns, as long as the error becomes less. Fills in p->q; returns the error, which is
 * infinite if there is no such factor. */
static inline float fit_few(patch *p, size_t n, float d, uint16_t *half) {
    float least = INFINITY;
    for (int turn = 0; turn <= TURNS && fits_f16(d * p->unit); turn++) {
        float q[64];
        uint16_t h;
        const float stored = round_scale(d, p->unit, &h);
        const float error = few_error(q, p, n, 2, stored);
        if (!(error < least)) {
            break;
        }
        least = error;
        *half = h;
        memcpy(p->q, q, n * sizeof *q);
        d = least_squares(p, n, stored);
    }
    return least;
}

/* Values -d, 0, d and 2d, d of either sign: the best of a search for these and of what is best
 * without the fourth. */
void ENCODER(q2_0)(void *row, const float *x, const float *importance, size_t k) {
    FOR_EACH_BLOCK(sm_block_q2_0, 64) {
        patch p;
        uint16_t halves[2];
        uint8_t code[64];
        memset(b, 0, sizeof *b);
        b->d = NOT_A_NUMBER;
        if (!take_patch(&p, x, importance, 64, PLAIN_ERROR)) {
            continue;
        }
        /* the grid of search_signed is -2..1 */
        const float four = fit_few(&p, 64, -search_signed(p.x, p.w, 64, 2), &halves[0]);
        const float d = ternary_scale(&p, 64);
        float q[64];
        memcpy(q, p.q, sizeof q);
        const float three = fit_few(&p, 64, d, &halves[1]);
        if (four == INFINITY && three == INFINITY) {
            continue;
        }
        b->d = halves[four <= three ? 0 : 1];
        take_codes(code, four <= three ? q : p.q, 1, 64);
        for (size_t j = 0; j < 16; j++) {
            const uint8_t *c = code + 4 * j;
            b->qs[j] = (uint8_t)(c[0] | c[1] << 2 | c[2] << 4 | c[3] << 6);
        }
    }
}

/* Without importance the mean magnitude, summed up as the reference encoder does. */
static inline float mean_magnitude(const float *x, const float *importance, size_t n) {
    float sum = 0;
    patch p;
    if (importance == NULL || !take_patch(&p, x, importance, n, PLAIN_ERROR)) {
        for (size_t i = 0; i < n; i++) {
            sum += fabsf(x[i]);
        }
        return sum / (float)n;
    }
    lanes W = l_all(0), X = l_all(0);
    for (size_t i = 0; i < n; i += LANES) {
        const lanes v = l_load(p.x + i), w = l_load(p.w + i);
        W = l_add(W, w);
        X = l_add(X, l_mul(w, l_max(v, l_sub(l_all(0), v))));
    }
    return l_sum(X) / l_sum(W) * p.unit;
}

void ENCODER(q1_0)(void *row, const float *x, const float *importance, size_t k) {
    FOR_EACH_BLOCK(sm_block_q1_0, 128) {
        const float d = mean_magnitude(x, importance, 128);
        memset(b, 0, sizeof *b);
        b->d = all_finite(x, 128) && fits_f16(d) ? sm_f32_to_f16(d) : NOT_A_NUMBER;
        for (size_t j = 0; j < 128; j++) {
            b->qs[j / 8] |= (uint8_t)((x[j] >= 0) << (j % 8));
        }
    }
}

void ENCODER(f64)(void *row, const float *x, const float *importance, size_t k) {
    (void)importance;
    for (size_t i = 0; i < k; i++) {
        const double y = (double)x[i];
        memcpy((uint8_t *)row + 8 * i, &y, 8);
    }
}
