/* init.c - `smallmind init`: a model with random weights, to train from scratch. */
#include <stdio.h>

#include "cli.h"
#include "shown.h"

static int32_t on_progress(void *user, uint64_t done, uint64_t total) {
    (void)user;
    progress_count("writing", done, total);
    return cli_interrupted();
}

int cmd_init(int argc, char **argv) {
    const char *out = NULL, *vocabulary = NULL;
    sm_model_init_options options = {.struct_size = sizeof options, .progress = on_progress};
    const cli_flag flags[] = {
        {'o', "out", CLI_TEXT, &out, "FILE", 0, 0, "the file to write (required)"},
        {0, "vocab", CLI_TEXT, &vocabulary, "FILE", 0, 0,
         "a GGUF file, or a directory with config.json and tokenizer.json, whose vocabulary is "
         "taken (required)"},
        {0, "name", CLI_TEXT, &options.name, "TEXT", 0, 0, "name of the model"},
        {0, "architecture", CLI_TEXT, &options.architecture, "NAME", 0, 0,
         "any that runs and needs no other sizes, in place of --family"},
    };
    const cli_fields fields[] = {{SM_OPTIONS_INIT, &options, NULL}};
    const cli_command command = {
        .name = "init",
        .synopsis = "-o OUT --vocab FILE [OPTION]...",
        .summary = "Writes a model with random weights in f32 and the vocabulary of another file,\n"
                   "for `smallmind train`. The same seed gives the same file.",
        .examples = {{"smallmind init --vocab vocab.gguf -o init.gguf", "a small model to train"},
                     {"smallmind init --vocab vocab.gguf -o init.gguf --n-embd 512 --n-layer 8",
                      "a wider and deeper one"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (out == NULL || vocabulary == NULL)
        return cli_misuse("init", "-o OUT and --vocab FILE are required");
    if (cli_same_file(out, vocabulary))
        return cli_misuse("init", "OUT would replace %s", vocabulary);
    if (cli_is_part(out, vocabulary))
        return cli_misuse("init", "OUT would replace a file of the directory %s", vocabulary);
    sm_error error;
    sm_model *model;
    sm_model_info info = {.struct_size = sizeof info};
    cli_catch_interrupt();
    const sm_status written = sm_model_init(out, vocabulary, &options, &error);
    progress_end();
    if (written != SM_OK || sm_model_load(&model, out, NULL, &error) != SM_OK)
        return cli_fail(&error);
    const sm_status status = sm_model_get_info(model, &info, &error);
    if (status == SM_OK) {
        char shown[CLI_SHOWN_SPACE];
        fprintf(stderr, "%s: %s, %llu weights, width %d, %d layers, %d heads, vocabulary %d",
                cli_shown(shown, out), info.architecture, (unsigned long long)info.n_params,
                info.n_embd, info.n_layer, info.n_head, info.n_vocab);
        if (info.sliding_window != 0)
            fprintf(stderr, ", window %d", info.sliding_window);
        fputc('\n', stderr);
    }
    sm_model_free(model);
    return status == SM_OK ? CLI_DONE : cli_fail(&error);
}
