/* avx512_rows.c - operations on vectors on AVX-512. Sums keep sixteen (or eight double) lanes and
 * fold them at the end, halves onto halves.
 */
#include <math.h>
#include <string.h>

#include "avx512.h"
#include "damage.h"

/* The intrinsic is a macro without optimization, and gcc's passes its mask with a wrong sign. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
INLINE __m512 round16(__m512 x) { /* to an integer, halves to even */
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#pragma GCC diagnostic pop

/* exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2. exp(r) as 1 + r + r^2 * P(r),
 * P minimax for that form (relative error 3e-9). 0 below -87.3, exp(88.3) above 88.3. */
INLINE __m512 exp16(__m512 x) {
    const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_NLT_UQ);
    x = _mm512_min_ps(_mm512_set1_ps(88.3f), x);
    const __m512 n = round16(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)));
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(0.0013814598f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.008368717f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.041668388f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.16666521f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.49999993f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1));
    return _mm512_maskz_scalef_ps(normal, p, n);
}

INLINE float exp1(float x) {
    return _mm512_cvtss_f32(exp16(_mm512_set1_ps(x)));
}

INLINE float sum16(__m512 x) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE double sum8(__m512d x) {
    __m256d half = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

INLINE __m512d low_double(__m512 x) {
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
}
INLINE __m512d high_double(__m512 x) {
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
}

INLINE float max8(__m256 x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE float max_of(const __m512 v[4]) {
    const __m512 max = _mm512_max_ps(_mm512_max_ps(v[0], v[1]), _mm512_max_ps(v[2], v[3]));
    return max8(_mm256_max_ps(_mm512_castps512_ps256(max), _mm512_extractf32x8_ps(max, 1)));
}

/* Lanes of a vector that starts at i of n. */
INLINE __mmask16 lanes_at(size_t i, size_t n) {
    return n - i < 16 ? lanes(n - i) : (__mmask16)0xffff;
}

/* ---- quantize ------------------------------------------------------------------------- */

/* Maximum of the lanes of v[0..7], each folded halves onto halves, as lanes 0..7. */
INLINE __m256 max_eight(const __m512 v[8]) {
    __m512 eights[4], fours[2];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m512 a = v[2 * i], b = v[2 * i + 1];
        eights[i] =
            _mm512_max_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        const __m512 a = eights[2 * i], b = eights[2 * i + 1];
        fours[i] =
            _mm512_max_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
    const __m512 twos = _mm512_max_ps(_mm512_shuffle_ps(fours[0], fours[1], 0x44),
                                      _mm512_shuffle_ps(fours[0], fours[1], 0xee));
    const __m512 ones = _mm512_max_ps(twos, _mm512_permute_ps(twos, 0xb1));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps256(_mm512_permutexvar_ps(order, ones));
}

/* What follows the codes q of a block, d in every lane: d, d * S, d * s0, d * s1, -S, -s0, -s1,
 * -128 S with s0 and s1 the sums of the halves of q, S of both. */
INLINE __m256i block_tail(__m256i q, __m256 d) {
    __m256i half = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), q);
    half = _mm256_add_epi32(half, _mm256_shuffle_epi32(half, 0x4e));
    half = _mm256_add_epi32(half, _mm256_shuffle_epi32(half, 0xb1));
    const __m256i both = _mm256_add_epi32(half, _mm256_permute4x64_epi64(half, 0x4e));
    const __m256i order = _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 4, 0);
    __m256i sums = _mm256_maskz_permutexvar_epi32(0x6c, order, half);
    sums = _mm256_mask_mov_epi32(sums, 0x92, both);
    sums = _mm256_mask_mov_epi32(sums, 0x01, _mm256_set1_epi32(1));
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), d);
    __m256i negative = _mm256_sub_epi32(_mm256_setzero_si256(), sums);
    negative = _mm256_mask_slli_epi32(negative, 0x80, negative, 7);
    return _mm256_mask_mov_epi32(_mm256_castps_si256(scaled), 0xf0, negative);
}

#define BATCH 8 /* blocks at a time: as lanes where a number per block is all there is */

/* 1.5 * 2^23: what is added to it loses its fraction, and the integer is in the low bits. */
#define MAGIC 12582912.0f

/* The largest magnitude of each block. */
INLINE __m256 batch_max(const float *x) {
    __m512 most[BATCH];
    UNROLL
    for (int b = 0; b < BATCH; b++) {
        most[b] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + 32 * b)),
                                _mm512_abs_ps(_mm512_loadu_ps(x + 32 * b + 16)));
    }
    return max_eight(most);
}

/* A batch in fine steps (sm_act_block): pairs of elements as 32-bit lanes, of block l % 8 in lanes
 * l of straight, of block (l + 4) % 8 in those of crossed. Which pair is where does not matter. */
typedef struct fine_steps {
    __m512i straight[4], crossed[4];
} fine_steps;

INLINE fine_steps batch_fine(const float *x, const float scale[BATCH]) {
    const __m512 magic = _mm512_set1_ps(MAGIC);
    __m512i v[BATCH], pairs[BATCH];
    UNROLL
    for (int b = 0; b < BATCH; b++) {
        const __m512 s = _mm512_set1_ps(scale[b]);
        const __m512i low =
            _mm512_castps_si512(_mm512_fmadd_ps(_mm512_loadu_ps(x + 32 * b), s, magic));
        const __m512i high =
            _mm512_castps_si512(_mm512_fmadd_ps(_mm512_loadu_ps(x + 32 * b + 16), s, magic));
        v[b] = _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
    }
    UNROLL
    for (int b = 0; b < BATCH; b += 2) {
        pairs[b] = _mm512_unpacklo_epi32(v[b], v[b + 1]);
        pairs[b + 1] = _mm512_unpackhi_epi32(v[b], v[b + 1]);
    }
    fine_steps f;
    UNROLL
    for (int i = 0; i < 2; i++) { /* blocks 0 to 3 side by side, and 4 to 7 */
        const __m512i a0 = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        const __m512i a1 = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        const __m512i b0 = _mm512_unpacklo_epi64(pairs[i + 4], pairs[i + 6]);
        const __m512i b1 = _mm512_unpackhi_epi64(pairs[i + 4], pairs[i + 6]);
        f.straight[2 * i] = _mm512_mask_blend_epi32(0xf0f0, a0, b0);
        f.crossed[2 * i] = _mm512_mask_blend_epi32(0xf0f0, b0, a0);
        f.straight[2 * i + 1] = _mm512_mask_blend_epi32(0xf0f0, a1, b1);
        f.crossed[2 * i + 1] = _mm512_mask_blend_epi32(0xf0f0, b1, a1);
    }
    return f;
}

/* sum + the squares of what z has beyond multiples of 256, pair by pair. */
INLINE __m512i add_squares(__m512i sum, __m512i z) {
    const __m512i r = _mm512_maskz_abs_epi8(0x5555555555555555, z);
    return _mm512_dpwssd_epi32(sum, r, r);
}

/* The errors of scale j of a batch. */
INLINE __m256 batch_errors(const fine_steps *f, const int j) {
    int32_t ratio;
    memcpy(&ratio, SM_ACT_RATIO[j], sizeof ratio);
    const __m512i r = _mm512_set1_epi32(ratio);
    __m512i straight = _mm512_setzero_si512(), crossed = straight;
    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m512i s = f->straight[i], c = f->crossed[i];
        straight = add_squares(straight, j == 0 ? s : _mm512_mulhrs_epi16(s, r));
        crossed = add_squares(crossed, j == 0 ? c : _mm512_mulhrs_epi16(c, r));
    }
    const __m512i both = _mm512_add_epi32(straight, _mm512_shuffle_i32x4(crossed, crossed, 0xb1));
    const __m256i sum =
        _mm256_add_epi32(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(SM_ACT_WEIGHT[j]));
}

/* What is known of some batches: through memory, since broadcasts from there are free. */
#define BATCHES 8 /* in turns: the steps below have long chains, which overlap in a loop of one */
typedef struct batch_scales {
    float max[BATCH], reciprocal[BATCH], inverse[BATCH], step[BATCH];
} batch_scales;

static void measure_batch(batch_scales *s, const float *x) {
    const __m256 max = batch_max(x);
    const __mmask8 used = _mm256_cmp_ps_mask(max, _mm256_set1_ps(1e-30f), _CMP_NLT_UQ);
    _mm256_storeu_ps(s->max, _mm256_maskz_mov_ps(used, max));
    _mm256_storeu_ps(s->reciprocal, _mm256_maskz_div_ps(used, _mm256_set1_ps(1), max));
}

static void choose_batch(batch_scales *s, const float *x) {
    const __m256 reciprocal = _mm256_loadu_ps(s->reciprocal);
    _mm256_storeu_ps(s->inverse, _mm256_mul_ps(reciprocal, _mm256_set1_ps(SM_ACT_FINE)));
    const fine_steps fine = batch_fine(x, s->inverse);
    __m256 least = batch_errors(&fine, 0);
    __m256 levels = _mm256_set1_ps(127), level = _mm256_set1_ps(SM_ACT_STEP[0]);
    UNROLL
    for (int j = 1; j < SM_ACT_SCALES; j++) {
        const __m256 errors = batch_errors(&fine, j);
        const __mmask8 less = _mm256_cmp_ps_mask(errors, least, _CMP_LT_OQ);
        least = _mm256_mask_mov_ps(least, less, errors);
        levels = _mm256_mask_mov_ps(levels, less, _mm256_set1_ps((float)(127 - j)));
        level = _mm256_mask_mov_ps(level, less, _mm256_set1_ps(SM_ACT_STEP[j]));
    }
    _mm256_storeu_ps(s->inverse, _mm256_mul_ps(levels, reciprocal));
    _mm256_storeu_ps(s->step, _mm256_mul_ps(_mm256_loadu_ps(s->max), level));
}

#define NOT_FINITE 0x99 /* classes: NaNs and infinities */

static void round_batch(sm_act_block *out, const batch_scales *s, const float *x, size_t n_blocks) {
    const __m512 magic = _mm512_set1_ps(MAGIC);
    for (size_t b = 0; b < n_blocks; b++) {
        const __m512 inv = _mm512_set1_ps(s->inverse[b]);
        const __m512 v0 = _mm512_loadu_ps(x + 32 * b), v1 = _mm512_loadu_ps(x + 32 * b + 16);
        const __m512 x0 = _mm512_fmadd_ps(v0, inv, magic);
        const __m512 x1 = _mm512_fmadd_ps(v1, inv, magic);
        const __m128i q0 = _mm512_cvtepi32_epi8(_mm512_castps_si512(x0));
        const __m128i q1 = _mm512_cvtepi32_epi8(_mm512_castps_si512(x1));
        const __m256i q = _mm256_inserti128_si256(_mm256_castsi128_si256(q0), q1, 1);
        const __m256i tail = block_tail(q, _mm256_set1_ps(s->step[b]));
        _mm512_storeu_si512(out + b, _mm512_inserti64x4(_mm512_castsi256_si512(q), tail, 1));
        if (_mm512_fpclass_ps_mask(v0, NOT_FINITE) | _mm512_fpclass_ps_mask(v1, NOT_FINITE))
            sm_damage_block(out + b, x + 32 * b);
    }
}

/* The last batch may have fewer blocks: it is filled up with zeros. */
static void quantize_batches(sm_act_block *out, const float *x, size_t n_blocks) {
    const size_t n = (n_blocks + BATCH - 1) / BATCH, rest = n_blocks % BATCH;
    const float *from[BATCHES];
    batch_scales s[BATCHES];
    float filled[32 * BATCH];
    for (size_t i = 0; i < n; i++) {
        from[i] = x + 32 * BATCH * i;
    }
    if (rest > 0) {
        memset(filled, 0, sizeof filled);
        memcpy(filled, from[n - 1], rest * 32 * sizeof *x);
        from[n - 1] = filled;
    }
    for (size_t i = 0; i < n; i++) {
        measure_batch(&s[i], from[i]);
    }
    for (size_t i = 0; i < n; i++) {
        choose_batch(&s[i], from[i]);
    }
    for (size_t i = 0; i < n; i++) {
        round_batch(out + BATCH * i, &s[i], from[i], rest > 0 && i == n - 1 ? rest : BATCH);
    }
}

void sm_quantize_avx512(sm_act_block *out, const float *x, size_t k) {
    for (size_t left = k / 32, n; left > 0; left -= n, out += n, x += 32 * n) {
        n = left < BATCH * BATCHES ? left : BATCH * BATCHES;
        quantize_batches(out, x, n);
    }
}

/* ---- elementwise -------------------------------------------------------------------------- */

void sm_rms_norm_avx512(float *y, const float *x, const float *w, size_t n, float eps) {
    __m512d sum[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        sum[j] = _mm512_setzero_pd();
    }
    for (size_t i = 0; i < n; i += 32) {
        UNROLL
        for (size_t j = 0; j < 2; j++) {
            const size_t at = i + 16 * j;
            const __mmask16 mask = at < n ? lanes_at(at, n) : 0;
            const __m512 v = _mm512_maskz_loadu_ps(mask, x + at);
            const __m512d low = low_double(v), high = high_double(v);
            sum[2 * j] = _mm512_fmadd_pd(low, low, sum[2 * j]);
            sum[2 * j + 1] = _mm512_fmadd_pd(high, high, sum[2 * j + 1]);
        }
    }
    const double total =
        sum8(_mm512_add_pd(_mm512_add_pd(sum[0], sum[1]), _mm512_add_pd(sum[2], sum[3])));
    const double mean = total / (double)n;
    const __m512 scale = _mm512_set1_ps((float)(1 / sqrt(mean + (double)eps)));
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale);
        if (w != NULL) {
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, w + i));
        }
        _mm512_mask_storeu_ps(y + i, mask, v);
    }
}

/* Sixteen at a time, without the instructions that BF16 has for it. */
void sm_round_bf16_avx512(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        _mm256_mask_storeu_epi16(y + i, mask, to_bf16(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

void sm_add_avx512(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 sum =
            _mm512_add_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i));
        _mm512_mask_storeu_ps(y + i, mask, sum);
    }
}

void sm_scale_avx512(float *y, const float *x, float a, size_t n) {
    const __m512 scale = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(scale, v));
    }
}

void sm_silu_mul_avx512(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 g = _mm512_maskz_loadu_ps(mask, gate + i);
        const __m512 u = up != NULL ? _mm512_maskz_loadu_ps(mask, up + i) : _mm512_set1_ps(1);
        const __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), g));
        const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(e, _mm512_set1_ps(1)));
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(silu, u));
    }
}

INLINE void rotate(__m512 *a, __m512 *b, __m512 c, __m512 s) {
    const __m512 old = *a;
    *a = _mm512_fmsub_ps(old, c, _mm512_mul_ps(*b, s));
    *b = _mm512_fmadd_ps(old, s, _mm512_mul_ps(*b, c));
}

INLINE void rope_halves(float *x, const float *cos, const float *sin, size_t pairs) {
    for (size_t i = 0; i < pairs; i += 16) {
        const __mmask16 mask = lanes_at(i, pairs);
        __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
        __m512 b = _mm512_maskz_loadu_ps(mask, x + pairs + i);
        rotate(&a, &b, _mm512_maskz_loadu_ps(mask, cos + i), _mm512_maskz_loadu_ps(mask, sin + i));
        _mm512_mask_storeu_ps(x + i, mask, a);
        _mm512_mask_storeu_ps(x + pairs + i, mask, b);
    }
}

INLINE void rope_neighbours(float *x, const float *cos, const float *sin, size_t pairs) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for (size_t i = 0; i < pairs; i += 16) {
        const size_t left = pairs - i;
        const bool second = left > 8; /* else not even asked for: its page may never have been */
        const __mmask16 mask = lanes_at(i, pairs);
        const __mmask16 mask0 = second ? (__mmask16)0xffff : lanes(2 * left);
        const __mmask16 mask1 = second ? lanes_at(16, 2 * left) : 0;
        float *at = x + 2 * i;
        const __m512 v0 = _mm512_maskz_loadu_ps(mask0, at);
        const __m512 v1 = second ? _mm512_maskz_loadu_ps(mask1, at + 16) : _mm512_setzero_ps();
        __m512 a = _mm512_permutex2var_ps(v0, even, v1), b = _mm512_permutex2var_ps(v0, odd, v1);
        rotate(&a, &b, _mm512_maskz_loadu_ps(mask, cos + i), _mm512_maskz_loadu_ps(mask, sin + i));
        _mm512_mask_storeu_ps(at, mask0, _mm512_permutex2var_ps(a, low, b));
        if (second)
            _mm512_mask_storeu_ps(at + 16, mask1, _mm512_permutex2var_ps(a, high, b));
    }
}

void sm_rope_avx512(float *x, const float *cos, const float *sin, size_t n_rot, bool neox) {
    if (neox) {
        rope_halves(x, cos, sin, n_rot / 2);
    } else {
        rope_neighbours(x, cos, sin, n_rot / 2);
    }
}

/* ---- attention rows, logits ------------------------------------------------------------------ */

/* Vectors i, i+4, ... share an accumulator, whole ones in fours first: the order of l. */
void sm_softmax_block_avx512(float *s, size_t n, float scale, float *m, float *l) {
    const __m512 by = _mm512_set1_ps(scale);
    __m512 most[4], sum[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        most[j] = _mm512_set1_ps(-INFINITY);
        sum[j] = _mm512_setzero_ps();
    }
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            most[j] = _mm512_max_ps(_mm512_mul_ps(_mm512_loadu_ps(s + i + 16 * j), by), most[j]);
        }
    }
    for (; i < n; i += 16) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(s + i), by);
        most[0] = _mm512_mask_max_ps(most[0], lanes_at(i, n), v, most[0]);
    }
    *m = max_of(most);
    const __m512 max = _mm512_set1_ps(*m);
    for (i = 0; i + 64 <= n; i += 64) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            float *at = s + i + 16 * j;
            const __m512 e = exp16(_mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(at), by), max));
            sum[j] = _mm512_add_ps(sum[j], e);
            _mm512_storeu_ps(at, e);
        }
    }
    for (; i < n; i += 16) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(s + i), by);
        const __m512 e = _mm512_maskz_mov_ps(lanes_at(i, n), exp16(_mm512_sub_ps(v, max)));
        sum[0] = _mm512_add_ps(sum[0], e);
        _mm512_storeu_ps(s + i, e);
    }
    *l = sum16(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

void sm_attn_merge_avx512(float *O, float *M, float *L, const float *o, float m, float l,
                          size_t n) {
    const float max = *M > m ? *M : m;
    const float a = exp1(*M - max), b = exp1(m - max);
    const __m512 av = _mm512_set1_ps(a), bv = _mm512_set1_ps(b);
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 old = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, O + i), av);
        const __m512 more = _mm512_maskz_loadu_ps(mask, o + i);
        _mm512_mask_storeu_ps(O + i, mask, _mm512_fmadd_ps(more, bv, old));
    }
    *L = fmaf(l, b, *L * a);
    *M = max;
}

size_t sm_argmax_avx512(const float *x, size_t n) {
    __m512 most[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        most[j] = _mm512_set1_ps(-INFINITY);
    }
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        UNROLL
        for (int j = 0; j < 4; j++) { /* of a NaN and a number max gives the second operand */
            most[j] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * j), most[j]);
        }
    }
    for (; i < n; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(lanes_at(i, n), x + i);
        most[0] = _mm512_mask_max_ps(most[0], lanes_at(i, n), v, most[0]);
    }
    const __m512 max = _mm512_set1_ps(max_of(most));
    for (i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        const __mmask16 hit = _mm512_mask_cmp_ps_mask(mask, v, max, _CMP_EQ_OQ);
        if (hit != 0) {
            return i + (size_t)__builtin_ctz(hit);
        }
    }
    return 0; /* nothing but NaN */
}

double sm_sum_exp_avx512(const float *x, size_t n, float m) {
    const __m512 max = _mm512_set1_ps(m);
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), max);
        const __m512 e = _mm512_maskz_mov_ps(mask, exp16(v));
        low = _mm512_add_pd(low, low_double(e));
        high = _mm512_add_pd(high, high_double(e));
    }
    return sum8(_mm512_add_pd(low, high));
}

/* ---- choosing tokens ------------------------------------------------------------------------- */

void sm_block_max_avx512(float *out, const float *x, size_t n, size_t block) {
    for (size_t begin = 0; begin < n; begin += block) {
        const size_t end = n - begin < block ? n : begin + block;
        __m512 most[4];
        UNROLL
        for (int j = 0; j < 4; j++) {
            most[j] = _mm512_set1_ps(-INFINITY);
        }
        size_t i = begin;
        for (; i + 64 <= end; i += 64) {
            UNROLL
            for (int j = 0; j < 4; j++) {
                most[j] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * j), most[j]);
            }
        }
        for (; i < end; i += 16) {
            const __mmask16 mask = lanes_at(i, end);
            const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
            most[0] = _mm512_mask_max_ps(most[0], mask, v, most[0]);
        }
        out[begin / block] = max_of(most);
    }
}

size_t sm_select_avx512(uint32_t *index, const float *x, size_t n, float least) {
    const __m512 limit = _mm512_set1_ps(least);
    const __m512i step = _mm512_set1_epi32(16);
    __m512i at = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    size_t m = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        const __mmask16 hit = _mm512_mask_cmp_ps_mask(mask, v, limit, _CMP_GE_OQ);
        if (hit != 0) {
            /* packed in a register: storing what is packed is slow on some CPUs */
            const unsigned count = (unsigned)__builtin_popcount(hit);
            const __m512i packed = _mm512_maskz_compress_epi32(hit, at);
            _mm512_mask_storeu_epi32(index + m, (__mmask16)((1u << count) - 1), packed);
            m += count;
        }
        at = _mm512_add_epi32(at, step);
    }
    return m;
}

void sm_mask_avx512(float *y, const float *x, const uint32_t *mask, size_t n) {
    const __m512 none = _mm512_set1_ps(-INFINITY);
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 some = lanes_at(i, n);
        const __mmask16 keep = (__mmask16)(mask[i / 32] >> (i % 32));
        const __m512 v = _mm512_maskz_loadu_ps(some, x + i);
        _mm512_mask_storeu_ps(y + i, some, _mm512_mask_mov_ps(none, keep, v));
    }
}

double sm_weigh_avx512(float *e, const float *x, size_t n, float m, float scale) {
    const __m512 max = _mm512_set1_ps(m), by = _mm512_set1_ps(scale);
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_at(i, n);
        const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), max);
        const __m512 w = _mm512_maskz_mov_ps(mask, exp16(_mm512_mul_ps(v, by)));
        _mm512_mask_storeu_ps(e + i, mask, w);
        low = _mm512_add_pd(low, low_double(w));
        high = _mm512_add_pd(high, high_double(w));
    }
    return sum8(_mm512_add_pd(low, high));
}
