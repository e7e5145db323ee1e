/* blocks256.h - encoders of the K blocks, of IQ4_XS and of IQ4_NL. Included by encode.h.
 *
 * Scales (and minima) are searched for each sub-block alone; the largest of them gives the
 * block's factors. Then, for the factors as f16 holds them, each sub-block takes the codes
 * of least error near its own, and the factors are fitted to the codes by least squares,
 * in turns.
 */

#define TURNS 2 /* of fitting the factors after the first choice of codes */

/* ---- a scale and a minimum per sub-block: Q2_K, Q4_K, Q5_K ----------------------------------- */

typedef struct range_block {
    uint16_t d, dmin;
    float scale[16], min[16]; /* codes */
} range_block;

/* Factors d and dmin of least error for the codes; false (nothing changed) where the codes
 * do not tell them. */
static inline bool fit_range_factors(const patch *p, const range_block *b, size_t n, float *d,
                                     float *dmin) {
    lanes AA = l_all(0), AB = AA, BB = AA, XA = AA, XB = AA;
    for (size_t i = 0; i < 256; i += LANES) {
        const lanes w = l_load(p->w + i), x = l_load(p->x + i);
        const lanes a = l_mul(l_all(b->scale[i / n]), l_load(p->q + i));
        const lanes wa = l_mul(w, a), wb = l_mul(w, l_all(b->min[i / n]));
        AA = l_add(AA, l_mul(wa, a));
        AB = l_add(AB, l_mul(wb, a));
        BB = l_add(BB, l_mul(wb, l_all(b->min[i / n])));
        XA = l_add(XA, l_mul(wa, x));
        XB = l_add(XB, l_mul(wb, x));
    }
    const float aa = l_sum(AA), ab = l_sum(AB), bb = l_sum(BB), xa = l_sum(XA), xb = l_sum(XB);
    const float determinant = aa * bb - ab * ab;
    float fresh_d, fresh_min = *dmin;
    if (determinant > 1e-4f * (aa * bb)) {
        fresh_d = (xa * bb - xb * ab) / determinant;
        fresh_min = (xa * ab - xb * aa) / determinant;
    } else if (aa > 0) {
        fresh_d = (xa + fresh_min * ab) / aa;
    } else {
        return false;
    }
    if (!(fresh_d > 0) || !(fresh_min >= 0)) {
        return false;
    }
    *d = fresh_d;
    *dmin = fresh_min;
    return true;
}

/* n elements per sub-block, codes 0..top, scale and minimum codes 0..limit. False if the block
 * cannot be encoded. */
static inline bool encode_range_block(range_block *b, patch *p, size_t n, float top, float limit) {
    const size_t n_sub = 256 / n;
    float d = 0, dmin = 0;
    for (size_t s = 0; s < n_sub; s++) {
        search_range(p->x + s * n, p->w + s * n, n, top, false, &b->scale[s], &b->min[s]);
        b->min[s] = -b->min[s];
        d = b->scale[s] > d ? b->scale[s] : d;
        dmin = b->min[s] > dmin ? b->min[s] : dmin;
    }
    d /= limit;
    dmin /= limit;
    if (!fits_f16(d * p->unit) || !fits_f16(dmin * p->unit)) {
        return false;
    }
    d = round_scale(d, p->unit, &b->d);
    dmin = round_scale(dmin, p->unit, &b->dmin);
    for (size_t s = 0; s < n_sub; s++) {
        b->scale[s] = d > 0 ? nearest(b->scale[s] / d, limit) : 0;
        b->min[s] = dmin > 0 ? nearest(b->min[s] / dmin, limit) : 0;
    }
    for (int turn = 0;; turn++) {
        for (size_t s = 0; s < n_sub; s++) {
            choose_range(p->q + s * n, p->x + s * n, p->w + s * n, n, top, limit, d, dmin,
                         &b->scale[s], &b->min[s]);
        }
        float fresh_d = d, fresh_min = dmin;
        if (turn == TURNS || !fit_range_factors(p, b, n, &fresh_d, &fresh_min) ||
            !fits_f16(fresh_d * p->unit) || !fits_f16(fresh_min * p->unit)) {
            return true;
        }
        d = round_scale(fresh_d, p->unit, &b->d);
        dmin = round_scale(fresh_min, p->unit, &b->dmin);
    }
}

/* Two bits of each code, as Q2_K and Q3_K have them. */
static inline void pack_pairs(uint8_t qs[64], const uint8_t code[256]) {
    for (size_t j = 0; j < 64; j++) {
        const uint8_t *c = code + j / 32 * 128 + j % 32;
        qs[j] = (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
    }
}

void ENCODER(q2_k)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_q2_k) {
        patch p;
        range_block r;
        uint8_t code[256];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 256, -1) || !encode_range_block(&r, &p, 16, 3, 15)) {
            b->d = b->dmin = NOT_A_NUMBER;
            continue;
        }
        b->d = r.d;
        b->dmin = r.dmin;
        for (size_t s = 0; s < 16; s++) {
            b->scales[s] = (uint8_t)((int)r.scale[s] | (int)r.min[s] << 4);
        }
        take_codes(code, p.q, 0, 256);
        pack_pairs(b->qs, code);
    }
}

/* Scales and minima of six bits, as sm_q4_k_scale reads them. */
static inline void pack_six_bits(uint8_t scales[12], const range_block *r) {
    for (size_t j = 0; j < 4; j++) {
        const int s = (int)r->scale[j], m = (int)r->min[j];
        const int high_s = (int)r->scale[j + 4], high_m = (int)r->min[j + 4];
        scales[j] = (uint8_t)(s | high_s >> 4 << 6);
        scales[j + 4] = (uint8_t)(m | high_m >> 4 << 6);
        scales[j + 8] = (uint8_t)((high_s & 15) | (high_m & 15) << 4);
    }
}

/* Low four bits of each code, as Q4_K and Q5_K have them. */
static inline void pack_fours(uint8_t qs[128], const uint8_t code[256]) {
    for (size_t j = 0; j < 128; j++) {
        const uint8_t *c = code + j / 32 * 64 + j % 32;
        qs[j] = (uint8_t)((c[0] & 15) | (c[32] & 15) << 4);
    }
}

void ENCODER(q4_k)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_q4_k) {
        patch p;
        range_block r;
        uint8_t code[256];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 256, -1) || !encode_range_block(&r, &p, 32, 15, 63)) {
            b->d = b->dmin = NOT_A_NUMBER;
            continue;
        }
        b->d = r.d;
        b->dmin = r.dmin;
        pack_six_bits(b->scales, &r);
        take_codes(code, p.q, 0, 256);
        pack_fours(b->qs, code);
    }
}

void ENCODER(q5_k)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_q5_k) {
        patch p;
        range_block r;
        uint8_t code[256];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 256, -1) || !encode_range_block(&r, &p, 32, 31, 63)) {
            b->d = b->dmin = NOT_A_NUMBER;
            continue;
        }
        b->d = r.d;
        b->dmin = r.dmin;
        pack_six_bits(b->scales, &r);
        take_codes(code, p.q, 0, 256);
        pack_fours(b->qs, code);
        for (size_t i = 0; i < 256; i++) {
            b->qh[i % 32] |= (uint8_t)((code[i] >> 4) << (i / 32));
        }
    }
}

/* ---- a signed scale per sub-block: Q3_K, Q6_K, IQ4_XS ---------------------------------------- */

typedef struct signed_block {
    uint16_t d;
    float scale[16]; /* codes */
} signed_block;

/* Factor of least error for the codes. */
static inline float fit_signed_factor(const patch *p, const signed_block *b, size_t n, float d) {
    lanes AA = l_all(0), XA = AA;
    for (size_t i = 0; i < 256; i += LANES) {
        const lanes a = l_mul(l_all(b->scale[i / n]), l_load(p->q + i));
        const lanes wa = l_mul(l_load(p->w + i), a);
        AA = l_add(AA, l_mul(wa, a));
        XA = l_add(XA, l_mul(wa, l_load(p->x + i)));
    }
    const float aa = l_sum(AA);
    return aa > 0 ? l_sum(XA) / aa : d;
}

/* n elements per sub-block; codes as `half` says (see snap), scale codes -limit..limit-1. */
static inline bool encode_signed_block(signed_block *b, patch *p, size_t n, float half,
                                       float limit) {
    const size_t n_sub = 256 / n;
    float peak = 0;
    for (size_t s = 0; s < n_sub; s++) {
        b->scale[s] = search_signed(p->x + s * n, p->w + s * n, n, half);
        peak = fabsf(b->scale[s]) > fabsf(peak) ? b->scale[s] : peak;
    }
    float d = peak / -limit; /* the largest scale gets the code -limit */
    if (!fits_f16(d * p->unit)) {
        return false;
    }
    d = round_scale(d, p->unit, &b->d);
    for (size_t s = 0; s < n_sub; s++) {
        const float code = d != 0 ? b->scale[s] / d : 0;
        b->scale[s] = nearest(code + limit, 2 * limit - 1) - limit;
    }
    for (int turn = 0;; turn++) {
        for (size_t s = 0; s < n_sub; s++) {
            choose_signed(p->q + s * n, p->x + s * n, p->w + s * n, n, half, limit, d,
                          &b->scale[s]);
        }
        const float fresh = fit_signed_factor(p, b, n, d);
        if (turn == TURNS || !fits_f16(fresh * p->unit)) {
            return true;
        }
        d = round_scale(fresh, p->unit, &b->d);
    }
}

void ENCODER(q3_k)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_q3_k) {
        patch p;
        signed_block r;
        uint8_t code[256];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 256, -1) || !encode_signed_block(&r, &p, 16, 4, 32)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        b->d = r.d;
        for (size_t s = 0; s < 16; s++) { /* as sm_q3_k_scale reads them */
            const int c = (int)r.scale[s] + 32;
            b->scales[s % 8] |= (uint8_t)((c & 15) << (s / 8 * 4));
            b->scales[8 + s % 4] |= (uint8_t)((c >> 4) << (s / 4 * 2));
        }
        take_codes(code, p.q, 4, 256);
        pack_pairs(b->qs, code);
        for (size_t i = 0; i < 256; i++) {
            b->hmask[i % 32] |= (uint8_t)((code[i] >> 2) << (i / 32));
        }
    }
}

void ENCODER(q6_k)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_q6_k) {
        patch p;
        signed_block r;
        uint8_t code[256];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 256, -1) || !encode_signed_block(&r, &p, 16, 32, 128)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        b->d = r.d;
        for (size_t s = 0; s < 16; s++) {
            b->scales[s] = (int8_t)r.scale[s];
        }
        take_codes(code, p.q, 32, 256);
        for (size_t half = 0; half < 2; half++) {
            for (size_t l = 0; l < 32; l++) {
                const uint8_t *c = code + half * 128 + l;
                b->ql[half * 64 + l] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
                b->ql[half * 64 + 32 + l] = (uint8_t)((c[32] & 15) | (c[96] & 15) << 4);
                b->qh[half * 32 + l] =
                    (uint8_t)(c[0] >> 4 | c[32] >> 4 << 2 | c[64] >> 4 << 4 | c[96] >> 4 << 6);
            }
        }
    }
}

/* ---- the levels of IQ4 ----------------------------------------------------------------------- */

/* Number of each level. */
static inline void take_levels(uint8_t *code, const float *q, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint8_t number = 0;
        for (size_t l = 1; l < 16; l++) {
            number = (uint8_t)(number + (q[i] >= (float)SM_IQ4_VALUES[l]));
        }
        code[i] = number;
    }
}

void ENCODER(iq4_xs)(void *row, const float *x, const float *importance, size_t k) {
    FOR_SUPER_BLOCKS(sm_block_iq4_xs) {
        patch p;
        signed_block r;
        uint8_t code[256];
        memset(b, 0, sizeof *b);
        if (!take_patch(&p, x, importance, 256, -1) || !encode_signed_block(&r, &p, 32, 0, 32)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        b->d = r.d;
        take_levels(code, p.q, 256);
        for (size_t s = 0; s < 8; s++) { /* as sm_iq4_xs_scale reads them */
            const int c = (int)r.scale[s] + 32;
            b->scales_h = (uint16_t)(b->scales_h | (c >> 4) << (2 * s));
            b->scales_l[s / 2] |= (uint8_t)((c & 15) << (s % 2 * 4));
            pack_nibbles(b->qs + 16 * s, code + 32 * s);
        }
    }
}

/* Scale of least error for the values. */
static inline float least_squares(const patch *p, size_t n, float d) {
    lanes VV = l_all(0), XV = VV;
    for (size_t i = 0; i < n; i += LANES) {
        const lanes v = l_load(p->q + i), wv = l_mul(l_load(p->w + i), v);
        VV = l_add(VV, l_mul(wv, v));
        XV = l_add(XV, l_mul(wv, l_load(p->x + i)));
    }
    const float vv = l_sum(VV);
    return vv > 0 ? l_sum(XV) / vv : d;
}

void ENCODER(iq4_nl)(void *row, const float *x, const float *importance, size_t k) {
    const float s2 = mean_square(x, k);
    FOR_BLOCKS(sm_block_iq4_nl) {
        patch p;
        uint8_t code[32];
        memset(b, 0, sizeof *b);
        b->d = NOT_A_NUMBER;
        if (!take_patch(&p, x, importance, 32, s2)) {
            continue;
        }
        float d = search_signed(p.x, p.w, 32, 0);
        if (!fits_f16(d * p.unit)) {
            continue;
        }
        for (int turn = 0;; turn++) {
            d = round_scale(d, p.unit, &b->d);
            code_signed(p.q, p.x, 32, 0, d);
            const float fresh = turn < TURNS ? least_squares(&p, 32, d) : d;
            if (turn == TURNS || !fits_f16(fresh * p.unit)) {
                break;
            }
            d = fresh;
        }
        take_levels(code, p.q, 32);
        pack_nibbles(b->qs, code);
    }
}
