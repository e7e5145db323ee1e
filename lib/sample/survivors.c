/* Lists of tokens: cut, sorted, summed up. */
#include "survivors.h"

#include <math.h>
#include <string.h>

sm_status sm_sampler_new(sm_sampler **out, sm_mem *mem, const sm_kernels *kernels, uint32_t n_vocab,
                         uint32_t n_ctx, sm_error *error) {
    sm_sampler *s = *out = sm_alloc_zero(mem, sizeof *s);
    if (s) {
        s->mem = mem;
        s->kernels = kernels;
        s->n_vocab = n_vocab;
        s->n_ctx = n_ctx;
        s->x = sm_alloc_array(mem, n_vocab, sizeof *s->x);
        s->id = sm_alloc_array(mem, n_vocab, sizeof *s->id);
        s->counts = sm_alloc_zero(mem, n_vocab * sizeof *s->counts);
        s->pair[0] = sm_alloc_array(mem, n_vocab, sizeof *s->pair[0]);
        s->pair[1] = sm_alloc_array(mem, n_vocab, sizeof *s->pair[1]);
        s->maxima = sm_alloc_array(mem, n_vocab / SM_BLOCK + 1, sizeof *s->maxima);
        s->bins = sm_alloc_array(mem, SM_BINS, sizeof *s->bins);
        s->bin_sums = sm_alloc_array(mem, SM_BINS, sizeof *s->bin_sums);
        s->matches = sm_alloc_array(mem, (uint64_t)n_ctx + 1, sizeof *s->matches);
    }
    if (s && s->x && s->id && s->counts && s->pair[0] && s->pair[1] && s->maxima && s->bins &&
        s->bin_sums && s->matches)
        return SM_OK;
    sm_sampler_free(s);
    *out = NULL;
    return sm_fail(error, SM_ERR_NOMEM, "out of memory for choosing among %u tokens", n_vocab);
}

void sm_sampler_free(sm_sampler *s) {
    if (!s)
        return;
    sm_free(s->mem, s->x);
    sm_free(s->mem, s->id);
    sm_free(s->mem, s->counts);
    sm_free(s->mem, s->pair[0]);
    sm_free(s->mem, s->pair[1]);
    sm_free(s->mem, s->maxima);
    sm_free(s->mem, s->bins);
    sm_free(s->mem, s->bin_sums);
    sm_free(s->mem, s->matches);
    sm_free(s->mem, s);
}

/* ---- pairs of logit and id ---------------------------------------------------------------- */

static sm_ranked pair_of(float x, int32_t id) {
    uint32_t bits;
    x += 0.0f; /* no -0 */
    memcpy(&bits, &x, sizeof bits);
    bits ^= bits >> 31 ? 0 : 0x7fffffffu; /* rises while x falls */
    return (uint64_t)bits << 32 | (uint32_t)id;
}

float sv_pair_logit(sm_ranked pair) {
    uint32_t bits = (uint32_t)(pair >> 32);
    float x;
    bits ^= bits >> 31 ? 0 : 0x7fffffffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void sort_few(sm_ranked *a, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        const sm_ranked pair = a[i];
        uint32_t j = i;
        for (; j > 0 && a[j - 1] > pair; j--)
            a[j] = a[j - 1];
        a[j] = pair;
    }
}

/* Sorts a[n] by logits; equals stay in their order, which is that of the ids. b[n] is scratch; the
 * number of passes that do something may be odd, and then the result is copied back. */
static void sort_pairs(sm_ranked *a, sm_ranked *b, uint32_t n) {
    if (n <= 48) {
        sort_few(a, n);
        return;
    }
    uint32_t counts[4][256] = {{0}};
    sm_ranked *from = a, *to = b;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t digit = 0; digit < 4; digit++)
            counts[digit][a[i] >> (32 + 8 * digit) & 255]++;
    for (uint32_t digit = 0; digit < 4; digit++) {
        uint32_t *count = counts[digit], sum = 0;
        if (count[from[0] >> (32 + 8 * digit) & 255] == n)
            continue; /* all have this digit */
        for (uint32_t i = 0; i < 256; i++) {
            const uint32_t here = count[i];
            count[i] = sum;
            sum += here;
        }
        for (uint32_t i = 0; i < n; i++)
            to[count[from[i] >> (32 + 8 * digit) & 255]++] = from[i];
        sm_ranked *swap = from;
        from = to;
        to = swap;
    }
    if (from != a)
        memcpy(a, from, n * sizeof *a);
}

static uint32_t all_pairs(const sm_survivors *l, sm_ranked *pairs) {
    for (uint32_t i = 0; i < l->n; i++)
        pairs[i] = pair_of(l->x[i], sv_id(l, i));
    return l->n;
}

void sv_take_pairs(sm_survivors *l, uint32_t n) {
    const sm_ranked *pairs = l->s->pair[0];
    for (uint32_t i = 0; i < n; i++) {
        l->s->x[i] = sv_pair_logit(pairs[i]);
        l->s->id[i] = sv_pair_id(pairs[i]);
    }
    l->x = l->s->x;
    l->id = l->s->id;
    l->n = n;
    l->sorted = true;
}

/* ---- the best ------------------------------------------------------------------------------ */

/* Of blocks of x, the k-th largest maximum: k logits at least are not below it. */
static float kth_maximum(const sm_survivors *l, uint32_t n_blocks, uint32_t k) {
    sm_sampler *s = l->s;
    s->kernels->block_max(s->maxima, l->x, l->n, SM_BLOCK);
    for (uint32_t i = 0; i < n_blocks; i++)
        s->pair[0][i] = pair_of(s->maxima[i], (int32_t)i);
    sort_pairs(s->pair[0], s->pair[1], n_blocks);
    return sv_pair_logit(s->pair[0][k - 1]);
}

/* Pairs of those at or above `least`, of blocks that have such. */
static uint32_t pairs_above(const sm_survivors *l, uint32_t n_blocks, float least) {
    sm_sampler *s = l->s;
    uint32_t m = 0;
    for (uint32_t block = 0; block < n_blocks; block++) {
        if (s->maxima[block] < least)
            continue;
        const uint32_t end = min_u32((block + 1) * SM_BLOCK, l->n);
        for (uint32_t i = block * SM_BLOCK; i < end; i++)
            if (l->x[i] >= least)
                s->pair[0][m++] = pair_of(l->x[i], sv_id(l, i));
    }
    return m;
}

/* A logit that k of many logits reach, and few more than that: the edge of a bin of their bits. */
static float kth_edge(const sm_survivors *l, uint32_t k) {
    uint32_t *counts = (uint32_t *)l->s->pair[1], bin = 0, sum = 0;
    memset(counts, 0, SM_BINS * sizeof *counts);
    for (uint32_t i = 0; i < l->n; i++)
        counts[pair_of(l->x[i], 0) >> 53]++;
    while ((sum += counts[bin]) < k)
        bin++;
    const float edge = sv_pair_logit((sm_ranked)((uint64_t)bin << 53 | 0x1fffffull << 32));
    return isnan(edge) ? -INFINITY : edge;
}

/* Pairs of all at or above `least`, by id. */
static uint32_t pairs_selected(const sm_survivors *l, float least) {
    sm_sampler *s = l->s;
    uint32_t *index = (uint32_t *)s->pair[1];
    const uint32_t m = (uint32_t)s->kernels->select(index, l->x, l->n, least);
    for (uint32_t i = 0; i < m; i++)
        s->pair[0][i] = pair_of(l->x[index[i]], sv_id(l, index[i]));
    return m;
}

uint32_t sv_best(const sm_survivors *l, uint32_t k) {
    sm_sampler *s = l->s;
    const uint32_t n_blocks = (l->n + SM_BLOCK - 1) / SM_BLOCK;
    uint32_t m;
    k = min_u32(k, l->n);
    if (l->sorted)
        return min_u32(all_pairs(l, s->pair[0]), k);
    if (k <= n_blocks / 4)
        m = pairs_above(l, n_blocks, kth_maximum(l, n_blocks, k));
    else if (l->n > SM_FEW && k < l->n)
        m = pairs_selected(l, kth_edge(l, k));
    else
        m = all_pairs(l, s->pair[0]);
    sort_pairs(s->pair[0], s->pair[1], m);
    m = min_u32(m, k);
    while (m > 1 && sv_pair_logit(s->pair[0][m - 1]) == -INFINITY)
        m--;
    return m;
}

/* Keeps the best alone. */
static void keep_one(sm_survivors *l) {
    const uint32_t i = (uint32_t)l->s->kernels->argmax(l->x, l->n);
    l->s->x[0] = l->x[i];
    l->s->id[0] = sv_id(l, i);
    l->x = l->s->x;
    l->id = l->s->id;
    l->n = 1;
    l->sorted = true;
}

void sv_keep_best(sm_survivors *l, uint32_t k) {
    if (l->sorted)
        sv_shorten(l, k);
    else if (k == 1)
        keep_one(l);
    else
        sv_take_pairs(l, sv_best(l, k));
}

void sv_sort(sm_survivors *l) {
    if (!l->sorted)
        sv_take_pairs(l, sv_best(l, l->n));
}

void sv_set_pair(sm_survivors *l, uint32_t i, float x) {
    l->s->pair[0][i] = pair_of(x, (int32_t)i);
}

void sv_sort_pairs(sm_survivors *l, uint32_t n) {
    sort_pairs(l->s->pair[0], l->s->pair[1], n);
}

void sv_sort_by_id(sm_survivors *l) {
    sm_ranked *pairs = l->s->pair[0];
    for (uint32_t i = 0; i < l->n; i++)
        pairs[i] = (uint64_t)l->id[i] << 32 | pair_of(l->x[i], 0) >> 32;
    sort_pairs(pairs, l->s->pair[1], l->n);
    for (uint32_t i = 0; i < l->n; i++) {
        l->s->id[i] = (int32_t)(pairs[i] >> 32);
        l->s->x[i] = sv_pair_logit(pairs[i] << 32);
    }
    l->sorted = false;
}

/* ---- cutting -------------------------------------------------------------------------------- */

float *sv_own(sm_survivors *l) {
    if (l->x != l->s->x)
        memcpy(l->s->x, l->x, l->n * sizeof *l->x);
    l->x = l->s->x;
    return l->s->x;
}

float sv_top(const sm_survivors *l) {
    return l->sorted ? l->x[0] : l->x[l->s->kernels->argmax(l->x, l->n)];
}

void sv_shorten(sm_survivors *l, uint32_t n) {
    l->n = min_u32(l->n, n);
}

void sv_cut(sm_survivors *l, float least) {
    sm_sampler *s = l->s;
    if (l->sorted) {
        while (l->n > 1 && l->x[l->n - 1] < least)
            l->n--;
        return;
    }
    if (least == -INFINITY)
        least = -3.4e38f;
    uint32_t *index = l->id ? (uint32_t *)s->pair[0] : (uint32_t *)s->id;
    const uint32_t n = (uint32_t)s->kernels->select(index, l->x, l->n, least);
    if (n < l->n) {
        for (uint32_t i = 0; i < n; i++)
            s->x[i] = l->x[index[i]];
        for (uint32_t i = 0; l->id && i < n; i++)
            s->id[i] = l->id[index[i]];
        l->x = s->x;
        l->id = s->id;
        l->n = n;
    }
    l->holes = false;
}

void sv_drop_holes(sm_survivors *l) {
    if (l->holes && !l->sorted)
        sv_cut(l, -INFINITY);
}

void sv_cut_behind(sm_survivors *l, sm_ranked last) {
    const float least = sv_pair_logit(last);
    sv_cut(l, least);
    uint32_t behind = 0, n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        behind += (l->x[i] == least) & (sv_id(l, i) > sv_pair_id(last));
    if (!behind)
        return;
    float *x = sv_own(l);
    for (uint32_t i = 0; i < l->n; i++) { /* equals of the last */
        const float logit = x[i];
        const int32_t id = sv_id(l, i);
        x[n] = logit;
        l->s->id[n] = id;
        n += pair_of(logit, id) <= last;
    }
    l->id = l->s->id;
    l->n = n;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* What differences of logits are multiplied by; finite, that of equals stays 0. */
static float scale_of(const sm_survivors *l) {
    const double scale = 1 / l->temperature;
    return scale < 1e30 ? (float)scale : 1e30f;
}

/* The weights of all, in scratch, and their sum. */
static const float *weights(const sm_survivors *l, float top, double *sum) {
    float *e = (float *)l->s->pair[1];
    *sum = l->s->kernels->weigh(e, l->x, l->n, top, scale_of(l));
    return e;
}

double sv_mass(const sm_survivors *l, float top) {
    double mass = 0;
    if (l->n > SM_FEW && !l->sorted) {
        weights(l, top, &mass);
        return mass;
    }
    for (uint32_t i = 0; i < l->n; i++)
        mass += sv_weight(l, i, top);
    return mass;
}

/* -sum p ln p, p = w / mass, ln w = (x - top) / temperature: ln mass - sum w ln w / mass. */
double sv_entropy(const sm_survivors *l, double *mass) {
    const float top = sv_top(l);
    double sum = 0, moment[4] = {0};
    if (l->n > SM_FEW && !l->sorted) {
        const float *e = weights(l, top, &sum);
        for (uint32_t i = 0; i < l->n; i++) /* four sums: none waits for the one before */
            if (e[i] > 0)
                moment[i % 4] += (double)e[i] * ((double)l->x[i] - (double)top);
    } else {
        for (uint32_t i = 0; i < l->n; i++) {
            const double w = sv_weight(l, i, top);
            sum += w;
            if (w > 0)
                moment[0] += w * ((double)l->x[i] - (double)top);
        }
    }
    if (mass)
        *mass = sum;
    const double all = moment[0] + moment[1] + (moment[2] + moment[3]);
    const double entropy = log(sum) - all / l->temperature / sum;
    return entropy > 0 ? entropy : 0;
}

/* What sums of many floats may be wrong by: each is by 1e-6 at most, this way or that. */
#define OPEN 3e-8

/* The bin of each, in scratch behind the weights. Bins are 1/32 wide in (top - x) / temperature;
 * what is beyond them weighs nothing. Loops without branches: compilers make vectors of it. */
static const int32_t *bins_of(const sm_survivors *l, float top) {
    const float scale = 32 * scale_of(l), *x = l->x;
    int32_t *bin = (int32_t *)l->s->pair[1] + l->s->n_vocab;
    const uint32_t n = l->n;
    for (uint32_t i = 0; i < n; i++) {
        const float at = (top - x[i]) * scale + 0x1p23f; /* whole numbers, in the low bits */
        int32_t bits;
        memcpy(&bits, &at, sizeof bits);
        bits -= 0x4b000000;
        bin[i] = bits < (int32_t)SM_BINS - 1 ? bits : (int32_t)SM_BINS - 1;
    }
    return bin;
}

/* The weights of each bin; four sums of each: a token does not wait for the one before. */
static void fill_bins(const sm_survivors *l, const int32_t *bin, const float *e) {
    double(*sums)[4] = l->s->bin_sums, *bins = l->s->bins;
    const uint32_t n = l->n;
    uint32_t i = 0;
    memset(sums, 0, SM_BINS * sizeof *sums);
    for (; i + 4 <= n; i += 4) {
        sums[bin[i]][0] += (double)e[i];
        sums[bin[i + 1]][1] += (double)e[i + 1];
        sums[bin[i + 2]][2] += (double)e[i + 2];
        sums[bin[i + 3]][3] += (double)e[i + 3];
    }
    for (; i < n; i++)
        sums[bin[i]][0] += (double)e[i];
    for (uint32_t k = 0; k < SM_BINS; k++)
        bins[k] = sums[k][0] + sums[k][1] + (sums[k][2] + sums[k][3]);
}

/* Whether one of 64 is in that bin. */
static bool any_in(const int32_t *bin, int32_t wanted) {
    int32_t any = 0;
    for (uint32_t i = 0; i < 64; i++)
        any |= bin[i] == wanted;
    return any;
}

/* Pairs of those in one bin, by id. */
static uint32_t pairs_in(const sm_survivors *l, const int32_t *bin, int32_t wanted) {
    sm_ranked *pairs = l->s->pair[0];
    const uint32_t n = l->n;
    uint32_t m = 0;
    for (uint32_t from = 0; from < n; from += 64) {
        const uint32_t end = min_u32(from + 64, n);
        if (end == from + 64 && !any_in(bin + from, wanted))
            continue;
        for (uint32_t i = from; i < end; i++)
            if (bin[i] == wanted)
                pairs[m++] = pair_of(l->x[i], sv_id(l, i));
    }
    return m;
}

/* Where the bins reach target: its number, *before what comes before it. */
static uint32_t find_bin(const double *bins, double target, double *before) {
    uint32_t bin = 0;
    *before = 0;
    while (bin < SM_BINS - 1 && *before + bins[bin] < target)
        *before += bins[bin++];
    return bin;
}

bool sv_reach(const sm_survivors *l, float top, double target, double mass, sm_ranked *pair) {
    sm_sampler *s = l->s;
    double sum, before;
    const float *e = weights(l, top, &sum);
    const int32_t *bin = bins_of(l, top);
    fill_bins(l, bin, e);
    const uint32_t m = pairs_in(l, bin, (int32_t)find_bin(s->bins, target, &before));
    sort_pairs(s->pair[0], s->pair[1], m);
    const double open = OPEN * mass;
    for (uint32_t i = 0; i < m; i++) {
        const double after =
            before + exp(((double)sv_pair_logit(s->pair[0][i]) - (double)top) / l->temperature);
        if (after >= target) {
            *pair = s->pair[0][i];
            return before < target - open && after > target + open;
        }
        before = after;
    }
    return false;
}

bool sv_reach_by_id(const sm_survivors *l, float top, double u, uint32_t *at) {
    double mass, before = 0;
    const float *e = weights(l, top, &mass);
    const double target = u * mass, open = OPEN * mass;
    uint32_t i = 0;
    for (; i + 8 <= l->n; i += 8) {
        const double eight =
            ((double)e[i] + (double)e[i + 1]) + ((double)e[i + 2] + (double)e[i + 3]) +
            (((double)e[i + 4] + (double)e[i + 5]) + ((double)e[i + 6] + (double)e[i + 7]));
        if (before + eight > target)
            break;
        before += eight;
    }
    while (i < l->n && before + (double)e[i] <= target)
        before += (double)e[i++];
    *at = i;
    return i < l->n && before < target - open && before + (double)e[i] > target + open;
}
