/* compile_statement.c - {% … %} and what lies between. */
#include <string.h>

#include "compile.h"

/* ---- what is assigned to --------------------------------------------------------- */

static void store_name(compiler *c, const token *t) {
    if (token_is(t, T_NAME, "true") || token_is(t, T_NAME, "false") ||
        token_is(t, T_NAME, "none") || token_is(t, T_NAME, "True") ||
        token_is(t, T_NAME, "False") || token_is(t, T_NAME, "None"))
        fail_at(c, SM_ERR_FORMAT, "a constant cannot be assigned to");
    emit(c, OP_STORE, 0, 0, name_of(c, t->data, t->length));
}

/* `a`, `a.b` of a namespace, `a, b`, with brackets or without: code that takes a value off the
 * stack. */
static void target(compiler *c, bool namespaces, const char *end_name);

static void one_target(compiler *c, bool namespaces) {
    if (skip_sign(c, "(") || skip_sign(c, "[")) {
        target(c, namespaces, NULL);
        if (!skip_sign(c, ")"))
            expect_sign(c, "]");
        return;
    }
    const token name = expect_name(c);
    if (!namespaces || !at_sign(c, ".")) {
        store_name(c, &name);
        return;
    }
    step(c);
    const token attribute = expect_name(c);
    const int32_t constant_of = text_constant(c, attribute.data, attribute.length);
    if (constant_of > UINT16_MAX)
        fail_at(c, SM_ERR_UNSUPPORTED, "too many constants");
    emit(c, OP_STORE_ATTR, 0, (uint32_t)constant_of, name_of(c, name.data, name.length));
}

static void target(compiler *c, bool namespaces, const char *end_name) {
    const uint32_t from = here(c);
    uint32_t n = 1;
    if (!enter(c))
        return;
    one_target(c, namespaces);
    bool is_tuple = false;
    while (skip_sign(c, ",") && !failed(c)) {
        is_tuple = true;
        if (tuple_ends(c, end_name) || at_sign(c, "=") || at_sign(c, "]"))
            break;
        one_target(c, namespaces);
        n++;
    }
    if (is_tuple) {
        const uint32_t unpack = emit(c, OP_UNPACK, 0, n, 0);
        rotate(c, from, unpack);
    }
    c->depth--;
}

/* ---- statements ------------------------------------------------------------------ */

static bool at_end_of(const compiler *c, const char *const *ends) {
    for (; *ends; ends++)
        if (at_name(c, *ends))
            return true;
    return false;
}

/* Code that is written where it does not run, taken off to be written again elsewhere. */
typedef struct cutting {
    instruction *code;
    uint32_t n;
} cutting;

static cutting cut(compiler *c, uint32_t from) {
    cutting out = {NULL, 0};
    const uint32_t n = failed(c) ? 0 : here(c) - from;
    if (!n)
        return out;
    out.code = sm_alloc_array(c->t->mem, n, sizeof *out.code);
    if (!out.code) {
        fail_at(c, SM_ERR_NOMEM, "out of memory");
        return out;
    }
    memcpy(out.code, c->t->code + from, n * sizeof *out.code);
    out.n = n;
    c->t->n_code = from;
    return out;
}

static void paste(compiler *c, const cutting *k) {
    for (uint32_t i = 0; i < k->n; i++)
        emit(c, (op)k->code[i].op, k->code[i].a, k->code[i].b, k->code[i].c);
}

static void drop(compiler *c, cutting *k) {
    sm_free(c->t->mem, k->code);
}

static void loop_body(compiler *c) {
    static const char *const ends[] = {"endfor", "else", NULL};
    body(c, ends);
    c->n_loops--;
    jump_to(c, OP_JUMP, c->loop_next);
    land(c, c->loop_next);
}

static void for_else(compiler *c) {
    static const char *const end[] = {"endfor", NULL};
    expect_close(c);
    const uint32_t over = emit(c, OP_JUMP_FALSE, 0, 0, 0);
    emit(c, OP_SCOPE, 0, 0, 0);
    body(c, end);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    land(c, over);
}

/* With a condition all items go through it before the first one is used, or each when it is its
 * turn; the instruction that decides. */
static uint32_t for_condition(compiler *c, const cutting *targets) {
    const uint32_t fetch = emit(c, OP_FOR_FETCH, 0, 0, 0);
    paste(c, targets);
    expression(c);
    jump_to(c, OP_FOR_KEEP, fetch);
    land(c, fetch);
    return here(c) - 1;
}

/* What was written from `from` on is the body of a macro, which a call of `loop` runs; its row. */
static uint32_t recursive(compiler *c, uint32_t from) {
    sm_template *t = c->t;
    const text *name = keep_text(c, "loop", 4);
    step(c);
    if (!name || !grow(c, &t->macros, t->n_macros, &t->macros_capacity, sizeof *t->macros))
        return 0;
    const uint32_t row = t->n_macros++, recurse = emit(c, OP_RECURSE, 0, 0, (int32_t)row);
    t->macros[row] = (macro_code){.entry = from + 1, .name = name, .first_param = t->n_params};
    rotate(c, from, recurse);
    if (!failed(c))
        t->code[from + 1].a |= FOR_RECURSIVE;
    return row;
}

static void end_recursive(compiler *c, uint32_t row) {
    emit(c, OP_RETURN, 0, 0, 0);
    if (failed(c))
        return;
    c->t->macros[row].end = here(c);
    emit(c, OP_SHOW, 0, 0, 0);
}

static void for_statement(compiler *c) {
    const uint32_t from = here(c);
    target(c, false, "in");
    cutting targets = cut(c, from);
    if (!skip_name(c, "in"))
        fail_token(c, "'in'");
    tuple(c, condition_free, "recursive", false);
    const uint32_t begin = emit(c, OP_FOR, at_name(c, "if") ? FOR_IF : 0, 0, 0);
    const bool has_condition = skip_name(c, "if");
    uint32_t keep = has_condition ? for_condition(c, &targets) : 0;
    const bool recurses = at_name(c, "recursive");
    const uint32_t row = recurses ? recursive(c, begin) : 0;
    keep += recurses;
    expect_close(c);
    const uint32_t outer_next = c->loop_next, first_break = c->n_breaks;
    c->loop_next = emit(c, OP_FOR_NEXT, 0, 0, 0);
    paste(c, &targets);
    drop(c, &targets);
    c->n_loops++;
    const bool outer_loop = c->names_loop;
    c->names_loop = false;
    loop_body(c);
    /* Jinja looks ahead for `loop` alone */
    if (has_condition && !c->names_loop && !failed(c))
        c->t->code[keep].a = 1;
    c->names_loop |= outer_loop;
    c->loop_next = outer_next;
    while (c->n_breaks > first_break)
        land(c, c->breaks[--c->n_breaks]);
    emit(c, OP_FOR_END, at_name(c, "else"), 0, 0);
    if (skip_name(c, "else"))
        for_else(c);
    if (recurses)
        end_recursive(c, row);
    step(c);
    expect_close(c);
}

static void loop_control(compiler *c, bool leaves) {
    if (!c->n_loops)
        fail_at(c, SM_ERR_FORMAT, "break or continue outside of a for");
    if (!leaves)
        jump_to(c, OP_JUMP, c->loop_next);
    else if (c->n_breaks == SM_TEMPLATE_MAX_DEPTH)
        fail_at(c, SM_ERR_UNSUPPORTED, "more than 64 breaks in a for");
    else
        c->breaks[c->n_breaks++] = emit(c, OP_JUMP, 0, 0, 0);
    expect_close(c);
}

static void if_statement(compiler *c) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    int32_t over = -1; /* jumps to the end, each with the number of the one before */
    do {
        tuple(c, condition_free, NULL, false);
        expect_close(c);
        const uint32_t jump = emit(c, OP_JUMP_FALSE, 0, 0, 0);
        body(c, ends);
        over = (int32_t)emit(c, OP_JUMP, 0, 0, over);
        land(c, jump);
    } while (skip_name(c, "elif") && !failed(c));
    if (skip_name(c, "else")) {
        expect_close(c);
        body(c, last);
    }
    while (over >= 0 && !failed(c)) {
        const int32_t before = c->t->code[over].c;
        land(c, (uint32_t)over);
        over = before;
    }
    step(c);
    expect_close(c);
}

/* A body whose text goes through filters, whose arguments run behind it. `named`: the first filter
 * stands without |. */
static void body_through_filters(compiler *c, const char *end, bool named) {
    const char *const ends[] = {end, NULL};
    const uint32_t from = here(c);
    if (named)
        filter(c);
    while (skip_sign(c, "|") && !failed(c))
        filter(c);
    cutting applied = cut(c, from);
    expect_close(c);
    emit(c, OP_CAPTURE, 0, 0, 0);
    emit(c, OP_SCOPE, 0, 0, 0);
    body(c, ends);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    emit(c, OP_CAPTURED, 0, 0, 0);
    paste(c, &applied);
    drop(c, &applied);
    step(c);
    expect_close(c);
}

static void set_statement(compiler *c) {
    const uint32_t from = here(c);
    target(c, true, NULL);
    cutting targets = cut(c, from);
    if (skip_sign(c, "=")) {
        tuple(c, expression, NULL, false);
        expect_close(c);
    } else {
        body_through_filters(c, "endset", false);
    }
    paste(c, &targets);
    drop(c, &targets);
}

/* All values are computed outside; the last one lies on top. */
static void with_targets(compiler *c) {
    const uint32_t from = here(c);
    if (c->now.type == T_CLOSE_TAG || !enter(c)) {
        emit(c, OP_SCOPE, 0, 0, 0);
        return;
    }
    target(c, false, "=");
    cutting targets = cut(c, from);
    expect_sign(c, "=");
    expression(c);
    if (skip_sign(c, ","))
        with_targets(c);
    else
        emit(c, OP_SCOPE, 0, 0, 0);
    paste(c, &targets);
    drop(c, &targets);
    c->depth--;
}

static void with_statement(compiler *c) {
    static const char *const ends[] = {"endwith", NULL};
    with_targets(c);
    expect_close(c);
    body(c, ends);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    step(c);
    expect_close(c);
}

/* (a, b=1): parameters of the macro, and the code of their defaults. */
static void parameters(compiler *c, uint32_t row) {
    sm_template *t = c->t;
    expect_sign(c, "(");
    for (uint32_t n = 0; !at_sign(c, ")") && !failed(c); n++) {
        if (n)
            expect_sign(c, ",");
        const token name = expect_name(c);
        const int32_t number = name_of(c, name.data, name.length);
        if (!grow(c, &t->params, t->n_params, &t->params_capacity, sizeof *t->params))
            return;
        t->params[t->n_params++] = (uint32_t)number;
        t->macros[row].n_params++;
        if (skip_sign(c, "=")) {
            const uint32_t given = emit(c, OP_DEFAULT, 0, n, 0);
            expression(c);
            emit(c, OP_STORE, 0, 0, number);
            land(c, given);
            t->macros[row].n_defaults++;
        } else if (t->macros[row].n_defaults) {
            fail_at(c, SM_ERR_FORMAT, "a parameter without a default behind one with it");
        }
    }
    step(c);
}

/* The code of a macro, which is jumped over; its row. */
static uint32_t macro_code_of(compiler *c, const text *name, const char *end, bool has_parameters) {
    const char *const ends[] = {end, NULL};
    sm_template *t = c->t;
    if (!name || !grow(c, &t->macros, t->n_macros, &t->macros_capacity, sizeof *t->macros))
        return 0;
    const uint32_t row = t->n_macros++, n_loops = c->n_loops;
    const bool outer_caller = c->names_caller, outer_varargs = c->names_varargs,
               outer_kwargs = c->names_kwargs;
    const uint32_t over = emit(c, OP_JUMP, 0, 0, 0);
    t->macros[row] = (macro_code){.entry = here(c), .name = name, .first_param = t->n_params};
    c->n_loops = 0;
    c->names_caller = c->names_varargs = c->names_kwargs = false;
    if (has_parameters)
        parameters(c, row);
    expect_close(c);
    body(c, ends);
    if (failed(c))
        return 0;
    t->macros[row].uses_caller = c->names_caller;
    t->macros[row].uses_varargs = c->names_varargs;
    t->macros[row].uses_kwargs = c->names_kwargs;
    emit(c, OP_RETURN, 0, 0, 0);
    land(c, over);
    c->n_loops = n_loops;
    c->names_caller = outer_caller;
    c->names_varargs = outer_varargs;
    c->names_kwargs = outer_kwargs;
    return row;
}

static void end_statement(compiler *c) {
    step(c);
    expect_close(c);
}

static void macro_statement(compiler *c) {
    const token name = expect_name(c);
    const uint32_t row = macro_code_of(c, keep_text(c, name.data, name.length), "endmacro", true);
    emit(c, OP_MACRO, 0, 0, (int32_t)row);
    emit(c, OP_STORE, 0, 0, name_of(c, name.data, name.length));
    end_statement(c);
}

/* The body is a macro that the one called knows as `caller`. Its parameters are read before what is
 * called, its body behind that. */
static void call_statement(compiler *c) {
    sm_template *t = c->t;
    uint32_t first = 0, n = 0;
    if (at_sign(c, "(")) {
        /* written as a macro of its own would take more than any template does */
        step(c);
        first = t->n_params;
        for (; !at_sign(c, ")") && !failed(c); n++) {
            if (n)
                expect_sign(c, ",");
            const token name = expect_name(c);
            const int32_t number = name_of(c, name.data, name.length);
            if (grow(c, &t->params, t->n_params, &t->params_capacity, sizeof *t->params))
                t->params[t->n_params++] = (uint32_t)number;
            if (at_sign(c, "="))
                fail_at(c, SM_ERR_UNSUPPORTED, "defaults of a call block are not supported");
        }
        step(c);
    }
    unary(c, false);
    if (!failed(c) && (!here(c) || t->code[here(c) - 1].op != OP_CALL))
        fail_at(c, SM_ERR_FORMAT, "expected a call");
    if (failed(c))
        return;
    const instruction called = t->code[--t->n_code];
    const uint32_t row = macro_code_of(c, keep_text(c, "caller", 6), "endcall", false);
    if (failed(c))
        return;
    t->macros[row].first_param = first;
    t->macros[row].n_params = n;
    emit(c, OP_MACRO, 0, 0, (int32_t)row);
    emit(c, OP_CALL, (uint8_t)(called.a | CALL_CALLER), called.b, called.c);
    emit(c, OP_SHOW, 0, 0, 0);
    end_statement(c);
}

/* What transformers marks for its masks: here the body by itself. */
static void generation_statement(compiler *c) {
    static const char *const ends[] = {"endgeneration", NULL};
    expect_close(c);
    emit(c, OP_SCOPE, 0, 0, 0);
    body(c, ends);
    emit(c, OP_END_SCOPE, 0, 0, 0);
    end_statement(c);
}

static void print_statement(compiler *c) {
    tuple(c, expression, NULL, true);
    emit(c, OP_SHOW, 0, 0, 0);
    expect_close(c);
}

static void filter_statement(compiler *c) {
    body_through_filters(c, "endfilter", true);
    emit(c, OP_SHOW, 0, 0, 0);
}

static void statement(compiler *c) {
    static const struct {
        const char *name;
        void (*read)(compiler *c);
    } statements[] = {{"for", for_statement},    {"if", if_statement},
                      {"set", set_statement},    {"macro", macro_statement},
                      {"call", call_statement},  {"filter", filter_statement},
                      {"with", with_statement},  {"generation", generation_statement},
                      {"print", print_statement}};
    const token name = expect_name(c);
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (token_is(&name, T_NAME, statements[i].name)) {
            statements[i].read(c);
            return;
        }
    if (token_is(&name, T_NAME, "break") || token_is(&name, T_NAME, "continue")) {
        loop_control(c, name.length == 5);
        return;
    }
    char message[120];
    static const char known[] = " include import from extends block autoescape trans do ";
    char word[40];
    sm_format(word, sizeof word, " %.*s ", (int)min_u64(name.length, 30), name.data);
    sm_format(message, sizeof message, "{%% %.*s %%} is not %s", (int)min_u64(name.length, 60),
              name.data, strstr(known, word) ? "supported" : "a statement");
    c->now.line = name.line;
    fail_at(c, strstr(known, word) ? SM_ERR_UNSUPPORTED : SM_ERR_FORMAT, message);
}

/* Up to a tag with one of these names, whose name is the token at hand then; ends NULL: up to the
 * template's end. */
void body(compiler *c, const char *const *ends) {
    if (!enter(c))
        return;
    while (!failed(c)) {
        if (c->now.type == T_DATA) {
            if (c->now.length)
                emit(c, OP_TEXT, 0, 0, text_constant(c, c->now.data, c->now.length));
            step(c);
        } else if (c->now.type == T_OPEN_VAR) {
            step(c);
            tuple(c, expression, NULL, false);
            emit(c, OP_SHOW, 0, 0, 0);
            if (c->now.type != T_CLOSE_VAR)
                fail_token(c, "}}");
            step(c);
        } else if (c->now.type == T_OPEN_TAG) {
            step(c);
            if (ends && at_end_of(c, ends))
                break;
            statement(c);
        } else {
            if (ends)
                fail_token(c, ends[0]);
            break;
        }
    }
    c->depth--;
}
