/* reference.h - the loss of a decoder-only network in plain double arithmetic, straight from the
 * formulas and sharing no code with the library, for finite differences.
 */
#ifndef TEST_REFERENCE_H
#define TEST_REFERENCE_H

#include "train/train.h"

/* Parameters of a graph as doubles, in the order of sm_graph_params. */
typedef struct reference {
    const sm_config *config;
    const sm_params *params;
    const sm_net *net; /* for the angles of rope */
    double **value;
} reference;

reference reference_make(const sm_graph *graph);
void reference_free(reference *r);
/* Sum of the losses of the tokens that have a target. */
double reference_loss(const reference *r, const sm_train_batch *batch);

#endif
