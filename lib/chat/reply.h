/* reply.h - replies of models, read while they arrive: content, reasoning, tool calls.
 *
 * A reply's text is held from the first byte that may begin a mark; alternatives (patterns of
 * calls, marks of reasoning, silent marks) are tried there in turn, and what none of them takes is
 * content. Work is linear in the text: what a failed alternative had seen is looked at again only
 * within a budget (SM_REPLY_…), then it is content as a whole.
 */
#ifndef SM_REPLY_H
#define SM_REPLY_H

#include "reply_format.h"
#include "reply_scan.h"

#define SM_REPLY_MAX_BYTES ((uint64_t)1 << 28) /* of one reply */
#define SM_REPLY_MAX_CALLS 4096
#define SM_REPLY_MAX_WORD 256 /* bytes of a name, an id, an argument's name */
/* Bytes looked at again at most, up to place n of the text. */
#define SM_REPLY_BUDGET(n) (((uint64_t)1 << 20) + 16 * (n))

/* ---- tools that a reply may call (reply_tools.c) --------------------------------- */

/* The tools array of a request, OpenAI's form; NULL: not known. */
typedef struct sm_reply_tools {
    sm_json *json;
    char *text; /* that json reads */
} sm_reply_tools;

/* The function of that name: an object with name and parameters; SM_JSON_NONE. */
sm_json_value sm_reply_tool(const sm_reply_tools *tools, const char *name, uint64_t length);
/* The schema of one of its arguments; of the argument at that place. */
sm_json_value sm_reply_property(const sm_reply_tools *tools, sm_json_value tool, const char *name,
                                uint64_t length);
/* The name of the argument at that place in the schema; SM_JSON_NONE. */
sm_json_value sm_reply_property_at(const sm_reply_tools *tools, sm_json_value tool, uint32_t place);

/* The function in an item of the tools: the item, or what it holds by that name. */
sm_json_value sm_reply_function(const sm_reply_tools *tools, sm_json_value item);
/* The schema of a function's arguments and, if key is not NULL, its name there; SM_JSON_NONE. */
sm_json_value sm_reply_parameters(const sm_reply_tools *tools, sm_json_value function,
                                  const char **key);
/* The name of the function in that item of the tools. */
const char *sm_reply_tool_name(const sm_reply_tools *tools, sm_json_value item, uint64_t *length);
/* A copy of a tools array in text; NULL, "null": none. SM_ERR_FORMAT, _NOMEM. */
sm_status sm_reply_tools_read(sm_reply_tools *tools, sm_mem *mem, const char *text,
                              sm_error *error);
void sm_reply_tools_free(sm_reply_tools *tools, sm_mem *mem);

/* Types that a schema allows, as far as one looks: bit (1 << sm_json_kind), whole numbers beside
 * numbers. SM_JSON_NONE, or nothing is known: all. */
#define SM_REPLY_INTEGERS (1u << 30)
#define SM_REPLY_ANY_TYPE UINT32_MAX
uint32_t sm_reply_types(const sm_reply_tools *tools, sm_json_value schema);

/* How an argument that is text is to be taken. */
typedef enum sm_reply_as { SM_REPLY_AS_SCHEMA, SM_REPLY_AS_STRING, SM_REPLY_AS_VALUE } sm_reply_as;

/* Writes text[0..n) as JSON: of the types that the schema allows (SM_JSON_NONE: any) the first that
 * it can be, else a string. */
void sm_reply_put_typed(sm_builder *out, const sm_reply_tools *tools, sm_json_value schema,
                        const char *text, uint64_t n, sm_reply_as as);

/* ---- calls (reply_calls.c) ------------------------------------------------------- */

typedef struct sm_reply_call {
    char *name, *arguments, *id; /* id NULL: the text has none */
    uint64_t name_length, arguments_length, id_length;
} sm_reply_call;

typedef struct sm_reply_calls {
    sm_mem *mem;
    sm_reply_call *call;
    uint32_t n, capacity;
    bool failed; /* out of memory, or too many */
} sm_reply_calls;

void sm_reply_calls_cut(sm_reply_calls *calls, uint32_t n); /* forgets those from n on */
void sm_reply_calls_free(sm_reply_calls *calls);
/* false: out of memory. id may be NULL. Bytes that are not UTF-8 become U+FFFD. */
bool sm_reply_calls_add(sm_reply_calls *calls, const char *name, uint64_t name_length,
                        const char *id, uint64_t id_length, const char *arguments,
                        uint64_t arguments_length);
/* Adds text, what is not UTF-8 in it as U+FFFD. */
void sm_reply_put_clean(sm_builder *out, const char *text, uint64_t n);
/* Calls of one JSON value, {"name", "arguments"} in one of its spellings or an array of them; maps:
 * {NAME: ARGUMENTS}. strict: the arguments may not be missing. false: it is not that. */
bool sm_reply_calls_json(sm_reply_calls *calls, const char *text, uint64_t n, bool maps,
                         bool strict);
/* Calls as Python writes them. */
bool sm_reply_calls_python(sm_reply_calls *calls, const sm_reply_tools *tools, const char *text,
                           uint64_t n);
/* A JSON object, or a string that holds one: the object, as sm_json_put_value writes it. */
bool sm_reply_put_arguments(sm_builder *out, const char *text, uint64_t n);

/* ---- one alternative at one place (reply_match.c) -------------------------------- */

typedef struct sm_reply_span {
    uint64_t at, n;
} sm_reply_span;

typedef struct sm_reply_match {
    const sm_reply_step *step; /* of the pattern */
    uint32_t pc;
    uint64_t base; /* where the call begins that is being read */
    uint64_t at;   /* where its step begins in the text */
    uint64_t seen; /* how far the step has looked */
    sm_reply_scan scan;
    sm_reply_span name, id, key, body;
    sm_reply_as as;
    bool marked;          /* the pattern has a mark */
    bool meant;           /* it is a call, right or wrong */
    bool complete;        /* nothing that matters is missing */
    bool any;             /* calls were taken: they stay whatever follows */
    bool between;         /* JSON values: one has ended, another may follow */
    uint32_t n_taken;     /* calls taken so far, of those in the input's list */
    sm_builder arguments; /* members read so far */
    uint32_t n_arguments;
} sm_reply_match;

/* What a match reads, and where it puts calls. */
typedef struct sm_reply_input {
    const char *text;
    uint64_t n;
    bool ended; /* no more text comes */
    const sm_reply_tools *tools;
    sm_reply_calls *calls;
    /* whether one of the format's marks begins at that place */
    sm_reply_found (*mark_at)(const void *user, uint64_t at);
    const void *user;
} sm_reply_input;

void sm_reply_match_begin(sm_reply_match *m, const sm_reply_step *step, sm_mem *mem, uint64_t at);
void sm_reply_match_end(sm_reply_match *m);
/* Goes on. SM_REPLY_WHOLE: it ends at m->at. SM_REPLY_NONE: from m->base on it is none (calls
 * before that, if m->any, were). */
sm_reply_found sm_reply_match_run(sm_reply_match *m, const sm_reply_input *in);

#endif
