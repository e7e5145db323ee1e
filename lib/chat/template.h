/* template.h - the templates that models carry: Jinja, as far as chat templates use it, with the
 * settings of transformers (trim_blocks, lstrip_blocks, an immutable sandbox, loop controls, the
 * `generation` tag) and the results of Jinja2 3.1.
 *
 *     sm_template_parse(&t, mem, text, length, "chat template", error);
 *     sm_template_render(t, mem, variables, n, NULL, &rendered, error);
 *     use(rendered.text, rendered.pieces);
 *     sm_rendered_free(&rendered);
 *     sm_template_free(t);
 *
 * A template is compiled once into code for a stack machine; what it costs to run is bounded by
 * steps, memory, output and depth, and nothing in it recurses but over its nesting.
 *
 * Statements: for (else, if, unpacking, loop.index, index0, revindex, revindex0, first, last,
 * length, depth, depth0, previtem, nextitem, cycle, changed), break, continue, if, set (blocks,
 * unpacking, attributes of a namespace), macro, call, filter, with, print, raw, generation. Not
 * include, import, extends, block, autoescape: these are refused by name. Filters, tests and
 * methods are listed in the tables of filters.c, tests.c and methods.c; a name that is not there
 * (of Jinja's: pprint, random, striptags, urlize, wordwrap, xmlattr, filesizeformat) is refused
 * when it is reached. Integers have 64 bits: what goes beyond is an error, and a longer integer of
 * a variable can be printed only. */
#ifndef SM_TEMPLATE_H
#define SM_TEMPLATE_H

#include "base/base.h"
#include "format/json.h"

#define SM_TEMPLATE_MAX_BYTES (4u << 20) /* of a template's text */
#define SM_TEMPLATE_MAX_DEPTH 64         /* of blocks and expressions in the text; of calls */
/* What sm_template_options leaves at 0: */
#define SM_TEMPLATE_MAX_STEPS 20000000      /* some 10 ns each */
#define SM_TEMPLATE_MAX_OUTPUT (64u << 20)  /* bytes */
#define SM_TEMPLATE_MAX_MEMORY (256u << 20) /* bytes */

typedef struct sm_template sm_template;

/* text is copied. name begins messages. SM_ERR_FORMAT (not a template: line and what was expected),
 * SM_ERR_UNSUPPORTED (a statement or depth beyond the above), SM_ERR_NOMEM. */
sm_status sm_template_parse(sm_template **out, sm_mem *mem, const char *text, uint64_t length,
                            const char *name, sm_error *error);
void sm_template_free(sm_template *t); /* NULL is fine */
/* Whether the template names it anywhere as a variable. */
bool sm_template_names(const sm_template *t, const char *name);
/* Whether a text of the template, or an attribute it takes, is this. */
bool sm_template_mentions(const sm_template *t, const char *text);

typedef enum sm_variable_kind {
    SM_VARIABLE_JSON, /* a value of a document: the caller's text */
    SM_VARIABLE_TEXT, /* text that counts as the template's own */
    SM_VARIABLE_TRUE,
    SM_VARIABLE_FALSE,
    SM_VARIABLE_NONE
} sm_variable_kind;

typedef struct sm_variable {
    const char *name; /* zero-terminated, or name_length bytes where that is not 0 */
    uint64_t name_length;
    sm_variable_kind kind;
    const sm_json *json;
    sm_json_value value;
    const char *text;
    uint64_t length;
} sm_variable;

/* Zero stands for the default. */
typedef struct sm_template_options {
    int64_t clock;       /* of strftime_now: seconds since 1970 of the time to show, no zone; */
    bool clock_is_set;   /* without it, UTC of the system */
    uint64_t max_steps;  /* 0: SM_TEMPLATE_MAX_STEPS */
    uint64_t max_output; /* bytes; 0: …_OUTPUT */
    uint64_t max_memory; /* bytes; 0: …_MEMORY */
    int32_t (*cancel)(void *user); /* asked every few ms; NULL: never */
    void *user;
} sm_template_options;

typedef struct sm_piece {
    uint64_t end; /* byte of the text where it ends */
    bool user;    /* came from a variable */
} sm_piece;

/* What was rendered: pieces of the template's own text and of the caller's take turns. */
typedef struct sm_rendered {
    sm_mem *mem;
    char *text; /* zero-terminated; NULL on failure */
    uint64_t length;
    sm_piece *pieces;
    uint32_t n_pieces;
    char *exception; /* the text of raise_exception, zero-terminated, where that ended it */
} sm_rendered;

/* options may be NULL. *out is to be freed in any case. SM_ERR_ARGUMENT (raise_exception: the
 * template does not take these messages; in its own words), SM_ERR_FORMAT (what Jinja calls an
 * error: undefined values, wrong types), SM_ERR_UNSUPPORTED (a filter, test or method by name; more
 * than a limit), SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_template_render(const sm_template *t, sm_mem *mem, const sm_variable *variables,
                             uint32_t n, const sm_template_options *options, sm_rendered *out,
                             sm_error *error);
void sm_rendered_free(sm_rendered *rendered);

#endif
