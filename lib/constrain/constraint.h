/* constraint.h - what the files of constraints share (constraint.c, masks.c, place.c, forced.c);
 * nobody else includes it. */
#ifndef SM_CONSTRAIN_CONSTRAINT_H
#define SM_CONSTRAIN_CONSTRAINT_H

#include "constrain.h"
#include "machine.h"
#include "trie.h"

#define SM_MASKS_KEPT 32

typedef struct sm_kept_mask {
    sm_place place; /* SM_PLACE_DEAD: none */
    uint32_t *bits;
} sm_kept_mask;

struct sm_constraint {
    _Atomic uint32_t references;
    sm_mem *mem;
    const sm_tokenizer *tokenizer;
    const sm_trie *trie;
    sm_mutex *lock; /* around everything below */
    sm_grammar *g;
    sm_machine machine;
    sm_kept_mask kept[SM_MASKS_KEPT];
    uint32_t next_kept;
    sm_place *path; /* [max_depth + 1]: states along a token */
    uint32_t *ends; /* [max_depth + 1]: where the twigs on the way end */
    char *forced;   /* room for what is forced, as text and as tokens */
    int32_t *forced_ids;
    uint64_t forced_room, forced_ids_room;
    int32_t *told; /* tokens that are forced, by place: how many, then they; [0] is none */
    uint64_t n_told, told_room;
};

struct sm_constraint_state {
    sm_use use;
    sm_constraint *c;
    sm_place at;
    bool over;         /* an end token was accepted */
    sm_place *history; /* before each token */
    uint64_t n, room;
};

/* The mask of a place, kept for the next time. (masks.c) */
sm_status sm_mask_of(sm_constraint *c, sm_place at, const uint32_t **bits, sm_error *error);

/* Around every call about a state: it is in use, the constraint is locked. (place.c) */
sm_status sm_place_begin(sm_constraint_state *s, const char *function, sm_error *error);
/* The same for what asks about tokens. */
sm_status sm_place_begin_tokens(sm_constraint_state *s, const char *function, sm_error *error);
void sm_place_end(sm_constraint_state *s);

#endif
