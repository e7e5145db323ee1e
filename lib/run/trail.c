/* What choosing by mirostat carries from token to token, kept by position: it follows rewinding and
 * forking. */
#include "run.h"

#include <math.h>

double sm_trail_mu(const sm_session *s) {
    const sm_trail *t = &s->trail;
    for (uint32_t i = min_u32(t->end, s->length);
         i-- > 0;) /* tokens that were fed stay as it was */
        if (t->at[i].id >= 0)
            return t->at[i].id == s->ids[i] ? t->at[i].after : t->at[i].before;
    return NAN;
}

sm_status sm_trail_reserve(sm_session *s, sm_error *error) {
    sm_trail *t = &s->trail;
    if (!t->at)
        t->at = sm_alloc_array(s->mem, (uint64_t)s->n_ctx + 1, sizeof *t->at);
    return t->at
               ? SM_OK
               : sm_fail(error, SM_ERR_NOMEM, "out of memory for a session of %u tokens", s->n_ctx);
}

void sm_trail_put(sm_session *s, int32_t id, double before, double after) {
    sm_trail *t = &s->trail;
    for (uint32_t i = t->end; i < s->length; i++)
        t->at[i].id = -1;
    t->at[s->length] = (sm_trail_step){.id = id, .before = before, .after = after};
    t->end = s->length + 1;
}

sm_status sm_trail_copy(sm_session *to, const sm_session *from, sm_error *error) {
    const uint32_t n = from->trail.end;
    const sm_status status = n ? sm_trail_reserve(to, error) : SM_OK;
    if (!status && n)
        memcpy(to->trail.at, from->trail.at, n * sizeof *to->trail.at);
    to->trail.end = status ? 0 : n;
    return status;
}

void sm_trail_drop(sm_session *s, uint32_t begin, uint32_t end) {
    sm_trail *t = &s->trail;
    const uint32_t rest = t->end > end ? t->end - end : 0;
    if (rest)
        memmove(t->at + begin, t->at + end, rest * sizeof *t->at);
    t->end = min_u32(t->end, begin) + rest;
}
