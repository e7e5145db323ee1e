/* score.c - see score.h. */
#include "score.h"

#include <math.h>

double score_log_sum(const float *logits, size_t n) {
    double max = logits[0], sum = 0.0;
    for (size_t i = 1; i < n; i++) {
        if (logits[i] > max)
            max = logits[i];
    }
    for (size_t i = 0; i < n; i++)
        sum += exp(logits[i] - max);
    return max + log(sum);
}

double score_surprise(const float *logits, size_t n, int32_t id) {
    return score_log_sum(logits, n) - logits[id];
}

score_mean score_mean_of(double sum, double squares, uint64_t n) {
    const double count = (double)n, mean = sum / count;
    const double variance = n > 1 ? (squares - sum * mean) / (count - 1.0) : 0.0;
    return (score_mean){mean, variance > 0.0 ? sqrt(variance / count) : 0.0};
}

void score_wilson(double share, uint64_t n, double interval[2]) {
    const double count = (double)n, z2 = SCORE_95 * SCORE_95;
    const double middle = share + z2 / (2.0 * count);
    const double half = SCORE_95 * sqrt(share * (1.0 - share) / count + z2 / (4.0 * count * count));
    interval[0] = (middle - half) / (1.0 + z2 / count);
    interval[1] = (middle + half) / (1.0 + z2 / count);
}
