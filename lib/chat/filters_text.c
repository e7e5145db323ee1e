/* filters_text.c - filters that make a text. */
#include <string.h>

#include "filters.h"

/* ---- text ------------------------------------------------------------------------ */

static value filter_string(run *r, value v, const arguments *a) {
    (void)a;
    return v.type == V_STR ? v : value_of_text(text_of(r, v));
}

static value filter_safe(run *r, value v, const arguments *a) {
    (void)a;
    return marked(value_of_text(text_of(r, v)), true);
}

static value filter_escape(run *r, value v, const arguments *a) {
    (void)a;
    return v.type == V_STR && v.flag ? v
                                     : marked(value_of_text(text_escape(r, text_of(r, v))), true);
}

static value filter_forceescape(run *r, value v, const arguments *a) {
    (void)a;
    return marked(value_of_text(text_escape(r, text_of(r, v))), true);
}

static value filter_center(run *r, value v, const arguments *a) {
    static const text name = {.data = "center", .length = 6, .chars = 6};
    bound method = {.self = value_of_text(text_of(r, v))};
    const value width = argument_or(a, 0, "width", int_value(80));
    const arguments given = {&width, 1, NULL, 0, a->of};
    bool forbidden;
    return method_find(method.self, &name, &method.method, &forbidden)
               ? method_call(r, &method, &given)
               : undefined_value();
}

/* The first `chars` characters, and `end`; words stay whole if asked. */
static value cut_text(run *r, const text *s, int64_t chars, bool words, const text *end) {
    uint32_t n = text_offset(s, (uint32_t)chars), word = n;
    while (words && word && s->data[word - 1] != ' ')
        word--;
    n = words && word ? word - 1 : n;
    const mark from = text_begin(r);
    text_range(r, s, 0, n);
    text_append(r, end);
    return text_value(r, from);
}

static value filter_truncate(run *r, value v, const arguments *a) {
    static const text dots = {.data = "...", .length = 3, .chars = 3};
    const text *s = v.s, *end = text_of(r, argument_or(a, 2, "end", value_of_text(&dots)));
    uint32_t n;
    int64_t length, leeway;
    if (!whole_or(r, a, 0, "length", 255, &length) || !whole_or(r, a, 3, "leeway", 5, &leeway))
        return undefined_value();
    if (length < end->chars || leeway < 0)
        return FAIL(r, SM_ERR_FORMAT, "truncate: expected a length of at least %u", end->chars);
    if (!length_of(v, &n))
        return FAIL(r, SM_ERR_FORMAT, "object of type '%s' has no len()", type_name(v));
    if (n <= length || n - length <= leeway)
        return v;
    if (v.type != V_STR)
        return FAIL(r, SM_ERR_FORMAT, "truncate wants a string, not '%s'", type_name(v));
    return cut_text(r, s, length - end->chars, !flag_of(a, 1, "killwords"), end);
}

/* As in an address; in a query / is written in hexadecimal, too, and a space as +. */
static void append_quoted(run *r, const text *s, bool query) {
    static const char digits[] = "0123456789ABCDEF";
    for (uint32_t i = 0; i < s->length && run_step(r, 1); i++) {
        const uint8_t c = (uint8_t)s->data[i];
        const bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                           c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
        const char code[] = {'%', digits[c >> 4], digits[c & 15]};
        if (plain)
            text_range(r, s, i, i + 1);
        else if (c == ' ' && query)
            text_add(r, "+", 1, text_user_at(s, i));
        else
            text_add(r, code, 3, text_user_at(s, i));
    }
}

static value filter_urlencode(run *r, value v, const arguments *a) {
    list items, pair;
    value pairs = v;
    (void)a;
    if (v.type == V_DICT)
        pairs = (value){.type = V_VIEW, .flag = VIEW_ITEMS, .d = v.d};
    const bool plain = v.type == V_STR || v.type == V_NONE || is_number(v);
    mark from = text_begin(r);
    if (plain) {
        const text *s = text_of(r, v);
        from = text_begin(r);
        append_quoted(r, s, false);
        return text_value(r, from);
    }
    if (!items_of(r, pairs, &items))
        return undefined_value();
    for (uint32_t i = 0; i < items.n && items_of(r, items.items[i], &pair); i++) {
        if (pair.n != 2)
            return FAIL(r, SM_ERR_FORMAT, "urlencode: a pair of %u values", pair.n);
        const text *name = text_of(r, pair.items[0]), *given = text_of(r, pair.items[1]);
        if (i)
            text_literal(r, "&");
        append_quoted(r, name, true);
        text_literal(r, "=");
        append_quoted(r, given, true);
    }
    return text_value(r, from);
}

static value filter_lower(run *r, value v, const arguments *a) {
    (void)a;
    return marked(change_case(r, text_of(r, v), CASE_LOWER), v.type == V_STR && v.flag);
}

static value filter_upper(run *r, value v, const arguments *a) {
    (void)a;
    return marked(change_case(r, text_of(r, v), CASE_UPPER), v.type == V_STR && v.flag);
}

static value filter_capitalize(run *r, value v, const arguments *a) {
    (void)a;
    return marked(change_case(r, text_of(r, v), CASE_CAPITAL), v.type == V_STR && v.flag);
}

static bool parts_words(uint32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || code_is_space(c);
}

/* The first character of each word in upper case, the rest in lower case. */
static value filter_title(run *r, value v, const arguments *a) {
    const text *s = text_of(r, v);
    const mark from = text_begin(r);
    uint32_t n;
    (void)a;
    for (uint32_t at = 0; at < s->length && run_step(r, 1);) {
        const bool between = parts_words(code_at(s, at, &n));
        uint32_t end = at;
        while (end < s->length && parts_words(code_at(s, end, &n)) == between)
            end += n;
        code_at(s, at, &n);
        const value first = text_slice(r, s, at, at + n), rest = text_slice(r, s, at + n, end);
        if (r->status)
            break;
        text_append(r, change_case(r, first.s, CASE_UPPER).s);
        text_append(r, change_case(r, rest.s, CASE_LOWER).s);
        at = end;
    }
    return text_value(r, from);
}

static value filter_trim(run *r, value v, const arguments *a) {
    const value chars = argument(a, 0, "chars");
    if (chars.type != V_STR && chars.type != V_UNDEFINED && chars.type != V_NONE)
        return FAIL(r, SM_ERR_FORMAT, "trim wants a string, not '%s'", type_name(chars));
    return marked(strip_text(r, text_of(r, v), chars.type == V_STR ? chars.s : NULL, true, true),
                  v.type == V_STR && v.flag);
}

static value filter_replace(run *r, value v, const arguments *a) {
    int64_t count;
    const text *s = text_of(r, v), *from = text_of(r, argument(a, 0, "old")),
               *to = text_of(r, argument(a, 1, "new"));
    if (!whole_or(r, a, 2, "count", -1, &count))
        return undefined_value();
    return replace_text(r, s, from, to, count);
}

static value filter_format(run *r, value v, const arguments *a) {
    const text *s = text_of(r, v);
    if (a->n && a->n_named)
        return FAIL(r, SM_ERR_FORMAT, "%s",
                    "can't handle positional and keyword arguments at once");
    return printf_text(r, s,
                       a->n_named ? dict_value(r, a->named, a->n_named)
                                  : list_value(r, V_TUPLE, a->v, a->n));
}

static value filter_indent(run *r, value v, const arguments *a) {
    const value width = argument_or(a, 0, "width", int_value(4));
    const bool first = flag_of(a, 1, "first"), blank = flag_of(a, 2, "blank");
    if (v.type != V_STR)
        return FAIL(r, SM_ERR_FORMAT, "indent wants a string, not '%s'", type_name(v));
    const text *s = v.s;
    mark from = text_begin(r);
    if (width.type != V_STR && !is_whole(width))
        return FAIL(r, SM_ERR_FORMAT, "%s", "indent wants a number or a string");
    for (int64_t i = 0; width.type != V_STR && i < whole_of(width) && run_step(r, 1); i++)
        text_literal(r, " ");
    const text *by = width.type == V_STR ? width.s : text_end(r, from);
    /* as if the text ended with one more newline, of which nothing is seen */
    const value lines =
        split_lines(r, text_concat(r, s, &(text){.data = "\n", .length = 1, .chars = 1}).s, false);
    from = text_begin(r);
    for (uint32_t i = 0; !r->status && i < lines.l->n; i++) {
        const text *line = lines.l->items[i].s;
        if (i)
            text_literal(r, "\n");
        if (i ? blank || line->length : first)
            text_append(r, by);
        text_append(r, line);
    }
    return text_value(r, from);
}

static value filter_join(run *r, value v, const arguments *a) {
    const text *between = text_of(r, argument(a, 0, "d"));
    const value attribute = argument(a, 1, "attribute");
    list items;
    if (!items_of(r, v, &items))
        return undefined_value();
    const mark from = text_begin(r);
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++) {
        value item = items.items[i];
        if (i)
            text_append(r, between);
        if (attribute.type != V_UNDEFINED && attribute.type != V_NONE)
            item = path_of(r, item, attribute);
        show(r, item);
    }
    return text_value(r, from);
}

static const text *separator(run *r, value pair, uint32_t i, const char *otherwise) {
    list two;
    if (pair.type == V_UNDEFINED || pair.type == V_NONE)
        return value_of_bytes(r, otherwise, strlen(otherwise), false).s;
    if (!items_of(r, pair, &two))
        return &text_empty;
    if (two.n != 2 || two.items[i].type != V_STR) {
        FAIL(r, SM_ERR_FORMAT, "%s", "separators are two strings");
        return &text_empty;
    }
    return two.items[i].s;
}

/* json.dumps */
static value filter_tojson(run *r, value v, const arguments *a) {
    const value indent = argument(a, 1, "indent"), pair = argument(a, 2, "separators");
    const bool lines = indent.type == V_STR || is_whole(indent);
    json_form form = {.item = separator(r, pair, 0, lines ? "," : ", "),
                      .key = separator(r, pair, 1, ": "),
                      .ascii = flag_of(a, 0, "ensure_ascii"),
                      .sorted = flag_of(a, 3, "sort_keys")};
    mark from = text_begin(r);
    if (indent.type == V_STR)
        form.indent = indent.s;
    else if (is_whole(indent)) {
        for (int64_t i = 0; i < whole_of(indent) && run_step(r, 1); i++)
            text_literal(r, " ");
        form.indent = text_end(r, from);
    }
    from = text_begin(r);
    show_json(r, v, &form);
    return text_value(r, from);
}

static value filter_from_json(run *r, value v, const arguments *a) {
    (void)a;
    return v.type == V_STR
               ? json_text_value(r, v.s)
               : FAIL(r, SM_ERR_FORMAT, "from_json wants a string, not '%s'", type_name(v));
}

static value filter_wordcount(run *r, value v, const arguments *a) {
    const text *s = text_of(r, v);
    int64_t words = 0;
    bool inside = false;
    uint32_t n;
    (void)a;
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const uint32_t c = code_at(s, at, &n);
        const bool is =
            c == '_' || (c < 0x80 ? (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z')
                                  : !code_is_space(c));
        words += is && !inside;
        inside = is;
    }
    return int_value(words);
}

const filter_row filters_of_text[] = {
    {"capitalize", filter_capitalize, 0, 0, NULL, false},
    {"center", filter_center, 0, 1, "width,", false},
    {"e", filter_escape, 0, 0, NULL, false},
    {"escape", filter_escape, 0, 0, NULL, false},
    {"forceescape", filter_forceescape, 0, 0, NULL, false},
    {"format", filter_format, 0, 254, "*", false},
    {"from_json", filter_from_json, 0, 0, NULL, false},
    {"indent", filter_indent, 0, 3, "width,first,blank,", false},
    {"join", filter_join, 0, 2, "d,attribute,", false},
    {"lower", filter_lower, 0, 0, NULL, false},
    {"replace", filter_replace, 2, 3, "old,new,count,", false},
    {"safe", filter_safe, 0, 0, NULL, false},
    {"string", filter_string, 0, 0, NULL, false},
    {"title", filter_title, 0, 0, NULL, false},
    {"tojson", filter_tojson, 0, 4, "ensure_ascii,indent,separators,sort_keys,", false},
    {"trim", filter_trim, 0, 1, "chars,", false},
    {"truncate", filter_truncate, 0, 4, "length,killwords,end,leeway,", false},
    {"upper", filter_upper, 0, 0, NULL, false},
    {"urlencode", filter_urlencode, 0, 0, NULL, false},
    {"wordcount", filter_wordcount, 0, 0, NULL, false},
    {NULL, NULL, 0, 0, NULL, false},
};
