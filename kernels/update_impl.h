/* update_impl.h - the optimizer updates, compiled once for each level: plain loops that the
 * compiler vectorizes with the level's instructions. UPDATE(op) makes the symbol. */
#include <math.h>

#include "table.h"

void UPDATE(adamw)(float *restrict p, const float *restrict g, float *restrict m, float *restrict v,
                   size_t n, const sm_update *u) {
    const sm_update c = *u;
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * c.grad_scale;
        const float mi = c.beta1 * m[i] + c.rest1 * gi;
        const float vi = c.beta2 * v[i] + c.rest2 * gi * gi;
        m[i] = mi;
        v[i] = vi;
        p[i] = p[i] - c.decay * p[i] - c.lr * (mi * c.correct1) / (sqrtf(vi * c.correct2) + c.eps);
    }
}

void UPDATE(lion)(float *restrict p, const float *restrict g, float *restrict m, size_t n,
                  const sm_update *u) {
    const sm_update c = *u;
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * c.grad_scale;
        const float d = c.beta1 * m[i] + c.rest1 * gi;
        const float sign = d > 0 ? 1.0f : d < 0 ? -1.0f : 0.0f;
        m[i] = c.beta2 * m[i] + c.rest2 * gi;
        p[i] = p[i] - c.decay * p[i] - c.lr * sign;
    }
}

void UPDATE(sgd)(float *restrict p, const float *restrict g, float *restrict m, size_t n,
                 const sm_update *u) {
    const sm_update c = *u;
    for (size_t i = 0; i < n; i++) {
        m[i] = c.beta1 * m[i] + g[i] * c.grad_scale;
        p[i] = p[i] - c.decay * p[i] - c.lr * m[i];
    }
}
