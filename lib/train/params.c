/* params.c - what is done to all parameters alike. */
#include "train.h"

#include <string.h>

#define PIECE (1u << 18) /* elements between two questions */

void sm_params_zero_grad(const sm_crew *crew, const sm_params *params) {
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        uint64_t begin, end;
        sm_share(p->rows * p->cols, crew->thread, crew->n_threads, &begin, &end);
        for (uint64_t n; begin < end && !sm_crew_stopped(crew); begin += n) {
            n = end - begin < PIECE ? end - begin : PIECE;
            memset(p->grad + begin, 0, n * sizeof *p->grad);
        }
    }
    sm_team_barrier(crew->team);
}
