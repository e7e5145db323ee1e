/* methods.c - methods of strings, dicts, lists and loops, as Python's. */

#include "value.h"

/* ---- arguments ------------------------------------------------------------------- */

value argument(const arguments *a, uint32_t i, const char *name) {
    if (i < a->n)
        return a->v[i];
    for (uint32_t k = 0; name && k < a->n_named; k++)
        if (text_is(a->named[2 * k].s, name))
            return a->named[2 * k + 1];
    return undefined_value();
}

value argument_or(const arguments *a, uint32_t i, const char *name, value otherwise) {
    const value v = argument(a, i, name);
    return v.type == V_UNDEFINED ? otherwise : v;
}

static bool is_named(const text *name, const char *names) {
    for (const char *at = names; at && *at;) {
        const char *end = strchr(at, ',');
        if (same_text(name->data, name->length, "") || !end)
            return false;
        if ((uint32_t)(end - at) == name->length && !memcmp(at, name->data, name->length))
            return true;
        at = end + 1;
    }
    return false;
}

bool arguments_fit(run *r, const arguments *a, uint32_t least, uint32_t most, const char *names) {
    for (uint32_t k = 0; k < a->n_named; k++)
        if (!is_named(a->named[2 * k].s, names)) {
            FAIL(r, SM_ERR_FORMAT, "%s() has no argument '%.*s'", a->of,
                 (int)a->named[2 * k].s->length, a->named[2 * k].s->data);
            return false;
        }
    if (a->n + a->n_named >= least && a->n <= most)
        return true;
    FAIL(r, SM_ERR_FORMAT, "%s() takes %u to %u arguments, %u given", a->of, least, most,
         a->n + a->n_named);
    return false;
}

static bool text_argument(run *r, const arguments *a, uint32_t i, const char *name,
                          const text **out) {
    const value v = argument(a, i, name);
    if (v.type != V_STR) {
        FAIL(r, SM_ERR_FORMAT, "%s() wants a string, not '%s'", a->of, type_name(v));
        return false;
    }
    *out = v.s;
    return true;
}

/* NULL where it is None or absent. */
static bool text_or_none(run *r, const arguments *a, uint32_t i, const char *name,
                         const text **out) {
    const value v = argument(a, i, name);
    *out = NULL;
    return (i >= a->n && v.type == V_UNDEFINED) || v.type == V_NONE ||
           text_argument(r, a, i, name, out);
}

static bool whole_argument(run *r, const arguments *a, uint32_t i, const char *name,
                           int64_t otherwise, int64_t *out) {
    const value v = argument_or(a, i, name, int_value(otherwise));
    if (!is_whole(v)) {
        FAIL(r, SM_ERR_FORMAT, "%s() wants an integer, not '%s'", a->of, type_name(v));
        return false;
    }
    *out = whole_of(v);
    return true;
}

/* ---- parting --------------------------------------------------------------------- */

static value split_space(run *r, const text *s, int64_t most) {
    const uint32_t base = r->n;
    uint32_t at = 0, n;
    for (;; most--) {
        while (at < s->length && run_step(r, 1) && code_is_space(code_at(s, at, &n)))
            at += n;
        if (at >= s->length || r->status)
            break;
        const uint32_t begin = at;
        if (!most) { /* the rest, white space at its end included */
            push(r, text_slice(r, s, begin, s->length));
            break;
        }
        while (at < s->length && run_step(r, 1) && !code_is_space(code_at(s, at, &n)))
            at += n;
        push(r, text_slice(r, s, begin, at));
    }
    return list_from(r, V_LIST, base);
}

static value split_at(run *r, const text *s, const text *mark_of, int64_t most) {
    const uint32_t base = r->n;
    uint32_t at = 0;
    for (; most; most--) {
        const uint32_t found = text_find(r, s, mark_of, at);
        if (found == UINT32_MAX)
            break;
        if (!push(r, text_slice(r, s, at, found)))
            break;
        at = found + mark_of->length;
    }
    push(r, text_slice(r, s, at, s->length));
    return list_from(r, V_LIST, base);
}

static void reverse_from(run *r, uint32_t base) {
    for (uint32_t i = base, k = r->n; i + 1 < k; i++) {
        const value v = r->stack[i];
        r->stack[i] = r->stack[--k];
        r->stack[k] = v;
    }
}

static value rsplit_at(run *r, const text *s, const text *mark_of, int64_t most) {
    const uint32_t base = r->n;
    uint32_t end = s->length;
    for (; most; most--) {
        const uint32_t found = text_rfind(r, s, mark_of, end);
        if (found == UINT32_MAX)
            break;
        if (!push(r, text_slice(r, s, found + mark_of->length, end)))
            break;
        end = found;
    }
    push(r, text_slice(r, s, 0, end));
    reverse_from(r, base);
    return list_from(r, V_LIST, base);
}

static value rsplit_space(run *r, const text *s, int64_t most) {
    const uint32_t base = r->n;
    value rest = strip_text(r, s, NULL, false, true);
    for (; most && !r->status && rest.s->length; most--) {
        uint32_t begin = rest.s->length, n;
        while (begin && run_step(r, 1)) {
            uint32_t before = begin - 1;
            while (before && ((uint8_t)rest.s->data[before] & 0xC0) == 0x80)
                before--;
            if (code_is_space(code_at(rest.s, before, &n)))
                break;
            begin = before;
        }
        push(r, text_slice(r, rest.s, begin, rest.s->length));
        rest = text_slice(r, rest.s, 0, begin);
        if (!r->status)
            rest = strip_text(r, rest.s, NULL, false, true);
    }
    if (!r->status && rest.s->length)
        push(r, rest);
    reverse_from(r, base);
    return list_from(r, V_LIST, base);
}

static value parted(run *r, value self, const arguments *a, bool from_end) {
    const text *sep;
    int64_t most;
    if (!text_or_none(r, a, 0, "sep", &sep) || !whole_argument(r, a, 1, "maxsplit", -1, &most))
        return undefined_value();
    if (sep && !sep->length)
        return FAIL(r, SM_ERR_FORMAT, "%s", "empty separator");
    if (!sep)
        return from_end ? rsplit_space(r, self.s, most) : split_space(r, self.s, most);
    return from_end ? rsplit_at(r, self.s, sep, most) : split_at(r, self.s, sep, most);
}

static value str_split(run *r, value self, const arguments *a) {
    return parted(r, self, a, false);
}

static value str_rsplit(run *r, value self, const arguments *a) {
    return parted(r, self, a, true);
}

static value str_splitlines(run *r, value self, const arguments *a) {
    return split_lines(r, self.s, truth_of(argument(a, 0, "keepends")));
}

static value partitioned(run *r, value self, const arguments *a, bool from_end) {
    const text *sep;
    value parts[3] = {self, value_of_text(&text_empty), value_of_text(&text_empty)};
    if (!text_argument(r, a, 0, NULL, &sep))
        return undefined_value();
    if (!sep->length)
        return FAIL(r, SM_ERR_FORMAT, "%s", "empty separator");
    const uint32_t at =
        from_end ? text_rfind(r, self.s, sep, self.s->length) : text_find(r, self.s, sep, 0);
    if (at != UINT32_MAX) {
        parts[0] = text_slice(r, self.s, 0, at);
        parts[1] = value_of_text(sep);
        parts[2] = text_slice(r, self.s, at + sep->length, self.s->length);
    } else if (from_end) {
        parts[2] = self;
        parts[0] = parts[1];
    }
    return list_value(r, V_TUPLE, parts, 3);
}

static value str_partition(run *r, value self, const arguments *a) {
    return partitioned(r, self, a, false);
}

static value str_rpartition(run *r, value self, const arguments *a) {
    return partitioned(r, self, a, true);
}

/* ---- ends ------------------------------------------------------------------------ */

static value stripped(run *r, value self, const arguments *a, bool left, bool right) {
    const text *chars;
    if (!text_or_none(r, a, 0, NULL, &chars))
        return undefined_value();
    return strip_text(r, self.s, chars, left, right);
}

static value str_strip(run *r, value self, const arguments *a) {
    return stripped(r, self, a, true, true);
}

static value str_lstrip(run *r, value self, const arguments *a) {
    return stripped(r, self, a, true, false);
}

static value str_rstrip(run *r, value self, const arguments *a) {
    return stripped(r, self, a, false, true);
}

static bool has_end(const text *s, const text *end, bool front) {
    return end->length <= s->length &&
           !memcmp(s->data + (front ? 0 : s->length - end->length), end->data, end->length);
}

/* s[start:stop], where they are given. */
static bool window(run *r, const text **s, const arguments *a) {
    const value bounds[3] = {argument_or(a, 1, NULL, none_value()),
                             argument_or(a, 2, NULL, none_value()), none_value()};
    if (a->n < 2)
        return true;
    const value part_of = slice_of(r, value_of_text(*s), bounds);
    if (!r->status)
        *s = part_of.s;
    return !r->status;
}

static value ends_with_any(run *r, value self, const arguments *a, bool front) {
    const value what = argument(a, 0, NULL);
    const text *s = self.s;
    if (what.type != V_STR && what.type != V_TUPLE)
        return FAIL(r, SM_ERR_FORMAT, "%s first arg must be str or a tuple of str, not %s", a->of,
                    type_name(what));
    if (!window(r, &s, a))
        return undefined_value();
    if (what.type == V_STR)
        return bool_value(has_end(s, what.s, front));
    for (uint32_t i = 0; i < what.l->n; i++) {
        if (what.l->items[i].type != V_STR)
            return FAIL(r, SM_ERR_FORMAT, "tuple for %s must only contain str", a->of);
        if (has_end(s, what.l->items[i].s, front))
            return bool_value(true);
    }
    return bool_value(false);
}

static value str_startswith(run *r, value self, const arguments *a) {
    return ends_with_any(r, self, a, true);
}

static value str_endswith(run *r, value self, const arguments *a) {
    return ends_with_any(r, self, a, false);
}

static value str_removeprefix(run *r, value self, const arguments *a) {
    const text *end;
    if (!text_argument(r, a, 0, NULL, &end) || !has_end(self.s, end, true))
        return self;
    return text_slice(r, self.s, end->length, self.s->length);
}

static value str_removesuffix(run *r, value self, const arguments *a) {
    const text *end;
    if (!text_argument(r, a, 0, NULL, &end) || !has_end(self.s, end, false))
        return self;
    return text_slice(r, self.s, 0, self.s->length - end->length);
}

/* ---- looking --------------------------------------------------------------------- */

static uint32_t chars_before(const text *s, uint32_t at) {
    uint32_t chars = 0;
    for (uint32_t i = 0; i < at; i++)
        chars += ((uint8_t)s->data[i] & 0xC0) != 0x80;
    return chars;
}

static value found_in(run *r, value self, const arguments *a, bool from_end, bool must) {
    const text *what, *s = self.s;
    if (!text_argument(r, a, 0, NULL, &what) || !window(r, &s, a))
        return undefined_value();
    const uint32_t at = from_end ? text_rfind(r, s, what, s->length) : text_find(r, s, what, 0);
    if (at == UINT32_MAX)
        return must ? FAIL(r, SM_ERR_FORMAT, "%s", "substring not found") : int_value(-1);
    /* the window is a slice of the same bytes, where all are of one origin; else count anew */
    const value start = argument_or(a, 1, NULL, int_value(0));
    int64_t before = start.type == V_NONE ? 0 : whole_of(start);
    before += before < 0 ? self.s->chars : 0;
    return int_value((before < 0 ? 0 : before) + chars_before(s, at));
}

static value str_find(run *r, value self, const arguments *a) {
    return found_in(r, self, a, false, false);
}

static value str_rfind(run *r, value self, const arguments *a) {
    return found_in(r, self, a, true, false);
}

static value str_index(run *r, value self, const arguments *a) {
    return found_in(r, self, a, false, true);
}

static value str_rindex(run *r, value self, const arguments *a) {
    return found_in(r, self, a, true, true);
}

static value str_count(run *r, value self, const arguments *a) {
    const text *what, *s = self.s;
    int64_t n = 0;
    if (!text_argument(r, a, 0, NULL, &what) || !window(r, &s, a))
        return undefined_value();
    if (!what->length)
        return int_value((int64_t)s->chars + 1);
    for (uint32_t at = 0; (at = text_find(r, s, what, at)) != UINT32_MAX; at += what->length)
        n++;
    return int_value(n);
}

typedef bool (*code_test)(sm_category category, uint32_t code);

static bool is_letter(sm_category c, uint32_t code) {
    (void)code;
    return c >= SM_CATEGORY_LU && c <= SM_CATEGORY_LO;
}

static bool is_digit(sm_category c, uint32_t code) {
    return c == SM_CATEGORY_ND || code == 0xB2 || code == 0xB3 || code == 0xB9;
}

static bool is_decimal(sm_category c, uint32_t code) {
    (void)code;
    return c == SM_CATEGORY_ND;
}

static bool is_numeric(sm_category c, uint32_t code) {
    (void)code;
    return c == SM_CATEGORY_ND || c == SM_CATEGORY_NL || c == SM_CATEGORY_NO;
}

static bool is_alnum(sm_category c, uint32_t code) {
    return is_letter(c, code) || is_numeric(c, code);
}

static bool is_space(sm_category c, uint32_t code) {
    (void)c;
    return code_is_space(code);
}

static value all_are(run *r, const text *s, code_test test) {
    uint32_t n;
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const uint32_t code = code_at(s, at, &n);
        if (!test(sm_category_of(code), code))
            return bool_value(false);
    }
    return bool_value(s->length > 0);
}

static value str_isalpha(run *r, value self, const arguments *a) {
    (void)a;
    return all_are(r, self.s, is_letter);
}

static value str_isdigit(run *r, value self, const arguments *a) {
    (void)a;
    return all_are(r, self.s, is_digit);
}

static value str_isdecimal(run *r, value self, const arguments *a) {
    (void)a;
    return all_are(r, self.s, is_decimal);
}

static value str_isnumeric(run *r, value self, const arguments *a) {
    (void)a;
    return all_are(r, self.s, is_numeric);
}

static value str_isalnum(run *r, value self, const arguments *a) {
    (void)a;
    return all_are(r, self.s, is_alnum);
}

static value str_isspace(run *r, value self, const arguments *a) {
    (void)a;
    return all_are(r, self.s, is_space);
}

/* Some cased letter, and none of the other case. */
static value one_case(run *r, const text *s, sm_category want) {
    bool some = false;
    uint32_t n;
    for (uint32_t at = 0; at < s->length && run_step(r, 1); at += n) {
        const sm_category c = sm_category_of(code_at(s, at, &n));
        if (c == want)
            some = true;
        else if (c >= SM_CATEGORY_LU && c <= SM_CATEGORY_LT)
            return bool_value(false);
    }
    return bool_value(some);
}

static value str_isupper(run *r, value self, const arguments *a) {
    (void)a;
    return one_case(r, self.s, SM_CATEGORY_LU);
}

static value str_islower(run *r, value self, const arguments *a) {
    (void)a;
    return one_case(r, self.s, SM_CATEGORY_LL);
}

/* ---- making ---------------------------------------------------------------------- */

static value str_lower(run *r, value self, const arguments *a) {
    (void)a;
    return change_case(r, self.s, CASE_LOWER);
}

static value str_upper(run *r, value self, const arguments *a) {
    (void)a;
    return change_case(r, self.s, CASE_UPPER);
}

static value str_title(run *r, value self, const arguments *a) {
    (void)a;
    return change_case(r, self.s, CASE_TITLE);
}

static value str_capitalize(run *r, value self, const arguments *a) {
    (void)a;
    return change_case(r, self.s, CASE_CAPITAL);
}

static value str_replace(run *r, value self, const arguments *a) {
    const text *from, *to;
    int64_t count;
    if (!text_argument(r, a, 0, "old", &from) || !text_argument(r, a, 1, "new", &to) ||
        !whole_argument(r, a, 2, "count", -1, &count))
        return undefined_value();
    return replace_text(r, self.s, from, to, count);
}

static value str_join(run *r, value self, const arguments *a) {
    const mark from = text_begin(r);
    list items;
    if (!items_of(r, argument(a, 0, NULL), &items))
        return undefined_value();
    for (uint32_t i = 0; i < items.n && run_step(r, 1); i++) {
        if (items.items[i].type != V_STR)
            return FAIL(r, SM_ERR_FORMAT, "sequence item %u: expected str instance, %s found", i,
                        type_name(items.items[i]));
        if (i)
            text_append(r, self.s);
        text_append(r, items.items[i].s);
    }
    return text_value(r, from);
}

static value str_format(run *r, value self, const arguments *a) {
    return brace_format(r, self.s, a);
}

static value justified(run *r, value self, const arguments *a, uint32_t left, uint32_t right) {
    static const text space_text = {.data = " ", .length = 1, .chars = 1};
    const mark from = text_begin(r);
    const text *fill = &space_text;
    int64_t width;
    if (!whole_argument(r, a, 0, NULL, 0, &width) ||
        (a->n > 1 && !text_argument(r, a, 1, NULL, &fill)))
        return undefined_value();
    if (fill->chars != 1)
        return FAIL(r, SM_ERR_FORMAT, "%s",
                    "the fill character must be exactly one character long");
    const int64_t pad = width > self.s->chars ? width - self.s->chars : 0;
    /* as CPython centres */
    const int64_t half = pad / 2 + (pad & width & 1);
    const int64_t front = left && right ? half : left ? pad : 0;
    for (int64_t i = 0; i < front && run_step(r, 1); i++)
        text_append(r, fill);
    text_append(r, self.s);
    for (int64_t i = front; i < pad && run_step(r, 1); i++)
        text_append(r, fill);
    return text_value(r, from);
}

static value str_ljust(run *r, value self, const arguments *a) {
    return justified(r, self, a, 0, 1);
}

static value str_rjust(run *r, value self, const arguments *a) {
    return justified(r, self, a, 1, 0);
}

static value str_center(run *r, value self, const arguments *a) {
    return justified(r, self, a, 1, 1);
}

static value str_zfill(run *r, value self, const arguments *a) {
    const mark from = text_begin(r);
    int64_t width;
    const text *s = self.s;
    if (!whole_argument(r, a, 0, NULL, 0, &width))
        return undefined_value();
    const uint32_t sign = s->length && (s->data[0] == '-' || s->data[0] == '+');
    text_range(r, s, 0, sign);
    for (int64_t i = s->chars; i < width && run_step(r, 1); i++)
        text_literal(r, "0");
    text_range(r, s, sign, s->length);
    return text_value(r, from);
}

/* ---- dicts, lists, loops --------------------------------------------------------- */

static value dict_get_method(run *r, value self, const arguments *a) {
    value found;
    if (dict_find(r, self.d, argument(a, 0, NULL), &found))
        return found;
    return argument_or(a, 1, NULL, a->n > 1 ? a->v[1] : none_value());
}

static value view_of(value self, uint8_t kind) {
    return (value){.type = V_VIEW, .flag = kind, .d = self.d};
}

static value dict_items(run *r, value self, const arguments *a) {
    (void)r, (void)a;
    return view_of(self, VIEW_ITEMS);
}

static value dict_keys(run *r, value self, const arguments *a) {
    (void)r, (void)a;
    return view_of(self, VIEW_KEYS);
}

static value dict_values(run *r, value self, const arguments *a) {
    (void)r, (void)a;
    return view_of(self, VIEW_VALUES);
}

static value itself(run *r, value self, const arguments *a) {
    (void)r, (void)a;
    return self;
}

static value list_count(run *r, value self, const arguments *a) {
    int64_t n = 0;
    for (uint32_t i = 0; i < self.l->n && run_step(r, 1); i++)
        n += values_equal(r, self.l->items[i], argument(a, 0, NULL));
    return int_value(n);
}

static value list_index(run *r, value self, const arguments *a) {
    for (uint32_t i = 0; i < self.l->n && run_step(r, 1); i++)
        if (values_equal(r, self.l->items[i], argument(a, 0, NULL)))
            return int_value(i);
    return FAIL(r, SM_ERR_FORMAT, "%s", "the value is not in the list");
}

static value loop_cycle(run *r, value self, const arguments *a) {
    if (!a->n)
        return FAIL(r, SM_ERR_FORMAT, "%s", "no items for cycling given");
    return a->v[(self.loop->next - 1) % a->n];
}

static value loop_changed(run *r, value self, const arguments *a) {
    const value now = list_value(r, V_TUPLE, a->v, a->n);
    const bool same =
        self.loop->changed.type == V_TUPLE && values_equal(r, self.loop->changed, now);
    self.loop->changed = now;
    return bool_value(!same);
}

/* ---- the table ------------------------------------------------------------------- */

typedef value (*method_fn)(run *r, value self, const arguments *a);

#define CHANGES UINT8_MAX /* what it belongs to: an immutable sandbox does not give it */

static const struct method_row {
    uint8_t type, least, most;
    const char *name;
    method_fn call;    /* NULL: not here */
    const char *names; /* of arguments */
} methods[] = {
    {V_STR, 0, 0, "capitalize", str_capitalize, NULL},
    {V_STR, 1, 2, "center", str_center, NULL},
    {V_STR, 1, 3, "count", str_count, NULL},
    {V_STR, 1, 3, "endswith", str_endswith, NULL},
    {V_STR, 1, 3, "find", str_find, NULL},
    {V_STR, 0, 254, "format", str_format, "*"},
    {V_STR, 1, 3, "index", str_index, NULL},
    {V_STR, 0, 0, "isalnum", str_isalnum, NULL},
    {V_STR, 0, 0, "isalpha", str_isalpha, NULL},
    {V_STR, 0, 0, "isdecimal", str_isdecimal, NULL},
    {V_STR, 0, 0, "isdigit", str_isdigit, NULL},
    {V_STR, 0, 0, "islower", str_islower, NULL},
    {V_STR, 0, 0, "isnumeric", str_isnumeric, NULL},
    {V_STR, 0, 0, "isspace", str_isspace, NULL},
    {V_STR, 0, 0, "isupper", str_isupper, NULL},
    {V_STR, 1, 1, "join", str_join, NULL},
    {V_STR, 1, 2, "ljust", str_ljust, NULL},
    {V_STR, 0, 0, "lower", str_lower, NULL},
    {V_STR, 0, 1, "lstrip", str_lstrip, NULL},
    {V_STR, 1, 1, "partition", str_partition, NULL},
    {V_STR, 1, 1, "removeprefix", str_removeprefix, NULL},
    {V_STR, 1, 1, "removesuffix", str_removesuffix, NULL},
    {V_STR, 2, 3, "replace", str_replace, "old,new,count,"},
    {V_STR, 1, 3, "rfind", str_rfind, NULL},
    {V_STR, 1, 3, "rindex", str_rindex, NULL},
    {V_STR, 1, 2, "rjust", str_rjust, NULL},
    {V_STR, 1, 1, "rpartition", str_rpartition, NULL},
    {V_STR, 0, 2, "rsplit", str_rsplit, "sep,maxsplit,"},
    {V_STR, 0, 1, "rstrip", str_rstrip, NULL},
    {V_STR, 0, 2, "split", str_split, "sep,maxsplit,"},
    {V_STR, 0, 1, "splitlines", str_splitlines, "keepends,"},
    {V_STR, 1, 3, "startswith", str_startswith, NULL},
    {V_STR, 0, 1, "strip", str_strip, NULL},
    {V_STR, 0, 0, "title", str_title, NULL},
    {V_STR, 0, 0, "upper", str_upper, NULL},
    {V_STR, 1, 1, "zfill", str_zfill, NULL},
    {V_STR, 0, 0, "casefold", NULL, NULL},
    {V_STR, 0, 0, "encode", NULL, NULL},
    {V_STR, 0, 0, "expandtabs", NULL, NULL},
    {V_STR, 0, 0, "format_map", NULL, NULL},
    {V_STR, 0, 0, "isascii", NULL, NULL},
    {V_STR, 0, 0, "isidentifier", NULL, NULL},
    {V_STR, 0, 0, "isprintable", NULL, NULL},
    {V_STR, 0, 0, "istitle", NULL, NULL},
    {V_STR, 0, 0, "maketrans", NULL, NULL},
    {V_STR, 0, 0, "swapcase", NULL, NULL},
    {V_STR, 0, 0, "translate", NULL, NULL},
    {V_DICT, 1, 2, "get", dict_get_method, NULL},
    {V_DICT, 0, 0, "items", dict_items, NULL},
    {V_DICT, 0, 0, "keys", dict_keys, NULL},
    {V_DICT, 0, 0, "values", dict_values, NULL},
    {V_DICT, 0, 0, "copy", itself, NULL},
    {V_DICT, 0, 0, "fromkeys", NULL, NULL},
    {V_DICT, 0, CHANGES, "clear", NULL, NULL},
    {V_DICT, 0, CHANGES, "pop", NULL, NULL},
    {V_DICT, 0, CHANGES, "popitem", NULL, NULL},
    {V_DICT, 0, CHANGES, "setdefault", NULL, NULL},
    {V_DICT, 0, CHANGES, "update", NULL, NULL},
    {V_LIST, 1, 1, "count", list_count, NULL},
    {V_LIST, 1, 1, "index", list_index, NULL},
    {V_LIST, 0, 0, "copy", itself, NULL},
    {V_LIST, 0, CHANGES, "append", NULL, NULL},
    {V_LIST, 0, CHANGES, "clear", NULL, NULL},
    {V_LIST, 0, CHANGES, "extend", NULL, NULL},
    {V_LIST, 0, CHANGES, "insert", NULL, NULL},
    {V_LIST, 0, CHANGES, "pop", NULL, NULL},
    {V_LIST, 0, CHANGES, "remove", NULL, NULL},
    {V_LIST, 0, CHANGES, "reverse", NULL, NULL},
    {V_LIST, 0, CHANGES, "sort", NULL, NULL},
    {V_TUPLE, 1, 1, "count", list_count, NULL},
    {V_TUPLE, 1, 1, "index", list_index, NULL},
    {V_RANGE, 1, 1, "count", list_count, NULL},
    {V_RANGE, 1, 1, "index", list_index, NULL},
    {V_LOOP, 0, 254, "cycle", loop_cycle, NULL},
    {V_LOOP, 0, 254, "changed", loop_changed, NULL},
};

bool method_find(value v, const text *name, uint32_t *method, bool *forbidden) {
    for (uint32_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].type == v.type && text_is(name, methods[i].name)) {
            *method = i;
            *forbidden = methods[i].most == CHANGES;
            return true;
        }
    return false;
}

/* What is made of a `safe` text is safe, and so are its parts. */
static value all_marked(run *r, value v) {
    const uint32_t base = r->n;
    if (v.type != V_LIST && v.type != V_TUPLE)
        return marked(v, true);
    for (uint32_t i = 0; i < v.l->n && run_step(r, 1); i++)
        push(r, marked(v.l->items[i], true));
    return list_from(r, v.type, base);
}

value method_call(run *r, const bound *b, const arguments *a) {
    const struct method_row *m = &methods[b->method];
    const arguments of = {a->v, a->n, a->named, a->n_named, m->name};
    if (!m->call)
        return FAIL(r, SM_ERR_UNSUPPORTED, "the method '%s' is not supported", m->name);
    const bool any = m->names && m->names[0] == '*';
    if (!any && !arguments_fit(r, &of, m->least, m->most, m->names))
        return undefined_value();
    const value v = m->call(r, b->self, &of);
    return b->self.type == V_STR && b->self.flag ? all_marked(r, v) : v;
}
