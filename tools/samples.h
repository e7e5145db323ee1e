/* samples.h - `smallmind run --samples`: several continuations of one prompt. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include "cli.h"

typedef struct samples {
    uint32_t n;
    const sm_model *model;
    const cli_input *prompt;
    const sm_session_options *session;
    const sm_generate_options *generate;
    const sm_sampling *sampling; /* sample i takes `sequence` + i */
    const cli_texts *adapters;
    bool json, ids, rows, no_prompt;
} samples;

/* Computes them together and prints them: JSON lines as tokens come, else one after the other when
 * all have ended. An exit code. */
int samples_print(const samples *how);

#endif
