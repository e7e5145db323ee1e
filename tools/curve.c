/* curve.c - the losses of a run: points, smoothing, what they say. */
#include "curve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DECAY 0.95

bool curve_add(curve *c, double step, double loss) {
    if (c->n == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 256;
        curve_point *points = realloc(c->points, capacity * sizeof *points);
        if (points == NULL)
            return false;
        c->points = points;
        c->capacity = capacity;
    }
    c->points[c->n++] = (curve_point){step, loss};
    return true;
}

void curve_free(curve *c) {
    free(c->points);
    memset(c, 0, sizeof *c);
}

size_t curve_lowest(const curve *c) {
    size_t lowest = 0;
    for (size_t i = 1; i < c->n; i++)
        if (c->points[i].loss < c->points[lowest].loss)
            lowest = i;
    return lowest;
}

double curve_mean_add(curve_mean *mean, double loss) {
    mean->sum = DECAY * mean->sum + (1 - DECAY) * loss;
    mean->weight = DECAY * mean->weight + (1 - DECAY);
    return mean->sum / mean->weight;
}

/* ---- explosions --------------------------------------------------------------------------- */

#define BLOCKS 10       /* that a run is cut into to be looked at */
#define BLOCKS_LEAST 5  /* of a run whose losses say how much they vary */
#define BLOCK_LEAST 4   /* steps */
#define BLOCK_MOST 100  /* steps: longer ones would hide an end that is short */
#define RISE_LEAST 0.3  /* nats */
#define RISE_PART 0.15  /* of the lowest loss */
#define NOISE_TIMES 4.0 /* standard errors */
#define BLIND_TIMES 1.1

typedef struct block {
    double mean, deviation;
} block;

static block measure(const curve_point *points, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += points[i].loss;
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (points[i].loss - mean) * (points[i].loss - mean);
    return (block){mean, n > 1 ? sqrt(squares / (double)(n - 1)) : 0};
}

static size_t block_length(size_t n) {
    const size_t length = n / BLOCKS;
    return length < BLOCK_LEAST ? BLOCK_LEAST : length > BLOCK_MOST ? BLOCK_MOST : length;
}

/* The lowest of the blocks before the last one; returns how much losses vary within a block. */
static double find_low(const curve *c, size_t length, curve_rise *rise) {
    double sum = 0, lowest = INFINITY;
    size_t blocks = 0;
    for (size_t at = 0; at + 2 * length <= c->n; at += length, blocks++) {
        const block b = measure(c->points + at, length);
        sum += b.deviation;
        if (b.mean < lowest) {
            lowest = b.mean;
            rise->low_step = c->points[at + length - 1].step;
        }
    }
    rise->low = lowest;
    return sum / (double)blocks;
}

bool curve_exploded(const curve *c, double blind, curve_rise *rise) {
    const size_t length = block_length(c->n);
    if (c->n < 2)
        return false;
    const size_t last = length < c->n ? length : c->n - 1;
    rise->end = measure(c->points + c->n - last, last).mean;
    if (c->n >= BLOCKS_LEAST * length) {
        const double noise = find_low(c, length, rise) * sqrt(2.0 / (double)length);
        const double least = fmax(RISE_LEAST, fmax(RISE_PART * rise->low, NOISE_TIMES * noise));
        if (rise->end - rise->low > least)
            return true;
    }
    rise->low = c->points[0].loss;
    rise->low_step = c->points[0].step;
    return rise->end > BLIND_TIMES * blind && rise->end > rise->low;
}
