/* generation.h - one text that is being generated, and the steps of it: the prompt (prompt.c), text
 * handed out (deliver.c), tokens chosen and fed (generate.c). */
#ifndef SM_GENERATION_H
#define SM_GENERATION_H

#include "run.h"

/* Generation by a constraint. */
typedef struct sm_constrained {
    sm_constraint_state *state; /* NULL: without */
    uint32_t *mask;
    uint64_t n_words;
    int32_t *forced; /* [at .. n_forced): tokens that come next, whatever the logits say */
    uint64_t at, n_forced;
} sm_constrained;

typedef struct sm_generation {
    sm_text stop[SM_MAX_TEXTS], ban[SM_MAX_TEXTS]; /* of the options, with their lengths */
    sm_session *s;
    sm_generate_options taken;
    const sm_generate_options *o; /* these */
    sm_chain chain;
    double mu; /* mirostat's */
    sm_policy policy;
    sm_heal heal;
    sm_bans bans;
    bool control; /* the text of control tokens is handed out */
    sm_token_fn on_token;
    void *user;
    sm_error *error;
    uint64_t start; /* when the call came, ns */
    uint64_t first; /* when the first token was chosen; 0: not yet */
    bool stopped;   /* a stop string was found */
    sm_constrained by;
    int32_t *fed; /* [n_fed] chosen, not fed yet: fed together */
    uint32_t n_fed;
    bool opened;                         /* what its options hold has to be let go */
    struct sm_generation *const *before; /* [n_before] others of a batch whose prompts are there */
    uint64_t n_before;
} sm_generation;

/* Takes options for a generation of which s, on_token, user and error are set, and whose session is
 * marked. What close lets go, also after a failure. */
sm_status sm_generation_open(sm_generation *g, const sm_generate_options *options);
void sm_generation_close(sm_generation *g);
/* The beginning: counts are zero, the prompt is fed. */
sm_status sm_generation_begin(sm_generation *g, const sm_prompt *prompt);
/* Chooses tokens and hands them out until something must be fed (*id the last one chosen), or the
 * text has ended. */
sm_status sm_generation_turn(sm_generation *g, int32_t *id, bool *ended);
/* Feeds what a turn chose. */
sm_status sm_generation_feed(sm_generation *g, int32_t id);
/* What the counts say of how it ended. */
void sm_generation_end(sm_generation *g, sm_status status);

/* Encodes the prompt and makes the session hold it. */
sm_status sm_generation_feed_prompt(sm_generation *g, const sm_prompt *prompt);
/* Takes over what another session holds of a prompt, where that is more than its own
 * (together.c). */
sm_status sm_generation_share(sm_generation *g, const int32_t *ids, uint64_t n);
/* One token's text into the stream. *again: something banned is complete, and the session is back
 * where another token has to be chosen. */
sm_status sm_generation_deliver(sm_generation *g, sm_waiting *token, bool *again);
/* The text that had been waiting, once nothing more comes. last: the token that ended it all and
 * was not delivered, or -1. */
sm_status sm_generation_flush(sm_generation *g, int32_t last);

#endif
