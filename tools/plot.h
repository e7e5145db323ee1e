/* plot.h - a training run's record: metrics as JSON lines, and the loss as a picture.
 */
#ifndef PLOT_H
#define PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct plot_point {
    double step, loss;
} plot_point;

typedef struct plot_curve {
    plot_point *points;
    size_t n, capacity;
} plot_curve;

/* False if memory is out. */
bool plot_add(plot_curve *curve, double step, double loss);
void plot_free(plot_curve *curve);

/* Writes an SVG: training loss as measured and smoothed, validation loss as a line with
 * points; loss in nats per token over optimizer steps. Reports failure itself: false. */
bool plot_write(const char *path, const char *title, const plot_curve *train,
                const plot_curve *validation);

#endif
