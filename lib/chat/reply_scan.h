/* reply_scan.h - where values of several notations end, found byte by byte as they arrive; and
 * what they are in JSON once they are whole.
 */
#ifndef SM_REPLY_SCAN_H
#define SM_REPLY_SCAN_H

#include "format/json_write.h"

typedef enum sm_reply_found {
    SM_REPLY_MORE,  /* all of the text may be part of it, and does not end it */
    SM_REPLY_WHOLE, /* it ends */
    SM_REPLY_NONE   /* it is none */
} sm_reply_found;

/* Where a scan is; all zero at the beginning of a value. */
typedef struct sm_reply_scan {
    uint8_t state, quote, digits, depth;
    bool listed;                     /* Python: calls in [] */
    bool called;                     /* Python: NAME( was seen */
    uint64_t name;                   /* Python: where the last name begins */
    uint8_t open[SM_JSON_MAX_DEPTH]; /* brackets around, as they opened */
} sm_reply_scan;

/* Each looks at text[*at..n) from where it stopped the last time and moves *at: behind the value,
 * to the byte that it cannot have, or to where it needs more to see.
 *
 * An object or array of JSON. Its brackets, commas, strings and names are right, numbers and
 * literals are left to whoever reads it. */
sm_reply_found sm_reply_scan_json(sm_reply_scan *scan, const char *text, uint64_t n, uint64_t *at);
/* {key:value,…}, strings between <|"|>. */
sm_reply_found sm_reply_scan_pairs(sm_reply_scan *scan, const char *text, uint64_t n, uint64_t *at);
/* [f(a=1), g()], or f(a=1) and more of them parted by white space or commas; those end where
 * something follows that is no name. */
sm_reply_found sm_reply_scan_python(sm_reply_scan *scan, const char *text, uint64_t n,
                                    uint64_t *at);
/* Whether Python's calls are whole if no more text comes. */
bool sm_reply_scan_python_may_end(const sm_reply_scan *scan);

/* The object text[0..n) of sm_reply_scan_pairs as JSON; false: it is none. */
bool sm_reply_pairs_to_json(sm_builder *out, const char *text, uint64_t n);
/* A value as Python writes it; false: it is none. Not of calls. */
bool sm_reply_python_to_json(sm_builder *out, const char *text, uint64_t n);

/* The next of the calls text[*at..n) of sm_reply_scan_python: *at moves behind it. Arguments go to
 * `out` as a JSON object; those without a name (n_bare of them, first in the call) are called by
 * their place, "0", "1" …
 * SM_REPLY_MORE: there is no further one. */
sm_reply_found sm_reply_python_call(sm_builder *out, const char *text, uint64_t n, uint64_t *at,
                                    const char **name, uint64_t *length);

static inline bool sm_reply_is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

#endif
