/* run.c - the machine that a template's code runs on. */
#include <string.h>

#include "value.h"

#define MAX_STACK (1u << 20)

/* ---- the stack ------------------------------------------------------------------- */

bool push(run *r, value v) {
    if (r->status)
        return false;
    if (r->n == r->stack_capacity) {
        const uint32_t capacity = 2 * r->stack_capacity + 256;
        value *stack =
            capacity <= MAX_STACK ? sm_realloc(r->mem, r->stack, capacity * sizeof *stack) : NULL;
        if (!stack) {
            FAIL(r, capacity <= MAX_STACK ? SM_ERR_NOMEM : SM_ERR_UNSUPPORTED, "%s",
                 capacity <= MAX_STACK ? "out of memory" : "more than 1048576 values at once");
            return false;
        }
        r->stack = stack;
        r->stack_capacity = capacity;
    }
    r->stack[r->n++] = v;
    return true;
}

static value pop(run *r) {
    return r->n ? r->stack[--r->n] : undefined_value();
}

value list_from(run *r, value_type type, uint32_t from) {
    if (r->status)
        return undefined_value();
    const value v = list_value(r, type, r->stack + from, r->n - from);
    r->n = from;
    return v;
}

/* ---- names ----------------------------------------------------------------------- */

static void open_scope(run *r, scope *parent) {
    scope *s = run_alloc(r, sizeof *s);
    if (!s)
        return;
    *s = (scope){.parent = parent};
    r->scope = s;
}

static void store(run *r, scope *s, uint32_t name, value v) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->variables[i].name == name) {
            s->variables[i].v = v;
            return;
        }
    if (s->n == s->capacity) {
        const uint32_t capacity = 2 * s->capacity + 4;
        variable *variables = run_alloc(r, capacity * sizeof *variables);
        if (!variables)
            return;
        if (s->n)
            memcpy(variables, s->variables, s->n * sizeof *variables);
        s->variables = variables;
        s->capacity = capacity;
    }
    s->variables[s->n++] = (variable){name, v};
}

static value value_of_variable(run *r, const sm_variable *v) {
    switch (v->kind) {
    case SM_VARIABLE_JSON:
        return json_value(r, v->json, v->value);
    case SM_VARIABLE_TEXT:
        return value_of_bytes(r, v->text, v->length, false);
    case SM_VARIABLE_NONE:
        return none_value();
    default:
        return bool_value(v->kind == SM_VARIABLE_TRUE);
    }
}

/* A variable of the caller's, made into a value when it is first asked for; or a global. */
static value outside(run *r, const text *name) {
    for (uint32_t i = 0; i < r->n_variables; i++) {
        const sm_variable *v = &r->variables[i];
        const uint64_t length = v->name_length ? v->name_length : strlen(v->name);
        if (length != name->length || memcmp(v->name, name->data, name->length))
            continue;
        if (r->variable_values[i].type == V_UNDEFINED)
            r->variable_values[i] = value_of_variable(r, v);
        return r->variable_values[i];
    }
    const uint32_t global = global_find(name->data, name->length);
    return global == UINT32_MAX ? undefined_value()
                                : (value){.type = V_GLOBAL, .flag = (uint8_t)global};
}

static value load(run *r, uint32_t name) {
    for (const scope *s = r->scope; s; s = s->parent)
        for (uint32_t i = 0; i < s->n; i++)
            if (s->variables[i].name == name)
                return s->variables[i].v;
    return outside(r, r->t->names[name]);
}

static void store_attribute(run *r, uint32_t name, const text *attribute, value v) {
    const value of = load(r, name);
    if (of.type != V_SPACE)
        FAIL(r, SM_ERR_FORMAT, "cannot assign attribute on non-namespace object: '%.*s' is %s",
             (int)r->t->names[name]->length, r->t->names[name]->data, type_name(of));
    else
        space_set(r, of.n, attribute, v);
}

static void unpack(run *r, uint32_t n) {
    list items;
    if (!items_of(r, pop(r), &items))
        return;
    if (items.n != n) {
        FAIL(r, SM_ERR_FORMAT, "%u values to unpack into %u", items.n, n);
        return;
    }
    for (uint32_t i = n; i-- > 0;)
        push(r, items.items[i]);
}

/* ---- captures -------------------------------------------------------------------- */

static void begin_capture(run *r) {
    if (r->n_captures == MAX_CAPTURES)
        FAIL(r, SM_ERR_UNSUPPORTED, "more than %d blocks of text inside each other", MAX_CAPTURES);
    else
        r->captures[r->n_captures++] = text_begin(r);
}

static value end_capture(run *r) {
    return r->n_captures ? text_value(r, r->captures[--r->n_captures]) : undefined_value();
}

/* ---- loops ----------------------------------------------------------------------- */

static void begin_loop(run *r, uint8_t how) {
    const bool has_condition = how & FOR_IF;
    const frame *f = how & FOR_RECURSIVE && r->n_frames ? &r->frames[r->n_frames - 1] : NULL;
    loop *l = run_alloc(r, sizeof *l);
    list items = {0, NULL};
    const value over = pop(r);
    if (!l || !items_of(r, over, &items))
        return;
    *l = (loop){.outer = r->loop,
                .items = items,
                .depth = f ? f->depth : 1,
                .body = f ? f->body : NULL,
                .scope = r->scope,
                .n_stack = r->n,
                .n_captures = r->n_captures};
    l->kept = run_alloc(r, ((uint64_t)items.n + 1) * sizeof *l->kept);
    if (!l->kept || !run_step(r, items.n / 8))
        return;
    if (!has_condition && items.n) {
        memcpy(l->kept, items.items, items.n * sizeof *l->kept);
        l->n_kept = items.n;
    }
    r->loop = l;
}

/* Back to where the loop was: what a `continue` or `break` left behind goes. */
static void settle(run *r, const loop *l) {
    r->scope = l->scope;
    r->n = l->n_stack;
    if (r->n_captures > l->n_captures) {
        text_drop(r, r->captures[l->n_captures]);
        r->n_captures = l->n_captures;
    }
}

/* False at the end. */
static bool fetch(run *r) {
    loop *l = r->loop;
    settle(r, l);
    if (l->fetched == l->items.n)
        return false;
    open_scope(r, l->scope);
    return push(r, l->items.items[l->fetched++]);
}

/* Whether the item was kept. */
static bool keep(run *r) {
    loop *l = r->loop;
    if (!truth_of(pop(r)))
        return false;
    l->kept[l->n_kept++] = l->items.items[l->fetched - 1];
    return true;
}

static bool next_item(run *r, uint32_t loop_name) {
    loop *l = r->loop;
    settle(r, l);
    if (l->next == l->n_kept)
        return false;
    open_scope(r, l->scope);
    if (r->status)
        return false;
    if (loop_name != UINT32_MAX)
        store(r, r->scope, loop_name, (value){.type = V_LOOP, .loop = l});
    return push(r, l->kept[l->next++]);
}

static void end_loop(run *r, bool tells) {
    loop *l = r->loop;
    settle(r, l);
    r->loop = l->outer;
    if (tells)
        push(r, bool_value(l->n_kept == 0));
}

/* ---- calls ----------------------------------------------------------------------- */

static uint32_t name_number(const run *r, const char *name) {
    for (uint32_t i = 0; i < r->t->n_names; i++)
        if (text_is(r->t->names[i], name))
            return i;
    return UINT32_MAX;
}

/* What no parameter took: positional ones of a, and names and values on the stack from `base`
 * on. */
static void give_rest(run *r, const macro_code *m, const arguments *a, uint32_t base) {
    const uint32_t taken = min_u32(a->n, m->n_params);
    if (m->uses_varargs && !r->status)
        store(r, r->scope, name_number(r, "varargs"),
              list_value(r, V_TUPLE, a->v + taken, a->n - taken));
    if (m->uses_kwargs && !r->status)
        store(r, r->scope, name_number(r, "kwargs"),
              dict_value(r, r->stack + base, (r->n - base) / 2));
    r->n = base;
}

static bool give_parameters(run *r, const macro_code *m, const arguments *a) {
    const uint32_t *names = r->t->params + m->first_param;
    if (a->n > m->n_params && !m->uses_varargs) {
        FAIL(r, SM_ERR_FORMAT, "macro '%.*s' takes not more than %u argument(s)",
             (int)m->name->length, m->name->data, m->n_params);
        return false;
    }
    for (uint32_t i = 0; i < a->n && i < m->n_params; i++)
        store(r, r->scope, names[i], a->v[i]);
    const uint32_t base = r->n;
    for (uint32_t k = 0; k < a->n_named; k++) {
        uint32_t i = 0;
        while (i < m->n_params && !text_same(r->t->names[names[i]], a->named[2 * k].s))
            i++;
        if (i == m->n_params && m->uses_kwargs) {
            push(r, a->named[2 * k]);
            push(r, a->named[2 * k + 1]);
            continue;
        }
        if (i == m->n_params || i < a->n) {
            FAIL(r, SM_ERR_FORMAT, "macro '%.*s' takes no keyword argument '%.*s'",
                 (int)m->name->length, m->name->data, (int)a->named[2 * k].s->length,
                 a->named[2 * k].s->data);
            return false;
        }
        store(r, r->scope, names[i], a->named[2 * k + 1]);
    }
    give_rest(r, m, a, base);
    for (uint32_t i = a->n; i < m->n_params; i++) { /* others hide what is outside */
        bool given = false;
        for (uint32_t k = 0; k < r->scope->n; k++)
            given |= r->scope->variables[k].name == names[i];
        if (!given)
            store(r, r->scope, names[i], (value){.type = V_UNDEFINED, .user = true});
    }
    return !r->status;
}

/* Where its code begins; its arguments lie in a scope of its own. */
static uint32_t call_macro(run *r, const macro *m, const arguments *a, const value *caller,
                           uint32_t back) {
    if (r->n_frames == SM_TEMPLATE_MAX_DEPTH) {
        FAIL(r, SM_ERR_UNSUPPORTED, "macros call each other more than %d deep",
             SM_TEMPLATE_MAX_DEPTH);
        return back;
    }
    r->frames[r->n_frames++] = (frame){.back = back, .scope = r->scope, .loop = r->loop};
    open_scope(r, m->around);
    if (r->status || !give_parameters(r, m->code, a))
        return back;
    const uint32_t name = name_number(r, "caller");
    if (caller && !m->code->uses_caller)
        FAIL(r, SM_ERR_FORMAT, "macro '%.*s' takes no keyword argument 'caller'",
             (int)m->code->name->length, m->code->name->data);
    else if (m->code->uses_caller && name != UINT32_MAX)
        store(r, r->scope, name, caller ? *caller : undefined_value());
    r->loop = NULL;
    begin_capture(r);
    return m->code->entry;
}

/* The body of a recursive `for`, for other items: where its code begins. */
static uint32_t recurse(run *r, const macro *body, uint32_t depth, uint32_t back) {
    const arguments none = {NULL, 0, NULL, 0, "loop"};
    const uint32_t entry = call_macro(r, body, &none, NULL, back);
    if (!r->status) {
        r->frames[r->n_frames - 1].body = body;
        r->frames[r->n_frames - 1].depth = depth;
    }
    return entry;
}

static uint32_t end_macro(run *r) {
    const frame *f = &r->frames[--r->n_frames];
    const value v = end_capture(r);
    r->scope = f->scope;
    r->loop = f->loop;
    push(r, v);
    return f->back;
}

static value call_value(run *r, value called, const arguments *a) {
    switch (called.type) {
    case V_GLOBAL:
        return global_call(r, called.flag, a);
    case V_METHOD:
        return method_call(r, called.b, a);
    case V_UNDEFINED:
        return FAIL(r, SM_ERR_FORMAT, "%s",
                    called.flag ? "the sandbox does not allow to change values"
                                : "an undefined value cannot be called");
    default:
        return FAIL(r, SM_ERR_FORMAT, "'%s' object is not callable", type_name(called));
    }
}

/* The arguments on the stack, above what they are for. */
static arguments arguments_of(const run *r, const instruction *i, const char *of) {
    const uint32_t named = (uint32_t)i->c;
    const value *end = r->stack + r->n;
    return (arguments){end - 2 * named - i->b, i->b, end - 2 * named, named, of};
}

/* What * and ** stand for, behind the arguments that were written; base: of the first one. */
static arguments unfolded(run *r, const instruction *i, uint32_t base) {
    arguments a = {r->stack + base, i->b, NULL, (uint32_t)i->c, "function"};
    const value *star = a.v + a.n, *named = star + ((i->a & CALL_STAR) != 0),
                *stars = named + 2 * a.n_named;
    list more = {0, NULL};
    const dict none = {0, NULL, NULL}, *d = &none;
    if (i->a & CALL_STAR && !items_of(r, *star, &more))
        return a;
    if (i->a & CALL_STARS && stars->type != V_DICT)
        FAIL(r, SM_ERR_FORMAT, "argument after ** must be a mapping, not %s", type_name(*stars));
    else if (i->a & CALL_STARS)
        d = stars->d;
    value *all =
        run_alloc(r, ((uint64_t)a.n + more.n + 2 * ((uint64_t)a.n_named + d->n) + 1) * sizeof *all);
    if (!all || !run_step(r, more.n + d->n))
        return a;
    uint32_t n = 0;
    for (uint32_t k = 0; k < a.n; k++)
        all[n++] = a.v[k];
    for (uint32_t k = 0; k < more.n; k++)
        all[n++] = more.items[k];
    arguments out = {all, n, all + n, a.n_named + d->n, "function"};
    for (uint32_t k = 0; k < 2 * a.n_named; k++)
        all[n++] = named[k];
    for (uint32_t k = 0; k < d->n; k++) {
        if (d->keys[k].type != V_STR)
            FAIL(r, SM_ERR_FORMAT, "%s", "keywords must be strings");
        all[n++] = d->keys[k];
        all[n++] = d->values[k];
    }
    return out;
}

static uint32_t call_at(run *r, const instruction *i, uint32_t back) {
    value caller = undefined_value();
    if (i->a & CALL_CALLER)
        caller = pop(r);
    const uint32_t apart = (i->a & CALL_STAR ? 1u : 0) + (i->a & CALL_STARS ? 1u : 0);
    const uint32_t base = r->n - 2 * (uint32_t)i->c - i->b - apart - 1;
    const arguments a = apart ? unfolded(r, i, base + 1) : arguments_of(r, i, "function");
    if (r->status)
        return back;
    const value called = r->stack[base];
    if (called.type == V_LOOP && called.loop->body && a.n == 1 && !a.n_named &&
        !(i->a & CALL_CALLER)) {
        const value items = a.v[0];
        const uint32_t entry = recurse(r, called.loop->body, called.loop->depth + 1, back);
        r->n = base;
        push(r, items);
        return entry;
    }
    if (called.type == V_MACRO) {
        const uint32_t entry =
            call_macro(r, called.m, &a, i->a & CALL_CALLER ? &caller : NULL, back);
        r->n = base;
        return entry;
    }
    const value v = call_value(r, called, &a);
    r->n = base;
    push(r, v);
    return back;
}

static void filter_at(run *r, const instruction *i) {
    const arguments a = arguments_of(r, i, "filter");
    const uint32_t base = r->n - 2 * a.n_named - a.n - 1;
    const value v = filter_apply(r, i->a, r->stack[base], &a);
    r->n = base;
    push(r, v);
}

static void test_at(run *r, const instruction *i) {
    const arguments a = arguments_of(r, i, "test");
    const uint32_t base = r->n - 2 * a.n_named - a.n - 1;
    const bool is = test_apply(r, i->a, r->stack[base], &a);
    r->n = base;
    push(r, bool_value(is));
}

/* ---- operators ------------------------------------------------------------------- */

static bool compared(run *r, uint8_t how, value a, value b) {
    if (how == COMPARE_EQ || how == COMPARE_NE)
        return values_equal(r, a, b) == (how == COMPARE_EQ);
    if (how == COMPARE_IN || how == COMPARE_NOT_IN)
        return value_in(r, a, b) == (how == COMPARE_IN);
    const int order = values_compare(r, a, b);
    if (order == 2)
        return false;
    return how == COMPARE_LT   ? order < 0
           : how == COMPARE_LE ? order <= 0
           : how == COMPARE_GT ? order > 0
                               : order >= 0;
}

static void concat(run *r, uint32_t n) {
    const mark from = text_begin(r);
    for (uint32_t i = 0; i < n; i++)
        show(r, r->stack[r->n - n + i]);
    r->n -= n;
    push(r, text_value(r, from));
}

static void make_dict(run *r, uint32_t n) {
    const value v = dict_value(r, r->stack + r->n - 2 * n, n);
    r->n -= 2 * n;
    push(r, v);
}

static void make_macro(run *r, uint32_t row) {
    macro *m = run_alloc(r, sizeof *m);
    if (!m)
        return;
    *m = (macro){&r->t->macros[row], r->scope};
    push(r, (value){.type = V_MACRO, .m = m});
}

/* The first time that the body of a recursive `for` runs. */
static uint32_t begin_recursion(run *r, const instruction *i, value items, uint32_t entry) {
    macro *m = run_alloc(r, sizeof *m);
    if (!m)
        return entry;
    *m = (macro){&r->t->macros[i->c], r->scope};
    recurse(r, m, 1, r->t->macros[i->c].end);
    push(r, items);
    return entry;
}

static void slice_at(run *r) {
    const value v = slice_of(r, r->stack[r->n - 4], r->stack + r->n - 3);
    r->n -= 4;
    push(r, v);
}

static void unknown(run *r, const instruction *i) {
    const text *name = r->t->constants[i->c].s;
    FAIL(r, SM_ERR_UNSUPPORTED, "the %s '%.*s' is not supported", i->a ? "test" : "filter",
         (int)name->length, name->data);
}

/* ---- the machine ----------------------------------------------------------------- */

/* Values: what changes nothing but the stack. False: not one of these. */
static bool run_value(run *r, const instruction *i) {
    value b;
    switch ((op)i->op) {
    case OP_CONST:
        push(r, r->t->constants[i->c]);
        break;
    case OP_LOAD:
        push(r, load(r, (uint32_t)i->c));
        break;
    case OP_ATTR:
        push(r, attribute_of(r, pop(r), r->t->constants[i->c].s));
        break;
    case OP_ITEM:
        b = pop(r);
        push(r, item_of(r, pop(r), b));
        break;
    case OP_SLICE:
        slice_at(r);
        break;
    case OP_FILTER:
        filter_at(r, i);
        break;
    case OP_TEST:
        test_at(r, i);
        break;
    case OP_UNKNOWN:
        unknown(r, i);
        break;
    case OP_BINARY:
        b = pop(r);
        push(r, binary(r, i->a, pop(r), b));
        break;
    case OP_NEGATE:
        push(r, negate(r, pop(r)));
        break;
    case OP_PLUS:
        b = pop(r);
        push(r, is_whole(b) ? int_value(whole_of(b)) : b.type == V_FLOAT ? b : negate(r, b));
        break;
    case OP_NOT:
        push(r, bool_value(!truth_of(pop(r))));
        break;
    case OP_CONCAT:
        concat(r, i->b);
        break;
    case OP_COMPARE:
        b = pop(r);
        push(r, bool_value(compared(r, i->a, pop(r), b)));
        break;
    case OP_LIST:
    case OP_TUPLE:
        push(r, list_from(r, i->op == OP_LIST ? V_LIST : V_TUPLE, r->n - (uint32_t)i->c));
        break;
    case OP_DICT:
        make_dict(r, (uint32_t)i->c);
        break;
    case OP_UNDEFINED:
        push(r, undefined_value());
        break;
    case OP_MACRO:
        make_macro(r, (uint32_t)i->c);
        break;
    default:
        return false;
    }
    return true;
}

/* Names and text. */
static bool run_effect(run *r, const instruction *i) {
    switch ((op)i->op) {
    case OP_STORE:
        store(r, r->scope, (uint32_t)i->c, pop(r));
        break;
    case OP_STORE_ATTR:
        store_attribute(r, (uint32_t)i->c, r->t->constants[i->b].s, pop(r));
        break;
    case OP_UNPACK:
        unpack(r, i->b);
        break;
    case OP_POP:
        pop(r);
        break;
    case OP_TEXT:
        text_append(r, r->t->constants[i->c].s);
        break;
    case OP_SHOW:
        show(r, pop(r));
        break;
    case OP_CAPTURE:
        begin_capture(r);
        break;
    case OP_CAPTURED:
        push(r, end_capture(r));
        break;
    case OP_SCOPE:
        open_scope(r, r->scope);
        break;
    case OP_END_SCOPE:
        r->scope = r->scope->parent;
        break;
    case OP_FOR:
        begin_loop(r, i->a);
        break;
    case OP_FOR_END:
        end_loop(r, i->a);
        break;
    default:
        return false;
    }
    return true;
}

/* Whether parameter b was given by the caller. */
static bool is_given(const run *r, const instruction *i) {
    const macro_code *m = NULL;
    for (uint32_t k = 0; k < r->t->n_macros; k++) /* the one whose code this is: the last before */
        if (r->t->macros[k].entry <= (uint32_t)(i - r->t->code) &&
            (!m || r->t->macros[k].entry > m->entry))
            m = &r->t->macros[k];
    const uint32_t name = m ? r->t->params[m->first_param + i->b] : 0;
    for (uint32_t k = 0; k < r->scope->n; k++)
        if (r->scope->variables[k].name == name)
            return r->scope->variables[k].v.type != V_UNDEFINED || !r->scope->variables[k].v.user;
    return false;
}

/* Jumps: the next instruction. */
static uint32_t run_jump(run *r, const instruction *i, uint32_t at, uint32_t loop_name) {
    const uint32_t next = at + 1, target = at + (uint32_t)i->c;
    value b;
    switch ((op)i->op) {
    case OP_JUMP:
        return target;
    case OP_JUMP_FALSE:
        return truth_of(pop(r)) ? next : target;
    case OP_AND:
    case OP_OR:
        if (truth_of(r->stack[r->n - 1]) == (i->op == OP_OR))
            return target;
        r->n--;
        return next;
    case OP_COMPARE_CHAIN:
        b = pop(r);
        if (!compared(r, i->a, pop(r), b)) {
            push(r, bool_value(false));
            return target;
        }
        push(r, b);
        return next;
    case OP_CALL:
        return call_at(r, i, next);
    case OP_RECURSE:
        b = pop(r);
        return begin_recursion(r, i, b, next);
    case OP_FOR_FETCH:
        return fetch(r) ? next : target;
    case OP_FOR_KEEP:
        r->loop->again = i->a ? target : 0;
        return keep(r) && i->a ? next : target;
    case OP_FOR_NEXT:
        if (next_item(r, loop_name))
            return next;
        return r->loop->again && r->loop->fetched < r->loop->items.n && !r->status ? r->loop->again
                                                                                   : target;
    case OP_DEFAULT:
        return is_given(r, i) ? target : next;
    default: /* OP_RETURN */
        return end_macro(r);
    }
}

static void run_code(run *r) {
    const uint32_t loop_name = name_number(r, "loop");
    uint32_t at = 0;
    open_scope(r, NULL);
    while (run_step(r, 1)) {
        const instruction *i = &r->t->code[at];
        r->at = i;
        if (i->op == OP_END)
            break;
        at = run_value(r, i) || run_effect(r, i) ? at + 1 : run_jump(r, i, at, loop_name);
    }
}

/* ---- rendering ------------------------------------------------------------------- */

static void give(run *r, sm_rendered *out) {
    out->pieces = sm_alloc_array(r->mem, (uint64_t)r->n_parts + 1, sizeof *out->pieces);
    out->text = sm_realloc(r->mem, r->out, (uint64_t)r->length + 1);
    if (out->text)
        r->out = NULL;
    if (!out->pieces || !out->text) {
        FAIL(r, SM_ERR_NOMEM, "%s", "out of memory");
        return;
    }
    out->text[r->length] = 0;
    out->length = r->length;
    for (uint32_t i = 0; i < r->n_parts; i++)
        out->pieces[i] = (sm_piece){r->parts[i].end, r->parts[i].user};
    out->n_pieces = r->n_parts;
}

static void end_run(run *r) {
    sm_free(r->mem, r->out);
    sm_free(r->mem, r->parts);
    sm_free(r->mem, r->stack);
    while (r->chunks) {
        chunk *before = r->chunks->before;
        sm_free(r->mem, r->chunks);
        r->chunks = before;
    }
}

void sm_rendered_free(sm_rendered *rendered) {
    sm_free(rendered->mem, rendered->text);
    sm_free(rendered->mem, rendered->pieces);
    sm_free(rendered->mem, rendered->exception);
    *rendered = (sm_rendered){.mem = rendered->mem};
}

sm_status sm_template_render(const sm_template *t, sm_mem *mem, const sm_variable *variables,
                             uint32_t n, const sm_template_options *options, sm_rendered *out,
                             sm_error *error) {
    static const sm_template_options usual = {0};
    *out = (sm_rendered){.mem = mem};
    run *r = sm_alloc_zero(mem, sizeof *r);
    if (!r)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", t->name);
    r->t = t;
    r->mem = mem;
    r->error = error;
    r->options = options ? options : &usual;
    r->variables = variables;
    r->n_variables = n;
    r->variable_values = run_alloc(r, ((uint64_t)n + 1) * sizeof *r->variable_values);
    if (r->variable_values)
        memset(r->variable_values, 0, ((uint64_t)n + 1) * sizeof *r->variable_values);
    run_code(r);
    if (!r->status)
        give(r, out);
    const sm_status status = r->status;
    char *exception = r->exception;
    end_run(r);
    sm_free(mem, r);
    if (status)
        sm_rendered_free(out);
    out->exception = exception;
    return status;
}
