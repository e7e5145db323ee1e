/* compile_code.c - what the parser writes code with, and how it takes tokens. */
#include <string.h>

#include "compile.h"

/* ---- failing, tables that grow --------------------------------------------------- */

void fail_at(compiler *c, sm_status status, const char *what) {
    if (!c->lex.status)
        c->lex.status =
            sm_fail(c->error, status, "%s, line %u: %s", c->lex.name, c->now.line, what);
}

void fail_token(compiler *c, const char *wanted) {
    char message[160];
    static const char *const kinds[] = {"the end of the template", "text", "{{", "}}", "{%", "%}"};
    if (c->now.type <= T_CLOSE_TAG)
        sm_format(message, sizeof message, "expected %s, not %s", wanted, kinds[c->now.type]);
    else
        sm_format(message, sizeof message, "expected %s, not '%.*s'", wanted,
                  (int)min_u64(c->now.length, 60), c->now.data);
    fail_at(c, SM_ERR_FORMAT, message);
}

bool failed(const compiler *c) {
    return c->lex.status != SM_OK;
}

/* Room for one more in a table of the template. */
bool grow(compiler *c, void *table, uint32_t n, uint32_t *capacity, size_t size) {
    void **p = table;
    if (failed(c))
        return false;
    if (n < *capacity)
        return true;
    const uint32_t more = 2 * *capacity + 32;
    void *grown = more < INT32_MAX / 2 ? sm_realloc(c->t->mem, *p, more * (uint64_t)size) : NULL;
    if (!grown) {
        fail_at(c, SM_ERR_NOMEM, "out of memory");
        return false;
    }
    *p = grown;
    *capacity = more;
    return true;
}

uint32_t emit(compiler *c, op o, uint8_t a, uint32_t b, int32_t arg) {
    sm_template *t = c->t;
    if (!grow(c, &t->code, t->n_code, &t->code_capacity, sizeof *t->code))
        return 0;
    t->code[t->n_code] = (instruction){(uint8_t)o, a, (uint16_t)b, arg, c->now.line};
    return t->n_code++;
}

uint32_t here(const compiler *c) {
    return c->t->n_code;
}

/* Lets the jump lead here. */
void land(compiler *c, uint32_t jump) {
    if (!failed(c))
        c->t->code[jump].c = (int32_t)(here(c) - jump);
}

void jump_to(compiler *c, op o, uint32_t target) {
    const uint32_t at = here(c);
    emit(c, o, 0, 0, (int32_t)target - (int32_t)at);
}

static void reverse(instruction *from, instruction *to) {
    for (; from + 1 < to; from++) {
        const instruction swap = *from;
        *from = *--to;
        *to = swap;
    }
}

/* The code [middle, end) comes before the code [from, middle). */
void rotate(compiler *c, uint32_t from, uint32_t middle) {
    instruction *all = c->t->code;
    if (failed(c) || from == middle || middle == here(c))
        return;
    reverse(all + from, all + middle);
    reverse(all + middle, all + here(c));
    reverse(all + from, all + here(c));
}

text *keep_text(compiler *c, const char *data, uint64_t length) {
    sm_template *t = c->t;
    if (!grow(c, &t->texts, t->n_texts, &t->texts_capacity, sizeof *t->texts))
        return NULL;
    text *s = sm_alloc(t->mem, sizeof *s + length + 1);
    if (!s) {
        fail_at(c, SM_ERR_NOMEM, "out of memory");
        return NULL;
    }
    char *copy = (char *)(s + 1);
    if (length)
        memcpy(copy, data, (size_t)length);
    copy[length] = 0;
    *s = (text){.data = copy, .length = (uint32_t)length};
    for (uint32_t i = 0; i < length; i++)
        s->chars += ((uint8_t)copy[i] & 0xC0) != 0x80;
    return t->texts[t->n_texts++] = s;
}

int32_t add_constant(compiler *c, value v) {
    sm_template *t = c->t;
    if (!grow(c, &t->constants, t->n_constants, &t->constants_capacity, sizeof *t->constants))
        return 0;
    t->constants[t->n_constants] = v;
    return (int32_t)t->n_constants++;
}

int32_t text_constant(compiler *c, const char *data, uint64_t length) {
    const text *s = keep_text(c, data, length);
    return s ? add_constant(c, value_of_text(s)) : 0;
}

/* The number of a variable's name. */
int32_t name_of(compiler *c, const char *data, uint64_t length) {
    sm_template *t = c->t;
    for (uint32_t i = 0; i < t->n_names; i++)
        if (same_text(data, length, t->names[i]->data))
            return (int32_t)i;
    const text *s = keep_text(c, data, length);
    if (!s || !grow(c, &t->names, t->n_names, &t->names_capacity, sizeof *t->names))
        return 0;
    t->names[t->n_names] = s;
    return (int32_t)t->n_names++;
}

/* ---- tokens ---------------------------------------------------------------------- */

void step(compiler *c) {
    c->now = c->next;
    c->next = lex_next(&c->lex);
    if (failed(c))
        c->now = (token){.type = T_END, .data = "", .line = c->now.line};
}

bool at_sign(const compiler *c, const char *what) {
    return token_is(&c->now, T_SIGN, what);
}

bool at_name(const compiler *c, const char *what) {
    return token_is(&c->now, T_NAME, what);
}

bool skip_sign(compiler *c, const char *what) {
    const bool is = at_sign(c, what);
    if (is)
        step(c);
    return is;
}

bool skip_name(compiler *c, const char *what) {
    const bool is = at_name(c, what);
    if (is)
        step(c);
    return is;
}

void expect_sign(compiler *c, const char *what) {
    char wanted[16];
    sm_format(wanted, sizeof wanted, "'%s'", what);
    if (!skip_sign(c, what))
        fail_token(c, wanted);
}

void expect_close(compiler *c) {
    if (c->now.type != T_CLOSE_TAG)
        fail_token(c, "%}");
    step(c);
}

token expect_name(compiler *c) {
    const token t = c->now;
    if (t.type != T_NAME)
        fail_token(c, "a name");
    step(c);
    return t;
}

bool enter(compiler *c) {
    if (++c->depth > 4 * SM_TEMPLATE_MAX_DEPTH)
        fail_at(c, SM_ERR_UNSUPPORTED, "nested too deep");
    return !failed(c);
}
