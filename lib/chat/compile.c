/* compile.c - a template's text becomes code for the machine of run.c: a parser by recursive
 * descent, its depth limited, that writes code as it reads. What has to run before what was written
 * already is moved in front of it (jumps are relative). */
#include <string.h>

#include "compile.h"

/* ---- the template ---------------------------------------------------------------- */

/* Line ends become \n, the last one goes. */
static bool take_source(sm_template *t, const char *data, uint64_t length) {
    uint64_t n = 0;
    t->source = sm_alloc(t->mem, length + 1);
    if (!t->source)
        return false;
    for (uint64_t i = 0; i < length; i++) {
        if (data[i] == '\r' && i + 1 < length && data[i + 1] == '\n')
            continue;
        t->source[n++] = data[i] == '\r' ? '\n' : data[i];
    }
    n -= n && t->source[n - 1] == '\n';
    t->source[n] = 0;
    t->length = n;
    return true;
}

static bool is_utf8(const char *data, uint64_t length) {
    uint32_t code, n;
    for (uint64_t i = 0; i < length; i += n) {
        n = sm_utf8_decode((const uint8_t *)data + i, length - i, &code);
        if (code == UINT32_MAX)
            return false;
    }
    return true;
}

void sm_template_free(sm_template *t) {
    if (!t)
        return;
    sm_mem *mem = t->mem;
    for (uint32_t i = 0; i < t->n_texts; i++)
        sm_free(mem, t->texts[i]);
    sm_free(mem, t->texts);
    sm_free(mem, t->names);
    sm_free(mem, t->constants);
    sm_free(mem, t->macros);
    sm_free(mem, t->params);
    sm_free(mem, t->code);
    sm_free(mem, t->source);
    sm_free(mem, t->name);
    sm_free(mem, t);
}

sm_status sm_template_parse(sm_template **out, sm_mem *mem, const char *from, uint64_t length,
                            const char *name, sm_error *error) {
    *out = NULL;
    if (length > SM_TEMPLATE_MAX_BYTES)
        return sm_fail(error, SM_ERR_UNSUPPORTED, "%s: a template of more than %u bytes", name,
                       SM_TEMPLATE_MAX_BYTES);
    if (!is_utf8(from, length))
        return sm_fail(error, SM_ERR_FORMAT, "%s: a template that is not UTF-8", name);
    sm_template *t = sm_alloc_zero(mem, sizeof *t);
    if (!t)
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", name);
    t->mem = mem;
    t->name = sm_strdup(mem, name, strlen(name));
    if (!t->name || !take_source(t, from, length)) {
        sm_template_free(t);
        return sm_fail(error, SM_ERR_NOMEM, "%s: out of memory", name);
    }
    compiler c = {.t = t,
                  .error = error,
                  .lex = {.name = t->name,
                          .source = t->source,
                          .length = t->length,
                          .line = 1,
                          .line_starts = true,
                          .inside = T_DATA,
                          .error = error}};
    step(&c);
    step(&c);
    body(&c, NULL);
    if (!failed(&c) && c.now.type != T_END)
        fail_token(&c, "the end of the template");
    emit(&c, OP_END, 0, 0, 0);
    if (failed(&c)) {
        const sm_status status = c.lex.status;
        sm_template_free(t);
        return status;
    }
    *out = t;
    return SM_OK;
}

bool sm_template_names(const sm_template *t, const char *name) {
    for (uint32_t i = 0; i < t->n_code; i++)
        if (t->code[i].op == OP_LOAD && text_is(t->names[t->code[i].c], name))
            return true;
    return false;
}

bool sm_template_mentions(const sm_template *t, const char *what) {
    for (uint32_t i = 0; i < t->n_constants; i++)
        if (t->constants[i].type == V_STR && text_is(t->constants[i].s, what))
            return true;
    return false;
}
