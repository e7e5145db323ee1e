/* builder.h - how an sm_graph is put together: many allocations, of which the first failure sticks.
 * Private to lib/train's graph.c and the files that it calls.
 */
#ifndef SM_BUILDER_H
#define SM_BUILDER_H

#include "graph.h"

/* Carries the first failure through many allocations. */
typedef struct sm_builder {
    sm_graph *g;
    sm_status status;
    sm_error *error;
    uint64_t made, total; /* weights that are ready, and of the whole file */
    uint64_t work;        /* since the hook was asked */
} sm_builder;

/* False after a failure, and once the hook says so; n: weights that were made since the last
 * call. */
bool sm_build_go_on(sm_builder *b, uint64_t n);
/* Memory that the graph owns; NULL after a failure. */
void *sm_build_own(sm_builder *b, uint64_t n, uint64_t size);
float *sm_build_floats(sm_builder *b, uint64_t rows, uint64_t stride);
/* x[count] = 0 */
void sm_build_clear(sm_builder *b, float *x, uint64_t count);

/* Masters of all parameters (masters.c). */
void sm_build_masters(sm_builder *b);
/* Adapters of the matrices that are asked for, all else frozen (masters.c). */
void sm_build_adapter(sm_builder *b);
/* Refuses targets that fit nothing; whether a matrix is one (targets.c). */
void sm_build_check_targets(sm_builder *b);
bool sm_build_is_target(const sm_builder *b, const sm_weight *w);

#endif
