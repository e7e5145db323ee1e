/* main.c - the `smallmind` program: picks the command. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", cmd_run, "continue a prompt, streaming the text"},
    {"tokenize", cmd_tokenize, "turn text into token ids"},
    {"logits", cmd_logits, "write the logits at every position of a list of ids"},
    {"eval", cmd_eval, "measure perplexity on a text"},
    {"bench", cmd_bench, "measure speed beside the limits of this machine"},
    {"inspect", cmd_inspect, "show what a GGUF file holds"},
    {"pack", cmd_pack, "write a model in the layout that is computed from"},
    {"quantize", cmd_quantize, "write a model with smaller weights"},
    {"imatrix", cmd_imatrix, "measure on a text which columns matter, for quantize"},
    {"vocab", cmd_vocab, "learn a vocabulary from texts"},
    {"init", cmd_init, "make a model with random weights"},
    {"train", cmd_train, "train a model on a text or on instructions"},
    {"finetune", cmd_finetune, "train LoRA adapters over a frozen model"},
    {"lora", cmd_lora, "merge LoRA adapters into a model"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(FILE *out) {
    fputs("usage: smallmind COMMAND [OPTION]...\n\n"
          "Runs language models from GGUF files on the CPU.\n\ncommands:\n",
          out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`smallmind COMMAND --help` lists the options of a command; those that compute take\n"
          "-t THREADS and --level LEVEL. `smallmind --version` prints the version.\n"
          "Results go to standard output, progress, timings and errors to standard error.\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C,\n"
          "143 by SIGTERM, 129 by SIGHUP.\n",
          out);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return cli_finish(CLI_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("smallmind %s\n", sm_version());
        return cli_finish(CLI_DONE);
    }
    char names[256], meant[96];
    size_t n = 0;
    for (size_t i = 0; i < N_COMMANDS; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s|", commands[i].name);
    const uint32_t place = sm_names_find(names, argv[1], NULL); /* in another case */
    if (place < N_COMMANDS)
        return cli_finish(commands[place].run(argc - 1, argv + 1));
    cli_error("unknown command \"%s\"%s; `smallmind --help` lists the commands", argv[1],
              cli_did_you_mean(meant, sizeof meant, names, argv[1]));
    return CLI_USAGE;
}
