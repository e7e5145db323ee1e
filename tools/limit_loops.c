/* limit_loops.c - the innermost loops of the limits, per instruction-set level.
 *
 * Arithmetic runs on 12 independent accumulators, enough to hide a latency of 4
 * (6 with two units) cycles at two instructions per cycle. The inputs are
 * zero: the speed of these instructions does not depend on values. They are
 * written in assembly because a compiler may neither reorder nor drop them.
 */
#include <stddef.h>
#include <stdint.h>

#include "limits.h"
#include "smallmind/types.h"

/* ---- reading: sums of 8 vectors at a time --------------------------------------------- */

#define AHEAD 2048 /* bytes; between 1 and 4 KiB is best where it helps at all */

/* The compiler lowers the vector type to what the target has. */
#define READ_LOOP(name, attributes, vector, n_vectors, fetch)                 \
    attributes static uint64_t name(const void *data, uint64_t bytes) {       \
        const vector *at = data;                                              \
        const vector *const end = at + bytes / sizeof(vector);                \
        vector sum[n_vectors] = {{0}};                                        \
        uint64_t total = 0;                                                   \
        for (; at < end; at += (n_vectors)) {                                 \
            if (fetch) {                                                      \
                const uintptr_t next = (uintptr_t)at + AHEAD;                 \
                for (size_t i = 0; i < (n_vectors) * sizeof(vector); i += 64) \
                    __builtin_prefetch((const void *)(next + i));             \
            }                                                                 \
            for (size_t i = 0; i < (n_vectors); i++)                          \
                sum[i] += at[i];                                              \
        }                                                                     \
        for (size_t i = 0; i < (n_vectors); i++) {                            \
            for (size_t j = 0; j < sizeof(vector) / sizeof(uint64_t); j++)    \
                total += sum[i][j];                                           \
        }                                                                     \
        return total;                                                         \
    }

typedef uint64_t vector16 __attribute__((vector_size(16)));
READ_LOOP(read_plain, , vector16, 8, 0)
READ_LOOP(read_plain_ahead, , vector16, 8, 1)

/* ---- portable arithmetic ------------------------------------------------------------------ */

#define PLAIN_LANES 32
#define PLAIN_STEPS 64

static void f32_plain(uint64_t rounds) {
    float sum[PLAIN_LANES];
    volatile float source = 0.5f;
    const float a = source;
    const float b = source;
    for (size_t i = 0; i < PLAIN_LANES; i++)
        sum[i] = source;
    for (uint64_t r = 0; r < rounds * PLAIN_STEPS; r++) {
        for (size_t i = 0; i < PLAIN_LANES; i++)
            sum[i] = sum[i] * a + b;
    }
    for (size_t i = 0; i < PLAIN_LANES; i++)
        source = sum[i];
}

/* products of bytes fit 16 bits: that is what a compiler can do with portable code at best */
static void int8_plain(uint64_t rounds) {
    uint16_t sum[PLAIN_LANES];
    volatile uint16_t source = 3;
    const uint16_t a = source;
    for (size_t i = 0; i < PLAIN_LANES; i++)
        sum[i] = source;
    for (uint64_t r = 0; r < rounds * PLAIN_STEPS; r++) {
        for (size_t i = 0; i < PLAIN_LANES; i++)
            sum[i] = (uint16_t)((uint32_t)sum[i] * a + a);
    }
    for (size_t i = 0; i < PLAIN_LANES; i++)
        source = sum[i];
}

static const limit_loops plain = {
    .read = read_plain,
    .read_ahead = read_plain_ahead,
    .f32 = f32_plain,
    .int8 = int8_plain,
    .f32_macs = PLAIN_LANES * PLAIN_STEPS,
    .int8_macs = PLAIN_LANES * PLAIN_STEPS,
};

/* REPEAT12(F, x) = F(x, 0) F(x, 1) … F(x, 11): once per accumulator register. */
#define REPEAT12(F, x) \
    F(x, "0")          \
    F(x, "1")          \
    F(x, "2")          \
    F(x, "3") F(x, "4") F(x, "5") F(x, "6") F(x, "7") F(x, "8") F(x, "9") F(x, "10") F(x, "11")

/* ---- x86-64 ---------------------------------------------------------------------------------- */

#if defined(__x86_64__)

typedef uint64_t vector32 __attribute__((vector_size(32)));
typedef uint64_t vector64 __attribute__((vector_size(64)));
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))
READ_LOOP(read_avx2, AVX2, vector32, 8, 0)
READ_LOOP(read_avx2_ahead, AVX2, vector32, 8, 1)
READ_LOOP(read_avx512, AVX512, vector64, 8, 0)
READ_LOOP(read_avx512_ahead, AVX512, vector64, 8, 1)

/* Registers 0-11 accumulate, 12 and 13 are inputs, 14 and 15 scratch. */
#define ZERO(x, i) "vpxor %%xmm" i ", %%xmm" i ", %%xmm" i "\n\t"
#define FMA(x, i) "vfmadd231ps %%" x "12, %%" x "13, %%" x i "\n\t"
#define DPBF16(x, i) "vdpbf16ps %%" x "12, %%" x "13, %%" x i "\n\t"
#define DPBUSD(x, i) "vpdpbusd %%" x "12, %%" x "13, %%" x i "\n\t"
#define DPBUSD_VEX(x, i) "%{vex%} vpdpbusd %%" x "12, %%" x "13, %%" x i "\n\t"
/* without VNNI: pairs to 16 bits, pairs of those to 32 bits, add */
#define MADDUBS(x, i)                                \
    "vpmaddubsw %%" x "12, %%" x "13, %%" x "14\n\t" \
    "vpmaddwd %%" x "14, %%" x "15, %%" x "14\n\t"   \
    "vpaddd %%" x "14, %%" x i ", %%" x i "\n\t"
#define CLOBBERS                                                                             \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory"
#define X86_LOOP(name, op, register)                                                     \
    static void name(uint64_t rounds) {                                                  \
        __asm__ volatile(REPEAT12(ZERO, "") ZERO("", "12") ZERO("", "13")                \
                             ZERO("", "15") "1:\n\t" REPEAT12(op, register)              \
                                 REPEAT12(op, register) "dec %0\n\tjnz 1b\n\tvzeroupper" \
                         : "+r"(rounds)                                                  \
                         :                                                               \
                         : CLOBBERS);                                                    \
    }
X86_LOOP(f32_avx2, FMA, "ymm")
X86_LOOP(int8_avx2, MADDUBS, "ymm")
X86_LOOP(int8_avxvnni, DPBUSD_VEX, "ymm")
X86_LOOP(f32_avx512, FMA, "zmm")
X86_LOOP(bf16_avx512, DPBF16, "zmm")
X86_LOOP(int8_avx512, DPBUSD, "zmm")

/* 24 instructions a round; f32 lanes, pairs of bytes, or bytes, per instruction */
static const limit_loops avx2 = {
    .read = read_avx2,
    .read_ahead = read_avx2_ahead,
    .f32 = f32_avx2,
    .int8 = int8_avx2,
    .f32_macs = 24 * 8,
    .int8_macs = 24 * 32,
};
static const limit_loops avxvnni = {
    .read = read_avx2,
    .read_ahead = read_avx2_ahead,
    .f32 = f32_avx2,
    .int8 = int8_avxvnni,
    .f32_macs = 24 * 8,
    .int8_macs = 24 * 32,
};
static const limit_loops avx512 = {
    .read = read_avx512,
    .read_ahead = read_avx512_ahead,
    .f32 = f32_avx512,
    .int8 = int8_avx512,
    .f32_macs = 24 * 16,
    .int8_macs = 24 * 64,
};
static const limit_loops avx512bf16 = {
    .read = read_avx512,
    .read_ahead = read_avx512_ahead,
    .f32 = f32_avx512,
    .bf16 = bf16_avx512,
    .int8 = int8_avx512,
    .f32_macs = 24 * 16,
    .bf16_macs = 24 * 32,
    .int8_macs = 24 * 64,
};

const limit_loops *limit_loops_of(uint32_t level) {
    switch (level) {
    case SM_LEVEL_AVX2:
        return &avx2;
    case SM_LEVEL_AVXVNNI:
        return &avxvnni;
    case SM_LEVEL_AVX512:
        return &avx512;
    case SM_LEVEL_AVX512BF16:
        return &avx512bf16;
    default:
        return &plain;
    }
}

/* ---- AArch64 --------------------------------------------------------------------------------- */

#elif defined(__aarch64__)

#define ZERO(x, i) "movi v" i ".16b, #0\n\t"
#define FMLA(x, i) "fmla v" i ".4s, v12.4s, v13.4s\n\t"
#define SDOT(x, i) "sdot v" i ".4s, v12.16b, v13.16b\n\t"
#define SMMLA(x, i) "smmla v" i ".4s, v12.16b, v13.16b\n\t"
/* without dot product: 8 products of 16 bits, added in pairs to 32 bits */
#define SMULL(x, i)                    \
    "smull v14.8h, v12.8b, v13.8b\n\t" \
    "sadalp v" i ".4s, v14.8h\n\t"
#define ARM_LOOP(name, attributes, op)                                                        \
    attributes static void name(uint64_t rounds) {                                            \
        __asm__ volatile(REPEAT12(ZERO, "") ZERO("", "12")                                    \
                             ZERO("", "13") "1:\n\t" REPEAT12(op, "")                         \
                                 REPEAT12(op, "") "subs %0, %0, #1\n\tb.ne 1b"                \
                         : "+r"(rounds)                                                       \
                         :                                                                    \
                         : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", \
                           "v11", "v12", "v13", "v14", "cc", "memory");                       \
    }
ARM_LOOP(f32_neon, , FMLA)
ARM_LOOP(int8_neon, , SMULL)
ARM_LOOP(int8_dotprod, __attribute__((target("arch=armv8.2-a+dotprod"))), SDOT)
ARM_LOOP(int8_i8mm, __attribute__((target("arch=armv8.2-a+i8mm"))), SMMLA)

static const limit_loops neon = {
    .read = read_plain,
    .read_ahead = read_plain_ahead,
    .f32 = f32_neon,
    .int8 = int8_neon,
    .f32_macs = 24 * 4,
    .int8_macs = 24 * 8,
};
static const limit_loops dotprod = {
    .read = read_plain,
    .read_ahead = read_plain_ahead,
    .f32 = f32_neon,
    .int8 = int8_dotprod,
    .f32_macs = 24 * 4,
    .int8_macs = 24 * 16,
};
static const limit_loops i8mm = {
    .read = read_plain,
    .read_ahead = read_plain_ahead,
    .f32 = f32_neon,
    .int8 = int8_i8mm,
    .f32_macs = 24 * 4,
    .int8_macs = 24 * 32,
};

const limit_loops *limit_loops_of(uint32_t level) {
    switch (level) {
    case SM_LEVEL_NEON:
        return &neon;
    case SM_LEVEL_DOTPROD:
        return &dotprod;
    case SM_LEVEL_I8MM:
        return &i8mm;
    default:
        return &plain;
    }
}

#else

const limit_loops *limit_loops_of(uint32_t level) {
    (void)level;
    return &plain;
}

#endif
