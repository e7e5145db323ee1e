/* tool_calls.h - calls of tools as an expression, for the constraint that tools.c makes. */
#ifndef SM_RUN_TOOL_CALLS_H
#define SM_RUN_TOOL_CALLS_H

#include "chat/reply.h"
#include "constrain/constrain.h"

typedef struct sm_tool_calls {
    const sm_reply_format *format;
    const sm_reply_tools *tools;
    const char *only; /* the name of the only tool that may be called; NULL: any */
    bool behind_mark; /* what is written begins behind the format's first mark */
} sm_tool_calls;

/* Whether calls of the format can be written so: what is to begin behind a mark needs one. */
bool sm_tool_calls_fit(const sm_tool_calls *calls);
/* One call or several: a sm_grammar_fn whose user is a sm_tool_calls. SM_ERR_UNSUPPORTED,
 * SM_ERR_FORMAT: a schema of parameters that cannot be honoured, or is none ("tools[1].function.
 * parameters.properties.a: …"). */
sm_status sm_tool_calls_write(void *calls, sm_grammar *g, sm_expr *root, sm_error *error);

#endif
