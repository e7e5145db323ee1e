/* chat_model.c - the chat template that a model carries. */
#include "run.h"

#include "chat/handle.h"
#include "format/source.h"

#define TEMPLATE_KEY SM_K_CHAT_TEMPLATE

static const sm_key *find_template(const sm_model *model, const char *name) {
    char key[256];
    const sm_key *found;
    if (!name || same_text(name, strlen(name), "default")) {
        found = sm_source_find_key(model->source, TEMPLATE_KEY);
    } else {
        sm_format(key, sizeof key, TEMPLATE_KEY ".%s", name);
        found = sm_source_find_key(model->source, key);
    }
    return found && found->type == SM_KEY_STRING ? found : NULL;
}

/* The text of a token, zero-terminated; "" where there is none. */
static void token_text(const sm_model *model, int32_t id, char *out, size_t capacity) {
    uint64_t n = 0;
    const char *text = id >= 0 ? sm_tokenizer_token_text(model->tokenizer, id, &n) : NULL;
    sm_format(out, capacity, "%.*s", (int)(n < capacity ? n : 0), text ? text : "");
}

static sm_status make(sm_chat **out, const sm_model *model, const sm_chat_options *o,
                      const char *text, uint64_t length, sm_error *error) {
    sm_tokenizer_info info = {.struct_size = sizeof info, .bos = -1, .eos = -1};
    char bos[256] = "", eos[256] = "";
    if (model->tokenizer) {
        sm_tokenizer_get_info(model->tokenizer, &info, NULL);
        token_text(model, info.bos, bos, sizeof bos);
        token_text(model, info.eos, eos, sizeof eos);
    }
    return sm_chat_make(out, text, length, o->bos ? o->bos : bos, o->eos ? o->eos : eos,
                        o->allocator, error);
}

sm_status sm_chat_new_from_model(sm_chat **out, const sm_model *model,
                                 const sm_chat_options *options, sm_error *error) {
    sm_chat_options o;
    if (!out || !model)
        return sm_fail(error, SM_ERR_ARGUMENT, "sm_chat_new_from_model: a pointer is NULL");
    *out = NULL;
    const sm_status status = sm_chat_options_take(&o, options, error);
    if (status)
        return status;
    if (o.template_text)
        return make(out, model, &o, o.template_text, strlen(o.template_text), error);
    const sm_key *key = find_template(model, o.template_name);
    if (key)
        return make(out, model, &o, (const char *)key->data, key->size, error);
    const char *layout = o.template_name ? sm_chat_layout(o.template_name) : NULL;
    if (layout)
        return make(out, model, &o, layout, strlen(layout), error);
    sm_allocator_drop(o.allocator);
    if (o.template_name)
        return sm_fail_name(error, "template", o.template_name, sm_chat_layouts_list());
    return sm_fail(error, SM_ERR_MISSING,
                   "%s: no chat template (key '" TEMPLATE_KEY "'); name a layout: %s",
                   model->source->path, sm_chat_layouts_list());
}
