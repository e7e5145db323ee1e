/* Allocations of a graph. */
#include "builder.h"

#include <string.h>

/* Weights between two questions: well below a millisecond where memory is fast, some where each
 * page is touched for the first time. */
#define ASK_WEIGHTS (1u << 18)

/* False after a failure, and once the hook says so; asked after so many weights. */
bool sm_build_go_on(sm_builder *b, uint64_t n) {
    b->work += n;
    if (!b->status && b->work >= ASK_WEIGHTS) {
        b->work = 0;
        if (sm_hook_ends(b->g->options.hook, b->made, b->total))
            b->status =
                sm_fail(b->error, SM_ERR_CANCELLED, "%s: cancelled", b->g->net->source->path);
    }
    return !b->status;
}

void sm_build_clear(sm_builder *b, float *x, uint64_t count) {
    for (uint64_t n; count && sm_build_go_on(b, 0); x += n, count -= n) {
        n = count < ASK_WEIGHTS ? count : ASK_WEIGHTS;
        memset(x, 0, n * sizeof *x);
        b->work += n;
    }
}

void *sm_build_own(sm_builder *b, uint64_t n, uint64_t size) {
    if (b->status)
        return NULL;
    void *p = sm_alloc_array(b->g->mem, n ? n : 1, size);
    if (!p)
        b->status = sm_fail(b->error, SM_ERR_NOMEM, "out of memory for training (%llu bytes)",
                            (unsigned long long)(n * size));
    else
        b->g->owned[b->g->n_owned++] = p;
    return p;
}

float *sm_build_floats(sm_builder *b, uint64_t rows, uint64_t stride) {
    uint64_t n;
    if (sm_mul_over(rows, stride, &n))
        n = UINT64_MAX;
    return sm_build_own(b, n, sizeof(float));
}
