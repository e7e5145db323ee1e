/* vocab.c - `smallmind vocab`: learn a vocabulary from texts. */
#include <stdio.h>

#include "cli.h"
#include "shown.h"

static int32_t on_progress(void *user, uint64_t done, uint64_t total) {
    (void)user;
    progress_count("learning", done, total);
    return cli_interrupted();
}

int cmd_vocab(int argc, char **argv) {
    const char *out = NULL;
    cli_texts texts = {.n = 0};
    sm_vocabulary_options options = {.struct_size = sizeof options, .progress = on_progress};
    const cli_flag flags[] = {
        {'o', "out", CLI_TEXT, &out, "FILE", 0, 0, "the GGUF file to write (required)"},
        {'d', "data", CLI_TEXTS, &texts, "FILE", 0, 0,
         "text in UTF-8; may be given up to 64 times (required)"},
        {0, "separator", CLI_TEXT, &options.separator, "TEXT", 0, 0,
         "mark between documents, BOS and EOS of the vocabulary (default <|endoftext|>)"},
        {0, "pre", CLI_TEXT, &options.pre, "NAME", 0, 0,
         "pre-tokenizer that cuts text into words, by its GGUF name (default gpt-2)"},
    };
    const cli_fields fields[] = {{SM_OPTIONS_VOCABULARY, &options, NULL}};
    const cli_command command = {
        .name = "vocab",
        .synopsis = "-d TEXT... -o OUT [OPTION]...",
        .summary = "Learns a byte-level BPE vocabulary from texts and writes it as a GGUF file\n"
                   "without weights, for `smallmind init`.",
        .examples = {{"smallmind vocab -d stories.txt -o vocab.gguf --size 2048",
                      "a vocabulary of 2048 tokens"},
                     {"smallmind vocab -d a.txt -d b.txt -o vocab.gguf --pre llama-bpe",
                      "from two texts, cut into words as Llama 3 does"}},
        .flags = flags,
        .n_flags = sizeof flags / sizeof flags[0],
        .fields = fields,
        .n_fields = sizeof fields / sizeof fields[0],
    };
    const int code = cli_parse(&command, argc, argv);
    if (code != CLI_GO_ON)
        return code;
    if (out == NULL || texts.n == 0)
        return cli_misuse("vocab", "-d TEXT and -o OUT are required");
    for (uint32_t i = 0; i < texts.n; i++)
        if (cli_same_file(out, texts.items[i]))
            return cli_misuse("vocab", "OUT would replace %s", texts.items[i]);
    if (cli_check_output(out, true) != CLI_GO_ON)
        return CLI_FAILED;
    cli_catch_interrupt();
    sm_error error;
    sm_tokenizer *tokenizer = NULL;
    sm_tokenizer_info info = {.struct_size = sizeof info};
    sm_status status = sm_vocabulary_train(out, texts.items, texts.n, &options, &error);
    progress_end();
    if (status == SM_OK)
        status = sm_tokenizer_load(&tokenizer, out, NULL, &error);
    if (status == SM_OK)
        status = sm_tokenizer_get_info(tokenizer, &info, &error);
    sm_tokenizer_free(tokenizer);
    if (status != SM_OK)
        return cli_fail(&error);
    char shown[CLI_SHOWN_SPACE];
    fprintf(stderr, "%s: %d tokens\n", cli_shown(shown, out), info.n_vocab);
    return CLI_DONE;
}
