/* What the addon exports. */
#include "addon.h"

#include <stdlib.h>

static void forget_class(napi_env env, void *data, void *hint) {
    (void)hint;
    napi_ref *ref = data;
    if (*ref)
        napi_delete_reference(env, *ref);
    free(ref);
}

/* setup(SmallmindError): before everything else. Gives the library's version */
static napi_value setup(napi_env env, napi_callback_info info) {
    napi_value argument = NULL, version = NULL;
    napi_ref *ref = calloc(1, sizeof *ref);
    arguments_of(env, info, 1, &argument);
    if (!ref || napi_create_reference(env, argument, 1, ref) ||
        napi_set_instance_data(env, ref, forget_class, NULL)) {
        free(ref);
        napi_throw_error(env, NULL, "out of memory");
        return NULL;
    }
    napi_create_string_utf8(env, sm_version(), NAPI_AUTO_LENGTH, &version);
    return version;
}

static const struct {
    const char *name;
    napi_callback function;
} functions[] = {
    {"setup", setup},
    {"options", options_rows},
    {"find", find_name},
    {"cancel", cancel},
    {"taken", taken},
    {"hold", hold},
    {"load", load},
    {"close", close_handle},
    {"modelInfo", model_info},
    {"encode", encode},
    {"decode", decode},
    {"session", session},
    {"length", length},
    {"tokens", tokens},
    {"logits", logits},
    {"stats", stats},
    {"sample", sample},
    {"feed", feed},
    {"sync", sync_session},
    {"fork", fork_session},
    {"rewind", rewind_to},
    {"generate", generate},
    {"chat", chat},
    {"encoder", encoder},
    {"encoderInfo", encoder_info},
    {"labels", labels},
    {"embed", embed},
    {"score", score},
    {"rerank", rerank},
};

NAPI_MODULE_INIT() {
    for (size_t i = 0; i < COUNT(functions); i++) {
        napi_value function = NULL;
        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function,
                                 NULL, &function) ||
            napi_set_named_property(env, exports, functions[i].name, function))
            return NULL;
    }
    return exports;
}
