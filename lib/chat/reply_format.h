/* reply_format.h - how models write reasoning and tool calls, as data: a format is some marks and
 * some patterns (reply_formats.c lists them), a pattern becomes a list of steps that reply_match.c
 * goes through while the text arrives.
 *
 * A pattern is the text as a model writes it, with these in it:
 *
 *     %_  white space, or none            %n  the function's name
 *     %i  the call's id                   %j  an id that holds the name: functions.NAME:0
 *     %a  the arguments, a JSON object    %g  the same without quotes around keys, strings
 *     %k  one argument's name                 between <|"|>
 *     %v  its value, as text              %w  a value within a line end on either side
 *     %b  true or false: the value that   %t  the word for the value's type ("string", "number")
 *         follows is a string             %x  anything at all up to what comes next
 *     %o  calls as JSON objects with name and arguments: one, several, or an array of them
 *     %m  the same with {NAME: ARGUMENTS}
 *     %p  calls as Python writes them, in [] or one after the other
 *     %(...%)  may be missing             %[...%]  any number of times (arguments)
 *     %{...%}  once or more: calls, each of which is done by itself
 *     %.  here the call is complete: the text may end without what comes after
 *     %!  from here on what cannot be read is a malformed call (else from the first byte of %a %g
 *         %o %m %p on); before, it was no call at all
 *
 * A pattern that begins with %o or %p has no mark: it is looked for where a reply begins, and where
 * a line begins if the tools are known and the function is one of them.
 */
#ifndef SM_REPLY_FORMAT_H
#define SM_REPLY_FORMAT_H

#include "base/base.h"

#define SM_REPLY_MARKS 12 /* of a format at most, for each list, and a NULL */

typedef struct sm_reply_format {
    const char *own;                      /* "hermes" */
    const char *names;                    /* all it goes by: "hermes|qwen2.5" */
    const char *think[SM_REPLY_MARKS];    /* before and behind reasoning, in pairs */
    const char *silent[SM_REPLY_MARKS];   /* marks that are no part of the content */
    const char *patterns[SM_REPLY_MARKS]; /* of calls */
    const char *hints[4]; /* a template of the format has all of these texts, where it builds the
                             marks themselves from parts, or does not write them */
    const char *keys[2];  /* of a call's name and arguments in JSON, where they are others */
    const char *begun; /* what the prompt ends with that belongs to the first mark; NULL: nothing */
} sm_reply_format;

extern const sm_reply_format sm_reply_formats[];
extern const uint32_t sm_reply_n_formats;

/* The format of that name, in either case; NULL: none. */
const sm_reply_format *sm_reply_format_named(const char *name);

/* The format whose marks a template's text has; NULL: none. told: the text says in words how calls
 * are to be written, which counts more than how it writes those that were made. */
const sm_reply_format *sm_reply_format_in(const char *text, bool *told);

/* A format in words, where a name may stand, too: lines "call PATTERN", "think OPEN\tCLOSE", the
 * calls first. */
typedef struct sm_reply_described {
    sm_reply_format format;
    char *text; /* which it points into; NULL */
} sm_reply_described;

/* The format that is named or described: *format, NULL where that is NULL or "auto". What is kept
 * for it is to be freed in any case. SM_ERR_ARGUMENT (with what it may be a slip of), _FORMAT (no
 * pattern), _NOMEM. */
sm_status sm_reply_format_find(const sm_reply_format **format, sm_reply_described *kept,
                               sm_mem *mem, const char *what, sm_error *error);

typedef enum sm_reply_code {
    SM_REPLY_END,
    SM_REPLY_TEXT,
    SM_REPLY_SPACE,
    SM_REPLY_NAME,
    SM_REPLY_ID,
    SM_REPLY_ID_NAME,
    SM_REPLY_KEY,
    SM_REPLY_VALUE,
    SM_REPLY_LINES,
    SM_REPLY_IS_STRING,
    SM_REPLY_TYPE,
    SM_REPLY_ANY,
    SM_REPLY_OBJECTS,
    SM_REPLY_MAPS,
    SM_REPLY_ARGUMENTS,
    SM_REPLY_PAIRS,
    SM_REPLY_PYTHON,
    SM_REPLY_MAYBE,
    SM_REPLY_MAYBE_END,
    SM_REPLY_LOOP,
    SM_REPLY_LOOP_END,
    SM_REPLY_CALL,
    SM_REPLY_CALL_END,
    SM_REPLY_COMPLETE,
    SM_REPLY_MEANT,
} sm_reply_code;

/* One step. Those that open something have the number of what ends it, and the other way round. */
typedef struct sm_reply_step {
    uint8_t code;
    uint16_t length; /* of text */
    uint16_t other;
    const char *text; /* of SM_REPLY_TEXT: in the pattern */
} sm_reply_step;

#define SM_REPLY_MAX_STEPS 64
#define SM_REPLY_MAX_NESTING 4

/* Steps of a pattern, SM_REPLY_END last; 0: it is none, or has too many. */
uint32_t sm_reply_compile(const char *pattern, sm_reply_step steps[SM_REPLY_MAX_STEPS]);

#endif
