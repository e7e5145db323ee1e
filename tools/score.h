/* score.h - what commands that measure models compute of logits and of many measurements. */
#ifndef SCORE_H
#define SCORE_H

#include <stddef.h>
#include <stdint.h>

#define SCORE_TOGETHER 64 /* tokens whose logits are held at a time */

/* log of the sum of exp(logits), in double. */
double score_log_sum(const float *logits, size_t n);
/* -log softmax(logits)[id]. */
double score_surprise(const float *logits, size_t n, int32_t id);

/* The mean of n measurements, of their sum and sum of squares, and its standard error with n - 1
 * in the variance (0 where n is 1). */
typedef struct score_mean {
    double mean, error;
} score_mean;
score_mean score_mean_of(double sum, double squares, uint64_t n);

#define SCORE_95 1.959963984540054 /* standard errors to either side that hold 95 of 100 */
/* Where 95 of 100 of Wilson's intervals hold the true share, n > 0. */
void score_wilson(double share, uint64_t n, double interval[2]);

#endif
