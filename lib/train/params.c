#include "train.h"

#include <string.h>

void sm_params_zero_grad(const sm_crew *crew, const sm_params *params) {
    for (uint32_t i = 0; i < params->n; i++) {
        const sm_param *p = &params->param[i];
        uint64_t begin, end;
        sm_share(p->rows * p->cols, crew->thread, crew->n_threads, &begin, &end);
        memset(p->grad + begin, 0, (end - begin) * sizeof *p->grad);
    }
    sm_team_barrier(crew->team);
}
