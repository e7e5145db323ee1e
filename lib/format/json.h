/* json.h - a strict reader of JSON (RFC 8259) for texts that nobody has checked.
 *
 *     sm_json_read(&json, mem, text, length, &source, NULL, error);
 *     const sm_json_value output = sm_json_get(json, SM_JSON_ROOT, "output");
 *     if (sm_json_kind_of(json, output) == SM_JSON_STRING)
 *         use(sm_json_text(json, output, &length));
 *     sm_json_free(json);
 *
 * Reading is one pass without recursion, in time and memory linear in the text: 16 bytes a value
 * (a member's name is one, too), and the strings that hold escapes once more, all of it from the
 * sm_mem given. Numbers stay text, of any size, until one is asked for as a number. Strings are
 * valid UTF-8 and may hold zero bytes. Of equal names in an object the last one counts.
 * A document does not change: any number of threads may look at one.
 */
#ifndef SM_JSON_H
#define SM_JSON_H

#include "base/base.h"

#define SM_JSON_MAX_DEPTH 64                  /* arrays and objects inside each other */
#define SM_JSON_MAX_BYTES ((uint64_t)1 << 30) /* of one text */

typedef enum sm_json_kind {
    SM_JSON_ABSENT, /* of SM_JSON_NONE */
    SM_JSON_NULL,
    SM_JSON_FALSE,
    SM_JSON_TRUE,
    SM_JSON_NUMBER,
    SM_JSON_STRING,
    SM_JSON_ARRAY,
    SM_JSON_OBJECT
} sm_json_kind;

typedef struct sm_json sm_json;

/* A value of a document, by its number. Every function takes SM_JSON_NONE as a value that is not
 * there, so that looks into nested objects need no check each. */
typedef uint32_t sm_json_value;
#define SM_JSON_ROOT 0u
#define SM_JSON_NONE UINT32_MAX

/* Where a text comes from. */
typedef struct sm_json_source {
    const char *name; /* of the file: begins messages */
    uint64_t line;    /* of the text's first byte, from 1 */
    /* asked once a MiB; non-zero ends the reading. NULL: never */
    int32_t (*cancel)(void *user);
    void *user;
} sm_json_source;

/* Reads text[0..length), which must outlive the document. used NULL: the text is one value and
 * white space. Otherwise the value at its beginning (white space before it is passed over) is
 * read, *used gets the bytes that took, and what follows is not looked at. source is not kept.
 * SM_ERR_FORMAT (not JSON: name, line and what was expected; bytes that are not UTF-8; half of a
 * surrogate pair), SM_ERR_UNSUPPORTED (past SM_JSON_MAX_…), SM_ERR_NOMEM, SM_ERR_CANCELLED. */
sm_status sm_json_read(sm_json **out, sm_mem *mem, const void *text, uint64_t length,
                       const sm_json_source *source, uint64_t *used, sm_error *error);
void sm_json_free(sm_json *json); /* NULL is fine */
/* Line ends in the text that was read. */
uint64_t sm_json_lines(const sm_json *json);

sm_json_kind sm_json_kind_of(const sm_json *json, sm_json_value value);
/* Items of an array, members of an object (equal names counted each), 0 of the rest. */
uint32_t sm_json_count(const sm_json *json, sm_json_value value);
/* The bytes of a string, or a number as it is spelt; not zero-terminated. NULL, *length 0, of other
 * kinds. Valid as long as text and document. */
const char *sm_json_text(const sm_json *json, sm_json_value value, uint64_t *length);
/* Whether it is the string `text`. */
bool sm_json_is(const sm_json *json, sm_json_value value, const char *text);

/* The member of that name; SM_JSON_NONE where there is none or it is no object. Looks at every
 * member. */
sm_json_value sm_json_get(const sm_json *json, sm_json_value object, const char *name);
/* Walks a container: the first item, then the one after each; SM_JSON_NONE past the last. Of an
 * object these are the names, as strings; sm_json_member gives the value of one. */
sm_json_value sm_json_first(const sm_json *json, sm_json_value container);
sm_json_value sm_json_next(const sm_json *json, sm_json_value container, sm_json_value item);
sm_json_value sm_json_member(const sm_json *json, sm_json_value name);

/* A number as one: false, *out untouched, if it is none, has a fraction or an exponent (the
 * integers), or is beyond the type's range. The double is the nearest one. */
bool sm_json_u64(const sm_json *json, sm_json_value value, uint64_t *out);
bool sm_json_i64(const sm_json *json, sm_json_value value, int64_t *out);
bool sm_json_double(const sm_json *json, sm_json_value value, double *out);
/* The double nearest to a number spelt as JSON spells them; false beyond its range. Knows no
 * locale (json_number.c). */
bool sm_json_parse_double(const char *text, uint64_t length, double *out);

#endif
