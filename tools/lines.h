/* lines.h - commands that make something of many texts, one a line: embed, rerank, classify. */
#ifndef LINES_H
#define LINES_H

#include "cli.h"

typedef struct lines {
    cli_input input;
    sm_text *text; /* [n], in input */
    uint64_t n;
} lines;

/* The whole text of -p as one, or each line of -f, or of standard input where neither is given.
 * CLI_GO_ON or an exit code. */
int lines_read(lines *to, const char *command, const cli_prompt *given);
void lines_free(lines *l);

/* What these commands have open. */
typedef struct encoding {
    sm_model *model;
    sm_encoder *encoder;
    sm_encoder_info info;
    sm_cancel *flag; /* is set when a signal comes */
} encoding;

/* Reports failure itself: an exit code, else CLI_GO_ON. */
int encoding_open(encoding *to, const char *path, sm_model_options *model,
                  sm_encoder_options *encoder);
void encoding_free(encoding *e);

/* Calls `compute` for some texts at a time, in order, with Ctrl-C and progress connected, then
 * `show` for each. CLI_DONE or an exit code. */
typedef struct lines_job {
    encoding *encoding;
    const lines *lines;
    const char *what; /* "embedding" */
    sm_status (*compute)(void *user, const sm_text *texts, uint64_t n, sm_error *error);
    int (*show)(void *user, uint64_t line, uint64_t i); /* i: of those that were computed last */
    void *user;
} lines_job;
#define LINES_TOGETHER 256
int lines_run(const lines_job *job);

#define LINES_FILE_DOC \
    "texts, one a line, from a file or -. Without -p and -f standard input is read"

#endif
