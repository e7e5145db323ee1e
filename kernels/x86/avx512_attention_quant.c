/* avx512_attention_quant.c - attention over one block of a quantized KV cache on AVX-512.
 *
 * vpdpbusd multiplies unsigned by signed bytes. Scores: the codes of K become unsigned by
 * adding 128, or are numbers that stand for codes 8 or 16 less, which the sums start from taking
 * back. Values: the two bytes of a weight are unsigned as they are, and have a sum each.
 * Functions are templates over the cache's type.
 */
#include <math.h>

#include "avx512.h"

#define MOST_TILES 8
#define MOST_QUERIES 6
#define AHEAD 4096 /* bytes from what is read to what is prefetched */

INLINE __m512i broadcast_word(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

/* Sums are vectors of int32 by type: gcc copies an __m512i that a loop carries between two
 * registers at every step. */
INLINE i32x16 add_products(i32x16 sum, __m512i a, __m512i b) {
    return (i32x16)_mm512_dpbusd_epi32((__m512i)sum, a, b);
}

/* Vectors of codes that one of bytes holds. */
INLINE int vectors_of(const uint32_t type) {
    return type == SM_KV_Q8_0 ? 1 : 2;
}

/* bits: the 64 of this vector, read for q5_0. */
INLINE __mmask64 load_mask(const uint8_t *bits) {
    uint64_t mask;
    memcpy(&mask, bits, sizeof mask);
    return _cvtu64_mask64(mask);
}

INLINE __m512i numbers_of(const int part, __m512i bytes) {
    return _mm512_and_si512(part ? _mm512_srli_epi16(bytes, 4) : bytes, bytes64(15));
}

INLINE __m512i lookup(const int8_t *table, __m512i numbers) {
    const __m512i all = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
    return _mm512_shuffle_epi8(all, numbers);
}

/* Vector `part` of codes, from `bytes`; table: what the numbers of types of 4 bits stand for. */
INLINE __m512i signed_codes(const uint32_t type, const int8_t *table, const int part, __m512i bytes,
                            const uint8_t *bits) {
    if (type == SM_KV_Q8_0) {
        return bytes;
    }
    const __m512i low = numbers_of(part, bytes);
    if (type == SM_KV_Q5_0) {
        return _mm512_mask_sub_epi8(low, _knot_mask64(load_mask(bits)), low, bytes64(16));
    }
    return lookup(table, low);
}

/* The same made unsigned; what that adds is taken back by beginning with unsigned_start. */
INLINE __m512i unsigned_codes(const uint32_t type, const int part, __m512i bytes,
                              const uint8_t *bits) {
    if (type == SM_KV_Q4_0) {
        return numbers_of(part, bytes);
    }
    if (type == SM_KV_Q5_0) {
        const __m512i low = numbers_of(part, bytes);
        return _mm512_mask_add_epi8(low, load_mask(bits), low, bytes64(16));
    }
    return _mm512_xor_si512(signed_codes(type, SM_IQ4_VALUES, part, bytes, bits), bytes64(-128));
}
INLINE int32_t unsigned_start(const uint32_t type, const sm_act_block *q) {
    return type == SM_KV_Q4_0 ? 8 * q->nsum : type == SM_KV_Q5_0 ? 16 * q->nsum : q->nsum128;
}

/* ---- scores ---------------------------------------------------------------------------- */

/* nv tiles times nq queries. */
INLINE void scores_tile(const uint32_t type, const int nv, const int nq, float *s, size_t lds,
                        const sm_act_block *q, size_t ldq, const uint8_t *k, size_t head_dim) {
    const size_t tile_bytes = sm_kv_tile_bytes(type, head_dim);
    const uint8_t *scales = k + sm_kv_scales_at(type, head_dim), *bits = k + 8 * head_dim;
    const int parts = vectors_of(type);
    __m512 sum[MOST_TILES][MOST_QUERIES];
    UNROLL
    for (int v = 0; v < nv; v++) {
        UNROLL
        for (int i = 0; i < nq; i++) {
            sum[v][i] = _mm512_setzero_ps();
        }
    }
    for (size_t left = head_dim; left > 0; q++, scales += 32) {
        const size_t n = left < 32 ? left : 32;
        i32x16 dot[MOST_TILES][MOST_QUERIES];
        UNROLL
        for (int i = 0; i < nq; i++) {
            const i32x16 start =
                (i32x16)_mm512_set1_epi32(unsigned_start(type, &q[(size_t)i * ldq]));
            UNROLL
            for (int v = 0; v < nv; v++) {
                dot[v][i] = start;
            }
        }
        for (size_t d = 0; d < n; d += 4 * (size_t)parts, k += 64) {
            __m512i bytes[MOST_TILES];
            UNROLL
            for (int v = 0; v < nv; v++) {
                const uint8_t *from = k + (size_t)v * tile_bytes;
                _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
                bytes[v] = _mm512_loadu_si512(from);
            }
            UNROLL
            for (int part = 0; part < parts; part++, bits += 8) {
                __m512i codes[MOST_TILES];
                UNROLL
                for (int v = 0; v < nv; v++) {
                    codes[v] = unsigned_codes(type, part, bytes[v], bits + (size_t)v * tile_bytes);
                }
                UNROLL
                for (int i = 0; i < nq; i++) {
                    const __m512i x = broadcast_word(q[(size_t)i * ldq].q + d + 4 * part);
                    UNROLL
                    for (int v = 0; v < nv; v++) {
                        dot[v][i] = add_products(dot[v][i], codes[v], x);
                    }
                }
            }
        }
        UNROLL
        for (int v = 0; v < nv; v++) {
            const uint8_t *from = scales + (size_t)v * tile_bytes;
            const __m512 scale = load_f16(from);
            _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
            UNROLL
            for (int i = 0; i < nq; i++) {
                const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(q[(size_t)i * ldq].d));
                sum[v][i] =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)dot[v][i]), both, sum[v][i]);
            }
        }
        left -= n;
    }
    UNROLL
    for (int v = 0; v < nv; v++) {
        UNROLL
        for (int i = 0; i < nq; i++) {
            _mm512_storeu_ps(s + (size_t)i * lds + 16 * (size_t)v, sum[v][i]);
        }
    }
}

/* nq queries times all tiles, nv at a time. */
INLINE void scores_row(const uint32_t type, const int nv, const int nq, float *s, size_t lds,
                       const sm_act_block *q, size_t ldq, const uint8_t *k, size_t n_tiles,
                       size_t head_dim) {
    const size_t tile_bytes = sm_kv_tile_bytes(type, head_dim);
    for (; n_tiles >= (size_t)nv; n_tiles -= (size_t)nv) {
        scores_tile(type, nv, nq, s, lds, q, ldq, k, head_dim);
        s += 16 * nv;
        k += (size_t)nv * tile_bytes;
    }
    for (; n_tiles > 0; n_tiles--) {
        scores_tile(type, 1, nq, s, lds, q, ldq, k, head_dim);
        s += 16;
        k += tile_bytes;
    }
}

INLINE void scores(const uint32_t type, float *s, size_t lds, const void *queries, size_t ldq,
                   size_t nq, const void *k, size_t n_tiles, size_t head_dim) {
    const sm_act_block *q = queries;
    const int most = type == SM_KV_Q8_0 ? MOST_QUERIES : MOST_QUERIES - 1;
    for (; nq >= (size_t)most; nq -= (size_t)most) {
        scores_row(type, 2, most, s, lds, q, ldq, k, n_tiles, head_dim);
        s += (size_t)most * lds;
        q += (size_t)most * ldq;
    }
    switch (nq) {
    case 1:
        scores_row(type, type == SM_KV_Q8_0 ? 8 : 4, 1, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 2:
        scores_row(type, 4, 2, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 3:
        scores_row(type, type == SM_KV_Q8_0 ? 4 : 2, 3, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 4:
        scores_row(type, 2, 4, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    case 5:
        scores_row(type, 2, 5, s, lds, q, ldq, k, n_tiles, head_dim);
        break;
    default:
        break;
    }
}

/* ---- values ---------------------------------------------------------------------------- */

/* The weights of some queries for one block of elements, rounded. Of four tokens: their low
 * bytes, their high bytes, 8 unused. */
typedef struct weights {
    uint8_t codes[MOST_QUERIES][4 * SM_KV_BLOCK];
    float unit[MOST_QUERIES]; /* what 1 is worth */
} weights;

/* Scales of one block of elements, of each token: their magnitudes; -1 where q4_0, q5_0 and iq4_nl
 * have one below 0, whose codes are then taken to be of the other sign. */
typedef struct scales {
    float magnitude[SM_KV_BLOCK];
    int8_t sign[SM_KV_BLOCK];
    float damage; /* NaN if one of them is, else 0 */
} scales;

/* 16 weights times their tokens' scales; returns the larger of them and most. */
INLINE __m512 scaled(float *w, __m512 p, const float *scale, __m512 most) {
    const __m512 product = _mm512_mul_ps(p, _mm512_loadu_ps(scale));
    _mm512_storeu_ps(w, product);
    return _mm512_max_ps(most, product);
}

/* Of n queries; step by step for all, so that no step waits for the one before. */
static void round_weights(weights *out, const float *p, size_t ldp, size_t n, const scales *of,
                          size_t n_tokens) {
    const float *scale = of->magnitude;
    float w[MOST_QUERIES][SM_KV_BLOCK], inverse[MOST_QUERIES];
    const __m512i bytes_apart = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    for (size_t i = 0; i < n; i++, p += ldp) {
        __m512 most = _mm512_setzero_ps();
        size_t t = 0;
        for (; n_tokens - t >= 16; t += 16) {
            most = scaled(w[i] + t, _mm512_loadu_ps(p + t), scale + t, most);
        }
        if (t < n_tokens) {
            const __mmask16 mask = lanes(n_tokens - t);
            most = scaled(w[i] + t, _mm512_maskz_loadu_ps(mask, p + t), scale + t, most);
        }
        const float top = _mm512_reduce_max_ps(most);
        out->unit[i] = of->damage + (top < 1e-30f ? 0 : top / SM_KV_WEIGHT_MAX);
        inverse[i] = top < 1e-30f ? 0 : SM_KV_WEIGHT_MAX / top;
    }
    for (size_t i = 0; i < n; i++) {
        const __m512 inv = _mm512_set1_ps(inverse[i]);
        for (size_t t = 0; t < n_tokens; t += 16) {
            const __m512i r = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(w[i] + t), inv));
            _mm512_storeu_si512(out->codes[i] + 4 * t, _mm512_shuffle_epi8(r, bytes_apart));
        }
    }
}

/* The scales of block b of the tiles that hold n_tokens tokens. */
INLINE void widen_scales(const uint32_t type, scales *out, const uint8_t *v, size_t b,
                         size_t n_tokens, size_t head_dim) {
    __mmask16 damaged = 0;
    v += sm_kv_scales_at(type, head_dim) + 32 * b;
    for (size_t t = 0; t < n_tokens; t += 16, v += sm_kv_tile_bytes(type, head_dim)) {
        const __m512 x = load_f16(v);
        damaged |= _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
        _mm512_storeu_ps(out->magnitude + t, _mm512_abs_ps(x));
        if (type != SM_KV_Q8_0) {
            const __m512i sign = _mm512_srai_epi32(_mm512_castps_si512(x), 31);
            _mm_storeu_si128((__m128i *)(out->sign + t), _mm512_cvtepi32_epi8(sign));
        }
    }
    out->damage = damaged ? NAN : 0;
}

/* nv vectors of 16 elements times nq queries; `last` is the mask of the last vector. v: the
 * first of them in the first tile, d of the head's. lines: of each load's tokens to prefetch. */
INLINE void values_tile(const uint32_t type, const int8_t *table, const int nv, const int nq,
                        float *o, size_t ldo, const weights *p, const scales *of, const uint8_t *v,
                        size_t d, size_t n_tokens, size_t head_dim, __mmask16 last, size_t lines) {
    i32x16 low[2][MOST_QUERIES], high[2][MOST_QUERIES];
    UNROLL
    for (int i = 0; i < nq; i++) {
        UNROLL
        for (int x = 0; x < nv; x++) {
            low[x][i] = high[x][i] = (i32x16){0};
        }
    }
    const size_t tile_bytes = sm_kv_tile_bytes(type, head_dim);
    const int parts = vectors_of(type);
    const size_t step = 4 * (size_t)parts; /* tokens of a load */
    const uint8_t *quad = v, *bits = v - 4 * d + 8 * head_dim + d / 2;
    for (size_t t = 0; t < n_tokens; t += step) {
        __m512i bytes[2];
        for (size_t i = 0; i < lines; i++) {
            _mm_prefetch((const char *)quad + 64 * i + AHEAD, _MM_HINT_T0);
        }
        UNROLL
        for (int x = 0; x < nv; x++) {
            const __mmask16 mask = x + 1 < nv ? (__mmask16)0xffff : last;
            bytes[x] = _mm512_maskz_loadu_epi32(mask, quad + 64 * x);
        }
        UNROLL
        for (int part = 0; part < parts; part++, bits += head_dim / 2) {
            __m512i codes[2];
            UNROLL
            for (int x = 0; x < nv; x++) { /* the last mask may end in what follows the bits */
                codes[x] = signed_codes(type, table, part, bytes[x], bits + 8 * x);
                if (type != SM_KV_Q8_0) {
                    const __m512i sign = broadcast_word(of->sign + t + 4 * (size_t)part);
                    codes[x] = _mm512_sub_epi8(_mm512_xor_si512(codes[x], sign), sign);
                }
            }
            UNROLL
            for (int i = 0; i < nq; i++) {
                const uint8_t *w = p->codes[i] + 4 * (t + 4 * (size_t)part);
                const __m512i l = broadcast_word(w), h = broadcast_word(w + 4);
                UNROLL
                for (int x = 0; x < nv; x++) {
                    low[x][i] = add_products(low[x][i], l, codes[x]);
                    high[x][i] = add_products(high[x][i], h, codes[x]);
                }
            }
        }
        if (t % 16 == 16 - step) { /* scales follow */
            v += tile_bytes;
            quad = v;
            bits = v - 4 * d + 8 * head_dim + d / 2;
        } else {
            quad += 4 * head_dim;
        }
    }
    UNROLL
    for (int i = 0; i < nq; i++) {
        UNROLL
        for (int x = 0; x < nv; x++) {
            const __m512i sum = (__m512i)(high[x][i] * 256 + low[x][i]);
            const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(p->unit[i]));
            const __mmask16 mask = x + 1 < nv ? (__mmask16)0xffff : last;
            _mm512_mask_storeu_ps(o + (size_t)i * ldo + 16 * (size_t)x, mask, y);
        }
    }
}

/* One block of elements, of which there are `width`. */
INLINE void values_block(const uint32_t type, const int8_t *table, const int nq, float *o,
                         size_t ldo, const weights *p, const scales *of, const uint8_t *v, size_t d,
                         size_t n_tokens, size_t head_dim, size_t width, size_t lines) {
    if (width > 16) {
        values_tile(type, table, 2, nq, o, ldo, p, of, v, d, n_tokens, head_dim, lanes(width - 16),
                    lines);
    } else {
        values_tile(type, table, 1, nq, o, ldo, p, of, v, d, n_tokens, head_dim, lanes(width),
                    lines);
    }
}

INLINE void values(const uint32_t type, const int8_t *table, float *o, size_t ldo, const float *p,
                   size_t ldp, size_t nq, const void *v, size_t n_tokens, size_t head_dim) {
    weights w;
    scales of;
    for (size_t d = 0; d < head_dim; d += 32) {
        const size_t width = head_dim - d < 32 ? head_dim - d : 32;
        const uint8_t *codes = (const uint8_t *)v + 4 * d;
        widen_scales(type, &of, v, d / 32, n_tokens, head_dim);
        for (size_t i = 0; i < nq; i += MOST_QUERIES) {
            const size_t n = nq - i < MOST_QUERIES ? nq - i : MOST_QUERIES;
            /* the first pass brings what all read, with a line per tile for the scales */
            const size_t lines = d == 0 && i == 0 ? (4 * head_dim + 16 + 63) / 64 : 0;
            float *to = o + i * ldo + d;
            round_weights(&w, p + i * ldp, ldp, n, &of, n_tokens);
            switch (n) {
            case 1:
                values_block(type, table, 1, to, ldo, &w, &of, codes, d, n_tokens, head_dim, width,
                             lines);
                break;
            case 2:
                values_block(type, table, 2, to, ldo, &w, &of, codes, d, n_tokens, head_dim, width,
                             lines);
                break;
            case 3:
                values_block(type, table, 3, to, ldo, &w, &of, codes, d, n_tokens, head_dim, width,
                             lines);
                break;
            case 4:
                values_block(type, table, 4, to, ldo, &w, &of, codes, d, n_tokens, head_dim, width,
                             lines);
                break;
            case 5:
                values_block(type, table, 5, to, ldo, &w, &of, codes, d, n_tokens, head_dim, width,
                             lines);
                break;
            default:
                values_block(type, table, MOST_QUERIES, to, ldo, &w, &of, codes, d, n_tokens,
                             head_dim, width, lines);
                break;
            }
        }
    }
}

/* Types of 4 bits differ by their tables. */
__attribute__((noinline)) static void values_by(const int8_t *table, float *o, size_t ldo,
                                                const float *p, size_t ldp, size_t nq,
                                                const void *v, size_t n_tokens, size_t head_dim) {
    values(SM_KV_IQ4_NL, table, o, ldo, p, ldp, nq, v, n_tokens, head_dim);
}

#define SCORES(TYPE, name)                                                               \
    void sm_attn_scores_##name##_avx512(float *s, size_t lds, const void *q, size_t ldq, \
                                        size_t nq, const void *k, size_t n_tiles,        \
                                        size_t head_dim) {                               \
        scores(TYPE, s, lds, q, ldq, nq, k, n_tiles, head_dim);                          \
    }
SCORES(SM_KV_Q8_0, q8_0)
SCORES(SM_KV_Q4_0, q4_0)
SCORES(SM_KV_Q5_0, q5_0)
SCORES(SM_KV_IQ4_NL, iq4_nl)

static const int8_t four[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

#define VALUES(name, call)                                                                \
    void sm_attn_values_##name##_avx512(float *o, size_t ldo, const float *p, size_t ldp, \
                                        size_t nq, const void *v, size_t n_tokens,        \
                                        size_t head_dim) {                                \
        call;                                                                             \
    }
VALUES(q8_0, values(SM_KV_Q8_0, NULL, o, ldo, p, ldp, nq, v, n_tokens, head_dim))
VALUES(q4_0, values_by(four, o, ldo, p, ldp, nq, v, n_tokens, head_dim))
VALUES(q5_0, values(SM_KV_Q5_0, NULL, o, ldo, p, ldp, nq, v, n_tokens, head_dim))
VALUES(iq4_nl, values_by(SM_IQ4_VALUES, o, ldo, p, ldp, nq, v, n_tokens, head_dim))
