/* curve.h - the losses of a training run over its steps, and what they say. */
#ifndef CURVE_H
#define CURVE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct curve_point {
    double step, loss;
} curve_point;

typedef struct curve {
    curve_point *points;
    size_t n, capacity;
} curve;

/* False if memory is out. */
bool curve_add(curve *c, double step, double loss);
void curve_free(curve *c);
/* The number of the (first) lowest point, of a curve that has some. */
size_t curve_lowest(const curve *c);

/* A mean that forgets: of the last 20 losses or so, and of all where there are fewer. Begins as
 * all zero. */
typedef struct curve_mean {
    double sum, weight;
} curve_mean;
/* The mean with one more loss. */
double curve_mean_add(curve_mean *mean, double loss);

typedef struct curve_rise {
    double low, low_step; /* the lowest mean of some steps, and the last of them */
    double end;           /* the mean of as many at the end */
} curve_rise;
/* Whether the losses ended far above where they had been, and not by chance; or above both where
 * they began and what a blind guess costs (`blind`, in nats). */
bool curve_exploded(const curve *c, double blind, curve_rise *rise);

#endif
