/* cpu.c - which instruction-set level this CPU, its operating system and this build offer. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "kernels.h"
#include "smallmind/types.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* cpu_levels: a set of these, of the levels that CPU and operating system offer. */
#define LEVEL_BIT(level) (1u << (level))

#if defined(__x86_64__) || defined(__i386__)

static bool has(uint32_t reg, unsigned bit) {
    return ((reg >> bit) & 1) != 0;
}

/* XCR0: the register sets that the operating system saves. Only where OSXSAVE is set. */
static uint32_t saved_state(void) {
    uint32_t eax, edx;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

/* The maker's name, as cpuid.h has it in three words. */
static bool is_vendor(uint32_t b, uint32_t c, uint32_t d) {
    uint32_t eax, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == b && ecx == c && edx == d;
}

/* vdpbf16ps has half the throughput of f32 fma on their server cores with AMX, where on AMD's it
 * adds up twice as many products as fma does. */
static bool is_intel(void) {
    return is_vendor(signature_INTEL_ebx, signature_INTEL_ecx, signature_INTEL_edx);
}

/* AMD's family 19h, of which only CPUs with AVX-512 were measured. */
static bool is_family_19h(void) {
    uint32_t eax, ebx, ecx, edx;
    if (!is_vendor(signature_AMD_ebx, signature_AMD_ecx, signature_AMD_edx) ||
        !__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
        return false;
    }
    const uint32_t base = eax >> 8 & 0xf, extended = eax >> 20 & 0xff;
    return base == 0xf && base + extended == 0x19; /* AMD64 volume 3, CPUID Fn0000_0001 */
}

/* Intel SDM volume 2, CPUID; volume 1, 13.3 (XCR0) */
static uint32_t cpu_levels(void) {
    uint32_t levels = LEVEL_BIT(SM_LEVEL_SCALAR);
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
        return levels;
    }
    bool osxsave = has(ecx, 27), avx = has(ecx, 28), fma = has(ecx, 12), f16c = has(ecx, 29);
    if (!osxsave || !avx || !fma || !f16c) {
        return levels;
    }
    uint32_t saved = saved_state();
    bool ymm = has(saved, 1) && has(saved, 2);
    bool zmm = ymm && has(saved, 5) && has(saved, 6) && has(saved, 7);
    if (!ymm || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !has(ebx, 5)) {
        return levels;
    }
    levels |= LEVEL_BIT(SM_LEVEL_AVX2);
    bool f_dq_bw_vl = has(ebx, 16) && has(ebx, 17) && has(ebx, 30) && has(ebx, 31);
    bool avx512_vnni = has(ecx, 11), avx512 = zmm && f_dq_bw_vl && avx512_vnni;
    levels |= avx512 ? LEVEL_BIT(SM_LEVEL_AVX512) : 0;
    if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) {
        bool avx_vnni = has(eax, 4), avx512_bf16 = has(eax, 5);
        levels |= avx_vnni ? LEVEL_BIT(SM_LEVEL_AVXVNNI) : 0;
        levels |= avx512 && avx512_bf16 ? LEVEL_BIT(SM_LEVEL_AVX512BF16) : 0;
    }
    return levels;
}

/* What to begin with where there is no cap. */
static uint32_t highest(void) {
    return is_intel() ? SM_LEVEL_AVX512 : SM_LEVEL_AVX512BF16;
}

#elif defined(__aarch64__)

static bool is_family_19h(void) {
    return false;
}

#if defined(__linux__)
/* HWCAP bits: Linux, Documentation/arch/arm64/elf_hwcaps.rst */
static uint32_t cpu_levels(void) {
    unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
    bool asimd = ((caps >> 1) & 1) != 0, asimddp = ((caps >> 20) & 1) != 0;
    bool i8mm = ((caps2 >> 13) & 1) != 0;
#else
/* Elsewhere only what the compiler was told to assume. */
static uint32_t cpu_levels(void) {
    bool asimd = true, asimddp = false, i8mm = false;
#if defined(__ARM_FEATURE_DOTPROD)
    asimddp = true;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    i8mm = true;
#endif
#endif
    uint32_t levels = LEVEL_BIT(SM_LEVEL_SCALAR);
    levels |= asimd ? LEVEL_BIT(SM_LEVEL_NEON) : 0;
    levels |= asimd && asimddp ? LEVEL_BIT(SM_LEVEL_DOTPROD) : 0;
    levels |= asimd && asimddp && i8mm ? LEVEL_BIT(SM_LEVEL_I8MM) : 0;
    return levels;
}

static uint32_t highest(void) {
    return SM_LEVEL_I8MM;
}

#else

static bool is_family_19h(void) {
    return false;
}

static uint32_t cpu_levels(void) {
    return LEVEL_BIT(SM_LEVEL_SCALAR);
}

static uint32_t highest(void) {
    return SM_LEVEL_SCALAR;
}

#endif

/* `below`: the next lower level of the same family of CPUs */
typedef struct level_info {
    const char *name;
    uint32_t below;
    bool built;
} level_info;

#ifdef SM_HAVE_AVX2
#define BUILT_AVX2 true
#else
#define BUILT_AVX2 false
#endif
#ifdef SM_HAVE_AVXVNNI
#define BUILT_AVXVNNI true
#else
#define BUILT_AVXVNNI false
#endif
#ifdef SM_HAVE_AVX512
#define BUILT_AVX512 true
#else
#define BUILT_AVX512 false
#endif
#ifdef SM_HAVE_AVX512BF16
#define BUILT_AVX512BF16 true
#else
#define BUILT_AVX512BF16 false
#endif
#ifdef SM_HAVE_NEON
#define BUILT_NEON true
#else
#define BUILT_NEON false
#endif
#ifdef SM_HAVE_DOTPROD
#define BUILT_DOTPROD true
#else
#define BUILT_DOTPROD false
#endif
#ifdef SM_HAVE_I8MM
#define BUILT_I8MM true
#else
#define BUILT_I8MM false
#endif

static const level_info levels[] = {
    [SM_LEVEL_AUTO] = {"auto", SM_LEVEL_SCALAR, false},
    [SM_LEVEL_SCALAR] = {"scalar", SM_LEVEL_SCALAR, true},
    [SM_LEVEL_AVX2] = {"avx2", SM_LEVEL_SCALAR, BUILT_AVX2},
    [SM_LEVEL_AVX512] = {"avx512", SM_LEVEL_AVXVNNI, BUILT_AVX512},
    [SM_LEVEL_NEON] = {"neon", SM_LEVEL_SCALAR, BUILT_NEON},
    [SM_LEVEL_DOTPROD] = {"dotprod", SM_LEVEL_NEON, BUILT_DOTPROD},
    [SM_LEVEL_AVXVNNI] = {"avxvnni", SM_LEVEL_AVX2, BUILT_AVXVNNI},
    [SM_LEVEL_I8MM] = {"i8mm", SM_LEVEL_DOTPROD, BUILT_I8MM},
    [SM_LEVEL_AVX512BF16] = {"avx512bf16", SM_LEVEL_AVX512, BUILT_AVX512BF16},
};
#define N_LEVELS (sizeof levels / sizeof levels[0])

const char *sm_level_name(uint32_t level) {
    return level < N_LEVELS ? levels[level].name : NULL;
}

/* Upper and lower case are the same. */
static bool is_name(const char *name, const char *given) {
    for (; *name != 0; name++, given++) {
        const char c = *given >= 'A' && *given <= 'Z' ? (char)(*given - 'A' + 'a') : *given;
        if (c != *name)
            return false;
    }
    return *given == 0;
}

uint32_t sm_level_from_name(const char *name) {
    for (uint32_t i = 1; name != NULL && i < N_LEVELS; i++) {
        if (is_name(levels[i].name, name)) {
            return i;
        }
    }
    return SM_LEVEL_AUTO;
}

bool sm_level_is_built(uint32_t level) {
    return level < N_LEVELS && levels[level].built;
}

uint32_t sm_level_below(uint32_t level) {
    return level < N_LEVELS ? levels[level].below : SM_LEVEL_SCALAR;
}

uint32_t sm_level_best(uint32_t cap) {
    uint32_t offered = cpu_levels();
    uint32_t level = cap == SM_LEVEL_AUTO || cap >= N_LEVELS ? highest() : cap;
    while (level != SM_LEVEL_SCALAR &&
           (!levels[level].built || (offered & LEVEL_BIT(level)) == 0)) {
        level = levels[level].below;
    }
    return level;
}

/* What software asks for takes the fill buffers that family 19h's own prefetchers use better; on
 * others it is the other way around. */
sm_prefetch sm_prefetch_for(bool in_memory) {
    if (is_family_19h()) {
        return SM_PREFETCH_NONE;
    }
    return in_memory ? SM_PREFETCH_FAR : SM_PREFETCH_NEAR;
}

bool sm_pipes_are_half(void) {
    return is_family_19h();
}
