/* constraint.c - constraints are made, from text, from choices, by who writes a grammar. */
#include "constraint.h"

#include <string.h>

#define DEFAULT_LIMIT ((uint64_t)1 << 30)

/* ---- making (constraint.c) ------------------------------------------------------------------- */

void sm_constraint_retain(sm_constraint *c) {
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
}

void sm_constraint_free(sm_constraint *c) {
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1)
        return;
    sm_mem *mem = c->mem;
    sm_machine_done(&c->machine);
    sm_grammar_free(c->g);
    for (uint32_t i = 0; i < SM_MASKS_KEPT; i++)
        sm_free(mem, c->kept[i].bits);
    sm_free(mem, c->path);
    sm_free(mem, c->ends);
    sm_free(mem, c->forced);
    sm_free(mem, c->forced_ids);
    sm_free(mem, c->told);
    sm_mutex_free(c->lock, mem);
    sm_tokenizer_free((sm_tokenizer *)c->tokenizer);
    sm_free(mem, c);
    sm_mem_destroy(mem);
}

/* Anything until the first trigger, then root; or anything without one. */
static sm_expr behind_triggers(sm_grammar *g, const sm_constraint_options *o, sm_expr root) {
    sm_expr any = SM_NOTHING;
    for (uint64_t i = 0; i < o->n_triggers; i++) {
        const sm_expr text = sm_expr_bytes(g, o->triggers[i].text,
                                           text_size(o->triggers[i].text, o->triggers[i].length));
        any = sm_expr_alt(
            g, (sm_expr[]){any, text, sm_expr_seq2(g, sm_expr_bytes(g, "\xFF", 1), text)}, 3);
    }
    const sm_expr up_to = sm_expr_seq2(g, SM_ANY_BYTES, any);
    static const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    const sm_expr longer = sm_expr_seq3(g, up_to, sm_expr_byte(g, all), SM_ANY_BYTES),
                  first = sm_expr_and2(g, up_to, sm_expr_other(g, longer)),
                  never = sm_expr_other(g, sm_expr_seq2(g, up_to, SM_ANY_BYTES));
    return sm_expr_alt2(g, never, sm_expr_seq2(g, first, root));
}

static sm_status check_triggers(const sm_constraint_options *o, sm_error *error) {
    if (o->reserved || o->reserved_pointer)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_options: what is reserved is set");
    if (o->n_triggers && !o->triggers)
        return sm_fail(error, SM_ERR_ARGUMENT, "option n_triggers is %llu but triggers is NULL",
                       (unsigned long long)o->n_triggers);
    for (uint64_t i = 0; i < o->n_triggers; i++)
        if (!o->triggers[i].text || !text_size(o->triggers[i].text, o->triggers[i].length))
            return sm_fail(error, SM_ERR_ARGUMENT, "option triggers: text %llu is empty",
                           (unsigned long long)i);
    return SM_OK;
}

typedef struct making {
    sm_grammar_fn write;
    void *user;
    const sm_hook *hook;
} making;

static sm_status write_and_run(sm_constraint *c, const making *how, const sm_constraint_options *o,
                               sm_error *error) {
    sm_expr root;
    sm_status status = sm_grammar_new(&c->g, c->mem, error);
    if (!status) {
        sm_grammar_ask(c->g, how->hook);
        status = sm_grammar_status(c->g, error);
    }
    if (!status)
        status = how->write(how->user, c->g, &root, error);
    if (!status)
        status = sm_grammar_status(c->g, error);
    if (status)
        return status;
    if (o->n_triggers)
        root = behind_triggers(c->g, o, root);
    sm_grammar_root(c->g, root);
    if (!sm_grammar_finish(c->g) || !sm_machine_init(&c->machine, c->g))
        return sm_grammar_status(c->g, error);
    sm_grammar_ask(c->g, NULL);
    return SM_OK;
}

static sm_status fill(sm_constraint *c, const making *how, const sm_constraint_options *o,
                      sm_error *error) {
    sm_status status = sm_mutex_new(&c->lock, c->mem, error);
    if (!status && c->tokenizer)
        status = sm_trie_of(&c->trie, c->tokenizer, error);
    if (status || !c->tokenizer)
        return status ? status : write_and_run(c, how, o, error);
    c->path = sm_alloc_array(c->mem, c->trie->max_depth + 1ULL, sizeof *c->path);
    c->ends = sm_alloc_array(c->mem, c->trie->max_depth + 1ULL, sizeof *c->ends);
    if (!c->path || !c->ends)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint");
    return write_and_run(c, how, o, error);
}

static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const sm_constraint_options *o = user;
    (void)done;
    (void)total;
    return o->cancel(o->cancel_user);
}

sm_status sm_constraint_make(sm_constraint **out, const sm_tokenizer *tokenizer,
                             sm_grammar_fn write, void *user, const sm_hook *hook,
                             const sm_constraint_options *options, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_constraint_options, triggers), {0, 0, 0}};
    sm_constraint_options o;
    sm_mem *mem;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new: out is NULL");
    *out = NULL;
    sm_status status = sm_struct_take(&o, sizeof o, wide, options, "sm_constraint_options", error);
    if (status)
        return status;
    status = check_triggers(&o, error);
    if (status)
        sm_allocator_drop(o.allocator);
    else
        status = sm_mem_create(&mem, o.allocator, o.memory_limit ? o.memory_limit : DEFAULT_LIMIT,
                               error);
    if (status)
        return status;
    sm_constraint *c = sm_alloc_zero(mem, sizeof *c);
    if (!c) {
        sm_mem_destroy(mem);
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint");
    }
    c->references = 1;
    c->mem = mem;
    c->tokenizer = tokenizer;
    if (tokenizer)
        sm_tokenizer_retain(tokenizer);
    sm_ask asked;
    sm_join_cancel(&asked, &o.cancel, &o.cancel_user, o.cancel_flag);
    const sm_hook own = {o.cancel ? ask : NULL, &o};
    const making how = {write, user, hook ? hook : &own};
    status = fill(c, &how, &o, error);
    if (status)
        sm_constraint_free(c);
    else
        *out = c;
    return status;
}

/* ---- from text (constraint.c) ---------------------------------------------------------------- */

typedef struct source {
    const char *text;
    uint64_t length;
} source;

static sm_status write_gbnf(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const source *s = user;
    (void)error;
    *root = sm_expr_gbnf(g, s->text, s->length);
    return SM_OK;
}

static sm_status write_grammar(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    sm_grammar_allow_left(g);
    return write_gbnf(user, g, root, error);
}

static sm_status write_regex(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const source *s = user;
    (void)error;
    *root = sm_expr_regex(g, s->text, s->length, 0, NULL);
    return SM_OK;
}

sm_status sm_constraint_new(sm_constraint **out, const sm_tokenizer *tokenizer, uint32_t kind,
                            const char *text, uint64_t length, const sm_constraint_options *options,
                            sm_error *error) {
    static const sm_grammar_fn writers[] = {[SM_CONSTRAINT_GBNF] = write_gbnf,
                                            [SM_CONSTRAINT_REGEX] = write_regex,
                                            [SM_CONSTRAINT_GRAMMAR] = write_grammar};
    source s = {text, text_size(text, length)};
    if (out)
        *out = NULL;
    if (!text)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new: text is NULL");
    if (kind >= sizeof writers / sizeof *writers || !writers[kind])
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new: there is no kind %u", kind);
    return sm_constraint_make(out, tokenizer, writers[kind], &s, NULL, options, error);
}

typedef struct choices {
    const sm_text *texts;
    uint64_t n;
} choices;

static sm_status write_choices(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const choices *c = user;
    sm_expr *items = sm_alloc_array(sm_grammar_mem(g), c->n, sizeof *items);
    if (!items)
        return sm_fail(error, SM_ERR_NOMEM, "out of memory for a constraint");
    for (uint64_t i = 0; i < c->n; i++)
        items[i] =
            sm_expr_bytes(g, c->texts[i].text, text_size(c->texts[i].text, c->texts[i].length));
    *root = sm_expr_alt(g, items, c->n);
    sm_free(sm_grammar_mem(g), items);
    return SM_OK;
}

sm_status sm_constraint_new_choices(sm_constraint **out, const sm_tokenizer *tokenizer,
                                    const sm_text *texts, uint64_t n,
                                    const sm_constraint_options *options, sm_error *error) {
    choices c = {texts, n};
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_choices: out is NULL");
    *out = NULL;
    if (!texts || !n)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_choices: no texts");
    for (uint64_t i = 0; i < n; i++)
        if (!texts[i].text && texts[i].length)
            return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_choices: text %llu is NULL",
                           (unsigned long long)i);
    return sm_constraint_make(out, tokenizer, write_choices, &c, NULL, options, error);
}

uint64_t sm_constraint_words(const sm_constraint *c) {
    return c->trie ? c->trie->n_words : 0;
}
