/* simd.h - small pieces the NEON kernels share. */
#ifndef SM_ARM_SIMD_H
#define SM_ARM_SIMD_H

#include <arm_neon.h>

#include "table.h"

/* Kernels are templates: functions inlined into each caller with constants for
 * the parameters that shape the code. */
#define INLINE static inline __attribute__((always_inline))

/* Before a loop with few, constant iterations whose arrays should become registers. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#define ROLLED _Pragma("GCC unroll 1")
#endif

/* x[lane] * a + y for a lane that is constant once inlined. */
INLINE float32x4_t fma_lane(float32x4_t y, float32x4_t a, float32x4_t x, unsigned lane) {
    switch (lane) {
    case 0:
        return vfmaq_laneq_f32(y, a, x, 0);
    case 1:
        return vfmaq_laneq_f32(y, a, x, 1);
    case 2:
        return vfmaq_laneq_f32(y, a, x, 2);
    default:
        return vfmaq_laneq_f32(y, a, x, 3);
    }
}

/* Four f16 at p. */
INLINE float32x4_t load_f16(const void *p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* e^x as kernels.h asks for. x = n ln 2 + r with |r| <= ln 2 / 2, where e^r is a polynomial
 * (least maximum relative error, 3e-9 before rounding). */
INLINE float32x4_t exp_f32(float32x4_t x) {
    uint32x4_t tiny = vcltq_f32(x, vdupq_n_f32(-87.3f));
    /* the bounds keep 2^n a normal number */
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-87.3f)), vdupq_n_f32(88.37f));
    float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 0x1.715476p+0f));
    float32x4_t r = vfmsq_n_f32(x, n, 0x1.62e43p-1f);
    r = vfmsq_n_f32(r, n, -0x1.05c61p-29f);
    float32x4_t p = vdupq_n_f32(0x1.6a23dp-10f);
    p = vfmaq_f32(vdupq_n_f32(0x1.123a2p-7f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.5558f2p-5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.555492p-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.fffffcp-2f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    float32x4_t e = vmulq_f32(p, vreinterpretq_f32_s32(power));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(e), tiny));
}

#endif
