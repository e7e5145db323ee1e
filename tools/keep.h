/* keep.h - results of training that are not replaced by a slip. */
#ifndef KEEP_H
#define KEEP_H

#include <stdbool.h>

/* The files that a run writes. */
typedef struct keep_files {
    const char *out, *checkpoint, *metrics, *plot;
} keep_files;

/* Whether a run may write them: it goes on with the run that made them (resume), is told to
 * replace them, or they are not there. Of metrics and plots only those of runs are replaced
 * without being told. Reports what stands against it: CLI_GO_ON or an exit code. */
int keep_check(const keep_files *files, bool resume, bool overwrite);

#endif
