/* schema_notation.c - a schema's values in the notations that models write the arguments of
 * functions in: JSON, Python's, pairs, members of markup. */
#include "schema.h"

#define FEW_KEYS 6 /* that may come in any order */

sm_notation_kind sm_notation_of(const schema *s) {
    return s->options.notation ? s->options.notation->kind : SM_NOTATION_JSON;
}

static sm_expr nothing(schema *s) {
    return sm_expr_nothing(s->g);
}

/* Texts that hold none of two; SM_EXPR_NONE: neither is given. */
static sm_expr without(sm_grammar *g, const char *a, const char *b) {
    if (!a && !b)
        return SM_EXPR_NONE;
    const sm_expr any = sm_expr_any_text(g),
                  some = sm_expr_alt2(g, sm_expr_text(g, a ? a : b), sm_expr_text(g, b ? b : a));
    return sm_expr_not(g, sm_expr_seq3(g, any, some, any));
}

void sm_notation_prepare(schema *s) {
    static const sm_range blanks[] = {{' ', ' '}, {'\t', '\t'}, {'\n', '\n'}, {'\r', '\r'}};
    sm_grammar *g = s->g;
    const sm_notation *notation = s->options.notation;
    const bool any = s->options.spaces == SM_SPACES_ANY;
    const sm_expr none = sm_expr_empty(g);
    const sm_expr space =
        any ? sm_expr_repeat(g, sm_expr_chars(g, blanks, 4), 0, s->options.max_spaces) : none;
    const sm_expr behind = s->options.spaces == SM_SPACES_ONE ? sm_expr_text(g, " ") : space;
    s->open_object = sm_expr_seq2(g, sm_expr_text(g, "{"), space);
    s->close_object = sm_expr_seq2(g, space, sm_expr_text(g, "}"));
    s->open_array = sm_expr_seq2(g, sm_expr_text(g, "["), space);
    s->close_array = sm_expr_seq2(g, space, sm_expr_text(g, "]"));
    s->comma = sm_expr_seq3(g, space, sm_expr_text(g, ","), behind);
    s->colon = sm_expr_seq3(g, space, sm_expr_text(g, ":"), behind);
    s->outer_comma = sm_notation_of(s) == SM_NOTATION_TEXT ? none : s->comma;
    s->avoiding = sm_notation_of(s) == SM_NOTATION_PAIRS ? without(g, "<|\"|>", NULL)
                  : notation ? without(g, notation->avoid[0], notation->avoid[1])
                             : SM_EXPR_NONE;
}

/* ---- keys (schema_notation.c) --------------------------------------------------------------- */

static sm_expr bare_key(schema *s, uint32_t name, formula key) {
    const bool before = s->bare;
    s->bare = true;
    const sm_expr e = name == NO_NAME ? sm_string_write_key(s, key) : sm_string_write_text(s, name);
    s->bare = before;
    return e;
}

/* What a key may be where nothing is around it. Longer or stranger ones are given by a schema in
 * markup alone, where they have an end. */
static sm_expr key_language(schema *s, bool named) {
    static const char word[] = "[A-Za-z_][A-Za-z0-9_.-]{0,63}", line[] = "[^\\r\\n]{1,250}";
    const sm_notation *n = s->options.notation;
    const bool is_word = n->kind != SM_NOTATION_TEXT || !named;
    const sm_expr e = is_word ? sm_expr_regex(s->g, word, sizeof word - 1, 0, NULL)
                              : sm_expr_regex(s->g, line, sizeof line - 1, 0, NULL);
    return is_word || !n->key_end ? e : sm_expr_and2(s->g, e, without(s->g, n->key_end, NULL));
}

static void refuse_key(schema *s, uint32_t name) {
    char why[120];
    uint32_t n;
    const char *text = sm_schema_text_of(s, name, &n);
    sm_format(why, sizeof why, "the key \"%.*s\" cannot be written in the format of calls",
              (int)min_u32(n, 40), text);
    sm_schema_fail(s, SM_ERR_UNSUPPORTED, SM_JSON_NONE, why);
}

static sm_expr write_key(schema *s, uint32_t name, formula key) {
    const bool named = name != NO_NAME;
    if (!s->outermost && sm_notation_of(s) != SM_NOTATION_PAIRS)
        return named ? sm_string_write_text(s, name) : sm_string_write_key(s, key);
    const sm_expr e = sm_expr_and2(s->g, bare_key(s, name, key), key_language(s, named));
    if (!named || !sm_expr_is_empty(s->g, e))
        return e;
    if (sm_notation_of(s) == SM_NOTATION_PAIRS)
        return sm_string_write_text(s, name);
    refuse_key(s, name);
    return e;
}

/* ---- members (schema_notation.c) ------------------------------------------------------------ */

static sm_expr bare_string(schema *s, formula seen) {
    s->bare = true;
    const sm_expr e = sm_string_write(s, seen);
    s->bare = false;
    return e;
}

/* A value's expressions by type. */
static void write_types(schema *s, formula value, sm_written *w) {
    sm_expr *const by_type[N_TYPES] = {&w->null,   &w->boolean, &w->boolean, &w->number,
                                       &w->string, &w->array,   &w->object};
    for (uint32_t t = 0; t < N_TYPES && !s->status; t++) {
        const formula seen = sm_formula_seen(s, value, (type)t);
        if (sm_formula_dead_as(s, seen, (type)t))
            continue;
        const sm_expr e =
            t == T_STRING ? bare_string(s, seen) : sm_value_write_type(s, seen, (type)t);
        *by_type[t] = sm_expr_alt2(s->g, *by_type[t], e);
    }
}

static sm_expr text_member(schema *s, uint32_t name, formula key, formula value) {
    const sm_notation *notation = s->options.notation;
    const sm_expr no = nothing(s);
    sm_written w = {
        .string = no, .number = no, .boolean = no, .null = no, .array = no, .object = no};
    uint32_t length = 0;
    w.name = name == NO_NAME ? NULL : sm_schema_text_of(s, name, &length);
    w.length = length;
    w.key = write_key(s, name, key);
    write_types(s, value, &w);
    if (name != NO_NAME) /* texts may have moved */
        w.name = sm_schema_text_of(s, name, &length);
    return s->status ? no : notation->member(notation->user, s->g, &w);
}

sm_expr sm_member_write(schema *s, uint32_t name, formula key, formula value) {
    if (s->outermost && sm_notation_of(s) == SM_NOTATION_TEXT)
        return text_member(s, name, key, value);
    const sm_expr k = write_key(s, name, key),
                  between = s->outermost ? sm_expr_text(s->g, "=") : s->colon;
    return sm_expr_seq3(s->g, k, between, sm_value_write(s, value));
}

/* ---- the whole (schema_notation.c) ---------------------------------------------------------- */

sm_expr sm_arguments_write(schema *s, formula root) {
    const sm_notation_kind kind = sm_notation_of(s);
    if (s->status || kind == SM_NOTATION_JSON || kind == SM_NOTATION_PAIRS)
        return sm_value_write(s, root);
    const sm_rule rule = sm_rule_new(s->g, "arguments", 9);
    s->place = SM_JSON_ROOT;
    s->outermost = true;
    sm_cases_write(s, sm_formula_seen(s, root, T_OBJECT), T_OBJECT, rule);
    s->outermost = false;
    return sm_expr_rule(s->g, rule);
}

sm_status sm_schema_arguments(sm_grammar *g, const char *text, uint64_t length, const char *name,
                              bool closed, const sm_notation *notation, sm_expr *out,
                              sm_error *error) {
    static const uint32_t spaces[] = {[SM_NOTATION_JSON] = SM_SPACES_ANY,
                                      [SM_NOTATION_PYTHON] = SM_SPACES_ONE,
                                      [SM_NOTATION_PAIRS] = SM_SPACES_NONE,
                                      [SM_NOTATION_TEXT] = SM_SPACES_ANY};
    const sm_schema_choices choices = {.spaces = spaces[notation->kind],
                                       .max_spaces = 8,
                                       .notation = notation,
                                       .name = name,
                                       .closed = closed,
                                       .any_order_to = closed ? 0 : FEW_KEYS};
    return sm_schema_compile(g, text, length, &choices, NULL, out, error);
}
