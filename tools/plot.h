/* plot.h - a training run's losses as a picture. */
#ifndef PLOT_H
#define PLOT_H

#include "curve.h"

/* Writes an SVG: training loss as measured and smoothed, validation loss as a line with
 * points; loss in nats per token over optimizer steps. Reports failure itself: false. */
bool plot_write(const char *path, const char *title, const curve *train, const curve *validation);

#endif
