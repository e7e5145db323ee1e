/* nn.h - all that other components use of lib/nn. */
#ifndef SM_NN_H
#define SM_NN_H

#include "state.h"
#include "step.h"

/* The architectures of all families, separated by '|'. */
const char *sm_family_names(void);

#endif
