/* Watermarks: Kirchenbauer et al., "A watermark for large language models", arXiv:2301.10226. A
 * function of the tokens before and of a key parts the vocabulary into green tokens and others;
 * those are chosen more often (algorithm 2, "soft red list"; self-seeding is algorithm 3), and a
 * text in which they are too many was generated with that key.
 *
 * Each token is green by a hash of its own, so that one is looked at without the others: gamma is
 * the part of green ones on average, which is what the test of the detector assumes.
 */
#include "sample.h"

#include <math.h>
#include <string.h>

#define MOST_WIDTH 16

sm_status sm_watermark_take(sm_watermark *to, const sm_watermark *from, sm_error *error) {
    sm_status status = sm_options_take(to, sizeof *to, from, SM_OPTIONS_WATERMARK, error);
    if (status)
        return status;
    if (to->gamma >= 1)
        return sm_fail(error, SM_ERR_ARGUMENT, "option gamma is 1: all tokens would be green");
    if (!to->width)
        to->width = to->seeding == SM_WATERMARK_SELF ? 4 : 1;
    return SM_OK;
}

/* Of the key and a token. */
static uint64_t keyed(uint64_t key, int32_t id) {
    return sm_mix64(key ^ sm_mix64((uint64_t)(uint32_t)id));
}

/* What the tokens before have to do with it: a seed, or with self-seeding a hash of each. */
typedef struct seeds {
    bool self;
    uint32_t n;
    uint64_t value[MOST_WIDTH];
    double below; /* hashes under it are green */
} seeds;

static void set_seeds(seeds *s, const sm_watermark *w, const int32_t *ids, uint64_t length) {
    s->self = w->seeding == SM_WATERMARK_SELF;
    s->n = s->self ? w->width : 1;
    s->below = w->gamma * 0x1p64;
    s->value[0] = w->key;
    for (uint32_t i = 0; i < w->width; i++) {
        const int32_t id = ids[length - 1 - i];
        if (s->self)
            s->value[i] = keyed(w->key, id);
        else
            s->value[0] = keyed(s->value[0], id); /* in their order */
    }
}

static bool is_green(const seeds *s, int32_t id) {
    uint64_t least = UINT64_MAX;
    const uint64_t own = (uint64_t)(uint32_t)id * 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < s->n; i++) {
        const uint64_t h = sm_mix64(s->value[i] ^ own);
        least = h < least ? h : least;
    }
    return (double)(s->self ? sm_mix64(least) : least) < s->below; /* a least one is small */
}

void sm_watermark_mark(const sm_watermark *w, float *logits, uint32_t n_vocab, const int32_t *ids,
                       uint64_t length) {
    seeds s;
    if (length < w->width)
        return;
    set_seeds(&s, w, ids, length);
    for (uint32_t id = 0; id < n_vocab; id++)
        if (is_green(&s, (int32_t)id))
            logits[id] = (float)((double)logits[id] + w->delta);
}

/* ---- detecting ------------------------------------------------------------------------------- */

/* Puts a hash that is not 0 into a table of `size`, a power of two; false: it was there. */
static bool put(uint64_t *table, uint64_t size, uint64_t hash) {
    uint64_t i = hash & (size - 1);
    while (table[i] && table[i] != hash)
        i = (i + 1) & (size - 1);
    const bool fresh = !table[i];
    table[i] = hash;
    return fresh;
}

/* Of a token and those before that seed it. */
static uint64_t hash_of(const sm_watermark *w, const int32_t *ids, uint64_t at) {
    uint64_t h = 0;
    for (uint64_t i = at - w->width; i <= at; i++)
        h = sm_mix64(h ^ (uint64_t)(uint32_t)ids[i]);
    return h ? h : 1;
}

static void score(const sm_watermark *w, const int32_t *ids, uint64_t n, uint64_t *table,
                  uint64_t size, sm_watermark_score *out) {
    seeds s;
    for (uint64_t i = w->width; i < n; i++) {
        if (!put(table, size, hash_of(w, ids, i))) {
            out->n_repeated++;
            continue;
        }
        set_seeds(&s, w, ids, i);
        out->n_scored++;
        out->n_green += is_green(&s, ids[i]);
    }
    const double scored = (double)out->n_scored, g = w->gamma;
    if (out->n_scored)
        out->z = ((double)out->n_green - g * scored) / sqrt(scored * g * (1 - g));
    out->p = 0.5 * erfc(out->z / sqrt(2));
}

static const sm_wide score_wide[] = {SM_WIDE_FROM(sm_watermark_score, n_scored), {0, 0, 0}};

sm_status sm_watermark_detect(const sm_watermark *watermark, const int32_t *ids, uint64_t n,
                              sm_watermark_score *out, sm_error *error) {
    sm_watermark w;
    sm_watermark_score full = {0};
    if (!ids && n)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_watermark_detect: ids is NULL");
    sm_status status = sm_struct_check(out, sizeof full, score_wide, "sm_watermark_detect", error);
    if (!status)
        status = sm_watermark_take(&w, watermark, error);
    if (status)
        return status;
    if (n > UINT64_MAX / 64)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for the tokens of a text");
    uint64_t size = 64;
    while (size < 2 * n)
        size *= 2;
    sm_mem *mem;
    status = sm_mem_create(&mem, NULL, 0, error);
    if (status)
        return status;
    uint64_t *table = size > UINT64_MAX / 8 ? NULL : sm_alloc_zero(mem, size * sizeof *table);
    if (table)
        score(&w, ids, n, table, size, &full);
    else
        status = sm_fail(error, SM_ERR_NOMEM, "out of memory for the tokens of a text");
    sm_free(mem, table);
    sm_mem_destroy(mem);
    return status
               ? status
               : sm_struct_give(out, &full, sizeof full, score_wide, "sm_watermark_detect", error);
}
