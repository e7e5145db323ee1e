/* json_write.h - texts that grow, and JSON written into them as Python's json.dumps writes it.
 *
 *     sm_builder out = sm_builder_of(mem, 0);
 *     sm_json_writer w = sm_json_writer_of(&out, NULL);
 *     sm_json_open(&w, SM_JSON_OBJECT);
 *     sm_json_put_key(&w, "name", 4);
 *     sm_json_put_string(&w, name, length);
 *     sm_json_close(&w);
 *     if (out.failed)
 *         return out of memory
 *     use(out.data, out.length);
 *     sm_builder_free(&out);
 *
 * Nothing returns a status: a builder that could not grow has `failed` set and takes nothing more.
 * Strings are written as with ensure_ascii=False, byte for byte, so what is no UTF-8 stays that.
 */
#ifndef SM_JSON_WRITE_H
#define SM_JSON_WRITE_H

#include "base/base.h"
#include "format/json.h"

/* ---- texts that grow ----------------------------------------------------------------------- */

typedef struct sm_builder {
    sm_mem *mem;
    char *data;      /* not zero-terminated; NULL while nothing was added */
    uint64_t length; /* bytes */
    uint64_t capacity;
    uint64_t limit; /* bytes at most; 0: as memory allows */
    bool failed;    /* memory, or the limit, ended the text at `length` */
} sm_builder;

static inline sm_builder sm_builder_of(sm_mem *mem, uint64_t limit) {
    return (sm_builder){.mem = mem, .limit = limit};
}
void sm_builder_free(sm_builder *b); /* can be used again, empty */
void sm_builder_add(sm_builder *b, const void *data, uint64_t length);
void sm_builder_text(sm_builder *b, const char *text); /* zero-terminated */
void sm_builder_byte(sm_builder *b, char c);
void sm_builder_repeat(sm_builder *b, char c, uint64_t n);
/* As Python's str() and repr() of int and float: the fewest digits that give the same double,
 * "1e+16", "0.0001", "-0.0", "inf", "nan". */
void sm_builder_i64(sm_builder *b, int64_t value);
void sm_builder_double(sm_builder *b, double value);
/* What stands between the quotes of a JSON string. */
void sm_builder_json_escaped(sm_builder *b, const char *data, uint64_t length);

/* The shortest decimal digits of a finite double above 0 that no other double is nearer to:
 * value = 0.d1d2… * 10^*point. Returns their number, 17 at most. */
#define SM_DOUBLE_DIGITS 17
uint32_t sm_double_digits(double value, char digits[SM_DOUBLE_DIGITS], int32_t *point);

/* ---- JSON ---------------------------------------------------------------------------------- */

/* Zero is Python's default: ", " and ": ", all on one line. */
typedef struct sm_json_style {
    const char *item, *key; /* separators, zero-terminated; NULL: Python's (item "," with indent) */
    bool lines;             /* each item on a line of its own */
    uint32_t indent;        /* spaces a level, where `lines` */
} sm_json_style;

#define SM_JSON_COMPACT (&(sm_json_style){.item = ",", .key = ":"})

typedef struct sm_json_writer {
    sm_builder *out;
    sm_json_style style;
    uint32_t depth;
    bool first;                      /* of the open container nothing was written */
    bool after_key;                  /* a value that belongs to a key comes next */
    uint8_t open[SM_JSON_MAX_DEPTH]; /* sm_json_kind of those around */
} sm_json_writer;

/* style NULL: zero. Its texts are not copied. */
sm_json_writer sm_json_writer_of(sm_builder *out, const sm_json_style *style);
/* SM_JSON_ARRAY or SM_JSON_OBJECT. More than SM_JSON_MAX_DEPTH inside each other set `failed`. */
void sm_json_open(sm_json_writer *w, sm_json_kind kind);
void sm_json_close(sm_json_writer *w);
void sm_json_put_key(sm_json_writer *w, const char *name, uint64_t length);
void sm_json_put_string(sm_json_writer *w, const char *text, uint64_t length);
void sm_json_put_i64(sm_json_writer *w, int64_t value);
void sm_json_put_double(sm_json_writer *w, double value); /* Infinity, -Infinity, NaN as Python */
/* SM_JSON_NULL, _FALSE, _TRUE. */
void sm_json_put_literal(sm_json_writer *w, sm_json_kind kind);
/* Something that is written already: a number as it was spelt, a value of another writer. */
void sm_json_put_raw(sm_json_writer *w, const char *text, uint64_t length);
/* A value of a document, with all in it; numbers as they were spelt, of equal names each. */
void sm_json_put_value(sm_json_writer *w, const sm_json *json, sm_json_value value);
/* For writers of strings in parts: what comes before a value (separator, line, indent); the caller
 * then writes one value to `out`. */
void sm_json_begin_value(sm_json_writer *w);

#endif
