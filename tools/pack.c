/* pack.c - `smallmind pack`: a model as a file that needs no repacking. */
#include <stdio.h>

#include "cli.h"

static int32_t progress(void *user, uint64_t done, uint64_t total) {
    (void)user;
    progress_count("packing", done, total);
    return cli_interrupted();
}

int cmd_pack(int argc, char **argv) {
    const char *operands[2] = {NULL, NULL}, *model_flag = NULL;
    sm_model_options options = {.struct_size = sizeof options};
    sm_session_options session = {.struct_size = sizeof session};
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &model_flag, "FILE", 0, 0, "another way to name the model"},
    };
    const cli_fields fields[] = {
        {SM_OPTIONS_SESSION, &session, "n_threads"},
        {SM_OPTIONS_MODEL, &options, "io"},
        {SM_OPTIONS_MODEL, &options, "level"},
        {SM_OPTIONS_MODEL, &options, "memory_limit"},
    };
    const cli_command command = {
        .name = "pack",
        .synopsis = "MODEL FILE",
        .summary =
            "Writes the model to FILE with its matrices in the layout that is computed from.\n"
            "Such a file starts at once and needs no copy of the weights in memory; processes\n"
            "that run it share its pages. Only this library reads it, and only a version with\n"
            "the same layout. -t and --level change nothing here.",
        .examples = {{"smallmind pack model.gguf packed.gguf", "a copy that starts at once"},
                     {"smallmind run -m packed.gguf -p \"Once upon a time\"",
                      "it is used as any model"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = operands,
        .n_operands = 2,
    };
    sm_error error = {0};
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    const char *in = operands[0], *out = operands[1];
    if (model_flag != NULL && out != NULL)
        return cli_misuse("pack", "two models named");
    if (model_flag != NULL) {
        out = in;
        in = model_flag;
    }
    if (in == NULL || out == NULL)
        return cli_misuse("pack", "MODEL and FILE are required");
    if (cli_is_part(out, in))
        return cli_misuse("pack", "FILE would replace a file of the directory %s", in);
    cli_catch_interrupt();
    code = cli_load_model(&model, &info, in, &options);
    if (code != CLI_GO_ON)
        return code;
    const sm_status status = sm_model_save_packed(
        model, out,
        &(sm_pack_options){.struct_size = sizeof(sm_pack_options), .progress = progress}, &error);
    progress_end();
    sm_model_free(model);
    return status == SM_OK ? CLI_DONE : cli_fail(&error);
}
