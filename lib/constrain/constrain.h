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

/* A constraint of what `write` writes. hook (NULL: as the options say) is asked while it is made.
 * The text of a control token can be asked for as the byte 0xFF and that text. */
sm_status sm_constraint_make(sm_constraint **out, const sm_tokenizer *tokenizer,
                             sm_grammar_fn write, void *user, const sm_hook *hook,
                             const sm_constraint_options *options, sm_error *error);

void sm_constraint_retain(sm_constraint *constraint);
uint64_t sm_constraint_words(const sm_constraint *constraint); /* of a mask */

/* ---- arguments of a function as models write them (schema_notation.c) ----------------------- */

typedef enum sm_notation_kind {
    SM_NOTATION_JSON,
    SM_NOTATION_PYTHON, /* a=1, b="x", what stands in NAME(…); True, False, None inside */
    SM_NOTATION_PAIRS,  /* {a:1,b:<|"|>x<|"|>} */
    SM_NOTATION_TEXT    /* members as sm_notation.member writes them; strings as they are */
} sm_notation_kind;

/* A member of an object in SM_NOTATION_TEXT. Values by their type; nothing (sm_expr_nothing) where
 * there are none of it. */
typedef struct sm_written {
    const char *name; /* [length]; NULL: a key that the schema does not name */
    uint64_t length;
    sm_expr key;
    sm_expr string;                               /* as it is, without quotes */
    sm_expr number, boolean, null, array, object; /* in JSON */
} sm_written;

typedef struct sm_notation {
    sm_notation_kind kind;
    /* of SM_NOTATION_TEXT: what ends a key, what no string may hold (NULL: nothing) */
    const char *key_end, *avoid[2];
    sm_expr (*member)(void *user, sm_grammar *g, const sm_written *written);
    void *user;
} sm_notation;

/* The expression of a function's arguments: the objects that the schema text[0..length) admits, in
 * a notation; written into g. Keys come in any order where an object names up to 6, else in the
 * schema's. closed: in the schema's in any case, and objects of type "object" whose schema has
 * properties and says nothing of others have no others. name: of the schema, for messages
 * ("tools[0].parameters"); places inside are put behind it with points. Statuses as
 * sm_constraint_new_schema. */
sm_status sm_schema_arguments(sm_grammar *g, const char *text, uint64_t length, const char *name,
                              bool closed, const sm_notation *notation, sm_expr *out,
                              sm_error *error);

#endif
