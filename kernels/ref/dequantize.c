/* dequantize.c - native rows to f32; each block is drawn in blocks.h. */
#include "iq.h"
#include "table.h"

void sm_dequantize_f32_ref(float *y, const void *row, size_t k) {
    memcpy(y, row, k * sizeof *y);
}

void sm_dequantize_f16_ref(float *y, const void *row, size_t k) {
    const uint16_t *x = row;
    for (size_t i = 0; i < k; i++) {
        y[i] = sm_f16_to_f32(x[i]);
    }
}

void sm_dequantize_bf16_ref(float *y, const void *row, size_t k) {
    const uint16_t *x = row;
    for (size_t i = 0; i < k; i++) {
        y[i] = sm_bf16_to_f32(x[i]);
    }
}

void sm_dequantize_f64_ref(float *y, const void *row, size_t k) {
    for (size_t i = 0; i < k; i++) {
        double x;
        memcpy(&x, (const uint8_t *)row + 8 * i, 8);
        y[i] = (float)x;
    }
}

/* ---- 32 elements ------------------------------------------------------------------------ */

void sm_dequantize_q8_0_ref(float *y, const void *row, size_t k) {
    const sm_block_q8_0 *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_f16_to_f32(b->d);
        for (size_t j = 0; j < 32; j++) {
            y[j] = d * (float)b->qs[j];
        }
    }
}

void sm_dequantize_q4_0_ref(float *y, const void *row, size_t k) {
    const sm_block_q4_0 *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_f16_to_f32(b->d);
        for (size_t j = 0; j < 16; j++) {
            y[j] = d * (float)((b->qs[j] & 15) - 8);
            y[j + 16] = d * (float)((b->qs[j] >> 4) - 8);
        }
    }
}

void sm_dequantize_iq4_nl_ref(float *y, const void *row, size_t k) {
    const sm_block_iq4_nl *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_f16_to_f32(b->d);
        for (size_t j = 0; j < 16; j++) {
            y[j] = d * (float)SM_IQ4_VALUES[b->qs[j] & 15];
            y[j + 16] = d * (float)SM_IQ4_VALUES[b->qs[j] >> 4];
        }
    }
}

void sm_dequantize_mxfp4_ref(float *y, const void *row, size_t k) {
    const sm_block_mxfp4 *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_e8m0_to_f32(b->e);
        for (size_t j = 0; j < 16; j++) {
            y[j] = d * (float)SM_FP4_VALUES[b->qs[j] & 15];
            y[j + 16] = d * (float)SM_FP4_VALUES[b->qs[j] >> 4];
        }
    }
}

void sm_dequantize_q4_1_ref(float *y, const void *row, size_t k) {
    const sm_block_q4_1 *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_f16_to_f32(b->d), m = sm_f16_to_f32(b->m);
        for (size_t j = 0; j < 16; j++) {
            y[j] = d * (float)(b->qs[j] & 15) + m;
            y[j + 16] = d * (float)(b->qs[j] >> 4) + m;
        }
    }
}

/* Code of element j (0..31) where bit 4 lies in qh. */
static int code5(const uint8_t *qs, const uint8_t *qh, size_t j) {
    int low = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
    int high = (qh[j / 8] >> (j % 8)) & 1;
    return low | high << 4;
}

void sm_dequantize_q5_0_ref(float *y, const void *row, size_t k) {
    const sm_block_q5_0 *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_f16_to_f32(b->d);
        for (size_t j = 0; j < 32; j++) {
            y[j] = d * (float)(code5(b->qs, b->qh, j) - 16);
        }
    }
}

void sm_dequantize_q5_1_ref(float *y, const void *row, size_t k) {
    const sm_block_q5_1 *b = row;
    for (size_t n = 0; n < k / 32; n++, b++, y += 32) {
        float d = sm_f16_to_f32(b->d), m = sm_f16_to_f32(b->m);
        for (size_t j = 0; j < 32; j++) {
            y[j] = d * (float)code5(b->qs, b->qh, j) + m;
        }
    }
}

/* ---- 256 elements: element e = 32 * n + l ------------------------------------------------- */

void sm_dequantize_q2_k_ref(float *y, const void *row, size_t k) {
    const sm_block_q2_k *b = row;
    for (size_t s = 0; s < k / 256; s++, b++) {
        float d = sm_f16_to_f32(b->d), dmin = sm_f16_to_f32(b->dmin);
        for (size_t n = 0; n < 8; n++, y += 32) {
            for (size_t l = 0; l < 32; l++) {
                uint8_t scale = b->scales[2 * n + l / 16];
                int code = (b->qs[n / 4 * 32 + l] >> (n % 4 * 2)) & 3;
                y[l] = d * (float)(scale & 15) * (float)code - dmin * (float)(scale >> 4);
            }
        }
    }
}

void sm_dequantize_q3_k_ref(float *y, const void *row, size_t k) {
    const sm_block_q3_k *b = row;
    for (size_t s = 0; s < k / 256; s++, b++) {
        float d = sm_f16_to_f32(b->d);
        for (unsigned n = 0; n < 8; n++, y += 32) {
            for (unsigned l = 0; l < 32; l++) {
                float scale = d * (float)sm_q3_k_scale(b->scales, 2 * n + l / 16);
                int low = (b->qs[n / 4 * 32 + l] >> (n % 4 * 2)) & 3;
                int high = (b->hmask[l] >> n) & 1;
                y[l] = scale * (float)((low | high << 2) - 4);
            }
        }
    }
}

void sm_dequantize_q4_k_ref(float *y, const void *row, size_t k) {
    const sm_block_q4_k *b = row;
    for (size_t s = 0; s < k / 256; s++, b++) {
        float d = sm_f16_to_f32(b->d), dmin = sm_f16_to_f32(b->dmin);
        for (unsigned n = 0; n < 8; n++, y += 32) {
            uint8_t sc, m;
            sm_q4_k_scale(b->scales, n, &sc, &m);
            float scale = d * (float)sc, min = dmin * (float)m;
            for (size_t l = 0; l < 32; l++) {
                int code = (b->qs[n / 2 * 32 + l] >> (n % 2 * 4)) & 15;
                y[l] = scale * (float)code - min;
            }
        }
    }
}

void sm_dequantize_q5_k_ref(float *y, const void *row, size_t k) {
    const sm_block_q5_k *b = row;
    for (size_t s = 0; s < k / 256; s++, b++) {
        float d = sm_f16_to_f32(b->d), dmin = sm_f16_to_f32(b->dmin);
        for (unsigned n = 0; n < 8; n++, y += 32) {
            uint8_t sc, m;
            sm_q4_k_scale(b->scales, n, &sc, &m);
            float scale = d * (float)sc, min = dmin * (float)m;
            for (size_t l = 0; l < 32; l++) {
                int low = (b->qs[n / 2 * 32 + l] >> (n % 2 * 4)) & 15;
                int high = (b->qh[l] >> n) & 1;
                y[l] = scale * (float)(low | high << 4) - min;
            }
        }
    }
}

void sm_dequantize_q6_k_ref(float *y, const void *row, size_t k) {
    const sm_block_q6_k *b = row;
    for (size_t s = 0; s < k / 256; s++, b++) {
        float d = sm_f16_to_f32(b->d);
        for (size_t n = 0; n < 8; n++, y += 32) {
            size_t half = n / 4, quarter = n % 4;
            for (size_t l = 0; l < 32; l++) {
                float scale = d * (float)b->scales[2 * n + l / 16];
                int low = (b->ql[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4)) & 15;
                int high = (b->qh[half * 32 + l] >> (quarter * 2)) & 3;
                y[l] = scale * (float)((low | high << 4) - 32);
            }
        }
    }
}

void sm_dequantize_iq4_xs_ref(float *y, const void *row, size_t k) {
    const sm_block_iq4_xs *b = row;
    for (size_t s = 0; s < k / 256; s++, b++) {
        float d = sm_f16_to_f32(b->d);
        for (unsigned n = 0; n < 8; n++, y += 32) {
            float scale = d * (float)sm_iq4_xs_scale(b, n);
            for (size_t j = 0; j < 16; j++) {
                y[j] = scale * (float)SM_IQ4_VALUES[b->qs[16 * n + j] & 15];
                y[j + 16] = scale * (float)SM_IQ4_VALUES[b->qs[16 * n + j] >> 4];
            }
        }
    }
}

/* ---- IQ blocks with codebooks ---------------------------------------------------------------- */

/* One record of 32 elements. */
static void decode_record(float y[32], const sm_iq_record *r, float d, const sm_code_table *codes) {
    for (size_t e = 0; e < 32; e++) {
        const float scale = d * codes->factor * (float)r->sc[e / 16];
        y[e] = scale * (float)codes->value[(r->w[e / 4] >> (e % 4 * 8)) & 15];
    }
}

#define CODEBOOK(type, CODES, d_of)                                           \
    void sm_dequantize_##type##_ref(float *y, const void *row, size_t k) {    \
        const sm_block_##type *b = row;                                       \
        for (size_t s = 0; s < k / 256; s++, b++) {                           \
            for (unsigned n = 0; n < 8; n++, y += 32) {                       \
                const sm_iq_record r = sm_##type##_record(b, n);              \
                decode_record(y, &r, sm_f16_to_f32(d_of), &SM_CODES_##CODES); \
            }                                                                 \
        }                                                                     \
    }

CODEBOOK(iq2_xxs, IQ2, b->d)
CODEBOOK(iq2_xs, IQ2, b->d)
CODEBOOK(iq2_s, IQ2, b->d)
CODEBOOK(iq3_xxs, IQ3_XXS, b->d)
CODEBOOK(iq3_s, IQ3_S, b->d)
CODEBOOK(iq1_s, IQ1, b->d)
CODEBOOK(iq1_m, IQ1, sm_iq1_m_d(b))

/* ---- one or two bits, 4-bit floats ----------------------------------------------------------- */

void sm_dequantize_nvfp4_ref(float *y, const void *row, size_t k) {
    const sm_block_nvfp4 *b = row;
    for (size_t n = 0; n < k / 16; n++, y += 16) {
        const uint8_t *qs = b[n / 4].qs + 8 * (n % 4);
        float d = sm_ue4m3_to_f32(b[n / 4].d[n % 4]);
        for (size_t j = 0; j < 8; j++) {
            y[j] = d * (float)SM_FP4_VALUES[qs[j] & 15];
            y[j + 8] = d * (float)SM_FP4_VALUES[qs[j] >> 4];
        }
    }
}

void sm_dequantize_q1_0_ref(float *y, const void *row, size_t k) {
    const sm_block_q1_0 *b = row;
    for (size_t n = 0; n < k / 128; n++, b++, y += 128) {
        float d = sm_f16_to_f32(b->d);
        for (size_t j = 0; j < 128; j++) {
            y[j] = (b->qs[j / 8] >> (j % 8)) & 1 ? d : -d;
        }
    }
}

void sm_dequantize_q2_0_ref(float *y, const void *row, size_t k) {
    const sm_block_q2_0 *b = row;
    for (size_t n = 0; n < k / 64; n++, b++, y += 64) {
        float d = sm_f16_to_f32(b->d);
        for (size_t j = 0; j < 64; j++) {
            y[j] = d * (float)(((b->qs[j / 4] >> (j % 4 * 2)) & 3) - 1);
        }
    }
}

void sm_dequantize_tq2_0_ref(float *y, const void *row, size_t k) {
    const sm_block_tq2_0 *b = row;
    for (size_t s = 0; s < k / 256; s++, b++, y += 256) {
        float d = sm_f16_to_f32(b->d);
        for (size_t e = 0; e < 256; e++) {
            y[e] = d * (float)(((b->qs[e / 128 * 32 + e % 32] >> (e / 32 % 4 * 2)) & 3) - 1);
        }
    }
}

void sm_dequantize_tq1_0_ref(float *y, const void *row, size_t k) {
    const sm_block_tq1_0 *b = row;
    for (size_t s = 0; s < k / 256; s++, b++, y += 256) {
        float d = sm_f16_to_f32(b->d);
        uint8_t code[256];
        sm_tq1_0_codes(code, b);
        for (size_t e = 0; e < 256; e++) {
            y[e] = d * (float)(code[e] - 1);
        }
    }
}
