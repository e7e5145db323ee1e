/* schema_number.h - what the files about numbers share (schema_digits.c, schema_automaton.c,
 * schema_number.c); nobody else includes it. */
#ifndef SM_CONSTRAIN_SCHEMA_NUMBER_H
#define SM_CONSTRAIN_SCHEMA_NUMBER_H

#include "schema.h"

/* Symbols: the digits, then these. */
enum { MINUS = 10, POINT, EXPONENT, PLUS, N_SYMBOLS };
#define DEAD UINT32_MAX

enum { START, SIGN, ZERO, INTEGER, AFTER_POINT, FRACTION, AFTER_E, E_SIGN, E_DIGITS };

/* Where the spelling is, packed: phase, and what was seen. */
#define PHASE 15u
#define NEGATIVE 16u
#define NONZERO 32u    /* a digit other than 0 */
#define BROKEN 64u     /* one behind the point */
#define TRAILING 128u  /* the last digit behind the point is 0 */
#define SMALL 256u     /* exponent below zero */
#define E_NONZERO 512u /* the exponent is not zero */

/* What is known of |x| against |bound|: digits compared so far, how many. */
typedef struct follower {
    uint32_t kind;
    const char *digits; /* of the bound, without point */
    uint32_t n;         /* of them */
    int64_t top;        /* how many stand before the point; below zero: zeros behind it */
    bool minus;
    uint64_t factor; /* N_TIMES: x * 10^places must be a multiple of it */
    uint32_t places;
} follower;

typedef struct automaton {
    schema *s;
    formula seen;
    bool scientific;
    follower *followers;
    list literals; /* formula */
    list states;   /* each: spelling, then one per follower, as uint64_t */
    list next;     /* N_SYMBOLS of each state */
    list ends;     /* uint8_t */
    uint32_t *slots, n_slots;
    uint32_t *class_of, n_classes; /* after merging; class 0: no number comes */
} automaton;

/* ---- digits (schema_digits.c) ---- */

/* Where the spelling is after a symbol. */
uint32_t sm_spelling_step(uint32_t at, uint32_t symbol, bool scientific);
/* Whether it may end there. */
bool sm_spelling_ends(uint32_t at, bool scientific);
/* A literal's machine. */
void sm_digits_follow(schema *s, formula literal, follower *f);
uint64_t sm_digits_begin(const follower *f);
uint64_t sm_digits_advance(const follower *f, uint32_t at, uint64_t state, uint32_t symbol,
                           bool scientific);
/* Whether the literal holds if the number ends there. */
bool sm_digits_hold(const follower *f, uint32_t at, uint64_t state, bool scientific);

/* ---- automata (schema_automaton.c) ---- */

/* Finds a formula's literals, without states. */
void sm_automaton_prepare(automaton *a);
/* The whole, smallest. */
automaton sm_automaton_of(schema *s, formula seen, bool scientific);
bool sm_automaton_is_empty(const automaton *a);
/* Whether the formula is true where a number ends in that state. */
bool sm_automaton_holds(const automaton *a, const uint64_t *state, uint8_t *scratch);
sm_expr sm_automaton_write(const automaton *a);
void sm_automaton_drop(automaton *a);

#endif
