/* machine.h - a grammar run over bytes: its states and how they follow each other. Nobody outside
 * lib/constrain includes it.
 *
 * What is regular runs as derivatives; what calls rules that call themselves runs with stacks of
 * what is to follow. A state is a set of threads (an expression, a stack), kept under a number once
 * it was reached, with what follows after each byte filled in when it is asked for. Equal stacks
 * are one; threads that wait for the same on several stacks are one thread on a union of stacks.
 */
#ifndef SM_CONSTRAIN_MACHINE_H
#define SM_CONSTRAIN_MACHINE_H

#include "expr.h"

/* Grammars in llama.cpp's notation (gbnf.c): the rule "root". SM_ERR_FORMAT, SM_ERR_UNSUPPORTED:
 * which line, and what is wrong. */
sm_expr sm_expr_gbnf(sm_grammar *g, const char *text, uint64_t length);

/* Looks through a whole grammar before it is run (rules.c): every rule must be there, those that
 * begin with themselves are written anew; regular rules are put in where they are called. */
bool sm_grammar_finish(sm_grammar *g);
/* Takes rules that begin with themselves out (left.c). facts: of the first n nodes, SM_FACT_EMPTY
 * where they match the empty text. *found: whether there were any, and the grammar is another;
 * false: it failed. */
#define SM_FACT_EMPTY 1U
bool sm_left_remove(sm_grammar *g, const uint8_t *facts, uint64_t n, bool *found);

/* Limits of one machine: SM_ERR_UNSUPPORTED. */
#define SM_MACHINE_MAX_STATES (1U << 20)
#define SM_MACHINE_MAX_WORK (1U << 16) /* expressions entered after one byte */

typedef uint32_t sm_place; /* a state's number */
#define SM_PLACE_DEAD 0U
#define SM_PLACE_NONE UINT32_MAX /* not computed yet; as a result: failed */

typedef struct sm_thread {
    sm_expr e;
    uint32_t stack;
} sm_thread;

typedef struct sm_stack {
    sm_expr e;     /* what is to follow; SM_EXPR_NONE: a union of members[a .. a+n) */
    uint32_t a, n; /* a: the stack below */
} sm_stack;

/* What two stacks were joined to; a: the lower number + 1, 0: free. */
typedef struct sm_join {
    uint32_t a, b, one;
} sm_join;

typedef struct sm_state_entry {
    uint32_t threads, n_threads; /* in a machine's threads */
    uint32_t shape, targets;     /* places; shape SM_PLACE_NONE: not looked at yet */
    uint8_t accepts;
    uint8_t known;    /* lengths below are known, a bit for each slice of a vocabulary */
    uint8_t plain[6]; /* of texts of a slice's characters any that long can follow; 255: any */
    uint32_t forced;  /* who runs it keeps here where it has the tokens that are; 0: not known */
    uint32_t loops;   /* groups of bytes after which it is the same state; 0: not known or none */
} sm_state_entry;

typedef struct sm_machine sm_machine;
struct sm_machine {
    sm_grammar *g;
    sm_place start;
    sm_state_entry *states;
    uint64_t n_states, states_room;
    sm_hash state_hash;
    sm_thread *threads;
    uint64_t n_threads, threads_room;
    sm_place *targets;
    uint64_t n_targets, targets_room;
    /* stacks: [0] is the bottom */
    sm_stack *stacks;
    uint64_t n_stacks, stacks_room;
    sm_hash stack_hash;
    uint32_t *members; /* of unions */
    uint64_t n_members, members_room;
    sm_join *joins;
    uint32_t joins_mask, n_joins;
    /* scratch: what is to be entered, what was, threads found */
    sm_thread *work, *found;
    uint64_t n_work, work_room, n_found, found_room;
    sm_thread *seen;
    uint32_t *seen_stamp, seen_mask, stamp;
    uint32_t n_seen;
    uint32_t *pile; /* stacks of unions in work */
    uint64_t n_pile, pile_room;
};

/* ---- stacks (stacks.c); SM_PLACE_NONE: the grammar failed --------------------------------- */

uint32_t sm_stack_push(sm_machine *m, sm_expr e, uint32_t stack); /* e is to follow, then it */
bool sm_stack_pile(sm_machine *m, uint32_t stack);                /* puts it on m->pile */
/* The union of those on m->pile from `from` on, which are taken off. */
uint32_t sm_stack_join(sm_machine *m, uint64_t from);

/* ---- running (states.c) -------------------------------------------------------------------- */

/* A finished grammar, which stays the caller's. */
bool sm_machine_init(sm_machine *m, sm_grammar *g);
void sm_machine_done(sm_machine *m);
/* After one byte more; SM_PLACE_NONE: the grammar failed. */
sm_place sm_machine_next_slow(sm_machine *m, sm_place at, uint8_t byte);
bool sm_machine_look(sm_machine *m, sm_place at); /* fills in the shape */

static inline sm_place sm_machine_next(sm_machine *m, sm_place at, uint8_t byte) {
    const sm_state_entry *s = &m->states[at];
    if (s->shape != SM_PLACE_NONE) {
        const sm_place next = m->targets[s->targets + m->g->shapes[s->shape].cell[byte]];
        if (next != SM_PLACE_NONE)
            return next;
    }
    return sm_machine_next_slow(m, at, byte);
}
static inline bool sm_machine_accepts(const sm_machine *m, sm_place at) {
    return m->states[at].accepts;
}

#endif
