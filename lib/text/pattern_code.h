/* pattern_code.h - the code of regular expressions: what pattern_read.c writes and pattern.c
 * runs. */
#ifndef SM_TEXT_PATTERN_CODE_H
#define SM_TEXT_PATTERN_CODE_H

#include "pattern.h"

#define MAX_CODE 20000 /* instructions */
#define MAX_REGISTERS 64

/* Sets are written backwards: truths, and what joins the last one or two of them. */
typedef enum term_op {
    TERM_CATEGORIES, /* a: one bit each */
    TERM_RANGES,     /* b of them from a on */
    TERM_SCRIPT,     /* a */
    TERM_SPACE,
    TERM_WORD,
    TERM_NOT,
    TERM_OR,
    TERM_AND,
} term_op;

typedef struct term {
    term_op op;
    uint32_t a, b;
} term;

typedef struct code_range {
    uint32_t low, high;
} code_range;

typedef enum op {
    OP_MATCH,
    OP_CHAR,  /* the b bytes that a is made of */
    OP_SET,   /* one of set a */
    OP_RUN,   /* min to max of set a */
    OP_SPLIT, /* to pc + a or, if that fails, pc + b; begins[min] and [min + 1] are of these */
    OP_JUMP,  /* to pc + a */
    OP_OUT,   /* while reading: to the end of the group that is a deep */
    OP_ATOM,  /* up to its OP_LEAVE the first way that matches counts */
    OP_LOOK,  /* the same, but the place stays; negative: pc + a is where its failing goes on */
    OP_LEAVE,
    OP_BACK,  /* a characters */
    OP_MARK,  /* register b = place */
    OP_CHECK, /* to pc + a if the place is that of register b: an empty round of a loop */
    OP_LINE_BEGIN,
    OP_LINE_END,
    OP_TEXT_BEGIN,
    OP_TEXT_END,
    OP_TEXT_LAST, /* \Z */
    OP_WORD_EDGE,
    OP_NO_WORD_EDGE,
} op;

typedef struct instruction {
    op op;
    uint32_t a, b; /* offsets may be negative: they wrap */
    uint32_t min, max;
    bool lazy, possessive, negative;
    bool last; /* nothing but the match follows */
} instruction;

/* What a match from some instruction on may begin with. */
typedef struct begin_set {
    uint8_t bytes[256];
    bool any; /* with anything, or nothing */
} begin_set;

struct sm_pattern {
    instruction *code;
    term *terms;
    code_range *ranges;
    sm_char_test *sets;
    begin_set *begins; /* [0]: of the whole */
    uint32_t n_code, n_terms, n_ranges, n_sets, n_begins;
};

bool sm_char_test_holds(const sm_pattern *pattern, const sm_char_test *set, uint32_t code);

#endif
