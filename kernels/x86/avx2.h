/* avx2.h - small pieces the AVX2 kernels share. */
#ifndef SM_X86_AVX2_H
#define SM_X86_AVX2_H

#include <immintrin.h>

#include "pack.h"
#include "table.h"

/* Kernels are templates: functions inlined into each caller with constants for
 * the parameters that shape the code, loops over those constants unrolled. */
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
/* not a warning where sanitizers or -O1 keep a loop from being unrolled */
#pragma clang diagnostic ignored "-Wpass-failed"
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* v as it is: keeps a sum that a loop carries and its value behind the loop one
 * variable, where gcc would see two of different vector types and copy. */
INLINE __m256i same(__m256i v) {
    __asm__("" : "+x"(v));
    return v;
}

INLINE __m256i load_i256(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
INLINE void store_i256(void *p, __m256i v) {
    _mm256_storeu_si256((__m256i *)p, v);
}

/* How far ahead of its use a stream of weights is asked for. From DRAM 8 KB gained 10 to 20%
 * over what the hardware does by itself, 4 KB half of that, 2 KB nothing. */
#define AHEAD 8192
/* Asks for the cache lines of bytes [p + ahead, p + ahead + n), which need not exist. */
INLINE void prefetch_lines(const void *p, size_t ahead, size_t n) {
    const char *line = (const char *)((uintptr_t)p + ahead);
    for (size_t i = 0; i < n; i += 64) {
        _mm_prefetch(line + i, _MM_HINT_T0);
    }
}

/* The 32-bit word at p in every lane. */
INLINE __m256i broadcast_i32(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Eight f16, bf16 at p as f32. */
INLINE __m256 load_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
INLINE __m256 load_bf16(const void *p) {
    __m256i v = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
}

#endif
