/* watermark.c - `smallmind watermark`: was a text generated with a watermark? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli.h"
#include "shown.h"

static int print(const sm_watermark_score *score, bool json) {
    if (json)
        return cli_print_json(
            json_pack("{s:I, s:I, s:I, s:f, s:f}", "scored", (json_int_t)score->n_scored, "green",
                      (json_int_t)score->n_green, "repeated", (json_int_t)score->n_repeated, "z",
                      score->z, "p", score->p),
            JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("tokens    %llu, and %llu that repeat others\n", (unsigned long long)score->n_scored,
           (unsigned long long)score->n_repeated);
    printf("green     %llu\n", (unsigned long long)score->n_green);
    printf("z         %.2f\n", score->z);
    printf("p         %.3g\n", score->p);
    return CLI_DONE;
}

static int detect(const char *path, const cli_input *input, const sm_watermark *watermark,
                  bool json) {
    const sm_tokenizer_options options = {
        .struct_size = sizeof options, .cancel = cli_cancel, .log = cli_logger()};
    sm_watermark_score score = {.struct_size = sizeof score};
    sm_tokenizer *tokenizer;
    sm_error error = {0};
    int32_t *ids;
    uint64_t n;
    if (sm_tokenizer_load(&tokenizer, path, &options, &error) != SM_OK)
        return cli_fail(&error);
    int code = cli_encode(&ids, &n, tokenizer, input);
    sm_tokenizer_free(tokenizer);
    if (code != CLI_GO_ON)
        return code;
    const sm_status status = sm_watermark_detect(watermark, ids, n, &score, &error);
    free(ids);
    return status == SM_OK ? print(&score, json) : cli_fail(&error);
}

int cmd_watermark(int argc, char **argv) {
    const char *path = NULL;
    cli_prompt given = {0};
    sm_watermark watermark = {.struct_size = sizeof watermark};
    bool json = false;
    const cli_flag flags[] = {
        {'m', "model", CLI_TEXT, &path, "FILE", 0, 0,
         "the model that may have written the text, or its vocabulary alone"},
        {'p', "prompt", CLI_TEXT, &given.text, "TEXT", 0, 0, "the text; - reads standard input"},
        {'f', "file", CLI_TEXT, &given.file, "FILE", 0, 0, "the text, from a file or -"},
        {0, "json", CLI_SWITCH, &json, "", 0, 0, "print a JSON object"},
    };
    const cli_fields fields[] = {{SM_OPTIONS_WATERMARK, &watermark, NULL}};
    const cli_command command = {
        .name = "watermark",
        .synopsis = "-m MODEL [-p TEXT | -f FILE] --watermark-key KEY [OPTION]... [--json]",
        .summary =
            "Counts the tokens of a text that the watermark of `smallmind run --watermark` "
            "favours\n"
            "(green ones), with the same key, gamma, width and seeding, and prints by how many\n"
            "standard deviations they are more than chance makes them (z), and the chance of that\n"
            "in a text without it (p). A z of 4 and more says that the text has the watermark.",
        .examples = {{"smallmind watermark -m model.gguf -f text.txt --watermark-key 17",
                      "whether a text was generated with key 17"},
                     {"smallmind watermark -m model.gguf -p \"$TEXT\" --watermark-key 17 --json",
                      "the same as JSON"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
        .operand = &path,
    };
    cli_input input;
    int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (path == NULL)
        return cli_misuse("watermark", "-m MODEL is required");
    code = cli_read_prompt(&input, "watermark", &given, cli_input_waits() ? "-" : NULL);
    if (code != CLI_GO_ON)
        return code;
    cli_catch_interrupt();
    code = detect(path, &input, &watermark, json);
    free(input.text);
    return code;
}
