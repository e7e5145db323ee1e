/* calls.h - short forms of public functions that give more than most tests ask for. */
#ifndef TEST_CALLS_H
#define TEST_CALLS_H

#include "smallmind/generate.h"

/* sm_session_sample for those who want the id, and maybe its log-probability. */
static inline sm_status test_sample(sm_session *session, const sm_sampling *sampling, int32_t *id,
                                    double *logprob, sm_error *error) {
    sm_choice choice = {.struct_size = sizeof choice, .id = -1};
    const sm_status status = sm_session_sample(session, sampling, &choice, error);
    *id = choice.id;
    if (logprob)
        *logprob = choice.logprob;
    return status;
}

/* Token i of the session, or -1. */
static inline int32_t test_token(const sm_session *session, uint32_t i) {
    int32_t id;
    uint64_t n;
    return sm_session_tokens(session, i, &id, 1, &n, NULL) || !n ? -1 : id;
}

/* All zero for NULL. */
static inline sm_session_info test_info(const sm_session *session) {
    sm_session_info info = {.struct_size = sizeof info};
    (void)sm_session_get_info(session, &info, NULL);
    return info;
}

#endif
