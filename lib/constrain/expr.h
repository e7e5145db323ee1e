/* expr.h - what the files of lib/constrain share of the table of expressions; nobody else includes
 * it. */
#ifndef SM_CONSTRAIN_EXPR_H
#define SM_CONSTRAIN_EXPR_H

#include "constrain/grammar.h"

/* Kinds of expressions. The first three have fixed numbers. */
enum {
    SM_NODE_NOTHING, /* matches no text */
    SM_NODE_EMPTY,   /* matches the empty one */
    SM_NODE_SET,     /* a: a set of bytes */
    SM_NODE_SEQ,     /* a then b; a is no sequence but where it is a long one */
    SM_NODE_ALT,     /* list[a .. a+b), sorted, without alternatives inside */
    SM_NODE_AND,     /* likewise */
    SM_NODE_NOT,     /* any bytes but what a matches */
    SM_NODE_REPEAT,  /* a, min..max times */
    SM_NODE_RULE     /* rule a */
};
#define SM_NOTHING 0U
#define SM_EMPTY 1U
#define SM_ANY_BYTES 2U /* any bytes, any number: a repetition */

#define SM_HAS_EMPTY 1U   /* matches the empty text; not known where a rule is inside */
#define SM_HAS_RULE 2U    /* a rule is inside */
#define SM_HAS_BOOLEAN 4U /* SM_NODE_AND or SM_NODE_NOT is inside: may match nothing */
#define SM_IS_LIVE 8U     /* known to match something */
#define SM_IS_DEAD 16U    /* known to match nothing */

#define SM_MAX_SPINE 64U /* sequences up to this length are made right-handed */

typedef struct sm_node {
    uint8_t kind, flags;
    uint16_t depth, spine;
    uint16_t reserved;
    uint32_t a, b, min, max;
    uint32_t step; /* its derivatives, 0: not computed yet */
    uint32_t mark; /* the last search that saw it */
} sm_node;

/* How the 256 bytes part into cells of those after which the same is left. */
typedef struct sm_shape {
    uint8_t cell[256];
    uint8_t bytes[256];  /* by cell */
    uint16_t start[257]; /* of each cell in bytes; [n]: 256 */
    uint16_t n;
} sm_shape;

/* What is left of an expression after each byte: targets[at + shape.cell[byte]]. */
typedef struct sm_step {
    uint32_t shape, at;
} sm_step;

/* A table of things found by their contents. */
typedef struct sm_hash {
    uint32_t *slots; /* number + 1; 0: free */
    uint32_t mask, used;
} sm_hash;

typedef struct sm_rule_entry {
    char *name;
    sm_expr body; /* SM_EXPR_NONE: not defined */
} sm_rule_entry;

typedef struct sm_property {
    char name[40];
    uint32_t at, n; /* of property_ranges */
} sm_property;

typedef struct sm_mix sm_mix;
typedef struct sm_run sm_run;

struct sm_grammar {
    sm_mem *mem;
    sm_status status;
    sm_error error;
    sm_expr root, any_text;
    bool allow_left; /* rules may begin with themselves */
    sm_expr tail[4]; /* [k]: any k continuation bytes */

    sm_node *nodes;
    uint64_t n_nodes, nodes_room;
    sm_hash node_hash;
    uint32_t *list;
    uint64_t n_list, list_room;
    uint64_t (*sets)[4];
    uint64_t n_sets, sets_room;
    sm_hash set_hash;
    sm_rule_entry *rules;
    uint64_t n_rules, rules_room;

    sm_shape *shapes;
    uint64_t n_shapes, shapes_room;
    sm_hash shape_hash;
    sm_step *steps; /* [0] is none */
    uint64_t n_steps, steps_room;
    sm_expr *targets;
    uint64_t n_targets, targets_room;

    sm_property *properties;
    uint64_t n_properties, properties_room;
    sm_range *property_ranges;
    uint64_t n_property_ranges, property_ranges_room;

    /* scratch: of members while a node is made, of cells while derivatives are */
    uint32_t *scratch;
    uint64_t scratch_room;
    uint32_t *links; /* pairs: an expression, the next pair */
    uint64_t links_room;
    sm_mix *mix;
    sm_run *runs;
    uint64_t runs_room;
    uint64_t work; /* since the call began */
    const sm_hook *hook;
    uint64_t unasked; /* work since it was asked */
    uint32_t *queue;  /* states looked at where a question is decided: state, whence */
    uint64_t queue_room, queue_used;
    uint32_t epoch; /* of searches */
};

/* Room for `need` items of `size` bytes at *items (a pointer's address); false: the grammar
 * failed. */
bool sm_grammar_reserve(sm_grammar *g, void *items, uint64_t *room, uint64_t need, uint64_t size);
bool sm_hash_reserve(sm_grammar *g, sm_hash *hash, uint32_t **old, uint32_t *old_mask);
/* Counts work of a call, members and bytes looked at; false: the grammar failed by the limit. */
#define SM_GRAMMAR_MAX_WORK (1ULL << 23)
bool sm_grammar_work(sm_grammar *g, uint64_t steps);
sm_expr sm_grammar_nomem(sm_grammar *g);

static inline uint8_t sm_expr_flags(const sm_grammar *g, sm_expr e) {
    return g->nodes[e].flags;
}
static inline bool sm_expr_has_empty(const sm_grammar *g, sm_expr e) {
    return g->nodes[e].flags & SM_HAS_EMPTY;
}
/* Any bytes but what e matches. */
sm_expr sm_expr_other(sm_grammar *g, sm_expr e);

/* ---- derivatives (derive.c) ------------------------------------------------------------- */

/* What is left of a regular expression after each byte; false: the grammar failed. */
bool sm_expr_step(sm_grammar *g, sm_expr e, sm_step *step);
static inline sm_expr sm_step_target(const sm_grammar *g, sm_step step, uint8_t byte) {
    return g->targets[step.at + g->shapes[step.shape].cell[byte]];
}
/* Whether e matches something; a limit that is reached says yes and fails the grammar. */
bool sm_expr_is_live(sm_grammar *g, sm_expr e);
/* The number of a shape whose cell[] is filled in with numbers in order of appearance. */
uint32_t sm_shape_find(sm_grammar *g, const uint8_t cell[256], uint32_t n);

/* ---- characters (chars.c) --------------------------------------------------------------- */

/* The complement, into out, which has room for n + 2; n sorted. */
uint64_t sm_ranges_invert(const sm_range *ranges, uint64_t n, sm_range *out);
/* Ranges of a Unicode property by one of its names ("Lu", "Letter"); false if there is none of that
 * name or the grammar failed. *at into g->property_ranges. */
bool sm_property_find(sm_grammar *g, const char *name, uint64_t length, uint64_t *at, uint64_t *n);

#endif
