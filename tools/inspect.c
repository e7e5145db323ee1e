/* inspect.c - `smallmind inspect`: the keys and tensors of a model file or directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "shown.h"

#define MAX_ITEMS 8   /* of an array that are shown */
#define MAX_BYTES 100 /* of a string that are shown as text; JSON has all of it */

/* The value of key i in the buffer, which grows as needed, and its length; NULL on failure. */
static const char *get_value(const sm_gguf *gguf, uint64_t i, cli_input *buffer, size_t *length,
                             sm_error *error) {
    uint64_t n = 0;
    sm_status status =
        sm_gguf_get_value(gguf, i, MAX_ITEMS, buffer->text, buffer->length, &n, error);
    if (status == SM_ERR_BUFFER) {
        free(buffer->text);
        buffer->text = n < SIZE_MAX ? malloc((size_t)n + 1) : NULL;
        buffer->length = buffer->text != NULL ? (size_t)n + 1 : 0;
        if (buffer->text == NULL) {
            error->code = SM_ERR_NOMEM;
            error->message[0] = 0;
            return NULL;
        }
        status = sm_gguf_get_value(gguf, i, MAX_ITEMS, buffer->text, buffer->length, &n, error);
    }
    *length = (size_t)n;
    return status == SM_OK ? buffer->text : NULL;
}

/* ---- as text ---------------------------------------------------------------------------- */

static void print_padded(const char *text, size_t width) {
    for (size_t i = cli_print_escaped(text, strlen(text), 0); i < width; i++)
        putchar(' ');
    fputs("  ", stdout);
}

static size_t widen(size_t width, const char *text) {
    const size_t length = (size_t)sm_text_escape(text, strlen(text), NULL, 0);
    return length > width && length <= 48 ? length : width;
}

/* Those that describe packed tensors; their lines say the same. */
static bool is_tensor_key(const char *name) {
    static const char start[] = "smallmind.packed.tensor.";
    return strncmp(name, start, sizeof start - 1) == 0;
}

static sm_status print_keys(const sm_gguf *gguf, const sm_gguf_info *info, sm_error *error) {
    size_t name_width = 0, type_width = 0;
    cli_input buffer = {0};
    size_t length;
    const char *name, *type;
    sm_status status = SM_OK;
    for (uint64_t i = 0; status == SM_OK && i < info->n_keys; i++) {
        status = sm_gguf_get_key(gguf, i, &name, &type, error);
        if (status == SM_OK && !is_tensor_key(name)) {
            name_width = widen(name_width, name);
            type_width = widen(type_width, type);
        }
    }
    for (uint64_t i = 0; status == SM_OK && i < info->n_keys; i++) {
        status = sm_gguf_get_key(gguf, i, &name, &type, error);
        if (status != SM_OK)
            break;
        if (is_tensor_key(name))
            continue;
        const char *value = get_value(gguf, i, &buffer, &length, error);
        if (value == NULL) {
            status = error->code;
            break;
        }
        print_padded(name, name_width);
        print_padded(type, type_width);
        /* the length of an array is bounded by its items */
        cli_print_escaped(value, length, type[0] == 'a' ? 4 * MAX_BYTES : MAX_BYTES);
        putchar('\n');
    }
    free(buffer.text);
    return status;
}

static sm_status print_tensors(const sm_gguf *gguf, const sm_gguf_info *info, sm_error *error) {
    sm_gguf_tensor_info tensor = {.struct_size = sizeof tensor};
    size_t name_width = 0;
    sm_status status = SM_OK;
    for (uint64_t i = 0; status == SM_OK && i < info->n_tensors; i++) {
        status = sm_gguf_get_tensor(gguf, i, &tensor, error);
        if (status == SM_OK)
            name_width = widen(name_width, tensor.name);
    }
    putchar('\n');
    for (uint64_t i = 0; status == SM_OK && i < info->n_tensors; i++) {
        char dims[96];
        int n = 0;
        status = sm_gguf_get_tensor(gguf, i, &tensor, error);
        if (status != SM_OK)
            break;
        for (uint32_t d = 0; d < tensor.n_dims && d < 4; d++)
            n += snprintf(dims + n, sizeof dims - (size_t)n, "%s%llu", d > 0 ? " x " : "",
                          (unsigned long long)tensor.weight_dims[d]);
        print_padded(tensor.name, name_width);
        printf("%-8s  %-20s  %12llu bytes%s", tensor.weight_type_name, n > 0 ? dims : "scalar",
               (unsigned long long)tensor.size, tensor.packed ? "  packed" : "");
        if (info->n_files > 1)
            printf("  file %u", tensor.file + 1);
        putchar('\n');
    }
    return status;
}

static sm_status print_text(const char *path, const sm_gguf *gguf, const sm_gguf_info *info,
                            bool tensors, sm_error *error) {
    char size[32], shown[CLI_SHOWN_SPACE];
    const char *plural = info->n_files == 1 ? "" : "s";
    if (info->version != 0)
        printf("%s: GGUF version %u, %u file%s, alignment %u bytes\n", cli_shown(shown, path),
               info->version, info->n_files, plural, info->alignment);
    else
        printf("%s: Hugging Face directory, %u file%s of weights\n", cli_shown(shown, path),
               info->n_files, plural);
    printf("%llu keys, %llu tensors, %llu weights, %s of data\n\n",
           (unsigned long long)info->n_keys, (unsigned long long)info->n_tensors,
           (unsigned long long)info->n_elements, cli_bytes(size, info->data_bytes));
    sm_status status = print_keys(gguf, info, error);
    if (status == SM_OK && tensors)
        status = print_tensors(gguf, info, error);
    return status;
}

/* ---- as JSON ------------------------------------------------------------------------------ */

/* Scalars as JSON's own, arrays (which are abbreviated) and what JSON cannot hold as text. */
static json_t *json_value(const char *type, const char *value, size_t length) {
    json_t *json = NULL;
    char *end;
    errno = 0;
    if (strcmp(type, "bool") == 0)
        return json_boolean(strcmp(value, "true") == 0);
    if (type[0] == 'u' || type[0] == 'i') {
        const long long number = strtoll(value, &end, 10);
        if (errno == 0 && *end == 0)
            return json_integer(number);
    } else if (type[0] == 'f') {
        const double number = strtod(value, &end);
        if (*end == 0)
            json = json_real(number); /* NULL if not finite */
    }
    return json != NULL ? json : cli_json_text(value, length);
}

static sm_status add_keys(json_t *list, const sm_gguf *gguf, const sm_gguf_info *info,
                          sm_error *error) {
    cli_input buffer = {0};
    sm_status status = SM_OK;
    for (uint64_t i = 0; status == SM_OK && i < info->n_keys; i++) {
        size_t length;
        const char *name, *type, *value;
        status = sm_gguf_get_key(gguf, i, &name, &type, error);
        if (status != SM_OK)
            break;
        value = get_value(gguf, i, &buffer, &length, error);
        if (value == NULL)
            status = error->code;
        else
            json_array_append_new(list,
                                  json_pack("{s:o, s:s, s:o}", "name", cli_json_name(name), "type",
                                            type, "value", json_value(type, value, length)));
    }
    free(buffer.text);
    return status;
}

static sm_status add_tensors(json_t *list, const sm_gguf *gguf, const sm_gguf_info *info,
                             sm_error *error) {
    sm_gguf_tensor_info tensor = {.struct_size = sizeof tensor};
    sm_status status = SM_OK;
    for (uint64_t i = 0; status == SM_OK && i < info->n_tensors; i++) {
        status = sm_gguf_get_tensor(gguf, i, &tensor, error);
        if (status != SM_OK)
            break;
        json_t *dims = json_array();
        for (uint32_t d = 0; d < tensor.n_dims && d < 4; d++)
            json_array_append_new(dims, json_integer((json_int_t)tensor.weight_dims[d]));
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:b, s:I, s:I, s:I}", "name",
                            cli_json_name(tensor.name), "type", tensor.weight_type_name, "dims",
                            dims, "packed", (int)tensor.packed, "file", (json_int_t)tensor.file,
                            "offset", (json_int_t)tensor.offset, "bytes", (json_int_t)tensor.size));
    }
    return status;
}

static sm_status print_json(const char *path, const sm_gguf *gguf, const sm_gguf_info *info,
                            bool tensors, sm_error *error) {
    json_t *keys = json_array();
    json_t *root = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "file",
                             cli_json_name(path), "version", (json_int_t)info->version, "alignment",
                             (json_int_t)info->alignment, "files", (json_int_t)info->n_files,
                             "n_keys", (json_int_t)info->n_keys, "n_tensors",
                             (json_int_t)info->n_tensors, "n_weights", (json_int_t)info->n_elements,
                             "data_bytes", (json_int_t)info->data_bytes, "keys", keys);
    sm_status status = root != NULL ? add_keys(keys, gguf, info, error) : SM_ERR_NOMEM;
    if (status == SM_OK && tensors) {
        json_t *list = json_array();
        json_object_set_new(root, "tensors", list);
        status = add_tensors(list, gguf, info, error);
    }
    if (root == NULL)
        error->code = SM_ERR_NOMEM;
    json_decref(keys);
    if (status != SM_OK)
        json_decref(root);
    else if (cli_print_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != CLI_DONE)
        status = error->code = SM_ERR_NOMEM;
    return status;
}

int cmd_inspect(int argc, char **argv) {
    const char *path = NULL;
    bool tensors = false, json = false;
    sm_model_options model = {.struct_size = sizeof model};
    sm_session_options session = {.struct_size = sizeof session};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0, "another way to name the file"},
        {0, "tensors", CLI_SWITCH, &tensors, "", 0, 0, "list the tensors too"},
        {0, "json", CLI_SWITCH, &json, "", 0, 0, "print one JSON object"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, "n_threads"},
        {SM_OPTIONS_MODEL, &model, "level"},
    };
    const cli_command command = {
        .name = "inspect",
        .synopsis = "MODEL [--tensors] [--json]",
        .summary =
            "Shows what a GGUF file or a Hugging Face directory holds, also of models that cannot\n"
            "be run here. Of arrays the first 8 elements are shown, of strings 100 bytes (all of\n"
            "them with --json).\n"
            "Sizes are in bytes; the first dimension of a tensor is the contiguous one.\n"
            "-t and --level change nothing here.",
        .examples = {{"smallmind inspect model.gguf", "what a file says about itself"},
                     {"smallmind inspect model.gguf --tensors --json | jq .n_weights",
                      "one number of it, in a script"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    sm_error error = {0};
    sm_gguf *gguf;
    sm_gguf_info info = {.struct_size = sizeof info};
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL)
        return cli_misuse("inspect", "MODEL is required");
    if (sm_gguf_load(&gguf, path, NULL, &error) != SM_OK)
        return cli_fail(&error);
    sm_status status = sm_gguf_get_info(gguf, &info, &error);
    if (status == SM_OK)
        status = (json ? print_json : print_text)(path, gguf, &info, tensors, &error);
    sm_gguf_free(gguf);
    return status == SM_OK ? CLI_DONE : cli_fail(&error);
}
