/* choose.h - `smallmind eval --task`: which choice is likeliest to a model. */
#ifndef CHOOSE_H
#define CHOOSE_H

#include "tasks.h"

typedef struct choose_options {
    const task *task;
    const char *task_name;
    const char *path;  /* of the data set: JSON lines, or one list */
    uint32_t limit;    /* lines of it at most; 0: all */
    const char *model; /* for what is printed */
    bool json;
} choose_options;

/* CLI_DONE or an exit code. */
int choose_run(const choose_options *options, const sm_model *model, sm_session *session);

#endif
