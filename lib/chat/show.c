/* show.c - values as text: str(), repr(), JSON. */

#include "format/json_write.h"
#include "value.h"

#define DEEP 100

static void show_number(run *r, value v) {
    sm_builder b = sm_builder_of(r->mem, 0);
    if (v.type == V_INT)
        sm_builder_i64(&b, v.i);
    else
        sm_builder_double(&b, v.f);
    text_add(r, b.data, b.length, v.user);
    if (b.failed)
        FAIL(r, SM_ERR_NOMEM, "%s", "out of memory");
    sm_builder_free(&b);
}

/* ---- repr ------------------------------------------------------------------------ */

static bool is_printable(uint32_t code) {
    const sm_category c = sm_category_of(code);
    return code == ' ' || (c != SM_CATEGORY_CN && c != SM_CATEGORY_CC && c != SM_CATEGORY_CF &&
                           c != SM_CATEGORY_CS && c != SM_CATEGORY_CO && c != SM_CATEGORY_ZL &&
                           c != SM_CATEGORY_ZP && c != SM_CATEGORY_ZS);
}

/* \x1b, \u2028, \U000e0001 */
static void show_code(run *r, uint32_t code, char letter, uint32_t digits, bool user) {
    char out[12] = {'\\', letter};
    for (uint32_t i = 0; i < digits; i++)
        out[2 + i] = "0123456789abcdef"[code >> 4 * (digits - 1 - i) & 15];
    text_add(r, out, 2 + digits, user);
}

static void repr_char(run *r, const text *s, uint32_t at, uint32_t n, uint32_t code, char quote) {
    const bool user = text_user_at(s, at);
    const char pair[2] = {'\\', (char)code};
    if (code == '\\' || code == (uint8_t)quote)
        text_add(r, pair, 2, user);
    else if (code == '\n' || code == '\r' || code == '\t')
        text_add(r, code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t", 2, user);
    else if (is_printable(code))
        text_add(r, s->data + at, n, user);
    else if (code < 0x100)
        show_code(r, code, 'x', 2, user);
    else
        show_code(r, code, code < 0x10000 ? 'u' : 'U', code < 0x10000 ? 4 : 8, user);
}

static void repr_text(run *r, const text *s) {
    const char quote =
        memchr(s->data, '\'', s->length) && !memchr(s->data, '"', s->length) ? '"' : '\'';
    uint32_t n;
    text_add(r, &quote, 1, false);
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const uint32_t code = code_at(s, at, &n);
        repr_char(r, s, at, n, code, quote);
    }
    text_add(r, &quote, 1, false);
}

static void repr_sequence(run *r, const list *l, const char *open, const char *close) {
    text_literal(r, open);
    for (uint32_t i = 0; i < l->n && run_step(r, 1); i++) {
        if (i)
            text_literal(r, ", ");
        show_repr(r, l->items[i]);
    }
    text_literal(r, close);
}

static void repr_pairs(run *r, const dict *d) {
    text_literal(r, "{");
    for (uint32_t i = 0; i < d->n && run_step(r, 1); i++) {
        if (i)
            text_literal(r, ", ");
        show_repr(r, d->keys[i]);
        text_literal(r, ": ");
        show_repr(r, d->values[i]);
    }
    text_literal(r, "}");
}

static void repr_view(run *r, value v) {
    static const char *const open[] = {"dict_keys([", "dict_values([", "dict_items(["};
    list items;
    if (items_of(r, v, &items))
        repr_sequence(r, &items, open[v.flag], "])");
}

static void repr_range(run *r, const list *l) {
    const int64_t from = l->n ? l->items[0].i : 0, step = l->n > 1 ? l->items[1].i - from : 1;
    text_literal(r, "range(");
    show_number(r, int_value(from));
    text_literal(r, ", ");
    show_number(r, int_value(from + step * l->n));
    if (step != 1) {
        text_literal(r, ", ");
        show_number(r, int_value(step));
    }
    text_literal(r, ")");
}

static void repr_space(run *r, const space *n) {
    text_literal(r, "<Namespace {");
    for (uint32_t i = 0; i < n->n; i++) {
        if (i)
            text_literal(r, ", ");
        repr_text(r, n->names[i]);
        text_literal(r, ": ");
        show_repr(r, n->values[i]);
    }
    text_literal(r, "}>");
}

static void repr_inside(run *r, value v) {
    switch (v.type) {
    case V_UNDEFINED:
        text_literal(r, "Undefined");
        break;
    case V_STR:
        if (v.flag)
            text_literal(r, "Markup(");
        repr_text(r, v.s);
        if (v.flag)
            text_literal(r, ")");
        break;
    case V_LIST:
        repr_sequence(r, v.l, "[", "]");
        break;
    case V_TUPLE:
        repr_sequence(r, v.l, "(", v.l->n == 1 ? ",)" : ")");
        break;
    case V_RANGE:
        repr_range(r, v.l);
        break;
    case V_DICT:
        repr_pairs(r, v.d);
        break;
    case V_VIEW:
        repr_view(r, v);
        break;
    case V_SPACE:
        repr_space(r, v.n);
        break;
    default:
        FAIL(r, SM_ERR_UNSUPPORTED, "a %s cannot be printed", type_name(v));
    }
}

void show_repr(run *r, value v) {
    if (v.type == V_NONE) {
        text_literal(r, "None");
    } else if (v.type == V_BOOL) {
        text_literal(r, v.truth ? "True" : "False");
    } else if (v.type == V_INT || v.type == V_FLOAT) {
        show_number(r, v);
    } else if (v.type == V_BIG) {
        text_append(r, v.s);
    } else if (++r->deep > DEEP) {
        r->deep--;
        FAIL(r, SM_ERR_UNSUPPORTED, "values more than %d deep", DEEP);
    } else {
        repr_inside(r, v);
        r->deep--;
    }
}

void show(run *r, value v) {
    if (v.type == V_STR)
        text_append(r, v.s);
    else if (v.type != V_UNDEFINED)
        show_repr(r, v);
}

const text *text_of(run *r, value v) {
    const mark from = text_begin(r);
    if (v.type == V_STR)
        return v.s;
    show(r, v);
    return text_end(r, from);
}

/* ---- JSON ------------------------------------------------------------------------ */

static void json_ascii(run *r, uint32_t code, bool user) {
    if (code >= 0x10000) {
        show_code(r, 0xD800 + ((code - 0x10000) >> 10), 'u', 4, user);
        code = 0xDC00 + ((code - 0x10000) & 0x3FF);
    }
    show_code(r, code, 'u', 4, user);
}

/* What has to be escaped: `"`, `\`, control characters; all but printable ASCII if asked. */
static uint32_t plain_end(const text *s, uint32_t at, bool ascii) {
    for (; at < s->length; at++) {
        const uint8_t c = (uint8_t)s->data[at];
        if (c < 0x20 || c == '"' || c == '\\' || (ascii && c >= 0x7F))
            break;
    }
    return at;
}

static void json_escape(run *r, uint32_t code, bool user) {
    sm_builder b = sm_builder_of(r->mem, 0);
    const char c = (char)code;
    sm_builder_json_escaped(&b, &c, 1);
    text_add(r, b.data, b.length, user);
    sm_builder_free(&b);
}

static void json_text(run *r, const text *s, bool ascii) {
    uint32_t n;
    text_literal(r, "\"");
    for (uint32_t at = 0; at < s->length && run_step(r, 1);) {
        const uint32_t end = plain_end(s, at, ascii);
        text_range(r, s, at, end);
        at = end;
        if (at == s->length)
            break;
        const uint32_t code = code_at(s, at, &n);
        if (code < 0x7F)
            json_escape(r, code, text_user_at(s, at));
        else
            json_ascii(r, code, text_user_at(s, at));
        at += n;
    }
    text_literal(r, "\"");
}

static void json_line(run *r, const json_form *form, uint32_t depth) {
    if (!form->indent)
        return;
    text_literal(r, "\n");
    for (uint32_t i = 0; i < depth; i++)
        text_append(r, form->indent);
}

static void json_key(run *r, value key, const json_form *form) {
    if (key.type == V_STR) {
        json_text(r, key.s, form->ascii);
        return;
    }
    if (key.type != V_NONE && !is_number(key) && key.type != V_BIG) {
        FAIL(r, SM_ERR_FORMAT, "keys must be str, int, float, bool or None, not %s",
             type_name(key));
        return;
    }
    text_literal(r, "\"");
    show_json(r, key, form);
    text_literal(r, "\"");
}

static void json_list(run *r, const list *l, const json_form *form) {
    if (!l->n) {
        text_literal(r, "[]");
        return;
    }
    text_literal(r, "[");
    for (uint32_t i = 0; i < l->n && run_step(r, 1); i++) {
        if (i)
            text_append(r, form->item);
        json_line(r, form, r->deep);
        show_json(r, l->items[i], form);
    }
    json_line(r, form, r->deep - 1);
    text_literal(r, "]");
}

/* Stable, by insertion: dicts are small, and steps are counted. */
static uint32_t *sorted_keys(run *r, const dict *d) {
    uint32_t *order = run_alloc(r, (uint64_t)d->n * sizeof *order);
    for (uint32_t i = 0; order && i < d->n; i++) {
        uint32_t at = i;
        for (; at && run_step(r, 1) && values_compare(r, d->keys[order[at - 1]], d->keys[i]) > 0;
             at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return r->status ? NULL : order;
}

static void json_dict(run *r, const dict *d, const json_form *form) {
    const uint32_t *order = form->sorted && d->n ? sorted_keys(r, d) : NULL;
    if (!d->n || r->status) {
        text_literal(r, "{}");
        return;
    }
    text_literal(r, "{");
    for (uint32_t i = 0; i < d->n && run_step(r, 1); i++) {
        const uint32_t at = order ? order[i] : i;
        if (i)
            text_append(r, form->item);
        json_line(r, form, r->deep);
        json_key(r, d->keys[at], form);
        text_append(r, form->key);
        show_json(r, d->values[at], form);
    }
    json_line(r, form, r->deep - 1);
    text_literal(r, "}");
}

static void json_float(run *r, value v) {
    if (v.f != v.f)
        text_add(r, "NaN", 3, v.user);
    else if (v.f - v.f != 0)
        text_literal(r, v.f < 0 ? "-Infinity" : "Infinity");
    else
        show_number(r, v);
}

static void json_nested(run *r, value v, const json_form *form) {
    if (r->deep == DEEP) {
        FAIL(r, SM_ERR_UNSUPPORTED, "values more than %d deep", DEEP);
        return;
    }
    r->deep++;
    if (v.type == V_DICT)
        json_dict(r, v.d, form);
    else
        json_list(r, v.l, form);
    r->deep--;
}

void show_json(run *r, value v, const json_form *form) {
    if (v.type == V_STR)
        json_text(r, v.s, form->ascii);
    else if (v.type == V_NONE || v.type == V_BOOL)
        text_literal(r, v.type == V_NONE ? "null" : v.truth ? "true" : "false");
    else if (v.type == V_FLOAT)
        json_float(r, v);
    else if (v.type == V_INT || v.type == V_BIG)
        show_repr(r, v);
    else if (v.type == V_DICT || v.type == V_LIST || v.type == V_TUPLE)
        json_nested(r, v, form);
    else
        FAIL(r, SM_ERR_FORMAT, "Object of type %s is not JSON serializable", type_name(v));
}
