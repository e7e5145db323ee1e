/* How much work a step is, and which thread does which share of it. */
#include "worker.h"

#include <math.h>

/* What a thread reads of weights that lie in a cache, multiplying them with few columns; a rough
 * figure, which decides only where threads have hardly anything to do. */
#define THREAD_BYTES_PER_NS 50.0

/* Time of a product with n columns beside one with a single column. */
static double columns_cost(uint64_t n) {
    return n > 8 ? (double)n / 8 : 1;
}

void sm_work_share(const sm_worker *w, uint64_t n, uint64_t *begin, uint64_t *end) {
    sm_share(n, w->thread, w->n_threads, begin, end);
}

uint32_t sm_work_sharers(const sm_worker *w, uint64_t bytes) {
    const double work = (double)bytes * columns_cost(w->T);
    if (work >= w->n_threads * w->pass->least_share)
        return w->n_threads;
    return work > w->pass->least_share ? (uint32_t)(work / w->pass->least_share) : 1;
}

void sm_work_share_weights(const sm_worker *w, uint64_t n, uint64_t bytes, uint64_t *begin,
                           uint64_t *end) {
    const uint32_t sharers = sm_work_sharers(w, bytes);
    *begin = *end = 0;
    if (w->thread < sharers)
        sm_share(n, w->thread, sharers, begin, end);
}

/* ns of a barrier for each thread that takes part in it. A busy machine may measure any time, as
 * may threads that have just been started and are all on one CPU still: more than PER_THREAD_MOST
 * is not believed. */
#define PER_THREAD_MOST 500.0

static double barrier_per_thread(sm_team *team) {
    const double measured = sm_team_barrier_ns(team) / sm_team_size(team);
    return measured < PER_THREAD_MOST ? measured : PER_THREAD_MOST;
}

/* ns that sharing an operator out takes beside: vectors move from one CPU's cache to another's,
 * and shares are not quite equal. */
#define SHARING 300.0
/* A step runs on several threads if that makes it faster by this factor at least: the estimate
 * is rough, and threads that wait take time from others. */
#define WORTH 1.3

double sm_work_least_share(sm_team *team) {
    return barrier_per_thread(team) * sm_team_size(team) * THREAD_BYTES_PER_NS;
}

/* On n threads the step takes about
 *   t(n) = work / n + barriers * (SHARING + per_thread * n)
 * which is least where n^2 = work / (barriers * per_thread). */
uint32_t sm_work_threads(const sm_workspace *ws, sm_team *team, const sm_step *b) {
    const uint32_t most = sm_team_size(team);
    const double per_thread = barrier_per_thread(team);
    if (most == 1 || per_thread <= 0)
        return most;
    const double barriers = 2.5 * ws->net->n_blocks + 2;
    double bytes = (double)ws->net->decode_bytes * columns_cost(b->n_tokens);
    for (uint32_t i = 0; i < b->n_spans; i++) {
        const sm_span *s = &b->spans[i];
        bytes += columns_cost(s->n) * sm_state_read_bytes(s->state, ws->net, s->position, s->n);
    }
    const double work = bytes / THREAD_BYTES_PER_NS;
    double n = floor(sqrt(work / (barriers * per_thread)) + 0.5);
    n = n < 2 ? 2 : n > most ? most : n;
    return work > WORTH * (work / n + barriers * (SHARING + per_thread * n)) ? (uint32_t)n : 1;
}

sm_status sm_torn(sm_error *error) {
    return sm_fail(error, SM_ERR_STATE,
                   "this process was forked inside the call, by its cancel hook: here it ends");
}
