/* avx512.h - helpers of the levels avx512 (F, BW, VL, DQ, VNNI) and avx512bf16, for
 * x86/avx512*.c only.
 *
 * Kernels are written as inline functions of a type and a tile size that every caller passes
 * as constants; the functions made from them hold the tile in registers.
 */
#ifndef SM_AVX512_H
#define SM_AVX512_H

#include <immintrin.h>

#include "table.h"

#define INLINE static inline __attribute__((always_inline))
/* For loops over an array of registers, whose bounds are constants after inlining. With a count
 * clang would unroll them before inlining makes the bounds known, and then no more; with the
 * checks of a sanitizer in them unrolled loops take it minutes to compile. */
#ifdef __clang__
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer) || \
    __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define UNROLL
#else
#define UNROLL _Pragma("clang loop unroll(full)")
#endif
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Vector shifts by a count that is constant only after inlining: the intrinsics want a
 * literal when the compiler does not optimize. */
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));

INLINE __m512i shift_left32(__m512i x, int n) {
    return (__m512i)((u32x16)x << n);
}
INLINE __m512i shift_right32(__m512i x, int n) { /* keeps the sign */
    return (__m512i)((i32x16)x >> n);
}
INLINE __m512i shift_left16(__m512i x, int n) {
    return (__m512i)((u16x32)x << n);
}
INLINE __m512i shift_right16(__m512i x, int n) {
    return (__m512i)((u16x32)x >> n);
}

INLINE __m512i bytes64(int x) {
    return _mm512_set1_epi8((char)x);
}

/* Sixteen values of a stored float type as f32; the pointer need not be aligned. */
INLINE __m512 load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
INLINE __m512 load_bf16(const void *p) {
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}

/* The bits of x rounded to bf16, to nearest even, in the high halves of words; low halves are
 * arbitrary. A NaN gets its quiet bit set. */
INLINE __m512i bf16_bits(__m512 x) {
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    __m512i rounded = _mm512_add_epi32(bits, up);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
}
/* As bf16; subnormals too, which vcvtneps2bf16 would flush. */
INLINE __m256i to_bf16(__m512 x) {
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(bf16_bits(x), 16));
}

#ifdef __AVX512BF16__
/* Word l: even[l] and odd[l] as bf16, rounded to nearest even (subnormals to 0), even lower. */
INLINE __m512i bf16_pairs(__m512 even, __m512 odd) {
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd, even); /* all even, then all odd */
    const __m512i turns =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(turns, halves);
}
#endif

/* The low n (at most 16) lanes. */
INLINE __mmask16 lanes(size_t n) {
    return (__mmask16)((1u << n) - 1);
}

#endif
