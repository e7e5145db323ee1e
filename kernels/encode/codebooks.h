/* codebooks.h - encoders of the IQ types with codebooks. Included by encode.h.
 *
 * Elements come in groups that are one word of a codebook, times a scale s. Of error
 *   sum of w (x - s v)^2 = sum of w x^2 - 2 s A + s^2 B,  A = sum of w x v, B = sum of w v^2,
 * A and B belong to the word whatever the scale, so words are compared for many scales at once;
 * lanes are words. Signs, where they are no part of the words, are taken off before.
 *
 * 1. Of each sub-block a curve of the error over scales, by a part of the codebook.
 * 2. The factor of the block whose scale codes suit the curves best.
 * 3. Near the scale that a sub-block has then, a list of words for each group; codes and words of
 *    these, and the factor, by turns.
 * 4. For scales that stand, the best word of all; the factor once more.
 */

#define TRIALS 12
#define TRIAL_LEAST 0.5f /* times the ratio of the root mean squares */
#define TRIAL_RATIO 1.22f
#define TRIAL_WORDS 256
#define MOST_TRIALS 16 /* at once: TRIALS, or all codes of a scale */
#define FACTORS 16     /* that are tried on the curves */
#define FACTOR_RATIO 0.88f
#define NEAR 3 /* scales that words are kept for */
#define KEPT (NEAR * LANES)
#define DELTA 1 /* of IQ1, in the unit of its codes */

typedef struct codebook {
    const float *value; /* [dim][n]; with two variants those of the first */
    size_t n;           /* words */
    size_t dim;         /* elements of a word */
    size_t variants;    /* 2: words are there once more, all elements 2 * DELTA less */
    bool each;          /* groups choose their variants; else sub-blocks do */
    size_t sub_block;   /* elements with one scale */
    float top;          /* greatest code of a scale, which stands for 2 * code + 1 */
    float factor;       /* of pack.h's table */
} codebook;

typedef struct word {
    float a, b; /* A and B */
    uint16_t index;
    uint8_t variant;
} word;

/* Words near a scale: of each of the NEAR scales the best of each lane. */
typedef struct word_list {
    float a[KEPT], b[KEPT];
    uint16_t index[KEPT];
} word_list;

/* The least error of a sub-block, less that of zeros, at some scales in rising order, 0 the
 * first. */
typedef struct curve {
    float scale[TRIALS + 1], error[TRIALS + 1];
} curve;

/* A block on its way. */
typedef struct worded {
    const codebook *k;
    patch p;            /* x without signs */
    curve curves[16];   /* of each sub-block */
    word_list kept[64]; /* of each group and variant */
    word chosen[64];    /* of each group */
    float code[16];     /* of each sub-block */
    float d;            /* of the patch's unit, times the codebook's factor */
} worded;

/* Values of a three-level word (grids.h). */
static void take_three_levels(float *value, const uint16_t *words, size_t n, float v0, float v1,
                              float v2) {
    for (size_t c = 0; c < n; c++) {
        for (size_t i = 0; i < 8; i++) {
            const unsigned bits = (unsigned)words[c] >> i;
            value[i * n + c] = bits & 0x100 ? v2 : bits & 1 ? v1 : v0;
        }
    }
}

static void take_eight_levels(float *value, const uint16_t *words, size_t n,
                              const sm_code_table *codes) {
    for (size_t c = 0; c < n; c++) {
        for (size_t i = 0; i < 4; i++) {
            value[i * n + c] = (float)codes->value[(words[c] >> (3 * i)) & 7];
        }
    }
}

/* One group: its elements, and sums of them for the second variant. */
typedef struct group {
    const float *x, *w;
    float sum_wx, sum_w;
} group;

static inline group group_of(const worded *e, size_t number) {
    const size_t dim = e->k->dim;
    group g = {e->p.x + number * dim, e->p.w + number * dim, 0, 0};
    for (size_t i = 0; i < dim; i++) {
        g.sum_wx += g.w[i] * g.x[i];
        g.sum_w += g.w[i];
    }
    return g;
}

/* A and B of sixteen words, in all variants. */
static inline void word_sums(const codebook *k, const group *g, size_t c, lanes A[2], lanes B[2]) {
    lanes a = l_all(0), b = a, r = a;
    for (size_t i = 0; i < k->dim; i++) {
        const lanes v = l_load(k->value + i * k->n + c), wv = l_mul(l_all(g->w[i]), v);
        a = l_add(a, l_mul(wv, l_all(g->x[i])));
        b = l_add(b, l_mul(wv, v));
        r = l_add(r, wv);
    }
    A[0] = a;
    B[0] = b;
    if (k->variants == 2) { /* v - 2 DELTA */
        A[1] = l_sub(a, l_all(2 * DELTA * g->sum_wx));
        B[1] = l_add(l_sub(b, l_mul(l_all(4 * DELTA), r)), l_all(4 * DELTA * DELTA * g->sum_w));
    }
}

/* Adds to gain[variant][trial] what the group's best word has there: A - half * B, half of a
 * scale. */
static void add_gains(const codebook *k, const group *g, const float *half, size_t n,
                      float gain[2][MOST_TRIALS]) {
    const size_t step = LANES * (k->n > TRIAL_WORDS ? k->n / TRIAL_WORDS : 1);
    lanes best[2][MOST_TRIALS], A[2], B[2];
    for (size_t t = 0; t < n; t++) {
        best[0][t] = best[1][t] = l_all(-FLT_MAX);
    }
    for (size_t c = 0; c < k->n; c += step) {
        word_sums(k, g, c, A, B);
        for (size_t v = 0; v < k->variants; v++) {
            const size_t to = k->each ? 0 : v;
            for (size_t t = 0; t < n; t++) {
                const lanes value = l_sub(A[v], l_mul(l_all(half[t]), B[v]));
                best[to][t] = l_max(best[to][t], value);
            }
        }
    }
    for (size_t v = 0; v < (k->each ? 1 : k->variants); v++) {
        for (size_t t = 0; t < n; t++) {
            gain[v][t] += l_largest(best[v][t]);
        }
    }
}

static inline size_t groups_per_scale(const codebook *k) {
    return k->sub_block / k->dim;
}

/* Scales about those that make the mean square of words that of the elements. */
static void set_trials(const worded *e, size_t s, float half[TRIALS]) {
    const codebook *k = e->k;
    const float *x = e->p.x + s * k->sub_block, *w = e->p.w + s * k->sub_block;
    float wxx = 0, wvv = 0;
    for (size_t i = 0; i < k->sub_block; i++) {
        wxx += w[i] * x[i] * x[i];
    }
    for (size_t i = 0; i < groups_per_scale(k); i++) { /* sixteen words stand for all */
        const group g = group_of(e, s * groups_per_scale(k) + i);
        lanes A[2], B[2];
        word_sums(k, &g, k->n / 2, A, B);
        wvv += l_sum(B[0]) / LANES;
    }
    half[0] = 0.5f * TRIAL_LEAST * (wvv > 0 ? sqrtf(wxx / wvv) : 0);
    for (size_t t = 1; t < TRIALS; t++) {
        half[t] = half[t - 1] * TRIAL_RATIO;
    }
}

/* Errors of sub-block s at n scales, given by their halves, with words of a part of the
 * codebook. */
static void errors_at(const worded *e, size_t s, const float *half, size_t n, float *error) {
    const codebook *k = e->k;
    float gain[2][MOST_TRIALS] = {{0}};
    for (size_t i = 0; i < groups_per_scale(k); i++) {
        const group g = group_of(e, s * groups_per_scale(k) + i);
        add_gains(k, &g, half, n, gain);
    }
    for (size_t t = 0; t < n; t++) {
        const bool second = k->variants == 2 && !k->each && gain[1][t] > gain[0][t];
        error[t] = -4 * half[t] * gain[second ? 1 : 0][t];
    }
}

/* Returns the scale of least error. */
static float draw_curve(worded *e, size_t s) {
    curve *to = &e->curves[s];
    float half[TRIALS], best = 0, least = 0;
    set_trials(e, s, half);
    to->scale[0] = to->error[0] = 0;
    errors_at(e, s, half, TRIALS, to->error + 1);
    for (size_t t = 1; t <= TRIALS; t++) {
        to->scale[t] = 2 * half[t - 1];
        if (to->error[t] < least) {
            least = to->error[t];
            best = to->scale[t];
        }
    }
    return best;
}

/* The error at a scale, by straight lines between the points. */
static float read_curve(const curve *c, float scale) {
    size_t t = 1;
    while (t < TRIALS && scale > c->scale[t]) {
        t++;
    }
    const float run = c->scale[t] - c->scale[t - 1];
    const float rise = c->error[t] - c->error[t - 1];
    return run > 0 ? c->error[t - 1] + (scale - c->scale[t - 1]) * (rise / run) : 0;
}

/* The code of least error for the factor d by the sub-block's curve. */
static float code_by_curve(const worded *e, size_t s, float d, float *error) {
    float best = 0;
    *error = FLT_MAX;
    for (float code = 0; code <= e->k->top; code++) {
        const float here = read_curve(&e->curves[s], d * (2 * code + 1));
        if (here < *error) {
            *error = here;
            best = code;
        }
    }
    return best;
}

/* Of factors up to `most` the one that suits the curves. */
static float factor_by_curves(const worded *e, float most) {
    float best = most, least = FLT_MAX;
    for (int n = 0; n < FACTORS; n++, most *= FACTOR_RATIO) {
        float total = 0;
        for (size_t s = 0; s < 256 / e->k->sub_block; s++) {
            float error;
            code_by_curve(e, s, most, &error);
            total += error;
        }
        best = total < least ? most : best;
        least = total < least ? total : least;
    }
    return best;
}

/* All scale codes for the factor d: sets the best, and returns their error. */
static float best_codes(worded *e, float d, float code[16]) {
    float total = 0;
    for (size_t s = 0; s < 256 / e->k->sub_block; s++) {
        const size_t n = (size_t)e->k->top + 1;
        float half[MOST_TRIALS], error[MOST_TRIALS] = {0};
        size_t best = 0;
        for (size_t c = 0; c < n; c++) {
            half[c] = 0.5f * d * (float)(2 * c + 1);
        }
        errors_at(e, s, half, n, error);
        for (size_t c = 1; c < n; c++) {
            best = error[c] < error[best] ? c : best;
        }
        code[s] = (float)best;
        total += error[best];
    }
    return total;
}

/* Of each lane the words of a variant that are best for n scales. */
static void keep_words(const codebook *k, const group *g, size_t variant, const float *scale,
                       size_t n, word_list *out) {
    lanes best[NEAR], at[NEAR], a[NEAR], b[NEAR], A[2], B[2];
    for (size_t m = 0; m < n; m++) {
        best[m] = l_all(-FLT_MAX);
        at[m] = a[m] = b[m] = l_all(0);
    }
    for (size_t c = 0; c < k->n; c += LANES) {
        word_sums(k, g, c, A, B);
        for (size_t m = 0; m < n; m++) {
            const lanes value = l_sub(A[variant], l_mul(l_all(0.5f * scale[m]), B[variant]));
            at[m] = l_less(best[m], value, l_all((float)c), at[m]);
            a[m] = l_less(best[m], value, A[variant], a[m]);
            b[m] = l_less(best[m], value, B[variant], b[m]);
            best[m] = l_max(best[m], value);
        }
    }
    for (size_t m = 0; m < n; m++) {
        float number[LANES];
        l_store(number, at[m]);
        l_store(out->a + m * LANES, a[m]);
        l_store(out->b + m * LANES, b[m]);
        for (size_t t = 0; t < LANES; t++) {
            out->index[m * LANES + t] = (uint16_t)((size_t)number[t] + t);
        }
    }
}

/* The best of the first n words of a list for a scale, and how good it is. */
static inline float best_word(const word_list *list, size_t n, float scale, size_t variant,
                              word *out) {
    const lanes half = l_all(0.5f * scale);
    lanes best = l_sub(l_load(list->a), l_mul(half, l_load(list->b))), at = l_all(0);
    float value[LANES], number[LANES];
    for (size_t i = LANES; i < n; i += LANES) {
        const lanes here = l_sub(l_load(list->a + i), l_mul(half, l_load(list->b + i)));
        at = l_less(best, here, l_all((float)i), at);
        best = l_max(best, here);
    }
    const size_t t = l_which_largest(best);
    l_store(value, best);
    l_store(number, at);
    const size_t i = (size_t)number[t] + t;
    *out = (word){list->a[i], list->b[i], list->index[i], (uint8_t)variant};
    return value[t];
}

static void list_words(worded *e, size_t number, float scale) {
    static const float near[NEAR] = {1, 0.84f, 1.19f};
    const group g = group_of(e, number);
    float scales[NEAR];
    for (size_t m = 0; m < NEAR; m++) {
        scales[m] = scale * near[m];
    }
    for (size_t v = 0; v < e->k->variants; v++) {
        keep_words(e->k, &g, v, scales, NEAR, &e->kept[number * e->k->variants + v]);
    }
}

/* Sub-block s with the words of its lists that are best for a scale: the error, less that of zeros;
 * and sums of A and B. */
static float try_scale(const worded *e, size_t s, float scale, word chosen[8], float *a, float *b) {
    const codebook *k = e->k;
    const size_t n = groups_per_scale(k);
    float least = FLT_MAX;
    for (size_t v = 0; v < (k->each ? 1 : k->variants); v++) {
        word words[8];
        float A = 0, B = 0;
        for (size_t i = 0; i < n; i++) {
            const word_list *list = &e->kept[(s * n + i) * k->variants + v];
            const float value = best_word(list, KEPT, scale, v, &words[i]);
            word other;
            if (k->each && best_word(list + 1, KEPT, scale, 1, &other) > value) {
                words[i] = other;
            }
            A += words[i].a;
            B += words[i].b;
        }
        const float error = scale * scale * B - 2 * scale * A;
        if (error < least) {
            least = error;
            *a = A;
            *b = B;
            memcpy(chosen, words, n * sizeof *words);
        }
    }
    return least;
}

/* The scale code of least error for e->d near the one that the sub-block has; a and b of it, times
 * what the code stands for, for the next factor. */
static float choose_code(worded *e, size_t s, float *a, float *b) {
    const size_t n = groups_per_scale(e->k);
    const float own = e->code[s];
    float least = FLT_MAX;
    for (int step = -1; step <= 1; step++) {
        const float code = own + (float)step;
        word words[8];
        float A = 0, B = 0;
        if (code < 0 || code > e->k->top) {
            continue;
        }
        const float error = try_scale(e, s, e->d * (2 * code + 1), words, &A, &B);
        if (error < least) {
            least = error;
            e->code[s] = code;
            *a = (2 * code + 1) * A;
            *b = (2 * code + 1) * (2 * code + 1) * B;
            memcpy(e->chosen + s * n, words, n * sizeof *words);
        }
    }
    return least;
}

/* Codes and words for the factor d, then a better factor for them, by turns. */
static void fit_words(worded *e) {
    for (int turn = 0;; turn++) {
        float sum_a = 0, sum_b = 0;
        for (size_t s = 0; s < 256 / e->k->sub_block; s++) {
            float a = 0, b = 0;
            choose_code(e, s, &a, &b);
            sum_a += a;
            sum_b += b;
        }
        if (turn == TURNS || !(sum_a > 0) || !(sum_b > 0)) {
            return;
        }
        e->d = sum_a / sum_b;
    }
}

/* The best words of all for the scales as they are; the factor that suits them. */
static float take_words(worded *e) {
    const codebook *k = e->k;
    float sum_a = 0, sum_b = 0;
    for (size_t i = 0; i < 256 / k->dim; i++) {
        const float code = 2 * e->code[i / groups_per_scale(k)] + 1, scale = e->d * code;
        const group g = group_of(e, i);
        const size_t own = e->chosen[i].variant;
        float most = -FLT_MAX;
        for (size_t v = 0; v < k->variants; v++) {
            word_list list;
            word found;
            if (!k->each && v != own) {
                continue;
            }
            keep_words(k, &g, v, &scale, 1, &list);
            const float value = best_word(&list, LANES, scale, v, &found);
            if (value > most) {
                most = value;
                e->chosen[i] = found;
            }
        }
        sum_a += code * e->chosen[i].a;
        sum_b += code * code * e->chosen[i].b;
    }
    return sum_b > 0 && sum_a > 0 ? sum_a / sum_b : e->d;
}

/* As f16 holds it; false if it does not. */
static bool set_factor(worded *e, float d, uint16_t *half) {
    const float file = d / e->k->factor;
    if (!fits_f16(file * e->p.unit)) {
        return false;
    }
    e->d = round_scale(file, e->p.unit, half) * e->k->factor;
    return true;
}

/* Codes and words for p.x, and the block's factor. False if the block cannot be encoded. */
static bool encode_words(worded *e, uint16_t *half) {
    /* with values so far apart as IQ1's few elements can decide about a scale, and unlike others */
    static const float tries[] = {1, 0.94f, 1.06f, 0.8f, 1.25f, 0.65f, 1.5f};
    const codebook *k = e->k;
    const size_t n_sub = 256 / k->sub_block;
    float largest = 0;
    *half = 0;
    memset(e->chosen, 0, sizeof e->chosen);
    memset(e->code, 0, sizeof e->code);
    for (size_t s = 0; s < n_sub; s++) {
        const float scale = draw_curve(e, s);
        largest = scale > largest ? scale : largest;
    }
    if (!(largest > 0)) { /* nothing but zeros */
        return true;
    }
    const float about = factor_by_curves(e, 1.2f * largest / (2 * k->top + 1));
    float least = FLT_MAX;
    for (size_t t = 0; t < (k->variants == 2 ? sizeof tries / sizeof *tries : 3); t++) {
        float code[16];
        const float error = best_codes(e, about * tries[t], code);
        if (error < least) {
            least = error;
            e->d = about * tries[t];
            memcpy(e->code, code, sizeof code);
        }
    }
    for (size_t i = 0; i < 256 / k->dim; i++) {
        list_words(e, i, e->d * (2 * e->code[i / groups_per_scale(k)] + 1));
    }
    fit_words(e);
    if (!set_factor(e, e->d, half)) {
        return false;
    }
    for (size_t s = 0; s < n_sub; s++) {
        float a, b;
        choose_code(e, s, &a, &b);
    }
    return set_factor(e, take_words(e), half);
}

/* Takes the signs of n * 8 elements off; bit i of signs[j] is that of element 8 * j + i. `even`:
 * there must be an even number in each eight, so that the one that costs least is taken the wrong
 * way. */
static void take_signs(patch *p, uint8_t signs[32], bool even) {
    for (size_t j = 0; j < 32; j++) {
        float *x = p->x + 8 * j, *w = p->w + 8 * j;
        unsigned bits = 0, odd = 0;
        size_t cheapest = 0;
        for (size_t i = 0; i < 8; i++) {
            const bool negative = x[i] < 0;
            x[i] = negative ? -x[i] : x[i];
            bits |= (unsigned)negative << i;
            odd ^= negative;
            cheapest = w[i] * x[i] < w[cheapest] * x[cheapest] ? i : cheapest;
        }
        if (even && odd) {
            x[cheapest] = -x[cheapest];
            bits ^= 1u << cheapest;
        }
        signs[j] = (uint8_t)bits;
    }
}

/* One block; signs NULL: they are part of the words. */
static bool encode_worded(worded *e, const codebook *k, const float *x, const float *importance,
                          uint8_t *signs, bool even, uint16_t *half) {
    e->k = k;
    if (!take_patch(&e->p, x, importance, 256, -1)) {
        return false;
    }
    if (signs != NULL) {
        take_signs(&e->p, signs, even);
    }
    return encode_words(e, half);
}

/* ---- the types ------------------------------------------------------------------------------- */

static inline uint32_t seven_signs(const uint8_t signs[4]) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 4; j++) {
        bits |= (uint32_t)(signs[j] & 127) << (7 * j);
    }
    return bits;
}

void ENCODER(iq2_xxs)(void *row, const float *x, const float *importance, size_t k) {
    float value[8 * 256];
    const codebook book = {value, 256, 8, 1, false, 32, 15, SM_CODES_IQ2.factor};
    take_three_levels(value, sm_grid_iq2_xxs, 256, 8, 25, 43);
    FOR_SUPER_BLOCKS(sm_block_iq2_xxs) {
        worded e;
        uint8_t signs[32];
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, signs, true, &b->d)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        for (size_t s = 0; s < 8 && b->d != 0; s++) {
            const uint32_t more = seven_signs(signs + 4 * s) | (uint32_t)e.code[s] << 28;
            for (size_t j = 0; j < 4; j++) {
                b->qs[8 * s + j] = (uint8_t)e.chosen[4 * s + j].index;
            }
            memcpy(b->qs + 8 * s + 4, &more, 4);
        }
    }
}

void ENCODER(iq2_xs)(void *row, const float *x, const float *importance, size_t k) {
    float value[8 * 512];
    const codebook book = {value, 512, 8, 1, false, 16, 15, SM_CODES_IQ2.factor};
    take_three_levels(value, sm_grid_iq2_xs, 512, 8, 25, 43);
    FOR_SUPER_BLOCKS(sm_block_iq2_xs) {
        worded e;
        uint8_t signs[32];
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, signs, true, &b->d)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        for (size_t j = 0; j < 32 && b->d != 0; j++) {
            b->qs[j] = (uint16_t)(e.chosen[j].index | (signs[j] & 127) << 9);
        }
        for (size_t s = 0; s < 16; s++) {
            b->scales[s / 2] |= (uint8_t)((int)e.code[s] << (4 * (s % 2)));
        }
    }
}

void ENCODER(iq2_s)(void *row, const float *x, const float *importance, size_t k) {
    float value[8 * 1024];
    const codebook book = {value, 1024, 8, 1, false, 16, 15, SM_CODES_IQ2.factor};
    take_three_levels(value, sm_grid_iq2_s, 1024, 8, 25, 43);
    FOR_SUPER_BLOCKS(sm_block_iq2_s) {
        worded e;
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, b->signs, false, &b->d)) {
            memset(b, 0, sizeof *b);
            b->d = NOT_A_NUMBER;
            continue;
        }
        for (size_t j = 0; j < 32; j++) {
            b->qs[j] = (uint8_t)e.chosen[j].index;
            b->qh[j / 4] |= (uint8_t)(e.chosen[j].index >> 8 << (2 * (j % 4)));
        }
        for (size_t s = 0; s < 16; s++) {
            b->scales[s / 2] |= (uint8_t)((int)e.code[s] << (4 * (s % 2)));
        }
    }
}

void ENCODER(iq3_xxs)(void *row, const float *x, const float *importance, size_t k) {
    float value[4 * 256];
    const codebook book = {value, 256, 4, 1, false, 32, 15, SM_CODES_IQ3_XXS.factor};
    take_eight_levels(value, sm_grid_iq3_xxs, 256, &SM_CODES_IQ3_XXS);
    FOR_SUPER_BLOCKS(sm_block_iq3_xxs) {
        worded e;
        uint8_t signs[32];
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, signs, true, &b->d)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        for (size_t j = 0; j < 64; j++) {
            b->qs[j] = (uint8_t)e.chosen[j].index;
        }
        for (size_t s = 0; s < 8 && b->d != 0; s++) {
            const uint32_t more = seven_signs(signs + 4 * s) | (uint32_t)e.code[s] << 28;
            memcpy(b->signs + 4 * s, &more, 4);
        }
    }
}

void ENCODER(iq3_s)(void *row, const float *x, const float *importance, size_t k) {
    float value[4 * 512];
    const codebook book = {value, 512, 4, 1, false, 32, 15, SM_CODES_IQ3_S.factor};
    take_eight_levels(value, sm_grid_iq3_s, 512, &SM_CODES_IQ3_S);
    FOR_SUPER_BLOCKS(sm_block_iq3_s) {
        worded e;
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, b->signs, false, &b->d)) {
            memset(b, 0, sizeof *b);
            b->d = NOT_A_NUMBER;
            continue;
        }
        for (size_t j = 0; j < 64; j++) {
            b->qs[j] = (uint8_t)e.chosen[j].index;
            b->qh[j / 8] |= (uint8_t)(e.chosen[j].index >> 8 << (j % 8));
        }
        for (size_t s = 0; s < 8; s++) {
            b->scales[s / 2] |= (uint8_t)((int)e.code[s] << (4 * (s % 2)));
        }
    }
}

void ENCODER(iq1_s)(void *row, const float *x, const float *importance, size_t k) {
    float value[8 * 2048];
    const codebook book = {value, 2048, 8, 2, false, 32, 7, SM_CODES_IQ1.factor};
    take_three_levels(value, sm_grid_iq1, 2048, -8 + DELTA, DELTA, 8 + DELTA);
    FOR_SUPER_BLOCKS(sm_block_iq1_s) {
        worded e;
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, NULL, false, &b->d)) {
            b->d = NOT_A_NUMBER;
            continue;
        }
        for (size_t j = 0; j < 32; j++) {
            b->qs[j] = (uint8_t)e.chosen[j].index;
            b->qh[j / 4] |= (uint16_t)(e.chosen[j].index >> 8 << (3 * (j % 4)));
        }
        for (size_t s = 0; s < 8; s++) {
            b->qh[s] |= (uint16_t)((int)e.code[s] << 12 | e.chosen[4 * s].variant << 15);
        }
    }
}

void ENCODER(iq1_m)(void *row, const float *x, const float *importance, size_t k) {
    float value[8 * 2048];
    const codebook book = {value, 2048, 8, 2, true, 16, 7, SM_CODES_IQ1.factor};
    take_three_levels(value, sm_grid_iq1, 2048, -8 + DELTA, DELTA, 8 + DELTA);
    FOR_SUPER_BLOCKS(sm_block_iq1_m) {
        worded e;
        uint16_t d;
        memset(b, 0, sizeof *b);
        if (!encode_worded(&e, &book, x, importance, NULL, false, &d)) {
            sm_iq1_m_set_d(b, NOT_A_NUMBER);
            continue;
        }
        for (size_t j = 0; j < 32; j++) {
            const unsigned high = e.chosen[j].index >> 8 | (unsigned)e.chosen[j].variant << 3;
            b->qs[j] = (uint8_t)e.chosen[j].index;
            b->qh[j / 2] |= (uint8_t)(high << (4 * (j % 2)));
        }
        for (size_t s = 0; s < 16; s++) {
            b->scales[s / 4] |= (uint16_t)((int)e.code[s] << (3 * (s % 4)));
        }
        sm_iq1_m_set_d(b, d);
    }
}
