/* JavaScript's values there and back. */
#include "addon.h"

#include <string.h>

napi_value undefined(napi_env env) {
    napi_value value = NULL;
    napi_get_undefined(env, &value);
    return value;
}

/* A SmallmindError; its class is the addon's instance data. */
napi_value failure(napi_env env, const sm_error *error) {
    napi_value class = NULL, arguments[3], value = NULL;
    napi_ref *ref = NULL;
    napi_get_instance_data(env, (void **)&ref);
    napi_get_reference_value(env, *ref, &class);
    napi_create_int32(env, error->code, &arguments[0]);
    napi_create_string_utf8(env, error->message, NAPI_AUTO_LENGTH, &arguments[1]);
    napi_create_int32(env, error->system, &arguments[2]);
    napi_new_instance(env, class, 3, arguments, &value);
    return value;
}

napi_value throw_error(napi_env env, const sm_error *error) {
    napi_throw(env, failure(env, error));
    return NULL;
}

napi_value throw_own(napi_env env, sm_status code, const char *message) {
    sm_error error = {.code = code};
    memcpy(error.message, message, strlen(message));
    return throw_error(env, &error);
}

sm_status no_memory(sm_error *error) {
    *error = (sm_error){.code = SM_ERR_NOMEM};
    const char *text = sm_status_text(SM_ERR_NOMEM);
    memcpy(error->message, text, strlen(text));
    return SM_ERR_NOMEM;
}

napi_value throw_no_memory(napi_env env) {
    return throw_own(env, SM_ERR_NOMEM, sm_status_text(SM_ERR_NOMEM));
}

void arguments_of(napi_env env, napi_callback_info info, size_t n, napi_value *values) {
    napi_get_cb_info(env, info, &n, values, NULL, NULL);
}

sm_text text_of(napi_env env, struct chunk **chunks, napi_value value) {
    size_t length = 0;
    char *text = NULL;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &length) == napi_ok)
        text = take(chunks, length + 1);
    if (text)
        napi_get_value_string_utf8(env, value, text, length + 1, &length);
    return (sm_text){text, text ? length : 0};
}

int text_at(napi_env env, struct chunk **chunks, napi_value array, uint32_t i, const char **text) {
    napi_value value = NULL;
    napi_valuetype type = napi_undefined;
    napi_get_element(env, array, i, &value);
    napi_typeof(env, value, &type);
    *text = type == napi_string ? text_of(env, chunks, value).text : NULL;
    return type != napi_string || *text;
}

int texts_at(napi_env env, struct chunk **chunks, napi_value lists, uint32_t at,
             const sm_text **texts, uint64_t *n) {
    napi_value array = NULL, value = NULL;
    uint32_t length = 0;
    napi_get_element(env, lists, at, &array);
    napi_get_array_length(env, array, &length);
    sm_text *list = take(chunks, (length + 1) * sizeof *list);
    *texts = list;
    *n = length;
    for (uint32_t i = 0; list && i < length; i++) {
        napi_get_element(env, array, i, &value);
        list[i] = text_of(env, chunks, value);
        if (!list[i].text)
            return 0;
    }
    return list != NULL;
}

void *array_of(napi_env env, napi_value value, size_t *n) {
    void *data = NULL;
    napi_get_typedarray_info(env, value, NULL, n, &data, NULL, NULL);
    return data;
}

napi_value new_array(napi_env env, napi_typedarray_type type, const void *from, size_t n) {
    napi_value buffer = NULL, array = NULL;
    void *to = NULL;
    if (napi_create_arraybuffer(env, n * 4, &to, &buffer))
        return throw_no_memory(env);
    if (n)
        memcpy(to, from, n * 4);
    napi_create_typedarray(env, type, n, buffer, 0, &array);
    return array;
}

/* ---- options, by their tables ---- */

static int set_field(napi_env env, struct chunk **chunks, const sm_option *row, napi_value value,
                     char *field) {
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    double f64 = 0;
    bool lossless = false;
    const char *text = NULL;
    switch (row->type) {
    case SM_OPTION_U64:
        napi_get_value_bigint_uint64(env, value, &u64, &lossless);
        memcpy(field, &u64, sizeof u64);
        return 1;
    case SM_OPTION_F64:
        napi_get_value_double(env, value, &f64);
        memcpy(field, &f64, sizeof f64);
        return 1;
    case SM_OPTION_STRING:
        text = text_of(env, chunks, value).text;
        memcpy(field, &text, sizeof text);
        return text != NULL;
    default:
        napi_get_value_uint32(env, value, &u32);
        memcpy(field, &u32, sizeof u32);
        return 1;
    }
}

static uint32_t width_of(uint32_t type) {
    int wide = type == SM_OPTION_U64 || type == SM_OPTION_F64;
    return wide ? 8 : type == SM_OPTION_STRING ? (uint32_t)sizeof(char *) : 4;
}

int fill(napi_env env, struct chunk **chunks, uint32_t table, napi_value pairs, void *options,
         uint32_t size) {
    uint32_t n = 0, place = 0;
    napi_value value = NULL;
    memcpy(options, &size, sizeof size);
    napi_get_array_length(env, pairs, &n);
    for (uint32_t i = 0; i + 1 < n; i += 2) {
        sm_option row = {.struct_size = sizeof row};
        napi_get_element(env, pairs, i, &value);
        napi_get_value_uint32(env, value, &place);
        napi_get_element(env, pairs, i + 1, &value);
        if (sm_options_get(table, place, &row, NULL) || row.offset + width_of(row.type) > size)
            continue;
        if (!set_field(env, chunks, &row, value, (char *)options + row.offset))
            return 0;
    }
    return 1;
}

void set_number(napi_env env, napi_value object, const char *name, double number) {
    napi_value value = NULL;
    napi_create_double(env, number, &value);
    napi_set_named_property(env, object, name, value);
}

void set_text(napi_env env, napi_value object, const char *name, const char *text) {
    napi_value value = NULL;
    napi_create_string_utf8(env, text ? text : "", NAPI_AUTO_LENGTH, &value);
    napi_set_named_property(env, object, name, value);
}

/* options(table): its rows */
napi_value options_rows(napi_env env, napi_callback_info info) {
    napi_value argument = NULL, rows = NULL, object = NULL;
    uint32_t table = 0;
    arguments_of(env, info, 1, &argument);
    napi_get_value_uint32(env, argument, &table);
    napi_create_array(env, &rows);
    for (uint32_t i = 0; i < sm_options_count(table); i++) {
        sm_option row = {.struct_size = sizeof row};
        sm_error error = {0};
        if (sm_options_get(table, i, &row, &error))
            return throw_error(env, &error);
        napi_create_object(env, &object);
        set_text(env, object, "name", row.name);
        set_text(env, object, "names", row.names);
        set_text(env, object, "unit", row.unit);
        set_text(env, object, "doc", row.doc);
        set_number(env, object, "type", row.type);
        set_number(env, object, "zero", row.zero);
        napi_set_element(env, rows, i, object);
    }
    return rows;
}

/* find(names, name): its place, or -1 */
napi_value find_name(napi_env env, napi_callback_info info) {
    napi_value arguments[2], place = NULL;
    struct chunk *chunks = NULL;
    arguments_of(env, info, 2, arguments);
    const char *names = text_of(env, &chunks, arguments[0]).text;
    const char *name = text_of(env, &chunks, arguments[1]).text;
    uint32_t at = names && name ? sm_names_find(names, name, NULL) : SM_NAME_NONE;
    give_back(chunks);
    napi_create_double(env, at == SM_NAME_NONE ? -1.0 : (double)at, &place);
    return place;
}

/* ---- structs that tell, by their fields ---- */

enum { I32, U32, U64, F64, TEXT };
struct field {
    const char *name;
    size_t offset;
    int type;
};
#define FIELD(S, name, type) \
    { #name, offsetof(S, name), type }
#include "../fields.inc"

static double number_at(const char *at, int type) {
    int32_t i32;
    uint32_t u32;
    uint64_t u64;
    double f64;
    switch (type) {
    case I32:
        memcpy(&i32, at, sizeof i32);
        return i32;
    case U32:
        memcpy(&u32, at, sizeof u32);
        return u32;
    case U64:
        memcpy(&u64, at, sizeof u64);
        return (double)u64;
    default:
        memcpy(&f64, at, sizeof f64);
        return f64;
    }
}

static napi_value object_of(napi_env env, const struct field *fields, size_t n, const void *from) {
    napi_value object = NULL;
    napi_create_object(env, &object);
    for (size_t i = 0; i < n; i++) {
        const char *at = (const char *)from + fields[i].offset, *text = NULL;
        if (fields[i].type == TEXT) {
            memcpy(&text, at, sizeof text);
            set_text(env, object, fields[i].name, text);
        } else {
            set_number(env, object, fields[i].name, number_at(at, fields[i].type));
        }
    }
    return object;
}

napi_value model_info_object(napi_env env, const sm_model_info *from) {
    return object_of(env, sm_model_info_fields, COUNT(sm_model_info_fields), from);
}

napi_value stats_object(napi_env env, const sm_generate_stats *from) {
    return object_of(env, sm_generate_stats_fields, COUNT(sm_generate_stats_fields), from);
}

napi_value encoder_info_object(napi_env env, const sm_encoder_info *from) {
    return object_of(env, sm_encoder_info_fields, COUNT(sm_encoder_info_fields), from);
}

napi_value top_object(napi_env env, const sm_token_logprob *top, uint64_t n) {
    napi_value array = NULL, object = NULL;
    napi_create_array(env, &array);
    for (uint32_t i = 0; i < n && top[i].id >= 0; i++) {
        napi_create_object(env, &object);
        set_number(env, object, "id", top[i].id);
        set_number(env, object, "logprob", top[i].logprob);
        napi_set_element(env, array, i, object);
    }
    return array;
}
