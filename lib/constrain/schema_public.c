/* schema_public.c - a constraint of a JSON Schema. */
#include "constrain.h"
#include "schema.h"

typedef struct job {
    const char *text;
    uint64_t length;
    sm_schema_choices choices;
    sm_hook hook; /* fn NULL: the constraint's options have theirs */
} job;

static int32_t ask(void *user, uint64_t done, uint64_t total) {
    const sm_schema_options *o = user;
    (void)done;
    (void)total;
    return o->cancel(o->cancel_user);
}

static sm_status write_schema(void *user, sm_grammar *g, sm_expr *root, sm_error *error) {
    const job *j = user;
    return sm_schema_compile(g, j->text, j->length, &j->choices, &j->hook, root, error);
}

sm_status sm_constraint_new_schema(sm_constraint **out, const sm_tokenizer *tokenizer,
                                   const char *text, uint64_t length,
                                   const sm_schema_options *schema_options,
                                   const sm_constraint_options *options, sm_error *error) {
    static const sm_wide wide[] = {SM_WIDE_FROM(sm_schema_options, cancel), {0, 0, 0}};
    sm_schema_options o;
    if (!out)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_schema: out is NULL");
    *out = NULL;
    const sm_status status =
        sm_struct_take(&o, sizeof o, wide, schema_options, "sm_schema_options", error);
    if (status)
        return status;
    if (!text)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_constraint_new_schema: text is NULL");
    sm_ask asked;
    sm_join_cancel(&asked, &o.cancel, &o.cancel_user, o.cancel_flag);
    if ((o.draft && o.draft != 7 && o.draft != 2020) || o.spaces > SM_SPACES_ANY || o.flags > 3 ||
        o.reserved || o.max_spaces > 1024)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_schema_options: draft, spaces or flags");
    job j = {text, text_size(text, length), {0}, {o.cancel ? ask : NULL, &o}};
    j.choices.draft = o.draft == 7 ? SM_SCHEMA_DRAFT7 : SM_SCHEMA_2020_12;
    j.choices.fixed_draft = o.draft != 0;
    j.choices.spaces = o.spaces;
    j.choices.max_spaces = o.max_spaces ? o.max_spaces : 8;
    j.choices.any_order = o.flags & SM_SCHEMA_ANY_ORDER;
    j.choices.unknown_passes = o.flags & SM_SCHEMA_UNKNOWN;
    return sm_constraint_make(out, tokenizer, write_schema, &j, o.cancel ? &j.hook : NULL, options,
                              error);
}
