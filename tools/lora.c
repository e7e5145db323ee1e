/* lora.c - `smallmind lora`: an adapter becomes part of its model, or a directory of PEFT's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int32_t on_progress(void *user, uint64_t done, uint64_t total) {
    progress_count(user ? user : "merging", done, total);
    return cli_interrupted();
}

int cmd_lora_merge(int argc, char **argv) {
    const char *model = NULL, *adapter = NULL, *out = NULL, *type = NULL, *scale_text = "1";
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &model, "FILE", 0, 0,
         "the model; may stand without -m (required)"},
        {'a', "adapter", CLI_TEXT, &adapter, "FILE", 0, 0,
         "the adapter, a GGUF file or a directory of PEFT's (required)"},
        {'o', "out", CLI_TEXT, &out, "FILE", 0, 0, "the file to write (required)"},
        {0, "scale", CLI_TEXT, &scale_text, "NUMBER", 0, 0,
         "how many times the adapter counts (default 1)"},
        {0, "type", CLI_TEXT, &type, "TYPE", 0, 0,
         "of the merged matrices: F32, F16, BF16, Q8_0, … (default: as they are; quantized ones "
         "are quantized anew)"},
    };
    const cli_command command = {
        .name = "lora merge",
        .synopsis = "-m MODEL -a ADAPTER -o OUT [OPTION]...",
        .summary = "Adds a LoRA adapter to the matrices of its model and writes the result.",
        .examples = {{"smallmind lora merge -m model.gguf -a tuned.gguf -o merged.gguf",
                      "a model with the adapter in it"},
                     {"smallmind lora merge -m model.gguf -a tuned.gguf -o merged.gguf --scale 0.5 "
                      "--type F16",
                      "half of the adapter, written in 16 bits"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .operand = &model,
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    char *end;
    const double scale = strtod(scale_text, &end);
    if (model == NULL || adapter == NULL || out == NULL)
        return cli_misuse("lora merge", "-m MODEL, -a ADAPTER and -o OUT are required");
    if (*scale_text == 0 || *end != 0)
        return cli_misuse("lora merge", "--scale: \"%s\" is no number", scale_text);
    if (cli_same_file(out, adapter))
        return cli_misuse("lora merge", "OUT would replace ADAPTER");
    if (cli_is_part(out, model))
        return cli_misuse("lora merge", "OUT would replace a file of the directory %s", model);
    cli_catch_interrupt();
    sm_error error;
    const sm_status status = sm_adapter_merge(
        out, model, adapter, scale,
        &(sm_merge_options){
            .struct_size = sizeof(sm_merge_options), .type = type, .progress = on_progress},
        &error);
    progress_end();
    return status == SM_OK ? CLI_DONE : cli_fail(&error);
}

int cmd_lora_export(int argc, char **argv) {
    const char *model = NULL, *adapter = NULL, *out = NULL;
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &model, "FILE", 0, 0,
         "the model; may stand without -m (required)"},
        {'a', "adapter", CLI_TEXT, &adapter, "FILE", 0, 0, "the adapter (required)"},
        {'o', "out", CLI_TEXT, &out, "DIRECTORY", 0, 0,
         "where adapter_config.json and adapter_model.safetensors go (required)"},
    };
    const cli_command command = {
        .name = "lora export",
        .synopsis = "-m MODEL -a ADAPTER -o DIRECTORY",
        .summary =
            "Writes a LoRA adapter as PEFT saves them, for the model in Hugging Face's form.",
        .examples = {{"smallmind lora export -m model.gguf -a tuned.gguf -o tuned",
                      "an adapter for transformers and PEFT"},
                     {"smallmind lora export -m model-dir -a tuned.gguf -o tuned",
                      "the same beside the model's own directory"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .operand = &model,
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (model == NULL || adapter == NULL || out == NULL)
        return cli_misuse("lora export", "-m MODEL, -a ADAPTER and -o DIRECTORY are required");
    if (cli_same_file(out, adapter))
        return cli_misuse("lora export", "DIRECTORY would replace ADAPTER");
    cli_catch_interrupt();
    sm_error error;
    static char what[] = "writing";
    const sm_adapter_options options = {
        .struct_size = sizeof options, .progress = on_progress, .progress_user = what};
    const sm_status status = sm_adapter_export(out, model, adapter, &options, &error);
    progress_end();
    return status == SM_OK ? CLI_DONE : cli_fail(&error);
}
