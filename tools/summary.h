/* summary.h - a conversation in fewer words, by the model that has it. */
#ifndef SUMMARY_H
#define SUMMARY_H

#include "cli.h"

#include <jansson.h>

typedef struct summary_by {
    const sm_model *model;
    const sm_chat *chat;
    const sm_session_options *session; /* of the session that is made for it */
    const sm_sampling *sampling;
    sm_cancel_fn cancel; /* asked while it is computed */
} summary_by;

/* A summary of messages[from..to), and of what came before them as `before` sums it up (NULL:
 * nothing did), an eighth of the context long at most; the caller frees it. Of a conversation that
 * does not fit the context its middle is not read. NULL: cancelled, or it failed, which was
 * reported. */
char *summarise(const summary_by *by, const json_t *messages, size_t from, size_t to,
                const char *before);

#endif
