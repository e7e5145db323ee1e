/* constrain.h - constraints for other components: of a grammar that they wrote themselves. The
 * public functions are in smallmind/constrain.h. */
#ifndef SM_CONSTRAIN_CONSTRAIN_H
#define SM_CONSTRAIN_CONSTRAIN_H

#include "constrain/grammar.h"
#include "smallmind/constrain.h"
#include "text/text.h"

/* Writes the root of a grammar: sm_grammar_root is called with what it answers. A status of its own
 * (beside the grammar's) ends the making. */
typedef sm_status (*sm_grammar_fn)(void *user, sm_grammar *g, sm_expr *root, sm_error *error);

/* A constraint of what `write` writes. The text of a control token can be asked for as the byte
 * 0xFF and that text. */
sm_status sm_constraint_make(sm_constraint **out, const sm_tokenizer *tokenizer,
                             sm_grammar_fn write, void *user, const sm_constraint_options *options,
                             sm_error *error);

void sm_constraint_retain(sm_constraint *constraint);
uint64_t sm_constraint_words(const sm_constraint *constraint); /* of a mask */

#endif
