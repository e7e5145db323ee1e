/* blocks32.h - encoders of the float types and of the blocks of 32 elements. Included by
 * encode.h.
 *
 * Without importance the blocks of Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 are those of the
 * format's reference encoder, byte for byte: codes by multiplying with the inverse of
 * the scale before it was rounded to f16.
 */

/* ---- floats ------------------------------------------------------------------------------- */

void ENCODER(f32)(void *row, const float *x, const float *importance, size_t k) {
    (void)importance;
    memcpy(row, x, k * sizeof *x);
}

void ENCODER(f16)(void *row, const float *x, const float *importance, size_t k) {
    uint16_t *y = row;
    (void)importance;
    for (size_t i = 0; i < k; i++) {
        y[i] = sm_f32_to_f16(x[i]);
    }
}

void ENCODER(bf16)(void *row, const float *x, const float *importance, size_t k) {
    uint16_t *y = row;
    (void)importance;
    for (size_t i = 0; i < k; i++) {
        y[i] = sm_f32_to_bf16(x[i]);
    }
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

/* Bit 4 of each code. */
static inline void pack_fifth_bits(uint8_t qh[4], const uint8_t code[32]) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 32; j++) {
        bits |= (uint32_t)(code[j] >> 4) << j;
    }
    memcpy(qh, &bits, sizeof bits);
}

/* A block before its codes are packed: weight = d * (code - zero), or d * code + m. */
typedef struct simple_block {
    uint16_t d, m;
    uint8_t code[32];
} simple_block;

/* The element of the largest magnitude, the first of equals. */
static inline float find_peak(const float x[32]) {
    float peak = 0;
    for (size_t j = 0; j < 32; j++) {
        peak = fabsf(x[j]) > fabsf(peak) ? x[j] : peak;
    }
    return peak;
}

/* 1 / d, or 0 where that is infinite. */
static inline float inverse_of(float d) {
    const float inverse = d != 0 ? 1.0f / d : 0;
    return fabsf(inverse) <= FLT_MAX ? inverse : 0;
}

/* Codes 0..2 * zero - 1 for the block; decodes to NaNs if it cannot be encoded. */
static inline void encode_offset(simple_block *b, const float x[32], const float *importance,
                                 float s2, int zero) {
    patch p;
    float d = find_peak(x) / (float)-zero;
    float inverse = inverse_of(d);
    *b = (simple_block){.d = NOT_A_NUMBER};
    if (!all_finite(x, 32) || !fits_f16(d)) {
        return;
    }
    if (importance != NULL && take_patch(&p, x, importance, 32, s2)) {
        d = search_signed(p.x, p.w, 32, (float)zero) * p.unit;
        inverse = inverse_of(sm_f16_to_f32(sm_f32_to_f16(d)));
    }
    b->d = sm_f32_to_f16(d);
    for (size_t j = 0; j < 32; j++) {
        const float code = x[j] * inverse + ((float)zero + 0.5f);
        const float above = code > 0 ? code : 0;
        b->code[j] = (uint8_t)(above < (float)(2 * zero - 1) ? above : (float)(2 * zero - 1));
    }
}

/* Codes 0..top. */
static inline void encode_minimum(simple_block *b, const float x[32], const float *importance,
                                  float s2, int top) {
    patch p;
    float min = x[0], max = x[0]; /* the first of equals, which may be 0 and -0 */
    *b = (simple_block){.d = NOT_A_NUMBER, .m = NOT_A_NUMBER};
    if (!all_finite(x, 32)) {
        return;
    }
    for (size_t j = 1; j < 32; j++) {
        min = x[j] < min ? x[j] : min;
        max = x[j] > max ? x[j] : max;
    }
    float d = (max - min) / (float)top;
    float inverse = inverse_of(d);
    if (!fits_f16(d) || !fits_f16(min)) {
        return;
    }
    if (importance != NULL && take_patch(&p, x, importance, 32, s2)) {
        search_range(p.x, p.w, 32, (float)top, true, &d, &min);
        d *= p.unit;
        min = sm_f16_to_f32(sm_f32_to_f16(min * p.unit));
        inverse = inverse_of(sm_f16_to_f32(sm_f32_to_f16(d)));
    }
    b->d = sm_f32_to_f16(d);
    b->m = sm_f32_to_f16(min);
    for (size_t j = 0; j < 32; j++) {
        const float code = (x[j] - min) * inverse + 0.5f;
        const float above = code > 0 ? code : 0;
        b->code[j] = (uint8_t)(above < (float)top ? above : (float)top);
    }
}

void ENCODER(q8_0)(void *row, const float *x, const float *importance, size_t k) {
    FOR_BLOCKS(sm_block_q8_0) {
        const float d = fabsf(find_peak(x)) / 127.0f;
        const float inverse = inverse_of(d);
        const bool good = all_finite(x, 32) && fits_f16(d);
        b->d = good ? sm_f32_to_f16(d) : NOT_A_NUMBER;
        for (size_t j = 0; j < 32; j++) { /* to nearest, halves away from zero */
            const float v = good ? x[j] * inverse : 0;
            const int whole = (int)v;
            const float rest = v - (float)whole;
            b->qs[j] = (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
        }
    }
}

void ENCODER(q4_0)(void *row, const float *x, const float *importance, size_t k) {
    const float s2 = importance != NULL ? mean_square(x, k) : 0;
    FOR_BLOCKS(sm_block_q4_0) {
        simple_block s;
        encode_offset(&s, x, importance, s2, 8);
        b->d = s.d;
        pack_nibbles(b->qs, s.code);
    }
}

void ENCODER(q5_0)(void *row, const float *x, const float *importance, size_t k) {
    const float s2 = importance != NULL ? mean_square(x, k) : 0;
    FOR_BLOCKS(sm_block_q5_0) {
        simple_block s;
        encode_offset(&s, x, importance, s2, 16);
        b->d = s.d;
        pack_nibbles(b->qs, s.code);
        pack_fifth_bits(b->qh, s.code);
    }
}

void ENCODER(q4_1)(void *row, const float *x, const float *importance, size_t k) {
    const float s2 = importance != NULL ? mean_square(x, k) : 0;
    FOR_BLOCKS(sm_block_q4_1) {
        simple_block s;
        encode_minimum(&s, x, importance, s2, 15);
        b->d = s.d;
        b->m = s.m;
        pack_nibbles(b->qs, s.code);
    }
}

void ENCODER(q5_1)(void *row, const float *x, const float *importance, size_t k) {
    const float s2 = importance != NULL ? mean_square(x, k) : 0;
    FOR_BLOCKS(sm_block_q5_1) {
        simple_block s;
        encode_minimum(&s, x, importance, s2, 31);
        b->d = s.d;
        b->m = s.m;
        pack_nibbles(b->qs, s.code);
        pack_fifth_bits(b->qh, s.code);
    }
}
