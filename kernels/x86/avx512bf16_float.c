/* avx512bf16_float.c - products of F16 and BF16 weights with input rounded to bf16. */
#define LEVEL(name) name##_avx512bf16
#include "avx512_float_impl.h"

MUL(rounded_f16, F16, true)
MUL(rounded_bf16, BF16, true)
GEMM(rounded_bf16, BF16, true, NULL)

/* The weights are rounded once for all columns, into the layout of BF16. */
void sm_gemm_rounded_f16_avx512bf16(float *y, size_t ldy, const void *packed, size_t group_bytes,
                                    size_t n_groups, size_t k, const void *x, size_t ldx,
                                    size_t ncols, bool accumulate, const void *next,
                                    void *scratch) {
    uint8_t *panel = scratch;
    (void)next;
    for (size_t g = 0; g < n_groups; g++) {
        const uint8_t *from = (const uint8_t *)packed + g * group_bytes;
        for (size_t pairs = k / 2; pairs > 0; pairs--, from += 64, panel += 64) {
            _mm512_store_si512(panel, load_pair(SM_DTYPE_F16, from));
        }
        if (k % 2 != 0) {
            _mm512_store_si512(panel, load_last(SM_DTYPE_F16, from));
            panel += 64;
        }
    }
    sm_gemm_rounded_bf16_avx512bf16(y, ldy, scratch, (k + 1) / 2 * 64, n_groups, k, x, ldx, ncols,
                                    accumulate, NULL, NULL);
}

void sm_round_bf16_avx512bf16(uint16_t *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512 low = _mm512_loadu_ps(x + i), high = _mm512_loadu_ps(x + i + 16);
        _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    for (; i < n; i += 16) {
        const __mmask16 mask = lanes(n - i < 16 ? n - i : 16);
        const __m512 part = _mm512_maskz_loadu_ps(mask, x + i);
        _mm256_mask_storeu_epi16(y + i, mask, (__m256i)_mm512_cvtneps_pbh(part));
    }
}
