/* bias.h - `--logit-bias`: tokens made likelier or less likely. */
#ifndef BIAS_H
#define BIAS_H

#include "cli.h"

/* Each given text is TOKEN=BIAS, TOKEN being an id or a text (in double quotes where it could be
 * taken for an id), of which every token gets the bias. Sets bias and n_bias of the options, to be
 * freed. CLI_GO_ON or an exit code. */
int bias_read(const cli_texts *given, const sm_model *model, sm_sampling *sampling);

#endif
