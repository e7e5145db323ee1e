/* json_write.c - texts that grow, and JSON written into them. */
#include "json_write.h"

#include <string.h>

/* ---- texts that grow ----------------------------------------------------------------------- */

void sm_builder_free(sm_builder *b) {
    sm_free(b->mem, b->data);
    *b = sm_builder_of(b->mem, b->limit);
}

static bool make_room(sm_builder *b, uint64_t length) {
    uint64_t need, capacity = b->capacity ? 2 * b->capacity : 256;
    if (b->failed || sm_add_over(b->length, length, &need) || (b->limit && need > b->limit)) {
        b->failed = true;
        return false;
    }
    if (need <= b->capacity)
        return true;
    capacity = max_u64(capacity, need);
    char *data = sm_realloc(b->mem, b->data, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void sm_builder_add(sm_builder *b, const void *data, uint64_t length) {
    if (!length || !make_room(b, length))
        return;
    memcpy(b->data + b->length, data, (size_t)length);
    b->length += length;
}

void sm_builder_text(sm_builder *b, const char *text) {
    sm_builder_add(b, text, strlen(text));
}

void sm_builder_byte(sm_builder *b, char c) {
    sm_builder_add(b, &c, 1);
}

void sm_builder_repeat(sm_builder *b, char c, uint64_t n) {
    if (!n || !make_room(b, n))
        return;
    memset(b->data + b->length, c, (size_t)n);
    b->length += n;
}

void sm_builder_i64(sm_builder *b, int64_t value) {
    char text[24];
    sm_builder_add(b, text, sm_format(text, sizeof text, "%lld", (long long)value));
}

/* Digits where the value is from 1e-4 up to 1e16, else with an exponent. */
static void put_digits(sm_builder *b, const char *digits, uint32_t n, int32_t point) {
    if (point > 16 || point <= -4) {
        const int32_t exponent = point - 1, size = exponent < 0 ? -exponent : exponent;
        sm_builder_byte(b, digits[0]);
        if (n > 1)
            sm_builder_byte(b, '.');
        sm_builder_add(b, digits + 1, n - 1);
        sm_builder_add(b, exponent < 0 ? "e-" : "e+", 2);
        if (size < 10)
            sm_builder_byte(b, '0');
        sm_builder_i64(b, size);
    } else if (point <= 0) {
        sm_builder_add(b, "0.", 2);
        sm_builder_repeat(b, '0', (uint64_t)-point);
        sm_builder_add(b, digits, n);
    } else {
        const uint32_t whole = min_u32(n, (uint32_t)point);
        sm_builder_add(b, digits, whole);
        sm_builder_repeat(b, '0', (uint32_t)point - whole);
        sm_builder_byte(b, '.');
        sm_builder_add(b, digits + whole, n - whole);
        if (n == whole)
            sm_builder_byte(b, '0');
    }
}

void sm_builder_double(sm_builder *b, double value) {
    char digits[SM_DOUBLE_DIGITS];
    int32_t point = 1;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) {
        sm_builder_text(b, "nan");
        return;
    }
    if (bits >> 63) {
        sm_builder_byte(b, '-');
        value = -value;
    }
    if (value - value != 0) {
        sm_builder_text(b, "inf");
    } else if (value == 0) {
        put_digits(b, "0", 1, point);
    } else {
        const uint32_t n = sm_double_digits(value, digits, &point);
        put_digits(b, digits, n, point);
    }
}

/* ---- strings ------------------------------------------------------------------------------- */

static void put_escape(sm_builder *b, uint8_t c) {
    static const char hex[] = "0123456789abcdef", from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        const char pair[2] = {'\\', to[simple - from]};
        sm_builder_add(b, pair, 2);
    } else {
        const char code[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        sm_builder_add(b, code, 6);
    }
}

void sm_builder_json_escaped(sm_builder *b, const char *data, uint64_t length) {
    uint64_t from = 0;
    for (uint64_t i = 0; i < length; i++) {
        const uint8_t c = (uint8_t)data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        sm_builder_add(b, data + from, i - from);
        put_escape(b, c);
        from = i + 1;
    }
    sm_builder_add(b, data + from, length - from);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

sm_json_writer sm_json_writer_of(sm_builder *out, const sm_json_style *style) {
    sm_json_writer w = {.out = out};
    if (style)
        w.style = *style;
    if (!w.style.item)
        w.style.item = w.style.lines ? "," : ", ";
    if (!w.style.key)
        w.style.key = ": ";
    return w;
}

static void new_line(sm_json_writer *w) {
    if (!w->style.lines)
        return;
    sm_builder_byte(w->out, '\n');
    sm_builder_repeat(w->out, ' ', (uint64_t)w->style.indent * w->depth);
}

void sm_json_begin_value(sm_json_writer *w) {
    const bool key = w->after_key;
    w->after_key = false;
    if (w->depth && !key) {
        if (!w->first)
            sm_builder_text(w->out, w->style.item);
        new_line(w);
    }
    w->first = false;
}

void sm_json_open(sm_json_writer *w, sm_json_kind kind) {
    sm_json_begin_value(w);
    if (w->depth == SM_JSON_MAX_DEPTH) {
        w->out->failed = true;
        return;
    }
    sm_builder_byte(w->out, kind == SM_JSON_ARRAY ? '[' : '{');
    w->open[w->depth++] = (uint8_t)kind;
    w->first = true;
}

void sm_json_close(sm_json_writer *w) {
    if (!w->depth)
        return;
    const uint8_t kind = w->open[--w->depth];
    if (!w->first)
        new_line(w);
    sm_builder_byte(w->out, kind == SM_JSON_ARRAY ? ']' : '}');
    w->first = false;
}

void sm_json_put_key(sm_json_writer *w, const char *name, uint64_t length) {
    sm_json_put_string(w, name, length);
    sm_builder_text(w->out, w->style.key);
    w->after_key = true;
}

void sm_json_put_string(sm_json_writer *w, const char *text, uint64_t length) {
    sm_json_begin_value(w);
    sm_builder_byte(w->out, '"');
    sm_builder_json_escaped(w->out, text, length);
    sm_builder_byte(w->out, '"');
}

void sm_json_put_i64(sm_json_writer *w, int64_t value) {
    sm_json_begin_value(w);
    sm_builder_i64(w->out, value);
}

void sm_json_put_double(sm_json_writer *w, double value) {
    sm_json_begin_value(w);
    if (value != value)
        sm_builder_text(w->out, "NaN");
    else if (value - value != 0)
        sm_builder_text(w->out, value < 0 ? "-Infinity" : "Infinity");
    else
        sm_builder_double(w->out, value);
}

void sm_json_put_literal(sm_json_writer *w, sm_json_kind kind) {
    sm_json_begin_value(w);
    sm_builder_text(w->out, kind == SM_JSON_NULL   ? "null"
                            : kind == SM_JSON_TRUE ? "true"
                                                   : "false");
}

void sm_json_put_raw(sm_json_writer *w, const char *text, uint64_t length) {
    sm_json_begin_value(w);
    sm_builder_add(w->out, text, length);
}

static void put_single(sm_json_writer *w, const sm_json *json, sm_json_value v) {
    uint64_t length;
    const sm_json_kind kind = sm_json_kind_of(json, v);
    const char *text = sm_json_text(json, v, &length);
    if (kind == SM_JSON_STRING)
        sm_json_put_string(w, text, length);
    else if (kind == SM_JSON_NUMBER)
        sm_json_put_raw(w, text, length);
    else
        sm_json_put_literal(w, kind == SM_JSON_ABSENT ? SM_JSON_NULL : kind);
}

/* A container's item or member as a value; its name is written first. */
static sm_json_value item_value(sm_json_writer *w, const sm_json *json, sm_json_value around,
                                sm_json_value item) {
    uint64_t length;
    if (sm_json_kind_of(json, around) != SM_JSON_OBJECT)
        return item;
    const char *name = sm_json_text(json, item, &length);
    sm_json_put_key(w, name, length);
    return sm_json_member(json, item);
}

void sm_json_put_value(sm_json_writer *w, const sm_json *json, sm_json_value value) {
    sm_json_value around[SM_JSON_MAX_DEPTH], next[SM_JSON_MAX_DEPTH];
    uint32_t depth = 0;
    for (sm_json_value v = value;;) {
        const sm_json_kind kind = sm_json_kind_of(json, v);
        if (kind < SM_JSON_ARRAY) {
            put_single(w, json, v);
        } else {
            sm_json_open(w, kind);
            if (w->out->failed)
                return;
            around[depth] = v;
            next[depth++] = sm_json_first(json, v);
        }
        while (depth && next[depth - 1] == SM_JSON_NONE) {
            sm_json_close(w);
            depth--;
        }
        if (!depth)
            return;
        const sm_json_value item = next[depth - 1];
        next[depth - 1] = sm_json_next(json, around[depth - 1], item);
        v = item_value(w, json, around[depth - 1], item);
    }
}
